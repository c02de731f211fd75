# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is written to Redis: what a look found, under the epoch it was begun in, files, and the lock on looking.

A purge names a new epoch; the scripts compare it and write in one step, so that what was read before a purge is never
stored after it. Servers without scripts get the same as a transaction. On a cluster nothing compares and writes keys of
several nodes in one step. There it need not: each record says which epochs its look began under, and one that was
written after a purge, but is older, is outdated for whoever reads it (`addon/README.md`, "On a cluster").
"""

import secrets
import time
from collections.abc import Iterable
from typing import Any, Final

import resp
from addon.shared import records
from addon.shared.added_locks import password_told
from addon.shared.lookup import Fault, Key, Lookup
from addon.shared.reads import Epoch, Held
from addon.shared.round_trips import (
    EPOCH_LIFE,
    IMMUTABLE_LIFE,
    RoundTrips,
    checked_replies,
    milliseconds,
    no_scripts,
    script,
)

Work = dict[str, bytes | Lookup]
"""What is to be written: files by the names of their keys, lookups by those of their repositories' records."""

TOMBSTONE_LIFE: Final = 60.0
"""Seconds for which all proxies know that a repository is gone; after that there is nothing left to know."""
LARGEST_SITE: Final = 32 * 1024 * 1024

# Both epochs are compared and everything is written in one step, so that a purge is before it or after it.
# KEYS: both epochs, the repository, the lock, then the ref and what goes. ARGV: both epochs, the lock's token, the
# milliseconds to live, the repository's record, the ref's record or "", the new epoch or "", its milliseconds.
_STORE: Final = script("""
local same = (redis.call('GET', KEYS[1]) or '') == ARGV[1] and (redis.call('GET', KEYS[2]) or '') == ARGV[2]
if ARGV[3] ~= '' and redis.call('GET', KEYS[4]) == ARGV[3] then redis.call('DEL', KEYS[4]) end
if not same then return 0 end
redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[4])
if ARGV[6] ~= '' then
  redis.call('SET', KEYS[5], ARGV[6], 'PX', ARGV[4])
else
  for i = 5, #KEYS do redis.call('DEL', KEYS[i]) end
end
if ARGV[7] ~= '' then redis.call('SET', KEYS[2], ARGV[7], 'PX', ARGV[8]) end
return 1
""")
# What became known while Redis was away: only where Redis knows nothing newer. KEYS: the repository, the ref.
# ARGV: milliseconds to live, the records. A key without expiry was made by hand and stays, as does another version's.
_STORE_LATE: Final = script("""
local there = redis.call('GET', KEYS[2])
if there and not string.find(there, '"v" ?: ?1[,} ]') then return 0 end
local left = redis.call('PTTL', KEYS[2])
if left == -1 or left >= tonumber(ARGV[1]) or redis.call('PTTL', KEYS[1]) == -1 then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[1])
return 1
""")
# The same for each record by itself, where they are on different nodes.
_SET_LATE: Final = script("""
local there = redis.call('GET', KEYS[1])
if there and not string.find(there, '"v" ?: ?1[,} ]') then return 0 end
local left = redis.call('PTTL', KEYS[1])
if left == -1 or left >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
return 1
""")
_UNLOCK: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


