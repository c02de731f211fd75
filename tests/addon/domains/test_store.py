# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Changes of several keys that happen together or not at all, over memory, Valkey and Redis, there and away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from addon.domains.store import NO_ANSWER, DomainStore, StoreAway
from addon.domains.transactions import OTHER_KIND, Planned, View, Writes
from addon.shared.domain_mappings import Mapping, custom_domain_key
from tests.addon.domains.conftest import MakeStore
from tests.resp.fleets import Cluster
from tests.resp.servers import Server
from tests.waiting import until

HOST = "blog.example.org"


def taking(host: str, value: str) -> Planned[bool]:
    """A plan that registers a host, with a second key beside it, for whoever comes first."""

    def plan(view: View) -> tuple[Writes, bool]:
        name = custom_domain_key(host)
        there = view[name]
        view.need(f"{value}:beside")
        if there not in (None, value.encode()):
            return {}, False
        return {name: value.encode(), f"{value}:beside": host.encode()}, True

    return plan


def freeing(host: str, value: str) -> Planned[bool]:
    def plan(view: View) -> tuple[Writes, bool]:
        if view[custom_domain_key(host)] != value.encode():
            return {}, False
        return {custom_domain_key(host): None, f"{value}:beside": None}, True

    return plan


async def test_what_is_registered_is_found_and_can_be_given_up(store: DomainStore) -> None:
    assert await store.get(HOST) is None
    assert await store.change(taking(HOST, "alice:blog")) is True
    assert await store.get(HOST) == await store.get(HOST.upper()) == Mapping("alice", "blog")
    assert await store.change(taking(HOST, "mallory:evil")) is False
    assert await store.change(freeing(HOST, "mallory:evil")) is False
    assert await store.get(HOST) == Mapping("alice", "blog")
    assert await store.change(freeing(HOST, "alice:blog")) is True
    assert await store.get(HOST) is None
    assert [name async for name in store.names("")] == []


async def test_keys_are_listed_once_and_nothing_else_is(store: DomainStore) -> None:
    many = {f"custom_domain:{number}.example": b"a:b" for number in range(1200)}
    await store.change(lambda view: (many, None))
    await store.change(
        lambda view: ({"custom_domain:x.example": b"nonsense", "other": b"", "custom_domain:": b""}, None)
    )
    found = [pair async for pair in store.mappings()]
    assert len(found) == 1201
    assert dict(found) == {f"{number}.example": Mapping("a", "b") for number in range(1200)} | {"x.example": None}


async def test_a_prefix_is_taken_as_it_is_written(store: DomainStore) -> None:
    await store.change(lambda view: ({"a*[b]?c:1": b"", "axb:2": b"", "a*[b]?c": b""}, None))
    assert {name async for name in store.names("a*[b]?c")} == {"a*[b]?c:1", "a*[b]?c"}


async def test_values_are_what_they_are_byte_for_byte(anywhere: Server | Cluster, store_of: MakeStore) -> None:
    odd = b"-\r\n=\0\xff*"
    await store_of(anywhere).change(lambda view: ({"k": odd, "empty": b"", "minus": b"-"}, None))
    assert [anywhere.ask("GET", name) for name in ("k", "empty", "minus")] == [odd, b"", b"-"]
    await store_of(anywhere).change(
        lambda view: ({"k": view["k"], "empty": view["minus"], "minus": view["empty"]}, None)
    )
    assert [anywhere.ask("GET", name) for name in ("k", "empty", "minus")] == [odd, b"-", b""]


async def test_fifty_who_want_one_host_make_one_winner(anywhere: Server | Cluster, store_of: MakeStore) -> None:
    stores = [store_of(anywhere, redisTimeout="10s") for _ in range(4)]
    got = await asyncio.gather(*(stores[each % 4].change(taking(HOST, f"o{each}:r")) for each in range(50)))
    assert (got.count(True), got.count(False)) == (1, 49)
    winner = f"o{got.index(True)}:r"
    assert anywhere.ask("GET", custom_domain_key(HOST)) == winner.encode()
    keys = anywhere.ask("KEYS", "*")
    assert isinstance(keys, list)
    assert set(keys) == {custom_domain_key(HOST).encode(), f"{winner}:beside".encode()}


async def test_a_plan_is_made_anew_where_somebody_came_in_between(
    anywhere: Server | Cluster, store_of: MakeStore
) -> None:
    times = 0

    def plan(view: View) -> tuple[Writes, bytes | None]:
        nonlocal times
        there = view["counted"]
        times += 1
        if times == 1:
            anywhere.ask("SET", "counted", "5")
        return {"counted": b"%d" % (int(there or 0) + 1)}, there

    assert await store_of(anywhere).change(plan) == b"5"
    assert anywhere.ask("GET", "counted") == b"6"


async def test_what_is_written_for_a_while_goes_again(anywhere: Server | Cluster, store_of: MakeStore) -> None:
    await store_of(anywhere).change(lambda view: ({"short": b"x"}, None), life=60)
    left = anywhere.ask("PTTL", "short")
    assert isinstance(left, int)
    assert 50_000 < left <= 60_000
    await store_of(anywhere).change(lambda view: ({"short": b"x"}, None))
    assert anywhere.ask("PTTL", "short") == -1


