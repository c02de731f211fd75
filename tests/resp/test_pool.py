# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who gets which connection when: limits, order, waiting, age, closing, forking."""

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from resp import (
    Client,
    ClientClosed,
    Connection,
    ConnectionLost,
    Endpoint,
    InvalidArgument,
    Pool,
    PoolExhausted,
    Timeout,
)
from resp.pool import _Waiter
from tests.ports import free_port
from tests.resp.conftest import wait_for_news
from tests.resp.scripted import Exchange, Scripted
from tests.resp.servers import Server
from tests.waiting import wait_until

MakePool = Callable[..., Pool]


@pytest.fixture
def make(valkey: Server) -> Iterator[MakePool]:
    pools: list[Pool] = []

    def make_pool(**options: Any) -> Pool:
        pools.append(Pool(Endpoint(host=valkey.host, port=valkey.port), **options))
        return pools[-1]

    yield make_pool
    for pool in pools:
        pool.close()


def acquire(pool: Pool, seconds: float | None = 5.0, **options: Any) -> Connection:
    now = time.monotonic()
    return pool.acquire(now, None if seconds is None else now + seconds, **options)


def test_the_connection_used_last_is_used_next(make: MakePool) -> None:
    pool = make()
    first, second, third = (acquire(pool) for _ in range(3))
    for connection in (first, third, second):
        pool.release(connection)
    assert [acquire(pool) for _ in range(3)] == [second, third, first]


def test_only_so_many_idle_ones_are_kept(make: MakePool) -> None:
    pool = make(pool_size=2)
    connections = [acquire(pool) for _ in range(5)]
    for connection in connections:
        pool.release(connection)
    assert pool.stats().idle == 2
    assert [connection.closed for connection in connections] == [True, True, True, False, False]


def test_a_full_pool_says_how_full_it_is(make: MakePool) -> None:
    pool = make(max_connections=2, wait_timeout=0.2)
    held = [acquire(pool) for _ in range(2)]
    began = time.monotonic()
    with pytest.raises(PoolExhausted, match="2 of 2 in use"):
        acquire(pool)
    assert 0.15 < time.monotonic() - began < 0.5
    assert (pool.stats().exhausted, pool.stats().waited, pool.stats().waiting) == (1, 1, 0)
    pool.release(held.pop())
    assert acquire(pool).call("PING") == b"PONG"


def test_the_wait_ends_at_the_deadline_of_the_call_if_that_is_earlier(make: MakePool) -> None:
    pool = make(max_connections=1, wait_timeout=10)
    held = acquire(pool)
    began = time.monotonic()
    with pytest.raises(PoolExhausted):
        acquire(pool, 0.2)
    assert time.monotonic() - began < 0.5
    assert not held.closed


def test_who_waits_is_served_in_order_and_before_who_comes_later(make: MakePool) -> None:
    pool = make(max_connections=1)
    connection = acquire(pool)
    order: list[int] = []

    def work(number: int) -> None:
        mine = acquire(pool)
        order.append(number)
        pool.release(mine)

    threads = []
    for number in range(6):
        thread = threading.Thread(target=work, args=(number,))
        thread.start()
        threads.append(thread)
        wait_until(lambda expected=number: pool.stats().waiting == expected + 1)  # type: ignore[misc]  # a default
    pool.release(connection)
    for thread in threads:
        thread.join(5)
    assert order == list(range(6))
    assert pool.stats().created == 1


@pytest.mark.parametrize("how", ["release", "discard"])
def test_a_waiter_is_woken_at_once(make: MakePool, how: str) -> None:
    pool = make(max_connections=1)
    connection = acquire(pool)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: (acquire(pool), time.monotonic()))
        wait_until(lambda: pool.stats().waiting == 1)
        began = time.monotonic()
        getattr(pool, how)(connection)
        found, woken = waiting.result(5)
    assert woken - began < 0.2
    assert found.call("PING") == b"PONG"
    assert (found is connection) == (how == "release")


