# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Guessing: how many tries get through, who has to wait, and who must not."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.access.guess_limits import LIMITS, Bounded, GuessesInMemory, Limits, wait_after
from addon.access.visitors import ClientNetworks, network_of, visitor_of
from tests.cases import by_outcome
from tests.clock import Clock

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


@pytest.mark.parametrize(
    ("visitor", "network"),
    by_outcome(
        {
            "192.0.2.7": ["192.0.2.7"],
            "2001:db8:1::/48": ["2001:db8:1:2::/64", "2001:db8:1::/56", "2001:db8:1::/48"],
            "unknown": ["unknown"],
        }
    ),
)
def test_a_visitor_belongs_to_the_largest_network_that_a_customer_has(visitor: str, network: str) -> None:
    assert network_of(visitor) == network


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


async def guessed(guesses: GuessesInMemory, clock: Clock, times: int, apart: float) -> None:
    """So many guesses at a site by one visitor, so many seconds apart."""
    for _ in range(times):
        await guesses.admit(SITE, "192.0.2.7")
        clock.now += apart


async def test_a_day_later_all_is_forgotten() -> None:
    clock = Clock()
    guesses = GuessesInMemory(clock)
    await guessed(guesses, clock, 20, apart=1000)
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


async def test_from_one_address_sixty_go_anywhere_and_then_two_a_minute() -> None:
    clock = Clock()
    guesses = GuessesInMemory(clock)
    for n in range(60):
        assert await guesses.admit(f"owner{n}/site", "192.0.2.7") == (0.0, True)
    assert (await guesses.admit("owner/site", "192.0.2.7")).wait == pytest.approx(30)
    clock.now += 30.01
    assert (await guesses.admit("owner/site", "192.0.2.7")).wait == 0
    assert (await guesses.admit("another/site", "192.0.2.7")).wait == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize(("failed_there", "most"), [(False, 500), (True, 50)])
async def test_at_one_site_five_hundred_go_and_fifty_of_who_failed_there_and_then_one_a_second(
    failed_there: bool, most: int
) -> None:
    clock = Clock()
    guesses = GuessesInMemory(clock)
    if failed_there:
        await guesses.admit(SITE, "192.0.2.7")
    for n in range(most - failed_there):
        assert await guesses.admit(SITE, f"10.0.{n >> 8}.{n & 255}") == (0.0, True)
    assert (await guesses.admit(SITE, "192.0.2.7")).wait == pytest.approx(1)
    clock.now += 1.01
    assert await guesses.admit(SITE, "192.0.2.7") == (0.0, not failed_there)
    assert (await guesses.admit(SITE, "192.0.2.7" if failed_there else "192.0.2.8")).wait == pytest.approx(1, abs=0.1)


async def test_a_failure_is_forgotten_after_a_day_without_another() -> None:
    clock = Clock()
    guesses = GuessesInMemory(clock)
    await guessed(guesses, clock, 6, apart=2)
    clock.now += 86_400 - 2
    assert await guesses.admit(SITE, "192.0.2.7") == (0.0, False)
    clock.now += 86_400.5
    assert [await guesses.admit(SITE, "192.0.2.7") for _ in range(2)] == [(0.0, True), (0.0, False)]


async def test_taking_back_makes_no_room_that_was_not_there() -> None:
    guesses = GuessesInMemory(Clock())
    for take_back in (guesses.withdrawn, guesses.succeeded):
        for _ in range(10):
            await take_back("bob/site", "192.0.2.7")
    for n in range(60):
        assert (await guesses.admit(f"owner{n}/site", "192.0.2.7")).wait == 0
    assert (await guesses.admit("owner/site", "192.0.2.7")).wait > 0
    for n in range(500):
        assert (await guesses.admit("bob/site", f"10.0.{n >> 8}.{n & 255}")).wait == 0
    assert (await guesses.admit("bob/site", "10.1.0.0")).wait > 0
    await guesses.admit(SITE, "192.0.2.8")
    for _ in range(3):  # one was counted, and no more than that is given back
        await guesses.withdrawn(SITE, "192.0.2.8")
    admissions = [await guesses.admit(SITE, "192.0.2.8") for _ in range(6)]
    assert [admission.wait for admission in admissions] == [0, 0, 0, 0, 0, 1]


async def test_what_is_withdrawn_is_one_try_and_not_all() -> None:
    guesses = GuessesInMemory(Clock())
    for _ in range(5):
        await guesses.admit(SITE, "192.0.2.7")
    await guesses.withdrawn(SITE, "192.0.2.7")
    assert [(await guesses.admit(SITE, "192.0.2.7")).wait for _ in range(2)] == [0, 1]


async def test_all_that_is_remembered_is_counted() -> None:
    guesses = GuessesInMemory(Clock())
    assert len(guesses) == 0
    await guesses.admit(SITE, "192.0.2.7")
    assert len(guesses) == 3  # the pair, the visitor, the site
    await guesses.succeeded(SITE, "192.0.2.7")
    assert len(guesses) == 3  # who knows the password, and not that it failed
    await guesses.admit(SITE, "192.0.2.7")
    assert len(guesses) == 4
    assert LIMITS.remembered == 20_000


