# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Where each limit of the protocol is: the last that is let pass, and the first that is not; and what is said twice."""

import pytest

from addon.lane.http2 import frames
from addon.lane.http2.abuse_limits import FRAMES
from addon.lane.http2.frames import frame, ping, rst_stream, settings, window_update
from addon.lane.http2.protocol import MOST_STREAMS
from addon.lane.http2.streams import Stream
from tests.addon.lane.http2 import talking
from tests.addon.lane.http2.talking import Client, Frame, connection_error, data_of, stream_error

BODY = [*talking.POST[:3], (":path", "/body")]


def wide() -> Client:
    """A client that takes all there is."""
    client = Client()
    client.say(window_update(0, 1 << 30) + settings([(frames.INITIAL_WINDOW_SIZE, 1 << 30)]))
    return client


# Turns.


@pytest.mark.parametrize("path", ["/ready/16384", "/ready/16385"])
def test_a_turn_ends_after_256_kib(path: str) -> None:
    client = wide()
    asked = b"".join(client.get(1 + 2 * number, path) for number in range(40))
    assert client.protocol.receive(asked, 0.0)
    assert client.answering.at_once_asked == 16
    assert client.protocol.turn_bytes == 16 * int(path[7:])
    assert client.protocol.receive(b"", 0.0)
    assert client.answering.at_once_asked == 32
    assert not client.protocol.receive(b"", 0.0)
    assert client.answering.at_once_asked == 40
    assert client.protocol.requests == 40


@pytest.mark.parametrize("path", ["/ready/0", "/0"])
def test_a_turn_ends_after_a_hundred_answers_or_as_many_as_it_is_given(path: str) -> None:
    client = Client()
    asked = b"".join(client.get(1 + 2 * number, path) for number in range(230))
    answered = client.answering.heads
    assert client.protocol.receive(asked, 0.0)
    assert (len(answered), client.protocol.turn_answers) == (100, 100)
    assert client.protocol.receive(b"", 0.0, 60)
    assert len(answered) == 160
    assert not client.protocol.receive(b"", 0.0)
    assert len(answered) == client.protocol.requests == 230
    assert client.protocol.last == 459
    client = Client()
    asked = b"".join(client.get(1 + 2 * number, path) for number in range(100))
    assert not client.protocol.receive(asked, 0.0)  # its turn is over, and nothing is held


def test_what_has_begun_and_what_is_held_can_be_asked() -> None:
    client = Client(opened=False)
    protocol = client.protocol
    assert (protocol.partial, protocol.held, protocol.settled) == (True, 0, False)
    client.say(talking.OPENING[:10])
    assert (protocol.partial, protocol.held) == (True, 10)
    client.say(talking.OPENING[10:-1])
    assert (protocol.partial, protocol.held) == (True, len(talking.OPENING) - 1)
    client.say(talking.OPENING[-1:])
    assert (protocol.partial, protocol.held, protocol.settled) == (False, 0, False)
    client.say(frames.SETTINGS_ACK)
    assert protocol.settled
    client.say(ping(bytes(8))[:-1])
    assert (protocol.partial, protocol.held) == (True, 16)
    client.say(bytes(1))
    assert (protocol.partial, protocol.held) == (False, 0)
    client.say(frame(frames.HEADERS, frames.END_STREAM, 1, client.encoder.encode(talking.GET)))
    assert (protocol.partial, protocol.held) == (True, 0)
    client.say(frame(frames.CONTINUATION, frames.END_HEADERS, 1))
    assert not protocol.partial
    protocol.hold(b"ab")
    protocol.hold(b"c")
    assert protocol.held == 3
    protocol.close()
    assert (protocol.partial, protocol.held) == (False, 0)


def test_what_comes_in_one_piece_with_the_preface_is_understood() -> None:
    client = Client(opened=False)
    answer = client.say(talking.OPENING + client.get(1, "/ready/3"))
    assert data_of(answer, 1) == 3
    for cut in (len(frames.PREFACE), len(frames.PREFACE) + 8):
        client = Client(opened=False)
        assert len(client.say(talking.OPENING[:cut])) == 1
        assert connection_error(client.say(talking.OPENING[cut:])) is None
        assert client.protocol.held == 0


