# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""When a site is settled, what comes of each state that it may be in, and what is told of it; over keys in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from addon.domains import registry as registry_room
from addon.domains.registry import Registry
from addon.domains.report import Report
from addon.domains.store import DomainStore
from addon.forgejo.answers import Access, Repository
from addon.forgejo.errors import Unreachable
from addon.net.clocks import Clocks
from addon.net.fair_queue import FairQueue, Interest, on_account
from addon.settings.schema import Settings
from addon.shared.domain_mappings import Mapping as Shown
from addon.shared.freshness import Freshness
from addon.shared.lookup import DISABLED, EMPTY, Fault, Key, Lookup
from addon.sites.pages_file import PagesFile
from tests.addon.domains.registering import Dns, ToldForge
from tests.waiting import rounds, until

HOST = "blog.example"
ALICE = ("alice", "blog")
SITE = Shown("alice", "blog")
NO_ANSWER = "Forgejo gives no definite answer; its domains stay as they are"


def repository(owner: str = "alice", name: str = "blog", number: int = 7) -> Repository:
    return Repository(owner, name, number, "main", False, True, False, "sha1", 1.0, Access.ANONYMOUS)


@dataclass
class Sites:
    """What is known of repositories: what a test says."""

    known: dict[Key, Lookup] = field(default_factory=dict)
    files: dict[Key, PagesFile | None] = field(default_factory=dict)
    fresh: Freshness = Freshness.FRESH
    looked: list[Key] = field(default_factory=list)
    meanwhile: Callable[[Lookup], Awaitable[None]] | None = None
    """What goes on while somebody asks which file governs."""

    def peek(self, key: Key) -> Lookup | None:
        return self.known.get(key)

    def freshness(self, lookup: Lookup) -> Freshness:
        return self.fresh

    async def look(self, key: Key) -> Lookup:
        self.looked.append(key)
        return self.known.setdefault(key, Lookup(key, 0.0, fault=Fault.ABSENT))

    async def governing(self, lookup: Lookup) -> PagesFile | None:
        if self.meanwhile is not None:
            await self.meanwhile(lookup)
        return self.files.get(lookup.key, PagesFile())


@dataclass
class Routers:
    """Notes what it is told."""

    enabled: bool = True
    published: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)

    async def publish(self, hosts: list[str]) -> None:
        self.published += hosts

    async def withdraw(self, hosts: list[str]) -> None:
        self.withdrawn += hosts


class Hosts:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def changed(self, host: str) -> None:
        self.told.append(host)


class World:
    """A registry, and all that it asks."""

    def __init__(self, dns: Dns | None = None, store: DomainStore | None = None, **options: Any) -> None:
        mapping = {"pagesDomain": "pages.test", "forgejoHost": "http://git.internal", "stateDir": "/nowhere"}
        self.settings = Settings.from_mapping({**mapping, **options}, environ={})
        self.monotonic, self.now = 1000.0, 1_700_000_000.0
        self.sites, self.forge, self.routers, self.hosts = Sites(), ToldForge(), Routers(), Hosts()
        self.store = DomainStore(None) if store is None else store
        self.told: list[Key] = []
        self.registry = Registry(
            *(self.settings, self.store, self.sites, self.forge),
            prover=dns,
            hosts=self.hosts,
            routers=self.routers,
            clocks=Clocks(lambda: self.monotonic, lambda: self.now),
        )
        self.registry.told = self.told.append

    def site(
        self,
        *domains: str,
        key: Key = ALICE,
        branches: Iterable[str] = (),
        number: int = 7,
        name: str | None = None,
        **more: Any,
    ) -> Lookup:
        """A site that names domains, as it is known from now on."""
        self.sites.files[key] = PagesFile(custom_domains=domains, enable_branches=tuple(branches))
        owned = repository(key[0], name or key[1].partition("@")[0], number)
        self.sites.known[key] = Lookup(key, 0.0, repository=owned, **{"commit": "a", **more})
        return self.sites.known[key]

    async def settled(self, key: Key = ALICE) -> Report:
        return await self.registry.reconcile(*key)

    async def shows(self, host: str) -> Any:
        return await self.store.get(host)

    async def quiet(self) -> None:
        await until(lambda: not self.registry._workers, "nothing to be settled")


# --- each state of a site ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.TROUBLE, Fault.REFUSED, Fault.TOO_MANY_FILES, Fault.TOO_LARGE])
async def test_what_is_not_definite_changes_nothing(fault: Fault) -> None:
    world = World()
    world.site(HOST)
    await world.settled()
    world.site(fault=fault)
    assert await world.settled() == Report("alice", "blog", trouble=NO_ANSWER)
    assert await world.shows(HOST) == SITE


