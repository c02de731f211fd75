# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What git holds of a commit: its tree, page by page, and blobs, in batches where the server knows them.

Every blob is verified against its id before anybody sees it. The surprise: pages of a tree are counted by
`total_count`; `truncated` is true even on the last page (Forgejo v7-v16).
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from addon.forgejo import answers
from addon.forgejo.answers import Repository, Tree, TreeEntry, TreePage
from addon.forgejo.blobs import decoding, empty_blob, finished
from addon.forgejo.calls import Answer, Calls
from addon.forgejo.errors import BadAnswer, BlobTooLarge, NotFound, Overloaded, TooManyFiles, TreeTooLarge
from addon.net.fair_queue import Dropped, FairQueue, Party, TooLate, account

# Bodies that we accept, in bytes.
_TREE_BODY = 8 * 1024 * 1024
_BLOB_FRAME = 8 * 1024
# What a page of a tree is asked to have.
_ROWS_PER_PAGE = 1000
# Forgejo cuts a batch silently at max_response_items (50); it has no limit in bytes, so we have one.
_BATCH = 50
_BATCH_BYTES = 8 * 1024 * 1024
# Above this a blob is not asked for in one piece: Forgejo's own limit (DEFAULT_MAX_BLOB_SIZE) is 10 MiB.
_LARGEST_BLOB = 32 * 1024 * 1024
# After how long a forge that had no batches is asked again, in seconds: it may have been upgraded.
_BATCHES_AGAIN = 3600.0
# An answer this large is taken apart by the executor, and on the loop in pieces no longer than this, in seconds.
_LARGE = 256 * 1024
_LARGE_PAGE = 64 * 1024
_PATIENCE = 0.002

_LARGE_TREES = 3
"""Trees of more than one page that are read at one time; of one owner, one."""
_LARGE_TREE_PATIENCE = 20.0

T = TypeVar("T")


