# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Faults that were once there, each as the smallest program that showed it."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from resp import (
    Breaker,
    Client,
    ConnectionLost,
    NoPermission,
    PubSub,
    ReadOnly,
    RespError,
    ServerError,
    Timeout,
    Transaction,
    WatchError,
)
from resp.command_kinds import changes_connection
from resp.connection import Connection
from resp.dial import addresses
from resp.endpoint import Endpoint
from resp.errors import AuthenticationError, ExecAborted, InvalidArgument, Moved, OutOfMemory
from resp.replies import parse_info
from resp.tracking import Tracking
from tests.resp.chaos import ChaosProxy, Fault
from tests.resp.conftest import only_node
from tests.resp.scripted import GREETING, Exchange, Scripted
from tests.resp.servers import Server
from tests.waiting import wait_until


class Big(bytearray):
    """A value that says whether it is still there."""


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# ---- B1, B12: what the breaker hears ---------------------------------------------------------------------------------


def test_a_transaction_that_succeeds_closes_the_breaker(new_valkey: Callable[..., Server]) -> None:
    server = new_valkey()
    with Client(server.host, server.port, breaker=Breaker(threshold=2, cooldown=0.05, max_cooldown=0.05)) as client:
        server.kill()
        for _ in range(3):
            with pytest.raises(RespError):
                client.ping()
        server.start()

        def watches() -> bool:
            try:
                with client.transaction() as queue:
                    queue.watch("key")
                    queue.multi()
                    return bool(queue.set("key", 1).execute() == [True])
            except RespError:
                return False

        wait_until(watches)
        assert client.stats().breaker == "closed"


@pytest.mark.parametrize(
    ("words", "timeout"),
    [(("BLPOP", "nothing", 0), 0.05), (("BLPOP", "nothing", 0), -1.0), (("DEBUG", "SLEEP", "0.3"), 0.05)],
    ids=["hasty and blocking", "blocking", "hasty"],
)
def test_the_impatience_of_one_caller_is_not_held_against_the_server(
    new_valkey: Callable[..., Server], words: tuple[str, ...], timeout: float
) -> None:
    server = new_valkey()
    with Client(server.host, server.port, timeout=0.4, breaker=Breaker(threshold=1)) as client:
        client.ping()
        with pytest.raises(Timeout):
            client.execute(*words, timeout=timeout)
        assert client.stats().breaker == "closed"
        with pytest.raises(Timeout):
            client.execute("DEBUG", "SLEEP", "1")
        assert client.stats().breaker == "open"


# ---- B2, B5: what an error keeps in memory ---------------------------------------------------------------------------


def refused(client: Client[bytes], value: Big) -> None:
    client.set("key", value)


def refused_in_pipeline(client: Client[bytes], value: Big) -> None:
    client.pipeline(transaction=False).set("key", value).execute()


def refused_in_transaction(client: Client[bytes], value: Big) -> None:
    client.pipeline().set("key", value).execute()


def refused_while_watching(client: Client[bytes], value: Big) -> None:
    with client.transaction() as queue:
        queue.watch("other")
        queue.set("key", value)


REFUSALS = [refused, refused_in_pipeline, refused_in_transaction, refused_while_watching]


@pytest.mark.parametrize("call", REFUSALS)
def test_a_refused_value_is_free_as_soon_as_its_error_is(
    new_valkey: Callable[..., Server], call: Callable[[Client[bytes], Big], None]
) -> None:
    server = new_valkey("--maxmemory", "1", "--maxmemory-policy", "noeviction")
    with Client(server.host, server.port) as client, without_collector():
        value = Big(b"v" * 300_000)
        gone = weakref.ref(value)
        try:
            call(client, value)
        except (OutOfMemory, ExecAborted):
            pass
        else:
            raise AssertionError("nothing was refused")
        del value
        assert gone() is None


def test_a_lost_connection_leaves_nothing_behind(valkey: Server, chaos: Callable[..., ChaosProxy]) -> None:
    proxy = chaos(valkey.address)
    with Client(*proxy.address, breaker=False) as client, without_collector():
        client.set("large", b"v" * 5_000_000)
        proxy.arm(Fault("reset", after=2_000_000))
        before = {id(found) for found in gc.get_objects() if isinstance(found, Connection)}
        with suppress(ConnectionLost):
            client.get("large")
        left = [found for found in gc.get_objects() if isinstance(found, Connection) and id(found) not in before]
        assert all(found.parser._large is None for found in left)
        assert gc.collect() == 0 or not gc.garbage


