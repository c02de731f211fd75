# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The master that sentinels name, as a source of commands: found, believed, left behind when another takes its place.

Who the master is, is what most of the sentinels say that answer, and nothing is believed that the server itself does
not confirm (HELLO's `role`, or ROLE). One thread finds out, on every sign of trouble (a lost connection, READONLY,
`+switch-master`) and now and then without one; calls never ask sentinels themselves, but wait for that thread when
they have nothing better to do. Each change is a new *generation*: a new `Node` with a pool and a breaker of its own,
the idle connections of the old one closed at once, those in use when they come back. Surprising: a sentinel's word is
only a hint, whoever says it. What decides is the answer of the server that is to be written to.

What no client can know: a master that was cut off from the others may have acknowledged writes that the new one never
got. `min-replicas-to-write` on the servers bounds that; `maybe_executed` says nothing about it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, TypeVar

from resp.command_kinds import is_read, is_script
from resp.connection import Connection
from resp.endpoint import Endpoint
from resp.errors import (
    BreakerOpen,
    ClientClosed,
    ConnectionLost,
    ReadOnly,
    RespError,
    TemporaryError,
    Timeout,
)
from resp.listening import Callbacks, Line, Upstream
from resp.node import HeldConnection, Node
from resp.observer import tell
from resp.poller import Poller
from resp.sentinels import ASK_SECONDS, Address, Sentinels, as_text, hints, is_hint, is_master
from resp.source import Args, Batch, Retired, Stats
from resp.tracking import Tracking
from resp.tracking_status import Reporter
from resp.values import Value

logger = logging.getLogger("resp.sentinel")

_T = TypeVar("_T")

#: Seconds between two polls while the master is in doubt, and without a reason.
_DOUBTFUL_EVERY: Final = 0.1
_EVERY: Final = 3.0
#: Seconds a call that failed waits for a round of questions, to see whether there is a new master to go to.
_PATIENCE: Final = 1.0


class MasterConnection(Connection):
    """A connection that counts only if the server says that it is a master."""

    __slots__ = ()

    def connect(self, deadline: float | None = None) -> Connection:
        super().connect(deadline)
        role = self.server.get(b"role")
        if role is not None and role != b"master":
            self.close()
            raise ConnectionLost(f"{self.endpoint} is a {as_text(role)} now", maybe_executed=False)
        return self


