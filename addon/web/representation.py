# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A file as it can be sent: its forms, and the answers about each that only wait to be chosen.

What depends on the file alone is prepared once, in `Representation`; most requests are then answered with a `Plan` that
already exists, the same object each time. Knows neither requests nor where bytes come from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from addon.web.codings import IDENTITY, SUFFIXES
from addon.web.content_types import compressible
from addon.web.http_dates import http_date

Headers = tuple[tuple[bytes, bytes], ...]

SMALLEST_WORTH_ENCODING = 256  # bytes; below, the headers outweigh what is saved
LARGEST_ENCODED = 64 * 1024 * 1024
"""Bytes above which nothing is encoded on its way: of a download, the length and being resumed are worth more."""

CORS = (b"Access-Control-Allow-Origin", b"*")
NOSNIFF = (b"X-Content-Type-Options", b"nosniff")
ACCEPT_RANGES = (b"Accept-Ranges", b"bytes")
NO_STORE = (b"Cache-Control", b"no-store")
EMPTY = (b"Content-Length", b"0")


IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATED = "public, max-age=0, must-revalidate"


def cache_control(html: bool, max_age: int, *, hashed: bool = False) -> str:
    """How long caches keep a file: a hashed one (`hashed_names`) for a year; HTML, or all with `max_age` 0, not at all.

    So what a browser shows is of one deploy: pages and what they name are asked for again each time, and a name that
    bears a hash is the same file in all of them.
    """
    if hashed and not html:
        return IMMUTABLE
    return REVALIDATED if html or not max_age else f"public, max-age={max_age}"


class Beside(NamedTuple):
    """An encoded form that lies beside a file: blob id, size in bytes, and whether it was seen to be that file."""

    blob: str
    size: int
    checked: bool


class Form(NamedTuple):
    """The file in one content coding: the file itself (`identity`) or compressed.

    `size` is in bytes, None while nobody has made this form yet, or has looked whether it is one. `blob` is the id of
    the blob that holds the bytes: the file's own, that of `x.br` or `x.gz` beside it, or None for a form that `encode`
    makes. `streamed`: it is made on its way to the client, so its size is known only where one of them was kept.
    """

    coding: str
    size: int | None
    blob: str | None
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """An answer: status, headers, and bytes `start` to `end` (exclusive) of `form`; no form, no body.

    `headers` are complete but for `Date` and what the caller adds of its own; a form of unknown size that is streamed
    is sent whole, and has no `Content-Length`. With `pending` the form has to be made
    first (`encode`): then `Representation.made` or `without`, and negotiate again. `head_only` (HEAD, with the form and
    size that GET would send) has no body either.
    """

    status: int
    headers: Headers
    form: Form | None = None
    start: int = 0
    end: int = 0
    head_only: bool = False
    pending: bool = False
    _lines: bytes = field(default=b"", init=False, repr=False, compare=False)

    @property
    def lines(self) -> bytes:
        """The headers as HTTP/1.1 lines, without the empty line that ends them; built once for each plan."""
        if not self._lines:
            lines = b"".join([b"%b: %b\r\n" % pair for pair in self.headers])
            object.__setattr__(self, "_lines", lines)  # a cache, of the same value whoever fills it
        return self._lines

    @property
    def has_body(self) -> bool:
        """Whether bytes follow the headers."""
        return self.form is not None and not self.head_only


class FormAnswers(NamedTuple):
    """One form's answers, made when it is first asked for."""

    form: Form
    etag: bytes
    shared: Headers  # of every answer with content, without Content-Length
    whole: Plan
    not_modified: Plan


