# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Routing: which host and path mean what, and that no spelling of a request gets around it."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from addon.web.routing import (
    Candidate,
    CleanPath,
    ForgejoRequest,
    OtherHost,
    OwnRequest,
    PagesDomain,
    Path,
    PreviewRequest,
    Refusal,
    Route,
    SiteRequest,
    candidates,
    host_name,
    is_owner_name,
    is_repository_name,
    owner_of,
    parse_path,
    profile_decides,
    route,
)
from tests.cases import by_outcome

DOMAIN = "pages.example.com"
FORGE = "git.example.com"

# What attacks on paths are made of, so that Hypothesis mixes them instead of having to find them.
PIECES = st.sampled_from(
    [
        *("/", "//", "\\", ".", "..", "a", "blog", ".pages", ".profile", "index.html", "%", "%2", "%2e", "%2E%2e"),
        *(
            "%252e",
            "%2f",
            "%2F",
            "%5c",
            "%5C",
            "%00",
            "%0d%0a",
            "%7f",
            "%c0%ae",
            "%e2%82",
            "%ff",
            "%c3%a9",
            "é",
            "日本",
        ),
        *(
            "\udcff",
            "?",
            "#",
            ":",
            "@",
            ";",
            "evil.com",
            " ",
            "\r\n",
            "\0",
            "&",
            "'",
            '"',
            "<",
            "%3cscript%3e",
            "\ud800",
        ),
    ]
)
RAW_PATHS = st.one_of(
    st.text(max_size=40),
    st.lists(PIECES, max_size=14).map("".join),
    st.lists(PIECES, max_size=14).map(lambda pieces: "/" + "".join(pieces)),
)
HOST_PIECES = st.sampled_from(
    [
        *("alice", "ALICE", ".", "..", "pages.example.com", "Pages.Example.COM", FORGE, "evil", ":", "80", "8080", "["),
        *(
            "]",
            "::1",
            "@",
            ",",
            " ",
            "\t",
            "xn--bcher-kva",
            "bücher",
            "ß",
            "。",
            "…",
            "：",
            "／",
            "%2e",
            "/",
            "\\",
            "\0",
        ),
        *("_", "-", "\u200d", "\udcff", "٣", "ﬀ", "İ", "K", "a" * 63, "a" * 64, "é" * 260),
    ]
)
AUTHORITIES = st.one_of(st.text(max_size=40), st.lists(HOST_PIECES, max_size=8).map("".join))


def routed(host: str | None, path: str, forgejo_host: str | None = FORGE) -> Route:
    return route(host, path, pages_domain=DOMAIN, forgejo_host=forgejo_host)


