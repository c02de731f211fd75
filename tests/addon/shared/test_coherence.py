# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a proxy, or a hand, changes in Redis is seen by all others, and what is older than a change never comes back."""

import asyncio
import json
from typing import Any

import pytest

from addon.preview.forge import Forge
from addon.shared import records
from tests.addon.preview.sites import Site
from tests.addon.shared.conftest import FIRST, MakeNode
from tests.addon.shared.nodes import Node
from tests.resp.old_server import start_old_server
from tests.resp.servers import Server
from tests.waiting import becomes, until

REF = "~pages:ref:alice/blog@main"
BLOG = ("alice", "blog")


async def two(node: MakeNode, redis: Server, **options: Any) -> tuple[Node, Node]:
    """Two proxies that know the blog, and are told of changes."""
    first, second = await node(redis, **options).tracked(), await node(redis, **options).tracked()
    for each in (first, second):
        assert (await each.get("alice", "/blog/")).body == FIRST
        await each.settled()
    return first, second


async def aged(redis: Server, seconds: int, *nodes: Node) -> None:
    """Let time pass for the ref; returns when the proxies know."""
    for name in (REF, "~pages:repo:alice/blog"):
        left = redis.ask("PTTL", name)
        assert isinstance(left, int)
        redis.ask("PEXPIRE", name, left - seconds * 1000)
    await until(
        lambda: all(each.clock() - each.library.lookups()[0].looked > seconds - 10 for each in nodes), "the new age"
    )
    for each in nodes:
        await each.settled()


@pytest.mark.parametrize("keep", [True, False], ids=["keeping its expiry", "without an expiry"])
async def test_a_ref_changed_by_hand_is_seen_by_every_proxy(
    node: MakeNode, redis: Server, blog: Site, forge: Forge, keep: bool
) -> None:
    first, second = await two(node, redis)
    commit = blog.commit({"public/index.html": b"By hand"})
    value = redis.ask("GET", REF)
    assert isinstance(value, bytes)
    changed = json.dumps({**json.loads(value), "commit": commit})
    forge.forget_calls()
    redis.ask("SET", REF, changed, *(["KEEPTTL"] if keep else []))
    for each in (first, second):
        await each.comes_to(b"By hand")
    assert forge.count("/branches/") == 0  # what stands there is believed
    for each in (first, second):
        await becomes(each.at_once, True)
    left = redis.ask("PTTL", REF)
    assert isinstance(left, int)
    assert left > 0


@pytest.mark.parametrize("words", [["DEL", REF], ["FLUSHDB"], ["FLUSHALL"], ["EXPIRE", REF, "0"]])
async def test_what_is_deleted_by_hand_is_asked_for_again_by_the_next_visitor(
    node: MakeNode, redis: Server, blog: Site, words: list[str]
) -> None:
    first, second = await two(node, redis)
    blog.commit({"public/index.html": b"Second"})
    redis.ask(*words)
    for each in (first, second):
        await each.comes_to(b"Second")
    await until(lambda: redis.ask("EXISTS", REF) == 1, "the ref written again")


async def test_nobody_asks_forgejo_for_a_key_that_went_until_a_visitor_does(
    node: MakeNode, redis: Server, forge: Forge
) -> None:
    first, second = await two(node, redis)
    forge.forget_calls()
    redis.ask("DEL", REF)
    await until(lambda: all(each.library.lookups()[0].suspect for each in (first, second)), "the message")
    for each in (first, second):
        await each.settled()
    assert forge.count() == 0
    assert (await first.get("alice", "/blog/")).body == FIRST


async def test_what_one_proxy_finds_another_serves_without_asking_forgejo(
    node: MakeNode, redis: Server, blog: Site, forge: Forge
) -> None:
    first, second = await two(node, redis)
    blog.commit({"public/index.html": b"Second"})
    forge.forget_calls()
    await aged(redis, 400, first, second)  # older than cacheTTL
    await first.get("alice", "/blog/")
    for each in (first, second):
        await each.comes_to(b"Second")
    assert forge.count("/branches/") == 1
    assert forge.count("/git/trees/") == 1


async def test_many_proxies_refresh_a_ref_once(node: MakeNode, redis: Server, blog: Site, forge: Forge) -> None:
    several = [await node(redis).tracked() for _ in range(5)]
    with forge.fault("/git/trees/", delay=0.2):
        pages = await asyncio.gather(*(each.get("alice", "/blog/") for each in several))
    assert {page.body for page in pages} == {FIRST}
    assert forge.count("/git/trees/") == 1


async def test_a_lock_whose_owner_died_delays_nobody_for_long(node: MakeNode, redis: Server) -> None:
    redis.ask("SET", records.lock_key(BLOG), "of a dead one", "PX", "10000")
    page = await node(redis).get("alice", "/blog/")
    assert (page.status, page.seconds < 1.0) == (200, True)


