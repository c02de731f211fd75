# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Requests and answers between the HTTP server and what decides them: plain values, no socket.

An answer's headers are written as Go's server would: JSON above 2 KiB is chunked, below it has a length, and JSON
escapes `<`, `>` and `&`. So a recording of a real Forgejo can be compared byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, quote

# Go's http.Server sets Content-Length itself up to the size of its write buffer, and sends chunks beyond.
GO_WRITE_BUFFER = 2048
NO_CACHE = ("Cache-Control", "max-age=0, private, must-revalidate")
FRAME = ("X-Frame-Options", "SAMEORIGIN")
NOSNIFF = ("X-Content-Type-Options", "nosniff")
JSON_TYPE = "application/json;charset=utf-8"

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Request:
    """A request with its target split, nothing decoded; header names in lower case. body: of a POST."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter, decoded; None when it is not there."""
        for key, value in parse_qsl(self.query, keep_blank_values=True, errors="surrogateescape"):
            if key == name:
                return value
        return None


@dataclass(frozen=True)
class Stream:
    """A body made while it is sent: its length in bytes and the pieces."""

    length: int
    pieces: Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class Answer:
    """Status, headers in order (as text that is sent as UTF-8) and body; `json` is what the body was made from."""

    status: int
    headers: Headers
    body: bytes | Stream = b""
    json: Any = None

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def with_headers(self, *headers: tuple[str, str]) -> Answer:
        return replace(self, headers=(*self.headers, *headers))


def go_json(value: Any) -> bytes:
    """JSON as Go's encoder writes it: compact, UTF-8, `<>&` and line separators escaped, a newline at the end."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char, escaped in _GO_ESCAPES:
        if char in text:
            text = text.replace(char, escaped)
    # Bytes that were no UTF-8 travel as surrogates; here each becomes the replacement character.
    if not text.isascii():
        text = text.encode(errors="surrogateescape").decode(errors="replace").replace("\ufffd", "\\ufffd")
    return text.encode() + b"\n"


def percent(text: str, safe: str = "/") -> str:
    """Percent-encoded, also where the text was bytes that are no UTF-8."""
    return quote(text, safe=safe, errors="surrogateescape")


_GO_ESCAPES = (
    ("&", "\\u0026"),
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)


def json_answer(value: Any, status: int = 200, *headers: tuple[str, str], content_type: str = JSON_TYPE) -> Answer:
    """An answer of the API's own form."""
    body = go_json(value)
    return Answer(
        status, (*headers, NO_CACHE, ("Content-Type", content_type), NOSNIFF, FRAME, *_length(body)), body, value
    )


def text_answer(text: str, status: int, content_type: str = "text/plain; charset=utf-8") -> Answer:
    body = text.encode()
    return Answer(status, (NO_CACHE, ("Content-Type", content_type), NOSNIFF, FRAME, *_length(body)), body)


def no_route() -> Answer:
    """What the router says to a path that it does not know: not JSON."""
    return text_answer("404 page not found\n", 404)


def wrong_method(request: Request, allowed: tuple[str, ...]) -> Answer:
    """405; Go writes one `Allow` header per method and, for HEAD, no length."""
    headers = (*(("Allow", method) for method in allowed), NO_CACHE, NOSNIFF, FRAME)
    return Answer(405, headers if request.method == "HEAD" else (*headers, ("Content-Length", "0")))


def redirect(request: Request, location: str, status: int, *, api: bool) -> Answer:
    """301, 303 or 307 with the small HTML body of Go's http.Redirect."""
    phrase = {301: "Moved Permanently", 303: "See Other", 307: "Temporary Redirect"}[status]
    link = location
    for char, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        link = link.replace(char, escaped)
    body = f'<a href="{link}">{phrase}</a>.\n\n'.encode()
    headers: Headers = (NO_CACHE, ("Content-Type", "text/html; charset=utf-8"), ("Location", location))
    if api:
        headers = (*headers, NOSNIFF)
    return Answer(status, (*headers, FRAME, *_length(body)), body)


def _length(body: bytes) -> Headers:
    return () if len(body) > GO_WRITE_BUFFER else (("Content-Length", str(len(body))),)