def clean(*segments: str, slash: bool = False) -> Path:
    return Path(segments, slash or not segments)


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        ("pages.example.com", "pages.example.com"),
        ("PAGES.Example.Com", "pages.example.com"),
        (" pages.example.com\t", "pages.example.com"),
        ("pages.example.com:8080", "pages.example.com"),
        ("pages.example.com:", "pages.example.com"),
        ("pages.example.com.", "pages.example.com"),
        ("pages.example.com.:443", "pages.example.com"),
        ("under_score.example.com", "under_score.example.com"),
        ("localhost", "localhost"),
        ("127.0.0.1:8080", "127.0.0.1"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example:80", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("alice。pages．example.com", "alice.pages.example.com"),  # RFC 3490 3.1: these are dots
        ("bücher.example。", "xn--bcher-kva.example"),
        ("[::1]", "[::1]"),
        ("[::1]:8080", "[::1]"),
        ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ("[2001:DB8::A]", "[2001:db8::a]"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_one_host_has_one_name_however_it_is_written(authority: str, expected: str) -> None:
    assert host_name(authority) == expected


@pytest.mark.parametrize(
    "authority",
    [
        *("", ".", "..", " ", ":80", "a..b", "a.example..", ".a.example", "a b", "a,b", "a.example, b.example"),
        *("user@a.example", "user:pw@a.example", "http://a.example", "a.example/x", "a.example\\x", "a.example?x"),
        *("a.example#x", "a%2eexample", "a\0b", "a\r\nb", "a.example\n", "*.example", "a.example:80:80", "::1"),
        *("a.example:x", "a.example:-1", "a.example:123456", "a.example: 80", "a.example:٣", "a.example：80"),
        *("-a.example", "a-.example", "a" * 64 + ".example", ".".join(["a" * 49] * 6), "é" * 254, "x\udcff.example"),
        *("[::1", "[]", "[::1]x", "[::1]:x", "[::1]:٣", "[::1]:1:2", "[::::]", "[fe80::1%25eth0]", "[a.example]"),
        *("[1.2.3.4]", "[[::1]]", "…example", "a․․b", "straße.example", "ς.example", "a\u200db.example"),
    ],
)
def test_what_is_not_exactly_one_host_is_no_host(authority: str) -> None:
    assert host_name(authority) is None


@given(AUTHORITIES)
@example("alice.pages.example.com")
def test_a_host_name_is_plain_ascii_and_its_own_name(authority: str) -> None:
    name = host_name(authority)
    if name is not None:
        assert re.fullmatch(r"[a-z0-9_.-]{1,253}|\[[0-9a-f:.]+\]", name)
        assert not name.startswith(".")
        assert not name.endswith(".")
        assert ".." not in name
        assert host_name(name) == name
        assert host_name(f"{name.upper()}:443") == name


@pytest.mark.parametrize(
    ("host", "owner"),
    [
        ("alice.pages.example.com", "alice"),
        ("al.ice.pages.example.com", "al.ice"),
        ("pages.pages.example.com", "pages"),
        ("pages.example.com.pages.example.com", "pages.example.com"),
        ("pages.example.com", None),
        ("evilpages.example.com", None),
        ("alice.evilpages.example.com", None),
        ("example.com", None),
        ("pages.example.com.evil.org", None),
        ("alice.pages.example.com.evil.org", None),
        ("alice.pages.example.comm", None),
    ],
)
def test_owners_are_found_by_label_and_never_by_the_end_of_a_text(host: str, owner: str | None) -> None:
    assert owner_of(host, DOMAIN) == owner


@pytest.mark.parametrize(
    ("name", "possible"),
    by_outcome(
        {
            True: [
                *("alice", "al.ice", "a-b_c.d", "0", "a_", "a" * 100),
                "a--b",  # from before the rule against it
            ],
            False: [
                *("", ".", "..", ".a", "a.", "-a", "a-", "a..b", "_dmarc", "Alice", "é", "a\n", "a/b", "xn--bcher-kva"),
                *("a" * 101, "a" * 99 + "!", "a" + ".-" * 49 + "!"),
            ],
        }
    ),
)
def test_only_what_forgejo_could_call_an_owner_is_asked_for(name: str, possible: bool) -> None:
    assert is_owner_name(name) is possible


@pytest.mark.parametrize(
    ("name", "possible"),
    by_outcome(
        {
            True: ["blog", "Mixed.Case_1", ".profile", "-x", "_x", "a..b", "v1.2", "x" * 100],
            False: [
                *("", ".", "..", "-", "a b", "a/b", "a\\b", "a%b", "é", "٣", "a\n", "\ufffd", "a\0", "x" * 101),
                *("x.git", "x.GIT", "x.wiki", "x.rss", "x.Atom", ".git"),
            ],
        }
    ),
)
def test_only_what_forgejo_could_call_a_repository_is_asked_for(name: str, possible: bool) -> None:
    assert is_repository_name(name) is possible


@pytest.mark.parametrize(
    ("raw", "decoded"),
    {
        "/": "",
        "/a": "a",
        "/a/": "a",
        "/a/b.html": "a/b.html",
        "/A/b": "A/b",
        "/a%20b": "a b",
        "/%09a%09b": "\ta\tb",
        "/a b": "a b",
        "/a+b": "a+b",
        "/a&b;c=d": "a&b;c=d",
        "/%61": "a",
        "/%C3%A9t%c3%a9": "été",
        "/été": "été",
        "/%25": "%",
        "/%252e%252e/x": "%2e%2e/x",
        "/%252f": "%2f",
        "/%2500": "%00",
        "/...": "...",
        "/.hidden": ".hidden",
        "/a..b/..c/d..": "a..b/..c/d..",
        "/..%5C..%5Cx": "..\\..\\x",  # a file name in git; nobody below splits at it
        "/back%5cslash.txt": "back\\slash.txt",
        "/quest%3Fion": "quest?ion",
        "/ha%23sh": "ha#sh",
        # Forgejo lists each byte that is no UTF-8 as U+FFFD, by itself.
        "/bad%ff.txt": "bad\ufffd.txt",
        "/bad\udcff.txt": "bad\ufffd.txt",
        "/%e2%82.txt": "\ufffd\ufffd.txt",
        "/%c0%ae%c0%ae/x": "\ufffd\ufffd\ufffd\ufffd/x",  # overlong `..`
        "/%c0%af": "\ufffd\ufffd",  # overlong `/`
        "/%ed%a0%80": "\ufffd\ufffd\ufffd",  # a surrogate
    }.items(),
)
def test_a_path_is_decoded_exactly_once(raw: str, decoded: str) -> None:
    assert parse_path(raw) == Path(tuple(decoded.split("/")) if decoded else (), raw.endswith("/"))


@pytest.mark.parametrize(
    ("raw", "location"),
    [
        ("//", "/"),
        ("///", "/"),
        ("/.", "/"),
        ("/./", "/"),
        ("/a/..", "/"),
        ("/a//b", "/a/b"),
        ("/a//", "/a/"),
        ("/a/.", "/a/"),
        ("/a/./b", "/a/b"),
        ("/a/b/..", "/a/"),
        ("/a/../b", "/b"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/.%2E/b", "/b"),
        ("/a/b/%2e%2e", "/a/"),
        ("/%2e/b", "/b"),
        ("//evil.com", "/evil.com"),
        ("//evil.com/", "/evil.com/"),
        ("///evil.com/%2e%2e", "/"),
        ("//evil.com//..", "/"),
        ("/.//evil.com", "/evil.com"),
        ("//%5cevil.com", "/%5Cevil.com"),
        ("/./%5C%5Cevil.com", "/%5C%5Cevil.com"),
        ("//é%3f%23%25", "/%C3%A9%3F%23%25"),
        ("//%252e%252e/x", "/%252e%252e/x"),
        ("/x/../.pages/y", "/.pages/y"),
    ],
)
def test_a_path_that_needs_cleaning_is_sent_to_its_clean_form(raw: str, location: str) -> None:
    assert parse_path(raw) == CleanPath(location)


def test_a_path_is_read_up_to_its_greatest_length() -> None:
    assert parse_path("/" + "a" * 8191) == Path(("a" * 8191,), False)
    refused = parse_path("/" + "a" * 8192)
    assert (type(refused), refused.status) == (Refusal, 414)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "raw",
    [
        *("", "a", "*", "http://a.example/", "?", "../x", "\\a", "%2f"),
        *("/..", "/../x", "/a/../../x", "/%2e%2e/etc/passwd", "/./.."),
        *("/a\\b", "/\\evil.com", "/a#b", "/%", "/a%2", "/a%g0", "/%%32%65", "/%u002e"),
        *("/a%2fb", "/a%2Fb", "/..%2f..%2fx", "/%2F%2Fevil.com", "/%00", "/a%00.html", "/a\0", "/a%0ab", "/a%0Db"),
        *("/a\r\nb", "/%1f", "/%7F", "/\x7f", "/a\tb", "/\ud800"),
    ],
)
def test_a_path_that_could_be_read_in_two_ways_is_refused(raw: str) -> None:
    parsed = parse_path(raw)
    assert isinstance(parsed, Refusal)
    assert parsed.status == 400
    assert parsed.reason.endswith(".")


@given(RAW_PATHS)
@example("//evil.com")
@example("/%5c%5cevil.com/..")
def test_no_path_gets_out_and_each_clean_path_is_its_own(raw: str) -> None:
    parsed = parse_path(raw)
    if isinstance(parsed, Refusal):
        return
    location = parsed.location if isinstance(parsed, CleanPath) else str(parsed)
    assert re.fullmatch(r"/(?:[A-Za-z0-9!$&'()*+,;=:@._~-]|%[0-9A-F]{2}|/(?!/))*", location)
    assert not location.startswith("//")
    again = parse_path(location)
    assert isinstance(again, Path)
    assert str(again) == location
    assert isinstance(parsed, CleanPath) or again == parsed
    for segment in again.segments:
        assert segment not in ("", ".", "..")
        assert not re.search(r"[/\x00-\x1f\x7f]", segment)
        segment.encode()
    assert len(again.segments) <= raw.count("/")


@given(st.lists(st.binary(min_size=1, max_size=12), max_size=5), st.booleans())
def test_what_a_browser_encodes_arrives_as_it_was(names: list[bytes], slash: bool) -> None:
    raw = "/" + "/".join("".join(f"%{byte:02x}" for byte in name) for name in names) + ("/" if slash and names else "")
    parsed = parse_path(raw)
    plain = all(not re.search(rb"[\x00-\x1f\x7f/]", name) and name not in (b".", b"..") for name in names)
    assert isinstance(parsed, Path) or not plain
    if isinstance(parsed, Path):
        assert parsed.slash == (slash or not names)
        for name, segment in zip(names, parsed.segments, strict=True):
            assert segment.encode() == name or "\ufffd" in segment


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("alice.pages.example.com", "/", SiteRequest("alice", clean())),
        ("Alice.Pages.Example.com.:8080", "/Blog/x", SiteRequest("alice", clean("Blog", "x"))),
        ("al.ice.pages.example.com", "/a/", SiteRequest("al.ice", clean("a", slash=True))),
        ("alice.pages.example.com", "//x", CleanPath("/x")),
        ("pages.example.com", "/", PagesDomain(clean())),
        ("pages.example.com:443", "/alice", PagesDomain(clean("alice"))),
        ("evilpages.example.com", "/", OtherHost("evilpages.example.com", clean())),
        ("www.example.org", "/x", OtherHost("www.example.org", clean("x"))),
        ("example.com", "/", OtherHost("example.com", clean())),
        ("[::1]:8080", "/", OtherHost("[::1]", clean())),
        ("alice.pages.example.com", "/.pages/login", OwnRequest(clean(".pages", "login"))),
        ("alice.pages.example.com", "/.pages", OwnRequest(clean(".pages"))),
        ("alice.pages.example.com", "/%2epages/x", OwnRequest(clean(".pages", "x"))),
        ("pages.example.com", "/.pages/", OwnRequest(clean(".pages", slash=True))),
        ("www.example.org", "/.pages/x", OwnRequest(clean(".pages", "x"))),
        ("alice.pages.example.com", "/.pagesx", SiteRequest("alice", clean(".pagesx"))),
        ("alice.pages.example.com", "/blog/.pages", SiteRequest("alice", clean("blog", ".pages"))),
        (FORGE, "/alice/blog", ForgejoRequest()),
        ("GIT.example.com.:443", "//a/../%2f\\", ForgejoRequest()),
        (FORGE, "/.pages/x", OwnRequest(clean(".pages", "x"))),
        (FORGE, "/.pages", OwnRequest(clean(".pages"))),
        (FORGE, "/.pages//x", CleanPath("/.pages/x")),
        (FORGE, "/.pagesx", ForgejoRequest()),
        ("x." + FORGE, "/", OtherHost("x.git.example.com", clean())),
    ],
)
def test_host_and_path_decide_what_is_asked_for(host: str, path: str, expected: Route) -> None:
    assert routed(host, path) == expected


