# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""No write is ever executed twice, whatever happens to its reply; reads are asked again where that helps.

Counted on the server: the values that INCR and APPEND leave behind say how often they ran.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest

from resp import Client, ConnectionLost, RespError, Timeout
from tests.resp.chaos import Direction, Fault, Kind
from tests.resp.conftest import AnyServer, Through
from tests.resp.scripted import Exchange, Scripted
from tests.resp.servers import Server
from tests.waiting import wait_until


def number(server: AnyServer, key: str = "n") -> int:
    value = server.ask("GET", key)
    return int(value) if isinstance(value, bytes) else 0


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_an_increment_whose_reply_is_lost_ran_once_and_says_that_it_may_have(
    server: AnyServer, through: Through, kind: Kind
) -> None:
    route = through(server.address)
    with route.client() as client:
        for runs in range(1, 4):
            client.ping()
            route.proxy.arm(Fault(kind))
            with pytest.raises(ConnectionLost) as caught:
                client.incr("n")
            assert caught.value.maybe_executed
            assert number(server) == runs


def test_an_increment_whose_reply_comes_too_late_ran_once(server: AnyServer, through: Through) -> None:
    route = through(server.address)
    with route.client(timeout=0.2) as client:
        for runs in range(1, 4):
            client.ping()
            route.proxy.arm(Fault("pause", seconds=20))
            with pytest.raises(Timeout) as caught:
                client.incr("n")
            assert caught.value.maybe_executed
            assert number(server) == runs


def test_a_pipeline_whose_server_stops_reading_may_have_run() -> None:
    """What a server took before it stopped it may have executed; nobody knows how far it came."""
    release = threading.Event()

    def script(exchange: Exchange) -> None:
        exchange.command()
        release.wait(60)

    with Scripted(script) as server, Client(server.host, server.port, timeout=0.5) as client:
        pipeline = client.pipeline()
        for _ in range(40):
            pipeline.set("key", b"x" * 1_000_000)
        with pytest.raises(Timeout) as caught:
            pipeline.execute()
        assert caught.value.maybe_executed
        release.set()


WRITES: list[tuple[str, Callable[[Client], Any]]] = [
    ("APPEND", lambda client: client.execute("APPEND", "log", "x")),
    ("SET", lambda client: client.set("n", "1")),
    ("SETEX", lambda client: client.setex("n", 60, "1")),
    ("DEL", lambda client: client.delete("n")),
    ("MSET", lambda client: client.mset({"n": "1"})),
    ("GETDEL", lambda client: client.getdel("n")),
    ("EXPIRE", lambda client: client.expire("n", 60)),
    ("EVAL", lambda client: client.eval("return redis.call('INCR', KEYS[1])", 1, "n")),
]


@pytest.mark.parametrize("kind", ["cut", "reset"])
@pytest.mark.parametrize(("name", "write"), WRITES, ids=[name for name, _ in WRITES])
def test_no_write_is_sent_again_not_even_an_idempotent_one(
    real_server: Server, through_plain: Through, kind: Kind, name: str, write: Callable[[Client], Any]
) -> None:
    route = through_plain(real_server.address)
    with route.client() as client:
        client.ping()
        route.proxy.arm(Fault(kind))
        with pytest.raises(ConnectionLost):
            write(client)
    stats = real_server.ask("INFO", "commandstats")
    assert isinstance(stats, bytes)
    assert f"cmdstat_{name.lower()}:calls=1,".encode() in stats


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_read_on_a_connection_that_died_before_its_reply_is_asked_again(
    server: AnyServer, through: Through, kind: Kind
) -> None:
    server.ask("SET", "a", "1")
    route = through(server.address)
    with route.client() as client:
        for _ in range(3):
            client.ping()
            route.proxy.arm(Fault(kind))
            assert client.get("a") == b"1"


def settle(client: Client) -> None:
    """Call until one succeeds: a fault that is still waiting for its byte strikes here."""
    for _ in range(3):
        try:
            client.ping()
            return
        except ConnectionLost:
            continue
    client.ping()


@pytest.mark.parametrize("direction", ["to client", "to server"])
def test_increments_under_random_trouble_run_once_if_they_succeed_and_at_most_once_if_not(
    server: AnyServer, through_plain: Through, direction: Direction
) -> None:
    route = through_plain(server.address)
    sure = maybe = 0
    with route.client(timeout=1.0) as client:
        for step in range(150):
            settle(client)
            if step % 2:
                route.proxy.arm(Fault("reset" if step % 4 == 1 else "cut", after=step % 29, direction=direction))
            try:
                client.incr("n")
                sure += 1
            except (ConnectionLost, Timeout) as error:
                maybe += error.maybe_executed
    assert sure <= number(server) <= sure + maybe
    assert maybe > 0 if direction == "to client" else sure > 0


def test_a_pipeline_of_writes_whose_replies_are_cut_ran_once(server: AnyServer, through: Through) -> None:
    route = through(server.address)
    runs = 0
    with route.client() as client:
        for after in range(0, 12, 2):
            client.ping()
            route.proxy.arm(Fault("cut", after=after))
            pipe = client.pipeline(transaction=False)
            for _ in range(3):
                pipe.incr("n")
            with pytest.raises(ConnectionLost):
                pipe.execute()
            runs += 3
            wait_until(lambda: number(server) >= runs)  # noqa: B023  # called at once; the reply was lost, not the work
            assert number(server) == runs


def test_a_write_to_a_connection_that_the_server_closed_meanwhile_succeeds_or_says_so(
    real_server: Server, through_plain: Through
) -> None:
    """CLIENT KILL and the write race; what counts is that nothing runs twice."""
    route = through_plain(real_server.address)
    succeeded = failed = 0
    with route.client() as client, real_server.console() as console:
        for _ in range(50):
            client.ping()
            console.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            try:
                client.incr("n")
                succeeded += 1
            except ConnectionLost:
                failed += 1
    assert succeeded <= number(real_server) <= succeeded + failed


def test_increments_of_many_threads_under_resets_add_up(valkey: Server, through_plain: Through) -> None:
    route = through_plain(valkey.address)
    outcomes: list[str] = []

    def work(_: int) -> None:
        for _ in range(60):
            try:
                client.incr("n")
                outcomes.append("sure")
            except (ConnectionLost, Timeout) as error:
                outcomes.append("maybe" if error.maybe_executed else "no")
            except RespError:
                outcomes.append("no")

    with route.client(max_connections=8) as client, ThreadPoolExecutor(16) as threads:
        work_left = [threads.submit(work, number) for number in range(16)]
        while wait(work_left, timeout=0.01).not_done:
            route.proxy.reset()
        for one in work_left:
            one.result()
    assert outcomes.count("sure") <= number(valkey) <= outcomes.count("sure") + outcomes.count("maybe")
