# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How many calls to Forgejo a visit costs, counted at the forge."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from addon.preview.settings import FORGEJO_11, GITEA, Flavour
from tests.addon.preview.sites import Site, link
from tests.addon.serving.pages import ENABLED, serving, start_forge

STYLE = b"h1 { color: teal }\n" * 20
FILES = {
    ".pages": ENABLED,
    "public/index.html": b"<h1>Blog</h1>\n" * 30,
    "public/about.html": b"<h1>About</h1>\n" * 30,
    "public/style.css": STYLE,
    "public/dir/index.html": b"<h1>Dir</h1>\n" * 30,
    "public/files/a.txt": b"a" * 300,
}
BATCH = "alice/blog/git/blobs"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Site(tmp_path / "alice" / "blog.git", FILES)
    Site(
        tmp_path / "alice" / ".profile.git", {".pages": ENABLED, "public/index.html": b"Alice", "public/x/y.txt": b"y"}
    )
    return tmp_path


async def test_a_cold_site_costs_repository_branch_tree_and_one_batch(forge: Forge) -> None:
    async with serving(forge) as pages:
        reply = await pages.get("alice", "/blog/")
        assert (reply.status, reply.cache) == (200, "MISS")
        assert pages.asked() == [
            "alice/blog",
            "alice/blog/branches/main",
            f"alice/blog/git/trees/{pages.known('alice', 'blog').commit}",
            BATCH,
        ]


@pytest.mark.parametrize("flavour", [FORGEJO_11, GITEA], ids=["Forgejo 11", "Gitea"])
async def test_where_there_are_no_batches_each_blob_is_one_call(root: Path, flavour: Flavour) -> None:
    with start_forge(root, flavour=flavour) as forge:
        async with serving(forge) as pages:
            await pages.get("alice", "/blog/")
            asked = pages.asked()
            assert asked[:2] == ["alice/blog", "alice/blog/branches/main"]
            assert asked[3] == BATCH  # the question whether there are batches, once for the server
            assert len(asked) == 3 + 1 + 2
            await pages.get("alice", "/")
            assert pages.count() == 3 + 1  # its `.pages` is the same blob


async def test_the_second_page_of_a_known_site_costs_its_blob(forge: Forge) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        pages.asked()
        for path in ("/blog/about.html", "/blog/style.css", "/blog/dir/"):
            assert (await pages.get("alice", path)).cache == "MISS"
            assert len(pages.asked()) == 1


async def test_what_is_in_memory_costs_nothing(forge: Forge) -> None:
    async with serving(forge) as pages:
        for path in ("/blog/", "/blog/style.css", "/blog/missing", "/blog", "/missing.html"):
            await pages.get("alice", path)
        pages.asked()
        for path in ("/blog/", "/blog/index.html", "/blog/style.css", "/blog/missing", "/blog", "/missing.html"):
            reply = await pages.get("alice", path)
            assert reply.recalled, path
            if reply.status == 200:
                assert reply.cache == "HIT"
        assert pages.count() == 0


KNOWN_FROM = {
    "/blog/": ["/blog/missing", "/blog/a/b/c.html", "/blog/index.html/", "/blog/dir/missing"],
    # What browsers ask for costs no look for a repository of that name.
    "/": ["/favicon.ico", "/robots.txt", "/missing.html", "/site.webmanifest"],
}


@pytest.mark.parametrize(("known", "path"), [(known, path) for known, paths in KNOWN_FROM.items() for path in paths])
async def test_a_missing_path_of_a_known_site_costs_nothing(forge: Forge, known: str, path: str) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", known)
        pages.asked()
        assert (await pages.get("alice", path)).status == 404
        assert pages.count() == 0


