# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Proxies that share a Redis sign logins with one key, whenever they or the Redis start; the key is in no log."""

import asyncio
import logging
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from addon.access.control import Access, Attempt, Granted, LoggedIn
from addon.access.signing_key import SigningKey, Source, kept_key, signing_key
from addon.shared import login_key
from addon.shared.login_key import NAME, KeptInStep, KeyInRedis
from tests.addon.access.access_cases import by_sha256, cookie_of, lock, login, visit
from tests.addon.conftest import SharedAt
from tests.ports import free_port
from tests.resp.servers import Server
from tests.waiting import rounds, until

LOCK = lock()


Opens = Callable[[SigningKey], Awaitable[tuple[Access, bytes]]]


@pytest.fixture
async def opened() -> AsyncIterator[Opens]:
    """An Access with a key, and the cookie of a login there."""
    executor = ThreadPoolExecutor(1)

    async def make(key: SigningKey) -> tuple[Access, bytes]:
        access = Access(key, 3600, executor, check_password=by_sha256)
        attempt = access.check(LOCK, login("secret"))
        assert isinstance(attempt, Attempt)
        entered = await access.settle(LOCK, login("secret"), attempt)
        assert isinstance(entered, LoggedIn)
        return access, cookie_of(entered.cookies[0])

    yield make
    executor.shutdown()


def enters(access: Access, cookie: bytes) -> bool:
    return isinstance(access.check(LOCK, visit({b"cookie": cookie})), Granted)


