# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A program as users write it: mypy and pyright must see the results as they are (`tests.resp.test_typing` asks them).

It is never run.
"""

from typing import Any, assert_type

import resp


def values(client: resp.Client) -> None:
    assert_type(client, resp.Client[bytes])
    assert_type(client.get("k"), bytes | None)
    assert_type(client["k"], bytes)
    assert_type("k" in client, bool)
    assert_type(client.set("k", "v", ex=10), bool | None)
    assert_type(client.set("k", "v", get=True), bytes | None)
    assert_type(client.set("k", "v", 10, get=True, nx=True, ifeq="w"), bytes | None)
    assert_type(client.set("k", "v", None, 1000, True), bool | None)
    assert_type(client.setex("k", 10, b"v"), bool)
    assert_type(client.mget(["a", "b"]), list[bytes | None])
    assert_type(client.incr("n"), int)
    assert_type(client.incrbyfloat("n"), float)
    assert_type(client.ttl("k"), int)
    assert_type(client.hgetall("h"), dict[bytes, bytes])
    assert_type(client.lpop("l"), bytes | None)
    assert_type(client.lpop("l", 3), list[bytes] | None)
    assert_type(client.blpop(["l"], timeout=1), tuple[bytes, bytes] | None)
    assert_type(client.smembers("s"), set[bytes])
    assert_type(client.zscore("z", "m"), float | None)
    assert_type(client.zrange("z", 0, -1), list[bytes])
    assert_type(client.zrange("z", 0, -1, withscores=True), list[tuple[bytes, float]])
    assert_type(client.zrange("z", 0, -1, True, byscore=True, offset=0, num=5), list[bytes])
    assert_type(client.zrange("z", 0, -1, desc=True, withscores=True, score_cast_func=int), list[tuple[bytes, float]])
    assert_type(client.zrangebyscore("z", 0, "+inf", 0, 5), list[bytes])
    assert_type(client.zrangebyscore("z", 0, "+inf", 0, 5, withscores=True), list[tuple[bytes, float]])
    assert_type(client.zrevrangebyscore("z", 9, 0, withscores=False), list[bytes])
    assert_type(client.zunion({"z": 2.0}, withscores=True), list[tuple[bytes, float]])
    assert_type(client.zinter(["z", "y"], "MAX"), list[bytes])
    assert_type(client.zrank("z", "m", withscore=True), tuple[int, float] | None)
    assert_type(client.zadd("z", {"m": 1}, incr=True), float | None)
    assert_type(client.zadd("z", {"m": 1}, True, ch=True), int)
    assert_type(client.hrandfield("h", 2, withvalues=True), list[tuple[bytes, bytes]])
    assert_type(client.hscan("h", no_values=True), tuple[int, list[bytes]])
    assert_type(client.hgetex("h", "f", "g", ex=10, persist=False), list[bytes | None])
    assert_type(client.hexpire("h", 10, "f", "g", nx=True), list[int])
    assert_type(client.xclaim("x", "g", "c", 1000, ["1-0"], idle=5), list[tuple[bytes, dict[bytes, bytes]]])
    assert_type(client.xclaim("x", "g", "c", 1000, ["1-0"], justid=True), list[bytes])
    assert_type(client.xrange("x"), list[tuple[bytes, dict[bytes, bytes]]])
    assert_type(client.geopos("g", "m"), list[tuple[float, float] | None])
    assert_type(client.scan(), tuple[int, list[bytes]])
    assert_type(client.config_get(), dict[str, str])
    assert_type(client.client_getname(), str | None)
    assert_type(client.dump("k"), bytes | None)
    for key in client.scan_iter("user:*"):
        assert_type(key, bytes)
    for field, value in client.hscan_iter("h"):
        assert_type((field, value), tuple[bytes, bytes])


def texts() -> None:
    client = resp.Client("localhost", decode=True, timeout=2)
    assert_type(client, resp.Client[str])
    assert_type(client.get("k"), str | None)
    assert_type(client.hgetall("h"), dict[str, str])
    assert_type(client.zrange("z", 0, -1, withscores=True), list[tuple[str, float]])
    assert_type(client.dump("k"), bytes | None)
    assert_type(resp.Client.from_url("redis://localhost", decode=True), resp.Client[str])
    assert_type(resp.Client.from_url("redis://localhost"), resp.Client[bytes])
    with resp.Client() as entered:
        assert_type(entered, resp.Client[bytes])


def queues(client: resp.Client[str]) -> None:
    with client.pipeline(transaction=False) as pipe:
        assert_type(pipe, resp.Pipeline)
        assert_type(pipe.set("a", 1).get("a").lpop("l", 2).hgetall("h"), resp.Pipeline)
        assert_type(pipe.set("a", 1, 10, get=True, nx=True).zadd("z", {"m": 1}, incr=True, gt=True), resp.Pipeline)
        assert_type(pipe.zrange("z", 0, -1, withscores=True).zrangebyscore("z", 0, 1, 0, 5), resp.Pipeline)
        assert_type(pipe.hscan("h", 0, "*", 10, no_values=True).hexpire("h", 1, "f", nx=True), resp.Pipeline)
        assert_type(pipe.xclaim("x", "g", "c", 1000, ["1-0"], justid=True).zunion(["z"], "SUM"), resp.Pipeline)
        assert_type(pipe.execute(), list[Any])


def scripts_and_locks(client: resp.Client) -> None:
    assert_type(client.register_script("return 1"), resp.Script)
    with client.lock("report", timeout=10) as lock:
        assert_type(lock, resp.Lock)
        assert_type(lock.extend(5), bool)
