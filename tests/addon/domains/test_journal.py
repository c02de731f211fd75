# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Changes of domains on a cluster by somebody who dies, sleeps, or meets another, between any two of his steps."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

import resp
from addon.domains import journal
from addon.domains.journal import NAME, Step
from addon.shared.round_trips import NoAnswer, RoundTrips
from addon.shared.signatures import RecordKey
from tests.addon.domains.conftest import MakeStore
from tests.addon.domains.test_store import HOST, taking
from tests.resp.fleets import Cluster
from tests.resp.servers import Server
from tests.waiting import wait_until

STEPS = [Step("custom_domain:new", b"-", b"=alice:blog", 0), Step("old", b"=1", b"-", 0), Step("kept", b"=1", b"=2", 0)]


class Mortal(RoundTrips):
    """Ends after so many trips, as a process that is killed would."""

    def __init__(self, client: resp.Client, trips: int, seconds: float = 30) -> None:
        super().__init__(
            client, time.monotonic() + seconds, life=1, largest_file=1, touched=set(), record_key=RecordKey(b"k")
        )
        self.lives = trips

    def run(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        if self.lives == 0:
            raise NoAnswer
        self.lives -= 1
        return super().run(commands)


@pytest.fixture
def cluster(started: Callable[[str], Server | Cluster]) -> Cluster:
    found = started("cluster")
    assert isinstance(found, Cluster)
    found.ask("SET", "old", "1")
    found.ask("SET", "kept", "1")
    return found


@pytest.fixture
def client(cluster: Cluster) -> resp.Client:
    return resp.Client.from_url(cluster.url)


def pass_turn(cluster: Cluster) -> None:
    """Let so much time go by that whoever has the turn has it no more."""
    entry = cluster.ask("GET", NAME)
    assert isinstance(entry, bytes)
    cluster.ask("SET", NAME, re.sub(rb'"until":[0-9]+', b'"until":1000', entry))


def changed(trips: RoundTrips) -> bool:
    entry = journal.begin(trips)
    return entry is not None and journal.carry_out(trips, entry, STEPS)


def values(cluster: Cluster) -> list[Any]:
    return [cluster.ask("GET", name) for name in ("custom_domain:new", "old", "kept")]


BEFORE, AFTER = [None, b"1", b"1"], [b"alice:blog", None, b"2"]


def test_a_change_is_carried_out_and_leaves_nothing_behind(cluster: Cluster, client: resp.Client) -> None:
    assert changed(Mortal(client, 99))
    assert values(cluster) == AFTER
    assert cluster.ask("EXISTS", NAME) == 0


@pytest.mark.parametrize("trips", range(1, 5))
async def test_whoever_comes_next_finishes_what_was_begun_and_forgets_what_was_not(
    cluster: Cluster, client: resp.Client, store_of: MakeStore, trips: int
) -> None:
    with pytest.raises(NoAnswer):
        changed(Mortal(client, trips))
    pass_turn(cluster)
    assert await store_of(cluster, redisTimeout="30s").change(taking(HOST, "bob:site")) is True
    assert values(cluster) == (BEFORE if trips == 1 else AFTER)  # the second trip says what is to be done
    assert cluster.ask("GET", f"custom_domain:{HOST}") == b"bob:site"
    assert cluster.ask("EXISTS", NAME) == 0


def test_who_sleeps_through_his_turn_changes_nothing_when_he_wakes(
    cluster: Cluster, client: resp.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "TURN", 0.0)
    sleeper = Mortal(client, 99)
    entry = journal.begin(sleeper)
    assert entry is not None
    monkeypatch.setattr(journal, "CLOCKS_DIFFER", 0.0)
    turn = cluster.ask("GET", NAME)
    assert isinstance(turn, bytes)
    end = int(re.findall(rb'"until":([0-9]+)', turn)[0])
    wait_until(lambda: time.time() * 1000 > end + 1, "the end of the turn by the clock that the servers have, too")
    with pytest.raises(NoAnswer):
        journal.carry_out(sleeper, entry, STEPS)
    assert values(cluster) == BEFORE


def test_who_sleeps_while_another_takes_over_has_no_turn_any_more(cluster: Cluster, client: resp.Client) -> None:
    sleeper, other = Mortal(client, 99), Mortal(client, 99)
    entry = journal.begin(sleeper)
    assert entry is not None
    pass_turn(cluster)
    mine = journal.turn(other)
    assert journal.carry_out(sleeper, entry, STEPS) is False
    assert values(cluster) == BEFORE
    journal.end(sleeper, entry)
    assert cluster.ask("GET", NAME) == mine


def test_a_turn_is_nobody_elses_and_who_has_too_little_time_left_takes_none(
    cluster: Cluster, client: resp.Client
) -> None:
    entry = journal.begin(Mortal(client, 99))
    assert entry is not None
    assert journal.begin(Mortal(client, 99)) is None
    with pytest.raises(NoAnswer):
        journal.turn(Mortal(client, 99, seconds=0.3))
    assert cluster.ask("GET", NAME) == entry
    journal.end(Mortal(client, 99), entry)
    with pytest.raises(NoAnswer):
        journal.turn(Mortal(client, 99, seconds=0.01))
    assert cluster.ask("EXISTS", NAME) == 0


@pytest.mark.parametrize(
    "found",
    [
        b"",
        b"nonsense",
        b'{"until":1,"steps":7}',
        b'{"until":1,"steps":[["a","-","=b",-1]]}',
        b'{"until":1,"steps":[["a",1,2,3]]}',
        b'{"until":1' + b"[" * 5000,
        b'{"until":99999999999999999999999,"steps":[]}',
        b"\xff\xfe",
    ],
)
async def test_what_cannot_be_a_change_is_in_nobodys_way(cluster: Cluster, store_of: MakeStore, found: bytes) -> None:
    cluster.ask("SET", NAME, found)
    assert await store_of(cluster, redisTimeout="30s").change(taking(HOST, "bob:site")) is True
    assert cluster.ask("EXISTS", NAME) == 0
    assert cluster.ask("EXISTS", "a") == 0


async def test_a_key_of_another_kind_is_in_nobodys_way(cluster: Cluster, store_of: MakeStore) -> None:
    cluster.ask("LPUSH", NAME, "x")
    assert await store_of(cluster, redisTimeout="30s").change(taking(HOST, "bob:site")) is True
    assert cluster.ask("EXISTS", NAME) == 0
