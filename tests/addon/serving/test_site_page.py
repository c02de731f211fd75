# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`/.pages/site`: an owner finds out there what is wrong with each of their files, and nobody else of a locked site."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from addon.serving.site_page import DomainState
from addon.sites.tree import Tree
from tests.addon.preview.sites import Site
from tests.addon.serving.pages import Serving, serving

PASSWORD = hashlib.sha256(b"letmein").hexdigest()
FILES = {
    ".pages": b"enabeld: true\nspa: true\n",
    "public/index.html": b"home",
    "public/about.html": b"about",
    "public/_redirects": b"/a\n/about /x\n/ok /about\n/l1 /l2\n/l2 /l1\n<b>x /y\n",
    "public/_headers": b"/*\n  Set-Cookie: a=b\n  X-A: b\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Site(tmp_path / "alice" / "blog.git", FILES)
    Site(tmp_path / "alice" / ".profile.git", {".pages": b"", "public/index.html": b"profile"})
    Site(tmp_path / "alice" / "locked.git", {**FILES, ".pages": f"password: {PASSWORD}\n".encode()})
    return tmp_path


@pytest.fixture
async def pages(forge: Forge) -> AsyncIterator[Serving]:
    async with serving(forge) as started:
        started.server.reports.domains = lambda owner, name: [DomainState("x.example.org", "refused", "TXT is missing")]
        yield started


async def test_each_bad_line_is_told_with_reason_and_remedy(pages: Serving) -> None:
    reply = await pages.get("alice", "/blog/.pages/site")
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    for text in ("_redirects, line 1", "line 2", "a file is there", "leads to where it began", "Set-Cookie".lower()):
        assert text in reply.text, text
    assert "did you mean enabled" in reply.text
    assert "TXT is missing" in reply.text
    assert "<b>x" not in reply.text
    assert pages.known("alice", "blog").commit in reply.text  # type: ignore[operator]
    for headers in ({"accept": "application/json"}, {}):
        target = "/blog/.pages/site" if headers else "/blog/.pages/site.json"
        told = json.loads((await pages.get("alice", target, **headers)).body)
        assert told["redirects"] == {"static": 4, "dynamic": 0}
        found = {(each["file"], each["line"]) for each in told["findings"]}
        assert {("_redirects", line) for line in (1, 2, 4, 5, 6)} <= found
        assert ("_headers", 2) in found
        assert ("_redirects", 3) not in found
        assert told["pages"]["spa"] is True
        assert told["domains"] == [{"host": "x.example.org", "state": "refused", "needs": "TXT is missing"}]


async def test_the_root_of_a_host_has_its_own_and_nothing_else_is_there(pages: Serving) -> None:
    assert json.loads((await pages.get("alice", "/.pages/site.json")).body)["site"] == "alice/.profile"
    for target in ("/.pages/other", "/blog/.pages/other", "/blog/.pages/site/x"):
        reply = await pages.get("alice", target)
        assert reply.status == 404, target
    assert (await pages.get("nobody", "/.pages/site")).status == 404
    assert (await pages.get("pages.test", "/.pages/site")).status == 404
    assert (await pages.get("unknown.example.org", "/.pages/site")).status == 404


async def test_a_locked_sites_report_is_for_who_is_in(pages: Serving) -> None:
    reply = await pages.get("alice", "/locked/.pages/site.json")
    assert reply.status == 401
    assert b"findings" not in reply.body
    pages.body = b"password=letmein"
    post = await pages.get("alice", "/locked/", "POST", content_type="application/x-www-form-urlencoded")
    pages.body = None
    cookie = post.headers["set-cookie"].partition(";")[0]
    reply = await pages.get("alice", "/locked/.pages/site.json", cookie=cookie)
    assert reply.status == 200
    assert PASSWORD not in reply.text
    assert json.loads(reply.body)["pages"]["protected"] is True
    assert reply.headers["cache-control"] == "no-store"


async def test_a_report_that_is_held_is_told_again_without_a_look_at_every_path(
    pages: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = json.loads((await pages.get("alice", "/blog/.pages/site.json")).body)
    assert (first["files"], first["bytes"]) == (2, len(b"home") + len(b"about"))

    def rows(tree: Tree) -> None:
        raise AssertionError("a hundred thousand files take 150 ms, and anybody may ask as often as they like")

    monkeypatch.setattr(Tree, "rows", rows)
    for path in ("/blog/.pages/site", "/blog/.pages/site.json"):
        assert (await pages.get("alice", path)).status == 200
