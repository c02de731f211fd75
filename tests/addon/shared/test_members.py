# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Logins of members in Redis: taken once by whoever asks first, sealed, bounded, and shared by proxies."""

from collections.abc import Callable

from addon.access.sealing import Sealer
from addon.shared.cache import SharedCache
from addon.shared.member_sessions import MemberSessions, Session
from addon.shared.one_use import OneUse
from tests.addon.conftest import SharedAt
from tests.ports import free_port
from tests.resp.servers import Server

SEALER = Sealer(b"a key", b"members 1")
SECRET = "eyJhbGciOi.a-token.of-bob"


def one_use(shared: SharedCache | None, clock: Callable[[], float] = lambda: 0.0, most: int = 10_000) -> OneUse:
    return OneUse("login", 600, SEALER, shared, most=most, most_each=50, clock=clock)


def session(host: str = "alice.pages.test", began: float = 100.0) -> Session:
    return Session(host, "3", SECRET, began, 3700.0)


def test_what_was_sealed_before_an_upgrade_is_opened_after_it() -> None:
    sealed = "AAECAwQFBgcICQoLoKRL67gScdfpt6ONpepq95-6EFMwYzA1ixclqAU"
    assert SEALER.opened("~pages:login:id", sealed) == {"token": "t"}
    assert SEALER.opened("~pages:login:other", sealed) is None


async def test_a_record_is_taken_once_whoever_asks(redis: Server, shared_at: SharedAt) -> None:
    here, there = one_use(shared_at(redis)), one_use(shared_at(redis))
    for number in range(4):
        await here.put(f"id{number}", {"token": SECRET}, "192.0.2.7")
    assert await there.take("id0") == {"token": SECRET}
    assert await here.take("id0") is None
    assert await here.take("id1") == {"token": SECRET}
    assert await there.take("id1") is None
    assert await there.take("id9") is None
    redis.ask("SET", "~pages:login:id2", "made up")
    assert await there.take("id2") is None
    redis.ask("RENAME", "~pages:login:id3", "~pages:login:id4")  # sealed for its own name
    assert await there.take("id4") is None


async def test_what_redis_does_not_take_stays_here_and_is_taken_once(shared_at: SharedAt) -> None:
    kept = one_use(shared_at(("127.0.0.1", free_port())))
    await kept.put("id", {"a": 1}, "192.0.2.7")
    assert await kept.take("id") == {"a": 1}
    assert await kept.take("id") is None


async def test_ten_thousand_begun_logins_are_bounded_and_push_out_nobody_elses() -> None:
    now = [0.0]
    kept = one_use(None, lambda: now[0], most=10_000)
    await kept.put("of a reader", {"path": "/"}, "198.51.100.1")
    for number in range(12_000):
        await kept.put(f"flood {number}", {"path": "/"}, "192.0.2.7")
    assert len(kept) == 51
    assert await kept.take("of a reader") == {"path": "/"}
    await kept.put("of a reader", {"path": "/"}, "198.51.100.1")
    for number in range(12_800):  # all that one customer has
        await kept.put(f"wide {number}", {"path": "/"}, f"2001:db8:7:{number % 256:x}::/64")
    assert len(kept) == 50 + 500 + 1
    assert await kept.take("of a reader") == {"path": "/"}
    for number in range(12_000):
        await kept.put(f"many {number}", {"path": "/"}, f"10.0.{number // 250}.{number % 250}")
    assert len(kept) == 10_000
    now[0] = 600.0
    assert await kept.take("many 11999") is None  # too late
    await kept.put("new", {"path": "/"}, "192.0.2.7")
    assert len(kept) == 1
    assert list(kept._parties) == ["192.0.2.7"]


async def test_what_gives_way_goes_from_redis_too(redis: Server, shared_at: SharedAt) -> None:
    kept = one_use(shared_at(redis))
    for number in range(60):
        await kept.put(f"id{number}", {"path": "/"}, "192.0.2.7")
    assert redis.ask("DBSIZE") == 50
    assert await kept.take("id9") is None
    assert await kept.take("id10") == {"path": "/"}