class GitObjects:
    """Trees and blobs of a forge. State: what is known of its batches."""

    def __init__(self, calls: Calls, executor: Executor | None, clock: Callable[[], float], side_by_side: int) -> None:
        """side_by_side: how many calls one question may have under way. Else as in `Forgejo`."""
        self._calls = calls
        self._executor = executor
        self._clock = clock
        self._side_by_side = side_by_side
        self._large = FairQueue(_LARGE_TREES, most_each=1, expected=0.5)
        # How many blobs a batch may have, and until when that is believed.
        self._batch = 0
        self._batch_until = 0.0

    async def tree(self, repository: Repository, commit: str, *, max_entries: int) -> Tree:
        """All files and links of a commit, in git's order. max_entries bounds rows, folders included: TooManyFiles.

        One call per 1 000 rows, or per as many as the server gives at once. Raises NotFound where git knows no such
        commit, BadAnswer where the pages contradict each other.
        """
        seen: set[str] = set()
        first = await self._tree_page(repository, commit, 1, seen)
        if first.total > max_entries:
            raise TooManyFiles(first.total)

        async def page(number: int) -> list[TreeEntry]:
            return (await self._tree_page(repository, commit, number, seen, first)).entries

        entries = first.entries
        for more in await self._all([page(number) for number in range(2, first.pages + 1)]):
            entries.extend(more)
        return Tree(commit, [row for row in entries if row.mode != answers.MODE_SUBMODULE], first.total)

    async def tree_pages(
        self, repository: Repository, commit: str, *, most_bytes: int
    ) -> AsyncGenerator[list[TreeEntry], None]:
        """The same with submodules, page by page, for who may have seen enough early: the first, then a few at once.

        most_bytes: of all paths, folders included: TreeTooLarge, before the pages that come next are asked for.
        """
        seen: set[str] = set()
        first = await self._tree_page(repository, commit, 1, seen)
        nbytes = first.nbytes
        yield first.entries
        if first.pages == 1:
            return
        async with self._large_tree(repository.owner):
            for start in range(2, first.pages + 1, self._side_by_side):
                numbers = range(start, min(start + self._side_by_side, first.pages + 1))
                if nbytes > most_bytes:
                    raise TreeTooLarge("its paths take more bytes than are allowed")
                for page in await self._all([self._tree_page(repository, commit, n, seen, first) for n in numbers]):
                    nbytes += page.nbytes
                    yield page.entries

    @asynccontextmanager
    async def _large_tree(self, owner: str) -> AsyncIterator[None]:
        """Read on beyond the first page: few trees at one time, for each is held whole until it is a site."""
        try:
            async with self._large.turn(_LARGE_TREE_PATIENCE, party=Party(owner.lower(), account().visitor)):
                yield
        except TooLate as late:
            raise Overloaded("too many large sites are being read", retry_after=math.ceil(late.retry_after)) from None
        except Dropped:
            raise Overloaded("nobody waits for this site any more") from None

    async def _tree_page(
        self, repository: Repository, commit: str, number: int, seen: set[str], first: TreePage | None = None
    ) -> TreePage:
        if not answers.is_id(commit):
            raise NotFound("no commit can have this id")
        tail = f"/git/trees/{commit}?recursive=true&page={number}&per_page={_ROWS_PER_PAGE}"
        answer = await self._ask_git(repository, tail, _TREE_BODY, "tree")
        read = partial(answers.tree_page, answer.body, commit, number, seen, first)
        if len(answer.body) < _LARGE_PAGE or self._executor is None:
            return read()
        return await asyncio.get_running_loop().run_in_executor(self._executor, read)

    async def blobs(self, repository: Repository, wanted: Sequence[tuple[str, int]]) -> dict[str, bytes]:
        """The bytes of blobs, each given by id and size as the tree tells them, every one verified.

        One call for one blob; else one per 50 blobs or 8 MiB where the server knows batches (Forgejo >= 12), else one
        per blob. Blobs above the server's limit are missing from the result; if only one was wanted: BlobTooLarge.
        """
        sizes = dict(wanted)
        if any(not answers.is_id(blob_id) or sizes[blob_id] != size for blob_id, size in wanted):
            raise ValueError("blobs are asked for by full ids, each with one size")
        found = {blob_id: empty_blob(blob_id) for blob_id, size in sizes.items() if size == 0}
        left = {blob_id: size for blob_id, size in sizes.items() if 0 < size <= _LARGEST_BLOB}
        while len(left) > 1 and self._batch_size():
            # Until something is known of the server's batches, the first goes alone.
            batches = self._batches(left, self._batch_size())
            asked = batches if self._batch else batches[:1]
            for items, blobs in await self._all([self._blob_batch(repository, batch) for batch in asked]):
                found.update(blobs)
                left = {blob_id: size for blob_id, size in left.items() if blob_id not in items}
        for single in await self._all([self._blob(repository, blob_id, size) for blob_id, size in left.items()]):
            found.update(single)
        if len(sizes) == 1 and not found:
            raise BlobTooLarge(next(iter(sizes)))
        return {blob_id: found[blob_id] for blob_id in sizes if blob_id in found}

    def _batch_size(self) -> int:
        """How many blobs to ask for at once: 50 until the server showed otherwise, 0 where it knows no batches."""
        if self._clock() >= self._batch_until:
            self._batch = 0
            return _BATCH
        return self._batch

    def _learn_batch(self, size: int) -> None:
        self._batch = size
        self._batch_until = self._clock() + _BATCHES_AGAIN

    @staticmethod
    def _batches(sizes: dict[str, int], most: int) -> list[dict[str, int]]:
        """Each blob in the first batch that has room for it."""
        batches: list[dict[str, int]] = []
        rooms: dict[int, int] = {}
        for blob_id, size in sizes.items():
            number = next((number for number, room in rooms.items() if size <= room), len(batches))
            if number == len(batches):
                batches.append({})
                rooms[number] = _BATCH_BYTES
            batches[number][blob_id] = size
            rooms[number] -= size
            if rooms[number] <= 0 or len(batches[number]) == most:
                del rooms[number]
        return batches

    async def _blob_batch(self, repository: Repository, batch: dict[str, int]) -> tuple[set[str], dict[str, bytes]]:
        """The ids that a batch answered, a prefix of those asked for, and the bytes that it gave."""
        tail = f"/git/blobs?shas={','.join(batch)}"
        limit = sum((size + 2) // 3 * 4 + _BLOB_FRAME for size in batch.values())
        answer = await self._ask_git(repository, tail, limit, "blobs", probing=True)
        if answer.status != 200:
            self._learn_batch(0)
            return set(), {}
        items, blobs = await self._decoded(answer.body, batch, many=True)
        if not items:
            raise BadAnswer("blobs: none of those asked for")
        if len(items) < len(batch):
            self._learn_batch(len(items))
        elif not self._batch:
            self._learn_batch(_BATCH)
        return items, blobs

    async def _blob(self, repository: Repository, blob_id: str, size: int) -> dict[str, bytes]:
        limit = (size + 2) // 3 * 4 + _BLOB_FRAME
        answer = await self._ask_git(repository, f"/git/blobs/{blob_id}", limit, "blob")
        return (await self._decoded(answer.body, {blob_id: size}, many=False))[1]

    async def _decoded(self, body: bytes, sizes: dict[str, int], *, many: bool) -> tuple[set[str], dict[str, bytes]]:
        steps = decoding(body, sizes, many)
        if len(body) >= _LARGE and self._executor is not None:
            return await asyncio.get_running_loop().run_in_executor(self._executor, finished, steps)
        started = time.perf_counter()
        for step in steps:
            if step is not None:
                return step
            if time.perf_counter() - started > _PATIENCE:
                await asyncio.sleep(0)
                started = time.perf_counter()
        raise AssertionError("decoding ends with a result")

    # Asking.

    async def _ask(self, repository: Repository, tail: str, limit: int) -> Answer:
        answer, _ = await self._calls.ask(repository.owner, repository.name, tail, repository=repository, limit=limit)
        return answer

    async def _ask_git(
        self, repository: Repository, tail: str, limit: int, what: str, *, probing: bool = False
    ) -> Answer:
        """A 200 of a route that answers 400 for what git does not know, and for git's own time-outs: asked twice.

        probing: whether the route is there is the question, so an answer that there is none comes back too.
        """
        answer = await self._ask(repository, tail, limit)
        if answer.status == 400:
            answer = await self._ask(repository, tail, limit)
        content_type = answer.header("content-type")
        if answer.status == 200 or (
            probing
            and answer.status in (404, 405)
            and not answers.is_own_error(content_type, answer.body)
            and (answer.status == 405 or answers.is_no_route(content_type, answer.body))
        ):
            return answer
        where = f"{what} of {repository.owner}/{repository.name}"
        if answer.status == 400 and answers.is_own_error(content_type, answer.body):
            raise NotFound(f"{where}: git does not know it", certain=False)
        raise answer.trouble(where)

    async def _all(self, questions: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """The answers in order, a few asked at once; the first failure ends all."""
        results: dict[int, T] = {}
        todo = iter(enumerate(questions))

        async def work() -> None:
            for index, question in todo:
                results[index] = await question

        workers = [asyncio.ensure_future(work()) for _ in range(min(self._side_by_side, len(questions)))]
        try:
            if len(workers) == 1:
                await workers[0]
            elif workers:
                await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            for question in questions:
                question.close()
        return [results[index] for index in range(len(questions))]
