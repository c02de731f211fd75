# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Pages of a listing: which rows are on which, how many there are, whose they say they are."""

import re
from array import array

import pytest

from addon.serving.paths import _QUERY, _clean, _listing_page, _order
from addon.sites.pages_file import PagesFile
from addon.sites.site import File, Listing, Site, files_below
from addon.sites.tree import Entry
from addon.web.routing import PROFILE, Path

ID = "a" * 40


def a_site(*paths: str, name: str = "blog", sizes: dict[str, int] | None = None) -> Site:
    rows = [(f"public/{path}", 0o100644, ID, (sizes or {}).get(path, 1)) for path in paths]
    return Site("alice", name, "c" * 40, 1.0, PagesFile(directory_index=True), files_below(rows))


def shown(site: Site, number: int, folder: str = "", sort: str = "name") -> str:
    order = _order(site, folder, sort)  # type: ignore[arg-type]
    return _listing_page(site, Listing(folder, folder), order, number, sort).decode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "pages"),
    [
        (1, [1]),
        (999, [999]),
        (1_000, [1_000]),
        (1_001, [1_000, 1]),
        (2_000, [1_000, 1_000]),
        (2_001, [1_000, 1_000, 1]),
    ],
)
def test_a_page_has_a_thousand_rows_and_there_are_as_many_as_it_takes(rows: int, pages: list[int]) -> None:
    names = [f"n{number:04}.txt" for number in range(rows)]
    site = a_site(*names)
    found: list[str] = []
    for number, count in enumerate(pages, 1):
        page = shown(site, number)
        here = re.findall(r"n[0-9]{4}\.txt(?=</)", page)
        assert len(here) == count
        assert ('rel="next"' in page) is (number < len(pages))
        assert ('rel="prev"' in page) is (number > 1)
        found += here
    assert found == names


def test_rows_are_in_the_order_that_was_asked_for() -> None:
    site = a_site("a.txt", "b.txt", "c/x", "d.txt", sizes={"a.txt": 3, "b.txt": 30, "d.txt": 20})

    def order(sort: str) -> list[str]:
        places = array("I", _order(site, "", sort))  # type: ignore[arg-type]
        rows = [site.row("", place) for place in places]
        return [row[0] for row in rows if row is not None]

    assert order("name") == ["c", "a.txt", "b.txt", "d.txt"]
    assert order("-name")[-3:] == ["d.txt", "b.txt", "a.txt"] or order("-name")[:3] == ["d.txt", "b.txt", "a.txt"]
    assert [name for name in order("size") if name != "c"] == ["a.txt", "d.txt", "b.txt"]
    assert [name for name in order("-size") if name != "c"] == ["b.txt", "d.txt", "a.txt"]


def test_a_listing_says_whose_it_is_and_leads_up_where_there_is_an_up() -> None:
    inner = shown(a_site("d/e/x.txt"), 1, "d/e")
    assert "x.txt" in inner
    assert 'href="../"' in inner
    outer = shown(a_site("x.txt"), 1)
    assert 'href="../"' not in outer
    assert "blog" in outer
    assert "alice" in shown(a_site("x.txt", name=PROFILE), 1)
    assert "alice" not in outer


@pytest.mark.parametrize(
    ("query", "sort", "page"),
    [
        ("", None, None),
        ("sort=name", "name", None),
        ("sort=-size&page=2", "-size", "2"),
        ("page=99999", None, "99999"),
    ],
)
def test_what_a_listing_may_be_asked_for(query: str, sort: str | None, page: str | None) -> None:
    found = _QUERY.fullmatch(query)
    assert found is not None
    assert (found[1], found[2]) == (sort, page)


@pytest.mark.parametrize(
    "query", ["page=0", "page=01", "page=100000", "page=-1", "sort=x", "sort=namepage=1", "a=b", "page=1&sort=name"]
)
def test_any_other_question_is_none(query: str) -> None:
    assert _QUERY.fullmatch(query) is None


SITE = a_site("index.html", "a.html", "b.html", "b/index.html", "c/index.html", "c/d.html", ".html", "plain")


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("index.html", "/s/"),
        ("a.html", "/s/a"),
        ("c/index.html", "/s/c/"),
        ("c/d.html", "/s/c/d"),
        ("b.html", None),  # `/b` is the folder
        (".html", None),
        ("plain", None),
        ("a", None),
        ("c/", None),
        ("", None),
    ],
)
def test_the_address_without_html_is_one_that_shows_the_same_file(path: str, clean: str | None) -> None:
    segments, slash = tuple(filter(None, path.split("/"))), path.endswith("/")
    file = SITE.outcome(segments, slash)
    assert isinstance(file, File)
    assert _clean(SITE, file, segments, Path(("s", *segments), slash)) == clean
    other = File("other.html", Entry(ID, 1, 0o100644))
    assert _clean(SITE, other, segments, Path(("s", *segments), slash)) is None
