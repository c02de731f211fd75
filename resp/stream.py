# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One socket and the parser behind it: bytes in both directions before a deadline.

Plain sockets block and have their time limits in the kernel (SO_RCVTIMEO, SO_SNDTIMEO): `settimeout` would cost a
poll() before every send and recv. TLS must use `settimeout`, because Python's ssl module retries for ever when a
kernel limit strikes. Either way the deadline is that of the whole call: it is looked at between system calls, and the
limit of the next one is what is left. Surprising: which of the two it is, is asked of every single socket, since a
library that patches sockets (gevent, eventlet) may do so after this module was imported.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
import weakref
from time import monotonic
from typing import Any, Final

from resp.dial import kernel_limits, poller, reason, timeval
from resp.encoding import Request
from resp.endpoint import Endpoint
from resp.errors import ConnectionLost, Desynchronised, ProtocolError, Timeout
from resp.interruptions import MAIN, signals
from resp.protocol import LARGE_BUFFER, STEP, Parser
from resp.values import INCOMPLETE, Value

WAITALL: Final = getattr(socket, "MSG_WAITALL", 0)
DONTWAIT: Final = getattr(socket, "MSG_DONTWAIT", 0)
#: Pieces that one system call sends.
IOV_MAX: Final = 512

#: Messages that nobody asked for are kept on a connection up to this number, the newest.
_PUSHES_KEPT: Final = 256

_open: weakref.WeakSet[Stream] = weakref.WeakSet()


