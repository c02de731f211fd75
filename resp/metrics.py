# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`Metrics`: an observer that counts, and says its numbers in the text format of Prometheus.

Knows that format and nothing of HTTP. Surprising: only so many different names of commands are counted each on its own,
because a name is what a caller sends, and a set of labels must not grow with what somebody makes up.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from resp.endpoint import Endpoint
from resp.errors import RespError
from resp.observer import Observer

#: Upper ends of the classes that durations are counted in, in seconds.
BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_MOST_NAMES: Final = 128
_OTHERS: Final = "OTHER"
_PIPELINE: Final = "PIPELINE"


class Durations(NamedTuple):
    """How often, for how many seconds in all, and how often up to each of `BUCKETS` (not summed up) or for longer."""

    calls: int
    seconds: float
    classes: tuple[int, ...]


class Metrics(Observer):
    """Counts what a client does; give it as `observer`, to one client or to several.

    metrics = resp.Metrics()
    client = resp.Client(observer=metrics)
    print(metrics.prometheus("cache_redis"))
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._durations: dict[str, list[float]] = {}
        self._errors: dict[tuple[str, str], int] = {}
        self._events: dict[str, int] = dict.fromkeys(("connections", "failed", "moved", "invalidations"), 0)
        self._waits = [0.0] * (len(BUCKETS) + 3)

    def command(self, name: str, seconds: float, error: RespError | None) -> None:
        with self._lock:
            if name not in self._durations and len(self._durations) >= _MOST_NAMES:
                name = _OTHERS
            _count(self._durations.setdefault(name, [0.0] * (len(BUCKETS) + 3)), seconds)
            if error is not None:
                # Codes are the server's to choose, types are ours.
                kind = type(error).__name__
                self._errors[name, kind] = self._errors.get((name, kind), 0) + 1

    def batch(self, names: Sequence[str], seconds: float, error: RespError | None) -> None:
        self.command(_PIPELINE, seconds, error)

    def connected(self, endpoint: Endpoint, seconds: float) -> None:
        self._add("connections")

    def failed(self, endpoint: Endpoint, error: BaseException) -> None:
        self._add("failed")

    def moved(self, before: Endpoint, after: Endpoint) -> None:
        self._add("moved")

    def invalidated(self, key: bytes | None) -> None:
        self._add("invalidations")

    def waited(self, endpoint: Endpoint, seconds: float) -> None:
        with self._lock:
            _count(self._waits, seconds)

    def _add(self, event: str) -> None:
        with self._lock:
            self._events[event] += 1

    # ---- telling -------------------------------------------------------------------------------------------------

    def commands(self) -> dict[str, Durations]:
        """For each command; pipelines and transactions count as "PIPELINE"."""
        with self._lock:
            return {name: _durations(row) for name, row in self._durations.items()}

    def errors(self) -> dict[tuple[str, str], int]:
        """How often a command failed, by its name and the type of the exception."""
        with self._lock:
            return dict(self._errors)

    def waits(self) -> Durations:
        """For calls that had to wait for a connection."""
        with self._lock:
            return _durations(self._waits)

    def prometheus(self, prefix: str = "resp") -> str:
        """All numbers as Prometheus reads them; `prefix` begins every name."""
        return "".join(f"{line}\n" for line in self._lines(prefix))

    def _lines(self, prefix: str) -> Iterator[str]:
        with self._lock:
            events = dict(self._events)
        name = f"{prefix}_command_seconds"
        yield f"# TYPE {name} histogram"
        for command, durations in sorted(self.commands().items()):
            yield from _histogram(name, f'command="{_label(command)}"', durations)
        name = f"{prefix}_command_errors_total"
        yield f"# TYPE {name} counter"
        for (command, kind), count in sorted(self.errors().items()):
            yield f'{name}{{command="{_label(command)}",error="{kind}"}} {count}'
        name = f"{prefix}_wait_seconds"
        yield f"# TYPE {name} histogram"
        yield from _histogram(name, "", self.waits())
        for event, count in events.items():
            what = {"failed": "connections_failed", "moved": "failovers"}.get(event, event)
            yield f"# TYPE {prefix}_{what}_total counter"
            yield f"{prefix}_{what}_total {count}"


def _count(row: list[float], seconds: float) -> None:
    """A row: count, sum, then one number for each bucket and one for what is longer."""
    row[0] += 1
    row[1] += seconds
    row[2 + bisect_left(BUCKETS, seconds)] += 1


def _durations(row: list[float]) -> Durations:
    return Durations(int(row[0]), row[1], tuple(map(int, row[2:])))


def _histogram(name: str, labels: str, durations: Durations) -> Iterator[str]:
    comma = "," if labels else ""
    total = 0
    for end, count in zip((*map(str, BUCKETS), "+Inf"), durations.classes):
        total += count
        yield f'{name}_bucket{{{labels}{comma}le="{end}"}} {total}'
    braces = f"{{{labels}}}" if labels else ""
    yield f"{name}_sum{braces} {durations.seconds:.6f}"
    yield f"{name}_count{braces} {durations.calls}"


def _label(text: str) -> str:
    """A name of a command, which may be anything, as it may stand between quotation marks."""
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in text)
