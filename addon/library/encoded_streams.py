# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Files too large for memory in a content coding: encoded on threads while they pass.

Few at once, because each holds an encoder of some megabytes for as long as its reader takes; who finds no place is
sent the file itself, and waits for nobody. Each piece is a piece of work among others' in fair turns. What comes out
is kept like any other form where it is small enough, so that a script bundle is encoded once and has a length from
then on. The surprise: pieces are cut to one size first, so that the same file gives the same bytes however it came:
its entity tag is a strong one.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager

from addon.library.memory import Memory
from addon.net.fair_queue import FairQueue, Party
from addon.web.codings import Encoder

AT_ONCE = 8
"""Files that are encoded on their way at one time; an encoder and what it has not sent take up to 12 MiB."""
AT_ONCE_OF_ONE = 4
"""Of one owner."""
PIECE = 128 * 1024
"""Bytes that are encoded at a time: about 3 ms, the price of a small file's form."""
_PATIENCE = 60.0
"""Seconds in which a piece has to have its turn; a file whose piece has not is cut."""
_KEPT_SHARE = 16
"""The part of the memory that one kept form may take."""


class EncodedStreams:
    """Files that are encoded on their way. State: who has a place."""

    def __init__(self, memory: Memory[tuple[str, ...], object], encoding: FairQueue, executor: Executor) -> None:
        """encoding: the turns of all encoders."""
        self._memory = memory
        self._encoding = encoding
        self._executor = executor
        self._places = FairQueue(AT_ONCE, most_each=AT_ONCE_OF_ONE)

    def room(self, owner: str) -> bool:
        """Whether there is a place for one more file of an owner."""
        return self._places.delay(Party(owner)) == 0.0

    @contextlib.asynccontextmanager
    async def stream(
        self,
        file: AbstractAsyncContextManager[AsyncIterator[bytes]],
        key: tuple[str, ...],
        coding: str,
        size: int,
        owner: str,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """A file in a coding, piece by piece. key: under which it is kept; size: of the file, in bytes.

        Raises what the file raises, and TooLate.
        """
        party = Party(owner)
        async with self._places.turn(_PATIENCE, party=party), file as chunks:
            pieces = self._encoded(chunks, key, Encoder(coding), size, party)
            async with contextlib.aclosing(pieces):
                yield pieces

    async def _encoded(
        self, chunks: AsyncIterator[bytes], key: tuple[str, ...], encoder: Encoder, size: int, party: Party
    ) -> AsyncGenerator[bytes, None]:
        kept: list[bytes] | None = []
        most = self._memory.capacity // _KEPT_SHARE
        total = 0
        held = bytearray()
        async for chunk in chunks:
            held += chunk
            while len(held) > PIECE:
                piece = bytes(held[:PIECE])
                del held[:PIECE]
                encoded = await self._in_turn(encoder.feed, piece, party)
                total += len(encoded)
                if kept is not None:
                    kept.append(encoded)
                    if total > most:
                        kept = None
                if encoded:
                    yield encoded
        encoded = await self._in_turn(encoder.end, bytes(held), party)
        # All of it has come, and is what its id says: else the file would have raised.
        total += len(encoded)
        if total >= size:
            self._keep(key, b"")
        elif kept is not None and total <= most:
            self._keep(key, b"".join((*kept, encoded)))
        yield encoded

    async def _in_turn(self, work: Callable[[bytes], bytes], piece: bytes, party: Party) -> bytes:
        async with self._encoding.turn(_PATIENCE, max(0.1, len(piece) / PIECE), party=party):
            return await asyncio.get_running_loop().run_in_executor(self._executor, work, piece)

    def _keep(self, key: tuple[str, ...], form: bytes) -> None:
        self._memory.put(key, form, len(form) + sum(map(len, key)) + 150)
