# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Decisions: who gets in, who is asked, who has to wait; and what each of them is told."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.access import login as replies
from addon.access.control import (
    MAX_FORM,
    REMEMBERED,
    Access,
    Attempt,
    Challenge,
    Decision,
    Granted,
    LoggedIn,
    Open,
    Reason,
    Refused,
    Visit,
    basic_password,
    form_password,
    private,
    return_target,
)
from addon.access.guess_limits import GuessesInMemory
from addon.access.locks import Lock
from addon.access.passwords import AccessFault, PasswordHash, Unchecked
from addon.access.signing_key import SigningKey, Source
from addon.net.clocks import Clocks
from tests.addon.access.access_cases import (
    KEY,
    OTHER,
    QUICK,
    SECRET,
    START,
    basic,
    by_sha256,
    cookie_of,
    form,
    lock,
    login,
    visit,
)
from tests.addon.templates.test_templates import document
from tests.cases import by_outcome
from tests.clock import Clock
from tests.waiting import rounds

HTML = {b"accept": b"text/html,application/xhtml+xml"}


ASKS = b'Cookie realm="Pages /blog", cookie-name="__Host-pages_auth_alice_blog"'


class Door:
    """An `Access` with a clock, and a count of the passwords that were really hashed."""

    def __init__(self, executor: Executor) -> None:
        self.clock = Clock(START)
        self.hashed = 0
        self.guesses = GuessesInMemory(self.clock)
        self.executor = executor
        self.access = self.another()

    def another(self) -> Access:
        """Another process with the same key, and its own memory."""
        return Access(
            KEY,
            3600,
            self.executor,
            guesses=self.guesses,
            clocks=Clocks(self.clock, self.clock),
            check_password=self.check_password,
        )

    def check_password(self, hash: PasswordHash, password: bytes) -> bool:
        self.hashed += 1
        return by_sha256(hash, password)

    async def decide(self, which: Lock | None, how: Visit) -> Decision:
        decision = self.access.check(which, how)
        if isinstance(decision, Attempt):
            assert which is not None
            decision = await self.access.settle(which, how, decision)
        return decision

    async def log_in(self, which: Lock, *, secure: bool = True) -> bytes:
        """The Cookie header of a browser that gave the password."""
        decision = await self.decide(which, login("secret")._replace(secure=secure))
        assert isinstance(decision, LoggedIn)
        return cookie_of(decision.cookies[0])


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.fixture
async def door(executor: Executor) -> AsyncIterator[Door]:
    made = Door(executor)
    yield made
    await made.access.aclose()


# --- who gets in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT"])
async def test_an_open_site_asks_nobody(door: Door, method: str) -> None:
    assert await door.decide(None, visit(method=method, body=form("x"))) == Open()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])
@pytest.mark.parametrize("path", ["/blog/", "/blog", "/blog/a.html", "/blog/missing", "/blog/../x"])
async def test_a_locked_site_asks_whatever_is_wanted_of_it(door: Door, method: str, path: str) -> None:
    decision = await door.decide(lock(), visit(HTML, method=method, path=path))
    assert decision == Challenge(
        Reason.UNKNOWN, b'Cookie realm="Pages /blog", cookie-name="__Host-pages_auth_alice_blog"'
    )
    assert not door.hashed


async def test_the_password_opens_the_site_for_who_gave_it(door: Door) -> None:
    which = lock()
    decision = await door.decide(which, login("secret")._replace(query="a=1&b=%2F"))
    assert isinstance(decision, LoggedIn)
    assert decision.location == "/blog/a.html?a=1&b=%2F"
    cookie = cookie_of(decision.cookies[0])
    for method in ("GET", "HEAD", "OPTIONS", "PUT"):
        assert door.access.check(which, visit({b"cookie": cookie}, method=method)) == Granted()
    assert door.another().check(which, visit({b"cookie": cookie}, client="198.51.100.1")) == Granted()
    assert isinstance(door.access.check(lock(OTHER), visit({b"cookie": cookie})), Challenge)


async def test_the_hash_that_the_plugin_wrote_still_opens_its_site(door: Door) -> None:
    for which in (lock(SECRET, repository="redir"), lock("", repository="redir", added=SECRET)):
        assert isinstance(await door.decide(which, login("secret")), LoggedIn)
        assert isinstance(await door.decide(which, login("Secret")), Challenge)


async def test_argon2id_opens_its_site_on_a_thread(executor: Executor) -> None:
    access = Access(KEY, 3600, executor)
    which, how = lock(QUICK), login("secret")
    attempt = access.check(which, how)
    assert isinstance(attempt, Attempt)
    assert repr(attempt) == "Attempt(by_form=True)"
    assert isinstance(await access.settle(which, how, attempt), LoggedIn)


