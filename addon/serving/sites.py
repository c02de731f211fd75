# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The second step: which site answers, out of what is known of repositories, and which pages stand in for it.

An owner's host may mean several repositories, tried in order; a domain means one, or a branch of it; the pages domain
itself is the operator's site. Each way leads through the site's lock (`locks.py`) to the path (`paths.py`). Here end:
repositories that are no site, or a broken one, and paths that no site has.
"""

import math
from collections.abc import Callable

from addon import templates
from addon.serving.answers import Answer, Need, Request, Work, answer_to_method, own_page, redirect, trouble_page
from addon.serving.error_pages import ErrorPages
from addon.serving.locks import Entered, Locks, entered_by_all
from addon.serving.paths import Paths
from addon.serving.repositories import Repositories, wanted_with
from addon.settings.schema import Settings
from addon.shared.lookup import Fault, Key, Lookup, key_of
from addon.shared.mappings import Mapping, shows_branch
from addon.web.routing import Path, SiteRequest, candidates, encode_path, is_owner_name, profile_decides


class Sites:
    """Which site answers."""

    def __init__(
        self,
        settings: Settings,
        operators: Key | None,
        repositories: Repositories,
        locks: Locks,
        paths: Paths,
        errors: ErrorPages,
    ) -> None:
        """operators: the errorPagesRepo."""
        self.visited: Callable[[Lookup], bool] = lambda lookup: False
        """As `PagesServer.visited`."""
        self._settings = settings
        self._operators = operators
        self._repositories = repositories
        self._locks = locks
        self._paths = paths
        self._errors = errors

    def site_of_owner(self, request: Request, target: SiteRequest, work: Work) -> Answer | Need:
        """A path on an owner's host: the repository that its first segment names, else the owner's profile."""
        owner, path = target
        missing: tuple[Entered, tuple[str, ...]] | None = None
        unconfigured = False
        doubts: list[Need] = []
        for candidate in candidates(path) if is_owner_name(owner) else ():
            wanted = wanted_with(request, candidate.segments, path.slash or not candidate.segments)
            lookup = self._repositories.lookup(key_of(owner, candidate.repository), wanted, work, doubts)
            if isinstance(lookup, Need):
                return lookup
            if not lookup.is_site:
                unconfigured |= lookup.fault is Fault.UNCONFIGURED and bool(candidate.base)
                continue
            if self.visited(lookup):
                work.good_until = -math.inf  # an answer that is ready would come without a visit
            if lookup.fault is not None or lookup.site is None:
                return self._errors.faulty(request, lookup, f"{owner}/{candidate.repository}", work)
            entered = self._locks.lock(request, lookup, lookup.site, candidate.base, path, work)
            if not isinstance(entered, Entered):
                return entered
            unread = answer_to_method(request)
            if unread is not None:
                return unread
            if candidate.base and not candidate.segments and not path.slash:
                return redirect(request, encode_path(candidate.base, True))
            answer = self._paths.path(request, entered, candidate.segments, path, work)
            if isinstance(answer, int):
                return self._errors.missing(request, entered, path, work, answer)
            if answer is not None:
                return answer
            missing = missing or (entered, candidate.segments)
            if candidate.base or profile_decides(path):
                break
        if doubts:  # a new repository would change this answer: ask again before saying no
            return doubts[0]
        unread = answer_to_method(request)
        if unread is not None:
            return unread
        if missing is not None and (not unconfigured or missing[0].site.rules):
            return self._missing(request, *missing, path, work, none=unconfigured)
        return self._errors.error(request, 404, work, message=templates.REPOSITORY_NOT_FOUND, path=path)

    def site_of_domain(self, request: Request, host: str, path: Path, mapping: Mapping, work: Work) -> Answer | Need:
        """A path on a domain, whose root is the site's. A branch is served as the default one's `.pages` says."""
        owner, repository, branch = mapping
        doubts: list[Need] = []
        wanted = wanted_with(request, path.segments, path.slash)
        lookup = self._repositories.lookup(key_of(owner, repository), wanted if branch is None else None, work, doubts)
        if isinstance(lookup, Need):
            return lookup
        governing = lookup.site
        if lookup.is_site and (lookup.fault is not None or governing is None):
            return self._errors.faulty(request, lookup, f"{owner}/{repository}", work)
        entered: Entered | None = None
        if governing is not None:
            passed = self._locks.lock(request, lookup, governing, (), path, work, branch)
            if not isinstance(passed, Entered):
                return passed
            entered = passed
            if branch is not None:
                shown: Lookup | Need = lookup
                rules = governing.pages_file
                listed = shows_branch(host, branch, rules.custom_domains, rules.enable_branches)
                if listed:
                    shown = self._repositories.lookup(key_of(owner, repository, branch), wanted, work, doubts)
                if isinstance(shown, Need):
                    return shown
                if listed and shown.site is None and shown.is_site:
                    return self._errors.faulty(request, shown, f"{owner}/{repository}@{branch}", work)
                entered = entered.at(shown) if listed else None
        if entered is None and doubts:
            return doubts[0]
        unread = answer_to_method(request)
        if unread is not None:
            return unread
        if entered is None:
            return self._errors.error(request, 404, work, message=templates.REPOSITORY_NOT_FOUND, host=host, path=path)
        answer = self._paths.path(request, entered, path.segments, path, work)
        if answer is None and doubts:
            return doubts[0]
        if answer is None:
            return self._missing(request, entered, path.segments, path, work)
        return self._errors.missing(request, entered, path, work, answer) if isinstance(answer, int) else answer

    def _missing(
        self,
        request: Request,
        entered: Entered,
        segments: tuple[str, ...],
        path: Path,
        work: Work,
        *,
        none: bool = False,
    ) -> Answer | Need:
        """A path for which a site has no file. none: unless its rules say otherwise, a repository is meant."""
        answer = self._paths.missing(request, entered, segments, path, work)
        if none and (isinstance(answer, int) or (isinstance(answer, Answer) and answer.status == 404)):
            return self._errors.error(request, 404, work, message=templates.REPOSITORY_NOT_FOUND, path=path)
        return self._errors.missing(request, entered, path, work, answer) if isinstance(answer, int) else answer

    def site_of_operator(self, request: Request, path: Path, work: Work) -> Answer | Need:
        """The pages domain itself: the operator's site where there is one, else a page of ours."""
        cache = b"public, max-age=300"
        if self._operators is not None:
            wanted = wanted_with(request, path.segments, path.slash)
            lookup = self._repositories.lookup(self._operators, wanted, work, [])
            if isinstance(lookup, Need):
                return lookup
            entered = entered_by_all(lookup)
            if entered is not None:
                answer = self._paths.path(request, entered, path.segments, path, work)
                if answer is not None and not isinstance(answer, int):
                    return answer
                if path.segments:
                    return self._missing(request, entered, path.segments, path, work)
            elif lookup.fault is Fault.TROUBLE:
                if path.segments:
                    return trouble_page(request, lookup.trouble)
                cache = b"no-store"
        if path.segments:
            return self._errors.error(request, 404, work, path=path)
        forgejo = self._settings.forgejo_public_host
        scheme = self._settings.forgejo_public_scheme or "https"
        page = templates.landing(self._settings.pages_domain, f"{scheme}://{forgejo}" if forgejo else None)
        return own_page(request, 200, page, cache)
