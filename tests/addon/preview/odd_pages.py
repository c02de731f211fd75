# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Pages that do what proxies get wrong: interim answers, trailers, silence, bodies that never end, death in mid-body.

`OddForge` writes HTTP/1.1 by hand, because a library would not send what is wrong. `/echo` and `/upload` tell what came
in; the API and raw files are another forge's, whose address it is given. Bodies are streamed; every request is noted.
(Git and pages that behave as Forgejo's do are in `smart_http`.)
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import re
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

_PIECE = 64 * 1024
_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Seen(NamedTuple):
    """A request as it arrived; header names in lower case."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]
    connection: int

    def header(self, name: str) -> str | None:
        """The values of a header, joined; None where it is absent."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None


def download(size: int) -> bytes:
    """What `/download` sends: the same bytes whenever they are asked for."""
    block = hashlib.sha512(b"download").digest() * (_PIECE // 64)
    return (block * (size // _PIECE + 1))[:size]


class Exchange:
    """One request and the way to its answer."""

    def __init__(self, seen: Seen, base: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen = seen
        parts = urlsplit(seen.target)
        self.path = parts.path.removeprefix(base)
        self.query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.reader = reader
        self.writer = writer
        self.whole = False
        """Whether the body was read to its end."""

    async def body(self) -> AsyncIterator[bytes]:
        """The request's body as it comes."""
        if (self.seen.header("transfer-encoding") or "").lower() == "chunked":
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                yield await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            while await self.reader.readuntil(b"\r\n") != b"\r\n":
                pass
        else:
            left = int(self.seen.header("content-length") or "0")
            while left:
                piece = await self.reader.read(min(left, _PIECE))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", left)
                left -= len(piece)
                yield piece
        self.whole = True

    def head(self, status: int, *headers: tuple[str, str]) -> None:
        """Send a head."""
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers)]
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def answer(self, status: int, body: bytes | str = b"", *headers: tuple[str, str]) -> bool:
        """Send an answer with its length; the connection stays open."""
        data = body.encode() if isinstance(body, str) else body
        self.head(status, *headers, ("Content-Length", str(len(data))))
        self.writer.write(b"" if self.seen.method == "HEAD" else data)
        await self.writer.drain()
        return True

    async def chunk(self, data: bytes) -> None:
        """Send a chunk of a chunked body; the empty one ends it."""
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()


class OddForge:
    """A server in a thread of its own."""

    def __init__(
        self,
        api: str | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        base: str = "",
    ) -> None:
        """api: the address of a forge that answers for the API and raw files. base: the path below which all is
        found. Listens when made; a port is chosen where none is given.
        """
        self.requests: list[Seen] = []
        self.gone = threading.Event()
        """Set when somebody who waited for `/never` or `/events` went away."""
        self.uploads_cut = 0
        self.sent = 0
        """Bytes of downloads handed to the network."""
        self.opened = 0
        self._api = None if api is None else urlsplit(api)
        self._base = base
        self._tls = tls
        self.host = host
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self.port = port
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="odd-forge", daemon=True)
        self._thread.start()
        ready.wait()

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http{'s' if self._tls else ''}://{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._writers)

    def stop(self) -> None:
        """Reset every connection and stop listening: what the kernel does to a forge that is killed."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end)
            self._thread.join()

    def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        self._loop.stop()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)

        async def listen() -> None:
            self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self._tls)
            self.port = self._server.sockets[0].getsockname()[1]

        self._loop.run_until_complete(listen())
        self._loop.call_soon(ready.set)
        self._loop.run_forever()
        for writer in list(self._writers):
            writer.transport.abort()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.opened += 1
        number = self.opened
        try:
            while await self._one(reader, writer, number):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            with contextlib.suppress(OSError):
                writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        pairs = (line.split(":", 1) for line in lines[1:] if line)
        headers = tuple((name.lower(), value.strip()) for name, value in pairs)
        seen = Seen(method, target, version, headers, number)
        self.requests.append(seen)
        exchange = Exchange(seen, self._base, reader, writer)
        name = exchange.path.strip("/").partition("/")[0]
        page: Callable[[Exchange], Awaitable[bool]] | None = getattr(self, f"_page_{name}", None)
        if self._api is not None and (name == "api" or re.match("/[^/]+/[^/]+/(raw|media)/", exchange.path)):
            page = self._forward
        if page is None or not target.startswith(f"{self._base}/"):
            return await exchange.answer(404, f"<p>no {target} here")
        if not await page(exchange):
            return False
        if not exchange.whole:
            async for _ in exchange.body():
                pass
        return (seen.header("connection") or "").lower() != "close" and version != "HTTP/1.0"

    # Pages.

    async def _page_echo(self, exchange: Exchange) -> bool:
        """What came in, as JSON."""
        digest, size = hashlib.sha256(), 0
        async for piece in exchange.body():
            digest.update(piece)
            size += len(piece)
        told = {**exchange.seen._asdict(), "bytes": size, "sha256": digest.hexdigest()}
        return await exchange.answer(200, json.dumps(told), ("Content-Type", "application/json"))

    async def _page_upload(self, exchange: Exchange) -> bool:
        """The same; counts those that end early."""
        try:
            return await self._page_echo(exchange)
        except (OSError, asyncio.IncompleteReadError):
            self.uploads_cut += 1
            raise

    async def _page_refused(self, exchange: Exchange) -> bool:
        """Says no before the body was read, and hangs up, unless `patient`: then it reads the rest."""
        if "chunked" in exchange.query:
            exchange.head(413, ("Transfer-Encoding", "chunked"))
            await exchange.chunk(b"too much")
            await exchange.chunk(b"")
        else:
            await exchange.answer(413, "too much", ("Connection", "close"))
        return "patient" in exchange.query

    async def _page_redirect(self, exchange: Exchange) -> bool:
        return await exchange.answer(302, b"", ("Location", "user/login?redirect_to=%2fecho"))

    async def _page_cookies(self, exchange: Exchange) -> bool:
        return await exchange.answer(200, b"", ("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2; HttpOnly"))

    async def _page_events(self, exchange: Exchange) -> bool:
        """Server-sent events, `gap` seconds apart, for ever."""
        exchange.head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
        gap, number = float(exchange.query.get("gap", "1")), 0
        try:
            while True:
                await exchange.chunk(b"event: count\ndata: %d\n\n" % number)
                number += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(gap):
                        if not await exchange.reader.read(1):
                            return False
        finally:
            self.gone.set()

    async def _page_never(self, exchange: Exchange) -> bool:
        """No answer; says when the one who asked went away."""
        with contextlib.suppress(OSError):
            await exchange.reader.read()
        self.gone.set()
        return False

    async def _page_unread(self, exchange: Exchange) -> bool:
        """Neither reads nor answers, for some seconds."""
        await asyncio.sleep(6)
        exchange.writer.transport.abort()
        return False

    async def _page_late(self, exchange: Exchange) -> bool:
        """An answer after `seconds`, half of them before the second half of it."""
        seconds = float(exchange.query["seconds"])
        await asyncio.sleep(seconds / 2)
        exchange.head(200, ("Content-Length", "8"))
        exchange.writer.write(b"half")
        await asyncio.sleep(seconds / 2)
        exchange.writer.write(b"half")
        return True

    async def _page_download(self, exchange: Exchange) -> bool:
        """`size` bytes; `chunked`; `eof` (no length, the end is the end); `die`: reset after so many bytes."""
        query = exchange.query
        size, die = int(query["size"]), int(query.get("die", "-1"))
        if "chunked" in query:
            exchange.head(200, ("Transfer-Encoding", "chunked"))
        elif "eof" in query:
            exchange.head(200, ("Connection", "close"))
        else:
            exchange.head(200, ("Content-Length", str(size)))
        if exchange.seen.method == "HEAD":
            return True
        block, sent = download(_PIECE), 0
        while sent < size:
            piece = block[: size - sent]
            if 0 <= die <= sent:
                exchange.writer.transport.abort()
                return False
            if "chunked" in query:
                await exchange.chunk(piece)
            else:
                exchange.writer.write(piece)
                await exchange.writer.drain()
            sent += len(piece)
            self.sent += len(piece)
        if "chunked" in query:
            await exchange.chunk(b"")
        return "eof" not in query

    async def _page_interim(self, exchange: Exchange) -> bool:
        """Two interim answers before the answer."""
        exchange.head(102)
        exchange.head(103, ("Link", "</style.css>; rel=preload"))
        return await exchange.answer(200, "after all")

    async def _page_trailers(self, exchange: Exchange) -> bool:
        """A chunked answer with trailer fields."""
        exchange.head(200, ("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum"))
        exchange.writer.write(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
        await exchange.writer.drain()
        return True

    async def _page_status(self, exchange: Exchange) -> bool:
        """`/status/N`: an answer of that status, without a body or a length."""
        exchange.head(int(exchange.path.rpartition("/")[2]), ("ETag", '"x"'))
        return True

    async def _page_garbage(self, exchange: Exchange) -> bool:
        exchange.writer.write(b"this is not HTTP\r\n\r\n")
        await exchange.writer.drain()
        return False

    async def _page_ws(self, exchange: Exchange) -> bool:
        """A web socket that echoes messages."""
        key = exchange.seen.header("sec-websocket-key")
        if (exchange.seen.header("upgrade") or "").lower() != "websocket" or key is None:
            return await exchange.answer(426, "a web socket is wanted", ("Upgrade", "websocket"))
        accept = base64.b64encode(hashlib.sha1(key.encode() + _WEBSOCKET_GUID).digest()).decode()
        exchange.head(101, ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept))
        socket = Connection(ConnectionType.SERVER)
        try:
            while data := await exchange.reader.read(_PIECE):
                socket.receive_data(data)
                for event in socket.events():
                    if isinstance(event, TextMessage):
                        reply = TextMessage(event.data, event.frame_finished, event.message_finished)
                        exchange.writer.write(socket.send(reply))
                    elif isinstance(event, BytesMessage):
                        copy = BytesMessage(bytes(event.data), event.frame_finished, event.message_finished)
                        exchange.writer.write(socket.send(copy))
                    elif isinstance(event, Ping | CloseConnection):
                        exchange.writer.write(socket.send(event.response()))
                await exchange.writer.drain()
        finally:
            self.gone.set()
        return False

    async def _forward(self, exchange: Exchange) -> bool:
        """The API's answer."""
        assert self._api is not None
        reader, writer = await asyncio.open_connection(self._api.hostname, self._api.port)
        self._writers.add(writer)
        try:
            kept = [pair for pair in exchange.seen.headers if pair[0] not in ("host", "connection")]
            lines = [f"GET {exchange.seen.target.removeprefix(self._base)} HTTP/1.1", f"Host: {self._api.netloc}"]
            lines += [*(f"{name}: {value}" for name, value in kept), "Connection: close", "", ""]
            writer.write("\r\n".join(lines).encode("latin-1"))
            while piece := await reader.read(_PIECE):
                exchange.writer.write(piece)
                await exchange.writer.drain()
        finally:
            self._writers.discard(writer)
            writer.transport.abort()
        return False
