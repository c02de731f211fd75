# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The commands as a user of redis-py expects them, over RESP3 and RESP2; URLs, options, retries, memory."""

import datetime
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import resp
from resp import (
    Client,
    ClientClosed,
    ConnectionLost,
    Desynchronised,
    InvalidArgument,
    Loading,
    NoScript,
    ProtocolError,
    RespError,
    ServerError,
    Timeout,
    WrongType,
)
from resp.interruptions import signals
from tests.resp.scripted import Exchange, Scripted
from tests.resp.servers import Server
from tests.waiting import wait_until

MakeClient = Callable[..., Client]


@pytest.fixture(params=[3, 2], ids=["RESP3", "RESP2"])
def client(request: pytest.FixtureRequest, real_server: Server) -> Iterator[Client]:
    with Client(real_server.host, real_server.port, protocol=request.param) as made:
        yield made


# ---- commands --------------------------------------------------------------------------------------------------------


def test_strings(client: Client) -> None:
    assert client.set("key", "value") is True
    assert client.get("key") == b"value"
    assert client.get("nothing") is None
    assert client.set("key", "other", nx=True) is None
    assert client.set("nothing", "x", xx=True) is None
    assert client.set("key", "newer", get=True) == b"value"
    assert client.set("brand new", "x", get=True) is None
    assert client.setnx("key", "x") is False
    assert client.getset("key", "newest") == b"newer"
    assert client.getdel("key") == b"newest"
    assert client.exists("key") == 0
    assert (client.append("key", "ab"), client.append("key", "cd"), client.strlen("key")) == (2, 4, 4)
    assert client.getrange("key", 1, 2) == b"bc"
    assert client.setrange("key", 1, "XY") == 4
    assert client.mset({"a": 1, b"b": 2.5, 3: b"c"}) is True
    assert client.mget("a", "b", "3", "nothing") == [b"1", b"2.5", b"c", None]
    assert client.mget(["a", "b"], "3") == [b"1", b"2.5", b"c"]
    assert client.msetnx({"a": 1, "z": 1}) is False


def test_numbers(client: Client) -> None:
    assert (client.incr("n"), client.incr("n", 5), client.incrby("n", 4)) == (1, 6, 10)
    assert (client.decr("n"), client.decrby("n", 3)) == (9, 6)
    assert client.incrbyfloat("n", 0.5) == 6.5
    client.set("text", "text")
    with pytest.raises(ServerError):
        client.incr("text")


def test_time_to_live(client: Client) -> None:
    assert client.setex("key", 100, "value") is True
    assert 99 <= client.ttl("key") <= 100
    assert client.psetex("key", 5000, "value") is True
    assert 4000 < client.pttl("key") <= 5000
    assert client.setex("key", datetime.timedelta(minutes=1), "value") is True
    assert 59 <= client.ttl("key") <= 60
    assert client.set("key", "other", keepttl=True) is True
    assert client.ttl("key") > 0
    assert client.persist("key") is True
    assert (client.ttl("key"), client.ttl("nothing")) == (-1, -2)
    assert (client.expire("key", 50), client.expire("nothing", 50)) == (True, False)
    assert client.expire("key", 20, gt=True) is False
    assert client.pexpire("key", 20_000) is True
    soon = datetime.datetime.now() + datetime.timedelta(seconds=30)
    assert client.expireat("key", soon) is True
    assert 28 <= client.ttl("key") <= 30
    assert client.pexpireat("key", int(soon.timestamp() * 1000)) is True
    assert client.set("key", "v", ex=10)
    assert client.ttl("key") == 10
    assert client.set("key", "v", px=datetime.timedelta(seconds=5))
    assert client.pttl("key") <= 5000
    assert client.set("key", "v", exat=soon)
    assert client.ttl("key") >= 28
    assert client.getex("key", ex=77) == b"v"
    assert client.ttl("key") == 77
    assert client.getex("key", persist=True) == b"v"
    assert client.ttl("key") == -1


