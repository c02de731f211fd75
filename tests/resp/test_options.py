# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Options as users of redis-py bring them along, credentials that change, retries that are told how, and observers."""

import logging
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import resp
from resp import AuthenticationError, BreakerOpen, Client, ConnectionLost, Endpoint, InvalidArgument, Observer, Retry
from resp.commands import options
from resp.endpoint import parse_url, tls_context
from tests.ports import free_port
from tests.resp.scripted import Exchange, Scripted
from tests.resp.servers import Server
from tests.waiting import wait_until

# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("socket_timeout=2", {"timeout": 2.0}),
        ("socket_connect_timeout=1&decode_responses=True", {"connect_timeout": 1.0, "decode": True}),
        ("socket_keepalive=True&health_check_interval=30&retry_on_timeout=no&encoding=UTF-8", {}),
        ("max_connections=7&client_name=me&protocol=2", {"max_connections": 7, "client_name": "me", "protocol": 2}),
        ("lib_name=x&lib_version=1&socket_read_size=65536&socket_timeout=2", {"timeout": 2.0}),
    ],
)
def test_urls_of_redis_py_are_understood(query: str, expected: dict[str, Any]) -> None:
    assert parse_url(f"redis://localhost/0?{query}") == {"host": "localhost", "db": 0, **expected}


@pytest.mark.parametrize(
    ("options", "names", "certificates"),
    [
        ({}, True, ssl.CERT_REQUIRED),
        ({"check_hostname": False}, False, ssl.CERT_REQUIRED),
        ({"cert_reqs": "optional"}, False, ssl.CERT_OPTIONAL),
        ({"cert_reqs": "none"}, False, ssl.CERT_NONE),
        ({"cert_reqs": "none", "check_hostname": True}, False, ssl.CERT_NONE),
    ],
)
def test_what_of_a_servers_certificate_is_checked(
    options: dict[str, Any], names: bool, certificates: ssl.VerifyMode
) -> None:
    context = tls_context(**options)
    assert (context.check_hostname, context.verify_mode) == (names, certificates)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_url_has_a_hundred_options_at_most() -> None:
    assert parse_url(f"redis://h?{'&'.join(['timeout=1'] * 100)}")["timeout"] == 1
    with pytest.raises(InvalidArgument, match="cannot be read"):
        parse_url(f"redis://h?{'&'.join(['timeout=1'] * 101)}")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("retry_on_timeout=True", "never sent again"),
        ("encoding=latin-1", "UTF-8"),
        ("socket_keepalive=no", "always on"),
        ("ssl_ca_path=/etc", "ssl_ca_certs"),
        ("timeut=2", "'timeout'"),
    ],
)
def test_what_is_called_otherwise_or_not_there_is_said(query: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        parse_url(f"redis://localhost?{query}")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"decode_responses": True}, "decode"),
        ({"socket_timeout": 5}, "timeout"),
        ({"health_check_interval": 30}, "looked at"),
        ({"retry": 3}, "resp.Retry"),
        ({"credential_provider": None}, "credentials"),
        ({"pool_sise": 3}, "pool_size"),
        ({"nonsense": 3}, "no option 'nonsense'"),
    ],
)
def test_a_keyword_of_redis_py_is_answered_with_ours(option: dict[str, Any], said: str) -> None:
    make: Callable[..., Any] = Client
    with pytest.raises(InvalidArgument, match=said):
        make(**option)
    with pytest.raises(InvalidArgument, match=said):
        Client.from_url("redis://localhost", **option)


@pytest.mark.parametrize(
    ("group", "needed"),
    [
        (options.Conditions, set()),
        (options.Lifetime, set()),
        (options.SetOptions, set()),
        (options.AddOptions, set()),
        (options.Scored, {"withscores"}),
        (options.Unscored, set()),
        (options.Scoring, set()),
        (options.ScoredRange, {"withscores"}),
        (options.UnscoredRange, set()),
        (options.AnyRange, set()),
        (options.ClaimOptions, set()),
    ],
)
def test_options_of_a_command_may_be_left_out_but_for_what_tells_signatures_apart(group: Any, needed: set[str]) -> None:
    assert group.__required_keys__ == needed


# ---- credentials -----------------------------------------------------------------------------------------------------


class Tokens:
    """As redis-py's providers are; every connection gets the next one."""

    def __init__(self, *given: tuple[str, ...]) -> None:
        self.given = list(given)
        self.asked = 0

    def get_credentials(self) -> tuple[str, ...]:
        self.asked += 1
        return self.given.pop(0)


