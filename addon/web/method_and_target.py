# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Method, scheme and target of a request (RFC 9110 §6.2) in the one form that is looked at any further.

Every face asks here before it routes. The method is a token; the target is a path that begins with a slash, of bytes
that can be seen, or `*` for OPTIONS. What has another form is answered 400, and never leaves: an absolute target would
choose a host at Forgejo's address, and a blank or a line end in either would be a second request to whoever reads it.
"""

import re

_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_TARGET = re.compile(rb"/[\x21-\x7e\x80-\xff]*+")

_WEBDAV = ("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT")
KNOWN_METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", *_WEBDAV),
)
"""Methods with a known meaning: where they are of no use they are not allowed (405); others are unknown (501)."""


def request_fault(method: bytes, target: bytes, scheme: bytes | None = None) -> str | None:
    """What about a request is not of the form, in words for the visitor; None where it is.

    scheme: where the protocol has one beside the target.
    """
    if _METHOD.fullmatch(method) is None or method == b"CONNECT":
        return "The method is none that is used here."
    if scheme is not None and scheme.lower() not in (b"http", b"https"):
        return "The scheme has to be http or https."
    if _TARGET.fullmatch(target) is None and not (target == b"*" and method == b"OPTIONS"):
        return "The target has to be a path that begins with a slash."
    return None


def path_and_query(target: bytes) -> tuple[str, str | None]:
    """A target of the form as path and query: up to the first `?`, and after it; None where there is none."""
    path, mark, query = target.decode("utf-8", "surrogateescape").partition("?")
    return path, query if mark else None
