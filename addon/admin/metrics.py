# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`/metrics`: what the processes count, as Prometheus and OpenMetrics read it.

Knows the sections of `PagesOperations.numbers`, and `prometheus-client`, an optional package (the extra `metrics`) that
is imported when it is first asked for. One table says what each number is called there. Every sample has the label
`process`, for a counter that is the sum of processes would fall when one of them is replaced; nothing has a label that
a visitor could choose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from addon.admin.answer_meter import BOUNDS
from addon.admin.process_numbers import Numbers

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

PREFIX = "pages_"


class NotInstalled(Exception):
    """Says what to install."""


class Row(NamedTuple):
    """One metric: where its number is, how it is called, and what it means. value: of one label more, `label`."""

    section: str
    field: str
    name: str
    kind: str
    help: str
    label: str = ""
    value: str = ""
    scale: float = 1.0


_C, _G = "counter", "gauge"
_REDIS, _DOMAINS = "Redis or Valkey", "Custom domains"
TABLE = (
    Row("process", "running_seconds", "uptime_seconds", _G, "Seconds since the process began"),
    Row("process", "cpu_seconds", "process_cpu_seconds", _C, "Processor time used"),
    Row("process", "resident_bytes", "process_resident_memory_bytes", _G, "Resident memory"),
    Row("process", "open_files", "process_open_fds", _G, "Open file descriptors, connections among them"),
    Row("process", "open_files_limit", "process_max_fds", _G, "The most file descriptors there may be"),
    Row("process", "garbage_collections", "gc_collections", _C, "Runs of Python's garbage collector"),
    Row("process", "event_loop_lag_ms", "event_loop_lag_seconds", _G, "How late the last heartbeat was", scale=1e-3),
    Row(
        *("process", "worst_event_loop_lag_ms", "event_loop_lag_max_seconds", _G),
        "How late the latest heartbeat of the last minute was",
        scale=1e-3,
    ),
    Row("process", "event_loop_stalls", "event_loop_stalls", _C, "Heartbeats that were late by 100 ms or more"),
    Row("Requests", "answered_by_lane", "requests", _C, "Requests answered", "face", "lane"),
    Row("Requests", "answered_by_mitmproxy", "requests", _C, "Requests answered", "face", "mitmproxy"),
    Row("Requests", "open_connections", "connections", _G, "Connections of clients", "state", "open"),
    Row("Requests", "busy_connections", "connections", _G, "Connections of clients", "state", "busy"),
    Row("Requests", "handed_to_mitmproxy", "connections_handed_over", _C, "Connections given to mitmproxy's handler"),
    Row("Requests", "faults", "faults", _C, "Exceptions while a connection was served, which the log has"),
    Row("Requests", "prepared_answers", "prepared_answers", _G, "Answers held ready as bytes"),
    Row("Requests", "prepared_answers_bytes", "prepared_answers_bytes", _G, "What they take"),
    Row("Memory", "used_bytes", "memory_cache_bytes", _G, "What the memory cache holds"),
    Row("Memory", "limit_bytes", "memory_cache_limit_bytes", _G, "What it may hold"),
    Row("Memory", "entries", "memory_cache_entries", _G, "How many things it holds"),
    Row("Memory", "hits", "memory_cache_hits", _C, "Look-ups that found something"),
    Row("Memory", "misses", "memory_cache_misses", _C, "Look-ups that found nothing"),
    Row("Memory", "evictions", "memory_cache_evictions", _C, "Things dropped to make room"),
    Row("Memory", "sites", "sites", _G, "Sites in memory"),
    Row("Forgejo", "state", "forgejo_up", _G, "Whether Forgejo answered when it was asked last"),
    Row("Forgejo", "calls", "forgejo_calls", _C, "Requests sent to Forgejo"),
    Row(_REDIS, "state", "redis_up", _G, "Whether Redis answers"),
    Row(_REDIS, "client_tracking", "redis_tracking", _G, "Whether Redis tells of changes"),
    Row(_REDIS, "round_trips", "redis_round_trips", _C, "Round trips to Redis"),
    Row(_REDIS, "connections_in_use", "redis_connections", _G, "Connections to Redis", "state", "in use"),
    Row(_REDIS, "connections_idle", "redis_connections", _G, "Connections to Redis", "state", "idle"),
    Row(_REDIS, "connections_opened", "redis_connections_opened", _C, "Connections made to Redis"),
    Row(_REDIS, "connections_failed", "redis_connections_failed", _C, "Attempts to connect to Redis that failed"),
    Row(_REDIS, "waits_for_a_connection", "redis_connection_waits", _C, "Waits for a free connection to Redis"),
    Row(_DOMAINS, "pending_writes", "domains_pending_writes", _G, "Changes of domains that Redis has not got yet"),
)


def exposition(every: Sequence[Numbers], accepted: str) -> tuple[bytes, str]:
    """The metrics of some processes and their content type, in the form that an Accept field asks for.

    Raises NotInstalled.
    """
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
    except ImportError:
        raise NotInstalled(
            "metrics need prometheus-client: pip install 'forgejo-pages-mitmproxy[metrics]', and restart"
        ) from None

    class Processes:
        def collect(self) -> Iterator[Metric]:
            return _families(every)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Processes())
    encode, kind = choose_encoder(accepted)
    return encode(registry), kind


def _families(every: Sequence[Numbers]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    own = every[0]["process"]
    yield InfoMetricFamily(f"{PREFIX}build", "This software", value={"version": str(own["version"])})
    yield GaugeMetricFamily(f"{PREFIX}processes", "Processes that there should be", value=_number(own["processes"]))
    yield GaugeMetricFamily(f"{PREFIX}processes_answering", "Processes that answer", value=len(every))
    made: dict[str, Any] = {}
    for row in TABLE:
        family = made.get(row.name)
        if family is None:
            kind = CounterMetricFamily if row.kind == _C else GaugeMetricFamily
            labels = ["process", *([row.label] if row.label else [])]
            family = made[row.name] = kind(PREFIX + row.name, row.help, labels=labels)
        for numbers in every:
            value = numbers.get(row.section, {}).get(row.field)
            if value is not None and value != "none":
                values = [str(numbers["process"]["number"]), *([row.value] if row.label else [])]
                family.add_metric(values, _number(value) * row.scale)
    yield from made.values()
    yield from _meters(every)


def _meters(every: Sequence[Numbers]) -> Iterator[Metric]:
    """Answers that were not prepared: their counts, and how long they took."""
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    answers = CounterMetricFamily(
        f"{PREFIX}answers", "Answers that had to be made or fetched", labels=["process", "status", "cache"]
    )
    durations = HistogramMetricFamily(
        f"{PREFIX}answer_duration_seconds", "How long these took, up to their first byte", labels=["process"]
    )
    for numbers in every:
        meters: Any = numbers["meters"]
        process = str(numbers["process"]["number"])
        for name, count in meters["answers"].items():
            status, _, cache = name.partition(" ")
            answers.add_metric([process, status, cache], count)
        bounds = [*map(str, BOUNDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(meters["buckets"])))
        durations.add_metric([process], buckets, meters["seconds"])
    yield answers
    yield durations


def _number(value: object) -> float:
    """A number as it is; of a state, whether all is well."""
    return float(value) if isinstance(value, int | float) else float(value == "answers")