async def test_a_purge_makes_every_proxy_look_again(node: MakeNode, redis: Server, blog: Site) -> None:
    first, second = await two(node, redis)
    for key, body in ((BLOG, b"Second"), (None, b"Third")):
        blog.commit({"public/index.html": body})
        assert await first.looks.purge(key)
        for each in (first, second):
            await each.comes_to(body)


async def test_an_answer_read_before_a_purge_is_not_stored_after_it(
    node: MakeNode, redis: Server, blog: Site, forge: Forge
) -> None:
    first, second = await two(node, redis)
    slow = await node(redis).tracked()
    await slow.get("alice", "/blog/")
    await slow.settled()
    await aged(redis, 400, slow)
    fault = forge.fault("/branches/", delay=0.4, times=1)
    await slow.get("alice", "/blog/")  # begins a look that was answered before the push
    await until(lambda: fault.used == 1, "the slow look")
    blog.commit({"public/index.html": b"Second"})
    await second.looks.purge(BLOG)
    for each in (first, second, slow):
        await each.comes_to(b"Second")
    await until(lambda: forge.in_flight == 0, "the slow answer")
    for each in (first, second, slow):
        await each.settled()
        assert (await each.get("alice", "/blog/")).body == b"Second"
    ref = redis.ask("GET", REF)
    assert isinstance(ref, bytes)
    assert json.loads(ref)["commit"] == blog.head()


async def test_an_answer_read_before_a_flush_is_not_stored_after_it(
    node: MakeNode, redis: Server, blog: Site, forge: Forge
) -> None:
    slow = await node(redis).tracked()
    old = forge.fault("/branches/", delay=0.3, times=1, document=lambda document: document)
    task = asyncio.ensure_future(slow.get("alice", "/blog/"))
    await until(lambda: old.used == 1, "the slow look")
    blog.commit({"public/index.html": b"Second"})
    redis.ask("FLUSHALL")
    await task
    await slow.settled()
    assert (await slow.get("alice", "/blog/")).body == b"Second"


async def test_a_path_that_a_deploy_removed_is_gone_at_once(node: MakeNode, redis: Server, blog: Site) -> None:
    first, second = await two(node, redis)
    assert (await second.get("alice", "/blog/old.html")).status == 200
    blog.commit({"public/old.html": None, "public/index.html": b"Second"})
    await first.looks.purge(BLOG)
    await second.comes_to(b"Second")
    assert (await second.get("alice", "/blog/old.html")).status == 404


async def test_a_repository_that_is_gone_is_gone_in_every_proxy_and_in_redis(
    node: MakeNode, redis: Server, blog: Site, forge: Forge
) -> None:
    first, second = await two(node, redis)
    forge.settings("alice/blog").private = True
    await aged(redis, 400, first, second)
    await first.get("alice", "/blog/")
    for each in (first, second):
        await each.comes_to(404)
    held = redis.ask("KEYS", "*")
    assert isinstance(held, list)
    kinds = {name.split(b":")[1] for name in held if isinstance(name, bytes)}
    assert kinds <= {b"repo", b"epoch", b"blob"}
    assert redis.ask("EXISTS", f"~pages:blob:{blog.blob_id(FIRST)}") == 0
    assert (await node(redis).get("alice", "/blog/")).status == 404
    forge.settings("alice/blog").private = False
    await second.looks.purge(BLOG)
    for each in (first, second):
        await each.comes_to(FIRST)


async def test_a_forced_push_and_a_way_back_are_right(node: MakeNode, redis: Server, blog: Site) -> None:
    first, second = await two(node, redis)
    old = blog.head()
    assert old is not None
    blog.commit({"public/index.html": b"Second"})
    await first.looks.purge(BLOG)
    for each in (first, second):
        await each.comes_to(b"Second")
    blog.point("main", old)
    await second.looks.purge(BLOG)
    for each in (first, second):
        await each.comes_to(FIRST)


async def test_where_nothing_tells_of_changes_memory_is_believed_for_memory_ttl(node: MakeNode, blog: Site) -> None:
    with start_old_server() as server:
        first, second = node(server.address, memoryTTL="300ms"), node(server.address, memoryTTL="300ms")
        await first.get("alice", "/blog/")
        await first.settled()
        await second.get("alice", "/blog/")
        await second.settled()
        assert not first.looks.live
        assert (await second.get("alice", "/blog/")).at_once
        blog.commit({"public/index.html": b"Second"})
        await first.looks.purge(BLOG)
        await second.comes_to(b"Second")


async def test_while_tracking_is_down_what_is_held_is_read_again_first(
    node: MakeNode, own_redis: Server, blog: Site, forge: Forge
) -> None:
    first, second = await two(node, own_redis)
    second.looks._tracking.close()  # type: ignore[union-attr]  # it is running
    second.looks.live = False
    second.looks.everything()
    blog.commit({"public/index.html": b"Second"})
    await first.looks.purge(BLOG)
    await first.comes_to(b"Second")
    await first.settled()
    forge.forget_calls()
    assert (await second.get("alice", "/blog/")).body == b"Second"
    assert forge.count() == 0
