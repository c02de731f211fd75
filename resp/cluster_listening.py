# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Where those who listen on a cluster connect, and when they have to go elsewhere.

Surprising: an ordinary channel can be heard at any node, since the nodes pass messages on; a sharded one only where its
slot is.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from resp.connection import Connection
from resp.errors import RespError
from resp.listening import Upstream
from resp.node import Node
from resp.slots import key_slot
from resp.topology import PATIENCE, Topology

#: Seconds a listener waits for the first map.
_READY_SECONDS: Final = 5.0


class ClusterUpstream(Upstream):
    """Where a listener goes: channels to any primary, sharded channels to the owner of their slot."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._node: Node | None = None
        self._shards: dict[Node, ShardUpstream] = {}

    def connect(self) -> Connection:
        self._topology.ready(monotonic() + _READY_SECONDS)
        node = self._topology.owner(None)
        try:
            connection = Connection(node.endpoint).connect()
        except RespError:
            self._topology.poller.suspect()
            raise
        self._node = node
        return connection

    def moved(self) -> bool:
        return self._node not in self._topology.primaries

    def on_moved(self, callback: Callable[[], None]) -> None:
        self._topology.on_moved(callback)

    def shard(self, channel: bytes) -> Upstream:
        self._topology.ready(monotonic() + _READY_SECONDS)
        node = self._topology.owner(key_slot(channel))
        return self._shards.setdefault(node, ShardUpstream(self._topology, node))

    def refresh(self) -> None:
        self._topology.poller.doubt = True
        self._topology.poller.wait(monotonic() + PATIENCE)


class ShardUpstream(Upstream):
    """One primary, for as long as it is one."""

    def __init__(self, topology: Topology, node: Node) -> None:
        self._topology = topology
        self.node = node

    def connect(self) -> Connection:
        try:
            return Connection(self.node.endpoint).connect()
        except RespError:
            self._topology.poller.suspect()
            raise

    def moved(self) -> bool:
        return self.node not in self._topology.primaries

    def on_moved(self, callback: Callable[[], None]) -> None:
        self._topology.on_moved(callback)
