# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is said to Redis in one go: the reading of a repository, of files, and the writing of what a look found.

Everything here runs on a thread of `Shared` and blocks; each function makes as few round trips as what it asks depends
on. The surprise: a read that finds a lie (a wrong kind of key, JSON that cannot be ours, bytes of another id) takes it
away at once, so that the next one is a plain miss; what another version wrote is left alone.
"""

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, TypeVar

import resp
from addon.forgejo.answers import Repository
from addon.forgejo.blobs import object_hash
from addon.shared import records
from addon.shared.lookup import Fault, Key, Lookup, branch_of, repository_of
from addon.shared.records import Broken, Contents, Foreign
from addon.sites.site import File

logger = logging.getLogger(__name__)

T = TypeVar("T")
Wanted = tuple[tuple[str, ...], bool]
Work = dict[str, bytes | Lookup]
"""What is to be written: files by the names of their keys, lookups by those of their repositories' records."""

IMMUTABLE_LIFE: Final = 7 * 86_400.0
"""Seconds that sites and files stay after their last use."""
EPOCH_LIFE: Final = 7 * 86_400.0
TOMBSTONE_LIFE: Final = 60.0
"""Seconds for which all proxies know that a repository is gone; after that there is nothing left to know."""
LARGEST_SITE: Final = 32 * 1024 * 1024
GUESSED_BRANCH = "main"
_LONGEST_PASSWORD: Final = 600
"""Bytes that are kept; no hash is as long."""
_NO_HASH: Final = "no hash"
PASSWORD_LIFE: Final = 60
"""Seconds that a password stays where the Traefik plugin looks for it, as the plugin has it."""


def _script(text: str) -> str:
    return " ".join(text.split())  # one line, as servers put it into their error messages


# Both epochs are compared and everything is written in one step, so that a purge is before it or after it.
# KEYS: both epochs, the repository, the lock, then the ref and what goes. ARGV: both epochs, the lock's token, the
# milliseconds to live, the repository's record, the ref's record or "", the new epoch or "", its milliseconds.
_STORE: Final = _script("""
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
_STORE_LATE: Final = _script("""
local there = redis.call('GET', KEYS[2])
if there and not string.find(there, '"v" ?: ?1[,} ]') then return 0 end
local left = redis.call('PTTL', KEYS[2])
if left == -1 or left >= tonumber(ARGV[1]) or redis.call('PTTL', KEYS[1]) == -1 then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[1])
return 1
""")
# The password as `.pages` has it, for who looks there: the Traefik plugin, and people with redis-cli. What somebody
# else set stays, and what has no end, or a later one than ours, was set or kept by hand. KEYS: the password, what we
# said it is. ARGV: the hash or "", seconds (none take away what we said), seconds that ours stays at most.
_TELL_PASSWORD: Final = _script("""
local there, left = redis.call('GET', KEYS[1]), redis.call('TTL', KEYS[1])
if there and (left == -1 or left > tonumber(ARGV[3])) then return 0 end
if there and there ~= '' and there ~= redis.call('GET', KEYS[2]) then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1], KEYS[2]) end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
if ARGV[1] == '' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2]) end
return 1
""")
_UNLOCK: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Epoch(NamedTuple):
    """What was purged when: of everything and of one repository. Random words, never counted, "" where there is none.

    A counter would begin anew after FLUSHDB, and what was read before it would pass for what was read after it.
    """

    everything: str = ""
    own: str = ""

    def __str__(self) -> str:
        return f"{self.everything}.{self.own}"


@dataclass(frozen=True, slots=True)
class Held:
    """What Redis holds of a repository. age: seconds since the look it comes from; left: until the key expires.

    repository: None where it holds nothing that can be used. outdated: it was purged since. foreign: written by
    another version, so not to be written over. contents: of the commit, unless the caller had it. added: what stands
    there as the site's password.
    """

    epoch: Epoch
    repository: Repository | None = None
    fault: Fault | None = None
    commit: str | None = None
    modified: float | None = None
    age: float = 0.0
    left: float = 0.0
    outdated: bool = False
    foreign: bool = False
    contents: Contents | None = None
    foreign_contents: bool = False
    blobs: dict[str, bytes] = field(default_factory=dict)
    added: str = field(default="", repr=False)


class NoAnswer(Exception):
    """The time for an answer is over."""


class RoundTrips:
    """Round trips to Redis under one deadline, each a pipeline; an error of one command stands in its place."""

    def __init__(
        self, client: resp.Client, deadline: float, *, life: float, largest_file: int, touched: set[str]
    ) -> None:
        """deadline: monotonic seconds. life, largest_file: as in Shared. touched: gets the names of what was used."""
        self.life = life
        self.largest_file = largest_file
        self.touched = touched
        self.made = 0
        self._client = client
        self._deadline = deadline

    def run(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Raises RespError where there is no answer, or one that says that there is none now."""
        if time.monotonic() > self._deadline:
            raise NoAnswer
        self.made += 1
        with self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            replies = pipe.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, resp.TemporaryError | resp.AuthenticationError):
                raise reply
        return replies

    def transaction(self) -> resp.Transaction:
        """For a comparison where the server does not run scripts."""
        self.made += 2
        queue: resp.Transaction = self._client.transaction()
        return queue

    def drop(self, name: str) -> None:
        """Take away a value that cannot be ours."""
        logger.warning("Redis: %s holds what cannot be ours; it is dropped", name)
        self.run([("UNLINK", name)])