async def test_a_key_of_another_kind_is_somebody_elses(anywhere: Server | Cluster, store_of: MakeStore) -> None:
    anywhere.ask("LPUSH", custom_domain_key(HOST), "x")
    store = store_of(anywhere)
    assert await store.read([custom_domain_key(HOST)]) == {custom_domain_key(HOST): OTHER_KIND}
    assert await store.get(HOST) is None
    assert await store.change(taking(HOST, "alice:blog")) is False
    assert [pair async for pair in store.mappings()] == [(HOST, None)]
    # One that is read, and not written, does not stand in the way of the rest.
    assert await store.change(lambda view: ({"else": view[custom_domain_key(HOST)]}, True)) is True


async def test_a_server_that_permits_no_scripts_is_asked_by_transactions(
    own_redis: Server, store_of: MakeStore
) -> None:
    own_redis.ask("ACL", "SETUSER", "limited", "on", ">secret", "~*", "+@all", "-@scripting")
    options = {"redisUsername": "limited", "redisPassword": "secret", "redisTimeout": "10s"}
    stores = [store_of(own_redis, **options) for _ in range(2)]
    got = await asyncio.gather(*(stores[each % 2].change(taking(HOST, f"o{each}:r")) for each in range(10)))
    assert (got.count(True), got.count(False)) == (1, 9)
    assert await stores[0].change(freeing(HOST, f"o{got.index(True)}:r")) is True
    assert own_redis.ask("DBSIZE") == 0


async def test_a_server_without_room_changes_nothing_and_gets_it_later(own_redis: Server, store_of: MakeStore) -> None:
    own_redis.ask("SET", "old", "1")
    own_redis.ask("CONFIG", "SET", "maxmemory", "1")
    store = store_of(own_redis)

    def plan(view: View) -> tuple[Writes, bool]:
        return {"old": None, "new": b"2"}, True

    assert await store.change(plan) is NO_ANSWER
    assert own_redis.ask("MGET", "old", "new") == [b"1", None]
    assert await store.change(plan, owed="it") is True  # here
    own_redis.ask("CONFIG", "SET", "maxmemory", "0")
    await until(lambda: not store.owes, "what is owed")
    assert own_redis.ask("MGET", "old", "new") == [None, b"2"]


async def test_while_redis_is_away_what_is_known_is_known_and_all_else_is_no_answer(
    own_redis: Server, store_of: MakeStore
) -> None:
    store = store_of(own_redis)
    await store.change(taking(HOST, "alice:blog"))
    assert await store.get("free.example.org") is None
    own_redis.kill()
    assert await store.get(HOST) == Mapping("alice", "blog")
    assert await store.get("free.example.org") is NO_ANSWER
    assert await store.record("alice", "blog") is NO_ANSWER
    assert await store.change(taking(HOST, "mallory:evil")) is NO_ANSWER
    with pytest.raises(StoreAway):
        [pair async for pair in store.mappings()]
    own_redis.start()


@pytest.mark.parametrize("way", ["killed", "stopped"])
async def test_what_is_registered_while_redis_is_away_holds_here_and_is_written_when_it_is_back(
    own_redis: Server, store_of: MakeStore, way: str
) -> None:
    store = store_of(own_redis)
    await store.change(taking(HOST, "alice:blog"))
    if way == "killed":
        own_redis.kill()
    else:
        own_redis.pause()
    told: list[Any] = []
    assert await store.change(taking("new.example.org", "alice:new"), owed="new", late=told.append) is True
    assert await store.change(taking(HOST, "mallory:evil"), owed="evil", late=told.append) is False
    assert await store.get("new.example.org") == Mapping("alice", "new")
    assert await store.get(HOST) == Mapping("alice", "blog")
    if way == "killed":
        own_redis.start()
    else:
        own_redis.resume()
    await until(lambda: not store.owes, "what is owed")
    assert own_redis.ask("GET", "custom_domain:new.example.org") == b"alice:new"
    assert own_redis.ask("GET", "alice:new:beside") == b"new.example.org"
    assert told[0] is True
    assert await store_of(own_redis).get("new.example.org") == Mapping("alice", "new")


async def test_who_registered_while_another_proxy_had_no_redis_wins(own_redis: Server, store_of: MakeStore) -> None:
    store, other = store_of(own_redis), store_of(own_redis)
    own_redis.kill()
    told: list[bool] = []
    assert await store.change(taking(HOST, "late:site"), owed="late", late=told.append) is True
    own_redis.start()
    own_redis.ask("SET", custom_domain_key(HOST), "first:site")
    await until(lambda: told, "what is owed")
    assert told == [False]
    assert await store.get(HOST) == await other.get(HOST) == Mapping("first", "site")


async def test_what_is_seen_takes_no_more_room_than_it_may(redis: Server, store_of: MakeStore) -> None:
    store = store_of(redis, redisTimeout="10s")
    for number in range(100):
        await store.change(lambda view, number=number: ({f"large:{number}": b"x" * 100_000}, None))
    assert store._seen_bytes <= 4 * 1024 * 1024
    assert 30 < len(store._seen) < 45
