# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Questions about branches, pull requests and commits, as `client` asks of repositories: by the same turns and limits.

All are asked of the base repository, and what is shown is read from there by id: a name that a visitor or the head's
author chose never decides anything. Lists are read to their end, at most so many pages. The surprise: that Forgejo can
read a commit says nothing of whose it is, for a fork's commits are readable through its base (`is_reachable`).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from addon.forgejo import pull_answers
from addon.forgejo.answers import Repository, document
from addon.forgejo.calls import Answer, Calls
from addon.forgejo.errors import BadAnswer, NotFound
from addon.forgejo.pull_answers import Approval, CommitInfo, Event, Pull

T = TypeVar("T")

_PER_PAGE, _PART = 50, 5
_PARTS = _PER_PAGE // _PART
_MOST_APART = 2
"""Pages of pull requests that are asked for in parts."""
_LARGEST = 8 * 1024 * 1024
"""Bytes of an answer: 25 000 branches, or fifty pull requests with long texts."""
_MOST_PAGES = 5
"""Pages of reviews and of events: who talks a pull request over with more than 250 of them approves it by hand."""
_THREAD_BODY = 64 * 1024
"""Bytes of an answer above which it is decoded on a thread: 64 KiB take about 1 ms."""
_BRIEF = "stat=false&verification=false&files=false"


class PullRequests:
    """What Forgejo says of a repository's branches, pull requests and commits."""

    def __init__(self, calls: Calls, executor: Executor | None = None) -> None:
        """executor: where large answers are decoded."""
        self._calls = calls
        self._executor = executor

    async def heads(self, repository: Repository) -> dict[str, str]:
        """The commits of all branches, by name."""
        answer = await self._asked(repository, "/git/refs/heads")
        if answer.status == 404:
            return {}
        return await self._decoded(pull_answers.heads, _body(answer, "branches"))

    async def open_pulls(self, repository: Repository, most: int) -> list[Pull]:
        """The newest open pull requests, `most` of them; none where the repository has no pull requests.

        A page with texts above the limit is asked for in small ones, of which those that are too large are left out: so
        who writes such texts hides what lies beside them at most.
        """
        found: list[Pull] = []
        apart = 0
        for page in range(1, -(-most // _PER_PAGE) + 1):
            try:
                listed, end = await self._open_pulls(repository, page, _PER_PAGE, len(found))
            except BadAnswer:
                apart += 1
                if apart > _MOST_APART:
                    break
                listed, end = [], False
                for small in range(_PARTS):
                    with suppress(BadAnswer):
                        listed += (await self._open_pulls(repository, (page - 1) * _PARTS + small + 1, _PART, 0))[0]
            found += listed
            if end:
                break
        return found[:most]

    async def _open_pulls(self, repository: Repository, page: int, rows: int, before: int) -> tuple[list[Pull], bool]:
        """A page of them, and whether it is the last. before: how many there were on those before it."""
        answer = await self._asked(repository, f"/pulls?state=open&limit={rows}&page={page}")
        if answer.status == 404:
            return [], True
        decode = partial(pull_answers.pulls, repository=repository)
        listed, count = await self._decoded(decode, _body(answer, "pull requests"))
        total = answer.header("x-total-count") or ""
        return listed, not count or (total.isdecimal() and len(total) < 10 and before + len(listed) >= int(total))

    async def approvals(self, repository: Repository, number: int) -> list[Approval]:
        """The reviews that approve a pull request and count."""
        found: list[Approval] = []
        for page in range(1, _MOST_PAGES + 1):
            tail = f"/pulls/{number}/reviews?limit={_PER_PAGE}&page={page}"
            answer = await self._asked(repository, tail)
            listed, rows = await self._decoded(pull_answers.approvals, _body(answer, "reviews"))
            found += listed
            total = answer.header("x-total-count") or ""
            if not rows or (total.isdecimal() and len(total) < 10 and page * _PER_PAGE >= int(total)):
                break
        return found

    async def events(self, repository: Repository, number: int) -> list[Event] | None:
        """What happened to a pull request, the oldest first; None where that is more than anybody should read.

        Forgejo leaves some rows out of a page and says nothing of how many there are, so the end is an empty page.
        """
        found: list[Event] = []
        for page in range(1, _MOST_PAGES + 2):
            tail = f"/issues/{number}/timeline?limit={_PER_PAGE}&page={page}"
            body = _body(await self._asked(repository, tail), "timeline")
            listed, rows = await self._decoded(pull_answers.events, body)
            if not rows:
                return found
            found += listed
        return None

    async def commit(self, repository: Repository, name: str, *, known: bool = True) -> CommitInfo | None:
        """A commit by its id or the first hexadecimals of it; None where none, or more than one, begins so.

        known: False for what may be anybody's guess.
        """
        answer = await self._asked(repository, f"/git/commits/{name}?{_BRIEF}", known=known)
        if answer.status in (404, 422):
            return None
        return pull_answers.commit(_body(answer, "commit"), name)

    async def is_reachable(self, repository: Repository, commit: str, head: str, *, known: bool = True) -> bool:
        """Whether a commit is in the history of another: then nothing of its own history is outside of that.

        `compare` will not do: of histories with nothing in common it tells no commits either.
        """
        tail = f"/commits?sha={commit}&not={head}&limit=1&page=1&{_BRIEF}"
        answer = await self._asked(repository, tail, known=known)
        body = _body(answer, "commits")
        total = answer.header("x-total-count")
        rows = document(body)
        if type(rows) is not list:
            raise BadAnswer("commits: expected a list")
        # Both have to say so: a forge that does not know `not` lists the commit itself.
        return not rows and total == "0"

    async def statuses(self, repository: Repository, commit: str) -> dict[str, tuple[str, str]]:
        """What was said of a commit: state and address, by context."""
        return pull_answers.statuses(_body(await self._asked(repository, f"/commits/{commit}/status"), "status"))

    async def _decoded(self, decode: Callable[[bytes], T], body: bytes) -> T:
        if self._executor is None or len(body) <= _THREAD_BODY:
            return decode(body)
        return await asyncio.get_running_loop().run_in_executor(self._executor, decode, body)

    async def _asked(self, repository: Repository, tail: str, *, known: bool = True) -> Answer:
        answer, reached = await self._calls.ask(
            repository.owner, repository.name, tail, repository=repository, known=known, limit=_LARGEST
        )
        if (reached.owner.lower(), reached.name.lower()) != (repository.owner.lower(), repository.name.lower()):
            raise NotFound("the repository was renamed", certain=False)  # the next look at it finds its new name
        return answer


def _body(answer: Answer, what: str) -> bytes:
    if answer.status != 200:
        raise answer.trouble(what)
    return answer.body
