# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""HTTP/2 by bytes: what a client says, and what comes back; the section of RFC 9113 is beside each."""

from collections.abc import Callable

import pytest

from addon.lane.http2 import abuse_limits, ended_streams, frames, protocol
from addon.lane.http2.flow_control import Outgoing
from addon.lane.http2.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    HAS_PRIORITY,
    PADDED,
    PREFACE,
    ConnectionFault,
    ErrorCode,
    frame,
    ping,
    rst_stream,
    settings,
    window_update,
)
from addon.lane.http2.protocol import MOST_STREAMS
from addon.lane.http2.streams import Stream
from tests.addon.lane.http2.talking import (
    GET,
    OPENING,
    POST,
    Client,
    Frame,
    connection_error,
    data_of,
    stream_error,
)

PROTOCOL, FLOW, SIZE = ErrorCode.PROTOCOL_ERROR, ErrorCode.FLOW_CONTROL_ERROR, ErrorCode.FRAME_SIZE_ERROR
CLOSED, CALM = ErrorCode.STREAM_CLOSED, ErrorCode.ENHANCE_YOUR_CALM
COMPRESSION = ErrorCode.COMPRESSION_ERROR

Saying = Callable[[Client], bytes]


def test_the_frames_that_end_something_are_those_of_the_rfc() -> None:
    assert frames.goaway(5, ErrorCode.ENHANCE_YOUR_CALM) == bytes.fromhex("000008 07 00 00000000 00000005 0000000b")


def test_who_spends_more_than_there_is_has_nothing_left_until_it_comes_again() -> None:
    budget = abuse_limits.Budget(10, 2.0, 0.0)
    spent = [(0.0, 8.0, True), (0.0, 5.0, False), (0.0, 1.0, False), (1.0, 3.0, False), (2.0, 2.0, True)]
    assert [budget.spend(now, amount) for now, amount, _ in spent] == [there for _, _, there in spent]
    budget.earn(3.0)
    assert budget.spend(2.0, 3.0)
    assert not budget.spend(2.0, 1.0)


def test_a_request_is_answered() -> None:
    client = Client()
    head, body = client.say(client.get(1, "/5"))
    assert (head.kind, head.flags, head.stream) == (frames.HEADERS, END_HEADERS, 1)
    assert (body.kind, body.flags, body.payload) == (frames.DATA, END_STREAM, bytes(5))
    assert client.answering.events == [("asked", 1), ("done", 1)]
    assert not client.protocol.streams


def test_what_is_prepared_is_answered_without_a_stream_being_made() -> None:
    client = Client()
    answer = client.say(client.get(1, "/ready/7") + client.get(3, "/ready/0") + client.get(5, "/ready/16384"))
    assert [(each.kind, each.stream, len(each.payload)) for each in answer if each.kind == frames.DATA] == [
        (frames.DATA, 1, 7),
        (frames.DATA, 5, 16384),
    ]
    assert answer[2].flags == END_HEADERS | END_STREAM
    assert client.answering.events == []


@pytest.mark.parametrize("size", [1, 3, 10, 1000])
def test_it_does_not_matter_how_bytes_are_cut(size: int) -> None:
    client = Client(opened=False)
    data = OPENING + client.get(1, "/20000") + client.get(3, "/ready/3") + ping(b"01234567")
    answer: list[Frame] = []
    for at in range(0, len(data), size):
        answer += client.say(data[at : at + size])
    assert data_of(answer, 1) == 20000
    assert data_of(answer, 3) == 3
    assert Frame(frames.PING, ACK, 0, b"01234567") in answer


