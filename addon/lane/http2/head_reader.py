# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""From the header blocks of one connection to the heads of requests, with a memory of what came before.

A block that leaves HPACK's table alone means the same until another changes it, so it is remembered until then. And
since browsers send the path as a literal, among fields that are indexed, what stands around the path is remembered by
itself: a new path costs two look-ups and no decoding of the rest.
"""

import re

from addon.lane.http2.header_decoder import HeaderDecoder, HeaderList, decoded_string
from addon.lane.http2.heads import Common, Commons, Head

_MOST = 128
"""Blocks, and what stands around paths, that are remembered for a connection."""
_LONGEST = 512
_ROOM = 64 * 1024
"""Bytes of fields behind all of them: a few bytes that point into HPACK's table may stand for the largest list."""
_PATH = re.compile(rb"[\x80-\xfe]{0,6}+[\x04\x14]([\x01-\x7e\x81-\xfe])(?s:.)").match
"""Where a block has its path, as a string of its own: behind a few indexed fields (those that come first are three), a
literal without indexing, or never indexed, whose name is the static `:path`, and whose length takes one byte. It may
say that it ends where the block does not go."""


class HeadReader:
    """Reads the blocks of one connection, all of them, in order. State: HPACK's, and what is remembered."""

    __slots__ = ("_around", "_block", "_blocks", "_changed", "_commons", "_decoder", "_parts", "_used")

    def __init__(self, commons: Commons, most: int) -> None:
        """commons: of all connections. most: bytes of a header list."""
        self._commons = commons
        self._decoder = HeaderDecoder(most)
        self._changed = 0
        self._blocks: dict[bytes, Head] = {}
        self._around: dict[bytes, Common] = {}
        self._used = 0
        self._block = b""  # the last one whose path is a literal, and what it means
        self._parts: tuple[Common, bytes] | None = None

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
        self._block, self._parts = b"", None

    def known(self, block: bytes) -> tuple[Common, bytes] | None:
        """The parts of a block's `Head`, where that is known without decoding it. Raises CompressionFault."""
        if block == self._block:
            return self._parts
        head = self._blocks.get(block)
        if head is None and (path := _PATH(block)) is not None and len(block) <= _LONGEST:
            at = path.start(1)
            end = at + 1 + (block[at] & 0x7F)
            common = self._around.get(block[:at] + block[end:])
            if common is not None and end <= len(block):
                # Not yet a `Head`, to make which takes as long as all of this.
                parts = (common, decoded_string(block, at, end))
                self._block, self._parts = block, parts
                return parts
        return head

    def head(self, block: bytes) -> Head | None:
        """A block as a request; None where it is too long. Raises Malformed, CompressionFault."""
        known = self.known(block)
        if known is not None:
            return Head(*known)
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
        if (path := _PATH(block)) is not None:
            at = path.start(1)
            self._around[block[:at] + block[at + 1 + (block[at] & 0x7F) :]] = head.common
        else:
            self._blocks[block] = head
        return head
