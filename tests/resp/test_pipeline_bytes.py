# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Pipelines and transactions over pairs of sockets: what is sent, in which order, and what each answer means."""

from typing import Any

import pytest

from resp import (
    ConnectionLost,
    ExecAborted,
    InvalidArgument,
    Pipeline,
    ProtocolError,
    ServerError,
    Transaction,
    WatchError,
    WrongType,
)
from resp.pipeline import pauses
from tests.resp.test_pool_and_node_bytes import FAR, Wires, node_of


class Bench:
    """A queue over one server, which says `replies` at once; what it was asked."""

    def __init__(self, kind: type[Pipeline], replies: bytes = b"", **options: Any) -> None:
        self.wires = Wires()
        self.wires.says = [replies]
        self.node = node_of(self.wires)
        self.queue: Any = kind(self.node, timeout=FAR, **options)

    def say(self, replies: bytes) -> None:
        self.wires.peers[-1].send(replies)

    def said(self) -> list[str]:
        return [b" ".join(command).decode() for peer in self.wires.peers for command in peer.arrived()]

    @property
    def idle(self) -> int:
        return self.node.stats().idle


# ---- pipelines -------------------------------------------------------------------------------------------------------


def test_a_pipeline_is_its_commands_in_order_and_is_empty_after_it() -> None:
    bench = Bench(Pipeline, b"+OK\r\n$1\r\nx\r\n:1\r\n")
    pipe = bench.queue
    assert pipe.set("a", "x") is pipe
    assert pipe.get("a").execute_command("OBJECT FREQ", "a") is pipe
    assert (len(pipe), bool(pipe)) == (3, True)
    assert pipe.execute() == [True, b"x", 1]
    assert bench.said() == ["SET a x", "GET a", "OBJECT FREQ a"]
    assert (len(pipe), bool(pipe), pipe.execute(), bench.idle) == (0, True, [], 1)
    assert bench.said() == []


def test_text_is_decoded_where_that_was_asked_for() -> None:
    bench = Bench(Pipeline, b"$1\r\nx\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n", decode=True)
    assert bench.queue.get("a").hgetall("h").execute() == ["x", {"a": "b"}]


@pytest.mark.parametrize("end", ["reset", "discard", "close", "with"])
def test_what_is_queued_can_be_forgotten(end: str) -> None:
    bench = Bench(Pipeline)
    if end == "with":
        with bench.queue as pipe:
            pipe.set("a", 1)
    else:
        bench.queue.set("a", 1)
        getattr(bench.queue, end)()
    assert (len(bench.queue), bench.queue.execute(), bench.wires.peers) == (0, [], [])


def test_an_error_knows_its_command_and_its_place_and_is_raised_or_left() -> None:
    replies = b"+OK\r\n-WRONGTYPE no\r\n-ERR no\r\n"
    bench = Bench(Pipeline, replies)
    with pytest.raises(WrongType) as caught:
        bench.queue.set("a", 1).lpush("a", 1).incr("a").execute()
    assert (caught.value.place, caught.value.command) == (1, "LPUSH")
    bench.say(replies)
    found = bench.queue.set("a", 1).lpush("a", 1).incr("a").execute(raise_on_error=False)
    assert found[0] is True
    assert [(type(error), error.place, error.command) for error in found[1:]] == [
        (WrongType, 1, "LPUSH"),
        (ServerError, 2, "INCRBY"),
    ]


def test_a_pipeline_that_changed_its_connection_gives_it_to_nobody() -> None:
    bench = Bench(Pipeline, b"+OK\r\n+OK\r\n")
    bench.queue.execute_command("SELECT", 3).set("a", 1)
    bench.queue.execute()
    assert bench.idle == 0
    with pytest.raises(InvalidArgument):
        bench.queue.execute_command("SUBSCRIBE", "a")


# ---- transactions ----------------------------------------------------------------------------------------------------

QUEUED = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n"


def test_a_transaction_stands_between_multi_and_exec() -> None:
    bench = Bench(Transaction, QUEUED + b"*2\r\n+OK\r\n$1\r\nx\r\n")
    queue = bench.queue
    assert queue.set("a", "x").get("a") is queue
    assert queue.execute() == [True, b"x"]
    assert bench.said() == ["MULTI", "SET a x", "GET a", "EXEC"]
    assert (bench.idle, queue.execute(), queue.watching) == (1, [], False)


def test_errors_inside_a_transaction_stand_in_their_places() -> None:
    bench = Bench(Transaction, QUEUED + b"*2\r\n-WRONGTYPE no\r\n$1\r\nx\r\n")
    found = bench.queue.lpush("a", "x").get("a").execute(raise_on_error=False)
    assert (type(found[0]), found[0].place, found[0].command, found[1]) == (WrongType, 0, "LPUSH", b"x")


@pytest.mark.parametrize(
    ("outcome", "error", "said"),
    [
        (b"_\r\n", WatchError, "nothing was executed"),
        (b"*-1\r\n", WatchError, "nothing was executed"),
        (b"+OK\r\n", ProtocolError, "one result for each"),
        (b"*1\r\n+OK\r\n", ProtocolError, "one result for each"),
        (b"*3\r\n+OK\r\n+OK\r\n+OK\r\n", ProtocolError, "one result for each"),
        (b"-MINE no\r\n", ServerError, "MINE no"),
    ],
)
def test_what_exec_may_say_instead(outcome: bytes, error: type[Exception], said: str) -> None:
    bench = Bench(Transaction, QUEUED + outcome)
    bench.queue.set("a", 1).set("b", 2)
    with pytest.raises(error, match=said):
        bench.queue.execute()
    assert len(bench.queue) == 0


