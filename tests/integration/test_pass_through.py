# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Forgejo's own host through a real mitmdump: pages, login, git, and what Forgejo is told of its visitors."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from addon.web.forwarding import HOP_HEADER
from tests.addon.preview.fixtures import noise
from tests.addon.preview.odd_pages import OddForge
from tests.addon.preview.sites import Site
from tests.addon.preview.smart_http import WebFace
from tests.integration.running import PAGES_DOMAIN, Proxy
from tests.integration.through import GIT, echo, git, logged, passing_through
from tests.integration.wire import Wire
from tests.waiting import wait_until

ALICE = f"alice.{PAGES_DOMAIN}"


@pytest.fixture(scope="module", autouse=True)
def in_order(passing: Proxy, odd: OddForge) -> Iterator[None]:
    """In the end no connection is left, and no error was told."""
    yield
    wait_until(lambda: odd.connections == 0)
    assert "rror" not in passing.log


@pytest.fixture(scope="module")
def web_folder(folder: Path) -> Path:
    """Of `web`: what it writes, and its repositories."""
    (folder / "web").mkdir()
    return folder / "web"


@pytest.fixture(scope="module")
def web(web_folder: Path) -> Iterator[Proxy]:
    """In front of a forge with git over HTTP and the pages of Forgejo's web face."""
    Site(web_folder / "repositories" / "alice" / "code.git", {"README.md": b"Read me.\n"})
    forge = Forge(web_folder / "repositories")
    WebFace(forge)
    forge.start_thread()
    with passing_through(web_folder, forge) as proxy:
        yield proxy
    forge.stop()


def test_a_login_works_with_its_form_its_redirect_and_its_cookie(web: Proxy) -> None:
    with Wire(web.port) as wire:
        head, body = wire.exchange(GIT, "/user/login")
        assert (head.status, b"<form" in body) == (200, True)
        form = b"user_name=alice&password=secret"
        kind = {"Content_Type": "application/x-www-form-urlencoded", "Content_Length": str(len(form))}
        wire.ask(GIT, "/user/login", "POST", Origin=f"http://{GIT}", **kind)
        wire.send(form)
        head, _ = wire.answer()
        assert (head.status, head.field("location")) == (303, "/")
        assert b"nobody" in wire.exchange(GIT, "/")[1]
        session = (head.field("set-cookie") or "").partition(";")[0]
        assert b"alice" in wire.exchange(GIT, "/", Cookie=f"lang=en; {session}")[1]
        wire.ask(GIT, "/user/login", "POST", Origin="http://evil.example", **kind)
        wire.send(form)
        assert wire.answer()[0].status == 403


def test_git_clones_and_pushes(web: Proxy, web_folder: Path) -> None:
    address = f"http://alice:secret@127.0.0.1:{web.port}/alice/code.git"
    as_visitor = ("-c", f"http.extraHeader=Host: {GIT}", "-c", "http.postBuffer=65536")
    git(web_folder, *as_visitor, "clone", "-q", address, "work")
    work = web_folder / "work"
    for number in range(3):
        (work / f"file{number}").write_bytes(noise(1_000_000, number))
        git(work, "add", ".")
        git(work, "commit", "-q", "-m", f"Change {number}")
    git(work, *as_visitor, "push", "-q", address, "HEAD:main")  # larger than postBuffer: it is chunked
    git(web_folder, *as_visitor, "clone", "-q", address.replace("alice:secret@", ""), "again")
    assert git(web_folder / "again", "rev-parse", "HEAD") == git(work, "rev-parse", "HEAD")
    assert git(web_folder / "again", "fsck", "--full") == ""
    assert logged(web_folder, "/alice/code.git/git-receive-pack")["status"] == 200


def test_a_push_without_the_password_is_refused_by_forgejo(web: Proxy) -> None:
    with Wire(web.port) as wire:
        head, _ = wire.exchange(GIT, "/alice/code.git/info/refs?service=git-receive-pack")
        assert (head.status, head.field("www-authenticate")) == (401, 'Basic realm="Gitea"')


def test_cookies_and_relative_redirects_stay_as_they_are(wire: Wire) -> None:
    head, _ = wire.exchange(GIT, "/redirect")
    assert (head.status, head.field("location")) == (302, "user/login?redirect_to=%2fecho")
    head, _ = wire.exchange(GIT, "/cookies")
    assert [value for name, value in head.fields if name == "set-cookie"] == ["a=1; Path=/", "b=2; HttpOnly"]


