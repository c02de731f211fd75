# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which words are keys, and who is asked, held against what real servers say of their own commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resp.errors import CrossSlot, InvalidArgument, ProtocolError
from resp.keys import keys_of, slot_of
from resp.multi_node_commands import parts, policy, together
from resp.slot_map import Shard, SlotRange, parse_shards, parse_slots
from resp.slots import key_slot
from tests.ports import free_port
from tests.resp.servers import ConsoleError, Server

# Of commands whose keys have no fixed places, calls that have some.
MOVABLE: dict[str, list[str]] = {
    "BLMPOP": ["1 2 k1 k2 LEFT", "0 1 k1 RIGHT COUNT 2"],
    "BZMPOP": ["1 2 k1 k2 MIN"],
    "EVAL": ["script 2 k1 k2 a b", "script 1 k1"],
    "EVALSHA": ["sha 2 k1 k2 a"],
    "EVALSHA_RO": ["sha 1 k1"],
    "EVAL_RO": ["script 1 k1 a"],
    "FCALL": ["function 2 k1 k2 a"],
    "FCALL_RO": ["function 1 k1"],
    "GEORADIUS": ["k1 1 1 1 km", "k1 1 1 1 km STORE k2", "k1 1 1 1 km COUNT 1 STOREDIST k2"],
    "GEORADIUSBYMEMBER": ["k1 m 1 km", "k1 m 1 km STORE k2"],
    "LMPOP": ["2 k1 k2 LEFT"],
    "MIGRATE": ["host 1 k1 0 1000", "host 1 EMPTY 0 1000 KEYS k1 k2"],
    "MSETEX": ["2 k1 v k2 v EX 10"],
    "SINTERCARD": ["2 k1 k2 LIMIT 1"],
    "SORT": ["k1", "k1 BY x GET y", "k1 LIMIT 0 1 STORE k2"],
    "SORT_RO": ["k1 BY x"],
    "XREAD": ["STREAMS k1 k2 0 0", "COUNT 1 BLOCK 1 STREAMS k1 0"],
    "XREADGROUP": ["GROUP g c COUNT 1 STREAMS k1 k2 0 0"],
    "ZDIFF": ["2 k1 k2 WITHSCORES"],
    "ZDIFFSTORE": ["k0 2 k1 k2"],
    "ZINTER": ["2 k1 k2 WEIGHTS 1 2"],
    "ZINTERCARD": ["2 k1 k2 LIMIT 1"],
    "ZINTERSTORE": ["k0 2 k1 k2 AGGREGATE MAX"],
    "ZMPOP": ["2 k1 k2 MIN"],
    "ZUNION": ["2 k1 k2"],
    "ZUNIONSTORE": ["k0 1 k1"],
}
#: What has a slot, as keys have, and is no key: sharded channels, a cursor.
CHANNELS = {"SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE", "CLUSTERSCAN"}
#: Tips of servers that are not followed, and why.
ASKED_OF_ONE = {
    "any node can answer": "PING INFO RANDOMKEY WAITAOF",
    "the caller means one node": "LATENCY|DOCTOR LATENCY|GRAPH LATENCY|HISTOGRAM LATENCY|HISTORY LATENCY|LATEST "
    "MEMORY|DOCTOR MEMORY|MALLOC-STATS MEMORY|STATS SLOWLOG|GET SLOWLOG|LEN COMMANDLOG|GET COMMANDLOG|LEN "
    "CLUSTER|SLOT-STATS FUNCTION|STATS FUNCTION|KILL SCRIPT|KILL CLIENT|SETNAME CLIENT|SETINFO",
    "all at once is what it is for": "MSET MSETNX MSETEX",
    "a way of its own": "SCAN CLUSTERSCAN",
}


def rows(server: Server) -> dict[str, list[Any]]:
    """What the server says of each command and subcommand, by its name in capitals (`CONFIG|GET`)."""
    found: dict[str, list[Any]] = {}
    waiting: Any = server.ask("COMMAND")
    waiting = list(waiting)
    while waiting:
        row = waiting.pop()
        found[row[0].decode().upper()] = row
        waiting += row[9]
    return found


