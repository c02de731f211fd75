# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Plans, and how they are carried out: what is read for them, in how many trips, and what is owed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

import resp
from addon.domains import journal, store, transactions
from addon.domains.rechecks import EVERY, GRACE, Rechecks
from addon.domains.store import NO_ANSWER, DomainStore, StoreAway
from addon.domains.transactions import OTHER_KIND, View, Writes, planned
from addon.shared.cache import SharedCache
from addon.shared.domain_mappings import Mapping
from addon.shared.domain_records import Claim, SiteDomains, record_of
from addon.shared.round_trips import NoAnswer, RoundTrips
from addon.shared.signatures import RecordKey
from tests.addon.conftest import SharedAt
from tests.addon.domains.conftest import MakeStore
from tests.addon.domains.registering import Dns, Word
from tests.addon.domains.test_settling import World
from tests.addon.shared.meddling import set_before_writing, without_scripts
from tests.resp.fleets import Cluster
from tests.resp.servers import Server
from tests.waiting import rounds, until

Place = Server | Cluster
MakeTrips = Callable[[Place], RoundTrips]


@pytest.fixture
async def trips(shared_at: SharedAt) -> MakeTrips:
    def make(place: Place) -> RoundTrips:
        shared = shared_at(place, redisTimeout="60s")
        return RoundTrips(
            shared.client,
            time.monotonic() + 60,
            life=1.0,
            largest_file=1,
            touched=set(),
            record_key=RecordKey(b"k"),
        )

    return make


def writing(**keys: bytes | None) -> Callable[[View], tuple[Writes, str]]:
    """A plan that reads what it writes, and more."""

    def plan(view: View) -> tuple[Writes, str]:
        view.need("read", *keys)
        return keys, "done"

    return plan


# --- plans ------------------------------------------------------------------------------------------------------------


def test_a_plan_is_begun_anew_when_what_it_asked_for_is_read() -> None:
    asked: list[tuple[str, ...]] = []

    def read(names: tuple[str, ...]) -> Iterable[bytes | None]:
        asked.append(names)
        return [name.upper().encode() if name != "none" else None for name in names]

    def plan(view: View) -> tuple[Writes, bytes | None]:
        view.need("a", None, "b", "a")
        view.need("a")
        return {"c": view["b"]}, view["none"]

    view, writes, told = planned(plan, read)
    assert asked == [("a", "b"), ("none",)]
    assert (dict(writes), told, view.values) == ({"c": b"B"}, None, {"a": b"A", "b": b"B", "none": None})


def test_a_plan_that_needs_to_know_ever_more_is_a_fault() -> None:
    asked: list[str] = []

    def plan(view: View) -> tuple[Writes, bytes | None]:
        asked.append(f"name {len(asked)}")
        return {}, view[asked[-1]]

    with pytest.raises(RuntimeError):
        planned(plan, lambda names: [None])
    assert len(asked) == 16


# --- carried out ------------------------------------------------------------------------------------------------------


def test_a_plan_is_carried_out_and_says_what_is_there_then(place: Place, trips: MakeTrips) -> None:
    place.ask("SET", "old", "1")
    place.ask("SET", "read", "2")
    each = trips(place)
    told = transactions.swap(each, writing(old=None, new=b"3", same=None), 0.0)
    assert told == ("done", {"read": b"2", "old": None, "new": b"3", "same": None})
    assert [place.ask("GET", name) for name in ("old", "read", "new")] == [None, b"2", b"3"]
    assert place.ask("PTTL", "new") == -1
    assert place.ask("EXISTS", journal.NAME) == 0


@pytest.mark.parametrize("code", ["OOM", "READONLY", "WRONGTYPE"])
def test_a_swap_that_is_refused_raises_and_is_no_change_by_somebody_else(code: str) -> None:
    refusal = resp.ServerError(code, "no")
    trips = SimpleNamespace(
        clustered=False, run=lambda commands: [None for _ in commands], ask=lambda *command: refusal
    )
    with pytest.raises(resp.ServerError, match=code):
        transactions.swap(trips, writing(new=b"3"), 0.0)  # type: ignore[arg-type]  # as much as it needs


