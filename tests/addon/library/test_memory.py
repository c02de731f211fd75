# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Bounded memory, and one run for many callers."""

import asyncio
import gc
import sys
import tracemalloc
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from addon.library.memory import ENTRY_COST, Memory, SingleFlight
from tests.waiting import rounds

KEYS = st.integers(0, 9)
CAPACITY = 5 * ENTRY_COST
SIZES = st.one_of(st.just(0), st.integers(0, ENTRY_COST), st.integers(0, CAPACITY + 10))


class MemoryAgainstAModel(RuleBasedStateMachine):
    """The plainest cache that can be right: one list of entries, oldest use first."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: Memory[int, object] = Memory(CAPACITY)
        self.model: OrderedDict[int, tuple[object, int]] = OrderedDict()
        self.evicted = 0

    @rule(key=KEYS, nbytes=SIZES)
    def put(self, key: int, nbytes: int) -> None:
        value = object()
        self.memory.put(key, value, nbytes)
        self.model.pop(key, None)
        if nbytes + ENTRY_COST <= CAPACITY:
            self.model[key] = (value, nbytes + ENTRY_COST)
        while sum(cost for _, cost in self.model.values()) > CAPACITY:
            del self.model[next(iter(self.model))]
            self.evicted += 1

    @rule(key=KEYS)
    def get(self, key: int) -> None:
        found = self.memory.get(key)
        if key not in self.model:
            assert found is None
        else:
            self.model.move_to_end(key)
            assert found is self.model[key][0]

    @rule(key=KEYS)
    def drop(self, key: int) -> None:
        self.memory.drop(key)
        self.model.pop(key, None)

    @rule()
    def clear(self) -> None:
        self.memory.clear()
        self.model.clear()

    @invariant()
    def holds_what_the_model_holds_and_never_more_than_it_may(self) -> None:
        assert len(self.memory) == len(self.model)
        assert self.memory.used == sum(cost for _, cost in self.model.values())
        assert self.memory.used <= self.memory.capacity
        assert self.memory.evictions == self.evicted
        # Asked for in the order of their last use, they keep that order.
        assert [self.memory.get(key) for key in list(self.model)] == [value for value, _ in self.model.values()]


TestMemoryAgainstAModel = MemoryAgainstAModel.TestCase
TestMemoryAgainstAModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_what_was_used_last_stays_longest() -> None:
    memory: Memory[str, str] = Memory(3 * ENTRY_COST)
    for key in ("old", "used", "put again"):
        memory.put(key, key, 0)
    memory.put("put again", "new", 0)
    assert memory.get("used") == "used"
    memory.put("fourth", "4", 0)
    memory.put("fifth", "5", 0)
    assert [memory.get(key) for key in ("old", "put again", "used", "fourth", "fifth")] == [
        None,
        None,
        "used",
        "4",
        "5",
    ]
    assert memory.evictions == 2


def test_what_alone_is_larger_than_the_memory_displaces_nothing_but_its_own_past() -> None:
    memory: Memory[str, bytes] = Memory(10_000)
    memory.put("small", b"s", 1)
    memory.put("film", b"f", 1)
    memory.put("film", b"F" * 20_000, 20_000)
    assert memory.get("small") == b"s"
    assert memory.get("film") is None
    memory.put("exact", b"e", 10_000 - ENTRY_COST)
    assert memory.get("exact") == b"e"
    assert (memory.used, len(memory)) == (10_000, 1)


def test_it_tells_whether_anything_was_put_or_removed() -> None:
    memory: Memory[str, str] = Memory(2 * ENTRY_COST)
    changing: list[Callable[[], object]] = [
        lambda: memory.put("a", "1", 0),
        lambda: memory.put("a", "1", 0),
        lambda: memory.put("a", "2", 3 * ENTRY_COST),  # too large: the one before is gone
        lambda: memory.put("a", "3", 0),
        lambda: memory.put("b", "1", 0),
        lambda: memory.put("c", "1", 0),  # `a` makes room
        lambda: memory.drop("c"),
        memory.clear,
    ]
    for change in changing:
        before = memory.changes
        change()
        assert memory.changes != before
    memory.put("a", "1", 0)
    before = memory.changes
    assert memory.get("a") == "1"
    memory.drop("b")
    assert memory.values() == ["1"]
    assert memory.changes == before


def test_a_memory_of_nothing_holds_nothing() -> None:
    memory: Memory[str, bytes] = Memory(0)
    memory.put("a", b"", 0)
    assert (memory.get("a"), len(memory), memory.used) == (None, 0, 0)


def test_many_small_entries_take_no_more_than_they_are_charged() -> None:
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    memory: Memory[tuple[str, ...], bytes] = Memory(2_000_000)
    for number in range(20_000):
        key = ("site", f"owner-{number}", f"repository-{number}")
        memory.put(key, b"%05d" % number, sum(map(sys.getsizeof, key)))
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert memory.evictions > 10_000
    assert memory.used > memory.capacity - 1_000
    assert taken < memory.capacity


# From Python 3.12 on, and in mitmproxy, a task may run up to its first wait before anybody holds it.
EAGER = getattr(asyncio, "eager_task_factory", None)


@pytest.fixture(params=[None, EAGER] if EAGER else [None], ids=lambda factory: "eager" if factory else "lazy")
async def tasks(request: pytest.FixtureRequest) -> None:
    """Run the test with each way in which a loop may start its tasks."""
    asyncio.get_running_loop().set_task_factory(request.param)


class Work:
    """Something to fetch, which ends when the test says so. runs: how often it was begun."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.result: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> str:
        self.runs += 1
        try:
            return await asyncio.shield(self.result)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.fixture
