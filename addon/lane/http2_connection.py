# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One connection of HTTP/2: the protocol on a socket, and its time.

Bodies are cut into frames only as fast as the socket takes them, and what the kernel may hold unsent is bounded, so
that what is urgent does not wait behind what is not. While the socket takes nothing, nothing is read of what is held
either: a client gets no more work done than it takes the answers of.
"""

import asyncio
import contextlib
import logging
import socket
from time import monotonic

from addon.lane.http2.frames import MAX_FRAME, ConnectionFault, ErrorCode
from addon.lane.http2.protocol import TURN_ANSWERS
from addon.lane.http2_answering import Http2Answering
from addon.lane.lane import Lane
from addon.lane.send_queue import end_writing, unacknowledged
from addon.net.tls_transport import shown_names

logger = logging.getLogger(__name__)

PUMP_BYTES = 256 * 1024
"""Bytes of bodies that are cut at one time, and written until others have their turn."""
PIECE_FRAMES = 4
"""Frames of bodies that are encrypted and written at one time: what stays in the processor's caches on that way."""
PIECE_ANSWERS = 16
"""Requests that are answered before the answers are written: about a TLS record of small files."""
TURN_SECONDS = 0.001
"""How long requests are dealt with until others have their turn. One request takes at most about as long."""
UNSENT = 512 * 1024
"""Bytes that the kernel may hold unsent: what is urgent waits behind these."""
LINGER = 2.0
FAREWELL_SECONDS = 1.0
"""How long the answer to our last PING may take, until what is on its way has come."""


