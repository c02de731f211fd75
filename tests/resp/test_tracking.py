# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Tracking against Valkey 9, Redis 7 and the emulated 5.0, over RESP3 pushes and RESP2 redirection.

The last test is what it is all for: a cache that follows the rule in `resp.tracking` never serves an old value, however
its connection is mistreated.
"""

import functools
import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resp.errors import AuthenticationError, ConnectionLost, InvalidArgument, NoPermission
from resp.tracking import State, Status, Tracking
from tests.resp.chaos import ChaosProxy, Fault, TlsFront
from tests.resp.conftest import Connect, TlsServer
from tests.resp.hearing import closing_all
from tests.resp.old_server import OldServer
from tests.resp.servers import Server
from tests.waiting import wait_until

QUICK: dict[str, Any] = {"silence": 0.2, "patience": 0.3, "retry_first": 0.02, "retry_most": 0.2}


class Listener:
    """Collects what tracking says, in one list: keys, None for everything, and states. `react` is called with keys."""

    def __init__(self) -> None:
        self.react: Callable[[bytes | None], object] = lambda _: None
        self.events: list[bytes | State | None] = []
        self.statuses: list[Status] = []

    def invalidated(self, key: bytes | None) -> None:
        self.events.append(key)
        self.react(key)

    def changed(self, status: Status) -> None:
        self.events.append(status.state)
        self.statuses.append(status)

    def heard(self, key: bytes) -> bool:
        return key in self.events


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def track(listener: Listener, connect: Connect) -> Iterator[Callable[..., Tracking]]:
    """`track(address, protocol=3, …)` starts a `Tracking` that reports to `listener`."""

    def make(address: tuple[str, int], *, protocol: int = 3, invalidated: Any = None, **options: Any) -> Tracking:
        how = {name: options.pop(name) for name in ("tls", "username", "password") if name in options}
        return Tracking(
            lambda: connect(address, protocol=protocol, **how),
            invalidated or listener.invalidated,
            changed=listener.changed,
            **{**QUICK, **options},
        )

    with closing_all(make) as start:
        yield start


PROTOCOLS = pytest.mark.parametrize("protocol", [3, 2])


@PROTOCOLS
def test_changes_of_keys_with_a_prefix_are_reported_and_others_are_not(
    real_server: Server, track: Callable[..., Tracking], listener: Listener, protocol: int
) -> None:
    tracking = track(real_server.address, protocol=protocol, prefixes=["a:", b"b:"])
    assert tracking.wait(5)
    with real_server.console() as console:
        console.ask("SET", "a:set", "1")
        console.ask("SET", "c:other", "1")
        console.ask("SET", "a:short", "1", "PX", 30)
        console.ask("MSET", "b:1", "1", "b:2", "2")
        console.ask("DEL", "b:1")
        console.ask("SELECT", "3")
        console.ask("SET", "b:elsewhere", "1")
    wait_until(lambda: listener.heard(b"b:elsewhere") and listener.events.count(b"a:short") == 2)
    assert {event for event in listener.events if isinstance(event, bytes)} == {
        b"a:set", b"a:short", b"b:1", b"b:2", b"b:elsewhere",
    }  # fmt: skip
    assert listener.events.count(b"b:1") == 2


@PROTOCOLS
def test_everything_comes_before_live_and_nothing_before_everything(
    real_server: Server, track: Callable[..., Tracking], listener: Listener, protocol: int
) -> None:
    stop = threading.Event()

    def write() -> None:
        with real_server.console() as console:
            while not stop.is_set():
                console.ask("SET", "a", "1")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        tracking = track(real_server.address, protocol=protocol)
        assert tracking.wait(5)
        wait_until(lambda: listener.events.count(b"a") > 10)
    finally:
        stop.set()
        writer.join()
    assert listener.events[:2] == [None, State.LIVE]
    assert tracking.generation == 1


@PROTOCOLS
@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
def test_a_flush_is_everything(
    real_server: Server, track: Callable[..., Tracking], listener: Listener, protocol: int, command: str
) -> None:
    tracking = track(real_server.address, protocol=protocol, prefixes=["a:"])
    assert tracking.wait(5)
    generation = tracking.generation
    real_server.ask(command)
    real_server.ask("SET", "a:1", "1")
    wait_until(lambda: listener.heard(b"a:1"))
    assert listener.events == [None, State.LIVE, None, b"a:1"]
    assert tracking.generation == generation + 1
    assert tracking.live


def test_becoming_a_replica_with_other_data_is_everything(
    new_server: Callable[..., Server], track: Callable[..., Tracking], listener: Listener
) -> None:
    master, server = new_server("--repl-diskless-sync-delay", "0"), new_server()
    master.ask("SET", "a", "other")
    server.ask("SET", "a", "own")
    tracking = track(server.address, patience=5.0)
    assert tracking.wait(5)
    server.ask("REPLICAOF", master.host, master.port)
    wait_until(lambda: server.ask("GET", "a") == b"other")
    wait_until(lambda: listener.events == [None, State.LIVE, None])
    master.ask("SET", "a", "new")
    wait_until(lambda: listener.heard(b"a"))


@PROTOCOLS
@pytest.mark.parametrize("trouble", ["cut", "reset"])
def test_a_gap_is_lost_then_everything_and_everything_again_before_live(
    real_server: Server,
    chaos: Callable[..., ChaosProxy],
    track: Callable[..., Tracking],
    listener: Listener,
    protocol: int,
    trouble: str,
) -> None:
    proxy = chaos(real_server.address)
    tracking = track(proxy.address, protocol=protocol)
    assert tracking.wait(5)
    before = tracking.status.since
    proxy.refuse()
    proxy.cut() if trouble == "cut" else proxy.reset()
    assert tracking.wait(5, State.LOST)
    assert tracking.lost
    assert not tracking.live
    assert tracking.status.since >= before
    assert isinstance(tracking.last_error, ConnectionLost)
    real_server.ask("SET", "missed", "1")
    proxy.listen()
    assert tracking.wait(5)
    real_server.ask("SET", "a", "1")
    wait_until(lambda: listener.heard(b"a"))
    assert listener.events == [None, State.LIVE, State.LOST, None, None, State.LIVE, b"a"]
    assert isinstance(tracking.last_error, ConnectionLost), "the last error is kept"


def again(tracking: Tracking, generation: int) -> bool:
    """Live after a gap that began in `generation`."""
    return tracking.live and tracking.generation >= generation + 2


@PROTOCOLS
def test_a_killed_connection_is_a_gap(
    real_server: Server, track: Callable[..., Tracking], listener: Listener, protocol: int
) -> None:
    # Over RESP2 either of the two connections may be the one that dies.
    tracking = track(real_server.address, protocol=protocol)
    for _ in range(4):
        assert tracking.wait(5)
        generation = tracking.generation
        client = random.choice(real_server.clients())
        real_server.ask("CLIENT", "KILL", "ID", client["id"])
        wait_until(functools.partial(again, tracking, generation))


@PROTOCOLS
def test_a_half_open_connection_is_noticed_in_time(
    valkey: Server, chaos: Callable[..., ChaosProxy], track: Callable[..., Tracking], protocol: int
) -> None:
    proxy = chaos(valkey.address)
    tracking = track(proxy.address, protocol=protocol)
    assert tracking.wait(5)
    started = time.monotonic()
    proxy.freeze()
    assert tracking.wait(5, State.LOST)
    assert time.monotonic() - started < 0.2 + 0.3 + 1.0
    assert "PING" in str(tracking.last_error)
    proxy.thaw()
    assert tracking.wait(10)


def test_a_paused_server_is_lost_and_a_resumed_one_is_live_again(
    new_valkey: Callable[..., Server], track: Callable[..., Tracking]
) -> None:
    server = new_valkey()
    tracking = track(server.address)
    assert tracking.wait(5)
    server.pause()
    try:
        assert tracking.wait(5, State.LOST)
    finally:
        server.resume()
    assert tracking.wait(10)


def test_a_quiet_connection_stays_live(valkey: Server, track: Callable[..., Tracking], listener: Listener) -> None:
    tracking = track(valkey.address, silence=0.05, patience=2.0)
    assert tracking.wait(5)
    pings = "cmdstat_ping:calls"
    wait_until(lambda: int(info_text(valkey).partition(pings + "=")[2].partition(",")[0] or 0) >= 5)
    assert listener.events == [None, State.LIVE]


def info_text(server: Server) -> str:
    text = server.ask("INFO", "commandstats")
    assert isinstance(text, bytes)
    return text.decode()


def test_a_restarted_server_is_tracked_again(new_server: Callable[..., Server], track: Callable[..., Tracking]) -> None:
    server = new_server()
    tracking = track(server.address)
    assert tracking.wait(5)
    server.kill()
    assert tracking.wait(5, State.LOST)
    server.start()
    assert tracking.wait(10)


def test_a_server_without_tracking_is_a_state_that_is_reported_once_and_tried_again(
    old_server: OldServer, track: Callable[..., Tracking], listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    tracking = track(old_server.address, retry_unsupported=0.05)
    assert tracking.wait(5, State.UNSUPPORTED)
    wait_until(lambda: old_server.calls("CLIENT") >= 10)
    assert tracking.unsupported
    assert not tracking.live
    assert not tracking.lost
    assert listener.events == [State.UNSUPPORTED]
    assert tracking.generation == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_server_that_learns_tracking_is_tracked(
    old_server: OldServer, new_valkey: Callable[..., Server], track: Callable[..., Tracking]
) -> None:
    tracking = track(old_server.address, retry_unsupported=0.05)
    assert tracking.wait(5, State.UNSUPPORTED)
    old_server.kill()
    new_valkey(port=old_server.port)
    assert tracking.wait(10)


def test_a_user_who_may_not_track_is_unsupported(valkey: Server, track: Callable[..., Tracking]) -> None:
    valkey.ask("ACL", "SETUSER", "plain", "on", ">sesame", "~*", "&*", "+@all", "-client|tracking")
    try:
        tracking = track(valkey.address, username="plain", password="sesame")
        assert tracking.wait(5, State.UNSUPPORTED)
        assert isinstance(tracking.status.error, NoPermission)
    finally:
        valkey.ask("ACL", "DELUSER", "plain")


def test_a_wrong_password_is_lost_with_its_reason_and_without_the_password(
    new_valkey: Callable[..., Server], track: Callable[..., Tracking], caplog: pytest.LogCaptureFixture
) -> None:
    server = new_valkey(password="sesame")
    tracking = track(server.address, password="hunter2-wrong")
    wait_until(lambda: isinstance(tracking.last_error, AuthenticationError))
    assert tracking.lost
    for text in (repr(tracking), repr(tracking.status), str(tracking.last_error), caplog.text):
        assert "hunter2" not in text
    server.ask("CONFIG", "SET", "requirepass", "hunter2-wrong")
    assert tracking.wait(10)


def test_a_callback_that_raises_is_told_everything_instead_and_ends_nothing(
    valkey: Server, track: Callable[..., Tracking], listener: Listener
) -> None:
    def fussy(key: bytes | None) -> None:
        if key == b"poison":
            raise SystemExit("a callback must not do this")

    listener.react = fussy
    tracking = track(valkey.address)
    assert tracking.wait(5)
    valkey.ask("SET", "poison", "1")
    valkey.ask("SET", "a", "1")
    wait_until(lambda: listener.heard(b"a"))
    assert listener.events == [None, State.LIVE, b"poison", None, b"a"]
    assert tracking.live


def test_tracking_is_not_live_until_everything_was_taken(
    valkey: Server, track: Callable[..., Tracking], listener: Listener
) -> None:
    refusals = iter([True, True])

    def reluctant(key: bytes | None) -> None:
        if key is None and next(refusals, False):
            raise RuntimeError("not now")

    listener.react = reluctant
    tracking = track(valkey.address)
    assert tracking.wait(5)
    assert listener.events == [None, None, None, State.LIVE]


def test_a_raising_state_callback_ends_nothing(valkey: Server, connect: Connect, listener: Listener) -> None:
    def fail(status: Status) -> None:
        raise ValueError(status)

    with Tracking(lambda: connect(valkey.address), listener.invalidated, changed=fail, **QUICK) as tracking:
        assert tracking.wait(5)
        valkey.ask("SET", "a", "1")
        wait_until(lambda: listener.heard(b"a"))


def test_a_slow_callback_is_not_taken_for_a_dead_server(
    valkey: Server, track: Callable[..., Tracking], listener: Listener
) -> None:
    def slow(key: bytes | None) -> None:
        if key == b"slow":
            time.sleep(0.8)  # longer than silence and patience together

    listener.react = slow
    tracking = track(valkey.address)
    assert tracking.wait(5)
    for _ in range(2):
        valkey.ask("SET", "slow", "1")
    valkey.ask("SET", "a", "1")
    wait_until(lambda: listener.heard(b"a"))
    assert State.LOST not in listener.events


@pytest.mark.parametrize(
    "prefixes",
    [["a", "ab"], ["ab", "a"], ["a", "a"], ["", "a"], [b"a:", "b", "a:x"], "a:", b"a:", [None], [True]],
)
def test_prefixes_that_overlap_or_are_none_are_refused(connect: Connect, prefixes: Any) -> None:
    with pytest.raises(InvalidArgument):
        Tracking(lambda: connect(("127.0.0.1", 1)), print, prefixes=prefixes)


def test_the_servers_agree_on_what_overlaps(real_server: Server) -> None:
    with real_server.console() as console:
        console.ask("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a:", "PREFIX", "b", "PREFIX", "ab")


@PROTOCOLS
def test_closing_is_quick_and_final(
    valkey: Server, track: Callable[..., Tracking], listener: Listener, protocol: int
) -> None:
    tracking = track(valkey.address, protocol=protocol, silence=60.0)
    assert tracking.wait(5)
    started = time.monotonic()
    tracking.close()
    assert time.monotonic() - started < 0.5
    assert tracking.status.state is State.CLOSED
    assert not tracking.live
    events = list(listener.events)
    valkey.ask("SET", "a", "1")
    wait_until(lambda: valkey.clients() == [])
    assert listener.events == events
    assert not [thread for thread in threading.enumerate() if thread.name == "resp-tracking"]
    tracking.start()
    assert tracking.wait(5), "a closed one may be started again"


def test_closing_inside_the_callback_does_not_wait_for_itself(valkey: Server, track: Callable[..., Tracking]) -> None:
    tracking: Tracking

    def stop(key: bytes | None) -> None:
        if key is not None:
            tracking.close()

    tracking = track(valkey.address, invalidated=stop)
    assert tracking.wait(5)
    valkey.ask("SET", "a", "1")
    assert tracking.wait(5, State.CLOSED)


def test_closing_while_the_server_is_away_is_quick(track: Callable[..., Tracking]) -> None:
    tracking = track(("127.0.0.1", 1), retry_first=60.0, retry_most=60.0)
    wait_until(lambda: tracking.last_error is not None)
    started = time.monotonic()
    tracking.close()
    assert time.monotonic() - started < 0.5


def test_attempts_to_connect_get_rarer(connect: Connect) -> None:
    attempts: list[float] = []

    def refuse() -> Any:
        attempts.append(time.monotonic())
        raise ConnectionLost("refused")

    options = {**QUICK, "retry_first": 0.02, "retry_most": 0.3}
    with Tracking(refuse, print, **options):
        wait_until(lambda: len(attempts) >= 7)
    gaps = [later - sooner for sooner, later in itertools.pairwise(attempts)]
    assert gaps[0] < 0.15
    assert all(gap >= 0.15 for gap in gaps[4:])


def test_a_server_that_only_accepts_is_not_stormed(
    valkey: Server, chaos: Callable[..., ChaosProxy], connect: Connect
) -> None:
    proxy = chaos(valkey.address, Fault("cut", after=200))
    with Tracking(lambda: connect(proxy.address), print, **{**QUICK, "retry_first": 0.1, "retry_most": 1.0}):
        wait_until(lambda: proxy.accepted >= 2)
        seen = proxy.accepted
        started = time.monotonic()
        wait_until(lambda: proxy.accepted >= seen + 3)
        assert time.monotonic() - started > 0.1


def test_two_starts_are_one(valkey: Server, track: Callable[..., Tracking]) -> None:
    before = set(threading.enumerate())
    tracking = track(valkey.address)
    tracking.start()
    assert tracking.wait(30)
    tracking.start()
    assert len([each for each in set(threading.enumerate()) - before if each.name == "resp-tracking"]) == 1


def test_the_child_of_a_fork_is_not_live_and_the_parent_stays_so(
    valkey: Server, track: Callable[..., Tracking], listener: Listener
) -> None:
    tracking = track(valkey.address)
    assert tracking.wait(5)
    child = os.fork()
    if child == 0:
        os._exit(0 if not tracking.live and "fork" in str(tracking.status.error) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    valkey.ask("SET", "a", "1")
    wait_until(lambda: listener.heard(b"a"))
    assert tracking.live


def test_tracking_works_over_tls(tls_valkey: TlsServer, track: Callable[..., Tracking], listener: Listener) -> None:
    tracking = track(tls_valkey.address, tls=tls_valkey.certificates.client_context())
    assert tracking.wait(5)
    tls_valkey.server.ask("SET", "a", "1")
    wait_until(lambda: listener.heard(b"a"))


def test_a_silent_tls_connection_is_noticed(
    valkey: Server,
    chaos: Callable[..., ChaosProxy],
    tls_front: Callable[..., TlsFront],
    tls_valkey: TlsServer,
    track: Callable[..., Tracking],
) -> None:
    proxy = chaos(valkey.address)
    front = tls_front(proxy.address)
    tracking = track(front.address, tls=tls_valkey.certificates.client_context())
    assert tracking.wait(5)
    proxy.freeze()
    assert tracking.wait(5, State.LOST)


class Cache:
    """The smallest cache that follows the rule of `resp.tracking`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entries: dict[bytes, tuple[int, int]] = {}
        self.dropped = 0

    def invalidated(self, key: bytes | None) -> None:
        with self.lock:
            self.dropped += 1
            if key is None:
                self.entries.clear()
            else:
                self.entries.pop(key, None)