def calls(name: str, row: list[Any]) -> list[list[str]]:
    """Calls of a command, in its words."""
    words = name.split("|")
    if name in MOVABLE:
        return [[*words, *("" if word == "EMPTY" else word for word in text.split())] for text in MOVABLE[name]]
    arity = row[1]
    counts = [arity] if arity > 0 else [-arity, -arity + 1, -arity + 2, -arity + 4]
    return [[*words, *(f"w{number}" for number in range(count - len(words)))] for count in counts]


def test_the_table_of_keys_is_that_of_real_servers(real_server: Server) -> None:
    known = rows(real_server)
    assert len(known) > 300
    compared = 0
    with real_server.console() as console:
        for name, row in known.items():
            if b"movablekeys" in row[2]:
                assert name in MOVABLE, f"{name} has keys without fixed places, and no sample here"
            if row[9] or name in CHANNELS:
                continue  # a container: its subcommands have rows of their own
            for call in calls(name, row):
                try:
                    reply: Any = console.ask("COMMAND", "GETKEYS", *call)
                    expected = [key.decode() for key in reply]
                except ConsoleError as error:
                    if "no key arguments" not in str(error):
                        continue  # this number of words does not fit
                    expected = []
                assert list(keys_of(call)) == expected, call
                assert list(keys_of([call[0].lower(), *call[1:]])) == expected, call
                assert list(keys_of([call[0].encode(), *call[1:]])) == expected, call
                compared += 1
    assert compared > 300


def test_who_is_asked_is_what_servers_advise(real_server: Server) -> None:
    exceptions = {name for names in ASKED_OF_ONE.values() for name in names.split()}
    for name, row in rows(real_server).items():
        advice = [tip.decode() for tip in row[7] if tip.startswith(b"request_policy:")]
        if not advice or name in exceptions:
            continue
        if advice == ["request_policy:multi_shard"]:
            assert parts([name, "a", "b"]), name
            continue
        rule = policy(name.split("|"))
        assert rule is not None, f"{name}: {advice}"
        assert rule.everywhere == (advice == ["request_policy:all_nodes"]) or name.startswith("SCRIPT|"), name


def test_slots_are_those_of_the_servers(new_server: Callable[..., Server]) -> None:
    server = new_server("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    keys = [
        "123456789",
        "foo{}{bar}",
        "foo{{bar}}zap",
        "foo{bar}{zap}",
        "{a}b",
        "a{b",
        "a}b{c}",
        "",
        "ü",
        "{}",
        "{",
        "}{x}",
    ]
    with server.console() as console:
        assert [key_slot(key) for key in keys] == [console.ask("CLUSTER", "KEYSLOT", key) for key in keys]
    assert key_slot("123456789") == 0x31C3
    assert key_slot("{user1000}.following") == key_slot(b"{user1000}.followers") == key_slot(bytearray(b"user1000"))


@pytest.mark.parametrize(
    ("words", "slot"),
    [
        (("PING",), None),
        (("GET", "a"), key_slot("a")),
        (("NO.SUCH", "a", "b"), key_slot("a")),
        (("EVAL", "x", 0), None),
        (("EVAL", "x", b"1", "a"), key_slot("a")),
        (("MGET", "{a}1", "{a}2"), key_slot("a")),
        (("XREAD", "COUNT", 1, "streams", "a", 0), key_slot("a")),
        (("GET",), None),
    ],
)
def test_the_slot_of_a_command(words: tuple[Any, ...], slot: int | None) -> None:
    assert slot_of(words) == slot


@pytest.mark.parametrize("words", [("EVAL", "x", "many", "a"), ("EVAL", "x", -1, "a")])
def test_a_wrong_number_of_keys_is_said_so(words: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidArgument):
        slot_of(words)


def test_keys_of_two_slots_are_refused() -> None:
    with pytest.raises(CrossSlot):
        slot_of(("SUNIONSTORE", "a", "b"))


