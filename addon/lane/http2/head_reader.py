# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""From the header blocks of one connection to the heads of requests, with a memory of what came before.

A block that leaves HPACK's table alone means the same until another changes it, so it is remembered until then. And
since browsers send the path as a literal, among fields that are indexed, what stands around the path is remembered by
itself: a new path costs two look-ups and no decoding of the rest.
"""

from addon.lane.http2.header_decoder import HeaderDecoder, HeaderList, decoded_string
from addon.lane.http2.heads import Common, Commons, Head

_MOST = 128
"""Blocks, and what stands around paths, that are remembered for a connection."""
_LONGEST = 512
_ROOM = 64 * 1024
"""Bytes of fields behind all of them: a few bytes that point into HPACK's table may stand for the largest list."""
_MOST_BEFORE = 6
"""Indexed fields before the path: those that come first are three."""


class HeadReader:
    """Reads the blocks of one connection, all of them, in order. State: HPACK's, and what is remembered."""

    __slots__ = ("_around", "_blocks", "_changed", "_commons", "_decoder", "_used")

    def __init__(self, commons: Commons, most: int) -> None:
        """commons: of all connections. most: bytes of a header list."""
        self._commons = commons
        self._decoder = HeaderDecoder(most)
        self._changed = 0
        self._blocks: dict[bytes, Head] = {}
        self._around: dict[bytes, Common] = {}
        self._used = 0

    def decode(self, block: bytes) -> HeaderList | None:
        """The fields of any block; None where they are too many. Raises CompressionFault."""
        headers = self._decoder.decode(block)
        if self._decoder.changed != self._changed:
            self._changed = self._decoder.changed
            self._forget()
        return headers

    def _forget(self) -> None:
        self._blocks.clear()
        self._around.clear()
        self._used = 0

    def known(self, block: bytes) -> Head | None:
        """A block as a request, where that is known without decoding it. Raises CompressionFault."""
        head = self._blocks.get(block)
        if head is None and (path := _path(block)) is not None:
            at, end = path
            common = self._around.get(block[:at] + block[end:])
            if common is not None and end <= len(block):
                return Head(common, decoded_string(block, at, end))
        return head

    def head(self, block: bytes) -> Head | None:
        """A block as a request; None where it is too long. Raises Malformed, CompressionFault."""
        head = self.known(block)
        if head is not None:
            return head
        changed = self._changed
        headers = self.decode(block)
        if headers is None:
            return None
        head = self._commons.head(headers)
        if changed != self._changed or len(block) > _LONGEST:
            return head
        cost = len(block) + len(head.target) + head.common.nbytes
        if len(self._blocks) + len(self._around) >= _MOST or self._used + cost > _ROOM:
            self._forget()
        self._used += cost
        if (path := _path(block)) is not None:
            self._around[block[: path[0]] + block[path[1] :]] = head.common
        else:
            self._blocks[block] = head
        return head


def _path(block: bytes) -> tuple[int, int] | None:
    """Where a block has its path, as a string of its own; it may say that it ends where the block does not go."""
    at = 0
    for byte in block[:_MOST_BEFORE]:
        if byte < 0x80 or byte == 0xFF:
            break
        at += 1
    # A literal without indexing, or never indexed, whose name is the static `:path`, with a length of one byte.
    if at + 2 < len(block) <= _LONGEST and block[at] & 0xEF == 0x04 and 0 < block[at + 1] & 0x7F < 0x7F:
        return at + 1, at + 2 + (block[at + 1] & 0x7F)
    return None
