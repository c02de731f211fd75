# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Many elements of an aggregate at once, where they lie in the buffer as lines.

Splitting the bytes at every CRLF is one call into C and so are the comparisons that follow, while looking at one
element after the other costs a microsecond each: this is what makes HGETALL of a hundred fields faster here than in a
client with a parser in C. It is right for strings that have no CRLF in them, and that is checked, not believed: such a
string is as long as its header says, and one that was cut at a CRLF is shorter. Surprising: whatever is in any way
unusual (a long string, a deep nesting, an error) is not handled but left where it is, for the parser to look at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from resp.encoding import STRING_HEADS
from resp.errors import ProtocolError
from resp.values import Value, scalar

CRLF: Final = b"\r\n"
_head_of: Final = STRING_HEADS.__getitem__
# Types of one short line: null, integer, double, boolean.
_SHORT: Final = frozenset(b"_:,#")
_LONGEST_LINE: Final = 40
# The most elements of an aggregate inside the aggregate.
_SMALL: Final = {b"*%d" % size: size for size in range(1, 17)}
_NULLS: Final = frozenset((b"$-1", b"_"))
_DOUBLES: Final = re.compile(rb"(?:,[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?:\n|\Z))+\Z")


def strings(data: bytes, most: int) -> tuple[list[Value], int]:
    """The strings, and nulls of RESP3 among them, at the beginning, and how many bytes they take; none if in doubt."""
    # `in` would look at its left side as a number first, at the price of an exception inside.
    nulls = data.find(b"_\r\n") >= 0 and (data.startswith(b"_") or data.find(b"\r\n_\r\n") >= 0)
    if nulls:
        if data.find(b"$-1\r\n") >= 0:  # the null of RESP2, for which the one of RESP3 is about to be taken
            return [], 0
        # They get two lines, as strings have. Inside of a string with CRLF this does no harm: it is found out all the
        # same, since what stands before its first CRLF is shorter than its header says. Twice, for neighbours.
        data = (CRLF + data).replace(b"\r\n_\r\n", _NULL).replace(b"\r\n_\r\n", _NULL)[2:]
    lines = data.split(CRLF, 2 * most)
    size = len(data) - len(lines.pop())
    if len(lines) & 1:
        size -= len(lines.pop()) + 2
    heads: list[bytes] = lines[0::2]
    values: list[Value] = lines[1::2]
    try:
        expected = list(map(_head_of, map(len, values)))
    except IndexError:
        return [], 0
    if nulls:
        for place, head in enumerate(heads):
            if head == b"$-1":
                expected[place], values[place] = head, None
                size -= 4
    return (values, size) if expected == heads else ([], 0)


_NULL: Final = b"\r\n$-1\r\n\r\n"


def pairs(data: bytes, most: int) -> tuple[list[Value], int]:
    """The arrays of a string and a double, or of two strings, at the beginning, and their bytes; none if in doubt."""
    form = data.split(CRLF, 4)
    if len(form) < 5 or form[0] != b"*2":
        return [], 0
    doubles = form[3].startswith(b",")
    each = 4 if doubles else 5
    lines = data.split(CRLF, each * most)
    size = len(data) - len(lines.pop())
    count = len(lines) // each
    for line in lines[count * each :]:
        size -= len(line) + 2
    del lines[count * each :]
    first, others = lines[2::each], lines[each - 1 :: each]
    try:
        if lines[0::each] != [b"*2"] * count or lines[1::each] != list(map(_head_of, map(len, first))):
            return [], 0
        if not doubles:
            return (_two(first, others), size) if lines[3::5] == list(map(_head_of, map(len, others))) else ([], 0)
        scores = b"\n".join(others)
        if not _DOUBLES.match(scores):
            return [], 0
        numbers = list(map(float, scores[1:].split(b"\n,")))
        # More of them, if a line had a line feed in it.
        return (_two(first, numbers), size) if len(numbers) == count else ([], 0)
    except (IndexError, ValueError):
        return [], 0


def _two(first: Sequence[Value], second: Sequence[Value]) -> list[Value]:
    return list(map(list, zip(first, second)))


def split(data: bytes, most: int) -> list[bytes]:
    """The whole lines at the beginning of some bytes, enough for `most` elements that are as the first one is."""
    each = 2
    if data[0] == 42:  # *
        each += 2 * _SMALL.get(data[:4].partition(b"\r")[0], 0)
    lines = data.split(CRLF, each * most)
    lines.pop()
    return lines


def leaves(lines: list[bytes], most: int, nested: bool) -> tuple[list[Value], int, int]:
    """The elements at the beginning of some lines, one after the other; nested: small arrays of leaves among them.

    Returns them, how many lines they took, and how many more elements are inside them. Ends before anything unusual.
    """
    found: list[Value] = []
    inner: list[Value] = []  # an array that is being filled
    place = taken = left = extra = 0
    count = len(lines)
    try:
        while place < count and len(found) < most:
            line = lines[place]
            kind = line[0]
            value: Value
            if kind == 36 and line not in _NULLS:  # $
                if place + 1 == count:
                    break
                value = lines[place + 1]
                if _head_of(len(value)) != line:
                    break
                place += 2
            elif kind == 42 and nested and not left and line in _SMALL:  # *
                left, inner = _SMALL[line], []
                place += 1
                continue
            else:
                if line in _NULLS:
                    value = None
                elif kind not in _SHORT or len(line) > _LONGEST_LINE:
                    break
                else:
                    value = scalar(kind, line[1:])
                place += 1
            if left:
                inner.append(value)
                left -= 1
                if left:
                    continue
                value = inner
                extra += len(inner)
            found.append(value)
            taken = place
    except (IndexError, ProtocolError):
        # An empty line, a long string, a number that is none: what it is, the parser finds out.
        pass
    return found, taken, extra
