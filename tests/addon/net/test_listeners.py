# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The end of listening: whoever was taken from a queue is let in, and nobody is taken any more."""

import asyncio
import inspect
import select
import socket

import pytest

from addon.net.listeners import AcceptPauses, admit_accepted
from tests.waiting import rounds


async def test_whom_a_server_has_just_taken_is_let_in_before_it_closes() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    (listener,) = server.sockets
    queue = select.poll()
    queue.register(listener.fileno(), select.POLLIN)
    with socket.create_connection(listener.getsockname(), 10) as taken:
        while queue.poll(0):  # until it was accepted, a moment ago
            await rounds()
        await admit_accepted(server.sockets)
        with socket.create_connection(listener.getsockname(), 10):
            assert queue.poll(10_000)
            await rounds(5)
            assert queue.poll(0)  # for somebody else to take
        server.close()
        assert await asyncio.to_thread(taken.recv, 100) == b"welcome"


async def test_that_accepting_pauses_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    assert repr(AcceptPauses.MESSAGE)[1:-1] in inspect.getsource(asyncio.selector_events)
    loop, others, now = asyncio.get_running_loop(), [], 0.0
    loop.set_exception_handler(lambda loop, context: others.append(context["message"]))
    try:
        AcceptPauses(loop, lambda: now)
        for _ in range(130):
            loop.call_exception_handler(
                {"message": AcceptPauses.MESSAGE, "exception": OSError(24, "Too many open files")}
            )
            loop.call_exception_handler({"message": "another"})
            now += 1.0
    finally:
        loop.set_exception_handler(None)
    lines = [record.getMessage() for record in caplog.records]
    assert [f"; {count} more times since" in line for line, count in zip(lines, (0, 59, 59), strict=True)] == [True] * 3
    assert others == ["another"] * 130
