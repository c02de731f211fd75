# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The JSON documents of pull requests, reviews, timelines and commit statuses.

Fields, order and values as recorded from Forgejo 16.0; the timeline, which was not recorded, after its source
(services/convert/issue_comment.go).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from addon.preview.documents import Documents, Json
from addon.preview.pull_requests import PullRequest, Review
from addon.preview.registry import Place, Viewer


class PullDocuments:
    """Writes the documents of pull requests."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._made: dict[int, Json] | None = None

    def pulls(self, place: Place, pulls: Sequence[PullRequest], viewer: Viewer) -> list[Json]:
        """A list of pull requests."""
        self._made = {}
        try:
            return [self.pull(place, each, viewer) for each in pulls]
        finally:
            self._made = None

    def pull(self, place: Place, pull: PullRequest, viewer: Viewer) -> Json:
        """A pull request as lists and by itself have it."""
        documents, root = self._documents, self._documents.root
        page = f"{root}{place.full_name}/pulls/{pull.number}"
        closed = pull.updated if pull.state == "closed" else None
        return {
            "id": pull.number,
            "url": f"{documents.api}repos/{place.full_name}/pulls/{pull.number}",
            "number": pull.number,
            "user": self._user(pull.by, viewer),
            "title": pull.title,
            "body": "",
            "labels": [self._label(place, name) for name in pull.labels],
            "milestone": None,
            "assignee": None,
            "assignees": None,
            "requested_reviewers": [],
            "requested_reviewers_teams": [],
            "state": pull.state,
            "draft": pull.title.startswith("WIP:"),
            "is_locked": False,
            "comments": 0,
            "review_comments": 0,
            "additions": 0,
            "deletions": 0,
            "changed_files": 0,
            "html_url": page,
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
            "mergeable": False,
            "merged": pull.merged,
            "merged_at": closed if pull.merged else None,
            "merge_commit_sha": pull.head if pull.merged else None,
            "merged_by": self._user(pull.by, viewer) if pull.merged else None,
            "allow_maintainer_edit": False,
            "base": self._side(place, pull.base, pull.base, place.repository.branch(pull.base) or "", viewer),
            "head": self._head(place, pull, viewer),
            "merge_base": place.repository.branch(pull.base) or "",
            "due_date": None,
            "created_at": f"{pull.day}T10:00:00Z",
            "updated_at": pull.updated,
            "closed_at": closed,
            "pin_order": 0,
            "flow": pull.flow,
        }

    def _head(self, place: Place, pull: PullRequest, viewer: Viewer) -> Json:
        """Where it comes from: a branch of a fork or of the base, or the base itself by AGit."""
        name = f"refs/pull/{pull.number}/head" if pull.flow or pull.gone or pull.state == "closed" else pull.branch
        label = f"{pull.by}/{pull.branch}" if pull.flow else pull.branch
        if pull.source is None or pull.flow:
            return self._side(place, label, name, pull.head, viewer)
        owner, _, fork = pull.source.partition("/")
        found = None if pull.gone else self._documents.registry.find(owner, fork)
        return self._side(found, label, name, pull.head, viewer)

    def _side(self, place: Place | None, label: str, ref: str, commit: str, viewer: Viewer) -> Json:
        shown = None if place is None else self._repository(place, viewer)
        number = -1 if place is None else place.id
        return {"label": label, "ref": ref, "sha": commit, "repo_id": number, "repo": shown}

    def _repository(self, place: Place, viewer: Viewer) -> Json:
        """The repository, made once for all rows of a list."""
        if self._made is None:
            return self._documents.repository(place, viewer)
        if place.id not in self._made:
            self._made[place.id] = self._documents.repository(place, viewer)
        return self._made[place.id]

    def _label(self, place: Place, name: str) -> Json:
        return {
            "id": 1,
            "name": name,
            "exclusive": False,
            "is_archived": False,
            "color": "00ff00",
            "description": "",
            "url": f"{self._documents.api}repos/{place.full_name}/labels/1",
        }

    def review(self, place: Place, pull: PullRequest, review: Review, viewer: Viewer) -> Json:
        """A review."""
        page = f"{self._documents.root}{place.full_name}/pulls/{pull.number}"
        return {
            "id": review.id,
            "user": self._user(review.by, viewer),
            "team": None,
            "state": review.state,
            "body": "ok",
            "commit_id": review.commit,
            "stale": review.commit != pull.head,
            "official": review.official,
            "dismissed": review.dismissed,
            "comments_count": 0,
            "submitted_at": review.submitted,
            "updated_at": review.submitted,
            "html_url": f"{page}#issuecomment-{review.id}",
            "pull_request_url": page,
        }

    def event(self, place: Place, pull: PullRequest, event: dict[str, Any], viewer: Viewer) -> Json | None:
        """A row of the timeline; null where Forgejo fails to make one, here for an event that is empty."""
        if not event:
            return None
        page = f"{self._documents.root}{place.full_name}/pulls/{pull.number}"
        label = event.get("label")
        return {
            "id": event["id"],
            "type": event["type"],
            "html_url": f"{page}#issuecomment-{event['id']}",
            "pull_request_url": page,
            "issue_url": "",
            "user": self._user(pull.by, viewer),
            "body": event.get("body", ""),
            "created_at": event["at"],
            "updated_at": event["at"],
            "old_project_id": 0,
            "project_id": 0,
            "old_milestone": None,
            "milestone": None,
            "tracked_time": None,
            "old_title": "",
            "new_title": "",
            "old_ref": "",
            "new_ref": "",
            "ref_issue": None,
            "ref_comment": None,
            "ref_action": "",
            "ref_commit_sha": "",
            "review_id": event.get("review_id", 0),
            "label": None if label is None else self._label(place, label),
            "assignee": None,
            "assignee_team": None,
            "removed_assignee": False,
            "resolve_doer": None,
            "dependent_issue": None,
        }

    def status(self, place: Place, commit: str, number: int, status: Json, viewer: Viewer) -> Json:
        """A commit status."""
        return {
            "id": number,
            "status": status["state"],
            "target_url": status.get("target_url", ""),
            "description": status.get("description", ""),
            "url": f"{self._documents.api}repos/{place.full_name}/statuses/{commit}",
            "context": status.get("context", ""),
            "creator": self._user(status["by"], viewer),
            "created_at": status["at"],
            "updated_at": status["at"],
        }

    def combined(self, place: Place, commit: str, statuses: list[Json], viewer: Viewer) -> Json:
        """What was said last by each context; nothing at all, nulls and empty, of a commit without any."""
        if not statuses:
            nothing = {"state": "", "sha": "", "total_count": 0, "statuses": None, "repository": None}
            return {**nothing, "commit_url": "", "url": ""}
        latest: dict[str, tuple[int, Json]] = {}
        for number, status in enumerate(statuses, 1):
            latest[status.get("context", "")] = number, status
        rows = sorted(latest.values(), key=lambda row: row[0])
        api = f"{self._documents.api}repos/{place.full_name}/commits/{commit}"
        order = ["error", "failure", "warning", "pending", "success"]
        worst = min((status["state"] for _, status in rows), key=lambda one: order.index(one) if one in order else 9)
        return {
            "state": "failure" if worst == "error" else worst,
            "sha": commit,
            "total_count": len(rows),
            "statuses": [self.status(place, commit, number, status, viewer) for number, status in rows],
            "repository": self._documents.repository(place, viewer),
            "commit_url": api,
            "url": f"{api}/status",
        }

    def _user(self, name: str, viewer: Viewer) -> Json | None:
        owner = self._documents.registry.owner(name)
        return None if owner is None else self._documents.owner(owner, viewer)
