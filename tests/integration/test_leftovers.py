# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Whatever visitors do to their connections, nothing of it stays behind in the process."""

import contextlib
import json
import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.addon.preview.odd_pages import OddForge
from tests.integration.running import PAGES_DOMAIN, Proxy
from tests.integration.through import GIT, echo
from tests.integration.wire import Wire
from tests.waiting import wait_until

ALICE = f"alice.{PAGES_DOMAIN}"
# Loaded by mitmdump beside the addon: says what the addon holds, some moments after each connection's end.
WITNESS = """
import asyncio, json, os
from mitmproxy import ctx

def say():
    addon = ctx.master.addons.get("forgejo_pages")
    held = addon.server.flows.held
    with open("held.new", "w") as file:
        json.dump(held, file)
    os.replace("held.new", "held.json")

def client_disconnected(client):
    asyncio.get_running_loop().call_later(0.3, say)
"""


@pytest.fixture(scope="module")
def beside() -> str:
    return WITNESS


def started(wire: Wire) -> None:
    """Wait for the head of an answer."""
    wire.head()


def not_at_all(wire: Wire) -> None:
    """Leave at once."""


HEADS: list[tuple[str, bytes]] = [
    ("GET /echo HTTP/1.1", b""),
    ("GET /never HTTP/1.1", b""),
    ("GET /never HTTP/1.1", b"GET /echo HTTP/1.1\r\nHost: git.test\r\n\r\n" * 3),
    ("GET /events HTTP/1.1", b""),
    ("GET /download?size=50000000 HTTP/1.1", b""),
    ("GET /garbage HTTP/1.1", b""),
    ("GET /interim HTTP/1.1", b""),
    ("GET /late?seconds=0.5 HTTP/1.1", b""),
    ("CONNECT git.test:80 HTTP/1.1", b""),
    ("POST /upload HTTP/1.1\r\nContent-Length: 1000", b"x" * 10),
    ("POST /upload HTTP/1.1\r\nContent-Length: 10", b"x" * 10),
    ("POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked", b"5\r\nhello\r\n"),
    ("POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked", b"5\r\nhello\r\nzzz\r\n\r\n"),
    ("POST /refused?chunked=1 HTTP/1.1\r\nContent-Length: 1000", b"x"),
    ("POST /upload HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", b""),
    ("POST /upload HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue", b""),
    ("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x", b"\x81\x80abcd"),
]
PAGES: list[tuple[str, bytes]] = [
    ("GET /blog/ HTTP/1.1", b""),
    ("GET /blog/big.dat HTTP/1.1", b""),
    ("GET /blog/big.dat HTTP/1.1\r\nContent-Length: 9", b"x"),
    ("GET /nothing/1 HTTP/1.1\r\nTransfer-Encoding: chunked", b"5\r\nhello\r\n"),
    ("POST /blog/ HTTP/1.1\r\nContent-Length: 1000", b"x" * 10),
    ("POST /blog/ HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue", b"x"),
    ("OPTIONS /blog/ HTTP/1.1", b"GET /blog/big.dat HTTP/1.1\r\nHost: alice.pages.test\r\n\r\n"),
    ("POST /.pages/x HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 99", b"a=b"),
]


def test_connections_that_end_anyhow_at_any_moment_leave_nothing_behind(
    passing: Proxy, odd: OddForge, folder: Path
) -> None:
    dice = random.Random(20260607)
    endings: list[Callable[[Wire], None]] = [started, not_at_all]
    cases = [(GIT, *each) for each in HEADS] + [(ALICE, *each) for each in PAGES]
    for host, head, body in cases * 6:
        wire = Wire(passing.port, timeout=0.5)
        with contextlib.suppress(OSError, EOFError, AssertionError):
            data = f"{head}\r\nHost: {host}\r\n\r\n".encode() + body
            cut = len(data) if dice.random() < 0.8 else dice.randrange(len(data))
            wire.send(data[:cut])
            dice.choice(endings)(wire)
            if dice.random() < 0.3:
                wire.socket.shutdown(socket.SHUT_WR)
                wire.head()
        if dice.random() < 0.5:  # a reset instead of an end
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.close()

    def nothing_is_held() -> bool:
        with Wire(passing.port) as wire:
            assert echo(wire)["method"] == "GET"
        path = folder / "held.json"
        return path.exists() and not any(json.loads(path.read_text()).values())

    wait_until(nothing_is_held)
    wait_until(lambda: odd.connections == 0)
    assert "Traceback" not in passing.log
    assert "crashed" not in passing.log
