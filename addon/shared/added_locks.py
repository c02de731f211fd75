# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A site's password as it stands in Redis, where the Traefik plugin and people with `redis-cli` look for it.

Ours stands there for a minute, said again with each look; what somebody else set, or made to stay, is a lock of its own
that the site has besides its `.pages`. Anything but nothing locks.
"""

from typing import Any, Final

import resp
from addon.forgejo.answers import Repository
from addon.shared import records
from addon.shared.lookup import Key, Lookup, branch_of
from addon.shared.round_trips import RoundTrips, script

_LONGEST_PASSWORD: Final = 600
"""Bytes that are kept; no hash is as long."""
_NO_HASH: Final = "no hash"
PASSWORD_LIFE: Final = 60
"""Seconds that a password stays where the Traefik plugin looks for it, as the plugin has it."""

# The password as `.pages` has it, for who looks there: the Traefik plugin, and people with redis-cli. What somebody
# else set stays, and what has no end, or a later one than ours, was set or kept by hand. KEYS: the password, what we
# said it is. ARGV: the hash or "", seconds (none take away what we said), seconds that ours stays at most.
_TELL_PASSWORD: Final = script("""
local there, left = redis.call('GET', KEYS[1]), redis.call('TTL', KEYS[1])
if there and (left == -1 or left > tonumber(ARGV[3])) then return 0 end
if there and there ~= '' and there ~= redis.call('GET', KEYS[2]) then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1], KEYS[2]) end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
if ARGV[1] == '' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2]) end
return 1
""")


def added_lock(trips: RoundTrips, place: Key) -> str:
    """The hash that stands in Redis as a site's password; place: as `records.password_place` says."""
    return added_of(trips.run(lock_reads(trips, [place])))


def lock_reads(trips: RoundTrips, places: list[Key]) -> list[tuple[Any, ...]]:
    """What `added_of` makes a lock of: at each place what we said ourselves, what stands there, and for how long."""
    commands: list[tuple[Any, ...]] = []
    for owner, name in places:
        there = records.password_key(owner, name)
        told = records.told_password_key(owner, name, clustered=trips.clustered)
        commands += [("GET", told), ("GET", there), ("PTTL", there)]
    return commands


def added_of(replies: list[Any]) -> str:
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


def password_told(trips: RoundTrips, lookup: Lookup, held: Repository | None) -> list[tuple[Any, ...]]:
    """How the password that `.pages` has (or that it has none) is said where the Traefik plugin looks for it.

    held: the repository as Redis has it.
    """
    repository = lookup.repository or held
    if repository is None or branch_of(lookup.key) is not None:
        return []
    place = records.password_place(repository)
    keys = (records.password_key(*place), records.told_password_key(*place, clustered=trips.clustered))
    password, life = ("", 0) if lookup.site is None else (lookup.site.pages_file.password, PASSWORD_LIFE)
    return [("EVAL", _TELL_PASSWORD, 2, *keys, password, life, PASSWORD_LIFE)]