@pytest.mark.parametrize("password", ["", "Secret", "secret ", "secret\0", SECRET, "x" * 10_000])
async def test_a_wrong_password_is_told_in_the_same_words_whatever_it_is(door: Door, password: str) -> None:
    first = await door.decide(lock(), login("wrong"))
    assert await door.decide(lock(), login(password)) == first
    assert first == Challenge(Reason.WRONG, ASKS)


async def test_a_form_is_looked_at_even_by_who_is_logged_in(door: Door) -> None:
    cookie = await door.log_in(lock())
    wrong = await door.decide(lock(), login("wrong", {b"cookie": cookie}))
    assert isinstance(wrong, Challenge)
    assert isinstance(await door.decide(lock(), login("secret", {b"cookie": cookie})), LoggedIn)


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (b"application/x-www-form-urlencoded", form("secret"), LoggedIn),
        (b"Application/X-WWW-Form-Urlencoded ; charset=UTF-8", form("secret"), LoggedIn),
        (b"application/x-www-form-urlencoded", b"passwor%64=s%65cret&password=x", LoggedIn),
        (b"application/x-www-form-urlencoded", b"user=secret", Reason.NO_FORM),
        (b"application/x-www-form-urlencoded", b"password", Reason.NO_FORM),
        (b"application/x-www-form-urlencoded", b"", Reason.NO_FORM),
        (b"application/x-www-form-urlencoded-not", form("secret"), Reason.NO_FORM),
        (b"multipart/form-data; boundary=x", form("secret"), Reason.NO_FORM),
        (b"application/json", b'{"password": "secret"}', Reason.NO_FORM),
        (b"", form("secret"), Reason.NO_FORM),
        (b"application/x-www-form-urlencoded", None, 413),
        (b"application/x-www-form-urlencoded", b"password=secret&" + b"x" * MAX_FORM, 413),
    ],
)
async def test_only_a_form_with_a_password_is_a_try(
    door: Door, kind: bytes, body: bytes | None, expected: object
) -> None:
    decision = await door.decide(lock(), visit({b"content-type": kind}, method="POST", body=body))
    if isinstance(decision, Challenge):
        assert decision.reason is expected
    elif isinstance(decision, Refused):
        assert decision.status == expected
    else:
        assert type(decision) is expected
    assert door.hashed == (expected is LoggedIn)


@pytest.mark.parametrize(
    ("sent", "foreign"),
    [
        ({b"sec-fetch-site": b"same-origin", b"origin": b"null"}, False),  # our page sends no referrer
        ({b"origin": b"null"}, False),
        ({b"origin": b"https://alice.pages.example.org"}, False),
        ({b"origin": b"https://ALICE.pages.example.org:8443"}, False),
        ({b"sec-fetch-site": b"none"}, False),
        ({b"sec-fetch-site": b"cross-site", b"origin": b"null"}, True),
        ({b"sec-fetch-site": b"same-site"}, True),
        ({b"origin": b"https://evil.pages.example.org"}, True),
        ({b"origin": b"https://[evil"}, True),
    ],
)
async def test_a_form_of_another_site_is_no_try_for_or_against_its_visitor(
    door: Door, sent: dict[bytes, bytes], foreign: bool
) -> None:
    for _ in range(10):
        decision = await door.decide(lock(), login("secret", sent))
        if foreign:
            assert isinstance(decision, Challenge)
            assert decision.reason is Reason.UNKNOWN
        else:
            assert isinstance(decision, LoggedIn)
    assert door.hashed == (0 if foreign else 10)


@pytest.mark.parametrize(
    ("sent", "counts"),
    [
        ({}, True),
        ({b"sec-fetch-site": b"same-origin", b"sec-fetch-mode": b"no-cors", b"sec-fetch-dest": b"script"}, True),
        ({b"sec-fetch-site": b"none", b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"document"}, True),
        # A link on a neighbour's page, or anybody's.
        ({b"sec-fetch-site": b"same-site", b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"document"}, True),
        ({b"sec-fetch-site": b"cross-site", b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"document"}, True),
        ({b"sec-fetch-site": b"same-site", b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"iframe"}, False),
        ({b"sec-fetch-site": b"same-site", b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"object"}, False),
        ({b"sec-fetch-site": b"same-site", b"sec-fetch-mode": b"no-cors", b"sec-fetch-dest": b"script"}, False),
        ({b"sec-fetch-site": b"same-site", b"sec-fetch-mode": b"no-cors", b"sec-fetch-dest": b"image"}, False),
        ({b"sec-fetch-site": b"cross-site", b"sec-fetch-mode": b"cors", b"sec-fetch-dest": b"empty"}, False),
        ({b"sec-fetch-site": b"same-site"}, False),
        ({b"sec-fetch-site": b"something new", b"sec-fetch-mode": b"no-cors"}, False),
    ],
)
@pytest.mark.parametrize("secure", [True, False])
async def test_a_login_does_not_count_where_another_sites_page_embeds_it(
    door: Door, sent: dict[bytes, bytes], counts: bool, secure: bool
) -> None:
    cookie = await door.log_in(lock(), secure=secure)
    decision = await door.decide(lock(), visit({b"cookie": cookie, **sent}, secure=secure))
    assert isinstance(decision, Granted) is counts
    header = {b"cookie": cookie, **sent}.get
    assert (door.access.logged_in(lock(), header, secure=secure) > 0) is counts


