# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The circuit breaker by a clock of the test's own, and in front of a server that comes and goes."""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from resp import AuthenticationError, Breaker, BreakerOpen, Client, ConnectionLost, InvalidArgument
from tests.clock import Clock
from tests.ports import free_port
from tests.resp.servers import Server
from tests.waiting import wait_until


def opened(clock: Clock, **options: Any) -> Breaker:
    breaker = Breaker(3, 1.0, 8.0, clock=clock, **options)
    for _ in range(3):
        assert breaker.before() is False
        breaker.failure()
    return breaker


def test_a_fork_while_a_probe_is_under_way_leaves_the_child_a_breaker_that_lets_one_go() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1.01
    assert breaker.before() is True
    with breaker._lock:  # as if another thread were in it, which the child has not
        child = os.fork()
        if not child:
            good = False
            try:
                good = breaker._lock.acquire(timeout=0)
                breaker._lock.release()
                good = good and breaker.before() is True
            finally:
                os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert breaker.state == "half-open"


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    breaker = Breaker(3, 1.0)
    for _ in range(5):
        breaker.before()
        breaker.failure()
        breaker.failure()
        assert breaker.state == "closed"
        breaker.success()
        assert breaker.calm
    for _ in range(3):
        breaker.failure()
    assert breaker.state == "open"
    with pytest.raises(BreakerOpen) as caught:
        breaker.before()
    assert 0 < caught.value.retry_after <= 1.0


def test_after_the_pause_one_probe_goes_and_the_others_wait_for_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1.01
    assert breaker.before() is True
    assert breaker.state == "half-open"
    for _ in range(3):
        with pytest.raises(BreakerOpen):
            breaker.before()
    breaker.success()
    assert breaker.state == "closed"
    assert breaker.before() is False


def test_every_failed_probe_doubles_the_pause_up_to_its_limit() -> None:
    clock = Clock()
    breaker = opened(clock)
    pauses = []
    for _ in range(6):
        with pytest.raises(BreakerOpen) as caught:
            breaker.before()
        pauses.append(caught.value.retry_after)
        clock.now += pauses[-1] + 0.001
        assert breaker.before()
        breaker.failure()
    for pause, full in zip(pauses, [1, 2, 4, 8, 8, 8]):
        assert 0.8 * full <= pause <= full
    breaker.success()
    for _ in range(3):
        breaker.failure()
    with pytest.raises(BreakerOpen) as caught:
        breaker.before()
    assert caught.value.retry_after <= 1.0, "a success starts the pauses over"


def test_a_probe_that_never_returns_is_given_up() -> None:
    clock = Clock()
    breaker = opened(clock, probe_time=5.0)
    clock.now += 1.01
    assert breaker.before()
    clock.now += 4.9
    with pytest.raises(BreakerOpen):
        breaker.before()
    clock.now += 0.2
    assert breaker.before()


def test_a_probe_that_was_interrupted_lets_another_go() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1.01
    assert breaker.before()
    breaker.abandon()
    assert breaker.before()


def test_an_answer_that_was_under_way_closes_it() -> None:
    breaker = opened(Clock())
    breaker.success()
    assert breaker.state == "closed"


def test_failures_that_were_under_way_do_not_prolong_the_pause() -> None:
    clock = Clock()
    breaker = opened(clock)
    for _ in range(50):
        breaker.failure()
    clock.now += 1.01
    assert breaker.before()


@pytest.mark.parametrize("options", [(0,), (True,), (3, 0.0), (3, -1.0), (3, 5.0, 1.0), ("3",)], ids=str)
def test_impossible_settings_are_refused(options: Any) -> None:
    with pytest.raises(InvalidArgument):
        Breaker(*options)


def test_while_the_server_is_away_calls_fail_in_microseconds_and_come_back_by_themselves(
    new_valkey: Callable[..., Server],
) -> None:
    server = new_valkey()
    with Client(server.host, server.port, breaker=Breaker(3, 0.2, 0.4)) as client:
        client.set("key", "value")
        server.kill()
        failed = 0
        while client.stats().breaker != "open":
            with pytest.raises(ConnectionLost):
                client.get("key")
            failed += 1
        assert failed <= 4
        times = []
        for _ in range(200):
            began = time.perf_counter()
            try:
                client.get("key")
            except (BreakerOpen, ConnectionLost):
                times.append(time.perf_counter() - began)
        assert sorted(times)[100] < 0.001
        server.restart()

        def works() -> bool:
            try:
                return client.ping() is True
            except BreakerOpen:
                return False

        wait_until(works)
        assert client.stats().breaker == "closed"


def test_only_one_thread_at_a_time_asks_a_server_that_is_away() -> None:
    attempts = []

    class Counted(Breaker):
        def before(self) -> bool:
            probe = super().before()
            if probe:
                attempts.append(threading.get_ident())
            return probe

    with Client("127.0.0.1", free_port(), breaker=Counted(1, 0.3, 0.3)) as client:
        barrier = threading.Barrier(8)

        def work() -> None:
            barrier.wait()
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                with pytest.raises((ConnectionLost, BreakerOpen)):
                    client.get("key")

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 1 <= len(attempts) <= 3


def test_wrong_credentials_open_it_too(new_valkey: Callable[..., Server]) -> None:
    server = new_valkey(password="right")
    with Client(server.host, server.port, password="wrong") as client:
        for _ in range(3):
            with pytest.raises(AuthenticationError):
                client.ping()
        with pytest.raises(BreakerOpen):
            client.ping()


def test_errors_of_commands_do_not_open_it(valkey: Server) -> None:
    with Client(valkey.host, valkey.port) as client:
        for _ in range(10):
            with pytest.raises(Exception, match="unknown command"):
                client.execute("NO-SUCH-COMMAND")
        assert client.stats().breaker == "closed"


def test_it_can_be_turned_off() -> None:
    with Client("127.0.0.1", free_port(), breaker=False) as client:
        for _ in range(10):
            with pytest.raises(ConnectionLost):
                client.ping()
        assert client.stats().breaker == "off"
