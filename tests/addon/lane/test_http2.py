# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a client over HTTP/2 sees, over real sockets with TLS, in front of pages that are made up."""

import asyncio
from collections.abc import Iterator
from typing import Any

import h2.settings
import pytest

from addon.lane import http2_answering, http2_connection
from addon.lane.http2 import frames
from addon.lane.http2.frames import ErrorCode
from addon.lane.http2_connection import Http2Connection
from addon.net.certificates import Certificates
from addon.web.forwarding import HOP_HEADER
from tests.addon.lane.delivery import Delivery
from tests.addon.lane.http2_client import http2_client
from tests.addon.lane.lane_running import BIG, DEADLINE, FORGEJO, HOST, SECURE, get, resident, running_lane
from tests.addon.net.tls_wire import make_pair
from tests.waiting import becomes

FORM = ("content-type", "application/x-www-form-urlencoded")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates([make_pair(tmp_path_factory.mktemp("tls"), "pages", "*.pages.test")], http2=True)


@pytest.fixture(autouse=True)
def _secure(certificates: Certificates) -> Iterator[None]:
    token = SECURE.set(certificates)
    yield
    SECURE.reset(token)


async def test_hits_misses_large_bodies_and_streams_are_answered_side_by_side() -> None:
    async with running_lane() as running, http2_client(running) as client:
        asked = [client.ask(path) for path in ("/hit", "/miss", "/big", "/stream?70000", "/hit/2", "/stream?0")]
        found = [await client.answer(stream) for stream in asked]
        assert [answer.status for answer in found] == [200] * 6
        bodies = [bytes(answer.body) for answer in found]
        assert bodies[:2] == [b"GET /hit", b"GET /miss"]
        assert bodies[2] == BIG
        assert bodies[3] == BIG[:65536] + BIG[: 70000 - 65536]
        assert bodies[4:] == [b"GET /hit/2", b""]
        assert [answer.fields["content-length"] for answer in found[:3]] == ["8", "9", str(len(BIG))]
        assert all(answer.fields["date"].endswith(" GMT") for answer in found)
        assert not any("connection" in answer.fields for answer in found)
        assert running.lane.handed_over == 0


async def test_a_large_file_is_not_copied_to_be_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[int] = []
    monkeypatch.setattr(http2_answering, "answer_bytes", lambda answer, _: copied.append(len(answer.body)))
    async with running_lane() as running, http2_client(running) as client:
        running.pages.with_basis = True
        for _ in range(2):
            assert (await client.get("/big")).body == BIG
        assert not copied


async def test_a_stream_of_unknown_length_ends_with_its_stream() -> None:
    async with running_lane() as running, http2_client(running) as client:
        whole = await client.get("/unknown")
        assert (bytes(whole.body), "content-length" in whole.fields) == (BIG[:200_000], False)
        cut = await client.answer(client.ask("/unknown?cut"))
        assert cut.reset is not None
        head = await client.answer(client.ask("/unknown", method="HEAD"))
        assert (head.status, "content-length" in head.fields) == (200, False)


async def test_a_miss_holds_up_nobody() -> None:
    async with running_lane() as running, http2_client(running) as client:
        running.pages.release.clear()
        misses = [client.ask(f"/miss/{number}") for number in range(20)]
        assert (await client.get("/hit")).status == 200
        await running.until(lambda: len(running.pages.asked) == 20)  # all at once
        running.pages.release.set()
        assert [(await client.answer(stream)).status for stream in misses] == [200] * 20


