# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a client of the lane sees, over real sockets, plain and with TLS, in front of pages that are made up."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from typing import cast

import pytest

from addon.lane import http1
from addon.lane.http1 import TURN_ANSWERS, Connection
from addon.net.certificates import Certificates
from addon.web.request_head import fields
from tests.addon.lane.lane_running import (
    BIG,
    DEADLINE,
    FORGEJO,
    HOST,
    LAST,
    SECURE,
    answers,
    get,
    pause_reading,
    reset,
    resident,
    running_lane,
    unchunked,
)
from tests.addon.net.tls_wire import make_pair
from tests.waiting import becomes, rounds, until


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates([make_pair(tmp_path_factory.mktemp("tls"), "pages", "*.pages.test")], http2=True)


@pytest.fixture(params=["plain", "tls"], autouse=True)
def over(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[str]:
    """Every test of this file is run twice."""
    token = SECURE.set(certificates if request.param == "tls" else None)
    yield request.param
    SECURE.reset(token)


async def test_a_hit_is_answered_and_the_connection_goes_on() -> None:
    async with running_lane() as running:
        received = answers(await running.talk(get("/hit") + get("/hit/2") + get("/hit/3", LAST)))
        assert [(status, body) for status, _, body in received] == [
            (200, b"GET /hit"),
            (200, b"GET /hit/2"),
            (200, b"GET /hit/3"),
        ]
        assert [fields.get("connection") for _, fields, _ in received] == [None, None, "close"]
        assert all(fields["date"].endswith(" GMT") for _, fields, _ in received)


async def test_hits_misses_large_bodies_and_streams_come_in_the_order_they_were_asked_for() -> None:
    paths = ["/hit", "/miss", "/big", "/hit/2", "/stream?70000", "/miss/2", "/hit/3"]
    async with running_lane() as running:
        received = answers(await running.talk(b"".join(map(get, paths)) + get("/last", LAST)))
    bodies = [body for _, _, body in received]
    assert bodies[0] == b"GET /hit"
    assert bodies[1] == b"GET /miss"
    assert bodies[2] == BIG
    assert bodies[4] == BIG[:65536] + BIG[: 70000 - 65536]
    assert bodies[5:] == [b"GET /miss/2", b"GET /hit/3", b"GET /last"]


async def test_a_request_may_arrive_byte_by_byte() -> None:
    async with running_lane() as running:
        reader, writer = await running.connect()
        for byte in get("/hit", "Accept: */*", LAST):
            writer.write(bytes((byte,)))
            await writer.drain()
            await rounds()
        assert answers(await reader.read())[0][2] == b"GET /hit"


async def test_one_empty_line_before_a_request_is_overlooked() -> None:
    async with running_lane() as running:
        received = answers(await running.talk(b"\r\n" + get("/hit") + b"\r\n" + get("/hit", LAST)))
        assert [status for status, _, _ in received] == [200, 200]


async def test_head_has_the_length_of_get_and_no_body() -> None:
    async with running_lane() as running:
        for path in ("/hit", "/miss", "/big", "/stream?5000"):
            received = await running.talk(get(path, LAST, method="HEAD"))
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")
            assert received.endswith(b"\r\n\r\n")
            assert b"\r\nContent-Length: " in received


async def test_a_length_that_the_server_left_out_is_added() -> None:
    async with running_lane() as running:
        status, fields, body = answers(await running.talk(get("/without-length", LAST)))[0]
        assert (status, fields["content-length"], body) == (200, "19", b"GET /without-length")


VERSIONS = [
    # version, fields, what Connection says, whether the connection goes on
    ("1.1", (), None, True),
    ("1.1", ("Connection: keep-alive",), None, True),
    ("1.1", ("Connection: CLOSE",), "close", False),
    ("1.1", ("Connection: keep-alive, close",), "close", False),
    ("1.1", ("Connection: TE, Keep-Alive", "TE: trailers"), None, True),
    ("1.0", (), "close", False),
    ("1.0", ("Connection: keep-alive",), "keep-alive", True),
    ("1.0", ("Connection: close",), "close", False),
]


@pytest.mark.parametrize(("version", "fields", "said", "goes_on"), VERSIONS)
@pytest.mark.parametrize("path", ["/hit", "/miss", "/big"])
async def test_a_connection_lasts_as_its_client_wishes(
    path: str, version: str, fields: tuple[str, ...], said: str | None, goes_on: bool
) -> None:
    async with running_lane() as running:
        received = answers(await running.talk(get(path, *fields, version=version), half_close=goes_on))
        assert received[0][1].get("connection") == said
        if goes_on:
            both = answers(await running.talk(get(path, *fields, version=version) + get("/hit", LAST)))
            assert len(both) == 2


async def test_a_stream_of_unknown_length_is_chunked_or_ends_with_its_connection() -> None:
    whole = BIG[:200_000]
    async with running_lane() as running:
        received = await running.talk(get("/unknown") + get("/unknown?cut") + get("/hit"))
        head, _, rest = received.partition(b"\r\n\r\n")
        assert b"\r\nTransfer-Encoding: chunked" in head
        assert b"content-length" not in head.lower()
        body, rest = unchunked(rest)
        assert body == whole
        assert b"\r\nTransfer-Encoding: chunked" in rest.partition(b"\r\n\r\n")[0]
        assert b"\r\n0\r\n" not in rest  # cut, and nothing after it
        head, _, rest = (await running.talk(get("/unknown", "Connection: keep-alive", version="1.0"))).partition(
            b"\r\n\r\n"
        )
        assert b"\r\nConnection: close" in head
        assert b"chunked" not in head
        assert rest == whole
        received = await running.talk(get("/unknown", method="HEAD") + get("/hit", LAST))
        assert b"content-length" not in received.partition(b"\r\n\r\n")[0].lower()
        assert received.endswith(b"GET /hit")


@pytest.mark.parametrize("path", ["/hit", "/miss", "/big", "/stream"])
async def test_a_half_closed_connection_is_answered_before_it_is_closed(path: str) -> None:
    async with running_lane() as running:
        running.pages.release.clear()
        asyncio.get_running_loop().call_later(0.05, running.pages.release.set)
        received = answers(await running.talk(get(path) + get("/hit"), half_close=True))
        assert [status for status, _, _ in received] == [200, 200]


async def test_the_head_of_half_a_request_and_an_end_close_the_connection() -> None:
    async with running_lane() as running:
        assert await running.talk(get("/hit")[:-3], half_close=True) == b""
        await running.until(lambda: len(running.lane) == 0)


HANDED_OVER = [
    b"POST /hit HTTP/1.1\r\nHost: alice.pages.test\r\nContent-Length: 16385\r\n\r\n" + bytes(16385),
    b"POST /hit HTTP/1.1\r\nHost: alice.pages.test\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /hit HTTP/1.1\r\nHost: alice.pages.test\r\nContent-Length: +3\r\n\r\nabc",
    b"POST /hit HTTP/1.1\r\nHost: alice.pages.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /hit HTTP/1.1\r\nHost: git.test\r\nContent-Length: 3\r\n\r\nabc",
    b"POST http://alice.pages.test/ HTTP/1.1\r\nHost: alice.pages.test\r\nContent-Length: 3\r\n\r\nabc",
    b"CONNECT alice.pages.test:80 HTTP/1.1\r\nHost: alice.pages.test\r\n\r\n",
    get("/hit", "Content-Length: 0"),
    get("/hit", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    get("/hit", "Expect: 100-continue"),
    get("/hit", "Connection: Upgrade", "Upgrade: websocket"),
    get("/", host=FORGEJO),
    get("/alice/blog", "Cookie: session=1", host="GIT.test."),
    get("/", host=f"{FORGEJO}:8080"),
    b"\x16\x03\x01\x00\xc8\x01" + bytes(100),
    b"GET / HTTP/1.1\nHost: alice.pages.test\n\n",
    b"\nGET / HTTP/1.1\r\nHost: alice.pages.test\r\n\r\n",
]


@pytest.mark.parametrize("data", HANDED_OVER)
async def test_what_is_not_ours_goes_to_the_handler_with_every_byte(data: bytes) -> None:
    async with running_lane() as running:
        received = answers(await running.talk(data))
        assert received[0][0] == 299
        assert running.handed == [data]
        assert running.pages.seen == []


FORM = "Content-Type: application/x-www-form-urlencoded"


def post(body: bytes, *fields: str, path: str = "/miss", method: str = "POST") -> bytes:
    return get(path, *fields, f"Content-Length: {len(body)}", method=method) + body


@pytest.mark.parametrize("slow", [False, True])
async def test_what_brings_a_small_body_is_answered_here_and_what_follows_it_too(slow: bool) -> None:
    asked = [
        post(b"password=x", FORM),
        post(b"GET /smuggled HTTP/1.1\r\nHost: alice.pages.test\r\n\r\n"),
        post(b"x" * 16384, method="PUT"),
        post(b"", FORM),
        get("/miss/2", method="DELETE"),
        get("/miss/3", method="OPTIONS"),
        get("/hit"),
    ]
    async with running_lane() as running:
        reader, writer = await running.connect()
        for each in asked:
            for piece in [each[:-1], each[-1:]] if slow else [each]:
                writer.write(piece)
                await writer.drain()
                await rounds(5 if slow else 1)  # so that it comes in pieces
        writer.write_eof()  # and all of it is answered
        found = answers(await asyncio.wait_for(reader.read(-1), DEADLINE))
        writer.close()
        assert [status for status, _, _ in found] == [200] * 7
        bodies = [body for _, _, body in found]
        assert bodies == [
            b"POST /miss",
            b"POST /miss",
            b"PUT /miss",
            b"POST /miss",
            b"DELETE /miss/2",
            b"OPTIONS /miss/3",
            b"GET /hit",
        ]
        assert running.pages.forms == [b"password=x", None, None, b"", None, None]
        assert (running.handed, running.lane.handed_over) == ([], 0)


async def test_who_waits_to_be_told_to_send_is_told_so_only_where_the_body_is_read() -> None:
    async with running_lane() as running:
        reader, writer = await running.connect()
        writer.write(get("/miss", FORM, "Content-Length: 3", "Expect: 100-continue", method="POST"))
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"a=b" + get("/miss", "Content-Length: 3", "Expect: 100-continue", method="POST"))
        found = answers(await asyncio.wait_for(reader.read(-1), DEADLINE))
        writer.close()
        assert [(status, fields.get("connection")) for status, fields, _ in found] == [(200, None), (200, "close")]
        assert running.pages.forms == [b"a=b", None]


async def test_a_body_that_does_not_come_is_408_and_one_that_ends_early_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("addon.lane.http1_request_body.BODY_SECONDS", 0.1)
    async with running_lane() as running:
        half = post(b"password=x", FORM)[:-1]
        found = answers(await running.talk(half))
        assert [(status, fields["connection"]) for status, fields, _ in found] == [(408, "close")]
        monkeypatch.setattr("addon.lane.http1_request_body.BODY_SECONDS", 60)
        assert await running.talk(half, half_close=True) == b""
        unwanted = post(b"xyz", path="/miss/unwanted")[:-1]
        assert answers(await running.talk(unwanted, half_close=True))[0][2] == b"POST /miss/unwanted"
        await running.until(lambda: len(running.lane) == 0)
        assert running.pages.forms == [None]


async def test_http2_that_was_not_agreed_upon_is_refused() -> None:
    async with running_lane() as running:
        assert (await running.talk(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(20))).startswith(b"HTTP/1.1 400 ")
        assert running.handed == []


async def test_a_connection_may_be_handed_over_after_pages_with_all_that_follows() -> None:
    rest = get("/", host=FORGEJO) + get("/hit")
    async with running_lane() as running:
        received = answers(await running.talk(get("/hit") + get("/miss") + get("/big") + rest))
        assert [status for status, _, _ in received] == [200, 200, 200, 299]
        assert running.handed == [rest]


async def test_a_connection_is_handed_over_when_its_slow_reader_has_taken_the_page_before() -> None:
    async with running_lane() as running:
        reader, writer = await running.connect()
        rest = b"POST / HTTP/1.1\r\nHost: git.test\r\nContent-Length: 1\r\n\r\nx"
        writer.write(get("/big") * 8 + rest)
        await running.until(lambda: running.lane.busy == 1)
        received = answers(await asyncio.wait_for(reader.read(), DEADLINE))
        assert [status for status, _, _ in received] == [200] * 8 + [299]
        assert running.handed == [rest]


async def test_what_a_half_closed_client_sent_for_another_is_handed_over_with_its_end() -> None:
    async with running_lane() as running:
        data = get("/", host=FORGEJO)
        assert answers(await running.talk(get("/miss") + data, half_close=True))[1][0] == 299
        assert running.handed == [data]


async def test_a_fault_is_answered_500_once_and_goes_to_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    async with running_lane() as running:
        for path in ("/fault?secret", "/miss-fault?secret", "/bad-header"):
            caplog.clear()
            received = answers(await running.talk(get("/hit") + get(path) + get("/hit")))
            assert [status for status, _, _ in received] == [200, 500]
            assert received[1][1]["connection"] == "close"
            assert "x-smuggled" not in received[1][1]
            errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
            assert len(errors) == 1
            assert f"'GET {path.partition('?')[0]}'" in errors[0].getMessage().replace(" HTTP/1.1", "")
            assert "secret" not in caplog.text
        assert running.handed == []
        for path in ("/fault", "/miss-fault"):
            bodiless = await running.talk(get(path, method="HEAD"))
            assert bodiless.startswith(b"HTTP/1.1 500 ")
            assert bodiless.endswith(b"\r\n\r\n")


BROKEN = [("/cut", True), ("/short", True), ("/long", True), ("/late", False)]


@pytest.mark.parametrize(("path", "cut"), BROKEN)
async def test_a_stream_that_fails_is_cut_or_a_page_if_it_had_not_begun(path: str, cut: bool) -> None:
    async with running_lane() as running:
        received = await running.talk(get(f"{path}?1000000") + get("/hit", LAST))
        if cut:
            head, _, body = received.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert len(body) < 1000000
        else:
            assert [(status, body) for status, _, body in answers(received)] == [(502, b"late"), (200, b"GET /hit")]


# Limits.


@pytest.mark.parametrize("complete", [True, False])
async def test_a_head_above_the_limit_is_answered_431(complete: bool) -> None:
    async with running_lane(maxHeadSize=2000) as running:
        fits = get("/hit", "X-Long: " + "a" * (2000 - len(get("/hit", "X-Long: ", LAST))), LAST)
        assert len(fits) == 2000
        assert answers(await running.talk(fits))[0][0] == 200
        for head in (get("/hit", "X-Long: " + "a" * 2000), get("/" + "a" * 2000), get("/", "A: " + "b" * 90000)):
            status, fields, _ = answers(await running.talk(head if complete else head[:-2]))[0]
            assert (status, fields["connection"]) == (431, "close")
            assert fields["clear-site-data"] == '"cookies"'  # most likely a neighbour has set too many
        post = b"POST / HTTP/1.1\r\nHost: git.test\r\nX: " + b"a" * 3000
        assert answers(await running.talk(post))[0][0] == 431
        assert running.handed == []


async def test_a_head_that_takes_too_long_is_answered_408_however_steadily_it_comes() -> None:
    async with running_lane(headerTimeout=0.3) as running:
        reader, writer = await running.connect()
        writer.write(get("/hit"))
        began = asyncio.get_running_loop().time()
        answer = asyncio.create_task(reader.read())
        head = iter(get("/", "X: " + "a" * 10_000))

        def is_answered() -> bool:
            if not writer.is_closing():
                writer.write(bytes((next(head),)))
            return answer.done()

        await until(is_answered)
        received = answers(await asyncio.wait_for(answer, DEADLINE))
        assert [status for status, _, _ in received] == [200, 408]
        assert asyncio.get_running_loop().time() - began < 2.0


async def test_a_silent_connection_is_closed_without_a_word() -> None:
    async with running_lane(idleTimeout=0.3) as running:
        assert await running.talk(b"") == b""
        assert len(answers(await running.talk(get("/hit")))) == 1


@pytest.mark.parametrize(("target", "made"), [("/hit", 1), ("/hit?as=ever", 5)])
async def test_each_answer_begins_the_idle_time_anew(target: str, made: int) -> None:
    """Those that are sent again for the same head, byte for byte, as those that are made anew."""
    async with running_lane(idleTimeout="60s") as running:
        running.pages.with_basis = True
        reader, writer = await running.connect()
        for asked in range(1, 6):
            (connection,) = running.lane._connections
            assert isinstance(connection, http1.Connection)
            connection._since -= 1000
            writer.write(get(target))
            await running.until(lambda asked=asked: running.lane.answered == asked)  # type: ignore[misc]
            connection.check(asyncio.get_running_loop().time())
            assert not writer.transport.is_closing()
            assert (await reader.readuntil(b"GET /hit")).startswith(b"HTTP/1.1 200")
        assert len(running.pages.seen) == made
        writer.close()


async def test_a_miss_may_take_longer_than_an_idle_connection() -> None:
    async with running_lane(idleTimeout=0.2, headerTimeout=0.2) as running:
        running.pages.release.clear()
        asyncio.get_running_loop().call_later(1.0, running.pages.release.set)
        assert answers(await running.talk(get("/miss") + get("/hit", LAST)))[1][2] == b"GET /hit"


async def test_a_connection_is_closed_after_so_many_requests_and_says_so() -> None:
    async with running_lane(maxRequestsPerConnection=3) as running:
        for path in ("/hit", "/miss"):
            received = answers(await running.talk(get(path) * 10))
            assert [fields.get("connection") for _, fields, _ in received] == [None, None, "close"]


async def test_a_client_that_has_seen_the_end_is_not_lingered_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "LINGER", 2 * DEADLINE)
    async with running_lane(maxRequestsPerConnection=1) as running:
        for path in ("/hit", "/miss", "/stream?10"):
            reader, writer = await running.connect()
            writer.write(get(path))
            assert answers(await asyncio.wait_for(reader.read(), DEADLINE))[0][0] == 200
            writer.close()
            await running.until(lambda: len(running.lane) == 0)


