# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Redis away, slow, refusing or emptied, Forgejo away, and both: no request fails for it, and none waits long."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from addon.preview.forge import Forge
from tests.addon.preview.sites import Site
from tests.addon.shared.conftest import FIRST, MakeNode
from tests.addon.shared.nodes import Node
from tests.ports import free_port
from tests.resp.servers import Server
from tests.waiting import until

BLOG = ("alice", "blog")
REF = "~pages:ref:alice/blog@main"


@contextlib.contextmanager
def answering(reply: bytes | None) -> Iterator[tuple[str, int]]:
    """A server that says the same to everything; None: nothing at all."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def talk(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                if reply is not None:
                    connection.sendall(reply)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in connections:
            connection.close()


REPLIES: dict[str, bytes | None] = {
    "nothing": None,
    "NOAUTH": b"-NOAUTH Authentication required.\r\n",
    "LOADING": b"-LOADING Redis is loading the dataset in memory\r\n",
    "MASTERDOWN": b"-MASTERDOWN Link with MASTER is down\r\n",
    "NOPERM": b"-NOPERM this user has no permissions\r\n",
    "ERR": b"-ERR something\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "noise": b"\x00\xff\x00\xff" * 100,
    "OK": b"+OK\r\n" * 12,
    "numbers": b":1\r\n" * 12,
}


@pytest.mark.parametrize("reply", REPLIES)
async def test_a_redis_that_answers_nonsense_or_nothing_is_no_reason_to_fail_or_to_wait(
    node: MakeNode, blog: Site, reply: str
) -> None:
    with answering(REPLIES[reply]) as address:
        each = node(address)
        pages = [await each.get("alice", path) for path in ("/blog/", "/blog/a.css", "/blog/none", "/blog/")]
        assert [page.status for page in pages] == [200, 200, 404, 200]
        assert (pages[0].body, pages[1].body) == (FIRST, b"a{}")
        assert sum(page.seconds for page in pages) < 0.3 * 3 + 0.7
        await each.aclose()


async def test_a_redis_that_is_not_there_costs_nothing(node: MakeNode) -> None:
    each = node(("127.0.0.1", free_port()))
    page = await each.get("alice", "/blog/")
    assert (page.status, page.body) == (200, FIRST)
    assert (await each.get("alice", "/blog/")).at_once


@pytest.mark.parametrize("trouble", ["kill", "pause"])
async def test_known_pages_stay_up_and_fast_while_redis_is_away(
    node: MakeNode, own_redis: Server, forge: Forge, trouble: str
) -> None:
    each = await node(own_redis).tracked()
    await each.get("alice", "/blog/")
    await each.settled()
    (own_redis.kill if trouble == "kill" else own_redis.pause)()
    try:
        each.looks.everything()
        pages = [await each.get("alice", "/blog/") for _ in range(50)]
        assert {page.body for page in pages} == {FIRST}
        assert max(page.seconds for page in pages) < 0.3 + 0.2
        assert sum(not page.at_once for page in pages) <= 2
        assert (await each.get("alice", "/blog/a.css")).body == b"a{}"  # out of Forgejo
    finally:
        if trouble == "pause":
            own_redis.resume()
    if trouble == "kill":
        own_redis.start()
    await until(lambda: not each.shared.away and each.looks.live, "Redis back")
    await each.get("alice", "/blog/")
    assert (await each.get("alice", "/blog/a.css")).body == b"a{}"
    await until(lambda: own_redis.ask("EXISTS", REF) == 1, "the ref in Redis")


async def test_what_became_known_while_redis_was_away_is_written_when_it_is_back(
    node: MakeNode, own_redis: Server, blog: Site, forge: Forge
) -> None:
    each = await node(own_redis).tracked()
    own_redis.kill()
    assert (await each.get("alice", "/blog/")).body == FIRST
    assert each.shared.away
    own_redis.start()
    await until(lambda: own_redis.ask("EXISTS", REF) == 1, "the ref in Redis")
    await each.settled()
    forge.forget_calls()
    other = node(own_redis)
    assert (await other.get("alice", "/blog/")).body == FIRST
    assert forge.count() == 0


async def purged_while_away(each: Node, redis: Server, blog: Site) -> None:
    """A push that one proxy is told of while Redis hangs."""
    redis.pause()
    each.looks.everything()
    await each.get("alice", "/blog/")
    assert each.shared.away
    blog.commit({"public/index.html": b"Second"})
    assert not await each.looks.purge(BLOG)


async def test_a_purge_made_while_redis_was_away_is_told_before_anything_is_read(
    node: MakeNode, own_redis: Server, blog: Site
) -> None:
    each, other = await node(own_redis).tracked(), await node(own_redis).tracked()
    for one in (each, other):
        await one.get("alice", "/blog/")
        await one.settled()
    await purged_while_away(each, own_redis, blog)
    await each.comes_to(b"Second")  # here at once
    own_redis.resume()
    await other.comes_to(b"Second")
    await each.comes_to(b"Second")
    await each.settled()
    await until(lambda: json.loads(ref(own_redis))["commit"] == blog.head(), "the new commit in Redis")


async def test_a_purge_while_redis_is_away_makes_this_proxy_look_again_though_nobody_comes(
    node: MakeNode, own_redis: Server, blog: Site
) -> None:
    each = await node(own_redis).tracked()
    await each.get("alice", "/blog/")
    await each.settled()
    await purged_while_away(each, own_redis, blog)

    def looked() -> bool:
        known = each.library.peek(BLOG)
        return known is not None and known.commit == blog.head()

    await until(looked, "the new commit")
    own_redis.resume()


def ref(redis: Server) -> bytes:
    value = redis.ask("GET", REF)
    return value if isinstance(value, bytes) else b'{"commit": null}'


@pytest.mark.parametrize(
    ("words", "undo"),
    [
        (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]),
        (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]),
        (["CONFIG", "SET", "min-replicas-to-write", "3"], ["CONFIG", "SET", "min-replicas-to-write", "0"]),
    ],
    ids=["OOM", "READONLY", "NOREPLICAS"],
)
async def test_a_redis_that_refuses_to_write_is_still_read(
    node: MakeNode, own_redis: Server, blog: Site, forge: Forge, words: list[str], undo: list[str]
) -> None:
    first = await node(own_redis).tracked()
    await first.get("alice", "/blog/")
    await first.settled()
    own_redis.ask(*words)
    other = await node(own_redis).tracked()
    forge.forget_calls()
    assert (await other.get("alice", "/blog/")).body == FIRST
    assert forge.count() == 0
    page = await other.get("alice", "/blog/a.css")
    assert (page.body, page.seconds < 1) == (b"a{}", True)
    own_redis.ask(*undo)
    name = f"~pages:blob:{blog.blob_id(b'a{}')}"
    await until(lambda: own_redis.ask("EXISTS", name) == 1, "the file in Redis")


async def test_a_hung_forgejo_makes_nothing_unavailable_that_redis_has(
    node: MakeNode, redis: Server, forge: Forge
) -> None:
    first = await node(redis).tracked()
    for path in ("/blog/", "/blog/a.css"):
        await first.get("alice", path)
    await first.settled()
    with forge.fault(hang=True):
        other = await node(redis, forgejoTimeout="2s").tracked()
        strangers = [asyncio.ensure_future(other.get("nobody", f"/x{number}/")) for number in range(40)]
        await until(lambda: forge.in_flight > 0, "strangers who wait")
        pages = [await other.get("alice", path) for path in ("/blog/", "/blog/a.css", "/blog/none")]
        assert [page.status for page in pages] == [200, 200, 404]
        assert max(page.seconds for page in pages) < 1
        for stranger in strangers:
            stranger.cancel()
        await asyncio.gather(*strangers, return_exceptions=True)


async def test_known_pages_stay_up_while_both_are_away(node: MakeNode, own_redis: Server, forge: Forge) -> None:
    each = await node(own_redis, forgejoTimeout="1s").tracked()
    await each.get("alice", "/blog/")
    await each.settled()
    own_redis.pause()
    try:
        with forge.fault(hang=True):
            each.looks.everything()
            each.skipped = 700  # older than twice cacheTTL
            pages = [await each.get("alice", "/blog/") for _ in range(10)]
            assert {page.body for page in pages} == {FIRST}
            assert max(page.seconds for page in pages) < 1
    finally:
        own_redis.resume()


async def test_one_cold_page_for_many_at_once_is_one_set_of_calls(node: MakeNode, redis: Server, forge: Forge) -> None:
    each = await node(redis).tracked()
    pages: list[Any] = await asyncio.gather(*(each.get("alice", "/blog/") for _ in range(300)))
    assert {page.body for page in pages} == {FIRST}
    assert forge.count() <= 4