def test_keys(client: Client) -> None:
    client.mset({f"key:{number}": number for number in range(50)})
    assert client.delete("key:0", "key:1", "nothing") == 2
    assert client.unlink("key:2") == 1
    assert client.exists("key:3", "key:4", "key:3") == 3
    assert client.touch("key:3", "nothing") == 1
    assert client.type("key:3") == b"string"
    assert client.type("nothing") == b"none"
    assert len(client.keys("key:*")) == 47
    cursor, found = client.scan(count=5)
    assert isinstance(cursor, int)
    assert all(isinstance(key, bytes) for key in found)
    assert sorted(set(client.scan_iter("key:1*", count=3))) == sorted(f"key:1{n}".encode() for n in range(10))
    assert list(client.scan_iter(_type="list")) == []
    assert client.dbsize() == 47
    assert (client.randomkey() or b"").startswith(b"key:")
    assert client.rename("key:3", "new") is True
    assert client.renamenx("new", "key:4") is False
    assert client.flushdb() is True
    assert client.flushdb(asynchronous=True) is True
    assert client.flushall() is True
    assert client.dbsize() == 0


def test_hashes(client: Client) -> None:
    assert client.hset("h", "a", 1) == 1
    assert client.hset("h", mapping={"b": 2, "c": 3}) == 2
    assert client.hset("h", items=["d", 4]) == 1
    assert client.hsetnx("h", "a", 9) is False
    assert client.hget("h", "a") == b"1"
    assert client.hget("h", "nothing") is None
    assert client.hmget("h", ["a", "nothing"], "b") == [b"1", None, b"2"]
    assert client.hgetall("h") == {b"a": b"1", b"b": b"2", b"c": b"3", b"d": b"4"}
    assert client.hgetall("nothing") == {}
    assert (client.hexists("h", "a"), client.hexists("h", "z")) == (True, False)
    assert client.hdel("h", "d", "z") == 1
    assert sorted(client.hkeys("h")) == [b"a", b"b", b"c"]
    assert sorted(client.hvals("h")) == [b"1", b"2", b"3"]
    assert client.hlen("h") == 3
    assert client.hincrby("h", "a", 5) == 6
    assert client.hincrbyfloat("h", "a", 0.25) == 6.25
    assert client.hscan("h") == (0, {b"a": b"6.25", b"b": b"2", b"c": b"3"})
    assert dict(client.hscan_iter("h", match="b")) == {b"b": b"2"}


def test_lists(client: Client) -> None:
    assert client.rpush("l", "b", "c") == 2
    assert client.lpush("l", "a") == 3
    assert client.lrange("l", 0, -1) == [b"a", b"b", b"c"]
    assert client.llen("l") == 3
    assert (client.lindex("l", 1), client.lindex("l", 9)) == (b"b", None)
    assert client.lset("l", 1, "B") is True
    assert client.lrem("l", 0, "c") == 1
    assert client.ltrim("l", 0, 0) is True
    assert client.lpop("l") == b"a"
    assert client.lpop("l") is None
    client.rpush("l", 1, 2, 3, 4)
    assert client.lpop("l", 2) == [b"1", b"2"]
    assert client.rpop("l", 2) == [b"4", b"3"]


def test_sets(client: Client) -> None:
    assert client.sadd("s", "a", "b", "a") == 2
    assert client.smembers("s") == {b"a", b"b"}
    assert client.smembers("nothing") == set()
    assert (client.sismember("s", "a"), client.sismember("s", "z")) == (True, False)
    assert client.smismember("s", ["a", "z"]) == [1, 0]
    assert client.scard("s") == 2
    client.sadd("t", "b", "c")
    assert client.sinter("s", "t") == {b"b"}
    assert client.sunion(["s", "t"]) == {b"a", b"b", b"c"}
    assert client.sdiff("s", "t") == {b"a"}
    assert client.smove("s", "t", "a") is True
    assert client.srem("s", "b", "z") == 1
    assert client.srandmember("t") in (b"a", b"b", b"c")
    assert len(client.srandmember("t", 2)) == 2
    assert client.sscan("t")[0] == 0
    assert set(client.sscan_iter("t")) == {b"a", b"b", b"c"}
    assert client.spop("t") in (b"a", b"b", b"c")
    assert len(client.spop("t", 5)) == 2
    assert client.spop("t") is None


