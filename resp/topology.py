# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The nodes of a cluster and what they own, kept up to date by one thread.

The map comes from whoever answers, beginning with the node that a redirection named, because that one knows most; it
is asked for when something speaks against it (MOVED, a lost connection, CLUSTERDOWN) and every few seconds. Surprising:
a MOVED changes the map at once, for the one slot it names, and the whole map is asked for afterwards: who moved one
slot moves others.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Final

from resp.errors import ClientClosed, ConnectionLost, RespError, ServerError
from resp.listening import Callbacks
from resp.node import Node
from resp.observer import tell
from resp.poller import Poller
from resp.slot_map import Address, Shard, SlotRange, parse_shards, parse_slots
from resp.slots import SLOTS
from resp.source import Retired, Stats

logger = logging.getLogger("resp.cluster")

#: Seconds that one node has to answer with its map.
_ASK_SECONDS: Final = 1.0
#: Seconds after which the map is asked for without a reason.
EVERY: Final = 5.0
#: Seconds a call that failed waits for a new map, to see whether there is another node to go to.
PATIENCE: Final = 1.0
#: Nodes that are asked for their map before a round is given up.
_NODES_ASKED: Final = 8


def _map_of(node: Node) -> tuple[SlotRange, ...]:
    """What a node says that the cluster is. CLUSTER SLOTS is what all know; some permit only its successor."""
    where = node.endpoint
    reply = node.call(("CLUSTER", "SLOTS"), _ASK_SECONDS)
    if not isinstance(reply, ServerError):
        return parse_slots(reply, where.host)
    newer = node.call(("CLUSTER", "SHARDS"), _ASK_SECONDS)
    if isinstance(newer, ServerError):
        raise reply.with_traceback(None)
    return parse_shards(newer, where.host, tls=where.tls is not None)