CONNECTION_FAULTS: list[tuple[str, Saying, ErrorCode]] = [
    ("4.2 a frame that is too large", lambda c: frame(frames.DATA, 0, 1, bytes(16385)), SIZE),
    (
        "4.3 a block that is not HPACK",
        lambda c: frame(frames.HEADERS, 5, 1, b"\xff\xff\xff"),
        COMPRESSION,
    ),
    ("5.1 DATA on an idle stream", lambda c: frame(frames.DATA, 0, 1, b"a"), PROTOCOL),
    ("5.1 WINDOW_UPDATE on an idle stream", lambda c: window_update(1, 1), PROTOCOL),
    ("5.1 RST_STREAM on an idle stream", lambda c: rst_stream(1, 0), PROTOCOL),
    ("5.1 HEADERS on a stream that is over", lambda c: c.get(1, "/ready/1") + c.get(1, "/1"), CLOSED),
    ("5.1 DATA on a stream that is over", lambda c: c.get(1, "/ready/1") + frame(frames.DATA, 1, 1, b"a"), CLOSED),
    ("5.1.1 an even stream", lambda c: c.get(2, "/"), PROTOCOL),
    ("5.1.1 a stream that was passed over", lambda c: c.get(5, "/") + c.get(3, "/"), PROTOCOL),
    ("6.1 DATA on no stream", lambda c: frame(frames.DATA, 0, 0, b"a"), PROTOCOL),
    (
        "6.1 more padding than payload",
        lambda c: c.headers(1, POST, 4) + frame(frames.DATA, PADDED, 1, b"\x05a"),
        PROTOCOL,
    ),
    ("6.1 padding without a length", lambda c: c.headers(1, POST, 4) + frame(frames.DATA, PADDED, 1), SIZE),
    ("6.2 HEADERS on no stream", lambda c: c.get(0, "/"), PROTOCOL),
    ("6.2 more padding than block", lambda c: frame(frames.HEADERS, 4 | PADDED, 1, b"\x09abc"), PROTOCOL),
    ("6.2 padding without a length", lambda c: frame(frames.HEADERS, 4 | PADDED, 1), SIZE),
    ("6.2 half a priority", lambda c: frame(frames.HEADERS, 4 | HAS_PRIORITY, 1, b"\0\0"), PROTOCOL),
    ("6.3 PRIORITY on no stream", lambda c: frame(frames.PRIORITY, 0, 0, bytes(5)), PROTOCOL),
    ("6.4 RST_STREAM of another size", lambda c: c.get(1, "/wait") + frame(frames.RST_STREAM, 0, 1, b"a"), SIZE),
    ("6.5 SETTINGS on a stream", lambda c: frame(frames.SETTINGS, 0, 1), PROTOCOL),
    ("6.5 SETTINGS of another size", lambda c: frame(frames.SETTINGS, 0, 0, b"a"), SIZE),
    ("6.5 an ACK that says something", lambda c: frame(frames.SETTINGS, ACK, 0, bytes(6)), SIZE),
    ("6.5.2 ENABLE_PUSH of 2", lambda c: settings([(frames.ENABLE_PUSH, 2)]), PROTOCOL),
    ("6.5.2 a window of 2^31", lambda c: settings([(frames.INITIAL_WINDOW_SIZE, 2**31)]), FLOW),
    ("6.5.2 a small frame size", lambda c: settings([(frames.MAX_FRAME_SIZE, 16383)]), PROTOCOL),
    ("6.5.2 a large frame size", lambda c: settings([(frames.MAX_FRAME_SIZE, 1 << 24)]), PROTOCOL),
    ("6.6 PUSH_PROMISE", lambda c: frame(frames.PUSH_PROMISE, 4, 1, bytes(4)), PROTOCOL),
    ("6.7 PING on a stream", lambda c: frame(frames.PING, 0, 1, bytes(8)), PROTOCOL),
    ("6.7 PING of another size", lambda c: frame(frames.PING, 0, 0, bytes(7)), SIZE),
    ("6.8 GOAWAY on a stream", lambda c: frame(frames.GOAWAY, 0, 1, bytes(8)), PROTOCOL),
    ("6.9 WINDOW_UPDATE of another size", lambda c: frame(frames.WINDOW_UPDATE, 0, 0, bytes(3)), SIZE),
    ("6.9 WINDOW_UPDATE of a larger size", lambda c: frame(frames.WINDOW_UPDATE, 0, 0, b"\0\0\0\1\0"), SIZE),
    ("6.7 PING of a larger size", lambda c: frame(frames.PING, 0, 0, bytes(9)), SIZE),
    ("6.5 SETTINGS of a larger size", lambda c: frame(frames.SETTINGS, 0, 0, bytes(7)), SIZE),
    ("6.4 RST_STREAM of a larger size", lambda c: c.get(1, "/wait") + frame(frames.RST_STREAM, 0, 1, bytes(5)), SIZE),
    ("6.9 a connection's window that grows by 0", lambda c: window_update(0, 0), PROTOCOL),
    ("6.9.1 a connection's window above 2^31", lambda c: window_update(0, 2**31 - 1), FLOW),
    (
        "6.9.2 a stream's window above 2^31",
        lambda c: c.get(1, "/wait") + window_update(1, 2**31 - 1 - 65535) + settings([(4, 65536)]),
        FLOW,
    ),
    ("6.10 CONTINUATION of nothing", lambda c: frame(frames.CONTINUATION, 4, 1), PROTOCOL),
    ("6.10 another frame within a block", lambda c: frame(frames.HEADERS, 1, 1) + ping(bytes(8)), PROTOCOL),
    (
        "6.10 another stream's CONTINUATION",
        lambda c: frame(frames.HEADERS, 1, 1) + frame(frames.CONTINUATION, 4, 3),
        PROTOCOL,
    ),
    ("5.5 an unknown frame within a block", lambda c: frame(frames.HEADERS, 1, 1) + frame(0x77, 0, 1), PROTOCOL),
    ("RFC 9218 7.1 PRIORITY_UPDATE on a stream", lambda c: frame(frames.PRIORITY_UPDATE, 0, 1, bytes(4)), PROTOCOL),
    ("RFC 9218 7.1 of half a stream", lambda c: frame(frames.PRIORITY_UPDATE, 0, 0, bytes(3)), SIZE),
    ("RFC 9218 7.1 of stream 0", lambda c: frame(frames.PRIORITY_UPDATE, 0, 0, bytes(4)), PROTOCOL),
]


@pytest.mark.parametrize(
    ("saying", "code"), [each[1:] for each in CONNECTION_FAULTS], ids=[e[0] for e in CONNECTION_FAULTS]
)
def test_what_ends_the_connection(saying: Saying, code: ErrorCode) -> None:
    client = Client()
    answer = client.say(saying(client))
    assert connection_error(answer) is code
    assert client.protocol.closed
    assert client.say(client.get(99, "/1")) == []
    assert not client.protocol.streams


