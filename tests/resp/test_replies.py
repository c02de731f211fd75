# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Forms of replies that only some servers send, or that look alike on small data."""

from collections.abc import Callable
from typing import Any

import pytest

from resp import replies


def test_what_an_older_server_does_not_say_of_claimed_entries_is_nothing() -> None:
    entries = [[b"1-1", [b"f", b"v"]]]
    expected = replies.as_entries(entries)
    assert replies.as_autoclaimed([b"0-0", entries]) == (b"0-0", expected, [])
    assert replies.as_autoclaimed([b"0-0", entries, [b"1-2"]]) == (b"0-0", expected, [b"1-2"])


@pytest.mark.parametrize(
    ("asked", "row", "expected"),
    [
        ((True, False, False), [b"m", b"1.5"], (b"m", 1.5)),
        ((False, True, False), [b"m", 7], (b"m", 7)),
        ((False, False, True), [b"m", [b"13.361", b"38.116"]], (b"m", (13.361, 38.116))),
        ((True, True, True), [b"m", b"1.5", 7, [b"13.361", b"38.116"]], (b"m", 1.5, 7, (13.361, 38.116))),
    ],
)
def test_what_is_told_beside_a_place(asked: tuple[bool, bool, bool], row: list[object], expected: object) -> None:
    located = replies.located(*asked)
    assert located is not None
    assert located([row]) == [expected]
    assert replies.located(False, False, False) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9" * 19, 10**19 - 1),
        ("9" * 20, "9" * 20),  # longer than any counter: text that may be cut off anywhere, not a number
        ("-5", -5),
        ("1.5", 1.5),
        ("-0.25", -0.25),
        ("0." + "1" * 37, float("0." + "1" * 37)),
        ("0." + "1" * 38, "0." + "1" * 38),
        ("1.5.2", "1.5.2"),
        ("12a", "12a"),
        ("", ""),
        ("a=1", {"a": 1}),
        ("a=1,b", "a=1,b"),
        ("a,b", "a,b"),
        ("a=1,b=x=y", {"a": 1, "b": "x=y"}),
    ],
)
def test_a_number_in_info_is_one_only_if_it_is_all_of_it(text: str, expected: object) -> None:
    assert replies.parse_info(f"# Section: one\nno colon\nname:{text}\n") == {"name": expected}


@pytest.mark.parametrize(
    ("convert", "reply"),
    [
        (replies.as_pending_entries, [[b"1-1", b"me", 5]]),
        (replies.as_pending_entries, [[b"1-1", b"me", 5, 2, 9]]),
        (replies.located(True, True, False), [[b"m", b"1.5"]]),
        (replies.located(True, False, False), [[b"m", b"1.5", 7]]),
    ],
)
def test_a_row_of_another_length_is_no_reply(convert: Callable[[Any], Any], reply: list[Any]) -> None:
    with pytest.raises(ValueError, match="zip"):
        convert(reply)
