# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How many calls to Forgejo may run, and whether any should be tried at all.

`Slots` bounds what runs and what waits; `Breaker` fails fast while the forge is away. Neither knows HTTP. The surprise:
look-ups of names not known to exist have a small share of the slots and a queue of their own, because anybody can ask
for random names, and behind them the calls of real sites would wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from addon.forgejo.errors import Overloaded, Unreachable

logger = logging.getLogger(__name__)

# How many may wait for each slot. More would wait longer than their deadline allows anyway.
_QUEUE_FACTOR = 4


class Slots:
    """`total` calls at once, of which `unknown_share` at most are for names not known to exist.

    State: the calls running, those of them for unknown names, and two queues of waiting calls.
    """

    def __init__(self, total: int, unknown_share: int) -> None:
        if not 1 <= unknown_share <= total:
            raise ValueError("the share of unknown names must be between 1 and all slots")
        self.total = total
        self.unknown_share = unknown_share
        self.busy = 0
        self.busy_unknown = 0
        self._known: deque[asyncio.Future[None]] = deque()
        self._unknown: deque[asyncio.Future[None]] = deque()
        self._last_was_unknown = False

    @property
    def waiting(self) -> int:
        """How many calls wait for a slot."""
        return len(self._known) + len(self._unknown)

    @asynccontextmanager
    async def held(self, *, known: bool, deadline: float) -> AsyncIterator[None]:
        """Hold a slot; waits until the loop's time `deadline` at most. Raises Overloaded."""
        await self._acquire(known, deadline)
        try:
            yield
        finally:
            self._release(known)

    async def _acquire(self, known: bool, deadline: float) -> None:
        queue, bound = (self._known, self.total) if known else (self._unknown, self.unknown_share)
        if len(queue) >= _QUEUE_FACTOR * bound:
            raise Overloaded("too many calls to Forgejo are waiting")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._grant()
        if turn.done():
            return
        try:
            async with asyncio.timeout_at(deadline):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # granted in the same moment
                self._release(known)
            else:
                with suppress(ValueError):  # _grant may have passed it over already
                    queue.remove(turn)
            if isinstance(error, TimeoutError):
                raise Overloaded("no call to Forgejo became free in time") from None
            raise

    def _release(self, known: bool) -> None:
        self.busy -= 1
        if not known:
            self.busy_unknown -= 1
        self._grant()

    def _grant(self) -> None:
        while self.busy < self.total:
            may_unknown = bool(self._unknown) and self.busy_unknown < self.unknown_share
            # Known names go first; of the others one may pass now and then, else they would starve in turn.
            passes = may_unknown and self.busy_unknown == 0 and not self._last_was_unknown
            if self._known and not passes:
                turn, self._last_was_unknown = self._known.popleft(), False
            elif may_unknown:
                turn, self._last_was_unknown = self._unknown.popleft(), True
            else:
                return
            if turn.cancelled():
                continue
            self.busy += 1
            self.busy_unknown += self._last_was_unknown
            turn.set_result(None)


class Breaker:
    """Closed; open for a while after `threshold` failures in a row; then one probe decides.

    State: failures in a row, until when it is open, for how long it was last opened, whether a probe is out.
    """

    def __init__(
        self, clock: Callable[[], float], *, threshold: int = 5, shortest: float = 1.0, longest: float = 10.0
    ) -> None:
        self._clock = clock
        self._threshold = threshold
        self._shortest = shortest
        self._longest = longest
        self._failures = 0
        self._period = 0.0
        self._open_until = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether calls are being refused, or let through one by one."""
        return self._period > 0

    def check(self) -> None:
        """Raise Unreachable if a call would not be admitted now."""
        if self.is_open and (self._probing or self._clock() < self._open_until):
            raise Unreachable("Forgejo did not answer a moment ago")

    def admit(self) -> bool:
        """Let a call through; True if it is the probe, which must end in one of the three calls below."""
        self.check()
        self._probing = self.is_open
        return self._probing

    def succeeded(self) -> None:
        """Forgejo answered, with whatever status."""
        if self.is_open:
            logger.warning("Forgejo answers again")
        self._failures = 0
        self._period = 0.0
        self._probing = False

    def failed(self, probe: bool) -> None:
        """No connection, or no answer in time."""
        self._failures += 1
        if probe:
            self._probing = False
            self._open(min(self._period * 2, self._longest))
        elif not self.is_open and self._failures >= self._threshold:
            logger.warning("Forgejo does not answer: calls fail at once until it does")
            self._open(self._shortest)

    def abandoned(self, probe: bool) -> None:
        """The call was given up before it could tell."""
        if probe:
            self._probing = False

    def _open(self, period: float) -> None:
        self._period = period
        self._open_until = self._clock() + period