STREAM_FAULTS: list[tuple[str, Saying, ErrorCode]] = [
    ("5.1 DATA after the end of a request", lambda c: c.get(1, "/wait") + frame(frames.DATA, 1, 1, b"a"), CLOSED),
    ("5.1 HEADERS after the end of a request", lambda c: c.get(1, "/wait") + c.get(1, "/"), CLOSED),
    ("6.3 PRIORITY of another size", lambda c: c.get(1, "/wait") + frame(frames.PRIORITY, 0, 1, bytes(4)), SIZE),
    ("6.9 a window that grows by 0", lambda c: c.get(1, "/wait") + window_update(1, 0), PROTOCOL),
    ("6.9.1 a window above 2^31", lambda c: c.get(1, "/wait") + window_update(1, 2**31 - 1), FLOW),
    ("8.1 trailers that do not end it", lambda c: c.headers(1, body(), 4) + c.headers(1, [("a", "b")], 4), PROTOCOL),
    ("8.1 a pseudo-field in trailers", lambda c: c.headers(1, body(), 4) + c.headers(1, [(":path", "/")]), PROTOCOL),
    ("8.1.1 a body shorter than said", lambda c: c.headers(1, body("9"), 4) + frame(frames.DATA, 1, 1, b"a"), PROTOCOL),
    ("8.1.1 a body longer than said", lambda c: c.headers(1, body("1"), 4) + frame(frames.DATA, 0, 1, b"ab"), PROTOCOL),
    ("8.1.1 a length and no body", lambda c: c.get(1, "/", ("content-length", "40")), PROTOCOL),
    ("8.1.1 a length and trailers", lambda c: c.headers(1, body("9"), 4) + c.headers(1, [("a", "b")]), PROTOCOL),
    ("8.1.1 a length that is none", lambda c: c.get(1, "/", ("content-length", "-1")), PROTOCOL),
    ("8.2 a name in upper case", lambda c: c.get(1, "/", ("A", "b")), PROTOCOL),
    ("8.2.1 a name with a blank", lambda c: c.get(1, "/", ("a b", "c")), PROTOCOL),
    ("8.2.1 a name with a colon", lambda c: c.get(1, "/", ("a:b", "c")), PROTOCOL),
    ("8.2.1 an empty name", lambda c: c.get(1, "/", ("", "c")), PROTOCOL),
    ("8.2.1 a line end in a value", lambda c: c.get(1, "/", ("a", "b\r\nc: d")), PROTOCOL),
    ("8.2.1 a NUL in a value", lambda c: c.get(1, "/", ("a", "b\0")), PROTOCOL),
    ("8.2.1 a blank before a value", lambda c: c.get(1, "/", ("a", " b")), PROTOCOL),
    ("8.2.1 a blank after a value", lambda c: c.get(1, "/", ("a", "b ")), PROTOCOL),
    ("8.2.2 Connection", lambda c: c.get(1, "/", ("connection", "close")), PROTOCOL),
    ("8.2.2 Transfer-Encoding", lambda c: c.get(1, "/", ("transfer-encoding", "chunked")), PROTOCOL),
    ("8.2.2 Upgrade", lambda c: c.get(1, "/", ("upgrade", "h2c")), PROTOCOL),
    ("8.2.2 Keep-Alive", lambda c: c.get(1, "/", ("keep-alive", "1")), PROTOCOL),
    ("8.2.2 Proxy-Connection", lambda c: c.get(1, "/", ("proxy-connection", "1")), PROTOCOL),
    ("8.2.2 TE", lambda c: c.get(1, "/", ("te", "gzip")), PROTOCOL),
    ("8.3 an unknown pseudo-field", lambda c: c.get(1, "/", (":a", "b")), PROTOCOL),
    ("8.3 a response's pseudo-field", lambda c: c.get(1, "/", (":status", "200")), PROTOCOL),
    ("8.3 a pseudo-field after a field", lambda c: c.headers(1, [("a", "b"), *GET]), PROTOCOL),
    ("8.3 a path after a field", lambda c: c.headers(1, [*GET[:3], ("a", "b"), GET[3]]), PROTOCOL),
    ("8.3.1 two paths", lambda c: c.headers(1, [*GET, (":path", "/")]), PROTOCOL),
    ("8.3.1 two methods", lambda c: c.headers(1, [GET[0], *GET]), PROTOCOL),
    ("8.3.1 an empty path", lambda c: c.headers(1, [*GET[:3], (":path", "")]), PROTOCOL),
    ("8.3.1 no path", lambda c: c.headers(1, GET[:3]), PROTOCOL),
    ("8.3.1 no method", lambda c: c.headers(1, GET[1:]), PROTOCOL),
    ("8.3.1 no scheme", lambda c: c.headers(1, [GET[0], *GET[2:]]), PROTOCOL),
    ("8.5 CONNECT with a path", lambda c: c.headers(1, [(":method", "CONNECT"), *GET[2:]]), PROTOCOL),
]


def body(length: str = "") -> list[tuple[str, str]]:
    """The head of a request with a body that is read."""
    return [*POST[:3], (":path", "/body"), *([("content-length", length)] if length else [])]


