# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Content codings (RFC 9110 §8.4, §12.5.3): what a client accepts, what we make, and what lies beside a file.

Encoding takes milliseconds and happens once for each file; reading `Accept-Encoding` takes a microsecond and happens
for each request, so what browsers send is remembered. Decoding is for files that others encoded: their bytes are
anybody's, so no step makes more than a few MiB, whatever it is made of.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache

import brotli  # type: ignore[import-untyped]  # it comes without annotations

from addon.web import zstd

IDENTITY = "identity"
# What we can make, best first: the order among codings that the client likes equally.
CODINGS = ("br", "zstd", "gzip")
SUFFIXES = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}  # of files that lie beside the one they encode

_PIECE = 64 * 1024
_ZSTD = zstd.find()
_MOST = 128  # members of a list that are read; there are not half as many codings

_CODING = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")


def accepted_codings(value: bytes | None) -> tuple[str, ...]:
    """The codings the client accepts, in the order in which we choose, `identity` among them unless refused."""
    if value is None:
        # §12.5.3: no header, no preference. Programs that say nothing seldom decode, so they get the file itself; the
        # others follow for conditions that name them.
        return (IDENTITY, *CODINGS)
    # The cache is for the few values that browsers send, not for the many that an attacker may.
    return _ranked_codings(value) if len(value) <= 128 else _ranked_codings.__wrapped__(value)


@lru_cache(maxsize=256)
def _ranked_codings(value: bytes) -> tuple[str, ...]:
    weights: dict[str, float] = {}
    for part in value.split(b",", _MOST)[:_MOST]:
        if member := _CODING.fullmatch(part.strip(b" \t")):  # anything else is not a member, and is passed over
            coding = member[1].decode("ascii").lower()
            weights.setdefault("gzip" if coding == "x-gzip" else coding, float(member[2] or 1))
    others = weights.get("*")
    ranked = [(weights.get(coding, others or 0.0), coding) for coding in CODINGS]
    # Accepted unless excluded, and last unless it is given a weight of its own.
    ranked.append((weights.get(IDENTITY, 0.0001 if others is None else others), IDENTITY))
    ranked.sort(key=lambda item: -item[0])
    return tuple(coding for weight, coding in ranked if weight > 0)


def encode(data: bytes, coding: str) -> bytes | None:
    """`data` in a content coding (`br`, `zstd`, `gzip`), or None where that is no smaller.

    Takes 15 to 25 ms for 1 MB: for a thread. The same input gives the same output with the same library versions.
    Raises ValueError for another coding.
    """
    # Levels measured over 1.5 MB of CSS, script and HTML: br 5: 20 ms/MB to 27 %, zstd 9: 16 ms/MB to 28 %, gzip 6:
    # 22 ms/MB to 29 %. The next steps (br 9, zstd 15) take four times as long for 3 %.
    if coding == "br":
        encoded = brotli.compress(data, quality=5)
    elif coding == "zstd":
        encoded = _ZSTD.compress(data)
    elif coding == "gzip":
        encoded = zlib.compress(data, 6, wbits=31)  # no file name, no time: `gzip.compress` differs between versions
    else:
        raise ValueError(f"no such content coding: {coding!r}")
    return encoded if len(encoded) < len(data) else None


class Encoder:
    """Puts on a content coding, piece by piece; pieces of the same sizes give the same bytes. For a thread.

    Raises ValueError for another coding.
    """

    def __init__(self, coding: str) -> None:
        match coding:
            case "br":
                brotli_encoder = brotli.Compressor(quality=5)
                self._feed, self._end = brotli_encoder.process, brotli_encoder.finish
            case "zstd":
                zstd_encoder = _ZSTD.compressor()
                self._feed, self._end = zstd_encoder.compress, zstd_encoder.flush
            case "gzip":
                gzip_encoder = zlib.compressobj(6, wbits=31)
                self._feed, self._end = gzip_encoder.compress, gzip_encoder.flush
            case _:
                raise ValueError(f"no such content coding: {coding!r}")

    def feed(self, data: bytes) -> bytes:
        """What can be sent by now, often nothing."""
        return bytes(self._feed(data))

    def end(self, data: bytes) -> bytes:
        """The last piece, and all that is left."""
        return bytes(self._feed(data) + self._end())


class Decoder:
    """Takes off a content coding, piece by piece; raises ValueError where bytes are not what the coding makes."""

    def __init__(self, coding: str) -> None:
        self._steps: Callable[[bytes], Iterator[bytes]]
        match coding:
            case "br":
                self._brotli = brotli.Decompressor()
                self._steps = self._of_brotli
            case "zstd":
                self._zstd = _ZSTD.decompressor()
                self._steps = self._of_zstd
            case "gzip":
                self._gzip = zlib.decompressobj(wbits=31)
                self._steps = self._of_gzip
            case _:
                raise ValueError(f"no such content coding: {coding!r}")
        self.complete = False
        """Whether the end was reached, and nothing came after it."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What the next bytes stand for."""
        if data and self.complete:
            raise ValueError("bytes after the end")
        try:
            yield from self._steps(data)
        except (brotli.error, zlib.error, _ZSTD.error) as error:
            raise ValueError("not of this coding") from error

    def _of_gzip(self, data: bytes) -> Iterator[bytes]:
        piece = b"more"
        while (data or piece) and not self._gzip.eof:  # what waits inside comes without any input
            piece = self._gzip.decompress(data, _PIECE)
            yield piece
            data = self._gzip.unconsumed_tail
        if self._gzip.unused_data:
            raise ValueError("bytes after the end")
        self.complete = self._gzip.eof

    def _of_brotli(self, data: bytes) -> Iterator[bytes]:
        if hasattr(self._brotli, "can_accept_more_data"):
            piece = self._brotli.process(data, output_buffer_limit=_PIECE)
            yield piece
            # More may wait inside, whether or not it would take more.
            while not self._brotli.is_finished() and (piece or not self._brotli.can_accept_more_data()):
                piece = self._brotli.process(b"", output_buffer_limit=_PIECE)
                yield piece
            if self._brotli.is_finished() and not self._brotli.can_accept_more_data():
                raise ValueError("bytes after the end")
        else:  # before 1.2 without a limit, and a copy that a few bytes ask for may have 16 MiB
            for start in range(0, len(data), 4):
                yield self._brotli.process(data[start : start + 4])
        self.complete = self._brotli.is_finished()

    def _of_zstd(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), 64):  # a block of 128 KiB may take four bytes
            if self._zstd.eof:
                raise ValueError("bytes after the end")
            yield self._zstd.decompress(data[start : start + 64])
        if self._zstd.unused_data:
            raise ValueError("bytes after the end")
        self.complete = self._zstd.eof


def decodes(data: bytes, coding: str, *, whole: bool, most: int) -> bool:
    """Whether bytes are of a coding, as far as `most` bytes of what they stand for say. whole: there are no more."""
    size = 0
    try:
        decoder = Decoder(coding)
        for start in range(0, len(data), _PIECE):
            for piece in decoder.feed(data[start : start + _PIECE]):
                size += len(piece)
                if size > most:
                    return True
    except ValueError:
        return False
    return bool(data) and (decoder.complete or not whole)
