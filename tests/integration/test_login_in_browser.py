# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A reader logs in, mistypes, is slowed and logs out: in Chromium, through a real mitmdump."""

import asyncio
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.browser import browser
from tests.integration.running import PAGES_DOMAIN, running_proxy

PASSWORD = "correct horse"
SETTINGS = f"enabled: true\npassword: {hashlib.sha256(PASSWORD.encode()).hexdigest()}\n".encode()

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    reason="chromium is not installed; test_login.py does the same without a browser",
)


async def test_a_reader_logs_in_mistypes_waits_and_logs_out(tmp_path: Path) -> None:
    Site(tmp_path / "forge" / "alice" / "club.git", {".pages": SETTINGS, "public/index.html": b"<h1>Inside</h1>"})
    forge = start_forge(tmp_path / "forge")
    pictures = Path(os.environ.get("PICTURES", tmp_path))
    try:
        with running_proxy(tmp_path / "proxy", forge.url) as proxy:
            base = f"http://alice.{PAGES_DOMAIN}:{proxy.port}"
            async with browser() as tab:
                await tab.open(f"{base}/club/?page=2")
                await tab.shows("Password Protected")
                await tab.becomes("document.activeElement.id == 'password'")
                for name, width, dark in (("light", 1000, False), ("dark", 1000, True), ("phone", 390, False)):
                    picture = await tab.picture(width=width, dark=dark)
                    await asyncio.to_thread((pictures / f"login-{name}.png").write_bytes, picture)
                    assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
                await tab.types("battery staple")
                await tab.shows("Incorrect password")
                await tab.becomes("document.activeElement.id == 'password'")
                await tab.types(PASSWORD)
                await tab.shows("Inside")
                assert await tab.evaluate("location.pathname + location.search") == "/club/?page=2"
                assert await tab.evaluate("document.cookie") == ""  # no script reads the login
                await tab.open(f"{base}/.pages/logout")
                await tab.shows("Log out")
                await tab.evaluate("document.querySelector('button').click()")
                await tab.shows("You are logged out")
                await tab.open(f"{base}/club/")
                await tab.shows("Password Protected")
                for number in range(5):
                    await tab.types(f"guess {number}")
                    await tab.shows("Incorrect password")
                # The first wait is a second, which a busy machine may let pass; each is twice the one before.
                for number in range(5, 12):
                    await tab.types(f"guess {number}")
                    said = await tab.shows("Password Protected")
                    if "Too many attempts" in said:
                        break
                assert "Too many attempts" in said
                picture = await tab.picture(width=390, dark=True)
                await asyncio.to_thread((pictures / "login-wait.png").write_bytes, picture)
    finally:
        forge.stop()
