# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which password stands before what; cookies that open exactly that; and the key that signs them."""

import hashlib
import hmac
import io
import json
import os
import stat
import subprocess
import sys
from email.message import Message
from http.cookiejar import CookieJar
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.request import Request
from urllib.response import addinfourl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.access import cookies as login_cookies
from addon.access import locks
from addon.access.cookies import LoginCookies, cleared, cookie_path
from addon.access.locks import Lock, cookie_name, lock_of
from addon.access.member_cookies import MOST_ROUNDS, ROUND_SECONDS, next_round, too_many, values
from addon.access.passwords import AccessFault
from addon.access.signing_key import FILE_NAME, KeyFault, SigningKey, Source, kept_key, signing_key
from tests.addon.access.access_cases import KEY, OTHER, QUICK, SECRET, START, cookie_of, lock
from tests.clock import Clock

DURATION = 3600


def cookies(clock: Clock | None = None, key: SigningKey = KEY, duration: int = DURATION) -> LoginCookies:
    return LoginCookies(key, duration, clock or Clock(START))


def login_at(which: Lock, base: str = "/", clock: Clock | None = None, key: SigningKey = KEY) -> bytes:
    """The Cookie header of a browser that logged in."""
    return cookie_of(cookies(clock, key).issue(which, base, False)[0])


# --- locks ------------------------------------------------------------------------------------------------------------

A, B, C = (hashlib.sha256(letter).hexdigest() for letter in (b"a", b"b", b"c"))


@pytest.mark.parametrize(
    ("password", "branches", "added", "branch", "asked_for"),
    [
        ("", "", "", None, None),
        ("", "", "", "dev", None),
        (A, "", "", None, A),
        (A, "", "", "dev", A),  # the plugin left branches open here
        (A, B, "", None, A),
        (A, B, "", "dev", B),
        ("", B, "", None, None),
        ("", B, "", "dev", B),
        # what is in Redis adds a lock, and never takes one away or replaces it
        ("", "", C, None, C),
        ("", "", C, "dev", C),
        (A, "", C, None, A),
        (A, B, C, "dev", B),
        ("", B, C, None, C),
    ],
)
def test_which_password_is_asked_for(
    password: str, branches: str, added: str, branch: str | None, asked_for: str | None
) -> None:
    found = lock_of("alice", "blog", password, branches, branch, added)
    assert (found.hash.text if found else None) == asked_for


@pytest.mark.parametrize(
    "arguments",
    [
        {"password": "secret"},
        {"password": "secret", "branch": "dev"},
        {"password": SECRET, "branches_password": "secret", "branch": "dev"},
        {"password": "", "added": "secret"},
        {"password": " "},
        {"password": "no"},
    ],
)
def test_what_is_no_hash_closes_the_site(arguments: dict[str, str]) -> None:
    for _ in range(2):
        with pytest.raises(AccessFault):
            lock_of("alice", "blog", **arguments)


def test_a_password_of_the_branches_is_guessed_at_on_its_own() -> None:
    assert lock(A).tally == lock(A, branch="dev").tally == lock(A, B).tally == "alice/blog"
    assert lock(A, B, "dev").tally == lock(A, B, "qa").tally == "alice/blog#branches"


@pytest.mark.parametrize(
    ("owner", "repository", "branch", "name"),
    [
        ("alice", "blog", False, "pages_auth_alice_blog"),
        ("alice", "blog", True, "pages_branch_auth_alice_blog"),
        ("Alice", "Blog", False, "pages_auth_alice_Blog"),
        ("alice", ".profile", False, "pages_auth_alice_.profile"),
        ("a.b-c_d", "x.y-z_", False, "pages_auth_a.b-c_d_x.y-z_"),
        ("alice", "a;b=c\r\nd ,é", False, "pages_auth_alice_a%3Bb%3Dc%0D%0Ad%20%2C%C3%A9"),
    ],
)
def test_the_cookies_name_is_that_of_the_plugin_and_always_a_token(
    owner: str, repository: str, branch: bool, name: str
) -> None:
    found = cookie_name(owner, repository, branch).decode()
    assert found == name
    SimpleCookie()[found] = "x"  # raises for what is no token


