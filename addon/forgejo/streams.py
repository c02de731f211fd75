# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Large files on their way through: the head of the answer checked, the bytes counted and hashed as they pass.

Knows what Forgejo says about raw files and LFS objects; asks nothing itself. The surprise: of a whole file the last
chunk is held back until the hash fits, so bytes that are not what the id says never arrive as a complete file.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

from addon.forgejo.answers import trouble
from addon.forgejo.calls import ERROR_BODY, translated
from addon.forgejo.errors import BadAnswer, DeadlineExceeded, ForgejoError, NotFound
from addon.forgejo.lfs import MAX_POINTER, lfs_pointer
from addon.net.http_client import Response, TransportError

_CHUNK = 64 * 1024
# A server that sends less than this many bytes a second, on the whole, is as good as away; waits for it are counted,
# waits for the reader are not.
_SLOWEST = 1024


class Span(NamedTuple):
    """The bytes [start, end) of `size`."""

    start: int
    end: int
    size: int

    @property
    def whole(self) -> bool:
        """Whether this is all of it."""
        return self.start == 0 and self.end == self.size

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What asks for it: nothing for the whole, else `bytes=first-last` (Forgejo knows no other form)."""
        return [] if self.whole else [("Range", f"bytes={self.start}-{self.end - 1}")]


def span_of(size: int, start: int, end: int | None) -> Span:
    """The span that a caller means; ValueError for one that is empty (but of an empty file) or not inside."""
    span = Span(start, size if end is None else end, size)
    if not (span.whole or 0 <= span.start < span.end <= size):
        raise ValueError(f"bytes {start} to {end} of {size} are no range")
    return span


def check_head(response: Response, span: Span, tag: str | None, what: str) -> None:
    """Raise BadAnswer unless the head promises exactly this span; `tag` is the entity tag it must have, if any.

    A missing Content-Length is let pass: the bytes are counted anyway.
    """
    if response.status != (200 if span.whole else 206):
        raise BadAnswer(f"{what}: Forgejo answered {response.status} to a request for {_kind(span)}")
    if (response.header("content-encoding") or "identity").lower() != "identity":
        raise BadAnswer(f"{what}: an encoding that nobody asked for")
    if tag is not None and entity_tag(response) != tag:
        raise BadAnswer(f"{what}: the answer is about another file")
    length = response.header("content-length")
    if length is not None and length != str(span.end - span.start):
        raise BadAnswer(f"{what}: another length than the tree says")
    if not span.whole and content_range(response) != (span.start, span.end - 1, span.size):
        raise BadAnswer(f"{what}: another range than was asked for")


def _kind(span: Span) -> str:
    return "a whole file" if span.whole else "a part of a file"


def entity_tag(response: Response) -> str | None:
    """The opaque part of the entity tag; a proxy on the way may have made it weak."""
    match = re.fullmatch(r'(?:W/)?"([^"]*)"', response.header("etag") or "")
    return None if match is None else match[1]


def content_range(response: Response) -> tuple[int, int, int] | None:
    """First, last and size of a Content-Range, if it has all three."""
    match = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", response.header("content-range") or "")
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


async def failure(response: Response, what: str, deadline: float, *, web: bool = False) -> ForgejoError:
    """The error that an answer without the file stands for; reads what it needs of its body and closes it.

    web: the routes outside the API say "Not found." as plain text.
    """
    try:
        body = await response.read(ERROR_BODY, deadline=deadline)
    except TransportError:
        body = b""
    content_type = response.header("content-type") or ""
    if web and response.status == 404 and content_type.startswith("text/plain") and body == b"Not found.\n":
        return NotFound(f"{what}: not found", certain=False)
    return trouble(what, response.status, content_type, response.header("retry-after"), body)


async def media_failure(response: Response, oid: str, what: str, deadline: float) -> ForgejoError | None:
    """What keeps an answer of `/media` from being the object; None when nothing does.

    Forgejo answers with the pointer's own text, under the blob's entity tag, when it does not have the object.
    """
    tag = entity_tag(response)
    missing = NotFound(f"{what}: Forgejo does not have the object", certain=False)
    if response.status == 416:
        response.close()
        return missing if tag not in (None, oid) else BadAnswer(f"{what}: Forgejo has no such part of it")
    if response.status not in (200, 206):
        return await failure(response, what, deadline)
    if tag == oid:
        return None
    parts = content_range(response)
    if parts is not None:
        is_pointer = tag is not None and parts[2] <= MAX_POINTER
    else:
        try:
            with translated():
                is_pointer = lfs_pointer(await response.read(MAX_POINTER, deadline=deadline)) is not None
        except BadAnswer:
            is_pointer = False
    response.close()
    return missing if is_pointer else BadAnswer(f"{what}: the answer is about another file")


async def passing(
    response: Response, span: Span, digest: Any, wanted: str, what: str, read_timeout: float
) -> AsyncGenerator[bytes, None]:
    """The bytes of a span in chunks of at most 64 KiB; of a whole file verified against `wanted` before the last.

    read_timeout bounds each wait for the server, in seconds, and all of them but a second for each KiB that came.
    Raises BadAnswer, DeadlineExceeded.
    """
    held = b""
    received = 0
    waited = 0.0
    now = asyncio.get_running_loop().time
    with translated():
        pieces = response.chunks(read_timeout)
        while True:
            began = now()
            data = await anext(pieces, None)
            if data is None:
                break
            waited += now() - began
            received += len(data)
            if received > span.end - span.start:
                raise BadAnswer(f"{what}: more bytes than the tree says")
            if waited > read_timeout + received / _SLOWEST:
                raise DeadlineExceeded(f"{what}: it comes too slowly")
            for offset in range(0, len(data), _CHUNK):
                chunk = data[offset : offset + _CHUNK]
                if span.whole:
                    digest.update(chunk)
                if held:
                    yield held
                held = chunk
    if received != span.end - span.start:
        raise BadAnswer(f"{what}: fewer bytes than the tree says")
    if span.whole and digest.hexdigest() != wanted:
        raise BadAnswer(f"{what}: its bytes do not match its id")
    if held:
        yield held