async def test_what_was_not_looked_at_for_trouble_changes_nothing() -> None:
    world = World()
    world.site(HOST)
    await world.settled()
    world.site(trouble=Unreachable("no connection"))
    assert (await world.settled()).trouble == NO_ANSWER
    world.site()
    world.sites.files[ALICE] = None  # of the default branch, nothing is known
    assert (await world.settled()).trouble == NO_ANSWER
    assert await world.shows(HOST) == SITE


async def test_a_broken_or_disabled_site_keeps_its_domains_and_one_without_a_file_none() -> None:
    world = World()
    world.site(HOST)
    await world.settled()
    world.site(fault=Fault.BROKEN)
    assert (await world.settled()).trouble == "its .pages file cannot be read; its domains stay as they are"
    world.site(fault=Fault.UNCONFIGURED, reason=DISABLED)
    assert await world.settled() == Report("alice", "blog")
    assert await world.shows(HOST) == SITE
    world.site(fault=Fault.UNCONFIGURED)
    assert (await world.settled()).released == (HOST,)
    assert await world.shows(HOST) is None


async def test_a_repository_that_is_gone_keeps_its_domains_for_the_grace() -> None:
    world = World(releaseGrace=100)
    world.site(HOST)
    await world.settled()
    world.hosts.told.clear()
    world.sites.known[ALICE] = Lookup(ALICE, 0.0, fault=Fault.ABSENT)
    report = await world.settled()
    assert report == Report("alice", "blog", trouble="it is gone; its domains are freed after 100 s")
    assert await world.shows(HOST) == SITE
    assert world.registry._timers.keys() == {ALICE}
    assert world.hosts.told == world.routers.withdrawn == []
    world.now += 100
    assert await world.settled() == Report("alice", "blog", released=(HOST,))
    assert await world.shows(HOST) is None
    assert (world.hosts.told, world.routers.withdrawn) == ([HOST], [HOST])
    await world.registry.aclose()


async def test_a_repository_is_gone_only_if_forgejo_itself_says_so() -> None:
    world = World(releaseGrace=0)
    world.site(HOST)
    await world.settled()
    world.sites.known[ALICE] = Lookup(ALICE, 0.0, fault=Fault.ABSENT)
    world.forge.away = True
    assert (await world.settled()).trouble == NO_ANSWER
    assert await world.shows(HOST) == SITE
    world.forge.away = False
    assert (await world.settled()).released == (HOST,)


async def test_of_a_repository_that_never_had_a_domain_nobody_is_asked() -> None:
    world = World()
    world.sites.known[ALICE] = Lookup(ALICE, 0.0, fault=Fault.ABSENT, reason=EMPTY)
    assert await world.settled() == Report("alice", "blog")
    world.site()
    assert await world.settled() == Report("alice", "blog")
    assert world.forge.asked == []
    world.site(branches=["dev"])
    assert "dev" in (await world.settled()).refused


async def test_a_site_is_told_of_by_the_name_that_forgejo_writes_and_that_it_had() -> None:
    world = World()
    world.site(HOST, name="Blog")
    assert (await world.settled()).repository == "Blog"
    world.sites.known[ALICE] = Lookup(ALICE, 0.0, fault=Fault.ABSENT)
    assert (await world.settled()).repository == "Blog"
    assert (await World().settled()).repository == "blog"


async def test_what_a_site_had_under_its_former_name_is_its_own() -> None:
    world = World()
    world.site(HOST, "gone.example", key=("alice", "old"))
    await world.settled(("alice", "old"))
    world.hosts.told.clear()
    world.site(HOST, key=("alice", "old"), name="new")
    report = await world.settled(("alice", "old"))
    assert report.repository == "new"
    assert (report.held, sorted(report.released)) == ({HOST: Shown("alice", "new")}, ["gone.example"])
    assert await world.shows(HOST) == Shown("alice", "new")
    assert await world.shows("gone.example") is None
    assert sorted(set(world.hosts.told)) == [HOST, "gone.example"]
    assert set(world.routers.withdrawn) == {"gone.example"}
    assert await world.store.record("alice", "old") is None


# --- who is told ------------------------------------------------------------------------------------------------------


async def test_hosts_routers_and_who_shows_pages_are_told_what_has_changed_and_no_more() -> None:
    world = World()
    world.site(HOST, "other.example")
    assert (await world.settled()).registered == (HOST, "other.example")
    assert world.hosts.told == [HOST, "other.example"]
    assert world.told == [ALICE]
    assert world.routers.published == [HOST, "other.example"]
    await world.settled()
    assert (world.hosts.told, world.told) == ([HOST, "other.example"], [ALICE])
    assert world.routers.published == [HOST, "other.example"] * 2  # they may have been lost
    world.site(HOST)
    await world.settled()
    assert world.hosts.told == [HOST, "other.example", "other.example"]
    assert world.told == [ALICE] * 2
    assert world.routers.withdrawn == ["other.example"]


