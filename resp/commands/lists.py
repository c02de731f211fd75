# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands for lists, those that wait for a value among them.

A waiting command keeps its connection busy for as long as it waits, and its call may take that long on top of the
client's timeout. In a pipeline it holds up everything behind it; inside MULTI the server does not wait at all.
"""

from __future__ import annotations

from typing import overload

from resp.argument_types import Key, Keys, Number
from resp.command_arguments import at_least_one, numkeys_of, one_of, option, words
from resp.commands.base import B, CommandGroup
from resp.encoding import Argument
from resp.replies import as_taken, is_ok


class Lists(CommandGroup[B]):
    """Lists."""

    __slots__ = ()

    def lpush(self, name: Key, *values: Argument) -> int:
        """Put values in front of a list, one after the other; its new length."""
        return self._do(["LPUSH", name, *at_least_one(list(values), "value")])

    def rpush(self, name: Key, *values: Argument) -> int:
        """Append values to a list; its new length."""
        return self._do(["RPUSH", name, *at_least_one(list(values), "value")])

    def lpushx(self, name: Key, *values: Argument) -> int:
        """`lpush` if there is such a list; its new length, 0 if there is none."""
        return self._do(["LPUSHX", name, *at_least_one(list(values), "value")])

    def rpushx(self, name: Key, *values: Argument) -> int:
        """`rpush` if there is such a list; its new length, 0 if there is none."""
        return self._do(["RPUSHX", name, *at_least_one(list(values), "value")])

    @overload
    def lpop(self, name: Key, count: None = None) -> B | None: ...
    @overload
    def lpop(self, name: Key, count: int) -> list[B] | None: ...
    def lpop(self, name: Key, count: Number = None) -> B | list[B] | None:
        """Take the first value, or up to `count` of them as a list; None if there is no list."""
        return self._do(["LPOP", name] if count is None else ["LPOP", name, count])

    @overload
    def rpop(self, name: Key, count: None = None) -> B | None: ...
    @overload
    def rpop(self, name: Key, count: int) -> list[B] | None: ...
    def rpop(self, name: Key, count: Number = None) -> B | list[B] | None:
        """Take the last value, or up to `count` of them as a list; None if there is no list."""
        return self._do(["RPOP", name] if count is None else ["RPOP", name, count])

    def lrange(self, name: Key, start: int, end: int) -> list[B]:
        """A part of a list, both ends included, -1 being the last."""
        return self._do(("LRANGE", name, start, end))

    def llen(self, name: Key) -> int:
        """The length of a list."""
        return self._do(("LLEN", name))

    def lindex(self, name: Key, index: int) -> B | None:
        """One value of a list, None beyond its ends."""
        return self._do(("LINDEX", name, index))

    @overload
    def lpos(
        self, name: Key, value: Argument, rank: Number = None, count: None = None, maxlen: Number = None
    ) -> int | None: ...
    @overload
    def lpos(
        self, name: Key, value: Argument, rank: Number = None, *, count: int, maxlen: Number = None
    ) -> list[int]: ...
    def lpos(
        self, name: Key, value: Argument, rank: Number = None, count: Number = None, maxlen: Number = None
    ) -> int | list[int] | None:
        """The place of a value in a list, None if it is not there; with `count` a list of places, 0 for all.

        rank: begin with the so many-th match, negative from the end. maxlen: compare so many values at most.
        """
        more = [*option("RANK", rank), *option("COUNT", count), *option("MAXLEN", maxlen)]
        return self._do(["LPOS", name, value, *more])

    def lset(self, name: Key, index: int, value: Argument) -> bool:
        """Replace one value of a list; True."""
        return self._do(("LSET", name, index, value), is_ok)

    def linsert(self, name: Key, where: str, refvalue: Argument, value: Argument) -> int:
        """Put a value "BEFORE" or "AFTER" another; the new length, -1 if that is not there, 0 if there is no list."""
        return self._do(("LINSERT", name, one_of(where, "BEFORE", "AFTER"), refvalue, value))

    def lrem(self, name: Key, count: int, value: Argument) -> int:
        """Remove a value from a list, `count` times (0: all, negative: from the end); how many were removed."""
        return self._do(("LREM", name, count, value))

    def ltrim(self, name: Key, start: int, end: int) -> bool:
        """Cut a list down to a part of it; True."""
        return self._do(("LTRIM", name, start, end), is_ok)

    def lmove(self, first_list: Key, second_list: Key, src: str = "LEFT", dest: str = "RIGHT") -> B | None:
        """Take a value from one end of a list and put it to one end of another; the value, None if there is none."""
        return self._do(("LMOVE", first_list, second_list, _end(src), _end(dest)))

    def rpoplpush(self, src: Key, dst: Key) -> B | None:
        """`lmove` from the right to the left, by its old name."""
        return self._do(("RPOPLPUSH", src, dst))

    def lmpop(self, num_keys: int, *args: Key, direction: str, count: int | None = 1) -> tuple[B, list[B]] | None:
        """Take up to `count` values from an end ("LEFT", "RIGHT") of the first list that has any: key and values."""
        return self._do(["LMPOP", *_several(num_keys, args, direction, count)], as_taken)

    # ---- waiting for a value; `timeout` in seconds, 0 for ever -----------------------------------------------------

    def blpop(self, keys: Keys, timeout: float | None = 0) -> tuple[B, B] | None:
        """Take the first value of the first list that has any, or wait for it: key and value, None after `timeout`."""
        span = timeout or 0
        return self._wait(span, ["BLPOP", *at_least_one(words(keys)), span], as_taken)

    def brpop(self, keys: Keys, timeout: float | None = 0) -> tuple[B, B] | None:
        """The same with the last value."""
        span = timeout or 0
        return self._wait(span, ["BRPOP", *at_least_one(words(keys)), span], as_taken)

    def blmove(
        self, first_list: Key, second_list: Key, timeout: float, src: str = "LEFT", dest: str = "RIGHT"
    ) -> B | None:
        """`lmove`, and wait for a value; None after `timeout`."""
        return self._wait(timeout, ("BLMOVE", first_list, second_list, _end(src), _end(dest), timeout))

    def brpoplpush(self, src: Key, dst: Key, timeout: float | None = 0) -> B | None:
        """`blmove` from the right to the left, by its old name."""
        return self._wait(timeout or 0, ("BRPOPLPUSH", src, dst, timeout or 0))

    def blmpop(
        self, timeout: float, numkeys: int, *args: Key, direction: str, count: int | None = 1
    ) -> tuple[B, list[B]] | None:
        """`lmpop`, and wait for a value; None after `timeout`."""
        return self._wait(timeout, ["BLMPOP", timeout, *_several(numkeys, args, direction, count)], as_taken)


def _end(word: str) -> str:
    return one_of(word, "LEFT", "RIGHT")


def _several(number: int, keys: tuple[Key, ...], direction: str, count: int | None) -> list[Argument]:
    return [*numkeys_of(number, keys), _end(direction), *option("COUNT", None if count == 1 else count)]
