# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The fourth step: what a path means in a site that has been entered: a file, a folder's slash, a listing, nothing.

The site's tree says it (`sites/`), so nobody is asked. A file goes on to `files.py`. The surprise: finding the rows of
a folder in a large site, and making a long listing, go to a thread, once.
"""

from functools import partial

from addon import templates
from addon.library.blobs import Blobs
from addon.serving.answers import Answer, Need, Request, Work, own_not_found, own_page, redirect
from addon.serving.files import Files, cache_status
from addon.serving.locks import Entered
from addon.serving.site_page import SitePages
from addon.serving.site_rules import SiteRules
from addon.shared.lookup import Lookup
from addon.sites.site import INDEX, File, Listing, Missing, Site, ToFolder
from addon.web.routing import OWN_PREFIX, Path, encode_path

_LONG_LISTING = 200
"""Rows above which a listing is made on a thread: 200 take 3 ms."""
_LARGE_SITE = 5_000
"""Files above which finding a folder's rows goes to a thread: 100 000 take 0.4 s."""


class Paths:
    """What paths mean in sites."""

    def __init__(self, blobs: Blobs, files: Files, rules: SiteRules, reports: SitePages) -> None:
        self._blobs = blobs
        self._files = files
        self._rules = rules
        self._reports = reports

    def missing(
        self, request: Request, entered: Entered, segments: tuple[str, ...], path: Path, work: Work
    ) -> Answer | Need | int:
        """What a path gets for which the site has no file; a number is the status of a page that is not the site's."""
        return self._rules.instead(request, entered, segments, path, work)

    def path(
        self, request: Request, entered: Entered, segments: tuple[str, ...], path: Path, work: Work
    ) -> Answer | Need | int | None:
        """What a path gets in a site; None where the site has nothing there."""
        lookup, site = entered
        if segments and segments[0] == OWN_PREFIX:
            place = f"{request.host or ''}{encode_path(path.segments[: len(path.segments) - len(segments)], True)}"
            report = self._reports.answer(request, entered, segments, place, work)
            return own_not_found(request, str(path)) if report is None else report
        if site.rules.forced:
            ruled = self._rules.before_files(request, entered, segments, path, work)
            if ruled is not None:
                return ruled
        if path.slash and site.pages_file.directory_index and len(site.tree) > _LARGE_SITE:
            page = self._blobs.held_page(self._listing_name(request, lookup, path))
            if page is not None:
                return self._listed(request, lookup, page, work)
            key = ("outcome", site.commit, segments)
            if key not in work.done:
                find = partial(site.outcome, segments, True)
                return Need(key, lambda: self._blobs.on_thread(find), from_forgejo=False)
            outcome = work.done[key]
        else:
            outcome = site.outcome(segments, path.slash)
        match outcome:
            case File():
                if site.pages_file.clean_urls and (clean := _clean(site, outcome, segments, path)) is not None:
                    return redirect(request, clean)
                said = self._rules.headers(request, site, segments, path)
                return self._files.file(request, lookup, site, outcome, 200, work, said)
            case ToFolder():
                return redirect(request, encode_path(path.segments, True))
            case Listing():
                return self._listing(request, lookup, outcome, path, work)
            case Missing():
                return None
        raise AssertionError(outcome)

    def _listing(self, request: Request, lookup: Lookup, listing: Listing, path: Path, work: Work) -> Answer | Need:
        name = self._listing_name(request, lookup, path)
        page = self._blobs.held_page(name)
        if page is None:
            make = partial(_listing_page, request.host or "", path, listing)
            if len(listing.rows) <= _LONG_LISTING:
                page = make()
            else:
                done = work.done.get(name)
                if not isinstance(done, bytes):
                    return Need(name, lambda: self._blobs.page(name, make), from_forgejo=False)
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


def _clean(site: Site, file: File, segments: tuple[str, ...], path: Path) -> str | None:
    """The address without `.html` under which the site shows this file, too."""
    name = segments[-1] if segments and not path.slash else ""
    if name == INDEX:
        shorter, slash = segments[:-1], True
    elif name.endswith(".html") and name != ".html":
        shorter, slash = (*segments[:-1], name.removesuffix(".html")), False
    else:
        return None
    if site.outcome(shorter, slash) != file:
        return None
    return encode_path((*path.segments[: len(path.segments) - len(segments)], *shorter), slash)


def _listing_page(host: str, path: Path, listing: Listing) -> bytes:
    entries = [
        templates.ListingEntry(name, "dir" if entry is None else "file", None if entry is None else entry.size)
        for name, entry in listing.rows
    ]
    title = "/" + "".join(f"{segment}/" for segment in path.segments)
    return templates.listing(title, [host, *path.segments], entries, parent=bool(path.segments))