async def test_a_host_that_dns_leads_elsewhere_has_no_router_and_needs_something() -> None:
    dns = Dns(leads={HOST: False})
    world = World(dns)
    world.site(HOST, "other.example")
    report = await world.settled()
    assert report.elsewhere == (HOST,)
    assert world.routers.published == ["other.example"]
    assert world.registry.unsettled(world.sites.known[ALICE])
    (needed,) = world.registry.needs(5)
    assert needed[:3] == (HOST, "alice/blog", "registered")
    assert world.registry.states() == {"registered": 2, "refused": 0, "elsewhere": 1}
    world.routers.enabled = False
    assert (await world.settled()).elsewhere == ()


async def test_what_was_refused_is_told_the_newest_first_and_no_more_than_is_asked_for() -> None:
    world = World()
    world.site(HOST, "theirs.example", "localhost", key=("bob", "one"), number=1)
    world.site("ok.example", key=("bob", "two"), number=2)
    world.site("pages.test", HOST, key=("carol", "three"), number=3)
    for key in (("bob", "one"), ("bob", "two"), ("carol", "three")):
        await world.settled(key)
    registry = world.registry
    assert list(registry.refusals(9)) == [
        "pages.test, for carol/three",
        f"{HOST}, for carol/three",
        "localhost, for bob/one",
    ]
    for most in range(4):
        assert len(registry.refusals(most)) == len(registry.needs(most)) == most
    assert [(host, whose, state) for host, whose, state, _ in registry.needs(9)] == [
        ("pages.test", "carol/three", "refused"),
        (HOST, "carol/three", "refused"),
        ("localhost", "bob/one", "refused"),
    ]
    assert registry.states() == {"registered": 3, "refused": 3, "elsewhere": 0}
    assert registry.report("Bob", "TWO") == Report("bob", "two", {"ok.example": Shown("bob", "two")}, ("ok.example",))
    assert registry.report("nobody", "x") is None
    unsettled = [registry.unsettled(world.sites.known[key]) for key in (("bob", "one"), ("bob", "two"))]
    assert unsettled == [True, False]
    assert not registry.unsettled(Lookup(("nobody", "x"), 0.0))


async def test_of_a_thousand_refusals_two_hundred_are_remembered() -> None:
    world = World()
    world.site(*(f"n{number}" for number in range(1000)))
    assert len((await world.settled()).refused) == 200


