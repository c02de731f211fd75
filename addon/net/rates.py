# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How often something may happen for each of many: so many at once, and so many a second from then on.

State: a level for each name that sinks by the rate, bounded in number. The surprise: where there are more names than
are remembered, the one untouched for longest is forgotten, which is the one whose level matters least.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple


class _Level(NamedTuple):
    level: float
    since: float


class Rates:
    """`burst` at once for each name, and `rate` a second."""

    def __init__(
        self, burst: float, rate: float, *, most: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """most: names that are remembered."""
        self._burst = burst
        self._rate = rate
        self._most = most
        self._clock = clock
        self._levels: OrderedDict[Hashable, _Level] = OrderedDict()

    def wait(self, name: Hashable) -> float:
        """Seconds until it may happen again."""
        return max(0.0, (self._level(name) + 1 - self._burst) / self._rate)

    def allows(self, *names: Hashable) -> bool:
        """Whether it may happen now for all these names, which is counted if so."""
        if any(self._level(name) + 1 > self._burst for name in names):
            return False
        now = self._clock()
        for name in names:
            self._levels[name] = _Level(self._level(name) + 1, now)
            self._levels.move_to_end(name)
        while len(self._levels) > self._most:
            self._levels.popitem(last=False)
        return True

    def _level(self, name: Hashable) -> float:
        found = self._levels.get(name)
        return 0.0 if found is None else max(0.0, found.level - (self._clock() - found.since) * self._rate)
