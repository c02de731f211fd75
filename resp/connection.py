# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One server over one socket: introduce oneself, exchange commands and replies before a deadline.

`Stream` moves the bytes; here is what they are: the handshake, single calls, and the two exchanges that a pool's
clients use (`roundtrip` for one command, `exchange` for many). Surprising: there is no "dirty" flag to forget.
Whatever exception leaves an exchange, KeyboardInterrupt included, closes the socket first; a connection that is open
is one whose replies have all been read.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterable
from time import monotonic
from typing import Any, Final

from resp.dial import dial, reason
from resp.encoding import Argument, Request, encode_command, encode_request
from resp.endpoint import Endpoint
from resp.errors import (
    ConnectionLost,
    Desynchronised,
    ProtocolError,
    RespError,
    ServerError,
    Timeout,
    TooManyClients,
)
from resp.handshake import check, handshake, redacted
from resp.interruptions import ALARM, MAIN, handler_of, signals
from resp.protocol import Parser
from resp.stream import DONTWAIT, IOV_MAX, Stream
from resp.values import INCOMPLETE, Push, Value

# Whole replies that are worth a look-up before parsing.
_SHORT: Final[dict[bytes, Value]] = {
    b"+OK\r\n": b"OK",
    b"_\r\n": None,
    b"$-1\r\n": None,
    b":0\r\n": 0,
    b":1\r\n": 1,
    b"+PONG\r\n": b"PONG",
}
_MISSING: Final = object()
# Array, map and set.
_AGGREGATES: Final = frozenset(b"*%~")
# Length of a reply that is one string → how it begins, and where the string is; filled as lengths are seen, because to
# look it up takes a fraction of the time it takes to parse it.
_STRINGS: Final[dict[int, tuple[bytes, slice]]] = {}


