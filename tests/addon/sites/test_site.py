# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A site: what each path means in a commit, and that no link leads out of `public/`."""

import gc
import os
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.sites.links import MAX_DEPTH, MOST_STEPS, Links
from addon.sites.pages_file import PagesFile
from addon.sites.site import File, Listing, Missing, Outcome, Site, ToFile, ToFolder, files_below
from addon.sites.tree import MODE_EXECUTABLE, MODE_LINK, Entry
from tests.cases import by_outcome

FILE = 0o100644


def oid(text: str) -> str:
    return text.encode().hex().ljust(40, "0")[:40]


def a_site(*files: str, links: dict[str, str] | None = None, listing: bool = False) -> Site:
    """A site of files below `public/`, each with an id of its own, and of links by target."""
    links = links or {}
    rows = [(f"public/{path}", FILE, oid(path), len(path)) for path in files]
    rows += [(f"public/{path}", MODE_LINK, oid(target), len(target)) for path, target in links.items()]
    pages_file = PagesFile(directory_index=listing)
    tree = files_below(rows)
    return Site("alice", "blog", "c" * 40, 1.0, pages_file, tree, Links(tree, links))


def listed(site: Site, path: str) -> dict[str, Entry | None]:
    """The rows of a listing."""
    outcome = asked(site, path)
    assert isinstance(outcome, Listing)
    rows = site.rows(outcome.folder)
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def asked(site: Site, path: str) -> Outcome:
    """The outcome of a path written with its slash: `` for the root, `a/` for a folder."""
    segments = tuple(part for part in path.split("/") if part)
    return site.outcome(segments, path.endswith("/"))


def is_file(path: str) -> File:
    return File(path, Entry(oid(path), len(path), FILE))


SITE = a_site(
    *("index.html", "404.html", "about.html", "plain", "css/style.css", "post/index.html", "post/one.html"),
    *("both.html", "both/index.html", "page.html", "page/x.txt", "only/deep/x.txt", "v1.2/index.html", "a.html/x.txt"),
    *("back\\slash.txt", "per%cent", ".well-known/security.txt", ".hidden/index.html", "x.html/index.html", "é.html"),
)
LISTED = a_site("a.txt", "page.html", "page/x.txt", "dir/b.txt", "dir/sub/c.txt", "dir-x", "dir.y", listing=True)


def is_as_told(found: Outcome, expected: str | type[Outcome]) -> bool:
    """Whether it is this file, or an outcome of this kind: those without fields are equal to each other."""
    return found == is_file(expected) if isinstance(expected, str) else type(found) is expected


MEANINGS: dict[str, str | type[Outcome]] = {
    "": "index.html",
    **{path: path for path in ("index.html", "plain", "css/style.css", ".well-known/security.txt", "back\\slash.txt")},
    "per%cent": "per%cent",
    "é": "é.html",
    # A folder is shown under its slash alone, so that relative links hold.
    "post": ToFolder,
    "post/": "post/index.html",
    "post/index.html": "post/index.html",
    "v1.2": ToFolder,
    "v1.2/": "v1.2/index.html",
    ".hidden": ToFolder,
    # `/page` is `page.html` where nothing else is of that name.
    "about": "about.html",
    "about/": ToFile,
    "post/one": "post/one.html",
    "both": ToFolder,
    "both/": "both/index.html",
    "page": "page.html",
    "page/": Missing,
    "x": Missing,
    "x.html": ToFolder,
    "a.html": Missing,
    # A file is no folder, a name is its whole name, and case counts.
    **dict.fromkeys(
        ("about.html/", "about.html/x", "abou", "About.html", "css", "css/", "only", "only/deep/"), Missing
    ),
    "nothing/at/all": Missing,
}


@pytest.mark.parametrize(("path", "expected"), MEANINGS.items())
def test_a_path_means_exactly_one_thing(path: str, expected: str | type[Outcome]) -> None:
    assert is_as_told(asked(SITE, path), expected)


LISTED_MEANINGS: dict[str, str | type[Outcome]] = {
    "dir": ToFolder,
    "page": "page.html",
    "nothing/": Missing,
    "a.txt/": Missing,
}


@pytest.mark.parametrize(("path", "expected"), LISTED_MEANINGS.items())
def test_where_a_site_wants_listings_a_path_means_the_same(path: str, expected: str | type[Outcome]) -> None:
    assert is_as_told(asked(LISTED, path), expected)