def test_method_target_and_headers_arrive_as_they_were(wire: Wire) -> None:
    target = "/echo/%2F%2e%2E/..//a%20b?q=%00&r=[1]#"
    told = echo(
        wire,
        target,
        "PROPFIND",
        Authorization="token abc",
        Cookie="a=b",
        Origin=f"https://{GIT}",
        Accept_Encoding="zstd, br",
        If_None_Match='"x"',
        Range="bytes=0-1",
        X_Gitea_OTP="123",
        Sec_Fetch_Site="same-origin",
        Referer="http://elsewhere.example/",
    )
    assert (told["method"], told["target"]) == ("PROPFIND", target)
    headers = told["headers"]
    wanted = {
        "host": GIT,
        "authorization": "token abc",
        "cookie": "a=b",
        "origin": f"https://{GIT}",
        "accept-encoding": "zstd, br",
        "if-none-match": '"x"',
        "range": "bytes=0-1",
        "x-gitea-otp": "123",
        "sec-fetch-site": "same-origin",
        "referer": "http://elsewhere.example/",
    }
    assert headers.items() >= wanted.items()


@pytest.mark.parametrize("host", [GIT, "GIT.Test", f"{GIT}:8080", f"{GIT}.", "git.TEST.:443"])
def test_the_public_host_is_matched_by_name(wire: Wire, host: str) -> None:
    assert echo(wire, host=host)["headers"]["x-forwarded-host"] == host


STRANGERS = ["www.example.org", f"x{GIT}", f"sub.{GIT}", "test", "127.0.0.1", "localhost", f"alice.{GIT}"]


@pytest.mark.parametrize("host", STRANGERS)
def test_an_unknown_host_gets_our_404_and_never_reaches_forgejo(odd: OddForge, wire: Wire, host: str) -> None:
    before = len(odd.requests)
    for target in ("/echo", f"http://{host}/echo"):
        head, _ = wire.exchange(host, target)
        assert head.status == 404
    assert len(odd.requests) == before


REFUSED = [
    b"CONNECT git.test:443 HTTP/1.1\r\nHost: git.test:443\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nHost: git.test\r\nHost: git.test\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nHost: git.test\r\nHost: alice.pages.test\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nHost: git.test, git.test\r\n\r\n",
    b"GET /echo HTTP/1.1\r\n\r\n",
    b"GET /echo HTTP/1.0\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nHost: a@git.test\r\n\r\n",
    b"GET http://git.test/echo HTTP/1.1\r\nHost: www.example.org\r\n\r\n",
    b"GET http://www.example.org/echo HTTP/1.1\r\nHost: git.test\r\n\r\n",
    b"GET /echo HTTP/2.0\r\nHost: git.test\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nHost: git.test\r\nX-Fold: a\r\n X-WEBAUTH-USER: admin\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nHost: git.test\r\nX-WEBAUTH-USER : admin\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: git.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: git.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    b"POST /echo HTTP/1.1\r\nHost: git.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: git.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST /echo HTTP/1.0\r\nHost: git.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("data", REFUSED, ids=lambda data: repr(data)[:60])
def test_an_ambiguous_request_is_refused_and_never_reaches_forgejo(passing: Proxy, odd: OddForge, data: bytes) -> None:
    before = len(odd.requests)
    received = passing.raw(data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1), timeout=5)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"mitmproxy" not in received.lower()
    assert len(odd.requests) == before


def test_http_2_without_tls_is_refused(passing: Proxy, odd: OddForge) -> None:
    before = len(odd.requests)
    assert passing.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", timeout=5)[:13] in (b"", b"HTTP/1.1 400 ")
    assert len(odd.requests) == before


def test_an_absolute_target_arrives_as_a_path(wire: Wire) -> None:
    assert echo(wire, f"http://{GIT}/echo?x")["target"] == "/echo?x"


def test_a_head_that_does_not_end_is_refused(passing: Proxy) -> None:
    with Wire(passing.port) as wire:
        wire.send(f"GET /echo HTTP/1.1\r\nHost: {GIT}\r\n".encode())
        wire.send(b"X-Long: " + b"x" * 300_000)
        head, _ = wire.answer()
        assert head.status == 431


def test_logins_by_header_are_always_removed(wire: Wire) -> None:
    told = echo(wire, X_WEBAUTH_USER="admin", x_webauth_email="a@b", X_WebAuth_FullName="x", X_WEBAUTH_="y")
    assert not [name for name in told["headers"] if "webauth" in name]


def test_a_trusted_proxy_is_believed(wire: Wire, folder: Path) -> None:
    told = echo(
        wire, "/echo/trusted", X_Forwarded_For="203.0.113.9", X_Forwarded_Proto="https", X_Forwarded_Host="evil"
    )
    headers = told["headers"]
    assert headers["x-real-ip"] == "203.0.113.9"
    assert headers["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-host"] == GIT
    assert logged(folder, "/echo/trusted")["client"] == "203.0.113.9"


