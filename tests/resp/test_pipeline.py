# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Many commands at once: results in order, errors in place, no deadlock; and transactions that are all or nothing."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resp import (
    Client,
    ConnectionLost,
    ExecAborted,
    InvalidArgument,
    ServerError,
    Timeout,
    Transaction,
    WatchError,
    WrongType,
)
from tests.resp.conftest import TlsServer
from tests.resp.scripted import Exchange, Scripted
from tests.resp.servers import Server


@pytest.fixture(params=[3, 2], ids=["RESP3", "RESP2"])
def client(request: pytest.FixtureRequest, real_server: Server) -> Iterator[Client]:
    with Client(real_server.host, real_server.port, protocol=request.param, timeout=30) as made:
        yield made


def test_results_come_in_order_and_in_the_form_of_the_single_calls(client: Client) -> None:
    with client.pipeline(transaction=False) as pipe:
        pipe.set("a", 1)
        pipe.get("a").incr("a").hset("h", "f", "v").hgetall("h").smembers("s").zadd("z", {"m": 1})
        pipe.zrange("z", 0, -1, withscores=True).execute_command("ECHO", "x")
        assert len(pipe) == 9
        assert pipe.execute() == [True, b"1", 2, 1, {b"f": b"v"}, set(), 1, [(b"m", 1.0)], b"x"]
        assert len(pipe) == 0
        assert pipe.execute() == []
        pipe.get("a")
        assert pipe.execute() == [b"2"]


def test_an_error_stands_in_its_place_and_hides_nothing(client: Client) -> None:
    client.set("text", "x")
    results = (
        client.pipeline(transaction=False)
        .lpush("text", 1)
        .get("text")
        .incr("text")
        .get("text")
        .execute(raise_on_error=False)
    )
    assert [type(result) for result in results] == [WrongType, bytes, ServerError, bytes]


def test_the_first_error_can_be_raised_after_all_have_run(client: Client) -> None:
    client.set("text", "x")
    with pytest.raises(WrongType):
        client.pipeline(transaction=False).lpush("text", 1).incr("text").set("after", 1).execute()
    assert client.get("after") == b"1"


def test_a_wrong_argument_is_reported_where_it_is_queued(client: Client) -> None:
    pipe = client.pipeline(transaction=False).set("a", 1)
    with pytest.raises(InvalidArgument):
        pipe.set("b", None)  # type: ignore[arg-type]  # what a program without type hints may do
    assert pipe.execute() == [True]


def test_leaving_the_block_forgets_what_is_queued(client: Client) -> None:
    with client.pipeline(transaction=False) as pipe:
        pipe.set("a", 1)
    assert pipe.execute() == []
    assert client.get("a") is None


@pytest.mark.parametrize("way", ["tcp", "unix", "tls"])
def test_no_amount_of_data_in_both_directions_ends_in_a_deadlock(tls_valkey: TlsServer, way: str) -> None:
    server = tls_valkey.server
    options: dict[str, Any] = {"host": server.host, "port": server.port}
    if way == "unix":
        options = {"unix_socket_path": server.unix_path}
    if way == "tls":
        context = tls_valkey.certificates.client_context()
        options = {"host": tls_valkey.host, "port": tls_valkey.port, "ssl": context}
    with Client(timeout=60, **options) as client:
        value = bytes(range(256)) * 2000
        client.set("large", value)
        pipe = client.pipeline(transaction=False)
        for number in range(60):
            pipe.get("large").set(f"copy:{number}", value).ping()
        results = pipe.execute()
    assert results[0::3] == [value] * 60
    assert results[1::3] == [True] * 60
    assert results[2::3] == [True] * 60


def test_a_server_that_answers_before_it_reads_on_is_no_deadlock() -> None:
    """It reads a command, writes a long answer, and reads nothing before that is gone: with tiny buffers in between."""
    answer = b"$300000\r\n" + b"x" * 300_000 + b"\r\n"

    def script(exchange: Exchange) -> None:
        for _ in range(40):
            exchange.command()
            exchange.send(answer)

    with Scripted(script) as server, Client(server.host, server.port, timeout=30) as client:
        pipe = client.pipeline(transaction=False)
        for _ in range(40):
            pipe.set("key", b"y" * 300_000)
        assert pipe.execute() == [b"x" * 300_000] * 40


def test_a_hundred_thousand_commands(client: Client) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(50_000):
        pipe.set(f"k{number % 100}", number).get(f"k{number % 100}")
    results = pipe.execute()
    assert results[1::2] == [b"%d" % number for number in range(50_000)]


def test_the_deadline_is_for_all_of_them_together() -> None:
    def script(exchange: Exchange) -> None:
        exchange.answer(b"+OK\r\n", b"+OK\r\n")
        exchange.command()
        exchange.command()

    with Scripted(script) as server, Client(server.host, server.port, timeout=0.3) as client:
        with pytest.raises(Timeout):
            client.pipeline(transaction=False).get("a").get("b").get("c").execute()
        assert client.stats().in_use == 0


