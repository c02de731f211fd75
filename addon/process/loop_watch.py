# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A watch over the event loop: how late its timers come, what ran when one came late, and a sign of life each second.

Knows asyncio and threads, nothing of what runs. A heartbeat on the loop measures its own lateness; a thread of its own
looks at the loop's stack when the heartbeat is overdue, since who holds the loop cannot be asked afterwards. The
surprise: it is the thread that sees and the heartbeat that tells, so a loop that never comes back tells nothing here.
That is for the supervisor, to whom the signs of life cease, and who has the stack written before it ends the process.
"""

import asyncio
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import FrameType

logger = logging.getLogger(__name__)

EVERY = 0.1
"""Seconds between two heartbeats."""
LATE = 0.1
"""Seconds of lateness from which on it is said."""
BEAT_EVERY = 1.0
"""Seconds between two signs of life."""
_NOTHING = (0.0, "")
"""What the thread saw: of which heartbeat, by when it was due, and where the loop was."""
_SAY_EVERY = 10.0
_REMEMBERED = 60.0
_FRAMES = 4
_ROOT = str(Path(__file__).resolve().parents[2])


class LoopWatch:
    """State: the lateness of the last minute, and what the thread saw of the loop that is late now."""

    def __init__(self, beat: Callable[[], object] = lambda: None, clock: Callable[[], float] = time.monotonic) -> None:
        """beat: told each second that the loop goes on."""
        self.lag = 0.0
        """Seconds by which the last heartbeat was late."""
        self.stalls = 0
        """How often one was late by LATE or more."""
        self.silent = False
        """Nothing is said: nobody is being served yet, so nobody has waited."""
        self._beat = beat
        self._clock = clock
        self._worst: deque[tuple[float, float]] = deque()  # when, how late; only those that no later one exceeds
        self._due = 0.0
        self._next_beat = 0.0
        self._said = float("-inf")
        self._unsaid = 0
        self._seen = _NOTHING
        self._timer: asyncio.TimerHandle | None = None
        self._over = threading.Event()
        self._loop_thread = 0

    def start(self) -> None:
        """Begin, on the loop that is to be watched."""
        self._loop_thread = threading.get_ident()
        self._schedule()
        threading.Thread(target=self._look, name="pages-loop-watch", daemon=True).start()

    def serving(self) -> None:
        """Somebody may wait from now on: what is late is said, and what was late before is over."""
        self.silent = False
        if self._timer is not None:
            self._timer.cancel()
            self._schedule()

    async def aclose(self) -> None:
        """Watch no more."""
        self._over.set()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def worst(self) -> float:
        """Seconds by which the latest heartbeat of the last minute was late."""
        self._forget()
        return self._worst[0][1] if self._worst else 0.0

    def _schedule(self) -> None:
        self._due = self._clock() + EVERY
        self._timer = asyncio.get_running_loop().call_later(EVERY, self._heartbeat)

    def _heartbeat(self) -> None:
        now = self._clock()
        self._note(now, max(0.0, now - self._due))
        if now >= self._next_beat:
            self._next_beat = now + BEAT_EVERY
            self._beat()
        self._schedule()

    def _note(self, now: float, lag: float) -> None:
        self.lag = lag
        while self._worst and self._worst[-1][1] <= lag:
            self._worst.pop()
        self._worst.append((now, lag))
        self._forget()
        (overdue, seen), self._seen = self._seen, _NOTHING
        if lag < LATE:
            return
        self.stalls += 1
        if self.silent:
            return
        if now - self._said < _SAY_EVERY:
            self._unsaid += 1
            return
        before = f" ({self._unsaid} times since the last line)" if self._unsaid else ""
        self._said, self._unsaid = now, 0
        where = (
            f": {seen}"
            if overdue == self._due and seen
            else ": no Python ran, so it was the machine that was busy, or a call that holds the GIL"
        )
        logger.warning("the event loop was blocked for %.0f ms%s%s", lag * 1000, where, before)

    def _forget(self) -> None:
        oldest = self._clock() - _REMEMBERED
        while self._worst and self._worst[0][0] < oldest:
            self._worst.popleft()

    def _look(self) -> None:
        """The thread: keep what the loop's thread is doing while the heartbeat is overdue."""
        while not self._over.wait(EVERY):
            due = self._due
            frame = sys._current_frames().get(self._loop_thread) if self._clock() - due >= LATE / 2 else None
            if frame is not None and Path(frame.f_code.co_filename).name != "selectors.py":  # else it only waits
                self._seen = due, described(frame)


def described(frame: FrameType | None) -> str:
    """Where a thread is, in a line: the innermost calls first, each with its file and line."""
    calls: list[str] = []
    while frame is not None and len(calls) < _FRAMES:
        code = frame.f_code
        calls.append(f"{code.co_qualname} ({code.co_filename.removeprefix(_ROOT).lstrip('/')}:{frame.f_lineno})")
        frame = frame.f_back
    return " < ".join(calls)