async def test_a_session_is_known_to_all_and_shows_nothing_in_redis(redis: Server, shared_at: SharedAt) -> None:
    here, there = (MemberSessions(SEALER, shared_at(redis), lambda: 200.0) for _ in range(2))
    await here.begin("a-random-name", session())
    found = await there.load("a-random-name", "alice.pages.test")
    assert found is not None
    assert (found.reader, found.token) == ("3", SECRET)
    assert await there.load("a-random-name", "bob.pages.test") is None
    assert SECRET not in repr(found)
    keys = redis.ask("KEYS", "*")
    assert isinstance(keys, list)
    for key in keys:
        assert isinstance(key, bytes)
        assert b"a-random-name" not in key
        value, life = redis.ask("GET", key), redis.ask("TTL", key)
        assert isinstance(value, bytes)
        assert not any(secret in value for secret in (b"eyJ", b"a-token", b"alice", b'"3"'))
        assert isinstance(life, int)
        assert 0 < life <= 3600
    other_key = MemberSessions(Sealer(b"another", b"members 1"), shared_at(redis), lambda: 200.0)
    assert await other_key.load("a-random-name", "alice.pages.test") is None


async def test_who_logs_out_at_one_proxy_is_out_at_all(redis: Server, shared_at: SharedAt) -> None:
    now = [200.0]
    here, there = (MemberSessions(SEALER, shared_at(redis), lambda: now[0]) for _ in range(2))
    for id, host in (("desk", "alice.pages.test"), ("phone", "handbook.example"), ("third", "alice.pages.test")):
        await here.begin(id, session(host, now[0]))
        assert await there.load(id, host) is not None
    known = {id: there.peek(id, host) for id, host in (("desk", "alice.pages.test"), ("phone", "handbook.example"))}
    await here.end("desk")
    assert known["desk"] is not None
    assert known["phone"] is not None
    assert not await there.still("desk", known["desk"])
    assert await there.still("phone", known["phone"])
    now[0] += 1
    await here.end_all(known["phone"])
    assert not await there.still("phone", known["phone"])
    assert there.peek("third", "alice.pages.test") is None
    fresh = MemberSessions(SEALER, shared_at(redis), lambda: now[0])
    assert await fresh.load("third", "alice.pages.test") is None
    now[0] += 1
    await there.begin("anew", session("alice.pages.test", now[0]))
    assert await fresh.load("anew", "alice.pages.test") is not None


async def test_a_log_out_while_redis_is_away_holds_here_and_is_told_later(
    own_redis: Server, shared_at: SharedAt
) -> None:
    shared = shared_at(own_redis)
    here, there = (MemberSessions(SEALER, each, lambda: 200.0) for each in (shared, shared_at(own_redis)))
    await here.begin("desk", session())
    found = await there.load("desk", "alice.pages.test")
    assert found is not None
    shared.away = True
    await here.end_all(found)
    assert here.peek("desk", "alice.pages.test") is None
    assert await there.still("desk", found)  # nobody could tell
    shared.away = False
    await here.load("another", "alice.pages.test")
    assert not await there.still("desk", found)


# --- sessions, one by one ---------------------------------------------------------------------------------------------

HOST = "alice.pages.test"


