# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What the faces are asked to see whether they answer alike, and clients that say all of an answer.

The corpus is every combination of what requests differ in; the tricks are what no two parsers agree about. A client
returns status, header fields and bytes; not Date, and not Connection, which belongs to the connection.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import h2.config
import h2.connection
import h2.events
import pytest

from addon.preview.forge import Forge
from tests.integration.running import PAGES_DOMAIN, Proxy, running_proxy

Response = tuple[int, tuple[tuple[str, str], ...], bytes]


class Faces(NamedTuple):
    """A proxy with each face, and the forge behind both."""

    lane: Proxy
    flow: Proxy
    forge: Forge


@contextlib.contextmanager
def both_faces(folders: pytest.TempPathFactory, forge: Forge, **options: Any) -> Iterator[Faces]:
    """Two proxies with the same settings, but for the face that answers."""
    with (
        running_proxy(folders.mktemp("lane"), forge.url, lane=True, **options) as lane,
        running_proxy(folders.mktemp("flow"), forge.url, lane=False, **options) as flow,
    ):
        yield Faces(lane, flow, forge)


class Client:
    """A connection kept open, as long as the other side does."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._connection: socket.socket | None = None
        self._held = b""

    def ask(self, data: bytes, *, bodiless: bool = False) -> Response:
        """Send one request, read one response."""
        if self._connection is None:
            self._connection, self._held = self._connect(), b""
        self._connection.sendall(data)
        while b"\r\n\r\n" not in self._held:
            self._more()
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
        code = int(status.split()[1])
        size = 0 if bodiless or code in (204, 304) else int(dict(fields).get("content-length", "0"))
        while len(self._held) < size:
            self._more()
        body, self._held = self._held[:size], self._held[size:]
        if dict(fields).get("connection") == "close":
            self.close()
        kept = tuple(sorted((name, value) for name, value in fields if name not in ("date", "connection")))
        return code, kept, body

    def _more(self) -> None:
        assert self._connection is not None
        data = self._connection.recv(1 << 20)
        assert data, "closed in the middle of an answer"
        self._held += data

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Client2:
    """As `Client`, over HTTP/2: one connection over TLS, which is kept; a request is given as for HTTP/1.1."""

    def __init__(self, connect: Callable[[], ssl.SSLSocket]) -> None:
        self._socket = connect()
        assert self._socket.selected_alpn_protocol() == "h2"
        # What a request holds is the test's affair; the client does not mend it.
        config = h2.config.H2Configuration(
            header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self._connection = h2.connection.H2Connection(config)
        self._untaken: dict[int, int] = {}  # of streams that were only started
        self._ended: set[int] = set()
        self._connection.initiate_connection()
        self._connection.increment_flow_control_window(1 << 24)
        self._flush()

    def ask(self, data: bytes, *, bodiless: bool = False) -> Response:
        """Send one request, read one response."""
        head, _, body = data.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        fields = [(name.lower(), value.strip()) for name, _, value in (each.partition(":") for each in lines)]
        pseudo = [(":method", method), (":scheme", "https"), (":authority", dict(fields)["host"]), (":path", target)]
        kept = [(name, value) for name, value in fields if name not in ("host", "connection")]
        stream = self._connection.get_next_available_stream_id()
        self._connection.send_headers(stream, [*pseudo, *kept], end_stream=not body)
        if body:
            self._connection.send_data(stream, body, end_stream=True)
        self._flush()
        return self._response(stream)

    def start(self, method: str, host: str, target: str) -> int:
        """Send a request and take nothing of its answer; returns its stream, for `rest`."""
        stream: int = self._connection.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "https"), (":authority", host), (":path", target)]
        self._connection.send_headers(stream, fields, end_stream=True)
        self._flush()
        return stream

    def give_up(self, method: str, host: str, target: str, count: int) -> None:
        """Send so many requests in one piece, and each time that no answer is wanted."""
        fields = [(":method", method), (":scheme", "https"), (":authority", host), (":path", target)]
        for _ in range(count):
            stream = self._connection.get_next_available_stream_id()
            self._connection.send_headers(stream, fields, end_stream=True)
            self._connection.reset_stream(stream)
        self._flush()

    def ended(self) -> int | None:
        """Wait until the server ends the connection; returns why (an error code), if it says so."""
        while received := self._socket.recv(1 << 20):
            for event in self._connection.receive_data(received):
                if isinstance(event, h2.events.ConnectionTerminated):
                    code: int | None = event.error_code
                    return code
        return None

    def rest(self, stream: int) -> int:
        """Take the answer of a stream; returns the length of its body."""
        size = self._untaken.pop(stream, 0)
        self._take(size, stream)
        while stream not in self._ended:
            received = self._socket.recv(1 << 20)
            assert received, "closed in the middle of an answer"
            for event in self._connection.receive_data(received):
                if isinstance(event, h2.events.DataReceived):
                    size += len(event.data or b"")
                    self._take(event.flow_controlled_length or 0, stream)
                elif isinstance(event, h2.events.StreamEnded):
                    self._ended.add(event.stream_id or 0)
            self._flush()
        return size

    def _take(self, size: int, stream: int) -> None:
        if size:
            self._connection.acknowledge_received_data(size, stream)
            self._flush()

    def _response(self, stream: int) -> Response:
        status, fields, body = 0, [], b""
        while True:
            received = self._socket.recv(1 << 20)
            assert received, "closed in the middle of an answer"
            for event in self._connection.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived) and event.stream_id == stream:
                    pairs = [(str(name), str(value)) for name, value in event.headers or []]
                    status = int(dict(pairs)[":status"])
                    fields = [pair for pair in pairs if pair[0] not in (":status", "date")]
                elif isinstance(event, h2.events.DataReceived) and event.stream_id == stream:
                    body += event.data or b""
                    self._connection.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                elif isinstance(event, h2.events.DataReceived):
                    other, nbytes = event.stream_id or 0, event.flow_controlled_length or 0
                    self._untaken[other] = self._untaken.get(other, 0) + nbytes
                elif isinstance(event, h2.events.StreamReset):
                    return -1, (), b""
                elif isinstance(event, h2.events.StreamEnded) and event.stream_id == stream:
                    self._flush()
                    return status, tuple(sorted(fields)), body
            self._flush()

    def _flush(self) -> None:
        if data := self._connection.data_to_send():
            self._socket.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()


def request(method: str, host: str, target: str, fields: tuple[str, ...] = ()) -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode("latin-1")


PLACES = [
    *(
        (f"alice.{PAGES_DOMAIN}", path)
        for path in (
            "/",
            "/about.html",
            "/about",
            "/blog",
            "/blog/",
            "/blog/index.html?x=1&y",
            "/blog/css/style.css",
            "/blog/plain",
            "/blog/js/app.js",
            "/blog/js/app.mjs",
            "/blog/app.wasm",
            "/blog/img/dot.png",
            "/blog/img/pic.svg",
            "/blog/empty.txt",
            "/blog/files/",
            "/blog/files/with%20space.html",
            "/blog/files/%C3%A9t%C3%A9.html",
            "/blog/files/bad%FF.txt",
            "/blog/big.dat",
            "/blog/media.bin",
            "/blog/nothing",
            "/blog/nothing.html?q",
            "/nothing/at/all",
            "/broken/",
            "/disabled/",
            "/secret/",
            "/many/d24/f2499.txt",
            "/sixtyfour/",
            "//blog//post/",
            "/blog/../docs/",
            "/blog/%2e%2e/docs/?a=b",
            "/blog/../../x",
            "/a%2Fb",
            "/a%5Cb",
            "/a\\b",
            "/a%zz",
            "/a%00b",
            "/a#b",
            "/.pages/",
            "/.pages/x",
            "/.profile/about.html",
            "/?",
            "/??a=%0d%0aX:y",
            "/" + "a/" * 300,
            "/" + "b" * 3000,
        )
    ),
    (f"ALICE.{PAGES_DOMAIN}", "/blog/files/"),
    (f"alice.{PAGES_DOMAIN}.", "/"),
    (f"alice.{PAGES_DOMAIN}:8080", "/blog"),
    (f"alice.{PAGES_DOMAIN}:", "/"),
    (f"compress.{PAGES_DOMAIN}", "/page/long.html"),
    (f"nobody.{PAGES_DOMAIN}", "/"),
    (f"a.b.{PAGES_DOMAIN}", "/"),
    (f"-x.{PAGES_DOMAIN}", "/"),
    (f"{'a' * 64}.{PAGES_DOMAIN}", "/"),
    (f"evil{PAGES_DOMAIN}", "/"),
    (PAGES_DOMAIN, "/"),
    (PAGES_DOMAIN, "/x"),
    ("elsewhere.example", "/"),
    ("127.0.0.1", "/"),
    ("a..b", "/"),
]
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "DELETE", "FOO"]
CONDITIONS: list[tuple[str, ...]] = [
    (),
    ("Range: bytes=0-9",),
    ("Range: bytes=-5",),
    ("Range: bytes=99999999-",),
    ("Range: bytes=0-1,3-4",),
    ("Range: nonsense",),
    ("If-None-Match: *",),
    ('If-None-Match: "other", W/"another"',),
    ('If-Match: "other"',),
    ("If-Modified-Since: Tue, 01 Jan 2030 00:00:00 GMT",),
    ("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",),
    ("If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT",),
    ("Range: bytes=0-3", 'If-Range: "other"'),
    ("Range: bytes=0-3", "If-None-Match: *"),
    ("Origin: http://a.example", "Access-Control-Request-Method: GET"),
    ("Cookie: a=b", "Authorization: Basic YTpi"),
    ("Cache-Control: no-cache",),
    ("Cache-Control: max-age=0",),
    ("X-Forwarded-Proto: http",),
    ("X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.1"),
    ("X-Forwarded-Proto: http, https",),
    ("Forwarded: for=192.0.2.1;proto=http",),
    ("Forwarded: nonsense",),
]
ENCODINGS: list[tuple[str, ...]] = [
    (),
    ("Accept-Encoding: gzip, deflate, br, zstd",),
    ("Accept-Encoding: gzip", "Accept-Encoding: identity;q=0"),
    ("Accept-Encoding: zstd;q=0.1, *;q=0",),
    ("Accept-Encoding:",),
]


HOST = f"alice.{PAGES_DOMAIN}".encode()
TRICKS = [
    b"GET / HTTP/1.1\r\nHost: %b\r\nContent-Length: 40\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: %b\r\nContent-Length: 40\r\nContent-Length: 0\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: %b\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: xchunked\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked, identity\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding : chunked\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: %b\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: %b\r\nHost: git.test\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: git.test\r\nHost: %b\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: %b\r\n git.test\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: %b, git.test\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: git.test@%b\r\n\r\n" % HOST,
    b"GET http://git.test/ HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST,
    b"GET http://%b/ HTTP/1.1\r\nHost: git.test\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\nHost: %b\n\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: %b\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: %b\rX: y\r\n\r\n" % HOST,
    b"GET /\x00 HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: %b\r\nX: \x00\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\nHost: %b\r\n\x0b: y\r\n\r\n" % HOST,
    b"GET  / HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST,
    b"GET / HTTP/1.1 \r\nHost: %b\r\n\r\n" % HOST,
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"CONNECT git.test:80 HTTP/1.1\r\nHost: git.test:80\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: %b\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n\r\n"
    % HOST,
    b"GET / HTTP/1.1\r\nHost: %b\r\nExpect: 100-continue\r\n\r\n" % HOST,
]
