# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`Poller`: one thread that does a piece of work when asked, and how many rounds come of how many questions."""

import gc
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from resp import ConnectionLost
from resp.listening import Line
from resp.poller import Poller
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

    def open_line(self) -> Line | None:
        if not self.ears:
            return None
        connection, peer = joined()
        self.peers.append(peer)
        self.lines.append(Line(connection))
        return self.lines[-1]

    def is_hint(self, item: Any) -> bool:
        self.heard.append(item)
        return bool(item == b"+switch")


@pytest.fixture
def work() -> Iterator[Work]:
    made = Work()
    yield made
    made.go.set()


def poller_of(work: Work, **options: Any) -> Poller:
    return Poller(work.one, "resp-test", **{"every": FAR, "doubtful_every": FAR, **options})


def wait_for_lines(poller: Poller, work: Work, count: int) -> None:
    """Until so many were opened; the thread looks when it is woken, or now and then."""

    def there() -> bool:
        poller._waker.wake()
        return len(work.peers) == count

    wait_until(there)


def soon() -> float:
    return time.monotonic() + 30


def test_who_waits_for_what_does_not_come_waits_no_longer_than_he_said(work: Work) -> None:
    work.go.clear()
    poller = poller_of(work)
    waiting = threading.Thread(target=poller.wait, args=(time.monotonic() + 0.02,), daemon=True)
    waiting.start()
    waiting.join(20)
    assert (waiting.is_alive(), work.done) == (False, 0)
    work.go.set()
    poller.close()


def test_who_waits_gets_a_round_that_began_after_he_asked(work: Work) -> None:
    poller = poller_of(work)
    assert poller.doubt
    poller.wait(soon())
    assert (work.done, poller.doubt, poller.error) == (1, False, None)
    work.go.clear()
    poller.suspect()
    wait_until(lambda: work.begun == 2)
    waiters = [threading.Thread(target=poller.wait, args=(soon(),)) for _ in range(20)]
    for waiter in waiters:
        waiter.start()
    wait_until(lambda: poller._wanted == 3)
    assert all(waiter.is_alive() for waiter in waiters)
    work.go.set()
    for waiter in waiters:
        waiter.join(10)
    wait_until(lambda: not poller._working and poller._done >= 3)
    assert work.done <= 4, "twenty who asked together cause one round more, or two"
    poller.close()


def test_nobody_waits_longer_than_he_wants_to(work: Work) -> None:
    poller = poller_of(work)
    work.go.clear()
    poller.wait(time.monotonic() - 1)
    assert work.done == 0
    work.go.set()
    poller.close()


