# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""mitmproxy's flows in our words, and our answers in theirs: what the hooks of `addon.plugin` are made of.

Knows mitmproxy and no state. What is ambiguous in a request (several Hosts, a target that names another, a folded
field) reaches the pages as a request without a host, which is refused: mitmproxy's parser is more lenient than ours.
"""

import re
import ssl
import time

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.flow import Error
from mitmproxy.net.http import status_codes
from mitmproxy.proxy import commands, events, layer

from addon.access.control import MAX_FORM
from addon.admin.access_log import ABORTED
from addon.serving.server import Answer, Request
from addon.web import forwarding
from addon.web.http_dates import http_date

_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Counted:
    """Lets a streamed body pass, and counts it."""

    def __init__(self) -> None:
        self.size = 0

    def __call__(self, chunk: bytes) -> bytes:
        self.size += len(chunk)
        return chunk


class Closed(layer.Layer):
    """A connection that is closed on its first byte."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            yield commands.CloseConnection(self.context.client)


def tls_of(client: Client, session: ssl.SSLObject) -> None:
    """Say in mitmproxy's words what the TLS of a connection is that it was handed in the clear."""
    client.tls = True
    client.timestamp_tls_setup = time.time()  # this is what makes it established
    client.alpn = (session.selected_alpn_protocol() or "").encode()
    client.tls_version = "TLSv1.3" if session.version() == "TLSv1.3" else "TLSv1.2"
    cipher = session.cipher()
    client.cipher = cipher[0] if cipher is not None else None


def nothing(chunk: bytes) -> list[bytes]:
    return []


def has_body(request: http.Request) -> bool:
    """Whether a body follows, perhaps an empty one."""
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0").strip() != "0"


def status_of_failure(flow: http.HTTPFlow) -> int:
    """What the visitor was told of a request that came to no good end."""
    if flow.response is not None:
        return flow.response.status_code
    message = flow.error.msg if flow.error is not None else ""
    if message in ("Client disconnected.", Error.KILLED_MESSAGE) or "peer closed" in message:  # the latter is h11's
        return ABORTED
    return 502 if flow.client_conn.connected else 400


def is_form(request: http.Request) -> bool:
    """Whether a request may be a login: a form of at most MAX_FORM bytes that says how long it is."""
    length = request.headers.get("content-length", "")
    return (
        request.method == "POST"
        and "transfer-encoding" not in request.headers
        and length.isdecimal()
        and length.isascii()
        and len(length) <= 8
        and int(length) <= MAX_FORM
        and request.headers.get("content-type", "").strip().lower().startswith("application/x-www-form-urlencoded")
    )


def request_of(flow: http.HTTPFlow, through: forwarding.Forwarding, body: bytes | None = None) -> Request:
    """The flow's request as the pages see it; the Host only if there is exactly one, and the target agrees."""
    data = flow.request.data
    fields = flow.request.headers
    hosts = fields.get_all("host")
    authority = data.authority.decode("utf-8", "surrogateescape")
    host: str | None = None
    # A folded field (RFC 9112 §5.2), a bare CR or a NUL (RFC 9110 §5.5) would be passed on as it is, for others to read
    # as they like.
    odd = any(_CONTROLS.search(value) for _, value in fields.fields)
    # mitmproxy reads `HTTP/2.0` in a request line as well; who comes here speaks HTTP/1.
    http1 = data.http_version.startswith(b"HTTP/1.")
    if http1 and len(hosts) == 1 and authority in ("", hosts[0]) and not odd:
        host = hosts[0]
    data.authority = b""
    if http1 and data.http_version not in (b"HTTP/1.0", b"HTTP/1.1"):
        data.http_version = b"HTTP/1.1"  # what is passed on is of our version, not the client's (RFC 9112 §2.3)
    if data.http_version == b"HTTP/1.0" and "expect" in fields:
        del fields["expect"]  # it knows no 100 Continue
    if "connection" in fields:
        fields["connection"] = fields["connection"].lower()  # mitmproxy would not see that it says `Close`
    path, mark, query = data.path.decode("utf-8", "surrogateescape").partition("?")

    def header(name: bytes) -> bytes | None:
        values = [value for key, value in fields.fields if key.lower() == name]
        return b", ".join(values) if values else None

    def visitor() -> forwarding.Visitor:
        client = flow.client_conn
        return through.visitor(fields, client.peername[0], client.tls_established)

    return Request(
        data.method.decode("latin-1"),
        host,
        path,
        query if mark else None,
        header,
        visitor,
        body,
        flow.client_conn.tls_established,
    )


def respond(flow: http.HTTPFlow, answer: Answer) -> None:
    # The constructor, not Response.make: that would encode an encoded body once more and add a length to a 304.
    now = time.time()
    flow.response = http.Response(
        b"HTTP/1.1",
        answer.status,
        b"",
        http.Headers((*answer.headers, (b"Date", http_date(int(now))))),
        answer.body,
        None,
        now,
        now,
    )
    flow.response.reason = status_codes.RESPONSES.get(answer.status, "")