async def test_a_session_ends_with_its_token_and_with_the_log_out_of_its_reader() -> None:
    now = [200.0]
    sessions = MemberSessions(SEALER, None, lambda: now[0])
    dropped: list[str] = []
    sessions.dropped = dropped.append
    mine, others = session(began=200.0), Session(HOST, "4", SECRET, 200.0, 3700.0)
    for id, each in (("desk", mine), ("phone", mine), ("others", others)):
        await sessions.begin(id, each)
    assert len(sessions) == 3
    assert sessions.peek("desk", HOST) is mine
    assert sessions.peek("desk", "bob.pages.test") is None
    now[0] = 3699.9
    assert sessions.peek("desk", HOST) is mine
    assert await sessions.still("desk", mine)
    now[0] = 3700.0
    assert sessions.peek("desk", HOST) is None
    assert await sessions.load("desk", HOST) is None
    assert not await sessions.still("desk", mine)
    now[0] = 200.0  # in the very moment in which it began
    await sessions.end_all(mine)
    assert sorted(dropped) == ["desk", "phone"]
    assert len(sessions) == 1
    assert not await sessions.still("desk", mine)
    assert await sessions.still("others", others)
    await sessions.begin("anew", session(began=200.1))
    assert sessions.peek("anew", HOST) is not None
    await sessions.end("others")
    assert dropped[2:] == ["others"]
    assert sessions.peek("others", HOST) is None


async def test_sessions_are_bounded_in_number() -> None:
    sessions = MemberSessions(SEALER, None, lambda: 200.0, most=2)
    for id in ("one", "two", "three"):
        await sessions.begin(id, session())
    assert [sessions.peek(id, HOST) is not None for id in ("one", "two", "three")] == [False, True, True]


def keys(redis: Server, kind: str) -> list[str]:
    found = redis.ask("KEYS", f"~pages:{kind}:*")
    assert isinstance(found, list)
    return [name.decode() for name in found if isinstance(name, bytes)]


async def test_what_is_kept_of_a_session_goes_when_it_ends(redis: Server, shared_at: SharedAt) -> None:
    shared = shared_at(redis, redisTimeout="5s")
    sessions = MemberSessions(SEALER, shared, lambda: 200.5)
    await sessions.begin("desk", session())
    await sessions.begin("over", Session(HOST, "3", SECRET, 100.0, 200.0))
    lives = sorted(redis.ask("TTL", name) for name in keys(redis, "member"))  # type: ignore[type-var]
    assert lives in ([1, 3499], [3499])
    await sessions.end_all(session())
    (mark,) = keys(redis, "member-out")
    assert redis.ask("GET", mark) == b"200.5"
    assert redis.ask("TTL", mark) == 3700
    await sessions.end("desk")
    assert len(keys(redis, "member")) <= 1


async def test_to_know_a_session_costs_nothing_to_learn_of_it_two_trips_and_to_ask_again_one(
    redis: Server, shared_at: SharedAt
) -> None:
    here, there = shared_at(redis, redisTimeout="5s"), shared_at(redis, redisTimeout="5s")
    began = MemberSessions(SEALER, here, lambda: 200.0)
    await began.begin("desk", session())
    assert here.trips == 1
    sessions = MemberSessions(SEALER, there, lambda: 200.0)
    found = await sessions.load("desk", HOST)
    assert found is not None
    assert there.trips == 2
    assert await sessions.load("desk", HOST) is found
    assert there.trips == 2
    assert await sessions.still("desk", found)
    assert there.trips == 3
    assert await sessions.load("none", HOST) is None
    assert there.trips == 4


async def test_a_log_out_that_redis_did_not_get_is_said_with_what_is_said_next(
    redis: Server, shared_at: SharedAt
) -> None:
    shared = shared_at(redis, redisTimeout="5s")
    sessions = MemberSessions(SEALER, shared, lambda: 200.0)
    shared.away = True
    await sessions.end_all(session())
    await sessions.begin("desk", session(began=300.0))
    assert redis.ask("DBSIZE") == 0
    shared.away = False
    await sessions.begin("phone", session(began=300.0))
    assert len(keys(redis, "member-out")) == 1
    redis.ask("FLUSHALL")
    await sessions.begin("another", session(began=300.0))
    assert keys(redis, "member-out") == []  # said once
    await sessions.end_all(session())
    redis.ask("FLUSHALL")
    await sessions.begin("more", session(began=300.0))
    assert keys(redis, "member-out") == []


