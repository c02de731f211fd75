# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What each thing that breaks makes of the health of a component, since when, and that a remedy is beside it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from addon.admin.component_health import GREEN, RED, YELLOW, HealthMonitor, as_json, health_of
from tests.addon.admin.test_process_metrics import numbers

NOW = 1_900_000_000.0
DAY = 86_400.0
QUIET = {"faults": 0.0, "silent": 0.0}


def well() -> list[dict[str, Any]]:
    """Three processes of which nothing bad is to be said."""
    one = numbers(0) | {
        "Forgejo": {"state": "answers", "calls": 1, "token_refused": False, "clock_skew_seconds": 0.4},
        "Redis or Valkey": {"state": "answers", "client_tracking": True, "refuses_writes": False},
        "Custom domains": {"pending_writes": 0},
        "Webhook": {"accepted_at": NOW - 60, "wrong_at": NOW - 120},
        "Proxy in front": {"silent": 0},
        "Disk": {"access_log": "", "state_dir": "", "access_log_lines_lost": 0},
    }
    one["Requests"]["faults"] = 0
    one["meters"]["certificates"] = {"site.pem": NOW + 60 * DAY}
    one["process"] |= {"open_files": 10, "open_files_limit": 1000, "worst_event_loop_lag_ms": 3.0}
    each = [deepcopy(one) for _ in range(3)]
    for number, process in enumerate(each):
        process["process"]["number"] = number
    return each


BROKEN: list[tuple[str, str, Any, str, str, str]] = [
    ("Forgejo", "state", "no answer: refused", "Forgejo", RED, "no answer: refused"),
    ("Forgejo", "token_refused", True, "Forgejo", YELLOW, "refuses forgejoToken"),
    ("Forgejo", "clock_skew_seconds", -3600.0, "Clock", YELLOW, "3600 s behind"),
    ("Redis or Valkey", "state", "away", "Redis", YELLOW, "gives no answer"),
    ("Redis or Valkey", "refuses_writes", True, "Redis", YELLOW, "refuses writes"),
    ("Redis or Valkey", "client_tracking", False, "Redis", YELLOW, "does not report changes"),
    ("Custom domains", "pending_writes", 5, "Domains", YELLOW, "5 changes wait"),
    ("Webhook", "wrong_at", NOW - 5, "Webhook", YELLOW, "wrong signature"),
    ("Disk", "access_log", "no space", "Access log", YELLOW, "no space"),
    ("Disk", "state_dir", "no room", "stateDir", YELLOW, "no room"),
    ("process", "open_files", 850, "File descriptors", YELLOW, "850 of 1000"),
    ("process", "open_files", 990, "File descriptors", RED, "990 of 1000"),
    ("process", "worst_event_loop_lag_ms", 2500.0, "Processes", YELLOW, "2.5 s"),
    ("meters", "certificates", {"old.pem": NOW - 1}, "Certificates", RED, "old.pem has expired"),
    ("meters", "certificates", {"a.pem": NOW + 9 * DAY, "b.pem": NOW + 50 * DAY}, "Certificates", YELLOW, "a.pem ends"),
]


@pytest.mark.parametrize(("section", "field", "value", "part", "colour", "says"), BROKEN)
def test_what_breaks_is_seen_with_what_to_do(
    section: str, field: str, value: Any, part: str, colour: str, says: str
) -> None:
    each = well()
    each[1][section] = {**each[1][section], field: value}
    found = {component.part: component for component in health_of(each, NOW, QUIET)}
    assert found[part].colour == colour
    assert says in found[part].says
    assert len(found[part].remedy) > 30
    others = [component for component in found.values() if component.part != part]
    assert all(component.colour == GREEN for component in others), others


def test_where_all_is_well_all_is_green_and_nothing_is_to_be_done() -> None:
    found = health_of(well(), NOW, QUIET)
    assert len(found) >= 6
    assert {(component.colour, component.remedy) for component in found} == {(GREEN, "")}
    assert all(set(each) == {"light", "says", "since"} for each in as_json(found).values())


@pytest.mark.parametrize(("left", "colour"), [(2, YELLOW), (1, RED)])
def test_a_process_that_does_not_answer_is_missed(left: int, colour: str) -> None:
    (component,) = [component for component in health_of(well()[:left], NOW, QUIET) if component.part == "Processes"]
    assert (component.colour, component.says) == (colour, f"{left} of 3 answer")


def test_without_a_redis_it_is_no_component() -> None:
    each = well()
    for process in each:
        process["Redis or Valkey"] = {"state": "none"}
    assert "Redis" not in {component.part for component in health_of(each, NOW, QUIET)}


async def test_since_when_is_remembered_until_the_colour_changes() -> None:
    now = [NOW]

    async def every() -> list[dict[str, Any]]:
        return well()

    health = HealthMonitor(every, lambda: now[0])

    def forgejo(each: list[dict[str, Any]]) -> tuple[str, float]:
        (component,) = [component for component in health.check(each) if component.part == "Forgejo"]
        return component.colour, component.since

    assert forgejo(well()) == (GREEN, NOW)
    now[0] += 100
    assert forgejo(well()) == (GREEN, NOW)
    broken = well()
    broken[0]["Forgejo"] = {**broken[0]["Forgejo"], "state": "no answer: hung up"}
    assert forgejo(broken) == (RED, NOW + 100)
    now[0] += 50
    broken[0]["Forgejo"] = {**broken[0]["Forgejo"], "state": "no answer: refused"}
    assert forgejo(broken) == (RED, NOW + 100)
    assert forgejo(well()) == (GREEN, NOW + 150)


def test_what_is_only_counted_is_yellow_for_an_hour_after_it_has_grown() -> None:
    now = [NOW]
    health = HealthMonitor(lambda: None, lambda: now[0])  # type: ignore[arg-type, return-value]  # which it is not asked
    each = well()

    def parts() -> set[str]:
        return {component.part for component in health.check(each) if component.colour == YELLOW}

    assert parts() == set()
    each[2]["Requests"]["faults"] = 1
    each[0]["Proxy in front"]["silent"] = 3
    assert parts() == {"Faults", "Proxy in front"}
    now[0] += 3599
    each[0]["Proxy in front"]["silent"] = 4
    assert parts() == {"Faults", "Proxy in front"}
    now[0] += 2
    assert parts() == {"Proxy in front"}
    del each[0]  # a process was replaced: fewer is no growth
    now[0] += 3600
    assert "Proxy in front" not in parts()