def test_no_number_of_failures_is_too_large_to_count() -> None:
    assert wait_after(10**9, Limits(longest_wait=1e300)) == 2.0**30


def test_what_is_touched_last_stays() -> None:
    held: Bounded[str, int] = Bounded(2)
    for key in ("a", "b", "a", "c"):
        held.put(key, 1)
    assert ("a" in held, "b" in held, "c" in held) == (True, False, True)
    assert held.items() == [("a", 1), ("c", 1)]
    assert (held.get("a"), held.get("b"), len(held)) == (1, None, 2)
    held.drop("a")
    held.drop("a")
    assert held.items() == [("c", 1)]


# --- clients -------------------------------------------------------------------------------------------------------


def test_who_fails_from_many_client_networks_of_one_network_is_one_visitor_in_the_end() -> None:
    clock = Clock()
    client_networks, guesses = ClientNetworks(clock), GuessesInMemory(clock)
    admitted = 0
    for number in range(4000):
        client_network = visitor_of(f"2001:db8:7:{number:x}::1")
        visitor = client_networks.visitor("alice/blog", client_network)
        if asyncio.run(guesses.admit("alice/blog", visitor)).wait <= 0:
            admitted += 1
            client_networks.failed("alice/blog", client_network)
        clock.now += 0.5
    # 2 000 s of two guesses a second: without this, 2 500 of them, and then every fresh reader had to wait.
    assert admitted < 60
    for fresh in ("2001:db8:8::1", "192.0.2.7"):
        visitor = client_networks.visitor("alice/blog", visitor_of(fresh))
        assert asyncio.run(guesses.admit("alice/blog", visitor)).wait <= 0
    assert client_networks.visitor("bob/blog", visitor_of("2001:db8:7::1")) == "2001:db8:7::/64"


@pytest.mark.parametrize(
    ("failures", "visitor"),
    [(0, "2001:db8:7:1::/64"), (9, "2001:db8:7:1::/64"), (10, "2001:db8:7::/56"), (20, "2001:db8:7::/48")],
)
def test_how_many_failures_make_a_larger_network_the_visitor(failures: int, visitor: str) -> None:
    clock = Clock()
    client_networks = ClientNetworks(clock)
    for number in range(failures):
        client_networks.failed("alice/blog", f"2001:db8:7:{number:x}::/64")
    assert client_networks.visitor("alice/blog", "2001:db8:7:1::/64") == visitor
    assert client_networks.visitor("alice/blog", "192.0.2.7") == "192.0.2.7"
    clock.now += 3600
    assert client_networks.visitor("alice/blog", "2001:db8:7:1::/64") == "2001:db8:7:1::/64"


@pytest.mark.parametrize(
    ("seconds", "visitor"),
    [(1199, "2001:db8:7::/48"), (1201, "2001:db8:7::/64"), (599, "2001:db8:7::/48")],
)
def test_a_flood_from_a_network_is_forgotten_as_soon_as_a_few_failures_are(seconds: float, visitor: str) -> None:
    clock = Clock()
    client_networks = ClientNetworks(clock)
    for number in range(1000):
        client_networks.failed("alice/blog", f"2001:db8:7:{number:x}::/64")
    clock.now += seconds
    assert client_networks.visitor("alice/blog", "2001:db8:7::/64") == visitor


def test_the_part_of_a_network_that_failed_is_the_visitor_before_all_of_it() -> None:
    clock = Clock()
    client_networks = ClientNetworks(clock)
    for _ in range(1000):
        client_networks.failed("alice/blog", "2001:db8:7::/64")
    clock.now += 599
    other = "2001:db8:7:100::/64"  # of the same /48, and of another /56
    assert client_networks.visitor("alice/blog", other) == "2001:db8:7::/48"
    for _ in range(9):
        client_networks.failed("bob/blog", other)
    assert client_networks.visitor("bob/blog", other) == other
    client_networks.failed("bob/blog", other)
    assert client_networks.visitor("bob/blog", other) == "2001:db8:7:100::/56"
    assert client_networks.visitor("bob/blog", "2001:db8:7::/64") == "2001:db8:7::/64"


def test_networks_that_failed_longest_ago_are_forgotten_first() -> None:
    client_networks = ClientNetworks(Clock())
    first = "2001:db8:7::/64"
    for place in ("one", "other"):
        for _ in range(10):
            client_networks.failed(place, first)
    for number in range(9_998):  # two networks each
        client_networks.failed(str(number), first)
    assert client_networks.visitor("one", first) == "2001:db8:7::/56"
    client_networks.failed("other", first)  # the same two once more, which are no others
    assert client_networks.visitor("one", first) == "2001:db8:7::/56"
    client_networks.failed("9998", first)
    assert client_networks.visitor("one", first) == first
    assert client_networks.visitor("other", first) == "2001:db8:7::/56"
