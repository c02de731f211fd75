# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What Forgejo's answers about pull requests, branches and commits mean: JSON to typed values, each field checked.

Pure. Whose code a pull request is follows from three fields together (`flow`, `head.repo_id`, `base.repo_id`): by AGit
anybody who may read can make one whose head lies in the base repository. A forge that does not say `flow` leaves that
open, so all of its pull requests are strangers'. What else can no more be told apart from a lie is a BadAnswer.
"""

import json
from typing import Any, NamedTuple

from addon.forgejo.answers import Repository, count, document, is_branch, is_id, moment, text
from addon.forgejo.errors import BadAnswer

_HEADS = "refs/heads/"
_MOST_LABELS = 200


class Pull(NamedTuple):
    """An open pull request. head: the commit that Forgejo names; own: pushed by somebody who can write here.

    labels: in lower case. updated: as Forgejo writes it; updated_at: the same in seconds since 1970.
    """

    number: int
    head: str
    own: bool
    labels: frozenset[str]
    updated: str
    updated_at: float | None


class Approval(NamedTuple):
    """A review that approves, by somebody whose word counts (Forgejo's `official`)."""

    id: int
    commit: str


class Event(NamedTuple):
    """What happened to a pull request. kind: as Forgejo calls it; label: of a label, in lower case; added: or removed.

    commits: of a push, the newest last. review: the review's id, or 0. Without a kind it is what Forgejo cannot tell.
    """

    kind: str
    label: str = ""
    added: bool = False
    commits: tuple[str, ...] = ()
    review: int = 0


class CommitInfo(NamedTuple):
    """A commit. committed_at: seconds since 1970."""

    id: str
    committed_at: float


def heads(body: bytes) -> dict[str, str]:
    """The commits of all branches, by name, in a 200 of `/git/refs/heads`."""
    found: dict[str, str] = {}
    for row in _rows(body, "branches"):
        name, target = row.get("ref"), row.get("object")
        if type(name) is not str or type(target) is not dict or not name.startswith(_HEADS):
            raise BadAnswer("branches: a row that is no branch")
        branch, commit = name.removeprefix(_HEADS), target.get("sha")
        if not is_id(commit):
            raise BadAnswer("branches: no commit id")
        if is_branch(branch):
            found[branch] = str(commit)
    return found


def pulls(body: bytes, repository: Repository) -> tuple[list[Pull], int]:
    """The open pull requests of a repository on a page of `/pulls`, and how many rows it had."""
    rows = _rows(body, "pull requests")
    found = [_pull(row, repository) for row in rows]
    return [each for each in found if each is not None], len(rows)


def _pull(row: dict[str, Any], repository: Repository) -> Pull | None:
    what = "pull request"
    head, base = row.get("head"), row.get("base")
    if type(head) is not dict or type(base) is not dict:
        raise BadAnswer(f"{what}: no head or no base")
    if count(base, "repo_id", what) != repository.id:
        raise BadAnswer(f"{what}: of another repository")
    commit, where = head.get("sha"), head.get("repo_id")
    if row.get("state") != "open" or row.get("merged") is not False or not is_id(commit):
        return None
    labels = row.get("labels") or []
    if type(labels) is not list or len(labels) > _MOST_LABELS:
        labels = []
    names = (each.get("name") for each in labels if type(each) is dict)
    updated = text(row, "updated_at", what)
    return Pull(
        count(row, "number", what),
        str(commit),
        type(row.get("flow")) is int and row["flow"] == 0 and type(where) is int and where == repository.id,
        frozenset(name.lower() for name in names if type(name) is str),
        updated,
        moment(updated),
    )


def approvals(body: bytes) -> tuple[list[Approval], int]:
    """The approvals that count on a page of `/pulls/{number}/reviews`, and how many rows it had."""
    rows = _rows(body, "reviews")
    found = []
    for row in rows:
        good = row.get("state") == "APPROVED" and row.get("official") is True and row.get("dismissed") is False
        if good and is_id(row.get("commit_id")):
            found.append(Approval(count(row, "id", "review"), row["commit_id"]))
    return found, len(rows)


def events(body: bytes) -> tuple[list[Event], int]:
    """What happened, on a page of `/issues/{number}/timeline`, the oldest first, and how many rows it had.

    Forgejo writes null for no rows, and for a row that it failed to make (of what refers to an issue that is gone).
    """
    rows = document(body)
    if rows is None:
        return [], 0
    if type(rows) is not list or any(row is not None and type(row) is not dict for row in rows):
        raise BadAnswer("timeline: expected a list of objects")
    return [Event("") if row is None else _event(row) for row in rows], len(rows)


def _event(row: dict[str, Any]) -> Event:
    kind, said = row.get("type"), row.get("body")
    if type(kind) is not str:
        raise BadAnswer("timeline: an event of no type")
    if kind == "label":
        label = row.get("label")
        name = label.get("name") if type(label) is dict else None
        return Event(kind, name.lower() if type(name) is str else "", said == "1")
    if kind == "pull_push":
        return Event(kind, commits=_pushed(said))
    review = row.get("review_id")
    return Event(kind, review=review if kind == "review" and type(review) is int else 0)


def _pushed(said: object) -> tuple[str, ...]:
    """The commits that a push brought; none where it does not say: then nobody knows what was pushed."""
    try:
        told = json.loads(said) if type(said) is str else None
    except (ValueError, RecursionError):
        return ()
    ids = told.get("commit_ids") if type(told) is dict else None
    return tuple(ids) if type(ids) is list and all(map(is_id, ids)) else ()


def commit(body: bytes, asked: str) -> CommitInfo:
    """The commit in a 200 of `/git/commits/{id or its beginning}`."""
    fields = document(body)
    inner = fields.get("commit") if type(fields) is dict else None
    committer = inner.get("committer") if type(inner) is dict else None
    if type(committer) is not dict or not is_id(fields.get("sha")) or not fields["sha"].startswith(asked):
        raise BadAnswer("commit: the answer is about another commit")
    at = moment(committer.get("date"))
    return CommitInfo(fields["sha"], 0.0 if at is None else at)


def statuses(body: bytes) -> dict[str, tuple[str, str]]:
    """State and address of each context in a 200 of `/commits/{id}/status`; where there is none, Forgejo says null."""
    fields = document(body)
    rows = fields.get("statuses") if type(fields) is dict else None
    found: dict[str, tuple[str, str]] = {}
    for row in rows if type(rows) is list else ():
        if type(row) is not dict:
            raise BadAnswer("statuses: a row is not an object")
        context, state, address = row.get("context"), row.get("status"), row.get("target_url")
        if type(context) is str and type(state) is str:
            found.setdefault(context, (state, address if type(address) is str else ""))
    return found


def _rows(body: bytes, what: str) -> list[dict[str, Any]]:
    rows = document(body)
    if type(rows) is not list or any(type(row) is not dict for row in rows):
        raise BadAnswer(f"{what}: expected a list of objects")
    return rows
