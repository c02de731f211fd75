# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How long answers take that memory alone could not give, by what they came to: the counts behind `/metrics`.

Knows answers and no request, so nothing of a visitor can end up in a label. The surprise is what is not here: an answer
out of memory takes microseconds, and to measure it would cost as much as to make it; the lane counts those.
"""

from bisect import bisect_left
from collections import Counter

from addon.serving.answers import Answer

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram's buckets, in seconds."""


class AnswerMeter:
    """State: the counts."""

    def __init__(self) -> None:
        self._answers: Counter[str] = Counter()
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0

    def measure(self, answer: Answer, seconds: float) -> None:
        """An answer was made."""
        self._answers[f"{answer.status // 100}xx {answer.cache or '-'}"] += 1
        self._buckets[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds

    def told(self) -> dict[str, object]:
        """All of it, for JSON. answers: by status class and cache state. buckets: how many took up to each bound."""
        return {"answers": dict(self._answers), "buckets": list(self._buckets), "seconds": round(self._seconds, 6)}
