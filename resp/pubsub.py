# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Publish/subscribe that survives its connection: channels, patterns and sharded channels, over RESP3 or RESP2.

`PubSub` knows what is subscribed and says it again on every new connection. The names and the messages are those of
redis-py, with one message more: `{"type": "gap", …}` after a reconnect, because what was published in between is gone
and only the reader can know what that means. Surprising: nothing here raises because the server is away; waiting for a
message and waiting for the server are the same thing to a reader. What a reader can mend (wrong password, forbidden
channel) is raised.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, TypedDict

from resp.connection import Connection
from resp.encoding import Argument, encode_argument
from resp.endpoint import Endpoint
from resp.errors import (
    AuthenticationError,
    ClientClosed,
    ConnectionLost,
    InvalidArgument,
    RespError,
    ServerError,
    TemporaryError,
)
from resp.listening import Line, Waker, backoff, opener, wait

logger = logging.getLogger("resp.pubsub")

Handler = Callable[["Message"], object]


class Message(TypedDict):
    """What `get_message` returns.

    type: "message", "pmessage", "smessage"; "subscribe", "unsubscribe" and the like with p or s before them, whose data
    is the number of subscriptions left; "gap" after a reconnect, whose data says why; pattern: for a pmessage.
    """

    type: str
    pattern: bytes | str | None
    channel: bytes | str | None
    data: Any


# How the three kinds of subscription are called: command, its reverse, what carries data.
_KINDS: Final = {
    "": ("subscribe", "unsubscribe", "message"),
    "p": ("psubscribe", "punsubscribe", "pmessage"),
    "s": ("ssubscribe", "sunsubscribe", "smessage"),
}
_DATA: Final = frozenset({"message", "pmessage", "smessage"})
_CONFIRMATIONS: Final = {
    name: (kind, wanted) for kind, names in _KINDS.items() for name, wanted in ((names[0], True), (names[1], False))
}


