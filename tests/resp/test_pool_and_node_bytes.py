# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A pool and a node over pairs of sockets: who gets which connection, what is tried again, and what is blamed."""

import os
import socket
import threading
import time
from typing import Any

import pytest

from resp import (
    AuthenticationError,
    Breaker,
    BreakerOpen,
    ClientClosed,
    Connection,
    ConnectionLost,
    Endpoint,
    InvalidArgument,
    Observer,
    Pool,
    PoolExhausted,
    ReadOnly,
    RespError,
    Retry,
    ServerError,
    Timeout,
)
from resp.errors import Desynchronised
from resp.node import Exchange as HalfExchange
from resp.node import NoBreaker, Node, _left
from resp.source import Batch, Stats, summed
from tests.resp.scripted import Exchange, Paired
from tests.waiting import wait_until

FAR = 600.0


class Wires:
    """Makes connections over pairs of sockets. What a server says is written before it is asked."""

    def __init__(self) -> None:
        self.peers: list[Exchange] = []
        self.says: list[bytes] = []  # what the next connections will find there
        self.failures: list[BaseException] = []
        self.deadlines: list[float | None] = []

    def __call__(self, endpoint: Endpoint) -> Connection:
        return Paired(endpoint, self.meet)

    def meet(self, deadline: float | None) -> socket.socket:
        self.deadlines.append(deadline)
        if self.failures:
            raise self.failures.pop(0)
        ours, theirs = socket.socketpair()
        self.peers.append(Exchange(theirs, len(self.peers) + 1))
        if self.says:
            theirs.sendall(self.says.pop(0))
        return ours