async def test_what_takes_long_is_answered_in_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []
    turn = Http2Connection._turn

    def counted(connection: Http2Connection, data: bytes) -> None:
        before = connection._protocol.requests
        turn(connection, data)
        turns.append(connection._protocol.requests - before)

    monkeypatch.setattr(http2_connection, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(Http2Connection, "_turn", counted)
    async with running_lane() as running, http2_client(running) as client:
        asked = [client.ask(f"/hit/{number}/" + "x" * 600) for number in range(20)]
        for stream in asked:
            assert (await client.answer(stream)).status == 200
        assert (max(turns), sum(turns)) == (1, 20)


async def test_head_and_304_have_no_body() -> None:
    async with running_lane() as running, http2_client(running) as client:
        for path in ("/hit", "/miss", "/big", "/stream?5000"):
            answer = await client.get(path, method="HEAD")
            assert (answer.status, len(answer.body)) == (200, 0)
            assert int(answer.fields["content-length"]) >= 8 or path != "/big"
        answer = await client.get("/hit", ("if-none-match", '"tag"'))
        assert (answer.status, len(answer.body), "content-length" in answer.fields) == (304, 0, False)


async def test_what_is_prepared_is_sent_again_and_shared_with_http1() -> None:
    async with running_lane() as running:
        pages = running.pages
        pages.with_basis = True
        async with http2_client(running) as client, http2_client(running) as other:
            first = await client.get("/hit")
            for each in (client, other, client, other):
                again = await each.get("/hit")
                assert (again.status, again.body, again.fields["etag"]) == (200, first.body, first.fields["etag"])
            assert len(pages.seen) == 1
            assert b"GET /hit" in await running.talk(get("/hit", "Connection: close"))
            assert len(pages.seen) == 1
            head = await client.get("/hit", method="HEAD")
            assert (head.status, len(head.body)) == (200, 0)
            assert (await client.get("/hit", method="HEAD")).fields["content-length"] == head.fields["content-length"]
            # What it depends on is another.
            before = len(pages.seen)
            await client.get("/hit", ("accept-encoding", "br"))
            assert len(pages.seen) == before + 1
            for fields in ((("range", "bytes=0-1"),), (("cache-control", "no-cache"),), (("if-range", "x"),)):
                before = len(pages.seen)
                await client.get("/hit", *fields)
                await client.get("/hit", *fields)
                assert len(pages.seen) == before + 2
            # The fact is replaced by another: a deploy, a purge.
            before = len(pages.seen)
            await client.get("/hit")
            assert len(pages.seen) == before
            pages.facts.put(("site", "alice", "x"), object(), 0)
            await client.get("/hit")
            await other.get("/hit")
            assert len(pages.seen) == before + 1
            pages.fresh_until = 0.0
            pages.facts.clear()
            await client.get("/hit")
            await client.get("/hit")
            assert len(pages.seen) == before + 3
            dates = {(await client.get("/hit")).fields["date"]}

            async def changes() -> bool:
                dates.add((await client.get("/hit")).fields["date"])
                return len(dates) > 1

            await becomes(changes, True, pause=0.1)


async def test_forgejos_host_is_misdirected_here() -> None:
    """RFC 9110 §15.5.20: it has connections of its own, without HTTP/2."""
    async with running_lane() as running, http2_client(running) as client:
        assert (await client.get("/", host=FORGEJO)).status == 421
        assert (await client.get("/user/login", host="GIT.test:443", method="POST", body=b"a=b")).status == 421
        assert (await client.get("/hit")).status == 200
        assert running.handed == []


REFUSED: list[tuple[str, str, tuple[tuple[str, str], ...], int]] = [
    ("GET", "http://internal/", (), 400),
    ("GET", "@x", (), 400),
    ("GET", "../x", (), 400),
    ("GET", "?a", (), 400),
    ("GET", "*", (), 400),
    ("GET", "/a b", (), 400),
    ("G ET", "/", (), 400),
    ("GET\t", "/", (), -1),
    ("CONNECT", "/", (), -1),
    ("GET", "/hit", (("host", "other.test"),), 400),
    ("GET", "/hit", ((HOP_HEADER.lower(), "another"),), 200),
    ("OPTIONS", "*", (), 200),
    ("FOO", "/hit", (), 200),
]


@pytest.mark.parametrize(("method", "path", "fields", "status"), REFUSED)
async def test_a_request_of_another_form_comes_to_no_page(
    method: str, path: str, fields: tuple[tuple[str, str], ...], status: int
) -> None:
    async with running_lane() as running, http2_client(running) as client:
        recalled = running.pages.answer_from_memory

        def refused_where_it_would_be(request: Any) -> Any:
            if request.host is None:
                from addon.serving.answers import misshapen

                return misshapen()
            return recalled(request)

        running.pages.answer_from_memory = refused_where_it_would_be  # type: ignore[method-assign]
        answer = await client.get(path, *fields, method=method)
        if status < 0:
            assert answer.reset == ErrorCode.PROTOCOL_ERROR
        else:
            assert answer.status == status
        assert (await client.get("/hit")).status == 200


async def test_another_scheme_is_none_of_ours() -> None:
    async with running_lane() as running, http2_client(running) as client:
        stream = client.h2.get_next_available_stream_id()
        client.answers[stream] = answered = type(client.answers[client.ask("/hit")])()
        stream = client.h2.get_next_available_stream_id()
        client.answers[stream] = answered
        head = [(":method", "GET"), (":scheme", "ftp"), (":authority", HOST), (":path", "/")]
        client.h2.send_headers(stream, head, end_stream=True)
        client.flush()
        assert (await client.answer(stream)).status == 400


async def test_a_head_that_is_too_long_is_answered_431_and_the_connection_goes_on() -> None:
    async with running_lane(maxHeadSize=4096) as running, http2_client(running) as client:
        assert (await client.get("/hit", ("x", "y" * 5000))).status == 431
        assert (await client.get("/hit", ("x", "y" * 2000))).status == 200
        await running.until(lambda: len(running.log.lines) == 2)
        assert [line["status"] for line in running.log.lines] == [431, 200]


# Bodies of requests.


async def test_a_form_is_read_and_no_other_body_is() -> None:
    async with running_lane() as running, http2_client(running) as client:
        bodies: list[bytes | None] = []
        answering = running.pages.answer

        async def answer(request: Any) -> Any:
            bodies.append(request.body)
            return await answering(request)

        running.pages.answer = answer  # type: ignore[method-assign]
        form = b"password=" + b"x" * 5000
        assert (await client.get("/miss", FORM, method="POST", body=form)).status == 200
        stream = client.ask("/miss", FORM, method="POST", body=b"")
        for piece in (b"pass", b"word", b"=1"):
            client.send(stream, piece)
        client.send(stream, b"", end=True)
        assert (await client.answer(stream)).status == 200
        assert (await client.get("/miss", FORM, method="POST")).status == 200
        assert bodies == [form, b"password=1", b""]
        # Another body is let come if it is small, and not waited for if it is not.
        assert (await client.get("/miss", method="POST", body=b"x" * 9000)).status == 200
        stream = client.ask("/miss", ("content-length", "90000"), method="POST", body=b"")
        assert (await client.answer(stream)).status == 200
        stream = client.ask("/miss", method="POST", body=b"")
        client.send(stream, b"x" * 16384)
        assert not client.answers[stream].status
        client.send(stream, b"x")
        assert (await client.answer(stream)).status == 200
        assert bodies[3:] == [None] * 3
        # Nor one that turns out to be too large.
        stream = client.ask("/miss", FORM, method="POST", body=b"")
        client.send(stream, b"x" * 16384)
        client.send(stream, b"x")
        assert (await client.answer(stream)).status == 200
        assert bodies[6] is None


async def test_expect_is_answered_where_the_body_is_wanted_and_nowhere_else() -> None:
    async with running_lane() as running, http2_client(running) as client:
        stream = client.ask("/miss", FORM, ("expect", "100-continue"), method="POST", body=b"")
        await client.until(lambda: client.answers[stream].interim == [100])
        client.send(stream, b"a=b", end=True)
        assert (await client.answer(stream)).status == 200
        answer = await client.get("/miss", ("expect", "100-continue"), method="POST", body=b"x")
        assert (answer.status, answer.interim) == (200, [])


async def test_a_webhook_is_read() -> None:
    delivery = Delivery(filler="x" * 200_000)
    body, webhook = delivery.body, delivery.webhook
    fields = (*delivery.fields, ("content-length", str(len(body))))
    async with running_lane() as running, http2_client(running) as client:
        running.lane.webhook = webhook
        stream = client.ask(delivery.path, *fields, method="POST", body=b"", host="pages.test")
        at = 0
        while at < len(body):
            await client.until(lambda: client.h2.local_flow_control_window(stream) > 0)
            size = min(client.h2.local_flow_control_window(stream), 16384, len(body) - at)
            client.send(stream, body[at : at + size])
            at += size
        client.send(stream, b"", end=True)
        assert (await client.answer(stream)).status == 202
        await running.until(lambda: delivery.purged == [("alice", "blog")])
        # Whose sender goes away is over.
        stream = client.ask(delivery.path, *fields, method="POST", body=b"", host="pages.test")
        await running.until(lambda: len(webhook._reading) == 1)
        client.reset(stream)
        await running.until(lambda: len(webhook._reading) == 0)


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2_answering, "BODY_SECONDS", 0.3)
    async with running_lane(headerTimeout=1) as running, http2_client(running) as client:
        stream = client.ask("/miss", FORM, method="POST", body=b"")
        client.send(stream, b"a")
        assert (await client.answer(stream)).status == 408


