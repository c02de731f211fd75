# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""HTTP/2 of the lane without a socket: how long a turn is, who waits for how long, what is sent again and to whom."""

import socket
from typing import Any

import hpack
import pytest

from addon.lane import http2_answering
from addon.lane.http2 import frames
from addon.lane.http2.frames import END_HEADERS, END_STREAM, ErrorCode, frame, ping, rst_stream, settings, window_update
from addon.lane.http2_answering import Http2Answering
from addon.lane.http2_connection import Http2Connection
from addon.lane.lane import Lane
from addon.serving.server import Answer, Request
from tests.addon.lane.delivery import Delivery
from tests.addon.lane.http2.talking import OPENING, Frame, connection_error, data_of, parsed, stream_error
from tests.addon.lane.lane_running import BIG, FORGEJO, HOST, Pages, prepared
from tests.addon.lane.wire import PEER, WireTransport, clock, cut_after, slow_pages, wired_lane
from tests.clock import Clock
from tests.waiting import rounds, until

__all__ = ["clock"]

pytestmark = pytest.mark.usefixtures("clock")  # a turn ends by time as well

FORM = ("content-type", "application/x-www-form-urlencoded")
KIB = 1024


class Speaking:
    """A client of one connection. wide: it takes whatever there is."""

    def __init__(self, lane: Lane, *, secure: bool = True, wide: bool = True, opened: bool = True) -> None:
        self.transport = WireTransport()
        self.connection = Http2Connection(lane, self.transport, PEER[0], secure)
        lane.admit(self.connection, PEER[0])
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.number = -1
        if opened:
            more = window_update(0, 1 << 30) + settings([(frames.INITIAL_WINDOW_SIZE, 1 << 30)]) if wide else b""
            self.say(OPENING + frames.SETTINGS_ACK + more)

    @property
    def said(self) -> list[str]:
        return self.transport.said

    def say(self, data: bytes) -> list[Frame]:
        self.transport.receive(data)
        return self.heard()

    def heard(self) -> list[Frame]:
        """What has come since."""
        data = bytes(self.transport.written)
        self.transport.written.clear()
        return list(parsed(data))

    def head(
        self, path: str, *fields: tuple[str, str], method: str = "GET", host: str = HOST, ends: bool = True
    ) -> bytes:
        """The next request."""
        self.number += 2
        pseudo = [(":method", method), (":scheme", "https"), (":authority", host), (":path", path)]
        flags = END_HEADERS | (END_STREAM if ends else 0)
        return frame(frames.HEADERS, flags, self.number, self.encoder.encode([*pseudo, *fields]))

    def get(self, path: str, *fields: tuple[str, str], **more: Any) -> tuple[str, bytes]:
        """Status and body of what is answered at once."""
        return self.read(self.say(self.head(path, *fields, **more)))

    async def got(self, path: str, *fields: tuple[str, str], **more: Any) -> tuple[str, bytes]:
        """The same of what takes a task."""
        return self.read(await self.ended(self.say(self.head(path, *fields, **more))))

    async def ended(self, answer: list[Frame]) -> list[Frame]:
        """Until a stream has ended."""

        def is_over() -> bool:
            answer.extend(self.heard())
            return any(each.flags & END_STREAM and each.kind in (frames.HEADERS, frames.DATA) for each in answer)

        await until(is_over)
        return answer

    def read(self, answer: list[Frame]) -> tuple[str, bytes]:
        status = ""
        for each in answer:
            if each.kind == frames.HEADERS:
                found = {bytes(name): bytes(value) for name, value in self.decoder.decode(each.payload, raw=True)}
                status = found[b":status"].decode()
        return status, b"".join(each.payload for each in answer if each.kind == frames.DATA)

    def check(self, now: float) -> list[Frame]:
        self.connection.check(now)
        return self.heard()


def known(lane: Lane, pages: Pages) -> Speaking:
    """A client that has asked for `/hit` twice, so that its answer is ready from now on."""
    pages.with_basis = True
    client = Speaking(lane)
    for _ in range(2):
        client.get("/hit")
    return client


# Turns.


async def test_a_turn_is_about_a_hundred_answers_written_by_sixteen() -> None:
    with wired_lane(maxRequestsPerConnection=0) as (lane, pages, _):
        client = known(lane, pages)
        client.transport.writes.clear()
        client.transport.receive(b"".join(client.head("/hit") for _ in range(250)))
        counts = [lane.answered]
        for _ in range(3):
            await rounds()
            counts.append(lane.answered)
        assert counts == [2 + 112, 2 + 224, 2 + 250, 2 + 250]
        assert len(client.transport.writes) == 7 + 7 + 2
        assert len(pages.seen) == 1


async def test_a_turn_is_one_millisecond(clock: Clock) -> None:
    with wired_lane() as (lane, pages, _):
        for milliseconds, first in ((0.4, 3), (0.6, 2), (1.1, 1)):
            slow_pages(pages, clock, milliseconds)
            client = Speaking(lane)
            before = lane.answered
            client.transport.receive(b"".join(client.head("/hit") for _ in range(8)))
            assert lane.answered - before == first
            await until(lambda before=before: lane.answered - before == 8)  # type: ignore[misc]