def look(
    trips: RoundTrips, key: Key, branch: str, known_commit: str | None, wanted: Wanted | None, called: Key | None = None
) -> Held:
    """What Redis holds of a repository; branch: what its default branch probably is. See `Shared.look`.

    called: where its password stands (`records.password_place`), if that is known: it may have another name by now.
    """
    asked_for = repository_of(key)
    places = list(dict.fromkeys((asked_for, called or asked_for)))
    held, added = _look(trips, key, branch, known_commit, wanted, places)
    if held.repository is not None and not added:
        place = records.password_place(held.repository)
        added = added_lock(trips, place) if place not in places else ""
    return replace(held, added=added)


def added_lock(trips: RoundTrips, place: Key) -> str:
    """The hash that stands in Redis as a site's password; place: as `records.password_place` says."""
    return _added(trips.run(_lock_reads([place])))


def _lock_reads(places: list[Key]) -> list[tuple[Any, ...]]:
    """What `_added` makes a lock of: at each place what we said ourselves, what stands there, and for how long."""
    commands: list[tuple[Any, ...]] = []
    for owner, name in places:
        there = records.password_key(owner, name)
        commands += [("GET", records.told_password_key(owner, name)), ("GET", there), ("PTTL", there)]
    return commands


def _added(replies: list[Any]) -> str:
    """The lock that somebody added, at the last place that has one; what we wrote ourselves is none.

    Ours goes within a minute: the same value with a later end, or none, is one that somebody means to stay.
    """
    locks = [
        _password(there)
        for told, there, left in zip(replies[::3], replies[1::3], replies[2::3])
        if not told or told != there or type(left) is not int or not -1 != left <= 1000 * PASSWORD_LIFE
    ]
    return next(filter(None, reversed(locks)), "")


def _password(reply: Any) -> str:
    """A hash, or what else stands there: anything but nothing locks. Raises ServerError where it is not known."""
    if isinstance(reply, bytes):
        text = reply[:_LONGEST_PASSWORD].decode("utf-8", "replace").strip()
        return text or (_NO_HASH if reply else "")
    if reply is None:
        return ""
    if isinstance(reply, resp.WrongType):
        return _NO_HASH
    if isinstance(reply, resp.NoPermission):  # whoever keeps us from there locks nothing there
        return ""
    if isinstance(reply, resp.ServerError):
        raise reply
    return _NO_HASH


def _look(
    trips: RoundTrips, key: Key, branch: str, known_commit: str | None, wanted: Wanted | None, places: list[Key]
) -> tuple[Held, str]:
    name = records.repository_key(key)
    ref = records.ref_key(key, branch)
    asked: list[tuple[Any, ...]] = [("GET", records.epoch_key(None)), ("GET", records.epoch_key(key))]
    commands = [*asked, ("GET", name), ("PTTL", name), ("GET", ref), ("PTTL", ref)]
    replies = trips.run([*commands, *_lock_reads(places)])
    added = _added(replies[6:])
    del replies[6:]
    epoch = Epoch(_word(trips, asked[0][1], replies[0]), _word(trips, asked[1][1], replies[1]))
    try:
        told = _value(trips, name, replies[2], records.read_repository)
        if told is None:
            return Held(epoch), added
        age, left = _age(replies[3], told.life)
        if told.life is not None:
            left = min(left, max(1.0, told.life - age))
        outdated = told.epoch is not None and told.epoch != str(epoch)
        if told.repository is None:
            return Held(epoch, fault=told.fault, age=age, left=left, outdated=outdated), added
        if branch_of(key) is None and told.repository.default_branch != branch:
            ref = records.ref_key(key, told.repository.default_branch)
            replies[4:] = trips.run([("GET", ref), ("PTTL", ref)])
        found = _value(trips, ref, replies[4], records.read_ref)
    except Foreign:
        return Held(epoch, foreign=True), added
    if found is None:
        return Held(epoch), added
    ref_age, ref_left = _age(replies[5], found.life)
    if replies[5] == -1:
        # Made by hand and without an end: from now on it ages like any other.
        trips.run([("PEXPIRE", ref, milliseconds(trips.life))])
    contents, foreign_contents, files = None, False, {}
    if found.commit != known_commit:
        contents, foreign_contents = _contents(trips, key, found.commit)
        page = None
        if contents is not None and contents.site is not None and wanted is not None:
            page = contents.site.outcome(*wanted)
        if isinstance(page, File) and page.entry.size <= trips.largest_file:
            blob_id = page.entry.id
            files = blobs(trips, {records.blob_key(blob_id): (blob_id, page.entry.size)})
    held = Held(
        epoch,
        told.repository,
        None,
        found.commit,
        found.modified,
        max(age, ref_age),
        min(left, ref_left),
        outdated,
        contents=contents,
        foreign_contents=foreign_contents,
        blobs=files,
    )
    return held, added


