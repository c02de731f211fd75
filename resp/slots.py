# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The slot of a key in a cluster. Which shard has a slot is in `resp.slot_map`."""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

from resp.encoding import Argument, encode_argument

SLOTS: Final = 16384
LAST_SLOT: Final = SLOTS - 1


def key_slot(key: Argument) -> int:
    """The slot of a key: CRC16 of it, or of what stands between its first braces (its hash tag)."""
    data = key if type(key) is bytes else bytes(encode_argument(key))
    start = data.find(b"{")
    if start >= 0:
        end = data.find(b"}", start + 1)
        if end > start + 1:
            data = data[start + 1 : end]
    return crc_hqx(data, 0) % SLOTS