async def test_a_long_body_is_written_by_four_frames_and_256_kib_in_a_turn() -> None:
    with wired_lane() as (lane, _, _):
        client = Speaking(lane)
        client.transport.writes.clear()
        client.transport.receive(client.head("/big"))
        pieces = client.transport.writes.copy()
        assert sum(pieces) in range(256 * KIB, 290 * KIB)
        assert all(size <= 4 * 16 * KIB + 16 for size in pieces)
        assert len(pieces) == 5
        await rounds()
        assert sum(client.transport.writes) > 1.9 * sum(pieces)
        await until(lambda: not client.connection.busy)
        assert client.read(client.heard()) == ("200", BIG)


async def test_what_fits_into_four_frames_is_written_at_once() -> None:
    with wired_lane() as (lane, pages, _):
        for size, writes in ((16 * KIB, 1), (60_000, 1), (65_000, 1), (70_000, 2)):
            client = Speaking(lane)
            pages.answer_from_memory = lambda request, size=size: Answer(200, [], bytes(size))  # type: ignore[method-assign,misc]
            client.transport.writes.clear()
            client.transport.receive(client.head("/sized"))
            await until(lambda client=client: not client.connection.busy)  # type: ignore[misc]
            assert len(client.transport.writes) == writes
            assert len(client.read(client.heard())[1]) == size


async def test_while_the_client_takes_nothing_what_comes_is_held_and_then_not_read() -> None:
    with wired_lane() as (lane, pages, _):
        client = Speaking(lane)
        client.connection.pause_writing()
        asked = client.head("/hit")
        client.transport.receive(asked + bytes(lane.most_held - len(asked) - 1))
        assert client.transport.is_reading()
        client.transport.receive(bytes(1))
        assert not client.transport.is_reading()
        assert pages.seen == []
        client.connection.resume_writing()
        assert len(pages.seen) == 1
        assert connection_error(client.heard()) is not None  # what followed was no frame
        assert client.transport.is_reading()


async def test_what_is_held_in_a_turn_of_others_is_gone_on_with() -> None:
    with wired_lane(maxRequestsPerConnection=0) as (lane, pages, _):
        client = known(lane, pages)
        client.transport.receive(b"".join(client.head("/hit") for _ in range(120)))
        before = lane.answered
        client.transport.receive(client.head("/hit"))
        assert lane.answered == before == 114
        await rounds(2)
        assert lane.answered == 123
        assert client.connection._protocol.held == 0


# Time.


async def test_an_idle_connection_has_its_time(clock: Clock) -> None:
    with wired_lane(headerTimeout="20s", idleTimeout="70s") as (lane, _, _):
        client = Speaking(lane)
        clock.now += 30
        assert client.connection.idle_since == clock.now - 30
        assert client.get("/hit") == ("200", b"GET /hit")
        assert client.check(clock.now) == []
        assert client.connection.idle_since == clock.now
        assert client.check(clock.now + 70) == []
        (end,) = client.check(clock.now + 70.1)
        assert (end.kind, end.payload[:4]) == (frames.GOAWAY, (1).to_bytes(4, "big"))
        assert client.said == ["eof"]


async def test_who_asks_again_and_again_is_not_idle(clock: Clock) -> None:
    with wired_lane(idleTimeout="70s") as (lane, pages, _):
        pages.with_basis = True
        client = Speaking(lane)
        for _ in range(4):
            client.get("/hit")
            clock.now += 70
            assert client.check(clock.now) == []
        assert client.check(clock.now + 0.1) != []


async def test_who_waits_for_us_is_not_idle_and_the_log_says_how_long(clock: Clock) -> None:
    with wired_lane(headerTimeout="20s", idleTimeout="70s") as (lane, pages, log):
        pages.release.clear()
        client = Speaking(lane)
        client.say(client.head("/miss"))
        await until(lambda: pages.asked)
        for _ in range(3):
            clock.now += 100
            assert client.check(clock.now) == []
        assert (client.connection.busy, client.connection.idle_since) == (True, None)
        pages.release.set()
        await until(lambda: log.lines)
        assert [(line["status"], line["seconds"]) for line in log.lines] == [(200, 300.0)]
        client.heard()
        assert client.check(clock.now) == []
        assert client.check(clock.now + 70) == []
        assert client.check(clock.now + 70.1) != []


async def test_the_log_has_no_duration_of_what_was_ready_and_that_of_what_was_sent_slowly(clock: Clock) -> None:
    with wired_lane() as (lane, pages, log):
        pages.with_basis = True
        client = Speaking(lane, wide=False)
        for _ in range(4):
            client.get("/hit")
            clock.now += 0.25
        client.say(client.head("/stream?70000"))
        await rounds(20)
        clock.now += 4
        client.say(window_update(0, 10_000) + window_update(client.number, 10_000))
        await until(lambda: len(log.lines) == 5)
        assert [line["seconds"] for line in log.lines] == [0.0] * 4 + [4.0]
        assert [line["nbytes"] for line in log.lines] == [8] * 4 + [70_000]


async def test_what_fails_after_its_stream_is_gone_says_nothing() -> None:
    with wired_lane() as (lane, pages, log):
        client = Speaking(lane)
        client.say(client.head("/never"))
        await until(lambda: pages.asked)
        answering = client.connection._answering
        (stream,) = client.connection._protocol.streams.values()
        job = stream.owner
        client.say(rst_stream(1, 8))
        answering._failed(stream, job)  # type: ignore[arg-type]  # it has an owner
        client.connection._flush()
        assert client.heard() == []
        assert [line["status"] for line in log.lines] == [499]


