# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A returning browser shows one commit, whatever it kept; and an open tab gets the files of its own build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brotli  # type: ignore[import-untyped]  # it comes without annotations
import pytest

from addon.preview.forge import Forge
from addon.web.representation import IMMUTABLE
from tests.addon.preview.sites import Site, lfs_pointer
from tests.addon.serving.browser_cache import Browser
from tests.addon.serving.pages import ENABLED, Reply, Serving, serving

HASHES = ("3f9c2b7e", "0a1b2c3d", "7e6f5a4b", "9c8d7e6f", "1b2a3c4d", "5e4d3c2b")
FOREVER = 365 * 86_400


def build(number: int) -> dict[str, Any]:
    """What a build tool writes: a page, its script by a hashed name, a chunk that is loaded late, and a plain style."""
    hashed = HASHES[number]
    return {
        "public/index.html": f"<script src=app.{hashed}.js></script> build {number}".encode(),
        "public/style.css": b"/* build %d */" % number + b" " * 300,
        f"public/app.{hashed}.js": b"// build %d" % number + b" " * 300,
        f"public/late.{hashed}.js": b"// late, build %d" % number,
        "public/data.json": b'{"build": %d}' % number,
    }


def deploy(site: Site, number: int) -> None:
    """Commit a build in place of the one before it."""
    before = {path: None for path in build(number - 1) if path not in build(number)}
    site.commit({**before, **build(number)})


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "alice" / "blog.git", {".pages": ENABLED, **build(0)})


def text(reply: Reply) -> str:
    assert reply.status == 200
    coding = reply.headers.get("content-encoding")
    assert coding in (None, "br")
    return (brotli.decompress(reply.body) if coding else reply.body).decode()


async def visit(browser: Browser, number: int) -> None:
    """Open the page with all that it names; each has to be of that build."""
    page = text(await browser.load("/blog/"))
    script = f"app.{HASHES[number]}.js"
    assert f"build {number}" in page
    assert script in page
    for part in (script, "style.css", "data.json"):
        found = text(await browser.load(f"/blog/{part}"))
        assert f"build {number}" in found or f'"build": {number}' in found, part


async def look_anew(pages: Serving) -> None:
    """As after a webhook: the next visitor gets the new commit."""
    await pages.library.purge(("alice", "blog"))
    await pages.settle()


@pytest.mark.parametrize("pause", [1, 200, 4000, 90_000])
async def test_a_returning_browser_shows_one_commit_or_the_next_and_never_a_mixture(
    forge: Forge, site: Site, pause: int
) -> None:
    async with serving(forge) as pages:
        browser = Browser(pages)
        for number in range(3):
            if number:
                deploy(site, number)
                await look_anew(pages)
            for _ in range(2):
                await visit(browser, number)
                browser.seconds += pause


async def test_what_bears_a_hash_is_asked_for_once_and_the_rest_each_time(forge: Forge, site: Site) -> None:
    async with serving(forge) as pages:
        browser = Browser(pages)
        await visit(browser, 0)
        browser.asked.clear()
        browser.seconds += FOREVER - 10
        await visit(browser, 0)
        assert browser.asked == ["/blog/", "/blog/style.css", "/blog/data.json"]
        assert browser.stored[f"/blog/app.{HASHES[0]}.js"].reply.headers["cache-control"] == IMMUTABLE
        assert all(each.reply.headers["cache-control"] for each in browser.stored.values())


async def test_an_operator_who_lets_browsers_keep_files_is_obeyed(forge: Forge, site: Site) -> None:
    async with serving(forge, browserCacheTTL="5m") as pages:
        browser = Browser(pages)
        await visit(browser, 0)
        browser.asked.clear()
        browser.seconds += 299
        await visit(browser, 0)
        assert browser.asked == ["/blog/"]
        browser.seconds += 2
        await visit(browser, 0)
        assert browser.asked == ["/blog/", "/blog/", "/blog/style.css", "/blog/data.json"]