def test_a_peer_that_is_not_trusted_is_not_believed_and_named_once(odd: OddForge, tmp_path: Path) -> None:
    claims = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": "/x",
        "Forwarded": "for=203.0.113.9",
        "X-Real-IP": "203.0.113.9",
        "True-Client-IP": "203.0.113.9",
    }
    with passing_through(tmp_path, odd, trustedProxies=[]) as proxy, Wire(proxy.port) as wire:
        for _ in range(3):
            headers = echo(wire, **{name.replace("-", "_"): value for name, value in claims.items()})["headers"]
            assert headers["x-real-ip"] == headers["x-forwarded-for"] == "127.0.0.1"
            assert headers["x-forwarded-proto"] == "http"
            assert "203.0.113.9" not in str(headers)
            assert "x-forwarded-prefix" not in headers
        assert proxy.log.count("not among trustedProxies") == 1


def test_what_belongs_to_one_connection_stays_on_it(wire: Wire) -> None:
    told = echo(
        wire,
        Connection="Keep-Alive, X-Real-IP, Host, X-Mine, X-Forwarded-For",
        X_Mine="1",
        Keep_Alive="timeout=5",
        Proxy_Authorization="Basic x",
        TE="trailers",
    )
    headers = told["headers"]
    assert headers["host"] == GIT
    assert headers["x-real-ip"] == headers["x-forwarded-for"] == "127.0.0.1"
    assert headers.get("connection", "keep-alive") == "keep-alive"
    assert not headers.keys() & {"x-mine", "keep-alive", "proxy-authorization", "te"}


@pytest.mark.parametrize("protocol", ["h2c", "websocket, h2c", "TLS/1.0", "h2c,websocket"])
def test_no_other_protocol_than_web_sockets_is_passed_on(wire: Wire, protocol: str) -> None:
    headers = echo(wire, Connection="Upgrade, HTTP2-Settings", Upgrade=protocol, HTTP2_Settings="AAMAAABk")["headers"]
    assert not headers.keys() & {"upgrade", "http2-settings"}
    assert "pgrade" not in headers.get("connection", "")


def test_a_request_that_came_through_us_is_508_on_every_host(odd: OddForge, wire: Wire) -> None:
    mark = echo(wire)["headers"][HOP_HEADER.lower()]
    before = len(odd.requests)
    for host in (GIT, ALICE, PAGES_DOMAIN, "www.example.org"):
        for value in (mark, f"other, {mark}"):
            assert wire.exchange(host, "/echo", X_Forgejo_Pages_Hop=value)[0].status == 508
    assert len(odd.requests) == before
    assert echo(wire, X_Forgejo_Pages_Hop="another")["headers"][HOP_HEADER.lower()] == f"another, {mark}"


def test_our_own_paths_are_ours_on_forgejos_host_too(odd: OddForge, wire: Wire) -> None:
    before = len(odd.requests)
    assert wire.exchange(GIT, "/.pages/")[0].status == 404
    assert len(odd.requests) == before


ANSWERS = [
    ("HEAD", "/download?size=1000", 200, "1000"),
    ("HEAD", "/echo", 200, None),
    ("GET", "/status/204", 204, None),
    ("GET", "/status/304", 304, None),
    ("HEAD", "/status/304", 304, None),
    ("GET", "/download?size=0", 200, "0"),
    ("GET", "/nothing", 404, None),
]


def test_answers_without_a_body_leave_the_connection_in_step(wire: Wire) -> None:
    for method, target, status, length in ANSWERS * 2:
        head, body = wire.exchange(GIT, target, method)
        assert head.status == status
        assert length is None or head.field("content-length") == length
        assert status == 404 or body == b""
        assert echo(wire)["method"] == "GET"


def test_interim_answers_come_before_the_answer(wire: Wire) -> None:
    wire.ask(GIT, "/interim")
    assert [wire.head().status for _ in range(2)] == [102, 103]
    assert wire.answer()[1] == b"after all"
    assert echo(wire)["method"] == "GET"


def test_http_1_0_never_sees_an_interim_answer_and_is_closed_after_the_answer(passing: Proxy) -> None:
    for target, body in (
        ("/interim", b"after all"),
        ("/download?size=5&eof=1", b""),
        (f"http://{GIT}/interim", b"after"),
    ):
        received = passing.raw(f"GET {target} HTTP/1.0\r\nHost: {GIT}\r\n\r\n".encode(), timeout=5)
        assert received.startswith(b"HTTP/1.1 200 ")
        assert received.count(b"HTTP/1.") == 1
        assert body in received


