# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What one process keeps for Redis: files that wait to be written, purges that are owed and said again."""

from __future__ import annotations

import asyncio
import logging

import pytest

import resp
from addon.forgejo.answers import Access, Repository
from addon.settings.schema import Settings
from addon.shared import cache, records
from addon.shared.cache import MOST_PENDING, Shared, client_of
from addon.shared.lookup import Fault, Lookup
from addon.shared.reads import Epoch, Held
from addon.shared.round_trips import RoundTrips
from tests.addon.conftest import SharedAt
from tests.addon.shared.conftest import MakeNode
from tests.resp.servers import Server
from tests.waiting import until

MIB = 1024 * 1024
BLOG = ("alice", "blog")
COMMIT = "c" * 40
REPOSITORY = Repository("alice", "blog", 7, "main", False, True, False, "sha1", 1.0, Access.ANONYMOUS)


def found(key: tuple[str, str] = BLOG, fault: Fault | None = Fault.BROKEN) -> Lookup:
    """A look that can be stored."""
    return Lookup(key, 0.0, fault=fault, repository=REPOSITORY, commit=COMMIT)


def held(redis: Server, numbers: range) -> list[int]:
    """Which of the files are in Redis, by the numbers that are their ids."""
    return [number for number in numbers if redis.ask("EXISTS", f"~pages:blob:{number}") == 1]


async def flushed(shared: Shared) -> int:
    """Write all that waits; in how many turns."""
    for turns in range(1000):
        if not shared._pending:
            return turns
        await shared.flush()
    raise AssertionError("never empty")


async def test_what_waits_for_redis_is_bounded_in_bytes_and_the_oldest_goes(shared_at: SharedAt, redis: Server) -> None:
    shared = shared_at(redis, redisTimeout="5s", maxSharedFileSize="32MiB")
    assert MOST_PENDING == 16 * MIB
    data = bytes(MIB)
    for number in range(20):
        shared.keep_blob(str(number), data)
        shared.keep_blob(str(number), data)  # waits already, and is counted once
    await flushed(shared)
    assert held(redis, range(20)) == list(range(4, 20))


async def test_what_is_written_or_dropped_counts_no_longer(shared_at: SharedAt, redis: Server) -> None:
    shared = shared_at(redis, redisTimeout="5s", maxSharedFileSize="32MiB")
    data = bytes(MIB)
    for number in range(16):
        shared.keep_blob(str(number), data)
    await flushed(shared)
    shared.store_later(found())  # the oldest; a look counts for no bytes
    for number in range(16, 33):
        shared.keep_blob(str(number), data)
    shared.keep_blob("33", b"x")
    await flushed(shared)
    # Of seventeen, one had to go; for one byte more, another.
    assert held(redis, range(16, 34)) == list(range(18, 34))
    assert redis.ask("EXISTS", records.repository_key(BLOG)) == 0


async def test_one_file_larger_than_all_that_may_wait_waits_alone(shared_at: SharedAt, redis: Server) -> None:
    shared = shared_at(redis, redisTimeout="5s", maxSharedFileSize="32MiB")
    shared.keep_blob("1", b"x")
    shared.keep_blob("2", bytes(MOST_PENDING + 1))
    await flushed(shared)
    assert held(redis, range(3)) == [2]


async def test_what_waits_for_redis_is_bounded_in_number(shared_at: SharedAt, redis: Server) -> None:
    shared = shared_at(redis, redisTimeout="5s")
    for number in range(10_003):
        shared.keep_blob(str(number), b"")
    await flushed(shared)
    assert redis.ask("DBSIZE") == 10_000
    assert held(redis, range(4)) == [3]


async def test_what_waits_is_written_two_mebibytes_at_a_time(shared_at: SharedAt, redis: Server) -> None:
    shared = shared_at(redis, redisTimeout="5s", maxSharedFileSize="32MiB")
    for number in range(5):
        shared.keep_blob(str(number), bytes(MIB))
    await shared.flush()
    assert held(redis, range(5)) == [0, 1]
    assert await flushed(shared) == 2
    shared.keep_blob("5", bytes(2 * MIB - 1))
    shared.keep_blob("6", b"x")
    shared.keep_blob("7", b"x")
    await shared.flush()
    assert held(redis, range(5, 8)) == [5, 6]
    assert await flushed(shared) == 1
    for number in range(33):  # each counts for 64 KiB, whatever its size
        shared.store_later(found(("alice", str(number))))
    await shared.flush()
    assert len(shared._pending) == 1


