# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The commands for strings, keys, scripts, messages and the server, named as redis-py names them.

`Commands` turns a method call into the words of a command and says how its reply is to be read; `_do` decides what
happens with both: a client sends at once, a pipeline queues and returns itself. Surprising: annotated results are
`Any`, because the same method gives a value in the one and the pipeline in the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from resp.encoding import Argument
from resp.errors import InvalidArgument
from resp.structures import Structures
from resp.words import (
    Convert,
    Key,
    Keys,
    Moment,
    Seconds,
    as_client,
    as_clients,
    as_float,
    as_pairs,
    as_scan,
    as_text,
    as_time,
    at_least_one,
    conditions,
    expiry,
    flat,
    is_ok,
    milliseconds,
    moment,
    ok_or_none,
    parse_info,
    scan_words,
    seconds,
    words,
)


class Commands(Structures):
    """The commands. Keys and values are bytes, bytearray, memoryview, str (UTF-8), int or float; replies are bytes.

    What a method returns is written for a client; in a pipeline every method returns the pipeline.
    """

    def _do(self, args: list[Argument] | tuple[Argument, ...], convert: Convert | None = None) -> Any:
        raise NotImplementedError

    # ---- strings -------------------------------------------------------------------------------------------------

    def get(self, name: Key) -> Any:
        """The value of a key, None if there is none."""
        return self._do(("GET", name))

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
    ) -> Any:
        """Set a value; True, or None if `nx` (only if absent) or `xx` (only if present) forbade it.

        ex, px: it lives for so many seconds, milliseconds; exat, pxat: until then; keepttl: as long as the old one.
        get: return the old value instead.
        """
        args: list[Argument] = ["SET", name, value, *expiry(ex, px, exat, pxat, keepttl, "KEEPTTL")]
        if nx and xx:
            raise InvalidArgument("only one of nx and xx can be given")
        args += conditions(nx, xx, False, False)
        if get:
            args.append("GET")
        return self._do(args, None if get else ok_or_none)

    def setex(self, name: Key, time: Seconds, value: Argument) -> Any:
        """Set a value that lives for `time` seconds; True."""
        return self._do(("SETEX", name, seconds(time), value), is_ok)

    def psetex(self, name: Key, time_ms: Seconds, value: Argument) -> Any:
        """Set a value that lives for `time_ms` milliseconds; True."""
        return self._do(("PSETEX", name, milliseconds(time_ms), value), is_ok)

    def setnx(self, name: Key, value: Argument) -> Any:
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
    ) -> Any:
        """The value of a key, whose life is changed at the same time."""
        return self._do(["GETEX", name, *expiry(ex, px, exat, pxat, persist, "PERSIST")])

    def getdel(self, name: Key) -> Any:
        """The value of a key, which is deleted."""
        return self._do(("GETDEL", name))

    def getset(self, name: Key, value: Argument) -> Any:
        """Set a value and return the old one."""
        return self._do(("GETSET", name, value))

    def getrange(self, key: Key, start: int, end: int) -> Any:
        """A part of a value, both ends included."""
        return self._do(("GETRANGE", key, start, end))

    def setrange(self, name: Key, offset: int, value: Argument) -> Any:
        """Overwrite a part of a value; its new length."""
        return self._do(("SETRANGE", name, offset, value))

    def append(self, key: Key, value: Argument) -> Any:
        """Append to a value; its new length."""
        return self._do(("APPEND", key, value))

    def strlen(self, name: Key) -> Any:
        """The length of a value in bytes, 0 if there is none."""
        return self._do(("STRLEN", name))

    def mget(self, keys: Keys, *args: Argument) -> Any:
        """The values of several keys, None for those that are absent."""
        return self._do(["MGET", *at_least_one(words(keys, args))])

    def mset(self, mapping: Mapping[Any, Argument]) -> Any:
        """Set several values at once; True."""
        return self._do(["MSET", *flat(mapping)], is_ok)

    def msetnx(self, mapping: Mapping[Any, Argument]) -> Any:
        """Set several values if none of the keys is there; True if they were set."""
        return self._do(["MSETNX", *flat(mapping)], bool)

    def incr(self, name: Key, amount: int = 1) -> Any:
        """Add to a number; its new value."""
        return self._do(("INCRBY", name, amount))

    incrby = incr

    def incrbyfloat(self, name: Key, amount: float = 1.0) -> Any:
        """Add to a number; its new value as float."""
        return self._do(("INCRBYFLOAT", name, amount), as_float)

    def decr(self, name: Key, amount: int = 1) -> Any:
        """Subtract from a number; its new value."""
        return self._do(("DECRBY", name, amount))

    decrby = decr

    # ---- keys ----------------------------------------------------------------------------------------------------

    def delete(self, *names: Key) -> Any:
        """Delete keys; how many there were."""
        return self._do(["DEL", *at_least_one(list(names))])

    def unlink(self, *names: Key) -> Any:
        """Delete keys, freeing their memory in the background; how many there were."""
        return self._do(["UNLINK", *at_least_one(list(names))])

    def exists(self, *names: Key) -> Any:
        """How many of the keys exist."""
        return self._do(["EXISTS", *at_least_one(list(names))])

    def touch(self, *names: Key) -> Any:
        """Mark keys as used now; how many there were."""
        return self._do(["TOUCH", *at_least_one(list(names))])

    def expire(
        self, name: Key, time: Seconds, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Any:
        """Let a key live for `time` seconds from now; True if that was done."""
        return self._do(["EXPIRE", name, seconds(time), *conditions(nx, xx, gt, lt)], bool)

    def pexpire(
        self, name: Key, time: Seconds, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Any:
        """Let a key live for `time` milliseconds from now; True if that was done."""
        return self._do(["PEXPIRE", name, milliseconds(time), *conditions(nx, xx, gt, lt)], bool)

    def expireat(
        self, name: Key, when: Moment, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Any:
        """Let a key live until a Unix time in seconds, or a datetime; True if that was done."""
        return self._do(["EXPIREAT", name, moment(when, 1), *conditions(nx, xx, gt, lt)], bool)

    def pexpireat(
        self, name: Key, when: Moment, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Any:
        """Let a key live until a Unix time in milliseconds, or a datetime; True if that was done."""
        return self._do(["PEXPIREAT", name, moment(when, 1000), *conditions(nx, xx, gt, lt)], bool)

    def persist(self, name: Key) -> Any:
        """Let a key live for ever; True if it had an end."""
        return self._do(("PERSIST", name), bool)

    def ttl(self, name: Key) -> Any:
        """Seconds a key has to live; -1: no end, -2: no such key."""
        return self._do(("TTL", name))

    def pttl(self, name: Key) -> Any:
        """Milliseconds a key has to live; -1: no end, -2: no such key."""
        return self._do(("PTTL", name))

    def type(self, name: Key) -> Any:
        """The kind of a value: b"string", b"list", b"set", b"zset", b"hash", b"stream" or b"none"."""
        return self._do(("TYPE", name))

    def keys(self, pattern: Argument = "*") -> Any:
        """All keys that match; blocks the server, prefer `scan_iter`."""
        return self._do(("KEYS", pattern))

    def randomkey(self) -> Any:
        """Some key, None if there is none."""
        return self._do(("RANDOMKEY",))

    def rename(self, src: Key, dst: Key) -> Any:
        """Rename a key; True."""
        return self._do(("RENAME", src, dst), is_ok)

    def renamenx(self, src: Key, dst: Key) -> Any:
        """Rename a key if there is none of the new name; True if that was done."""
        return self._do(("RENAMENX", src, dst), bool)

    def scan(
        self, cursor: int = 0, match: Argument | None = None, count: int | None = None, _type: str | None = None
    ) -> Any:
        """Some keys and the cursor for the next ones, 0 at the end: `(cursor, [key, …])`."""
        return self._do(scan_words(("SCAN", cursor), match, count, _type), as_scan)

    def scan_iter(
        self, match: Argument | None = None, count: int | None = None, _type: str | None = None
    ) -> Iterator[Any]:
        """All keys, in no order; a key may come twice, and one that comes and goes meanwhile may be missed."""
        cursor = 0
        while True:
            cursor, found = self.scan(cursor, match, count, _type)
            yield from found
            if not cursor:
                return

    # ---- scripts, messages, the server ---------------------------------------------------------------------------

    def eval(self, script: Argument, numkeys: int, *keys_and_args: Argument) -> Any:
        """Run a Lua script; the first `numkeys` arguments are keys."""
        return self._do(["EVAL", script, numkeys, *keys_and_args])

    def evalsha(self, sha: Argument, numkeys: int, *keys_and_args: Argument) -> Any:
        """Run a script that the server knows by its SHA-1; raises NoScript if it does not."""
        return self._do(["EVALSHA", sha, numkeys, *keys_and_args])

    def script_load(self, script: Argument) -> Any:
        """Give a script to the server; its SHA-1 as str."""
        return self._do(("SCRIPT", "LOAD", script), as_text)

    def script_exists(self, *shas: Argument) -> Any:
        """For each SHA-1 whether the server knows the script."""
        return self._do(["SCRIPT", "EXISTS", *shas], lambda reply: [bool(item) for item in reply])

    def script_flush(self) -> Any:
        """Let the server forget all scripts; True."""
        return self._do(("SCRIPT", "FLUSH"), is_ok)

    def publish(self, channel: Argument, message: Argument) -> Any:
        """Send a message to all who subscribed to a channel; how many got it."""
        return self._do(("PUBLISH", channel, message))

    def spublish(self, shard_channel: Argument, message: Argument) -> Any:
        """The same for a sharded channel."""
        return self._do(("SPUBLISH", shard_channel, message))

    def pubsub_channels(self, pattern: Argument = "*") -> Any:
        """The channels that somebody subscribed to."""
        return self._do(("PUBSUB", "CHANNELS", pattern))

    def pubsub_numsub(self, *args: Argument) -> Any:
        """For each channel how many subscribed to it, as `[(channel, number), …]`."""
        return self._do(["PUBSUB", "NUMSUB", *args], lambda reply: list(as_pairs(reply).items()))

    def ping(self, message: Argument | None = None) -> Any:
        """True if the server answers; with a message, the message."""
        if message is not None:
            return self._do(("PING", message))
        return self._do(("PING",), lambda reply: reply in (b"PONG", "PONG"))

    def echo(self, value: Argument) -> Any:
        """The value, from the server."""
        return self._do(("ECHO", value))

    def time(self) -> Any:
        """The server's clock: `(Unix seconds, microseconds)`."""
        return self._do(("TIME",), as_time)

    def info(self, section: str | None = None, *args: str) -> Any:
        """What the server says about itself, as `{field: value}`, all sections or some."""
        return self._do(["INFO", *([] if section is None else [section]), *args], parse_info)

    def dbsize(self) -> Any:
        """How many keys the database has."""
        return self._do(("DBSIZE",))

    def flushdb(self, asynchronous: bool = False) -> Any:
        """Delete every key of this database; True."""
        return self._do(["FLUSHDB", *(["ASYNC"] if asynchronous else [])], is_ok)

    def flushall(self, asynchronous: bool = False) -> Any:
        """Delete every key of every database; True."""
        return self._do(["FLUSHALL", *(["ASYNC"] if asynchronous else [])], is_ok)

    def memory_usage(self, key: Key, samples: int | None = None) -> Any:
        """The memory a key takes, in bytes; None if there is no such key."""
        return self._do(["MEMORY", "USAGE", key] + ([] if samples is None else ["SAMPLES", samples]))

    def config_get(self, pattern: Argument = "*", *args: Argument) -> Any:
        """Settings of the server as `{name: value}`."""
        return self._do(
            ["CONFIG", "GET", pattern, *args], lambda reply: {as_text(k): v for k, v in as_pairs(reply).items()}
        )

    def config_set(self, name: Argument, value: Argument, *args: Argument) -> Any:
        """Change settings of the server; True."""
        return self._do(["CONFIG", "SET", name, value, *args], is_ok)

    def client_id(self) -> Any:
        """The number of the connection that was used; another call may use another one."""
        return self._do(("CLIENT", "ID"))

    def client_info(self) -> Any:
        """What the server knows about the connection that was used, as a dict of texts."""
        return self._do(("CLIENT", "INFO"), lambda reply: as_client(as_text(reply).strip()))

    def client_list(self, _type: str | None = None, client_id: list[int] | None = None) -> Any:
        """All connections of the server as dicts of texts; `_type` is "normal", "master", "replica" or "pubsub"."""
        args: list[Argument] = ["CLIENT", "LIST"]
        if _type is not None:
            args += ["TYPE", _type]
        if client_id:
            args += ["ID", *client_id]
        return self._do(args, as_clients)

    def client_getname(self) -> Any:
        """The name of the connection that was used, None if it has none."""
        return self._do(("CLIENT", "GETNAME"))

    def client_setname(self, name: str) -> Any:
        """Name the connection that is used; True. To name all of them, give `client_name` to the client."""
        return self._do(("CLIENT", "SETNAME", name), is_ok)

    def client_kill(self, address: str) -> Any:
        """Close the connection from this `ip:port`; True."""
        return self._do(("CLIENT", "KILL", address), is_ok)

    def client_kill_filter(
        self,
        _id: int | None = None,
        _type: str | None = None,
        addr: str | None = None,
        skipme: bool | None = None,
        laddr: str | None = None,
        user: str | None = None,
        maxage: int | None = None,
    ) -> Any:
        """Close all connections that fit; how many there were."""
        args: list[Argument] = ["CLIENT", "KILL"]
        for name, value in (("TYPE", _type), ("ID", _id), ("ADDR", addr), ("LADDR", laddr), ("USER", user)):
            if value is not None:
                args += [name, value]
        if maxage is not None:
            args += ["MAXAGE", maxage]
        if skipme is not None:
            args += ["SKIPME", "YES" if skipme else "NO"]
        if len(args) == 2:
            raise InvalidArgument("at least one condition is needed")
        return self._do(args)

    def client_pause(self, timeout: int, all: bool = True) -> Any:
        """Let the server answer nobody (or, with all=False, no writer) for so many milliseconds; True."""
        return self._do(["CLIENT", "PAUSE", timeout, *([] if all else ["WRITE"])], is_ok)

    def client_unpause(self) -> Any:
        """End a pause; True."""
        return self._do(("CLIENT", "UNPAUSE"), is_ok)
