# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who writes to a repository through us makes everybody look again: once a second, and never not at all."""

import asyncio
from typing import Any

import pytest

from addon.admin import changes
from addon.admin.changes import Changes
from addon.shared.lookup import Key


class Library:
    """Counts the hints."""

    shared_looks = None

    def __init__(self) -> None:
        self.hinted: list[Key] = []

    async def hint(self, key: Key) -> None:
        self.hinted.append(key)


class Bus:
    """Hears nothing."""

    def tell(self, what: str, key: Key | None) -> None: ...


async def test_a_hundred_writes_at_once_are_two_hints_and_others_are_not_delayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes, "HINTS_A_SECOND", 20.0)
    library: Any = Library()
    registration: Any = None
    bus: Any = Bus()
    told = Changes(registration, library, bus)
    await asyncio.gather(*(told.hint(("alice", "blog")) for _ in range(100)), told.hint(("bob", "blog")))
    assert library.hinted == [("alice", "blog"), ("bob", "blog"), ("alice", "blog")]
