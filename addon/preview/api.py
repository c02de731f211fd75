# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Forgejo's `/api/v1` as a function from request to answer: credentials, routes, scopes, repository, handler.

The order of the checks is Forgejo's, since it decides between 401, 403, 404, 405 and a redirect: a bad token is refused
before the route is known, a missing scope before the repository is looked up. Nothing is written but commit statuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from posixpath import normpath
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

from addon.preview.answers import Answer, Request, json_answer, no_route, percent, redirect, wrong_method
from addon.preview.api_request import ApiRequest, number
from addon.preview.credentials import refusal, secrets_of
from addon.preview.documents import Documents, Json
from addon.preview.files import content, guessed, stored_elsewhere
from addon.preview.objects import ObjectMissing
from addon.preview.pull_requests import references
from addon.preview.pulls_api import PullsApi
from addon.preview.raw import raw_answer
from addon.preview.registry import ANONYMOUS, Place, Registry, Viewer
from addon.preview.repository import SYMLINK, TREE, RevisionMissing, Row
from addon.preview.settings import READ_ISSUE, READ_REPOSITORY, Flavour, Limits, Policy

_MESSAGES = {"en": "The target couldn't be found.", "de": "Das Ziel konnte nicht gefunden werden."}


class _Route(NamedTuple):
    pattern: re.Pattern[str]
    methods: tuple[str, ...]
    handler: Callable[[ApiRequest], Answer]
    writes: bool = False  # it may be written to, by who may write
    scope: str = READ_REPOSITORY  # what a token needs to read it


