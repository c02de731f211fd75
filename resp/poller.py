# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A thread that polls: finds something out when asked, quickly while it is in doubt, and now and then.

Callers do not do the work themselves; they may wait for a round that began after they asked, so that a hundred who ask
at once cause one round and not a hundred. Surprising: the thread holds nothing alive. It ends when nobody but itself
knows the one it works for.
"""

from __future__ import annotations

import logging
import random
import threading
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from resp.errors import ConnectionLost, RespError
from resp.forks import AfterFork
from resp.listening import Line, Waker, wait

logger = logging.getLogger("resp")

#: Least seconds between two polls, however many ask.
_GAP: Final = 0.03
#: Seconds after which a silent line is asked for a sign of life, and given up after as many more.
_SILENCE: Final = 5.0


class Poller:
    """work: a bound method, held weakly, that does one round and raises RespError if it came to nothing.

    every, doubtful_every: seconds between polls that nobody asked for, and between them while in doubt. open_line,
    is_hint: bound methods, too; one opens a line to listen to, the other says whether what came over it is a reason for
    a round.
    """

    def __init__(
        self,
        work: Callable[[], None],
        name: str,
        *,
        every: float,
        doubtful_every: float,
        open_line: Callable[[], Line | None] | None = None,
        is_hint: Callable[[Any], bool] | None = None,
    ) -> None:
        self._work = weakref.WeakMethod(work)
        self._open_line = None if open_line is None else weakref.WeakMethod(open_line)
        self._is_hint = None if is_hint is None else weakref.WeakMethod(is_hint)
        self._name = name
        self.every = every
        self._doubtful_every = doubtful_every
        self.closed = False
        #: Why the last round came to nothing.
        self.error: RespError | None = None
        self._reset()
        _alive.add(self)

    def _reset(self) -> None:
        self._condition = threading.Condition()
        self._waker = Waker()
        self._thread: threading.Thread | None = None
        self._done = self._wanted = 0
        self._working = False
        self.doubt = True

    def _after_fork(self) -> None:
        """In the child, where the thread is not: a new one begins with the next call."""
        self._waker.close()
        self._reset()

    def suspect(self) -> None:
        """Something is wrong: a round soon, at once if nothing was wrong so far."""
        if not self.doubt:
            self.doubt = True
            with self._condition:
                self._wanted = max(self._wanted, self._done + (2 if self._working else 1))
        self._running()
        self._waker.wake()

    def wait(self, end: float) -> None:
        """Wait until a round that began after now is over, or the time is `end` (monotonic)."""
        with self._condition:
            wanted = self._done + (2 if self._working else 1)
            self._wanted = max(self._wanted, wanted)
        self._running()
        self._waker.wake()
        with self._condition:
            self._condition.wait_for(lambda: self._done >= wanted or self.closed, max(0.0, end - monotonic()))

    def _running(self) -> None:
        if self._thread is not None:
            return
        with self._condition:
            if self._thread is None and not self.closed:
                thread = threading.Thread(target=_run, args=(weakref.ref(self), self._waker), name=self._name)
                thread.daemon = True
                thread.start()
                self._thread = thread  # not before: an exception in between must not leave a thread that never was

    def start(self) -> None:
        """Begin, also without anybody who waits; nothing if it has begun."""
        self._running()

    def _one(self) -> float:
        """Do a round; the time of the next."""
        self._working = True
        work = self._work()
        try:
            if work is not None:
                work()
            self.error, self.doubt = None, False
        except RespError as error:
            self.error, self.doubt = error.with_traceback(None), True
        except Exception as error:
            logger.exception("%s failed", self._name)
            self.error, self.doubt = ConnectionLost(f"{self._name} failed ({type(error).__name__})"), True
        finally:
            self._working = False
            with self._condition:
                self._done += 1
                self._condition.notify_all()
        return monotonic() + (self._doubtful_every if self.doubt else self.every) * random.uniform(0.8, 1.2)

    def _listened(self, line: Line | None) -> Line | None:
        """Hear what came over the line; the line to listen to from now on, None if there is none."""
        if line is not None:
            try:
                items = line.items()
                line.probe(_SILENCE, _SILENCE)
            except RespError:
                line.close()
                return None
            is_hint = self._is_hint() if self._is_hint is not None else None
            if is_hint is not None and any(map(is_hint, items)):
                self.doubt = False
                self.suspect()
        elif self._open_line is not None and self._done and not self.doubt:
            open_line = self._open_line()
            return open_line() if open_line is not None else None
        return line

    def close(self) -> None:
        self.closed = True
        self._waker.wake()
        with self._condition:
            if self._thread is None:
                self._waker.close()  # the thread, if there is one, does it when it ends
            self._condition.notify_all()

    def __del__(self) -> None:
        if self._thread is None:
            self._waker.close()
        else:
            self._waker.wake()


def _run(reference: weakref.ref[Poller], waker: Waker) -> None:
    next_round = earliest = 0.0
    line: Line | None = None
    try:
        while True:
            poller = reference()
            if poller is None or poller.closed or poller._waker is not waker or poller._work() is None:
                return
            waker.clear()
            line = poller._listened(line)
            now = monotonic()
            if now >= next_round or (poller._done < poller._wanted and now >= earliest):
                next_round = poller._one()
                earliest = monotonic() + _GAP
            soonest = earliest if poller._done < poller._wanted else next_round
            pause = max(0.0, soonest - monotonic())
            del poller
            wait((line,) if line is not None else (), waker, min(pause, _SILENCE))
    finally:
        if line is not None:
            line.close()
        waker.close()


_alive: Final = AfterFork(Poller._after_fork)
