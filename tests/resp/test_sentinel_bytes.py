# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Sentinels that say exactly what a test wants: whom most of them name, what is believed, and where calls go then."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resp import Breaker, ClientClosed, ConnectionLost, Endpoint, Pool, ProtocolError, ReadOnly, Retry, ServerError
from resp.node import Node
from resp.sentinel import MasterConnection, SentinelSource
from resp.sentinels import Address, Sentinels, address_in, fields_of, hints, is_hint, is_master
from resp.slot_map import Shard, SlotRange, parse_shards, parse_slots
from tests.resp.scripted import GREETING, Exchange, Scripted
from tests.waiting import wait_until

FAR = 600.0


def bulks(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words)


def named(port: int, epoch: str | None = None, ip: str = "127.0.0.1") -> bytes:
    return bulks("ip", ip, "port", str(port), *(() if epoch is None else ("config-epoch", epoch)))


class Fleet:
    """Servers that answer SENTINEL and ROLE, and are closed when the test ends."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.asked: list[int] = []

    def sentinel(self, answer: Callable[[list[bytes]], bytes]) -> Endpoint:
        """A sentinel; its number in `asked` each time it is asked."""
        number = len(self.asked_of)
        self.asked_of.append(0)

        def script(exchange: Exchange) -> None:
            while True:
                command = exchange.command()
                if command[0] == b"SENTINEL":
                    self.asked_of[number] += 1
                    self.asked.append(number)
                exchange.send(answer(command))

        server = self._stack.enter_context(Scripted(script))
        return Endpoint(host=server.host, port=server.port)

    def says(self, reply: bytes) -> Endpoint:
        return self.sentinel(lambda command: reply)

    asked_of: list[int]

    def server(self, role: str | None, *, protocol: int = 3, reply: bytes = b"+OK\r\n") -> Scripted:
        """A server of this role, which says so in HELLO, or over RESP2 when asked."""

        def script(exchange: Exchange) -> None:
            while True:
                command = exchange.command()
                if command[0] == b"HELLO" and protocol == 3:
                    more = b"" if role is None else b"+role\r\n+%b\r\n" % role.encode()
                    exchange.send(b"%" + (b"3" if role is None else b"4") + GREETING[2:] + more)
                elif command[0] == b"HELLO":
                    exchange.send(b"-ERR unknown command\r\n")
                elif command[0] == b"ROLE":
                    exchange.send(bulks(role) if role else b"*0\r\n")
                elif command[0] == b"CLIENT":
                    exchange.send(b"+OK\r\n")
                else:
                    exchange.send(reply)

        return self._stack.enter_context(Scripted(script, greeted=False))


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with contextlib.ExitStack() as stack:
        made = Fleet(stack)
        made.asked_of = []
        yield made


AWAY = Endpoint(unix_socket_path="/nowhere/at/all")
UNKNOWN = b"-ERR No such master with that name\r\n"


# ---- whom they name --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("votes", "masters", "asked"),
    [
        ([(1, "5"), (1, "5"), (2, "9")], [1], 2),
        ([(1, "5"), (2, "9"), (2, "9")], [2, 1], 3),
        ([(1, "5"), (2, "9"), (3, "7")], [2, 3, 1], 3),
        ([(1, "5"), (1, "4"), (2, "9"), (2, "1"), (2, "3")], [2, 1], 5),
        ([(1, None), (2, "1")], [2, 1], 2),
        ([(1, "5")], [1], 1),
    ],
)
def test_more_than_half_decide_and_else_the_votes_and_the_epochs(
    fleet: Fleet, votes: list[tuple[int, str | None]], masters: list[int], asked: int
) -> None:
    sentinels = Sentinels([fleet.says(named(port, epoch)) for port, epoch in votes], "main")
    assert sentinels.masters() == [("127.0.0.1", port) for port in masters]
    assert sum(fleet.asked_of) == asked


def test_the_first_that_answers_is_the_first_to_be_asked_next_time(fleet: Fleet) -> None:
    said: list[list[bytes]] = []

    def answer(command: list[bytes]) -> bytes:
        said.append(command)
        return named(7)

    sentinels = Sentinels([AWAY, fleet.says(UNKNOWN), fleet.sentinel(answer), fleet.says(named(7))], "main")
    assert sentinels.masters() == [("127.0.0.1", 7)]
    assert said == [[b"SENTINEL", b"MASTER", b"main"]]
    assert fleet.asked == [0, 1, 2]
    assert sentinels.endpoints.index(AWAY) > 0
    assert len(sentinels.endpoints) == 4


@pytest.mark.parametrize(
    "reply", [UNKNOWN, b"-ERR something else\r\n", b"*0\r\n", b"+nonsense\r\n", named(0), named(65536), named(7, ip="")]
)
def test_where_nobody_names_a_master_the_reasons_are_told(fleet: Fleet, reply: bytes) -> None:
    sentinels = Sentinels([AWAY, fleet.says(reply)], "main")
    with pytest.raises(ConnectionLost, match="no sentinel names a master 'main'") as caught:
        sentinels.masters()
    assert "/nowhere/at/all: cannot connect" in str(caught.value)
    assert ("something else" in str(caught.value)) is (b"something" in reply)
    assert caught.value.maybe_executed is False


def _replica(port: int, flags: str, link: str = "ok") -> bytes:
    return bulks("ip", "127.0.0.1", "port", str(port), "flags", flags, "master-link-status", link)


def test_replicas_are_those_that_the_first_who_answers_holds_for_healthy(fleet: Fleet) -> None:
    rows = [
        _replica(1, "slave"),
        _replica(2, "slave,s_down"),
        _replica(3, "o_down,slave"),
        _replica(4, "disconnected"),
        _replica(5, "slave", "err"),
        _replica(6, ""),
        _replica(0, "slave"),
        b":7\r\n",
    ]
    healthy = fleet.says(b"*%d\r\n" % len(rows) + b"".join(rows))
    assert Sentinels([AWAY, healthy], "main").replicas() == [("127.0.0.1", 1), ("127.0.0.1", 6)]
    assert Sentinels([AWAY], "main").replicas() == []
    assert Sentinels([fleet.says(b"+nonsense\r\n")], "main").replicas() == []
    assert Sentinels([fleet.says(b"-ERR no\r\n"), healthy], "main").replicas() != []
    assert Sentinels([fleet.says(UNKNOWN), healthy], "main").replicas() == [], "it answered"


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ({"ip": "h", "port": "1"}, ("h", 1)),
        ({"ip": "h", "port": "65535"}, ("h", 65535)),
        ({"ip": "h", "port": "65536"}, None),
        ({"ip": "h", "port": "0"}, None),
        ({"ip": "h"}, None),
        ({"ip": "", "port": "1"}, None),
        ({"port": "1"}, None),
    ],
)
def test_an_address_has_a_name_and_a_port(fields: dict[str, str], address: Address | None) -> None:
    assert address_in(fields) == address


def test_fields_come_as_a_map_or_in_turn() -> None:
    assert fields_of({b"a": b"1", "b": 2}) == fields_of([b"a", b"1", "b", 2]) == {"a": "1", "b": "2"}
    assert fields_of([b"\xff", b"x"]) == {"\ufffd": "x"}
    assert fields_of(b"nonsense") == fields_of(None) == {}


@pytest.mark.parametrize("protocol", [3, 2])
def test_a_server_says_itself_whether_it_is_a_master(fleet: Fleet, protocol: int) -> None:
    for role, said in (("master", True), ("slave", False), (None, False)):
        server = fleet.server(role, protocol=protocol)
        assert is_master(Endpoint(host=server.host, port=server.port)) is said
    with pytest.raises(ConnectionLost):
        is_master(AWAY)


def test_a_hint_is_a_message_about_this_master(fleet: Fleet) -> None:
    assert is_hint([b"message", b"+switch-master", b"main 1.2.3.4 1 1.2.3.5 2"], "main")
    for other in (
        [b"message", b"+switch-master", b"other 1.2.3.4 1 1.2.3.5 2"],
        [b"message", b"+switch-master", b"mainly 1.2.3.4 1 1.2.3.5 2"],
        [b"message", b"+switch-master", b"first 1.2.3.4 1 1.2.3.5 2"],
        [b"subscribe", b"+switch-master", b"main"],
        [b"message", b"main"],
        [b"message", b"+switch-master", b"main", b"x"],
        b"message",
        7,
    ):
        assert not is_hint(other, "main")
    said: list[list[bytes]] = []

    def answer(command: list[bytes]) -> bytes:
        said.append(command)
        return b"*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n"

    line = hints(Sentinels([AWAY, fleet.sentinel(answer)], "main"))
    assert line is not None
    wait_until(lambda: said == [[b"SUBSCRIBE", b"+switch-master"]])
    line.close()
    assert hints(Sentinels([AWAY], "main")) is None


# ---- where calls go --------------------------------------------------------------------------------------------------


class Named(Sentinels):
    """Name whoever is in `named` and `copies`; what real ones say is tested above."""

    def __init__(self) -> None:
        super().__init__([AWAY], "main")
        self.named: list[Address] = []
        self.copies: list[Address] = []

    def masters(self) -> list[Address]:
        return self.named

    def replicas(self) -> list[Address]:
        return self.copies


class Bench:
    """A source, whom its sentinels name, and the nodes that it made."""

    def __init__(self, **options: Any) -> None:
        self.sentinels = Named()
        self.made: list[tuple[Address, bool]] = []
        self.source = SentinelSource(self.sentinels, self._node_at, **options)

    def _node_at(self, address: Address, master: bool) -> Node:
        self.made.append((address, master))
        endpoint = Endpoint(host=address[0], port=address[1])
        return Node(endpoint, Pool(endpoint), Breaker(), Retry(0))

    def found(self) -> None:
        self.source.poller.wait(time.monotonic() + 30)


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(Bench(**options))
        return made[-1]

    yield make
    for one in made:
        one.source.close()


def at(server: Scripted) -> Address:
    return (server.host, server.port)


def test_the_first_who_is_named_and_says_so_itself_is_the_master(fleet: Fleet, bench: Callable[..., Bench]) -> None:
    replica, master, other = fleet.server("slave"), fleet.server("master"), fleet.server("master")
    made = bench()
    made.sentinels.named = [("127.0.0.1", 1), at(replica), at(master), at(other)]
    assert made.source.call(("PING",), FAR) == b"OK"
    assert made.source.endpoint.port == master.port
    assert made.source.generation == 0
    assert all(is_to_be for _, is_to_be in made.made)
    made.found()
    assert [address for address, _ in made.made].count(at(master)) == 1, "its node is kept"


def test_one_that_is_named_and_is_none_is_said_so(fleet: Fleet, bench: Callable[..., Bench]) -> None:
    made = bench()
    made.sentinels.named = [at(fleet.server("slave"))]
    with pytest.raises(ConnectionLost, match="is named as master and is none") as caught:
        made.source.call(("PING",), FAR)
    assert caught.value.maybe_executed is False
    made = bench()
    made.sentinels.named = []
    with pytest.raises(ConnectionLost, match="no answer yet of who the master 'main' is"):
        made.source.call(("PING",), FAR)
    assert made.source.endpoint is AWAY


def test_another_master_is_followed_and_told(
    fleet: Fleet, bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    class Ear:
        rung = 0

        def ring(self) -> None:
            self.rung += 1

    old, new = fleet.server("master"), fleet.server("master", reply=b"+new\r\n")
    made, ear = bench(), Ear()
    made.sentinels.named = [at(old)]
    made.source.on_moved(ear.ring)
    upstream = made.source.upstream()
    made.source.call(("PING",), FAR)
    upstream.connect().close()
    assert (upstream.moved(), ear.rung) == (False, 0)
    made.sentinels.named = [at(new)]
    made.found()
    assert made.source.call(("PING",), FAR) == b"new"
    assert (made.source.generation, ear.rung, upstream.moved()) == (1, 1, True)
    assert f"is 127.0.0.1:{new.port} now, no more 127.0.0.1:{old.port}" in caplog.text
    assert made.source.stats().created == 2, "what the old one did counts"
    upstream.connect().close()
    assert not upstream.moved()


def test_addresses_are_translated(fleet: Fleet, bench: Callable[..., Bench]) -> None:
    master = fleet.server("master")
    made = bench(translate=lambda host, port: (master.host, master.port))
    made.sentinels.named = [("10.0.0.1", 6379)]
    assert made.source.call(("PING",), FAR) == b"OK"
    made.found()
    assert made.made == [(at(master), True)]


def test_a_refused_write_goes_to_the_new_master_once_there_is_one(fleet: Fleet, bench: Callable[..., Bench]) -> None:
    old, new = fleet.server("master", reply=b"-READONLY you cannot\r\n"), fleet.server("master", reply=b"+new\r\n")
    for command, expected in ((("SET", "k", "v"), b"new"), (("EVAL", "x", 0), None)):
        made = bench()
        made.sentinels.named = [at(old)]
        made.found()
        made.sentinels.named = [at(new)]
        found = made.source.call(command, FAR)
        assert found == expected if expected else isinstance(found, ReadOnly)
        assert made.source.endpoint.port == new.port
    made = bench()
    made.sentinels.named = [at(old)]
    assert isinstance(made.source.call(("SET", "k", "v"), FAR), ReadOnly)
    assert made.source.poller.doubt is False


def test_sentinels_are_asked_every_tenth_of_a_second_while_in_doubt_and_else_every_three(
    bench: Callable[..., Bench],
) -> None:
    poller = bench().source.poller
    assert (poller._doubtful_every, poller.every) == (0.1, 3.0)


def test_what_may_have_been_executed_is_not_sent_to_another_one(fleet: Fleet, bench: Callable[..., Bench]) -> None:
    made = bench()
    master, new = fleet.server("master"), fleet.server("master", reply=b"+new\r\n")
    made.sentinels.named = [at(master)]
    made.found()
    node = made.source._node
    assert node is not None
    sent: list[Node] = []

    def send(executed: bool) -> Callable[[Node, float | None], bytes]:
        def attempt(to: Node, left: float | None) -> bytes:
            sent.append(to)
            if to is node:
                raise ConnectionLost("lost", maybe_executed=executed)
            assert left is not None
            assert 0 < left <= FAR
            return b"sent"

        return attempt

    made.sentinels.named = [at(new)]
    with pytest.raises(ConnectionLost):
        made.source._sent(send(True), FAR)
    assert sent == [node]
    made = bench()
    made.sentinels.named = [at(master)]
    made.found()
    node = made.source._node
    made.sentinels.named = [at(new)]
    assert made.source._sent(send(False), FAR) == b"sent"
    assert len(sent) == 3


def test_reads_go_to_replicas_where_there_are_any_that_answer(fleet: Fleet, bench: Callable[..., Bench]) -> None:
    master, replica = fleet.server("master"), fleet.server("slave", reply=b"+replica\r\n")
    loading = fleet.server("slave", reply=b"-LOADING the dataset\r\n")
    made = bench(read_from="replica")
    made.sentinels.named, made.sentinels.copies = [at(master)], [at(replica)]
    assert made.source.call(("GET", "k"), FAR) == b"replica"
    assert made.source.call(("SET", "k", "v"), FAR) == b"OK"
    assert made.source.call(("GET", "k"), FAR, last=True) == b"OK"
    assert made.made[1] == (at(replica), False)
    made.sentinels.copies = [at(loading), ("127.0.0.1", 1)]
    made.found()
    assert made.source.call(("GET", "k"), FAR) == b"OK"
    assert set(made.source._replicas) == {at(loading), ("127.0.0.1", 1)}
    wrong = fleet.server("slave", reply=b"-ERR wrong\r\n")
    made.sentinels.copies = [at(wrong)]
    made.found()
    assert isinstance(made.source.call(("GET", "k"), FAR), ServerError)
    assert made.source.stats().created >= 3
    plain = bench()
    plain.sentinels.named, plain.sentinels.copies = [at(master)], [at(replica)]
    assert plain.source.call(("GET", "k"), FAR) == b"OK"


def test_a_closed_source_says_so(fleet: Fleet, bench: Callable[..., Bench]) -> None:
    made = bench()
    made.source.close()
    with pytest.raises(ClientClosed):
        made.source.call(("PING",), FAR)
    made = bench()
    made.sentinels.named = [at(fleet.server("master"))]
    made.found()
    node = made.source._node
    assert node is not None
    made.source.close()
    assert node.pool.closed


def test_a_connection_to_what_is_no_master_any_more_is_none(fleet: Fleet) -> None:
    for role, good in (("master", True), (None, True), ("slave", False)):
        server = fleet.server(role)
        connection = MasterConnection(Endpoint(host=server.host, port=server.port))
        if good:
            assert connection.connect() is connection
            connection.close()
            continue
        with pytest.raises(ConnectionLost, match="is a slave now") as caught:
            connection.connect()
        assert (connection.closed, caught.value.maybe_executed) == (True, False)


def test_tracking_through_sentinels_is_believed_as_long_as_they_may_take_to_tell(bench: Callable[..., Bench]) -> None:
    source = bench().source
    assert source.tracking(print, silence=0.1, patience=0.1).lease == pytest.approx(5.1)
    assert source.tracking(print, silence=10.0, patience=10.0).lease == 20.0


# ---- the map of a cluster --------------------------------------------------------------------------------------------


def test_the_ends_of_a_map_of_slots() -> None:
    def slots(first: Any, last: Any, *servers: Any) -> Any:
        return parse_slots([[first, last, *servers]], "asked")

    server = [b"h", 1, b"id"]
    assert slots(0, 16383, server) == (SlotRange(0, 16383, Shard(("h", 1), ())),)
    assert slots(5, 5, [b"", 1], [b"?", 2], [None, 3]) == (
        SlotRange(5, 5, Shard(("asked", 1), (("asked", 2), ("asked", 3)))),
    )
    assert slots(0, 1, [b"h", 0]) == ()
    assert slots(0, 1, [b"h", 65535], [b"i", 65536]) == (SlotRange(0, 1, Shard(("h", 65535), ())),)
    assert slots(0, 1, [b"h", b"1"]) == ()
    for bad in (
        (-1, 5, server),
        (6, 5, server),
        (0, 16384, server),
        (0, 5),
        ("a", 5, server),
        (0, 5, None),
        (0, 5, [b"h"]),
    ):
        with pytest.raises(ProtocolError, match="CLUSTER SLOTS"):
            slots(*bad)
    two = parse_slots([[8, 9, server], [0, 1, server]], "asked")
    assert [found.first for found in two] == [0, 8]


def test_the_ends_of_a_map_of_shards() -> None:
    def node(role: bytes = b"master", health: bytes = b"online", port: Any = 1, **more: Any) -> dict[bytes, Any]:
        fields = {b"endpoint": b"h", b"port": port, b"role": role, b"health": health}
        return fields | {name.encode().replace(b"_", b"-"): value for name, value in more.items()}

    def shards(slots: list[Any], *nodes: Any, tls: bool = False) -> Any:
        return parse_shards([[b"slots", slots, b"nodes", list(nodes)]], "asked", tls=tls)

    assert shards([0, 1, 8, 16383], node(), node(b"replica", port=2)) == (
        SlotRange(0, 1, Shard(("h", 1), (("h", 2),))),
        SlotRange(8, 16383, Shard(("h", 1), (("h", 2),))),
    )
    assert shards([0, 1], node(health=b"fail"), node(port=3)) == (SlotRange(0, 1, Shard(("h", 3), ())),)
    assert shards([0, 1], node(), node(b"replica", b"fail", port=2)) == (SlotRange(0, 1, Shard(("h", 1), ())),)
    assert shards([0, 1], node(b"replica")) == ()
    assert shards([], node()) == ()
    assert shards([0, 1], node(tls_port=7), tls=True) == (SlotRange(0, 1, Shard(("h", 7), ())),)
    assert shards([0, 1], node(), tls=True) == ()
    assert shards([0, 1], list(sum(node().items(), ()))) == (SlotRange(0, 1, Shard(("h", 1), ())),)
    for bad in ([0], [0, 1, 2], [-1, 1], [2, 1], [0, 16384], [b"a", 1]):
        with pytest.raises(ProtocolError, match="CLUSTER SHARDS"):
            shards(bad, node())
    for wrong in (None, [[b"slots", [0, 1]]], [[b"slots"]], [7]):
        with pytest.raises(ProtocolError, match="CLUSTER SHARDS"):
            parse_shards(wrong, "asked")
