# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A forge with one small site that changes, and proxies in front of it that share a Redis or Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from addon.preview.forge import Forge
from addon.settings.schema import Settings
from addon.shared.cache import Shared
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.addon.shared.nodes import Node, Place
from tests.resp.servers import Server, start_redis, start_valkey

FIRST = b"<!doctype html><title>First</title><h1>First</h1>\n"
MakeNode = Callable[..., Node]
SharedAt = Callable[[tuple[str, int]], Shared]


@pytest.fixture(scope="session", params=["valkey", "redis"])
def _running(request: pytest.FixtureRequest) -> Iterator[Server]:
    with start_valkey() if request.param == "valkey" else start_redis() as server:
        yield server


@pytest.fixture
def redis(_running: Server) -> Server:
    """Valkey 9 and Redis 7 in turn, empty; not to be killed."""
    _running.ask("FLUSHALL")
    return _running


@pytest.fixture
def own_redis() -> Iterator[Server]:
    """A Valkey for this test alone, which may be killed, stopped and changed."""
    with start_valkey() as server:
        yield server


@pytest.fixture
def blog(tmp_path: Path) -> Iterator[Site]:
    """The repository alice/blog; `commit` is a push."""
    files = {
        ".pages": b"enabled: true\n",
        "public/index.html": FIRST,
        "public/old.html": b"old",
        "public/a.css": b"a{}",
    }
    site = Site(tmp_path / "forge" / "alice" / "blog.git", files)
    yield site
    site.close()


@pytest.fixture
def forge(tmp_path: Path, blog: Site) -> Iterator[Forge]:
    forge = start_forge(tmp_path / "forge")
    yield forge
    forge.stop()


@pytest.fixture
async def node(forge: Forge, tmp_path: Path) -> AsyncIterator[MakeNode]:
    """`node(redis, **options)`: a proxy in front of the forge; redis: where it is."""
    made: list[Node] = []

    def make(redis: Place, **options: Any) -> Node:
        made.append(Node(forge.url, redis, tmp_path, **options))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


@pytest.fixture
async def shared_at(tmp_path: Path) -> AsyncIterator[SharedAt]:
    """What proxies share at a Redis, one more with each call."""
    made: list[Shared] = []

    def make(address: tuple[str, int]) -> Shared:
        options = {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1", "stateDir": str(tmp_path)}
        settings = Settings.from_mapping({**options, "redisHost": address[0], "redisPort": address[1]}, environ={})
        shared = Shared.of(settings)
        assert shared is not None
        made.append(shared)
        return shared

    yield make
    for each in made:
        await each.aclose()
