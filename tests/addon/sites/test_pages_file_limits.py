# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`.pages` where it ends: the last that is let pass of each thing, the first that is not, and its line."""

import pytest

from addon.sites.pages_file import PagesFile, PagesFileError, parse, takes_long
from tests.cases import by_outcome


def line_of(text: str) -> int | None:
    """The line that an error names."""
    with pytest.raises(PagesFileError) as caught:
        parse(text.encode())
    assert str(caught.value) == (
        f"line {caught.value.line}: {caught.value.reason}" if caught.value.line else caught.value.reason
    )
    return caught.value.line


def fits(text: str) -> bool:
    try:
        parse(text.encode())
    except PagesFileError:
        return False
    return True


@pytest.mark.parametrize(
    ("last", "first_that_is_not"),
    [
        ("#" * 65_536, "#" * 65_537),
        (f"enable_branches: [{', '.join(['b'] * 1_000)}]", f"enable_branches: [{', '.join(['b'] * 1_001)}]"),
        (f"x: {'[' * 15}{']' * 15}", f"x: {'[' * 16}{']' * 16}"),
        (f"x: {'{a: ' * 15}b{'}' * 15}", f"x: {'{a: ' * 16}b{'}' * 16}"),
        (f"root: {'a' * 1_000}", f"root: {'a' * 1_001}"),
        (f"branch: {'é' * 125}", f"branch: {'é' * 125}x"),
        (f"previews: {{branches: [{', '.join(f'b{n}' for n in range(50))}]}}",
         f"previews: {{branches: [{', '.join(f'b{n}' for n in range(51))}]}}"),
        (f"previews: {{branches: [{'b' * 250}]}}", f"previews: {{branches: [{'b' * 251}]}}"),
        (f"previews: {{banner: {'b' * 200}}}", f"previews: {{banner: {'b' * 201}}}"),
        # 5 000 events, of which the stream, the document, the mapping with its key and the list have nine.
        (f"x: [{'a,' * 4_991}]", f"x: [{'a,' * 4_992}]"),
    ],
    ids=["bytes", "items", "lists", "mappings", "root", "branch", "patterns", "pattern", "banner", "events"],
)  # fmt: skip
def test_each_limit_is_where_it_is_said_to_be(last: str, first_that_is_not: str) -> None:
    assert fits(last)
    assert not fits(first_that_is_not)


def test_many_short_lists_one_after_the_other_are_not_deep() -> None:
    assert fits("".join(f"x{number}: [[a]]\n" for number in range(40)))


@pytest.mark.parametrize(("warnings", "told"), [(19, 19), (20, 20), (21, 21), (50, 21)])
def test_twenty_warnings_are_told_and_one_of_the_rest(warnings: int, told: int) -> None:
    found = parse("".join(f"colour{number}: x\n" for number in range(warnings)).encode()).warnings
    assert len(found) == told
    assert found[0] == "line 1: unknown name"
    assert (found[-1][:4] == "and ") is (warnings > 20)


@pytest.mark.parametrize(
    ("data", "long"),
    [
        (b"#" * 4_096, False),
        (b"#" * 4_097, True),
        (b"[" * 32, False),
        (b"[" * 33, True),
        (b"{" * 33, True),
        (b"[" * 16 + b"{" * 16, False),
        (b"[" * 16 + b"{" * 17, True),
        (b"]" * 100, False),
    ],
)
def test_what_may_take_long_to_read_is_known_by_its_size_and_brackets(data: bytes, long: bool) -> None:
    assert takes_long(data) is long


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("enabled: true\nx:\n  password: a", 3),
        ("enabled: true\nx:\n  - a\n  - password: a", 4),
        ("x: {a: b, password: c}", 1),
        ("x: {a: [b], password: c}", 1),
        ("x: {a: {b: c}, password: d}", 1),
        ("x: [{a: b}, {password: c}]", 1),
        ("\nx:\n  access: members", 3),
        ("\nx:\n  a: members", 3),
        ("\nx: {a: [b], c: members}", 2),
        ("a: b\n? [c]\n: d", 2),
        ("- a", 1),
        ("\n\na", 3),
        ("a: b\n--- c", 2),
        ("a: b\n---\nc: d", 2),
        ("a: b\n--- ''", 2),
        ("\nenabled: maybe", 2),
        ("\nenabled: [a]", 2),
        ("\nroot: ../x", 2),
        ("\nroot: .git", 2),
        ("\nroot: a//b", 2),
        ("\nbranch: -x", 2),
        ("\nbranch: a b", 2),
        ("\npassword: {a: b}", 2),
        ("\ncustom_domain: {a: b}", 2),
        ("\ncustom_domain:\n- a\n- [b]", 4),
        ("a: &x b\nc: *x", 2),
        ('\nx: "\\uD800"', 2),
        ("password: a\npassword:", 2),
        ("\naccess: all", 2),
        ("\naccess:", 2),
        ("previews:\n  ? [a]\n  : b", 2),
        ("previews:\n  branches:\n  - a\n  - [b]", 4),
    ],
)
def test_what_cannot_be_has_its_line(text: str, line: int) -> None:
    assert line_of(text) == line


@pytest.mark.parametrize(
    "text",
    [
        "x: [password]",
        "x: {a: password}",
        "x: [members]",
        "x: {members: a}",
        "x: {a: [members]}",
        "x: {a: [password], b: c}",
        "x: [[a], password]",
    ],
)
def test_a_word_that_is_no_name_there_protects_nothing(text: str) -> None:
    assert parse(text.encode()).warnings == ("line 1: unknown name",)


def test_nothing_is_open_that_is_not_said() -> None:
    found = parse(b"")
    assert found == PagesFile()
    assert (found.publish_private, found.canonical, found.members, found.spa, found.clean_urls) == (False,) * 5
    assert (found.directory_index, found.publishes_private, found.enabled, found.prefix) == (
        False,
        False,
        True,
        "public/",
    )


@pytest.mark.parametrize(
    ("text", "publishes"),
    [("publish_private: true", True), ("access: members", True), ("publish_private: no", False), ("", False)],
)
def test_a_private_repository_is_a_site_for_all_or_for_its_members(text: str, publishes: bool) -> None:
    assert parse(text.encode()).publishes_private is publishes


@pytest.mark.parametrize(
    ("text", "prefix", "branch"),
    by_outcome(
        {
            ("docs/", None): ["root: docs", "root: ./docs/"],
            ("a/b/", None): ["root: /a/b/"],
            ("", None): ["root: .", "root: ./", "root: /", "branch: main"],
            ("", "pages"): ["branch: pages"],
            ("docs/", "pages"): ["branch: pages\nroot: docs"],
            ("public/", None): ["root:"],
        }
    ),
)
def test_where_the_site_lies(text: str, prefix: str, branch: str | None) -> None:
    found = parse(text.encode())
    assert (found.prefix, found.shown_branch("main")) == (prefix, branch)


def test_what_is_told_of_yaml_is_short_and_of_yaml_alone() -> None:
    for text in ("a: 'secret", "a: [secret", "a: b: secret", "a:\n\tsecret: x"):
        with pytest.raises(PagesFileError) as caught:
            parse(text.encode())
        assert "secret" not in caught.value.reason
        assert len(caught.value.reason) <= 120
