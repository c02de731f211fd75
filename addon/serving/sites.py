# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The second step: which site answers, out of what is known of repositories, and which pages stand in for it.

An owner's host may mean several repositories, tried in order; a domain means one, or a branch of it; the pages domain
itself is the operator's site. Each way leads through the site's lock (`locks.py`) to the path (`paths.py`). Here end:
repositories that are no site, or a broken one, visitors of an address that is not the canonical one, and paths that no
site has.
"""

import math
from collections.abc import Callable

from addon import templates
from addon.serving.answers import Answer, Need, Request, Work, answer_to_method, own_page, redirect, trouble_page
from addon.serving.error_pages import ErrorPages
from addon.serving.host_redirects import to_domain
from addon.serving.locks import Entered, Locks, SitePath, entered_by_all
from addon.serving.mappings import Mappings
from addon.serving.members import Hidden
from addon.serving.paths import Paths
from addon.serving.repositories import Repositories, wanted_with
from addon.serving.site_branches import SiteBranches
from addon.settings.schema import Settings
from addon.shared.domain_mappings import Mapping, shows_branch
from addon.shared.lookup import Fault, Key, Lookup, key_of
from addon.sites.site import Site
from addon.web.content_types import is_html
from addon.web.routing import OWN_PREFIX, Path, SiteRequest, candidates, encode_path, is_owner_name, profile_decides

LOAD_REDIRECTS = ("LOAD_REDIRECTS",)
"""Where the Traefik plugin read a site's `.redirects` when somebody came."""
_NO_INDEX = (b"X-Robots-Tag", b"noindex")