def store(trips: RoundTrips, lookup: Lookup, held: Held, token: str, work: Work, going: Iterable[str]) -> bool:
    """Write what a look found; see `SharedCache.store`. work: what else there is to write."""
    key = lookup.key
    commands = _writes(work)
    gone = lookup.fault in (Fault.ABSENT, Fault.REFUSED)
    if lookup.commit is not None and not gone and not held.foreign_contents:
        name = records.site_key(key, lookup.commit)
        if held.commit == lookup.commit:
            commands.append(("PEXPIRE", name, milliseconds(IMMUTABLE_LIFE)))
        else:
            data = _contents(trips, name, lookup)
            if data is not None:
                commands.append(("SET", name, data, "PX", milliseconds(IMMUTABLE_LIFE)))
    epoch = held.epoch
    life = TOMBSTONE_LIFE if lookup.fault is Fault.ABSENT else trips.life
    keys = [records.epoch_key(None), records.epoch_key(key), records.repository_key(key), records.lock_key(key)]
    new, ref, fresh = "", b"", None
    if lookup.fault is Fault.ABSENT:
        # Others may be looking, too: what they began before this must not come back.
        new = secrets.token_hex(8)
        names = [records.blob_key(blob_id) for blob_id in going]
        most = 1 if trips.clustered else 500
        commands += [("UNLINK", *names[start : start + most]) for start in range(0, len(names), most)]
        if held.repository is not None:
            keys.append(records.ref_key(key, held.repository.default_branch))
            if held.commit is not None:
                keys.append(records.site_key(key, held.commit))
    elif lookup.repository is not None and lookup.fault is not Fault.REFUSED:
        fresh = records.ref_key(key, lookup.repository.default_branch)
        keys.append(fresh)
    label = str(Epoch(epoch.everything, new or epoch.own))
    if fresh is not None:
        ref = _signed(trips, fresh, records.ref_record(lookup, label, life))
    record = _signed(trips, keys[2], records.repository_record(lookup, label, life))
    arguments = [epoch.everything, epoch.own, token, milliseconds(life), record, ref, new, milliseconds(EPOCH_LIFE)]
    # Last, and side by side, for both are told to everybody: who is told twice at once looks once.
    last = password_told(trips, lookup, held.repository)
    if trips.clustered:
        replies = trips.run([*commands, ("GET", keys[0]), ("GET", keys[1])])
        accepted = _stored_in_parts(trips, keys, arguments, replies[len(commands) :], last)
    else:
        *replies, accepted = trips.run([*commands, *last, ("EVAL", _STORE, len(keys), *keys, *arguments)])
    del replies[len(commands) :]  # nothing rests on the password's: without scripts, or kept from there, it is not said
    checked_replies(replies)
    if no_scripts(accepted):
        accepted = _stored_withoutscript(trips, keys, arguments)
    checked_replies([accepted])
    if accepted == 1 and replies and commands[-1][0] == "PEXPIRE" and replies[-1] == 0:
        # The commit's contents were gone (evicted, or a restart without a disk): they are known here.
        name = commands[-1][1]
        site = _contents(trips, name, lookup)
        if site is not None:
            trips.run([("SET", name, site, "PX", milliseconds(IMMUTABLE_LIFE))])
    return bool(accepted == 1)


def _stored_in_parts(
    trips: RoundTrips, keys: list[str], arguments: list[Any], epochs: list[Any], also: list[tuple[Any, ...]]
) -> int:
    """The script `_STORE` on a cluster. epochs: the replies that say what they are now. also: what is sent with it."""
    everything, own, token, life, record, ref, new, epoch_life = arguments
    told = [word or b"" for word in checked_replies(epochs)]
    same = told == [word.encode("utf-8", "surrogateescape") for word in (everything, own)]
    commands: list[tuple[Any, ...]] = [("SET", keys[2], record, "PX", life)] if same else []
    if same and ref:
        commands.append(("SET", keys[4], ref, "PX", life))
    elif same:
        commands += [("DEL", name) for name in keys[4:]]
    if same and new:
        commands.append(("SET", keys[1], new, "PX", epoch_life))
    if commands:
        checked_replies(trips.run([*also, *commands])[len(also) :])
    if token:
        unlock_key(trips, keys[3], token)
    return int(same)


