# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The last step: a file's answer, which form of it, which bytes, out of memory or streamed.

Says what it needs instead of waiting for it, as all steps do. Bytes are asked for only where the answer has a body, or
where they decide what it says: a file that may be a Git LFS pointer (of the right size, in a commit whose
`.gitattributes` speak of LFS) and a file whose name tells no type are looked at first, even for HEAD. Text says whether
it is UTF-8; where nobody has looked yet, HEAD leaves that out (RFC 9110 §9.3.2). The surprise: what lies beside a file
as its encoded form is sent only once it was seen to decode to this very file (`app.js.gz` may be of the build before,
`index.html.br` Breton).
"""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from addon import templates
from addon.access.guess_limits import Bounded
from addon.forgejo.errors import BadAnswer, BlobTooLarge, ForgejoError, NotFound, Refused
from addon.forgejo.lfs import MAX_POINTER, LfsPointer, is_pointer_with_crlf
from addon.library.blobs import Blobs
from addon.serving.answers import Answer, Need, Request, Work, own_page, trouble_page
from addon.serving.site_headers import NONE, SiteHeaders, encoded_as_said
from addon.settings.schema import Settings
from addon.shared.lookup import Blob, Lookup
from addon.sites.site import File, Site
from addon.sites.tree import Entry
from addon.web.codings import IDENTITY, SUFFIXES
from addon.web.content_types import content_type, depends_on_head, is_fallback, is_html, is_prose
from addon.web.encoded_names import encoded_name
from addon.web.hashed_names import is_hashed
from addon.web.negotiation import negotiate
from addon.web.representation import (
    Beside,
    Form,
    Plan,
    Representation,
    cache_control,
    encoded_forms,
    worth_encoding,
)

logger = logging.getLogger(__name__)

MIN_POINTER = 120
"""Bytes below which no blob is a Git LFS pointer: version, oid and size take 125."""
_LARGEST_DECODED = 256 * 1024 * 1024
"""Bytes of a file above which nobody looks whether what lies beside it is that file."""
_MOST_TOLD = 1000
NO_OBJECT = "This file is kept in Git LFS, and Forgejo does not have its content."
NO_OBJECT_HINT = "Push it from a clone that has it: `git lfs push --all origin`."
CRLF_HINT = (
    "What git holds of it is a pointer with Windows line ends (CRLF), which Git LFS does not read. Add the file again"
    " in a clone with Git LFS: `git rm --cached FILE`, then `git add FILE`, commit and push."
)


class MissingObject(NotFound):
    """A Git LFS pointer that leads to nothing; its text is no answer to who asks for the file. hint: for the owner."""

    def __init__(self, hint: str) -> None:
        super().__init__("a Git LFS pointer without its object")
        self.hint = hint


class Source(NamedTuple):
    """Where a file's own bytes come from.

    size, tag: of the file, or of the LFS object it stands for. identity: under which its forms are held; an object's
    are its repository's alone, for anybody can name one, and only Forgejo says who may have it. held: they are served
    out of memory, not streamed. data: the bytes, where they are on hand; head: the first of them, where they are not
    held. error: why they cannot be had.
    """

    file: File
    pointer: LfsPointer | None
    size: int
    tag: str
    identity: str
    held: bool
    data: bytes | None
    error: ForgejoError | None
    head: bytes | None = None


class Wanted(NamedTuple):
    """What an answer is made for. status: under which; said: what the site's `_headers` say of the path."""

    request: Request
    lookup: Lookup
    site: Site
    status: int
    work: Work
    said: SiteHeaders