@pytest.mark.parametrize("protocol", [3, 2])
def test_credentials_are_asked_for_at_each_connection(real_server: Server, protocol: int) -> None:
    real_server.ask("ACL", "SETUSER", "ann", "on", ">first", ">second", "~*", "+@all")
    try:
        tokens = Tokens(("ann", "first"), ("ann", "second"))
        with Client(real_server.host, real_server.port, credentials=tokens, protocol=protocol) as client:
            assert client.acl_whoami() == "ann"
            assert client.acl_whoami() == "ann"
            assert tokens.asked == 1
            real_server.ask("ACL", "SETUSER", "ann", "<first")
            real_server.ask("CLIENT", "KILL", "TYPE", "normal")
            assert client.get("k") is None  # a read, which may be sent again over a new connection
            assert client.acl_whoami() == "ann"
            assert tokens.asked == 2
    finally:
        real_server.ask("ACL", "DELUSER", "ann")


def test_a_function_can_give_credentials_too(new_valkey: Callable[..., Server]) -> None:
    server = new_valkey(password="secret")
    for given in (("secret",), ("default", "secret"), "secret"):
        with Client(server.host, server.port, credentials=lambda given=given: given) as client:
            assert client.ping() is True


def test_a_provider_that_fails_is_an_error_of_ours_without_its_words(valkey: Server) -> None:
    def provider() -> tuple[str, str]:
        raise ValueError("token sesame is too old")

    for broken in (provider, lambda: None, lambda: (1, 2)):
        with (
            Client(valkey.host, valkey.port, credentials=broken, breaker=False) as client,
            pytest.raises(AuthenticationError) as caught,
        ):
            client.ping()
        assert "provider" in str(caught.value)
        assert "sesame" not in repr(caught.value)
        assert caught.value.__context__ is None


def test_a_wrong_token_is_not_repeated_in_the_error(new_valkey: Callable[..., Server]) -> None:
    server = new_valkey(password="secret")
    client = Client(server.host, server.port, credentials=lambda: ("ann", "sesame"))
    with client, pytest.raises(AuthenticationError) as caught:
        client.ping()
    assert "sesame" not in str(caught.value)
    assert "sesame" not in repr(client)


def test_credentials_come_from_one_place() -> None:
    with pytest.raises(InvalidArgument, match="provider"):
        Client(password="x", credentials=lambda: ("a", "b"))


# ---- retries ---------------------------------------------------------------------------------------------------------


def test_pauses_grow_up_to_the_longest() -> None:
    steady = Retry(attempts=5, first=0.1, factor=2, most=0.5, jitter=0)
    assert [steady.pause(tries) for tries in range(6)] == [0.1, 0.2, 0.4, 0.5, 0.5, None]
    jittered = Retry(first=1, most=1, jitter=0.5)
    found = [jittered.pause(0) or 0 for _ in range(200)]
    assert 0.5 <= min(found) < max(found) <= 1.0
    assert Retry(attempts=10_000).pause(9_999) is not None


@pytest.mark.parametrize(
    "options", [{"attempts": -1}, {"attempts": True}, {"first": -1}, {"factor": 0.5}, {"jitter": 2}, {"most": "1"}]
)
def test_impossible_policies_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Retry(**options)


@pytest.mark.parametrize("retries", [2, Retry(2, first=0.001)])
def test_a_policy_says_how_often(retries: Any) -> None:
    seen = []

    def script(exchange: Exchange) -> None:
        for _ in range(3):
            exchange.command()
            seen.append(1)
            exchange.send(b"-LOADING not yet\r\n")

    with (
        Scripted(script) as server,
        Client(server.host, server.port, retries=retries) as client,
        pytest.raises(resp.Loading),
    ):
        client.get("k")
    assert len(seen) == 3


# ---- observers -------------------------------------------------------------------------------------------------------