def test_a_connection_that_vanished_frees_its_place(make: MakePool) -> None:
    """As when an exception strikes after a connection was taken and before anybody could note it."""
    pool = make(max_connections=1)
    connection: Connection | None = acquire(pool)
    assert connection is not None
    descriptor = connection.fileno()
    connection = None
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert acquire(pool, 2.0).call("PING") == b"PONG"


def test_a_failed_attempt_to_connect_frees_its_place() -> None:
    pool = Pool(Endpoint(host="127.0.0.1", port=free_port()), max_connections=1)
    for _ in range(3):
        with pytest.raises(ConnectionLost):
            acquire(pool)
    assert (pool.stats().failed, pool.stats().in_use) == (3, 0)


def test_one_more_connection_can_be_had_in_the_place_of_an_idle_one(make: MakePool) -> None:
    pool = make(max_connections=2)
    first, second = acquire(pool), acquire(pool)
    pool.release(first)
    new = acquire(pool, fresh=True)
    assert new is not first
    assert first.closed
    assert not second.closed
    assert pool.stats().in_use == 2


# ---- connections that must not be used again -------------------------------------------------------------------------


def test_idle_connections_that_the_server_closed_are_replaced_unnoticed(make: MakePool, valkey: Server) -> None:
    pool = make()
    connections = [acquire(pool) for _ in range(3)]
    for connection in connections:
        pool.release(connection)
    valkey.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_for_news(*connections)
    found = acquire(pool)
    assert found.call("PING") == b"PONG"
    assert found not in connections
    assert pool.stats().replaced == 3


@pytest.mark.parametrize("late", [b"$5\r\nSTALE\r\n", b"+", b">1\r\n+push\r\n"])
def test_idle_connections_with_bytes_nobody_asked_for_are_replaced(late: bytes) -> None:
    idle = threading.Event()

    def script(exchange: Exchange) -> None:
        exchange.command()
        exchange.send(b"+PONG\r\n")
        if exchange.number == 1:
            assert idle.wait(30)
            exchange.send(late)
        exchange.command()
        exchange.send(b"+right\r\n")

    with Scripted(script) as server:
        pool = Pool(Endpoint(host=server.host, port=server.port))
        connection = acquire(pool)
        assert connection.call("PING") == b"PONG"
        pool.release(connection)
        idle.set()
        wait_for_news(connection)
        second = acquire(pool)
        assert second is not connection
        assert connection.closed
        pool.discard(second)


@pytest.mark.parametrize("limit", ["max_idle_time", "max_life_time"])
def test_old_connections_are_replaced(make: MakePool, limit: str) -> None:
    pool = make(**{limit: 0.1})
    connection = acquire(pool)
    pool.release(connection)
    assert acquire(pool) is connection
    pool.release(connection)
    wait_until(lambda: time.monotonic() > connection.idle_since + 0.1)
    assert acquire(pool) is not connection
    assert connection.closed


def test_life_times_differ(make: MakePool) -> None:
    pool = make(max_life_time=1000)
    lives = {round(connection.expires - connection.born, 3) for connection in [acquire(pool) for _ in range(8)]}
    assert len(lives) > 1
    assert all(900 <= life <= 1000 for life in lives)


