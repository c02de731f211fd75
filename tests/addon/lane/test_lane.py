# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What the connections of the lane share: what is remembered of requests, the time, who is looked after, the end."""

import asyncio
import logging
from typing import Any, cast

import pytest

from addon.lane import lane as lane_module
from addon.lane.lane import Connected, Lane
from addon.web.forwarding import Visitor
from addon.web.request_head import fields
from tests.addon.lane.lane_running import FORGEJO, HOST
from tests.addon.lane.wire import PEER, wired_lane
from tests.clock import Clock
from tests.waiting import rounds


class Link:
    """A connection that does what it is told."""

    def __init__(self, lane: Lane, *, busy: bool = False, goes: bool = True) -> None:
        self.said: list[str] = []
        self.busy = busy
        self.goes = goes
        self._lane = lane
        self.checked: list[float] = []
        self.idle_since: float | None = 0.0
        lane.admit(cast(Connected, self), PEER[0])

    def warn(self) -> None:
        self.said.append("warned")

    def retire(self) -> None:
        self.said.append("retired")
        if self.goes:
            self.leave()

    def check(self, now: float) -> None:
        self.checked.append(now)

    def abort(self) -> None:
        self.said.append("cut")

    def leave(self) -> None:
        self._lane.forget(cast(Connected, self), PEER[0])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


# Requests.


async def test_a_thousand_blocks_of_fields_are_remembered_unless_they_are_long() -> None:
    with wired_lane() as (lane, pages, _):
        asked: list[str | None] = []
        route = pages.route

        def counted(host: str | None, path: str) -> Any:
            asked.append(host)
            return route(host, path)

        pages.route = counted  # type: ignore[method-assign]
        blocks = [f"Host: {HOST}\r\nX: {number}".encode() for number in range(1_024)]
        first = lane.fields(blocks[0])
        for block in blocks[1:]:
            lane.fields(block)
        assert lane.fields(blocks[0]) is first
        assert len(asked) == 1_024
        lane.fields(b"Host: other.test")
        assert lane.fields(blocks[0]) is not first
        for size, times in ((2_048, 1), (2_049, 2)):
            asked.clear()
            block = f"Host: {HOST}\r\nX: ".encode().ljust(size, b"x")
            assert lane.fields(block) is not None
            lane.fields(block)
            assert len(asked) == times


async def test_what_is_forgejo_s_or_of_another_form_has_no_fields_here() -> None:
    with wired_lane() as (lane, _, _):
        for block in (f"Host: {FORGEJO}".encode(), b"Host : x", b"X: y"):
            assert lane.fields(block) is None
            assert lane.fields(block) is None
        line = b"POST / HTTP/1.1"
        assert lane.bodied(line, f"Host: {HOST}".encode()) is not None
        assert lane.bodied(line, f"Host: {FORGEJO}".encode()) is None
        assert lane.bodied(b"GET / HTTP/1.1", f"Host: {HOST}".encode()) is None


@pytest.mark.parametrize(("size", "kept"), [(512, 1), (513, 0)])
async def test_what_proxies_say_of_visitors_is_remembered_where_it_is_short(size: int, kept: int) -> None:
    with wired_lane(trustedProxies=["192.0.2.1"]) as (lane, _, _):
        claim = b"X-Forwarded-For: 198.51.100.7\r\nX-Real-IP: "
        block = f"Host: {HOST}\r\n".encode() + claim + b"x" * (size - len(b"198.51.100.7"))
        found = fields(block)
        assert found is not None
        assert lane.visitor(found, "192.0.2.1", True) == Visitor("198.51.100.7", True)
        assert lane.visitor(found, "192.0.2.9", False) == Visitor("192.0.2.9", False)
        assert lane._visitor.cache_info().currsize == 2 * kept
        plain = fields(f"Host: {HOST}".encode())
        assert plain is not None
        assert lane.visitor(plain, "192.0.2.1", True) == Visitor("192.0.2.1", True)
        assert lane._visitor.cache_info().currsize == 2 * kept


# Time.