def test_sorted_sets(client: Client) -> None:
    assert client.zadd("z", {"a": 1, "b": 2.5}) == 2
    assert client.zadd("z", {"a": 3, "c": 4}, nx=True) == 1
    assert client.zadd("z", {"a": 0}, gt=True, ch=True) == 0
    assert client.zadd("z", {"a": 1}, incr=True) == 2.0
    assert client.zadd("z", {"new": 1}, xx=True, incr=True) is None
    assert client.zrange("z", 0, -1) == [b"a", b"b", b"c"]
    assert client.zrange("z", 0, -1, withscores=True) == [(b"a", 2.0), (b"b", 2.5), (b"c", 4.0)]
    assert client.zrange("z", 0, 0, desc=True) == [b"c"]
    assert client.zrange("z", "(2", "+inf", byscore=True, offset=0, num=1) == [b"b"]
    assert client.zrevrange("z", 0, 0, withscores=True) == [(b"c", 4.0)]
    assert client.zrangebyscore("z", 2, 3) == [b"a", b"b"]
    assert client.zrangebyscore("z", "-inf", "+inf", start=1, num=1, withscores=True) == [(b"b", 2.5)]
    assert client.zrevrangebyscore("z", 3, 2) == [b"b", b"a"]
    assert client.zrange("nothing", 0, -1, withscores=True) == []
    assert (client.zscore("z", "a"), client.zscore("z", "nobody")) == (2.0, None)
    assert client.zmscore("z", ["a", "nobody"]) == [2.0, None]
    assert client.zincrby("z", 1.5, "a") == 3.5
    assert (client.zrank("z", "a"), client.zrevrank("z", "a"), client.zrank("z", "nobody")) == (1, 1, None)
    assert (client.zcard("z"), client.zcount("z", 3, "(4")) == (3, 1)
    assert client.zscan("z") == (0, [(b"b", 2.5), (b"a", 3.5), (b"c", 4.0)])
    assert sorted(client.zscan_iter("z")) == [(b"a", 3.5), (b"b", 2.5), (b"c", 4.0)]
    assert client.zpopmin("z") == [(b"b", 2.5)]
    assert client.zpopmax("z", 1) == [(b"c", 4.0)]
    assert client.zpopmax("nothing") == []
    assert client.zremrangebyscore("z", 0, 10) == 1
    client.zadd("z", {"a": 1, "b": 2})
    assert client.zremrangebyrank("z", 0, 0) == 1
    assert client.zrem("z", "b", "nobody") == 1


def test_scripts(client: Client) -> None:
    script = "return {KEYS[1], ARGV[1], 7}"
    assert client.eval(script, 1, "key", "arg") == [b"key", b"arg", 7]
    with pytest.raises(NoScript):
        client.evalsha("0" * 40, 0)
    sha = client.script_load(script)
    assert client.evalsha(sha, 1, "k", "a") == [b"k", b"a", 7]
    assert client.script_exists(sha, "0" * 40) == [True, False]
    assert client.script_flush() is True


def test_the_server_about_itself(client: Client) -> None:
    assert client.ping() is True
    assert client.ping("hello") == b"hello"
    assert client.echo("hello") == b"hello"
    assert abs(client.time()[0] - time.time()) < 60
    client.set("key", 1)
    info = client.info()
    assert isinstance(info["redis_version"], str)
    assert isinstance(info["connected_clients"], int)
    assert info["db0"]["keys"] == 1
    assert "used_memory" in client.info("memory")
    assert (client.memory_usage("key") or 0) > 0
    assert client.memory_usage("nothing") is None
    assert client.config_get("maxmemory") == {"maxmemory": "0"}
    assert client.config_set("maxmemory-samples", 5) is True
    assert client.publish("channel", "message") == 0
    assert client.pubsub_channels() == []
    assert client.pubsub_numsub("channel") == [(b"channel", 0)]


