# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who may be connected when many want to be: clients, all together, and who goes to make room."""

import resource
from dataclasses import dataclass

import pytest

from addon.lane.connection_limits import ConnectionLimits, most_connections
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


def test_a_client_network_is_one_whatever_its_addresses_are() -> None:
    connection_limits = ConnectionLimits(10_000, 5, nobody)
    admitted = [connection_limits.admit(f"2001:db8:1:2::{number:x}", 0, list) for number in range(50)]
    assert admitted == [True] * 5 + [False] * 45
    assert connection_limits.admit("2001:db8:1:3::1", 0, list)
    assert connection_limits.admit("192.0.2.1", 0, list)
    assert connection_limits.admit("::ffff:192.0.2.1", 0, list)
    assert connection_limits.of("192.0.2.1") == 2
    connection_limits.lost("2001:db8:1:2::49")
    assert connection_limits.admit("2001:db8:1:2::1", 0, list)
    for number in range(5):
        connection_limits.lost(f"2001:db8:1:2:{number}::")
    assert connection_limits.of("2001:db8:1:2::1") == 0


def test_a_trusted_proxy_may_have_any_number() -> None:
    connection_limits = ConnectionLimits(10_000, 1, lambda address: address == "127.0.0.1")
    assert all(connection_limits.admit("127.0.0.1", 0, list) for _ in range(100))


def test_without_room_those_idle_longest_go_and_those_at_work_never() -> None:
    connection_limits = ConnectionLimits(300, 0, nobody)
    connections = [Connection(float(number)) for number in range(128)] + [Connection(None) for _ in range(172)]
    assert connection_limits.admit("192.0.2.1", 300, lambda: connections)
    assert [number for number, each in enumerate(connections) if each.cut] == [0, 1]
    assert connection_limits.evicted == 2
    assert not connection_limits.admit("192.0.2.1", 300, lambda: connections[128:])
    assert not any(each.cut for each in connections[128:])
    assert connection_limits.refused == 1


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
    connection_limits = ConnectionLimits(idle, 0, nobody)
    connections = [Connection(float(idle - number)) for number in range(idle)]
    assert connection_limits.admit("192.0.2.1", idle, lambda: connections)
    assert [each.cut for each in connections] == [False] * (idle - go) + [True] * go
    assert (connection_limits.evicted, connection_limits.refused) == (go, 0)


def test_there_is_room_up_to_the_last_place() -> None:
    connection_limits = ConnectionLimits(3, 0, nobody)
    assert connection_limits.admit("192.0.2.1", 2, list)
    assert not connection_limits.admit("192.0.2.1", 3, list)
    assert not connection_limits.admit("192.0.2.1", 4, list)
    assert (connection_limits.refused, connection_limits.evicted, connection_limits.of("192.0.2.1")) == (2, 0, 1)


def test_who_has_no_address_is_let_in_and_counts_for_nobody() -> None:
    connection_limits = ConnectionLimits(10, 1, nobody)
    for _ in range(3):
        assert connection_limits.admit("", 0, list)
    connection_limits.lost("")
    assert connection_limits._counts == {}
    connection_limits.lost("192.0.2.1")
    assert connection_limits._counts == {}
    assert connection_limits.admit("192.0.2.1", 0, list)
    assert connection_limits._counts == {"192.0.2.1": 1}
    connection_limits.lost("192.0.2.1")
    assert connection_limits._counts == {}
    assert ConnectionLimits(10, 0, nobody).most == 10


def test_without_a_limit_a_client_network_may_have_any_number() -> None:
    connection_limits = ConnectionLimits(1_000, 0, nobody)
    assert all(connection_limits.admit("192.0.2.1", 0, list) for _ in range(500))
    assert connection_limits.of("192.0.2.1") == 500