class Notes(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def command(self, name: str, seconds: float, error: resp.RespError | None) -> None:
        assert seconds >= 0
        self.seen.append(("command", name, type(error).__name__))

    def batch(self, names: Sequence[str], seconds: float, error: resp.RespError | None) -> None:
        self.seen.append(("batch", list(names), type(error).__name__))

    def connected(self, endpoint: Endpoint, seconds: float) -> None:
        self.seen.append(("connected", endpoint.port))

    def failed(self, endpoint: Endpoint, error: BaseException) -> None:
        self.seen.append(("failed", endpoint.port, type(error).__name__))

    def waited(self, endpoint: Endpoint, seconds: float) -> None:
        self.seen.append(("waited", endpoint.port))


def test_an_observer_is_told_of_commands_and_connections(real_server: Server) -> None:
    notes = Notes()
    with Client(real_server.host, real_server.port, observer=notes) as client:
        client.set("k", "secret value")
        with pytest.raises(resp.WrongType):
            client.lpush("k", 1)
        client.pipeline(transaction=False).get("k").incr("n").execute()
        queue = client.pipeline()
        queue.watch("k")
        queue.multi()
        queue.set("k", 2)
        queue.execute()
    assert notes.seen == [
        ("connected", real_server.port),
        ("command", "SET", "NoneType"),
        ("command", "LPUSH", "WrongType"),
        ("batch", ["GET", "INCRBY"], "NoneType"),
        ("batch", ["WATCH"], "NoneType"),
    ]


def test_an_observer_is_told_of_failures() -> None:
    notes, port = Notes(), free_port()
    with Client("127.0.0.1", port, observer=notes, breaker=False) as client:
        with pytest.raises(ConnectionLost):
            client.get("k")
        with pytest.raises(ConnectionLost):
            client.pipeline().get("k").execute()
    assert notes.seen == [
        ("failed", port, "ConnectionLost"),
        ("command", "GET", "ConnectionLost"),
        ("failed", port, "ConnectionLost"),
        ("batch", ["GET"], "ConnectionLost"),
    ]


def test_an_observer_is_told_who_had_to_wait(valkey: Server) -> None:
    notes = Notes()
    with Client(valkey.host, valkey.port, observer=notes, max_connections=1, wait_timeout=0.01) as client:
        queue = client.pipeline()
        queue.watch("k")
        with pytest.raises(resp.PoolExhausted):
            client.get("k")
        queue.reset()
    assert ("waited", valkey.port) in notes.seen


def test_an_observer_is_told_of_invalidations(valkey: Server) -> None:
    keys: list[bytes | None] = []

    class Keys(Observer):
        def invalidated(self, key: bytes | None) -> None:
            keys.append(key)

    told: list[bytes | None] = []
    with (
        Client(valkey.host, valkey.port, observer=Keys()) as client,
        client.tracking(told.append, prefixes=["k"]) as tracking,
    ):
        wait_until(lambda: tracking.status.state is resp.State.LIVE, what="tracking")
        valkey.ask("SET", "k1", "v")
        wait_until(lambda: b"k1" in told, what="the invalidation")
    assert keys[: len(told)] == told


def test_metrics_count_and_tell(valkey: Server) -> None:
    metrics = resp.Metrics()
    with Client(valkey.host, valkey.port, observer=metrics) as client:
        for _ in range(3):
            client.get("k")
        client.set("k", 1)
        with pytest.raises(resp.WrongType):
            client.lpush("k", 1)
        with pytest.raises(resp.ServerError):
            client.execute_command('NO"SUCH\ncommand')
        client.pipeline().get("k").execute()
    with Client("127.0.0.1", free_port(), observer=metrics, breaker=False) as client, pytest.raises(ConnectionLost):
        client.get("k")
    commands = metrics.commands()
    assert {name: found.calls for name, found in commands.items()} == {
        "GET": 4,
        "SET": 1,
        "LPUSH": 1,
        'NO"SUCH\nCOMMAND': 1,
        "PIPELINE": 1,
    }
    assert sum(commands["GET"].classes) == 4
    assert metrics.errors()["LPUSH", "WrongType"] == 1
    assert metrics.errors()["GET", "ConnectionLost"] == 1
    lines = metrics.prometheus("cache").splitlines()
    assert 'cache_command_seconds_count{command="GET"} 4' in lines
    assert 'cache_command_seconds_bucket{command="GET",le="+Inf"} 4' in lines
    assert 'cache_command_errors_total{command="NO_SUCH_COMMAND",error="ServerError"} 1' in lines
    assert "cache_connections_total 1" in lines
    assert "cache_connections_failed_total 1" in lines
    assert 'cache_wait_seconds_bucket{le="+Inf"} 0' in lines


def test_made_up_names_do_not_make_metrics_grow() -> None:
    metrics = resp.Metrics()
    for number in range(10_000):
        metrics.command(f"X{number}", 0.001, resp.ServerError())
    assert len(metrics.commands()) <= 129
    assert sum(found.calls for found in metrics.commands().values()) == 10_000
    assert len(metrics.errors()) <= 129


def test_an_observer_that_fails_harms_nobody(valkey: Server, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Observer):
        def command(self, name: str, seconds: float, error: resp.RespError | None) -> None:
            raise RuntimeError("mine")

    with Client(valkey.host, valkey.port, observer=Broken()) as client:
        assert client.set("k", 1) is True
    assert [record.message for record in caplog.records if record.name == "resp"] == ["an observer failed"]


def test_a_server_that_goes_and_comes_is_logged_once_each(
    new_valkey: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="resp")
    server = new_valkey()
    breaker = resp.Breaker(threshold=2, cooldown=0.01, max_cooldown=0.02)
    with Client(server.host, server.port, breaker=breaker) as client:
        client.ping()
        server.kill()
        for _ in range(6):
            with pytest.raises((ConnectionLost, BreakerOpen)):
                client.set("k", 1)
        server.start()
        wait_until(lambda: answers(client), what="the way back")
    said = [record.message.split(" (")[0] for record in caplog.records if record.name == "resp"]
    where = f"{server.host}:{server.port}"
    assert said[0].startswith(f"{where}: no connection: ")
    assert sorted(said[1:]) == sorted(
        [f"{where} does not answer", f"{where}: connected again", f"{where} answers again"]
    )


def answers(client: Client) -> bool:
    try:
        return client.set("k", 1) is True
    except resp.RespError:
        return False