class Connection(Stream):
    """A connection that can be used on its own: `Connection(endpoint)`, `connect()`, `call()`, `close()`.

    Not for several threads at once. Deadlines are times of `time.monotonic()`; where one is None, the call gets
    `endpoint.timeout` seconds from now. Every method that talks to the server raises Timeout, ConnectionLost or
    ProtocolError and has then closed the connection; `read_frame` alone survives its deadline. Error replies are
    values (`ServerError` instances), raised by nobody but `call` and `connect`.

    Public state: `socket` (None when closed), `parser`, `protocol` (2 or 3), `server` (the reply to HELLO, or {}),
    `client_id` (None with RESP2), `endpoint`, `pushes` (out-of-band messages that came along, oldest first).
    """

    __slots__ = (
        "_heard_nothing",
        "born",
        "client_id",
        "expires",
        "fresh_until",
        "idle_since",
        "protocol",
        "server",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._heard_nothing = False
        self.protocol = 2
        self.server: dict[Any, Any] = {}
        self.client_id: int | None = None
        # The pool's notes: when it was connected, when it is too old, when it was given back, until when no look at
        # it is needed.
        self.born = self.idle_since = self.fresh_until = 0.0
        self.expires = float("inf")

    def __repr__(self) -> str:
        return f"<Connection to {self.endpoint}, {'closed' if self.socket is None else f'RESP{self.protocol}'}>"

    # ---- opening and closing -------------------------------------------------------------------------------------

    def connect(self, deadline: float | None = None) -> Connection:
        """Connect and do the handshake in one round trip; returns itself.

        Takes `endpoint.connect_timeout` seconds at most, and not longer than the deadline. Raises Timeout,
        ConnectionLost, AuthenticationError, TooManyClients or another ServerError, ProtocolError; all of them mean
        that no command was executed.
        """
        limit = monotonic() + self.endpoint.connect_timeout
        deadline = limit if deadline is None else min(deadline, limit)
        where = self.endpoint
        try:
            # Before the connection is there: who gives credentials may have to ask for them first.
            who = where.introduced()
            self._use(dial(where, deadline))
            try:
                self._handshake(who, deadline)
            except _HungUp:
                # Some proxies (twemproxy) close at a command that they do not know, and HELLO is one.
                self.close()
                self.parser = Parser(max_bulk=where.max_bulk, max_elements=where.max_elements)
                self._use(dial(where, deadline))
                self._handshake(who, deadline, plain=True)
            if self.parser.get() is not INCOMPLETE or not (self.parser.idle or self.parser.in_push):
                raise Desynchronised("more was received than the replies to the handshake")
        except (Timeout, TimeoutError, BlockingIOError):
            self.close()
            raise Timeout(f"connecting to {where} took too long", maybe_executed=False) from None
        except ConnectionLost as error:
            self.close()
            raise ConnectionLost(f"cannot connect to {where}: {error}", maybe_executed=False) from None
        except RespError as error:
            self.close()
            # Without the frames of the handshake, which hold what they were answered: no cycle of exception and frame.
            raise error.with_traceback(None) from None
        except (OSError, ValueError) as error:
            self.close()
            raise ConnectionLost(f"cannot connect to {where}: {reason(error)}", maybe_executed=False) from None
        except BaseException:
            self.close()
            raise
        self.born = monotonic()
        return self

    @property
    def unused(self) -> bool:
        """Never given back to a pool: the server cannot have closed it for being idle."""
        return not self.idle_since

    @property
    def pushes(self) -> deque[Push]:
        """Out-of-band messages received so far; take them out from the left."""
        return self.parser.pushes

    def _handshake(self, who: Endpoint, deadline: float, *, plain: bool = False) -> None:
        steps = handshake(who, plain=plain)
        commands = next(steps)
        first = not plain
        while True:
            try:
                replies = self._introduce(commands, deadline, who)
            except ConnectionLost as error:
                # Only a connection that was closed by the other side, before it said a word.
                if first and self._heard_nothing:
                    raise _HungUp(str(error), maybe_executed=False) from None
                raise
            first = False
            try:
                commands = steps.send(replies)
            except StopIteration as end:
                self.protocol, self.server, self.client_id = end.value
                return

    def _introduce(self, commands: Iterable[tuple[Argument, ...]], deadline: float, who: Endpoint) -> list[Value]:
        requests = [encode_command(*command) for command in commands]
        try:
            self._send(b"".join(requests), deadline)
        except ConnectionLost:
            # "max number of clients reached" and "-DENIED" come unasked before the server hangs up.
            reply = self._parting_words()
            if reply is None:
                raise
            raise reply from None
        replies: list[Value] = []
        for _ in requests:
            try:
                reply = self._read(deadline)
            except ConnectionLost:
                check(replies)
                self._heard_nothing = self.parser.idle and (not replies or who.protocol == 2)
                raise
            if isinstance(reply, ServerError):
                reply = redacted(reply, who)
                if isinstance(reply, TooManyClients) or reply.code == "DENIED":
                    raise reply
            replies.append(reply)
        return replies

    def _parting_words(self) -> ServerError | None:
        """An error reply that the server sent before it hung up, if it can still be read."""
        sock = self.socket
        if sock is None or not self._kernel:
            return None
        with contextlib.suppress(OSError, ProtocolError):
            with self.parser.space() as room:
                count = sock.recv_into(room, 0, DONTWAIT)
            self.parser.advance(count)
            reply = self.parser.get()
            if isinstance(reply, ServerError):
                return reply
        return None

    # ---- on its own ----------------------------------------------------------------------------------------------

    def call(self, *args: Argument, deadline: float | None = None) -> Value:
        """Send one command and return its reply; raises the reply if it is an error."""
        deadline = self._deadline(deadline)
        request = encode_request(args)
        try:
            self._send(request, deadline)
            reply = self._read(deadline)
        except BaseException:
            self.close()
            raise
        if isinstance(reply, ServerError):
            raise reply
        return reply

    def send(self, *args: Argument, deadline: float | None = None) -> None:
        """Send one command without reading anything; its reply, if it has one, is the next `read_reply`."""
        request = encode_request(args)
        try:
            self._send(request, self._deadline(deadline))
        except BaseException:
            self.close()
            raise

    def read_reply(self, deadline: float | None = None) -> Value:
        """The next reply; messages before it are put into `pushes`. Closes the connection if it does not come."""
        try:
            return self._read(self._deadline(deadline))
        except BaseException:
            self.close()
            raise

    def read_frame(self, deadline: float | None) -> Value | Push:
        """Whatever comes next, message (a `Push`) or reply; None as deadline waits for ever.

        A passed deadline raises Timeout and does no harm: half a frame is kept, the next call continues it.
        """
        pushes, held = self.parser.pushes, self._held
        try:
            while True:
                if pushes:
                    return pushes.popleft()
                if held:
                    return held.pop()
                value = self.parser.get()
                if value is not INCOMPLETE:
                    held.append(value)  # messages that were found in front of it come first
                elif not pushes:
                    self._receive(deadline)
        except Timeout:
            raise
        except BaseException:
            self.close()
            raise

    def _deadline(self, deadline: float | None) -> float | None:
        if deadline is None and self.endpoint.timeout is not None:
            return monotonic() + self.endpoint.timeout
        return deadline

    # ---- exchanges for the pool's clients ------------------------------------------------------------------------

    def roundtrip(self, request: Request, now: float, timeout: float | None) -> Value:
        """Send one encoded command and return its reply (errors are values); `now` is when the call began.

        On any exception the connection is closed. ConnectionLost says with `reply_begun` whether a part of the reply
        had come, and with `maybe_executed` whether the server may have had the whole command.
        """
        sock = self.socket
        if sock is None:
            raise ConnectionLost("the connection is closed", maybe_executed=False)
        parser = self.parser
        sent = False
        count = 0
        try:
            if not self._kernel:
                deadline = None if timeout is None else now + timeout
                self._send(request, deadline)
                sent = True
                return self._settle(self._read(deadline))
            if self._applied != timeout:
                self._limit(timeout)
            if isinstance(request, bytes):
                size, taken = len(request), sock.send(request)
            else:
                size, taken = sum([len(piece) for piece in request]), sock.sendmsg(request[:IOV_MAX])
            if size > 8192:
                # That may have taken a while, which the reply must not take again.
                deadline = None if timeout is None else now + timeout
                self._send(request, deadline, taken)
                self._prepare(deadline)
            elif taken != size:
                self._send(request, None if timeout is None else now + timeout, taken)
            sent = True
            # What can be done while the server works costs no time.
            buffer, view = parser.buffer, parser.view
            unsure = now > signals.look_at or signals.handled or (ALARM and handler_of(ALARM))
            if unsure and self._waited(sock, now, timeout):
                pass
            elif self._large:
                return self._remembered(self._another_large(None if timeout is None else now + timeout))
            count = sock.recv_into(buffer)
            string = _STRINGS.get(count)
            if (
                string is not None
                and buffer.startswith(string[0])
                and buffer[count - 2] == 13
                and buffer[count - 1] == 10
            ):
                # A whole string: in a reply of this length there is but one way to begin.
                value = view[string[1]].tobytes()
                if parser.calm:
                    parser.keep(count)
                return value
            if buffer[0] == 36 and count > 7:  # $
                eol = buffer.find(b"\r\n", 1, 12)
                digits = buffer[1:eol] if 0 < eol < count - 1 else b""
                if digits.isdigit():
                    total = eol + int(digits) + 4
                    if total > count and total <= len(buffer):
                        count = self._receive_rest(count, total, None if timeout is None else now + timeout)
                        if not buffer.startswith(b"\r\n", total - 2):
                            raise ProtocolError("a string does not end with CRLF where its length says")
                        value = view[eol + 2 : total - 2].tobytes()
                        if parser.calm:
                            parser.keep(total)
                        return value
                    if total == count and len(_STRINGS) < 4096:
                        _STRINGS[count] = (b"$%d\r\n" % (total - eol - 4), slice(eol + 2, total - 2))
            elif count > 64 and buffer[0] in _AGGREGATES:
                reply = parser.whole(count)
                if reply is not INCOMPLETE:
                    return reply
            elif count <= 7:
                reply = _SHORT.get(bytes(buffer[:count]), _MISSING)
                if reply is not _MISSING:
                    if parser.calm:
                        parser.keep(count)
                    return reply
            if not count:
                raise ConnectionLost("the server closed the connection")
            parser.take_over(count)
            return self._remembered(self._settle(self._read(None if timeout is None else now + timeout)))
        except ConnectionLost as error:
            error.maybe_executed = sent or not self._kernel
            error.reply_begun = count > 0 or not parser.idle  # before the parser gives up what it has
            self.close()
            raise
        except BlockingIOError:
            self.close()
        except (OSError, ValueError) as failure:
            begun = count > 0 or not parser.idle
            self.close()
            raise self._lost(failure, sent or not self._kernel, begun) from None
        except BaseException:
            self.close()
            raise
        raise self._timeout(sent)

    def _waited(self, sock: Any, now: float, timeout: float | None) -> bool:
        """Wait for the reply in a way that signals do not lengthen, where they could; False where they cannot."""
        if now > signals.look_at or not signals.handled:
            signals.look(now)
        if not signals.handled or timeout is None or threading.get_ident() != MAIN:
            return False
        self._wait_readable(sock, now + timeout)
        return True

    def _lost(self, failure: BaseException, maybe_executed: bool, begun: bool) -> ConnectionLost:
        lost = ConnectionLost(f"{self.endpoint}: {reason(failure)}", maybe_executed=maybe_executed)
        lost.reply_begun = begun
        return lost

    def exchange(self, chunks: Iterable[bytes | memoryview], count: int, deadline: float | None) -> list[Value]:
        """Send many encoded commands; their `count` replies, errors in place. Exceptions as for `roundtrip`."""
        return self.finish(self.begin(chunks, count, deadline), count, deadline)

    def begin(self, chunks: Iterable[bytes | memoryview], count: int, deadline: float | None) -> list[Value]:
        """The first half of `exchange`: send everything; the replies that came meanwhile.

        Never waits for room in one direction only: while the server takes no more, its replies are received, so that
        a pipeline of any size cannot end with both sides waiting for the other.
        """
        replies: list[Value] = []
        sent = False
        try:
            for chunk in chunks:
                self._send_duplex(chunk, replies, count, deadline)
                sent = True
            return replies
        except BaseException as error:
            self._given_up(error, sent, replies)
            raise

    def finish(self, replies: list[Value], count: int, deadline: float | None) -> list[Value]:
        """The second half: receive what is missing of `count` replies."""
        try:
            self.parser.get_into(replies, count)
            while len(replies) < count:
                self._receive(deadline)
                self.parser.get_into(replies, count)
            self._settle(None)
            return replies
        except BaseException as error:
            self._given_up(error, True, replies)
            raise

    def _given_up(self, error: BaseException, sent: bool, replies: list[Value]) -> None:
        """Close after an error; a lost connection says whether anything was sent, and whether a reply had begun."""
        if isinstance(error, ConnectionLost):
            error.maybe_executed = sent or error.maybe_executed
            error.reply_begun = bool(replies) or not self.parser.idle  # before the parser gives up what it has
        self.close()


class _HungUp(ConnectionLost):
    """The server closed the connection at the first words of the handshake, without an answer."""
