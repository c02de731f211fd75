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

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def hand_over(lane: Lane, transport: asyncio.Transport, client: str, handler: Handler, rest: bytes, eof: bool) -> None:
    """Make a transport the handler's. rest: what was read of it already; eof: whether nothing more comes."""
    reader = asyncio.StreamReader(limit=lane.most_held, loop=lane.loop)
    if rest:
        reader.feed_data(rest)
    if eof:
        reader.feed_eof()
    other = HandedOver(lane, client, reader, handler, bool(rest))
    transport.set_protocol(other)
    other.connection_made(transport)


class HandedOver(asyncio.StreamReaderProtocol):
    """A connection that another handler serves; it is one of its address's connections still.

    What it says is not read here. What is known is whether a request is being answered, of which we are told, and when
    the first byte came since the last one was: so long a head may take, and so long it may be silent, as on the lane.
    """

    def __init__(self, lane: Lane, client: str, reader: asyncio.StreamReader, handler: Handler, partial: bool) -> None:
        """partial: whether a head has begun."""
        super().__init__(reader, handler, loop=lane.loop)
        self._lane = lane
        self._client = client
        self._peer = (client, 0)
        self._own: asyncio.Transport | None = None
        self._busy = False
        self._partial = partial
        self._since = monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._own = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._peer = (str(peer[0]), int(peer[1]))
        self._lane.welcome(self._peer, self)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if not (self._busy or self._partial):
            self._partial, self._since = True, monotonic()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lane.leave(self._peer, self)
        self._lane.lost(self._client)

    # What the lane calls.

    @property
    def idle_since(self) -> float | None:
        """Since when nothing is under way; None where something is."""
        return None if self._busy else self._since

    def serving(self, busy: bool) -> None:
        """A request has begun to be answered, or the last one is."""
        self._busy, self._partial, self._since = busy, False, monotonic()

    def check(self, now: float) -> None:
        """Close what has waited too long; now: monotonic seconds."""
        if self._own is None or self._busy:
            return
        if self._own.get_write_buffer_size():
            self._since = now  # the last answer is still being taken, which the kernel watches over
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
