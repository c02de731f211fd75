# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One connection on its own: the handshake on old and new servers, deadlines, and what ends it."""

import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from resp import (
    AuthenticationError,
    Connection,
    ConnectionLost,
    Endpoint,
    InvalidArgument,
    ProtocolError,
    Push,
    RespError,
    ServerError,
    Timeout,
    TooManyClients,
)
from tests.ports import free_port
from tests.resp.conftest import AnyServer, TlsServer
from tests.resp.old_server import OldServer
from tests.resp.scripted import GREETING, Exchange, Scripted
from tests.resp.servers import Server

NewServer = Callable[..., Server]


def opened(server: Any, **options: Any) -> Connection:
    return Connection(Endpoint(host=server.host, port=server.port, **options)).connect()


# ---- introducing oneself ---------------------------------------------------------------------------------------------


def test_new_servers_are_spoken_to_in_resp3(real_server: Server) -> None:
    connection = opened(real_server)
    assert connection.protocol == 3
    assert connection.server[b"proto"] == 3
    assert connection.client_id == connection.call("CLIENT", "ID")
    assert connection.call("HGETALL", "nothing") == {}
    connection.close()


def test_servers_without_hello_are_spoken_to_in_resp2(old_server: OldServer) -> None:
    connection = opened(old_server)
    assert connection.protocol == 2
    assert connection.call("PING") == b"PONG"
    assert connection.call("GET", "nothing") is None
    connection.close()


def test_resp2_can_be_asked_for(server: AnyServer) -> None:
    connection = opened(server, protocol=2)
    assert connection.protocol == 2
    assert connection.call("PING") == b"PONG"
    connection.close()


@pytest.mark.parametrize("protocol", [2, 3])
def test_name_library_and_database_are_told_to_the_server(valkey: Server, protocol: int) -> None:
    connection = opened(valkey, protocol=protocol, client_name="worker-7", db=3)
    info = dict(word.split("=", 1) for word in connection.call("CLIENT", "INFO").decode().split())
    assert (info["name"], info["lib-name"], info["db"], info["resp"]) == ("worker-7", "resp", "3", str(protocol))
    connection.close()


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_password_alone_is_that_of_the_default_user(new_server: NewServer, protocol: int) -> None:
    server = new_server(password="s3cret /%")
    connection = opened(server, protocol=protocol, password="s3cret /%")
    assert connection.call("ACL", "WHOAMI") == b"default"
    connection.close()


@pytest.mark.parametrize("protocol", [2, 3])
def test_users_log_in_with_their_name(valkey: Server, protocol: int) -> None:
    valkey.ask("ACL", "SETUSER", "ann", "on", ">pw", "~*", "+@all")
    connection = opened(valkey, protocol=protocol, username="ann", password="pw")
    assert connection.call("ACL", "WHOAMI") == b"ann"
    connection.close()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("password", ["wrong", None])
def test_wrong_or_missing_credentials_are_an_authentication_error(
    new_valkey: NewServer, password: str | None, protocol: int
) -> None:
    server = new_valkey(password="right")
    connection = Connection(Endpoint(host=server.host, port=server.port, password=password, protocol=protocol))
    with pytest.raises(AuthenticationError):
        connection.connect()
    assert connection.closed


def test_the_old_server_takes_a_password_too(old_server: OldServer) -> None:
    with pytest.raises(RespError):
        # It has no password set, and says so as an error of AUTH.
        opened(old_server, password="needless")


def test_the_handshake_is_one_round_trip() -> None:
    def script(exchange: Exchange) -> None:
        names = [exchange.command()[:3] for _ in range(4)]
        # Only now the first answer: a client that waited for one before would not have come this far.
        exchange.send(GREETING + b"+OK\r\n" * 3)
        assert names[0][:2] == [b"HELLO", b"3"]
        assert names[3] == [b"SELECT", b"5"]
        exchange.answer(b"+PONG\r\n")

    with Scripted(script, greeted=False) as server:
        connection = opened(server, db=5, password="x", client_name="y", connect_timeout=5)
        assert connection.call("PING") == b"PONG"
        connection.close()


def test_a_database_that_does_not_exist_is_the_servers_error(real_server: Server) -> None:
    with pytest.raises(ServerError, match="DB index"):
        opened(real_server, db=9999)


