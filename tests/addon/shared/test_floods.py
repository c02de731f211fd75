# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Strangers who make up hosts, owners, repositories and paths: what that leaves in memory and in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from tests.addon.shared.conftest import FIRST, MakeNode
from tests.resp.servers import Server

MIB = 1024 * 1024


def made_up(count: int) -> Iterator[tuple[str, str]]:
    """Hosts and paths that nobody has."""
    for number in range(count):
        yield f"host{number}.example", f"/{number}"
        yield "alice", f"/blog/path{number}.html"
        yield "alice", f"/blog/folder{number}/"
        if number % 10 == 0:  # these cost a call to Forgejo each
            yield f"owner{number}", "/"
            yield "alice", f"/repository{number}/"


async def test_ten_thousand_made_up_names_fill_neither_memory_nor_redis_and_slow_no_site(
    node: MakeNode, redis: Server
) -> None:
    # However busy the machine, Redis is not taken for away.
    proxy = await node(redis, memoryCacheSize="4MiB", redisTimeout="5s").tracked()
    assert (await proxy.get("alice", "/blog/")).body == FIRST
    await proxy.settled()
    before = redis.ask("KEYS", "*")
    assert isinstance(before, list)
    asked = list(made_up(4000))
    assert len(asked) > 10_000
    statuses: set[int] = set()
    rounds, from_redis = 0, 0
    for start in range(0, len(asked), 100):
        pages = await asyncio.gather(*(proxy.get(*each) for each in asked[start : start + 100]))
        statuses |= {page.status for page in pages}
        known = await proxy.get("alice", "/blog/")
        assert known.body == FIRST
        from_redis += not known.at_once
        rounds += 1
    assert statuses <= {404, 503}
    # A few times for changes that are told, and once a minute for the password: never for what strangers ask.
    assert from_redis <= rounds / 10
    after = redis.ask("KEYS", "*")
    assert isinstance(after, list)
    assert len(after) <= len(before) + 2, after
    names = b" ".join(key for key in after if isinstance(key, bytes))
    assert not any(word in names for word in (b"host", b"owner", b"repository", b"path", b"folder"))
    assert proxy.library.memory.used <= 4 * MIB
