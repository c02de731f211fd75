# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""HTTP/2 to a real mitmdump, by those who know it well: h2spec, nghttp, h2load, curl, Python's h2 and Chromium."""

import asyncio
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from addon.preview.forge import Forge
from tests.addon.lane.faces import Client2, request
from tests.addon.net.tls_wire import client_context, make_pair
from tests.integration.browser import browser
from tests.integration.gallery import shows_all
from tests.integration.running import PAGES_DOMAIN, Proxy, running_proxy
from tests.ports import free_port

HOST = f"alice.{PAGES_DOMAIN}"


class Secured(NamedTuple):
    """A mitmdump that listens with TLS."""

    proxy: Proxy
    port: int


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, forge: Forge) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("http2")
    pair = make_pair(folder, "pages", "127.0.0.1", PAGES_DOMAIN, f"*.{PAGES_DOMAIN}")
    port, plain = free_port(), free_port()
    listen = [
        f"127.0.0.1:{plain}",
        {"address": f"127.0.0.1:{port}", "tls": {"cert": str(pair.cert), "key": str(pair.key)}},
    ]
    options = {"maxRequestsPerConnection": 0, "accessLog": "requests.log", "cacheTTL": 3600}
    with running_proxy(folder, forge.url, port=plain, listen=listen, **options) as proxy:
        yield Secured(proxy, port)
        assert "Traceback" not in proxy.log
        assert "failed on" not in proxy.log


