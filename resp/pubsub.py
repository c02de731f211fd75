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

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from resp.connection import Connection
from resp.encoding import Argument, encode_argument
from resp.endpoint import Endpoint
from resp.errors import ClientClosed, ConnectionLost, InvalidArgument, Moved, RespError
from resp.forks import AfterFork
from resp.listening import Fixed, Upstream, Waker, upstream_of, wait
from resp.pubsub_thread import PubSubThread
from resp.subscriber import CONFIRMATIONS, DATA, KINDS, Handler, Message, Subscriber
from resp.values import text

logger = logging.getLogger("resp.pubsub")


class PubSub:
    """Subscriptions and the messages that come for them.

    Reads only while someone calls `get_message`, `listen`, or a thread of `run_in_thread` does; these calls exclude
    each other, while `subscribe` and the rest may be called by any thread at any time.

    server: an `Endpoint`, a function that returns a `Connection` after its handshake, or a `resp.listening.Upstream`,
        which follows a failover and finds the nodes of a cluster.
    decode: give channels, patterns and data as str (UTF-8, other bytes as surrogate escapes) instead of bytes.
    ignore_subscribe_messages: leave out the confirmations.
    on_gap: called with the reason (str) after a reconnect, in addition to the "gap" message.
    silence, patience: as in `resp.tracking`; retry_first, retry_most: seconds between attempts to connect.
    """

    def __init__(
        self,
        server: Endpoint | Callable[[], Connection] | Upstream,
        *,
        decode: bool = False,
        ignore_subscribe_messages: bool = False,
        on_gap: Callable[[str], object] | None = None,
        silence: float = 10.0,
        patience: float = 5.0,
        retry_first: float = 0.05,
        retry_most: float = 5.0,
    ) -> None:
        self._upstream = upstream_of(server)
        self._decode = decode
        self._ignore_confirmations = ignore_subscribe_messages
        self._on_gap = on_gap
        self._silence, self._patience = silence, patience
        self._retry_first, self._retry_most = retry_first, retry_most
        # The functions for messages, and the connections: one, on a cluster one more for each node with sharded
        # channels. Guarded by _lock.
        self._handlers: dict[str, dict[bytes, Handler]] = {kind: {} for kind in KINDS}
        self._subscribers: dict[Upstream, Subscriber] = {}
        self._lock = threading.RLock()
        self._reading = threading.RLock()
        self._waiting: deque[Message | RespError] = deque()
        self._waker = Waker()
        self._upstream.on_moved(self._waker.wake)
        self._closed = False
        _alive.add(self)

    def __enter__(self) -> PubSub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        count = sum(len(names) for kind in KINDS for names in [self._wanted(kind)])
        state = "closed" if self._closed else "connected" if self.connected else "not connected"
        return f"<PubSub {state}, {count} subscriptions>"

    # ---- what is subscribed ------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """True while there is a connection, as far as is known; on a cluster, to every node that is needed."""
        found = [each.line is not None for each in list(self._subscribers.values())]
        return bool(found) and all(found)

    @property
    def last_error(self) -> RespError | None:
        """Why a connection was lost, or could not be made, the last time."""
        return next((each.last_error for each in list(self._subscribers.values()) if each.last_error), None)

    @property
    def subscribed(self) -> bool:
        """True if anything is subscribed, or said to be, or left without the server's word that it is."""
        return not self._closed and not all(each.idle for each in list(self._subscribers.values()))

    def _wanted(self, kind: str) -> frozenset[bytes]:
        with self._lock:
            subscribers = () if self._closed else self._subscribers.values()
            strays = (name for each in subscribers for name in each.strays if kind == "s")
            return frozenset(strays).union(*(each.wanted[kind] for each in subscribers))

    @property
    def channels(self) -> frozenset[bytes]:
        """The channels that are, or are to be, subscribed."""
        return self._wanted("")

    @property
    def patterns(self) -> frozenset[bytes]:
        """The patterns, as `channels`."""
        return self._wanted("p")

    @property
    def shard_channels(self) -> frozenset[bytes]:
        """The sharded channels, as `channels`."""
        return self._wanted("s")

    def subscribe(self, *channels: Argument | Mapping[Any, Handler], **handlers: Handler) -> None:
        """Subscribe to channels; a keyword names a function that is called with each message of its channel, and so
        does a mapping, for names that are no keywords: `{b"\\xff": function}`.

        Connects if need be. A server that is away is no error: the subscription is made when it is back.
        """
        self._add("", channels, handlers)

    def psubscribe(self, *patterns: Argument | Mapping[Any, Handler], **handlers: Handler) -> None:
        """Subscribe to all channels that match the glob patterns."""
        self._add("p", patterns, handlers)

    def ssubscribe(self, *channels: Argument | Mapping[Any, Handler], **handlers: Handler) -> None:
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

    def _add(
        self, kind: str, names: tuple[Argument | Mapping[Any, Handler], ...], handlers: dict[str, Handler]
    ) -> None:
        wanted: dict[bytes, Handler | None] = {}
        for name in names:
            more: Mapping[Any, Handler | None] = name if isinstance(name, Mapping) else {name: None}
            wanted |= {bytes(encode_argument(each)): handler for each, handler in more.items()}
        wanted |= {bytes(encode_argument(name)): handler for name, handler in handlers.items()}
        if not wanted:
            raise InvalidArgument(f"{kind}subscribe needs at least one name")
        with self._lock:
            self._check_open()
            for name, handler in wanted.items():
                if handler is not None:
                    self._handlers[kind][name] = handler
                else:
                    self._handlers[kind].pop(name, None)
            for upstream, found in self._homes(kind, wanted).items():
                self._subscriber(upstream).subscribe(kind, found)
        # Someone may be waiting for a socket that now also wants to be written, or for one that is gone.
        self._waker.wake()

    def _homes(self, kind: str, names: Iterable[bytes]) -> dict[Upstream, list[bytes]]:
        """Where these names are subscribed."""
        if kind != "s":
            return {self._upstream: list(names)}
        homes: dict[Upstream, list[bytes]] = {}
        for name in names:
            homes.setdefault(self._upstream.shard(name), []).append(name)
        return homes

    def _subscriber(self, upstream: Upstream) -> Subscriber:
        found = self._subscribers.get(upstream)
        if found is None:
            found = self._subscribers[upstream] = Subscriber(
                upstream.connect, self._waiting.append, retry_first=self._retry_first, retry_most=self._retry_most
            )
        return found

    def _remove(self, kind: str, names: tuple[Argument, ...]) -> None:
        with self._lock:
            self._check_open()
            gone = [bytes(encode_argument(name)) for name in names] if names else list(self._wanted(kind))
            for name in gone:
                self._handlers[kind].pop(name, None)
            for each in self._subscribers.values():
                each.unsubscribe(kind, gone)
        self._waker.wake()

    # ---- messages ----------------------------------------------------------------------------------------------------

    def get_message(self, ignore_subscribe_messages: bool = False, timeout: float | None = 0.0) -> Message | None:
        """The next message, or None if there is none within `timeout` seconds (None: wait for ever).

        Messages of channels with a handler go to the handler, and None is returned for them. Raises ClientClosed,
        AuthenticationError, and the ServerError of a subscription that was refused (which is given up).
        """
        return self._next(timeout, ignore_subscribe_messages, lambda: False)

    #: Messages of sharded channels come with the others.
    get_sharded_message = get_message

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
                        try:
                            raise message
                        finally:
                            del message  # no cycle of exception and frame
                    if message["type"] in CONFIRMATIONS and (quietly or self._ignore_confirmations):
                        continue
                    if message["type"] == "gap":
                        self._tell_gap(message["data"])
                    handler = self._handler(message)
                    if self._decode:
                        message = self._decoded(message)
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
        thread = PubSubThread(
            lambda stopped: self._next(None, False, stopped),
            lambda: self._waker.wake(),
            daemon,
            handler,
            exception_handler,
        )
        thread.start()
        return thread

    def ping(self) -> None:
        """Ask the server for a sign of life now; a lost connection is then found within `patience` seconds."""
        with self._lock:
            self._check_open()
            for each in self._subscribers.values():
                if each.line is not None and each.line.asked is None:
                    each.line.heard = float("-inf")
            self._waker.wake()

    def close(self) -> None:
        """Close the connection; a `get_message` that waits raises ClientClosed, `listen` ends."""
        self._closed = True
        self._waker.wake()
        # Who reads must have left poll() before the descriptor can become another one; who connects may take longer.
        alone = self._reading.acquire(timeout=1.0)
        try:
            for each in list(self._subscribers.values()):
                each.close()
            if alone:
                self._waker.close()
        finally:
            if alone:
                self._reading.release()

    # ---- the connections ---------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("this PubSub was closed")

    def _rest(self, left: float) -> None:
        """Wait for something to arrive, or for the moment of the next probe or attempt."""
        lines = []
        with self._lock:
            for each in list(self._subscribers.values()):
                if each.line is None:
                    if each.needed:
                        left = min(left, max(0.0, each.next_attempt - time.monotonic()))
                    continue
                try:
                    left = min(left, each.probe(self._silence, self._patience))
                except RespError as error:
                    each.lose(error)
                    return
                lines.append(each.line)
        wait(lines, self._waker, left)
        if not self._closed:
            self._waker.clear()

    def _fetch(self) -> None:
        """Take what has arrived, on every connection; make those that are missing and whose time has come."""
        with self._lock:
            for upstream, each in list(self._subscribers.items()):
                if each.line is not None and upstream.moved():
                    each.lose(ConnectionLost("another server is the right one now"))
                if upstream is not self._upstream and each.line is None and self._left_behind(upstream, each):
                    # The node is away, and its channels have a new home by now.
                    each.strays += each.wanted["s"]
                    each.wanted["s"].clear()
                each.fetch()
                if each.strays:
                    self._rehome(upstream, each)
                if upstream is not self._upstream and each.idle:
                    each.close()
                    del self._subscribers[upstream]

    def _left_behind(self, upstream: Upstream, subscriber: Subscriber) -> bool:
        """True if a channel of a lost connection belongs to another server now."""
        try:
            return any(self._upstream.shard(name) is not upstream for name in subscriber.wanted["s"])
        except RespError:
            return False

    def _rehome(self, upstream: Upstream, subscriber: Subscriber) -> None:
        """Sharded channels left this server: subscribe where they belong now, and say that there was a gap."""
        strays, subscriber.strays = subscriber.strays, []
        self._upstream.refresh()
        try:
            homes = self._homes("s", strays)
        except RespError as error:
            subscriber.strays = strays  # nobody knows the map: later
            subscriber.last_error = error.with_traceback(None)
            return
        for home, names in homes.items():
            if home is upstream and isinstance(home, Fixed):
                # One server of a cluster, spoken to as if it were alone: there is no other place.
                for name in names:
                    self._handlers["s"].pop(name, None)
                    self._waiting.append(Moved("MOVED", f"the slot of the sharded channel {name!r} is on another node"))
                continue
            for name in names:
                reason = "the sharded channel moved to another node"
                self._waiting.append(Message(type="gap", pattern=None, channel=name, data=reason))
            self._subscriber(home).subscribe("s", names)

    def _tell_gap(self, reason: str) -> None:
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
        self._upstream.on_moved(self._waker.wake)
        if self._closed:
            self._waker.close()
        for each in self._subscribers.values():
            if each.line is not None and not self._closed:
                each.lose(ConnectionLost("the process forked"))

    def _decoded(self, message: Message) -> Message:
        return Message(
            type=message["type"],
            pattern=text(message["pattern"]),
            channel=text(message["channel"]),
            data=text(message["data"]),
        )

    def _handler(self, message: Message) -> Handler | None:
        """The function for a message, which is not decoded yet."""
        if message["type"] not in DATA:
            return None
        kind = message["type"].removesuffix("message")
        name = message["pattern"] if kind == "p" else message["channel"]
        return self._handlers[kind].get(name) if isinstance(name, bytes) else None


_alive: Final = AfterFork(PubSub._after_fork)
