# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Several proxies in one process: each with a memory, a client of Forgejo and a client of Redis of its own."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

from addon.access.signing_key import SigningKey, Source
from addon.library.refresh import SharedRefresh
from addon.net.clocks import Clocks
from addon.serving.answers import Request
from addon.settings.schema import Settings
from addon.shared.cache import SharedCache
from addon.web.forwarding import Visitor
from addon.wiring import open_access, open_previews, open_resolver, open_server, open_sources, shared_of
from tests.resp.fleets import MASTER, Cluster, Watched
from tests.resp.servers import Server
from tests.waiting import becomes, until

PAGES_DOMAIN = "pages.test"
VISITOR = Visitor("192.0.2.7", True)


Place = Server | Cluster | Watched | tuple[str, int] | str | None
"""Where Redis is: a server, many, an address, a URL, or nowhere."""


def options_of(redis: Place) -> dict[str, Any]:
    """The settings that say where Redis is."""
    if isinstance(redis, str):
        return {"redisURL": redis}
    if isinstance(redis, Watched):
        return {"redisSentinels": [each.place for each in redis.sentinels], "redisSentinelMaster": MASTER}
    if isinstance(redis, Cluster):
        first = redis.alive()[0]
        return {"redisHost": first.host, "redisPort": first.port, "redisCluster": True}
    if redis is None:
        return {}
    host, port = redis.address if isinstance(redis, Server) else redis
    return {"redisHost": host, "redisPort": port}


class Page(NamedTuple):
    """What a visitor got, and how."""

    status: int
    body: bytes
    cache: str
    seconds: float
    at_once: bool
    """Whether memory had it: no await, no trip to anybody."""


class Node:
    """One proxy's worth of server."""

    def __init__(self, forge_url: str, redis: Place, folder: Path, **options: Any) -> None:
        mapping: dict[str, Any] = {
            "pagesDomain": PAGES_DOMAIN,
            "forgejoHost": forge_url,
            "stateDir": str(folder),
            **options,
            **options_of(redis),
        }
        self.settings = Settings.from_mapping(mapping, environ={})
        self.skipped = 0.0
        self._closing = stack = AsyncExitStack()
        self.sources = open_sources(
            stack, self.settings, shared_of(self.settings), threads=4, clocks=Clocks(self.clock)
        )
        self.forgejo, self.library = self.sources.forgejo, self.sources.library
        access = open_access(stack, self.sources, SigningKey(b"k" * 32, Source.SETTINGS))
        self.store, self.domains = open_resolver(stack, self.sources)
        self.previews = open_previews(stack, self.sources)
        self.server = open_server(stack, self.sources, access, self.domains, self.previews)

    def clock(self) -> float:
        """Seconds that pass by themselves, and by `skipped`."""
        return time.monotonic() + self.skipped

    @property
    def looks(self) -> SharedRefresh:
        assert self.library.shared_looks is not None
        return self.library.shared_looks

    @property
    def shared(self) -> SharedCache:
        return self.looks.shared

    async def tracked(self) -> Node:
        """The same, once it is told of changes."""
        await until(lambda: self.looks.live, "tracking")
        return self

    async def settled(self) -> None:
        """Wait until what it wrote is written, and what it was told of that is read."""

        def quiet() -> bool:
            asked = self.shared._under_way + self.shared.turns.waiting
            return not self.shared._pending and not asked and not len(self.library._flights)

        for _ in range(4):
            await until(quiet, "nothing to be written or read")
            await asyncio.sleep(0.01)  # messages that are on their way

    async def get(self, host: str, path: str, method: str = "GET") -> Page:
        """A request; a host without a dot is an owner's name."""
        name = host if "." in host else f"{host}.{PAGES_DOMAIN}"
        request = Request(method, name, path, None, lambda _: None, lambda: VISITOR)
        began = time.monotonic()
        answer = self.server.answer_from_memory(request)
        at_once = answer is not None
        if answer is None:
            answer = await self.server.answer(request)
        body = answer.body
        if answer.stream is not None:
            async with answer.stream() as chunks:
                body = b"".join([chunk async for chunk in chunks])
        return Page(answer.status, body, answer.cache, time.monotonic() - began, at_once)

    async def at_once(self, host: str = "alice", path: str = "/blog/") -> bool:
        """Whether memory has the answer to a request that is made now."""
        return (await self.get(host, path)).at_once

    async def comes_to(self, wanted: int | bytes, host: str = "alice", path: str = "/blog/") -> None:
        """Wait until visitors get this status, or these bytes."""

        async def found() -> int | bytes:
            page = await self.get(host, path)
            return page.status if isinstance(wanted, int) else page.body

        await becomes(found, wanted)

    async def aclose(self) -> None:
        await self._closing.aclose()
