# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A file's bytes with Forgejo's headers: entity tag, conditions, ranges, sniffed type, disposition.

Two ways, as in Forgejo: git content takes one simple range and has odd errors (`bytes=-5` is 416, two ranges 400);
LFS objects go through Go's complete http.ServeContent, save that several ranges are answered whole here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from itertools import chain
from pathlib import Path
from posixpath import splitext
from urllib.parse import quote

from addon.preview.answers import FRAME, NO_CACHE, NOSNIFF, Answer, Headers, Request, Stream
from addon.preview.objects import CHUNK
from addon.preview.settings import Flavour
from addon.preview.sniffing import SNIFFED, SVG_POLICY, sniffed

EXPOSED = ("Access-Control-Expose-Headers", "Content-Disposition")
# Names that Forgejo's optional gzip leaves alone.
_PACKED_SUFFIXES = frozenset([".gz", ".bz2", ".zip", ".xz", ".zst", ".deb", ".apk", ".jar", ".png", ".jpg", ".webp"])


@dataclass(frozen=True)
class Content:
    """A file to serve: `tag` without quotes, `modified` in Unix seconds, `pieces(start, stop)` its bytes."""

    filename: str
    tag: str
    size: int
    pieces: Callable[[int, int], Iterator[bytes]]
    modified: int | None = None
    lfs: bool = False
    link: bool = False


def raw_answer(request: Request, content: Content, flavour: Flavour, *, api: bool) -> Answer:
    """The answer to GET or HEAD for a file: 200, 206, 304, 400 or 416."""
    kind = "symlink" if content.link else "file"
    kinds: Headers = ()
    if api:
        kinds = (("X-Forgejo-Object-Type", kind), ("X-Gitea-Object-Type", kind))
        kinds = kinds[1:] if flavour.gitea else kinds
    validators: Headers = (("Etag", f'"{content.tag}"'),)
    # An LFS object's conditions are looked at before its date is known.
    if content.modified is not None and not (content.lfs and tag_matches(request, content.tag)):
        validators = (*validators, ("Last-Modified", formatdate(content.modified, usegmt=True)))
    if tag_matches(request, content.tag) or _not_modified(request, content):
        return Answer(304, (NO_CACHE, *validators, NOSNIFF, FRAME, *kinds))
    caching = "public, max-age=21600" if flavour.gitea else "private, max-age=300"
    head = b"".join(content.pieces(0, min(SNIFFED, content.size)))
    content_type, policy = sniffed(head)
    if flavour.gitea and not content_type.startswith(("audio/", "video/")):
        policy = SVG_POLICY
    base: list[tuple[str, str]] = [
        EXPOSED,
        ("Cache-Control", caching),
        ("Content-Disposition", disposition(content.filename)),
        ("Content-Type", content_type),
        *validators,
        NOSNIFF,
        FRAME,
        *kinds,
    ]
    if content.lfs:
        base.append(("Accept-Ranges", "bytes"))
    if policy:
        base.append(("Content-Security-Policy", policy))
    if splitext(content.filename)[1].lower() in _PACKED_SUFFIXES:
        base.append(("No-Gzip-Compression", "1"))
    found = (_lfs_range if content.lfs else _git_range)(request, content)
    if isinstance(found, _Refused):
        refused = [(key, "text/plain; charset=utf-8" if key == "Content-Type" else value) for key, value in base]
        body = found.message.encode() + b"\n"
        return Answer(found.status, (*refused, *found.headers, ("Content-Length", str(len(body)))), body)
    if found is None:
        return _sent(request, content, 200, base, 0, content.size)
    start, stop = found
    base.append(("Content-Range", f"bytes {start}-{stop - 1}/{content.size}"))
    return _sent(request, content, 206, base, start, stop)