async def test_the_page_for_missing_paths_comes_with_the_site(forge: Forge, root: Path) -> None:
    Site(root / "alice" / "own.git", FILES | {"public/404.html": b"<h1>Nothing of ours</h1>"})
    async with serving(forge) as pages:
        await pages.get("alice", "/own/")
        assert pages.count() == 4
        reply = await pages.get("alice", "/own/missing")
        assert (reply.status, reply.body, reply.recalled) == (404, b"<h1>Nothing of ours</h1>", True)
        assert pages.count() == 0


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("HEAD", "/blog/about.html", {}, 200),
        ("HEAD", "/blog/files/a.txt", {}, 200),
        ("HEAD", "/blog/missing", {}, 404),
        ("GET", "/blog/about.html", {"if_none_match": "ETAG"}, 304),
        ("GET", "/blog/about.html", {"if_modified_since": "Fri, 01 Jan 2038 00:00:00 GMT"}, 200),
        ("GET", "/blog/about.html", {"if_match": '"other"'}, 412),
        ("GET", "/blog/about.html", {"range": "bytes=100000-"}, 416),
        ("GET", "/blog/dir", {}, 301),
        ("GET", "/blog", {}, 301),
        ("GET", "/blog//dir/", {}, 301),
        ("OPTIONS", "/blog/about.html", {}, 204),
        ("POST", "/blog/about.html", {}, 405),
    ],
)
async def test_an_answer_without_content_needs_no_blob(
    forge: Forge, root: Path, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        pages.asked()
        site = Site(root / "alice" / "blog.git")
        tag = f'"{site.blob_id(FILES["public/about.html"])}"'
        fields = {name: value.replace("ETAG", tag) for name, value in headers.items()}
        assert (await pages.get("alice", path, method, **fields)).status == status
        assert pages.count() == (1 if "if_modified_since" in headers else 0)


async def test_a_listing_needs_no_blob(forge: Forge, root: Path) -> None:
    Site(root / "alice" / "blog.git").commit({".pages": b"directory_index: true\n"})
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/missing")
        pages.asked()
        reply = await pages.get("alice", "/blog/files/")
        assert reply.status == 200
        assert b"a.txt" in reply.body
        assert reply.cache == "HIT"
        assert pages.count() == 0


async def test_after_a_push_branch_tree_and_what_changed_are_asked_for(forge: Forge, root: Path) -> None:
    site = Site(root / "alice" / "blog.git")
    async with serving(forge) as pages:
        for path in ("/blog/", "/blog/about.html", "/blog/style.css"):
            await pages.get("alice", path)
        new = b"<h1>New</h1>\n" * 30
        commit = site.commit({"public/index.html": new})
        pages.clock.pass_(700)
        pages.asked()
        for path in ("/blog/", "/blog/about.html", "/blog/style.css", "/blog/missing"):
            await pages.get("alice", path)
        assert pages.known("alice", "blog").commit == commit
        assert pages.asked() == [
            "alice/blog/branches/main",
            f"alice/blog/git/trees/{commit}",
            f"alice/blog/git/blobs/{site.blob_id(new)}",
        ]


async def test_a_look_that_finds_nothing_new_asks_for_branch_and_repository(forge: Forge) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        pages.asked()
        pages.clock.pass_(700)
        assert (await pages.get("alice", "/blog/")).cache == "HIT"
        assert pages.asked() == ["alice/blog/branches/main", "alice/blog"]


async def test_a_thousand_first_visitors_cost_one_set_of_calls(forge: Forge) -> None:
    async with serving(forge) as pages:
        replies = await asyncio.gather(*(pages.get("alice", "/blog/") for _ in range(1000)))
        assert {(reply.status, reply.body) for reply in replies} == {(200, FILES["public/index.html"])}
        assert pages.count() == 4
        replies = await asyncio.gather(*(pages.get("alice", "/blog/style.css") for _ in range(1000)))
        assert {reply.body for reply in replies} == {STYLE}
        assert pages.count() == 1


async def test_a_further_thousand_entries_cost_one_more_call(forge: Forge, root: Path) -> None:
    many = {f"public/f{number:04}.txt": b"%d" % number for number in range(2500)}
    Site(root / "alice" / "many.git", {".pages": ENABLED, "public/index.html": b"Many"} | many)
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/many/")).body == b"Many"
        assert len(pages.asked()) == 4 + 2
        assert (await pages.get("alice", "/many/f2499.txt")).body == b"2499"


async def test_a_large_repository_that_is_no_site_costs_one_page_of_its_tree(forge: Forge, root: Path) -> None:
    Site(root / "alice" / "code.git", {f"src/f{number:05}.c": b"%d" % number for number in range(5000)})
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/code/")).status == 404
        assert len([target for target in pages.asked() if "/code/git/trees/" in target]) == 1


async def test_what_lies_behind_the_public_folder_is_not_read(forge: Forge, root: Path) -> None:
    behind = {f"src/f{number:05}.c": b"%d" % number for number in range(9000)}
    Site(root / "alice" / "mixed.git", {".pages": ENABLED, "public/index.html": b"Mixed"} | behind)
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/mixed/")).body == b"Mixed"
        assert pages.count() == 4


async def test_a_first_segment_that_is_no_repository_costs_one_call_and_then_none(forge: Forge) -> None:
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/x/y.txt")).body == b"y"
        assert pages.asked()[0] == "alice/x"
        assert (await pages.get("alice", "/x/y.txt")).recalled
        assert (await pages.get("alice", "/x/z.txt")).status == 404
        assert pages.count() == 0
        pages.clock.pass_(60)  # the profile is fresh, and so "no repository" is enough for a page that is there
        assert (await pages.get("alice", "/x/y.txt")).recalled
        assert pages.count() == 0
        assert (await pages.get("alice", "/x/z.txt")).status == 404  # but a no is asked for again
        assert pages.asked() == ["alice/x"]


async def test_unknown_names_cost_one_call_each_and_are_known_for_seconds(forge: Forge) -> None:
    async with serving(forge) as pages:
        assert (await pages.get("nobody", "/")).status == 404
        assert pages.asked() == ["nobody/.profile"]
        assert (await pages.get("nobody", "/")).recalled
        assert (await pages.get("nobody", "/blog/")).status == 404
        assert pages.asked() == ["nobody/blog"]
        pages.clock.pass_(11)
        assert (await pages.get("nobody", "/")).status == 404
        assert pages.asked() == ["nobody/.profile"]


@pytest.mark.parametrize("host", ["a..b", "-x", "x-", "a_.b-", "xn--bcher-kva", f"{'x' * 60}.{'y' * 50}", "www.-"])
async def test_a_name_that_nobody_can_have_is_never_asked_for(forge: Forge, host: str) -> None:
    async with serving(forge) as pages:
        assert (await pages.get(f"{host}.pages.test", "/blog/")).status in (400, 404)
        assert pages.count() == 0


async def test_links_come_in_the_batch_of_the_settings(forge: Forge, root: Path) -> None:
    links = {f"public/l{number}.html": link("index.html") for number in range(30)}
    Site(root / "alice" / "links.git", FILES | links | {"public/m.html": link("about.html")})
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/links/l7")).body == FILES["public/index.html"]
        assert pages.count() == 5  # the page behind the link was not known before
        assert (await pages.get("alice", "/links/l8")).recalled


async def test_a_file_below_the_size_of_a_pointer_is_told_of_without_its_bytes(forge: Forge, root: Path) -> None:
    attributes = {".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n"}
    Site(root / "alice" / "lfs.git", FILES | attributes | {"public/small.css": b"a{}", "public/maybe.css": b" " * 400})
    async with serving(forge) as pages:
        await pages.get("alice", "/lfs/")
        assert pages.count() == 4
        assert (await pages.get("alice", "/lfs/small.css", "HEAD")).headers["content-length"] == "3"
        assert pages.count() == 0
        assert (await pages.get("alice", "/lfs/maybe.css", "HEAD")).headers["content-length"] == "400"
        assert pages.count() == 1  # it might have been a pointer
