# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A connection that another handler serves: what it is told and when, and how long its client may be silent."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from addon.lane.handover import HandedOver, hand_over
from addon.lane.lane import Lane
from tests.addon.lane.wire import PEER, WireTransport, clock, cut_after, wired_lane
from tests.clock import Clock
from tests.waiting import rounds, until

__all__ = ["clock"]

REQUEST = b"GET / HTTP/1.1\r\nHost: git.test\r\n\r\n"


class Other:
    """The other handler: it reads what comes until the end of it."""

    def __init__(self) -> None:
        self.begun = 0
        self.read = b""
        self._ended = False

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.begun += 1
        while data := await reader.read(1 << 16):
            self.read += data
        self._ended = True

    async def ended(self) -> bool:
        """Whether it has, once it has read all that is there."""
        await rounds(3)
        return self._ended


def over(lane: Lane, other: Other, rest: bytes = REQUEST, eof: bool = False) -> tuple[WireTransport, HandedOver]:
    """A connection that is handed over now; rest: what was read of it."""
    transport = WireTransport()
    lane.connection_limits.admit(PEER[0], 0, list)
    hand_over(lane, transport, PEER[0], other, rest, eof)
    assert isinstance(transport.protocol, HandedOver)
    return transport, transport.protocol


@contextmanager
def one_over(**options: object) -> Iterator[tuple[Lane, Other, WireTransport, HandedOver]]:
    """A lane, and a connection of it that was handed over when it had sent a request."""
    with wired_lane(**options) as (lane, _, _):
        other = Other()
        yield lane, other, *over(lane, other)


async def test_what_was_read_comes_first_and_then_what_comes(clock: Clock) -> None:
    with one_over() as (_, other, transport, _):
        assert transport.is_reading()
        transport.receive(b"more")
        assert not await other.ended()
        assert (other.begun, other.read) == (1, REQUEST + b"more")
        transport.protocol.eof_received()
        transport.protocol.connection_lost(None)


async def test_each_waits_for_its_turn_and_is_not_read_until_then(clock: Clock) -> None:
    with wired_lane() as (lane, _, _):
        others = [Other() for _ in range(3)]
        wires = [over(lane, other, b"%d" % number) for number, other in enumerate(others)]
        await rounds(2)
        assert [other.begun for other in others] == [1, 0, 0]
        assert [transport.is_reading() for transport, _ in wires] == [True, False, False]
        wires[1][0].protocol.data_received(b"+")  # it was on its way
        clock.now += 500.0
        for _, connection in wires:
            connection.check(clock.now)  # who waits for us has time
        assert [transport.said for transport, _ in wires] == [["abort"], [], []]
        await until(lambda: all(other.read for other in others))
        assert [other.read for other in others] == [b"0", b"1+", b"2"]
        assert [transport.is_reading() for transport, _ in wires] == [True, True, True]
        wires[1][1].check(clock.now + lane.header_timeout)  # and from its turn on as much as any
        assert wires[1][0].said == []
        for transport, _ in wires:
            transport.protocol.connection_lost(None)


async def test_who_is_gone_before_its_turn_never_begins(clock: Clock) -> None:
    with wired_lane() as (lane, _, _):
        first, second = Other(), Other()
        over(lane, first)
        transport, _ = over(lane, second)
        transport.protocol.connection_lost(None)
        assert lane.connections_of(PEER[0]) == 1
        await until(lambda: len(lane.throttle) == 0)
        await rounds(3)
        assert (first.begun, second.begun) == (1, 0)
        assert not transport.is_reading()


async def test_it_is_looked_after_and_counted_until_it_is_gone(clock: Clock) -> None:
    with one_over() as (lane, _, transport, connection):
        assert lane.connections_of(PEER[0]) == 1
        assert list(lane._handed_over) == [PEER]
        assert lane._all() == [connection]
        lane.serving(PEER, True)
        clock.now += 7
        since = [connection.idle_since]
        lane.serving(PEER, False)
        assert [*since, connection.idle_since] == [None, clock.now]
        connection.abort()
        assert transport.said == ["abort"]
        transport.protocol.connection_lost(None)
        assert (lane.connections_of(PEER[0]), lane._all()) == (0, [])
        lane.serving(PEER, True)
        assert connection.idle_since is not None


