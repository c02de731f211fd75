# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""From an `Answer` to the bytes of an HTTP/1.1 response, and which of them may be sent again. Pure.

An answer is two pieces, status line and the rest, between which the lines go that differ from one sending to the next:
Date and Connection. What frames a message is never taken on trust: a length that is missing is added, and a field that
holds a line end is a fault of ours, not a second response.
"""

from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus

from addon.serving.answers import Answer, misshapen
from addon.web.forwarding import Visitor
from addon.web.prepared_answers import LARGEST, NOTHING, About, Basis, PreparedAnswer, Tally
from addon.web.request_head import KEYED, UNKEYED, Fields, RequestLine

CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
_DECIDABLE = KEYED | UNKEYED | {b"cache-control"}  # what that may change is in `Fields.plain`
_BY_COOKIE = _DECIDABLE | {b"cookie", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"}

__all__ = ["CLOSE", "KEEP_ALIVE", "LARGEST", "Asked", "answer_bytes", "may_be_ready", "ready_answer", "refusal"]


class Asked:
    """A request's header fields and visitor, as `Request` has them; it notes what was asked for."""

    __slots__ = ("_values", "_visitor", "for_visitor", "names")

    def __init__(self, values: dict[bytes, bytes], visitor: Callable[[], Visitor]) -> None:
        self._values = values
        self._visitor = visitor
        self.names: set[bytes] = set()
        self.for_visitor = False

    def header(self, name: bytes, /) -> bytes | None:
        """As `Request.header`."""
        self.names.add(name)
        return self._values.get(name)

    def visitor(self) -> Visitor:
        """As `Request.visitor`."""
        self.for_visitor = True
        return self._visitor()


@lru_cache(maxsize=64)
def status_line(status: int) -> bytes:
    """The first line of a response."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    return f"HTTP/1.1 {status} {reason}\r\n".encode("ascii")


def answer_bytes(answer: Answer, head_only: bool) -> tuple[bytes, bytes]:
    """Status line, and all after it: fields, empty line, body. Raises ValueError where a field holds a line end.

    Of a stream whose length nobody knows, nothing is said here of where it ends.
    """
    lines = b"".join([b"%b: %b\r\n" % pair for pair in answer.headers])
    count = len(answer.headers)
    if lines.count(b"\r\n") != count or lines.count(b"\n") != count or lines.count(b"\r") != count:
        raise ValueError("a header field holds a line end")
    bodiless = answer.status in (204, 304)
    if not bodiless and b"content-length:" not in lines.lower():
        size = answer.length if answer.stream is not None or answer.length is None else len(answer.body)
        if size is not None:
            lines += b"Content-Length: %d\r\n" % size
    if head_only or bodiless or not answer.body:
        return status_line(answer.status), lines + b"\r\n"
    return status_line(answer.status), b"%b\r\n%b" % (lines, answer.body)


def may_be_ready(line: RequestLine, fields: Fields, answer: Answer, asked: Asked) -> bool:
    """Whether an answer may be sent again to the same line and key, for as long as its basis holds.

    A locked one that the Cookie field opened is kept under a key with that field (`Fields.login`), for nobody else.
    It depends on nothing else: no query came, the server looked neither at who asks nor at any field that is not in the
    key or known to be absent, and it says itself what the answer was made from. Only pages of sites are worth it;
    made-up validators are not.
    """
    return (
        fields.plain
        and line.query is None
        and answer.cache == "HIT"
        and basis_of(answer) is not None
        and not asked.for_visitor
        and asked.names <= (_BY_COOKIE if answer.locked and fields.login is not None else _DECIDABLE)
        and (not answer.locked or (fields.login is not None and not _depends_on_use(answer)))
        and (answer.status == 304 or (answer.status == 200 and b"if-none-match" not in fields.values))
    )


def _depends_on_use(answer: Answer) -> bool:
    """Whether a script gets something else than a page. That the field was asked for says nothing: locks do, too."""
    return any(name.lower() == b"vary" and b"sec-fetch-dest" in value.lower() for name, value in answer.headers)


def basis_of(answer: Answer) -> Basis | None:
    """What an answer was made from, if its server says so."""
    basis = getattr(answer, "basis", None)
    return basis if isinstance(basis, Basis) else None


def about_of(answer: Answer) -> About:
    """What the operator is told of an answer, if its server says so."""
    about = getattr(answer, "about", NOTHING)
    return about if isinstance(about, About) else NOTHING


def ready_answer(line: RequestLine, answer: Answer, start: bytes, rest: bytes, tally: Tally) -> PreparedAnswer:
    """An answer as it is kept ready; only where `may_be_ready`. tally: counts it."""
    basis = basis_of(answer)
    assert basis is not None
    return PreparedAnswer(
        start, rest, basis, line, answer.status, len(answer.body), answer.cache, about_of(answer), tally
    )


@lru_cache(maxsize=16)
def _refusal(status: int, head_only: bool) -> bytes:
    return answer_bytes(misshapen(status=status), head_only)[1]


def refusal(status: int, date: bytes, head_only: bool) -> bytes:
    """A whole response that ends the connection; date: the Date line. head_only: it answers HEAD."""
    return b"".join((status_line(status), date, CLOSE, _refusal(status, head_only)))
