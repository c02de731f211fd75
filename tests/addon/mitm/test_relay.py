# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What the flow face fetches from the relay: an answer once, by its ticket, and a stream as the lane would send it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from addon.forgejo.errors import ServerTrouble
from addon.mitm.relay import Relay
from addon.serving.server import Answer

DEADLINE = 20.0


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    relay = Relay()
    await relay.start()
    yield relay
    await relay.aclose()


async def fetched(relay: Relay, ticket: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(f"GET {ticket} HTTP/1.1\r\nHost: relay\r\n\r\n".encode())
    writer.write_eof()
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := await asyncio.wait_for(reader.read(65536), DEADLINE):
            received += data
    writer.close()
    return received


def streamed(*chunks: bytes, fails: bool = False, after: asyncio.Event | None = None) -> Answer:
    """An answer of six bytes that come as said."""

    @contextlib.asynccontextmanager
    async def stream() -> AsyncIterator[AsyncIterator[bytes]]:
        async def pieces() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk
            if after is not None:
                await after.wait()
            if fails:
                raise ServerTrouble("made up")

        yield pieces()

    answer = Answer(200, [(b"Content-Length", b"6")], length=6, stream=stream)
    answer.otherwise = lambda error: Answer(502, [(b"Content-Length", b"4")], b"late")
    return answer


async def test_a_stream_is_sent_once_and_whole(relay: Relay) -> None:
    ticket = relay.deposit(streamed(b"abc", b"def"))
    received = await fetched(relay, ticket)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n\r\nabcdef")
    assert (await fetched(relay, ticket)).startswith(b"HTTP/1.1 404 ")


async def test_a_stream_that_fails_before_its_first_byte_is_a_page(relay: Relay) -> None:
    received = await fetched(relay, relay.deposit(streamed(fails=True)))
    assert received.startswith(b"HTTP/1.1 502 ")
    assert received.endswith(b"\r\n\r\nlate")


async def test_a_stream_that_fails_later_is_cut(relay: Relay) -> None:
    taken = asyncio.Event()
    ticket = relay.deposit(streamed(b"abc", fails=True, after=taken))
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(f"GET {ticket} HTTP/1.1\r\nHost: relay\r\n\r\n".encode())
    received = await asyncio.wait_for(reader.readuntil(b"abc"), DEADLINE)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"content-length: 6\r\n" in received.lower()
    taken.set()
    rest = b""
    with contextlib.suppress(ConnectionResetError):
        rest = await asyncio.wait_for(reader.read(), DEADLINE)
    assert rest == b""
    writer.close()
