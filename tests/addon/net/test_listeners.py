# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The end of listening: whoever was taken from a queue is let in, and nobody is taken any more."""

import asyncio
import select
import socket

from addon.net.listeners import admit_accepted


async def test_whom_a_server_has_just_taken_is_let_in_before_it_closes() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    (listener,) = server.sockets
    queue = select.poll()
    queue.register(listener.fileno(), select.POLLIN)
    with socket.create_connection(listener.getsockname(), 10) as taken:
        while queue.poll(0):  # noqa: ASYNC110 -- until it was accepted, a moment ago
            await asyncio.sleep(0)
        await admit_accepted(server.sockets)
        with socket.create_connection(listener.getsockname(), 10):
            assert queue.poll(10_000)
            for _ in range(5):
                await asyncio.sleep(0)
            assert queue.poll(0)  # for somebody else to take
        server.close()
        assert await asyncio.to_thread(taken.recv, 100) == b"welcome"