@PROTOCOLS
def test_a_cache_that_follows_the_rule_never_serves_an_old_value(
    valkey: Server, chaos: Callable[..., ChaosProxy], track: Callable[..., Tracking], protocol: int
) -> None:
    """Values only grow. What the cache serves may lag by what is under way, but not by what was reported long ago."""
    cache = Cache()
    proxy = chaos(valkey.address)
    tracking = track(proxy.address, protocol=protocol, invalidated=cache.invalidated, prefixes=["n:"])
    assert tracking.wait(5)
    names = [b"n:%d" % number for number in range(5)]
    rng = random.Random(7)
    hits = 0
    with valkey.console() as reader, valkey.console() as writer:
        for step in range(1500):
            name = rng.choice(names)
            if rng.random() < 0.2:
                writer.ask("INCR", name)
            if step % 250 == 125:
                rng.choice([proxy.cut, proxy.reset])()
            with cache.lock:
                before, generation = cache.dropped, tracking.generation
                entry = cache.entries.get(name) if tracking.live else None
            if entry is not None and entry[0] == generation:
                hits += 1
                continue
            value = reader.ask("GET", name)
            with cache.lock:
                if tracking.live and cache.dropped == before and tracking.generation == generation:
                    cache.entries[name] = (generation, int(value) if isinstance(value, bytes) else 0)
        assert tracking.wait(5)
        # A last word that certainly came through: what is cached now must be what the server has.
        marker = b"n:last"
        cache.entries[marker] = (0, 0)
        writer.ask("SET", marker, 1)
        wait_until(lambda: marker not in cache.entries)
        for name, (_, cached) in cache.entries.items():
            assert int(reader.ask("GET", name) or 0) == cached  # type: ignore[arg-type]  # a number as bytes
    assert hits > 10  # it is a cache, not a look each time