async def test_a_connection_ends_once() -> None:
    with wired_lane() as (lane, _, _):
        client = Speaking(lane)
        client.say(ping(b"seven b"))
        assert client.said == ["eof"]
        client.connection._flush()
        client.connection._close()
        client.say(ping(bytes(8)))
        assert client.said == ["eof"]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"", ErrorCode.PROTOCOL_ERROR),
        (OPENING[:30], ErrorCode.PROTOCOL_ERROR),
        (OPENING, ErrorCode.SETTINGS_TIMEOUT),
        (OPENING + frames.SETTINGS_ACK + ping(bytes(8))[:-1], ErrorCode.PROTOCOL_ERROR),
    ],
)
async def test_what_is_begun_has_its_time(clock: Clock, said: bytes, code: ErrorCode) -> None:
    with wired_lane(headerTimeout="20s", idleTimeout="70s") as (lane, _, _):
        client = Speaking(lane, opened=False)
        client.say(said)
        assert client.check(clock.now + 20) == []
        assert connection_error(client.check(clock.now + 20.1)) is code
        assert client.said == ["eof"]


async def test_each_beginning_has_its_own_time(clock: Clock) -> None:
    with wired_lane(headerTimeout="20s", idleTimeout="700s") as (lane, _, _):
        client = Speaking(lane)
        one = ping(bytes(8))
        for _ in range(4):
            client.say(one[:-1])
            clock.now += 15
            assert client.check(clock.now) == []
            client.say(one[-1:])
        client.check(clock.now)
        clock.now += 50
        client.check(clock.now)
        client.say(one[:-1])
        assert client.check(clock.now + 20) == []
        assert connection_error(client.check(clock.now + 20.1)) is ErrorCode.PROTOCOL_ERROR


async def test_what_comes_byte_by_byte_has_no_more_time(clock: Clock) -> None:
    with wired_lane(headerTimeout="20s", idleTimeout="700s") as (lane, _, _):
        client = Speaking(lane)
        one = ping(bytes(8))
        client.say(one[:3])
        for at in (3, 4, 5):
            clock.now += 5
            client.say(one[at : at + 1])
        assert client.check(clock.now + 5) == []
        assert connection_error(client.check(clock.now + 5.1)) is ErrorCode.PROTOCOL_ERROR


async def test_a_reader_has_two_minutes_for_the_next_byte_it_takes(clock: Clock) -> None:
    with wired_lane(idleTimeout="70s") as (lane, _, _):
        client = Speaking(lane)
        client.transport.left = 100
        client.check(clock.now)
        for change in ("taken", "asked", "taken"):
            clock.now += 120
            client.check(clock.now)
            if change == "taken":
                client.transport.left -= 1
            else:
                client.say(client.head("/hit"))
            client.check(clock.now)
        assert client.connection.idle_since is None
        cut_after(120, clock, client.connection, client.transport)


async def test_who_was_told_why_has_two_seconds_to_go(clock: Clock) -> None:
    with wired_lane() as (lane, _, _):
        client = Speaking(lane)
        clock.now += 50
        assert connection_error(client.say(frame(frames.PUSH_PROMISE, 4, 1, bytes(4)))) is ErrorCode.PROTOCOL_ERROR
        assert client.said == ["eof"]
        client.check(clock.now)
        client.check(clock.now + 2)
        assert client.said == ["eof"]
        client.check(clock.now + 2.1)
        assert client.said == ["eof", "abort"]


async def test_a_stream_whose_reader_stops_is_given_up_and_another_is_not(clock: Clock) -> None:
    with wired_lane(idleTimeout="70s") as (lane, pages, log):
        pages.chunk = 1_000_000
        client = Speaking(lane, wide=False)
        client.say(window_update(0, 1 << 20))
        client.say(client.head("/stream?1000000"))
        await rounds(50)
        client.say(client.head("/stream?1000000"))
        await rounds(50)
        client.heard()
        client.check(clock.now)
        for _ in range(2):
            clock.now += 60
            client.say(window_update(1, 1))
            assert client.check(clock.now) == []
        assert pages.open_streams == 2
        answer = client.check(clock.now + 0.1)
        assert stream_error(answer, 3) is ErrorCode.CANCEL
        assert stream_error(answer, 1) is None
        await until(lambda: pages.open_streams == 1)
        assert stream_error(client.check(clock.now + 120), 1) is None
        assert stream_error(client.check(clock.now + 120.1), 1) is ErrorCode.CANCEL
        assert [line["status"] for line in log.lines] == [499, 499]


@pytest.mark.parametrize("fields", [(FORM,), ()])
async def test_a_body_has_thirty_seconds(clock: Clock, fields: tuple[tuple[str, str], ...]) -> None:
    with wired_lane() as (lane, pages, _):
        client = Speaking(lane)
        clock.now += 100
        client.say(client.head("/miss", *fields, method="POST", ends=False) + frame(frames.DATA, 0, 1, b"half"))
        assert client.check(clock.now + 30) == []
        assert client.read(client.check(clock.now + 30.1))[0] == "408"
        assert pages.asked == []
        await rounds(3)
        client.say(frame(frames.DATA, 0, 1, b"more"))
        await rounds(3)
        assert pages.asked == []


