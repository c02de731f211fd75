# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Pull requests, their reviews and what happened to them, as the forge of one keeps them; plain data.

What a pull request does is noted in Forgejo's order: opened with its labels and then its first push, each push by its
commits, the newest last. The surprise: a review stays official for the commit that it was of, whatever is pushed
afterwards; that is the reader's to compare.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_EVENT_IDS = itertools.count(1)


@dataclass
class Review:
    """A review of a commit; official: by somebody who can write."""

    id: int
    by: str
    commit: str
    official: bool
    state: str = "APPROVED"
    dismissed: bool = False
    submitted: str = ""


@dataclass
class PullRequest:
    """A pull request, with what has happened to it. head: the commit; source: the fork, None for the base itself.

    gone: the fork, or the head branch, was deleted. seconds: counts up with each event, since the day began.
    """

    number: int
    head: str
    branch: str = "feature"
    by: str = "alice"
    source: str | None = None
    flow: int = 0
    gone: bool = False
    state: str = "open"
    merged: bool = False
    title: str = "A change"
    base: str = "main"
    labels: list[str] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    day: str = "2026-05-28"
    seconds: int = 36_000

    def __post_init__(self) -> None:
        for label in self.labels:
            self._note("label", body="1", label=label)
        self._note("pull_push", body=_pushed([self.head]))

    @property
    def updated(self) -> str:
        """When something happened to it last."""
        return f"{self.day}T{self.seconds // 3600:02}:{self.seconds // 60 % 60:02}:{self.seconds % 60:02}Z"

    def push(self, commit: str, *, force: bool = False) -> None:
        """Another head."""
        before, self.head = self.head, commit
        self._note("pull_push", body=_pushed([before, commit] if force else [commit], force=force))

    def label(self, name: str) -> None:
        """Put a label on it."""
        self.labels.append(name)
        self._note("label", body="1", label=name)

    def unlabel(self, name: str) -> None:
        """Take a label away."""
        self.labels.remove(name)
        self._note("label", body="", label=name)

    def approve(self, by: str, *, official: bool) -> None:
        """A review that approves the present head."""
        review = Review(len(self.reviews) + 1, by, self.head, official)
        self.reviews.append(review)
        self._note("review", review_id=review.id)
        review.submitted = self.updated

    def comment(self) -> None:
        """Somebody says something."""
        self._note("comment", body="Nice.")

    def close(self, *, merged: bool = False) -> None:
        """Close it."""
        self.state, self.merged = "closed", merged
        self._note("merge_pull" if merged else "close")

    def reopen(self) -> None:
        """Open it again, which its author may do."""
        self.state = "open"
        self._note("reopen")

    def _note(self, kind: str, **said: Any) -> None:
        self.seconds += 1
        self.events.append({"id": next(_EVENT_IDS), "type": kind, "at": self.updated, **said})


def _pushed(commits: list[str], *, force: bool = False) -> str:
    return json.dumps({"is_force_push": force, "commit_ids": commits}, separators=(",", ":"))


def pull_of(pulls: Sequence[PullRequest], number: str) -> PullRequest | None:
    """The pull request of that number."""
    return next((one for one in pulls if str(one.number) == number), None)


def references(pulls: Sequence[PullRequest]) -> dict[str, str]:
    """The refs of all pull requests, which are there for ever."""
    return {f"refs/pull/{one.number}/head": one.head for one in pulls}
