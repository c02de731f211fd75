# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One connection over a pair of sockets, with the limits of the kernel and without: every form of reply by every way
through `roundtrip`, what is left behind it, what a lost connection says, and requests that are sent in pieces."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from resp import (
    Connection,
    ConnectionLost,
    Endpoint,
    Loading,
    ProtocolError,
    ServerError,
    Timeout,
    TooManyClients,
)
from resp.encoding import encode_command
from resp.errors import Desynchronised
from resp.protocol import LARGE_BUFFER, SMALL_BUFFER, Parser
from resp.values import INCOMPLETE
from tests.resp.scripted import GREETING, Exchange, Scripted, joined

PING = encode_command("PING")
FAR = 600.0

KERNEL = pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "settimeout"])


def pair(kernel: bool, **options: Any) -> tuple[Connection, Exchange]:
    connection, peer = joined(**options)
    assert connection._kernel
    connection._kernel = kernel
    return connection, peer


def asked(connection: Connection, request: Any = PING, timeout: float | None = FAR) -> Any:
    return connection.roundtrip(request, time.monotonic(), timeout)


@contextlib.contextmanager
def saying(peer: Exchange, *parts: bytes) -> Iterator[None]:
    """The server says this meanwhile; more of it than a socket takes."""

    def say() -> None:
        with contextlib.suppress(OSError):
            for part in parts:
                peer.send(part)

    thread = threading.Thread(target=say)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


BIG = b"x" * (LARGE_BUFFER + 5000)
MIDDLE = b"y" * (SMALL_BUFFER + 5000)

REPLIES: dict[str, tuple[bytes, Any]] = {
    "OK": (b"+OK\r\n", b"OK"),
    "null": (b"_\r\n", None),
    "null of old": (b"$-1\r\n", None),
    "0": (b":0\r\n", 0),
    "1": (b":1\r\n", 1),
    "12": (b":12\r\n", 12),
    "PONG": (b"+PONG\r\n", b"PONG"),
    "short": (b"+abc\r\n", b"abc"),
    "empty string": (b"$0\r\n\r\n", b""),
    "string": (b"$3\r\nabc\r\n", b"abc"),
    "string with line ends": (b"$4\r\n\r\n\r\n\r\n", b"\r\n\r\n"),
    "string of ten": (b"$10\r\n0123456789\r\n", b"0123456789"),
    "line of the same length": (b"+12345678901234\r\n", b"12345678901234"),
    "array": (b"*2\r\n:1\r\n$1\r\na\r\n", [1, b"a"]),
    "long array": (b"*9\r\n" + b"$5\r\nabcde\r\n" * 9, [b"abcde"] * 9),
    "array of another kind": (b"*9\r\n" + b":12345\r\n" * 9, [12345] * 9),
    "map": (
        b"%5\r\n" + b"".join(b"$4\r\nkey%d\r\n$2\r\nab\r\n" % at for at in range(5)),
        {b"key%d" % at: b"ab" for at in range(5)},
    ),
    "middle": (bulk(MIDDLE), MIDDLE),
    "big": (bulk(BIG), BIG),
}


@KERNEL
@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_the_same_by_every_way_and_however_often(name: str, kernel: bool) -> None:
    data, value = REPLIES[name]
    connection, peer = pair(kernel)
    for _ in range(3):
        with saying(peer, data):
            assert asked(connection) == value
        assert peer.arrived() == [[b"PING"]]
        assert connection.parser.idle
        assert connection.is_silent()
    with saying(peer, b"$2\r\nhi\r\n"):
        assert asked(connection) == b"hi"


