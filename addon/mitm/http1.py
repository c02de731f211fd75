# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""mitmproxy's HTTP/1 made fit for the public: what it lacks as a server, put in place from outside.

Its own error pages name its version and addresses behind it; trailer fields crash the connection, which then hangs; a
request behind an empty line is left lying; an interim answer (103 Early Hints) is taken for the answer; an answer that
comes amid its request's body is not ended before that body is; control characters are taken off the ends of fields; the
size of a head, and of what a client sends ahead, is not limited. Each mend replaces a function or two of mitmproxy 11.0
to 12.3 (the pin in pyproject.toml); where mitmproxy is not as expected, `mend` says which ones are missing, and all
else still works. Its HTTP/2 is reached by nobody.
"""

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import h11
from mitmproxy.connection import Client
from mitmproxy.proxy import commands, events, server
from mitmproxy.proxy.layers import http as layer

from addon.mitm.relay import head_bytes
from addon.serving.answers import misshapen

IDLE_SECONDS = 60
"""How long a connection may be silent."""
MAX_HEAD = 64 * 1024
"""Bytes of a request's head. Forgejo itself (Go) takes 1 MiB; nobody's cookies are that large."""
MAX_AHEAD = 256 * 1024
"""Bytes that a client may send after a request before it has the answer."""
_INTERIM = re.compile(rb"HTTP/1\.[0-9] 1(?!01)[0-9]{2}[ \r\n]")
_REFUSED = b"HTTP/1.1 4"
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_EMPTY_LINES = re.compile(rb"(?:\r?\n)*+")

Commands = Generator[commands.Command, Any, None]


class Refusals:
    """What is told of requests that mitmproxy's parser refuses: no hook is."""

    told: Callable[[Client, int], None] = staticmethod(lambda client, status: None)


def make_error_response(status_code: int, message: str = "") -> bytes:
    """mitmproxy's function of that name, without the message. The connection is closed after it."""
    answer = misshapen(status=status_code)
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
        ("what follows an empty line between requests is not read", _empty_lines),
        ("what its parser refuses is not logged, and bodies of a wrong form are not answered", _refusals),
        ("control characters at the ends of a field are taken off instead of refused", _control_characters),
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
        if early and chunked:
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


def _refusals(module: Any) -> None:
    """Note what the parser refuses; answer HEAD without a body, and a body that is not chunked as it says at all."""
    read_headers, read_body = module.Http1Server.read_headers, module.Http1Server.read_body

    def read_and_tell(self: Any, event: events.Event) -> Commands:
        head_only = bytes(self.buf)[:5] == b"HEAD "
        for command in read_headers(self, event):
            if isinstance(command, commands.SendData) and command.data.startswith(_REFUSED):
                if head_only:
                    command.data = command.data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
                if self.request is None:  # else there is a flow, which is told
                    Refusals.told(self.context.client, int(command.data[9:12]))
            yield command

    def read_or_refuse(self: Any, event: events.Event) -> Commands:
        for command in read_body(self, event):
            ended = isinstance(command, commands.CloseConnection) and isinstance(event, events.DataReceived)
            if ended and self.response is None:
                yield commands.SendData(self.conn, make_error_response(400))
            yield command

    module.Http1Server.read_headers = read_and_tell
    module.Http1Server.read_body = read_or_refuse


def _control_characters(module: Any) -> None:
    """Refuse a head with control characters (RFC 9110 §5.5). mitmproxy takes them off the ends of a field's value."""
    read_headers = module.Http1Server.read_headers

    def read_clean_headers(self: Any, event: events.Event) -> Commands:
        if isinstance(event, events.DataReceived) and _CONTROL.search(_END_OF_HEAD.split(bytes(self.buf), 1)[0]):
            yield commands.SendData(self.conn, make_error_response(400))
            yield commands.CloseConnection(self.conn)
            self.state = self.done
            Refusals.told(self.context.client, 400)
        else:
            yield from read_headers(self, event)

    module.Http1Server.read_headers = read_clean_headers


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
