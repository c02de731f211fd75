# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One connection of the HTTP client: bytes under h11, what can go wrong on it, and where it leads.

The surprise: it has a Protocol of its own under h11 rather than asyncio's streams, because an idle connection on which
bytes arrive must die at once (they would be taken for the answer to the next request), and streams cannot tell.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import h11

# A connection takes this much from its socket at once, and stops reading while as much waits to be taken: hundreds of
# slow readers of large files cost little memory. (asyncio's own default is 256 KiB at once.)
_READ_SIZE = 32 * 1024


class TransportError(Exception):
    """Something between us and the server went wrong; texts name the host at most, never headers or bodies."""


class ConnectFailed(TransportError):
    """No connection: refused, unreachable, name unknown, certificate not accepted."""


class TimedOut(TransportError):
    """The deadline passed."""


class Disconnected(TransportError):
    """The server hung up before the answer was complete."""


class Malformed(TransportError):
    """What came is not HTTP/1.1, or breaks its own framing."""


class Truncated(Malformed):
    """The body ended before its announced end."""


class TooLarge(Malformed):
    """The body is larger than the caller allows."""


class Origin(NamedTuple):
    """Where a connection leads: scheme, host (no brackets), port."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The Host header: the port only where it is not the scheme's own (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> Origin:
    """The origin of an absolute http or https URL; ValueError (without the URL: it may hold a secret) for all else."""
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise ValueError("expected http://host or https://host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials in a URL are not accepted")
    return Origin(parts.scheme, host, _DEFAULT_PORTS[parts.scheme] if port is None else port)


class Owner(Protocol):
    """Who keeps connections."""

    def forget(self, wire: Wire) -> None:
        """Close a connection, idle or not; it is used no more."""

    def lost(self, wire: Wire) -> None:
        """A connection has ended."""


class Wire(asyncio.BufferedProtocol):
    """One connection: bytes that arrived and were not taken yet, and whether more will come."""

    def __init__(self, owner: Owner, origin: Origin, max_head: int) -> None:
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=max_head)
        self.origin = origin
        self.busy = True
        self.served = 0
        self.heard = False
        self.ended = False
        self.end_was_read = False
        self.idle_timer: asyncio.TimerHandle | None = None
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        # A memoryview: asyncio's TLS fills it slice by slice, and a slice of a bytearray would be a copy.
        self._landing = memoryview(bytearray(_READ_SIZE))
        self._arrived: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._landing

    def buffer_updated(self, nbytes: int) -> None:
        if not self.busy:
            self._owner.forget(self)
            return
        self.heard = True
        self._arrived.append(bytes(self._landing[:nbytes]))
        self._buffered += nbytes
        if self._buffered >= _READ_SIZE and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def eof_received(self) -> None:
        self.ended = True
        self._wake()
        if not self.busy:
            self._owner.forget(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._wake()
        if not self.gone.done():
            self.gone.set_result(None)
        self._owner.lost(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        self.ended = True
        self._arrived.clear()
        self._wake()
        if self._transport is not None:
            self._transport.abort()

    @property
    def drained(self) -> bool:
        """Nothing arrived that was not taken, neither here nor in h11."""
        return not self._arrived and not self.http.trailing_data[0]

    async def receive(self) -> bytes:
        """The next bytes; empty at the end. Nothing is read from the socket while nobody asks (beyond 64 KiB)."""
        while not self._arrived:
            if self.ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._arrived.popleft()
        self._buffered -= len(data)
        if self._paused and self._buffered < _READ_SIZE and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    async def event(self) -> h11.Event | type[h11.PAUSED]:
        """h11's next event; Disconnected where the server hangs up early, Malformed where it breaks the rules."""
        while True:
            try:
                event = self.http.next_event()
            except h11.RemoteProtocolError:
                # h11's text may quote what the server sent, so it goes no further. Once the end of the stream was
                # fed in, "incomplete" is the only thing that can still be wrong.
                if self.end_was_read:
                    raise Disconnected(f"{self.origin.authority} hung up amid its answer") from None
                raise Malformed(f"{self.origin.authority} sent what is not HTTP/1.1") from None
            if event is not h11.NEED_DATA:
                assert not isinstance(event, type) or event is h11.PAUSED
                return event
            data = await self.receive()
            if not data and self.http.their_state is h11.SEND_RESPONSE:
                raise Disconnected(f"{self.origin.authority} hung up without an answer")
            self.end_was_read = not data
            self.http.receive_data(data)