async def test_a_file_is_kept_up_to_the_size_that_is_shared(shared_at: SharedAt, redis: Server) -> None:
    shared = shared_at(redis, maxSharedFileSize=1000)
    oid = "a" * 64
    for size in (1000, 1001):
        shared.keep_blob(str(size), bytes(size))
        shared.keep_object(BLOG, oid[:-4] + str(size), bytes(size))
    await shared.flush()
    assert redis.ask("DBSIZE") == 2
    assert held(redis, range(1000, 1002)) == [1000]
    assert redis.ask("EXISTS", records.object_key(BLOG, oid[:-4] + "1000")) == 1


@pytest.mark.parametrize("fault", [None, Fault.TROUBLE])
async def test_what_could_not_be_written_waits_again(
    shared_at: SharedAt, own_redis: Server, fault: Fault | None
) -> None:
    shared = shared_at(own_redis, redisTimeout="5s")
    shared.keep_blob("1", b"x")
    shared.store_later(found(("alice", "other")))
    shared.store_later(found(("alice", "none"), Fault.TROUBLE))  # nothing that anybody else could use
    own_redis.kill()
    await shared.flush()
    assert shared.away
    await shared.flush()
    if fault is None:
        assert await shared.store(found(), Held(Epoch()), "") is None
    assert list(shared._pending) == ["~pages:blob:1", "~pages:repo:alice/other"]
    own_redis.restart()
    await until(lambda: not shared.away, "an answer")
    await flushed(shared)
    assert own_redis.ask("EXISTS", "~pages:blob:1") == 1
    shared.keep_blob("2", bytes(10))
    assert shared._pending_bytes == 10


async def test_a_purge_is_said_again_to_a_server_that_takes_anothers_place(shared_at: SharedAt, redis: Server) -> None:
    shared = shared_at(redis, redisTimeout="5s")
    places = [records.epoch_key(None), records.epoch_key(BLOG)]
    assert [await shared.purge(key) for key in (None, BLOG)] == [True, True]
    words = [redis.ask("GET", place) for place in places]
    assert None not in words
    redis.ask("FLUSHALL")
    shared.say_again()
    await until(lambda: [redis.ask("GET", place) for place in places] == words, "both purges")
    redis.ask("FLUSHALL")
    await shared.purge(BLOG)  # a newer one is said in its place
    newer = redis.ask("GET", places[1])
    redis.ask("FLUSHALL")
    shared.say_again()
    await until(lambda: [redis.ask("GET", place) for place in places] == [words[0], newer], "the newer one")


async def test_a_purge_that_is_long_over_is_not_said_again(
    shared_at: SharedAt, redis: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = shared_at(redis, redisTimeout="5s")
    await shared.purge(None)
    monkeypatch.setattr(cache, "SAID_AGAIN", 0.0)  # so many seconds have passed
    redis.ask("FLUSHALL")
    shared.say_again()
    assert await shared.purge(BLOG)
    assert redis.ask("EXISTS", records.epoch_key(None)) == 0


async def test_a_purge_is_said_again_for_half_a_minute_counted_from_when_it_was_first_said(
    shared_at: SharedAt, redis: Server
) -> None:
    shared = shared_at(redis, redisTimeout="5s")
    await shared.purge(BLOG)
    first = shared._said[BLOG]
    shared.say_again()
    await until(lambda: not shared._owed, "said again")
    assert shared._said == {BLOG: first}
    assert cache.SAID_AGAIN == 30


async def test_a_purge_that_fails_is_owed_until_redis_answers(shared_at: SharedAt, own_redis: Server) -> None:
    shared = shared_at(own_redis, redisTimeout="5s")
    returned: list[bool] = []
    shared.returned = lambda: returned.append(shared.away)
    own_redis.kill()
    assert not await shared.purge(BLOG)
    assert shared.away
    word = shared._owed[BLOG]
    assert not await shared.purge(None)
    shared.say_again()  # to nobody
    own_redis.restart()
    await until(lambda: not shared.away, "an answer")
    assert own_redis.ask("GET", records.epoch_key(BLOG)) == word.encode()
    assert own_redis.ask("EXISTS", records.epoch_key(None)) == 1
    assert returned == [False]
