# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What one process keeps for Redis: files that wait to be written, purges that are owed and said again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import resp
from addon.forgejo.answers import Access, Repository
from addon.net.fair_queue import Dropped, TooLate, on_account
from addon.settings.schema import Settings
from addon.shared import cache, records, writes
from addon.shared.cache import MOST_PENDING, SharedCache, client_of
from addon.shared.lookup import Fault, Lookup
from addon.shared.reads import Epoch, Held
from addon.shared.round_trips import NoAnswer, RoundTrips
from tests.addon.conftest import SharedAt
from tests.ports import free_port
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


async def flushed(shared: SharedCache) -> int:
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


async def test_a_purge_that_redis_does_not_permit_is_said_as_soon_as_it_does(
    shared_at: SharedAt, own_redis: Server
) -> None:
    shared = shared_at(own_redis, redisTimeout="5s")
    own_redis.ask("ACL", "SETUSER", "default", "-set")
    assert not await shared.purge(BLOG)
    assert shared.away
    assert own_redis.ask("EXISTS", records.epoch_key(BLOG)) == 0
    own_redis.ask("ACL", "SETUSER", "default", "+set")
    await until(lambda: not shared.away, "an answer")
    assert own_redis.ask("EXISTS", records.epoch_key(BLOG)) == 1


# --- what is asked ----------------------------------------------------------------------------------------------------


async def test_files_that_are_too_large_to_be_shared_are_not_asked_for(shared_at: SharedAt, redis: Server) -> None:
    shared = shared_at(redis, redisTimeout="5s", maxSharedFileSize=1000)
    assert await shared.blobs([("a" * 40, 1001)]) == {}
    assert await shared.lfs_object(BLOG, "a" * 64, 1001) is None
    assert shared.trips == 0
    assert await shared.blobs([("a" * 40, 1000), ("b" * 40, 1001)]) == {}
    assert await shared.lfs_object(BLOG, "a" * 64, 1000) is None
    assert shared.trips == 2


async def test_one_looks_at_a_repository_and_lets_go_of_no_lock_but_its_own(shared_at: SharedAt, redis: Server) -> None:
    one, other = shared_at(redis, redisTimeout="5s"), shared_at(redis, redisTimeout="5s")
    assert await one.locked(BLOG) is False
    token = await one.lock(BLOG)
    assert token
    assert await other.lock(BLOG) == ""
    assert await other.locked(BLOG) is True
    left = redis.ask("PTTL", records.lock_key(BLOG))
    assert isinstance(left, int)
    assert 5_000 < left <= 10_000
    await other.unlock(BLOG, "another")
    assert await other.locked(BLOG) is True
    before = one.trips
    await one.unlock(BLOG, token)
    assert one.trips == before + 1
    assert await other.locked(BLOG) is False
    again = await other.lock(BLOG)
    assert again
    assert again != token


async def test_nothing_is_told_of_locks_while_redis_is_away(shared_at: SharedAt, redis: Server) -> None:
    shared = shared_at(redis)
    shared.away = True
    assert await shared.lock(BLOG) is None
    assert await shared.locked(BLOG) is None
    assert await shared.added_lock(BLOG) is None
    assert await shared.look(BLOG, None, None) is None
    assert shared.trips == 0


@pytest.mark.parametrize(
    ("lookup", "kept"),
    [
        (found(), True),
        (found(fault=Fault.TOO_LARGE), False),  # which settings say, not the commit
        (found(fault=Fault.TROUBLE), False),
        (Lookup(BLOG, 0.0, fault=Fault.UNCONFIGURED), False),  # of no commit
    ],
)
async def test_what_a_commit_is_is_kept_where_every_proxy_would_say_the_same(
    shared_at: SharedAt, redis: Server, lookup: Lookup, kept: bool
) -> None:
    shared = shared_at(redis, redisTimeout="5s")
    await shared.keep_contents(lookup)
    await flushed(shared)
    assert redis.ask("DBSIZE") == int(kept)
    assert redis.ask("EXISTS", records.site_key(BLOG, COMMIT)) == int(kept)


# --- jobs -------------------------------------------------------------------------------------------------------------


