# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Publish/subscribe against Valkey 9, Redis 7 and the emulated 5.0, over RESP3 and RESP2, and through trouble."""

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from unittest.mock import ANY

import pytest

from resp import Endpoint
from resp.errors import (
    AuthenticationError,
    ClientClosed,
    ConnectionLost,
    InvalidArgument,
    NoPermission,
    RespError,
    ServerError,
)
from resp.pubsub import PubSub
from resp.subscriber import Message
from tests.resp.chaos import ChaosProxy, TlsFront
from tests.resp.conftest import AnyServer, Connect, TlsServer
from tests.resp.old_server import OldServer
from tests.resp.servers import Server
from tests.waiting import wait_until

QUICK: dict[str, Any] = {"silence": 0.2, "patience": 0.3, "retry_first": 0.02, "retry_most": 0.2}

PubSubs = Callable[..., PubSub]


@pytest.fixture
def subscriber(connect: Connect) -> Iterator[PubSubs]:
    """`subscriber(address, protocol=3, …)` makes a `PubSub` that is closed when the test ends."""
    made: list[PubSub] = []

    def make(address: tuple[str, int], *, protocol: int = 3, **options: Any) -> PubSub:
        how = {name: options.pop(name) for name in ("tls", "username", "password") if name in options}
        pubsub = PubSub(lambda: connect(address, protocol=protocol, **how), **{**QUICK, **options})
        made.append(pubsub)
        return pubsub

    yield make
    for pubsub in made:
        pubsub.close()


PROTOCOLS = pytest.mark.parametrize("protocol", [3, 2])


def collect(pubsub: PubSub, count: int) -> list[Message]:
    """The next `count` messages."""
    found: list[Message] = []
    for _ in range(count):
        message = pubsub.get_message(timeout=5)
        assert message is not None, f"only {len(found)} of {count} messages came: {found}"
        found.append(message)
    return found


def message(kind: str, channel: bytes | str | None, data: Any, pattern: bytes | str | None = None) -> Message:
    return Message(type=kind, pattern=pattern, channel=channel, data=data)


@PROTOCOLS
def test_messages_have_the_form_of_redis_py(server: AnyServer, subscriber: PubSubs, protocol: int) -> None:
    pubsub = subscriber(server.address, protocol=protocol)
    pubsub.subscribe("news", b"\xff")
    pubsub.psubscribe("n*s")
    assert collect(pubsub, 3) == [
        message("subscribe", b"news", 1),
        message("subscribe", b"\xff", 2),
        message("psubscribe", b"n*s", 3),
    ]
    assert server.ask("PUBLISH", "news", b"\x00\r\n") == 2
    assert collect(pubsub, 2) == [
        message("message", b"news", b"\x00\r\n"),
        message("pmessage", b"news", b"\x00\r\n", b"n*s"),
    ]
    pubsub.unsubscribe("news")
    pubsub.punsubscribe()
    assert collect(pubsub, 2) == [message("unsubscribe", b"news", 2), message("punsubscribe", b"n*s", 1)]
    assert pubsub.channels == {b"\xff"}
    assert pubsub.patterns == frozenset()
    assert pubsub.get_message() is None


@PROTOCOLS
def test_sharded_channels(real_server: Server, subscriber: PubSubs, protocol: int) -> None:
    pubsub = subscriber(real_server.address, protocol=protocol, ignore_subscribe_messages=True)
    pubsub.ssubscribe("a", "b")
    wait_until(lambda: pubsub.get_message() is None and real_server.ask("PUBSUB", "SHARDNUMSUB", "b") == [b"b", 1])
    real_server.ask("SPUBLISH", "b", "1")
    assert collect(pubsub, 1) == [message("smessage", b"b", b"1")]
    pubsub.sunsubscribe("b")
    wait_until(lambda: pubsub.get_message() is None and real_server.ask("PUBSUB", "SHARDNUMSUB", "b") == [b"b", 0])
    assert pubsub.shard_channels == {b"a"}


def test_decoded_messages_are_text_and_lose_no_byte(valkey: Server, subscriber: PubSubs) -> None:
    pubsub = subscriber(valkey.address, decode=True, ignore_subscribe_messages=True)
    pubsub.subscribe("grüße")
    pubsub.psubscribe("*e")
    wait_until(lambda: pubsub.get_message() is None and valkey.ask("PUBSUB", "NUMPAT") == 1)
    valkey.ask("PUBLISH", "grüße", b"\xfft")
    assert collect(pubsub, 2) == [
        message("message", "grüße", "\udcfft"),
        message("pmessage", "grüße", "\udcfft", "*e"),
    ]


