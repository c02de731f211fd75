# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Clusters of three primaries and three replicas, of Redis 7 and of Valkey: commands, redirections, failure, load."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from resp import (
    BreakerOpen,
    Client,
    ClientClosed,
    ConnectionLost,
    CrossSlot,
    InvalidArgument,
    PubSub,
    RespError,
    ServerError,
    Timeout,
    cluster_batches,
)
from resp.cluster import ClusterSource, not_executed
from resp.endpoint import parse_url
from resp.errors import ClusterDown, TryAgain, WatchError, WrongType
from resp.slot_map import parse_shards, parse_slots
from resp.slots import key_slot
from resp.tracking import State
from tests.resp.certs import Certificates
from tests.resp.chaos import ChaosProxy
from tests.resp.fleets import Cluster, clustered
from tests.resp.scripted import Exchange, Scripted
from tests.resp.servers import ConsoleError, Server
from tests.waiting import wait_until

KEYS = [f"key:{number}" for number in range(60)]
"""Enough to be on every node."""


@pytest.mark.parametrize(
    ("error", "closed", "expected"),
    [
        (ConnectionLost("x", maybe_executed=False), False, True),
        (ConnectionLost("x", maybe_executed=True), False, False),
        (Timeout("x", maybe_executed=False), False, True),
        (Timeout("x", maybe_executed=True), False, False),
        (BreakerOpen("x"), False, True),
        (ClientClosed(), False, True),
        (ClientClosed(), True, False),
        (WrongType("WRONGTYPE", "x"), False, False),
        (b"a reply", False, False),
    ],
)
def test_another_node_is_asked_if_this_one_cannot_have_run_the_command(
    error: object, closed: bool, expected: bool
) -> None:
    topology: Any = SimpleNamespace(poller=SimpleNamespace(closed=closed))
    assert not_executed(error, topology) is expected


@pytest.fixture(scope="module", params=["redis", "valkey"])
def lasting(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster for what leaves it whole."""
    with clustered(request.param) as cluster:
        yield cluster


@pytest.fixture
def cluster(lasting: Cluster) -> Cluster:
    """The same, empty."""
    for server in lasting.primaries:
        server.ask("FLUSHALL")
    return lasting


@pytest.fixture(params=["redis", "valkey"])
def breakable(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster of its own, to be broken."""
    with clustered(request.param) as made:
        yield made


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client[bytes]]:
    with Client.from_url(cluster.url, timeout=10) as made:
        yield made


def source_of(client: Client[Any]) -> ClusterSource:
    source = client._source
    assert isinstance(source, ClusterSource)
    return source


def other(cluster: Cluster, server: Server) -> Server:
    return next(each for each in cluster.primaries if each is not server)


# ---- commands --------------------------------------------------------------------------------------------------------


def test_each_command_goes_to_the_node_of_its_key(client: Client[bytes], cluster: Cluster) -> None:
    for key in KEYS:
        assert client.set(key, key)
    others: list[Any] = ["grün", 12, memoryview(b"view")]
    for other in others:
        assert client.set(other, "v")
        assert client.get(other) == b"v"
    assert [client.get(key) for key in KEYS] == [key.encode() for key in KEYS]
    for server in cluster.primaries:
        assert server.ask("DBSIZE"), "some of the keys are on every node"
    # The map was right from the beginning: not one command was redirected.
    before = [server.info("total_error_replies") for server in cluster.primaries]
    for key in KEYS:
        client.get(key)
    assert [server.info("total_error_replies") for server in cluster.primaries] == before


def test_a_transaction_with_a_command_that_is_none_is_aborted(client: Client[bytes]) -> None:
    with client.transaction() as pipe:
        pipe.set("{t}a", 1)
        pipe.execute_command("SET", "{t}b")
        with pytest.raises(ServerError, match="EXECABORT"):
            pipe.execute()
    assert client.exists("{t}a") == 0


def test_who_is_sent_round_waits_longer_each_time_and_not_beyond_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(cluster_batches, "_time", SimpleNamespace(sleep=waited.append))
    wait = cluster_batches.pause
    assert all(wait(hop, None) for hop in range(4))
    assert all(0.01 * 2**hop <= span <= 0.02 * 2**hop for hop, span in enumerate(waited))
    assert wait(0, time.monotonic() + 60)
    assert len(waited) == 5
    assert not wait(0, time.monotonic() + 0.001)
    assert len(waited) == 5