def program(name: str, how: str) -> str:
    """Where a program is; without it there is nothing to test, and CI installs them all (.ci/run)."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{name} is not installed: {how}")
    if found is None:
        pytest.skip(f"{name} is not installed: {how}")
    return found


def test_h2spec_has_nothing_to_say_against_it(secured: Secured) -> None:
    """All 146 cases of RFC 9113 and RFC 7541, in strict mode."""
    h2spec = program("h2spec", "go install github.com/summerwind/h2spec/cmd/h2spec@latest")
    command = [h2spec, "-h", "127.0.0.1", "-p", str(secured.port), "-t", "-k", "-S", "-o", "10"]
    # The page has to be larger than what a window of one byte takes.
    done = subprocess.run([*command, "-P", "/"], capture_output=True, text=True, timeout=300, check=False)
    assert re.search(r"^146 tests, 146 passed, 0 skipped, 0 failed", done.stdout, re.M), done.stdout[-6000:]


def test_nghttp_gets_a_page_and_all_that_it_asks_for(secured: Secured) -> None:
    nghttp = program("nghttp", "apt-get install nghttp2-client")
    urls = [f"https://127.0.0.1:{secured.port}{path}" for path in ("/blog/", "/blog/big.dat", "/blog/css/style.css")]
    command = [nghttp, "-nsy", "--no-dep", "-H", f":authority: {HOST}", *urls]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert [line.split()[4] for line in done.stdout.splitlines() if "/blog/" in line] == ["200"] * 3, done.stdout


def test_h2load_is_answered_without_a_failure(secured: Secured) -> None:
    h2load = program("h2load", "apt-get install nghttp2-client")
    url = f"https://127.0.0.1:{secured.port}/blog/"
    command = [h2load, "-n5000", "-c20", "-m50", "-H", f":authority: {HOST}", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "5000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout, done.stdout
    assert "5000 2xx" in done.stdout


def curl(secured: Secured, *arguments: str, host: str = HOST) -> "subprocess.CompletedProcess[bytes]":
    resolve = f"{host}:{secured.port}:127.0.0.1"
    command = [program("curl", "apt-get install curl"), "-sk", "--resolve", resolve, *arguments]
    return subprocess.run(command, capture_output=True, timeout=120, check=False)


def test_curl_gets_large_files_side_by_side_and_continues_one(secured: Secured, tmp_path: Path) -> None:
    place = f"https://{HOST}:{secured.port}"
    files = [
        part for number in range(8) for part in ("-o", str(tmp_path / str(number)), f"{place}/blog/big.dat?{number}")
    ]
    done = curl(secured, "--http2", "--parallel", "-w", "%{http_version} %{http_code}\n", *files)
    assert done.stdout.decode().split("\n")[:8] == ["2 200"] * 8
    content = (tmp_path / "0").read_bytes()
    assert all((tmp_path / str(number)).read_bytes() == content for number in range(8))
    part = curl(secured, "--http2", "-r", "100-199", f"{place}/blog/big.dat")
    assert part.stdout == content[100:200]


def test_curl_posts_and_is_not_made_to_wait(secured: Secured, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(5_000_000))
    url = f"https://{HOST}:{secured.port}/blog/"
    for more in ([], ["-H", "Expect: 100-continue"]):
        done = curl(
            secured, "--http2", *more, "--data-binary", f"@{large}", "-o", "/dev/null", "-w", "%{http_code}", url
        )
        assert done.stdout == b"405"


def test_pythons_h2_gets_many_pages_of_many_kinds(secured: Secured) -> None:
    def connect() -> ssl.SSLSocket:
        connection = socket.create_connection(("127.0.0.1", secured.port), 20.0)
        return client_context("h2").wrap_socket(connection, server_hostname=HOST)

    client = Client2(connect)
    for _ in range(3):
        for path, status in (("/blog/", 200), ("/blog/nothing", 404), ("/blog", 301), ("/blog/big.dat", 200)):
            assert client.ask(request("GET", HOST, path))[0] == status
    client.close()


async def test_httpx_gets_two_hundred_pages_at_once_posts_and_reads_large_files(secured: Secured) -> None:
    # By its address: the name of the site is in the handshake, and in each request.
    base, fields = f"https://127.0.0.1:{secured.port}", {"Host": HOST}
    extensions = {"sni_hostname": HOST}
    async with httpx.AsyncClient(http2=True, verify=False, base_url=base, headers=fields, timeout=60.0) as client:

        async def get(path: str) -> httpx.Response:
            return await client.get(path, extensions=extensions)

        first = await get("/blog/")
        found = await asyncio.gather(*(get("/blog/" if number % 2 else "/about.html") for number in range(200)))
        assert {(answer.status_code, answer.http_version) for answer in found} == {(200, "HTTP/2")}
        assert len({answer.text for answer in found}) == 2
        assert (await client.get("/blog/", headers={"If-None-Match": first.headers["etag"]})).status_code == 304
        assert (await client.post("/blog/", data={"a": "b"}, extensions=extensions)).status_code == 405
        async with client.stream("GET", "/blog/big.dat", extensions=extensions) as large:
            assert sum([len(piece) async for piece in large.aiter_bytes()]) == 11 * 1024 * 1024


FILES = """(async () => {
    const sizes = await Promise.all([...Array(12).keys()].map(async number => {
        const answer = await fetch(`big.dat?${number}`, {cache: 'no-store'});
        return (await answer.arrayBuffer()).byteLength;
    }));
    window.sizes = sizes;
})()"""
LEFT = """[...Array(6).keys()].forEach(number => {
    const film = document.createElement('video');
    film.src = `big.dat?film${number}`;
    film.preload = 'auto';
    document.body.append(film);
    fetch(`big.dat?left${number}`, {cache: 'no-store'}).then(() => { window.begun = (window.begun || 0) + 1; });
})"""


@pytest.mark.skipif(
    "CI" not in os.environ and not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    reason="chromium is not installed",
)
async def test_chromium_gets_twelve_large_files_at_once_and_leaves_six_for_the_next_page(secured: Secured) -> None:
    base = f"https://{HOST}:{secured.port}/blog/"
    async with browser("--ignore-certificate-errors", "--disable-quic") as tab:
        await tab.open(base)
        await tab.becomes("document.readyState == 'complete' && location.pathname == '/blog/'")
        protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
        assert await tab.evaluate(protocol) == "h2"
        await tab.evaluate(FILES)
        await tab.becomes("window.sizes != undefined", 120.0)
        assert await tab.evaluate("new Set(window.sizes).size") == 1
        assert await tab.evaluate("window.sizes[0]") == 11 * 1024 * 1024
        for _ in range(3):
            await tab.evaluate(LEFT)
            await tab.becomes("window.begun >= 1", 60.0)
            await tab.open(f"https://{HOST}:{secured.port}/about.html")
            await tab.shows("About", 30.0)
            await tab.open(base)
            await tab.becomes("location.pathname == '/blog/' && document.readyState == 'complete'", 30.0)


@pytest.mark.skipif(
    "CI" not in os.environ and not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    reason="chromium is not installed",
)
async def test_chromium_shows_a_gallery_of_four_hundred_pictures_on_the_first_visit(secured: Secured) -> None:
    async with browser("--ignore-certificate-errors", "--disable-quic") as tab:
        await shows_all(tab, f"https://compress.{PAGES_DOMAIN}:{secured.port}/gallery/")