def test_an_aborted_transaction_says_which_of_its_commands_was_the_cause() -> None:
    bench = Bench(Transaction, b"+OK\r\n+QUEUED\r\n-ERR wrong number\r\n-EXECABORT discarded\r\n")
    bench.queue.set("a", 1).execute_command("GET")
    with pytest.raises(ExecAborted) as caught:
        bench.queue.execute()
    cause = caught.value.__cause__
    assert isinstance(cause, ServerError)
    assert (cause.place, cause.command) == (1, "GET")
    bench = Bench(Transaction, b"-ERR MULTI is forbidden\r\n+QUEUED\r\n-EXECABORT discarded\r\n")
    bench.queue.set("a", 1)
    with pytest.raises(ExecAborted) as caught:
        bench.queue.execute()
    cause = caught.value.__cause__
    assert isinstance(cause, ServerError)
    assert (cause.place, cause.command) == (None, None)


def test_between_watch_and_multi_commands_run_at_once() -> None:
    bench = Bench(Transaction, b"+OK\r\n")
    queue = bench.queue
    assert (queue.watching, queue.watch("a"), queue.watching) == (False, True, True)
    bench.say(b"$1\r\n5\r\n")
    assert queue.get("a") == b"5"
    bench.say(b"+OK\r\n")
    assert queue.watch("b", "c") is True
    queue.multi()
    assert queue.set("a", 6) is queue
    bench.say(b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n")
    assert queue.execute() == [True]
    assert bench.said() == ["WATCH a", "GET a", "WATCH b c", "MULTI", "SET a 6", "EXEC"]
    assert (queue.watching, bench.idle, len(bench.wires.peers)) == (False, 1, 1)
    assert queue.get("a") is queue, "it is queued again"


def test_exec_is_sent_for_a_watch_even_if_nothing_is_queued() -> None:
    bench = Bench(Transaction, b"+OK\r\n")
    bench.queue.watch("a")
    bench.say(b"+OK\r\n_\r\n")
    with pytest.raises(WatchError):
        bench.queue.execute()
    assert bench.said() == ["WATCH a", "MULTI", "EXEC"]


def test_unwatching_ends_the_watch_and_commands_are_queued() -> None:
    bench = Bench(Transaction, b"+OK\r\n")
    queue = bench.queue
    assert queue.unwatch() is True
    assert bench.wires.peers == []
    queue.watch("a")
    bench.say(b"+OK\r\n")
    assert queue.unwatch() is True
    assert (queue.watching, bench.said()) == (False, ["WATCH a", "UNWATCH"])
    assert queue.get("a") is queue
    bench.say(b"+OK\r\n+QUEUED\r\n*1\r\n$1\r\nx\r\n")
    assert queue.execute() == [b"x"]


def test_a_watch_that_led_to_nothing_ends_with_its_connection() -> None:
    bench = Bench(Transaction, b"+OK\r\n")
    with bench.queue as queue:
        queue.watch("a")
    assert (queue.watching, bench.node.stats()[:2]) == (False, (0, 0))


def test_a_watch_is_refused_where_it_comes_too_late_or_is_of_nothing() -> None:
    bench = Bench(Transaction)
    with pytest.raises(InvalidArgument, match="at least one key"):
        bench.queue.watch()
    bench.queue.set("a", 1)
    with pytest.raises(InvalidArgument, match="comes before"):
        bench.queue.watch("a")
    bench = Bench(Transaction, b"-NOPERM no\r\n")
    with pytest.raises(ServerError) as caught:
        bench.queue.watch("a")
    assert caught.value.command == "WATCH"


def test_a_lost_watch_is_said_so_until_one_starts_over() -> None:
    bench = Bench(Transaction, b"+OK\r\n")
    queue = bench.queue
    queue.watch("a")
    bench.wires.peers[0].sock.shutdown(1)
    with pytest.raises(ConnectionLost):
        queue.get("a")
    assert not queue.watching
    with pytest.raises(WatchError, match="is lost"):
        queue.get("a")
    with pytest.raises(WatchError, match="is lost"):
        queue.execute()
    bench.wires.says = [b"+OK\r\n"]
    assert queue.watch("a") is True
    assert queue.watching
    bench.wires.peers[1].sock.shutdown(1)
    with pytest.raises(ConnectionLost):
        queue.get("a")
    bench.wires.says = [b"+OK\r\n"]
    assert queue.watch("a") is True, "also without the end of what was lost"


def test_replies_at_once_are_text_where_that_was_asked_for_and_errors_are_raised() -> None:
    bench = Bench(Transaction, b"+OK\r\n", decode=True)
    bench.queue.watch("a")
    bench.say(b"$1\r\nx\r\n")
    assert bench.queue.get("a") == "x"
    bench.say(b"-WRONGTYPE no\r\n")
    with pytest.raises(WrongType) as caught:
        bench.queue.lpush("a", 1)
    assert caught.value.command == "LPUSH"


def test_a_transaction_that_changed_its_connection_gives_it_to_nobody() -> None:
    bench = Bench(Transaction, b"+OK\r\n")
    bench.queue.watch("a")
    bench.queue.multi()
    bench.queue.execute_command("SELECT", 3)
    bench.say(b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n")
    assert bench.queue.execute() == [b"OK"]
    assert bench.node.stats()[:2] == (0, 0)


def test_pauses_between_attempts_double_up_to_a_twentieth_of_a_second() -> None:
    steps = pauses()
    found = [next(steps) for _ in range(10)]
    assert found == [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.05, 0.05, 0.05]
