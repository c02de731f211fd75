# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands for hashes: fields and values of one key, and how long a single field lives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Unpack, overload

from resp.argument_types import Key, Keys, Moment, Number, Pattern, Seconds
from resp.command_arguments import (
    at_least_one,
    conditions,
    counted,
    expiry,
    flat,
    milliseconds,
    moment,
    one_of,
    scan_words,
    seconds,
    some_of,
    words,
)
from resp.commands.base import B, CommandGroup
from resp.commands.options import Conditions, Lifetime
from resp.encoding import Argument
from resp.errors import InvalidArgument
from resp.replies import as_couples, as_float, as_pairs, as_scan, as_scan_pairs, is_ok


class Hashes(CommandGroup[B]):
    """Hashes."""

    __slots__ = ()

    def hset(
        self,
        name: Key,
        key: Argument | None = None,
        value: Argument | None = None,
        mapping: Mapping[Any, Argument] | None = None,
        items: list[Argument] | None = None,
    ) -> int:
        """Set fields of a hash, one by key and value or several by a mapping; how many are new."""
        return self._do(["HSET", name, *_fields(key, value, mapping, items)])

    def hmset(self, name: Key, mapping: Mapping[Any, Argument]) -> bool:
        """Set fields by the command that `hset` replaces; True."""
        return self._do(["HMSET", name, *flat(mapping)], is_ok)

    def hsetnx(self, name: Key, key: Argument, value: Argument) -> bool:
        """Set a field if it is absent; True if it was set."""
        return self._do(("HSETNX", name, key, value), bool)

    def hsetex(
        self,
        name: Key,
        key: Argument | None = None,
        value: Argument | None = None,
        mapping: Mapping[Any, Argument] | None = None,
        items: list[Argument] | None = None,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        exat: Moment | None = None,
        pxat: Moment | None = None,
        data_persist_option: str | None = None,
        keepttl: bool = False,
    ) -> bool:
        """Set fields that live for a time (Redis 8, Valkey 9); False if a condition forbade it.

        data_persist_option: "FNX" if none of the fields, "FXX" if all of them must be there.
        """
        fields = _fields(key, value, mapping, items)
        args: list[Argument] = ["HSETEX", name]
        if data_persist_option is not None:
            args.append(one_of(data_persist_option, "FNX", "FXX"))
        args += expiry(keepttl, "KEEPTTL", ex, px, exat, pxat)
        return self._do([*args, "FIELDS", len(fields) // 2, *fields], bool)

    def hget(self, name: Key, key: Argument) -> B | None:
        """The value of a field, None if there is none."""
        return self._do(("HGET", name, key))

    def hmget(self, name: Key, keys: Keys, *args: Argument) -> list[B | None]:
        """The values of several fields, None for those that are absent; of no fields: nothing, and nobody is asked."""
        found = words(keys, args)
        return self._do(["HMGET", name, *found]) if found else self._known([])

    def hgetall(self, name: Key) -> dict[B, B]:
        """All fields and values as a dict."""
        return self._do(("HGETALL", name), as_pairs)

    def hgetdel(self, name: Key, *keys: Argument) -> list[B | None]:
        """The values of fields, which are deleted (Redis 8, Valkey 9.1)."""
        return self._do(["HGETDEL", name, "FIELDS", *counted(keys, "field")])

    def hgetex(self, name: Key, *keys: Argument, persist: bool = False, **life: Unpack[Lifetime]) -> list[B | None]:
        """The values of fields, whose life is changed at the same time (Redis 8, Valkey 9)."""
        args: list[Argument] = ["HGETEX", name, *expiry(persist, "PERSIST", **life)]
        return self._do([*args, "FIELDS", *counted(keys, "field")])

    def hdel(self, name: Key, *keys: Argument) -> int:
        """Delete fields; how many there were."""
        return self._do(["HDEL", name, *at_least_one(list(keys), "field")])

    def hexists(self, name: Key, key: Argument) -> bool:
        """True if there is such a field."""
        return self._do(("HEXISTS", name, key), bool)

    def hkeys(self, name: Key) -> list[B]:
        """All fields."""
        return self._do(("HKEYS", name))

    def hvals(self, name: Key) -> list[B]:
        """All values of a hash."""
        return self._do(("HVALS", name))

    def hlen(self, name: Key) -> int:
        """How many fields there are."""
        return self._do(("HLEN", name))

    def hstrlen(self, name: Key, key: Argument) -> int:
        """The length of a field's value in bytes, 0 if there is none."""
        return self._do(("HSTRLEN", name, key))

    def hincrby(self, name: Key, key: Argument, amount: int = 1) -> int:
        """Add to a number in a field; its new value."""
        return self._do(("HINCRBY", name, key, amount))

    def hincrbyfloat(self, name: Key, key: Argument, amount: float = 1.0) -> float:
        """Add to a number in a field; its new value as float."""
        return self._do(("HINCRBYFLOAT", name, key, amount), as_float)

    @overload
    def hrandfield(self, key: Key, count: None = None) -> B | None: ...
    @overload
    def hrandfield(self, key: Key, count: int, withvalues: Literal[False] = False) -> list[B]: ...
    @overload
    def hrandfield(self, key: Key, count: int, withvalues: Literal[True]) -> list[tuple[B, B]]: ...
    def hrandfield(
        self, key: Key, count: Number = None, withvalues: bool = False
    ) -> B | list[B] | list[tuple[B, B]] | None:
        """Some field, or `count` of them as a list (negative: the same may come again); `(field, value)` withvalues."""
        args = some_of("HRANDFIELD", key, count, "WITHVALUES" if withvalues else None)
        return self._do(args, as_couples if withvalues else None)

    # ---- how long a field lives ----------------------------------------------------------------------------------

    def hexpire(self, name: Key, seconds: Seconds, *fields: Argument, **when: Unpack[Conditions]) -> list[int]:
        """Let fields live for so many seconds (Redis 7.4, Valkey 9).

        For each field: 1: done, 0: a condition forbade it, 2: it ended at once, -2: no such field or hash.
        """
        return self._expire("HEXPIRE", name, _seconds(seconds), fields, conditions(**when))

    def hpexpire(self, name: Key, milliseconds: Seconds, *fields: Argument, **when: Unpack[Conditions]) -> list[int]:
        """Let fields live for so many milliseconds; results as for `hexpire`."""
        return self._expire("HPEXPIRE", name, _milliseconds(milliseconds), fields, conditions(**when))

    def hexpireat(
        self, name: Key, unix_time_seconds: Moment, *fields: Argument, **when: Unpack[Conditions]
    ) -> list[int]:
        """Let fields live until a Unix time in seconds, or a datetime; results as for `hexpire`."""
        return self._expire("HEXPIREAT", name, moment(unix_time_seconds, 1), fields, conditions(**when))

    def hpexpireat(
        self, name: Key, unix_time_milliseconds: Moment, *fields: Argument, **when: Unpack[Conditions]
    ) -> list[int]:
        """Let fields live until a Unix time in milliseconds, or a datetime; results as for `hexpire`."""
        return self._expire("HPEXPIREAT", name, moment(unix_time_milliseconds, 1000), fields, conditions(**when))

    def _expire(self, command: str, name: Key, time: int, fields: tuple[Argument, ...], when: list[Argument]) -> Any:
        return self._do([command, name, time, *when, "FIELDS", *counted(fields, "field")])

    def hpersist(self, name: Key, *fields: Argument) -> list[int]:
        """Let fields live for ever; for each 1: done, -1: it had no end, -2: no such field or hash."""
        return self._do(["HPERSIST", name, "FIELDS", *counted(fields, "field")])

    def httl(self, key: Key, *fields: Argument) -> list[int]:
        """Seconds that fields have to live; -1: no end, -2: no such field or hash."""
        return self._do(["HTTL", key, "FIELDS", *counted(fields, "field")])

    def hpttl(self, key: Key, *fields: Argument) -> list[int]:
        """Milliseconds that fields have to live; -1: no end, -2: no such field or hash."""
        return self._do(["HPTTL", key, "FIELDS", *counted(fields, "field")])

    def hexpiretime(self, key: Key, *fields: Argument) -> list[int]:
        """The Unix times in seconds at which fields end; -1: no end, -2: no such field or hash."""
        return self._do(["HEXPIRETIME", key, "FIELDS", *counted(fields, "field")])

    def hpexpiretime(self, key: Key, *fields: Argument) -> list[int]:
        """The Unix times in milliseconds at which fields end; -1: no end, -2: no such field or hash."""
        return self._do(["HPEXPIRETIME", key, "FIELDS", *counted(fields, "field")])

    @overload
    def hscan(
        self,
        name: Key,
        cursor: int = 0,
        match: Pattern = None,
        count: Number = None,
        no_values: Literal[False] | None = None,
    ) -> tuple[int, dict[B, B]]: ...
    @overload
    def hscan(
        self, name: Key, cursor: int = 0, match: Pattern = None, count: Number = None, *, no_values: Literal[True]
    ) -> tuple[int, list[B]]: ...
    def hscan(
        self, name: Key, cursor: int = 0, match: Pattern = None, count: Number = None, no_values: bool | None = None
    ) -> tuple[int, dict[B, B]] | tuple[int, list[B]]:
        """Some fields and the next cursor: `(cursor, {field: value, …})`; with no_values `(cursor, [field, …])`."""
        args = scan_words(("HSCAN", name, cursor), match, count)
        if no_values:
            return self._do([*args, "NOVALUES"], as_scan)
        return self._do(args, as_scan_pairs)


# Names of parameters hide the functions of the same name.
_seconds, _milliseconds = seconds, milliseconds


def _fields(
    key: Argument | None, value: Argument | None, mapping: Mapping[Any, Argument] | None, items: list[Argument] | None
) -> list[Argument]:
    """Fields and values in turn, from each of the ways to name them."""
    found: list[Argument] = list(items or [])
    if key is not None:
        if value is None:
            raise InvalidArgument("a field needs a value")
        found += [key, value]
    if mapping:
        found += flat(mapping)
    if not found:
        raise InvalidArgument("at least one field is needed")
    if len(found) % 2:
        raise InvalidArgument("every field in `items` needs a value")
    return found
