# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Traefik's routers in Redis, each changed in one step, beside the mappings that they follow.

A router never says anything of its own: told of a host, whatever happened to it, this looks at its mapping and brings
the router in line. So nobody has to be told in the right order, and what was missed is mended by `pages domains sync`.
"""

from collections.abc import Iterable

from addon.domains.store import NO_ANSWER, DomainStore, View, Writes
from addon.settings.schema import Settings
from addon.shared.traefik_router_keys import Routers


class TraefikRouters:
    """The routers of hosts, in the store of domains. Lives on the event loop."""

    def __init__(self, settings: Settings, store: DomainStore) -> None:
        self.routers = Routers(settings)
        self._store = store

    @property
    def enabled(self) -> bool:
        """Whether routers are written at all."""
        return self.routers.enabled

    async def publish(self, hosts: Iterable[str]) -> None:
        """Hosts that show something now; what Redis misses, it gets when it is back."""
        if self.routers.enabled:
            await self._follow(hosts)

    async def withdraw(self, hosts: Iterable[str]) -> None:
        """Hosts that show nothing any more. Routers go even where none are written: they may be the plugin's."""
        if self._store.shared:
            await self._follow(hosts)

    async def publish_pages_domain(self) -> None:
        """The router of the pages domain itself, as the plugin writes it at its start."""
        if self.routers.enabled:
            await self._store.change(self.routers.base_plan, owed=("router", ""), life=self.routers.life)

    async def follow(self, host: str) -> bool | None:
        """Bring one router in line, now; says whether the host has one, None where Redis gives no answer."""
        told = await self._store.change(lambda view: self._plan(view, host), life=self.routers.life)
        return None if told is NO_ANSWER else told

    async def _follow(self, hosts: Iterable[str]) -> None:
        for host in hosts:
            await self._store.change(
                lambda view, host=host: self._plan(view, host), owed=("router", host), life=self.routers.life
            )

    def _plan(self, view: View, host: str) -> tuple[Writes, bool]:
        return self.routers.plan(view, host)
