# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A circuit breaker: while a server is away, fail in microseconds instead of waiting for it again and again.

Closed, every call passes. After `threshold` failures in a row it opens and refuses everything for `cooldown` seconds;
then it lets one call through, the probe, and refuses the others until that one is back. A failed probe doubles the
time, up to `max_cooldown`, with jitter so that many processes do not come back at once. Surprising: a success from a
call that began before the breaker opened closes it too, because an answer is the best proof there is.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final

from resp.errors import BreakerOpen, InvalidArgument
from resp.forks import AfterFork

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half-open"


class Breaker:
    """Counts failures in a row; use `before` in front of a call and `success` or `failure` after it.

    threshold: failures in a row that open it. cooldown: seconds it stays open the first time, doubled by each failed
    probe up to max_cooldown. A probe that never reports back is given up after `probe_time` seconds.
    """

    def __init__(
        self,
        threshold: int = 3,
        cooldown: float = 0.5,
        max_cooldown: float = 15.0,
        *,
        probe_time: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 1:
            raise InvalidArgument("threshold must be a positive int")
        if not 0 < cooldown <= max_cooldown:
            raise InvalidArgument("cooldown must be positive and not above max_cooldown")
        self.threshold = threshold
        self.cooldown = cooldown
        self.max_cooldown = max_cooldown
        self.probe_time = probe_time
        #: True in the closed state without any failure: who sees this need not call `before` or `success`.
        self.calm = True
        self.opened = 0  # how often it has opened
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._state = CLOSED
        self._until = 0.0  # open: when a probe may go; half-open: when the probe is given up
        self._pause = cooldown
        _breakers.add(self)

    def another(self) -> Breaker:
        """A new one with the same settings, for another server."""
        return Breaker(self.threshold, self.cooldown, self.max_cooldown, probe_time=self.probe_time, clock=self._clock)

    @property
    def state(self) -> str:
        """`"closed"`, `"open"` or `"half-open"` (a probe is under way)."""
        return self._state

    def before(self) -> bool:
        """Ask for permission for one call; True if this call is the probe. Raises BreakerOpen."""
        if self._state == CLOSED:
            return False
        with self._lock:
            if self._state == CLOSED:
                return False
            left = self._until - self._clock()
            if left > 0:
                raise BreakerOpen(
                    f"the server failed {self._failures} times in a row, next attempt in {left:.3f} s", retry_after=left
                )
            self._state = HALF_OPEN
            self._until = self._clock() + self.probe_time
            return True

    def success(self) -> None:
        """The server answered."""
        if self.calm:
            return
        with self._lock:
            self._state = CLOSED
            self._failures = 0
            self._pause = self.cooldown
            self.calm = True

    def failure(self) -> None:
        """The server did not answer: no connection, a timeout, refused credentials."""
        with self._lock:
            self.calm = False
            self._failures += 1
            if self._state == HALF_OPEN:
                self._pause = min(2 * self._pause, self.max_cooldown)
            elif self._state == OPEN or self._failures < self.threshold:
                return  # a call that began earlier, or not yet
            self._state = OPEN
            self.opened += 1
            self._until = self._clock() + self._pause * random.uniform(0.8, 1.0)

    def abandon(self) -> None:
        """The probe ended without an answer to the question (interrupted, no free connection): let another go."""
        with self._lock:
            if self._state == HALF_OPEN:
                self._state = OPEN
                self._until = self._clock()

    def after_fork(self) -> None:
        """In the child of a fork: the lock may have been held by a thread that is not here."""
        self._lock = threading.Lock()
        if self._state == HALF_OPEN:
            self._state = OPEN
            self._until = self._clock()


_breakers: Final = AfterFork(Breaker.after_fork)
