# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The lane in mitmproxy's place: it fits the mitmproxy that is installed, and stays off where it would not fit."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mitmproxy.proxy.mode_servers import ReverseInstance

from addon.lane.install import install
from addon.lane.lane import Lane
from addon.serving.server import PagesServer
from addon.settings.schema import Settings
from addon.web.forwarding import Forwarding
from tests.addon.lane.lane_running import LAST, Pages, answers, get

MODE = "reverse:http://127.0.0.1:1@127.0.0.1:0"


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test puts into mitmproxy is taken out again."""
    monkeypatch.setattr(ReverseInstance, "listen", ReverseInstance.listen)
    monkeypatch.setattr(ReverseInstance, "handle_stream", ReverseInstance.handle_stream)


def put(pages: Pages, **options: object) -> Lane | None:
    given = {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1", **options}
    settings = Settings.from_mapping(given, environ={"HOME": "/nowhere"})
    server = cast(PagesServer, pages)
    return install(server, settings, Forwarding(settings), [MODE], log=None, facts=pages.facts)


async def test_our_listener_is_the_lane(caplog: pytest.LogCaptureFixture) -> None:
    pages = Pages()
    lane = put(pages)
    assert lane is not None
    assert caplog.records == []
    instance = ReverseInstance.make(MODE, cast(Any, SimpleNamespace(connections={})))
    (listener,) = await cast(Any, instance).listen("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname()[:2])
    writer.write(get("/hit", LAST))
    assert answers(await reader.read())[0][2] == b"GET /hit"
    writer.close()
    listener.close()
    lane.close()


async def test_another_listener_is_left_to_mitmproxy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def listen(self: Any, host: str, port: int) -> list[asyncio.Server]:
        asked.append((host, port))
        return []

    monkeypatch.setattr(ReverseInstance, "listen", listen)
    lane = put(Pages())
    assert lane is not None
    other = ReverseInstance.make("reverse:http://127.0.0.1:2@127.0.0.1:0", cast(Any, SimpleNamespace(connections={})))
    await cast(Any, other).listen("127.0.0.1", 0)
    assert asked == [("127.0.0.1", 0)]
    lane.close()


async def test_the_lane_can_be_turned_off() -> None:
    before = ReverseInstance.listen
    assert put(Pages(), lane=False) is None
    assert ReverseInstance.listen is before


async def _other_listen(self: Any, address: str) -> list[asyncio.Server]:
    return []


def _other_handler(self: Any, reader: Any, writer: Any = None) -> None:
    return None


@pytest.mark.parametrize(
    ("name", "replacement"), [("listen", _other_listen), ("handle_stream", _other_handler), ("handle_stream", None)]
)
async def test_where_mitmproxy_is_not_as_expected_the_lane_stays_off_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, replacement: object
) -> None:
    monkeypatch.setattr(ReverseInstance, name, replacement)
    before = ReverseInstance.listen
    assert put(Pages()) is None
    assert ReverseInstance.listen is before
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "the lane stays off" in caplog.text
    assert name in caplog.text
