# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The server is gone, silent, slow or full: calls end in time, fail fast while it lasts, and recover by themselves."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from resp import BreakerOpen, Client, ConnectionLost, RespError, Timeout, TooManyClients
from tests.resp.certs import Certificates
from tests.resp.chaos import ChaosProxy, Fault, blackhole
from tests.resp.conftest import AnyServer, Route, Through, only_node, wait_for_news
from tests.resp.servers import Server
from tests.waiting import wait_until


@contextmanager
def within(least: float, most: float) -> Iterator[None]:
    """The block takes between `least` and `most` seconds."""
    started = time.monotonic()
    yield
    passed = time.monotonic() - started
    assert least <= passed <= most, f"took {passed:.3f} s"


def open_breaker(client: Client) -> None:
    """Call until the breaker is open; what else is raised on the way is trouble with the connection."""
    for _ in range(20):
        try:
            client.get("a")
        except BreakerOpen:
            return
        except (ConnectionLost, Timeout):
            continue
    raise AssertionError("twenty failures did not open the breaker")


def test_a_server_that_is_gone_fails_at_once_then_faster_and_recovers(server: AnyServer, through: Through) -> None:
    route = through(server.address)
    with route.client(timeout=2.0) as client:
        assert client.get("a") is None
        route.proxy.refuse()
        route.proxy.reset()
        with within(0, 1.0), pytest.raises(RespError):
            client.get("a")
        open_breaker(client)
        fastest = 1.0
        for _ in range(200):
            started = time.perf_counter()
            with pytest.raises((BreakerOpen, ConnectionLost)):
                client.get("a")
            fastest = min(fastest, time.perf_counter() - started)
        assert fastest < 0.001
        route.proxy.listen()
        with within(0, 5.0):
            wait_until(lambda: answers(client))
        for _ in range(10):
            assert client.get("a") is None


def answers(client: Client) -> bool:
    try:
        client.ping()
    except RespError:
        return False
    return True


@contextmanager
def gone(route: Route, timeout: float) -> Iterator[Client]:
    """A client whose server hangs, with its breaker open; comes back at the end, and is used again."""
    with route.client(timeout=timeout) as client:
        client.ping()
        route.proxy.freeze()
        open_breaker(client)
        yield client
        route.proxy.thaw()
        wait_until(lambda: answers(client))


def refusals(client: Client, until: float) -> Iterator[type[RespError]]:
    """What calls raise up to this time (monotonic), of which BreakerOpen is what needs no waiting."""
    while time.monotonic() < until:
        with pytest.raises(RespError) as caught:
            client.get("a")
        yield type(caught.value)
        threading.Event().wait(0.002)


def test_while_the_breaker_is_open_no_call_waits(valkey: Server, through_plain: Through) -> None:
    with gone(through_plain(valkey.address), timeout=0.2) as client:
        found = list(refusals(client, until=time.monotonic() + 1.0))
        assert found.count(BreakerOpen) > len(found) - 4, "only a probe now and then may wait"


def test_only_one_thread_probes_a_server_that_hangs(valkey: Server, through_plain: Through) -> None:
    with gone(through_plain(valkey.address), timeout=0.5) as client:
        until = time.monotonic() + 1.5
        with ThreadPoolExecutor(8) as threads:
            found = [kind for kinds in threads.map(lambda _: list(refusals(client, until)), range(8)) for kind in kinds]
        assert found.count(BreakerOpen) > len(found) - 4


def test_a_killed_server_that_comes_back_is_used_again(new_server: Callable[..., Server]) -> None:
    server = new_server()
    with Client(host=server.host, port=server.port, timeout=2.0) as client:
        client.set("a", "1")
        for _ in range(2):
            server.kill()
            with within(0, 1.0), pytest.raises(RespError):
                client.get("a")
            server.start()
            wait_until(lambda: answers(client))
            assert client.set("a", "1")


def test_connecting_to_a_blackhole_ends_at_the_deadline() -> None:
    with blackhole() as (host, port), Client(host=host, port=port, timeout=0.3) as client:
        with within(0.2, 1.0), pytest.raises((Timeout, ConnectionLost)) as caught:
            client.get("a")
        assert getattr(caught.value, "maybe_executed", None) is False


