# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A small HTTP/1.1 client on the event loop: one GET or small POST, its answer, its body as it comes.

It knows connections (`http_connection`), framing (h11's) and time; nothing of Forgejo. Redirects, cookies and caching
are not its business. State: the idle connections of each origin, and the set of all that are open.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import h11

from addon.net.http_connection import (
    ConnectFailed,
    Disconnected,
    Malformed,
    Origin,
    TimedOut,
    TooLarge,
    TransportError,
    Truncated,
    Wire,
    origin_of,
)

__all__ = [
    "ConnectFailed",
    "Disconnected",
    "HttpClient",
    "Malformed",
    "Origin",
    "Response",
    "TimedOut",
    "TooLarge",
    "TransportError",
    "Truncated",
    "origin_of",
]

USER_AGENT = "forgejo-pages-mitmproxy"
# A server may send any number of 1xx heads before the answer; nobody sends more than two or three.
_MAX_INFORMATIONAL = 8
# A target is already percent-encoded: visible ASCII, no fragment.
_TARGET = re.compile(r"/[!\"$-~]*\Z")
_HEADER_VALUE = re.compile(r"[!-~]+(?:[ \t]+[!-~]+)*\Z")


class Response:
    """An answer whose head has arrived. Read or iterate its body once, or close it; a body not read to its end
    closes the connection, one read to its end gives it back for the next request.
    """

    def __init__(self, client: HttpClient, wire: Wire, head: h11.Response) -> None:
        self.status = int(head.status_code)
        self.headers: list[tuple[str, str]] = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in head.headers]
        self._client = client
        self._wire: Wire | None = wire

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        return next((value for key, value in self.headers if key == name), None)

    async def chunks(self, read_timeout: float | None = None) -> AsyncGenerator[bytes, None]:
        """The body in pieces as they arrive (each at most 64 KiB). `read_timeout` (seconds) bounds each wait for the
        server, not the time the caller takes. Raises TimedOut, Truncated, Malformed.
        """
        wire = self._wire
        if wire is None:
            return
        try:
            while True:
                try:
                    async with asyncio.timeout(read_timeout):
                        event = await wire.event()
                except TimeoutError:
                    raise TimedOut(f"{wire.origin.authority} paused amid its answer") from None
                except Disconnected:
                    raise Truncated(f"{wire.origin.authority} hung up amid its answer") from None
                if isinstance(event, h11.Data):
                    yield bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    raise Malformed(f"{wire.origin.authority} sent what is not an answer")
        except BaseException:
            self.close()
            raise
        self._wire = None
        self._client.give_back(wire)

    async def read(self, limit: int, *, deadline: float | None = None) -> bytes:
        """The whole body, at most `limit` bytes (else TooLarge), until the loop's time `deadline` (else TimedOut)."""
        length = self.header("content-length")
        if length is not None and length.isdigit() and int(length[:20]) > limit:
            self.close()
            raise TooLarge(f"an answer of {length[:20]} bytes, of which at most {limit} are wanted")
        body = bytearray()
        try:
            async with asyncio.timeout_at(deadline), contextlib.aclosing(self.chunks()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > limit:
                        raise TooLarge(f"an answer of more than {limit} bytes")
        except TimeoutError:
            raise TimedOut("the answer was not complete in time") from None
        finally:
            self.close()
        return bytes(body)

    def close(self) -> None:
        """Drop the answer with its connection; nothing happens when it was read to its end."""
        wire, self._wire = self._wire, None
        if wire is not None:
            self._client.forget(wire)


class HttpClient:
    """Keep-alive connections to any number of origins; belongs to one event loop.

    max_idle: connections kept per origin, the last used first; idle_seconds: for how long; max_head: bytes of a
    response head; ca_file: PEM file to trust instead of the system's.
    """

    def __init__(
        self,
        *,
        ca_file: Path | None = None,
        max_idle: int = 16,
        idle_seconds: float = 30.0,
        max_head: int = 64 * 1024,
        user_agent: str = USER_AGENT,
    ) -> None:
        self.opened = 0
        self._ca_file = ca_file
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._max_head = max_head
        self._user_agent = user_agent
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[Origin, list[Wire]] = {}
        self._open: set[Wire] = set()
        self._closed = False

    @property
    def connections(self) -> int:
        """How many connections are open, idle ones included."""
        return len(self._open)

    def prepare_tls(self) -> ssl.SSLContext:
        """The TLS settings; loading the trusted certificates takes some 20 ms, so do it before the loop is busy."""
        if self._tls is None:
            context = ssl.create_default_context()
            if self._ca_file is not None:  # besides those of the system
                context.load_verify_locations(self._ca_file)
            context.set_alpn_protocols(["http/1.1"])
            self._tls = context
        return self._tls

    async def get(
        self,
        origin: Origin,
        target: str,
        headers: Sequence[tuple[str, str]] = (),
        *,
        deadline: float | None = None,
        authority: str | None = None,
    ) -> Response:
        """GET `target` (path and query, already percent-encoded) and wait for the head of the answer.

        deadline: by the loop's clock; covers the connection, the request and the head. authority: the Host to name,
        where it is not the origin's. A kept connection that proves dead before a byte of the answer arrived is replaced
        once by a new one (RFC 9110 §9.2.2: GET is idempotent).
        Raises ConnectFailed, TimedOut, Disconnected, Malformed; ValueError for a target or header no request may have.
        """
        request = self._request("GET", origin, target, headers, authority)
        try:
            async with asyncio.timeout_at(deadline):
                kept = self._take_idle(origin)
                if kept is not None:
                    try:
                        return await self._exchange(kept, request)
                    except Disconnected:
                        if kept.heard:
                            raise
                return await self._exchange(await self._connect(origin), request)
        except TimeoutError:
            raise TimedOut(f"{origin.authority} did not answer in time") from None

    async def post(
        self,
        origin: Origin,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        content_type: str,
        *,
        deadline: float | None = None,
    ) -> Response:
        """POST a body, as `get`. Always on a new connection, for nothing may be sent twice."""
        length, kind = ("Content-Length", str(len(body))), ("Content-Type", content_type)
        request = self._request("POST", origin, target, (*headers, kind, length), None)
        try:
            async with asyncio.timeout_at(deadline):
                return await self._exchange(await self._connect(origin), request, body)
        except TimeoutError:
            raise TimedOut(f"{origin.authority} did not answer in time") from None

    def _request(
        self, method: str, origin: Origin, target: str, headers: Sequence[tuple[str, str]], authority: str | None
    ) -> h11.Request:
        if not _TARGET.match(target):
            raise ValueError("a request target must be percent-encoded and start with a slash")
        if any(not _HEADER_VALUE.match(value) for _, value in (*headers, ("Host", authority or origin.authority))):
            raise ValueError("a header value must be visible ASCII")
        if self._closed:
            raise ConnectFailed("the client is closed")
        return h11.Request(
            method=method,
            target=target,
            headers=[
                ("Host", authority or origin.authority),
                ("User-Agent", self._user_agent),
                ("Accept-Encoding", "identity"),
                *headers,
            ],
        )

    async def _exchange(self, wire: Wire, request: h11.Request, body: bytes = b"") -> Response:
        try:
            wire.heard = False
            wire.served += 1
            sent = wire.http.send(request) or b""
            if body:
                sent += wire.http.send(h11.Data(data=body)) or b""
            wire.write(sent + (wire.http.send(h11.EndOfMessage()) or b""))
            for _ in range(_MAX_INFORMATIONAL):
                event = await wire.event()
                if isinstance(event, h11.Response):
                    return Response(self, wire, event)
                if not isinstance(event, h11.InformationalResponse):
                    break
            raise Malformed(f"{wire.origin.authority} sent no answer that HTTP/1.1 knows")
        except BaseException:
            self.forget(wire)
            raise

    async def _connect(self, origin: Origin) -> Wire:
        tls = self.prepare_tls() if origin.scheme == "https" else None
        try:
            _, wire = await asyncio.get_running_loop().create_connection(
                lambda: Wire(self, origin, self._max_head),
                origin.host,
                origin.port,
                ssl=tls,
                # No happy_eyeballs_delay: CPython 3.13.0 asserts in staggered_race under mitmproxy's eager tasks.
            )
        except (OSError, UnicodeError, ssl.CertificateError) as error:
            raise ConnectFailed(f"no connection to {origin.authority}: {_reason(error)}") from None
        self.opened += 1
        self._open.add(wire)
        if self._closed:  # meanwhile
            self.forget(wire)
            raise ConnectFailed("the client is closed")
        return wire

    def _take_idle(self, origin: Origin) -> Wire | None:
        idle = self._idle.get(origin)
        if not idle:
            return None
        wire = idle.pop()
        if wire.idle_timer is not None:
            wire.idle_timer.cancel()
            wire.idle_timer = None
        wire.busy = True
        return wire

    def give_back(self, wire: Wire) -> None:
        """Keep a connection whose answer was read to its end, if it may be used again."""
        if self._closed or wire.ended or not wire.drained or wire.http.our_state is not h11.DONE:
            self.forget(wire)
            return
        try:
            wire.http.start_next_cycle()
        except h11.LocalProtocolError:  # the server said Connection: close, or the body ended with the connection
            self.forget(wire)
            return
        wire.busy = False
        idle = self._idle.setdefault(wire.origin, [])
        idle.append(wire)
        wire.idle_timer = asyncio.get_running_loop().call_later(self._idle_seconds, self.forget, wire)
        if len(idle) > self._max_idle:
            self.forget(idle[0])

    def forget(self, wire: Wire) -> None:
        """Close a connection, idle or not; it is used no more."""
        self._drop_idle(wire)
        wire.busy = False
        wire.abort()

    def lost(self, wire: Wire) -> None:
        """A connection has ended."""
        self._drop_idle(wire)
        self._open.discard(wire)

    def _drop_idle(self, wire: Wire) -> None:
        if wire.idle_timer is not None:
            wire.idle_timer.cancel()
            wire.idle_timer = None
        idle = self._idle.get(wire.origin)
        if idle and wire in idle:
            idle.remove(wire)
            if not idle:
                del self._idle[wire.origin]

    async def aclose(self) -> None:
        """Close every connection; requests under way fail with Disconnected."""
        self._closed = True
        ends = [wire.gone for wire in self._open]
        for wire in list(self._open):
            self.forget(wire)
        if ends:
            await asyncio.wait(ends, timeout=1)


def _reason(error: BaseException) -> str:
    """Why a connection failed, in words without addresses."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'handshake'})"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