async def test_a_form_that_did_not_come_in_time_is_not_read_any_more(clock: Clock) -> None:
    with wired_lane() as (lane, pages, _):
        client = Speaking(lane, wide=False)
        client.say(settings([(frames.INITIAL_WINDOW_SIZE, 0)]))  # it does not take the answer
        client.say(client.head("/miss", FORM, method="POST", ends=False) + frame(frames.DATA, 0, 1, b"a="))
        assert client.read(client.check(clock.now + 30.1))[0] == "408"
        client.say(frame(frames.DATA, END_STREAM, 1, b"b"))
        await rounds(3)
        assert pages.asked == []


async def test_who_is_being_answered_may_send_as_slowly_as_it_likes(clock: Clock) -> None:
    with wired_lane() as (lane, pages, _):
        pages.release.clear()
        client = Speaking(lane)
        client.say(client.head("/miss", ("content-length", "90000"), method="POST", ends=False))
        await until(lambda: pages.asked)
        assert client.check(clock.now + 500) == []


@pytest.mark.parametrize("waits", [0, 500])
async def test_an_answer_has_its_time_from_when_it_begins(clock: Clock, waits: int) -> None:
    with wired_lane() as (lane, pages, _):
        pages.release.clear()
        client = Speaking(lane, wide=False)
        client.say(settings([(frames.INITIAL_WINDOW_SIZE, 0)]))
        client.say(client.head("/miss"))
        await until(lambda: pages.asked)
        if waits:
            clock.now += waits
            assert client.check(clock.now) == []
        pages.release.set()
        await until(lambda: client.transport.written)
        client.heard()
        assert client.check(clock.now + 120) == []
        assert stream_error(client.check(clock.now + 120.1), 1) is ErrorCode.CANCEL


# The end.


async def test_who_is_told_of_the_end_has_a_second_to_say_what_is_on_its_way(clock: Clock) -> None:
    with wired_lane() as (lane, _, _):
        client = Speaking(lane)
        client.connection.warn()
        assert [each.kind for each in client.heard()] == [frames.PING, frames.GOAWAY]
        assert client.check(clock.now) == []
        assert client.check(clock.now + 1) == []
        assert client.said == []
        assert [each.kind for each in client.check(clock.now + 1.1)] == [frames.GOAWAY]
        assert client.said == ["eof"]
        client.say(client.head("/hit"))
        assert client.heard() == []


async def test_who_answers_the_farewell_goes_at_once_and_after_its_answers() -> None:
    with wired_lane() as (lane, pages, _):
        pages.release.clear()
        client = Speaking(lane)
        client.say(client.head("/miss"))
        lane.retiring = True
        client.connection.warn()
        client.heard()
        (last,) = client.say(ping(b"farewell", ack=True))
        assert (last.kind, client.said) == (frames.GOAWAY, [])
        pages.release.set()
        assert client.read(await client.ended([])) == ("200", b"GET /miss")
        await until(lambda: client.said)
        assert client.said == ["eof"]


async def test_who_comes_when_it_is_the_end_is_told_so() -> None:
    with wired_lane() as (lane, _, _):
        lane.retiring = True
        client = Speaking(lane, opened=False)
        kinds = [each.kind for each in client.say(OPENING)]
        assert kinds == [frames.SETTINGS, frames.PING, frames.GOAWAY, frames.SETTINGS]
        assert client.get("/hit") == ("200", b"GET /hit")
        client.connection.retire()
        assert [each.kind for each in client.heard()] == [frames.GOAWAY]
        assert client.said == ["eof"]


@pytest.mark.parametrize("most", [3, 0])
async def test_after_so_many_requests_the_end_is_told(most: int) -> None:
    with wired_lane(maxRequestsPerConnection=most) as (lane, _, _):
        client = Speaking(lane)
        answers = [client.say(client.head("/hit")) for _ in range(4)]
        told = [any(each.kind == frames.GOAWAY for each in answer) for answer in answers]
        assert told == [False, False, most == 3, False]


async def test_who_half_closes_is_answered_and_closed() -> None:
    with wired_lane() as (lane, pages, _):
        client = Speaking(lane)
        assert client.connection.eof_received() is False
        pages.release.clear()
        client = Speaking(lane)
        client.say(client.head("/miss"))
        assert client.connection.eof_received() is True
        assert client.said == []
        pages.release.set()
        await until(lambda: client.said)
        assert client.read(client.heard()) == ("200", b"GET /miss")
        assert client.said == ["close"]


async def test_who_is_gone_is_forgotten_and_its_tasks_are_ended() -> None:
    with wired_lane() as (lane, pages, log):
        client = Speaking(lane)
        client.say(client.head("/never") + client.head("/never"))
        await until(lambda: len(pages.asked) == 2)
        assert len(lane) == 1
        client.connection.connection_lost(None)
        await until(lambda: pages.cancelled == 2)
        assert (len(lane), lane.connections_of(PEER[0])) == (0, 0)
        assert [line["status"] for line in log.lines] == [499, 499]
        assert client.heard() == []
        assert lane.meter.collect()["requests"] == [["lane", "HTTP/2", "4xx", "-", 2]]


# What is sent again, and to whom.


def times(client: Speaking, *fields: tuple[str, str]) -> None:
    for _ in range(3):
        assert client.get("/page", *fields) == ("200", b"/page")


