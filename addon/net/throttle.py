# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A throttle for work on the event loop that cannot be cut into pieces: it is begun one piece at a time, with pauses.

Parties take turns, as in `fair_queue`; here the work is not waited for, for nobody tells when it is over. So there is a
pause after each piece, and a longer one where the loop was late for it: what was begun is not done yet, then. Knows
neither the work nor whose it is.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable

PAUSE = 0.002
"""Seconds after a piece; so many a second are as many as mitmproxy could answer requests alone."""
_LATE = 2.0
"""How much of what the loop was late is added to the next pause."""
_LONGEST = 0.25


class Throttle:
    """State: what each party waits to begin, and the timer of the pause."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pause: float = PAUSE) -> None:
        """pause: seconds."""
        self._loop = loop
        self._pause = pause
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()

    def __len__(self) -> int:
        """How many pieces wait."""
        return sum(map(len, self._waiting.values()))

    def begin(self, party: str, work: Callable[[], None]) -> None:
        """Begin a piece of a party's: now, if nothing was begun a moment ago, else in its turn. It must not raise."""
        if self._timer is None:
            self._again(self._pause)
            work()
        else:
            self._waiting.setdefault(party, deque()).append(work)

    def close(self) -> None:
        """Begin all that waits: it is the end, and there will be no other time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            _, works = self._waiting.popitem(last=False)
            for work in works:
                work()

    def _again(self, pause: float) -> None:
        self._due = self._loop.time() + pause
        self._timer = self._loop.call_at(self._due, self._next)

    def _next(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        party, works = self._waiting.popitem(last=False)
        work = works.popleft()
        if works:
            self._waiting[party] = works
        self._again(min(self._pause + _LATE * max(0.0, self._loop.time() - self._due), _LONGEST))
        work()