def test_connections_seen_by_the_server(client: Client) -> None:
    number = client.client_id()
    assert client.client_info()["id"] == str(number)
    assert str(number) in {entry["id"] for entry in client.client_list()}
    assert [entry["id"] for entry in client.client_list(client_id=[number])] == [str(number)]
    assert client.client_list(_type="pubsub") == []
    assert client.client_setname("me") is True
    assert client.client_getname() == "me"
    assert client.client_kill_filter(_id=999_999_999) == 0
    with pytest.raises(ServerError, match="No such client"):
        client.client_kill("127.0.0.1:1")
    assert client.client_pause(1, all=False) is True
    assert client.client_unpause() is True


def test_any_command_can_be_executed(client: Client) -> None:
    assert client.execute("SET", "key", 5) == b"OK"
    assert client.execute("get", b"key") == b"5"
    assert client.execute("CLIENT ID") == client.execute("CLIENT", "ID")
    assert client.execute_command("PING") == b"PONG"
    with pytest.raises(WrongType) as caught:
        client.execute("LPUSH", "key", 1)
    assert caught.value.code == "WRONGTYPE"
    with pytest.raises(Timeout):
        client.execute("BLPOP", "empty", 0, timeout=0.1)
    assert client.execute("BLPOP", "empty", 0.1, timeout=None) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get(None),
        lambda client: client.get(True),
        lambda client: client.get(["a"]),
        lambda client: client.set("key", None),
        lambda client: client.set("key", {"a": 1}),
        lambda client: client.set("key", "v", ex=1, px=1),
        lambda client: client.set("key", "v", ex=1, keepttl=True),
        lambda client: client.set("key", "v", nx=True, xx=True),
        lambda client: client.set("key", "v", ex="soon"),
        lambda client: client.setex("key", None, "v"),
        lambda client: client.setex("key", 1.5, "v"),
        lambda client: client.setex("key", True, "v"),
        lambda client: client.setex("key", 10, None),
        lambda client: client.delete(),
        lambda client: client.mget(None),
        lambda client: client.mset({}),
        lambda client: client.mset([("a", 1)]),
        lambda client: client.hset("h"),
        lambda client: client.hset("h", "key"),
        lambda client: client.zadd("z", {}),
        lambda client: client.zadd("z", {"a": 1}, nx=True, xx=True),
        lambda client: client.zrange("z", 0, 1, offset=1),
        lambda client: client.client_kill_filter(),
        lambda client: client.execute(),
        lambda client: client.execute("SUBSCRIBE", "channel"),
        lambda client: client.execute("MONITOR"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_sent(valkey: Server, call: Callable[[Any], Any]) -> None:
    with Client(valkey.host, valkey.port) as client:
        with pytest.raises(InvalidArgument):
            call(client)
        assert client.stats().created == 0


def test_replies_can_be_text(real_server: Server) -> None:
    with Client(real_server.host, real_server.port, decode=True) as client:
        assert client.set("key", "grün") is True
        assert client.get("key") == "grün"
        client.hset("h", mapping={"a": "b"})
        assert client.hgetall("h") == {"a": "b"}
        client.zadd("z", {"m": 1})
        assert client.zrange("z", 0, -1, withscores=True) == [("m", 1.0)]
        client.sadd("s", "x")
        assert client.smembers("s") == {"x"}
        # Many are decoded in one go, with zero bytes between them.
        client.rpush("l", *(many := ["a\0b", "", *"grün" * 10, "\0"]))
        assert client.lrange("l", 0, -1) == many
        assert client.ping() is True
        assert client.info()["redis_version"]
        assert client.pipeline(transaction=False).get("key").execute() == ["grün"]
        # What is no UTF-8 survives the way there and back.
        client.set("key", b"\xff\x00a")
        text = client.get("key")
        assert text is not None
        client.set("copy", text)
        with Client(real_server.host, real_server.port) as other:
            assert other.get("copy") == b"\xff\x00a"


@pytest.mark.parametrize("size", [0, 1, 1023, 65_527, 65_536, 100_000, 262_000, 262_144, 1_048_576, 5_000_000])
def test_values_of_any_size(client: Client, size: int) -> None:
    value = (bytes(range(256)) * (size // 256 + 1))[:size]
    for kind in (bytes, bytearray, memoryview):
        assert client.setex("key", 60, kind(value)) is True
        assert client.set("other", kind(value)) is True
    for _ in range(3):
        assert client.get("key") == value
    assert client.mget("key", "other", "nothing") == [value, value, None]


def test_values_of_changing_sizes_over_one_connection(client: Client) -> None:
    """What was received last decides how the next is received; it must not decide what."""
    sizes = [0, 5, 90_000, 300_000, 999_999, 1_000_000, 1_000_001, 17_000_000, 270_000, 262_144]
    values = {f"k{size}": bytes([number]) * size for number, size in enumerate(sizes)}
    for key, value in values.items():
        client.set(key, value)
    order = [first for one in values for other in values for first in (one, other, "nothing", one)]
    for key in order[:200]:
        assert client.get(key) == values.get(key)
    for key in order[-200:]:
        assert client.get(key) == values.get(key)
        assert client.ping() is True
        assert client.mget("nothing", key)[1] == values.get(key)
    assert client.stats().created == 1


@pytest.mark.parametrize("size", [5, 100_000, 300_000])
def test_a_reply_too_many_behind_a_value_of_any_size_is_noticed(size: int) -> None:
    def script(exchange: Exchange) -> None:
        for number in range(6):
            name = exchange.command()[1]
            value = name * size
            extra = b"$5\r\nSTALE\r\n" if exchange.number == 1 and number == 3 else b""
            exchange.send(b"$%d\r\n%b\r\n" % (len(value), value) + extra)

    with Scripted(script) as server, Client(server.host, server.port) as client:
        for name in "abcdef":
            assert client.get(name) == name.encode() * size
        assert server.connections == 2


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    "reply",
    [
        b"$300000\r\n" + b"x" * 300_000 + b"\n\r",
        b"$300000\r\n" + b"x" * 300_000 + b"xx\r\n",
        b"$30000x\r\n" + b"x" * 300_000 + b"\r\n",
        b"$-300000\r\n",
        b"$999999999\r\n",
        b"x" * 20,
    ],
)
def test_malformed_replies_after_large_ones_are_protocol_errors(reply: bytes, times: int) -> None:
    good = b"$300000\r\n" + b"x" * 300_000 + b"\r\n"

    def script(exchange: Exchange) -> None:
        exchange.answer(*[good] * times, reply)
        exchange.command()

    with Scripted(script) as server, Client(server.host, server.port) as client:
        for _ in range(times):
            assert client.get("key") == b"x" * 300_000
        with pytest.raises(ProtocolError):
            client.execute("KEY")


@pytest.mark.parametrize("reply", [b"$1\r\nvx\n", b"$1\r\nv\rx", b"$1\r\nv~\n", b"$100\r\n" + b"v" * 100 + b"~\n"])
def test_a_short_string_that_does_not_end_where_it_says_is_a_protocol_error(reply: bytes) -> None:
    with (
        Scripted(lambda exchange: exchange.answer(reply)) as server,
        Client(server.host, server.port) as client,
        pytest.raises(ProtocolError),
    ):
        client.execute("KEY")


def test_a_number_as_long_as_the_head_of_the_last_large_string_is_a_number(valkey: Server) -> None:
    with Client(valkey.host, valkey.port, max_connections=1) as client:
        client.mset({"large": b"x" * 300_000, "number": 299_999})
        for expected in (300_000, 300_001):
            assert client.get("large") == b"x" * 300_000
            assert client.incr("number") == expected


def test_a_large_string_that_stops_behind_its_head_ends_at_the_deadline() -> None:
    def script(exchange: Exchange) -> None:
        exchange.answer(b"$300000\r\n" + b"x" * 300_000 + b"\r\n", b"$300000\r\n")
        exchange.command()

    with Scripted(script) as server, Client(server.host, server.port, timeout=0.5) as client:
        assert client.get("key") == b"x" * 300_000
        with pytest.raises(Timeout) as caught:
            client.execute("KEY")
        assert caught.value.maybe_executed


# ---- where, and how --------------------------------------------------------------------------------------------------


def test_urls(valkey: Server) -> None:
    valkey.ask("ACL", "SETUSER", "ann", "on", ">p@ss /%", "~*", "+@all")
    place, secret = f"{valkey.host}:{valkey.port}", "p%40ss%20%2F%25"
    for url, db in (
        (valkey.url, "0"),
        (f"valkey://{place}", "0"),
        (f"redis://ann:{secret}@{place}/4", "4"),
        (f"redis://{place}/?db=4&username=ann&password={secret}&protocol=2", "4"),
        (f"unix://{valkey.unix_path}?db=4", "4"),
        (f"unix://ann:{secret}@{valkey.unix_path}", "0"),
        (f"redis://{place}?socket_timeout=2&decode_responses=no", "0"),
    ):
        with Client.from_url(url, client_name="by-url") as client:
            assert client.ping() is True
            assert client.client_getname() == "by-url"
            assert client.client_info()["db"] == db


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "redis://host:port",
        "redis://host:99999",
        "redis://[::1",
        "redis://host/one",
        "redis://host/0?no_such_option=1",
        "redis://host/0?db=zero",
        "redis://host/0?decode=maybe",
        "redis://user:pass#word@host/0",
        "unix://",
        b"redis://host",
        None,
    ],
)
def test_urls_that_mean_nothing_are_refused(url: Any) -> None:
    with pytest.raises(InvalidArgument):
        Client.from_url(url)