def test_a_root_without_an_index_is_listed_where_the_site_wants_that() -> None:
    for site in (a_site(), a_site("post/x")):
        assert is_as_told(asked(site, ""), Missing)
    assert asked(a_site(listing=True), "") == Listing("", "")
    assert is_as_told(asked(a_site("index.html", "x", listing=True), ""), "index.html")


def test_a_listing_shows_files_and_folders_of_one_level() -> None:
    assert listed(LISTED, "dir/") == {"b.txt": is_file("dir/b.txt").entry, "sub": None}
    assert list(listed(LISTED, "")) == ["a.txt", "dir-x", "dir.y", "dir", "page.html", "page"]


def test_only_files_and_links_below_public_are_a_site() -> None:
    rows = [
        (".pages", FILE, "a" * 40, 1),
        ("README.md", FILE, "a" * 40, 1),
        ("public", 0o040000, "b" * 40, 0),
        ("public/", FILE, "b" * 40, 0),
        ("public/sub", 0o040000, "b" * 40, 0),
        ("public/module", 0o160000, "1" * 40, 0),
        ("public/run.sh", MODE_EXECUTABLE, "c" * 40, 3),
        ("public/x", FILE, "d" * 40, 4),
        ("public/link", MODE_LINK, "e" * 40, 5),
        ("publicity/x", FILE, "a" * 40, 1),
        ("Public/x", FILE, "a" * 40, 1),
        ("a/public/x", FILE, "a" * 40, 1),
    ]
    tree = files_below(rows)
    assert [tree[index] for index in range(len(tree))] == [b"link", b"run.sh", b"x"]


def test_a_site_knows_its_pages_by_name_and_what_lies_beside_a_file() -> None:
    site = a_site("404.html", "500.html", "js/app.js", "js/app.js.br", links={"l.js": "js/app.js"})
    assert site.not_found_page() == is_file("404.html")
    assert site.page("500.html") == is_file("500.html")
    assert site.page("403.html") is None
    assert SITE.not_found_page() == is_file("404.html")
    app = asked(site, "l.js")
    assert isinstance(app, File)
    assert site.sibling(app, ".br") == is_file("js/app.js.br")
    assert site.sibling(app, ".gz") is None


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("x", "403.html"),
        ("a/x", "a/403.html"),
        ("a/b/x", "a/403.html"),
        ("a/b/c/x", "a/b/c/403.html"),
        ("b/c/x", "403.html"),
    ],
)
def test_the_page_of_an_error_is_the_nearest_one_upwards(path: str, page: str) -> None:
    site = a_site("403.html", "a/403.html", "a/b/c/403.html", "a/b/404.html")
    assert site.error_page(403, tuple(path.split("/"))) == is_file(page)


LINKED = a_site(
    *("index.html", "about.html", "post/index.html", "post/one.html", "post/deep/x.txt", "css/style.css"),
    links={
        "link.html": "about.html",
        "dot.html": "./about.html",
        "twice.html": "link.html",
        "linkdir": "post",
        "slashed": "post/",
        "far": "post/../css/style.css",
        "post/back.html": "../about.html",
        "post/up": "..",
        "self": ".",
        "through": "linkdir/deep",
        "up.html": "../README.md",
        "up-and-in.html": "../public/about.html",
        "post/out": "../../x",
        "abs": "/etc/passwd",
        "abs-in": "/about.html",
        "loop-a": "loop-b",
        "loop-b": "loop-a",
        "loop-self": "loop-self",
        "loop-in": "loop-in/x",
        "dangling": "nowhere.html",
        "lost": "nowhere/../about.html",
        "not-a-folder": "about.html/../about.html",
        "file-slash": "about.html/",
        "empty": "",
        "nul": "about.html\0x",
        "backslash": "post\\one.html",
        "404.html": "about.html",
    },
    listing=True,
)


