# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Trouble on demand: how a test makes the forge slow, silent, broken, or a liar, for some paths and some times.

A fault looks at the request target as it came (`/api/v1/…?…`) and changes the answer that would have been given, so
that everything else about it stays true. Without a fault nothing of this is on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from addon.preview.answers import Answer, Headers, Request, go_json

HTML_PAGE = b"<!DOCTYPE html>\n<html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1>\n"


@dataclass
class Fault:
    """One kind of trouble for the targets that `pattern` is found in; `with` ends it.

    delay: seconds before the answer. hang: no answer at all until the client leaves. drop: the connection is closed
    instead of an answer. status, headers, body: given instead of the true ones. document: makes another JSON out of
    the true one. truncate: the connection is closed after so many bytes of the body. pace: seconds between pieces of
    `piece` bytes. times: how often (None: until it ends).
    """

    pattern: str = ""
    method: str | None = None
    times: int | None = None
    delay: float = 0.0
    hang: bool = False
    drop: bool = False
    status: int | None = None
    headers: Headers = ()
    body: bytes | None = None
    document: Callable[[Any], Any] | None = None
    truncate: int | None = None
    pace: float = 0.0
    piece: int = 16
    used: int = 0
    end: Callable[[Fault], None] | None = field(default=None, repr=False)

    def concerns(self, request: Request) -> bool:
        return (
            (self.times is None or self.used < self.times)
            and self.method in (None, request.method)
            and re.search(self.pattern, request.target) is not None
        )

    def spoilt(self, answer: Answer) -> Answer:
        """The answer as this fault has it; delays and broken connections are the server's part."""
        body = answer.body
        if self.document is not None:
            body = go_json(self.document(answer.json))
        if self.body is not None:
            body = self.body
        replaced = dict(self.headers)
        names = {name.lower() for name in replaced}
        kept = [(name, value) for name, value in answer.headers if name.lower() not in names]
        if body is not answer.body:
            assert isinstance(body, bytes)
            kept = [(name, value) for name, value in kept if name.lower() != "content-length"]
            if "content-length" not in names:
                kept.append(("Content-Length", str(len(body))))
        status = self.status if self.status is not None else answer.status
        return replace(answer, status=status, headers=(*kept, *self.headers), body=body)

    def __enter__(self) -> Fault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.end is not None:
            self.end(self)


def html_instead(status: int = 200) -> dict[str, Any]:
    """Options of a fault that answers with a web page, as a proxy in front of a forge does."""
    return {"status": status, "body": HTML_PAGE, "headers": (("Content-Type", "text/html; charset=utf-8"),)}
