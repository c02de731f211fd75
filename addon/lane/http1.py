# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One connection of the lane: HTTP/1 requests in, answers out, in order; what is not ours goes to another protocol.

A plain state machine: bytes arrive, `_answer` answers what is complete and can be answered at once, in one write; for
all else (a miss, a large body, a stream) there is one task at a time. While that works, or the client does not read,
or others have to have their turn, the connection is busy: bytes are held, at most `Lane.most_held` of them, and reading
stops only when that is full. So a disconnect is noticed while somebody waits, and nobody can make us hold more.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from time import monotonic
from typing import Any, cast

from addon.admin.access_log import ABORTED
from addon.admin.answer_meter import HTTP1, LANE
from addon.forgejo.errors import ForgejoError
from addon.lane.answers import (
    CLOSE,
    KEEP_ALIVE,
    LARGEST,
    Asked,
    about_of,
    answer_bytes,
    may_be_ready,
    ready_answer,
    refusal,
)
from addon.lane.handover import Handler, hand_over
from addon.lane.http1_bodies import AnswerWriter
from addon.lane.http1_request_body import RequestBody, answering
from addon.lane.http2.frames import PREFACE_LINE
from addon.lane.http2_connection import Http2Connection
from addon.lane.lane import Lane
from addon.lane.repeated_requests import KnownRequests
from addon.lane.request_log import log_again, log_answer, log_refusal, shown
from addon.lane.send_queue import end_writing, unacknowledged
from addon.net.certificates import ShownNames
from addon.net.tls_transport import shown_names
from addon.serving.server import Answer, Request
from addon.web.prepared_answers import NOTHING, About, Http1Repeat, Key
from addon.web.request_head import END, Fields, RequestLine, request_line, strays

logger = logging.getLogger(__name__)

TURN_ANSWERS = 32
TURN_BYTES = 256 * 1024
TURN_SECONDS = 0.001
"""What one connection is answered before others have their turn. Unlimited, a pipelining client held everybody up for
0.1 to 0.3 s; so, for 1 to 3 ms."""
LINGER = 2.0
"""Seconds for which what a client still sends is read and thrown away: to close at once would reset the connection, and
the last answer might be lost with it (RFC 9112 §9.6)."""


