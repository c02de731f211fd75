# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`PagesServer`: a request in, an answer out. Knows nothing of flows, connections or mitmproxy.

One straight function, `_resolve`, says what a request gets, out of memory alone and without a wait; where something is
not in memory, it returns the `Need` instead. `recall` is one call of it, for the event loop; `answer` fulfils needs and
calls it again until it says an answer. So hit and miss, and both faces, run the same lines in the same order.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from addon import templates
from addon.access import login
from addon.access.control import Access, AccessFault, Attempt, Granted, Open, Visit, lock_of, private
from addon.domains.resolver import Domains, Resolved
from addon.domains.store import NO_ANSWER, NoAnswer
from addon.forgejo.errors import DeadlineExceeded, ForgejoError, Overloaded
from addon.library.library import REFRESH_PATIENCE, Library, Wanted
from addon.serving import acme_challenges
from addon.serving.acme_challenges import Challenges
from addon.serving.answers import (
    METHODS,
    OWN_HEADER,
    Answer,
    Header,
    Headers,
    Need,
    Request,
    Work,
    not_allowed,
    options,
    own_not_found,
    own_page,
    plain_text,
    redirect,
    told,
    trouble_page,
)
from addon.serving.files import Files, cache_status
from addon.serving.host_redirects import to_https, to_twin
from addon.settings.schema import Settings
from addon.shared.lookup import Fault, Freshness, Key, Lookup, key_of, unknown
from addon.shared.mappings import Mapping, shows_branch
from addon.sites.site import File, Listing, Missing, Site, ToFolder
from addon.web.prepared_answers import Basis
from addon.web.request_head import asks_anew
from addon.web.routing import (
    CleanPath,
    ForgejoRequest,
    OtherHost,
    OwnRequest,
    PagesDomain,
    Path,
    Refusal,
    Route,
    SiteRequest,
    candidates,
    encode_path,
    host_name,
    is_owner_name,
    owns,
    profile_decides,
    route,
)

__all__ = ["METHODS", "OWN_HEADER", "Answer", "Header", "Headers", "Need", "PagesServer", "Request"]

logger = logging.getLogger(__name__)

ERROR_PAGE_PATIENCE = 2.0
"""Seconds that a visitor waits for the site's or the operator's page for an error, before getting ours."""
LOGOUT = ("logout",)
"""Path below `/.pages/` that forgets a login."""
_MOST_NEEDS = 24
_LONG_LISTING = 200
"""Rows above which a listing is made on a thread: 200 take 3 ms."""
_LARGE_SITE = 5_000
"""Files above which finding a folder's rows goes to a thread: 100 000 take 0.4 s."""


class Entered(NamedTuple):
    """A site whose lock, if any, this request has passed; whatever serves a site asks for one.

    Made by `_enter`, and for the operator's pages, which have no lock.
    """

    lookup: Lookup
    site: Site


