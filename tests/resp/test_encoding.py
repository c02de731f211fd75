# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What may be an argument of a command, and how it goes over the wire."""

import array
import enum
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resp import encoding
from resp.encoding import LARGE_ARGUMENT, encode_command, encode_request
from resp.errors import InvalidArgument, RespError


class Colour(enum.IntEnum):
    RED = 3


class Name(str):
    __slots__ = ()


def short(item: object) -> str:
    """A name for a case, the same in every process."""
    if isinstance(item, int) and item > 2**100:
        return "a huge int"
    return repr(item).partition(" at 0x")[0][:30]


def test_many_words_of_which_one_is_no_text_are_refused_like_one() -> None:
    for words in ("x", "abcdefghi"):
        # From the second time on, many words are encoded in one go.
        first, second = (joined(encode_request(["RPUSH", "key", *words])) for _ in range(2))
        assert first == second
        with pytest.raises(InvalidArgument):
            encode_request(["RPUSH", "key", *words[1:], "\ud800"])


def joined(request: bytes | list[bytes | memoryview]) -> bytes:
    return request if isinstance(request, bytes) else b"".join(request)


GOOD: list[tuple[Any, bytes]] = [
    (b"bytes", b"bytes"),
    (b"", b""),
    (b"\r\n\x00\xff", b"\r\n\x00\xff"),
    (bytearray(b"array"), b"array"),
    (memoryview(b"view"), b"view"),
    (memoryview(b"0123456789")[::2], b"02468"),
    (memoryview(array.array("H", [1, 2])), array.array("H", [1, 2]).tobytes()),
    (array.array("B", b"abc"), b"abc"),
    ("text", b"text"),
    ("", b""),
    ("grün €", "grün €".encode()),
    ("\udcff", b"\xff"),
    (Name("name"), b"name"),
    (0, b"0"),
    (-5, b"-5"),
    (2**70, str(2**70).encode()),
    (Colour.RED, b"3"),
    (1.5, b"1.5"),
    (0.1, b"0.1"),
    (1e100, b"1e+100"),
    (float("inf"), b"inf"),
]

BAD: list[Any] = [None, True, False, [], (), {}, set(), object(), Decimal("1"), 1j, "\ud800", 10**5000]


@pytest.mark.parametrize(("value", "wire"), GOOD, ids=short)
@pytest.mark.parametrize("encode", [encode_command, lambda *args: joined(encode_request(args))])
def test_an_argument_is_sent_as_its_bytes(value: Any, wire: bytes, encode: Callable[..., bytes]) -> None:
    assert encode("SET", value) == b"*2\r\n$3\r\nSET\r\n$%d\r\n%b\r\n" % (len(wire), wire)


@pytest.mark.parametrize("value", BAD, ids=short)
@pytest.mark.parametrize("encode", [encode_command, lambda *args: encode_request(args)])
def test_what_cannot_be_sent_is_refused_with_an_error_of_this_package(value: Any, encode: Callable[..., Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        encode("SET", value)
    assert isinstance(caught.value, RespError)


def test_the_message_says_what_was_refused() -> None:
    with pytest.raises(InvalidArgument, match="None"):
        encode_command("SET", "key", None)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(InvalidArgument, match="Decimal"):
        encode_command("SET", "key", Decimal(1))  # type: ignore[arg-type]  # that is the point


def test_a_command_needs_a_name() -> None:
    with pytest.raises(InvalidArgument):
        encode_command()
    with pytest.raises(InvalidArgument):
        encode_request(())


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_large_values_are_not_copied(make: Callable[[bytes], Any]) -> None:
    value = make(b"x" * LARGE_ARGUMENT)
    pieces = encode_request(("SET", "key", value, "EX", 5))
    assert not isinstance(pieces, bytes)
    assert b"".join(pieces) == encode_command("SET", "key", value, "EX", 5)
    assert any(piece is value or getattr(piece, "obj", None) is getattr(value, "obj", value) for piece in pieces)


words = st.one_of(
    st.text(max_size=8), st.binary(max_size=8), st.sampled_from(["a\0b", "\udcff", "x" * 1023, "x" * 1024, b"\0", "ü"])
)


@settings(max_examples=300, deadline=None)
@given(
    args=st.one_of(
        st.lists(st.text(max_size=8), min_size=7, max_size=30),
        st.lists(st.binary(max_size=8), min_size=7, max_size=30),
        st.lists(words, min_size=7, max_size=30),
        st.lists(st.one_of(words, st.integers()), min_size=7, max_size=30),
    )
)
def test_many_words_are_encoded_as_one_by_one(args: list[Any]) -> None:
    for _ in range(2):  # what a command begins with is remembered after the first time
        assert encode_request(["MGET", *args]) == encode_command("MGET", *args)


@pytest.mark.parametrize("size", [1, 999, encoding._CHUNK - 1, encoding._CHUNK])
def test_small_pieces_are_sent_together_up_to_a_size(size: int) -> None:
    requests: list[Any] = [bytes(size)] * (4 * encoding._CHUNK // size + 1)
    found = list(encoding.chunks(requests))
    assert b"".join(found) == bytes(size * len(requests))
    assert len(found) >= 3
    assert all(encoding._CHUNK <= len(chunk) < encoding._CHUNK + size for chunk in found[:-1])
