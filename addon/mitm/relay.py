# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The origin inside the process: where mitmproxy fetches what cannot be handed to it as one piece of bytes.

mitmproxy streams only what comes from an upstream server. So a streamed answer (a file too large for memory) and the
answer to a request whose body must not be collected are deposited here under a random, single-use ticket, and the
flow's upstream becomes this loopback server. Flow control, aborts and HTTP/2 then work as for any upstream: a slow
reader stops us at `drain`, and no thread waits. An answer that is still to be made may be deposited as well: then the
body is read and thrown away while it is made, instead of piling up in memory. Whoever has no ticket gets nothing.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from addon.forgejo.errors import ForgejoError
from addon.serving.server import Answer
from addon.web.http_dates import http_date

logger = logging.getLogger(__name__)

Deposit = Answer | Callable[[], Awaitable[Answer]]
"""An answer, or what makes it once it is fetched."""
TICKET_LIFE = 60.0
"""Seconds for which an answer waits to be fetched; mitmproxy comes within milliseconds or never."""
_HEAD_LIMIT = 64 * 1024
_WRITE_BUFFER = 128 * 1024


class Relay:
    """A loopback server for deposited answers. State: the answers waiting, by ticket."""

    def __init__(self) -> None:
        self.port = 0
        self._waiting: dict[str, tuple[Deposit, asyncio.TimerHandle]] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a loopback port of the system's choice."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]

    def __len__(self) -> int:
        """How many answers wait to be fetched."""
        return len(self._waiting)

    def deposit(self, answer: Deposit) -> str:
        """Keep an answer for the one request that brings the ticket returned: a path on this server."""
        ticket = f"/{secrets.token_urlsafe(24)}"
        timer = asyncio.get_running_loop().call_later(TICKET_LIFE, self._waiting.pop, ticket, None)
        self._waiting[ticket] = answer, timer
        return ticket

    def withdraw(self, ticket: str) -> None:
        """Forget an answer that nobody will fetch any more; nothing happens where it was fetched."""
        _, timer = self._waiting.pop(ticket, (None, None))
        if timer is not None:
            timer.cancel()

    async def aclose(self) -> None:
        """Stop listening; streams under way end with their connections."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        try:
            while await self._request(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()  # mitmproxy went away, for its client did
        except ForgejoError as error:
            # Cut, not closed: what was sent so far must not look like the whole.
            logger.warning("a response stream was aborted: %s", error)
            writer.transport.abort()
        except Exception:
            logger.exception("a response stream was aborted")
            writer.transport.abort()
        finally:
            with contextlib.suppress(Exception):
                writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        deposit, timer = self._waiting.pop(head.split(b" ", 2)[1].decode("latin-1"), (None, None))
        if deposit is None or timer is None:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return False
        timer.cancel()
        answer = deposit if isinstance(deposit, Answer) else await deposit()
        if answer.stream is None:
            writer.write(head_bytes(answer) + answer.body)
            await writer.drain()
            return True
        async with contextlib.AsyncExitStack() as stack:
            try:
                chunks = await stack.enter_async_context(answer.stream())
                chunk = await anext(chunks, b"")
            except Exception as error:  # nothing was sent yet: a page can still say so
                page = answer.otherwise(error)
                writer.write(head_bytes(page) + page.body)
                await writer.drain()
                return True
            # Of a length that nobody knows, the end is told by chunks, or to HTTP/1.0 by that of the connection.
            ends = answer.length is None and head.startswith(b"HTTP/1.0\r\n", head.find(b"\r\n") - 8)
            chunked = answer.length is None and not ends
            framing = b"Connection: close" if ends else b"Transfer-Encoding: chunked" if chunked else b""
            writer.write(head_bytes(answer, framing))
            while chunk:
                writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                await writer.drain()
                chunk = await anext(chunks, b"")
            if chunked:
                writer.write(b"0\r\n\r\n")
        return not ends


async def open_relay(stack: contextlib.AsyncExitStack) -> Relay:
    """A relay that listens, until the stack is unwound."""
    relay = Relay()
    stack.push_async_callback(relay.aclose)
    await relay.start()
    return relay


def head_bytes(answer: Answer, framing: bytes = b"") -> bytes:
    """Status line and header fields of an answer, ready to be sent over HTTP/1.1. framing: a line more."""
    try:
        reason = HTTPStatus(answer.status).phrase
    except ValueError:
        reason = ""
    lines = [b"HTTP/1.1 %d %s" % (answer.status, reason.encode()), b"Date: " + http_date(int(time.time()))]
    lines.extend(name + b": " + value for name, value in answer.headers)
    if framing:
        lines.append(framing)
    return b"\r\n".join(lines) + b"\r\n\r\n"
