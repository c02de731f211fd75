# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What every command goes through: source of nodes → pool → connection.

A `Source` is what a client, its pipelines and its transactions see of the servers: one server (`resp.node.Node`), the
master that sentinels name (`resp.sentinel`), or the nodes of a cluster (`resp.cluster`). Surprising: error replies
come back from here as values. Who raises them is the client, at the very end and in one place, because a source that
raised could not send a command on to where it belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

from resp.command_kinds import is_read
from resp.encoding import Argument, Request, encode_command, encode_request
from resp.endpoint import Endpoint
from resp.errors import RespError
from resp.listening import Upstream
from resp.tracking_status import Reporter
from resp.values import Value

Args = Sequence[Argument]

_MULTI: Final = encode_command("MULTI")
_EXEC: Final = encode_command("EXEC")


class Stats(NamedTuple):
    """A client in numbers: those of its pools (see `PoolStats`), its breakers, and what had to be tried again."""

    idle: int
    in_use: int
    waiting: int
    pool_size: int
    max_connections: int
    created: int
    failed: int
    replaced: int
    waited: int
    exhausted: int
    retried: int
    breaker: str  # "closed", "open", "half-open" or "off"
    breaker_opened: int


def summed(parts: Sequence[Stats]) -> Stats:
    """Of several nodes together; the breaker is said to be open if one is."""
    numbers = zip(*((*part[:11], part.breaker_opened) for part in parts), strict=True)
    totals = [sum(column) for column in numbers]
    states = {part.breaker for part in parts}
    state = next((state for state in ("open", "half-open", "closed") if state in states), "off")
    return Stats._make([*totals[:-1], state, totals[-1]])


class _Counting(Protocol):
    def close(self) -> None: ...
    def stats(self) -> Stats: ...


class Retired:
    """What was done by nodes that are used no more, which counts all the same."""

    def __init__(self) -> None:
        self._past = Stats(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "off", 0)

    def add(self, node: _Counting) -> None:
        """Close this one, and keep its numbers."""
        node.close()
        done = node.stats()._replace(idle=0, in_use=0, waiting=0, pool_size=0, max_connections=0)
        self._past = summed([self._past, done])

    def and_of(self, nodes: Iterable[_Counting]) -> Stats:
        """The numbers of all of them together."""
        return summed([self._past, *(node.stats() for node in nodes)])


class Batch:
    """Commands that are queued for one exchange: encoded at once, so that a wrong argument is reported where it stands.

    atomic: they go between MULTI and EXEC. last: the connection is not to be used by anybody else afterwards. slots:
    where each belongs, in the words of the source's `slot_of`; empty if the source has none.
    """

    __slots__ = ("_slot_of", "atomic", "last", "names", "requests", "slots")

    def __init__(self, slot_of: Callable[[Args], int | None] | None = None, *, atomic: bool = False) -> None:
        self.requests: list[Request] = []
        self.names: list[Argument] = []
        self.slots: list[int | None] = []
        self.atomic = atomic
        self.last = False
        self._slot_of = slot_of

    def __len__(self) -> int:
        return len(self.requests)

    def add(self, args: Args) -> None:
        """Queue one command. Raises InvalidArgument."""
        request = encode_request(args)
        if self._slot_of is not None:
            self.slots.append(self._slot_of(args))
        self.requests.append(request)
        self.names.append(args[0])

    @property
    def reads(self) -> bool:
        """True if no command of it writes."""
        return not self.atomic and all(map(is_read, self.names))

    def wire(self) -> list[Request]:
        """What is sent."""
        return [_MULTI, *self.requests, _EXEC] if self.atomic else self.requests


class Held(Protocol):
    """A connection that one caller keeps from WATCH to EXEC; ends with `release`, `discard` or any exception."""

    @property
    def open(self) -> bool:
        """False after the end, whatever it was."""

    def exchange(self, requests: list[Request], timeout: float | None) -> list[Value]:
        """Send, and return as many replies, errors in place. An exception ends it."""

    def check(self, args: Args) -> None:
        """Raises CrossSlot if a command belongs to another server than this one."""

    def release(self, last: bool = False) -> None:
        """Give it back; `last`: nobody else may use it."""

    def discard(self) -> None:
        """Close it: it watches, or has something queued."""


class Source(Protocol):
    """See the module. Timeouts are seconds from now, None for none; everything raised is a RespError."""

    slot_of: Callable[[Args], int | None] | None
    """Where a command belongs, for `Batch`; raises CrossSlot. None where every command goes to the same place."""

    @property
    def endpoint(self) -> Endpoint:
        """The server that a command without keys would go to now; for messages, and for what belongs to one server."""

    def call(self, args: Args, timeout: float | None, last: bool = False) -> Value:
        """One command; an error reply is returned."""

    def exchange(self, batch: Batch, timeout: float | None) -> list[Value]:
        """Many; the replies to `batch.wire()`, errors in place."""

    def hold(self, args: Args, timeout: float | None) -> tuple[Held, list[Value]]:
        """A connection for the commands of a transaction that begins with this one, and the one reply to it."""

    def upstream(self) -> Upstream:
        """What listens (publish/subscribe) connects through this."""

    def tracking(self, invalidated: Callable[[bytes | None], object], **options: Any) -> Reporter:
        """Tracking of the keys of all its servers; not started."""

    def stats(self) -> Stats: ...
    def close(self) -> None: ...


def errors_in(replies: Sequence[Value]) -> Iterator[tuple[int, RespError]]:
    """The errors among replies, with their places: of the server, on a cluster those of connections, too."""
    for place, reply in enumerate(replies):
        if isinstance(reply, RespError):
            yield place, reply
