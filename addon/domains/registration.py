# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The registry of custom domains put in its place: told of looks, visits, pushes and unknown hosts.

Made where the server is made, by plugin and tests alike, so that both have the same parts wired in the same way.
Without `enableCustomDomains` nothing is registered, and nothing that others registered is released.
"""

import asyncio
from contextlib import suppress
from typing import Final

from addon.domains.desired_domains import Forge, Prover
from addon.domains.rechecks import Rechecks
from addon.domains.registry import Registry
from addon.domains.resolver import Domains
from addon.domains.store import DomainStore, StoreAway
from addon.domains.traefik_routers import TraefikRouters
from addon.library.library import Library
from addon.net.background import ended
from addon.net.clocks import SYSTEM, Clocks
from addon.settings.schema import Settings
from addon.shared.lookup import Key, Lookup

_LEAST_PAUSE: Final = 0.5
"""Seconds between two rounds in which routers are written anew, at least."""


class CustomDomains:
    """The parts, for as long as the server runs. Lives on the event loop."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        forge: Forge,
        store: DomainStore,
        domains: Domains,
        prover: Prover | None = None,
        clocks: Clocks = SYSTEM,
    ) -> None:
        self.routers = TraefikRouters(settings, store)
        self.registry = Registry(
            settings,
            store,
            library,
            forge,
            prover=prover,
            hosts=domains,
            routers=self.routers,
            clocks=clocks,
        )
        self._enabled = settings.enable_custom_domains
        self._library = library
        self._domains = domains
        self._store = store
        self._tending: asyncio.Task[None] | None = None
        demanded = settings.enable_custom_domain_dns_verification
        self._rechecks = (
            Rechecks(store, prover, self.registry, now=clocks.now) if prover is not None and demanded else None
        )
        self._rechecking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to register; on the loop."""
        if self._enabled:
            self._library.looked = self.registry.notice
            self._domains.finder = self.registry.discover
            self._domains.lost = lambda host, mapping: self.registry.again(mapping.site)
            self.registry.start()
            if self._rechecks is not None:
                self._rechecking = asyncio.ensure_future(self._rechecks.run())
        self._tending = asyncio.ensure_future(self._tend())

    async def _tend(self) -> None:
        """Write the router of the pages domain, and from time to time all whose life ends."""
        await self.routers.publish_pages_domain()
        life = self.routers.routers.life
        while life > 0 and self._enabled and self._store.shared:
            await asyncio.sleep(max(_LEAST_PAUSE, life / 3))
            with suppress(StoreAway):
                async for host, mapping in self._store.mappings():
                    if mapping is not None and await self.registry.may_have_certificate(host):
                        await self.routers.publish([host])
            await self.routers.publish_pages_domain()

    def visited(self, lookup: Lookup) -> bool:
        """A visitor came to a site; True where the next visit may change what it has."""
        if not self._enabled:
            return False
        self.registry.notice(lookup)
        return self.registry.unsettled(lookup)

    def states(self, owner: str, name: str) -> list[tuple[str, str, str]]:
        """For a site's owner: each host that it names, what it is, and what it still needs."""
        report = self.registry.report(owner, name) if self._enabled else None
        return [] if report is None else report.states

    async def purge(self, key: Key | None) -> bool:
        """Look at a repository again, and at what it wants registered, though nobody ever visited it."""
        done = await self._library.purge(key)
        if self._enabled:
            self.registry.pushed(key)
        return done

    async def aclose(self) -> None:
        """Stop; before the library and the store."""
        await ended(self._tending, self._rechecking)
        await self.registry.aclose()