@dataclass(frozen=True, slots=True)
class Representation:
    """All that answers about one file depend on, besides the request.

    `content_type` and `cache_control` are header values; `size` is in bytes; `tag` is the blob id that entity tags are
    made of (None: no entity tags); `last_modified` is in seconds since the epoch (None: unknown). `encoded` are the
    other forms that may be sent, see `encoded_forms`. `nosniff`: browsers are to believe the type, which the name says.
    `coding`: what the file itself is in (`encoded_names`). `varies`: there are other forms
    besides. `extra` headers are the site's; one with the name of a
    header of ours replaces it, except `Vary`, which is joined; of ours, those that `removed` names (in lower case) go.
    They have to be valid and none may be of those that frame a message or describe a form (`Content-Length`,
    `Content-Encoding`, `ETag`, …): the caller checks.
    """

    content_type: str
    size: int
    tag: str | None
    last_modified: int | None
    cache_control: str
    encoded: tuple[Form, ...] = ()
    extra: Headers = ()
    removed: frozenset[bytes] = frozenset()
    nosniff: bool = True
    coding: str = ""
    varies: bool = False
    # Filled as forms are asked for; always with the same values, whoever asks.
    _answers: dict[str, FormAnswers] = field(default_factory=dict, init=False, repr=False, compare=False)

    def made(self, coding: str, size: int) -> "Representation":
        """The same with the size of an encoded form known, now that its bytes are on hand."""
        return replace(self, encoded=tuple(f._replace(size=size) if f.coding == coding else f for f in self.encoded))

    def without(self, coding: str) -> "Representation":
        """The same without a form that turned out no smaller than the file."""
        return replace(self, encoded=tuple(form for form in self.encoded if form.coding != coding))

    def unmade(self, coding: str) -> "Representation":
        """The same with the size of a streamed form unknown again, for its bytes are not on hand any more."""
        return self.made_by_us(coding, streamed=True)

    def at_rest(self) -> "Representation":
        """The same without forms that are made on their way."""
        return replace(self, encoded=tuple(form for form in self.encoded if not form.streamed), varies=True)

    def made_by_us(self, coding: str, *, streamed: bool) -> "Representation":
        """The same with a form that we make instead of the one that lies beside the file."""
        own = Form(coding, None, None, streamed)
        return replace(self, encoded=tuple(own if form.coding == coding else form for form in self.encoded))

    @property
    def weight(self) -> int:
        """Bytes of memory held, a little more than measured with the file and one encoded form in use."""
        texts = len(self.content_type) + len(self.cache_control) + sum(len(n) + len(v) for n, v in self.extra)
        forms = 2 if self.encoded else 1
        return 520 + 136 * len(self.encoded) + forms * (1500 + 2 * texts)

    def of(self, coding: str) -> FormAnswers | None:
        """The answers in a coding, None where the file has no such form."""
        if (answers := self._answers.get(coding)) is not None:
            return answers
        if coding == IDENTITY:
            form: Form | None = Form(IDENTITY, self.size, self.tag)
        else:
            form = next((form for form in self.encoded if form.coding == coding), None)
        if form is None:
            return None
        answers = self._answers[coding] = self._prepare(form)
        return answers

    @property
    def itself(self) -> FormAnswers:
        """The answers with the file as it is."""
        answers = self.of(IDENTITY)
        assert answers is not None
        return answers

    def _prepare(self, form: Form) -> FormAnswers:
        vary = [b"Accept-Encoding"] if self.encoded or self.varies else []
        vary += [value for name, value in self.extra if name.lower() == b"vary"]
        extra = [pair for pair in self.extra if pair[0].lower() != b"vary"]
        replaced = {name.lower() for name, _ in extra} | self.removed
        unchecked = form.size is None and form.blob is not None  # its tag names nothing that was ever sent
        etag = entity_tag(form.blob or self.tag, form.coding) if self.tag is not None and not unchecked else b""
        modified = [] if self.last_modified is None else [(b"Last-Modified", http_date(self.last_modified))]

        def ours(*pairs: tuple[bytes, bytes]) -> Headers:
            return tuple(pair for pair in pairs if pair[0].lower() not in replaced)

        tagged = ((b"ETag", etag),) if etag else ()
        guiding = ours(
            (b"Cache-Control", self.cache_control.encode("latin-1")), CORS, *((NOSNIFF,) if self.nosniff else ())
        )
        if vary:
            guiding += ((b"Vary", b", ".join(vary)),)
        coding = self.coding if form.coding == IDENTITY else form.coding
        coded = ((b"Content-Encoding", coding.encode()),) if coding else ()
        typed = ours((b"Content-Type", self.content_type.encode("latin-1")))
        shared = (*typed, *coded, *tagged, *modified, ACCEPT_RANGES, *guiding, *extra)
        headers = shared if form.size is None else ((b"Content-Length", b"%d" % form.size), *shared)
        whole = Plan(200, headers, form, 0, form.size or 0, pending=form.size is None and not form.streamed)
        # RFC 9110 §15.4.5: a 304 tells caches what GET would have told them, and describes no content; Last-Modified
        # only where no entity tag does its work.
        kept = (pair for pair in extra if not _describes_content(pair[0]))
        return FormAnswers(form, etag, shared, whole, Plan(304, (*(tagged or modified), *guiding, *kept)))


def _describes_content(name: bytes) -> bool:
    name = name.lower()
    return name.startswith(b"content-") and not name.startswith(b"content-security-policy")


def entity_tag(blob: str, coding: str) -> bytes:
    """The strong entity tag of a blob in a content coding: `"<blob id>"`, `"<blob id>-br"`."""
    return (f'"{blob}"' if coding == IDENTITY else f'"{blob}-{coding}"').encode("ascii")


def encoded_forms(
    content_type: str, size: int, *, held: bool = True, beside: Mapping[str, Beside] | None = None
) -> tuple[Form, ...]:
    """The encoded forms worth offering of a file of `size` bytes; none of what is compressed already.

    `held`: its bytes are, so that `encode` can make forms; else they are made on their way. Small files (below 256
    bytes) are not worth it.
    `beside`: what lies beside it in the repository by suffix (`.br`, `.zst`, `.gz`). Such a form is used instead of one
    of ours, if it is smaller than the file.
    """
    if not compressible(content_type):
        return ()
    found = beside or {}
    forms = []
    for coding, suffix in SUFFIXES.items():
        lying = found.get(suffix)
        if lying is not None and lying.size < size:
            forms.append(Form(coding, lying.size if lying.checked else None, lying.blob))
        elif worth_encoding(size, held=held):
            forms.append(Form(coding, None, None, streamed=not held))
    return tuple(forms)


def worth_encoding(size: int, *, held: bool) -> bool:
    """Whether we encode a file of `size` bytes. held: its bytes are in memory."""
    return size >= SMALLEST_WORTH_ENCODING and (held or size <= LARGEST_ENCODED)
