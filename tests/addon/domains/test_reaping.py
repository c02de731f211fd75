# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One pass over all domains, over keys in memory: what each state of a repository makes of the hosts that it has."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from addon.domains.names import DomainNames
from addon.domains.reaping import Census, Found, Reaper, census, hosts_of, named_hosts
from addon.domains.store import DomainStore, StoreAway
from addon.domains.transactions import View
from addon.forgejo.answers import Access, Repository
from addon.forgejo.errors import Overloaded, RateLimited, Unreachable
from addon.settings.schema import Settings
from addon.shared.domain_mappings import Mapping
from addon.shared.domain_records import Claim, SiteDomains, record_of
from addon.shared.lookup import DISABLED, Fault, Key, Lookup
from addon.sites.pages_file import PagesFile
from addon.sites.site import Site, files_below
from tests.addon.conftest import SharedAt
from tests.addon.domains.registering import ToldForge
from tests.ports import free_port
from tests.waiting import rounds, until

NOW = 1_700_000_000.0
HOST = "blog.example"
ALICE = ("alice", "blog")
NAMES = DomainNames(
    Settings.from_mapping(
        {"pagesDomain": "pages.test", "forgejoHost": "http://git.internal", "stateDir": "/nowhere"}, environ={}
    )
)


def lookup(key: Key = ALICE, pages: PagesFile | None = None, **more: Any) -> Lookup:
    """A repository as it is looked at; with a site, if there is a file."""
    owned = Repository(key[0], key[1], 7, "main", False, True, False, "sha1", 1.0, Access.ANONYMOUS)
    tree = files_below([("public/index.html", 0o100644, "a" * 40, 3)])
    site = None if pages is None else Site(key[0], key[1], "c" * 40, 1.0, pages, tree)
    return Lookup(key, 0.0, site, repository=owned, commit="c" * 40, **more)


class World:
    """A store with the hosts of sites, and what a look at each comes to."""

    def __init__(self, grace: float = 100.0, store: DomainStore | None = None) -> None:
        self.store = store or DomainStore(None)
        self.now = NOW
        self.looks: dict[Key, list[Lookup]] = {}
        self.looked: list[Key] = []
        self.under_way = self.most = 0
        self.forge = ToldForge()
        self.reaper = Reaper(self.store, self, self.forge, NAMES, grace, lambda: self.now)

    async def look(self, key: Key) -> Lookup:
        self.looked.append(key)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await rounds(3)
        self.under_way -= 1
        told = self.looks.get(key, [lookup(key, PagesFile())])
        return told.pop(0) if len(told) > 1 else told[0]

    async def put(self, **keys: bytes | None) -> None:
        await self.store.change(lambda view: (keys, None))

    async def registered(self, *claims: Claim, key: Key = ALICE, gone: float | None = None, number: int = 7) -> None:
        """A site and what it has registered."""
        record = record_of(SiteDomains(*key, number, claims, gone))
        hosts = {
            f"custom_domain:{claim.host}": ":".join(filter(None, (*key, claim.branch))).encode() for claim in claims
        }
        await self.put(**{f"~pages:domains:{key[0]}/{key[1]}": record}, **hosts)

    async def found(self) -> dict[Key, Found]:
        return {found.site.site: found async for found in self.reaper.found(await census(self.store))}

    async def the_one(self, *looks: Lookup) -> Found:
        """What is found of alice's."""
        if looks:
            self.looks[ALICE] = list(looks)
        return (await self.found())[ALICE]

    async def shows(self, *hosts: str) -> list[bool]:
        return [await self.store.get(host) is not None for host in hosts]


async def test_all_hosts_are_counted_by_their_sites() -> None:
    world = World()
    await world.registered(Claim(HOST), Claim(f"dev.{HOST}", "dev"))
    await world.put(**{"custom_domain:x.example": b"Alice:Blog", "custom_domain:y.example": b"nonsense"})
    await world.put(**{"custom_domain:z.example": b"bob:site", "alice:blog": b"x"})
    counted = await census(world.store)
    assert (counted.hosts, counted.unreadable, set(counted.sites)) == (5, 1, {ALICE, ("bob", "site")})
    assert set(counted.sites[ALICE]) == {HOST, f"dev.{HOST}", "x.example"}
    assert Census() == Census({}, 0, 0)


async def test_what_is_named_stays() -> None:
    world = World()
    await world.registered(Claim(HOST), Claim(f"dev.{HOST}", "dev"))
    found = await world.the_one(lookup(pages=PagesFile(custom_domains=(HOST,), enable_branches=("dev",))))
    assert (found.freed, found.trouble, found.reserved, found.plans) == ((), "", None, ())
    assert await world.reaper.free(found) == ()


