# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Sites as people bring them, in Chromium, through a real mitmdump; then broken, and whether the owner can find out.

A single-page app that needs SharedArrayBuffer, an old site's 300 redirects, a repository as it lies on Codeberg, and
one from GitHub.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.browser import browser
from tests.integration.running import Proxy, running_proxy

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    reason="chromium is not installed; tests/addon/serving/test_rules.py does the same without a browser",
)

DOMAIN = "pages.localhost"
"""Below `localhost`, so that browsers trust it without HTTPS, as SharedArrayBuffer needs."""
APP = b"""<!doctype html><title>app</title><div id=app>loading</div>
<script type=module src=/app/assets/main-4f2a.js></script>"""
SCRIPT = b"""document.getElementById('app').textContent = 'route ' + location.pathname
  + ' isolated ' + crossOriginIsolated + ' shared ' + (typeof SharedArrayBuffer);"""
HEADERS = b"""/*
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
/assets/*
  Cache-Control: public, max-age=31536000, immutable
"""
OLD = "".join(
    f"/artikel.php id={number} /posts/{number}/\n/alt/{number}.html /posts/{number}/\n" for number in range(150)
)


class Town(NamedTuple):
    """A server with sites of all kinds."""

    proxy: Proxy
    root: Path

    def at(self, path: str, owner: str = "alice", host: str = "") -> str:
        return f"http://{host or f'{owner}.{DOMAIN}'}:{self.proxy.port}{path}"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    root = tmp_path_factory.mktemp("forge")
    pages = {".pages": b"enabled: true\n"}
    app = {"public/index.html": APP, "public/assets/main-4f2a.js": SCRIPT, "public/_headers": HEADERS}
    Site(root / "alice" / "app.git", {**app, ".pages": b"spa: true\n"}).close()
    posts = {f"public/posts/{number}/index.html": f"<h1>Post {number}</h1>".encode() for number in range(150)}
    Site(root / "alice" / "old.git", {**pages, **posts, "public/_redirects": OLD.encode()}).close()
    codeberg = Site(root / "alice" / "berg.git", {"README.md": b"source"})
    codeberg.commit({"index.html": b"<h1>Berg</h1>", ".domains": b"berg.localhost\n"}, branch="pages")
    codeberg.close()
    github = Site(root / "alice" / "hub.git", {"README.md": b"source"})
    github.commit(
        {"index.html": b"<h1>Hub</h1><script src=x.js></script>", "CNAME": b"www.hub.localhost"}, branch="gh-pages"
    )
    github.close()
    with (
        start_forge(root) as forge,
        running_proxy(
            tmp_path_factory.mktemp("proxy"), forge.url, pagesDomain=DOMAIN, pagesBranches="pages,gh-pages", cacheTTL=0
        ) as proxy,
    ):
        yield Town(proxy, root)


async def test_a_single_page_app_is_isolated_at_every_address_of_it(town: Town) -> None:
    async with browser() as tab:
        for path in ("/app/", "/app/users/7", "/app/users/7?tab=2#x"):
            await tab.open(town.at(path))
            await tab.shows(f"route {path.partition('?')[0]} isolated true shared function")
        # A script that is missing is an error, and no page in its place.
        missing = "import('/app/assets/gone.js').then(() => 'loaded', e => window.failed = String(e))"
        await tab.evaluate(missing)
        await tab.becomes("window.failed && failed.includes('Failed to fetch')")


async def test_an_old_sites_addresses_lead_to_the_new_ones(town: Town) -> None:
    async with browser() as tab:
        for path, post in (("/old/alt/149.html", 149), ("/old/artikel.php?id=7", 7), ("/old/artikel.php?x=1&id=0", 0)):
            await tab.open(town.at(path))
            await tab.shows(f"Post {post}")
            assert await tab.evaluate("location.pathname") == f"/old/posts/{post}/"


@pytest.mark.parametrize(
    ("name", "text", "domain"), [("berg", "Berg", "berg.localhost"), ("hub", "Hub", "www.hub.localhost")]
)
async def test_a_repository_as_it_lies_elsewhere_is_a_site(town: Town, name: str, text: str, domain: str) -> None:
    async with browser() as tab:
        await tab.open(town.at(f"/{name}/"))
        await tab.shows(text)
        await tab.open(town.at("/", host=domain))
        await tab.shows(text)


async def test_an_owner_who_broke_a_file_finds_out_without_the_operator(town: Town) -> None:
    site = Site(town.root / "alice" / "app.git")
    broken = {
        "public/_redirects": b"/start users\n/x /y Country=de\n/index.html /z\n",
        "public/_headers": b"/*\n  Set-Cookie: a=b\n  X-Forwarded-For: me\n",
    }
    site.commit({**broken, ".pages": b"spa: true\nclean_url: true\n"})
    async with browser() as tab:
        await tab.open(town.at("/app/.pages/site"))
        page = await tab.shows("To be mended")
        for told in (
            "_redirects, line 1",
            "has to begin with",
            "_redirects, line 2",
            "not offered",
            "_redirects, line 3",
            "a file is there",
            "_headers, line 2",
            "_headers, line 3",
            "did you mean clean_urls",
        ):
            assert told in page, told
        await tab.open(town.at("/app/users/7"))
        await tab.shows("route /app/users/7")  # what was right goes on
        site.commit({".pages": b"spa: [1\n"})
        await tab.open(town.at("/app/.pages/site"))
        await tab.shows("spa: expected true or false")
    site.close()