@pytest.mark.parametrize("seconds", [0.05, 0.02])
def test_a_trickle_of_bytes_ends_at_the_total_deadline(server: AnyServer, through: Through, seconds: float) -> None:
    server.ask("SET", "a", "x" * 1000)
    route = through(server.address)
    with route.client(timeout=0.4) as client:
        client.ping()
        route.proxy.arm(Fault("trickle", seconds=seconds))
        with within(0.3, 0.9), pytest.raises(Timeout):
            client.get("a")
        with within(0, 0.4):
            assert client.get("a") == b"x" * 1000


def test_a_trickle_during_the_handshake_ends_at_the_total_deadline(server: AnyServer, through: Through) -> None:
    route = through(server.address)
    route.proxy.faults = (Fault("trickle", seconds=0.05),)
    with route.client(timeout=0.4) as client, within(0.3, 1.0), pytest.raises(Timeout):
        client.get("a")


def test_a_server_that_takes_no_bytes_ends_at_the_total_deadline(valkey: Server, through: Through) -> None:
    route = through(valkey.address)
    with route.client(timeout=0.5) as client:
        client.ping()
        route.proxy.freeze()
        with within(0.4, 1.2), pytest.raises(Timeout):
            client.set("large", b"x" * (64 << 20))
        route.proxy.thaw()
        assert client.get("a") is None


@pytest.mark.parametrize("handshake", [True, False], ids=["before the TLS handshake", "after it"])
def test_a_hung_tls_server_times_out(
    valkey: Server, through_ciphertext: Through, certificates: Certificates, handshake: bool
) -> None:
    """`SO_RCVTIMEO` with `ssl` would wait for ever: Python takes EAGAIN for a reason to try again."""
    route = through_ciphertext(valkey.address)
    with route.client(timeout=0.4) as client:
        if not handshake:
            client.ping()
        route.proxy.freeze()
        with within(0.3, 1.2), pytest.raises(Timeout):
            client.get("a")
        route.proxy.thaw()
        wait_until(lambda: answers(client))


def test_a_server_that_speaks_tls_to_a_client_that_does_not_is_an_error_in_time(
    valkey: Server, tls_front: Callable[..., Any]
) -> None:
    front = tls_front(valkey.address)
    with Client(host=front.host, port=front.port, timeout=1.0) as client, within(0, 1.5), pytest.raises(RespError):
        client.get("a")


def test_a_client_that_speaks_tls_to_a_server_that_does_not_is_an_error_in_time(
    valkey: Server, certificates: Certificates
) -> None:
    context = certificates.client_context()
    with (
        Client(host="localhost", port=valkey.port, ssl=context, timeout=1.0) as client,
        within(0, 1.5),
        pytest.raises(RespError),
    ):
        client.get("a")


def test_a_certificate_of_nobody_or_for_another_name_is_refused(
    valkey: Server, tls_front: Callable[..., Any], certificates: Certificates
) -> None:
    import ssl

    front = tls_front(valkey.address)
    untrusting = ssl.create_default_context()
    other_name = certificates.client_context()
    for host, context in (("localhost", untrusting), ("127.0.0.2", other_name)):
        with (
            Client(host=host, port=front.port, ssl=context, timeout=1.0) as client,
            within(0, 1.5),
            pytest.raises(ConnectionLost),
        ):
            client.get("a")


def test_a_client_certificate_opens_a_server_that_wants_one(
    valkey: Server, tls_front: Callable[..., Any], certificates: Certificates
) -> None:
    front = tls_front(valkey.address, ask_client=True)
    with Client(host="localhost", port=front.port, ssl=certificates.client_context(certificate=True)) as client:
        assert client.get("a") is None
    with (
        Client(host="localhost", port=front.port, ssl=certificates.client_context(), timeout=2.0) as client,
        pytest.raises(RespError),
    ):
        client.get("a")


