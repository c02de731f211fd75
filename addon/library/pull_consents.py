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
MOST_ASKED = 100
"""Pull requests of strangers that one look asks about; of what has not changed since, it knows."""
_SETTLED = 60.0
"""Seconds after a change before what was found is believed until the next: dates are whole seconds, clocks differ."""
_MOST_KNOWN = 10_000
_PUSH, _REOPENED, _LABELLED = "pull_push", "reopen", "label"
_UNTOLD = ""
"""The kind of what Forgejo cannot tell: it may have been any of these."""


class PullConsents:
    """Consents. State: what was found of pull requests that have not changed since."""

    def __init__(self, pulls: PullRequests, now: Callable[[], float]) -> None:
        """now: seconds since 1970."""
        self._pulls = pulls
        self._now = now
        self._known: Bounded[tuple[int, int], tuple[Pull, bool]] = Bounded(_MOST_KNOWN)

    async def given(self, repository: Repository, pulls: Sequence[Pull]) -> list[Pull]:
        """Those strangers' pull requests whose heads may be shown, in the same order.

        Not more than MOST_ASKED are asked about at a time, those with the label first; the rest are closed until a
        later look. Raises ForgejoErrors that end with time.
        """
        found = {pull: known for pull in pulls if (known := self._remembered(repository, pull)) is not None}
        unknown = sorted((pull for pull in pulls if pull not in found), key=lambda pull: LABEL not in pull.labels)
        for pull in unknown[:MOST_ASKED]:
            try:
                found[pull] = await self._asked(repository, pull)
            except (Refused, NotFound, BadAnswer) as error:
                hint = "; does forgejoToken have the scope read:issue?" if isinstance(error, Refused) else ""
                whose = repository.owner, repository.name
                logger.warning("%s/%s: pull request %d: %s%s", *whose, pull.number, error, hint)
                found[pull] = False
            if pull.updated_at is not None and self._now() - pull.updated_at > _SETTLED:
                self._known.put((repository.id, pull.number), (pull, found[pull]))
        return [pull for pull in pulls if found.get(pull, False)]

    def _remembered(self, repository: Repository, pull: Pull) -> bool | None:
        known = self._known.get((repository.id, pull.number))
        return known[1] if known is not None and known[0] == pull else None

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
    reopenings = [at for at, event in enumerate(events) if event.kind in (_REOPENED, _UNTOLD)]
    since = events[max([*pushes, *reopenings]) + 1 :]
    labels = [event.added for event in since if event.kind == _LABELLED and event.label == LABEL]
    if LABEL in pull.labels and labels[-1:] == [True]:
        return True
    counted = {each.id for each in approvals if each.commit == pull.head}
    return any(event.review in counted for event in since if event.review)
