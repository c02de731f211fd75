# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Several processes told as one, and what Prometheus reads of them."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from addon.admin import metrics
from addon.admin.answer_meter import BOUNDS, HTTP1, HTTP2, LANE, AnswerMeter
from addon.admin.process_metrics import added_up, own_process, shown
from addon.net.call_meter import CallMeter
from addon.process.loop_watch import LoopWatch
from addon.serving.answers import Answer
from addon.web.prepared_answers import NOTHING, About


def meters(meter: AnswerMeter) -> dict[str, Any]:
    """What the parts of a process count, one of each kind."""
    for _ in range(3):
        meter.count(LANE, HTTP2, 200, "HIT", About("alice/blog"))
    meter.count(LANE, HTTP1, 404, "", NOTHING)
    calls = CallMeter()
    calls.measure("tree", "200", 0.03)
    calls.measure("tree", "", 20.0)
    trips = CallMeter()
    trips.measure("job", "200", 0.001)
    pushes = CallMeter()
    pushes.measure("push", "200", 0.2)
    return meter.collect() | {
        "forgejo_calls": calls.collect(),
        "forgejo_breaker_open": True,
        "redis_jobs": trips.collect(),
        "redis_commands": {"GET": [4, 0.5, 1]},
        "memory": {"site": [2, 4096]},
        "queues": {"passwords": [1, 2, 3, 0.25, 4, 5]},
        "webhooks": {"accepted": 6},
        "pushes": pushes.collect(),
        "logins": {"wrong": 7},
        "domains": {"registered": 8},
        "certificates": {"site.pem": 2_000_000_000.0},
    }


def numbers(number: int, *, hits: int = 0, misses: int = 0, **sections: Any) -> dict[str, Any]:
    meter = AnswerMeter()
    meter.measure(Answer(200, [], cache="MISS"), 0.03)
    meter.measure(Answer(404, []), 99.0)
    own = {**own_process(None, LoopWatch()), "number": number, "version": "1.2", "processes": 3}
    return {
        "process": own,
        "meters": meters(meter),
        "Requests": {"answered_by_lane": 10 * (number + 1), "open_connections": 1},
        "Memory": {"hits": hits, "misses": misses, "hit_rate": None, "used_bytes": 100},
        "Forgejo": {"state": "answers", "calls": 2},
        **sections,
    }


def test_counts_are_added_rates_made_anew_and_the_worst_state_counts() -> None:
    away = {"Forgejo": {"state": "no answer: refused", "calls": 1}}
    told = added_up([numbers(0, hits=9, misses=1), numbers(1, hits=0, misses=10, **away)])
    assert told["Requests"] == {"answered_by_lane": 30, "open_connections": 2}
    assert told["Memory"] == {"hits": 9, "misses": 11, "hit_rate": 0.45, "used_bytes": 200}
    assert told["Forgejo"] == {"state": "no answer: refused", "calls": 3}
    assert "process" not in told
    assert "meters" not in told


def test_each_process_has_a_line_for_people() -> None:
    lines = shown(each["process"] for each in (numbers(0), numbers(1)))
    assert list(lines) == ["0", "1"]
    assert "open files, event loop late by" in lines["1"]


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_reads_every_process_by_its_number() -> None:
    body, kind = metrics.exposition([numbers(0), numbers(2)], "")
    assert kind.startswith("text/plain")
    found = samples(body.decode())
    lane = (("cache", "HIT"), ("face", "lane"), ("process", "0"), ("protocol", "HTTP/2"), ("status", "2xx"))
    assert found["pages_requests_total", lane] == 3
    assert found["pages_refusals_total", (("process", "2"), ("reason", "no file"))] == 1
    assert found["pages_forgejo_answers_total", (("kind", "tree"), ("outcome", "no answer"), ("process", "0"))] == 1
    assert found["pages_queue_wait_seconds_total", (("process", "0"), ("queue", "passwords"))] == 0.25
    assert found["pages_queue_refused_total", (("process", "0"), ("queue", "passwords"))] == 4
    assert found["pages_memory_kind_bytes", (("kind", "site"), ("process", "0"))] == 4096
    assert found["pages_redis_command_errors_total", (("command", "GET"), ("process", "0"))] == 1
    assert found["pages_certificate_expiry_timestamp_seconds", (("file", "site.pem"), ("process", "0"))] == 2e9
    assert found["pages_push_to_seen_seconds_count", (("process", "0"),)] == 1
    assert found["pages_logins_total", (("outcome", "wrong"), ("process", "0"))] == 7
    assert not any("alice" in value for _, labels in found for _, value in labels), "no site is a label"
    assert found["pages_processes", ()] == 3
    assert found["pages_processes_answering", ()] == 2
    assert found["pages_forgejo_up", (("process", "0"),)] == 1
    name = "pages_answer_duration_seconds_bucket"
    buckets = [found[name, (("cache", "MISS"), ("le", str(le)), ("process", "0"))] for le in BOUNDS]
    assert buckets == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    assert found["pages_answer_duration_seconds_count", (("cache", "-"), ("process", "0"))] == 1
    assert not any(name.startswith("pages_redis_up") for name, _ in found), "there is no Redis"


def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    body, kind = metrics.exposition([numbers(0)], "application/openmetrics-text;version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_every_metric_has_a_help_and_a_name_of_its_kind() -> None:
    for table in metrics.TABLES:
        assert table.help[0].isupper()
        assert not table.name.endswith("_total"), "which is added to counters"
    for row in metrics.TABLE:
        assert row.help[0].isupper()
        assert not row.name.endswith("_total"), "which is added to counters"
        assert ("_seconds" in row.name) == ("seconds" in row.field or row.scale != 1.0)


def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("prometheus_client"):
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(metrics.NotInstalled, match=r"pip install 'forgejo-pages-mitmproxy\[metrics\]'"):
        metrics.exposition([numbers(0)], "")
