# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`Script`: one round trip, whether or not the server knows it. `Lock`: one holder, and honest about its end."""

import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from resp import Client, InvalidArgument, LockError, LockNotOwned, NoScript, ServerError
from resp.commands import Commands
from resp.commands.locks import Lock
from resp.commands.scripting import Script
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


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": 0.0009},
        {"timeout": -1},
        {"timeout": "1"},
        {"timeout": True},
        {"sleep": 0},
        {"sleep": -0.1},
        {"sleep": True},
        {"sleep": "1"},
        {"blocking_timeout": -0.1},
        {"blocking_timeout": True},
        {"blocking_timeout": "1"},
    ],
)
def test_a_lock_with_impossible_times_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        Lock(Answering(), "l", **options)


# ---- a lock, word by word --------------------------------------------------------------------------------------------


class Answering(Commands[bytes]):
    """Answers each command with the next of `replies`; keeps its words."""

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)
        self.said: list[list[Any]] = []

    def _do(self, args: Any, convert: Any = None) -> Any:
        self.said.append(list(args))
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply if convert is None else convert(reply)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the lock sleeps, which takes no time."""
    slept: list[float] = []
    monkeypatch.setattr("resp.commands.locks.time.sleep", slept.append)
    return slept


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, ["SET", "l", b"me", "NX"]),
        ({"timeout": 1.5}, ["SET", "l", b"me", "PX", 1500, "NX"]),
        ({"timeout": 0.001}, ["SET", "l", b"me", "PX", 1, "NX"]),
    ],
)
def test_a_lock_is_taken_by_a_value_that_lives_as_long_as_it_may(options: dict[str, Any], said: list[Any]) -> None:
    client = Answering(b"OK")
    lock = Lock(client, "l", **options)
    assert repr(lock) == "<Lock 'l', not held here>"
    assert lock.acquire(token="me") is True
    assert client.said == [said]
    assert repr(lock) == "<Lock 'l', held here>"


def test_what_of_a_lock_is_not_said_is_as_the_guide_has_it() -> None:
    lock = Lock(Answering(b"OK", b"me"), "l")
    assert (lock.timeout, lock.sleep, lock.blocking, lock.blocking_timeout) == (None, 0.1, True, None)
    assert lock.raise_on_release_error is True
    lock.acquire(token="me")
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(repr(lock)))
    thread.start()
    thread.join()
    assert seen == ["<Lock 'l', not held here>"]
    assert lock not in {Lock(Answering(), "l")}, "two locks are two, whatever they are called"


def test_tokens_are_random_and_long_enough() -> None:
    client = Answering(b"OK", b"OK")
    for _ in range(2):
        Lock(client, "l").acquire()
    first, second = (said[2] for said in client.said)
    assert len(first) == len(second) == 32
    assert first != second


def test_who_waits_sleeps_about_as_long_as_is_said_and_tries_again(naps: list[float]) -> None:
    client = Answering(*[None] * 200, b"OK", *[None] * 200, b"OK")
    assert Lock(client, "l", sleep=0.5).acquire() is True
    assert len(naps) == 200
    assert 0.25 <= min(naps) < 0.28
    assert 0.47 < max(naps) <= 0.5
    naps.clear()
    assert Lock(client, "l", sleep=0.5).acquire(sleep=8.0) is True
    assert 4.0 <= min(naps) <= max(naps) <= 8.0


@pytest.mark.parametrize(
    ("options", "asked", "tries"),
    [
        ({"blocking": False}, {}, 1),
        ({}, {"blocking": False}, 1),
        ({"blocking_timeout": 0}, {}, 1),
        ({}, {"blocking_timeout": 0}, 1),
        ({"blocking_timeout": 0}, {"blocking_timeout": 600}, 3),
        ({"blocking": False}, {"blocking": True}, 3),
    ],
)
def test_who_does_not_wait_or_not_so_long_goes_without(
    naps: list[float], options: dict[str, Any], asked: dict[str, Any], tries: int
) -> None:
    client = Answering(None, None, b"OK")
    assert Lock(client, "l", **options).acquire(**asked) is (tries == 3)
    assert (len(client.said), len(naps)) == (tries, tries - 1)


def test_what_is_held_here_is_known_by_its_token() -> None:
    client = Answering(b"OK", b"me", "me", b"other", None, b"me")
    lock = Lock(client, "l", timeout=30)
    lock.acquire(token=b"me")
    assert [lock.owned() for _ in range(4)] == [True, True, False, False]
    with pytest.raises(LockError, match="already held here"):
        lock.acquire()
    assert [Lock(Answering(reply), "l").locked() for reply in (b"x", b"", None)] == [True, True, False]
    assert Lock(Answering(None), "l").owned() is False


def test_a_lock_whose_lease_ended_can_be_taken_again() -> None:
    client = Answering(b"OK", b"other", b"OK")
    lock = Lock(client, "l", timeout=30)
    lock.acquire()
    assert lock.acquire(token="again") is True
    assert client.said[1:] == [["GET", "l"], ["SET", "l", b"again", "PX", 30000, "NX"]]


def test_giving_back_and_holding_on_are_one_script_each() -> None:
    client = Answering(b"OK", 1, 1, 1, 1, 0)
    lock = Lock(client, "l", timeout=1.5)
    lock.acquire(token="me")
    assert lock.extend(2.5) is True
    assert lock.extend(2.5, True) is True
    assert lock.reacquire() is True
    lock.release()
    assert [said[2:] for said in client.said[1:]] == [
        [1, "l", b"me", 2500, 0],
        [1, "l", b"me", 2500, 1],
        [1, "l", b"me", 1500, 1],
        [1, "l", b"me"],
    ]
    assert {said[0] for said in client.said[1:]} == {"EVALSHA"}
    with pytest.raises(LockError, match="not held here"):
        lock.release()
    with pytest.raises(LockError, match="not held here"):
        lock.extend(1)


def test_what_had_ended_is_said_so_and_is_held_no_more() -> None:
    client = Answering(b"OK", 0, 0)
    lock = Lock(client, "l", timeout=1.5)
    lock.acquire(token="me")
    with pytest.raises(LockNotOwned, match="has ended"):
        lock.extend(1)
    with pytest.raises(LockNotOwned, match="had ended before"):
        lock.release()
    assert repr(lock).endswith("not held here>")


def test_a_lock_without_an_end_can_get_one_and_not_a_longer_one() -> None:
    client = Answering(b"OK", 1)
    lock = Lock(client, "l")
    lock.acquire(token="me")
    for prolong in (lock.reacquire, lambda: lock.extend(1)):
        with pytest.raises(LockError, match="no timeout"):
            prolong()
    assert lock.extend(1, replace_ttl=True) is True


def test_a_script_is_sent_whole_only_where_it_is_not_known() -> None:
    for text in ("return 'ü'", "return 'ü'".encode()):
        client = Answering(7, NoScript("NOSCRIPT", "no"), 8)
        script = Script(client, text)
        assert script.sha == hashlib.sha1("return 'ü'".encode()).hexdigest()
        assert repr(script) == f"<Script {script.sha}>"
        assert script(["k"], ["a"]) == 7
        assert script() == 8
        assert client.said == [["EVALSHA", script.sha, 1, "k", "a"], ["EVALSHA", script.sha, 0], ["EVAL", text, 0]]
        other = Answering(9)
        assert script(client=other) == 9
        assert len(client.said) == 3
        with pytest.raises(ServerError):
            Script(Answering(ServerError("MINE", "no")), text)()
