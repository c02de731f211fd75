# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What Forgejo is told of a visitor: tables of what came in, from whom, and what goes on."""

import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.http import Headers

from addon.settings.schema import Settings
from addon.web.forwarding import HOP_HEADER, Forwarding

VISITOR, PROXY, FRONT = "203.0.113.9", "10.0.0.1", "127.0.0.1"


def forwarding(forgejo: str = "http://127.0.0.1:3000", **options: object) -> Forwarding:
    values: dict[str, object] = {
        "pagesDomain": "pages.test",
        "forgejoHost": forgejo,
        "trustedProxies": ["loopback", "10.0.0.0/8", "2001:db8::/32"],
        "stateDir": "/nowhere",
    }
    return Forwarding(Settings.from_mapping(values | options))


def rewritten(fields: list[tuple[str, str]], peer: str = FRONT, tls: bool = False) -> dict[str, str]:
    headers = Headers([(name.encode(), value.encode()) for name, value in fields])
    forwarding().rewrite(headers, peer, "git.test", tls)
    return {name.lower(): headers[name] for name in headers}


CLIENTS = [
    # peer, fields, the visitor's address, X-Forwarded-For as it goes on
    (VISITOR, [], VISITOR, VISITOR),
    (VISITOR, [("X-Forwarded-For", "1.1.1.1")], VISITOR, VISITOR),
    (VISITOR, [("X-Real-IP", "1.1.1.1")], VISITOR, VISITOR),
    (FRONT, [], FRONT, FRONT),
    (FRONT, [("X-Forwarded-For", VISITOR)], VISITOR, f"{VISITOR}, {FRONT}"),
    (FRONT, [("X-Forwarded-For", f"1.1.1.1, {VISITOR}")], VISITOR, f"{VISITOR}, {FRONT}"),
    (FRONT, [("X-Forwarded-For", f"1.1.1.1, {VISITOR}, {PROXY}")], VISITOR, f"{VISITOR}, {PROXY}, {FRONT}"),
    (FRONT, [("X-Forwarded-For", "1.1.1.1"), ("x-forwarded-for", VISITOR)], VISITOR, f"{VISITOR}, {FRONT}"),
    (FRONT, [("X-Forwarded-For", PROXY)], PROXY, f"{PROXY}, {FRONT}"),
    (FRONT, [("X-Forwarded-For", "unknown")], FRONT, FRONT),
    (FRONT, [("X-Forwarded-For", f"{VISITOR}, junk, {PROXY}")], PROXY, f"{PROXY}, {FRONT}"),
    (FRONT, [("X-Forwarded-For", ",, ,")], FRONT, FRONT),
    (FRONT, [("X-Forwarded-For", f"{VISITOR}:4711")], VISITOR, f"{VISITOR}, {FRONT}"),
    (FRONT, [("X-Forwarded-For", "[2001:4860::1]:443")], "2001:4860::1", f"2001:4860::1, {FRONT}"),
    (FRONT, [("X-Forwarded-For", "2001:4860::1")], "2001:4860::1", f"2001:4860::1, {FRONT}"),
    (FRONT, [("X-Real-IP", VISITOR)], VISITOR, f"{VISITOR}, {FRONT}"),
    (FRONT, [("X-Forwarded-For", VISITOR), ("X-Real-IP", "1.1.1.1")], VISITOR, f"{VISITOR}, {FRONT}"),
    (FRONT, [("Forwarded", f"for={VISITOR};proto=https")], VISITOR, f"{VISITOR}, {FRONT}"),
    (FRONT, [("Forwarded", f'for=1.1.1.1, For="{VISITOR}:80" ; by=x')], VISITOR, f"{VISITOR}, {FRONT}"),
    (FRONT, [("Forwarded", 'for="[2001:4860::1]:80"')], "2001:4860::1", f"2001:4860::1, {FRONT}"),
    (FRONT, [("Forwarded", "for=_hidden")], FRONT, FRONT),
    (FRONT, [("Forwarded", f"for={VISITOR} what, is this")], FRONT, FRONT),
    (FRONT, [("Forwarded", f'for="1.1.1.1, for={VISITOR}')], VISITOR, f"{VISITOR}, {FRONT}"),
    (FRONT, [("Forwarded", f'for="1.1.1.1" , by="a, for={VISITOR};by=\\"b')], FRONT, FRONT),
    # Of thousands of elements the last ones count.
    (FRONT, [("Forwarded", "for=1.1.1.1, " * 900 + f"for={VISITOR}")], VISITOR, f"{VISITOR}, {FRONT}"),
    (
        FRONT,
        [("X-Forwarded-For", f"1.1.1.1, {VISITOR}" + f", {PROXY}" * 31)],
        VISITOR,
        VISITOR + f", {PROXY}" * 31 + f", {FRONT}",
    ),
    (FRONT, [("X-Forwarded-For", VISITOR + f", {PROXY}" * 32)], PROXY, f"{PROXY}, " * 32 + FRONT),
    (FRONT, [("Forwarded", "a=b;" * 15 + f"for={VISITOR}")], VISITOR, f"{VISITOR}, {FRONT}"),
    (FRONT, [("Forwarded", "a=b;" * 16 + f"for={VISITOR}")], FRONT, FRONT),
    ("::1", [("X-Forwarded-For", VISITOR)], VISITOR, f"{VISITOR}, ::1"),
    ("::ffff:10.1.2.3", [("X-Forwarded-For", VISITOR)], VISITOR, f"{VISITOR}, ::ffff:10.1.2.3"),
    ("2001:db8::5%eth0", [("X-Forwarded-For", VISITOR)], VISITOR, f"{VISITOR}, 2001:db8::5%eth0"),
]