@pytest.mark.parametrize(
    ("path", "expected"),
    by_outcome(
        {
            "about.html": [
                *("link.html", "link", "dot.html", "twice.html"),
                *("linkdir/back.html", "post/up/about.html", "self/self/about.html"),
            ],
            "post/index.html": ["linkdir/", "slashed/"],
            "post/one.html": ["linkdir/one.html", "linkdir/one", "linkdir/up/linkdir/one.html"],
            "index.html": ["post/up/"],
            "css/style.css": ["far"],
            "post/deep/x.txt": ["through/x.txt"],
            ToFolder: ["linkdir", "post/up/post/up/post/up"],
            Missing: [
                *("up.html", "up-and-in.html", "post/out", "post/out/", "abs", "abs-in", "loop-a", "loop-b", "loop-a/"),
                *("loop-self", "loop-self/x", "loop-in", "loop-in/y", "dangling", "dangling/", "lost", "not-a-folder"),
                *("file-slash", "empty", "nul", "backslash", "link.html/", "link.html/x", "linkdir/nothing"),
                *("abs/", "abs/x", "abs-in/x", "linkdir/one.html/"),
            ],
        }
    ),
)
def test_links_are_followed_inside_and_never_out(path: str, expected: str | type[Outcome]) -> None:
    assert is_as_told(asked(LINKED, path), expected)


def test_a_page_for_missing_paths_may_be_a_link() -> None:
    assert LINKED.not_found_page() == is_file("about.html")


def test_a_listing_shows_where_links_lead_and_leaves_out_those_that_lead_nowhere() -> None:
    site = a_site(
        *("a.txt", "dir/b.txt"),
        links={
            "file": "a.txt",
            "folder": "dir",
            "out": "../x",
            "gone": "nowhere",
            "loop": "loop",
            "dir/up": "../a.txt",
        },
        listing=True,
    )
    a, b = is_file("a.txt").entry, is_file("dir/b.txt").entry
    assert listed(site, "") == {"a.txt": a, "dir": None, "file": a, "folder": None}
    assert asked(site, "folder/") == Listing("folder", "dir")
    assert listed(site, "folder/") == {"b.txt": b, "up": a}