@pytest.mark.parametrize("path", ["/hit", "/miss", "/big", "/stream"])
@pytest.mark.parametrize("more", [1, 5_000])
async def test_what_is_sent_behind_the_last_request_costs_no_answer(path: str, more: int) -> None:
    """To close at once what has something unread resets a connection, and what was not sent yet is lost."""
    async with running_lane(maxRequestsPerConnection=2) as running:
        reader, writer = await running.connect()
        pause_reading(writer)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        await running.until(lambda: len(running.lane) == 1)
        connection = running.connection()
        connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        writer.write(get(path) * 2 + get("/more") * more)
        await running.until(lambda: connection._requests > 0)
        for _ in range(50):
            writer.write(get("/more") * 10)
            await rounds()
        cast(asyncio.Transport, writer.transport).resume_reading()
        received = answers(await asyncio.wait_for(reader.read(), DEADLINE))
        size = len(BIG) if path in ("/big", "/stream") else len(f"GET {path}")
        assert [len(body) for _, _, body in received] == [size] * 2
        writer.transport.abort()


async def test_an_answer_that_took_long_bears_the_date_at_which_it_was_sent() -> None:
    async with running_lane() as running:
        running.pages.release.clear()
        for path in ("/miss", "/miss-fault"):
            running.pages.release.clear()
            reader, writer = await running.connect()
            writer.write(get(path, LAST))
            await running.until(lambda path=path: path in running.pages.asked)  # type: ignore[misc]
            running.lane.date, running.lane.date_until = b"Date: of long ago\r\n", 0.0  # as if seconds had passed
            running.pages.release.set()
            _, fields, _ = answers(await asyncio.wait_for(reader.read(), DEADLINE))[0]
            assert fields["date"].endswith(" GMT")
            writer.close()


