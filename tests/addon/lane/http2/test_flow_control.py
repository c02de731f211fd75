# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is cut into which frames, who has his turn, and which streams that are over may still be spoken of."""

import pytest

from addon.lane.http2 import frames
from addon.lane.http2.ended_streams import EndedStreams
from addon.lane.http2.flow_control import RUN_FRAME, Outgoing
from addon.lane.http2.frames import END_HEADERS, END_STREAM, MAX_FRAME, ConnectionFault, StreamFault
from addon.lane.http2.priorities import DEFAULT, Priority, Scheduler, priority_of
from addon.lane.http2.streams import Stream
from tests.addon.lane.http2.talking import Frame, parsed

TURN = 128 * 1024


class Sending:
    """Something outgoing, and what it told of its streams."""

    def __init__(self) -> None:
        self.over: list[int] = []
        self.taken: list[int] = []
        self.outgoing = Outgoing(
            lambda stream: self.over.append(stream.id), lambda stream: self.taken.append(stream.id)
        )

    def stream(self, number: int, body: bytes = b"", *, window: int = 65_535, ends: bool = True) -> Stream:
        """A stream that has this to send, if anything."""
        stream = Stream(number, None, False, window)
        if body:
            self.outgoing.put(stream, body, ends)
        return stream

    def can_go_on(self) -> bool:
        return self.outgoing.sending

    def pump(self, most: int = 1 << 24) -> list[Frame]:
        self.outgoing.pump(most)
        return self.written()

    def written(self) -> list[Frame]:
        data = b"".join(self.outgoing.out)
        self.outgoing.out.clear()
        return list(parsed(data))


def waiting(number: int, priority: Priority = DEFAULT) -> Stream:
    stream = Stream(number, None, False, 0)
    stream.priority = priority
    return stream


# Header blocks.