class Jobs:
    """Jobs that are asked of Redis, and go on when `go` is set. under_way: on whose account those that began are."""

    def __init__(self, shared: SharedCache) -> None:
        self.under_way: list[str] = []
        self.go = threading.Event()
        self._shared = shared

    def ask(self, owner: str, visitor: str, number: int = 1) -> list[asyncio.Task[bool | None]]:
        return [asyncio.create_task(self._asked(owner, visitor)) for _ in range(number)]

    async def _asked(self, owner: str, visitor: str) -> bool | None:
        def job(trips: RoundTrips) -> bool:
            self.under_way.append(visitor or owner)
            return self.go.wait(60)

        with on_account(owner=owner, visitor=visitor):
            return await self._shared.run(job)


@pytest.mark.parametrize(
    ("connections", "at_once", "of_one"), [(1, 1, 1), (3, 3, 3), (4, 4, 3), (8, 8, 6), (40, 16, 12)]
)
async def test_as_many_ask_redis_at_once_as_there_are_connections_and_one_visitor_leaves_some(
    shared_at: SharedAt, redis: Server, connections: int, at_once: int, of_one: int
) -> None:
    shared = shared_at(redis, redisTimeout="60s", redisMaxConnections=connections)
    held = Jobs(shared)
    jobs = held.ask("alice", "one", 20)
    await until(lambda: len(held.under_way) >= of_one and shared.turns.waiting == 20 - of_one, "one visitor's")
    for number in range(20):
        jobs += held.ask("alice", str(number))
    await until(lambda: len(held.under_way) >= at_once and shared.turns.waiting == 40 - at_once, "all there may be")
    assert (len(held.under_way), held.under_way.count("one")) == (at_once, of_one)
    held.go.set()
    assert await asyncio.gather(*jobs) == [True] * 40


async def test_questions_are_taken_to_be_quick_until_they_were_measured(shared_at: SharedAt, redis: Server) -> None:
    shared = shared_at(redis, redisTimeout="5s", redisMaxConnections=1)
    asked = [shared.run(lambda trips: trips.run([("PING",)])[0]) for _ in range(40)]
    assert set(await asyncio.gather(*asked)) <= {b"PONG", "PONG"}


async def test_what_an_owner_causes_and_no_visitor_asked_for_is_that_owners(shared_at: SharedAt, redis: Server) -> None:
    shared = shared_at(redis, redisTimeout="60s", redisMaxConnections=4)
    held = Jobs(shared)
    jobs = held.ask("alice", "", 8)
    await until(lambda: len(held.under_way) == 3, "those of one owner")
    jobs += held.ask("bob", "")
    await until(lambda: held.under_way[3:] == ["bob"], "that of another")
    held.go.set()
    await asyncio.gather(*jobs)


async def test_a_job_is_measured_by_whether_it_came_to_an_answer(shared_at: SharedAt, redis: Server) -> None:
    shared = shared_at(redis, redisTimeout="5s")
    assert await shared.run(lambda trips: trips.run([("PING",)])) is not None

    def broken(trips: RoundTrips) -> bool:
        raise ZeroDivisionError

    for _ in range(2):
        assert await shared.run(broken) is None
    told = shared.meter.collect()["job"]
    assert isinstance(told, dict)
    assert told["outcomes"] == {"2xx": 1, "no answer": 2}
    assert 0 < told["seconds"] < 60
    assert shared._under_way == 0
    assert shared.trips == 1
    assert not shared.away


AWAY = "; pages come from memory and Forgejo until it answers"