async def test_a_login_at_one_proxy_is_one_at_the_other(
    redis: Server, shared_at: SharedAt, opened: Opens, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    keys = [await signing_key(None, tmp_path / name, KeyInRedis(shared_at(redis))) for name in ("one", "another")]
    assert [key.source for key in keys] == [Source.SHARED] * 2
    (one, cookie), (other, _) = [await opened(key) for key in keys]
    assert enters(one, cookie)
    assert enters(other, cookie)
    assert redis.ask("GET", NAME) == keys[0].key.hex().encode()
    assert redis.ask("PTTL", NAME) == -1
    assert keys[0].key.hex() not in caplog.text
    assert stat.S_IMODE((tmp_path / "one" / "login-key").stat().st_mode) == 0o600


async def test_the_operators_key_is_not_put_into_redis(redis: Server, shared_at: SharedAt, tmp_path: Path) -> None:
    found = await signing_key("of the operator", tmp_path, KeyInRedis(shared_at(redis)))
    assert found.source is Source.SETTINGS
    assert redis.ask("EXISTS", NAME) == 0


@pytest.mark.parametrize("value", ["", "short", "z" * 64, "0" * 65, "0" * 5000])
async def test_what_is_no_key_is_not_used_and_not_told(
    redis: Server, shared_at: SharedAt, tmp_path: Path, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    redis.ask("SET", NAME, value)
    found = await signing_key(None, tmp_path, KeyInRedis(shared_at(redis)))
    assert found == (kept_key(tmp_path), Source.FILE)
    assert redis.ask("GET", NAME) == value.encode()
    assert NAME in caplog.text
    assert not value or value not in caplog.text


async def test_a_key_of_a_wrong_kind_is_not_used(redis: Server, shared_at: SharedAt, tmp_path: Path) -> None:
    redis.ask("LPUSH", NAME, "x")
    assert (await signing_key(None, tmp_path, KeyInRedis(shared_at(redis)))).source is Source.FILE


async def test_while_redis_is_away_the_file_signs_and_its_key_is_offered_when_it_is_back(
    own_redis: Server, shared_at: SharedAt, opened: Opens, tmp_path: Path
) -> None:
    own_redis.kill()
    place = KeyInRedis(shared_at(own_redis))
    key = await signing_key(None, tmp_path, place)
    assert key == (kept_key(tmp_path), Source.FILE)
    access, cookie = await opened(key)
    keeping = KeptInStep(key, place, access.adopt)
    keeping.start()
    try:
        own_redis.start()
        await until(lambda: own_redis.ask("GET", NAME) == key.key.hex().encode(), "the key in Redis")
        assert enters(access, cookie)
    finally:
        await keeping.aclose()


async def test_the_key_that_others_use_is_taken_and_what_was_signed_before_ends(
    redis: Server, shared_at: SharedAt, opened: Opens, tmp_path: Path
) -> None:
    theirs = await signing_key(None, tmp_path / "other", KeyInRedis(shared_at(redis)))
    away = await signing_key(None, tmp_path / "one", KeyInRedis(shared_at(("127.0.0.1", free_port()))))
    assert away.source is Source.FILE
    (access, old), (_, cookie) = await opened(away), await opened(theirs)
    assert not enters(access, cookie)
    keeping = KeptInStep(away, KeyInRedis(shared_at(redis)), access.adopt)
    assert await keeping.offer()
    assert enters(access, cookie)
    assert not enters(access, old)


async def test_an_emptied_redis_is_given_the_key_in_use(redis: Server, shared_at: SharedAt, tmp_path: Path) -> None:
    place = KeyInRedis(shared_at(redis))
    key = await signing_key(None, tmp_path, place)
    adopted: list[SigningKey] = []
    keeping = KeptInStep(key, place, adopted.append)
    redis.ask("FLUSHALL")
    assert await keeping.offer()
    assert redis.ask("GET", NAME) == key.key.hex().encode()
    assert adopted == []


async def test_a_key_that_becomes_that_of_all_is_adopted_once(
    redis: Server, shared_at: SharedAt, tmp_path: Path
) -> None:
    adopted: list[SigningKey] = []
    own = SigningKey(kept_key(tmp_path), Source.FILE)
    keeping = KeptInStep(own, KeyInRedis(shared_at(redis, redisTimeout="5s")), adopted.append)
    assert await keeping.offer()
    assert adopted == [SigningKey(own.key, Source.SHARED)]
    assert await keeping.offer()
    assert len(adopted) == 1
    redis.ask("SET", NAME, "ab" * 32)
    assert await keeping.offer()
    assert adopted[1:] == [SigningKey(b"\xab" * 32, Source.SHARED)]
    redis.ask("SET", NAME, "nothing")
    assert not await keeping.offer()


async def test_a_key_in_redis_that_is_none_is_complained_of_once(
    redis: Server, shared_at: SharedAt, caplog: pytest.LogCaptureFixture
) -> None:
    place = KeyInRedis(shared_at(redis, redisTimeout="5s"))
    redis.ask("SET", NAME, "0" * 63)
    for _ in range(2):
        assert await place.settle(b"k" * 32) is None
    assert len(caplog.records) == 1


async def test_who_keeps_in_step_rests_in_between(shared_at: SharedAt, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = shared_at(("127.0.0.1", free_port()))
    shared.away = True
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(login_key, "asyncio", SimpleNamespace(sleep=sleep))
    keeping = KeptInStep(SigningKey(b"k" * 32, Source.FILE), KeyInRedis(shared), lambda key: None)
    with pytest.raises(asyncio.CancelledError):
        await keeping._keep()
    assert rests == [0.5] * 3


@pytest.mark.parametrize("source", [Source.SHARED, Source.FILE])
async def test_a_key_is_offered_at_once_where_it_is_not_known_to_be_that_of_all_and_then_now_and_then(
    redis: Server, shared_at: SharedAt, monkeypatch: pytest.MonkeyPatch, source: Source
) -> None:
    monkeypatch.setattr(login_key, "_PAUSE", 0.0)
    assert login_key.OFFERED_EACH == 30
    shared = shared_at(redis, redisTimeout="5s")
    keeping = KeptInStep(SigningKey(b"k" * 32, source), KeyInRedis(shared), lambda key: None)
    keeping.start()
    try:
        if source is Source.FILE:
            await until(lambda: redis.ask("EXISTS", NAME) == 1, "the first offer")
        trips = shared.trips
        await rounds(100)
        assert shared.trips == trips == (source is Source.FILE)
        redis.ask("FLUSHALL")
        shared.away = True
        await rounds(10)
        shared.away = False
        await until(lambda: redis.ask("EXISTS", NAME) == 1, "an offer to what may have come back empty")
    finally:
        await keeping.aclose()
