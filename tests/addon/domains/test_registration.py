# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The registry in its place: whom it is told by, what is written again in time, and what a switch turns off."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from addon.domains.registration import CustomDomains
from addon.domains.resolver import Domains
from addon.domains.store import DomainStore
from addon.library.memory import Memory
from addon.net.clocks import Clocks
from addon.settings.schema import Settings
from addon.shared.domain_mappings import Mapping
from addon.shared.lookup import Fault, Key, Lookup
from tests.addon.conftest import SharedAt
from tests.addon.domains.registering import Dns, ToldForge
from tests.addon.domains.test_settling import ALICE, HOST, SITE, Sites, World
from tests.resp.fleets import Cluster
from tests.resp.servers import Server
from tests.waiting import rounds, until


class Library(Sites):
    """What is known of repositories, and what it is told."""

    purged: list[Key | None]

    async def purge(self, key: Key | None) -> bool:
        self.purged.append(key)
        return key is not None


def made(store: DomainStore, dns: Dns | None = None, **options: Any) -> tuple[CustomDomains, Library, Domains]:
    world = World()
    mapping = {"pagesDomain": "pages.test", "forgejoHost": "http://git.internal", "stateDir": "/nowhere"}
    settings = Settings.from_mapping({**mapping, "redisHost": "127.0.0.1", **options}, environ={})
    library = Library()
    library.purged = []
    world.sites = library
    world.site(HOST)
    domains = Domains(store, Memory(1 << 20), memory_ttl=5.0)
    clocks = Clocks(lambda: world.monotonic, lambda: world.now)
    parts = CustomDomains(settings, library, ToldForge(), store, domains, dns, clocks)  # type: ignore[arg-type]
    return parts, library, domains


@pytest.fixture
async def store(started: Any, shared_at: SharedAt) -> DomainStore:
    server: Server | Cluster = started("valkey")
    return DomainStore(shared_at(server, redisTimeout="60s"))


async def quiet(parts: CustomDomains) -> None:
    await until(lambda: not parts.registry._workers, "nothing to be registered")


async def test_it_is_told_of_looks_visits_pushes_unknown_and_lost_hosts(store: DomainStore) -> None:
    dns = Dns(named={"www.example": (SITE,)})
    parts, library, domains = made(store, dns)
    parts.start()
    assert domains.finder == parts.registry.discover
    told: Any = library.looked
    assert told == parts.registry.notice
    library.looked = []
    assert not parts.visited(library.known[ALICE])
    await quiet(parts)
    assert await store.get(HOST) == SITE
    assert [state[:2] for state in parts.states("Alice", "Blog")] == [(HOST, "registered")]
    assert await parts.purge(ALICE) is True
    assert await parts.purge(None) is False
    assert library.purged == [ALICE, None]
    await quiet(parts)
    settled = parts.registry.report(*ALICE)
    domains.lost(HOST, Mapping("Alice", "Blog"))
    await quiet(parts)
    assert parts.registry.report(*ALICE) is not settled
    assert parts._rechecking is None  # no proof is demanded
    assert parts.registry._sweeping is not None
    await parts.aclose()
    assert parts._tending is not None
    assert parts._tending.done()


async def test_a_visitor_of_a_site_that_lacks_something_may_change_that(store: DomainStore) -> None:
    parts, library, _ = made(store)
    assert not parts.visited(Lookup(("nobody", "x"), 0.0, fault=Fault.TROUBLE))
    parts.start()
    library.looked = []
    world = World()
    lookup = library.known[ALICE] = world.site("localhost")
    library.files[ALICE] = world.sites.files[ALICE]
    parts.visited(lookup)
    await quiet(parts)
    assert parts.visited(lookup)
    await parts.aclose()


async def test_where_domains_are_switched_off_nothing_is_registered_or_asked_for(store: DomainStore) -> None:
    parts, library, domains = made(store, Dns(), enableCustomDomains=False, enableCustomDomainDNSVerification=True)
    parts.start()
    assert domains.finder is None
    assert library.looked == []
    assert not parts.visited(library.known[ALICE])
    assert parts.states(*ALICE) == []
    assert await parts.purge(ALICE) is True
    assert not parts.registry._workers
    assert (parts.registry._sweeping, parts._rechecking) == (None, None)
    await parts.aclose()


@pytest.mark.parametrize(
    ("demanded", "asked", "runs"), [(True, True, True), (False, True, False), (True, False, False)]
)
async def test_proofs_are_looked_at_again_where_they_are_demanded_and_dns_is_asked(
    demanded: bool, asked: bool, runs: bool, store: DomainStore
) -> None:
    parts, _, _ = made(store, Dns() if asked else None, enableCustomDomainDNSVerification=demanded)
    parts.start()
    assert (parts._rechecking is not None) == runs
    await parts.aclose()
    assert parts._rechecking is None or parts._rechecking.done()


@pytest.mark.parametrize(("life", "pauses"), [(30, [10.0] * 3), (1, [0.5] * 3), (0, [])])
async def test_routers_are_written_anew_three_times_in_their_life(
    life: int, pauses: list[float], store: DomainStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    dns = Dns(leads={"elsewhere.example": False})
    parts, _, _ = made(store, dns, traefikRedisRouterTTL=life)
    keys = {f"custom_domain:{host}": b"alice:blog" for host in (HOST, "elsewhere.example")}
    await store.change(lambda view: ({**keys, "custom_domain:nonsense.example": b"nonsense"}, None))
    slept: list[float] = []
    original = asyncio.sleep
    published: list[str] = []

    async def sleep(seconds: float) -> None:
        if seconds >= 0.5:
            slept.append(seconds)
        await original(3600 if seconds >= 0.5 and len(slept) == 3 else 0)

    async def publish(hosts: list[str]) -> None:
        published.extend(hosts)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(parts.routers, "publish", publish)
    task = asyncio.ensure_future(parts._tend())
    while len(slept) < 3 and not task.done():
        await original(0.001)
    assert slept == pauses
    assert published == [HOST] * (2 if life else 0)
    assert await store.read(["traefik/http/routers/pages-domain-base/service"]) == {
        "traefik/http/routers/pages-domain-base/service": b"noop@internal"
    }
    task.cancel()
    await rounds(3)


@pytest.mark.parametrize("enabled", [True, False])
async def test_nobody_waits_for_the_end_of_routers_without_redis_or_domains(enabled: bool) -> None:
    parts, _, _ = made(DomainStore(None), traefikRedisRouterTTL=30, enableCustomDomains=enabled)
    await asyncio.wait_for(parts._tend(), 30)