class PubSub:
    """Subscriptions and the messages that come for them.

    Reads only while someone calls `get_message`, `listen`, or a thread of `run_in_thread` does; these calls exclude
    each other, while `subscribe` and the rest may be called by any thread at any time.

    server: an `Endpoint`, or a function that returns a `Connection` after its handshake.
    decode: give channels, patterns and data as str (UTF-8, other bytes as surrogate escapes) instead of bytes.
    ignore_subscribe_messages: leave out the confirmations.
    on_gap: called with the reason (str) after a reconnect, in addition to the "gap" message.
    silence, patience: as in `resp.tracking`; retry_first, retry_most: seconds between attempts to connect.
    """

    def __init__(
        self,
        server: Endpoint | Callable[[], Connection],
        *,
        decode: bool = False,
        ignore_subscribe_messages: bool = False,
        on_gap: Callable[[str], object] | None = None,
        silence: float = 10.0,
        patience: float = 5.0,
        retry_first: float = 0.05,
        retry_most: float = 5.0,
    ) -> None:
        self._connect = opener(server)
        self._decode = decode
        self._ignore_confirmations = ignore_subscribe_messages
        self._on_gap = on_gap
        self._silence, self._patience = silence, patience
        self._retry_first, self._retry_most = retry_first, retry_most
        # What should be subscribed, per kind, with the handlers; guarded by _lock, as is the line.
        self._wanted: dict[str, dict[bytes, Handler | None]] = {kind: {} for kind in _KINDS}
        # Commands whose confirmations have not all come: kind and names, in the order sent. None is a PING.
        self._pending: deque[tuple[str, bool, list[bytes]] | None] = deque()
        self._line: Line | None = None
        self._lock = threading.RLock()
        self._reading = threading.RLock()
        self._waiting: deque[Message | RespError] = deque()
        self._waker = Waker()
        self._failed_attempts = 0
        self._next_attempt = 0.0
        self._gap: str | None = None
        self._closed = False
        self.last_error: RespError | None = None
        """Why the connection was lost, or could not be made, the last time."""
        _alive.add(self)

    def __enter__(self) -> PubSub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        count = sum(len(names) for names in self._wanted.values())
        state = "closed" if self._closed else "connected" if self.connected else "not connected"
        return f"<PubSub {state}, {count} subscriptions>"

    # ---- what is subscribed ------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """True while there is a connection, as far as is known."""
        return self._line is not None

    @property
    def subscribed(self) -> bool:
        """True if anything is subscribed, or said to be, or left without the server's word that it is."""
        return any(self._wanted.values()) or any(pending is not None for pending in self._pending)

    @property
    def channels(self) -> frozenset[bytes]:
        """The channels that are, or are to be, subscribed."""
        return frozenset(self._wanted[""])

    @property
    def patterns(self) -> frozenset[bytes]:
        """The patterns, as `channels`."""
        return frozenset(self._wanted["p"])

    @property
    def shard_channels(self) -> frozenset[bytes]:
        """The sharded channels, as `channels`."""
        return frozenset(self._wanted["s"])

    def subscribe(self, *channels: Argument, **handlers: Handler) -> None:
        """Subscribe to channels; a keyword names a function that is called with each message of its channel.

        Connects if need be. A server that is away is no error: the subscription is made when it is back.
        """
        self._add("", channels, handlers)

    def psubscribe(self, *patterns: Argument, **handlers: Handler) -> None:
        """Subscribe to all channels that match the glob patterns."""
        self._add("p", patterns, handlers)

    def ssubscribe(self, *channels: Argument, **handlers: Handler) -> None:
        """Subscribe to sharded channels (Redis 7, Valkey)."""
        self._add("s", channels, handlers)

    def unsubscribe(self, *channels: Argument) -> None:
        """Leave channels; all of them if none is named."""
        self._remove("", channels)

    def punsubscribe(self, *patterns: Argument) -> None:
        """Leave patterns; all of them if none is named."""
        self._remove("p", patterns)

    def sunsubscribe(self, *channels: Argument) -> None:
        """Leave sharded channels; all of them if none is named."""
        self._remove("s", channels)

    def _add(self, kind: str, names: tuple[Argument, ...], handlers: dict[str, Handler]) -> None:
        wanted: dict[bytes, Handler | None] = {bytes(encode_argument(name)): None for name in names}
        wanted |= {bytes(encode_argument(name)): handler for name, handler in handlers.items()}
        if not wanted:
            raise InvalidArgument(f"{kind}subscribe needs at least one name")
        with self._lock:
            self._check_open()
            self._wanted[kind].update(wanted)
            if self._line is not None:
                self._say(kind, True, list(wanted))
            else:
                # Makes the connection, and says everything that is wanted.
                self._reconnect()

    def _remove(self, kind: str, names: tuple[Argument, ...]) -> None:
        with self._lock:
            self._check_open()
            mine = self._wanted[kind]
            gone = [name for name in map(bytes, map(encode_argument, names)) if name in mine] if names else list(mine)
            for name in gone:
                del mine[name]
            if gone and self._line is not None:
                self._say(kind, False, gone)

    def _say(self, kind: str, wanted: bool, names: list[bytes]) -> None:
        command = _KINDS[kind][0 if wanted else 1].upper()
        # Sharded channels may belong to different slots, which one command must not mix.
        for group in [[name] for name in names] if kind == "s" else [list(names)]:
            if self._line is None:
                break
            self._pending.append((kind, wanted, group))
            try:
                self._line.send((command, *group))
            except RespError as error:
                self._lose(error)
        # Someone may be waiting for a socket that now also wants to be written, or for one that is gone.
        self._waker.ring()

    # ---- messages ----------------------------------------------------------------------------------------------------

    def get_message(self, ignore_subscribe_messages: bool = False, timeout: float | None = 0.0) -> Message | None:
        """The next message, or None if there is none within `timeout` seconds (None: wait for ever).

        Messages of channels with a handler go to the handler, and None is returned for them. Raises ClientClosed,
        AuthenticationError, and the ServerError of a subscription that was refused (which is given up).
        """
        return self._next(timeout, ignore_subscribe_messages, lambda: False)

    def _next(self, timeout: float | None, quietly: bool, stopped: Callable[[], bool]) -> Message | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._reading:
            while True:
                self._check_open()
                if stopped():
                    return None
                self._fetch()
                while self._waiting:
                    message = self._waiting.popleft()
                    if isinstance(message, RespError):
                        raise message
                    if message["type"] in _CONFIRMATIONS and (quietly or self._ignore_confirmations):
                        continue
                    handler = self._handler(message)
                    if handler is None:
                        return message
                    handler(message)
                    return None
                left = 3600.0 if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    return None
                self._rest(left)

    def listen(self) -> Iterator[Message]:
        """Every message as it comes, while anything is subscribed; ends after the last `unsubscribe` or `close()`."""
        while (self.subscribed or self._waiting) and not self._closed:
            try:
                message = self.get_message(timeout=1.0)
            except ClientClosed:
                return
            if message is not None:
                yield message

    def run_in_thread(
        self,
        *,
        daemon: bool = True,
        handler: Handler | None = None,
        exception_handler: Callable[[RespError], object] | None = None,
    ) -> PubSubThread:
        """Start a thread that reads and calls the handlers; `handler` gets what has none of its own.

        An error that `get_message` would raise goes to `exception_handler`, or to the log; the thread goes on, except
        after AuthenticationError.
        """
        thread = PubSubThread(self, daemon, handler, exception_handler)
        thread.start()
        return thread

    def ping(self) -> None:
        """Ask the server for a sign of life now; a lost connection is then found within `patience` seconds."""
        with self._lock:
            self._check_open()
            if self._line is not None and self._line.asked is None:
                self._line.heard = float("-inf")
                self._waker.ring()

    def close(self) -> None:
        """Close the connection; a `get_message` that waits raises ClientClosed, `listen` ends."""
        self._closed = True
        self._waker.ring()
        # Who reads must have left poll() before the descriptor can become another one; who connects may take longer.
        alone = self._reading.acquire(timeout=1.0)
        try:
            line, self._line = self._line, None
            if line is not None:
                line.close()
            if alone:
                self._waker.close()
        finally:
            if alone:
                self._reading.release()

    # ---- the connection ----------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("this PubSub was closed")

    def _rest(self, left: float) -> None:
        """Wait for something to arrive, or for the moment of the next probe or attempt."""
        with self._lock:
            line = self._line
            if line is None:
                left = min(
                    left, max(0.0, self._next_attempt - time.monotonic()) if any(self._wanted.values()) else left
                )
            else:
                try:
                    left = min(left, line.probe(self._silence, self._patience))
                    if line.asked is not None and None not in self._pending:
                        self._pending.append(None)
                except RespError as error:
                    self._lose(error)
                    return
        wait((line,) if line is not None else (), self._waker, left)
        if not self._closed:
            self._waker.clear()

    def _fetch(self) -> None:
        """Take what has arrived; connect if there is no connection and its time has come."""
        with self._lock:
            if self._line is None:
                if any(self._wanted.values()) and time.monotonic() >= self._next_attempt:
                    self._reconnect()
                return
            try:
                items = self._line.items()
            except RespError as error:
                self._lose(error)
                return
            for item in items:
                self._heed(item)

    def _lose(self, error: RespError) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()
        self._pending.clear()
        self.last_error = error
        if any(self._wanted.values()) and self._gap is None:
            self._gap = str(error)
        # At once the first time; later if the server takes connections only to drop them.
        self._put_off()

    def _reconnect(self) -> None:
        """One attempt to connect and to subscribe to all that is wanted."""
        try:
            line = Line(self._connect())
        except RespError as error:
            self.last_error = error
            self._failed_attempts += 1
            self._put_off()
            if isinstance(error, AuthenticationError):
                raise
            return
        self._failed_attempts += 1  # until a confirmation comes
        self._line = line
        for kind, names in self._wanted.items():
            if names and self._line is not None:
                self._say(kind, True, list(names))
        if self._gap is not None and self._line is not None:
            reason, self._gap = self._gap, None
            self._waiting.append(Message(type="gap", pattern=None, channel=None, data=reason))
            if self._on_gap is not None:
                try:
                    self._on_gap(reason)
                except Exception:
                    logger.exception("the on_gap callback of a PubSub failed")

    def _after_fork(self) -> None:
        """In the child: the connection belongs to the parent, the locks to whoever held them."""
        self._lock, self._reading = threading.RLock(), threading.RLock()
        self._waker.close()
        self._waker = Waker()
        if self._closed:
            self._waker.close()
        elif self._line is not None:
            self._lose(ConnectionLost("the process forked"))

    def _put_off(self) -> None:
        failed = self._failed_attempts
        pause = backoff(failed - 1, self._retry_first, self._retry_most) if failed else 0.0
        self._next_attempt = time.monotonic() + pause

    def _heed(self, item: Any) -> None:
        """Turn one thing that the server said into a message, or into an error to raise."""
        if isinstance(item, ServerError):
            self._refused(item)
            return
        if not isinstance(item, list) or not item or not isinstance(item[0], bytes):
            # The reply to a PING outside of subscribed mode.
            self._ponged()
            return
        kind = item[0].decode("ascii", "replace")
        if kind in _DATA and len(item) == (4 if kind == "pmessage" else 3):
            pattern = self._text(item[1]) if kind == "pmessage" else None
            channel, data = item[-2:]
            self._waiting.append(
                Message(type=kind, pattern=pattern, channel=self._text(channel), data=self._text(data))
            )
        elif kind in _CONFIRMATIONS and len(item) == 3:
            self._failed_attempts = 0
            self._confirmed(*_CONFIRMATIONS[kind], item[1])
            self._waiting.append(Message(type=kind, pattern=None, channel=self._text(item[1]), data=item[2]))
        elif kind == "pong":
            self._ponged()

    def _confirmed(self, kind: str, wanted: bool, name: bytes | None) -> None:
        for at, pending in enumerate(self._pending):
            if pending is not None and pending[:2] == (kind, wanted) and (name in pending[2] or name is None):
                if name is not None:
                    pending[2].remove(name)
                if not pending[2] or name is None:
                    del self._pending[at]
                return

    def _ponged(self) -> None:
        with contextlib.suppress(ValueError):
            self._pending.remove(None)

    def _refused(self, error: ServerError) -> None:
        """An error reply belongs to the oldest command that is not confirmed."""
        pending = self._pending.popleft() if self._pending else None
        if pending is not None and isinstance(error, TemporaryError):
            # The subscription was not made and may be in a moment: start over with a new connection.
            self._lose(error)
            return
        if pending is not None and pending[1]:
            for name in pending[2]:
                self._wanted[pending[0]].pop(name, None)
        if pending is not None:
            self._waiting.append(error)

    def _text(self, data: Any) -> Any:
        return data.decode("utf-8", "surrogateescape") if self._decode and isinstance(data, bytes) else data

    def _handler(self, message: Message) -> Handler | None:
        if message["type"] not in _DATA:
            return None
        kind = message["type"].removesuffix("message")
        name = message["pattern"] if kind == "p" else message["channel"]
        return self._wanted[kind].get(bytes(encode_argument(name)) if name is not None else b"")


