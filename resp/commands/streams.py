# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands for streams: entries, groups of consumers, and what was delivered and not yet acknowledged.

An entry is `(id, {field: value})`. Reading with `block` (milliseconds, 0 for ever) keeps a connection busy meanwhile.
What a stream, a group or a consumer is like comes as a dict whose names are `str`, whatever `decode` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Unpack, overload

from resp.argument_types import Key, Number
from resp.command_arguments import at_least_one, flat, one_of, option
from resp.commands.base import B, CommandGroup
from resp.commands.options import ClaimOptions, Ids
from resp.encoding import Argument
from resp.errors import InvalidArgument
from resp.replies import (
    as_all_described,
    as_autoclaimed,
    as_entries,
    as_pending,
    as_pending_entries,
    as_stream,
    as_streams,
    is_ok,
)


class Streams(CommandGroup[B]):
    """Streams."""

    __slots__ = ()

    def xadd(
        self,
        name: Key,
        fields: Mapping[Any, Argument],
        id: Argument = "*",
        maxlen: Number = None,
        approximate: bool = True,
        nomkstream: bool = False,
        minid: Argument | None = None,
        limit: Number = None,
        ref_policy: str | None = None,
    ) -> B | None:
        """Append an entry; its id, None if there is no such stream and `nomkstream`.

        maxlen, minid, approximate, limit, ref_policy: cut the stream at the same time, as `xtrim` does.
        """
        args: list[Argument] = ["XADD", name]
        if nomkstream:
            args.append("NOMKSTREAM")
        if ref_policy is not None:
            args.append(_policy(ref_policy))
        if maxlen is not None or minid is not None or limit is not None:
            args += _cut(maxlen, minid, approximate, limit)
        return self._do([*args, id, *flat(fields)])

    def xlen(self, name: Key) -> int:
        """How many entries there are."""
        return self._do(("XLEN", name))

    def xrange(
        self, name: Key, min: Argument = "-", max: Argument = "+", count: Number = None
    ) -> list[tuple[B, dict[B, B]]]:
        """Entries from one id to another, both included; "(" before an id excludes it."""
        return self._do(["XRANGE", name, min, max, *_count(count)], as_entries)

    def xrevrange(
        self, name: Key, max: Argument = "+", min: Argument = "-", count: Number = None
    ) -> list[tuple[B, dict[B, B]]]:
        """The same from the last to the first."""
        return self._do(["XREVRANGE", name, max, min, *_count(count)], as_entries)

    def xdel(self, name: Key, *ids: Argument) -> int:
        """Delete entries; how many there were."""
        return self._do(["XDEL", name, *at_least_one(list(ids), "id")])

    def xdelex(self, name: Key, *ids: Argument, ref_policy: str = "KEEPREF") -> list[int]:
        """Delete entries and, if the policy says so, what groups know of them (Redis 8.2).

        For each 1: deleted, -1: not there, 2: left, because it is not acknowledged everywhere ("ACKED").
        """
        return self._do(["XDELEX", name, _policy(ref_policy), *_ids(ids)])

    def xtrim(
        self,
        name: Key,
        maxlen: Number = None,
        approximate: bool = True,
        minid: Argument | None = None,
        limit: Number = None,
        ref_policy: str | None = None,
    ) -> int:
        """Cut a stream to so many entries, or to those from an id on; how many were removed.

        approximate: about so many, which is much cheaper; limit: look at so many entries at most.
        """
        args: list[Argument] = ["XTRIM", name, *_cut(maxlen, minid, approximate, limit)]
        return self._do(args if ref_policy is None else [*args, _policy(ref_policy)])

    def xread(
        self, streams: Mapping[Any, Argument], count: Number = None, block: Number = None
    ) -> list[tuple[B, list[tuple[B, dict[B, B]]]]]:
        """Entries after an id, of each stream of `{name: id}`: `[(name, [entry, …]), …]`; "$" for those to come.

        count: at most so many of each. block: wait so many milliseconds for the first one; [] if none came.
        """
        return self._read(["XREAD"], streams, count, block)

    # ---- groups --------------------------------------------------------------------------------------------------

    def xreadgroup(
        self,
        groupname: Argument,
        consumername: Argument,
        streams: Mapping[Any, Argument],
        count: Number = None,
        block: Number = None,
        noack: bool = False,
    ) -> list[tuple[B, list[tuple[B, dict[B, B]]]]]:
        """`xread` as one consumer of a group: ">" for entries nobody of it got, an id for one's own again.

        noack: count them as acknowledged at once.
        """
        args: list[Argument] = ["XREADGROUP", "GROUP", groupname, consumername]
        return self._read(args, streams, count, block, ["NOACK"] if noack else [])

    def _read(
        self,
        args: list[Argument],
        streams: Mapping[Any, Argument],
        count: int | None,
        block: int | None,
        more: list[Argument] | None = None,
    ) -> Any:
        if not isinstance(streams, Mapping) or not streams:
            raise InvalidArgument("streams must be a mapping of names to ids, with at least one")
        args += _count(count)
        if block is not None:
            if isinstance(block, bool) or not isinstance(block, int) or block < 0:
                raise InvalidArgument("block must be milliseconds, 0 for ever")
            args += ["BLOCK", block]
        args += [*(more or []), "STREAMS", *streams.keys(), *streams.values()]
        return self._do(args, as_streams) if block is None else self._wait(block / 1000, args, as_streams)

    def xack(self, name: Key, groupname: Argument, *ids: Argument) -> int:
        """Say that entries are dealt with; how many had been pending."""
        return self._do(["XACK", name, groupname, *at_least_one(list(ids), "id")])

    def xackdel(self, name: Key, groupname: Argument, *ids: Argument, ref_policy: str = "KEEPREF") -> list[int]:
        """`xack` and `xdelex` at once, results as for the latter (Redis 8.2)."""
        return self._do(["XACKDEL", name, groupname, _policy(ref_policy), *_ids(ids)])

    def xgroup_create(
        self,
        name: Key,
        groupname: Argument,
        id: Argument = "$",
        mkstream: bool = False,
        entries_read: Number = None,
    ) -> bool:
        """Make a group that begins after `id` ("$": with what is to come, 0: with the first entry); True.

        mkstream: make the stream as well. entries_read: how many entries it is to count as read.
        """
        args: list[Argument] = ["XGROUP", "CREATE", name, groupname, id]
        if mkstream:
            args.append("MKSTREAM")
        return self._do([*args, *option("ENTRIESREAD", entries_read)], is_ok)

    def xgroup_setid(self, name: Key, groupname: Argument, id: Argument, entries_read: Number = None) -> bool:
        """Let a group go on after `id`; True."""
        return self._do(["XGROUP", "SETID", name, groupname, id, *option("ENTRIESREAD", entries_read)], is_ok)

    def xgroup_destroy(self, name: Key, groupname: Argument) -> bool:
        """Remove a group; True if there was one."""
        return self._do(("XGROUP", "DESTROY", name, groupname), bool)

    def xgroup_createconsumer(self, name: Key, groupname: Argument, consumername: Argument) -> bool:
        """Make a consumer, which reading does by itself; True if it is new."""
        return self._do(("XGROUP", "CREATECONSUMER", name, groupname, consumername), bool)

    def xgroup_delconsumer(self, name: Key, groupname: Argument, consumername: Argument) -> int:
        """Remove a consumer; how many entries it had pending, which nobody will get any more."""
        return self._do(("XGROUP", "DELCONSUMER", name, groupname, consumername))

    def xpending(self, name: Key, groupname: Argument) -> dict[str, Any]:
        """What is not acknowledged: `pending` (how many), `min` and `max` (ids), `consumers` with their numbers."""
        return self._do(("XPENDING", name, groupname), as_pending)

    def xpending_range(
        self,
        name: Key,
        groupname: Argument,
        min: Argument,
        max: Argument,
        count: int,
        consumername: Argument | None = None,
        idle: Number = None,
    ) -> list[dict[str, Any]]:
        """Entries that are not acknowledged: `message_id`, `consumer`, `time_since_delivered`, `times_delivered`.

        idle: only those delivered at least so many milliseconds ago.
        """
        args: list[Argument] = ["XPENDING", name, groupname, *option("IDLE", idle), min, max, count]
        return self._do(args if consumername is None else [*args, consumername], as_pending_entries)

    @overload
    def xclaim(
        self,
        name: Key,
        groupname: Argument,
        consumername: Argument,
        min_idle_time: int,
        message_ids: Ids,
        *,
        justid: Literal[False] = False,
        **how: Unpack[ClaimOptions],
    ) -> list[tuple[B, dict[B, B]]]: ...
    @overload
    def xclaim(
        self,
        name: Key,
        groupname: Argument,
        consumername: Argument,
        min_idle_time: int,
        message_ids: Ids,
        *,
        justid: Literal[True],
        **how: Unpack[ClaimOptions],
    ) -> list[B]: ...
    def xclaim(
        self,
        name: Key,
        groupname: Argument,
        consumername: Argument,
        min_idle_time: int,
        message_ids: Ids,
        idle: Number = None,
        time: Number = None,
        retrycount: Number = None,
        force: bool = False,
        justid: bool = False,
    ) -> list[tuple[B, dict[B, B]]] | list[B]:
        """Give pending entries to another consumer, if delivered at least so many milliseconds ago; these entries.

        idle, time: when they are to count as delivered, in milliseconds ago or as Unix time; retrycount: how often;
        force: also those that are not pending; justid: only the ids, and do not count it as a delivery.
        """
        if not message_ids:
            raise InvalidArgument("at least one id is needed")
        args: list[Argument] = ["XCLAIM", name, groupname, consumername, min_idle_time, *message_ids]
        args += [*option("IDLE", idle), *option("TIME", time), *option("RETRYCOUNT", retrycount)]
        if force:
            args.append("FORCE")
        if justid:
            return self._do([*args, "JUSTID"])
        return self._do(args, as_entries)

    @overload
    def xautoclaim(
        self,
        name: Key,
        groupname: Argument,
        consumername: Argument,
        min_idle_time: int,
        start_id: Argument = "0-0",
        count: Number = None,
        justid: Literal[False] = False,
    ) -> tuple[B, list[tuple[B, dict[B, B]]], list[B]]: ...
    @overload
    def xautoclaim(
        self,
        name: Key,
        groupname: Argument,
        consumername: Argument,
        min_idle_time: int,
        start_id: Argument = "0-0",
        count: Number = None,
        *,
        justid: Literal[True],
    ) -> list[B]: ...
    def xautoclaim(
        self,
        name: Key,
        groupname: Argument,
        consumername: Argument,
        min_idle_time: int,
        start_id: Argument = "0-0",
        count: Number = None,
        justid: bool = False,
    ) -> tuple[B, list[tuple[B, dict[B, B]]], list[B]] | list[B]:
        """`xclaim` of whatever is pending for too long: the id to go on with, the entries, ids of entries now deleted.

        The id is 0-0 at the end. justid: only the ids of the entries, as a list.
        """
        args: list[Argument] = ["XAUTOCLAIM", name, groupname, consumername, min_idle_time, start_id, *_count(count)]
        if justid:
            return self._do([*args, "JUSTID"], lambda reply: reply[1])
        return self._do(args, as_autoclaimed)

    def xinfo_stream(self, name: Key, full: bool = False) -> dict[str, Any]:
        """What a stream is like; `full`: with entries, groups and consumers."""
        return self._do(["XINFO", "STREAM", name, *(["FULL"] if full else [])], as_stream)

    def xinfo_groups(self, name: Key) -> list[dict[str, Any]]:
        """The groups of a stream."""
        return self._do(("XINFO", "GROUPS", name), as_all_described)

    def xinfo_consumers(self, name: Key, groupname: Argument) -> list[dict[str, Any]]:
        """The consumers of a group."""
        return self._do(("XINFO", "CONSUMERS", name, groupname), as_all_described)


def _count(count: int | None) -> list[Argument]:
    if count is None:
        return []
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InvalidArgument("count must be a positive int")
    return ["COUNT", count]


def _cut(maxlen: int | None, minid: Argument | None, approximate: bool, limit: int | None) -> list[Argument]:
    given = [(word, least) for word, least in (("MAXLEN", maxlen), ("MINID", minid)) if least is not None]
    if len(given) != 1:
        raise InvalidArgument("one of maxlen and minid must be given, and not both")
    if limit is not None and not approximate:
        raise InvalidArgument("limit goes with approximate only")
    if maxlen is not None and (isinstance(maxlen, bool) or not isinstance(maxlen, int) or maxlen < 0):
        raise InvalidArgument("maxlen must be an int of at least 0")
    [(word, least)] = given
    return [word, *(["~"] if approximate else []), least, *option("LIMIT", limit)]


def _policy(given: str) -> str:
    return one_of(given, "KEEPREF", "DELREF", "ACKED")


def _ids(ids: tuple[Argument, ...]) -> list[Argument]:
    found = at_least_one(list(ids), "id")
    return ["IDS", len(found), *found]
