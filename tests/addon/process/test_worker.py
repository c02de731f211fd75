# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a worker hears of its supervisor, and what it does when there is none any more."""

import asyncio
import os
import signal
import socket

import pytest

from addon.process.worker import Bus, Worker

DEADLINE = 20.0


async def nothing(key: object) -> None:
    """What siblings are asked for here."""


@pytest.mark.parametrize("unread", [False, True])
async def test_a_worker_ends_when_its_supervisor_is_gone(monkeypatch: pytest.MonkeyPatch, unread: bool) -> None:
    ended: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(os, "kill", lambda pid, number: ended.set_result((pid, number)))
    supervisor, control = socket.socketpair()
    bus = Bus(Worker(0, 1, {}, control.detach(), b""))
    await bus.start(nothing, nothing, lambda key: None)
    if unread:  # then the kernel says that the connection was reset, and not that it was closed
        bus.ready()
        assert supervisor.recv(1, socket.MSG_PEEK)
    supervisor.close()
    assert await asyncio.wait_for(ended, DEADLINE) == (os.getpid(), signal.SIGTERM)
    await bus.aclose()
