# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`Script`: one round trip, whether or not the server knows it. `Lock`: one holder, and honest about its end."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from resp import Client, InvalidArgument, LockError, LockNotOwned, NoScript, ServerError
from resp.commands.locks import Lock
from tests.resp.servers import Server
from tests.waiting import wait_until

ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


@pytest.fixture(params=[(3, False), (2, True)], ids=["RESP3", "RESP2-str"])
def client(request: pytest.FixtureRequest, real_server: Server) -> Iterator[Any]:
    protocol, decode = request.param
    with Client(real_server.host, real_server.port, protocol=protocol, decode=decode) as made:
        yield made


# ---- scripts ---------------------------------------------------------------------------------------------------------


def test_a_script_is_called_like_a_function(client: Any) -> None:
    add = client.register_script(ADD)
    assert add(keys=["n"], args=[2]) == 2
    assert add(["n"], (3,)) == 5
    assert client.register_script(ADD.encode()).sha == add.sha == client.script_load(ADD)


def test_a_server_that_forgot_a_script_gets_it_again_and_runs_it_once(client: Any) -> None:
    add = client.register_script(ADD)
    for expected in (1, 2):
        client.script_flush()
        with pytest.raises(NoScript):
            client.evalsha(add.sha, 1, "n", 1)
        assert add(["n"], [1]) == expected
    assert client.evalsha(add.sha, 1, "n", 1) == 3


def test_a_known_script_is_not_sent_again(real_server: Server) -> None:
    with Client(real_server.host, real_server.port) as client:
        add = client.register_script(ADD)
        add(["n"], [1])
        client.config_resetstat()
        add(["n"], [1])
        stats = client.info("commandstats")
        assert stats["cmdstat_evalsha"]["calls"] == 1
        assert "cmdstat_eval" not in stats


def test_a_script_runs_in_a_pipeline_on_a_server_that_does_not_know_it(client: Any) -> None:
    add = client.register_script(ADD)
    client.script_flush()
    pipe = client.pipeline().set("n", 1)
    add(["n"], [4], client=pipe)
    assert pipe.get("n").execute() == [True, 5, "5" if client._decode else b"5"]
    queue = client.transaction()
    add(["n"], [1], client=queue)
    assert queue.execute() == [6]


def test_an_error_of_the_script_itself_is_raised_and_not_repeated(client: Any) -> None:
    fail = client.register_script("redis.call('INCR', KEYS[1]) return redis.error_reply('MINE no')")
    with pytest.raises(ServerError) as caught:
        fail(["n"])
    assert caught.value.code == "MINE"
    assert int(client.get("n")) == 1


# ---- locks -----------------------------------------------------------------------------------------------------------


def test_a_lock_has_one_holder(client: Any) -> None:
    mine, other = client.lock("l", timeout=30), client.lock("l", timeout=30, blocking=False)
    assert mine.acquire() is True
    assert (mine.locked(), mine.owned(), other.owned()) == (True, True, False)
    assert other.acquire() is False
    with pytest.raises(LockError, match="not held here"):
        other.release()
    mine.release()
    assert mine.locked() is False
    assert other.acquire() is True
    other.release()


def test_a_block_that_cannot_have_the_lock_does_not_run(client: Any) -> None:
    ran = []
    with (
        client.lock("l", timeout=30),
        pytest.raises(LockError, match="in time"),
        client.lock("l", blocking_timeout=0.01, sleep=0.01),
    ):
        ran.append(1)
    assert ran == []
    with client.lock("l", blocking=False):
        ran.append(2)
    assert ran == [2]
    assert client.exists("l") == 0


def test_who_comes_too_late_does_not_give_back_what_is_anothers(client: Any) -> None:
    late = client.lock("l", timeout=0.01)
    late.acquire()
    wait_until(lambda: not late.locked(), what="the end of the lease")
    other = client.lock("l", timeout=30)
    assert other.acquire(blocking=False)
    with pytest.raises(LockNotOwned):
        late.release()
    with pytest.raises(LockError):
        late.extend(5)
    assert other.owned()
    other.release()


def test_the_end_of_a_lost_lock_can_be_a_line_in_the_log(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with client.lock("l", timeout=30, raise_on_release_error=False):
        client.delete("l")
    assert "had ended" in caplog.text
    for lock in (client.lock("l", timeout=30), Lock(client, "l", timeout=30)):
        with pytest.raises(LockNotOwned), lock:
            client.delete("l")


def test_a_lock_can_be_held_for_longer(client: Any) -> None:
    lock = client.lock("l", timeout=10)
    lock.acquire()
    assert lock.extend(100) is True
    assert 100_000 < client.pttl("l") <= 110_000
    assert lock.extend(5, replace_ttl=True) is True
    assert client.pttl("l") <= 5000
    assert lock.reacquire() is True
    assert 5000 < client.pttl("l") <= 10_000
    client.delete("l")
    for prolong in (lock.reacquire, lambda: lock.extend(1)):
        with pytest.raises(LockNotOwned):
            prolong()


def test_a_lock_without_an_end_cannot_be_extended_and_lives(client: Any) -> None:
    with client.lock("l") as lock:
        assert client.ttl("l") == -1
        for prolong in (lock.reacquire, lambda: lock.extend(1)):
            with pytest.raises(LockError, match="no timeout"):
                prolong()


def test_another_thread_sees_the_lock_as_its_own_only_if_it_is_to(client: Any) -> None:
    seen = []
    for thread_local in (True, False):
        lock = client.lock("l", timeout=30, thread_local=thread_local)
        lock.acquire()
        thread = threading.Thread(target=lambda lock=lock: seen.append(lock.owned()))
        thread.start()
        thread.join()
        lock.release()
    assert seen == [False, True]


def test_a_token_of_ones_own_can_be_given_back_elsewhere(client: Any) -> None:
    first, second = client.lock("l", timeout=30), client.lock("l", timeout=30)
    assert first.acquire(token="job 7")
    assert client.get("l") in ("job 7", b"job 7")
    with pytest.raises(LockError, match="already"):
        first.acquire(blocking=False)
    assert second.acquire(blocking=False, token="job 8") is False
    first.release()


def test_eight_threads_never_hold_a_lock_together(client: Any) -> None:
    held, most, turns = [0], [0], [0]

    def work() -> None:
        for _ in range(10):
            with client.lock("l", timeout=30, sleep=0.001):
                held[0] += 1
                most[0] = max(most[0], held[0])
                turns[0] += 1
                client.incr("n")
                held[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most[0], turns[0], int(client.get("n"))) == (1, 80, 80)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": "1"}, {"sleep": 0}, {"blocking_timeout": -1}])
def test_a_lock_with_impossible_times_is_refused(valkey: Server, options: dict[str, Any]) -> None:
    with Client(valkey.host, valkey.port) as client, pytest.raises(InvalidArgument):
        client.lock("l", **options)
