# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A connection that mostly listens: what tracking and publish/subscribe share.

A `Line` takes a connection after its handshake and reads whatever comes, whenever it comes, without a deadline: here
silence is normal, so it is not a time-out that tells a dead peer from a quiet one but a PING that nobody answers.
Surprising: the socket is non-blocking and waited for with poll(), which costs one system call more than the kernel
timeouts of an ordinary connection; in exchange `close()` in another thread ends the wait at once (`Waker`).
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from resp.connection import Connection
from resp.encoding import Argument, encode_command
from resp.endpoint import Endpoint
from resp.errors import ConnectionLost, RespError, Timeout
from resp.values import INCOMPLETE, Push

_WOULD_BLOCK: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
#: Receive at most that often before what was found is handed out.
_ROUNDS: Final = 32
_Selector: Final = getattr(selectors, "PollSelector", selectors.SelectSelector)


class Waker:
    """Ends a `wait` from any thread; stays awake until `clear`."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def wake(self) -> None:
        # Full means that it is awake already; closed, that nobody waits any more.
        with contextlib.suppress(OSError):
            self._writer.send(b"!")

    def clear(self) -> None:
        with contextlib.suppress(OSError):
            while self._reader.recv(4096):
                pass

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


class Callbacks:
    """Those who want to know of a change: bound methods, held weakly."""

    def __init__(self) -> None:
        self._callbacks: list[weakref.WeakMethod[Callable[[], None]]] = []

    def add(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(weakref.WeakMethod(callback))

    def call(self) -> None:
        """Call all of them that are still there."""
        for reference in list(self._callbacks):
            callback = reference()
            if callback is None:
                self._callbacks.remove(reference)
            else:
                callback()


class Line:
    """One connection that listens; it takes over `connection`, whose handshake is done.

    One thread receives (`items`, `call`, `probe`); `send` and `close` may come from others.
    """

    def __init__(self, connection: Connection) -> None:
        if connection.socket is None:
            raise ConnectionLost("the connection is closed")
        self._connection = connection
        self._socket = connection.socket
        self._parser = connection.parser
        # OpenSSL's objects bear no second thread, so sending and receiving exclude each other; neither ever blocks.
        self._lock = threading.Lock()
        self._outgoing = bytearray()
        self._kept: list[Any] = []
        self._socket.settimeout(0)
        self.resp3 = connection.protocol == 3
        self.more = True
        """True if `items` would find something without anything having arrived since."""
        self.heard = time.monotonic()
        """When bytes last arrived."""
        self.asked: float | None = None
        """When the PING that is not answered yet was sent."""

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def wants_to_send(self) -> bool:
        return bool(self._outgoing)

    def send(self, *commands: Sequence[Argument]) -> None:
        """Send commands, or as much of them as the socket takes; the rest goes when `items` is called."""
        data = b"".join([encode_command(*command) for command in commands])
        with self._lock:
            self._outgoing += data
            self._flush()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                sent = self._socket.send(self._outgoing)
                del self._outgoing[:sent]
        except _WOULD_BLOCK:
            pass
        except (OSError, ValueError) as error:
            raise ConnectionLost(f"sending failed ({type(error).__name__})") from None

    def items(self) -> list[Any]:
        """What has arrived, without waiting: `Push` for pushes, other values for replies, in the server's order.

        Raises ConnectionLost and ProtocolError, once everything before the end was handed out.
        """
        found, self._kept = self._kept, []
        self.more = False
        try:
            with self._lock:
                self._flush()
                self._take(found)
                for _ in range(_ROUNDS):
                    if not self._receive():
                        break
                    self.heard = time.monotonic()
                    self.asked = None
                    self._take(found)
                else:
                    self.more = True
        except RespError:
            if not found:
                raise
            self.more = True
        return found

    def _receive(self) -> bool:
        room = self._parser.space()
        try:
            size = self._socket.recv_into(room)
        except _WOULD_BLOCK:
            return False
        except (OSError, ValueError) as error:
            raise ConnectionLost(f"receiving failed ({type(error).__name__})") from None
        finally:
            room.release()
        if not size:
            raise ConnectionLost("the server closed the connection")
        self._parser.advance(size)
        return True

    def _take(self, found: list[Any]) -> None:
        pushes = self._parser.pushes
        while True:
            value = self._parser.get()
            # What is among the pushes by now came before this value.
            while pushes:
                found.append(pushes.popleft())
            if value is INCOMPLETE:
                return
            found.append(value)

    def call(self, *command: Argument, deadline: float) -> Any:
        """Send one command and wait for its reply, which may be an error value; raises Timeout, ConnectionLost.

        Pushes before the reply are dropped: this is for setting up, when nothing counts yet. What follows it is kept.
        """
        self.send(command)
        while True:
            items = self.items()
            for at, item in enumerate(items):
                if not isinstance(item, Push):
                    self._kept = items[at + 1 :]
                    self.more = True
                    return item
            wait([self], None, deadline - time.monotonic())
            if time.monotonic() >= deadline:
                raise Timeout("the server did not answer in time")

    def probe(self, silence: float, patience: float) -> float:
        """Ask after `silence`, give up after `patience` more; returns in how many seconds to call this again.

        Call it after `items`, so that an answer that waits in the socket counts. Raises ConnectionLost.
        """
        now = time.monotonic()
        if self.asked is not None:
            left = self.asked + patience - now
            if left <= 0:
                raise ConnectionLost(f"a PING was not answered within {patience:g} s")
            return left
        left = self.heard + silence - now
        if left > 0:
            return left
        self.asked = now
        self.send(("PING",))
        return patience

    def close(self) -> None:
        self._connection.close()


class Upstream(Protocol):
    """Where a listener connects, and goes again when that place is no longer the right one.

    Who inherits this need say only where it is not one server for ever, which has every channel.
    """

    def connect(self) -> Connection:
        """A connection after its handshake."""

    def moved(self) -> bool:
        """True if what `connect` returned last is no longer the place to listen at."""
        return False

    def on_moved(self, callback: Callable[[], None]) -> None:
        """Call `callback` (a bound method, held weakly, that does not block) when `moved` may have become true."""
        return

    def shard(self, channel: bytes) -> Upstream:
        """The upstream for a sharded channel: itself, but on a cluster. Raises RespError."""
        return self

    def refresh(self) -> None:
        """A server said that a sharded channel is elsewhere: find out, for the next call of `shard`."""
        return


class Fixed(Upstream):
    """The upstream of a listener that always goes to the same server, whoever that is."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect

    def connect(self) -> Connection:
        return self._connect()


def upstream_of(server: Endpoint | Callable[[], Connection] | Upstream) -> Upstream:
    """What was given to a listener, as an upstream."""
    if isinstance(server, Endpoint):
        return Fixed(lambda: Connection(server).connect())
    return Fixed(server) if callable(server) else server


def wait(lines: Sequence[Line], waker: Waker | None, seconds: float) -> None:
    """Wait until something arrives on one of `lines`, the waker wakes, or `seconds` have passed."""
    if any(line.more for line in lines):
        return
    with _Selector() as selector:
        try:
            for line in lines:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.wants_to_send else 0)
                selector.register(line, events)
            if waker is not None:
                selector.register(waker, selectors.EVENT_READ)
        except (ValueError, KeyError, OSError):
            # A socket was closed by another thread: reading it will say so.
            return
        selector.select(max(0.0, seconds))


def backoff(attempt: int, first: float, most: float) -> float:
    """Seconds to wait before the attempt after `attempt` failed ones: doubling, at most `most`, with jitter."""
    return min(most, first * 2.0 ** min(attempt, 30)) * random.uniform(0.5, 1.0)