@PROTOCOLS
@pytest.mark.parametrize("trouble", ["cut", "reset"])
def test_a_lost_connection_is_made_again_and_marked_as_a_gap(
    server: AnyServer, chaos: Callable[..., ChaosProxy], subscriber: PubSubs, protocol: int, trouble: str
) -> None:
    proxy = chaos(server.address)
    reasons: list[str] = []
    pubsub = subscriber(proxy.address, protocol=protocol, on_gap=reasons.append, ignore_subscribe_messages=True)
    pubsub.subscribe("a")
    pubsub.psubscribe("b*")
    wait_until(lambda: pubsub.get_message() is None and server.ask("PUBLISH", "a", "before") == 1)
    assert collect(pubsub, 1) == [message("message", b"a", b"before")]
    proxy.refuse()
    proxy.cut() if trouble == "cut" else proxy.reset()
    wait_until(lambda: pubsub.get_message(timeout=0.05) is None and not pubsub.connected)
    server.ask("PUBLISH", "a", "missed")
    proxy.listen()
    assert [found["type"] for found in collect(pubsub, 1)] == ["gap"]
    wait_until(lambda: server.ask("PUBLISH", "b1", "after") == 1)
    assert collect(pubsub, 1) == [message("pmessage", b"b1", b"after", b"b*")]
    assert len(reasons) == 1
    assert isinstance(pubsub.last_error, RespError)


@PROTOCOLS
def test_a_half_open_connection_is_noticed_while_someone_waits(
    valkey: Server, chaos: Callable[..., ChaosProxy], subscriber: PubSubs, protocol: int
) -> None:
    proxy = chaos(valkey.address)
    pubsub = subscriber(proxy.address, protocol=protocol)
    pubsub.subscribe("a")
    collect(pubsub, 1)
    started = time.monotonic()
    proxy.freeze()
    threading.Timer(0.6, proxy.thaw).start()
    assert [found["type"] for found in collect(pubsub, 2)] == ["gap", "subscribe"]
    assert time.monotonic() - started < 4


@PROTOCOLS
def test_a_quiet_connection_is_kept(valkey: Server, subscriber: PubSubs, protocol: int) -> None:
    pubsub = subscriber(valkey.address, protocol=protocol, silence=0.02, patience=2.0)
    pubsub.subscribe("a")
    collect(pubsub, 1)
    before = valkey.clients()[0]["id"]
    assert pubsub.get_message(timeout=0.5) is None
    assert valkey.clients()[0]["id"] == before
    assert valkey.clients()[0]["cmd"] == "ping"


def test_rare_reading_is_not_taken_for_a_silent_server(valkey: Server, subscriber: PubSubs) -> None:
    pubsub = subscriber(valkey.address)
    pubsub.subscribe("a")
    for _ in range(4):
        time.sleep(0.6)  # longer than silence and patience together
        assert pubsub.get_message(timeout=0.01, ignore_subscribe_messages=True) is None
    assert pubsub.last_error is None


def test_handlers_get_their_messages(valkey: Server, subscriber: PubSubs) -> None:
    pubsub = subscriber(valkey.address, ignore_subscribe_messages=True)
    heard: list[Message] = []
    pubsub.subscribe("plain", a=heard.append)
    pubsub.psubscribe(**{"b*": heard.append})
    wait_until(lambda: pubsub.get_message() is None and valkey.ask("PUBSUB", "NUMPAT") == 1)
    for channel in ("a", "b1", "plain"):
        valkey.ask("PUBLISH", channel, "x")
    found: list[Message | None] = []
    wait_until(lambda: found.append(pubsub.get_message()) or any(found))  # type: ignore[func-returns-value]  # for its effect
    assert [one["channel"] for one in found if one] == [b"plain"]
    assert [one["channel"] for one in heard] == [b"a", b"b1"]


def test_listen_yields_until_the_last_unsubscribe(valkey: Server, subscriber: PubSubs) -> None:
    pubsub = subscriber(valkey.address)
    pubsub.subscribe("a")
    kinds = []
    for found in pubsub.listen():
        kinds.append(found["type"])
        if found["type"] == "subscribe":
            valkey.ask("PUBLISH", "a", "1")
        else:
            pubsub.unsubscribe()
    assert kinds == ["subscribe", "message", "unsubscribe"]


