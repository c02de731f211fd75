# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Commands for keys, whatever they hold: being there, living, being named, copied, moved, sorted, dumped."""

from __future__ import annotations

from typing import Any

from resp.argument_types import Key, Keys, Moment, Number, Pattern, Seconds
from resp.command_arguments import (
    at_least_one,
    conditions,
    limited,
    milliseconds,
    moment,
    one_of,
    scan_words,
    seconds,
    words,
)
from resp.commands.base import B, CommandGroup
from resp.encoding import Argument
from resp.errors import InvalidArgument
from resp.replies import as_bytes, as_scan, in_groups, is_ok


class Keyspace(CommandGroup[B]):
    """Keys."""

    __slots__ = ()

    def delete(self, *names: Key) -> int:
        """Delete keys; how many there were."""
        return self._do(["DEL", *at_least_one(list(names))])

    def unlink(self, *names: Key) -> int:
        """Delete keys, freeing their memory in the background; how many there were."""
        return self._do(["UNLINK", *at_least_one(list(names))])

    def exists(self, *names: Key) -> int:
        """How many of the keys exist."""
        return self._do(["EXISTS", *at_least_one(list(names))])

    def touch(self, *names: Key) -> int:
        """Mark keys as used now; how many there were."""
        return self._do(["TOUCH", *at_least_one(list(names))])

    def expire(
        self, name: Key, time: Seconds, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """Let a key live for `time` seconds from now; True if that was done."""
        return self._do(["EXPIRE", name, seconds(time), *conditions(nx, xx, gt, lt)], bool)

    def pexpire(
        self, name: Key, time: Seconds, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """Let a key live for `time` milliseconds from now; True if that was done."""
        return self._do(["PEXPIRE", name, milliseconds(time), *conditions(nx, xx, gt, lt)], bool)

    def expireat(
        self, name: Key, when: Moment, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """Let a key live until a Unix time in seconds, or a datetime; True if that was done."""
        return self._do(["EXPIREAT", name, moment(when, 1), *conditions(nx, xx, gt, lt)], bool)

    def pexpireat(
        self, name: Key, when: Moment, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """Let a key live until a Unix time in milliseconds, or a datetime; True if that was done."""
        return self._do(["PEXPIREAT", name, moment(when, 1000), *conditions(nx, xx, gt, lt)], bool)

    def persist(self, name: Key) -> bool:
        """Let a key live for ever; True if it had an end."""
        return self._do(("PERSIST", name), bool)

    def ttl(self, name: Key) -> int:
        """Seconds a key has to live; -1: no end, -2: no such key."""
        return self._do(("TTL", name))

    def pttl(self, name: Key) -> int:
        """Milliseconds a key has to live; -1: no end, -2: no such key."""
        return self._do(("PTTL", name))

    def expiretime(self, key: Key) -> int:
        """The Unix time in seconds at which a key ends; -1: no end, -2: no such key."""
        return self._do(("EXPIRETIME", key))

    def pexpiretime(self, key: Key) -> int:
        """The Unix time in milliseconds at which a key ends; -1: no end, -2: no such key."""
        return self._do(("PEXPIRETIME", key))

    def type(self, name: Key) -> B:
        """The kind of a value: b"string", b"list", b"set", b"zset", b"hash", b"stream" or b"none"."""
        return self._do(("TYPE", name))

    def keys(self, pattern: Argument = "*") -> list[B]:
        """All keys that match; blocks the server, prefer `scan_iter`."""
        return self._do(("KEYS", pattern))

    def randomkey(self) -> B | None:
        """Some key, None if there is none."""
        return self._do(("RANDOMKEY",))

    def rename(self, src: Key, dst: Key) -> bool:
        """Rename a key; True."""
        return self._do(("RENAME", src, dst), is_ok)

    def renamenx(self, src: Key, dst: Key) -> bool:
        """Rename a key if there is none of the new name; True if that was done."""
        return self._do(("RENAMENX", src, dst), bool)

    def copy(self, source: Key, destination: Key, destination_db: Number = None, replace: bool = False) -> bool:
        """Copy a value to another key, there or in another database; False if there is one and not `replace`."""
        args: list[Argument] = ["COPY", source, destination]
        if destination_db is not None:
            args += ["DB", destination_db]
        if replace:
            args.append("REPLACE")
        return self._do(args, bool)

    def move(self, name: Key, db: int) -> bool:
        """Move a key to another database; False if it is not here, or already there."""
        return self._do(("MOVE", name, db), bool)

    def dump(self, name: Key) -> bytes | None:
        """A value in the server's own form, for `restore`; bytes with `decode=True` too."""
        return self._do(("DUMP", name), as_bytes)

    def restore(
        self,
        name: Key,
        ttl: int,
        value: Argument,
        replace: bool = False,
        absttl: bool = False,
        idletime: Number = None,
        frequency: Number = None,
    ) -> bool:
        """Make a key of what `dump` gave; True.

        ttl: milliseconds it lives, 0 for no end; absttl: this is a Unix time. idletime: seconds since it was used last;
        frequency: of its use, 0 to 255.
        """
        args: list[Argument] = ["RESTORE", name, ttl, value]
        if replace:
            args.append("REPLACE")
        if absttl:
            args.append("ABSTTL")
        if idletime is not None:
            args += ["IDLETIME", idletime]
        if frequency is not None:
            args += ["FREQ", frequency]
        return self._do(args, is_ok)

    def object(self, infotype: str, key: Key) -> B | int | None:
        """What the server knows of a value: "encoding", "refcount", "idletime" (in seconds) or "freq"."""
        return self._do(("OBJECT", one_of(infotype, "ENCODING", "REFCOUNT", "IDLETIME", "FREQ"), key))

    def sort(
        self,
        name: Key,
        start: Number = None,
        num: Number = None,
        by: Argument | None = None,
        get: Keys | None = None,
        desc: bool = False,
        alpha: bool = False,
        store: Key | None = None,
        groups: bool = False,
    ) -> Any:
        """The members of a list, set or sorted set in order, as a list; how many with `store`.

        start, num: only these. by: patterns of keys by whose values to sort; get: patterns of keys whose values to
        return, "#" for the member itself. alpha: as texts, not as numbers. store: put them into a list of this name.
        groups: with several of `get`, a tuple for each member.
        """
        args = _sorting("SORT", name, start, num, by, get, desc, alpha)
        if store is not None:
            args += ["STORE", store]
        return self._do(args, in_groups(_patterns(get)) if groups else None)

    def sort_ro(
        self,
        key: Key,
        start: Number = None,
        num: Number = None,
        by: Argument | None = None,
        get: Keys | None = None,
        desc: bool = False,
        alpha: bool = False,
    ) -> list[B | None]:
        """`sort` without `store`, which a replica may do, too."""
        return self._do(_sorting("SORT_RO", key, start, num, by, get, desc, alpha))

    def scan(
        self, cursor: int = 0, match: Pattern = None, count: Number = None, _type: str | None = None
    ) -> tuple[int, list[B]]:
        """Some keys and the cursor for the next ones, 0 at the end: `(cursor, [key, …])`."""
        return self._do(scan_words(("SCAN", cursor), match, count, _type), as_scan)

    def memory_usage(self, key: Key, samples: Number = None) -> int | None:
        """The memory a key takes, in bytes; None if there is no such key."""
        return self._do(["MEMORY", "USAGE", key] + ([] if samples is None else ["SAMPLES", samples]))

    def migrate(
        self,
        host: str,
        port: int,
        keys: Keys,
        destination_db: int,
        timeout: int,
        copy: bool = False,
        replace: bool = False,
        auth: str | None = None,
    ) -> bool:
        """Let the server move keys to another one, within `timeout` milliseconds; False if it has none of them."""
        args: list[Argument] = ["MIGRATE", host, port, "", destination_db, timeout]
        if copy:
            args.append("COPY")
        if replace:
            args.append("REPLACE")
        if auth is not None:
            args += ["AUTH", auth]
        return self._wait(timeout / 1000, [*args, "KEYS", *at_least_one(words(keys))], is_ok)


def _patterns(get: Keys | None) -> int:
    number = 0 if get is None else len(words(get))
    if number < 2:
        raise InvalidArgument("groups need several patterns in `get`")
    return number


def _sorting(
    name: str,
    key: Key,
    start: int | None,
    num: int | None,
    by: Argument | None,
    get: Keys | None,
    desc: bool,
    alpha: bool,
) -> list[Argument]:
    args: list[Argument] = [name, key]
    if by is not None:
        args += ["BY", by]
    args = limited(args, start, num)
    for pattern in [] if get is None else words(get):
        args += ["GET", pattern]
    if desc:
        args.append("DESC")
    if alpha:
        args.append("ALPHA")
    return args