@KERNEL
@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_that_comes_in_two_parts_is_put_together(name: str, kernel: bool) -> None:
    data, value = REPLIES[name]
    for cut in {1, 3, len(data) // 2, len(data) - 1}:
        connection, peer = pair(kernel)
        first = threading.Event()

        def say(peer: Exchange = peer, cut: int = cut, first: threading.Event = first) -> None:
            peer.send(data[:cut])
            first.wait(10)
            peer.send(data[cut:])

        thread = threading.Thread(target=say)
        thread.start()
        timer = threading.Timer(0.005, first.set)
        timer.start()
        assert asked(connection) == value
        thread.join()
        assert connection.parser.idle


@KERNEL
@pytest.mark.parametrize("name", REPLIES)
def test_more_than_one_reply_is_trusted_in_nothing(name: str, kernel: bool) -> None:
    data, _ = REPLIES[name]
    if len(data) > 60_000:
        return  # what is behind it is not there yet
    for extra in (b"+OK\r\n", b"+", b"*1\r\n"):
        connection, peer = pair(kernel)
        peer.send(data)
        assert connection.socket is not None
        asked(connection)  # as a reply of this length is known from now on
        peer.send(data + extra)
        with pytest.raises(Desynchronised):
            asked(connection)
        assert connection.closed


@KERNEL
@pytest.mark.parametrize("name", REPLIES)
def test_messages_around_a_reply_are_put_aside(name: str, kernel: bool) -> None:
    data, value = REPLIES[name]
    connection, peer = pair(kernel)
    with saying(peer, b">2\r\n+a\r\n:1\r\n" + data):
        assert asked(connection) == value
    assert list(connection.pushes) == [[b"a", 1]]
    if len(data) < 60_000:
        peer.send(data + b">1\r\n+b\r\n")
        assert asked(connection) == value
        assert list(connection.pushes) == [[b"a", 1], [b"b"]]
    assert not connection.closed


@KERNEL
def test_of_messages_that_nobody_takes_the_newest_are_kept(kernel: bool) -> None:
    connection, peer = pair(kernel)
    for first in (0, 200):
        peer.send(b"".join(b">1\r\n:%d\r\n" % number for number in range(first, first + 200)) + b"+OK\r\n")
        assert asked(connection) == b"OK"
    assert [found[0] for found in connection.pushes] == list(range(400 - 256, 400))


@KERNEL
@pytest.mark.parametrize(
    "data",
    [
        b"$3\r\nabcde\r\n",
        b"$3\r\nabc\rX",
        b"$3\r\nabcX\n",
        b"$12\r\nabcdefghijklX\n",
        b"$70000\r\n" + b"x" * 70000 + b"XY",
        b"$%d\r\n" % len(BIG) + BIG + b"XY",
        b"?\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
    ],
)
def test_what_is_no_reply_is_an_error_and_the_end_of_the_connection(data: bytes, kernel: bool) -> None:
    for known in (b"", bulk(b"abcd"), bulk(BIG)):
        connection, peer = pair(kernel)
        if known:
            with saying(peer, known):
                asked(connection)
        with saying(peer, data), pytest.raises(ProtocolError):
            asked(connection)
        assert connection.closed


@KERNEL
@pytest.mark.parametrize("second", ["OK", "string", "array", "middle", "12"])
def test_after_a_large_reply_one_of_another_size_is_itself(second: str, kernel: bool) -> None:
    connection, peer = pair(kernel)
    data, value = REPLIES[second]
    larger = b"z" * (len(BIG) * 4)
    for said, expected in ((bulk(BIG), BIG), (data, value), (bulk(BIG), BIG), (bulk(larger), larger), (data, value)):
        with saying(peer, said):
            assert asked(connection) == expected
        assert connection.parser.idle
    with saying(peer, bulk(BIG)):
        asked(connection)
    with saying(peer, b"-ERR no\r\n"):
        assert isinstance(asked(connection), ServerError)
    with saying(peer, bulk(BIG)):
        asked(connection)
    with saying(peer, b">1\r\n+m\r\n" + bulk(BIG)):
        assert asked(connection) == BIG
    with saying(peer, bulk(BIG)[:-1], b"\n"):
        assert asked(connection) == BIG


@KERNEL
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    ("part", "begun"), [(b"", False), (b"$", True), (bulk(b"abcd")[:-1], True), (bulk(BIG)[:-1], True)]
)
def test_an_end_says_whether_a_reply_had_begun(part: bytes, begun: bool, known: bool, kernel: bool) -> None:
    connection, peer = pair(kernel)
    if known:
        with saying(peer, bulk(BIG)):
            asked(connection)

    def say() -> None:
        peer.send(part)
        peer.sock.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=say)
    thread.start()
    with pytest.raises(ConnectionLost) as caught:
        asked(connection)
    thread.join(30)
    assert (caught.value.maybe_executed, caught.value.reply_begun, connection.closed) == (True, begun, True)


def test_what_could_not_be_sent_was_not_executed_where_that_is_known() -> None:
    for kernel in (True, False):
        connection, peer = pair(kernel)
        peer.sock.close()
        with pytest.raises(ConnectionLost) as caught:
            asked(connection)
        assert (caught.value.maybe_executed, caught.value.reply_begun) == (not kernel, False)
        with pytest.raises(ConnectionLost, match="closed") as caught:
            asked(connection)
        assert caught.value.maybe_executed is False


