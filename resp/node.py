# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One server and what its callers share: a pool, a breaker, second attempts.

A call takes an idle connection, sends, receives and gives it back; everything else (a new connection, waiting, the
breaker, another attempt) is the business of `_perform`, which the fast way leaves a call to as soon as anything is
unusual. Surprising: nothing is retried by default but a read over an idle connection that turned out to be dead, and
a command that certainly was not sent; a write whose reply is lost may have been executed, and that is for the caller
to decide.
"""

from __future__ import annotations

import time as _time
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

from resp.breaker import CLOSED, Breaker
from resp.command_kinds import is_blocking, is_read, is_script
from resp.connection import Connection
from resp.encoding import Argument, Request, chunks, encode_request
from resp.endpoint import Endpoint
from resp.errors import (
    AuthenticationError,
    BreakerOpen,
    ClientClosed,
    ConnectionLost,
    Desynchronised,
    InvalidArgument,
    PoolExhausted,
    ReadOnly,
    RespError,
    ServerError,
    TemporaryError,
    Timeout,
)
from resp.listening import Upstream, upstream_of
from resp.observer import logger
from resp.pool import Pool
from resp.retry import Retry
from resp.source import Args, Batch, Stats
from resp.tracking import Tracking
from resp.tracking_status import Reporter
from resp.values import Value

_T = TypeVar("_T")


class NoBreaker(Breaker):
    """Never opens."""

    def before(self) -> bool:
        return False

    def failure(self) -> None:
        pass


class Node:
    """One server, as a source of its own or as one of several; see `resp.source.Source` for what the methods mean.

    retries: further attempts, or a `resp.Retry`, where the server certainly did not execute the command.
    """

    slot_of: Callable[[Args], int | None] | None = None

    def __init__(self, endpoint: Endpoint, pool: Pool, breaker: Breaker, retries: int | Retry = 0) -> None:
        self.endpoint = endpoint
        self.pool = pool
        self.breaker = breaker
        self._retry = retries if isinstance(retries, Retry) else Retry(retries)
        self._retried = 0

    def __repr__(self) -> str:
        return f"<Node {self.endpoint}>"

    # ---- calls ---------------------------------------------------------------------------------------------------

    def call(self, args: Args, timeout: float | None, last: bool = False, now: float = 0.0) -> Value:
        """See `Source`; now: when the call began, for who has looked at the clock already."""
        request = encode_request(args)
        if not now:
            now = monotonic()
        fresh, refusal = False, None
        if self.breaker.calm and not last:
            pool = self.pool
            connection = pool.take(now)
            if connection is not None:
                try:
                    reply = connection.roundtrip(request, now, timeout)
                except BaseException as error:
                    if not self._again(error, connection, args[0], timeout):
                        raise
                    fresh = True
                else:
                    if type(reply) is bytes or not isinstance(reply, ServerError):
                        pool.release(connection)
                        return reply
                    self._settle(connection, (reply,))
                    if not self._retry.attempts or not _not_executed(reply, args[0]):
                        return reply
                    refusal = reply

        return self._call(request, args[0], now, timeout, last, fresh, refusal)

    def _call(
        self,
        request: Request,
        name: Argument,
        now: float,
        timeout: float | None,
        last: bool,
        fresh: bool,
        refusal: Value,
    ) -> Value:
        """The rest of `call`, in a frame of its own: variables of a closure are slower, also where it is not made."""

        def attempt(connection: Connection) -> Value:
            reply = connection.roundtrip(request, monotonic(), _left(now, timeout))
            if last:
                connection.expires = 0.0
            return reply

        return self._perform(attempt, name, now, timeout, fresh, refusal)

    def exchange(self, batch: Batch, timeout: float | None) -> list[Value]:
        return self.send(batch.wire(), timeout, last=batch.last, reads=lambda: batch.reads)

    def send(
        self,
        requests: list[Request],
        timeout: float | None,
        *,
        last: bool = False,
        reads: Callable[[], bool] | None = None,
    ) -> list[Value]:
        """Several requests over one connection, errors in place; `reads`: whether they may be sent a second time."""
        now = monotonic()
        deadline = None if timeout is None else now + timeout

        def attempt(connection: Connection) -> list[Value]:
            replies = connection.exchange(chunks(requests), len(requests), deadline)
            if last:
                connection.expires = 0.0
            return replies

        return self._perform(attempt, reads or (lambda: False), now, timeout)

    def _perform(
        self,
        attempt: Callable[[Connection], _T],
        name: Argument | Callable[[], bool],
        now: float,
        timeout: float | None,
        fresh: bool = False,
        refusal: Value = None,
        keep: bool = False,
    ) -> _T:
        """`attempt` with a connection: the general way, with breaker and retries; error replies are returned.

        name: the command's, or a function that says whether it may be sent twice. refusal: what the first attempt
        was answered, if there was one. keep: the connection is not given back after a success.
        """
        deadline = None if timeout is None else now + timeout
        breaker, pool = self.breaker, self.pool
        tries = 0
        if refusal is not None:
            if not self._pause(tries, deadline):
                return refusal  # type: ignore[no-any-return]  # an error reply is a value of any type
            tries = 1
        probe = breaker.before()
        try:
            while True:
                connection = None
                try:
                    connection = pool.acquire(monotonic(), deadline, fresh=fresh)
                    result = attempt(connection)
                except BaseException as error:
                    if self._again(error, connection, name, timeout, once=not fresh):
                        fresh = True
                        continue
                    if connection is not None or not isinstance(error, ConnectionLost | Timeout):
                        raise
                    if isinstance(error, ClientClosed) or not self._pause(tries, deadline):
                        raise
                else:
                    if breaker.state != CLOSED:
                        logger.info("%s answers again", self.endpoint)
                    breaker.success()
                    if keep:
                        return result
                    if not isinstance(result, ServerError):
                        self._settle(connection, result if isinstance(result, list) else ())
                        return result
                    self._settle(connection, (result,))
                    if callable(name) or not _not_executed(result, name) or not self._pause(tries, deadline):
                        return result
                tries += 1
        finally:
            if probe:
                breaker.abandon()

    def hold(self, args: Args, timeout: float | None) -> tuple[HeldConnection, list[Value]]:
        request = encode_request(args)
        now = monotonic()
        held: list[Connection] = []

        def attempt(connection: Connection) -> list[Value]:
            reply = connection.roundtrip(request, monotonic(), _left(now, timeout))
            held[:] = [connection]
            return [reply]

        # What is watched twice over a new connection does no harm: the old one is closed.
        replies = self._perform(attempt, lambda: True, now, timeout, keep=True)
        return HeldConnection(self, held[0]), replies

    # ---- what comes of an attempt ----------------------------------------------------------------------------------

    def _pause(self, tries: int, deadline: float | None) -> bool:
        """Wait before another attempt; False if there is none left, or no time for it."""
        pause = self._retry.pause(tries)
        if pause is None:
            return False
        if deadline is not None and monotonic() + pause >= deadline:
            return False
        _time.sleep(pause)
        self._retried += 1
        return True

    def _again(
        self,
        error: BaseException,
        connection: Connection | None,
        name: Argument | Callable[[], bool],
        timeout: float | None,
        once: bool = True,
    ) -> bool:
        """What an exception means for the pool and the breaker, and whether to try again at once on a new connection.

        Only on a connection that was used before, which the server may have closed long ago: a read if nothing of its
        reply had come, a write if it was never sent completely. A read also if its reply cannot be trusted. `once`:
        this was not done before in the same call.
        """
        if connection is None:
            # No connection could be made. A full pool or a closed client says nothing about the server.
            if isinstance(error, RespError) and not isinstance(error, PoolExhausted | ClientClosed | InvalidArgument):
                self._blame(error, name, timeout)
            return False
        self.pool.discard(connection)
        again = False
        if isinstance(error, ConnectionLost):
            if not connection.unused:
                self.pool.drop_older(connection)
                again = not error.maybe_executed or (once and not error.reply_begun and _reads(name))
        elif isinstance(error, Desynchronised):
            again = once and _reads(name)
        if again:
            self._retried += 1
        elif isinstance(error, ConnectionLost | Timeout):
            self._blame(error, name, timeout)
        return again

    def _blame(self, error: BaseException, name: Argument | Callable[[], bool], timeout: float | None) -> None:
        """Count a failure, unless it may well be the caller's own impatience."""
        if isinstance(error, Timeout):
            patience = self.endpoint.timeout
            hasty = timeout is not None and (patience is None or timeout < 0.9 * patience)
            if hasty or (not callable(name) and is_blocking(name)):
                return
        closed = self.breaker.state == CLOSED
        self.breaker.failure()
        if closed and self.breaker.state != CLOSED:
            logger.warning("%s does not answer (%s): calls fail at once until it does", self.endpoint, error)

    def _settle(self, connection: Connection, replies: list[Value] | tuple[Value, ...]) -> None:
        """Give back a connection, unless one of the replies says that it is of no use."""
        for reply in replies:
            if isinstance(reply, AuthenticationError | ReadOnly):
                self.pool.discard(connection)
                if isinstance(reply, ReadOnly):
                    # A master no more: whatever leads to the new one (a name, an address) is to be asked again.
                    self.pool.renew(connection)
                return
        self.pool.release(connection)

    # ---- the node itself -------------------------------------------------------------------------------------------

    def upstream(self) -> Upstream:
        return upstream_of(self.endpoint)

    def tracking(self, invalidated: Callable[[bytes | None], object], **options: Any) -> Reporter:
        return Tracking(self.endpoint, invalidated, **options)

    def stats(self) -> Stats:
        breaker = self.breaker
        state = "off" if isinstance(breaker, NoBreaker) else breaker.state
        return Stats(*self.pool.stats(), self._retried, state, breaker.opened)

    def close(self) -> None:
        self.pool.close()