def _contents(trips: RoundTrips, key: Key, commit: str) -> tuple[Contents | None, bool]:
    name = records.site_key(key, commit)
    reply = trips.run([("GET", name)])[0]
    try:
        found = _value(trips, name, reply, lambda data: records.read_site(data, commit))
    except Foreign:
        return None, True
    if found is not None:
        trips.touched.add(name)
    return found, False


def blobs(trips: RoundTrips, wanted: dict[str, tuple[str, int]]) -> dict[str, bytes]:
    """Files by id, verified; wanted: their ids and sizes by the names of their keys."""
    found: dict[str, bytes] = {}
    names = list(wanted)
    for name, reply in zip(names, trips.run([("GET", name) for name in names])):
        blob_id, size = wanted[name]

        def checked(data: bytes, blob_id: str = blob_id, size: int = size) -> bytes:
            digest = object_hash(blob_id, len(data))
            digest.update(data)
            if len(data) != size or digest.hexdigest() != blob_id:
                raise Broken("bytes that do not match the id")
            return data

        data = _value(trips, name, reply, checked)
        if data is not None:
            trips.touched.add(name)
            found[blob_id] = data
    return found


def lfs_object(trips: RoundTrips, name: str, oid: str, size: int) -> bytes | None:
    """A Git LFS object, verified."""

    def checked(data: bytes) -> bytes:
        if len(data) != size or hashlib.sha256(data).hexdigest() != oid:
            raise Broken("bytes that do not match the id")
        return data

    data = _value(trips, name, trips.run([("GET", name)])[0], checked)
    if data is not None:
        trips.touched.add(name)
    return data


def store(trips: RoundTrips, lookup: Lookup, held: Held, token: str, work: Work, going: Iterable[str]) -> bool:
    """Write what a look found; see `Shared.store`. work: what else there is to write."""
    key = lookup.key
    commands = _writes(work)
    gone = lookup.fault in (Fault.ABSENT, Fault.REFUSED)
    if lookup.commit is not None and not gone and not held.foreign_contents:
        name = records.site_key(key, lookup.commit)
        if held.commit == lookup.commit:
            commands.append(("PEXPIRE", name, milliseconds(IMMUTABLE_LIFE)))
        else:
            data = records.site_record(lookup)
            if len(data) <= LARGEST_SITE:
                commands.append(("SET", name, data, "PX", milliseconds(IMMUTABLE_LIFE)))
    epoch = held.epoch
    life = TOMBSTONE_LIFE if lookup.fault is Fault.ABSENT else trips.life
    keys = [records.epoch_key(None), records.epoch_key(key), records.repository_key(key), records.lock_key(key)]
    new, ref = "", b""
    if lookup.fault is Fault.ABSENT:
        # Others may be looking, too: what they began before this must not come back.
        new = secrets.token_hex(8)
        names = [records.blob_key(blob_id) for blob_id in going]
        commands += [("UNLINK", *names[start : start + 500]) for start in range(0, len(names), 500)]
        if held.repository is not None:
            keys.append(records.ref_key(key, held.repository.default_branch))
            if held.commit is not None:
                keys.append(records.site_key(key, held.commit))
    elif lookup.repository is not None and lookup.fault is not Fault.REFUSED:
        keys.append(records.ref_key(key, lookup.repository.default_branch))
        ref = records.ref_record(lookup, life)
    label = str(Epoch(epoch.everything, new or epoch.own))
    record = records.repository_record(lookup, label, life)
    arguments = [epoch.everything, epoch.own, token, milliseconds(life), record, ref, new, milliseconds(EPOCH_LIFE)]
    # Last, and side by side, for both are told to everybody: who is told twice at once looks once.
    last = [*_password_told(lookup, held), ("EVAL", _STORE, len(keys), *keys, *arguments)]
    *replies, accepted = trips.run([*commands, *last])
    del replies[len(commands) :]  # nothing rests on the password's: without scripts, or kept from there, it is not said
    checked_replies(replies)
    if _no_scripts(accepted):
        accepted = _stored_without_script(trips, keys, arguments)
    checked_replies([accepted])
    if accepted == 1 and replies and commands[-1][0] == "PEXPIRE" and replies[-1] == 0:
        # The commit's contents were gone (evicted, or a restart without a disk): they are known here.
        trips.run([("SET", commands[-1][1], records.site_record(lookup), "PX", milliseconds(IMMUTABLE_LIFE))])
    return bool(accepted == 1)