def test_trailer_fields_are_dropped_in_both_directions(wire: Wire) -> None:
    head, body = wire.exchange(GIT, "/trailers")
    assert (head.status, body) == (200, b"hello")
    wire.ask(GIT, "/echo", "POST", Transfer_Encoding="chunked", Trailer="X-Sum")
    wire.send(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-WEBAUTH-USER: admin\r\n\r\n")
    head, body = wire.answer()
    told = json.loads(body)
    assert (head.status, told["bytes"]) == (200, 5)
    assert echo(wire)["method"] == "GET"


@pytest.mark.parametrize("connection", ["close", "Close", "keep-alive, close"])
@pytest.mark.parametrize("host", [GIT, ALICE])
def test_a_client_that_wants_the_connection_closed_gets_it_closed(passing: Proxy, host: str, connection: str) -> None:
    for body in (None, b"body"):
        with Wire(passing.port, timeout=5) as wire:
            wire.ask(
                host, "/echo", "POST" if body else "GET", Connection=connection, Content_Length=str(len(body or b""))
            )
            wire.send(body or b"")
            head, _ = wire.answer()
            assert head.status in (200, 404, 405)
            assert wire.ended


MIXED = [
    (GIT, "/echo", 200),
    (ALICE, "/", 200),
    (ALICE, "/blog/big.dat", 200),
    (GIT, "/download?size=100000&chunked=1", 200),
    (GIT, "/status/204", 204),
    (ALICE, "/nothing", 404),
    ("www.example.org", "/", 404),
]


def test_pages_and_forgejo_share_a_connection_in_any_order(wire: Wire) -> None:
    for first in MIXED:
        for second in MIXED:
            for host, target, status in (first, second):
                wire.ask(host, target)
                head = wire.head()
                assert head.status == status, (host, target)
                for _ in wire.pieces(head):
                    pass
    for host, target, status in MIXED:
        wire.ask(host, target, "POST", Content_Length="5")
        wire.send(b"hello")
        head, _ = wire.answer()
        assert head.status == (405 if host == ALICE else status), (host, target)


def test_pipelined_requests_are_answered_in_their_order(wire: Wire) -> None:
    for number in range(6):
        host, target, _ = MIXED[number % 3]
        wire.ask(host, f"{target}?{number}")
        wire.ask(GIT, f"/echo?{number}", "POST", Content_Length="3")
        wire.send(b"abc")
    for number in range(6):
        head = wire.head()
        assert head.status == 200
        body = b"".join(wire.pieces(head))
        if number % 3 == 0:
            assert json.loads(body)["target"] == f"/echo?{number}"
        assert json.loads(wire.answer()[1])["target"] == f"/echo?{number}"


@pytest.mark.parametrize("between", [b"\r\n", b"\r\n\r\n", b"\n\r\n"])
@pytest.mark.parametrize("host", [GIT, ALICE])
def test_empty_lines_between_requests_are_overlooked(passing: Proxy, host: str, between: bytes) -> None:
    post = f"POST /echo HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nhello".encode()
    get = f"GET /echo HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    for data, count in ((post + between + get, 2), (between + get, 1), (get + between + get, 2)):
        with Wire(passing.port, 10.0) as wire:
            wire.send(data)  # in one piece: nothing comes after it that would wake anybody up
            for _ in range(count):
                assert wire.answer()[0].status in ((200,) if host == GIT else (404, 405))


def test_who_pipelines_without_end_is_cut(passing: Proxy) -> None:
    with Wire(passing.port) as wire:
        wire.ask(GIT, "/never")
        with pytest.raises(ConnectionError):  # noqa: PT012  which of them meets the end is not known
            for _ in range(10_000):
                wire.send(b"x" * 65536)


def test_below_a_path_of_forgejo_host_everything_is_found_and_nothing_beside_it(forge: Forge, tmp_path: Path) -> None:
    odd = OddForge(forge.url, base="/git")
    try:
        with passing_through(tmp_path, odd, forgejoHost=f"{odd.url}/git") as proxy, Wire(proxy.port) as wire:
            assert echo(wire, "/echo?a")["target"] == "/git/echo?a"
            assert wire.exchange(ALICE, "/about.html")[0].status == 200
            before = len(odd.requests)
            for target in (
                "/../admin",
                "/a/%2e%2e/%2E./admin",
                "/a%2f..%2f..%2fadmin",
                "/..\\admin",
                "/..;x/admin",
                "/..",
            ):
                assert wire.exchange(GIT, target)[0].status == 400, target
            assert len(odd.requests) == before
            assert echo(wire, "/echo/a%2Fb/..c?x=/../")["target"] == "/git/echo/a%2Fb/..c?x=/../"
    finally:
        odd.stop()


def test_the_access_log_says_what_happened_without_the_query(passing: Proxy, folder: Path) -> None:
    with Wire(passing.port) as wire:
        wire.exchange(GIT, "/download/logged?size=1000&chunked=1&token=hush")
    line = logged(folder, "/download/logged")
    assert (line["status"], line["bytes"], line["host"], line["method"]) == (200, 1000, GIT, "GET")
    assert "hush" not in (folder / "requests.log").read_text()
