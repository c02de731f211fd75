# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Long aggregates, whose elements are taken many at once: the same values, and the same refusals, as one by one."""

import contextlib
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import resp.lines
import resp.protocol
from resp.errors import ProtocolError
from resp.lines import CRLF
from resp.protocol import Parser
from resp.values import INCOMPLETE, text
from tests.resp.test_protocol_properties import Node, comparable, read, trees, value, wire

plain = st.binary(max_size=12).map(lambda data: Node("$", data.replace(b"\r", b"-")))
elements = st.one_of(
    plain,
    plain,
    plain,
    st.sampled_from(["resp3", "bulk"]).map(lambda form: Node("_", form)),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: Node(":", number)),
    st.floats(allow_nan=False).map(lambda number: Node(",", repr(number).encode())),
    st.booleans().map(lambda answer: Node("#", answer)),
    st.sampled_from([b"\r\n", b"a\r\n$1\r\nb", b"x" * 1023, b"x" * 1024, b"\r", b"\n", b"$3"]).map(
        lambda data: Node("$", data)
    ),
    st.tuples(plain, st.floats(allow_nan=False).map(lambda number: Node(",", repr(number).encode()))).map(
        lambda pair: Node("*", list(pair))
    ),
    trees,
)


def long(content: list[Node], kind: str) -> Node:
    return Node(kind, list(zip(content[::2], content[1::2])) if kind == "%" else content)


aggregates = st.builds(long, st.lists(elements, min_size=8, max_size=60), st.sampled_from("*~%"))


@settings(max_examples=200, deadline=None)
@given(replies=st.lists(aggregates, min_size=1, max_size=3), cuts=st.lists(st.integers(1, 2000), max_size=6))
def test_long_aggregates_come_back_however_they_are_split(replies: list[Node], cuts: list[int]) -> None:
    parser = Parser()
    found = read(parser, b"".join(map(wire, replies)), cuts)
    assert comparable(found) == comparable([value(node) for node in replies])
    assert parser.idle


@settings(max_examples=200, deadline=None)
@given(reply=aggregates, more=st.sampled_from([b"", b"$", b"+OK\r\n"]), less=st.integers(0, 3))
def test_a_reply_that_is_taken_whole_is_the_one_that_would_be_taken_in_parts(
    reply: Node, more: bytes, less: int
) -> None:
    parser, data = Parser(), wire(reply)
    sent = data[: len(data) - less] + (more if not less else b"")
    parser.view[: len(sent)] = sent
    found = parser.whole(len(sent))
    if sent != data:
        assert found is INCOMPLETE
    elif found is not INCOMPLETE:
        assert comparable(found) == comparable(value(reply))


@pytest.mark.parametrize("kind", "*~%")
def test_plain_replies_are_taken_whole_within_the_limit(kind: str) -> None:
    sent = long([Node("$", b"%d" % number) for number in range(20)], kind)
    data = wire(sent)
    for most, whole in ((1000, True), (19, False)):
        parser = Parser(max_elements=most)
        parser.view[: len(data)] = data
        found = parser.whole(len(data))
        assert found is INCOMPLETE if not whole else comparable(found) == comparable(value(sent))


@pytest.mark.parametrize("data", [b"", b"*2", b"*2\r\n$1\r\na\r\n", b"*3\r\n$1\r\na\r\n:1\r\n:2\r\n", b":1\r\n" * 9])
def test_what_does_not_begin_as_a_pair_is_none(data: bytes) -> None:
    assert resp.lines.pairs(data, 5) == ([], 0)


