# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which words of a command are keys, and the cluster slot that a command belongs to.

The table says of each kind of command where its keys stand; a test holds it against `COMMAND GETKEYS` of real servers.
Surprising: a command that is not in it (of a module, of a newer server) is taken to have one key, its first argument.
A wrong guess costs a redirection, because the server that gets it knows better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from resp.encoding import Argument, encode_argument
from resp.errors import CrossSlot, InvalidArgument
from resp.slots import key_slot

Args = Sequence[Argument]


def keys_of(args: Args) -> Sequence[Argument]:
    """The keys among the words of a command. Raises InvalidArgument where a number of keys is none."""
    name = args[0]
    find = FINDERS.get(name) if type(name) is str else None
    if find is None:
        find = FINDERS.get(_upper(name), _first)
    return find(args)


def slot_of(args: Args) -> int | None:
    """The slot of a command, None if it has no key. Raises CrossSlot."""
    keys = keys_of(args)
    if len(keys) == 1:
        return key_slot(keys[0])
    slots = {key_slot(key) for key in keys}
    if len(slots) > 1:
        raise CrossSlot("CROSSSLOT", "the keys of this command belong to different slots (nothing was sent)")
    return slots.pop() if slots else None


def _upper(word: Argument) -> str:
    if isinstance(word, bytes | bytearray | memoryview):
        word = bytes(word).decode("ascii", "replace")
    return word.upper() if isinstance(word, str) else ""


# ---- where the keys are ----------------------------------------------------------------------------------------------


def _none(args: Args) -> Args:
    return ()


def _first(args: Args) -> Args:
    return args[1:2]


def _numbered(at: int, step: int = 1, also: slice = slice(0)) -> Callable[[Args], Args]:
    """Their number stands at `at`, they behind it."""

    def find(args: Args) -> Args:
        if len(args) <= at:
            return ()
        try:
            word = args[at]
            count = int(word if isinstance(word, str | int) else bytes(encode_argument(word)))
        except ValueError:
            raise InvalidArgument(f"{_upper(args[0])} needs the number of its keys") from None
        if count < 0:
            raise InvalidArgument(f"{_upper(args[0])} with a negative number of keys")
        return [*args[also], *args[at + 1 : at + 1 + count * step : step]]

    return find


def _streams(args: Args) -> Args:
    """XREAD … STREAMS key … id …: the first half of what is behind the word."""
    for at in range(1, len(args)):
        if _upper(args[at]) == "STREAMS":
            rest = args[at + 1 :]
            return rest[: len(rest) // 2]
    return ()


def _stored(args: Args) -> Args:
    """SORT, GEORADIUS: the first, and one behind STORE or STOREDIST."""
    stored = [args[at + 1] for at in range(2, len(args) - 1) if _upper(args[at]) in ("STORE", "STOREDIST")]
    return [*args[1:2], *stored]


def _migrated(args: Args) -> Args:
    for at in range(6, len(args)):
        if _upper(args[at]) == "KEYS" and args[3] in ("", b""):
            return args[at + 1 :]
    return args[3:4]


_WITHOUT: Final = (
    "ACL ASKING AUTH BGREWRITEAOF BGSAVE CLIENT CLUSTER COMMAND COMMANDLOG CONFIG DBSIZE DEBUG DISCARD ECHO EXEC "
    "FAILOVER FLUSHALL FLUSHDB FUNCTION HELLO INFO KEYS LASTSAVE LATENCY LOLWUT MODULE MONITOR MULTI PFSELFTEST PING "
    "PSUBSCRIBE PSYNC PUBLISH PUBSUB PUNSUBSCRIBE QUIT RANDOMKEY READONLY READWRITE REPLCONF REPLICAOF RESET ROLE SAVE "
    "SCAN SCRIPT SELECT SHUTDOWN SLAVEOF SLOWLOG SUBSCRIBE SWAPDB SYNC TIME UNSUBSCRIBE UNWATCH WAIT WAITAOF"
)
_ALL: Final = (
    "DEL EXISTS MGET PFCOUNT PFMERGE SDIFF SDIFFSTORE SINTER SINTERSTORE SSUBSCRIBE SUNION SUNIONSTORE SUNSUBSCRIBE "
    "TOUCH UNLINK WATCH"
)
# Those with one key that are used most, so that they need no second look.
_USUAL: Final = (
    "DECRBY EXPIRE GET GETEX HDEL HGET HGETALL HMGET HSET INCRBY LLEN LPOP LPUSH LRANGE PEXPIRE PTTL RPUSH SADD SET "
    "SETEX SETNX SISMEMBER SMEMBERS SPUBLISH SREM STRLEN TTL TYPE ZADD ZRANGE ZREM ZSCORE"
)
_PAIRS: Final = "BLMOVE BRPOPLPUSH COPY GEOSEARCHSTORE LCS LMOVE RENAME RENAMENX RPOPLPUSH SMOVE ZRANGESTORE"
_NAMES: Final[list[tuple[Callable[[Args], Args], str]]] = [
    (_none, _WITHOUT),
    (_first, _USUAL),
    (lambda args: args[1:3], _PAIRS),
    (lambda args: args[1:], _ALL),
    (lambda args: args[1:-1], "BLPOP BRPOP BZPOPMAX BZPOPMIN"),
    (lambda args: args[1::2], "MSET MSETNX"),
    (lambda args: args[2:], "BITOP"),
    (lambda args: args[2:3], "MEMORY OBJECT PFDEBUG XGROUP XINFO"),
    (_numbered(1), "LMPOP SINTERCARD ZDIFF ZINTER ZINTERCARD ZMPOP ZUNION"),
    (_numbered(1, 2), "MSETEX"),
    (_numbered(2), "BLMPOP BZMPOP EVAL EVALSHA EVALSHA_RO EVAL_RO FCALL FCALL_RO"),
    (_numbered(2, also=slice(1, 2)), "ZDIFFSTORE ZINTERSTORE ZUNIONSTORE"),
    (_streams, "XREAD XREADGROUP"),
    (_stored, "GEORADIUS GEORADIUSBYMEMBER SORT"),
    (_migrated, "MIGRATE"),
]
FINDERS: Final = {name: find for find, names in _NAMES for name in names.split()}
#: Commands of one key that are used most.
ONE_KEY: Final = frozenset(_USUAL.split())
