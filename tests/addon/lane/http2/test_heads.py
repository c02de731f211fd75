# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""HPACK and heads where they end: lengths, tables, what is remembered and for how long."""

import hpack
import pytest

from addon.lane.http2 import header_decoder, header_encoder, heads
from addon.lane.http2.answers import Http2Repeat, block_of
from addon.lane.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS
from addon.lane.http2.head_reader import HeadReader
from addon.lane.http2.header_decoder import CompressionFault, HeaderDecoder
from addon.lane.http2.header_encoder import date_field, field, integer, status_field, string
from addon.lane.http2.heads import Commons, Malformed, trailers
from addon.lane.http2.static_table import STATIC_TABLE
from addon.serving.answers import Answer
from addon.web.prepared_answers import NOTHING, Basis, PreparedAnswer, Tally
from addon.web.request_head import RequestLine, derived
from tests.addon.lane.http2.talking import parsed

GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.test"), (b":path", b"/")]
FIRST = len(STATIC_TABLE) + 1


def literal(name: bytes, value: bytes, first: int = 0x40) -> bytes:
    return bytes((first,)) + integer(len(name), 7, 0) + name + integer(len(value), 7, 0) + value


# HPACK.


@pytest.mark.parametrize(
    ("value", "prefix", "coded"),
    [
        (0, 5, b"\x00"),
        (10, 5, b"\x0a"),
        (30, 5, b"\x1e"),
        (31, 5, b"\x1f\x00"),
        (32, 5, b"\x1f\x01"),
        (158, 5, b"\x1f\x7f"),
        (159, 5, b"\x1f\x80\x01"),
        (1337, 5, b"\x1f\x9a\x0a"),
        (127, 7, b"\x7f\x00"),
        (2**20, 7, b"\x7f\x81\xff\x3f"),
    ],
)
def test_integers_are_those_of_the_rfc(value: int, prefix: int, coded: bytes) -> None:
    """RFC 7541 §5.1, C.1"""
    assert integer(value, prefix, 0) == coded
    assert integer(value, prefix, 0x80)[0] == coded[0] | 0x80


def test_an_integer_of_five_bytes_is_read_and_a_longer_one_is_none() -> None:
    decoder = HeaderDecoder(1 << 20)
    for count, message in ((4, "an index that no table has"), (5, "an integer that does not end")):
        with pytest.raises(CompressionFault, match=message):
            decoder.decode(b"\xff" + b"\x80" * count + b"\x00")
    with pytest.raises(CompressionFault, match="an integer that does not end"):
        decoder.decode(b"\xff\x80")


def test_the_table_has_4096_bytes_of_which_each_entry_takes_32_more() -> None:
    decoder = HeaderDecoder(1 << 20)
    for number in range(64):
        decoder.decode(literal(b"%02d" % number, b"v" * 30))
    assert len(decoder.table) == FIRST + 64  # of 64 bytes each
    decoder.decode(literal(b"64", b"v" * 30))
    assert len(decoder.table) == FIRST + 64
    assert decoder.table[FIRST] == (b"64", b"v" * 30)
    assert decoder.table[-1] == (b"01", b"v" * 30)
    decoder.decode(b"\x3f\x21")  # of 64 bytes from now on
    assert decoder.table[FIRST:] == [(b"64", b"v" * 30)]
    decoder.decode(literal(b"xx", b"v" * 31))  # one more than there is: the table is empty (§4.4)
    assert decoder.table[FIRST:] == []
    decoder.decode(literal(b"yy", b"v" * 30))
    assert len(decoder.table) == FIRST + 1
    assert decoder.decode(integer(4096, 5, 0x20)) == []
    for wrong in (integer(4097, 5, 0x20), b"\x82\x20"):
        with pytest.raises(CompressionFault, match="a table size"):
            decoder.decode(wrong)


def test_each_change_of_the_table_is_told() -> None:
    decoder = HeaderDecoder(1 << 20)
    changed = []
    for block in (b"\x82", literal(b"a", b"b"), literal(b"a", b"b", 0x00), literal(b"a", b"b", 0x10), b"\x20", b"\x80"):
        try:
            decoder.decode(block)
        except CompressionFault:
            changed.append(-1)
        else:
            changed.append(decoder.changed)
    assert changed == [0, 1, 1, 1, 2, -1]


