# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The part of the API that previews of pull requests need: lists, reviews, timelines, histories, statuses.

A handler gets what `api` has checked already: who asks, and that the repository may be read. Setting a status is the
only thing that may be written here, by who can write to the repository and with the scope for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from addon.preview.answers import Answer, Request, json_answer
from addon.preview.api_request import ApiRequest
from addon.preview.documents import Documents
from addon.preview.objects import ObjectMissing
from addon.preview.pull_documents import PullDocuments
from addon.preview.pull_requests import pull_of
from addon.preview.registry import Registry
from addon.preview.repository import Repository, RevisionMissing

Page = Callable[[Request, Sequence[Any]], tuple[int, int, list[tuple[str, str]]]]


class Errors(Protocol):
    """How the API says no."""

    documents: Documents
    registry: Registry

    def error(self, message: str, status: int) -> Answer: ...
    def not_found(self, request: Request, *errors: str, message: str | None = None) -> Answer: ...


class PullsApi:
    """Answers about pull requests, histories and statuses."""

    def __init__(self, api: Errors, page: Page) -> None:
        """page: the number of the page that is asked for, how many rows it has, and the headers that say so."""
        self._api = api
        self._page = page
        self._documents = PullDocuments(api.documents)

    def pulls(self, asked: ApiRequest) -> Answer:
        """`/pulls`, the newest first."""
        wanted = asked.request.parameter("state") or "open"
        pulls = [one for one in asked.place.settings.pulls if wanted == "all" or one.state == wanted]
        pulls.sort(key=lambda one: -one.number)
        page, limit, headers = self._page(asked.request, pulls)
        rows = self._documents.pulls(asked.place, pulls[(page - 1) * limit : page * limit], asked.viewer)
        return json_answer(rows, 200, *headers)

    def pull(self, asked: ApiRequest) -> Answer:
        """`/pulls/{number}`."""
        pull = pull_of(asked.place.settings.pulls, asked.tail)
        if pull is None:
            return self._api.not_found(asked.request)
        return json_answer(self._documents.pull(asked.place, pull, asked.viewer))

    def reviews(self, asked: ApiRequest) -> Answer:
        """`/pulls/{number}/reviews`."""
        pull = pull_of(asked.place.settings.pulls, asked.tail)
        if pull is None:
            return self._api.not_found(asked.request)
        place, viewer = asked.place, asked.viewer
        return self._listed(asked, pull.reviews, lambda one: self._documents.review(place, pull, one, viewer))

    def timeline(self, asked: ApiRequest) -> Answer:
        """`/issues/{number}/timeline`. As in Forgejo's source: its total is that of the page, no rows are null."""
        pull = pull_of(asked.place.settings.pulls, asked.tail)
        if pull is None:
            return self._api.not_found(asked.request)
        page, limit, _ = self._page(asked.request, pull.events)
        shown = pull.events[(page - 1) * limit : page * limit]
        documents = [self._documents.event(asked.place, pull, one, asked.viewer) for one in shown]
        total = ("X-Total-Count", str(len(documents)))
        return json_answer(documents or None, 200, ("Access-Control-Expose-Headers", "X-Total-Count"), total)

    def commits(self, asked: ApiRequest) -> Answer:
        """`/commits?sha=&not=`: the history of one without that of the other, the newest first."""
        repository = asked.place.repository
        name = asked.request.parameter("sha") or self._api.documents.default_branch(asked.place)
        other = asked.request.parameter("not")
        try:
            found = _history(repository, repository.commit_of(name))
        except (RevisionMissing, ObjectMissing):
            return self._api.not_found(asked.request)
        try:
            left_out = set(_history(repository, repository.commit_of(other))) if other else set()
        except (RevisionMissing, ObjectMissing):
            return self._api.error("exit status 128 - fatal: bad revision", 500)  # git is asked, and says so
        rows = [oid for oid in found if oid not in left_out]
        documents, viewer = self._api.documents, asked.viewer
        verification = asked.flag("verification", True)
        page, limit, headers = self._page(asked.request, rows)
        pages = -(-len(rows) // limit)
        more = {"X-Page": page, "X-Perpage": limit, "X-Pagecount": pages, "X-Hasmore": str(page < pages).lower()}
        exposed = (headers[0][0], f"{headers[0][1]}, X-Page, X-PerPage, X-PageCount, X-HasMore")
        shown = [
            documents.commit(asked.place, repository.commit(oid), viewer, verification=verification)
            for oid in rows[(page - 1) * limit : page * limit]
        ]
        return json_answer(shown, 200, exposed, *headers[1:], *((name, str(value)) for name, value in more.items()))

    def combined(self, asked: ApiRequest) -> Answer:
        """`/commits/{ref}/status`."""
        try:
            commit = asked.place.repository.commit_of(asked.tail)
        except RevisionMissing:
            return self._api.not_found(asked.request)
        statuses = asked.place.settings.statuses.get(commit, [])
        document = self._documents.combined(asked.place, commit, statuses, asked.viewer)
        if not statuses:
            return json_answer(document)
        total = ("X-Total-Count", str(document["total_count"]))
        return json_answer(document, 200, ("Access-Control-Expose-Headers", "X-Total-Count"), total)

    def set_status(self, asked: ApiRequest) -> Answer:
        """`POST /statuses/{ref}`. Nothing of it is looked at, as in Forgejo."""
        place, user = asked.place, asked.viewer.user
        registry = self._api.registry
        if user is None or not (registry.administers(place, user) or user in place.settings.writers):
            return self._api.error("user should have a permission to write to a repo", 403)
        try:
            commit = place.repository.commit_of(asked.tail)
        except RevisionMissing:
            return self._api.not_found(asked.request, message=asked.tail)
        try:
            said = json.loads(asked.request.body)
        except ValueError:
            return self._api.error("the body is not JSON", 422)
        statuses = place.settings.statuses.setdefault(commit, [])
        known = {name: said[name] for name in ("state", "target_url", "description", "context") if name in said}
        statuses.append({"state": "", **known, "by": user, "at": "2026-05-28T10:00:00Z"})
        document = self._documents.status(place, commit, len(statuses), statuses[-1], asked.viewer)
        return json_answer(document, 201)

    def _listed(self, asked: ApiRequest, items: Sequence[Any], document: Callable[[Any], Any]) -> Answer:
        page, limit, headers = self._page(asked.request, items)
        shown = items[(page - 1) * limit : page * limit]
        return json_answer([document(one) for one in shown], 200, *headers)


def _history(repository: Repository, commit: str) -> list[str]:
    """A commit and all before it."""
    found: dict[str, None] = {}
    waiting = [commit]
    while waiting:
        oid = waiting.pop()
        if oid not in found and re.fullmatch("[0-9a-f]+", oid):
            found[oid] = None
            waiting.extend(repository.commit(oid).parents)
    return list(found)