async def test_what_follows_a_request_that_is_known_is_dealt_with_in_the_same_turn() -> None:
    with wired_lane() as (lane, pages, _):
        seen = prepared(pages)
        client = Speaking(lane)
        times(client)
        for _ in range(2):
            heard = client.say(client.head("/page") + ping(b"original") + client.head("/page"))
            kinds = [each.kind for each in heard]
            assert kinds == [frames.HEADERS, frames.DATA, frames.PING, frames.HEADERS, frames.DATA]
        assert len(seen) == 1


async def test_what_is_known_waits_for_its_turn_behind_what_is_being_sent() -> None:
    with wired_lane() as (lane, pages, _):
        pages.with_basis = True
        client = Speaking(lane)
        for _ in range(4):  # until each block is known, whatever the table holds
            heard = client.say(client.head("/hit", ("range", "bytes=0-1")) + client.head("/hit"))
            assert [each.stream for each in heard if each.kind == frames.DATA] == [client.number - 2, client.number]


@pytest.mark.parametrize("secure", [True, False])
async def test_what_is_prepared_is_made_once_for_all_connections_of_a_kind(secure: bool) -> None:
    with wired_lane() as (lane, pages, _):
        seen = prepared(pages)
        times(Speaking(lane, secure=secure))
        times(Speaking(lane, secure=secure))
        assert len(seen) == 1
        times(Speaking(lane, secure=not secure))
        assert len(seen) == 1  # it was prepared, and is known there from the second time on
        assert lane.answered == 9
        assert [len(lane.repeated_requests.known(kind, None).http2) for kind in (True, False)] == [1, 1]


async def test_who_is_sent_to_https_gets_nothing_that_is_ready_for_others() -> None:
    with wired_lane(redirectHTTPS=True) as (lane, pages, _):
        seen = prepared(pages)
        times(Speaking(lane))
        assert len(seen) == 1
        times(Speaking(lane, secure=False))
        assert len(seen) == 4
        assert [len(lane.repeated_requests.known(kind, None).http2) for kind in (True, False)] == [1, 0]


async def test_what_is_prepared_is_for_who_sends_cookies_as_well() -> None:
    with wired_lane() as (lane, pages, _):
        seen = prepared(pages)
        client = Speaking(lane)
        times(client, ("cookie", "a=b"))
        times(client, ("cookie", "c=d"))
        times(client)
        assert len(seen) == 1


@pytest.mark.parametrize("how", ["another fact", "another fact elsewhere", "not fresh any more"])
async def test_what_a_prepared_answer_rests_on_is_looked_at(clock: Clock, how: str) -> None:
    with wired_lane() as (lane, pages, _):
        pages.with_basis = True
        pages.fresh_until = clock.now + 10
        client = Speaking(lane)
        for _ in range(3):
            client.get("/hit")
        known = lane.repeated_requests.known(True, None).http2
        assert (len(pages.seen), len(known)) == (1, 1)
        pages.with_basis = False
        if how == "not fresh any more":
            clock.now += 9.9
            client.get("/hit")
            assert len(pages.seen) == 1
            clock.now += 0.2
        else:
            pages.facts.put(("site", "alice", "x" if how == "another fact" else "y"), object(), 0)
        client.get("/hit")
        assert (len(pages.seen), len(known)) == ((1, 1) if how == "another fact elsewhere" else (2, 0))


async def test_what_a_cookie_opened_is_ready_for_that_cookie_alone() -> None:
    with wired_lane() as (lane, pages, _):
        seen = prepared(pages, locked=True)
        client = Speaking(lane)
        times(client, ("cookie", "a=b"))
        times(Speaking(lane), ("cookie", "a=b"))
        assert len(seen) == 1
        times(client, ("cookie", "c=d"))
        assert len(seen) == 2
        times(client)
        assert len(seen) == 5  # without a cookie it is not kept
        for field in (("range", "bytes=0-1"), ("cache-control", "no-cache")):
            times(client, ("cookie", "a=b"), field)
        assert len(seen) == 11


async def test_what_a_cookie_opened_that_counts_without_tls_alone_is_not_ready_with_tls() -> None:
    with wired_lane() as (lane, pages, _):
        seen = prepared(pages, locked=True, plain_http=True)
        times(Speaking(lane, secure=False), ("cookie", "a=b"))
        assert len(seen) == 1
        times(Speaking(lane), ("cookie", "a=b"))
        assert len(seen) == 4


async def test_what_a_request_says_besides_its_line_and_key_is_looked_at_each_time() -> None:
    with wired_lane() as (lane, pages, _):
        seen = prepared(pages)
        client = Speaking(lane)
        times(client, ("range", "bytes=0-1"))
        assert len(seen) == 3
        for _ in range(3):
            assert client.get("/page?query")[0] == "200"
        assert len(seen) == 6
        for _ in range(3):
            assert client.get("/page", method="OPTIONS")[0] == "200"
        assert len(seen) == 9
        for method in ("HEAD", "HEAD", "HEAD"):
            assert client.get("/page", method=method) == ("200", b"")
        assert len(seen) == 10