async def test_a_report_is_logged_once_as_long_as_it_says_the_same(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world = World()
    world.site(HOST, *(f"n{number}" for number in range(20)))
    await world.settled()
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert lines[0] == ("INFO", f"alice/blog: {HOST} is registered")
    assert {level for level, _ in lines[1:]} == {"WARNING"}
    assert len(lines) == 21
    assert lines[-1][1] == "alice/blog: and 1 more"
    caplog.clear()
    world.site(*(f"n{number}" for number in range(19)), HOST)
    await world.settled()
    await world.settled()
    assert len(caplog.records) == 19


# --- when -------------------------------------------------------------------------------------------------------------


async def looks(world: World, *, until_due: float) -> list[bool]:
    """Whether a visit settles the site: just before it is due, and then."""
    done: list[bool] = []
    settled = world.registry._noticed[ALICE]
    for moment in (until_due - 0.1, until_due):
        world.monotonic += moment - ((done and until_due - 0.1) or 0.0)
        world.registry.notice(world.sites.known[ALICE])
        await world.quiet()
        done.append(world.registry._noticed[ALICE] is not settled)
    return done


@pytest.mark.parametrize(("ttl", "due"), [(300, 300), (60, 60), (0, 1)])
async def test_what_is_settled_is_settled_again_by_a_visit_after_the_time_of_a_look(ttl: int, due: float) -> None:
    world = World(cacheTTL=ttl)
    world.site(HOST)
    await world.settled()
    assert await looks(world, until_due=due) == [False, True]


@pytest.mark.parametrize(
    ("ttl", "pauses"), [(300, [10, 20, 40, 80, 160, 300, 300]), (900, [10, 20, 640, 900]), (5, [5, 10, 160, 300])]
)
async def test_what_is_refused_again_and_again_is_tried_less_and_less_often(ttl: int, pauses: list[float]) -> None:
    world = World(cacheTTL=ttl)
    world.site("localhost")
    seen: list[float] = []
    for _ in range(30):
        await world.settled()
        seen.append(world.registry._noticed[ALICE].due - world.monotonic)
    assert [pause for pause in seen if pause in pauses][: len(pauses)] == pauses or seen[: len(pauses)] == pauses
    assert seen[-1] == pauses[-1]
    assert seen == sorted(seen)
    world.site("localhost", commit="b")  # a push ends them
    await world.settled()
    assert world.registry._noticed[ALICE].due - world.monotonic == pauses[0]
    assert await looks(world, until_due=pauses[0]) == [False, True]


async def test_whatever_a_site_is_otherwise_is_settled_at_once() -> None:
    world = World()
    world.site(HOST)
    await world.settled()
    for changed in (
        {"commit": "b"},
        {"fault": Fault.BROKEN},
        {"fault": Fault.UNCONFIGURED, "reason": DISABLED},
        {"number": 8},
        {"name": "Blog"},
    ):
        settled = world.registry._noticed[ALICE]
        world.registry.notice(world.site(HOST, **changed))
        await world.quiet()
        assert world.registry._noticed[ALICE] is not settled
        world.registry.notice(world.sites.known[ALICE])
        assert not world.registry._workers


async def test_only_what_is_definite_and_of_the_default_branch_is_settled_by_a_visit() -> None:
    world = World()
    for lookup in (
        world.site(HOST, fault=Fault.TROUBLE),
        world.site(HOST, fault=Fault.TOO_LARGE),
        world.site(HOST, key=("alice", "blog@dev")),
    ):
        world.registry.notice(lookup)
        assert not world.registry._workers
    lookup = world.site(HOST)
    for _ in range(3):
        world.registry.notice(lookup)
    assert len(world.registry._workers) == 1
    await rounds()
    assert [(name, turns.busy) for name, turns in world.registry.queues.items()] == [("domains", 1)]
    await world.quiet()
    await world.registry.aclose()
    world.registry.again(ALICE)
    assert not world.registry._workers


async def test_a_push_is_looked_at_though_what_is_known_is_fresh() -> None:
    world = World()
    world.site(HOST)
    await world.settled()
    assert world.sites.looked == []
    settled = world.registry.report(*ALICE)
    world.registry.again(ALICE)
    await world.quiet()
    assert world.registry.report(*ALICE) is not settled
    assert world.sites.looked == []
    world.registry.pushed(ALICE)
    await world.quiet()
    assert world.sites.looked == [ALICE]
    await world.settled()
    assert world.sites.looked == [ALICE]
    for fresh in Freshness:
        world.sites.fresh = fresh
        world.sites.looked.clear()
        await world.settled()
        assert bool(world.sites.looked) == (fresh is not Freshness.FRESH)
    world.sites.looked.clear()
    await world.settled(("nobody", "x"))
    assert world.sites.looked == [("nobody", "x")]


async def test_a_purge_of_everything_settles_each_site_again_when_it_is_visited() -> None:
    world = World()
    world.site(HOST)
    await world.settled()
    world.registry.pushed(None)
    assert world.registry.report(*ALICE) is None
    assert not world.registry._workers
    assert not world.registry._forced
    world.registry.notice(world.sites.known[ALICE])
    await world.quiet()
    assert world.registry.report(*ALICE) is not None


async def test_what_was_settled_a_moment_ago_is_not_settled_again_for_somebody_else() -> None:
    world = World()
    world.site(HOST)
    report = await world.settled()
    assert await world.registry.reconcile(*ALICE, due_only=True) is report
    world.monotonic += 300
    again = await world.registry.reconcile(*ALICE, due_only=True)
    assert again is not report
    assert await world.registry.reconcile("Alice", "BLOG", due_only=True) is again
    world.registry._forced.add(ALICE)
    assert await world.registry.reconcile(*ALICE, due_only=True) is not again


async def test_sites_that_were_settled_longest_ago_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (registry_room._MOST_KNOWN, registry_room._MOST_WAITING) == (20_000, 10_000)
    monkeypatch.setattr(registry_room, "_MOST_KNOWN", 2)
    world = World()
    for name in ("one", "two", "one", "three"):
        world.site(key=("alice", name))
        await world.settled(("alice", name))
    assert list(world.registry._noticed) == [("alice", "one"), ("alice", "three")]


async def test_no_more_sites_wait_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_room, "_MOST_WAITING", 2)
    world = World()
    for number in range(4):
        world.registry.notice(world.site(key=("alice", str(number))))
    assert len(world.registry._workers) == 2
    await world.quiet()
    assert list(world.registry._noticed) == [("alice", "0"), ("alice", "1")]


