# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`password:{owner}:{repository}` in Redis: a value there locks a running site at once, and none opens a locked one."""

import asyncio
from pathlib import Path

import pytest

from tests.addon.access_cases import OTHER, SECRET
from tests.addon.shared.conftest import FIRST, MakeNode
from tests.addon.shared.nodes import Node
from tests.forge.sites import Site
from tests.resp.servers import Server

NAME = "password:alice:blog"


async def status(node: Node, path: str = "/blog/") -> int:
    return (await node.get("alice", path)).status


async def becomes(node: Node, expected: int, path: str = "/blog/") -> None:
    """Wait until a page has this status, asked for by nobody else."""
    found: list[int] = []
    for _ in range(400):
        found.append(await status(node, path))
        if found[-1] == expected:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(found[-5:])


async def test_a_value_locks_the_running_site_at_once_and_its_removal_opens_it(
    node: MakeNode, redis: Server, blog: Site
) -> None:
    nodes = [await node(redis).tracked() for _ in range(2)]
    for each in nodes:
        assert await status(each) == 200
        await each.settled()
    redis.ask("SET", NAME, SECRET)
    for each in nodes:
        await becomes(each, 401)
        page = await each.get("alice", "/blog/a.css")
        assert (page.status, b"a{}" in page.body) == (401, False)
    redis.ask("DEL", NAME)
    for each in nodes:
        await becomes(each, 200)


async def test_what_the_plugin_wrote_locks_until_it_expires(node: MakeNode, redis: Server, blog: Site) -> None:
    each = await node(redis).tracked()
    redis.ask("SETEX", NAME, 60, SECRET)
    assert await status(each) == 401
    redis.ask("PEXPIRE", NAME, 1)
    redis.ask("GET", NAME)
    await becomes(each, 200)


@pytest.mark.parametrize("value", ["", None])
async def test_an_empty_value_opens_no_locked_site(
    node: MakeNode, redis: Server, blog: Site, value: str | None
) -> None:
    blog.commit({".pages": f"enabled: true\npassword: {SECRET}\n".encode()})
    each = await node(redis).tracked()
    if value is not None:
        redis.ask("SET", NAME, value)
    assert await status(each) == 401


async def test_the_pages_file_says_which_password_where_it_has_one(node: MakeNode, redis: Server, blog: Site) -> None:
    blog.commit({".pages": f"enabled: true\npassword: {SECRET}\n".encode()})
    each = await node(redis).tracked()
    redis.ask("SET", NAME, "garbage " + OTHER)
    assert await status(each) == 401  # not 403


@pytest.mark.parametrize("value", ["garbage", " ", "\n", "0" * 63, "\x00", "0" * 100_000, "$argon2id$"])
async def test_garbage_closes(node: MakeNode, redis: Server, blog: Site, value: str) -> None:
    redis.ask("SET", NAME, value)
    page = await (await node(redis).tracked()).get("alice", "/blog/")
    assert page.status == 403
    assert FIRST not in page.body


async def test_a_key_of_a_wrong_kind_closes(node: MakeNode, redis: Server, blog: Site) -> None:
    redis.ask("LPUSH", NAME, SECRET)
    assert await status(await node(redis).tracked()) == 403


async def test_a_lock_outlives_redis_and_a_push(node: MakeNode, own_redis: Server, blog: Site) -> None:
    each = await node(own_redis, cacheTTL=1).tracked()
    own_redis.ask("SET", NAME, SECRET)
    assert await status(each) == 401
    await each.settled()
    own_redis.kill()
    blog.commit({"public/index.html": b"new"})
    each.skipped += 5
    for path in ("/blog/", "/blog/a.css", "/blog/none", "/blog/"):
        assert await status(each, path) == 401


async def test_it_costs_no_round_trip(node: MakeNode, redis: Server, blog: Site) -> None:
    each = await node(redis).tracked()
    await status(each)
    await each.settled()
    other = await node(redis).tracked()
    await status(other)
    assert other.shared.trips <= 3  # the repository with its ref and its lock; its contents; the page
    trips = other.shared.trips
    assert await status(other) == 200
    assert other.shared.trips == trips


@pytest.mark.parametrize("written", ["password:alice:Members", "password:alice:members"])
async def test_the_name_counts_as_forgejo_writes_it(
    node: MakeNode, redis: Server, blog: Site, tmp_path: Path, written: str
) -> None:
    site = Site(tmp_path / "forge" / "alice" / "Members.git", {".pages": b"", "public/index.html": b"in"})
    redis.ask("SET", written, SECRET)
    for _ in range(2):
        each = await node(redis).tracked()
        assert await status(each, "/Members/") == 401
        await each.settled()
    redis.ask("DEL", written)
    await becomes(each, 200, "/Members/")
    redis.ask("SET", written, SECRET)
    await becomes(each, 401, "/Members/")
    site.close()


async def test_what_the_plugin_left_for_an_open_site_leaves_it_open(node: MakeNode, redis: Server, blog: Site) -> None:
    redis.ask("SETEX", NAME, 35, "")
    redis.ask("SETEX", "password:alice:redir", 36, SECRET)
    assert await status(await node(redis).tracked()) == 200
