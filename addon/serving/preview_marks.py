# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What marks an answer as a preview's: for search engines, for programs, and where the owner wants it for people.

Nobody keeps a preview beyond asking again: it is gone when its pull request is, caches on the way included. The bar is
put behind the page's last byte, where every browser shows it; so such a page has a length and an entity tag of its own,
is sent whole and as it is, and conditions on it are answered here. The surprise: the page may hide the bar. It tells
people where they are, and protects nobody: that is done by the host.
"""

import hashlib
import html
import re
from dataclasses import replace

from addon import templates
from addon.serving.answers import Answer, Headers, Request

MARK = b"X-Pages-Preview"
_UNCONDITIONAL = frozenset(
    (
        b"accept-encoding",
        b"range",
        b"if-range",
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
    )
)
_KEPT_ELSEWHERE = frozenset((b"expires", b"cdn-cache-control", b"surrogate-control", b"x-robots-tag", MARK.lower()))
_HTML = re.compile(rb"text/html\s*(?:;\s*charset=\"?(?:utf-8|us-ascii|iso-8859-1|windows-1252)\"?\s*)?", re.I)
_OURS = templates.content_security_policy().encode()
"""On pages of our own, which need no bar."""
_OF_THE_BODY = frozenset((b"content-length", b"accept-ranges", b"etag", b"last-modified"))
_BAR = (
    '\n<div role="note" style="position:fixed;inset:auto 0 0 0;z-index:2147483647;padding:.4em 1em;text-align:center;'
    'font:14px/1.4 system-ui,sans-serif;color:#fff;background:#1f2933">{text} <span dir="ltr">{place}</span></div>\n'
)


def marked(answer: Answer, place: str) -> Answer:
    """The answer with its marks. place: what is previewed, in ASCII."""
    control = b"no-cache"
    kept = []
    for name, value in answer.headers:
        lower = name.lower()
        if lower == b"cache-control":
            control = value if b"no-store" in value.lower() or b"private" in value.lower() else control
        elif lower not in _KEPT_ELSEWHERE:
            kept.append((name, value))
    answer.headers = [
        *kept,
        (b"Cache-Control", control),
        (b"X-Robots-Tag", b"noindex"),
        (MARK, place.encode("ascii")),
    ]
    if answer.stream is not None:
        instead = answer.otherwise
        answer.otherwise = lambda error: marked(instead(error), place)
    return answer


def whole(request: Request) -> Request:
    """The same request for the page as it is, without conditions."""
    header = request.header

    def asked(name: bytes, /) -> bytes | None:
        return None if name in _UNCONDITIONAL else header(name)

    return replace(request, header=asked)


def takes_bar(answer: Answer) -> bool:
    """Whether an answer is a page that a bar can be put on."""
    fields = {name.lower(): value for name, value in answer.headers}
    return (
        answer.stream is None
        and answer.status in (200, 404)
        and _HTML.fullmatch(fields.get(b"content-type", b"")) is not None
        and b"content-encoding" not in fields
        and fields.get(b"content-security-policy") != _OURS
    )


def with_bar(request: Request, answer: Answer, text: str, place: str) -> Answer:
    """A page with the bar, or that the client has it. answer: of `whole(request)`."""
    bar = _BAR.format(text=html.escape(text), place=html.escape(place)).encode("ascii", "xmlcharrefreplace")
    fields = {name.lower(): value for name, value in answer.headers}
    length = int(fields.get(b"content-length", b"0")) + len(bar)
    others = [(name, value) for name, value in answer.headers if name.lower() not in _OF_THE_BODY]
    tag = fields.get(b"etag")
    if tag is not None:
        tag = tag[:-1] + b"-" + hashlib.sha256(bar).hexdigest()[:10].encode() + b'"'
        others.append((b"ETag", tag))
    if answer.status == 200 and tag is not None and _names(request.header, tag):
        answer.status, answer.body = 304, b""
        answer.headers = [pair for pair in others if not pair[0].lower().startswith(b"content-")]
        return answer
    answer.headers = [(b"Content-Length", b"%d" % length), *others]
    answer.body = b"" if request.method == "HEAD" else answer.body + bar
    return answer


def _names(header: Headers, tag: bytes) -> bool:
    """Whether the client has the page with this tag (RFC 9110 §13.1.2)."""
    said = header(b"if-none-match")
    if said is None or len(said) > 4096:
        return False
    return said.strip() == b"*" or any(each.strip().removeprefix(b"W/") == tag for each in said.split(b","))