def test_commands_of_several_keys(client: Client[bytes]) -> None:
    client.set("a", 1)
    client.set("b", 2)
    assert client.mget(["b", "none", "a", "b"]) == [b"2", None, b"1", b"2"]
    assert client.exists("a", "b", "a", "none") == 3
    assert client.touch("a", "b") == 2
    assert client.delete("a", "none") == 1
    assert client.unlink("a", "b") == 1
    assert client.mset({"{t}1": 1, "{t}2": 2})
    assert client.mget("{t}1", "{t}2") == [b"1", b"2"]
    with pytest.raises(CrossSlot, match="nothing was sent"):
        client.mset({"a": 1, "b": 2})
    with pytest.raises(CrossSlot, match="nothing was sent"):
        client.rename("a", "b")


def test_an_error_of_one_part_is_the_error_of_the_whole(client: Client[bytes], cluster: Cluster) -> None:
    cluster.primaries[0].ask("ACL", "SETUSER", "default", "-mget")
    try:
        with pytest.raises(ServerError):
            client.mget(KEYS)
    finally:
        cluster.primaries[0].ask("ACL", "SETUSER", "default", "+mget")


def test_commands_without_keys(client: Client[bytes], cluster: Cluster) -> None:
    for key in KEYS:
        client.set(key, 1)
    assert client.ping()
    assert client.dbsize() == len(KEYS)
    assert sorted(client.keys("key:*")) == sorted(key.encode() for key in KEYS)
    assert sorted(client.scan_iter(count=7)) == sorted(key.encode() for key in KEYS)
    assert sorted(client.scan_iter("key:1*")) == sorted(key.encode() for key in KEYS if key.startswith("key:1"))
    sha = client.script_load("return redis.call('GET', KEYS[1])")
    for key in KEYS:
        assert client.evalsha(sha, 1, key) == b"1"
    assert client.script_exists(sha, "0" * 40) == [True, False]
    assert client.config_set("maxmemory-samples", 7)
    for server in cluster.servers:  # replicas, too
        assert server.ask("CONFIG", "GET", "maxmemory-samples") == [b"maxmemory-samples", b"7"]
    assert client.flushall()
    assert client.dbsize() == 0


def test_a_script_is_known_by_name_and_sent_anew_where_it_is_not(client: Client[bytes], cluster: Cluster) -> None:
    script = client.register_script("return redis.call('INCR', KEYS[1])")
    for _ in range(2):
        for key in KEYS:
            script(keys=[key])
        for server in cluster.primaries:
            server.ask("SCRIPT", "FLUSH")
    assert {client.get(key) for key in KEYS} == {b"2"}


def test_a_pipeline_is_put_together_in_order(client: Client[bytes]) -> None:
    pipe = client.pipeline()
    for turn in range(3):
        for key in KEYS:
            pipe.append(key, turn).get(key)
    results = pipe.execute()
    texts = [results[place + 1] for place in range(0, len(results), 2)]
    assert texts == [b"0"] * len(KEYS) + [b"01"] * len(KEYS) + [b"012"] * len(KEYS)
    client.hset("hash", "f", "v")
    results = client.pipeline().get("a").incr("hash").get("b").ping().execute(raise_on_error=False)
    assert [type(result) for result in results] == [type(None), WrongType, type(None), bool]
    with pytest.raises(InvalidArgument, match="several nodes"):
        client.pipeline().flushall()
    with pytest.raises(CrossSlot):
        client.pipeline().mget("a", "b")


def test_large_values_in_both_directions_of_all_nodes_at_once(client: Client[bytes]) -> None:
    value = bytes(range(256)) * 1500
    for key in KEYS:
        client.set(key, value)
    pipe = client.pipeline()
    for key in KEYS:
        pipe.get(key).set(f"copy:{key}", value)
    results = pipe.execute()
    assert results[0::2] == [value] * len(KEYS)
    assert results[1::2] == [True] * len(KEYS)


