# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A file's answer: which form of it, which bytes, out of memory or streamed.

Says what it needs instead of waiting for it, as `PagesServer` does, which calls it. Bytes are asked for only where the
answer has a body, or where they decide what it says: a file that may be a Git LFS pointer (of the right size, in a
commit whose `.gitattributes` speak of LFS) and a file whose name tells no type are looked at first, even for HEAD.
"""

import logging
import math
from collections.abc import Callable
from typing import NamedTuple

from addon import templates
from addon.forgejo.errors import BadAnswer, BlobTooLarge, ForgejoError, NotFound, Refused
from addon.forgejo.lfs import MAX_POINTER, LfsPointer
from addon.library.blobs import Blobs
from addon.serving.answers import Answer, Need, Request, Work, own_page, trouble_page
from addon.serving.site_headers import NONE, SiteHeaders, encoded_as_said
from addon.settings.schema import Settings
from addon.shared.lookup import Blob, Lookup
from addon.sites.site import File, Site
from addon.sites.tree import Entry
from addon.web.codings import IDENTITY, SUFFIXES
from addon.web.content_types import content_type, depends_on_head, is_html
from addon.web.negotiation import negotiate
from addon.web.representation import Plan, Representation, cache_control, encoded_forms

logger = logging.getLogger(__name__)

MIN_POINTER = 120
"""Bytes below which no blob is a Git LFS pointer: version, oid and size take 125."""
HEAD_SIZE = 1024
"""Bytes of a file without a telling name that its content type is guessed from."""


class Source(NamedTuple):
    """Where a file's own bytes come from.

    size, tag: of the file, or of the LFS object it stands for. held: they are served out of memory, not streamed.
    data: the bytes, where they are on hand. error: why they cannot be had.
    """

    file: File
    pointer: LfsPointer | None
    size: int
    tag: str
    held: bool
    data: bytes | None
    error: ForgejoError | None


class Files:
    """Answers that are files of a site."""

    def __init__(self, settings: Settings, blobs: Blobs, now: Callable[[], float]) -> None:
        self._largest = settings.max_cached_file_size
        self._browser_cache_ttl = settings.browser_cache_ttl
        self._blobs = blobs
        self._now = now

    def file(
        self,
        request: Request,
        lookup: Lookup,
        site: Site,
        file: File,
        status: int,
        work: Work,
        said: SiteHeaders = NONE,
    ) -> Answer | Need:
        """The file under a status (404 for a site's own 404.html); said: what the site's `_headers` say of it."""
        source = self._source(lookup, file, work)
        if isinstance(source, Need):
            return source
        if source.error is not None and (
            depends_on_head(file.path) or (source.pointer is None and _may_be_pointer(lookup, file))
        ):
            return _lost(request, source.error)
        if said.coding and source.held and source.data is None and source.error is None:
            return self._fetch(request, lookup, source)
        representation = self._representation(lookup, site, source, said)
        while True:
            plan = negotiate(request.method, request.header, representation, self._now(), status)
            form = plan.form
            if form is None or (plan.head_only and not plan.pending):
                return _planned(plan, b"", lookup, work)
            if form.coding == IDENTITY:
                return self._own_bytes(request, lookup, site, source, plan, status, work, said)
            if form.blob is not None:
                beside = site.sibling(file, SUFFIXES[form.coding])
                assert beside is not None
                blob = self._blob(beside.entry, work)
                if isinstance(blob, Blob) and blob.pointer is not None:  # the form itself lies elsewhere
                    representation = self._keep(lookup, file, representation.without(form.coding), said)
                    continue
                return self._own_bytes(
                    request, lookup, site, _plain(beside, blob, self._largest), plan, status, work, said
                )
            body = self._encoded(request, lookup, source, form.coding, work)
            if not isinstance(body, bytes):
                return body
            if body and not plan.pending:
                return _planned(plan, body[plan.start : plan.end], lookup, work)
            known = representation.made(form.coding, len(body)) if body else representation.without(form.coding)
            representation = self._keep(lookup, file, known, said)

    # Where the bytes come from.

    def _source(self, lookup: Lookup, file: File, work: Work) -> Source | Need:
        entry = file.entry
        blob = self._blob(entry, work)
        if blob is None and (
            _may_be_pointer(lookup, file) or (depends_on_head(file.path) and entry.size <= self._largest)
        ):
            return self._need_blob(lookup, entry)
        pointer = blob.pointer if isinstance(blob, Blob) else None
        if pointer is None:
            return _plain(file, blob, self._largest)
        held = pointer.size <= self._largest
        found = self._object(lookup, file, pointer, held, work)
        if isinstance(found, NotFound):  # a text that looks like a pointer, and is all there is
            work.good_until = -math.inf  # for the object may be uploaded yet
            return _plain(file, blob, self._largest)
        if found is None and held and depends_on_head(file.path):
            return self._need_object(lookup, file, pointer)
        data = found if isinstance(found, bytes) else None
        error = found if isinstance(found, ForgejoError) else None
        return Source(file, pointer, pointer.size, pointer.oid, held, data, error)

    def _fetch(self, request: Request, lookup: Lookup, source: Source) -> Answer | Need:
        """Bytes that memory should hold and does not."""
        if source.error is not None:
            return _lost(request, source.error)
        if source.pointer is not None:
            return self._need_object(lookup, source.file, source.pointer)
        return self._need_blob(lookup, source.file.entry)

    def _blob(self, entry: Entry, work: Work) -> Blob | ForgejoError | None:
        found = self._blobs.held_blob(entry)
        if found is None and work.done:
            done = work.done.get(("blob", entry.id))
            found = done if isinstance(done, Blob | ForgejoError) else None
        return found

    def _need_blob(self, lookup: Lookup, entry: Entry) -> Need:
        return Need(("blob", entry.id), lambda: self._blobs.blob(lookup, entry))

    def _object(
        self, lookup: Lookup, file: File, pointer: LfsPointer, held: bool, work: Work
    ) -> bytes | ForgejoError | None:
        if not held:
            done = work.done.get(("stream", pointer.oid))
            return done if isinstance(done, ForgejoError) else self._blobs.held_failure(lookup, file)
        found = self._blobs.held_object(lookup, pointer)
        if found is None:
            done = work.done.get(("object", pointer.oid))
            found = done if isinstance(done, bytes | ForgejoError) else None
        return found

    def _need_object(self, lookup: Lookup, file: File, pointer: LfsPointer) -> Need:
        return Need(("object", pointer.oid), lambda: self._blobs.lfs_object(lookup, file, pointer))

    # The parts of an answer.

    def _own_bytes(
        self,
        request: Request,
        lookup: Lookup,
        site: Site,
        source: Source,
        plan: Plan,
        status: int,
        work: Work,
        said: SiteHeaders,
    ) -> Answer | Need:
        """The plan's part of a file's own bytes, from memory where they fit there, else streamed."""
        data = source.data
        if data is not None:
            whole = plan.start == 0 and plan.end == len(data)
            return _planned(plan, data if whole else data[plan.start : plan.end], lookup, work)
        if source.held:
            return self._fetch(request, lookup, source)
        file, pointer = source.file, source.pointer
        failed = source.error or self._blobs.held_failure(lookup, file)
        if failed is not None:
            return _lost(request, failed)

        def otherwise(error: Exception) -> Answer:
            if not isinstance(error, ForgejoError):
                logger.error("a file could not be streamed", exc_info=error)
                return own_page(request, 500, templates.error_page(500))
            self._blobs.keep_failure(lookup, file, error)
            if pointer is not None and isinstance(error, NotFound):  # nothing but the pointer's own text, as above
                work.done[("stream", pointer.oid)] = error
                text = self.file(request, lookup, site, file, status, work, said)
                if isinstance(text, Answer) and text.stream is None:
                    return text
            return _lost(request, error)

        answer = _planned(plan, b"", lookup, work)
        answer.stream = lambda: self._blobs.stream(lookup, file, pointer, plan.start, plan.end)
        answer.length = plan.end - plan.start
        answer.otherwise = otherwise
        return answer

    def _encoded(
        self, request: Request, lookup: Lookup, source: Source, coding: str, work: Work
    ) -> bytes | Answer | Need:
        """A form that we make: once, on a thread, and held beside the file. Empty where it is no smaller."""
        blobs, tag, data = self._blobs, source.tag, source.data
        body = blobs.held_form(tag, coding)
        if body is None:
            key = ("form", tag, coding)
            done = work.done.get(key)
            if isinstance(done, bytes):
                return done
            if data is None:
                return self._fetch(request, lookup, source)
            return Need(key, lambda: blobs.form(tag, coding, data), from_forgejo=False)
        return body

    def _representation(self, lookup: Lookup, site: Site, source: Source, said: SiteHeaders) -> Representation:
        """What answers about the file depend on, prepared once for each commit."""
        file = source.file
        known = self._blobs.held_representation(lookup, file, said.key)
        if known is not None and known.tag == source.tag and (source.held or not _made_by_us(known)):
            return known
        kind = content_type(file.path, source.data[:HEAD_SIZE] if source.data is not None else None)
        own = next((value for name, value in said.fields if name == b"Content-Type"), None)
        kind = kind if own is None else own.decode("ascii")
        true = said.coding and source.data is not None and encoded_as_said(said.coding, source.data)
        coded = ((b"Content-Encoding", said.coding.encode()),) if true else ()
        beside = {
            suffix: (found.entry.id, found.entry.size)
            for suffix in SUFFIXES.values()
            if (found := site.sibling(file, suffix)) is not None
        }
        representation = Representation(
            kind,
            source.size,
            source.tag,
            int(site.modified),
            cache_control(is_html(kind), self._browser_cache_ttl),
            () if coded else encoded_forms(kind, source.size, makeable=source.held, beside=beside),
            (*said.fields, *coded),
            said.removed,
        )
        return self._keep(lookup, file, representation, said)

    def _keep(self, lookup: Lookup, file: File, representation: Representation, said: SiteHeaders) -> Representation:
        self._blobs.keep_representation(lookup, file, representation, said.key)
        return representation


def _lost(request: Request, error: ForgejoError) -> Answer:
    """Bytes of a known commit that Forgejo does not give: trouble, whatever it calls it."""
    if isinstance(error, NotFound | Refused):
        error = BadAnswer("a file of a known commit is missing")
    return trouble_page(request, error)


def _may_be_pointer(lookup: Lookup, file: File) -> bool:
    return MIN_POINTER <= file.entry.size <= MAX_POINTER and lookup.uses_lfs


def _plain(file: File, blob: Blob | ForgejoError | None, largest: int) -> Source:
    """The file's blob itself."""
    entry = file.entry
    held = entry.size <= largest and not isinstance(blob, BlobTooLarge)
    data = blob.data if isinstance(blob, Blob) else None
    error = blob if isinstance(blob, ForgejoError) and held else None
    return Source(file, None, entry.size, entry.id, held, data, error)


def _made_by_us(representation: Representation) -> bool:
    """Whether it promises forms that only who has the bytes can make."""
    return any(form.blob is None for form in representation.encoded)


def _planned(plan: Plan, body: bytes, lookup: Lookup, work: Work) -> Answer:
    cache = cache_status(lookup, work)
    return Answer(plan.status, [*plan.headers, _CACHE_STATUS[cache]], body, length=len(body), cache=cache)


def cache_status(lookup: Lookup, work: Work) -> str:
    """The value of X-Cache-Status: STALE while Forgejo cannot be asked, MISS if it was for this answer, else HIT."""
    return "STALE" if lookup.trouble is not None else "MISS" if work.fetched else "HIT"


_CACHE_STATUS = {status: (b"X-Cache-Status", status.encode()) for status in ("HIT", "MISS", "STALE")}