class Told(Observer):
    """What an observer is told, by name."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def connected(self, endpoint: Endpoint, seconds: float) -> None:
        self.events.append(f"connected {seconds >= 0}")

    def failed(self, endpoint: Endpoint, error: BaseException) -> None:
        self.events.append(f"failed {error}")

    def waited(self, endpoint: Endpoint, seconds: float) -> None:
        self.events.append(f"waited {seconds >= 0}")


def pool_of(wires: Wires, **options: Any) -> Pool:
    return Pool(Endpoint(), factory=wires, **options)


def taken(pool: Pool, **options: Any) -> Connection:
    now = time.monotonic()
    return pool.acquire(now, now + FAR, **options)


# ---- the pool --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("pool_size", [0, 3], [-1, True, 1.0, None]),
        ("max_connections", [1, 3], [0, True, 1.0, None]),
        ("wait_timeout", [0, 0.5], [-0.1, True, "1", None]),
        ("max_idle_time", [0, 0.5, None], [-0.1, True, "1"]),
        ("max_life_time", [0, 0.5, None], [-0.1, False, "1"]),
    ],
)
def test_the_limits_of_a_pool_have_limits(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(Pool(Endpoint(), **{name: value}), name) == value
    for value in bad:
        with pytest.raises(InvalidArgument, match=name):
            Pool(Endpoint(), **{name: value})


def test_what_of_a_pool_is_not_said_is_as_the_guide_has_it() -> None:
    pool = Pool(Endpoint())
    assert (pool.pool_size, pool.max_connections, pool.wait_timeout) == (10, 20, 5.0)
    assert (pool.max_idle_time, pool.max_life_time, pool.closed) == (240.0, 3600.0, False)


def test_the_numbers_of_a_pool_are_those_of_what_happened() -> None:
    wires, told = Wires(), Told()
    pool = pool_of(wires, pool_size=1, max_connections=2, wait_timeout=0.0, observer=told)
    assert pool.stats() == (0, 0, 0, 1, 2, 0, 0, 0, 0, 0)
    first, second = taken(pool), taken(pool)
    assert pool.stats() == (0, 2, 0, 1, 2, 2, 0, 0, 0, 0)
    with pytest.raises(PoolExhausted, match=r"2 of 2 in use, 0 others waiting"):
        taken(pool)
    assert pool.stats() == (0, 2, 0, 1, 2, 2, 0, 0, 1, 1)
    pool.release(first)
    pool.release(second)
    assert pool.stats() == (1, 0, 0, 1, 2, 2, 0, 0, 1, 1)
    assert (first.closed, second.closed) == (True, False), "the one that was used last is kept"
    wires.peers[1].sock.close()
    wait_until(lambda: time.monotonic() > second.fresh_until)
    wires.failures = [ConnectionLost("refused"), KeyboardInterrupt()]
    with pytest.raises(ConnectionLost):
        taken(pool)
    with pytest.raises(KeyboardInterrupt):
        taken(pool)
    assert pool.stats() == (0, 0, 0, 1, 2, 2, 2, 1, 1, 1)
    assert told.events == ["connected True", "connected True", "waited True", "failed refused"]


def test_trouble_and_its_end_are_a_line_each_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "resp")
    wires = Wires()
    pool = pool_of(wires)
    wires.failures = [ConnectionLost("one"), ConnectionLost("two")]
    for _ in range(2):
        with pytest.raises(ConnectionLost):
            taken(pool)
    taken(pool)
    taken(pool)
    assert [record.getMessage() for record in caplog.records] == [
        "localhost:6379: no connection: one",
        "localhost:6379: connected again",
    ]


def test_a_server_that_speaks_unasked_is_not_used() -> None:
    wires = Wires()
    pool = pool_of(wires)

    class Early(Paired):
        __slots__ = ()

        def connect(self, deadline: float | None = None) -> Paired:
            super().connect(deadline)
            self.parser.feed(b"+early")
            return self

    pool._factory = lambda endpoint: Early(endpoint, wires.meet)
    with pytest.raises(Desynchronised):
        taken(pool)
    assert pool.stats().in_use == 0


def test_an_idle_connection_is_looked_at_only_if_it_was_idle_for_a_while() -> None:
    wires = Wires()
    pool = pool_of(wires)
    connection = taken(pool)
    pool.release(connection)
    assert connection.fresh_until == pytest.approx(connection.idle_since + 0.001)
    wires.peers[0].send(b"+late")
    assert pool.take(connection.idle_since) is connection, "not looked at"
    connection.exact = True
    pool.release(connection)
    assert (connection.fresh_until, connection.exact) == (0.0, False)
    assert pool.take(connection.idle_since) is None, "looked at, because its last reply was taken to its last byte"
    assert connection.closed
    assert pool.stats().replaced == 1


def test_a_connection_that_is_too_old_is_not_used_again() -> None:
    wires = Wires()
    for limit, index in (("max_idle_time", 0), ("max_life_time", 1)):
        pool = pool_of(wires, **{"max_idle_time": None, "max_life_time": None, limit: 100.0})
        connection = taken(pool)
        if index:
            assert 90 <= connection.expires - connection.born <= 100
        else:
            assert connection.expires == float("inf")
        pool.release(connection)
        now = connection.idle_since
        assert pool.take(now + 89) is connection
        pool._idle.append(connection)
        assert pool.take(now + 101) is None
        assert connection.closed
    pool = pool_of(wires, max_life_time=0.0)
    connection = taken(pool)
    pool.release(connection)
    assert connection.closed
    assert pool.stats()[:2] == (0, 0)


def test_those_that_nobody_takes_for_too_long_are_closed_by_who_takes_another() -> None:
    wires = Wires()
    pool = pool_of(wires, max_idle_time=100.0)
    three = [taken(pool) for _ in range(3)]
    for connection in three:
        pool.release(connection)
    now = time.monotonic()
    for connection, age in zip(three, (150, 120, 50)):
        connection.idle_since, connection.fresh_until = now - age, 0.0
    assert pool.take(now) is three[2]
    assert [connection.closed for connection in three] == [True, True, False]
    assert pool.stats()[:2] == (0, 1)
    pool.release(three[2])
    three[2].idle_since = now - 150
    pool._tidy(now + 1)
    assert not three[2].closed, "the next look for such is not due yet"
    pool._tidy(now + 16)
    assert three[2].closed


def test_a_fresh_one_is_new_even_if_others_are_idle_and_takes_the_place_of_the_oldest_when_full() -> None:
    wires = Wires()
    pool = pool_of(wires, max_connections=2)
    first, second = taken(pool), taken(pool)
    pool.release(first)
    third = taken(pool, fresh=True)
    assert first.closed
    assert third not in (first, second)
    pool.release(second)
    pool.release(third)
    fourth = taken(pool, fresh=True)
    assert (second.closed, third.closed) == (True, False)
    assert pool.stats()[:2] == (1, 1)
    pool.release(fourth)
    assert taken(pool) is fourth


def test_a_fresh_one_leaves_the_idle_ones_alone_while_there_is_room() -> None:
    pool = pool_of(Wires(), max_connections=2)
    first = taken(pool)
    pool.release(first)
    second = taken(pool, fresh=True)
    assert second is not first
    assert (first.closed, pool.stats()[:2]) == (False, (1, 1))


@pytest.mark.parametrize(("fresh", "dead", "same"), [(False, False, True), (True, False, False), (False, True, False)])
def test_what_is_handed_to_who_waits_is_replaced_if_it_is_not_what_he_wants(
    fresh: bool, dead: bool, same: bool
) -> None:
    wires = Wires()
    pool = pool_of(wires, max_connections=1)
    only = taken(pool)
    if dead:
        wires.peers[0].sock.close()
    got: list[Connection] = []
    thread = threading.Thread(target=lambda: got.append(taken(pool, fresh=fresh)))
    thread.start()
    wait_until(lambda: pool.stats().waiting == 1)
    pool.release(only)
    thread.join(30)
    assert (got[0] is only, only.closed, got[0].closed) == (same, not same, False)
    assert (pool.stats().replaced, pool.stats().in_use) == (int(not same), 1)


def test_who_waits_in_vain_looks_for_himself_now_and_then_and_not_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = pool_of(Wires(), max_connections=1, wait_timeout=0.05)
    used = taken(pool)
    looks: list[int] = []
    serve = pool._serve

    def counted() -> None:
        looks.append(1)
        serve()

    monkeypatch.setattr(pool, "_serve", counted)
    with pytest.raises(PoolExhausted):
        taken(pool)
    assert 1 <= len(looks) <= 5
    assert pool.stats().waiting == 0
    pool.release(used)


def test_who_comes_while_others_wait_waits_behind_them() -> None:
    wires = Wires()
    pool = pool_of(wires, max_connections=1)
    only = taken(pool)
    order: list[int] = []
    threads = []

    def work(number: int) -> None:
        connection = taken(pool)
        order.append(number)
        pool.release(connection)

    for number in range(3):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        wait_until(lambda: pool.stats().waiting == number + 1)  # noqa: B023  # called at once
    pool.release(only)
    for thread in threads:
        thread.join(30)
    assert order == [0, 1, 2]
    assert pool.stats()[:3] == (1, 0, 0)
    assert (pool.stats().waited, len(wires.peers)) == (3, 1)


def test_a_place_that_becomes_free_is_the_permission_to_connect() -> None:
    wires = Wires()
    pool = pool_of(wires, max_connections=1)
    only = taken(pool)
    got: list[Connection] = []
    thread = threading.Thread(target=lambda: got.append(taken(pool)))
    thread.start()
    wait_until(lambda: pool.stats().waiting == 1)
    pool.discard(only)
    thread.join(30)
    assert not got[0].closed
    assert len(wires.peers) == 2


def test_closing_a_pool_ends_every_wait_and_every_connection() -> None:
    wires = Wires()
    pool = pool_of(wires, max_connections=2)
    idle, used = taken(pool), taken(pool)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            taken(pool)
        except RespError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: pool.stats().waiting == 1)
    pool.close()
    thread.join(30)
    assert [type(error) for error in errors] == [ClientClosed]
    pool.release(idle)
    pool.release(used)
    assert (idle.closed, used.closed) == (True, True)
    with pytest.raises(ClientClosed):
        taken(pool)


def test_those_that_are_older_than_one_that_died_are_dropped_and_the_others_are_not() -> None:
    wires = Wires()
    pool = pool_of(wires)
    three = [taken(pool) for _ in range(3)]
    for connection, since in zip(three, (10.0, 20.0, 30.0)):
        pool.release(connection)
        connection.idle_since = since
    pool.drop_older(three[1])
    assert [connection.closed for connection in three] == [True, True, False]
    assert pool.stats().replaced == 2


def test_renewing_a_pool_ends_the_idle_ones_now_and_the_used_ones_when_they_come_back() -> None:
    wires = Wires()
    pool = pool_of(wires)
    old, new, used = taken(pool), taken(pool), taken(pool)
    old.born, new.born, used.born = 10.0, 30.0, 20.0
    pool.release(old)
    pool.release(new)
    pool.renew(used)
    assert (old.closed, new.closed, used.closed) == (True, False, False)
    pool.release(used)
    assert used.closed
    pool.renew()
    assert new.closed
    assert pool.stats()[:2] == (0, 0)


def test_in_the_child_of_a_fork_a_pool_is_empty_and_free() -> None:
    wires = Wires()
    pool = pool_of(wires)
    used, idle = taken(pool), taken(pool)
    pool.release(idle)
    with pool._lock:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert (used.closed, idle.closed) == (True, True)
                assert pool.stats()[:3] == (0, 0, 0)
                assert not taken(pool).closed
                code = 0
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (used.closed, taken(pool)) == (False, idle)


# ---- a node ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def wires() -> Wires:
    return Wires()


def node_of(wires: Wires, retries: int | Retry = 0, breaker: Breaker | None = None, **options: Any) -> Node:
    quick = Retry(retries, first=0.0, most=0.0) if isinstance(retries, int) else retries
    return Node(Endpoint(), pool_of(wires, **options), Breaker(3, 100.0, 100.0) if breaker is None else breaker, quick)


def warmed(wires: Wires, node: Node) -> Exchange:
    """The node has one idle connection, which was used before."""
    wires.says.append(b"+OK\r\n")
    assert node.call(("PING",), FAR) == b"OK"
    peer = wires.peers[-1]
    peer.arrived()
    return peer


def unlooked(node: Node) -> None:
    """Nobody looks at the idle connection before its use."""
    [idle] = node.pool._idle
    idle.fresh_until = time.monotonic() + FAR


def cut(node: Node, peer: Exchange, *, part: bytes = b"") -> None:
    """The server of the idle connection dies with the next command: what it gets is read by nobody."""
    unlooked(node)
    if part:
        peer.send(part)
    peer.sock.shutdown(1)


@pytest.mark.parametrize(
    ("command", "part", "again"),
    [("GET", b"", True), ("GET", b"$3\r\nab", False), ("SET", b"", False), ("SET", b"+O", False)],
)
def test_only_a_read_without_a_word_of_its_reply_is_sent_again_over_a_new_connection(
    wires: Wires, command: str, part: bytes, again: bool
) -> None:
    node = node_of(wires)
    cut(node, warmed(wires, node), part=part)
    wires.says.append(b"+again\r\n")
    if again:
        assert node.call((command, "k"), FAR) == b"again"
        assert wires.peers[1].arrived() == [[command.encode(), b"k"]]
        assert (node.stats().retried, node.breaker.calm) == (1, True)
    else:
        with pytest.raises(ConnectionLost) as caught:
            node.call((command, "k"), FAR)
        assert caught.value.maybe_executed
        assert len(wires.peers) == 1
        assert (node.stats().retried, node.breaker.calm) == (0, False)
    assert node.stats().in_use == 0


def test_a_write_that_was_not_sent_is_sent_over_a_new_connection(wires: Wires) -> None:
    node = node_of(wires)
    peer = warmed(wires, node)
    peer.sock.close()
    unlooked(node)
    wires.says.append(b"+OK\r\n")
    assert node.call(("SET", "k", "v"), FAR) == b"OK"
    assert wires.peers[1].arrived() == [[b"SET", b"k", b"v"]]


def test_a_reply_that_cannot_be_trusted_is_asked_for_again_once_if_that_was_a_read(wires: Wires) -> None:
    for command, again in (("GET", True), ("SET", False)):
        wires = Wires()
        node = node_of(wires)
        peer = warmed(wires, node)
        peer.send(b":1\r\n:2\r\n")
        unlooked(node)
        wires.says += [b":1\r\n:3\r\n", b"+OK\r\n"]
        with pytest.raises(Desynchronised):
            node.call((command, "k"), FAR)
        assert len(wires.peers) == (2 if again else 1)
        assert node.stats().retried == (1 if again else 0)


@pytest.mark.parametrize(("command", "again"), [("GET", True), ("SET", False)])
def test_a_pipeline_is_sent_again_if_all_of_it_reads(wires: Wires, command: str, again: bool) -> None:
    node = node_of(wires)
    cut(node, warmed(wires, node))
    batch = Batch()
    batch.add(("GET", "a"))
    batch.add((command, "b"))
    wires.says = [b"+a\r\n+b\r\n"]
    if again:
        assert node.exchange(batch, FAR) == [b"a", b"b"]
    else:
        with pytest.raises(ConnectionLost):
            node.exchange(batch, FAR)
    assert len(wires.peers) == (2 if again else 1)


def test_a_pipeline_has_the_time_that_it_is_given(wires: Wires) -> None:
    node = node_of(wires)
    batch = Batch()
    batch.add(("GET", "a"))
    wires.says = [b"+a\r\n"]
    assert node.exchange(batch, None) == [b"a"]
    with pytest.raises(Timeout):
        node.exchange(batch, 0.02)
    wires.says = [b"+a\r\n"]
    assert node.send([b"*1\r\n$4\r\nPING\r\n"], None) == [b"a"]
    cut(node, wires.peers[-1])
    with pytest.raises(ConnectionLost):
        node.send([b"*1\r\n$4\r\nPING\r\n"], None)


@pytest.mark.parametrize("calm", [True, False])
def test_what_is_sent_again_goes_over_a_new_connection_though_others_are_idle(wires: Wires, calm: bool) -> None:
    node = node_of(wires)
    other = taken(node.pool)
    warmed(wires, node).send(b":1\r\n:2\r\n")
    [used] = node.pool._idle
    node.pool._idle.clear()
    node.pool.release(other)
    node.pool._idle.append(used)
    for idle in (other, used):
        idle.fresh_until = time.monotonic() + FAR
    if not calm:
        node.breaker.failure()
    wires.says = [b"+again\r\n"]
    assert node.call(("GET", "k"), FAR) == b"again"
    assert (len(wires.peers), node.breaker.calm) == (3, True)


def test_a_read_is_sent_again_once_and_not_twice(wires: Wires) -> None:
    node = node_of(wires)
    cut(node, warmed(wires, node))
    connection = node.pool._idle[-1]
    assert node._again(ConnectionLost("x"), connection, "GET", FAR, once=False) is False
    assert node._again(ConnectionLost("x"), connection, "GET", FAR) is True
    fresh = Connection(Endpoint())
    assert node._again(ConnectionLost("x"), fresh, "GET", FAR) is False, "it was never given back"
    assert node._again(Timeout("x"), connection, "GET", FAR) is False
    assert node._again(KeyboardInterrupt(), connection, "GET", FAR) is False


@pytest.mark.parametrize(
    ("reply", "name", "retried"),
    [
        (b"-LOADING the dataset\r\n", "GET", 2),
        (b"-LOADING the dataset\r\n", "SET", 2),
        (b"-LOADING the dataset\r\n", "EVAL", 0),
        (b"-ERR wrong\r\n", "GET", 0),
    ],
)
@pytest.mark.parametrize("warm", [True, False])
def test_what_was_certainly_not_executed_is_tried_again_as_often_as_is_allowed(
    wires: Wires, reply: bytes, name: str, retried: int, warm: bool
) -> None:
    node = node_of(wires, 2)
    if warm:
        warmed(wires, node)

    def serve() -> None:
        wait_until(lambda: wires.peers)
        for _ in range(retried + 1):
            wires.peers[0].command()
            wires.peers[0].send(reply)

    served = threading.Thread(target=serve)
    served.start()
    assert isinstance(node.call((name, "k"), FAR), ServerError)
    served.join(30)
    assert node.stats().retried == retried
    assert len(wires.peers) == 1


def test_attempts_have_their_pauses_between_them(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("resp.node._time.sleep", slept.append)
    node = node_of(wires, Retry(2, first=1.0, factor=3.0, most=10.0, jitter=0.0))
    wires.failures = [ConnectionLost("one"), ConnectionLost("two")]
    wires.says = [b"+OK\r\n"]
    assert node.call(("SET", "k", "v"), None) == b"OK"
    assert slept == [1.0, 3.0]


def test_an_attempt_has_what_is_left_of_the_time_and_never_nothing() -> None:
    now = time.monotonic()
    assert _left(now, None) is None
    assert _left(now - 100, 1.0) == 0.001
    assert 50 < (_left(now, 60.0) or 0.0) <= 60


def test_a_connection_that_cannot_be_made_is_tried_again_within_the_deadline(wires: Wires) -> None:
    node = node_of(wires, 2)
    wires.failures = [ConnectionLost("one"), Timeout("two")]
    wires.says = [b"+OK\r\n"]
    assert node.call(("SET", "k", "v"), FAR) == b"OK"
    assert node.stats().retried == 2
    wires.failures = [ConnectionLost("one"), ConnectionLost("two"), ConnectionLost("three")]
    node.pool.renew()
    with pytest.raises(ConnectionLost, match="three"):
        node.call(("SET", "k", "v"), FAR)
    hasty = Node(Endpoint(), node.pool, Breaker(), Retry(5, first=50.0, most=50.0))
    wires.failures = [ConnectionLost("one")]
    with pytest.raises(ConnectionLost, match="one"):
        hasty.call(("SET", "k", "v"), 5.0)


@pytest.mark.parametrize("error", [AuthenticationError("WRONGPASS", "no"), ServerError("ERR", "no"), ClientClosed("x")])
def test_a_refusal_at_the_door_is_not_tried_again(wires: Wires, error: BaseException) -> None:
    node = node_of(wires, 2)
    wires.failures = [error]
    with pytest.raises(type(error)):
        node.call(("GET", "k"), FAR)
    assert node.stats().retried == 0
    assert node.breaker.calm is isinstance(error, ClientClosed)


def test_what_is_blamed_on_a_server_and_what_on_the_callers_impatience(wires: Wires) -> None:
    def blamed(error: BaseException, name: Any, timeout: float | None, patience: float | None = 5.0) -> bool:
        node = Node(Endpoint(timeout=patience), pool_of(wires), Breaker(), 0)
        node._blame(error, name, timeout)
        return not node.breaker.calm

    late = Timeout("late")
    assert blamed(late, "GET", 5.0)
    assert blamed(late, "GET", 4.5)
    assert not blamed(late, "GET", 4.4)
    assert blamed(late, "GET", None)
    assert not blamed(late, "GET", 100.0, None)
    assert blamed(late, "GET", None, None)
    assert not blamed(late, "BLPOP", 5.0)
    assert blamed(late, lambda: True, 5.0)
    assert blamed(ConnectionLost("lost"), "BLPOP", 0.1)
    node = Node(Endpoint(), pool_of(wires), Breaker(), 0)
    for error in (PoolExhausted("full"), ClientClosed("closed"), InvalidArgument("wrong"), KeyboardInterrupt()):
        assert node._again(error, None, "GET", 5.0) is False
        assert node.breaker.calm
    assert node._again(ConnectionLost("refused"), None, "GET", 5.0) is False
    assert not node.breaker.calm


def test_an_open_breaker_lets_one_probe_go_and_hears_of_its_end(wires: Wires, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "resp")
    now = [0.0]
    breaker = Breaker(1, 10.0, 10.0, clock=lambda: now[0])
    node = node_of(wires, 0, breaker)
    wires.failures = [ConnectionLost("refused")]
    with pytest.raises(ConnectionLost):
        node.call(("GET", "k"), FAR)
    assert [record.levelname for record in caplog.records if "does not answer" in record.getMessage()] == ["WARNING"]
    with pytest.raises(BreakerOpen):
        node.call(("GET", "k"), FAR)
    now[0] = 11.0
    wires.failures = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        node.call(("GET", "k"), FAR)
    assert breaker.state == "open", "an interrupted probe lets another go"
    wires.says = [b"+OK\r\n"]
    assert node.call(("GET", "k"), FAR) == b"OK"
    assert breaker.state == "closed"
    assert caplog.messages[-1] == "localhost:6379 answers again"
    assert node.stats()[-2:] == ("closed", 1)
    assert node_of(wires, 0, NoBreaker()).stats()[-2:] == ("off", 0)


@pytest.mark.parametrize("reply", [b"-READONLY you cannot\r\n", b"-NOAUTH first\r\n", b"+OK\r\n", b"-ERR other\r\n"])
@pytest.mark.parametrize("how", ["call", "exchange", "warm call"])
def test_what_a_reply_says_of_its_connection_is_heeded(wires: Wires, reply: bytes, how: str) -> None:
    node = node_of(wires)
    wires.says = [b""]
    other = taken(node.pool)
    made: list[Connection] = []
    factory = node.pool._factory
    node.pool._factory = lambda endpoint: made.append(factory(endpoint)) or made[-1]  # type: ignore[func-returns-value]  # for its effect
    if how == "warm call":
        warmed(wires, node).send(reply)
        unlooked(node)
        node.call(("SET", "k", "v"), FAR)
    else:
        wires.says = [reply]
        if how == "call":
            node.call(("SET", "k", "v"), FAR)
        else:
            batch = Batch()
            batch.add(("SET", "k", "v"))
            node.exchange(batch, FAR)
    stays = reply.startswith((b"+", b"-ERR"))
    assert [connection.closed for connection in made] == [not stays]
    assert node.stats().idle == (1 if stays else 0)
    assert (other.expires == 0.0) is reply.startswith(b"-READONLY")


def test_a_connection_whose_state_was_changed_is_not_given_to_anybody_else(wires: Wires) -> None:
    node = node_of(wires)
    warmed(wires, node).send(b"+OK\r\n")
    unlooked(node)
    assert node.call(("SELECT", 3), FAR, last=True) == b"OK"
    assert node.stats()[:2] == (0, 0)
    batch = Batch()
    batch.add(("SELECT", 3))
    batch.last = True
    wires.says = [b"+OK\r\n"]
    assert node.exchange(batch, FAR) == [b"OK"]
    assert node.stats()[:2] == (0, 0)
    wires.says = [b"+OK\r\n"]
    held, replies = node.hold(("WATCH", "k"), FAR)
    assert (replies, held.open, node.stats().in_use) == ([b"OK"], True, 1)
    held.release(True)
    assert (held.open, node.stats()[:2]) == (False, (0, 0))
    held.release()
    held.discard()


def test_watching_is_asked_for_again_where_the_connection_was_dead(wires: Wires) -> None:
    node = node_of(wires)
    cut(node, warmed(wires, node))
    wires.says = [b"+OK\r\n"]
    held, replies = node.hold(("WATCH", "k"), None)
    assert (replies, held.open, len(wires.peers)) == ([b"OK"], True, 2)
    held.discard()


def test_a_held_connection_is_given_back_closed_or_lost(wires: Wires) -> None:
    node = node_of(wires)
    wires.says = [b"+OK\r\n"]
    held, _ = node.hold(("WATCH", "k"), FAR)
    peer = wires.peers[0]
    peer.send(b"+one\r\n+two\r\n")
    assert held.exchange([b"PING\r\n", b"PING\r\n"], FAR) == [b"one", b"two"]
    held.release()
    assert (held.open, node.stats()[:2]) == (False, (1, 0))
    peer.send(b"+OK\r\n")
    unlooked(node)
    held, _ = node.hold(("WATCH", "k"), FAR)
    held.discard()
    assert (held.open, node.stats()[:2]) == (False, (0, 0))
    wires.says = [b"+OK\r\n"]
    held, _ = node.hold(("WATCH", "k"), FAR)
    wires.peers[-1].sock.shutdown(1)
    with pytest.raises(ConnectionLost):
        held.exchange([b"PING\r\n"], FAR)
    assert (held.open, node.stats()[:2], node.breaker.calm) == (False, (0, 0), False)
    wires.says = [b"+OK\r\n-READONLY you cannot\r\n"]
    other = taken(node.pool)
    wires.says = [b"+OK\r\n"]
    held, _ = node.hold(("WATCH", "k"), FAR)
    wires.peers[-1].send(b"-READONLY you cannot\r\n")
    [reply] = held.exchange([b"SET\r\n"], FAR)
    assert isinstance(reply, ReadOnly)
    assert (other.expires, node.breaker.calm) == (0.0, True)


@pytest.mark.parametrize(("reads", "again"), [(True, True), (False, False)])
def test_an_exchange_in_two_halves_never_raises_an_error_of_a_connection(
    wires: Wires, reads: bool, again: bool
) -> None:
    node = node_of(wires)
    cut(node, warmed(wires, node))
    wires.says = [b"+again\r\n"]
    both = HalfExchange(node, [b"*1\r\n$4\r\nPING\r\n"], time.monotonic() + FAR, reads=reads)
    both.begin()
    found = both.finish()
    if again:
        assert found == [b"again"]
        assert node.breaker.calm
    else:
        assert isinstance(found, ConnectionLost)
        assert found.__traceback__ is None
        assert not node.breaker.calm
    assert node.stats().in_use == 0


def test_an_exchange_in_two_halves_gives_back_what_it_used(wires: Wires) -> None:
    for last, deadline in ((False, None), (True, time.monotonic() + FAR)):
        wires = Wires()
        node = node_of(wires)
        wires.says = [b"+OK\r\n"]
        both = HalfExchange(node, [b"*1\r\n$4\r\nPING\r\n"], deadline, reads=False, last=last)
        both.begin()
        assert node.stats().in_use == 1
        assert both.finish() == [b"OK"]
        assert node.stats()[:2] == ((0, 0) if last else (1, 0))
    wires.failures = [ConnectionLost("refused"), ConnectionLost("again")]
    node = node_of(wires, 0, Breaker(1, 100.0, 100.0))
    for kind in (ConnectionLost, BreakerOpen):
        both = HalfExchange(node, [b"PING\r\n"], None, reads=True)
        both.begin()
        assert isinstance(both.finish(), kind)
    assert node.breaker.opened == 1


def test_of_several_nodes_the_numbers_are_added_and_the_worst_breaker_is_said() -> None:
    one = Stats._make([*range(1, 12), "closed", 40])
    other = Stats._make([*range(100, 111), "half-open", 3])
    both = summed([one, other])
    assert both == (*(a + b for a, b in zip(range(1, 12), range(100, 111))), "half-open", 43)
    assert summed([one, other._replace(breaker="open")]).breaker == "open"
    assert summed([one]) == one
    assert summed([one._replace(breaker="off")]).breaker == "off"


def test_without_a_breaker_every_call_is_tried(wires: Wires) -> None:
    node = node_of(wires, 0, NoBreaker())
    wires.failures = [ConnectionLost("refused") for _ in range(9)]
    for _ in range(9):
        with pytest.raises(ConnectionLost):
            node.call(("GET", "k"), FAR)
    assert (node.breaker.before(), node.breaker.calm, node.breaker.state) == (False, True, "closed")


def test_a_half_exchange_that_is_refused_or_interrupted_leaves_the_probe_to_who_has_it(wires: Wires) -> None:
    now = [0.0]
    breaker = Breaker(1, 10.0, 10.0, clock=lambda: now[0])
    node = node_of(wires, 0, breaker)
    breaker.failure()
    now[0] = 11.0
    assert breaker.before() is True
    refused = HalfExchange(node, [b"PING\r\n"], None, reads=True)
    refused.begin()
    assert isinstance(refused.finish(), BreakerOpen)
    assert breaker.state == "half-open"
    now[0] = 50.0
    wires.failures = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        HalfExchange(node, [b"PING\r\n"], None, reads=True).begin()
    assert breaker.state == "open"


def test_a_held_connection_has_the_time_that_it_is_given_and_a_closed_node_none(wires: Wires) -> None:
    node = node_of(wires)
    wires.says = [b"+OK\r\n"]
    held, _ = node.hold(("WATCH", "k"), FAR)
    wires.peers[0].send(b"+one\r\n")
    assert held.exchange([b"PING\r\n"], None) == [b"one"]
    with pytest.raises(Timeout):
        held.exchange([b"PING\r\n"], 0.02)
    node.close()
    with pytest.raises(ClientClosed):
        node.call(("PING",), FAR)


def test_a_call_gives_its_deadline_to_the_connection_that_it_makes(wires: Wires) -> None:
    node = node_of(wires)
    wires.says = [b"+OK\r\n", b"+OK\r\n"]
    before = time.monotonic()
    node.call(("PING",), 50.0)
    assert wires.deadlines[0] is not None
    assert 0 <= wires.deadlines[0] - before - 50.0 < 40
    node.pool.renew()
    node.call(("PING",), None)
    assert wires.deadlines[1] is None
