# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What replies become: the values, pushes, and those types of RESP that are one line.

No buffer, no state: a line in, a value out. Surprising: `int` and `float` of Python take more than RESP allows
(spaces, underscores), so every number is matched against the protocol's own grammar first.
"""

from __future__ import annotations

import re
from typing import Any, Final

from resp.errors import ProtocolError, server_error

#: A reply: bytes, int, float, bool, None, list, dict, or a ServerError as a value. Nested lists and dicts of these.
Value = Any


class Incomplete:
    """The type of `INCOMPLETE`, which `Parser.get` returns while the reply is not all there."""

    def __repr__(self) -> str:
        return "INCOMPLETE"


INCOMPLETE: Final[Any] = Incomplete()

_INTEGER: Final = re.compile(rb"[+-]?[0-9]+\Z")
_DOUBLE: Final = re.compile(
    rb"(?:[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|[+-]?[iI][nN][fF]|[+-]?[nN][aA][nN](?:\([0-9A-Za-z_]*\))?)\Z"
)
_INT64_MAX: Final = 2**63 - 1


class Push(list[Any]):
    """An out-of-band message of the server (RESP3 `>`): its elements; `kind` is the first of them, e.g. b"message"."""

    @property
    def kind(self) -> bytes:
        """The first element: what this message is about (`message`, `invalidate`, …)."""
        first = self[0]
        return first if isinstance(first, bytes) else str(first).encode()


def scalar(tag: int, line: bytes | bytearray) -> Value:
    """The value of a line of type `tag` (its byte), or INCOMPLETE if that type is none that fits into a line.

    Raises ProtocolError.
    """
    if 13 in line:
        raise ProtocolError("a carriage return inside a line")
    if tag == 43:  # +
        return bytes(line)
    if tag == 45:  # -
        return server_error(bytes(line))
    if tag == 58:  # :
        if not _INTEGER.match(line) or len(line) > 20:
            raise ProtocolError(f"not an integer: {excerpt(line)}")
        number = int(line)
        if not -_INT64_MAX - 1 <= number <= _INT64_MAX:
            raise ProtocolError("an integer has more than 64 bits")
        return number
    if tag == 95:  # _
        if line:
            raise ProtocolError("a null with content")
        return None
    if tag == 35:  # #
        if line == b"t":
            return True
        if line == b"f":
            return False
        raise ProtocolError(f"not a boolean: {excerpt(line)}")
    if tag == 44:  # ,
        if not _DOUBLE.match(line):
            raise ProtocolError(f"not a double: {excerpt(line)}")
        return float(line.partition(b"(")[0])
    if tag == 40:  # (
        if not _INTEGER.match(line):
            raise ProtocolError(f"not a big number: {excerpt(line)}")
        return _big_number(bytes(line))
    return INCOMPLETE


def excerpt(line: bytes | bytearray) -> str:
    """The beginning of a line, for a message."""
    return repr(bytes(line[:24]))


def _big_number(digits: bytes) -> int:
    """`int` without its limit of 4300 digits; quadratic, but a line has a limit of its own."""
    step = 4096
    if len(digits) <= step:
        return int(digits)
    sign = -1 if digits[:1] == b"-" else 1
    digits = digits.lstrip(b"+-")
    number = 0
    for start in range(0, len(digits), step):
        part = digits[start : start + step]
        number = number * 10 ** len(part) + int(part)
    return sign * number


def text(value: Value) -> Value:
    """A reply with `str` in the place of `bytes`, at any depth; bytes that are not UTF-8 become surrogate escapes.

    Lists and dicts are changed in place. They are taken one after the other, because a reply may be nested deeper
    than the caller's stack has room for.
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, tuple):
        return _key_text(value)
    if not isinstance(value, list | dict):
        return value
    open_ones: list[Any] = [value]
    while open_ones:
        inner = open_ones.pop()
        if len(inner) >= MANY and _all_at_once(inner):
            continue
        if isinstance(inner, dict):
            pairs = [(_key_text(key), item) for key, item in inner.items()]
            inner.clear()
            inner.update(pairs)
        for place, item in inner.items() if isinstance(inner, dict) else enumerate(inner):
            if isinstance(item, bytes):
                inner[place] = item.decode("utf-8", "surrogateescape")
            elif isinstance(item, list | dict):
                open_ones.append(item)
            elif isinstance(item, tuple):
                inner[place] = _key_text(item)
    return value


#: So many elements are worth a look whether they can be decoded at once.
MANY: Final = 8
#: So many bytes at most are decoded in one go.
_AT_ONCE: Final = 256 * 1024
_BYTES: Final = frozenset((bytes,))
_BYTES_AND_NULLS: Final = frozenset((bytes, type(None)))


def _all_at_once(inner: list[Any] | dict[Any, Any]) -> bool:
    """Decode all of a list or dict in place, if it is of strings, or of lists that begin with one; False if not."""
    if isinstance(inner, dict):
        keys, values = list(inner), list(inner.values())
        if not (_BYTES.issuperset(map(type, keys)) and _BYTES.issuperset(map(type, values))):
            return False
        pairs = zip(_texts(keys), _texts(values))
        inner.clear()
        inner.update(pairs)
        return True
    kinds = set(map(type, inner))
    if _BYTES.issuperset(kinds):
        inner[:] = _texts(inner)
    elif _BYTES_AND_NULLS.issuperset(kinds):
        inner[:] = [None if item is None else item.decode("utf-8", "surrogateescape") for item in inner]
    elif kinds == {list} and set(map(len, inner)) == {2}:
        # Members with their scores.
        first, second = zip(*inner)
        if not (_BYTES.issuperset(map(type, first)) and set(map(type, second)) == {float}):
            return False
        for pair, one in zip(inner, _texts(list(first))):
            pair[0] = one
    else:
        return False
    return True


def _texts(strings: list[bytes]) -> list[str]:
    """Each of the strings decoded: in one go, unless one of them has a zero byte, which stands between them there."""
    # What is long would be in memory several times, and gains nothing.
    if sum(map(len, strings)) <= _AT_ONCE:
        found = b"\0".join(strings).decode("utf-8", "surrogateescape").split("\0")
        if len(found) == len(strings):
            return found
    return [string.decode("utf-8", "surrogateescape") for string in strings]


def _key_text(key: Value) -> Value:
    """The same for the key of a map, which may be a tuple of tuples."""
    if isinstance(key, bytes):
        return key.decode("utf-8", "surrogateescape")
    if not isinstance(key, tuple):
        return key
    try:
        return tuple(_key_text(item) for item in key)
    except RecursionError:
        raise ProtocolError("the key of a map is nested too deep to be decoded") from None