class HeldConnection:
    """See `resp.source.Held`."""

    def __init__(self, node: Node, connection: Connection) -> None:
        self.node = node
        self._connection: Connection | None = connection

    @property
    def open(self) -> bool:
        return self._connection is not None

    def exchange(self, requests: list[Request], timeout: float | None) -> list[Value]:
        connection = self._connection
        assert connection is not None
        deadline = None if timeout is None else monotonic() + timeout
        try:
            replies = connection.exchange(chunks(requests), len(requests), deadline)
        except BaseException as error:
            self._connection = None
            self.node._again(error, connection, lambda: False, timeout)
            raise
        self.node.breaker.success()
        for reply in replies:
            if isinstance(reply, ReadOnly):
                self.node.pool.renew(connection)
        return replies

    def check(self, args: Args) -> None:
        pass

    def release(self, last: bool = False) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if last:
                connection.expires = 0.0
            self.node.pool.release(connection)

    def discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self.node.pool.discard(connection)


class Exchange:
    """Several requests over one connection, in two halves, so that several servers work at the same time.

    deadline: monotonic. reads: they may be sent a second time. last: nobody else is to use the connection.
    """

    def __init__(
        self, node: Node, requests: list[Request], deadline: float | None, *, reads: bool, last: bool = False
    ) -> None:
        self._node = node
        self._requests = requests
        self._deadline = deadline
        self._reads = reads
        self._last = last
        self._connection: Connection | None = None
        self._replies: list[Value] = []
        self._error: RespError | None = None
        self._anew = False

    def begin(self) -> None:
        """Send everything."""
        node, connection = self._node, None
        probe = False
        try:
            probe = node.breaker.before()
            connection = node.pool.acquire(monotonic(), self._deadline)
            self._replies = connection.begin(chunks(self._requests), len(self._requests), self._deadline)
            self._connection = connection
        except RespError as error:
            self._failed(error, connection)
        finally:
            if probe:
                node.breaker.abandon()

    def finish(self) -> list[Value] | RespError:
        """The replies, errors in place; or what happened to the connection. Never raises a RespError."""
        connection = self._connection
        if connection is not None:
            try:
                replies = connection.finish(self._replies, len(self._requests), self._deadline)
            except RespError as error:
                self._failed(error, connection)
            else:
                self._node.breaker.success()
                if self._last:
                    connection.expires = 0.0
                self._node._settle(connection, replies)
                return replies
        if self._anew:
            try:
                return self._node.send(self._requests, self._left(), last=self._last, reads=lambda: self._reads)
            except RespError as error:
                return error.with_traceback(None)
        assert self._error is not None
        return self._error

    def _failed(self, error: RespError, connection: Connection | None) -> None:
        self._error = error.with_traceback(None)
        if not isinstance(error, BreakerOpen):
            self._anew = self._node._again(error, connection, lambda: self._reads, self._left())

    def _left(self) -> float | None:
        return None if self._deadline is None else max(0.001, self._deadline - monotonic())


def _not_executed(reply: Value, name: Argument) -> bool:
    """True if this error says that the command was not executed and may be in a moment.

    Not of a script: what it says may be its own words, after it did half of its work.
    """
    return isinstance(reply, TemporaryError) and not is_script(name)


def _reads(name: Argument | Callable[[], bool]) -> bool:
    return name() if callable(name) else is_read(name)


def _left(now: float, timeout: float | None) -> float | None:
    """What is left of a timeout that began at `now`; never nothing, so that the attempt itself says Timeout."""
    return None if timeout is None else max(0.001, now + timeout - monotonic())
