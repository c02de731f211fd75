# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Guessing: how many tries get through, who has to wait, and who must not."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.access.guess_limits import LIMITS, Bounded, Busy, GuessesInMemory, Limits, Turns, visitor_of, wait_after
from tests.addon.access.access_cases import Clock

SITE = "alice/blog"


@pytest.mark.parametrize(
    ("address", "visitor"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", "unknown"),
        ("unix:", "unknown"),
        ("192.0.2.7:443", "unknown"),
        ("[::1]", "unknown"),
        ("1" * 10_000, "unknown"),
    ],
)
def test_an_address_stands_for_a_visitor(address: str, visitor: str) -> None:
    assert visitor_of(address) == visitor


@given(st.text(max_size=50))
def test_any_address_stands_for_somebody_without_spaces(address: str) -> None:
    assert " " not in visitor_of(address)


def test_waits_grow_from_nothing_to_a_quarter_of_an_hour() -> None:
    waits = [wait_after(failures) for failures in range(20)]
    assert waits[:9] == [0, 0, 0, 0, 0, 1, 2, 4, 8]
    assert waits == sorted(waits)
    assert waits[-1] == 900 == wait_after(10**9)


async def test_ten_thousand_guesses_from_one_address_are_few_and_a_refused_one_prolongs_nothing() -> None:
    clock = Clock()
    guesses = GuessesInMemory(clock)
    admitted: list[float] = []
    begin = clock.now
    for _ in range(10_000):
        admission = await guesses.admit(SITE, "192.0.2.7")
        if admission.wait == 0:
            admitted.append(clock.now - begin)
        clock.now += 0.1
    # 5 at once, then after 1, 2, 4, … seconds: in 1000 seconds the waits sum up to 511 after the ninth of them
    assert len(admitted) == 5 + 9
    assert len(guesses) <= 4


async def test_guesses_at_one_moment_are_no_better_than_one_after_the_other() -> None:
    guesses = GuessesInMemory(Clock())
    admissions = await asyncio.gather(*(guesses.admit(SITE, "192.0.2.7") for _ in range(1000)))
    assert sum(admission.wait == 0 for admission in admissions) == 5
    assert {admission.wait for admission in admissions} == {0, 1}


async def test_ten_thousand_guesses_from_as_many_addresses_meet_the_limit_of_the_site() -> None:
    clock = Clock()
    guesses = GuessesInMemory(clock)
    admissions = [await guesses.admit(SITE, f"10.0.{n >> 8}.{n & 255}") for n in range(10_000)]
    assert sum(admission.wait == 0 for admission in admissions) == LIMITS.site_most
    assert len(guesses) <= 2 * LIMITS.site_most + 1


async def test_ten_thousand_guesses_from_a_hundred_addresses_are_slowed_earlier_than_strangers_are() -> None:
    clock = Clock()
    guesses = GuessesInMemory(clock)
    through = 0
    for n in range(10_000):
        through += (await guesses.admit(SITE, f"10.0.0.{n % 100}")).wait == 0
        clock.now += 0.001  # 10 seconds in all
    assert through <= 100 + 10  # one each while strangers, then what leaks off the site's tally
    stranger = await guesses.admit(SITE, "198.51.100.1")
    assert stranger == (0.0, True)


async def test_an_address_that_failed_waits_while_the_site_is_attacked_and_others_go_first() -> None:
    clock = Clock()
    guesses = GuessesInMemory(clock)
    await guesses.admit(SITE, "192.0.2.7")
    for n in range(100):
        await guesses.admit(SITE, f"10.0.0.{n}")
    assert (await guesses.admit(SITE, "192.0.2.7")).wait > 30
    assert (await guesses.admit(SITE, "192.0.2.8")).first
    clock.now += 60
    again = await guesses.admit(SITE, "192.0.2.7")
    assert again == (0.0, False)


async def test_who_knew_the_password_before_is_never_locked_out_by_others() -> None:
    guesses = GuessesInMemory(Clock())
    await guesses.admit(SITE, "192.0.2.7")
    await guesses.succeeded(SITE, "192.0.2.7")
    for n in range(2_000):
        await guesses.admit(SITE, f"10.0.{n >> 8}.{n & 255}")
    assert (await guesses.admit(SITE, "192.0.2.9")).wait > 0
    assert await guesses.admit(SITE, "192.0.2.7") == (0.0, True)


async def test_a_right_password_ends_the_wait_at_this_site_only() -> None:
    clock = Clock()
    guesses = GuessesInMemory(clock)
    for site in (SITE, "mallory/own"):
        for _ in range(5):
            await guesses.admit(site, "192.0.2.7")
    clock.now += 1
    assert (await guesses.admit("mallory/own", "192.0.2.7")).wait == 0
    await guesses.succeeded("mallory/own", "192.0.2.7")
    assert guesses.waiting("mallory/own", "192.0.2.7") == 0
    clock.now -= 0.5
    assert guesses.waiting(SITE, "192.0.2.7") == pytest.approx(0.5)


async def test_one_address_that_goes_from_site_to_site_is_slowed_everywhere() -> None:
    guesses = GuessesInMemory(Clock())
    through = 0
    for n in range(1_000):
        through += (await guesses.admit(f"owner{n}/site", "192.0.2.7")).wait == 0
    assert through == LIMITS.visitor_most


async def test_readers_who_know_the_password_are_never_slowed() -> None:
    guesses = GuessesInMemory(Clock())
    for n in range(5_000):
        visitor = f"10.0.{n >> 8 & 3}.{n & 255}"
        assert (await guesses.admit(SITE, visitor)).wait == 0
        await guesses.succeeded(SITE, visitor)


