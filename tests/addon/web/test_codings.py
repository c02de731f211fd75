# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Codings put on and taken off: what comes back is what went in, in small pieces, and anything else is an error."""

import gzip
import random
import zlib

import brotli  # type: ignore[import-untyped]  # it comes without annotations
import pytest

from addon.web import codings
from addon.web.codings import CODINGS, IDENTITY, Decoder, Encoder, accepted_codings, decodes, encode

TEXT = b"".join(b"line %d of a text that repeats itself\n" % number for number in range(30_000))
NOISE = random.Random(7).randbytes(100_000)
PIECE = 64 * 1024


def decoded(data: bytes, coding: str, step: int = PIECE) -> bytes:
    decoder = Decoder(coding)
    pieces = [piece for at in range(0, len(data), step) for piece in decoder.feed(data[at : at + step])]
    assert decoder.complete
    return b"".join(pieces)


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_encoded_is_smaller_or_left_as_it_is(coding: str) -> None:
    encoded = encode(TEXT, coding)
    assert encoded is not None
    assert len(encoded) < len(TEXT) / 5
    assert decoded(encoded, coding) == TEXT
    for data in (b"", b"a", NOISE, NOISE[:50]):
        assert encode(data, coding) is None
    assert encode(TEXT, coding) == encoded


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("behind", [b"x", b"\0" * 70, b"y" * PIECE])
def test_bytes_after_the_end_are_of_no_coding(coding: str, behind: bytes) -> None:
    encoded = encode(TEXT, coding)
    assert encoded is not None
    with pytest.raises(ValueError, match=r"after the end|not of this coding"):
        list(Decoder(coding).feed(encoded + behind))
    decoder = Decoder(coding)
    list(decoder.feed(encoded))
    assert decoder.complete
    with pytest.raises(ValueError, match="after the end"):
        list(decoder.feed(behind))


@pytest.mark.parametrize("coding", CODINGS)
def test_a_few_bytes_that_stand_for_many_are_given_out_in_pieces(coding: str) -> None:
    encoded = encode(bytes(20_000_000), coding)
    assert encoded is not None
    sizes = [len(piece) for piece in Decoder(coding).feed(encoded)]
    assert sum(sizes) == 20_000_000
    limits = {"zstd": 2 << 20}  # blocks of 128 KiB may take four bytes
    if not hasattr(brotli.Decompressor(), "can_accept_more_data"):
        limits["br"] = 16 << 20  # before 1.2 it has no limit but what a copy may be
    assert max(sizes) <= limits.get(coding, 4 * PIECE)


def test_each_coding_is_what_others_take_it_for() -> None:
    by_gzip, by_brotli = encode(TEXT, "gzip"), encode(TEXT, "br")
    assert by_gzip is not None
    assert gzip.decompress(by_gzip) == TEXT
    assert by_gzip[4:8] == bytes(4)  # no time, so that it is the same each time
    assert by_gzip == zlib.compress(TEXT, 6, wbits=31)
    assert by_brotli == brotli.compress(TEXT, quality=5)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("step", [1_000, PIECE, 10_000_000])
def test_a_text_is_encoded_piece_by_piece(coding: str, step: int) -> None:
    for data in (TEXT, NOISE, b""):
        encoder = Encoder(coding)
        made = b"".join(encoder.feed(data[at : at + step]) for at in range(0, len(data), step)) + encoder.end(b"end")
        assert decoded(made, coding) == data + b"end"
        assert len(made) < max(len(data) / 3, 120_000)
    if coding == "gzip":
        assert gzip.decompress(made) == b"end"


@pytest.mark.parametrize("make", [lambda coding: encode(b"a", coding), Encoder, Decoder])
def test_there_is_no_other_coding(make: object) -> None:
    for coding in ("deflate", "identity", "", "GZIP"):
        with pytest.raises(ValueError, match="no such content coding"):
            make(coding)  # type: ignore[operator]


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("step", [1, 7, 1_000, 1_000_000])
def test_what_comes_after_the_end_is_an_error_however_it_comes(coding: str, step: int) -> None:
    small = encode(TEXT[:3_000], coding)
    assert small is not None
    assert decoded(small, coding, step) == TEXT[:3_000]
    decoder = Decoder(coding)
    assert not decoder.complete
    with pytest.raises(ValueError, match=r"bytes after the end|not of this coding"):
        decoded(small + b"after", coding, step)
    decoder = Decoder(coding)
    list(decoder.feed(small))
    assert decoder.complete
    assert list(decoder.feed(b"")) in ([], [b""])
    with pytest.raises(ValueError, match="bytes after the end"):
        list(decoder.feed(b"x"))