class Stream:
    """What `Connection` stands on. Deadlines are times of `time.monotonic()`, None for none.

    Raises Timeout, ConnectionLost and ProtocolError; to close is the business of the connection.
    """

    __slots__ = (
        "__weakref__",
        "_applied",
        "_held",
        "_kernel",
        "_large",
        "_poller",
        "endpoint",
        "exact",
        "parser",
        "socket",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.socket: socket.socket | None = None
        self.parser = Parser(max_bulk=endpoint.max_bulk, max_elements=endpoint.max_elements)
        # Whether the kernel's limits strike on this socket, and what they are set to (-1: nobody knows).
        self._kernel = False
        self._applied: float | None = -1.0
        self._poller: Any = None
        self._held: list[Value] = []
        # How long the header of a large string is; not 0 if the last reply was one, so that the next may be, too.
        self._large = 0
        #: The last bytes were received exactly: nobody knows whether more is waiting in the socket.
        self.exact = False

    def __del__(self) -> None:
        self.close()

    def _use(self, sock: socket.socket) -> None:
        """Talk over this socket from now on."""
        self.socket = sock
        self._kernel = kernel_limits(sock)
        self._poller = poller(sock)
        _open.add(self)

    def close(self) -> None:
        """Close the socket; safe to call twice. Never `shutdown`: a forked parent may still use the connection."""
        sock, self.socket = self.socket, None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()
            self.parser.give_up()

    @property
    def closed(self) -> bool:
        """True after `close`, after any error, and before `connect`."""
        return self.socket is None

    def fileno(self) -> int:
        """The descriptor of the socket, -1 when closed."""
        return -1 if self.socket is None else self.socket.fileno()

    def is_silent(self) -> bool:
        """True if nothing waits in the socket: no late reply, no end of the stream. Does not block."""
        sock = self.socket
        if sock is None:
            return False
        try:
            if isinstance(sock, ssl.SSLSocket):
                # What is readable may be a session ticket, which is no data.
                if not sock.pending() and not self._poller(0):
                    return True
                sock.settimeout(0)
                sock.recv(1)
                return False
            return not self._poller(0)
        except ssl.SSLWantReadError:
            return True
        except (OSError, ValueError):
            return False

    # ---- replies -------------------------------------------------------------------------------------------------

    def _remembered(self, reply: Value) -> Value:
        """The reply; what size it had is remembered for the next one."""
        large = type(reply) is bytes and LARGE_BUFFER < len(reply) <= STEP
        self._large = len(b"$%d\r\n" % len(reply)) if large else 0
        return reply

    def _another_large(self, deadline: float | None) -> Value:
        """The reply, if it is a string of about the size of the last one; also if it is not.

        The header is received alone, then the string straight into the object that the caller gets: `recv` neither
        copies nor clears its memory, which is what costs most of the time of a large value. The CRLF comes with
        whatever is behind it.
        """
        parser, view = self.parser, self.parser.view
        length = self._large
        count = self._receive_into(view[:length], deadline, 0)
        parser.take_over(count)
        digits = bytes(view[1 : count - 2])
        if count < length or view[0] != 36 or bytes(view[count - 2 : count]) != b"\r\n" or not digits.isdigit():
            return self._settle(self._read(deadline))
        size = int(digits)
        if not LARGE_BUFFER < size <= min(STEP, parser.max_bulk):
            return self._settle(self._read(deadline))
        try:
            value = self._prepare(deadline).recv(size, WAITALL)
        except BlockingIOError:
            raise self._timeout(True) from None
        if len(value) < size:
            parser.feed(value)
            if not value:
                raise ConnectionLost("the server closed the connection")
            return self._settle(self._read(deadline))
        count = self._receive_into(view, deadline, 0)
        if count == 1:
            count += self._receive_into(view[1:], deadline, 0)
        if bytes(view[:2]) != b"\r\n":
            raise ProtocolError("a string does not end with CRLF where its length says")
        parser.take_over(count)
        parser.pos = 2
        return self._settle(value)

    def _receive_rest(self, count: int, total: int, deadline: float | None) -> int:
        """Receive into the buffer, which has `count` bytes, until it has `total`."""
        view = self.parser.view
        limit = self._applied
        if not signals.handled and (deadline is None or limit is None or limit - deadline + monotonic() < 0.01 * limit):
            # No time was lost so far, so that the kernel's limit is right as it is; the usual case, spelt out.
            assert self.socket is not None
            count += self.socket.recv_into(view[count:total], 0, WAITALL)
        self.exact = True
        while count < total:
            with view[count:total] as rest:
                count += self._receive_into(rest, deadline)
        return count

    def _settle(self, reply: Value) -> Value:
        """Look at what came behind the reply: messages are put aside, anything else must not reach the next caller."""
        parser = self.parser
        while len(parser.pushes) > _PUSHES_KEPT:
            parser.pushes.popleft()
        if not parser.idle:
            extra = parser.get()
            if extra is not INCOMPLETE or not parser.idle:
                # Was it there before, is it an answer that was to come, is a part of the stream missing? Nobody
                # knows, so that the reply is not to be trusted either.
                raise Desynchronised("more was received than the reply that was asked for")
        return reply

    # ---- bytes ---------------------------------------------------------------------------------------------------

    def _limit(self, seconds: float | None) -> None:
        """Set the kernel's limits for the next system calls; None for no limit."""
        assert self.socket is not None
        packed = timeval(seconds)
        self._applied = -1.0
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, packed)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, packed)
        self._applied = seconds

    def _prepare(self, deadline: float | None, sent: bool = True) -> socket.socket:
        """The socket, its limit set to what is left; raises Timeout if nothing is."""
        sock = self.socket
        if sock is None:
            raise ConnectionLost("the connection is closed", maybe_executed=False)
        left = None if deadline is None else deadline - monotonic()
        if left is not None and left <= 0:
            raise self._timeout(sent)
        if not self._kernel:
            sock.settimeout(left)
        elif left is None or self._applied is None:
            if self._applied != left:
                self._limit(left)
        elif not -0.001 <= self._applied - left <= 0.01 * left:
            self._limit(left)
        return sock

    def _receive_into(self, room: memoryview, deadline: float | None, flags: int = WAITALL) -> int:
        """Receive at least one byte into `room`, with WAITALL as many as it takes, before the deadline."""
        while True:
            sock = self._prepare(deadline)
            if self._kernel and deadline is not None and signals.handled and threading.get_ident() == MAIN:
                self._wait_readable(sock, deadline)
                flags = 0
            try:
                count = sock.recv_into(room, 0, flags) if self._kernel else sock.recv_into(room)
            except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
                # The limit may strike a little before the deadline does; `_prepare` decides.
                continue
            except (OSError, ValueError) as error:
                raise ConnectionLost(f"{self.endpoint}: {reason(error)}") from None
            if not count:
                raise ConnectionLost("the server closed the connection")
            return count

    def _receive(self, deadline: float | None) -> None:
        """Receive more for the parser."""
        parser = self.parser
        wanted = parser.wanted
        with parser.space() as room:
            if wanted > 16384 or wanted >= len(room):
                with room[:wanted] as exactly:
                    count = self._receive_into(exactly, deadline)
                self.exact = count == wanted
            else:
                count = self._receive_into(room, deadline, 0)
                self.exact = False
        parser.advance(count)

    def _read(self, deadline: float | None) -> Value:
        held = self._held
        if held:
            return held.pop()
        parser = self.parser
        while True:
            value = parser.get()
            if value is not INCOMPLETE:
                return value
            self._receive(deadline)

    def _send(self, request: Request, deadline: float | None, taken: int = 0) -> None:
        """Send a request, of which so many bytes are already sent."""
        pieces = [request] if isinstance(request, bytes) else list(request)
        views = [memoryview(piece) for piece in pieces if len(piece)]
        while views and taken >= len(views[0]):
            taken -= len(views.pop(0))
        if taken:
            views[0] = views[0][taken:]
        while views:
            sock = self._prepare(deadline, sent=False)
            try:
                gather = self._kernel and len(views) > 1
                count = sock.sendmsg(views[:IOV_MAX]) if gather else sock.send(views[0])
            except (BlockingIOError, TimeoutError, ssl.SSLWantWriteError):
                continue  # `_prepare` decides whether that was the deadline
            except (OSError, ValueError) as error:
                raise ConnectionLost(f"{self.endpoint}: {reason(error)}", maybe_executed=not self._kernel) from None
            while views and count >= len(views[0]):
                count -= len(views.pop(0))
            if count:
                views[0] = views[0][count:]

    def _send_duplex(
        self, chunk: bytes | memoryview, replies: list[Value], expected: int, deadline: float | None
    ) -> None:
        """Send all of `chunk`, receiving replies whenever the server takes no more."""
        view = memoryview(chunk)
        while len(view):
            sock = self.socket
            if sock is None:
                raise ConnectionLost("the connection is closed", maybe_executed=False)
            try:
                if self._kernel:
                    count = sock.send(view, DONTWAIT)
                else:
                    sock.settimeout(0)
                    count = sock.send(view)
                view = view[count:]
                continue
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
            except (OSError, ValueError) as error:
                begun = len(view) < len(chunk) or not self._kernel
                raise ConnectionLost(f"{self.endpoint}: {reason(error)}", maybe_executed=begun) from None
            readable = self._wait(sock, deadline)
            if readable:
                self._drain(sock)
                self.parser.get_into(replies, expected)

    def _drain(self, sock: socket.socket) -> None:
        """Receive what is there, if anything is."""
        with self.parser.space() as room:
            try:
                count = sock.recv_into(room, 0, DONTWAIT) if self._kernel else sock.recv_into(room)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except (OSError, ValueError) as error:
                raise ConnectionLost(f"{self.endpoint}: {reason(error)}") from None
        if not count:
            raise ConnectionLost("the server closed the connection")
        self.parser.advance(count)

    def _wait_readable(self, sock: socket.socket, deadline: float) -> None:
        """Wait until there is something to receive; raises Timeout."""
        if not self._poller(max(0.0, deadline - monotonic()) * 1000):
            raise self._timeout(True)

    def _wait(self, sock: socket.socket, deadline: float | None) -> bool:
        """Wait until the socket takes or has bytes; True if it has some. Raises Timeout."""
        left = None if deadline is None else deadline - monotonic()
        if left is not None and left <= 0:
            raise self._timeout(True)
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        if not hasattr(select, "poll"):
            return bool(select.select([sock], [sock], [], left)[0])
        poll = select.poll()
        poll.register(sock, select.POLLIN | select.POLLOUT)
        events = poll.poll(None if left is None else left * 1000)
        return any(event & ~select.POLLOUT for _, event in events)

    def _timeout(self, maybe_executed: bool) -> Timeout:
        return Timeout(f"{self.endpoint}: no complete reply before the deadline", maybe_executed=maybe_executed)


def _abandon_all() -> None:
    """In the child of a fork: the sockets belong to the parent; close our copies, so that its close is one."""
    for stream in list(_open):
        stream.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