async def test_who_leaves_before_the_answer_is_logged_as_that() -> None:
    async with running_lane() as running:
        _, writer = await running.connect()
        writer.write(get("/never"))
        await running.until(lambda: "/never" in running.pages.asked)
        reset(writer)
        await running.until(lambda: len(running.log.lines) == 1)
        assert running.log.lines[0]["status"] == 499


async def test_an_address_has_so_many_connections_and_a_trusted_proxy_as_many_as_it_wants() -> None:
    async with running_lane(maxConnectionsPerAddress=2, trustedProxies=["192.0.2.1"]) as running:
        first, second = await running.connect(), await running.connect()
        await running.until(lambda: len(running.lane) == 2)
        assert await running.talk(get("/hit", LAST)) == b""
        first[1].close()
        await running.until(lambda: len(running.lane) == 1)
        assert answers(await running.talk(get("/hit", LAST)))[0][0] == 200
        # Handed over, it is still one of the address's connections, until it is closed.
        handed = await running.connect()
        handed[1].write(get("/", host=FORGEJO))
        await running.until(lambda: running.lane.handed_over == 1)
        assert await running.talk(get("/hit", LAST)) == b""
        handed[1].close()
        await running.until(lambda: not running.lane.connections_of("127.0.0.1") > 1)
        assert answers(await running.talk(get("/hit", LAST)))[0][0] == 200
        second[1].close()
    async with running_lane(maxConnectionsPerAddress=1, trustedProxies=["127.0.0.0/8"]) as running:
        held = [await running.connect() for _ in range(5)]
        assert answers(await running.talk(get("/hit", LAST)))[0][0] == 200
        for _, writer in held:
            writer.close()