class Http2Connection(asyncio.BufferedProtocol):
    """A client's connection."""

    __slots__ = (
        "_answering",
        "_client",
        "_closing",
        "_ended",
        "_eof",
        "_farewell",
        "_lane",
        "_lost",
        "_partial_since",
        "_progress",
        "_protocol",
        "_reading",
        "_room",
        "_scheduled",
        "_since",
        "_transport",
    )

    def __init__(self, lane: Lane, transport: asyncio.Transport, client: str, secure: bool) -> None:
        """A connection that speaks HTTP/2 from now on. secure: over TLS."""
        now = monotonic()
        self._lane = lane
        self._transport = transport
        self._client = client
        self._answering = Http2Answering(lane, client, secure, shown_names(transport), self._task_flush)
        self._protocol = self._answering.protocol
        self._room = True
        self._reading = True
        self._scheduled = False
        self._eof = False
        self._lost = False
        self._closing = False
        self._ended = 0
        self._since = self._partial_since = now
        self._farewell = 0.0
        self._progress = (0, 0)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        transport.set_protocol(self)
        if lane.retiring:
            self._protocol.warn()
        self._flush()

    # What the transport calls.

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._lane.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received(bytes(self._lane.buffer[:nbytes]))

    def received(self, data: bytes) -> None:
        """What arrived."""
        protocol = self._protocol
        if protocol.closed:
            return
        if self._scheduled or not self._room:
            protocol.hold(data)
            if protocol.held >= self._lane.most_held and self._reading:
                self._reading = False
                self._transport.pause_reading()
            return
        self._turn(data)

    def eof_received(self) -> bool:
        self._eof = True
        return bool(self._protocol.streams)  # half-closed: what was asked is still answered

    def pause_writing(self) -> None:
        self._room = self._protocol.room = False

    def resume_writing(self) -> None:
        self._room = self._protocol.room = True
        if not (self._scheduled or self._lost):
            self._turn(b"")

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self._protocol.close()
        self._protocol.out.clear()
        self._lane.forget(self, self._client)

    # What the lane calls.

    @property
    def busy(self) -> bool:
        """As `Connected`."""
        return bool(self._protocol.streams) or self._transport.get_write_buffer_size() > 0

    def warn(self) -> None:
        """As `Connected`."""
        self._protocol.warn()
        self._flush()

    def retire(self) -> None:
        """As `Connected`."""
        self._protocol.finish()
        self._flush()

    @property
    def idle_since(self) -> float | None:
        """Since when nothing is under way; None where something is."""
        return None if self.busy else self._since

    def abort(self) -> None:
        """As `Connected`."""
        self._transport.abort()

    def check(self, now: float) -> None:
        """As `Connected`."""
        lane, transport, protocol = self._lane, self._transport, self._protocol
        if transport.get_write_buffer_size() or protocol.closed:
            progress = (protocol.requests, unacknowledged(transport))
            if progress != self._progress:
                self._progress = progress
                self._since = now
            elif now - self._since > (LINGER if protocol.closed else lane.stall_timeout):
                transport.abort()
            return
        if protocol.partial or not protocol.settled:
            if now - self._partial_since > lane.header_timeout:
                code = ErrorCode.PROTOCOL_ERROR if protocol.partial else ErrorCode.SETTINGS_TIMEOUT
                protocol.fail(ConnectionFault(code, "what the client has begun it does not end"))
        else:
            self._partial_since = now
        protocol.tend(now)
        for stream in list(protocol.streams.values()):
            self._answering.check(stream, now)
        if protocol.warned and not protocol.ending:
            self._farewell = self._farewell or now
            if now - self._farewell > FAREWELL_SECONDS:
                protocol.finish()
        if protocol.streams or self._answering.ended != self._ended:
            self._since = now
            self._ended = self._answering.ended
        elif now - self._since > lane.idle_timeout:
            protocol.finish()
        self._flush()

    # Turns.

    def _turn(self, data: bytes) -> None:
        """Deal with what arrived and what is held, until the turn is over."""
        lane, protocol = self._lane, self._protocol
        now = monotonic()
        if now >= lane.date_until:
            lane.tell_time(now)
        asked, end = protocol.requests, now + TURN_SECONDS

        def expired() -> bool:
            return monotonic() > end

        try:
            more = protocol.receive(data, now, PIECE_ANSWERS, expired)
            left = TURN_ANSWERS - protocol.turn_answers
            while more and left > 0 and self._room and protocol.out and not expired():
                self._write()  # what the client decodes while we go on
                more = protocol.receive(b"", now, PIECE_ANSWERS, expired)
                left -= protocol.turn_answers
        except Exception:
            logger.exception("the lane failed on a connection over HTTP/2")
            lane.faults += 1
            protocol.fail(ConnectionFault(ErrorCode.INTERNAL_ERROR, "a fault of ours"))
            more = False
        if protocol.requests != asked:
            self._since = now
            if protocol.requests >= lane.most_requests > 0:
                protocol.warn()
        if not protocol.partial:
            self._partial_since = now
        self._flush(more)
        if not self._reading and not protocol.closed and protocol.held < lane.most_held:
            self._reading = True
            self._transport.resume_reading()

    def _flush(self, more: bool = False) -> None:
        """Write what is ready, and go on later if there is more. more: frames are held that wait for their turn."""
        protocol, out = self._protocol, self._protocol.out
        if self._room and protocol.sending and protocol.pump(PUMP_BYTES) > PIECE_FRAMES * MAX_FRAME:
            self._write_pieces()
        elif out:
            self._write()
        if protocol.closed:
            self._close()
        elif self._room and (more or protocol.sending):
            if not self._scheduled:
                self._scheduled = True
                self._lane.loop.call_soon(self._go_on)
        elif (protocol.ending or self._eof) and not protocol.streams:
            protocol.close()
            self._close()

    def _write(self) -> None:
        # Not writelines(): until 3.13.2 CPython forgot to pause the protocol there.
        out = self._protocol.out
        data = b"".join(out)
        out.clear()
        self._transport.write(data)

    def _write_pieces(self) -> None:
        """The same for bodies, whose frames are two parts each."""
        out = self._protocol.out
        parts = out.copy()
        out.clear()
        for at in range(0, len(parts), 2 * PIECE_FRAMES):
            self._transport.write(b"".join(parts[at : at + 2 * PIECE_FRAMES]))

    def _task_flush(self) -> None:
        """A task has something to send, or has ended."""
        if not self._lost:
            self._flush()

    def _go_on(self) -> None:
        self._scheduled = False
        if self._room and not self._lost:
            self._turn(b"")

    def _close(self) -> None:
        """Close, when the client has seen why."""
        if self._lost or self._closing:
            return
        self._closing = True
        fault = self._protocol.fault
        if fault is not None and fault.code is ErrorCode.ENHANCE_YOUR_CALM:
            logger.info("a connection of %s was ended: %s", self._client, fault)
        if self._eof or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._since = monotonic()
        if not end_writing(self._transport):
            return
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