def _stored_withoutscript(trips: RoundTrips, keys: list[str], arguments: list[Any]) -> int:
    """The script `_STORE` as a transaction: two trips instead of one."""
    everything, own, token, life, record, ref, new, epoch_life = arguments
    with trips.transaction() as queue:
        queue.watch(keys[0], keys[1], keys[3])
        told = [word or b"" for word in queue.mget(keys[0], keys[1], keys[3])]
        queue.multi()
        if token and told[2] == token.encode():
            queue.delete(keys[3])
        same = told[:2] == [everything.encode("utf-8", "surrogateescape"), own.encode("utf-8", "surrogateescape")]
        if same:
            queue.execute_command("SET", keys[2], record, "PX", life)
            if ref:
                queue.execute_command("SET", keys[4], ref, "PX", life)
            elif keys[4:]:
                queue.delete(*keys[4:])
            if new:
                queue.execute_command("SET", keys[1], new, "PX", epoch_life)
        try:
            queue.execute()
        except resp.WatchError:  # a purge came in between, or the lock went
            return 0
    return int(same)


def lock(trips: RoundTrips, key: Key, token: str, life: float) -> bool:
    """Whether we have the lock on looking at a repository now."""
    return trips.told("SET", records.lock_key(key), token, "NX", "PX", milliseconds(life)) is not None


def unlock(trips: RoundTrips, key: Key, token: str) -> bool:
    """Let go of a lock, if it is ours still."""
    return unlock_key(trips, records.lock_key(key), token)


def unlock_key(trips: RoundTrips, name: str, token: str) -> bool:
    """The same by the lock's name."""
    reply = trips.ask("EVAL", _UNLOCK, 1, name, token)
    if no_scripts(reply) and trips.ask("GET", name) == token.encode():
        trips.run([("DEL", name)])
    return True


def flush(trips: RoundTrips, work: Work) -> bool:
    """Write files, and lookups where Redis knows nothing newer."""
    commands = _writes(work)
    now = time.monotonic()
    for lookup in work.values():
        if isinstance(lookup, Lookup):
            commands += _late(trips, lookup, now)
    checked_replies([reply for reply in trips.run(commands) if not no_scripts(reply)])
    return True


def _late(trips: RoundTrips, lookup: Lookup, now: float) -> list[tuple[Any, ...]]:
    assert lookup.repository is not None
    assert lookup.commit is not None
    left = trips.life - (now - lookup.looked)
    place = records.site_key(lookup.key, lookup.commit)
    data = _contents(trips, place, lookup) if left >= 1 else None
    if data is None:
        return []
    name, ref = records.repository_key(lookup.key), records.ref_key(lookup.key, lookup.repository.default_branch)
    # Which purges came meanwhile is not known: under no epoch at all, any makes it outdated.
    record = _signed(trips, name, records.repository_record(lookup, str(Epoch()), trips.life))
    branch = _signed(trips, ref, records.ref_record(lookup, str(Epoch()), trips.life))
    if trips.clustered:
        return [
            ("SET", place, data, "NX", "PX", milliseconds(IMMUTABLE_LIFE)),
            ("EVAL", _SET_LATE, 1, name, milliseconds(left), record),
            ("EVAL", _SET_LATE, 1, ref, milliseconds(left), branch),
        ]
    return [
        ("SET", place, data, "NX", "PX", milliseconds(IMMUTABLE_LIFE)),
        ("EVAL", _STORE_LATE, 2, name, ref, milliseconds(left), record, branch),
    ]


def _contents(trips: RoundTrips, name: str, lookup: Lookup) -> bytes | None:
    """What a commit is, signed, if that is not too large, which is asked before it is made."""
    if records.site_record_size(lookup) > LARGEST_SITE:
        return None
    data = _signed(trips, name, records.site_record(lookup))
    return data if len(data) <= LARGEST_SITE else None


def _signed(trips: RoundTrips, name: str, record: bytes) -> bytes:
    return trips.record_key.signed(name, record)


def _writes(work: Work) -> list[tuple[Any, ...]]:
    files = [(name, value) for name, value in work.items() if isinstance(value, bytes)]
    return [("SET", name, data, "PX", milliseconds(IMMUTABLE_LIFE)) for name, data in files]


def touch(trips: RoundTrips, names: Iterable[str]) -> bool:
    """Lengthen the life of what was used."""
    trips.run([("PEXPIRE", name, milliseconds(IMMUTABLE_LIFE)) for name in sorted(names)])
    return True
