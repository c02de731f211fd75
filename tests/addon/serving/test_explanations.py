# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A site that shows nothing says why, and what to do; an address that is nearly right leads to the right one."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from addon.preview.forge import Forge
from tests.addon.preview.sites import Site, link, submodule
from tests.addon.serving.pages import ENABLED, serving


def make(root: Path, files: dict[Any, Any]) -> Site:
    return Site(root / "alice" / "blog.git", {".pages": ENABLED} | files)


NOTHING: dict[str, tuple[dict[str, Any], str, str]] = {
    "a submodule": ({"public": submodule("1" * 40)}, "`public/` is a submodule", "commit the files themselves"),
    "a link": ({"public": link("docs"), "docs/index.html": b"x"}, "`public` is a symbolic link", "root: FOLDER"),
    "a file": ({"public": b"x"}, "`public` is a file", "put the site into a folder"),
    "capitals": ({"Public/index.html": b"x"}, "the folder is called `Public/`", "root: Public"),
    "shouting": ({"PUBLIC/a.css": b"x", "README.md": b"x"}, "the folder is called `PUBLIC/`", "root: PUBLIC"),
    **{
        name: (
            {f"{name}/index.html": b"x", "README.md": b"x"},
            f"there is no folder `public/`, but `{name}/` has an `index.html`",
            f"root: {name}",
        )
        for name in ("docs", "dist", "site", "_site", "build")
    },
    "the repository itself": ({"index.html": b"x"}, "an `index.html` lies in the repository itself", "root: ."),
    "nothing": ({"README.md": b"x"}, "This repository has no files below `public/`", "that folder is what is served"),
    "another page": ({"src/index.html": b"x"}, "This repository has no files below `public/`", "is what is served"),
    "no index": ({"public/style.css": b"x"}, "There is no `index.html` in `public/`", "the page that is shown here"),
}


@pytest.mark.parametrize("why", list(NOTHING))
async def test_an_empty_site_says_why_and_what_to_do(forge: Forge, tmp_path: Path, why: str) -> None:
    files, reason, remedy = NOTHING[why]
    make(tmp_path, files)
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        pages.asked()
        reply = await pages.get("alice", "/blog/")
        assert (reply.status, pages.count()) == (404, 0)  # the tree has said it
        shown = unescape(re.sub(r"</?code>", "`", reply.text)).lower()
        assert reason.lower() in shown
        assert remedy.lower() in shown


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("path", ["", "missing", "missing/", "missing/inner/"])
async def test_only_where_the_first_page_is_missing_it_is_said_so(
    forge: Forge, tmp_path: Path, index: bool, path: str
) -> None:
    make(tmp_path, {"public/style.css": b"x", **({"public/index.html": b"x"} if index else {})})
    async with serving(forge) as pages:
        reply = await pages.get("alice", f"/blog/{path}")
        assert reply.status == (200 if index and not path else 404)
        assert ("the page that is shown here" in reply.text) is (not index and not path)


async def test_what_an_empty_site_says_to_do_helps(forge: Forge, tmp_path: Path) -> None:
    site = make(tmp_path, {"docs/index.html": b"the docs"})
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/")).status == 404
        site.commit({".pages": b"---\nenabled: true\nroot: docs\n---\n"})  # as front matter is written
        pages.clock.pass_(700)
        assert (await pages.get("alice", "/blog/")).body == b"the docs"


async def test_a_tab_in_the_settings_is_told_of_in_words(forge: Forge, tmp_path: Path) -> None:
    make(tmp_path, {".pages": b"enabled: true\nenable_branches:\n\t- dev\n", "public/index.html": b"x"})
    async with serving(forge) as pages:
        reply = await pages.get("alice", "/blog/")
        assert reply.status == 500
        assert "a tab stands here, where only spaces may; indent with spaces" in reply.text


async def test_a_page_asked_for_as_a_folder_is_sent_to_its_address(forge: Forge, tmp_path: Path) -> None:
    make(tmp_path, {"public/page.html": b"page", "public/both.html": b"file", "public/both/x": b"x"})
    async with serving(forge) as pages:
        reply = await pages.get("alice", "/blog/page/?q=%20")
        assert (reply.status, reply.headers["location"]) == (301, "/blog/page?q=%20")
        assert (await pages.get("alice", "/blog/page")).body == b"page"
        assert (await pages.get("alice", "/blog/both/")).status == 404


ODD_NAMES = [
    *("a\tb.txt", "a b.txt", "a?b", "a#b", "a%b", "a%41", "{x}", 'q"uote', "a\\b", "ü.txt", "\u202ex.txt", "a:b"),
    *("&amp;", "<b>", "a;b", "a'b", "+", "~", "*"),
]


async def test_every_name_of_a_listing_has_a_link_that_works(forge: Forge, tmp_path: Path) -> None:
    files = {f"public/{name}": f"file {number}".encode() for number, name in enumerate(ODD_NAMES)}
    make(tmp_path, {**files, ".pages": b"directory_index: true\n"})
    async with serving(forge) as pages:
        listing = await pages.get("alice", "/blog/")
        links = [unescape(found) for found in re.findall(r'<a href="(\./[^"]*)"><bdi>', listing.text)]
        assert not [href for href in links if not href.isascii() or " " in href or "\t" in href]
        found = [(await pages.get("alice", f"/blog/{href.removeprefix('./')}")).body for href in links]
        assert sorted(found) == sorted(files.values())