class Connection(asyncio.BufferedProtocol):
    """A client's connection."""

    __slots__ = (
        "_at",
        "_bare",
        "_body",
        "_busy",
        "_client",
        "_ended",
        "_eof",
        "_handler",
        "_held",
        "_known",
        "_lane",
        "_line",
        "_partial",
        "_progress",
        "_reading",
        "_requests",
        "_room",
        "_scheduled",
        "_secure",
        "_sent",
        "_shown",
        "_since",
        "_task",
        "_transport",
        "_writer",
    )

    def __init__(self, lane: Lane, handler: Handler) -> None:
        """handler: who takes what is not ours, with all its bytes."""
        self._lane = lane
        self._handler = handler
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else is called
        self._client = ""
        self._secure = False  # over TLS
        self._shown: ShownNames | None = None  # where other hosts have other certificates
        self._bare = lane.redirects_plain
        self._known = KnownRequests() if self._bare else lane.repeated_requests.known(False, None)
        # What was read, and how much of it has been dealt with.
        self._held = b""
        self._at = 0
        self._partial = False  # a head has begun
        self._eof = False  # nothing more comes
        self._reading = True
        # What is under way.
        self._busy = False  # nothing further is looked at until it is done
        self._scheduled = False  # others have their turn first
        self._task: asyncio.Task[None] | None = None
        self._line = b""
        self._body: RequestBody | None = None  # of what is being answered, while it comes
        self._writer: AnswerWriter | None = None
        self._ended = False  # nothing more is answered
        # Whether the client reads.
        self._room = True
        self._requests = 0
        self._sent = 0  # bytes of bodies that tasks sent
        self._progress = (0, 0, 0)
        self._since = 0.0  # of the present state: silent, a head begun, nothing taken, or lingering

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if isinstance(peer, tuple) else ""
        self._since = monotonic()
        if not self._lane.admit(self, self._client):
            self._ended = True
            self._transport.abort()

    def secured(self, alpn: str | None) -> None:
        """The connection is over TLS, and the handshake is done. alpn: the protocol that was agreed upon."""
        self._secure = True
        self._bare = False
        self._shown = shown_names(self._transport)
        self._known = self._lane.repeated_requests.known(True, self._shown)
        self._since = monotonic()
        if alpn == "h2" and not self._ended:
            self._become_http2(b"")

    def _become_http2(self, data: bytes) -> None:
        """Go on in HTTP/2; data: what was read of it already."""
        self._ended = True
        self._held, self._at = b"", 0
        if not self._reading:
            self._transport.resume_reading()
        other = Http2Connection(self._lane, self._transport, self._client, self._secure)
        self._lane.replace(self, other)
        if data:
            other.received(data)

    def get_buffer(self, sizehint: int) -> memoryview:
        # One buffer for all connections: it is read out before anybody else can be called.
        held = len(self._held) - self._at
        return self._lane.buffer[: self._lane.most_held - held] if held else self._lane.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._ended:
            return
        lane = self._lane
        data = bytes(lane.buffer[:nbytes])
        if self._body is not None:
            data = data[self._body.feed(data) :]
            if not data:
                return
        if self._held:
            data = self._held[self._at :] + data
            self._at = 0
        elif not self._busy and (again := self._known.http1.get(data)) is not None and self._repeat(again):
            return
        self._held = data
        if not self._busy:
            self._turn()
        elif len(data) >= lane.most_held:
            self._reading = False
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._eof = True
        if self._body is not None and self._body.left:
            if self._body.wanted:
                return False  # what it belongs to cannot be answered any more
            self._body.end()
        return self._busy and not self._ended  # half-closed: what was asked is still answered

    def pause_writing(self) -> None:
        self._room = False
        self._busy = True
        if self._writer is not None:
            self._writer.room = False

    def resume_writing(self) -> None:
        self._room = True
        if self._writer is not None:
            self._writer.resume()
        if self._task is None and not self._scheduled:
            self._go_on()

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self._held, self._at = b"", 0
        if self._task is not None:
            self._task.cancel()
        self._lane.forget(self, self._client)

    # What the lane calls.

    @property
    def busy(self) -> bool:
        """Whether a request is being answered, or an answer not taken yet."""
        return self._busy or self._transport.get_write_buffer_size() > 0

    def check(self, now: float) -> None:
        """Close what has waited too long; now: monotonic seconds."""
        lane, transport = self._lane, self._transport
        left = unacknowledged(transport) if self._ended or transport.get_write_buffer_size() else 0
        if left:
            # Progress is what the client takes; unchanged in all three, it took nothing.
            sent = self._sent + (self._writer.sent if self._writer is not None else 0)
            progress = (self._requests, sent, left)
            if progress != self._progress:
                self._progress = progress
                self._since = now
            elif now - self._since > lane.stall_timeout:
                transport.abort()  # close() would wait for the buffer for ever
            return
        waited = now - self._since
        if self._ended:
            if waited > LINGER:
                transport.abort()
        elif self._busy:
            self._since = now
        elif self._partial:
            if waited > lane.header_timeout:
                self._refuse(408, [])
        elif waited > lane.idle_timeout:
            self._ended = True
            transport.close()

    @property
    def idle_since(self) -> float | None:
        """Since when nothing is under way, or a head has begun; None where something is."""
        return None if self.busy or self._ended else self._since

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def warn(self) -> None:
        """HTTP/1.1 says it with the last answer."""

    def retire(self) -> None:
        """Close if nothing is under way; what is under way is answered, and says that it was the last."""
        if not self._busy and not self._partial and not self._ended:
            self._end()

    # Requests.

    def _repeat(self, again: Http1Repeat) -> bool:
        """Answer what was asked before, byte for byte, if that answer is ready still. This is most of the traffic."""
        lane = self._lane
        now = monotonic()
        if (now >= again.until or again.seen != lane.facts.changes) and not lane.renewed(again, now):
            return False
        if lane.retiring or self._requests + 1 == lane.most_requests:
            return False
        again.tally.count += 1
        self._requests += 1
        self._since = now
        self._transport.write(again.wire)
        if lane.log is not None:
            protocol = "HTTP/1.1" if again.answer.line.http11 else "HTTP/1.0"
            log_again(lane, self._client, self._secure, again, protocol, now)
        return True

    def _turn(self) -> None:
        out: list[bytes] = []
        try:
            self._answer(out)
        except Exception:
            self._fault(out)

    def _answer(self, out: list[bytes]) -> None:
        """Answer what has arrived, as far as that can be done at once and others need not wait too long.

        out: what is to be sent, all of it in one write.
        """
        lane, data, at = self._lane, self._held, self._at
        now = monotonic()
        if now >= lane.date_until:
            lane.tell_time(now)
        answers = nbytes = 0
        while at < len(data):
            start = at
            if data.startswith(b"\r\n", at):
                at += 2  # RFC 9112 §2.2: one empty line before a request is overlooked
            end = data.find(END, at)
            if end < 0:
                at = start
                break
            middle = data.find(b"\r\n", at)
            self._line = line = data[at:middle]
            if end + 4 - start > lane.most_head:
                self._refuse(431, out)
                return
            if lane.http2_plain and not self._secure and not self._requests and data.startswith(PREFACE_LINE, start):
                self._write(out)
                self._become_http2(data[start:])
                return
            fields = lane.fields(data[middle + 2 : end])
            parsed = None
            if fields is not None and self._shown is not None and lane.misdirected(self._shown, fields, self._client):
                self._refuse(421, out)
                return
            if fields is not None:
                key = (line, fields.key)
                ready = lane.ready.get(key, now) if fields.plain and not self._bare else None
                if ready is None and fields.login is not None and fields.plain and not self._bare:
                    ready = lane.ready.get((line, fields.login), now)
                    if ready is not None and self._secure and ready.basis.plain_http:
                        ready = None
                    key = key if ready is None else (line, fields.login)
                parsed = ready.line if ready is not None else request_line(line)
            if fields is None or parsed is None:
                self._other(line, start, middle, end, now, out)
                return
            at = end + 4
            self._requests += 1
            asked_to_end = fields.closes or not (parsed.http11 or fields.keeps)
            last = asked_to_end or lane.retiring or self._requests == lane.most_requests
            connection = CLOSE if last else b"" if parsed.http11 else KEEP_ALIVE
            if ready is not None:
                if start == 0 and at == len(data) and connection == b"":
                    lane.repeated_requests.remember(self._known, data, key, ready, fields)
                out += (ready.start, lane.date, connection, ready.rest)
                nbytes += ready.nbytes
                ready.tally.count += 1
                if lane.log is not None:
                    self._record(parsed, fields, ready.status, ready.nbytes, now, ready.cache, ready.about)
            else:
                self._at = at
                size = self._recall(parsed, fields, key, connection, now, out)
                if size is None:
                    return  # a task answers, and goes on from here
                nbytes += size
            answers += 1
            if last:
                self._write(out)
                self._end(linger=not asked_to_end or at < len(data))
                return
            if at < len(data) and (answers == TURN_ANSWERS or nbytes > TURN_BYTES or monotonic() > now + TURN_SECONDS):
                self._at = at
                self._busy = True
                self._write(out)
                self._schedule()
                return
        if at == len(data):
            self._held, self._at, self._partial = b"", 0, False
            self._since = now
        else:
            self._at = at
            self._line = data[at : at + 5]
            if len(data) - at > lane.most_head:
                self._refuse(431, out)
                return
            if strays(data[at:]):
                self._hand_over(at, out)
                return
            if answers or not self._partial:
                self._partial = True
                self._since = now  # however slowly it comes, its time runs from here
        self._write(out)
        if self._eof and not self._busy:
            self._end(linger=False)

    def _other(self, line: bytes, start: int, middle: int, end: int, began: float, out: list[bytes]) -> None:
        """What is no plain GET or HEAD for us: it may bring a small body, or is another's."""
        if line == PREFACE_LINE.partition(b"\r\n")[0]:
            self._refuse(400, out)  # HTTP/2 that was not agreed upon
            return
        lane = self._lane
        bodied = lane.bodied(line, self._held[middle + 2 : end])
        if bodied is None:
            self._hand_over(start, out)
            return
        fields, parsed = bodied.fields, bodied.line
        if self._shown is not None and lane.misdirected(self._shown, fields, self._client):
            self._refuse(421, out)
            return
        request = self._request(parsed, fields)[0]
        body = RequestBody(bodied.length)
        make = answering(bodied, body, request, lane.server, lane.webhook)
        if make is None:
            self._hand_over(start, out)
            return
        self._requests += 1
        self._at = end + 4
        self._at += body.feed(self._held[self._at :])
        if body.left:
            self._held, self._at, self._body = b"", 0, body
            if bodied.asks and body.wanted:
                out.append(b"HTTP/1.1 100 Continue\r\n\r\n")
        last = fields.closes or not (parsed.http11 or fields.keeps) or self._requests == lane.most_requests
        connection = CLOSE if last or lane.retiring else b"" if parsed.http11 else KEEP_ALIVE
        self._write(out)
        self._start(self._work(request, parsed, fields, None, connection, began, make, body))

    def _recall(
        self, line: RequestLine, fields: Fields, key: Key, connection: bytes, began: float, out: list[bytes]
    ) -> int | None:
        """Answer from memory: how many bytes of body; None where a task has to do it, which has been started."""
        lane = self._lane
        request, asked = self._request(line, fields)
        answer = lane.server.answer_from_memory(request)
        if answer is None or answer.stream is not None or len(answer.body) > LARGEST:
            self._write(out)
            self._start(self._work(request, line, fields, answer, connection, began))
            return None
        start, rest = answer_bytes(answer, line.method == "HEAD")
        out += (start, lane.date, connection, rest)
        about = about_of(answer)
        lane.meter.count(LANE, HTTP1, answer.status, answer.cache, about, fields.host, line.path)
        if may_be_ready(line, fields, answer, asked):
            login = fields.login if answer.locked else None
            tally = lane.meter.tally(LANE, HTTP1, answer.status, answer.cache, about.site)
            lane.ready.put(key if login is None else (key[0], login), ready_answer(line, answer, start, rest, tally))
        if lane.log is not None:
            self._record(line, fields, answer.status, len(answer.body), began, answer.cache, about)
        return len(answer.body)

    def _request(self, line: RequestLine, fields: Fields) -> tuple[Request, Asked]:
        asked = Asked(fields.values, partial(self._lane.visitor, fields, self._client, self._secure))
        request = Request(
            line.method, fields.host, line.path, line.query, asked.header, asked.visitor, tls=self._secure
        )
        return request, asked

    # What takes longer.

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._busy = True
        task = self._lane.loop.create_task(work)
        if not task.done():  # on Python 3.12 and newer, mitmproxy's tasks begin at once
            self._task = task

    async def _work(
        self,
        request: Request,
        line: RequestLine,
        fields: Fields,
        answer: Answer | None,
        connection: bytes,
        began: float,
        make: Callable[[], Awaitable[Answer]] | None = None,
        body: RequestBody | None = None,
    ) -> None:
        """Answer one request, and go on with the next. make: what makes the answer, where it brings a body."""
        status, cache, about = 0, "", NOTHING
        self._writer = writer = AnswerWriter(self._lane, self._transport, connection, line.http11)
        writer.room = self._room
        try:
            if answer is None:
                answer = await (make() if make is not None else self._lane.server.answer(request))
            if body is not None and body.left and not body.passes:
                writer.end()  # where the next request begins, nobody will know
            if answer.stream is not None and request.method != "HEAD":
                answer = await writer.stream(answer)
            else:
                await writer.whole(answer, request.method == "HEAD")
            status, cache, about = answer.status, answer.cache, about_of(answer)
            if body is not None and body.left and not writer.ends:
                await body.all()
        except asyncio.CancelledError:
            status = status or ABORTED
            raise
        except Exception as error:
            if isinstance(error, TimeoutError) and status:  # it is answered; the rest of its body does not come
                writer.end()
            else:
                status = 500
                self._failed(error, writer.begun)
                return
        finally:
            self._task = self._writer = self._body = None
            self._sent += writer.sent
            self._lane.meter.count(LANE, HTTP1, status, cache, about, fields.host, line.path)
            if self._lane.log is not None:
                self._record(line, fields, status, writer.sent, began, cache, about)
        if writer.ends:
            more = self._at < len(self._held) or (body is not None and body.left > 0)
            self._end(linger=not fields.closes or more)
        else:
            self._schedule()

    # Ends.

    def _schedule(self) -> None:
        self._scheduled = True
        self._lane.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Go on with what is held, if the client reads."""
        self._scheduled = False
        if self._ended or not self._room:
            return
        self._busy = False
        if self._at < len(self._held):
            self._turn()
        elif self._eof:
            self._end(linger=False)
        else:
            self._held, self._at, self._partial = b"", 0, False
            self._since = monotonic()
            if self._lane.retiring:
                self._end()
        if not self._reading and not self._eof and not self._ended and not self._busy:
            self._reading = True
            self._transport.resume_reading()

    def _write(self, out: list[bytes]) -> None:
        # Not writelines(): until 3.13.2 CPython forgot to pause the protocol there, and the buffer grew without bound.
        if out:
            self._transport.write(b"".join(out))
            out.clear()

    def _end(self, linger: bool = True) -> None:
        """Answer nothing more, and close: at once, or when the client has seen that we did."""
        self._ended = True
        self._held, self._at = b"", 0
        if not linger or self._eof or not self._transport.can_write_eof():
            self._transport.close()
            return
        if not end_writing(self._transport):
            return
        self._since = monotonic()
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def _hand_over(self, start: int, out: list[bytes]) -> None:
        """Give the connection to the handler, with every byte that has not been answered."""
        self._at = start
        self._write(out)
        if not self._room:
            return  # the new protocol would not know that it is paused: first what is written has to leave
        self._ended = True
        transport, rest = self._transport, self._held[start:]
        self._held = b""
        if not self._reading:
            transport.resume_reading()
        self._lane.hand_over(self)
        hand_over(self._lane, transport, self._client, self._handler, rest, self._eof)

    def _refuse(self, status: int, out: list[bytes]) -> None:
        """Answer what never became a request of ours, and close."""
        head_only = self._line.startswith(b"HEAD ")
        out.append(refusal(status, self._lane.dated(), head_only))
        self._lane.meter.count(LANE, HTTP1, status, "", NOTHING)
        self._write(out)
        if self._lane.log is not None:
            log_refusal(self._lane.log, self._client, status)
        self._end()

    def _failed(self, error: Exception, begun: bool) -> None:
        """A task failed: 500 if the answer has not begun; else cut, for what was sent must not look like the whole."""
        if isinstance(error, ForgejoError):
            logger.warning("a response stream was aborted: %s", error)
        else:
            logger.error("internal error in the lane on %s", shown(self._line), exc_info=error)
        if begun or self._ended:
            self._transport.abort()
        else:
            self._transport.write(refusal(500, self._lane.dated(), self._line.startswith(b"HEAD ")))
            self._end()

    def _record(
        self, line: RequestLine, fields: Fields, status: int, nbytes: int, began: float, cache: str, about: About
    ) -> None:
        log_answer(self._lane, self._client, self._secure, line, fields, status, nbytes, began, cache, about)

    def _fault(self, out: list[bytes]) -> None:
        """Something of ours is wrong: say so, close, and never let another try what we could not judge."""
        logger.exception("internal error in the lane on %s", shown(self._line))
        self._lane.faults += 1
        try:
            if self._ended:
                self._transport.abort()
            else:
                self._refuse(500, out)
        except Exception:
            self._transport.abort()
