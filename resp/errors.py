# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The exceptions of `resp`: one tree, sorted by what the caller should do next.

Everything that goes wrong in a call is a `RespError`; no OSError, ssl.SSLError, UnicodeError or other exception of the
standard library comes out of this package. Surprising on purpose: an error reply of the server is an ordinary *value*
for the parser (a `ServerError` instance, see `server_error`) and is raised only by the client, because inside a
pipeline or an EXEC reply one failed command must not hide the results of the others.

    RespError
    ├── InvalidArgument       the call itself is wrong (None, bool, unknown option): fix the program
    ├── Timeout               the deadline passed; `maybe_executed` says whether the server may have run the command
    ├── ConnectionLost        refused, reset, closed, unresolvable; `maybe_executed` as above
    │   └── ClientClosed      close() was called on this client
    ├── PoolExhausted         every connection is in use: raise the limit, or do less at once
    ├── BreakerOpen           the server was away a moment ago: use the fallback, try again later
    ├── ProtocolError         what came back is not RESP, or exceeds a limit; the connection was closed
    │   └── Desynchronised        more came back than was asked for
    ├── WatchError            a watched key changed, the transaction did not run: start it over
    ├── LockError             a lock was not to be had, or is not held here
    │   └── LockNotOwned          it has ended before it was given back
    └── ServerError           the server answered with an error (`code`, `message`)
        ├── AuthenticationError   NOAUTH WRONGPASS DENIED: wrong credentials, trying again does not help
        ├── NoPermission          NOPERM: the access control list forbids this
        ├── TemporaryError        not executed, may work in a moment
        │   ├── Loading, Busy, MasterDown, TryAgain, ClusterDown, TooManyClients
        ├── ReadOnly              READONLY: this is a replica now, writes go elsewhere
        ├── WritesRefused         reads still work
        │   ├── OutOfMemory, PersistenceFailed, NotEnoughReplicas
        ├── Redirected            ask `host`:`port` instead
        │   ├── Moved, Ask        (also `slot`)
        └── WrongType, NoScript, ExecAborted, CrossSlot, NoProtocol   the command itself is wrong
"""

from __future__ import annotations


class RespError(Exception):
    """Anything that went wrong in `resp`; catch this one to treat the server as a cache that may be absent."""


class InvalidArgument(RespError, TypeError, ValueError):
    """The call itself is wrong (an argument of a type that cannot be sent, an unknown option): nothing was sent."""


class Timeout(RespError):
    """The deadline of the call passed, whatever part of it was slow; the connection was closed.

    `maybe_executed` is False if the server cannot have run the command, because it was never sent completely.
    """

    def __init__(self, message: str = "the deadline passed", *, maybe_executed: bool = True) -> None:
        super().__init__(message)
        self.maybe_executed = maybe_executed


class ConnectionLost(RespError):
    """No connection could be made, or it broke.

    `maybe_executed` is False if the server cannot have run the command, because it was never sent completely;
    `reply_begun` is True if a part of the reply had arrived.
    """

    def __init__(self, message: str = "the connection was lost", *, maybe_executed: bool = True) -> None:
        super().__init__(message)
        self.maybe_executed = maybe_executed
        self.reply_begun = False


class ClientClosed(ConnectionLost):
    """The client was closed by `close()`; make a new one."""

    def __init__(self, message: str = "this client was closed") -> None:
        super().__init__(message, maybe_executed=False)


class PoolExhausted(RespError):
    """All connections stayed in use for as long as the caller was willing to wait; the text has the numbers."""


class BreakerOpen(RespError):
    """The server failed repeatedly; calls fail at once until `retry_after` (seconds from now) has passed."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProtocolError(RespError):
    """The bytes received are not RESP or exceed a limit of the parser; the connection cannot be used any more."""


class Desynchronised(ProtocolError):
    """More came than was asked for, so that nobody knows which reply answers which command."""


class WatchError(RespError):
    """A watched key was changed by someone else before EXEC, so that nothing of the transaction was executed."""


class LockError(RespError):
    """A `Lock` was not to be had in time, or is used by who does not hold it."""


class LockNotOwned(LockError):
    """A `Lock` ended, or became another's, before it was given back or extended."""


class ServerError(RespError):
    """An error reply: `code` is its first word (`WRONGTYPE`), `message` the rest, in the server's own words.

    Decide by type or `code` only: the messages differ between servers and versions.
    """

    def __init__(self, code: str = "ERR", message: str = "") -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        #: The name of the command, where it is known; never its arguments.
        self.command: str | None = None
        #: Its place in a pipeline or transaction, from 0.
        self.place: int | None = None

    def __str__(self) -> str:
        text = f"{self.code} {self.message}" if self.message else self.code
        if self.place is not None:
            return f"{text} (command {self.place + 1} of the pipeline: {self.command})"
        return text


class AuthenticationError(ServerError):
    """The server wants other credentials (NOAUTH, WRONGPASS, DENIED); the connection was closed."""


