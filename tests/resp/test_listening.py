# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What those stand on that listen: lines over pairs of sockets, wakers, callbacks, waiting."""

import contextlib
import socket
import time

import pytest

from resp import Connection, ConnectionLost, Endpoint, ProtocolError, Push, Timeout
from resp.listening import Callbacks, Fixed, Line, Waker, backoff, upstream_of, wait
from tests.resp.scripted import Exchange, joined

FAR = 600.0
"""Seconds that no test has: what waits so long does not end by itself."""


def lined(*, protocol: int = 3) -> tuple[Line, Exchange]:
    connection, peer = joined(protocol=protocol)
    return Line(connection), peer


# ---- wakers and callbacks
# ------------------------------------------------------------------------------------------------


def test_a_waker_ends_a_wait_until_it_is_cleared_however_often_it_rang() -> None:
    waker = Waker()
    for _ in range(5000):  # more than the socket takes
        waker.wake()
    for _ in range(2):
        wait((), waker, FAR)
    waker.clear()
    began = time.monotonic()
    wait((), waker, 0.01)
    assert time.monotonic() - began >= 0.009
    waker.clear()
    waker.close()
    waker.wake()
    waker.clear()
    assert (waker.fileno(), waker._writer.fileno()) == (-1, -1)


def test_bells_ring_for_all_that_are_still_there() -> None:
    class Ear:
        def __init__(self) -> None:
            self.heard = 0

        def ring(self) -> None:
            self.heard += 1

    callbacks, ears = Callbacks(), [Ear(), Ear(), Ear()]
    for ear in ears:
        callbacks.add(ear.ring)
    callbacks.call()
    del ear
    gone = ears.pop(1)
    assert gone.heard == 1
    del gone
    callbacks.call()
    callbacks.call()
    assert [ear.heard for ear in ears] == [3, 3]
    assert len(callbacks._callbacks) == 2


# ---- a line ----------------------------------------------------------------------------------------------------------


def test_a_line_hands_out_replies_and_messages_in_the_order_of_the_server() -> None:
    line, peer = lined()
    assert (line.resp3, lined(protocol=2)[0].resp3) == (True, False)
    assert [line.more, line.items(), line.more] == [True, [], False]
    peer.send(b">1\r\n+a\r\n+b\r\n>1\r\n+c\r\n:1\r\n>1\r\n+d\r\n+half")
    found = line.items()
    assert found == [[b"a"], b"b", [b"c"], 1, [b"d"]]
    assert [isinstance(one, Push) for one in found] == [True, False, True, False, True]
    peer.send(b" of it\r\n")
    assert line.items() == [b"half of it"]


def test_what_a_connection_had_received_is_not_lost_when_a_line_takes_it_over() -> None:
    connection, peer = joined()
    connection.parser.feed(b">1\r\n+early\r\n")
    assert connection.parser.get() is not None
    line = Line(connection)
    assert line.more
    wait([line], None, FAR)
    peer.send(b"+late\r\n")
    assert line.items() == [[b"early"], b"late"]


def test_a_closed_connection_is_no_line() -> None:
    with pytest.raises(ConnectionLost, match="closed"):
        Line(Connection(Endpoint()))


def test_hearing_anything_is_a_sign_of_life() -> None:
    line, peer = lined()
    line.heard = -1.0
    assert line.probe(0.0, FAR) == FAR
    assert line.asked is not None
    assert line.items() == []
    assert (line.heard, line.asked is None) == (-1.0, False)
    peer.send(b"+ha")
    assert line.items() == []
    assert line.heard > 0
    assert line.asked is None


def test_a_silent_line_is_asked_once_and_given_up_after_that() -> None:
    line, peer = lined()
    assert FAR - 60 < line.probe(FAR, 1.0) <= FAR
    assert peer.arrived() == []
    assert line.probe(0.0, FAR) == FAR
    assert FAR - 60 < line.probe(0.0, FAR) <= FAR
    assert peer.arrived() == [[b"PING"]]
    with pytest.raises(ConnectionLost, match="PING was not answered within 0 s"):
        line.probe(0.0, 0.0)


def _there(peer: Exchange) -> bytes:
    """All that has arrived at the server."""
    got = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            got += peer.sock.recv(1 << 20, socket.MSG_DONTWAIT)
    return got


def test_what_the_socket_does_not_take_is_sent_when_it_has_room_again() -> None:
    line, peer = lined()
    value = b"x" * 8_000_000
    line.send(("SET", "k", value), ("GET", "k"))
    assert [line.wants_to_send, line.items()] == [True, []]
    got = _there(peer)
    while line.wants_to_send:
        wait([line], None, FAR)
        assert line.items() == []
        got += _there(peer)
    assert got == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8000000\r\n" + value + b"\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"