class PagesServer:
    """Answers the requests of pages hosts."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        access: Access,
        domains: Domains | None = None,
        *,
        challenges: Challenges | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """domains: None where only the pages domain and names below it are served. challenges: None makes them 404."""
        self._challenges = challenges
        self._domains = domains if settings.enable_custom_domains else None
        self._settings = settings
        self._library = library
        self._access = access
        access.adopted = library.renew
        self._files = Files(settings, library, now)
        self.visited: Callable[[Lookup], bool] = lambda lookup: False
        """Told of each site that a visitor of the pages domain comes to; True: it wants to be told of the next, too."""

    # The face's side.

    def route(self, host: str | None, path: str) -> Route:
        """What a request is for; a face passes on to Forgejo what is a ForgejoRequest, and only that."""
        return route(
            host, path, pages_domain=self._settings.pages_domain, forgejo_host=self._settings.forgejo_public_host
        )

    def recall(self, request: Request) -> Answer | None:
        """The answer, if memory has all it takes; never waits and never raises."""
        try:
            result = self._resolve(request, Work())
        except Exception:
            return self._fault(request)
        return result if isinstance(result, Answer) else None

    async def answer(self, request: Request) -> Answer:
        """The answer, fetching what it takes. Raises nothing but cancellation: a fault of ours is a page, too."""
        work = Work()
        try:
            for _ in range(_MOST_NEEDS):
                result = self._resolve(request, work)
                if isinstance(result, Answer):
                    return result
                work.done[result.key] = await self._fulfil(result, work)
            raise RuntimeError(f"more than {_MOST_NEEDS} needs for one request")
        except Exception:
            return self._fault(request)

    def looped(self, request: Request) -> Answer:
        """The answer to a request that we sent ourselves and that came back."""
        return own_page(request, 508, templates.error_page(508))

    async def _fulfil(self, need: Need, work: Work) -> object:
        work.fetched |= need.from_forgejo
        if need.patience is None:
            return await need.fetch()
        try:
            async with asyncio.timeout(need.patience):
                return await need.fetch()
        except TimeoutError:
            return DeadlineExceeded("it takes longer than a visitor should wait")

    def _fault(self, request: Request) -> Answer:
        logger.exception("answering %r %r %r failed", request.method, request.host, request.path)
        return own_page(request, 500, templates.error_page(500))

    # From top to bottom: what a request gets.

    def _resolve(self, request: Request, work: Work) -> Answer | Need:
        result = self._routed(request, work)
        if work.locked and isinstance(result, Answer):  # the one way out, for files, redirects, errors, 304s and all
            _keep_private(result)
        if isinstance(result, Answer) and work.facts and not work.done and (work.by_cookie or not work.locked):
            result.basis = Basis(tuple(work.facts), work.good_until)
        return result

    def _routed(self, request: Request, work: Work) -> Answer | Need:
        if request.method == "OPTIONS" and request.path == "*":  # RFC 9110 §9.3.7: about the server as such
            return options(request)
        work.anew = asks_anew(request.header(b"cache-control") or b"")
        target = self.route(request.host, request.path)
        if isinstance(target, Refusal):
            return own_page(request, target.status, templates.error_page(target.status, message=target.reason))
        if isinstance(target, ForgejoRequest):
            raise RuntimeError("a request for Forgejo came to the pages")
        if (
            isinstance(target, SiteRequest | OtherHost | PagesDomain)
            and target.path.segments[:2] == acme_challenges.PREFIX
        ):
            return self._challenge(request, target.path, work)
        if isinstance(target, OtherHost):
            return self._other_host(request, target, work)
        if not isinstance(target, OwnRequest):
            upgrade = to_https(request, owns(request.host, self._settings.pages_domain), self._settings.redirect_https)
            if upgrade is not None:
                return upgrade
        if isinstance(target, SiteRequest):
            return self._site(request, target, work)
        unread = _for_reading(request)
        if unread is not None:
            return unread
        if isinstance(target, CleanPath):
            return redirect(request, target.location)
        if isinstance(target, OwnRequest):
            if target.path.segments[1:] == LOGOUT:
                secure = request.visitor().secure
                return told(request, login.logged_out(request.header(b"cookie"), secure, request.host or ""))
            return own_not_found(request, str(target.path))
        return self._landing(request, target.path, work)

    def _site(self, request: Request, target: SiteRequest, work: Work) -> Answer | Need:
        owner, path = target
        missing: Entered | None = None
        unconfigured = False
        doubts: list[Need] = []
        for candidate in candidates(path) if is_owner_name(owner) else ():
            wanted = (candidate.segments, path.slash or not candidate.segments) if request.method == "GET" else None
            lookup = self._lookup(key_of(owner, candidate.repository), wanted, work, doubts)
            if isinstance(lookup, Need):
                return lookup
            if not lookup.is_site:
                unconfigured |= lookup.fault is Fault.UNCONFIGURED and bool(candidate.base)
                continue
            if self.visited(lookup):
                work.good_until = -math.inf  # an answer that is ready would come without a visit
            if lookup.fault is not None or lookup.site is None:
                return self._faulty(request, lookup, f"{owner}/{candidate.repository}", work)
            entered = self._enter(request, lookup, lookup.site, candidate.base, path, work)
            if not isinstance(entered, Entered):
                return entered
            unread = _for_reading(request)
            if unread is not None:
                return unread
            if candidate.base and not candidate.segments and not path.slash:
                return redirect(request, encode_path(candidate.base, True))
            answer = self._in_site(request, entered, candidate.segments, path, work)
            if answer is not None:
                return answer
            missing = missing or entered
            if candidate.base or profile_decides(path):
                break
        if doubts:  # a new repository would change this answer: ask again before saying no
            return doubts[0]
        unread = _for_reading(request)
        if unread is not None:
            return unread
        if missing is not None and not unconfigured:
            return self._missing(request, missing, path, work)
        return self._error(request, 404, work, message=templates.REPOSITORY_NOT_FOUND, path=path)

    def _enter(
        self,
        request: Request,
        lookup: Lookup,
        site: Site,
        base: tuple[str, ...],
        path: Path,
        work: Work,
        branch: str | None = None,
    ) -> Entered | Answer | Need:
        """The check of a site's password; nothing of a site is served but to who comes through here.

        base: the path segments that named the repository; none on a domain of its own. Cookies bear its name as Forgejo
        writes it, and paths count by case, so a locked site in another case is left by a redirect before anybody is
        asked. branch: that of a branch's host, which is governed by `site`, too.
        """
        rules = site.pages_file
        if not (rules.password or lookup.added) and (branch is None or not rules.branches_password):
            return Entered(lookup, site)
        work.locked = True
        if base and base[0] != site.name and base[0].lower() == site.name.lower():
            return redirect(request, encode_path((site.name, *path.segments[1:]), path.slash))
        try:
            lock = lock_of(site.owner, site.name, rules.password, rules.branches_password, branch, lookup.added)
        except AccessFault as fault:
            return told(request, login.closed(fault.reason))
        # Most of all visits; who they are by, nobody has to know.
        until = self._access.logged_in(lock, request.header(b"cookie")) if lock and request.method != "POST" else 0.0
        if until:
            work.by_cookie = True
            work.good_until = min(work.good_until, until)
            return Entered(lookup, site)
        work.good_until = -math.inf
        visitor = request.visitor()
        visit = Visit(
            request.method,
            request.header,
            visitor.address,
            visitor.secure,
            request.host or "",
            encode_path(base, True),
            str(path),
            request.query,
            request.body,
        )
        decision = self._access.check(lock, visit)
        if isinstance(decision, Attempt) and lock is not None:
            attempt, key = decision, ("attempt", decision.key)
            if key not in work.done:
                return Need(key, lambda: self._access.settle(lock, visit, attempt), from_forgejo=False)
            decision = work.done[key]  # type: ignore[assignment]  # what `settle` gave
        reply = login.reply(decision, lock, visit, self._access.duration)
        if reply is not None:
            return told(request, reply)
        if not isinstance(decision, Open | Granted):
            raise RuntimeError(f"an undecided request at the lock of {lookup.key}")
        return Entered(lookup, site)

    def _in_site(
        self, request: Request, entered: Entered, segments: tuple[str, ...], path: Path, work: Work
    ) -> Answer | Need | None:
        """What a path gets in a site; None where the site has nothing there."""
        lookup, site = entered
        if path.slash and site.pages_file.directory_index and len(site.tree) > _LARGE_SITE:
            page = self._library.held_page(self._listing_name(request, lookup, path))
            if page is not None:
                return self._listed(request, lookup, page, work)
            key = ("outcome", site.commit, segments)
            if key not in work.done:
                find = partial(site.outcome, segments, True)
                return Need(key, lambda: self._library.on_thread(find), from_forgejo=False)
            outcome = work.done[key]
        else:
            outcome = site.outcome(segments, path.slash)
        match outcome:
            case File():
                return self._files.answer(request, lookup, site, outcome, 200, work)
            case ToFolder():
                return redirect(request, encode_path(path.segments, True))
            case Listing():
                return self._listing(request, lookup, outcome, path, work)
            case Missing():
                return None
        raise AssertionError(outcome)

    def _landing(self, request: Request, path: Path, work: Work) -> Answer | Need:
        """The pages domain itself: the operator's site where there is one, else a page of ours."""
        cache = b"public, max-age=300"
        operators = self._library.error_pages
        if operators is not None:
            wanted = (path.segments, path.slash) if request.method == "GET" else None
            lookup = self._lookup(operators, wanted, work, [])
            if isinstance(lookup, Need):
                return lookup
            entered = _open_to_all(lookup)
            if entered is not None:
                answer = self._in_site(request, entered, path.segments, path, work)
                if answer is not None:
                    return answer
                if path.segments:
                    return self._missing(request, entered, path, work)
            elif lookup.fault is Fault.TROUBLE:
                if path.segments:
                    return trouble_page(request, lookup.trouble)
                cache = b"no-store"
        if path.segments:
            return self._error(request, 404, work, path=path)
        forgejo = self._settings.forgejo_public_host
        scheme = self._settings.forgejo_public_scheme or "https"
        page = templates.landing(self._settings.pages_domain, f"{scheme}://{forgejo}" if forgejo else None)
        return own_page(request, 200, page, cache)

    def _other_host(self, request: Request, target: OtherHost, work: Work) -> Answer | Need:
        """A domain of a site, or of one of its branches; else its twin (with or without `www.`), else a stranger."""
        host, path = target
        if self._domains is None:
            return self._error(request, 400, work, message=templates.INVALID_DOMAIN, host=host)
        found = self._mapping(self._domains, host, work)
        if isinstance(found, Need):
            return found
        if isinstance(found, Mapping):
            return to_https(request, host, self._settings.redirect_https) or self._mapped(
                request, host, path, found, work
            )
        twin = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
        sought = found is None and _may_be_domain(twin)
        other = self._mapping(self._domains, twin, work, seek=False) if sought else None
        if isinstance(other, Need):
            return other
        if isinstance(other, Mapping) and other.branch is None:
            return to_https(request, twin, self._settings.redirect_https) or to_twin(request, twin)
        if found is NO_ANSWER or other is NO_ANSWER:
            return trouble_page(request, Overloaded("it is not known whose domain this is"))
        hint = (
            f"Is it yours? Then write `custom_domain: {host}` into the file `.pages` of your site’s default branch,"
            f" push, and open the site at its address below `{self._settings.pages_domain}` once."
        )
        return self._error(request, 404, work, message=templates.DOMAIN_NOT_CONFIGURED, hint=hint, host=host)

    def _challenge(self, request: Request, path: Path, work: Work) -> Answer | Need:
        """Only the operator's ACME client may answer for a host of ours."""
        unread = _for_reading(request)
        if unread is not None:
            return unread
        asked, host = self._challenges, host_name(request.host or "")
        key = ("challenge", host, path)
        if asked is not None and host is not None and key not in work.done:
            return Need(key, lambda: _told_or_trouble(asked.answer(host, path.segments)), from_forgejo=False)
        text = work.done.get(key)
        if isinstance(text, bytes):
            return plain_text(request, text)
        if isinstance(text, Exception):
            return own_page(request, 502, templates.error_page(502))
        return own_page(request, 404, templates.error_page(404, path=str(path)))

    def _mapping(
        self, domains: Domains, host: str, work: Work, *, seek: bool = True
    ) -> Mapping | NoAnswer | Need | None:
        """What is registered of a host. seek: look for a site that names a host which nobody has registered."""
        key = ("domain", host)
        resolved = domains.peek(host, seek=seek)
        if resolved is not None:
            work.facts.extend(domains.facts(resolved))
            work.good_until = min(work.good_until, domains.good_until(resolved))
            return resolved.mapping
        done = work.done.get(key)
        if isinstance(done, Resolved):
            return done.mapping
        return Need(key, lambda: domains.resolve(host, seek=seek), from_forgejo=False)

    def _mapped(self, request: Request, host: str, path: Path, mapping: Mapping, work: Work) -> Answer | Need:
        """A path on a domain, whose root is the site's. A branch is served as the default one's `.pages` says."""
        owner, repository, branch = mapping
        doubts: list[Need] = []
        wanted = (path.segments, path.slash) if request.method == "GET" else None
        lookup = self._lookup(key_of(owner, repository), wanted if branch is None else None, work, doubts)
        if isinstance(lookup, Need):
            return lookup
        governing = lookup.site
        if lookup.is_site and (lookup.fault is not None or governing is None):
            return self._faulty(request, lookup, f"{owner}/{repository}", work)
        entered: Entered | None = None
        if governing is not None:
            shown: Lookup | Need = lookup
            passed = self._enter(request, lookup, governing, (), path, work, branch)
            if not isinstance(passed, Entered):
                return passed
            entered = passed
            if branch is not None:
                rules = governing.pages_file
                listed = shows_branch(host, branch, rules.custom_domains, rules.enable_branches)
                shown = self._lookup(key_of(owner, repository, branch), wanted, work, doubts) if listed else lookup
                if isinstance(shown, Need):
                    return shown
                if listed and shown.site is None and shown.is_site:
                    return self._faulty(request, shown, f"{owner}/{repository}@{branch}", work)
                site = shown.site if listed else None
                entered = Entered(shown, replace(site, pages_file=rules)) if site is not None else None
        if entered is None and doubts:
            return doubts[0]
        unread = _for_reading(request)
        if unread is not None:
            return unread
        if entered is None:
            return self._error(request, 404, work, message=templates.REPOSITORY_NOT_FOUND, host=host, path=path)
        answer = self._in_site(request, entered, path.segments, path, work)
        if answer is not None:
            return answer
        return doubts[0] if doubts else self._missing(request, entered, path, work)

    # Repositories.

    def _lookup(
        self,
        key: Key,
        wanted: Wanted | None,
        work: Work,
        doubts: list[Need],
        patience: float | None = None,
    ) -> Lookup | Need:
        """What is known of a repository, if that may be used; doubts: what to ask again before saying no.

        patience: seconds that a visitor waits where nothing is known.
        """
        library = self._library
        lookup = library.peek(key)
        freshness = Freshness.EXPIRED if lookup is None else library.freshness(lookup)
        look = ("look", *key)
        if work.anew and lookup is not None and look not in work.done and library.may_look_anew(lookup):
            return Need(look, lambda: library.look_anew(key, wanted), REFRESH_PATIENCE)
        if lookup is not None and freshness in (Freshness.FRESH, Freshness.DOUBTFUL):
            work.facts.append((library.memory_key(lookup), lookup))
            work.good_until = min(work.good_until, library.good_until(lookup))
            if freshness is Freshness.FRESH:
                return lookup
        else:
            work.good_until = -math.inf
        done = work.done.get(look)
        if isinstance(done, ForgejoError):  # patience ran out
            if lookup is None or freshness is Freshness.EXPIRED:
                return unknown(key, done, 0.0)
            return lookup
        if isinstance(done, Lookup):
            return lookup or done
        if lookup is None or freshness is Freshness.EXPIRED:
            return Need(look, lambda: library.look(key, wanted), patience)
        need = Need(look, lambda: library.look(key, wanted), REFRESH_PATIENCE, from_forgejo=False)
        if freshness is Freshness.OLD:
            return need
        if not lookup.is_site:
            doubts.append(need)
        elif lookup.fault is not None:
            return need  # which its owner may have mended a moment ago
        if freshness is Freshness.AGING:
            library.look_soon(lookup.key)
        return lookup

    def _faulty(self, request: Request, lookup: Lookup, name: str, work: Work) -> Answer | Need:
        match lookup.fault:
            case Fault.BROKEN:
                page = templates.broken_pages_file(f"{name}/.pages", lookup.line, lookup.reason)
                return own_page(request, 500, page)
            case Fault.TOO_MANY_FILES:
                page = templates.too_many_files(lookup.total, self._settings.max_site_files)
                return own_page(request, 500, page)
            case Fault.REFUSED:
                return self._error(request, 403, work)
            case _:
                return trouble_page(request, lookup.trouble)

    # Pages for what is not there.

    def _missing(self, request: Request, entered: Entered, path: Path, work: Work) -> Answer | Need:
        """A path that a site does not have: its own 404.html, else the operator's, else ours."""
        hint = None
        answer = self._error_file(request, entered, 404, work)
        if answer is not None:
            return answer
        if not len(entered.site.tree):
            hint = "This repository has no files below `public/`: that folder is what is served."
        return self._error(request, 404, work, message=templates.FILE_NOT_FOUND, hint=hint, path=path)

    def _error(
        self,
        request: Request,
        status: int,
        work: Work,
        *,
        message: str | None = None,
        hint: str | None = None,
        host: str = "",
        path: Path | None = None,
    ) -> Answer | Need:
        """An error page: the operator's `{status}.html`, else ours."""
        operators = self._library.error_pages
        if operators is not None:
            lookup = self._lookup(operators, ((f"{status}.html",), False), work, [], ERROR_PAGE_PATIENCE)
            if isinstance(lookup, Need):
                return lookup
            entered = _open_to_all(lookup)
            if entered is not None:
                answer = self._error_file(request, entered, status, work)
                if answer is not None:
                    return answer
        shown = "/" + "/".join(path.segments) if path is not None else ""
        page = templates.error_page(status, message=message, hint=hint, host=host, path=shown)
        return own_page(request, status, page)

    def _error_file(self, request: Request, entered: Entered, status: int, work: Work) -> Answer | Need | None:
        """A site's `{status}.html`; None where it has none, or none that can be had soon."""
        lookup, site = entered
        page = site.page(f"{status}.html")
        if page is None:
            return None
        answer = self._files.answer(request, lookup, site, page, status, work)
        if isinstance(answer, Need):
            return answer._replace(patience=ERROR_PAGE_PATIENCE)
        return answer if answer.status == status else None

    # Listings.

    def _listing(self, request: Request, lookup: Lookup, listing: Listing, path: Path, work: Work) -> Answer | Need:
        name = self._listing_name(request, lookup, path)
        page = self._library.held_page(name)
        if page is None:
            make = partial(_listing_page, request.host or "", path, listing)
            if len(listing.rows) <= _LONG_LISTING:
                page = make()
            else:
                done = work.done.get(name)
                if not isinstance(done, bytes):
                    return Need(name, lambda: self._library.page(name, make), from_forgejo=False)
                page = done
        return self._listed(request, lookup, page, work)

    def _listing_name(self, request: Request, lookup: Lookup, path: Path) -> tuple[str, ...]:
        """What decides how a listing looks: it names the host and the path it stands at."""
        return ("listing", lookup.commit or "", request.host or "", str(path))

    def _listed(self, request: Request, lookup: Lookup, page: bytes, work: Work) -> Answer:
        answer = own_page(request, 200, page, cache=b"public, max-age=0, must-revalidate")
        answer.cache = cache_status(lookup, work)
        answer.headers.append((b"X-Cache-Status", answer.cache.encode()))
        return answer


