# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""HPACK beside the library `hpack`: both take the same blocks, and say the same of them."""

import random

import hpack
import pytest
from hpack.exceptions import HPACKError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from addon.lane.http2 import header_encoder, huffman
from addon.lane.http2.head_reader import HeadReader
from addon.lane.http2.header_decoder import TABLE_SIZE, CompressionFault, HeaderDecoder, HeaderList
from addon.lane.http2.header_encoder import date_field, field, integer, status_field, string
from addon.lane.http2.heads import Commons, Malformed
from addon.lane.http2.static_table import STATIC_TABLE

ROUNDS = 4000
CODE = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
NAMES = [b":path", b":method", b"cookie", b"accept", b"x-a", b"priority", b"content-type", b"a" * 300, b"etag"]
VALUES = [b"", b"/", b"GET", b"a" * 5000, b"text/html", b"\xff\x00\n", b"u=3, i", b"k" * 126, b"k" * 127, b"k" * 128]


def oracle(most: int) -> hpack.Decoder:
    decoder = hpack.Decoder(max_header_list_size=most)
    decoder.max_allowed_table_size = TABLE_SIZE
    return decoder


def by_library(decoder: hpack.Decoder, block: bytes) -> HeaderList | None:
    """What the library says; None for an error."""
    try:
        return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]
    except (HPACKError, IndexError, UnicodeDecodeError):
        return None


def by_us(decoder: HeaderDecoder, block: bytes) -> HeaderList | None:
    try:
        found = decoder.decode(block)
    except CompressionFault:
        return None
    assert found is not None
    return found


def literal(rng: random.Random) -> bytes:
    """A field in one of the forms that there are."""
    kind = rng.choice((0x40, 0x00, 0x10))
    bits = 6 if kind == 0x40 else 4
    name = rng.choice(NAMES)
    value = rng.choice(VALUES)
    if rng.random() < 0.5:
        return integer(rng.randrange(1, 70), bits, kind) + string(value)
    return bytes((kind,)) + string(name) + (string(value) if rng.random() < 0.5 else integer(len(value), 7, 0) + value)


def made_block(rng: random.Random) -> bytes:
    parts = [integer(rng.choice((0, 100, 1000, 4096)), 5, 0x20)] if rng.random() < 0.1 else []
    count = rng.randrange(6)
    indexed = (integer(rng.randrange(1, 80), 7, 0x80) if rng.random() < 0.5 else literal(rng) for _ in range(count))
    return b"".join((*parts, *indexed))


