# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A connection goes to another handler: mitmproxy's, with every byte that was read and not answered.

It counts among its address's connections until it is closed, whoever serves it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import cast

from addon.lane.lane import Lane

_SETTLED = 2.0
"""Seconds after a client's last byte in which the handler has seen whether that makes a request complete."""
_HALF_CLOSED = 30.0
"""Seconds for which an answer is waited that goes to who has half-closed."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def hand_over(lane: Lane, transport: asyncio.Transport, client: str, handler: Handler, rest: bytes, eof: bool) -> None:
    """Make a transport the handler's. rest: what was read of it already; eof: whether nothing more comes."""
    reader = asyncio.StreamReader(limit=lane.most_held, loop=lane.loop)
    other = HandedOver(lane, client, reader, handler, rest, eof)
    transport.set_protocol(other)
    other.take(transport)


class HandedOver(asyncio.StreamReaderProtocol):
    """A connection that another handler serves; it is one of its address's connections still.

    What it says is not read here. What is known is whether a request is being answered, of which we are told, and when
    the first byte came since the last one was: so long a head may take, and so long it may be silent, as on the lane.
    Each beginning costs the handler milliseconds of the loop, so these come one at a time (`Throttle`). Who half-closes
    is answered first, for the handler would give up what was asked.
    """

    def __init__(
        self, lane: Lane, client: str, reader: asyncio.StreamReader, handler: Handler, rest: bytes, eof: bool
    ) -> None:
        """rest, eof: as for `hand_over`."""
        super().__init__(reader, handler, loop=lane.loop)
        self._lane = lane
        self._client = client
        self._peer = (client, 0)
        self._own: asyncio.Transport | None = None
        self._busy = False
        self._forwarded = False
        self._complete = False  # what is being answered has come to its end
        self._partial = bool(rest)  # a head has begun
        self._since = monotonic()
        self._held = rest  # until its turn
        self._waiting = False  # for its turn
        self._made = False  # the handler knows of it
        self._eof = eof  # nothing more comes, and the handler does not know
        self._lost = False

    def take(self, transport: asyncio.Transport) -> None:
        """The transport is this protocol's from now on."""
        self._own = transport
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._peer = (str(peer[0]), int(peer[1]))
        self._lane.add_handed_over(self._peer, self)
        self._wait()

    def _wait(self) -> None:
        """Wait for a turn with what is held."""
        assert self._own is not None
        self._waiting = True
        self._own.pause_reading()
        self._lane.throttle.begin(self._lane.connection_limits.client_network(self._client), self._go)

    def _go(self) -> None:
        """It has its turn."""
        self._waiting = False
        if self._lost or self._own is None:
            return
        self._since = monotonic()
        data, self._held = self._held, b""
        if not self._made:
            self._made = True
            super().connection_made(self._own)
        self._own.resume_reading()
        if data:
            super().data_received(data)
        elif self._eof:
            self._tell_end()

    def data_received(self, data: bytes) -> None:
        if self._waiting:
            self._held += data  # what was on its way before reading stopped
        elif self._busy or self._partial:
            super().data_received(data)
        else:
            self._partial, self._held = True, data
            self._wait()

    def eof_received(self) -> bool | None:
        self._eof = True
        self._since = monotonic()
        if self._forwarded or not (self._busy or self._partial or self._waiting):
            self._tell_end()
        return True

    def _tell_end(self) -> None:
        self._eof = False
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._made:
            super().connection_lost(exc)
        self._lane.remove_handed_over(self._peer, self)
        self._lane.lost(self._client)

    # What the lane calls.

    @property
    def idle_since(self) -> float | None:
        """Since when nothing is under way; None where something is."""
        return None if self._busy else self._since

    def serving(self, busy: bool) -> None:
        """A request has begun to be answered, or the last one is."""
        self._busy, self._partial, self._since = busy, False, monotonic()
        self._complete = self._forwarded = False

    def forwarded(self) -> None:
        """What is being answered is another server's affair: when its client goes, it is to be told at once."""
        if self._eof:
            self._tell_end()
        self._forwarded = True

    def received(self) -> None:
        """All of what is being answered has come."""
        self._complete = True

    def check(self, now: float) -> None:
        """Close what has waited too long; now: monotonic seconds."""
        if self._own is None or self._waiting:
            return
        if self._eof and (self._busy or self._partial):
            # What ends early is given up; for an answer, it is waited, for its reader may be there.
            patience = _HALF_CLOSED if self._complete else _SETTLED
            if not self._own.get_write_buffer_size() and now - self._since > patience:
                self._tell_end()
        if self._busy:
            return
        if self._own.get_write_buffer_size():
            self._since = now  # the last answer is still being taken, which the kernel watches over
        elif self._eof and not self._partial:
            self._tell_end()  # all that was asked is answered
        elif now - self._since > (self._lane.header_timeout if self._partial else self._lane.idle_timeout):
            self._own.abort()

    def abort(self) -> None:
        """Cut the connection."""
        if self._own is not None:
            self._own.abort()


class Direct(asyncio.Protocol):
    """A connection over TLS where there is no lane: it waits for the handshake, and is the handler's from then on."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def secured(self, alpn: str | None) -> None:
        """The handshake is done, as `Secured` has it."""
        assert self._transport is not None
        other = asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._handler)
        self._transport.set_protocol(other)
        other.connection_made(self._transport)