@pytest.mark.parametrize(
    ("saying", "code"), [each[1:] for each in STREAM_FAULTS], ids=[each[0] for each in STREAM_FAULTS]
)
def test_what_ends_the_stream_and_nothing_else(saying: Saying, code: ErrorCode) -> None:
    client = Client()
    answer = client.say(saying(client))
    assert stream_error(answer, 1) is code
    assert not client.protocol.streams
    assert data_of(client.say(client.get(3, "/5")), 3) == 5


def test_what_has_to_come_first() -> None:
    """§3.4"""
    for data in (b"GET / HTTP/1.1\r\n", PREFACE[:-1] + b"x", PREFACE + ping(bytes(8)), PREFACE + frames.SETTINGS_ACK):
        client = Client(opened=False)
        assert connection_error(client.say(data)) is PROTOCOL


def test_padding_and_priority_in_a_head_are_passed_over() -> None:
    """§6.2"""
    client = Client()
    block = client.encoder.encode([*GET[:3], (":path", "/3")])
    flags = END_STREAM | END_HEADERS | PADDED | HAS_PRIORITY
    payload = bytes((4,)) + b"\x80\0\0\x03\x10" + block + bytes(4)
    assert data_of(client.say(frame(frames.HEADERS, flags, 1, payload)), 1) == 3


def test_a_head_may_come_in_pieces() -> None:
    """§6.10"""
    client = Client()
    block = client.encoder.encode([*GET[:3], (":path", "/3")])
    pieces = frame(frames.HEADERS, END_STREAM, 1, block[:3]) + frame(frames.CONTINUATION, 0, 1, block[3:5])
    assert data_of(client.say(pieces + frame(frames.CONTINUATION, END_HEADERS, 1, block[5:])), 1) == 3


def test_what_is_unknown_is_passed_over() -> None:
    """§4.1, §5.5, §6.5.2"""
    client = Client()
    answer = client.say(frame(0x77, 0xFF, 9, b"abc") + settings([(0x77, 1)]) + client.get(1, "/1"))
    assert answer[0] == Frame(frames.SETTINGS, ACK, 0, b"")
    assert data_of(answer, 1) == 1


def test_cookies_are_put_together_and_host_stands_for_authority() -> None:
    """§8.2.3, §8.3.1"""
    client = Client()
    cookies = [("cookie", "a=b"), ("cookie", "c=d"), ("x", "1"), ("x", "2")]
    client.say(client.headers(1, [GET[0], GET[1], GET[3], ("host", "a.pages.test"), *cookies]))
    (head,) = client.answering.heads
    assert head is not None
    values = head.common.fields.values
    assert (values[b"cookie"], values[b"x"], values[b"host"]) == (b"a=b; c=d", b"1, 2", b"a.pages.test")
    assert head.common.authority_agrees


@pytest.mark.parametrize(
    ("authority", "hosts", "agrees"),
    [
        ("a.test", ["a.test"], True),
        ("a.test", ["b.test"], False),
        ("a.test", ["a.test", "a.test"], False),
        (None, ["a.test", "a.test"], False),
        (None, [], False),
    ],
)
def test_authority_and_host_have_to_be_the_same(authority: str | None, hosts: list[str], agrees: bool) -> None:
    """§8.3.1"""
    client = Client()
    pseudo = [GET[0], GET[1], GET[3], *([(":authority", authority)] if authority else [])]
    client.say(client.headers(1, [*pseudo, *(("host", host) for host in hosts)]))
    (head,) = client.answering.heads
    assert head is not None
    assert head.common.authority_agrees is agrees


def test_a_head_that_is_too_long_is_told_so_and_the_next_is_understood() -> None:
    """§10.5.1"""
    client = Client()
    client.say(client.get(1, "/0", ("a", "b" * 5000), ("c", "d" * 5000), ("e", "f" * 5000), ("g", "h" * 5000)))
    client.say(client.get(3, "/0", ("a", "b" * 100)))
    first, second = client.answering.heads
    assert first is None
    assert second is not None


# Flow control.


def test_a_body_goes_as_far_as_the_windows() -> None:
    """§5.2, §6.9"""
    client = Client()
    assert data_of(client.say(client.get(1, "/100000")), 1) == 65535
    assert client.say(window_update(1, 1000)) == []  # the connection's is full as well
    assert data_of(client.say(window_update(0, 600)), 1) == 600
    assert data_of(client.say(window_update(0, 1 << 20)), 1) == 400
    assert data_of(client.say(window_update(1, 1 << 20)), 1) == 100000 - 65535 - 1000
    assert client.answering.events[-1] == ("done", 1)


def test_a_stream_s_window_holds_up_no_other() -> None:
    client = Client()
    client.say(window_update(0, 1 << 20))
    assert data_of(client.say(client.get(1, "/100000")), 1) == 65535
    assert data_of(client.say(client.get(3, "/60000")), 3) == 60000


def test_a_new_initial_window_counts_for_streams_that_are_open() -> None:
    """§6.9.2: also downwards, below nothing."""
    client = Client()
    client.say(window_update(0, 1 << 20) + settings([(frames.INITIAL_WINDOW_SIZE, 1000)]))
    assert data_of(client.say(client.get(1, "/3000")), 1) == 1000
    client.say(settings([(frames.INITIAL_WINDOW_SIZE, 0)]))  # now it is -1000
    assert client.say(window_update(1, 1000)) == []
    assert data_of(client.say(window_update(1, 1)), 1) == 1
    assert data_of(client.say(settings([(frames.INITIAL_WINDOW_SIZE, 5000)])), 1) == 1999


