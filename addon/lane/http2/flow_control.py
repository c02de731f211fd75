# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Flow control (RFC 9113 §5.2) of what goes to the client: frames that are ready, bodies that wait for window and turn.

Bodies are cut into frames only when they are about to be written, so that what has become more urgent meanwhile need
not wait for what was cut before it.
"""

from collections.abc import Callable, Iterable
from typing import cast

from addon.lane.http2 import frames
from addon.lane.http2.frames import (
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEAD_SIZE,
    MAX_FRAME,
    MAX_WINDOW,
    ConnectionFault,
    ErrorCode,
    StreamFault,
    frame_head,
)
from addon.lane.http2.priorities import Scheduler
from addon.lane.http2.streams import Stream

RUN_FRAME = MAX_FRAME - HEAD_SIZE
"""Bytes in each frame of a long run: with its head it is the content of a TLS record."""


class Outgoing:
    """State: what is to be written, the client's windows, and whose turn it is.

    out: to be written, in order. window: bytes of DATA that the client takes on all streams. initial_window: of a new
    stream.
    """

    __slots__ = ("_over", "_taken", "initial_window", "out", "turns", "window")

    def __init__(self, over: Callable[[Stream], None], taken: Callable[[Stream], None]) -> None:
        """over: told of a stream whose last piece was cut. taken: of one whose piece was, and that has another."""
        self._over = over
        self._taken = taken
        self.out: list[bytes | memoryview] = []
        self.window = DEFAULT_WINDOW
        self.initial_window = DEFAULT_WINDOW
        self.turns = Scheduler()

    def block(self, number: int, block: bytes, flags: int) -> None:
        """A whole header block, in as many frames as it takes."""
        if len(block) <= MAX_FRAME:
            self.out += (frame_head(frames.HEADERS, flags | END_HEADERS, number, len(block)), block)
            return
        for at in range(0, len(block), MAX_FRAME):
            part = block[at : at + MAX_FRAME]
            last = END_HEADERS if at + MAX_FRAME >= len(block) else 0
            kind, flags = (frames.CONTINUATION, 0) if at else (frames.HEADERS, flags)
            self.out += (frame_head(kind, flags | last, number, len(part)), part)

    def put(self, stream: Stream, data: bytes | memoryview, ends: bool) -> None:
        """A piece of a body; the one before was taken."""
        stream.body, stream.at, stream.ends = data, 0, ends
        self.queue(stream)

    def queue(self, stream: Stream) -> None:
        """Give a stream its turn, if it has something to send and may."""
        if not stream.queued and stream.pending and (stream.window > 0 or stream.at == len(stream.body)):
            stream.queued = True
            self.turns.add(stream)

    def unqueue(self, stream: Stream) -> None:
        if stream.queued:
            stream.queued = False
            self.turns.remove(stream)

    def widen(self, increment: int) -> None:
        """The client takes so many bytes more."""
        if not increment:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window that grows by nothing")
        self.window += increment
        if self.window > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")

    def widen_stream(self, stream: Stream, increment: int) -> None:
        """The client takes so many bytes more of one stream."""
        if not increment:
            raise StreamFault(stream.id, ErrorCode.PROTOCOL_ERROR, "a window that grows by nothing")
        stream.window += increment
        if stream.window > MAX_WINDOW:
            raise StreamFault(stream.id, ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
        self.queue(stream)

    def resize(self, initial: int, streams: Iterable[Stream]) -> None:
        """Change the windows of all streams (§6.9.2); they may become less than nothing."""
        delta, self.initial_window = initial - self.initial_window, initial
        for stream in streams:
            stream.window += delta
            if stream.window > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
            self.queue(stream)

    @property
    def sending(self) -> bool:
        """Whether a body could go on now."""
        if not self.turns:
            return False
        first = cast(Stream, self.turns.first())
        return self.window > 0 or first.at == len(first.body)

    def pump(self, most: int) -> int:
        """Cut so many bytes of bodies, as far as windows allow; returns how many it were."""
        sent, turns = 0, self.turns
        while turns and sent < most:
            stream = cast(Stream, turns.first())
            left = len(stream.body) - stream.at
            size = min(left, stream.window, self.window)
            if size <= 0 and left:
                if stream.window > 0:
                    break  # it is the connection's window that is full
                self.unqueue(stream)
                continue
            if size > MAX_FRAME:
                room = min(turns.room(stream), most - sent)
                size = min(size, max(MAX_FRAME, room - room % RUN_FRAME))
            ends = stream.ends and size == left
            self._cut(stream, size, END_STREAM if ends else 0)
            stream.sent += size
            stream.window -= size
            self.window -= size
            sent += size + HEAD_SIZE * (1 + size // MAX_FRAME)
            if size < left:
                turns.sent(stream, size)
                continue
            self.unqueue(stream)
            stream.body, stream.at = b"", 0
            if ends:
                self._over(stream)
            else:
                self._taken(stream)
        return sent

    def _cut(self, stream: Stream, size: int, flags: int) -> None:
        """Cut so much of a body into frames. flags: of the last one."""
        out, at = self.out, stream.at
        stream.at += size
        if size > MAX_FRAME:
            if not isinstance(stream.body, memoryview):
                stream.body = memoryview(stream.body)
            body, head = stream.body, frame_head(frames.DATA, 0, stream.id, RUN_FRAME)
            while size > MAX_FRAME:
                out += (head, body[at : at + RUN_FRAME])
                at += RUN_FRAME
                size -= RUN_FRAME
        head = frame_head(frames.DATA, flags, stream.id, size)
        if size == len(stream.body):
            out += (head, stream.body)
        else:
            if not isinstance(stream.body, memoryview):
                stream.body = memoryview(stream.body)
            out += (head, stream.body[at : at + size])