# Large answers.


async def test_a_stream_that_is_reset_ends_what_it_has_open() -> None:
    """The call to Forgejo is the context that the stream of an answer holds."""
    async with running_lane() as running, http2_client(running) as client:
        client.takes = False
        for path in ("/stream?100000000", "/never", "/miss"):
            if path == "/miss":
                running.pages.release.clear()
            asked = [client.ask(path) for _ in range(60)]
            await running.until(lambda: running.lane.busy == 1)
            if path.startswith("/stream"):
                await client.until(lambda asked=asked: all(client.answers[s].body for s in asked))  # type: ignore[misc]
                await running.until(lambda: running.pages.open_streams == 60)
            else:
                await running.until(lambda path=path: running.pages.asked.count(path) == 60)  # type: ignore[misc]
            for stream in asked:
                client.reset(stream)
            await running.until(lambda: running.lane.busy == 0)
            assert running.pages.open_streams == 0
        assert running.pages.cancelled == 120
        assert (await client.get("/hit")).status == 200
        await running.until(lambda: len(running.log.lines) == 181)
        assert [line["status"] for line in running.log.lines[:180]] == [499] * 180


async def test_a_client_that_is_gone_ends_what_it_has_open() -> None:
    async with running_lane() as running:
        async with http2_client(running) as client:
            client.takes = False
            for _ in range(30):
                client.ask("/stream?100000000")
            await running.until(lambda: running.pages.open_streams == 30)
        await running.until(lambda: running.pages.open_streams == 0)
        await running.until(lambda: len(running.lane) == 0)


