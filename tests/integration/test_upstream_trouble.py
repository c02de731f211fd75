# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Forgejo's own host while Forgejo is away, dies, hangs, is somebody else, or is ourselves."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from tests.addon.preview.odd_pages import OddForge
from tests.integration.running import PAGES_DOMAIN, Proxy
from tests.integration.through import GIT, MIB, echo, logged, passing_through
from tests.integration.wire import Forwarder, Head, Memory, Wire
from tests.ports import free_port
from tests.resp.certs import Certificates, make_certificates
from tests.waiting import wait_until

ALICE = f"alice.{PAGES_DOMAIN}"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def assert_our_page(head: Head, body: bytes, status: int, forge_port: int) -> None:
    """A page that says no more than it has to."""
    assert head.status == status
    assert head.field("content-type") == "text/html; charset=utf-8"
    assert head.field("cache-control") == "no-store"
    assert "default-src 'none'" in (head.field("content-security-policy") or "")
    said = (str(head) + body.decode()).lower()
    assert "mitmproxy" not in said
    assert "127.0.0.1" not in said
    assert str(forge_port) not in said
    assert "errno" not in said
    assert "certificate" not in said


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_a_forgejo_that_is_down_is_a_page_of_ours_until_it_is_back(
    odd_port: int, proxy_before_forge: tuple[Proxy, Path], method: str
) -> None:
    proxy, folder = proxy_before_forge
    for _ in range(3):
        with Wire(proxy.port) as wire:
            wire.ask(GIT, f"/down/{method}", method, Content_Length="3" if method == "POST" else "0")
            if method == "POST":
                wire.send(b"abc")
            head, body = wire.answer("GET")
            assert_our_page(head, body, 502, odd_port)
    assert logged(folder, f"/down/{method}")["status"] == 502
    assert proxy.log.count("no connection to Forgejo") == 1
    assert f"127.0.0.1:{odd_port}" in proxy.log
    odd = OddForge(port=odd_port)
    try:
        with Wire(proxy.port) as wire:
            assert echo(wire)["method"] == "GET"
    finally:
        odd.stop()


@pytest.fixture(scope="module")
def odd_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def proxy_before_forge(odd_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Path]]:
    """A proxy whose Forgejo is not there yet."""
    folder = tmp_path_factory.mktemp("down")
    config = {"forgejoHost": f"http://127.0.0.1:{odd_port}"}
    placeholder = OddForge()
    placeholder.stop()
    with passing_through(folder, placeholder, **config) as proxy:
        yield proxy, folder


@pytest.mark.parametrize("form", ["", "&chunked=1"])
def test_a_forgejo_that_dies_in_mid_body_leaves_no_answer_that_looks_whole(
    passing: Proxy, folder: Path, form: str
) -> None:
    path = f"/download/dies/{len(form)}"
    with Wire(passing.port) as wire:
        wire.ask(GIT, f"{path}?size={4 * MIB}&die={MIB}{form}")
        head = wire.head()
        assert head.status == 200
        with pytest.raises((EOFError, ConnectionResetError)):
            for _ in wire.pieces(head):
                pass
    line = logged(folder, path)
    assert line["status"] == 200
    assert line["bytes"] < 4 * MIB


def test_what_is_not_http_is_a_page_of_ours(passing: Proxy, odd: OddForge) -> None:
    with Wire(passing.port) as wire:
        head, body = wire.exchange(GIT, "/garbage")
        assert_our_page(head, body, 502, odd.port)


def test_a_forgejo_that_dies_before_its_answer_is_a_page_of_ours(tmp_path: Path) -> None:
    mortal = OddForge()
    with passing_through(tmp_path, mortal) as proxy, Wire(proxy.port) as wire, Wire(proxy.port) as kept:
        echo(kept)
        wire.ask(GIT, "/never")
        wait_until(lambda: mortal.requests[-1].target == "/never")
        mortal.stop()
        head, body = wire.answer()
        assert_our_page(head, body, 502, mortal.port)
        reborn = OddForge(port=mortal.port)
        assert echo(kept)["connection"] == 1  # a connection of the visitor's outlives one to Forgejo
        reborn.stop()