def test_a_command_that_is_taken_apart_is_put_together_in_order() -> None:
    pieces = parts(("MGET", "a", "b", "{a}2"))
    assert pieces is not None
    assert sorted([list(words) for _, words, _ in pieces]) == [["MGET", "a", "{a}2"], ["MGET", "b"]]
    replies = [[f"value of {key!s}" for key in map(str, words[1:])] for _, words, _ in pieces]
    joined = together(("MGET", "a", "b", "{a}2"), replies, [places for _, _, places in pieces])
    assert joined == ["value of a", "value of b", "value of {a}2"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ([[0, 5, [b"h", 1, b"id"], [b"r", 2, b"id"]]], [SlotRange(0, 5, Shard(("h", 1), (("r", 2),)))]),
        ([[0, 5, [b"", 1, b"id", []], [None, 2, b"id"]]], [SlotRange(0, 5, Shard(("asked", 1), (("asked", 2),)))]),
        (
            [[6, 7, [b"?", 1]], [0, 5, [b"::1", 2]]],
            [SlotRange(0, 5, Shard(("::1", 2), ())), SlotRange(6, 7, Shard(("asked", 1), ()))],
        ),
        ([[0, 5, [b"h", 0, b"id"]]], []),
        ([], []),
    ],
)
def test_the_map_of_a_cluster(reply: Any, expected: list[SlotRange]) -> None:
    assert list(parse_slots(reply, "asked")) == expected


def node(port: int, role: bytes = b"master", **fields: object) -> dict[bytes, object]:
    given = {name.replace("_", "-").encode(): value for name, value in fields.items()}
    return {b"id": b"x", b"port": port, b"endpoint": b"h", b"role": role, b"health": b"online", **given}


@pytest.mark.parametrize(
    ("nodes", "tls", "expected"),
    [
        ([node(1), node(2, b"replica")], False, Shard(("h", 1), (("h", 2),))),
        ([node(2, b"replica"), node(1)], False, Shard(("h", 1), (("h", 2),))),
        ([node(1, health=b"fail"), node(2)], False, Shard(("h", 2), ())),
        ([node(1), node(2, b"replica", health=b"fail")], False, Shard(("h", 1), ())),
        ([node(1, health=b"loading")], False, Shard(("h", 1), ())),
        ([node(1, tls_port=7)], True, Shard(("h", 7), ())),
        ([node(1, endpoint=None), node(2, b"replica", endpoint=b"?")], False, Shard(("asked", 1), (("asked", 2),))),
        ([node(1, endpoint=b"")], False, Shard(("asked", 1), ())),
        ([node(1)], True, None),  # it has no port for TLS
        ([node(1, health=b"fail")], False, None),
        ([], False, None),
    ],
)
def test_the_map_of_a_cluster_as_newer_servers_tell_it(
    nodes: list[dict[bytes, object]], tls: bool, expected: Shard | None
) -> None:
    shard = {b"slots": [7, 9, 0, 5], b"nodes": nodes}
    ranges = [] if expected is None else [SlotRange(0, 5, expected), SlotRange(7, 9, expected)]
    for told in ([shard], [flat(shard)]):
        assert list(parse_shards(told, "asked", tls=tls)) == ranges
    assert parse_shards([{b"slots": [], b"nodes": nodes}], "asked", tls=tls) == ()


def flat(shard: dict[bytes, Any]) -> list[object]:
    """The same in RESP2."""
    nodes = [[word for pair in each.items() for word in pair] for each in shard[b"nodes"]]
    return [b"slots", shard[b"slots"], b"nodes", nodes]


@pytest.mark.parametrize(
    "reply",
    [
        None,
        5,
        [1],
        [{}],
        [{b"slots": [0], b"nodes": [node(1)]}],
        [{b"slots": [5, 0], b"nodes": [node(1)]}],
        [{b"slots": [0, 16384], b"nodes": [node(1)]}],
        [{b"slots": [0, 5], b"nodes": [1]}],
        [{b"slots": [0, 5], b"nodes": [{}]}],
        [[b"slots", [0, 5], b"nodes"]],
    ],
)
def test_what_is_no_newer_map_is_refused(reply: Any) -> None:
    with pytest.raises(ProtocolError):
        parse_shards(reply, "asked")


@pytest.mark.parametrize(
    "reply", [None, 5, [1], [[0]], [[0, 5]], [[5, 0, [b"h", 1]]], [[0, 99999, [b"h", 1]]], [[0, 1, b"x"]]]
)
def test_what_is_no_map_is_refused(reply: Any) -> None:
    with pytest.raises(ProtocolError):
        parse_slots(reply, "asked")
