# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Proxies that register domains: those of `tests.addon.shared.nodes`, and a DNS that says what a test tells it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from addon.domains.report import Report
from addon.forgejo.answers import Access, Branch, Repository
from addon.forgejo.errors import ForgejoError, Unreachable
from addon.net.clocks import Clocks
from addon.preview.forge import Forge
from addon.shared.domain_mappings import Mapping
from addon.wiring import open_registration
from tests.addon.preview.sites import Site
from tests.addon.shared.nodes import Node, Place
from tests.resp.fleets import Cluster
from tests.resp.servers import Server
from tests.waiting import until


class Word(NamedTuple):
    proven: bool | None
    how: str = ""
    missing: str = ""


@dataclass
class Dns:
    """proofs: domain and site → what DNS says; named: host → sites that its CNAME or TXT names; leads: whether here."""

    proofs: dict[tuple[str, str], bool | None] = field(default_factory=dict)
    named: dict[str, tuple[Mapping, ...]] = field(default_factory=dict)
    leads: dict[str, bool | None] = field(default_factory=dict)
    asked: int = 0

    async def proof(self, domain: str, owner: str, repository: str, repository_id: int, before: str = "") -> Word:
        self.asked += 1
        assert repository_id >= 0
        word = self.proofs.get((domain, f"{owner}/{repository}".lower()), False)
        return Word(word, "TXT" if word else "", "" if word else f"TXT at {domain} is missing")

    async def named_sites(self, host: str) -> tuple[Mapping, ...]:
        self.asked += 1
        return self.named.get(host, ())

    async def leads_here(self, host: str) -> bool | None:
        return self.leads.get(host, True)


class ToldForge:
    """Says what a test tells it, for what no forge says when it is asked to. branches: what is not there, and why."""

    def __init__(self, root_host: str = "git.test", **branches: ForgejoError) -> None:
        self.root_host = root_host
        self.branches = branches
        self.asked: list[str] = []
        self.away = False

    async def repository(self, owner: str, repo: str) -> Repository:
        self.asked.append(f"{owner}/{repo}")
        if self.away:
            raise Unreachable("no connection")
        self.root_host = "git.test"
        return Repository(owner, repo, 7, "main", False, True, False, "sha1", 1.0, Access.ANONYMOUS)

    async def branch(self, repository: Repository, branch: str) -> Branch:
        self.asked.append(branch)
        if branch in self.branches:
            raise self.branches[branch]
        return Branch(branch, "a" * 40, 1.0, Access.ANONYMOUS)

    async def version(self) -> str:
        self.asked.append("version")
        if self.away:
            raise Unreachable("no connection")
        return "1"


class Proxy(Node):
    """One proxy with custom domains."""

    def __init__(self, forge_url: str, redis: Place, folder: Path, dns: Dns | None = None, **options: Any) -> None:
        # Routers are another matter, and have tests of their own.
        super().__init__(forge_url, redis, folder, **{"traefikRedisRouterEnabled": False, **options})
        self.dns = dns
        told = replace(self.sources, clocks=Clocks(self.clock, lambda: time.time() + self.skipped))
        self.registration = open_registration(self._closing, told, self.store, self.domains, dns)
        self.registry = self.registration.registry
        self.server.visited = self.registration.visited

    async def visit(self, owner: str, path: str) -> int:
        """A request on the pages domain, and what it leads to behind the visitor's back."""
        page = await self.get(owner, path)
        await self.quiet()
        return page.status

    async def quiet(self) -> None:
        """Wait until nothing is being registered."""
        registry = self.registry
        await until(lambda: not registry._workers and not registry._waiting, "nothing to be registered")

    async def pushed(self, name: str) -> Report | None:
        """What Forgejo's webhook does after a push."""
        owner, _, repository = name.lower().partition("/")
        await self.registration.purge((owner, repository))
        await self.quiet()
        return self.registry.report(owner, repository)

    async def shows(self, host: str) -> str | None:
        """What a host shows, as `owner:repository[:branch]`."""
        found = await self.store.get(host)
        assert found is None or isinstance(found, Mapping)
        return None if found is None else ":".join(part for part in found if part is not None)

    async def aclose(self) -> None:
        await self.registration.aclose()
        await super().aclose()


class Owners:
    """Repositories in a forge, by their names: `sites["alice/blog"] = ".pages"`."""

    def __init__(self, folder: Path, forge: Forge) -> None:
        self.folder = folder
        self.forge = forge
        self.open: dict[str, Site] = {}

    def push(self, name: str, pages: str | None, *, branches: tuple[str, ...] = ()) -> Site:
        """What a push does that leaves this `.pages` on the default branch; None: no such file."""
        files = {"public/index.html": f"<h1>{name}</h1>".encode()}
        if name not in self.open:
            self.open[name] = Site(self.folder / f"{name}.git", files)
        site = self.open[name]
        site.commit({".pages": None if pages is None else pages.encode()})
        for branch in branches:
            site.commit({"public/index.html": branch.encode()}, branch=branch)
        return site


async def blog_at(node: Proxy, owners: Owners, pages: str, *, branches: tuple[str, ...] = ()) -> Proxy:
    """That proxy, when somebody was there on alice/blog, whose `.pages` is this."""
    owners.push("alice/blog", pages, branches=branches)
    await node.visit("alice", "/blog/")
    return node


async def blog_says(node: Proxy, owners: Owners, pages: str | None) -> Report | None:
    """A push to alice/blog that leaves this `.pages`, and what Forgejo's webhook does after it."""
    owners.push("alice/blog", pages)
    return await node.pushed("alice/blog")


def keys_of(redis: Server | Cluster) -> dict[str, str]:
    """All that domains leave in Redis, the cache's own keys left out."""
    names = redis.ask("KEYS", "*")
    assert isinstance(names, list)
    found = {}
    for name in names:
        assert isinstance(name, bytes)
        text = name.decode()
        if text.startswith(("~pages:", "password:")) and not text.startswith("~pages:domains:"):
            continue
        value = redis.ask("GET", name)
        if isinstance(value, bytes):  # else it went just now
            found[text] = value.decode()
    return found


MakeProxy = Callable[..., Proxy]

__all__ = ["Dns", "MakeProxy", "Owners", "Proxy", "ToldForge", "Word", "blog_at", "blog_says", "keys_of"]
