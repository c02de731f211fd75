# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Forges to ask and clients that ask them: the recorded repositories, made once, and what is started is stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import hypothesis
import pytest

from addon.forgejo.client import Forgejo
from addon.preview.forge import Forge
from tests.addon.lane.faces import Client, Faces
from tests.addon.preview.fixtures import make_repositories
from tests.addon.preview.running import TOKENS, recorded_forge

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


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `OWNER/NAME.git`; not to be written to."""
    root = tmp_path_factory.mktemp("repositories")
    make_repositories(root)
    return root


@pytest.fixture
def start_forge(repositories: Path) -> Iterator[StartForge]:
    """Starts the recorded forge with further options."""
    started: list[Forge] = []

    def begin(**options: Any) -> Forge:
        started.append(recorded_forge(repositories, **options))
        return started[-1]

    yield begin
    for forge in started:
        forge.stop()


@pytest.fixture
def forge(start_forge: StartForge) -> Forge:
    return start_forge()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes clients, with a token given by the name of its owner or as it is."""
    made: list[Forgejo] = []

    def begin(place: Place, token: str | None = None, **options: Any) -> Forgejo:
        made.append(Forgejo(place.url, TOKENS.get(token or "", token), **options))
        return made[-1]

    yield begin
    for forgejo in made:
        await forgejo.aclose()
