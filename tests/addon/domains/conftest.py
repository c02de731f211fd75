# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Stores of domains over memory, Valkey and Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from addon.domains.store import DomainStore
from addon.preview.forge import Forge
from addon.settings.schema import Settings
from addon.shared.cache import Shared
from tests.addon.domains.registering import Dns, MakeProxy, Owners, Proxy
from tests.addon.preview.running import start_forge
from tests.addon.shared.nodes import Place, options_of
from tests.resp.fleets import Cluster, clustered
from tests.resp.servers import Server, redis_binary, start_redis, start_valkey

MakeStore = Callable[..., DomainStore]
KINDS = ["valkey", *(["redis"] if redis_binary() else [])]
CLUSTERS = ["cluster", *(["cluster of Redis"] if redis_binary() else [])]


@pytest.fixture(scope="session")
def _started() -> Iterator[Callable[[str], Server | Cluster]]:
    """`_started(kind)`: a server, or a cluster, for all tests, empty."""
    starts: dict[str, Callable[[], AbstractContextManager[Server | Cluster]]] = {
        "valkey": start_valkey,
        "redis": start_redis,
        "cluster": partial(clustered, "valkey", replicas=0),
        "cluster of Redis": partial(clustered, "redis", replicas=0),
    }
    servers: dict[str, Server | Cluster] = {}
    with ExitStack() as stack:

        def server(kind: str) -> Server | Cluster:
            if kind not in servers:
                servers[kind] = stack.enter_context(starts[kind]())
            servers[kind].ask("FLUSHALL")
            return servers[kind]

        yield server


@pytest.fixture(params=KINDS)
def redis(request: pytest.FixtureRequest, _started: Callable[[str], Server | Cluster]) -> Server:
    """Valkey 9, and Redis where it is installed, empty; not to be killed."""
    server = _started(request.param)
    assert isinstance(server, Server)
    return server


@pytest.fixture(params=["memory", *KINDS, "cluster"])
def store(
    request: pytest.FixtureRequest, store_of: MakeStore, _started: Callable[[str], Server | Cluster]
) -> DomainStore:
    """A store of each kind."""
    return store_of(None if request.param == "memory" else _started(request.param))


@pytest.fixture(params=[*KINDS, *CLUSTERS])
def anywhere(request: pytest.FixtureRequest, _started: Callable[[str], Server | Cluster]) -> Server | Cluster:
    """The same, and clusters of three of both, empty; not to be killed."""
    return _started(request.param)


@pytest.fixture
def own_redis() -> Iterator[Server]:
    """A Valkey for this test alone, which may be killed, stopped and changed."""
    with start_valkey() as server:
        yield server


@pytest.fixture
async def store_of(tmp_path: Path) -> AsyncIterator[MakeStore]:
    """`store_of(server, **options)`: a store, as one proxy has it; None: over memory alone."""
    made: list[tuple[DomainStore, Shared | None]] = []

    def make(server: Place, **options: Any) -> DomainStore:
        shared = None
        if server is not None:
            address = options_of(server)
            mapping = {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1", "stateDir": str(tmp_path)}
            shared = Shared.of(Settings.from_mapping({**mapping, **address, **options}, environ={}))
        made.append((DomainStore(shared), shared))
        return made[-1][0]

    yield make
    for store, shared in made:
        await store.aclose()
        if shared is not None:
            await shared.aclose()


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    (tmp_path / "forge").mkdir()
    forge = start_forge(tmp_path / "forge")
    yield forge
    forge.stop()


@pytest.fixture
def owners(tmp_path: Path, forge: Forge) -> Iterator[Owners]:
    """Whose repositories are in the forge."""
    owners = Owners(tmp_path / "forge", forge)
    yield owners
    for site in owners.open.values():
        site.close()


@pytest.fixture
async def proxy(forge: Forge, tmp_path: Path) -> AsyncIterator[MakeProxy]:
    """`proxy(server, dns, **options)`: a proxy that registers domains; server None: without Redis.

    Without routers for Traefik, unless options say otherwise.
    """
    made: list[Proxy] = []

    def make(server: Place, dns: Dns | None = None, **options: Any) -> Proxy:
        settings = {"traefikRedisRouterEnabled": False} | options
        made.append(Proxy(forge.url, server, tmp_path, dns, **settings))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()
