# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Servers as fixtures: `valkey`, `redis7`, `old_server`, `tls_valkey`, `server` (each of the first three in turn).

One process of each kind lives as long as the test run and is emptied before every test; what kills a server or
changes its settings takes a process of its own from `new_valkey` or `new_redis`. Where Debian's Redis is not
installed, the tests that need it are taken out with a line that says so; where `CI` is set they fail instead, so that
a build machine cannot lose them silently.
"""

import contextlib
import os
import select
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from resp import Client, Connection, Endpoint
from resp.node import Node
from resp.sentinel import SentinelSource
from tests.resp.certs import Certificates, make_certificates
from tests.resp.chaos import ChaosProxy, Fault, TlsFront
from tests.resp.old_server import OldServer, start_old_server
from tests.resp.servers import Server, redis_binary, start_redis, start_valkey
from tests.waiting import wait_until

Connect = Callable[..., Connection]
"""`connect(address, protocol=3, tls=None, username=None, password=None)`."""

NEEDS_REDIS: Final = frozenset({"redis7", "new_redis", "tls_redis"})
"""Fixtures, and values of parametrised fixtures, that need the system's Redis."""


AnyServer = Server | OldServer
"""A real or the emulated server."""


@dataclass(frozen=True)
class TlsServer:
    """A server behind TLS: where to connect, what to trust, and the server itself."""

    host: str
    port: int
    mutual_port: int
    """Here only clients with a certificate of the authority are let in."""
    certificates: Certificates
    server: Server

    @property
    def address(self) -> tuple[str, int]:
        return (self.host, self.port)


@dataclass(frozen=True)
class Route:
    """A way for a client to a server, through a proxy that misbehaves, with or without TLS."""

    proxy: ChaosProxy
    address: tuple[str, int]
    tls: ssl.SSLContext | None = None

    def client(self, **options: Any) -> Client:
        """A new `Client` on this way; `options` as for Client."""
        return Client(host=self.address[0], port=self.address[1], ssl=self.tls or False, **options)


Through = Callable[..., Route]
"""`through(server_address, *faults)`."""


def only_node(client: Client) -> Node:
    """The one server of a client, with its pool: for tests that look inside."""
    source = client._source
    assert isinstance(source, Node)
    return source


def only_sentinels(client: Client[Any]) -> SentinelSource:
    """What a client asks sentinels through: for tests that look inside."""
    source = client._source
    assert isinstance(source, SentinelSource)
    return source


def wait_for_news(*idle: Connection) -> None:
    """Wait until each of these has something to read, be it its end, and is old enough to be looked at before its use.

    What a server or a proxy did takes its time to get here, behind TLS more of it.
    """
    wait_until(lambda: all(select.select([each], [], [], 0)[0] for each in idle), what="news on idle connections")
    wait_until(lambda: all(time.monotonic() >= each.fresh_until for each in idle), what="an age to be looked at")


