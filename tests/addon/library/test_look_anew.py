# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A visitor's `Cache-Control: no-cache`: what is there now, and no more often than Forgejo can bear."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from addon.library.library import ANEW_EVERY
from addon.preview.forge import Forge
from tests.addon.preview.sites import Site
from tests.addon.serving.pages import ENABLED, serving


@pytest.fixture
def blog(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "alice" / "blog.git", {".pages": ENABLED, "public/index.html": b"one"})
    yield site
    site.close()


@pytest.mark.parametrize("wish", ["no-cache", "max-age=0, No-Cache"])
async def test_a_reload_shows_what_was_just_pushed(wish: str, forge: Forge, blog: Site) -> None:
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/")).body == b"one"
        blog.commit({"public/index.html": b"two"})
        pages.clock.pass_(ANEW_EVERY)
        assert (await pages.get("alice", "/blog/", cache_control="max-age=0")).body == b"one"
        assert (await pages.get("alice", "/blog/", cache_control=wish)).body == b"two"
        assert (await pages.get("alice", "/blog/")).body == b"two"


async def test_many_reloads_are_one_look_within_seconds(forge: Forge, blog: Site) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        pages.clock.pass_(ANEW_EVERY)
        forge.forget_calls()
        replies = await asyncio.gather(*(pages.get("alice", "/blog/", cache_control="no-cache") for _ in range(50)))
        assert {reply.body for reply in replies} == {b"one"}
        assert pages.count() <= 2  # a purge that comes during a look makes one more
        for _ in range(20):
            assert (await pages.get("alice", "/blog/", cache_control="no-cache")).body == b"one"
        assert pages.count() == 0


async def test_a_reload_while_forgejo_is_away_is_the_page_that_is_known(forge: Forge, blog: Site) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        pages.clock.pass_(ANEW_EVERY)
        with forge.fault(status=500):
            for _ in range(5):
                reply = await pages.get("alice", "/blog/", cache_control="no-cache")
                assert (reply.status, reply.body) == (200, b"one")


async def test_what_is_not_there_is_not_asked_for_more_often(forge: Forge, blog: Site) -> None:
    async with serving(forge) as pages:
        await pages.get("alice", "/nothing/")
        pages.clock.pass_(ANEW_EVERY)
        forge.forget_calls()
        for _ in range(10):
            assert (await pages.get("alice", "/nothing/", cache_control="no-cache")).status == 404
        assert pages.count() == 0
