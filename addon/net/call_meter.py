# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How many calls another server got, of which kind, what came of them and how long they took: counts for `/metrics`.

Whoever calls says of which kind it is; the kinds are to be few, and none may be of a visitor's choice. A call is timed
from the wait for its turn on, as who waits for it sees it.
"""

from bisect import bisect_left
from collections import Counter, defaultdict

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histograms' buckets, in seconds."""


class CallMeter:
    """State: the counts."""

    def __init__(self) -> None:
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def measure(self, kind: str, came_to: str, seconds: float) -> None:
        """A call has ended. came_to: its status, or the name of what it failed with; "" where it was given up."""
        self._outcomes[kind, f"{came_to[0]}xx" if came_to[:1].isdigit() else "no answer"] += 1
        self._buckets.setdefault(kind, [0] * (len(BOUNDS) + 1))[bisect_left(BOUNDS, seconds)] += 1
        self._seconds[kind] += seconds

    def collect(self) -> dict[str, object]:
        """All of it, for JSON: by kind, how many came to what, how many took up to each bound, and the sum of it."""
        return {
            kind: {
                "outcomes": {outcome: count for (of, outcome), count in self._outcomes.items() if of == kind},
                "buckets": list(buckets),
                "seconds": round(self._seconds[kind], 6),
            }
            for kind, buckets in self._buckets.items()
        }