# --- tools ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "is_offered"),
    [
        ({}, True),
        ({b"accept": b"*/*"}, True),
        ({b"accept": b"application/json"}, True),
        ({b"accept": b"text/html"}, False),
        ({b"accept": b"application/json, TEXT/HTML;q=0.1"}, False),
        ({b"accept": b"image/avif,*/*;q=0.8", b"sec-fetch-mode": b"no-cors"}, False),  # an image on a page
        ({b"accept": b"*/*", b"sec-fetch-mode": b"cors"}, False),
    ],
)
async def test_basic_is_offered_to_tools_and_opens_no_dialog_in_a_browser(
    door: Door, headers: dict[bytes, bytes], is_offered: bool
) -> None:
    for sent in (headers, headers | {b"authorization": basic("wrong")}):
        decision = await door.decide(lock(), visit(sent))
        assert isinstance(decision, Challenge)
        assert decision.authenticate.startswith(b"Basic " if is_offered else b"Cookie ")
        assert b'realm="Pages /blog"' in decision.authenticate


async def test_a_right_basic_password_costs_one_hash_an_hour_for_each_visitor(door: Door) -> None:
    which, sent = lock(), {b"authorization": basic("secret")}
    for _ in range(100):
        assert await door.decide(which, visit(sent)) == Granted()
    assert door.hashed == 1
    assert await door.decide(which, visit({b"authorization": basic("secret", "another name")})) == Granted()
    assert door.hashed == 1
    assert await door.decide(which, visit(sent, client="198.51.100.1")) == Granted()
    assert door.hashed == 2
    door.clock.now += 3600
    assert await door.decide(which, visit(sent)) == Granted()
    assert door.hashed == 3


async def test_what_is_remembered_opens_nothing_else(door: Door) -> None:
    sent = visit({b"authorization": basic("secret")})
    assert await door.decide(lock(), sent) == Granted()
    for which in (
        lock(OTHER),
        lock(repository="other"),
        lock(owner="bob"),
        lock(branch="dev"),
        lock(SECRET, OTHER, "d"),
    ):
        assert isinstance(door.access.check(which, sent), Attempt)
    for password in ("wrong", "secret\0", ""):
        assert isinstance(door.access.check(lock(), visit({b"authorization": basic(password)})), Attempt)


async def test_memory_of_basic_is_bounded_and_holds_no_password(door: Door) -> None:
    which = lock()
    for n in range(REMEMBERED + 100):
        how = visit({b"authorization": basic("secret")}, client=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
        attempt = door.access.check(which, how)
        assert isinstance(attempt, Attempt)
        await door.access.settle(which, how, attempt)
    remembered = door.access._remembered
    assert len(remembered) == REMEMBERED
    assert b"secret" not in b"".join(remembered._entries)


async def test_connections_that_a_tool_opens_at_once_are_one_try(door: Door) -> None:
    which, how = lock(), visit({b"authorization": basic("secret")})
    decisions = await asyncio.gather(*(door.decide(which, how) for _ in range(50)))
    assert set(decisions) == {Granted()}
    assert door.hashed == 1
    wrong = visit({b"authorization": basic("wrong")})
    found = await asyncio.gather(*(door.decide(which, wrong) for _ in range(50)))
    assert {type(decision) for decision in found} == {Challenge}
    assert door.hashed == 2


async def test_a_tool_that_goes_away_does_not_end_the_try_of_the_others(executor: Executor) -> None:
    go = threading.Event()
    access = Access(KEY, 3600, executor, check_password=lambda hash, password: go.wait(30))
    which, how = lock(), visit({b"authorization": basic("secret")})
    attempt = access.check(which, how)
    assert isinstance(attempt, Attempt)
    one, other = (asyncio.create_task(access.settle(which, how, attempt)) for _ in range(2))
    await rounds()
    one.cancel()
    await rounds()
    go.set()
    assert await other == Granted()
    assert one.cancelled()


@pytest.mark.parametrize(
    ("field", "password"),
    [
        (b"Basic " + b"YTpi", b"b"),
        (b"basic   YTpi  ", b"b"),
        (b"BASIC YTpiOmM=", b"b:c"),
        (b"Basic Og==", b""),
        (b"Basic OnNlY3JldA==", b"secret"),
        (b"Basic YQ==", None),  # no colon
        (b"Basic", None),
        (b"Basic ", None),
        (b"Basic YTpi, Basic YTpi", None),
        (b"Basic YTpi!", None),
        (b"Basic YTp", None),
        (b"Bearer YTpi", None),
        (b"YTpi", None),
        (b"", None),
        (None, None),
        (b"Basic " + b"YTpi" * 5000, None),
        (b"Basic YTpi" + b" " * (8192 - 10), b"b"),
        (b"Basic YTpi" + b" " * (8192 - 9), None),
    ],
)
def test_basic_credentials_are_read_as_rfc_7617_says(field: bytes | None, password: bytes | None) -> None:
    assert basic_password(field) == password


@given(st.binary(max_size=100))
def test_no_authorization_and_no_form_raises(noise: bytes) -> None:
    basic_password(noise)
    basic_password(b"Basic " + noise)
    form_password(noise)
    assert form_password(b"password=" + noise.replace(b"&", b"")) is not None


@given(st.binary(max_size=60))
def test_a_form_gives_back_every_octet_of_a_password(password: bytes) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in password).encode()
    assert form_password(b"a=b&password=" + encoded + b"&c=d") == password


