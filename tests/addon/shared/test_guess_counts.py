# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Guesses at a password through several proxies are counted together; while Redis is away, each counts its own."""

import math
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from addon.access.control import Access
from addon.access.guess_limits import LIMITS
from addon.access.signing_key import SigningKey, Source
from addon.shared.guess_counts import PREFIX, GuessesShared
from tests.addon.access.access_cases import KEY, by_sha256
from tests.addon.conftest import SharedAt
from tests.clock import Clock
from tests.resp.servers import Server

SITE = "alice/blog"
GUESSER = "192.0.2.7"
Make = Callable[..., GuessesShared]


@pytest.fixture
def tally(shared_at: SharedAt) -> Make:
    """The tally of one more proxy; its own clock stands still."""
    # Five seconds, however busy the machine: while Redis is away, each counts its own.
    return lambda server, limits=LIMITS: GuessesShared(shared_at(server, redisTimeout="5s"), KEY, Clock(), limits)


def names(server: Server) -> list[bytes]:
    found = server.ask("KEYS", PREFIX + "*")
    assert isinstance(found, list)
    return [name for name in found if isinstance(name, bytes)]


async def test_a_thousand_guesses_from_one_address_over_two_proxies_are_as_few_as_over_one(
    tally: Make, redis: Server
) -> None:
    two = [tally(redis), tally(redis)]
    began = time.monotonic()
    admissions = [await two[number % 2].admit(SITE, GUESSER) for number in range(1000)]
    admitted = sum(admission.wait == 0 for admission in admissions)
    # The sixth may be made after a second, the seventh two seconds later: no more than the time that has passed allows.
    assert LIMITS.free <= admitted <= LIMITS.free + math.log2(time.monotonic() - began + 2)
    assert all(0 < admission.wait <= 1 for admission in admissions[LIMITS.free : LIMITS.free + 20])


async def test_a_thousand_guesses_from_as_many_addresses_over_two_proxies_meet_one_limit(
    tally: Make, redis: Server
) -> None:
    two = [tally(redis), tally(redis)]
    began = time.monotonic()
    admitted = 0
    for number in range(1000):
        admitted += (await two[number % 2].admit(SITE, f"10.0.{number >> 8}.{number & 255}")).wait == 0
    forgotten = (time.monotonic() - began + 1) * LIMITS.site_rate
    assert LIMITS.site_most <= admitted <= LIMITS.site_most + forgotten


async def test_a_wrong_guess_costs_one_trip_and_what_is_kept_tells_no_address_and_expires(
    tally: Make, redis: Server
) -> None:
    one = tally(redis)
    assert (await one.admit(SITE, GUESSER)).first
    assert one._shared.trips == 1
    kept = names(redis)
    assert len(kept) == 3
    for name in kept:
        assert re.fullmatch(rb".*:[0-9a-f]{32}", name)
        assert GUESSER.encode() not in name
        assert b"blog" not in name
        left = redis.ask("TTL", name)
        assert isinstance(left, int)
        assert 0 < left <= LIMITS.forgotten + 1


async def test_two_proxies_that_adopt_a_key_share_one_count_from_then_on(tally: Make, redis: Server) -> None:
    """Through `Access`, which is told of the key."""
    executor = ThreadPoolExecutor(1)
    tallies = [tally(redis), tally(redis)]
    two = [Access(KEY, 3600, executor, guesses=tally, check_password=by_sha256) for tally in tallies]
    other = SigningKey(b"a" * 32, Source.SHARED)
    two[0].adopt(other)
    await tallies[0].admit(SITE, GUESSER)
    await tallies[1].admit(SITE, GUESSER)
    assert len(names(redis)) == 6  # each under its own key
    two[1].adopt(other)
    await tallies[1].admit(SITE, GUESSER)
    assert len(names(redis)) == 6
    executor.shutdown()


async def test_who_knew_the_password_at_one_proxy_goes_first_at_the_other(tally: Make, redis: Server) -> None:
    # What is counted at the site fades by one a second: however long this takes, it is not enough to matter.
    slow = LIMITS._replace(site_rate=LIMITS.site_rate / 1000)
    one, other = tally(redis, slow), tally(redis, slow)
    await one.admit(SITE, GUESSER)
    await one.succeeded(SITE, GUESSER)
    for number in range(600):
        await one.admit(SITE, f"10.0.{number >> 8}.{number & 255}")
    assert (await other.admit(SITE, "198.51.100.1")).wait > 0
    admission = await other.admit(SITE, GUESSER)
    assert (admission.wait, admission.first) == (0, True)


async def test_what_the_other_proxy_counted_makes_wait_here_and_the_attempt_counts_for_nothing(
    tally: Make, redis: Server
) -> None:
    one, other = tally(redis), tally(redis)
    for _ in range(LIMITS.free):
        await one.admit(SITE, GUESSER)
    for _ in range(20):
        admission = await other.admit(SITE, GUESSER)
        if admission.wait == 0:  # a second has passed
            break
        assert 0 < admission.wait <= 1
        assert not admission.first
        assert other.waiting(SITE, GUESSER) == 0
    assert len(other._memory) <= 3


async def test_one_who_fails_at_a_site_counts_there_alone_and_everywhere(tally: Make, redis: Server) -> None:
    one, other = tally(redis), tally(redis)
    for number in range(60):
        assert (await one.admit(f"alice/{number}", GUESSER)).wait == 0
    assert 0 < (await other.admit("alice/60", GUESSER)).wait <= 30
    assert (await other.admit("alice/60", "192.0.2.8")).wait == 0
    assert len(names(redis)) == 60 + 1 + 60 + 3


async def test_a_right_password_is_remembered_and_its_failures_are_not(tally: Make, redis: Server) -> None:
    one = tally(redis)
    for _ in range(3):
        await one.admit(SITE, GUESSER)
    await one.withdrawn(SITE, GUESSER)
    (pair,) = [name for name in names(redis) if b":pair:" in name]
    value = redis.ask("GET", pair)
    assert isinstance(value, bytes)
    assert value.startswith(b"2.")
    await one.succeeded(SITE, GUESSER)
    kinds = sorted(name.split(b":")[2] for name in names(redis))
    assert kinds == [b"known", b"site", b"visitor"]


async def test_what_was_right_or_could_not_be_checked_is_not_counted(tally: Make, redis: Server) -> None:
    one, other = tally(redis), tally(redis)
    for _ in range(20):
        assert (await one.admit(SITE, GUESSER)).wait == 0
        await one.withdrawn(SITE, GUESSER)
        assert (await other.admit(SITE, GUESSER)).wait == 0
        await other.succeeded(SITE, GUESSER)


async def test_while_redis_is_away_memory_counts(tally: Make, own_redis: Server) -> None:
    one = tally(own_redis)
    own_redis.kill()
    admissions = [await one.admit(SITE, GUESSER) for _ in range(50)]
    assert sum(admission.wait == 0 for admission in admissions) == LIMITS.free
    assert one.waiting(SITE, GUESSER) > 0


@pytest.mark.parametrize("value", ["", "x", "1e400 1", "-5 0", "nan nan"])
async def test_garbage_in_redis_counts_for_nothing_and_breaks_nothing(tally: Make, redis: Server, value: str) -> None:
    one = tally(redis)
    await one.admit(SITE, GUESSER)
    for name in names(redis):
        redis.ask("SET", name, value)
    assert (await one.admit(SITE, GUESSER)).wait == 0