# Header blocks.


@pytest.mark.parametrize(("more", "code"), [(15, None), (16, frames.ErrorCode.ENHANCE_YOUR_CALM)])
def test_a_block_may_come_in_sixteen_pieces(more: int, code: frames.ErrorCode | None) -> None:
    client = Client()
    block = client.encoder.encode([*talking.GET[:3], (":path", "/5")])
    said = frame(frames.HEADERS, frames.END_STREAM, 1, block)
    for number in range(more):
        said += frame(frames.CONTINUATION, frames.END_HEADERS if number == more - 1 else 0, 1)
    answer = client.say(said)
    assert connection_error(answer) is code
    assert data_of(answer, 1) == (0 if code else 5)


@pytest.mark.parametrize(("over", "code"), [(0, None), (1, frames.ErrorCode.ENHANCE_YOUR_CALM)])
def test_a_block_may_be_twice_as_long_as_a_head_packed(over: int, code: frames.ErrorCode | None) -> None:
    client = Client()
    size = 2 * talking.MOST_HEAD + over
    begun = client.encoder.encode(talking.GET)
    block = begun + b"\x00\x01x" + b"\x7f" + b"\x00" * (size - len(begun) - 4)
    answer = client.say(frame(frames.HEADERS, frames.END_STREAM, 1, block[:16_000]))
    for at in range(16_000, size, 16_000):
        flags = frames.END_HEADERS if at + 16_000 >= size else 0
        answer += client.say(frame(frames.CONTINUATION, flags, 1, block[at : at + 16_000]))
    if code is None:
        assert connection_error(answer) is frames.ErrorCode.COMPRESSION_ERROR  # it is looked at
        assert client.answering.heads == []
    else:
        assert connection_error(answer) is code
        assert client.answering.heads == [None]
        assert client.protocol.requests == 1


def test_an_empty_piece_of_a_block_is_paid_for() -> None:
    client = Client()
    block = client.encoder.encode([*talking.GET[:3], (":path", "/ready/0")])

    def asked(number: int, pieces: int) -> bytes:
        said = frame(frames.HEADERS, frames.END_STREAM, number, block) + frame(frames.CONTINUATION, 0, number) * (
            pieces - 1
        )
        return said + frame(frames.CONTINUATION, frames.END_HEADERS, number)

    number, answer = 1, client.out()
    client.encoder.encode(talking.GET)
    while connection_error(answer) is None and number < 2_001:
        answer = client.say(asked(number, 11))
        number += 2
    assert (number - 1) // 2 in range(98, 102)  # eleven each, of which the answer pays one


# Numbers of streams.


def test_a_number_is_of_a_stream_that_is_over_or_of_one_that_was_passed_over() -> None:
    """§5.1.1: whether those in between were answered at once or not, and what went wrong with them."""

    def passed(path: str, fields: tuple[tuple[str, str], ...] = ()) -> Client:
        client = Client()
        client.say(client.get(1, path) + client.get(7, path, *fields))
        return client

    for path in ("/ready/1", "/1"):
        for number, code in (
            (1, frames.ErrorCode.STREAM_CLOSED),
            (3, frames.ErrorCode.PROTOCOL_ERROR),
            (5, frames.ErrorCode.PROTOCOL_ERROR),
            (7, frames.ErrorCode.STREAM_CLOSED),
        ):
            client = passed(path)
            assert connection_error(client.say(client.get(number, "/1"))) is code
        client = passed(path)
        assert data_of(client.say(client.get(9, path)), 9) == 1
    for number, over in ((3, frames.ErrorCode.PROTOCOL_ERROR), (5, frames.ErrorCode.PROTOCOL_ERROR), (7, None)):
        client = passed("/1", (("A", "b"),))
        assert connection_error(client.say(client.get(number, "/1"))) is over
    client = Client()
    assert stream_error(client.say(client.get(1, "/", ("A", "b"))), 1) is frames.ErrorCode.PROTOCOL_ERROR
    assert client.protocol.last == 1
    assert data_of(client.say(client.get(3, "/5")), 3) == 5