@pytest.mark.parametrize("host", [None, "", "a b", "alice@pages.example.com", "a.example, git.example.com"])
def test_a_request_without_exactly_one_host_is_refused(host: str | None) -> None:
    answer = routed(host, "/")
    assert isinstance(answer, Refusal)
    assert answer.status == 400
    assert "Invalid request format" in answer.reason


def test_without_a_public_host_nothing_passes_through_to_forgejo() -> None:
    assert routed(FORGE, "/", forgejo_host=None) == OtherHost(FORGE, clean())


def test_forgejos_host_may_lie_below_the_pages_domain() -> None:
    assert routed("git.pages.example.com", "/x", forgejo_host="git.pages.example.com") == ForgejoRequest()


@given(AUTHORITIES, RAW_PATHS)
def test_only_forgejos_own_host_is_ever_passed_through(host: str, path: str) -> None:
    answer = routed(host, path)
    assert not isinstance(answer, ForgejoRequest) or host_name(host) == FORGE
    if isinstance(answer, SiteRequest):
        assert f"{answer.owner}.{DOMAIN}" == host_name(host)
        assert answer.path.segments[:1] != (".pages",)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", [(".profile", (), ())]),
        ("/about.html", [(".profile", ("about.html",), ()), ("about.html", (), ("about.html",))]),
        ("/blog", [("blog", (), ("blog",)), (".profile", ("blog",), ())]),
        ("/blog/", [("blog", (), ("blog",)), (".profile", ("blog",), ())]),
        ("/Blog/a/b", [("Blog", ("a", "b"), ("Blog",)), (".profile", ("Blog", "a", "b"), ())]),
        ("/css/x.css", [("css", ("x.css",), ("css",)), (".profile", ("css", "x.css"), ())]),
        ("/v1.2/", [("v1.2", (), ("v1.2",)), (".profile", ("v1.2",), ())]),
        ("/v1.2/x", [("v1.2", ("x",), ("v1.2",)), (".profile", ("v1.2", "x"), ())]),
        ("/v1.2", [(".profile", ("v1.2",), ()), ("v1.2", (), ("v1.2",))]),
        ("/.profile/x", [(".profile", ("x",), (".profile",))]),
        ("/.Profile/", [(".Profile", (), (".Profile",))]),
        ("/.well-known/x", [(".well-known", ("x",), (".well-known",)), (".profile", (".well-known", "x"), ())]),
        # What cannot be a repository is never asked for.
        ("/été/x", [(".profile", ("été", "x"), ())]),
        ("/a%20b/x", [(".profile", ("a b", "x"), ())]),
        ("/x.git/config", [(".profile", ("x.git", "config"), ())]),
        ("/-/x", [(".profile", ("-", "x"), ())]),
        ("/%252e%252e/x", [(".profile", ("%2e%2e", "x"), ())]),
        ("/a%5Cb/x", [(".profile", ("a\\b", "x"), ())]),
    ],
)
def test_a_path_may_be_a_repositorys_or_the_profiles(path: str, expected: list[tuple[object, ...]]) -> None:
    parsed = parse_path(path)
    assert isinstance(parsed, Path)
    assert [tuple(candidate) for candidate in candidates(parsed)] == expected


