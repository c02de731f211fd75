# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""HPACK (RFC 7541) for requests: blocks of bytes to lists of fields, with the dynamic table between them.

A loop over table look-ups, for that is what a browser's block is: a dozen indexed fields and a path. Three times as
fast as the library `hpack`, with which a test compares it. Lists and integers are bounded before they are made; of a
list that is too long only the table is kept right.
"""

from addon.lane.http2 import huffman
from addon.lane.http2.static_table import STATIC_TABLE

TABLE_SIZE = 4096
"""Bytes of a dynamic table, as everybody has it who says nothing else (RFC 9113 §6.5.2)."""
ENTRY_COST = 32
"""§4.1"""
_FIRST_DYNAMIC = len(STATIC_TABLE) + 1
_LONGEST_INTEGER = 5
"""Bytes after the first: 35 bits, more than any length here."""
_MOST_STRINGS = 4096
_LONGEST_STRING = 128

HeaderList = list[tuple[bytes, bytes]]

_strings: dict[bytes, bytes] = {}
"""Short strings in Huffman's code that were decoded lately: browsers send the same ones again and again."""


class CompressionFault(Exception):
    """A block is not HPACK; nothing that follows could be understood (§2.2)."""


class HeaderDecoder:
    """Decodes the blocks of one connection, all of them, in order. State: the dynamic table.

    changed: how often the table was changed. A block that did not change it means the same until one does.
    """

    __slots__ = ("_dynamic_size", "_most", "_size_limit", "changed", "table")

    def __init__(self, most: int) -> None:
        """most: bytes of a header list (names, values and 32 for each field, RFC 9113 §6.5.2)."""
        self._most = most
        self._size_limit = TABLE_SIZE
        self._dynamic_size = 0
        self.changed = 0
        # Both tables in one list, the newest entry first after the static ones; index 0 is nobody's.
        self.table: HeaderList = [(b"", b""), *STATIC_TABLE]

    def decode(self, block: bytes) -> HeaderList | None:
        """The fields; None where they are too many. Raises CompressionFault."""
        table, at, end = self.table, 0, len(block)
        found: HeaderList = []
        left = self._most
        fits = True
        while at < end:
            byte = block[at]
            if byte & 0x80:  # §6.1
                index = byte & 0x7F
                at += 1
                if index == 0x7F:
                    index, at = _integer(block, at, 0x7F)
                if not index or index >= len(table):
                    raise CompressionFault("an index that no table has")
                entry = table[index]
                left -= len(entry[0]) + len(entry[1]) + ENTRY_COST
            elif byte & 0xE0 == 0x20:  # §6.3, §4.2: only before the first field
                size, at = self._prefixed(block, at, 0x1F)
                if found or not fits or size > TABLE_SIZE:
                    raise CompressionFault("a table size that is too large, or in the wrong place")
                self._size_limit = size
                self._evict(size)
                self.changed += 1
                continue
            else:  # §6.2
                indexed = byte & 0x40
                index, at = self._prefixed(block, at, 0x3F if indexed else 0x0F)
                if index:
                    if index >= len(table):
                        raise CompressionFault("an index that no table has")
                    name = table[index][0]
                else:
                    name, at = _string(block, at)
                value, at = _string(block, at)
                entry = (name, value)
                cost = len(name) + len(value) + ENTRY_COST
                left -= cost
                if indexed:
                    self._add(entry, cost)
            if left < 0:
                fits = False
            elif fits:
                found.append(entry)
        return found if fits else None

    def _add(self, entry: tuple[bytes, bytes], cost: int) -> None:
        self.changed += 1
        self._evict(self._size_limit - cost)
        if cost <= self._size_limit:  # else the table is empty now (§4.4)
            self.table.insert(_FIRST_DYNAMIC, entry)
            self._dynamic_size += cost

    def _evict(self, size: int) -> None:
        while self._dynamic_size > size and len(self.table) > _FIRST_DYNAMIC:
            name, value = self.table.pop()
            self._dynamic_size -= len(name) + len(value) + ENTRY_COST

    @staticmethod
    def _prefixed(block: bytes, at: int, most: int) -> tuple[int, int]:
        value = block[at] & most
        return (value, at + 1) if value < most else _integer(block, at + 1, most)


def _integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """The bytes after a prefix that is all ones (§5.1)."""
    shift = 0
    for byte in block[at : at + _LONGEST_INTEGER]:
        value += (byte & 0x7F) << shift
        shift += 7
        at += 1
        if byte < 0x80:
            return value, at
    raise CompressionFault("an integer that does not end")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """§5.2"""
    if at >= len(block):
        raise CompressionFault("a string that is missing")
    first = block[at]
    size = first & 0x7F
    at += 1
    if size == 0x7F:
        size, at = _integer(block, at, 0x7F)
    end = at + size
    if end > len(block):
        raise CompressionFault("a string that is longer than its block")
    data = block[at:end]
    return (_plain(data) if first & 0x80 else data), end


def decoded_string(block: bytes, at: int, end: int) -> bytes:
    """A string whose length takes one byte, at `at`, and that reaches up to `end`. Raises CompressionFault."""
    data = block[at + 1 : end]
    return _plain(data) if block[at] & 0x80 else data


def _plain(data: bytes) -> bytes:
    """A string in Huffman's code, decoded."""
    found = _strings.get(data)
    if found is None:
        try:
            found = huffman.decode(data)
        except huffman.HuffmanFault:
            raise CompressionFault("a string that is not in Huffman's code") from None
        if len(data) <= _LONGEST_STRING:
            if len(_strings) >= _MOST_STRINGS:
                _strings.clear()
            _strings[data] = found
    return found