def test_subscribing_in_one_thread_while_another_waits(valkey: Server, subscriber: PubSubs) -> None:
    pubsub = subscriber(valkey.address)
    found: list[Message] = []
    thread = pubsub.run_in_thread(handler=found.append)
    for number in range(50):
        pubsub.subscribe(f"c{number}")
    wait_until(lambda: len(found) == 50)
    assert valkey.ask("PUBLISH", "c7", "x") == 1
    wait_until(lambda: found[-1]["type"] == "message")
    started = time.monotonic()
    thread.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert time.monotonic() - started < 1


def test_a_handler_that_raises_does_not_end_the_thread(valkey: Server, subscriber: PubSubs) -> None:
    pubsub = subscriber(valkey.address)
    heard: list[Any] = []

    def fussy(found: Message) -> None:
        heard.append(found["data"])
        if found["data"] == b"poison":
            raise ValueError("poison")

    pubsub.subscribe(a=fussy)
    thread = pubsub.run_in_thread()
    wait_until(lambda: valkey.ask("PUBLISH", "a", "poison") == 1)
    valkey.ask("PUBLISH", "a", "food")
    wait_until(lambda: heard == [b"poison", b"food"])
    thread.stop()


@PROTOCOLS
def test_a_forbidden_channel_is_raised_and_given_up(valkey: Server, subscriber: PubSubs, protocol: int) -> None:
    valkey.ask("ACL", "SETUSER", "reader", "on", ">sesame", "resetchannels", "&open", "+@all")
    try:
        pubsub = subscriber(valkey.address, protocol=protocol, username="reader", password="sesame")
        pubsub.subscribe("open")
        pubsub.subscribe("closed")
        assert collect(pubsub, 1)[0]["channel"] == b"open"
        with pytest.raises(NoPermission):
            pubsub.get_message(timeout=5)
        assert pubsub.channels == {b"open"}
        valkey.ask("PUBLISH", "open", "1")
        assert collect(pubsub, 1) == [message("message", b"open", b"1")]
    finally:
        valkey.ask("ACL", "DELUSER", "reader")


def test_a_server_without_sharded_channels_says_so(old_server: OldServer, subscriber: PubSubs) -> None:
    pubsub = subscriber(old_server.address)
    pubsub.ssubscribe("a")
    with pytest.raises(ServerError, match="unknown command"):
        pubsub.get_message(timeout=5)
    assert pubsub.shard_channels == frozenset()


def test_a_wrong_password_is_raised(new_valkey: Callable[..., Server], subscriber: PubSubs) -> None:
    server = new_valkey(password="sesame")
    pubsub = subscriber(server.address, password="wrong")
    with pytest.raises(AuthenticationError):
        pubsub.subscribe("a")


def test_one_that_nobody_holds_any_more_leaves_the_server_at_once_even_after_a_loss(valkey: Server) -> None:
    gc.disable()  # what is freed is freed by itself, or not at all
    try:
        pubsub = PubSub(Endpoint(valkey.host, valkey.port), **QUICK)
        pubsub.subscribe("a")
        collect(pubsub, 1)
        assert valkey.ask("CLIENT", "KILL", "TYPE", "pubsub") == 1
        assert collect(pubsub, 2) == [message("gap", None, ANY), message("subscribe", b"a", 1)]
        assert isinstance(pubsub.last_error, ConnectionLost)
        del pubsub
        wait_until(lambda: valkey.ask("PUBSUB", "NUMSUB", "a") == [b"a", 0])
    finally:
        gc.enable()


def test_one_with_a_wrong_password_is_free_as_soon_as_its_error_is(new_valkey: Callable[..., Server]) -> None:
    server = new_valkey(password="sesame")
    pubsub = PubSub(Endpoint(server.host, server.port, password="wrong"), **QUICK)
    gc.disable()
    try:
        with suppress(AuthenticationError):
            pubsub.subscribe("a")
        assert isinstance(pubsub.last_error, AuthenticationError)
        gone = weakref.ref(pubsub)
        del pubsub
        assert gone() is None
    finally:
        gc.enable()


def test_an_absent_server_is_waited_for(new_valkey: Callable[..., Server], subscriber: PubSubs) -> None:
    server = new_valkey()
    server.kill()
    pubsub = subscriber(server.address, ignore_subscribe_messages=True)
    pubsub.subscribe("a")
    started = time.monotonic()
    assert pubsub.get_message(timeout=0.3) is None
    assert 0.25 < time.monotonic() - started < 1.0
    server.start()
    wait_until(lambda: pubsub.get_message(timeout=0.05) is None and server.ask("PUBLISH", "a", "1") == 1)
    assert collect(pubsub, 1) == [message("message", b"a", b"1")]


