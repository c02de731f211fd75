# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""Accept-Encoding against RFC 9110 §12.5.3, the forms that are offered, and the codings themselves."""

import gzip
import random
from dataclasses import replace

import brotli  # type: ignore[import-untyped]  # it comes without annotations
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from addon.web.codings import CODINGS, IDENTITY, Decoder, decodes, encode
from addon.web.representation import LARGEST_ENCODED, Beside, Form, Representation, encoded_forms
from tests.addon.web.negotiation_cases import BLOB, BR, HTML, IMAGE, MODIFIED, PAGE, SIZES, ask, coding, header

# ---------------------------------------------------------------- Accept-Encoding


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, IDENTITY),
        ("", IDENTITY),
        (" ", IDENTITY),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("deflate", IDENTITY),
        ("compress, gzip", "gzip"),
        ("identity", IDENTITY),
        ("*", "br"),
        ("gzip, br", "br"),
        ("gzip, zstd", "zstd"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip;q=1.0, br;q=0.9", "gzip"),
        ("gzip;q=0.5, zstd;q=0.6, br;q=0.4", "zstd"),
        ("br;q=0, gzip", "gzip"),
        ("br;q=0.0, *", "zstd"),
        ("br;q=0.000,zstd;q=0,*;q=0.5", "gzip"),
        ("*;q=0", IDENTITY),
        ("*;q=0, gzip", "gzip"),
        ("identity;q=0", IDENTITY),  # nothing is acceptable: the file itself all the same
        ("identity;q=0, *;q=0", IDENTITY),
        ("identity;q=0, gzip;q=0.1", "gzip"),
        ("identity;q=1, *;q=0", IDENTITY),
        ("identity;q=1, gzip;q=0.5", IDENTITY),
        ("identity;q=0.5, gzip;q=1.0, *;q=0", "gzip"),
        ("gzip;q=0.001", "gzip"),
        ("identity, gzip", "gzip"),
        ("gzip ; q=0.2 , br ;q=0.1", "gzip"),
        ("gzip;Q=0.2,br;q=0.1", "gzip"),
        ("\tgzip\t,\t", "gzip"),
        (",,gzip,,", "gzip"),
        ("gzip;q=1.", "gzip"),
        ("a," * 127 + "gzip", "gzip"),  # of thousands of members the first ones count
        ("a," * 128 + "gzip", IDENTITY),
        ("gzip;q=0.", IDENTITY),
        # Not as the grammar has it: that member is passed over.
        ("gzip;q=2", IDENTITY),
        ("gzip;q=-1", IDENTITY),
        ("gzip;q=0.1234", IDENTITY),
        ("gzip;q=abc", IDENTITY),
        ("gzip;q=", IDENTITY),
        ("gzip;level=9", IDENTITY),
        ("gzip br", IDENTITY),
        ("gzip;q=nan, br", "br"),
        (";;;", IDENTITY),
        ('"gzip"', IDENTITY),
        ("\xff", IDENTITY),
        ("gzip, " * 100 + "br", "br"),
    ],
)
def test_the_best_form_that_the_client_accepts_is_sent(value: str | None, expected: str) -> None:
    plan = ask({} if value is None else {"Accept-Encoding": value})
    assert coding(plan) == expected
    assert header(plan, "Content-Encoding") == (None if expected == IDENTITY else expected)
    assert header(plan, "Content-Length") == str(SIZES[expected])


@given(st.lists(st.tuples(st.sampled_from([*CODINGS, IDENTITY, "*", "deflate"]), st.integers(0, 1000))))
def test_no_other_form_sent_has_a_higher_weight(members: list[tuple[str, int]]) -> None:
    weights: dict[str, int] = {}
    for name, weight in members:
        weights.setdefault(name, weight)
    chosen = coding(ask({"Accept-Encoding": ", ".join(f"{name};q={weight / 1000:.3f}" for name, weight in members)}))
    default = weights.get("*", 0)
    if chosen == IDENTITY:
        own = weights.get(IDENTITY, default)
        assert all(weights.get(name, default) <= own for name in CODINGS)
    else:
        own = weights.get(chosen, default)
        assert own > 0
        assert all(weights.get(name, default) <= own for name in CODINGS)
        assert weights.get(IDENTITY, default if "*" in weights else 0) <= own


def test_a_file_without_encoded_forms_is_sent_as_it_is() -> None:
    for value in ("br", "*", "identity;q=0", "identity;q=0, gzip"):
        assert coding(ask({"Accept-Encoding": value}, IMAGE)) == IDENTITY


