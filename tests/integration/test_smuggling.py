# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Requests that two servers could read in two ways, over each protocol, before an upstream that reports every byte.

Over HTTP/2 nothing of Forgejo's own host is passed on, and of a page's request nothing but names; over HTTP/1.1 what is
passed on is read by the strictest of readers as the one request that was meant, or nothing is.
"""

import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest

from tests.addon.net.tls_wire import client_context, make_pair
from tests.integration.recording import Recorder, recording, requests_in
from tests.integration.running import PAGES_DOMAIN, Proxy, running_proxy, wait_for_port
from tests.integration.test_pass_through import REFUSED
from tests.ports import free_port

GIT = "git.test"
ALICE = f"alice.{PAGES_DOMAIN}"
MARK = "smuggled"
"""Stands in whatever should not arrive."""
INSIDE = f"GET /{MARK} HTTP/1.1\r\nHost: {GIT}\r\nX-WEBAUTH-USER: admin\r\n\r\n".encode()


class Place(NamedTuple):
    """A mitmdump in front of the recorder. port: over TLS."""

    proxy: Proxy
    port: int
    recorder: Recorder

    def secure(self, name: str, *alpn: str) -> ssl.SSLSocket:
        connection = socket.create_connection(("127.0.0.1", self.port), 20)
        return client_context(*alpn).wrap_socket(connection, server_hostname=name, suppress_ragged_eofs=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("proxy")
    pair = make_pair(folder, "pages", PAGES_DOMAIN, f"*.{PAGES_DOMAIN}", GIT)
    port, plain = free_port(), free_port()
    tls = {"address": f"127.0.0.1:{port}", "tls": {"cert": str(pair.cert), "key": str(pair.key)}}
    with (
        recording() as recorder,
        running_proxy(
            folder, recorder.url, port=plain, listen=[f"127.0.0.1:{plain}", tls], forgejoPublicHost=GIT
        ) as proxy,
    ):
        wait_for_port(proxy.process, port, folder / "output.log")
        yield Place(proxy, port, recorder)


Fields = Sequence[tuple[str, str]]


class Case(NamedTuple):
    """A request of HTTP/2: what of it is not as usual. sent: DATA that follows. trailer: fields after it."""

    method: str | None = "GET"
    path: str | None = f"/{MARK}"
    scheme: str | None = "https"
    authority: str | None = ""
    fields: Fields = ()
    sent: bytes | None = None
    trailer: Fields = ()


PATHS = [
    f"http://internal/{MARK}",
    f"http://{GIT}/{MARK}",
    f"https://{GIT}/admin/{MARK}",
    f"../{MARK}",
    f"@{MARK}",
    f"?{MARK}",
    "*",
    "",
    MARK,
    f":8080/{MARK}",
    f"\\{MARK}",
    f"/{MARK} x",
    f"/{MARK} HTTP/1.1\r\nHost: internal\r\n\r\nGET /{MARK}",
    f"/{MARK}\r\nX: y",
    f"/{MARK}\n",
    f"/{MARK}\0",
    f"/{MARK}\x7f",
    f"/{MARK}\t",
]
LINES = f"y\r\nTransfer-Encoding: chunked\r\nX-{MARK}: z"
MALFORMED = [
    *(Case(path=path) for path in PATHS),
    Case(path=None),
    *(
        Case(method=method)
        for method in (f"GET /{MARK} HTTP/1.1\r\nX:", "G ET", "", "GET\n", "GET\0", "CONNECT", "ge(t")
    ),
    Case(method=None),
    *(Case(scheme=scheme) for scheme in ("ftp", "", "http://x/", f"https://{GIT}/{MARK}?", "ht tp")),
    Case(scheme=None),
    *(
        Case(authority=authority)
        for authority in (
            f"{GIT}@{ALICE}",
            f"{ALICE}, {GIT}",
            f"{ALICE}\r\nX-{MARK}: y",
            f"{ALICE} ",
            f"{ALICE}/{MARK}",
            f"{ALICE}:80:80",
            f"{ALICE}\0",
        )
    ),
    Case(authority=None),
    Case(fields=[("host", GIT)]),
    Case(fields=[("host", ALICE), ("host", GIT)]),
    Case(authority=None, fields=[("host", ALICE), ("host", GIT)]),
    *(
        Case(fields=[(name, value)])
        for name, value in (
            ("transfer-encoding", "chunked"),
            ("connection", f"x-{MARK}"),
            ("proxy-connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("X-Upper", MARK),
            (f"x-{MARK}: y\r\nz", "1"),
            (f"x {MARK}", "1"),
            ("", MARK),
            (":path", f"/{MARK}2"),
            (":other", MARK),
            ("x", LINES),
            ("x", f"a\n{MARK}: b"),
            ("x", f"a\0{MARK}"),
            ("cookie", f"a=b\r\nX-WEBAUTH-USER: {MARK}"),
            ("content-length", "40"),
            ("content-length", "-1"),
            ("content-length", "+3"),
            ("content-length", "3, 4"),
            ("content-length", "0x3"),
            ("content-length", ""),
        )
    ),
    Case(fields=[("content-length", "3"), ("content-length", "4")], sent=b"abc"),
    Case(method="POST", fields=[("content-length", "3")], sent=INSIDE),
    Case(method="POST", fields=[("content-length", "0")], sent=INSIDE),
    Case(method="POST", fields=[("content-length", "400")], sent=INSIDE),
    Case(method="POST", fields=[("transfer-encoding", "chunked")], sent=b"0\r\n\r\n" + INSIDE),
    Case(method="POST", sent=b"abc", trailer=[(":path", f"/{MARK}2")]),
    Case(method="POST", sent=b"abc", trailer=[("x", LINES)]),
]
WELL_FORMED = [
    Case(),
    Case(method="POST", sent=INSIDE),
    Case(method="PUT", sent=b"0\r\n\r\n" + INSIDE, fields=[("content-length", str(5 + len(INSIDE)))]),
    Case(sent=INSIDE, fields=[("content-length", str(len(INSIDE)))]),
    Case(method="POST", sent=b"abc", trailer=[("x-webauth-user", MARK), ("content-length", "9")]),
    Case(fields=[("x-webauth-user", MARK), ("authorization", MARK), ("cookie", MARK), ("sudo", MARK)]),
    Case(path=f"/a?q={MARK}&sudo={MARK}"),
    Case(fields=[("x-forwarded-host", MARK), ("x-original-url", f"/{MARK}"), ("x-http-method-override", "DELETE")]),
    Case(method="OPTIONS", path="*"),
    Case(method="TRACE"),
]
PAGES_CALL = re.compile(r"/api/v1/(?:version|repos/[\w.-]+/[\w.-]+(?:/[\w/.-]+)?|users/[\w.-]+)(?:\?[\w=&-]+)?")
"""What the pages ask of Forgejo: names, and questions of our own."""


def answer_of(place: Place, host: str, case: Case) -> int:
    """The status that a request gets on a connection of its own; 0 where its stream or the connection is ended."""
    config = h2.config.H2Configuration(
        header_encoding="latin-1",
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        validate_inbound_headers=False,
    )
    authority = case.authority or host if case.authority is not None else None
    pseudo = [(":method", case.method), (":scheme", case.scheme), (":authority", authority), (":path", case.path)]
    fields = [(name, value) for name, value in pseudo if value is not None] + list(case.fields)
    with place.secure(ALICE, "h2") as connection:
        client = h2.connection.H2Connection(config)
        client.initiate_connection()
        client.send_headers(1, fields, end_stream=case.sent is None)
        if case.sent is not None:
            client.send_data(1, case.sent, end_stream=not case.trailer)
        if case.trailer:
            client.send_headers(1, case.trailer, end_stream=True)
        connection.sendall(client.data_to_send())
        while data := connection.recv(65536):
            for event in client.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    return int({str(name): str(value) for name, value in event.headers or []}[":status"])
                if isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    return 0
    return 0


def test_over_http_2_nothing_of_another_form_gets_a_page_and_no_byte_of_it_goes_on(place: Place) -> None:
    place.recorder.forget()
    got = [(host, case, answer_of(place, host, case)) for host in (ALICE, GIT) for case in MALFORMED]
    assert [each for each in got if each[-1] not in (0, 400, 421)] == []
    assert sum(each[-1] == 400 for each in got) > 20  # most are told why
    # A head that is in order, whose body then is not, may have been asked for already.
    for data in place.recorder.came:
        found, rest = requests_in(data)
        assert rest == b""
        assert all(PAGES_CALL.fullmatch(each.target) and each.method == "GET" and not each.body for each in found)
        assert GIT.encode() not in data


def test_over_http_2_nothing_of_a_page_s_request_goes_on_but_names(place: Place) -> None:
    place.recorder.forget()
    for case in WELL_FORMED:
        assert answer_of(place, ALICE, case) in (200, 204, 404, 405, 501, 502, 503)
    came = place.recorder.came
    assert came  # the page is asked for at Forgejo
    for data in came:
        found, rest = requests_in(data)
        assert rest == b""
        for each in found:
            assert PAGES_CALL.fullmatch(each.target), each
            assert (each.method, each.body) == ("GET", b"")
            names = [name for name, _ in each.fields]
            assert set(names) <= {
                "host",
                "accept",
                "accept-encoding",
                "user-agent",
                "x-forgejo-pages-hop",
                "connection",
            }
            assert len(names) == len(set(names))
            # The path's first segment may be a repository's name: that is what names are for.
            assert MARK not in each.target.replace(f"/repos/alice/{MARK}", "")
        assert MARK.encode() not in data.replace(f"/repos/alice/{MARK}".encode(), b"")


def test_over_http_2_forgejo_s_own_host_gets_nothing_at_all(place: Place) -> None:
    place.recorder.forget()
    assert [answer_of(place, GIT, case) for case in WELL_FORMED] == [421] * len(WELL_FORMED)
    assert place.recorder.came == []


def head(*lines: str, method: str = "POST", target: str = "/echo", version: str = "1.1") -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/{version}", f"Host: {GIT}", *lines, "", "")).encode("latin-1")


CHUNKED = "Transfer-Encoding: chunked"
AMBIGUOUS = [
    *REFUSED,
    *(
        head(f"{name}: {value}", "Content-Length: 5") + b"0\r\n\r\n" + INSIDE
        for name, value in (
            ("Transfer-Encoding", "chunked"),
            ("transfer-encoding", "CHUNKED"),
            ("Transfer-Encoding", "chunked, chunked"),
            ("Transfer-Encoding", "identity, chunked"),
            ("Transfer-Encoding", "chunked, identity"),
            ("Transfer-Encoding", "gzip, chunked"),
        )
    ),
    *(
        head(line) + b"0\r\n\r\n" + INSIDE
        for line in (
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked\x0b",
            "Transfer-Encoding: \x0cchunked",
            "Transfer-Encoding:\r\n chunked",
            "Transfer-Encoding: x\r\n\tchunked",
            " Transfer-Encoding: chunked",
            "Transfer-Encoding\t: chunked",
            "Transfer\x00-Encoding: chunked",
            "X: y\rTransfer-Encoding: chunked",
            'Transfer-Encoding: "chunked"',
            "Transfer-Encoding: chunked;q=1",
            "Transfer-Encoding: identity",
        )
    ),
    head(CHUNKED, "Transfer-Encoding: identity") + b"0\r\n\r\n" + INSIDE,
    head(CHUNKED, CHUNKED) + b"0\r\n\r\n" + INSIDE,
    *(
        head(f"Content-Length: {value}") + b"abc" + INSIDE
        for value in (
            "+3",
            "-3",
            "3 4",
            "3, 4",
            "0x3",
            "3;",
            "3_0",
            "",
            "three",
            "\xb2",
            "3\x0b",
        )
    ),
    head("Content-Length: 3", "Content-Length: 0") + b"abc" + INSIDE,
    head("Content-Length : 3") + b"abc" + INSIDE,
    head("Content-Length: 3", "Host: internal") + b"abc",
    head("X: y\r\n folded") + INSIDE,
    head(": empty"),
    head("no colon"),
    head("X: a\x00b"),
    head(method="G@T"),
    head(method="GET", target=f"/a b/{MARK}"),
    head(method="GET", target="//internal/\x00"),
    head(method="GET", target=f"http://internal/{MARK}"),
    head(method="GET", target=f"@{MARK}"),
    head(method="GET", version="11"),
    head(CHUNKED, version="1.0") + b"0\r\n\r\n" + INSIDE,
]
"""Each is followed by what would be a second request to whoever reads its length in another way."""


def closing(data: bytes) -> bytes:
    """The same, by a client that wants to be answered once."""
    return data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)


def received(place: Place, data: bytes, *, secure: bool) -> bytes:
    """Everything that comes back, until the other side closes."""
    back = b""
    with place.secure(GIT, "http/1.1") if secure else place.proxy.connect() as connection:
        connection.sendall(data)
        try:
            while more := connection.recv(65536):
                back += more
        except (ConnectionResetError, ssl.SSLEOFError):
            pass
    return back


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_what_could_be_read_in_two_ways_is_refused_and_no_byte_of_it_goes_on(place: Place, secure: bool) -> None:
    place.recorder.forget()
    for data in AMBIGUOUS:
        back = received(place, closing(data), secure=secure)
        assert back.startswith(b"HTTP/1.1 40"), (data, back)
        assert back.count(b"HTTP/1.1 ") == 1, data
        assert place.recorder.came == [], data


BODIES = [
    # A line may end in LF alone (RFC 9112 §2.2); it goes on with both.
    (head("X: y\n" + CHUNKED) + b"0\r\n\r\n" + INSIDE, b""),
    (head(f"Content-Length: {len(INSIDE)}") + INSIDE, INSIDE),
    (head(CHUNKED) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(INSIDE), INSIDE), INSIDE),
    (head(CHUNKED) + b"0003;a=b\r\nabc\r\n0;%b\r\n\r\n" % MARK.encode(), b"abc"),
    (
        head(CHUNKED) + b"3\r\nabc\r\n0\r\nX-%b: 1\r\nHost: internal\r\nContent-Length: 9\r\n\r\n" % MARK.encode(),
        b"abc",
    ),
    (head("Transfer-Encoding: Chunked") + b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    (head("Content-Length: 3", method="GET") + b"abc", b"abc"),
    (head("Content-Length: 0", method="DELETE"), b""),
    (head(method="GET", version="1.2"), b""),
    (
        head(f"X-WEBAUTH-USER: {MARK}", f"X-{MARK}: 1", f"Connection: x-{MARK}, Content-Length", "Content-Length: 1")
        + b"a",
        b"a",
    ),
]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_what_is_passed_on_is_the_one_request_that_was_meant(place: Place, secure: bool) -> None:
    for data, body in BODIES:
        place.recorder.forget()
        back = received(place, closing(data), secure=secure)
        assert back.startswith(b"HTTP/1.1 404 "), data
        assert back.count(b"HTTP/1.1 ") == 1, data
        (came,) = place.recorder.came
        ((method, target, fields, arrived),), rest = requests_in(came)
        assert (method, target, arrived, rest) == (data.split(b" ")[0].decode(), "/echo", body, b""), data
        assert MARK not in str(fields)


BROKEN = [
    b"3\r\nabcd\r\n",
    b"3\nabc\n0\n\n",
    b"+3\r\nabc\r\n",
    b"0x3\r\nabc\r\n",
    b"3 x\r\nabc\r\n",
    b"-1\r\n",
    b"\r\n",
    b"g\r\n",
]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_body_that_goes_wrong_never_ends_at_forgejo(place: Place, secure: bool) -> None:
    for chunk in BROKEN:
        place.recorder.forget()
        back = received(place, head(CHUNKED) + b"3\r\nabc\r\n" + chunk + b"0\r\n\r\n" + INSIDE, secure=secure)
        assert b" 200 " not in back
        assert b" 404 " not in back, chunk  # the recorder's: it saw a whole request
        for data in place.recorder.came:
            assert requests_in(data)[0] == [], (chunk, data)
            assert MARK.encode() not in data
