# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`/metrics`: what the processes count, as Prometheus and OpenMetrics read it.

Knows the sections of `PagesOperations.numbers`, and `prometheus-client`, an optional package (the extra `metrics`) that
is imported when it is first asked for. One table says what each number is called there. Every sample has the label
`process`, for a counter that is the sum of processes would fall when one of them is replaced; nothing has a label that
a visitor could choose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from addon.admin.answer_meter import BOUNDS
from addon.admin.component_metrics import QUEUE_FIELDS
from addon.admin.process_metrics import Numbers

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
    Row(_REDIS, "refuses_writes", "redis_refuses_writes", _G, "Whether Redis refused a write a moment ago"),
    Row("Forgejo", "token_refused", "forgejo_token_refused", _G, "Whether Forgejo turned the token down"),
    Row("Forgejo", "clock_skew_seconds", "clock_skew_seconds", _G, "By how much our clock is ahead of Forgejo's"),
    Row("Disk", "access_log_lines_lost", "access_log_lost", _C, "Lines of the access log that could not be written"),
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


class Table(NamedTuple):
    """One metric whose label values are found among the numbers. labels: besides `process`; of: its samples."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]
    of: Callable[[Mapping[str, Any]], Iterable[tuple[Sequence[str], float]]]


def _each(field: str) -> Callable[[Mapping[str, Any]], Iterable[tuple[Sequence[str], float]]]:
    """A mapping of one label's values to numbers."""
    return lambda meters: (([name], float(value)) for name, value in meters.get(field, {}).items())


def _column(field: str, place: int) -> Callable[[Mapping[str, Any]], Iterable[tuple[Sequence[str], float]]]:
    """The same where each value has several numbers."""
    return lambda meters: (([name], float(values[place])) for name, values in meters.get(field, {}).items())


def _outcomes(field: str) -> Callable[[Mapping[str, Any]], Iterable[tuple[Sequence[str], float]]]:
    """What calls came to, by kind."""
    return lambda meters: (
        ([kind, outcome], float(count))
        for kind, told in meters.get(field, {}).items()
        for outcome, count in told["outcomes"].items()
    )


_QUEUES = {field: _column("queues", place) for place, field in enumerate(QUEUE_FIELDS)}
TABLES = (
    Table(
        *("requests", _C, "Requests answered; cache is - where it is not said, passed where it was Forgejo's own host"),
        ("face", "protocol", "status", "cache"),
        lambda meters: ((row[:4], float(row[4])) for row in meters.get("requests", ())),
    ),
    Table("refusals", _C, "Answers that are no page, by why", ("reason",), _each("refusals")),
    Table("forgejo_answers", _C, "What calls to Forgejo came to", ("kind", "outcome"), _outcomes("forgejo_calls")),
    Table("redis_commands", _C, "Commands to Redis; a pipeline is one", ("command",), _column("redis_commands", 0)),
    Table("redis_command_seconds", _C, "What they took", ("command",), _column("redis_commands", 1)),
    Table("redis_command_errors", _C, "Those that failed", ("command",), _column("redis_commands", 2)),
    Table("memory_kind_entries", _G, "Things in the memory cache, by kind", ("kind",), _column("memory", 0)),
    Table("memory_kind_bytes", _G, "What they take", ("kind",), _column("memory", 1)),
    Table("queue_running", _G, "Work that has its turn", ("queue",), _QUEUES["busy"]),
    Table("queue_waiting", _G, "Work that waits for its turn", ("queue",), _QUEUES["waiting"]),
    Table("queue_waits", _C, "Work that had to wait before it began", ("queue",), _QUEUES["waits"]),
    Table("queue_wait_seconds", _C, "How long all of it has waited", ("queue",), _QUEUES["waited_seconds"]),
    Table("queue_refused", _C, "Work refused, for it would have begun too late", ("queue",), _QUEUES["refused"]),
    Table("queue_dropped", _C, "Work dropped, for nobody waited any more", ("queue",), _QUEUES["dropped"]),
    Table("webhooks", _C, "Deliveries of Forgejo's webhook", ("outcome",), _each("webhooks")),
    Table("logins", _C, "Passwords of sites that were tried", ("outcome",), _each("logins")),
    Table("domains", _G, "Custom domains when their sites were settled last", ("state",), _each("domains")),
    Table(
        *("certificate_expiry_timestamp_seconds", _G, "When certificates end, as seconds since 1970", ("file",)),
        _each("certificates"),
    ),
    Table(
        *("forgejo_breaker_open", _G, "Whether calls to Forgejo fail at once, for it did not answer", ()),
        lambda meters: [((), float(meters.get("forgejo_breaker_open", False)))],
    ),
)
_HISTOGRAMS = (
    ("answer_duration_seconds", "How long answers took that memory alone could not give", "cache", "durations", None),
    (
        "forgejo_call_duration_seconds",
        "How long calls to Forgejo took, their turn included",
        "kind",
        "forgejo_calls",
        None,
    ),
    ("redis_trip_duration_seconds", "How long jobs at Redis took, with the wait for a thread", "", "redis_jobs", "job"),
    ("push_to_seen_seconds", "From the webhook to the look that saw the push", "", "pushes", "push"),
)
"""Name, help, label, field of the meters; and where there is no label, the one kind that there is."""


def _meters(every: Sequence[Numbers]) -> Iterator[Metric]:
    """What has labels besides the process."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    for table in TABLES:
        kind = CounterMetricFamily if table.kind == _C else GaugeMetricFamily
        family: Any = kind(PREFIX + table.name, table.help, labels=["process", *table.labels])
        for numbers in every:
            for values, number in table.of(numbers["meters"]):
                family.add_metric([str(numbers["process"]["number"]), *values], number)
        yield family
    for name, help_, label, field, only in _HISTOGRAMS:
        labels = ["process", *([label] if label else [])]
        durations = HistogramMetricFamily(PREFIX + name, help_, labels=labels)
        for numbers in every:
            meters: Any = numbers["meters"]
            for kind_, told in meters.get(field, {}).items():
                if only in (None, kind_):
                    bounds = [*map(str, BOUNDS), "+Inf"]
                    buckets = list(zip(bounds, accumulate(told["buckets"])))
                    values = [str(numbers["process"]["number"]), *([kind_] if label else [])]
                    durations.add_metric(values, buckets, told["seconds"])
        yield durations


def _number(value: object) -> float:
    """A number as it is; of a state, whether all is well."""
    return float(value) if isinstance(value, int | float) else float(value == "answers")
