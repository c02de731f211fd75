# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What the parts of one process count for `/metrics`, in plain values, as they are told from process to process.

Asks each part for its numbers, which costs as much whether there are ten sites or a hundred thousand. All names are of
our making; what a visitor, an owner or a site chose is not among them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from addon.access.control import Access
from addon.admin.answer_meter import AnswerMeter
from addon.admin.push_times import PushTimes
from addon.admin.webhook import Webhook
from addon.domains.dns import Dns
from addon.domains.registry import Registry
from addon.forgejo.client import Forgejo
from addon.library.library import Library
from addon.net.fair_queue import FairQueue
from addon.shared.cache import SharedCache

QUEUE_FIELDS = ("busy", "waiting", "waits", "waited_seconds", "refused", "dropped")


@dataclass(frozen=True, slots=True)
class MeteredComponents:
    """The parts that count. certificates: when each ends, in seconds since 1970, by the name of its file."""

    meter: AnswerMeter
    library: Library
    forgejo: Forgejo
    shared: SharedCache | None
    access: Access
    registry: Registry
    dns: Dns
    webhook: Webhook
    pushes: PushTimes
    certificates: Callable[[], Mapping[str, float]] = dict

    def collect(self) -> dict[str, object]:
        """All that they count."""
        return {
            **self.meter.collect(),
            "forgejo_calls": self.forgejo.meter.collect(),
            "forgejo_breaker_open": self.forgejo.breaker_open,
            "redis_jobs": {} if self.shared is None else self.shared.meter.collect(),
            "redis_commands": _commands(self.shared),
            "memory": {kind: list(held) for kind, held in self.library.memory.kinds().items()},
            "queues": {name: _queue(turns) for name, turns in self._queues().items()},
            "webhooks": dict(self.webhook.outcomes),
            "pushes": self.pushes.meter.collect(),
            "logins": dict(self.access.outcomes),
            "domains": self.registry.states(),
            "certificates": dict(self.certificates()),
        }

    def _queues(self) -> dict[str, FairQueue]:
        parts = (self.forgejo.queues, self.library.blobs.queues, self.access.queues, self.webhook.queues)
        redis = {} if self.shared is None else {"redis": self.shared.turns}
        every = (*parts, self.registry.queues, self.dns.queues, redis)
        return {name: turns for each in every for name, turns in each.items()}


def _queue(turns: FairQueue) -> list[float]:
    """As QUEUE_FIELDS says."""
    return [turns.busy, turns.waiting, turns.waits, round(turns.waited, 6), turns.refused, turns.dropped]


def _commands(shared: SharedCache | None) -> dict[str, list[float]]:
    """Of each command to Redis: how often, how many seconds in all, and how often it failed."""
    if shared is None or shared.metrics is None:
        return {}
    failed: dict[str, int] = {}
    for (name, _), count in shared.metrics.errors().items():
        failed[name] = failed.get(name, 0) + count
    return {
        name: [durations.calls, round(durations.seconds, 6), failed.get(name, 0)]
        for name, durations in shared.metrics.commands().items()
    }
