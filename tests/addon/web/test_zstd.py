# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Each library of Zstandard that is installed here: what one writes, all read; what browsers may refuse, none does."""

from importlib.util import find_spec

import pytest
import zstandard

from addon.web.zstd import LIBRARIES, Zstd, find

TEXT = bytes(range(256)) * 4096


def installed() -> list[str]:
    found = []
    for name in LIBRARIES:
        try:
            if find_spec(name) is not None:
                found.append(name)
        except ModuleNotFoundError:  # of the package that it is in
            continue
    return found


@pytest.fixture(params=installed())
def library(request: pytest.FixtureRequest) -> Zstd:
    return find([request.param])


def test_what_one_writes_the_others_read_piece_by_piece(library: Zstd) -> None:
    encoded = library.compress(TEXT)
    assert len(encoded) < len(TEXT) / 100
    compressor = library.compressor()
    streamed = compressor.compress(TEXT[:9]) + compressor.compress(TEXT[9:]) + compressor.flush()
    assert zstandard.get_frame_parameters(encoded).window_size <= 8 << 20
    for name in installed():
        assert find([name]).decompressor().decompress(streamed) == TEXT
        decompressor = find([name]).decompressor()
        pieces = [decompressor.decompress(encoded[at : at + 7]) for at in range(0, len(encoded), 7)]
        assert b"".join(pieces) == TEXT
        assert (decompressor.eof, decompressor.unused_data) == (True, b"")


def test_a_window_that_browsers_may_refuse_is_refused(library: Zstd) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=25, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = compressor.compress(TEXT) + compressor.flush()
    with pytest.raises(library.error):
        library.decompressor().decompress(data)


def test_none_at_all_says_what_to_install() -> None:
    with pytest.raises(ImportError, match="pip install zstandard"):
        find(["no_such_library"])
