# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Where links lead: each by each, through how many, and what they take in memory."""

import gc
import tracemalloc

import pytest

from addon.sites.links import Links, Way
from addon.sites.tree import MODE_LINK, Entry, Tree

FILE = 0o100644
ID = "a" * 40


def made(links: dict[str, str], *files: str, most: int = 50_000, unread: tuple[str, ...] = ()) -> Links:
    rows = [(path, FILE, ID, 1) for path in files] + [(path, MODE_LINK, ID, 1) for path in (*links, *unread)]
    return Links(Tree(rows), links, most)


def chain(count: int) -> dict[str, str]:
    """Links that lead one to the other, and the last to a file."""
    return {f"l{number:02}": f"l{number + 1:02}" for number in range(count - 1)} | {f"l{count - 1:02}": "a"}


@pytest.mark.parametrize(
    ("target", "real"),
    [
        ("a", "a"),
        ("./a", "a"),
        ("a/", None),
        ("d/e", "d/e"),
        ("d", "d"),
        ("d/", "d"),
        ("d//e", "d/e"),
        ("d/../a", "a"),
        ("d/./e", "d/e"),
        (".", ""),
        ("d/..", ""),
        ("", None),
        ("/a", None),
        ("..", None),
        ("../x/a", None),
        ("d/../../x", None),
        ("missing", None),
        ("missing/../a", None),
        ("a/x", None),
        ("a/../a", None),
        ("a\0", None),
        ("link", None),
        ("unread", None),
        ("unread/x", None),
    ],
)
def test_a_link_leads_inside_of_the_site_or_nowhere(target: str, real: str | None) -> None:
    way = made({"link": target}, "a", "d/e", unread=("unread",)).way("link")
    assert (None if way is None else way.real) == real
    if way is not None:
        assert way.entry == (Entry(ID, 1, FILE) if real in ("a", "d/e") else None)
        assert way.depth == 1


def test_a_link_in_a_folder_leads_on_from_there() -> None:
    links = made({"d/up": "../a", "d/here": "e", "d/f/two": "../../a", "to": "d/here"}, "a", "d/e", "d/f/x")
    assert [links.way(name) for name in ("d/up", "d/here", "d/f/two")] == [
        Way("a", Entry(ID, 1, FILE), 1),
        Way("d/e", Entry(ID, 1, FILE), 1),
        Way("a", Entry(ID, 1, FILE), 1),
    ]
    assert links.way("to") == Way("d/e", Entry(ID, 1, FILE), 2)
    assert (list(links), len(links)) == (["d/up", "d/here", "d/f/two", "to"], 4)


def test_a_path_may_lead_through_sixteen_links() -> None:
    links = made(chain(16), "a")
    way = links.way("l00")
    assert way is not None
    assert (way.real, way.depth) == ("a", 16)
    links = made(chain(17), "a")
    assert links.way("l00") is None
    for first, second, leads in ((8, 8, True), (8, 9, False)):
        both = {f"a{number:02}": f"a{number + 1:02}" for number in range(first - 1)} | {f"a{first - 1:02}": "d"}
        both |= {f"d/b{number:02}": f"b{number + 1:02}" for number in range(second - 1)} | {f"d/b{second - 1:02}": "x"}
        links = made(both, "d/x")
        assert links.resolved("a00/b00") == ("d/x" if leads else None)


@pytest.mark.parametrize("links", [{"l": "l"}, {"l": "m", "m": "l"}, {"l": "m/x", "m": "l"}])
def test_a_circle_leads_nowhere(links: dict[str, str]) -> None:
    assert made(links, "a").way("l") is None


def test_a_path_is_resolved_by_the_link_that_it_leads_through_alone() -> None:
    links = made({"l": "d", "l2": "a", "m/n": "../d", "root": "."}, "a", "d/e", "m/x", "l-x/y", "l.txt")
    for path, real in (
        ("l", "d"),
        ("l/e", "d/e"),
        ("l2", "a"),
        ("l-x/y", "l-x/y"),
        ("l.txt", "l.txt"),
        ("lx", "lx"),
        ("a", "a"),
        ("m", "m"),
        ("m/n/e", "d/e"),
        ("m/x", "m/x"),
        ("root", ""),
        ("root/a", "a"),
        ("root/root/a", "a"),
        ("zz", "zz"),
        ("", ""),
    ):
        assert links.resolved(path) == real
    assert made({"l": "missing"}, "a").resolved("l/x") is None


def test_the_budget_is_of_steps_and_of_long_paths() -> None:
    short = made({"l": "d/../" * 10 + "a"}, "a", "d/e")
    assert (short.steps, short.left) == (21, 0)
    deep = "x" * 255
    folder = "/".join([deep] * 4)
    long = made({f"{folder}/l": "a"}, f"{folder}/a")
    assert long.steps == 1 + len(folder) // 256
    for most, leads in ((21, True), (20, False)):
        links = made({"l": "d/../" * 10 + "a"}, "a", "d/e", most=most)
        assert ((links.way("l") is not None), links.left) == (leads, 0 if leads else 1)
    links = made({"l": "d/../" * 10 + "a", "m": "a", "n": "a"}, "a", "d/e", most=20)
    assert (links.way("m"), links.left) == (None, 3)


@pytest.mark.parametrize("target", ["a", "missing" * 40])
def test_what_links_take_in_memory_is_what_they_say(target: str) -> None:
    names = [f"link-{number:05}" for number in range(2_000)]
    tree = Tree([("a", FILE, ID, 1), *((name, MODE_LINK, ID, 1) for name in names)])
    gc.collect()
    tracemalloc.start()
    links = Links(
        tree, {"".join(("l", name[1:])): "".join((target, "/" * (number % 2))) for number, name in enumerate(names)}
    )
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 0.8 * taken < links.nbytes < 2 * taken
