# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The questions we ask Forgejo (or Gitea), with typed answers and typed errors; asynchronous, no thread waits.

The face of the rooms beside it: forge_calls (how a question gets there), forge_answers (what an answer means), lfs.
Every blob is verified against its id before anybody sees it, large ones on the way with their last chunk held back.
The surprise: pages of a tree are counted by `total_count`; `truncated` is true even on the last page (Forgejo v7-v16).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar

from addon import forge_answers as answers
from addon.forge_answers import Access, Branch, Repository, Tree, TreeEntry, TreePage
from addon.forge_calls import Answer, Calls
from addon.forge_errors import (
    BadAnswer,
    BlobTooLarge,
    DeadlineExceeded,
    ForgejoError,
    NotFound,
    Overloaded,
    RateLimited,
    Refused,
    ServerTrouble,
    TooManyFiles,
    Unreachable,
)

__all__ = [
    "Access",
    "BadAnswer",
    "BlobTooLarge",
    "Branch",
    "DeadlineExceeded",
    "Forgejo",
    "ForgejoError",
    "NotFound",
    "Overloaded",
    "RateLimited",
    "Refused",
    "Repository",
    "ServerTrouble",
    "TooManyFiles",
    "Tree",
    "TreeEntry",
    "Unreachable",
]

# Bodies that we accept, in bytes. A branch carries its commit's message, twice if it is signed.
_SMALL_BODY = 4 * 1024 * 1024
_TREE_BODY = 16 * 1024 * 1024
_BLOB_FRAME = 8 * 1024
# What a page of a tree is asked to have, and the most pages we go through: Forgejo walks the whole tree for each.
_ROWS_PER_PAGE = 1000
_MAX_PAGES = 2000
# Forgejo cuts a batch silently at max_response_items (50); it has no limit in bytes, so we have one.
_BATCH = 50
_BATCH_BYTES = 8 * 1024 * 1024
# Above this a blob is not asked for in one piece: Forgejo's own limit (DEFAULT_MAX_BLOB_SIZE) is 10 MiB.
_LARGEST_BLOB = 32 * 1024 * 1024
# After how long a forge that had no batches is asked again, in seconds: it may have been upgraded.
_BATCHES_AGAIN = 3600.0
# An answer this large is taken apart by the executor, and on the loop in pieces no longer than this, in seconds.
_LARGE = 256 * 1024
_PATIENCE = 0.005

T = TypeVar("T")


