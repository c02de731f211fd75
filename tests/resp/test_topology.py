# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The map of a cluster, pipelines over its nodes, and tracking on it, with nodes that answer as a test says: over pairs
of sockets, so that a node can be lost, refuse, or send elsewhere at any moment."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from resp import (
    Breaker,
    ClientClosed,
    ConnectionLost,
    Endpoint,
    InvalidArgument,
    Observer,
    Pool,
    ProtocolError,
    Retry,
    ServerError,
    cluster_batches,
)
from resp.cluster_listening import ClusterUpstream, ShardUpstream
from resp.cluster_tracking import ClusterTracking
from resp.errors import ClusterDown, TryAgain
from resp.listening import Waker
from resp.node import Node
from resp.slot_map import Address
from resp.source import Batch
from resp.topology import Topology
from resp.tracking import State
from tests.resp.hearing import Heard, closing_all
from tests.resp.scripted import Exchange, Paired
from tests.waiting import wait_until

FAR = 600.0
ALL = 16383


class Server:
    """One node of the cluster: what it answers, and what it was asked."""

    def __init__(self, fleet: Fleet, place: Address) -> None:
        self.fleet = fleet
        self.place = place
        self.asked: list[bytes] = []
        self.away = False
        self.replies: dict[bytes, list[bytes]] = {}
        self.socks: list[socket.socket] = []

    def connection(self, endpoint: Endpoint) -> Paired:
        return Paired(endpoint, self._meet, protocol=3)

    def _meet(self, deadline: float | None) -> socket.socket:
        if self.away:
            raise ConnectionLost("away", maybe_executed=False)
        ours, theirs = socket.socketpair()
        self.socks.append(theirs)
        threading.Thread(target=self.serve, args=(theirs,), daemon=True).start()
        return ours

    def serve(self, sock: socket.socket) -> None:
        exchange = Exchange(sock, 1)
        with contextlib.suppress(OSError):
            while True:
                command = exchange.command()
                said = b" ".join(command[:2])
                self.asked.append(said)
                queue = self.replies.get(said) or self.replies.get(command[0]) or []
                if queue:
                    reply = queue.pop(0)
                    if reply == b"":
                        return sock.close()
                    exchange.send(reply)
                elif said == b"CLUSTER SLOTS":
                    exchange.send(self.fleet.map)
                else:
                    exchange.send(b"+%d\r\n" % self.place[1])

    def die(self) -> None:
        self.away = True
        for sock in self.socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class Told(Observer):
    def __init__(self) -> None:
        self.moves: list[tuple[int, int]] = []

    def moved(self, before: Endpoint, after: Endpoint) -> None:
        self.moves.append((before.port, after.port))


class Fleet:
    """Nodes by their ports, all on host `h`, and the map that each of them tells."""

    def __init__(self, *ranges: tuple[int, ...], **options: Any) -> None:
        self.servers: dict[Address, Server] = {}
        self.told = Told()
        self.made: list[tuple[Address, bool]] = []
        self.map = b""
        self.say(*ranges)
        self.topology = Topology(options.pop("seeds", [("h", 1)]), self.node_at, **options)

    def say(self, *ranges: Any) -> None:
        """`(first, last, primary, replica…)`, servers as ports."""
        self.map = b"*%d\r\n" % len(ranges)
        for first, last, *ports in ranges:
            self.map += b"*%d\r\n:%d\r\n:%d\r\n" % (2 + len(ports), first, last)
            self.map += b"".join(b"*2\r\n$1\r\nh\r\n:%d\r\n" % port for port in ports)

    def server(self, port: int, host: str = "h") -> Server:
        return self.servers.setdefault((host, port), Server(self, (host, port)))

    def node_at(self, place: Address, replica: bool) -> Node:
        self.made.append((place, replica))
        endpoint = Endpoint(host=place[0], port=place[1])
        pool = Pool(endpoint, factory=self.server(place[1], place[0]).connection, observer=self.told)
        return Node(endpoint, pool, Breaker(3, 100.0, 100.0), Retry(0))

    def find(self) -> None:
        """One round, in this thread."""
        self.topology._find()

    def ports(self, *slots: int) -> list[int | None]:
        return [node.endpoint.port if (node := self.topology.owners[slot]) else None for slot in slots]


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    made = Fleet((0, 99, 1, 4), (100, 199, 2), (300, ALL, 3, 5, 6))
    yield made
    made.topology.close()