def complaints() -> Iterator[list[dict[str, object]]]:
    """What the loop had to say about failures that nobody looked at."""
    said: list[dict[str, object]] = []
    yield said
    gc.collect()
    assert said == []


def listen(said: list[dict[str, object]]) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))


@pytest.mark.usefixtures("tasks")
async def test_many_callers_share_one_run_and_its_result() -> None:
    flights: SingleFlight[str] = SingleFlight()
    work, other = Work(), Work()
    callers = [asyncio.create_task(flights.do("a", work)) for _ in range(50)]
    stranger = asyncio.create_task(flights.do("b", other))
    await rounds(10)
    assert (work.runs, other.runs, len(flights)) == (1, 1, 2)
    assert flights.running("a")
    work.result.set_result("page")
    assert await asyncio.gather(*callers) == ["page"] * 50
    assert not stranger.done()
    other.result.set_result("else")
    assert await stranger == "else"
    await rounds(10)
    assert (len(flights), flights.running("a")) == (0, False)


@pytest.mark.usefixtures("tasks")
async def test_a_later_caller_gets_a_run_of_its_own() -> None:
    flights: SingleFlight[str] = SingleFlight()
    for expected in ("first", "second"):
        work = Work()
        work.result.set_result(expected)
        assert await flights.do("a", work) == expected
        assert work.runs == 1


@pytest.mark.usefixtures("tasks")
async def test_a_failure_reaches_every_caller_and_is_not_remembered(complaints: list[dict[str, object]]) -> None:
    listen(complaints)
    flights: SingleFlight[str] = SingleFlight()
    work = Work()
    callers = [asyncio.create_task(flights.do("a", work)) for _ in range(5)]
    await rounds(10)
    failure = OSError("away")
    work.result.set_exception(failure)
    assert await asyncio.gather(*callers, return_exceptions=True) == [failure] * 5
    again = Work()
    again.result.set_result("back")
    assert await flights.do("a", again) == "back"


@pytest.mark.usefixtures("tasks")
async def test_a_failure_before_the_first_wait_reaches_its_caller_and_is_not_remembered() -> None:
    flights: SingleFlight[str] = SingleFlight()

    async def fails_at_once() -> str:
        raise OSError("away")

    def is_no_coroutine() -> Awaitable[str]:
        raise ValueError("not even begun")

    with pytest.raises(OSError, match="away"):
        await flights.do("a", fails_at_once)
    with pytest.raises(ValueError, match="not even begun"):
        await flights.do("a", is_no_coroutine)
    await rounds(10)
    assert len(flights) == 0


