# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The questions we ask Forgejo (or Gitea), with typed answers and typed errors; asynchronous, no thread waits.

The interface of the modules beside it: what is asked of repositories and branches stands here, of trees and blobs in
`git_objects`, of files too large for memory in `large_files`. How a question gets there is `calls`, what an answer
means `answers`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from concurrent.futures import Executor
from pathlib import Path

from addon.forgejo import answers
from addon.forgejo.answers import Access, Branch, Repository, Tree, TreeEntry
from addon.forgejo.calls import Calls
from addon.forgejo.commit_statuses import CommitStatuses
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
from addon.forgejo.git_objects import GitObjects
from addon.forgejo.large_files import LargeFiles
from addon.forgejo.oauth import OAuth
from addon.forgejo.pulls import PullRequests
from addon.forgejo.reading_rights import Verdict, verdict
from addon.net.call_meter import CallMeter
from addon.net.fair_queue import FairQueue

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
    "Verdict",
]

# Bytes of a body that we accept. A branch carries its commit's message, twice if it is signed.
_SMALL_BODY = 4 * 1024 * 1024


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
        # One operation of many calls must not fill the queue of waiting calls by itself.
        self._objects = GitObjects(self._calls, executor, clock, max(1, concurrency // 4))
        self.files = LargeFiles(self._calls, lfs_storage_hosts)
        """Files too large for memory."""
        self.pulls = PullRequests(self._calls, executor)
        """Branches, pull requests and commits."""
        self.root_host = ""
        """The host of Forgejo's own ROOT_URL, once a repository has said it: no site may have it for a domain."""

    def __repr__(self) -> str:
        return f"Forgejo({self._calls!r})"

    @property
    def calls(self) -> int:
        """How many requests were sent so far."""
        return self._calls.calls

    @property
    def meter(self) -> CallMeter:
        """What the calls came to, by kind."""
        return self._calls.meter

    @property
    def breaker_open(self) -> bool:
        """Whether calls fail at once, for Forgejo did not answer a moment ago."""
        return self._calls.breaker.is_open

    @property
    def token_refused(self) -> bool:
        """Whether Forgejo turned the token down when it was sent last."""
        return self._calls.token_refused

    @property
    def clock_skew(self) -> float | None:
        """Seconds by which our clock is ahead of Forgejo's; None where it has not said."""
        return self._calls.clock_skew

    @property
    def queues(self) -> dict[str, FairQueue]:
        """Where calls wait for their turn, by name."""
        slots = self._calls.slots
        return {"forgejo": slots.turns, "unknown names": slots.unknown_names}

    async def aclose(self) -> None:
        """Close every connection; what is under way fails with Unreachable."""
        await self._calls.aclose()

    def statuses(self, token: str) -> CommitStatuses:
        """Who sets commit statuses, with a token that may."""
        return CommitStatuses(self._calls, token)

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
        found = answers.repository(answer.body, reached.owner, reached.name, reached.access)
        self.root_host = found.root_host or self.root_host
        return found

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

    def oauth(self, client_id: str, client_secret: str, callback: str) -> OAuth:
        """Login at this forge by an application of this server's."""
        return OAuth(self._calls, client_id, client_secret, callback)

    async def may_read(self, repository: Repository, token: str) -> Verdict:
        """Whether a reader, by a token of his own, may read a repository's code."""
        return await verdict(self._calls, repository, token)

    async def tree(self, repository: Repository, commit: str, *, max_entries: int) -> Tree:
        """All files and links of a commit; see `GitObjects.tree`."""
        return await self._objects.tree(repository, commit, max_entries=max_entries)

    def tree_pages(
        self, repository: Repository, commit: str, *, most_bytes: int
    ) -> AsyncGenerator[list[TreeEntry], None]:
        """The same page by page; see `GitObjects.tree_pages`."""
        return self._objects.tree_pages(repository, commit, most_bytes=most_bytes)

    async def blobs(self, repository: Repository, wanted: Sequence[tuple[str, int]]) -> dict[str, bytes]:
        """The bytes of blobs, verified, by their ids; see `GitObjects.blobs`."""
        return await self._objects.blobs(repository, wanted)
