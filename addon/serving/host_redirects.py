# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Where visitors are sent who are right but for the scheme or the host: from HTTP to HTTPS, from a twin to its domain.

Path and query go along as they came, byte for byte: whatever a redirect did to them, the visitor would end up somewhere
else. The surprise: who asks is looked at only where it matters, because an answer for which it was looked at is never
ready for the next visitor.
"""

import re

from addon.serving.answers import REDIRECT_LIFE, Answer, Request

_NO_FIELD = re.compile(rb"[^\x21-\x7e]")


def to_https(request: Request, host: str | None, always: bool) -> Answer | None:
    """Where a visitor is sent who came by plain HTTP to a host that we serve; None where there is no reason to.

    That they did is what a trusted proxy says; or with `always` (`redirectHTTPS`), where none says anything of it, what
    we see. host: without a port; None: not ours.
    """
    seen = always and not request.tls
    if host is None or not (seen or _says_how_it_came(request)):
        return None
    visitor = request.visitor()
    if visitor.secure or visitor.unclear or not (visitor.told or seen):
        return None  # sent to HTTPS while it is unclear, a visitor might be sent there for ever
    return _as_it_is(request, f"https://{host}", private=not seen)


def to_twin(request: Request, twin: str) -> Answer:
    """The same address with or without `www.`. A port belongs to its scheme: behind it, HTTPS may be elsewhere."""
    if request.visitor().secure:
        return _as_it_is(request, f"https://{twin}")
    _, colon, port = (request.host or "").strip(" \t").rpartition(":")
    return _as_it_is(request, f"http://{twin}{colon}{port}" if colon else f"http://{twin}")


def to_domain(request: Request, domain: str, path: str) -> Answer:
    """The same page on a site's own domain; path: percent-encoded. 301 for GET, which everybody knows, 308 was new in
    2015; and no method but GET is for reading, so nothing is lost by it."""
    if request.visitor().secure:
        return _elsewhere(request, f"https://{domain}{path}")
    _, colon, port = (request.host or "").strip(" \t").rpartition(":")
    return _elsewhere(request, f"http://{domain}{colon}{port}{path}" if colon else f"http://{domain}{path}")


def _says_how_it_came(request: Request) -> bool:
    """Whether proxies in front may have said that it was not by HTTPS."""
    said = request.header(b"x-forwarded-proto")
    return request.header(b"forwarded") is not None if said is None else said.lower() != b"https"


def _as_it_is(request: Request, origin: str, *, private: bool = False) -> Answer:
    """The same path on another origin."""
    return _elsewhere(request, f"{origin}{request.path}", private=private)


def _elsewhere(request: Request, place: str, *, private: bool = False) -> Answer:
    """A permanent redirect that keeps the query; methods stay what they are (RFC 9110 §15.4.9).

    private: it rests on a header field of this request, which no shared cache compares.

    Bytes that no header may hold are percent-encoded, which is what the visitor should have sent.
    """
    query = "" if request.query is None else f"?{request.query}"
    data = f"{place}{query}".encode("utf-8", "surrogateescape")
    headers = [
        (b"Location", _NO_FIELD.sub(lambda found: b"%%%02X" % found[0][0], data)),
        (b"Cache-Control", b"%b, max-age=%d" % (b"private" if private else b"public", REDIRECT_LIFE)),
        (b"Content-Length", b"0"),
    ]
    return Answer(301 if request.method in ("GET", "HEAD") else 308, headers)
