# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`Tracking` over pairs of sockets: how it is turned on, and what it makes of all that a server may say."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resp import Connection, ConnectionLost, InvalidArgument, RespError
from resp.listening import Upstream
from resp.tracking import State, Tracking, _Run, checked_prefixes
from tests.resp.hearing import Heard, closing_all
from tests.resp.scripted import Exchange, joined
from tests.resp.test_subscriber import push
from tests.waiting import wait_until

INVALIDATE = b"__redis__:invalidate"


class Place(Upstream):
    """A server that answers the commands of the set-up with `replies`, in order, and OK after them."""

    def __init__(self, *replies: bytes, protocol: int = 3) -> None:
        self.replies = list(replies)
        self.protocol = protocol
        self.failures: list[RespError] = []
        self.peers: list[Exchange] = []
        self.said: list[list[list[bytes]]] = []
        self.has_moved = False
        self.callbacks: list[Callable[[], None]] = []

    def connect(self) -> Connection:
        if self.failures:
            raise self.failures.pop(0)
        connection, peer = joined(protocol=self.protocol)
        self.has_moved = False
        commands: list[list[bytes]] = []
        self.said.append(commands)
        self.peers.append(peer)
        threading.Thread(target=self._serve, args=(peer, commands), daemon=True).start()
        return connection

    def _serve(self, peer: Exchange, commands: list[list[bytes]]) -> None:
        try:
            while True:
                command = peer.command()
                commands.append(command)
                if command == [b"PING"]:
                    peer.send(b"+PONG\r\n" if self.protocol == 3 else push(b"pong", b"", kind=b"*"))
                else:
                    peer.send(self.replies.pop(0) if self.replies else b"+OK\r\n")
        except OSError:
            return

    def moved(self) -> bool:
        return self.has_moved

    def on_moved(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def track(heard: Heard) -> Iterator[Callable[..., Tracking]]:
    """`track(upstream, …)` starts a `Tracking` that tells `heard`; it is never silent for too long."""

    def make(upstream: Any, **options: Any) -> Tracking:
        often = {"silence": 600.0, "patience": 600.0, "retry_first": 0.001, "retry_most": 0.002}
        return Tracking(upstream, heard.invalidated, changed=heard.changed, **{**often, **options})

    with closing_all(make) as start:
        yield start


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of each attempt that a pause was asked for; no pause takes any time."""
    asked: list[int] = []

    def backoff(attempt: int, first: float, most: float) -> float:
        asked.append(attempt)
        return 0.0

    monkeypatch.setattr("resp.tracking.backoff", backoff)
    return asked


# ---- turning it on ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, b"CLIENT TRACKING ON BCAST"),
        ({"prefixes": ["b", b"a:"]}, b"CLIENT TRACKING ON BCAST PREFIX a: PREFIX b"),
        ({"prefixes": [""]}, b"CLIENT TRACKING ON BCAST"),
        ({"noloop": True}, b"CLIENT TRACKING ON BCAST NOLOOP"),
        ({"prefixes": ["a"], "noloop": True}, b"CLIENT TRACKING ON BCAST PREFIX a NOLOOP"),
    ],
)
def test_tracking_is_turned_on_with_its_prefixes(
    track: Callable[..., Tracking], options: dict[str, Any], said: bytes
) -> None:
    place = Place()
    assert track(place, **options).wait(30)
    assert [[b" ".join(command) for command in commands] for commands in place.said] == [[said]]


def test_over_resp2_a_second_connection_asks_for_the_first_one(track: Callable[..., Tracking], heard: Heard) -> None:
    place = Place(b":77\r\n", push(b"subscribe", INVALIDATE, 1, kind=b"*"), protocol=2)
    assert track(place, prefixes=["a"]).wait(30)
    assert [[b" ".join(command) for command in commands] for commands in place.said] == [
        [b"CLIENT ID", b"SUBSCRIBE " + INVALIDATE],
        [b"CLIENT TRACKING ON REDIRECT 77 BCAST PREFIX a"],
    ]
    place.peers[0].send(b"*3\r\n$7\r\nmessage\r\n$20\r\n" + INVALIDATE + b"\r\n*1\r\n$1\r\nx\r\n")
    wait_until(lambda: b"x" in heard.events)
    place.peers[0].send(push(b"message", b"another", b"y", kind=b"*") + push(b"message", INVALIDATE, b"z", kind=b"*"))
    wait_until(lambda: b"z" in heard.events)
    assert heard.events == [None, State.LIVE, b"x", b"z"]


@pytest.mark.parametrize("prefixes", [[], [""], ["a", "b"], ["ab", "aa"], ["a:", "b:a:"]])
def test_prefixes_that_do_not_overlap_are_taken(prefixes: list[str]) -> None:
    assert checked_prefixes(prefixes) == tuple(sorted(each.encode() for each in prefixes if each))


def test_what_is_not_said_is_as_the_guide_has_it() -> None:
    tracking = Tracking(Place(), print)
    assert (tracking._silence, tracking._patience, tracking.lease) == (2.0, 2.0, 4.0)
    assert (tracking._retry_first, tracking._retry_most, tracking._retry_unsupported) == (0.05, 5.0, 300.0)
    assert (tracking.prefixes, tracking._noloop) == ((), False)


@pytest.mark.parametrize(
    ("prefixes", "said"),
    [
        ("a:", "a collection of prefixes, not one"),
        (bytearray(b"a"), "a collection of prefixes, not one"),
        (["a", "b", "ab"], "b'ab' begins with prefix b'a'"),
        (["", "a"], "b'a' begins with prefix b''"),
        (["a", "a"], "b'a' begins with prefix b'a'"),
    ],
)
def test_prefixes_that_servers_would_refuse_are_refused_with_the_reason(prefixes: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        Tracking(Place(), print, prefixes=prefixes)


# ---- what the server says --------------------------------------------------------------------------------------------


def test_invalidations_in_every_form_are_told_and_everything_else_is_passed_over(
    track: Callable[..., Tracking], heard: Heard
) -> None:
    place = Place()
    tracking = track(place)
    assert tracking.wait(30)
    said = [
        b">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        b">2\r\n$10\r\ninvalidate\r\n$1\r\nc\r\n",
        b">2\r\n$10\r\ninvalidate\r\n*0\r\n",
        b"*2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nn\r\n",
        b">1\r\n$10\r\ninvalidate\r\n",
        b">2\r\n$7\r\nmessage\r\n$1\r\nn\r\n",
        b"*2\r\n$21\r\ntracking-redir-broken\r\n$1\r\nn\r\n",
        push(b"message", INVALIDATE, b"n", b"n"),
        push(b"message", b"other", b"n"),
        push(b"pmessage", INVALIDATE, b"n"),
        b"+PONG\r\n",
        b"-LOADING it passes\r\n",
        b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nd\r\n",
    ]
    place.peers[0].send(b"".join(said))
    wait_until(lambda: b"d" in heard.events)
    assert heard.events == [None, State.LIVE, b"a", b"b", b"c", b"d"]
    generation = tracking.generation
    place.peers[0].send(b">2\r\n$10\r\ninvalidate\r\n_\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\ne\r\n")
    wait_until(lambda: b"e" in heard.events)
    assert heard.events[6:] == [None, b"e"]
    assert tracking.generation == generation + 1


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b">2\r\n$10\r\ninvalidate\r\n:7\r\n", "an invalidation without keys"),
        (b">2\r\n$21\r\ntracking-redir-broken\r\n:7\r\n", "the server lost the connection"),
        (b"-ERR something else\r\n", "something else"),
        (b"", "another server is the right one now"),
    ],
)
def test_trouble_is_lost_everything_then_everything_and_live_again(
    track: Callable[..., Tracking], heard: Heard, said: bytes, why: str
) -> None:
    place = Place()
    tracking = track(place)
    assert tracking.wait(30)
    if said:
        place.peers[0].send(said)
    else:
        place.has_moved = True
        place.callbacks[-1]()
    wait_until(lambda: len(heard.events) >= 6)
    assert heard.events == [None, State.LIVE, State.LOST, None, None, State.LIVE]
    assert why in str(tracking.last_error)
    assert (tracking.live, tracking.status.error, tracking.generation) == (True, None, 3)
    assert len(place.said) == 2
    assert place.peers[0].sock.recv(1) == b""


def test_a_refusal_is_unsupported_until_it_is_asked_again(
    track: Callable[..., Tracking], heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place(b"-ERR unknown subcommand\r\n", b"-ERR unknown subcommand\r\n")
    tracking = track(place, retry_unsupported=0.01)
    assert tracking.wait(30)
    assert heard.events == [State.UNSUPPORTED, None, State.LIVE]
    assert len(place.said) == 3
    assert "unknown subcommand" in str(tracking.last_error)
    assert caplog.text.count("does not support CLIENT TRACKING") == 1


def test_a_server_that_refuses_is_asked_again_seldom(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    tracking = Tracking(Place(b"-ERR unknown\r\n"), heard.invalidated, retry_unsupported=100.0)

    def paused(run: Any, seconds: float) -> None:
        pauses.append(seconds)
        run.closing = True

    monkeypatch.setattr(tracking, "_pause", paused)
    tracking.start()
    wait_until(lambda: pauses)
    assert 80 <= pauses[0] <= 100
    tracking.close()


@pytest.mark.parametrize("reply", [b"-LOADING the dataset\r\n", b"-NOAUTH first\r\n", b"-WRONGPASS no\r\n"])
def test_trouble_that_passes_is_no_refusal(track: Callable[..., Tracking], heard: Heard, reply: bytes) -> None:
    place = Place(reply)
    tracking = track(place)
    assert tracking.wait(30)
    assert heard.events == [None, State.LIVE]
    assert len(place.said) == 2
    assert reply.split()[0][1:].decode() in str(tracking.last_error)


def test_a_silent_server_is_asked_and_stays_live_while_it_answers(track: Callable[..., Tracking], heard: Heard) -> None:
    place = Place()
    tracking = track(place, silence=0.005)
    assert tracking.lease == 600.005
    assert tracking.wait(30)
    wait_until(lambda: len(place.said[0]) > 3)
    assert place.said[0][1:4] == [[b"PING"]] * 3
    assert heard.events == [None, State.LIVE]


def test_a_key_that_the_callback_does_not_take_becomes_everything_and_then_the_end(
    track: Callable[..., Tracking], heard: Heard
) -> None:
    place = Place()
    assert track(place).wait(30)
    heard.refused = [b"a"]
    invalid = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\n%b\r\n"
    place.peers[0].send(invalid % b"a")
    wait_until(lambda: len(heard.events) >= 4)
    assert heard.events[2:] == [b"a", None]
    heard.refused = [b"b", None]
    place.peers[0].send(invalid % b"b")
    wait_until(lambda: len(heard.events) >= 10)
    assert heard.events[4:] == [b"b", None, State.LOST, None, None, State.LIVE]


def test_a_fault_of_ours_is_lost_too(
    track: Callable[..., Tracking], heard: Heard, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place()
    tracking = track(place)
    assert tracking.wait(30)
    faults = [KeyError("ours")]

    def moved() -> bool:
        if faults:
            raise faults.pop()
        return False

    monkeypatch.setattr(place, "moved", moved)
    place.callbacks[-1]()
    wait_until(lambda: len(heard.events) >= 6)
    assert heard.events[2:] == [State.LOST, None, None, State.LIVE]
    assert str(tracking.last_error) == "tracking failed (KeyError)"
    assert "tracking failed" in caplog.text


# ---- coming back -----------------------------------------------------------------------------------------------------


def test_attempts_get_rarer_and_begin_anew_after_a_connection_that_held(
    track: Callable[..., Tracking], attempts: list[int]
) -> None:
    place = Place()
    place.failures = [ConnectionLost("refused") for _ in range(4)]
    tracking = track(place, retry_first=1.0, retry_most=600.0)
    assert tracking.wait(30)
    assert attempts == [0, 1, 2, 3]
    place.peers[0].sock.shutdown(2)
    wait_until(lambda: len(place.peers) == 2 and tracking.live)
    assert attempts == [0, 1, 2, 3, 4], "it did not hold for long"


def test_a_pause_ends_with_its_time_or_when_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    tracking = Tracking(Place(), print)
    run = _Run()

    def waited(lines: object, waker: object, seconds: float) -> None:
        waits.append(seconds)
        run.closing = len(waits) == 3

    monkeypatch.setattr("resp.tracking.wait", waited)
    tracking._pause(run, 0.0)
    assert waits == []
    tracking._pause(run, 500.0)
    assert len(waits) == 3, "who is woken for nothing waits for the rest"
    assert all(400 < seconds <= 500 for seconds in waits)
    tracking._pause(run, 500.0)
    assert len(waits) == 3
    run.waker.close()


def test_the_first_loss_of_one_that_held_is_no_reason_to_wait(
    track: Callable[..., Tracking], attempts: list[int]
) -> None:
    place = Place()
    tracking = track(place, retry_first=0.0, retry_most=0.0)
    for number in range(3):
        wait_until(lambda: len(place.peers) == number + 1 and tracking.live)  # noqa: B023  # called at once
        place.peers[number].sock.shutdown(2)
    wait_until(lambda: len(place.peers) == 4 and tracking.live)
    assert attempts == []


# ---- beginning and end -----------------------------------------------------------------------------------------------


def test_starting_twice_is_starting_once_and_closing_tells_nothing(
    track: Callable[..., Tracking], heard: Heard
) -> None:
    place = Place()
    tracking = track(place)
    tracking.start()
    assert tracking.wait(30)
    tracking.start()
    assert tracking.live
    run = tracking._run_now
    assert run is not None
    assert run.thread.daemon
    tracking.close()
    assert not run.thread.is_alive()
    assert run.waker.fileno() == -1
    assert tracking.status.state is State.CLOSED
    assert len(place.peers) == 1
    assert place.peers[0].sock.fileno() == -1 or place.peers[0].sock.recv(1) == b""
    tracking.close()
    assert heard.events == [None, State.LIVE]
    assert repr(tracking) == "<Tracking closed>"


def test_one_says_of_itself_what_it_is(track: Callable[..., Tracking]) -> None:
    place = Place()
    place.failures = [ConnectionLost("refused")]
    tracking = Tracking(place, print, retry_first=600.0, retry_most=600.0)
    assert (tracking.live, tracking.lost, tracking.unsupported, tracking.generation) == (False, False, False, 0)
    with tracking:
        assert tracking.wait(30, State.LOST)
        wait_until(lambda: tracking.last_error)
        assert (tracking.live, tracking.lost, tracking.unsupported) == (False, True, False)
        assert str(tracking.status.error) == "refused"
        assert tracking.wait(0.0) is False
        since = tracking.status.since
        assert abs(since - time.time()) < 60
    assert repr(tracking) == "<Tracking closed>"
    assert tracking.status.error is None
    assert str(tracking.last_error) == "refused"


# ---- forks -----------------------------------------------------------------------------------------------------------


def test_the_child_of_a_fork_is_closed_and_may_start_again(track: Callable[..., Tracking], heard: Heard) -> None:
    place = Place()
    tracking = track(place)
    idle = Tracking(place, print)
    assert tracking.wait(30)
    run, [line], generation = tracking._run_now, tracking._lines, tracking.generation
    assert run is not None
    with tracking._condition:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert tracking.status.state is State.CLOSED
                assert tracking.generation == generation + 1
                assert str(tracking.status.error) == "the process forked: call start() again"
                assert (line.fileno(), run.waker.fileno(), run.closing) == (-1, -1, True)
                assert (tracking._lines, tracking._run_now) == ((), None)
                assert (idle.status.state, idle.status.error, idle.generation) == (State.CLOSED, None, 0)
                tracking.start()
                assert tracking.wait(30)
                code = 0
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert tracking.live
    place.peers[0].send(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n")
    wait_until(lambda: b"a" in heard.events)
