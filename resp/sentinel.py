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

import contextlib
import logging
import os
import random
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final, TypeVar

from resp.connection import Connection
from resp.endpoint import Endpoint
from resp.errors import (
    BreakerOpen,
    ClientClosed,
    ConnectionLost,
    MasterDown,
    ReadOnly,
    RespError,
    ServerError,
    Timeout,
)
from resp.kinds import is_read, is_script
from resp.listening import Line, Upstream, Waker, wait
from resp.node import HeldConnection, Node
from resp.source import NO_STATS, Args, Batch, SourceStats, summed
from resp.tracking import Tracking
from resp.tracking_status import Reporter
from resp.values import Push, Value

logger = logging.getLogger("resp.sentinel")

Address = tuple[str, int]
_T = TypeVar("_T")

#: Seconds that one sentinel has to answer.
ASK_SECONDS: Final = 0.5
#: Seconds between two rounds of questions while the master is in doubt, and without a reason.
_DOUBTFUL_EVERY: Final = 0.1
_EVERY: Final = 10.0
#: Seconds a call that failed waits for a round of questions, to see whether there is a new master to go to.
_PATIENCE: Final = 1.0


class Sentinels:
    """Questions to sentinels, in turn; the one that answered is the first to be asked next time.

    endpoints: where they are, with the credentials for them. master: the name of what they watch.
    """

    def __init__(self, endpoints: Sequence[Endpoint], master: str) -> None:
        self.endpoints = list(endpoints)
        self.master = master

    def masters(self) -> list[Address]:
        """Who they say is the master, what most say first.

        Asks until more than half of all agree. Raises ConnectionLost where none answers or none knows the name.
        """
        votes: Counter[Address] = Counter()
        epochs: dict[Address, int] = {}
        trouble: list[str] = []
        for endpoint in list(self.endpoints):
            try:
                found = self._asked(endpoint, "MASTER")
            except RespError as error:
                trouble.append(f"{endpoint}: {error}")
                continue
            if not votes:
                self._first(endpoint)
            address = _address(found)
            if address is None:
                continue
            votes[address] += 1
            epochs[address] = max(epochs.get(address, 0), _number(found.get("config-epoch")))
            if votes[address] > len(self.endpoints) // 2:
                break
        if not votes:
            said = f" ({'; '.join(trouble)})" if trouble else ""
            raise ConnectionLost(f"no sentinel names a master {self.master!r}{said}", maybe_executed=False)
        return sorted(votes, key=lambda address: (votes[address], epochs[address]), reverse=True)

    def replicas(self) -> list[Address]:
        """The replicas that the first sentinel that answers holds for healthy; none if none answers."""
        for endpoint in list(self.endpoints):
            try:
                rows = self._asked(endpoint, "REPLICAS")
            except RespError:
                continue
            found = []
            for row in rows if isinstance(rows, list) else []:
                fields = _fields(row)
                flags = set(fields.get("flags", "").split(","))
                address = _address(fields)
                if (
                    address
                    and not flags & {"s_down", "o_down", "disconnected"}
                    and fields.get("master-link-status") == "ok"
                ):
                    found.append(address)
            return found
        return []

    def _asked(self, endpoint: Endpoint, what: str) -> Any:
        """The reply of one sentinel; a map for MASTER, {} if it does not know the name."""
        connection = Connection(endpoint)
        try:
            connection.connect(monotonic() + ASK_SECONDS)
            reply = connection.call("SENTINEL", what, self.master, deadline=monotonic() + ASK_SECONDS)
        except ServerError as error:
            if error.code == "ERR" and "No such master" in error.message:
                return {}
            raise
        finally:
            connection.close()
        return _fields(reply) if what == "MASTER" else reply

    def _first(self, endpoint: Endpoint) -> None:
        with contextlib.suppress(ValueError):
            self.endpoints.remove(endpoint)
            self.endpoints.insert(0, endpoint)


def _fields(row: Any) -> dict[str, str]:
    """A map, or over RESP2 its fields and values in turn, as texts."""
    pairs = row.items() if isinstance(row, dict) else zip(row[::2], row[1::2]) if isinstance(row, list) else ()
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else 0


def _address(fields: dict[str, str]) -> Address | None:
    port = _number(fields.get("port"))
    return (fields["ip"], port) if fields.get("ip") and 0 < port < 65536 else None


class MasterConnection(Connection):
    """A connection that counts only if the server says that it is a master."""

    __slots__ = ()

    def connect(self, deadline: float | None = None) -> Connection:
        super().connect(deadline)
        role = self.server.get(b"role")
        if role is not None and role != b"master":
            self.close()
            raise ConnectionLost(f"{self.endpoint} is a {_text(role)} now", maybe_executed=False)
        return self