async def test_the_next_request_of_a_connection_waits_for_its_turn_too(clock: Clock) -> None:
    with one_over() as (lane, other, transport, _):
        await rounds(2)
        lane.serving(PEER, True)
        transport.receive(b"of the body")  # no turn is needed within a request
        await rounds(2)
        assert other.read == REQUEST + b"of the body"
        lane.serving(PEER, False)
        transport.receive(b"next")
        assert not transport.is_reading()
        await rounds(2)
        assert other.read == REQUEST + b"of the body"
        await until(lambda: len(lane.throttle) == 0)
        await rounds(3)
        assert other.read.endswith(b"next")
        assert transport.is_reading()
        lane.throttle.begin("another", lambda: None)
        transport.receive(b" and")  # the rest of its head waits for nobody
        assert transport.is_reading()
        await rounds(2)
        assert other.read.endswith(b"next and")
        assert other.begun == 1
        transport.protocol.connection_lost(None)


@pytest.mark.parametrize(("begun", "timeout"), [(True, "header_timeout"), (False, "idle_timeout")])
async def test_a_head_has_its_time_and_silence_another(clock: Clock, begun: bool, timeout: str) -> None:
    with one_over(headerTimeout="20s", idleTimeout="70s") as (lane, other, transport, connection):
        if not begun:
            lane.serving(PEER, True)
            clock.now += 3
            connection.check(clock.now + 1_000)
            assert not await other.ended()
            lane.serving(PEER, False)
        seconds = getattr(lane, timeout)
        assert seconds == (20.0 if begun else 70.0)
        cut_after(seconds, clock, connection, transport)
        transport.protocol.connection_lost(None)


async def test_while_the_last_answer_is_taken_nobody_is_silent(clock: Clock) -> None:
    with one_over(idleTimeout="70s") as (lane, _, transport, connection):
        lane.serving(PEER, True)
        lane.serving(PEER, False)
        transport.left = 1
        connection.check(clock.now + 500)
        transport.left = 0
        cut_after(570, clock, connection, transport)
        transport.protocol.connection_lost(None)


# Who half-closes.


async def test_who_ends_while_nothing_is_asked_ends_at_once(clock: Clock) -> None:
    with one_over() as (lane, other, transport, _):
        lane.serving(PEER, True)
        lane.serving(PEER, False)
        assert transport.protocol.eof_received()
        assert await other.ended()
        transport.protocol.connection_lost(None)


@pytest.mark.parametrize("waiting", [False, True])
async def test_who_has_ended_before_it_was_handed_over_is_heard_first(clock: Clock, waiting: bool) -> None:
    with wired_lane() as (lane, _, _):
        if waiting:
            over(lane, Other())
        other = Other()
        _, connection = over(lane, other, REQUEST, eof=True)
        await until(lambda: bool(other.read))
        assert not await other.ended()
        assert other.read == REQUEST
        connection.serving(True)
        connection.serving(False)
        connection.check(clock.now)
        assert await other.ended()


async def test_who_has_ended_and_said_nothing_ends(clock: Clock) -> None:
    with wired_lane() as (lane, _, _):
        other = Other()
        over(lane, other, b"", eof=True)
        assert await other.ended()
        assert other.begun == 1


async def test_who_ends_in_its_turn_is_heard_to_the_end(clock: Clock) -> None:
    with wired_lane() as (lane, _, _):
        over(lane, Other())
        other = Other()
        transport, connection = over(lane, other)
        assert transport.protocol.eof_received()  # it waits still
        await until(lambda: bool(other.read))
        assert not await other.ended()
        lane.serving(PEER, True)
        lane.serving(PEER, False)
        connection.check(clock.now)
        assert await other.ended()


async def test_who_ends_and_is_being_answered_is_told_to_the_handler_when_it_was(clock: Clock) -> None:
    with one_over() as (lane, other, transport, connection):
        lane.serving(PEER, True)
        lane.received(PEER)
        clock.now += 5
        transport.protocol.eof_received()
        connection.check(clock.now + 30)
        assert not await other.ended()
        lane.serving(PEER, False)
        transport.left = 1  # the answer is not taken yet
        connection.check(clock.now + 31)
        assert not await other.ended()
        transport.left = 0
        connection.check(clock.now + 31)
        assert await other.ended()
        assert "abort" not in transport.said