async def test_what_changes_while_it_is_settled_is_settled_once_more() -> None:
    world = World()
    lookup = world.site(HOST)
    changed = False

    async def meanwhile(which: Lookup) -> None:
        nonlocal changed
        if not changed:
            changed = True
            world.site("other.example", commit="b")

    world.sites.meanwhile = meanwhile
    world.registry.notice(lookup)
    await world.quiet()
    assert await world.shows("other.example") == SITE
    assert world.registry._noticed[ALICE].mark.commit == "b"


async def test_what_is_to_be_settled_again_while_it_is_settled_is() -> None:
    world = World()
    lookup = world.site(HOST)
    times = 0

    async def meanwhile(which: Lookup) -> None:
        nonlocal times
        times += 1
        if times == 1:
            world.registry.again(ALICE)

    world.sites.meanwhile = meanwhile
    world.registry.notice(lookup)
    await world.quiet()
    assert times == 2


async def full(world: World) -> asyncio.Event:
    """As many sites of alice are being settled as may be, until that is set."""
    go = asyncio.Event()

    async def meanwhile(which: Lookup) -> None:
        if which.key[1].startswith("busy"):
            await go.wait()

    world.sites.meanwhile = meanwhile
    for number in range(2):
        world.registry.notice(world.site(key=("alice", f"busy{number}")))
    await until(lambda: world.registry._turns.busy == 2, "two of alice's")
    return go


async def test_who_leaves_takes_nothing_along_that_a_visit_began() -> None:
    world = World()
    go = await full(world)
    lookup = world.site(HOST)

    async def visit() -> None:
        interest = Interest()
        interest.bind()
        with interest.waiting():
            world.registry.notice(lookup)

    await asyncio.create_task(visit())
    await rounds(5)
    go.set()
    await world.quiet()
    assert await world.shows(HOST) == SITE


async def test_what_was_settled_while_it_waited_is_not_settled_twice() -> None:
    world = World()
    go = await full(world)
    world.registry.notice(world.site(HOST))
    await rounds(5)
    report = await world.settled()
    go.set()
    await world.quiet()
    assert world.registry.report(*ALICE) is report


async def test_a_site_of_which_nothing_is_known_is_looked_at_and_one_that_is_forgotten_is_no_fault() -> None:
    world = World()
    world.registry.again(("nobody", "x"))
    await world.quiet()
    assert world.sites.looked == [("nobody", "x")]
    lookup = world.site(HOST)

    async def meanwhile(which: Lookup) -> None:
        world.sites.known.clear()

    world.sites.meanwhile = meanwhile
    world.registry.notice(lookup)
    (worker,) = world.registry._workers
    await worker
    assert await world.shows(HOST) == SITE


async def test_who_would_wait_too_long_is_settled_by_a_later_visit() -> None:
    world = World()
    lookup = world.site(HOST)
    world.registry._turns = FairQueue(1, expected=1e9)
    async with world.registry._turns.turn(1.0):
        await rounds(2)
        for _ in range(2):
            world.registry.notice(lookup)
            await rounds(10)
            assert not world.registry._workers
            assert not world.registry._waiting
        assert world.registry.report(*ALICE) is None
    world.registry.notice(lookup)
    await world.quiet()
    assert await world.shows(HOST) == SITE


async def test_a_visit_while_a_site_is_settled_for_somebody_begins_nothing() -> None:
    world = World()
    lookup = world.site(HOST)
    begun: list[int] = []

    async def meanwhile(which: Lookup) -> None:
        world.registry.notice(lookup)
        begun.append(len(world.registry._workers))

    world.sites.meanwhile = meanwhile
    await world.settled()
    assert begun == [0]
    world.monotonic += 300
    world.registry.notice(lookup)  # but afterwards it does
    assert len(world.registry._workers) == 1
    await world.quiet()


