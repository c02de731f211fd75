# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What axe finds on the pages of the example and on those of ours, on a wide and a narrow screen, light and dark."""

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from addon import templates
from addon.admin.status_page import page
from addon.templates import ListingEntry
from tests.addon.admin.test_site_list import TOLD
from tests.integration.browser import Browser, browser
from tests.integration.test_preview import previewed

VERSION = "4.14.1"
NEEDED = ("chromium", "npm")
pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and any(shutil.which(name) is None for name in NEEDED),
    reason="chromium and npm are not installed",
)
EXAMPLE = ("/", "/about", "/answers/", "/publish/", "/files/", "/files/letters/", "/nothing")
OURS = {
    "error": templates.error_page(404, host="alice.pages.example.org", path="/blog/x", home="/blog/"),
    "login": templates.login("alice.pages.example.org/blog/", alarm="wrong", stay=3600),
    "listing": templates.listing(
        "/blog/",
        ["alice", "blog"],
        [ListingEntry("a", "dir", None), ListingEntry("b" * 200, "file", 1)],
        parent=True,
        pages=2,
    ),
    "landing": templates.landing("pages.example.org", "https://git.example.org"),
    "status": templates.status(page(TOLD, still=True, every=10)),
}
DARK = [{"name": "prefers-color-scheme", "value": "dark"}]
_ON_PAPER = """
[...document.querySelectorAll("form, nav.pages")].filter(each => each.checkVisibility()).map(each => each.outerHTML)
"""
_RUN = """
axe.run().then(found => JSON.stringify(found.violations.filter(one => ["serious", "critical"].includes(one.impact))
    .map(one => [one.id, one.nodes.map(node => node.target.join(" "))])))
"""


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm")
    assert npm is not None, "npm is not installed"
    subprocess.run([npm, "pack", f"axe-core@{VERSION}"], cwd=folder, check=True, capture_output=True)
    with tarfile.open(folder / f"axe-core-{VERSION}.tgz") as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


async def complaints(tab: Browser, axe: str, url: str) -> list[object]:
    """What is serious on a page, as it looks on each screen; and whether it is wider than a narrow one."""
    found: list[object] = []
    await tab.command("Page.setBypassCSP", enabled=True)
    for width, dark in ((1000, False), (1000, True), (320, False), (320, True)):
        await tab.picture(width=width, dark=dark)
        await tab.command("Page.navigate", url="about:blank")
        await tab.becomes("location.href == 'about:blank'")
        await tab.open(url)
        await tab.becomes("location.href != 'about:blank' && document.readyState == 'complete'")
        await tab.evaluate(axe)
        told = await tab.command("Runtime.evaluate", expression=_RUN, awaitPromise=True, returnByValue=True)
        found += [(width, dark, each) for each in json.loads(told["result"]["value"])]
        if await tab.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append((width, dark, "wider than the screen"))
    return found


async def test_nothing_serious_is_left_on_any_page_of_the_example(axe: str, tmp_path: Path) -> None:
    with previewed(tmp_path, "--port", "0") as preview:
        async with browser() as tab:
            for path in EXAMPLE:
                assert (path, await complaints(tab, axe, f"http://localhost:{preview.port}{path}")) == (path, [])


async def test_nothing_serious_is_left_on_our_own_pages(axe: str, tmp_path: Path) -> None:
    async with browser() as tab:
        for name, page in OURS.items():
            (tmp_path / f"{name}.html").write_bytes(page)
            assert (name, await complaints(tab, axe, (tmp_path / f"{name}.html").as_uri())) == (name, [])
            # On paper, black on white also where the screen is dark, and nothing that only a screen can do.
            await tab.command("Emulation.setEmulatedMedia", media="print", features=DARK)
            assert await tab.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
            assert await tab.evaluate(_ON_PAPER) == []
            await tab.command("Emulation.setEmulatedMedia", media="")