# Clients that do not behave.


async def test_a_thousand_requests_in_one_piece_are_answered_in_order() -> None:
    async with running_lane() as running:
        data = b"".join(get(f"/hit/{number}") for number in range(999)) + get("/hit/999", LAST)
        received = answers(await running.talk(data))
        assert [body for _, _, body in received] == [b"GET /hit/%d" % number for number in range(1000)]


async def test_others_have_their_turn_beside_one_that_asks_without_end() -> None:
    async with running_lane(maxRequestsPerConnection=0) as running:
        greedy = [await running.connect() for _ in range(2)]

        async def ask(writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(get("/hit") * 1000)
                await writer.drain()

        async def take(reader: asyncio.StreamReader) -> None:
            while await reader.read(1 << 20):
                pass

        tasks = [asyncio.create_task(ask(writer)) for _, writer in greedy]
        tasks += [asyncio.create_task(take(reader)) for reader, _ in greedy]
        await running.until(lambda: len(running.pages.seen) > 5000)
        reader, writer = await running.connect()
        between = []
        for number in range(50):
            before = len(running.pages.seen)
            writer.write(get(f"/polite/{number}"))
            await asyncio.wait_for(reader.readuntil(b"GET /polite/%d" % number), DEADLINE)
            between.append(len(running.pages.seen) - before)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, other in [*greedy, (reader, writer)]:
            other.transport.abort()
        # A few turns of the loop for each: to read, to answer, to be read by the client, which is in the same loop.
        assert sorted(between)[25] <= 8 * len(greedy) * TURN_ANSWERS


async def test_what_takes_long_is_answered_in_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []
    turn = Connection._turn

    def counted(connection: Connection) -> None:
        before = connection._requests
        turn(connection)
        turns.append(connection._requests - before)

    monkeypatch.setattr(http1, "TURN_SECONDS", -1.0)
    monkeypatch.setattr(Connection, "_turn", counted)
    async with running_lane() as running:
        answered = await running.talk(b"".join(get(f"/hit/{number}") for number in range(20)) + get("/hit/20", LAST))
        assert answered.count(b"HTTP/1.1 200") == 21
        assert max(turns) == 1


async def test_what_is_sent_behind_a_pending_miss_is_not_held() -> None:
    amount = 500 * 1024 * 1024
    async with running_lane() as running:
        running.pages.release.clear()
        reader, writer = await running.connect()
        writer.write(get("/miss"))
        await running.until(lambda: running.pages.asked == ["/miss"])
        before, sent = resident(), 0
        piece = get("/hit", "X-Filler: " + "a" * 8000) * 16
        loop = asyncio.get_running_loop()
        quiet = loop.time() + 0.5
        while sent < amount and loop.time() < quiet:
            writer.write(piece)
            try:
                await asyncio.wait_for(writer.drain(), 0.2)
            except TimeoutError:
                break  # the kernel takes no more: the lane has stopped reading
            sent += len(piece)
            quiet = loop.time() + 0.5
        assert sent < amount / 10
        connection = running.connection()
        assert len(connection._held) <= running.lane.most_held
        assert resident() - before < 16 * 1024 * 1024
        running.pages.release.set()
        assert (await asyncio.wait_for(reader.readuntil(b"GET /hit"), DEADLINE)).startswith(b"HTTP/1.1 200 ")
        writer.transport.abort()


async def test_a_hundred_megabytes_of_requests_leave_memory_as_it_was() -> None:
    async with running_lane(maxRequestsPerConnection=0) as running:
        running.lane.log = None
        reader, writer = await running.connect()
        piece = get("/miss", "X-Filler: " + "a" * 15000) * 64
        rounds = 100 * 1024 * 1024 // len(piece)

        async def ask() -> None:
            for _ in range(rounds):
                writer.write(piece)
                await writer.drain()
            writer.write(get("/end", LAST))

        task = asyncio.create_task(ask())
        answered, before, most = 0, 0, 0
        while data := await asyncio.wait_for(reader.read(1 << 16), DEADLINE):
            answered += data.count(b"HTTP/1.1 200 ")
            running.pages.seen.clear()
            running.pages.asked.clear()
            if answered > 2000:
                before = before or resident()
                most = max(most, resident() if answered % 7 == 0 else 0)
        await task
        assert answered >= rounds * 64
        assert most - before < 16 * 1024 * 1024


@pytest.mark.parametrize("path", ["/big", "/stream?100000000"])
async def test_a_reader_that_stops_is_let_go_and_holds_little_until_then(path: str) -> None:
    async with running_lane(idleTimeout=0.6) as running:
        running.lane.stall_timeout = 1.5
        before = resident()
        held = []
        for _ in range(5):
            reader, writer = await running.connect()
            pause_reading(writer)
            writer.write(get(path) * 30)
            held.append((reader, writer))
        await running.until(lambda: running.lane.busy == 5)
        await running.until(lambda: len(running.lane) == 0)
        assert resident() - before < 40 * 1024 * 1024
        for _, writer in held:
            writer.transport.abort()


async def test_a_slow_reader_gets_all_of_it() -> None:
    async with running_lane(idleTimeout=0.5) as running:
        reader, writer = await running.connect()
        writer.write(get("/stream?30000000", LAST))
        received = 0
        while data := await asyncio.wait_for(reader.read(1 << 20), DEADLINE):
            received += len(data)
            await asyncio.sleep(0.02)
        assert received > 30000000


@pytest.mark.parametrize("over", ["plain"], indirect=True)
async def test_a_reader_so_slow_that_only_the_kernel_notices_is_not_taken_for_one_that_stopped() -> None:
    async with running_lane(idleTimeout=0.3) as running:
        running.lane.stall_timeout = 0.9
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", running.port))
            await loop.sock_sendall(client, get("/big") * 3 + get("/hit", LAST))
            received, slowly_until = 0, loop.time() + 4.0
            while data := await asyncio.wait_for(loop.sock_recv(client, 16 * 1024), DEADLINE):
                received += len(data)
                if loop.time() < slowly_until:
                    await asyncio.sleep(0.1)
        assert received > 3 * len(BIG)


async def test_a_miss_whose_client_is_gone_is_given_up() -> None:
    async with running_lane() as running:
        for number in (1, 2):
            _, writer = await running.connect()
            writer.write(get("/never"))
            await running.until(lambda n=number: len(running.pages.asked) == n)  # type: ignore[misc]
            reset(writer)
            await running.until(lambda n=number: running.pages.cancelled == n)  # type: ignore[misc]
        assert len(running.lane) == 0


async def test_a_reset_in_the_middle_of_anything_harms_nobody() -> None:
    async with running_lane() as running:
        for path in ("/hit", "/miss", "/big", "/stream"):
            for _ in range(5):
                _, writer = await running.connect()
                writer.write(get(path) * 50)
                await rounds()
                reset(writer)
        await running.until(lambda: len(running.lane) == 0)
        assert answers(await running.talk(get("/hit", LAST)))[0][0] == 200


# Ready answers, the log, and the end.


async def test_a_ready_answer_is_sent_again_while_what_it_was_made_from_is_held() -> None:
    async with running_lane() as running:
        pages = running.pages
        pages.with_basis = True

        async def ask(*fields: str, path: str = "/hit") -> tuple[int, bytes]:
            status, _, body = answers(await running.talk(get(path, *fields, LAST)))[0]
            return status, body

        first = await ask()
        assert [await ask() for _ in range(3)] == [first] * 3
        assert len(pages.seen) == 1
        await ask("User-Agent: another")
        assert len(pages.seen) == 1
        await ask("Accept-Encoding: br")
        assert len(pages.seen) == 2
        assert (await ask('If-None-Match: "tag"'))[0] == 304
        assert (await ask('If-None-Match: "tag"'))[0] == 304
        assert len(pages.seen) == 3
        for fields in (("Range: bytes=0-1",), ('If-None-Match: "other"',), ("If-Modified-Since: x",)):
            before = len(pages.seen)
            await ask(*fields)
            await ask(*fields)
            assert len(pages.seen) == before + 2
        before = len(pages.seen)
        await ask(path="/hit?query")
        await ask(path="/hit?query")
        assert len(pages.seen) == before + 2
        # What depends on a field that is not in the key is never kept.
        assert (await ask("Cookie: a", path="/cookie"))[1] == b"a"
        assert (await ask("Cookie: b", path="/cookie"))[1] == b"b"
        # The fact is replaced by another: a deploy, a purge, a password that was set.
        before = len(pages.seen)
        await ask()
        assert len(pages.seen) == before
        pages.facts.put(("site", "alice", "x"), object(), 0)
        await ask()
        assert len(pages.seen) == before + 1
        # It is not fresh any more.
        pages.fresh_until = 0.0
        pages.facts.clear()
        await ask()
        await ask()
        assert len(pages.seen) == before + 3


async def test_a_request_that_comes_again_byte_for_byte_is_answered_as_the_first_time() -> None:
    async with running_lane(maxRequestsPerConnection=40) as running:
        pages = running.pages
        pages.with_basis = True
        reader, writer = await running.connect()
        asked = 0

        async def ask() -> dict[str, str]:
            nonlocal asked
            asked += 1
            writer.write(get("/hit"))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)
            assert await reader.readexactly(8) == b"GET /hit"
            return answers(head + b"GET /hit")[0][1]

        first = await ask()

        async def another_date() -> bool:
            return (await ask())["date"] != first["date"]

        await becomes(another_date, True, pause=0.1)
        assert len(pages.seen) == 1
        pages.facts.put(("site", "alice", "x"), object(), 0)
        await ask()
        assert len(pages.seen) == 2
        pages.fresh_until = 0.0
        pages.facts.put(("site", "alice", "x"), object(), 0)
        await ask()
        await ask()
        assert len(pages.seen) == 4
        pages.fresh_until = float("inf")
        while asked < 39:
            assert "connection" not in await ask()
        assert (await ask())["connection"] == "close"
        assert await reader.read() == b""
        assert len(running.log.lines) == 40
        writer.close()


