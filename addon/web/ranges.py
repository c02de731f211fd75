# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Ranges (RFC 9110 §14): what a client wants a part of, which form it is cut out of, and which bytes that is.

Surprising: a `Range` without a condition is cut out of the file itself, never out of a compressed form: downloads are
resumed and archives, films and databases read in parts by programs that count in the bytes of the file. One range is
answered; several are answered with the whole.
"""

import re
from collections.abc import Sequence

from addon.web.codings import IDENTITY
from addon.web.http_dates import parse_http_date
from addon.web.representation import ACCEPT_RANGES, CORS, EMPTY, NO_STORE, NOSNIFF, FormAnswers, Plan, Representation

_RANGE = re.compile(rb"[ \t]*bytes[ \t]*=([0-9\-, \t]+)", re.IGNORECASE)
_RANGE_SPEC = re.compile(rb"([0-9]*)-([0-9]*)")
_HUGE = 1 << 62  # beyond any file; longer numbers are not worth reading


def byte_range(value: bytes) -> tuple[int | None, int | None] | None:
    """(first, last), (first, None) or (None, length of the suffix); None for several ranges and for nonsense."""
    header = _RANGE.fullmatch(value)
    if header is None:
        return None
    specs = [spec for part in header[1].split(b",", 64) if (spec := part.strip(b" \t"))]
    if len(specs) != 1 or (spec := _RANGE_SPEC.fullmatch(specs[0])) is None:
        return None
    first, last = _number(spec[1]), _number(spec[2])
    if (first is None and last is None) or (first is not None and last is not None and first > last):
        return None
    return first, last


def _number(digits: bytes) -> int | None:
    if len(digits) > 18:
        digits = digits.lstrip(b"0") or b"0"
    return None if not digits else int(digits) if len(digits) <= 18 else _HUGE


def form_of_range(
    condition: bytes, representation: Representation, accepted: Sequence[str], selected: FormAnswers, now: float
) -> FormAnswers | None:
    """The form that a range may be cut out of, None when the client holds something else (RFC 9110 §13.1.5)."""
    if condition.startswith((b'"', b"W/")):
        if condition == selected.etag:
            return selected
        for coding in accepted:
            form = representation.of(coding)
            if form is not None and form.etag == condition:
                return form
        return None
    # A date is the same for all forms: it says nothing about an encoded one. It is a strong validator (§8.8.2.2) once
    # the second it names has passed.
    moment = parse_http_date(condition)
    if moment is not None and moment == representation.last_modified and moment + 1 <= now:
        return selected if selected.form.coding == IDENTITY else None
    return None


def partial_content(ranged: FormAnswers, wanted: tuple[int | None, int | None]) -> Plan:
    """206 or 416 for a range of a form; the whole where a range cannot be told (empty file, form not made yet)."""
    size = ranged.form.size
    first, last = wanted
    if size is None:
        return ranged.whole
    if first is None:
        length = last or 0
        if length and not size:
            return ranged.whole  # satisfiable by §14.1.2, and yet no Content-Range could say so
        start, end = max(size - length, 0), size
        satisfiable = length > 0
    else:
        start, end = first, size if last is None else min(last + 1, size)
        satisfiable = start < size
    if not satisfiable:
        return Plan(416, ((b"Content-Range", b"bytes */%d" % size), EMPTY, ACCEPT_RANGES, NO_STORE, CORS, NOSNIFF))
    headers = (
        *ranged.shared,
        (b"Content-Range", b"bytes %d-%d/%d" % (start, end - 1, size)),
        (b"Content-Length", b"%d" % (end - start)),
    )
    return Plan(206, headers, ranged.form, start, end)
