# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""TLS and HTTP/2 through real mitmdumps in front of one forge: what a plain HTTP/1.1 request gets, they all get.

Three faces: the lane's HTTP/1.1, plain and over TLS, the lane's HTTP/2, and the flow face, where the lane is off.
"""

import contextlib
import hashlib
import itertools
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h2.errors
import pytest

from addon.preview.forge import Forge
from tests.addon.lane.faces import CONDITIONS, ENCODINGS, METHODS, PLACES, TRICKS, Client, Client2, Response, request
from tests.addon.net.tls_wire import client_context, make_pair
from tests.addon.preview import fixtures
from tests.addon.preview.odd_pages import OddForge
from tests.addon.preview.running import everything_forge, start_forge
from tests.addon.preview.sites import Site
from tests.addon.preview.smart_http import WebFace
from tests.integration.running import PAGES_DOMAIN, Proxy, exchanged, running_proxy
from tests.integration.through import git
from tests.ports import free_port

FORGEJO = "git.test"
OTHER = "www.other.example"
"""A host that has a certificate of its own."""
HOST = f"alice.{PAGES_DOMAIN}"


class Secured(NamedTuple):
    """A mitmdump that listens plain and with TLS."""

    proxy: Proxy
    port: int

    def connect(self, alpn: str = "http/1.1", timeout: float = 20.0, name: str = HOST) -> ssl.SSLSocket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout)
        return client_context(alpn).wrap_socket(connection, server_hostname=name, suppress_ragged_eofs=False)

    def connect2(self) -> ssl.SSLSocket:
        return self.connect("h2")

    def raw(self, data: bytes, timeout: float = 20.0) -> bytes:
        """As `Proxy.raw`, over TLS."""
        with self.connect(timeout=timeout) as connection:
            return exchanged(connection, data)


@contextlib.contextmanager
def secured(folder: Path, forge: str, **options: object) -> Iterator[Secured]:
    pair = make_pair(folder, "pages", PAGES_DOMAIN, f"*.{PAGES_DOMAIN}", FORGEJO)
    other = make_pair(folder, "other", OTHER)
    port, plain = free_port(), free_port()
    pairs = [{"cert": each.cert.name, "key": str(each.key)} for each in (pair, other)]
    tls = {"address": f"127.0.0.1:{port}", "tls": pairs}
    listen = [f"127.0.0.1:{plain}", tls]
    options = {"forgejoPublicHost": FORGEJO, "cacheTTL": 3600, **options}
    with running_proxy(folder, forge, port=plain, listen=listen, **options) as proxy:
        yield Secured(proxy, port)


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    with everything_forge(tmp_path_factory.mktemp("forge")) as forge:
        yield forge


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory, forge: Forge) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("lane"), forge.url) as running:
        yield running


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory, forge: Forge) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("flow"), forge.url, lane=False) as running:
        yield running


Clients = dict[str, Client | Client2]


@pytest.fixture
def clients(lane: Secured, flow: Secured) -> Iterator[Clients]:
    """The first is what the others are measured by."""
    found: Clients = {
        "plain": Client(lane.proxy.connect),
        "tls": Client(lane.connect),
        "flow over tls": Client(flow.connect),
        "h2": Client2(lane.connect2),
    }
    yield found
    for client in found.values():
        client.close()


def ask_all(clients: Clients, data: bytes, bodiless: bool) -> dict[str, Response]:
    return {name: client.ask(data, bodiless=bodiless) for name, client in clients.items()}


@pytest.mark.parametrize("method", METHODS)
def test_every_place_is_answered_alike(clients: Clients, method: str) -> None:
    for host, target in PLACES:
        data = request(method, host, target)
        for _ in range(2):  # a miss, then a hit
            found = ask_all(clients, data, method == "HEAD")
        for name, answer in found.items():
            assert answer == found["plain"], (name, method, host, target)


@pytest.mark.parametrize("encoding", ENCODINGS[:3])
def test_every_condition_and_encoding_is_answered_alike(clients: Clients, encoding: tuple[str, ...]) -> None:
    places = [(HOST, path) for path in ("/", "/blog/css/style.css", "/blog/nothing", "/blog/media.bin")]
    for (host, target), condition, method in itertools.product(places, CONDITIONS, ("GET", "HEAD")):
        data = request(method, host, target, (*condition, *encoding))
        found = ask_all(clients, data, method == "HEAD")
        if len(set(found.values())) > 1:  # one of them may have had to fetch first
            found = ask_all(clients, data, method == "HEAD")
        for name, answer in found.items():
            assert answer == found["plain"], (name, method, host, target, condition)


def test_no_trick_is_answered_otherwise_than_without_tls(lane: Secured) -> None:
    hidden = b"GET /api/v1/version?smuggled HTTP/1.1\r\nHost: git.test\r\nX-Trick: 1\r\nConnection: close\r\n\r\n"
    for trick in TRICKS:
        seen = []
        for raw in (lane.proxy.raw, lane.raw):
            received = raw(trick + hidden, timeout=1.5)
            seen.append([line for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")])
        assert seen[0] == seen[1], trick


def test_what_is_asked_on_one_connection_in_one_piece_is_answered_in_order(lane: Secured) -> None:
    paths = ["/about.html", "/blog/big.dat", "/blog/empty.txt", "/about.html"]
    last = request("GET", HOST, "/blog/js/app.js", ("Connection: close",))
    received = lane.raw(b"".join(request("GET", HOST, path) for path in paths) + last)
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 5
    assert received.endswith(b"console.log('x'.repeat(3))\n" * 300)


@pytest.mark.parametrize("face", ["lane", "flow"])
def test_forgejo_is_told_that_the_visitor_came_by_https(tmp_path: Path, forge: Forge, face: str) -> None:
    odd = OddForge(forge.url)
    try:
        with secured(tmp_path, odd.url, lane=face == "lane") as running:
            client = Client(running.connect)
            _, _, body = client.ask(request("GET", FORGEJO, "/echo"))
            assert b'"x-forwarded-proto", "https"' in body.lower()
            client.close()
    finally:
        odd.stop()


def test_cookies_are_for_https_alone(tmp_path: Path) -> None:
    password = hashlib.sha256(b"correct horse").hexdigest().encode()
    site = {".pages": b"enabled: true\npassword: " + password + b"\n", "public/index.html": b"inside"}
    Site(tmp_path / "repositories" / "alice" / "club.git", site)
    forge = start_forge(tmp_path / "repositories")
    form = b"password=correct+horse"
    kind = ("Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}")
    try:
        with secured(tmp_path, forge.url) as running:
            plain, tls = Client(running.proxy.connect), Client(running.connect)
            clients: list[Client | Client2] = [plain, tls, Client2(running.connect2)]
            for client, secure in zip(clients, (False, True, True)):
                status, fields, _ = client.ask(request("POST", HOST, "/club/", kind) + form)
                assert status == 303
                cookies = [value for name, value in fields if name == "set-cookie"]
                assert cookies
                assert all(("; Secure" in cookie) is secure for cookie in cookies)
                login = "; ".join(cookie.partition(";")[0] for cookie in cookies)
                assert client.ask(request("GET", HOST, "/club/", (f"Cookie: {login}",)))[2] == b"inside"
                leave = ("Content-Length: 0", f"Cookie: {login}")
                _, fields, _ = client.ask(request("POST", HOST, "/.pages/logout", leave))
                cleared = [value for name, value in fields if name == "set-cookie"]
                assert cleared
                assert all(("; Secure" in cookie) is secure for cookie in cleared)
                client.close()
    finally:
        forge.stop()


@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/2"])
def test_git_clones_and_pushes(tmp_path: Path, protocol: str) -> None:
    Site(tmp_path / "repositories" / "alice" / "code.git", {"README.md": b"Read me.\n"})
    forge = Forge(tmp_path / "repositories")
    WebFace(forge)
    forge.start_thread()
    try:
        with secured(tmp_path, forge.url) as running:
            address = f"https://alice:secret@{FORGEJO}:{running.port}/alice/code.git"
            as_visitor = ["-c", f"http.curloptResolve={FORGEJO}:{running.port}:127.0.0.1"]
            as_visitor += ["-c", "http.postBuffer=65536"]
            as_visitor += ["-c", "http.sslVerify=false", "-c", f"http.version={protocol}"]
            git(tmp_path, *as_visitor, "clone", "-q", address, "work")
            work = tmp_path / "work"
            (work / "file").write_bytes(fixtures.noise(2_000_000, 1))
            git(work, "add", ".")
            git(work, "commit", "-q", "-m", "Change")
            git(work, *as_visitor, "push", "-q", address, "HEAD:main")
            git(tmp_path, *as_visitor, "clone", "-q", address, "again")
            assert git(tmp_path / "again", "rev-parse", "HEAD") == git(work, "rev-parse", "HEAD")
    finally:
        forge.stop()


def test_forgejos_host_has_http1_alone_and_is_misdirected_elsewhere(lane: Secured) -> None:
    with lane.connect2() as connection:
        assert connection.selected_alpn_protocol() == "h2"
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        lane.connect("h2", name=FORGEJO)
    client = Client2(lane.connect2)
    assert client.ask(request("GET", FORGEJO, "/api/v1/version"))[0] == 421
    assert client.ask(request("GET", HOST, "/about.html"))[0] == 200
    client.close()
    own = Client(lambda: lane.connect(name=FORGEJO))
    assert own.ask(request("GET", FORGEJO, "/api/v1/version"))[0] == 200
    own.close()


def test_where_the_lane_is_off_there_is_no_http2(flow: Secured) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        flow.connect2()


def test_a_client_over_http2_that_asks_and_gives_up_without_end_is_let_go(lane: Secured) -> None:
    client = Client2(lane.connect2)
    client.give_up("GET", HOST, "/blog/big.dat", 100)  # as a browser does that leaves a page
    assert client.ask(request("GET", HOST, "/blog/"))[0] == 200
    client.give_up("GET", HOST, "/blog/big.dat", 400)
    assert client.ended() == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
    client.close()


def test_a_web_socket_passes_over_tls(tmp_path: Path, forge: Forge) -> None:
    odd = OddForge(forge.url)
    try:
        with secured(tmp_path, odd.url) as running, running.connect() as connection:
            connection.sendall(
                b"GET /ws HTTP/1.1\r\nHost: git.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 101 ")
            assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in received  # the answer to that key (RFC 6455 §1.3)
            connection.sendall(b"\x81\x84\0\0\0\0echo")
            assert connection.recv(100) == b"\x81\x04echo"
    finally:
        odd.stop()


@pytest.mark.parametrize("alpn", ["http/1.1", "h2", "flow"])
def test_a_host_of_another_certificate_than_the_one_shown_is_misdirected(
    lane: Secured, flow: Secured, alpn: str
) -> None:
    running = flow if alpn == "flow" else lane

    def client(name: str) -> Client | Client2:
        return (
            Client2(lambda: running.connect("h2", name=name))
            if alpn == "h2"
            else Client(lambda: running.connect(name=name))
        )

    own, other = client(HOST), client(OTHER)
    for _ in range(3):  # a miss, what memory has, and what is prepared, byte for byte
        assert own.ask(request("GET", HOST, "/"))[0] == 200
        assert own.ask(request("GET", OTHER, "/"))[0] == 421
        assert other.ask(request("GET", OTHER, "/"))[0] == 404  # no site has it
        for host in (HOST, HOST.upper(), f"{HOST}.", f"{HOST}:443", PAGES_DOMAIN):
            for method in ("GET", "POST"):
                assert other.ask(request(method, host, "/", ("Content-Length: 0",) * (method == "POST")))[0] == 421
    assert own.ask(request("GET", "www.nobody.example", "/"))[0] == 404  # of no certificate
    # A proxy that is trusted, as loopback is, and says for whom it speaks.
    assert other.ask(request("GET", HOST, "/", ("X-Forwarded-For: 203.0.113.9",)))[0] == 200
    # Forgejo's own, which HTTP/2 never has.
    assert other.ask(request("GET", FORGEJO, "/"))[0] == 421
    own.close()
    other.close()