def test_locks_are_remembered_by_the_hash_that_counts_however_long_the_other_is() -> None:
    before = locks._lock.cache_info().currsize
    for number in range(100):
        assert lock_of("alice", "memory", SECRET, "x" * 60_000 + str(number)) is not None
        assert lock_of("alice", "memory", "x" * 60_000 + str(number), SECRET, "dev") is not None
        with pytest.raises(AccessFault):
            lock_of("alice", "memory", "x" * 60_000 + str(number))
    assert locks._lock.cache_info().currsize <= before + 2


def test_nothing_of_a_hash_is_in_the_repr_of_a_lock() -> None:
    assert SECRET[:8] not in repr(lock())


# --- cookies ----------------------------------------------------------------------------------------------------------


def test_a_login_has_the_attributes_that_keep_it_where_it_belongs() -> None:
    (cookie,) = cookies().issue(lock(), "/blog/", True)
    value, *attributes = cookie.decode().split("; ")
    assert value.startswith("__Host-pages_auth_alice_blog=1700003600|")
    assert attributes == ["Path=/", "Max-Age=3600", "HttpOnly", "SameSite=Lax", "Secure"]
    cookie, mark = cookies().issue(lock(), "/blog/", False)
    value, *attributes = cookie.decode().split("; ")
    assert value.startswith("pages_auth_alice_blog=1700003600|")
    assert attributes == ["Path=/blog", "Max-Age=3600", "HttpOnly", "SameSite=Lax"]
    assert mark == b"pages_login_alice_blog=blog; Path=/.pages/logout; Max-Age=3600; HttpOnly; SameSite=Lax"
    (alone,) = cookies().issue(lock(branch="dev"), "/", False)
    value, *attributes = alone.decode().split("; ")
    assert value.startswith("pages_branch_auth_alice_blog=1700003600|")
    assert attributes == ["Path=/", "Max-Age=3600", "HttpOnly", "SameSite=Lax"]


@pytest.mark.parametrize("branch", [None, "dev"])
def test_over_https_only_the_name_counts_that_no_neighbour_can_set(branch: str | None) -> None:
    which = lock(branch=branch)
    secure, plain = (cookie_of(cookies().issue(which, "/blog/", each)[0]) for each in (True, False))
    assert secure.startswith(b"__Host-pages_")
    assert cookies().valid(secure, which, True)
    assert cookies().valid(plain, which, False)
    # The same value under the other's name is what a neighbour, or somebody on the way, may have set.
    tossed = plain.replace(b"pages_", b"x__Host-pages_", 1)
    for header in (plain, tossed, b"a=b; " + plain, plain.replace(b"pages_", b"__host-pages_", 1)):
        assert not cookies().valid(header, which, True)
    assert not cookies().valid(secure, which, False)
    assert cookies().valid(b"; ".join([plain, secure]), which, True)


def test_the_value_is_what_is_documented() -> None:
    expires, _, signature = login_at(lock(OTHER, QUICK, "feature/x")).partition(b"=")[2].partition(b"|")
    derived = hmac.digest(b"k" * 32, b"forgejo-pages login cookie 1", "sha256")
    message = f"login\0alice/blog\0branch\0feature/x\0{QUICK}\0".encode() + expires
    assert signature == hmac.new(derived, message, "sha256").hexdigest().encode()


@pytest.mark.parametrize(
    ("base", "path"),
    [("/", b"/"), ("/blog/", b"/blog"), ("/blog", b"/blog"), ("/a.b-c_/", b"/a.b-c_"), ("/x;y/", b"/"), ("", b"/")],
)
def test_the_path_of_a_cookie_is_its_site(base: str, path: bytes) -> None:
    assert cookie_path(base) == path


