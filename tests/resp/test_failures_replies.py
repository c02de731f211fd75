# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Error replies of real servers in real states, and that the connection is kept or closed as it should be."""

from collections.abc import Callable
from typing import Any

import pytest

from resp import (
    AuthenticationError,
    BreakerOpen,
    Busy,
    Client,
    ExecAborted,
    Loading,
    MasterDown,
    NoPermission,
    NoScript,
    OutOfMemory,
    PersistenceFailed,
    ReadOnly,
    RespError,
    ServerError,
    Timeout,
    WrongType,
)
from tests.ports import free_port
from tests.resp.conftest import AnyServer
from tests.resp.old_server import start_old_server
from tests.resp.servers import Server
from tests.waiting import wait_until


def client_of(server: AnyServer, **options: Any) -> Client:
    return Client(host=server.host, port=server.port, **{"timeout": 2.0, **options})


def test_a_loading_server_is_a_temporary_error_and_then_answers(new_server: Callable[..., Server]) -> None:
    server = new_server()
    server.ask("DEBUG", "POPULATE", 3000)
    server.ask("SAVE")
    server.kill()
    # A millisecond per key, and clients are served in between.
    server.start("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024", wait=False)
    with client_of(server) as client:
        seen: set[type[RespError]] = set()

        def answers() -> bool:
            try:
                return client.get("key:1") is not None
            except RespError as error:
                seen.add(type(error))
                return False

        wait_until(answers)
    assert Loading in seen


def test_a_full_server_refuses_writes_and_serves_reads(new_server: Callable[..., Server]) -> None:
    server = new_server()
    with client_of(server) as client:
        client.set("a", "1")
        server.ask("CONFIG", "SET", "maxmemory", "1")
        for _ in range(10):
            with pytest.raises(OutOfMemory):
                client.set("b", "1")
            assert client.get("a") == b"1"
        server.ask("CONFIG", "SET", "maxmemory", "0")
        assert client.set("b", "1")
        assert server.info("total_connections_received") < 20


def test_a_server_that_cannot_save_refuses_writes_and_serves_reads(new_server: Callable[..., Server]) -> None:
    server = new_server()
    with client_of(server) as client:
        client.set("a", "1")
        server.ask("CONFIG", "SET", "save", "3600 1")
        # A folder where the file should be makes saving fail, for root too.
        (server.folder / "dump.rdb").mkdir()
        (server.folder / "dump.rdb" / "x").touch()
        server.ask("BGSAVE")
        wait_until(lambda: server.ask("INFO", "persistence").find(b"rdb_last_bgsave_status:err") > 0)  # type: ignore[union-attr]  # INFO is bytes
        with pytest.raises(PersistenceFailed):
            client.set("b", "1")
        assert client.get("a") == b"1"


def test_a_demoted_server_refuses_writes_and_a_promoted_one_takes_them(new_server: Callable[..., Server]) -> None:
    server = new_server()
    with client_of(server) as client:
        client.set("a", "1")
        server.ask("REPLICAOF", "127.0.0.1", free_port())
        with pytest.raises(ReadOnly):
            client.set("a", "2")
        assert client.get("a") == b"1"
        server.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
        with pytest.raises(MasterDown):
            client.get("a")
        server.ask("REPLICAOF", "NO", "ONE")
        wait_until(lambda: client.get("a") == b"1")
        assert client.set("a", "3")
        assert client.get("a") == b"3"


def test_a_readonly_reply_closes_the_connection(new_server: Callable[..., Server]) -> None:
    """Behind one address there may be another server now; only a new connection finds it."""
    server = new_server()
    with client_of(server) as client:
        client.set("a", "1")
        before = {row["id"] for row in server.clients()}
        server.ask("REPLICAOF", "127.0.0.1", free_port())
        with pytest.raises(ReadOnly):
            client.set("a", "2")
        assert client.get("a") == b"1"
        assert before.isdisjoint(row["id"] for row in server.clients() if row["flags"] != "M")


def busy_once(client: Client) -> bool:
    """Whether a call finds the server busy; one that must wait until it says so is no answer to that."""
    try:
        client.get("a")
    except Busy:
        return True
    except Timeout:
        pass
    return False


