# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Tracking on a cluster: a line to each primary, and a watch over the map.

Each primary reports the changes of the keys that it has, so a slot that moves from one to another is never out of
sight. What could be is a server that became a primary and that nobody listens to yet: every change of the map is
therefore "everything", and the map has to be confirmed again and again. Surprising: this object is live only while all
its lines are and the map was confirmed within `lease` seconds; a write to a new primary can go unreported for that
long, and not longer, because after it nothing counts as live.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, Final

from resp.cluster_listening import ShardUpstream
from resp.encoding import Argument
from resp.errors import ConnectionLost, InvalidArgument, RespError
from resp.forks import AfterFork
from resp.listening import Waker, wait
from resp.node import Node
from resp.topology import Topology
from resp.tracking import Tracking, checked_prefixes
from resp.tracking_status import Reporter, State, Status


class ClusterTracking(Reporter):
    """The same face as `Tracking`; made by `Client.tracking` on a cluster.

    lease: seconds after which a map that was not confirmed is not believed any more; it is asked for three times as
    often. Callbacks run in the threads of the lines, one at a time. The other options are those of `Tracking`.
    """

    def __init__(
        self,
        topology: Topology,
        invalidated: Callable[[bytes | None], object],
        *,
        prefixes: Iterable[Argument] = (),
        changed: Callable[[Status], object] | None = None,
        lease: float = 4.0,
        **options: Any,
    ) -> None:
        super().__init__(invalidated, changed)
        if not 0.1 <= lease <= 3600:
            raise InvalidArgument("lease must be a number of seconds from 0.1 to 3600")
        self.prefixes = checked_prefixes(prefixes)
        self.lease = lease
        self._topology = topology
        self._options = options
        self._telling = threading.RLock()
        self._members: dict[Node, Tracking] = {}
        self._generation_seen = -1
        self._waker: Waker | None = None
        self._thread: threading.Thread | None = None
        _alive.add(self)

    def start(self) -> None:
        with self._condition:
            if self._waker is not None:
                return
            self._waker = waker = Waker()
            self._generation_seen = -1  # no line is there, whichever map they were made for in an earlier life
            self._topology.on_moved(waker.wake)
            self._set(State.LOST, None)
            self._thread = threading.Thread(target=self._run, args=(waker,), name="resp-tracking", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 2.0) -> None:
        with self._condition:
            waker, self._waker = self._waker, None
            thread, self._thread = self._thread, None
        if waker is not None:
            waker.wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        with self._condition:
            if self._waker is None:
                self._set(State.CLOSED, None)

    # ---- the thread --------------------------------------------------------------------------------------------------

    def _run(self, waker: Waker) -> None:
        topology = self._topology
        try:
            while self._waker is waker:
                waker.clear()
                if monotonic() - topology.confirmed > self.lease / 3:
                    topology.poller.wait(monotonic() + self.lease / 3)
                if self._waker is waker:
                    self._follow(waker)
                    self._judge(waker)
                if self._waker is waker:
                    wait((), waker, self.lease / 6)
        finally:
            members, self._members = self._members, {}
            for tracking in members.values():
                tracking.close()
            waker.close()

    def _follow(self, waker: Waker) -> None:
        """A line to each primary of the map, and to nobody else."""
        generation = self._topology.generation
        if generation == self._generation_seen:
            return
        wanted = list(self._topology.primaries)
        if any(node not in self._members for node in wanted):  # before it could be asked, not when it is judged
            self._enter(waker, State.LOST, ConnectionLost("a new primary of the cluster is not heard yet"))
        self._tell_everything(waker)
        for node in [node for node in self._members if node not in wanted]:
            self._members.pop(node).close(0.5)
        for node in wanted:
            if node not in self._members:
                self._members[node] = tracking = Tracking(
                    ShardUpstream(self._topology, node),
                    lambda key: self._heard(waker, key),
                    prefixes=self.prefixes,
                    changed=lambda status: self._member_changed(waker, status),
                    **self._options,
                )
                tracking.start()
        self._generation_seen = generation

    def _heard(self, waker: Waker, key: bytes | None) -> None:
        """A line reports a key, or everything."""
        with self._telling:
            if self._waker is not waker:
                return
            if key is None or not self._guarded(self._invalidated, key):
                self._tell_everything(waker)

    def _member_changed(self, waker: Waker, status: Status) -> None:
        if not status.live:
            # At once, in the thread of the line, before it says "everything".
            self._enter(waker, State.UNSUPPORTED if status.state is State.UNSUPPORTED else State.LOST, status.error)
        waker.wake()

    def _judge(self, waker: Waker) -> None:
        """Live if every line is, the map is the one they were made for, and it was confirmed."""
        topology = self._topology
        members = list(self._members.values())
        stale = monotonic() - topology.confirmed > self.lease
        if stale or not members or topology.generation != self._generation_seen:
            error: RespError | None = topology.poller.error or ConnectionLost("the map of the cluster is not confirmed")
            if stale or not self.live:
                self._lose(waker, error)
            return
        missing = next((each for each in members if not each.live), None)
        if missing is not None:
            state = State.UNSUPPORTED if missing.unsupported else State.LOST
            self._lose(waker, missing.last_error, state)
        elif not self.live:
            # What was read while not everybody listened is older than this.
            self._tell_everything(waker)
            if all(each.live for each in members):
                self._enter(waker, State.LIVE)

    def _lose(self, waker: Waker, error: RespError | None, state: State = State.LOST) -> None:
        was_live = self.live
        self._enter(waker, state, error)
        if was_live:
            self._tell_everything(waker)

    def _enter(self, waker: Waker, state: State, error: RespError | None = None) -> None:
        with self._telling:
            if self._waker is waker and self._set(state, error) and self._changed is not None:
                self._guarded(self._changed, self._status)

    def _tell_everything(self, waker: Waker) -> None:
        with self._telling:
            if self._waker is waker:
                self._next_generation()
                if not self._guarded(self._invalidated, None):
                    self._set(State.LOST, RespError("the callback failed to take an invalidation"))

    def _after_fork(self) -> None:
        """In the child the threads are gone; the lines say so themselves."""
        self._telling = threading.RLock()
        self._condition = threading.Condition()
        waker, self._waker = self._waker, None
        self._thread, self._members = None, {}
        if waker is not None:
            waker.close()
            self._set(State.CLOSED, ConnectionLost("the process forked: call start() again"))
            self._next_generation()


_alive: Final = AfterFork(ClusterTracking._after_fork)
