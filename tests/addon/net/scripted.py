# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A server on a real socket that sends exactly the bytes a test says, when it says, and counts what it saw.

It reads a request's head and hands it to the test's `answer`, which returns the bytes to send (None: close now) or
writes to the connection itself. It never corrects anything: lying, truncating and trickling is what it is for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

Answer = Callable[["Seen", asyncio.StreamWriter], Awaitable[bytes | None]]


@dataclass(frozen=True)
class Seen:
    """A request as it arrived: its target, its header fields in lower case, and on which connection (from 1)."""

    target: str
    headers: dict[str, str]
    connection: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        pairs = (pair.partition("=") for pair in self.target.partition("?")[2].split("&"))
        return {name: value for name, _, value in pairs}


@dataclass
class Scripted:
    """State of the server: what it saw, and how many connections are open."""

    answer: Answer
    scheme: str = "http"
    port: int = 0
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def targets(self) -> list[str]:
        return [request.target for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        number = self.connections
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                fields = (line.partition(":") for line in head[1:] if line)
                headers = {name.lower(): value.strip() for name, _, value in fields}
                seen = Seen(head[0].split(" ")[1], headers, number)
                self.requests.append(seen)
                data = await self.answer(seen, writer)
                if data is None:
                    break
                writer.write(data)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            with suppress(OSError):
                writer.transport.abort() if self.scheme == "https" else writer.close()
            self.open -= 1
            async with self.changed:
                self.changed.notify_all()

    async def until(self, condition: Callable[[], bool], within: float = 5.0) -> None:
        """Wait until a connection's end makes this true."""
        async with asyncio.timeout(within), self.changed:
            await self.changed.wait_for(condition)


@asynccontextmanager
async def scripted(answer: Answer, *, tls: SSLContext | None = None) -> AsyncIterator[Scripted]:
    """A running server; everything it still does ends with it."""
    server = Scripted(answer, "http" if tls is None else "https")
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def always(data: bytes | None) -> Answer:
    """The same bytes for every request; None closes the connection."""

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        return data

    return answer


def in_turn(answers: Iterable[bytes | None]) -> Answer:
    """One after the other; the last one for all that follow."""
    left = list(answers)

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


async def silence(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
    """Never an answer."""
    await asyncio.Event().wait()
    return None


def http(status: int, body: bytes = b"", *fields: tuple[str, str], length: int | None = None) -> bytes:
    """An answer; `length` is what it claims to have (-1: it claims nothing)."""
    lines = [f"HTTP/1.1 {status} Any"]
    lines += [f"{name}: {value}" for name, value in fields]
    if length != -1:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(status: int, chunks: Iterable[bytes], *fields: tuple[str, str]) -> bytes:
    """A complete chunked answer."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    return http(status, body, ("Transfer-Encoding", "chunked"), *fields, length=-1)


JSON = ("Content-Type", "application/json;charset=utf-8")
HTML = ("Content-Type", "text/html; charset=utf-8")
TEXT = ("Content-Type", "text/plain; charset=utf-8")


def as_json(document: Any, status: int = 200, *fields: tuple[str, str]) -> bytes:
    """A JSON answer as Forgejo sends it."""
    return http(status, json.dumps(document).encode() + b"\n", JSON, *fields)


def api_error(status: int = 404) -> bytes:
    """An error of Forgejo's own API."""
    text = {"message": "The target couldn't be found.", "url": "http://forge.example/api/swagger", "errors": []}
    return as_json(text, status)
