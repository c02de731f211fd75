# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Telling of previews where the reviewers are: a commit status on each head, once.

`pending` when a head is first seen, then `success` with the address, or `failure` with the reason. What a head was told
is asked of Forgejo before it is told again, so neither a restart nor another proxy says it twice; with Redis one proxy
tells, whoever is first. One head at a time, in the turns of its owner. The surprise: of a preview that fails for want
of an answer nothing is said but `pending`, and it is tried again with the next look.
"""

import asyncio
import logging
from collections import deque
from typing import NamedTuple

from addon.access.guess_limits import Bounded
from addon.forgejo.answers import Repository
from addon.forgejo.commit_statuses import CONTEXT, CommitStatuses, State
from addon.forgejo.errors import ForgejoError, NotFound, Refused
from addon.forgejo.pulls import PullRequests
from addon.library.deploy_previews import DeployPreviews, Preview, PreviewCommit, PreviewTable, site_key
from addon.net.background import ended
from addon.net.fair_queue import on_account
from addon.shared.cache import SharedCache
from addon.shared.lookup import Fault, Lookup

logger = logging.getLogger(__name__)

MOST_WAITING = 512
"""Heads that wait to be told; beyond, the next look brings them again."""
_MOST_TOLD = 20_000
_PENDING, _READY = "The preview is being made", "The preview is ready"


class _Head(NamedTuple):
    """A head to be told of."""

    lookup: Lookup
    repository: Repository
    preview: Preview


class PreviewReports:
    """Tells. State: the heads that wait, those that were told, and the task that tells."""

    def __init__(
        self,
        domain: str,
        pulls: PullRequests,
        statuses: CommitStatuses,
        previews: DeployPreviews,
        shared: SharedCache | None,
    ) -> None:
        """domain: of the previews. shared: where proxies agree on who tells."""
        self._domain = domain
        self._pulls = pulls
        self._statuses = statuses
        self._previews = previews
        self._shared = shared
        self._told: Bounded[tuple[int, str], None] = Bounded(_MOST_TOLD)
        self._waiting: deque[_Head] = deque()
        self._task: asyncio.Task[None] | None = None
        self._said = False

    def looked(self, lookup: Lookup, table: PreviewTable) -> None:
        """A look has found these previews."""
        repository = lookup.repository
        if repository is None:
            return
        for preview in table.all():
            key = (repository.id, preview.commit)
            if key in self._told or len(self._waiting) >= MOST_WAITING:
                continue
            self._told.put(key, None)  # of two previews of one commit, the pull request's comes first
            self._waiting.append(_Head(lookup, repository, preview))
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._tell_all())

    async def aclose(self) -> None:
        """Say no more."""
        await ended(self._task)

    async def _tell_all(self) -> None:
        while self._waiting:
            head = self._waiting.popleft()
            try:
                with on_account(owner=head.repository.owner.lower()):
                    done = await self._tell(head)
            except (Refused, NotFound) as error:
                done = True  # the same would be said each time
                if not self._said:
                    self._said = True
                    logger.error(
                        "previewToken: %s: it needs the scope write:repository, and its user has to be one who may"
                        " write to the repository",
                        error,
                    )
            except ForgejoError as error:
                done = False
                logger.warning("the preview of %s/%s: %s", head.repository.owner, head.repository.name, error)
            except Exception:
                done = True
                logger.exception("telling of a preview failed")
            if not done:
                self._told.drop((head.repository.id, head.preview.commit))

    async def _tell(self, head: _Head) -> bool:
        """Tell of a head; False where it has to be tried again."""
        lookup, repository, preview = head
        address = f"https://{preview.label}.{self._domain}/"
        state, where = (await self._pulls.statuses(repository, preview.commit)).get(CONTEXT, ("", ""))
        if state in (State.SUCCESS.value, State.FAILURE.value) and where == address:
            return True
        changed = preview.changed
        if changed is None:
            told = await self._pulls.commit(repository, preview.commit)
            changed = 0.0 if told is None else told.committed_at
        if self._previews.is_over(changed):
            return True
        if self._shared is not None and await self._shared.lock(site_key(lookup.key, preview.commit)) == "":
            return False  # another proxy is at it; that it was told is seen at the next look
        if (state, where) != (State.PENDING.value, address):
            await self._statuses.tell(repository, preview.commit, State.PENDING, address, _PENDING)
        made = self._previews.held(lookup, preview.commit)
        if not isinstance(made, PreviewCommit):
            made = await self._previews.load(lookup, preview.commit, None)
        if not isinstance(made, PreviewCommit):
            return False
        reason = _why_not(made.lookup)
        said = (State.SUCCESS, _READY) if reason is None else (State.FAILURE, reason)
        await self._statuses.tell(repository, preview.commit, said[0], address, said[1])
        return True


def _why_not(lookup: Lookup) -> str | None:
    """Why a preview shows nothing, or would show nothing as a site; None where all is well."""
    match lookup.fault:
        case Fault.BROKEN:
            return f".pages{f', line {lookup.line}' if lookup.line else ''}: {lookup.reason}"
        case Fault.TOO_MANY_FILES:
            return f"Too many files: {lookup.total}"
        case Fault.TOO_LARGE:
            return "Too large: the paths of its files take more than is allowed"
    if lookup.site is None or not len(lookup.site.tree):
        return "There are no files where the default branch's .pages says that the site lies"
    return None
