# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One answer of HTTP/1.1 that takes longer than a write: a large body piece by piece, a stream as it comes.

It is written as fast as the client takes it and no faster, and a body that turns out to be longer or shorter than was
said is an error of whoever sends it, because the next answer would begin in the wrong place.
"""

import asyncio
from contextlib import AsyncExitStack

from addon.lane.answers import CLOSE, answer_bytes
from addon.lane.lane import Lane
from addon.serving.server import Answer

CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNK = 256 * 1024
"""Bytes of a large body written at once: CPython 3.11 copies what the socket does not take."""


class AnswerWriter:
    """Writes one answer. State: how much of the body was sent, and whether the client takes more.

    ends: its end is that of the connection.
    """

    def __init__(self, lane: Lane, transport: asyncio.Transport, connection: bytes, http11: bool = True) -> None:
        """connection: the Connection line, or nothing. http11: whether the client knows chunks."""
        self._lane = lane
        self._transport = transport
        self._connection = connection
        self._http11 = http11
        self.ends = connection is CLOSE
        self._waiting: asyncio.Future[None] | None = None
        self.room = True
        self.begun = False
        self.sent = 0

    def end(self) -> None:
        """The connection ends with this answer; to be called before it begins."""
        self._connection, self.ends = CLOSE, True

    def resume(self) -> None:
        """The client takes more."""
        self.room = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def whole(self, answer: Answer, head_only: bool) -> None:
        """Send an answer that has its body."""
        large = len(answer.body) > CHUNK and not head_only
        self._begin(*answer_bytes(answer, head_only or large))
        if not large:
            self.sent += 0 if head_only else len(answer.body)
        else:
            body = memoryview(answer.body)
            for at in range(0, len(body), CHUNK):
                await self._until_room()
                chunk = body[at : at + CHUNK]
                self.sent += len(chunk)
                self._transport.write(chunk)
        await self._until_room()

    async def stream(self, answer: Answer) -> Answer:
        """Send a body as it comes; returns what was sent, which is another answer where it did not begin to come."""
        assert answer.stream is not None
        async with AsyncExitStack() as stack:
            try:
                chunks = await stack.enter_async_context(answer.stream())
                chunk = await anext(chunks, b"")
            except Exception as error:  # nothing was sent yet: a page can still say so
                answer = answer.otherwise(error)
                await self.whole(answer, False)
                return answer
            start, rest = answer_bytes(answer, True)
            left = answer.length
            chunked = left is None and self._http11
            if chunked:
                rest = CHUNKED + rest
            elif left is None:
                self.end()
            self._begin(start, rest)
            while chunk:
                if left is not None:
                    left -= len(chunk)
                if left is not None and left < 0:
                    raise ValueError("a stream is longer than was said")
                self.sent += len(chunk)
                self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                await self._until_room()
                chunk = await anext(chunks, b"")
            if chunked:
                self._transport.write(b"0\r\n\r\n")
            if left:
                raise ValueError("a stream is shorter than was said")
        return answer

    def _begin(self, start: bytes, rest: bytes) -> None:
        self.begun = True
        self._transport.write(b"".join((start, self._lane.dated(), self._connection, rest)))

    async def _until_room(self) -> None:
        while not self.room:
            self._waiting = self._lane.loop.create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