@pytest.mark.parametrize(("over", "fits"), [(0, True), (1, False)])
def test_a_list_counts_names_values_and_32_for_each(over: int, fits: bool) -> None:
    most = (7 + 3 + 32) + (1 + 10 + 32) + (1 + 5 + 32)
    decoder = HeaderDecoder(most - over)
    found = decoder.decode(b"\x82" + literal(b"a", b"v" * 10) + literal(b"b", b"v" * 5, 0x00))
    assert (found is not None) is fits
    assert decoder.table[FIRST] == (b"a", b"v" * 10)  # the table is kept right all the same
    assert decoder.decode(b"\x82") == [(b":method", b"GET")]


@pytest.mark.parametrize(
    "block",
    [
        b"\xbe",
        b"\x7f\x00",
        b"\x40",
        b"\x40\x01",
        b"\x40\x01a",
        b"\x40\x01a\x02b",
        b"\x40\x81\xff\x00",
        b"\x0f\x30\x00",
        b"\x7e\x00",
        b"\x0f\x2f\x00",
    ],
)
def test_what_points_nowhere_or_ends_early_is_no_block(block: bytes) -> None:
    with pytest.raises(CompressionFault):
        HeaderDecoder(1 << 20).decode(block)


@pytest.mark.parametrize(("length", "kept"), [(128, True), (129, False)])
def test_short_strings_in_huffman_s_code_are_remembered(length: int, kept: bool) -> None:
    header_decoder._strings.clear()
    coded = bytes(header_encoder._huffman.encode(b"a" * (length * 8 // 5)))  # of five bits each
    assert len(coded) == length
    block = b"\x00\x01x" + integer(len(coded), 7, 0x80) + coded
    for _ in range(2):
        assert HeaderDecoder(1 << 20).decode(block) == [(b"x", b"a" * (length * 8 // 5))]
    assert (coded in header_decoder._strings) is kept
    header_decoder._strings.clear()


def test_what_is_said_in_an_answer_is_as_short_as_it_can_be() -> None:
    assert status_field(200) == b"\x88"
    assert status_field(201) == b"\x08" + string(b"201")
    assert field(b"Accept-Encoding", b"gzip, deflate") == b"\x90"
    assert field(b"X-A", b"b") == b"\x00" + string(b"x-a") + string(b"b")
    assert field(b"Set-Cookie", b"a")[:2] == integer(55, 4, 0x10)  # which nobody on the way may keep
    assert field(b"Etag", b"a")[:2] == integer(34, 4, 0)
    assert string(b"") == b"\x00"
    assert string(b"\xff\xfe") == b"\x02\xff\xfe"  # Huffman's code would be longer
    assert len(string(b"a" * 1_024)) < 700
    assert len(string(b"a" * 1_025)) == 1_025 + 3
    date = b"Sat, 28 Nov 2026 12:00:00 GMT"
    assert date_field(date) == integer(33, 4, 0) + bytes((len(date),)) + date
    assert header_encoder._LONGEST_CODED == 1_024


# Heads.


@pytest.mark.parametrize(
    ("more", "fine"),
    [
        ([(b"x-a", b"")], True),
        ([(b"x-a", b"a\tb c")], True),
        ([(b"x-a", b"\x80\xff")], True),
        ([(b"x-a", b"\tb")], False),
        ([(b"x-a", b"b\t")], False),
        ([(b"x-a", b"\x7f")], False),
        ([(b"x-a", b"\x1f")], False),
        ([(b"!#$%&'*+-.^_`|~09az", b"1")], True),
        ([(b"x(a", b"1")], False),
        ([(b"te", b"Trailers")], True),
        ([(b"te", b"trailers, x")], False),
        ([(b"content-length", b"1" * 18)], True),
        ([(b"content-length", b"1" * 19)], False),
        ([(b"content-length", b"")], False),
        ([(b"content-length", b"1"), (b"content-length", b"1")], False),
        ([(b"content-length", b"\xb2")], False),
    ],
)
def test_which_fields_a_request_may_have(more: list[tuple[bytes, bytes]], fine: bool) -> None:
    commons = Commons()
    if fine:
        head = commons.head([*GET, *more])
        assert head.target == b"/"
        assert head.common.nbytes == sum(len(name) + len(value) for name, value in [*GET[:3], *more])
        assert head.common is commons.head([*GET, *more]).common
    else:
        with pytest.raises(Malformed):
            commons.head([*GET, *more])


@pytest.mark.parametrize(
    "headers",
    [
        [(b":method", b"G\nT"), *GET[1:]],
        [GET[0], (b":scheme", b"https\0"), *GET[2:]],
        [*GET[:2], (b":authority", b" a.test"), GET[3]],
        [(b":method", b"CONNECT"), (b":scheme", b"https"), (b":authority", b"a.test")],
        [(b":method", b"CONNECT"), (b":authority", b"a.test"), (b":path", b"/")],
        [*GET[:3], (b":path", b"")],
    ],
)
def test_what_says_something_else_of_itself_is_no_request(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Malformed):
        Commons().head(headers)


def test_a_length_is_known_where_it_is_said() -> None:
    assert Commons().head([*GET, (b"content-length", b"007")]).common.length == 7
    assert Commons().head(GET).common.length is None


def test_two_thousand_that_differ_are_remembered_unless_they_are_long() -> None:
    commons = Commons()
    first = commons.head([*GET, (b"x", b"0")]).common
    for number in range(1, 2_048):
        commons.head([*GET, (b"x", b"%d" % number)])
    assert commons.head([*GET, (b"x", b"0")]).common is first
    commons.head([*GET, (b"x", b"one more")])
    assert commons.head([*GET, (b"x", b"0")]).common is not first
    size = 4_096 - sum(len(name) + len(value) for name, value in GET[:3]) - 1
    for length, kept in ((size, True), (size + 1, False)):
        long = [*GET, (b"x", b"v" * length)]
        assert (commons.head(long).common is commons.head(long).common) is kept
    assert heads.LONGEST_COMMON == 4_096


@pytest.mark.parametrize(
    ("name", "value", "fine"), [(b"a", b"b", True), (b":path", b"/", False), (b"A", b"b", False), (b"a", b"b\n", False)]
)
def test_trailers_are_fields_and_no_more(name: bytes, value: bytes, fine: bool) -> None:
    if fine:
        trailers([(name, value)])
    else:
        with pytest.raises(Malformed):
            trailers([(b"x", b"y"), (name, value)])


@pytest.mark.parametrize("path", [b"/", b"/a", b"/" + b"a" * 125])
def test_a_path_that_is_new_needs_no_decoding_of_the_rest(path: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = HeadReader(Commons(), 1 << 20)
    decoded: list[bytes] = []
    decode = HeaderDecoder.decode

    def counted(self: HeaderDecoder, block: bytes) -> list[tuple[bytes, bytes]] | None:
        decoded.append(block)
        return decode(self, block)

    def block(target: bytes) -> bytes:
        return b"\x82\x87\x04" + integer(len(target), 7, 0) + target + b"\x01\x06a.test\x90"

    monkeypatch.setattr(HeaderDecoder, "decode", counted)
    first = reader.head(block(b"/first"))
    found = reader.head(block(path))
    assert first is not None
    assert found is not None
    assert (found.target, found.common) == (path, first.common)
    assert len(decoded) == 1
    assert reader.known(block(b"/x" * 63)) is not None
    assert reader.known(block(b"/" + b"x" * 126)) is None  # its length takes two bytes
    reader.decode(literal(b"x-new", b"entry"))
    assert reader.known(block(path)) is None  # the table is another


def of(number: int, value: bytes = b"v", first: int = 0x00) -> bytes:
    """The block of a request that differs in a field; its path is the static one."""
    return b"\x82\x87\x84\x01\x06a.test" + literal(b"x-%04d" % number, value, first)


def test_a_block_that_changes_the_table_or_is_long_is_not_remembered() -> None:
    reader = HeadReader(Commons(), 1 << 20)
    for block, kept in ((of(1), True), (of(2, first=0x40), False), (of(3), True)):
        assert reader.head(block) is not None
        assert (reader.known(block) is not None) is kept
    assert reader.known(of(1)) is None  # the table is another since
    short = len(of(4, b""))
    for size, kept in ((512, True), (513, False)):
        block = of(5, b"v" * (size - short - 2))
        assert len(block) == size
        assert reader.head(block) is not None
        assert (reader.known(block) is not None) is kept


def test_a_hundred_and_twenty_eight_blocks_are_remembered_or_64_kib_of_fields() -> None:
    reader = HeadReader(Commons(), 1 << 20)
    for number in range(128):
        reader.head(of(number))
    assert all(reader.known(of(number)) is not None for number in range(128))
    reader.head(of(128))
    assert [number for number in range(129) if reader.known(of(number)) is not None] == [128]
    reader = HeadReader(Commons(), 1 << 20)
    reader.decode(literal(b"x", b"v" * 4_000))
    block = b"\x82\x87\x84\x01\x06a.test" + b"\xbe" * 3  # a few bytes that stand for 12 000
    cost = len(block) + 1 + len(b":methodGET:schemehttps:authoritya.test") + 3 * 4_001
    for number in range(6):
        reader.head(block + literal(b"y", b"%d" % number, 0x00))
    known = [n for n in range(6) if reader.known(block + literal(b"y", b"%d" % n, 0x00)) is not None]
    assert known == [5]
    assert 5 * cost < 64 * 1024 < 6 * cost


# From an answer to its frames.


def fields(block: bytes) -> list[tuple[bytes, bytes]]:
    return [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(block, raw=True)]


@pytest.mark.parametrize(
    ("answer", "length"),
    [
        (Answer(200, [], b"abc"), b"3"),
        (Answer(200, [(b"Content-Length", b"7")], b"abc"), b"7"),
        (Answer(304, [], b""), None),
        (Answer(204, [], b""), None),
        (Answer(200, [], length=None), None),
        (Answer(200, [], stream=lambda: None, length=9), b"9"),  # type: ignore[arg-type,return-value]
        (Answer(404, []), b"0"),
    ],
)
def test_a_length_is_said_where_there_is_one(answer: Answer, length: bytes | None) -> None:
    assert dict(fields(block_of(answer))).get(b"content-length") == length


def test_what_is_about_a_connection_is_not_said() -> None:
    names = (b"Connection", b"Keep-Alive", b"Proxy-Connection", b"Transfer-Encoding", b"Upgrade")
    answer = Answer(200, [(b"X-A", b"1"), *((name, b"x") for name in names), (b"ETag", b'"a"')], b"abc")
    assert fields(block_of(answer)) == [
        (b":status", b"200"),
        (b"x-a", b"1"),
        (b"etag", b'"a"'),
        (b"content-length", b"3"),
    ]


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385])
def test_what_is_sent_again_is_frames_with_the_date_of_the_second(size: int) -> None:
    body = bytes(range(256)) * 100
    rest = b'Content-Type: text/x\r\nETag: "a"\r\n\r\n' + body[:size]
    line = RequestLine("GET", "/", None, True)
    made = PreparedAnswer(b"", rest, Basis((), 9.0), line, 203, size, "HIT", NOTHING, Tally())
    repeat = Http2Repeat((b"", b""), made, derived(b"a", {b"host": b"a"}), Tally())
    assert fields(repeat.block) == [(b":status", b"203"), (b"content-type", b"text/x"), (b"etag", b'"a"')]
    assert bytes(repeat.body) == body[:size]
    assert isinstance(repeat.body, memoryview) is (size > 16_384)
    assert repeat.cost == 2 * len(repeat.block) + (size if size <= 16_384 else 0)
    assert [repeat.wire] == [None]
    repeat.tell(b"Date: x\r\n", date_field(b"now"))
    assert repeat.date == b"Date: x\r\n"
    if size > 16_384:
        assert repeat.wire is None
        return
    assert repeat.wire is not None
    assert repeat.wire.size == size
    frames = list(parsed((7).to_bytes(4, "big").join(repeat.wire.pieces)))
    assert [(each.kind, each.stream) for each in frames] == [(HEADERS, 7), (DATA, 7)][: 1 + bool(size)]
    assert [each.flags for each in frames] == ([END_HEADERS, END_STREAM] if size else [END_HEADERS | END_STREAM])
    assert fields(frames[0].payload)[-1] == (b"date", b"now")
    assert b"".join(each.payload for each in frames[1:]) == body[:size]
