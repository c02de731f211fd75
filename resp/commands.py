# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The commands, named as redis-py names them and with its arguments and results.

`Commands` turns a method call into the words of a command and says how its reply is to be read; `_do` decides what
happens with both: a client sends at once, a pipeline queues and returns itself. Replies are the same over RESP2 and
RESP3. Surprising: a reply of a form that nobody expects becomes a ProtocolError (see `converted`), so that not even a
broken server makes a TypeError or a ValueError come out of a call.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from resp.errors import InvalidArgument, ProtocolError, RespError, ServerError
from resp.protocol import Argument, Value

Key = Argument
Keys = Argument | Iterable[Argument]
#: How a reply becomes the result; None: as it is.
Convert = Callable[[Any], Any]
Seconds = int | datetime.timedelta
Moment = int | datetime.datetime

#: Commands that only read, and may therefore be sent a second time over a new connection when an idle one turned out
#: to be dead. No write is in this list, idempotent or not; nor is anything that depends on the connection.
_READS: Final = (
    "BITCOUNT BITPOS DBSIZE ECHO EVAL_RO EVALSHA_RO EXISTS EXPIRETIME FCALL_RO GET GETBIT GETRANGE HEXISTS HGET "
    "HGETALL HKEYS HLEN HMGET HRANDFIELD HSCAN HSTRLEN HVALS INFO KEYS LASTSAVE LINDEX LLEN LPOS LRANGE MGET "
    "PEXPIRETIME PFCOUNT PING PTTL RANDOMKEY SCAN SCARD SDIFF SINTER SINTERCARD SISMEMBER SMEMBERS SMISMEMBER "
    "SORT_RO SRANDMEMBER SSCAN STRLEN SUBSTR SUNION TIME TTL TYPE XLEN XRANGE XREVRANGE ZCARD ZCOUNT ZDIFF ZINTER "
    "ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYSCORE ZREVRANK "
    "ZSCAN ZSCORE ZUNION "
)
READS: Final = frozenset(_READS.split())


def is_read(name: object) -> bool:
    """True if the command of this name only reads."""
    if isinstance(name, bytes):
        name = name.decode("ascii", "replace")
    return isinstance(name, str) and name.upper() in READS


def converted(reply: Value, convert: Convert | None) -> Value:
    """`convert(reply)`; errors in the reply stay, a reply that does not fit is a ProtocolError."""
    if convert is None or isinstance(reply, ServerError):
        return reply
    try:
        return convert(reply)
    except RespError:
        raise
    except Exception as error:
        raise ProtocolError(f"the server answered in an unexpected form ({type(error).__name__})") from None


# ---- what replies mean -----------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _is_ok(reply: Any) -> bool:
    return reply in (b"OK", "OK")


def _ok_or_none(reply: Any) -> Any:
    return True if reply in (b"OK", "OK") else None if reply is None else reply


def _float(reply: Any) -> float | None:
    return None if reply is None else float(reply)


def _floats(reply: Any) -> list[float | None]:
    return [_float(item) for item in reply]


def _pairs(reply: Any) -> dict[Any, Any]:
    return dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def _scored(reply: Any) -> list[tuple[Any, float]]:
    """Members with scores: flat over RESP2, in pairs over RESP3."""
    if reply and isinstance(reply[0], list):
        return [(member, float(score)) for member, score in reply]
    return [(member, float(score)) for member, score in zip(reply[::2], reply[1::2], strict=True)]


def _popped(reply: Any) -> list[tuple[Any, float]]:
    # Over RESP3 a single member comes without the outer array.
    if len(reply) == 2 and not isinstance(reply[0], list):
        return [(reply[0], float(reply[1]))]
    return _scored(reply)


def _scan(reply: Any) -> tuple[int, Any]:
    cursor, items = reply
    return int(cursor), items


def _scan_pairs(reply: Any) -> tuple[int, Any]:
    cursor, items = reply
    return int(cursor), _pairs(items)


def _scan_scores(reply: Any) -> tuple[int, Any]:
    cursor, items = reply
    return int(cursor), _scored(items)


def _time(reply: Any) -> tuple[int, int]:
    seconds, micros = reply
    return int(seconds), int(micros)


def _number_or_text(text: str) -> Any:
    for kind in (int, float):
        # `1_000`, `nan` and `infinity` are texts to a server.
        if text[:1].isdigit() or text[:1] == "-":
            try:
                return text if "_" in text else kind(text)
            except ValueError:
                continue
    return text


