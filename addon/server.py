# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`PagesServer`: a request in, an answer out. Knows nothing of flows, connections or mitmproxy.

One straight function, `_resolve`, says what a request gets, out of memory alone and without a wait; where something is
not in memory, it returns the `Need` instead. `recall` is one call of it, for the event loop; `answer` fulfils needs and
calls it again until it says an answer. So hit and miss, and both faces, run the same lines in the same order.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from urllib.parse import quote

from addon import templates
from addon.content_types import content_type, depends_on_head, is_html
from addon.forge_errors import BadAnswer, ForgejoError, NotFound, Overloaded, RateLimited
from addon.lfs import LfsPointer
from addon.library import Blob, Fault, Freshness, Library, Lookup
from addon.negotiation import (
    IDENTITY,
    SUFFIXES,
    Plan,
    Representation,
    cache_control,
    encoded_forms,
    negotiate,
    preflight,
)
from addon.routing import (
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
    profile_decides,
    route,
)
from addon.settings import Settings
from addon.site import File, Listing, Missing, Site, ToFolder
from addon.tree import Entry

logger = logging.getLogger(__name__)

METHODS = "GET, HEAD, OPTIONS"
OWN_HEADER = "X-Pages-Server"
"""On every answer below `/.pages/`: how `pages check` sees that an address leads back to a pages server."""
REFRESH_PATIENCE = 0.5
"""Seconds that the first visitor after a long silence waits for a look at the branch, before the old page is shown."""
REDIRECT_LIFE = 60
MAX_POINTER_SIZE = 1024
"""Bytes up to which a blob may be a Git LFS pointer, and is looked at before anything is said about it."""
HEAD_SIZE = 1024
"""Bytes of a file without a telling name that its content type is guessed from."""
_MOST_NEEDS = 24
_SAFE_QUERY = "!$%&'()*+,-./:;=?@_~"

Header = tuple[bytes, bytes]


class Headers(Protocol):
    """The header fields of a request."""

    def __call__(self, name: bytes, /) -> bytes | None:
        """The value of a field by lower-case name, repeated fields joined by `, `; None where it is absent."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a face hands it over: host and path as they came, the path up to the first `?`."""

    method: str
    host: str | None
    path: str
    query: str | None
    header: Headers


@dataclass(slots=True)
class Answer:
    """Status, header fields and either the body's bytes or a stream of `length` bytes.

    otherwise: what to answer instead where the stream fails before its first byte.
    """

    status: int
    headers: list[Header]
    body: bytes = b""
    stream: "Callable[[], AbstractAsyncContextManager[AsyncIterator[bytes]]] | None" = None
    length: int = 0
    cache: str = ""
    otherwise: "Callable[[Exception], Answer]" = field(default=lambda error: Answer(502, []), repr=False)


class Need(NamedTuple):
    """What has to be fetched before the request can go on. patience: seconds after which it goes on without."""

    key: tuple[object, ...]
    fetch: Callable[[], Awaitable[object]]
    patience: float | None = None
    from_forgejo: bool = True


@dataclass(slots=True)
class _Work:
    """What was fetched for one request: results or failures by need, so that no need is asked for twice."""

    done: dict[tuple[object, ...], object] = field(default_factory=dict)
    fetched: bool = False


