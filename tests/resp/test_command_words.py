# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What every command sends, word by word, without its options and with each of them; and what its replies become.

No server is asked: a command is a function from arguments to words, and from a reply to a result. That servers take
these words is tested in `test_commands`.
"""

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from resp import InvalidArgument
from resp.commands import Commands

Call = Callable[[Any], Any]


class Told(Commands[bytes]):
    """A command is its words, and how long the server may keep back its answer."""

    def _do(self, args: Any, convert: Any = None) -> Any:
        return " ".join(word.decode() if isinstance(word, bytes) else str(word) for word in args)

    def _wait(self, span: float, args: Any, convert: Any = None) -> Any:
        return f"{self._do(args)} [{span:g} s]"


class Answered(Commands[bytes]):
    """A command is what it makes of this reply."""

    def __init__(self, reply: Any) -> None:
        self._reply = reply

    def _do(self, args: Any, convert: Any = None) -> Any:
        return self._reply if convert is None else convert(self._reply)


SOON = datetime.timedelta(seconds=90, milliseconds=250)
THEN = datetime.datetime(2100, 1, 1, 0, 0, 0, 250_000, tzinfo=datetime.UTC)


def expiring(name: str, words: str, when: object) -> list[tuple[str, Call]]:
    """Of a command that gives a key its end: that end in words, and each of its options."""

    def call(end: object, **options: bool) -> Call:
        return lambda c: getattr(c, name.lower())("k", end, **options)

    return [
        (f"{name} k {words}", call(when)),
        (f"{name} k 1 NX", call(1, nx=True)),
        (f"{name} k 1 XX GT", call(1, xx=True, gt=True)),
        (f"{name} k 1 LT", call(1, lt=True)),
    ]


def waiting(name: str, key: str) -> list[tuple[str, Call]]:
    """Of a command that waits: for ever by itself and where that is said, and for three seconds."""

    def call(*timeout: float | None) -> Call:
        return lambda c: getattr(c, name.lower())(key, *timeout)

    return [
        (f"{name} {key} 0 [0 s]", call()),
        (f"{name} {key} 3 [3 s]", call(3)),
        (f"{name} {key} 0 [0 s]", call(None)),
    ]


SENT: list[tuple[str, Call]] = [
    # strings
    ("GET k", lambda c: c.get("k")),
    ("SET k v", lambda c: c.set("k", "v")),
    ("SET k v EX 0", lambda c: c.set("k", "v", ex=0)),
    ("SET k v EX 90", lambda c: c.set("k", "v", ex=SOON)),
    ("SET k v EX 7", lambda c: c.set("k", "v", ex="7")),
    ("SET k v PX 0", lambda c: c.set("k", "v", px=0)),
    ("SET k v PX 90250", lambda c: c.set("k", "v", px=SOON)),
    ("SET k v EXAT 0", lambda c: c.set("k", "v", exat=0)),
    ("SET k v EXAT 4102444800", lambda c: c.set("k", "v", exat=THEN)),
    ("SET k v PXAT 0", lambda c: c.set("k", "v", pxat=0)),
    ("SET k v PXAT 4102444800250", lambda c: c.set("k", "v", pxat=THEN)),
    ("SET k v KEEPTTL", lambda c: c.set("k", "v", keepttl=True)),
    ("SET k v EX 1 NX", lambda c: c.set("k", "v", 1, nx=True)),
    ("SET k v XX GET", lambda c: c.set("k", "v", xx=True, get=True)),
    ("SET k v IFEQ ", lambda c: c.set("k", "v", ifeq="")),
    ("SET k v IFNE a", lambda c: c.set("k", "v", ifne="a")),
    ("SET k v IFDEQ a", lambda c: c.set("k", "v", ifdeq="a")),
    ("SET k v IFDNE a", lambda c: c.set("k", "v", ifdne="a")),
    ("SETEX k 90 v", lambda c: c.setex("k", SOON, "v")),
    ("PSETEX k 90250 v", lambda c: c.psetex("k", SOON, "v")),
    ("SETNX k v", lambda c: c.setnx("k", "v")),
    ("GETEX k", lambda c: c.getex("k")),
    ("GETEX k EX 1", lambda c: c.getex("k", 1)),
    ("GETEX k PX 2", lambda c: c.getex("k", px=2)),
    ("GETEX k EXAT 3", lambda c: c.getex("k", exat=3)),
    ("GETEX k PXAT 4", lambda c: c.getex("k", pxat=4)),
    ("GETEX k PERSIST", lambda c: c.getex("k", persist=True)),
    ("GETDEL k", lambda c: c.getdel("k")),
    ("GETSET k v", lambda c: c.getset("k", "v")),
    ("GETRANGE k 1 2", lambda c: c.getrange("k", 1, 2)),
    ("GETRANGE k 1 -1", lambda c: c.substr("k", 1)),
    ("GETRANGE k 1 3", lambda c: c.substr("k", 1, 3)),
    ("SETRANGE k 1 v", lambda c: c.setrange("k", 1, "v")),
    ("APPEND k v", lambda c: c.append("k", "v")),
    ("STRLEN k", lambda c: c.strlen("k")),
    ("MGET k", lambda c: c.mget("k")),
    ("MGET a b c", lambda c: c.mget(["a", "b"], "c")),
    ("PING", lambda c: c.mget([])),
    ("MSET a 1 b 2", lambda c: c.mset({"a": 1, "b": 2})),
    ("MSETNX a 1", lambda c: c.msetnx({"a": 1})),
    ("MSETEX 2 a 1 b 2", lambda c: c.msetex({"a": 1, "b": 2})),
    ("MSETEX 1 a 1 NX EX 1", lambda c: c.msetex({"a": 1}, 1, nx=True)),
    ("MSETEX 1 a 1 XX PX 2", lambda c: c.msetex({"a": 1}, px=2, xx=True)),
    ("MSETEX 1 a 1 EXAT 3", lambda c: c.msetex({"a": 1}, exat=3)),
    ("MSETEX 1 a 1 PXAT 4", lambda c: c.msetex({"a": 1}, pxat=4)),
    ("MSETEX 1 a 1 KEEPTTL", lambda c: c.msetex({"a": 1}, keepttl=True)),
    ("DELEX k", lambda c: c.delex("k")),
    ("DELEX k IFNE a", lambda c: c.delex("k", ifne="a")),
    ("DELEX k IFDEQ a", lambda c: c.delex("k", ifdeq="a")),
    ("DELEX k IFDNE a", lambda c: c.delex("k", ifdne="a")),
    ("DELIFEQ k v", lambda c: c.delifeq("k", "v")),
    ("DIGEST k", lambda c: c.digest("k")),
    ("INCRBY k 1", lambda c: c.incr("k")),
    ("INCRBY k 5", lambda c: c.incrby("k", 5)),
    ("INCRBYFLOAT k 1.0", lambda c: c.incrbyfloat("k")),
    ("DECRBY k 1", lambda c: c.decr("k")),
    ("DECRBY k 5", lambda c: c.decrby("k", 5)),
    ("LCS a b", lambda c: c.lcs("a", "b")),
    ("LCS a b LEN", lambda c: c.lcs("a", "b", len=True)),
    ("LCS a b IDX", lambda c: c.lcs("a", "b", idx=True)),
    ("LCS a b IDX MINMATCHLEN 1", lambda c: c.lcs("a", "b", idx=True, minmatchlen=1)),
    ("LCS a b IDX WITHMATCHLEN", lambda c: c.lcs("a", "b", idx=True, withmatchlen=True)),
    # bits
    ("GETBIT k 7", lambda c: c.getbit("k", 7)),
    ("SETBIT k 7 1", lambda c: c.setbit("k", 7, True)),
    ("SETBIT k 7 0", lambda c: c.setbit("k", 7, 0)),
    ("BITCOUNT k", lambda c: c.bitcount("k")),
    ("BITCOUNT k 0 -1", lambda c: c.bitcount("k", 0, -1)),
    ("BITCOUNT k 1 2 BYTE", lambda c: c.bitcount("k", 1, 2, "byte")),
    ("BITPOS k 0", lambda c: c.bitpos("k", 0)),
    ("BITPOS k 1 0", lambda c: c.bitpos("k", 1, 0)),
    ("BITPOS k 1 0 3", lambda c: c.bitpos("k", 1, 0, 3)),
    ("BITPOS k 1 0 3 BIT", lambda c: c.bitpos("k", 1, 0, 3, "BIT")),
    ("BITOP AND d a b", lambda c: c.bitop("AND", "d", "a", "b")),
    ("BITFIELD k GET u8 0", lambda c: c.bitfield("k").get("u8", 0).execute()),
    ("BITFIELD k GET u8 0", lambda c: c.bitfield("k", "WRAP").get("u8", 0).execute()),
    ("BITFIELD k INCRBY u8 0 1", lambda c: c.bitfield("k").incrby("u8", 0, 1, "wrap").execute()),
    ("BITFIELD k OVERFLOW SAT INCRBY u8 0 1", lambda c: c.bitfield("k").overflow("SAT").incrby("u8", 0, 1).execute()),
    (
        "BITFIELD k OVERFLOW SAT INCRBY u8 0 1 INCRBY u8 1 1",
        lambda c: c.bitfield("k").incrby("u8", 0, 1, "SAT").incrby("u8", 1, 1, "SAT").execute(),
    ),
    ("BITFIELD k SET u8 #1 9", lambda c: c.bitfield("k").set("u8", "#1", 9).execute()),
    ("BITFIELD_RO k GET u8 0", lambda c: c.bitfield_ro("k", "u8", 0)),
    ("BITFIELD_RO k GET u8 0 GET i4 4", lambda c: c.bitfield_ro("k", "u8", 0, [("i4", 4)])),
    ("PFADD k", lambda c: c.pfadd("k")),
    ("PFADD k a b", lambda c: c.pfadd("k", "a", "b")),
    ("PFCOUNT k l", lambda c: c.pfcount("k", "l")),
    ("PFMERGE d a b", lambda c: c.pfmerge("d", "a", "b")),
    # keys
    ("DEL a b", lambda c: c.delete("a", "b")),
    ("UNLINK a b", lambda c: c.unlink("a", "b")),
    ("EXISTS a b", lambda c: c.exists("a", "b")),
    ("TOUCH a b", lambda c: c.touch("a", "b")),
    *expiring("EXPIRE", "90", SOON),
    *expiring("PEXPIRE", "90250", SOON),
    *expiring("EXPIREAT", "4102444800", THEN),
    *expiring("PEXPIREAT", "4102444800250", THEN),
    ("PERSIST k", lambda c: c.persist("k")),
    ("KEYS *", lambda c: c.keys()),
    ("RENAME a b", lambda c: c.rename("a", "b")),
    ("COPY a b", lambda c: c.copy("a", "b")),
    ("COPY a b DB 0", lambda c: c.copy("a", "b", 0)),
    ("COPY a b REPLACE", lambda c: c.copy("a", "b", replace=True)),
    ("MOVE k 3", lambda c: c.move("k", 3)),
    ("RESTORE k 0 x", lambda c: c.restore("k", 0, b"x")),
    ("RESTORE k 0 x IDLETIME 0", lambda c: c.restore("k", 0, b"x", idletime=0)),
    ("RESTORE k 0 x FREQ 0", lambda c: c.restore("k", 0, b"x", frequency=0)),
    ("RESTORE k 0 x REPLACE", lambda c: c.restore("k", 0, b"x", replace=True)),
    ("RESTORE k 0 x ABSTTL", lambda c: c.restore("k", 0, b"x", absttl=True)),
    ("OBJECT FREQ k", lambda c: c.object(b"freq", "k")),
    ("SORT k", lambda c: c.sort("k")),
    (
        "SORT k BY w_* LIMIT 0 5 GET # GET o_* DESC ALPHA STORE d",
        lambda c: c.sort("k", 0, 5, "w_*", ["#", "o_*"], True, True, "d"),
    ),
    ("SORT k GET #", lambda c: c.sort("k", get="#")),
    ("SORT k GET # GET a", lambda c: c.sort("k", get=["#", "a"], groups=True)),
    ("SORT k ALPHA", lambda c: c.sort("k", alpha=True)),
    ("SORT_RO k", lambda c: c.sort_ro("k")),
    ("SORT_RO k BY w_* LIMIT 1 5 GET a DESC ALPHA", lambda c: c.sort_ro("k", 1, 5, "w_*", "a", True, True)),
    ("SORT_RO k DESC", lambda c: c.sort_ro("k", desc=True)),
    ("SCAN 0", lambda c: c.scan()),
    ("SCAN 7 MATCH a* COUNT 9 TYPE set", lambda c: c.scan(7, "a*", 9, "set")),
    ("SCAN 7 TYPE set", lambda c: c.scan(7, _type="set")),
    ("MEMORY USAGE k", lambda c: c.memory_usage("k")),
    ("MEMORY USAGE k SAMPLES 0", lambda c: c.memory_usage("k", 0)),
    ("MIGRATE h 1  0 500 KEYS a [0.5 s]", lambda c: c.migrate("h", 1, "a", 0, 500)),
    ("MIGRATE h 1  0 10 COPY KEYS a [0.01 s]", lambda c: c.migrate("h", 1, "a", 0, 10, copy=True)),
    ("MIGRATE h 1  0 10 REPLACE KEYS a b [0.01 s]", lambda c: c.migrate("h", 1, ["a", "b"], 0, 10, replace=True)),
    ("MIGRATE h 1  0 10 AUTH x KEYS a [0.01 s]", lambda c: c.migrate("h", 1, "a", 0, 10, auth="x")),
    # hashes
    ("HSET h f v", lambda c: c.hset("h", "f", "v")),
    ("HSET h a 1 f v b 2", lambda c: c.hset("h", "f", "v", {"b": 2}, ["a", 1])),
    ("HMSET h b 2", lambda c: c.hmset("h", {"b": 2})),
    ("HSETEX h FIELDS 1 f v", lambda c: c.hsetex("h", "f", "v")),
    ("HSETEX h FIELDS 2 a 1 b 2", lambda c: c.hsetex("h", mapping={"b": 2}, items=["a", 1])),
    ("HSETEX h FXX EX 1 FIELDS 1 f v", lambda c: c.hsetex("h", "f", "v", ex=1, data_persist_option="fxx")),
    ("HSETEX h PX 2 FIELDS 1 f v", lambda c: c.hsetex("h", "f", "v", px=2)),
    ("HSETEX h EXAT 3 FIELDS 1 f v", lambda c: c.hsetex("h", "f", "v", exat=3)),
    ("HSETEX h PXAT 4 FIELDS 1 f v", lambda c: c.hsetex("h", "f", "v", pxat=4)),
    ("HSETEX h KEEPTTL FIELDS 1 f v", lambda c: c.hsetex("h", "f", "v", keepttl=True)),
    ("HMGET h a b c", lambda c: c.hmget("h", ["a", "b"], "c")),
    ("HGETDEL h FIELDS 2 a b", lambda c: c.hgetdel("h", "a", "b")),
    ("HGETEX h FIELDS 1 a", lambda c: c.hgetex("h", "a")),
    ("HGETEX h PERSIST FIELDS 2 a b", lambda c: c.hgetex("h", "a", "b", persist=True)),
    ("HGETEX h PXAT 4 FIELDS 1 a", lambda c: c.hgetex("h", "a", pxat=4)),
    ("HINCRBY h f 1", lambda c: c.hincrby("h", "f")),
    ("HINCRBYFLOAT h f 1.0", lambda c: c.hincrbyfloat("h", "f")),
    ("HRANDFIELD h", lambda c: c.hrandfield("h")),
    ("HRANDFIELD h 0", lambda c: c.hrandfield("h", 0)),
    ("HRANDFIELD h 2 WITHVALUES", lambda c: c.hrandfield("h", 2, True)),
    ("HEXPIRE h 90 NX FIELDS 2 a b", lambda c: c.hexpire("h", SOON, "a", "b", nx=True)),
    ("HPEXPIRE h 90250 XX FIELDS 1 a", lambda c: c.hpexpire("h", SOON, "a", xx=True)),
    ("HEXPIREAT h 4102444800 GT FIELDS 1 a", lambda c: c.hexpireat("h", THEN, "a", gt=True)),
    ("HPEXPIREAT h 4102444800250 LT FIELDS 1 a", lambda c: c.hpexpireat("h", THEN, "a", lt=True)),
    ("HPERSIST h FIELDS 1 a", lambda c: c.hpersist("h", "a")),
    ("HTTL h FIELDS 1 a", lambda c: c.httl("h", "a")),
    ("HPTTL h FIELDS 1 a", lambda c: c.hpttl("h", "a")),
    ("HEXPIRETIME h FIELDS 1 a", lambda c: c.hexpiretime("h", "a")),
    ("HPEXPIRETIME h FIELDS 1 a", lambda c: c.hpexpiretime("h", "a")),
    ("HSCAN h 0", lambda c: c.hscan("h")),
    ("HSCAN h 7 MATCH a* COUNT 9", lambda c: c.hscan("h", 7, "a*", 9)),
    ("HSCAN h 0 NOVALUES", lambda c: c.hscan("h", no_values=True)),
    # lists
    ("LPUSH l a b", lambda c: c.lpush("l", "a", "b")),
    ("RPUSHX l a b", lambda c: c.rpushx("l", "a", "b")),
    ("LPUSHX l a b", lambda c: c.lpushx("l", "a", "b")),
    ("LPOP l", lambda c: c.lpop("l")),
    ("LPOP l 0", lambda c: c.lpop("l", 0)),
    ("RPOP l", lambda c: c.rpop("l")),
    ("RPOP l 0", lambda c: c.rpop("l", 0)),
    ("LPOS l v", lambda c: c.lpos("l", "v")),
    ("LPOS l v RANK 1 COUNT 0 MAXLEN 0", lambda c: c.lpos("l", "v", 1, 0, 0)),
    ("LINSERT l BEFORE a b", lambda c: c.linsert("l", "before", "a", "b")),
    ("LMOVE a b LEFT RIGHT", lambda c: c.lmove("a", "b")),
    ("LMOVE a b RIGHT LEFT", lambda c: c.lmove("a", "b", "right", "left")),
    ("RPOPLPUSH a b", lambda c: c.rpoplpush("a", "b")),
    ("LMPOP 1 a LEFT", lambda c: c.lmpop(1, "a", direction="LEFT")),
    ("LMPOP 2 a b RIGHT COUNT 2", lambda c: c.lmpop(2, "a", "b", direction="RIGHT", count=2)),
    ("LMPOP 1 a LEFT", lambda c: c.lmpop(1, "a", direction="LEFT", count=None)),
    ("BLPOP a 0 [0 s]", lambda c: c.blpop("a")),
    ("BLPOP a b 1.5 [1.5 s]", lambda c: c.blpop(["a", "b"], 1.5)),
    ("BLPOP a 0 [0 s]", lambda c: c.blpop("a", None)),
    *waiting("BRPOP", "a"),
    ("BLMOVE a b LEFT RIGHT 3 [3 s]", lambda c: c.blmove("a", "b", 3)),
    ("BRPOPLPUSH a b 0 [0 s]", lambda c: c.brpoplpush("a", "b")),
    ("BRPOPLPUSH a b 3 [3 s]", lambda c: c.brpoplpush("a", "b", 3)),
    ("BRPOPLPUSH a b 0 [0 s]", lambda c: c.brpoplpush("a", "b", None)),
    ("BLMPOP 3 1 a LEFT [3 s]", lambda c: c.blmpop(3, 1, "a", direction="LEFT")),
    ("BLMPOP 3 1 a LEFT COUNT 4 [3 s]", lambda c: c.blmpop(3, 1, "a", direction="LEFT", count=4)),
    # sets
    ("SMISMEMBER s a b", lambda c: c.smismember("s", "a", "b")),
    ("SPOP s", lambda c: c.spop("s")),
    ("SPOP s 0", lambda c: c.spop("s", 0)),
    ("SRANDMEMBER s", lambda c: c.srandmember("s")),
    ("SRANDMEMBER s 0", lambda c: c.srandmember("s", 0)),
    ("SINTER a b", lambda c: c.sinter(["a"], "b")),
    ("SINTERCARD 2 a b", lambda c: c.sintercard(2, ["a", "b"])),
    ("SINTERCARD 1 a LIMIT 1", lambda c: c.sintercard(1, "a", 1)),
    ("SSCAN s 0", lambda c: c.sscan("s")),
    ("SSCAN s 7 MATCH a* COUNT 9", lambda c: c.sscan("s", 7, "a*", 9)),
    # sorted sets
    ("ZADD z 1 a 2 b", lambda c: c.zadd("z", {"a": 1, "b": 2})),
    ("ZADD z NX 1 a", lambda c: c.zadd("z", {"a": 1}, nx=True)),
    ("ZADD z XX GT CH 1 a", lambda c: c.zadd("z", {"a": 1}, xx=True, gt=True, ch=True)),
    ("ZADD z LT INCR 1 a", lambda c: c.zadd("z", {"a": 1}, lt=True, incr=True)),
    ("ZADD z XX LT 1 a", lambda c: c.zadd("z", {"a": 1}, xx=True, lt=True)),
    ("ZMSCORE z a b", lambda c: c.zmscore("z", ["a", "b"])),
    ("ZRANK z a", lambda c: c.zrank("z", "a")),
    ("ZRANK z a WITHSCORE", lambda c: c.zrank("z", "a", True)),
    ("ZREVRANK z a", lambda c: c.zrevrank("z", "a")),
    ("ZREVRANK z a WITHSCORE", lambda c: c.zrevrank("z", "a", True)),
    ("ZRANGE z 0 -1", lambda c: c.zrange("z", 0, -1)),
    ("ZRANGE z 0 -1 REV WITHSCORES", lambda c: c.zrange("z", 0, -1, True, True)),
    (
        "ZRANGE z 0 9 BYSCORE LIMIT 0 5 WITHSCORES",
        lambda c: c.zrange("z", 0, 9, byscore=True, offset=0, num=5, withscores=True),
    ),
    ("ZRANGE z - + BYLEX LIMIT 1 0", lambda c: c.zrange("z", "-", "+", bylex=True, offset=1, num=0)),
    ("ZRANGESTORE d z 0 1", lambda c: c.zrangestore("d", "z", 0, 1)),
    ("ZRANGESTORE d z 9 0 BYSCORE REV LIMIT 0 5", lambda c: c.zrangestore("d", "z", 9, 0, True, False, True, 0, 5)),
    ("ZRANGESTORE d z - + BYLEX", lambda c: c.zrangestore("d", "z", "-", "+", bylex=True)),
    ("ZREVRANGE z 0 1", lambda c: c.zrevrange("z", 0, 1)),
    ("ZREVRANGE z 0 1 WITHSCORES", lambda c: c.zrevrange("z", 0, 1, True)),
    ("ZRANGEBYSCORE z 0 1", lambda c: c.zrangebyscore("z", 0, 1)),
    ("ZRANGEBYSCORE z 0 1 LIMIT 0 5 WITHSCORES", lambda c: c.zrangebyscore("z", 0, 1, 0, 5, True)),
    ("ZREVRANGEBYSCORE z 1 0", lambda c: c.zrevrangebyscore("z", 1, 0)),
    ("ZREVRANGEBYSCORE z 1 0 LIMIT 0 5 WITHSCORES", lambda c: c.zrevrangebyscore("z", 1, 0, 0, 5, True)),
    ("ZRANGEBYLEX z - + LIMIT 0 5", lambda c: c.zrangebylex("z", "-", "+", 0, 5)),
    ("ZREVRANGEBYLEX z + -", lambda c: c.zrevrangebylex("z", "+", "-")),
    ("ZPOPMIN z", lambda c: c.zpopmin("z")),
    ("ZPOPMIN z 0", lambda c: c.zpopmin("z", 0)),
    ("ZPOPMAX z", lambda c: c.zpopmax("z")),
    ("ZPOPMAX z 0", lambda c: c.zpopmax("z", 0)),
    ("BZPOPMIN z 0 [0 s]", lambda c: c.bzpopmin("z")),
    ("BZPOPMIN a b 3 [3 s]", lambda c: c.bzpopmin(["a", "b"], 3)),
    ("BZPOPMIN z 0 [0 s]", lambda c: c.bzpopmin("z", None)),
    *waiting("BZPOPMAX", "z"),
    ("ZMPOP 1 z MIN", lambda c: c.zmpop(1, ["z"], min=True)),
    ("ZMPOP 1 z MAX COUNT 2", lambda c: c.zmpop(1, ["z"], max=True, count=2)),
    ("ZMPOP 1 z MAX", lambda c: c.zmpop(1, ["z"], max=True, count=None)),
    ("BZMPOP 3 1 z MIN [3 s]", lambda c: c.bzmpop(3, 1, ["z"], min=True)),
    ("BZMPOP 3 1 z MAX COUNT 2 [3 s]", lambda c: c.bzmpop(3, 1, ["z"], max=True, count=2)),
    ("ZRANDMEMBER z", lambda c: c.zrandmember("z")),
    ("ZRANDMEMBER z 0", lambda c: c.zrandmember("z", 0)),
    ("ZRANDMEMBER z 2 WITHSCORES", lambda c: c.zrandmember("z", 2, True)),
    ("ZUNION 2 a b", lambda c: c.zunion(["a", "b"])),
    ("ZUNION 2 a b WEIGHTS 1 2 AGGREGATE MAX WITHSCORES", lambda c: c.zunion({"a": 1, "b": 2}, "max", withscores=True)),
    ("ZINTER 1 a", lambda c: c.zinter("a")),
    ("ZINTER 1 a WEIGHTS 3 AGGREGATE MIN WITHSCORES", lambda c: c.zinter({"a": 3}, "MIN", True)),
    ("ZDIFF 2 a b", lambda c: c.zdiff(["a", "b"])),
    ("ZDIFF 1 a WITHSCORES", lambda c: c.zdiff("a", True)),
    ("ZUNIONSTORE d 1 a AGGREGATE SUM", lambda c: c.zunionstore("d", ["a"], "sum")),
    ("ZINTERSTORE d 1 a WEIGHTS 2", lambda c: c.zinterstore("d", {"a": 2})),
    ("ZDIFFSTORE d 2 a b", lambda c: c.zdiffstore("d", ["a", "b"])),
    ("ZINTERCARD 2 a b", lambda c: c.zintercard(2, ["a", "b"])),
    ("ZINTERCARD 1 a LIMIT 1", lambda c: c.zintercard(1, "a", 1)),
    ("ZSCAN z 0", lambda c: c.zscan("z")),
    ("ZSCAN z 7 MATCH a* COUNT 9", lambda c: c.zscan("z", 7, "a*", 9)),
    # streams
    ("XADD x * f 1", lambda c: c.xadd("x", {"f": 1})),
    (
        "XADD x NOMKSTREAM DELREF MAXLEN ~ 0 LIMIT 5 1-1 f 1 g 2",
        lambda c: c.xadd("x", {"f": 1, "g": 2}, "1-1", 0, True, True, None, 5, "delref"),
    ),
    ("XADD x MAXLEN 9 * f 1", lambda c: c.xadd("x", {"f": 1}, maxlen=9, approximate=False)),
    ("XADD x MINID ~ 0 * f 1", lambda c: c.xadd("x", {"f": 1}, minid=0)),
    ("XADD x NOMKSTREAM * f 1", lambda c: c.xadd("x", {"f": 1}, nomkstream=True)),
    ("XRANGE x - +", lambda c: c.xrange("x")),
    ("XRANGE x 1 2 COUNT 1", lambda c: c.xrange("x", 1, 2, 1)),
    ("XREVRANGE x + -", lambda c: c.xrevrange("x")),
    ("XREVRANGE x 2 1 COUNT 2", lambda c: c.xrevrange("x", 2, 1, 2)),
    ("XDELEX x KEEPREF IDS 2 1-1 1-2", lambda c: c.xdelex("x", "1-1", "1-2")),
    ("XTRIM x MAXLEN ~ 9", lambda c: c.xtrim("x", 9)),
    ("XTRIM x MAXLEN 0", lambda c: c.xtrim("x", 0, False)),
    ("XTRIM x MINID ~ 1-1 LIMIT 0 ACKED", lambda c: c.xtrim("x", minid="1-1", limit=0, ref_policy="acked")),
    ("XREAD STREAMS a b 0 $", lambda c: c.xread({"a": 0, "b": "$"})),
    ("XREAD COUNT 1 STREAMS a 0", lambda c: c.xread({"a": 0}, 1)),
    ("XREAD BLOCK 0 STREAMS a 0 [0 s]", lambda c: c.xread({"a": 0}, block=0)),
    ("XREAD COUNT 2 BLOCK 250 STREAMS a 0 [0.25 s]", lambda c: c.xread({"a": 0}, 2, 250)),
    ("XREADGROUP GROUP g me STREAMS a >", lambda c: c.xreadgroup("g", "me", {"a": ">"})),
    (
        "XREADGROUP GROUP g me COUNT 2 BLOCK 1500 NOACK STREAMS a > [1.5 s]",
        lambda c: c.xreadgroup("g", "me", {"a": ">"}, 2, 1500, True),
    ),
    ("XACKDEL x g DELREF IDS 1 1-1", lambda c: c.xackdel("x", "g", "1-1", ref_policy="DELREF")),
    ("XGROUP CREATE x g $", lambda c: c.xgroup_create("x", "g")),
    ("XGROUP CREATE x g 0 MKSTREAM ENTRIESREAD 0", lambda c: c.xgroup_create("x", "g", 0, True, 0)),
    ("XGROUP SETID x g 0", lambda c: c.xgroup_setid("x", "g", 0)),
    ("XGROUP SETID x g 0 ENTRIESREAD 3", lambda c: c.xgroup_setid("x", "g", 0, 3)),
    ("XPENDING x g - + 5", lambda c: c.xpending_range("x", "g", "-", "+", 5)),
    ("XPENDING x g IDLE 0 - + 5 me", lambda c: c.xpending_range("x", "g", "-", "+", 5, "me", 0)),
    ("XCLAIM x g me 0 1-1 1-2", lambda c: c.xclaim("x", "g", "me", 0, ["1-1", "1-2"])),
    (
        "XCLAIM x g me 5 1-1 IDLE 0 TIME 1 RETRYCOUNT 2 FORCE JUSTID",
        lambda c: c.xclaim("x", "g", "me", 5, ["1-1"], 0, 1, 2, True, True),
    ),
    ("XCLAIM x g me 5 1-1 JUSTID", lambda c: c.xclaim("x", "g", "me", 5, ["1-1"], justid=True)),
    ("XAUTOCLAIM x g me 5 0-0", lambda c: c.xautoclaim("x", "g", "me", 5)),
    ("XAUTOCLAIM x g me 5 1-1 COUNT 3", lambda c: c.xautoclaim("x", "g", "me", 5, "1-1", 3)),
    ("XINFO STREAM x", lambda c: c.xinfo_stream("x")),
    ("XINFO STREAM x FULL", lambda c: c.xinfo_stream("x", True)),
    # places
    ("GEOADD g 1 2 a", lambda c: c.geoadd("g", [1, 2, "a"])),
    ("GEOADD g NX CH 1 2 a 3 4 b", lambda c: c.geoadd("g", [1, 2, "a", 3, 4, "b"], nx=True, ch=True)),
    ("GEOADD g XX 1 2 a", lambda c: c.geoadd("g", [1, 2, "a"], xx=True)),
    ("GEODIST g a b", lambda c: c.geodist("g", "a", "b")),
    ("GEODIST g a b mi", lambda c: c.geodist("g", "a", "b", "MI")),
    ("GEOSEARCH g FROMMEMBER a BYRADIUS 5 m", lambda c: c.geosearch("g", "a", radius=5)),
    (
        "GEOSEARCH g FROMLONLAT 0 0 BYBOX 0 0 km",
        lambda c: c.geosearch("g", longitude=0, latitude=0, width=0, height=0, unit="km"),
    ),
    (
        "GEOSEARCH g FROMMEMBER a BYRADIUS 0 ft COUNT 0 ANY DESC WITHDIST WITHHASH WITHCOORD",
        lambda c: c.geosearch("g", "a", None, None, "ft", 0, None, None, "desc", 0, True, True, True, True),
    ),
    ("GEOSEARCH g FROMMEMBER a BYRADIUS 5 m COUNT 3", lambda c: c.geosearch("g", "a", radius=5, count=3)),
    ("GEOSEARCHSTORE d g FROMMEMBER a BYRADIUS 5 m", lambda c: c.geosearchstore("d", "g", "a", radius=5)),
    (
        "GEOSEARCHSTORE d g FROMLONLAT 1 2 BYBOX 3 4 m COUNT 1 ANY ASC STOREDIST",
        lambda c: c.geosearchstore("d", "g", None, 1, 2, "m", None, 3, 4, "asc", 1, True, True),
    ),
    ("GEORADIUS_RO g 1 2 3 m", lambda c: c.georadius("g", 1, 2, 3)),
    (
        "GEORADIUS_RO g 1 2 3 km WITHDIST WITHHASH WITHCOORD COUNT 1 ANY ASC",
        lambda c: c.georadius("g", 1, 2, 3, "km", True, True, True, 1, "ASC", any=True),
    ),
    ("GEORADIUS g 1 2 3 m STORE d", lambda c: c.georadius("g", 1, 2, 3, store="d")),
    ("GEORADIUS g 1 2 3 m STOREDIST d", lambda c: c.georadius("g", 1, 2, 3, store_dist="d")),
    ("GEORADIUSBYMEMBER_RO g a 3 m", lambda c: c.georadiusbymember("g", "a", 3)),
    (
        "GEORADIUSBYMEMBER_RO g a 3 km WITHDIST WITHHASH WITHCOORD COUNT 1 ANY ASC",
        lambda c: c.georadiusbymember("g", "a", 3, "km", True, True, True, 1, "ASC", any=True),
    ),
    (
        "GEORADIUSBYMEMBER g a 3 m COUNT 2 DESC STOREDIST d",
        lambda c: c.georadiusbymember("g", "a", 3, count=2, sort="DESC", store_dist="d"),
    ),
    # scripts, messages
    ("EVAL x 1 k a", lambda c: c.eval("x", 1, "k", "a")),
    ("SCRIPT EXISTS a b", lambda c: c.script_exists("a", "b")),
    ("SCRIPT FLUSH", lambda c: c.script_flush()),
    ("SCRIPT FLUSH SYNC", lambda c: c.script_flush("sync")),
    ("FUNCTION LOAD x", lambda c: c.function_load("x")),
    ("FUNCTION LOAD REPLACE x", lambda c: c.function_load("x", True)),
    ("FUNCTION FLUSH SYNC", lambda c: c.function_flush()),
    ("FUNCTION LIST LIBRARYNAME *", lambda c: c.function_list()),
    ("FUNCTION LIST LIBRARYNAME a WITHCODE", lambda c: c.function_list("a", True)),
    ("FUNCTION RESTORE x APPEND", lambda c: c.function_restore(b"x")),
    ("PUBSUB CHANNELS *", lambda c: c.pubsub_channels()),
    ("PUBSUB SHARDCHANNELS *", lambda c: c.pubsub_shardchannels()),
    ("PUBSUB NUMSUB a b", lambda c: c.pubsub_numsub("a", "b")),
    # the server
    ("PING", lambda c: c.ping()),
    ("PING ", lambda c: c.ping("")),
    ("INFO", lambda c: c.info()),
    ("INFO cpu memory", lambda c: c.info("cpu", "memory")),
    ("LOLWUT", lambda c: c.lolwut()),
    ("LOLWUT VERSION 5 1", lambda c: c.lolwut(5, 1)),
    ("FLUSHDB", lambda c: c.flushdb()),
    ("FLUSHDB ASYNC", lambda c: c.flushdb(True)),
    ("FLUSHALL", lambda c: c.flushall()),
    ("FLUSHALL ASYNC", lambda c: c.flushall(True)),
    ("SWAPDB 0 9", lambda c: c.swapdb(0, 9)),
    ("CONFIG GET *", lambda c: c.config_get()),
    ("CONFIG SET a 1 b 2", lambda c: c.config_set("a", 1, "b", 2)),
    ("COMMAND LIST", lambda c: c.command_list()),
    ("COMMAND LIST FILTERBY MODULE a", lambda c: c.command_list("a")),
    ("COMMAND LIST FILTERBY ACLCAT a", lambda c: c.command_list(category="a")),
    ("COMMAND LIST FILTERBY PATTERN a", lambda c: c.command_list(pattern="a")),
    ("SLOWLOG GET", lambda c: c.slowlog_get()),
    ("SLOWLOG GET 0", lambda c: c.slowlog_get(0)),
    ("LATENCY RESET a b", lambda c: c.latency_reset("a", "b")),
    ("LATENCY HISTOGRAM a", lambda c: c.latency_histogram("a")),
    ("BGSAVE SCHEDULE", lambda c: c.bgsave()),
    ("BGSAVE", lambda c: c.bgsave(False)),
    ("WAIT 1 0 [0 s]", lambda c: c.wait(1, 0)),
    ("WAIT 1 250 [0.25 s]", lambda c: c.wait(1, 250)),
    ("WAITAOF 1 2 1500 [1.5 s]", lambda c: c.waitaof(1, 2, 1500)),
    ("REPLICAOF h 1", lambda c: c.replicaof("h", 1)),
    # connections and users
    ("CLIENT LIST", lambda c: c.client_list()),
    ("CLIENT LIST TYPE normal ID 1 2", lambda c: c.client_list("normal", [1, 2])),
    ("CLIENT LIST", lambda c: c.client_list(client_id=[])),
    ("CLIENT KILL 1.2.3.4:5", lambda c: c.client_kill("1.2.3.4:5")),
    (
        "CLIENT KILL TYPE normal ID 0 ADDR a LADDR b USER u MAXAGE 0 SKIPME NO",
        lambda c: c.client_kill_filter(0, "normal", "a", False, "b", "u", 0),
    ),
    ("CLIENT KILL SKIPME YES", lambda c: c.client_kill_filter(skipme=True)),
    ("CLIENT KILL MAXAGE 5", lambda c: c.client_kill_filter(maxage=5)),
    ("CLIENT PAUSE 5", lambda c: c.client_pause(5)),
    ("CLIENT PAUSE 5 WRITE", lambda c: c.client_pause(5, False)),
    ("CLIENT UNBLOCK 5", lambda c: c.client_unblock(5)),
    ("CLIENT UNBLOCK 5 ERROR", lambda c: c.client_unblock(5, True)),
    ("ACL CAT", lambda c: c.acl_cat()),
    ("ACL CAT read", lambda c: c.acl_cat("read")),
    ("ACL SETUSER ann on +get", lambda c: c.acl_setuser("ann", "on", "+get")),
    ("ACL DELUSER ann bob", lambda c: c.acl_deluser("ann", "bob")),
    ("ACL DRYRUN ann GET a", lambda c: c.acl_dryrun("ann", "GET", "a")),
    ("ACL GENPASS", lambda c: c.acl_genpass()),
    ("ACL GENPASS 0", lambda c: c.acl_genpass(0)),
    ("ACL LOG", lambda c: c.acl_log()),
    ("ACL LOG 0", lambda c: c.acl_log(0)),
]


@pytest.mark.parametrize(("words", "call"), SENT, ids=[f"{at}: {words}" for at, (words, _) in enumerate(SENT)])
def test_a_command_sends_its_words_and_those_of_the_options_that_were_given(words: str, call: Call) -> None:
    assert call(Told()) == words


def test_a_bitfield_sends_its_operations_once() -> None:
    field = Told().bitfield("k", "FAIL").get("u8", 0)
    assert field.execute() == "BITFIELD k OVERFLOW FAIL GET u8 0"
    with pytest.raises(InvalidArgument, match="at least one operation"):
        field.execute()
    assert field.incrby("u8", 0, 1, "FAIL").execute() == "BITFIELD k OVERFLOW FAIL INCRBY u8 0 1"


REFUSED: list[tuple[str, Call]] = [
    ("only one of ex, px, exat, pxat and keepttl", lambda c: c.set("k", "v", ex=1, px=1)),
    ("only one of ex, px, exat, pxat and keepttl", lambda c: c.set("k", "v", ex=1, keepttl=True)),
    ("only one of ex, px, exat, pxat and persist", lambda c: c.getex("k", exat=1, pxat=1)),
    ("only one of ex, px, exat, pxat and persist", lambda c: c.getex("k", pxat=1, persist=True)),
    ("only one of ifeq, ifne, ifdeq and ifdne", lambda c: c.delex("k", ifdeq="a", ifdne="b")),
    ("only one of nx, xx, ifeq", lambda c: c.set("k", "v", nx=True, xx=True)),
    ("only one of nx, xx, ifeq", lambda c: c.set("k", "v", xx=True, ifdne="a")),
    ("only one of nx, xx, ifeq", lambda c: c.set("k", "v", nx=True, ifeq="a")),
    ("a time must be a number, not a bool", lambda c: c.expire("k", True)),
    ("a time must be a number, not a bool", lambda c: c.pexpireat("k", False)),
    ("a time must be an int or a timedelta, not float", lambda c: c.pexpire("k", 1.5)),
    ("a time must be an int or a timedelta, not str", lambda c: c.setex("k", "1s", "v")),
    ("only one of len and idx", lambda c: c.lcs("a", "b", len=True, idx=True)),
    ("the mapping is empty", lambda c: c.mset({})),
    ("expected a mapping, not list", lambda c: c.mset(["a", 1])),
    ("expected a key or several, not None", lambda c: c.mget(None)),
    ("expected a key or several", lambda c: c.mget(object())),
    ("a bit is 0 or 1", lambda c: c.bitpos("k", 2)),
    ("a bit is 0 or 1", lambda c: c.bitpos("k", -1)),
    ("a range needs both", lambda c: c.bitcount("k", 1)),
    ("a range needs both", lambda c: c.bitcount("k", end=1)),
    ("a range needs both", lambda c: c.bitpos("k", 1, end=1)),
    ("a range needs both", lambda c: c.bitpos("k", 1, 0, mode="BIT")),
    ("a mode needs a range", lambda c: c.bitcount("k", mode="BIT")),
    ("expected one of BYTE, BIT", lambda c: c.bitcount("k", 0, 1, "NIBBLE")),
    ("expected one of WRAP, SAT, FAIL", lambda c: c.bitfield("k", "OTHER")),
    ("at least one key", lambda c: c.bitop("AND", "d")),
    ("at least one key", lambda c: c.pfcount()),
    ("at least one key", lambda c: c.delete()),
    ("at least one key", lambda c: c.unlink()),
    ("at least one key", lambda c: c.exists()),
    ("at least one key", lambda c: c.touch()),
    ("at least one key", lambda c: c.migrate("h", 1, [], 0, 1)),
    ("groups need several patterns", lambda c: c.sort("k", get="#", groups=True)),
    ("groups need several patterns", lambda c: c.sort("k", groups=True)),
    ("a limit needs both", lambda c: c.sort("k", 1)),
    ("a limit needs both", lambda c: c.sort_ro("k", num=1)),
    ("a limit needs both", lambda c: c.zrange("z", 0, 1, offset=1)),
    ("a field needs a value", lambda c: c.hset("h", "f")),
    ("at least one field", lambda c: c.hset("h")),
    ("at least one field", lambda c: c.hset("h", mapping={})),
    ("at least one field", lambda c: c.hdel("h")),
    ("at least one field", lambda c: c.httl("h")),
    ("every field in `items`", lambda c: c.hset("h", items=["a", 1, "b"])),
    ("expected one of FNX, FXX", lambda c: c.hsetex("h", "f", "v", data_persist_option="NX")),
    ("withvalues needs a count", lambda c: c.hrandfield("h", withvalues=True)),
    ("withscores needs a count", lambda c: c.zrandmember("z", withscores=True)),
    ("at least one value", lambda c: c.lpush("l")),
    ("at least one value", lambda c: c.rpush("l")),
    ("at least one value", lambda c: c.lpushx("l")),
    ("at least one value", lambda c: c.rpushx("l")),
    ("expected one of BEFORE, AFTER", lambda c: c.linsert("l", "near", "a", "b")),
    ("expected one of LEFT, RIGHT", lambda c: c.blmove("a", "b", 1, "UP")),
    ("expected one of LEFT, RIGHT", lambda c: c.lmpop(1, "a", direction=7)),
    ("3 keys were announced and 2 were given", lambda c: c.lmpop(3, "a", "b", direction="LEFT")),
    ("1 keys were announced and 2 were given", lambda c: c.sintercard(1, ["a", "b"])),
    ("True keys were announced and 1 were given", lambda c: c.sintercard(True, ["a"])),
    ("at least one key", lambda c: c.blpop([])),
    ("at least one member", lambda c: c.sadd("s")),
    ("at least one member", lambda c: c.srem("s")),
    ("at least one member", lambda c: c.smismember("s", [])),
    ("at least one member", lambda c: c.zrem("z")),
    ("at least one member", lambda c: c.zadd("z", {})),
    ("nx excludes xx, gt and lt", lambda c: c.zadd("z", {"a": 1}, nx=True, xx=True)),
    ("nx excludes xx, gt and lt", lambda c: c.zadd("z", {"a": 1}, nx=True, gt=True)),
    ("nx excludes xx, gt and lt", lambda c: c.zadd("z", {"a": 1}, nx=True, lt=True)),
    ("gt excludes lt", lambda c: c.zadd("z", {"a": 1}, gt=True, lt=True)),
    ("exactly one member", lambda c: c.zadd("z", {"a": 1, "b": 2}, incr=True)),
    ("a range of texts has one score", lambda c: c.zrange("z", "-", "+", bylex=True, withscores=True)),
    ("only one of byscore and bylex", lambda c: c.zrangestore("d", "z", 0, 1, True, True)),
    ("one of min and max must be True", lambda c: c.zmpop(1, ["z"])),
    ("one of min and max must be True", lambda c: c.bzmpop(1, 1, ["z"], True, True)),
    ("expected one of SUM, MIN, MAX", lambda c: c.zunion(["a"], aggregate="AVG")),
    ("streams must be a mapping", lambda c: c.xread({})),
    ("streams must be a mapping", lambda c: c.xread(["a"])),
    ("block must be milliseconds", lambda c: c.xread({"x": 0}, block=-1)),
    ("block must be milliseconds", lambda c: c.xread({"x": 0}, block=True)),
    ("block must be milliseconds", lambda c: c.xread({"x": 0}, block=1.5)),
    ("count must be a positive int", lambda c: c.xread({"x": 0}, 0)),
    ("count must be a positive int", lambda c: c.xrange("x", count=True)),
    ("count must be a positive int", lambda c: c.xrevrange("x", count="1")),
    ("one of maxlen and minid", lambda c: c.xtrim("x")),
    ("one of maxlen and minid", lambda c: c.xadd("x", {"f": 1}, maxlen=1, minid=1)),
    ("one of maxlen and minid", lambda c: c.xadd("x", {"f": 1}, limit=1)),
    ("limit goes with approximate only", lambda c: c.xtrim("x", 1, False, limit=0)),
    ("maxlen must be an int of at least 0", lambda c: c.xtrim("x", -1)),
    ("maxlen must be an int of at least 0", lambda c: c.xtrim("x", True)),
    ("maxlen must be an int of at least 0", lambda c: c.xtrim("x", "9")),
    ("expected one of KEEPREF, DELREF, ACKED", lambda c: c.xdelex("x", "1-1", ref_policy="ALL")),
    ("at least one id", lambda c: c.xdel("x")),
    ("at least one id", lambda c: c.xdelex("x")),
    ("at least one id", lambda c: c.xack("x", "g")),
    ("at least one id", lambda c: c.xclaim("x", "g", "me", 0, [])),
    ("only one of nx and xx", lambda c: c.geoadd("g", [1, 2, "a"], nx=True, xx=True)),
    ("a place is three values", lambda c: c.geoadd("g", [])),
    ("a place is three values", lambda c: c.geoadd("g", [1, 2, "a", 3])),
    ("expected one of M, KM, MI, FT", lambda c: c.geodist("g", "a", "b", "feet")),
    ("any needs a count", lambda c: c.geosearch("g", "a", radius=1, any=True)),
    ("the middle is either", lambda c: c.geosearch("g", "a", 1, radius=1)),
    ("the middle is either", lambda c: c.geosearch("g", "a", latitude=1, radius=1)),
    ("the middle is either", lambda c: c.geosearch("g", "a", 1, 2, radius=1)),
    ("the middle is either", lambda c: c.geosearch("g", longitude=1, radius=1)),
    ("the middle is either", lambda c: c.geosearch("g", latitude=1, radius=1)),
    ("the area is either", lambda c: c.geosearch("g", "a", radius=1, width=1)),
    ("the area is either", lambda c: c.geosearch("g", "a", radius=1, height=1)),
    ("the area is either", lambda c: c.geosearch("g", "a", radius=1, width=1, height=1)),
    ("the area is either", lambda c: c.geosearch("g", "a", width=1)),
    ("the area is either", lambda c: c.geosearch("g", "a", height=1)),
    ("only one of store and store_dist", lambda c: c.georadius("g", 1, 2, 3, store="a", store_dist="b")),
    ("what is stored cannot be told", lambda c: c.georadiusbymember("g", "a", 3, withhash=True, store_dist="b")),
    ("at least one SHA-1", lambda c: c.script_exists()),
    ("expected one of SYNC, ASYNC", lambda c: c.script_flush("later")),
    ("only one of module, category and pattern", lambda c: c.command_list("a", "b")),
    ("at least one condition", lambda c: c.client_kill_filter()),
    ("at least one user", lambda c: c.acl_deluser()),
]


@pytest.mark.parametrize(("said", "call"), REFUSED, ids=[f"{at}: {said}" for at, (said, _) in enumerate(REFUSED)])
def test_arguments_that_mean_nothing_are_refused_with_the_reason(said: str, call: Call) -> None:
    with pytest.raises(InvalidArgument, match=said):
        call(Told())


# A call, replies that mean the same (over RESP2, RESP3, decoded), and what comes of each of them.
RESULTS: dict[str, tuple[Call, list[Any], Any]] = {
    "set": (lambda c: c.set("k", "v"), [b"OK", "OK"], True),
    "set, forbidden": (lambda c: c.set("k", "v", nx=True), [None], None),
    "set, queued": (lambda c: c.set("k", "v"), [b"QUEUED"], b"QUEUED"),
    "set, get": (lambda c: c.set("k", "v", get=True), [b"OK"], b"OK"),
    "setex": (lambda c: c.setex("k", 1, "v"), [b"OK", "OK"], True),
    "psetex": (lambda c: c.psetex("k", 1, "v"), [b"OK", "OK"], True),
    "setnx": (lambda c: c.setnx("k", "v"), [1], True),
    "incrbyfloat": (lambda c: c.incrbyfloat("k"), [b"1.5", "1.5", 1.5], 1.5),
    "mget, nothing": (lambda c: c.mget([]), [b"PONG"], []),
    "hmget, nothing": (lambda c: c.hmget("h", []), [b"PONG"], []),
    "lcs": (
        lambda c: c.lcs("a", "b", idx=True, withmatchlen=True),
        [
            [b"matches", [[[4, 7], [5, 8], 4]], b"len", 6],
            {b"matches": [[[4, 7], [5, 8], 4]], b"len": 6},
            {"matches": [[[4, 7], [5, 8], 4]], "len": 6},
        ],
        {"len": 6, "matches": [[(4, 7), (5, 8), 4]]},
    ),
    "dump": (lambda c: c.dump("k"), [b"\xff\x00", "\udcff\x00"], b"\xff\x00"),
    "sort, in groups": (
        lambda c: c.sort("k", get=["#", "a"], groups=True),
        [[b"1", b"x", b"2", None]],
        [(b"1", b"x"), (b"2", None)],
    ),
    "scan": (lambda c: c.scan(), [[b"7", [b"a"]], ["7", [b"a"]]], (7, [b"a"])),
    "hgetall": (lambda c: c.hgetall("h"), [[b"a", b"1"], {b"a": b"1"}], {b"a": b"1"}),
    "hgetall, nothing": (lambda c: c.hgetall("h"), [[], {}], {}),
    "hscan": (lambda c: c.hscan("h"), [[b"0", [b"a", b"1"]], [b"0", {b"a": b"1"}]], (0, {b"a": b"1"})),
    "hscan, fields": (lambda c: c.hscan("h", no_values=True), [[b"0", [b"a", b"b"]]], (0, [b"a", b"b"])),
    "hrandfield": (
        lambda c: c.hrandfield("h", 2, True),
        [[b"a", b"1", b"b", b"2"], [[b"a", b"1"], [b"b", b"2"]]],
        [(b"a", b"1"), (b"b", b"2")],
    ),
    "hrandfield, one": (lambda c: c.hrandfield("h", 1, True), [[b"a", b"1"], [[b"a", b"1"]]], [(b"a", b"1")]),
    "hrandfield, nothing": (lambda c: c.hrandfield("h", 2, True), [[]], []),
    "smembers": (lambda c: c.smembers("s"), [[b"a", b"a"], {b"a"}], {b"a"}),
    "zadd, incr": (lambda c: c.zadd("z", {"a": 1}, incr=True), [b"1.5", 1.5], 1.5),
    "zadd, forbidden": (lambda c: c.zadd("z", {"a": 1}, incr=True, nx=True), [None], None),
    "zadd": (lambda c: c.zadd("z", {"a": 1}), [1], 1),
    "zmscore": (lambda c: c.zmscore("z", ["a", "b"]), [[b"1.5", None], [1.5, None]], [1.5, None]),
    "zrank": (lambda c: c.zrank("z", "a", True), [[3, b"1.5"], [3, 1.5]], (3, 1.5)),
    "zrank, cast": (lambda c: c.zrank("z", "a", True, str), [[3, b"1"], [3, 1.0]], (3, "1.0")),
    "zrevrank, cast": (lambda c: c.zrevrank("z", "a", True, int), [[3, b"1.5"]], (3, 1)),
    "zrank, nothing": (lambda c: c.zrank("z", "a", True), [None], None),
    "zrange": (
        lambda c: c.zrange("z", 0, 1, withscores=True),
        [[b"a", b"1", b"b", b"2.5"], [[b"a", 1.0], [b"b", 2.5]], [[b"a", b"1"], [b"b", b"2.5"]]],
        [(b"a", 1.0), (b"b", 2.5)],
    ),
    "zrange, nothing": (lambda c: c.zrange("z", 0, 1, withscores=True), [[]], []),
    "zrange, cast": (
        lambda c: c.zrange("z", 0, 1, withscores=True, score_cast_func=int),
        [[b"a", b"1.5"], [[b"a", 1.5]]],
        [(b"a", 1)],
    ),
    "zrevrange, cast": (lambda c: c.zrevrange("z", 0, 1, True, int), [[b"a", b"1.5"]], [(b"a", 1)]),
    "zrangebyscore, cast": (
        lambda c: c.zrangebyscore("z", 0, 1, withscores=True, score_cast_func=int),
        [[b"a", b"1.5"]],
        [(b"a", 1)],
    ),
    "zrevrangebyscore, cast": (
        lambda c: c.zrevrangebyscore("z", 1, 0, withscores=True, score_cast_func=int),
        [[b"a", b"1.5"]],
        [(b"a", 1)],
    ),
    "zunion, cast": (
        lambda c: c.zunion(["a"], withscores=True, score_cast_func=int),
        [[b"a", b"1.5"]],
        [(b"a", 1)],
    ),
    "zinter, cast": (
        lambda c: c.zinter(["a"], withscores=True, score_cast_func=int),
        [[b"a", b"1.5"]],
        [(b"a", 1)],
    ),
    "zdiff": (lambda c: c.zdiff(["a"], True), [[b"a", b"1.5"], [[b"a", 1.5]]], [(b"a", 1.5)]),
    "zrandmember": (lambda c: c.zrandmember("z", 1, True), [[b"a", b"1.5"], [[b"a", 1.5]]], [(b"a", 1.5)]),
    "zscan": (lambda c: c.zscan("z"), [[b"7", [b"a", b"1.5"]]], (7, [(b"a", 1.5)])),
    "zscan, cast": (lambda c: c.zscan("z", score_cast_func=int), [[b"7", [b"a", b"1.5"]]], (7, [(b"a", 1)])),
    "zpopmin": (lambda c: c.zpopmin("z"), [[b"a", b"1"], [b"a", 1.0]], [(b"a", 1.0)]),
    "zpopmax, two": (
        lambda c: c.zpopmax("z", 2),
        [[b"b", b"2", b"a", b"1"], [[b"b", 2.0], [b"a", 1.0]]],
        [(b"b", 2.0), (b"a", 1.0)],
    ),
    "zpopmin, nothing": (lambda c: c.zpopmin("z"), [[]], []),
    "bzpopmin": (lambda c: c.bzpopmin("z"), [[b"z", b"a", b"1.5"], [b"z", b"a", 1.5]], (b"z", b"a", 1.5)),
    "bzpopmax, nothing": (lambda c: c.bzpopmax("z", 1), [None], None),
    "zmpop": (
        lambda c: c.zmpop(1, ["z"], min=True),
        [[b"z", [[b"a", b"1.5"]]], [b"z", [[b"a", 1.5]]]],
        (b"z", [(b"a", 1.5)]),
    ),
    "bzmpop, nothing": (lambda c: c.bzmpop(1, 1, ["z"], min=True), [None], None),
    "lmpop": (lambda c: c.lmpop(1, "l", direction="LEFT"), [[b"l", [b"a"]]], (b"l", [b"a"])),
    "blpop": (lambda c: c.blpop("l"), [[b"l", b"a"]], (b"l", b"a")),
    "brpop, nothing": (lambda c: c.brpop("l", 1), [None], None),
    "xrange": (
        lambda c: c.xrange("x"),
        [[[b"1-1", [b"f", b"1"]], None], [[b"1-1", {b"f": b"1"}]]],
        [(b"1-1", {b"f": b"1"})],
    ),
    "xrange, a deleted entry": (lambda c: c.xrange("x"), [[[b"1-1", None]]], [(b"1-1", {})]),
    "xread": (
        lambda c: c.xread({"x": 0}),
        [[[b"x", [[b"1-1", [b"f", b"1"]]]]], {b"x": [[b"1-1", [b"f", b"1"]]]}],
        [(b"x", [(b"1-1", {b"f": b"1"})])],
    ),
    "xread, nothing": (lambda c: c.xread({"x": 0}, block=1), [None], []),
    "xpending": (
        lambda c: c.xpending("x", "g"),
        [[2, b"1-1", b"1-2", [[b"me", b"2"]]]],
        {"pending": 2, "min": b"1-1", "max": b"1-2", "consumers": [{"name": b"me", "pending": 2}]},
    ),
    "xpending, nothing": (
        lambda c: c.xpending("x", "g"),
        [[0, None, None, None]],
        {"pending": 0, "min": None, "max": None, "consumers": []},
    ),
    "xpending_range": (
        lambda c: c.xpending_range("x", "g", "-", "+", 1),
        [[[b"1-1", b"me", 5, 2]]],
        [{"message_id": b"1-1", "consumer": b"me", "time_since_delivered": 5, "times_delivered": 2}],
    ),
    "xautoclaim, ids": (
        lambda c: c.xautoclaim("x", "g", "me", 0, justid=True),
        [[b"0-0", [b"1-1", b"1-2"], []], [b"0-0", [b"1-1", b"1-2"]]],
        [b"1-1", b"1-2"],
    ),
    "xinfo_stream": (
        lambda c: c.xinfo_stream("x"),
        [
            [b"length", 1, b"groups", 2, b"first-entry", [b"1-1", [b"f", b"1"]], b"last-entry", None],
            {b"length": 1, b"groups": 2, b"first-entry": [b"1-1", [b"f", b"1"]], b"last-entry": None},
        ],
        {"length": 1, "groups": 2, "first-entry": (b"1-1", {b"f": b"1"}), "last-entry": None},
    ),
    "xinfo_stream, full": (
        lambda c: c.xinfo_stream("x", True),
        [
            [b"entries", [[b"1-1", [b"f", b"1"]]], b"groups", [[b"name", b"g", b"consumers", [[b"name", b"me"]]]]],
            {b"entries": [[b"1-1", [b"f", b"1"]]], b"groups": [{b"name": b"g", b"consumers": [{b"name": b"me"}]}]},
        ],
        {"entries": {b"1-1": {b"f": b"1"}}, "groups": [{"name": b"g", "consumers": [{"name": b"me"}]}]},
    ),
    "geodist": (lambda c: c.geodist("g", "a", "b"), [b"1.5", 1.5], 1.5),
    "geopos": (lambda c: c.geopos("g", "a", "b"), [[[b"1.5", b"2"], None], [[1.5, 2.0], None]], [(1.5, 2.0), None]),
    "geosearch": (lambda c: c.geosearch("g", "a", radius=1), [[b"a"]], [b"a"]),
    "geosearch, told": (
        lambda c: c.geosearch("g", "a", radius=1, withcoord=True, withhash=True),
        [[[b"a", 7, [b"1", b"2"]]], [[b"a", 7, [1.0, 2.0]]]],
        [(b"a", 7, (1.0, 2.0))],
    ),
    "georadius": (lambda c: c.georadius("g", 1, 2, 3, withdist=True), [[[b"a", b"1.5"]]], [(b"a", 1.5)]),
    "georadius, hash": (lambda c: c.georadius("g", 1, 2, 3, withhash=True), [[[b"a", 7]]], [(b"a", 7)]),
    "georadius, place": (
        lambda c: c.georadius("g", 1, 2, 3, withcoord=True),
        [[[b"a", [b"1", b"2"]]]],
        [(b"a", (1.0, 2.0))],
    ),
    "georadius, stored": (lambda c: c.georadius("g", 1, 2, 3, store="d"), [3], 3),
    "georadiusbymember": (
        lambda c: c.georadiusbymember("g", "a", 3, withdist=True),
        [[[b"a", b"1.5"]]],
        [(b"a", 1.5)],
    ),
    "script_load": (lambda c: c.script_load("x"), [b"ab", "ab"], "ab"),
    "script_exists": (lambda c: c.script_exists("a", "b"), [[1, 0]], [True, False]),
    "function_dump": (lambda c: c.function_dump(), [b"\xff", "\udcff"], b"\xff"),
    "function_list": (
        lambda c: c.function_list(),
        [
            [[b"library_name", b"l", b"functions", [[b"name", b"f", b"flags", [b"no-writes"]]]]],
            [{b"library_name": b"l", b"functions": [{b"name": b"f", b"flags": [b"no-writes"]}]}],
            [{"library_name": "l", "functions": [{"name": "f", "flags": ["no-writes"]}]}],
        ],
        [{"library_name": "l", "functions": [{"name": "f", "flags": ["no-writes"]}]}],
    ),
    "function_stats": (
        lambda c: c.function_stats(),
        [
            [b"running_script", [b"name", b"f"], b"engines", [b"LUA", [b"libraries_count", 1]]],
            {b"running_script": {b"name": b"f"}, b"engines": {b"LUA": {b"libraries_count": 1}}},
            {"running_script": {"name": "f"}, "engines": {"LUA": {"libraries_count": 1}}},
        ],
        {"running_script": {"name": "f"}, "engines": {"LUA": {"libraries_count": 1}}},
    ),
    "function_stats, idle": (
        lambda c: c.function_stats(),
        [[b"running_script", None, b"engines", []], {b"running_script": None, b"engines": {}}],
        {"running_script": None, "engines": {}},
    ),
    "pubsub_numsub": (
        lambda c: c.pubsub_numsub("a", "b"),
        [[b"a", 1, b"b", b"2"], {b"a": 1, b"b": 2}],
        [(b"a", 1), (b"b", 2)],
    ),
    "ping": (lambda c: c.ping(), [b"PONG", "PONG"], True),
    "ping, something else": (lambda c: c.ping(), [b"HTTP"], False),
    "ping, with a message": (lambda c: c.ping("x"), [b"x"], b"x"),
    "time": (lambda c: c.time(), [[b"7", b"9"], ["7", "9"]], (7, 9)),
    "info": (
        lambda c: c.info(),
        [b"# A\r\na:1\r\nb:x=1,y=2\r\n", "# A\r\na:1\r\nb:x=1,y=2\r\n"],
        {"a": 1, "b": {"x": 1, "y": 2}},
    ),
    "role": (lambda c: c.role(), [[b"master", 0, [[b"h", b"1", b"0"]]]], ["master", 0, [["h", "1", "0"]]]),
    "config_get": (lambda c: c.config_get(), [[b"a", b"1"], {b"a": b"1"}, {"a": "1"}], {"a": "1"}),
    "command_list": (lambda c: c.command_list(), [[b"get"], ["get"]], ["get"]),
    "memory_stats": (
        lambda c: c.memory_stats(),
        [[b"a", 1, b"db.0", [b"x", 2]], [b"a", 1, b"db.0", [b"x", 2]]],
        {"a": 1, "db.0": ["x", 2]},
    ),
    "slowlog_get": (
        lambda c: c.slowlog_get(),
        [[[5, 6, 7, [b"GET", b"\xff"], b"h:1", b"me"]], [[5, 6, 7, ["GET", "\udcff"], "h:1", "me"]]],
        [
            {
                "id": 5,
                "start_time": 6,
                "duration": 7,
                "command": b"GET \xff",
                "client_address": "h:1",
                "client_name": "me",
            }
        ],
    ),
    "slowlog_get, old": (
        lambda c: c.slowlog_get(),
        [[[5, 6, 7, [b"GET"]]]],
        [{"id": 5, "start_time": 6, "duration": 7, "command": b"GET"}],
    ),
    "latency_latest": (lambda c: c.latency_latest(), [[[b"command", 5, 6, 7]]], [("command", 5, 6, 7)]),
    "latency_histogram": (
        lambda c: c.latency_histogram(),
        [[b"get", [b"calls", 1, b"most", b"2"]], {b"get": {b"calls": 1, b"most": b"2"}}],
        {"get": {"calls": 1, "most": "2"}},
    ),
    "bgsave": (lambda c: c.bgsave(), [b"Background saving started"], True),
    "bgrewriteaof": (lambda c: c.bgrewriteaof(), [b"Background append only file rewriting started"], True),
    "lastsave": (lambda c: c.lastsave().timestamp(), [1_000_000_000], 1_000_000_000.0),
    "waitaof": (lambda c: c.waitaof(1, 0, 1), [[b"1", 0]], [1, 0]),
    "client_info": (
        lambda c: c.client_info(),
        [b"id=3 addr=h:1 name=\n", "id=3 addr=h:1 name=\n"],
        {"id": "3", "addr": "h:1", "name": ""},
    ),
    "client_list": (
        lambda c: c.client_list(),
        [b"id=3 name=a=b\nid=4 name=\n\n"],
        [{"id": "3", "name": "a=b"}, {"id": "4", "name": ""}],
    ),
    "client_getname": (lambda c: c.client_getname(), [b"me", "me"], "me"),
    "client_getname, none": (lambda c: c.client_getname(), [None], None),
    "client_unblock": (lambda c: c.client_unblock(5), [1], True),
    "client_trackinginfo": (
        lambda c: c.client_trackinginfo(),
        [[b"flags", [b"off"], b"redirect", -1], {b"flags": [b"off"], b"redirect": -1}],
        {"flags": ["off"], "redirect": -1},
    ),
    "acl_getuser": (
        lambda c: c.acl_getuser("ann"),
        [
            [b"flags", [b"on"], b"selectors", [[b"commands", b"+get", b"keys", b"~a"]]],
            {b"flags": [b"on"], b"selectors": [{b"commands": b"+get", b"keys": b"~a"}]},
            {"flags": ["on"], "selectors": [{"commands": "+get", "keys": "~a"}]},
        ],
        {"flags": ["on"], "selectors": [{"commands": "+get", "keys": "~a"}]},
    ),
    "acl_getuser, before selectors": (
        lambda c: c.acl_getuser("ann"),
        [[b"flags", [b"on"]]],
        {"flags": ["on"], "selectors": []},
    ),
    "acl_getuser, none": (lambda c: c.acl_getuser("ann"), [None], None),
    "acl_dryrun": (lambda c: c.acl_dryrun("ann", "GET", "a"), [b"OK"], True),
    "acl_dryrun, forbidden": (lambda c: c.acl_dryrun("ann", "DEL", "a"), [b"no", "no"], "no"),
    "acl_log": (
        lambda c: c.acl_log(),
        [[[b"count", 1, b"reason", b"auth"]], [{b"count": 1, b"reason": b"auth"}]],
        [{"count": 1, "reason": "auth"}],
    ),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_reply_becomes_the_same_result_in_whichever_form_it_comes(name: str) -> None:
    call, replies, expected = RESULTS[name]
    for reply in replies:
        result = call(Answered(reply))
        assert result == expected
        assert type(result) is type(expected)


ONLY_OK: list[Call] = [
    lambda c: c.mset({"a": 1}),
    lambda c: c.pfmerge("d"),
    lambda c: c.rename("a", "b"),
    lambda c: c.restore("k", 0, b"x"),
    lambda c: c.migrate("h", 1, "a", 0, 1),
    lambda c: c.hmset("h", {"a": 1}),
    lambda c: c.lset("l", 0, "a"),
    lambda c: c.ltrim("l", 0, 1),
    lambda c: c.xgroup_create("x", "g"),
    lambda c: c.xgroup_setid("x", "g", 0),
    lambda c: c.script_flush(),
    lambda c: c.function_flush(),
    lambda c: c.flushdb(),
    lambda c: c.flushall(),
    lambda c: c.config_set("a", 1),
    lambda c: c.client_setname("a"),
    lambda c: c.client_pause(1),
    lambda c: c.acl_setuser("ann"),
]


@pytest.mark.parametrize("at", range(len(ONLY_OK)))
def test_what_is_done_is_true_and_any_other_word_is_not(at: int) -> None:
    assert [ONLY_OK[at](Answered(reply)) for reply in (b"OK", "OK", b"NOKEY")] == [True, True, False]


YES_OR_NO: list[Call] = [
    lambda c: c.msetnx({"a": 1}),
    lambda c: c.msetex({"a": 1}),
    lambda c: c.delex("k"),
    lambda c: c.delifeq("k", "v"),
    lambda c: c.expire("k", 1),
    lambda c: c.pexpire("k", 1),
    lambda c: c.expireat("k", 1),
    lambda c: c.pexpireat("k", 1),
    lambda c: c.persist("k"),
    lambda c: c.renamenx("a", "b"),
    lambda c: c.copy("a", "b"),
    lambda c: c.move("a", 1),
    lambda c: c.hsetnx("h", "a", 1),
    lambda c: c.hsetex("h", "a", 1),
    lambda c: c.hexists("h", "a"),
    lambda c: c.sismember("s", "a"),
    lambda c: c.smove("a", "b", "c"),
    lambda c: c.xgroup_destroy("x", "g"),
    lambda c: c.xgroup_createconsumer("x", "g", "me"),
]


@pytest.mark.parametrize("at", range(len(YES_OR_NO)))
def test_yes_and_no_come_as_bool(at: int) -> None:
    found = [YES_OR_NO[at](Answered(reply)) for reply in (1, 0)]
    assert found == [True, False]
    assert all(isinstance(one, bool) for one in found)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.hgetall("h"),
        lambda c: c.hrandfield("h", 2, True),
        lambda c: c.zrange("z", 0, 1, withscores=True),
        lambda c: c.sort("k", get=["#", "a"], groups=True),
    ],
)
def test_half_a_pair_is_no_reply(call: Call) -> None:
    with pytest.raises(ValueError, match="shorter"):
        call(Answered([b"a", b"1", b"b"]))


def test_a_group_of_commands_alone_sends_nothing() -> None:
    with pytest.raises(NotImplementedError):
        Commands[bytes]().get("k")
