# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""From a file and a request's headers to status, headers and the bytes to send (RFC 9110, sections 8, 12, 13 and 14).

Knows neither sockets nor where bytes come from. `negotiate` is the order of things: the form the client likes best
(`codings`), whether it holds it already (`conditions`), whether it wants a part (`ranges`). What it chooses from is
prepared in the file's `Representation`.
"""

import re
from dataclasses import replace

from addon.web.codings import IDENTITY, accepted_codings
from addon.web.conditions import HeaderLookup, conditions, names_a_form
from addon.web.ranges import byte_range, form_of_range, partial_content
from addon.web.representation import CORS, EMPTY, NO_STORE, NOSNIFF, FormAnswers, Plan, Representation

ALLOW = (b"Allow", b"GET, HEAD, OPTIONS")


def negotiate(method: str, get: HeaderLookup, representation: Representation, now: float, status: int = 200) -> Plan:
    """The answer to a request for a file that may be seen.

    `now` is in seconds since the epoch. `status` other than 200 sends the file under that status (`404.html`): no
    conditions, no ranges, no validators, not stored. Never raises, whatever bytes the request's headers hold.

    The order is that of RFC 9110 §13.2.2: If-Match, else If-Unmodified-Since; If-None-Match, else If-Modified-Since;
    Range with If-Range. Differences from a plain reading, each allowed by §12.1 (the server chooses the form):
    a form that the client names and accepts is the selected one; a 304 bears that form's tag, since a cache may not use
    a 304 with a tag it does not hold (RFC 9111 §4.3.4).
    """
    if method not in ("GET", "HEAD"):
        return preflight(get) if method == "OPTIONS" else METHOD_NOT_ALLOWED
    if representation.last_modified is not None and representation.last_modified > now:
        # RFC 9110 §8.8.2.1: never later than the Date of the answer.
        representation = replace(representation, last_modified=int(now))
    accepted = accepted_codings(get(b"accept-encoding"))
    for coding in accepted:
        if (selected := representation.of(coding)) is not None:
            break
    else:
        selected = representation.itself  # nothing that the client accepts: §12.5.3 leaves this to us
    if status != 200:
        return _under_status(status, selected, method == "HEAD")

    held = conditions(get, representation, accepted, selected, now)
    if isinstance(held, Plan):
        return held
    selected = held
    if method == "HEAD":  # §14.2: Range is defined for GET alone
        return replace(selected.whole, head_only=True)
    if (value := get(b"range")) is None or (wanted := byte_range(value)) is None:
        return selected.whole
    pinned = names_a_form(get)
    if (condition := get(b"if-range")) is not None:
        ranged = form_of_range(condition.strip(), representation, accepted, selected, now)
        if ranged is None or (pinned and ranged is not selected):
            return selected.whole
    elif pinned or (IDENTITY not in accepted and selected.form.coding != IDENTITY):
        ranged = selected  # the form that If-Match named, or the file itself was refused (identity;q=0)
    else:
        ranged = representation.itself
    return partial_content(ranged, wanted)


_OF_FILES_ONLY = frozenset((b"etag", b"last-modified", b"accept-ranges", b"cache-control"))


def _under_status(status: int, selected: FormAnswers, head_only: bool) -> Plan:
    """The whole form as the page of an error: validators would be those of the page, not of what was asked for."""
    whole = selected.whole
    headers = tuple(pair for pair in whole.headers if pair[0].lower() not in _OF_FILES_ONLY)
    return replace(whole, status=status, headers=(*headers, NO_STORE), head_only=head_only)


# ---------------------------------------------------------------- other methods

METHOD_NOT_ALLOWED = Plan(405, (ALLOW, EMPTY, NO_STORE, CORS, NOSNIFF))
_OPTIONS = Plan(204, (ALLOW, CORS))
_MOST_REQUEST_HEADERS = 64
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
# Read by us where passwords are served: no other site's script may try them through a visitor's browser.
_NOT_FOR_OTHER_SITES = frozenset((b"authorization", b"cookie", b"proxy-authorization"))


def preflight(get: HeaderLookup) -> Plan:
    """The answer to OPTIONS; a CORS preflight is told that any page may read what anybody may read."""
    if get(b"origin") is None or get(b"access-control-request-method") is None:
        return _OPTIONS
    headers = [ALLOW, CORS, (b"Access-Control-Allow-Methods", ALLOW[1])]
    asked = (get(b"access-control-request-headers") or b"").lower().split(b",")
    names = dict.fromkeys(name for part in asked if _TOKEN.fullmatch(name := part.strip(b" \t")))
    allowed = [name for name in names if name not in _NOT_FOR_OTHER_SITES][:_MOST_REQUEST_HEADERS]
    if allowed:
        headers.append((b"Access-Control-Allow-Headers", b", ".join(allowed)))
    headers.append((b"Access-Control-Max-Age", b"86400"))
    return Plan(204, tuple(headers))