def test_passwords_are_shown_nowhere() -> None:
    client = Client.from_url("redis://anna:s3cret@localhost/0")
    assert "s3cret" not in f"{client!r}{client!s}{client.endpoint!r}{client.stats()!r}"
    for url in ("redis://anna:s3cret@host:port", "redis://anna:s3cret#x@host", "redis://anna:s3cret@host/?x=y"):
        with pytest.raises(InvalidArgument) as caught:
            Client.from_url(url)
        assert "s3cret" not in str(caught.value)


def test_all_public_names_can_be_imported() -> None:
    assert all(hasattr(resp, name) for name in resp.__all__)
    for error in (value for value in vars(resp).values() if isinstance(value, type) and issubclass(value, Exception)):
        assert issubclass(error, RespError)


def test_it_needs_nothing_but_the_standard_library() -> None:
    code = "import sys; before = set(sys.modules); import resp; print(*{n.partition('.')[0] for n in sys.modules})"
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {name for name in found if name not in sys.stdlib_module_names and name not in ("resp", "__main__")}


def test_a_closed_client_says_so(valkey: Server) -> None:
    client = Client(valkey.host, valkey.port)
    client.ping()
    client.close()
    client.close()
    with pytest.raises(ClientClosed):
        client.ping()
    with pytest.raises(ClientClosed):
        client.pipeline(transaction=False).get("key").execute()


