# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How many calls Forgejo got, of which kind, what came of them and how long they took: counts for `/metrics`.

Knows the routes that are asked for and nothing of names in them, so the kinds are a dozen however many sites there are.
A call is timed from the wait for its turn on, as who waits for it sees it.
"""

import re
from bisect import bisect_left
from collections import Counter, defaultdict

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histograms' buckets, in seconds."""
_KINDS = {
    "": "repository",
    "branches": "branch",
    "git/trees": "tree",
    "git/blobs": "blobs",
    "raw": "file",
    "media": "large file",
}
_API = re.compile(r"/api/v1/repos/[^/?]+/[^/?]+/?((?:git/)?[a-z]*)")


def kind_of(target: str) -> str:
    """What a call asks for."""
    found = _API.match(target)
    if found is not None:
        return _KINDS.get(found[1], "other")
    if target.startswith("/api/v1/version"):
        return "version"
    if target.startswith("/api/v1/users/"):
        return "repositories"
    if target == "elsewhere":
        return "large file elsewhere"
    return "file" if "/raw/" in target else "other"


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

    def told(self) -> dict[str, object]:
        """All of it, for JSON: by kind, how many came to what, how many took up to each bound, and the sum of it."""
        return {
            kind: {
                "outcomes": {outcome: count for (of, outcome), count in self._outcomes.items() if of == kind},
                "buckets": list(buckets),
                "seconds": round(self._seconds[kind], 6),
            }
            for kind, buckets in self._buckets.items()
        }
