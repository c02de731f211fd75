# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What kind of command it is, told by its name: reads, scripts, those that wait, those that change the connection.

Which of its words are keys is in `resp.keys`. Surprising: a read is only what is in the list. A command that nobody
here knows is a write, so that it is never sent twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from resp.encoding import Argument
from resp.errors import InvalidArgument

#: Commands that only read, and may therefore be sent a second time over a new connection when an idle one turned out
#: to be dead. No write is in this list, idempotent or not; nor is anything that depends on the connection.
_READS: Final = (
    "BITCOUNT BITFIELD_RO BITPOS DBSIZE DIGEST DUMP ECHO EVAL_RO EVALSHA_RO EXISTS EXPIRETIME FCALL_RO GEODIST GEOHASH "
    "GEOPOS GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH GET GETBIT GETRANGE HEXISTS HEXPIRETIME HGET HGETALL HKEYS "
    "HLEN HMGET HPEXPIRETIME HPTTL HRANDFIELD HSCAN HSTRLEN HTTL HVALS INFO KEYS LASTSAVE LCS LINDEX LLEN LOLWUT LPOS "
    "LRANGE MGET OBJECT PEXPIRETIME PFCOUNT PING PTTL RANDOMKEY ROLE SCAN SCARD SDIFF SINTER SINTERCARD SISMEMBER "
    "SMEMBERS SMISMEMBER SORT_RO SRANDMEMBER SSCAN STRLEN SUBSTR SUNION TIME TTL TYPE XINFO XLEN XPENDING XRANGE "
    "XREVRANGE ZCARD ZCOUNT ZDIFF ZINTER ZINTERCARD ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE "
    "ZRANK ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION "
)
READS: Final = frozenset(_READS.split())
# Scripts: what they are answered with may be their own words, errors included.
_SCRIPTS: Final = frozenset("EVAL EVALSHA FCALL EVAL_RO EVALSHA_RO FCALL_RO".split())  # noqa: SIM905
# Commands that wait for somebody else; a deadline that passes says nothing about the server.
_BLOCKING: Final = frozenset(
    "BLPOP BRPOP BLMOVE BLMPOP BRPOPLPUSH BZPOPMIN BZPOPMAX BZMPOP XREAD XREADGROUP WAIT WAITAOF MIGRATE".split()  # noqa: SIM905
)
# Commands that leave a connection in another state than its next user expects.
_STATEFUL: Final = frozenset(
    "SELECT RESET AUTH HELLO MULTI EXEC DISCARD WATCH UNWATCH READONLY READWRITE ASKING QUIT".split()  # noqa: SIM905
)
_STATEFUL_CLIENT: Final = frozenset({"TRACKING", "CACHING", "REPLY", "NO-EVICT", "NO-TOUCH", "CAPA", "IMPORT-SOURCE"})
# Commands that are answered by something else than one reply.
_UNANSWERED: Final = frozenset(
    "SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE SSUBSCRIBE SUNSUBSCRIBE MONITOR SYNC PSYNC".split()  # noqa: SIM905
)


def changes_connection(args: Sequence[Argument]) -> bool:
    """True for a command after which the connection must not be given to somebody else.

    Raises InvalidArgument for what cannot be sent over a shared connection at all, since no reply would come.
    """
    name = _upper(args[0]) if args else ""
    if name in _UNANSWERED:
        raise InvalidArgument(f"{name} needs a connection of its own: see pubsub(), resp.Tracking and resp.Connection")
    if name in _STATEFUL:
        return True
    second = _upper(args[1]) if len(args) > 1 else ""
    return (name == "CLIENT" and second in _STATEFUL_CLIENT) or (name == "SCRIPT" and second == "DEBUG")


def _upper(word: Argument) -> str:
    if isinstance(word, bytes | bytearray | memoryview):
        word = bytes(word).decode("ascii", "replace")
    return word.upper() if isinstance(word, str) else ""


def is_read(name: object) -> bool:
    """True if the command of this name only reads."""
    return isinstance(name, str | bytes) and _upper(name) in READS


def is_script(name: Argument) -> bool:
    """True for EVAL and its like."""
    return _upper(name) in _SCRIPTS


def is_blocking(name: Argument) -> bool:
    """True for BLPOP and its like, which may wait on purpose."""
    return _upper(name) in _BLOCKING


def split(args: Sequence[Argument]) -> Sequence[Argument]:
    """The words of a command whose name was given as one, as redis-py takes it: `"CONFIG GET"`, "maxmemory"."""
    if args and isinstance(args[0], str) and " " in args[0]:
        return (*args[0].split(), *args[1:])
    return args


def command_name(name: Argument) -> str:
    """The name of a command for people."""
    return _upper(name)[:40] or type(name).__name__