@pytest.mark.parametrize(
    ("form", "password"),
    [
        (b"password=a", b"a"),
        (b"password=", b""),
        (b"a=b&password=a+b%2B&password=c", b"a b+"),
        (b"%70assw%6f%6Frd=x&%70assw%6frd=a", b"a"),  # a name may be escaped, as anything may
        (b"Password=a", None),
        (b"%50assword=a", None),
        (b"apassword=a", None),
        (b"password", None),
        (b"passwords=a", None),
        (b"a=password=b", None),
        (b"password=" + b"+" * 4096 + b"&b", b" " * 4096),
        (b"password=" + b"+" * 4097, b"+" * 4097),
        (b"", None),
    ],
)
def test_the_first_field_of_the_name_is_the_password(form: bytes, password: bytes | None) -> None:
    assert form_password(form) == password


# --- guessing ---------------------------------------------------------------------------------------------------------


async def test_ten_thousand_guesses_are_hardly_hashed_at_all(door: Door) -> None:
    which = lock()
    seen: dict[int, int] = {}
    for n in range(10_000):
        how = login(f"guess {n}") if n % 2 else visit({b"authorization": basic(f"guess {n}")})
        decision = await door.decide(which, how)
        seen[getattr(decision, "status", 401)] = seen.get(getattr(decision, "status", 401), 0) + 1
    assert seen == {401: 5, 429: 9_995}
    assert door.hashed == 5


async def test_while_waiting_the_right_password_is_refused_like_a_wrong_one_until_the_wait_is_over(door: Door) -> None:
    which = lock()
    for n in range(5):
        await door.decide(which, login(f"guess {n}"))
    for how in (login("secret"), login("wrong"), visit({b"authorization": basic("secret")})):
        assert await door.decide(which, how) == Refused(429, 1)
    door.clock.now += 1
    assert isinstance(await door.decide(which, login("secret")), LoggedIn)


async def test_memory_of_basic_answers_no_guesses(door: Door) -> None:
    which, right = lock(), visit({b"authorization": basic("secret")})
    assert await door.decide(which, right) == Granted()
    for n in range(5):
        await door.decide(which, visit({b"authorization": basic(f"guess {n}")}))
    assert await door.decide(which, right) == Refused(429, 1)
    elsewhere = visit({b"authorization": basic("secret")}, client="198.51.100.1")
    assert isinstance(door.access.check(which, elsewhere), Attempt)


async def test_who_is_logged_in_is_not_touched_by_guesses_of_his_own_address(door: Door) -> None:
    cookie = await door.log_in(lock())
    for n in range(20):
        await door.decide(lock(), login(f"guess {n}"))
    assert await door.decide(lock(), visit({b"cookie": cookie})) == Granted()


async def test_a_visitor_of_ipv6_is_a_client_network(door: Door) -> None:
    found = [await door.decide(lock(), login(f"g{n}", client=f"2001:db8::{n:x}")) for n in range(10)]
    assert found[5:] == [Refused(429, 1)] * 5