def test_what_is_prepared_waits_for_its_window_as_well() -> None:
    client = Client()
    client.say(settings([(frames.INITIAL_WINDOW_SIZE, 5)]))
    assert data_of(client.say(client.get(1, "/ready/5")), 1) == 5
    client.say(client.get(3, "/ready/6"))
    assert client.answering.events == [("asked", 3)]


def test_a_body_that_is_wanted_is_read_as_long_as_it_is() -> None:
    client = Client()
    client.say(client.headers(1, body(), 4))
    for _ in range(40):
        answer = client.say(frame(frames.DATA, 0, 1, bytes(16000)) + frame(frames.DATA, 0, 1, bytes(16000)))
        grown = {each.stream: int.from_bytes(each.payload, "big") for each in answer}
        assert set(grown) <= {0, 1}
    client.say(frame(frames.DATA, END_STREAM | PADDED, 1, b"\x03end" + bytes(3)))
    assert client.answering.bodies[1] == bytes(40 * 32000) + b"end"
    assert client.answering.events == [("asked", 1), ("body ended", 1), ("done", 1)]


def test_trailers_end_a_body() -> None:
    client = Client()
    client.say(client.headers(1, body("3"), 4) + frame(frames.DATA, 0, 1, b"abc") + client.headers(1, [("x", "y")]))
    assert client.answering.events == [("asked", 1), ("body ended", 1), ("done", 1)]


def test_a_body_that_nobody_wants_is_not_waited_for() -> None:
    """§8.1: the whole answer, then RST_STREAM with NO_ERROR; what is under way is let pass, and counts."""
    client = Client()
    answer = client.say(client.headers(1, POST, 4))
    assert [each.kind for each in answer] == [frames.HEADERS]
    assert client.answering.events == [("asked", 1), ("done", 1)]
    assert client.say(frame(frames.DATA, 0, 1, bytes(16384))) == []
    client.protocol.tend(0.5)
    assert client.out() == []  # some clients forget the answer when it comes together with this
    client.protocol.tend(ended_streams.LINGER_SECONDS)
    assert stream_error(client.out(), 1) is ErrorCode.NO_ERROR
    answer = client.say(frame(frames.DATA, 0, 1, bytes(16384)) * 2)
    assert answer == [Frame(frames.WINDOW_UPDATE, 0, 0, (32768).to_bytes(4, "big"))]
    assert connection_error(client.say(frame(frames.DATA, END_STREAM, 1, b""))) is None


@pytest.mark.parametrize(
    "end",
    [
        lambda c: frame(frames.DATA, END_STREAM, 1, b"a"),
        lambda c: rst_stream(1, 0),
        lambda c: c.headers(1, [("a", "b")]),
    ],
    ids=["DATA", "RST_STREAM", "trailers"],
)
def test_who_ends_its_request_after_the_answer_is_not_told_to(end: Saying) -> None:
    client = Client()
    client.say(client.headers(1, POST, 4))
    assert client.say(end(client)) == []
    client.protocol.tend(9.0)
    assert client.out() == []
    assert connection_error(client.say(frame(frames.DATA, END_STREAM, 1, b"a"))) is CLOSED


def test_no_more_requests_linger_than_may_be_under_way() -> None:
    client = Client()
    answer = client.say(b"".join(client.headers(1 + 2 * number, POST, 4) for number in range(MOST_STREAMS + 3)))
    assert [each.stream for each in answer if each.kind == frames.RST_STREAM] == [1, 3, 5]


def test_more_data_than_was_allowed_is_an_error() -> None:
    """§6.9: of the stream, whose body is not taken; of the connection, whatever is taken."""
    client = Client()
    answer = client.say(
        client.headers(1, [*POST[:3], (":path", "/wait")], 4) + frame(frames.DATA, 0, 1, bytes(16384)) * 4
    )
    assert stream_error(answer, 1) is FLOW


# Turns.


def test_a_view_is_sent_and_no_copy() -> None:
    client = Client()
    held = bytes(100_000)
    client.say(window_update(0, 1 << 20) + settings([(frames.INITIAL_WINDOW_SIZE, 1 << 20)]))
    client.protocol.receive(client.get(1, "/wait") + client.get(3, "/wait"), 0.0)
    for stream in client.protocol.streams.values():
        client.protocol.respond(stream, b"\x88", held)
    client.protocol.pump(60_000)
    views = [piece for piece in client.protocol.out if isinstance(piece, memoryview)]
    assert len(views) == 4
    assert all(view.obj is held for view in views)


@pytest.mark.parametrize("pump", [1, 16_384, 65_536, 262_144, 1 << 24])
def test_a_long_body_comes_whole_in_frames_that_are_the_content_of_a_tls_record(pump: int) -> None:
    client = Client()
    body = bytes(range(251)) * 2400
    client.say(window_update(0, 1 << 20) + settings([(frames.INITIAL_WINDOW_SIZE, 1 << 20)]))
    client.protocol.receive(client.get(1, "/wait"), 0.0)
    client.protocol.respond(client.protocol.streams[1], b"\x88", body)
    found = []
    while more := client.out(pump):
        assert sum(frames.HEAD_SIZE + len(each.payload) for each in more) <= pump + 2 * frames.MAX_FRAME
        found += [each for each in more if each.kind == frames.DATA]
    assert b"".join(each.payload for each in found) == body
    assert [each.flags for each in found] == [0] * (len(found) - 1) + [END_STREAM]
    assert all(len(each.payload) <= frames.MAX_FRAME for each in found)
    if pump > 65_536:
        assert {len(each.payload) + frames.HEAD_SIZE for each in found[:-1]} == {frames.MAX_FRAME}