@pytest.fixture
def still(fleet: Fleet) -> Fleet:
    """The same without its thread: rounds are those of `find`."""
    fleet.topology.poller.close()
    return fleet


# ---- the map ---------------------------------------------------------------------------------------------------------


def test_the_map_says_who_owns_each_slot_and_who_copies_whom(still: Fleet) -> None:
    topology = still.topology
    assert (topology.generation, topology.primaries) == (0, [])
    still.find()
    assert still.ports(0, 99, 100, 199, 200, 299, 300, ALL) == [1, 1, 2, 2, None, None, 3, 3]
    assert [node.endpoint.port for node in topology.primaries] == [1, 2, 3]
    assert sorted(topology.lowest.values()) == [0, 100, 300]
    assert [[each.endpoint.port for each in topology.replicas(node)] for node in topology.primaries] == [
        [4],
        [],
        [5, 6],
    ]
    assert [node.endpoint.port for node in topology.everywhere()] == [1, 2, 3, 4, 5, 6]
    assert [replica for _, replica in still.made] == [False, False, False, True, True, True]
    assert topology.generation == 1
    assert topology.owner(0) is topology.primaries[0]
    assert topology.owner(None) in topology.primaries
    topology.poller.doubt = False
    with pytest.raises(ConnectionLost, match="owns slot 250") as caught:
        topology.owner(250)
    assert caught.value.maybe_executed is False
    assert topology.poller.doubt


def test_the_same_map_again_changes_nothing_and_is_confirmed(still: Fleet) -> None:
    still.find()
    still.topology.confirmed = 0.0
    still.find()
    assert still.topology.generation == 1
    assert still.topology.confirmed > 0
    assert still.told.moves == []