@pytest.mark.parametrize(("size", "kept"), [(64 * KIB, True), (64 * KIB + 1, False)])
async def test_what_is_larger_than_64_kib_is_not_kept_ready(size: int, kept: bool) -> None:
    with wired_lane() as (lane, pages, _):
        pages.with_basis = True
        made = pages._made

        def larger(request: Request) -> Answer:
            answer = made(request)
            answer.headers, answer.body = [], BIG[:size]
            return answer

        pages._made = larger  # type: ignore[method-assign]
        client = Speaking(lane)
        for _ in range(3):
            assert await client.got("/hit") == ("200", BIG[:size])
        assert len(pages.seen) == (1 if kept else 3)
        assert len(lane.ready) == kept


async def test_forgejos_host_and_loops_are_refused_and_logged() -> None:
    with wired_lane() as (lane, _, log):
        client = Speaking(lane)
        assert client.get("/", host=FORGEJO)[0] == "421"
        assert client.get("/hit", host="other.pages.test")[0] == "200"
        assert [line["status"] for line in log.lines] == [421, 200]
        assert [line["host"] for line in log.lines] == [FORGEJO, "other.pages.test"]


# Bodies of requests.


async def test_a_body_that_nobody_reads_is_let_come_up_to_16_kib() -> None:
    with wired_lane() as (lane, pages, _):
        client = Speaking(lane)
        for length, waits in ((16 * KIB, True), (16 * KIB + 1, False)):
            said = client.head("/hit", ("content-length", str(length)), method="PUT", ends=False)
            assert bool(client.say(said)) is not waits
            if waits:
                assert client.say(frame(frames.DATA, 0, client.number, bytes(length - 1))) == []
                answer = client.say(frame(frames.DATA, END_STREAM, client.number, bytes(1)))
                assert client.read(answer) == ("200", b"PUT /hit")
        said = client.head("/hit", ("expect", "100-continue"), ("content-length", "5"), method="PUT", ends=False)
        assert client.read(client.say(said)) == ("200", b"PUT /hit")  # it is not told to
        said = client.head("/hit", method="PUT", ends=False)
        answer = client.say(said + frame(frames.DATA, 0, client.number, bytes(16 * KIB)))
        assert [each for each in answer if each.stream] == []
        assert client.read(client.say(frame(frames.DATA, 0, client.number, bytes(1)))) == ("200", b"PUT /hit")
        assert pages.asked == []


@pytest.mark.parametrize(("size", "read"), [(16 * KIB, True), (16 * KIB + 1, False)])
@pytest.mark.parametrize("said", [True, False])
async def test_a_form_of_16_kib_is_read(size: int, read: bool, said: bool) -> None:
    with wired_lane() as (lane, pages, _):
        client = Speaking(lane)
        fields = (FORM, ("content-length", str(size))) if said else (FORM,)
        asked = client.head("/miss", *fields, method="POST", ends=False)
        asked += frame(frames.DATA, 0, 1, b"x" * 16_000) + frame(frames.DATA, END_STREAM, 1, b"x" * (size - 16_000))
        assert (client.read(await client.ended(client.say(asked)))) == ("200", b"POST /miss")
        assert pages.forms == [b"x" * size if read else None]


async def test_a_form_is_a_post_of_that_type() -> None:
    with wired_lane() as (lane, pages, _):
        client = Speaking(lane)
        for method, kind in (("PUT", FORM[1]), ("POST", "text/plain"), ("POST", f"x{FORM[1]}")):
            asked = client.head("/miss", ("content-type", kind), method=method, ends=False)
            client.read(await client.ended(client.say(asked + frame(frames.DATA, END_STREAM, client.number, b"a=b"))))
        for kind in (f" {FORM[1].upper()}".strip(), f"{FORM[1]}; charset=utf-8"):
            asked = client.head("/miss", ("content-type", kind), method="POST", ends=False)
            client.read(await client.ended(client.say(asked + frame(frames.DATA, END_STREAM, client.number, b"a=b"))))
        assert pages.forms == [None, None, None, b"a=b", b"a=b"]


@pytest.mark.parametrize("said", ["100-continue", "100-Continue"])
async def test_who_waits_to_be_told_is_told_once(said: str) -> None:
    with wired_lane() as (lane, pages, _):
        client = Speaking(lane)
        interim = client.say(client.head("/miss", FORM, ("expect", said), method="POST", ends=False))
        assert [(each.kind, each.flags) for each in interim] == [(frames.HEADERS, END_HEADERS)]
        assert client.read(interim)[0] == "100"
        answer = await client.ended(client.say(frame(frames.DATA, END_STREAM, 1, b"a=b")))
        assert client.read(answer) == ("200", b"POST /miss")
        assert client.say(client.head("/miss", FORM, ("expect", said), method="POST"))[:1] == []  # nothing follows
        assert pages.forms[:1] == [b"a=b"]


async def test_a_form_whose_sender_gives_it_up_is_answered_by_nobody() -> None:
    with wired_lane() as (lane, pages, log):
        client = Speaking(lane)
        client.say(client.head("/miss", FORM, method="POST", ends=False) + frame(frames.DATA, 0, 1, b"a=b"))
        client.say(rst_stream(1, 8) + frame(frames.DATA, END_STREAM, 1, b""))
        await rounds(3)
        assert pages.asked == []
        assert [line["status"] for line in log.lines] == [499]


# Large answers.


