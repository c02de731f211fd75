# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`PubSub` over pairs of sockets: several servers, slots that move, silence, closing, and the child of a fork."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resp import (
    AuthenticationError,
    ClientClosed,
    Connection,
    ConnectionLost,
    InvalidArgument,
    RespError,
    ServerError,
    pubsub,
)
from resp.errors import Moved
from resp.listening import Upstream, wait
from resp.pubsub import PubSub
from resp.subscriber import Message
from tests.resp.scripted import Exchange, joined
from tests.resp.test_subscriber import message, push
from tests.waiting import wait_until

Make = Callable[..., PubSub]


class Place(Upstream):
    """A server, or a cluster of them: channels here, sharded ones where `shards` says."""

    def __init__(self, *failures: RespError) -> None:
        self.failures = list(failures)
        self.peers: list[Exchange] = []
        self.shards: dict[bytes, Place | RespError] = {}
        self.has_moved = False
        self.refreshed = 0
        self.on_refresh: Callable[[], object] = lambda: None
        self.callbacks: list[Callable[[], None]] = []

    def connect(self) -> Connection:
        if self.failures:
            raise self.failures.pop(0)
        connection, peer = joined()
        self.peers.append(peer)
        self.has_moved = False
        return connection

    def moved(self) -> bool:
        return self.has_moved

    def on_moved(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def shard(self, channel: bytes) -> Upstream:
        found = self.shards.get(channel, self)
        if isinstance(found, RespError):
            raise found
        return found

    def refresh(self) -> None:
        self.refreshed += 1
        self.on_refresh()

    def said(self) -> list[bytes]:
        """The commands that arrived over the last connection since the last time."""
        return [b" ".join(command) for command in self.peers[-1].arrived()]

    def tell_all(self, *items: bytes) -> None:
        self.peers[-1].send(b"".join(items))


@pytest.fixture
def make() -> Iterator[Make]:
    """`make(upstream, …)` is a PubSub that is closed when the test ends; attempts to connect are rare."""
    made: list[PubSub] = []

    def pubsub(upstream: Any, **options: Any) -> PubSub:
        made.append(PubSub(upstream, **{"retry_first": 60.0, "retry_most": 60.0, **options}))
        return made[-1]

    yield pubsub
    for one in made:
        one.close()


def all_of(pubsub: PubSub, **options: Any) -> list[Message]:
    """The messages that are there."""
    found: list[Message] = []
    while (one := pubsub.get_message(**options)) is not None:
        found.append(one)
    return found


# ---- what is subscribed ----------------------------------------------------------------------------------------------


def test_it_says_of_itself_what_it_wants_and_how_that_goes(make: Make) -> None:
    place = Place()
    pubsub = make(place)
    assert (repr(pubsub), pubsub.subscribed, pubsub.connected) == (
        "<PubSub not connected, 0 subscriptions>",
        False,
        False,
    )
    pubsub.subscribe("a", "b")
    pubsub.psubscribe("c*")
    pubsub.ssubscribe("d")
    assert (repr(pubsub), pubsub.subscribed, pubsub.connected) == ("<PubSub connected, 4 subscriptions>", True, True)
    assert pubsub.channels == {b"a", b"b"}
    assert (pubsub.patterns, pubsub.shard_channels) == (frozenset({b"c*"}), frozenset({b"d"}))
    pubsub.close()
    assert repr(pubsub) == "<PubSub closed, 0 subscriptions>"


def test_what_is_not_said_is_as_the_guide_has_it(make: Make) -> None:
    pubsub = PubSub(Place())
    assert (pubsub._silence, pubsub._patience, pubsub._retry_first, pubsub._retry_most) == (10.0, 5.0, 0.05, 5.0)
    pubsub.close()


def test_it_is_subscribed_until_the_server_said_that_it_is_not(make: Make) -> None:
    place = Place()
    pubsub = make(place)
    pubsub.subscribe("a")
    place.tell_all(push(b"subscribe", b"a", 1))
    assert all_of(pubsub) == [message("subscribe", b"a", 1)]
    pubsub.unsubscribe()
    assert (pubsub.channels, pubsub.subscribed) == (frozenset(), True)
    place.tell_all(push(b"unsubscribe", b"a", 0))
    assert all_of(pubsub) == [message("unsubscribe", b"a", 0)]
    assert not pubsub.subscribed


def test_each_kind_is_left_by_its_own_command_some_or_all_of_it(make: Make) -> None:
    place = Place()
    pubsub = make(place)
    pubsub.subscribe("a", "b")
    pubsub.psubscribe("a", "b")
    pubsub.ssubscribe("a", "b")
    place.said()
    pubsub.unsubscribe("a")
    pubsub.punsubscribe("b")
    pubsub.sunsubscribe("a")
    assert place.said() == [b"UNSUBSCRIBE a", b"PUNSUBSCRIBE b", b"SUNSUBSCRIBE a"]
    pubsub.unsubscribe()
    pubsub.punsubscribe()
    pubsub.sunsubscribe()
    assert place.said() == [b"UNSUBSCRIBE b", b"PUNSUBSCRIBE a", b"SUNSUBSCRIBE b"]


@pytest.mark.parametrize("kind", ["subscribe", "psubscribe", "ssubscribe"])
def test_a_subscription_to_nothing_is_refused(make: Make, kind: str) -> None:
    pubsub = make(Place())
    nothing: list[tuple[Any, ...]] = [(), ({},)]
    for names in nothing:
        with pytest.raises(InvalidArgument, match=f"{kind} needs at least one name"):
            getattr(pubsub, kind)(*names)


def test_a_handler_is_for_its_kind_and_until_it_is_subscribed_without_one(make: Make) -> None:
    place = Place()
    pubsub = make(place, ignore_subscribe_messages=True)
    heard: list[Any] = []
    pubsub.subscribe(a=heard.append)
    pubsub.psubscribe({b"a": lambda found: heard.append(("p", found))})
    pubsub.ssubscribe({"a": lambda found: heard.append(("s", found))})
    said = [push(b"message", b"a", b"1"), push(b"pmessage", b"a", b"a", b"2"), push(b"smessage", b"a", b"3")]
    place.tell_all(push(b"subscribe", b"a", 1), *said)
    assert [pubsub.get_message() for _ in range(4)] == [None] * 4
    messages = [message("message", b"a", b"1"), message("pmessage", b"a", b"2", b"a"), message("smessage", b"a", b"3")]
    assert heard == [messages[0], ("p", messages[1]), ("s", messages[2])]
    pubsub.subscribe("a")
    pubsub.punsubscribe("a")
    pubsub.sunsubscribe()
    place.tell_all(*said)
    assert all_of(pubsub) == messages
    assert len(heard) == 3


def test_decoding_reaches_handlers_and_leaves_alone_what_is_no_text(make: Make) -> None:
    place = Place()
    pubsub = make(place, decode=True)
    heard: list[Message] = []
    pubsub.psubscribe({"ü*": heard.append})
    place.tell_all(push(b"psubscribe", "ü*".encode(), 1), push(b"pmessage", "ü*".encode(), "üb".encode(), b"\xff"))
    assert pubsub.get_message() == message("psubscribe", "ü*", 1)  # type: ignore[arg-type]  # decoded
    assert pubsub.get_message() is None
    assert heard == [Message(type="pmessage", pattern="ü*", channel="üb", data="\udcff")]


def test_confirmations_can_be_passed_over_for_good_or_once(make: Make) -> None:
    for options, asked in (({}, True), ({"ignore_subscribe_messages": True}, False)):
        place = Place()
        pubsub = make(place, **options)
        pubsub.subscribe("a")
        place.tell_all(push(b"subscribe", b"a", 1), push(b"message", b"a", b"1"))
        assert pubsub.get_message(ignore_subscribe_messages=asked) == message("message", b"a", b"1")
    place = Place()
    pubsub = make(place)
    pubsub.subscribe("a")
    place.tell_all(push(b"subscribe", b"a", 1))
    assert pubsub.get_sharded_message() == message("subscribe", b"a", 1)


# ---- trouble ---------------------------------------------------------------------------------------------------------


def test_a_refused_subscription_is_raised_once_and_the_next_message_comes_after_it(make: Make) -> None:
    place = Place()
    pubsub = make(place)
    pubsub.subscribe("a")
    pubsub.subscribe("b")
    place.tell_all(b"-NOPERM a\r\n", push(b"subscribe", b"b", 1))
    with pytest.raises(ServerError, match="NOPERM"):
        pubsub.get_message()
    assert pubsub.get_message() == message("subscribe", b"b", 1)


def test_a_gap_is_told_to_the_callback_too_and_one_that_fails_harms_nothing(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    reasons: list[str] = []

    def told(reason: str) -> None:
        reasons.append(reason)
        raise ValueError

    place = Place()
    pubsub = make(place, on_gap=told)
    pubsub.subscribe("a")
    place.tell_all(push(b"subscribe", b"a", 1))
    assert len(all_of(pubsub)) == 1
    place.has_moved = True
    assert all_of(pubsub) == [message("gap", None, "another server is the right one now")]
    assert reasons == ["another server is the right one now"]
    assert "on_gap" in caplog.text
    assert len(place.peers) == 2
    assert place.said() == [b"SUBSCRIBE a"]
    assert str(pubsub.last_error) == reasons[0]


def test_whoever_waits_is_woken_when_the_right_server_is_another_one(make: Make) -> None:
    place = Place()
    pubsub = make(place)
    pubsub.subscribe("a")
    place.tell_all(push(b"subscribe", b"a", 1))
    all_of(pubsub)
    found: list[Message | None] = []
    thread = threading.Thread(target=lambda: found.append(pubsub.get_message(timeout=60)))
    thread.start()
    place.has_moved = True
    place.callbacks[0]()
    thread.join(10)
    assert [one["type"] for one in found if one] == ["gap"]


@pytest.mark.parametrize("change", ["subscribe", "unsubscribe", "ping", "close"])
def test_whoever_waits_is_woken_by(make: Make, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    pubsub = make(place, silence=600.0, patience=600.0)
    pubsub.subscribe("a", "b")
    place.tell_all(push(b"subscribe", b"a", 1), push(b"subscribe", b"b", 2))
    all_of(pubsub)
    pubsub._waker.clear()  # it rang when something was subscribed
    rests: list[float] = []
    rest = pubsub._rest

    def counted(left: float) -> None:
        rests.append(left)
        rest(left)

    monkeypatch.setattr(pubsub, "_rest", counted)
    ended: list[object] = []

    def read() -> None:
        try:
            ended.append(pubsub.get_message(timeout=60))
        except ClientClosed as error:
            ended.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    wait_until(lambda: rests)
    getattr(pubsub, change)(*(("c",) if change == "subscribe" else ()))
    if change == "close":
        thread.join(10)
        assert isinstance(ended[0], ClientClosed)
        return
    wait_until(lambda: len(rests) > 1)
    place.tell_all(push(b"message", b"a", b"1"))
    thread.join(10)
    assert ended == [message("message", b"a", b"1")]


def test_what_wakes_it_wakes_it_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make(Place())
    one.subscribe("a")
    waits: list[float] = []

    def counted(lines: Any, waker: Any, left: float) -> None:
        waits.append(left)
        wait(lines, waker, left)

    monkeypatch.setattr(pubsub, "wait", counted)
    one._waker.wake()
    assert one.get_message(timeout=0.05) is None
    assert 1 <= len(waits) <= 10


def test_a_ping_asks_a_server_that_was_not_silent_and_only_once(make: Make) -> None:
    place = Place()
    pubsub = make(place, silence=600.0, patience=600.0)
    pubsub.ping()
    pubsub.subscribe("a")
    place.tell_all(push(b"subscribe", b"a", 1))
    all_of(pubsub)
    place.said()
    assert pubsub.get_message(timeout=0.001) is None
    assert place.said() == []
    pubsub.ping()
    assert pubsub.get_message(timeout=0.001) is None
    assert place.said() == [b"PING"]
    pubsub.ping()
    assert pubsub.get_message(timeout=0.001) is None
    assert place.said() == []
    place.tell_all(b"+PONG\r\n")
    assert pubsub.get_message(timeout=0.001) is None
    assert pubsub.connected
    pubsub.close()
    with pytest.raises(ClientClosed):
        pubsub.ping()


def test_a_ping_that_is_not_answered_loses_the_connection_and_another_is_made(make: Make) -> None:
    place = Place()
    pubsub = make(place, silence=600.0, patience=0.0)
    pubsub.subscribe("a")
    place.tell_all(push(b"subscribe", b"a", 1))
    all_of(pubsub)
    pubsub.ping()
    found = pubsub.get_message(timeout=60)
    assert found is not None
    assert (found["type"], len(place.peers)) == ("gap", 2)
    assert "PING" in found["data"]


def test_who_waits_without_a_connection_waits_for_the_next_attempt_and_no_longer(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("resp.pubsub.wait", lambda lines, waker, seconds: waits.append(seconds))
    pubsub = make(Place(ConnectionLost("refused"), ConnectionLost("refused")))
    pubsub.subscribe("a")
    now = time.monotonic()
    [subscriber] = pubsub._subscribers.values()
    for due, least, most in ((7.0, 6, 7), (-5.0, 0, 0)):
        subscriber.next_attempt = now + due
        pubsub._rest(60.0)
        assert least <= waits[-1] <= most
    pubsub.unsubscribe()
    pubsub._rest(60.0)
    assert waits[-1] == 60.0


def test_who_waits_for_ever_waits_an_hour_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    pubsub = make(Place())

    def waited(lines: object, waker: object, seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            pubsub._closed = True

    monkeypatch.setattr("resp.pubsub.wait", waited)
    with pytest.raises(ClientClosed):
        pubsub.get_message(timeout=None)
    assert waits == [3600.0, 3600.0]


def test_the_last_error_is_that_of_any_connection_and_wrong_credentials_are_raised(make: Make) -> None:
    place = Place(ConnectionLost("refused"), AuthenticationError("WRONGPASS", "no"))
    pubsub = make(place)
    assert pubsub.last_error is None
    pubsub.subscribe("a")
    assert str(pubsub.last_error) == "refused"
    with pytest.raises(AuthenticationError):
        pubsub.subscribe("b")


# ---- closing ---------------------------------------------------------------------------------------------------------


def test_a_closed_one_takes_nothing_and_has_no_descriptor(make: Make) -> None:
    place = Place()
    with make(place) as pubsub:
        pubsub.subscribe("a")
        waker = pubsub._waker
    assert place.peers[0].sock.recv(100)
    assert place.peers[0].sock.recv(100) == b""
    assert waker.fileno() == -1
    for call in (lambda: pubsub.subscribe("b"), lambda: pubsub.unsubscribe("a"), pubsub.get_message):
        with pytest.raises(ClientClosed):
            call()
    assert list(pubsub.listen()) == []
    pubsub.close()


def test_listening_ends_when_it_is_closed_meanwhile_and_not_while_messages_wait(make: Make) -> None:
    place = Place()
    pubsub = make(place)
    pubsub.subscribe("a")
    place.tell_all(push(b"subscribe", b"a", 1), push(b"message", b"a", b"1"))
    found = []
    for one in pubsub.listen():
        found.append(one["type"])
        if len(found) == 1:
            pubsub.unsubscribe()
            place.tell_all(push(b"unsubscribe", b"a", 0))
    assert found == ["subscribe", "message", "unsubscribe"]
    pubsub.subscribe("a")
    place.tell_all(push(b"subscribe", b"a", 1))
    for one in pubsub.listen():
        found.append(one["type"])
        pubsub.close()
    assert found[3:] == ["subscribe"]


# ---- sharded channels ------------------------------------------------------------------------------------------------


def test_sharded_channels_are_subscribed_where_they_belong_and_that_connection_ends_with_the_last_of_them(
    make: Make,
) -> None:
    place, other = Place(), Place()
    place.shards = {b"x": other, b"y": other}
    pubsub = make(place, ignore_subscribe_messages=True)
    pubsub.subscribe("a")
    pubsub.ssubscribe("h", "x", "y")
    assert place.said() == [b"SUBSCRIBE a", b"SSUBSCRIBE h"]
    assert other.said() == [b"SSUBSCRIBE x", b"SSUBSCRIBE y"]
    other.tell_all(push(b"ssubscribe", b"x", 1), push(b"ssubscribe", b"y", 2), push(b"smessage", b"x", b"1"))
    assert all_of(pubsub) == [message("smessage", b"x", b"1")]
    pubsub.sunsubscribe("x", "y")
    other.tell_all(push(b"sunsubscribe", b"x", 1))
    assert all_of(pubsub) == []
    assert pubsub.connected
    assert len(pubsub._subscribers) == 2
    other.tell_all(push(b"sunsubscribe", b"y", 0))
    assert all_of(pubsub) == []
    assert len(pubsub._subscribers) == 1
    assert other.said() == [b"SUNSUBSCRIBE x", b"SUNSUBSCRIBE y"]
    assert other.peers[0].sock.recv(100) == b""


def test_a_channel_whose_slot_moves_is_subscribed_at_its_new_home_after_a_gap(make: Make) -> None:
    place, old, new = Place(), Place(), Place()
    place.shards = {b"x": old, b"y": old}
    pubsub = make(place, ignore_subscribe_messages=True)
    pubsub.ssubscribe("x", "y")
    old.tell_all(push(b"ssubscribe", b"x", 1), push(b"ssubscribe", b"y", 2))
    assert all_of(pubsub) == []
    place.on_refresh = lambda: place.shards.update({b"x": new})
    old.tell_all(push(b"sunsubscribe", b"x", 1))
    assert all_of(pubsub) == [message("gap", b"x", "the sharded channel moved to another node")]
    assert place.refreshed == 1
    assert new.said() == [b"SSUBSCRIBE x"]
    assert pubsub.shard_channels == {b"x", b"y"}
    new.tell_all(push(b"ssubscribe", b"x", 1), push(b"smessage", b"x", b"1"))
    assert all_of(pubsub) == [message("smessage", b"x", b"1")]


def test_while_nobody_knows_where_a_channel_is_it_is_looked_for_again_and_not_forgotten(make: Make) -> None:
    place, old = Place(), Place()
    place.shards = {b"x": old, b"y": old}
    pubsub = make(place, ignore_subscribe_messages=True)
    pubsub.ssubscribe("x", "y")
    old.tell_all(push(b"ssubscribe", b"x", 1), push(b"ssubscribe", b"y", 2))
    assert all_of(pubsub) == []
    place.shards = {b"x": ConnectionLost("no map"), b"y": ConnectionLost("no map")}
    old.tell_all(push(b"sunsubscribe", b"x", 1), push(b"sunsubscribe", b"y", 0))
    assert all_of(pubsub) == []
    assert str(pubsub.last_error) == "no map"
    assert (pubsub.shard_channels, pubsub.subscribed) == (frozenset({b"x", b"y"}), True)
    pubsub.sunsubscribe("y")
    assert (pubsub.shard_channels, pubsub.subscribed) == (frozenset({b"x"}), True)
    place.shards = {}
    assert [(one["type"], one["channel"]) for one in all_of(pubsub)] == [("gap", b"x")]
    assert place.said() == [b"SSUBSCRIBE x"]
    assert all_of(pubsub) == []
    assert len(pubsub._subscribers) == 1


def test_a_node_that_is_away_and_has_a_successor_is_left(make: Make) -> None:
    place, old, new = Place(), Place(), Place()
    place.shards = {b"x": old}
    pubsub = make(place, ignore_subscribe_messages=True)
    pubsub.ssubscribe("x")
    old.tell_all(push(b"ssubscribe", b"x", 1))
    assert all_of(pubsub) == []
    old.failures = [ConnectionLost("away")]
    old.peers[0].sock.close()
    assert all_of(pubsub) == []
    assert all_of(pubsub) == []
    place.shards = {b"x": ConnectionLost("no map")}
    assert all_of(pubsub) == []
    assert pubsub.shard_channels == {b"x"}
    place.shards = {b"x": new}
    assert [(one["type"], one["channel"]) for one in all_of(pubsub)] == [("gap", b"x")]
    assert new.said() == [b"SSUBSCRIBE x"]
    assert pubsub.connected
    assert len(old.peers) == 1


def test_one_server_of_a_cluster_spoken_to_as_if_alone_refuses_channels_of_the_others(make: Make) -> None:
    connections: list[Exchange] = []

    def connect() -> Connection:
        connection, peer = joined()
        connections.append(peer)
        return connection

    pubsub = make(connect)
    pubsub.ssubscribe({"x": print})
    connections[0].send(b"-MOVED 1 h:1\r\n")
    with pytest.raises(Moved, match="another node"):
        pubsub.get_message()
    assert pubsub.shard_channels == frozenset()
    assert pubsub._handlers["s"] == {}
    assert pubsub.get_message() is None


# ---- a thread --------------------------------------------------------------------------------------------------------


def test_a_thread_reads_until_it_is_stopped_and_what_goes_wrong_is_told(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place()
    pubsub = make(place, ignore_subscribe_messages=True)
    pubsub.subscribe("a")
    pubsub.subscribe("b")
    heard: list[Message] = []
    errors: list[RespError] = []
    thread = pubsub.run_in_thread(handler=heard.append, exception_handler=errors.append)
    assert (thread.daemon, thread.name) == (True, "resp-pubsub")
    place.tell_all(b"-NOPERM a\r\n", push(b"subscribe", b"b", 1), push(b"message", b"b", b"1"))
    wait_until(lambda: heard == [message("message", b"b", b"1")])
    assert [getattr(error, "command", None) for error in errors] == ["SUBSCRIBE"]
    thread.stop()
    thread.join(10)
    assert not thread.is_alive()
    place.tell_all(push(b"message", b"b", b"2"))
    assert all_of(pubsub) == [message("message", b"b", b"2")]
    assert caplog.records == []


def test_what_nobody_handles_goes_to_the_log_and_so_does_a_handler_that_fails(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise ValueError("of a handler")

    place = Place()
    pubsub = make(place)
    pubsub.subscribe("a")
    quiet = pubsub.run_in_thread(daemon=False)
    assert quiet.daemon is False
    place.tell_all(b"-NOPERM a\r\n")
    wait_until(lambda: "NOPERM" in caplog.text)
    quiet.stop()
    quiet.join(10)
    pubsub.subscribe("b")
    failing = pubsub.run_in_thread(handler=fail, exception_handler=fail)
    place.tell_all(push(b"subscribe", b"b", 1))
    wait_until(lambda: "a message handler failed" in caplog.text)
    pubsub.subscribe("c")
    place.tell_all(b"-NOPERM c\r\n")
    wait_until(lambda: "exception handler of a PubSub failed" in caplog.text)
    assert failing.is_alive()
    pubsub.close()
    failing.join(10)
    assert not failing.is_alive()


def test_a_thread_ends_where_the_credentials_are_wrong(make: Make) -> None:
    place = Place(ConnectionLost("refused"), AuthenticationError("WRONGPASS", "no"))
    pubsub = make(place)
    pubsub.subscribe("a")
    [subscriber] = pubsub._subscribers.values()
    subscriber.next_attempt = 0.0
    errors: list[RespError] = []
    thread = pubsub.run_in_thread(exception_handler=errors.append)
    thread.join(10)
    assert not thread.is_alive()
    assert [type(error) for error in errors] == [AuthenticationError]


# ---- forks -----------------------------------------------------------------------------------------------------------


def test_the_child_of_a_fork_begins_anew_whatever_the_parent_held(make: Make) -> None:
    place = Place()
    pubsub = make(place)
    closed = make(Place())
    closed.close()
    pubsub.subscribe("a")
    place.tell_all(push(b"subscribe", b"a", 1))
    all_of(pubsub)
    waker = pubsub._waker
    with pubsub._lock, pubsub._reading:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                # The locks are held by a thread that is none here, as it were: those of the child are new.
                free: list[bool] = []
                thread = threading.Thread(
                    target=lambda: free.extend(lock.acquire(blocking=False) for lock in (pubsub._lock, pubsub._reading))
                )
                thread.start()
                thread.join()
                assert free == [True, True]
                assert waker.fileno() == -1
                assert pubsub._waker.fileno() != -1
                assert closed._waker.fileno() == -1
                assert place.callbacks[-1].__self__ is pubsub._waker  # type: ignore[attr-defined]  # a bound method
                assert (pubsub.connected, str(pubsub.last_error)) == (False, "the process forked")
                assert closed.last_error is None
                code = 0
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    place.tell_all(push(b"message", b"a", b"1"))
    assert all_of(pubsub) == [message("message", b"a", b"1")]