async def test_requests_made_up_to_fill_memory_fill_no_more_than_their_share() -> None:
    async with running_lane(memoryCacheSize="8MiB") as running:
        running.pages.with_basis = True
        running.lane.log = None
        before = resident()
        for turn in range(100):
            data = [get("/hit", f"Accept-Encoding: {turn}-{number}", "X-Filler: " + "a" * 300) for number in range(100)]
            reader, writer = await running.connect()
            for each in data[:5]:
                writer.write(each)
                await reader.readuntil(b"GET /hit")
            writer.write(b"".join(data))
            for _ in data:
                await reader.readuntil(b"GET /hit")
            writer.close()
        assert resident() - before < 12 * 1024 * 1024
        assert running.lane.ready.used <= running.lane.ready.capacity <= 1024 * 1024


async def test_every_request_is_in_the_access_log() -> None:
    async with running_lane(maxHeadSize=4096) as running:
        running.pages.with_basis = True
        await running.talk(
            get("/hit?q") + get("/hit") + get("/hit") + get("/miss") + get("/big") + get("/stream", LAST)
        )
        await running.talk(get("/hit", LAST, method="HEAD"))
        await running.talk(get("/hit", "X: " + "a" * 5000))
        await running.until(lambda: len(running.log.lines) == 8)
    lines = [(line["method"], line["path"], line["status"], line["nbytes"]) for line in running.log.lines]
    assert lines == [
        ("GET", "/hit", 200, 8),
        ("GET", "/hit", 200, 8),
        ("GET", "/hit", 200, 8),
        ("GET", "/miss", 200, 9),
        ("GET", "/big", 200, len(BIG)),
        ("GET", "/stream", 200, len(BIG)),
        ("HEAD", "/hit", 200, 0),
        ("", "", 431, 0),
    ]
    assert all(line["client"] == "127.0.0.1" and line["seconds"] >= 0 for line in running.log.lines)
    assert running.log.lines[0]["host"] == "alice.pages.test"