def _keep_private(answer: Answer) -> None:
    """Make an answer, and what is said instead where its stream does not begin, one for who is logged in alone."""
    answer.headers = private(answer.headers)
    answer.locked = True
    if answer.stream is not None:
        instead = answer.otherwise

        def otherwise(error: Exception) -> Answer:
            other = instead(error)
            _keep_private(other)
            return other

        answer.otherwise = otherwise


def _for_reading(request: Request) -> Answer | None:
    """The answer to a method that reads nothing: the same for every path."""
    if request.method == "OPTIONS":
        return options(request)
    return None if request.method in ("GET", "HEAD") else not_allowed(request)


async def _told_or_trouble(answer: Awaitable[bytes | None]) -> bytes | Exception | None:
    try:
        return await answer
    except acme_challenges.TransportError as trouble:
        logger.warning("acmeChallengeUpstream: %s", trouble)
        return trouble


def _may_be_domain(host: str) -> bool:
    """Whether a host could be registered: an address never is, nor is a name without a dot."""
    return "." in host and not host.startswith("[") and not host.rpartition(".")[2].isdecimal()


def _open_to_all(lookup: Lookup) -> Entered | None:
    """The operator's site, for pages that anybody may see; a locked one is of no use for that."""
    site = lookup.site
    return Entered(lookup, site) if site is not None and not (site.pages_file.password or lookup.added) else None


def _listing_page(host: str, path: Path, listing: Listing) -> bytes:
    entries = [
        templates.ListingEntry(name, "dir" if entry is None else "file", None if entry is None else entry.size)
        for name, entry in listing.rows
    ]
    title = "/" + "".join(f"{segment}/" for segment in path.segments)
    return templates.listing(title, [host, *path.segments], entries, parent=bool(path.segments))