_alive: weakref.WeakSet[PubSub] = weakref.WeakSet()


def _forked() -> None:
    for pubsub in list(_alive):
        pubsub._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class PubSubThread(threading.Thread):
    """Reads a `PubSub` until `stop()`; see `PubSub.run_in_thread`."""

    def __init__(
        self,
        pubsub: PubSub,
        daemon: bool,
        handler: Handler | None,
        exception_handler: Callable[[RespError], object] | None,
    ) -> None:
        super().__init__(name="resp-pubsub", daemon=daemon)
        self._pubsub = pubsub
        self._handler = handler
        self._exception_handler = exception_handler
        self._stopping = False

    def stop(self) -> None:
        """End the thread after the message that it is at; `join()` it if you like. The PubSub stays open."""
        self._stopping = True
        self._pubsub._waker.ring()

    def run(self) -> None:
        while not self._stopping:
            try:
                message = self._pubsub._next(None, False, lambda: self._stopping)
                if message is not None and self._handler is not None:
                    self._handler(message)
            except ClientClosed:
                return
            except RespError as error:
                self._report(error)
                if isinstance(error, AuthenticationError):
                    return
            except Exception:
                logger.exception("a message handler failed")

    def _report(self, error: RespError) -> None:
        if self._exception_handler is None:
            logger.warning("publish/subscribe: %s", error)
            return
        try:
            self._exception_handler(error)
        except Exception:
            logger.exception("the exception handler of a PubSub failed")
