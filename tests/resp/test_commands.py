# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Every command against real servers: what it returns, and that this is what its annotation promises.

A row is a list of calls that build on each other, each with what is expected: a value, a predicate (any callable), or
an error. All rows run over RESP3 and RESP2, with `bytes` and with `str`, on Valkey 9 and Redis 7; the results must be
the same everywhere, and of the annotated type in each case.
"""

import collections.abc
import datetime
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Union, get_args, get_origin

import pytest

from resp import Client, InvalidArgument, ServerError, WrongType
from resp.commands import ClientCommands, Commands
from resp.queued import Queued
from resp.replies import parse_info
from tests.resp.servers import Server
from tests.waiting import wait_until

ANY = object()
"""Expected: whatever the annotation allows."""

Call = tuple[str, tuple[Any, ...], dict[str, Any], Any]


def call(method: str, *args: Any, **options: Any) -> Callable[[Any], Call]:
    """`call("get", "key") >> b"value"` would be nicer than what Python allows: `call("get", "key")(b"value")`."""
    return lambda expected: (method, args, options, expected)


def one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda result: result in values


ROWS: dict[str, list[Call]] = {
    "strings": [
        call("set", "k", "v")(True),
        call("set", "k", "w", nx=True)(None),
        call("set", "k", "w", get=True)(b"v"),
        call("get", "k")(b"w"),
        call("get", "none")(None),
        call("getex", "k", ex=100)(b"w"),
        call("getrange", "k", 0, -1)(b"w"),
        call("substr", "k", 0)(b"w"),
        call("getset", "k", "x")(b"w"),
        call("getdel", "k")(b"x"),
        call("setex", "k", 10, 1)(True),
        call("psetex", "k", 10_000, 1)(True),
        call("setnx", "k", 1)(False),
        call("setrange", "k", 2, "z")(3),
        call("append", "k", "ab")(5),
        call("strlen", "k")(5),
        call("mset", {"a": 1, "b": 2})(True),
        call("msetnx", {"a": 1, "c": 2})(False),
        call("mget", "a", "none")([b"1", None]),
        call("mget", [])([]),
        call("incr", "a")(2),
        call("incrby", "a", 2)(4),
        call("decr", "a")(3),
        call("decrby", "a", 2)(1),
        call("incrbyfloat", "a", 0.5)(1.5),
        call("mset", {"ohmy": "ohmytext", "mynew": "mynewtext"})(True),
        call("lcs", "ohmy", "mynew")(b"mytext"),
        call("lcs", "ohmy", "mynew", len=True)(6),
        call("lcs", "ohmy", "mynew", idx=True, minmatchlen=4, withmatchlen=True)(
            {"len": 6, "matches": [[(4, 7), (5, 8), 4]]}
        ),
    ],
    "bits": [
        call("setbit", "b", 7, 1)(0),
        call("getbit", "b", 7)(1),
        call("bitcount", "b")(1),
        call("bitcount", "b", 0, 7, "BIT")(1),
        call("bitpos", "b", 1)(7),
        call("bitpos", "b", 1, 0, -1)(7),
        call("bitpos", "b", 1, 1)(-1),
        call("bitop", "NOT", "not", "b")(1),
        call("bitop", "OR", "or", "b", "not")(1),
        call("bitfield_ro", "or", "u8", 0)([255]),
        call("bitfield_ro", "or", "u8", 0, [("u4", 0), ("i4", 4)])([255, 15, -1]),
        call("pfadd", "p", "a", "b")(1),
        call("pfcount", "p")(2),
        call("pfmerge", "q", "p")(True),
    ],
    "keys": [
        call("mset", {"k": 1, "l": 2})(True),
        call("exists", "k", "l", "none")(2),
        call("touch", "k")(1),
        call("type", "k")(b"string"),
        call("keys", "k*")([b"k"]),
        call("randomkey")(one_of(b"k", b"l")),
        call("expire", "k", 100)(True),
        call("expire", "k", 50, gt=True)(False),
        call("pexpire", "k", 100_000)(True),
        call("expireat", "k", 4102444800)(True),
        call("expiretime", "k")(4102444800),
        call("pexpireat", "k", datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC))(True),
        call("pexpiretime", "k")(4102444800000),
        call("ttl", "k")(lambda left: left > 1000),
        call("pttl", "none")(-2),
        call("persist", "k")(True),
        call("copy", "k", "c")(True),
        call("copy", "k", "c")(False),
        call("copy", "k", "c", replace=True)(True),
        call("move", "c", 7)(True),
        call("rename", "k", "m")(True),
        call("renamenx", "m", "l")(False),
        call("dump", "none")(None),
        call("dump", "m")(lambda data: isinstance(data, bytes)),
        call("object", "encoding", "m")(b"int"),
        call("object", "refcount", "m")(ANY),
        call("object", "IDLETIME", "m")(0),
        call("rpush", "list", 3, 1, 2)(3),
        call("sort", "list")([b"1", b"2", b"3"]),
        call("sort", "list", 0, 1, desc=True)([b"3"]),
        call("sort_ro", "list", alpha=True)([b"1", b"2", b"3"]),
        call("sort", "list", by="weight_*", get=["#", "none_*"], groups=True)(lambda rows: len(rows[0]) == 2),
        call("sort", "list", store="sorted")(3),
        call("scan")(ANY),
        call("scan", 0, "li*", 100, "list")((0, [b"list"])),
        call("memory_usage", "m")(ANY),
        call("memory_usage", "none")(None),
        call("unlink", "m")(1),
        call("delete", "l", "none")(1),
    ],
    "hashes": [
        call("hset", "h", "a", 1)(1),
        call("hset", "h", mapping={"b": 2}, items=["c", 3])(2),
        call("hmset", "h", {"b": 2})(True),
        call("hsetnx", "h", "a", 9)(False),
        call("hget", "h", "a")(b"1"),
        call("hmget", "h", ["a", "z"])([b"1", None]),
        call("hmget", "h", [])([]),
        call("hgetall", "h")({b"a": b"1", b"b": b"2", b"c": b"3"}),
        call("hexists", "h", "z")(False),
        call("hkeys", "h")([b"a", b"c", b"b"]),
        call("hvals", "h")([b"1", b"3", b"2"]),
        call("hlen", "h")(3),
        call("hstrlen", "h", "a")(1),
        call("hincrby", "h", "a", 2)(3),
        call("hincrbyfloat", "h", "a", 0.5)(3.5),
        call("hrandfield", "h")(one_of(b"a", b"b", b"c")),
        call("hrandfield", "none")(None),
        call("hrandfield", "h", 3)(lambda found: sorted(found) == [b"a", b"b", b"c"]),
        call("hrandfield", "h", 3, True)(lambda found: dict(found) == {b"a": b"3.5", b"b": b"2", b"c": b"3"}),
        call("hscan", "h")((0, {b"a": b"3.5", b"b": b"2", b"c": b"3"})),
        call("hdel", "h", "a", "z")(1),
    ],
    "lists": [
        call("rpush", "l", "a", "b", "c")(3),
        call("lpush", "l", "z")(4),
        call("lpushx", "none", "z")(0),
        call("rpushx", "l", "d")(5),
        call("lrange", "l", 0, -1)([b"z", b"a", b"b", b"c", b"d"]),
        call("llen", "l")(5),
        call("lindex", "l", 0)(b"z"),
        call("lindex", "l", 99)(None),
        call("lpos", "l", "c")(3),
        call("lpos", "l", "none")(None),
        call("lpos", "l", "c", rank=-1, count=0, maxlen=0)([3]),
        call("lset", "l", 0, "y")(True),
        call("linsert", "l", "before", "a", "new")(6),
        call("linsert", "l", "AFTER", "none", "new")(-1),
        call("lrem", "l", 0, "new")(1),
        call("lmove", "l", "m")(b"y"),
        call("lmove", "none", "m", memoryview(b"RIGHT"), b"left")(None),
        call("rpoplpush", "l", "m")(b"d"),
        call("lmpop", 2, "none", "m", direction="LEFT", count=2)((b"m", [b"d", b"y"])),
        call("lmpop", 1, "none", direction="RIGHT")(None),
        call("blpop", "l", 1)((b"l", b"a")),
        call("brpop", ["none", "l"], 1)((b"l", b"c")),
        call("blmove", "l", "m", 1, "RIGHT", "LEFT")(b"b"),
        call("brpoplpush", "m", "l", 1)(b"b"),
        call("blmpop", 1, 1, "l", direction="LEFT")((b"l", [b"b"])),
        call("blpop", "l", 0.01)(None),
        call("brpop", "l", 0.01)(None),
        call("blmove", "l", "m", 0.01)(None),
        call("blmpop", 0.01, 1, "l", direction="LEFT", count=2)(None),
        call("rpush", "l", 1, 2, 3, 4)(4),
        call("lpop", "l")(b"1"),
        call("lpop", "l", 1)([b"2"]),
        call("rpop", "l")(b"4"),
        call("rpop", "l", 5)([b"3"]),
        call("rpop", "l", 5)(None),
        call("ltrim", "l", 0, 0)(True),
    ],
    "sets": [
        call("sadd", "s", "a", "b")(2),
        call("sadd", "t", "b", "c")(2),
        call("smembers", "s")({b"a", b"b"}),
        call("sismember", "s", "a")(True),
        call("smismember", "s", "a", "z")([1, 0]),
        call("scard", "s")(2),
        call("srandmember", "s")(one_of(b"a", b"b")),
        call("srandmember", "none")(None),
        call("srandmember", "s", -3)(lambda found: len(found) == 3),
        call("sinter", "s", "t")({b"b"}),
        call("sunion", ["s", "t"])({b"a", b"b", b"c"}),
        call("sdiff", "s", "t")({b"a"}),
        call("sinterstore", "d", "s", "t")(1),
        call("sunionstore", "d", "s", "t")(3),
        call("sdiffstore", "d", "s", "t")(1),
        call("sintercard", 2, ["s", "t"], limit=5)(1),
        call("smove", "s", "t", "a")(True),
        call("sscan", "t")(lambda found: found[0] == 0 and sorted(found[1]) == [b"a", b"b", b"c"]),
        call("srem", "s", "b", "z")(1),
        call("spop", "s")(None),
        call("spop", "t", 9)(lambda found: sorted(found) == [b"a", b"b", b"c"]),
    ],
    "sorted sets": [
        call("zadd", "z", {"a": 1, "b": 2, "c": 3.5})(3),
        call("zadd", "z", {"a": 0}, incr=True)(1.0),
        call("zadd", "z", {"n": 0}, incr=True, xx=True)(None),
        call("zadd", "y", {"b": 10, "d": 4})(2),
        call("zcard", "z")(3),
        call("zcount", "z", "-inf", "(2")(1),
        call("zlexcount", "z", "-", "+")(3),
        call("zscore", "z", "c")(3.5),
        call("zscore", "z", "none")(None),
        call("zmscore", "z", ["a", "none"])([1.0, None]),
        call("zincrby", "z", 0.5, "b")(2.5),
        call("zrank", "z", "b")(1),
        call("zrank", "z", "none")(None),
        call("zrevrank", "z", "b")(1),
        call("zrange", "z", 0, -1)([b"a", b"b", b"c"]),
        call("zrange", "z", 0, -1, withscores=True)([(b"a", 1.0), (b"b", 2.5), (b"c", 3.5)]),
        call("zrange", "z", 0, 0, desc=True, withscores=True)([(b"c", 3.5)]),
        call("zrange", "z", "(1", "+inf", byscore=True, offset=0, num=1)([b"b"]),
        call("zrange", "none", 0, -1, withscores=True)([]),
        call("zrangestore", "d", "z", 0, 1)(2),
        call("zrangebyscore", "z", 0, 2, withscores=True)([(b"a", 1.0)]),
        call("zrevrange", "z", 0, 0)([b"c"]),
        call("zrevrange", "z", 0, 0, True)([(b"c", 3.5)]),
        call("zrevrangebyscore", "z", 9, 0, 0, 1)([b"c"]),
        call("zadd", "lex", {"a": 0, "b": 0, "c": 0})(3),
        call("zrangebylex", "lex", "[b", "+")([b"b", b"c"]),
        call("zrevrangebylex", "lex", "+", "-", 0, 2)([b"c", b"b"]),
        call("zremrangebylex", "lex", "-", "[a")(1),
        call("zrandmember", "z")(one_of(b"a", b"b", b"c")),
        call("zrandmember", "z", 9)(lambda found: sorted(found) == [b"a", b"b", b"c"]),
        call("zrandmember", "z", 9, True)(lambda found: dict(found) == {b"a": 1.0, b"b": 2.5, b"c": 3.5}),
        call("zunion", ["z", "y"])([b"a", b"c", b"d", b"b"]),
        call("zunion", {"z": 1, "y": 2}, "MAX", withscores=True)([(b"a", 1.0), (b"c", 3.5), (b"d", 8.0), (b"b", 20.0)]),
        call("zinter", ["z", "y"], withscores=True)([(b"b", 12.5)]),
        call("zinter", ["z", "y"])([b"b"]),
        call("zdiff", ["z", "y"])([b"a", b"c"]),
        call("zdiff", ["z", "y"], True)([(b"a", 1.0), (b"c", 3.5)]),
        call("zunionstore", "d", ["z", "y"], "MIN")(4),
        call("zinterstore", "d", {"z": 2, "y": 1})(1),
        call("zdiffstore", "d", ["z", "y"])(2),
        call("zintercard", 2, ["z", "y"])(1),
        call("zscan", "y")((0, [(b"d", 4.0), (b"b", 10.0)])),
        call("zmpop", 2, ["none", "y"], min=True, count=2)((b"y", [(b"d", 4.0), (b"b", 10.0)])),
        call("zmpop", 1, ["none"], max=True)(None),
        call("bzmpop", 1, 1, ["d"], max=True)((b"d", [(b"c", 3.5)])),
        call("bzpopmin", "d", 1)((b"d", b"a", 1.0)),
        call("bzpopmax", ["none", "lex"], 1)((b"lex", b"c", 0.0)),
        call("bzpopmin", "none", 0.01)(None),
        call("bzmpop", 0.01, 1, ["none"], min=True)(None),
        call("zpopmin", "z")([(b"a", 1.0)]),
        call("zpopmax", "z", 2)([(b"c", 3.5), (b"b", 2.5)]),
        call("zpopmin", "z")([]),
        call("zadd", "z", {"a": 1, "b": 2, "c": 3})(3),
        call("zrem", "z", "a", "none")(1),
        call("zremrangebyscore", "z", 2, 2)(1),
        call("zremrangebyrank", "z", 0, -1)(1),
    ],
    "streams": [
        call("xadd", "x", {"f": 1, "g": 2}, "1-1")(b"1-1"),
        call("xadd", "x", {"f": 2}, "2-1", maxlen=10)(b"2-1"),
        call("xadd", "none", {"f": 2}, nomkstream=True)(None),
        call("xlen", "x")(2),
        call("xrange", "x")([(b"1-1", {b"f": b"1", b"g": b"2"}), (b"2-1", {b"f": b"2"})]),
        call("xrange", "x", "(1-1", count=1)([(b"2-1", {b"f": b"2"})]),
        call("xrevrange", "x", count=1)([(b"2-1", {b"f": b"2"})]),
        call("xread", {"x": "1-1", "none": 0})([(b"x", [(b"2-1", {b"f": b"2"})])]),
        call("xread", {"x": "$"}, block=10)([]),
        call("xgroup_create", "x", "g", 0)(True),
        call("xgroup_create", "x", "g", 0)(ServerError),
        call("xgroup_create", "made", "g", mkstream=True)(True),
        call("xgroup_createconsumer", "x", "g", "idle")(True),
        call("xreadgroup", "g", "me", {"x": ">"}, count=1)([(b"x", [(b"1-1", {b"f": b"1", b"g": b"2"})])]),
        call("xreadgroup", "g", "me", {"x": ">"}, block=10)([(b"x", [(b"2-1", {b"f": b"2"})])]),
        call("xreadgroup", "g", "me", {"x": ">"}, noack=True)([]),
        call("xpending", "x", "g")(
            {"pending": 2, "min": b"1-1", "max": b"2-1", "consumers": [{"name": b"me", "pending": 2}]}
        ),
        call("xpending", "made", "g")({"pending": 0, "min": None, "max": None, "consumers": []}),
        call("xpending_range", "x", "g", "-", "+", 1, "me", 0)(
            lambda rows: rows[0]["message_id"] == b"1-1" and rows[0]["times_delivered"] == 1
        ),
        call("xclaim", "x", "g", "you", 0, ["1-1"])([(b"1-1", {b"f": b"1", b"g": b"2"})]),
        call("xclaim", "x", "g", "you", 0, ["1-1"], idle=5, retrycount=7, justid=True)([b"1-1"]),
        call("xautoclaim", "x", "g", "you", 0, count=1)((b"2-1", [(b"1-1", {b"f": b"1", b"g": b"2"})], [])),
        call("xautoclaim", "x", "g", "you", 0, justid=True)([b"1-1", b"2-1"]),
        call("xinfo_stream", "x")(lambda d: d["length"] == 2 and d["last-entry"] == (b"2-1", {b"f": b"2"})),
        call("xinfo_stream", "x", full=True)(
            lambda d: d["entries"][b"2-1"] == {b"f": b"2"} and d["groups"][0]["consumers"][0]["name"]
        ),
        call("xinfo_groups", "x")(lambda rows: rows[0]["name"] == b"g" and rows[0]["pending"] == 2),
        call("xinfo_consumers", "x", "g")(lambda rows: {row["name"] for row in rows} == {b"idle", b"me", b"you"}),
        call("xreadgroup", "g", "you", {"x": 0}, count=1)([(b"x", [(b"1-1", {b"f": b"1", b"g": b"2"})])]),
        call("xack", "x", "g", "1-1", "9-9")(1),
        call("xgroup_setid", "x", "g", 0, entries_read=1)(True),
        call("xdel", "x", "2-1")(1),
        call("xreadgroup", "g", "you", {"x": 0})([(b"x", [(b"2-1", {})])]),
        call("xgroup_delconsumer", "x", "g", "you")(1),
        call("xgroup_destroy", "x", "g")(True),
        call("xgroup_destroy", "x", "g")(False),
        call("xadd", "x", {"f": 2}, "3-1")(b"3-1"),
        call("xdel", "x", "1-1")(1),
        call("xtrim", "x", maxlen=0, approximate=False)(1),
    ],
    "geo": [
        call("geoadd", "g", [13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"])(2),
        call("geoadd", "g", [13.361389, 38.115556, "Palermo"], xx=True, ch=True)(0),
        call("geodist", "g", "Palermo", "Catania", "km")(166.2742),
        call("geodist", "g", "Palermo", "none")(None),
        call("geohash", "g", "Palermo", "none")([b"sqc8b49rny0", None]),
        call("geopos", "g", "Palermo", "none")(lambda found: round(found[0][0], 3) == 13.361 and found[1] is None),
        call("geosearch", "g", longitude=15, latitude=37, radius=200, unit="km", sort="ASC")([b"Catania", b"Palermo"]),
        call("geosearch", "g", member="Palermo", width=10, height=10, unit="km", withdist=True, withhash=True)(
            [(b"Palermo", 0.0, 3479099956230698)]
        ),
        call("geosearch", "g", member="Palermo", radius=1, count=1, any=True, withcoord=True)(
            lambda rows: rows[0][0] == b"Palermo" and [round(each, 3) for each in rows[0][1]] == [13.361, 38.116]
        ),
        call("geosearchstore", "d", "g", member="Palermo", radius=200, unit="km", storedist=True)(2),
        call("georadius", "g", 15, 37, 200, "km", withdist=True, sort="ASC", count=1)([(b"Catania", 56.4413)]),
        call("georadiusbymember", "g", "Palermo", 1)([b"Palermo"]),
        call("georadiusbymember", "g", "Palermo", 200, "km", store="d")(2),
    ],
    "scripts": [
        call("eval", "return {KEYS[1], ARGV[1]}", 1, "k", "a")([b"k", b"a"]),
        call("eval_ro", "return redis.call('GET', KEYS[1])", 1, "k")(None),
        call("script_load", "return 1")("e0e1f9fabfc9d4800c877a703b823ac0578ff8db"),
        call("evalsha", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", 0)(1),
        call("evalsha_ro", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", 0)(1),
        call("script_exists", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0" * 40)([True, False]),
        call("script_flush")(True),
        call("script_flush", "ASYNC")(True),
        call("script_kill")(ServerError),
        call("function_flush", "ASYNC")(True),
        call("function_load", "#!lua name=lib\nredis.register_function('f', function(k, a) return a[1] end)")("lib"),
        call("function_load", "#!lua name=lib\nredis.register_function('f', function(k, a) return a[1] end)", True)(
            "lib"
        ),
        call("function_list")(lambda found: found[0]["library_name"] == "lib" and found[0]["functions"][0]["name"]),
        call("function_list", "li*", withcode=True)(lambda found: found[0]["library_code"].startswith("#!lua")),
        call("fcall", "f", 0, "x")(b"x"),
        call("function_stats")(
            lambda found: found["running_script"] is None and found["engines"]["LUA"]["libraries_count"] == 1
        ),
        call("function_dump")(lambda data: isinstance(data, bytes)),
        call("function_delete", "lib")(True),
        call("fcall_ro", "f", 0)(ServerError),
        call("function_kill")(ServerError),
        call("function_flush")(True),
    ],
    "messages": [
        call("publish", "channel", "text")(0),
        call("spublish", "channel", "text")(0),
        call("pubsub_channels")([]),
        call("pubsub_shardchannels")([]),
        call("pubsub_numpat")(0),
        call("pubsub_numsub", "a", "b")([(b"a", 0), (b"b", 0)]),
        call("pubsub_shardnumsub", "a")([(b"a", 0)]),
    ],
    "server": [
        call("ping")(True),
        call("ping", "x")(b"x"),
        call("echo", "x")(b"x"),
        call("time")(ANY),
        call("info")(lambda found: found["redis_version"]),
        call("info", "server", "clients")(lambda found: "used_memory" not in found),
        call("role")(["master", 0, []]),
        call("lolwut", 5)(ANY),
        call("dbsize")(0),
        call("swapdb", 0, 9)(True),
        call("flushdb")(True),
        call("flushall", asynchronous=True)(True),
        call("config_get", "maxmemory")({"maxmemory": "0"}),
        call("config_get", "maxmemory", "hz")(lambda found: set(found) == {"maxmemory", "hz"}),
        call("config_set", "latency-monitor-threshold", 0)(True),
        call("config_resetstat")(True),
        call("config_rewrite")(ServerError),
        call("command_count")(ANY),
        call("command_list", category="hyperloglog")(lambda names: "pfadd" in names),
        call("command_getkeys", "MSET", "a", 1, "b", 2)([b"a", b"b"]),
        call("memory_stats")(lambda found: found["keys.count"] == 0),
        call("memory_doctor")(ANY),
        call("memory_malloc_stats")(ANY),
        call("memory_purge")(True),
        call("config_set", "slowlog-log-slower-than", 0)(True),
        call("echo", "slow")(b"slow"),
        call("slowlog_get", 5)(lambda rows: any(row["command"].upper() == b"ECHO SLOW" for row in rows)),
        call("config_set", "slowlog-log-slower-than", 10000)(True),
        call("slowlog_len")(lambda number: number > 1),
        call("slowlog_reset")(True),
        call("latency_latest")([]),
        call("latency_history", "command")([]),
        call("latency_reset")(0),
        call("latency_doctor")(ANY),
        call("latency_histogram", "echo")(lambda found: found["echo"]["calls"] >= 1),
        call("save")(True),
        call("bgsave")(True),
        call("lastsave")(ANY),
        call("wait", 0, 10)(0),
        call("replicaof", "NO", "ONE")(True),
        call("debug_object", "none")(ServerError),
    ],
    "connections": [
        call("client_id")(ANY),
        call("client_info")(lambda found: found["id"].isdigit()),
        call("client_list")(lambda rows: len(rows) >= 1),
        call("client_list", _type="pubsub")([]),
        call("client_getname")(None),
        call("client_setname", "me")(True),
        call("client_getname")("me"),
        call("client_kill_filter", _id=999999, skipme=True)(0),
        call("client_kill", "127.0.0.1:1")(ServerError),
        call("client_pause", 1)(True),
        call("client_unpause")(True),
        call("client_unblock", 999999)(False),
        call("client_getredir")(-1),
        call("client_trackinginfo")({"flags": ["off"], "redirect": -1, "prefixes": []}),
        call("acl_whoami")("default"),
        call("acl_users")(lambda names: "default" in names),
        call("acl_list")(lambda rows: any(row.startswith("user default") for row in rows)),
        call("acl_cat")(lambda names: "read" in names),
        call("acl_cat", "hyperloglog")(lambda names: "pfadd" in names),
        call("acl_setuser", "ann", "on", ">secret", "~a:*", "+get", "(+set ~b:*)")(True),
        call("acl_getuser", "ann")(lambda user: "on" in user["flags"] and len(user["selectors"]) == 1),
        call("acl_getuser", "nobody")(None),
        call("acl_dryrun", "ann", "GET", "a:1")(True),
        call("acl_dryrun", "ann", "DEL", "a:1")(lambda reason: isinstance(reason, str)),
        call("acl_deluser", "ann")(1),
        call("acl_genpass", 128)(lambda text: len(text) == 32),
        call("acl_log")(ANY),
        call("acl_log_reset")(True),
        call("acl_save")(ServerError),
        call("acl_load")(ServerError),
    ],
}

#: Only newer servers know these: on the others the row must end in an error of the server, not in one of ours.
NEWER: dict[str, list[Call]] = {
    "conditions": [
        call("set", "k", 1)(True),
        call("set", "k", 2, ifeq="1")(True),
        call("set", "k", 3, ifeq="1")(None),
        call("delifeq", "k", "9")(False),
        call("delifeq", "k", "2")(True),
        call("msetex", {"a": 1, "b": 2}, ex=100)(True),
        call("msetex", {"a": 1, "c": 2}, nx=True)(False),
    ],
    "life of fields": [
        call("hset", "h", mapping={"a": 1, "b": 2})(2),
        call("hexpire", "h", 100, "a", "none")([1, -2]),
        call("hexpire", "h", datetime.timedelta(seconds=50), "a", gt=True)([0]),
        call("hpexpire", "h", 100_000, "a")([1]),
        call("hexpireat", "h", 4102444800, "a")([1]),
        call("hexpiretime", "h", "a", "b")([4102444800, -1]),
        call("hpexpireat", "h", 4102444800000, "a")([1]),
        call("hpexpiretime", "h", "a")([4102444800000]),
        call("httl", "h", "a", "none")(lambda found: found[0] > 1000 and found[1] == -2),
        call("hpttl", "h", "a")(lambda found: found[0] > 1000),
        call("hpersist", "h", "a")([1]),
        call("hgetex", "h", "a", "none", ex=100)([b"1", None]),
        call("hsetex", "h", "c", 3, ex=100)(True),
        call("hsetex", "h", mapping={"c": 4}, data_persist_option="FNX")(False),
        call("hgetdel", "h", "c")([b"3"]),
        call("hscan", "h", no_values=True)((0, [b"a", b"b"])),
    ],
    "places of members": [
        call("zadd", "z", {"a": 1, "b": 2.5})(2),
        call("zrank", "z", "b", withscore=True)((1, 2.5)),
        call("zrevrank", "z", "b", withscore=True)((0, 2.5)),
        call("zrank", "z", "none", True)(None),
        call("waitaof", 0, 0, 1)([0, 0]),
    ],
}

#: No server that the tests have knows them, or they need what the tests do not have: only what is sent is looked at.
SENT: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "delex": (lambda c: c.delex("k", ifeq="1"), ["DELEX", "k", "IFEQ", "1"]),
    "digest": (lambda c: c.digest("k"), ["DIGEST", "k"]),
    "xdelex": (lambda c: c.xdelex("x", "1-1", ref_policy="ACKED"), ["XDELEX", "x", "ACKED", "IDS", 1, "1-1"]),
    "xackdel": (lambda c: c.xackdel("x", "g", "1-1"), ["XACKDEL", "x", "g", "KEEPREF", "IDS", 1, "1-1"]),
    "bgrewriteaof": (lambda c: c.bgrewriteaof(), ["BGREWRITEAOF"]),
    "migrate": (
        lambda c: c.migrate("host", 1, ["a", "b"], 0, 10, copy=True, auth="x"),
        ["MIGRATE", "host", 1, "", 0, 10, "COPY", "AUTH", "x", "KEYS", "a", "b"],
    ),
    "restore": (
        lambda c: c.restore("k", 1, b"x", replace=True, absttl=True, idletime=1, frequency=2),
        ["RESTORE", "k", 1, b"x", "REPLACE", "ABSTTL", "IDLETIME", 1, "FREQ", 2],
    ),
    "function_restore": (
        lambda c: c.function_restore(b"x", "replace"),
        ["FUNCTION", "RESTORE", b"x", "REPLACE"],
    ),
    "bitfield": (
        lambda c: c.bitfield("k", "FAIL").set("u8", 0, 1).incrby("u8", "#1", 2, "SAT").execute(),
        ["BITFIELD", "k", "OVERFLOW", "FAIL", "SET", "u8", 0, 1, "OVERFLOW", "SAT", "INCRBY", "u8", "#1", 2],
    ),
}


class Recorder(Commands[bytes]):
    """Sends nothing: a command is its words."""

    def _do(self, args: Any, convert: Any = None) -> Any:
        return list(args)


@pytest.fixture(params=[(3, False), (2, False), (3, True), (2, True)], ids=["RESP3", "RESP2", "RESP3-str", "RESP2-str"])
def client(request: pytest.FixtureRequest, real_server: Server) -> Iterator[Any]:
    protocol, decode = request.param
    with Client(real_server.host, real_server.port, protocol=protocol, decode=decode, max_connections=1) as made:
        yield made


# ---- what a result is ------------------------------------------------------------------------------------------------


def as_str(value: Any) -> Any:
    """What `decode=True` makes of an expected value."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {as_str(key): as_str(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return type(value)(map(as_str, value))
    return value