async def test_what_strangers_say_of_visitors_is_remembered_only_where_it_is_short() -> None:
    async with running_lane() as running:
        for number in range(100):
            for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto"):
                found = fields(f"Host: {HOST}\r\n{name}: {number}{'x' * 10_000}".encode())
                assert found is not None
                assert running.lane.visitor(found, "192.0.2.7", False).address == "192.0.2.7"
        assert running.lane._visitor.cache_info().currsize == 0


async def test_the_log_names_the_visitor_whom_a_trusted_proxy_names() -> None:
    claim = "X-Forwarded-For: 198.51.100.7, 203.0.113.9"
    for trusted, logged in ((["127.0.0.0/8"], "203.0.113.9"), (["192.0.2.1"], "127.0.0.1")):
        async with running_lane(trustedProxies=trusted) as running:
            await running.talk(get("/hit", claim) + get("/miss", claim) + get("/hit", LAST))
        assert [line["client"] for line in running.log.lines] == [logged, logged, "127.0.0.1"]


async def test_the_end_answers_what_was_asked_and_closes_what_is_idle() -> None:
    async with running_lane() as running:
        idle = await running.connect()
        idle[1].write(get("/hit"))
        await idle[0].readuntil(b"GET /hit")
        running.pages.release.clear()
        waiting = await running.connect()
        waiting[1].write(get("/miss") + get("/hit"))
        await running.until(lambda: running.pages.asked == ["/miss"])
        late = await running.connect()
        late[1].write(get("/hit"))  # arrived, and not read yet
        drained = asyncio.create_task(running.lane.drain())
        assert await asyncio.wait_for(idle[0].read(), DEADLINE) == b""
        assert answers(await asyncio.wait_for(late[0].read(), DEADLINE))[0][1]["connection"] == "close"
        assert not drained.done()
        running.pages.release.set()
        received = answers(await asyncio.wait_for(waiting[0].read(), DEADLINE))
        assert [status for status, _, _ in received] == [200, 200]
        assert received[-1][1]["connection"] == "close"
        for _, writer in (idle, waiting, late):
            writer.close()
        await asyncio.wait_for(drained, DEADLINE)


