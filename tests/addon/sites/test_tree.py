# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The packed tree: it answers as a dict would, and takes a fraction of its memory."""

import gc
import json
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.sites.tree import MODE_EXECUTABLE, MODE_LINK, Entry, ListedEntry, Tree

FILE = 0o100644
MODES = st.sampled_from([FILE, MODE_EXECUTABLE, MODE_LINK])
# Names around `/` in byte order (`-` and `.` come before it, `0` after), so that a folder's run has neighbours.
NAMES = st.sampled_from(
    ["a", "a.", "a-", "a0", "a!", "ab", "b", "A", "é", "日", "\U0001f600", "\ufffd", " ", "a b", "~"]
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
ENTRIES = st.builds(Entry, st.binary(min_size=20, max_size=20).map(bytes.hex), st.integers(0, 2**40), MODES)


def without_clashes(files: dict[str, Entry]) -> dict[str, Entry]:
    """Only what git can hold: no path that is a file and a folder at once."""
    return {path: entry for path, entry in files.items() if not any(other.startswith(f"{path}/") for other in files)}


FILES = st.dictionaries(PATHS, ENTRIES, max_size=25).map(without_clashes)


def packed(files: dict[str, Entry]) -> Tree:
    return Tree((path, entry.mode, entry.id, entry.size) for path, entry in files.items())


def listed(files: dict[str, Entry], folder: str) -> list[ListedEntry]:
    """What a folder holds, out of a dict, in git's order of paths: a folder sorts as if it ended in a slash."""
    prefix = f"{folder}/" if folder else ""
    found: dict[str, Entry | None] = {}
    for path, entry in files.items():
        if path.startswith(prefix):
            name, slash, _ = path[len(prefix) :].partition("/")
            found[name + slash] = None if slash else entry
    return [ListedEntry(name.rstrip("/"), found[name]) for name in sorted(found, key=str.encode)]


@given(FILES, PATHS)
def test_it_finds_what_a_dict_would_find(files: dict[str, Entry], other: str) -> None:
    tree = packed(files)
    assert len(tree) == len(files)
    for path in [*files, other, f"{other}/", f"/{other}", other[:-1], "", "\ud800", "\0"]:
        assert tree.find(path) == files.get(path)
        assert tree.is_link(path) == (path in files and files[path].mode == MODE_LINK)
    assert [tree[index].decode() for index in range(len(tree))] == sorted(files, key=str.encode)


@given(FILES, PATHS)
def test_a_folder_is_what_some_file_lies_below(files: dict[str, Entry], other: str) -> None:
    tree = packed(files)
    parents = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 1)}
    assert tree.has_folder("")
    for path in {*files, *parents, other, "\ud800"}:
        assert tree.has_folder(path) == (path in parents)


@given(FILES, PATHS)
def test_it_lists_a_folder_as_a_dict_would(files: dict[str, Entry], other: str) -> None:
    tree = packed(files)
    parents = {"/".join(path.split("/")[:depth]) for path in files for depth in range(path.count("/") + 1)}
    for folder in {*parents, "", other, "\ud800"}:
        assert list(tree.listing(folder)) == listed(files, folder)


@given(FILES)
def test_it_knows_its_links(files: dict[str, Entry]) -> None:
    links = {path: entry for path, entry in files.items() if entry.mode == MODE_LINK}
    assert dict(packed(files).links()) == links


@given(FILES, st.randoms())
def test_the_order_of_the_entries_does_not_matter(files: dict[str, Entry], chance: random.Random) -> None:
    shuffled = list(files.items())
    chance.shuffle(shuffled)
    tree, other = packed(files), packed(dict(shuffled))
    assert [(tree[index], tree.find(tree[index].decode())) for index in range(len(tree))] == [
        (other[index], other.find(other[index].decode())) for index in range(len(other))
    ]


def test_sha_256_ids_come_back_whole() -> None:
    files = {"a": Entry("ab" * 32, 1, FILE), "b/c": Entry("01" * 32, 2**40, MODE_EXECUTABLE)}
    tree = packed(files)
    assert {path: tree.find(path) for path in files} == files


def test_an_empty_tree_holds_nothing_but_its_root() -> None:
    tree = Tree(())
    assert (len(tree), tree.find(""), tree.has_folder(""), tree.has_folder("a")) == (0, None, True, False)
    assert list(tree.listing("")) == []
    assert list(tree.links()) == []


def test_of_two_files_of_one_name_one_is_listed() -> None:
    # Forgejo lists `bad\xfe` and `bad\xff` under one name.
    tree = Tree([("bad\ufffd", FILE, "b" * 40, 2), ("a", FILE, "c" * 40, 3), ("bad\ufffd", FILE, "a" * 40, 1)])
    assert [row.name for row in tree.listing("")] == ["a", "bad\ufffd"]
    assert tree.find("bad\ufffd") == Entry("a" * 40, 1, FILE)
    assert tree.find("a") == Entry("c" * 40, 3, FILE)


@pytest.mark.parametrize(
    "rows",
    [
        [("a", FILE, "a" * 40, 1), ("b", FILE, "a" * 64, 1)],
        [("a", FILE, "a" * 41, 1), ("b", FILE, "a" * 39, 1)],
        [("a", FILE, "a" * 39, 1)],
        [("a", FILE, "a" * 40, 1), ("b", FILE, "", 1)],
        [("a", FILE, "g" * 40, 1)],
        [("a", FILE, " " * 40, 1)],
        [("a", FILE, "a" * 38 + "  ", 1)],
        [("\ud800", FILE, "a" * 40, 1)],
        [("a", FILE, "a" * 40, -1)],
        [("a", FILE, "a" * 40, 2**64)],
        [("a", -1, "a" * 40, 1)],
    ],
)
def test_what_git_cannot_hold_is_no_tree(rows: list[tuple[str, int, str, int]]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the documented one, whatever its words
        Tree(rows)


@pytest.mark.parametrize(("links", "most"), [(0, 100), (1_000, 130), (10_000, 260)])
def test_a_file_takes_few_bytes_a_link_some_more_and_both_are_accounted_for(links: int, most: int) -> None:
    rows = [
        (f"docs/chapter-{number // 100:03}/page-{number:05}/index.html", MODE_LINK if number < links else FILE,
         f"{number:040x}", number)
        for number in range(10_000)
    ]  # fmt: skip
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    tree = Tree(iter(rows))
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken * 0.95 < tree.nbytes < taken * 1.25
    if not links:
        assert taken < 10_000 * most


@pytest.mark.parametrize("name", ["plain", 'quo"ted', "back\\slash", "tab\t\x01", "é\U0001f600"])
@pytest.mark.parametrize("digits", [40, 64])
def test_what_its_rows_take_as_json_is_known_before_they_are_written(name: str, digits: int) -> None:
    rows = [(f"{name * 3}/{number}", FILE, f"{number:0{digits}x}", 1_000 + number) for number in range(1_000)]
    tree = Tree(rows)
    taken = len(json.dumps(list(tree.rows()), ensure_ascii=False, separators=(",", ":")).encode())
    assert taken < tree.json_nbytes < 1.5 * taken


def test_what_is_no_link_is_none() -> None:
    tree = Tree([("a", MODE_LINK, "a" * 40, 1), ("b", 0o160000, "a" * 40, 1), ("c", FILE, "a" * 40, 1)])
    assert [tree.is_link(path) for path in "abcd"] == [True, False, False, False]
    assert [path for path, _ in tree.links()] == ["a"]