def fits(value: Any, hint: Any, text: type) -> bool:
    """True if a value is of an annotated type; `text` stands for the type parameter of the client."""
    if hint is Any or hint is object:
        return True
    if isinstance(hint, typing.TypeVar):
        return isinstance(value, text)
    if hint is None or hint is type(None):
        return value is None
    kind, parts = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        return any(fits(value, part, text) for part in parts)
    if kind is tuple:
        if parts[-1] is Ellipsis:
            return isinstance(value, tuple) and all(fits(item, parts[0], text) for item in value)
        return (
            isinstance(value, tuple)
            and len(value) == len(parts)
            and all(fits(item, part, text) for item, part in zip(value, parts))
        )
    if kind in (list, set, collections.abc.Iterator):
        return isinstance(value, kind) and all(fits(item, parts[0], text) for item in value)
    if kind is dict:
        return isinstance(value, dict) and all(
            fits(key, parts[0], text) and fits(item, parts[1], text) for key, item in value.items()
        )
    return type(value) is hint or (isinstance(value, hint) and hint not in (int, float, bool))


def named(shape: Any, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The types of all parameters, and what is given for them; raises TypeError if this call does not fit."""
    hints, given = typing.get_type_hints(shape), inspect.signature(shape).bind(None, *args, **options).arguments
    for name, hint in list(hints.items()):
        if get_origin(hint) is typing.Unpack:
            (group,) = get_args(hint)
            more = given.pop(name, {})
            if not group.__required_keys__ <= set(more) <= group.__required_keys__ | group.__optional_keys__:
                raise TypeError(f"{sorted(more)} are not those of {group.__name__}")
            hints |= typing.get_type_hints(group)
            given |= more
    return hints, given


def promised(method: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """The annotated result of this call: that of the overload which it fits, as a type checker chooses it."""
    function = getattr(Commands, method)
    for shape in typing.get_overloads(function) or [function]:
        try:
            hints, arguments = named(shape, args, options)
        except TypeError:
            continue
        given = [(name, value) for name, value in arguments.items() if name in hints]
        literal = [(literals(hints[name]), value) for name, value in given if literals(hints[name])]
        if all(value in allowed for allowed, value in literal):
            narrow = [(name, value) for name, value in given if hints[name] in (int, type(None), None)]
            if all(fits(value, hints[name], bytes) for name, value in narrow):
                return hints["return"]
    raise AssertionError(f"no signature of {method} takes {args} {options}")


def literals(hint: Any) -> tuple[Any, ...]:
    """The values that `Literal[…]`, or a union with one, allows; none for any other annotation."""
    if get_origin(hint) is typing.Literal:
        return get_args(hint)
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ()
    found = tuple(value for part in parts for value in literals(part))
    return (*found, None) if found and type(None) in parts else found


def check(client: Any, row: list[Call]) -> None:
    text: type = str if client._decode else bytes
    for method, args, options, expected in row:
        line = f"{method}{args}{options}"
        if isinstance(expected, type) and issubclass(expected, ServerError):
            with pytest.raises(expected):
                getattr(client, method)(*args, **options)
            continue
        result = getattr(client, method)(*args, **options)
        assert fits(result, promised(method, args, options), text), f"{line} gave {result!r}"
        if callable(expected):
            # Predicates are written for bytes; of a result in str it is the type that counts.
            assert client._decode or expected(result), f"{line} gave {result!r}"
        elif expected is not ANY:
            assert result == (as_str(expected) if client._decode else expected), f"{line} gave {result!r}"


@pytest.mark.parametrize("kind", ROWS)
def test_commands_return_what_they_promise(client: Any, kind: str) -> None:
    check(client, ROWS[kind])


@pytest.mark.parametrize("kind", NEWER)
def test_newer_commands_return_what_they_promise(client: Any, real_server: Server, kind: str) -> None:
    if real_server.name == "redis":
        with pytest.raises(ServerError):
            check(client, NEWER[kind])
        return
    check(client, NEWER[kind])


@pytest.mark.parametrize("name", SENT)
def test_commands_send_what_is_documented(name: str) -> None:
    make, words = SENT[name]
    assert make(Recorder()) == words


def test_no_command_is_without_a_test() -> None:
    tried = {method for row in [*ROWS.values(), *NEWER.values()] for method, *_ in row} | set(SENT)
    assert public(Commands) - tried == set()


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))}


def test_a_pipeline_has_for_type_checkers_every_command_and_no_other() -> None:
    named = {name for name in vars(Queued) if not name.startswith("_")} | set(Queued.__annotations__)
    assert named == public(Commands)


def test_what_needs_several_commands_is_not_in_a_pipeline(valkey: Server) -> None:
    assert public(ClientCommands) - public(Commands) == {
        "hscan_iter",
        "lock",
        "register_script",
        "scan_iter",
        "sscan_iter",
        "zscan_iter",
    }


# ---- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.set("k", 1, ifeq=1, ifne=2),
        lambda c: c.set("k", 1, nx=True, ifeq=""),
        lambda c: c.lcs("a", "b", len=True, idx=True),
        lambda c: c.bitcount("k", 1),
        lambda c: c.bitcount("k", mode="BIT"),
        lambda c: c.bitpos("k", 2),
        lambda c: c.bitfield("k").execute(),
        lambda c: c.bitfield("k", "OTHER"),
        lambda c: c.object("size", "k"),
        lambda c: c.sort("k", groups=True),
        lambda c: c.sort("k", start=1),
        lambda c: c.hset("h", items=["a"]),
        lambda c: c.hrandfield("h", withvalues=True),
        lambda c: c.hexpire("h", 10),
        lambda c: c.linsert("l", "near", "a", "b"),
        lambda c: c.lmove("l", "m", "UP"),
        lambda c: c.lmove("l", "m", memoryview(b"UP")),
        lambda c: c.client_kill_filter(skipme="no"),
        lambda c: c.lmpop(3, "a", "b", direction="LEFT"),
        lambda c: c.zmpop(1, ["z"]),
        lambda c: c.zmpop(1, ["z"], min=True, max=True),
        lambda c: c.zrange("z", 0, 1, byscore=True, bylex=True),
        lambda c: c.zunion(["a"], aggregate="AVG"),
        lambda c: c.zrandmember("z", withscores=True),
        lambda c: c.xread({}),
        lambda c: c.xread({"x": 0}, block=-1),
        lambda c: c.xread({"x": 0}, count=0),
        lambda c: c.xtrim("x"),
        lambda c: c.xadd("x", {"a": 1}, limit=2),
        lambda c: c.zrange("z", "-", "+", bylex=True, withscores=True),
        lambda c: c.xtrim("x", maxlen=1, minid=1),
        lambda c: c.xtrim("x", maxlen=1, approximate=False, limit=1),
        lambda c: c.geoadd("g", [1, 2]),
        lambda c: c.geosearch("g", radius=1),
        lambda c: c.geosearch("g", member="a"),
        lambda c: c.geosearch("g", member="a", radius=1, unit="feet"),
        lambda c: c.georadius("g", 1, 2, 3, store="a", withdist=True),
        lambda c: c.command_list(module="a", pattern="b"),
        lambda c: c.expire("k", 1.5),
    ],
)
def test_wrong_arguments_are_found_before_anything_is_sent(call: Callable[[Any], Any]) -> None:
    with pytest.raises(InvalidArgument):
        call(Recorder())


def test_scores_come_as_the_caller_wants_them(client: Any) -> None:
    client.zadd("z", {"a": 1, "b": 2.5})
    assert [score for _, score in client.zrange("z", 0, -1, withscores=True, score_cast_func=str)] == ["1.0", "2.5"]
    assert [score for _, score in client.zscan_iter("z", score_cast_func=int)] == [1, 2]
    assert [score for _, score in client.zrevrange("z", 0, -1, True, round)] == [2, 1]


def test_who_waits_for_a_value_gets_it_and_has_time_beyond_that_of_other_calls(valkey: Server) -> None:
    with Client(valkey.host, valkey.port, timeout=0.2) as client, ThreadPoolExecutor() as threads:
        assert client.blpop("jobs", 0.5) is None
        taken = threads.submit(client.blmove, "jobs", "done", 10)
        wait_until(lambda: valkey.info("blocked_clients") == 1)
        client.rpush("jobs", "first")
        assert taken.result() == b"first"
        assert client.lrange("done", 0, -1) == [b"first"]


def test_all_of_a_collection_comes_by_iterators(client: Any) -> None:
    client.mset({f"k{number}": number for number in range(30)})
    client.hset("h", mapping={f"f{number}": number for number in range(30)})
    assert len(set(client.scan_iter("k*", count=5))) == 30
    assert sorted(dict(client.hscan_iter("h", count=5)).values()) == sorted(as_texts(client, range(30)))


def as_texts(client: Any, numbers: range) -> list[Any]:
    return [str(number) if client._decode else b"%d" % number for number in numbers]


def test_fields_can_be_had_without_their_values(valkey: Server) -> None:
    with Client(valkey.host, valkey.port) as client:
        client.hset("h", mapping={"a": 1, "b": 2})
        assert sorted(client.hscan_iter("h", no_values=True)) == [b"a", b"b"]


def test_a_client_is_like_a_mapping_as_far_as_that_goes(client: Any) -> None:
    assert "k" not in client
    client["k"] = "v"
    assert "k" in client
    assert client["k"] in ("v", b"v")
    del client["k"]
    with pytest.raises(KeyError):
        client["k"]
    with pytest.raises(InvalidArgument, match="scan_iter"):
        list(client)


def test_a_dump_survives_decoding(client: Any) -> None:
    client.rpush("l", b"\xff\x00", "x" * 100)
    data = client.dump("l")
    assert client.restore("copy", 0, data) is True
    assert client.lrange("copy", 0, -1) == client.lrange("l", 0, -1)
    client.function_flush()
    client.function_load("#!lua name=lib\nredis.register_function('f', function() return 1 end)")
    payload = client.function_dump()
    client.function_flush()
    assert client.function_restore(payload) is True
    client.function_flush()


def test_integers_inside_strings(client: Any) -> None:
    field = client.bitfield("f").set("u8", 0, 255).incrby("u8", 0, 10, "FAIL").incrby("u8", 0, 10, "sat").get("u8", 0)
    assert field.execute() == [0, None, 255, 255]
    assert client.pipeline(transaction=False).bitfield("f").get("u8", 0).execute().execute() == [[255]]


def test_a_value_of_another_kind_is_an_error_of_its_own_type(client: Any) -> None:
    client.set("k", "v")
    for wrong in (client.lpop, client.hgetall, client.smembers, client.xlen, client.pfcount):
        with pytest.raises((WrongType, ServerError)):
            wrong("k")


# ---- what a server says of itself ------------------------------------------------------------------------------------


def test_a_hexadecimal_name_stays_text_even_if_it_looks_like_a_number() -> None:
    said = b"# Server\r\nredis_git_sha1:123e4567\r\nredis_build_id:12e3\r\nrun_id:1234567890\r\nratio:1.50\r\n"
    said += b"uptime:12\r\nversion:7.0.15\r\ntext:nan\r\nodd:1_000\r\ndb0:keys=1,expires=0,name=12e3\r\n"
    assert parse_info(said) == {
        "redis_git_sha1": "123e4567",
        "redis_build_id": "12e3",
        "run_id": "1234567890",
        "ratio": 1.5,
        "uptime": 12,
        "version": "7.0.15",
        "text": "nan",
        "odd": "1_000",
        "db0": {"keys": 1, "expires": 0, "name": "12e3"},
    }
