# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`Rounds`: one thread that does a piece of work when asked, and how many rounds come of how many questions."""

import gc
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from resp import ConnectionLost
from resp.listening import Line
from resp.rounds import Rounds
from tests.resp.scripted import Exchange, joined
from tests.waiting import wait_until

FAR = 600.0


class Work:
    """Counts rounds; each waits for `go` if it is cleared, and fails with the next of `failures`."""

    def __init__(self) -> None:
        self.done = 0
        self.begun = 0
        self.go = threading.Event()
        self.go.set()
        self.failures: list[Exception] = []
        self.peers: list[Exchange] = []
        self.heard: list[Any] = []
        self.ears = True
        self.lines: list[Line] = []

    def one(self) -> None:
        self.begun += 1
        assert self.go.wait(30)
        self.done += 1
        if self.failures:
            raise self.failures.pop(0)

    def ear(self) -> Line | None:
        if not self.ears:
            return None
        connection, peer = joined()
        self.peers.append(peer)
        self.lines.append(Line(connection))
        return self.lines[-1]

    def heed(self, item: Any) -> bool:
        self.heard.append(item)
        return bool(item == b"+switch")


@pytest.fixture
def work() -> Iterator[Work]:
    made = Work()
    yield made
    made.go.set()


def rounds_of(work: Work, **options: Any) -> Rounds:
    return Rounds(work.one, "resp-test", **{"every": FAR, "doubtful_every": FAR, **options})


def wait_for_lines(rounds: Rounds, work: Work, count: int) -> None:
    """Until so many were opened; the thread looks when it is woken, or now and then."""

    def there() -> bool:
        rounds._waker.ring()
        return len(work.peers) == count

    wait_until(there)


def soon() -> float:
    return time.monotonic() + 30


def test_who_waits_gets_a_round_that_began_after_he_asked(work: Work) -> None:
    rounds = rounds_of(work)
    assert rounds.doubt
    rounds.wait(soon())
    assert (work.done, rounds.doubt, rounds.error) == (1, False, None)
    work.go.clear()
    rounds.suspect()
    wait_until(lambda: work.begun == 2)
    waiters = [threading.Thread(target=rounds.wait, args=(soon(),)) for _ in range(20)]
    for waiter in waiters:
        waiter.start()
    wait_until(lambda: rounds._wanted == 3)
    assert all(waiter.is_alive() for waiter in waiters)
    work.go.set()
    for waiter in waiters:
        waiter.join(10)
    wait_until(lambda: not rounds._working and rounds._done >= 3)
    assert work.done <= 4, "twenty who asked together cause one round more, or two"
    rounds.close()


def test_nobody_waits_longer_than_he_wants_to(work: Work) -> None:
    rounds = rounds_of(work)
    work.go.clear()
    rounds.wait(time.monotonic() - 1)
    assert work.done == 0
    work.go.set()
    rounds.close()


