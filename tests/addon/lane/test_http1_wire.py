# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""HTTP/1 of the lane without a socket: how long a turn is, who waits for how long, what is written when it is taken."""

import asyncio
from typing import Any

import pytest

from addon.lane.answers import CLOSE, KEEP_ALIVE
from addon.lane.http1 import Connection
from addon.lane.http1_bodies import CHUNK, AnswerWriter
from addon.lane.http2 import frames
from addon.lane.http2_connection import Http2Connection
from addon.lane.lane import Lane
from addon.serving.server import Answer, Request
from tests.addon.lane.delivery import Delivery
from tests.addon.lane.lane_running import BIG, FORGEJO, LAST, Pages, answers, get, prepared
from tests.addon.lane.wire import PEER, WireTransport, clock, cut_after, slow_pages, wired_lane
from tests.clock import Clock
from tests.waiting import rounds, until

__all__ = ["clock"]

pytestmark = pytest.mark.usefixtures("clock")  # a turn ends by time as well

FORM = "Content-Type: application/x-www-form-urlencoded"


async def nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Who takes what is not ours, and does nothing with it."""


def connected(lane: Lane, **options: Any) -> tuple[WireTransport, Connection]:
    transport = WireTransport(**options)
    connection = Connection(lane, nobody)
    transport.attach(connection)
    return transport, connection


def told(transport: WireTransport) -> list[bytes]:
    """The bodies that came."""
    return [body for _, _, body in answers(bytes(transport.written))]


def sized(pages: Pages, size: int) -> None:
    """Each answer has so many bytes."""

    def answer_from_memory(request: Request) -> Answer:
        return Answer(200, [(b"Content-Length", b"%d" % size)], bytes(size), cache="HIT")

    pages.answer_from_memory = answer_from_memory  # type: ignore[method-assign]


# Turns.


async def test_a_turn_is_32_answers_and_others_have_theirs_between() -> None:
    with wired_lane() as (lane, _, _):
        transport, connection = connected(lane)
        transport.receive(get("/hit") * 70)
        counts = []
        for _ in range(4):
            counts.append((lane.answered, connection.busy))
            await rounds()
        assert counts == [(32, True), (64, True), (70, False), (70, False)]
        assert len(transport.writes) == 3  # each turn is one write
        assert told(transport) == [b"GET /hit"] * 70


@pytest.mark.parametrize(("count", "turns"), [(32, 1), (33, 2)])
async def test_a_turn_that_is_all_there_is_is_not_followed_by_another(count: int, turns: int) -> None:
    with wired_lane() as (lane, _, _):
        transport, connection = connected(lane)
        transport.receive(get("/hit") * count)
        assert connection.busy is (turns > 1)
        await rounds(2)
        assert len(transport.writes) == turns
        assert not connection.busy


async def test_a_turn_is_256_kib_of_bodies() -> None:
    with wired_lane() as (lane, pages, _):
        for size, first in ((64 * 1024, 5), (64 * 1024 - 1, 5), (52_429, 5), (52_428, 6)):
            sized(pages, size)
            transport, _ = connected(lane)
            before = lane.answered
            transport.receive(get("/sized") * 12)
            assert lane.answered - before == first
            await rounds(4)
            assert [len(body) for body in told(transport)] == [size] * 12


async def test_the_bodies_of_ready_answers_count_as_others_do() -> None:
    with wired_lane() as (lane, pages, _):
        pages.with_basis = True
        made = pages._made

        def larger(request: Request) -> Answer:
            answer = made(request)
            answer.headers, answer.body = [(b"Content-Length", b"60000")], bytes(60_000)
            return answer

        pages._made = larger  # type: ignore[method-assign]
        transport, _ = connected(lane)
        transport.receive(get("/hit") * 12)
        assert (len(pages.seen), lane.answered) == (1, 5)
        await rounds(4)
        assert (len(pages.seen), lane.answered) == (1, 12)


async def test_a_turn_is_one_millisecond(clock: Clock) -> None:
    with wired_lane() as (lane, pages, _):
        for milliseconds, first in ((0.4, 3), (0.6, 2), (1.1, 1)):
            slow_pages(pages, clock, milliseconds)
            transport, connection = connected(lane)
            before = lane.answered
            transport.receive(get("/hit") * 8)
            assert (lane.answered - before, connection.busy) == (first, True)
            await until(lambda connection=connection: not connection.busy)  # type: ignore[misc]
            assert told(transport) == [b"GET /hit"] * 8
            transport.receive(get("/hit"))
            assert not connection.busy  # what is the last needs no other turn


# Time.


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"GET /", get("/hit")[:-1]])
async def test_silence_has_its_time_and_a_head_that_has_begun_another(clock: Clock, begun: bytes) -> None:
    with wired_lane(headerTimeout="20s", idleTimeout="70s") as (lane, _, _):
        transport, connection = connected(lane)
        clock.now += 500
        transport.receive(get("/hit") + begun)
        transport.written.clear()
        patience = 20 if begun else 70
        connection.check(clock.now + patience)
        assert (transport.said, bytes(transport.written)) == ([], b"")
        connection.check(clock.now + patience + 0.1)
        assert transport.said == (["eof"] if begun else ["close"])
        assert transport.written.startswith(b"HTTP/1.1 408 " if begun else b"")


async def test_silence_begins_with_the_connection(clock: Clock) -> None:
    with wired_lane(headerTimeout="20s", idleTimeout="70s") as (lane, _, _):
        transport, connection = connected(lane)
        assert connection.idle_since == clock.now
        connection.check(clock.now + 70)
        assert transport.said == []
        connection.check(clock.now + 70.1)
        assert transport.said == ["close"]


async def test_a_head_has_its_time_from_its_first_byte_on(clock: Clock) -> None:
    with wired_lane(headerTimeout="20s", idleTimeout="70s") as (lane, _, _):
        transport, connection = connected(lane)
        clock.now += 69
        transport.receive(b"GET")
        for _ in range(2):
            clock.now += 10
            transport.receive(b" ")
            connection.check(clock.now)
        assert transport.said == []
        connection.check(clock.now + 0.1)
        assert transport.said == ["eof"]
        transport, connection = connected(lane)
        transport.receive(b"GET")
        clock.now += 15
        transport.receive(get("/hit")[3:] + b"GET")  # another head
        connection.check(clock.now + 20)
        assert transport.said == []


async def test_who_waits_for_us_is_not_silent(clock: Clock) -> None:
    with wired_lane(headerTimeout="20s", idleTimeout="70s") as (lane, pages, log):
        pages.release.clear()
        transport, connection = connected(lane)
        transport.receive(get("/miss"))
        await until(lambda: pages.asked)
        assert [connection.idle_since] == [None]
        clock.now += 500
        connection.check(clock.now)
        pages.release.set()
        await until(lambda: transport.written)
        await rounds(2)
        assert log.lines[0]["seconds"] == 500.0
        connection.check(clock.now + 70)
        assert transport.said == []
        assert connection.idle_since == clock.now
        connection.check(clock.now + 70.1)
        assert transport.said == ["close"]


async def test_a_reader_has_two_minutes_for_the_next_byte_it_takes(clock: Clock) -> None:
    with wired_lane(idleTimeout="70s") as (lane, _, _):
        assert lane.stall_timeout == 120.0
        transport, connection = connected(lane)
        transport.takes = False
        transport.receive(get("/hit"))
        connection.check(clock.now)
        for _ in range(3):
            clock.now += 120
            connection.check(clock.now)
            transport.left -= 1
            connection.check(clock.now)  # it took one
        clock.now += 120
        connection.check(clock.now)
        assert transport.said == []
        assert (connection.busy, connection.idle_since) == (True, None)
        connection.check(clock.now + 0.1)
        assert transport.said == ["abort"]


@pytest.mark.parametrize("what", ["another request", "more of the body"])
async def test_a_buffer_that_is_as_full_as_before_may_be_another(clock: Clock, what: str) -> None:
    with wired_lane() as (lane, _, _):
        transport, connection = connected(lane)
        transport.left = 5
        connection.check(clock.now)
        clock.now += 100
        if what == "another request":
            transport.receive(get("/hit"))
        else:
            connection._writer = AnswerWriter(lane, transport, b"")
            connection._writer.sent = 1
        connection.check(clock.now)
        cut_after(120, clock, connection, transport)


async def test_what_tasks_have_sent_is_progress_as_well(clock: Clock) -> None:
    with wired_lane() as (lane, _, _):
        transport, connection = connected(lane)
        transport.receive(get("/miss"))
        await until(lambda: transport.written)
        await rounds(2)
        assert connection._sent == len("GET /miss")


async def test_who_was_told_the_end_has_two_seconds_to_go(clock: Clock) -> None:
    with wired_lane(maxRequestsPerConnection=1, idleTimeout="1s") as (lane, _, _):
        transport, connection = connected(lane)
        clock.now += 50
        transport.receive(get("/hit"))
        assert transport.said == ["eof"]
        assert [connection.idle_since] == [None]
        transport.receive(get("/hit"))  # is not even looked at
        connection.check(clock.now + 2)
        assert (transport.said, lane.answered) == (["eof"], 1)
        connection.check(clock.now + 2.1)
        assert transport.said == ["eof", "abort"]


async def test_who_was_refused_and_takes_nothing_has_as_long_as_any(clock: Clock) -> None:
    with wired_lane(maxHeadSize=1024) as (lane, _, _):
        transport, connection = connected(lane)
        transport.takes = False
        transport.receive(get("/" + "a" * 2000))
        assert transport.written.startswith(b"HTTP/1.1 431 ")
        connection.check(clock.now)
        connection.check(clock.now + 120)
        assert transport.said == ["eof"]
        connection.check(clock.now + 120.1)
        assert transport.said == ["eof", "abort"]


# The end of a connection.


@pytest.mark.parametrize("half_closes", [True, False])
async def test_a_connection_that_cannot_be_half_closed_is_closed(half_closes: bool) -> None:
    with wired_lane(maxRequestsPerConnection=1) as (lane, _, _):
        transport, _ = connected(lane, half_closes=half_closes)
        transport.receive(get("/hit"))
        assert transport.said == (["eof"] if half_closes else ["close"])


@pytest.mark.parametrize(("asked", "said"), [(get("/hit", LAST), "close"), (get("/hit", LAST) + b"more", "eof")])
async def test_who_asked_for_the_end_is_not_lingered_for_unless_it_goes_on(asked: bytes, said: str) -> None:
    with wired_lane() as (lane, _, _):
        transport, _ = connected(lane)
        transport.receive(asked)
        assert transport.said == [said]
        transport, _ = connected(lane)
        transport.receive(asked.replace(b"/hit", b"/miss"))
        await until(lambda: transport.said)
        assert transport.said == [said]


@pytest.mark.parametrize("path", ["/hit", "/miss"])
async def test_who_has_half_closed_is_answered_and_closed(path: str) -> None:
    with wired_lane() as (lane, pages, _):
        pages.release.clear()
        transport, connection = connected(lane)
        transport.receive(get(path) * 40)
        assert connection.eof_received() is True
        pages.release.set()
        await until(lambda: transport.said)
        assert transport.said == ["close"]
        assert len(told(transport)) == 40


async def test_who_half_closes_and_has_asked_nothing_is_closed_by_the_loop() -> None:
    with wired_lane() as (lane, _, _):
        transport, connection = connected(lane)
        transport.receive(get("/hit"))
        assert connection.eof_received() is False
        transport, connection = connected(lane)
        transport.receive(get("/hit")[:-1])
        assert connection.eof_received() is False


async def test_who_is_told_of_the_end_may_be_asked_to_go_or_goes_with_its_answer() -> None:
    with wired_lane() as (lane, pages, _):
        pages.release.clear()
        idle, busy, begun, ended = (connected(lane) for _ in range(4))
        busy[0].receive(get("/miss"))
        begun[0].receive(b"GET")
        ended[0].receive(get("/hit", LAST))
        lane.retiring = True
        for _, connection in (idle, busy, begun, ended):
            connection.warn()
            connection.retire()
        assert [transport.said for transport, _ in (idle, busy, begun, ended)] == [["eof"], [], [], ["close"]]
        pages.release.set()
        begun[0].receive(get("/hit")[3:])
        await until(lambda: busy[0].said)
        assert [transport.said for transport, _ in (busy, begun)] == [["eof"], ["eof"]]
        assert answers(bytes(begun[0].written))[0][1]["connection"] == "close"


async def test_what_was_begun_before_the_end_was_told_ends_its_connection() -> None:
    """Its head said nothing of the end, so it is the silence after it that is the last."""
    with wired_lane() as (lane, pages, _):
        pages.release.clear()
        transport, _ = connected(lane)
        transport.receive(get("/miss"))
        await until(lambda: pages.asked)
        lane.retiring = True
        pages.release.set()
        await until(lambda: transport.said)
        assert (transport.said, told(transport)) == (["eof"], [b"GET /miss"])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("why", ["most", "retiring", "asked", "old"])
async def test_an_answer_says_whether_it_is_the_last(method: str, why: str) -> None:
    with wired_lane(maxRequestsPerConnection=2) as (lane, _, _):
        transport, _ = connected(lane)
        transport.receive(get("/hit") if why == "most" else b"")
        transport.written.clear()
        lane.retiring = why == "retiring"
        fields = [LAST] if why == "asked" else []
        transport.receive(get("/miss", *fields, method=method, version="1.0" if why == "old" else "1.1"))
        await until(lambda: transport.said)
        assert answers(bytes(transport.written))[0][1]["connection"] == "close"


async def test_a_repeat_is_not_taken_for_the_last_or_one_at_the_end() -> None:
    with wired_lane(maxRequestsPerConnection=5) as (lane, pages, _):
        pages.with_basis = True
        transport, _ = connected(lane)
        for _ in range(4):
            transport.receive(get("/hit"))
        assert [fields.get("connection") for _, fields, _ in answers(bytes(transport.written))] == [None] * 4
        transport.receive(get("/hit"))
        assert answers(bytes(transport.written))[-1][1]["connection"] == "close"
        other, _ = connected(lane)
        other.receive(get("/hit"))
        lane.retiring = True
        other.receive(get("/hit"))
        assert [fields.get("connection") for _, fields, _ in answers(bytes(other.written))] == [None, "close"]
        assert len(pages.seen) == 1
        assert lane.answered == 7


async def test_a_connection_that_is_not_let_in_is_cut_and_asked_nothing() -> None:
    with wired_lane(maxConnectionsPerAddress=1) as (lane, _, _):
        connected(lane)
        transport, _ = connected(lane)
        assert transport.said == ["abort"]
        transport.receive(get("/hit"))
        transport.protocol.connection_lost(None)
        assert (bytes(transport.written), lane.connections_of(PEER[0])) == (b"", 1)


# Who does not read.


async def test_nothing_is_looked_at_while_the_client_takes_nothing() -> None:
    with wired_lane() as (lane, pages, _):
        transport, connection = connected(lane)
        transport.takes = False
        connection.pause_writing()
        transport.receive(get("/hit"))
        assert (pages.seen, connection.busy, connection.idle_since) == ([], True, None)
        connection.resume_writing()
        assert len(pages.seen) == 1
        assert told(transport) == [b"GET /hit"]


async def test_reading_stops_when_what_is_held_is_full_and_goes_on_afterwards() -> None:
    with wired_lane(maxRequestsPerConnection=0) as (lane, pages, _):
        pages.release.clear()
        transport, connection = connected(lane)
        transport.receive(get("/miss"))
        one = get("/hit")
        transport.receive(one * (lane.most_held // len(one)))
        rest = lane.most_held - len(connection._held)
        transport.receive((one * 2)[: rest - 1])
        assert transport.is_reading()
        assert len(connection.get_buffer(0)) == 1
        transport.receive((one * 2)[rest - 1 : rest])
        assert (transport.is_reading(), len(connection._held)) == (False, lane.most_held)
        pages.release.set()
        count = lane.most_held // len(one)
        await until(lambda: lane.answered >= count + 1)
        assert transport.is_reading()
        assert told(transport)[: count + 1] == [b"GET /miss"] + [b"GET /hit"] * count


async def test_what_is_not_ours_is_handed_over_when_what_was_answered_is_taken() -> None:
    with wired_lane() as (lane, _, _):
        transport, connection = connected(lane)
        transport.takes = False
        writing = transport.write

        def write(data: bytes) -> None:
            writing(data)
            connection.pause_writing()

        transport.write = write  # type: ignore[assignment,method-assign]
        transport.receive(get("/hit") + get("/", host=FORGEJO))
        assert (lane.handed_over, transport.protocol) == (0, connection)
        transport.taken()
        assert lane.handed_over == 1
        assert transport.protocol is not connection
        assert lane._handed_over[PEER] is transport.protocol
        assert len(lane) == 0


async def test_of_what_is_handed_over_reading_goes_on() -> None:
    with wired_lane() as (lane, pages, _):
        pages.release.clear()
        transport, _ = connected(lane)
        transport.receive(get("/miss") + get("/", host=FORGEJO) + bytes(lane.most_held))
        assert not transport.is_reading()
        pages.release.set()
        await until(lambda: lane.handed_over)
        await until(transport.is_reading)


# Bodies of requests.


def post(length: int, body: bytes, *fields: str, path: str = "/miss", version: str = "1.1") -> bytes:
    return get(path, *fields, f"Content-Length: {length}", method="POST", version=version) + body


async def test_who_ends_before_its_form_is_complete_is_given_up_and_another_is_answered() -> None:
    with wired_lane() as (lane, pages, _):
        _, connection = connected(lane)
        connection.buffer_updated(0)
        transport, connection = connected(lane)
        transport.receive(post(10, b"a=b", FORM))
        assert connection.eof_received() is False
        transport, connection = connected(lane)
        transport.receive(post(10, b"a=b"))
        assert connection.eof_received() is True
        await until(lambda: transport.said)
        assert (told(transport), transport.said) == ([b"POST /miss"], ["close"])
        assert pages.forms == [None]


@pytest.mark.parametrize("slow", [False, True])
async def test_the_next_request_begins_behind_the_body(slow: bool) -> None:
    with wired_lane() as (lane, _, _):
        transport, connection = connected(lane)
        data = post(5, b"GET /", path="/miss/1") + get("/hit")
        for piece in [data[at : at + 1] for at in range(len(data))] if slow else [data]:
            transport.receive(piece)
        await until(lambda: len(told(transport)) == 2)
        await rounds(2)
        assert told(transport) == [b"POST /miss/1", b"GET /hit"]
        assert not connection.busy
        assert transport.said == []


async def test_an_answer_to_half_a_body_that_is_let_pass_waits_for_the_rest(clock: Clock) -> None:
    with wired_lane() as (lane, _, log):
        transport, connection = connected(lane)
        transport.receive(post(10, b"half"))
        await until(lambda: transport.written)
        await rounds(3)
        assert (connection.busy, log.lines) == (True, [])
        transport.receive(b"+ half" + get("/hit"))
        await until(lambda: len(told(transport)) == 2)
        assert told(transport) == [b"POST /miss", b"GET /hit"]
        assert [line["status"] for line in log.lines] == [200, 200]


async def test_an_answer_that_has_begun_is_logged_as_that_if_its_client_leaves() -> None:
    with wired_lane() as (lane, _, log):
        transport, connection = connected(lane)
        transport.receive(post(10, b"half"))
        await until(lambda: transport.written)
        connection.connection_lost(None)
        await until(lambda: log.lines)
        assert [line["status"] for line in log.lines] == [200]


@pytest.mark.parametrize(("version", "said"), [("1.1", b"HTTP/1.1 100 Continue\r\n\r\n"), ("1.0", b"")])
async def test_who_asks_before_it_sends_is_told_to(version: str, said: bytes) -> None:
    with wired_lane() as (lane, _, _):
        transport, _ = connected(lane)
        transport.receive(post(3, b"", FORM, "Expect: 100-continue", version=version))
        assert transport.written == said
        transport, _ = connected(lane)
        transport.receive(post(3, b"a=b", FORM, "Expect: 100-continue", version=version))  # it did not wait
        assert not transport.written.startswith(b"HTTP/1.1 100")


# One answer that takes longer than a write.


def writer(lane: Lane, connection: bytes = b"", http11: bool = True) -> tuple[WireTransport, AnswerWriter]:
    transport = WireTransport()
    return transport, AnswerWriter(lane, transport, connection, http11)


@pytest.mark.parametrize(
    ("size", "writes"),
    [(10, [10]), (CHUNK, [CHUNK]), (CHUNK + 1, [0, CHUNK, 1]), (3 * CHUNK, [0, CHUNK, CHUNK, CHUNK])],
)
@pytest.mark.parametrize("head_only", [False, True])
async def test_a_large_body_is_written_piece_by_piece(size: int, writes: list[int], head_only: bool) -> None:
    assert CHUNK == 256 * 1024
    with wired_lane() as (lane, _, _):
        transport, answering = writer(lane)
        assert (answering.begun, answering.sent, answering.ends) == (False, 0, False)
        await answering.whole(Answer(200, [], BIG[:size]), head_only)
        head, _, body = bytes(transport.written).partition(b"\r\n\r\n")
        assert b"\r\nContent-Length: %d" % size in head
        assert body == (b"" if head_only else BIG[:size])
        assert (answering.begun, answering.sent) == (True, 0 if head_only else size)
        of_head = len(head) + 4
        assert transport.writes == ([of_head] if head_only else [of_head + writes[0], *writes[1:]])


async def test_each_piece_waits_until_the_one_before_is_taken() -> None:
    with wired_lane() as (lane, _, _):
        transport, answering = writer(lane)
        writing = transport.write

        def write(data: bytes) -> None:
            writing(data)
            answering.room = False

        transport.write = write  # type: ignore[assignment,method-assign]
        task = asyncio.create_task(answering.whole(Answer(200, [], BIG[: 2 * CHUNK]), False))
        for written in (1, 2, 3):
            await rounds(3)
            assert len(transport.writes) == written
            assert not task.done()
            answering.resume()
            answering.resume()  # twice is once
        await task


@pytest.mark.parametrize(("connection", "ends"), [(CLOSE, True), (KEEP_ALIVE, False), (b"", False)])
async def test_an_answer_ends_its_connection_if_it_says_so(connection: bytes, ends: bool) -> None:
    with wired_lane() as (lane, _, _):
        transport, answering = writer(lane, connection)
        assert answering.ends is ends
        await answering.whole(Answer(200, [], b"abc"), False)
        assert answers(bytes(transport.written))[0][1].get("connection", "") == connection.decode()[12:-2]
        transport, answering = writer(lane, connection)
        answering.end()
        assert answering.ends
        await answering.whole(Answer(200, [], b"abc"), False)
        assert answers(bytes(transport.written))[0][1]["connection"] == "close"


@pytest.mark.parametrize(("path", "sent"), [("/stream?1000", 1000), ("/unknown", 200_000)])
async def test_what_a_stream_has_sent_is_counted_and_waits_to_be_taken(path: str, sent: int) -> None:
    with wired_lane() as (lane, pages, log):
        pages.chunk = 500 if sent == 1000 else 100_000
        transport, connection = connected(lane)
        transport.receive(get(path))
        connection.pause_writing()
        await until(lambda: transport.written)
        await rounds(20)
        assert len(transport.writes) == 2  # the head, and one piece
        assert log.lines == []
        connection.resume_writing()
        await until(lambda: log.lines)
        assert log.lines[0]["nbytes"] == sent
        assert pages.open_streams == 0


async def test_what_a_cookie_opened_is_ready_for_that_cookie_alone() -> None:
    with wired_lane() as (lane, pages, _):
        seen = prepared(pages, locked=True)

        def three(*fields: str) -> int:
            """How often one of three was not ready."""
            before = len(seen)
            transport, _ = connected(lane)
            for _ in range(3):
                transport.receive(get("/page", *fields))
            return len(seen) - before

        assert three("Cookie: a=b") == 1
        assert three("Cookie: a=b") == 0
        assert three("Cookie: c=d") == 1
        assert three() == 3  # without a cookie it is not kept
        assert three("Cookie: a=b", "Range: bytes=0-1") == 3
        seen = prepared(pages)
        lane.ready.clear()
        assert (three("Cookie: e=f"), three("Cookie: g=h"), three()) == (1, 0, 0)


async def test_who_was_silent_too_long_is_answered_nothing_more(clock: Clock) -> None:
    with wired_lane(idleTimeout="70s") as (lane, pages, _):
        transport, connection = connected(lane)
        connection.check(clock.now + 70.1)
        assert transport.said == ["close"]
        transport.receive(get("/hit"))
        assert not transport.written
        assert not pages.seen


async def test_a_webhook_reads_what_comes_and_is_told_the_end() -> None:
    delivery = Delivery()
    body = delivery.body
    with wired_lane() as (lane, _, _):
        lane.webhook = delivery.webhook

        def said(count: int, size: int) -> bytes:
            fields = [f"{name}: {value}" for name, value in delivery.fields[:count]]
            return get(delivery.path, *fields, f"Content-Length: {size}", method="POST", host="pages.test")

        transport, _ = connected(lane)
        transport.receive(said(2, len(body)) + body[:10])
        await rounds(5)
        assert (delivery.purged, bytes(transport.written)) == ([], b"")
        transport.receive(body[10:])
        await until(lambda: transport.written)
        await until(lambda: delivery.purged == [("alice", "blog")])
        for count in (0, 1):
            transport.receive(said(count, 2) + b"{}")
        await until(lambda: len(answers(bytes(transport.written))) == 3)
        assert [status // 100 for status, _, _ in answers(bytes(transport.written))] == [2, 4, 4]
        assert delivery.purged == [("alice", "blog")]


async def test_without_a_log_all_is_answered() -> None:
    with wired_lane(maxHeadSize=1024) as (lane, pages, log):
        lane.log = None
        pages.with_basis = True
        transport, _ = connected(lane)
        for _ in range(3):
            transport.receive(get("/hit"))
        transport.receive(get("/miss") + get("/stream?1000") + get("/" + "a" * 2000))
        await until(lambda: transport.said)
        assert [status for status, _, _ in answers(bytes(transport.written))] == [200] * 5 + [431]
        assert log.lines == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_what_comes_again_is_logged_as_it_was_the_first_time(clock: Clock, method: str, version: str) -> None:
    fields = "Host: alice.pages.test\r\nUser-Agent: A\r\nReferer: https://x.test/?a=b\r\nConnection: keep-alive\r\n"
    with wired_lane(trustedProxies=["192.0.2.0/24"]) as (lane, pages, log):
        pages.with_basis = True
        for claimed in ("", "X-Forwarded-For: 198.51.100.9\r\n"):
            request = f"{method} /hit HTTP/{version}\r\n{fields}{claimed}\r\n".encode()
            transport, _ = connected(lane)
            for _ in range(4):
                transport.receive(request)
        assert len(pages.seen) == 1
        clients = [line.pop("client") for line in log.lines]
        assert clients == [PEER[0]] * 4 + ["198.51.100.9"] * 4
        assert log.lines == log.lines[:1] * 8
        assert (log.lines[0]["nbytes"], log.lines[0]["seen"].protocol) == (
            8 if method == "GET" else 0,
            f"HTTP/{version}",
        )


async def test_what_the_log_keeps_of_requests_is_counted() -> None:
    with wired_lane() as (lane, pages, _):
        pages.with_basis = True
        transport, _ = connected(lane)
        for _ in range(2):
            transport.receive(get("/hit"))
        known = lane.repeated_requests.known(False, None).http1
        before = lane.repeated_requests._used
        transport.receive(get("/hit"))
        assert lane.repeated_requests._used > before
        lane.repeated_requests.count_bytes(1 << 40)
        assert known == {}


# Over TLS, and HTTP/2.


@pytest.mark.parametrize("alpn", [None, "http/1.1", "h2"])
async def test_a_handshake_says_which_protocol_it_is_and_begins_the_time(clock: Clock, alpn: str | None) -> None:
    with wired_lane(idleTimeout="70s") as (lane, pages, log):
        pages.with_basis = True
        transport, connection = connected(lane)
        clock.now += 60
        connection.secured(alpn)
        if alpn == "h2":
            assert isinstance(transport.protocol, Http2Connection)
            assert list(lane._connections) == [transport.protocol]
            assert lane.connections_of(PEER[0]) == 1
            connection.buffer_updated(5)  # which it does not take any more
            return
        assert transport.protocol is connection
        connection.check(clock.now + 70)
        assert transport.said == []
        for _ in range(3):
            transport.receive(get("/hit"))
        assert len(pages.seen) == 1
        assert [len(lane.repeated_requests.known(secure, None).http1) for secure in (True, False)] == [1, 0]
        other, _ = connected(lane)
        for _ in range(3):
            other.receive(get("/hit"))
        assert [line["seen"].tls for line in log.lines] == [True] * 3 + [False] * 3
        assert [len(lane.repeated_requests.known(secure, None).http1) for secure in (True, False)] == [1, 1]


async def test_who_is_not_let_in_speaks_no_http2() -> None:
    with wired_lane(maxConnectionsPerAddress=1) as (lane, _, _):
        connected(lane)
        transport, connection = connected(lane)
        connection.secured("h2")
        assert (transport.protocol, bytes(transport.written), len(lane)) == (connection, b"", 1)


async def test_who_is_sent_to_https_gets_nothing_that_is_ready_for_others() -> None:
    with wired_lane(redirectHTTPS=True) as (lane, pages, _):
        pages.with_basis = True
        transport, connection = connected(lane)
        for _ in range(3):
            transport.receive(get("/hit"))
        assert len(pages.seen) == 3
        connection.secured(None)
        for _ in range(3):
            transport.receive(get("/hit"))
        assert len(pages.seen) == 3  # what was made by plain HTTP is ready for others
        assert [len(lane.repeated_requests.known(secure, None).http1) for secure in (True, False)] == [1, 0]


@pytest.mark.parametrize(
    ("before", "secure", "wanted", "understood"),
    [(b"", False, True, True), (b"", False, False, False), (b"", True, True, False), (get("/hit"), False, True, False)],
)
async def test_http2_that_begins_by_itself_is_understood_at_the_beginning_where_it_is_wanted(
    before: bytes, secure: bool, wanted: bool, understood: bool
) -> None:
    with wired_lane(http2Plain=wanted) as (lane, _, _):
        transport, connection = connected(lane)
        if secure:
            connection.secured(None)
        transport.receive(before)
        transport.written.clear()
        opening = frames.PREFACE + frames.settings(())
        transport.receive(opening + frames.ping(b"01234567"))
        if understood:
            assert isinstance(transport.protocol, Http2Connection)
            assert transport.written.endswith(frames.ping(b"01234567", ack=True))
        else:
            assert transport.written.startswith(b"HTTP/1.1 400 ")
            assert lane.handed_over == 0
