# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Forms of replies that only some servers send, or that look alike on small data."""

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