@pytest.mark.parametrize("over", ["plain"], indirect=True)  # over TLS, the protocol below is told who is accepted
async def test_the_end_waits_for_who_was_accepted_a_moment_ago() -> None:
    async with running_lane() as running:
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(get("/hit"))
            await rounds(2)
            assert len(running.lane) == 0  # the loop has accepted it, and said nothing of it yet
            await asyncio.wait_for(running.lane.aclose(DEADLINE), DEADLINE)
            client.setblocking(False)
            assert answers(client.recv(65536))[0][1]["connection"] == "close"


async def test_an_idle_connection_takes_little_memory(over: str) -> None:
    async with running_lane(maxConnectionsPerAddress=0) as running:
        held: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

        async def more(count: int) -> None:
            for _ in range(count):
                reader, writer = await running.connect()
                writer.write(get("/hit"))
                await reader.readuntil(b"GET /hit")
                held.append((reader, writer))

        await more(200)
        before = resident()
        await more(800)
        # The client's half is in this process as well, and the larger one: its stream's buffer and objects.
        assert (resident() - before) / 800 < (32 if over == "plain" else 96) * 1024
        for _, writer in held:
            writer.transport.abort()
        await running.until(lambda: len(running.lane) == 0)


@pytest.mark.parametrize("over", ["plain"], indirect=True)
async def test_who_leaves_before_being_refused_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """The system says ENOTCONN to whoever says goodbye to a connection that was reset."""
    async with running_lane(maxHeadSize=1024) as running:
        unhandled: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unhandled.append(context))
        for _ in range(50):
            _, writer = await running.connect()
            writer.write(get("/" + "a" * 2000))
            reset(writer)
        await running.until(lambda: len(running.lane) == 0)
        assert unhandled == []
        assert caplog.records == []


