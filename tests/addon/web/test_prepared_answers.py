# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Answers that are kept ready: as long as all that they were made from is there, and in so many bytes."""

import pytest

from addon.settings.schema import Settings
from addon.web.prepared_answers import (
    NOTHING,
    Basis,
    Fact,
    Http1Repeat,
    Key,
    PreparedAnswer,
    PreparedAnswers,
    Tally,
    prepared_share,
)
from addon.web.request_head import RequestLine, derived

KIB, MIB = 1024, 1024 * 1024
FIELDS = derived(b"a.test", {b"host": b"a.test"})


class Facts:
    """A memory of facts."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, ...], object] = {}
        self.changes = 0

    def get(self, key: tuple[str, ...]) -> object | None:
        return self.held.get(key)


def answer(size: int = 10, facts: tuple[Fact, ...] = (), until: float = 100.0, path: str = "/") -> PreparedAnswer:
    line = RequestLine("GET", path, None, True)
    return PreparedAnswer(b"start", bytes(size), Basis(facts, until), line, 200, size, "HIT", NOTHING, Tally())


def key(number: int) -> Key:
    return b"GET /%04d" % number, b"key"


COST = 600 + 9 + 3 + 10 + 1


def test_an_answer_is_ready_while_all_that_it_was_made_from_is_held_and_fresh() -> None:
    facts = Facts()
    one, other = object(), object()
    facts.held = {("a",): one, ("b",): other}
    prepared = PreparedAnswers(facts, MIB)
    made = answer(facts=((("a",), one), (("b",), other)))
    prepared.put(key(1), made)
    assert prepared.get(key(1), 0.0) is made
    assert prepared.get(key(2), 0.0) is None
    assert prepared.get((b"GET /0001", b"another"), 0.0) is None
    assert prepared.holds(made.basis, 99.9)
    assert not prepared.holds(made.basis, 100.0)
    facts.held[("b",)] = object()
    assert not prepared.holds(made.basis, 0.0)
    assert (len(prepared), prepared.used) == (1, COST)
    assert prepared.get(key(1), 0.0) is None
    assert (len(prepared), prepared.used) == (0, 0)  # it will not come back
    facts.held[("b",)] = other
    assert prepared.get(key(1), 0.0) is None
    prepared.put(key(1), made)
    del facts.held[("a",)]
    assert prepared.get(key(1), 0.0) is None


def test_who_was_used_least_lately_goes_first() -> None:
    prepared = PreparedAnswers(Facts(), 3 * COST)
    for number in (1, 2, 3):
        prepared.put(key(number), answer())
    assert (len(prepared), prepared.used) == (3, 3 * COST)
    assert prepared.get(key(1), 0.0) is not None
    prepared.put(key(4), answer())
    assert [number for number in (1, 2, 3, 4) if prepared.get(key(number), 0.0) is not None] == [1, 3, 4]
    assert (len(prepared), prepared.used) == (3, 3 * COST)
    prepared.put(key(5), answer(size=10 + COST))
    assert [number for number in (1, 3, 4, 5) if prepared.get(key(number), 0.0) is not None] == [4, 5]
    prepared.clear()
    assert (len(prepared), prepared.used, prepared.get(key(5), 0.0)) == (0, 0, None)


def test_an_answer_takes_the_place_of_the_one_before_and_is_counted_once() -> None:
    prepared = PreparedAnswers(Facts(), MIB)
    prepared.put(key(1), answer())
    second = answer(size=30, path="/x")
    prepared.put(key(1), second)
    assert prepared.get(key(1), 0.0) is second
    assert (len(prepared), prepared.used) == (1, COST + 20 + 1)


@pytest.mark.parametrize(
    ("size", "of_key", "capacity", "kept"),
    [
        (68 * KIB, 12, MIB, True),
        (68 * KIB + 1, 12, MIB, False),
        (10, 2_048, MIB, True),
        (10, 2_049, MIB, False),
        (10, 12, COST, True),
        (10, 12, COST - 1, False),
    ],
)
def test_what_is_too_large_is_not_kept_nor_is_what_it_replaces(
    size: int, of_key: int, capacity: int, kept: bool
) -> None:
    prepared = PreparedAnswers(Facts(), capacity)
    name = (b"GET /0001".ljust(of_key - 3, b"x"), b"key")
    if capacity == MIB and size == 10:
        prepared.put(name, answer())
    prepared.put(name, answer(size=size))
    assert (len(prepared), prepared.get(name, 0.0) is not None) == (kept, kept)
    if not kept:
        assert prepared.used == 0


@pytest.mark.parametrize(
    ("memory", "lane", "share"),
    [("64MiB", True, 8 * MIB), ("256MiB", True, 32 * MIB), ("1GiB", True, 32 * MIB), ("64MiB", False, 0)],
)
def test_an_eighth_of_memory_is_for_ready_answers_up_to_32_mib(memory: str, lane: bool, share: int) -> None:
    given = {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1", "memoryCacheSize": memory, "lane": lane}
    assert prepared_share(Settings.from_mapping(given, environ={"HOME": "/nowhere"})) == share


def test_a_request_that_comes_again_has_its_bytes_for_a_second() -> None:
    made = answer()
    repeat = Http1Repeat(key(1), made, FIELDS)
    assert (repeat.key, repeat.answer, repeat.fields, repeat.tally) == (key(1), made, FIELDS, made.tally)
    assert (repeat.wire, repeat.date, repeat.seen, repeat.until) == (b"", b"", -1, 0.0)
    repeat.tell(b"Date: now\r\n", b"field")
    assert (repeat.wire, repeat.date) == (b"startDate: now\r\n" + bytes(10), b"Date: now\r\n")
    assert Tally().count == 0
