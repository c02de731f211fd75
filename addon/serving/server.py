# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`PagesServer`: a request in, an answer out. Knows nothing of flows, connections or mitmproxy.

What a request gets is said by the steps that follow (`hosts.py` is the first), out of memory alone and without a wait;
where something is not in memory, they return the `Need` instead. `answer_from_memory` is one walk, for the event loop;
`answer` fulfils needs and walks again until there is an answer. So hit and miss, lane and flows, run the same lines in
the same order.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NamedTuple

from addon import templates
from addon.access.control import Access, private
from addon.access.visitors import ClientNetworks, visitor_of
from addon.domains.resolver import Domains
from addon.forgejo.errors import DeadlineExceeded, ForgejoError, Overloaded
from addon.library.deploy_previews import DeployPreviews
from addon.library.library import Library
from addon.net.fair_queue import TooLate, on_account
from addon.net.tracing import Attributes, Question, noting, traced
from addon.serving.acme_challenges import Challenges
from addon.serving.answers import (
    METHODS,
    OWN_HEADER,
    Answer,
    Header,
    Headers,
    Need,
    Request,
    Work,
    because,
    own_page,
    trouble_page,
)
from addon.serving.error_pages import ErrorPages
from addon.serving.files import Files
from addon.serving.hosts import Hosts
from addon.serving.locks import Locks
from addon.serving.mappings import Mappings
from addon.serving.members import Members
from addon.serving.paths import Paths
from addon.serving.preview_hosts import PreviewHosts
from addon.serving.repositories import Repositories
from addon.serving.site_page import SitePages
from addon.serving.site_rules import SiteRules
from addon.serving.sites import Sites
from addon.serving.steps import Steps
from addon.settings.schema import Settings
from addon.shared.lookup import Lookup
from addon.web.prepared_answers import About, Basis
from addon.web.routing import ForgejoRequest, Route

__all__ = ["METHODS", "OWN_HEADER", "Answer", "Header", "Headers", "Need", "PagesServer", "Request"]

logger = logging.getLogger(__name__)

_MOST_NEEDS = 24

Stream = Callable[[], AbstractAsyncContextManager[AsyncIterator[bytes]]]


class Explained(NamedTuple):
    """An answer, the steps to it, and what was asked elsewhere on the way. answer: None where Forgejo has it."""

    answer: Answer | None
    steps: Steps
    asked: list[Question]


