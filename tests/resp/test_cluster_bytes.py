# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Calls on a cluster whose nodes answer as a test says: which node gets what, what of several answers becomes one, and
where a call, a transaction and a watch go when a node is lost or sends elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from resp import ConnectionLost, CrossSlot, InvalidArgument, ServerError, WrongType, cluster_batches
from resp import cluster as cluster_calls
from resp.cluster import ClusterSource
from resp.errors import Moved, ReadOnly
from resp.keys import slot_of
from resp.slots import key_slot
from resp.source import Batch
from tests.resp.test_topology import ALL, FAR, Fleet

# The slots of these keys: b 3300, c 7365, d 11298.
RANGES = ((0, 5000, 1, 4), (5001, 10000, 2, 5), (10001, ALL, 3, 6))


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    made = Fleet(*RANGES)
    made.topology.ready(None)
    yield made
    made.topology.close()


@pytest.fixture
def source(fleet: Fleet) -> ClusterSource:
    return ClusterSource(fleet.topology)


@pytest.fixture(autouse=True)
def hops(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pauses that were made, none of which takes time."""
    made: list[int] = []

    def pause(hop: int, deadline: float | None) -> bool:
        made.append(hop)
        return True

    for module in (cluster_batches, cluster_calls):
        monkeypatch.setattr(module, "pause", pause)
    return made


def asked(fleet: Fleet, port: int) -> list[bytes]:
    """What this node was asked but for the map."""
    return [said for said in fleet.server(port).asked if not said.startswith(b"CLUSTER")]


# ---- which node ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "port"),
    [
        ("b", b"1"),
        (b"c", b"2"),
        (bytearray(b"d"), b"3"),
        (memoryview(b"d"), b"3"),
        ("{b}x", b"1"),
        ("x{c}", b"2"),
        ("b{}", None),
        ("ü", None),
        (7, None),
    ],
)
@pytest.mark.parametrize("command", ["GET", "get"])
def test_a_key_in_any_form_goes_to_the_owner_of_its_slot(
    fleet: Fleet, source: ClusterSource, key: Any, port: bytes | None, command: str
) -> None:
    owner = fleet.topology.owners[key_slot(key)]
    assert owner is not None
    found = source.call((command, key), FAR)
    assert found == b"%d" % owner.endpoint.port
    assert port is None or found == port


def test_the_endpoint_is_a_primarys_or_a_seeds(fleet: Fleet, source: ClusterSource) -> None:
    assert source.endpoint.port == 1
    other = Fleet(seeds=[("h", 77)])
    assert ClusterSource(other.topology).endpoint.port == 77
    other.topology.close()


# ---- several nodes ---------------------------------------------------------------------------------------------------


def test_keys_of_several_slots_are_taken_apart_and_put_together(fleet: Fleet, source: ClusterSource) -> None:
    for port in (1, 2, 3):
        fleet.server(port).replies = {b"DEL": [b":%d\r\n" % port], b"MGET": [b"*1\r\n:%d\r\n" % port]}
    assert source.call(("DEL", "b", "c", "d"), FAR) == 6
    assert source.call(("MGET", "d", "b", "c"), FAR) == [3, 1, 2]
    with pytest.raises(CrossSlot):
        source.call(("MSET", "b", 1, "c", 2), FAR)
    fleet.server(2).replies = {b"DEL": [b"-WRONGTYPE no\r\n"]}
    assert isinstance(source.call(("DEL", "b", "c"), FAR), WrongType)
    fleet.server(2).replies = {b"DEL": [b""]}
    with pytest.raises(ConnectionLost):
        source.call(("DEL", "b", "c"), FAR)


@pytest.mark.parametrize(
    ("command", "replies", "expected", "replicas"),
    [
        (("DBSIZE",), [b":1\r\n", b":2\r\n", b":4\r\n"], 7, False),
        (("KEYS", "*"), [b"*1\r\n+a\r\n", b"*0\r\n", b"*2\r\n+b\r\n+c\r\n"], [b"a", b"b", b"c"], False),
        (
            ("SCRIPT", "EXISTS", "x", "y"),
            [b"*2\r\n:1\r\n:1\r\n", b"*2\r\n:1\r\n:0\r\n", b"*2\r\n:1\r\n:1\r\n"],
            [1, 0],
            False,
        ),
        (("WAIT", 1, 0), [b":3\r\n", b":1\r\n", b":2\r\n"], 1, False),
        (("FLUSHALL",), [b"+one\r\n", b"+two\r\n", b"+three\r\n"], b"one", False),
        (("CONFIG", "SET", "a", "b"), [b"+one\r\n", b"+two\r\n", b"+three\r\n"], b"one", True),
    ],
)
def test_what_concerns_all_nodes_is_asked_of_all_of_them(
    fleet: Fleet, source: ClusterSource, command: Any, replies: list[bytes], expected: Any, replicas: bool
) -> None:
    for port, reply in zip((1, 2, 3), replies):
        fleet.server(port).replies = {command[0].encode(): [reply]}
    assert source.call(command, FAR) == expected
    assert all(len(asked(fleet, port)) == 1 for port in (1, 2, 3))
    assert all(len(asked(fleet, port)) == int(replicas) for port in (4, 5, 6))
    fleet.server(2).replies = {command[0].encode(): [b"-ERR no\r\n"]}
    assert isinstance(source.call(command, None), ServerError)
    assert len(asked(fleet, 3)) == 1, "after an error nobody else is asked"


def test_a_scan_goes_through_all_primaries_one_after_the_other(fleet: Fleet, source: ClusterSource) -> None:
    pages = {1: [b"7", b"0"], 2: [b"0"], 3: [b"18446744073709551615", b"0"]}
    for port, cursors in pages.items():
        fleet.server(port).replies = {
            b"SCAN": [b"*2\r\n$%d\r\n%b\r\n*1\r\n+k%d\r\n" % (len(cursor), cursor, port) for cursor in cursors]
        }
    cursor: Any = 0
    found: list[bytes] = []
    for turn in range(5):
        given = [cursor, str(cursor), str(cursor).encode()][turn % 3]
        cursor, keys = source.call(("SCAN", given, "COUNT", 5), FAR)
        found += keys
        assert (cursor == 0) is (turn == 4)
    assert found == [b"k1", b"k1", b"k2", b"k3", b"k3"]
    assert asked(fleet, 1) == [b"SCAN 0", b"SCAN 7"]
    assert asked(fleet, 3) == [b"SCAN 0", b"SCAN 18446744073709551615"]
    for wrong in (("SCAN",), ("SCAN", "x"), ("SCAN", b"x")):
        with pytest.raises(InvalidArgument, match="cursor"):
            source.call(wrong, FAR)
    fleet.server(1).replies = {b"SCAN": [b"-ERR no\r\n"]}
    assert isinstance(source.call(("scan", 0), None), ServerError)


def test_what_concerns_several_nodes_is_not_for_a_pipeline(source: ClusterSource) -> None:
    assert source.slot_of is not None
    for command in (("DBSIZE",), ("SCAN", 0), ("scan", 0), ("CONFIG", "SET", "a", "b")):
        with pytest.raises(InvalidArgument, match="several nodes"):
            source.slot_of(command)
    assert source.slot_of(("GET", "b")) == source.slot_of(("get", "b")) == source.slot_of((b"GET", "b")) == 3300
    assert source.slot_of(("PING",)) is None


# ---- replicas
# ----------------------------------------------------------------------------------------------------------


def test_reads_go_to_copies_that_can_answer_and_all_else_to_primaries(fleet: Fleet) -> None:
    source = ClusterSource(fleet.topology, read_from="replica")
    assert source.call(("GET", "b"), FAR) == b"4"
    assert source.call(("SET", "b", 1), FAR) == b"1"
    for refusal in (b"-MOVED 3300 h:1\r\n", b"-LOADING the dataset\r\n"):
        fleet.server(4).replies = {b"GET": [refusal]}
        assert source.call(("GET", "b"), None) == b"1"
    fleet.server(4).replies = {b"GET": [b"-WRONGTYPE no\r\n"]}
    assert isinstance(source.call(("GET", "b"), FAR), WrongType)
    fleet.server(4).die()
    assert source.call(("GET", "b"), FAR) == b"1"


def test_two_replicas_are_asked_before_the_primary_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.shuffle", lambda nodes: None)
    fleet = Fleet((0, 5000, 1, 4, 5, 6), (5001, ALL, 2))
    fleet.topology.ready(None)
    source = ClusterSource(fleet.topology, read_from="replica")
    try:
        for lost, answers in ((None, b"4"), (4, b"5"), (5, b"1")):
            if lost is not None:
                fleet.server(lost).die()
            assert source.call(("GET", "b"), FAR) == answers
    finally:
        fleet.topology.close()


# ---- trouble ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("warm", [True, False])
def test_a_lost_node_is_left_for_its_successor_if_it_cannot_have_run_the_command(
    fleet: Fleet, source: ClusterSource, warm: bool
) -> None:
    command = ("SET", "b", 1) if warm else ("BITOP", "NOT", "b", "b")
    fleet.server(1).die()
    fleet.say((0, 5000, 4), *RANGES[1:])
    fleet.topology.poller.doubt = False
    assert source.call(command, FAR) == b"4"
    fleet.server(4).replies = {command[0].encode(): [b""]}
    with pytest.raises(ConnectionLost) as caught:
        source.call(command, FAR)
    assert caught.value.maybe_executed
    fleet.server(4).die()
    fleet.topology.poller.doubt = False
    with pytest.raises(ConnectionLost):
        source.call(command, FAR)


@pytest.mark.parametrize("timeout", [None, FAR])
def test_who_is_sent_elsewhere_uses_a_connection_like_any_other(
    fleet: Fleet, source: ClusterSource, timeout: float | None
) -> None:
    fleet.server(1).replies = {b"SET": [b"-MOVED 3300 h:2\r\n"]}
    assert source.call(("SET", "b", 1), timeout) == b"2"
    assert fleet.topology.at("h", 2, fleet.topology.primaries[0]).pool.stats().idle == 1
    fleet.server(2).die()
    fleet.topology.poller.doubt = False
    assert source.call(("SET", "b", 1), timeout) == b"1", "by the map, which is asked for"
    assert fleet.topology.at("h", 1, fleet.topology.primaries[0]).pool.stats().idle == 1


@pytest.mark.parametrize("command", [("SET", "b", 1), ("BITOP", "NOT", "b", "b")])
def test_a_redirection_is_learned_and_a_permission_is_for_one_command(
    fleet: Fleet, source: ClusterSource, hops: list[int], command: Any
) -> None:
    name = command[0].encode()
    fleet.topology.poller.close()  # the map is what redirections make of it
    fleet.server(1).replies = {name: [b"-ASK 3300 h:3\r\n", b"-MOVED 3300 h:2\r\n"]}
    assert [source.call(command, FAR) for _ in range(3)] == [b"3", b"2", b"2"]
    assert [said.split()[0] for said in asked(fleet, 3)] == [b"ASKING", name]
    assert (len(asked(fleet, 1)), hops) == (2, [])
    fleet.server(2).replies = {name: [b"-MOVED 3300 h:2\r\n"] * 3}
    assert source.call(command, FAR) == b"2"
    assert hops == [2], "two that send us to each other do not agree yet"
    fleet.server(2).replies = {name: [b"-TRYAGAIN later\r\n", b"-LOADING the dataset\r\n"]}
    assert source.call(command, FAR) == b"2"
    assert hops == [2, 0, 1]


def test_a_script_that_is_refused_is_not_sent_again(fleet: Fleet, source: ClusterSource, hops: list[int]) -> None:
    fleet.server(1).replies = {b"EVAL": [b"-TRYAGAIN later\r\n"]}
    assert isinstance(source.call(("EVAL", "x", 1, "b"), FAR), ServerError)
    assert hops == []


@pytest.mark.parametrize("command", [("SET", "b", 1), ("BITOP", "NOT", "b", "b"), ("DBSIZE",), ("PING",)])
def test_the_first_call_waits_for_the_map(command: Any) -> None:
    fleet = Fleet((0, ALL, 1))
    fleet.server(1).replies = {b"DBSIZE": [b":1\r\n"]}
    assert ClusterSource(fleet.topology).call(command, FAR) in (b"1", 1)
    fleet.topology.close()


def test_a_primary_that_became_a_copy_is_left_but_not_by_a_script(fleet: Fleet, source: ClusterSource) -> None:
    fleet.say((0, 5000, 4), *RANGES[1:])
    fleet.server(1).replies = {b"SET": [b"-READONLY no\r\n"], b"EVAL": [b"-READONLY no\r\n"]}
    assert isinstance(source.call(("EVAL", "x", 1, "b"), FAR), ReadOnly)
    fleet.topology.poller.doubt = False
    assert source.call(("SET", "b", 1), FAR) == b"4"


# ---- transactions ----------------------------------------------------------------------------------------------------


def atomic(*keys: str) -> Batch:
    batch = Batch(slot_of, atomic=True)
    for key in keys:
        batch.add(("SET", key, 1))
    return batch


DONE = {b"MULTI": [b"+OK\r\n"], b"SET": [b"+QUEUED\r\n"], b"EXEC": [b"*1\r\n+done\r\n"]}


def _replies(replies: dict[bytes, list[bytes]]) -> dict[bytes, list[bytes]]:
    return {name: list(queue) for name, queue in replies.items()}


def test_a_transaction_goes_to_the_one_node_of_its_keys(fleet: Fleet, source: ClusterSource) -> None:
    fleet.server(1).replies = _replies(DONE)
    assert source.exchange(atomic("b"), FAR)[-1] == [b"done"]
    assert [said.split()[0] for said in asked(fleet, 1)] == [b"MULTI", b"SET", b"EXEC"]
    with pytest.raises(CrossSlot, match="nothing was sent"):
        source.exchange(atomic("b", "c"), FAR)
    assert sum(len(asked(fleet, port)) for port in (1, 2, 3)) == 3


@pytest.mark.parametrize(
    ("refusal", "port", "made"),
    [
        (b"-MOVED 3300 h:2\r\n", 2, []),
        (b"-ASK 3300 h:2\r\n", 1, [1]),
        (b"-TRYAGAIN later\r\n", 1, [1]),
        (b"-CLUSTERDOWN no\r\n", 1, [1]),
        (b"-LOADING the dataset\r\n", 1, [1]),
    ],
)
def test_a_refused_transaction_is_sent_again_whole(
    fleet: Fleet, source: ClusterSource, hops: list[int], refusal: bytes, port: int, made: list[int]
) -> None:
    refused = {b"MULTI": [b"+OK\r\n"], b"SET": [refusal], b"EXEC": [b"-EXECABORT discarded\r\n"]}
    fleet.server(1).replies = _replies(refused)
    for name, queue in DONE.items():
        fleet.server(port).replies.setdefault(name, []).extend(queue)
    assert source.exchange(atomic("b"), FAR)[-1] == [b"done"]
    assert hops == made


def test_a_transaction_that_is_refused_again_and_again_says_so(
    fleet: Fleet, source: ClusterSource, hops: list[int]
) -> None:
    refused = {b"MULTI": [b"+OK\r\n"] * 9, b"SET": [b"-MOVED 3300 h:1\r\n"] * 9, b"EXEC": [b"-EXECABORT no\r\n"] * 9}
    fleet.server(1).replies = _replies(refused)
    found = source.exchange(atomic("b"), FAR)
    assert isinstance(found[1], Moved)
    assert asked(fleet, 1).count(b"MULTI") == 6
    assert hops == [2, 3, 4]
    fleet.server(1).replies = {b"MULTI": [b"+OK\r\n"], b"SET": [b"-OOM no\r\n"], b"EXEC": [b"-EXECABORT no\r\n"]}
    assert len(source.exchange(atomic("b"), FAR)) == 3
    assert asked(fleet, 1).count(b"MULTI") == 7, "any other refusal is the answer"


@pytest.mark.parametrize("transaction", [False, True])
def test_a_node_that_is_lost_over_something_that_may_have_been_done_is_a_reason_to_ask_for_the_map(
    fleet: Fleet, source: ClusterSource, transaction: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspicions: list[bool] = []
    monkeypatch.setattr(fleet.topology.poller, "suspect", lambda: suspicions.append(transaction))
    fleet.server(1).replies = {b"MULTI": [b""], b"SET": [b""]}
    with pytest.raises(ConnectionLost):
        source.exchange(atomic("b"), FAR) if transaction else source.call(("SET", "b", "1"), FAR)
    assert suspicions


def test_a_transaction_of_a_lost_node_goes_to_its_successor_if_nothing_arrived(
    fleet: Fleet, source: ClusterSource
) -> None:
    fleet.server(1).replies = {b"MULTI": [b""]}
    with pytest.raises(ConnectionLost):
        source.exchange(atomic("b"), FAR)
    fleet.server(1).die()
    fleet.server(4).replies = _replies(DONE)
    fleet.say((0, 5000, 4), *RANGES[1:])
    fleet.topology.poller.doubt = False
    assert source.exchange(atomic("b"), FAR)[-1] == [b"done"]


def test_a_watch_follows_its_slot_and_takes_commands_of_it_alone(
    fleet: Fleet, source: ClusterSource, hops: list[int]
) -> None:
    fleet.say((0, 3299, 1, 4), (3300, 10000, 2, 5), RANGES[2])  # as the map will be when it is asked for again
    fleet.server(1).replies = {b"WATCH": [b"-MOVED 3300 h:2\r\n"]}
    held, replies = source.hold(("WATCH", "b"), FAR)
    assert (replies, held.open) == ([b"2"], True)
    held.check(("GET", "b"))
    held.check(("PING",))
    with pytest.raises(CrossSlot):
        held.check(("GET", "c"))
    assert held.exchange([b"*1\r\n$4\r\nPING\r\n"], FAR) == [b"2"]
    held.release()
    assert not held.open
    fleet.server(2).replies = {b"WATCH": [b"-ASK 3300 h:1\r\n"]}
    held, replies = source.hold(("WATCH", "b"), None)
    assert isinstance(replies[0], Moved)
    held.discard()
    fleet.server(2).replies = {b"WATCH": [b"-MOVED 3300 h:2\r\n"] * 9}
    held, replies = source.hold(("WATCH", "b"), FAR)
    assert isinstance(replies[0], Moved)
    assert (len(fleet.server(2).replies[b"WATCH"]), hops) == (3, [2, 3, 4])
    held.discard()


def test_a_watch_at_a_lost_node_begins_at_its_successor(fleet: Fleet, source: ClusterSource) -> None:
    fleet.server(1).die()
    fleet.say((0, 5000, 4), *RANGES[1:])
    fleet.topology.poller.doubt = False
    held, replies = source.hold(("WATCH", "b"), FAR)
    assert replies == [b"4"]
    held.discard()
    fleet.server(4).die()
    with pytest.raises(ConnectionLost):
        source.hold(("WATCH", "b"), FAR)
