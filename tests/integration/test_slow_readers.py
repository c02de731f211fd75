# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A hundred readers of a large page file who take their time: memory, threads and everybody else do not suffer."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from tests.addon.preview import fixtures
from tests.integration.running import PAGES_DOMAIN, Proxy, running_proxy
from tests.integration.through import MIB
from tests.integration.wire import Head, Memory, Wire
from tests.waiting import wait_until

ALICE = f"alice.{PAGES_DOMAIN}"
READERS = 100
AT_ONCE = 40
"""How many ask at the same moment: more than this would have to queue for a call to the forge."""
PART = 5 * MIB
"""Bytes that most of them want: more than the buffers of the kernel hold."""
PER_READER = 640 * 1024
"""Memory for one: the buffers of two connections in the proxy and one to the forge."""


@pytest.fixture
def proxy(forge: Forge, tmp_path: Path) -> Iterator[Proxy]:
    with running_proxy(tmp_path / "proxy", forge.url, forgejoTimeout="60s") as proxy:
        assert proxy.get(ALICE, "/blog/").status == 200
        yield proxy


def threads(proxy: Proxy) -> int:
    return len(list(Path(f"/proc/{proxy.process.pid}/task").iterdir()))


def start(
    proxy: Proxy, stack: contextlib.ExitStack, number: int, *, lane: bool = True, **fields: str
) -> list[tuple[Wire, Head]]:
    """Readers that have got the head, and read nothing more for now; in our own lane or on mitmproxy's connections."""
    readers = []
    for begin in range(0, number, AT_ONCE):
        wires = [Wire(proxy.port, receive_buffer=4096) for _ in range(begin, min(begin + AT_ONCE, number))]
        for wire in wires:
            stack.enter_context(wire)
            if not lane:
                assert wire.exchange(ALICE, "/blog/", Content_Length="0")[0].status == 200
            wire.ask(ALICE, "/blog/big.dat", **fields)
        readers += [(wire, wire.head()) for wire in wires]
    return readers


@pytest.mark.parametrize("lane", [True, False])
def test_slow_readers_of_a_large_file_hold_up_nobody_and_get_all_of_it(proxy: Proxy, forge: Forge, lane: bool) -> None:
    content = fixtures.noise(11 * MIB, 11)
    with contextlib.ExitStack() as stack:
        with Memory(proxy.process.pid) as memory:
            start_threads = threads(proxy)
            parts = start(proxy, stack, READERS - 5, lane=lane, Range=f"bytes=0-{PART - 1}")
            wholes = start(proxy, stack, 5, lane=lane)
            assert {head.status for _, head in parts} == {206}
            assert {head.status for _, head in wholes} == {200}
            # All of them wait now. What is in memory, and what is not, is there for others.
            for _ in range(20):
                assert proxy.get(ALICE, "/blog/").headers["x-cache-status"] == "HIT"
            assert proxy.get(ALICE, "/blog/plain").headers["x-cache-status"] == "MISS"
            assert proxy.get("acme", "/site/").status == 200
            for wire, _ in parts:
                assert hashlib.sha256(wire.exactly(PART)).digest() == hashlib.sha256(content[:PART]).digest()
            for wire, _ in wholes:
                assert hashlib.sha256(wire.exactly(len(content))).digest() == hashlib.sha256(content).digest()
        assert memory.growth < READERS * PER_READER
        assert threads(proxy) <= start_threads + 2
        for wire, _ in (parts[0], wholes[0]):
            assert wire.exchange(ALICE, "/blog/")[0].status == 200  # in step after all that
    wait_until(lambda: forge.in_flight == 0)
    assert "Traceback" not in proxy.log


def test_readers_who_leave_leave_nothing_behind(proxy: Proxy, forge: Forge) -> None:
    for lane in (True, False):
        with contextlib.ExitStack() as stack:
            start(proxy, stack, 80, lane=lane)
        wait_until(lambda: forge.in_flight == 0)
    assert proxy.get(ALICE, "/blog/plain").status == 200
    assert "Traceback" not in proxy.log


def test_when_the_forge_is_killed_every_reader_is_cut_and_none_has_an_answer_that_looks_whole(
    proxy: Proxy, forge: Forge
) -> None:
    with contextlib.ExitStack() as stack:
        readers = start(proxy, stack, 40) + start(proxy, stack, 40, lane=False)
        forge.stop()
        try:
            for wire, head in readers:
                length = int(head.field("content-length") or "0")
                with pytest.raises((EOFError, ConnectionResetError)):
                    wire.exactly(length)
        finally:
            forge.start_thread(forge.port)  # it is everybody's
    assert proxy.get(ALICE, "/blog/").status == 200  # is in memory
    assert "Traceback" not in proxy.log