# ---- retries ---------------------------------------------------------------------------------------------------------


def dying_after_one(log: list[bytes], half: bytes = b"") -> Callable[[Exchange], None]:
    """Answers one command; takes the second, perhaps begins an answer, and closes. Later connections just work."""

    def script(exchange: Exchange) -> None:
        log.append(exchange.command()[0])
        exchange.send(b"+OK\r\n")
        log.append(exchange.command()[0])
        if exchange.number == 1:
            exchange.send(half)
            return
        exchange.send(b"+OK\r\n")
        exchange.command()

    return script


def test_a_read_over_a_connection_that_died_is_sent_again_once() -> None:
    log: list[bytes] = []
    with Scripted(dying_after_one(log)) as server, Client(server.host, server.port) as client:
        client.execute("PING")
        assert client.get("key") == b"OK"
        assert client.stats().retried == 1
    assert log == [b"PING", b"GET", b"GET"]


@pytest.mark.parametrize("command", [("SET", "k", "v"), ("SETEX", "k", 1, "v"), ("DEL", "k"), ("INCR", "k"), ("X",)])
def test_a_write_is_never_sent_again(command: tuple[str, ...]) -> None:
    log: list[bytes] = []
    with Scripted(dying_after_one(log)) as server, Client(server.host, server.port, retries=3) as client:
        client.execute("PING")
        with pytest.raises(ConnectionLost) as caught:
            client.execute(*command)
        assert caught.value.maybe_executed
    assert log == [b"PING", command[0].encode()]


