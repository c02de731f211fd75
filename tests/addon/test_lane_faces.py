# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The lane and the flow face, through two real mitmdumps in front of one forge: same request, same answer.

Compared are status, header fields and bytes; not Date, and not Connection, which belongs to the connection. The corpus
is every combination of what requests differ in; and what no two parsers agree about, which nobody may be misled by.
"""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from tests.forge import fixtures
from tests.forge.running import recorded_forge
from tests.forge.sites import Site
from tests.integration.running import PAGES_DOMAIN, Proxy, running_proxy

FORGEJO = "git.test"
LONG_PAGE = b"<!doctype html><title>Long</title>" + b"<p>All work and no play makes a page compress well.</p>\n" * 200


class Faces:
    """Both faces, the forge behind them, and what was asked of the forge under its own host."""

    def __init__(self, lane: Proxy, flow: Proxy, forge: Forge) -> None:
        self.lane = lane
        self.flow = flow
        self.forge = forge


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    root = tmp_path_factory.mktemp("forge")
    fixtures.make_repositories(root)
    Site(root / "compress" / "page.git", {".pages": b"enabled: true\n", "public/long.html": LONG_PAGE})
    forge = recorded_forge(root)
    options = {"forgejoPublicHost": FORGEJO, "cacheTTL": 3600}
    with (
        running_proxy(tmp_path_factory.mktemp("lane"), forge.url, lane=True, **options) as lane,
        running_proxy(tmp_path_factory.mktemp("flow"), forge.url, lane=False, **options) as flow,
    ):
        yield Faces(lane, flow, forge)
    forge.stop()


Response = tuple[int, tuple[tuple[str, str], ...], bytes]


class Client:
    """A connection kept open, as long as the other side does."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._connection: socket.socket | None = None
        self._held = b""

    def ask(self, data: bytes, *, bodiless: bool = False) -> Response:
        """Send one request, read one response."""
        if self._connection is None:
            self._connection, self._held = self._proxy.connect(), b""
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


@pytest.fixture
def both(faces: Faces) -> Iterator[tuple[Client, Client]]:
    clients = Client(faces.lane), Client(faces.flow)
    yield clients
    for client in clients:
        client.close()


def request(method: str, host: str, target: str, fields: tuple[str, ...] = ()) -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode("latin-1")


def test_the_lane_is_what_answers_where_it_is_on(faces: Faces) -> None:
    """It says that it closes; the flow face closes without a word. Otherwise all of this would compare one face."""
    data = request("GET", f"alice.{PAGES_DOMAIN}", "/", ("Connection: close",))
    assert b"\r\nConnection: close\r\n" in faces.lane.raw(data)
    assert b"\r\nConnection: close\r\n" not in faces.flow.raw(data)
    assert "the lane stays off" not in faces.lane.log


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


@pytest.mark.parametrize("method", METHODS)
def test_every_place_is_answered_alike(both: tuple[Client, Client], method: str) -> None:
    for host, target in PLACES:
        data = request(method, host, target)
        for _ in range(2):  # a miss, then a hit
            answers = [client.ask(data, bodiless=method == "HEAD") for client in both]
        assert answers[0] == answers[1], (method, host, target)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_condition_and_encoding_is_answered_alike(both: tuple[Client, Client], encoding: tuple[str, ...]) -> None:
    places = [
        PLACES[0],
        *((host, path) for host, path in PLACES if path.endswith((".css", ".js", ".html", "nothing", ".bin"))),
    ]
    for (host, target), condition, method in itertools.product(places, CONDITIONS, ("GET", "HEAD")):
        data = request(method, host, target, (*condition, *encoding))
        answers = [client.ask(data, bodiless=method == "HEAD") for client in both]
        if answers[0] != answers[1]:  # one of them may have had to fetch first
            answers = [client.ask(data, bodiless=method == "HEAD") for client in both]
        assert answers[0] == answers[1], (method, host, target, condition)


def test_the_entity_tag_that_one_face_gives_is_known_to_the_other(both: tuple[Client, Client]) -> None:
    lane, flow = both
    for path in ("/page/long.html",):
        for encoding in ENCODINGS:
            data = request("GET", f"compress.{PAGES_DOMAIN}", path, encoding)
            tag = dict(lane.ask(data)[1])["etag"]
            again = request("GET", f"compress.{PAGES_DOMAIN}", path, (*encoding, f"If-None-Match: {tag}"))
            for _ in range(2):
                answer = flow.ask(again)
                assert answer == lane.ask(again)
                assert answer[0] == 304


