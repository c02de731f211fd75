# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A site's rules as visitors meet them: redirects, other pages, headers, single-page apps, missing pages."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from tests.addon.preview.sites import Site
from tests.addon.serving.pages import ENABLED, Reply, Serving, serving

REDIRECTS = b"""
/old        /new
/moved/*    /dir/:splat 302
/away       https://elsewhere.example/x 307
/shown      /about.html 200
/gone/*     /gone.html 410
/lost       /nothing.html 410
/index2     / 200
/dir2       /dir 200
/about.html /forced 301!
/style.css  /never
/a id=:id   /post/:id
/loop       /loop/
https://other.example/* /unseen
"""
HEADERS = b"""
/*
  X-All: yes
  X-Frame-Options: DENY
/style.css
  Cache-Control: public, max-age=31536000, immutable
  Content-Type: text/css; charset=latin1
  ! Access-Control-Allow-Origin
/data/*
  Content-Encoding: gzip
  Content-Type: application/json
/sw.js
  Service-Worker-Allowed: /
  Strict-Transport-Security: max-age=5
"""
FILES = {
    ".pages": ENABLED,
    "public/_redirects": REDIRECTS,
    "public/_headers": HEADERS,
    "public/index.html": b"<h1>Home</h1>",
    "public/about.html": b"<h1>About</h1>",
    "public/gone.html": b"<h1>Gone</h1>",
    "public/404.html": b"<h1>404</h1>",
    "public/de/404.html": b"<h1>404 auf Deutsch</h1>",
    "public/de/index.html": b"<h1>Hallo</h1>",
    "public/style.css": b"h1 { color: teal }\n" * 40,
    "public/dir/index.html": b"<h1>Dir</h1>",
    "public/data/true.json": gzip.compress(b"{}"),
    "public/data/false.json": b"{}",
    "public/sw.js": b"self",
}
PASSWORD = hashlib.sha256(b"letmein").hexdigest()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine sites; not to be written to, but for further ones."""
    root = tmp_path_factory.mktemp("forge")
    Site(root / "alice" / "blog.git", FILES)
    app = {"public/index.html": b"<h1>App</h1>", "public/main.js": b"run()"}
    Site(root / "alice" / "app.git", {**app, ".pages": b"spa: true\n"})
    Site(root / "alice" / "app2.git", {**app, ".pages": ENABLED, "public/_redirects": b"/* /index.html 200"})
    Site(root / "alice" / "clean.git", {**FILES, ".pages": b"clean_urls: true\n", "public/_redirects": b""})
    Site(root / "alice" / "old.git", {**app, ".pages": ENABLED, ".redirects": b"main.js:new.js\nx:index.html"})
    locked = f"password: {PASSWORD}\n".encode()
    Site(root / "alice" / "locked.git", {**FILES, ".pages": locked})
    Site(root / "alice" / ".profile.git", {**app, ".pages": b"spa: true\n", "public/_redirects": b"/plain/* /x 302"})
    Site(root / "alice" / "plain.git", {"README": b"no site"})
    Site(root / "alice" / "dotted.repo.git", {**app, ".pages": ENABLED})
    return root


@pytest.fixture
async def pages(forge: Forge) -> AsyncIterator[Serving]:
    async with serving(forge) as started:
        yield started


def told(reply: Reply) -> str:
    """Status, and where to or what."""
    said = "the page that says so" if "Nothing has to be loaded" in reply.text else reply.text[:40]
    return f"{reply.status} {reply.headers.get('location') or said}"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/blog/old", "301 /blog/new"),
        ("/blog/old?x=1", "301 /blog/new?x=1"),
        ("/blog/moved/a/b/", "302 /blog/dir/a/b/"),
        ("/blog/away?x=1", "307 https://elsewhere.example/x?x=1"),
        ("/blog/shown", "200 <h1>About</h1>"),
        ("/blog/index2", "200 <h1>Home</h1>"),
        ("/blog/dir2", "200 <h1>Dir</h1>"),
        ("/blog/gone/x", "410 <h1>Gone</h1>"),
        ("/blog/about.html", "301 /blog/forced"),
        ("/blog/a?id=5&y=2", "301 /blog/post/5?y=2"),
        ("/blog/unseen", "404 <h1>404</h1>"),
        ("/blog/loop", "301 /blog/loop/"),
        ("/blog/loop/", "404 <h1>404</h1>"),
        ("/blog/de/x/y", "404 <h1>404 auf Deutsch</h1>"),
        ("/blog/fr/x", "404 <h1>404</h1>"),
        ("/blog/_redirects", "404 <h1>404</h1>"),
        ("/blog/_headers", "404 <h1>404</h1>"),
        # the plugin's file, without being loaded
        ("/old/main.js", "301 /old/new.js"),
        ("/old/x", "301 /old/index.html"),
        ("/old/LOAD_REDIRECTS", "200 the page that says so"),
        # clean addresses
        ("/clean/about.html?x=1", "301 /clean/about?x=1"),
        ("/clean/dir/index.html", "301 /clean/dir/"),
        ("/clean/index.html", "301 /clean/"),
        ("/clean/about", "200 <h1>About</h1>"),
        ("/clean/none.html", "404 <h1>404</h1>"),
        # a profile's rules come last, and before a repository that is no site
        ("/plain/a", "302 /x"),
        ("/some/page", "200 <h1>App</h1>"),
        ("/dotted.repo", "301 /dotted.repo/"),
    ],
)
async def test_what_a_visitor_gets(pages: Serving, target: str, expected: str) -> None:
    for _ in range(2):  # fetched, then out of memory
        assert told(await pages.get("alice", target)) == expected
    assert (await pages.get("alice", target)).recalled
    head = await pages.get("alice", target, "HEAD")
    assert (head.status, head.body) == (int(expected[:3]), b"")


async def test_a_file_goes_before_a_rule_that_does_not_insist(pages: Serving) -> None:
    assert (await pages.get("alice", "/blog/style.css")).status == 200


async def test_a_page_that_is_not_there_leaves_the_status_of_its_rule(pages: Serving) -> None:
    reply = await pages.get("alice", "/blog/lost")
    assert reply.status == 410
    assert "gone" in reply.text


@pytest.mark.parametrize("app", ["app", "app2"])
@pytest.mark.parametrize(
    ("path", "dest", "status"),
    [
        ("users/7", None, 200),
        ("users/7", "document", 200),
        ("users/7", "empty", 200),
        ("users/7", "script", 404),
        ("users/7", "image", 404),
        ("missing.js", None, 404),
        ("missing.js", "document", 200),
        ("missing.js", "empty", 404),
        ("a/missing.css", "style", 404),
        ("users/john.doe", None, 200),
        ("x/page.html", None, 200),
        ("main.js", "script", 200),
    ],
)
async def test_an_app_gets_its_page_for_what_is_missing_and_its_scripts_a_404(
    pages: Serving, app: str, path: str, dest: str | None, status: int
) -> None:
    headers = {} if dest is None else {"sec_fetch_dest": dest}
    reply = await pages.get("alice", f"/{app}/{path}", **headers)
    assert reply.status == status
    if status == 200 and path != "main.js":
        assert reply.text == "<h1>App</h1>"
        assert "Sec-Fetch-Dest" in reply.headers["vary"]


async def test_headers_are_added_and_what_they_must_not_touch_is_right(pages: Serving) -> None:
    reply = await pages.get("alice", "/blog/style.css", accept_encoding="br")
    headers = reply.headers
    assert (headers["x-all"], headers["x-frame-options"]) == ("yes", "DENY")
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["content-type"] == "text/css; charset=latin1"
    assert headers["content-encoding"] == "br"
    assert headers["vary"] == "Accept-Encoding"
    assert "access-control-allow-origin" not in headers
    assert headers["x-content-type-options"] == "nosniff"
    again = await pages.get("alice", "/blog/style.css", accept_encoding="br", if_none_match=headers["etag"])
    assert (again.status, again.headers["x-all"]) == (304, "yes")
    part = await pages.get("alice", "/blog/style.css", range="bytes=2-5")
    assert (part.status, part.body, part.headers["x-all"]) == (206, b" { c", "yes")
    head = await pages.get("alice", "/blog/style.css", "HEAD")
    assert (head.headers["x-all"], head.headers["content-length"]) == ("yes", str(len(FILES["public/style.css"])))
    missing = await pages.get("alice", "/blog/nothing")
    assert (missing.status, missing.headers["x-all"], missing.headers["cache-control"]) == (404, "yes", "no-store")
    plain = await pages.get("alice", "/app/main.js")
    assert "x-all" not in plain.headers


async def test_one_file_under_two_addresses_gets_what_is_said_of_each(pages: Serving) -> None:
    first = await pages.get("alice", "/blog/sw.js")
    assert first.headers["x-all"] == "yes"
    # The site lies below /blog/: neither its neighbours' paths nor their host are its own.
    assert "service-worker-allowed" not in first.headers
    assert "strict-transport-security" not in first.headers


async def test_an_encoding_is_said_only_of_files_that_have_it(pages: Serving) -> None:
    true = await pages.get("alice", "/blog/data/true.json")
    assert (true.headers["content-encoding"], true.headers["content-type"]) == ("gzip", "application/json")
    assert gzip.decompress(true.body) == b"{}"
    false = await pages.get("alice", "/blog/data/false.json")
    assert "content-encoding" not in false.headers
    assert false.body == b"{}"


async def test_a_locked_site_stays_private_whatever_its_rules_say(pages: Serving) -> None:
    for target in ("/locked/style.css", "/locked/old", "/locked/moved/x", "/locked/about.html", "/locked/nothing"):
        reply = await pages.get("alice", target)
        assert reply.status == 401, target
        assert "location" not in reply.headers
        assert "x-all" not in reply.headers
    pages.body = b"password=letmein"
    post = await pages.get("alice", "/locked/", "POST", content_type="application/x-www-form-urlencoded")
    pages.body = None
    cookie = post.headers["set-cookie"].partition(";")[0]
    page = await pages.get("alice", "/locked/style.css", cookie=cookie)
    assert (page.status, page.headers["x-all"]) == (200, "yes")
    assert page.headers["cache-control"].startswith("private")
    moved = await pages.get("alice", "/locked/old", cookie=cookie)
    assert (moved.status, moved.headers["location"]) == (301, "/locked/new")
    assert moved.headers["cache-control"].startswith("private")


async def test_rules_cost_no_call_and_a_deploy_brings_its_own(forge: Forge, root: Path) -> None:
    site = Site(root / "alice" / "again.git", FILES)
    async with serving(forge) as pages:
        assert told(await pages.get("alice", "/again/old")) == "301 /again/new"
        commit = pages.known("alice", "again").commit
        calls = ["alice/again", "alice/again/branches/main", f"alice/again/git/trees/{commit}", "alice/again/git/blobs"]
        assert pages.asked() == calls
        site.commit({"public/_redirects": b"/old /newer"})
        pages.clock.pass_(pages.settings.cache_ttl * 3)
        assert told(await pages.get("alice", "/again/old")) == "301 /again/newer"


async def test_rules_that_mean_nothing_harm_nothing_else(forge: Forge, root: Path) -> None:
    bad = {
        "public/_redirects": b"\xff\xfe nonsense\n/a\n/b //c\n/old /new\n",
        "public/_headers": b"X: y\n/*\n  Set-Cookie: a\n",
    }
    Site(root / "alice" / "bad.git", FILES | bad)
    async with serving(forge) as pages:
        assert told(await pages.get("alice", "/bad/old")) == "301 /bad/new"
        assert (await pages.get("alice", "/bad/")).status == 200
        assert len(pages.known("alice", "bad").site.rules.findings) == 6  # type: ignore[union-attr]