def test_the_end_comes_after_everything_before_it() -> None:
    line, peer = lined()
    peer.send(b"+last\r\n")
    peer.sock.close()
    assert line.items() == [b"last"]
    assert line.more
    with pytest.raises(ConnectionLost, match="closed"):
        line.items()
    line, peer = lined()
    peer.send(b"+good\r\n!nonsense\r\n")
    assert line.items() == [b"good"]
    assert line.more
    with pytest.raises(ProtocolError):
        line.items()


def test_a_line_that_is_closed_neither_sends_nor_receives() -> None:
    line, peer = lined()
    line.close()
    assert line.fileno() == -1
    assert peer.sock.recv(1) == b""
    with pytest.raises(ConnectionLost, match=r"receiving failed \(OSError\)"):
        line.items()
    with pytest.raises(ConnectionLost, match=r"sending failed \(OSError\)"):
        line.send(("PING",))


def test_a_flood_is_handed_out_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    line, peer = lined()
    monkeypatch.setattr("resp.listening._ROUNDS", 1)
    value = b"+" + b"x" * 6000 + b"\r\n"
    peer.send(value * 25)
    parts = [line.items()]
    while line.more:
        parts.append(line.items())
    assert len(parts) > 1
    assert [item for part in parts for item in part] == [b"x" * 6000] * 25


def test_a_call_gets_its_reply_and_keeps_what_comes_after_it() -> None:
    line, peer = lined()
    peer.send(b">1\r\n+before\r\n+mine\r\n>1\r\n+after\r\n:7\r\n")
    assert line.call("CLIENT", "ID", deadline=time.monotonic() + FAR) == b"mine"
    assert peer.arrived() == [[b"CLIENT", b"ID"]]
    assert line.more
    peer.send(b":8\r\n")
    assert line.items() == [[b"after"], 7, 8]
    assert line.items() == []


def test_a_call_that_is_not_answered_in_time_says_so() -> None:
    line, peer = lined()
    peer.send(b">1\r\n+before\r\n")
    with pytest.raises(Timeout):
        line.call("PING", deadline=time.monotonic())
    peer.sock.close()
    with pytest.raises(ConnectionLost):
        line.call("PING", deadline=time.monotonic() + FAR)


# ---- waiting ---------------------------------------------------------------------------------------------------------


def test_a_wait_ends_with_what_comes_over_any_line_or_was_there_before() -> None:
    (first, one), (second, _) = lined(), lined()
    first.items()
    wait([first, second], None, FAR)  # nobody has looked at the second one yet
    second.items()
    one.send(b"+OK\r\n")
    wait([first, second], None, FAR)
    assert first.items() == [b"OK"]
    wait([first, second], None, -1.0)
    second.close()
    wait([first, second], Waker(), FAR)  # who reads it is told that it is closed
    first.more = True
    wait([first], None, FAR)


def test_a_wait_ends_when_there_is_room_to_send_only_if_there_is_something_to_send() -> None:
    line, peer = lined()
    line.items()
    began = time.monotonic()
    wait([line], None, 0.01)
    assert time.monotonic() - began >= 0.009
    line.send(("SET", "k", b"x" * 8_000_000))
    while line.wants_to_send:
        assert _there(peer)
        wait([line], None, FAR)
        line.items()


@pytest.mark.parametrize(
    ("attempt", "most"), [(0, 0.5), (1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (30, 5.0), (5000, 5.0)]
)
def test_pauses_double_up_to_the_longest_with_jitter(attempt: int, most: float) -> None:
    found = [backoff(attempt, 0.5, 5.0) for _ in range(200)]
    assert most / 2 <= min(found) < 0.7 * most
    assert 0.8 * most < max(found) <= most


# ---- upstreams -------------------------------------------------------------------------------------------------------


def test_a_fixed_upstream_is_the_same_server_for_everything() -> None:
    connection, _ = joined()

    def connect() -> Connection:
        return connection

    found = upstream_of(connect)
    assert isinstance(found, Fixed)
    assert found.connect() is connection
    assert (found.moved(), found.shard(b"a")) == (False, found)
    found.on_moved(found.refresh)
    found.refresh()
    assert upstream_of(found) is found
    with pytest.raises(ConnectionLost, match="cannot connect"):
        upstream_of(Endpoint(unix_socket_path="/nowhere/at/all")).connect()
