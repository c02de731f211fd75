# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands for places on earth: members with longitude and latitude, distances, and what is near."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resp.argument_types import Key, Number
from resp.command_arguments import at_least_one, conditions, one_of, option
from resp.commands.base import B, CommandGroup
from resp.encoding import Argument
from resp.errors import InvalidArgument
from resp.replies import as_float, as_places, located


class Geo(CommandGroup[B]):
    """Places. Units are "m", "km", "mi" and "ft"."""

    __slots__ = ()

    def geoadd(
        self, name: Key, values: Sequence[Argument], nx: bool = False, xx: bool = False, ch: bool = False
    ) -> int:
        """Add places, as longitude, latitude, member in turn; how many are new (with `ch`: new or changed)."""
        if nx and xx:
            raise InvalidArgument("only one of nx and xx can be given")
        if len(values) % 3 or not values:
            raise InvalidArgument("a place is three values: longitude, latitude, member")
        args: list[Argument] = ["GEOADD", name, *conditions(nx, xx)]
        return self._do([*args, *(["CH"] if ch else []), *values])

    def geodist(self, name: Key, place1: Argument, place2: Argument, unit: str | None = None) -> float | None:
        """The distance of two members, None if one is absent."""
        return self._do(["GEODIST", name, place1, place2, *([] if unit is None else [_unit(unit)])], as_float)

    def geohash(self, name: Key, *values: Argument) -> list[B | None]:
        """Places as geohash, None for members that are absent."""
        return self._do(["GEOHASH", name, *at_least_one(list(values), "member")])

    def geopos(self, name: Key, *values: Argument) -> list[tuple[float, float] | None]:
        """Longitude and latitude of members, None for those that are absent."""
        return self._do(["GEOPOS", name, *at_least_one(list(values), "member")], as_places)

    def geosearch(
        self,
        name: Key,
        member: Argument | None = None,
        longitude: float | None = None,
        latitude: float | None = None,
        unit: str = "m",
        radius: float | None = None,
        width: float | None = None,
        height: float | None = None,
        sort: str | None = None,
        count: Number = None,
        any: bool = False,
        withcoord: bool = False,
        withdist: bool = False,
        withhash: bool = False,
    ) -> list[Any]:
        """Members around a member or a place, within a radius, or a box of width and height.

        sort: "ASC" or "DESC" by distance. count: so many at most, with `any` the first ones found. withdist, withhash,
        withcoord: each as a tuple of member, distance, hash, `(longitude, latitude)`, as far as asked for.
        """
        args = ["GEOSEARCH", name, *_middle(member, longitude, latitude), *_area(radius, width, height, unit)]
        args += [*_some(sort, count, any), *_told(withdist, withhash, withcoord)]
        return self._do(args, located(withdist, withhash, withcoord))

    def geosearchstore(
        self,
        dest: Key,
        name: Key,
        member: Argument | None = None,
        longitude: float | None = None,
        latitude: float | None = None,
        unit: str = "m",
        radius: float | None = None,
        width: float | None = None,
        height: float | None = None,
        sort: str | None = None,
        count: Number = None,
        any: bool = False,
        storedist: bool = False,
    ) -> int:
        """Put what `geosearch` finds into `dest`, with storedist by distance; how many there are."""
        args = ["GEOSEARCHSTORE", dest, name, *_middle(member, longitude, latitude)]
        args += [*_area(radius, width, height, unit), *_some(sort, count, any)]
        return self._do([*args, *(["STOREDIST"] if storedist else [])])

    def georadius(
        self,
        name: Key,
        longitude: float,
        latitude: float,
        radius: float,
        unit: str | None = None,
        withdist: bool = False,
        withcoord: bool = False,
        withhash: bool = False,
        count: Number = None,
        sort: str | None = None,
        store: Key | None = None,
        store_dist: Key | None = None,
        any: bool = False,
    ) -> Any:
        """Members around a place, by the command that `geosearch` replaces; with a store, how many there are."""
        args: list[Argument] = ["GEORADIUS", name, longitude, latitude, radius, _unit(unit or "m")]
        told = _told(withdist, withhash, withcoord)
        words = _radius(args, told, _some(sort, count, any), store, store_dist)
        return self._do(words, located(withdist, withhash, withcoord))

    def georadiusbymember(
        self,
        name: Key,
        member: Argument,
        radius: float,
        unit: str | None = None,
        withdist: bool = False,
        withcoord: bool = False,
        withhash: bool = False,
        count: Number = None,
        sort: str | None = None,
        store: Key | None = None,
        store_dist: Key | None = None,
        any: bool = False,
    ) -> Any:
        """Members around a member, by the command that `geosearch` replaces; with a store, how many there are."""
        args: list[Argument] = ["GEORADIUSBYMEMBER", name, member, radius, _unit(unit or "m")]
        told = _told(withdist, withhash, withcoord)
        words = _radius(args, told, _some(sort, count, any), store, store_dist)
        return self._do(words, located(withdist, withhash, withcoord))


def _unit(given: str) -> str:
    return one_of(given, "M", "KM", "MI", "FT").lower()


def _some(sort: str | None, count: int | None, any: bool) -> list[Argument]:
    args: list[Argument] = []
    if count is not None:
        args += ["COUNT", count]
    if any:
        if count is None:
            raise InvalidArgument("any needs a count")
        args.append("ANY")
    return args if sort is None else [*args, one_of(sort, "ASC", "DESC")]


def _middle(member: Argument | None, longitude: float | None, latitude: float | None) -> list[Argument]:
    if member is not None and longitude is None and latitude is None:
        return ["FROMMEMBER", member]
    if member is None and longitude is not None and latitude is not None:
        return ["FROMLONLAT", longitude, latitude]
    raise InvalidArgument("the middle is either a member, or longitude and latitude")


def _area(radius: float | None, width: float | None, height: float | None, unit: str) -> list[Argument]:
    if radius is not None and width is None and height is None:
        return ["BYRADIUS", radius, _unit(unit)]
    if radius is None and width is not None and height is not None:
        return ["BYBOX", width, height, _unit(unit)]
    raise InvalidArgument("the area is either a radius, or width and height")


def _told(distance: bool, geohash: bool, place: bool) -> list[Argument]:
    """What to tell of each member; `resp.replies.located` takes it apart again."""
    return [word for word, asked in (("WITHDIST", distance), ("WITHHASH", geohash), ("WITHCOORD", place)) if asked]


def _radius(
    args: list[Argument], told: list[Argument], some: list[Argument], store: Key | None, store_dist: Key | None
) -> list[Argument]:
    """The words of both: what stores nothing may be sent to a replica, and a second time."""
    if store is not None and store_dist is not None:
        raise InvalidArgument("only one of store and store_dist can be given")
    if store is None and store_dist is None:
        return [f"{args[0]!s}_RO", *args[1:], *told, *some]
    if told:
        raise InvalidArgument("what is stored cannot be told at the same time")
    return [*args, *some, *option("STORE", store), *option("STOREDIST", store_dist)]
