# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What Redis holds of a repository: its record, its branch's commit, that commit's contents, and files, all verified.

Each function makes as few round trips as what it asks depends on: one where the default branch is called as guessed and
the caller knows the commit, two with the contents, three with a file.
"""

import hashlib
import time
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from addon.forgejo.answers import Repository
from addon.forgejo.blobs import object_hash
from addon.shared import records
from addon.shared.added_locks import added_lock, added_of, lock_reads
from addon.shared.lookup import Fault, Key, Wanted, branch_of, repository_of
from addon.shared.records import Broken, Contents, Foreign
from addon.shared.round_trips import RoundTrips, milliseconds, value_of
from addon.shared.signatures import Signature
from addon.sites.site import File

GUESSED_BRANCH = "main"
CLOCKS_DIFFER = 60.0
"""Seconds by which the clocks of two proxies may differ."""


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
    there as the site's password. trusted: whether all of this but `added` is signed by us; else it opens nothing.
    others: whether it is signed with a key that we have not, by a proxy that keeps it right by itself.
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
    trusted: bool = True
    others: bool = False


def look(
    trips: RoundTrips, key: Key, branch: str, known_commit: str | None, wanted: Wanted | None, called: Key | None = None
) -> Held:
    """What Redis holds of a repository; branch: what its default branch probably is. See `SharedCache.look`.

    called: where its password stands (`records.password_place`), if that is known: it may have another name by now.
    """
    asked_for = repository_of(key)
    places = list(dict.fromkeys((asked_for, called or asked_for)))
    held, added = _look(trips, key, branch, known_commit, wanted, places)
    if held.repository is not None and not added:
        place = records.password_place(held.repository)
        added = added_lock(trips, place) if place not in places else ""
    return replace(held, added=added)


def _look(
    trips: RoundTrips, key: Key, branch: str, known_commit: str | None, wanted: Wanted | None, places: list[Key]
) -> tuple[Held, str]:
    name = records.repository_key(key)
    ref = records.ref_key(key, branch)
    asked: list[tuple[Any, ...]] = [("GET", records.epoch_key(None)), ("GET", records.epoch_key(key))]
    commands = [*asked, ("GET", name), ("PTTL", name), ("GET", ref), ("PTTL", ref)]
    replies = trips.run([*commands, *lock_reads(trips, places)])
    added = added_of(replies[6:])
    del replies[6:]
    epoch = Epoch(_word(trips, asked[0][1], replies[0]), _word(trips, asked[1][1], replies[1]))
    try:
        told = value_of(trips, name, replies[2], records.read_repository)
        if told is None:
            return Held(epoch), added
        whose = trips.record_key.whose(name, replies[2])
        age, left = _age(replies[3], told.life, told.at)
        if told.life is not None:
            left = min(left, max(1.0, told.life - age))
        outdated = told.epoch is not None and told.epoch != str(epoch)
        if told.repository is None:
            return Held(epoch, fault=told.fault, age=age, left=left, outdated=outdated), added
        if branch_of(key) is None and told.repository.default_branch != branch:
            ref = records.ref_key(key, told.repository.default_branch)
            replies[4:] = trips.run([("GET", ref), ("PTTL", ref)])
        found = value_of(trips, ref, replies[4], records.read_ref)
    except Foreign:
        return Held(epoch, foreign=True), added
    if found is None:
        return Held(epoch), added
    outdated = outdated or (found.epoch is not None and found.epoch != str(epoch))
    ref_whose = trips.record_key.whose(ref, replies[4])
    ref_age, ref_left = _age(replies[5], found.life, found.at)
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
        trusted=whose is ref_whose is Signature.OURS,
        others=whose is ref_whose is Signature.OTHERS,
    )
    return held, added


def _contents(trips: RoundTrips, key: Key, commit: str) -> tuple[Contents | None, bool]:
    name = records.site_key(key, commit)
    reply = trips.ask("GET", name)
    try:
        found = value_of(trips, name, reply, lambda data: records.read_site(data, commit))
    except Foreign:
        return None, True
    if found is not None:
        trips.touched.add(name)
        if trips.record_key.whose(name, reply) is not Signature.OURS:
            # It may say that there is no site, but nothing of one: who may see it is part of that.
            return (None if found.fault is None else replace(found, site=None)), False
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

        data = value_of(trips, name, reply, checked)
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

    data = value_of(trips, name, trips.ask("GET", name), checked)
    if data is not None:
        trips.touched.add(name)
    return data


def _word(trips: RoundTrips, name: str, reply: Any) -> str:
    """An epoch."""
    return value_of(trips, name, reply, lambda data: data.decode("utf-8", "surrogateescape")) or ""


def _age(pttl: Any, life: float | None, at: float | None) -> tuple[float, float]:
    """Seconds since a key was written, and until it goes; without an expiry, or without a life, it counts as new.

    at: when it was written, by the clock of who did: an old record that somebody puts there again stays old.
    """
    left = pttl / 1000 if type(pttl) is int and pttl >= 0 else float("inf")
    written = 0.0 if at is None else time.time() - at - CLOCKS_DIFFER
    if life is None or left == float("inf"):
        return max(0.0, written), left
    return max(0.0, life - left, written), left
