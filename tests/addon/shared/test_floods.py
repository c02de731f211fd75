# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Strangers who make up hosts, owners, repositories and paths: what that leaves in memory and in Redis."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

from addon.net.fair_queue import FairQueue, on_account
from addon.shared.round_trips import RoundTrips
from tests.addon.conftest import ONE_KIND
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


@ONE_KIND
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


@ONE_KIND
async def test_questions_to_redis_take_turns_and_too_many_do_not_make_it_away(node: MakeNode, redis: Server) -> None:
    shared = (await node(redis, redisTimeout="10s", redisMaxConnections=4).tracked()).shared
    order: list[str] = []
    go = threading.Event()

    def asked(who: str) -> Callable[[RoundTrips], str]:
        def job(trips: RoundTrips) -> str:
            go.wait(30)
            order.append(who)
            return str(trips.run([("PING",)])[0])

        return job

    async def ask(who: str) -> str | None:
        with on_account(visitor=who):
            return await shared.run(asked(who))

    flood = [asyncio.create_task(ask("192.0.2.66")) for _ in range(200)]
    await asyncio.sleep(0)
    others = [asyncio.create_task(ask(f"192.0.2.{number}")) for number in range(3)]
    await asyncio.sleep(0)
    assert shared.turns.busy == 4  # three of them the flood's
    go.set()
    assert all(await asyncio.gather(*others))
    assert all(await asyncio.gather(*flood))
    assert max(at for at, who in enumerate(order) if who != "192.0.2.66") <= 12
    go.clear()
    shared.turns = FairQueue(4, most_each=3, expected=60.0)  # as slow as can be: who comes now would come too late
    held = [asyncio.create_task(ask("192.0.2.66")) for _ in range(4)]
    await asyncio.sleep(0)
    refused = shared.turns.refused
    assert await ask("192.0.2.66") is None
    assert shared.turns.refused == refused + 1
    assert not shared.away
    go.set()
    await asyncio.gather(*held)
