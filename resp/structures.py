# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The commands for hashes, lists, sets and sorted sets, named as redis-py names them.

The other half of `resp.commands`, apart only because there are so many. What a method returns is the same over RESP2
and RESP3, where the servers' replies differ: dicts, sets, and scores as float.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from resp.encoding import Argument
from resp.errors import InvalidArgument
from resp.words import (
    Convert,
    Key,
    Keys,
    as_float,
    as_floats,
    as_pairs,
    as_popped,
    as_scan,
    as_scan_pairs,
    as_scan_scores,
    as_scored,
    at_least_one,
    conditions,
    flat,
    is_ok,
    limited,
    scan_words,
    words,
)


class Structures:
    """Hashes, lists, sets and sorted sets; `Commands` has the rest and says what `_do` is."""

    def _do(self, args: list[Argument] | tuple[Argument, ...], convert: Convert | None = None) -> Any:
        raise NotImplementedError

    # ---- hashes --------------------------------------------------------------------------------------------------

    def hset(
        self,
        name: Key,
        key: Argument | None = None,
        value: Argument | None = None,
        mapping: Mapping[Any, Argument] | None = None,
        items: list[Argument] | None = None,
    ) -> Any:
        """Set fields of a hash, one by key and value or several by a mapping; how many are new."""
        args: list[Argument] = ["HSET", name, *(items or [])]
        if key is not None:
            if value is None:
                raise InvalidArgument("a field needs a value")
            args += [key, value]
        if mapping:
            args += flat(mapping)
        if len(args) == 2:
            raise InvalidArgument("at least one field is needed")
        return self._do(args)

    def hsetnx(self, name: Key, key: Argument, value: Argument) -> Any:
        """Set a field if it is absent; True if it was set."""
        return self._do(("HSETNX", name, key, value), bool)

    def hget(self, name: Key, key: Argument) -> Any:
        """The value of a field, None if there is none."""
        return self._do(("HGET", name, key))

    def hmget(self, name: Key, keys: Keys, *args: Argument) -> Any:
        """The values of several fields, None for those that are absent."""
        return self._do(["HMGET", name, *at_least_one(words(keys, args), "field")])

    def hgetall(self, name: Key) -> Any:
        """All fields and values as a dict."""
        return self._do(("HGETALL", name), as_pairs)

    def hdel(self, name: Key, *keys: Argument) -> Any:
        """Delete fields; how many there were."""
        return self._do(["HDEL", name, *at_least_one(list(keys), "field")])

    def hexists(self, name: Key, key: Argument) -> Any:
        """True if there is such a field."""
        return self._do(("HEXISTS", name, key), bool)

    def hkeys(self, name: Key) -> Any:
        """All fields."""
        return self._do(("HKEYS", name))

    def hvals(self, name: Key) -> Any:
        """All values of a hash."""
        return self._do(("HVALS", name))

    def hlen(self, name: Key) -> Any:
        """How many fields there are."""
        return self._do(("HLEN", name))

    def hincrby(self, name: Key, key: Argument, amount: int = 1) -> Any:
        """Add to a number in a field; its new value."""
        return self._do(("HINCRBY", name, key, amount))

    def hincrbyfloat(self, name: Key, key: Argument, amount: float = 1.0) -> Any:
        """Add to a number in a field; its new value as float."""
        return self._do(("HINCRBYFLOAT", name, key, amount), as_float)

    def hscan(self, name: Key, cursor: int = 0, match: Argument | None = None, count: int | None = None) -> Any:
        """Some fields and the next cursor: `(cursor, {field: value, …})`."""
        return self._do(scan_words(("HSCAN", name, cursor), match, count), as_scan_pairs)

    def hscan_iter(self, name: Key, match: Argument | None = None, count: int | None = None) -> Iterator[Any]:
        """All `(field, value)` of a hash, in no order."""
        cursor = 0
        while True:
            cursor, found = self.hscan(name, cursor, match, count)
            yield from found.items()
            if not cursor:
                return

    # ---- lists ---------------------------------------------------------------------------------------------------

    def lpush(self, name: Key, *values: Argument) -> Any:
        """Put values in front of a list, one after the other; its new length."""
        return self._do(["LPUSH", name, *at_least_one(list(values), "value")])

    def rpush(self, name: Key, *values: Argument) -> Any:
        """Append values to a list; its new length."""
        return self._do(["RPUSH", name, *at_least_one(list(values), "value")])

    def lpop(self, name: Key, count: int | None = None) -> Any:
        """Take the first value, or up to `count` of them as a list; None if there is no list."""
        return self._do(["LPOP", name] if count is None else ["LPOP", name, count])

    def rpop(self, name: Key, count: int | None = None) -> Any:
        """Take the last value, or up to `count` of them as a list; None if there is no list."""
        return self._do(["RPOP", name] if count is None else ["RPOP", name, count])

    def lrange(self, name: Key, start: int, end: int) -> Any:
        """A part of a list, both ends included, -1 being the last."""
        return self._do(("LRANGE", name, start, end))

    def llen(self, name: Key) -> Any:
        """The length of a list."""
        return self._do(("LLEN", name))

    def lindex(self, name: Key, index: int) -> Any:
        """One value of a list, None beyond its ends."""
        return self._do(("LINDEX", name, index))

    def lset(self, name: Key, index: int, value: Argument) -> Any:
        """Replace one value of a list; True."""
        return self._do(("LSET", name, index, value), is_ok)

    def lrem(self, name: Key, count: int, value: Argument) -> Any:
        """Remove a value from a list, `count` times (0: all, negative: from the end); how many were removed."""
        return self._do(("LREM", name, count, value))

    def ltrim(self, name: Key, start: int, end: int) -> Any:
        """Cut a list down to a part of it; True."""
        return self._do(("LTRIM", name, start, end), is_ok)

    # ---- sets ----------------------------------------------------------------------------------------------------

    def sadd(self, name: Key, *values: Argument) -> Any:
        """Add members; how many are new."""
        return self._do(["SADD", name, *at_least_one(list(values), "member")])

    def srem(self, name: Key, *values: Argument) -> Any:
        """Remove members; how many there were."""
        return self._do(["SREM", name, *at_least_one(list(values), "member")])

    def smembers(self, name: Key) -> Any:
        """All members as a set."""
        return self._do(("SMEMBERS", name), set)

    def sismember(self, name: Key, value: Argument) -> Any:
        """True if it is a member."""
        return self._do(("SISMEMBER", name, value), bool)

    def smismember(self, name: Key, values: Keys, *args: Argument) -> Any:
        """For each value whether it is a member, as 1 or 0."""
        return self._do(["SMISMEMBER", name, *at_least_one(words(values, args), "member")])

    def scard(self, name: Key) -> Any:
        """How many members there are."""
        return self._do(("SCARD", name))

    def spop(self, name: Key, count: int | None = None) -> Any:
        """Take some member, or up to `count` of them as a list."""
        return self._do(["SPOP", name] if count is None else ["SPOP", name, count])

    def srandmember(self, name: Key, number: int | None = None) -> Any:
        """Some member, or `number` of them as a list."""
        return self._do(["SRANDMEMBER", name] if number is None else ["SRANDMEMBER", name, number])

    def sinter(self, keys: Keys, *args: Key) -> Any:
        """Members of all sets."""
        return self._do(["SINTER", *at_least_one(words(keys, args))], set)

    def sunion(self, keys: Keys, *args: Key) -> Any:
        """Members of any set."""
        return self._do(["SUNION", *at_least_one(words(keys, args))], set)

    def sdiff(self, keys: Keys, *args: Key) -> Any:
        """Members of the first set that are in none of the others."""
        return self._do(["SDIFF", *at_least_one(words(keys, args))], set)

    def smove(self, src: Key, dst: Key, value: Argument) -> Any:
        """Move a member to another set; True if it was there."""
        return self._do(("SMOVE", src, dst, value), bool)

    def sscan(self, name: Key, cursor: int = 0, match: Argument | None = None, count: int | None = None) -> Any:
        """Some members and the next cursor: `(cursor, [member, …])`."""
        return self._do(scan_words(("SSCAN", name, cursor), match, count), as_scan)

    def sscan_iter(self, name: Key, match: Argument | None = None, count: int | None = None) -> Iterator[Any]:
        """All members of a set, in no order."""
        cursor = 0
        while True:
            cursor, found = self.sscan(name, cursor, match, count)
            yield from found
            if not cursor:
                return

    # ---- sorted sets ---------------------------------------------------------------------------------------------

    def zadd(
        self,
        name: Key,
        mapping: Mapping[Any, float],
        nx: bool = False,
        xx: bool = False,
        ch: bool = False,
        incr: bool = False,
        gt: bool = False,
        lt: bool = False,
    ) -> Any:
        """Add members with scores, `{member: score}`; how many are new (with `ch`: new or changed).

        nx: only new ones; xx: only known ones; gt, lt: only if the score rises, falls. incr: add to the score of one
        member and return the new one, None if a condition forbade it.
        """
        if not mapping:
            raise InvalidArgument("at least one member is needed")
        if (nx and xx) or (nx and (gt or lt)) or (gt and lt):
            raise InvalidArgument("nx excludes xx, gt and lt; gt excludes lt")
        if incr and len(mapping) != 1:
            raise InvalidArgument("incr works on exactly one member")
        args: list[Argument] = ["ZADD", name, *conditions(nx, xx, gt, lt)]
        if ch:
            args.append("CH")
        if incr:
            args.append("INCR")
        for member, score in mapping.items():
            args += [score, member]
        return self._do(args, as_float if incr else None)

    def zrem(self, name: Key, *values: Argument) -> Any:
        """Remove members; how many there were."""
        return self._do(["ZREM", name, *at_least_one(list(values), "member")])

    def zcard(self, name: Key) -> Any:
        """How many members there are."""
        return self._do(("ZCARD", name))

    def zcount(self, name: Key, min: Argument, max: Argument) -> Any:
        """How many members have a score in this range; "(1" excludes 1, "-inf" and "+inf" are the ends."""
        return self._do(("ZCOUNT", name, min, max))

    def zscore(self, name: Key, value: Argument) -> Any:
        """The score of a member as float, None if there is none."""
        return self._do(("ZSCORE", name, value), as_float)

    def zmscore(self, key: Key, members: list[Argument]) -> Any:
        """The scores of several members, None for those that are absent."""
        return self._do(["ZMSCORE", key, *at_least_one(words(members), "member")], as_floats)

    def zincrby(self, name: Key, amount: float, value: Argument) -> Any:
        """Add to the score of a member; its new score."""
        return self._do(("ZINCRBY", name, amount, value), as_float)

    def zrank(self, name: Key, value: Argument) -> Any:
        """The place of a member by rising score, from 0; None if there is none."""
        return self._do(("ZRANK", name, value))

    def zrevrank(self, name: Key, value: Argument) -> Any:
        """The place of a member by falling score, from 0; None if there is none."""
        return self._do(("ZREVRANK", name, value))

    def zrange(
        self,
        name: Key,
        start: Argument,
        end: Argument,
        desc: bool = False,
        withscores: bool = False,
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> Any:
        """Members from place `start` to `end` (or by score or text); with scores as `(member, score)`."""
        args: list[Argument] = ["ZRANGE", name, start, end]
        if byscore:
            args.append("BYSCORE")
        if bylex:
            args.append("BYLEX")
        if desc:
            args.append("REV")
        return self._do(limited(args, offset, num, withscores), as_scored if withscores else None)

    def zrevrange(self, name: Key, start: int, end: int, withscores: bool = False) -> Any:
        """Members from place `start` to `end` by falling score."""
        args: list[Argument] = ["ZREVRANGE", name, start, end]
        return self._do(limited(args, None, None, withscores), as_scored if withscores else None)

    def zrangebyscore(
        self,
        name: Key,
        min: Argument,
        max: Argument,
        start: int | None = None,
        num: int | None = None,
        withscores: bool = False,
    ) -> Any:
        """Members whose score is in this range, by rising score."""
        args: list[Argument] = ["ZRANGEBYSCORE", name, min, max]
        return self._do(limited(args, start, num, withscores), as_scored if withscores else None)

    def zrevrangebyscore(
        self,
        name: Key,
        max: Argument,
        min: Argument,
        start: int | None = None,
        num: int | None = None,
        withscores: bool = False,
    ) -> Any:
        """Members whose score is in this range, by falling score."""
        args: list[Argument] = ["ZREVRANGEBYSCORE", name, max, min]
        return self._do(limited(args, start, num, withscores), as_scored if withscores else None)

    def zremrangebyscore(self, name: Key, min: Argument, max: Argument) -> Any:
        """Remove the members whose score is in this range; how many."""
        return self._do(("ZREMRANGEBYSCORE", name, min, max))

    def zremrangebyrank(self, name: Key, min: int, max: int) -> Any:
        """Remove the members from place `min` to `max`; how many."""
        return self._do(("ZREMRANGEBYRANK", name, min, max))

    def zpopmin(self, name: Key, count: int | None = None) -> Any:
        """Take the members with the lowest scores, as `[(member, score), …]`."""
        return self._do(["ZPOPMIN", name] if count is None else ["ZPOPMIN", name, count], as_popped)

    def zpopmax(self, name: Key, count: int | None = None) -> Any:
        """Take the members with the highest scores, as `[(member, score), …]`."""
        return self._do(["ZPOPMAX", name] if count is None else ["ZPOPMAX", name, count], as_popped)

    def zscan(self, name: Key, cursor: int = 0, match: Argument | None = None, count: int | None = None) -> Any:
        """Some members and the next cursor: `(cursor, [(member, score), …])`."""
        return self._do(scan_words(("ZSCAN", name, cursor), match, count), as_scan_scores)

    def zscan_iter(self, name: Key, match: Argument | None = None, count: int | None = None) -> Iterator[Any]:
        """All `(member, score)`, in no order."""
        cursor = 0
        while True:
            cursor, found = self.zscan(name, cursor, match, count)
            yield from found
            if not cursor:
                return