@KERNEL
def test_a_reply_that_does_not_come_is_a_timeout_and_what_was_sent_may_have_been_executed(kernel: bool) -> None:
    for part in (b"", b"$3\r\nab", b"$%d\r\n" % len(BIG)):
        connection, peer = pair(kernel)
        peer.send(part)
        with pytest.raises(Timeout) as caught:
            asked(connection, timeout=0.02)
        assert caught.value.maybe_executed
        assert connection.closed


@KERNEL
def test_a_reply_that_is_read_alone_comes_or_raises(kernel: bool) -> None:
    connection, peer = pair(kernel)
    peer.send(b"+one\r\n")
    assert connection.read_reply(time.monotonic() + FAR) == b"one"
    with pytest.raises(Timeout):
        connection.read_reply(time.monotonic() + 0.02)
    assert connection.closed
    with pytest.raises(ConnectionLost):
        connection.read_reply(time.monotonic() + FAR)


def test_who_waits_for_a_reply_in_vain_cannot_know_whether_it_was_done() -> None:
    """Where a handler of signals has to run, the main thread waits before it receives."""
    connection, _ = joined()
    sock = connection._prepare(None)
    with pytest.raises(Timeout) as caught:
        connection._wait_readable(sock, time.monotonic() + 0.01)
    assert caught.value.maybe_executed


@KERNEL
def test_a_time_counts_after_a_call_without_one(kernel: bool) -> None:
    connection, peer = pair(kernel)
    for timeout in (None, FAR, None, 50.0, FAR):
        sock = connection._prepare(None if timeout is None else time.monotonic() + timeout)
        left = connection._applied if kernel else sock.gettimeout()
        assert left is None if timeout is None else left is not None and timeout - 40 < left <= timeout
    peer.send(b"+OK\r\n")
    asked(connection, timeout=None)
    with pytest.raises(Timeout):
        asked(connection, timeout=0.02)


@KERNEL
def test_a_command_that_cannot_be_sent_in_time_was_not_executed(kernel: bool) -> None:
    connection, _ = pair(kernel)
    request = encode_command("SET", "k", b"x" * 4_000_000)
    with pytest.raises(Timeout) as caught:
        asked(connection, request, timeout=0.02)
    assert not caught.value.maybe_executed
    assert connection.closed


