# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who may use which connection when: a bounded pool, last in first out, with a queue for those who wait.

The mutable state is three collections: the idle connections (a deque, newest right), the members (every connection
that counts against the limit, weakly held) and the waiters, first come first served. Taking and giving back while
nobody waits is one atomic deque operation without a lock. Surprising: members are counted by weak references, so that
a slot cannot leak even if an exception strikes between two byte codes; and a connection is looked at before it is
used again only if it was idle for longer than `LOOK_AFTER`, because the look is a system call of its own.
"""

from __future__ import annotations

import contextlib
import random
import threading
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple

from resp.connection import Connection
from resp.endpoint import Endpoint
from resp.errors import ClientClosed, Desynchronised, InvalidArgument, PoolExhausted, RespError
from resp.forks import AfterFork
from resp.observer import Observer, logger, tell

#: Seconds of idleness after which a connection is checked for late bytes and for its end before it is used.
LOOK_AFTER: Final = 0.001
#: Seconds between two looks for idle connections that nobody took for too long.
_SWEEP_EVERY: Final = 15.0
#: A waiter looks for itself now and then, should a connection have vanished without a word.
_WAKE_EVERY: Final = 0.5


class PoolStats(NamedTuple):
    """The pool in numbers: now, its limits, and since its beginning."""

    idle: int
    in_use: int
    waiting: int
    pool_size: int
    max_connections: int
    created: int  # connections made
    failed: int  # connections that could not be made
    replaced: int  # idle connections found dead, too old or with bytes nobody asked for
    waited: int  # calls that had to wait for a connection
    exhausted: int  # calls that waited in vain


class _Waiter:
    """One thread in the queue: woken by releasing `gate`, with a connection that is open or one to be opened."""

    __slots__ = ("connection", "gate")

    def __init__(self) -> None:
        self.gate = threading.Lock()
        self.gate.acquire()
        self.connection: Connection | None = None


class Pool:
    """Connections to one endpoint. Times in seconds.

    pool_size: idle connections kept. max_connections: connections at the same time. wait_timeout: longest wait for a
    free one. max_idle_time, max_life_time: an older connection is replaced; life time varies by a tenth, so that not
    all of them are replaced at once; None for no limit. factory: makes a connection, not yet open. observer: is told
    of connections and of waiting for them.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        pool_size: int = 10,
        max_connections: int = 20,
        wait_timeout: float = 5.0,
        max_idle_time: float | None = 240.0,
        max_life_time: float | None = 3600.0,
        factory: Callable[[Endpoint], Connection] = Connection,
        observer: Observer | None = None,
    ) -> None:
        for name, number, least in (("pool_size", pool_size, 0), ("max_connections", max_connections, 1)):
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise InvalidArgument(f"{name} must be an int of at least {least}")
        for name, seconds in (
            ("wait_timeout", wait_timeout),
            ("max_idle_time", max_idle_time),
            ("max_life_time", max_life_time),
        ):
            optional = name != "wait_timeout" and seconds is None
            if not optional and (isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0):
                raise InvalidArgument(f"{name} must be a number of seconds")
        self.endpoint = endpoint
        self.pool_size = pool_size
        self.max_connections = max_connections
        self.wait_timeout = wait_timeout
        self.max_idle_time = max_idle_time
        self.max_life_time = max_life_time
        self.observer = observer
        self._factory = factory
        self._down = False  # the last attempt to connect failed
        self._created = self._failed = self._replaced = self._waited = self._exhausted = 0
        self.closed = False
        self._keep = pool_size  # 0 when closed
        self._reset()
        _pools.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._idle: deque[Connection] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._members: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._sweep_at = 0.0

    # ---- taking --------------------------------------------------------------------------------------------------

    def acquire(self, now: float, deadline: float | None = None, *, fresh: bool = False) -> Connection:
        """A connection that is open and silent; give it back with `release`, or close it and call `discard`.

        now: `time.monotonic()`; deadline: of the call, None for none; fresh: a new one even if others are idle.
        Raises PoolExhausted, ClientClosed, and what `Connection.connect` raises.
        """
        connection = None if fresh else self.take(now)
        return connection if connection is not None else self._acquire_slowly(deadline, fresh)

    def take(self, now: float) -> Connection | None:
        """An idle connection, open and silent, or None if there is none or others are waiting; never blocks."""
        while not self._waiters:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if now < connection.fresh_until or self._usable(connection, now):
                return connection
            self._replaced += 1
            self.discard(connection)
        return None

    def _usable(self, connection: Connection, now: float) -> bool:
        """A closer look at a connection that was idle for a while."""
        if now > self._sweep_at:
            self._tidy(now)
        return not self._outdated(connection, now) and connection.is_silent()

    def _outdated(self, connection: Connection, now: float) -> bool:
        limit = self.max_idle_time
        return now >= connection.expires or (limit is not None and now - connection.idle_since > limit)

    def _acquire_slowly(self, deadline: float | None, fresh: bool) -> Connection:
        """Make a connection, or wait for one or for the permission to make one."""
        waiter: _Waiter | None = None
        with self._lock:
            if self.closed:
                raise ClientClosed
            idle = self._take_idle() if fresh and len(self._members) >= self.max_connections else None
            if idle is not None:
                connection = self._replacement(idle)
            elif len(self._members) < self.max_connections and (fresh or not self._waiters):
                connection = self._new_member()
            else:
                waiter = _Waiter()
                self._waiters.append(waiter)
                self._waited += 1
        if waiter is not None:
            connection = self._wait(waiter, deadline)
            if connection.socket is not None:
                if not fresh and self._usable(connection, monotonic()):
                    return connection
                self._replaced += 1
                with self._lock:
                    connection = self._replacement(connection)
        return self._connect(connection, deadline)

    def _new_member(self) -> Connection:
        connection = self._factory(self.endpoint)
        self._members.add(connection)
        return connection

    def _replacement(self, connection: Connection) -> Connection:
        """A new connection, not yet open, in the place of this one."""
        self._members.discard(connection)
        connection.close()
        return self._new_member()

    def _take_idle(self, *, oldest: bool = True) -> Connection | None:
        # Others pop without the lock, so that "not empty" may be over before the next line.
        try:
            return self._idle.popleft() if oldest else self._idle.pop()
        except IndexError:
            return None

    def _connect(self, connection: Connection, deadline: float | None) -> Connection:
        began = monotonic()
        try:
            connection.connect(deadline)
            if not connection.parser.idle:
                raise Desynchronised("a message came unasked")
        except BaseException as error:
            self._failed += 1
            self.discard(connection)
            self._note_failure(error)
            raise
        self._created += 1
        if self._down:
            self._down = False
            logger.info("%s: connected again", self.endpoint)
        if self.observer is not None:
            tell(self.observer.connected, self.endpoint, monotonic() - began)
        life = self.max_life_time
        connection.expires = float("inf") if life is None else connection.born + life * random.uniform(0.9, 1.0)
        return connection

    def _note_failure(self, error: BaseException) -> None:
        """Log the first of several failures, tell the observer of each."""
        if not isinstance(error, RespError):
            return  # an interruption says nothing about the server
        if not self._down:
            self._down = True
            logger.info("%s: no connection: %s", self.endpoint, error)
        if self.observer is not None:
            tell(self.observer.failed, self.endpoint, error)

    def _wait(self, waiter: _Waiter, deadline: float | None) -> Connection:
        """The connection handed over; one that is not open is the permission to open it."""
        began = monotonic()
        end = began + self.wait_timeout
        if deadline is not None:
            end = min(end, deadline)
        try:
            self._serve()  # what was given back before we stood in the queue
            while not waiter.gate.acquire(timeout=max(0.0, min(end - monotonic(), _WAKE_EVERY))):
                self._serve()
                if monotonic() >= end and self._leave(waiter):
                    self._exhausted += 1
                    raise PoolExhausted(
                        f"no connection to {self.endpoint} became free in {monotonic() - began:.2f} s: "
                        f"{len(self._members)} of {self.max_connections} in use, {len(self._waiters)} others waiting"
                    )
        except PoolExhausted:
            raise
        except BaseException:
            if not self._leave(waiter) and waiter.connection is not None:
                self.release(waiter.connection)
            raise
        finally:
            if self.observer is not None:
                tell(self.observer.waited, self.endpoint, monotonic() - began)
        if waiter.connection is None:
            raise ClientClosed
        return waiter.connection

    def _leave(self, waiter: _Waiter) -> bool:
        """Leave the queue; False if something was handed over meanwhile."""
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                return True
        return False

    def _serve(self) -> None:
        """Give idle connections and free places to those who wait, in their order."""
        with self._lock:
            while self._waiters:
                connection = self._take_idle(oldest=False)
                if connection is None and not self.closed:
                    if len(self._members) >= self.max_connections:
                        break
                    connection = self._new_member()
                waiter = self._waiters.popleft()
                waiter.connection = connection
                waiter.gate.release()

    # ---- giving back ---------------------------------------------------------------------------------------------

    def release(self, connection: Connection) -> None:
        """Give back a connection whose replies have all been read."""
        now = connection.idle_since = monotonic()
        if now >= connection.expires:
            self.discard(connection)
            return
        if connection.exact:
            # After a reply that was received to its last byte exactly, more may be waiting in the socket.
            connection.fresh_until, connection.exact = 0.0, False
        else:
            connection.fresh_until = now + LOOK_AFTER
        if self._waiters:
            with self._lock:
                if self._waiters:
                    waiter = self._waiters.popleft()
                    waiter.connection = connection
                    waiter.gate.release()
                    return
        idle = self._idle
        idle.append(connection)
        if len(idle) > self._keep or self._waiters:
            self._tidy(now)

    def discard(self, connection: Connection) -> None:
        """Close a connection and let somebody else have its place."""
        self._members.discard(connection)
        connection.close()
        if self._waiters:
            self._serve()

    def drop_older(self, connection: Connection) -> None:
        """Close the idle connections that were not used after this one, which turned out to be dead."""
        self._drop_idle(lambda other: other.idle_since <= connection.idle_since)

    def _drop_idle(self, dead: Callable[[Connection], bool]) -> None:
        old = []
        with self._lock:
            for other in list(self._idle):
                if dead(other):
                    # Whoever took it meanwhile without the lock finds out for himself.
                    with contextlib.suppress(ValueError):
                        self._idle.remove(other)
                        self._members.discard(other)
                        old.append(other)
        self._replaced += len(old)
        for other in old:
            other.close()

    def renew(self, connection: Connection | None = None) -> None:
        """Use none of the present connections again, or none that is older than this one: the idle ones are closed
        now, those in use when they are given back.
        """
        with self._lock:
            for member in list(self._members):
                if connection is None or member.born <= connection.born:
                    member.expires = 0.0
        self._drop_idle(lambda other: not other.expires)
        if self._waiters:
            self._serve()

    def _tidy(self, now: float) -> None:
        """What is rare: the queue, too many idle connections, idle for too long, a closed pool."""
        dropped = []
        with self._lock:
            while len(self._idle) > self._keep and (connection := self._take_idle()) is not None:
                dropped.append(connection)
            if now > self._sweep_at:
                self._sweep_at = now + _SWEEP_EVERY
                while (connection := self._take_idle()) is not None:
                    if not self._outdated(connection, now):
                        self._idle.appendleft(connection)
                        break
                    dropped.append(connection)
            for connection in dropped:
                self._members.discard(connection)
        for connection in dropped:
            connection.close()
        if self._waiters:
            self._serve()

    # ---- the whole pool ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the idle connections now and those in use when they are given back; who waits gets ClientClosed."""
        self.closed = True
        self._keep = 0
        self._tidy(monotonic())
        self._serve()

    def stats(self) -> PoolStats:
        """The numbers of this moment."""
        idle = len(self._idle)
        return PoolStats(
            idle,
            max(0, len(self._members) - idle),
            len(self._waiters),
            self.pool_size,
            self.max_connections,
            self._created,
            self._failed,
            self._replaced,
            self._waited,
            self._exhausted,
        )

    def after_fork(self) -> None:
        """In the child: every connection belongs to the parent, every lock to a thread that is not here."""
        self._reset()


_pools: Final = AfterFork(Pool.after_fork)
