# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`GET /explain?url=`: what the running server answers at an address, and why, step by step.

It has the serving code answer and say how it came to that (`serving/steps.py`), and asks DNS about a custom domain on
the side. The visitor that it stands for is nobody in particular, without a login, on this machine. Bytes of pages and
cookies are not told, so who may ask here sees no more of a locked site than its lock.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from addon.domains.dns import DnsSilence
from addon.domains.dns_proof import DnsProver, Resolver
from addon.net.tracing import Question
from addon.serving.answers import Answer, Request
from addon.serving.server import Explained, PagesServer
from addon.web.forwarding import Visitor
from addon.web.routing import OtherHost, host_name

ASKER = "127.0.0.1"
_MOST_URL = 8 * 1024
_MOST_HEADERS = 32
_PATH_SAFE = "%!$&'()*+,;=:@-._~/"
_SECRET = frozenset({"set-cookie"})


class NoAddress(ValueError):
    """Says what is wrong with the address that is asked about."""


class Asked(NamedTuple):
    """What is asked about. headers: `Name: value`, of the request that is stood for. cold: without what is known."""

    url: str
    method: str = "GET"
    headers: Sequence[str] = ()
    cold: bool = False


class Explainer:
    """Explains answers. Without a state of its own."""

    def __init__(
        self,
        server: PagesServer,
        cold: Callable[[], AbstractAsyncContextManager[PagesServer]],
        dns: Resolver,
        prover: DnsProver,
        certifiable: Callable[[str], Awaitable[bool]],
        *,
        process: int = 0,
    ) -> None:
        """cold: a server of the same settings that knows nothing yet. process: the number of this one."""
        self._server = server
        self._cold = cold
        self._dns = dns
        self._prover = prover
        self._certifiable = certifiable
        self._process = process

    async def explain(self, asked: Asked) -> Mapping[str, object]:
        """The explanation, for JSON. Raises NoAddress."""
        request = request_of(asked)
        if asked.cold:
            async with self._cold() as server:
                explained = await server.explained(request)
        else:
            explained = await self._server.explained(request)
        told = {"url": asked.url, "method": request.method, "process": self._process, "cold": asked.cold}
        target = self._server.route(request.host, request.path)
        if isinstance(target, OtherHost):
            told["dns"] = await self._dns_of(target.host)
        return told | described(explained)

    async def _dns_of(self, host: str) -> Mapping[str, object]:
        """What DNS says of a host now, and what follows from it."""
        found: dict[str, object] = {}
        for name, question in (("aliases", self._dns.aliases), ("addresses", self._dns.addresses)):
            try:
                found[name] = list(await question(host))
            except DnsSilence as silence:
                found[name] = None
                found["trouble"] = str(silence) or "DNS does not answer"
        found["leads_here"] = await self._prover.leads_here(host)
        found["certificate_may_be_asked_for"] = await self._certifiable(host)
        return found


def request_of(asked: Asked) -> Request:
    """The request that a browser at this address would send. Raises NoAddress."""
    url = asked.url.strip()
    if len(url) > _MOST_URL or len(asked.headers) > _MOST_HEADERS:
        raise NoAddress(f"at most {_MOST_URL} bytes of address, and {_MOST_HEADERS} headers")
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        host = parts.netloc.rpartition("@")[2]
    except ValueError as error:
        raise NoAddress(f"this is no address: {error}") from None
    if parts.scheme not in ("http", "https") or host_name(host) is None:
        raise NoAddress("expected an address such as https://alice.pages.example.org/blog/")
    if asked.method not in ("GET", "HEAD", "OPTIONS"):
        raise NoAddress("expected GET, HEAD or OPTIONS: this asks, and does nothing")
    fields: dict[bytes, bytes] = {}
    for line in asked.headers:
        name, colon, value = line.partition(":")
        if not colon or not name.strip().isascii():
            raise NoAddress("expected a header as `Name: value`")
        fields[name.strip().lower().encode()] = value.strip().encode("utf-8", "replace")
    secure = parts.scheme == "https"
    path = quote(parts.path or "/", safe=_PATH_SAFE)
    query = quote(parts.query, safe=_PATH_SAFE + "?") if "?" in url.partition("#")[0] else None
    return Request(asked.method, host, path, query, fields.get, lambda: Visitor(ASKER, secure), tls=secure)


def described(explained: Explained) -> dict[str, object]:
    """An explanation in plain values."""
    answer, steps, asked = explained
    return {
        "status": None if answer is None else answer.status,
        "headers": [] if answer is None else _headers(answer, steps.sources),
        "body": None if answer is None else _body(answer),
        "steps": [{"step": step.name, "says": step.says, **step.facts} for step in steps.taken],
        "fetched": list(steps.fetched),
        "asked": [_question(each) for each in asked],
    }


def _headers(answer: Answer, sources: Mapping[str, str]) -> list[dict[str, str]]:
    found = []
    for name, value in answer.headers:
        text = name.decode("latin-1")
        shown = "(not told)" if text.lower() in _SECRET else value.decode("latin-1")
        found.append({"name": text, "value": shown, "by": sources.get(text.lower(), "this server")})
    return found


def _body(answer: Answer) -> dict[str, object]:
    if answer.stream is not None:
        return {"bytes": answer.length, "comes": "streamed from Forgejo"}
    return {"bytes": len(answer.body), "comes": "out of memory"}


def _question(question: Question) -> dict[str, object]:
    ms = None if question.seconds is None else round(question.seconds * 1000, 2)
    return {"whom": question.whom, "what": question.what, "came_to": question.came_to, "ms": ms}