def parse_info(reply: Any) -> dict[str, Any]:
    """The reply to INFO: field → int, float or str; `a=1,b=2` becomes a dict of its own, as in `db0`."""
    found: dict[str, Any] = {}
    for line in _text(reply).splitlines():
        name, colon, value = line.partition(":")
        if not colon or line.startswith("#"):
            continue
        fields = [field.partition("=") for field in value.split(",")]
        if "=" in value and all(equals for _, equals, _ in fields):
            found[name] = {field: _number_or_text(text) for field, _, text in fields}
        else:
            found[name] = _number_or_text(value)
    return found


def _client(line: str) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in line.split(" ") if word)


def _clients(reply: Any) -> list[dict[str, str]]:
    return [_client(line) for line in _text(reply).splitlines() if line]


# ---- what arguments mean ---------------------------------------------------------------------------------------------


def words(keys: Keys, more: tuple[Argument, ...] = ()) -> list[Argument]:
    """One argument, or several, or a list of them, as redis-py takes them; a str or bytes is one."""
    if isinstance(keys, str | bytes | bytearray | memoryview | int | float):
        return [keys, *more]
    if keys is None or not isinstance(keys, Iterable):
        raise InvalidArgument(f"expected a key or several, not {keys!r}")
    return [*keys, *more]


def _some(found: list[Argument], what: str = "key") -> list[Argument]:
    if not found:
        raise InvalidArgument(f"at least one {what} is needed")
    return found


def seconds(value: Seconds) -> int:
    """A span of time in seconds, as int or timedelta."""
    if isinstance(value, datetime.timedelta):
        return int(value.total_seconds())
    return _whole(value)


def milliseconds(value: Seconds) -> int:
    """A span of time in milliseconds, as int or timedelta."""
    if isinstance(value, datetime.timedelta):
        return value // datetime.timedelta(milliseconds=1)
    return _whole(value)


def _moment(value: Moment, scale: int) -> int:
    if isinstance(value, datetime.datetime):
        return int(value.timestamp() * scale)
    return _whole(value)


def _whole(value: object) -> int:
    if isinstance(value, bool):
        raise InvalidArgument("a time must be a number, not a bool")
    if isinstance(value, int):
        return value
    if isinstance(value, str | bytes) and value.isdigit():
        return int(value)
    raise InvalidArgument(f"a time must be an int or a timedelta, not {type(value).__name__}")


def _expiry(ex: Any, px: Any, exat: Any, pxat: Any, other: bool, name: str) -> list[Argument]:
    """The options that say how long a value lives; one of them at most."""
    options: list[Argument] = []
    if ex is not None:
        options += ["EX", seconds(ex)]
    if px is not None:
        options += ["PX", milliseconds(px)]
    if exat is not None:
        options += ["EXAT", _moment(exat, 1)]
    if pxat is not None:
        options += ["PXAT", _moment(pxat, 1000)]
    if other:
        options.append(name)
    if len(options) > 2 or (other and len(options) > 1):
        raise InvalidArgument(f"only one of ex, px, exat, pxat and {name.lower()} can be given")
    return options


def _conditions(nx: bool, xx: bool, gt: bool, lt: bool) -> list[Argument]:
    return [name for name, wanted in (("NX", nx), ("XX", xx), ("GT", gt), ("LT", lt)) if wanted]