@pytest.mark.parametrize(("peer", "fields", "client", "chain"), CLIENTS)
def test_the_visitor_is_the_nearest_address_that_no_trusted_proxy_has(
    peer: str, fields: list[tuple[str, str]], client: str, chain: str
) -> None:
    told = rewritten(fields, peer)
    assert told["x-real-ip"] == client
    assert told["x-forwarded-for"] == chain
    assert told["x-forwarded-host"] == "git.test"
    assert "forwarded" not in told


SCHEMES = [
    (FRONT, False, [], "http"),
    (FRONT, True, [], "https"),
    (FRONT, False, [("X-Forwarded-Proto", "https")], "https"),
    (FRONT, False, [("X-Forwarded-Proto", "HTTPS, https")], "https"),
    (FRONT, True, [("X-Forwarded-Proto", "http")], "http"),
    (FRONT, False, [("X-Forwarded-Proto", "http, https")], "http"),
    (FRONT, False, [("X-Forwarded-Proto", "gopher")], "http"),
    (FRONT, False, [("Forwarded", "proto=https;for=1.1.1.1")], "https"),
    (VISITOR, False, [("X-Forwarded-Proto", "https"), ("Forwarded", "proto=https")], "http"),
    (VISITOR, True, [("X-Forwarded-Proto", "http")], "https"),
]


@pytest.mark.parametrize(("peer", "tls", "fields", "scheme"), SCHEMES)
def test_the_scheme_is_the_visitors_as_far_as_it_is_believed(
    peer: str, tls: bool, fields: list[tuple[str, str]], scheme: str
) -> None:
    assert rewritten(fields, peer, tls)["x-forwarded-proto"] == scheme