@pytest.mark.parametrize(("write", "sent"), [(False, 2), (True, 1)])
def test_only_pipelines_of_reads_are_sent_again(write: bool, sent: int) -> None:
    times = []

    def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            exchange.answer(b"+OK\r\n")
            exchange.command()
            times.append(1)
            return
        times.append(exchange.number)
        exchange.answer(b"+a\r\n", b"+b\r\n")
        exchange.command()

    with Scripted(script) as server, Client(server.host, server.port) as client:
        client.execute("PING")
        pipe = client.pipeline(transaction=False).get("a")
        pipe = pipe.incr("b") if write else pipe.get("b")
        if write:
            with pytest.raises(ConnectionLost):
                pipe.execute()
        else:
            assert pipe.execute() == [b"a", b"b"]
    assert len(times) == sent


# ---- transactions ----------------------------------------------------------------------------------------------------


def test_a_transaction_is_executed_as_one(client: Client) -> None:
    with client.transaction() as queue:
        queue.set("a", 1)
        queue.incr("a").hset("h", "f", "v").hgetall("h")
        assert queue.execute() == [True, 2, 1, {b"f": b"v"}]
    assert isinstance(client.pipeline(transaction=True), Transaction)


def test_errors_of_a_transaction_stand_in_their_place(client: Client) -> None:
    client.set("text", "x")
    results = client.transaction().incr("text").set("after", 1).execute(raise_on_error=False)
    assert isinstance(results[0], ServerError)
    assert results[1] is True


def test_a_transaction_with_an_impossible_command_does_nothing(client: Client) -> None:
    queue = client.transaction().set("a", 1)
    queue.execute_command("NO-SUCH-COMMAND")
    with pytest.raises(ExecAborted) as caught:
        queue.execute()
    assert isinstance(caught.value.__cause__, ServerError)
    assert client.get("a") is None
    assert client.transaction().set("a", 1).execute() == [True]


def test_a_watched_key_that_changes_stops_the_transaction(client: Client) -> None:
    client.set("stock", 5)
    with client.transaction() as queue:
        queue.watch("stock")
        left = int(queue.get("stock"))
        client.set("stock", 99)
        queue.multi()
        queue.set("stock", left - 1)
        with pytest.raises(WatchError):
            queue.execute()
    assert client.get("stock") == b"99"
    assert client.stats().in_use == 0


def test_a_watched_key_that_stays_lets_it_pass(client: Client) -> None:
    client.set("stock", 5)
    with client.transaction() as queue:
        queue.watch("stock", "other")
        left = int(queue.get("stock"))
        queue.multi()
        queue.set("stock", left - 1)
        queue.get("stock")
        assert queue.execute() == [True, b"4"]
    assert client.stats().in_use == 0
    assert client.stats().idle >= 1


def test_what_was_watched_and_left_is_watched_no_more(client: Client) -> None:
    with client.transaction() as queue:
        queue.watch("key")
    assert client.stats().in_use == 0
    with client.transaction() as queue:
        queue.watch("key")
        queue.unwatch()
        client.set("key", 1)
        assert queue.set("key", 2).execute() == [True]


@pytest.mark.parametrize("give_up", [Transaction.reset, Transaction.discard, Transaction.close])
def test_what_is_queued_and_watched_can_be_given_up(client: Client, give_up: Callable[[Transaction], None]) -> None:
    pipe = client.pipeline()
    pipe.watch("k")
    pipe.multi()
    pipe.set("k", 1)
    give_up(pipe)
    assert (len(pipe), pipe.watching) == (0, False)
    assert pipe.execute() == []
    assert pipe.incr("other").execute() == [1], "it can be used again"
    assert client.get("k") is None
    assert client.stats().in_use == 0


def test_watching_comes_before_queueing(client: Client) -> None:
    with client.transaction() as queue:
        queue.set("a", 1)
        with pytest.raises(InvalidArgument):
            queue.watch("a")
        with pytest.raises(InvalidArgument):
            client.transaction().watch()


def test_a_function_is_called_again_until_nobody_interferes(client: Client) -> None:
    client.set("n", 0)

    def increment(queue: Transaction) -> str:
        value = int(queue.get("n"))
        queue.multi()
        queue.set("n", value + 1)
        return "done"

    def work() -> None:
        for _ in range(20):
            assert client.transaction(increment, "n") == [True]

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get("n") == b"80"
    assert client.transaction(increment, "n", value_from_callable=True) == "done"


@pytest.mark.parametrize("how", ["watching", "not watching"])
def test_a_transaction_whose_answer_is_lost_is_not_sent_again(how: str) -> None:
    seen: list[bytes] = []

    def script(exchange: Exchange) -> None:
        while True:
            name = exchange.command()[0]
            seen.append(name)
            if name == b"EXEC":
                return
            exchange.send(b"+OK\r\n")

    with Scripted(script) as server, Client(server.host, server.port, retries=3) as client:
        client.execute("ECHO", "warm")
        queue: Transaction = client.transaction()
        if how == "watching":
            queue.watch("key")
            queue.multi()
        queue.incr("key")
        with pytest.raises(ConnectionLost) as caught:
            queue.execute()
        assert caught.value.maybe_executed
        assert client.stats().in_use == 0
    assert seen.count(b"EXEC") == 1


def test_a_transaction_says_whether_it_watches(client: Client) -> None:
    seen = []
    with client.pipeline() as queue:
        seen.append(queue.watching)
        queue.watch("k")
        seen.append(queue.watching)
        queue.multi()
        seen.append(queue.watching)
        queue.unwatch()
        seen.append(queue.watching)
        queue.watch("k")
        queue.multi()
        assert queue.set("k", 1).execute() == [True]
        seen.append(queue.watching)
    assert seen == [False, True, True, False, False]