async def test_files_that_are_not_taken_hold_up_no_other_and_no_memory() -> None:
    """Six films on one page, and the next page."""
    async with running_lane() as running:
        await _warm(running)
        before = resident()
        async with http2_client(running) as client:
            client.takes = False
            films = [client.ask("/stream?5000000") for _ in range(12)]
            await client.until(lambda: all(len(client.answers[stream].body) == 65535 for stream in films))
            for _ in range(3):
                assert (await client.get("/hit")).status == 200
                assert (await client.get("/miss")).status == 200
            assert (await client.get("/stream?60000")).status == 200
            assert resident() - before < 30 * 1024 * 1024
            client.takes = True
            client.take(films[0])
            assert len((await client.answer(films[0])).body) == 5_000_000


async def _warm(running: Any) -> None:
    async with http2_client(running) as client:
        await client.get("/big")


async def test_an_answer_that_many_ask_for_is_held_once() -> None:
    async with running_lane(maxConnectionsPerAddress=0) as running:
        await _warm(running)
        before = resident()
        held = []
        for _ in range(10):
            context = http2_client(running, wide=False)
            client = await context.__aenter__()
            client.takes = False
            held.append((context, client))
            for _ in range(100):
                client.ask("/big")
            await client.until(lambda c=client: all(answer.status for answer in c.answers.values()))  # type: ignore[misc]
        # Of 3 MiB each. What the client's half takes is in this process as well.
        assert resident() - before < 25 * 1024 * 1024
        for context, _ in held:
            await context.__aexit__(None, None, None)


@pytest.mark.parametrize(("pressure", "at_once"), [(True, 1), (False, http2_answering.MOST_LARGE)])
async def test_of_large_answers_that_are_not_taken_the_next_ones_wait_and_come(pressure: bool, at_once: int) -> None:
    async with running_lane() as running, http2_client(running) as client:
        if pressure:
            running.lane.most_unacknowledged = 1
        client.takes = False
        parts = [client.ask("/part") for _ in range(at_once + 3)]
        assert (await client.get("/miss")).status == 200  # small ones do not wait
        assert [client.answers[part].status for part in parts] == [200] * at_once + [0] * 3
        assert running.lane.unacknowledged == at_once * len(BIG)
        client.reset(parts[at_once])
        client.reset(parts[0])
        client.takes = True
        for part in parts[1:at_once]:
            client.take(part)
        for part in (*parts[1:at_once], *parts[at_once + 1 :]):
            assert bytes((await client.answer(part)).body) == BIG
        await running.until(lambda: len(running.log.lines) == len(parts) + 1)
        assert running.lane.unacknowledged == 0
        assert running.pages.asked.count("/part") >= 2


