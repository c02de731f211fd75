# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a browser does at once over HTTP/2 while site and settings change under it, and that nothing is left of it.

One walk, for its parts matter together: a service worker, a download that pauses, films that are left and one that is
moved about in, a gallery that loads while its site is deployed, and a reload of the service in the midst of it.
"""

import asyncio
import json
import os
import shutil
import struct
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from addon.preview.forge import Forge
from tests.addon.net.tls_wire import make_pair
from tests.addon.preview.fixtures import noise
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.browser import Browser, browser
from tests.integration.running import FAULTS, PAGES_DOMAIN
from tests.integration.service import Service, running_service
from tests.ports import free_port
from tests.waiting import until, wait_until

HOST = f"alice.{PAGES_DOMAIN}"
LARGE = 16 * 1024 * 1024
"""More than a browser takes of a download that it does not read."""
FILM = 1024 * 1024
PAUSE = 0.5
"""Seconds for which the download pauses, after all else."""
PICTURES = 100
LISTENS = "0A"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LATE = "late.3f9c01ab7d.js"

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    reason="chromium is not installed",
)


def film(size: int) -> bytes:
    """A sound that a browser takes for a film: PCM, 8 000 bytes a second, so any moment of it has its place."""
    data = noise(100_000, 1) * (size // 100_000)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVE" + form + b"data" + struct.pack("<I", len(data)) + data


def files(version: str) -> dict[str, Any]:
    picture = "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='9'><!-- " + version + " --></svg>"
    pictures = "".join(f"<img src=p{number}.svg>" for number in range(1, PICTURES + 1))
    films = "".join(f"<video preload=auto src=film.wav?{number}></video>" for number in range(6))
    return {
        "public/index.html": b"<!doctype html><title>Walk</title>",
        "public/version.txt": version.encode(),
        "public/gallery.html": f"<!doctype html>{pictures}".encode(),
        "public/films.html": f"<!doctype html>{films}<a id=next href=version.txt>on</a>".encode(),
        "public/worker.js": b"""
            addEventListener('install', event => skipWaiting());
            addEventListener('activate', event => event.waitUntil(clients.claim()));
            addEventListener('fetch', event => {
                if (event.request.url.endsWith('/from-worker')) event.respondWith(new Response('the worker'));
            });
        """,
    } | {f"public/p{number}.svg": (picture % number).encode() for number in range(1, PICTURES + 1)}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    first = {".pages": b"enabled: true\n", f"public/{LATE}": b"export const late = 'late'"}
    large = {"public/film.wav": film(FILM), "public/large.wav": film(LARGE)}
    site = Site(tmp_path / "repositories" / "alice" / "walk.git", first | large | files("one"))
    yield site
    site.close()


@pytest.fixture
def web(site: Site, tmp_path: Path) -> Iterator[Forge]:
    forge = start_forge(tmp_path / "repositories")
    yield forge
    forge.stop()


class Walked(NamedTuple):
    """A service with a secure address, and one for who runs it."""

    service: Service
    secure: int
    admin: int


@pytest.fixture
def walked(tmp_path: Path, web: Forge) -> Iterator[Walked]:
    folder = tmp_path / "service"
    folder.mkdir()
    pair = make_pair(folder, "pages", PAGES_DOMAIN, f"*.{PAGES_DOMAIN}")
    secure, admin = free_port(), free_port()
    listen = [{"address": f"127.0.0.1:{secure}", "tls": {"cert": str(pair.cert), "key": str(pair.key)}}]
    options: dict[str, Any] = {
        "listen": listen,
        "adminListen": f"127.0.0.1:{admin}",
        "cacheTTL": 3600,
        "maxCachedFileSize": FILM // 2,
    }
    with running_service(folder, web.url, processes=1, **options) as service:
        yield Walked(service, secure, admin)
        assert not [line for line in service.log.splitlines() if any(word in line for word in FAULTS)]


def connections(pid: int, port: int) -> list[str]:
    """The connections of a process to a port of its own, as the system tells them."""
    links = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()]
    mine = {name[8:-1] for name in links if name.startswith("socket:[")}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[9] in mine and row[3] != LISTENS and row[1].endswith(f":{port:04X}")]


FETCHED = "fetch('%s', {cache: 'no-store'}).then(answer => answer.text()).then(text => { window.%s = text; })"
DOWNLOAD = """(async () => {
    const reader = (await fetch('large.wav', {cache: 'no-store'})).body.getReader();
    window.bytes = (await reader.read()).value.length;
    window.go_on = async () => {
        for (;;) {
            const {done, value} = await reader.read();
            if (done) break;
            window.bytes += value.length;
        }
        window.complete = true;
    };
})().catch(fault => { window.fault = String(fault); })"""
FRAME = """(() => {
    const frame = document.createElement('iframe');
    frame.id = '%s'; frame.src = '%s';
    frame.onload = () => { frame.loaded = (frame.loaded || 0) + 1; };
    document.body.append(frame);
})()"""
SEEK = """(() => {
    window.film = document.createElement('video');
    film.muted = true; film.preload = 'metadata'; film.src = 'large.wav?film';
    window.sought = [];
    film.onseeked = () => sought.push(film.currentTime);
    document.body.append(film);
})()"""
BROKEN = """[...document.getElementById('gallery').contentDocument.images]
    .filter(picture => !(picture.complete && picture.naturalWidth)).length"""


async def fetched(tab: Browser, address: str) -> str:
    await tab.evaluate("delete window.told")
    await tab.evaluate(FETCHED % (address, "told"))
    await tab.becomes("window.told !== undefined", 60.0)
    return str(await tab.evaluate("window.told"))


def purge(walked: Walked) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{walked.admin}/purge", b"what=alice/walk", FORM)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200


def status_of(walked: Walked) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{walked.admin}/status.json", timeout=60) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


async def test_a_browser_does_everything_at_once_while_all_changes_and_leaves_nothing(
    walked: Walked, web: Forge, site: Site
) -> None:
    base = f"https://{HOST}:{walked.secure}/walk/"
    async with browser("--ignore-certificate-errors", "--disable-quic") as tab:
        await tab.open(base)
        await tab.becomes("document.title == 'Walk' && document.readyState == 'complete'")
        assert await tab.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
        await tab.evaluate("navigator.serviceWorker.register('worker.js').catch(fault => { window.fault = fault; })")
        await tab.becomes("navigator.serviceWorker.controller != null || window.fault", 60.0)
        assert await fetched(tab, "from-worker") == "the worker"
        assert await fetched(tab, "version.txt") == "one"

        await tab.evaluate(DOWNLOAD)
        await tab.becomes("window.bytes > 0 || window.fault", 60.0)
        await tab.evaluate(SEEK)
        await tab.becomes("film.readyState >= 1", 60.0)
        await tab.evaluate("film.currentTime = 1800")
        await tab.becomes("sought.length == 1 && film.readyState >= 2", 60.0)
        assert any(call.headers.get("range", "bytes=0-") != "bytes=0-" for call in list(web.calls))

        await tab.evaluate(FRAME % ("films", "films.html"))
        await tab.becomes("document.getElementById('films').loaded >= 1", 60.0)
        await tab.evaluate(FRAME % ("gallery", "gallery.html"))
        await asyncio.to_thread(site.commit, {**files("two"), f"public/{LATE}": None})
        await asyncio.to_thread(purge, walked)
        await tab.becomes("document.getElementById('gallery').loaded == 1", 60.0)
        assert await tab.evaluate(BROKEN) == 0
        assert await fetched(tab, "version.txt") == "two"
        assert await fetched(tab, LATE) == "export const late = 'late'"  # of the page that was opened before

        before = walked.service.workers
        walked.service.reload()
        await asyncio.to_thread(walked.service.until_served, 2)
        assert await fetched(tab, "version.txt?reloaded") == "two"
        await tab.evaluate("document.getElementById('films').contentDocument.getElementById('next').click()")
        await tab.becomes("document.getElementById('films').loaded == 2", 60.0)
        await tab.evaluate("film.currentTime = 100")
        await tab.becomes("sought.length == 2 && film.readyState >= 2", 60.0)
        await asyncio.sleep(PAUSE)
        await tab.evaluate("go_on().catch(fault => { window.fault = String(fault); })")
        await tab.becomes("window.complete || window.fault", 120.0)
        assert (await tab.evaluate("window.fault"), await tab.evaluate("window.bytes")) == (None, len(film(LARGE)))

        await tab.open("about:blank")
        await until(lambda: web.in_flight == 0)
    await asyncio.to_thread(left_behind, walked, before)


def left_behind(walked: Walked, before: list[int]) -> None:
    """Wait until nothing is."""
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))
    wait_until(lambda: not any(connections(pid, walked.secure) for pid in walked.service.workers))
    status = status_of(walked)
    assert (status["Requests"]["open_connections"], status["Requests"]["busy_connections"]) == (0, 0)
    assert status["Last errors"]["errors"] == []