@pytest.mark.parametrize("pieces", [1, 2, 10])
@pytest.mark.parametrize("last", [b"*2\r\n$1\r\na\r\n:1\r\n", b":1\r\n"])
def test_lists_in_a_list_count_with_what_they_have(pieces: int, last: bytes) -> None:
    """50 elements of the outer list, 98 or 100 within."""
    data = b"*50\r\n" + b"*2\r\n$1\r\na\r\n:1\r\n" * 49 + last
    size = -(-len(data) // pieces)
    whole = 150 if last.startswith(b"*") else 148
    for most, good in ((whole, True), (whole - 1, False), (whole - 49, False), (51, False)):
        parser = Parser(max_elements=most)
        with contextlib.nullcontext() if good else pytest.raises(ProtocolError):
            for at in range(0, len(data), size):
                parser.feed(data[at : at + size])
                found = parser.get()
            assert found == [*[[b"a", 1]] * 49, found[-1]]


def outcome(data: bytes, cuts: list[int], **limits: int) -> Any:
    parser = Parser(**limits)
    try:
        return comparable(read(parser, data, cuts)), parser.pos == parser.end
    except ProtocolError:
        return "refused"


@settings(max_examples=200, deadline=None)
@given(
    reply=aggregates,
    place=st.integers(0, 10_000),
    byte=st.sampled_from(b"$*:,_#+-%|;.0123456789\r\nx"),
    cuts=st.lists(st.integers(1, 500), max_size=3),
    most=st.integers(1, 80),
)
def test_one_wrong_byte_or_a_limit_is_refused_as_one_by_one(
    reply: Node, place: int, byte: int, cuts: list[int], most: int
) -> None:
    data = bytearray(wire(reply))
    data[place % len(data)] = byte
    with pytest.MonkeyPatch.context() as patch:
        together = outcome(bytes(data), cuts), outcome(wire(reply), cuts, max_elements=most)
        patch.setattr(resp.protocol, "MANY", 1 << 40)
        assert together == (outcome(bytes(data), cuts), outcome(wire(reply), cuts, max_elements=most))


@pytest.mark.parametrize("score", [b",1\n,2", b",1_0", b", 1", b",.5", b",1.", b",1e", b"1", b",0x1", b",", b",1,2"])
def test_a_score_that_is_none_is_refused_among_many(score: bytes) -> None:
    pair = b"*2\r\n$1\r\na\r\n"
    data = b"*20\r\n" + (pair + b",1.5\r\n") * 9 + pair + score + CRLF + (pair + b",1.5\r\n") * 10
    assert outcome(data, []) == "refused"


@pytest.mark.parametrize("nulls", [b"_\r\n$-1\r\n", b"$-1\r\n_\r\n_\r\n", b"$-1\r\n$-1\r\n", b"_\r\n_\r\n_\r\n"])
def test_nulls_of_both_protocols_are_told_apart(nulls: bytes) -> None:
    count = nulls.count(b"\r\n")
    data = b"*%d\r\n" % (10 + count) + b"$1\r\na\r\n" * 5 + nulls + b"$0\r\n\r\n" * 5
    assert read(Parser(), data, []) == [[b"a"] * 5 + [None] * count + [b""] * 5]


STREAMS = {
    "plain": b"*5000\r\n" + b"$3\r\nabc\r\n" * 5000,
    "with line ends": b"*5000\r\n" + b"$3\r\na\r\n\r\n" * 5000,
    "every other one": b"*5000\r\n" + (b"$3\r\na\r\n\r\n" + b"$3\r\nabc\r\n") * 2500,
    "pairs": b"*2500\r\n" + b"*2\r\n$3\r\nabc\r\n,1.5\r\n" * 2500,
    "pairs with line ends": b"*2500\r\n" + b"*2\r\n$3\r\n\r\nc\r\n,1.5\r\n" * 2500,
    "nulls": b"*5000\r\n" + b"$3\r\nabc\r\n_\r\n" * 2500,
    "long": b"*50\r\n" + b"$2000\r\n" + b"$3\r\nabc\r\n\r\n" * 181 + b"xx" * 4 + b"\r\n",
    "deep": b"*9\r\n" * 400,
    "a line": b"*9\r\n+" + b"x" * 30000,
    "a map": b"%2500\r\n" + b"$3\r\nabc\r\n:1\r\n" * 2500,
}


@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("name", STREAMS)
def test_no_byte_is_split_again_and_again(name: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data, looked_at = STREAMS[name], [0]
    split = resp.lines.split

    def counting(part: bytes, most: int) -> list[bytes]:
        looked_at[0] += len(part)
        return split(part, most)

    monkeypatch.setattr(resp.protocol, "split", counting)
    parser = Parser()
    for start in range(0, len(data), step):
        parser.feed(data[start : start + step])
        parser.get()
    assert looked_at[0] <= 3 * len(data)


def test_what_is_usual_is_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The elements that are looked at one by one can be counted by the buffer's look for line ends: here, none."""
    calls = [0]
    real = Parser._header

    def counting(self: Parser, tag: int, line: bytearray, start: int) -> Any:
        calls[0] += 1
        return real(self, tag, line, start)

    monkeypatch.setattr(Parser, "_header", counting)
    for data in (
        b"%100\r\n" + b"$1\r\na\r\n$2\r\nbc\r\n" * 100,
        b"*100\r\n" + b"*2\r\n$1\r\na\r\n,1.5\r\n" * 100,
        b"*100\r\n" + b"_\r\n$1\r\na\r\n" * 50,
    ):
        parser = Parser()
        parser.feed(data)
        calls[0] = 0
        assert parser.get() is not INCOMPLETE
        assert calls[0] <= 3  # the aggregate itself, and its last element


def test_random_bytes_cut_at_random_come_back() -> None:
    random.seed(7)
    content = [Node("$", random.randbytes(random.randrange(30))) for _ in range(300)]
    data = wire(Node("*", content))
    expected = [node.content for node in content]
    for _ in range(200):
        cuts = sorted(random.randrange(1, len(data)) for _ in range(random.randrange(1, 9)))
        assert read(Parser(), data, cuts) == [expected]


strings = st.one_of(
    st.binary(max_size=12), st.text(max_size=8).map(str.encode), st.sampled_from([b"\xe2\x82", b"\xac", b"\0"])
)


@settings(max_examples=300, deadline=None)
@given(
    items=st.lists(st.one_of(strings, strings, st.none()), min_size=8, max_size=40),
    scores=st.lists(st.tuples(strings, st.floats(allow_nan=False)), min_size=8, max_size=20),
    fields=st.dictionaries(strings, strings, min_size=8, max_size=20),
)
def test_many_strings_are_decoded_as_one_by_one(
    items: list[bytes | None], scores: list[tuple[bytes, float]], fields: dict[bytes, bytes]
) -> None:
    def one(item: bytes | None) -> str | None:
        return None if item is None else item.decode("utf-8", "surrogateescape")

    full = [item for item in items if item is not None] * 8
    assert text(list(items)) == [one(item) for item in items]
    assert text(list(full)) == [one(item) for item in full]
    assert text([list(pair) for pair in scores]) == [[one(member), score] for member, score in scores]
    assert text(dict(fields)) == {one(name): one(item) for name, item in fields.items()}
