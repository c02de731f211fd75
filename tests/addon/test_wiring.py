# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The parts put together: an application is whole or leaves nothing behind, and its end is its beginning backwards."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import addon.wiring
from addon.access.signing_key import FILE_NAME
from addon.domains.registration import CustomDomains
from addon.library.library import Library
from addon.serving.answers import Request
from addon.settings.schema import Settings
from addon.web.forwarding import Visitor
from addon.wiring import CannotStart, application, open_admin
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.addon.serving.pages import ENABLED
from tests.resp.servers import Server
from tests.waiting import DEADLINE, until

Left = Callable[..., Awaitable[None]]


@pytest.fixture
def redis_kind() -> str:
    """One: the parts are the same with either."""
    return "valkey"


@pytest.fixture
def mapping(tmp_path: Path, redis: Server) -> Iterator[dict[str, Any]]:
    """Options under which every part there is has to be made."""
    site = Site(tmp_path / "forge" / "alice" / "blog.git", {".pages": ENABLED, "public/index.html": b"hello"})
    # Nobody else gets this port meanwhile.
    with start_forge(tmp_path / "forge") as forge, socket.create_server(("127.0.0.1", 0)) as taken:
        yield {
            "pagesDomain": "pages.test",
            "forgejoHost": forge.url,
            "redisHost": redis.host,
            "redisPort": redis.port,
            "stateDir": str(tmp_path / "state"),
            "accessLog": str(tmp_path / "access.log"),
            "acmeChallengeUpstream": "http://127.0.0.1:1",
            "adminListen": f"127.0.0.1:{taken.getsockname()[1]}",
            "enableCustomDomainDNSVerification": True,
        }
    site.close()


@pytest.fixture
async def nothing_left(redis: Server) -> Left:
    """Waits until nothing is open that was not before the test: threads, tasks, clients of Redis."""

    def opened() -> set[str]:
        clients = redis.ask("CLIENT", "LIST")
        assert isinstance(clients, bytes)
        others = clients.decode().count("\n") - 1  # without who asks
        return {
            # asyncio's own threads are the loop's.
            *(f"thread {each.name}" for each in threading.enumerate() if not each.name.startswith("asyncio_")),
            *(f"task {each.get_name()} {each.get_coro()}" for each in asyncio.all_tasks() - {asyncio.current_task()}),
            *(f"client of Redis {number}" for number in range(others)),
        }

    before = opened()

    async def nothing(seconds: float = DEADLINE) -> None:
        await until(
            lambda: not opened() - before, lambda: "\n".join(["an end of", *sorted(opened() - before)]), seconds
        )

    return nothing


async def test_an_application_serves_and_leaves_nothing_behind(mapping: dict[str, Any], nothing_left: Left) -> None:
    app = await application(Settings.from_mapping(mapping, environ={}))
    request = Request("GET", "alice.pages.test", "/blog/", None, lambda _: None, lambda: Visitor("192.0.2.7", True))
    answer = await app.server.answer(request)
    assert (answer.status, answer.body) == (200, b"hello")
    assert await app.changes.purge(("alice", "blog"))
    with pytest.raises(AssertionError, match="client of Redis"):
        await nothing_left(0.0)
    await app.aclose()
    await nothing_left()


STEPS = [name for name in vars(addon.wiring) if name.startswith("open_") and name not in ("open_admin",)]


@pytest.mark.parametrize("step", [*STEPS, "shared_of", "settled_key", "Webhook", "Application"])
async def test_a_start_that_fails_half_way_closes_what_it_had_opened(
    mapping: dict[str, Any], nothing_left: Left, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    reached = []

    def broken(*arguments: object, **options: object) -> None:
        reached.append(step)
        raise ZeroDivisionError("this part cannot be made")

    monkeypatch.setattr(addon.wiring, step, broken)
    with pytest.raises(ZeroDivisionError):
        await application(Settings.from_mapping(mapping, environ={}))
    assert reached == [step]
    await nothing_left()


def spoil_key(mapping: dict[str, Any]) -> None:
    folder = Path(mapping["stateDir"])
    folder.mkdir(mode=0o700)
    (folder / FILE_NAME).write_text("no key")


def spoil_log(mapping: dict[str, Any]) -> None:
    mapping["accessLog"] = f"{mapping['stateDir']}/nowhere/access.log"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_key, "expected 64 hex digits; remove the file"),
        (spoil_log, "accessLog: .*nowhere/access.log"),
    ],
)
async def test_what_cannot_be_made_is_said(
    mapping: dict[str, Any], nothing_left: Left, spoil: Callable[[dict[str, Any]], None], reason: str
) -> None:
    spoil(mapping)
    with pytest.raises(CannotStart, match=reason):
        await application(Settings.from_mapping(mapping, environ={}))
    await nothing_left()


async def test_an_admin_address_that_is_taken_is_said_and_the_application_can_still_be_closed(
    mapping: dict[str, Any], nothing_left: Left
) -> None:
    app = await application(Settings.from_mapping(mapping, environ={}))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(app.aclose)
        with pytest.raises(CannotStart, match=r"adminListen: .*address already in use"):
            await open_admin(stack, app, dict)
    await nothing_left()


async def test_a_part_that_fails_at_its_end_keeps_none_of_the_others_open(
    mapping: dict[str, Any], nothing_left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    class Failing(CustomDomains):
        async def aclose(self) -> None:
            await super().aclose()
            ended.append("registration")
            raise ZeroDivisionError("a fault at the end")

    class Last(Library):
        async def aclose(self) -> None:
            await super().aclose()
            ended.append("library")

    monkeypatch.setattr(addon.wiring, "CustomDomains", Failing)
    monkeypatch.setattr(addon.wiring, "Library", Last)
    app = await application(Settings.from_mapping(mapping, environ={}))
    with pytest.raises(ZeroDivisionError):
        await app.aclose()
    assert ended == ["registration", "library"]  # the later made is the sooner ended
    await nothing_left()