def test_connections_killed_while_idle_are_replaced_unnoticed(real_server: Server, through: Through) -> None:
    with through(real_server.address).client() as client:
        barrier = threading.Barrier(3)

        def hold() -> None:
            barrier.wait()
            client.ping()

        threads = [threading.Thread(target=hold) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _ in range(5):
            real_server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert client.get("a") is None
            assert client.mget(["a", "b"]) == [None, None]


def test_an_idle_connection_that_the_server_closed_long_ago_does_not_fail_a_write(
    real_server: Server, through: Through
) -> None:
    with through(real_server.address).client() as client:
        client.ping()
        real_server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        wait_for_news(only_node(client).pool._idle[-1])
        assert client.incr("n") == 1
        assert client.incr("n") == 2


def test_a_paused_server_times_out_and_a_resumed_one_gives_right_values(new_server: Callable[..., Server]) -> None:
    server = new_server()
    with Client(host=server.host, port=server.port, timeout=0.3) as client:
        for number in range(20):
            client.set(f"k{number}", f"v{number}")
        server.pause()
        try:
            for number in range(2):
                with within(0.0, 1.0), pytest.raises((Timeout, BreakerOpen)):
                    client.get(f"k{number}")
        finally:
            server.resume()
        wait_until(lambda: answers(client))
        for number in range(20):
            assert client.get(f"k{number}") == f"v{number}".encode()


def test_client_pause_is_waited_for_or_ends_at_the_deadline(new_server: Callable[..., Server]) -> None:
    server = new_server()
    with Client(host=server.host, port=server.port, timeout=2.0) as client:
        client.set("a", "1")
        server.ask("CLIENT", "PAUSE", 300, "ALL")
        with within(0.15, 1.5):
            assert client.get("a") == b"1"
    with Client(host=server.host, port=server.port, timeout=0.2) as client:
        client.ping()
        with server.console() as console:
            console.ask("CLIENT", "PAUSE", 600, "WRITE")
            assert client.get("a") == b"1", "reads go on"
            with within(0.1, 0.6), pytest.raises(Timeout):
                client.set("a", "2")
            console.ask("CLIENT", "UNPAUSE")
        assert client.get("a") is not None


def test_a_server_without_room_for_another_client_says_so(new_server: Callable[..., Server]) -> None:
    server = new_server("--maxclients", "10")
    taken = []
    try:
        with Client(host=server.host, port=server.port, timeout=1.0) as client:
            while True:
                end = socket.create_connection(server.address, timeout=2)
                taken.append(end)
                end.sendall(b"PING\r\n")
                if not end.recv(100).startswith(b"+"):
                    break
            with within(0, 1.5), pytest.raises((TooManyClients, ConnectionLost)):
                client.get("a")
            for end in taken:
                end.close()
            taken.clear()
            wait_until(lambda: answers(client))
            assert client.get("a") is None
    finally:
        for end in taken:
            end.close()


def test_a_name_that_does_not_resolve_is_a_lost_connection() -> None:
    with (
        Client(host="no-such-host.invalid", port=6379, timeout=2.0) as client,
        pytest.raises((ConnectionLost, Timeout)),
    ):
        client.get("a")


def test_a_unix_socket_that_is_not_there_is_a_lost_connection() -> None:
    with Client.from_url("unix:///nonexistent/socket", timeout=1.0) as client, pytest.raises(ConnectionLost):
        client.get("a")


def test_a_unix_socket_serves_and_survives_a_restart(new_server: Callable[..., Server]) -> None:
    server = new_server()
    with Client.from_url(server.unix_url, timeout=1.0) as client:
        assert client.set("a", "1")
        server.restart()
        wait_until(lambda: answers(client))
        assert client.get("a") is None


def test_closing_a_client_while_threads_use_it_gives_them_errors_of_ours(valkey: Server, through: Through) -> None:
    route = through(valkey.address)
    client = route.client(max_connections=4)
    outcomes: list[BaseException] = []

    def work() -> None:
        try:
            while True:
                client.get("a")
        except BaseException as error:
            outcomes.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: valkey.clients())
    client.close()
    for thread in threads:
        thread.join(10)
    assert len(outcomes) == 8
    assert all(isinstance(one, RespError) for one in outcomes), outcomes
    wait_until(lambda: not valkey.clients())


def test_a_proxy_that_only_accepts_and_closes_is_a_lost_connection(chaos: Callable[..., ChaosProxy]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = nobody.getsockname()
    proxy = chaos(address)
    with Client(host=proxy.host, port=proxy.port, timeout=1.0) as client, within(0, 1.5), pytest.raises(RespError):
        client.get("a")