async def test_what_is_named_no_longer_is_foreseen_and_then_freed() -> None:
    world = World()
    await world.registered(Claim(HOST), Claim(f"dev.{HOST}", "dev"), Claim("other.example"))
    found = await world.the_one(lookup(pages=PagesFile(custom_domains=("other.example",))))
    assert (sorted(found.freed), found.reason) == ([HOST, f"dev.{HOST}"], "its .pages does not name it")
    assert await world.shows(HOST, f"dev.{HOST}", "other.example") == [True, True, True]
    assert sorted(await world.reaper.free(found)) == [HOST, f"dev.{HOST}"]
    assert await world.shows(HOST, f"dev.{HOST}", "other.example") == [False, False, True]
    assert hosts_of([found, found, Found(Mapping("a", "b"))]) == 4


async def test_without_a_file_nothing_is_named() -> None:
    world = World()
    await world.registered(Claim(HOST))
    assert (await world.the_one(lookup(fault=Fault.UNCONFIGURED))).freed == (HOST,)


@pytest.mark.parametrize(
    "looked",
    [
        lookup(fault=Fault.BROKEN),
        lookup(fault=Fault.TOO_MANY_FILES),
        lookup(fault=Fault.TOO_LARGE),
        lookup(fault=Fault.UNCONFIGURED, reason=DISABLED),
    ],
)
async def test_what_may_yet_be_named_stays_and_the_repository_is_not_gone(looked: Lookup) -> None:
    world = World()
    await world.registered(Claim(HOST), gone=NOW - 50)
    found = await world.the_one(looked)
    assert (found.freed, found.trouble, len(found.plans)) == ((), "", 1)
    assert await world.reaper.free(found) == ()
    record = await world.store.record(*ALICE)
    assert record == SiteDomains("alice", "blog", 7, (Claim(HOST),))


@pytest.mark.parametrize(
    ("looked", "words"),
    [
        (lookup(fault=Fault.TROUBLE), "Forgejo gives no answer"),
        (lookup(trouble=Unreachable("no connection")), "no connection"),
        (lookup(fault=Fault.REFUSED), "Forgejo refuses to show it (401 or 403)"),
        (lookup(fault=Fault.REFUSED, trouble=Unreachable("no")), "Forgejo refuses to show it (401 or 403)"),
        (lookup(pages=PagesFile(), trouble=Unreachable("no connection")), "no connection"),
    ],
)
async def test_trouble_frees_nothing(looked: Lookup, words: str) -> None:
    world = World(grace=0.0)
    await world.registered(Claim(HOST))
    found = await world.the_one(looked)
    assert (found.freed, found.trouble, found.plans) == ((), words, ())


async def test_what_is_gone_is_reserved_for_the_grace_and_then_freed() -> None:
    world = World()
    await world.registered(Claim(HOST))
    gone = lookup(fault=Fault.ABSENT)
    found = await world.the_one(gone)
    assert (found.freed, found.reserved, found.reason) == ((), NOW, "its repository is gone")
    assert await world.reaper.free(found) == ()
    world.now += 99
    assert (await world.the_one(gone)).reserved == NOW
    world.now += 1
    found = await world.the_one(gone)
    assert (found.freed, found.reserved) == ((HOST,), None)
    assert await world.reaper.free(found) == (HOST,)
    assert await world.shows(HOST) == [False]


async def test_what_the_plugin_wrote_of_what_is_gone_is_found_by_its_hosts() -> None:
    world = World(grace=0.0)
    await world.put(**{f"custom_domain:dev.{HOST}": b"alice:blog:dev"})
    await world.put(**{"alice:blog:branch:dev": f"dev.{HOST}".encode()})
    assert (await world.the_one(lookup(fault=Fault.ABSENT))).freed == (f"dev.{HOST}",)
    await world.put(**{"alice:blog:branch:dev": None})
    found = await world.the_one(lookup(fault=Fault.ABSENT))  # set by hand
    assert (found.freed, found.reserved) == ((), None)


async def test_a_404_counts_only_while_forgejo_itself_answers() -> None:
    world = World(grace=0.0)
    await world.registered(Claim(HOST))
    world.forge.away = True
    found = await world.the_one(lookup(fault=Fault.ABSENT))
    assert (found.freed, found.trouble, found.plans) == ((), "no connection", ())