@KERNEL
@pytest.mark.parametrize("pieces", [1, 2, 700])
@pytest.mark.parametrize("size", [10, 9000, 4_000_000])
def test_a_request_of_any_number_of_pieces_arrives_whole(size: int, pieces: int, kernel: bool) -> None:
    connection, peer = pair(kernel)
    value = bytes(range(256)) * (size // 256) + b"!" * (size % 256)
    whole = encode_command("SET", "k", value)
    step = -(-len(whole) // pieces)
    request: Any = [whole[at : at + step] for at in range(0, len(whole), step)]
    got: list[Any] = []

    def serve() -> None:
        got.append(peer.command())
        peer.send(b"+OK\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    assert asked(connection, request[0] if pieces == 1 else request) == b"OK"
    thread.join(30)
    assert got == [[b"SET", b"k", value]]


@KERNEL
def test_pieces_that_are_empty_or_were_sent_already_are_passed_over(kernel: bool) -> None:
    connection, peer = pair(kernel)
    for taken, rest in ((0, b"abcdef"), (1, b"bcdef"), (2, b"cdef"), (3, b"def"), (5, b"f"), (6, b"")):
        connection._send([b"ab", b"", b"c", b"def"], None, taken)
        if rest:
            assert peer.sock.recv(100) == rest
    with pytest.raises(BlockingIOError):
        peer.sock.recv(1, socket.MSG_DONTWAIT)


@KERNEL
def test_a_pipeline_larger_than_the_sockets_take_ends(kernel: bool) -> None:
    connection, peer = pair(kernel)
    value = b"v" * 10_000
    chunks = [encode_command("ECHO", value) * 40 for _ in range(10)]

    def serve() -> None:
        for _ in range(400):
            assert peer.command()[0] == b"ECHO"
            peer.send(bulk(value))

    thread = threading.Thread(target=serve)
    thread.start()
    assert connection.exchange(chunks, 400, time.monotonic() + FAR) == [value] * 400
    thread.join(30)
    assert connection.is_silent()


@KERNEL
def test_a_pipeline_that_breaks_says_what_may_have_happened(kernel: bool) -> None:
    connection, peer = pair(kernel)
    peer.send(b"+OK\r\n+O")
    peer.sock.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionLost) as caught:
        connection.exchange([PING * 2], 2, None)
    assert (caught.value.maybe_executed, caught.value.reply_begun, connection.closed) == (True, True, True)
    for part in (b"", bulk(BIG)[:-100_000]):
        connection, peer = pair(kernel)

        def say(peer: Exchange = peer, part: bytes = part) -> None:
            peer.send(part)
            peer.sock.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=say)
        thread.start()
        with pytest.raises(ConnectionLost) as caught:
            connection.exchange([PING], 1, None)
        thread.join(30)
        assert (caught.value.maybe_executed, caught.value.reply_begun, connection.closed) == (True, bool(part), True)
    connection, peer = pair(kernel)
    peer.sock.close()
    with pytest.raises(ConnectionLost) as caught:
        connection.exchange([PING, PING], 2, None)
    assert (caught.value.maybe_executed, caught.value.reply_begun, connection.closed) == (not kernel, False, True)
    connection, peer = pair(kernel)
    with pytest.raises(Timeout) as late:
        connection.exchange([PING], 1, time.monotonic() + 0.02)
    assert (late.value.maybe_executed, connection.closed) == (True, True)
    connection, peer = pair(kernel)
    with pytest.raises(Timeout) as late:
        connection.exchange([b"x" * 4_000_000], 1, time.monotonic() + 0.02)
    assert (late.value.maybe_executed, connection.closed) == (True, True)
    with pytest.raises(ConnectionLost, match="closed") as caught:
        connection.exchange([PING], 1, None)
    assert caught.value.maybe_executed is False
    connection, peer = pair(kernel)
    peer.send(b"+OK\r\n+OK\r\n+OK\r\n")
    with pytest.raises(Desynchronised):
        connection.exchange([PING * 2], 2, None)
    assert connection.closed


def test_a_connection_is_silent_only_while_nothing_waits_in_it() -> None:
    connection, peer = joined()
    assert connection.is_silent()
    assert connection.fileno() >= 0
    peer.send(b"+")
    assert not connection.is_silent()
    connection.close()
    assert (connection.is_silent(), connection.fileno(), connection.closed) == (False, -1, True)
    connection, peer = joined()
    peer.sock.close()
    assert not connection.is_silent()


# ---- parting words ---------------------------------------------------------------------------------------------------


def test_what_a_server_said_before_it_hung_up_is_heard_though_nothing_can_be_sent() -> None:
    for kernel in (True, False):
        connection, peer = pair(kernel)
        peer.send(b"-ERR max number of clients reached\r\n")
        peer.sock.close()
        with pytest.raises((TooManyClients, ConnectionLost)) as caught:
            connection._introduce([("PING",)], time.monotonic() + FAR, Endpoint())
        assert isinstance(caught.value, TooManyClients if kernel else ConnectionLost)


@pytest.mark.parametrize("words", [b"", b"+OK\r\n", b"-ERR half", b"!nonsense\r\n"])
def test_parting_words_that_are_no_error_leave_the_connection_lost(words: bytes) -> None:
    connection, peer = joined()
    peer.send(words)
    peer.sock.close()
    with pytest.raises(ConnectionLost):
        connection._introduce([("PING",)], time.monotonic() + FAR, Endpoint())
    connection.close()
    assert connection._parting_words() is None


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (b"-ERR max number of clients reached\r\n", TooManyClients),
        (b"-DENIED not from there\r\n", ServerError),
        (b"-LOADING the dataset\r\n", Loading),
    ],
)
def test_a_refusal_at_the_door_is_raised_as_what_it_is(words: bytes, kind: type[ServerError]) -> None:
    with Scripted(lambda exchange: exchange.send(words), greeted=False) as server:
        connection = Connection(Endpoint(host=server.host, port=server.port))
        with pytest.raises(kind):
            connection.connect()
        assert connection.closed


@pytest.mark.parametrize("words", [b"-ERR max number of clients reached\r\n", b"-DENIED not from there\r\n"])
def test_who_is_refused_at_the_door_does_not_wait_for_more_words(words: bytes) -> None:
    def script(exchange: Exchange) -> None:
        exchange.command()
        exchange.send(words)
        while True:  # until the client leaves
            exchange.command()

    with Scripted(script, greeted=False) as server:
        connection = Connection(Endpoint(host=server.host, port=server.port, connect_timeout=2.0))
        with pytest.raises(ServerError):
            connection.connect()
        assert connection.closed


