# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who may be silent: Forgejo's events, web sockets, git and slow readers may; an idle connection to pages may not.

The proxy here cuts after three seconds instead of a minute. No test sleeps: silence has lasted long enough when a
connection that began its own silence later has been cut.
"""

import contextlib
import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from tests.addon.preview.odd_pages import OddForge
from tests.integration.running import PAGES_DOMAIN, Proxy
from tests.integration.through import GIT, MIB, echo, passing_through
from tests.integration.wire import Memory, Wire, digest_of
from tests.waiting import wait_until

ALICE = f"alice.{PAGES_DOMAIN}"
# Loaded by mitmdump beside the addon. (In mitmproxy 11 the time is a constant, later an option.)
IMPATIENT = """
from mitmproxy import ctx
from mitmproxy.proxy import server

def load(loader):
    if hasattr(server, "TCP_TIMEOUT"):
        server.TCP_TIMEOUT = 3

def running():
    if "tcp_timeout" in ctx.options:
        ctx.options.tcp_timeout = 3
"""


@pytest.fixture(scope="module")
def beside() -> str:
    return IMPATIENT


class Socket:
    """The client's side of a web socket."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        wire.ask(
            GIT,
            "/ws",
            Connection="keep-alive, Upgrade",
            Upgrade="websocket",
            Sec_WebSocket_Version="13",
            Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
        )
        self.head = wire.head()
        self._frames = Connection(ConnectionType.CLIENT)

    def send(self, event: Event) -> None:
        self.wire.send(self._frames.send(event))

    def events(self) -> Iterator[Event]:
        while data := self.wire.some():
            self._frames.receive_data(data)
            yield from self._frames.events()

    def echo(self, message: bytes) -> bytes:
        """What comes back for a message."""
        self.send(BytesMessage(message))
        back = b""
        for event in self.events():
            assert isinstance(event, BytesMessage)
            back += event.data
            if event.message_finished:
                return back
        raise EOFError


def until_an_idle_connection_is_cut(proxy: Proxy) -> None:
    with Wire(proxy.port) as wire:
        assert wire.exchange(GIT, "/status/204")[0].status == 204  # from here on it is mitmproxy's connection
        assert wire.exchange(ALICE, "/blog/")[0].status == 200
        assert wire.ended


def test_silence_in_pass_through_and_in_slow_readers_cuts_nothing(passing: Proxy) -> None:
    with contextlib.ExitStack() as stack:
        events, socket, upload, late = (stack.enter_context(Wire(passing.port)) for _ in range(4))
        readers = [stack.enter_context(Wire(passing.port, receive_buffer=4096)) for _ in range(2)]
        events.ask(GIT, "/events?gap=9")
        assert events.head().field("content-type") == "text/event-stream"
        assert b"data: 0" in events.chunk()
        chat = Socket(socket)
        assert (chat.head.status, chat.echo(b"hello")) == (101, b"hello")
        upload.ask(GIT, "/upload", "POST", Transfer_Encoding="chunked")
        upload.send_chunk(b"first")
        assert readers[1].exchange(GIT, "/status/204")[0].status == 204
        for reader in readers:
            reader.ask(ALICE, "/blog/big.dat")
            size = int(reader.head().field("content-length") or "0")
        late.ask(GIT, "/late?seconds=12")

        until_an_idle_connection_is_cut(passing)
        until_an_idle_connection_is_cut(passing)

        assert chat.echo(b"still there") == b"still there"
        upload.send_chunk(b"second")
        upload.send_chunk(b"")
        assert json.loads(upload.answer()[1])["bytes"] == len("firstsecond")
        assert late.answer()[1] == b"halfhalf"
        assert b"data: 1" in events.chunk()
        for reader in readers:
            assert len(reader.exactly(size)) == size
        for wire in (upload, late):
            assert wire.ended  # with its request answered, a connection may not be silent for long


def test_events_arrive_one_by_one(passing: Proxy, odd: OddForge) -> None:
    odd.gone.clear()
    with Wire(passing.port) as wire:
        wire.ask(GIT, "/events?gap=0.3")
        wire.head()
        for number in range(4):
            assert wire.chunk() == b"event: count\ndata: %d\n\n" % number
    assert odd.gone.wait(10)


def test_a_web_socket_carries_all_kinds_of_frames_both_ways_and_ends_with_its_client(
    passing: Proxy, odd: OddForge
) -> None:
    odd.gone.clear()
    with Wire(passing.port) as wire:
        chat = Socket(wire)
        events = chat.events()
        chat.send(TextMessage("grüß"))
        assert next(events) == TextMessage("grüß", frame_finished=True, message_finished=True)
        chat.send(Ping(b"beat"))
        assert next(events) == Pong(b"beat")
        chat.send(CloseConnection(1000, "bye"))
        assert isinstance(next(events), CloseConnection)
    assert odd.gone.wait(10)


def test_a_web_socket_that_forgejo_ends_is_ended(tmp_path: Path) -> None:
    mortal = OddForge()
    with passing_through(tmp_path, mortal) as proxy, Wire(proxy.port) as wire:
        assert Socket(wire).echo(b"x") == b"x"
        mortal.stop()
        assert wire.ended


def test_the_messages_of_a_web_socket_are_not_kept(passing: Proxy) -> None:
    with Wire(passing.port) as wire:
        chat = Socket(wire)
        assert chat.echo(b"x" * MIB) == b"x" * MIB
        with Memory(passing.process.pid) as memory:
            for number in range(150):
                message = number.to_bytes(4, "big") * (MIB // 4)
                assert chat.echo(message) == message
    assert memory.growth < 32 * MIB


def test_a_refused_upgrade_is_an_answer_like_any_other(passing: Proxy) -> None:
    with Wire(passing.port) as wire:
        head, _ = wire.exchange(GIT, "/ws", Connection="Upgrade", Upgrade="websocket")  # no key
        assert head.status == 426
        assert echo(wire)["method"] == "GET"


def test_the_kernel_looks_after_silent_peers(passing: Proxy, odd: OddForge) -> None:
    """Nobody else would notice a visitor, or a Forgejo, that went away without a word."""
    with Wire(passing.port) as wire:
        wire.ask(GIT, "/events?gap=30")
        wire.head()
        wire.chunk()
        visitor = (passing.port, wire.socket.getsockname()[1])
        timers = wait_until(lambda: found if (found := keepalive_timers()) >= {visitor} else None)
        assert any(remote == odd.port for _, remote in timers)


def keepalive_timers() -> set[tuple[int, int]]:
    """Local and remote port of TCP connections whose keep-alive timer runs, from /proc."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        match = re.match(r"\s*\d+: \w+:(\w+) \w+:(\w+) 01 \S+ 02:", line)
        if match:
            found.add((int(match[1], 16), int(match[2], 16)))
    return found


def test_a_shutdown_waits_for_downloads_and_not_for_events(odd: OddForge, tmp_path: Path) -> None:
    with passing_through(tmp_path, odd) as proxy, Wire(proxy.port) as events, Wire(proxy.port) as download:
        events.ask(GIT, "/events?gap=100")
        events.head()
        events.chunk()
        chat = Wire(proxy.port)
        assert Socket(chat).echo(b"x") == b"x"
        download.ask(GIT, f"/download?size={20 * MIB}")
        head = download.head()
        began = time.monotonic()
        proxy.process.send_signal(signal.SIGTERM)
        assert digest_of(download.pieces(head))[0] == 20 * MIB
        assert proxy.process.wait(30) == 0
        assert time.monotonic() - began < 20  # less than a shutdown waits for answers
        chat.close()