async def test_what_could_not_be_checked_is_not_counted() -> None:
    guesses = GuessesInMemory(Clock())
    for _ in range(1_000):
        assert (await guesses.admit(SITE, "192.0.2.7")).wait == 0
        await guesses.withdrawn(SITE, "192.0.2.7")


async def test_a_day_later_all_is_forgotten() -> None:
    clock = Clock()
    guesses = GuessesInMemory(clock)
    for _ in range(20):
        await guesses.admit(SITE, "192.0.2.7")
        clock.now += 1000
    assert guesses.waiting(SITE, "192.0.2.7") == 0
    assert (await guesses.admit(SITE, "192.0.2.7")).wait == 0
    assert (await guesses.admit(SITE, "192.0.2.7")).wait > 0
    clock.now += LIMITS.forgotten + 1
    for _ in range(5):
        assert (await guesses.admit(SITE, "192.0.2.7")).wait == 0


async def test_memory_is_bounded_however_many_addresses_and_sites_there_are() -> None:
    limits = Limits(remembered=100)
    guesses = GuessesInMemory(Clock(), limits)
    for n in range(5_000):
        visitor = visitor_of(f"2001:db8:{n:x}::1")
        await guesses.admit(f"owner{n}/site", visitor)
        if n % 3 == 0:
            await guesses.succeeded(f"owner{n}/site", visitor)
    assert len(guesses) <= 400


async def test_filling_the_memory_does_not_make_a_site_forget_that_it_is_attacked() -> None:
    clock = Clock()
    guesses = GuessesInMemory(clock, Limits(remembered=100))
    through = 0
    for n in range(5_000):  # more addresses than are remembered, each time with the same one in between
        through += (await guesses.admit(SITE, f"10.0.{n >> 8}.{n & 255}")).wait == 0
        through += (await guesses.admit(SITE, "192.0.2.7")).wait == 0
    assert through == LIMITS.site_most


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["admit", "succeeded", "withdrawn", "later"]))))
async def test_no_order_of_events_makes_a_tally_negative_or_a_wait_endless(events: list[tuple[str, str]]) -> None:
    clock = Clock()
    guesses = GuessesInMemory(clock)
    for visitor, event in events:
        if event == "later":
            clock.now += 3
        elif event == "admit":
            assert 0 <= (await guesses.admit(SITE, visitor)).wait <= LIMITS.longest_wait
        else:
            await getattr(guesses, event)(SITE, visitor)
        assert 0 <= guesses.waiting(SITE, visitor) <= LIMITS.longest_wait


def test_what_is_touched_last_stays() -> None:
    held: Bounded[str, int] = Bounded(2)
    for key in ("a", "b", "a", "c"):
        held.put(key, 1)
    assert ("a" in held, "b" in held, "c" in held) == (True, False, True)


# --- turns ------------------------------------------------------------------------------------------------------------


class Checks:
    """Many checks behind one `Turns`; each lasts until it is let go."""

    def __init__(self, slots: int, most_waiting: int = 64) -> None:
        self.turns = Turns(slots, most_waiting)
        self.order: list[str] = []
        self.at_once = self.most_at_once = 0
        self.go = asyncio.Event()

    async def check(self, name: str, first: bool) -> None:
        async with self.turns.turn(first):
            self.order.append(name)
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
            await self.go.wait()
            self.at_once -= 1

    async def start(self, name: str, first: bool) -> "asyncio.Task[None]":
        task = asyncio.create_task(self.check(name, first))
        await settled()
        return task


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_only_a_few_are_checked_at_once_and_who_never_failed_goes_first() -> None:
    checks = Checks(2)
    tasks = [await checks.start(name, first) for name, first in [("a", True), ("b", False)]]
    tasks += [await checks.start(f"failed{n}", False) for n in range(3)]
    tasks += [await checks.start(f"fresh{n}", True) for n in range(3)]
    assert checks.order == ["a", "b"]
    checks.go.set()
    await asyncio.gather(*tasks)
    assert checks.order == ["a", "b", "fresh0", "fresh1", "fresh2", "failed0", "failed1", "failed2"]
    assert checks.most_at_once == 2


async def test_a_full_queue_says_so_and_gives_the_place_of_the_last_who_failed_to_who_did_not() -> None:
    checks = Checks(1, 2)
    first = await checks.start("a", True)
    waiting = [await checks.start(name, False) for name in ("failed0", "failed1")]
    for name, turns_away in (("failed2", True), ("fresh0", False), ("fresh1", False), ("fresh2", True)):
        task = await checks.start(name, name.startswith("fresh"))
        assert task.done() == turns_away
        if turns_away:
            assert isinstance(task.exception(), Busy)
    assert [type(task.exception()) for task in waiting] == [Busy, Busy]
    checks.go.set()
    await first
    await settled()
    assert checks.order == ["a", "fresh0", "fresh1"]


@pytest.mark.parametrize("released_first", [True, False])
async def test_who_leaves_the_queue_takes_no_turn_along(released_first: bool) -> None:
    checks = Checks(1)
    holder = await checks.start("a", True)
    gone, stays = await checks.start("gone", True), await checks.start("stays", True)
    if released_first:
        checks.go.set()
        await asyncio.sleep(0)
        gone.cancel()
    else:
        gone.cancel()
        checks.go.set()
    await asyncio.gather(holder, gone, stays, return_exceptions=True)
    assert checks.order[-1] == "stays"
    async with asyncio.timeout(5), checks.turns.turn(False):
        pass