def test_what_is_written_for_a_while_goes_then_and_what_stays_keeps_its_life(place: Place, trips: MakeTrips) -> None:
    place.ask("SET", "read", "2")
    transactions.swap(trips(place), writing(new=b"3"), 100.5)
    left = place.ask("PTTL", "new")
    assert isinstance(left, int)
    assert 60_000 < left <= 100_500
    assert place.ask("PTTL", "read") == -1


def test_a_plan_that_changes_nothing_costs_what_it_reads(server: Place, trips: MakeTrips) -> None:
    each = trips(server)
    assert transactions.swap(each, lambda view: ({}, view["read"]), 0.0) == (None, {"read": None})
    assert each.made == 1
    assert transactions.swap(each, writing(new=b"3"), 0.0) is not None
    assert each.made == 3


def test_a_plan_that_changes_nothing_gives_the_turn_back(started: Callable[[str], Place], trips: MakeTrips) -> None:
    cluster = started("cluster")
    assert transactions.swap(trips(cluster), lambda view: ({}, "nothing"), 0.0) == ("nothing", {})
    assert transactions.swap(trips(cluster), lambda view: ({}, view["read"]), 0.0) == (None, {"read": None})
    assert cluster.ask("EXISTS", journal.NAME) == 0


@pytest.mark.parametrize("kind", ["server", "without scripts"])
@pytest.mark.parametrize("between", [("SET", "read", "x"), ("SET", "new", "x"), ("DEL", "old"), ("SET", "old", "2")])
def test_what_was_changed_in_between_is_planned_anew(
    kind: str, between: tuple[str, ...], server: Place, trips: MakeTrips
) -> None:
    with without_scripts(server) if kind == "without scripts" else contextlib.nullcontext():
        server.ask("SET", "old", "1")
        each = trips(server)
        times = 0

        def plan(view: View) -> tuple[Writes, int]:
            nonlocal times
            view.need("read", "new", "old")
            times += 1
            if times == 1:
                server.ask(*between)
            return {"new": b"%d" % times, "old": None}, times

        assert transactions.swap(each, plan, 0.0) is None
        assert server.ask("GET", "new") == (b"x" if "new" in between else None)
        told = transactions.patiently(each, plan, 0.0)
        assert told[0] == 2
        assert [server.ask("GET", name) for name in ("new", "old")] == [b"2", None]


def test_what_is_changed_while_a_server_without_scripts_writes_is_planned_anew(server: Place, trips: MakeTrips) -> None:
    each = trips(server)
    with without_scripts(server):
        with set_before_writing(each, server, "read", "x"):
            assert transactions.swap(each, writing(new=b"3"), 0.0) is None
        assert server.ask("GET", "new") is None
        assert transactions.swap(each, writing(new=b"3"), 0.0) is not None
        assert transactions.swap(each, lambda view: ({"blind": b"4"}, None), 0.0) is not None
        assert server.ask("MGET", "new", "blind") == [b"3", b"4"]


def test_a_key_of_another_kind_is_told_and_may_be_written_over_but_not_compared(place: Place, trips: MakeTrips) -> None:
    place.ask("LPUSH", "list", "x")
    each = trips(place)
    assert transactions.read(each, ["list", "none"]) == [OTHER_KIND, None]
    told = transactions.swap(each, lambda view: ({"new": b"1"}, view["list"]), 0.0)
    assert told == (OTHER_KIND, {"list": OTHER_KIND, "new": b"1"})
    assert place.ask("LRANGE", "list", 0, -1) == [b"x"]


