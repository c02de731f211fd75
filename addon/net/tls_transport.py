# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""TLS between a socket and a protocol of ours: a transport to the one above, a protocol to the one below. No mitmproxy.

asyncio's own keeps 256 KiB for each connection, and ends a connection when the client says that nothing more comes,
although an answer is under way. Here nothing is kept between two reads but what OpenSSL keeps, and a half-closed
connection is answered. The protocol above is told of its connection before the handshake, so that it is counted and
timed from the first moment; when the handshake is done, it hears `secured`.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

from addon.net.certificates import ShownNames
from addon.net.client_hello import Reading, offered_protocols

RECORD = 16 * 1024 + 512
"""Bytes read from the socket at one time: about a TLS record. OpenSSL's buffers never shrink again."""
PIECE = 80 * 1024
"""Bytes that are encrypted and sent at one time: what stays in the processor's caches on that way."""


class Secured(Protocol):
    """What the first protocol above must know besides what asyncio asks for."""

    def secured(self, alpn: str | None) -> None:
        """The handshake is done. alpn: the protocol that was agreed upon."""


class SecureTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """One connection. State: OpenSSL's, and who is above and below."""

    __slots__ = (
        "_above",
        "_below",
        "_buffer",
        "_buffered",
        "_closing",
        "_eof",
        "_eof_told",
        "_full",
        "_hello",
        "_incoming",
        "_kept",
        "_outgoing",
        "_paused",
        "_reading",
        "_ready",
        "_sent_end",
        "_ssl",
        "_stuffed",
        "_tickets",
        "_timer",
    )

    def __init__(
        self,
        above: asyncio.BaseProtocol,
        context: ssl.SSLContext,
        buffer: memoryview,
        outgoing: ssl.MemoryBIO,
        handshake_timeout: float,
    ) -> None:
        """above: a protocol that is `Secured` too. buffer: where to read to, RECORD bytes. outgoing: OpenSSL fills it.
        All connections of a loop may share both, because they are read out before anybody else can be called.
        handshake_timeout: seconds.
        """
        super().__init__()
        self._buffer = buffer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = outgoing
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._below: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else is called
        self._timer: asyncio.TimerHandle | None = asyncio.get_running_loop().call_later(
            handshake_timeout, self._too_slow
        )
        self._hello: bytes | None = b""  # the client's, until it is complete
        self._kept = b""  # what is sent with what follows it
        self._tickets = b""  # the session tickets, while they are all of that
        self._ready = False  # the handshake is done
        self._paused = False  # the one above wants nothing more
        self._reading = False  # it is being given something: what it asks for meanwhile is not for a second one to do
        self._eof = False  # nothing more comes from the socket
        self._eof_told = False
        self._sent_end = False  # our close_notify is sent
        self._closing = False
        self._full = False  # the client does not take what we send
        self._stuffed = False  # nor the answers to its key updates: until it does, nothing is read
        self.set_protocol(above)

    # What the socket's transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._below = cast(asyncio.Transport, transport)
        self._above.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._incoming.write(self._buffer[:nbytes])
        if self._hello is not None and not self._heard(bytes(self._buffer[:nbytes])):
            return
        self._read()

    def _heard(self, data: bytes) -> bool:
        """Whether the client's hello is complete; then what it offers is noted for who chooses the certificate."""
        assert self._hello is not None
        self._hello += data
        offered = offered_protocols(self._hello)
        if offered is Reading.INCOMPLETE:
            return False
        self._hello = None
        if not isinstance(offered, Reading):
            self._ssl.offered = offered  # type: ignore[attr-defined]  # what `ssl` does not tell
        return True

    def eof_received(self) -> bool:
        # OpenSSL is not told: it would take the whole connection for broken, also what is still to be sent.
        self._eof = True
        self._read()
        return True  # closing is for `close`; until then what was asked is answered

    def pause_writing(self) -> None:
        self._full = True
        self._above.pause_writing()

    def resume_writing(self) -> None:
        self._full = False
        if self._stuffed:
            self._stuffed = False
            if not (self._paused or self._closing):
                self._below.resume_reading()
        self._above.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._end_timer()
        self._above.connection_lost(error)

    # Reading.

    def _read(self) -> None:
        """Give the one above what can be read, until that is all, or it wants no more."""
        if self._reading or self._paused or self._closing:
            return
        self._reading = True
        try:
            if self._ready or self._shaken():
                self._give()
        except ssl.SSLWantReadError:
            if self._eof:
                self._broken()
        except ssl.SSLError:
            self._broken()
        except BaseException:
            self._outgoing.read()
            self._kept = b""
            self._below.abort()
            raise
        finally:
            self._reading = False
            if self._kept and self._kept is not self._tickets:
                self._send_kept()

    def _shaken(self) -> bool:
        """Whether the handshake is done, after another step of it; raises SSLError where it fails."""
        try:
            self._ssl.do_handshake()
        finally:
            self._flush()
        if self._ssl.version() == "TLSv1.3":
            self._tickets = self._kept  # nobody waits for them: they go with the first answer, in one packet
        self._ready = True
        self._ssl.offered = None  # type: ignore[attr-defined]  # as above
        self._end_timer()
        cast(Secured, self._above).secured(self._ssl.selected_alpn_protocol())
        return True

    def _give(self) -> None:
        incoming = self._incoming
        while not (self._paused or self._closing or self._eof_told):
            # Asking OpenSSL for what is not there costs an exception.
            more = incoming.pending or self._ssl.pending()
            if not (more or self._eof):
                return
            above = self._above
            try:
                if not more:
                    pass
                elif self._buffered:
                    room = cast(memoryview, cast(asyncio.BufferedProtocol, above).get_buffer(-1))
                    nbytes = self._ssl.read(len(room), cast(Any, room))
                    if self._outgoing.pending:
                        self._answer_update()
                    if nbytes:
                        cast(asyncio.BufferedProtocol, above).buffer_updated(cast(int, nbytes))
                        continue
                else:
                    data = self._ssl.read(RECORD)
                    if self._outgoing.pending:
                        self._answer_update()
                    if data:
                        cast(asyncio.Protocol, above).data_received(data)
                        continue
            except ssl.SSLWantReadError:
                if self._outgoing.pending:
                    self._answer_update()
                if not self._eof:
                    return
            except ssl.SSLZeroReturnError:
                if self._outgoing.pending:
                    self._answer_update()
            # close_notify, or the connection's end without it; no request here is ended by either, so both are the same
            self._eof_told = True
            if not cast(asyncio.Protocol, self._above).eof_received():
                self.close()

    def _answer_update(self) -> None:
        """Send what OpenSSL has to say to a key update."""
        if self._closing or self._sent_end:
            self._outgoing.read()
            return
        self._flush()
        self._send_kept()
        if self._full and not self._eof:
            self._stuffed = True
            self._below.pause_reading()

    def _broken(self) -> None:
        """What came is not TLS, or not as we want it: say so, and close."""
        self._closing = True
        self._end_timer()
        self._flush()  # the alert
        self._send_kept()
        self._below.close()

    def _too_slow(self) -> None:
        self._timer = None
        self._closing = True
        self._below.abort()

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        """Send what OpenSSL has written."""
        if self._outgoing.pending:
            self._send(self._outgoing.read())

    def _send(self, data: bytes) -> None:
        """Send, after what was kept. What is no record long, while something is being read, is kept until that is over:
        who closes after an answer says so in the same packet.
        """
        if self._kept:
            data = self._kept + data
        if self._reading and len(data) < RECORD:
            self._kept = data
        else:
            self._kept = b""
            self._below.write(data)

    def _send_kept(self) -> None:
        if self._kept:
            data, self._kept = self._kept, b""
            self._below.write(data)

    # What the one above calls.

    def write(self, data: Any) -> None:
        """As `asyncio.WriteTransport.write`."""
        if self._closing or self._sent_end or not data:
            return
        session, outgoing = self._ssl, self._outgoing
        try:
            if len(data) <= PIECE:
                session.write(data)
                self._send(outgoing.read())
                return
            view = memoryview(data)
            at, size = 0, len(data)
            while at < size:
                at += session.write(cast(bytes, view[at : at + PIECE]))
                self._send(outgoing.read())
        except ssl.SSLError:  # before the handshake, or after a fault: there is nobody to send it to
            outgoing.read()
            self.abort()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Say that nothing more comes; what the client sends is still read. Before the handshake is done, `close`."""
        if not self._ready:
            self.close()  # the handshake could not go on
        if self._closing or self._sent_end:
            return
        self._say_end()
        self._send_kept()
        self._below.write_eof()

    def close(self) -> None:
        """As `asyncio.BaseTransport.close`. It does not wait for the client's close_notify (RFC 8446 §6.1)."""
        if self._closing:
            return
        self._say_end()
        self._send_kept()
        self._closing = True
        self._end_timer()
        self._below.close()

    def _say_end(self) -> None:
        """Send close_notify, once."""
        if not self._ready or self._sent_end:
            return
        self._sent_end = True
        with contextlib.suppress(ssl.SSLError, OSError):  # it would like to read the client's
            self._ssl.unwrap()
        self._flush()

    def abort(self) -> None:
        self._kept = b""
        self._closing = True
        self._end_timer()
        self._below.abort()

    def is_closing(self) -> bool:
        return self._closing or self._below.is_closing()

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        self._paused = True
        self._below.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self._closing:
            self._paused = False
            self._below.resume_reading()
            # Not at once: who calls this may be in the middle of dealing with what came before.
            asyncio.get_running_loop().call_soon(self._read)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._above = protocol
        self._buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._above

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As asyncio's. No `sslcontext`: asyncio's streams would take it for one that cannot be half-closed."""
        return self._ssl if name == "ssl_object" else self._below.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self._below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._below.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below.set_write_buffer_limits(high, low)


def shown_names(transport: asyncio.BaseTransport) -> ShownNames | None:
    """For which hosts a connection may be used; None where it may for all: it has no TLS, or one certificate."""
    shown: ShownNames | None = getattr(transport.get_extra_info("ssl_object"), "shown", None)
    return shown


def secure(
    above: Callable[[], asyncio.BaseProtocol], context: ssl.SSLContext, handshake_timeout: float
) -> Callable[[], SecureTransport]:
    """A factory of protocols for `create_server`: those of `above`, over TLS."""
    buffer, outgoing = memoryview(bytearray(RECORD)), ssl.MemoryBIO()
    return lambda: SecureTransport(above(), context, buffer, outgoing, handshake_timeout)