@pytest.mark.parametrize(("links", "found"), [(1, True), (MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_a_chain_of_links_is_followed_sixteen_deep(links: int, found: bool) -> None:
    chain = {f"l{number}": f"l{number - 1}" for number in range(2, links + 1)} | {"l1": "a.txt"}
    assert asked(a_site("a.txt", links=chain), f"l{links}") == (is_file("a.txt") if found else Missing())


def test_a_link_whose_target_was_not_read_is_a_missing_file() -> None:
    whole = a_site("a.txt", "dir/b.txt", links={"l": "a.txt", "d": "dir"}, listing=True)
    none = Site("alice", "blog", "c" * 40, 1.0, whole.pages_file, whole.tree)
    some = Site("alice", "blog", "c" * 40, 1.0, whole.pages_file, whole.tree, Links(whole.tree, {"d": "dir"}))
    for site in (none, some):
        assert asked(site, "l") == asked(site, "l/") == asked(site, "l/x") == Missing()
        assert asked(site, "a.txt") == is_file("a.txt")
    assert asked(none, "d/b.txt") == asked(none, "d/") == Missing()
    assert asked(some, "d/b.txt") == is_file("dir/b.txt")
    assert list(listed(none, "")) == ["a.txt", "dir"]


TARGETS = st.lists(
    st.sampled_from(["a", "b", "c", "f", "..", "l", "m", ".", "", "a/f", "b/c", "a/..", "../f"]), min_size=1, max_size=3
).map("/".join)
KERNEL_FILES = ("f", "a/f", "a/b/f", "b/c/f")


@settings(max_examples=250, deadline=None)
@given(
    st.fixed_dictionaries({"l": TARGETS}, optional={"m": TARGETS, "a/l": TARGETS, "b/m": TARGETS}).filter(
        lambda links: len(links) <= 2 and not any(target == "" or target.startswith("/") for target in links.values())
    ),
    st.lists(st.sampled_from(["l", "m", "a", "b", "c"]), max_size=2),
    st.sampled_from(["f", "l", "m"]),
)
def test_links_lead_where_the_kernel_would_lead(links: dict[str, str], folders: list[str], name: str) -> None:
    path = "/".join((*folders, name))
    site = a_site(*KERNEL_FILES, links=links, listing=True)
    # Two links, in a path of three and in each other: fewer steps than the sixteen that we take, unless they circle.
    with tempfile.TemporaryDirectory() as folder:
        public = Path(folder, "outer", "inner", "public")
        for file in KERNEL_FILES:
            (public / file).parent.mkdir(parents=True, exist_ok=True)
            (public / file).touch()
        for link, target in links.items():
            (public / link).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(target, public / link)
        real, root = public / path, os.path.realpath(public)
        inside = os.path.relpath(os.path.realpath(real), root)
        if real.is_file():
            assert asked(site, path) == is_file(inside)
        else:
            assert asked(site, path) in (ToFolder(), Missing())
        if real.is_dir() and not inside.startswith(".."):
            names = set(listed(site, f"{path}/"))
            there = {entry.name for entry in real.iterdir() if entry.exists()}
            assert names <= there
            assert names >= {entry for entry in there if not (real / entry).is_symlink()}
        else:
            assert asked(site, f"{path}/") == Missing()


@given(
    st.dictionaries(st.text("ab./", min_size=1, max_size=6), st.text("ab./\0\\", max_size=8), max_size=6),
    st.lists(st.sampled_from(["a", "b", "ab", "a.b", "...", "\\"]), max_size=5),
    st.booleans(),
)
def test_whatever_links_say_the_outcome_is_a_file_of_this_site(
    links: dict[str, str], segments: list[str], slash: bool
) -> None:
    site = a_site("a/b", "index.html", "ab.html", links=links, listing=True)
    outcome = site.outcome(tuple(segments), slash)
    if isinstance(outcome, File):
        assert site.tree.find(outcome.path) == outcome.entry
        assert outcome.entry.mode != MODE_LINK
    if isinstance(outcome, Listing):
        rows = site.rows(outcome.folder)
        assert all(entry is None or entry.mode != MODE_LINK for _, entry in rows)


@pytest.mark.parametrize(
    ("links", "path"),
    [
        ({"l": "a.txt"}, "x/" * 30_000 + "x"),
        ({"l": "a.txt"}, "d/" * 30_000),
        ({"l": "./" * 2_000 + "l"}, "l"),
        ({"l": "d/../" * 800 + "l"}, "l"),
        ({f"l{number}": f"l{number - 1}/" * 60 for number in range(1, 60)} | {"l0": "."}, "l59/" * 30),
        ({"l": "l/" * 2_000}, "l/" * 1_000),
        ({f"l{number}": "d/../" * 800 + "d/e.txt" for number in range(1_990)}, "l1989"),
    ],
)
def test_no_path_and_no_links_make_a_look_up_long(
    links: dict[str, str], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = a_site("a.txt", "d/e.txt", links=links, listing=True)
    assert site.links is not None
    assert site.links.steps <= MOST_STEPS + 1  # of all links together, once
    searches = 0
    on = Links._on

    def counted(self: Links, path: str) -> str | None:
        nonlocal searches
        searches += 1
        return on(self, path)

    monkeypatch.setattr(Links, "_on", counted)
    assert asked(site, path) == Missing()
    assert searches <= 3 * (MAX_DEPTH + 1)  # as a file, as a folder, as a page
    monkeypatch.setattr(Links, "_on", None)
    site.rows("")  # a listing follows no link


def test_links_that_the_budget_does_not_reach_lead_nowhere_and_the_others_where_they_should() -> None:
    links = {"a": "d/e.txt", "b": "d/../" * 800 + "d/e.txt", "c": "d/e.txt"}
    tree = a_site("a.txt", "d/e.txt", links=links).tree
    site = Site("alice", "blog", "c" * 40, 1.0, PagesFile(), tree, Links(tree, links, most=100))
    assert [asked(site, name) for name in "abc"] == [is_file("d/e.txt"), Missing(), Missing()]
    assert site.links is not None
    assert site.links.left == 2


def test_a_site_counts_two_kilobytes_besides_what_it_holds() -> None:
    site = a_site("index.html")
    assert site.nbytes >= 2000 + site.tree.nbytes + site.pages_file.nbytes


@pytest.mark.parametrize("name", ["x", "\U0001f600"])
def test_it_counts_what_it_takes_in_memory(name: str) -> None:
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    links = {f"{name * 20}{number}": f"{name * 1000}{number}" for number in range(1_000)}
    tree = files_below((f"public/{path}", MODE_LINK, "a" * 40, 1) for path in links)
    site = Site("alice", "blog", "c" * 40, 1.0, PagesFile(), tree, Links(tree, links))
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken * 0.95 < site.nbytes < taken * 1.3