def test_a_round_that_came_to_nothing_leaves_doubt_and_the_reason(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    poller = poller_of(work)
    work.failures = [ConnectionLost("away"), KeyError("ours")]
    poller.wait(soon())
    assert (poller.doubt, str(poller.error), caplog.text) == (True, "away", "")
    assert poller.error is not None
    assert poller.error.__traceback__ is None
    poller.wait(soon())
    assert (poller.doubt, str(poller.error)) == (True, "resp-test failed (KeyError)")
    assert isinstance(poller.error, ConnectionLost)
    assert "resp-test failed" in caplog.text
    poller.wait(soon())
    assert [poller.doubt, poller.error, work.done] == [False, None, 3]
    poller.close()


def test_a_suspicion_is_one_round_and_no_more_while_it_is_in_doubt(work: Work) -> None:
    poller = poller_of(work)
    poller.wait(soon())
    work.failures = [ConnectionLost("away")]
    poller.suspect()
    wait_until(lambda: poller._done == 2)
    assert poller.doubt
    for _ in range(10):
        poller.suspect()
    assert poller._wanted == 2
    poller.wait(soon())
    assert (work.done, poller.doubt) == (3, False)
    poller.close()


@pytest.mark.parametrize(("failures", "options"), [(0, {"every": 0.01}), (9, {"doubtful_every": 0.01})])
def test_rounds_come_by_themselves_quickly_only_while_in_doubt(
    work: Work, failures: int, options: dict[str, float]
) -> None:
    work.failures = [ConnectionLost("away")] * failures
    poller = poller_of(work, **options)
    poller.start()
    poller.start()
    wait_until(lambda: work.done == failures + 1 if failures else work.done > 3)
    if failures:
        wait_until(lambda: not poller.doubt)
        assert work.done == failures + 1
    assert len([thread for thread in threading.enumerate() if thread.name == "resp-test"]) == 1
    poller.close()


def test_the_time_of_the_next_round_is_about_that_of_its_kind(work: Work) -> None:
    poller = poller_of(work, every=100.0, doubtful_every=1000.0)
    due = poller._one() - time.monotonic()
    assert 79 < due < 121
    work.failures = [ConnectionLost("away")]
    due = poller._one() - time.monotonic()
    assert 799 < due < 1201
    poller.close()


def test_closing_ends_the_thread_and_every_wait(work: Work) -> None:
    poller = poller_of(work)
    poller.wait(soon())
    thread, waker = poller._thread, poller._waker
    work.go.clear()
    waiter = threading.Thread(target=poller.wait, args=(soon(),))
    waiter.start()
    wait_until(lambda: work.begun == 2)
    poller.close()
    waiter.join(10)
    assert not waiter.is_alive()
    work.go.set()
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()
    assert waker.fileno() == -1
    poller.suspect()
    poller.wait(soon())
    assert work.done == 2


def test_one_that_never_began_is_closed_and_begins_no_more(work: Work) -> None:
    poller = poller_of(work)
    poller.close()
    assert poller._waker.fileno() == -1
    poller.start()
    poller.wait(soon())
    assert (poller._thread, work.done) == (None, 0)


def test_the_thread_ends_with_the_last_who_knows_it(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resp.poller._SILENCE", FAR)  # at once, not when it looks the next time
    poller = poller_of(work)
    unused = poller_of(work)
    poller.wait(soon())
    thread, wakers = poller._thread, [poller._waker, unused._waker]
    assert thread is not None
    del poller, unused
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
    assert [waker.fileno() for waker in wakers] == [-1, -1]


def test_the_thread_ends_with_the_one_it_works_for() -> None:
    work = Work()
    poller = poller_of(work)
    poller.wait(soon())
    thread = poller._thread
    assert thread is not None
    del work
    gc.collect()

    def ended() -> bool:
        poller._waker.wake()
        return not thread.is_alive()

    wait_until(ended)


# ---- a line to listen to ---------------------------------------------------------------------------------------------


def test_what_is_heard_over_the_line_is_a_round_only_if_it_is_a_reason(work: Work) -> None:
    poller = poller_of(work, open_line=work.open_line, is_hint=work.is_hint)
    work.failures = [ConnectionLost("away")]
    poller.wait(soon())
    assert work.peers == [], "while in doubt there is nothing to listen to"
    poller.wait(soon())
    wait_for_lines(poller, work, 1)
    work.peers[0].send(b"+nothing\r\n")
    wait_until(lambda: work.heard == [b"nothing"])
    assert work.done == 2
    work.peers[0].send(b"$7\r\n+switch\r\n")
    wait_until(lambda: work.done == 3)
    assert len(work.peers) == 1
    poller.close()
    wait_until(lambda: work.lines[0].fileno() == -1)


def test_a_line_that_is_lost_is_opened_again(work: Work) -> None:
    poller = poller_of(work, open_line=work.open_line, is_hint=work.is_hint)
    poller.wait(soon())
    wait_for_lines(poller, work, 1)
    work.peers[0].sock.close()
    wait_for_lines(poller, work, 2)
    assert work.lines[0].fileno() == -1
    assert work.done == 1
    poller.close()


def test_where_there_is_no_line_to_be_had_rounds_go_on(work: Work) -> None:
    work.ears = False
    poller = poller_of(work, open_line=work.open_line)
    for _ in range(2):
        poller.wait(soon())
    assert work.done == 2
    poller.close()


# ---- forks -----------------------------------------------------------------------------------------------------------


def test_the_child_of_a_fork_begins_anew(work: Work) -> None:
    poller = poller_of(work)
    poller.wait(soon())
    waker = poller._waker
    with poller._condition:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert waker.fileno() == -1
                assert (poller._thread, poller.doubt, poller._done, poller._wanted) == (None, True, 0, 0)
                poller.wait(soon())
                assert (work.done, poller.doubt) == (2, False)
                code = 0
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    poller.wait(soon())
    assert work.done == 2
    poller.close()