async def test_a_fault_of_ours_in_one_site_is_logged_and_settles_the_others(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    bad, good = world.site(HOST), world.site("bob.example", key=("bob", "site"))

    async def meanwhile(which: Lookup) -> None:
        if which.key == ALICE:
            raise ZeroDivisionError

    world.sites.meanwhile = meanwhile
    for lookup in (bad, good):
        world.registry.notice(lookup)
    await world.quiet()
    assert await world.shows("bob.example") == Shown("bob", "site")
    assert "registering the domains of alice/blog failed" in caplog.text
    assert world.registry._waiting == set()
    world.registry.notice(bad)  # and by the next visit it is tried again
    assert world.registry._workers
    await world.quiet()


# --- the end of a grace -----------------------------------------------------------------------------------------------


async def test_what_is_gone_is_looked_at_again_when_its_grace_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(releaseGrace=100)
    world.site(HOST)
    await world.settled()
    world.sites.known[ALICE] = Lookup(ALICE, 0.0, fault=Fault.ABSENT)
    loop = asyncio.get_running_loop()
    later: list[float] = []
    slept: list[float] = []
    original = loop.call_later

    def call_later(delay: float, *rest: Any, **named: Any) -> Any:
        (later if 0.01 < delay < 3600 else slept).append(delay)
        return original(delay, *rest, **named)

    monkeypatch.setattr(loop, "call_later", call_later)
    await world.settled()
    (first,) = world.registry._timers.values()
    world.now += 30
    await world.settled()
    assert first.cancelled()
    assert later == pytest.approx([100.1, 70.1])
    assert len(world.registry._timers) == 1
    world.now += 270
    world.sites.looked.clear()
    world.registry.start()  # as after a restart: what is gone is found in the store
    await until(lambda: world.sites.looked == [ALICE], "a look")
    await world.quiet()
    assert later[2] == pytest.approx(0.1)
    assert max(slept) == 3600  # until all that is gone is looked for again
    assert await world.shows(HOST) is None
    assert world.registry._timers == {}
    await world.registry.aclose()
    assert world.registry._sweeping is not None
    await asyncio.wait([world.registry._sweeping])


async def test_what_is_under_way_is_ended_with_it() -> None:
    world = World()
    never = asyncio.Event()

    async def meanwhile(which: Lookup) -> None:
        await never.wait()

    world.sites.meanwhile = meanwhile
    world.registry.notice(world.site(HOST))
    await rounds(5)
    await world.registry.aclose()
    assert not world.registry._workers
    assert await world.shows(HOST) is None


async def test_nothing_begins_when_it_has_ended() -> None:
    world = World(releaseGrace=100)
    world.site(HOST)
    await world.settled()
    world.sites.known[ALICE] = Lookup(ALICE, 0.0, fault=Fault.ABSENT)
    await world.settled()
    (timer,) = world.registry._timers.values()
    await world.registry.aclose()
    assert timer.cancelled()
    world.registry._timers.clear()
    await world.settled()
    assert world.registry._timers == {}


# --- whose a name is that two want ------------------------------------------------------------------------------------


async def test_of_a_host_that_another_has_that_one_is_settled_first_and_a_proof_decides() -> None:
    dns = Dns(proofs={(HOST, "alice/blog"): True})
    world = World(dns)
    world.site(HOST, "other.example", key=("bob", "site"), number=8)
    await world.settled(("bob", "site"))
    world.monotonic += 1000
    world.site(HOST)
    assert (await world.settled()).held == {HOST: SITE}
    assert world.registry._noticed[("bob", "site")].due == world.monotonic + 300  # it was settled just now
    assert await world.shows("other.example") == Shown("bob", "site")


async def test_a_host_that_stays_anothers_costs_two_questions_to_dns() -> None:
    dns = Dns()
    world = World(dns)
    world.routers.enabled = False
    world.site(HOST, key=("bob", "site"), number=8)
    await world.settled(("bob", "site"))
    world.site(HOST)
    assert (await world.settled()).refused == {HOST: "it shows bob/site"}
    assert dns.asked == 2  # which sites it names, and whether it is proven ours


async def test_who_gave_a_host_up_has_it_no_longer() -> None:
    world = World()
    world.site(HOST, key=("bob", "site"), number=8)
    await world.settled(("bob", "site"))
    world.site(key=("bob", "site"), number=8, commit="b")
    world.site(HOST)
    assert (await world.settled()).held == {HOST: SITE}
    world.site(HOST, key=("carol", "x"), number=9)
    report = await world.settled(("carol", "x"))
    assert report.refused == {HOST: "it shows alice/blog"}


async def test_one_that_waits_for_us_is_passed_over_and_the_next_is_asked() -> None:
    world = World()
    for name, host in (("one", HOST), ("two", "other.example")):
        world.site(host, key=("bob", name), number=8)
        await world.settled(("bob", name))
        world.site(key=("bob", name), number=8, commit="b")
    world.site(HOST, "other.example")
    lock = world.registry._locks[("bob", "one")] = asyncio.Lock()
    async with lock:
        report = await world.settled()
    assert set(report.held) == {"other.example"}
    assert set(report.refused) == {HOST}


async def test_a_site_asks_about_five_hosts_of_others_at_a_time() -> None:
    world = World()
    for number in range(7):
        key = ("bob", str(number))
        world.site(f"n{number}.example", key=key, number=8)
        await world.settled(key)
        world.site(key=key, number=8, commit="b")
    world.site(*(f"n{number}.example" for number in range(7)))
    assert len((await world.settled()).held) == 5


async def test_who_is_challenged_challenges_nobody() -> None:
    world = World()
    world.site("c.example", key=("carol", "x"), number=9)
    await world.settled(("carol", "x"))
    world.site(key=("carol", "x"), number=9, commit="b")
    world.site("c.example")
    report = await world.registry.reconcile(*ALICE, challenged=True)
    assert report.refused == {"c.example": "it shows carol/x"}


async def test_a_repository_that_has_another_name_by_now_is_the_same_one() -> None:
    world = World()
    world.site(HOST, key=("alice", "old"))
    await world.settled(("alice", "old"))
    world.site(HOST, key=("alice", "new"))  # the same number
    assert (await world.settled(("alice", "new"))).held == {HOST: Shown("alice", "new")}
    world.site("x.example", key=("bob", "site"), number=8, trouble=Unreachable("no"))
    await world.store.change(lambda view: ({"custom_domain:x.example": b"bob:site"}, None))
    world.site("x.example", key=("alice", "third"), number=8)
    assert (await world.settled(("alice", "third"))).held == {}  # in trouble, nothing is said of it


# --- certificates and unknown hosts -----------------------------------------------------------------------------------


async def test_a_certificate_is_asked_for_where_dns_leads_here_or_proves_it() -> None:
    assert await World().registry.may_have_certificate(HOST)  # nobody can ask
    dns = Dns(leads={HOST: False, f"www.{HOST}": False, f"dev.{HOST}": None, "free.example": None})
    world = World(dns)
    world.site(HOST, f"www.{HOST}", branches=["dev"])
    await world.settled()
    allowed = world.registry.may_have_certificate
    for host in (HOST, f"www.{HOST}", f"dev.{HOST}", "free.example", f"x.{HOST}"):
        assert await allowed(host) == (host == f"x.{HOST}")  # of which DNS says that it leads here
    dns.proofs[HOST, "alice/blog"] = True
    assert await allowed(HOST)
    assert await allowed(f"www.{HOST}")
    assert await allowed(f"dev.{HOST}")
    assert not await allowed("free.example")


async def test_what_was_proven_when_it_was_registered_needs_no_other_proof() -> None:
    dns = Dns(leads={HOST: False}, proofs={(HOST, "alice/blog"): True})
    world = World(dns, enableCustomDomainDNSVerification=True)
    world.site(HOST)
    await world.settled()
    asked = dns.asked
    assert await world.registry.may_have_certificate(HOST)
    assert dns.asked == asked


async def test_hosts_that_were_led_here_are_remembered_through_silence_up_to_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry_room, "_MOST_KNOWN", 2)
    dns = Dns()
    allowed = World(dns).registry.may_have_certificate
    hosts = ("one.example", "two.example", "three.example")
    for host in hosts:
        assert await allowed(host)
    dns.leads = dict.fromkeys(hosts, None)
    assert [await allowed(host) for host in hosts] == [False, True, True]
    dns.leads["two.example"] = False
    assert not await allowed("two.example")
    dns.leads["two.example"] = None
    assert [await allowed(host) for host in hosts] == [False, False, True]


