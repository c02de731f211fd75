# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""mitmproxy's HTTP/1 made fit for the public: what it lacks as a server, put in place from outside.

Its own error pages name its version and addresses behind it; trailer fields crash the connection, which then hangs; a
request behind an empty line is left lying; an interim answer (103 Early Hints) is taken for the answer; a body of
HTTP/2 without a length is passed on unframed, to be read as the next request, and what its client does not take is held
as a whole; an answer that comes amid its request's body is not ended before that body is; the size of a head, and of
what a client sends ahead, is not limited. Each mend replaces a function or two of mitmproxy 11.0 to 12.2 (the pin in
pyproject.toml); where mitmproxy is not as expected, `mend` says which ones are missing, and everything else still
works.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any

import h2.errors
import h2.events
import h11
from mitmproxy.proxy import commands, events, server
from mitmproxy.proxy.layers import http as layer

from addon import templates
from addon.mitm.relay import head_bytes
from addon.serving.server import Answer

IDLE_SECONDS = 60
"""How long a connection may be silent."""
MAX_HEAD = 64 * 1024
"""Bytes of a request's head. Forgejo itself (Go) takes 1 MiB; nobody's cookies are that large."""
MAX_AHEAD = 256 * 1024
"""Bytes that a client may send after a request before it has the answer."""
MAX_UNSENT = 256 * 1024
"""Bytes of an answer that are held for a client over HTTP/2 that does not take them."""
MAX_GIVEN_UP = 200
"""Requests over HTTP/2 that a client may give up, where those are most of what it asks. A browser that leaves a page
has at most 100 under way."""
_INTERIM = re.compile(rb"HTTP/1\.[0-9] 1(?!01)[0-9]{2}[ \r\n]")
_EMPTY_LINES = re.compile(rb"(?:\r?\n)*+")

Commands = Generator[commands.Command, Any, None]


