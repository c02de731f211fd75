# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A lane on a real socket, in front of pages that are made up, and of a handler that says what it was handed."""

import asyncio
import contextlib
import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from addon.admin.access_formats import Entry, Parts
from addon.admin.access_log import AccessLog
from addon.forgejo.errors import ServerTrouble
from addon.lane.http1 import Connection
from addon.lane.install import accepting, open_listener
from addon.lane.lane import Lane
from addon.library.memory import Memory
from addon.net.certificates import Certificates
from addon.serving.server import Answer, PagesServer, Request
from addon.settings.schema import Settings
from addon.web.forwarding import Forwarding
from addon.web.prepared_answers import Basis
from addon.web.routing import Route, route
from tests.addon.net.tls_wire import client_context, open_secure
from tests.waiting import rounds, until

HOST = "alice.pages.test"
FORGEJO = "git.test"
BIG = bytes(range(256)) * 4096 * 3  # 3 MiB
DEADLINE = 20.0
SECURE: ContextVar[Certificates | None] = ContextVar("SECURE", default=None)
"""What a lane listens with, unless it is told."""


class RecordedLog:
    """An access log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

        self._again: dict[Parts, dict[str, Any]] = {}

    def record(self, **line: Any) -> None:
        self.lines.append(line)

    def parts(self, entry: Entry) -> Parts:
        line = entry._asdict()
        del line["at"], line["dropped_before"]
        self._again[parts := (f"line {len(self._again)}", "")] = line
        return parts

    def record_again(self, parts: Parts, client: str, seconds: float) -> None:
        self.lines.append({**self._again[parts], "client": client, "seconds": seconds})


@dataclass(slots=True)
class Founded(Answer):
    """An answer that says what it was made from."""

    basis: Basis | None = None


class Pages:
    """Answers by path, as a `PagesServer` does: `answer_from_memory` what it has, `answer` what it has to wait for.

    /hit…, /miss…, /never (a miss that ends with its connection), /fault, /bad-header, /big, /part (as of a range: bytes
    that nobody else gets), /stream?N, /cut, /late, /unknown (a stream of unknown length), /unknown?cut.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.asked: list[str] = []
        self.forms: list[bytes | None] = []  # what requests with a method other than GET brought
        self.cancelled = 0
        self.open_streams = 0
        self.release = asyncio.Event()
        self.release.set()
        self.facts: Memory[tuple[str, ...], object] = Memory(1 << 20)
        self.facts.put(("site", "alice", "x"), object(), 0)
        self.fresh_until = float("inf")
        self.with_basis = self.plain_http = False
        self.chunk = 64 * 1024

    def route(self, host: str | None, path: str) -> Route:
        return route(host, path, pages_domain="pages.test", forgejo_host=FORGEJO)

    def answer_from_memory(self, request: Request) -> Answer | None:
        self.seen.append((request.method, request.path))
        if request.path == "/fault":
            raise RuntimeError("made up")
        if request.path.startswith(("/miss", "/never")):
            return None
        return self._made(request)

    async def answer(self, request: Request) -> Answer:
        self.asked.append(request.path)
        if request.method != "GET":
            self.forms.append(request.body)
        try:
            if request.path == "/never":
                await asyncio.Event().wait()
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if request.path == "/miss-fault":
            raise RuntimeError("made up")
        return self._made(request)

    def _made(self, request: Request) -> Answer:
        path = request.path
        body = b"%s %s" % (request.method.encode(), path.encode())
        known = request.header(b"if-none-match")
        request.header(b"accept-encoding")
        if path == "/bad-header":
            return Answer(200, [(b"X-Bad", b"a\r\nX-Smuggled: 1"), (b"Content-Length", b"0")])
        if path == "/cookie":
            body = request.header(b"cookie") or b"none"
        if path == "/big":
            body = BIG
        if path == "/part":
            body = bytes(memoryview(BIG))
        if path == "/without-length":
            return Answer(200, [], body)
        if path == "/unknown":
            answer = Answer(200, [], length=None)
            answer.stream = lambda: self._stream("/cut" if request.query == "cut" else path, 200_000)
            return answer
        if path in ("/stream", "/cut", "/late", "/short", "/long"):
            size = int(request.query or len(BIG))
            answer = Answer(200, [(b"Content-Length", b"%d" % size)], length=size)
            answer.stream = lambda: self._stream(path, size)
            answer.otherwise = lambda error: Answer(502, [(b"Content-Length", b"4")], b"late")
            return answer
        if known == b'"tag"':
            answer = Answer(304, [(b"ETag", b'"tag"')], cache="HIT")
        else:
            headers = [(b"Content-Length", b"%d" % len(body)), (b"ETag", b'"tag"')]
            answer = Answer(200, headers, b"" if request.method == "HEAD" else body, cache="HIT")
        if self.with_basis:
            key = ("site", "alice", "x")
            basis = Basis(((key, self.facts.get(key)),), self.fresh_until, self.plain_http)
            answer = Founded(answer.status, answer.headers, answer.body, cache=answer.cache, basis=basis)
        return answer

    @contextlib.asynccontextmanager
    async def _stream(self, path: str, size: int) -> AsyncIterator[AsyncIterator[bytes]]:
        if path == "/late":
            raise ServerTrouble("made up")

        async def chunks() -> AsyncIterator[bytes]:
            left = {"/cut": size // 2, "/short": size - 1, "/long": size + 1}.get(path, size)
            while left:
                part = BIG[: min(left, self.chunk)]
                left -= len(part)
                yield part
                await rounds()
            if path == "/cut":
                raise ServerTrouble("made up")

        self.open_streams += 1
        try:
            yield chunks()
        finally:
            self.open_streams -= 1


class RunningLane:
    """A lane that listens, and what it did."""

    def __init__(self, lane: Lane, pages: Pages, port: int, log: RecordedLog, secure: bool) -> None:
        self.lane = lane
        self.pages = pages
        self.port = port
        self.log = log
        self.secure = secure
        self.handed: list[bytes] = []

    async def handler(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """In mitmproxy's place: says 299 to whatever comes, and ends."""
        self.handed.append(b"")
        place = len(self.handed) - 1
        writer.write(b"HTTP/1.1 299 Handed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        with contextlib.suppress(TimeoutError, OSError):
            while data := await asyncio.wait_for(reader.read(65536), 0.3):
                self.handed[place] += data
        writer.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.secure:
            reader, writer = await open_secure(self.port, HOST)
            return reader, cast(asyncio.StreamWriter, writer)
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)

    async def connect_http2(self) -> tuple[asyncio.StreamReader, Any]:
        """Over TLS, with HTTP/2 agreed upon."""
        return await open_secure(self.port, HOST, client_context("h2"))

    def connection(self) -> Connection:
        """The one connection that there is, from the lane's side."""
        (found,) = self.lane._connections
        return cast(Connection, found)

    async def talk(self, data: bytes, *, half_close: bool = False) -> bytes:
        """Send, and read until the other side closes. With half_close, say that nothing more comes."""
        try:
            reader, writer = await self.connect()
        except ConnectionResetError:  # before there was TLS
            return b""
        try:
            writer.write(data)
            if half_close:
                writer.write_eof()
            return await asyncio.wait_for(_until_closed(reader), DEADLINE)
        finally:
            writer.transport.abort()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        await until(condition)


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := await reader.read(1 << 20):
            received += data
    return received


@contextlib.asynccontextmanager
async def running_lane(*, certificates: Certificates | None = None, **options: object) -> AsyncIterator[RunningLane]:
    """A lane with these settings (names of the file); over TLS with certificates, or where SECURE has some."""
    certificates = certificates or SECURE.get()
    given = {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1", "forgejoPublicHost": FORGEJO, **options}
    settings = Settings.from_mapping(given, environ={"HOME": "/nowhere"})
    pages, log = Pages(), RecordedLog()
    lane = Lane(cast(PagesServer, pages), settings, Forwarding(settings), log=cast(AccessLog, log), facts=pages.facts)
    running = RunningLane(lane, pages, 0, log, certificates is not None)
    listener = await open_listener(
        accepting(lane, running.handler, certificates, settings.header_timeout), "127.0.0.1", 0
    )
    running.port = listener.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        listener.close()
        lane.close()
        await rounds(2)


def prepared(pages: Pages, *, locked: bool = False, plain_http: bool = False) -> list[str]:
    """Each page is kept ready, or would be; returns what was asked for by now."""
    seen: list[str] = []
    key = ("site", "alice", "x")

    def answer_from_memory(request: Request) -> Answer:
        seen.append(request.path)
        if locked:
            request.header(b"cookie")
        basis = Basis(((key, pages.facts.get(key)),), float("inf"), plain_http)
        return Answer(200, [], request.path.encode(), cache="HIT", locked=locked, basis=basis)

    pages.answer_from_memory = answer_from_memory  # type: ignore[method-assign]
    return seen


def get(path: str, *fields: str, method: str = "GET", version: str = "1.1", host: str = HOST) -> bytes:
    """A request as plain as can be."""
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"{method} {path} HTTP/{version}\r\nHost: {host}\r\n{lines}\r\n".encode("latin-1")


LAST = "Connection: close"


def answers(data: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Responses one after the other; a body is as long as Content-Length says, those to HEAD are not understood."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        code = int(status.split()[1])
        size = 0 if code in (204, 304) else int(fields.get("content-length", "0"))
        found.append((code, fields, data[:size]))
        data = data[size:]
    return found


def unchunked(data: bytes) -> tuple[bytes, bytes]:
    """The body that chunks make, and what follows it."""
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body, data = body + data[:length], data[length + 2 :]
        if not length:
            return body, data


def resident() -> int:
    """Bytes of memory that this process has."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST."""
    connection = cast(socket.socket, writer.get_extra_info("socket"))
    os.set_blocking(connection.fileno(), False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def pause_reading(writer: asyncio.StreamWriter) -> None:
    """Read nothing any more: what comes stays in the kernel."""
    cast(asyncio.Transport, writer.transport).pause_reading()