async def test_an_unknown_host_is_registered_for_the_site_that_its_dns_names() -> None:
    named = (Shown("bob", "other"), Shown("alice", "blog", "dev"))
    dns = Dns(named={HOST: named, "none.example": named})
    world = World(dns)
    world.site(HOST)
    world.site(key=("bob", "other"), number=8)
    assert await world.registry.discover("Blog.Example") == SITE
    assert await world.registry.discover("none.example") is None
    asked = dns.asked
    for nobodys in ("pages.test", "localhost", "a b"):
        assert await world.registry.discover(nobodys) is None
    assert dns.asked == asked
    assert await World().registry.discover(HOST) is None


@pytest.mark.parametrize("visitor", ["192.0.2.7", ""])
async def test_dns_is_asked_about_twenty_strange_names_of_a_visitor_or_a_domain_and_then_one_a_second(
    visitor: str,
) -> None:
    dns = Dns()
    world = World(dns)

    async def asked(*hosts: str, by: str = visitor) -> int:
        before = dns.asked
        with on_account(owner="", visitor=by):
            for host in hosts:
                await world.registry.discover(host)
        return dns.asked - before

    many = [f"n{number}.example{number}.net" for number in range(30)]
    assert await asked(*many) == (20 if visitor else 30)
    if visitor:
        world.monotonic += 2
        assert await asked(*many) == 2
        assert await asked(*(f"n{number}.one.net" for number in range(30)), by="192.0.2.8") == 20
        assert await asked("n99.one.net", by="192.0.2.9") == 0
        assert await asked("other.net", by="192.0.2.9") == 1


