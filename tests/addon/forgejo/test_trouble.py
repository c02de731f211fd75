# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What becomes of a call when Forgejo is slow, away, refusing or broken: an error of its kind, in time."""

from __future__ import annotations

import asyncio
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from addon.forgejo.client import (
    Access,
    BadAnswer,
    DeadlineExceeded,
    Forgejo,
    ForgejoError,
    NotFound,
    RateLimited,
    Refused,
    ServerTrouble,
    Unreachable,
)
from tests.addon.conftest import Connect
from tests.addon.forgejo.lying_forge import (
    KNOWN,
    QUESTIONS,
    REPOSITORY,
    Question,
    ask_blobs,
    but,
    honest,
)
from tests.addon.net.scripted import (
    HTML,
    JSON,
    TEXT,
    Seen,
    always,
    api_error,
    as_json,
    http,
    in_turn,
    scripted,
    silence,
)
from tests.cases import by_outcome
from tests.clock import Clock

TOKEN = "5ec7e7" * 6 + "abcd"


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_forge_in_order_answers(connect: Connect, question: Question) -> None:
    async with scripted(but("^$", None)) as server:
        assert await question(connect(server))
        assert len(server.requests) == 1


# Answers that are none

DEEP = b"[" * 200_000
NOT_THE_ANSWER: list[tuple[str, bytes | None, type[ForgejoError]]] = by_outcome(
    {
        BadAnswer: [
            ("a web page", http(200, b"<!DOCTYPE html><title>Welcome</title>", HTML)),
            ("a web page that says it is JSON", http(200, b"<!DOCTYPE html>", JSON)),
            ("nothing", http(200, b"", JSON)),
            ("no content", http(204)),
            ("half of it", http(200, b'{"id": 8, "owner": {"lo', JSON)),
            ("more than it", http(200, b'{"id": 8}{"id": 8}', JSON)),
            ("null", as_json(None)),
            ("a number", as_json(5)),
            ("a word", as_json("main")),
            ("true", as_json(True)),
            ("an empty object", as_json({})),
            ("an empty list", as_json([])),
            ("a list in a list", as_json([[]])),
            ("NaN", http(200, b"NaN", JSON)),
            ("bytes that are no text", http(200, b'{"id": "\xff\xfe"}', JSON)),
            ("a deep list", http(200, DEEP + b"]" * len(DEEP), JSON)),
            ("a deep object", http(200, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, JSON)),
            ("a number of a million digits", http(200, b"1" * 1_000_000, JSON)),
            ("a giant", http(200, b" ", JSON, length=10**12)),
            ("half a body", http(200, b'{"a": ', JSON, length=500)),
            ("no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
            ("a giant head", http(200, b"{}", ("X", "x" * 400_000))),
            ("a web page 404", http(404, b"<html>Not Found</html>", HTML)),
            ("JSON 404 without a message", as_json({"error": "not found"}, 404)),
            ("JSON 404 that is a list", as_json(["message"], 404)),
            ("JSON 404 said to be HTML", http(404, b'{"message": "x"}', HTML)),
            ("404 without a body", http(404)),
            ("a web page 401", http(401, b"<html>Who are you?</html>", HTML)),
            ("a web page 403", http(403, b"<html>Forbidden</html>", HTML)),
            ("201", as_json({}, 201)),
            ("303 to the login", http(303, b"", ("Location", "/user/login"))),
            ("304", http(304, b"")),
            ("400 of a server in front", http(400, b"<html>Bad Request</html>", HTML)),
            ("405", http(405, b"", ("Allow", "POST"))),
            ("414", http(414, b"<html>URI Too Long</html>", HTML)),
        ],
        Unreachable: [("a closed connection", None)],
        NotFound: [("JSON 404", api_error(404))],
        Refused: [
            ("401", api_error(401)),
            ("403", api_error(403)),
        ],
        RateLimited: [("429", http(429, b"slow down", TEXT))],
        ServerTrouble: [
            ("500", api_error(500)),
            ("a web page 500", http(500, b"<html>panic</html>", HTML)),
            ("502", http(502, b"<html>Bad Gateway</html>", HTML)),
            ("503", http(503, b"<html>Unavailable</html>", HTML, ("Retry-After", "120"))),
            ("504", http(504, b"<html>Timeout</html>", HTML)),
            ("a status of nobody", http(799)),
        ],
    }
)
STATUSES = {NotFound: 404, Refused: 403, RateLimited: 503, Unreachable: 502, BadAnswer: 502, ServerTrouble: 502}


@pytest.mark.parametrize(("answer", "error"), [case[1:] for case in NOT_THE_ANSWER], ids=[c[0] for c in NOT_THE_ANSWER])
@pytest.mark.parametrize("question", QUESTIONS)
async def test_what_is_no_answer_is_an_error_of_its_kind(
    connect: Connect,
    question: Question,
    answer: bytes | None,
    error: type[ForgejoError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def cut(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        if answer is not None:
            writer.write(answer)
        return None

    async with scripted(cut) as server:
        forgejo = connect(server, TOKEN)
        with pytest.raises(ForgejoError) as caught:
            await question(forgejo)
        if answer == http(405, b"", ("Allow", "POST")) and question is ask_blobs:
            assert len(server.requests) == 3  # no batches there, so one by one, which is no better
        assert type(caught.value) is error
        assert caught.value.status == STATUSES[error]
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(forgejo) + caplog.text
        assert TOKEN not in shown
        assert TOKEN not in repr(vars(caught.value))


@pytest.mark.parametrize("question", QUESTIONS)
async def test_an_unreachable_forge_is_502(question: Question) -> None:
    probe = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()
    forgejo = Forgejo(f"http://127.0.0.1:{port}")
    with pytest.raises(Unreachable, match="refused") as caught:
        await question(forgejo)
    assert caught.value.status == 502


async def trickle(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
    for byte in honest(seen):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.1)
    return None


async def stalls_amid_the_body(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
    answer = honest(seen)
    writer.write(answer[: answer.index(b"\r\n\r\n") + 6])
    return await silence(seen, writer)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("answer", [silence, trickle, stalls_amid_the_body])
async def test_a_slow_forge_is_504_in_time(connect: Connect, question: Question, answer: Any) -> None:
    async with scripted(answer) as server:
        started = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineExceeded) as caught:
            await question(connect(server, timeout=0.3))
        assert asyncio.get_running_loop().time() - started < 1
        assert caught.value.status == 504
        await server.until(lambda: server.open == 0 or answer is silence or answer is stalls_amid_the_body)


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_connection_closed_between_calls_is_not_noticed(connect: Connect, question: Question) -> None:
    async def forgetful(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        number = sum(1 for request in server.requests if request.connection == seen.connection)
        return honest(seen) if number == 1 else None

    async with scripted(forgetful) as server:
        forgejo = connect(server)
        for _ in range(3):
            assert await question(forgejo)
        assert forgejo.calls == 3
        assert server.connections == 3


# Refusals and rations


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        (None, 1),
        ("7", 7),
        (" 7 ", 7),
        ("0", 1),
        ("-5", 1),
        ("1e3", 1),
        ("soon", 1),
        ("99999999999999999999", 1),
        ("999999", 3600),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 1),
        pytest.param(format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True), 3600, id="tomorrow"),
    ],
)
async def test_a_pause_that_is_asked_for_is_kept(
    connect: Connect, field: str | None, seconds: int, clock: Clock
) -> None:
    fields = [] if field is None else [("Retry-After", field)]
    async with scripted(in_turn([http(429, b"slow down", HTML, *fields), as_json(REPOSITORY)])) as server:
        forgejo = connect(server, clock=clock)
        with pytest.raises(RateLimited) as caught:
            await forgejo.repository("alice", "blog")
        assert caught.value.retry_after == seconds
        assert caught.value.status == 503
        with pytest.raises(RateLimited):
            await forgejo.repository("alice", "blog")
        assert len(server.requests) == 1
        clock.now += min(seconds, 60)
        assert await forgejo.repository("alice", "blog")
        assert len(server.requests) == 2


async def test_where_anonymous_calls_are_rationed_the_token_goes_on(connect: Connect, clock: Clock) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        return honest(seen) if "authorization" in seen.headers else http(429, b"", ("Retry-After", "30"))

    async with scripted(answer) as server:
        forgejo = connect(server, TOKEN, clock=clock)
        repository = await forgejo.repository("alice", "blog")
        assert repository.public
        assert repository.access is Access.TOKEN
        await forgejo.branch(KNOWN, "main")
        assert [("authorization" in seen.headers) for seen in server.requests] == [False, True, True]
        assert server.requests[-1].headers["authorization"] == f"token {TOKEN}"


async def test_a_token_that_the_forge_quotes_back_is_shown_nowhere(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        if "authorization" not in seen.headers:
            return api_error(403)
        said = seen.headers["authorization"]
        return as_json({"message": f"access token does not exist [{said}]"}, 401, ("X-Token", said))

    async with scripted(answer) as server:
        forgejo = connect(server, TOKEN)
        with pytest.raises(Refused) as caught:
            await forgejo.repository("alice", "blog")
        shown = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value)) + repr(forgejo)
        assert TOKEN not in shown + caplog.text
        assert "refuses the token" in caplog.text


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_what_was_shown_to_the_token_alone_is_asked_for_with_it_alone(connect: Connect, status: int) -> None:
    async with scripted(always(api_error(status))) as server:
        forgejo = connect(server, TOKEN)
        private = KNOWN.__class__("alice", "blog", 8, "main", False, False, False, "sha1", None, Access.TOKEN)
        with pytest.raises(NotFound if status == 404 else Refused):
            await forgejo.branch(private, "main")
        assert ["authorization" in seen.headers for seen in server.requests] == [True]


async def test_every_call_bears_the_headers_it_is_told_to(connect: Connect) -> None:
    async with scripted(but("^$", None)) as server:
        await connect(server, headers=[("X-Hop", "mark")]).version()
        assert {seen.headers["x-hop"] for seen in server.requests} == {"mark"}
