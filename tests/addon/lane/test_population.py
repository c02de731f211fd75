# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who may be connected when many want to be: households, all together, and who goes to make room."""

import resource
from dataclasses import dataclass

import pytest

from addon.lane.population import Population, most_connections
from addon.net import file_limit
from addon.settings.schema import Settings

SETTINGS = Settings.from_mapping(
    {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1", "stateDir": "/nowhere"}
)


@dataclass(eq=False)
class Connection:
    idle_since: float | None
    cut: bool = False

    def abort(self) -> None:
        self.cut = True


def nobody(address: str) -> bool:
    return False


def test_a_household_is_one_whatever_its_addresses_are() -> None:
    population = Population(10_000, 5, nobody)
    admitted = [population.admit(f"2001:db8:1:2::{number:x}", 0, list) for number in range(50)]
    assert admitted == [True] * 5 + [False] * 45
    assert population.admit("2001:db8:1:3::1", 0, list)
    assert population.admit("192.0.2.1", 0, list)
    assert population.admit("::ffff:192.0.2.1", 0, list)
    assert population.of("192.0.2.1") == 2
    population.lost("2001:db8:1:2::49")
    assert population.admit("2001:db8:1:2::1", 0, list)
    for number in range(5):
        population.lost(f"2001:db8:1:2:{number}::")
    assert population.of("2001:db8:1:2::1") == 0


def test_a_trusted_proxy_may_have_any_number() -> None:
    population = Population(10_000, 1, lambda address: address == "127.0.0.1")
    assert all(population.admit("127.0.0.1", 0, list) for _ in range(100))


def test_without_room_those_idle_longest_go_and_those_at_work_never() -> None:
    population = Population(300, 0, nobody)
    connections = [Connection(float(number)) for number in range(128)] + [Connection(None) for _ in range(172)]
    assert population.admit("192.0.2.1", 300, lambda: connections)
    assert [number for number, each in enumerate(connections) if each.cut] == [0, 1]
    assert population.evicted == 2
    assert not population.admit("192.0.2.1", 300, lambda: connections[128:])
    assert not any(each.cut for each in connections[128:])
    assert population.refused == 1


@pytest.mark.parametrize(("limit", "least", "most"), [(1024, 512, 900), (65_536, 60_000, 65_536), (100, 16, 100)])
def test_forgejo_redis_and_files_have_a_share_of_the_descriptors(limit: int, least: int, most: int) -> None:
    assert least <= most_connections(limit, SETTINGS) <= most


def test_the_soft_limit_of_files_is_raised_to_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1024, 8192)]
    monkeypatch.setattr(resource, "getrlimit", lambda what: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda what, both: limits.append(both))
    assert file_limit.raised() == 8192
    assert limits[-1] == (8192, 8192)
    assert file_limit.raised() == 8192
    assert len(limits) == 2