class Topology:
    """seeds: where to ask first. node_at: makes a node; the second argument is whether it is a replica to read from."""

    def __init__(
        self,
        seeds: Sequence[Address],
        node_at: Callable[[Address, bool], Node],
        *,
        translate: Callable[[str, int], Address] | None = None,
    ) -> None:
        self.seeds = list(seeds)
        self._node_at = node_at
        self._translate = translate
        #: The node that is written to, per slot; replaced as a whole by each new map.
        self.owners: list[Node | None] = [None] * SLOTS
        #: The primaries, in the order of their lowest slots, which `lowest` has.
        self.primaries: list[Node] = []
        self.lowest: dict[Node, int] = {}
        self._replicas: dict[Node, list[Address]] = {}
        self._nodes: dict[tuple[Address, bool], Node] = {}
        self._map: tuple[SlotRange, ...] = ()
        self._hints: list[Address] = []
        self._retired = Retired()
        self._callbacks = Callbacks()
        #: Grows with each change of who owns what.
        self.generation = 0
        #: When the map was last confirmed (monotonic).
        self.confirmed = float("-inf")
        self.poller = Poller(self._find, "resp-cluster", every=EVERY, doubtful_every=0.1)

    # ---- who it is -------------------------------------------------------------------------------------------------

    def ready(self, deadline: float | None) -> None:
        """Wait for the first map. Raises ConnectionLost if there is none, ClientClosed."""
        if self._map:
            return
        if self.poller.closed:
            raise ClientClosed
        end = monotonic() + 2 * _ASK_SECONDS * max(2, len(self.seeds))
        self.poller.wait(end if deadline is None else min(end, deadline))
        if not self._map:
            if self.poller.closed:
                raise ClientClosed
            reason = self.poller.error or "no node answered in time"
            raise ConnectionLost(f"no map of the cluster: {reason}", maybe_executed=False)

    def owner(self, slot: int | None) -> Node:
        """The node to write to; any primary where there is no slot. Raises ConnectionLost if nobody owns it."""
        node = self.owners[slot] if slot is not None else random.choice(self.primaries) if self.primaries else None
        if node is None:
            self.poller.suspect()
            raise ConnectionLost(f"no node of the cluster owns slot {slot}", maybe_executed=False)
        return node

    def replicas(self, node: Node) -> list[Node]:
        """The replicas of a primary, as nodes to read from."""
        return [self._node(address, replica=True) for address in self._replicas.get(node, ())]

    def everywhere(self) -> list[Node]:
        """Every node of the map, primaries first."""
        return [*self.primaries, *(replica for node in self.primaries for replica in self.replicas(node))]

    def at(self, host: str, port: int, asked: Node) -> Node:
        """The node that a redirection names; an empty host is that of the node that was asked."""
        return self._node(self._where((host or asked.endpoint.host, port)))

    def moved(self, slot: int, node: Node) -> None:
        """A redirection says that this node owns the slot."""
        if 0 <= slot < SLOTS and self.owners[slot] is not node:
            self.owners[slot] = node
            self._hints = [(node.endpoint.host, node.endpoint.port)]
            self._changed()
        self.poller.suspect()

    def another(self, slot: int | None, node: Node, deadline: float | None, *, wait: bool = True) -> Node | None:
        """The node to go to instead of this one, which failed; waits for a new map if it is the first to notice, and
        is to `wait`.
        """
        now = self.owners[slot] if slot is not None else None
        if now is not None and now is not node:
            return now
        if wait and not self.poller.doubt:
            self.poller.doubt = True
            end = monotonic() + PATIENCE
            self.poller.wait(end if deadline is None else min(end, deadline))
        else:
            self.poller.suspect()
        if slot is None:
            others = [other for other in self.primaries if other is not node]
            return random.choice(others) if others else None
        now = self.owners[slot]
        return now if now is not node else None

    def on_moved(self, callback: Callable[[], None]) -> None:
        """Call `callback` (a bound method, held weakly) whenever the generation has changed."""
        self._callbacks.add(callback)

    # ---- finding out -----------------------------------------------------------------------------------------------

    def _find(self) -> None:
        """One round: the map of the first node that answers."""
        trouble: RespError | None = None
        for node in self._asked():
            try:
                found = _map_of(node)
            except RespError as error:
                trouble = error.with_traceback(None)
                continue
            if found:
                self._take(found)
                self.confirmed = monotonic()
                return
            trouble = ConnectionLost(f"{node.endpoint} knows no slots of a cluster", maybe_executed=False)
        raise trouble or ConnectionLost("no node of the cluster is known", maybe_executed=False)

    def _asked(self) -> Iterator[Node]:
        hints, self._hints = self._hints, []
        known = [(node.endpoint.host, node.endpoint.port) for node in self.primaries]
        random.shuffle(known)
        seeds = [self._where(seed) for seed in self.seeds]
        random.shuffle(seeds)
        for place in list(dict.fromkeys([*hints, *known, *seeds]))[:_NODES_ASKED]:
            yield self._node(place)

    def _take(self, found: tuple[SlotRange, ...]) -> None:
        owners: list[Node | None] = [None] * SLOTS
        lowest: dict[Node, int] = {}
        replicas: dict[Node, list[Address]] = {}
        for first, last, shard in found:
            node = self._node(self._where(shard.primary))
            owners[first : last + 1] = [node] * (last - first + 1)
            lowest.setdefault(node, first)
            replicas[node] = [self._where(place) for place in shard.replicas]
        same = owners == self.owners
        changes = {(old, new) for old, new in zip(self.owners, owners) if old is not new and old and new}
        self.owners, self.lowest, self._replicas = owners, lowest, replicas
        self.primaries = list(lowest)
        first_time, self._map = not self._map, found
        if not same:
            if not first_time:
                logger.info("the map of the cluster changed: %d primaries", len(self.primaries))
            self._forget(found)
            self._changed()
        for before, after in changes:
            if after.pool.observer is not None:
                tell(after.pool.observer.moved, before.endpoint, after.endpoint)

    def _changed(self) -> None:
        self.generation += 1
        self._callbacks.call()

    def _forget(self, found: tuple[SlotRange, ...]) -> None:
        """Close the nodes that are in the map no more; a node that came down to a replica keeps nothing for writing."""
        shards: set[Shard] = {row.shard for row in found}
        primaries = {self._where(shard.primary) for shard in shards}
        members = primaries | {self._where(place) for shard in shards for place in shard.replicas}
        for (place, replica), node in list(self._nodes.items()):
            if place not in members or (replica and place in primaries):
                del self._nodes[place, replica]
                self._retired.add(node)
            elif not replica and place not in primaries:
                node.pool.renew()

    def _node(self, place: Address, *, replica: bool = False) -> Node:
        node = self._nodes.get((place, replica))
        if node is None:
            node = self._nodes.setdefault((place, replica), self._node_at(place, replica))
        return node

    def _where(self, place: Address) -> Address:
        return place if self._translate is None else self._translate(*place)

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        return self._retired.and_of(list(self._nodes.values()))

    def close(self) -> None:
        self.poller.close()
        for node in list(self._nodes.values()):
            node.close()
