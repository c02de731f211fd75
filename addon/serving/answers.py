# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a request and an answer are, and the answers that need no file: pages of our own, redirects, listings.

Knows neither Forgejo's calls nor memory. A page of our own is never kept, never framed and never runs anything; where
it says that something failed, it says so in the status and nothing of the cause but what the visitor can act on.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from urllib.parse import quote

from addon import templates
from addon.access.login import Reply
from addon.forgejo.errors import ForgejoError, Overloaded, RateLimited
from addon.serving.steps import Steps
from addon.shared.lookup import Lookup
from addon.web.forwarding import Visitor
from addon.web.method_and_target import KNOWN_METHODS
from addon.web.negotiation import preflight
from addon.web.prepared_answers import NOTHING, About, Basis, Fact

METHODS = "GET, HEAD, OPTIONS"
OWN_HEADER = "X-Pages-Server"
"""On every answer below `/.pages/`: how `pages check` sees that an address leads back to a pages server."""
ERROR_PAGE_PATIENCE = 2.0
"""Seconds that a visitor waits for the site's or the operator's page for an error, before getting ours."""
REDIRECT_LIFE = 60
_SAFE_QUERY = "!$%&'()*+,-./:;=?@_~"
_RETRY_AFTER = 5

Header = tuple[bytes, bytes]


class Headers(Protocol):
    """The header fields of a request."""

    def __call__(self, name: bytes, /) -> bytes | None:
        """The value of a field by lower-case name, repeated fields joined by `, `; None where it is absent."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the lane or a flow hands it over: host and path as they came, the path up to the first `?`.

    visitor: says who asks; called only where it matters. body: of a form, as far as it is at most `access.MAX_FORM`
    bytes; None where it is larger or was not read. tls: whether whoever connected to us did so over TLS.
    """

    method: str
    host: str | None
    path: str
    query: str | None
    header: Headers
    visitor: Callable[[], Visitor]
    body: bytes | None = None
    tls: bool = False


@dataclass(slots=True)
class Answer:
    """Status, header fields and either the body's bytes or a stream of `length` bytes (None: nobody knows how many).

    locked: it is for this visitor alone, and nobody may give it to another. otherwise: what to answer instead where
    the stream fails before its first byte. basis: what it was made from, where all of it came out of memory and was
    fresh: as long as that holds, the same request gets the same answer. about: what the operator is told of it.
    """

    status: int
    headers: list[Header]
    body: bytes = b""
    stream: "Callable[[], AbstractAsyncContextManager[AsyncIterator[bytes]]] | None" = None
    length: int | None = 0
    cache: str = ""
    locked: bool = False
    basis: Basis | None = None
    about: About = NOTHING
    otherwise: "Callable[[Exception], Answer]" = field(default=lambda error: Answer(502, []), repr=False)


class Need(NamedTuple):
    """What has to be fetched before the request can go on. patience: seconds after which it goes on without."""

    key: tuple[object, ...]
    fetch: Callable[[], Awaitable[object]]
    patience: float | None = None
    from_forgejo: bool = True


@dataclass(slots=True)
class Work:
    """What was fetched for one request, or why it could not be, by need: no need is asked for twice.

    It stands in for a memory that has no room. fetched: whether Forgejo was waited for. locked: a lock was met on the
    way, so the answer is for this visitor alone. by_cookie: and the Cookie header alone opened it, until `good_until`;
    plain_http: one that counts only without TLS.
    facts: the look-ups it rests on; good_until: until when they need no new look, in monotonic seconds. anew: the
    visitor asks for what is there now. owner: on whose account what is fetched is, beside the visitor's. shown: of the
    site that answers. steps: gets what each step has found, where somebody wants to know; None for visitors.
    """

    done: dict[tuple[object, ...], object] = field(default_factory=dict)
    fetched: bool = False
    locked: bool = False
    by_cookie: bool = False
    plain_http: bool = False
    facts: list[Fact] = field(default_factory=list)
    good_until: float = math.inf
    anew: bool = False
    owner: str = ""
    shown: Lookup | None = None
    steps: Steps | None = None


_REASONS_BY_STATUS = {
    400: "request",
    401: "login",
    403: "forbidden",
    404: "no file",
    405: "method",
    408: "request",
    410: "gone",
    412: "condition",
    413: "too large",
    414: "too large",
    416: "condition",
    421: "wrong server",
    429: "guesses",
    431: "too large",
    499: "client left",
    500: "fault",
    501: "method",
    502: "forgejo",
    503: "busy",
    504: "forgejo",
    508: "loop",
}
REASONS = frozenset((*_REASONS_BY_STATUS.values(), "no site", "no domain", "broken site", "rationed", "redis", "other"))
"""Why an answer may be no page: what the access log says, and `/metrics` counts."""
_OWN_HEADERS: tuple[Header, ...] = (
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"Content-Security-Policy", templates.content_security_policy().encode()),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
)