@pytest.mark.parametrize(
    ("path", "sent"),
    [("/blog", 1), ("/blog/", 1), ("/blog/a/b?c", 1), ("/blogger", 0), ("/", 0), ("/other/", 0), ("/.pages/logout", 1)],
)
def test_a_browser_sends_a_login_to_its_site_and_a_mark_to_the_log_out(path: str, sent: int) -> None:
    jar = browser(cookies(Clock(START * 2)).issue(lock(), "/blog/", False), "http://alice.pages.example.org/blog/")
    request = Request(f"http://alice.pages.example.org{path}")
    jar.add_cookie_header(request)
    header = request.get_header("Cookie") or ""
    assert len(header.split("; ")) == sent if sent else not header
    assert ("pages_login" in header) == (path == "/.pages/logout")
    valid = cookies(Clock(START * 2)).valid(header.encode(), lock(), False)
    assert valid == (bool(sent) and path != "/.pages/logout")


def browser(set_cookies: tuple[bytes, ...], url: str = "https://alice.pages.example.org/blog/") -> CookieJar:
    jar = CookieJar()
    message = Message()
    for value in set_cookies:
        message["Set-Cookie"] = value.decode()
    jar.extract_cookies(addinfourl(io.BytesIO(), message, url), Request(url))  # type: ignore[arg-type]
    return jar


def test_a_login_is_good_until_it_expires_and_not_a_moment_longer() -> None:
    clock = Clock(START)
    header = login_at(lock(), clock=clock)
    for seconds, good in [(0, True), (3599.9, True), (3600, False), (10**9, False)]:
        clock.now = START + seconds
        assert cookies(clock).valid(header, lock(), False) == good


def test_a_shorter_duration_ends_longer_logins() -> None:
    header = login_at(lock())
    assert cookies(duration=3600).valid(header, lock(), False)
    assert not cookies(duration=600).valid(header, lock(), False)


