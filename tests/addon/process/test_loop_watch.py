# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The watch over the event loop: what it measures, what it says, and whom it tells that the loop goes on."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import AsyncIterator

import pytest

from addon.process.loop_watch import BEAT_EVERY, LATE, LoopWatch, described
from tests.waiting import rounds, until, wait_until


@pytest.fixture
async def beats() -> AsyncIterator[tuple[LoopWatch, list[float]]]:
    told: list[float] = []
    watch = LoopWatch(lambda: told.append(time.monotonic()))
    watch.start()
    yield watch, told
    await watch.aclose()


def holds_everybody_up(watch: LoopWatch) -> None:
    """Hold the loop until the thread has seen it, and for as long as counts as late."""
    wait_until(lambda: watch._seen[1], "a look of the thread at a loop that is held up")
    time.sleep(LATE)


async def test_who_held_the_loop_up_is_said_with_its_place(
    beats: tuple[LoopWatch, list[float]], caplog: pytest.LogCaptureFixture
) -> None:
    watch, _ = beats
    with caplog.at_level(logging.WARNING, "addon.process.loop_watch"):
        await rounds()
        holds_everybody_up(watch)
        await until(lambda: watch.stalls)
    assert watch.worst >= LATE
    assert "the event loop was blocked for" in caplog.text
    assert "holds_everybody_up (tests/addon/process/test_loop_watch.py:" in caplog.text
    before = len(caplog.records)
    holds_everybody_up(watch)
    await until(lambda: watch.stalls >= 2)
    assert len(caplog.records) == before, "one line in a while, however often it happens"


def test_nothing_is_said_while_nobody_is_served(caplog: pytest.LogCaptureFixture) -> None:
    watch = LoopWatch(clock=lambda: 100.0)
    watch.silent = True
    with caplog.at_level(logging.WARNING, "addon.process.loop_watch"):
        watch._note(100.0, 5.0)
        assert (watch.stalls, caplog.text) == (1, "")
        watch.serving()
        watch._note(100.0, 5.0)
    assert "the event loop was blocked for 5000 ms" in caplog.text


async def test_a_loop_that_goes_on_says_so_each_second(beats: tuple[LoopWatch, list[float]]) -> None:
    _, told = beats
    await until(lambda: len(told) >= 3)
    assert told[2] - told[0] >= 2 * BEAT_EVERY - 0.01


async def test_no_more_is_heard_of_a_watch_that_has_ended() -> None:
    told: list[float] = []
    watch = LoopWatch(lambda: told.append(0.0))
    watch.start()
    await until(lambda: told)
    await watch.aclose()
    count = len(told)
    assert watch._timer is not None
    assert watch._timer.cancelled()
    await until(lambda: all(thread.name != "pages-loop-watch" for thread in threading.enumerate()), "its thread's end")
    assert len(told) == count


def test_only_the_last_minute_counts() -> None:
    now = 1000.0
    watch = LoopWatch(clock=lambda: now)
    watch._note(now, 0.7)
    watch._note(now + 1, 0.2)
    watch._note(now + 2, 0.3)
    assert watch.worst == 0.7
    now += 60.5
    assert watch.worst == 0.3
    now += 60.0
    assert watch.worst == 0.0


def test_a_place_is_told_from_the_inside_out_and_in_one_line() -> None:
    def inner() -> str:
        return described(sys._getframe())

    told = inner()
    assert told.startswith("test_a_place_is_told_from_the_inside_out_and_in_one_line.<locals>.inner (tests/")
    assert " < test_a_place_is_told" in told
    assert "\n" not in told
