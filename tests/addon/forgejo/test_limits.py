# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How many calls run, wait and are not made at all: limits, the share of unknown names, the breaker, streams."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import Coroutine
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from addon.forgejo.client import (
    BadAnswer,
    DeadlineExceeded,
    Forgejo,
    ForgejoError,
    NotFound,
    Overloaded,
    ServerTrouble,
    Unreachable,
)
from addon.forgejo.limits import Breaker, Places, Slots
from addon.library.memory import SingleFlight
from addon.net.fair_queue import on_account
from tests.addon.conftest import Connect, Counting
from tests.addon.forgejo.lying_forge import BLOBS, COMMIT, FILES, KNOWN, LARGE, WANTED, blob_id, but, honest
from tests.addon.net.scripted import Answer, Seen, always, api_error, as_json, http, in_turn, scripted, silence
from tests.clock import Clock
from tests.waiting import at_rest, rounds, until


async def outcome(question: Coroutine[Any, Any, object]) -> object:
    """What a question was answered with, or the kind of its error."""
    try:
        return await question
    except ForgejoError as error:
        return type(error)


# Slots


async def test_a_thousand_unknown_names_do_not_delay_a_known_site(connect: Connect) -> None:
    running, most = 0, 0

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        nonlocal running, most
        if "/nobody/" not in seen.target:
            return honest(seen)
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(0.5)  # a slow forge: the interval itself
        finally:
            running -= 1
        return api_error()

    async with scripted(answer) as server:
        forgejo = connect(server)
        guesses = [
            asyncio.ensure_future(outcome(forgejo.repository("nobody", f"n{number}", known=False)))
            for number in range(1000)
        ]
        await until(lambda: running == 4)
        slowest = 0.0
        for _ in range(50):
            started = time.perf_counter()
            await asyncio.gather(*(forgejo.repository("alice", "blog") for _ in range(4)))
            slowest = max(slowest, time.perf_counter() - started)
        assert slowest < 0.3
        assert most == 4
        answers = await asyncio.gather(*guesses)
        # In 10 s at 0.5 s each, four at a time: 80, and the four that ran. Before the first was measured, more were let
        # in, which were told at their time.
        assert 40 <= answers.count(NotFound) <= 90
        assert answers.count(Overloaded) == 1000 - answers.count(NotFound)


async def test_unknown_names_are_answered_while_known_ones_press(connect: Connect) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        await asyncio.sleep(0.01)
        return honest(seen)

    async with scripted(answer) as server:
        forgejo = connect(server, concurrency=1)
        done = asyncio.Event()

        async def press() -> None:
            while not done.is_set():
                await forgejo.repository("alice", "blog")

        pressing = [asyncio.ensure_future(press()) for _ in range(3)]
        await until(lambda: len(server.requests) > 2)
        with pytest.raises(NotFound):
            await forgejo.repository("nobody", "n", known=False)
        done.set()
        await asyncio.gather(*pressing)


def behind(gate: asyncio.Event) -> Answer:
    """Honest answers once the gate is open."""

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        await gate.wait()
        return honest(seen)

    return answer


async def test_no_more_calls_run_than_allowed_and_as_many_wait_as_will_be_in_time(connect: Connect) -> None:
    gate = asyncio.Event()
    async with scripted(behind(gate)) as server:
        forgejo = connect(server, concurrency=2)
        # 150 small files at once, as a gallery asks for them: all of them are done in a moment, so none is refused.
        calls = [asyncio.ensure_future(outcome(forgejo.repository("alice", "blog"))) for _ in range(150)]
        await until(lambda: len(server.requests) == 2)
        assert not any(call.done() for call in calls)
        gate.set()
        answers = await asyncio.gather(*calls)
        assert answers.count(Overloaded) == 0
        assert server.connections == 2


async def test_the_calls_of_one_owner_do_not_delay_those_of_another(connect: Connect) -> None:
    gate = asyncio.Event()

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        if "/mallory/" in seen.target:
            await gate.wait()
        return honest(seen) if "/alice/" in seen.target else api_error()

    async with scripted(answer) as server:
        forgejo = connect(server, concurrency=4)
        flood = [asyncio.ensure_future(outcome(forgejo.repository("mallory", f"r{n}"))) for n in range(200)]
        await until(lambda: len(server.requests) == 3)  # of four: one place is left for others
        for _ in range(20):
            assert (await forgejo.repository("alice", "blog")).name == "blog"
        assert len(server.requests) == 3 + 20
        gate.set()
        await asyncio.gather(*flood)


