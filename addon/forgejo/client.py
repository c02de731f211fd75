# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The questions we ask Forgejo (or Gitea), with typed answers and typed errors; asynchronous, no thread waits.

The face of the rooms beside it: forge_calls (how a question gets there), forge_answers (what an answer means), lfs.
Every blob is verified against its id before anybody sees it, large ones on the way with their last chunk held back.
The surprise: pages of a tree are counted by `total_count`; `truncated` is true even on the last page (Forgejo v7-v16).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Coroutine, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar

from addon.forgejo import answers, streams
from addon.forgejo.answers import Access, Branch, Repository, Tree, TreeEntry, TreePage
from addon.forgejo.blobs import decoding, empty_blob, finished, object_hash
from addon.forgejo.calls import Answer, Calls
from addon.forgejo.errors import (
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
from addon.net.http_client import Origin, Response

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

logger = logging.getLogger(__name__)

# Bodies that we accept, in bytes. A branch carries its commit's message, twice if it is signed.
_SMALL_BODY = 4 * 1024 * 1024
_TREE_BODY = 16 * 1024 * 1024
_BLOB_FRAME = 8 * 1024
# What a page of a tree is asked to have.
_ROWS_PER_PAGE = 1000
# Redirects of /media within the forge.
_MAX_HOPS = 3
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
    how long refusals and the breaker last. on_call: told the target of every request. headers: sent with every call.
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
        headers: Sequence[tuple[str, str]] = (),
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
            headers=headers,
            clock=clock,
            on_call=on_call,
        )
        self._lfs_storage_hosts = frozenset(host.lower() for host in lfs_storage_hosts)
        self._refused_storage: set[Origin] = set()
        self._executor = executor
        self._clock = clock
        # One operation of many calls must not fill the queue of waiting calls by itself.
        self._side_by_side = max(1, concurrency // 4)
        # What is known of the server's batches: how many blobs one may have, and until when that is believed.
        self._batch = 0
        self._batch_until = 0.0

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

    async def repositories_of(self, owner: str, most: int) -> list[str]:
        """The names of an owner's public repositories, the newest first, `most` of them (at most 50).

        Empty for an owner who is not there; as with `repository(…, known=False)` the name may be anybody's guess.
        """
        if not answers.is_name(owner):
            return []
        target = f"/api/v1/users/{answers.quoted(owner)}/repos?limit={most}&page=1"
        answer = await self._calls.fetch(target, known=False, limit=_SMALL_BODY)
        if answer.status in (401, 403) and self._calls.token_usable:
            answer = await self._calls.fetch(target, token=True, known=False, limit=_SMALL_BODY)
        if answer.status == 404:
            return []
        if answer.status != 200:
            raise answer.trouble(f"repositories of {owner}")
        return answers.public_names(answer.body, owner)

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
            if not self._calls.has_token:
                raise error
            try:
                answer, reached = await self._calls.ask_with_token(owner, repo, known=known, limit=_SMALL_BODY)
            except Refused:
                # For a repository that we know, this ends the serving; a name that may be anybody's guess is none.
                if known:
                    raise
                error.certain = False
                raise error from None
            if answer.status != 200:
                raise answer.trouble(what)
        return answers.repository(answer.body, reached.owner, reached.name, reached.access)

    async def branch(self, repository: Repository, branch: str) -> Branch:
        """The branch's newest commit, and how it was read: only an anonymous call proves the repository public.

        NotFound also for an empty repository and for one that is gone or private now.
        """
        if not answers.is_branch(branch):
            raise NotFound("no branch can have this name")
        owner, name, tail = repository.owner, repository.name, f"/branches/{answers.quoted(branch)}"
        answer, reached = await self._calls.ask(owner, name, tail, repository=repository, limit=_SMALL_BODY)
        if answer.status != 200:
            raise answer.trouble(f"branch of {owner}/{name}")
        return answers.branch(answer.body, branch, repository.object_format, reached.access)

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
        return Tree(commit, entries, first.total)

    async def tree_pages(self, repository: Repository, commit: str) -> AsyncGenerator[list[TreeEntry], None]:
        """The same page by page, for who may have seen enough before the end: the first, then a few at once."""
        seen: set[str] = set()
        first = await self._tree_page(repository, commit, 1, seen)
        yield first.entries
        for start in range(2, first.pages + 1, self._side_by_side):
            numbers = range(start, min(start + self._side_by_side, first.pages + 1))
            for page in await self._all([self._tree_page(repository, commit, n, seen, first) for n in numbers]):
                yield page.entries

    async def _tree_page(
        self, repository: Repository, commit: str, number: int, seen: set[str], first: TreePage | None = None
    ) -> TreePage:
        if not answers.is_id(commit):
            raise NotFound("no commit can have this id")
        tail = f"/git/trees/{commit}?recursive=true&page={number}&per_page={_ROWS_PER_PAGE}"
        answer = await self._ask_git(repository, tail, _TREE_BODY, "tree")
        return answers.tree_page(answer.body, commit, number, seen, first)

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

    # Large files ---------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def stream(
        self,
        repository: Repository,
        *,
        path: str,
        commit: str,
        id: str,
        size: int,
        start: int = 0,
        end: int | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes [start, end) of a blob as they come, in chunks of at most 64 KiB, never more in memory.

        Entering waits for the head of the answer and checks it; a whole file is hashed on the way and its last chunk
        held back until the hash is the id. A slow reader stops the server and holds no slot, only a stream.
        Raises ForgejoErrors on entering and BadAnswer or DeadlineExceeded on the way; ValueError for an empty range.
        """
        span = streams.span_of(size, start, end)
        what = f"a file of {repository.owner}/{repository.name}"
        if not answers.is_id(commit) or not answers.is_id(id) or not answers.is_path(path):
            raise NotFound("no file can have this path or id")
        # What is no UTF-8 in a path reaches us as U+FFFD, and cannot be asked for by it.
        web = "\ufffd" in path
        tail = f"/raw/blob/{id}" if web else f"/raw/{answers.quoted(path)}?ref={commit}"
        async with self._calls.streaming():
            response, _ = await self._calls.ask_stream(repository, tail, web=web, headers=span.headers)
            try:
                if response.status not in (200, 206):
                    raise await streams.failure(response, what, self._calls.deadline(), web=web)
                streams.check_head(response, span, id, what)
                digest = object_hash(id, size)
                chunks = streams.passing(response, span, digest, id, what, self._calls.timeout)
                async with contextlib.aclosing(chunks):
                    yield chunks
            finally:
                response.close()

    @contextlib.asynccontextmanager
    async def media(
        self,
        repository: Repository,
        *,
        path: str,
        commit: str,
        oid: str,
        size: int,
        start: int = 0,
        end: int | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes [start, end) of the LFS object that the file at `path` points to; else as `stream`.

        Redirects within the forge's origin are followed, at most 3, and one to a host in lfs_storage_hosts, both
        without the token. NotFound where Forgejo answers with the pointer: it does not have the object.
        """
        span = streams.span_of(size, start, end)
        what = f"an LFS object of {repository.owner}/{repository.name}"
        if not answers.is_id(commit) or not answers.is_path(path):
            raise NotFound("no file can have this path")
        async with self._calls.streaming():
            tail = f"/media/{answers.quoted(path)}?ref={commit}"
            response, _ = await self._calls.ask_stream(repository, tail, headers=span.headers)
            try:
                response, stored = await self._redirected(response, span)
                if not stored:
                    error = await streams.media_failure(response, oid, what, self._calls.deadline())
                elif response.status not in (200, 206):
                    error = await streams.failure(response, what, self._calls.deadline())
                else:
                    error = None
                if error is not None:
                    raise error
                streams.check_head(response, span, None if stored else oid, what)
                chunks = streams.passing(response, span, hashlib.sha256(), oid, what, self._calls.timeout)
                async with contextlib.aclosing(chunks):
                    yield chunks
            finally:
                response.close()

    async def _redirected(self, response: Response, span: streams.Span) -> tuple[Response, bool]:
        """Where `/media` leads in the end, and whether it redirected to get there."""
        origin, within, redirected = self._calls.origin, 0, False
        while response.status in (301, 302, 303, 307, 308):
            response.close()
            target = answers.absolute(response.header("location"), origin)
            if target is None:
                raise BadAnswer("Forgejo redirects to what is no address")
            if origin != self._calls.origin:
                raise BadAnswer("the LFS storage redirects")
            origin, path = target
            if origin == self._calls.origin:
                within += 1
                if within > _MAX_HOPS:
                    raise BadAnswer(f"Forgejo redirects more than {_MAX_HOPS} times")
            elif not self._is_storage(origin):
                if origin not in self._refused_storage:
                    self._refused_storage.add(origin)
                    logger.warning("Forgejo keeps LFS objects at %s, which is not in lfsStorageHosts", origin.authority)
                raise BadAnswer("Forgejo redirects to a host that is not in lfsStorageHosts")
            redirected = True
            response = await self._calls.open_elsewhere(origin, path, span.headers)
        return response, redirected

    def _is_storage(self, origin: Origin) -> bool:
        """Whether the operator named it: by host where it listens on its scheme's own port, else with the port."""
        return not self._lfs_storage_hosts.isdisjoint((origin.authority, f"{origin.authority}:{origin.port}"))

    async def media_bytes(self, repository: Repository, *, path: str, commit: str, oid: str, size: int) -> bytes:
        """A small LFS object, verified; all of it within the time of one call."""
        data = bytearray()
        try:
            async with asyncio.timeout(self._calls.timeout):
                async with self.media(repository, path=path, commit=commit, oid=oid, size=size) as chunks:
                    async for chunk in chunks:
                        data += chunk
        except TimeoutError:
            raise DeadlineExceeded("an LFS object did not come in time") from None
        return bytes(data)

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