def test_equals_have_their_turns_and_the_urgent_come_first() -> None:
    """RFC 9218 §10"""
    client = Client()
    client.say(window_update(0, 1 << 24) + settings([(frames.INITIAL_WINDOW_SIZE, 1 << 24)]))
    film = client.get(1, "/1000000", ("priority", "u=5, i")) + client.get(3, "/1000000", ("priority", "u=5, i"))
    first = client.say(film, pump=100_000)
    assert [each.stream for each in first if each.kind == frames.DATA] == [1, 3, 1, 3, 1, 3, 1]
    style = client.say(client.get(5, "/40000", ("priority", "u=0")), pump=60_000)
    assert [each.stream for each in style if each.kind == frames.DATA] == [5, 5, 5, 3, 1]


def test_who_can_use_no_part_is_served_first_to_last_but_not_for_ever() -> None:
    client = Client()
    client.say(window_update(0, 1 << 24) + settings([(frames.INITIAL_WINDOW_SIZE, 1 << 24)]))
    answer = client.say(client.get(1, "/50000") + client.get(3, "/300000") + client.get(5, "/20000"))
    order = [each.stream for each in answer if each.kind == frames.DATA]
    assert order[:4] == [1] * 4
    assert order.index(5) < len(order) - 5  # not behind all of 3
    assert order[4:12] == [3] * 8


def test_a_priority_may_change_and_be_known_before_its_request() -> None:
    """RFC 9218 §7.1"""
    client = Client()
    client.say(window_update(0, 1 << 24) + settings([(frames.INITIAL_WINDOW_SIZE, 1 << 24)]))
    update = frame(frames.PRIORITY_UPDATE, 0, 0, (3).to_bytes(4, "big") + b"u=1")
    answer = client.say(update + client.get(1, "/40000") + client.get(3, "/40000"), pump=17_000)
    assert [each.stream for each in answer if each.kind == frames.DATA] == [3, 3]
    later = frame(frames.PRIORITY_UPDATE, 0, 0, (1).to_bytes(4, "big") + b"u=0")
    answer = client.say(later, pump=17_000)
    assert [each.stream for each in answer if each.kind == frames.DATA] == [1, 1]


def test_a_turn_ends_after_so_many_answers_and_goes_on_with_what_is_held() -> None:
    client = Client()
    asked = b"".join(client.get(1 + 2 * number, "/ready/1") for number in range(protocol.TURN_ANSWERS * 2 + 1))
    assert client.protocol.receive(asked, 0.0)
    assert client.answering.at_once_asked == protocol.TURN_ANSWERS
    assert client.protocol.receive(b"", 0.0)
    assert not client.protocol.receive(b"", 0.0)
    assert client.answering.at_once_asked == protocol.TURN_ANSWERS * 2 + 1


@pytest.mark.parametrize(("path", "asked_of_us"), [("/ready/1", 1), ("/40000", 1)])
def test_a_turn_that_lasts_too_long_ends_behind_the_frame_that_it_is_at(path: str, asked_of_us: int) -> None:
    client = Client()
    client.say(window_update(0, 1 << 24))
    asked = b"".join(client.get(1 + 2 * number, f"{path}{number:05}" + "x" * 600) for number in range(3))
    for turn in range(1, 4):
        more = client.protocol.receive(asked if turn == 1 else b"", 0.0, expired=lambda: True)
        assert (client.protocol.requests, more) == (turn * asked_of_us, turn < 3)


def test_nothing_is_read_while_the_client_takes_nothing() -> None:
    client = Client()
    client.protocol.room = False
    assert client.protocol.receive(client.get(1, "/ready/1"), 0.0)
    assert client.answering.at_once_asked == 0
    client.protocol.room = True
    client.say(b"")
    assert client.answering.at_once_asked == 1


# Streams.


def test_more_streams_than_allowed_are_refused_and_may_be_asked_again() -> None:
    """§5.1.2"""
    client = Client()
    client.say(b"".join(client.get(1 + 2 * number, "/wait") for number in range(MOST_STREAMS)))
    last = 1 + 2 * MOST_STREAMS
    assert stream_error(client.say(client.get(last, "/wait")), last) is ErrorCode.REFUSED_STREAM
    client.say(rst_stream(1, ErrorCode.CANCEL))
    assert client.say(client.get(last + 2, "/5"))[0].kind == frames.HEADERS


def test_a_stream_that_is_reset_is_given_up_at_once() -> None:
    """§5.4.2, §6.4"""
    client = Client()
    assert data_of(client.say(client.get(1, "/100000")), 1) == 65535
    client.say(rst_stream(1, ErrorCode.CANCEL))
    assert client.answering.events == [("asked", 1), ("gone", 1)]
    assert client.say(window_update(1, 1000) + window_update(0, 100_000) + rst_stream(1, 8)) == []
    assert not client.protocol.streams


