# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One connection that subscriptions live on: what is wanted there, what the server confirmed, coming back after a loss.

Half of it is free of I/O: which commands say what is wanted, and what each thing that the server said means.
Surprising: a server may end a sharded subscription by itself, when the slot moves to another node, in the very form in
which it confirms an UNSUBSCRIBE; only who keeps count of what he asked for can tell the two apart.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from copy import copy
from typing import Any, Final, TypedDict

from resp.connection import Connection
from resp.errors import AuthenticationError, Moved, RespError, ServerError, TemporaryError
from resp.listening import Line, backoff

logger = logging.getLogger("resp.pubsub")


class Message(TypedDict):
    """What `get_message` returns.

    type: "message", "pmessage", "smessage"; "subscribe", "unsubscribe" and the like with p or s before them, whose data
    is the number of subscriptions left; "gap" after a reconnect, whose data says why, with a channel if it concerns
    one sharded channel only; pattern: for a pmessage.
    """

    type: str
    pattern: bytes | str | None
    channel: bytes | str | None
    data: Any


Handler = Callable[[Message], object]

# How the three kinds of subscription are called: command, its reverse, what carries data.
KINDS: Final = {
    "": ("subscribe", "unsubscribe", "message"),
    "p": ("psubscribe", "punsubscribe", "pmessage"),
    "s": ("ssubscribe", "sunsubscribe", "smessage"),
}
DATA: Final = frozenset({"message", "pmessage", "smessage"})
CONFIRMATIONS: Final = {
    name: (kind, wanted) for kind, names in KINDS.items() for name, wanted in ((names[0], True), (names[1], False))
}


