# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Tells a local cache what changed in the server: CLIENT TRACKING in broadcast mode, on a connection of its own.

`Tracking` runs one thread that connects, turns tracking on, hands every invalidated key to a callback, probes a silent
connection and comes back after a loss. Its state is the answer to one question: would I have been told? Surprising:
"everything" (None) is handed over on *both* sides of a gap, when tracking is lost and again before it counts as live,
because a key may have changed, and been read again, anywhere in between.

The rule for callers: an entry may be trusted without asking the server if and only if tracking was live with the same
`generation` when the entry's read began, and still is, and no invalidation of its key came in between. What no server
reports is SWAPDB.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from resp.connection import Connection
from resp.encoding import Argument, encode_argument
from resp.endpoint import Endpoint
from resp.errors import (
    AuthenticationError,
    ConnectionLost,
    InvalidArgument,
    ProtocolError,
    RespError,
    ServerError,
    TemporaryError,
)
from resp.forks import AfterFork
from resp.listening import Line, Upstream, Waker, backoff, upstream_of, wait
from resp.tracking_status import Reporter, State, Status
from resp.values import Push

__all__ = ["State", "Status", "Tracking", "checked_prefixes"]

logger = logging.getLogger("resp.tracking")

INVALIDATION_CHANNEL: Final = b"__redis__:invalidate"
_SETUP_SECONDS: Final = 5.0


def checked_prefixes(prefixes: Iterable[Argument]) -> tuple[bytes, ...]:
    """The prefixes as bytes; InvalidArgument if one begins with another, which servers refuse.

    None at all, or one empty prefix, mean every key.
    """
    if isinstance(prefixes, str | bytes | bytearray | memoryview):
        raise InvalidArgument("prefixes is a collection of prefixes, not one prefix")
    found = sorted(bytes(encode_argument(prefix)) for prefix in prefixes)
    for shorter, longer in itertools.pairwise(found):
        # In sorted order, what begins with a prefix directly follows it.
        if longer.startswith(shorter):
            raise InvalidArgument(f"prefix {longer!r} begins with prefix {shorter!r}: name the shorter one only")
    return () if found == [b""] else tuple(found)