def _is_master(endpoint: Endpoint) -> bool:
    """Ask the server itself. Raises RespError."""
    connection = Connection(endpoint)
    try:
        connection.connect(monotonic() + ASK_SECONDS)
        role = connection.server.get(b"role")
        if role is None:
            reply = connection.call("ROLE", deadline=monotonic() + ASK_SECONDS)
            role = reply[0] if isinstance(reply, list) and reply else None
        return role == b"master"
    finally:
        connection.close()


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
        self._past = NO_STATS
        #: How often another server became the master.
        self.generation = 0
        self._closed = False
        self._rings: list[weakref.WeakMethod[Callable[[], None]]] = []
        self._error: RespError | None = None
        self._renew()
        _alive.add(self)

    def _renew(self) -> None:
        self._condition = threading.Condition()
        self._waker = Waker()
        self._thread: threading.Thread | None = None
        self._rounds = 0  # questions asked and answered, or not
        self._asked_for = 0  # the round that somebody waits for
        self._doubt = True
        self._asking = False

    # ---- calls -----------------------------------------------------------------------------------------------------

    @property
    def endpoint(self) -> Endpoint:
        node = self._node
        return node.endpoint if node is not None else self._sentinels.endpoints[0]

    def call(self, args: Args, timeout: float | None, *, last: bool = False) -> Value:
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
        node = self._node if self._thread is not None else None
        if node is None:
            node = self._current(deadline)
        try:
            result = send(node, timeout)
        except (ConnectionLost, Timeout, BreakerOpen) as error:
            if self._closed:
                raise
            if getattr(error, "maybe_executed", False):
                self._suspect()
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
                    self._suspect()
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
            if not isinstance(reply, MasterDown):
                return (reply,)
        return None

    def _current(self, deadline: float | None) -> Node:
        """The master; waits for the first answer if there was none yet."""
        node = self._node
        if node is not None:
            self._running()
            return node
        if self._closed:
            raise ClientClosed
        end = monotonic() + len(self._sentinels.endpoints) * 2 * ASK_SECONDS + 2.0
        self._round(end if deadline is None else min(end, deadline))
        node = self._node
        if node is None:
            error = self._error
            raise ConnectionLost(
                str(error) if error is not None else f"no answer yet of who the master {self._sentinels.master!r} is",
                maybe_executed=False,
            )
        return node

    def _another(self, node: Node, deadline: float | None) -> bool:
        """True if by now another server is the master; the first who asks waits for one round of questions."""
        if self._node is not node:
            return True
        if self._doubt:
            return False
        end = monotonic() + _PATIENCE
        self._round(end if deadline is None else min(end, deadline))
        return self._node is not node

    # ---- who asks ----------------------------------------------------------------------------------------------------

    def _suspect(self) -> None:
        """Something is wrong with the master: find out, soon; at once if nothing was wrong so far."""
        if not self._doubt:
            self._doubt = True
            with self._condition:
                self._asked_for = max(self._asked_for, self._rounds + 1)
        self._running()
        self._waker.ring()

    def _round(self, end: float) -> None:
        """Wait until a round of questions that began after now is over, or the time is."""
        with self._condition:
            wanted = self._rounds + (2 if self._asking else 1)
            self._asked_for = max(self._asked_for, wanted)
        self._doubt = True
        self._running()
        self._waker.ring()
        with self._condition:
            self._condition.wait_for(lambda: self._rounds >= wanted or self._closed, max(0.0, end - monotonic()))

    def _running(self) -> None:
        """Start the thread if it is not there (the first call, the child of a fork)."""
        if self._thread is not None:
            return
        with self._condition:
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=_watch, args=(weakref.ref(self), self._waker), name="resp-sentinel")
                thread.daemon = True
                self._thread = thread
                thread.start()

    def _look(self) -> None:
        """One round: ask, believe what the server confirms, change the generation if it is another one."""
        self._asking = True
        try:
            self._find()
        except RespError as error:
            self._error = error
        except Exception as error:
            logger.exception("looking for the master failed")
            self._error = ConnectionLost(
                f"looking for the master failed ({type(error).__name__})", maybe_executed=False
            )
        finally:
            self._asking = False
            with self._condition:
                self._rounds += 1
                self._condition.notify_all()

    def _find(self) -> None:
        named = self._sentinels.masters()
        trouble: RespError | None = None
        for address in named:
            node = self._node
            known = node is not None and self._where(address) == (node.endpoint.host, node.endpoint.port)
            candidate = node if known and node is not None else self._node_at(self._where(address), True)
            try:
                if not _is_master(candidate.endpoint):
                    trouble = ConnectionLost(
                        f"{candidate.endpoint} is named as master and is none", maybe_executed=False
                    )
                    continue
            except RespError as error:
                trouble = error
                continue
            self._doubt = False
            if not known:
                self._switch(candidate)
            break
        if self._reads_replicas and self._node is not None:
            self._find_replicas()
        if trouble is not None and self._doubt:
            raise trouble

    def _find_replicas(self) -> None:
        found = {self._where(address) for address in self._sentinels.replicas()}
        for address in found - self._replicas.keys():
            self._replicas[address] = self._node_at(address, False)
        for address in self._replicas.keys() - found:
            self._retire(self._replicas.pop(address))

    def _where(self, address: Address) -> Address:
        return address if self._translate is None else self._translate(*address)

    def _switch(self, node: Node) -> None:
        before, self._node = self._node, node
        self._error = None
        if before is None:
            return
        self.generation += 1
        logger.warning("the master %s is %s now, no more %s", self._sentinels.master, node.endpoint, before.endpoint)
        self._retire(before)
        for ring in list(self._rings):
            call = ring()
            if call is None:
                self._rings.remove(ring)
            else:
                call()

    def _retire(self, node: Node) -> None:
        node.close()
        self._past = summed([self._past, node.stats()._replace(idle=0, in_use=0, waiting=0)])

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def upstream(self) -> Upstream:
        return MasterUpstream(self)

    def tell(self, ring: Callable[[], None]) -> None:
        self._rings.append(weakref.WeakMethod(ring))

    def tracking(self, invalidated: Callable[[bytes | None], object], **options: Any) -> Reporter:
        return Tracking(self.upstream(), invalidated, **options)

    def stats(self) -> SourceStats:
        node = self._node
        if node is None:
            return self._past
        now = node.stats()
        past = self._past._replace(pool_size=0, max_connections=0)
        return summed([now, past, *(replica.stats() for replica in self._replicas.values())])

    def close(self) -> None:
        self._closed = True
        self._waker.ring()
        with self._condition:
            self._condition.notify_all()
        for node in [self._node, *self._replicas.values()]:
            if node is not None:
                node.close()

    def _after_fork(self) -> None:
        self._waker.close()
        self._renew()


