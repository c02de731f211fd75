# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A small HTTP/1.1 client on the event loop: one GET, its answer, its body as it comes.

It knows connections, framing (h11's) and time; nothing of Forgejo. Redirects, cookies and caching are not its business.
The surprise: it has a Protocol of its own under h11 rather than asyncio's streams, because an idle connection on which
bytes arrive must die at once (they would be taken for the answer to the next request), and streams cannot tell.
State: the idle connections of each origin, and the set of all that are open.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import h11

USER_AGENT = "forgejo-pages-mitmproxy"
# A connection takes this much from its socket at once, and stops reading while as much waits to be taken: hundreds of
# slow readers of large files cost little memory. (asyncio's own default is 256 KiB at once.)
_READ_SIZE = 32 * 1024
# A server may send any number of 1xx heads before the answer; nobody sends more than two or three.
_MAX_INFORMATIONAL = 8
# A target is already percent-encoded: visible ASCII, no fragment.
_TARGET = re.compile(r"/[!\"$-~]*\Z")
_HEADER_VALUE = re.compile(r"[!-~]+(?:[ \t]+[!-~]+)*\Z")


class TransportError(Exception):
    """Something between us and the server went wrong; texts name the host at most, never headers or bodies."""


class ConnectFailed(TransportError):
    """No connection: refused, unreachable, name unknown, certificate not accepted."""


class TimedOut(TransportError):
    """The deadline passed."""


class Disconnected(TransportError):
    """The server hung up before the answer was complete."""


class Malformed(TransportError):
    """What came is not HTTP/1.1, or breaks its own framing."""


class Truncated(Malformed):
    """The body ended before its announced end."""


class TooLarge(Malformed):
    """The body is larger than the caller allows."""


class Origin(NamedTuple):
    """Where a connection leads: scheme, host (no brackets), port."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The Host header: the port only where it is not the scheme's own (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> Origin:
    """The origin of an absolute http or https URL; ValueError (without the URL: it may hold a secret) for all else."""
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise ValueError("expected http://host or https://host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials in a URL are not accepted")
    return Origin(parts.scheme, host, _DEFAULT_PORTS[parts.scheme] if port is None else port)


class _Wire(asyncio.BufferedProtocol):
    """One connection: bytes that arrived and were not taken yet, and whether more will come."""

    def __init__(self, client: HttpClient, origin: Origin, max_head: int) -> None:
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=max_head)
        self.origin = origin
        self.busy = True
        self.served = 0
        self.heard = False
        self.ended = False
        self.end_was_read = False
        self.idle_timer: asyncio.TimerHandle | None = None
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._client = client
        self._transport: asyncio.Transport | None = None
        # A memoryview: asyncio's TLS fills it slice by slice, and a slice of a bytearray would be a copy.
        self._landing = memoryview(bytearray(_READ_SIZE))
        self._arrived: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._landing

    def buffer_updated(self, nbytes: int) -> None:
        if not self.busy:
            self._client.forget(self)
            return
        self.heard = True
        self._arrived.append(bytes(self._landing[:nbytes]))
        self._buffered += nbytes
        if self._buffered >= _READ_SIZE and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def eof_received(self) -> None:
        self.ended = True
        self._wake()
        if not self.busy:
            self._client.forget(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._wake()
        if not self.gone.done():
            self.gone.set_result(None)
        self._client.lost(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        self.ended = True
        self._arrived.clear()
        self._wake()
        if self._transport is not None:
            self._transport.abort()

    @property
    def drained(self) -> bool:
        """Nothing arrived that was not taken, neither here nor in h11."""
        return not self._arrived and not self.http.trailing_data[0]

    async def receive(self) -> bytes:
        """The next bytes; empty at the end. Nothing is read from the socket while nobody asks (beyond 64 KiB)."""
        while not self._arrived:
            if self.ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._arrived.popleft()
        self._buffered -= len(data)
        if self._paused and self._buffered < _READ_SIZE and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    async def event(self) -> h11.Event | type[h11.PAUSED]:
        """h11's next event; Disconnected where the server hangs up early, Malformed where it breaks the rules."""
        while True:
            try:
                event = self.http.next_event()
            except h11.RemoteProtocolError:
                # h11's text may quote what the server sent, so it goes no further. Once the end of the stream was
                # fed in, "incomplete" is the only thing that can still be wrong.
                if self.end_was_read:
                    raise Disconnected(f"{self.origin.authority} hung up amid its answer") from None
                raise Malformed(f"{self.origin.authority} sent what is not HTTP/1.1") from None
            if event is not h11.NEED_DATA:
                assert not isinstance(event, type) or event is h11.PAUSED
                return event
            data = await self.receive()
            if not data and self.http.their_state is h11.SEND_RESPONSE:
                raise Disconnected(f"{self.origin.authority} hung up without an answer")
            self.end_was_read = not data
            self.http.receive_data(data)


class Response:
    """An answer whose head has arrived. Read or iterate its body once, or close it; a body not read to its end
    closes the connection, one read to its end gives it back for the next request.
    """

    def __init__(self, client: HttpClient, wire: _Wire, head: h11.Response) -> None:
        self.status = int(head.status_code)
        self.headers: list[tuple[str, str]] = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in head.headers]
        self._client = client
        self._wire: _Wire | None = wire

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
        self._idle: dict[Origin, list[_Wire]] = {}
        self._open: set[_Wire] = set()
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
        if not _TARGET.match(target):
            raise ValueError("a request target must be percent-encoded and start with a slash")
        if any(not _HEADER_VALUE.match(value) for _, value in (*headers, ("Host", authority or origin.authority))):
            raise ValueError("a header value must be visible ASCII")
        if self._closed:
            raise ConnectFailed("the client is closed")
        request = h11.Request(
            method="GET",
            target=target,
            headers=[
                ("Host", authority or origin.authority),
                ("User-Agent", self._user_agent),
                ("Accept-Encoding", "identity"),
                *headers,
            ],
        )
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

    async def _exchange(self, wire: _Wire, request: h11.Request) -> Response:
        try:
            wire.heard = False
            wire.served += 1
            wire.write((wire.http.send(request) or b"") + (wire.http.send(h11.EndOfMessage()) or b""))
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

    async def _connect(self, origin: Origin) -> _Wire:
        tls = self.prepare_tls() if origin.scheme == "https" else None
        try:
            _, wire = await asyncio.get_running_loop().create_connection(
                lambda: _Wire(self, origin, self._max_head),
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

    def _take_idle(self, origin: Origin) -> _Wire | None:
        idle = self._idle.get(origin)
        if not idle:
            return None
        wire = idle.pop()
        if wire.idle_timer is not None:
            wire.idle_timer.cancel()
            wire.idle_timer = None
        wire.busy = True
        return wire

    def give_back(self, wire: _Wire) -> None:
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

    def forget(self, wire: _Wire) -> None:
        """Close a connection, idle or not; it is used no more."""
        self._drop_idle(wire)
        wire.busy = False
        wire.abort()

    def lost(self, wire: _Wire) -> None:
        """A connection has ended."""
        self._drop_idle(wire)
        self._open.discard(wire)

    def _drop_idle(self, wire: _Wire) -> None:
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
