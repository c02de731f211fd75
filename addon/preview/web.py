# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The few routes of Forgejo's web interface that a pages server may use: raw files and LFS objects by name or by blob
id.

Their errors are text for people, not JSON; `/raw` takes tokens, `/media` only a session, which a preview has not.
`/raw/blob/ID` needs no path, so it reaches files whose names are no UTF-8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from addon.preview.answers import FRAME, NO_CACHE, Answer, Request, percent, redirect, text_answer
from addon.preview.api import Api
from addon.preview.files import content, stored_elsewhere
from addon.preview.objects import ObjectMissing
from addon.preview.raw import Content, pieces_of, raw_answer, tag_matches
from addon.preview.registry import ANONYMOUS, Place
from addon.preview.repository import RevisionMissing
from addon.preview.settings import READ_REPOSITORY

_ROUTE = re.compile(r"/(?P<owner>[^/]+)/(?P<name>[^/]+)/(?P<face>raw|media)/(?P<rest>.+)")


@dataclass(frozen=True)
class Web:
    """Answers what is not below `/api/`."""

    api: Api

    def answer(self, request: Request) -> Answer:
        path = re.sub("/{2,}", "/", request.path).rstrip("/")
        found = _ROUTE.fullmatch(path)
        if found is None:
            return self._not_found(request)
        if request.method not in ("GET", "HEAD"):
            return Answer(405, (("Allow", "GET"), ("Allow", "HEAD"), NO_CACHE, FRAME, ("Content-Length", "0")))
        viewer = self.api.viewer(request) if found["face"] == "raw" else ANONYMOUS
        if isinstance(viewer, Answer):
            return viewer
        if self.api.policy.require_sign_in and not viewer.signed_in:
            cookie = f"redirect_to={percent(request.target, safe='')}; Path=/; HttpOnly; SameSite=Lax"
            location = self.api.documents.root.split("://", 1)[1].partition("/")[2]
            return redirect(request, f"/{location}user/login", 303, api=False).with_headers(("Set-Cookie", cookie))
        refused = self.api.lacks_scope(viewer, READ_REPOSITORY)
        if refused is not None:
            return refused
        try:
            place = self.api.place(request, unquote(found["owner"]), unquote(found["name"]), viewer, api=False)
        except KeyError:
            return self._not_found(request)
        if isinstance(place, Answer):
            return place
        if place is None or place.settings.hidden_code:
            return self._not_found(request)
        return self._file(request, place, found["face"], unquote(found["rest"], errors="surrogateescape"))

    def _file(self, request: Request, place: Place, face: str, rest: str) -> Answer:
        repository = place.repository
        how, _, what = rest.partition("/")
        path: str | None
        try:
            if how == "blob":
                return self._blob(request, place, what, lfs=face == "media")
            if how == "commit":
                revision, _, path = what.partition("/")
                commit = repository.commit_of(revision)
            elif how in ("branch", "tag"):
                named = repository.branch if how == "branch" else repository.tag
                parts = what.split("/")
                count = next(n for n in range(1, len(parts) + 1) if named("/".join(parts[:n])) is not None)
                commit = repository.commit_of(f"refs/{(how == 'tag' and 'tags') or 'heads'}/{'/'.join(parts[:count])}")
                path = "/".join(parts[count:])
            else:
                return self._legacy(request, place, face, rest)
            raw = path.encode(errors="surrogateescape")
            entry = repository.entry_at(repository.commit(commit).tree, raw)
            if repository.source.header(entry.id).kind != "blob":
                return self._not_found(request)
        except (RevisionMissing, ObjectMissing, StopIteration):
            return self._not_found(request)
        return self._sent(request, place, entry.id, raw, commit, lfs=face == "media")

    def _blob(self, request: Request, place: Place, oid: str, *, lfs: bool) -> Answer:
        repository = place.repository
        if not lfs and repository.is_id(oid) and tag_matches(request, oid.lower()):
            # The tag is the id, so Forgejo does not look whether the blob is there.
            return raw_answer(request, Content(".", oid.lower(), 0, pieces_of(b"")), self.api.flavour, api=False)
        try:
            if not repository.is_id(oid) or repository.source.header(oid.lower()).kind != "blob":
                raise ObjectMissing(oid)
        except ObjectMissing:
            page = '<!DOCTYPE html>\n<html lang="en"><title>Internal server error</title>\n'
            return text_answer(page, 500, "text/html; charset=utf-8")
        return self._sent(request, place, oid.lower(), None, None, lfs=lfs)

    def _sent(
        self, request: Request, place: Place, oid: str, path: bytes | None, commit: str | None, *, lfs: bool
    ) -> Answer:
        found = content(place, oid, path, commit, lfs=lfs)
        storage = self.api.policy.lfs_storage_url
        if found.lfs and storage is not None:
            return redirect(request, stored_elsewhere(found, storage), 303, api=False)
        return raw_answer(request, found, self.api.flavour, api=False)

    def _legacy(self, request: Request, place: Place, face: str, rest: str) -> Answer:
        """`/raw/REF/PATH` leads to the form that says what REF is."""
        repository, parts = place.repository, rest.split("/")
        for kind, named in (("branch", repository.branch), ("tag", repository.tag)):
            for count in range(1, len(parts)):
                if named("/".join(parts[:count])) is not None:
                    return redirect(request, f"/{place.full_name}/{face}/{kind}/{percent(rest)}", 303, api=False)
        if repository.is_id(parts[0]):
            return redirect(request, f"/{place.full_name}/{face}/commit/{percent(rest)}", 303, api=False)
        return self._not_found(request)

    def _not_found(self, request: Request) -> Answer:
        if "text/html" in request.headers.get("accept", ""):
            page = '<!DOCTYPE html>\n<html lang="en"><title>Page not found</title>\n'
            return text_answer(page, 404, "text/html; charset=utf-8")
        return text_answer("Not found.\n", 404, "text/plain;charset=utf-8")