class SentinelSource:
    """See the module, and `resp.source.Source` for what the methods mean.

    node_at: makes the node of an address. translate: from an address that sentinels name to the one to connect to.
    read_from: "replica" to read from replicas where there are any.
    """

    slot_of: Callable[[Args], int | None] | None = None

    def __init__(
        self,
        sentinels: Sentinels,
        node_at: Callable[[Address, bool], Node],
        *,
        translate: Callable[[str, int], Address] | None = None,
        read_from: str = "master",
    ) -> None:
        self._sentinels = sentinels
        self._node_at = node_at
        self._translate = translate
        self._reads_replicas = read_from != "master"
        self._node: Node | None = None
        self._replicas: dict[Address, Node] = {}
        self._retired = Retired()
        #: How often another server became the master.
        self.generation = 0
        self._callbacks = Callbacks()
        self.poller = Poller(
            self._find,
            "resp-sentinel",
            every=_EVERY,
            doubtful_every=_DOUBTFUL_EVERY,
            open_line=self._open_line,
            is_hint=self._is_hint,
        )

    # ---- calls -----------------------------------------------------------------------------------------------------

    @property
    def endpoint(self) -> Endpoint:
        node = self._node
        return node.endpoint if node is not None else self._sentinels.endpoints[0]

    def call(self, args: Args, timeout: float | None, last: bool = False) -> Value:
        if self._reads_replicas and not last and is_read(args[0]):
            reply = self._replica_reply(args, timeout)
            if reply is not None:
                return reply[0]
        # READONLY means "not executed", unless it may be the script's own word.
        again = not is_script(args[0])
        return self._sent(lambda node, left: node.call(args, left, last=last), timeout, again)

    def exchange(self, batch: Batch, timeout: float | None) -> list[Value]:
        return self._sent(lambda node, left: node.exchange(batch, left), timeout)

    def hold(self, args: Args, timeout: float | None) -> tuple[HeldConnection, list[Value]]:
        return self._sent(lambda node, left: node.hold(args, left), timeout)

    def _sent(self, send: Callable[[Node, float | None], _T], timeout: float | None, again: bool = False) -> _T:
        """Send to the master; once more, to another one, if it certainly was not executed and there is another one.

        again: an answer of READONLY is reason enough.
        """
        deadline = None if timeout is None else monotonic() + timeout
        node = self._current(deadline)
        try:
            result = send(node, timeout)
        except (ConnectionLost, Timeout, BreakerOpen) as error:
            if self.poller.closed:
                raise
            if getattr(error, "maybe_executed", False):
                self.poller.suspect()
                raise
            if not self._another(node, deadline):
                raise
        else:
            if isinstance(result, ReadOnly):
                if not self._another(node, deadline) or not again:
                    return result
            else:
                replies: Any = result
                if type(replies) is list and any(isinstance(reply, ReadOnly) for reply in replies):
                    # Of a batch some may have been executed: that is for the caller, whom the errors tell which not.
                    self.poller.suspect()
                return result
        return send(self._current(deadline), None if deadline is None else max(0.001, deadline - monotonic()))

    def _replica_reply(self, args: Args, timeout: float | None) -> tuple[Value] | None:
        """What a replica answers, if there is one and it does."""
        self._current(None if timeout is None else monotonic() + timeout)
        nodes = list(self._replicas.values())
        random.shuffle(nodes)
        for node in nodes[:2]:
            try:
                reply = node.call(args, timeout)
            except (ConnectionLost, Timeout, BreakerOpen) as error:
                if isinstance(error, Timeout):
                    raise
                continue
            if not isinstance(reply, TemporaryError):
                return (reply,)
        return None

    def _current(self, deadline: float | None) -> Node:
        """The master; waits for the first answer if there was none yet."""
        self.poller.start()
        node = self._node
        if node is not None:
            return node
        if self.poller.closed:
            raise ClientClosed
        end = monotonic() + len(self._sentinels.endpoints) * 2 * ASK_SECONDS + 2.0
        self.poller.wait(end if deadline is None else min(end, deadline))
        node = self._node
        if node is None:
            if self.poller.closed:
                raise ClientClosed
            reason = self.poller.error or f"no answer yet of who the master {self._sentinels.master!r} is"
            raise ConnectionLost(str(reason), maybe_executed=False)
        return node

    def _another(self, node: Node, deadline: float | None) -> bool:
        """True if by now another server is the master; the first who asks waits for one round of questions."""
        if self._node is not node:
            return True
        if self.poller.doubt:
            self.poller.suspect()
            return False
        self.poller.doubt = True
        end = monotonic() + _PATIENCE
        self.poller.wait(end if deadline is None else min(end, deadline))
        return self._node is not node

    # ---- who asks ----------------------------------------------------------------------------------------------------

    def _open_line(self) -> Line | None:
        return hints(self._sentinels)

    def _is_hint(self, item: Any) -> bool:
        """A sentinel said something: True if it is a reason to ask anew."""
        return is_hint(item, self._sentinels.master)

    def _find(self) -> None:
        """One round: ask, believe what the server confirms, change the generation if it is another one."""
        named = self._sentinels.masters()
        trouble: RespError | None = None
        for address in named:
            node = self._node
            known = node is not None and self._where(address) == (node.endpoint.host, node.endpoint.port)
            candidate = node if known and node is not None else self._node_at(self._where(address), True)
            try:
                if not is_master(candidate.endpoint):
                    trouble = ConnectionLost(
                        f"{candidate.endpoint} is named as master and is none", maybe_executed=False
                    )
                    continue
            except RespError as error:
                trouble = error
                continue
            trouble = None
            if not known:
                self._switch(candidate)
            break
        if self._reads_replicas and self._node is not None:
            self._find_replicas()
        if trouble is not None:
            raise trouble

    def _find_replicas(self) -> None:
        found = {self._where(address) for address in self._sentinels.replicas()}
        for address in found - self._replicas.keys():
            self._replicas[address] = self._node_at(address, False)
        for address in self._replicas.keys() - found:
            self._retired.add(self._replicas.pop(address))

    def _where(self, address: Address) -> Address:
        return address if self._translate is None else self._translate(*address)

    def _switch(self, node: Node) -> None:
        before, self._node = self._node, node
        if before is None:
            return
        self.generation += 1
        logger.warning("the master %s is %s now, no more %s", self._sentinels.master, node.endpoint, before.endpoint)
        if node.pool.observer is not None:
            tell(node.pool.observer.moved, before.endpoint, node.endpoint)
        self._retired.add(before)
        self._callbacks.call()

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def upstream(self) -> Upstream:
        return MasterUpstream(self)

    def on_moved(self, callback: Callable[[], None]) -> None:
        self._callbacks.add(callback)

    def tracking(self, invalidated: Callable[[bytes | None], object], **options: Any) -> Reporter:
        tracking = Tracking(self.upstream(), invalidated, **options)
        # A master that was cut off with us says nothing of the new one's changes until a sentinel tells us.
        tracking.lease = max(tracking.lease, 1.2 * _EVERY + 3 * ASK_SECONDS)
        return tracking

    def stats(self) -> Stats:
        return self._retired.and_of(self._all())

    def close(self) -> None:
        self.poller.close()
        for node in self._all():
            node.close()

    def _all(self) -> list[Node]:
        return [node for node in (self._node, *self._replicas.values()) if node is not None]


class MasterUpstream(Upstream):
    """Where a listener goes: to the master, whoever that is."""

    def __init__(self, source: SentinelSource) -> None:
        self._source = source
        self._generation = -1

    def connect(self) -> Connection:
        source = self._source
        # Who the master is may change while we connect: then `moved` says so.
        self._generation = source.generation
        node = source._current(monotonic() + _PATIENCE)
        try:
            return MasterConnection(node.endpoint).connect()
        except RespError:
            source.poller.suspect()
            raise

    def moved(self) -> bool:
        return self._generation != self._source.generation

    def on_moved(self, callback: Callable[[], None]) -> None:
        self._source.on_moved(callback)
