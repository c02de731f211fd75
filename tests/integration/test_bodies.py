# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Bodies are never collected: hundreds of megabytes in both directions, to Forgejo and to pages, in flat memory."""

import asyncio
import contextlib
import hashlib
import json
import socket
import threading
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from tests.addon.preview.odd_pages import OddForge, download
from tests.integration.running import PAGES_DOMAIN, Proxy
from tests.integration.through import GIT, MIB, echo, logged, passing_through
from tests.integration.wire import Forwarder, Memory, Wire, digest_of
from tests.waiting import at_rest, wait_until

ALICE = f"alice.{PAGES_DOMAIN}"
FLAT = 48 * MIB
"""What a transfer may add to the process, however large: buffers, and what the allocator keeps."""
BLOCK = download(MIB)


@pytest.fixture(scope="module", autouse=True)
def warm(passing: Proxy) -> None:
    """What is loaded once is loaded before anything is measured."""
    with Wire(passing.port) as wire:
        echo(wire)
        wire.exchange(ALICE, "/blog/")


def post(wire: Wire, host: str, target: str, mebibytes: int, *, chunked: bool, method: str = "POST") -> str:
    """Send a request with that much body; returns the body's SHA-256."""
    framing = {"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": str(mebibytes * MIB)}
    wire.ask(host, target, method, **framing)
    digest = hashlib.sha256()
    for number in range(mebibytes):
        block = number.to_bytes(8, "big") + BLOCK[8:]
        digest.update(block)
        if chunked:
            wire.send_chunk(block)
        else:
            wire.send(block)
    if chunked:
        wire.send_chunk(b"")
    return digest.hexdigest()


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_to_forgejo_is_streamed(passing: Proxy, wire: Wire, chunked: bool) -> None:
    with Memory(passing.process.pid) as memory:
        sent = post(wire, GIT, "/upload", 200, chunked=chunked)
        head, body = wire.answer()
    told = json.loads(body)
    assert (head.status, told["bytes"], told["sha256"]) == (200, 200 * MIB, sent)
    assert memory.growth < FLAT
    assert echo(wire)["method"] == "GET"


@pytest.mark.parametrize("form", ["", "&chunked=1", "&eof=1"])
def test_a_download_from_forgejo_is_streamed(passing: Proxy, wire: Wire, folder: Path, form: str) -> None:
    path = f"/download/{len(form)}"
    with Memory(passing.process.pid) as memory:
        wire.ask(GIT, f"{path}?size={200 * MIB}{form}")
        size, digest = digest_of(wire.pieces(wire.head()))
    assert (size, digest) == (200 * MIB, digest_of(BLOCK for _ in range(200))[1])
    assert memory.growth < FLAT
    assert logged(folder, path)["bytes"] == 200 * MIB


def test_a_reader_that_stops_stops_forgejo(passing: Proxy, odd: OddForge, wire: Wire) -> None:
    with Memory(passing.process.pid) as memory:
        before = odd.sent
        wire.ask(GIT, f"/download?size={500 * MIB}")
        assert wire.head().status == 200
        asyncio.run(at_rest(lambda: odd.sent, 0.5))
    assert odd.sent - before < 50 * MIB
    assert memory.growth < FLAT


def test_a_forgejo_that_stops_reading_stops_the_sender(passing: Proxy) -> None:
    odd_wire = Wire(passing.port, timeout=3)
    with Memory(passing.process.pid) as memory, odd_wire as wire:
        wire.ask(GIT, "/unread", "POST", Content_Length=str(500 * MIB))
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 500 * MIB:
                sent += wire.socket.send(BLOCK)
    assert sent < 100 * MIB
    assert memory.growth < FLAT


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("target", ["/blog/", "/nothing/at/all", "/%zz"])
def test_a_body_for_a_page_is_never_collected(passing: Proxy, wire: Wire, target: str, chunked: bool) -> None:
    with Memory(passing.process.pid) as memory:
        post(wire, ALICE, target, 300 if target == "/blog/" else 60, chunked=chunked)
        head, _ = wire.answer()
    assert head.status == (400 if target == "/%zz" else 405)
    assert memory.growth < FLAT
    assert wire.exchange(ALICE, "/blog/")[0].status == 200
    assert echo(wire)["method"] == "GET"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("target", ["/blog/", "/blog/big.dat", "/nothing.html"])
def test_a_get_with_a_body_gets_its_page(passing: Proxy, wire: Wire, target: str, chunked: bool) -> None:
    with Memory(passing.process.pid) as memory:
        sender = threading.Thread(
            target=post, args=(wire, ALICE, target, 60), kwargs={"chunked": chunked, "method": "GET"}
        )
        sender.start()
        head = wire.head()
        size, _ = digest_of(wire.pieces(head))
        sender.join()
    assert head.status == (404 if target == "/nothing.html" else 200)
    assert size == int(head.field("content-length") or "0")
    assert memory.growth < FLAT
    assert wire.exchange(ALICE, "/blog/")[0].status == 200


def test_a_body_that_comes_while_a_page_is_being_fetched_is_not_collected(forge: Forge, tmp_path: Path) -> None:
    with Forwarder(forge.port, held=True) as hold, passing_through(tmp_path, forge, forgejoHost=hold.url) as proxy:
        with Wire(proxy.port) as other:
            other.exchange("www.example.org")
        with Wire(proxy.port) as wire, Memory(proxy.process.pid) as memory:
            post(wire, ALICE, "/blog/", 200, chunked=False, method="GET")
            hold.go.set()
            assert wire.answer()[0].status == 200
        assert memory.growth < FLAT