@pytest.mark.parametrize(("complete", "patience"), [(True, 30.0), (False, 2.0)])
@pytest.mark.parametrize("busy", [True, False])
async def test_who_ends_in_the_middle_is_given_up_and_who_has_asked_is_waited_for(
    clock: Clock, complete: bool, patience: float, busy: bool
) -> None:
    if complete and not busy:
        return  # nothing is complete that has not begun to be answered
    with one_over(headerTimeout="200s") as (lane, other, transport, connection):
        if busy:
            lane.serving(PEER, True)
        if complete:
            lane.received(PEER)
        clock.now += 100
        transport.protocol.eof_received()
        connection.check(clock.now + patience)
        assert not await other.ended()
        transport.left = 1
        connection.check(clock.now + patience + 1)  # somebody takes it still
        assert not await other.ended()
        transport.left = 0
        clock.now += 0 if busy else patience + 1  # a buffer that is not empty begins a silence anew
        connection.check(clock.now + patience + 1)
        assert await other.ended()
        transport.protocol.connection_lost(None)


async def test_each_answer_is_complete_on_its_own(clock: Clock) -> None:
    with one_over() as (lane, other, transport, connection):
        lane.serving(PEER, True)
        lane.received(PEER)
        lane.serving(PEER, False)
        lane.serving(PEER, True)  # of this one, half has come
        transport.protocol.eof_received()
        connection.check(clock.now + 2.1)
        assert await other.ended()


@pytest.mark.parametrize("before", [True, False])
async def test_what_another_server_answers_hears_at_once_that_its_client_is_gone(clock: Clock, before: bool) -> None:
    with one_over() as (lane, other, transport, _):
        lane.serving(PEER, True)
        if before:
            transport.protocol.eof_received()
            assert not await other.ended()
            lane.forwarded(PEER)
        else:
            lane.forwarded(PEER)
            assert not await other.ended()
            transport.protocol.eof_received()
        assert await other.ended()


async def test_what_was_forwarded_says_nothing_of_the_next(clock: Clock) -> None:
    with one_over() as (lane, other, transport, _):
        lane.serving(PEER, True)
        lane.forwarded(PEER)
        lane.serving(PEER, False)
        lane.serving(PEER, True)
        transport.protocol.eof_received()
        assert not await other.ended()


async def test_a_handler_that_has_heard_of_the_end_and_stays_has_the_idle_time(clock: Clock) -> None:
    with wired_lane(idleTimeout="70s") as (lane, _, _):
        transport, connection = over(lane, Other(), b"", eof=True)
        await rounds(3)
        connection.check(clock.now + 70.1)
        assert transport.said[-1] == "abort"


async def test_a_handler_hears_that_its_client_is_gone(clock: Clock) -> None:
    with one_over() as (_, other, transport, _):
        await rounds(2)
        transport.protocol.connection_lost(None)
        assert await other.ended()


async def test_who_waits_for_its_turn_may_have_to_make_room(clock: Clock) -> None:
    with wired_lane() as (lane, _, _):
        over(lane, Other())
        clock.now += 5
        _, connection = over(lane, Other())
        assert connection.idle_since == clock.now


async def test_a_client_without_an_address_of_the_internet_is_looked_after(clock: Clock) -> None:
    with wired_lane() as (lane, _, _):
        transport = WireTransport(peer="")
        hand_over(lane, transport, "", Other(), REQUEST, False)
        assert list(lane._handed_over) == [("", 0)]
        transport.protocol.connection_lost(None)
        assert lane._handed_over == {}


async def test_two_that_come_from_one_place_are_not_taken_for_each_other(clock: Clock) -> None:
    """A port is used again at once: who is gone takes nobody's place with it."""
    with wired_lane() as (lane, _, _):
        first, _ = over(lane, Other())
        _, second = over(lane, Other())
        first.protocol.connection_lost(None)
        assert lane._all() == [second]
