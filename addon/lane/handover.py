# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A connection goes to another handler: mitmproxy's, with every byte that was read and not answered.

It counts among its address's connections until it is closed, whoever serves it.
"""

import asyncio
from collections.abc import Awaitable, Callable
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
    other = HandedOver(lane, client, reader, handler)
    transport.set_protocol(other)
    other.connection_made(transport)


class HandedOver(asyncio.StreamReaderProtocol):
    """A connection that another handler serves; it is one of its address's connections still."""

    def __init__(self, lane: Lane, client: str, reader: asyncio.StreamReader, handler: Handler) -> None:
        super().__init__(reader, handler, loop=lane.loop)
        self._lane = lane
        self._client = client

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lane.lost(self._client)


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