HERE = lock(A, B, "dev")
REFUSED = {
    "of another owner": lock(A, B, "dev", owner="bob"),
    "of another repository": lock(A, B, "dev", repository="other"),
    "of the site itself": lock(A, B),
    "of another branch": lock(A, B, "qa"),
    "of a branch with another case": lock(A, B, "Dev"),
    "from before a change": lock(A, C, "dev"),
    "from before the branches had a password": lock(A, "", "dev"),
    "with the other kind of hash": lock(A, QUICK, "dev"),
    "where names end elsewhere": lock(A, B, "dev", owner="alice/blog", repository=""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_no_login_opens_anything_but_what_it_was_made_for(name: str) -> None:
    foreign = login_at(REFUSED[name])
    renamed = HERE.cookie + b"=" + foreign.partition(b"=")[2]
    assert cookies().valid(foreign, REFUSED[name], False)
    assert cookies().valid(login_at(HERE), HERE, False)
    assert not cookies().valid(renamed, HERE, False)
    assert not cookies().valid(b"; ".join([foreign, renamed]), HERE, False)


def test_no_login_of_another_key_is_good() -> None:
    for key in (b"K" * 32, b"k" * 31, b"k" * 33, b""):
        assert not cookies().valid(login_at(lock(), key=SigningKey(key, Source.FILE)), lock(), False)


def test_case_of_names_and_of_the_hash_makes_no_other_login() -> None:
    one, other = lock(SECRET), lock(SECRET.upper(), owner="Alice", repository="Blog")
    value = login_at(one).partition(b"=")[2]
    assert cookies().valid(other.cookie + b"=" + value, other, False)


def origin_cookie(secret: bytes, issued: int) -> bytes:
    """As the Traefik plugin signs."""
    signature = hmac.new(secret, f"{issued}:alice:blog".encode(), "sha256").hexdigest()
    return f"pages_auth_alice_blog={issued}|{signature}".encode()


def forged() -> dict[str, bytes]:
    good = login_at(lock())
    name, _, value = good.partition(b"=")
    expires, _, signature = value.partition(b"|")
    later = str(int(expires) + 1).encode()
    return {
        "anything": name + b"=x",  # opened every site of a plugin without a key
        "empty": name + b"=",
        "no value": name,
        "a time alone": name + b"=" + expires,
        "a time and a bar": name + b"=" + expires + b"|",
        "no time": name + b"=|" + signature,
        "longer": name + b"=" + later + b"|" + signature,
        "truncated": good[:-1],
        "lengthened": good + b"0",
        "upper case": name + b"=" + expires + b"|" + signature.upper(),
        "leading zero": name + b"=0" + value,
        "sign": name + b"=+" + value,
        "a second bar": good + b"|",
        "huge time": name + b"=" + b"9" * 5000 + b"|" + signature,
        "far future": name + b"=99999999999|" + signature,
        "negative": name + b"=-" + value,
        "other digits": name + "=١٧٠٠٠٠٣٦٠٠|".encode() + signature,
        "quoted": name + b'="' + value + b'"',
        "other name": b"x" + good,
        "longer name": name + b"x=" + value,
        "case of the name": good.replace(b"pages", b"Pages"),
        "as a value": b"a=" + good,
        "of the plugin": origin_cookie(b"k" * 32, int(START)),
        "of the plugin, dated ahead": origin_cookie(b"k" * 32, int(START) + 3600),
        "of the plugin without a key": origin_cookie(b"", int(START) + 3600),
        "zeros": name + b"=1700003600|" + b"0" * 64,
    }


@pytest.mark.parametrize("name", forged())
def test_a_forged_login_is_refused(name: str) -> None:
    assert cookies().valid(login_at(lock()), lock(), False)
    header = forged()[name]
    assert not cookies().valid(header, lock(), False)
    assert not cookies().valid(b"; ".join([header] * 500), lock(), False)


@given(st.binary(max_size=200), st.integers(0, 300), st.binary(min_size=1, max_size=3))
def test_any_change_to_a_login_ends_it(noise: bytes, place: int, change: bytes) -> None:
    good = login_at(lock())
    changed = good[:place] + change + good[place + len(change) :]
    name, _, value = good.partition(b"=")
    harmless = changed.startswith(good) and changed[len(good) : len(good) + 1] in (b" ", b"\t", b";", b",")
    if changed != good and not harmless:
        assert cookies().valid(changed, lock(), False) == (
            name + b"=" + value in changed.replace(b",", b";").split(b";")
        )
    assert not cookies().valid(noise, lock(), False)
    assert not cookies().valid(name + b"=" + noise, lock(), False)


@pytest.mark.parametrize(
    "around",
    [
        b"%b",
        b"a=b; %b",
        b"%b; a=b",
        b"a=b;%b;c=d",
        b"a=b, %b",  # two Cookie fields, as HTTP/2 may send them
        b"%b, a=b",
        b"\t%b\t",
        b"pages_auth_alice_blog=x; %b",
        b"xpages_auth_alice_blog=x; pages_auth_alice_blog=; %b",
        b"a; ;; =; pages_auth_alice_blog; %b",
    ],
)
def test_a_login_is_found_wherever_it_stands(around: bytes) -> None:
    assert cookies().valid(around % login_at(lock()), lock(), False)


def test_a_neighbours_cookies_of_the_same_name_hide_no_login() -> None:
    header = b"; ".join([*(b"pages_auth_alice_blog=1700003600|" + b"%064x" % n for n in range(30)), login_at(lock())])
    assert cookies().valid(header, lock(), False)


def test_thousands_of_forged_logins_cost_no_more_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    digest = hmac.digest
    which, checker = lock(), cookies()

    def counted(key: bytes, message: bytes, how: str) -> bytes:
        made.append(message)
        return digest(key, message, how)

    monkeypatch.setattr(hmac, "digest", counted)
    for value in (b"1700003600|" + b"0" * 64, b"1600000000|" + b"0" * 64, b"x", b"", b"1700003600|" + b"0" * 100_000):
        made.clear()
        assert not checker.valid(b"; ".join([which.cookie + b"=" + value] * 10_000), which, False)
        assert len(made) <= 32
    made.clear()
    assert not checker.valid(b"pages_auth_alice_blo" * 1_000_000, which, False)
    assert not made


def test_a_login_that_was_good_is_not_signed_again_and_ends_when_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    digest = hmac.digest
    clock, which = Clock(START), lock()
    checker, header = cookies(clock), login_at(lock())

    def counted(key: bytes, message: bytes, how: str) -> bytes:
        made.append(message)
        return digest(key, message, how)

    monkeypatch.setattr(hmac, "digest", counted)
    assert all(checker.valid(header, which, False) for _ in range(100))
    assert len(made) == 1
    assert not checker.valid(header, lock(OTHER), False)
    assert not checker.valid(header, lock(repository="other"), False)
    assert not checker.valid(header[:-1], which, False)
    clock.now += DURATION
    assert not checker.valid(header, which, False)


def test_headers_that_were_good_take_little_memory() -> None:
    checker, header = cookies(), login_at(lock())
    for n in range(5_000):
        assert checker.valid(b"n=%d; %b" % (n, header), lock(), False)
        assert checker.valid(b"n=%d; %b; %b" % (n, header, b"x" * 1024), lock(), False)
    held = checker._good._entries
    assert len(held) <= 2048
    assert all(len(header) <= 1024 for _, _, header in held)


def test_no_cookie_at_all_is_no_login() -> None:
    assert not cookies().valid(None, lock(), False)
    assert not cookies().valid(b"", lock(), False)


# --- log-out ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "base"),
    [
        (lock(), "/blog/"),
        (lock(owner="a_b", repository="c_d.e"), "/c_d.e/"),
        (lock(), "/diary/"),  # a former name of the repository
        (lock(repository="log"), "/b_log/"),
        (lock(repository=".profile"), "/"),
        (lock(branch="dev"), "/"),
    ],
)
@pytest.mark.parametrize("secure", [True, False])
def test_a_log_out_ends_the_login_in_a_browser(which: Lock, base: str, secure: bool) -> None:
    origin = "https://h.example" if secure else "http://h.example"
    jar = browser(cookies(Clock(START * 2)).issue(which, base, secure), origin + base)
    assert len(jar) == 1 + (base != "/" and not secure)
    request = Request(f"{origin}/.pages/logout")
    jar.add_cookie_header(request)
    header = request.get_header("Cookie")
    assert header
    for path, name in map(named, cleared(header.encode(), secure)):
        jar.clear("h.example", path, name)  # raises KeyError for a cookie that is not there
    assert len(jar) == 0


def named(set_cookie: bytes) -> tuple[str, str]:
    """Path and name of a cookie that is taken back."""
    ((name, morsel),) = SimpleCookie(set_cookie.decode()).items()
    assert (morsel.value, morsel["max-age"]) == ("", "0")
    return morsel["path"], name


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"session=forgejo; i_like_gitea=x",
        b"pages_login_alice_blog=other",  # names another path than its own
        b"pages_login_alice_blog=",
        b"pages_login_alice_blog~diary=other",
        b"pages_login_alice_blog~=",
        b"pages_login_~diary=diary",
        b"xpages_auth_a_b=1",
        b"pages_auth_a_b",
        b"a=pages_auth_a_b=1",
    ],
)
def test_a_log_out_touches_no_cookie_of_others(header: bytes) -> None:
    assert cleared(header, True) == ()
    assert cleared(None, True) == ()


