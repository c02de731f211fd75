# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The forge is the recorded one, afresh for each test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.addon.preview.running import recorded_options


@pytest.fixture
def root(repositories: Path) -> Path:
    return repositories


@pytest.fixture
def forge_options() -> dict[str, Any]:
    return recorded_options()
