# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which answers were given, to what end, and how long those took that memory alone could not give.

The counts behind `/metrics`, `/status` and `pages sites`. Of a visitor nothing can become a label: it is faces,
protocols, classes of status, cache states and REASONS that are counted, and sites, which are told apart for the
operator alone and in bounded number. The surprise is what is not measured: an answer that is ready takes microseconds,
so all that it costs here is one number counted up, which the answer itself holds (`Tally`).
"""

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple

from addon.serving.answers import Answer, reason_of
from addon.web.prepared_answers import About, Tally

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram's buckets, in seconds."""
LANE, MITMPROXY = "lane", "mitmproxy"
HTTP1, HTTP2 = "HTTP/1", "HTTP/2"
OTHERS: Final = "others"
"""Stands for the sites beyond those that are told apart."""
_MOST_KINDS = 20_000
_MOST_ERRORS = 50
_WHILE, _SOME = 60.0, 20
"""Seconds and answers after which it counts that all were faults."""


class Kind(NamedTuple):
    """What is counted together. status: its class, such as 2xx; cache: `-` where it is not said."""

    face: str
    protocol: str
    status: str
    cache: str
    site: str


class AnswerMeter:
    """State: the counts, and the last errors."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """now: seconds since 1970."""
        self._now = now
        self._tallies: dict[Kind, Tally] = {}
        self._reasons: Counter[str] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._marks: deque[tuple[float, int, int]] = deque([(-_WHILE, 0, 0)], maxlen=2)
        """When it was asked whether all is faults, and how many answers and faults there were by then."""
        self._errors: deque[dict[str, object]] = deque(maxlen=_MOST_ERRORS)

    # What is told here.

    def tally(self, face: str, protocol: str, status: int, cache: str, site: str) -> Tally:
        """What counts answers of one kind."""
        kind = Kind(face, protocol, f"{status // 100}xx", cache or "-", site)
        found = self._tallies.get(kind)
        if found is None:
            if len(self._tallies) >= _MOST_KINDS and site not in ("", OTHERS):
                return self.tally(face, protocol, status, cache, OTHERS)
            found = self._tallies[kind] = Tally()
        return found

    def count(
        self, face: str, protocol: str, status: int, cache: str, about: About, host: str = "", path: str = ""
    ) -> None:
        """An answer was given. host, path: what was asked for, without its query; told to the operator of errors."""
        self.tally(face, protocol, status, cache, about.site).count += 1
        reason = reason_of(status, about)
        if reason:
            self._reasons[reason] += 1
        if status >= 500:
            self._errors.append(
                {
                    "at": round(self._now(), 3),
                    "status": status,
                    "site": about.site,
                    "address": f"{host}{path}"[:300],
                    "reason": reason,
                    "detail": about.detail[:300],
                }
            )

    def measure(self, answer: Answer, seconds: float) -> None:
        """An answer was made that memory alone could not give."""
        cache = answer.cache or "-"
        buckets = self._buckets.setdefault(cache, [0] * (len(BOUNDS) + 1))
        buckets[bisect_left(BOUNDS, seconds)] += 1
        self._seconds[cache] = self._seconds.get(cache, 0.0) + seconds

    # What it tells.

    def only_faults(self, now: float) -> bool:
        """Whether all answers of the last while were faults of ours, and they were some; now: monotonic seconds.

        A while is what has passed since this was asked, but a minute at least and two at most.
        """
        answered, faults = sum(tally.count for tally in self._tallies.values()), self._reasons["fault"]
        if now - self._marks[-1][0] >= _WHILE:
            self._marks.append((now, answered, faults))
        _, before, faults_before = self._marks[0]
        return answered - before >= _SOME and faults - faults_before == answered - before

    def answered(self, face: str) -> int:
        """How many answers a face has given."""
        return sum(tally.count for kind, tally in self._tallies.items() if kind.face == face)

    def sites(self) -> Counter[str]:
        """How many answers each site has given."""
        found: Counter[str] = Counter()
        for kind, tally in self._tallies.items():
            if kind.site:
                found[kind.site] += tally.count
        return found

    def errors(self) -> list[dict[str, object]]:
        """The last answers of 500 and more, the newest first."""
        return list(reversed(self._errors))

    def collect(self) -> dict[str, object]:
        """All of it but the sites, for JSON.

        requests: face, protocol, class of status, cache state, and how many. refusals: by reason. durations: by cache
        state, how many answers took up to each bound, and the seconds of all.
        """
        requests: Counter[tuple[str, str, str, str]] = Counter()
        for kind, tally in self._tallies.items():
            requests[kind[:4]] += tally.count
        durations = {
            cache: {"buckets": list(buckets), "seconds": round(self._seconds[cache], 6)}
            for cache, buckets in self._buckets.items()
        }
        return {
            "requests": [[*kind, count] for kind, count in requests.items()],
            "refusals": dict(self._reasons),
            "durations": durations,
        }
