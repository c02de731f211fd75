# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who answers on a connection of HTTP/2: from a request's head to its answer, at once or by a task.

What is prepared is answered within the read that brought it, as in HTTP/1.1; what memory has, at once as well, with a
view of the body; for the rest each stream has a task, which ends with its stream: one that is reset, or whose client is
gone, closes what it has open at Forgejo. A large body waits, unheld, while the client leaves others unacknowledged, for
what a stream sends memory cannot let go of. Of a request's body, forms and webhooks are read; others are not waited
for.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from time import monotonic
from typing import Any

from addon.access.control import MAX_FORM
from addon.admin.access_formats import seen
from addon.admin.access_log import ABORTED
from addon.admin.answer_meter import HTTP1, HTTP2, LANE
from addon.admin.webhook import Delivery
from addon.forgejo.errors import ForgejoError
from addon.lane.answers import LARGEST, Asked, about_of, answer_bytes, may_be_ready, ready_answer
from addon.lane.http2.answering import Wire
from addon.lane.http2.answers import Http2Repeat, block_of
from addon.lane.http2.frames import ErrorCode
from addon.lane.http2.header_encoder import status_field
from addon.lane.http2.heads import Common, Head
from addon.lane.http2.protocol import ServerProtocol
from addon.lane.http2.streams import Stream
from addon.lane.lane import Lane
from addon.lane.repeated_requests import KnownRequests
from addon.lane.request_log import log_again, log_refusal
from addon.net.certificates import ShownNames
from addon.serving.answers import UNREAD, Answer, Request, misshapen, reason_of
from addon.web.method_and_target import path_and_query, request_fault
from addon.web.prepared_answers import NOTHING, About
from addon.web.request_head import RequestLine
from addon.web.routing import ForgejoRequest

logger = logging.getLogger(__name__)

SMALL = 64 * 1024
"""Bytes of a body that never waits: a hundred of them are no more than a few large ones."""
MOST_LARGE = 16
"""Larger bodies that a client may leave unacknowledged, such as films that are paused, before the next one waits."""
UNACKNOWLEDGED = 1024 * 1024
"""Bytes of them, instead, while all clients together leave too much."""
BODY_SECONDS = 30.0
"""How long a body that is wanted may take."""


class Job:
    """What is known of a stream that is being answered."""

    __slots__ = (
        "about",
        "began",
        "body",
        "cache",
        "delivery",
        "large",
        "moved",
        "moved_at",
        "passed",
        "request",
        "status",
        "task",
        "then",
        "waiting",
    )

    def __init__(self, request: Request, began: float) -> None:
        self.request = request
        self.began = began
        self.status = 0
        self.cache = ""
        self.about = NOTHING
        self.task: asyncio.Task[None] | None = None
        self.waiting: asyncio.Future[None] | None = None
        self.body: bytearray | None = None  # of a form
        self.delivery: Delivery | None = None
        self.then: Callable[[], None] | None = None  # what answers once the body has come, of which nothing is kept
        self.passed = 0  # bytes of that body
        self.large = 0  # bytes of a large answer that is held until it is taken
        self.moved = 0  # bytes sent when it was last looked at
        self.moved_at = began


