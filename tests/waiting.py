# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Waiting for something to become true: the one poll of all tests, and the rounds of an event loop.

A deadline is there so that a test ends that would wait for ever; it is longer than any machine takes, and nothing is
asserted by it. Whoever can be told (an event, a condition, the end of a task) waits for that instead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

DEADLINE: Final = 60.0
"""Seconds."""
PAUSE: Final = 0.005
"""Seconds from one look to the next."""

What = str | Callable[[], object]
"""What is waited for, for who reads that it did not come: in words, or to be asked for then (a log, a last answer)."""


def _late(what: What, seconds: float) -> AssertionError:
    return AssertionError(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")


def wait_until(
    condition: Callable[[], T | None],
    what: What = "what was waited for",
    seconds: float = DEADLINE,
    *,
    pause: float = PAUSE,
) -> T:
    """What the condition returns once that is true, in a test without an event loop. pause: where a look costs much."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise _late(what, seconds)
        time.sleep(pause)
    return found


async def until(condition: Callable[[], T | None], what: What = "what was waited for", seconds: float = DEADLINE) -> T:
    """The same, while the event loop goes on."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise _late(what, seconds)
        await asyncio.sleep(PAUSE)
    return found


async def becomes(ask: Callable[[], Awaitable[T]], wanted: T, *, pause: float = PAUSE) -> None:
    """Ask until the answer is what is wanted: for what others come to see in their own time."""
    deadline = time.monotonic() + DEADLINE
    while (found := await ask()) != wanted:
        if time.monotonic() > deadline:
            raise _late(f"{wanted!r}, the last answer is {found!r}", DEADLINE)
        await asyncio.sleep(pause)


async def at_rest(number: Callable[[], int], pause: float = 0.1) -> int:
    """A number once two looks that are `pause` seconds apart find it the same: for what nobody says is over."""
    before, now = -1, number()
    while now != before:
        await asyncio.sleep(pause)
        before, now = now, number()
    return now


async def rounds(number: int = 1) -> None:
    """Let the event loop go round: what is ready runs, and what that makes ready in the next round."""
    for _ in range(number):
        await asyncio.sleep(0)