@contextlib.contextmanager
def hanging(*, accepts: bool) -> Iterator[str]:
    """The authority of a server that completes no connection, or completes it and says nothing."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(100 if accepts else 0)
    port = listener.getsockname()[1]
    fillers = []
    for _ in range(0 if accepts else 4):  # with its queue full, the kernel drops what else comes
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
        fillers.append(filler)
    yield f"localhost:{port}" if accepts else f"127.0.0.1:{port}"
    for each in (*fillers, listener):
        each.close()


UPLOADS = 6
"""At once: whether a client is read at the moment that counts is a matter of luck."""


def pump(wire: Wire) -> None:
    """Send until that is impossible."""
    with contextlib.suppress(OSError):
        while True:
            wire.socket.send(b"x" * MIB)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_forgejo_that_cannot_be_reached_is_given_up_in_time_and_the_upload_is_not_collected(
    tmp_path: Path, odd: OddForge, scheme: str
) -> None:
    with (
        hanging(accepts=scheme == "https") as authority,
        passing_through(tmp_path, odd, forgejoHost=f"{scheme}://{authority}", forgejoTimeout="3s") as proxy,
    ):
        proxy.get("www.example.org")
        port = int(authority.rpartition(":")[2])

        def upload() -> None:
            with Wire(proxy.port) as wire:
                wire.ask(GIT, "/upload", "POST", Content_Length=str(500 * MIB))
                sender = threading.Thread(target=pump, args=(wire,))
                sender.start()
                with contextlib.suppress(ConnectionResetError, EOFError):  # amid a body, the answer may be lost
                    assert_our_page(*wire.answer(), 502, port)
                with contextlib.suppress(OSError):
                    wire.socket.shutdown(socket.SHUT_RDWR)
                sender.join()

        with Memory(proxy.process.pid) as memory, ThreadPoolExecutor(UPLOADS) as pool:
            began = time.monotonic()
            for each in [pool.submit(upload) for _ in range(UPLOADS)]:
                each.result()
            assert time.monotonic() - began < 30
        assert memory.growth < 48 * MIB
        with Wire(proxy.port) as other:
            head, body = other.exchange(GIT, "/echo")
            assert_our_page(head, body, 502, port)


def test_https_with_an_authority_of_ones_own(forge: Forge, certificates: Certificates, tmp_path: Path) -> None:
    odd = OddForge(forge.url, tls=certificates.server_context(), host="localhost")
    try:
        options = {"forgejoCAFile": str(certificates.authority)}
        with passing_through(tmp_path, odd, **options) as proxy, Wire(proxy.port) as wire:
            assert echo(wire)["headers"]["host"] == GIT
            assert wire.exchange(ALICE, "/blog/")[0].status == 200
            wire.ask(GIT, "/echo", "POST", Content_Length="3")
            wire.send(b"abc")
            assert wire.answer()[0].status == 200
    finally:
        odd.stop()


STRANGERS = [
    # host in forgejoHost, whether the authority is trusted
    ("localhost", False),
    ("127.0.0.2", True),
]


@pytest.mark.parametrize(("host", "trusted"), STRANGERS)
def test_a_certificate_that_does_not_fit_is_never_accepted(
    forge: Forge, certificates: Certificates, tmp_path: Path, host: str, trusted: bool
) -> None:
    odd = OddForge(forge.url, tls=certificates.server_context(), host=host)
    try:
        options = {"forgejoCAFile": str(certificates.authority)} if trusted else {}
        with passing_through(tmp_path, odd, **options) as proxy:
            for _ in range(2):
                with Wire(proxy.port) as wire:
                    head, body = wire.exchange(GIT, "/echo", Authorization="token abc")
                    assert_our_page(head, body, 502, odd.port)
                with Wire(proxy.port) as wire:
                    assert wire.exchange(ALICE, "/blog/")[0].status in (502, 503)
            assert odd.requests == []
            assert "ertificate" in proxy.log
    finally:
        odd.stop()


@pytest.mark.parametrize("public_host", [GIT, "127.0.0.1"])
def test_a_forgejo_host_that_leads_back_here_is_a_quick_no_and_no_storm(
    odd: OddForge, tmp_path: Path, public_host: str
) -> None:
    port = free_port()
    with Forwarder(port) as back:
        options = {"forgejoHost": back.url, "forgejoPublicHost": public_host, "port": port}
        with passing_through(tmp_path, odd, **options) as proxy:
            with Wire(proxy.port) as wire:
                assert wire.exchange(public_host, "/anything")[0].status == 508
                assert wire.exchange(ALICE, "/blog/")[0].status in (502, 508)
            assert back.connections <= 10


def test_two_servers_that_lead_to_each_other_end_in_508(odd: OddForge, tmp_path: Path) -> None:
    ports = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        first, _ = (
            stack.enter_context(
                passing_through(tmp_path / name, odd, port=own, forgejoHost=f"http://127.0.0.1:{other}")
            )
            for name, own, other in (("a", ports[0], ports[1]), ("b", ports[1], ports[0]))
        )
        with Wire(first.port) as wire:
            assert wire.exchange(GIT, "/anything")[0].status == 508