def test_trailers_of_a_stream_that_we_gave_up_are_paid_for() -> None:
    client = Client()
    client.say(client.get(1, "/", ("A", "b")))
    codes = [connection_error(client.say(client.headers(1, [("a", "b")]))) for _ in range(FRAMES + 1)]
    assert codes.index(frames.ErrorCode.ENHANCE_YOUR_CALM) in range(FRAMES - 3, FRAMES + 1)


def test_a_hundred_priorities_are_remembered_of_streams_that_are_to_come() -> None:
    client = wide()
    for number in range(1, 2 * MOST_STREAMS + 3, 2):
        client.say(frame(frames.PRIORITY_UPDATE, 0, 0, number.to_bytes(4, "big") + b"u=0"))
    for number in range(1, 2 * MOST_STREAMS + 3, 2):
        client.say(client.get(number, "/wait") + (rst_stream(number - 2, 8) if number > 1 else b""))
        (priority,) = (stream.priority for stream in client.protocol.streams.values() if stream.id == number)
        assert priority == ((0, False) if number < 2 * MOST_STREAMS else (3, False))


# Bodies of requests.


def test_each_half_of_a_window_is_allowed_anew_and_nothing_twice() -> None:
    client = Client()
    client.say(client.headers(1, BODY, frames.END_HEADERS))
    assert client.say(frame(frames.DATA, 0, 1, bytes(16_384))) == []
    assert client.say(frame(frames.DATA, 0, 1, bytes(16_382))) == []
    both = [Frame(frames.WINDOW_UPDATE, 0, number, (32_767).to_bytes(4, "big")) for number in (0, 1)]
    assert client.say(frame(frames.DATA, 0, 1, bytes(1))) == both
    assert client.say(frame(frames.DATA, 0, 1, bytes(16_384))) == []
    both = [Frame(frames.WINDOW_UPDATE, 0, number, (32_768).to_bytes(4, "big")) for number in (0, 1)]
    assert client.say(frame(frames.DATA, 0, 1, bytes(16_384))) == both
    assert client.say(frame(frames.DATA, 0, 1, bytes(16_384))) == []
    # Of the last piece the connection's alone.
    answer = client.say(frame(frames.DATA, frames.END_STREAM, 1, bytes(16_384)))
    assert [each.stream for each in answer if each.kind == frames.WINDOW_UPDATE] == [0]


def test_a_body_with_a_length_may_come_in_pieces() -> None:
    client = Client()
    client.say(client.headers(1, [*BODY, ("content-length", "5")], frames.END_HEADERS))
    assert client.say(frame(frames.DATA, 0, 1, b"ab") + frame(frames.DATA, 0, 1, b"cd")) == []
    client.say(frame(frames.DATA, frames.END_STREAM, 1, b"e"))
    assert client.answering.bodies[1] == b"abcde"
    assert client.answering.events[-2:] == [("body ended", 1), ("done", 1)]


def test_a_body_that_nobody_reads_may_have_a_window_of_64_kib_and_no_more() -> None:
    client = Client()
    client.say(client.headers(1, [*talking.POST[:3], (":path", "/wait")], frames.END_HEADERS))
    assert stream_error(client.say(frame(frames.DATA, 0, 1, bytes(16_384)) * 3), 1) is None
    assert stream_error(client.say(frame(frames.DATA, 0, 1, bytes(16_383))), 1) is None
    assert stream_error(client.say(frame(frames.DATA, 0, 1, bytes(1))), 1) is frames.ErrorCode.FLOW_CONTROL_ERROR