async def test_up_to_64_kib_nobody_waits_for_others_to_be_taken() -> None:
    with wired_lane() as (lane, pages, _):
        client = Speaking(lane, wide=False)
        bodies = [bytearray(BIG[: 64 * KIB + (number > 19)]) for number in range(60)]

        def answer_from_memory(request: Request) -> Answer:
            return Answer(200, [], bytes(bodies[int(request.path[1:])]))

        pages.answer_from_memory = answer_from_memory  # type: ignore[method-assign]
        client.say(b"".join(client.head(f"/{number}") for number in range(20)))
        assert lane.unacknowledged == 0
        assert len(client.connection._protocol.streams) == 20
        pages.release.clear()
        for number in range(20, 20 + http2_answering.MOST_LARGE + 2):
            client.say(client.head(f"/{number}"))
        await rounds(3)
        responding = [stream.responding for stream in client.connection._protocol.streams.values()]
        assert responding == [True] * (20 + http2_answering.MOST_LARGE) + [False] * 2
        assert lane.unacknowledged == http2_answering.MOST_LARGE * (64 * KIB + 1)
        client.connection.connection_lost(None)
        assert lane.unacknowledged == 0


async def test_what_has_waited_is_asked_for_anew_in_the_order_in_which_it_came() -> None:
    with wired_lane() as (lane, pages, _):
        lane.most_unacknowledged = 1
        client = Speaking(lane, wide=False)
        for _ in range(5):
            client.say(client.head("/part"))
        await rounds(3)
        assert lane.unacknowledged == len(BIG)
        assert pages.asked == []
        for asked, number in enumerate((1, 3, 5), 1):
            client.say(rst_stream(number, 8))
            await rounds(5)
            assert len(pages.asked) == asked
            assert lane.unacknowledged == len(BIG)
        responding = [stream.id for stream in client.connection._protocol.streams.values() if stream.responding]
        assert responding == [7]


async def test_a_stream_that_fails_holds_nothing_of_others(clock: Clock) -> None:
    with wired_lane() as (lane, pages, log):
        client = Speaking(lane)
        answer = client.say(client.head("/cut?1000"))
        await until(lambda: log.lines)
        answer += client.heard()
        assert stream_error(answer, 1) is ErrorCode.INTERNAL_ERROR
        assert data_of(answer, 1) == 500
        assert [(line["status"], line["nbytes"]) for line in log.lines] == [(500, 500)]
        assert pages.open_streams == 0
        answer = client.say(client.head("/fault"))
        assert client.read(answer)[0] == "500"
        assert lane.faults == 1


async def test_what_is_taken_is_not_counted_any_more() -> None:
    with wired_lane() as (lane, _, _):
        client = Speaking(lane)
        client.say(client.head("/big"))
        assert lane.unacknowledged == len(BIG)
        await until(lambda: not client.connection.busy)
        assert (lane.unacknowledged, client.connection._answering.ended) == (0, 1)


@pytest.mark.parametrize("fields", [(FORM,), ()])
async def test_of_a_body_that_is_too_large_no_more_is_allowed(fields: tuple[tuple[str, str], ...]) -> None:
    with wired_lane() as (lane, pages, _):
        pages.release.clear()
        client = Speaking(lane)
        client.say(client.head("/miss", *fields, method="POST", ends=False))
        answer = client.say(frame(frames.DATA, 0, 1, bytes(16 * KIB)) * 5)
        assert [each.stream for each in answer if each.kind == frames.WINDOW_UPDATE] == [0, 1, 0]
        client.say(frame(frames.DATA, END_STREAM, 1, b"x"))
        pages.release.set()
        assert client.read(await client.ended([])) == ("200", b"POST /miss")
        assert pages.forms == [None]


async def test_without_a_log_all_is_answered() -> None:
    with wired_lane(maxHeadSize=1024) as (lane, pages, log):
        lane.log = None
        pages.with_basis = True
        client = Speaking(lane)
        for _ in range(3):
            assert client.get("/hit")[0] == "200"
        assert (await client.got("/miss"))[0] == "200"
        assert (await client.got("/stream?1000"))[0] == "200"
        assert client.get("/hit", ("x", "y" * 3_000))[0] == "431"
        assert stream_error(client.say(client.head("/cut?1000")) + await _later(client), client.number) is not None
        client.say(client.head("/never"))
        client.say(rst_stream(client.number, 8))
        assert client.get("/hit")[0] == "200"
        assert log.lines == []


async def _later(client: Speaking) -> list[Frame]:
    await rounds(20)
    return client.heard()


async def test_a_webhook_reads_what_comes_and_is_told_the_end() -> None:
    delivery = Delivery()
    path, fields, body, purged = delivery.path, delivery.fields, delivery.body, delivery.purged
    with wired_lane() as (lane, _, _):
        lane.webhook = hook = delivery.webhook
        client = Speaking(lane)
        said = client.head(path, *fields, method="POST", host="pages.test", ends=False)
        answer = client.say(said + frame(frames.DATA, 0, 1, body[:10]) + frame(frames.DATA, 0, 1, body[10:]))
        await rounds(5)
        assert purged == []
        answer += client.say(frame(frames.DATA, END_STREAM, 1))
        assert client.read(await client.ended(answer))[0] == "202"
        await until(lambda: purged == [("alice", "blog")])
        for fields_of, status in ((fields[:1], "4"), ((), "4")):
            said = client.head(path, *fields_of, method="POST", host="pages.test")
            assert client.read(await client.ended(client.say(said)))[0].startswith(status)
        client.say(client.head(path, *fields, method="POST", host="pages.test", ends=False))
        await until(lambda: len(hook._reading) == 1)
        client.say(rst_stream(client.number, 8))
        await until(lambda: len(hook._reading) == 0)
        assert purged == [("alice", "blog")]