def test_a_form_not_made_yet_is_pending_until_its_size_is_known() -> None:
    page = Representation(HTML, 10000, BLOB, MODIFIED, "no-cache", encoded_forms(HTML, 10000))
    fields = {"Accept-Encoding": "br"}
    for method in ("GET", "HEAD"):
        plan = ask(fields, page, method)
        assert (plan.pending, coding(plan), header(plan, "Content-Length")) == (True, "br", None)
    assert not ask({}, page).pending
    assert ask(fields | {"If-None-Match": BR}, page).status == 304

    made = ask(fields, page.made("br", 2500))
    assert (made.pending, header(made, "Content-Length"), made.end) == (False, "2500", 2500)
    assert header(made, "ETag") == BR

    no_smaller = ask(fields, page.without("br"))
    assert (no_smaller.pending, coding(no_smaller)) == (False, IDENTITY)
    assert coding(ask({"Accept-Encoding": "br, zstd"}, page.without("br"))) == "zstd"


@pytest.mark.parametrize(
    ("content_type", "size", "held", "beside", "expected"),
    [
        (HTML, 10000, True, {}, [("br", None, None), ("zstd", None, None), ("gzip", None, None)]),
        (HTML, 256, True, {}, [("br", None, None), ("zstd", None, None), ("gzip", None, None)]),
        (HTML, 255, True, {}, []),
        (HTML, 10000, False, {}, [("br", None, None), ("zstd", None, None), ("gzip", None, None)]),
        (HTML, LARGEST_ENCODED + 1, False, {}, []),
        ("image/png", 10000, True, {}, []),
        ("image/png", 10000, True, {".gz": ("f00", 9000)}, []),
        (HTML, 10000, False, {".gz": ("f00", 4000)}, [("br", None, None), ("zstd", None, None), ("gzip", 4000, "f00")]),
        (
            HTML,
            10000,
            False,
            {".br": ("f01", 3000), ".gz": ("f00", 4000)},
            [("br", 3000, "f01"), ("zstd", None, None), ("gzip", 4000, "f00")],
        ),
        (HTML, 10000, True, {".zst": ("f02", 1)}, [("br", None, None), ("zstd", 1, "f02"), ("gzip", None, None)]),
        (HTML, 100, True, {".gz": ("f00", 90)}, [("gzip", 90, "f00")]),
        (HTML, 100, True, {".gz": ("f00", 100)}, []),  # no smaller than the file
        (HTML, 255, False, {".lz": ("f00", 10)}, []),
    ],
)
def test_forms_are_offered_of_what_shrinks_and_files_beside_it_go_first(
    content_type: str,
    size: int,
    held: bool,
    beside: dict[str, tuple[str, int]],
    expected: list[tuple[str, int | None, str | None]],
) -> None:
    for checked in (True, False):  # how large a form is that nobody looked at is not known
        lying = {suffix: Beside(*each, checked) for suffix, each in beside.items()}
        forms = encoded_forms(content_type, size, held=held, beside=lying)
        assert list(forms) == [
            Form(coding, size if checked else None, blob, streamed=blob is None and not held)
            for coding, size, blob in expected
        ]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_form_that_nobody_looked_at_waits_and_has_no_tag_that_a_client_could_hold(method: str) -> None:
    blob = "c0ffee" * 6 + "c0ff"
    page = replace(PAGE, encoded=(Form("br", None, blob),))
    for condition in ({}, {"If-None-Match": f'"{blob}-br"'}, {"If-None-Match": '""'}):
        plan = ask({"Accept-Encoding": "br", **condition}, page, method)
        assert (plan.status, plan.pending, plan.form) == (200, True, Form("br", None, blob))
    seen = page.made("br", 3000)
    assert ask({"Accept-Encoding": "br", "If-None-Match": f'"{blob}-br"'}, seen).status == 304
    ours = ask({"Accept-Encoding": "br"}, page.made_by_us("br", streamed=False))
    assert (ours.pending, ours.form, header(ours, "ETag")) == (True, Form("br", None, None), BR)


