# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`Metrics` alone: what it counts, in which class, and how it says so to Prometheus."""

import pytest

from resp import ConnectionLost, Endpoint, Metrics, ServerError
from resp.errors import WrongType
from resp.metrics import BUCKETS

HERE = Endpoint()


def test_a_duration_is_counted_in_the_class_that_it_fits_into() -> None:
    metrics = Metrics()
    for seconds in (0.0, 0.0005, 0.0006, 2.5, 2.6, 100.0):
        metrics.command("GET", seconds, None)
    found = metrics.commands()["GET"]
    assert found.calls == 6
    assert found.seconds == pytest.approx(105.1011)
    assert found.classes == (2, 1, *[0] * 9, 1, 2)
    assert len(found.classes) == len(BUCKETS) + 1
    assert list(BUCKETS) == sorted(set(BUCKETS))
    assert metrics.waits() == (0, 0.0, (0,) * 13)
    metrics.waited(HERE, 0.3)
    assert metrics.waits() == (1, 0.3, (*[0] * 9, 1, 0, 0, 0))


def test_errors_are_counted_by_command_and_type() -> None:
    metrics = Metrics()
    for error in (None, WrongType("WRONGTYPE", "x"), WrongType("WRONGTYPE", "x"), ServerError("MINE", "x")):
        metrics.command("GET", 0.1, error)
    metrics.batch(["GET", "SET"], 0.1, ConnectionLost("x"))
    assert metrics.errors() == {("GET", "WrongType"): 2, ("GET", "ServerError"): 1, ("PIPELINE", "ConnectionLost"): 1}
    assert {name: found.calls for name, found in metrics.commands().items()} == {"GET": 4, "PIPELINE": 1}


def test_names_that_somebody_makes_up_are_counted_together_after_the_first_128() -> None:
    metrics = Metrics()
    for number in range(140):
        metrics.command(f"N{number}", 0.1, ConnectionLost("x"))
    metrics.command("N0", 0.1, None)
    found = metrics.commands()
    assert len(found) == 129
    assert (found["N127"].calls, found["OTHER"].calls, found["N0"].calls) == (1, 12, 2)
    assert metrics.errors()["OTHER", "ConnectionLost"] == 12


def test_all_of_it_is_said_as_prometheus_reads_it() -> None:
    metrics = Metrics()
    metrics.command("SET", 0.001, None)
    metrics.command('G"E\nT', 3.0, ConnectionLost("x"))
    metrics.waited(HERE, 0.5)
    for _ in range(2):
        metrics.connected(HERE, 0.1)
    for _ in range(3):
        metrics.failed(HERE, ConnectionLost("x"))
    for _ in range(4):
        metrics.moved(HERE, HERE)
    for _ in range(5):
        metrics.invalidated(b"k")
    lines = metrics.prometheus("cache").splitlines()
    ends = [*map(str, BUCKETS), "+Inf"]
    assert lines == [
        "# TYPE cache_command_seconds histogram",
        *[f'cache_command_seconds_bucket{{command="G_E_T",le="{end}"}} {int(end == "+Inf")}' for end in ends],
        'cache_command_seconds_sum{command="G_E_T"} 3.000000',
        'cache_command_seconds_count{command="G_E_T"} 1',
        *[f'cache_command_seconds_bucket{{command="SET",le="{end}"}} {int(end != "0.0005")}' for end in ends],
        'cache_command_seconds_sum{command="SET"} 0.001000',
        'cache_command_seconds_count{command="SET"} 1',
        "# TYPE cache_command_errors_total counter",
        'cache_command_errors_total{command="G_E_T",error="ConnectionLost"} 1',
        "# TYPE cache_wait_seconds histogram",
        *[f'cache_wait_seconds_bucket{{le="{end}"}} {int(at >= 9)}' for at, end in enumerate(ends)],
        "cache_wait_seconds_sum 0.500000",
        "cache_wait_seconds_count 1",
        "# TYPE cache_connections_total counter",
        "cache_connections_total 2",
        "# TYPE cache_connections_failed_total counter",
        "cache_connections_failed_total 3",
        "# TYPE cache_failovers_total counter",
        "cache_failovers_total 4",
        "# TYPE cache_invalidations_total counter",
        "cache_invalidations_total 5",
    ]
    assert metrics.prometheus().startswith("# TYPE resp_command_seconds histogram\n")
    assert Metrics().prometheus("x").endswith("x_invalidations_total 0\n")
