# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The harness is tested too: a proxy that forgets its fault would let every failure test pass.

Everything here goes over `servers.Console`, which knows nothing of `resp`.
"""

import socket
import time
from collections.abc import Callable

import pytest

from tests.resp.certs import Certificates
from tests.resp.chaos import ChaosProxy, Fault, TlsFront, blackhole
from tests.resp.conftest import AnyServer
from tests.resp.old_server import start_old_server
from tests.resp.servers import Console, ConsoleError, Server
from tests.waiting import wait_until

Chaos = Callable[..., ChaosProxy]


def test_every_server_of_the_fixtures_stores_and_forgets(server: AnyServer) -> None:
    with server.console() as console:
        assert console.ask("GET", "a") is None
        assert console.ask("SET", "a", "1", "PX", 60_000) == b"OK"
        assert console.ask("APPEND", "a", "2") == 2
        assert console.ask("MGET", "a", "b") == [b"12", None]
        assert console.ask("DEL", "a", "b") == 1


def test_the_emulated_server_answers_as_redis_5_did() -> None:
    with start_old_server("sesame") as locked, Console(locked.address) as console:
        for words, answer in {
            ("HELLO", "3"): "ERR unknown command `HELLO`, with args beginning with: `3`, ",
            ("GET", "a"): "NOAUTH Authentication required.",
            ("AUTH", "user", "sesame"): "ERR wrong number of arguments for 'auth' command",
            ("AUTH", "wrong"): "ERR invalid password",
        }.items():
            with pytest.raises(ConsoleError) as caught:
                console.ask(*words)
            assert str(caught.value) == answer
        assert console.ask("AUTH", "sesame") == b"OK"
        with pytest.raises(ConsoleError, match="Unknown subcommand or wrong number of arguments for 'SETINFO'"):
            console.ask("CLIENT", "SETINFO", "LIB-NAME", "x")


def test_the_proxy_forwards_and_keeps_a_transcript(valkey: Server, chaos: Chaos) -> None:
    proxy = chaos(valkey.address)
    with Console(proxy.address) as console:
        assert console.ask("SET", "a", "1") == b"OK"
    request, reply = proxy.forwarded()
    assert (request, reply) == (b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n", b"+OK\r\n")
    wait_until(lambda: proxy.open_connections == 0, what="the end of the connection")


def read_all(end: socket.socket) -> tuple[bytes, type[Exception] | None]:
    data = b""
    try:
        while piece := end.recv(100):
            data += piece
    except OSError as error:
        return data, type(error)
    return data, None


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault("cut", after=3), (b"$5\r", None)),
        (Fault("reset", after=3), (b"", ConnectionResetError)),
        (Fault("cut"), (b"", None)),
        (Fault("cut", after=11, at_once=True), (b"$5\r\nhello\r\n", None)),
        (Fault("repeat", after=6), (b"$5\r\nhe$5\r\nhello\r\n", TimeoutError)),
        (Fault("inject", after=4, data=b"!"), (b"$5\r\n!hello\r\n", TimeoutError)),
        (Fault("pause", after=4, seconds=30), (b"$5\r\n", TimeoutError)),
        (Fault("pause", after=4, seconds=0.05), (b"$5\r\nhello\r\n", TimeoutError)),
        (Fault("trickle"), (b"$5\r\nhello\r\n", TimeoutError)),
        (Fault("cut", after=10, direction="to server"), (b"", None)),
        (Fault("cut", connection=1), (b"$5\r\nhello\r\n", TimeoutError)),
    ],
)
def test_a_fault_strikes_after_exactly_its_bytes(
    valkey: Server, chaos: Chaos, fault: Fault, seen: tuple[bytes, type[Exception] | None]
) -> None:
    valkey.ask("SET", "a", "hello")
    proxy = chaos(valkey.address, fault)
    with socket.create_connection(proxy.address, timeout=0.3) as end:
        end.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n")
        data, error = read_all(end)
    # A reset may overtake the bytes before it.
    assert error is seen[1]
    assert data == seen[0] or (error is ConnectionResetError and b"$5\r".startswith(data))


def test_frozen_connections_are_silent_but_not_closed(valkey: Server, chaos: Chaos) -> None:
    proxy = chaos(valkey.address)
    with Console(proxy.address, seconds=0.2) as console:
        proxy.freeze()
        console.send("PING")
        with pytest.raises(TimeoutError):
            console._socket.recv(1)
        proxy.thaw()
        console._socket.settimeout(5)
        assert console._socket.recv(7) == b"+PONG\r\n"
        proxy.inject(b"+LATE\r\n")
        assert console._socket.recv(7) == b"+LATE\r\n"


def test_a_refusing_proxy_listens_again_on_the_same_port(valkey: Server, chaos: Chaos) -> None:
    proxy = chaos(valkey.address)
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        Console(proxy.address)
    proxy.listen()
    with Console(proxy.address) as console:
        assert console.ask("PING") == b"PONG"


def test_a_blackhole_neither_accepts_nor_refuses() -> None:
    with blackhole() as address, pytest.raises(TimeoutError):
        socket.create_connection(address, timeout=0.2)


def test_the_tls_front_carries_what_the_server_says(
    valkey: Server, tls_front: Callable[..., TlsFront], certificates: Certificates
) -> None:
    valkey.ask("SET", "a", "x" * 300_000)
    front = tls_front(valkey.address)
    with (
        socket.create_connection(front.address, timeout=5) as plain,
        certificates.client_context().wrap_socket(plain, server_hostname="localhost") as end,
    ):
        end.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n")
        data = b""
        while len(data) < 300_011:
            data += end.recv(65536)
    assert data == b"$300000\r\n" + b"x" * 300_000 + b"\r\n"


def test_a_paused_server_is_silent_and_a_killed_one_refuses(new_server: Callable[..., Server]) -> None:
    server = new_server(password="sesame")
    with server.console(seconds=0.2) as console:
        server.pause()
        with pytest.raises(TimeoutError):
            console.ask("PING")
    server.resume()
    assert server.ask("SET", "a", "1") == b"OK"
    server.kill()
    with pytest.raises(ConnectionRefusedError):
        server.ask("PING")
    started = time.monotonic()
    server.restart()
    assert server.ask("GET", "a") is None
    assert time.monotonic() - started < 10