def test_closing_wakes_the_reader(valkey: Server, subscriber: PubSubs) -> None:
    pubsub = subscriber(valkey.address)
    pubsub.subscribe("a")
    collect(pubsub, 1)
    outcome: list[object] = []

    def wait() -> None:
        try:
            outcome.append(pubsub.get_message(timeout=None))
        except RespError as error:
            outcome.append(type(error))

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: valkey.clients())
    started = time.monotonic()
    pubsub.close()
    thread.join(5)
    assert outcome == [ClientClosed]
    assert time.monotonic() - started < 0.5
    wait_until(lambda: not valkey.clients())
    with pytest.raises(ClientClosed):
        pubsub.subscribe("b")


def test_after_the_end_nothing_is_subscribed(valkey: Server, subscriber: PubSubs) -> None:
    with subscriber(valkey.address) as pubsub:
        pubsub.subscribe("a")
        pubsub.psubscribe("b*")
        assert (pubsub.subscribed, pubsub.channels, pubsub.patterns) == (True, frozenset({b"a"}), frozenset({b"b*"}))
    assert (pubsub.subscribed, pubsub.channels, pubsub.patterns) == (False, frozenset(), frozenset())


def test_names_must_be_given(valkey: Server, subscriber: PubSubs) -> None:
    pubsub = subscriber(valkey.address)
    with pytest.raises(InvalidArgument):
        pubsub.subscribe()
    with pytest.raises(InvalidArgument):
        pubsub.subscribe(None)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(InvalidArgument):
        pubsub.subscribe({})


def test_handlers_can_be_given_for_names_that_are_no_text(valkey: Server, subscriber: PubSubs) -> None:
    pubsub = subscriber(valkey.address, ignore_subscribe_messages=True)
    heard: list[Message] = []
    pubsub.subscribe({b"\xff\x00": heard.append}, "plain")
    pubsub.psubscribe({b"\xfe*": heard.append})
    wait_until(lambda: pubsub.get_message() is None and valkey.ask("PUBSUB", "NUMPAT") == 1)
    for channel in (b"\xff\x00", b"\xfe1", b"plain"):
        valkey.ask("PUBLISH", channel, "x")
    found: list[Message | None] = []
    wait_until(lambda: found.append(pubsub.get_message()) or any(found))  # type: ignore[func-returns-value]  # for its effect
    assert [one["channel"] for one in heard] == [b"\xff\x00", b"\xfe1"]


def test_the_child_of_a_fork_takes_nothing_from_its_parent(valkey: Server, subscriber: PubSubs) -> None:
    pubsub = subscriber(valkey.address, ignore_subscribe_messages=True)
    pubsub.subscribe("a")
    wait_until(lambda: pubsub.get_message() is None and valkey.ask("PUBLISH", "a", "1") == 1)
    collect(pubsub, 1)
    child = os.fork()
    if child == 0:
        found = pubsub.get_message(timeout=5)
        os._exit(0 if found is not None and found["type"] == "gap" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert valkey.ask("PUBLISH", "a", "2") == 1
    assert collect(pubsub, 1) == [message("message", b"a", b"2")]


def test_a_flood_arrives_whole_and_in_order(valkey: Server, subscriber: PubSubs) -> None:
    pubsub = subscriber(valkey.address, ignore_subscribe_messages=True)
    pubsub.subscribe("a")
    wait_until(lambda: pubsub.get_message() is None and valkey.ask("PUBLISH", "a", "start") == 1)
    with valkey.console() as console:
        for number in range(20_000):
            console.send("PUBLISH", "a", b"%d" % number + b"." * (number % 200))
        thread = threading.Thread(target=lambda: [console.read() for _ in range(20_000)])
        thread.start()
        found = collect(pubsub, 20_001)
        thread.join()
    assert [one["data"].partition(b".")[0] for one in found[1:]] == [b"%d" % number for number in range(20_000)]


def test_it_works_over_tls(
    valkey: Server,
    tls_valkey: TlsServer,
    chaos: Callable[..., ChaosProxy],
    tls_front: Callable[..., TlsFront],
    subscriber: PubSubs,
) -> None:
    proxy = chaos(valkey.address)
    front = tls_front(proxy.address)
    pubsub = subscriber(front.address, tls=tls_valkey.certificates.client_context())
    pubsub.subscribe("a")
    collect(pubsub, 1)
    valkey.ask("PUBLISH", "a", "x" * 100_000)
    assert collect(pubsub, 1) == [message("message", b"a", b"x" * 100_000)]
    proxy.cut()
    assert [found["type"] for found in collect(pubsub, 2)] == ["gap", "subscribe"]