def test_a_refused_password_leaves_no_cycle(new_valkey: Callable[..., Server]) -> None:
    server = new_valkey(password="s3cret")
    with Client(server.host, server.port, password="wrong", breaker=False) as client, without_collector():
        for _ in range(3):
            try:
                client.ping()
            except AuthenticationError as error:
                gone = weakref.ref(error)
            assert gone() is None


# ---- B3, B6, B7: subscriptions ---------------------------------------------------------------------------------------


@pytest.fixture
def pubsub(valkey: Server) -> Iterator[PubSub]:
    with Client(valkey.host, valkey.port) as client, client.pubsub(retry_first=0.01, retry_most=0.05) as made:
        yield made


def kinds(pubsub: PubSub, until: str) -> list[str]:
    """The types of the messages that come, up to the first of this type."""
    found: list[str] = []

    def came() -> bool:
        message = pubsub.get_message(timeout=1)
        if message is not None:
            found.append(message["type"])
        return until in found

    wait_until(came, lambda: f"a {until}, but {found}")
    return found


def test_a_channel_that_is_left_twice_is_left(pubsub: PubSub, valkey: Server) -> None:
    pubsub.subscribe("a", "b")
    pubsub.unsubscribe("a", "a")
    kinds(pubsub, "unsubscribe")
    assert pubsub.channels == {b"b"}
    assert valkey.ask("PUBLISH", "a", "x") == 0


def test_one_forbidden_channel_does_not_take_the_others_along(new_valkey: Callable[..., Server]) -> None:
    server = new_valkey()
    server.ask("ACL", "SETUSER", "reader", "on", ">pw", "+@all", "resetchannels", "&a", "&b")
    with Client(server.host, server.port, username="reader", password="pw") as client:
        pubsub = client.pubsub(retry_first=0.01, retry_most=0.05)
        pubsub.subscribe("a", "b")
        kinds(pubsub, "subscribe")
        server.ask("ACL", "SETUSER", "reader", "resetchannels", "&a")  # and the server hangs up
        with pytest.raises(NoPermission) as caught:
            kinds(pubsub, "nothing of this kind")
        assert "SUBSCRIBE" in str(caught.value)
        wait_until(lambda: pubsub.get_message(timeout=0.01) is None and server.ask("PUBLISH", "a", "x") == 1)
        assert pubsub.channels == {b"a"}
        assert pubsub.get_message(timeout=5) is not None
        pubsub.close()


def test_a_server_that_ends_a_sharded_subscription_is_not_taken_for_an_answer() -> None:
    def script(exchange: Exchange) -> None:
        exchange.command()
        exchange.send(b">3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n")
        exchange.command()

    with Scripted(script) as server, Client(server.host, server.port) as client, client.pubsub() as pubsub:
        pubsub.ssubscribe("a")
        with pytest.raises(Moved):
            kinds(pubsub, "nothing of this kind")
        assert not pubsub.shard_channels
        assert not pubsub.subscribed


# ---- B4: a master that is one no more --------------------------------------------------------------------------------


def write(client: Client[bytes]) -> None:
    client.set("key", 1)


def write_in_pipeline(client: Client[bytes]) -> None:
    client.pipeline(transaction=False).get("key").set("key", 1).execute()


def write_in_transaction(client: Client[bytes]) -> None:
    client.transaction().set("key", 1).execute()


def write_while_watching(client: Client[bytes]) -> None:
    with client.transaction() as queue:
        queue.watch("key")
        queue.set("key", 1)