@given(RAW_PATHS)
def test_each_candidate_can_be_a_repository_and_accounts_for_the_whole_path(raw: str) -> None:
    parsed = parse_path(raw)
    if isinstance(parsed, Path):
        found = candidates(parsed)
        assert found
        for candidate in found:
            assert isinstance(candidate, Candidate)
            assert is_repository_name(candidate.repository)
            assert candidate.base + candidate.segments == parsed.segments
            assert candidate.base in ((), (candidate.repository,))
        assert len({candidate.repository.lower() for candidate in found}) == len(found)


@pytest.mark.parametrize(
    ("path", "decides"),
    by_outcome(
        {
            True: ["/favicon.ico", "/robots.txt", "/x.html"],
            False: ["/blog", "/v1.2", "/alice.org", "/favicon.ico/", "/css/x.css", "/"],
        }
    ),
)
def test_a_missing_web_file_at_the_root_asks_for_no_repository(path: str, decides: bool) -> None:
    parsed = parse_path(path)
    assert isinstance(parsed, Path)
    assert profile_decides(parsed) is decides


@given(RAW_PATHS)
def test_a_path_names_the_same_bytes_as_its_clean_form(raw: str) -> None:
    parsed = parse_path(raw)
    if isinstance(parsed, Path) and not any("\ufffd" in segment for segment in parsed.segments):
        sent = unquote_to_bytes(raw.encode("utf-8", "surrogateescape"))
        assert unquote_to_bytes(str(parsed)) == sent


