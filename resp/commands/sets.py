# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands for sets: members, and what several sets have together or apart."""

from __future__ import annotations

from typing import overload

from resp.argument_types import Key, Keys, Number, Pattern
from resp.command_arguments import at_least_one, numkeys_of, option, scan_words, words
from resp.commands.base import B, CommandGroup
from resp.encoding import Argument
from resp.replies import as_scan


class Sets(CommandGroup[B]):
    """Sets."""

    __slots__ = ()

    def sadd(self, name: Key, *values: Argument) -> int:
        """Add members; how many are new."""
        return self._do(["SADD", name, *at_least_one(list(values), "member")])

    def srem(self, name: Key, *values: Argument) -> int:
        """Remove members; how many there were."""
        return self._do(["SREM", name, *at_least_one(list(values), "member")])

    def smembers(self, name: Key) -> set[B]:
        """All members as a set."""
        return self._do(("SMEMBERS", name), set)

    def sismember(self, name: Key, value: Argument) -> bool:
        """True if it is a member."""
        return self._do(("SISMEMBER", name, value), bool)

    def smismember(self, name: Key, values: Keys, *args: Argument) -> list[int]:
        """For each value whether it is a member, as 1 or 0."""
        return self._do(["SMISMEMBER", name, *at_least_one(words(values, args), "member")])

    def scard(self, name: Key) -> int:
        """How many members there are."""
        return self._do(("SCARD", name))

    @overload
    def spop(self, name: Key, count: None = None) -> B | None: ...
    @overload
    def spop(self, name: Key, count: int) -> list[B]: ...
    def spop(self, name: Key, count: Number = None) -> B | list[B] | None:
        """Take some member, or up to `count` of them as a list."""
        return self._do(["SPOP", name] if count is None else ["SPOP", name, count])

    @overload
    def srandmember(self, name: Key, number: None = None) -> B | None: ...
    @overload
    def srandmember(self, name: Key, number: int) -> list[B]: ...
    def srandmember(self, name: Key, number: Number = None) -> B | list[B] | None:
        """Some member, or `number` of them as a list (negative: the same may come again)."""
        return self._do(["SRANDMEMBER", name] if number is None else ["SRANDMEMBER", name, number])

    def sinter(self, keys: Keys, *args: Key) -> set[B]:
        """Members of all sets."""
        return self._do(["SINTER", *at_least_one(words(keys, args))], set)

    def sunion(self, keys: Keys, *args: Key) -> set[B]:
        """Members of any set."""
        return self._do(["SUNION", *at_least_one(words(keys, args))], set)

    def sdiff(self, keys: Keys, *args: Key) -> set[B]:
        """Members of the first set that are in none of the others."""
        return self._do(["SDIFF", *at_least_one(words(keys, args))], set)

    def sinterstore(self, dest: Key, keys: Keys, *args: Key) -> int:
        """Put what `sinter` finds into `dest`; how many there are."""
        return self._do(["SINTERSTORE", dest, *at_least_one(words(keys, args))])

    def sunionstore(self, dest: Key, keys: Keys, *args: Key) -> int:
        """Put what `sunion` finds into `dest`; how many there are."""
        return self._do(["SUNIONSTORE", dest, *at_least_one(words(keys, args))])

    def sdiffstore(self, dest: Key, keys: Keys, *args: Key) -> int:
        """Put what `sdiff` finds into `dest`; how many there are."""
        return self._do(["SDIFFSTORE", dest, *at_least_one(words(keys, args))])

    def sintercard(self, numkeys: int, keys: Keys, limit: int = 0) -> int:
        """How many members all sets have; counting stops at `limit` if that is not 0."""
        return self._do(["SINTERCARD", *numkeys_of(numkeys, keys), *option("LIMIT", limit or None)])

    def smove(self, src: Key, dst: Key, value: Argument) -> bool:
        """Move a member to another set; True if it was there."""
        return self._do(("SMOVE", src, dst, value), bool)

    def sscan(self, name: Key, cursor: int = 0, match: Pattern = None, count: Number = None) -> tuple[int, list[B]]:
        """Some members and the next cursor: `(cursor, [member, …])`."""
        return self._do(scan_words(("SSCAN", name, cursor), match, count), as_scan)