class Http2Answering:
    """Answers one connection's requests; as `Answering`, which says what its methods are."""

    __slots__ = ("_bare", "_client", "_flush", "_known", "_lane", "_secure", "_shown", "_waiting", "ended", "protocol")

    def __init__(
        self, lane: Lane, client: str, secure: bool, shown: ShownNames | None, flush: Callable[[], None]
    ) -> None:
        """client: its address. secure: over TLS. shown: where other hosts have other certificates. flush: writes what
        the protocol has ready.
        """
        self._lane = lane
        self._client = client
        self._secure = secure
        self._shown = shown
        self._bare = lane.redirects_plain and not secure
        self._known = KnownRequests() if self._bare else lane.repeated_requests.known(secure, shown)
        self._flush = flush
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.protocol = ServerProtocol(self, lane.commons, lane.most_head, monotonic())
        self.ended = 0
        """Streams that are over."""

    def check(self, stream: Stream, now: float) -> None:
        """Give up what has waited too long; now: monotonic seconds."""
        job = stream.owner
        if not isinstance(job, Job):
            return
        if stream.wanted and stream.receiving:
            if now - job.began > BODY_SECONDS:
                stream.wanted = False
                _give_up(job)
                self._respond(stream, misshapen(status=408))
        elif stream.responding and stream.pending:
            if stream.sent != job.moved:
                job.moved, job.moved_at = stream.sent, now
            elif now - job.moved_at > self._lane.stall_timeout:
                self.protocol.reset(stream, ErrorCode.CANCEL)
                self.gone(stream)
        else:
            job.moved_at = now

    # What the protocol asks for.

    def at_once(self, head: tuple[Common, bytes], most: int, now: float) -> Wire | None:
        """As `Answering`. This is most of the traffic."""
        repeat = self._known.http2.get(head)
        if repeat is None:
            return None
        lane = self._lane
        if (now >= repeat.until or repeat.seen != lane.facts.changes) and not lane.renewed(repeat, now):
            self._known.http2.pop(head, None)
            return None
        wire = repeat.wire
        if wire is None or wire.size > most:
            return None
        repeat.tally.count += 1
        if lane.log is not None:
            log_again(lane, self._client, self._secure, repeat, "HTTP/2.0", now)
        return wire

    def asked(self, stream: Stream) -> None:
        """As `Answering`."""
        lane, now, head = self._lane, monotonic(), stream.head
        if head is None:
            stream.owner = Job(UNREAD, now)
            self._respond(stream, misshapen(status=431))
            return
        common = head.common
        fields = common.fields
        path, query = path_and_query(head.target)
        asked = Asked(fields.values, partial(lane.visitor, fields, self._client, self._secure))
        host = fields.host if common.authority_agrees else None
        request = Request(common.method, host, path, query, asked.header, asked.visitor, tls=self._secure)
        stream.owner = job = Job(request, now)
        try:
            self._answer(stream, job, head, asked)
        except Exception:
            self._fault(stream, job)

    def _answer(self, stream: Stream, job: Job, head: Head, asked: Asked) -> None:
        lane, server, request = self._lane, self._lane.server, job.request
        common = head.common
        fields = common.fields
        fault = request_fault(common.method.encode("latin-1"), head.target, common.scheme.encode("latin-1"))
        if fault is not None:
            self._respond(stream, misshapen(fault))
            return
        if self._shown is not None and lane.misdirected(self._shown, fields, self._client):
            self._respond(stream, misshapen(status=421))
            return
        if lane.loops(fields):
            self._respond(stream, server.looped(request))
            return
        if isinstance(server.route(request.host, request.path), ForgejoRequest):
            self._respond(stream, misshapen(status=421))  # it has connections of its own
            return
        if lane.webhook is not None and lane.webhook.takes(request):
            self._delivered(stream, job, lane.webhook.delivery(request))
            return
        if _is_form(head):
            self._collected(stream, job)
            return
        if stream.receiving and (stream.left or 0) <= MAX_FORM and b"expect" not in fields.values:
            # On its way already. Who is answered before it, gets a RST_STREAM, which some take for a failure.
            job.then = partial(self._page, stream, job, head, asked)
            stream.wanted = True
            return
        self._page(stream, job, head, asked)

    def _page(self, stream: Stream, job: Job, head: Head, asked: Asked) -> None:
        """Answer by what is prepared, by what memory has, or by a task."""
        lane, server, request, now = self._lane, self._lane.server, job.request, monotonic()
        common = head.common
        fields = common.fields
        get = common.method in ("GET", "HEAD")
        key = (b"%b %b HTTP/1.1" % (common.method.encode(), head.target), fields.key)
        if get and request.query is None and fields.plain and not self._bare:
            ready = lane.ready.get(key, now)
            if ready is None and fields.login is not None:
                login_key = (key[0], fields.login)
                ready = lane.ready.get(login_key, now)
                if ready is not None and self._secure and ready.basis.plain_http:
                    ready = None
                key = key if ready is None else login_key
            if ready is not None:
                repeat = self._known.http2.get(head)
                if repeat is None or repeat.answer is not ready:
                    tally = lane.meter.tally(LANE, HTTP2, ready.status, ready.cache, ready.about.site)
                    repeat = Http2Repeat(key, ready, fields, tally)
                    lane.repeated_requests.remember_http2(self._known, head, repeat)
                repeat.tally.count += 1
                job.status, job.cache, job.about = ready.status, ready.cache, ready.about
                self.protocol.respond(stream, repeat.block + lane.date_field, repeat.body)
                return
        answer = server.answer_from_memory(request)
        if answer is None or answer.stream is not None or self._is_full(answer.body):
            self._start(stream, job, lambda: self._work(stream, job, answer))
            return
        self._respond(stream, answer)
        line = RequestLine(common.method, request.path, request.query, True)
        if get and len(answer.body) <= LARGEST and may_be_ready(line, fields, answer, asked):
            kept = key if not answer.locked else (key[0], fields.login or b"")
            start, rest = answer_bytes(answer, common.method == "HEAD")
            tally = lane.meter.tally(LANE, HTTP1, answer.status, answer.cache, about_of(answer).site)
            lane.ready.put(kept, ready_answer(line, answer, start, rest, tally))

    def body(self, stream: Stream, data: bytes) -> None:
        """As `Answering`."""
        job = stream.owner
        if not isinstance(job, Job):
            return
        if job.delivery is not None:
            job.delivery.take(data)
        elif job.body is not None:
            job.body += data
            if len(job.body) > MAX_FORM:
                stream.wanted = False
                self._form(stream, job, None)
        elif job.then is not None:
            job.passed += len(data)
            if job.passed > MAX_FORM:  # not so small
                stream.wanted = False
                self._passed(stream, job)

    def body_ended(self, stream: Stream) -> None:
        """As `Answering`."""
        job = stream.owner
        if not isinstance(job, Job):
            return
        if job.delivery is not None:
            job.delivery.take(b"")
        elif job.body is not None:
            self._form(stream, job, bytes(job.body))
        else:
            self._passed(stream, job)

    def _passed(self, stream: Stream, job: Job) -> None:
        """Of a body of which nothing is kept, enough has come."""
        then, job.then = job.then, None
        if then is not None:
            try:
                then()
            except Exception:
                self._fault(stream, job)

    def taken(self, stream: Stream) -> None:
        """As `Answering`."""
        job = stream.owner
        if isinstance(job, Job) and job.waiting is not None and not job.waiting.done():
            job.waiting.set_result(None)

    def done(self, stream: Stream) -> None:
        """As `Answering`."""
        job = stream.owner
        self._over(job)
        if isinstance(job, Job) and self._lane.log is not None:
            self._log(stream, job, job.status)

    def gone(self, stream: Stream) -> None:
        """As `Answering`."""
        job = stream.owner
        stream.owner = None
        self._over(job)
        if isinstance(job, Job):
            _give_up(job)
            if not job.status:
                self._lane.meter.count(LANE, HTTP2, ABORTED, "", NOTHING)
            if self._lane.log is not None:
                self._log(stream, job, ABORTED)

    # Answers that take longer.

    def _delivered(self, stream: Stream, job: Job, delivery: Delivery | Answer) -> None:
        """Read what a webhook says."""
        if isinstance(delivery, Answer):
            self._respond(stream, delivery)
            return
        job.delivery = delivery
        self._want(stream, job)
        self._start(stream, job, lambda: self._work(stream, job, None, delivery.answer))

    def _collected(self, stream: Stream, job: Job) -> None:
        """Read a form."""
        job.body = bytearray()
        self._want(stream, job)

    def _want(self, stream: Stream, job: Job) -> None:
        stream.wanted = True
        if not stream.receiving:
            self.body_ended(stream)
        elif (job.request.header(b"expect") or b"").lower() == b"100-continue":
            self.protocol.interim(stream, status_field(100))

    def _form(self, stream: Stream, job: Job, body: bytes | None) -> None:
        """A form is there, or is too large."""
        request = job.request
        job.body = None
        job.request = whole = Request(
            request.method,
            request.host,
            request.path,
            request.query,
            request.header,
            request.visitor,
            body,
            request.tls,
        )
        self._start(stream, job, lambda: self._work(stream, job, None, lambda: self._lane.server.answer(whole)))

    def _start(self, stream: Stream, job: Job, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._lane.loop.create_task(work())
        if not task.done():  # on Python 3.12 and newer, mitmproxy's tasks begin at once
            job.task = task

    async def _work(
        self,
        stream: Stream,
        job: Job,
        answer: Answer | None,
        make: Callable[[], Awaitable[Answer]] | None = None,
    ) -> None:
        """Answer one request. make: what makes the answer, where it is not the server's own way."""
        try:
            if answer is None:
                answer = await (make() if make is not None else self._lane.server.answer(job.request))
            while make is None and answer.stream is None and self._is_full(answer.body):
                del answer  # nothing of it is held meanwhile
                await self._room()
                answer = await self._lane.server.answer(job.request)
            if answer.stream is not None and job.request.method != "HEAD":
                await self._stream(stream, job, answer)
            else:
                self._respond(stream, answer)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if isinstance(error, ForgejoError):
                logger.warning("a stream was cut: %s", error)
            else:
                logger.error("the lane failed on %s", _shown(job.request), exc_info=error)
            if stream.owner is job:
                self._failed(stream, job)
        finally:
            job.task = None
            self._flush()

    # What the client does not take.

    def _is_full(self, body: bytes) -> bool:
        """Whether a body has to wait for others to be taken; what several streams send is held once."""
        if len(body) <= SMALL:
            return False
        held: dict[int, int] = {}
        for each in self.protocol.streams.values():
            if len(each.body) > SMALL:
                whole = each.body.obj if isinstance(each.body, memoryview) else each.body
                held[id(whole)] = len(each.body)
        if id(body) in held:
            return False
        return sum(held.values()) >= UNACKNOWLEDGED if self._lane.under_memory_pressure else len(held) >= MOST_LARGE

    def _let_go(self, job: Job) -> None:
        """Of an answer, nothing is held any more."""
        self._lane.unacknowledged -= job.large
        job.large = 0

    async def _room(self) -> None:
        """Wait until a stream is over, those first who came first."""
        waiting = self._lane.loop.create_future()
        self._waiting.append(waiting)
        await waiting

    def _over(self, job: object) -> None:
        """A stream is over: who waits longest looks again whether there is room."""
        self.ended += 1
        if isinstance(job, Job):
            self._let_go(job)
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    async def _stream(self, stream: Stream, job: Job, answer: Answer) -> None:
        """Send a body as it comes, and no faster than it is taken."""
        assert answer.stream is not None
        protocol = self.protocol
        async with AsyncExitStack() as stack:
            try:
                chunks = await stack.enter_async_context(answer.stream())
                chunk = await anext(chunks, b"")
            except Exception as error:  # nothing was sent yet: a page can still say so
                self._respond(stream, answer.otherwise(error))
                return
            self._count(job, answer)
            protocol.respond(stream, block_of(answer) + self._date_field(), ends=answer.length == 0)
            left = answer.length
            while chunk:
                if left is not None:
                    left -= len(chunk)
                if left is not None and left < 0:
                    raise ValueError("a stream is longer than was said")
                job.waiting = self._lane.loop.create_future()
                protocol.put(stream, chunk)
                self._flush()
                await job.waiting
                chunk = await anext(chunks, b"")
            if left:
                raise ValueError("a stream is shorter than was said")
            if answer.length != 0:
                protocol.put(stream, b"", ends=True)

    def _respond(self, stream: Stream, answer: Answer) -> None:
        """Send an answer that has its body."""
        job = stream.owner
        assert isinstance(job, Job)
        block = block_of(answer)
        self._count(job, answer)
        bodiless = job.request.method == "HEAD" or answer.status in (204, 304)
        if len(answer.body) > SMALL and not bodiless:
            job.large = len(answer.body)
            self._lane.unacknowledged += job.large
        self.protocol.respond(stream, block + self._date_field(), b"" if bodiless else answer.body)

    def _count(self, job: Job, answer: Answer) -> None:
        """An answer begins."""
        job.status, job.cache, job.about = answer.status, answer.cache, about_of(answer)
        request = job.request
        host = request.host or ""
        self._lane.meter.count(LANE, HTTP2, job.status, job.cache, job.about, host, request.path)

    def _date_field(self) -> bytes:
        self._lane.dated()
        return self._lane.date_field

    # Ends.

    def _fault(self, stream: Stream, job: Job) -> None:
        """Something of ours is wrong: say so."""
        logger.exception("the lane failed on %s", _shown(job.request))
        self._lane.faults += 1
        self._failed(stream, job)

    def _failed(self, stream: Stream, job: Job) -> None:
        """500 if the answer has not begun; else reset, for what was sent must not look like the whole."""
        if stream.id not in self.protocol.streams:
            return
        if stream.responding:
            self.protocol.reset(stream, ErrorCode.INTERNAL_ERROR)
            self._let_go(job)
            job.status = 500
            if self._lane.log is not None:
                self._log(stream, job, 500)
        else:
            self._respond(stream, misshapen(status=500))

    def _log(self, stream: Stream, job: Job, status: int) -> None:
        if stream.head is None:
            assert self._lane.log is not None
            log_refusal(self._lane.log, self._client, status)
        else:
            self._record(stream.head, status, stream.sent, monotonic() - job.began, job.cache, job.about)

    def _record(
        self, head: tuple[Common, bytes], status: int, nbytes: int, seconds: float, cache: str, about: About
    ) -> None:
        lane, (common, target) = self._lane, head
        assert lane.log is not None
        lane.log.record(
            client=lane.visitor(common.fields, self._client, self._secure).address,
            method=common.method,
            host=common.fields.host,
            path=path_and_query(target)[0],
            status=status,
            nbytes=0 if common.method == "HEAD" else nbytes,
            seconds=seconds,
            cache=cache,
            seen=seen("HTTP/2.0", self._secure, common.fields.values.get),
            site=about.site,
            commit=about.commit,
            reason=reason_of(status, about),
        )


def _is_form(head: Head) -> bool:
    """Whether a request may be a login: a form of at most MAX_FORM bytes, as far as it says."""
    common = head.common
    kind = common.fields.values.get(b"content-type", b"").strip().lower()
    fits = common.length is None or common.length <= MAX_FORM
    return common.method == "POST" and fits and kind.startswith(b"application/x-www-form-urlencoded")


def _give_up(job: Job) -> None:
    if job.task is not None:
        job.task.cancel()
    if job.delivery is not None:
        job.delivery.end()


def _shown(request: Request) -> str:
    """A request for the log, without its query."""
    return repr(f"{request.method} {request.path}"[:200])