async def test_too_many_at_once_are_told_to_come_again_and_not_counted(executor: Executor) -> None:
    go = threading.Event()

    def slow(hash: PasswordHash, password: bytes) -> bool:
        go.wait(30)
        return by_sha256(hash, password)

    access = Access(KEY, 3600, executor, check_password=slow)
    which = lock()

    async def attempt(n: int) -> Decision:
        how = login("secret", client=f"10.0.0.{n}")
        decision = access.check(which, how)
        assert isinstance(decision, Attempt)
        return await access.settle(which, how, decision)

    tasks = [asyncio.create_task(attempt(n)) for n in range(100)]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=30)
    go.set()
    decisions = [await task for task in tasks]
    refused = [decision for decision in decisions if isinstance(decision, Refused)]
    assert sum(isinstance(decision, LoggedIn) for decision in decisions) == 100 - len(refused)
    # One at a time of one owner, 0.2 s each before any was measured: 50 in ten seconds.
    assert 40 <= 100 - len(refused) <= 60
    assert {(each.status, (each.wait or 0) >= 1) for each in refused} == {(503, True)}
    assert {task.result() for task in done} <= set(refused)
    assert access.guesses.waiting(which.tally, "10.0.0.99") == 0


async def test_readers_of_other_sites_do_not_wait_behind_an_owner_of_many(executor: Executor) -> None:
    hashed: list[str] = []
    go = threading.Event()

    def slow(hash: PasswordHash, password: bytes) -> bool:
        go.wait(30)
        hashed.append(password.decode())
        return True

    access = Access(KEY, 3600, executor, check_password=slow)

    async def attempt(which: Lock, n: int) -> Decision:
        how = login(f"{which.site} {n}", client=f"10.0.0.{n}")
        decision = access.check(which, how)
        assert isinstance(decision, Attempt)
        return await access.settle(which, how, decision)

    locks = [lock(owner="mallory", repository=f"r{n}") for n in range(35)]
    tasks = [asyncio.create_task(attempt(each, n)) for n, each in enumerate(locks)]
    await rounds()
    mine = lock()
    reader = asyncio.create_task(attempt(mine, 99))
    await rounds(5)
    left = tasks[10:]
    for task in left:
        task.cancel()  # their clients leave: they are never hashed
    await asyncio.gather(*left, return_exceptions=True)
    go.set()
    assert isinstance(await reader, LoggedIn)
    assert hashed.index(f"{mine.site} 99") <= 2
    await asyncio.gather(*tasks[:10])
    assert len(hashed) == 11