def test_blocks_that_were_made_and_mutated_mean_the_same_to_the_library() -> None:
    rng = random.Random(7541)
    ours, theirs = HeaderDecoder(1 << 20), oracle(1 << 20)
    understood = refused = 0
    for _ in range(ROUNDS):
        block = made_block(rng)
        if rng.random() < 0.3 and block:
            changed = bytearray(block)
            for _ in range(rng.randrange(1, 4)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            block = bytes(changed[: rng.randrange(len(changed) + 1)])
        expected, found = by_library(theirs, block), by_us(ours, block)
        assert found == expected, block
        if found is None:  # neither knows its table any more
            refused += 1
            ours, theirs = HeaderDecoder(1 << 20), oracle(1 << 20)
        else:
            understood += 1
            dynamic = [(bytes(name), bytes(value)) for name, value in theirs.header_table.dynamic_entries]
            assert ours.table[len(STATIC_TABLE) + 1 :] == dynamic
    assert understood > ROUNDS / 2
    assert refused > ROUNDS / 50


def test_random_bytes_mean_the_same_to_the_library() -> None:
    rng = random.Random(7542)
    for _ in range(ROUNDS):
        block = rng.randbytes(rng.randrange(1, 40))
        assert by_us(HeaderDecoder(1 << 20), block) == by_library(oracle(1 << 20), block), block


def test_what_an_encoder_says_is_understood_with_and_without_a_memory() -> None:
    """The memory is of blocks and of what stands around a path; the table changes now and then."""
    rng = random.Random(7543)
    encoder = hpack.Encoder()
    reader, plain, commons = HeadReader(Commons(), 1 << 20), HeaderDecoder(1 << 20), Commons()
    for number in range(ROUNDS):
        headers: list[tuple[str, str]] = [
            (":method", rng.choice(("GET", "HEAD"))),
            (":scheme", "https"),
            (":authority", "a.test"),
        ]
        path = (":path", f"/{rng.randrange(50)}/{'x' * rng.randrange(3)}")
        more = [("accept", rng.choice(("*/*", "text/css"))), ("user-agent", "browser")]
        if rng.random() < 0.02:
            more.append(("x-new", str(number)))
        block = encoder.encode(headers)
        # As browsers do: the path as a literal without indexing.
        block += b"\x04" + string(path[1].encode()) + encoder.encode(more)
        found, expected = reader.head(block), plain.decode(block)
        assert found is not None
        assert expected is not None
        assert found == commons.head(expected)._replace(common=found.common)
        values = dict(expected)
        assert found.target == values[b":path"]
        assert found.common.method.encode() == values[b":method"]
        assert found.common.fields.values[b"accept"] == values[b"accept"]
        assert (b"x-new" in values) is (b"x-new" in found.common.fields.values)


def test_a_remembered_head_does_not_lend_itself_to_another_path_or_place() -> None:
    """What stands around the path is the same, and where the path stands is not: after a field it is malformed."""
    reader = HeadReader(Commons(), 1 << 20)
    before, path, after = b"\x82\x87\x41" + string(b"a.test"), b"\x04" + string(b"/a"), b"\x90"
    assert reader.head(before + path + after) is not None
    indexed = b"\x82\x87\xbe"
    head = reader.head(indexed + path + after)
    assert head is not None
    again = reader.head(indexed + b"\x04" + string(b"/b") + after)
    assert again is not None
    assert (again.common, again.target) == (head.common, b"/b")
    with pytest.raises(Malformed):
        reader.head(indexed + after + path)
    with pytest.raises(Malformed):
        reader.head(indexed + b"\x04\x00" + after)
    with pytest.raises(CompressionFault):
        reader.head(indexed + b"\x04\x22/b" + after)


def test_what_we_encode_is_what_the_library_reads() -> None:
    decoder = hpack.Decoder()
    pairs = [
        (b"Content-Type", b"text/html; charset=utf-8"),
        (b"ETag", b'"abc"'),
        (b"Set-Cookie", b"a=b; Secure"),
        (b"X-Long", b"x" * 3000),
        (b"X-Bytes", bytes(range(128, 256))),
        (b"Vary", b""),
    ]
    block = status_field(200) + b"".join(field(*pair) for pair in pairs) + date_field(b"Sat, 28 Nov 2026 12:00:00 GMT")
    found = [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]
    lower = [(name.lower(), value) for name, value in pairs]
    assert found == [(b":status", b"200"), *lower, (b"date", b"Sat, 28 Nov 2026 12:00:00 GMT")]
    assert not decoder.header_table.dynamic_entries
    for value in (b"a\r\nb: c", b"a\n", b"a\0"):
        with pytest.raises(ValueError, match="line end"):
            field(b"x", value)


def test_what_is_long_goes_as_it_is_and_is_not_remembered() -> None:
    """The library's Huffman code takes a time that grows with the square of a string: a visitor's, in `Location`."""
    before = header_encoder._remembered.cache_info().currsize
    for size in (1025, 16_384, 50_000):
        block = field(b"location", b"/?" + b"%FF" * (size // 3))
        assert block.endswith(b"%FF" * (size // 3))
        assert list(hpack.Decoder(1 << 20).decode(block, raw=True)) == [(b"location", b"/?" + b"%FF" * (size // 3))]
    assert header_encoder._remembered.cache_info().currsize == before


def test_the_static_table_is_the_librarys() -> None:
    assert tuple((bytes(name), bytes(value)) for name, value in HeaderTable.STATIC_TABLE) == STATIC_TABLE


def test_a_block_that_comes_again_means_what_the_table_says_now() -> None:
    reader = HeadReader(Commons(), 16384)

    def named(host: bytes) -> bytes:
        """A request whose `:authority` goes into the table."""
        return b"\x82\x87\x84\x41" + string(host)

    def hosts(block: bytes) -> set[str]:
        heads = [reader.head(block) for _ in range(3)]
        known = reader.known(block)
        return {head.common.fields.host for head in heads if head} | ({known[0].fields.host} if known else {""})

    again = b"\x82\x87\xbe\x04" + string(b"/a/path")
    reader.head(named(b"a.test"))
    assert hosts(again) == {"a.test"}
    assert hosts(again.replace(string(b"/a/path"), string(b"/b"))) == {"a.test"}
    reader.head(named(b"b.test"))
    assert reader.known(again) is None
    assert hosts(again) == {"b.test"}


# Huffman's code.


def test_every_symbol_and_every_pair_comes_back_as_the_library_encodes_it() -> None:
    symbols = [bytes((number,)) for number in range(256)]
    for text in [b"", *symbols, *(first + second for first in symbols for second in symbols[::7])]:
        assert huffman.decode(CODE.encode(text)) == text


def test_any_bytes_are_the_text_that_the_library_reads_or_a_fault_to_both() -> None:
    rng = random.Random(52)
    understood = refused = 0
    for number in range(20_000):
        data = rng.randbytes(rng.randrange(12)) + b"\xff" * (number % 3)
        try:
            expected = decode_huffman(data)
        except HPACKError:
            with pytest.raises(huffman.HuffmanFault):
                huffman.decode(data)
            refused += 1
        else:
            assert huffman.decode(data) == expected
            understood += 1
    assert min(understood, refused) > 2000


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\xff", "inside a symbol"),  # eight ones of padding, where seven are the most
        (b"\x1f\xff", "inside a symbol"),  # `a`, and eleven ones
        (b"\x18", "inside a symbol"),  # `a`, and zeros for padding
        (b"\xff\xff\xff\xff", "the end of the code"),
        (b"\xff\xff\xff\xfc", "the end of the code"),
    ],
)
def test_a_string_that_ends_wrong_is_a_fault(data: bytes, fault: str) -> None:
    with pytest.raises(huffman.HuffmanFault, match=fault):
        huffman.decode(data)