class PagesServer:
    """Answers the requests of pages hosts."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        access: Access,
        domains: Domains | None = None,
        *,
        challenges: Challenges | None = None,
        members: Members | None = None,
        previews: DeployPreviews | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """domains: None where only the pages domain and names below it are served. challenges: None makes them 404.

        members: None closes sites that are for members. previews: None where there are none.
        """
        self._client_networks = ClientNetworks(time.monotonic)
        self.access = access
        self.members = members
        self.measured: Callable[[Answer, float], object] = lambda answer, seconds: None
        """Told of each answer that had to be made, and how long that took."""
        repositories, files = Repositories(library), Files(settings, library.blobs, now)
        self.reports = SitePages(library.blobs, library.age, now)
        errors = ErrorPages(settings, library.error_pages, repositories, files)
        mappings = Mappings(settings, domains if settings.enable_custom_domains else None)
        locks = Locks(access, members)
        paths = Paths(library.blobs, files, SiteRules(settings, files), self.reports, library.former)
        self._sites = Sites(
            settings,
            library.error_pages,
            mappings,
            repositories,
            locks,
            paths,
            errors,
        )
        hosts = None
        if previews is not None and previews.domain is not None:
            hosts = PreviewHosts(previews, repositories, locks, paths, errors)
            self.reports.previews = hosts.listed
        login = members.login if members is not None else None
        self._hosts = Hosts(settings, mappings, challenges, self._sites, errors, login, hosts)

    @property
    def visited(self) -> Callable[[Lookup], bool]:
        """Told of each site that a visitor of the pages domain comes to; True: it wants to be told of the next, too."""
        return self._sites.visited

    @visited.setter
    def visited(self, told: Callable[[Lookup], bool]) -> None:
        self._sites.visited = told

    def route(self, host: str | None, path: str) -> Route:
        """What a request is for; the caller passes on to Forgejo what is a ForgejoRequest, and only that."""
        return self._hosts.route(host, path)

    def answer_from_memory(self, request: Request) -> Answer | None:
        """The answer, if memory has all it takes; never waits and never raises."""
        try:
            result = self._resolve(request, Work())
        except Exception:
            return self._fault(request)
        return result if isinstance(result, Answer) else None

    async def answer(self, request: Request) -> Answer:
        """The answer, fetching what it takes. Raises nothing but cancellation: a fault of ours is a page, too."""
        began = time.monotonic()
        answer = await self._made(request)
        self.measured(answer, time.monotonic() - began)
        return answer

    async def explained(self, request: Request) -> Explained:
        """What `answer` gives, and how it comes to that. No visit is noted, so that to ask registers no domain.

        A request for Forgejo's own host, which no page answers, has no answer.
        """
        steps = Steps()
        target = self.route(request.host, request.path)
        if isinstance(target, ForgejoRequest):
            steps.host(request.host, target)
            return Explained(None, steps, [])
        with noting() as asked:
            answer = await self._made(request, Work(steps=steps))
        return Explained(answer, steps, asked)

    async def _made(self, request: Request, work: Work | None = None) -> Answer:
        work = Work() if work is None else work
        try:
            client_network = visitor_of(request.visitor().address)
            with (
                on_account(visitor=self._visitor(request)),
                traced(request.header(b"traceparent"), request.method, _traced_as(request)) as outcome,
            ):
                for _ in range(_MOST_NEEDS):
                    result = self._resolve(request, work)
                    if isinstance(result, Answer):
                        outcome["http.response.status_code"] = result.status
                        if work.fetched and result.status in (404, 503):
                            self._client_networks.failed("", client_network)  # many from a network are one visitor
                        return result
                    if work.steps is not None:
                        work.steps.fetched.append(" ".join(map(str, result.key[:3])))
                    with on_account(owner=work.owner):
                        work.done[result.key] = await self._fulfil(result, work)
            raise RuntimeError(f"more than {_MOST_NEEDS} needs for one request")
        except TooLate as late:
            return trouble_page(request, Overloaded(str(late), retry_after=math.ceil(late.retry_after)))
        except ForgejoError as trouble:  # such as work on our threads that would come too late
            return trouble_page(request, trouble)
        except Exception:
            return self._fault(request)

    def looped(self, request: Request) -> Answer:
        """The answer to a request that we sent ourselves and that came back."""
        return own_page(request, 508, templates.error_page(508))

    def _resolve(self, request: Request, work: Work) -> Answer | Need:
        """One walk through the steps, and what holds for every answer, whichever step it comes from."""
        if work.steps is not None:
            work.steps.begin()
        result = self._hosts.host(request, work)
        if work.locked and isinstance(result, Answer):  # the one way out, for files, redirects, errors, 304s and all
            _keep_private(result)
        if isinstance(result, Answer) and result.stream is not None:
            result.stream = partial(self._streamed, result.stream, request, work.owner)
        if isinstance(result, Answer) and work.shown is not None:
            shown = work.shown
            result.about = About("/".join(shown.key), shown.commit or "", result.about.reason, result.about.detail)
        if isinstance(result, Answer) and work.facts and not work.done and (work.by_cookie or not work.locked):
            result.basis = Basis(tuple(work.facts), work.good_until, work.plain_http)
        return result

    @asynccontextmanager
    async def _streamed(self, stream: Stream, request: Request, owner: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """A stream, begun on the account of who asked for it, whoever does so."""
        async with AsyncExitStack() as stack:
            with on_account(owner=owner, visitor=self._visitor(request)):
                chunks = await stack.enter_async_context(stream())
            yield chunks

    def _visitor(self, request: Request) -> str:
        return self._client_networks.visitor("", visitor_of(request.visitor().address))

    async def _fulfil(self, need: Need, work: Work) -> object:
        work.fetched |= need.from_forgejo
        if need.patience is None:
            return await need.fetch()
        try:
            async with asyncio.timeout(need.patience):
                return await need.fetch()
        except TimeoutError:
            return DeadlineExceeded("it takes longer than a visitor should wait")

    def _fault(self, request: Request) -> Answer:
        logger.exception("answering %r %r %r failed", request.method, request.host, request.path)
        detail = "a fault of this server; the log has where"
        return because(own_page(request, 500, templates.error_page(500)), "fault", detail)


def _traced_as(request: Request) -> Attributes:
    """What a span says of a request: its query, where secrets may be, is left out."""
    host = request.host or ""
    return {"http.request.method": request.method, "server.address": host, "url.path": request.path}


def _keep_private(answer: Answer) -> None:
    """Make an answer, and what is said instead where its stream does not begin, one for who is logged in alone."""
    answer.headers = private(answer.headers)
    answer.locked = True
    if answer.stream is not None:
        instead = answer.otherwise

        def otherwise(error: Exception) -> Answer:
            other = instead(error)
            _keep_private(other)
            return other

        answer.otherwise = otherwise