async def test_what_was_set_by_hand_stays() -> None:
    world = World()
    await world.put(**{f"custom_domain:{HOST}": b"alice:blog"})
    assert (await world.the_one(lookup(pages=PagesFile()))).freed == ()


async def test_what_was_registered_or_changed_during_the_pass_stays() -> None:
    world = World()
    old, new = Claim(HOST, None, NOW - 1), Claim("new.example", None, NOW)
    await world.registered(old, new, Claim("taken.example"))
    found = await world.the_one(lookup(pages=PagesFile()))
    assert sorted(found.freed) == [HOST, "taken.example"]
    await world.put(**{"custom_domain:taken.example": b"bob:site"})
    assert await world.reaper.free(found) == (HOST,)
    assert await world.shows("new.example", "taken.example") == [True, True]


async def test_a_forge_that_rations_its_answers_is_asked_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    for limited in (RateLimited("later", retry_after=7), Overloaded("later", retry_after=100)):
        slept.clear()
        world = World()
        await world.registered(Claim(HOST))
        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "sleep", sleep)
            patched.setattr(world, "look", world_look := _looks(world, limited, 2))
            found = await world.reaper._look(ALICE, (await census(world.store)).sites[ALICE])
            assert (found.freed, world_look.asked) == ((HOST,), 3)
            assert slept == [min(limited.retry_after, 60)] * 2
            patched.setattr(world, "look", world_look := _looks(world, limited, 9))
            found = await world.reaper._look(ALICE, (await census(world.store)).sites[ALICE])
            assert (found.trouble, world_look.asked) == ("later", 3)


class _looks:
    """Looks of which the first few are refused for their number."""

    def __init__(self, world: World, error: RateLimited | Overloaded, few: int) -> None:
        self.asked, self.error, self.few = 0, error, few

    async def __call__(self, key: Key) -> Lookup:
        self.asked += 1
        return lookup(key, PagesFile(), trouble=self.error if self.asked <= self.few else None)


async def test_eight_repositories_are_looked_at_at_once_and_each_once() -> None:
    world = World()
    for number in range(30):
        await world.registered(Claim(f"n{number}.example"), key=("alice", str(number)))
    assert len(await world.found()) == 30
    assert (len(world.looked), len(set(world.looked)), world.most) == (30, 30, 8)


@pytest.mark.parametrize("fault", [Fault.ABSENT, Fault.UNCONFIGURED])
async def test_a_redis_that_goes_away_ends_the_pass(shared_at: SharedAt, fault: Fault) -> None:
    store = DomainStore(shared_at(("127.0.0.1", free_port())))
    world = World(store=store)
    with pytest.raises(StoreAway):
        await census(store)
    world.looks[ALICE] = [lookup(fault=fault)]
    with pytest.raises(StoreAway):
        await world.reaper._look(ALICE, {HOST: Mapping(*ALICE)})
    found = Found(Mapping(*ALICE), plans=(lambda view: ({}, view["x"]),))
    with pytest.raises(StoreAway):
        await world.reaper.free(found)
    await store.aclose()


async def test_a_plan_that_never_ends_is_a_fault_of_ours() -> None:
    asked: list[str] = []

    def plan(view: View) -> Any:
        asked.append(f"name {len(asked)}")
        return view[asked[-1]]

    with pytest.raises(RuntimeError):
        await World().reaper._foreseen(plan)
    assert len(asked) == 16


@pytest.mark.parametrize(
    ("domains", "branches", "named"),
    [
        ((HOST,), (), {HOST}),
        ((HOST, "Other.example."), ("dev",), {HOST, "other.example", f"dev.{HOST}"}),
        (("pages.test", HOST), ("dev",), {"pages.test", HOST}),  # the first is not to be had, and has no branches
        ((" Pages.TEST. ",), (), {"pages.test"}),
        ((HOST,), ("www", "dev"), {HOST, f"dev.{HOST}"}),
        ((), ("dev",), set()),
    ],
)
def test_a_name_that_is_refused_today_is_named_all_the_same(
    domains: tuple[str, ...], branches: tuple[str, ...], named: set[str]
) -> None:
    assert named_hosts(PagesFile(custom_domains=domains, enable_branches=branches), NAMES) == named


async def test_a_pass_that_is_stopped_stops_its_looks() -> None:
    world = World()
    await world.registered(Claim(HOST))
    never = asyncio.Event()
    cancelled: list[bool] = []

    async def look(key: Key) -> Lookup:
        try:
            await never.wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        raise AssertionError

    world.look = look  # type: ignore[method-assign]
    task = asyncio.ensure_future(world.found())
    await rounds(5)
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: cancelled, "the end of the look")
