# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""HPACK (RFC 7541) for answers: literals that leave the dynamic table alone, so a block is the same for everybody.

Such a block can be prepared with its answer, as the head of HTTP/1.1 is, and costs nothing to send again. A dynamic
table would save some bytes more than Huffman's code does, which is used, and cost the making of every block.
"""

from functools import lru_cache

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from addon.lane.http2.static_table import STATIC_NAMES, STATIC_PAIRS

_huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
_LONGEST_CODED = 1024
"""Bytes of a string that is put into Huffman's code, and of a value that is remembered: the library's time grows with
the square of them (16 KiB took 33 ms), and an address that a visitor made up comes back in `Location`."""
_NEVER_INDEXED = frozenset((b"set-cookie",))
"""What nobody on the way may keep in a table (§7.1.3)."""


def integer(value: int, prefix: int, first: int) -> bytes:
    """§5.1. prefix: bits of the first byte that are the value's; first: the other bits."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes((first | value,))
    out = bytearray((first | most,))
    value -= most
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(value: bytes) -> bytes:
    """§5.2, in the shorter of its two forms; as it is, where that is long."""
    if len(value) > _LONGEST_CODED:
        return integer(len(value), 7, 0) + value
    coded: bytes = _huffman.encode(value)
    if len(coded) < len(value):
        return integer(len(coded), 7, 0x80) + coded
    return integer(len(value), 7, 0) + value


def field(name: bytes, value: bytes) -> bytes:
    """One field, its name in any case; raises ValueError where it holds a line end."""
    return _remembered(name, value) if len(value) <= _LONGEST_CODED else _field(name, value)


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value or b"\r" in value or b"\0" in value:
        raise ValueError("a header field holds a line end")
    name = name.lower()
    pair = STATIC_PAIRS.get((name, value))
    if pair is not None:
        return bytes((0x80 | pair,))
    first = 0x10 if name in _NEVER_INDEXED else 0x00
    index = STATIC_NAMES.get(name)
    if index is not None:
        return integer(index, 4, first) + string(value)
    return bytes((first,)) + string(name) + string(value)


_remembered = lru_cache(maxsize=4096)(_field)


def status_field(status: int) -> bytes:
    """The first field of every answer."""
    return field(b":status", b"%d" % status)


def date_field(value: bytes) -> bytes:
    """A Date field, not in Huffman's code: it is made anew every second."""
    return integer(STATIC_NAMES[b"date"], 4, 0) + integer(len(value), 7, 0) + value
