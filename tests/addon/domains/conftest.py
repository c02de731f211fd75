# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Stores of domains over memory, Valkey and Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from addon.domains.store import DomainStore
from addon.preview.forge import Forge
from tests.addon.conftest import SharedAt
from tests.addon.domains.registering import Dns, MakeProxy, Owners, Proxy
from tests.addon.shared.nodes import Place
from tests.resp.fleets import Cluster
from tests.resp.servers import Server

MakeStore = Callable[..., DomainStore]


@pytest.fixture(params=["memory", "valkey", "redis", "cluster"])
def store(
    request: pytest.FixtureRequest, store_of: MakeStore, started: Callable[[str], Server | Cluster]
) -> DomainStore:
    """A store of each kind."""
    return store_of(None if request.param == "memory" else started(request.param))


@pytest.fixture(params=["valkey", "redis", "cluster", "cluster of Redis"])
def anywhere(request: pytest.FixtureRequest, started: Callable[[str], Server | Cluster]) -> Server | Cluster:
    """The same, and clusters of three of both, empty; not to be killed."""
    return started(request.param)


@pytest.fixture
async def store_of(shared_at: SharedAt) -> AsyncIterator[MakeStore]:
    """`store_of(server, **options)`: a store, as one proxy has it; None: over memory alone."""
    async with AsyncExitStack() as stack:

        def make(server: Place, **options: Any) -> DomainStore:
            store = DomainStore(None if server is None else shared_at(server, **options))
            stack.push_async_callback(store.aclose)
            return store

        yield make


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "forge"
    folder.mkdir()
    return folder


@pytest.fixture
def owners(root: Path, forge: Forge) -> Iterator[Owners]:
    """Whose repositories are in the forge."""
    owners = Owners(root, forge)
    yield owners
    for site in owners.open.values():
        site.close()


@pytest.fixture
async def proxy(forge: Forge, tmp_path: Path) -> AsyncIterator[MakeProxy]:
    """`proxy(server, dns, **options)`: a proxy that registers domains; server None: without Redis.

    Without routers for Traefik, unless options say otherwise.
    """
    async with AsyncExitStack() as stack:

        def make(server: Place, dns: Dns | None = None, **options: Any) -> Proxy:
            settings = {"traefikRedisRouterEnabled": False} | options
            made = Proxy(forge.url, server, tmp_path, dns, **settings)
            stack.push_async_callback(made.aclose)
            return made

        yield make