class Api:
    """Answers everything below `/api/`."""

    def __init__(self, documents: Documents, policy: Policy) -> None:
        self.documents = documents
        self.registry: Registry = documents.registry
        self.flavour: Flavour = documents.flavour
        self.limits: Limits = documents.limits
        self.policy = policy
        get = ("GET",)
        pulls = PullsApi(self, self._paged)
        self._routes = [
            _route("", ("DELETE", "GET", "PATCH"), self._repository),
            _route("/languages", get, self._languages),
            _route("/branches", ("GET", "POST"), self._branches),
            _route("/branches/(?P<tail>.+)", ("DELETE", "GET", "PATCH"), self._branch),
            _route("/git/trees/(?P<tail>[^/]+)", get, self._tree),
            _route("/git/blobs/(?P<tail>[^/]+)", get, self._blob),
            _route("/git/commits/(?P<tail>[^/]+)", get, self._commit),
            _route("/git/refs", get, self._references),
            _route("/git/refs/(?P<tail>.+)", get, self._references),
            _route("/raw/(?P<tail>.+)", get, self._raw),
            _route("/media/(?P<tail>.+)", get, self._media),
            _route("/contents", ("GET", "POST"), self._contents),
            _route("/contents/(?P<tail>.+)", ("DELETE", "GET", "POST", "PUT"), self._contents),
            _route("/archive/(?P<tail>.+)", get, self._not_offered),
            _route("/collaborators/(?P<tail>[^/]+)/permission", get, self._permission),
            _route("/pulls", ("GET", "POST"), pulls.pulls),
            _route("/pulls/(?P<tail>[0-9]+)", ("GET", "PATCH"), pulls.pull),
            _route("/pulls/(?P<tail>[0-9]+)/reviews", ("GET", "POST"), pulls.reviews),
            _route("/issues/(?P<tail>[0-9]+)/timeline", get, pulls.timeline)._replace(scope=READ_ISSUE),
            _route("/commits", get, pulls.commits),
            _route("/commits/(?P<tail>[^/]+)/status", get, pulls.combined),
            _route("/statuses/(?P<tail>[^/]+)", ("POST",), pulls.set_status)._replace(writes=True),
        ]
        if self.flavour.batch:
            self._routes.append(_route("/git/blobs", get, self._blobs))

    # -- from request to handler ------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer:
        """The answer to a request whose path begins with `/api/`."""
        path = re.sub("/{2,}", "/", request.path).rstrip("/")
        if path == "/api/forgejo/v1/version" and not self.flavour.gitea:
            version = {"version": self.flavour.version}
            return json_answer(version, content_type="application/json; charset=utf-8")
        if not path.startswith("/api/v1"):
            return no_route()
        viewer = self.viewer(request)
        if isinstance(viewer, Answer):
            return viewer
        if self.policy.require_sign_in and not viewer.signed_in:
            return json_answer({"message": "Only signed in user is allowed to call APIs."}, 403)
        answer = self._routed(request, path.removeprefix("/api/v1"), viewer)
        if request.parameter("token") or request.parameter("access_token"):
            answer = answer.with_headers(("Warning", "token and access_token API authentication is deprecated"))
        language = re.sub("[^A-Za-z-]", "", request.parameter("lang") or "")
        if language:
            cookie = f"lang={language}; Path=/; Max-Age=2147483647; HttpOnly; SameSite=Lax"
            answer = answer.with_headers(("Set-Cookie", cookie))
        return answer

    def viewer(self, request: Request) -> Viewer | Answer:
        """Who asks; 401 for credentials that are not known."""
        secrets = secrets_of(request)
        if not secrets:
            return ANONYMOUS
        for secret in secrets:
            token = self.registry.tokens.get(secret) or self.registry.bearer(secret)
            owner = self.registry.owner(token.user) if token is not None else None
            if owner is not None and owner.settings.prohibited:
                text = "This account is prohibited from signing in, please contact your site administrator."
                return json_answer({"message": text}, 403)
            if token is not None:
                return Viewer(token.user, token)
        return self.error(refusal(secrets[0]), 401)

    def error(self, message: str, status: int) -> Answer:
        """An error document; 404 needs `not_found`."""
        return json_answer({"message": message, "url": f"{self.documents.root}api/swagger"}, status)

    def not_found(self, request: Request, *errors: str, message: str | None = None) -> Answer:
        """404 with the message in the client's language."""
        language = request.parameter("lang") or request.headers.get("accept-language") or "en"
        text = message or _MESSAGES["de" if language.lower().startswith("de") else "en"]
        document = {"message": text, "url": f"{self.documents.root}api/swagger", "errors": list(errors)}
        return json_answer(document, 404)

    def place(
        self, request: Request, owner: str, name: str, viewer: Viewer, *, api: bool = True
    ) -> Place | Answer | None:
        """The repository if the viewer may see it, a redirect for an old name, None if neither.

        Raises KeyError when there is no such owner.
        """
        registry = self.registry
        if registry.owner(owner) is None:
            new = registry.renamed(owner)
            if new is None or registry.owner(new) is None:
                raise KeyError(owner)
            return self._moved(request, owner, percent(owner), percent(new), 307, api=api)
        found = registry.find(owner, name)
        if found is None:
            new = registry.renamed(f"{owner}/{name}")
            target = registry.find(*new.split("/", 1)) if new else None
            if target is None or not registry.can_read(target, viewer):
                return None
            old_part, new_part = f"{percent(owner)}/{percent(name)}", percent(target.full_name)
            return self._moved(request, owner, old_part, new_part, 301, api=api)
        return found if registry.can_read(found, viewer) else None

    def _moved(self, request: Request, owner: str, old: str, new: str, status: int, *, api: bool) -> Answer:
        location = request.path.replace(old, new, 1)
        if request.query:
            location += f"?{request.query}"
        sub_path = "/" + self.documents.root.split("://", 1)[1].partition("/")[2].rstrip("/")
        # Forgejo cleans the whole target, its query too, as if it were a path.
        return redirect(request, normpath(f"{sub_path.rstrip('/')}{location}"), status, api=api)

    def _routed(self, request: Request, path: str, viewer: Viewer) -> Answer:
        if self.flavour.gitea and request.method == "HEAD":
            request = replace(request, method="GET")
        for fixed, handler in self._fixed().items():
            if path == fixed:
                return handler() if request.method == "GET" else wrong_method(request, ("GET",))
        by_id = re.fullmatch(r"/repositories/([0-9]{1,18})", path)
        if by_id:
            return self._by_id(request, viewer, int(by_id[1]))
        if path == "/repos/search":
            return self._listed(request, viewer, None)
        if path == "/repos/issues/search":  # there are none
            return self.lacks_scope(viewer, READ_ISSUE) or json_answer([], 200, *self._paged(request, [])[2])
        listed = re.fullmatch(r"/users/([^/]+)/repos", path)
        if listed:
            return self._listed(request, viewer, unquote(listed[1]))
        for route in self._routes:
            found = route.pattern.fullmatch(path)
            if found is None:
                continue
            if request.method not in route.methods:
                return wrong_method(request, route.methods)
            if request.method != "GET" and not route.writes:
                return self._write(viewer)
            if route.writes and (refused := self._may_write(viewer)) is not None:
                return refused
            tail = unquote(found["tail"], errors="surrogateescape") if "tail" in found.groupdict() else ""
            refused = self.lacks_scope(viewer, route.scope)
            if refused is not None:
                return refused
            return self._with_repository(
                request, viewer, unquote(found["owner"]), unquote(found["name"]), tail, route.handler
            )
        return no_route()

    def _with_repository(
        self,
        request: Request,
        viewer: Viewer,
        owner: str,
        name: str,
        tail: str,
        handler: Callable[[ApiRequest], Answer],
    ) -> Answer:
        try:
            place = self.place(request, owner, name, viewer)
        except KeyError:
            return self.not_found(request, f"user redirect does not exist [name: {owner}]", message="GetUserByName")
        if isinstance(place, Answer):
            return place
        if place is None or (place.settings.hidden_code and handler != self._repository):
            return self.not_found(request)
        if handler != self._repository and not self.registry.sees_code(place, viewer):
            return self.error("user should have specific read permission or be a repo admin or a site admin", 403)
        repository = place.repository
        by_id = repository.is_id(tail) or repository.is_id(request.parameter("ref") or "") or handler == self._blobs
        if not by_id:  # A folder's branch moves when its files change; by id everything stays what it was.
            repository.source.refresh()
        return handler(ApiRequest(request, viewer, place, tail))

    def lacks_scope(self, viewer: Viewer, *scopes: str) -> Answer | None:
        """403 when the viewer's token has not all of the scopes."""
        missing = [one for one in scopes if viewer.token is not None and not viewer.token.allows(one)]
        if not missing:
            return None
        return self.error(f"token does not have at least one of required scope(s): [{missing[0]}]", 403)

    def _write(self, viewer: Viewer) -> Answer:
        return self._may_write(viewer) or self.error("a preview is read-only", 403)

    def _may_write(self, viewer: Viewer) -> Answer | None:
        """Why who asks may not write anything; None where they may."""
        if not viewer.signed_in:
            return self.error("token is required", 401)
        return self.lacks_scope(viewer, "write:repository")

    # -- not about one repository -----------------------------------------------------------------------------------

    def _fixed(self) -> dict[str, Callable[[], Answer]]:
        limits = self.limits
        return {
            "/version": lambda: json_answer({"version": self.flavour.version}),
            "/settings/api": lambda: json_answer(
                {
                    "max_response_items": limits.max_response_items,
                    "default_paging_num": limits.default_paging_num,
                    "default_git_trees_per_page": limits.default_git_trees_per_page,
                    "default_max_blob_size": limits.default_max_blob_size,
                }
            ),
            "/settings/repository": lambda: json_answer(
                {
                    "mirrors_disabled": False,
                    "http_git_disabled": False,
                    "migrations_disabled": False,
                    "stars_disabled": False,
                    "forks_disabled": False,
                    "time_tracking_disabled": False,
                    "lfs_disabled": False,
                }
            ),
        }

    def _by_id(self, request: Request, viewer: Viewer, number: int) -> Answer:
        if request.method != "GET":
            return wrong_method(request, ("GET",))
        if not viewer.signed_in:
            return self.error("token is required", 401)
        refused = self.lacks_scope(viewer, READ_REPOSITORY)
        if refused is not None:
            return refused
        place = next((one for one in self.registry.places() if one.id == number), None)
        if place is None or not self.registry.can_read(place, viewer):
            return self.not_found(request)
        return json_answer(self.documents.repository(place, viewer))

    def _listed(self, request: Request, viewer: Viewer, owner: str | None) -> Answer:
        if request.method != "GET":
            return wrong_method(request, ("GET",))
        refused = self.lacks_scope(viewer, *(("read:user",) if owner else ()), READ_REPOSITORY)
        if refused is not None:
            return refused
        if owner is not None and self.registry.owner(owner) is None:
            return self.not_found(request, f"user redirect does not exist [name: {owner}]", message="GetUserByName")
        asked = (request.parameter("q") or "").lower()
        places = [
            place
            for place in self.registry.places()
            if self.registry.can_read(place, viewer)
            and (owner is None or place.owner.name.lower() == owner.lower())
            and asked in place.name.lower()
        ]
        page, shown, headers = self._paged(request, places)
        documents = [self.documents.repository(place, viewer) for place in places[(page - 1) * shown : page * shown]]
        return json_answer(documents if owner is not None else {"ok": True, "data": documents}, 200, *headers)

    def _paged(self, request: Request, items: Sequence[Any]) -> tuple[int, int, list[tuple[str, str]]]:
        """Page, items per page, and the headers that say so."""
        page, limit = max(1, number(request, "page")), number(request, "limit")
        if limit <= 0:
            limit = self.limits.default_paging_num
        limit = min(limit, self.limits.max_response_items)
        last = max(1, ceil(len(items) / limit))
        relations = []
        if page < last:
            relations += [("next", page + 1), ("last", last)]
        if page > 1:
            relations += [("first", 1), ("prev", page - 1)]
        headers = [("Access-Control-Expose-Headers", "Link, X-Total-Count" if relations else "X-Total-Count")]
        if relations:
            links = []
            for relation, at in relations:
                query = urlencode(sorted((dict(parse_qsl(request.query)) | {"page": str(at)}).items()))
                links.append(f'<{self.documents.root.rstrip("/")}{request.path}?{query}>; rel="{relation}"')
            headers.append(("Link", ",".join(links)))
        return page, limit, [*headers, ("X-Total-Count", str(len(items)))]

    # -- one repository ---------------------------------------------------------------------------------------------

    def _repository(self, asked: ApiRequest) -> Answer:
        return json_answer(self.documents.repository(asked.place, asked.viewer))

    def _languages(self, asked: ApiRequest) -> Answer:
        return json_answer({})

    def _branches(self, asked: ApiRequest) -> Answer:
        repository = asked.place.repository
        branches = repository.branches()
        names = sorted(branches, key=lambda name: (-repository.commit(branches[name]).committer.seconds, name))
        page, limit, headers = self._paged(asked.request, names)
        shown = names[(page - 1) * limit : page * limit]
        documents = [self.documents.branch(asked.place, name, asked.viewer) for name in shown]
        return json_answer(documents or None, 200, *headers)

    def _branch(self, asked: ApiRequest) -> Answer:
        if asked.place.repository.branch(asked.tail) is None:
            return self.not_found(asked.request, f"branch does not exist [name: {asked.tail}]")
        return json_answer(self.documents.branch(asked.place, asked.tail, asked.viewer))

    def _tree(self, asked: ApiRequest) -> Answer:
        repository = asked.place.repository
        try:
            oid = repository.resolve(asked.tail)
            rows = repository.listing(repository.tree_of(oid), recursive=asked.flag("recursive"))
        except (RevisionMissing, ObjectMissing):
            return self.error(f"sha not found [{asked.tail}]", 400)
        most = self.limits.default_git_trees_per_page
        per_page = asked.number("per_page")
        if per_page <= 0 or per_page > most:
            per_page = most
        document = self.documents.tree(asked.place, oid, rows, max(1, asked.number("page")), per_page)
        total = ("X-Total-Count", str(len(rows)))
        return json_answer(document, 200, ("Access-Control-Expose-Headers", "X-Total-Count"), total)

    def _blob(self, asked: ApiRequest) -> Answer:
        found = self._object(asked, asked.tail)
        return found if isinstance(found, Answer) else json_answer(found)

    def _blobs(self, asked: ApiRequest) -> Answer:
        ids = [one for one in (asked.request.parameter("shas") or "").split(",") if one]
        if not ids:
            return self.error("shas not provided", 400)
        documents = []
        for oid in ids[: self.limits.max_response_items]:
            found = self._object(asked, oid)
            if isinstance(found, Answer):
                return found
            documents.append(found)
        return json_answer(documents)

    def _object(self, asked: ApiRequest, oid: str) -> Json | Answer:
        if len(oid) not in (40, 64):
            return self.error(f"length {len(oid)} has no matched object format: {oid}", 400)
        bad = re.search(r"[^0-9a-fA-F]", oid)
        if bad is not None:
            return self.error(f"encoding/hex: invalid byte: U+{ord(bad[0]):04X} {bad[0]!r}", 400)
        try:
            if len(oid) != asked.place.repository.hex_length:
                raise ObjectMissing(oid)
            return self.documents.blob(asked.place, oid.lower())
        except ObjectMissing:
            return self.error(f"object does not exist [id: {oid.lower()}, rel_path: ]", 400)

    def _commit(self, asked: ApiRequest) -> Answer:
        repository = asked.place.repository
        try:
            commit = repository.commit(repository.commit_of(asked.tail))
        except RevisionMissing:
            return self.not_found(asked.request, f"object does not exist [id: {asked.tail}, rel_path: ]")
        verification = asked.flag("verification", True)
        return json_answer(self.documents.commit(asked.place, commit, asked.viewer, verification=verification))

    def _references(self, asked: ApiRequest) -> Answer:
        wanted = f"refs/{asked.tail}"
        refs = sorted({**asked.place.repository.source.refs(), **references(asked.place.settings.pulls)}.items())
        found = [self.documents.reference(asked.place, name, oid) for name, oid in refs if name.startswith(wanted)]
        return json_answer(found) if found else self.not_found(asked.request)

    def _contents(self, asked: ApiRequest) -> Answer:
        repository, path = asked.place.repository, asked.tail.strip("/")
        if repository.is_empty():
            return json_answer([])
        ref = asked.request.parameter("ref") or self.documents.default_branch(asked.place)
        raw = path.encode(errors="surrogateescape")
        try:
            commit = repository.commit_of(ref)
        except RevisionMissing:
            return self.not_found(asked.request, f"object does not exist [id: {ref}, rel_path: ]", message="GetCommit")
        if b".git" in raw.lower().split(b"/"):
            return self.error("", 500)
        try:
            entry = repository.entry_at(repository.commit(commit).tree, raw)
        except RevisionMissing:
            missing = f"object does not exist [id: , rel_path: {path}]"
            return self.not_found(asked.request, missing, message="GetContentsOrList")
        if entry.mode != TREE:
            row = Row(raw, entry.mode, entry.id)
            return json_answer(self.documents.contents(asked.place, ref, commit, row, whole=True))
        prefix = raw + b"/" if raw else b""
        rows = [Row(prefix + one.name, one.mode, one.id) for one in repository.tree(entry.id)]
        return json_answer([self.documents.contents(asked.place, ref, commit, row, whole=False) for row in rows])

    def _not_offered(self, asked: ApiRequest) -> Answer:
        return self.not_found(asked.request)

    def _permission(self, asked: ApiRequest) -> Answer:
        place, viewer, registry = asked.place, asked.viewer, self.registry
        if viewer.user is None:
            return self.error("token is required", 401)
        about = registry.owner(asked.tail)
        if about is None:
            return self.not_found(asked.request, f"user does not exist [name: {asked.tail}]", message="GetUserByName")
        admin = registry.administers(place, viewer.user) or (viewer.token is not None and viewer.token.admin)
        if not admin and viewer.user.lower() != about.name.lower():
            return self.error("Only admins can query all permissions, repo admins can query all repo permissions", 403)
        if about.name.lower() == place.owner.name.lower():
            permission = "owner"
        elif registry.administers(place, about.name):
            permission = "admin"
        elif about.name in place.settings.writers:
            permission = "write"
        else:
            permission = "read" if registry.can_read(place, Viewer(about.name)) else "none"
        user = self.documents.owner(about, viewer)
        return json_answer({"permission": permission, "role_name": permission, "user": user})

    # -- bytes ------------------------------------------------------------------------------------------------------

    def _raw(self, asked: ApiRequest) -> Answer:
        return self._file(asked, lfs=False)

    def _media(self, asked: ApiRequest) -> Answer:
        return self._file(asked, lfs=True)

    def _file(self, asked: ApiRequest, *, lfs: bool) -> Answer:
        repository, path = asked.place.repository, asked.tail
        ref = asked.request.parameter("ref")
        try:
            if ref:
                commit = repository.commit_of(ref)
            else:
                commit, path = guessed(repository, path, self.documents.default_branch(asked.place))
            raw = path.encode(errors="surrogateescape")
            entry = repository.entry_at(repository.commit(commit).tree, raw)
        except (RevisionMissing, ObjectMissing):
            return self.not_found(asked.request)
        try:
            is_blob = repository.source.header(entry.id).kind == "blob"
        except ObjectMissing:
            is_blob = False
        if not is_blob:
            return self.not_found(asked.request, message="getBlobForEntry")
        try:
            found = content(asked.place, entry.id, raw, commit, lfs=lfs)
            if found.lfs and self.policy.lfs_storage_url is not None:
                return redirect(asked.request, stored_elsewhere(found, self.policy.lfs_storage_url), 303, api=True)
            found = replace(found, link=entry.mode == SYMLINK)
            return raw_answer(asked.request, found, self.flavour, api=True)
        except ObjectMissing:  # the file of a work tree changed just now
            return self.not_found(asked.request)


def _route(pattern: str, methods: tuple[str, ...], handler: Callable[[ApiRequest], Answer]) -> _Route:
    return _Route(re.compile(rf"/repos/(?P<owner>[^/]+)/(?P<name>[^/]+){pattern}"), methods, handler)