async def test_an_open_tab_gets_the_files_of_the_deploys_before_for_an_hour(forge: Forge, site: Site) -> None:
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/")).status == 200
        for number in (1, 2):
            deploy(site, number)
            await look_anew(pages)
            pages.clock.pass_(100)
        for number in (0, 1, 2):
            for _ in range(2):
                late = await pages.get("alice", f"/blog/late.{HASHES[number]}.js")
                assert (late.status, late.body) == (200, b"// late, build %d" % number)
                assert late.headers["cache-control"] == IMMUTABLE
            assert late.recalled
        # Nothing else of them is served: a name without a hash means what it means now.
        site.commit({"public/data.json": None})
        await look_anew(pages)
        assert (await pages.get("alice", "/blog/data.json")).status == 404
        pages.clock.pass_(3600 - 150)
        assert (await pages.get("alice", f"/blog/late.{HASHES[0]}.js")).status == 404
        assert (await pages.get("alice", f"/blog/late.{HASHES[1]}.js")).status == 200
        pages.clock.pass_(200)
        assert (await pages.get("alice", f"/blog/late.{HASHES[1]}.js")).status == 404
        assert (await pages.get("alice", f"/blog/late.{HASHES[2]}.js")).status == 200


async def test_an_answer_that_is_ready_ends_with_the_hour(forge: Forge, site: Site) -> None:
    async with serving(forge, cacheTTL="2h") as pages:
        await pages.get("alice", "/blog/")
        deploy(site, 1)
        await look_anew(pages)
        target = f"/blog/late.{HASHES[0]}.js"
        await pages.get("alice", target)
        answer = pages.server.answer_from_memory(pages.request("alice", target))
        assert answer is not None
        assert answer.basis is not None
        assert pages.clock() + 3590 < answer.basis.until <= pages.clock() + 3600


async def test_a_file_of_the_deploy_before_comes_as_it_was_large_or_from_git_lfs(forge: Forge, site: Site) -> None:
    large, stored = bytes(range(256)) * 400, b"an object " * 20_000
    names = {f"public/large.{HASHES[0]}.wasm": large, f"public/film.{HASHES[0]}.mp4": lfs_pointer(stored)}
    site.commit({**names, ".gitattributes": b"*.mp4 filter=lfs diff=lfs merge=lfs -text\n"})
    site.upload_lfs(stored)
    async with serving(forge, maxCachedFileSize="64KiB") as pages:
        await pages.get("alice", "/blog/")
        site.commit(dict.fromkeys(names))
        await look_anew(pages)
        assert (await pages.get("alice", f"/blog/large.{HASHES[0]}.wasm")).body == large
        assert (await pages.get("alice", f"/blog/film.{HASHES[0]}.mp4")).body == stored


@pytest.mark.parametrize("how", ["private", "locked", "gone"])
async def test_a_site_that_is_closed_shows_nothing_of_before(forge: Forge, site: Site, how: str) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        deploy(site, 1)
        await look_anew(pages)
        target = f"/blog/late.{HASHES[0]}.js"
        assert (await pages.get("alice", target)).status == 200
        if how == "locked":
            site.commit({".pages": b"enabled: true\npassword: " + b"ab" * 32 + b"\n"})
        elif how == "private":
            forge.settings("alice/blog").private = True
        else:
            site.commit({".pages": None})
        await look_anew(pages)
        assert (await pages.get("alice", target)).status == (401 if how == "locked" else 404)


async def test_no_more_than_the_last_few_deploys_are_remembered(forge: Forge, site: Site) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        for number in range(1, 6):
            deploy(site, number)
            await look_anew(pages)
        statuses = [(await pages.get("alice", f"/blog/late.{each}.js")).status for each in HASHES]
        assert statuses == [404, 404, 200, 200, 200, 200]
        assert len(pages.known("alice", "blog").former) == 3