def _needs_redis(item: pytest.Item) -> bool:
    names = set(getattr(item, "fixturenames", ()))
    callspec: Any = getattr(item, "callspec", None)
    if callspec is not None:
        names |= {value for value in callspec.params.values() if isinstance(value, str)}
    return bool(names & NEEDS_REDIS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if redis_binary() is not None or os.environ.get("CI"):
        return
    missing = [item for item in items if _needs_redis(item)]
    if missing:
        items[:] = [item for item in items if item not in missing]
        config.hook.pytest_deselected(items=missing)
        line = f"{len(missing)} tests taken out: redis-server is not installed (Debian: apt-get install redis-server)"
        reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(line, yellow=True)
        else:
            print(line, file=sys.stderr)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(Path(tmp_path_factory.mktemp("certificates")))


@pytest.fixture(scope="session")
def _valkey() -> Iterator[Server]:
    with start_valkey() as server:
        yield server


@pytest.fixture(scope="session")
def _redis7() -> Iterator[Server]:
    with start_redis() as server:
        yield server


@pytest.fixture(scope="session")
def _tls_valkey(_valkey: Server, certificates: Certificates) -> Iterator[TlsServer]:
    context, mutual = certificates.server_context(), certificates.server_context(ask_client=True)
    with TlsFront(_valkey.address, context) as front, TlsFront(_valkey.address, mutual) as mutual_front:
        yield TlsServer("localhost", front.port, mutual_front.port, certificates, _valkey)


def _emptied(server: Server) -> Server:
    server.ask("FLUSHALL")
    server.ask("CONFIG", "RESETSTAT")
    users = server.ask("ACL", "USERS")
    assert isinstance(users, list)
    # What an earlier test left: a user is no key.
    for user in users:
        if isinstance(user, bytes) and user != b"default":
            server.ask("ACL", "DELUSER", user)
    return server


@pytest.fixture
def valkey(_valkey: Server) -> Server:
    """Valkey 9 without a password, empty."""
    return _emptied(_valkey)


@pytest.fixture
def redis7(_redis7: Server) -> Server:
    """Redis 7 of the system without a password, empty."""
    return _emptied(_redis7)


@pytest.fixture
def tls_valkey(_tls_valkey: TlsServer) -> TlsServer:
    """The same Valkey behind TLS; `mutual_port` asks for a client certificate."""
    _emptied(_tls_valkey.server)
    return _tls_valkey


@pytest.fixture
def old_server() -> Iterator[OldServer]:
    """An emulated Redis 5.0, a new one for each test."""
    with start_old_server() as server:
        yield server


def _in_turn(*fixtures: str) -> Any:
    """A fixture that is each of these in turn."""

    @pytest.fixture(params=fixtures)
    def one(request: pytest.FixtureRequest) -> Any:
        return request.getfixturevalue(request.param)

    return one


server: Final = _in_turn("valkey", "redis7", "old_server")
real_server: Final = _in_turn("valkey", "redis7")
new_server: Final = _in_turn("new_valkey", "new_redis")
through: Final = _in_turn("through_plain", "through_tls")


@pytest.fixture
def new_valkey() -> Iterator[Callable[..., Server]]:
    """`new_valkey(*options, password=None)` starts a Valkey for this test alone: it may be killed or changed."""
    with contextlib.ExitStack() as stack:
        yield lambda *options, **settings: stack.enter_context(start_valkey(*options, **settings))


@pytest.fixture
def new_redis() -> Iterator[Callable[..., Server]]:
    """`new_redis(*options, password=None, tls=None)` starts a Redis for this test alone."""
    with contextlib.ExitStack() as stack:
        yield lambda *options, **settings: stack.enter_context(start_redis(*options, **settings))


@pytest.fixture
def connect() -> Connect:
    """Opens a connection of `resp`, without a pool."""

    def open_connection(address: tuple[str, int], **options: Any) -> Connection:
        return Connection(Endpoint(host=address[0], port=address[1], **options)).connect()

    return open_connection


@pytest.fixture
def chaos() -> Iterator[Callable[..., ChaosProxy]]:
    """`chaos(upstream_address, *faults)` starts a proxy that is closed when the test ends."""
    with contextlib.ExitStack() as stack:

        def proxy(upstream: tuple[str, int], *faults: Fault) -> ChaosProxy:
            return stack.enter_context(ChaosProxy(upstream, *faults))

        yield proxy


@pytest.fixture
def through_plain(chaos: Callable[..., ChaosProxy]) -> Through:
    """Client → chaos → server."""

    def route(upstream: tuple[str, int], *faults: Fault) -> Route:
        proxy = chaos(upstream, *faults)
        return Route(proxy, proxy.address)

    return route


@pytest.fixture
def through_tls(through_plain: Through, tls_front: Callable[..., TlsFront], certificates: Certificates) -> Through:
    """Client → TLS → chaos → server: the trouble is in what TLS carries."""

    def route(upstream: tuple[str, int], *faults: Fault) -> Route:
        plain = through_plain(upstream, *faults)
        return replace(plain, address=tls_front(plain.address).address, tls=certificates.client_context())

    return route


@pytest.fixture
def through_ciphertext(
    through_plain: Through, tls_front: Callable[..., TlsFront], certificates: Certificates
) -> Through:
    """Client → chaos → TLS → server: the trouble is in the records of TLS themselves."""
    return lambda upstream, *faults: replace(
        through_plain(tls_front(upstream).address, *faults), tls=certificates.client_context()
    )


@pytest.fixture
def tls_front(certificates: Certificates) -> Iterator[Callable[..., TlsFront]]:
    """`tls_front(upstream_address)` puts TLS in front of an address."""
    with contextlib.ExitStack() as stack:

        def front(upstream: tuple[str, int], *, ask_client: bool = False) -> TlsFront:
            return stack.enter_context(TlsFront(upstream, certificates.server_context(ask_client=ask_client)))

        yield front
