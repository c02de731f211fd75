# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands for sorted sets: members with scores, by place, by score, by text; several sets together or apart.

Scores come as float, or as `score_cast_func` makes them of one. Keys of several sets come as a list, or as
`{key: weight}` where scores are to be multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Unpack, overload

from resp.argument_types import Key, Keys, Number, Pattern, Weighted
from resp.command_arguments import (
    at_least_one,
    conditions,
    counted,
    limited,
    numkeys_of,
    one_of,
    option,
    scan_words,
    some_of,
    weighted,
    words,
)
from resp.commands.base import B, CommandGroup
from resp.commands.options import AddOptions, Scored, ScoredRange, Unscored, UnscoredRange
from resp.encoding import Argument
from resp.errors import InvalidArgument
from resp.replies import (
    Cast,
    as_float,
    as_floats,
    as_popped_by_key,
    as_scored,
    as_taken_score,
    ranked,
    scan_scored,
    scored,
)


class SortedSets(CommandGroup[B]):
    """Sorted sets."""

    __slots__ = ()

    @overload
    def zadd(
        self,
        name: Key,
        mapping: Mapping[Any, float],
        nx: bool = False,
        xx: bool = False,
        ch: bool = False,
        incr: Literal[False] = False,
        gt: bool = False,
        lt: bool = False,
    ) -> int: ...
    @overload
    def zadd(
        self, name: Key, mapping: Mapping[Any, float], *, incr: Literal[True], **when: Unpack[AddOptions]
    ) -> float | None: ...
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
    ) -> int | float | None:
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

    def zrem(self, name: Key, *values: Argument) -> int:
        """Remove members; how many there were."""
        return self._do(["ZREM", name, *at_least_one(list(values), "member")])

    def zcard(self, name: Key) -> int:
        """How many members there are."""
        return self._do(("ZCARD", name))

    def zcount(self, name: Key, min: Argument, max: Argument) -> int:
        """How many members have a score in this range; "(1" excludes 1, "-inf" and "+inf" are the ends."""
        return self._do(("ZCOUNT", name, min, max))

    def zlexcount(self, name: Key, min: Argument, max: Argument) -> int:
        """How many members are in this range of texts; "[a" includes a, "(a" excludes it, "-" and "+" are the ends."""
        return self._do(("ZLEXCOUNT", name, min, max))

    def zscore(self, name: Key, value: Argument) -> float | None:
        """The score of a member as float, None if there is none."""
        return self._do(("ZSCORE", name, value), as_float)

    def zmscore(self, key: Key, members: Keys) -> list[float | None]:
        """The scores of several members, None for those that are absent."""
        return self._do(["ZMSCORE", key, *at_least_one(words(members), "member")], as_floats)

    def zincrby(self, name: Key, amount: float, value: Argument) -> float:
        """Add to the score of a member; its new score."""
        return self._do(("ZINCRBY", name, amount, value), as_float)

    @overload
    def zrank(self, name: Key, value: Argument, withscore: Literal[False] = False) -> int | None: ...
    @overload
    def zrank(
        self, name: Key, value: Argument, withscore: Literal[True], score_cast_func: type[float] = ...
    ) -> tuple[int, float] | None: ...
    @overload
    def zrank(
        self, name: Key, value: Argument, withscore: Literal[True], score_cast_func: Cast
    ) -> tuple[int, Any] | None: ...
    def zrank(self, name: Key, value: Argument, withscore: bool = False, score_cast_func: Cast = float) -> Any:
        """The place of a member by rising score, from 0; withscore: place and score; None if there is none."""
        return self._rank("ZRANK", name, value, withscore, score_cast_func)

    @overload
    def zrevrank(self, name: Key, value: Argument, withscore: Literal[False] = False) -> int | None: ...
    @overload
    def zrevrank(
        self, name: Key, value: Argument, withscore: Literal[True], score_cast_func: type[float] = ...
    ) -> tuple[int, float] | None: ...
    @overload
    def zrevrank(
        self, name: Key, value: Argument, withscore: Literal[True], score_cast_func: Cast
    ) -> tuple[int, Any] | None: ...
    def zrevrank(self, name: Key, value: Argument, withscore: bool = False, score_cast_func: Cast = float) -> Any:
        """The place of a member by falling score, as `zrank`."""
        return self._rank("ZREVRANK", name, value, withscore, score_cast_func)

    def _rank(self, command: str, name: Key, value: Argument, withscore: bool, cast: Cast) -> Any:
        if withscore:
            return self._do((command, name, value, "WITHSCORE"), ranked(cast))
        return self._do((command, name, value))

    # ---- ranges --------------------------------------------------------------------------------------------------

    @overload
    def zrange(
        self, name: Key, start: Argument, end: Argument, desc: bool = False, **how: Unpack[UnscoredRange]
    ) -> list[B]: ...
    @overload
    def zrange(
        self, name: Key, start: Argument, end: Argument, desc: bool = False, **how: Unpack[ScoredRange]
    ) -> list[tuple[B, float]]: ...
    def zrange(
        self,
        name: Key,
        start: Argument,
        end: Argument,
        desc: bool = False,
        withscores: bool = False,
        score_cast_func: Cast = float,
        byscore: bool = False,
        bylex: bool = False,
        offset: Number = None,
        num: Number = None,
    ) -> Any:
        """Members from place `start` to `end` (or by score or text); with scores as `(member, score)`."""
        if bylex and withscores:
            raise InvalidArgument("a range of texts has one score, which cannot be asked for")
        args = _range(["ZRANGE", name, start, end], byscore, bylex, desc)
        return self._do(limited(args, offset, num, withscores), scored(score_cast_func) if withscores else None)

    def zrangestore(
        self,
        dest: Key,
        name: Key,
        start: Argument,
        end: Argument,
        byscore: bool = False,
        bylex: bool = False,
        desc: bool = False,
        offset: Number = None,
        num: Number = None,
    ) -> int:
        """Put what `zrange` finds into `dest`; how many there are."""
        return self._do(limited(_range(["ZRANGESTORE", dest, name, start, end], byscore, bylex, desc), offset, num))

    @overload
    def zrevrange(self, name: Key, start: int, end: int, withscores: Literal[False] = False) -> list[B]: ...
    @overload
    def zrevrange(
        self, name: Key, start: int, end: int, withscores: Literal[True], score_cast_func: Cast = float
    ) -> list[tuple[B, float]]: ...
    def zrevrange(
        self, name: Key, start: int, end: int, withscores: bool = False, score_cast_func: Cast = float
    ) -> Any:
        """Members from place `start` to `end` by falling score."""
        args: list[Argument] = ["ZREVRANGE", name, start, end]
        return self._do(limited(args, None, None, withscores), scored(score_cast_func) if withscores else None)

    @overload
    def zrangebyscore(
        self, name: Key, min: Argument, max: Argument, start: Number = None, num: Number = None, **how: Unpack[Unscored]
    ) -> list[B]: ...
    @overload
    def zrangebyscore(
        self, name: Key, min: Argument, max: Argument, start: Number = None, num: Number = None, **how: Unpack[Scored]
    ) -> list[tuple[B, float]]: ...
    def zrangebyscore(
        self,
        name: Key,
        min: Argument,
        max: Argument,
        start: Number = None,
        num: Number = None,
        withscores: bool = False,
        score_cast_func: Cast = float,
    ) -> Any:
        """Members whose score is in this range, by rising score."""
        args: list[Argument] = ["ZRANGEBYSCORE", name, min, max]
        return self._do(limited(args, start, num, withscores), scored(score_cast_func) if withscores else None)

    @overload
    def zrevrangebyscore(
        self, name: Key, max: Argument, min: Argument, start: Number = None, num: Number = None, **how: Unpack[Unscored]
    ) -> list[B]: ...
    @overload
    def zrevrangebyscore(
        self, name: Key, max: Argument, min: Argument, start: Number = None, num: Number = None, **how: Unpack[Scored]
    ) -> list[tuple[B, float]]: ...
    def zrevrangebyscore(
        self,
        name: Key,
        max: Argument,
        min: Argument,
        start: Number = None,
        num: Number = None,
        withscores: bool = False,
        score_cast_func: Cast = float,
    ) -> Any:
        """Members whose score is in this range, by falling score."""
        args: list[Argument] = ["ZREVRANGEBYSCORE", name, max, min]
        return self._do(limited(args, start, num, withscores), scored(score_cast_func) if withscores else None)

    def zrangebylex(self, name: Key, min: Argument, max: Argument, start: Number = None, num: Number = None) -> list[B]:
        """Members in a range of texts, as for `zlexcount`, where all have the same score."""
        return self._do(limited(["ZRANGEBYLEX", name, min, max], start, num))

    def zrevrangebylex(
        self, name: Key, max: Argument, min: Argument, start: Number = None, num: Number = None
    ) -> list[B]:
        """The same from the last to the first."""
        return self._do(limited(["ZREVRANGEBYLEX", name, max, min], start, num))

    def zremrangebyscore(self, name: Key, min: Argument, max: Argument) -> int:
        """Remove the members whose score is in this range; how many."""
        return self._do(("ZREMRANGEBYSCORE", name, min, max))

    def zremrangebyrank(self, name: Key, min: int, max: int) -> int:
        """Remove the members from place `min` to `max`; how many."""
        return self._do(("ZREMRANGEBYRANK", name, min, max))

    def zremrangebylex(self, name: Key, min: Argument, max: Argument) -> int:
        """Remove the members in this range of texts; how many."""
        return self._do(("ZREMRANGEBYLEX", name, min, max))

    # ---- taking, and some ----------------------------------------------------------------------------------------

    def zpopmin(self, name: Key, count: Number = None) -> list[tuple[B, float]]:
        """Take the members with the lowest scores, as `[(member, score), …]`."""
        return self._do(["ZPOPMIN", name] if count is None else ["ZPOPMIN", name, count], as_scored)

    def zpopmax(self, name: Key, count: Number = None) -> list[tuple[B, float]]:
        """Take the members with the highest scores, as `[(member, score), …]`."""
        return self._do(["ZPOPMAX", name] if count is None else ["ZPOPMAX", name, count], as_scored)

    def bzpopmin(self, keys: Keys, timeout: float | None = 0) -> tuple[B, B, float] | None:
        """`zpopmin` from the first set that has any, and wait for one: key, member, score; None after `timeout`."""
        span = timeout or 0
        return self._wait(span, ["BZPOPMIN", *at_least_one(words(keys)), span], as_taken_score)

    def bzpopmax(self, keys: Keys, timeout: float | None = 0) -> tuple[B, B, float] | None:
        """The same with the highest score."""
        span = timeout or 0
        return self._wait(span, ["BZPOPMAX", *at_least_one(words(keys)), span], as_taken_score)

    def zmpop(
        self, num_keys: int, keys: Keys, min: bool = False, max: bool = False, count: int | None = 1
    ) -> tuple[B, list[tuple[B, float]]] | None:
        """Take `count` members with the lowest (or highest) scores of the first set that has any: key and members."""
        return self._do(["ZMPOP", *_taking(num_keys, keys, min, max, count)], as_popped_by_key)

    def bzmpop(
        self, timeout: float, numkeys: int, keys: Keys, min: bool = False, max: bool = False, count: int | None = 1
    ) -> tuple[B, list[tuple[B, float]]] | None:
        """`zmpop`, and wait for a member; None after `timeout`."""
        args: list[Argument] = ["BZMPOP", timeout, *_taking(numkeys, keys, min, max, count)]
        return self._wait(timeout, args, as_popped_by_key)

    @overload
    def zrandmember(self, key: Key, count: None = None) -> B | None: ...
    @overload
    def zrandmember(self, key: Key, count: int, withscores: Literal[False] = False) -> list[B]: ...
    @overload
    def zrandmember(self, key: Key, count: int, withscores: Literal[True]) -> list[tuple[B, float]]: ...
    def zrandmember(self, key: Key, count: Number = None, withscores: bool = False) -> Any:
        """Some member, or `count` of them as a list (negative: the same may come again)."""
        args = some_of("ZRANDMEMBER", key, count, "WITHSCORES" if withscores else None)
        return self._do(args, as_scored if withscores else None)

    # ---- several sets --------------------------------------------------------------------------------------------

    @overload
    def zunion(self, keys: Weighted, aggregate: str | None = None, **how: Unpack[Unscored]) -> list[B]: ...
    @overload
    def zunion(self, keys: Weighted, aggregate: str | None = None, **how: Unpack[Scored]) -> list[tuple[B, float]]: ...
    def zunion(
        self, keys: Weighted, aggregate: str | None = None, withscores: bool = False, score_cast_func: Cast = float
    ) -> Any:
        """Members of any set; aggregate: "SUM", "MIN" or "MAX" of their scores."""
        args = limited(_together("ZUNION", None, keys, aggregate), None, None, withscores)
        return self._do(args, scored(score_cast_func) if withscores else None)

    @overload
    def zinter(self, keys: Weighted, aggregate: str | None = None, **how: Unpack[Unscored]) -> list[B]: ...
    @overload
    def zinter(self, keys: Weighted, aggregate: str | None = None, **how: Unpack[Scored]) -> list[tuple[B, float]]: ...
    def zinter(
        self, keys: Weighted, aggregate: str | None = None, withscores: bool = False, score_cast_func: Cast = float
    ) -> Any:
        """Members of all sets, as `zunion`."""
        args = limited(_together("ZINTER", None, keys, aggregate), None, None, withscores)
        return self._do(args, scored(score_cast_func) if withscores else None)

    @overload
    def zdiff(self, keys: Keys, withscores: Literal[False] = False) -> list[B]: ...
    @overload
    def zdiff(self, keys: Keys, withscores: Literal[True]) -> list[tuple[B, float]]: ...
    def zdiff(self, keys: Keys, withscores: bool = False) -> Any:
        """Members of the first set that are in none of the others, with their scores there."""
        args = limited(["ZDIFF", *counted(keys)], None, None, withscores)
        return self._do(args, as_scored if withscores else None)

    def zunionstore(self, dest: Key, keys: Weighted, aggregate: str | None = None) -> int:
        """Put what `zunion` finds into `dest`; how many there are."""
        return self._do(_together("ZUNIONSTORE", dest, keys, aggregate))

    def zinterstore(self, dest: Key, keys: Weighted, aggregate: str | None = None) -> int:
        """Put what `zinter` finds into `dest`; how many there are."""
        return self._do(_together("ZINTERSTORE", dest, keys, aggregate))

    def zdiffstore(self, dest: Key, keys: Keys) -> int:
        """Put what `zdiff` finds into `dest`; how many there are."""
        return self._do(["ZDIFFSTORE", dest, *counted(keys)])

    def zintercard(self, numkeys: int, keys: Keys, limit: int = 0) -> int:
        """How many members all sets have; counting stops at `limit` if that is not 0."""
        return self._do(["ZINTERCARD", *numkeys_of(numkeys, keys), *option("LIMIT", limit or None)])

    def zscan(
        self, name: Key, cursor: int = 0, match: Pattern = None, count: Number = None, score_cast_func: Cast = float
    ) -> tuple[int, list[tuple[B, float]]]:
        """Some members and the next cursor: `(cursor, [(member, score), …])`."""
        return self._do(scan_words(("ZSCAN", name, cursor), match, count), scan_scored(score_cast_func))


def _range(args: list[Argument], byscore: bool, bylex: bool, desc: bool) -> list[Argument]:
    if byscore and bylex:
        raise InvalidArgument("only one of byscore and bylex can be given")
    return args + [word for word, wanted in (("BYSCORE", byscore), ("BYLEX", bylex), ("REV", desc)) if wanted]


def _taking(number: int, keys: Keys, least: bool, most: bool, count: int | None) -> list[Argument]:
    if bool(least) == bool(most):
        raise InvalidArgument("one of min and max must be True")
    where = "MIN" if least else "MAX"
    return [*numkeys_of(number, keys), where, *option("COUNT", None if count == 1 else count)]


def _together(command: str, dest: Key | None, keys: Any, aggregate: str | None) -> list[Argument]:
    names, weights = weighted(keys)
    args: list[Argument] = [command, *([] if dest is None else [dest]), *names, *weights]
    if aggregate is not None:
        args += ["AGGREGATE", one_of(aggregate, "SUM", "MIN", "MAX")]
    return args