async def test_a_host_is_released_with_what_hangs_on_it() -> None:
    world = World()
    world.site(HOST, branches=["dev"])
    await world.settled()
    world.hosts.told.clear()
    report = await world.registry.release(HOST.upper())
    assert report == Report("alice", "blog", released=(HOST, f"dev.{HOST}"))
    assert world.hosts.told == world.routers.withdrawn == [HOST, f"dev.{HOST}"]
    assert world.registry.report(*ALICE) is None  # the next visit settles it anew
    assert await world.registry.release(HOST) == Report("", "")
    await world.store.change(lambda view: ({f"custom_domain:{HOST}": b"alice:blog"}, None))
    assert await world.registry.release(HOST) == Report("alice", "blog", refused={HOST: "it was set by hand"})
    assert await world.registry.release(HOST, by_hand=True) == Report("alice", "blog", released=(HOST,))


async def test_one_of_an_owners_sites_is_settled_after_the_other_and_one_site_never_twice_at_once() -> None:
    world = World()
    under_way, most = 0, 0

    async def meanwhile(which: Lookup) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await rounds(5)
        under_way -= 1

    world.sites.meanwhile = meanwhile
    world.site(HOST)
    await asyncio.gather(*(world.settled() for _ in range(5)))
    assert most == 1
    most = 0
    for number in range(6):
        world.registry.notice(world.site(key=("alice", str(number))))
    await world.quiet()
    assert most == 2
    most = 0
    for number in range(80):
        world.registry.notice(world.site(key=(f"owner{number}", "site")))
    await world.quiet()
    assert most == 64


def test_a_report_says_each_thing_in_words() -> None:
    report = Report(
        *("Alice", "Blog", {HOST: SITE, "b.example": SITE}, (HOST,), ("old.example",)),
        {"c.example": "it shows bob/site; no proof", "d.example": "it shows bob/site", "e.example": "no proof"},
        ("b.example",),
        "trouble",
    )
    assert [line.removeprefix("Alice/Blog: ") for line in report.lines] == [
        "blog.example is registered",
        "old.example is released",
        "c.example is refused: it shows bob/site; no proof",
        "d.example is refused: it shows bob/site",
        "e.example is refused: no proof",
        "b.example gets no router yet: DNS does not lead it here, nor does a record prove it",
        "trouble",
    ]
    assert replace(report, trouble="").lines == report.lines[:-1]
    assert [(host, state, needs[:20]) for host, state, needs in report.states] == [
        (HOST, "registered", ""),
        ("b.example", "registered", "DNS does not lead it"),
        ("c.example", "refused", "another site has it;"),
        ("d.example", "refused", "another site has it"),
        ("e.example", "refused", "no proof"),
    ]


# --- the plugin's -----------------------------------------------------------------------------------------------------


async def plugins(world: World, **more: bytes | None) -> None:
    """What the Traefik plugin leaves of a site with one domain and one branch."""
    keys: dict[str, bytes | None] = {
        f"custom_domain:{HOST}": b"alice:blog",
        "alice:blog": HOST.encode(),
        f"custom_domain:dev.{HOST}": b"alice:blog:dev",
        "alice:blog:branch:dev": f"dev.{HOST}".encode(),
        "alice:blog:branch:public/index.html": b"content of a branch called branch",
    }
    await world.store.change(lambda view: (keys | more, None))


async def test_what_the_plugin_registered_is_freed_when_its_site_names_it_no_longer() -> None:
    world = World()
    await plugins(world)
    world.site(name="Blog")
    assert sorted((await world.settled()).released) == [HOST, f"dev.{HOST}"]
    assert await world.store.read(["alice:blog", "alice:blog:branch:dev", "alice:blog:branch:public/index.html"]) == {
        "alice:blog": None,
        "alice:blog:branch:dev": None,
        "alice:blog:branch:public/index.html": b"content of a branch called branch",
    }


async def test_what_the_plugin_registered_is_freed_when_its_site_is_gone() -> None:
    world = World(releaseGrace=0)
    await plugins(world)
    world.sites.known[ALICE] = Lookup(ALICE, 0.0, fault=Fault.ABSENT)
    assert (await world.settled()).released == (HOST,)
    assert await world.shows(HOST) is None


async def test_a_host_that_is_no_host_is_nobodys_branch() -> None:
    world = World()
    await plugins(world, **{"alice:blog:branch:dev": b"d" * 254, "alice:blog:branch:qa": f"qa.{HOST}".encode()})
    await world.store.change(lambda view: ({f"custom_domain:qa.{HOST}": b"alice:blog:qa"}, None))
    world.site(HOST)
    report = await world.settled()
    assert report.released == (f"qa.{HOST}",)
    assert await world.shows(f"dev.{HOST}") == SITE._replace(branch="dev")