def test_frames_on_their_way_to_a_stream_that_we_ended_are_let_pass() -> None:
    """§5.1: and their block is decoded all the same (§4.3)."""
    client = Client()
    client.say(client.headers(1, POST, 4))
    trailers = client.headers(1, [("x-new", "table entry")])
    assert client.say(frame(frames.DATA, 0, 1, bytes(500)) + trailers) == []
    client.say(client.get(3, "/1", ("x-new", "table entry")))
    head = client.answering.heads[-1]
    assert head is not None
    assert head.common.fields.values[b"x-new"] == b"table entry"


def test_a_body_is_sent_in_pieces_and_asked_for_when_taken() -> None:
    client = Client()
    client.say(client.get(1, "/wait"))
    stream = client.protocol.streams[1]
    client.protocol.respond(stream, b"\x88", ends=False)
    for piece in (b"a" * 40_000, b"b" * 20_000):
        client.protocol.put(stream, piece)
        assert data_of(client.out(), 1) == len(piece)
        assert client.answering.events[-1] == ("taken", 1)
    client.protocol.put(stream, b"", ends=True)
    assert client.out() == [Frame(frames.DATA, END_STREAM, 1, b"")]
    assert client.answering.events[-1] == ("done", 1)


# Floods (§10.5).

NOTHING: list[tuple[str, Saying]] = [
    ("CVE-2019-9512 PING", lambda c: ping(bytes(8))),
    ("CVE-2019-9515 SETTINGS", lambda c: settings(())),
    ("SETTINGS that say much", lambda c: settings([(0x77, 1)] * 2000)),
    ("CVE-2019-9513 PRIORITY", lambda c: frame(frames.PRIORITY, 0, 1, bytes(3) + b"\x07\x10")),
    ("PRIORITY_UPDATE", lambda c: frame(frames.PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1")),
    ("WINDOW_UPDATE of one byte", lambda c: window_update(0, 1)),
    ("unknown frames", lambda c: frame(0x77, 0, 0)),
    ("acknowledged settings", lambda c: frames.SETTINGS_ACK),
    ("PING answers", lambda c: ping(bytes(8), ack=True)),
    ("GOAWAY", lambda c: frames.goaway(0, 0)),
]


@pytest.mark.parametrize("saying", [each[1] for each in NOTHING], ids=[each[0] for each in NOTHING])
def test_frames_that_do_nothing_have_a_budget_by_count_and_time(saying: Saying) -> None:
    client = Client()
    said = saying(client)
    once = 1 + (len(said) - 9) / 60 if said[3] == frames.SETTINGS else 1
    for _ in range(int((abuse_limits.FRAMES - 50) / once)):
        assert connection_error(client.say(said)) is None
    client.now += 10.0
    for _ in range(int(abuse_limits.FRAMES_A_SECOND * 9 / once)):
        assert connection_error(client.say(said)) is None
    codes = [connection_error(client.say(said)) for _ in range(int(abuse_limits.FRAMES / once) + 5)]
    assert CALM in codes
    assert client.protocol.closed


def test_windows_that_change_all_the_time_are_paid_for_by_each_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """§6.5.3: thousands of values in a frame, a hundred streams."""
    client, changed = Client(), 0
    queue = Outgoing.queue

    def counted(self: Outgoing, stream: Stream) -> None:
        nonlocal changed
        changed += 1
        queue(self, stream)

    monkeypatch.setattr(Outgoing, "queue", counted)
    client.say(b"".join(client.get(number, "/wait") for number in range(1, 200, 2)))
    said = settings([(frames.INITIAL_WINDOW_SIZE, value % 2) for value in range(2700)])
    client.say(said + settings([(frames.INITIAL_WINDOW_SIZE, 7)]))
    assert changed == 200
    codes = [
        connection_error(client.say(settings([(frames.INITIAL_WINDOW_SIZE, n)]))) for n in range(abuse_limits.FRAMES)
    ]
    assert CALM in codes
    assert changed < 12_000
    assert not client.protocol.streams


def test_what_a_few_bytes_stand_for_is_not_remembered_without_bound() -> None:
    """§10.5.1: a short block that names one field of 4 000 bytes three times is a list of 12 000."""
    client = Client()
    client.say(client.get(1, "/0", ("x", "y" * 4000)))
    reader = client.protocol._reader
    for number in range(400):
        named = b"\x01\x03%03d" % number + b"\xbe" * 3  # an authority of its own, and x, x, x
        path = b"\x04\x02/a" if number % 2 else b"\x84"  # which is left out of what is remembered, and which is not
        client.say(frame(frames.HEADERS, 5, 3 + 2 * number, b"\x82\x87" + path + named))
    assert len(client.answering.heads) == 401
    held = {id(common): common for common in [*(h.common for h in reader._blocks.values()), *reader._around.values()]}
    assert held
    assert sum(common.nbytes for common in held.values()) <= 64 * 1024


def test_empty_data_has_a_budget() -> None:
    """CVE-2019-9518"""
    client = Client()
    client.say(client.headers(1, body(), 4))
    codes = [connection_error(client.say(frame(frames.DATA, 0, 1))) for _ in range(abuse_limits.FRAMES + 10)]
    assert CALM in codes


def test_who_takes_a_large_file_may_open_its_windows_as_it_likes() -> None:
    client = Client()
    client.say(settings([(frames.INITIAL_WINDOW_SIZE, 2**31 - 1)]))
    client.say(client.get(1, "/50000000"))
    received = 65535
    while received < 50_000_000:
        for _ in range(4):
            received += data_of(client.say(window_update(0, 2048)), 1)
    assert not client.protocol.closed


def test_a_body_taken_byte_by_byte_is_not_worth_its_frames() -> None:
    """CVE-2019-9511, 9517"""
    client = Client()
    client.say(settings([(frames.INITIAL_WINDOW_SIZE, 0)]))
    client.say(client.get(1, "/100000"))
    codes = [connection_error(client.say(window_update(1, 1))) for _ in range(abuse_limits.FRAMES + 100)]
    assert CALM in codes


@pytest.mark.parametrize(
    "end", [lambda n: rst_stream(n, 8), lambda n: window_update(n, 0)], ids=["CVE-2023-44487", "CVE-2025-8671"]
)
def test_requests_that_come_to_nothing_have_a_budget_whoever_ends_them(end: Callable[[int], bytes]) -> None:
    client = Client()

    def asked(first: int, count: int) -> bytes:
        return b"".join(client.get(n, "/wait") + end(n) for n in range(first, first + 2 * count, 2))

    assert connection_error(client.say(asked(1, 100))) is None  # a browser leaves a page
    assert data_of(client.say(client.get(1001, "/5")), 1001) == 5
    assert connection_error(client.say(asked(1003, 400))) is CALM


def test_a_malformed_request_costs_as_much() -> None:
    client = Client()
    codes = [
        connection_error(client.say(client.get(1 + 2 * n, "/", ("A", "b")))) for n in range(abuse_limits.FAILED + 10)
    ]
    assert CALM in codes


def test_a_block_that_does_not_end_is_bounded_in_bytes_and_pieces() -> None:
    """CVE-2024-27316"""
    for piece in (bytes(4000), b"", b"\0"):
        client = Client()
        client.say(frame(frames.HEADERS, END_STREAM, 1, b"\x82"))
        codes = []
        for _ in range(1000):
            codes.append(connection_error(client.say(frame(frames.CONTINUATION, 0, 1, piece))))
            if client.protocol.closed:
                break
        assert codes[-1] is CALM
        assert len(codes) < 20
        assert client.answering.heads == ([None] if piece == bytes(4000) else [])  # which is a 431


def test_too_many_cookies_are_answered_before_the_connection_ends_for_them() -> None:
    client = Client()
    block = client.encoder.encode([*GET, *(("cookie", f"c{number}={'x' * 3900}") for number in range(180))])
    pieces = [block[at : at + 16384] for at in range(0, len(block), 16384)]
    answer = client.say(frame(frames.HEADERS, END_STREAM, 1, pieces[0]))
    for piece in pieces[1:]:
        answer += client.say(frame(frames.CONTINUATION, 0, 1, piece))
    assert client.answering.heads == [None]
    assert answer[0].kind == frames.HEADERS
    (end,) = (each for each in answer if each.stream == 1 and each.flags & END_STREAM)
    assert answer.index(end) == len(answer) - 2
    assert answer[-1].payload[:4] == (1).to_bytes(4, "big")  # that one was answered
    assert connection_error(answer) is CALM


def test_a_bomb_of_header_compression_is_not_unpacked() -> None:
    """§10.5.1: 4 000 references to one field of 4 000 bytes."""
    client = Client()
    client.say(client.get(1, "/0", ("x", "y" * 4000)))
    bomb = client.encoder.encode(GET) + bytes((0x80 | 62,)) * 16000
    client.say(frame(frames.HEADERS, 5, 3, bomb[:16384]))
    assert client.answering.heads[-1] is None
    assert data_of(client.say(client.get(5, "/5")), 5) == 5


# The end.


def test_the_end_comes_in_two_steps_and_loses_nothing() -> None:
    """§6.8"""
    client = Client()
    client.say(client.get(1, "/wait"))
    client.protocol.warn()
    asked, first = client.out()
    assert (first.kind, first.payload[:4]) == (frames.GOAWAY, (2**31 - 1).to_bytes(4, "big"))
    assert asked.kind == frames.PING
    # What was on its way is answered.
    assert data_of(client.say(client.get(3, "/5")), 3) == 5
    (last,) = client.say(ping(asked.payload, ack=True))
    assert (last.kind, last.payload[:4]) == (frames.GOAWAY, (3).to_bytes(4, "big"))
    # What comes after that is not, and may be asked elsewhere; but its block is decoded.
    assert client.say(client.get(5, "/5", ("x-new", "entry")) + frame(frames.DATA, 1, 5, b"")) == []
    assert 5 not in client.protocol.streams
    client.answering.answer(client.protocol.streams[1], 9)
    assert data_of(client.out(), 1) == 9
    assert not client.protocol.streams


def test_streams_under_way_are_given_up_with_their_connection() -> None:
    client = Client()
    client.say(client.get(1, "/wait") + client.get(3, "/100000"))
    client.protocol.fail(ConnectionFault(ErrorCode.INTERNAL_ERROR, "test"))
    assert client.answering.events[-2:] == [("gone", 1), ("gone", 3)]
    assert not client.protocol.streams
