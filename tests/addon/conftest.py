# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Forges to ask and clients that ask them: what is started is stopped.

There is one fixture `forge`. A module that wants repositories on it overrides `root`, one that wants settings overrides
`forge_options`; wings whose forge is the recorded one do both.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import hypothesis
import pytest

from addon.forgejo.client import Forgejo
from addon.preview.forge import Forge
from addon.settings.schema import Settings
from addon.shared.cache import SharedCache
from tests.addon.domains.name_server import NameServer, name_server
from tests.addon.lane.faces import Client, Faces
from tests.addon.preview import running
from tests.addon.preview.fixtures import make_repositories
from tests.addon.preview.running import TOKENS
from tests.addon.shared.meddling import without_scripts
from tests.addon.shared.nodes import Place as RedisPlace
from tests.addon.shared.nodes import options_of
from tests.clock import Clock
from tests.resp.fleets import Cluster, clustered
from tests.resp.servers import Server, start_redis, start_valkey

# How long an example takes is the machine's business: nothing here is asserted by the clock.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture
def both(faces: Faces) -> Iterator[tuple[Client, Client]]:
    """A connection to each of a module's `faces`."""
    clients = Client(faces.lane.connect), Client(faces.flow.connect)
    yield clients
    for client in clients:
        client.close()


class Place(Protocol):
    """Anything that has an address."""

    @property
    def url(self) -> str: ...


StartForge = Callable[..., Forge]
Connect = Callable[..., Forgejo]
SharedAt = Callable[..., SharedCache]


class Counting(ThreadPoolExecutor):
    """Counts what it was given."""

    submitted = 0

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted += 1
        return super().submit(function, *args, **kwargs)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded ones, a folder of `OWNER/NAME.git`; not to be written to."""
    root = tmp_path_factory.mktemp("repositories")
    make_repositories(root)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of the `OWNER/NAME.git` that `forge` serves: what a module, or a test as it runs, puts there."""
    return tmp_path


@pytest.fixture
def forge_options() -> dict[str, Any]:
    """What `forge` is started with."""
    return {}


@pytest.fixture
def start_forge(root: Path, forge_options: dict[str, Any]) -> Iterator[StartForge]:
    """`start_forge(**options)`: a forge with further options."""
    with contextlib.ExitStack() as stack:

        def begin(**options: Any) -> Forge:
            return stack.enter_context(running.start_forge(root, **(forge_options | options)))

        yield begin


@pytest.fixture
def forge(start_forge: StartForge) -> Forge:
    """A forge over `root`."""
    return start_forge()


@pytest.fixture(scope="session")
def started() -> Iterator[Callable[[str], Server | Cluster]]:
    """`started(kind)`: a server, or a cluster, for all tests, empty."""
    starts: dict[str, Callable[[], AbstractContextManager[Server | Cluster]]] = {
        "valkey": start_valkey,
        "redis": start_redis,
        "cluster": partial(clustered, "valkey", replicas=0),
        "cluster of Redis": partial(clustered, "redis", replicas=0),
    }
    servers: dict[str, Server | Cluster] = {}
    with contextlib.ExitStack() as stack:

        def server(kind: str) -> Server | Cluster:
            if kind not in servers:
                servers[kind] = stack.enter_context(starts[kind]())
            servers[kind].ask("FLUSHALL")
            return servers[kind]

        yield server


@pytest.fixture(params=["valkey", "redis"])
def redis_kind(request: pytest.FixtureRequest) -> str:
    """Valkey 9 and Redis 7 in turn."""
    return str(request.param)


@pytest.fixture
def redis(redis_kind: str, started: Callable[[str], Server | Cluster]) -> Server:
    """A server of that kind, empty; not to be killed."""
    server = started(redis_kind)
    assert isinstance(server, Server)
    return server


ONE_KIND: Final = pytest.mark.parametrize("redis_kind", ["valkey"])
"""For tests of crowds, in which it is what asks that is told, and what is asked has no part: Valkey alone."""


@pytest.fixture
def own_redis() -> Iterator[Server]:
    """A Valkey for this test alone, which may be killed, stopped and changed."""
    with start_valkey() as server:
        yield server


@pytest.fixture(params=["server", "without scripts", "cluster"])
def place(request: pytest.FixtureRequest, started: Callable[[str], Server | Cluster]) -> Iterator[Server | Cluster]:
    """Where records are kept in turn: a server, one on which no script may be run, and a cluster."""
    server = started("cluster" if request.param == "cluster" else "valkey")
    with without_scripts(server) if request.param == "without scripts" else contextlib.nullcontext():
        yield server


@pytest.fixture
def server(started: Callable[[str], Server | Cluster]) -> Server | Cluster:
    """Where it does not matter."""
    return started("valkey")


@pytest.fixture
def names() -> Iterator[NameServer]:
    """A name server whose zone is the test's."""
    with name_server() as server:
        yield server


@pytest.fixture
async def shared_at(tmp_path: Path) -> AsyncIterator[SharedAt]:
    """`shared_at(redis, **options)`: what proxies share there, as one more proxy has it."""
    async with contextlib.AsyncExitStack() as stack:

        def make(redis: RedisPlace, **options: Any) -> SharedCache:
            place = {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1", "stateDir": str(tmp_path)}
            shared = SharedCache.of(Settings.from_mapping({**place, **options_of(redis), **options}, environ={}))
            assert shared is not None
            stack.push_async_callback(shared.aclose)
            return shared

        yield make


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes clients, with a token given by the name of its owner or as it is."""
    async with contextlib.AsyncExitStack() as stack:

        def begin(place: Place, token: str | None = None, **options: Any) -> Forgejo:
            forgejo = Forgejo(place.url, TOKENS.get(token or "", token), **options)
            stack.push_async_callback(forgejo.aclose)
            return forgejo

        yield begin
