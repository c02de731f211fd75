# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The lane without a socket: what its protocols are told arrives by hand, what they write is read, and time is said.

For what a socket decides by itself, and when it likes: how much of an answer it takes, whether the other side is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Protocol, cast

import pytest

from addon.admin.access_log import AccessLog
from addon.lane import handover, http1, http2_answering, http2_connection, request_log
from addon.lane.lane import Lane
from addon.serving.server import Answer, PagesServer, Request
from addon.settings.schema import Settings
from addon.web.forwarding import Forwarding
from tests.addon.lane.lane_running import FORGEJO, Pages, RecordedLog
from tests.clock import Clock

PEER = ("192.0.2.7", 4711)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still, unless it is told."""
    clock = Clock()
    for module in (handover, http1, request_log, http2_answering, http2_connection):
        monkeypatch.setattr(module, "monotonic", clock)
    return clock


def slow_pages(pages: Pages, clock: Clock, milliseconds: float) -> None:
    """Let each answer take so long."""
    made = Pages._made

    def slow(request: Request) -> Answer:
        clock.now += milliseconds / 1000
        return made(pages, request)

    pages._made = slow  # type: ignore[method-assign]


class WireTransport(asyncio.Transport):
    """Keeps what is written. takes: whether it is taken at once; what is not counts as in the buffer."""

    def __init__(
        self, *, half_closes: bool = True, peer: tuple[str, int] | str = PEER, sock: socket.socket | None = None
    ) -> None:
        super().__init__({"peername": peer, "socket": sock})
        self.protocol: Any = None
        self.written = bytearray()
        self.writes: list[int] = []
        self.left = 0
        self.takes = True
        self.half_closes = half_closes
        self.reading = True
        self.unread = b""
        self.said: list[str] = []
        """What became of it: `eof`, `close`, `abort`."""

    def attach(self, protocol: Any) -> None:
        self.protocol = protocol
        protocol.connection_made(self)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return cast(asyncio.BaseProtocol, self.protocol)

    # What the protocols call.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        self.writes.append(len(data))
        if not self.takes:
            self.left += len(data)

    def get_write_buffer_size(self) -> int:
        return self.left

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        if self.unread:
            asyncio.get_running_loop().call_soon(self.receive, b"")

    def is_reading(self) -> bool:
        return self.reading

    def can_write_eof(self) -> bool:
        return self.half_closes

    def write_eof(self) -> None:
        self.said.append("eof")

    def close(self) -> None:
        self.said.append("close")

    def abort(self) -> None:
        self.said.append("abort")

    def is_closing(self) -> bool:
        return any(said != "eof" for said in self.said)

    # What a test says.

    def receive(self, data: bytes) -> None:
        """Data arrives; what is not read waits."""
        self.unread += data
        while self.unread and self.reading:
            if isinstance(self.protocol, asyncio.BufferedProtocol):
                buffer = cast(memoryview, self.protocol.get_buffer(-1))
                size = min(len(buffer), len(self.unread))
                buffer[:size] = self.unread[:size]
                self.unread = self.unread[size:]
                self.protocol.buffer_updated(size)
            else:
                data, self.unread = self.unread, b""
                self.protocol.data_received(data)

    def taken(self, protocol_knows: bool = True) -> bytes:
        """The client takes all that was written; returns it."""
        data = bytes(self.written)
        self.written.clear()
        self.left = 0
        if protocol_knows and not self.takes:
            self.protocol.resume_writing()
        return data


@contextlib.contextmanager
def wired_lane(**options: object) -> Iterator[tuple[Lane, Pages, RecordedLog]]:
    """A lane that nobody listens for, in front of pages that are made up; it looks after nobody by itself."""
    given = {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1", "forgejoPublicHost": FORGEJO, **options}
    settings = Settings.from_mapping(given, environ={"HOME": "/nowhere"})
    pages, log = Pages(), RecordedLog()
    lane = Lane(cast(PagesServer, pages), settings, Forwarding(settings), log=cast(AccessLog, log), facts=pages.facts)
    assert lane._timer is not None
    lane._timer.cancel()
    try:
        yield lane, pages, log
    finally:
        lane.close()


class _Checked(Protocol):
    def check(self, now: float, /) -> object: ...


def cut_after(seconds: float, clock: Clock, connection: _Checked, transport: WireTransport) -> None:
    """Assert that a connection is kept for so many seconds from now on, and is aborted then."""
    connection.check(clock.now + seconds)
    assert transport.said == []
    connection.check(clock.now + seconds + 0.1)
    assert transport.said == ["abort"]
