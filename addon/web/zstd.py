# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Zstandard, by whichever library is here: two faces of the same C code.

`zstandard` is what pip brings, and mitmproxy until 12.2. A clone beside mitmproxy 12.3 alone finds `backports.zstd`, or
on Python 3.14 `compression.zstd`, in its place.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol

_LEVEL = 9
"""Its window has 4 MB. RFC 9659 allows browsers to refuse more than 8 MiB, and so does the decompressor."""
_WINDOW_LOG = 23


class Decompressor(Protocol):
    """Of one frame, piece by piece."""

    def decompress(self, data: bytes, /) -> bytes: ...

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...


class Compressor(Protocol):
    """Of one frame, piece by piece."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Zstd(NamedTuple):
    """One of the libraries. error: what its decompressor raises."""

    library: Any
    error: type[Exception]

    def compress(self, data: bytes) -> bytes:
        if self.library.__name__ == "zstandard":
            made: bytes = self.library.ZstdCompressor(level=_LEVEL).compress(data)
        else:
            made = self.library.compress(data, _LEVEL)
        return made

    def compressor(self) -> Compressor:
        made = self.library.ZstdCompressor(level=_LEVEL)
        piecewise: Compressor = made.compressobj() if self.library.__name__ == "zstandard" else made
        return piecewise

    def decompressor(self) -> Decompressor:
        library = self.library
        if library.__name__ == "zstandard":
            made: Decompressor = library.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG).decompressobj()
        else:
            made = library.ZstdDecompressor(options={library.DecompressionParameter.window_log_max: _WINDOW_LOG})
        return made


LIBRARIES = ("zstandard", "compression.zstd", "backports.zstd")


def find(names: Sequence[str] = LIBRARIES) -> Zstd:
    """The first of the libraries that is installed."""
    for name in names:
        try:
            library = import_module(name)
        except ImportError:
            continue
        return Zstd(library, library.ZstdError)
    raise ImportError(f"none of {', '.join(names)} is installed: pip install zstandard")