def test_a_transaction_has_one_slot(client: Client[bytes]) -> None:
    with client.transaction() as queue:
        queue.watch("{t}stock")
        assert queue.get("{t}stock") is None
        with pytest.raises(CrossSlot):
            queue.get("elsewhere")
        queue.multi()
        with pytest.raises(CrossSlot):
            queue.set("elsewhere", 1)
        assert queue.set("{t}stock", 5).incr("{t}count").execute() == [True, 1]
    with client.transaction() as queue:
        queue.watch("{t}stock")
        client.set("{t}stock", 6)
        queue.multi()
        queue.set("{t}stock", 7)
        with pytest.raises(WatchError):
            queue.execute()
    with pytest.raises(CrossSlot):
        client.pipeline(transaction=True).set("a", 1).set("b", 1).execute()
    assert client.stats().in_use == 0


def test_reads_go_to_replicas_on_request(cluster: Cluster) -> None:
    with Client.from_url(cluster.url, read_from="replica") as client:
        for key in KEYS:
            client.set(key, key)
        wait_until(lambda: [client.get(key) for key in KEYS] == [key.encode() for key in KEYS])
        before = [server.info("total_commands_processed") for server in cluster.replicas]
        for key in KEYS:
            client.get(key)
        grown = [server.info("total_commands_processed") - count for server, count in zip(cluster.replicas, before)]
        assert sum(grown) >= len(KEYS)


def test_the_form_of_the_url() -> None:
    assert parse_url("valkeys+cluster://:pw@h1:1,h2?timeout=2") == {
        "cluster": [("h1", 1), ("h2", 6379)],
        "password": "pw",
        "ssl": True,
        "timeout": 2.0,
    }


def test_nodes_that_are_named_wrongly_can_be_translated(cluster: Cluster) -> None:
    asked: set[tuple[str, int]] = set()

    def translate(host: str, port: int) -> tuple[str, int]:
        asked.add((host, port))
        return "localhost", port

    first = cluster.primaries[0]
    with Client(first.host, first.port, cluster=True, translate=translate) as client:
        for key in KEYS:
            client.set(key, 1)
        assert client.endpoint.host == "localhost"
    assert {port for _, port in asked} >= {server.port for server in cluster.primaries}


def test_a_cluster_that_is_not_there_and_one_that_is_none(valkey: Server) -> None:
    with Client(cluster="127.0.0.1:1", timeout=2) as client, pytest.raises(ConnectionLost, match="no map") as caught:
        client.get("a")
    assert not caught.value.maybe_executed
    with Client(cluster=[valkey.address], timeout=2) as client, pytest.raises(ConnectionLost, match="no map"):
        client.set("a", 1)