async def test_an_answer_that_ends_between_two_looks_begins_the_silence(clock: Clock) -> None:
    with wired_lane(idleTimeout="70s") as (lane, pages, _):
        pages.release.clear()
        client = Speaking(lane)
        client.say(client.head("/miss"))
        await until(lambda: pages.asked)
        client.check(clock.now)
        clock.now += 60
        pages.release.set()
        await client.ended([])
        assert client.check(clock.now) == []
        assert client.check(clock.now + 70) == []
        assert client.check(clock.now + 70.1) != []


@pytest.mark.parametrize(("sizes", "waits"), [((524_288, 524_287), False), ((524_288, 524_288), True)])
async def test_while_all_leave_too_much_a_client_may_leave_a_mib(sizes: tuple[int, int], waits: bool) -> None:
    with wired_lane() as (lane, pages, _):
        lane.most_unacknowledged = 1
        bodies = {f"/{number}": BIG[number : number + size] for number, size in enumerate((*sizes, 100_000))}

        def answer_from_memory(request: Request) -> Answer:
            return Answer(200, [], bodies[request.path])

        pages.answer_from_memory = answer_from_memory  # type: ignore[method-assign]
        client = Speaking(lane, wide=False)
        for path in bodies:
            client.say(client.head(path))
        streams = client.connection._protocol.streams
        assert [streams[number].responding for number in (1, 3, 5)] == [True, True, not waits]
        client.say(client.head("/0") + client.head("/1"))  # what is held already costs nothing more
        assert [streams[number].responding for number in (7, 9)] == [True, True]
        client.connection.connection_lost(None)
        await rounds(3)
        assert lane.unacknowledged == 0


@pytest.mark.parametrize(
    ("path", "status", "body", "reset"),
    [
        ("/late", "502", b"late", None),
        ("/stream?0", "200", b"", None),
        ("/stream?5", "200", BIG[:5], None),
        ("/unknown", "200", BIG[:200_000], None),
        ("/unknown?cut", "200", BIG[:100_000], ErrorCode.INTERNAL_ERROR),
        ("/short?10", "200", BIG[:9], ErrorCode.INTERNAL_ERROR),
        ("/long?10", "200", b"", ErrorCode.INTERNAL_ERROR),
        ("/miss-fault", "500", None, None),
        ("/bad-header", "500", None, None),
    ],
)
async def test_a_stream_is_sent_as_it_comes_and_its_end_is_what_was_said(
    path: str, status: str, body: bytes | None, reset: ErrorCode | None
) -> None:
    with wired_lane() as (lane, pages, log):
        client = Speaking(lane)
        answer = client.say(client.head(path))
        await until(lambda: log.lines)
        answer += client.heard()
        found = client.read(answer)
        assert found[0] == status
        assert body is None or found[1] == body
        assert stream_error(answer, 1) is reset
        assert any(each.flags & END_STREAM for each in answer if each.kind != frames.SETTINGS) is (reset is None)
        assert pages.open_streams == 0
        assert (lane.answered, log.lines[0]["status"]) == (1, 500 if reset is not None else int(status))
        assert not client.connection.busy


async def test_the_first_look_counts_from_the_beginning_and_from_what_was_said(clock: Clock) -> None:
    with wired_lane(idleTimeout="70s") as (lane, _, _):
        client = Speaking(lane)
        assert [each.kind for each in client.check(clock.now + 70.1)] == [frames.GOAWAY]
        client = Speaking(lane)
        client.say(frame(frames.PUSH_PROMISE, 4, 1, bytes(4)))
        client.check(clock.now + 2.1)
        assert client.said == ["eof", "abort"]
        client = Speaking(lane)
        client.connection.abort()
        assert client.said == ["abort"]


async def test_the_kernel_holds_half_a_mib_unsent_at_most() -> None:
    with wired_lane() as (lane, _, _), socket.socket() as sock:
        Http2Connection(lane, WireTransport(sock=sock), PEER[0], True)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 512 * KIB


async def test_who_sends_on_after_its_answer_is_told_to_stop_a_second_later(clock: Clock) -> None:
    with wired_lane() as (lane, _, _):
        client = Speaking(lane)
        said = client.head("/hit", ("content-length", "90000"), method="POST", ends=False)
        assert client.read(client.say(said)) == ("200", b"POST /hit")
        assert client.check(clock.now + 0.9) == []
        assert stream_error(client.check(clock.now + 1), 1) is ErrorCode.NO_ERROR


async def test_a_fault_of_ours_ends_the_connection_and_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with wired_lane() as (lane, _, _):
        client = Speaking(lane)

        def fails(*_: object) -> None:
            raise RuntimeError("made up")

        monkeypatch.setattr(Http2Answering, "at_once", fails)
        assert connection_error(client.say(client.head("/hit"))) is ErrorCode.INTERNAL_ERROR
        assert (lane.faults, client.said, len(caplog.records)) == (1, ["eof"], 1)
