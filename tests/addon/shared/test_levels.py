# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Memory over Redis over Forgejo: what is stored where, what is read back, and what that costs in round trips."""

import hashlib
import json
from typing import Any

import pytest

from addon.preview.forge import Forge
from addon.shared import records
from tests.addon.preview.sites import Site, lfs_pointer
from tests.addon.shared.conftest import FIRST, MakeNode
from tests.addon.shared.nodes import Node
from tests.resp.servers import Console, Server, start_valkey
from tests.waiting import until


def loaded(redis: Server, name: str) -> dict[str, Any]:
    value = redis.ask("GET", name)
    assert isinstance(value, bytes), name
    found: dict[str, Any] = json.loads(value)
    return found


def names(redis: Server) -> list[str]:
    found = redis.ask("KEYS", "*")
    assert isinstance(found, list)
    return sorted(name.decode() for name in found if isinstance(name, bytes))


async def warm(node: Node, *paths: str) -> Node:
    for path in ("/blog/", *paths):
        assert (await node.get("alice", path)).status == 200
    await node.settled()
    return node


async def test_a_cold_process_with_a_warm_redis_asks_forgejo_nothing(
    node: MakeNode, redis: Server, forge: Forge
) -> None:
    await warm(node(redis), "/blog/a.css")
    forge.forget_calls()
    other = node(redis)
    pages = [await other.get("alice", path) for path in ("/blog/", "/blog/a.css", "/blog/old", "/blog/none", "/blog")]
    assert [(page.status, page.body) for page in pages[:3]] == [(200, FIRST), (200, b"a{}"), (200, b"old")]
    assert [page.status for page in pages[3:]] == [404, 301]
    assert [call.path for call in forge.calls if "blobs" not in call.path] == []
    assert forge.count() == 1  # old.html, which nobody had asked for


async def test_what_is_stored_can_be_read_by_hand(node: MakeNode, redis: Server, blog: Site) -> None:
    await warm(node(redis))
    commit = blog.head()
    assert names(redis) == sorted(
        [
            f"~pages:blob:{blog.blob_id(FIRST)}",
            f"~pages:blob:{blog.blob_id(b'enabled: true' + bytes([10]))}",
            "~pages:ref:alice/blog@main",
            "~pages:repo:alice/blog",
            f"~pages:site:alice/blog@{commit}",
            "password:alice:blog",
        ]
    )
    assert redis.ask("GET", f"~pages:blob:{blog.blob_id(FIRST)}") == FIRST
    ref = loaded(redis, "~pages:ref:alice/blog@main")
    assert (ref["v"], ref["commit"]) == (1, commit)
    repository = loaded(redis, "~pages:repo:alice/blog")
    assert (repository["v"], repository["branch"], repository["public"]) == (1, "main", True)
    site = loaded(redis, f"~pages:site:alice/blog@{commit}")
    assert site["site"]["files"][1] == ["index.html", "100644", blog.blob_id(FIRST), len(FIRST)]


async def test_round_trips_are_none_in_memory_one_for_a_file_and_three_for_a_site(
    node: MakeNode, redis: Server, forge: Forge
) -> None:
    first = await node(redis).tracked()
    await first.get("alice", "/blog/")
    # Three to read, one to write; and a glance or two at that, for which nobody waited.
    assert first.shared.trips <= 6
    await warm(first, "/blog/a.css")
    trips = first.shared.trips
    page = await first.get("alice", "/blog/")
    assert (page.at_once, first.shared.trips) == (True, trips)
    other = await node(redis).tracked()
    assert (await other.get("alice", "/blog/")).body == FIRST
    assert other.shared.trips <= 3
    trips = other.shared.trips
    assert (await other.get("alice", "/blog/a.css")).body == b"a{}"
    assert other.shared.trips - trips <= 2


async def test_the_age_of_a_ref_is_that_of_its_key(node: MakeNode, redis: Server, forge: Forge) -> None:
    await warm(node(redis, cacheTTL=300))
    for name in ("~pages:ref:alice/blog@main", "~pages:repo:alice/blog"):
        left = redis.ask("PTTL", name)
        assert isinstance(left, int)
        redis.ask("PEXPIRE", name, left - 400_000)  # 400 s later
    forge.forget_calls()
    other = await node(redis, cacheTTL=300).tracked()  # else that begins in the midst of it, and all is read again
    assert (await other.get("alice", "/blog/")).body == FIRST
    assert forge.count() == 0
    await other.settled()
    await other.get("alice", "/blog/")  # older than cacheTTL: served, and looked at behind the visitor's back
    await until(lambda: forge.count("/branches/") == 1, "the look")