def test_a_read_whose_reply_had_begun_is_not_sent_again() -> None:
    log: list[bytes] = []
    with Scripted(dying_after_one(log, b"$5\r\nhel")) as server, Client(server.host, server.port) as client:
        client.execute("PING")
        with pytest.raises(ConnectionLost) as caught:
            client.get("key")
        assert caught.value.reply_begun
    assert log == [b"PING", b"GET"]


def test_a_read_over_a_new_connection_is_not_sent_again() -> None:
    log: list[bytes] = []

    def script(exchange: Exchange) -> None:
        log.append(exchange.command()[0])

    with Scripted(script) as server, Client(server.host, server.port) as client, pytest.raises(ConnectionLost):
        client.get("key")
    assert log == [b"GET"]


def test_a_timeout_is_never_tried_again() -> None:
    log: list[bytes] = []

    def script(exchange: Exchange) -> None:
        while True:
            log.append(exchange.command()[0])

    with Scripted(script) as server:
        client = Client(server.host, server.port, timeout=0.2, retries=5)
        with pytest.raises(Timeout):
            client.get("key")
        client.close()
    assert log == [b"GET"]


def test_the_time_for_sending_and_the_time_for_the_reply_are_one() -> None:
    def script(exchange: Exchange) -> None:
        time.sleep(0.6)
        while exchange.sock.recv(1 << 20):
            pass  # taken, and never answered

    value = b"x" * 10_000_000
    with Scripted(script) as server:
        client = Client(server.host, server.port, timeout=1.0)
        began = time.monotonic()
        with pytest.raises(Timeout) as caught:
            client.set("key", value)
        assert caught.value.maybe_executed
        assert 0.9 < time.monotonic() - began < 1.45
        client.close()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")
def test_a_timer_that_strikes_again_and_again_does_not_stretch_the_deadline() -> None:
    """A signal makes the kernel's limit begin anew; without further care this call would never end."""

    def script(exchange: Exchange) -> None:
        exchange.answer(b"+PONG\r\n")
        exchange.command()
        exchange.command()

    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        with Scripted(script) as server:
            client = Client(server.host, server.port, timeout=0.4)
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            client.ping()
            wait_until(lambda: time.monotonic() > signals.look_at)  # all handlers are looked at again only then
            began = time.monotonic()
            with pytest.raises(Timeout):
                client.get("key")
            assert 0.3 < time.monotonic() - began < 1.0
            client.close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_replies_that_nobody_asked_for_never_become_a_value() -> None:
    def script(exchange: Exchange) -> None:
        for _ in range(3):
            name = exchange.command()[1]
            exchange.send(b"$%d\r\n%b\r\n" % (len(name), name) * (2 if exchange.number == 1 and name == b"b" else 1))

    with Scripted(script) as server, Client(server.host, server.port) as client:
        assert [client.get(name) for name in ("a", "b", "c")] == [b"a", b"b", b"c"]
        assert server.connections == 2
    with Scripted(lambda exchange: exchange.answer(b"+OK\r\n+OK\r\n")) as server:
        client = Client(server.host, server.port)
        with pytest.raises(Desynchronised):
            client.set("key", "value")
        client.close()


