# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands for single bits and small integers inside strings, and HyperLogLogs, which are counted in such a string."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from resp.argument_types import Key
from resp.command_arguments import at_least_one, one_of
from resp.commands.base import B, CommandGroup
from resp.encoding import Argument
from resp.errors import InvalidArgument
from resp.replies import is_ok


class BitField:
    """Several operations on integers inside a string, made by `bitfield` and sent together by `execute`.

        client.bitfield("counters").incrby("u8", "#0", 1).get("u8", "#1").execute()      # [1, 0]

    An integer is named by its encoding (`u8`, `i64`) and its offset in bits, or with `#` in integers of its size.
    """

    def __init__(self, commands: CommandGroup[Any], name: Key, overflow: str | None = None) -> None:
        self._commands = commands
        self._name = name
        self._overflow = "WRAP"
        self._operations: list[Argument] = []
        if overflow is not None:
            self.overflow(overflow)

    def get(self, fmt: str, offset: Argument) -> BitField:
        """Read an integer."""
        self._operations += ["GET", fmt, offset]
        return self

    def set(self, fmt: str, offset: Argument, value: int) -> BitField:
        """Write an integer; the result is the old one."""
        self._operations += ["SET", fmt, offset, value]
        return self

    def incrby(self, fmt: str, offset: Argument, increment: int, overflow: str | None = None) -> BitField:
        """Add to an integer; the result is the new one, None if it would overflow and `overflow` is FAIL."""
        if overflow is not None:
            self.overflow(overflow)
        self._operations += ["INCRBY", fmt, offset, increment]
        return self

    def overflow(self, overflow: str) -> BitField:
        """What happens at the ends of the range from here on: WRAP (the server's default), SAT or FAIL."""
        wanted = one_of(overflow, "WRAP", "SAT", "FAIL")
        if wanted != self._overflow:
            self._overflow = wanted
            self._operations += ["OVERFLOW", wanted]
        return self

    def execute(self) -> Any:
        """Send the operations: one result each, in order."""
        if not self._operations:
            raise InvalidArgument("a bitfield needs at least one operation")
        operations, self._operations, self._overflow = self._operations, [], "WRAP"
        return self._commands._do(["BITFIELD", self._name, *operations])


class Bitmaps(CommandGroup[B]):
    """Bits, small integers, HyperLogLogs."""

    __slots__ = ()

    def getbit(self, name: Key, offset: int) -> int:
        """One bit of a value, 0 beyond its end."""
        return self._do(("GETBIT", name, offset))

    def setbit(self, name: Key, offset: int, value: int) -> int:
        """Set one bit to 0 or 1; what it was."""
        return self._do(("SETBIT", name, offset, int(bool(value))))

    def bitcount(self, key: Key, start: int | None = None, end: int | None = None, mode: str | None = None) -> int:
        """How many bits are 1, from byte `start` to `end`, both included; mode "BIT": these are bits."""
        return self._do(["BITCOUNT", key, *_range(start, end, mode)])

    def bitpos(
        self, key: Key, bit: int, start: int | None = None, end: int | None = None, mode: str | None = None
    ) -> int:
        """The first bit that is 0, or 1, in a range as for `bitcount`; -1 if there is none."""
        if bit not in (0, 1):
            raise InvalidArgument("a bit is 0 or 1")
        args: list[Argument] = ["BITPOS", key, bit]
        if end is None and start is not None and mode is None:
            return self._do([*args, start])
        return self._do([*args, *_range(start, end, mode)])

    def bitop(self, operation: str, dest: Key, *keys: Key) -> int:
        """AND, OR, XOR or NOT of values, bit by bit, into `dest`; its length in bytes."""
        return self._do(["BITOP", operation, dest, *at_least_one(list(keys))])

    def bitfield(self, key: Key, default_overflow: str | None = None) -> BitField:
        """Integers inside a value: a `BitField`, to which operations are added, and then `execute()`."""
        return BitField(self, key, default_overflow)

    def bitfield_ro(
        self, key: Key, encoding: str, offset: Argument, items: Iterable[tuple[str, Argument]] | None = None
    ) -> list[int]:
        """Read integers inside a value; `items` has more of `(encoding, offset)`."""
        args: list[Argument] = ["BITFIELD_RO", key]
        for one in [(encoding, offset), *(items or [])]:
            args += ["GET", *one]
        return self._do(args)

    def pfadd(self, name: Key, *values: Argument) -> int:
        """Count values in a HyperLogLog; 1 if its estimate may have changed."""
        return self._do(["PFADD", name, *values])

    def pfcount(self, *sources: Key) -> int:
        """About how many different values were counted, in all sources together."""
        return self._do(["PFCOUNT", *at_least_one(list(sources))])

    def pfmerge(self, dest: Key, *sources: Key) -> bool:
        """Put what was counted in the sources into `dest`; True."""
        return self._do(["PFMERGE", dest, *sources], is_ok)


def _range(start: int | None, end: int | None, mode: str | None) -> list[Argument]:
    if (start is None) != (end is None):
        raise InvalidArgument("a range needs both its start and its end")
    if start is None or end is None:
        if mode is not None:
            raise InvalidArgument("a mode needs a range")
        return []
    return [start, end] if mode is None else [start, end, one_of(mode, "BYTE", "BIT")]