class MasterUpstream:
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
            source._suspect()
            raise

    def moved(self) -> bool:
        return self._generation != self._source.generation

    def tell(self, ring: Callable[[], None]) -> None:
        self._source.tell(ring)

    def shard(self, channel: bytes) -> Upstream:
        return self

    def refresh(self) -> None:
        pass


def _watch(reference: weakref.ref[SentinelSource], waker: Waker) -> None:
    """The thread: a round when asked for, when a sentinel says `+switch-master`, and now and then."""
    line: Line | None = None
    next_round = 0.0
    try:
        while True:
            source = reference()
            if source is None or source._closed or source._waker is not waker:
                return
            waker.clear()
            if line is not None:
                line = _heard(line, source)
            if monotonic() >= next_round or source._rounds < source._asked_for:
                source._look()
                doubtful = source._doubt or source._node is None
                next_round = monotonic() + (_DOUBTFUL_EVERY if doubtful else _EVERY) * random.uniform(0.8, 1.2)
                if line is None:
                    line = _hints(source._sentinels)
            pause = 0.0 if source._rounds < source._asked_for else max(0.0, next_round - monotonic())
            del source  # so that a client that nobody uses any more can go
            if line is not None:
                try:
                    pause = min(pause, line.probe(5.0, 5.0))
                except RespError:
                    line.close()
                    line = None
            wait([line] if line is not None else [], waker, min(pause, 5.0))
    finally:
        if line is not None:
            line.close()
        waker.close()


def _hints(sentinels: Sentinels) -> Line | None:
    """A line to the first sentinel that takes a subscription to `+switch-master`."""
    for endpoint in list(sentinels.endpoints):
        try:
            line = Line(Connection(endpoint).connect(monotonic() + ASK_SECONDS))
            line.send(("SUBSCRIBE", "+switch-master"))
            return line
        except RespError:
            continue
    return None


def _heard(line: Line, source: SentinelSource) -> Line | None:
    """Read what a sentinel says; None if it is gone."""
    try:
        items = line.items()
    except RespError:
        line.close()
        return None
    for item in items:
        if isinstance(item, Push | list) and len(item) == 3 and item[0] == b"message":
            name = _text(item[2]).partition(" ")[0]
            if name == source._sentinels.master:
                source._doubt = False
                source._suspect()
    return line


_alive: weakref.WeakSet[SentinelSource] = weakref.WeakSet()


def _forked() -> None:
    for source in list(_alive):
        source._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
