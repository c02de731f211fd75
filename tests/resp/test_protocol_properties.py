# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What must hold for every reply, not only for those that somebody thought of.

A tree of nodes is written down twice: as the bytes that RESP3.md wants for it (`wire`) and as the value that `Parser`
promises (`value`). The writer here shares no line with `resp.protocol`, so a mistake would have to be made twice.
"""

import math
import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resp.encoding import encode_command
from resp.errors import ProtocolError, ServerError
from resp.protocol import Parser
from resp.values import INCOMPLETE

CRLF = b"\r\n"


@dataclass(frozen=True)
class Node:
    """One RESP value: its type byte, what it holds, and whether it is sent in the streamed form."""

    kind: str
    content: Any
    streamed: bool = False


def wire(node: Node) -> bytes:
    """`node` as RESP3.md writes it."""
    kind, content = node.kind, node.content
    mark = kind.encode()
    if kind in "+-(,":
        return b"%b%b\r\n" % (mark, content)
    if kind == ":":
        return b":%d\r\n" % content
    if kind == "#":
        return b"#t\r\n" if content else b"#f\r\n"
    if kind == "_":
        return {"resp3": b"_\r\n", "bulk": b"$-1\r\n", "array": b"*-1\r\n"}[content]
    if kind == "$" and node.streamed:
        chunks = b"".join(b";%d\r\n%b\r\n" % (len(chunk), chunk) for chunk in content)
        return b"$?\r\n" + chunks + b";0\r\n"
    if kind in "$!=":
        return mark + b"%d\r\n%b\r\n" % (len(content), content)
    if kind == "|":
        pairs, target = content
        return b"|%d\r\n" % len(pairs) + b"".join(wire(key) + wire(val) for key, val in pairs) + wire(target)
    elements = [part for pair in content for part in pair] if kind == "%" else content
    body = b"".join(wire(element) for element in elements)
    return mark + b"?\r\n" + body + b".\r\n" if node.streamed else mark + b"%d\r\n" % len(content) + body


def value(node: Node, in_key: bool = False) -> Any:
    """What `Parser` promises for `node`."""
    kind, content = node.kind, node.content
    if kind == "(":
        return int(content)
    if kind == ",":
        return float(content)
    if kind == "_":
        return None
    if kind == "$" and node.streamed:
        return b"".join(content)
    if kind == "=":
        return content[4:]
    if kind in "-!":
        return Failure(content.decode("utf-8", "replace"))
    if kind == "|":
        return value(content[1], in_key)
    if kind in "*~":
        items = [value(element, in_key) for element in content]
        return tuple(items) if in_key else items
    if kind == "%":
        pairs = {value(key, True): value(val, in_key) for key, val in content}
        return tuple(pairs.items()) if in_key else pairs
    return content


class Failure:
    """Stands for a ServerError; like that one it compares by identity, which matters where errors are keys."""

    def __init__(self, text: str) -> None:
        self.text = text


def comparable(found: Any) -> Any:
    """`found` with what does not compare by value (errors, NaN) made comparable, and with types told apart."""
    if isinstance(found, ServerError):
        return ("error", str(found).removeprefix("ERR "))
    if isinstance(found, Failure):
        return ("error", found.text.removeprefix("ERR "))
    if isinstance(found, float):
        return ("float", "nan" if math.isnan(found) else repr(found))
    if isinstance(found, dict):
        return ("map", [(comparable(key), comparable(val)) for key, val in found.items()])
    if isinstance(found, list | tuple):
        return (type(found).__name__, [comparable(element) for element in found])
    return (type(found).__name__, found)


line = st.binary(max_size=20).map(lambda data: data.replace(b"\r", b"").replace(b"\n", b""))
codes = st.sampled_from([b"ERR", b"WRONGTYPE", b"LOADING", b"MOVED 1 a:2", b"OOM"])
texts = st.binary(max_size=20).filter(lambda data: not data.startswith(b"ERR"))
leaves = st.one_of(
    line.map(lambda data: Node("+", data)),
    st.tuples(codes, st.text(st.characters(min_codepoint=65, max_codepoint=90), max_size=9)).map(
        lambda pair: Node("-", pair[0] + b" x" + pair[1].encode())
    ),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: Node(":", number)),
    st.binary(max_size=40).map(lambda data: Node("$", data)),
    st.lists(st.binary(min_size=1, max_size=12), max_size=4).map(lambda data: Node("$", data, True)),
    st.sampled_from(["resp3", "bulk", "array"]).map(lambda form: Node("_", form)),
    st.one_of(
        st.floats(allow_nan=False, allow_infinity=False).map(lambda number: repr(number).encode()),
        st.sampled_from([b"inf", b"-inf", b"nan", b"-nan", b"10", b"1e5", b"-1.5E-3"]),
    ).map(lambda data: Node(",", data)),
    st.booleans().map(lambda answer: Node("#", answer)),
    st.integers(-(10**60), 10**60).map(lambda number: Node("(", b"%d" % number)),
    codes.map(lambda code: Node("!", code + b" with\r\nlines")),
    st.binary(max_size=20).map(lambda data: Node("=", b"txt:" + data)),
)


def aggregates(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    lists, pairs = st.lists(children, max_size=4), st.lists(st.tuples(children, children), max_size=3)
    streamed = st.booleans()
    return st.one_of(
        st.builds(lambda content, flag: Node("*", content, flag), lists, streamed),
        st.builds(lambda content, flag: Node("~", content, flag), lists, streamed),
        st.builds(lambda content, flag: Node("%", content, flag), pairs, streamed),
        st.builds(lambda notes, target: Node("|", (notes, target)), pairs, children),
    )


trees = st.recursive(leaves, aggregates, max_leaves=12)
pushes = st.lists(leaves, max_size=3).map(lambda content: Node(">", [Node("$", b"kind"), *content]))


def replies(parser: Parser, data: bytes, cuts: list[int]) -> Iterator[Any]:
    """Every reply in `data`, fed in the pieces that end at `cuts`."""
    start = 0
    for end in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        parser.feed(data[start:end])
        start = end
        while (reply := parser.get()) is not INCOMPLETE:
            yield reply


def read(parser: Parser, data: bytes, cuts: list[int]) -> list[Any]:
    """All of them."""
    return list(replies(parser, data, cuts))


@settings(max_examples=300, deadline=None)
@given(replies=st.lists(st.one_of(trees, pushes), min_size=1, max_size=5), cuts=st.lists(st.integers(1, 600)))
def test_any_replies_come_back_however_they_are_split(replies: list[Node], cuts: list[int]) -> None:
    parser = Parser()
    found = read(parser, b"".join(wire(node) for node in replies), cuts)
    assert comparable(found) == comparable([value(node) for node in replies if node.kind != ">"])
    assert comparable([list(push) for push in parser.pushes]) == comparable(
        [[value(part) for part in node.content] for node in replies if node.kind == ">"]
    )
    assert parser.idle


@settings(max_examples=100, deadline=None)
@given(reply=trees)
def test_any_reply_comes_back_byte_by_byte(reply: Node) -> None:
    data = wire(reply)
    parser = Parser()
    for at, byte in enumerate(data):
        assert parser.get() is INCOMPLETE, f"a value after {at} of {len(data)} bytes"
        parser.feed(bytes((byte,)))
    assert comparable(parser.get()) == comparable(value(reply))


SIZES = [0, 1, 65_533, 65_534, 65_536, 262_141, 262_142, 262_144, 1 << 20, (16 << 20) + 1]


@pytest.mark.parametrize("size", SIZES)
def test_strings_around_the_sizes_of_the_buffer_come_back(size: int) -> None:
    rng = random.Random(size)
    content = rng.randbytes(size)
    data = b"$%d\r\n%b\r\n+next\r\n" % (size, content)
    for piece in (len(data), 1 + size // 7, 65_536):
        parser = Parser()
        assert read(parser, data, list(range(piece, len(data), piece))) == [content, b"next"]


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(1, 300)))
def test_any_bytes_end_in_values_or_in_a_protocol_error(data: bytes, cuts: list[int]) -> None:
    check_any_bytes(data, cuts)


fragments = st.one_of(
    st.sampled_from([bytes((byte,)) for byte in b"+-:$*_,#(!=%~>|;.?0123456789 \r\n"]),
    st.sampled_from([CRLF, b"$-1\r\n", b"*?\r\n", b"$?\r\n", b";0\r\n", b".\r\n", b"|1\r\n", b"%1\r\n", b"*2\r\n"]),
    st.integers(-3, 2**70).map(lambda number: b"%d" % number),
    leaves.map(wire),
)


@settings(max_examples=500, deadline=None)
@given(parts=st.lists(fragments, max_size=40), cuts=st.lists(st.integers(1, 200)))
def test_any_bytes_that_look_like_resp_end_in_values_or_in_a_protocol_error(
    parts: list[bytes], cuts: list[int]
) -> None:
    check_any_bytes(b"".join(parts), cuts)


@settings(max_examples=300, deadline=None)
@given(reply=trees, at=st.integers(0, 10_000), byte=st.integers(0, 255), cuts=st.lists(st.integers(1, 200)))
def test_a_reply_with_one_wrong_byte_ends_in_values_or_in_a_protocol_error(
    reply: Node, at: int, byte: int, cuts: list[int]
) -> None:
    data = bytearray(wire(reply))
    data[at % len(data)] = byte
    check_any_bytes(bytes(data), cuts)


def check_any_bytes(data: bytes, cuts: list[int]) -> None:
    """Whole or in pieces the outcome is the same, and a broken parser stays broken."""
    outcomes = []
    for where in ([], cuts):
        parser = Parser(max_bulk=1 << 20, max_elements=1000, max_depth=20)
        found: list[Any] = []
        error = None
        try:
            found.extend(replies(parser, data, where))  # what came before an error stays
        except ProtocolError as failure:
            error = str(failure)
            parser.feed(b"+OK\r\n")
            with pytest.raises(ProtocolError):
                parser.get()
        outcomes.append((comparable(found), error is None))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    "data",
    [
        b"$536870912\r\n",
        b"*33554432\r\n",
        b"%16777216\r\n",
        b"*1\r\n" * 400,
        b"!536870912\r\n$",
        b"$?\r\n;536870912\r\n",
        b"*2\r\n$536870912\r\nabc",
    ],
)
def test_a_length_costs_no_memory_before_its_bytes_come(data: bytes) -> None:
    tracemalloc.start()
    try:
        parser = Parser()
        parser.feed(data)
        assert parser.get() is INCOMPLETE
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@settings(max_examples=200, deadline=None)
@given(args=st.lists(st.binary(max_size=200), min_size=1, max_size=12))
def test_any_command_is_an_array_of_its_arguments(args: list[bytes]) -> None:
    parser = Parser()
    parser.feed(encode_command(*args))
    assert parser.get() == args
    assert parser.idle


@settings(max_examples=200, deadline=None)
@given(arg=st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.binary()))
def test_arguments_of_every_type_arrive_as_their_text(arg: str | int | float | bytes) -> None:
    if isinstance(arg, str) and any(0xD800 <= ord(sign) <= 0xDFFF for sign in arg):
        return
    parser = Parser()
    parser.feed(encode_command("SET", arg, bytearray(b"x"), memoryview(b"yz")))
    reply = parser.get()
    if isinstance(arg, float):
        assert float(reply[1]) == arg
    else:
        assert reply[1] == (arg if isinstance(arg, bytes) else str(arg).encode())
    assert reply[2:] == [b"x", b"yz"]