async def test_a_call_for_which_nobody_waits_any_more_is_not_made(connect: Connect) -> None:
    gate = asyncio.Event()
    async with scripted(behind(gate)) as server:
        forgejo = connect(server, concurrency=1)
        flights: SingleFlight[int] = SingleFlight()
        holder = asyncio.ensure_future(forgejo.repository("alice", "blog"))
        await until(lambda: len(server.requests) == 1)
        waiters = [
            asyncio.ensure_future(flights.do(number % 5, lambda: forgejo.repository("alice", "blog")))
            for number in range(10)
        ]
        await rounds()
        for waiter in waiters[:9]:
            waiter.cancel()
        await asyncio.gather(*waiters[:9], return_exceptions=True)
        gate.set()
        await asyncio.gather(holder, waiters[9])
        await until(lambda: not len(flights))
        assert len(server.requests) == 2


async def test_who_waits_for_a_free_call_waits_until_the_deadline(connect: Connect) -> None:
    async with scripted(silence) as server:
        forgejo = connect(server, concurrency=1, timeout=0.3)
        started = time.perf_counter()
        answers = await asyncio.gather(*(outcome(forgejo.repository("alice", "blog")) for _ in range(5)))
        assert time.perf_counter() - started < 1
        assert set(answers) <= {DeadlineExceeded, Overloaded}
        assert len(server.requests) <= 2


async def test_cancelled_calls_free_their_place_and_close_their_connection(connect: Connect) -> None:
    async with scripted(but("/hang", silence)) as server:
        forgejo = connect(server, concurrency=2)
        for _ in range(5):
            before = len(server.requests)
            hanging = [asyncio.ensure_future(forgejo.repository("alice", "hang")) for _ in range(5)]
            await until(lambda before=before: len(server.requests) == before + 2)  # type: ignore[misc]
            for call in hanging:
                call.cancel()
            assert await asyncio.gather(*hanging, return_exceptions=True)
            assert all(call.cancelled() for call in hanging)
            assert (await forgejo.repository("alice", "blog")).name == "blog"
        turns = forgejo._calls.slots.turns
        assert (turns.busy, turns.waiting) == (0, 0)
        assert forgejo._calls.http.connections <= 1


async def test_places_are_never_lost_whatever_is_cancelled_when() -> None:
    slots = Slots(3, 1, 5.0)

    async def work(known: bool, hold: int) -> None:
        async with slots.held("alice", known=known):
            assert slots.turns.busy <= 3
            assert slots.unknown_names.busy <= 1
            for _ in range(hold):
                await rounds()

    for step in range(200):
        tasks = [asyncio.ensure_future(work(number % 3 != 0, number % 4)) for number in range(12)]
        for turn in range(6):
            tasks[(step * 7 + turn * 5) % 12].cancel()
            await rounds()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [(queue.busy, queue.waiting) for queue in (slots.turns, slots.unknown_names)] == [(0, 0), (0, 0)]


async def test_one_large_question_does_not_fill_the_queue_by_itself(connect: Connect) -> None:
    data = [b"%d" % number for number in range(300)]
    by_id = {blob_id(one): one for one in data}

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        if "shas=" in seen.target:
            return http(404, b"404 page not found\n", ("Content-Type", "text/plain"))
        one = seen.path.rpartition("/")[2]
        BLOBS[one] = by_id[one]
        try:
            return honest(seen)
        finally:
            del BLOBS[one]

    async with scripted(answer) as server:
        forgejo = connect(server, concurrency=4)
        found = await forgejo.blobs(KNOWN, [(one, len(bytes_)) for one, bytes_ in by_id.items()])
        assert found == by_id
        assert forgejo.calls == 301
        assert server.connections <= 2


async def test_the_first_failure_ends_a_question_of_many_calls(connect: Connect) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        page = int(seen.query["page"])
        if page == 3:
            return api_error(500)
        rows = [{"path": f"{page}-{n}", "mode": "100644", "type": "blob", "size": 1, "sha": "a" * 40} for n in range(5)]
        return as_json({"sha": COMMIT, "tree": rows, "page": page, "total_count": 1000})

    async with scripted(answer) as server:
        forgejo = connect(server)
        with pytest.raises(ServerTrouble):
            await forgejo.tree(KNOWN, COMMIT, max_entries=1000)
        assert len(server.requests) < 20
        assert forgejo._calls.slots.turns.busy == 0


# The breaker


