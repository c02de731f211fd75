# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A pipeline over the nodes of a cluster: sent to all of them, then received from all of them, put together in order.

Commands of one slot keep their order, because they travel over one connection. Only what was refused (MOVED, ASK,
TRYAGAIN, CLUSTERDOWN, LOADING) is sent again, and only if no later command of its slot was executed. Surprising: a lost
connection is no exception here. It is the error in the places of its commands, none of which is sent a second time
unless it certainly did not arrive; the answers of the other nodes are not lost with it.
"""

from __future__ import annotations

import random
import time as _time
from time import monotonic
from typing import Final

from resp.command_kinds import is_read, is_script
from resp.encoding import Request, encode_command
from resp.errors import (
    Ask,
    BreakerOpen,
    ClusterDown,
    ConnectionLost,
    Loading,
    Moved,
    RespError,
    ServerError,
    Timeout,
    TryAgain,
)
from resp.node import Exchange, Node
from resp.source import Batch
from resp.topology import Topology
from resp.values import Value

_MOST_ROUNDS: Final = 6
_ASKING: Final = encode_command("ASKING")


def exchange(topology: Topology, batch: Batch, deadline: float | None) -> list[Value]:
    """The replies to all commands, in order; errors of servers and of connections in their places."""
    results: list[Value] = [None] * len(batch)
    targets: dict[int, tuple[Node, bool]] = {}
    anyone = topology.owner(None)
    for place, slot in enumerate(batch.slots):
        targets[place] = (anyone if slot is None else topology.owner(slot), False)
    for attempt in range(_MOST_ROUNDS):
        _round(targets, batch, deadline, results)
        targets = _again(topology, targets, batch, deadline, results) if attempt < _MOST_ROUNDS - 1 else {}
        if not targets:
            break
        undecided = any(isinstance(results[place], TryAgain | ClusterDown | Loading) for place in targets)
        if undecided and not pause(attempt, deadline):
            break
    return results


def _round(targets: dict[int, tuple[Node, bool]], batch: Batch, deadline: float | None, results: list[Value]) -> None:
    """Send each command to its node, and put what comes of it in its place."""
    groups: dict[Node, list[int]] = {}
    for place, (node, _) in targets.items():
        groups.setdefault(node, []).append(place)
    under_way: list[tuple[Exchange, list[int], list[bool]]] = []
    for node, places in groups.items():
        requests: list[Request] = []
        counts: list[bool] = []  # False for the answer to ASKING
        for place in places:
            if targets[place][1]:
                requests.append(_ASKING)
                counts.append(False)
            requests.append(batch.requests[place])
            counts.append(True)
        reads = all(is_read(batch.names[place]) for place in places)
        under_way.append((Exchange(node, requests, deadline, reads=reads, last=batch.last), places, counts))
    for sending, _, _ in under_way:
        sending.begin()
    for sending, places, counts in under_way:
        replies = sending.finish()
        if isinstance(replies, RespError):
            for place in places:
                results[place] = replies
            continue
        wanted = [reply for reply, counted in zip(replies, counts) if counted]
        for place, reply in zip(places, wanted):
            results[place] = reply


def _again(
    topology: Topology,
    targets: dict[int, tuple[Node, bool]],
    batch: Batch,
    deadline: float | None,
    results: list[Value],
) -> dict[int, tuple[Node, bool]]:
    """What is to be sent once more, and where."""
    again: dict[int, tuple[Node, bool]] = {}
    if not any(isinstance(results[place], RespError) for place in targets):
        return again
    # Slots of which a later command was executed, and of which a later write was: order within a slot is kept, but a
    # read may come after another read.
    executed: set[int | None] = set()
    written: set[int | None] = set()
    waited: set[Node] = set()  # for a new map, once for each node that is lost
    for place in sorted(targets, reverse=True):
        node, _ = targets[place]
        result, slot = results[place], batch.slots[place]
        following = None
        if isinstance(result, Ask):
            following = (topology.at(result.host, result.port, node), True)
        elif isinstance(result, Moved):
            target = topology.at(result.host, result.port, node)
            topology.moved(result.slot, target)
            following = (target, False)
        elif isinstance(result, TryAgain | ClusterDown | Loading):
            if not isinstance(result, TryAgain):
                topology.poller.suspect()
            if not is_script(batch.names[place]):
                following = (topology.owner(slot), False)
        elif isinstance(result, BreakerOpen | ConnectionLost | Timeout):
            if isinstance(result, BreakerOpen) or not result.maybe_executed:
                other = topology.another(slot, node, deadline, wait=node not in waited)
                following = (other, False) if other is not None else None
                waited.add(node)
            else:
                topology.poller.suspect()
        if following is None:
            if not isinstance(result, RespError) or isinstance(result, ServerError):
                executed.add(slot)
                if not is_read(batch.names[place]):
                    written.add(slot)
        elif slot is None or slot not in (written if is_read(batch.names[place]) else executed):
            again[place] = following
    return dict(sorted(again.items()))


def pause(hop: int, deadline: float | None) -> bool:
    """Wait a little before the next attempt; False if there is no time for it."""
    span = 0.02 * 2**hop * random.uniform(0.5, 1.0)
    if deadline is not None and monotonic() + span >= deadline:
        return False
    _time.sleep(span)
    return True