def test_who_reads_a_body_is_told_of_no_empty_piece_and_of_no_end_once_it_has_answered() -> None:
    client = Client()
    pieces: list[bytes] = []

    def read(stream: Stream, data: bytes) -> None:
        pieces.append(data)
        if data == b"enough":
            client.answering.answer(stream, 0)

    client.answering.body = read  # type: ignore[method-assign]
    client.say(client.headers(1, BODY, frames.END_HEADERS) + frame(frames.DATA, 0, 1) + frame(frames.DATA, 0, 1, b"a"))
    client.say(frame(frames.DATA, frames.PADDED, 1, b"\x02\0\0") + frame(frames.DATA, frames.END_STREAM, 1, b"enough"))
    assert pieces == [b"a", b"enough"]
    assert client.answering.events == [("asked", 1), ("done", 1)]


# What is paid for.


def allowed(client: Client, said: bytes) -> int:
    """How often something may be said before the connection ends for it."""
    for count in range(2_000):
        if connection_error(client.say(said)) is not None:
            return count
    return 2_000


def test_settings_are_paid_by_their_size_and_by_the_streams_that_they_change() -> None:
    assert allowed(Client(), settings([(0x77, 1)] * 100)) == int(998 / (1 + 10))
    assert allowed(Client(), settings([(frames.INITIAL_WINDOW_SIZE, 65_535)])) == int(998 / 1.1)
    client = Client()
    client.say(b"".join(client.get(number, "/wait") for number in range(1, 101, 2)))
    count = 0
    while connection_error(client.say(settings([(frames.INITIAL_WINDOW_SIZE, count)]))) is None:
        count += 1
    assert count == int(1_000 / 6.1)  # the requests have paid for the opening