def test_a_busy_server_is_a_temporary_error(new_server: Callable[..., Server]) -> None:
    server = new_server("--busy-reply-threshold", "50")
    with client_of(server, timeout=5.0) as client, server.console() as script:
        client.set("a", "1")
        script.send("EVAL", "while true do end", 0)
        wait_until(lambda: busy_once(client))
        server.ask("SCRIPT", "KILL")
        wait_until(lambda: not busy_once(client))
        assert client.get("a") == b"1"


@pytest.mark.parametrize("password", ["wrong", None])
def test_a_wrong_or_missing_password_is_an_authentication_error_without_a_storm(
    new_server: Callable[..., Server], password: str | None
) -> None:
    server = new_server(password="sesame")
    with client_of(server, password=password) as client:
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                client.get("a")
        before = server.info("total_connections_received")
        for _ in range(50):
            with pytest.raises((AuthenticationError, BreakerOpen)):
                client.get("a")
        # Trying again does not help, and servers lock out who tries too often.
        assert server.info("total_connections_received") - before < 10
    wait_until(lambda: server.clients() == [])


def test_the_right_password_opens_and_a_revoked_one_does_not(new_server: Callable[..., Server]) -> None:
    server = new_server(password="sesame")
    with client_of(server, password="sesame") as client:
        assert client.set("a", "1")
        server.ask("CONFIG", "SET", "requirepass", "other")
        server.password = "other"
        server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with pytest.raises(AuthenticationError):
            client.get("a")


@pytest.mark.parametrize("password", ["wrong", None])
def test_a_wrong_password_on_a_server_before_6(password: str | None) -> None:
    with start_old_server("sesame") as server, client_of(server, password=password) as client:
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                client.get("a")


def test_the_right_password_on_a_server_before_6() -> None:
    with start_old_server("sesame") as server, client_of(server, password="sesame", db=2) as client:
        assert client.set("a", "1")
        with server.console() as console:
            console.ask("SELECT", 2)
            assert console.ask("GET", "a") == b"1"


def test_a_user_may_do_what_the_access_control_list_allows(new_server: Callable[..., Server]) -> None:
    server = new_server()
    server.ask("ACL", "SETUSER", "reader", "on", ">se same/@:é", "~open:*", "+get", "+ping")
    with client_of(server, username="reader", password="se same/@:é") as client:
        for _ in range(3):
            assert client.get("open:a") is None
            with pytest.raises(NoPermission):
                client.get("closed:a")
            with pytest.raises(NoPermission):
                client.set("open:a", "1")
        # Refusals cost no connection.
        assert len({row["id"] for row in server.clients()}) == 1
        assert server.info("total_connections_received") < 10


def test_a_user_without_the_commands_of_the_handshake_is_served(new_server: Callable[..., Server]) -> None:
    """CLIENT SETINFO and CLIENT SETNAME are good manners, not conditions."""
    server = new_server()
    server.ask("ACL", "SETUSER", "plain", "on", ">sesame", "~*", "+get", "+set", "+hello", "+auth")
    with client_of(server, username="plain", password="sesame") as client:
        assert client.set("a", "1")
        assert client.get("a") == b"1"


def test_errors_of_the_caller_keep_the_connection(real_server: Server) -> None:
    with client_of(real_server, max_connections=1) as client:
        client.set("string", "x")
        number = client.execute("CLIENT", "ID")
        with pytest.raises(WrongType):
            client.execute("LPUSH", "string", "x")
        with pytest.raises(NoScript):
            client.evalsha("f" * 40, 0)
        with pytest.raises(ServerError) as caught:
            client.execute("NOSUCHCOMMAND")
        assert caught.value.code == "ERR"
        with pytest.raises(ServerError):
            client.incr("string")
        assert client.execute("CLIENT", "ID") == number


def test_errors_inside_a_pipeline_stay_in_their_place(server: AnyServer) -> None:
    with client_of(server) as client:
        pipe = client.pipeline(transaction=False)
        pipe.set("a", "x")
        pipe.incr("a")
        pipe.get("a")
        found = pipe.execute(raise_on_error=False)
        assert isinstance(found[1], ServerError)
        assert found[2] == b"x"
        assert client.get("a") == b"x"


def test_a_transaction_with_a_bad_command_is_aborted_as_a_whole(real_server: Server) -> None:
    with client_of(real_server) as client:
        pipe = client.transaction()
        pipe.set("a", "1")
        pipe.execute_command("NOSUCHCOMMAND")
        with pytest.raises((ExecAborted, ServerError)):
            pipe.execute()
        assert client.get("a") is None