def error_answer(status: int) -> Answer:
    """A page of our own that says no more than its status."""
    page = templates.error_page(status)
    headers = [
        (b"Content-Type", b"text/html; charset=utf-8"),
        (b"Content-Security-Policy", templates.content_security_policy().encode()),
        (b"Cache-Control", b"no-store"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Referrer-Policy", b"no-referrer"),
        (b"Content-Length", str(len(page)).encode()),
    ]
    return Answer(status, headers, page)


def make_error_response(status_code: int, message: str = "") -> bytes:
    """mitmproxy's function of that name, without the message. The connection is closed after it."""
    answer = error_answer(status_code)
    answer.headers.append((b"Connection", b"close"))
    return head_bytes(answer) + answer.body


class WithoutTrailers:
    """A reader of chunked bodies that drops trailer fields, as any recipient may (RFC 9110 §6.5.1)."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def __call__(self, buffer: Any) -> Any:
        event = self._reader(buffer)
        return h11.EndOfMessage() if isinstance(event, h11.EndOfMessage) else event

    def read_eof(self) -> Any:
        """What the end of the connection means here: an error."""
        return self._reader.read_eof()


def mend() -> list[str]:
    """Put everything in place; returns what could not be, in words for the log."""
    missing = []
    try:
        from mitmproxy.proxy.layers.http import _http1 as module
    except ImportError:
        return ["its HTTP/1 is not where it was; nothing of it is mended"]
    mends: list[tuple[str, Callable[[Any], None]]] = [
        ("its error pages are not replaced; they name its version", _error_pages),
        ("trailer fields make a connection hang", _trailers),
        ("interim answers (103) are taken for the answer", _interim_answers),
        ("an answer that comes before its request is complete is not ended", _early_answers),
        ("bodies of HTTP/2 that do not say how long they are are not passed on", _bodies_without_length),
        ("answers over HTTP/2 to slow readers are held in memory as a whole", _slow_readers),
        ("a client over HTTP/2 may ask and give up without end", _given_up),
        ("what follows an empty line between requests is not read", _empty_lines),
        ("the size of what clients send before they are answered is not limited", _limits),
    ]
    for words, put in mends:
        try:
            put(module)
        except (AttributeError, ImportError):
            missing.append(words)
    if hasattr(server, "TCP_TIMEOUT"):  # an option from mitmproxy 12 on
        server.TCP_TIMEOUT = IDLE_SECONDS
    return missing


def _error_pages(module: Any) -> None:
    if not hasattr(module, "make_error_response"):
        raise AttributeError
    module.make_error_response = make_error_response


def _trailers(module: Any) -> None:
    original = module.make_body_reader

    def make_body_reader(expected_size: int | None) -> Any:
        reader = original(expected_size)
        return WithoutTrailers(reader) if expected_size is None else reader

    module.make_body_reader = make_body_reader


def _interim_answers(module: Any) -> None:
    original = module.Http1Client.read_headers

    def read_headers(self: Any, event: events.Event) -> Commands:
        while isinstance(event, events.DataReceived) and self.request and _INTERIM.match(bytes(self.buf)[:16]):
            lines = self.buf.maybe_extract_lines()
            if lines is None:
                return
            # RFC 9110 §15.2: a proxy forwards them, but never to HTTP/1.0; mitmproxy itself has said 100.
            if self.request.http_version == "HTTP/1.1" and lines[0].split()[1] != b"100":
                yield commands.SendData(self.context.client, b"\r\n".join(lines) + b"\r\n\r\n")
        yield from original(self, event)

    module.Http1Client.read_headers = read_headers


def _early_answers(module: Any) -> None:
    """Send the end of a chunked answer when it has come, not when the request is complete: that may be never."""
    from mitmproxy.proxy.layers.http._base import HttpEvent

    send_response, send = layer.HttpStream.send_response, module.Http1Server.send

    @dataclass
    class EarlyEnd(HttpEvent):
        """The answer is complete, its request is not."""

    def send_response_and_end(self: Any, already_streamed: bool = False) -> Commands:
        yield from send_response(self, already_streamed)
        # Bound methods: a state is equal to itself, never identical.
        early = self.client_state == self.state_stream_request_body and self.server_state == self.state_done
        chunked = already_streamed and "chunked" in self.flow.response.headers.get("transfer-encoding", "").lower()
        if early and chunked and not self.flow.request.is_http2:
            yield layer.SendHttp(EarlyEnd(self.stream_id), self.context.client)

    def send_once(self: Any, event: Any) -> Commands:
        if isinstance(event, EarlyEnd):
            self.ended_early = self.stream_id
            yield commands.SendData(self.conn, b"0\r\n\r\n")
        elif isinstance(event, module.ResponseEndOfMessage) and getattr(self, "ended_early", None) == self.stream_id:
            yield from self.mark_done(response=True)
        else:
            yield from send(self, event)

    layer.HttpStream.send_response = send_response_and_end  # type: ignore[method-assign]  # that is what a mend does
    module.Http1Server.send = send_once


def _bodies_without_length(module: Any) -> None:
    """Note whether a body follows a request of HTTP/2, which may say so by its frames alone (`flows.has_body`).

    To HTTP/1 mitmproxy would pass it on without any frame, where it is read as the next request: whoever passes one on
    adds `Transfer-Encoding`, and what has no frame all the same is not sent. Trailer fields are dropped, as above.
    """
    from mitmproxy.proxy.layers.http._events import RequestData, RequestHeaders, RequestTrailers

    wait, send = layer.HttpStream.state_wait_for_request_headers, module.Http1Client.send

    def wait_and_note(self: Any, event: Any) -> Commands:
        event.request.body_follows = not event.end_stream
        yield from wait(self, event)

    def send_framed(self: Any, event: Any) -> Commands:
        if isinstance(event, RequestTrailers):
            return
        if isinstance(event, RequestData) and event.data and self.request.is_http2:
            names = self.request.headers
            if "content-length" not in names and "transfer-encoding" not in names:
                yield commands.CloseConnection(self.conn)
                return
        if isinstance(event, RequestHeaders):
            self.conn.answers_stream = event.stream_id  # for `_slow_readers`
        yield from send(self, event)

    layer.HttpStream.state_wait_for_request_headers = wait_and_note  # type: ignore[method-assign]  # as above
    module.Http1Client.send = send_framed


def _slow_readers(module: Any) -> None:
    """Read on from a server only when a client over HTTP/2 has taken most of what came.

    Every stream has a window of its own, so that what a client does not take stays here, and not in the kernel, where
    waiting for its socket would be enough. 600 MB to a client that read nothing took 680 MB.
    """
    from mitmproxy.proxy.layers.http._http2 import Http2Server

    make = Http2Server.__init__
    drain: Callable[[Any], Awaitable[None]] = server.ConnectionHandler.drain_writers

    def make_known(self: Any, context: Any) -> None:
        make(self, context)
        context.client.http2 = self.h2_conn

    async def drain_streams(self: Any) -> None:
        await drain(self)
        connection = getattr(self.client, "http2", None)
        if connection is None:
            return
        task = asyncio.current_task()
        source = next((each for each, io in self.transports.items() if io.handler is task), None)
        if source is self.client:  # it may have opened a window, or given a stream up
            if (moved := getattr(self, "windows_moved", None)) is not None:
                moved.set()
            return
        while _unsent(connection, getattr(source, "answers_stream", None)) > MAX_UNSENT:
            self.windows_moved = getattr(self, "windows_moved", None) or asyncio.Event()
            self.windows_moved.clear()
            await self.windows_moved.wait()

    Http2Server.__init__ = make_known  # type: ignore[method-assign]  # as above
    server.ConnectionHandler.drain_writers = drain_streams  # type: ignore[method-assign]  # as above


def _unsent(connection: Any, stream: int | None) -> int:
    """Bytes that a stream of a connection over HTTP/2 may not send yet."""
    return sum(len(each.data) for each in connection.stream_buffers.get(stream, ()))


def _given_up(module: Any) -> None:
    """End the connection of a client over HTTP/2 that asks and gives up, over and over (CVE-2023-44487).

    What is given up does not count against the number of requests under way, and costs us as much as if it did not:
    4000 requests in 100 KiB held all others up for 0.8 s.
    """
    from mitmproxy.proxy.layers.http._http2 import Http2Server

    handle = Http2Server.handle_h2_event

    def handle_counted(self: Any, event: Any) -> Generator[commands.Command, Any, bool]:
        if isinstance(event, h2.events.RequestReceived):
            self.asked = getattr(self, "asked", 0) + 1
        elif isinstance(event, h2.events.StreamReset):
            self.given_up = getattr(self, "given_up", 0) + 1
            if self.given_up > MAX_GIVEN_UP and self.given_up * 2 > getattr(self, "asked", 0):
                yield from self.protocol_error("too many requests given up", h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
                return True
        return (yield from handle(self, event))

    Http2Server.handle_h2_event = handle_counted  # type: ignore[method-assign]  # as above


def _empty_lines(module: Any) -> None:
    """Overlook empty lines before a request (RFC 9112 §2.2). mitmproxy does, and waits for more before it reads on."""
    read_headers = module.Http1Server.read_headers

    def read_first_line(self: Any, event: events.Event) -> Commands:
        if isinstance(event, events.DataReceived):
            empty = _EMPTY_LINES.match(bytes(self.buf))
            if empty is not None and empty.end():
                self.buf.maybe_extract_at_most(empty.end())
        yield from read_headers(self, event)

    module.Http1Server.read_headers = read_first_line


def _limits(module: Any) -> None:
    read_headers, wait = module.Http1Server.read_headers, module.Http1Server.wait

    def read_bounded_headers(self: Any, event: events.Event) -> Commands:
        yield from read_headers(self, event)
        if self.state == self.read_headers and len(self.buf) > MAX_HEAD:
            yield commands.SendData(self.conn, make_error_response(431))
            yield commands.CloseConnection(self.conn)
            self.state = self.done

    def bounded_wait(self: Any, event: events.Event) -> Commands:
        if len(self.buf) > MAX_AHEAD:
            event = events.ConnectionClosed(self.conn)
        yield from wait(self, event)

    module.Http1Server.read_headers = read_bounded_headers
    module.Http1Server.wait = bounded_wait