async def test_a_forge_that_hangs_up_is_left_alone_and_probed(
    connect: Connect, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    async with scripted(always(None)) as server:
        forgejo = connect(server, clock=clock)

        async def asked(times: int) -> int:
            before = len(server.requests)
            for _ in range(times):
                assert await outcome(forgejo.repository("alice", "blog")) is Unreachable
            return len(server.requests) - before

        assert await asked(20) == 5
        for pause in (1, 2, 4, 8, 10, 10):
            clock.now += pause - 0.01
            assert await asked(3) == 0
            clock.now += 0.02
            assert await asked(3) == 1
        clock.now += 10
        server.answer = but("^$", None)
        assert (await forgejo.repository("alice", "blog")).name == "blog"
        server.answer = always(None)
        assert await asked(20) == 5 + 1  # the first is the kept connection that hung up, tried once more
        told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert told == [
            "Forgejo does not answer: calls fail at once until it does",
            "Forgejo answers again",
            "Forgejo does not answer: calls fail at once until it does",
        ]


@pytest.mark.parametrize("answer", [api_error(500), api_error(404), http(502), b"junk\r\n\r\n", http(200, b"<html>")])
async def test_a_forge_that_answers_anything_is_not_away(connect: Connect, answer: bytes) -> None:
    async with scripted(always(answer)) as server:
        forgejo = connect(server)
        for _ in range(12):
            with pytest.raises((ServerTrouble, NotFound, BadAnswer)):
                await forgejo.repository("alice", "blog")
        assert len(server.requests) == 12


async def test_only_one_probe_is_out_at_a_time_and_a_cancelled_one_makes_room(connect: Connect, clock: Clock) -> None:
    async with scripted(in_turn([None])) as server:
        forgejo = connect(server, clock=clock)
        for _ in range(5):
            await outcome(forgejo.repository("alice", "blog"))
        server.answer = silence
        for _ in range(2):
            clock.now += 11
            before = len(server.requests)
            probe = asyncio.ensure_future(forgejo.repository("alice", "blog"))
            await until(lambda before=before: len(server.requests) == before + 1)  # type: ignore[misc]
            for _ in range(3):
                assert await outcome(forgejo.repository("alice", "blog")) is Unreachable
            assert len(server.requests) == before + 1
            probe.cancel()
            await asyncio.gather(probe, return_exceptions=True)
        server.answer = but("^$", None)
        assert (await forgejo.repository("alice", "blog")).name == "blog"


def test_calls_that_were_out_when_it_opened_do_not_make_the_pause_longer(clock: Clock) -> None:
    breaker = Breaker(clock)
    probes = [breaker.admit() for _ in range(16)]
    for probe in probes:
        breaker.failed(probe)
    with pytest.raises(Unreachable):
        breaker.admit()
    clock.now += 1
    assert breaker.admit() is True
    breaker.succeeded()
    assert breaker.admit() is False
    assert not breaker.is_open


def test_an_answer_in_between_starts_the_count_anew() -> None:
    breaker = Breaker(Clock())
    for _ in range(3):
        for _ in range(4):
            breaker.failed(breaker.admit())
        breaker.succeeded()
    assert not breaker.is_open


# Streams


def test_of_large_files_on_their_way_each_leaves_some_for_others() -> None:
    places = Places(64)
    with ExitStack() as stack:

        def taken(owner: str, visitor: str) -> int:
            count = 0
            with on_account(owner=owner, visitor=visitor), suppress(Overloaded):
                while count < 100:
                    stack.enter_context(places.held())
                    count += 1
            return count

        assert taken("alice", "slow") == 48
        assert taken("alice", "another") == 8
        assert taken("alice", "late") == 0  # an owner leaves some, too
        assert taken("bob", "slow") == 0
        assert taken("bob", "another") == 0  # it has as many as are left
        assert taken("bob", "late") == 4
        assert [taken("carol", f"visitor {number}") for number in range(4)] == [2, 0, 0, 0]
        assert taken("dave", "new") == 1
        assert taken("", "") == 1
        assert taken("erin", "new one") == 0
        assert places.taken == 64
    assert places.taken == 0
    assert not places._of


def endless_pieces(sent: dict[int, int], size: int) -> Any:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        writer.write(http(200, b"", ("Etag", f'"{LARGE[0]}"'), length=size))
        sent[seen.connection] = 0
        while sent[seen.connection] < size:
            writer.write(bytes(65536))
            await writer.drain()
            sent[seen.connection] += 65536
        return b""

    return answer


async def test_two_hundred_slow_readers_hold_no_place_and_stop_the_server(connect: Connect) -> None:
    size = 32 * 1024 * 1024
    sent: dict[int, int] = {}
    async with scripted(but("/raw/", endless_pieces(sent, size))) as server:
        forgejo = connect(server, concurrency=4, max_streams=200)
        entered = 0
        leave = asyncio.Event()

        async def read_slowly() -> None:
            nonlocal entered
            async with forgejo.files.stream(
                KNOWN, path="public/large.bin", commit=COMMIT, id=LARGE[0], size=size
            ) as chunks:
                await anext(chunks)
                entered += 1
                await leave.wait()

        readers = []
        for _ in range(200):
            readers.append(asyncio.ensure_future(read_slowly()))
            await until(lambda: entered == len(readers))
        assert forgejo._calls.slots.turns.busy == 0
        for _ in range(20):
            assert (await forgejo.repository("alice", "blog")).name == "blog"
        with pytest.raises(Overloaded):
            await read_slowly()
        await at_rest(lambda: sum(sent.values()))
        assert max(sent.values()) < 8 * 1024 * 1024  # the kernel's buffers
        for reader in readers[:100]:
            reader.cancel()
        leave.set()
        await asyncio.gather(*readers, return_exceptions=True)
        assert forgejo._calls.places.taken == 0
        await until(lambda: forgejo._calls.http.connections <= 1)


async def test_a_stream_that_cannot_begin_takes_no_place(connect: Connect) -> None:
    async with scripted(always(api_error())) as server:
        forgejo = connect(server, max_streams=1)
        for _ in range(3):
            with pytest.raises(NotFound):
                async with forgejo.files.stream(
                    KNOWN, path="public/large.bin", commit=COMMIT, id=LARGE[0], size=LARGE[1]
                ):
                    raise AssertionError("there is nothing to stream")


async def test_a_stream_that_trickles_is_ended_and_a_slow_reader_is_not(connect: Connect) -> None:
    async def trickle(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        writer.write(http(200, b"", ("Etag", f'"{LARGE[0]}"'), length=LARGE[1]))
        for _ in range(LARGE[1]):
            writer.write(b"\0")
            await writer.drain()
            await asyncio.sleep(0.05)
        return b""

    async with scripted(but("/raw/", trickle)) as server:
        forgejo = connect(server, timeout=0.2)

        async def read(pause: float) -> bytes:
            data = b""
            async with forgejo.files.stream(
                KNOWN, path="public/large.bin", commit=COMMIT, id=LARGE[0], size=LARGE[1]
            ) as chunks:
                async for chunk in chunks:
                    data += chunk
                    await asyncio.sleep(pause)
            return data

        with pytest.raises(DeadlineExceeded, match="too slowly"):
            await read(0)
        server.answer = but("^$", None)
        assert await read(0.1) == FILES["public/large.bin"]


# Work on the loop


async def test_large_answers_are_taken_apart_by_the_executor(connect: Connect) -> None:
    with Counting(1) as executor:
        async with scripted(but("^$", None)) as server:
            forgejo = connect(server, executor=executor)
            assert await forgejo.blobs(KNOWN, WANTED[:2]) == {one: BLOBS[one] for one, _ in WANTED[:2]}
            assert executor.submitted == 0
            assert await forgejo.blobs(KNOWN, WANTED) == BLOBS
            assert await forgejo.blobs(KNOWN, [LARGE]) == {LARGE[0]: BLOBS[LARGE[0]]}
            assert executor.submitted == 2
            server.answer = always(
                as_json([{"sha": LARGE[0], "size": LARGE[1], "encoding": "x", "content": "x" * 400_000}])
            )
            with pytest.raises(BadAnswer):
                await forgejo.blobs(KNOWN, WANTED)


async def test_without_an_executor_a_large_answer_lets_others_run() -> None:
    data = bytes(range(256)) * 4096 * 10
    document = {
        "sha": blob_id(data),
        "size": len(data),
        "encoding": "base64",
        "content": base64.b64encode(data).decode(),
    }
    forgejo = Forgejo("http://forge.example")
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            started = time.perf_counter()
            await rounds()
            longest = max(longest, time.perf_counter() - started)

    body = json.dumps(document).encode()
    watching = asyncio.ensure_future(watch())
    await rounds()
    started = time.perf_counter()
    _, blobs = await forgejo._objects._decoded(body, {blob_id(data): len(data)}, many=False)
    took = time.perf_counter() - started
    watching.cancel()
    assert blobs == {blob_id(data): data}
    assert longest < took * 0.7
