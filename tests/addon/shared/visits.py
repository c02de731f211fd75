# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Visitors at two proxies while something is wrong with what the proxies share: what they get, and when all is well."""

from __future__ import annotations

import asyncio
import contextlib

from tests.addon.preview.sites import Site
from tests.addon.shared.conftest import FIRST, MakeNode
from tests.addon.shared.nodes import Node, Place
from tests.waiting import until

BLOG = ("alice", "blog")


async def two(node: MakeNode, redis: Place) -> tuple[Node, Node]:
    """Two proxies that know the blog, and are told of changes."""
    first, second = node(redis, redisTimeout="2s"), node(redis, redisTimeout="2s")
    for each in (first, second):
        await each.tracked()
        assert (await each.get("alice", "/blog/")).body == FIRST
        await each.settled()
    return first, second


class Load:
    """Visitors at two proxies who come again and again.

    seconds: how long each waited; wrong: what was no page; shown: what each proxy had for a page, one after the other.
    """

    def __init__(self, nodes: tuple[Node, Node]) -> None:
        self.nodes = nodes
        self.seconds: list[float] = []
        self.wrong: list[tuple[int, bytes]] = []
        self.shown: list[list[bytes]] = [[] for _ in nodes]
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Load:
        self._task = asyncio.ensure_future(self._visit())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _visit(self) -> None:
        while True:
            for each, shown in zip(self.nodes, self.shown):
                for path, status in (("/blog/", 200), ("/blog/a.css", 200), ("/blog/none", 404)):
                    page = await each.get("alice", path)
                    self.seconds.append(page.seconds)
                    if page.status != status or (path == "/blog/a.css" and page.body != b"a{}"):
                        self.wrong.append((page.status, page.body))
                    elif path == "/blog/" and shown[-1:] != [page.body]:
                        shown.append(page.body)
            await asyncio.sleep(0.002)


async def recovered(first: Node, second: Node, blog: Site, word: bytes) -> None:
    """Wait until a deploy that one proxy hears of is seen at the other."""
    for each in (first, second):
        await until(lambda each=each: not each.shared.away and each.looks.live, "an answer")  # type: ignore[misc]  # mypy cannot infer it
    blog.commit({"public/index.html": word})
    await first.looks.purge(BLOG)
    await first.comes_to(word)
    await second.comes_to(word)