async def test_the_first_visitor_of_the_day_waits_for_the_new_page(node: MakeNode, redis: Server, blog: Site) -> None:
    await warm(node(redis, cacheTTL=300))
    for name in ("~pages:ref:alice/blog@main", "~pages:repo:alice/blog"):
        left = redis.ask("PTTL", name)
        assert isinstance(left, int)
        redis.ask("PEXPIRE", name, left - 700_000)
    blog.commit({"public/index.html": b"Today"})
    assert (await node(redis, cacheTTL=300).get("alice", "/blog/")).body == b"Today"


async def test_lfs_objects_are_shared_by_repository_and_oid(
    node: MakeNode, redis: Server, forge: Forge, blog: Site
) -> None:
    data = b"film" * 1000
    oid = blog.upload_lfs(data)
    blog.commit({"public/film.bin": lfs_pointer(data), ".gitattributes": b"*.bin filter=lfs\n"})
    await warm(node(redis), "/blog/film.bin")
    assert redis.ask("GET", f"~pages:lfs:alice/blog:{oid}") == data
    forge.forget_calls()
    assert (await node(redis).get("alice", "/blog/film.bin")).body == data
    assert forge.count() == 0
    assert hashlib.sha256(data).hexdigest() == oid


async def test_large_files_stay_out_of_redis(node: MakeNode, redis: Server, blog: Site) -> None:
    blog.commit({"public/large.bin": b"x" * 20_000, "public/small.bin": b"y" * 10_000})
    await warm(node(redis, maxSharedFileSize=15_000), "/blog/large.bin", "/blog/small.bin")
    assert redis.ask("EXISTS", f"~pages:blob:{blog.blob_id(b'x' * 20_000)}") == 0
    assert redis.ask("EXISTS", f"~pages:blob:{blog.blob_id(b'y' * 10_000)}") == 1


WRONG = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"v":1}',
    b'{"v":"1"}',
    b'{"v":1,"commit":"zz"}',
    b'{"v":1,"commit":7,"owner":"..","site":{}}',
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b"x" * 300_000,
]
KINDS = ["repo", "ref", "site", "blob"]