@pytest.mark.usefixtures("tasks")
async def test_a_caller_who_goes_away_takes_nothing_from_the_others() -> None:
    flights: SingleFlight[str] = SingleFlight()
    work = Work()
    first, second = (asyncio.create_task(flights.do("a", work)) for _ in range(2))
    await rounds(10)
    first.cancel()
    await rounds(10)
    assert first.cancelled()
    assert flights.running("a")
    work.result.set_result("page")
    assert await second == "page"
    assert (work.runs, work.cancelled) == (1, 0)


@pytest.mark.usefixtures("tasks")
async def test_a_run_that_everybody_left_ends_by_itself_without_complaint(complaints: list[dict[str, object]]) -> None:
    listen(complaints)
    flights: SingleFlight[str] = SingleFlight()
    work = Work()
    alone = asyncio.create_task(flights.do("a", work))
    await rounds(10)
    alone.cancel()
    await rounds(10)
    late = asyncio.create_task(flights.do("a", work))
    await rounds(10)
    assert work.runs == 1
    late.cancel()
    work.result.set_exception(OSError("away"))
    await rounds(10)
    assert len(flights) == 0
    del alone, late, work
    gc.collect()
    await rounds(10)


@pytest.mark.usefixtures("tasks")
async def test_a_run_begun_for_nobody_in_particular_is_shared_and_fails_in_silence(
    complaints: list[dict[str, object]],
) -> None:
    listen(complaints)
    flights: SingleFlight[str] = SingleFlight()
    work = Work()
    task = flights.start("a", work)
    assert flights.start("a", work) is task
    caller = asyncio.create_task(flights.do("a", work))
    await rounds(10)
    assert work.runs == 1
    work.result.set_result("page")
    assert await caller == "page"

    failing = Work()
    flights.start("b", failing)
    await rounds(10)
    failing.result.set_exception(OSError("away"))
    await rounds(10)
    del task, failing
    gc.collect()
    await rounds(10)


@pytest.mark.usefixtures("tasks")
async def test_one_run_may_wait_for_another() -> None:
    flights: SingleFlight[str] = SingleFlight()
    inner = Work()

    async def outer() -> str:
        return "outer " + await flights.do("inner", inner)

    callers = [asyncio.create_task(flights.do("outer", outer)) for _ in range(3)]
    callers.append(asyncio.create_task(flights.do("inner", inner)))
    await rounds(10)
    inner.result.set_result("inner")
    assert await asyncio.gather(*callers) == ["outer inner"] * 3 + ["inner"]
    assert inner.runs == 1


@pytest.mark.usefixtures("tasks")
async def test_a_result_may_be_asked_for_again_by_who_just_got_it() -> None:
    flights: SingleFlight[str] = SingleFlight()
    runs = 0

    async def work() -> str:
        nonlocal runs
        runs += 1
        await rounds()
        return f"run {runs}"

    assert [await flights.do("a", work) for _ in range(3)] == ["run 1", "run 2", "run 3"]


@pytest.mark.usefixtures("tasks")
async def test_closing_ends_every_run_and_waits_for_it(complaints: list[dict[str, object]]) -> None:
    listen(complaints)
    flights: SingleFlight[int] = SingleFlight()
    works = [Work() for _ in range(3)]
    callers = [asyncio.create_task(flights.do(number, work)) for number, work in enumerate(works)]
    ended = False

    async def stubborn() -> None:
        nonlocal ended
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await rounds()
            ended = True

    flights.start(9, stubborn)
    await rounds(10)
    await flights.aclose()
    assert ended
    assert [work.cancelled for work in works] == [1, 1, 1]
    assert len(flights) == 0
    assert all(
        isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*callers, return_exceptions=True)
    )
    await flights.aclose()