class Tracking(Reporter):
    """Watches the keys that begin with one of `prefixes` and reports every change of one of them.

    server: an `Endpoint`, or a function that returns a `Connection` after its handshake. One of its own is used, over
        RESP2 (`protocol=2`) two.
    invalidated: called with a key (bytes), or with None for "everything you know may be wrong". It runs **in the
        listener's thread**, one call at a time and in the server's order: be quick, take no lock that someone holds
        while waiting for this object. An exception is logged, and the key it failed for is replaced by None; if that
        fails too, tracking counts as lost and starts over.
    prefixes: str or bytes, none the beginning of another; empty for every key of every database.
    changed: called with a `Status` after each change of state, in the listener's thread as well.
    noloop: leave out changes made by this very connection, which makes none; for servers that want the word.
    silence: after so many seconds without a word the server is asked (PING); patience: after so many more without an
        answer the connection is lost. A half-open connection is so noticed after silence + patience seconds.
    retry_first, retry_most: seconds between attempts, doubling from the first to the most, with jitter.
    retry_unsupported: seconds until a server without tracking is asked again.
    """

    def __init__(
        self,
        server: Endpoint | Callable[[], Connection] | Upstream,
        invalidated: Callable[[bytes | None], object],
        *,
        prefixes: Iterable[Argument] = (),
        changed: Callable[[Status], object] | None = None,
        noloop: bool = False,
        silence: float = 2.0,
        patience: float = 2.0,
        retry_first: float = 0.05,
        retry_most: float = 5.0,
        retry_unsupported: float = 300.0,
    ) -> None:
        self.prefixes = checked_prefixes(prefixes)
        self._upstream = upstream_of(server)
        super().__init__(invalidated, changed)
        self.lease = silence + patience
        self._noloop = noloop
        self._silence, self._patience = silence, patience
        self._retry_first, self._retry_most, self._retry_unsupported = retry_first, retry_most, retry_unsupported
        self._run_now: _Run | None = None
        self._lines: tuple[Line, ...] = ()
        _alive.add(self)

    # ---- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the listener's thread; does not wait for the server. Nothing happens if it runs already."""
        with self._condition:
            if self._run_now is not None:
                return
            run = self._run_now = _Run()
            run.thread = threading.Thread(target=self._run, args=(run,), name="resp-tracking", daemon=True)
            self._upstream.on_moved(run.waker.wake)
            self._set(State.LOST, None)
        run.thread.start()

    def close(self, timeout: float = 2.0) -> None:
        """Stop listening and wait for the thread, at most `timeout` seconds.

        A thread that is connecting, or inside a callback, ends by itself after that; it starts no further callback.
        """
        with self._condition:
            run, self._run_now = self._run_now, None
            if run is not None:
                run.closing = True
        if run is not None:
            run.waker.wake()
            if run.thread is not threading.current_thread():
                run.thread.join(timeout)
        with self._condition:
            if self._run_now is None:
                self._set(State.CLOSED, None)

    def _enter(self, run: _Run, state: State, error: RespError | None = None) -> None:
        """Change the state and tell it."""
        if run.closing or not self._set(state, error):
            return
        if state is State.UNSUPPORTED:
            logger.warning("the server does not support CLIENT TRACKING (%s); asking again seldom", error)
        if self._changed is not None:
            self._guarded(self._changed, self._status)

    # ---- the listener's thread ---------------------------------------------------------------------------------------

    def _run(self, run: _Run) -> None:
        try:
            self._track(run)
        finally:
            run.waker.close()

    def _track(self, run: _Run) -> None:
        attempt = 0
        while not run.closing:
            went_live = None
            try:
                with contextlib.ExitStack() as stack:
                    lines = self._lines = self._establish(stack)
                    # From here on the server reports every change. What is known is older than that.
                    self._everything(run)
                    self._enter(run, State.LIVE)
                    went_live = time.monotonic()
                    self._listen(run, lines)
            except _Unsupported as refusal:
                self._enter(run, State.UNSUPPORTED, refusal.error)
                self._pause(run, self._retry_unsupported * random.uniform(0.8, 1.0))
                continue
            except RespError as error:
                self._mourn(run, error)
            except Exception as error:  # a fault of ours must not leave a state that says "live"
                logger.exception("tracking failed")
                self._mourn(run, ConnectionLost(f"tracking failed ({type(error).__name__})"))
            # Only a connection that held for a while starts the waiting times over.
            held = went_live is not None and time.monotonic() - went_live > self._retry_most
            attempt = 0 if held else attempt + 1
            if went_live is None or attempt > 1:
                self._pause(run, backoff(attempt - 1, self._retry_first, self._retry_most))

    def _mourn(self, run: _Run, error: RespError) -> None:
        """Say that tracking is lost: first the state, so that nothing is trusted while the callback works."""
        was_live = self.live
        self._enter(run, State.LOST, error)
        if was_live and not run.closing:
            with contextlib.suppress(RespError):
                self._everything(run)

    def _pause(self, run: _Run, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not run.closing and (left := deadline - time.monotonic()) > 0:
            wait((), run.waker, left)

    def _open(self, stack: contextlib.ExitStack) -> Line:
        line = Line(self._upstream.connect())
        stack.callback(line.close)
        return line

    def _establish(self, stack: contextlib.ExitStack) -> tuple[Line, ...]:
        """Connect and turn tracking on; the lines to listen to, the one with the invalidations first."""
        deadline = time.monotonic() + _SETUP_SECONDS
        line = self._open(stack)
        options: list[Argument] = ["BCAST"]
        for prefix in self.prefixes:
            options += ["PREFIX", prefix]
        if self._noloop:
            options.append("NOLOOP")
        if line.resp3:
            _accepted(line.call("CLIENT", "TRACKING", "ON", *options, deadline=deadline))
            return (line,)
        # RESP2 has no pushes: messages go to a subscriber, for whom a second connection asks.
        number = _accepted(line.call("CLIENT", "ID", deadline=deadline))
        second = self._open(stack)
        _accepted(line.call("SUBSCRIBE", INVALIDATION_CHANNEL, deadline=deadline))
        _accepted(second.call("CLIENT", "TRACKING", "ON", "REDIRECT", number, *options, deadline=deadline))
        return (line, second)

    def _listen(self, run: _Run, lines: tuple[Line, ...]) -> None:
        while not run.closing:
            if self._upstream.moved():
                raise ConnectionLost("another server is the right one now")
            heard = False
            for line in lines:
                for item in line.items():
                    heard = True
                    self._is_hint(run, item)
            # The callbacks may have taken long, and the answer to a PING may wait by now: look again before judging.
            if not heard:
                wait(lines, run.waker, min(line.probe(self._silence, self._patience) for line in lines))

    def _is_hint(self, run: _Run, item: Any) -> None:
        """Act on one thing that the server said."""
        if isinstance(item, ServerError):
            if not isinstance(item, TemporaryError):
                raise item
            return
        if not isinstance(item, list) or len(item) < 2:
            return
        if isinstance(item, Push) and item.kind == b"tracking-redir-broken":
            raise ConnectionLost("the server lost the connection that invalidations go to")
        if isinstance(item, Push) and item.kind == b"invalidate":
            keys = item[1]
        elif item[0] == b"message" and item[1] == INVALIDATION_CHANNEL and len(item) == 3:
            keys = item[2]
        else:
            return
        if keys is None:
            self._everything(run)
            return
        if isinstance(keys, bytes):
            keys = [keys]
        if not isinstance(keys, list):
            raise ProtocolError("an invalidation without keys")
        for key in keys:
            # Nothing is said any more after close().
            if not run.closing and not self._guarded(self._invalidated, key):
                self._everything(run)

    def _everything(self, run: _Run) -> None:
        """Tell that everything known may be wrong. Raises RespError if the callback does not take it."""
        self._next_generation()
        if not run.closing and not self._guarded(self._invalidated, None):
            raise RespError("the callback failed to take an invalidation")

    def _after_fork(self) -> None:
        """In the child the thread is gone: close our copies of its sockets and say so."""
        for line in self._lines:
            line.close()
        self._lines = ()
        self._condition = threading.Condition()
        run, self._run_now = self._run_now, None
        if run is not None:
            run.closing = True
            run.waker.close()
        before = self._status
        if before.state is not State.CLOSED:
            error = ConnectionLost("the process forked: call start() again")
            self._status = Status(State.CLOSED, time.time(), error, before.generation + 1)


class _Run:
    """One life of the listener's thread, from `start` to `close`; a new one may begin before the old one has ended."""

    def __init__(self) -> None:
        self.waker = Waker()
        self.closing = False
        self.thread: threading.Thread


class _Unsupported(Exception):
    """The server refuses tracking for good."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(str(error))
        self.error = error


def _accepted(reply: Any) -> Any:
    """`reply`, unless it is an error: passing trouble is raised as it is, a refusal as `_Unsupported`."""
    if isinstance(reply, TemporaryError | AuthenticationError):
        raise reply
    if isinstance(reply, ServerError):
        raise _Unsupported(reply)
    return reply


_alive: Final = AfterFork(Tracking._after_fork)