def test_windows_priorities_and_what_is_unknown_cost_one_each() -> None:
    for said in (
        window_update(0, 1),
        frame(frames.PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01"),
        frame(frames.PRIORITY, 0, 1, bytes(3) + b"\x07\x10"),
        frame(0x77, 0, 0),
        frames.goaway(0, 0),
        ping(bytes(8)),
        ping(bytes(8), ack=True),
        frames.SETTINGS_ACK,
    ):
        assert allowed(Client(), said) == 998
    client = Client()
    client.say(client.get(1, "/wait") + rst_stream(1, 8))
    assert allowed(client, rst_stream(1, 8)) == 998


# Said once.


def test_each_end_is_said_once() -> None:
    client = Client()
    client.protocol.warn()
    assert [each.kind for each in client.out()] == [frames.PING, frames.GOAWAY]
    client.protocol.warn()
    assert client.out() == []
    for wrong in (ping(b"farewel!", ack=True), ping(b"farewell")):
        client.say(wrong)
        assert not client.protocol.ending
    client.say(ping(b"farewell", ack=True))
    assert client.protocol.ending
    client.protocol.finish()
    client.protocol.warn()
    assert client.out() == []
    client.protocol.fail(frames.ConnectionFault(frames.ErrorCode.INTERNAL_ERROR, "first"))
    client.protocol.fail(frames.ConnectionFault(frames.ErrorCode.PROTOCOL_ERROR, "second"))
    assert [each.payload[4:] for each in client.out()] == [frames.ErrorCode.INTERNAL_ERROR.to_bytes(4, "big")]
    assert client.protocol.fault is not None
    assert client.protocol.fault.code is frames.ErrorCode.INTERNAL_ERROR
    client.protocol.warn()
    client.protocol.finish()
    assert client.out() == []
    assert not client.protocol.receive(client.get(1, "/ready/1"), 0.0)


def test_who_was_not_told_to_go_does_not_go_by_an_answer_that_nobody_asked_for() -> None:
    client = Client()
    assert client.say(ping(b"farewell", ack=True)) == []
    assert data_of(client.say(client.get(1, "/5")), 1) == 5


def test_who_goes_by_itself_is_not_told_to() -> None:
    client = Client()
    client.say(frames.goaway(0, 0))
    client.protocol.warn()
    assert client.out() == []
    assert data_of(client.say(client.get(1, "/5")), 1) == 5


def test_after_the_end_data_of_a_stream_that_was_not_taken_is_let_pass() -> None:
    """§6.8: it will be asked elsewhere; its DATA counts for the connection's window."""
    client = Client()
    client.say(client.get(1, "/5"))
    client.protocol.finish()
    client.out()
    assert client.say(client.headers(3, talking.POST, frames.END_HEADERS) + frame(frames.DATA, 0, 3, bytes(300))) == []
    assert client.say(frame(frames.DATA, frames.END_STREAM, 3, bytes(300))) == []
    assert client.protocol.requests == 1
    assert connection_error(client.say(frame(frames.DATA, 0, 1, bytes(300)))) is frames.ErrorCode.STREAM_CLOSED


def test_a_stream_that_is_given_up_is_so_once_and_its_frames_are_let_pass() -> None:
    client = Client()
    client.say(client.headers(1, [*talking.POST[:3], (":path", "/wait")], frames.END_HEADERS))
    stream = client.protocol.streams[1]
    client.protocol.reset(stream, frames.ErrorCode.CANCEL)
    client.protocol.reset(stream, frames.ErrorCode.CANCEL)
    assert client.out() == [Frame(frames.RST_STREAM, 0, 1, (8).to_bytes(4, "big"))]
    assert client.answering.events == [("asked", 1)]
    assert client.say(frame(frames.DATA, 0, 1, bytes(300))) == []
    assert client.say(frame(frames.DATA, frames.END_STREAM, 1, bytes(300))) == []


def test_who_is_answered_between_two_reads_may_send_on_for_a_second_from_then() -> None:
    client = Client()
    client.say(client.headers(1, [*talking.POST[:3], (":path", "/wait")], frames.END_HEADERS))
    client.protocol.tend(50.0)
    client.answering.answer(client.protocol.streams[1], 0)
    client.out()
    client.protocol.tend(50.9)
    assert client.out() == []
    client.protocol.tend(51.0)
    assert stream_error(client.out(), 1) is frames.ErrorCode.NO_ERROR


def test_a_body_that_is_wanted_is_said_to_be_before_it_comes() -> None:
    """100 Continue ends nothing."""
    client = Client()
    client.say(client.headers(1, BODY, frames.END_HEADERS))
    client.protocol.interim(client.protocol.streams[1], b"\x08\x03100")
    assert client.out() == [Frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x08\x03100")]
    client.say(frame(frames.DATA, frames.END_STREAM, 1, b"x"))
    assert client.answering.bodies[1] == b"x"


def can_go_on(client: Client) -> bool:
    return client.protocol.sending


def test_a_priority_that_changes_gives_no_turn_to_who_has_nothing_to_send() -> None:
    client = wide()
    client.say(client.get(1, "/wait") + frame(frames.PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=0"))
    assert not can_go_on(client)
    client.protocol.put(client.protocol.streams[1], b"abc")
    assert can_go_on(client)
    assert client.say(frame(frames.PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=7"), pump=0) == []
    assert can_go_on(client)
    assert client.out() == [Frame(frames.DATA, 0, 1, b"abc")]


def test_the_codes_of_errors_are_those_of_the_rfc() -> None:
    """§7"""
    assert {code.name: code.value for code in frames.ErrorCode} == {
        "NO_ERROR": 0,
        "PROTOCOL_ERROR": 1,
        "INTERNAL_ERROR": 2,
        "FLOW_CONTROL_ERROR": 3,
        "SETTINGS_TIMEOUT": 4,
        "STREAM_CLOSED": 5,
        "FRAME_SIZE_ERROR": 6,
        "REFUSED_STREAM": 7,
        "CANCEL": 8,
        "COMPRESSION_ERROR": 9,
        "ENHANCE_YOUR_CALM": 11,
    }


@pytest.mark.parametrize(
    "value",
    [
        (frames.ENABLE_PUSH, 0),
        (frames.ENABLE_PUSH, 1),
        (frames.MAX_FRAME_SIZE, 16_384),
        (frames.MAX_FRAME_SIZE, 2**24 - 1),
    ],
)
def test_a_setting_may_be_what_it_may_be(value: tuple[int, int]) -> None:
    """§6.5.2"""
    client = Client()
    assert client.say(settings([value])) == [Frame(frames.SETTINGS, frames.ACK, 0, b"")]
    assert data_of(client.say(client.get(1, "/5")), 1) == 5
