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


def test_what_connections_may_have_is_what_the_others_leave() -> None:
    """160 for files and the like, two for each call to Forgejo, and Redis's own; a quarter at least, and sixteen."""
    others = 160 + 2 * SETTINGS.forgejo_connections + SETTINGS.redis_max_connections
    assert most_connections(65_536, SETTINGS) == 65_536 - others
    least = 4 * others // 3
    assert most_connections(least + 40, SETTINGS) == least + 40 - others
    assert most_connections(others, SETTINGS) == others // 4
    assert most_connections(65, SETTINGS) == 16
    assert most_connections(68, SETTINGS) == 17


@pytest.mark.parametrize(("idle", "go"), [(1, 1), (63, 1), (64, 1), (127, 1), (128, 2), (192, 3)])
def test_one_in_sixty_four_goes_at_one_time(idle: int, go: int) -> None:
    population = Population(idle, 0, nobody)
    connections = [Connection(float(idle - number)) for number in range(idle)]
    assert population.admit("192.0.2.1", idle, lambda: connections)
    assert [each.cut for each in connections] == [False] * (idle - go) + [True] * go
    assert (population.evicted, population.refused) == (go, 0)


def test_there_is_room_up_to_the_last_place() -> None:
    population = Population(3, 0, nobody)
    assert population.admit("192.0.2.1", 2, list)
    assert not population.admit("192.0.2.1", 3, list)
    assert not population.admit("192.0.2.1", 4, list)
    assert (population.refused, population.evicted, population.of("192.0.2.1")) == (2, 0, 1)


def test_who_has_no_address_is_let_in_and_counts_for_nobody() -> None:
    population = Population(10, 1, nobody)
    for _ in range(3):
        assert population.admit("", 0, list)
    population.lost("")
    assert population._counts == {}
    population.lost("192.0.2.1")
    assert population._counts == {}
    assert population.admit("192.0.2.1", 0, list)
    assert population._counts == {"192.0.2.1": 1}
    population.lost("192.0.2.1")
    assert population._counts == {}
    assert Population(10, 0, nobody).most == 10


def test_without_a_limit_a_household_may_have_any_number() -> None:
    population = Population(1_000, 0, nobody)
    assert all(population.admit("192.0.2.1", 0, list) for _ in range(500))
    assert population.of("192.0.2.1") == 500
