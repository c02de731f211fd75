# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Stores of domains over memory, Valkey and Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from addon.domains.store import DomainStore
from addon.preview.forge import Forge
from addon.settings.schema import Settings
from addon.shared.cache import Shared
from tests.addon.domains.registering import Dns, MakeProxy, Owners, Proxy
from tests.addon.preview.running import start_forge
from tests.resp.servers import Server, redis_binary, start_redis, start_valkey

MakeStore = Callable[..., DomainStore]
KINDS = ["valkey", *(["redis"] if redis_binary() else [])]


@pytest.fixture(scope="session")
def _started() -> Iterator[Callable[[str], Server]]:
    """`_started(kind)`: a server for all tests, empty."""
    servers: dict[str, Server] = {}
    with ExitStack() as stack:

        def server(kind: str) -> Server:
            if kind not in servers:
                servers[kind] = stack.enter_context(start_valkey() if kind == "valkey" else start_redis())
            servers[kind].ask("FLUSHALL")
            return servers[kind]

        yield server


@pytest.fixture(params=KINDS)
def redis(request: pytest.FixtureRequest, _started: Callable[[str], Server]) -> Server:
    """Valkey 9, and Redis where it is installed, empty; not to be killed."""
    return _started(request.param)


@pytest.fixture(params=["memory", *KINDS])
def store(request: pytest.FixtureRequest, store_of: MakeStore, _started: Callable[[str], Server]) -> DomainStore:
    """A store of each kind."""
    return store_of(None if request.param == "memory" else _started(request.param))


@pytest.fixture
def own_redis() -> Iterator[Server]:
    """A Valkey for this test alone, which may be killed, stopped and changed."""
    with start_valkey() as server:
        yield server


@pytest.fixture
async def store_of(tmp_path: Path) -> AsyncIterator[MakeStore]:
    """`store_of(server, **options)`: a store, as one proxy has it; None: over memory alone."""
    made: list[tuple[DomainStore, Shared | None]] = []

    def make(server: Server | None, **options: Any) -> DomainStore:
        shared = None
        if server is not None:
            address = {"redisHost": server.host, "redisPort": server.port}
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

    def make(server: Server | None, dns: Dns | None = None, **options: Any) -> Proxy:
        settings = {"traefikRedisRouterEnabled": False} | options
        made.append(Proxy(forge.url, None if server is None else server.address, tmp_path, dns, **settings))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()
