# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Git LFS pointers: the small text that stands in a tree for a large file kept elsewhere.

Pure; the object itself is fetched by `Forgejo.media`. Format: git-lfs `docs/spec.md`, version 1. The surprise: it is
read as strictly as the specification writes it, since whatever is no pointer is served as the text that it is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_POINTER = 1024
_VERSION = b"version https://git-lfs.github.com/spec/v1\n"
# After the version: extensions in order, then oid, then size; a last newline is missing in some that are in use.
_REST = re.compile(
    rb"(?:ext-[0-9]-[0-9A-Za-z._-]+ sha256:[0-9a-f]{64}\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n?\Z"
)


class LfsPointer(NamedTuple):
    """The SHA-256 of an object in hexadecimals, and its size in bytes."""

    oid: str
    size: int


def lfs_pointer(data: bytes) -> LfsPointer | None:
    """The pointer that a blob of at most 1 024 bytes is, or None."""
    if len(data) > MAX_POINTER or not data.startswith(_VERSION):
        return None
    match = _REST.match(data, len(_VERSION))
    return None if match is None else LfsPointer(match[1].decode(), int(match[2]))


def is_pointer_with_crlf(data: bytes) -> bool:
    """Whether it would be a pointer, but for line ends that Git LFS does not read and Forgejo neither."""
    return b"\r\n" in data and lfs_pointer(data.replace(b"\r\n", b"\n")) is not None