@given(st.binary(max_size=300))
def test_no_cookie_puts_anything_into_the_answer_to_a_log_out(noise: bytes) -> None:
    for header in (noise, b"pages_auth_" + noise, b"pages_login_a_b=b" + noise, b"pages_login_" + noise + b"=" + noise):
        for value in cleared(header, False):
            assert value.count(b";") == 5
            assert not any(byte < 33 or byte > 126 for byte in value.replace(b" ", b""))


def test_a_log_out_answers_thousands_of_cookies_with_a_few() -> None:
    assert len(cleared(b"; ".join(b"pages_auth_a_%d=1" % n for n in range(5_000)), True)) <= 64


# --- the key ----------------------------------------------------------------------------------------------------------


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_the_operators_key_is_used_where_there_is_one_and_no_file_is_made(tmp_path: Path) -> None:
    found = await signing_key("of the operator", tmp_path)
    assert found == (b"of the operator", Source.SETTINGS)
    assert names(tmp_path) == []


async def test_a_random_key_is_kept_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    before = os.umask(0)
    try:
        found = await signing_key(None, folder)
    finally:
        os.umask(before)
    assert found.source is Source.FILE
    assert len(found.key) == 32
    assert await signing_key("", folder) == found
    assert names(folder) == [FILE_NAME]
    assert stat.S_IMODE((folder / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (await signing_key(None, tmp_path / "c")).key != found.key


def test_a_key_that_others_could_read_is_theirs_no_longer(tmp_path: Path) -> None:
    key = kept_key(tmp_path)
    (tmp_path / FILE_NAME).chmod(0o644)
    assert kept_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_processes_that_start_together_have_one_key(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from addon.access.signing_key import kept_key\n"
        "sys.stdin.read()\n"
        "print(kept_key(pathlib.Path(sys.argv[1])).hex())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "state")]
    root = Path(login_cookies.__file__).parents[2]
    running = [
        subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)
    ]
    for process in running:  # all are at the starting line: let them go
        assert process.stdin is not None
        process.stdin.close()
    keys = set()
    for process in running:
        assert process.stdout is not None
        keys.add(process.stdout.read())
        process.stdout.close()
        assert process.wait(30) == 0
    assert len(keys) == 1
    assert len(keys.pop().strip()) == 64
    assert names(tmp_path / "state") == [FILE_NAME]


@pytest.mark.parametrize("content", [b"", b"00", b"0" * 63, b"g" * 64, b"0" * 64 + b"\n1", b"\xff" * 64, b"0" * 128])
def test_a_damaged_key_is_not_used_and_not_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(KeyFault, match="remove the file") as fault:
        kept_key(tmp_path)
    assert len(content) < 3 or content.decode("latin-1") not in str(fault.value)


def test_a_link_in_the_keys_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("0" * 64)
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFault):
        kept_key(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFault, match=FILE_NAME):
        kept_key(tmp_path / "file")


class Store:
    """A shared store as Redis would be one: SET NX, then GET."""

    def __init__(self, away: bool = False) -> None:
        self.value: bytes | None = None
        self.away = away

    async def settle(self, proposal: bytes) -> bytes | None:
        if self.away:
            return None
        if self.value is None:
            self.value = proposal
        return self.value


async def test_servers_with_one_store_have_one_key_and_keep_it_when_the_store_was_emptied(tmp_path: Path) -> None:
    store = Store()
    one = await signing_key(None, tmp_path / "one", store)
    other = await signing_key(None, tmp_path / "other", store)
    assert one == other
    assert one.source is Source.SHARED
    store.value = None
    assert (await signing_key(None, tmp_path / "one", store)).key == one.key
    store.away = True
    assert await signing_key(None, tmp_path / "one", store) == (one.key, Source.FILE)


@pytest.mark.parametrize("value", [b"", b"short"])
async def test_a_worthless_key_in_the_store_is_not_used(tmp_path: Path, value: bytes) -> None:
    store = Store()
    store.value = value
    assert (await signing_key(None, tmp_path, store)).source is Source.FILE


def test_uses_of_one_key_have_nothing_in_common_and_no_repr_shows_it() -> None:
    assert KEY.derived(b"a") != KEY.derived(b"b")
    assert "k" * 8 not in repr([KEY])
    assert "kk" not in json.dumps(repr(KEY))


def test_so_many_rounds_of_a_login_are_begun_in_a_minute_and_no_more() -> None:
    known = None
    for _ in range(MOST_ROUNDS):
        assert not too_many(known, START)
        known = next_round(known, START)
    assert too_many(known, START + ROUND_SECONDS - 1)
    assert not too_many(known, START + ROUND_SECONDS)
    assert known is not None
    assert next_round(known, START + ROUND_SECONDS).rounds == 1


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, []),
        (b"", []),
        (b"a=1", [b"1"]),
        (b"b=2; a=1, a=3;\ta=", [b"1", b"3", b""]),
        (b"a; aa=1; b=a; A=2", []),
        (b"a=1=2", [b"1=2"]),
    ],
)
def test_cookies_are_found_by_exactly_their_name(header: bytes | None, expected: list[bytes]) -> None:
    assert values(header, b"a") == expected


