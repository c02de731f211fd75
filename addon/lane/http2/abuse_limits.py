# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Limits on frames that are of no use to anybody: so many at once, and so many a second (RFC 9113 §10.5).

Every kind of frame that costs us and brings nobody anything (SETTINGS, PING, PRIORITY, empty DATA, WINDOW_UPDATE …) is
paid from one account, because a client that has reason for a thousand of one has none for a thousand of each. What is
sent to the client pays into it: who takes a large file has many windows to open. Streams that come to nothing, whoever
ends them (rapid reset, CVE-2023-44487; made you reset, CVE-2025-8671), have an account of their own.
"""

from addon.lane.http2.frames import ConnectionFault, ErrorCode

FRAMES = 1_000
"""Frames that do nothing, at once: a thousand cost 1 ms."""
FRAMES_A_SECOND = 100
EARNED_BYTES = 512
"""Sent bytes for which one more frame may come."""
FAILED = 250
"""Streams that come to nothing, at once. A browser that leaves a page has at most 100 under way."""
FAILED_A_SECOND = 25
EARNED_FAILURES = 0.5
"""Streams more that may come to nothing, for each that came to its end."""


class Budget:
    """An account that fills itself with time, up to a limit."""

    __slots__ = ("_a_second", "_at", "_left", "_most")

    def __init__(self, most: int, a_second: float, now: float) -> None:
        """now: seconds of any clock that goes forward."""
        self._most = most
        self._a_second = a_second
        self._left = float(most)
        self._at = now

    def spend(self, now: float, amount: float = 1.0) -> bool:
        """Whether so much was there; it is taken."""
        left = self._left - amount
        if left < 0:
            left = min(left + (now - self._at) * self._a_second, float(self._most))
            self._at = now
            if left < 0:
                self._left = 0.0
                return False
        self._left = left
        return True

    def earn(self, amount: float) -> None:
        """Pay in."""
        self._left = min(self._left + amount, float(self._most))


class Budgets:
    """What one client has left of both; times are of any clock that goes forward."""

    __slots__ = ("_failures", "_frames")

    def __init__(self, now: float) -> None:
        self._frames = Budget(FRAMES, FRAMES_A_SECOND, now)
        self._failures = Budget(FAILED, FAILED_A_SECOND, now)

    def spend(self, now: float, amount: float = 1.0) -> None:
        """A frame that does nothing came. Raises ConnectionFault."""
        if not self._frames.spend(now, amount):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that do nothing")

    def failed(self, now: float) -> None:
        """A stream came to nothing. Raises ConnectionFault."""
        if not self._failures.spend(now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many requests that come to nothing")

    def answered(self, requests: int, nbytes: int, whole: int) -> None:
        """So many requests came; of their bodies so much was sent, and so many have their whole answer."""
        self._frames.earn(requests + nbytes / EARNED_BYTES)
        self._failures.earn(whole * EARNED_FAILURES)

    def sent(self, nbytes: int) -> None:
        """Bodies were sent."""
        self._frames.earn(nbytes / EARNED_BYTES)

    def over(self) -> None:
        """A stream came to its end."""
        self._failures.earn(EARNED_FAILURES)
