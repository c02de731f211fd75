# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a host shows: for how long that is believed, what makes it suspect, and who is asked when nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from addon.domains import resolver
from addon.domains.resolver import Domains, Resolved
from addon.domains.store import NO_ANSWER, NoAnswer
from addon.library.memory import Memory
from addon.shared.domain_mappings import Mapping
from tests.waiting import rounds

HOST = "blog.example"
SITE, OTHER = Mapping("alice", "blog"), Mapping("bob", "site")
NEVER = float("inf")


class Store:
    """Says what a test tells it. answers: the next ones, of which the last stays."""

    shared = True

    def __init__(self, *answers: Mapping | NoAnswer | None) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.meanwhile: Callable[[], object] = lambda: None

    async def get(self, host: str) -> Mapping | NoAnswer | None:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await rounds()
        self.meanwhile()
        return answer


class World:
    """Domains over such a store."""

    def __init__(self, *answers: Mapping | NoAnswer | None) -> None:
        self.store = Store(*answers)
        self.memory: Memory[tuple[str, ...], object] = Memory(1 << 20)
        self.now = 1000.0
        self.live, self.is_away = True, False
        self.domains = Domains(
            self.store,
            self.memory,
            memory_ttl=5.0,
            told=lambda: self.live,
            away=lambda: self.is_away,
            clock=lambda: self.now,
        )

    async def shown(self, host: str = HOST) -> Mapping | NoAnswer | None:
        return (await self.domains.resolve(host)).mapping

    def peeked(self, host: str = HOST) -> bool:
        return self.domains.peek(host) is not None

    def change(self) -> None:
        self.domains.changed(HOST)

    def lose(self) -> None:
        self.domains.everything()


@pytest.mark.parametrize(
    ("answer", "live", "life"),
    [(SITE, True, NEVER), (SITE, False, 5.0), (None, True, 5.0), (None, False, 5.0)],
)
async def test_a_mapping_is_believed_while_a_change_would_be_told_and_a_no_for_seconds(
    answer: Mapping | None, live: bool, life: float
) -> None:
    world = World(answer)
    world.live = live
    found = await world.domains.resolve(HOST)
    assert (found.mapping, found.suspect, found.believed) == (answer, False, 1000.0 + life)
    assert world.domains.good_until(found) == 1000.0 + life
    assert world.domains.peek(HOST) is found
    if life < NEVER:
        world.now += life - 0.1
        assert world.peeked()
        world.now += 0.1
        assert not world.peeked()


async def test_a_no_is_believed_no_longer_than_memory() -> None:
    world = World(None)
    world.live = False
    world.domains._memory_ttl = 1.0
    assert (await world.domains.resolve(HOST)).believed == 1001.0


async def test_what_is_known_is_served_as_it_is_while_redis_is_away() -> None:
    world = World(SITE)
    found = await world.domains.resolve(HOST)
    world.domains.changed(HOST)
    assert not world.peeked()
    world.is_away = True
    kept = world.domains.peek(HOST)
    assert kept is not None
    assert (kept.mapping, kept.suspect) == (SITE, True)
    assert world.domains.good_until(found) == NEVER
    world.store.answers = [NO_ANSWER]
    assert await world.shown() == SITE  # and where it is asked for
    nothing = World(None)
    await nothing.shown()
    nothing.domains.changed(HOST)
    nothing.is_away = True
    assert not nothing.peeked()


async def test_what_was_changed_is_read_again_and_what_was_changed_while_it_was_read_once_more() -> None:
    world = World(SITE, OTHER)
    await world.shown()
    world.domains.changed(HOST)
    world.domains.changed("other.example")
    assert not world.peeked()
    assert await world.shown() == OTHER
    assert world.peeked()
    world = World(SITE, OTHER)
    world.store.meanwhile = lambda: world.domains.changed(HOST) if world.store.asked == 1 else None
    assert await world.shown() == OTHER
    assert (world.store.asked, world.peeked()) == (2, True)
    assert world.domains._changes == {}


async def test_what_changes_again_and_again_is_read_four_times_and_not_believed() -> None:
    for change in (World.change, World.lose):
        world = World(SITE)
        world.store.meanwhile = partial(change, world)
        assert (await world.domains.resolve(HOST)).mapping == SITE
        assert (world.store.asked, world.peeked()) == (4, False)


async def test_when_redis_was_lost_all_is_read_again() -> None:
    world = World(SITE)
    found = await world.domains.resolve(HOST)
    facts = world.domains.facts(found)
    assert [world.memory.get(name) is fact for name, fact in facts] == [True, True]
    assert world.domains.facts(found) == facts
    world.domains.everything()
    assert not world.peeked()
    assert [world.memory.get(name) is fact for name, fact in facts] == [True, False]
    await world.shown()
    assert world.peeked()
    nothing = World(None)
    await nothing.shown()
    nothing.domains.everything()
    assert nothing.domains._held(HOST) is None


async def test_of_concurrent_callers_one_asks() -> None:
    world = World(SITE)
    assert await asyncio.gather(*(world.shown() for _ in range(9))) == [SITE] * 9
    assert world.store.asked == 1


# --- hosts of which Redis knows nothing -------------------------------------------------------------------------------


@pytest.mark.parametrize("names_it", [True, False, None])
async def test_a_mapping_that_redis_lost_is_served_on_where_its_site_names_the_host(names_it: bool | None) -> None:
    world = World(SITE, None)
    lost: list[tuple[str, Mapping]] = []

    async def claims(host: str, mapping: Mapping) -> bool:
        assert (host, mapping) == (HOST, SITE)
        return bool(names_it)

    if names_it is not None:
        world.domains.claims = claims
    world.domains.lost = lambda host, mapping: lost.append((host, mapping))
    await world.shown()
    world.domains.changed(HOST)
    assert await world.shown() == (SITE if names_it else None)
    assert lost == ([(HOST, SITE)] if names_it else [])