def test_what_the_server_did_not_execute_is_tried_again_if_asked_for() -> None:
    def script(exchange: Exchange) -> None:
        exchange.answer(b"-LOADING wait\r\n", b"-LOADING wait\r\n", b"+OK\r\n")
        exchange.command()

    with Scripted(script) as server, Client(server.host, server.port, retries=2) as client:
        assert client.set("key", "value") is True
    with Scripted(script) as server, Client(server.host, server.port) as client:
        with pytest.raises(Loading):
            client.set("key", "value")
        with pytest.raises(Loading):
            client.get("key")


def test_connecting_is_tried_again_if_asked_for_and_within_the_deadline(new_valkey: Callable[..., Server]) -> None:
    server = new_valkey()
    server.kill()
    timer = threading.Timer(0.2, server.restart)
    timer.start()
    with Client(server.host, server.port, retries=20, timeout=10, breaker=False) as client:
        assert client.set("key", "value") is True
    timer.join()
    server.kill()
    with Client(server.host, server.port, retries=1000, timeout=0.5, breaker=False) as client:
        began = time.monotonic()
        with pytest.raises(ConnectionLost):
            client.set("key", "value")
        assert time.monotonic() - began < 0.7


def test_a_replica_is_left_by_closing_the_connection() -> None:
    def script(exchange: Exchange) -> None:
        exchange.answer(
            b"-READONLY You can't write against a read only replica.\r\n" if exchange.number == 1 else b"+OK\r\n"
        )
        exchange.command()

    with Scripted(script) as server, Client(server.host, server.port) as client:
        with pytest.raises(resp.ReadOnly):
            client.set("key", "value")
        assert client.set("key", "value") is True


@pytest.mark.parametrize(
    ("reply", "call"),
    [
        (b":5\r\n", lambda client: client.hgetall("h")),
        (b"*1\r\n:5\r\n", lambda client: client.hgetall("h")),
        (b"+x\r\n", lambda client: client.scan()),
        (b"+x\r\n", lambda client: client.zscore("z", "m")),
        (b"*1\r\n+x\r\n", lambda client: client.zrange("z", 0, 1, withscores=True)),
        (b"_\r\n", lambda client: client.smembers("s")),
        (b"~1\r\n*0\r\n", lambda client: client.smembers("s")),
        (b":1\r\n", lambda client: client.time()),
    ],
)
def test_replies_of_an_unexpected_form_are_protocol_errors(reply: bytes, call: Callable[[Client], Any]) -> None:
    def script(exchange: Exchange) -> None:
        exchange.answer(reply)
        exchange.command()

    with Scripted(script) as server, Client(server.host, server.port) as client, pytest.raises(ProtocolError):
        call(client)


# ---- memory ----------------------------------------------------------------------------------------------------------

_MEMORY = """
import re, resource, sys, resp
# Not ru_maxrss: a child process begins with that of the one it was forked from.
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
def now(): return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
client = resp.Client(sys.argv[1], int(sys.argv[2]), timeout=60)
client.get("small")
before = now()
value = client.get("large")
size = len(value)
print((peak() - before) / size)
del value
for _ in range(300):
    client.get("small")
print((now() - before) / size)
"""


def test_a_large_value_needs_little_more_than_its_own_size_and_leaves_nothing(valkey: Server) -> None:
    with Client(valkey.host, valkey.port, timeout=60) as client:
        client.set("large", bytes(100 * 1024 * 1024))
        client.set("small", b"x")
    run = [sys.executable, "-c", _MEMORY, valkey.host, str(valkey.port)]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    assert float(lines[0]) <= 2.2
    assert float(lines[1]) <= 0.1