def because(answer: Answer, reason: str, detail: str = "") -> Answer:
    """The same answer, and why it is no page, for the operator. reason: one of REASONS."""
    answer.about = About(answer.about.site, answer.about.commit, reason, detail)
    return answer


def reason_of(status: int, about: About) -> str:
    """Why an answer is no page, in one of a few words; "" where it is one."""
    return about.reason or (_REASONS_BY_STATUS.get(status, "other") if status >= 400 else "")


def own_page(request: Request, status: int, page: bytes, cache: bytes = b"no-store") -> Answer:
    """A page of our own."""
    headers = [*_OWN_HEADERS, (b"Cache-Control", cache), (b"Content-Length", str(len(page)).encode())]
    return Answer(status, headers, b"" if request.method == "HEAD" else page)


def misshapen(fault: str | None = None, status: int = 400) -> Answer:
    """The answer to what is no request of the form that is looked at any further; fault: what about it.

    A head that is too large is so by cookies, most likely, and those a neighbour below the pages domain may have set:
    with them, its visitor could come to no site here any more.
    """
    answer = own_page(UNREAD, status, templates.error_page(status, message=fault))
    if status == 431:
        answer.headers.append((b"Clear-Site-Data", b'"cookies"'))
    return answer


def trouble_page(request: Request, trouble: ForgejoError | None) -> Answer:
    """Forgejo has no answer: a page of ours, at once, and not the operator's, which may be as far away."""
    status = trouble.status if trouble is not None else 502
    answer = own_page(request, status, templates.error_page(status))
    reason = "rationed" if isinstance(trouble, RateLimited) else ""
    because(answer, reason, "" if trouble is None else str(trouble))
    if status in (502, 503, 504):
        wait = trouble.retry_after if isinstance(trouble, Overloaded | RateLimited) else _RETRY_AFTER
        answer.headers.append((b"Retry-After", str(max(1, round(wait))).encode()))
    return answer


def not_allowed(request: Request) -> Answer:
    """405 for every method that does nothing here, 501 for one that is not known at all (RFC 9110 §9.1)."""
    status = 405 if request.method in KNOWN_METHODS else 501
    answer = own_page(request, status, templates.error_page(status))
    answer.headers.append((b"Allow", METHODS.encode()))
    return answer


def reply_answer(request: Request, reply: Reply) -> Answer:
    """What a visitor is told at a lock: the login page, a refusal, or where to go on."""
    answer = own_page(request, reply.status, reply.page)
    answer.headers.extend(reply.headers)
    return answer


def own_not_found(request: Request, path: str) -> Answer:
    """404 below `/.pages/`."""
    answer = own_page(request, 404, templates.error_page(404, path=path))
    answer.headers.append((OWN_HEADER.encode(), b"forgejo-pages"))
    return answer


def options(request: Request) -> Answer:
    """What may be done here, and whether scripts of other sites may."""
    plan = preflight(request.header)
    return Answer(plan.status, list(plan.headers))


def answer_to_method(request: Request) -> Answer | None:
    """The answer to a method that reads nothing, the same for every path; None for GET and HEAD."""
    if request.method == "OPTIONS":
        return options(request)
    return None if request.method in ("GET", "HEAD") else not_allowed(request)


def plain_text(request: Request, text: bytes) -> Answer:
    """A text that is nobody's page and never kept."""
    headers = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Cache-Control", b"no-store"),
        (b"Content-Length", b"%d" % len(text)),
    ]
    return Answer(200, headers, b"" if request.method == "HEAD" else text)


def redirect(request: Request, location: str) -> Answer:
    """A permanent redirect on the same host that browsers forget in a minute; the query goes along."""
    if request.query is not None:
        location += "?" + quote(request.query.encode("utf-8", "surrogateescape"), safe=_SAFE_QUERY)
    headers = [
        (b"Location", location.encode("ascii")),
        (b"Cache-Control", b"public, max-age=%d" % REDIRECT_LIFE),
        (b"Content-Length", b"0"),
        (b"Access-Control-Allow-Origin", b"*"),
    ]
    return Answer(301, headers)


UNREAD = Request("GET", None, "/", None, lambda name: None, lambda: Visitor("", False))
"""Stands for a request that was not understood."""