# Connections that were handed over keep their times.


async def test_a_head_that_does_not_end_has_its_time_on_a_connection_that_was_handed_over_too() -> None:
    async with running_lane(headerTimeout="200ms", idleTimeout="60s") as running:
        _, writer = await running.connect()
        peer = writer.get_extra_info("sockname")[:2]
        writer.write(get("/", host=FORGEJO))
        await running.until(lambda: running.lane.handed_over == 1)
        running.lane.serving(peer, True)  # its head was read
        running.lane.serving(peer, False)  # and it was answered

        def is_cut() -> bool:
            writer.write(b"G")  # the next one comes a byte at a time
            return running.lane.connections_of("127.0.0.1") == 0

        await until(is_cut, "the end of a head that does not end", 30)


async def test_who_is_being_answered_elsewhere_may_be_silent_and_who_was_has_the_idle_time() -> None:
    async with running_lane(headerTimeout="100ms", idleTimeout="100ms") as running:
        busy, idle = await running.connect(), await running.connect()
        for _, writer in (busy, idle):
            writer.write(get("/", host=FORGEJO))
        await running.until(lambda: running.lane.handed_over == 2)
        running.lane.serving(busy[1].get_extra_info("sockname")[:2], True)
        await running.until(lambda: running.lane.connections_of("127.0.0.1") == 1)
        assert not busy[0].at_eof()
        assert busy[0].exception() is None
        busy[1].close()
