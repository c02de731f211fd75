# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Values out of lines, and text out of values: the ends of what is taken, and that no byte is lost."""

import math
from typing import Any

import pytest

from resp import ProtocolError, Push, ServerError
from resp.errors import WrongType
from resp.values import INCOMPLETE, scalar, text

LINES: list[tuple[bytes, bytes, Any]] = [
    (b"+", b"OK", b"OK"),
    (b"+", b"", b""),
    (b":", b"0", 0),
    (b":", b"+7", 7),
    (b":", b"-7", -7),
    (b":", b"9223372036854775807", 2**63 - 1),
    (b":", b"-9223372036854775808", -(2**63)),
    (b":", b"00000000000000000007", 7),
    (b"_", b"", None),
    (b"#", b"t", True),
    (b"#", b"f", False),
    (b",", b"1", 1.0),
    (b",", b"-1.5e+3", -1500.0),
    (b",", b"inf", math.inf),
    (b",", b"-INF", -math.inf),
    (b"(", b"-123456789012345678901234567890", -123456789012345678901234567890),
    (b"(", b"9" * 4096, 10**4096 - 1),
    (b"(", b"9" * 4097, 10**4097 - 1),
    (b"(", b"-" + b"9" * 9000, 1 - 10**9000),
    (b"(", b"+" + b"9" * 9000, 10**9000 - 1),
    (b"$", b"3", INCOMPLETE),
    (b"*", b"3", INCOMPLETE),
]


@pytest.mark.parametrize(("tag", "line", "value"), LINES, ids=range(len(LINES)))
def test_a_line_is_the_value_that_the_protocol_says(tag: bytes, line: bytes, value: Any) -> None:
    found = scalar(tag[0], line)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("line", [b"nan", b"NaN", b"-nan", b"nan(abc_1)"])
def test_what_is_not_a_number_is_that(line: bytes) -> None:
    assert math.isnan(scalar(44, line))


@pytest.mark.parametrize(
    ("tag", "line", "said"),
    [
        (b"+", b"a\rb", "carriage return"),
        (b":", b"", "not an integer"),
        (b":", b"1_0", "not an integer"),
        (b":", b" 1", "not an integer"),
        (b":", b"1\n", "not an integer"),
        (b":", b"000000000000000000007", "not an integer"),
        (b":", b"9223372036854775808", "64 bits"),
        (b":", b"-9223372036854775809", "64 bits"),
        (b"_", b"x", "null with content"),
        (b"#", b"T", "not a boolean"),
        (b",", b"1.", "not a double"),
        (b",", b"1_0", "not a double"),
        (b",", b"infinity", "not a double"),
        (b",", b"nan(-)", "not a double"),
        (b"(", b"1.0", "not a big number"),
        (b":", b"x" * 100, r"b'x{24}'$"),
    ],
)
def test_anything_else_is_refused_with_its_beginning(tag: bytes, line: bytes, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        scalar(tag[0], line)


def test_an_error_is_a_value_of_its_own_type() -> None:
    found = scalar(45, b"WRONGTYPE no list")
    assert isinstance(found, WrongType)
    assert isinstance(scalar(45, b"MINE anything"), ServerError)
    assert repr(INCOMPLETE) == "INCOMPLETE"
    assert [Push(first).kind for first in ([b"message"], [7])] == [b"message", b"7"]


ODD = b"\xff\x00\n"
"""Neither UTF-8 nor without the byte that stands between strings that are decoded together."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\xffa", "\udcffa"),
        (7, 7),
        (None, None),
        ((b"a", (b"b", 1)), ("a", ("b", 1))),
        (
            [b"a", 1, None, [b"b"], {b"c": b"d", 2: [b"e"]}, (b"f",)],
            ["a", 1, None, ["b"], {"c": "d", 2: ["e"]}, ("f",)],
        ),
        ({(b"a", (b"b",)): (b"c", 1)}, {("a", ("b",)): ("c", 1)}),
        ([b"%d" % at for at in range(7)], [str(at) for at in range(7)]),
        ([b"%d" % at for at in range(8)], [str(at) for at in range(8)]),
        ([ODD] * 8, [ODD.decode("utf-8", "surrogateescape")] * 8),
        ([b"x" * 40_000] * 8, ["x" * 40_000] * 8),
        ([b"a", None] * 8, ["a", None] * 8),
        ([b"a", 1] * 8, ["a", 1] * 8),
        ([[b"a", 1.5] for _ in range(8)], [["a", 1.5] for _ in range(8)]),
        ([[b"a", b"b"] for _ in range(8)], [["a", "b"] for _ in range(8)]),
        ([[b"a", 1.5, b"c"] for _ in range(8)], [["a", 1.5, "c"] for _ in range(8)]),
        ([[1, 1.5] for _ in range(8)], [[1, 1.5] for _ in range(8)]),
        ([[b"a", 1.5], [b"b"]] * 4, [["a", 1.5], ["b"]] * 4),
        ({b"%d" % at: b"v" for at in range(8)}, {str(at): "v" for at in range(8)}),
        ({b"%d" % at: at for at in range(8)}, {str(at): at for at in range(8)}),
        (dict.fromkeys(range(8), b"v"), dict.fromkeys(range(8), "v")),
        ({b"%d" % at: [b"v"] for at in range(8)}, {str(at): ["v"] for at in range(8)}),
        (
            {ODD + b"%d" % at: ODD for at in range(8)},
            {
                (ODD + b"%d" % at).decode("utf-8", "surrogateescape"): ODD.decode("utf-8", "surrogateescape")
                for at in range(8)
            },
        ),
    ],
    ids=range(22),
)
def test_text_stands_in_the_place_of_bytes_at_any_depth(value: Any, expected: Any) -> None:
    kind = type(value)
    found = text(value)
    assert found == expected
    assert found is value or kind in (bytes, tuple)


def test_no_depth_is_too_much_but_for_the_key_of_a_map() -> None:
    value: list[Any] = [b"x"]
    for _ in range(100_000):
        value = [value]
    inner: Any = text(value)
    while inner != ["x"]:
        inner = inner[0]
    key: Any = b"x"
    for _ in range(100_000):
        key = (key,)
    with pytest.raises(ProtocolError, match="too deep"):
        text({key: 1})
    while isinstance(key, tuple):  # Python would take as long to end it as it took to nest it
        key = key[0]