def test_a_step_is_told_byte_for_byte() -> None:
    steps = (journal.Step("a", b"-", b"=\xff\x00", 0), journal.Step("b", b"=x", b"-", 5))
    entry = json.dumps({"until": 5, "token": "t", "steps": [journal._told(step) for step in steps]}).encode()
    assert journal._read(entry) == (5, steps)


@pytest.mark.parametrize(
    "steps",
    [
        "[7]",
        '[["a","-","=b"]]',
        '[["a","-","=b",0,1]]',
        '[[1,"-","=b",0]]',
        '[["a","-","=b",-1]]',
        '[["a","-","=b",1.5]]',
        '[["a","-","=b",true]]',
        '[["a",1,"=b",0]]',
        '[["a","-",null,0]]',
        '[["a","\\ud800","=b",0]]',
        "7",
        "null",
    ],
)
def test_what_cannot_be_steps_is_none(steps: str) -> None:
    assert journal._read(f'{{"until":5,"steps":{steps}}}'.encode()) is None
    assert journal._read(b'{"until":5.0,"steps":[]}') is None
    assert journal._read(b'{"until":5}') is None
    assert journal._read(b"[]") is None


def test_a_change_of_ten_thousand_steps_is_read_and_none_of_more() -> None:
    step = ["a", "-", "=b", 0]
    for number, read in ((10_000, True), (10_001, False)):
        entry = json.dumps({"until": 5, "steps": [step] * number}).encode()
        assert (journal._read(entry) is not None) == read