class Forgejo:
    """One forge. Make it anywhere, use it from one event loop, close it with `aclose`.

    base_url: its address, a path included. token: for forges that want a sign-in, for rationed anonymous calls and for
    private repositories. timeout: seconds for each call. concurrency: calls at once; unknown_share: of those, for names
    not known to exist (a quarter). max_streams: large files at once. lfs_storage_hosts: `host` or `host:port` that
    `/media` may redirect to. executor: where large answers are decoded, else on the loop in pieces. clock: seconds, for
    how long refusals and the breaker last. on_call: told the target of every request.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        timeout: float = 10.0,
        concurrency: int = 16,
        unknown_share: int | None = None,
        max_streams: int = 512,
        lfs_storage_hosts: Collection[str] = (),
        ca_file: Path | None = None,
        executor: Executor | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_call: Callable[[str], None] | None = None,
    ) -> None:
        self._calls = Calls(
            base_url,
            token,
            timeout=timeout,
            concurrency=concurrency,
            unknown_share=unknown_share,
            max_streams=max_streams,
            ca_file=ca_file,
            clock=clock,
            on_call=on_call,
        )
        self._lfs_storage_hosts = frozenset(host.lower() for host in lfs_storage_hosts)
        self._executor = executor
        self._clock = clock
        # One operation of many calls must not fill the queue of waiting calls by itself.
        self._side_by_side = max(1, concurrency // 4)
        self._batch = _BATCH
        self._no_batches_until = 0.0

    def __repr__(self) -> str:
        return f"Forgejo({self._calls!r})"

    @property
    def calls(self) -> int:
        """How many requests were sent so far."""
        return self._calls.calls

    async def aclose(self) -> None:
        """Close every connection; what is under way fails with Unreachable."""
        await self._calls.aclose()

    async def version(self) -> str:
        """What `/api/v1/version` says, such as `16.0.0+gitea-1.22.0`; Refused in sign-in mode without a token."""
        answer = await self._calls.fetch("/api/v1/version", limit=_SMALL_BODY)
        if answer.status in (401, 403) and self._calls.token_usable:
            answer = await self._calls.fetch("/api/v1/version", token=True, limit=_SMALL_BODY)
        if answer.status != 200:
            raise answer.trouble("version")
        value = answers.document(answer.body)
        if type(value) is not dict or type(value.get("version")) is not str:
            raise BadAnswer("version: expected a JSON object with a version")
        return str(value["version"])

    async def repository(
        self, owner: str, repo: str, *, allow_token_private: bool = False, known: bool = True
    ) -> Repository:
        """The repository of this name, renames followed.

        allow_token_private: where it is not there for everybody, ask again with the token. known: False for a name that
        may be anybody's guess; such calls have a small share of the limit. Raises NotFound (its `certain` says whether
        Forgejo itself said so of everything that could be asked) and the other ForgejoErrors.
        """
        if not answers.is_name(owner) or not answers.is_name(repo):
            raise NotFound("no repository can have this name")
        what = f"repository {owner}/{repo}"
        answer, reached = await self._calls.ask(owner, repo, "", known=known, limit=_SMALL_BODY)
        if answer.status != 200:
            error = answer.trouble(what)
            if not (isinstance(error, NotFound) and allow_token_private and reached.access is Access.ANONYMOUS):
                raise error
            retried = await self._calls.ask_with_token(owner, repo, known=known, limit=_SMALL_BODY)
            if retried is None:
                error.certain = False
                raise error
            answer, reached = retried
            if answer.status != 200:
                raise answer.trouble(what)
        return answers.repository(answer.body, reached.owner, reached.name, reached.access)

    async def branch(self, repository: Repository, branch: str) -> Branch:
        """The branch's newest commit. NotFound also for an empty repository and for one that is gone or private now."""
        if not answers.is_branch(branch):
            raise NotFound("no branch can have this name")
        tail = f"/branches/{answers.quoted(branch)}"
        answer = await self._ask(repository, tail, _SMALL_BODY)
        if answer.status != 200:
            raise answer.trouble(f"branch of {repository.owner}/{repository.name}")
        return answers.branch(answer.body, branch, repository.object_format)

    async def tree(self, repository: Repository, commit: str, *, max_entries: int) -> Tree:
        """All files and links of a commit, in git's order. max_entries bounds rows, folders included: TooManyFiles.

        One call per 1 000 rows, or per as many as the server gives at once. Raises NotFound where git knows no such
        commit, BadAnswer where the pages contradict each other.
        """
        seen: set[str] = set()
        first = await self._tree_page(repository, commit, 1, seen)
        total = first.total
        if total > max_entries:
            raise TooManyFiles(total)
        if first.rows == total:
            return Tree(commit, first.entries, total)
        if not 0 < first.rows < total:
            raise BadAnswer("tree: not as many entries as it says")
        count = -(-total // first.rows)
        if count > _MAX_PAGES:
            raise BadAnswer("tree: in more pages than anybody should ask for")

        async def page(number: int) -> TreePage:
            result = await self._tree_page(repository, commit, number, seen)
            expected = first.rows if number < count else total - first.rows * (count - 1)
            if result.total != total or result.rows != expected:
                raise BadAnswer("tree: its pages disagree about how many entries there are")
            return result

        entries = first.entries
        for result in await self._all([page(number) for number in range(2, count + 1)]):
            entries.extend(result.entries)
        return Tree(commit, entries, total)

    async def _tree_page(self, repository: Repository, commit: str, number: int, seen: set[str]) -> TreePage:
        if not answers.is_id(commit):
            raise NotFound("no commit can have this id")
        tail = f"/git/trees/{commit}?recursive=true&page={number}&per_page={_ROWS_PER_PAGE}"
        answer = await self._ask_git(repository, tail, _TREE_BODY, "tree")
        return answers.tree_page(answer.body, commit, number, seen)

    async def blobs(self, repository: Repository, wanted: Sequence[tuple[str, int]]) -> dict[str, bytes]:
        """The bytes of blobs, each given by id and size as the tree tells them, every one verified.

        One call for one blob; else one per 50 blobs or 8 MiB where the server knows batches (Forgejo >= 12), else one
        per blob. Blobs above the server's limit are missing from the result; if only one was wanted: BlobTooLarge.
        """
        sizes = dict(wanted)
        for blob_id, size in wanted:
            if not answers.is_id(blob_id) or sizes[blob_id] != size:
                raise NotFound("no blob can have this id and size", certain=False)
        found: dict[str, bytes] = {}
        small = {blob_id: size for blob_id, size in sizes.items() if size <= _LARGEST_BLOB}
        left = small
        while len(left) > 1 and self._clock() >= self._no_batches_until:
            # The first batch goes alone: it tells whether there are batches, and how many blobs one may have.
            batches = self._batches(left)
            asked = [next(batches)] if not found else list(batches)
            before = len(left)
            answered: set[str] = set()
            for part in await self._all([self._blob_batch(repository, batch) for batch in asked]):
                if part is None:
                    break
                answered.update(part[0])
                found.update(part[1])
            left = {blob_id: size for blob_id, size in left.items() if blob_id not in answered}
            if len(left) == before and self._clock() >= self._no_batches_until:
                raise BadAnswer("blobs: none of those asked for")
        for single in await self._all([self._blob(repository, blob_id, size) for blob_id, size in left.items()]):
            found.update(single)
        if len(sizes) == 1 and not found:
            raise BlobTooLarge(next(iter(sizes)))
        return found

    def _batches(self, sizes: dict[str, int]) -> Iterator[dict[str, int]]:
        batch: dict[str, int] = {}
        room = _BATCH_BYTES
        for blob_id, size in sizes.items():
            if batch and (len(batch) >= self._batch or size > room):
                yield batch
                batch, room = {}, _BATCH_BYTES
            batch[blob_id] = size
            room -= size
        if batch:
            yield batch

    async def _blob_batch(
        self, repository: Repository, batch: dict[str, int]
    ) -> tuple[set[str], dict[str, bytes]] | None:
        """The ids that a batch answered and their bytes; None where the server knows no batches."""
        tail = f"/git/blobs?shas={','.join(batch)}"
        limit = sum((size + 2) // 3 * 4 + _BLOB_FRAME for size in batch.values())
        answer = await self._ask_git(repository, tail, limit, "blobs", probing=True)
        if answer.status != 200:
            self._no_batches_until = self._clock() + _BATCHES_AGAIN
            return None
        items, blobs = await self._decoded(answer.body, batch, many=True)
        if len(items) < len(batch):
            self._batch = max(1, min(self._batch, len(items)))
        return items, blobs

    async def _blob(self, repository: Repository, blob_id: str, size: int) -> dict[str, bytes]:
        limit = (size + 2) // 3 * 4 + _BLOB_FRAME
        answer = await self._ask_git(repository, f"/git/blobs/{blob_id}", limit, "blob")
        return (await self._decoded(answer.body, {blob_id: size}, many=False))[1]

    async def _decoded(self, body: bytes, sizes: dict[str, int], *, many: bool) -> tuple[set[str], dict[str, bytes]]:
        steps = _decoding(body, sizes, many)
        if len(body) >= _LARGE and self._executor is not None:
            return await asyncio.get_running_loop().run_in_executor(self._executor, _finished, steps)
        started = time.perf_counter()
        for step in steps:
            if step is not None:
                return step
            if time.perf_counter() - started > _PATIENCE:
                await asyncio.sleep(0)
                started = time.perf_counter()
        raise AssertionError("decoding ends with a result")

    # Asking ------------------------------------------------------------------------------------------------------

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


def _decoding(body: bytes, sizes: dict[str, int], many: bool) -> Iterator[tuple[set[str], dict[str, bytes]] | None]:
    """Take an answer apart step by step: None after each, at the end the ids it had and the bytes it gave."""
    seen: set[str] = set()
    blobs: dict[str, bytes] = {}
    for item in answers.blob_items(body, many=many):
        if item.id not in sizes or item.id in seen:
            raise BadAnswer("blobs: one that was not asked for")
        seen.add(item.id)
        yield None
        try:
            for piece in answers.pieces(item, item.id, sizes[item.id]):
                if piece is not None:
                    blobs[item.id] = piece
                yield None
        except BlobTooLarge:
            continue
    yield seen, blobs


def _finished(steps: Iterator[T | None]) -> T:
    return next(step for step in steps if step is not None)
