# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Blobs as Forgejo's JSON has them: base64 taken apart and verified against git's ids.

Pure. The surprise: decoding is a generator that stops every millisecond or so. On the event loop others run in between;
on a thread too, for base64 holds the interpreter's lock as long as one call to it takes. Only the JSON is parsed in one
step (20 ms for a blob of 10 MiB).
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

from addon.forgejo.answers import count, document, text
from addon.forgejo.errors import BadAnswer, BlobTooLarge

# How many characters of base64 are decoded at once: a multiple of 4.
_PIECE = 256 * 1024

T = TypeVar("T")


class BlobItem(NamedTuple):
    """One blob as Forgejo told it: content is still base64; empty for a blob above its limit."""

    id: str
    size: int
    content: str


def blob_items(body: bytes, *, many: bool) -> list[BlobItem]:
    """The blobs in an answer of `/git/blobs?shas=` (many) or `/git/blobs/{sha}`."""
    value = document(body)
    if many is not isinstance(value, list):
        raise BadAnswer("blobs: expected a list of blobs" if many else "blob: expected an object")
    items = []
    for fields in value if many else [value]:
        if type(fields) is not dict:
            raise BadAnswer("blob: expected an object")
        content, encoding = fields.get("content"), fields.get("encoding")
        # Above its limit Forgejo sends "" and Gitea null.
        if content is None:
            content = ""
        elif encoding != "base64":
            raise BadAnswer("blob: its encoding is not base64")
        if type(content) is not str:
            raise BadAnswer("blob: its content is not a string")
        items.append(BlobItem(text(fields, "sha", "blob"), count(fields, "size", "blob"), content))
    return items


def pieces(item: BlobItem, blob_id: str, size: int) -> Iterator[bytes | None]:
    """Decode and verify a blob step by step: None after each step, the bytes at the end.

    A step takes about a millisecond, so whoever runs this on the event loop can let others in between.
    Raises BadAnswer where bytes, size or id disagree; BlobTooLarge where Forgejo left the content out.
    """
    if item.id != blob_id or item.size != size:
        raise BadAnswer("blob: its id or size is not the one in the tree")
    if not item.content and size:
        raise BlobTooLarge(blob_id)
    if len(item.content) != (size + 2) // 3 * 4:
        raise BadAnswer("blob: its content is not as long as its size says")
    digest = object_hash(blob_id, size)
    parts = []
    for start in range(0, len(item.content), _PIECE):
        try:
            part = binascii.a2b_base64(item.content[start : start + _PIECE], strict_mode=True)
        except ValueError:
            raise BadAnswer("blob: its content is not base64") from None
        digest.update(part)
        parts.append(part)
        yield None
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    if len(data) != size or digest.hexdigest() != blob_id:
        raise BadAnswer("blob: its bytes do not match its id")
    yield data


def empty_blob(blob_id: str) -> bytes:
    """The bytes of a blob of size 0: there is nothing to fetch, but the id must be that of nothing."""
    if object_hash(blob_id, 0).hexdigest() != blob_id:
        raise BadAnswer("blob: an empty one under the id of another")
    return b""


def object_hash(blob_id: str, size: int) -> Any:
    """The hash that gives a blob of `size` bytes its id: SHA-1 or SHA-256 by the id's length, git's header fed in."""
    digest = hashlib.sha1(usedforsecurity=False) if len(blob_id) == 40 else hashlib.sha256()
    digest.update(b"blob %d\0" % size)
    return digest


def decoding(body: bytes, sizes: dict[str, int], many: bool) -> Iterator[tuple[set[str], dict[str, bytes]] | None]:
    """Take an answer apart step by step: None after each, at the end the ids it had and the bytes it gave."""
    seen: set[str] = set()
    blobs: dict[str, bytes] = {}
    for item in blob_items(body, many=many):
        if item.id not in sizes or item.id in seen:
            raise BadAnswer("blobs: one that was not asked for")
        seen.add(item.id)
        yield None
        try:
            for piece in pieces(item, item.id, sizes[item.id]):
                if piece is not None:
                    blobs[item.id] = piece
                yield None
        except BlobTooLarge:
            continue
    yield seen, blobs


def finished(steps: Iterator[T | None]) -> T:
    """The end of a piece of work that is done in steps."""
    return next(step for step in steps if step is not None)