@pytest.mark.parametrize(
    ("size", "cut"),
    [
        (1, [1]),
        (MAX_FRAME, [MAX_FRAME]),
        (MAX_FRAME + 1, [MAX_FRAME, 1]),
        (2 * MAX_FRAME, [MAX_FRAME, MAX_FRAME]),
        (3 * MAX_FRAME + 5, [MAX_FRAME, MAX_FRAME, MAX_FRAME, 5]),
    ],
)
@pytest.mark.parametrize("flags", [0, END_STREAM])
def test_a_block_is_one_frame_or_goes_on_in_others_of_which_the_last_says_so(
    size: int, cut: list[int], flags: int
) -> None:
    """§4.3, §6.2, §6.10: END_STREAM is said by HEADERS alone."""
    sending = Sending()
    block = bytes(range(256)) * (size // 256 + 1)
    sending.outgoing.block(7, block[:size], flags)
    written = sending.written()
    assert [len(each.payload) for each in written] == cut
    assert b"".join(each.payload for each in written) == block[:size]
    assert [each.kind for each in written] == [frames.HEADERS] + [frames.CONTINUATION] * (len(cut) - 1)
    assert [each.stream for each in written] == [7] * len(cut)
    said = [flags] + [0] * (len(cut) - 1)
    said[-1] |= END_HEADERS
    assert [each.flags for each in written] == said


# Bodies and windows.


def test_something_can_go_on_only_with_a_window_of_both_or_as_an_end() -> None:
    sending = Sending()
    assert not sending.can_go_on()
    stream = sending.stream(1, b"abc")
    assert sending.can_go_on()
    sending.outgoing.window = 0
    assert not sending.can_go_on()
    sending.outgoing.window = 1
    assert sending.can_go_on()
    sending.outgoing.unqueue(stream)
    assert not sending.can_go_on()
    sending.outgoing.window = 0
    end = sending.stream(3)
    sending.outgoing.put(end, b"", True)
    assert sending.can_go_on()
    assert sending.pump() == [Frame(frames.DATA, END_STREAM, 3, b"")]
    assert sending.over == [3]


@pytest.mark.parametrize("window", [0, -5])
def test_a_stream_without_a_window_has_no_turn_until_it_has_one(window: int) -> None:
    sending = Sending()
    stream = sending.stream(1, b"abc", window=window)
    assert not sending.can_go_on()
    sending.outgoing.widen_stream(stream, 1 - window)
    assert sending.pump() == [Frame(frames.DATA, 0, 1, b"a")]


def test_a_stream_that_has_nothing_to_send_gets_no_turn_by_a_window() -> None:
    sending = Sending()
    stream = sending.stream(1)
    sending.outgoing.widen_stream(stream, 5)
    sending.outgoing.resize(70_000, [stream])
    assert not sending.can_go_on()
    assert sending.pump() == []


def test_a_stream_has_one_turn_however_often_its_window_grows() -> None:
    sending = Sending()
    stream = sending.stream(1, b"abc")
    for _ in range(3):
        sending.outgoing.widen_stream(stream, 5)
    assert len(sending.outgoing.turns) == 1
    assert sending.pump() == [Frame(frames.DATA, END_STREAM, 1, b"abc")]
    assert len(sending.outgoing.turns) == 0


def test_a_stream_whose_window_is_taken_back_holds_up_no_other() -> None:
    """§6.9.2: it had its turn when its window became less than nothing."""
    sending = Sending()
    first = sending.stream(1, b"a" * 10, window=4)
    sending.stream(3, b"b" * 10)
    sending.outgoing.resize(65_535 - 5, [first])
    assert first.window == -1
    assert sending.pump() == [Frame(frames.DATA, END_STREAM, 3, b"b" * 10)]
    sending.outgoing.resize(65_535, [first])
    assert sending.pump() == [Frame(frames.DATA, 0, 1, b"a" * 4)]


def test_what_a_connection_s_window_stops_goes_on_where_it_was() -> None:
    sending = Sending()
    sending.outgoing.window = 7
    stream = sending.stream(1, b"abcdefghij")
    assert sending.pump() == [Frame(frames.DATA, 0, 1, b"abcdefg")]
    assert (stream.sent, stream.window, sending.outgoing.window) == (7, 65_535 - 7, 0)
    sending.outgoing.widen(1)
    assert sending.pump() == [Frame(frames.DATA, 0, 1, b"h")]
    sending.outgoing.widen(5)
    assert sending.pump() == [Frame(frames.DATA, END_STREAM, 1, b"ij")]
    assert (stream.sent, stream.window, sending.outgoing.window) == (10, 65_535 - 10, 3)
    assert (sending.over, sending.taken) == ([1], [])


def test_each_piece_but_the_last_is_told_when_it_was_taken() -> None:
    sending = Sending()
    stream = sending.stream(1, b"abc", ends=False)
    assert not stream.responding
    assert sending.pump() == [Frame(frames.DATA, 0, 1, b"abc")]
    assert (sending.over, sending.taken, stream.pending) == ([], [1], False)
    sending.outgoing.put(stream, b"de", True)
    assert sending.pump() == [Frame(frames.DATA, END_STREAM, 1, b"de")]
    assert (sending.over, sending.taken) == ([1], [1])
    assert stream.sent == 5


def test_no_window_may_be_larger_than_2_31() -> None:
    """§6.9.1"""
    largest = 2**31 - 1
    sending = Sending()
    stream = sending.stream(1)
    sending.outgoing.widen(largest - 65_535)
    sending.outgoing.widen_stream(stream, largest - 65_535)
    assert (sending.outgoing.window, stream.window) == (largest, largest)
    with pytest.raises(ConnectionFault):
        sending.outgoing.widen(1)
    with pytest.raises(StreamFault):
        sending.outgoing.widen_stream(stream, 1)
    other = sending.stream(3)
    sending.outgoing.resize(largest, [other])
    assert (other.window, sending.outgoing.initial_window) == (largest, largest)
    sending.outgoing.resize(0, [other])
    with pytest.raises(ConnectionFault):
        sending.outgoing.resize(largest, [sending.stream(5, window=1)])


def test_so_much_is_cut_as_there_is_room_for_with_the_heads_of_the_frames() -> None:
    """What does not fit into a record is sent all the same, for a part of a frame would be no use."""
    run = MAX_FRAME - frames.HEAD_SIZE
    for size, most, cut in (
        (100, 1 << 20, 109),
        (MAX_FRAME, 1 << 20, MAX_FRAME + 18),
        (60_000, 1 << 20, 60_000 + 4 * 9),
        (60_000, 1, MAX_FRAME + 18),
        (60_000, 2 * run + 5, 2 * run + 2 * 9),
    ):
        sending = Sending()
        sending.stream(1, bytes(size))
        assert sending.outgoing.pump(most) == cut
    sending = Sending()
    for number in (1, 3, 5):
        sending.stream(number, bytes(10))
    assert sending.outgoing.pump(20) == 38  # two, and the third waits
    assert sending.over == [1, 3]
    assert sending.outgoing.pump(0) == 0


@pytest.mark.parametrize(
    ("size", "cut"),
    [
        (MAX_FRAME, [MAX_FRAME]),
        (MAX_FRAME + 1, [RUN_FRAME, 10]),
        (2 * RUN_FRAME, [RUN_FRAME, RUN_FRAME]),
        (RUN_FRAME + MAX_FRAME, [RUN_FRAME, MAX_FRAME]),
        (RUN_FRAME + MAX_FRAME + 1, [RUN_FRAME, RUN_FRAME, 10]),
    ],
)
def test_a_body_goes_in_frames_of_a_record_each_and_none_that_a_larger_last_one_spares(
    size: int, cut: list[int]
) -> None:
    sending = Sending()
    body = bytes(range(256)) * (size // 256 + 1)
    sending.stream(1, body[:size])
    sending.outgoing.pump(1 << 20)
    written = sending.written()
    assert [len(each.payload) for each in written] == cut
    assert b"".join(each.payload for each in written) == body[:size]
    assert [each.flags for each in written] == [0] * (len(cut) - 1) + [END_STREAM]


# Turns.


def test_a_turn_is_as_long_as_it_is_said_to_be() -> None:
    turns = Scheduler()
    first, second = waiting(1), waiting(3)
    turns.add(first)
    assert turns.room(first) >= 1 << 30  # nobody waits for it
    turns.add(second)
    assert turns.room(first) == TURN
    turns.sent(first, TURN - 1)
    assert (turns.first(), turns.room(first)) == (first, 1)
    turns.sent(first, 1)
    assert turns.first() is second
    assert turns.room(second) == TURN
    turns.sent(second, TURN + 5)
    assert turns.first() is first
    assert turns.room(first) == TURN  # as at first


def test_who_can_use_a_part_has_a_turn_of_one_frame() -> None:
    turns = Scheduler()
    first, second = waiting(1, (3, True)), waiting(3, (3, True))
    turns.add(first)
    turns.add(second)
    assert turns.room(first) == 0
    turns.sent(first, 1)
    assert turns.first() is second
    turns.sent(second, 1)
    assert turns.first() is first


@pytest.mark.parametrize("urgency", [0, 1, 7])
def test_a_turn_lasts_however_urgent_it_is(urgency: int) -> None:
    turns = Scheduler()
    first, second = waiting(1, (urgency, False)), waiting(3, (urgency, False))
    turns.add(first)
    turns.add(second)
    turns.sent(first, 1)
    assert turns.first() is first


def test_who_comes_again_begins_a_turn_anew() -> None:
    turns = Scheduler()
    first, second = waiting(1), waiting(3)
    turns.add(first)
    turns.add(second)
    turns.sent(first, 1000)
    turns.remove(first)
    turns.add(first)
    turns.remove(second)
    turns.add(second)
    assert turns.room(first) == TURN


def test_who_leaves_from_the_middle_takes_no_other_s_place() -> None:
    turns = Scheduler()
    senders = [waiting(number) for number in (1, 3, 5, 7)]
    for sender in senders:
        turns.add(sender)
    for sender in (senders[1], senders[0], senders[3]):
        turns.remove(sender)
    assert (len(turns), turns.first()) == (1, senders[2])
    turns.remove(senders[2])
    assert len(turns) == 0
    with pytest.raises(LookupError):
        turns.first()


@pytest.mark.parametrize(
    ("said", "priority"),
    [
        (None, (3, False)),
        (b"", (3, False)),
        (b"u=0", (0, False)),
        (b"u=7", (7, False)),
        (b"u=8", (3, False)),
        (b"u=11", (3, False)),
        (b"u=-1", (3, False)),
        (b"i", (3, True)),
        (b"i=?1", (3, True)),
        (b"i, i=?0", (3, False)),
        (b"i=?2", (3, False)),
        (b"u=1,i", (1, True)),
        (b"u=1;a=b;c , \t i ;x", (1, True)),
        (b"u=1, u=2", (2, False)),
        (b"x=y, u=5", (5, False)),
        (b"u=5" + b" " * 253, (5, False)),
        (b"u=5" + b" " * 254, (3, False)),
        (b"\xff, u=2", (2, False)),
    ],
)
def test_what_a_priority_says(said: bytes | None, priority: Priority) -> None:
    """RFC 9218 §4: what is not understood counts as not said; nor does what is longer than any that means something."""
    assert priority_of(said) == priority


# Streams that are over.


def test_the_numbers_that_were_passed_over_are_known_to_the_last_of_them() -> None:
    """§5.1.1: of so many gaps, for nobody needs more."""
    ended = EndedStreams(100)
    for gap in range(17):
        ended.skip(10 * gap + 2, 10 * gap + 4)
    assert [number for number in range(1000) if ended.was_skipped(number)] == [
        10 * gap + at for gap in range(16) for at in (2, 3, 4)
    ]


def test_the_last_256_that_we_gave_up_may_still_be_spoken_of() -> None:
    ended = EndedStreams(100)
    for number in range(1, 301):
        ended.reset(number)
    assert [number for number in range(400) if ended.is_expected(number)] == list(range(45, 301))


def test_who_is_told_to_stop_is_told_once_and_may_be_heard_until_it_says_so() -> None:
    ended = EndedStreams(2)
    assert ended.linger(1, 10.0) is None
    assert ended.linger(3, 10.5) is None
    assert ended.due(10.9) == []
    assert ended.due(11.0) == [1]
    assert ended.due(11.0) == []
    assert ended.linger(5, 11.0) is None
    assert ended.linger(7, 11.0) == 3  # one more than may linger: the oldest is told at once
    assert ended.due(99.0) == [5, 7]
    assert [number for number in range(10) if ended.is_expected(number)] == [1, 3, 5, 7]
    ended.closed(1)
    ended.ended(3)  # it ended its request, and our reset may still be on its way to it
    assert [number for number in range(10) if ended.is_expected(number)] == [3, 5, 7]


@pytest.mark.parametrize("how", ["ended", "closed", "reset"])
def test_who_has_ended_is_not_told_to(how: str) -> None:
    ended = EndedStreams(2)
    ended.linger(1, 0.0)
    getattr(ended, how)(1)
    assert ended.due(99.0) == []
    assert ended.is_expected(1) is (how == "reset")