async def test_heads_that_are_long_take_their_share_of_what_is_remembered() -> None:
    async with running_lane(memoryCacheSize="8MiB", maxCachedFileSize="1MiB") as running:
        running.pages.with_basis = True
        async with http2_client(running) as client:
            for size in (3900, 12_000):
                for number in range(70):
                    await client.get("/hit", ("x", f"{number:0{size}}"))
        kept = running.lane.repeated_requests.known(True, None).http2
        assert kept
        assert sum(common.nbytes for common, _ in kept) <= running.lane.repeated_requests._capacity
        assert max(common.nbytes for common, _ in kept) < 4096


async def test_what_counts_without_tls_alone_is_known_without_tls_alone() -> None:
    SECURE.set(None)
    async with running_lane(http2Plain=True) as running:
        running.pages.with_basis = running.pages.plain_http = True
        async with http2_client(running, plain=True) as client:
            for _ in range(3):
                assert (await client.get("/hit")).status == 200
        assert len(running.lane.ready) == 1
        assert running.lane.repeated_requests.known(False, None).http2
        assert not running.lane.repeated_requests.known(True, None).http2  # a browser's head over TLS may be the same


async def test_a_stream_that_fails_is_reset_or_a_page_if_it_had_not_begun() -> None:
    async with running_lane() as running, http2_client(running) as client:
        for path in ("/cut", "/short", "/long"):
            answer = await client.get(f"{path}?1000000")
            assert answer.status == 200
            assert answer.reset == ErrorCode.INTERNAL_ERROR
        answer = await client.get("/late")
        assert (answer.status, bytes(answer.body)) == (502, b"late")
        await running.until(lambda: len(running.log.lines) == 4)


async def test_a_fault_is_answered_500_and_the_connection_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with running_lane() as running, http2_client(running) as client:
        for path in ("/fault?secret", "/miss-fault?secret", "/bad-header"):
            caplog.clear()
            answer = await client.get(path)
            assert (answer.status, "x-smuggled" in answer.fields) == (500, False)
            assert "secret" not in caplog.text
            assert len(caplog.records) == 1
        assert (await client.get("/hit")).status == 200


# Time, limits, and the end.


async def test_an_idle_connection_is_told_to_go_and_closed() -> None:
    async with running_lane(idleTimeout=0.4) as running, http2_client(running) as client:
        assert (await client.get("/hit")).status == 200
        client.h2.ping(bytes(8))
        client.flush()
        await client.until(lambda: client.closed)
        assert client.goaways == [(ErrorCode.NO_ERROR, 1)]


async def test_a_miss_may_take_longer_than_an_idle_connection() -> None:
    async with running_lane(idleTimeout=0.3, headerTimeout=0.3) as running, http2_client(running) as client:
        running.pages.release.clear()
        asyncio.get_running_loop().call_later(1.0, running.pages.release.set)
        assert (await client.get("/miss")).status == 200


@pytest.mark.parametrize("data", [b"", frames.PREFACE[:10], frames.PREFACE, frames.PREFACE + frames.settings(())])
async def test_who_does_not_begin_or_acknowledge_is_let_go(data: bytes) -> None:
    async with running_lane(headerTimeout=0.4, idleTimeout=30) as running:
        reader, writer = await running.connect_http2()
        writer.write(data)
        assert await asyncio.wait_for(reader.read(), DEADLINE)
        await running.until(lambda: len(running.lane) == 0)


async def test_a_reader_that_stops_is_let_go_and_its_stream_given_up() -> None:
    async with running_lane(idleTimeout=0.6) as running, http2_client(running) as client:
        running.lane.stall_timeout = 1.0
        client.takes = False
        stream = client.ask("/stream?100000000")
        answer = await client.answer(stream)
        assert answer.reset == ErrorCode.CANCEL
        assert running.pages.open_streams == 0


async def test_after_so_many_requests_the_client_is_sent_elsewhere_and_loses_nothing() -> None:
    async with running_lane(maxRequestsPerConnection=5) as running, http2_client(running) as client:
        running.pages.release.clear()
        asked = [client.ask("/miss") for _ in range(5)]
        await client.until(lambda: len(client.goaways) > 0)
        assert client.goaways[0] == (ErrorCode.NO_ERROR, 2**31 - 1)
        running.pages.release.set()
        assert [(await client.answer(stream)).status for stream in asked] == [200] * 5
        await client.until(lambda: client.closed)
        assert client.goaways[-1] == (ErrorCode.NO_ERROR, asked[-1])


