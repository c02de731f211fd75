# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is composed of several commands, or needs a reply before the next one: for clients only, not for pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NoReturn, TypeVar, overload

from resp.argument_types import Key, Number, Pattern
from resp.commands.base import B
from resp.commands.bitmaps import Bitmaps
from resp.commands.connections import Connections
from resp.commands.geo import Geo
from resp.commands.hashes import Hashes
from resp.commands.keys import Keyspace
from resp.commands.lists import Lists
from resp.commands.locks import Lock
from resp.commands.messages import Messages
from resp.commands.scripting import Script, Scripting
from resp.commands.server import ServerCommands
from resp.commands.sets import Sets
from resp.commands.sorted_sets import SortedSets
from resp.commands.streams import Streams
from resp.commands.strings import Strings
from resp.encoding import Argument
from resp.errors import InvalidArgument
from resp.replies import Cast

T = TypeVar("T")


class Commands(
    Strings[B],
    Bitmaps[B],
    Keyspace[B],
    Hashes[B],
    Lists[B],
    Sets[B],
    SortedSets[B],
    Streams[B],
    Geo[B],
    Scripting[B],
    Messages[B],
    ServerCommands[B],
    Connections[B],
):
    """The commands, named as redis-py names them.

    Keys and values are bytes, bytearray, memoryview, str (UTF-8), int or float; texts in results are `B`. What a
    method returns is the same over RESP2 and RESP3, and written for a client; in a pipeline every method returns the
    pipeline.
    """

    __slots__ = ()


class ClientCommands(Commands[B]):
    """Iterators, `in` and `[]`, scripts and locks, over a client that answers at once."""

    __slots__ = ()

    # ---- all of something ----------------------------------------------------------------------------------------

    def scan_iter(self, match: Pattern = None, count: Number = None, _type: str | None = None) -> Iterator[B]:
        """All keys, in no order; a key may come twice, and one that comes and goes meanwhile may be missed."""
        return _pages(lambda cursor: self.scan(cursor, match, count, _type))

    @overload
    def hscan_iter(
        self, name: Key, match: Pattern = None, count: Number = None, no_values: Literal[False] | None = None
    ) -> Iterator[tuple[B, B]]: ...
    @overload
    def hscan_iter(
        self, name: Key, match: Pattern = None, count: Number = None, *, no_values: Literal[True]
    ) -> Iterator[B]: ...
    def hscan_iter(
        self, name: Key, match: Pattern = None, count: Number = None, no_values: bool | None = None
    ) -> Iterator[Any]:
        """All `(field, value)` of a hash, or all fields with no_values, in no order."""
        if no_values:
            return _pages(lambda cursor: self.hscan(name, cursor, match, count, no_values=True))

        def pairs(cursor: int) -> tuple[int, Iterable[tuple[B, B]]]:
            cursor, found = self.hscan(name, cursor, match, count)
            return cursor, found.items()

        return _pages(pairs)

    def sscan_iter(self, name: Key, match: Pattern = None, count: Number = None) -> Iterator[B]:
        """All members of a set, in no order."""
        return _pages(lambda cursor: self.sscan(name, cursor, match, count))

    def zscan_iter(
        self, name: Key, match: Pattern = None, count: Number = None, score_cast_func: Cast = float
    ) -> Iterator[tuple[B, float]]:
        """All `(member, score)`, in no order."""
        return _pages(lambda cursor: self.zscan(name, cursor, match, count, score_cast_func))

    # ---- as a mapping --------------------------------------------------------------------------------------------

    def __contains__(self, name: Key) -> bool:
        return bool(self.exists(name))

    def __getitem__(self, name: Key) -> B:
        """The value of a key; raises KeyError if there is none."""
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: Key, value: Argument) -> None:
        self.set(name, value)

    def __delitem__(self, name: Key) -> None:
        self.delete(name)

    def __iter__(self) -> NoReturn:
        # Without it `for` would try numbers as keys, one after the other.
        raise InvalidArgument("a client cannot be iterated over: scan_iter() gives the keys")

    # ---- scripts and locks ---------------------------------------------------------------------------------------

    def register_script(self, script: str | bytes) -> Script:
        """A Lua script to be called like a function: see `resp.Script`. Nothing is sent yet."""
        return Script(self, script)

    def lock(
        self,
        name: Key,
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        thread_local: bool = True,
        raise_on_release_error: bool = True,
    ) -> Lock:
        """A lock that all clients of the server share: see `resp.Lock`, and what it cannot do."""
        return Lock(self, name, timeout, sleep, blocking, blocking_timeout, thread_local, raise_on_release_error)


def _pages(scan: Callable[[int], tuple[int, Iterable[T]]]) -> Iterator[T]:
    """What a command finds that gives a part and the cursor of the next one, until the cursor is 0."""
    cursor = 0
    while True:
        cursor, found = scan(cursor)
        yield from found
        if not cursor:
            return