@pytest.mark.parametrize(
    ("error", "away", "refuses", "said"),
    [
        (resp.ConnectionLost("gone"), True, False, ["gone" + AWAY]),
        (resp.Timeout("late"), True, False, ["late" + AWAY]),
        (resp.AuthenticationError("WRONGPASS", "no"), True, False, ["WRONGPASS" + AWAY]),
        (resp.TemporaryError("LOADING", "soon"), True, False, ["LOADING" + AWAY]),
        (resp.NoPermission("NOPERM", "no"), False, False, ["it does not permit what we need"]),
        (resp.ProtocolError("noise"), False, False, ["noise"]),
        (resp.WritesRefused("OOM", "full"), False, True, ["it refuses to write: OOM"]),
        (resp.ReadOnly("READONLY", "a replica"), False, True, ["it refuses to write: READONLY"]),
        (resp.ServerError("ERR", "something"), False, False, ["ServerError"]),
        (NoAnswer(), False, False, []),
        (TooLate(1.0), False, False, []),
        (Dropped(), False, False, []),
    ],
)
async def test_what_goes_wrong_with_redis_is_said_and_no_fault_of_who_asked(
    error: Exception,
    away: bool,
    refuses: bool,
    said: list[str],
    shared_at: SharedAt,
    redis: Server,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shared = shared_at(redis, redisTimeout="5s")
    failed: list[bool] = []

    def job(trips: RoundTrips) -> bool:
        raise error

    assert await shared._run(job, lambda: failed.append(True)) is None
    assert (shared.away, shared.refuses_writes, failed) == (away, refuses, [True])
    assert [record.getMessage() for record in caplog.records] == [f"redisHost: {each}" for each in said]
    if away:  # now nobody asks, and what was to be done is failed at once
        assert await shared._run(job, lambda: failed.append(False)) is None
        assert failed == [True, False]
        await until(lambda: not shared.away, "an answer")
    assert await shared.run(lambda trips: trips.ask("PING")) == b"PONG"


async def test_who_gets_no_answer_in_time_goes_on_and_redis_counts_as_away(
    shared_at: SharedAt, redis: Server, caplog: pytest.LogCaptureFixture
) -> None:
    shared = shared_at(redis, redisTimeout="50ms")
    go = threading.Event()
    assert await shared.run(lambda trips: go.wait(30)) is None
    assert shared.away
    assert [record.getMessage() for record in caplog.records] == [f"redisHost: no answer within 0.05 s{AWAY}"]
    go.set()
    await until(lambda: not shared.away, "an answer")
    await until(lambda: not shared._under_way, "the end of the job")


async def test_each_reason_is_complained_of_now_and_then(
    shared_at: SharedAt, redis: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = shared_at(redis)
    for _ in range(3):
        shared._complain("one")
        shared._complain("other")
    assert [record.getMessage() for record in caplog.records] == ["redisHost: one", "redisHost: other"]
    caplog.clear()
    monkeypatch.setattr(cache, "_COMPLAIN_SECONDS", 0.0)  # so many have passed
    shared._complain("one")
    assert len(caplog.records) == 1


async def test_reasons_that_a_server_makes_up_are_not_remembered_for_ever(
    shared_at: SharedAt, redis: Server, caplog: pytest.LogCaptureFixture
) -> None:
    shared = shared_at(redis)
    for number in range(101):
        shared._complain(str(number))
    shared._complain("0")
    assert len(caplog.records) == 101
    shared._complain("one more")
    shared._complain("0")
    assert len(caplog.records) == 103


async def test_a_server_that_takes_no_writes_is_asked_to_again_a_moment_later_and_is_read_meanwhile(
    shared_at: SharedAt, own_redis: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_REFUSED_SEEN", 300.0)
    shared = shared_at(own_redis, redisTimeout="5s")
    shared.start()
    assert not shared.refuses_writes
    own_redis.ask("CONFIG", "SET", "maxmemory", "1")
    shared.keep_blob("1", b"x")
    await until(lambda: shared.refuses_writes, "a refusal")
    assert not shared.away
    assert await shared.locked(BLOG) is False
    assert [record.getMessage() for record in caplog.records] == ["redisHost: it refuses to write: OOM"]
    own_redis.ask("CONFIG", "SET", "maxmemory", "0")
    await until(lambda: not shared._pending, "the file")
    assert own_redis.ask("GET", "~pages:blob:1") == b"x"
    assert shared.refuses_writes  # a moment ago


async def test_what_is_used_lives_longer(shared_at: SharedAt, redis: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_TOUCH_SECONDS", 0.0)
    shared = shared_at(redis, redisTimeout="5s")
    for name in ("used", "unused"):
        redis.ask("SET", name, "x", "EX", 60)
    shared._touched.add("used")
    shared.start()
    await until(lambda: redis.ask("TTL", "used") == 7 * 86_400, "a week")
    assert redis.ask("TTL", "unused") != 7 * 86_400
    assert shared._touched == set()


async def test_what_is_left_when_it_ends_is_written_and_nothing_is_asked_any_more(
    shared_at: SharedAt, redis: Server
) -> None:
    shared = shared_at(redis, redisTimeout="5s")
    shared.start()
    shared.keep_blob("1", b"x")
    await shared.aclose()
    assert held(redis, range(2)) == [1]
    assert await shared.locked(BLOG) is None
    assert not shared.away
    assert shared._tending is not None
    await asyncio.wait([shared._tending])
    assert shared._tending.cancelled()


def test_a_job_has_the_name_of_what_it_does() -> None:
    class Unnamed:
        def __call__(self) -> None: ...

    def inner() -> None: ...

    jobs: list[tuple[Callable[..., object], str]] = [
        (writes.touch, "touch"),
        (partial(writes.touch, names=()), "touch"),
        (SharedCache.keep_blob, "keep blob"),
        (SharedCache._greet, "greet"),
        (inner, "inner"),
        (lambda: 0, "test a job has the name of what it does"),
        (eval("lambda: 0"), "job"),
        (Unnamed(), "job"),
    ]
    assert [cache._named(job) for job, _ in jobs] == [name for _, name in jobs]


# --- the settings -----------------------------------------------------------------------------------------------------


def settings(**options: Any) -> Settings:
    required = {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1", "stateDir": "/nowhere"}
    return Settings.from_mapping({**required, **options}, environ={})


def test_without_a_name_of_a_server_nothing_is_shared(tmp_path: Path) -> None:
    assert client_of(settings()) is None
    assert SharedCache.of(settings(stateDir=str(tmp_path))) is None


def test_a_client_is_what_the_settings_say() -> None:
    client = client_of(settings(redisHost="[::1]", redisPort=7000, redisTimeout="2s", redisDB=3))
    assert client is not None
    where = client.endpoint
    assert (where.host, where.port, where.db, where.tls) == ("::1", 7000, 3, None)
    assert (where.timeout, where.connect_timeout, where.client_name) == (2.0, 2.0, "forgejo-pages")
    assert (where.username, where.password) == (None, None)
    assert where.max_bulk == 32 * MIB + 1
    assert not client.clustered
    options = {"redisUsername": "pages", "redisPassword": "a secret", "redisTLS": True}
    client = client_of(settings(redisHost="redis.test", maxSharedFileSize="40MiB", **options))
    assert client is not None
    where = client.endpoint
    assert (where.host, where.username, where.password) == ("redis.test", "pages", "a secret")
    assert where.max_bulk == 40 * MIB + 1
    assert where.tls is not None


@pytest.mark.parametrize(("stale", "ttl", "life"), [(86_400, 300, 86_460.0), (100, 300, 660.0), (600, 300, 660.0)])
async def test_a_ref_stays_a_minute_longer_than_anybody_may_use_it(
    shared_at: SharedAt, redis: Server, stale: int, ttl: int, life: float
) -> None:
    assert shared_at(redis, staleTTL=stale, cacheTTL=ttl).life == life


def test_many_servers_are_asked_for_as_the_settings_name_them() -> None:
    sentinels = {"redisSentinels": ["127.0.0.1:5001", "127.0.0.1:5002"], "redisSentinelMaster": "mine"}
    watched = client_of(settings(**sentinels))
    by_address = client_of(settings(redisURL="redis://pages:secret@redis.test:7001/4"))
    cluster = client_of(settings(redisHost="redis.test", redisCluster=True))
    assert watched is not None
    assert by_address is not None
    assert cluster is not None
    assert "127.0.0.1:5001" in repr(watched)
    where = by_address.endpoint
    assert (where.host, where.port, where.db, where.username) == ("redis.test", 7001, 4, "pages")
    assert (watched.clustered, by_address.clustered, cluster.clustered) == (False, False, True)


def test_a_client_has_as_many_connections_as_the_settings_say_and_no_breaker_of_its_own() -> None:
    client = client_of(settings(redisHost="redis.test", redisPoolSize=3, redisMaxConnections=7))
    assert client is not None
    stats = client.stats()
    assert (stats.pool_size, stats.max_connections, stats.breaker) == (3, 7, "off")


async def test_a_redis_that_is_away_is_knocked_at_after_longer_and_longer(
    shared_at: SharedAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (cache._TOUCH_SECONDS, cache._COMPLAIN_SECONDS, cache._REFUSED_SEEN) == (30, 30, 30)
    shared = shared_at(("127.0.0.1", free_port()), redisTimeout="5s")
    slept: list[float] = []
    original = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await original(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert await shared.locked(BLOG) is None
    while len(slept) < 8:
        await original(0.001)
    assert slept[:8] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
    assert shared.away
    await shared.aclose()


async def test_a_turn_has_to_come_in_half_of_the_time_for_an_answer(
    shared_at: SharedAt, redis: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = shared_at(redis, redisTimeout="8s")
    asked: list[tuple[float, bool]] = []
    turn = shared.turns.turn

    def noted(patience: float, **more: Any) -> Any:
        asked.append((patience, more["kept"]))
        return turn(patience, **more)

    monkeypatch.setattr(shared.turns, "turn", noted)
    await shared.run(lambda trips: trips.ask("PING"))
    await shared.look(BLOG, None, None)  # for nobody, it is not asked
    assert asked == [(4.0, True), (4.0, False)]