def test_pages_and_forgejo_may_share_a_connection(faces: Faces) -> None:
    page = request("GET", f"alice.{PAGES_DOMAIN}", "/about.html")
    forgejo = request("GET", FORGEJO, "/api/v1/version")
    post = b"POST /api/v1/nothing HTTP/1.1\r\nHost: " + FORGEJO.encode() + b"\r\nContent-Length: 2\r\n\r\n{}"
    for order in itertools.permutations((page, forgejo, post)):
        client = Client(faces.lane)
        answers = [client.ask(data) for data in (*order, page)]
        client.close()
        for data, (status, fields, body) in zip((*order, page), answers):
            if data is page:
                assert (status, b"<h1>About</h1>" in body) == (200, True)
            elif data is forgejo:
                assert (status, b"version" in body) == (200, True)
            else:
                assert status >= 400
                assert ("x-cache-status", "HIT") not in fields


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
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


def test_no_trick_is_answered_differently_or_brings_anything_to_forgejo(faces: Faces) -> None:
    """Each is followed by a request that must not be taken for the trick's body by one face and not by the other."""
    hidden = b"GET /api/v1/version?smuggled HTTP/1.1\r\nHost: git.test\r\nX-Trick: 1\r\nConnection: close\r\n\r\n"
    for trick in TRICKS:
        seen = []
        for proxy in (faces.lane, faces.flow):
            received = proxy.raw(trick + hidden, timeout=1.5)
            seen.append([line for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")])
        assert seen[0] == seen[1], trick


def test_hits_go_on_while_a_pipeliner_and_a_slow_reader_are_busy(faces: Faces) -> None:
    """Not a measurement: nobody may wait for seconds."""
    stop = threading.Event()

    def pipeline() -> None:
        with faces.lane.connect() as connection, contextlib.suppress(OSError):
            connection.settimeout(0.5)
            while not stop.is_set():
                connection.sendall(request("GET", f"alice.{PAGES_DOMAIN}", "/about.html") * 200)
                connection.recv(1 << 20)

    threads = [threading.Thread(target=pipeline) for _ in range(2)]
    for thread in threads:
        thread.start()
    slow = faces.lane.connect()
    slow.sendall(request("GET", f"alice.{PAGES_DOMAIN}", "/blog/big.dat") * 20)
    client = Client(faces.lane)
    took = []
    for _ in range(100):
        began = time.monotonic()
        assert client.ask(request("GET", f"alice.{PAGES_DOMAIN}", "/about.html"))[0] == 200
        took.append(time.monotonic() - began)
    stop.set()
    for thread in threads:
        thread.join()
    slow.close()
    client.close()
    assert sorted(took)[50] < 0.25


@pytest.fixture
def own_proxy(tmp_path: Path, faces: Faces) -> Iterator[Proxy]:
    with running_proxy(tmp_path, faces.forge.url, lane=True, accessLog=str(tmp_path / "access.log")) as proxy:
        yield proxy


def test_sigterm_answers_what_was_asked_and_ends_in_time(own_proxy: Proxy) -> None:
    data = request("GET", f"alice.{PAGES_DOMAIN}", "/blog/big.dat")
    connections = [own_proxy.connect() for _ in range(3)]
    idle = own_proxy.connect()
    for connection in connections:
        connection.sendall(data)
        assert connection.recv(1000)
    began = time.monotonic()
    received = [0, 0, 0]

    def read(number: int) -> None:
        while chunk := connections[number].recv(1 << 16):
            received[number] += len(chunk)

    readers = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for reader in readers:
        reader.start()
    assert own_proxy.stop() == 0
    for reader in readers:
        reader.join()
    assert idle.recv(10) == b""
    assert min(received) > 11 * 1024 * 1024 - 1000
    assert time.monotonic() - began < 20
    for connection in (*connections, idle):
        connection.close()
    assert "Traceback" not in own_proxy.log


def test_nothing_was_logged_as_an_error(faces: Faces) -> None:
    for proxy in (faces.lane, faces.flow):
        assert "Traceback" not in proxy.log
        assert "crashed" not in proxy.log
        assert "failed on" not in proxy.log