class _Interrupted(_Waiter):
    """A waiter whose thread gets a KeyboardInterrupt; before that, what is said in `meanwhile` happens."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def __init__(self) -> None:
        super().__init__()
        self.gate = self  # type: ignore[assignment]  # what is called of a lock are these two

    def acquire(self, timeout: float) -> bool:
        self.meanwhile()
        raise KeyboardInterrupt

    def release(self) -> None:
        pass


@pytest.mark.parametrize("handed_over", [False, True])
def test_an_interruption_in_the_queue_reaches_the_caller_and_costs_no_connection(
    make: MakePool, monkeypatch: pytest.MonkeyPatch, handed_over: bool
) -> None:
    pool = make(max_connections=1)
    held = acquire(pool)
    monkeypatch.setattr("resp.pool._Waiter", _Interrupted)
    if handed_over:
        monkeypatch.setattr(_Interrupted, "meanwhile", lambda self: pool.release(held))
    with pytest.raises(KeyboardInterrupt):
        acquire(pool)
    monkeypatch.undo()
    assert pool.stats().waiting == 0
    assert pool.stats().in_use == (0 if handed_over else 1)
    if not handed_over:
        pool.release(held)
    assert acquire(pool) is held
    with pytest.raises(PoolExhausted):
        acquire(pool, 0.01)
    pool.release(held)


# ---- closing and forking ---------------------------------------------------------------------------------------------


def test_closing_closes_idle_connections_now_and_used_ones_later(make: MakePool) -> None:
    pool = make()
    idle, used = acquire(pool), acquire(pool)
    pool.release(idle)
    pool.close()
    assert idle.closed
    assert used.call("PING") == b"PONG"
    pool.release(used)
    assert used.closed
    with pytest.raises(ClientClosed):
        acquire(pool)


def test_closing_wakes_who_waits(make: MakePool) -> None:
    pool = make(max_connections=1)
    held = acquire(pool)
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(acquire, pool) for _ in range(3)]
        wait_until(lambda: pool.stats().waiting == 3)
        began = time.monotonic()
        pool.close()
        for future in waiting:
            with pytest.raises(ClientClosed):
                future.result(5)
        assert time.monotonic() - began < 1
    pool.release(held)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork_parent_and_child_use_different_connections(valkey: Server) -> None:
    client = Client(valkey.host, valkey.port)
    client.set("key", "value")
    parent_id = client.client_id()
    before = client.stats()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        # Never return into the test runner.
        try:
            empty = client.stats().idle == 0
            right = client.get("key") == b"value" and client.client_id() != parent_id
            os.write(writer, b"right" if right and empty else b"wrong")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 100) == b"right"
    os.close(reader)
    os.close(writer)
    assert client.client_id() == parent_id
    assert client.stats().created == before.created
    client.close()


def test_no_more_connections_than_allowed_and_every_value_right(valkey: Server) -> None:
    with Client(valkey.host, valkey.port, max_connections=4, pool_size=4, timeout=30, wait_timeout=30) as client:
        for number in range(64):
            client.set(f"key:{number}", f"value of {number}")
        most = 0

        def work(number: int) -> None:
            for turn in range(150):
                other = (number * 7 + turn) % 64
                assert client.get(f"key:{other}") == b"value of %d" % other

        with ThreadPoolExecutor(64) as threads:
            futures = [threads.submit(work, number) for number in range(64)]
            while not all(future.done() for future in futures):
                most = max(most, len(valkey.clients()))
            for future in futures:
                future.result()
        assert client.stats().created <= 4
        assert client.stats().in_use == 0
    assert most <= 5, "the four, and the one that asks"


def test_a_timeout_costs_one_connection_and_nothing_else() -> None:
    def script(exchange: Exchange) -> None:
        while True:
            name = exchange.command()[1]
            if name == b"slow":
                exchange.command()
            exchange.send(b"$%d\r\n%b\r\n" % (len(name), name))

    with Scripted(script) as server, Client(server.host, server.port, timeout=0.2, breaker=False) as client:
        assert client.get("a") == b"a"
        with pytest.raises(Timeout):
            client.get("slow")
        for name in "bcdef":
            assert client.get(name) == name.encode()
        assert server.connections == 2


@pytest.mark.parametrize(
    "options",
    [
        {"pool_size": -1},
        {"pool_size": 1.5},
        {"max_connections": 0},
        {"max_connections": True},
        {"wait_timeout": None},
        {"wait_timeout": -1},
        {"max_idle_time": "60"},
    ],
    ids=str,
)
def test_impossible_limits_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Pool(Endpoint(), **options)