async def test_what_cannot_be_checked_is_refused_and_not_counted(
    executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(hash: PasswordHash, password: bytes) -> bool:
        raise Unchecked("argon2 failed: MemoryError")

    access = Access(KEY, 3600, executor, check_password=broken)
    for n in range(20):
        how = login(f"guess {n}")
        attempt = access.check(lock(), how)
        assert isinstance(attempt, Attempt)
        assert await access.settle(lock(), how, attempt) == Refused(503, 5)
    assert "alice/blog" in caplog.text
    assert "guess" not in caplog.text
    assert SECRET not in caplog.text


async def test_a_fault_of_our_own_lets_nobody_in(executor: Executor) -> None:
    def broken(hash: PasswordHash, password: bytes) -> bool:
        raise RuntimeError("a bug")

    access = Access(KEY, 3600, executor, check_password=broken)
    attempt = access.check(lock(), login("secret"))
    assert isinstance(attempt, Attempt)
    with pytest.raises(RuntimeError):
        await access.settle(lock(), login("secret"), attempt)
    assert access.guesses.waiting(lock().tally, "192.0.2.7") == 0


async def test_nothing_secret_is_in_a_repr(door: Door) -> None:
    attempt = door.access.check(lock(), login("a very secret password"))
    shown = repr([attempt, lock(), KEY])
    for secret in ("very secret", SECRET[:10], "kkkk"):
        assert secret not in shown


# --- the plugin's holes -----------------------------------------------------------------------------------------------


async def test_no_cookie_of_any_value_opens_a_site_where_no_key_was_set(door: Door) -> None:  # S5
    for value in (b"x", b"1700000000", b"1", b"", b"true"):
        for name in (b"pages_auth_alice_blog", b"pages_branch_auth_alice_blog"):
            assert isinstance(door.access.check(lock(), visit({b"cookie": name + b"=" + value})), Challenge)


async def test_a_changed_password_ends_logins_and_remembered_tools(door: Door) -> None:  # S9
    cookie = await door.log_in(lock())
    both = visit({b"cookie": cookie, b"authorization": basic("secret")})
    assert await door.decide(lock(), both) == Granted()
    assert isinstance(await door.decide(lock(OTHER), both), Challenge)
    assert isinstance(await door.decide(lock(QUICK.replace("MDEy", "MDEz")), both), Challenge)


@pytest.mark.parametrize("value", [SECRET, SECRET.upper()])
async def test_hex_in_either_case_opens(door: Door, value: str) -> None:  # S10
    assert isinstance(await door.decide(lock(value), login("secret")), LoggedIn)


@pytest.mark.parametrize(
    ("asked", "location"),
    {
        "/": "/",
        "/blog/a.html?x=1&y=%20": "/blog/a.html?x=1&y=%20",
        "/blog/?": "/blog/?",
        "/caf%C3%A9/%E2%82%AC": "/caf%C3%A9/%E2%82%AC",
        "//evil.test/x": "/evil.test/x",
        "///evil.test": "/evil.test",
        "/\\evil.test": "/%5Cevil.test",
        "\\\\evil.test": "/%5C%5Cevil.test",
        "https://evil.test/": "/https://evil.test/",
        "javascript:alert(1)": "/javascript:alert(1)",
        "": "/",
        "/a\r\nSet-Cookie: x=y": "/a%0D%0ASet-Cookie:%20x=y",
        "/a?b\r\nc": "/a?b%0D%0Ac",
        "/a#b?c#d": "/a%23b?c%23d",
        "/\t/evil.test": "/%09/evil.test",
        " //evil.test": "/%20//evil.test",
        "/%2F/evil.test": "/%2F/evil.test",
        "/caf\udce9?\udce9\u20ac": "/caf%E9?%E9%E2%82%AC",
        '/"<>?"<>': "/%22%3C%3E?%22%3C%3E",
    }.items(),
)
def test_a_login_leads_back_to_the_same_path_and_query(asked: str, location: str) -> None:  # S20
    path, mark, query = asked.partition("?")
    assert return_target(path, query if mark else None) == location


@given(st.text(max_size=40), st.none() | st.text(max_size=20))
def test_a_login_never_leads_to_another_host(path: str, query: str | None) -> None:
    path = path.encode("utf-8", "replace").decode()
    query = query and query.encode("utf-8", "replace").decode()
    for begin in ("", "/", "//", "/\\", "/\t/", "https:"):
        location = return_target(begin + path, query)
        assert location.isascii()
        assert location.isprintable()
        assert location.startswith("/")
        assert location[1:2] not in ("/", "\\")
        assert "\\" not in location
        here = urlsplit(urljoin("https://alice.pages.example.org/blog/", location))
        assert (here.scheme, here.netloc, here.fragment) == ("https", "alice.pages.example.org", "")


# --- what is told -----------------------------------------------------------------------------------------------------

LOCK = lock()


def told(decision: Decision, which: Lock | None = LOCK, how: Visit | None = None) -> replies.Reply:
    found = replies.reply(decision, which, how or visit(HTML), 3600)
    assert found is not None
    return found


async def test_each_decision_has_its_status_and_its_words(door: Door) -> None:
    asked = told(Challenge(Reason.UNKNOWN, b"Cookie x"))
    assert (asked.status, asked.headers) == (401, ((b"WWW-Authenticate", b"Cookie x"),))
    assert "role" not in {name for element in document(asked.page).all() for name in element.attributes}
    wrong = told(Challenge(Reason.WRONG, b"Cookie x"))
    assert wrong.status == 401
    assert "Incorrect password" in document(wrong.page).one("form").text
    no_form = told(Challenge(Reason.NO_FORM, b"Cookie x"))
    assert "Invalid form data" in document(no_form.page).one("form").text
    waits = told(Refused(429, 90))
    assert (waits.status, waits.headers) == (429, ((b"Retry-After", b"90"),))
    assert "90 seconds" in document(waits.page).one("form").text
    busy = told(Refused(503, 5))
    assert (busy.status, busy.headers) == (503, ((b"Retry-After", b"5"),))
    again = told(Refused(429, 5))  # who waits for its own tries is told so, and who waits for others is told that
    assert document(again.page).one("form").text != document(busy.page).one("form").text
    assert "Too many" in document(again.page).one("form").text
    assert told(Refused(413)).status == 413
    logged_in = told(LoggedIn("/blog/", (b"a=b", b"c=d")))
    assert logged_in == (
        303,
        ((b"Location", b"/blog/"), (b"Set-Cookie", b"a=b"), (b"Set-Cookie", b"c=d")),
        b"",
    )


async def test_a_site_whose_password_is_no_hash_is_closed_and_says_why_without_repeating_it() -> None:
    with pytest.raises(AccessFault) as fault:
        lock("hunter2")
    closed = told(Refused(403, None, fault.value.reason), None)
    assert (closed.status, closed.headers) == (403, ())
    assert b"pages hash" in closed.page
    assert b"hunter2" not in closed.page
    assert not list(document(closed.page).all("form"))


async def test_a_branch_is_asked_for_in_its_own_words() -> None:
    page = document(told(Challenge(Reason.UNKNOWN, b"x"), lock(branch="dev")).page)
    assert page.one("h1").text == "Branch Access Protected"
    assert document(told(Challenge(Reason.UNKNOWN, b"x")).page).one("h1").text == "Password Protected"


async def test_existing_and_missing_paths_are_answered_alike(door: Door) -> None:
    answers = {
        told(await door.decide(LOCK, visit(HTML, path=path)), how=visit(HTML, path=path))
        for path in ("/blog/", "/blog/index.html", "/blog/missing", "/blog/a?b")
    }
    assert len(answers) == 1


@pytest.mark.parametrize("decision", [Open(), Granted(), Attempt(b"", True, b"")])
def test_who_may_enter_is_told_nothing(decision: Decision) -> None:
    assert replies.reply(decision, LOCK, visit(), 3600) is None


async def test_hostile_hosts_and_paths_are_text_on_the_page(door: Door) -> None:  # S15
    how = visit(HTML, host="<script>alert(1)</script>", base='/"><img src=x>/')
    page = told(Challenge(Reason.UNKNOWN, b"x"), how=how).page
    assert b"<script" not in page
    assert b"<img" not in page
    assert "<script>alert(1)</script>" in document(page).text


async def test_a_log_out_ends_what_the_browser_shows_and_says_so(door: Door) -> None:
    cookie = await door.log_in(lock(repository=".profile"))
    found = replies.logged_out(b"a=b; " + cookie, True, "alice.pages.example.org")
    assert found.status == 200
    ((name, value),) = found.headers
    assert name == b"Set-Cookie"
    assert value.startswith(b"__Host-pages_auth_alice_.profile=; Path=/; Max-Age=0; ")
    assert b"logged out" in found.page
    assert replies.logged_out(None, True, "h").headers == ()


CORP = (b"Cross-Origin-Resource-Policy", b"same-origin")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            [(b"Cache-Control", b"public, max-age=300"), (b"ETag", b'"x"'), (b"Vary", b"Accept-Encoding")],
            [
                (b"ETag", b'"x"'),
                CORP,
                (b"Cache-Control", b"private, no-cache"),
                (b"Vary", b"Accept-Encoding, Cookie, Authorization"),
            ],
        ),
        (
            [(b"Access-Control-Allow-Origin", b"*"), (b"cross-origin-resource-policy", b"cross-origin"), (b"X", b"y")],
            [
                (b"X", b"y"),
                CORP,
                (b"Cache-Control", b"private, no-cache"),
                (b"Vary", b"Cookie, Authorization"),
            ],
        ),
        (
            [],
            [
                CORP,
                (b"Cache-Control", b"private, no-cache"),
                (b"Vary", b"Cookie, Authorization"),
            ],
        ),
        (
            [(b"cache-control", b"no-store"), (b"Expires", b"x"), (b"Pragma", b"x")],
            [
                CORP,
                (b"Cache-Control", b"no-store"),
                (b"Vary", b"Cookie, Authorization"),
            ],
        ),
        (
            [(b"Cache-Control", b"public"), (b"Cache-Control", b"immutable"), (b"Vary", b"A"), (b"vary", b"B")],
            [
                CORP,
                (b"Cache-Control", b"private, no-cache"),
                (b"Vary", b"A, B, Cookie, Authorization"),
            ],
        ),
    ],
)
def test_what_only_some_may_see_is_kept_by_no_shared_cache(  # S8
    headers: list[tuple[bytes, bytes]], expected: list[tuple[bytes, bytes]]
) -> None:
    before = list(headers)
    assert private(headers) == expected
    assert headers == before