class Commands:
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
        args: list[Argument] = ["SET", name, value, *_expiry(ex, px, exat, pxat, keepttl, "KEEPTTL")]
        if nx and xx:
            raise InvalidArgument("only one of nx and xx can be given")
        args += _conditions(nx, xx, False, False)
        if get:
            args.append("GET")
        return self._do(args, None if get else _ok_or_none)

    def setex(self, name: Key, time: Seconds, value: Argument) -> Any:
        """Set a value that lives for `time` seconds; True."""
        return self._do(("SETEX", name, seconds(time), value), _is_ok)

    def psetex(self, name: Key, time_ms: Seconds, value: Argument) -> Any:
        """Set a value that lives for `time_ms` milliseconds; True."""
        return self._do(("PSETEX", name, milliseconds(time_ms), value), _is_ok)

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
        return self._do(["GETEX", name, *_expiry(ex, px, exat, pxat, persist, "PERSIST")])

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
        return self._do(["MGET", *_some(words(keys, args))])

    def mset(self, mapping: Mapping[Any, Argument]) -> Any:
        """Set several values at once; True."""
        return self._do(["MSET", *_flat(mapping)], _is_ok)

    def msetnx(self, mapping: Mapping[Any, Argument]) -> Any:
        """Set several values if none of the keys is there; True if they were set."""
        return self._do(["MSETNX", *_flat(mapping)], bool)

    def incr(self, name: Key, amount: int = 1) -> Any:
        """Add to a number; its new value."""
        return self._do(("INCRBY", name, amount))

    incrby = incr

    def incrbyfloat(self, name: Key, amount: float = 1.0) -> Any:
        """Add to a number; its new value as float."""
        return self._do(("INCRBYFLOAT", name, amount), _float)

    def decr(self, name: Key, amount: int = 1) -> Any:
        """Subtract from a number; its new value."""
        return self._do(("DECRBY", name, amount))

    decrby = decr

    # ---- keys ----------------------------------------------------------------------------------------------------

    def delete(self, *names: Key) -> Any:
        """Delete keys; how many there were."""
        return self._do(["DEL", *_some(list(names))])

    def unlink(self, *names: Key) -> Any:
        """Delete keys, freeing their memory in the background; how many there were."""
        return self._do(["UNLINK", *_some(list(names))])

    def exists(self, *names: Key) -> Any:
        """How many of the keys exist."""
        return self._do(["EXISTS", *_some(list(names))])

    def touch(self, *names: Key) -> Any:
        """Mark keys as used now; how many there were."""
        return self._do(["TOUCH", *_some(list(names))])

    def expire(
        self, name: Key, time: Seconds, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Any:
        """Let a key live for `time` seconds from now; True if that was done."""
        return self._do(["EXPIRE", name, seconds(time), *_conditions(nx, xx, gt, lt)], bool)

    def pexpire(
        self, name: Key, time: Seconds, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Any:
        """Let a key live for `time` milliseconds from now; True if that was done."""
        return self._do(["PEXPIRE", name, milliseconds(time), *_conditions(nx, xx, gt, lt)], bool)

    def expireat(
        self, name: Key, when: Moment, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Any:
        """Let a key live until a Unix time in seconds, or a datetime; True if that was done."""
        return self._do(["EXPIREAT", name, _moment(when, 1), *_conditions(nx, xx, gt, lt)], bool)

    def pexpireat(
        self, name: Key, when: Moment, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Any:
        """Let a key live until a Unix time in milliseconds, or a datetime; True if that was done."""
        return self._do(["PEXPIREAT", name, _moment(when, 1000), *_conditions(nx, xx, gt, lt)], bool)

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
        return self._do(("RENAME", src, dst), _is_ok)

    def renamenx(self, src: Key, dst: Key) -> Any:
        """Rename a key if there is none of the new name; True if that was done."""
        return self._do(("RENAMENX", src, dst), bool)

    def scan(
        self, cursor: int = 0, match: Argument | None = None, count: int | None = None, _type: str | None = None
    ) -> Any:
        """Some keys and the cursor for the next ones, 0 at the end: `(cursor, [key, …])`."""
        return self._do(_scan_args(("SCAN", cursor), match, count, _type), _scan)

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
            args += _flat(mapping)
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
        return self._do(["HMGET", name, *_some(words(keys, args), "field")])

    def hgetall(self, name: Key) -> Any:
        """All fields and values as a dict."""
        return self._do(("HGETALL", name), _pairs)

    def hdel(self, name: Key, *keys: Argument) -> Any:
        """Delete fields; how many there were."""
        return self._do(["HDEL", name, *_some(list(keys), "field")])

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
        return self._do(("HINCRBYFLOAT", name, key, amount), _float)

    def hscan(self, name: Key, cursor: int = 0, match: Argument | None = None, count: int | None = None) -> Any:
        """Some fields and the next cursor: `(cursor, {field: value, …})`."""
        return self._do(_scan_args(("HSCAN", name, cursor), match, count), _scan_pairs)

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
        return self._do(["LPUSH", name, *_some(list(values), "value")])

    def rpush(self, name: Key, *values: Argument) -> Any:
        """Append values to a list; its new length."""
        return self._do(["RPUSH", name, *_some(list(values), "value")])

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
        return self._do(("LSET", name, index, value), _is_ok)

    def lrem(self, name: Key, count: int, value: Argument) -> Any:
        """Remove a value from a list, `count` times (0: all, negative: from the end); how many were removed."""
        return self._do(("LREM", name, count, value))

    def ltrim(self, name: Key, start: int, end: int) -> Any:
        """Cut a list down to a part of it; True."""
        return self._do(("LTRIM", name, start, end), _is_ok)

    # ---- sets ----------------------------------------------------------------------------------------------------

    def sadd(self, name: Key, *values: Argument) -> Any:
        """Add members; how many are new."""
        return self._do(["SADD", name, *_some(list(values), "member")])

    def srem(self, name: Key, *values: Argument) -> Any:
        """Remove members; how many there were."""
        return self._do(["SREM", name, *_some(list(values), "member")])

    def smembers(self, name: Key) -> Any:
        """All members as a set."""
        return self._do(("SMEMBERS", name), set)

    def sismember(self, name: Key, value: Argument) -> Any:
        """True if it is a member."""
        return self._do(("SISMEMBER", name, value), bool)

    def smismember(self, name: Key, values: Keys, *args: Argument) -> Any:
        """For each value whether it is a member, as 1 or 0."""
        return self._do(["SMISMEMBER", name, *_some(words(values, args), "member")])

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
        return self._do(["SINTER", *_some(words(keys, args))], set)

    def sunion(self, keys: Keys, *args: Key) -> Any:
        """Members of any set."""
        return self._do(["SUNION", *_some(words(keys, args))], set)

    def sdiff(self, keys: Keys, *args: Key) -> Any:
        """Members of the first set that are in none of the others."""
        return self._do(["SDIFF", *_some(words(keys, args))], set)

    def smove(self, src: Key, dst: Key, value: Argument) -> Any:
        """Move a member to another set; True if it was there."""
        return self._do(("SMOVE", src, dst, value), bool)

    def sscan(self, name: Key, cursor: int = 0, match: Argument | None = None, count: int | None = None) -> Any:
        """Some members and the next cursor: `(cursor, [member, …])`."""
        return self._do(_scan_args(("SSCAN", name, cursor), match, count), _scan)

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
        args: list[Argument] = ["ZADD", name, *_conditions(nx, xx, gt, lt)]
        if ch:
            args.append("CH")
        if incr:
            args.append("INCR")
        for member, score in mapping.items():
            args += [score, member]
        return self._do(args, _float if incr else None)

    def zrem(self, name: Key, *values: Argument) -> Any:
        """Remove members; how many there were."""
        return self._do(["ZREM", name, *_some(list(values), "member")])

    def zcard(self, name: Key) -> Any:
        """How many members there are."""
        return self._do(("ZCARD", name))

    def zcount(self, name: Key, min: Argument, max: Argument) -> Any:
        """How many members have a score in this range; "(1" excludes 1, "-inf" and "+inf" are the ends."""
        return self._do(("ZCOUNT", name, min, max))

    def zscore(self, name: Key, value: Argument) -> Any:
        """The score of a member as float, None if there is none."""
        return self._do(("ZSCORE", name, value), _float)

    def zmscore(self, key: Key, members: list[Argument]) -> Any:
        """The scores of several members, None for those that are absent."""
        return self._do(["ZMSCORE", key, *_some(words(members), "member")], _floats)

    def zincrby(self, name: Key, amount: float, value: Argument) -> Any:
        """Add to the score of a member; its new score."""
        return self._do(("ZINCRBY", name, amount, value), _float)

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
        return self._do(_limited(args, offset, num, withscores), _scored if withscores else None)

    def zrevrange(self, name: Key, start: int, end: int, withscores: bool = False) -> Any:
        """Members from place `start` to `end` by falling score."""
        args: list[Argument] = ["ZREVRANGE", name, start, end]
        return self._do(_limited(args, None, None, withscores), _scored if withscores else None)

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
        return self._do(_limited(args, start, num, withscores), _scored if withscores else None)

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
        return self._do(_limited(args, start, num, withscores), _scored if withscores else None)

    def zremrangebyscore(self, name: Key, min: Argument, max: Argument) -> Any:
        """Remove the members whose score is in this range; how many."""
        return self._do(("ZREMRANGEBYSCORE", name, min, max))

    def zremrangebyrank(self, name: Key, min: int, max: int) -> Any:
        """Remove the members from place `min` to `max`; how many."""
        return self._do(("ZREMRANGEBYRANK", name, min, max))

    def zpopmin(self, name: Key, count: int | None = None) -> Any:
        """Take the members with the lowest scores, as `[(member, score), …]`."""
        return self._do(["ZPOPMIN", name] if count is None else ["ZPOPMIN", name, count], _popped)

    def zpopmax(self, name: Key, count: int | None = None) -> Any:
        """Take the members with the highest scores, as `[(member, score), …]`."""
        return self._do(["ZPOPMAX", name] if count is None else ["ZPOPMAX", name, count], _popped)

    def zscan(self, name: Key, cursor: int = 0, match: Argument | None = None, count: int | None = None) -> Any:
        """Some members and the next cursor: `(cursor, [(member, score), …])`."""
        return self._do(_scan_args(("ZSCAN", name, cursor), match, count), _scan_scores)

    def zscan_iter(self, name: Key, match: Argument | None = None, count: int | None = None) -> Iterator[Any]:
        """All `(member, score)`, in no order."""
        cursor = 0
        while True:
            cursor, found = self.zscan(name, cursor, match, count)
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
        return self._do(("SCRIPT", "LOAD", script), _text)

    def script_exists(self, *shas: Argument) -> Any:
        """For each SHA-1 whether the server knows the script."""
        return self._do(["SCRIPT", "EXISTS", *shas], lambda reply: [bool(item) for item in reply])

    def script_flush(self) -> Any:
        """Let the server forget all scripts; True."""
        return self._do(("SCRIPT", "FLUSH"), _is_ok)

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
        return self._do(["PUBSUB", "NUMSUB", *args], lambda reply: list(_pairs(reply).items()))

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
        return self._do(("TIME",), _time)

    def info(self, section: str | None = None, *args: str) -> Any:
        """What the server says about itself, as `{field: value}`, all sections or some."""
        return self._do(["INFO", *([] if section is None else [section]), *args], parse_info)

    def dbsize(self) -> Any:
        """How many keys the database has."""
        return self._do(("DBSIZE",))

    def flushdb(self, asynchronous: bool = False) -> Any:
        """Delete every key of this database; True."""
        return self._do(["FLUSHDB", *(["ASYNC"] if asynchronous else [])], _is_ok)

    def flushall(self, asynchronous: bool = False) -> Any:
        """Delete every key of every database; True."""
        return self._do(["FLUSHALL", *(["ASYNC"] if asynchronous else [])], _is_ok)

    def memory_usage(self, key: Key, samples: int | None = None) -> Any:
        """The memory a key takes, in bytes; None if there is no such key."""
        return self._do(["MEMORY", "USAGE", key] + ([] if samples is None else ["SAMPLES", samples]))

    def config_get(self, pattern: Argument = "*", *args: Argument) -> Any:
        """Settings of the server as `{name: value}`."""
        return self._do(
            ["CONFIG", "GET", pattern, *args], lambda reply: {_text(k): v for k, v in _pairs(reply).items()}
        )

    def config_set(self, name: Argument, value: Argument, *args: Argument) -> Any:
        """Change settings of the server; True."""
        return self._do(["CONFIG", "SET", name, value, *args], _is_ok)

    def client_id(self) -> Any:
        """The number of the connection that was used; another call may use another one."""
        return self._do(("CLIENT", "ID"))

    def client_info(self) -> Any:
        """What the server knows about the connection that was used, as a dict of texts."""
        return self._do(("CLIENT", "INFO"), lambda reply: _client(_text(reply).strip()))

    def client_list(self, _type: str | None = None, client_id: list[int] | None = None) -> Any:
        """All connections of the server as dicts of texts; `_type` is "normal", "master", "replica" or "pubsub"."""
        args: list[Argument] = ["CLIENT", "LIST"]
        if _type is not None:
            args += ["TYPE", _type]
        if client_id:
            args += ["ID", *client_id]
        return self._do(args, _clients)

    def client_getname(self) -> Any:
        """The name of the connection that was used, None if it has none."""
        return self._do(("CLIENT", "GETNAME"))

    def client_setname(self, name: str) -> Any:
        """Name the connection that is used; True. To name all of them, give `client_name` to the client."""
        return self._do(("CLIENT", "SETNAME", name), _is_ok)

    def client_kill(self, address: str) -> Any:
        """Close the connection from this `ip:port`; True."""
        return self._do(("CLIENT", "KILL", address), _is_ok)

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
        return self._do(["CLIENT", "PAUSE", timeout, *([] if all else ["WRITE"])], _is_ok)

    def client_unpause(self) -> Any:
        """End a pause; True."""
        return self._do(("CLIENT", "UNPAUSE"), _is_ok)


def _flat(mapping: Mapping[Any, Argument]) -> list[Argument]:
    if not isinstance(mapping, Mapping):
        raise InvalidArgument(f"expected a mapping, not {type(mapping).__name__}")
    if not mapping:
        raise InvalidArgument("the mapping is empty")
    return [word for pair in mapping.items() for word in pair]


def _scan_args(
    head: tuple[Argument, ...], match: Argument | None, count: int | None, kind: str | None = None
) -> list[Argument]:
    args = list(head)
    if match is not None:
        args += ["MATCH", match]
    if count is not None:
        args += ["COUNT", count]
    if kind is not None:
        args += ["TYPE", kind]
    return args


def _limited(args: list[Argument], start: int | None, num: int | None, withscores: bool) -> list[Argument]:
    if (start is None) != (num is None):
        raise InvalidArgument("a limit needs both its start and its number")
    if start is not None and num is not None:
        args += ["LIMIT", start, num]
    if withscores:
        args.append("WITHSCORES")
    return args