@pytest.mark.parametrize("coding", CODINGS)
def test_no_step_makes_more_than_a_few_mib(coding: str) -> None:
    bomb = encode(bytes(40_000_000), coding)
    assert bomb is not None
    decoder = Decoder(coding)
    sizes = [len(piece) for at in range(0, len(bomb), PIECE) for piece in decoder.feed(bomb[at : at + PIECE])]
    assert sum(sizes) == 40_000_000
    assert max(sizes) <= 16 * 1024 * 1024
    if coding == "gzip":
        assert max(sizes) <= PIECE


@pytest.mark.parametrize("coding", CODINGS)
def test_bytes_are_of_a_coding_as_far_as_they_go(coding: str) -> None:
    encoded = encode(TEXT, coding)
    assert encoded is not None
    half = encoded[: len(encoded) // 2]
    for data, whole, most, fits in (
        (encoded, True, 1 << 30, True),
        (encoded, False, 1 << 30, True),
        (half, True, 1 << 30, False),
        (half, False, 1 << 30, True),
        (half, True, 1_000, True),  # enough was seen
        (encoded + b"x", True, 1 << 30, False),
        (b"", True, 1 << 30, False),
        (b"", False, 1 << 30, False),
        (TEXT, True, 1 << 30, False),
        (TEXT, False, 1 << 30, coding == "br"),  # which begins almost as it likes
    ):
        assert decodes(data, coding, whole=whole, most=most) is fits
    assert decodes(encoded, coding, whole=True, most=len(TEXT))
    assert decodes(half, coding, whole=True, most=len(TEXT)) is False


ACCEPTED = [
    (None, [IDENTITY, *CODINGS]),
    (b"", [IDENTITY]),
    (b"gzip, br", ["br", "gzip", IDENTITY]),
    (b"gzip;q=1.0, br;q=0.9", ["gzip", "br", IDENTITY]),
    (b"x-gzip", ["gzip", IDENTITY]),
    (b"GZip;Q=0.5,zstd ; q=0.50", ["zstd", "gzip", IDENTITY]),
    (b"*", ["br", "zstd", "gzip", IDENTITY]),
    (b"*;q=0", []),
    (b"*;q=0.5, gzip;q=0", ["br", "zstd", IDENTITY]),
    (b"identity;q=0, *", ["br", "zstd", "gzip"]),
    (b"identity, br;q=0.5", [IDENTITY, "br"]),
    (b"br;q=0.0001, gzip", ["gzip", IDENTITY]),
    (b"br;q=0.001", ["br", IDENTITY]),
    (b"br;q=0", [IDENTITY]),
    (b"br;q=2, gzip", ["gzip", IDENTITY]),
    (b"br;q=1.001, gzip;q=1.000", ["gzip", IDENTITY]),
    (b"br;q=0.5, br;q=0", ["br", IDENTITY]),
    (b"identity;q=0.0001, br;q=0.001", ["br", IDENTITY]),
    (b"b r, gzip", ["gzip", IDENTITY]),
    (b"," * 127 + b"br", ["br", IDENTITY]),
    (b"," * 128 + b"br", [IDENTITY]),
]


@pytest.mark.parametrize(("value", "order"), ACCEPTED)
def test_which_codings_a_client_accepts_and_likes(value: bytes | None, order: list[str]) -> None:
    assert list(accepted_codings(value)) == order


@pytest.mark.parametrize(("length", "kept"), [(128, 1), (129, 0)])
def test_what_is_longer_than_any_browser_s_is_not_remembered(length: int, kept: int) -> None:
    codings._ranked_codings.cache_clear()
    value = b"br, " + b"x" * (length - 4)
    for _ in range(2):
        assert accepted_codings(value) == ("br", IDENTITY)
    assert codings._ranked_codings.cache_info().currsize == kept
