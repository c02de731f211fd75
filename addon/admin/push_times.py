# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How long it takes from a push, as the webhook tells of it, to the look that has seen it.

Only pushes to repositories that memory holds are timed: nobody waits for the others, and the first visitor sees them.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from addon.net.call_meter import CallMeter
from addon.shared.lookup import Key, Lookup, repository_of

_MOST = 1_000


class PushTimes:
    """State: pushes that no look has seen yet, and the times of the others."""

    def __init__(self, is_held: Callable[[Key], bool], clock: Callable[[], float] = time.monotonic) -> None:
        """is_held: whether memory knows a repository. clock: monotonic seconds, the same by which looks are dated."""
        self._is_held = is_held
        self._clock = clock
        self._pushed: OrderedDict[Key, float] = OrderedDict()
        self.meter = CallMeter()

    def pushed(self, key: Key) -> None:
        """A repository was pushed to; of several pushes that no look has seen, the first is timed."""
        if self._is_held(key):
            self._pushed.setdefault(key, self._clock())
            while len(self._pushed) > _MOST:
                self._pushed.popitem(last=False)

    def seen(self, lookup: Lookup) -> None:
        """A look has ended; one that had begun before the push does not end the time, for it may have seen nothing."""
        key = repository_of(lookup.key)
        began = self._pushed.get(key)
        if began is not None and lookup.trouble is None and lookup.looked >= began:
            del self._pushed[key]
            self.meter.measure("push", "200", self._clock() - began)
