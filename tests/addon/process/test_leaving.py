# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Workers that leave after a reload: they are told how long they may take, and cut when somebody waits for them."""

import asyncio
from pathlib import Path

import pytest

from addon.process import supervisor
from addon.process.supervisor import LEAVE_SECONDS, Generation
from tests.waiting import until

# In place of a worker: says that it serves, writes down what it is told, and goes where that is its last word.
STAND_IN = """
import json, os, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: told("SIGTERM"))
def told(what):
    with open(sys.argv[2], "a") as file:
        file.write(what + "\\n")
control = socket.socket(fileno=json.loads(os.environ["PAGES_WORKER"])["control"]).makefile("rwb")
control.write(b'{"ready": true}\\n')
control.flush()
for line in control:
    said = json.loads(line)
    told(" ".join(str(said[name]) for name in ("do", "seconds") if name in said))
    if said["do"] == LAST:
        break
"""


def generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str) -> tuple[Generation, Path]:
    monkeypatch.setattr(supervisor, "_PROGRAM", STAND_IN.replace("LAST", repr(last)))
    return Generation(tmp_path / "told", b"", {}, set(), 2), tmp_path / "told"


async def test_who_has_answered_all_is_gone_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers, told = generation(tmp_path, monkeypatch, "leave")
    await workers.start()
    async with asyncio.timeout(60):
        await workers.leave()
    assert told.read_text().splitlines() == [f"leave {LEAVE_SECONDS}"] * 2


async def test_who_answers_still_stays_until_somebody_waits_and_is_cut_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "HURRY_SECONDS", 0.0)
    workers, told = generation(tmp_path, monkeypatch, "cut")
    await workers.start()
    leaving = asyncio.create_task(workers.leave())
    async with asyncio.timeout(60):
        await until(lambda: told.exists() and len(told.read_text().splitlines()) == 2)
        assert len(workers._running) == 2
        workers.hurried.set()
        await leaving
    lines = told.read_text().splitlines()
    assert lines[:2] == [f"leave {LEAVE_SECONDS}"] * 2  # and no signal, which would be for who has to hurry
    assert lines.count("cut") == 2