class Files:
    """Answers that are files of a site."""

    def __init__(self, settings: Settings, blobs: Blobs, now: Callable[[], float]) -> None:
        self._largest = settings.max_cached_file_size
        self._browser_cache_ttl = settings.browser_cache_ttl
        self._blobs = blobs
        self._now = now
        self._told: Bounded[str, bool] = Bounded(_MOST_TOLD)  # of which objects the log has said that they are missing

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
        wanted = Wanted(request, lookup, site, status, work, said)
        known = self._blobs.held_representation(lookup, file, said.key)
        source = self._source(lookup, file, work, looked=known is not None)
        if known is not None and isinstance(source, Source) and not _fits(known, source):
            known = None  # of the pointer's text, or of bytes that are not held any more
            source = self._source(lookup, file, work, looked=False)
        if isinstance(source, Need):
            return self._without_looking(wanted, file) or source
        if source.error is not None and (
            isinstance(source.error, MissingObject)
            or (known is None and _reads_head(file))
            or (source.pointer is None and _may_be_pointer(lookup, file))
        ):
            return _lost(request, source.error)
        if known is None and said.coding and source.held and source.data is None and source.error is None:
            return self._fetch(request, lookup, source)
        if known is None:
            prepared = self._prepared(site, source, work, said)
            if isinstance(prepared, Need):
                return prepared
            known = self._keep(lookup, file, prepared, said)
        if request.header(b"if-match") is not None:  # it may name any form
            checked = self._all_checked(wanted, source, known)
            if isinstance(checked, Need):
                return checked
            known = checked
        if work.steps is not None:
            held = [form.coding for form in known.encoded if self._is_held(source, form, work)]
            work.steps.file(site, file, status, known, source.data is not None, held)
            work.steps.comes_from((b"X-Cache-Status",), "whether Forgejo had to be asked")
        return self._negotiated(wanted, source, known)

    def _is_held(self, source: Source, form: Form, work: Work) -> bool:
        """Whether the bytes of an encoded form are in memory."""
        if form.blob is None:
            return bool(self._blobs.held_form(source.identity, form.coding))
        return form.size is not None and isinstance(self._blobs.held_blob(Entry(form.blob, form.size, 0)), Blob)

    def _negotiated(self, wanted: Wanted, source: Source, representation: Representation) -> Answer | Need:
        """The form that the client wants, made or looked at first where that was not done yet."""
        request, lookup, site, status, work, said = wanted
        file = source.file
        while True:
            plan = negotiate(request.method, request.header, representation, self._now(), status)
            form = plan.form
            if form is None or (plan.head_only and not plan.pending):
                return _planned(plan, b"", lookup, work)
            if form.coding == IDENTITY:
                return self._own_bytes(wanted, source, plan)
            if form.blob is not None:
                beside = site.sibling(file, SUFFIXES[form.coding])
                assert beside is not None
                if form.size is None:
                    checked = self._checked(wanted, source, beside, form.coding, representation)
                    if isinstance(checked, Need):
                        return checked
                    representation = checked
                    continue
                blob = self._blob(beside.entry, work)
                form_source = _plain(beside, blob, self._largest)
                return self._own_bytes(wanted, form_source, plan)
            if form.streamed:
                streamed = self._streamed(wanted, source, representation, plan)
                if not isinstance(streamed, Representation):
                    return streamed
                representation = streamed
                continue
            body = self._encoded(request, lookup, source, form.coding, work)
            if not isinstance(body, bytes):
                return body
            if body and not plan.pending:
                return _planned(plan, body[plan.start : plan.end], lookup, work)
            made = representation.made(form.coding, len(body)) if body else representation.without(form.coding)
            representation = self._keep(lookup, file, made, said)

    # Where the bytes come from.

    def _source(self, lookup: Lookup, file: File, work: Work, *, looked: bool) -> Source | Need:
        """looked: what the first bytes say is known."""
        entry = file.entry
        blob = self._blob(entry, work)
        wants_head = not looked and _reads_head(file)
        if blob is None and (_may_be_pointer(lookup, file) or (wants_head and entry.size <= self._largest)):
            return self._need_blob(lookup, entry)
        pointer = blob.pointer if isinstance(blob, Blob) else None
        if pointer is None:
            source = _plain(file, blob, self._largest)
            if self._is_broken_pointer(lookup, file, source.data):
                return source._replace(error=MissingObject(CRLF_HINT))
        else:
            held = pointer.size <= self._largest
            found = self._object(lookup, file, pointer, held, work)
            if isinstance(found, NotFound):
                work.good_until = -math.inf  # for the object may be uploaded yet
                source = _plain(file, blob, self._largest)
                if is_prose(file.path):  # a text that looks like a pointer, and is all there is
                    return source
                self._tell(lookup, file, pointer.oid, "Forgejo does not have its Git LFS object")
                return source._replace(error=MissingObject(NO_OBJECT_HINT))
            data = found if isinstance(found, bytes) else None
            error = found if isinstance(found, ForgejoError) else None
            assert lookup.repository is not None
            identity = f"{pointer.oid} of {lookup.repository.id}"
            source = Source(file, pointer, pointer.size, pointer.oid, identity, held, data, error)
            if found is None and held and wants_head:
                return self._need_object(lookup, file, pointer)
        if wants_head and not source.held and source.error is None:
            return self._with_head(lookup, source, work)
        return source

    def _with_head(self, lookup: Lookup, source: Source, work: Work) -> Source | Need:
        """The first bytes of a file that is streamed."""
        key = ("head", source.identity)
        head = self._blobs.held_head(source.identity) or work.done.get(key)
        if isinstance(head, bytes):
            return source._replace(head=head)
        if isinstance(head, ForgejoError):  # what is streamed will tell
            return source
        file, pointer = source.file, source.pointer
        return Need(key, lambda: self._blobs.head(lookup, file, pointer, source.identity, source.size))

    def _is_broken_pointer(self, lookup: Lookup, file: File, data: bytes | None) -> bool:
        if data is None or not _may_be_pointer(lookup, file) or is_prose(file.path) or not is_pointer_with_crlf(data):
            return False
        self._tell(lookup, file, file.entry.id, "its Git LFS pointer has Windows line ends (CRLF)")
        return True

    def _tell(self, lookup: Lookup, file: File, id: str, what: str) -> None:
        """Say once in the log why a file is not served."""
        if id not in self._told:
            self._told.put(id, True)
            logger.warning("%s/%s: %s: %s", *lookup.key, file.path, what)

    def _without_looking(self, wanted: Wanted, file: File) -> Answer | None:
        """An answer without content about a file whose name tells its type: it says nothing of the charset, then."""
        request, lookup, site, status, work, said = wanted
        if _may_be_pointer(lookup, file) or is_fallback(file.path) or encoded_name(file.path) or said.coding:
            return None
        source = _plain(file, None, self._largest)
        representation = self._as_named(site, source, content_type(file.path), said, forms=True)
        plan = negotiate(request.method, request.header, representation, self._now(), status)
        bodiless = plan.form is None or (plan.head_only and not plan.pending)
        return _planned(plan, b"", lookup, work) if bodiless else None

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

    def _own_bytes(self, wanted: Wanted, source: Source, plan: Plan) -> Answer | Need:
        """The plan's part of a file's own bytes, from memory where they fit there, else streamed."""
        request, lookup, site, status, work, said = wanted
        data, form = source.data, plan.form
        on_its_way = form is not None and form.streamed
        if data is not None and not on_its_way:
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
        if form is not None and on_its_way:
            answer.stream = lambda: self._blobs.encoded_stream(
                lookup, file, pointer, source.identity, source.size, form.coding
            )
        else:
            answer.stream = lambda: self._blobs.stream(lookup, file, pointer, plan.start, plan.end)
            answer.length = plan.end - plan.start
        answer.otherwise = otherwise
        return answer

    def _streamed(
        self, wanted: Wanted, source: Source, representation: Representation, plan: Plan
    ) -> Answer | Need | Representation:
        """A form that is made on its way, or one that was kept; else what there is instead, to choose from again."""
        blobs, form, lookup = self._blobs, plan.form, wanted.lookup
        assert form is not None
        body = blobs.held_form(source.identity, form.coding)
        if body is None and form.size is None:
            if not blobs.may_encode(lookup):
                return representation.at_rest()  # the file itself costs nothing, and is sent at once
            return self._own_bytes(wanted, source, plan)
        if body is None:
            changed = representation.unmade(form.coding)
        elif not body:
            changed = representation.without(form.coding)
        elif form.size is None:
            changed = representation.made(form.coding, len(body))
        else:
            return _planned(plan, body[plan.start : plan.end], lookup, wanted.work)
        return self._keep(lookup, source.file, changed, wanted.said)

    def _encoded(
        self, request: Request, lookup: Lookup, source: Source, coding: str, work: Work
    ) -> bytes | Answer | Need:
        """A form that we make: once, on a thread, and held beside the file. Empty where it is no smaller."""
        blobs, identity, data = self._blobs, source.identity, source.data
        body = blobs.held_form(identity, coding)
        if body is None:
            key = ("form", identity, coding)
            done = work.done.get(key)
            if isinstance(done, bytes):
                return done
            if data is None:
                return self._fetch(request, lookup, source)
            return Need(key, lambda: blobs.form(identity, coding, data), from_forgejo=False)
        return body

    def _prepared(self, site: Site, source: Source, work: Work, said: SiteHeaders) -> Representation | Need:
        """What answers about the file depend on, prepared once for each commit."""
        head = source.data if source.data is not None else source.head
        encoded = encoded_name(source.file.path)
        if said.coding and source.data is not None and encoded_as_said(said.coding, source.data):
            representation = self._as_named(site, source, content_type(source.file.path, head), said, forms=False)
            return replace(representation, coding=said.coding)
        if encoded is None or head is None:
            return self._as_named(site, source, content_type(source.file.path, head), said, forms=encoded is None)
        key = ("decodes", source.tag, encoded.coding)
        decodes = self._blobs.held_verdict(key)
        if decodes is None:
            done = work.done.get(key)
            if not isinstance(done, bool):
                whole = source.data is not None
                check = self._blobs.decodes
                return Need(key, lambda: check(key, head, encoded.coding, whole=whole), from_forgejo=False)
            decodes = done
        kind = content_type(encoded.name, None if decodes else head)
        representation = self._as_named(site, source, kind, said, forms=not decodes)
        return replace(representation, coding=encoded.coding) if decodes else representation

    def _as_named(self, site: Site, source: Source, kind: str, said: SiteHeaders, *, forms: bool) -> Representation:
        file = source.file
        own = next((value for name, value in said.fields if name == b"Content-Type"), None)
        kind = kind if own is None else own.decode("ascii")
        beside: dict[str, Beside] = {}
        for coding, suffix in SUFFIXES.items() if forms else ():
            found = site.sibling(file, suffix)
            if found is not None:
                verdict = self._blobs.held_verdict(_form_key(source, found, coding))
                if verdict is not False:
                    beside[suffix] = Beside(found.entry.id, found.entry.size, verdict is True)
        return Representation(
            kind,
            source.size,
            source.tag,
            int(site.modified),
            cache_control(is_html(kind), self._browser_cache_ttl, hashed=is_hashed(file.path)),
            encoded_forms(kind, source.size, held=source.held, beside=beside) if forms else (),
            said.fields,
            said.removed,
            nosniff=own is not None or not is_fallback(file.path),
        )

    def _all_checked(self, wanted: Wanted, source: Source, representation: Representation) -> Representation | Need:
        for form in representation.encoded:
            beside = wanted.site.sibling(source.file, SUFFIXES[form.coding])
            if form.blob is None or form.size is not None or beside is None:
                continue
            checked = self._checked(wanted, source, beside, form.coding, representation)
            if isinstance(checked, Need):
                return checked
            representation = checked
        return representation

    def _checked(
        self, wanted: Wanted, source: Source, beside: File, coding: str, representation: Representation
    ) -> Representation | Need:
        """The representation once it was looked whether what lies beside the file decodes to it."""
        lookup, work, said = wanted.lookup, wanted.work, wanted.said
        key = _form_key(source, beside, coding)
        verdict = self._blobs.held_verdict(key)
        if verdict is None:
            done = work.done.get(key)
            verdict = done if isinstance(done, bool) else None
        if verdict is None and source.size <= _LARGEST_DECODED:
            digest = source.tag if source.pointer is None else f"sha256:{source.tag}"
            if beside.entry.size > self._largest:  # which takes a while: behind the visitor's back
                self._blobs.check_form_soon(key, lookup, source.file, beside, coding, digest, source.size)
                return representation.without(coding)
            blob = self._blob(beside.entry, work)
            if blob is None:
                return self._need_blob(lookup, beside.entry)
            if isinstance(blob, Blob) and blob.pointer is None:
                data, file, check = blob.data, source.file, self._blobs.check_form
                return Need(
                    key,
                    lambda: check(key, lookup, file, beside, data, coding, digest, source.size),
                    from_forgejo=False,
                )
        if verdict:
            return self._keep(lookup, source.file, representation.made(coding, beside.entry.size), said)
        if worth_encoding(source.size, held=source.held):
            changed = representation.made_by_us(coding, streamed=not source.held)
        else:
            changed = representation.without(coding)
        return self._keep(lookup, source.file, changed, said)

    def _keep(self, lookup: Lookup, file: File, representation: Representation, said: SiteHeaders) -> Representation:
        self._blobs.keep_representation(lookup, file, representation, said.key)
        return representation


