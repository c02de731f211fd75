# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Conditions (RFC 9110 §13): whether what a client holds, or expects to be there, is what is there.

In the order of §13.2.2: If-Match, else If-Unmodified-Since; If-None-Match, else If-Modified-Since. Surprising: a client
that names a form of the file it holds (by its entity tag) and accepts is spoken to about that form, whichever we would
have chosen, since a cache may not use a 304 with a tag it does not hold (RFC 9111 §4.3.4).
"""

import re
from collections.abc import Callable, Sequence

from addon.web.http_dates import parse_http_date
from addon.web.representation import CORS, EMPTY, NO_STORE, NOSNIFF, FormAnswers, Plan, Representation

HeaderLookup = Callable[[bytes], bytes | None]
"""A request's header by its lower-case name; None when absent, values of repeated headers joined with ", "."""
PRECONDITION_FAILED = Plan(412, (EMPTY, NO_STORE, CORS, NOSNIFF))
# An element of a list of entity tags (§8.8.3); what is not one is passed over.
_ENTITY_TAGS = re.compile(rb'(?:^|,)[ \t]*(W/)?("[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?=,|$)')


def conditions(
    get: HeaderLookup, representation: Representation, accepted: Sequence[str], selected: FormAnswers, now: float
) -> Plan | FormAnswers:
    """The answer that a condition makes (304 or 412), else the form to go on with.

    accepted: the codings that the client accepts. selected: the form that it would get without conditions.
    """
    pinned = False
    if (condition := get(b"if-match")) is not None:
        if condition.strip() != b"*":
            named = _named(condition, accepted, selected, representation, weak=False)
            if named is None:
                return PRECONDITION_FAILED
            selected, pinned = named, True
    elif (condition := get(b"if-unmodified-since")) is not None:
        since = parse_http_date(condition)
        if since is not None and representation.last_modified is not None and representation.last_modified > since:
            return PRECONDITION_FAILED

    if (condition := get(b"if-none-match")) is not None:
        if (condition == selected.etag and condition) or condition.strip() == b"*":
            return selected.not_modified
        named = _named(condition, () if pinned else accepted, selected, representation, weak=True)
        if named is not None:
            return named.not_modified
    elif (condition := get(b"if-modified-since")) is not None and representation.last_modified is not None:
        since = parse_http_date(condition)
        # A date of tomorrow comes from a broken clock: it cannot say what the client has seen.
        if since is not None and representation.last_modified <= since <= now:
            return selected.not_modified
    return selected


def names_a_form(get: HeaderLookup) -> bool:
    """Whether If-Match names the form that the client means."""
    condition = get(b"if-match")
    return condition is not None and condition.strip() != b"*"


def _named(
    condition: bytes, accepted: Sequence[str], selected: FormAnswers, representation: Representation, *, weak: bool
) -> FormAnswers | None:
    """The form whose entity tag the list names: the selected one, else the best other that the client accepts."""
    forms = [selected, *(form for coding in accepted if (form := representation.of(coding)) is not None)]
    # A list may have thousands of tags: it is taken apart where one that is looked for stands in it.
    forms = [form for form in forms if form.etag in condition]
    tags = {tag for is_weak, tag in _ENTITY_TAGS.findall(condition) if weak or not is_weak} if forms else ()
    return next((form for form in forms if form.etag in tags), None)