def disposition(filename: str) -> str:
    """The Content-Disposition of a file: the name as it is, `\\` and `"` escaped, and again percent-encoded."""
    plain = re.sub(r"[\r\n]", " ", filename).replace("\\", "\\\\").replace('"', '\\"')
    encoded = quote(filename, safe="$&+:=@-_.~", errors="surrogateescape")
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


@dataclass(frozen=True)
class _Refused:
    status: int
    message: str
    headers: Headers = ()


def _sent(
    request: Request, content: Content, status: int, headers: Headers | list[tuple[str, str]], start: int, stop: int
) -> Answer:
    length = stop - start
    headers = (*headers, ("Content-Length", str(length)))
    if request.method == "HEAD":
        return Answer(status, headers)
    return Answer(status, headers, Stream(length, lambda: content.pieces(start, stop)))


def tag_matches(request: Request, tag: str) -> bool:
    """Whether If-None-Match names the tag; weak ones count, `*` is not understood."""
    given = request.headers.get("if-none-match", "")
    return any(one.strip().removeprefix("W/") == f'"{tag}"' for one in given.split(","))


def _not_modified(request: Request, content: Content) -> bool:
    # Forgejo looks at the date also when an entity tag was given and did not match.
    since = request.headers.get("if-modified-since")
    if since is None or content.modified is None:
        return False
    try:
        return content.modified <= parsedate_to_datetime(since).timestamp()
    except (TypeError, ValueError):
        return False


def _git_range(request: Request, content: Content) -> tuple[int, int] | _Refused | None:
    header = request.headers.get("range", "")
    if content.size <= 0 or not header.startswith("bytes="):
        return None
    first, dash, last = header.removeprefix("bytes=").partition("-")
    start = _go_integer(first)
    if isinstance(start, str):
        return _Refused(416, start)
    if not 0 <= start < content.size:
        return _Refused(416, "invalid start range")
    end = content.size - 1 if dash and not last else _go_integer(last)
    if isinstance(end, str):
        return _Refused(400, end)
    end = min(end, content.size - 1)
    if end < start:
        return _Refused(400, "invalid end range")
    return start, end + 1


def _go_integer(text: str) -> int | str:
    if re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        value = int(text)
        if -(2**63) <= value < 2**63:
            return value
        return f'strconv.ParseInt: parsing "{text}": value out of range'
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'strconv.ParseInt: parsing "{escaped}": invalid syntax'


def _lfs_range(request: Request, content: Content) -> tuple[int, int] | _Refused | None:
    header = request.headers.get("range")
    if header is None:
        return None
    condition = request.headers.get("if-range")
    if condition is not None and condition.strip() != f'"{content.tag}"':
        return None
    found = re.fullmatch(r"bytes=\s*([0-9]*)\s*-\s*([0-9]*)\s*", header, re.ASCII)
    if found is None or found.group() in ("bytes=-",):
        if header.startswith("bytes=") and "," in header:
            return None
        return _Refused(416, "invalid range")
    first, last = found.groups()
    if not first:
        return max(0, content.size - int(last)), content.size
    start = int(first)
    end = int(last) if last else content.size - 1
    if last and end < start:
        return _Refused(416, "invalid range")
    if start >= content.size:
        beyond = (("Content-Range", f"bytes */{content.size}"),)
        return _Refused(416, "invalid range: failed to overlap", beyond)
    return start, min(end, content.size - 1) + 1


def pieces_of(data: bytes) -> Callable[[int, int], Iterator[bytes]]:
    """The `pieces` of a Content whose bytes are in memory."""
    return lambda start, stop: chain((data[start:stop],))


def file_pieces(path: Path) -> Callable[[int, int], Iterator[bytes]]:
    """The `pieces` of a Content that is a file, in pieces of at most 64 KiB."""

    def pieces(start: int, stop: int) -> Iterator[bytes]:
        with open(path, "rb") as file:
            file.seek(start)
            while start < stop:
                piece = file.read(min(CHUNK, stop - start))
                if not piece:
                    return
                start += len(piece)
                yield piece

    return pieces