def test_who_has_no_turn_asks_again_after_longer_and_longer(
    started: Callable[[str], Place], trips: MakeTrips, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (journal.TURN, journal.CLOCKS_DIFFER) == (5, 2)
    cluster = started("cluster")
    first = journal.begin(trips(cluster))
    assert first is not None
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 12:
            journal.end(other, first)

    other = trips(cluster)
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(journal.random, "uniform", lambda low, high: high)  # type: ignore[attr-defined]
    entry = journal.turn(other)
    assert slept[:3] == pytest.approx([0.002, 0.003, 0.0045])
    assert slept[-1] == 0.05
    assert len(slept) == 12
    told = json.loads(entry)
    assert told["steps"] == []
    server_now = time.time() * 1000
    assert server_now < told["until"] < server_now + 6_000
    journal.end(other, b"another")
    assert cluster.ask("GET", journal.NAME) == entry
    journal.end(other, entry)
    assert cluster.ask("EXISTS", journal.NAME) == 0


def test_who_has_too_little_time_left_takes_no_turn(started: Callable[[str], Place], trips: MakeTrips) -> None:
    cluster = started("cluster")
    each = trips(cluster)
    each._deadline = time.monotonic() + 0.05
    with pytest.raises(NoAnswer):
        journal.turn(each)
    assert each.made == 0


# --- the store --------------------------------------------------------------------------------------------------------


async def test_a_store_in_memory_is_one() -> None:
    memory = DomainStore(None)
    assert (memory.shared, memory.owes) == (False, 0)
    keys: Writes = {"custom_domain:x.example": b"alice:blog", "custom_domain:y.example": b"nonsense", "a": b"1"}
    assert await memory.change(lambda view: (keys, view["a"])) is None
    assert await memory.read(["a", "none"]) == {"a": b"1", "none": None}
    assert await memory.get("X.example") == Mapping("alice", "blog")
    assert await memory.get("y.example") is None
    found = {host: mapping async for host, mapping in memory.mappings()}
    assert found == {"x.example": Mapping("alice", "blog"), "y.example": None}
    assert await memory.change(lambda view: ({"a": None, "none": None}, "gone")) == "gone"
    assert [name async for name in memory.names("a")] == []
    await memory.aclose()


async def test_records_of_one_owner_are_those_of_no_other(place: Place, store_of: MakeStore) -> None:
    each = store_of(place, redisTimeout="60s")
    for owner, name in (("alice", "one"), ("alice", "two"), ("alice2", "one"), ("bob", "one")):
        await each.change(
            lambda view, owner=owner, name=name: (
                {f"~pages:domains:{owner}/{name}": record_of(SiteDomains(owner, name, 1, (Claim("x.example"),)))},
                None,
            )
        )
    await each.change(lambda view: ({"~pages:domains:alice/broken": b"x", "~pages:domains:alice/new": b'{"v":9}'}, 0))
    assert sorted([record.repository async for record in each.records("Alice")]) == ["one", "two"]
    assert len([record async for record in each.records()]) == 4
    assert await each.record("Alice", "ONE") == SiteDomains("alice", "one", 1, (Claim("x.example"),))
    assert await each.record("alice", "broken") is None


async def test_a_thousand_keys_are_listed_each_once(server: Place, store_of: MakeStore) -> None:
    each = store_of(server, redisTimeout="60s")
    await each.change(lambda view: ({f"custom_domain:n{n}.example": b"a:b" for n in range(1_100)}, None))
    assert len([host async for host, _ in each.mappings()]) == 1_100
    assert len([name async for name in each.names("custom_domain:n1")]) == 211
    shared = each._shared
    assert shared is not None
    before = shared.trips
    assert [name async for name in each.names("none", most=1)] == []
    assert shared.trips - before == 1
    before = shared.trips
    assert [name async for name in each.names("none")] == []
    assert shared.trips - before >= 2
    for odd in ("a*b", "a?b", "a[b]c", "a\\b", "a^b"):
        server.ask("SET", odd, "x")
    for odd in ("a*", "a?", "a[b]", "a\\", "a^"):
        assert len([name async for name in each.names(odd)]) == 1


async def test_what_was_seen_is_known_while_redis_is_away_as_it_was_changed_since(
    shared_at: SharedAt, server: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "addon.domains.store")
    shared = shared_at(server, redisTimeout="60s")
    each = DomainStore(shared)
    server.ask("MSET", "a", "1", "b", "2")
    assert await each.read(["a", "b", "c"]) == {"a": b"1", "b": b"2", "c": None}
    shared.away = True
    assert await each.read(["a", "b"]) == {"a": b"1", "b": b"2"}
    assert await each.read(["a", "c"]) is NO_ANSWER  # that nobody had it says little of now
    told: list[str] = []
    assert await each.change(writing(a=b"3", b=None, c=b"4"), owed="it", late=told.append) == "done"
    assert await each.read(["a", "b", "c"]) == {"a": b"3", "b": None, "c": b"4"}
    assert (each.owes, told) == (1, [])
    assert await each.change(writing(a=b"5"), owed="it", late=told.append) == "done"
    assert each.owes == 1  # instead of the first
    assert await each.change(writing(d=b"6"), owed="another", late=told.append) == "done"
    assert await each.change(writing(e=b"7")) is NO_ANSWER
    shared.away = False
    await until(lambda: not each.owes, "what is owed")
    assert told == ["done", "done"]
    assert server.ask("MGET", "a", "b", "c", "d", "e") == [b"5", b"2", None, b"6", None]
    assert await each.read(["b"]) == {"b": b"2"}
    assert each._own == {}
    assert each._paying is not None
    await each._paying
    assert [record.getMessage() for record in caplog.records if record.name == "addon.domains.store"] == [
        "the domain changes that waited for Redis are written"
    ]
    await each.aclose()


async def test_what_redis_took_at_last_is_owed_no_longer(shared_at: SharedAt, server: Place) -> None:
    shared = shared_at(server, redisTimeout="60s")
    each = DomainStore(shared)
    shared.away = True
    await each.change(writing(a=b"1"), owed="it")
    shared.away = False
    assert await each.change(writing(a=b"2"), owed="it") == "done"
    assert each.owes == 0
    assert server.ask("GET", "a") == b"2"
    shared.away = True
    await each.change(writing(a=b"3"), owed="it")
    shared.away = False
    await each.aclose()  # tries once more
    assert server.ask("GET", "a") == b"3"
    assert each.owes == 0


async def test_a_store_that_ends_while_redis_is_away_waits_for_nothing(shared_at: SharedAt, server: Place) -> None:
    shared = shared_at(server, redisTimeout="60s")
    each = DomainStore(shared)
    shared.away = True
    await each.change(writing(a=b"1"), owed="it")
    await each.aclose()
    shared.away = False
    assert each._paying is not None
    await asyncio.wait([each._paying])
    assert each._paying.cancelled()
    assert server.ask("EXISTS", "a") == 0
    shared.away = True
    with pytest.raises(StoreAway):
        await anext(each.names("a"))


async def test_what_redis_refuses_is_tried_after_longer_and_longer(
    shared_at: SharedAt, server: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = shared_at(server, redisTimeout="60s")
    each = DomainStore(shared)
    slept: list[float] = []
    original = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        shared.away = len(slept) in (1, 2, 14)
        await original(0 if len(slept) < 20 else 3600)

    shared.away = True
    await each.change(writing(a=b"1"), owed="it")

    async def refuses(*arguments: Any) -> Any:
        return NO_ANSWER

    with monkeypatch.context() as patched:
        patched.setattr(each, "_in_redis", refuses)
        patched.setattr(asyncio, "sleep", sleep)
        while len(slept) < 20:
            await original(0)
    assert slept[:5] == pytest.approx([0.05, 0.05, 0.05, 0.1, 0.2])
    assert max(slept) == 5.0
    assert slept[14] == 0.05
    assert each._paying is not None
    each._paying.cancel()
    await rounds(3)


async def test_what_is_seen_is_forgotten_the_oldest_first_by_its_bytes(
    shared_at: SharedAt, server: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store._MOST_SEEN == 4 * 1024 * 1024
    monkeypatch.setattr(store, "_MOST_SEEN", 3 * (250 + 1 + 100))
    each = DomainStore(shared_at(server, redisTimeout="60s"))
    for name in ("a", "b", "c"):
        each._see({name: bytes(100)})
    assert list(each._seen) == ["a", "b", "c"]
    each._see({"a": None})
    assert (list(each._seen), each._seen_bytes) == (["b", "c", "a"], 2 * 351 + 251)
    each._see({"d": bytes(101)})
    assert (list(each._seen), each._seen_bytes) == (["c", "a", "d"], 351 + 251 + 352)


# --- proofs that are looked at again ----------------------------------------------------------------------------------


class Noted(Dns):
    """Notes about which domains it is asked, and says a word of each."""

    def __init__(self, **words: Word) -> None:
        super().__init__()
        self.words = words
        self.about: list[tuple[str, str]] = []

    async def proof(self, domain: str, owner: str, repository: str, repository_id: int, before: str = "") -> Word:
        self.about.append((domain, before))
        return self.words.get(domain.partition(".")[0], Word(True, "TXT anew"))


async def recorded(world: World, *claims: Claim, name: str = "blog") -> None:
    record = record_of(SiteDomains("alice", name, 7, claims))
    hosts = {f"custom_domain:{each.host}": f"alice:{name}".encode() for each in claims}
    await world.store.change(lambda view: ({f"~pages:domains:alice/{name}": record, **hosts}, None))


async def claims_of(world: World, name: str = "blog") -> dict[str, Claim]:
    record = await world.store.record("alice", name)
    assert isinstance(record, SiteDomains)
    return {claim.host: claim for claim in record.claims}


async def test_what_was_proven_is_looked_at_every_day_and_nothing_else() -> None:
    assert (EVERY, GRACE) == (86_400, 3 * 86_400)
    world, dns = World(), Noted(silent=Word(None), nohow=Word(True))
    now = world.now
    await recorded(
        world,
        Claim("unproven.example"),
        Claim("fresh.example", None, 0.0, "TXT", now - 86_399),
        Claim("dev.due.example", "dev", 0.0, "TXT", 0.0),
        Claim("silent.example", None, 0.0, "TXT", now - 86_400),
        Claim("due.example", None, 0.0, "TXT", now - 86_400, now - 5.0),
        Claim("nohow.example", None, 0.0, "TXT of before", 0.0),
    )
    await recorded(world, Claim("other.example", None, 0.0, "CNAME", 0.0), name="other")
    rechecks = Rechecks(world.store, dns, world.registry, now=lambda: now)
    assert await rechecks.round() == 0
    assert sorted(dns.about) == [
        ("due.example", "TXT"),
        ("nohow.example", "TXT of before"),
        ("other.example", "CNAME"),
        ("silent.example", "TXT"),
    ]
    found = await claims_of(world)
    assert found["due.example"] == Claim("due.example", None, 0.0, "TXT anew", now)
    assert found["nohow.example"].proven == "TXT of before"
    assert found["silent.example"].checked == now - 86_400
    assert (await claims_of(world, "other"))["other.example"].checked == now


async def test_a_proof_that_is_missing_for_three_days_frees_its_domain(caplog: pytest.LogCaptureFixture) -> None:
    world, dns = World(), Noted(one=Word(False), two=Word(False), three=Word(False))
    now = world.now
    await recorded(
        world,
        Claim("one.example", None, 0.0, "TXT", 0.0),
        Claim("two.example", None, 0.0, "TXT", 0.0, now - GRACE + 3600),
        Claim("three.example", None, 0.0, "TXT", 0.0, now - GRACE),
        Claim("four.example", None, 0.0, "TXT", 0.0, now - GRACE),
    )
    rechecks = Rechecks(world.store, dns, world.registry, now=lambda: now)
    assert await rechecks.round() == 1
    found = await claims_of(world)
    assert {host: claim.lost for host, claim in found.items()} == {
        "one.example": now,
        "two.example": now - GRACE + 3600,
        "four.example": None,
    }
    assert found["one.example"].checked == now
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "alice/blog: the proof of one.example is missing; it is released in 72 hours",
        "alice/blog: the proof of two.example is missing; it is released in 1 hours",
        "alice/blog: three.example is released: its proof has been missing for three days",
    ]
    assert await world.store.get("three.example") is None


async def test_what_was_released_while_dns_was_asked_is_none_to_note(caplog: pytest.LogCaptureFixture) -> None:
    world = World()

    class Slow(Noted):
        async def proof(self, domain: str, owner: str, repository: str, repository_id: int, before: str = "") -> Word:
            await world.registry.release(domain)
            return Word(False)

    await recorded(world, Claim("due.example", None, 0.0, "TXT", 0.0))
    assert await Rechecks(world.store, Slow(), world.registry, now=lambda: world.now).round() == 0
    assert await world.store.record("alice", "blog") is None
    assert not caplog.records


async def test_proofs_are_looked_at_each_half_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    world, dns = World(), Noted()
    await recorded(world, Claim("due.example", None, 0.0, "TXT", 0.0))

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await Rechecks(world.store, dns, world.registry, now=lambda: world.now).run()
    assert slept == [1800] * 3
    assert len(dns.about) == 1


async def test_while_redis_is_away_no_proof_is_looked_at(shared_at: SharedAt, server: Place) -> None:
    shared: SharedCache = shared_at(server, redisTimeout="60s")
    world, dns = World(store=DomainStore(shared)), Noted()
    await recorded(world, Claim("due.example", None, 0.0, "TXT", 0.0))
    shared.away = True
    assert await Rechecks(world.store, dns, world.registry, now=lambda: world.now).round() == 0
    assert dns.about == []
    shared.away = False
    assert await Rechecks(world.store, dns, world.registry, now=lambda: world.now).round() == 0
    assert len(dns.about) == 1
