# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How a question gets to Forgejo: within the limits, with or without the token, after renames.

Knows the transport, the limits and the credentials' state; nothing of what the answers mean beyond their status.
The rule of credentials, in order: anonymously where that works; with the token where Forgejo refuses (sign-in mode) or
rations (429) anonymous calls; never with a token that was refused within the last minute.
The surprise: a call's slot ends with its JSON body, a stream's already with its head, since readers may be slow.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from addon.forgejo import answers
from addon.forgejo.answers import Access, Repository
from addon.forgejo.call_kinds import ELSEWHERE, kind_of
from addon.forgejo.errors import (
    BadAnswer,
    DeadlineExceeded,
    ForgejoError,
    RateLimited,
    Refused,
    Unreachable,
)
from addon.forgejo.limits import Breaker, Places, Slots
from addon.net import http_client
from addon.net.call_meter import CallMeter
from addon.net.fair_queue import account
from addon.net.tracing import TRACE_HEADER, Question, question, trace
from addon.web.http_dates import parse_http_date

logger = logging.getLogger(__name__)

API = "/api/v1/repos/"
WEB = "/"
_MAX_HOPS = 3
# How long a refused credential is left alone, and at most how long a rationed one, in seconds.
_REFUSED_FOR = 60.0
_RATIONED_FOR = 60.0
_COMPARE_EVERY = 30.0
# The most an error's body may have before we stop caring what it says.
ERROR_BODY = 64 * 1024


class Head(Protocol):
    """What answers and streams have in common."""

    status: int

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""

    def close(self) -> None:
        """Let go of it."""


H = TypeVar("H", bound=Head)


class Answer:
    """A whole answer."""

    __slots__ = ("_response", "body", "status")

    def __init__(self, response: http_client.Response, body: bytes) -> None:
        self.status = response.status
        self.body = body
        self._response = response

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        return self._response.header(name)

    def close(self) -> None:
        """Nothing to let go of."""

    def trouble(self, what: str) -> ForgejoError:
        """The error that this answer stands for, when it is not the one that was wanted."""
        return answers.trouble(what, self.status, self.header("content-type"), self.header("retry-after"), self.body)


class Reached(NamedTuple):
    """Where a question ended: the repository's name after renames, and how it was asked."""

    owner: str
    name: str
    access: Access


class _Credential:
    """Whether calls without a token, or with it, are worth trying; all times by the given clock."""

    def __init__(self) -> None:
        self.refused_until = 0.0
        self.rationed_until = 0.0
        self.said = False

    def usable(self, now: float) -> bool:
        return now >= self.refused_until and now >= self.rationed_until


