# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Huffman's code of HPACK (RFC 7541 §5.2, Appendix B), a byte at a time.

The library `hpack` goes by half bytes, which takes 6 ms for a field of 15 KB, and others wait for as long. Here one
look-up tells what a byte completes and which node of the code's tree it leads to: a quarter of that. The code itself is
the library's table; a test holds both beside each other.
"""

from itertools import product
from typing import Any, Final

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

_END: Final = 256
"""EOS: a symbol that must not come whole; its first bits, all ones, fill the last byte."""
_LONGEST_PADDING: Final = 7

_Row = list[tuple[bytes | None, Any]]


class HuffmanFault(Exception):
    """A string is not in Huffman's code."""


def _tree() -> tuple[list[list[int]], list[int]]:
    """The inner nodes: for each bit the node that follows, or `~symbol`. And which may stand at the end of a string."""
    nodes = [[0, 0]]
    endings = [0]
    for symbol, (code, length) in enumerate(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)):
        node = 0
        for place in range(length - 1, 0, -1):
            bit = code >> place & 1
            if not nodes[node][bit]:
                nodes[node][bit] = len(nodes)
                nodes.append([0, 0])
            node = nodes[node][bit]
            if symbol == _END and length - place <= _LONGEST_PADDING:
                endings.append(node)
        nodes[node][code & 1] = ~symbol
    return nodes, endings


def _halves(nodes: list[list[int]]) -> list[list[tuple[int, bytes | None]]]:
    """For each node and half byte: the node that it leads to, and the symbols on the way; None for EOS."""
    table = []
    for start in range(len(nodes)):
        row: list[tuple[int, bytes | None]] = []
        for bits in product((0, 1), repeat=4):
            node, symbols = start, b""
            for bit in bits:
                node = nodes[node][bit]
                if node < 0:
                    if node == ~_END:
                        break
                    symbols += bytes((~node,))
                    node = 0
            row.append((0, None) if node < 0 else (node, symbols))
        table.append(row)
    return table


def _rows() -> tuple[list[_Row], frozenset[int]]:
    """For each node a row: for each byte the symbols, None for EOS, and the row of the node that follows. And the rows
    at which a string may end, by `id`."""
    nodes, endings = _tree()
    halves = _halves(nodes)
    rows: list[_Row] = [[] for _ in nodes]
    one: dict[bytes, bytes] = {}  # each text once
    for row, of_node in zip(rows, halves, strict=True):
        for middle, first in of_node:
            for node, second in halves[middle]:
                text = None if first is None or second is None else first + second
                row.append((text if text is None else one.setdefault(text, text), rows[node]))
    return rows, frozenset(id(rows[node]) for node in endings)


_ROWS, _ENDINGS = _rows()


def decode(data: bytes) -> bytes:
    """What a string stands for. Raises HuffmanFault."""
    row = _ROWS[0]
    found: list[Any] = []
    add = found.append
    for byte in data:
        text, row = row[byte]
        add(text)
    if id(row) not in _ENDINGS:
        raise HuffmanFault("a string that ends inside a symbol")
    try:
        return b"".join(found)
    except TypeError:
        raise HuffmanFault("the end of the code inside a string") from None
