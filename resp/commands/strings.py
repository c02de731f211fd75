# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands for strings: values of one key, and numbers in them. Bits of strings are in `resp.commands.bitmaps`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Unpack, overload

from resp.argument_types import Key, Keys, Moment, Seconds
from resp.command_arguments import comparison, conditions, expiry, flat, milliseconds, seconds, words
from resp.commands.base import B, CommandGroup
from resp.commands.options import SetOptions
from resp.encoding import Argument
from resp.errors import InvalidArgument
from resp.replies import as_common, as_float, is_ok, ok_or_none


class Strings(CommandGroup[B]):
    """Strings."""

    __slots__ = ()

    def get(self, name: Key) -> B | None:
        """The value of a key, None if there is none."""
        return self._do(("GET", name))

    @overload
    def set(
        self, name: Key, value: Argument, ex: Seconds | None = None, *, get: Literal[True], **how: Unpack[SetOptions]
    ) -> B | None: ...
    @overload
    def set(
        self,
        name: Key,
        value: Argument,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        nx: bool = False,
        xx: bool = False,
        keepttl: bool = False,
        get: Literal[False] = False,
        exat: Moment | None = None,
        pxat: Moment | None = None,
        ifeq: Argument | None = None,
        ifne: Argument | None = None,
        ifdeq: Argument | None = None,
        ifdne: Argument | None = None,
    ) -> bool | None: ...
    def set(
        self,
        name: Key,
        value: Argument,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        nx: bool = False,
        xx: bool = False,
        keepttl: bool = False,
        get: bool = False,
        exat: Moment | None = None,
        pxat: Moment | None = None,
        ifeq: Argument | None = None,
        ifne: Argument | None = None,
        ifdeq: Argument | None = None,
        ifdne: Argument | None = None,
    ) -> B | bool | None:
        """Set a value; True, or None if `nx` (only if absent) or `xx` (only if present) forbade it.

        ex, px: it lives for so many seconds, milliseconds; exat, pxat: until then; keepttl: as long as the old one.
        get: return the old value instead. ifeq, ifne: only if the old value is, is not, this (Valkey 8.1, Redis 8.4);
        ifdeq, ifdne: the same for its digest (Redis 8.4).
        """
        args: list[Argument] = ["SET", name, value, *expiry(keepttl, "KEEPTTL", ex, px, exat, pxat)]
        when = [*conditions(nx, xx), *comparison(ifeq, ifne, ifdeq, ifdne)]
        if (nx and xx) or ((nx or xx) and len(when) > 1):
            raise InvalidArgument("only one of nx, xx, ifeq, ifne, ifdeq and ifdne can be given")
        args += when
        if get:
            args.append("GET")
        return self._do(args, None if get else ok_or_none)

    def setex(self, name: Key, time: Seconds, value: Argument) -> bool:
        """Set a value that lives for `time` seconds; True."""
        return self._do(("SETEX", name, seconds(time), value), is_ok)

    def psetex(self, name: Key, time_ms: Seconds, value: Argument) -> bool:
        """Set a value that lives for `time_ms` milliseconds; True."""
        return self._do(("PSETEX", name, milliseconds(time_ms), value), is_ok)

    def setnx(self, name: Key, value: Argument) -> bool:
        """Set a value if there is none; True if it was set."""
        return self._do(("SETNX", name, value), bool)

    def getex(
        self,
        name: Key,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        exat: Moment | None = None,
        pxat: Moment | None = None,
        persist: bool = False,
    ) -> B | None:
        """The value of a key, whose life is changed at the same time."""
        return self._do(["GETEX", name, *expiry(persist, "PERSIST", ex, px, exat, pxat)])

    def getdel(self, name: Key) -> B | None:
        """The value of a key, which is deleted."""
        return self._do(("GETDEL", name))

    def getset(self, name: Key, value: Argument) -> B | None:
        """Set a value and return the old one."""
        return self._do(("GETSET", name, value))

    def getrange(self, key: Key, start: int, end: int) -> B:
        """A part of a value, both ends included."""
        return self._do(("GETRANGE", key, start, end))

    def substr(self, name: Key, start: int, end: int = -1) -> B:
        """`getrange` by its old name."""
        return self._do(("GETRANGE", name, start, end))

    def setrange(self, name: Key, offset: int, value: Argument) -> int:
        """Overwrite a part of a value; its new length."""
        return self._do(("SETRANGE", name, offset, value))

    def append(self, key: Key, value: Argument) -> int:
        """Append to a value; its new length."""
        return self._do(("APPEND", key, value))

    def strlen(self, name: Key) -> int:
        """The length of a value in bytes, 0 if there is none."""
        return self._do(("STRLEN", name))

    def mget(self, keys: Keys, *args: Argument) -> list[B | None]:
        """The values of several keys, None for those that are absent; of no keys: nothing, and nobody is asked."""
        found = words(keys, args)
        return self._do(["MGET", *found]) if found else self._known([])

    def mset(self, mapping: Mapping[Any, Argument]) -> bool:
        """Set several values at once; True."""
        return self._do(["MSET", *flat(mapping)], is_ok)

    def msetnx(self, mapping: Mapping[Any, Argument]) -> bool:
        """Set several values if none of the keys is there; True if they were set."""
        return self._do(["MSETNX", *flat(mapping)], bool)

    def msetex(
        self,
        mapping: Mapping[Any, Argument],
        ex: Seconds | None = None,
        px: Seconds | None = None,
        exat: Moment | None = None,
        pxat: Moment | None = None,
        keepttl: bool = False,
        nx: bool = False,
        xx: bool = False,
    ) -> bool:
        """Set several values that live equally long, at once; False if `nx` or `xx` forbade it (Valkey 9.1, Redis 8.4).

        nx: only if none of the keys is there; xx: only if all are.
        """
        args: list[Argument] = ["MSETEX", len(mapping), *flat(mapping), *conditions(nx, xx)]
        return self._do([*args, *expiry(keepttl, "KEEPTTL", ex, px, exat, pxat)], bool)

    def delex(
        self,
        name: Key,
        ifeq: Argument | None = None,
        ifne: Argument | None = None,
        ifdeq: Argument | None = None,
        ifdne: Argument | None = None,
    ) -> bool:
        """Delete a key if its value, or its digest, is or is not this; True if that was done (Redis 8.4)."""
        return self._do(["DELEX", name, *comparison(ifeq, ifne, ifdeq, ifdne)], bool)

    def delifeq(self, name: Key, value: Argument) -> bool:
        """Delete a key if this is its value; True if that was done (Valkey 9)."""
        return self._do(("DELIFEQ", name, value), bool)

    def digest(self, name: Key) -> B | None:
        """A hash of a value, for `ifdeq` and `ifdne` (Redis 8.4)."""
        return self._do(("DIGEST", name))

    def incr(self, name: Key, amount: int = 1) -> int:
        """Add to a number; its new value."""
        return self._do(("INCRBY", name, amount))

    incrby = incr

    def incrbyfloat(self, name: Key, amount: float = 1.0) -> float:
        """Add to a number; its new value as float."""
        return self._do(("INCRBYFLOAT", name, amount), as_float)

    def decr(self, name: Key, amount: int = 1) -> int:
        """Subtract from a number; its new value."""
        return self._do(("DECRBY", name, amount))

    decrby = decr

    def lcs(
        self,
        key1: Key,
        key2: Key,
        len: bool = False,
        idx: bool = False,
        minmatchlen: int = 0,
        withmatchlen: bool = False,
    ) -> B | int | dict[str, Any]:
        """The longest text that both values have in common; its length with `len`; where it is with `idx`.

        With `idx` a dict of `len` and `matches`, which are pairs of ranges `(first, last)`; only those of at least
        `minmatchlen` bytes; followed by their length with `withmatchlen`.
        """
        if len and idx:
            raise InvalidArgument("only one of len and idx can be given")
        args: list[Argument] = ["LCS", key1, key2]
        if len:
            args.append("LEN")
        if idx:
            args.append("IDX")
        if minmatchlen:
            args += ["MINMATCHLEN", minmatchlen]
        if withmatchlen:
            args.append("WITHMATCHLEN")
        return self._do(args, as_common if idx else None)
