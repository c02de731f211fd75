# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The fourth step: what a path means in a site that has been entered: a file, a folder's slash, a listing, nothing.

The site's tree says it (`sites/`), so nobody is asked. A file goes on to `files.py`. A listing is made on a thread, a
page of 1 000 rows at a time, unless the whole site is small. The surprise: it names no host and begins at the site, so
that commit, path, order and page are all that a page depends on, and nobody can have one made in sixteen ways.
"""

import re
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

from addon import templates
from addon.library.blobs import Blobs
from addon.serving.answers import Answer, Need, Request, Work, own_not_found, own_page, redirect
from addon.serving.files import Files, cache_status
from addon.serving.locks import Entered, SitePath
from addon.serving.site_page import SitePages
from addon.serving.site_rules import SiteRules
from addon.shared.lookup import Lookup
from addon.sites.site import INDEX, File, Listing, Missing, Site, ToFile, ToFolder
from addon.sites.tree import Entry
from addon.web.routing import OWN_PREFIX, PROFILE, Path, encode_path

ROWS = 1_000
"""Rows of one page of a listing."""
_SMALL_SITE = 100
"""Files up to which a listing is made at once: 100 rows take 2 ms."""
_QUERY = re.compile(r"(?:sort=(-?(?:name|size))(?:&|\Z))?(?:page=([1-9][0-9]{0,4}))?")


FormerFile = Callable[[Lookup, tuple[str, ...]], tuple[Lookup, File, float] | None]


@dataclass(frozen=True, slots=True)
class Paths:
    """What paths mean in sites. former: a file of a commit that was replaced, as `Library.former` has it."""

    blobs: Blobs
    files: Files
    rules: SiteRules
    reports: SitePages
    former: FormerFile

    def missing(self, at: SitePath) -> Answer | Need | int:
        """What a path gets for which the site has no file; a number is the status of a page that is not the site's."""
        return self.rules.not_found(at)

    def path(self, at: SitePath) -> Answer | Need | int | None:
        """What a path gets in a site; None where the site has nothing there."""
        request, entered, segments, path, work = at
        lookup, site = entered
        if segments and segments[0] == OWN_PREFIX:
            report = self.reports.answer(at)
            return own_not_found(request, str(path)) if report is None else report
        if site.rules.forced:
            ruled = self.rules.before_files(at)
            if ruled is not None:
                return ruled
        outcome = site.outcome(segments, path.slash)
        if work.steps is not None:
            work.steps.path(site, segments, path.slash, outcome)
        match outcome:
            case File():
                if site.pages_file.clean_urls and (clean := _clean(site, outcome, segments, path)) is not None:
                    return redirect(request, clean)
                said = self.rules.headers(at)
                return self.files.file(request, lookup, site, outcome, 200, work, said)
            case ToFolder():
                return redirect(request, encode_path(path.segments, True))
            case Listing():
                return self._listing(request, entered, outcome, work)
            case ToFile():
                return redirect(request, encode_path(path.segments, False))
            case Missing():
                return None if path.slash else self._of_former_deploy(at)
        raise AssertionError(outcome)

    def _of_former_deploy(self, at: SitePath) -> Answer | Need | None:
        """What an open tab loads late, of the build that it shows."""
        work = at.work
        found = self.former(at.entered.lookup, at.segments)
        if found is None:
            return None
        lookup, file, until = found
        if work.steps is not None:
            work.steps.say("former", f"{file.path}: of commit {lookup.commit}, which was replaced within the hour")
        assert lookup.site is not None
        work.good_until = min(work.good_until, until)
        said = self.rules.headers(at)
        return self.files.file(at.request, lookup, lookup.site, file, 200, work, said)

    def _listing(self, request: Request, entered: Entered, listing: Listing, work: Work) -> Answer | Need | None:
        lookup, site = entered
        said = _QUERY.fullmatch(request.query or "")
        sort = cast(templates.Sort, said[1] if said is not None and said[1] else "name")
        number = int(said[2]) if said is not None and said[2] else 1
        if len(site.tree) <= _SMALL_SITE:
            if number > 1:
                return None
            order = _order(site, listing.folder, sort)
            return self._listed(request, lookup, _listing_page(site, listing, order, 1, sort), work)
        # With whose it is, which the page shows: forks have the same commits, and may be nobody else's affair.
        name = ("listing", site.owner, site.name, site.commit, site.prefix or "", listing.path, sort, str(number))
        page = self.blobs.held_page(name) or work.done.get(name)
        if not isinstance(page, bytes):
            key = ("order", site.commit, site.prefix or "", listing.folder, sort)
            found = self.blobs.held_page(key) or work.done.get(key)
            if not isinstance(found, bytes):
                sorting = partial(_order, site, listing.folder, sort)
                return Need(key, lambda: self.blobs.page(key, sorting), from_forgejo=False)
            if number > 1 and (number - 1) * ROWS >= len(array("I", found)):
                return None
            make = partial(_listing_page, site, listing, found, number, sort)
            return Need(name, lambda: self.blobs.page(name, make), from_forgejo=False)
        return self._listed(request, lookup, page, work)

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


def _order(site: Site, folder: str, sort: templates.Sort) -> bytes:
    """The rows of a folder in the order in which they are shown, by their place in the tree: 4 bytes for each."""
    rows = {}
    for place in site.places(folder):
        row = site.row(folder, place)
        if row is not None:
            rows[_entry(*row)] = place
    return array("I", map(rows.__getitem__, templates.in_order(rows, sort))).tobytes()


def _entry(name: str, entry: Entry | None) -> templates.ListingEntry:
    return templates.ListingEntry(name, "dir" if entry is None else "file", None if entry is None else entry.size)


def _listing_page(site: Site, listing: Listing, order: bytes, number: int, sort: templates.Sort) -> bytes:
    """One page of a listing, as HTML."""
    places = array("I", order)
    shown = [site.row(listing.folder, place) for place in places[(number - 1) * ROWS : number * ROWS]]
    entries = [_entry(*row) for row in shown if row is not None]
    segments = listing.path.split("/") if listing.path else []
    label = site.owner if site.name == PROFILE else site.name
    title = "/" + "".join(f"{segment}/" for segment in segments)
    pages = max(1, -(-len(places) // ROWS))
    return templates.listing(
        title,
        [label, *segments],
        entries,
        parent=bool(segments),
        page=number,
        pages=pages,
        total=len(places),
        sort=sort,
        modified=site.modified,
    )
