# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Keyword arguments that belong together, named once for all the methods that take them.

Some methods pass them on as they come (`**when: Unpack[Conditions]`). For the others this is what type checkers are
told: the result of `zrange` depends on `withscores`, so there is one signature with `Scored` and one with
`Unscored`, and each says only where it differs. Surprising: what is required here decides which signature a call is of.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from resp.argument_types import Moment, Number, Seconds
from resp.encoding import Argument
from resp.replies import Cast


class Conditions(TypedDict, total=False):
    """When to change something: only what is new, only what is there, only to more, only to less."""

    nx: bool
    xx: bool
    gt: bool
    lt: bool


class Lifetime(TypedDict, total=False):
    """How long something lives, or until when; one of these."""

    ex: Seconds | None
    px: Seconds | None
    exat: Moment | None
    pxat: Moment | None


class SetOptions(TypedDict, total=False):
    """Those of `set`, but `ex` and `get`."""

    px: Seconds | None
    exat: Moment | None
    pxat: Moment | None
    keepttl: bool
    nx: bool
    xx: bool
    ifeq: Argument | None
    ifne: Argument | None
    ifdeq: Argument | None
    ifdne: Argument | None


class AddOptions(Conditions, total=False):
    """Those of `zadd`, but `incr`."""

    ch: bool


# ---- with scores, without, or not known ------------------------------------------------------------------------------


class _Casting(TypedDict, total=False):
    score_cast_func: Cast


class Scored(_Casting):
    """Members come as `(member, score)`."""

    withscores: Literal[True]


class Unscored(_Casting, total=False):
    """Members come alone."""

    withscores: Literal[False]


class Scoring(_Casting, total=False):
    """Members come with or without."""

    withscores: bool


class _RangeOptions(TypedDict, total=False):
    byscore: bool
    bylex: bool
    offset: Number
    num: Number


class ScoredRange(Scored, _RangeOptions):
    """Those of `zrange`, for `(member, score)`."""


class UnscoredRange(Unscored, _RangeOptions):
    """Those of `zrange`, for members alone."""


class AnyRange(Scoring, _RangeOptions):
    """Those of `zrange`."""


# ---- pending entries of a stream -------------------------------------------------------------------------------------


#: Of entries.
Ids = list[Argument] | tuple[Argument, ...]


class ClaimOptions(TypedDict, total=False):
    """Those of `xclaim`, but `justid`."""

    idle: Number
    time: Number
    retrycount: Number
    force: bool
