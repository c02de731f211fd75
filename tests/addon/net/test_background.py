# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The end of tasks behind everybody's back: all have ended, and what had gone wrong is said and stops nobody."""

from __future__ import annotations

import asyncio

import pytest

from addon.net.background import ended
from tests.waiting import rounds


async def test_what_is_ended_has_ended_whatever_it_did(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    async def goes_on(name: str) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await rounds(3)
            told.append(name)

    async def fails() -> None:
        raise ValueError("as it may happen")

    tasks = [asyncio.create_task(goes_on("one")), asyncio.create_task(fails()), asyncio.create_task(goes_on("two"))]
    await rounds()
    await ended(None, *tasks)
    assert all(task.done() for task in tasks)
    assert told == ["one", "two"]
    assert "as it may happen" in caplog.text
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    await ended(*tasks, None)