PREVIEWED = [
    ("pr-1--blog--alice.preview.example.net", "pr-1--blog--alice"),
    ("PR-1--Blog--Alice.Preview.Example.Net.:8443", "pr-1--blog--alice"),
    ("a.b.preview.example.net", "a.b"),
    ("preview.example.net", ""),
    ("evilpreview.example.net", None),
    ("pr-1--blog--alice.pages.example.com", None),
]


@pytest.mark.parametrize(("host", "label"), PREVIEWED)
def test_hosts_of_previews_are_found_by_label(host: str, label: str | None) -> None:
    def found(preview_domain: str | None) -> Route:
        return route(host, "/a", pages_domain=DOMAIN, forgejo_host=FORGE, preview_domain=preview_domain)

    target = found("preview.example.net")
    if label is None:
        assert not isinstance(target, PreviewRequest)
        assert target == found(None)
    else:
        assert target == PreviewRequest(label, Path(("a",), False))
        assert isinstance(found(None), OtherHost)
    forge = route(FORGE, "/a", pages_domain=DOMAIN, forgejo_host=FORGE, preview_domain="example.com")
    assert isinstance(forge, ForgejoRequest)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", PagesDomain(Path((), True))),
        ("/alice", SiteRequest("alice", Path((), False), ("alice",))),
        ("/Alice/", SiteRequest("alice", Path((), True), ("Alice",))),
        ("/alice/blog/", SiteRequest("alice", Path(("blog",), True), ("alice",))),
        ("/robots.txt", PagesDomain(Path(("robots.txt",), False))),
        ("/j.doe/", SiteRequest("j.doe", Path((), True), ("j.doe",))),
        ("/j.doe/blog", SiteRequest("j.doe", Path(("blog",), False), ("j.doe",))),
        ("/-/x", PagesDomain(Path(("-", "x"), False))),
    ],
)
def test_an_owner_is_the_first_part_of_a_path_where_there_are_no_hosts_for_them(path: str, expected: object) -> None:
    assert route("pages.test", path, pages_domain="pages.test", forgejo_host=None, by_path=True) == expected