class PagesServer:
    """Answers the requests of pages hosts."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._library = library
        self._now = now
        self._own_headers: tuple[Header, ...] = (
            (b"Content-Type", b"text/html; charset=utf-8"),
            (b"Content-Security-Policy", templates.content_security_policy().encode()),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"Referrer-Policy", b"no-referrer"),
        )

    # The face's side.

    def route(self, host: str | None, path: str) -> Route:
        """What a request is for; a face passes on to Forgejo what is a ForgejoRequest, and only that."""
        return route(
            host, path, pages_domain=self._settings.pages_domain, forgejo_host=self._settings.forgejo_public_host
        )

    def recall(self, request: Request) -> Answer | None:
        """The answer, if memory has all it takes; never waits and never raises."""
        try:
            result = self._resolve(request, _Work())
        except Exception:
            return self._fault(request)
        return result if isinstance(result, Answer) else None

    async def answer(self, request: Request) -> Answer:
        """The answer, fetching what it takes. Raises nothing but cancellation: a fault of ours is a page, too."""
        work = _Work()
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
        return self._own_page(request, 508, templates.error_page(508))

    async def _fulfil(self, need: Need, work: _Work) -> object:
        work.fetched |= need.from_forgejo and need.patience is None
        try:
            async with asyncio.timeout(need.patience):
                return await need.fetch()
        except TimeoutError:
            return None
        except ForgejoError as error:
            return error

    def _fault(self, request: Request) -> Answer:
        logger.exception("answering %s %s%s failed", request.method, request.host, request.path)
        return self._own_page(request, 500, templates.error_page(500))

    # From top to bottom: what a request gets.

    def _resolve(self, request: Request, work: _Work) -> Answer | Need:
        target = self.route(request.host, request.path)
        if isinstance(target, Refusal):
            return self._own_page(request, target.status, templates.error_page(target.status, message=target.reason))
        if isinstance(target, ForgejoRequest):
            raise RuntimeError("a request for Forgejo came to the pages")
        if request.method == "OPTIONS":
            return self._options(request)
        if request.method not in ("GET", "HEAD"):
            page = self._own_page(request, 405, templates.error_page(405))
            page.headers.append((b"Allow", METHODS.encode()))
            return page
        if isinstance(target, CleanPath):
            return self._redirect(request, target.location)
        if isinstance(target, OwnRequest):
            page = self._own_page(request, 404, templates.error_page(404, path=str(target.path)))
            page.headers.append((OWN_HEADER.encode(), b"forgejo-pages"))
            return page
        if isinstance(target, PagesDomain):
            return self._landing(request, target.path, work)
        if isinstance(target, OtherHost):
            return self._other_host(request, target.host, work)
        return self._site(request, target, work)

    def _site(self, request: Request, target: SiteRequest, work: _Work) -> Answer | Need:
        path = target.path
        doubts: list[Need] = []
        missing: Lookup | None = None
        unconfigured = False
        for candidate in candidates(path):
            wanted = (candidate.segments, path.slash or not candidate.segments)
            lookup = self._lookup(target.owner, candidate.repository, wanted, work, doubts)
            if isinstance(lookup, Need):
                return lookup
            if not lookup.is_site:
                unconfigured |= lookup.fault is Fault.UNCONFIGURED and bool(candidate.base)
                continue
            if lookup.fault is not None or lookup.site is None:
                return self._faulty(request, lookup, f"{target.owner}/{candidate.repository}", work)
            if candidate.base and not candidate.segments and not path.slash:
                return self._redirect(request, encode_path(candidate.base, True))
            answer = self._in_site(request, lookup, lookup.site, candidate.segments, path, work)
            if answer is not None:
                return answer
            missing = missing or lookup
            if candidate.base or profile_decides(path):
                break
        if doubts:  # a new repository would change this answer: ask again before saying no
            return doubts[0]
        if missing is not None and not unconfigured:
            return self._missing(request, missing, path, work)
        return self._error(request, 404, work, message=templates.REPOSITORY_NOT_FOUND, path=path)

    def _in_site(
        self, request: Request, lookup: Lookup, site: Site, segments: tuple[str, ...], path: Path, work: _Work
    ) -> Answer | Need | None:
        """What a path gets in a site; None where the site has nothing there."""
        outcome = site.outcome(segments, path.slash)
        match outcome:
            case File():
                return self._file(request, lookup, outcome, 200, work)
            case ToFolder():
                return self._redirect(request, encode_path(path.segments, True))
            case Listing():
                return self._listing(request, lookup, outcome, path)
            case Missing():
                return None

    def _landing(self, request: Request, path: Path, work: _Work) -> Answer | Need:
        """The pages domain itself: the operator's site where there is one, else a page of ours."""
        operators = self._library.error_pages
        if operators is not None:
            lookup = self._lookup(*operators, (path.segments, path.slash), work, [])
            if isinstance(lookup, Need):
                return lookup
            if lookup.site is not None:
                answer = self._in_site(request, lookup, lookup.site, path.segments, path, work)
                if answer is not None:
                    return answer
                if path.segments:
                    return self._missing(request, lookup, path, work)
        if path.segments:
            return self._error(request, 404, work, path=path)
        forgejo = self._settings.forgejo_public_host
        scheme = self._settings.forgejo_public_scheme or "https"
        page = templates.landing(self._settings.pages_domain, f"{scheme}://{forgejo}" if forgejo else None)
        return self._own_page(request, 200, page, cache=b"public, max-age=300")

    def _other_host(self, request: Request, host: str, work: _Work) -> Answer | Need:
        return self._error(request, 404, work, message=templates.DOMAIN_NOT_CONFIGURED, host=host)

    # Repositories.

    def _lookup(
        self, owner: str, name: str, wanted: tuple[tuple[str, ...], bool], work: _Work, doubts: list[Need]
    ) -> Lookup | Need:
        key = ("look", owner.lower(), name.lower())
        asked = key in work.done
        lookup = self._library.peek(owner, name)
        if asked and lookup is None:
            found = work.done[key]
            lookup = found if isinstance(found, Lookup) else Lookup(0.0, fault=Fault.TROUBLE)
        if lookup is None:
            return Need(key, lambda: self._library.look(owner, name, wanted))
        freshness = self._library.freshness(lookup)
        if asked or freshness is Freshness.FRESH:
            return lookup
        served = lookup.fault is None
        need = Need(key, lambda: self._library.look(owner, name, wanted), REFRESH_PATIENCE if served else None)
        if freshness is Freshness.OLD:
            return need
        if not lookup.is_site:
            doubts.append(need)
        elif not served:
            return need  # a fault that its owner may have mended a moment ago
        self._library.look_soon(owner, name)
        return lookup

    def _faulty(self, request: Request, lookup: Lookup, name: str, work: _Work) -> Answer | Need:
        match lookup.fault:
            case Fault.BROKEN:
                page = templates.broken_pages_file(f"{name}/.pages", lookup.line, lookup.reason)
                return self._own_page(request, 500, page)
            case Fault.PASSWORD:
                return self._own_page(request, 403, templates.password_not_served())
            case Fault.TOO_MANY_FILES:
                page = templates.too_many_files(lookup.total, self._settings.max_site_files)
                return self._own_page(request, 500, page)
            case Fault.REFUSED:
                return self._error(request, 403, work)
            case _:
                return self._trouble(request, lookup.trouble)

    def _trouble(self, request: Request, trouble: ForgejoError | None) -> Answer:
        """Forgejo has no answer: a page of ours, at once, and not the operator's, which may be as far away."""
        status = trouble.status if trouble is not None else 502
        answer = self._own_page(request, status, templates.error_page(status))
        if isinstance(trouble, Overloaded | RateLimited):
            answer.headers.append((b"Retry-After", str(max(1, round(trouble.retry_after))).encode()))
        elif status in (502, 503, 504):
            answer.headers.append((b"Retry-After", b"5"))
        return answer

    # Pages for what is not there.

    def _missing(self, request: Request, lookup: Lookup, path: Path, work: _Work) -> Answer | Need:
        """A path that a site does not have: its own 404.html, else the operator's, else ours."""
        if lookup.site is not None:
            page = lookup.site.not_found_page()
            if page is not None:
                answer = self._file(request, lookup, page, 404, work)
                if not (isinstance(answer, Answer) and answer.status >= 500):
                    return answer
        hint = None
        if lookup.site is not None and not len(lookup.site.tree):
            hint = "This repository has no files below `public/`: that folder is what is served."
        return self._error(request, 404, work, message=templates.FILE_NOT_FOUND, hint=hint, path=path)

    def _error(
        self,
        request: Request,
        status: int,
        work: _Work,
        *,
        message: str | None = None,
        hint: str | None = None,
        host: str = "",
        path: Path | None = None,
    ) -> Answer | Need:
        """An error page: the operator's `{status}.html`, else ours."""
        operators = self._library.error_pages
        if operators is not None:
            lookup = self._lookup(*operators, ((f"{status}.html",), False), work, [])
            if isinstance(lookup, Need):
                return lookup
            if lookup.site is not None:
                page = lookup.site.page(f"{status}.html")
                if page is not None:
                    answer = self._file(request, lookup, page, status, work)
                    if isinstance(answer, Need) or answer.status == status:
                        return answer
        shown = "/" + "/".join(path.segments) if path is not None else ""
        return self._own_page(
            request, status, templates.error_page(status, message=message, hint=hint, host=host, path=shown)
        )

    # Answers.

    def _file(self, request: Request, lookup: Lookup, file: File, status: int, work: _Work) -> Answer | Need:
        """A file under a status. Its bytes are fetched only where the answer has a body, or depends on them."""
        library, entry = self._library, file.entry
        data: bytes | None = None
        pointer: LfsPointer | None = None
        if entry.size <= MAX_POINTER_SIZE or (depends_on_head(file.path) and self._held(entry.size)):
            blob = self._blob(lookup, entry, work)
            if isinstance(blob, Need):
                return blob
            if isinstance(blob, ForgejoError):
                return self._lost(request, lookup, blob)
            data, pointer = blob.data, blob.pointer
        if pointer is not None:
            data = library.held_object(lookup, pointer)
            if data is None and self._held(pointer.size):
                key = ("object", pointer.oid)
                if key not in work.done:
                    wanted = pointer
                    return Need(key, lambda: library.object(lookup, file, wanted))
                found = work.done[key]
                if isinstance(found, NotFound):  # a text that looks like a pointer, and is all there is
                    pointer, data = None, blob.data if isinstance(blob, Blob) else b""
                elif isinstance(found, bytes):
                    data = found
                elif isinstance(found, ForgejoError):
                    return self._lost(request, lookup, found)
        representation = self._representation(lookup, file, pointer, data, work)
        plan = negotiate(request.method, request.header, representation, self._now(), status)
        form = plan.form
        if form is None or (plan.head_only and not plan.pending):
            return self._planned(plan, b"", lookup, work)
        if form.coding != IDENTITY and form.blob is not None:
            sibling = lookup.site.sibling(file, SUFFIXES[form.coding]) if lookup.site is not None else None
            return self._bytes(request, lookup, sibling or file, None, None, plan, work)
        if form.coding == IDENTITY:
            return self._bytes(request, lookup, file, pointer, data, plan, work)
        if data is None:
            blob = self._blob(lookup, entry, work)
            if isinstance(blob, Need):
                return blob
            if isinstance(blob, ForgejoError):
                return self._lost(request, lookup, blob)
            data = blob.data
        return self._encoded(request, lookup, file, representation, form.coding, data, plan, status, work)

    def _encoded(
        self,
        request: Request,
        lookup: Lookup,
        file: File,
        representation: Representation,
        coding: str,
        data: bytes,
        plan: Plan,
        status: int,
        work: _Work,
    ) -> Answer | Need:
        """A form that we make: once, on a thread, and held beside the file."""
        library, tag = self._library, representation.tag or ""
        body = library.held_form(tag, coding)
        if body is None:
            key = ("form", tag, coding)
            if key not in work.done:
                return Need(key, lambda: library.form(tag, coding, data), from_forgejo=False)
            made = work.done[key]
            body = made if isinstance(made, bytes) else b""
        if plan.pending or not body:
            known = representation.made(coding, len(body)) if body else representation.without(coding)
            library.keep_representation(lookup, file, known)
            plan = negotiate(request.method, request.header, known, self._now(), status)
        if plan.form is None or plan.head_only and not plan.pending:
            return self._planned(plan, b"", lookup, work)
        if plan.pending or plan.form.coding != coding:  # another form is wanted now
            return self._file(request, lookup, file, status, work)
        return self._planned(plan, body[plan.start : plan.end], lookup, work)

    def _bytes(
        self,
        request: Request,
        lookup: Lookup,
        file: File,
        pointer: LfsPointer | None,
        data: bytes | None,
        plan: Plan,
        work: _Work,
    ) -> Answer | Need:
        """The plan's part of a file's own bytes, from memory where they fit there, else streamed."""
        size = file.entry.size if pointer is None else pointer.size
        if data is None and pointer is None and self._held(size):
            blob = self._blob(lookup, file.entry, work)
            if isinstance(blob, Need):
                return blob
            if isinstance(blob, ForgejoError):
                return self._lost(request, lookup, blob)
            data = blob.data
        if plan.head_only:
            return self._planned(plan, b"", lookup, work)
        if data is not None:
            whole = plan.start == 0 and plan.end == len(data)
            return self._planned(plan, data if whole else data[plan.start : plan.end], lookup, work)
        answer = self._planned(plan, b"", lookup, work)
        answer.stream = lambda: self._library.stream(lookup, file, pointer, plan.start, plan.end)
        answer.length = plan.end - plan.start
        answer.otherwise = lambda error: self._broken_stream(request, error)
        return answer

    def _broken_stream(self, request: Request, error: Exception) -> Answer:
        if not isinstance(error, ForgejoError):
            logger.error("a file could not be streamed", exc_info=error)
            return self._own_page(request, 500, templates.error_page(500))
        return self._trouble(request, error)

    def _representation(
        self, lookup: Lookup, file: File, pointer: LfsPointer | None, data: bytes | None, work: _Work
    ) -> Representation:
        """What answers about the file depend on, prepared once for each commit."""
        site = lookup.site
        assert site is not None
        known = self._library.held_representation(lookup, file)
        if known is not None:
            return known
        kind = content_type(file.path, data[:HEAD_SIZE] if data is not None else None)
        size = file.entry.size if pointer is None else pointer.size
        beside = {
            suffix: (found.entry.id, found.entry.size)
            for suffix in SUFFIXES.values()
            if (found := site.sibling(file, suffix)) is not None
        }
        encoded = encoded_forms(kind, size, makeable=self._held(size), beside=beside)
        representation = Representation(
            kind,
            size,
            file.entry.id if pointer is None else pointer.oid,
            int(site.modified),
            cache_control(is_html(kind), self._settings.browser_cache_ttl),
            encoded,
        )
        self._library.keep_representation(lookup, file, representation)
        return representation

    def _held(self, size: int) -> bool:
        """Whether a file of this size is served out of memory; larger ones are streamed."""
        return size <= self._settings.max_cached_file_size

    def _blob(self, lookup: Lookup, entry: Entry, work: _Work) -> Blob | ForgejoError | Need:
        held = self._library.held_blob(entry)
        if held is not None:
            return held
        key = ("blob", entry.id)
        if key not in work.done:
            return Need(key, lambda: self._library.blob(lookup, entry))
        found = work.done[key]
        assert isinstance(found, Blob | ForgejoError)
        return found

    def _lost(self, request: Request, lookup: Lookup, error: ForgejoError) -> Answer:
        """A blob of a known commit that Forgejo does not give: trouble, or the commit was rewritten and collected."""
        if lookup.repository is not None and isinstance(error, NotFound):
            self._library.look_soon(lookup.repository.owner, lookup.repository.name)
        return self._trouble(request, BadAnswer("a blob is missing") if isinstance(error, NotFound) else error)

    def _planned(self, plan: Plan, body: bytes, lookup: Lookup, work: _Work) -> Answer:
        cache = "STALE" if lookup.trouble is not None else "MISS" if work.fetched else "HIT"
        headers = [*plan.headers, (b"X-Cache-Status", cache.encode())]
        return Answer(plan.status, headers, body, length=len(body), cache=cache)

    def _listing(self, request: Request, lookup: Lookup, listing: Listing, path: Path) -> Answer:
        entries = [
            templates.ListingEntry(name, "dir" if entry is None else "file", None if entry is None else entry.size)
            for name, entry in listing.rows
        ]
        page = templates.listing(
            "/" + "".join(f"{segment}/" for segment in path.segments),
            [request.host or "", *path.segments],
            entries,
            parent=bool(path.segments),
        )
        answer = self._own_page(request, 200, page, cache=b"public, max-age=0, must-revalidate")
        answer.cache = "STALE" if lookup.trouble is not None else "HIT"
        return answer

    def _own_page(self, request: Request, status: int, page: bytes, cache: bytes = b"no-store") -> Answer:
        """A page of our own: never kept, never framed, never running anything."""
        headers = [*self._own_headers, (b"Cache-Control", cache), (b"Content-Length", str(len(page)).encode())]
        return Answer(status, headers, b"" if request.method == "HEAD" else page)

    def _redirect(self, request: Request, location: str) -> Answer:
        """A permanent redirect on the same host that browsers forget in a minute; the query goes along."""
        if request.query is not None:
            location += "?" + quote(request.query.encode("utf-8", "surrogateescape"), safe=_SAFE_QUERY)
        headers = [
            (b"Location", location.encode("ascii")),
            (b"Cache-Control", b"public, max-age=%d" % REDIRECT_LIFE),
            (b"Content-Length", b"0"),
            (b"Access-Control-Allow-Origin", b"*"),
        ]
        return Answer(301, headers)

    def _options(self, request: Request) -> Answer:
        plan = preflight(request.header)
        return Answer(plan.status, list(plan.headers))