def test_a_change_of_the_map_is_told_and_who_is_gone_is_closed(still: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    class Ear:
        rung = 0

        def ring(self) -> None:
            self.rung += 1

    caplog.set_level("INFO", "resp")
    ear = Ear()
    still.topology.on_moved(ear.ring)
    still.find()
    [first, second, third] = still.topology.primaries
    replicas = {replica.endpoint.port: replica for replica in still.topology.everywhere()[3:]}
    first.call(("PING",), FAR)
    second.call(("PING",), FAR)
    created = still.topology.stats().created
    assert (ear.rung, caplog.messages) == (1, [])
    still.say((0, 199, 4, 1), (300, ALL, 3, 5))
    still.find()
    assert still.ports(0, 150, 300) == [4, 4, 3]
    assert (ear.rung, still.topology.generation) == (2, 2)
    assert caplog.messages == ["the map of the cluster changed: 2 primaries"]
    assert sorted(still.told.moves) == [(1, 4), (2, 4)]
    assert (first.pool.closed, second.pool.closed, third.pool.closed) == (False, True, False)
    assert first.pool.stats().idle == 0, "a replica by now, over which nobody writes any more"
    assert (replicas[4].pool.closed, replicas[5].pool.closed, replicas[6].pool.closed) == (True, False, True)
    assert still.topology.stats().created >= created, "what those did that are gone counts"


def test_whoever_answers_first_is_believed_and_the_reasons_of_the_others_are_told(still: Fleet) -> None:
    still.find()
    for port in (1, 2, 3):
        still.server(port).die()
    with pytest.raises(ConnectionLost):
        still.find()
    still.server(3).away = False
    still.say((0, ALL, 3))
    still.find()
    assert [node.endpoint.port for node in still.topology.primaries] == [3]
    still.server(1).away = False
    still.map = b"*0\r\n"
    with pytest.raises(ConnectionLost, match="knows no slots") as caught:
        still.find()
    assert caught.value.maybe_executed is False
    nobody = Topology([], still.node_at)
    with pytest.raises(ConnectionLost, match="no node of the cluster is known"):
        nobody._find()
    nobody.close()


def test_the_newer_map_is_asked_for_where_the_older_one_is_refused() -> None:
    fleet = Fleet()
    server = fleet.server(1)
    node = b"*6\r\n$8\r\nendpoint\r\n$1\r\nh\r\n$4\r\nport\r\n:1\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
    shard = b"*1\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:5\r\n$5\r\nnodes\r\n*1\r\n" + node
    server.replies = {b"CLUSTER SLOTS": [b"-NOPERM no\r\n"] * 2, b"CLUSTER SHARDS": [shard, b"-ERR unknown\r\n"]}
    fleet.find()
    assert fleet.ports(0, 5, 6) == [1, 1, None]
    with pytest.raises(ServerError, match="NOPERM"):
        fleet.find()
    server.replies = {b"CLUSTER SLOTS": [b"+nonsense\r\n"]}
    with pytest.raises(ProtocolError):
        fleet.find()
    fleet.topology.close()


def test_who_was_named_by_a_redirection_is_asked_first_and_once(still: Fleet) -> None:
    still.find()
    topology = still.topology
    node = topology.at("h", 9, topology.primaries[0])
    assert topology.at("", 7, topology.primaries[0]).endpoint.host == "h"
    generation, topology.poller.doubt = topology.generation, False
    topology.moved(5, node)
    assert still.ports(4, 5, 6) == [1, 9, 1]
    assert (topology.generation, topology.poller.doubt) == (generation + 1, True)
    topology.moved(5, node)
    topology.moved(-1, node)
    topology.moved(ALL + 1, node)
    assert topology.generation == generation + 1
    still.say((0, ALL, 9))
    still.find()
    assert still.server(9).asked == [b"CLUSTER SLOTS"]
    still.find()
    assert still.ports(0) == [9]


def test_eight_nodes_are_asked_and_no_more() -> None:
    fleet = Fleet(seeds=[("h", port) for port in range(1, 12)])
    for port in range(1, 12):
        fleet.server(port).away = True
    with pytest.raises(ConnectionLost):
        fleet.find()
    assert len(fleet.made) == 8
    fleet.topology.close()


def test_addresses_are_translated_wherever_they_come_from() -> None:
    fleet = Fleet((0, ALL, 1, 2), translate=lambda host, port: (f"{host}.test", port + 100))
    fleet.find()
    assert [node.endpoint.port for node in fleet.topology.everywhere()] == [101, 102]
    assert fleet.topology.at("x", 5, fleet.topology.primaries[0]).endpoint.host == "x.test"
    fleet.find()
    assert not fleet.topology.primaries[0].pool.closed
    fleet.topology.close()


def test_who_needs_a_map_waits_for_it_and_is_told_why_there_is_none(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.server(1).away = True
    with pytest.raises(ConnectionLost, match=r"no map of the cluster: .*away") as caught:
        fleet.topology.ready(time.monotonic() + FAR)
    assert caught.value.maybe_executed is False
    fleet.server(1).away = False
    fleet.topology.ready(time.monotonic() + FAR)
    assert fleet.ports(0) == [1]
    fleet.topology.ready(0.0)
    monkeypatch.setattr(Topology, "_find", lambda topology: None)  # else the map may be there sooner
    other = Fleet((0, ALL, 1))
    with pytest.raises(ConnectionLost, match="no node answered in time"):
        other.topology.ready(0.0)
    other.topology.close()
    other.topology._map = ()
    with pytest.raises(ClientClosed):
        other.topology.ready(None)


def test_instead_of_a_node_that_failed_there_is_the_new_owner_or_any_other_primary(fleet: Fleet) -> None:
    topology = fleet.topology
    topology.ready(None)
    [first, second, third] = topology.primaries
    assert topology.another(150, first, None) is second, "it is not the owner anyway"
    assert topology.another(None, first, time.monotonic() + FAR) in (second, third)
    fleet.say((0, ALL, 3))
    topology.poller.doubt = False
    assert topology.another(50, first, time.monotonic() + FAR) is third
    topology.poller.doubt = False
    assert topology.another(50, third, time.monotonic() + FAR) is None
    assert topology.another(None, third, time.monotonic() + FAR) is None


# ---- pipelines -------------------------------------------------------------------------------------------------------


def batch_of(*commands: tuple[str, int | None]) -> Batch:
    """Commands with the slots that they are to have."""
    slots = iter([slot for _, slot in commands])
    batch = Batch(lambda args: next(slots))
    for words, _ in commands:
        batch.add(tuple(words.split()))
    return batch


def exchanged(fleet: Fleet, batch: Batch, deadline: float | None = None) -> list[Any]:
    return cluster_batches.exchange(fleet.topology, batch, deadline)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pauses between rounds take no time; which there were."""
    hops: list[int] = []
    monkeypatch.setattr(cluster_batches, "pause", lambda hop, deadline: hops.append(hop) or True)  # type: ignore[func-returns-value]  # for its effect
    return hops


def test_commands_go_to_their_nodes_and_come_back_in_order(fleet: Fleet) -> None:
    fleet.topology.ready(None)
    batch = batch_of(("GET a", 300), ("GET b", 0), ("GET c", 150), ("GET d", 0), ("PING", None))
    assert exchanged(fleet, batch)[:4] == [b"3", b"1", b"2", b"1"]
    assert [asked for asked in fleet.server(1).asked if asked.startswith(b"GET")] == [b"GET b", b"GET d"]
    batch.last = True
    exchanged(fleet, batch)
    assert [node.pool.stats().idle for node in fleet.topology.primaries].count(0) >= 3


def test_what_was_moved_is_followed_and_learned_and_an_ask_is_followed_once(fleet: Fleet, quick: list[int]) -> None:
    fleet.topology.ready(None)
    fleet.server(1).replies = {b"GET a": [b"-MOVED 7 h:2\r\n"], b"GET b": [b"-ASK 8 h:3\r\n"]}
    assert exchanged(fleet, batch_of(("GET a", 7), ("GET b", 8), ("GET c", 9))) == [b"2", b"3", b"1"]
    assert fleet.server(3).asked[-2:] == [b"ASKING", b"GET b"]
    assert quick == []
    assert fleet.topology.generation >= 2


@pytest.mark.parametrize("error", [b"-TRYAGAIN later\r\n", b"-CLUSTERDOWN no\r\n", b"-LOADING the dataset\r\n"])
def test_what_is_undecided_is_sent_again_after_a_pause_but_no_script(
    fleet: Fleet, quick: list[int], error: bytes
) -> None:
    fleet.topology.ready(None)
    fleet.server(1).replies = {b"GET a": [error] * 2, b"EVAL x": [error], b"SET b": [error] * 9}
    fleet.server(2).replies = {b"SET b": [error] * 9}
    found = exchanged(fleet, batch_of(("GET a", 7), ("EVAL x 0", 8), ("SET b", 150)))
    assert found[0] == b"1"
    assert isinstance(found[1], TryAgain | ClusterDown | ServerError)
    assert isinstance(found[2], ServerError)
    assert quick == [0, 1, 2, 3, 4]
    assert len(fleet.server(2).replies[b"SET b"]) == 3, "six rounds"


def test_a_pause_that_there_is_no_time_for_is_the_end(fleet: Fleet) -> None:
    fleet.topology.ready(None)
    fleet.server(1).replies = {b"GET a": [b"-TRYAGAIN later\r\n"] * 2}
    [found] = exchanged(fleet, batch_of(("GET a", 7)), time.monotonic() + 0.005)
    assert isinstance(found, ServerError)
    assert cluster_batches.pause(0, time.monotonic()) is False
    assert cluster_batches.pause(0, None) is True


def test_nothing_is_sent_after_what_came_behind_it_in_its_slot(fleet: Fleet, quick: list[int]) -> None:
    fleet.topology.ready(None)
    refused = {b"SET a": [b"-TRYAGAIN later\r\n"], b"GET a": [b"-TRYAGAIN later\r\n"]}

    def run(*commands: tuple[str, int | None]) -> list[bool]:
        fleet.server(1).replies = {name: list(queue) for name, queue in refused.items()}
        return [isinstance(found, TryAgain) for found in exchanged(fleet, batch_of(*commands))]

    assert run(("SET a", 7), ("SET b", 7)) == [True, False]
    assert run(("SET a", 7), ("GET b", 7)) == [True, False]
    assert run(("GET a", 7), ("SET b", 7)) == [True, False]
    assert run(("GET a", 7), ("GET b", 7)) == [False, False]
    assert run(("SET a", 7), ("SET b", 8)) == [False, False]
    assert run(("SET a", None), ("GET b", 8))[1] is False


def test_a_lost_node_is_an_error_in_its_places_and_none_in_the_others(fleet: Fleet, quick: list[int]) -> None:
    fleet.topology.ready(None)
    fleet.server(2).replies = {b"SET b": [b""]}
    found = exchanged(fleet, batch_of(("GET a", 7), ("SET b", 150), ("GET c", 300)))
    assert (found[0], found[2]) == (b"1", b"3")
    assert isinstance(found[1], ConnectionLost)
    assert found[1].maybe_executed
    fleet.server(2).die()
    fleet.say((0, 199, 1), (300, ALL, 3))
    fleet.topology.poller.doubt = False
    found = exchanged(fleet, batch_of(("GET a", 7), ("SET b", 150), ("SET c", 160)))
    assert found == [b"1"] * 3, "they certainly did not arrive, and who asks for the map has the new one"


def test_a_pipeline_waits_once_for_the_map_however_many_of_its_commands_are_lost(
    fleet: Fleet, quick: list[int]
) -> None:
    fleet.topology.ready(None)
    fleet.server(2).die()
    fleet.topology.poller.doubt = False
    rounds = fleet.topology.poller._done
    found = exchanged(fleet, batch_of(*[(f"SET k{number}", 150) for number in range(200)]))
    assert all(isinstance(error, ConnectionLost) for error in found)
    assert fleet.topology.poller._done - rounds < 10


# ---- listening -------------------------------------------------------------------------------------------------------


def test_sharded_channels_are_where_their_slots_are_and_others_anywhere(fleet: Fleet) -> None:
    fleet.topology.ready(None)
    upstream = ClusterUpstream(fleet.topology)
    assert upstream.moved(), "it is nowhere yet"
    shard = upstream.shard(b"x")
    assert isinstance(shard, ShardUpstream)
    assert shard is upstream.shard(b"x")
    assert not shard.moved()
    doubt = fleet.topology.poller._done
    upstream.refresh()
    assert fleet.topology.poller._done > doubt
    fleet.say((0, ALL, 1))
    fleet.find()
    assert shard.moved() is (shard.node.endpoint.port != 1)
    assert upstream.shard(b"x").__class__ is ShardUpstream


# ---- tracking --------------------------------------------------------------------------------------------------------


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def tracked(fleet: Fleet, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ClusterTracking]]:
    """`tracked(…)` tracks the cluster `fleet`; its lines go where the nodes do."""

    def connect(upstream: ShardUpstream) -> Paired:
        place = (upstream.node.endpoint.host, upstream.node.endpoint.port)
        return fleet.servers[place].connection(upstream.node.endpoint).connect()

    monkeypatch.setattr(ShardUpstream, "connect", connect)

    def make(**options: Any) -> ClusterTracking:
        quick = {"retry_first": 0.001, "retry_most": 0.002, "silence": FAR, "patience": FAR}
        return ClusterTracking(fleet.topology, heard.invalidated, changed=heard.changed, **{**quick, **options})

    with closing_all(make) as start:
        yield start


def live(tracked: Callable[..., ClusterTracking], heard: Heard) -> ClusterTracking:
    """One that hears every primary, and has said so."""
    tracking = tracked(lease=60.0)
    assert tracking.wait(30)
    wait_until(lambda: heard.events[-1] is State.LIVE)
    return tracking


def test_it_is_live_when_each_primary_is_heard(
    fleet: Fleet, heard: Heard, tracked: Callable[..., ClusterTracking]
) -> None:
    fleet.server(2).away = True
    tracking = tracked(prefixes=["a"], lease=60.0)
    tracking.start()
    wait_until(lambda: str(tracking.last_error) == "away")  # before that it may be said that it is not heard yet
    assert not tracking.live
    fleet.server(2).away = False
    assert tracking.wait(30)
    for port in (1, 2, 3):
        assert b"CLIENT TRACKING" in fleet.server(port).asked
    for port in (4, 5, 6):
        assert b"CLIENT TRACKING" not in fleet.servers.get(("h", port), fleet.server(port)).asked
    events = len(heard.events)
    assert heard.events[-2:] == [None, State.LIVE]
    fleet.server(2).socks[-1].sendall(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n")
    wait_until(lambda: len(heard.events) > events)
    assert heard.events[events:] == [b"k"]
    generation = tracking.generation
    heard.refused = [b"x"]
    fleet.server(2).socks[-1].sendall(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nx\r\n")
    wait_until(lambda: len(heard.events) > events + 2)
    assert heard.events[events + 1 :] == [b"x", None]
    assert tracking.generation == generation + 1
    assert tracking.prefixes == (b"a",)


def test_what_was_read_while_not_everybody_listened_is_older_than_live(
    fleet: Fleet, heard: Heard, tracked: Callable[..., ClusterTracking]
) -> None:
    tracking = tracked(lease=60.0)
    fleet.topology.ready(None)
    line = SimpleNamespace(live=False, unsupported=False, last_error=None)
    waker = tracking._waker = Waker()
    tracking._members = {fleet.topology.primaries[0]: line}  # type: ignore[dict-item]  # a line that is as it is told
    tracking._generation_seen = fleet.topology.generation
    tracking._judge(waker)
    heard.events.clear()
    line.live = True
    tracking._judge(waker)
    assert heard.events == [None, State.LIVE]
    tracking._judge(waker)
    assert heard.events == [None, State.LIVE]
    tracking._members.clear()


def test_a_lost_line_is_the_loss_of_all_and_everything(
    fleet: Fleet, heard: Heard, tracked: Callable[..., ClusterTracking]
) -> None:
    tracking = live(tracked, heard)
    events = len(heard.events)
    fleet.server(3).die()
    assert tracking.wait(30, State.LOST)
    wait_until(lambda: None in heard.events[events:])
    assert heard.events[events] is State.LOST
    fleet.server(3).away = False
    assert tracking.wait(30)
    assert heard.events[-2:] == [None, State.LIVE]


def test_a_new_primary_is_heard_and_one_that_is_none_any_more_is_not(
    fleet: Fleet, heard: Heard, tracked: Callable[..., ClusterTracking]
) -> None:
    tracking = live(tracked, heard)
    members = dict(tracking._members)
    events = len(heard.events)
    fleet.say((0, 199, 1), (300, ALL, 9))
    fleet.topology.poller.suspect()
    wait_until(lambda: sorted(node.endpoint.port for node in tracking._members) == [1, 9] and tracking.live)
    assert b"CLIENT TRACKING" in fleet.server(9).asked
    assert heard.events[events : events + 2] == [State.LOST, None]
    for node, line in members.items():
        assert (line.status.state is State.CLOSED) is (node.endpoint.port != 1)


def test_a_primary_that_refuses_makes_it_unsupported(
    fleet: Fleet, heard: Heard, tracked: Callable[..., ClusterTracking]
) -> None:
    fleet.server(2).replies = {b"CLIENT TRACKING": [b"-ERR unknown\r\n"]}
    tracking = tracked(lease=60.0)
    assert tracking.wait(30, State.UNSUPPORTED)
    assert "unknown" in str(tracking.last_error)


def test_a_map_that_nobody_confirms_is_not_believed_after_the_lease(
    fleet: Fleet, heard: Heard, tracked: Callable[..., ClusterTracking]
) -> None:
    tracking = tracked(lease=0.2)
    assert tracking.wait(30)
    fleet.map = b"-ERR no map\r\n"
    for server in fleet.servers.values():
        server.replies[b"CLUSTER SHARDS"] = [b"-ERR no map\r\n"] * 1000
    assert tracking.wait(30, State.LOST)
    assert "no map" in str(tracking.last_error) or "not confirmed" in str(tracking.last_error)
    wait_until(lambda: heard.events[-1] is None)


@pytest.mark.parametrize("lease", [0.09, 3601.0, 0.0, -1.0])
def test_a_lease_has_limits(fleet: Fleet, lease: float) -> None:
    for good in (0.1, 3600.0):
        assert ClusterTracking(fleet.topology, print, lease=good).lease == good
    assert ClusterTracking(fleet.topology, print).lease == 4.0
    with pytest.raises(InvalidArgument, match="lease"):
        ClusterTracking(fleet.topology, print, lease=lease)


def test_closing_ends_every_line_and_tells_nothing(
    fleet: Fleet, heard: Heard, tracked: Callable[..., ClusterTracking]
) -> None:
    tracking = tracked(lease=60.0)
    assert tracking.wait(30)
    thread, lines = tracking._thread, list(tracking._members.values())
    assert thread is not None
    assert (thread.name, thread.daemon) == ("resp-tracking", True)
    tracking.close()
    events = len(heard.events)
    assert not thread.is_alive()
    assert [line.status.state for line in lines] == [State.CLOSED] * 3
    assert (tracking.status.state, tracking.live) == (State.CLOSED, False)
    tracking.close()
    assert len(heard.events) == events
    tracking.start()
    assert tracking.wait(30)


def test_the_child_of_a_fork_is_closed(fleet: Fleet, heard: Heard, tracked: Callable[..., ClusterTracking]) -> None:
    tracking = tracked(lease=60.0)
    idle = ClusterTracking(fleet.topology, print)
    assert tracking.wait(30)
    waker, generation = tracking._waker, tracking.generation
    assert waker is not None
    with tracking._telling, tracking._condition:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert (tracking.status.state, tracking.generation) == (State.CLOSED, generation + 1)
                assert "the process forked" in str(tracking.status.error)
                assert (waker.fileno(), tracking._waker, tracking._thread, tracking._members) == (-1, None, None, {})
                assert (idle.status.error, idle.generation) == (None, 0)
                code = 0
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert tracking.live