async def test_an_earlier_log_out_takes_no_later_one_back(redis: Server, shared_at: SharedAt) -> None:
    sessions = MemberSessions(SEALER, shared_at(redis, redisTimeout="5s"), lambda: 200.0)
    await sessions.begin("desk", session(began=250.0))
    sessions._out.put("3", 220.0)
    (mark,) = [sessions._out_key("3")]
    redis.ask("SET", mark, "100.0")
    assert await sessions.still("desk", session(began=250.0))
    assert not await sessions.still("desk", session(began=210.0))
    redis.ask("SET", mark, "230.0")
    assert await sessions.still("desk", session(began=250.0))
    assert sessions._out.get("3") == 230.0


async def test_who_logged_out_in_a_moment_that_nobody_can_read_logs_in_again(
    redis: Server, shared_at: SharedAt
) -> None:
    sessions = MemberSessions(SEALER, shared_at(redis, redisTimeout="5s"), lambda: 200.0)
    await sessions.begin("desk", session())
    redis.ask("SET", sessions._out_key("3"), "yesterday")
    assert not await sessions.still("desk", session())
    assert await sessions.load("desk", HOST) is None


async def test_a_record_of_another_version_is_no_session(redis: Server, shared_at: SharedAt) -> None:
    sessions = MemberSessions(SEALER, shared_at(redis, redisTimeout="5s"), lambda: 200.0)
    await sessions.begin("desk", session())
    (name,) = keys(redis, "member")
    redis.ask("SET", name, SEALER.seal(name, {"host": HOST, "more": 1}))
    assert not await sessions.still("desk", session())
    assert sessions.peek("desk", HOST) is None


# --- records of one use, one by one -----------------------------------------------------------------------------------


async def test_a_record_is_taken_until_its_life_is_over() -> None:
    now = [0.0]
    kept = one_use(None, lambda: now[0])
    for id in ("one", "two"):
        await kept.put(id, {"a": 1}, "192.0.2.7")
    now[0] = 599.9
    assert await kept.take("one") == {"a": 1}
    now[0] = 600.0
    assert await kept.take("two") is None
    assert len(kept) == 0
    assert kept._parties == {}


async def test_the_oldest_of_a_client_network_gives_way_and_then_that_of_all() -> None:
    kept = OneUse("login", 600, SEALER, None, most=4, most_each=2, clock=lambda: 0.0)
    for id, party in (("a1", "192.0.2.1"), ("b1", "192.0.2.2"), ("a2", "192.0.2.1"), ("a3", "192.0.2.1")):
        await kept.put(id, {}, party)
    assert [id for id in ("a1", "b1", "a2", "a3") if id in kept._put] == ["b1", "a2", "a3"]
    await kept.put("c1", {}, "192.0.2.3")
    assert len(kept) == 4
    await kept.put("d1", {}, "192.0.2.4")
    assert list(kept._put) == ["a2", "a3", "c1", "d1"]


async def test_a_record_stands_in_redis_for_its_life_and_is_not_here_then(redis: Server, shared_at: SharedAt) -> None:
    shared = shared_at(redis, redisTimeout="5s")
    kept = one_use(shared)
    await kept.put("id", {"a": 1}, "192.0.2.7")
    assert redis.ask("TTL", "~pages:login:id") == 600
    assert shared.trips == 1
    redis.ask("DEL", "~pages:login:id")
    assert await kept.take("id") is None
    assert shared.trips == 2
    shared.away = True
    await kept.put("here", {"a": 2}, "192.0.2.7")
    assert await kept.take("here") == {"a": 2}
    assert shared.trips == 2


async def test_a_record_of_a_wrong_kind_is_none(redis: Server, shared_at: SharedAt) -> None:
    redis.ask("LPUSH", "~pages:login:id", "x")
    assert await one_use(shared_at(redis, redisTimeout="5s")).take("id") is None
