# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""HTTP/2 from a server's side as state and bytes: no socket, no clock, no task (as h11, and `resp/protocol`).

`receive` takes what arrived, tells `Answering` what was asked, and puts what is to be sent into `out`; `pump` adds as
much of the bodies as windows and turns allow. Whoever holds it writes `out`, and says the time. Most requests are the
same as one before but for their path, and their answers are prepared: those go from frame to answer in one pass, and
no stream is ever made.
"""

from collections.abc import Callable

from addon.lane.http2 import frame_forms, frames
from addon.lane.http2.abuse_limits import Budgets
from addon.lane.http2.answering import Answering
from addon.lane.http2.ended_streams import EndedStreams
from addon.lane.http2.flow_control import Outgoing
from addon.lane.http2.frames import (
    ACK,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HAS_PRIORITY,
    HEAD_SIZE,
    LAST_STREAM,
    MAX_FRAME,
    PADDED,
    PREFACE,
    ConnectionFault,
    ErrorCode,
    StreamFault,
    unpack_head,
)
from addon.lane.http2.head_reader import HeadReader
from addon.lane.http2.header_decoder import CompressionFault
from addon.lane.http2.heads import Commons, Malformed, trailers
from addon.lane.http2.priorities import priority_of
from addon.lane.http2.streams import Stream

MOST_STREAMS = 100
"""Requests that a client may have under way; browsers like a hundred."""
TURN_ANSWERS = 100
TURN_BYTES = 256 * 1024
"""What one connection is answered before others have their turn."""
_MOST_CONTINUATIONS = 16
_FAREWELL = b"farewell"
_WHOLE = END_HEADERS | END_STREAM
_SMALL_DATA = 256
"""Bytes of a DATA frame below which it counts as one that does nothing, unless it is the last."""


class ServerProtocol:
    """One connection. State: the streams, windows and budgets, and what is held of a frame or a header block."""

    __slots__ = (
        "_answering",
        "_block",
        "_budgets",
        "_ended",
        "_expired",
        "_first",
        "_held",
        "_known_priorities",
        "_last_taken",
        "_most",
        "_most_block",
        "_now",
        "_outgoing",
        "_reader",
        "_taken",
        "_turn_streams",
        "closed",
        "ending",
        "fault",
        "last",
        "out",
        "requests",
        "room",
        "settled",
        "streams",
        "turn_answers",
        "turn_bytes",
        "warned",
    )

    def __init__(self, answering: Answering, commons: Commons, most_head: int, now: float) -> None:
        """most_head: bytes of a request's fields. now: seconds of any clock that goes forward."""
        self._answering = answering
        self._most_block = 2 * most_head
        self._now = now
        self._outgoing = Outgoing(self._over, answering.taken)
        self.out = self._outgoing.out
        """To be written, in order; to be emptied by who writes it."""
        self.room = True
        """Whether the client takes what is sent: if not, nothing is answered at once."""
        # From the client.
        self._held = b""
        self._first = True  # the preface, then SETTINGS, have to come
        self.settled = False
        """Whether our settings were acknowledged."""
        self._reader = HeadReader(commons, most_head)
        self._block: tuple[int, int, list[bytes]] | None = None  # a header block that goes on
        self._taken = 0  # of the connection's window, and not allowed anew
        self._budgets = Budgets(now)
        # Streams.
        self.streams: dict[int, Stream] = {}
        self.last = 0
        self.requests = 0
        self._ended = EndedStreams(MOST_STREAMS)
        self._known_priorities: dict[int, tuple[int, bool]] = {}
        self.turn_answers = 0
        self.turn_bytes = 0
        self._turn_streams = 0
        # The end.
        self.warned = False
        """A first GOAWAY was sent."""
        self.ending = False
        """The last GOAWAY was sent: what is asked from now on is not answered."""
        self._last_taken = LAST_STREAM
        self.closed = False
        """Nothing more is to be sent or received."""
        self.fault: ConnectionFault | None = None
        self.out.append(
            frames.settings(
                (
                    (frames.MAX_CONCURRENT_STREAMS, MOST_STREAMS),
                    (frames.MAX_HEADER_LIST_SIZE, most_head),
                    (frames.NO_RFC7540_PRIORITIES, 1),
                )
            )
        )

    # From the client.

    @property
    def partial(self) -> bool:
        """Whether something has begun that the client has to end: the preface, a frame, a header block."""
        return self._first or bool(self._held) or self._block is not None

    @property
    def held(self) -> int:
        """Bytes that are held."""
        return len(self._held)

    def receive(
        self, data: bytes, now: float, most: int = TURN_ANSWERS, expired: Callable[[], bool] = lambda: False
    ) -> bool:
        """What arrived, possibly nothing; returns whether what is held should be gone on with: its turn is over.

        most: requests that are answered at once. expired: whether a turn that began now has lasted long enough.
        """
        if self.closed:
            return False
        self._now, self._most, self._expired = now, most, expired
        self.turn_answers = self.turn_bytes = self._turn_streams = 0
        if self._held:
            data = self._held + data
            self._held = b""
        try:
            if self._first:
                if not data.startswith(PREFACE):
                    if PREFACE.startswith(data):
                        self._held = data
                        return False
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no preface of HTTP/2")
                if len(data) < len(PREFACE) + HEAD_SIZE:
                    self._held = data
                    return False
                if data[len(PREFACE) + 3] != frames.SETTINGS or data[len(PREFACE) + 4] & ACK:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS have to come first")
                self._first = False
                data = data[len(PREFACE) :]
            at = self._read(data)
            self._held = data[at:]
        except ConnectionFault as fault:
            self.fail(fault)
            return False
        if self.turn_answers:
            self._budgets.answered(self.turn_answers, self.turn_bytes, self.turn_answers - self._turn_streams)
        return bool(self._held) and (self._full or expired())

    def hold(self, data: bytes) -> None:
        """Keep what arrived for the next turn."""
        self._held += data

    @property
    def _full(self) -> bool:
        return self.turn_answers >= self._most or self.turn_bytes >= TURN_BYTES or not self.room

    def _read(self, data: bytes) -> int:
        """Deal with whole frames, as many as make a turn; returns where the rest begins."""
        at, end = 0, len(data)
        while end - at >= HEAD_SIZE and not self.closed:
            if self._full or (at and self._expired()):
                break
            size, flags, number = unpack_head(data, at)
            kind, size = size & 0xFF, size >> 8
            if size > MAX_FRAME:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame larger than was allowed")
            start = at + HEAD_SIZE
            stop = start + size
            if stop > end:
                break
            try:
                if flags == _WHOLE and (rest := self._answer_run(data, at, end)) > at:
                    at = rest
                    continue
                if kind == frames.HEADERS and self._block is None:
                    if flags & (PADDED | HAS_PRIORITY):
                        start, stop_block = frame_forms.unwrapped(data, start, stop, flags, number)
                        block = data[start:stop_block]
                    else:
                        block = data[start:stop]
                    if flags & END_HEADERS:
                        self._headers(number & LAST_STREAM, block, flags)
                    else:
                        self._block = (number & LAST_STREAM, flags, [block])
                else:
                    self._other(kind, flags, number & LAST_STREAM, data[start:stop])
            except StreamFault as fault:
                self._stream_fault(fault)
            except CompressionFault as error:
                raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)) from None
            at = stop
        return at

    # Requests.

    def _answer_run(self, data: bytes, at: int, end: int) -> int:
        """Answer requests that follow each other and are known, with their answers. Returns where the rest begins.

        This is most of the traffic. All others, and whatever is out of order, are for who comes after.
        """
        outgoing, last = self._outgoing, self.last
        if outgoing.turns or self._known_priorities or self._block is not None or self.ending:
            return at
        known, at_once, out, now = self._reader.known, self._answering.at_once, self.out, self._now
        answers, nbytes = self.turn_answers, self.turn_bytes
        window, initial = outgoing.window, outgoing.initial_window
        try:
            while end - at > HEAD_SIZE and answers < self._most and nbytes < TURN_BYTES:
                size, flags, number = unpack_head(data, at)
                stop = at + HEAD_SIZE + (size >> 8)
                if flags != _WHOLE or size & 0xFF != frames.HEADERS or stop > end:
                    break
                if number != last + 2 and (number != 1 or last):
                    break
                head = known(data[at + HEAD_SIZE : stop])
                if head is None:
                    break
                wire = at_once(head, window if window < initial else initial, now)
                if wire is None:
                    break
                pieces, size = wire
                out.append(data[at + 5 : at + HEAD_SIZE].join(pieces))
                window -= size
                nbytes += size
                answers += 1
                last, at = number, stop
        finally:
            outgoing.window = window
            self.requests += answers - self.turn_answers
            self.last, self.turn_answers, self.turn_bytes = last, answers, nbytes
        return at

    def _used(self, number: int) -> None:
        """A stream was opened; those between it and the last one never will be (§5.1.1)."""
        if number > self.last:
            if number > self.last + 2:
                self._ended.skip(self.last + 1, number - 1)
            self.last = number

    def _headers(self, number: int, block: bytes, flags: int) -> None:
        if number <= self.last or not number & 1:
            self._headers_again(number, block, flags)
            return
        try:
            head = self._reader.head(block)
        except Malformed as error:
            self._used(number)
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR, str(error)) from None
        self._used(number)
        if number > self._last_taken:
            return  # after our GOAWAY: it will be asked elsewhere (§6.8)
        ends = flags & END_STREAM
        self.requests += 1
        outgoing = self._outgoing
        if ends and head is not None and not outgoing.turns and not self._known_priorities:
            wire = self._answering.at_once(head, min(outgoing.window, outgoing.initial_window), self._now)
            if wire is not None:
                self.out.append(number.to_bytes(4, "big").join(wire.pieces))
                outgoing.window -= wire.size
                self.turn_answers += 1
                self.turn_bytes += wire.size
                return
        if len(self.streams) >= MOST_STREAMS:
            raise StreamFault(number, ErrorCode.REFUSED_STREAM, "more streams than were allowed")
        stream = Stream(number, head, not ends, outgoing.initial_window)
        if self._known_priorities and (said := self._known_priorities.pop(number, None)) is not None:
            stream.priority = said
        self.streams[number] = stream
        if ends and stream.left:
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR, "a body shorter than was said")
        self.turn_answers += 1
        self._turn_streams += 1  # whether it comes to anything, is not known yet
        self._answering.asked(stream)

    def _headers_again(self, number: int, block: bytes, flags: int) -> None:
        """Trailers, or what must not be."""
        headers = self._reader.decode(block)
        if not number & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream number that is the server's")
        stream = self.streams.get(number)
        if stream is None:
            if self._ended.is_expected(number):
                self._budgets.spend(self._now)
                self._ended.ended(number)
                return
            if self._ended.was_skipped(number):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream number lower than the one before")
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "a stream that is over")
        if not stream.receiving:
            raise StreamFault(number, ErrorCode.STREAM_CLOSED, "a request that is complete")
        if not flags & END_STREAM:
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR, "trailers that do not end the request")
        try:
            trailers(headers or [])
        except Malformed as error:
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR, str(error)) from None
        self._request_ended(stream)

    def _request_ended(self, stream: Stream) -> None:
        if stream.left:
            raise StreamFault(stream.id, ErrorCode.PROTOCOL_ERROR, "a body shorter than was said")
        stream.receiving = False
        if stream.wanted:
            self._answering.body_ended(stream)

    # Other frames.

    def _other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block is not None:
            self._continued(kind, flags, number, payload)
        elif kind == frames.DATA:
            self._data(flags, number, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._window_update(number, payload)
        elif kind == frames.SETTINGS:
            self._settings(flags, number, payload)
        elif kind == frames.RST_STREAM:
            self._rst_stream(number, payload)
        elif kind == frames.PING:
            self._ping(flags, number, payload)
        elif kind == frames.PRIORITY:
            self._priority(number, payload)
        elif kind == frames.PRIORITY_UPDATE:
            self._priority_update(number, payload)
        elif kind == frames.GOAWAY:
            frame_forms.goaway(number, payload)
            self._budgets.spend(self._now)
            self.warned = True  # it opens no streams any more, and we never do
        elif kind in (frames.CONTINUATION, frames.PUSH_PROMISE):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame that must not come here")
        else:
            self._budgets.spend(self._now)  # §4.1: unknown ones are ignored

    def _continued(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        assert self._block is not None
        opened, first_flags, parts = self._block
        frame_forms.continuation(kind, number, opened)
        parts.append(payload)
        too_long = sum(map(len, parts)) > self._most_block
        if too_long or len(parts) > _MOST_CONTINUATIONS:
            if too_long and number & 1 and self.last < number <= self._last_taken:
                self._refused(number)
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block that is too long")  # CVE-2024-27316
        if not payload:
            self._budgets.spend(self._now)
        if flags & END_HEADERS:
            self._block = None
            self._headers(number, b"".join(parts), first_flags)

    def _refused(self, number: int) -> None:
        """Answer a request whose head is too long even to be unpacked; the connection ends with it.

        Who only has too many cookies, and perhaps from a neighbour, must hear of it, and be told to forget them.
        """
        self._block = None
        self._used(number)
        self.requests += 1
        self.streams[number] = stream = Stream(number, None, True, self._outgoing.initial_window)
        self._answering.asked(stream)
        self.pump(TURN_BYTES)

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        if not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on no stream")
        self._taken += size
        if self._taken >= DEFAULT_WINDOW // 2:  # whoever's it is, it is not kept here
            # So more than a frame's size is always left of it, and no frame can exceed it.
            self.out.append(frames.window_update(0, self._taken))
            self._taken = 0
        if size < _SMALL_DATA and not flags & END_STREAM:
            self._budgets.spend(self._now)
        if flags & PADDED:
            payload = frame_forms.unpadded(payload)
        stream = self.streams.get(number)
        if stream is None:
            if number > self.last:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on a stream that is not open")
            if self._ended.is_expected(number) or number > self._last_taken:
                if flags & END_STREAM:
                    self._ended.ended(number)
                return
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "DATA on a stream that is over")
        stream.take(size, len(payload))
        if stream.wanted:
            stream.taken += size
            if stream.taken >= DEFAULT_WINDOW // 2 and not flags & END_STREAM:
                self.out.append(frames.window_update(number, stream.taken))
                stream.window_in += stream.taken
                stream.taken = 0
            if payload:
                self._answering.body(stream, payload)
        if flags & END_STREAM and number in self.streams:
            self._request_ended(stream)

    def _window_update(self, number: int, payload: bytes) -> None:
        increment = frame_forms.window_update(payload)
        self._budgets.spend(self._now)
        if not number:
            self._outgoing.widen(increment)
            return
        stream = self.streams.get(number)
        if stream is None:
            if number > self.last:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE on a stream that is not open")
            return
        self._outgoing.widen_stream(stream, increment)

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        frame_forms.settings(flags, number, payload)
        self._budgets.spend(self._now)
        if flags & ACK:
            self.settled = True
            return
        self._budgets.spend(self._now, len(payload) / 60)
        initial = frames.initial_window(payload, self._outgoing.initial_window)
        if initial != self._outgoing.initial_window:
            self._budgets.spend(self._now, len(self.streams) / 10)
            self._outgoing.resize(initial, self.streams.values())
        self.out.append(frames.SETTINGS_ACK)

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        frame_forms.ping(number, payload)
        self._budgets.spend(self._now)
        if not flags & ACK:
            self.out.append(frames.ping(payload, ack=True))
        elif payload == _FAREWELL and self.warned:
            self.finish()

    def _rst_stream(self, number: int, payload: bytes) -> None:
        frame_forms.rst_stream(payload)
        if not number or number > self.last:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "RST_STREAM of a stream that is not open")
        self._budgets.spend(self._now)
        self._ended.closed(number)
        stream = self.streams.get(number)
        if stream is not None:
            self._drop(stream)
            self._budgets.failed(self._now)
            self._answering.gone(stream)

    def _priority(self, number: int, payload: bytes) -> None:
        """Of RFC 7540, which we said we do not use; checked all the same."""
        self._budgets.spend(self._now)
        frame_forms.priority(number, payload, self.last)

    def _priority_update(self, number: int, payload: bytes) -> None:
        """RFC 9218 §7.1"""
        about = frame_forms.priority_update(number, payload)
        self._budgets.spend(self._now)
        priority = priority_of(payload[4:])
        stream = self.streams.get(about)
        if stream is not None:
            queued = stream.queued
            self._outgoing.unqueue(stream)
            stream.priority = priority
            if queued:
                self._outgoing.queue(stream)
        elif about > self.last and len(self._known_priorities) < MOST_STREAMS:
            self._known_priorities[about] = priority

    # Ends of streams.

    def _stream_fault(self, fault: StreamFault) -> None:
        stream = self.streams.get(fault.stream)
        self._ended.reset(fault.stream)
        self.out.append(frames.rst_stream(fault.stream, fault.code))
        if stream is not None:
            self._drop(stream)
            self._answering.gone(stream)
        self._budgets.failed(self._now)

    def _drop(self, stream: Stream) -> None:
        self._outgoing.unqueue(stream)
        stream.body, stream.at, stream.ends = b"", 0, False
        del self.streams[stream.id]

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Give a stream up; whoever answers is not told."""
        if self.streams.get(stream.id) is stream:
            self._drop(stream)
            self._ended.reset(stream.id)
            self.out.append(frames.rst_stream(stream.id, code))

    # To the client.

    def interim(self, stream: Stream, block: bytes) -> None:
        """Send the head of an interim answer (100 Continue)."""
        self._outgoing.block(stream.id, block, 0)

    def respond(self, stream: Stream, block: bytes, body: bytes | memoryview = b"", *, ends: bool = True) -> None:
        """Begin the answer. body: all of it, or the first piece. ends: whether that is all."""
        stream.responding = True
        bodiless = ends and not body
        self._outgoing.block(stream.id, block, END_STREAM if bodiless else 0)
        if bodiless:
            self._over(stream)
        elif body:
            self._outgoing.put(stream, body, ends)

    def put(self, stream: Stream, data: bytes | memoryview, *, ends: bool = False) -> None:
        """Send a piece of a body when it has its turn; the one before was taken. Nothing, with `ends`, is the end."""
        self._outgoing.put(stream, data, ends)

    @property
    def sending(self) -> bool:
        """Whether a body could go on now, if there is room."""
        return self._outgoing.sending

    def pump(self, most: int) -> int:
        """Put so many bytes of bodies into `out`, as far as windows allow; returns how many it were."""
        sent = self._outgoing.pump(most)
        self._budgets.sent(sent)
        return sent

    def _over(self, stream: Stream) -> None:
        """The answer is sent. A request that is not complete by then is of no interest any more (§8.1)."""
        self._budgets.over()
        self._drop(stream)
        if stream.receiving:
            too_many = self._ended.linger(stream.id, self._now)
            if too_many is not None:
                self.out.append(frames.rst_stream(too_many, ErrorCode.NO_ERROR))
        self._answering.done(stream)

    def tend(self, now: float) -> None:
        """To be called every second or so: requests that were answered before they were complete are ended."""
        self._now = now
        for number in self._ended.due(now):
            self.out.append(frames.rst_stream(number, ErrorCode.NO_ERROR))

    # The end.

    def warn(self) -> None:
        """Say that the end is near: what is on its way is still answered (§6.8)."""
        if not self.warned and not self.closed:
            self.warned = True
            # In this order and in one write: some clients take what follows a GOAWAY for an error.
            self.out += (frames.ping(_FAREWELL), frames.goaway(LAST_STREAM, ErrorCode.NO_ERROR))

    def finish(self) -> None:
        """Answer what has been asked, and nothing that is asked from now on."""
        if not self.ending and not self.closed:
            self.warned = self.ending = True
            self._last_taken = self.last
            self.out.append(frames.goaway(self.last, ErrorCode.NO_ERROR))

    def fail(self, fault: ConnectionFault) -> None:
        """End the connection, and say why."""
        if self.closed:
            return
        self.fault = fault
        self.out.append(frames.goaway(self.last, fault.code))
        self.close()

    def close(self) -> None:
        """Nothing is sent or received any more; streams under way are given up."""
        self.closed = True
        self._held, self._block = b"", None
        for stream in (streams := list(self.streams.values())):
            self._drop(stream)
        for stream in streams:
            self._answering.gone(stream)
