# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A cluster as a source of commands: each goes to the node that owns the slot of its keys.

What a node says of a slot (MOVED, ASK, TRYAGAIN, CLUSTERDOWN, LOADING) is followed, at most five times and within the
one deadline of the call; a node that fails is left for its successor if the command certainly was not executed.
Commands without keys go to any node, or to all that they concern (`resp.multi_node_commands`). Surprising: the cursor
of SCAN has two halves, the lowest slot of the node it is at and that node's own cursor, so that one number leads
through all nodes.

Not as on one server: MGET, DEL, UNLINK, EXISTS and TOUCH of several slots are several commands; SCAN may miss keys that
change their node meanwhile; a write that was acknowledged is lost if its primary fails before a replica has it.
"""

from __future__ import annotations

import random
from binascii import crc_hqx
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

from resp.cluster_batches import exchange, pause
from resp.cluster_listening import ClusterUpstream
from resp.cluster_tracking import ClusterTracking
from resp.command_kinds import is_read, is_script
from resp.connection import Connection
from resp.encoding import Request, encode_argument, encode_command, encode_request
from resp.endpoint import Endpoint
from resp.errors import (
    Ask,
    BreakerOpen,
    ClientClosed,
    ClusterDown,
    ConnectionLost,
    CrossSlot,
    InvalidArgument,
    Loading,
    Moved,
    ReadOnly,
    RespError,
    ServerError,
    TemporaryError,
    Timeout,
    TryAgain,
)
from resp.keys import ONE_KEY, slot_of
from resp.listening import Upstream
from resp.multi_node_commands import parts, policy, together
from resp.node import HeldConnection, Node
from resp.slots import LAST_SLOT, key_slot
from resp.source import Args, Batch, Stats
from resp.topology import Topology
from resp.tracking_status import Reporter
from resp.values import Value

#: Redirections, and further attempts, of one call.
MOST_HOPS: Final = 5
#: From this hop on a redirection is followed only after a pause.
AGREED: Final = 2
ASKING: Final = encode_command("ASKING")
_CURSOR_BITS: Final = 64
_BRACE: Final = ord("{")


class ReplicaConnection(Connection):
    """A connection to a replica, which serves reads only after READONLY."""

    __slots__ = ()

    def connect(self, deadline: float | None = None) -> Connection:
        super().connect(deadline)
        try:
            self.call("READONLY", deadline=deadline)
        except RespError:
            self.close()
            raise
        return self


class ClusterSource:
    """See the module, and `resp.source.Source` for what the methods mean."""

    def __init__(self, topology: Topology, *, read_from: str = "master") -> None:
        self.topology = topology
        self.slot_of: Callable[[Args], int | None] | None = _queued_slot
        self._reads_copies = read_from != "master"
        self._straight = not self._reads_copies

    @property
    def endpoint(self) -> Endpoint:
        nodes = self.topology.primaries
        return nodes[0].endpoint if nodes else next(self.topology._asked()).endpoint

    # ---- one command ---------------------------------------------------------------------------------------------

    def call(self, args: Args, timeout: float | None, last: bool = False) -> Value:
        name = args[0]
        if type(name) is str and name in ONE_KEY and self._straight and not last and len(args) > 1:
            # One key, which is the usual case: nothing else need be known of the command.
            now = monotonic()
            key: Any = args[1]
            if type(key) is str and key.isascii():
                key = key.encode()
            elif type(key) is not bytes:
                key = bytes(encode_argument(key))
            # As a number: to look for bytes in bytes raises an exception inside, which takes longer than all the rest.
            place = key_slot(key) if _BRACE in key else crc_hqx(key, 0) & LAST_SLOT
            slot: int | None = place
            node = self.topology.owners[place]
            if node is not None:
                try:
                    reply = node.call(args, timeout, False, now)
                except RespError as error:
                    return self._follow(args, slot, None if timeout is None else now + timeout, node, error, False)
                if type(reply) is bytes or not isinstance(reply, ServerError):
                    return reply
                return self._follow(args, slot, None if timeout is None else now + timeout, node, reply, False)
        deadline = None if timeout is None else monotonic() + timeout
        self.topology.ready(deadline)
        try:
            slot = slot_of(args)
        except CrossSlot:
            pieces = parts(args)
            if pieces is None:
                raise
            replies = self.exchange(_batch([(slot, words) for slot, words, _ in pieces]), timeout)
            lost = next((reply for reply in replies if isinstance(reply, RespError)), None)
            if lost is not None and not isinstance(lost, ServerError):
                raise lost from None
            return together(args, replies, [found for _, _, found in pieces])
        if slot is None:
            special = self._keyless(args, deadline)
            if special is not None:
                return special[0]
        return self._follow(args, slot, deadline, None, None, last)

    def _follow(
        self,
        args: Args,
        slot: int | None,
        deadline: float | None,
        node: Node | None,
        outcome: Value | RespError,
        last: bool,
    ) -> Value:
        """Send to where it belongs, and on from there. node, outcome: what came of a first attempt, if there was one.

        An outcome is a reply, an error reply among them, or an exception.
        """
        if self._reads_copies and node is None and slot is not None and is_read(args[0]):
            reply = self._from_copy(args, slot, deadline)
            if reply is not None:
                return reply[0]
        asking = False
        followed = 0
        while True:
            if node is None:
                node = self.topology.owner(slot)
            else:
                following = self._next(args, slot, deadline, node, outcome, followed) if followed < MOST_HOPS else None
                if following is None:
                    break
                node, asking = following
                followed += 1
            left = None if deadline is None else max(0.001, deadline - monotonic())
            try:
                if asking:
                    # Both over one connection: the permission is for the next command only.
                    replies = node.send([ASKING, encode_request(args)], left, last=last)
                    outcome = replies[1]
                else:
                    outcome = node.call(args, left, last=last)
            except RespError as error:
                outcome = error
                continue
            if not isinstance(outcome, ServerError):
                return outcome
        if isinstance(outcome, RespError) and not isinstance(outcome, ServerError):
            try:
                raise outcome
            finally:
                del outcome  # no cycle of exception and frame
        return outcome

    def _next(
        self, args: Args, slot: int | None, deadline: float | None, node: Node | None, outcome: Value, hop: int
    ) -> tuple[Node, bool] | None:
        """Where to go after this outcome, and whether with ASKING; None if it is the last word."""
        assert node is not None
        if deadline is not None and monotonic() >= deadline:
            return None
        topology = self.topology
        if isinstance(outcome, Ask):
            return topology.at(outcome.host, outcome.port, node), True
        if isinstance(outcome, Moved):
            target = topology.at(outcome.host, outcome.port, node)
            topology.moved(outcome.slot, target)
            # Two nodes that send us to each other do not agree yet; that takes them a moment.
            return (target, False) if hop < AGREED or pause(hop, deadline) else None
        if isinstance(outcome, TryAgain | ClusterDown | Loading) and not is_script(args[0]):
            if not isinstance(outcome, TryAgain):
                topology.poller.suspect()
            return (topology.owner(slot), False) if pause(hop, deadline) else None
        if isinstance(outcome, ReadOnly) and not is_script(args[0]):
            # A primary that became a replica a moment ago, and nobody told us yet.
            other = topology.another(slot, node, deadline)
            return (other, False) if other is not None else None
        if isinstance(outcome, ServerError) or not not_executed(outcome, topology):
            if isinstance(outcome, ConnectionLost | Timeout):
                topology.poller.suspect()
            return None
        other = topology.another(slot, node, deadline)
        return (other, False) if other is not None else None

    def _from_copy(self, args: Args, slot: int, deadline: float | None) -> tuple[Value] | None:
        """What a replica answers, if there is one that does."""
        replicas = self.topology.replicas(self.topology.owner(slot))
        random.shuffle(replicas)
        for node in replicas[:2]:
            left = None if deadline is None else max(0.001, deadline - monotonic())
            try:
                reply = node.call(args, left)
            except (ConnectionLost, BreakerOpen):
                continue
            if not isinstance(reply, Moved | TemporaryError):
                return (reply,)
        return None

    # ---- several nodes -------------------------------------------------------------------------------------------

    def _keyless(self, args: Args, deadline: float | None) -> tuple[Value] | None:
        """The answer to a command that concerns several nodes; None for one that any node can answer."""
        rule = policy(args)
        if rule is not None:
            nodes = self.topology.everywhere() if rule.everywhere else list(self.topology.primaries)
            replies = []
            for node in nodes:
                left = None if deadline is None else max(0.001, deadline - monotonic())
                reply = node.call(args, left)
                if isinstance(reply, ServerError):
                    return (reply,)
                replies.append(reply)
            return (rule.together(replies),)
        if isinstance(args[0], str) and args[0].upper() == "SCAN":
            return (self._scan(args, deadline),)
        return None

    def _scan(self, args: Args, deadline: float | None) -> Value:
        """SCAN through all primaries, one after the other in the order of their lowest slots."""
        try:
            cursor = int(args[1]) if isinstance(args[1], str | int) else int(bytes(args[1]))  # type: ignore[arg-type]  # a float is no cursor
        except (ValueError, TypeError, IndexError):
            raise InvalidArgument("the cursor of SCAN is a number") from None
        slot, inner = cursor >> _CURSOR_BITS, cursor & ((1 << _CURSOR_BITS) - 1)
        node = self.topology.owner(slot % len(self.topology.owners))
        left = None if deadline is None else max(0.001, deadline - monotonic())
        reply = node.call(["SCAN", inner, *args[2:]], left)
        if isinstance(reply, ServerError):
            return reply
        following, found = int(reply[0]), reply[1]
        if not following:
            later = [low for low in self.topology.lowest.values() if low > slot]
            return [min(later) << _CURSOR_BITS if later else 0, found]
        return [slot << _CURSOR_BITS | following, found]

    def exchange(self, batch: Batch, timeout: float | None) -> list[Value]:
        deadline = None if timeout is None else monotonic() + timeout
        self.topology.ready(deadline)
        if batch.atomic:
            return self._atomic(batch, deadline)
        return exchange(self.topology, batch, deadline)

    def _atomic(self, batch: Batch, deadline: float | None) -> list[Value]:
        """A transaction: all of it to one node, again only if nothing of it was executed."""
        slot = one_slot(batch.slots)
        node = self.topology.owner(slot)
        for hop in range(MOST_HOPS + 1):
            left = None if deadline is None else max(0.001, deadline - monotonic())
            outcome: Value
            try:
                replies = node.exchange(batch, left)
            except (ConnectionLost, Timeout, BreakerOpen) as error:
                if not not_executed(error, self.topology):
                    self.topology.poller.suspect()
                    raise
                other = self.topology.another(slot, node, deadline)
                if other is None or hop == MOST_HOPS:
                    raise
                node = other
                continue
            if not isinstance(replies[-1], ServerError):
                return replies
            refusals = (reply for reply in replies if isinstance(reply, Moved | TryAgain | ClusterDown | Loading))
            outcome = next(refusals, None)
            if outcome is None or hop == MOST_HOPS:
                return replies
            if not isinstance(outcome, Moved) or isinstance(outcome, Ask):
                # ASKING is for one command, not for a transaction: wait until the slot has arrived.
                if not pause(hop + 1, deadline):
                    return replies
                node = self.topology.owner(slot)
            else:
                node = self.topology.at(outcome.host, outcome.port, node)
                self.topology.moved(outcome.slot, node)
                if hop >= AGREED and not pause(hop, deadline):
                    return replies
        raise AssertionError("unreachable")

    def hold(self, args: Args, timeout: float | None) -> tuple[ClusterHeld, list[Value]]:
        deadline = None if timeout is None else monotonic() + timeout
        self.topology.ready(deadline)
        slot = slot_of(args)
        node = self.topology.owner(slot)
        for hop in range(MOST_HOPS + 1):
            left = None if deadline is None else max(0.001, deadline - monotonic())
            try:
                held, replies = node.hold(args, left)
            except (ConnectionLost, Timeout, BreakerOpen):
                # Nothing was executed: WATCH only looks.
                other = self.topology.another(slot, node, deadline)
                if other is None or hop == MOST_HOPS:
                    raise
                node = other
                continue
            outcome = replies[0]
            if not isinstance(outcome, Moved) or isinstance(outcome, Ask) or hop == MOST_HOPS:
                return ClusterHeld(held, slot), replies
            if hop >= AGREED and not pause(hop, deadline):
                return ClusterHeld(held, slot), replies
            held.discard()
            node = self.topology.at(outcome.host, outcome.port, node)
            self.topology.moved(outcome.slot, node)
        raise AssertionError("unreachable")

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def upstream(self) -> Upstream:
        return ClusterUpstream(self.topology)

    def tracking(self, invalidated: Callable[[bytes | None], object], **options: Any) -> Reporter:
        return ClusterTracking(self.topology, invalidated, **options)

    def stats(self) -> Stats:
        return self.topology.stats()

    def close(self) -> None:
        self.topology.close()


class ClusterHeld:
    """A connection of a transaction, which takes the commands of its slot only."""

    def __init__(self, held: HeldConnection, slot: int | None) -> None:
        self._held = held
        self._slot = slot

    @property
    def open(self) -> bool:
        return self._held.open

    def check(self, args: Args) -> None:
        slot = slot_of(args)
        if slot is not None and slot != self._slot:
            raise CrossSlot("CROSSSLOT", "a transaction has keys of one slot only (nothing was sent)")

    def exchange(self, requests: list[Request], timeout: float | None) -> list[Value]:
        return self._held.exchange(requests, timeout)

    def release(self, last: bool = False) -> None:
        self._held.release(last)

    def discard(self) -> None:
        self._held.discard()


def not_executed(error: object, topology: Topology) -> bool:
    """True if this exception says that the server has not run the command, and another node may be asked."""
    if isinstance(error, ClientClosed):
        return not topology.poller.closed  # the node left the map during the call
    if isinstance(error, BreakerOpen):
        return True
    return isinstance(error, ConnectionLost | Timeout) and not error.maybe_executed


def one_slot(slots: Sequence[int | None]) -> int | None:
    """The slot of all these commands. Raises CrossSlot."""
    found = {slot for slot in slots if slot is not None}
    if len(found) > 1:
        raise CrossSlot("CROSSSLOT", "a transaction has keys of one slot only (nothing was sent)")
    return found.pop() if found else None


def _queued_slot(args: Args) -> int | None:
    """The slot of a command that is queued. Raises CrossSlot, and InvalidArgument for what concerns all nodes."""
    name = args[0]
    if type(name) is str and name in ONE_KEY and len(args) > 1:
        return key_slot(args[1])
    slot = slot_of(args)
    if slot is None and (policy(args) is not None or (isinstance(args[0], str) and args[0].upper() == "SCAN")):
        raise InvalidArgument(
            f"{args[0]!r} concerns several nodes of a cluster: call it on the client, not in a pipeline"
        )
    return slot


def _batch(commands: list[tuple[int, Args]]) -> Batch:
    batch = Batch(slot_of)
    for _, words in commands:
        batch.add(words)
    return batch
