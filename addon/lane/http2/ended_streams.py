# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Streams that are over, and may still be spoken of (RFC 9113 §5.1): what is on its way when a stream ends is no fault.

A stream that we have reset, or answered before its request was complete, may still be sent to; one that both sides have
ended must not. Who was answered early is told to stop a moment later, because some clients forget an answer that comes
together with that.
"""

LINGER_SECONDS = 1.0
"""How long a client may send on after it was answered, before it is told to stop."""
_MOST_RESET = 256
_MOST_SKIPPED = 16


class EndedStreams:
    """State: the numbers passed over, those reset by us, and those answered while the client still sends."""

    __slots__ = ("_lingering", "_most", "_reset", "_skipped")

    def __init__(self, most: int) -> None:
        """most: how many may be answered while their clients still send."""
        self._most = most
        self._skipped: list[tuple[int, int]] = []
        self._lingering: dict[int, float] = {}
        self._reset: dict[int, None] = {}

    def skip(self, first: int, last: int) -> None:
        """These were never opened, and never will be (§5.1.1)."""
        if len(self._skipped) < _MOST_SKIPPED:
            self._skipped.append((first, last))

    def was_skipped(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self._skipped)

    def reset(self, number: int) -> None:
        """We gave it up; the client may not know yet."""
        self._lingering.pop(number, None)
        if len(self._reset) >= _MOST_RESET:
            del self._reset[next(iter(self._reset))]
        self._reset[number] = None

    def linger(self, number: int, now: float) -> int | None:
        """It was answered, and its client still sends; returns one that is to be reset instead."""
        self._lingering[number] = now
        if len(self._lingering) > self._most:
            oldest = next(iter(self._lingering))
            self.reset(oldest)
            return oldest
        return None

    def due(self, now: float) -> list[int]:
        """Those whose client has sent for long enough; they are to be reset."""
        due = [number for number, since in self._lingering.items() if now - since >= LINGER_SECONDS]
        for number in due:
            self.reset(number)
        return due

    def is_expected(self, number: int) -> bool:
        """Whether something may still come."""
        return number in self._reset or number in self._lingering

    def ended(self, number: int) -> None:
        """The client ended its request."""
        self._lingering.pop(number, None)

    def closed(self, number: int) -> None:
        """The client gave it up: nothing more may come."""
        self._lingering.pop(number, None)
        self._reset.pop(number, None)