async def test_a_date_is_made_once_a_second(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = 1_800_000_000.25
    monkeypatch.setattr("time.time", lambda: wall)
    with wired_lane() as (lane, _, _):
        first = lane.dated()
        assert first == b"Date: Fri, 15 Jan 2027 08:00:00 GMT\r\n"
        assert lane.date_field.endswith(b"08:00:00 GMT")
        assert lane.date_until == clock.now + 0.75
        wall += 30
        clock.now += 0.74
        assert lane.dated() is first
        clock.now += 0.01
        assert lane.dated() == b"Date: Fri, 15 Jan 2027 08:00:30 GMT\r\n"


@pytest.mark.parametrize(
    ("header", "idle", "interval"),
    [("20s", "70s", 1.0), ("2s", "70s", 0.5), ("20s", "1s", 0.25), ("100ms", "70s", 0.05), ("4s", "4s", 1.0)],
)
async def test_connections_are_looked_at_often_enough_for_their_times(header: str, idle: str, interval: float) -> None:
    with wired_lane(headerTimeout=header, idleTimeout=idle) as (lane, _, _):
        assert lane._interval == interval


async def test_a_look_at_all_leaves_others_their_turn_and_a_fault_ends_one_connection(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with wired_lane(maxConnectionsPerAddress=0) as (lane, _, _):
        links = [Link(lane) for _ in range(1_001)]

        def fails(now: float) -> None:
            raise RuntimeError("made up")

        links[3].check = fails  # type: ignore[method-assign]
        counts = []
        lane._check_some(cast(Any, list(links)), 0)
        for _ in range(3):
            counts.append(sum(len(link.checked) for link in links))
            await rounds()
        assert counts == [499, 999, 1_000]
        assert links[0].checked == [clock.now]
        assert links[3].said == ["cut"]
        assert len(caplog.records) == 1
        caplog.clear()


async def test_the_next_look_comes_after_the_interval() -> None:
    with wired_lane(headerTimeout="100ms") as (lane, _, _):
        link = Link(lane)
        lane._check()
        assert len(link.checked) == 1
        assert lane._timer is not None
        assert 0 < lane._timer.when() - lane.loop.time() <= 0.05


# Who is connected.


async def test_one_that_was_handed_over_weighs_as_two() -> None:
    with wired_lane(maxConnectionsPerAddress=0) as (lane, _, _):
        lane.connection_limits.most = 4
        links = [Link(lane), Link(lane)]
        lane.add_handed_over(("192.0.2.1", 1), cast(Any, links[1]))
        assert lane.connection_limits.refused == lane.connection_limits.evicted == 0
        Link(lane)
        assert lane.connection_limits.evicted == 1


async def test_how_many_are_busy_and_crowded_can_be_asked() -> None:
    with wired_lane(memoryCacheSize="64MiB") as (lane, _, _):
        links = [Link(lane, busy=True), Link(lane), Link(lane, busy=True)]
        assert (len(lane), lane.busy) == (3, 2)
        links[0].leave()
        links[0].leave()
        assert (len(lane), lane.busy, lane.connections_of(PEER[0])) == (2, 1, 2)
        lane.unacknowledged = 32 * 1024 * 1024 - 1
        assert lane.under_memory_pressure is False
        lane.unacknowledged += 1
        assert lane.under_memory_pressure is True


async def test_what_is_held_ahead_has_room_for_a_head() -> None:
    for size, held in ((16 * 1024, 64 * 1024), (63 * 1024, 64 * 1024), (64 * 1024, 65 * 1024)):
        with wired_lane(maxHeadSize=size) as (lane, _, _):
            assert (lane.most_held, len(lane.buffer)) == (held, 64 * 1024)


# The end.


async def test_at_the_end_all_are_warned_and_who_does_not_go_is_retired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "GRACE_SECONDS", 0.01)
    with wired_lane() as (lane, _, _):
        goes, stays = Link(lane), Link(lane, goes=False)
        task = asyncio.create_task(lane.drain())
        await rounds(2)
        assert (lane.retiring, goes.said, stays.said) == (True, ["warned"], ["warned"])
        async with asyncio.timeout(30):
            while "retired" not in stays.said:
                await rounds()
        assert goes.said == ["warned", "retired"]
        assert not task.done()
        stays.leave()
        await task


async def test_who_goes_by_itself_is_waited_for_no_longer_than_that() -> None:
    with wired_lane() as (lane, _, _):
        link = Link(lane)
        task = asyncio.create_task(lane.drain())
        await rounds(5)
        link.leave()
        await asyncio.wait_for(task, 30)
        assert link.said == ["warned"]


async def test_who_does_not_go_in_time_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with wired_lane() as (lane, _, _):
        link = Link(lane, busy=True, goes=False)
        await lane.aclose(0.01)
        assert link.said[-1] == "cut"
        assert [record.levelno for record in caplog.records] == [logging.INFO, logging.WARNING]
        assert "1 connections were aborted" in caplog.text
        assert lane._timer is None