@pytest.mark.parametrize("peer", [FRONT, VISITOR])
def test_claims_of_other_kinds_and_logins_go_no_further(peer: str) -> None:
    names = [
        "X-WEBAUTH-USER",
        "x-webauth-x",
        "X-Forwarded-User",
        "X-Forwarded-Port",
        "True-Client-IP",
        "CF-Connecting-IP",
    ]
    told = rewritten([(name, "1.1.1.1") for name in names], peer)
    assert told.keys() == {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", HOP_HEADER.lower()}


CONNECTIONS = [
    ([("Connection", "close")], {"connection": "close"}),
    ([("Connection", "Keep-Alive, X-Mine"), ("X-Mine", "1")], {"connection": "keep-alive"}),
    ([("Connection", "Host, Content-Length, Transfer-Encoding"), ("Content-Length", "1")], {"content-length": "1"}),
    ([("Connection", "X-Real-IP, X-Forwarded-For")], {}),
    ([("Connection", "upgrade"), ("Upgrade", "WebSocket")], {"connection": "Upgrade", "upgrade": "websocket"}),
    (
        [("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket")],
        {"connection": "Upgrade", "upgrade": "websocket"},
    ),
    ([("Upgrade", "websocket")], {}),
    ([("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "x")], {}),
    ([("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Upgrade", "h2c")], {}),
    ([("TE", "trailers"), ("Keep-Alive", "5"), ("Proxy-Authorization", "x"), ("Proxy-Connection", "close")], {}),
]


@pytest.mark.parametrize(("fields", "kept"), CONNECTIONS)
def test_fields_of_the_connection_stay_on_it(fields: list[tuple[str, str]], kept: dict[str, str]) -> None:
    told = rewritten(fields)
    for name in ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", HOP_HEADER.lower()):
        del told[name]
    assert told == kept


def test_marks_of_other_servers_are_kept_so_that_they_see_their_own_loops() -> None:
    through = forwarding()
    headers = Headers([(HOP_HEADER.lower().encode(), b"one"), (HOP_HEADER.encode(), b"two, three")])
    assert not through.loops(headers)
    through.rewrite(headers, FRONT, "git.test", False)
    assert headers[HOP_HEADER] == f"one, two, three, {through.hop}"
    assert through.loops(headers)
    assert forwarding().loops(headers)  # another process of the same deployment
    assert not forwarding("http://127.0.0.1:3001").loops(headers)


TARGETS = [
    ("http://f", b"/a/../b?c", b"/a/../b?c"),
    ("http://f/git", b"/a?b", b"/git/a?b"),
    ("http://f/git", b"/", b"/git/"),
    ("http://f/git", b"//x", b"/git//x"),
    ("http://f/git", b"/a/...", b"/git/a/..."),
    ("http://f/git", b"/a%2Fb", b"/git/a%2Fb"),
    ("http://f/git", b"/a?/../", b"/git/a?/../"),
    ("http://f/git", b"*", b"*"),
    ("http://f/git", b"/..", None),
    ("http://f/git", b"/./a", None),
    ("http://f/git", b"/a/%2e./b", None),
    ("http://f/git", b"/a%2F..%2fb", None),
    ("http://f/git", b"/..\\b", None),
    ("http://f/git", b"/%5c..%5cb", None),
    ("http://f/git", b"/..;a/b", None),
]


@pytest.mark.parametrize(("forgejo", "path", "target"), TARGETS)
def test_a_path_stays_below_that_of_forgejo_host(forgejo: str, path: bytes, target: bytes | None) -> None:
    assert forwarding(forgejo).target(path) == target


def test_who_is_not_believed_is_named_once_and_many_are_not_all_named(caplog: pytest.LogCaptureFixture) -> None:
    through = forwarding()
    with caplog.at_level(logging.WARNING, "addon.web.forwarding"):
        for _ in range(3):
            for number in range(100):
                headers = Headers([(b"X-Real-IP", b"1.1.1.1"), (b"Forwarded", b"for=1.1.1.1")])
                through.rewrite(headers, f"203.0.113.{number}", "git.test", False)
    assert len(caplog.records) == 20
    assert "203.0.113.0 is not among trustedProxies" in caplog.text


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto", "Connection", "Upgrade"]
            ),
            st.text(st.sampled_from('for=;,"\\ 1.:[]https_-'), max_size=40),
        ),
        max_size=6,
    ),
    st.sampled_from([FRONT, VISITOR]),
)
def test_no_field_however_written_makes_it_fail_or_lie(fields: list[tuple[str, str]], peer: str) -> None:
    told = rewritten(fields, peer)
    assert told["x-forwarded-for"].endswith(peer)
    assert told["x-forwarded-for"].startswith(told["x-real-ip"])
    assert told["x-forwarded-proto"] in ("http", "https")
    assert peer == FRONT or told["x-real-ip"] == peer


@pytest.mark.parametrize("junk", ['"' + '\\"' * 400_000, '"a,' * 400_000, "a=b;" * 400_000, 'for="' + "\\" * 800_001])
@pytest.mark.parametrize("peer", [FRONT, VISITOR])
def test_what_a_visitor_writes_before_a_proxy_costs_nothing_and_hides_nobody(junk: str, peer: str) -> None:
    """A quadratic reading of this takes an hour."""
    fields = [("Forwarded", f"{junk}, for=1.1.1.1, for={VISITOR};proto=https")]
    headers = Headers([(name.encode(), value.encode()) for name, value in fields])
    found = forwarding().visitor(headers, peer, False)
    assert found.address == VISITOR
    assert found.secure == (peer == FRONT)