def _password_told(lookup: Lookup, held: Held) -> list[tuple[Any, ...]]:
    """How the password that `.pages` has (or that it has none) is said where the Traefik plugin looks for it."""
    repository = lookup.repository or held.repository
    if repository is None or branch_of(lookup.key) is not None:
        return []
    place = records.password_place(repository)
    keys = (records.password_key(*place), records.told_password_key(*place))
    password, life = ("", 0) if lookup.site is None else (lookup.site.pages_file.password, PASSWORD_LIFE)
    return [("EVAL", _TELL_PASSWORD, 2, *keys, password, life, PASSWORD_LIFE)]


def _no_scripts(reply: Any) -> bool:
    """Whether a server, or what it permits us, knows no EVAL."""
    return isinstance(reply, resp.NoPermission) or (type(reply) is resp.ServerError and reply.code == "ERR")


def _stored_without_script(trips: RoundTrips, keys: list[str], arguments: list[Any]) -> int:
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
    command = ("SET", records.lock_key(key), token, "NX", "PX", milliseconds(life))
    return checked_replies(trips.run([command]))[0] is not None


def unlock(trips: RoundTrips, key: Key, token: str) -> bool:
    """Let go of a lock, if it is ours still."""
    name = records.lock_key(key)
    reply = trips.run([("EVAL", _UNLOCK, 1, name, token)])[0]
    if _no_scripts(reply) and trips.run([("GET", name)])[0] == token.encode():
        trips.run([("DEL", name)])
    return True


def flush(trips: RoundTrips, work: Work) -> bool:
    """Write files, and lookups where Redis knows nothing newer."""
    commands = _writes(work)
    now = time.monotonic()
    for lookup in work.values():
        if isinstance(lookup, Lookup):
            commands += _late(trips, lookup, now)
    checked_replies([reply for reply in trips.run(commands) if not _no_scripts(reply)])
    return True


def _late(trips: RoundTrips, lookup: Lookup, now: float) -> list[tuple[Any, ...]]:
    assert lookup.repository is not None
    assert lookup.commit is not None
    left = trips.life - (now - lookup.looked)
    data = records.site_record(lookup)
    if left < 1 or len(data) > LARGEST_SITE:
        return []
    name, ref = records.repository_key(lookup.key), records.ref_key(lookup.key, lookup.repository.default_branch)
    # Which purges came meanwhile is not known: under no epoch at all, any makes it outdated.
    record = records.repository_record(lookup, str(Epoch()), trips.life)
    site = ("SET", records.site_key(lookup.key, lookup.commit), data, "NX", "PX", milliseconds(IMMUTABLE_LIFE))
    return [
        site,
        ("EVAL", _STORE_LATE, 2, name, ref, milliseconds(left), record, records.ref_record(lookup, trips.life)),
    ]


def _value(trips: RoundTrips, name: str, reply: Any, read: Callable[[bytes], T]) -> T | None:
    """What a value means; None where there is none, or it lied and was dropped. Raises Foreign."""
    if reply is None:
        return None
    if isinstance(reply, bytes):
        try:
            return read(reply)
        except Broken:
            pass
    elif isinstance(reply, resp.ServerError) and not isinstance(reply, resp.WrongType):
        raise reply
    trips.drop(name)
    return None


def _word(trips: RoundTrips, name: str, reply: Any) -> str:
    """An epoch."""
    return _value(trips, name, reply, lambda data: data.decode("utf-8", "surrogateescape")) or ""


def _writes(work: Work) -> list[tuple[Any, ...]]:
    files = [(name, value) for name, value in work.items() if isinstance(value, bytes)]
    return [("SET", name, data, "PX", milliseconds(IMMUTABLE_LIFE)) for name, data in files]


def touch(trips: RoundTrips, names: Iterable[str]) -> bool:
    """Lengthen the life of what was used."""
    trips.run([("PEXPIRE", name, milliseconds(IMMUTABLE_LIFE)) for name in sorted(names)])
    return True


def checked_replies(replies: list[Any]) -> list[Any]:
    """The replies, unless one is an error; then that is raised."""
    for reply in replies:
        if isinstance(reply, resp.ServerError):
            raise reply
    return replies


def _age(pttl: Any, life: float | None) -> tuple[float, float]:
    """Seconds since a key was written, and until it goes; without an expiry, or without a life, it counts as new."""
    left = pttl / 1000 if type(pttl) is int and pttl >= 0 else float("inf")
    if life is None or left == float("inf"):
        return 0.0, left
    return max(0.0, life - left), left


def milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