async def test_one_password_is_hashed_at_a_time_and_whole_networks_take_turns(executor: Executor) -> None:
    go = threading.Event()
    order: list[bytes] = []
    running: list[int] = [0, 0]  # now, and at most

    def slow(hash: PasswordHash, password: bytes) -> bool:
        running[0] += 1
        running[1] = max(running)
        order.append(password)
        go.wait(30)
        running[0] -= 1
        return by_sha256(hash, password)

    access = Access(KEY, 3600, executor, check_password=slow)

    async def attempt(password: str, client: str, owner: str = "alice") -> Decision:
        which, how = lock(owner=owner), login(password, client=client)
        decision = access.check(which, how)
        assert isinstance(decision, Attempt)
        return await access.settle(which, how, decision)

    flood = [asyncio.create_task(attempt(f"guess {n}", f"2001:db8:7:{n:x}::1")) for n in range(30)]
    await asyncio.sleep(0)
    others = [
        asyncio.create_task(attempt("secret", "2001:db8:8::1")),
        asyncio.create_task(attempt("secret", "192.0.2.7")),
        asyncio.create_task(attempt("secret", "192.0.2.7", "bob")),
    ]
    await asyncio.sleep(0)
    go.set()
    assert all(isinstance(each, LoggedIn) for each in await asyncio.gather(*others))
    await asyncio.gather(*flood)
    assert running == [0, 1]
    # The one that ran, and one of the network in each round.
    assert [at for at, password in enumerate(order) if password == b"secret"][-1] <= 5


# --- who is known -----------------------------------------------------------------------------------------------------