async def test_the_end_answers_what_was_asked() -> None:
    async with running_lane() as running, http2_client(running) as client, http2_client(running) as idle:
        assert (await idle.get("/hit")).status == 200
        running.pages.release.clear()
        miss, stream = client.ask("/miss"), client.ask("/stream?3000000")
        await running.until(lambda: running.pages.asked == ["/miss"])
        drained = asyncio.create_task(running.lane.drain())
        await client.until(lambda: len(client.goaways) > 0)
        await idle.until(lambda: idle.closed)
        assert len((await client.answer(stream)).body) == 3_000_000
        assert not drained.done()
        running.pages.release.set()
        assert (await client.answer(miss)).status == 200
        await asyncio.wait_for(drained, DEADLINE)
        assert client.goaways[-1][0] == ErrorCode.NO_ERROR


async def test_every_request_is_in_the_access_log_with_what_was_sent() -> None:
    async with running_lane() as running, http2_client(running) as client:
        running.pages.with_basis = True
        for path in ("/hit?q", "/hit", "/hit", "/miss", "/big", "/stream?100000"):
            await client.get(path)
        await client.get("/hit", method="HEAD")
        await client.get("/", host=FORGEJO)
        await running.until(lambda: len(running.log.lines) == 8)
        lines = [(line["method"], line["path"], line["status"], line["nbytes"]) for line in running.log.lines]
        assert lines[:7] == [
            ("GET", "/hit", 200, 8),
            ("GET", "/hit", 200, 8),
            ("GET", "/hit", 200, 8),
            ("GET", "/miss", 200, 9),
            ("GET", "/big", 200, len(BIG)),
            ("GET", "/stream", 200, 100_000),
            ("HEAD", "/hit", 200, 0),
        ]
        assert lines[7][:3] == ("GET", "/", 421)
        assert all(line["client"] == "127.0.0.1" and line["seconds"] >= 0 for line in running.log.lines)


async def test_what_is_prepared_and_does_not_fit_into_a_window_is_logged_and_counted_once() -> None:
    async with running_lane() as running, http2_client(running, wide=False) as client:
        running.pages.with_basis = True
        client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 3})
        client.flush()
        for _ in range(3):
            assert (await client.get("/hit")).body == b"GET /hit"
        assert len(running.pages.seen) == 1
        await running.until(lambda: len(running.log.lines) >= 3)
        assert [line["nbytes"] for line in running.log.lines] == [8, 8, 8]
        assert running.lane.answered == 3


async def test_floods_end_their_connection_and_no_other() -> None:
    async with running_lane() as running, http2_client(running) as client, http2_client(running) as other:
        client.writer.write(frames.ping(bytes(8)) * 5000)
        await client.until(lambda: client.closed or bool(client.goaways))
        assert client.goaways[0][0] == ErrorCode.ENHANCE_YOUR_CALM
        assert (await other.get("/hit")).status == 200
        await running.until(lambda: len(running.lane) == 1)


async def test_without_tls_it_is_understood_where_that_is_wanted() -> None:
    SECURE.set(None)
    async with running_lane(http2Plain=True) as running:
        async with http2_client(running, plain=True) as client:
            assert (await client.get("/hit")).status == 200
            assert len((await client.get("/stream?100000")).body) == 100_000
        assert b"GET /hit" in await running.talk(get("/hit", "Connection: close"))
    async with running_lane() as running:
        assert b" 400 " in await running.talk(frames.PREFACE + frames.settings(()))


async def test_an_idle_connection_takes_little_memory() -> None:
    async with running_lane(maxConnectionsPerAddress=0) as running:
        held = []

        async def more(count: int) -> None:
            for _ in range(count):
                reader, writer = await running.connect_http2()
                writer.write(frames.PREFACE + frames.settings(()) + frames.SETTINGS_ACK)
                await reader.read(1000)
                held.append(writer)

        await more(100)
        before = resident()
        await more(400)
        # The client's half is in this process as well.
        assert (resident() - before) / 400 < 110 * 1024
        for writer in held:
            writer.transport.abort()
        await running.until(lambda: len(running.lane) == 0)
