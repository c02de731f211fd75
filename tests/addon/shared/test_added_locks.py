# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`password:{owner}:{repository}` in Redis: a value there locks a running site at once, and none opens a locked one.

What `.pages` says is written there as well, for a minute, as the Traefik plugin does; that is never taken for a lock.
"""

from pathlib import Path
from typing import Any

import pytest

import resp
from addon.net.fair_queue import FairQueue
from addon.preview.forge import Forge
from addon.shared.added_locks import added_of
from tests.addon.access.access_cases import OTHER, SECRET
from tests.addon.preview.sites import Site
from tests.addon.shared.conftest import FIRST, MakeNode
from tests.addon.shared.nodes import Node
from tests.resp.servers import Server
from tests.waiting import until

NAME = "password:alice:blog"


async def status(node: Node, path: str = "/blog/") -> int:
    return (await node.get("alice", path)).status


def suspected(node: Node) -> bool:
    """Whether what memory holds of the site is to be read again."""
    known = node.library.peek(("alice", "blog"))
    return known is not None and known.suspect


async def test_a_value_locks_the_running_site_at_once_and_its_removal_opens_it(
    node: MakeNode, redis: Server, blog: Site
) -> None:
    nodes = [await node(redis).tracked() for _ in range(2)]
    for each in nodes:
        assert await status(each) == 200
        await each.settled()
    redis.ask("SET", NAME, SECRET)
    for each in nodes:
        await each.comes_to(401)
        page = await each.get("alice", "/blog/a.css")
        assert (page.status, b"a{}" in page.body) == (401, False)
    redis.ask("DEL", NAME)
    for each in nodes:
        await each.comes_to(200)


async def test_what_the_plugin_wrote_locks_until_it_expires(node: MakeNode, redis: Server, blog: Site) -> None:
    each = await node(redis).tracked()
    redis.ask("SETEX", NAME, 60, SECRET)
    assert await status(each) == 401
    redis.ask("PEXPIRE", NAME, 1)
    redis.ask("GET", NAME)
    await each.comes_to(200)


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


async def test_a_lock_outlives_redis_and_want_of_room(node: MakeNode, own_redis: Server, blog: Site) -> None:
    each = await node(own_redis).tracked()
    own_redis.ask("SET", NAME, SECRET)
    assert await status(each) == 401
    await each.settled()
    own_redis.kill()
    for path in ("/blog/", "/blog/a.css"):
        each.library.memory.drop(("site", "alice", "blog"))
        assert await status(each, path) == 401
    own_redis.restart()  # empty
    await each.comes_to(200)


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
    await each.comes_to(200, path="/Members/")
    redis.ask("SET", written, SECRET)
    await each.comes_to(401, path="/Members/")
    site.close()


async def test_what_the_plugin_left_for_an_open_site_leaves_it_open(node: MakeNode, redis: Server, blog: Site) -> None:
    redis.ask("SETEX", NAME, 35, "")
    redis.ask("SETEX", "password:alice:redir", 36, SECRET)
    assert await status(await node(redis).tracked()) == 200


def told(redis: Server, name: str = NAME) -> tuple[bytes | None, int]:
    """What stands there, and for how many seconds."""
    value, left = redis.ask("GET", name), redis.ask("TTL", name)
    assert value is None or isinstance(value, bytes)
    assert isinstance(left, int)
    return value, left


def locked(password: str, **more: str) -> dict[str, bytes]:
    lines = [f"password: {password}", *(f"{name}: {value}" for name, value in more.items())]
    return {".pages": "\n".join(lines).encode() + b"\n"}


async def test_what_the_pages_file_says_is_written_for_a_minute(
    node: MakeNode, redis: Server, blog: Site, tmp_path: Path
) -> None:
    members = Site(tmp_path / "forge" / "alice" / "Members.git", locked(SECRET.upper(), branchesPassword=OTHER))
    each = await node(redis).tracked()
    assert (await status(each), await status(each, "/Members/")) == (200, 401)
    await each.settled()
    (open_value, open_left), (value, left) = told(redis), told(redis, "password:alice:Members")
    assert (open_value, value) == (b"", SECRET.upper().encode())
    assert 55 <= open_left <= 60
    assert 55 <= left <= 60
    members.close()


async def test_a_password_that_was_dropped_stays_no_lock_where_it_was_written(
    node: MakeNode, redis: Server, blog: Site
) -> None:
    blog.commit(locked(SECRET))
    nodes = [await node(redis).tracked() for _ in range(2)]
    for each in nodes:
        assert await status(each) == 401
        await each.settled()
    blog.commit({".pages": b"enabled: true\n"})
    assert told(redis)[0] == SECRET.encode()
    cold = await node(redis).tracked()
    await nodes[0].looks.purge(("alice", "blog"))
    for each in (*nodes, cold):
        await each.comes_to(200)
    assert told(redis)[0] == b""


async def test_a_cold_proxy_takes_what_another_wrote_for_no_lock(node: MakeNode, redis: Server, blog: Site) -> None:
    blog.commit(locked(SECRET))
    each = await node(redis).tracked()
    assert await status(each) == 401
    await each.settled()
    blog.commit({".pages": b"enabled: true\n"})
    names = redis.ask("KEYS", "~pages:re*")  # what is known of the repository and its branch
    assert isinstance(names, list)
    redis.ask("DEL", *(name.decode() for name in names if isinstance(name, bytes)))
    assert told(redis)[0] == SECRET.encode()
    assert await status(await node(redis).tracked()) == 200


async def test_a_changed_password_is_written_anew(node: MakeNode, redis: Server, blog: Site) -> None:
    blog.commit(locked(SECRET))
    each = await node(redis).tracked()
    assert await status(each) == 401
    await each.settled()
    blog.commit(locked(OTHER))
    await each.looks.purge(("alice", "blog"))
    assert await status(each) == 401
    await each.settled()
    assert told(redis)[0] == OTHER.encode()


@pytest.mark.parametrize("pages", [{".pages": b"enabled: true\n"}, locked(OTHER)])
@pytest.mark.parametrize("options", [(), ("EX", 30)])
async def test_what_somebody_else_set_is_not_written_over(
    node: MakeNode, redis: Server, blog: Site, options: tuple[str | int, ...], pages: dict[str, bytes]
) -> None:
    blog.commit(pages)
    each = await node(redis).tracked()
    assert await status(each) in (200, 401)
    await each.settled()
    redis.ask("SET", NAME, SECRET, *options)
    for _ in range(2):
        await each.looks.purge(("alice", "blog"))
        await each.comes_to(401)
        await each.settled()
    value, left = told(redis)
    assert value == SECRET.encode()
    assert left == -1 if not options else 25 <= left <= 30


async def test_an_empty_value_set_by_hand_stays_as_it_is(node: MakeNode, redis: Server, blog: Site) -> None:
    blog.commit(locked(SECRET))
    redis.ask("SET", NAME, "")
    each = await node(redis).tracked()
    assert await status(each) == 401
    await each.settled()
    assert told(redis) == (b"", -1)


async def test_the_same_hash_set_by_hand_locks_when_the_pages_file_drops_it(
    node: MakeNode, redis: Server, blog: Site
) -> None:
    redis.ask("SET", NAME, SECRET)
    blog.commit(locked(SECRET))
    each = await node(redis).tracked()
    assert await status(each) == 401
    await each.settled()
    blog.commit({".pages": b"enabled: true\n"})
    await each.looks.purge(("alice", "blog"))
    assert await status(each) == 401
    assert told(redis) == (SECRET.encode(), -1)


async def test_nothing_is_written_of_what_is_no_site(node: MakeNode, redis: Server, blog: Site) -> None:
    blog.commit({".pages": b"password: [\n"})
    each = await node(redis).tracked()
    assert await status(each) == 500
    assert await status(each, "/none/") == 404
    await each.settled()
    assert redis.ask("KEYS", "password:*") == []


def moved(forge: Forge, new: str) -> None:
    forge.registry.owner_settings("alice")  # who is there still, without any repository
    forge.rename("alice/blog", new)


@pytest.mark.parametrize("new", ["bob/blog", "alice/Diary", "bob/Diary"])
async def test_a_lock_under_the_present_name_holds_under_a_former_one(
    node: MakeNode, redis: Server, blog: Site, forge: Forge, new: str
) -> None:
    moved(forge, new)
    key = "password:" + new.replace("/", ":")
    redis.ask("SET", key, SECRET)
    for _ in range(2):  # by way of Forgejo, and of Redis
        each = await node(redis).tracked()
        assert await status(each) == 401
        await each.settled()
    redis.ask("DEL", key)
    await each.comes_to(200)
    redis.ask("SET", key, SECRET)
    await each.comes_to(401)


async def test_what_is_written_of_a_moved_repository_is_no_lock(
    node: MakeNode, redis: Server, blog: Site, forge: Forge
) -> None:
    blog.commit(locked(SECRET))
    moved(forge, "bob/blog")
    each = await node(redis).tracked()
    assert await status(each) == 401
    await each.settled()
    assert told(redis, "password:bob:blog")[0] == SECRET.encode()
    assert told(redis)[0] is None
    blog.commit({".pages": b"enabled: true\n"})
    await each.looks.purge(("alice", "blog"))
    assert await status(each) == 200


async def test_a_lock_that_is_read_counts_before_forgejo_has_answered(
    node: MakeNode, redis: Server, blog: Site, forge: Forge
) -> None:
    each = await node(redis, cacheTTL=10).tracked()
    assert await status(each) == 200
    await each.settled()
    with forge.fault(hang=True):  # so old that Forgejo has to be asked, which takes longer than a visitor waits
        for name in ("~pages:repo:alice/blog", "~pages:ref:alice/blog@main"):
            left = redis.ask("PTTL", name)
            assert isinstance(left, int)
            redis.ask("PEXPIRE", name, left - 25_000)
        each.skipped += 25
        redis.ask("SET", NAME, SECRET)
        await until(lambda: suspected(each), "told of the lock")
        assert await status(each) == 401


@pytest.mark.parametrize("pinned", [("PERSIST", NAME), ("EXPIRE", NAME, 3600), ("SET", NAME, SECRET)])
async def test_what_we_wrote_is_a_lock_once_somebody_keeps_it(
    node: MakeNode, redis: Server, blog: Site, pinned: tuple[str | int, ...]
) -> None:
    blog.commit(locked(SECRET))
    each = await node(redis).tracked()
    assert await status(each) == 401
    await each.settled()
    redis.ask(*pinned)
    blog.commit({".pages": b"enabled: true\n"})
    await each.looks.purge(("alice", "blog"))
    assert await status(each) == 401
    value, left = told(redis)
    assert value == SECRET.encode()
    assert left == -1 or left > 3500


async def test_a_site_read_while_redis_had_no_time_is_soon_read_again(
    node: MakeNode, redis: Server, blog: Site
) -> None:
    redis.ask("SET", NAME, SECRET)
    each = await node(redis).tracked()
    turns, each.shared.turns = each.shared.turns, FairQueue(1, expected=60.0)
    async with each.shared.turns.turn(1.0):  # more is to be asked than Redis answers
        assert await status(each) == 200
    each.shared.turns = turns
    each.skipped += each.settings.memory_ttl + 1
    assert await status(each) == 401


SET, OURS, MINUTE = SECRET.encode(), SECRET.encode(), 60_000
REFUSED = resp.NoPermission("NOPERM", "no permissions")


@pytest.mark.parametrize(
    ("told", "there", "left", "lock"),
    [
        (None, None, -2, ""),
        (OURS, None, -2, ""),
        (None, SET, MINUTE, SECRET),
        (b"", SET, 1, SECRET),
        (b"0", SET, 1, SECRET),
        (b"other", SET, 1, SECRET),
        (OURS, SET, MINUTE, ""),
        (OURS, SET, 1, ""),
        (OURS, SET, 0, ""),
        (OURS, SET, -2, ""),  # it went between two of our questions
        (OURS, SET, MINUTE + 1, SECRET),
        (OURS, SET, -1, SECRET),
        (OURS, SET, None, SECRET),
        (OURS, SET, REFUSED, SECRET),
        (REFUSED, SET, MINUTE, SECRET),
        (None, REFUSED, REFUSED, ""),
        (None, b"", -1, ""),
        (None, b" \n", -1, "no hash"),
        (None, b" x\n", -1, "x"),
        (None, b"\xff", -1, "\ufffd"),
        (None, b"x" * 600, -1, "x" * 600),
        (None, b"x" * 601, -1, "x" * 600),
        (None, 1, -1, "no hash"),
        (None, resp.WrongType("WRONGTYPE", "a list"), -1, "no hash"),
    ],
)
def test_a_lock_is_what_we_did_not_say_ourselves_or_somebody_keeps(told: Any, there: Any, left: Any, lock: str) -> None:
    assert added_of([told, there, left]) == lock


def test_of_two_places_the_last_that_has_a_lock_counts() -> None:
    none, ours, one, other = [None, None, -2], [OURS, SET, MINUTE], [None, b"one", -1], [None, b"other", -1]
    assert added_of(one + other) == "other"
    assert added_of(one + none) == added_of(one + ours) == added_of(ours + one) == "one"
    assert added_of(none + ours) == added_of([]) == ""


def test_a_lock_that_redis_does_not_tell_of_is_no_missing_one() -> None:
    with pytest.raises(resp.ServerError):
        added_of([None, resp.ServerError("ERR", "something"), -1])
