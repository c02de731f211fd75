# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Work that cannot be cut, one piece at a time: whose turn it is, and how long the pauses are, on a made-up loop."""

import heapq
from collections.abc import Callable
from typing import Any, cast

from addon.net.throttle import PAUSE, Throttle


class Loop:
    """A loop whose time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, int, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Any:
        heapq.heappush(self.timers, (when, len(self.timers), callback))
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def next(self, late: float = 0.0) -> float:
        """Run the next timer, so many seconds late; returns for how long it was to be waited for."""
        when, _, callback = heapq.heappop(self.timers)
        waited = when - self.now
        self.now = when + late
        callback()
        return round(waited, 9)


def test_the_first_begins_at_once_and_parties_take_turns() -> None:
    loop, done = Loop(), []
    throttle = Throttle(cast(Any, loop))
    for name in ("a1", "a2", "a3", "a4", "b1", "c1", "b2"):
        throttle.begin(name[0], lambda name=name: done.append(name))  # type: ignore[misc]
    assert (done, len(throttle)) == (["a1"], 6)
    while loop.timers:
        assert loop.next() == PAUSE
    assert done == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]
    throttle.begin("a", lambda: done.append("again"))
    assert done[-1] == "again"


def test_the_pause_grows_with_what_the_loop_is_late() -> None:
    loop = Loop()
    throttle = Throttle(cast(Any, loop))
    for _ in range(4):
        throttle.begin("a", lambda: None)
    waited = [loop.next(late) for late in (0.020, 0.0, 9.0)]
    assert waited == [PAUSE, PAUSE + 0.040, PAUSE]
    assert loop.next() == 0.25
    assert loop.timers == []


def test_at_the_end_all_that_waits_is_begun() -> None:
    loop, done = Loop(), []
    throttle = Throttle(cast(Any, loop))
    for name in ("a1", "a2", "b1"):
        throttle.begin(name[0], lambda name=name: done.append(name))  # type: ignore[misc]
    throttle.close()
    assert (sorted(done), len(throttle)) == (["a1", "a2", "b1"], 0)