@pytest.mark.parametrize("answer", [None, NO_ANSWER], ids=["gone", "no answer"])
async def test_what_redis_does_not_say_itself_is_soon_asked_for_again(answer: NoAnswer | None) -> None:
    """Another proxy has released it, and told of that before this one knows the commit that says so."""
    world = World(SITE, answer, None)
    names_it = True

    async def claims(host: str, mapping: Mapping) -> bool:
        return names_it

    world.domains.claims = claims
    await world.shown()
    world.domains.changed(HOST)
    assert await world.shown() == SITE
    names_it = False
    world.now += 0.49
    assert world.peeked()
    world.now += 0.02
    assert not world.peeked()
    assert await world.shown() is None


async def test_of_a_host_that_nobody_has_only_who_seeks_asks_further() -> None:
    world = World(None)
    sought: list[str] = []

    async def finder(host: str) -> Mapping | None:
        sought.append(host)
        return SITE

    world.domains.finder = finder
    found = await world.domains.resolve(HOST, seek=False)
    assert (found.mapping, found.sought, sought) == (None, False, [])
    assert world.domains.peek(HOST, seek=False) is found
    assert world.domains.peek(HOST) is None
    assert await world.shown() == SITE
    assert sought == [HOST]
    assert world.domains.peek(HOST) is not None
    both = World(None)
    both.domains.finder = finder
    found, other = await asyncio.gather(both.domains.resolve(HOST, seek=False), both.domains.resolve(HOST))
    assert (found.mapping, other.mapping) == (None, SITE)  # who came while another looked without


async def test_where_nobody_can_be_asked_a_no_is_a_no() -> None:
    world = World(None)
    await world.domains.resolve(HOST, seek=False)
    assert world.domains.peek(HOST) is not None
    assert world.domains._unknown.keys() == {HOST}
    world.store.answers = [SITE]
    world.domains.changed(HOST)
    assert await world.shown() == SITE
    assert not world.domains._unknown
    world.store.answers = [None]
    world.domains.changed(HOST)
    assert await world.shown() is None
    assert world.memory.get(("domain", HOST)) is None


async def test_a_fault_while_seeking_is_a_no_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    world = World(None)

    async def finder(host: str) -> Mapping | None:
        raise ZeroDivisionError

    world.domains.finder = finder
    assert await world.shown() is None
    assert "resolving the domain blog.example failed" in caplog.text


async def test_strangers_are_forgotten_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolver._MOST_UNKNOWN == 10_000
    monkeypatch.setattr(resolver, "_MOST_UNKNOWN", 2)
    world = World(None)
    for host in ("a", "b", "a", "c"):
        world.domains.changed(host)
        await world.shown(host)
    assert list(world.domains._unknown) == ["a", "c"]


async def test_hosts_take_room_in_memory_by_their_names() -> None:
    world = World(SITE)
    before = world.memory.used
    await world.shown("a" * 10)
    small = world.memory.used - before
    await world.shown("b" * 110)
    assert world.memory.used - before - small == small + 200
    before = world.memory.used
    world.memory.put(("domain", "c" * 10), SITE, 620)
    assert world.memory.used - before == small


# --- a Redis that is silent -------------------------------------------------------------------------------------------


class Loop:
    """The time of the loop, which passes as this says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        loop = asyncio.get_running_loop()
        original = asyncio.sleep

        async def sleep(seconds: float) -> None:
            self.now += seconds
            await original(0)

        monkeypatch.setattr(asyncio, "sleep", sleep)
        monkeypatch.setattr(loop, "time", lambda: self.now)


async def test_one_late_answer_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(NO_ANSWER, NO_ANSWER, SITE, NO_ANSWER)
    Loop(monkeypatch)
    assert await world.shown() == SITE
    assert world.store.asked == 3
    assert world.domains._silent is None


async def test_a_redis_that_is_silent_for_half_a_second_is_asked_once_for_each_host_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(NO_ANSWER)
    loop = Loop(monkeypatch)
    found = await world.domains.resolve(HOST)
    assert (found.mapping, found.believed) == (NO_ANSWER, 1000.5)
    assert 20 <= world.store.asked <= 30
    assert 0.5 <= loop.now < 0.53
    asked = world.store.asked
    await world.shown("other.example")
    assert world.store.asked == asked + 1
    world.store.answers = [None]
    await world.shown("third.example")
    world.store.answers = [NO_ANSWER]
    await world.shown("fourth.example")  # a new silence
    assert world.store.asked > asked + 20


async def test_while_redis_counts_as_away_it_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(NO_ANSWER, SITE)
    loop = Loop(monkeypatch)
    world.is_away = True
    asked: list[int] = []

    def away() -> bool:
        asked.append(world.store.asked)
        return loop.now < 0.3

    world.domains._away = away
    assert await world.shown() == SITE
    assert world.store.asked == 2
    assert 0.3 <= loop.now < 0.33


async def test_a_known_host_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(SITE, NO_ANSWER)
    await world.shown()
    world.domains.changed(HOST)
    loop = Loop(monkeypatch)
    assert await world.shown() == SITE
    assert (world.store.asked, loop.now) == (2, 0.0)
    assert isinstance(world.domains._held(HOST), Resolved)
