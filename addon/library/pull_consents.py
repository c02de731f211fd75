# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Whether somebody who can write has consented to the preview of a stranger's pull request: by a label or an approval.

A consent is to one commit, in the state in which it was seen: it has to come after the last push and after the last
reopening, and that push must have ended in the very head that Forgejo names. Forgejo's own order of what happened says
so, not the labels and reviews that there are now: those outlive a push. So nothing has to be remembered, all proxies
agree, and where Forgejo has noted a new head but not yet the push that brought it, the answer is no. The surprise: a
label that was on the pull request as it was opened counts for nothing, since whoever opened it may have put it there.
"""

import logging
from collections.abc import Callable, Sequence

from addon.access.guess_limits import Bounded
from addon.forgejo.answers import Repository
from addon.forgejo.errors import BadAnswer, NotFound, Refused
from addon.forgejo.pull_answers import Approval, Event, Pull
from addon.forgejo.pulls import PullRequests

logger = logging.getLogger(__name__)

LABEL = "preview"
_SETTLED = 60.0
"""Seconds after a change before what was found is believed until the next: dates are whole seconds, clocks differ."""
_MOST_KNOWN = 10_000
_PUSH, _REOPENED, _LABELLED = "pull_push", "reopen", "label"


class PullConsents:
    """Consents. State: what was found of pull requests that have not changed since."""

    def __init__(self, pulls: PullRequests, now: Callable[[], float]) -> None:
        """now: seconds since 1970."""
        self._pulls = pulls
        self._now = now
        self._known: Bounded[tuple[int, int], tuple[Pull, bool]] = Bounded(_MOST_KNOWN)

    async def given(self, repository: Repository, pull: Pull) -> bool:
        """Whether the head of a stranger's pull request may be shown. Raises ForgejoErrors that end with time."""
        key = (repository.id, pull.number)
        known = self._known.get(key)
        if known is not None and known[0] == pull:
            return known[1]
        try:
            found = await self._asked(repository, pull)
        except (Refused, NotFound, BadAnswer) as error:
            logger.warning("%s/%s: pull request %d: %s", repository.owner, repository.name, pull.number, error)
            found = False
        if pull.updated_at is not None and self._now() - pull.updated_at > _SETTLED:
            self._known.put(key, (pull, found))
        return found

    async def _asked(self, repository: Repository, pull: Pull) -> bool:
        """One call for most; three where there is something to look into."""
        approvals = await self._pulls.approvals(repository, pull.number)
        if LABEL not in pull.labels and not any(each.commit == pull.head for each in approvals):
            return False
        events = await self._pulls.events(repository, pull.number)
        return events is not None and consented(pull, approvals, events)


def consented(pull: Pull, approvals: Sequence[Approval], events: Sequence[Event]) -> bool:
    """Whether a consent to a pull request's head stands; events: all that happened, the oldest first."""
    pushes = [at for at, event in enumerate(events) if event.kind == _PUSH]
    if not pushes or events[pushes[-1]].commits[-1:] != (pull.head,):
        return False
    reopenings = [at for at, event in enumerate(events) if event.kind == _REOPENED]
    since = events[max([*pushes, *reopenings]) + 1 :]
    labels = [event.added for event in since if event.kind == _LABELLED and event.label == LABEL]
    if LABEL in pull.labels and labels[-1:] == [True]:
        return True
    counted = {each.id for each in approvals if each.commit == pull.head}
    return any(event.review in counted for event in since if event.review)