@pytest.mark.parametrize("name", CODINGS)
def test_a_decoder_undoes_what_the_coding_did_and_nothing_else(name: str) -> None:
    encoded = encode(TEXT, name)
    assert encoded is not None
    for step in (1, 777, len(encoded)):
        decoder = Decoder(name)
        pieces = [p for start in range(0, len(encoded), step) for p in decoder.feed(encoded[start : start + step])]
        assert (b"".join(pieces), decoder.complete) == (TEXT, True)
    assert decodes(encoded, name, whole=True, most=1 << 30)
    assert not decodes(encoded[:-1], name, whole=True, most=1 << 30)
    assert decodes(encoded[: len(encoded) // 2], name, whole=False, most=1 << 30)
    for wrong in (b"", TEXT, b"<!doctype html>", encoded + b"more", encode(TEXT, "gzip" if name != "gzip" else "br")):
        assert not decodes(wrong or b"", name, whole=True, most=1 << 30)


@pytest.mark.parametrize("name", CODINGS)
def test_a_bomb_is_taken_apart_in_small_steps_and_not_further_than_asked(name: str) -> None:
    bomb = {
        "br": lambda data: bytes(brotli.compress(data, quality=9, lgwin=24)),
        "zstd": lambda data: zstandard.ZstdCompressor(level=3).compress(data),
        "gzip": lambda data: gzip.compress(data, 9),
    }[name](bytes(64 * 1024 * 1024))
    largest = made = 0
    for piece in Decoder(name).feed(bomb):
        largest, made = max(largest, len(piece)), made + len(piece)
        if made > 8 * 1024 * 1024:
            break
    assert largest <= 17 * 1024 * 1024
    assert decodes(bomb, name, whole=True, most=1024)


@pytest.mark.parametrize("data", [b"\x00", b"x" * 100, bytes(1000), b"\x1f\x8b\x08", b"(\xb5/\xfd"])
@pytest.mark.parametrize("name", CODINGS)
def test_what_is_not_of_a_coding_is_a_value_error_or_incomplete(name: str, data: bytes) -> None:
    decoder = Decoder(name)
    try:
        list(decoder.feed(data))
    except ValueError:
        return
    assert not decoder.complete


def test_zstd_that_browsers_need_not_read_is_no_form() -> None:
    """RFC 9659: a window of more than 8 MiB may be refused."""
    parameters = zstandard.ZstdCompressionParameters(window_log=25, enable_ldm=True)
    large = zstandard.ZstdCompressor(compression_params=parameters)
    compressor = large.compressobj()
    data = compressor.compress(bytes(range(256)) * 4096) + compressor.flush()
    assert not decodes(data, "zstd", whole=True, most=1 << 30)


def test_the_tag_of_a_form_that_lies_beside_the_file_is_made_of_its_own_blob() -> None:
    beside = "c0ffee" * 6 + "c0ff"
    page = replace(PAGE, encoded=(Form("br", 3000, beside),))
    plan = ask({"Accept-Encoding": "br"}, page)
    assert header(plan, "ETag") == f'"{beside}-br"'
    assert ask({"Accept-Encoding": "br", "If-None-Match": BR}, page).status == 200


# ---------------------------------------------------------------- content codings


DECODERS = {
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompress(data),
    "gzip": gzip.decompress,
}
TEXT = " ".join(f"line {n}: the quick brown fox" for n in range(4000)).encode()


@pytest.mark.parametrize("name", CODINGS)
def test_encoding_shrinks_text_and_is_undone_by_decoding(name: str) -> None:
    encoded = encode(TEXT, name)
    assert encoded is not None
    assert len(encoded) < len(TEXT) / 4
    assert DECODERS[name](encoded) == TEXT
    assert encode(TEXT, name) == encoded


@pytest.mark.parametrize("name", CODINGS)
def test_what_does_not_shrink_is_not_encoded(name: str) -> None:
    assert encode(b"", name) is None
    assert encode(b"x", name) is None
    assert encode(random.Random(1).randbytes(10000), name) is None


@pytest.mark.parametrize("name", ["identity", "deflate", "", "BR"])
def test_an_unknown_coding_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="content coding"):
        encode(TEXT, name)


def test_gzip_says_nothing_of_the_time_or_the_machine() -> None:
    encoded = encode(TEXT, "gzip")
    assert encoded is not None
    assert encoded[:10] == bytes.fromhex("1f8b0800000000000003")


def test_the_window_of_zstd_is_one_that_browsers_take() -> None:
    # RFC 9659: no more than 8 MB.
    encoded = encode(TEXT * 200, "zstd")
    assert encoded is not None
    assert zstandard.get_frame_parameters(encoded).window_size <= 8 << 20
