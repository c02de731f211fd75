# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The commands as type checkers are to see them on a pipeline: the same arguments, and the pipeline as result.

A pipeline inherits the methods of `Commands`, whose annotations tell the results of a client. Python has no way to say
"the same, but returning self" for a whole class, so each method is named here once more; a test holds the list against
`Commands`. Surprising: nothing of this runs. A `Transaction` gives results after `watch` and itself after `multi`,
which no annotation can tell apart: there it is `Any`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, Unpack, overload

from resp.argument_types import Key, Keys, Number, Pattern, Seconds, Weighted
from resp.commands import CommandGroup, Commands, MayAnswer
from resp.commands.bitmaps import BitField
from resp.commands.options import AddOptions, AnyRange, ClaimOptions, Ids, Scoring, SetOptions
from resp.encoding import Argument
from resp.replies import Cast

P = ParamSpec("P")
S = TypeVar("S")


class _Queued(Generic[P]):
    """A method that is called on `S` and returns it."""

    @overload
    def __get__(self, instance: MayAnswer, owner: Any = ...) -> Callable[P, Any]: ...
    @overload
    def __get__(self, instance: S, owner: Any = ...) -> Callable[P, S]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        raise NotImplementedError


def queued(method: Callable[Concatenate[Any, P], object]) -> _Queued[P]:
    """The same method as a pipeline has it."""
    return _Queued()


