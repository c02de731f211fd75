# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How many connections there may be: of one client, and of all together. Knows no protocol and no socket.

All together may have what the file limit leaves when Forgejo, Redis and files have their share; a connection that
mitmproxy serves counts twice, for it has one to Forgejo behind it. Where there is no room for one more, those that have
been idle longest go first, a few at a time, so that to look for them costs little for each. Where all are busy, the new
one is refused.
"""

import heapq
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, Protocol

from addon.access.visitors import visitor_of
from addon.settings.schema import Settings

_KEPT: Final = 160
"""Descriptors for files, libraries, timers, the log and what is accepted before anybody can say no."""
_SHARE: Final = 64
"""One in so many connections goes at one time."""


class Idle(Protocol):
    """A connection that may be idle."""

    @property
    def idle_since(self) -> float | None:
        """Since when (monotonic seconds) nothing is under way; None where something is."""

    def abort(self) -> None:
        """Cut the connection."""


def most_connections(file_limit: int, settings: Settings) -> int:
    """How many connections there may be with so many descriptors."""
    kept = _KEPT + 2 * settings.forgejo_connections + settings.redis_max_connections
    return max(file_limit - kept, file_limit // 4, 16)


class ConnectionLimits:
    """Counts. State: how many connections each client has."""

    def __init__(self, most: int, of_one: int, trusts: Callable[[str], bool]) -> None:
        """most: of all; of_one: of one client, 0 for no limit. trusts: whether an address may have any number."""
        self.most = most
        self.evicted = self.refused = 0
        self._of_one = of_one
        self._trusts = trusts
        self.client_network = lru_cache(4096)(visitor_of)
        """Whose an address is."""
        self._counts: dict[str, int] = {}

    def admit(self, address: str, weight: int, connections: Callable[[], Iterable[Idle]]) -> bool:
        """Whether there is room for one more from an address, which is counted if so.

        weight: descriptors that connections have now. connections: those that may have to go for it.
        """
        client_network = self.client_network(address) if address else ""
        count = self._counts.get(client_network, 0)
        if (self._of_one and address and count >= self._of_one and not self._trusts(address)) or (
            weight >= self.most and not self._make_room(connections())
        ):
            self.refused += 1
            return False
        if address:
            self._counts[client_network] = count + 1
        return True

    def lost(self, address: str) -> None:
        """The address has one connection fewer."""
        client_network = self.client_network(address) if address else ""
        count = self._counts.get(client_network, 0)
        if count > 1:
            self._counts[client_network] = count - 1
        elif count:
            del self._counts[client_network]

    def of(self, address: str) -> int:
        """How many connections the client of an address has."""
        return self._counts.get(self.client_network(address), 0)

    def _make_room(self, connections: Iterable[Idle]) -> bool:
        idle = [(since, id(each), each) for each in connections if (since := each.idle_since) is not None]
        going = heapq.nsmallest(max(1, len(idle) // _SHARE), idle)
        for _, _, connection in going:
            connection.abort()
        self.evicted += len(going)
        return bool(going)