def test_a_long_chain_costs_no_more_than_reading_it() -> None:
    told = rewritten([("X-Forwarded-For", ", ".join(["1.1.1.1"] * 5000)), ("Forwarded", '"' * 60_000)])
    assert told["x-forwarded-for"] == f"1.1.1.1, {FRONT}"
    assert rewritten([("Forwarded", '="\\' * 20_000)])["x-real-ip"] == FRONT


def test_thousands_of_claims_are_taken_out_in_one_pass() -> None:
    """One after the other takes a minute."""
    claims = [(f"{kind}-{number}", "a") for kind in ("X-Forwarded", "X-WEBAUTH", "Z") for number in range(10_000)]
    named = ("Connection", ",".join(name for name, _ in claims if name.startswith("Z")))
    told = rewritten([("Accept", "a"), *claims, named, ("X-Forwardé", "kept")])
    own = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", HOP_HEADER.lower()}
    assert told.keys() == {"accept", "x-forwardé", *own}


@pytest.mark.parametrize(
    ("peer", "fields", "secure", "told", "unclear"),
    [
        (FRONT, [], False, False, False),
        (FRONT, [("X-Forwarded-Proto", "http")], False, True, False),
        (FRONT, [("X-Forwarded-Proto", "HTTPS")], True, True, False),
        (FRONT, [("X-Forwarded-Proto", "https, https")], True, True, False),
        (FRONT, [("X-Forwarded-Proto", "https, http")], False, False, True),
        (FRONT, [("X-Forwarded-Proto", "http"), ("X-Forwarded-Proto", "https")], False, False, True),
        (FRONT, [("X-Forwarded-Proto", "wss")], False, False, True),
        (FRONT, [("Forwarded", "for=1.1.1.1;proto=http")], False, True, False),
        (FRONT, [("Forwarded", "for=1.1.1.1;proto=http, proto=https")], False, False, True),
        (FRONT, [("Forwarded", "for=1.1.1.1")], False, False, False),
        (VISITOR, [("X-Forwarded-Proto", "http")], False, False, False),
        (VISITOR, [("X-Forwarded-Proto", "https, http")], False, False, False),
    ],
)
def test_what_proxies_say_of_the_scheme_counts_only_where_they_are_trusted_and_agree(
    peer: str, fields: list[tuple[str, str]], secure: bool, told: bool, unclear: bool
) -> None:
    headers = Headers([(name.encode(), value.encode()) for name, value in fields])
    visitor = forwarding().visitor(headers, peer, False)
    assert (visitor.secure, visitor.told, visitor.unclear) == (secure, told, unclear)


def test_a_visitor_cannot_keep_us_busy_with_quotes_that_never_end() -> None:
    quotes = '"' + '\\"' * 500_000  # looked for the end of each, this would take an hour
    assert forwarding().visitor(Headers([(b"Forwarded", quotes.encode())]), VISITOR, True).address == VISITOR
    told = f"{quotes}, for={VISITOR}"
    assert forwarding().visitor(Headers([(b"Forwarded", told.encode())]), FRONT, True).address == VISITOR


@given(st.text('"\\,;= af', max_size=40))
def test_quotes_that_never_end_are_passed_over(text: str) -> None:
    left = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^",])+')  # as it is meant, and slowly
    expected = forwarding().visitor(Headers([(b"Forwarded", text.encode())]), FRONT, False)
    one_by_one = [(b"Forwarded", element.encode()) for element in left.findall(text)]
    assert forwarding().visitor(Headers(one_by_one), FRONT, False) == expected


@pytest.mark.parametrize("address", ["", "unix:", "proxy.example", "127.0.0.1:80", "[::1]", "127.0.0", "1" * 5000])
def test_what_is_no_address_is_trusted_with_nothing(address: str) -> None:
    assert not forwarding(trustedProxies=["0.0.0.0/0", "::/0"]).trusts(address)
    assert forwarding().client(Headers([(b"x-forwarded-for", b"192.0.2.9")]), address) == address


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "fe80::1%eth0"])
def test_an_address_is_known_in_each_of_its_forms(address: str) -> None:
    assert forwarding(trustedProxies=["127.0.0.0/8", "::1", "fe80::/10"]).trusts(address)