def _lost(request: Request, error: ForgejoError) -> Answer:
    """Bytes of a known commit that Forgejo does not give: trouble, whatever it calls it."""
    if isinstance(error, MissingObject):
        return own_page(request, 404, templates.error_page(404, message=NO_OBJECT, hint=error.hint))
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
    return Source(file, None, entry.size, entry.id, entry.id, held, data, error)


def _reads_head(file: File) -> bool:
    """Whether the first bytes of a file say what it is."""
    return depends_on_head(file.path) or encoded_name(file.path) is not None


def _form_key(source: Source, beside: File, coding: str) -> tuple[str, ...]:
    """Under which key it is held whether one blob is another in a coding."""
    return ("form-of", source.tag, coding, beside.entry.id)


def _fits(representation: Representation, source: Source) -> bool:
    """Whether it is of these bytes, and its forms are made where the bytes are: in memory, or on their way."""
    made_by_us = (form for form in representation.encoded if form.blob is None)
    return representation.tag == source.tag and all(form.streamed is not source.held for form in made_by_us)


def _planned(plan: Plan, body: bytes, lookup: Lookup, work: Work) -> Answer:
    cache = cache_status(lookup, work)
    unknown = plan.form is not None and plan.form.size is None
    length = None if unknown else len(body)
    return Answer(plan.status, [*plan.headers, _CACHE_STATUS[cache]], body, length=length, cache=cache)


def cache_status(lookup: Lookup, work: Work) -> str:
    """The value of X-Cache-Status: STALE while Forgejo cannot be asked, MISS if it was for this answer, else HIT."""
    return "STALE" if lookup.trouble is not None else "MISS" if work.fetched else "HIT"


_CACHE_STATUS = {status: (b"X-Cache-Status", status.encode()) for status in ("HIT", "MISS", "STALE")}
