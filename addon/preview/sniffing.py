# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The Content-Type that Forgejo gives a raw file: from its first 1024 bytes, never from its name.

Everything that is text is `text/plain` (so that no page runs on the forge's own host), pictures and media keep their
type, the rest is `application/octet-stream`. Signatures are those of the WHATWG MIME sniffing table that Go's
`http.DetectContentType` implements, which looks at 512 bytes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SNIFFED = 1024
_GO_SNIFFED = 512
_WHITESPACE = b"\t\n\x0c\r "
_BINARY = frozenset(range(0x20)) - frozenset(b"\t\n\x0c\r\x1b")
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "application/pdf"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"\x00\x00\x02\x00", "image/x-icon"),
    (b"BM", "image/bmp"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"ID3", "audio/mpeg"),
    (b"OggS\x00", "application/ogg"),
    (b"MThd\x00\x00\x00\x06", "audio/midi"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
)
_RIFF = {b"WEBPVP": "image/webp", b"AVI ": "video/avi", b"WAVE": "audio/wave"}
_MP4_BRANDS = re.compile(rb"mp4|M4[AVP]|isom|iso[2-9]|avc1", re.I)
_SVG = re.compile(rb"\A(?:\s*(?:<\?xml[^>]*\?>|<!--.*?-->|<!doctype\s+svg[^>]*>)\s*)*\s*<svg[\s>/]", re.I | re.S)
SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
PDF_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Sniffed(NamedTuple):
    content_type: str
    policy: str | None  # Content-Security-Policy


def sniffed(head: bytes) -> Sniffed:
    """Content-Type and policy for a file that begins with these bytes (1024 are enough)."""
    head = head[:SNIFFED]
    if _SVG.match(head):
        return Sniffed("image/svg+xml", SVG_POLICY)
    for magic, content_type in _SIGNATURES:
        if head.startswith(magic):
            if content_type == "application/pdf":
                return Sniffed(content_type, PDF_POLICY)
            return Sniffed("audio/ogg" if content_type == "application/ogg" else content_type, None)
    if head[:4] == b"RIFF":
        for form, content_type in _RIFF.items():
            if head[8:].startswith(form):
                return Sniffed(content_type, None)
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand == b"avif":
            return Sniffed("image/avif", None)
        if _MP4_BRANDS.match(brand):
            return Sniffed("video/mp4", None)
    charset = _charset(head)
    return Sniffed(f"text/plain; charset={charset}" if charset else "application/octet-stream", None)


def _charset(head: bytes) -> str | None:
    if head.startswith(b"\xef\xbb\xbf"):
        return "utf-8"
    for mark, charset in ((b"\xfe\xff", "utf-16be"), (b"\xff\xfe", "utf-16le")):
        if head.startswith(mark):
            return charset
    if not _BINARY.isdisjoint(head[:_GO_SNIFFED]):
        return None
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A character cut by the end of the sample is no error. Else Forgejo guesses; Latin-1 is its usual guess.
        if error.reason != "unexpected end of data":
            return "iso-8859-1"
    return "utf-8"
