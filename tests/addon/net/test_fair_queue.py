# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Fair queueing: who begins when, who is refused, who is dropped. Time is what the test says; nothing sleeps."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from addon.net.fair_queue import Dropped, FairQueue, Interest, Party, TooLate, account, on_account
from tests.waiting import rounds


@dataclass
class Time:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """Work that lasts until the test ends it."""

    turns: FairQueue
    time: Time
    begun: list[str] = field(default_factory=list)
    refused: list[tuple[str, float]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    ends: dict[str, asyncio.Event] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def bring(self, name: str, owner: str, visitor: str = "", price: float = 1.0, patience: float = 60.0) -> None:
        self.ends[name] = asyncio.Event()

        async def work() -> None:
            try:
                async with self.turns.turn(patience, price, party=Party(owner, visitor)):
                    self.begun.append(name)
                    await self.ends[name].wait()
            except TooLate as late:
                self.refused.append((name, late.retry_after))
            except Dropped:
                self.dropped.append(name)

        self.tasks[name] = asyncio.create_task(work())
        await rounds(6)

    async def end(self, name: str, after: float = 1.0) -> None:
        self.time.now += after
        self.ends[name].set()
        await rounds(6)

    async def end_all(self) -> list[str]:
        """End what runs, the oldest first, until nothing does; the order in which all began."""
        at = 0
        while at < len(self.begun):
            await self.end(self.begun[at])
            at += 1
        return self.begun


def bench(slots: int = 1, most_each: int | None = None, expected: float = 1.0) -> Bench:
    time = Time()
    return Bench(FairQueue(slots, most_each=most_each, expected=expected, clock=time), time)


async def test_a_free_place_is_taken_at_once() -> None:
    turns = FairQueue(2)
    async with turns.turn(0.0), turns.turn(0.0):
        assert (turns.busy, turns.waiting) == (2, 0)
    assert turns.busy == 0


async def test_who_wants_much_waits_behind_who_wants_little() -> None:
    work = bench()
    for number in range(50):
        await work.bring(f"m{number}", "mallory")
    await work.bring("a0", "alice")
    await work.bring("a1", "alice")
    await work.bring("b0", "bob")
    order = await work.end_all()
    assert order.index("a0") <= 2
    assert order.index("b0") <= 3
    assert order.index("a1") <= 5
    assert len(order) == 53


async def test_within_an_owner_visitors_take_turns() -> None:
    work = bench()
    for number in range(20):
        await work.bring(f"flood{number}", "alice", "198.51.100.1")
    await work.bring("reader", "alice", "192.0.2.1")
    order = await work.end_all()
    assert order.index("reader") <= 2


async def test_turns_are_fair_by_price_and_not_by_number() -> None:
    work = bench()
    await work.bring("first", "somebody")
    for number in range(20):
        await work.bring(f"large{number}", "mallory", price=4.0)
        await work.bring(f"small{number}", "alice")
    order = await work.end_all()
    large, small = (
        sum(name.startswith(kind) for name in order[: order.index("small19") + 1]) for kind in ("large", "small")
    )
    assert small == 20
    assert 4 <= large <= 6  # as much by price, a quarter by number


async def test_one_owner_has_only_some_of_the_places() -> None:
    work = bench(4, most_each=2)
    for number in range(6):
        await work.bring(f"m{number}", "mallory")
    assert work.begun == ["m0", "m1"]
    await work.bring("a0", "alice")
    assert work.begun == ["m0", "m1", "a0"]
    await work.end("m0")
    assert work.begun == ["m0", "m1", "a0", "m2"]
    assert sorted(await work.end_all()) == ["a0", *(f"m{number}" for number in range(6))]
    assert (work.turns.busy, work.turns.waiting, work.turns._queues) == (0, 0, {})


async def test_a_queue_is_as_long_as_its_last_would_wait() -> None:
    work = bench(2, expected=0.1)
    for number in range(300):
        await work.bring(f"n{number}", "alice", patience=10.0)
    # 10 s at 0.1 s each in two places: 200 pieces, be it more or fewer than any number that somebody thought of.
    assert 195 <= work.turns.waiting <= 202
    _, wait = work.refused[0]
    assert wait == 1.0
    assert len(work.refused) == 300 - 2 - work.turns.waiting
    await work.bring("other", "bob", patience=10.0)
    assert "other" not in dict(work.refused)


async def test_who_is_refused_is_told_when_it_would_be_in_time() -> None:
    work = bench(1, expected=1.0)
    for number in range(30):
        await work.bring(f"n{number}", "alice", patience=60.0)
    await work.bring("late", "alice", patience=10.0)
    (refused,) = work.refused
    assert 18 <= refused[1] <= 21
    for number in range(round(refused[1])):
        await work.end(f"n{number}")
    await work.bring("again", "alice", patience=10.0)
    assert dict(work.refused).keys() == {"late"}


async def test_time_is_measured_and_work_that_hangs_counts_before_it_ends() -> None:
    work = bench(1, expected=0.001)
    await work.bring("n0", "alice")
    work.time.now += 30.0
    await work.bring("n1", "alice", patience=10.0)
    assert dict(work.refused).keys() == {"n1"}
    await work.end("n0", 0.0)
    assert work.turns.pace > 2.9
    await work.bring("n2", "alice", patience=10.0)
    assert work.begun == ["n0", "n2"]


async def test_who_waits_too_long_all_the_same_is_told_so() -> None:
    work = bench(1, expected=0.001)
    await work.bring("n0", "alice")
    await work.bring("n1", "alice", patience=0.01)
    await work.tasks["n1"]
    assert dict(work.refused).keys() == {"n1"}
    assert work.turns.waiting == 0


async def test_a_task_that_is_cancelled_waits_no_longer_and_gives_its_place_to_the_next() -> None:
    work = bench(1)
    for number in range(4):
        await work.bring(f"n{number}", "alice")
    work.tasks["n1"].cancel()
    await rounds(6)
    assert (work.turns.waiting, work.turns.dropped) == (2, 1)
    work.tasks["n0"].cancel()
    await rounds(6)
    assert work.begun == ["n0", "n2"]
    work.ends["n2"].set()
    work.tasks["n2"].cancel()  # granted to n3 and cancelled in one moment
    work.tasks["n3"].cancel()
    await rounds(6)
    assert (work.turns.busy, work.turns.waiting, work.turns._queues) == (0, 0, {})


async def test_work_whose_waiters_have_all_left_is_dropped_before_it_begins_and_not_after() -> None:
    turns, interest, begun = FairQueue(1), Interest(), []
    gate = asyncio.Event()

    async def flight() -> None:
        interest.bind()
        for number in range(2):
            async with turns.turn(60.0):
                begun.append(number)
                await gate.wait()

    async def wait(task: asyncio.Task[None]) -> None:
        with interest.waiting():
            await asyncio.shield(task)

    async with turns.turn(60.0):
        task = asyncio.create_task(flight())
        waiters = [asyncio.create_task(wait(task)) for _ in range(2)]
        await rounds(6)
        waiters[0].cancel()
        await rounds(6)
        assert not task.done()  # one waits still
        waiters[1].cancel()
        await rounds(6)
        assert task.done()
    assert begun == []
    with pytest.raises(Dropped):
        await task
    task = asyncio.create_task(flight())
    waiter = asyncio.create_task(wait(task))
    await rounds(6)
    waiter.cancel()
    await rounds(6)
    assert begun == [0]
    assert not task.done()  # what has begun is done, for it may be remembered
    gate.set()
    await task
    assert begun == [0, 1]


async def test_what_would_have_to_wait_is_not_begun_for_those_who_have_left_unless_it_must_be_done() -> None:
    turns, interest, begun = FairQueue(1), Interest(), []
    gate = asyncio.Event()

    async def flight() -> None:
        interest.bind()
        await gate.wait()  # something else, in which its waiters leave
        for kept in (True, False):
            async with turns.turn(60.0, kept=kept):
                begun.append(kept)

    task = asyncio.create_task(flight())

    async def wait() -> None:
        with interest.waiting():
            await asyncio.shield(task)

    waiter = asyncio.create_task(wait())
    await rounds(6)
    waiter.cancel()
    await rounds(6)
    async with turns.turn(60.0, party=Party("other")):
        gate.set()
        await rounds(6)
        assert turns.waiting == 1
        ahead = asyncio.create_task(_once(turns, Party("third")))
        await rounds(6)
    with pytest.raises(Dropped):
        await task
    await ahead
    assert begun == [True]
    assert (turns.busy, turns.waiting) == (0, 0)


async def _once(turns: FairQueue, party: Party) -> None:
    async with turns.turn(60.0, party=party):
        pass


async def test_on_whose_account_a_task_works_is_that_of_who_began_it() -> None:
    found: list[Party] = []

    async def look() -> None:
        found.append(account())

    with on_account(owner="alice", visitor="192.0.2.1"):
        task = asyncio.create_task(look())
        with on_account(owner="bob"):
            other = asyncio.create_task(look())
    await asyncio.gather(task, other, look())
    assert found == [Party("alice", "192.0.2.1"), Party("bob", "192.0.2.1"), Party()]


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_places_and_counts_are_right_in_the_end(seed: int) -> None:
    chance = random.Random(seed)
    work = bench(3, most_each=chance.choice([None, 1, 2]), expected=0.01)
    for number in range(200):
        action = chance.random()
        if action < 0.6:
            await work.bring(f"n{number}", chance.choice("abcd"), chance.choice("xyz"), chance.choice([0.5, 1.0, 3.0]))
        elif action < 0.8 and work.tasks:
            chance.choice(list(work.tasks.values())).cancel()
        else:
            for name in chance.sample(sorted(work.ends), min(4, len(work.ends))):
                work.ends[name].set()
        await rounds(6)
        assert work.turns.busy <= 3
        assert work.turns.waiting >= 0
        # Nobody waits while a place is free for it.
        if work.turns.waiting and work.turns.most_each == 3:
            assert work.turns.busy == 3
    for end in work.ends.values():
        end.set()
    for task in work.tasks.values():
        with suppress(asyncio.CancelledError):
            await task
    assert (work.turns.busy, work.turns.waiting, work.turns._queues, work.turns._backlog) == (0, 0, {}, 0.0)


async def test_what_a_refusal_costs_does_not_grow_with_the_queue_of_who_is_refused() -> None:
    work = bench(1, expected=1.0)
    for number in range(40):
        await work.bring(f"n{number}", "alice", patience=30.0)
    before = len(work.turns._queues)
    for _ in range(1000):
        with pytest.raises(TooLate):
            work.turns._wanted(30.0, 1.0, Party("alice", ""))
    assert len(work.turns._queues) == before
    assert work.turns.waiting <= 31
    assert await work.end_all()