class Sites:
    """Which site answers."""

    def __init__(
        self,
        settings: Settings,
        operators: Key | None,
        mappings: Mappings,
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
        self._mappings = mappings
        self._repositories = repositories
        self._site_branches = SiteBranches(settings, repositories)
        self._locks = locks
        self._paths = paths
        self._errors = errors

    def site_of_owner(self, request: Request, target: SiteRequest, work: Work) -> Answer | Need:
        """A path on an owner's host: the repository that its first segment names, else the owner's root."""
        owner, below, prefix = target
        work.owner = owner
        path = Path((*prefix, *below.segments), below.slash)
        missing: tuple[Entered, tuple[str, ...]] | None = None
        unconfigured = rooted = False
        doubts: list[Need] = []
        for candidate in candidates(below, self._settings.profile_repositories) if is_owner_name(owner) else ():
            if rooted and not candidate.base:
                continue  # the first that is a site is the root
            base = (*prefix, *candidate.base)
            wanted = wanted_with(request, candidate.segments, path.slash or not candidate.segments)
            lookup = self._repositories.lookup(key_of(owner, candidate.repository), wanted, work, doubts)
            if isinstance(lookup, Need):
                return lookup
            shown = self._site_branches.shown(lookup, wanted, work, doubts)
            if isinstance(shown, Need):
                return shown
            if shown is None:
                unconfigured |= lookup.fault is Fault.UNCONFIGURED and bool(candidate.base)
                continue
            work.shown = shown.lookup
            rooted |= not candidate.base
            if work.steps is None and self.visited(lookup):
                work.good_until = -math.inf  # an answer that is ready would come without a visit
            if shown.fault is not None or shown.governing is None:
                return self._errors.faulty(request, shown.lookup, f"{owner}/{candidate.repository}", work)
            elsewhere = self._at_its_domain(request, shown.governing, candidate.segments, path, work)
            if elsewhere is not None and not isinstance(elsewhere, str):
                return elsewhere
            if work.steps is not None and candidate.base:
                work.steps.say("route", f"/{candidate.base[-1]}/ names the repository", repository=candidate.repository)
            elif work.steps is not None:
                work.steps.say("route", "the owner's root answers", repository=candidate.repository)
            closed = shown.governing.pages_file.password or shown.governing.pages_file.members
            if prefix and (closed or lookup.added):
                return self._not_by_path(request)
            entered = self._locks.lock(request, lookup, shown.governing, candidate.base, path, work)
            if isinstance(entered, Hidden):  # for this visitor there is no such repository
                rooted &= bool(candidate.base)
                continue
            if not isinstance(entered, Entered):
                return entered
            at = shown.entered(entered)
            if at is None:
                return doubts[-1] if doubts else self._no_branch(request, shown.governing, path, work)
            unread = answer_to_method(request)
            if unread is not None:
                return unread
            if base and not candidate.segments and not path.slash:
                return redirect(request, encode_path(base, True))
            answer = self._paths.path(SitePath(request, at, candidate.segments, path, work))
            if isinstance(answer, int):
                return self._errors.missing(request, at, path, work, answer)
            if answer is not None:
                return _with_canonical(answer, elsewhere, candidate.segments, path.slash)
            missing = missing or (at, candidate.segments)
            if candidate.base or profile_decides(below):
                break
        if doubts:  # a new repository would change this answer: ask again before saying no
            return doubts[0]
        unread = answer_to_method(request)
        if unread is not None:
            return unread
        if missing is not None and (not unconfigured or missing[0].site.rules):
            return self._missing(SitePath(request, *missing, path, work), none=unconfigured)
        return self._errors.error(request, 404, work, message=templates.REPOSITORY_NOT_FOUND, path=path)

    def site_of_domain(self, request: Request, host: str, path: Path, mapping: Mapping, work: Work) -> Answer | Need:
        """A path on a domain, whose root is the site's. A branch is served as the default one's `.pages` says."""
        answer = self._of_domain(request, host, path, mapping, work)
        if mapping.branch is None or not isinstance(answer, Answer):
            return answer
        if not any(name.lower() == b"x-robots-tag" for name, _ in answer.headers):
            answer.headers.append(_NO_INDEX)
            if work.steps is not None:
                work.steps.comes_from((b"X-Robots-Tag",), "a branch's host, which no search engine is to list")
        return answer

    def _of_domain(self, request: Request, host: str, path: Path, mapping: Mapping, work: Work) -> Answer | Need:
        owner, repository, branch = mapping
        work.owner = owner.lower()
        name = f"{owner}/{repository}"
        doubts: list[Need] = []
        wanted = wanted_with(request, path.segments, path.slash)
        lookup = self._repositories.lookup(key_of(owner, repository), wanted if branch is None else None, work, doubts)
        if isinstance(lookup, Need):
            return lookup
        shown = self._site_branches.shown(lookup, wanted, work, doubts, branch)
        if isinstance(shown, Need):
            return shown
        work.shown = None if shown is None else shown.lookup
        if shown is not None and (shown.fault is not None or shown.governing is None):
            return self._errors.faulty(request, shown.lookup, name, work)
        entered: Entered | None = None
        if shown is not None and shown.governing is not None:
            elsewhere = self._at_its_domain(request, shown.governing, path.segments, path, work, host)
            if branch is None and elsewhere is not None and not isinstance(elsewhere, str):
                return elsewhere
            passed = self._locks.lock(request, lookup, shown.governing, (), path, work, branch)
            if isinstance(passed, Hidden):
                return self._errors.error(
                    request, 404, work, message=templates.REPOSITORY_NOT_FOUND, host=host, path=path
                )
            if not isinstance(passed, Entered):
                return passed
            entered = passed
            if branch is not None:
                rules = shown.governing.pages_file
                there: Lookup | Need = lookup
                listed = shows_branch(host, branch, rules.custom_domains, rules.enable_branches)
                if listed:
                    there = self._site_branches.branch(lookup, branch, rules.prefix, wanted, work, doubts)
                if isinstance(there, Need):
                    return there
                if listed and there.site is None and there.is_site:
                    return self._errors.faulty(request, there, f"{name}@{branch}", work)
                entered = entered.at(there) if listed else None
                work.shown = there
            else:
                entered = shown.entered(entered)
        if entered is None and doubts:
            return doubts[-1]
        unread = answer_to_method(request)
        if unread is not None:
            return unread
        if entered is None:
            if shown is not None and shown.governing is not None and branch is None:
                return self._no_branch(request, shown.governing, path, work)
            return self._errors.error(request, 404, work, message=templates.REPOSITORY_NOT_FOUND, host=host, path=path)
        at = SitePath(request, entered, path.segments, path, work)
        answer = self._paths.path(at)
        if answer is None and doubts:
            return doubts[0]
        if answer is None:
            return self._missing(at)
        return self._errors.missing(request, entered, path, work, answer) if isinstance(answer, int) else answer

    def _at_its_domain(
        self, request: Request, site: Site, segments: tuple[str, ...], path: Path, work: Work, host: str | None = None
    ) -> Answer | Need | str | None:
        """Where a site has a domain of its own: a redirect there, or the domain, where visitors may stay here.

        host: the domain that the visitor asked; None on the pages domain. The site's own wish counts, or that of the
        operator.
        """
        if not site.pages_file.custom_domains or segments[:1] == (OWN_PREFIX,):
            return None
        leads = site.pages_file.canonical or self._settings.redirect_to_custom_domain
        if host is not None and not leads:
            return None
        domain = self._mappings.canonical(site, work)
        if not isinstance(domain, str) or domain == host:
            return domain if isinstance(domain, Need) else None
        if work.steps is not None:
            wish = "visitors are sent there" if leads else "pages name it as canonical"
            work.steps.say("canonical", f"the site is at home at {domain}: {wish}", domain=domain, redirect=leads)
            work.steps.comes_from((b"Link",), "the site's canonical domain")
        return to_domain(request, domain, encode_path(segments, path.slash)) if leads else domain

    def _no_branch(self, request: Request, site: Site, path: Path, work: Work) -> Answer | Need:
        hint = f"`.pages` says `branch: {site.pages_file.branch}`, and there is no such branch."
        message = templates.REPOSITORY_NOT_FOUND
        return self._errors.error(request, 404, work, message=message, hint=hint, path=path)

    def _not_by_path(self, request: Request) -> Answer:
        """A closed site, where all sites share one origin: each could read what the others show."""
        message = "This site is not open to everybody, and at this address other sites could read it."
        hint = "Give it a domain of its own by `custom_domain` in `.pages`; there it asks who comes."
        return own_page(request, 403, templates.error_page(403, message=message, hint=hint))

    def _missing(self, at: SitePath, *, none: bool = False) -> Answer | Need:
        """A path for which a site has no file. none: unless its rules say otherwise, a repository is meant."""
        request, entered, segments, path, work = at
        if segments == LOAD_REDIRECTS:
            return own_page(request, 200, templates.redirects_are_read(encode_path(path.segments[:-1], True)))
        answer = self._paths.missing(at)
        if none and (isinstance(answer, int) or (isinstance(answer, Answer) and answer.status == 404)):
            return self._errors.error(request, 404, work, message=templates.REPOSITORY_NOT_FOUND, path=path)
        if not isinstance(answer, int):
            return answer
        root = at.base if segments else None
        return self._errors.missing(request, entered, path, work, answer, root=root)

    def site_of_operator(self, request: Request, path: Path, work: Work) -> Answer | Need:
        """The pages domain itself: the operator's site where there is one, else a page of ours."""
        cache = b"public, max-age=300"
        if self._operators is not None:
            work.owner = self._operators[0]
            wanted = wanted_with(request, path.segments, path.slash)
            lookup = self._repositories.lookup(self._operators, wanted, work, [])
            if isinstance(lookup, Need):
                return lookup
            entered = entered_by_all(lookup)
            if entered is not None:
                work.shown = lookup
                at = SitePath(request, entered, path.segments, path, work)
                answer = self._paths.path(at)
                if answer is not None and not isinstance(answer, int):
                    return answer
                if path.segments:
                    return self._missing(at)
            elif lookup.fault is Fault.TROUBLE:
                if path.segments:
                    return trouble_page(request, lookup.trouble)
                cache = b"no-store"
        if path.segments:
            return self._errors.error(request, 404, work, path=path)
        forgejo = self._settings.forgejo_public_host
        scheme = self._settings.forgejo_public_scheme or "https"
        if work.steps is not None:
            work.steps.say("landing", "this server's own page for the pages domain", whose="server")
        page = templates.landing(self._settings.pages_domain, f"{scheme}://{forgejo}" if forgejo else None)
        return own_page(request, 200, page, cache)


def _with_canonical(answer: Answer | Need, domain: str | None, segments: tuple[str, ...], slash: bool) -> Answer | Need:
    """A page that tells search engines where it is at home; not a locked one, which is at home nowhere."""
    if domain is None or not isinstance(answer, Answer) or answer.status != 200:
        return answer
    if any(name == b"Content-Type" and is_html(value.decode("latin-1")) for name, value in answer.headers):
        place = f'<https://{domain}{encode_path(segments, slash)}>; rel="canonical"'.encode()
        others = [value for name, value in answer.headers if name.lower() == b"link"]
        answer.headers = [pair for pair in answer.headers if pair[0].lower() != b"link"]
        answer.headers.append((b"Link", b", ".join([*others, place])))
    return answer
