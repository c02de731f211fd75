# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One cache for many proxies on a cluster and behind sentinels: what holds on one server, and what a failover costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from addon.access.guess_limits import LIMITS
from addon.commands import doctor
from addon.domains.store import NO_ANSWER
from addon.domains.transactions import Planned, View, Writes
from addon.preview.forge import Forge
from addon.settings.schema import Settings
from addon.shared import reads, records, writes
from addon.shared.cache import SharedCache
from addon.shared.guess_counts import GuessesShared
from addon.shared.lookup import Lookup
from addon.shared.round_trips import RoundTrips
from tests.addon.access.access_cases import KEY, SECRET
from tests.addon.conftest import SharedAt
from tests.addon.preview.sites import Site
from tests.addon.shared.conftest import FIRST, MakeNode
from tests.addon.shared.nodes import Node, options_of
from tests.addon.shared.visits import BLOG, Load, recovered, two
from tests.clock import Clock
from tests.resp.fleets import Cluster, Watched, clustered, watched
from tests.resp.servers import ConsoleError, Server
from tests.waiting import becomes, until, wait_until

REF, REPO, EPOCH = "~pages:ref:alice/blog@main", "~pages:repo:alice/blog", "~pages:epoch:alice/blog"


@pytest.fixture(scope="module", params=["redis", "valkey"])
def _three(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with clustered(request.param, replicas=0) as cluster:
        yield cluster


@pytest.fixture
def cluster(_three: Cluster) -> Cluster:
    """Three nodes of Redis 7 and of Valkey 9 in turn, empty; not to be killed."""
    _three.ask("FLUSHALL")
    return _three


# ---- a cluster -------------------------------------------------------------------------------------------------------


async def test_what_one_proxy_finds_the_other_serves_under_the_names_that_one_server_has(
    node: MakeNode, cluster: Cluster, forge: Forge, blog: Site
) -> None:
    first = await node(cluster, redisTimeout="10s").tracked()
    assert (await first.get("alice", "/blog/")).body == FIRST
    await first.settled()
    names = {name.decode() for name in _names(cluster, "~pages:*:alice/blog*")}
    commit = records.site_key(BLOG, blog.commit({}))  # the commit of a push that changes nothing
    assert {REF, REPO} < names
    assert [name for name in names if name.startswith("~pages:site:")] != [commit]
    forge.forget_calls()
    second = await node(cluster, redisTimeout="10s").tracked()
    assert (await second.get("alice", "/blog/")).body == FIRST
    assert forge.count() == 0
    listed = [name async for name in second.store.names("~pages:")]
    assert set(listed) == {name.decode() for name in _names(cluster, "~pages:*")}


def _names(cluster: Cluster, pattern: str) -> list[bytes]:
    found: Any = cluster.ask("KEYS", pattern)
    return list(found)


async def test_a_purge_a_hand_and_a_deploy_are_seen_by_every_proxy(
    node: MakeNode, cluster: Cluster, blog: Site, forge: Forge
) -> None:
    first, second = await two(node, cluster)
    blog.commit({"public/index.html": b"Second"})
    assert await first.looks.purge(BLOG)
    await first.comes_to(b"Second")
    await second.comes_to(b"Second")
    for each in (first, second):
        await each.settled()
    older = blog.commit({"public/index.html": b"By hand"})
    cluster.ask("SET", REF, f'{{"v": 1, "commit": "{older}"}}')
    for each in (first, second):
        await each.comes_to(b"By hand")
    cluster.ask("FLUSHALL")
    blog.commit({"public/index.html": b"After all was gone"})
    for each in (first, second):
        await each.comes_to(b"After all was gone")


async def test_a_slot_that_moves_takes_what_is_told_with_it(node: MakeNode, cluster: Cluster, blog: Site) -> None:
    first, second = await two(node, cluster)
    slot: Any = cluster.ask("CLUSTER", "KEYSLOT", REF)
    before = cluster.owner(slot)
    target = next(server for server in cluster.primaries if server is not before)
    generations = [each.looks._tracking.generation for each in (first, second) if each.looks._tracking is not None]
    cluster.move(slot, target)
    try:
        for each, generation in zip((first, second), generations):
            tracking = each.looks._tracking
            assert tracking is not None
            await until(lambda: tracking.generation > generation and each.looks.live, "everything")  # noqa: B023
        commit = blog.commit({"public/index.html": b"At the new place"})
        cluster.ask("SET", REF, f'{{"v": 1, "commit": "{commit}"}}')
        for each in (first, second):
            await each.comes_to(b"At the new place")
    finally:
        cluster.move(slot, before)


@pytest.fixture
def shared(cluster: Cluster, shared_at: SharedAt) -> Callable[[], SharedCache]:
    """`shared()`: the shared level of one more proxy."""
    return lambda: shared_at(cluster, redisTimeout="10s")


async def known_and_late(
    node: MakeNode, cluster: Cluster, shared: Callable[[], SharedCache]
) -> tuple[Lookup, SharedCache]:
    """What a proxy has found out about the blog, and the shared level of another that comes late."""
    first = await node(cluster, redisTimeout="10s").tracked()
    await first.get("alice", "/blog/")
    await first.settled()
    known = first.library.peek(BLOG)
    assert known is not None
    return known, shared()


async def test_a_look_that_began_before_a_purge_counts_for_nobody_however_late_it_is_written(
    node: MakeNode, cluster: Cluster, shared: Callable[[], SharedCache]
) -> None:
    known, late = await known_and_late(node, cluster, shared)
    held = await late.look(BLOG, None, None)
    assert held is not None
    assert not held.outdated
    cluster.ask("SET", EPOCH, "another")
    assert await late.store(known, held, "") is False
    # As one that was between its two trips when the purge came: what it writes names the epoch before it.
    label = str(held.epoch)

    def write(trips: RoundTrips) -> list[Any]:
        values = {REPO: records.repository_record(known, label, 60), REF: records.ref_record(known, label, 60)}
        return trips.run([("SET", name, trips.record_key.signed(name, value)) for name, value in values.items()])

    for name in ([REPO, REF], [REF]):
        await late.run(write)
        if name == [REF]:  # the other is of after the purge
            await late.run(lambda trips: _written_anew(trips, known))
        again = await late.look(BLOG, None, None)
        assert again is not None
        assert (again.outdated, again.epoch.own) == (True, "another")


def _written_anew(trips: RoundTrips, known: Any) -> object:
    value = records.repository_record(known, str(reads.Epoch("", "another")), 60)
    return trips.run([("SET", REPO, trips.record_key.signed(REPO, value))])


async def test_what_became_known_while_the_cluster_was_away_is_written_where_nothing_is_newer(
    node: MakeNode, cluster: Cluster, shared: Callable[[], SharedCache]
) -> None:
    known, late = await known_and_late(node, cluster, shared)
    there = [cluster.ask("GET", name) for name in (REPO, REF)]
    older = replace(known, looked=known.looked - 100)
    assert await late.run(lambda trips: writes.flush(trips, {REPO: older})) is True
    assert [cluster.ask("GET", name) for name in (REPO, REF)] == there  # younger than what was late
    cluster.ask("FLUSHALL")
    assert await late.run(lambda trips: writes.flush(trips, {REPO: known})) is True
    assert all(cluster.ask("GET", name) for name in (REPO, REF))
    held = await late.look(BLOG, None, None)
    assert held is not None
    assert (held.commit, held.outdated) == (known.commit, False)


async def test_a_repository_that_goes_takes_its_keys_along(node: MakeNode, cluster: Cluster, blog: Site) -> None:
    first, second = await two(node, cluster)
    blog.path.rename(blog.path.with_name("elsewhere.git"))
    assert await first.looks.purge(BLOG)
    for each in (first, second):
        await each.comes_to(404)
    await first.settled()
    left = {name.decode().split(":")[1] for name in _names(cluster, "~pages:*")}
    assert not left & {"ref", "site"}


async def test_a_password_is_told_and_one_that_somebody_adds_locks(
    node: MakeNode, cluster: Cluster, blog: Site
) -> None:
    first, second = await two(node, cluster)
    assert cluster.ask("GET", "password:alice:blog") == b""
    cluster.ask("SET", "password:alice:blog", SECRET)
    for each in (first, second):
        await each.comes_to(401)
    cluster.ask("DEL", "password:alice:blog")
    for each in (first, second):
        await each.comes_to(FIRST)
    blog.commit({".pages": f"enabled: true\npassword: {SECRET}\n".encode()})
    assert await first.looks.purge(BLOG)
    await until(lambda: cluster.ask("GET", "password:alice:blog") == SECRET.encode(), "the password")
    assert cluster.ask("GET", "~pages:{password:alice:blog}") == SECRET.encode()
    await first.settled()
    assert [await each.shared.added_lock(BLOG) for each in (first, second)] == ["", ""]


async def test_guesses_through_two_proxies_are_counted_together(shared: Callable[[], SharedCache]) -> None:
    tallies = [GuessesShared(shared(), KEY, Clock()) for _ in range(2)]
    by_one = [(await tallies[number % 2].admit("alice/blog", "192.0.2.7")).wait == 0 for number in range(40)]
    assert LIMITS.free <= by_one.count(True) < 40
    admitted = 0
    began = time.monotonic()
    for number in range(int(LIMITS.site_most) + 100):
        admitted += (await tallies[number % 2].admit("alice/other", f"10.0.{number >> 8}.{number & 255}")).wait == 0
    forgotten = (time.monotonic() - began + 1) * LIMITS.site_rate
    assert LIMITS.site_most <= admitted <= LIMITS.site_most + forgotten


def test_the_doctor_looks_at_all_of_it(cluster: Cluster) -> None:
    assert examined(cluster) == [
        "ok    its 3 primaries answer, with 0 keys",
        "note  no primary has a replica: one that fails takes a part of the cache with it, and stops the rest",
        "note  no routers are written: Traefik's Redis provider reads one server or sentinels, and no cluster",
        "ok    a value was written, read back on another connection, and expires",
        "ok    tells of changes at once",
        "ok    maxmemory-policy is noeviction",
    ]


def examined(redis: Cluster | Watched) -> list[str]:
    """What the doctor says of it, but for the version."""
    options = {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1"}
    settings = Settings.from_mapping({**options, **options_of(redis), "redisTimeout": "20s"}, environ={"HOME": "/"})
    found = [f"{each.level.value:5} {each.text}" for each in doctor.redis(settings)]
    assert found.pop(0).startswith("ok    answers, ")
    return found


# ---- failovers -------------------------------------------------------------------------------------------------------


async def test_a_primary_that_dies_or_hangs_under_load_costs_no_visitor_a_page(
    node: MakeNode, blog: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    with clustered("valkey") as cluster:
        first, second = await two(node, cluster)
        for way in ("killed", "stopped"):
            slot: Any = cluster.ask("CLUSTER", "KEYSLOT", REF)
            victim = cluster.owner(slot)
            other = next(server for server in cluster.servers if server is not victim)

            def replaced(other: Server = other, victim: Server = victim, slot: int = slot) -> bool:
                return cluster.owners(other).get(slot) not in (None, victim.port)

            async with Load((first, second)) as load:
                began = time.monotonic()
                (victim.kill if way == "killed" else victim.pause)()
                try:
                    # Trouble may be over between two looks; then another node has the slot.
                    await until(lambda: first.shared.away or not first.looks.live or replaced(), "trouble")
                    await recovered(first, second, blog, way.encode())
                    seconds = time.monotonic() - began
                    assert await changed(first, _taking(f"{way}.example", 1))
                finally:
                    if way == "stopped":
                        victim.resume()
            assert load.wrong == []
            _tell(capsys, f"a primary of a cluster {way}", seconds, load)
            if way == "killed":
                victim.start()
            await asyncio.to_thread(wait_until, cluster.whole, "a cluster that is whole")


async def test_a_master_that_dies_under_load_costs_no_visitor_a_page_and_loses_no_purge(
    node: MakeNode, blog: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    with watched("redis", replicas=1) as fleet:
        first, second = await two(node, fleet)
        master = fleet.named()
        other = next(server for server in fleet.servers if server is not master)
        async with Load((first, second)) as load:
            blog.commit({"public/index.html": b"Purged before"})
            await first.looks.purge(BLOG)
            epoch = master.ask("GET", EPOCH)
            began = time.monotonic()
            master.kill()
            # Its last word never reached the one that takes over.
            other.ask("CONFIG", "SET", "replica-read-only", "no")
            other.ask("DEL", EPOCH)
            await until(lambda: _says(other, EPOCH) == epoch, "the purge")
            await recovered(first, second, blog, b"After")
            seconds = time.monotonic() - began
            assert await changed(first, _taking("after.example", 1))
        assert load.wrong == []
        _tell(capsys, "a master behind sentinels killed", seconds, load)
        assert [line[:4] for line in examined(fleet)] == ["ok  "] * 3
        # Fifty who want one host, at the new master.
        plans = [_taking("wanted.example", each) for each in range(50)]
        got = await asyncio.gather(*(changed((first, second)[each % 2], plans[each]) for each in range(50)))
        assert (got.count(True), got.count(False)) == (1, 49)


def _taking(host: str, number: int) -> Planned[bool]:
    """A plan that gives a host to whoever comes first, with a second key beside it."""

    def plan(view: View) -> tuple[Writes, bool]:
        name = f"custom_domain:{host}"
        there, mine = view[name], b"o%d:r" % number
        return ({name: mine, f"o{number}:r": host.encode()}, True) if there in (None, mine) else ({}, False)

    return plan


async def changed(node: Node, plan: Planned[bool]) -> bool:
    """What a plan says, however often it takes to get an answer."""
    told: list[object] = []

    async def answered() -> bool:
        told.append(await node.store.change(plan))
        return told[-1] is not NO_ANSWER

    await becomes(answered, True)
    assert isinstance(told[-1], bool)
    return told[-1]


def _says(server: Server, name: str) -> object:
    try:
        return server.ask("GET", name)
    except (OSError, ConsoleError):
        return None


def _tell(capsys: pytest.CaptureFixture[str], what: str, seconds: float, load: Load) -> None:
    with capsys.disabled():
        slowest = max(load.seconds)
        print(f"\n{what}: all as before after {seconds:.2f} s; {len(load.seconds)} visits, slowest {slowest:.2f} s")