def test_what_a_dead_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / f".{FILE_NAME}.{os.getpid()}").write_text("half a key")
    assert len(kept_key(tmp_path)) == 32
    assert names(tmp_path) == [FILE_NAME]


@pytest.mark.parametrize("mode", [0o601, 0o602, 0o604, 0o610, 0o620, 0o640, 0o700])
def test_a_key_is_closed_to_all_but_its_owner(tmp_path: Path, mode: int) -> None:
    kept_key(tmp_path)
    (tmp_path / FILE_NAME).chmod(mode)
    kept_key(tmp_path)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == (0o700 if mode == 0o700 else 0o600)


@pytest.mark.parametrize("length", [31, 32, 33])
async def test_a_key_in_the_store_counts_if_it_is_long_enough(tmp_path: Path, length: int) -> None:
    store = Store()
    store.value = b"k" * length
    found = await signing_key(None, tmp_path, store)
    assert found.source is (Source.FILE if length < 32 else Source.SHARED)


def test_a_login_is_believed_a_minute_longer_than_the_clock_says_and_no_more() -> None:
    clock = Clock(START)
    header = login_at(lock(), clock=clock)
    for early, good in ((60, True), (61, False)):
        clock.now = START - early
        assert cookies(clock).valid(header, lock(), False) == good