class Queued(CommandGroup[Any]):
    """What a `Pipeline` inherits, as far as type checkers are concerned."""

    bitfield: Callable[..., BitField]

    # ---- Strings
    get = queued(Commands.get)
    setex = queued(Commands.setex)
    psetex = queued(Commands.psetex)
    setnx = queued(Commands.setnx)
    getex = queued(Commands.getex)
    getdel = queued(Commands.getdel)
    getset = queued(Commands.getset)
    getrange = queued(Commands.getrange)
    substr = queued(Commands.substr)
    setrange = queued(Commands.setrange)
    append = queued(Commands.append)
    strlen = queued(Commands.strlen)
    mget = queued(Commands.mget)
    mset = queued(Commands.mset)
    msetnx = queued(Commands.msetnx)
    msetex = queued(Commands.msetex)
    delex = queued(Commands.delex)
    delifeq = queued(Commands.delifeq)
    digest = queued(Commands.digest)
    incr = queued(Commands.incr)
    incrby = queued(Commands.incr)
    incrbyfloat = queued(Commands.incrbyfloat)
    decr = queued(Commands.decr)
    decrby = queued(Commands.decr)
    lcs = queued(Commands.lcs)

    @queued
    def set(
        self, name: Key, value: Argument, ex: Seconds | None = None, *, get: bool = False, **how: Unpack[SetOptions]
    ) -> Any: ...

    # ---- Bitmaps
    getbit = queued(Commands.getbit)
    setbit = queued(Commands.setbit)
    bitcount = queued(Commands.bitcount)
    bitpos = queued(Commands.bitpos)
    bitop = queued(Commands.bitop)
    bitfield_ro = queued(Commands.bitfield_ro)
    pfadd = queued(Commands.pfadd)
    pfcount = queued(Commands.pfcount)
    pfmerge = queued(Commands.pfmerge)

    # ---- Keyspace
    delete = queued(Commands.delete)
    unlink = queued(Commands.unlink)
    exists = queued(Commands.exists)
    touch = queued(Commands.touch)
    expire = queued(Commands.expire)
    pexpire = queued(Commands.pexpire)
    expireat = queued(Commands.expireat)
    pexpireat = queued(Commands.pexpireat)
    persist = queued(Commands.persist)
    ttl = queued(Commands.ttl)
    pttl = queued(Commands.pttl)
    expiretime = queued(Commands.expiretime)
    pexpiretime = queued(Commands.pexpiretime)
    type = queued(Commands.type)
    keys = queued(Commands.keys)
    randomkey = queued(Commands.randomkey)
    rename = queued(Commands.rename)
    renamenx = queued(Commands.renamenx)
    copy = queued(Commands.copy)
    move = queued(Commands.move)
    dump = queued(Commands.dump)
    restore = queued(Commands.restore)
    object = queued(Commands.object)
    sort = queued(Commands.sort)
    sort_ro = queued(Commands.sort_ro)
    scan = queued(Commands.scan)
    memory_usage = queued(Commands.memory_usage)
    migrate = queued(Commands.migrate)

    # ---- Hashes
    hset = queued(Commands.hset)
    hmset = queued(Commands.hmset)
    hsetnx = queued(Commands.hsetnx)
    hsetex = queued(Commands.hsetex)
    hget = queued(Commands.hget)
    hmget = queued(Commands.hmget)
    hgetall = queued(Commands.hgetall)
    hgetdel = queued(Commands.hgetdel)
    hgetex = queued(Commands.hgetex)
    hdel = queued(Commands.hdel)
    hexists = queued(Commands.hexists)
    hkeys = queued(Commands.hkeys)
    hvals = queued(Commands.hvals)
    hlen = queued(Commands.hlen)
    hstrlen = queued(Commands.hstrlen)
    hincrby = queued(Commands.hincrby)
    hincrbyfloat = queued(Commands.hincrbyfloat)
    hexpire = queued(Commands.hexpire)
    hpexpire = queued(Commands.hpexpire)
    hexpireat = queued(Commands.hexpireat)
    hpexpireat = queued(Commands.hpexpireat)
    hpersist = queued(Commands.hpersist)
    httl = queued(Commands.httl)
    hpttl = queued(Commands.hpttl)
    hexpiretime = queued(Commands.hexpiretime)
    hpexpiretime = queued(Commands.hpexpiretime)

    @queued
    def hrandfield(self, key: Key, count: Number = None, withvalues: bool = False) -> Any: ...

    @queued
    def hscan(
        self, name: Key, cursor: int = 0, match: Pattern = None, count: Number = None, no_values: bool | None = None
    ) -> Any: ...

    # ---- Lists
    lpush = queued(Commands.lpush)
    rpush = queued(Commands.rpush)
    lpushx = queued(Commands.lpushx)
    rpushx = queued(Commands.rpushx)
    lrange = queued(Commands.lrange)
    llen = queued(Commands.llen)
    lindex = queued(Commands.lindex)
    lset = queued(Commands.lset)
    linsert = queued(Commands.linsert)
    lrem = queued(Commands.lrem)
    ltrim = queued(Commands.ltrim)
    lmove = queued(Commands.lmove)
    rpoplpush = queued(Commands.rpoplpush)
    lmpop = queued(Commands.lmpop)
    blpop = queued(Commands.blpop)
    brpop = queued(Commands.brpop)
    blmove = queued(Commands.blmove)
    brpoplpush = queued(Commands.brpoplpush)
    blmpop = queued(Commands.blmpop)

    @queued
    def lpop(self, name: Key, count: Number = None) -> Any: ...

    @queued
    def rpop(self, name: Key, count: Number = None) -> Any: ...

    @queued
    def lpos(
        self, name: Key, value: Argument, rank: Number = None, count: Number = None, maxlen: Number = None
    ) -> Any: ...

    # ---- Sets
    sadd = queued(Commands.sadd)
    srem = queued(Commands.srem)
    smembers = queued(Commands.smembers)
    sismember = queued(Commands.sismember)
    smismember = queued(Commands.smismember)
    scard = queued(Commands.scard)
    sinter = queued(Commands.sinter)
    sunion = queued(Commands.sunion)
    sdiff = queued(Commands.sdiff)
    sinterstore = queued(Commands.sinterstore)
    sunionstore = queued(Commands.sunionstore)
    sdiffstore = queued(Commands.sdiffstore)
    sintercard = queued(Commands.sintercard)
    smove = queued(Commands.smove)
    sscan = queued(Commands.sscan)

    @queued
    def spop(self, name: Key, count: Number = None) -> Any: ...

    @queued
    def srandmember(self, name: Key, number: Number = None) -> Any: ...

    # ---- SortedSets
    zrem = queued(Commands.zrem)
    zcard = queued(Commands.zcard)
    zcount = queued(Commands.zcount)
    zlexcount = queued(Commands.zlexcount)
    zscore = queued(Commands.zscore)
    zmscore = queued(Commands.zmscore)
    zincrby = queued(Commands.zincrby)
    zrangestore = queued(Commands.zrangestore)
    zrangebylex = queued(Commands.zrangebylex)
    zrevrangebylex = queued(Commands.zrevrangebylex)
    zremrangebyscore = queued(Commands.zremrangebyscore)
    zremrangebyrank = queued(Commands.zremrangebyrank)
    zremrangebylex = queued(Commands.zremrangebylex)
    zpopmin = queued(Commands.zpopmin)
    zpopmax = queued(Commands.zpopmax)
    bzpopmin = queued(Commands.bzpopmin)
    bzpopmax = queued(Commands.bzpopmax)
    zmpop = queued(Commands.zmpop)
    bzmpop = queued(Commands.bzmpop)
    zunionstore = queued(Commands.zunionstore)
    zinterstore = queued(Commands.zinterstore)
    zdiffstore = queued(Commands.zdiffstore)
    zintercard = queued(Commands.zintercard)
    zscan = queued(Commands.zscan)

    @queued
    def zadd(
        self, name: Key, mapping: Mapping[Any, float], *, incr: bool = False, **when: Unpack[AddOptions]
    ) -> Any: ...

    @queued
    def zrank(self, name: Key, value: Argument, withscore: bool = False, score_cast_func: Cast = float) -> Any: ...

    @queued
    def zrevrank(self, name: Key, value: Argument, withscore: bool = False, score_cast_func: Cast = float) -> Any: ...

    @queued
    def zrange(self, name: Key, start: Argument, end: Argument, desc: bool = False, **how: Unpack[AnyRange]) -> Any: ...

    @queued
    def zrevrange(
        self, name: Key, start: int, end: int, withscores: bool = False, score_cast_func: Cast = float
    ) -> Any: ...

    @queued
    def zrangebyscore(
        self, name: Key, min: Argument, max: Argument, start: Number = None, num: Number = None, **how: Unpack[Scoring]
    ) -> Any: ...

    @queued
    def zrevrangebyscore(
        self, name: Key, max: Argument, min: Argument, start: Number = None, num: Number = None, **how: Unpack[Scoring]
    ) -> Any: ...

    @queued
    def zrandmember(self, key: Key, count: Number = None, withscores: bool = False) -> Any: ...

    @queued
    def zunion(self, keys: Weighted, aggregate: str | None = None, **how: Unpack[Scoring]) -> Any: ...

    @queued
    def zinter(self, keys: Weighted, aggregate: str | None = None, **how: Unpack[Scoring]) -> Any: ...

    @queued
    def zdiff(self, keys: Keys, withscores: bool = False) -> Any: ...

    # ---- Streams
    xadd = queued(Commands.xadd)
    xlen = queued(Commands.xlen)
    xrange = queued(Commands.xrange)
    xrevrange = queued(Commands.xrevrange)
    xdel = queued(Commands.xdel)
    xdelex = queued(Commands.xdelex)
    xtrim = queued(Commands.xtrim)
    xread = queued(Commands.xread)
    xreadgroup = queued(Commands.xreadgroup)
    xack = queued(Commands.xack)
    xackdel = queued(Commands.xackdel)
    xgroup_create = queued(Commands.xgroup_create)
    xgroup_setid = queued(Commands.xgroup_setid)
    xgroup_destroy = queued(Commands.xgroup_destroy)
    xgroup_createconsumer = queued(Commands.xgroup_createconsumer)
    xgroup_delconsumer = queued(Commands.xgroup_delconsumer)
    xpending = queued(Commands.xpending)
    xpending_range = queued(Commands.xpending_range)
    xinfo_stream = queued(Commands.xinfo_stream)
    xinfo_groups = queued(Commands.xinfo_groups)
    xinfo_consumers = queued(Commands.xinfo_consumers)

    @queued
    def xclaim(
        self,
        name: Key,
        groupname: Argument,
        consumername: Argument,
        min_idle_time: int,
        message_ids: Ids,
        *,
        justid: bool = False,
        **how: Unpack[ClaimOptions],
    ) -> Any: ...

    @queued
    def xautoclaim(
        self,
        name: Key,
        groupname: Argument,
        consumername: Argument,
        min_idle_time: int,
        start_id: Argument = "0-0",
        count: Number = None,
        justid: bool = False,
    ) -> Any: ...

    # ---- Geo
    geoadd = queued(Commands.geoadd)
    geodist = queued(Commands.geodist)
    geohash = queued(Commands.geohash)
    geopos = queued(Commands.geopos)
    geosearch = queued(Commands.geosearch)
    geosearchstore = queued(Commands.geosearchstore)
    georadius = queued(Commands.georadius)
    georadiusbymember = queued(Commands.georadiusbymember)

    # ---- Scripting
    eval = queued(Commands.eval)
    eval_ro = queued(Commands.eval_ro)
    evalsha = queued(Commands.evalsha)
    evalsha_ro = queued(Commands.evalsha_ro)
    script_load = queued(Commands.script_load)
    script_exists = queued(Commands.script_exists)
    script_flush = queued(Commands.script_flush)
    script_kill = queued(Commands.script_kill)
    fcall = queued(Commands.fcall)
    fcall_ro = queued(Commands.fcall_ro)
    function_load = queued(Commands.function_load)
    function_delete = queued(Commands.function_delete)
    function_flush = queued(Commands.function_flush)
    function_list = queued(Commands.function_list)
    function_dump = queued(Commands.function_dump)
    function_restore = queued(Commands.function_restore)
    function_stats = queued(Commands.function_stats)
    function_kill = queued(Commands.function_kill)

    # ---- Messages
    publish = queued(Commands.publish)
    spublish = queued(Commands.spublish)
    pubsub_channels = queued(Commands.pubsub_channels)
    pubsub_shardchannels = queued(Commands.pubsub_shardchannels)
    pubsub_numpat = queued(Commands.pubsub_numpat)
    pubsub_numsub = queued(Commands.pubsub_numsub)
    pubsub_shardnumsub = queued(Commands.pubsub_shardnumsub)

    # ---- ServerCommands
    ping = queued(Commands.ping)
    echo = queued(Commands.echo)
    time = queued(Commands.time)
    info = queued(Commands.info)
    role = queued(Commands.role)
    lolwut = queued(Commands.lolwut)
    dbsize = queued(Commands.dbsize)
    flushdb = queued(Commands.flushdb)
    flushall = queued(Commands.flushall)
    swapdb = queued(Commands.swapdb)
    config_get = queued(Commands.config_get)
    config_set = queued(Commands.config_set)
    config_resetstat = queued(Commands.config_resetstat)
    config_rewrite = queued(Commands.config_rewrite)
    command_count = queued(Commands.command_count)
    command_list = queued(Commands.command_list)
    command_getkeys = queued(Commands.command_getkeys)
    memory_stats = queued(Commands.memory_stats)
    memory_doctor = queued(Commands.memory_doctor)
    memory_malloc_stats = queued(Commands.memory_malloc_stats)
    memory_purge = queued(Commands.memory_purge)
    slowlog_get = queued(Commands.slowlog_get)
    slowlog_len = queued(Commands.slowlog_len)
    slowlog_reset = queued(Commands.slowlog_reset)
    latency_latest = queued(Commands.latency_latest)
    latency_history = queued(Commands.latency_history)
    latency_reset = queued(Commands.latency_reset)
    latency_doctor = queued(Commands.latency_doctor)
    latency_histogram = queued(Commands.latency_histogram)
    save = queued(Commands.save)
    bgsave = queued(Commands.bgsave)
    bgrewriteaof = queued(Commands.bgrewriteaof)
    lastsave = queued(Commands.lastsave)
    wait = queued(Commands.wait)
    waitaof = queued(Commands.waitaof)
    replicaof = queued(Commands.replicaof)
    debug_object = queued(Commands.debug_object)

    # ---- Connections
    client_id = queued(Commands.client_id)
    client_info = queued(Commands.client_info)
    client_list = queued(Commands.client_list)
    client_getname = queued(Commands.client_getname)
    client_setname = queued(Commands.client_setname)
    client_kill = queued(Commands.client_kill)
    client_kill_filter = queued(Commands.client_kill_filter)
    client_pause = queued(Commands.client_pause)
    client_unpause = queued(Commands.client_unpause)
    client_unblock = queued(Commands.client_unblock)
    client_getredir = queued(Commands.client_getredir)
    client_trackinginfo = queued(Commands.client_trackinginfo)
    acl_whoami = queued(Commands.acl_whoami)
    acl_list = queued(Commands.acl_list)
    acl_users = queued(Commands.acl_users)
    acl_cat = queued(Commands.acl_cat)
    acl_getuser = queued(Commands.acl_getuser)
    acl_setuser = queued(Commands.acl_setuser)
    acl_deluser = queued(Commands.acl_deluser)
    acl_dryrun = queued(Commands.acl_dryrun)
    acl_genpass = queued(Commands.acl_genpass)
    acl_log = queued(Commands.acl_log)
    acl_log_reset = queued(Commands.acl_log_reset)
    acl_load = queued(Commands.acl_load)
    acl_save = queued(Commands.acl_save)