class Subscriber:
    """See the module. Whoever owns it holds a lock around every call.

    connect: opens a connection. emit: takes messages, and errors that the reader should see. retry_first, retry_most:
    seconds between attempts to connect.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        emit: Callable[[Message | RespError], object],
        *,
        retry_first: float,
        retry_most: float,
    ) -> None:
        self._connect = connect
        self._emit = emit
        self._retry_first, self._retry_most = retry_first, retry_most
        #: What should be subscribed here, per kind, in the order asked for.
        self.wanted: dict[str, dict[bytes, None]] = {kind: {} for kind in KINDS}
        #: Sharded channels that moved to another server; the owner takes them out and finds their new place.
        self.strays: list[bytes] = []
        # Commands whose confirmations have not all come: kind and names, in the order sent. None is a PING.
        self._pending: deque[tuple[str, bool, list[bytes]] | None] = deque()
        self.line: Line | None = None
        self.next_attempt = 0.0
        self.last_error: RespError | None = None
        self._failed_attempts = 0
        self._gap: str | None = None
        self._complaint: str | None = None  # what was logged last

    @property
    def needed(self) -> bool:
        """True if anything is to be subscribed here."""
        return any(self.wanted.values())

    @property
    def unconfirmed(self) -> bool:
        """True if the server has not said to everything that it is done."""
        return any(pending is not None for pending in self._pending)

    @property
    def idle(self) -> bool:
        """True if nothing is wanted here, nothing left to be confirmed, and nothing waits for its new place."""
        return not (self.needed or self.unconfirmed or self.strays)

    # ---- what is wanted ----------------------------------------------------------------------------------------------

    def subscribe(self, kind: str, names: Iterable[bytes]) -> None:
        """Want these, and say so; connects if there is no connection."""
        found = list(names)
        self.wanted[kind].update(dict.fromkeys(found))
        if self.line is not None:
            self._say(kind, True, found)
        else:
            # Makes the connection, and says everything that is wanted.
            self.reconnect()

    def unsubscribe(self, kind: str, names: Collection[bytes]) -> None:
        """Want these no more."""
        gone = [name for name in dict.fromkeys(names) if name in self.wanted[kind]]
        for name in gone:
            del self.wanted[kind][name]
        if kind == "s":
            self.strays = [name for name in self.strays if name not in names]
        if gone and self.line is not None:
            self._say(kind, False, gone)

    def _say(self, kind: str, wanted: bool, names: list[bytes], *, alone: bool = False) -> None:
        command = KINDS[kind][0 if wanted else 1].upper()
        # Sharded channels may belong to different slots, which one command must not mix.
        for group in [[name] for name in names] if kind == "s" or alone else [list(names)]:
            if self.line is None:
                break
            self._pending.append((kind, wanted, group))
            try:
                self.line.send((command, *group))
            except RespError as error:
                self.lose(error)

    # ---- the connection ----------------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        """One attempt to connect and to subscribe to all that is wanted. Raises AuthenticationError."""
        try:
            line = Line(self._connect())
        except RespError as error:
            # The error itself will know the frames it goes through, and they know this.
            self.last_error = copy(error)
            self._failed_attempts += 1
            self._put_off()
            self._complain(error)
            if isinstance(error, AuthenticationError):
                raise
            return
        self._failed_attempts += 1  # until a confirmation comes
        self.line = line
        for kind, names in self.wanted.items():
            if names and self.line is not None:
                self._say(kind, True, list(names))
        if self._gap is not None and self.line is not None:
            reason, self._gap = self._gap, None
            self._emit(Message(type="gap", pattern=None, channel=None, data=reason))

    def lose(self, error: RespError) -> None:
        """The connection is gone, or is to go."""
        line, self.line = self.line, None
        if line is not None:
            line.close()
        self._pending.clear()
        self.last_error = error.with_traceback(None)
        if self.needed and self._gap is None:
            self._gap = str(error)
        # At once the first time; later if the server takes connections only to drop them.
        self._put_off()
        self._complain(error)

    def _put_off(self) -> None:
        failed = self._failed_attempts
        pause = backoff(failed - 1, self._retry_first, self._retry_most) if failed else 0.0
        self.next_attempt = time.monotonic() + pause

    def _complain(self, error: RespError) -> None:
        """Say it in the log, once for each new reason: a wrong port or authority is for ever, and nothing raises."""
        if self.needed and str(error) != self._complaint:
            self._complaint = str(error)
            logger.warning("publish/subscribe: %s; trying again", self._complaint)

    def probe(self, silence: float, patience: float) -> float:
        """Ask a silent server for a sign of life; seconds until this is to be called again. Raises ConnectionLost."""
        assert self.line is not None
        left = self.line.probe(silence, patience)
        if self.line.asked is not None and None not in self._pending:
            self._pending.append(None)
        return left

    def close(self) -> None:
        line, self.line = self.line, None
        if line is not None:
            line.close()

    # ---- what the server says ----------------------------------------------------------------------------------------

    def fetch(self) -> None:
        """Take what has arrived; connect if there is no connection and its time has come."""
        if self.line is None:
            if self.needed and time.monotonic() >= self.next_attempt:
                self.reconnect()
            return
        try:
            items = self.line.items()
        except RespError as error:
            self.lose(error)
            return
        for item in items:
            self._is_hint(item)

    def _is_hint(self, item: Any) -> None:
        """Turn one thing that the server said into a message, or into an error to raise."""
        if isinstance(item, ServerError):
            self._refused(item)
            return
        if not isinstance(item, list) or not item or not isinstance(item[0], bytes):
            # The reply to a PING outside of subscribed mode.
            self._ponged()
            return
        kind = item[0].decode("ascii", "replace")
        if kind in DATA and len(item) == (4 if kind == "pmessage" else 3):
            channel, data = item[-2:]
            self._emit(Message(type=kind, pattern=item[1] if kind == "pmessage" else None, channel=channel, data=data))
        elif kind in CONFIRMATIONS and len(item) == 3:
            self._failed_attempts, self._complaint = 0, None
            if self._confirmed(*CONFIRMATIONS[kind], item[1]):
                self._emit(Message(type=kind, pattern=None, channel=item[1], data=item[2]))
            else:
                # Nobody asked for it: the slot of this channel belongs to another server now.
                self._stray(item[1])
        elif kind == "pong":
            self._ponged()

    def _confirmed(self, kind: str, wanted: bool, name: bytes | None) -> bool:
        """Cross out what this confirms; False if it is no answer but the server's own decision."""
        for at, pending in enumerate(self._pending):
            if pending is not None and pending[:2] == (kind, wanted) and (name in pending[2] or name is None):
                if name is not None:
                    pending[2].remove(name)
                if not pending[2] or name is None:
                    del self._pending[at]
                return True
        return wanted or name is None or name not in self.wanted[kind]

    def _stray(self, name: bytes) -> None:
        self.wanted["s"].pop(name, None)
        self.strays.append(name)

    def _ponged(self) -> None:
        with contextlib.suppress(ValueError):
            self._pending.remove(None)

    def _refused(self, error: ServerError) -> None:
        """An error reply belongs to the oldest command that is not confirmed."""
        pending = self._pending.popleft() if self._pending else None
        if pending is None:
            return
        kind, wanted, names = pending
        if isinstance(error, TemporaryError):
            # The subscription was not made and may be in a moment: start over with a new connection.
            self.lose(error)
            return
        if wanted and len(names) > 1:
            # One of them is forbidden, and the server does not say which.
            self._say(kind, True, [name for name in names if name in self.wanted[kind]], alone=True)
            return
        if wanted and kind == "s" and isinstance(error, Moved):
            for name in names:
                self._stray(name)
            return
        for name in names if wanted else ():
            self.wanted[kind].pop(name, None)
        error.command = KINDS[kind][0 if wanted else 1].upper()
        self._emit(error)