def test_a_login_tells_how_long_it_holds_whether_it_was_remembered_or_not() -> None:
    clock = Clock(START)
    header, checker = login_at(lock(), clock=clock), cookies(clock)
    for seconds in (0, 100, 3599):
        clock.now = START + seconds
        assert [checker.left(header, lock(), False) for _ in range(2)] == [3600 - seconds] * 2
    clock.now = START + 3600
    assert checker.left(header, lock(), False) == 0.0


def test_a_login_is_found_in_the_first_64_kibibytes_and_behind_31_forged_ones() -> None:
    header = login_at(lock())
    for size, good in ((64 * 1024 - len(lock().cookie) - 1, True), (64 * 1024 - len(lock().cookie), False)):
        assert cookies().valid(b" " * size + header, lock(), False) == good
    forged_one = b"pages_auth_alice_blog=1700003600|" + b"0" * 64 + b"; "
    for number, good in ((31, True), (32, False)):
        assert cookies().valid(forged_one * number + header, lock(), False) == good
    no_login = b"pages_auth_alice_blog=x; "  # which costs nothing to tell
    assert cookies().valid(no_login * 40 + header, lock(), False)


def test_headers_of_a_kibibyte_are_remembered_and_two_thousand_of_them() -> None:
    checker, header = cookies(), login_at(lock())
    for size in (1024, 1025):
        assert checker.valid(header + b" " * (size - len(header)), lock(), False)
    assert len(checker._good) == 1
    for number in range(2_100):
        assert checker.valid(header + b"; n=%d" % number, lock(), False)
    assert len(checker._good) == 2048


def test_a_log_out_looks_at_32_cookies_in_64_kibibytes() -> None:
    assert len(cleared(b"; ".join(b"pages_auth_a_%d=1" % number for number in range(40)), True)) == 32
    for size, found in ((64 * 1024 - 15, 1), (64 * 1024 - 14, 0)):
        assert len(cleared(b" " * size + b"pages_auth_a_b=", True)) == found


def test_a_log_out_over_plain_http_ends_what_a_neighbour_could_have_set_and_no_other() -> None:
    header = b"__Host-pages_auth_a_b=1; pages_auth_a_b=1"
    assert [value.partition(b"=")[0] for value in cleared(header, False)] == [b"pages_auth_a_b"]
    assert [value.partition(b"=")[0] for value in cleared(header, True)] == [
        b"__Host-pages_auth_a_b",
        b"pages_auth_a_b",
    ]