def test_nodes_that_load_their_data_are_waited_for_and_replicas_that_do_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two scripted nodes: a primary that is loading for two commands of each connection, a replica that always is."""
    monkeypatch.setattr("resp.cluster_batches._time.sleep", lambda seconds: None)
    ports: list[int] = []

    def script(exchange: Exchange, always: bool) -> None:
        refusals = 2
        while True:
            name = exchange.command()[0]
            if name == b"CLUSTER":
                nodes = b"".join(b"*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % port for port in ports)
                exchange.send(b"*1\r\n*4\r\n:0\r\n:16383\r\n" + nodes)
            elif name == b"READONLY":
                exchange.send(b"+OK\r\n")
            elif name == b"GET" and not always and not refusals:
                exchange.send(b"+value\r\n")
            else:
                exchange.send(b"-LOADING Redis is loading the dataset in memory\r\n")
                refusals -= 1

    with (
        Scripted(lambda exchange: script(exchange, False)) as primary,
        Scripted(lambda exchange: script(exchange, True)) as replica,
    ):
        ports += [primary.port, replica.port]
        for read_from in ("master", "replica"):
            with Client(cluster=[(primary.host, primary.port)], read_from=read_from, timeout=30) as client:
                assert client.get("key") == b"value"
                assert bool(replica.connections) == (read_from == "replica")
            with Client(cluster=[(primary.host, primary.port)], timeout=30) as client:
                assert client.pipeline().get("key").execute() == [b"value"]


# ---- slots that move -------------------------------------------------------------------------------------------------


def test_a_slot_that_moved_is_followed_and_learned(client: Client[bytes], cluster: Cluster) -> None:
    client.set("wanderer", 1)
    slot = key_slot("wanderer")
    target = other(cluster, cluster.owner(slot))
    cluster.move(slot, target)
    assert client.get("wanderer") == b"1"
    before = [server.info("total_error_replies") for server in cluster.primaries]
    assert client.incr("wanderer") == 2
    assert [server.info("total_error_replies") for server in cluster.primaries] == before, "known by now"
    cluster.move(slot, other(cluster, target))
    assert client.pipeline().get("wanderer").incr("wanderer").get("wanderer").execute() == [b"2", 3, b"3"]
    cluster.move(slot, target)
    assert client.transaction().incr("wanderer").get("wanderer").execute() == [4, b"4"]
    cluster.move(slot, other(cluster, target))
    with client.transaction() as queue:
        queue.watch("wanderer")
        assert queue.get("wanderer") == b"4"


def test_a_slot_in_the_middle_of_its_move(client: Client[bytes], cluster: Cluster) -> None:
    """Keys that are here, keys that are there, and commands that need both."""
    names = [f"{{half}}{number}" for number in range(20)]
    for name in names:
        client.set(name, name)
    slot = key_slot("{half}")
    source = cluster.owner(slot)
    target = other(cluster, source)
    seen: list[Any] = []

    def halfway() -> None:
        seen.append([client.get(name) for name in names])
        seen.append(client.pipeline().get(names[0]).get(names[-1]).get("{half}none").execute())
        results: list[Any] = client.pipeline().mget(names).get(names[0]).execute(raise_on_error=False)
        # What could not be done because a later command of the slot was: it says so itself.
        assert results[0] == [name.encode() for name in names] or isinstance(results[0], TryAgain)
        assert results[1] == names[0].encode()
        with pytest.raises(TryAgain):
            client.mget(names)
        client.set("{half}new", "fresh")
        seen.append(client.get("{half}new"))

    cluster.move(slot, target, pause=halfway)
    assert seen[0] == [name.encode() for name in names]
    assert seen[1] == [names[0].encode(), names[-1].encode(), None]
    assert seen[2] == b"fresh"
    assert client.mget(names) == [name.encode() for name in names]
    assert client.get("{half}new") == b"fresh"


def test_sixty_four_threads_during_a_resharding(client: Client[bytes], cluster: Cluster) -> None:
    """Each value is checked against its key, each write is counted."""
    stop = threading.Event()
    wrong: list[str] = []
    done = [0] * 64

    def work(number: int) -> None:
        own = f"count:{number}"
        for turn in itertools.count():
            if stop.is_set():
                return
            try:
                key = KEYS[(number + turn) % len(KEYS)]
                if turn % 7 == 3:
                    results = client.pipeline().set(key, key).get(key).incr(own).execute()
                    done[number] += 1
                    if results[1] != key.encode():
                        wrong.append(f"{key}: {results}")
                    continue
                client.set(key, key)
                if client.get(key) != key.encode():
                    wrong.append(key)
                client.incr(own)
                done[number] += 1
            except RespError as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    moved = 0
    try:
        slots = sorted({key_slot(key) for key in KEYS} | {key_slot(f"count:{number}") for number in range(64)})
        for slot in slots[:60]:
            cluster.move(slot, other(cluster, cluster.owner(slot)))
            moved += 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[:5]
    assert moved == 60
    assert sum(done) > 1000
    assert [int(client.get(f"count:{number}") or 0) for number in range(64)] == done


# ---- nodes that fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_primary_that_dies_under_load_is_replaced(breakable: Cluster, how: str) -> None:
    stop = threading.Event()
    counts: dict[str, list[int]] = {f"n:{number}": [0, 0] for number in range(16)}  # acknowledged, maybe
    odd: list[str] = []

    with Client.from_url(breakable.url, timeout=1.0) as client:

        def work(key: str) -> None:
            while not stop.wait(0.002):  # many at work, not the whole of a processor
                try:
                    client.incr(key)
                    counts[key][0] += 1
                except RespError as error:
                    counts[key][1] += bool(getattr(error, "maybe_executed", False))
                    if isinstance(error, ServerError) and not isinstance(error, ClusterDown):
                        odd.append(repr(error))
                    stop.wait(0.005)

        threads = [threading.Thread(target=work, args=(key,)) for key in counts]
        for thread in threads:
            thread.start()
        wait_until(lambda: all(found[0] > 20 for found in counts.values()))
        victim = breakable.primaries[1]
        mine = [key for key in counts if breakable.owner(key_slot(key)) is victim]
        assert mine
        (victim.kill if how == "kill" else victim.pause)()
        began = time.monotonic()
        marks = {key: counts[key][0] for key in counts}
        survivor = breakable.primaries[0]
        wait_until(lambda: survivor_port(survivor, mine[0]) != victim.port, "a replica that was promoted")
        promoted = time.monotonic()
        wait_until(lambda: all(counts[key][0] > marks[key] + 5 for key in mine), "writes that succeed again")
        print(f"\n{how}: promoted after {promoted - began:.2f} s, served {time.monotonic() - promoted:.2f} s later")
        stop.set()
        for thread in threads:
            thread.join()
        for key, (acknowledged, maybe) in counts.items():
            found = int(client.get(key) or 0)
            assert found <= acknowledged + maybe, f"{key}: a write was executed twice"
            if key not in mine:
                assert found == acknowledged, f"{key} is on a node that nothing happened to"
        assert not odd, odd[:5]
        if how == "pause":
            victim.resume()


def test_both_maps_of_a_cluster_say_the_same(cluster: Cluster) -> None:
    for server in cluster.primaries:
        for protocol in (2, 3):
            with Client(server.host, server.port, protocol=protocol) as client:
                older = parse_slots(client.execute("CLUSTER", "SLOTS"), server.host)
                newer = parse_shards(client.execute("CLUSTER", "SHARDS"), server.host)
        assert [(first, last, shard.primary) for first, last, shard in newer] == [
            (first, last, shard.primary) for first, last, shard in older
        ]
        assert [sorted(each.shard.replicas) for each in newer] == [sorted(each.shard.replicas) for each in older]


def test_a_user_who_may_ask_for_the_newer_map_alone_is_served(cluster: Cluster) -> None:
    for server in cluster.servers:
        server.ask("ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-cluster|slots")
    with Client.from_url(cluster.url, username="limited", password="secret", timeout=10) as client:
        for key in KEYS:
            client.set(key, key)
        assert [client.get(key) for key in KEYS] == [key.encode() for key in KEYS]


def survivor_port(server: Server, key: str) -> int:
    """The port that this server names for the slot of a key."""
    try:
        rows: Any = server.ask("CLUSTER", "SLOTS")
    except (OSError, ConsoleError):
        return 0
    slot = key_slot(key)
    found: int = next((row[2][1] for row in rows if row[0] <= slot <= row[1]), 0)
    return found


def test_a_lost_node_is_an_error_in_the_places_of_its_commands(breakable: Cluster) -> None:
    with Client.from_url(breakable.url, timeout=2) as client:
        for key in KEYS:
            client.set(key, 1)
        victim = breakable.primaries[2]
        mine = {key for key in KEYS if breakable.owner(key_slot(key)) is victim}
        victim.kill()
        pipe = client.pipeline()
        for key in KEYS:
            pipe.incr(key)
        results = pipe.execute(raise_on_error=False)
        for key, result in zip(KEYS, results):
            assert (result == 2) == (key not in mine), (key, result)
            assert isinstance(result, RespError) == (key in mine)
        with pytest.raises(RespError):
            client.pipeline().incr(next(iter(mine))).execute()


def test_a_node_that_only_we_cannot_reach_costs_its_slots_and_nothing_else(
    cluster: Cluster, chaos: Callable[..., ChaosProxy]
) -> None:
    """A partition between us and one node, of which the cluster knows nothing: no other node takes its place."""
    proxies = {server.port: chaos(server.address) for server in cluster.servers}
    mapped = {port: proxy.address for port, proxy in proxies.items()}

    def translate(host: str, port: int) -> tuple[str, int]:
        return mapped.get(port, (host, port))

    first = cluster.primaries[0]
    with Client(first.host, first.port, cluster=True, translate=translate, timeout=0.5) as client:
        for key in KEYS:
            client.set(key, 0)
        lost = cluster.owner(key_slot(KEYS[0]))
        mine = [key for key in KEYS if cluster.owner(key_slot(key)) is lost]
        elsewhere = [key for key in KEYS if key not in mine]
        acknowledged, maybe = dict.fromkeys(KEYS, 0), dict.fromkeys(KEYS, 0)

        def count(keys: list[str]) -> int:
            """Count each key up once; how many were acknowledged."""
            done = 0
            for key in keys:
                try:
                    client.incr(key)
                    acknowledged[key] += 1
                    done += 1
                except RespError as error:
                    maybe[key] += bool(getattr(error, "maybe_executed", False))
            return done

        assert count(KEYS) == len(KEYS)
        proxies[lost.port].freeze()
        for _ in range(3):
            assert count(mine[:3]) == 0
            assert count(elsewhere) == len(elsewhere)
        assert client.pipeline().get(mine[0]).get(elsewhere[0]).execute(raise_on_error=False)[1] == b"4"
        proxies[lost.port].thaw()
        wait_until(lambda: count(mine[3:4]) == 1)
        proxies[lost.port].reset()
        wait_until(lambda: count(mine) == len(mine))
        for key in KEYS:
            found = int(client.get(key) or 0)
            assert acknowledged[key] <= found <= acknowledged[key] + maybe[key], key


# ---- listening -------------------------------------------------------------------------------------------------------


def next_of(pubsub: PubSub, kind: str) -> Any:
    def of_this_kind() -> Any:
        message = pubsub.get_message(timeout=0.1)
        return message if message is not None and message["type"] == kind else None

    return wait_until(of_this_kind, f"a {kind}")


def test_sharded_channels_live_on_several_nodes_and_move_with_their_slots(
    client: Client[bytes], cluster: Cluster
) -> None:
    names = [f"shard:{number}" for number in range(12)]
    with client.pubsub(retry_first=0.01, retry_most=0.1) as pubsub:
        pubsub.ssubscribe(*names)
        pubsub.subscribe("plain")
        wait_until(lambda: pubsub.get_message(timeout=0.01) is None and not pending(pubsub))
        assert pubsub.shard_channels == {name.encode() for name in names}
        for name in names:
            assert client.spublish(name, name) == 1
            assert next_of(pubsub, "smessage")["data"] == name.encode()
        assert client.publish("plain", "x") is not None
        assert next_of(pubsub, "message")["data"] == b"x"
        slot = key_slot(names[3])
        cluster.move(slot, other(cluster, cluster.owner(slot)))
        assert next_of(pubsub, "gap")["channel"] == names[3].encode()
        assert pubsub.shard_channels == {name.encode() for name in names}

        def arrives() -> bool:
            pubsub.get_message(timeout=0.01)
            return client.spublish(names[3], "again") == 1

        wait_until(arrives)
        assert next_of(pubsub, "smessage")["channel"] == names[3].encode()
        pubsub.sunsubscribe()
        wait_until(lambda: pubsub.get_message(timeout=0.01) is None and not pending(pubsub))
        assert client.spublish(names[0], "x") == 0


def pending(pubsub: PubSub) -> bool:
    return any(each.unconfirmed for each in pubsub._subscribers.values())


def test_tracking_hears_of_every_primary_and_of_every_move(client: Client[bytes], cluster: Cluster) -> None:
    heard: list[bytes | None] = []
    tracking = client.tracking(heard.append, prefixes=["key:"], lease=2.0)
    with tracking:
        assert tracking.wait(10)
        assert tracking.lease == 2.0
        for key in KEYS:
            client.set(key, 1)
        wait_until(lambda: {key.encode() for key in KEYS} <= set(heard))
        client.set("other", 1)
        slot = key_slot(KEYS[0])
        generation = tracking.generation
        cluster.move(slot, other(cluster, cluster.owner(slot)))
        wait_until(lambda: tracking.generation > generation and tracking.live)
        heard.clear()
        client.set(KEYS[0], 2)
        wait_until(lambda: KEYS[0].encode() in heard)
        assert b"other" not in heard
    assert tracking.status.state is State.CLOSED


def test_tracking_is_not_live_without_one_of_its_primaries(breakable: Cluster) -> None:
    heard: list[bytes | None] = []
    with Client.from_url(breakable.url, timeout=2) as client:
        tracking = client.tracking(heard.append, lease=1.0, silence=0.3, patience=0.3)
        tracking.start()
        assert tracking.wait(10)
        generation = tracking.generation
        victim = breakable.primaries[0]
        victim.pause()
        wait_until(lambda: not tracking.live)
        wait_until(lambda: survivor_port(breakable.primaries[1], "foo") and tracking.live, "live again")
        assert tracking.generation > generation
        assert victim.port not in {node.endpoint.port for node in source_of(client).topology.primaries}
        key = next(key for key in KEYS if survivor_port(breakable.primaries[1], key) in replica_ports(breakable))
        heard.clear()
        wait_until(lambda: wrote(lambda: client.set(key, 1)))
        wait_until(lambda: key.encode() in heard)
        tracking.close()
        victim.resume()


def replica_ports(cluster: Cluster) -> set[int]:
    return {server.port for server in cluster.replicas}


def wrote(write: Callable[[], object]) -> bool:
    try:
        write()
    except RespError:
        return False
    return True


# ---- credentials, TLS, forks -----------------------------------------------------------------------------------------


def test_a_cluster_with_a_password_behind_tls(certificates: Certificates) -> None:
    with (
        clustered("redis", replicas=0, password="s3cret", tls=certificates) as cluster,
        Client(
            cluster=[(server.host, server.tls_port or 0) for server in cluster.primaries[:1]],
            password="s3cret",
            ssl=certificates.client_context(),
            timeout=10,
        ) as client,
    ):
        for key in KEYS:
            assert client.set(key, key)
        assert client.mget(KEYS) == [key.encode() for key in KEYS]
        ports = {node.endpoint.port for node in source_of(client).topology.primaries}
        assert ports == {server.tls_port for server in cluster.primaries}
        assert "s3cret" not in f"{client!r}{source_of(client).topology.primaries}{client.stats()}"
    with (
        clustered("redis", primaries=1, replicas=0, password="s3cret") as cluster,
        Client.from_url(cluster.url) as client,
        pytest.raises(ConnectionLost, match="NOAUTH"),
    ):
        client.get("a")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_child_of_a_fork_has_connections_and_a_thread_of_its_own(client: Client[bytes], cluster: Cluster) -> None:
    for key in KEYS:
        client.set(key, key)
    child = os.fork()
    if not child:
        good = False
        try:
            good = client.mget(KEYS) == [key.encode() for key in KEYS]
            slot = key_slot(KEYS[0])
            cluster.move(slot, other(cluster, cluster.owner(slot)))
            good = good and client.get(KEYS[0]) == KEYS[0].encode()
        finally:
            os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert client.mget(KEYS) == [key.encode() for key in KEYS]


def test_no_thread_and_no_connection_is_left_of_a_client_that_was_closed(cluster: Cluster) -> None:
    def threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "resp-cluster"}

    def named(name: str) -> bool:
        return any(row["name"] == name for server in cluster.primaries for row in server.clients())

    before = threads()
    client = Client.from_url(cluster.url, client_name="passing")
    for key in KEYS:
        client.get(key)
    assert named("passing")
    own = threads() - before  # others' may be ending just now
    assert own
    client.close()
    wait_until(lambda: not own & threads())
    wait_until(
        lambda: not [row for server in cluster.primaries for row in server.clients() if row["name"] == "passing"]
    )
    with pytest.raises(RespError):
        client.get("a")


# ---- a local cache ---------------------------------------------------------------------------------------------------


class LocalCache:
    """Keeps what it read by the rule of `resp.tracking`."""

    def __init__(self, client: Client[bytes]) -> None:
        self.client = client
        self.entries: dict[str, tuple[int, bytes | None]] = {}
        self.under_way: dict[str, bool] = {}
        self.lock = threading.Lock()
        self.tracking = client.tracking(self.invalidated, prefixes=["key:"], lease=1.0, silence=0.3, patience=0.3)

    def invalidated(self, key: bytes | None) -> None:
        with self.lock:
            if key is None:
                self.entries.clear()
                self.under_way.clear()
            else:
                self.entries.pop(key.decode(), None)
                self.under_way.pop(key.decode(), None)

    def get(self, key: str) -> bytes | None:
        """The value, out of memory if that may be trusted."""
        status = self.tracking.status
        with self.lock:
            entry = self.entries.get(key)
            if entry is not None and status.live and entry[0] == status.generation:
                return entry[1]
            self.under_way[key] = True
        value = self.client.get(key)
        with self.lock:
            if self.under_way.pop(key, False) and status.live and self.tracking.status == status:
                self.entries[key] = (status.generation, value)
        return value


@pytest.mark.parametrize("trouble", ["resharding", "kill"])
def test_a_local_cache_is_right_again_after_any_change_of_the_map(breakable: Cluster, trouble: str) -> None:
    stop = threading.Event()
    failures: list[str] = []
    patience = 1.0 if trouble == "kill" else 10.0
    with (
        Client.from_url(breakable.url, timeout=patience) as reader,
        Client.from_url(breakable.url, timeout=patience) as writer,
    ):
        cache = LocalCache(reader)
        hits = 0

        def write() -> None:
            for turn in itertools.count():
                if stop.is_set():
                    return
                wrote(lambda turn=turn: writer.set(KEYS[turn % len(KEYS)], turn))  # type: ignore[misc]  # a lambda of a loop

        def read() -> None:
            nonlocal hits
            for turn in itertools.count():
                if stop.is_set():
                    return
                hits += KEYS[turn % len(KEYS)] in cache.entries
                try:
                    cache.get(KEYS[turn % len(KEYS)])
                except RespError as error:
                    failures.append(repr(error))

        with cache.tracking:
            assert cache.tracking.wait(10)
            threads = [threading.Thread(target=work) for work in (write, read, read)]
            for thread in threads:
                thread.start()
            wait_until(lambda: hits > 50)
            if trouble == "resharding":
                for key in KEYS[:20]:
                    slot = key_slot(key)
                    breakable.move(slot, other(breakable, breakable.owner(slot)))
            else:
                victim = breakable.primaries[0]
                mine = next(key for key in KEYS if breakable.owner(key_slot(key)) is victim)
                victim.kill()
                wait_until(lambda: survivor_port(breakable.primaries[1], mine) not in (0, victim.port))
            wait_until(lambda: cache.tracking.live)
            stop.set()
            for thread in threads:
                thread.join()

            def agrees() -> bool:
                return [cache.get(key) for key in KEYS] == [writer.get(key) for key in KEYS]

            # What was written last is on its way for a moment; then every trusted entry is right, and stays so.
            wait_until(agrees)
            assert agrees()
            assert cache.tracking.live
        assert trouble == "kill" or not failures, failures[:3]


@pytest.mark.parametrize("protocol", [2, 3])
def test_both_versions_of_the_protocol(cluster: Cluster, protocol: int) -> None:
    with Client.from_url(f"{cluster.url}?protocol={protocol}", timeout=10) as client:
        for key in KEYS:
            client.set(key, key)
        assert client.mget(KEYS) == [key.encode() for key in KEYS]
        assert client.pipeline().hset("h", "f", "v").hgetall("h").execute() == [1, {b"f": b"v"}]
        assert sorted(client.scan_iter("key:*")) == sorted(key.encode() for key in KEYS)
        slot = key_slot(KEYS[0])
        cluster.move(slot, other(cluster, cluster.owner(slot)))
        assert client.incr("n") == 1
        assert client.get(KEYS[0]) == KEYS[0].encode()
        heard: list[bytes | None] = []
        with client.tracking(heard.append, prefixes=["key:"]) as tracking:
            assert tracking.wait(10)
            client.set(KEYS[1], 1)
            wait_until(lambda: KEYS[1].encode() in heard)
        with client.pubsub() as pubsub:
            pubsub.ssubscribe("shard")
            next_of(pubsub, "ssubscribe")
            assert client.spublish("shard", "x") == 1
            assert next_of(pubsub, "smessage")["data"] == b"x"