class Calls:
    """Everything that is sent to one forge. `calls` counts the requests."""

    def __init__(
        self,
        base_url: str,
        token: str | None,
        *,
        timeout: float,
        concurrency: int,
        unknown_share: int | None,
        max_streams: int,
        ca_file: Path | None,
        headers: Sequence[tuple[str, str]],
        clock: Callable[[], float],
        on_call: Callable[[str], None] | None,
    ) -> None:
        self.origin: http_client.Origin = http_client.origin_of(base_url)
        parts = urlsplit(base_url)
        if parts.query or parts.fragment:
            raise ValueError("the address of Forgejo has no query and no fragment")
        self._base_path = parts.path.rstrip("/")
        if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token and token):
            raise ValueError("the Forgejo token must be visible ASCII without spaces around it")
        self._authorization = None if token is None else ("Authorization", f"token {token}")
        self._timeout = timeout
        self._clock = clock
        self._on_call = on_call
        self._headers = tuple(headers)
        self.calls = 0
        self.meter = CallMeter()
        self.clock_skew: float | None = None
        """Seconds by which our clock is ahead of the forge's; None where it has not said."""
        self._compare_at = 0.0
        self.places = Places(max_streams)
        """Of large files."""
        share = max(1, concurrency // 4) if unknown_share is None else unknown_share
        self.slots = Slots(concurrency, min(share, concurrency), timeout)
        self.breaker = Breaker(clock)
        self.http = http_client.HttpClient(ca_file=ca_file, max_idle=concurrency)
        if self.origin.scheme == "https":
            self.http.prepare_tls()
        self._anonymous = _Credential()
        self._token = _Credential()
        self._said_scope = False
        self._said_page = False
        self._said_sign_in = False

    def __repr__(self) -> str:
        return f"Calls({self.origin.authority!r}, token={'given' if self._authorization else 'none'})"

    @property
    def timeout(self) -> float:
        """Seconds that a call may take, and each wait for a stream."""
        return self._timeout

    def deadline(self) -> float:
        """When a call that begins now must have ended, by the loop's clock."""
        return asyncio.get_running_loop().time() + self._timeout

    @property
    def has_token(self) -> bool:
        """Whether a token was given, be it good or not."""
        return self._authorization is not None

    @property
    def token_usable(self) -> bool:
        """Whether there is a token and it was neither refused nor rationed lately."""
        return self._authorization is not None and self._token.usable(self._clock())

    @property
    def token_refused(self) -> bool:
        """Whether Forgejo turned the token down when it was sent last."""
        return self._token.said

    def _compare_clocks(self, head: Head) -> None:
        """Note by how much our clock is ahead of the forge's, by what one answer in a while says."""
        now = self._clock()
        if now < self._compare_at:
            return
        self._compare_at = now + _COMPARE_EVERY
        said = parse_http_date((head.header("date") or "").encode("latin-1"))
        self.clock_skew = None if said is None else time.time() - said

    # One request -------------------------------------------------------------------------------------------------

    async def fetch(
        self,
        target: str,
        *,
        owner: str = "",
        token: bool = False,
        known: bool = True,
        headers: Sequence[tuple[str, str]] = (),
        limit: int,
    ) -> Answer:
        """One GET below the forge's address and its whole body (at most `limit` bytes); any status.

        owner: on whose account, where it is known. headers: a reader's own credentials, where it is asked with those.
        The time of the call begins with its turn.
        """
        with self._asked(target) as asked:
            async with self._attempt(owner, known) as deadline:
                response = await self._send(target, token, headers, deadline)
                asked.came_to = str(response.status)
                self._compare_clocks(response)
                body = await response.read(limit, deadline=deadline)
        return Answer(response, body)

    async def post(
        self,
        target: str,
        body: bytes,
        *,
        headers: Sequence[tuple[str, str]] = (),
        content_type: str = "application/x-www-form-urlencoded",
        owner: str = "",
        limit: int,
    ) -> Answer:
        """One POST, of a form unless another kind is said, and its whole answer; any status. Never sent twice.

        owner: on whose account; else on that of who asks.
        """
        with self._asked(target) as asked:
            async with self._attempt(owner, bool(owner)) as deadline:
                self._count(target)
                named, place = [*self._headers, *headers], self._base_path + target
                response = await self.http.post(self.origin, place, named, body, content_type, deadline=deadline)
                asked.came_to = str(response.status)
                told = await response.read(limit, deadline=deadline)
        return Answer(response, told)

    async def open(
        self, target: str, *, owner: str = "", token: bool = False, headers: Sequence[tuple[str, str]] = ()
    ) -> http_client.Response:
        """One GET of which only the head is awaited; any status. Whoever calls closes it."""
        with self._asked(target) as asked:
            async with self._attempt(owner, True) as deadline:
                response = await self._send(target, token, headers, deadline)
            asked.came_to = str(response.status)
        return response

    async def open_elsewhere(
        self, origin: http_client.Origin, target: str, headers: Sequence[tuple[str, str]] = ()
    ) -> http_client.Response:
        """One GET at another server (where Forgejo keeps its LFS objects), without the token and the breaker."""
        async with self.slots.held(account().owner, known=True):
            deadline = self.deadline()
            self._count(target.partition("?")[0])  # its query is a signature: as good as a credential
            with translated(), self._asked(ELSEWHERE) as asked:
                response = await self.http.get(origin, target, headers, deadline=deadline)
                asked.came_to = str(response.status)
            return response

    async def _send(
        self, target: str, token: bool, headers: Sequence[tuple[str, str]], deadline: float
    ) -> http_client.Response:
        self._count(target)
        headers = [*self._headers, *headers]
        if trace():
            headers.append((TRACE_HEADER, trace()))
        if token and self._authorization is not None:
            headers.append(self._authorization)
        return await self.http.get(self.origin, self._base_path + target, headers, deadline=deadline)

    @contextmanager
    def _asked(self, target: str) -> Iterator[Question]:
        """A call, from the wait for its turn on, in what is counted and in what is noted of a request."""
        kind, began = kind_of(target), time.perf_counter()
        with question("Forgejo", f"{kind}: {target.partition('?')[0]}") as asked:
            try:
                yield asked
            finally:
                self.meter.measure(kind, asked.came_to, time.perf_counter() - began)

    def _count(self, target: str) -> None:
        self.calls += 1
        if self._on_call is not None:
            self._on_call(target)

    @asynccontextmanager
    async def _attempt(self, owner: str, known: bool) -> AsyncIterator[float]:
        self.breaker.check()
        async with self.slots.held(owner, known=known):
            probe = self.breaker.admit()
            try:
                with translated():
                    yield self.deadline()
            except (Unreachable, DeadlineExceeded):
                self.breaker.failed(probe)
                raise
            except ForgejoError:
                self.breaker.succeeded()
                raise
            except BaseException:
                self.breaker.abandoned(probe)
                raise
            self.breaker.succeeded()

    # One question about a repository -----------------------------------------------------------------------------

    async def ask(
        self, owner: str, name: str, tail: str, *, repository: Repository | None = None, known: bool = True, limit: int
    ) -> tuple[Answer, Reached]:
        """GET `/api/v1/repos/{owner}/{name}{tail}` by the rule of credentials, renames followed.

        repository: what is known of it already; how it was read then decides where to begin.
        Raises Refused, RateLimited and all that says that Forgejo is in trouble; any other status is an answer.
        """

        async def send(prefix: str, with_token: bool) -> Answer:
            return await self.fetch(prefix + tail, owner=owner, token=with_token, known=known, limit=limit)

        return await self._negotiated(owner, name, API, repository, send)

    async def ask_stream(
        self, repository: Repository, tail: str, *, web: bool = False, headers: Sequence[tuple[str, str]] = ()
    ) -> tuple[http_client.Response, Reached]:
        """The same, of which only the head is awaited; `web` for the routes outside the API."""

        async def send(prefix: str, with_token: bool) -> http_client.Response:
            return await self.open(prefix + tail, owner=repository.owner, token=with_token, headers=headers)

        return await self._negotiated(repository.owner, repository.name, WEB if web else API, repository, send)

    async def ask_with_token(self, owner: str, name: str, *, known: bool, limit: int) -> tuple[Answer, Reached]:
        """The repository itself, with the token and nothing else. Raises Refused where there is no usable one."""

        async def send(prefix: str, with_token: bool) -> Answer:
            return await self.fetch(prefix, owner=owner, token=with_token, known=known, limit=limit)

        if not self.token_usable:
            raise self._nothing_to_try(Access.TOKEN)
        answer, owner, name = await self._followed(owner, name, API, Access.TOKEN, send)
        objection = self._page_in_front(answer) or self._objection(answer, Access.TOKEN)
        if objection is not None:
            raise objection
        return answer, Reached(owner, name, Access.TOKEN)

    async def _negotiated(
        self,
        owner: str,
        name: str,
        marker: str,
        repository: Repository | None,
        send: Callable[[str, bool], Awaitable[H]],
    ) -> tuple[H, Reached]:
        objections: list[ForgejoError] = []
        for access in self._ways(repository):
            answer, new_owner, new_name = await self._followed(owner, name, marker, access, send)
            if marker == API and (page := self._page_in_front(answer)) is not None:
                answer.close()
                raise page
            objection = self._objection(answer, access)
            if objection is None:
                if access is Access.TOKEN and any(isinstance(earlier, Refused) for earlier in objections):
                    self._sign_in_mode()
                return answer, Reached(new_owner, new_name, access)
            answer.close()
            objections.append(objection)
        raise next((error for error in objections if isinstance(error, RateLimited)), objections[0])

    def _ways(self, repository: Repository | None) -> list[Access]:
        """In which order to try; what is known to be refused or rationed is left out, but raises if nothing is left."""
        now = self._clock()
        if repository is not None and repository.access is Access.TOKEN:
            ways = [Access.TOKEN, Access.ANONYMOUS] if repository.public else [Access.TOKEN]
        elif now < self._anonymous.refused_until and self.token_usable:
            ways = [Access.TOKEN]
        else:
            ways = [Access.ANONYMOUS, Access.TOKEN]
        usable = {Access.TOKEN: self.token_usable, Access.ANONYMOUS: now >= self._anonymous.rationed_until}
        left = [way for way in ways if usable[way]]
        if not left:
            raise self._nothing_to_try(*ways)
        return left

    def _nothing_to_try(self, *ways: Access) -> ForgejoError:
        """Why none of these ways is worth a call now."""
        now = self._clock()
        until = max(self._credential(way).rationed_until for way in ways)
        if until > now:
            return RateLimited("Forgejo asked for a pause", retry_after=max(1, round(until - now)))
        return Refused("only a token could read this, and there is none that Forgejo accepts")

    def _credential(self, way: Access) -> _Credential:
        return self._token if way is Access.TOKEN else self._anonymous

    async def _followed(
        self, owner: str, name: str, marker: str, access: Access, send: Callable[[str, bool], Awaitable[H]]
    ) -> tuple[H, str, str]:
        for _ in range(_MAX_HOPS + 1):
            prefix = f"{marker}{answers.quoted(owner)}/{answers.quoted(name)}"
            answer = await send(prefix, access is Access.TOKEN)
            if answer.status not in (301, 302, 307, 308):
                return answer, owner, name
            answer.close()
            moved = answers.moved_to(answer.header("location"), self.origin, self._base_path, marker)
            if moved == (owner, name):
                raise BadAnswer("Forgejo redirects a repository to itself")
            owner, name = moved
        raise BadAnswer(f"Forgejo redirects more than {_MAX_HOPS} times")

    # What the credentials are worth ------------------------------------------------------------------------------

    def _page_in_front(self, answer: Head) -> ForgejoError | None:
        """The error when a 401 or 403 is not Forgejo's: its API says so in JSON, a filter for bots does in a page.

        What is no answer of Forgejo's closes no site: it is trouble, and what is known is served on.
        """
        if answer.status not in (401, 403) or answers.is_json(answer.header("content-type")):
            return None
        if not self._said_page:
            self._said_page = True
            logger.error(
                "what answers %d at %s is not Forgejo's API but something in front of it (a filter for bots, a login"
                " page?): let this server's address pass there, or set forgejoHost to Forgejo itself. What is known of"
                " sites is served meanwhile",
                answer.status,
                self.origin.authority,
            )
        return BadAnswer(f"a {answer.status} that is not of Forgejo's API")

    def _objection(self, answer: Head, access: Access) -> ForgejoError | None:
        """The error when an answer turns down the credential rather than the question, remembered for later calls."""
        credential = self._credential(access)
        now = self._clock()
        if answer.status == 429:
            wait = answers.seconds(answer.header("retry-after"))
            credential.rationed_until = now + min(wait, _RATIONED_FOR)
            return RateLimited("Forgejo answered 429", retry_after=wait)
        if answer.status not in (401, 403):
            if access is Access.ANONYMOUS and credential.said:
                credential.said = False
                credential.refused_until = 0.0
                logger.warning("Forgejo answers anonymous calls again")
            elif access is Access.TOKEN and credential.said:
                credential.said = False
                logger.warning("Forgejo accepts the token again")
            return None
        if access is Access.TOKEN:
            if answer.status == 401:
                credential.refused_until = now + _REFUSED_FOR
                if not credential.said:
                    credential.said = True
                    logger.error(
                        "Forgejo refuses the token (401): is it expired or revoked? Public sites are still served"
                    )
            elif not self._said_scope:  # a single repository may answer so, too: said once, not each time it changes
                self._said_scope = True
                logger.error("Forgejo answers 403 to the token: does it have the scope read:repository?")
        elif not self.has_token and not self._said_sign_in:
            self._said_sign_in = True
            logger.error(
                "Forgejo answers %d to whoever is not signed in (REQUIRE_SIGNIN_VIEW?), and there is no forgejoToken:"
                " set one with the scope read:repository",
                answer.status,
            )
        return Refused(f"Forgejo answered {answer.status}")

    def _sign_in_mode(self) -> None:
        """An anonymous call was refused and the same with the token was not: begin with the token for a while."""
        self._anonymous.refused_until = self._clock() + _REFUSED_FOR
        if not self._anonymous.said:
            self._anonymous.said = True
            logger.warning(
                "Forgejo refuses anonymous calls (REQUIRE_SIGNIN_VIEW?): public sites are read with the token"
            )

    async def aclose(self) -> None:
        """Close every connection."""
        await self.http.aclose()


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the transport says into what a visitor's answer depends on."""
    try:
        yield
    except http_client.TimedOut as error:
        raise DeadlineExceeded(str(error)) from None
    except http_client.Malformed as error:
        raise BadAnswer(str(error)) from None
    except (http_client.ConnectFailed, http_client.Disconnected) as error:
        raise Unreachable(str(error)) from None