# ---- opening ---------------------------------------------------------------------------------------------------------


def test_a_server_that_hangs_up_on_hello_is_spoken_to_plainly_over_another_connection() -> None:
    said: list[list[bytes]] = []

    def script(exchange: Exchange) -> None:
        said.append(exchange.command())
        if exchange.number == 1:
            return
        while said[-1] != [b"PING"]:
            exchange.send(b"+OK\r\n")
            said.append(exchange.command())
        exchange.send(b"+PONG\r\n")
        exchange.answer(b"+PONG\r\n")

    with Scripted(script, greeted=False) as server:
        connection = Connection(Endpoint(host=server.host, port=server.port, password="secret", db=3)).connect()
        assert connection.protocol == 2
        assert connection.call("PING") == b"PONG"
        connection.close()
    assert said[0][0] == b"HELLO"
    assert said[1:4] == [[b"AUTH", b"secret"], [b"SELECT", b"3"], [b"PING"]]


@pytest.mark.parametrize("behind", [b"+OK\r\n", b"+O", b":1\r\n"])
def test_a_handshake_with_something_behind_it_is_no_connection(behind: bytes) -> None:
    def script(exchange: Exchange) -> None:
        for _ in range(3):
            exchange.command()
        exchange.send(GREETING + b"+OK\r\n+OK\r\n" + behind)
        exchange.command()

    with Scripted(script, greeted=False) as server:
        connection = Connection(Endpoint(host=server.host, port=server.port))
        with pytest.raises(Desynchronised):
            connection.connect()
        assert connection.closed


def test_a_message_behind_the_handshake_is_kept() -> None:
    def script(exchange: Exchange) -> None:
        for _ in range(3):
            exchange.command()
        exchange.send(GREETING + b"+OK\r\n+OK\r\n>1\r\n+early\r\n>1\r\n+l")
        exchange.command()
        exchange.send(b"ate\r\n+PONG\r\n")
        exchange.command()

    with Scripted(script, greeted=False) as server:
        connection = Connection(Endpoint(host=server.host, port=server.port)).connect()
        assert list(connection.pushes) == [[b"early"]]
        assert connection.call("PING") == b"PONG"
        assert list(connection.pushes) == [[b"early"], [b"late"]]
        connection.close()


# ---- the parser's buffer ---------------------------------------------------------------------------------------------


def test_the_large_buffer_is_kept_while_large_replies_come_and_given_back_after_small_ones() -> None:
    connection, peer = joined()
    parser = connection.parser
    assert len(parser.buffer) == SMALL_BUFFER
    with saying(peer, bulk(MIDDLE)):
        asked(connection)
    assert len(parser.buffer) == LARGE_BUFFER

    def small_ones(rounds: int) -> None:
        for _ in range(rounds):
            for data in (b"+OK\r\n", bulk(b"abcd"), b"*9\r\n" + b"$5\r\nabcde\r\n" * 9, b":12\r\n"):
                peer.send(data)
                asked(connection)
            peer.arrived()

    small_ones(50)
    assert len(parser.buffer) == LARGE_BUFFER
    with saying(peer, bulk(MIDDLE)):
        assert asked(connection) == MIDDLE
    small_ones(63)
    assert len(parser.buffer) == LARGE_BUFFER, "a large one lets the count begin anew"
    small_ones(2)
    assert len(parser.buffer) == SMALL_BUFFER
    assert parser.get() is INCOMPLETE
    given = parser.buffer
    small_ones(70)
    assert parser.buffer is given, "it is given back once"


def test_what_is_taken_out_of_the_buffer_counts_by_its_size() -> None:
    parser = Parser()
    parser.feed(bulk(MIDDLE)[:100])
    assert parser.get() is INCOMPLETE
    parser.feed(bulk(MIDDLE)[100:])
    assert parser.get() == MIDDLE
    for _ in range(3):
        before = parser.calm
        parser.keep(SMALL_BUFFER)
        assert parser.calm == before - 1
    parser.keep(SMALL_BUFFER + 1)
    assert parser.calm > before
    parser.feed(b"+OK\r\n")
    assert parser.get() == b"OK"
    parser.keep(10)
    assert (parser.pos, parser.end) == (0, 0)