async def test_who_knew_the_password_is_a_visitor_of_its_own_in_a_network_that_guesses(door: Door) -> None:
    which, reader = lock(), "2001:db8:7:ff::1"
    assert isinstance(await door.decide(which, login("secret", client=reader)), LoggedIn)
    for number in range(60):
        door.clock.now += 0.1
        await door.decide(which, login(f"guess {number}", client=f"2001:db8:7:{number:x}::1"))
    fresh = await door.decide(which, login("secret", client="2001:db8:7:aa::1"))
    assert isinstance(fresh, Refused)
    assert fresh.status == 429
    for number in range(5):  # as many tries as anybody has, for whom no network answers
        assert isinstance(await door.decide(which, login(f"typo {number}", client=reader)), Challenge)
    other = lock(repository="other")  # where it knows nothing, and nobody of its network has failed
    assert isinstance(await door.decide(other, login("typo", client=reader)), Challenge)


async def test_what_becomes_of_passwords_is_counted(executor: Executor) -> None:
    errors: list[bool] = []

    def check(hash: PasswordHash, password: bytes) -> bool:
        if errors:
            raise Unchecked("argon2 failed: MemoryError")
        return by_sha256(hash, password)

    clock = Clock(START)
    access = Access(KEY, 3600, executor, clocks=Clocks(clock, clock), check_password=check)

    async def tried(password: str) -> None:
        attempt = access.check(lock(), login(password))
        assert isinstance(attempt, Attempt)
        await access.settle(lock(), login(password), attempt)

    for password in ("a", "b", "c", "secret", "d", "e", "f", "g", "h", "i"):
        await tried(password)
    assert access.outcomes == {"wrong": 8, "right": 1, "limited": 1}
    clock.now += 60
    errors.append(True)
    await tried("secret")
    assert access.outcomes == {"wrong": 8, "right": 1, "limited": 1, "busy": 1}


async def test_a_cookie_alone_tells_until_when_it_opens(door: Door) -> None:
    which = lock()
    secure, plain = await door.log_in(which), await door.log_in(which, secure=False)
    start = door.clock.now

    def until(cookie: bytes | None, *, secure: bool = True, **more: bytes) -> float:
        sent = {name.replace("_", "-").encode(): value for name, value in more.items()}
        return door.access.logged_in(which, (sent | ({b"cookie": cookie} if cookie else {})).get, secure=secure)

    door.clock.now += 600
    assert until(secure) == until(plain, secure=False) == start + 3600
    for nothing in (None, b"a=b", plain, secure[:-1]):
        assert until(nothing) == 0.0
    assert until(secure, secure=False) == 0.0
    assert until(secure, sec_fetch_site=b"cross-site", sec_fetch_mode=b"no-cors", sec_fetch_dest=b"image") == 0.0
    door.clock.now = start + 3600
    assert until(secure) == 0.0


async def test_who_keeps_answers_is_told_when_logins_end(door: Door) -> None:
    told: list[bool] = []
    cookie = await door.log_in(lock())
    door.access.adopted = lambda: told.append(
        isinstance(door.access.check(lock(), visit({b"cookie": cookie})), Granted)
    )
    tool = visit({b"authorization": basic("secret")})
    assert await door.decide(lock(), tool) == Granted()
    door.access.adopt(SigningKey(b"a" * 32, Source.SHARED))
    assert told == [False]
    assert isinstance(door.access.check(lock(), tool), Attempt)


async def test_what_runs_is_ended_with_it(executor: Executor) -> None:
    go = threading.Event()
    access = Access(KEY, 3600, executor, check_password=lambda hash, password: go.wait(30))
    attempts = [access.check(lock(), login(f"guess {number}")) for number in range(3)]
    tasks = [
        asyncio.create_task(access.settle(lock(), login("guess"), attempt))
        for attempt in attempts
        if isinstance(attempt, Attempt)
    ]
    await rounds(3)
    assert len(access._running) == 3
    assert [(name, turns.busy, turns.waiting) for name, turns in access.queues.items()] == [("passwords", 1, 2)]
    await access.aclose()
    go.set()
    done, waiting = await asyncio.wait(tasks, timeout=30)
    assert (len(done), len(waiting)) == (3, 0)
    assert all(task.cancelled() for task in tasks)
    assert access._running == {}


@pytest.mark.parametrize(
    ("body", "password"),
    by_outcome(
        {
            b"a": [b"password=a", b"password=a&password=b", b"pass%77ord=a"],
            b"b": [b"password&password=b"],
            b"a b+": [b"x=1&password=a+b%2B"],
            b"": [b"password="],
            None: [b"password", b"Password=a", b""],
        }
    ),
)
def test_the_password_is_the_first_field_of_that_name(body: bytes, password: bytes | None) -> None:
    assert form_password(body) == password