def test_a_slow_body_gets_its_answer_at_once_and_the_connection_stays_in_step(wire: Wire) -> None:
    wire.ask(ALICE, "/blog/", "POST", Content_Length="40")
    wire.send(b"G")
    head, _ = wire.answer()
    assert head.status == 405
    wire.send(b"GET /echo HTTP/1.1\r\nHost: git.test\r\n\r\n"[1:] + b"xx")  # no request, but the body's end
    assert wire.exchange(ALICE, "/blog/")[0].status == 200


@pytest.mark.parametrize(
    ("host", "target", "method", "framing", "status"),
    [
        (ALICE, "/blog/", "POST", "Content-Length: 5\r\n\r\nhello", 405),
        (ALICE, "/blog/", "POST", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 405),
        (ALICE, "/blog/", "GET", "Content-Length: 0\r\n\r\n", 200),
    ],
)
def test_who_half_closes_is_answered(
    passing: Proxy, host: str, target: str, method: str, framing: str, status: int
) -> None:
    with Wire(passing.port) as wire:
        wire.send(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{framing}".encode())
        wire.socket.shutdown(socket.SHUT_WR)
        head, _ = wire.answer()
        assert head.status == status
        assert wire.ended


def test_expectations_are_met_for_forgejo(odd: OddForge, wire: Wire) -> None:
    wire.ask(GIT, "/upload", "POST", Content_Length="5", Expect="100-Continue")
    assert wire.head().status == 100
    wire.send(b"hello")
    head, body = wire.answer()
    assert (head.status, json.loads(body)["bytes"]) == (200, 5)
    assert odd.requests[-1].header("expect") is None
    assert echo(wire)["method"] == "GET"


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_client_that_expects_is_not_told_to_send_what_pages_do_not_read(wire: Wire, method: str) -> None:
    """RFC 9110 §10.1.1: and whether it sends it all the same, nobody can know, so it is the last of its connection."""
    wire.ask(ALICE, "/blog/", method, Content_Length="5", Expect="100-continue")
    head, _ = wire.answer()
    assert head.status == (200 if method == "GET" else 405)
    assert head.field("connection") == "close"


@pytest.mark.parametrize(("host", "status"), [(GIT, b"200"), (ALICE, b"405")])
def test_http_1_0_is_never_told_to_continue(passing: Proxy, host: str, status: bytes) -> None:
    data = f"POST /echo HTTP/1.0\r\nHost: {host}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab"
    received = passing.raw(data.encode(), timeout=10)
    assert received.split()[1] == status
    assert b" 100 " not in received


def test_head_and_options_with_a_body_leave_the_connection_in_step(wire: Wire) -> None:
    for method, status in (("HEAD", 200), ("OPTIONS", 204), ("HEAD", 200)):
        for target in ("/blog/", "/blog/big.dat"):
            wire.ask(ALICE, target, method, Content_Length="5")
            wire.send(b"hello")
            head, body = wire.answer(method)
            assert (head.status, body) == (status, b"")
    assert wire.exchange(ALICE, "/blog/")[0].status == 200


@pytest.mark.parametrize("form", ["", "?chunked=1", "?chunked=1&patient=1"])
def test_forgejo_may_refuse_an_upload_before_it_has_read_it(wire: Wire, form: str) -> None:
    wire.ask(GIT, f"/refused{form}", "POST", Content_Length="5")
    head, body = wire.answer()  # the whole of it, though the body is still to come
    assert (head.status, body) == (413, b"too much")
    if "patient" in form:
        wire.send(b"hello")
        assert echo(wire)["method"] == "GET"


GIVEN_UP = [
    ("Content-Length: 1000", b"hello", 499),
    ("Transfer-Encoding: chunked", b"5\r\nhello\r\n", 499),
    ("Transfer-Encoding: chunked", b"5\r\nhello\r\nGET /echo HTTP/1.1\r\n\r\n", 400),
]


@pytest.mark.parametrize(("framing", "data", "status"), GIVEN_UP)
def test_an_upload_that_ends_early_is_cut_at_forgejo_too(
    passing: Proxy, odd: OddForge, folder: Path, framing: str, data: bytes, status: int
) -> None:
    before, target = odd.uploads_cut, f"/upload/cut/{len(data)}/{status}"
    with Wire(passing.port) as wire:
        wire.send(f"POST {target} HTTP/1.1\r\nHost: {GIT}\r\n{framing}\r\n\r\n".encode())
        wait_until(lambda: odd.requests[-1].target == target)
        wire.send(data)
        if status == 400:
            assert wire.answer()[0].status == 400
            assert wire.ended
    wait_until(lambda: odd.uploads_cut == before + 1)
    assert logged(folder, target)["status"] == status
    assert [seen.target for seen in odd.requests][-1] == target


@pytest.mark.parametrize("target", ["/never", f"/download?size={500 * MIB}", "/events"])
def test_when_the_visitor_leaves_forgejo_is_left_as_well(passing: Proxy, odd: OddForge, target: str) -> None:
    wait_until(lambda: odd.connections == 0)
    for _ in range(5):
        with Wire(passing.port) as wire:
            wire.ask(GIT, target)
            wait_until(lambda: odd.connections == 1)
            if target != "/never":
                assert wire.head().status == 200
        wait_until(lambda: odd.connections == 0)
