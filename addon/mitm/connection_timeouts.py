# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How long connections may be silent, and who is read meanwhile. Works on mitmproxy's handlers from outside.

mitmproxy cuts whoever is silent for a minute. That is right for pages and wrong for Forgejo, where an event stream or a
`git push` may be silent for an hour, and for a large file, whose slow reader leaves us idle while the kernel's buffers
empty. So the watchdog is held off there, and the kernel takes its place: it notices a peer that is gone or takes
nothing. While a connection to Forgejo is being opened, its client is not read: mitmproxy would keep the body in memory.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_KEEPALIVE = (
    # A peer that left without a word is noticed after 60 s + 4 × 15 s. (The names differ between systems.)
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 60),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 15),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 4),
    # And one that is there but takes nothing, after 120 s (milliseconds; Linux counts a closed window, too).
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 120_000),
)


_LOOK_AGAIN = 0.002
"""Seconds after which a client is paused that asyncio's own flow control had paused, and has let go since."""


@dataclass(slots=True)
class _Opening:
    timer: asyncio.TimerHandle
    transport: asyncio.Transport | None
    paused: bool = False


class Connections:
    """State: the watchdogs held off, by the key of whoever holds them; the connections to Forgejo being opened."""

    def __init__(self, handlers: Callable[[], Mapping[Any, Any]], connect_timeout: float) -> None:
        """handlers: mitmproxy's handlers by the id of their client. connect_timeout: seconds, TLS included."""
        self._handlers = handlers
        self._connect_timeout = connect_timeout
        self._held: dict[str, contextlib.ExitStack] = {}
        self._opening: dict[str, _Opening] = {}

    def __len__(self) -> int:
        """How many watchdogs are held off and connections being opened."""
        return len(self._held) + len(self._opening)

    def hold(self, key: str, client: Any) -> None:
        """Let a client be silent until `release(key)`."""
        handler = self._handlers().get(client.id)
        watchdog = getattr(handler, "timeout_watchdog", None)
        if watchdog is None or key in self._held:
            return
        self._held[key] = stack = contextlib.ExitStack()
        stack.enter_context(watchdog.disarm())
        self._keep_alive(handler, client)

    def hand_on(self, key: str, heir: str) -> None:
        """What was held for `key` is now held for `heir`."""
        if key in self._held:
            self._held[heir] = self._held.pop(key)

    def release(self, key: str) -> None:
        """Let the watchdog look again; nothing happens where it was not held off."""
        stack = self._held.pop(key, None)
        if stack is not None:
            stack.close()

    async def gone(self, patience: float) -> None:
        """Wait until all clients have left, at most so many seconds."""
        now = asyncio.get_running_loop().time
        began = now()
        while self._handlers() and now() - began < patience:  # noqa: ASYNC110 -- mitmproxy has no event for it
            await asyncio.sleep(0.01)

    def opening(self, client: Any, server: Any) -> None:
        """A connection is about to be opened, by the current task: give it a time, and read nothing from the client."""
        task = asyncio.current_task()
        if task is None or server.id in self._opening:
            return
        timer = asyncio.get_running_loop().call_later(self._connect_timeout, task.cancel)
        opening = _Opening(timer, _transport(self._handlers().get(client.id), client))
        self._opening[server.id] = opening
        self._pause(server.id, opening)

    def _pause(self, key: str, opening: _Opening) -> None:
        """Read nothing from the client until its connection is there."""
        transport = opening.transport
        if transport is None or transport.is_closing() or self._opening.get(key) is not opening:
            return
        if transport.is_reading():
            transport.pause_reading()
            opening.paused = True
        else:  # by asyncio's stream reader, which resumes it as soon as mitmproxy takes what it holds
            asyncio.get_running_loop().call_later(_LOOK_AGAIN, self._pause, key, opening)

    def opened(self, client: Any, server: Any) -> None:
        """The connection is there, or is not to be had."""
        opening = self._opening.pop(server.id, None)
        if opening is None:
            return
        opening.timer.cancel()
        if opening.paused and opening.transport is not None:
            opening.transport.resume_reading()
        self._keep_alive(self._handlers().get(client.id), server)

    def _keep_alive(self, handler: Any, connection: Any) -> None:
        transport = _transport(handler, connection)
        sock = None if transport is None else transport.get_extra_info("socket")
        if sock is None:
            return
        for level, name, value in _KEEPALIVE:
            option = getattr(socket, name, None)
            if option is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(level, option, value)


def _transport(handler: Any, connection: Any) -> asyncio.Transport | None:
    """The transport of a connection, where it has one of asyncio's."""
    io = getattr(handler, "transports", {}).get(connection)
    transport = getattr(getattr(io, "writer", None), "transport", None)
    return transport if isinstance(transport, asyncio.Transport) else None