def key_of(kind: str, blog: Site) -> str:
    return {
        "repo": "~pages:repo:alice/blog",
        "ref": "~pages:ref:alice/blog@main",
        "site": f"~pages:site:alice/blog@{blog.head()}",
        "blob": f"~pages:blob:{blog.blob_id(FIRST)}",
    }[kind]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_value_that_lies_is_dropped_and_replaced(node: MakeNode, redis: Server, blog: Site, kind: str) -> None:
    await warm(node(redis))
    name = key_of(kind, blog)
    right = redis.ask("GET", name)
    assert isinstance(right, bytes)
    for wrong in [*WRONG, right[:-1], right[: len(right) // 2]]:
        redis.ask("SET", name, wrong, "KEEPTTL")
        reader = node(redis)
        page = await reader.get("alice", "/blog/")
        assert (page.status, page.body) == (200, FIRST), wrong[:40]
        await reader.settled()
        value = redis.ask("GET", name)
        version = json.loads(right)["v"] if kind != "blob" else 0
        assert value == right if kind == "blob" else isinstance(value, bytes) and json.loads(value)["v"] == version
        await reader.aclose()


async def test_what_a_commit_is_as_an_older_version_wrote_it_is_read_anew(
    node: MakeNode, redis: Server, blog: Site, caplog: pytest.LogCaptureFixture
) -> None:
    await warm(node(redis))
    name = key_of("site", blog)
    value = redis.ask("GET", name)
    assert isinstance(value, bytes)
    record = json.loads(value)
    assert record["v"] == records.SITE_VERSION
    old = {**record, "v": 1, "site": {**record["site"], "rules": None, "files": []}}
    redis.ask("SET", name, json.dumps(old), "KEEPTTL")
    reader = node(redis)
    assert (await reader.get("alice", "/blog/")).body == FIRST
    await reader.settled()
    value = redis.ask("GET", name)
    assert isinstance(value, bytes)
    assert json.loads(value)["v"] == records.SITE_VERSION
    assert "cannot be read" not in caplog.text


@pytest.mark.parametrize("kind", [*KINDS, "epoch"])
async def test_a_key_of_another_type_is_dropped_and_replaced(
    node: MakeNode, redis: Server, blog: Site, kind: str
) -> None:
    await warm(node(redis))
    name = "~pages:epoch:alice/blog" if kind == "epoch" else key_of(kind, blog)
    with redis.console() as console:
        console.ask("DEL", name)
        console.ask("HSET", name, "field", "value")
    reader = node(redis)
    assert (await reader.get("alice", "/blog/")).body == FIRST
    await reader.settled()
    assert redis.ask("TYPE", name) == (b"none" if kind == "epoch" else b"string")


@pytest.mark.parametrize("kind", ["repo", "ref", "site"])
async def test_a_record_of_another_version_is_a_miss_and_left_alone(
    node: MakeNode, redis: Server, blog: Site, kind: str
) -> None:
    await warm(node(redis))
    name = key_of(kind, blog)
    theirs = b'{"v":99,"commit":"of another shape"}'
    redis.ask("SET", name, theirs)
    reader = node(redis)
    for _ in range(3):
        assert (await reader.get("alice", "/blog/")).body == FIRST
    await reader.settled()
    assert redis.ask("GET", name) == theirs


async def test_a_redis_as_the_origin_left_it_stays_as_it_is(node: MakeNode, redis: Server) -> None:
    theirs = {
        "alice:blog": "blog.example.org",
        "alice:blog::public/index.html": "from another time",
        "custom_domain:blog.example.org": "alice:blog",
        "password:alice:blog": "",
        "traefik/http/routers/custom-blog-example-org/rule": "Host(`blog.example.org`)",
    }
    with redis.console() as console:
        for name, value in theirs.items():
            console.ask("SET", name, value)
    reader = await warm(node(redis))
    assert (await reader.get("alice", "/blog/")).body == FIRST
    await reader.looks.purge(None)
    assert (await reader.get("alice", "/blog/")).body == FIRST
    await reader.settled()
    for name, value in theirs.items():
        assert redis.ask("GET", name) == value.encode()
    assert all(name.startswith(("~pages:", "password:")) for name in set(names(redis)) - set(theirs))


async def test_a_site_with_a_password_keeps_it_on_its_way_through_redis(
    node: MakeNode, redis: Server, blog: Site, forge: Forge
) -> None:
    blog.commit({".pages": f"enabled: true\npassword: {hashlib.sha256(b'word').hexdigest()}\n".encode()})
    first = await node(redis).tracked()
    assert (await first.get("alice", "/blog/")).body != FIRST
    await first.settled()
    forge.forget_calls()
    page = await node(redis).get("alice", "/blog/")
    assert b"password" in page.body.lower()
    assert FIRST not in page.body
    assert forge.count() == 0


async def test_names_that_nobody_has_do_not_fill_redis(node: MakeNode, redis: Server) -> None:
    reader = await warm(node(redis))
    before = names(redis)
    for number in range(50):
        assert (await reader.get(f"nobody{number}", f"/x{number}/")).status == 404
        assert (await reader.get("alice", f"/blog/x{number}")).status == 404
    await reader.settled()
    assert names(redis) == before


async def test_a_password_and_a_url_open_the_door(node: MakeNode) -> None:
    with start_valkey(password="a secret/of:mine") as server:
        await warm(node(server.url))
        by_name = node(server.address, redisPassword="a secret/of:mine", redisUsername="default")
        assert (await by_name.get("alice", "/blog/")).body == FIRST
        with Console(server.address, server.password) as console:
            assert isinstance(console.ask("GET", "~pages:ref:alice/blog@main"), bytes)


async def test_without_redis_everything_works_in_memory(node: MakeNode, forge: Forge) -> None:
    alone = node(None)
    assert (await alone.get("alice", "/blog/")).body == FIRST
    forge.forget_calls()
    assert (await alone.get("alice", "/blog/")).at_once
    assert forge.count() == 0


async def test_a_server_that_permits_no_scripts_serves_as_well(node: MakeNode, redis: Server, blog: Site) -> None:
    redis.ask("ACL", "SETUSER", "plain", "on", ">word", "~~pages:*", "&*", "+@all", "-@scripting")
    try:
        first = await node(redis, redisUsername="plain", redisPassword="word").tracked()
        await warm(first)
        assert loaded(redis, "~pages:ref:alice/blog@main")["commit"] == blog.head()
        assert redis.ask("EXISTS", "~pages:lock:alice/blog") == 0
        blog.commit({"public/index.html": b"Second"})
        await first.looks.purge(("alice", "blog"))
        await first.settled()
        assert (await first.get("alice", "/blog/")).body == b"Second"
        assert loaded(redis, "~pages:ref:alice/blog@main")["commit"] == blog.head()
    finally:
        redis.ask("ACL", "DELUSER", "plain")
