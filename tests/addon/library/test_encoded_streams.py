# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Files that are encoded on their way: what is held of them, how many there are at once, that bytes are the same."""

import contextlib
import zlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from addon.forgejo.errors import BadAnswer
from addon.library.encoded_streams import AT_ONCE, AT_ONCE_OF_ONE, PIECE, EncodedStreams
from addon.library.memory import Memory
from addon.net.fair_queue import FairQueue

KEY = ("form", "id", "gzip")
TEXT = b"".join(b"%d lines of %x\n" % (n, n * n) for n in range(100_000))


class File:
    """A file that comes in chunks. State: how many bytes of it were taken, and whether it is open."""

    def __init__(self, data: bytes, chunk: int, *, cut: bool = False) -> None:
        self._data, self._chunk, self._cut = data, chunk, cut
        self.taken = 0
        self.open = False

    @contextlib.asynccontextmanager
    async def stream(self) -> AsyncIterator[AsyncIterator[bytes]]:
        self.open = True
        try:
            yield self._chunks()
        finally:
            self.open = False

    async def _chunks(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._data), self._chunk):
            self.taken = min(at + self._chunk, len(self._data))
            yield self._data[at : self.taken]
        if self._cut:
            raise BadAnswer("made up")


def streams(
    executor: ThreadPoolExecutor, capacity: int = 1 << 28
) -> tuple[EncodedStreams, Memory[tuple[str, ...], object]]:
    memory: Memory[tuple[str, ...], object] = Memory(capacity)
    return EncodedStreams(memory, FairQueue(2), executor), memory


async def test_no_more_is_read_of_a_file_than_its_reader_takes_and_places_are_few() -> None:
    with ThreadPoolExecutor(2) as executor:
        made, memory = streams(executor)
        async with contextlib.AsyncExitStack() as stack:
            files = [File(TEXT, 64 * 1024) for _ in range(AT_ONCE)]
            opened = [
                await stack.enter_async_context(made.stream(each.stream(), KEY, "gzip", len(TEXT), f"owner {n % 2}"))
                for n, each in enumerate(files)
            ]
            assert not made.room("owner 0")
            assert not made.room("nobody yet")
            for each, pieces in zip(files, opened, strict=True):
                received = len(await anext(pieces))
                assert each.taken <= 3 * PIECE  # gzip gives something for each piece
                while each.taken < len(TEXT) // 2:
                    received += len(await anext(pieces))
                assert received > each.taken / 20
        assert [each.open for each in files] == [False] * AT_ONCE
        assert made.room("owner 0")
        assert len(memory) == 0  # none came to its end
        assert AT_ONCE_OF_ONE * 2 == AT_ONCE


@pytest.mark.parametrize(("capacity", "kept"), [(1 << 28, True), (1 << 18, False)])
async def test_the_same_bytes_come_out_however_a_file_comes_in(capacity: int, kept: bool) -> None:
    with ThreadPoolExecutor(2) as executor:
        made, memory = streams(executor, capacity)
        found = []
        for chunk in (1 << 16, 12_345, len(TEXT)):
            memory.drop(KEY)
            async with made.stream(File(TEXT, chunk).stream(), KEY, "gzip", len(TEXT), "alice") as pieces:
                found.append(b"".join([piece async for piece in pieces]))
        assert len(set(found)) == 1
        assert zlib.decompress(found[0], wbits=31) == TEXT
        assert memory.get(KEY) == (found[0] if kept else None)


async def test_a_file_that_turns_out_to_be_wrong_has_no_end_and_is_not_kept() -> None:
    with ThreadPoolExecutor(2) as executor:
        made, memory = streams(executor)
        received = b""
        file = File(TEXT, 1 << 16, cut=True)
        async with made.stream(file.stream(), KEY, "gzip", len(TEXT), "alice") as pieces:
            with contextlib.suppress(BadAnswer):
                while True:
                    received += await anext(pieces)
        decoder = zlib.decompressobj(wbits=31)
        assert TEXT.startswith(decoder.decompress(received))
        assert not decoder.eof
        assert len(memory) == 0