class NoPermission(ServerError):
    """The user may not run this command or touch this key (NOPERM)."""

    def __str__(self) -> str:
        # Of a key or a channel servers say that it is forbidden, not to whom and for what.
        return (
            super().__str__() if self.place is not None or not self.command else f"{super().__str__()} ({self.command})"
        )


class TemporaryError(ServerError):
    """The server did not execute the command and may do so in a moment."""


class Loading(TemporaryError):
    """The server is reading its data set from disk (LOADING)."""


class Busy(TemporaryError):
    """A script or function runs for too long (BUSY)."""


class MasterDown(TemporaryError):
    """A replica without its master refuses to serve old data (MASTERDOWN)."""


class TryAgain(TemporaryError):
    """The keys of a command are being moved between cluster nodes (TRYAGAIN)."""


class ClusterDown(TemporaryError):
    """The cluster does not serve this slot (CLUSTERDOWN)."""


class TooManyClients(TemporaryError):
    """The server has reached its `maxclients`; the connection was closed."""


class ReadOnly(ServerError):
    """A write reached a replica (READONLY), perhaps after a change of roles; the connection was closed."""


class WritesRefused(ServerError):
    """The server refuses writes for now; reads still work."""


class OutOfMemory(WritesRefused):
    """The server has reached its `maxmemory` and may not evict enough (OOM)."""


class PersistenceFailed(WritesRefused):
    """The server cannot save its data to disk (MISCONF)."""


class NotEnoughReplicas(WritesRefused):
    """Fewer replicas are connected than the server demands for writes (NOREPLICAS)."""


class Redirected(ServerError):
    """Another server has what was asked for: `host` ("" means the host that was asked) and `port`."""

    def __init__(self, code: str = "REDIRECT", message: str = "") -> None:
        super().__init__(code, message)
        # The last colon, because an IPv6 address is written without brackets here.
        host, _, port = message.rpartition(" ")[2].rpartition(":")
        self.host = host
        self.port = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0


class Moved(Redirected):
    """The slot lives on another cluster node now (MOVED): refresh the slot map, then go to `host`:`port`."""

    def __init__(self, code: str = "MOVED", message: str = "") -> None:
        super().__init__(code, message)
        slot = message.partition(" ")[0]
        self.slot = int(slot) if slot.isascii() and slot.isdigit() and len(slot) <= 5 else -1


class Ask(Moved):
    """This one key is on its way to another node (ASK): send ASKING and the command there, once."""


class WrongType(ServerError):
    """The key holds another kind of value than the command works on (WRONGTYPE)."""


class NoScript(ServerError):
    """EVALSHA of a script that the server does not know (NOSCRIPT): send it with EVAL."""


class ExecAborted(ServerError):
    """EXEC refused to run, because a command of the transaction was refused when it was queued (EXECABORT)."""


class CrossSlot(ServerError):
    """The keys of one command belong to different cluster slots (CROSSSLOT)."""


class NoProtocol(ServerError):
    """HELLO with a protocol version that the server does not speak (NOPROTO)."""


_BY_CODE: dict[str, type[ServerError]] = {
    "NOAUTH": AuthenticationError,
    "WRONGPASS": AuthenticationError,
    "DENIED": AuthenticationError,
    "NOPERM": NoPermission,
    "LOADING": Loading,
    "BUSY": Busy,
    "INPROG": TemporaryError,
    "MASTERDOWN": MasterDown,
    "TRYAGAIN": TryAgain,
    "CLUSTERDOWN": ClusterDown,
    "READONLY": ReadOnly,
    "OOM": OutOfMemory,
    "MISCONF": PersistenceFailed,
    "NOREPLICAS": NotEnoughReplicas,
    "REDIRECT": Redirected,
    "MOVED": Moved,
    "ASK": Ask,
    "WRONGTYPE": WrongType,
    "NOSCRIPT": NoScript,
    "EXECABORT": ExecAborted,
    "CROSSSLOT": CrossSlot,
    "NOPROTO": NoProtocol,
}

# Errors that servers before 6.0 report as a plain ERR although they mean one of the types above.
_BY_TEXT: tuple[tuple[str, type[ServerError]], ...] = (
    ("invalid password", AuthenticationError),
    ("AUTH ", AuthenticationError),
    ("Client sent AUTH", AuthenticationError),
    ("max number of clients", TooManyClients),
    ("operation not permitted", AuthenticationError),
)


def server_error(line: bytes) -> ServerError:
    """The error value for the text of an error reply (without its `-` and CRLF); any bytes are accepted.

    A code is a first word in capitals; a code that a server puts behind a general `ERR ` (Kvrocks) is found too.
    """
    text = line.decode("utf-8", "replace")
    code, _, message = text.partition(" ")
    if code == "ERR":
        inner, _, rest = message.partition(" ")
        if inner in _BY_CODE:
            return _BY_CODE[inner](inner, rest)
        for prefix, kind in _BY_TEXT:
            if message.startswith(prefix):
                return kind(code, message)
        return ServerError(code, message)
    if not code.isupper():
        return ServerError("ERR", text)
    return _BY_CODE.get(code, ServerError)(code, message)