@pytest.mark.parametrize("call", [write, write_in_pipeline, write_in_transaction, write_while_watching])
def test_a_refused_write_drops_every_connection_to_the_former_master(
    new_server: Callable[..., Server], call: Callable[[Client[bytes]], None]
) -> None:
    server = new_server()
    with Client(server.host, server.port) as client:
        held = [client.transaction() for _ in range(3)]
        for queue in held:
            queue.watch("other")
        for queue in held:
            queue.execute()
        before = {row["id"] for row in server.clients()}
        assert client.stats().idle == 3
        server.ask("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(ServerError) as caught:
            call(client)
        assert isinstance(caught.value, ReadOnly) or isinstance(caught.value.__cause__, ReadOnly)
        wait_until(lambda: not before & {row["id"] for row in server.clients()})


# ---- B8: patched sockets ---------------------------------------------------------------------------------------------


class CooperativeSocket(socket.socket):
    """What gevent does: never block in the kernel, and keep the time oneself. So kernel limits never strike."""

    def _cooperate(self, call: Callable[..., Any], *arguments: Any) -> Any:
        limit = self.gettimeout()
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            try:
                return call(*arguments, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if limit == 0:
                    raise
                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(0.001)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        count: int = self._cooperate(super().recv_into, buffer, nbytes)
        return count


def test_sockets_that_are_patched_after_the_import_keep_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", CooperativeSocket)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: serve_one_ping(listener), daemon=True).start()
        client = Client(*listener.getsockname(), timeout=0.3)
        done = threading.Event()

        def call() -> None:
            with pytest.raises(Timeout):
                client.get("key")
            done.set()

        assert client.ping()
        threading.Thread(target=call, daemon=True).start()
        assert done.wait(10)
        client.close()


def serve_one_ping(listener: socket.socket) -> None:
    """Answer the handshake and one PING, then nothing."""
    sock, _ = listener.accept()
    exchange = Exchange(sock, 1)
    exchange.greet()
    exchange.answer(b"+PONG\r\n")
    threading.Event().wait(15)


# ---- B9, B14: pipelines ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scan_iter", "hscan_iter", "sscan_iter", "zscan_iter"])
def test_a_pipeline_has_no_way_to_go_through_everything(valkey: Server, name: str) -> None:
    with Client(valkey.host, valkey.port) as client:
        assert hasattr(client, name)
        assert not hasattr(client.pipeline(transaction=False), name)


def test_a_name_of_two_words_is_two_words_everywhere(valkey: Server) -> None:
    with Client(valkey.host, valkey.port) as client:
        pipe = client.pipeline(transaction=False)
        pipe.execute_command("CONFIG GET", "maxmemory")
        assert pipe.execute() == [{b"maxmemory": b"0"}]
        with pytest.raises(InvalidArgument):
            pipe.execute_command("SUBSCRIBE x")
        with pytest.raises(InvalidArgument):
            client.execute_command("SUBSCRIBE x")
    assert changes_connection(("CLIENT", "REPLY", "OFF"))
    assert changes_connection(("SCRIPT", "DEBUG", "YES"))


def test_an_error_of_a_pipeline_names_its_command_and_place(valkey: Server) -> None:
    with Client(valkey.host, valkey.port) as client:
        pipe = client.pipeline(transaction=False).set("text", "secret").incr("text")
        with pytest.raises(ServerError) as caught:
            pipe.execute()
    assert (caught.value.command, caught.value.place) == ("INCRBY", 1)
    assert "command 2 of the pipeline: INCRBY" in str(caught.value)


def test_a_forbidden_key_names_the_command(new_server: Callable[..., Server]) -> None:
    server = new_server()
    server.ask("ACL", "SETUSER", "reader", "on", ">pw", "+@all", "~a")
    with (
        Client(server.host, server.port, username="reader", password="pw") as client,
        pytest.raises(NoPermission) as caught,
    ):
        client.get("b")
    assert "GET" in str(caught.value)


# ---- B10, B11: attempts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("warm", [True, False], ids=["over a used connection", "over a new one"])
def test_two_further_attempts_are_three_in_all(warm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    pauses: list[float] = []
    monkeypatch.setattr("resp.node._time.sleep", pauses.append)

    def script(exchange: Exchange) -> None:
        while True:
            name = exchange.command()[0]
            seen.append(name)
            exchange.send(b"+PONG\r\n" if name == b"PING" else b"-LOADING wait\r\n")

    with Scripted(script) as server, Client(server.host, server.port, retries=2) as client:
        if warm:
            client.ping()
        with pytest.raises(ServerError):
            client.get("key")
        assert client.stats().retried == 2
    assert seen.count(b"GET") == 3
    assert len(pauses) == 2


@pytest.mark.parametrize("code", ["BUSY", "LOADING", "TRYAGAIN", "CLUSTERDOWN"])
def test_what_a_script_says_is_no_reason_to_run_it_again(valkey: Server, code: str) -> None:
    with Client(valkey.host, valkey.port, retries=3) as client:
        with pytest.raises(ServerError):
            client.eval(f"redis.call('INCR', KEYS[1]) return redis.error_reply('{code} mine')", 1, "n")
        assert client.get("n") == b"1"


# ---- B13, B15, B16 ---------------------------------------------------------------------------------------------------


def test_messages_that_nobody_asked_for_do_not_pile_up() -> None:
    def script(exchange: Exchange) -> None:
        while True:
            exchange.command()
            exchange.send(b">2\r\n+MOVING\r\n:1\r\n+OK\r\n")

    with Scripted(script) as server, Client(server.host, server.port) as client:
        for _ in range(2000):
            client.execute("ECHO", "x")
        (connection,) = only_node(client).pool._idle
        assert len(connection.pushes) <= 256


def test_what_only_looks_like_a_number_stays_text() -> None:
    text = b"redis_git_sha1:123e4567\r\nredis_build_id:12e3\r\nused_cpu_sys:1.5\r\nport:6379\r\n"
    assert parse_info(text) == {
        "redis_git_sha1": "123e4567",
        "redis_build_id": "12e3",
        "used_cpu_sys": 1.5,
        "port": 6379,
    }


def test_a_deeply_nested_reply_is_decoded_on_a_deep_stack() -> None:
    depth = 500

    def script(exchange: Exchange) -> None:
        exchange.command()
        exchange.send(b"*1\r\n" * depth + b"$1\r\nx\r\n")
        exchange.command()

    def deeper(levels: int, client: Client[str]) -> Any:
        return deeper(levels - 1, client) if levels else client.execute("ECHO", "x")

    with Scripted(script) as server, Client(server.host, server.port, decode=True) as client:
        reply = deeper(600, client)
    for _ in range(depth):
        (reply,) = reply
    assert reply == "x"


# ---- B17: tracking ---------------------------------------------------------------------------------------------------


def test_tracking_that_is_never_or_twice_started_leaves_nothing_open(valkey: Server) -> None:
    with without_collector():
        endpoint = Endpoint(valkey.host, valkey.port)
        Tracking(endpoint, lambda key: None)
        tracking = Tracking(endpoint, lambda key: None)
        for _ in range(2):
            tracking.start()
            assert tracking.wait(10)
            tracking.close()
        threads = [thread for thread in threading.enumerate() if thread.name == "resp-tracking"]
        assert not threads
        del tracking
    gc.collect()  # a socket that nobody closed warns here, and fails the test


# ---- B18: names ------------------------------------------------------------------------------------------------------


def test_a_name_server_that_hangs_costs_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *arguments: Any, **options: Any) -> Any:
        if options.get("flags"):
            raise socket.gaierror
        hang.wait(20)
        return real("127.0.0.1", port, type=socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        for _ in range(20):
            with pytest.raises(TimeoutError):
                addresses("slow.example", 1, time.monotonic() + 0.005)
        assert len([thread for thread in threading.enumerate() if thread.name == "resp-resolve"]) == 1
    finally:
        hang.set()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "resp-resolve"])


def test_an_interrupt_before_a_name_is_asked_for_leaves_no_question_that_nobody_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", start)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        addresses("localhost", 1, time.monotonic() + 10)
    assert addresses("localhost", 1, time.monotonic() + 10)


# ---- B19: silence ----------------------------------------------------------------------------------------------------


def test_a_subscription_that_cannot_work_says_so_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with (
            Client(*nobody.getsockname()) as client,
            client.pubsub(retry_first=0.001, retry_most=0.002) as pubsub,
            caplog.at_level(logging.WARNING, "resp.pubsub"),
        ):
            pubsub.subscribe("a")
            for _ in range(20):
                assert pubsub.get_message(timeout=0.005) is None
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1, "once for each reason, not for each attempt"
    assert "refused" in said[0]


# ---- B20: signals ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no interval timers on this system")
def test_a_timer_that_was_set_a_moment_ago_does_not_take_the_deadline_away(valkey: Server) -> None:
    with Client(valkey.host, valkey.port) as client:
        ended = threading.Event()

        def rescue() -> None:
            # Without the deadline the server would answer this in the end.
            if not ended.wait(8):
                valkey.ask("LPUSH", "nothing", "x")

        helper = threading.Thread(target=rescue)
        helper.start()
        client.ping()
        before = signal.signal(signal.SIGALRM, lambda number, frame: None)
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        try:
            with pytest.raises(Timeout):
                client.execute("BLPOP", "nothing", 30, timeout=0.3)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            ended.set()
            helper.join()


# ---- without a number ------------------------------------------------------------------------------------------------


def test_a_transaction_that_is_always_too_late_ends(valkey: Server) -> None:
    calls = 0

    def beaten(queue: Transaction) -> None:
        nonlocal calls
        calls += 1
        valkey.ask("INCR", "n")
        queue.multi()
        queue.set("other", 1)

    with Client(valkey.host, valkey.port, timeout=0.3) as client, pytest.raises(WatchError):
        client.transaction(beaten, "n")
    assert calls > 1


def test_exec_after_watch_is_sent_even_if_nothing_is_queued(valkey: Server) -> None:
    with Client(valkey.host, valkey.port) as client, client.transaction() as queue:
        queue.watch("key")
        client.set("key", 1)
        queue.multi()
        with pytest.raises(WatchError):
            queue.execute()


@pytest.mark.parametrize("protocol", [3, 2])
def test_a_name_without_a_password_is_sent_as_such(new_server: Callable[..., Server], protocol: int) -> None:
    server = new_server()
    server.ask("ACL", "SETUSER", "guest", "on", "nopass", "+@all", "~*")
    with Client(server.host, server.port, username="guest", protocol=protocol) as client:
        assert client.execute("ACL", "WHOAMI") == b"guest"
    with Client.from_url(f"redis://guest@{server.host}:{server.port}?protocol={protocol}") as client:
        assert client.execute("ACL", "WHOAMI") == b"guest"


HELLO_REFUSED = b"""\
-ERR unknown command 'HELLO', with args beginning with: '3'
-ERR unknown command
-ERR unsupported command 'hello'
-unsupported command
-ERR Command is not available: 'HELLO'
-NOPROTO sorry
-NOPERM this user has no permissions to run the 'hello' command
""".splitlines()


@pytest.mark.parametrize("refusal", HELLO_REFUSED)
def test_a_hello_that_is_refused_in_any_words_leads_to_resp2(refusal: bytes) -> None:
    def script(exchange: Exchange) -> None:
        for _ in range(3):
            exchange.command()
        exchange.send(refusal + b"\r\n" + b"-ERR unknown command\r\n" * 2)
        assert exchange.command() == [b"AUTH", b"me", b"pw"]
        exchange.send(b"+OK\r\n")
        exchange.answer(b"$1\r\nx\r\n")

    with (
        Scripted(script, greeted=False) as server,
        Client(server.host, server.port, username="me", password="pw") as client,
    ):
        assert client.get("key") == b"x"


@pytest.mark.parametrize("protocol", [3, 2])
def test_a_proxy_that_hangs_up_on_hello_is_spoken_to_plainly(protocol: int) -> None:
    commands: list[list[bytes]] = []

    def script(exchange: Exchange) -> None:
        while True:
            command = exchange.command()
            if command[0] not in (b"AUTH", b"PING", b"GET"):
                return
            commands.append(command)
            exchange.send(b"$1\r\nx\r\n" if command[0] == b"GET" else b"+OK\r\n")

    with (
        Scripted(script, greeted=False) as server,
        Client(server.host, server.port, password="pw", protocol=protocol, client_name="me") as client,
    ):
        assert client.get("key") == b"x"
        assert client.get("key") == b"x"
    assert commands[-4:] == [[b"AUTH", b"pw"], [b"PING"], [b"GET", b"key"], [b"GET", b"key"]]


def test_a_server_that_only_hangs_up_is_a_connection_that_could_not_be_made() -> None:
    with (
        Scripted(lambda exchange: None, greeted=False) as server,
        Client(server.host, server.port) as client,
        pytest.raises(ConnectionLost) as caught,
    ):
        client.set("key", 1)
    assert not caught.value.maybe_executed
    assert server.connections == 2
    assert GREETING