def test_a_name_of_several_addresses_is_reached_by_the_one_that_answers(
    valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis/redis-py#690, #3030: `localhost` is ::1 first, and the server listens on 127.0.0.1 alone."""
    nobody = free_port()

    def several(host: str, port: int, **more: Any) -> list[Any]:
        if more.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        refused = [(socket.AF_INET6, *kind, ("::1", nobody, 0, 0)), (socket.AF_INET, *kind, ("127.0.0.1", nobody))]
        return [*refused, (socket.AF_INET, *kind, ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", several)
    connection = Connection(Endpoint(host="redis.localhost", port=valkey.port)).connect()
    assert connection.call("PING") == b"PONG"
    connection.close()


def test_a_full_server_says_so(new_server: NewServer) -> None:
    server = new_server("--maxclients", "1")
    with server.console() as console:
        console.ask("PING")
        refused: set[type[Exception]] = set()
        for _ in range(50):
            with pytest.raises((TooManyClients, ConnectionLost)) as caught:
                opened(server)
            assert isinstance(caught.value, TooManyClients) or getattr(caught.value, "maybe_executed", None) is False
            refused.add(type(caught.value))
            if TooManyClients in refused:
                break
        assert TooManyClients in refused  # a reset may overtake what the server said before it, now and then


@pytest.mark.parametrize(
    "greeting",
    [b"+OK\r\n+OK\r\n+OK\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", GREETING + b"+OK\r\n+OK\r\n+surplus\r\n"],
)
def test_what_is_no_server_of_this_kind_is_a_protocol_error(greeting: bytes) -> None:
    def script(exchange: Exchange) -> None:
        exchange.command()
        exchange.send(greeting)
        exchange.command()
        exchange.command()
        exchange.command()

    with Scripted(script, greeted=False) as server, pytest.raises(ProtocolError):
        opened(server)


# ---- ways to the server ----------------------------------------------------------------------------------------------


def test_unix_sockets(valkey: Server) -> None:
    connection = Connection(Endpoint(unix_socket_path=valkey.unix_path)).connect()
    value = b"x" * 3_000_000
    assert connection.call("SET", "key", value) == b"OK"
    assert connection.call("GET", "key") == value
    connection.close()


def test_tls(tls_valkey: TlsServer) -> None:
    context = tls_valkey.certificates.client_context()
    connection = Connection(Endpoint(host=tls_valkey.host, port=tls_valkey.port, tls=context)).connect()
    value = bytes(range(256)) * 8000
    assert connection.call("SET", "key", value) == b"OK"
    assert connection.call("GET", "key") == value
    connection.close()


def test_an_untrusted_certificate_is_refused_with_the_reason(tls_valkey: TlsServer) -> None:
    endpoint = Endpoint(host=tls_valkey.host, port=tls_valkey.port, tls=ssl.create_default_context())
    with pytest.raises(ConnectionLost, match="certificate") as caught:
        Connection(endpoint).connect()
    assert not caught.value.maybe_executed


def test_tls_to_a_server_without_it_fails_in_time(valkey: Server) -> None:
    endpoint = Endpoint(host=valkey.host, port=valkey.port, tls=ssl.create_default_context(), connect_timeout=0.5)
    with pytest.raises((ConnectionLost, Timeout)):
        Connection(endpoint).connect()


@pytest.mark.parametrize(
    "where",
    [
        {"host": "127.0.0.1"},
        {"host": "localhost"},
        {"host": "::1"},
        {"host": "no-such-host.invalid"},
        {"host": "a" * 300},
        {"host": "…"},
        {"host": "bad..name"},
        {"host": ""},
        {"unix_socket_path": "/nonexistent/socket"},
        {"unix_socket_path": "/" + "x" * 300},
    ],
    ids=str,
)
def test_where_nobody_listens_the_connection_is_lost(where: dict[str, Any]) -> None:
    with pytest.raises((ConnectionLost, Timeout)) as caught:
        Connection(Endpoint(port=free_port(), connect_timeout=3, **where)).connect()
    assert getattr(caught.value, "maybe_executed", True) is False
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "options",
    [
        {"port": 0},
        {"port": 70000},
        {"port": "6379"},
        {"host": None},
        {"host": "a\0b"},
        {"db": -1},
        {"db": True},
        {"protocol": 4},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"connect_timeout": None},
        {"password": b"bytes"},
        {"client_name": "two words"},
        {"client_name": "two\nlines"},
    ],
    ids=str,
)
def test_impossible_endpoints_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Endpoint(**options)


def test_secrets_are_in_no_repr() -> None:
    endpoint = Endpoint(username="anna", password="s3cret")
    for thing in (endpoint, Connection(endpoint)):
        assert "s3cret" not in f"{thing!r}{thing!s}"


# ---- deadlines -------------------------------------------------------------------------------------------------------


def trickle(exchange: Exchange) -> None:
    """One byte of a long reply every 20 ms."""
    exchange.command()
    exchange.send(b"$1000\r\n")
    while True:
        exchange.send(b"x")
        time.sleep(0.02)


def silence(exchange: Exchange) -> None:
    exchange.command()
    exchange.command()


def test_a_command_that_the_socket_takes_in_pieces_arrives_whole(valkey: Server) -> None:
    connection = opened(valkey)
    assert connection.socket is not None
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
    value = bytes(range(256)) * 120
    for number in range(50):
        assert connection.call("SET", b"key", b"%d" % number + value) == b"OK"
        assert connection.call("GET", b"key") == b"%d" % number + value
    connection.close()


def test_a_connection_says_whether_it_is_open(valkey: Server) -> None:
    connection = opened(valkey)
    where = f"<Connection to {valkey.host}:{valkey.port}"
    assert repr(connection) == f"{where}, RESP3>"
    connection.close()
    assert repr(connection) == f"{where}, closed>"


def test_who_is_interrupted_while_connecting_leaves_no_socket(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    connection = Connection(Endpoint(host=valkey.host, port=valkey.port))
    monkeypatch.setattr(Connection, "_handshake", interrupted)
    with pytest.raises(KeyboardInterrupt):
        connection.connect()
    assert connection.socket is None


@pytest.mark.parametrize("script", [trickle, silence])
@pytest.mark.parametrize("large", [False, True])
def test_a_call_ends_at_its_deadline_whatever_the_server_does(script: Callable[[Exchange], None], large: bool) -> None:
    with Scripted(script) as server:
        connection = opened(server)
        began = time.monotonic()
        with pytest.raises(Timeout) as caught:
            connection.call("GET", b"k" * 100_000 if large else b"k", deadline=began + 0.3)
        assert 0.25 < time.monotonic() - began < 1.5
        assert caught.value.maybe_executed
        assert connection.closed


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a struct timeval")
def test_a_connection_made_just_before_its_deadline_gives_the_next_call_its_own_time(valkey: Server) -> None:
    connection = Connection(Endpoint(host=valkey.host, port=valkey.port)).connect(time.monotonic() + 30)

    def limits() -> set[int]:
        assert connection.socket is not None
        found = (
            connection.socket.getsockopt(socket.SOL_SOCKET, name, 16)
            for name in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO)
        )
        return {struct.unpack("@ll", value)[0] for value in found}

    for seconds in (70.0, 80.0, 80.0):
        assert connection.roundtrip(b"*1\r\n$4\r\nPING\r\n", time.monotonic(), seconds) == b"PONG"
        assert limits() == {int(seconds)}
    connection.close()


def test_a_server_that_reads_nothing_ends_at_the_deadline_too() -> None:
    release = threading.Event()
    with Scripted(lambda exchange: release.wait(10)) as server:
        connection = opened(server)
        value = b"x" * 50_000_000
        began = time.monotonic()
        with pytest.raises(Timeout) as caught:
            connection.call("SET", "key", value, deadline=began + 0.3)
        assert 0.25 < time.monotonic() - began < 1.5
        assert not caught.value.maybe_executed
        release.set()


def test_connecting_ends_at_its_time_even_if_the_handshake_hangs() -> None:
    release = threading.Event()
    with Scripted(lambda exchange: release.wait(10), greeted=False) as server:
        began = time.monotonic()
        with pytest.raises(Timeout) as caught:
            opened(server, connect_timeout=0.3)
        assert 0.25 < time.monotonic() - began < 1.5
        assert not caught.value.maybe_executed
        release.set()


def test_a_full_backlog_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = []
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            waiting.append(sock)
        began = time.monotonic()
        with pytest.raises(Timeout):
            Connection(Endpoint(host="127.0.0.1", port=listener.getsockname()[1], connect_timeout=0.3)).connect()
        assert time.monotonic() - began < 1.5
        for sock in waiting:
            sock.close()


def test_no_deadline_means_to_wait() -> None:
    def script(exchange: Exchange) -> None:
        exchange.command()
        time.sleep(0.4)
        exchange.send(b"+late\r\n")

    with Scripted(script) as server:
        connection = opened(server, timeout=None)
        assert connection.call("GET", "key") == b"late"
        connection.close()


# ---- messages, and what ends a connection ----------------------------------------------------------------------------


def test_messages_and_replies_come_in_their_order(valkey: Server) -> None:
    connection = opened(valkey)
    connection.send("SUBSCRIBE", "news")
    assert connection.read_frame(time.monotonic() + 5) == [b"subscribe", b"news", 1]
    valkey.ask("PUBLISH", "news", "one")
    connection.send("PING")
    frames = [connection.read_frame(time.monotonic() + 5) for _ in range(2)]
    assert frames == [[b"message", b"news", b"one"], b"PONG"]
    assert isinstance(frames[0], Push)
    connection.close()


def test_messages_before_a_reply_are_put_aside() -> None:
    with Scripted(lambda exchange: exchange.answer(b">1\r\n+a\r\n>1\r\n+b\r\n:1\r\n>1\r\n+c\r\n")) as server:
        connection = opened(server)
        assert connection.call("GET", "key") == 1
        assert connection.read_frame(time.monotonic() + 5) == [b"a"]
        assert connection.read_frame(time.monotonic() + 5) == [b"b"]
        assert connection.read_frame(time.monotonic() + 5) == [b"c"]
        connection.close()


def test_waiting_for_a_message_survives_its_deadline_even_in_the_middle_of_one() -> None:
    more = threading.Event()

    def script(exchange: Exchange) -> None:
        exchange.send(b">2\r\n+mess")
        more.wait(10)
        exchange.send(b"age\r\n:1\r\n")
        exchange.command()

    with Scripted(script) as server:
        connection = opened(server)
        with pytest.raises(Timeout):
            connection.read_frame(time.monotonic() + 0.1)
        assert not connection.closed
        more.set()
        assert connection.read_frame(time.monotonic() + 5) == [b"message", 1]
        connection.close()


@pytest.mark.parametrize("part", [b"", b"$", b"$5\r\nhel", b"*2\r\n:1\r\n"])
def test_an_end_in_the_middle_of_a_reply_is_a_lost_connection(part: bytes) -> None:
    with Scripted(lambda exchange: exchange.answer(part)) as server:
        connection = opened(server)
        with pytest.raises(ConnectionLost):
            connection.call("GET", "key")
        assert connection.closed
        with pytest.raises(ConnectionLost):
            connection.call("GET", "key")


def test_error_replies_are_raised_by_call_and_returned_by_read_reply(valkey: Server) -> None:
    connection = opened(valkey)
    with pytest.raises(ServerError):
        connection.call("NO-SUCH-COMMAND")
    connection.send("NO-SUCH-COMMAND")
    assert isinstance(connection.read_reply(), ServerError)
    assert connection.call("PING") == b"PONG"
    connection.close()


def test_a_wrong_argument_does_no_harm(valkey: Server) -> None:
    connection = opened(valkey)
    with pytest.raises(InvalidArgument):
        connection.call("SET", "key", None)  # type: ignore[arg-type]  # that is the point
    assert connection.call("PING") == b"PONG"
    connection.close()


def test_closing_twice_is_fine(valkey: Server) -> None:
    connection = opened(valkey)
    connection.close()
    connection.close()
    assert connection.closed
    assert connection.fileno() == -1


def test_a_change_of_protocol_in_mid_life_is_understood(valkey: Server) -> None:
    connection = opened(valkey)
    connection.call("HSET", "hash", "field", "value")
    assert connection.call("HGETALL", "hash") == {b"field": b"value"}
    connection.call("HELLO", 2)
    assert connection.call("HGETALL", "hash") == [b"field", b"value"]
    assert connection.call("GET", "nothing") is None
    assert connection.call("RESET") == b"RESET"
    assert connection.call("GET", "nothing") is None
    connection.close()
