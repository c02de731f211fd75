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
    Row("process", "open_files_limit", "process_max_fds", _G, "Limit of open file descriptors"),
    Row("process", "garbage_collections", "gc_collections", _C, "Runs of Python's garbage collector"),
    Row(
        *("process", "event_loop_lag_ms", "event_loop_lag_seconds", _G),
        "Delay of the event loop at the last beat",
        scale=1e-3,
    ),
    Row(
        *("process", "worst_event_loop_lag_ms", "event_loop_lag_max_seconds", _G),
        "Longest delay of the event loop within the last minute",
        scale=1e-3,
    ),
    Row("process", "event_loop_stalls", "event_loop_stalls", _C, "Delays of the event loop of 100 ms or more"),
    Row("Requests", "open_connections", "connections", _G, "Connections of clients", "state", "open"),
    Row("Requests", "busy_connections", "connections", _G, "Connections of clients", "state", "busy"),
    Row("Requests", "handed_to_mitmproxy", "connections_handed_over", _C, "Connections handed over to mitmproxy"),
    Row("Requests", "faults", "faults", _C, "Internal errors while a connection was served; the log has each"),
    Row("Requests", "prepared_answers", "prepared_answers", _G, "Prepared answers in memory"),
    Row("Requests", "prepared_answers_bytes", "prepared_answers_bytes", _G, "Size of the prepared answers in memory"),
    Row("Memory", "used_bytes", "memory_cache_bytes", _G, "Size of the memory cache"),
    Row("Memory", "limit_bytes", "memory_cache_limit_bytes", _G, "Size limit of the memory cache"),
    Row("Memory", "entries", "memory_cache_entries", _G, "Entries in the memory cache"),
    Row("Memory", "hits", "memory_cache_hits", _C, "Look-ups that the memory cache answered"),
    Row("Memory", "misses", "memory_cache_misses", _C, "Look-ups that the memory cache could not answer"),
    Row("Memory", "evictions", "memory_cache_evictions", _C, "Entries evicted from the memory cache"),
    Row("Memory", "sites", "sites", _G, "Sites in memory"),
    Row("Forgejo", "state", "forgejo_up", _G, "Whether Forgejo answered the last call"),
    Row("Forgejo", "calls", "forgejo_calls", _C, "Requests sent to Forgejo"),
    Row(_REDIS, "state", "redis_up", _G, "Whether Redis answers"),
    Row(_REDIS, "client_tracking", "redis_tracking", _G, "Whether Redis reports changes (client tracking)"),
    Row(_REDIS, "round_trips", "redis_round_trips", _C, "Round trips to Redis"),
    Row(_REDIS, "connections_in_use", "redis_connections", _G, "Connections to Redis", "state", "in use"),
    Row(_REDIS, "connections_idle", "redis_connections", _G, "Connections to Redis", "state", "idle"),
    Row(_REDIS, "connections_opened", "redis_connections_opened", _C, "Connections made to Redis"),
    Row(_REDIS, "connections_failed", "redis_connections_failed", _C, "Attempts to connect to Redis that failed"),
    Row(_REDIS, "waits_for_a_connection", "redis_connection_waits", _C, "Waits for a free connection to Redis"),
    Row(_REDIS, "refuses_writes", "redis_refuses_writes", _G, "Whether Redis refused a recent write"),
    Row("Forgejo", "token_refused", "forgejo_token_refused", _G, "Whether Forgejo refuses the token"),
    Row("Forgejo", "clock_skew_seconds", "clock_skew_seconds", _G, "Seconds by which this clock is ahead of Forgejo's"),
    Row("Disk", "access_log_lines_lost", "access_log_lost", _C, "Lines of the access log that could not be written"),
    Row(_DOMAINS, "pending_writes", "domains_pending_writes", _G, "Changes of custom domains that wait for Redis"),
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
    yield InfoMetricFamily(f"{PREFIX}build", "Version of the pages server", value={"version": str(own["version"])})
    yield GaugeMetricFamily(f"{PREFIX}processes", "Processes that are configured", value=_number(own["processes"]))
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
        *("requests", _C, "Requests answered; cache is - where none was involved, passed for Forgejo's own host"),
        ("face", "protocol", "status", "cache"),
        lambda meters: ((row[:4], float(row[4])) for row in meters.get("requests", ())),
    ),
    Table("refusals", _C, "Requests that got no page, by reason", ("reason",), _each("refusals")),
    Table("forgejo_answers", _C, "Calls to Forgejo, by outcome", ("kind", "outcome"), _outcomes("forgejo_calls")),
    Table(
        "redis_commands",
        _C,
        "Commands to Redis; a pipeline counts as one",
        ("command",),
        _column("redis_commands", 0),
    ),
    Table("redis_command_seconds", _C, "Time spent in commands to Redis", ("command",), _column("redis_commands", 1)),
    Table("redis_command_errors", _C, "Commands to Redis that failed", ("command",), _column("redis_commands", 2)),
    Table("memory_kind_entries", _G, "Entries in the memory cache, by kind", ("kind",), _column("memory", 0)),
    Table("memory_kind_bytes", _G, "Size of the memory cache, by kind", ("kind",), _column("memory", 1)),
    Table("queue_running", _G, "Jobs that are running", ("queue",), _QUEUES["busy"]),
    Table("queue_waiting", _G, "Jobs that wait in a queue", ("queue",), _QUEUES["waiting"]),
    Table("queue_waits", _C, "Jobs that had to wait before they began", ("queue",), _QUEUES["waits"]),
    Table("queue_wait_seconds", _C, "Time that jobs have waited in total", ("queue",), _QUEUES["waited_seconds"]),
    Table("queue_refused", _C, "Jobs refused because they would have begun too late", ("queue",), _QUEUES["refused"]),
    Table("queue_dropped", _C, "Jobs dropped because nobody waited for them any more", ("queue",), _QUEUES["dropped"]),
    Table("webhooks", _C, "Webhook deliveries from Forgejo, by outcome", ("outcome",), _each("webhooks")),
    Table("logins", _C, "Attempts to log in with a site's password, by outcome", ("outcome",), _each("logins")),
    Table("domains", _G, "Custom domains, by state at the last check of their site", ("state",), _each("domains")),
    Table(
        *("certificate_expiry_timestamp_seconds", _G, "Expiry of certificates, in seconds since 1970", ("file",)),
        _each("certificates"),
    ),
    Table(
        *("forgejo_breaker_open", _G, "Whether the circuit breaker for Forgejo is open: calls fail at once", ()),
        lambda meters: [((), float(meters.get("forgejo_breaker_open", False)))],
    ),
)
_HISTOGRAMS = (
    ("answer_duration_seconds", "Duration of requests that memory alone could not answer", "cache", "durations", None),
    (
        "forgejo_call_duration_seconds",
        "Duration of calls to Forgejo, including the wait in the queue",
        "kind",
        "forgejo_calls",
        None,
    ),
    (
        "redis_trip_duration_seconds",
        "Duration of jobs at Redis, with the wait for a thread",
        "",
        "redis_jobs",
        "job",
    ),
    ("push_to_seen_seconds", "Time from the webhook delivery until the push was seen", "", "pushes", "push"),
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
