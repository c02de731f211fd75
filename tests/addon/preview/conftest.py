# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The recorded repositories, made once a session, and a forge that serves them as they were recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from tests.addon.preview.fixtures import make_repositories
from tests.addon.preview.running import recorded_forge


@pytest.fixture(scope="session")
def forge_repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `OWNER/NAME.git`; not to be written to."""
    root = tmp_path_factory.mktemp("repositories")
    make_repositories(root)
    return root


@pytest.fixture
def forge(forge_repositories: Path) -> Iterator[Forge]:
    """A fresh forge over the recorded repositories."""
    running = recorded_forge(forge_repositories)
    yield running
    running.stop()