def test_a_round_that_came_to_nothing_leaves_doubt_and_the_reason(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    rounds = rounds_of(work)
    work.failures = [ConnectionLost("away"), KeyError("ours")]
    rounds.wait(soon())
    assert (rounds.doubt, str(rounds.error), caplog.text) == (True, "away", "")
    assert rounds.error is not None
    assert rounds.error.__traceback__ is None
    rounds.wait(soon())
    assert (rounds.doubt, str(rounds.error)) == (True, "resp-test failed (KeyError)")
    assert isinstance(rounds.error, ConnectionLost)
    assert "resp-test failed" in caplog.text
    rounds.wait(soon())
    assert [rounds.doubt, rounds.error, work.done] == [False, None, 3]
    rounds.close()


def test_a_suspicion_is_one_round_and_no_more_while_it_is_in_doubt(work: Work) -> None:
    rounds = rounds_of(work)
    rounds.wait(soon())
    work.failures = [ConnectionLost("away")]
    rounds.suspect()
    wait_until(lambda: rounds._done == 2)
    assert rounds.doubt
    for _ in range(10):
        rounds.suspect()
    assert rounds._wanted == 2
    rounds.wait(soon())
    assert (work.done, rounds.doubt) == (3, False)
    rounds.close()


@pytest.mark.parametrize(("failures", "options"), [(0, {"every": 0.01}), (9, {"doubtful_every": 0.01})])
def test_rounds_come_by_themselves_quickly_only_while_in_doubt(
    work: Work, failures: int, options: dict[str, float]
) -> None:
    work.failures = [ConnectionLost("away")] * failures
    rounds = rounds_of(work, **options)
    rounds.start()
    rounds.start()
    wait_until(lambda: work.done == failures + 1 if failures else work.done > 3)
    if failures:
        wait_until(lambda: not rounds.doubt)
        assert work.done == failures + 1
    assert len([thread for thread in threading.enumerate() if thread.name == "resp-test"]) == 1
    rounds.close()


def test_the_time_of_the_next_round_is_about_that_of_its_kind(work: Work) -> None:
    rounds = rounds_of(work, every=100.0, doubtful_every=1000.0)
    due = rounds._one() - time.monotonic()
    assert 79 < due < 121
    work.failures = [ConnectionLost("away")]
    due = rounds._one() - time.monotonic()
    assert 799 < due < 1201
    rounds.close()


def test_closing_ends_the_thread_and_every_wait(work: Work) -> None:
    rounds = rounds_of(work)
    rounds.wait(soon())
    thread, waker = rounds._thread, rounds._waker
    work.go.clear()
    waiter = threading.Thread(target=rounds.wait, args=(soon(),))
    waiter.start()
    wait_until(lambda: work.begun == 2)
    rounds.close()
    waiter.join(10)
    assert not waiter.is_alive()
    work.go.set()
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()
    assert waker.fileno() == -1
    rounds.suspect()
    rounds.wait(soon())
    assert work.done == 2


def test_one_that_never_began_is_closed_and_begins_no_more(work: Work) -> None:
    rounds = rounds_of(work)
    rounds.close()
    assert rounds._waker.fileno() == -1
    rounds.start()
    rounds.wait(soon())
    assert (rounds._thread, work.done) == (None, 0)


def test_the_thread_ends_with_the_last_who_knows_it(work: Work) -> None:
    rounds = rounds_of(work)
    unused = rounds_of(work)
    rounds.wait(soon())
    thread, wakers = rounds._thread, [rounds._waker, unused._waker]
    assert thread is not None
    del rounds, unused
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
    assert [waker.fileno() for waker in wakers] == [-1, -1]


def test_the_thread_ends_with_the_one_it_works_for() -> None:
    work = Work()
    rounds = rounds_of(work)
    rounds.wait(soon())
    thread = rounds._thread
    assert thread is not None
    del work
    gc.collect()

    def ended() -> bool:
        rounds._waker.ring()
        return not thread.is_alive()

    wait_until(ended)


# ---- a line to listen to ---------------------------------------------------------------------------------------------


def test_what_is_heard_over_the_line_is_a_round_only_if_it_is_a_reason(work: Work) -> None:
    rounds = rounds_of(work, ear=work.ear, heed=work.heed)
    work.failures = [ConnectionLost("away")]
    rounds.wait(soon())
    assert work.peers == [], "while in doubt there is nothing to listen to"
    rounds.wait(soon())
    wait_for_lines(rounds, work, 1)
    work.peers[0].send(b"+nothing\r\n")
    wait_until(lambda: work.heard == [b"nothing"])
    assert work.done == 2
    work.peers[0].send(b"$7\r\n+switch\r\n")
    wait_until(lambda: work.done == 3)
    assert len(work.peers) == 1
    rounds.close()
    wait_until(lambda: work.lines[0].fileno() == -1)


def test_a_line_that_is_lost_is_opened_again(work: Work) -> None:
    rounds = rounds_of(work, ear=work.ear, heed=work.heed)
    rounds.wait(soon())
    wait_for_lines(rounds, work, 1)
    work.peers[0].sock.close()
    wait_for_lines(rounds, work, 2)
    assert work.lines[0].fileno() == -1
    assert work.done == 1
    rounds.close()


def test_where_there_is_no_line_to_be_had_rounds_go_on(work: Work) -> None:
    work.ears = False
    rounds = rounds_of(work, ear=work.ear)
    for _ in range(2):
        rounds.wait(soon())
    assert work.done == 2
    rounds.close()


# ---- forks -----------------------------------------------------------------------------------------------------------


def test_the_child_of_a_fork_begins_anew(work: Work) -> None:
    rounds = rounds_of(work)
    rounds.wait(soon())
    waker = rounds._waker
    with rounds._condition:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert waker.fileno() == -1
                assert (rounds._thread, rounds.doubt, rounds._done, rounds._wanted) == (None, True, 0, 0)
                rounds.wait(soon())
                assert (work.done, rounds.doubt) == (2, False)
                code = 0
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    rounds.wait(soon())
    assert work.done == 2
    rounds.close()
