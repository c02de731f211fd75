# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Members through a real mitmdump: by curl on every face, with one Redis behind two proxies, and in Chromium."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from addon.preview.forge import Forge
from addon.preview.oauth import _Grant, _Session
from tests.addon.net.tls_wire import make_pair
from tests.addon.preview.sites import Site
from tests.addon.serving.reading import CLIENT, OPTIONS, PAGE, TOKEN, team_forge
from tests.integration.browser import browser
from tests.integration.running import PAGES_DOMAIN, Proxy, running_proxy
from tests.ports import free_port
from tests.resp.servers import Server, start_valkey

SITE = f"https://alice.{PAGES_DOMAIN}/handbook/"
EVIL = b"""<!doctype html><title>Evil</title><h1>Evil</h1><script>
window.got = {};
function framed() { try { got.frame = f.contentDocument.body.innerText } catch (e) { got.frame = "refused" } }
</script>
<iframe id=f onload="framed()" src="https://alice.pages.test/handbook/"></iframe>
<script>
fetch("https://alice.pages.test/handbook/style.css", {credentials: "include"})
  .then(r => r.text()).then(t => got.fetch = t, e => got.fetch = "refused");
fetch("https://alice.pages.test/handbook/style.css", {credentials: "include", mode: "no-cors"})
  .then(r => r.text()).then(t => got.opaque = "[" + t + "]", e => got.opaque = "refused");
var link = document.createElement("link"); link.rel = "stylesheet"; link.href = "https://alice.pages.test/handbook/style.css";
link.onload = () => got.style = "loaded"; link.onerror = () => got.style = "refused"; document.head.append(link);
var image = new Image(); image.onload = () => got.image = "loaded"; image.onerror = () => got.image = "refused";
image.src = "https://alice.pages.test/handbook/dot.svg";
</script>"""


class Running(NamedTuple):
    """Two proxies of one fleet: one with the lane, one without; each with its port for TLS."""

    forge: Forge
    lane: int
    flow: int
    proxies: tuple[Proxy, Proxy]
    redis: Server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("members")
    forge = team_forge(folder / "forge")
    Site(folder / "forge" / "mallory" / "evil.git", {".pages": b"enabled: true\n", "public/index.html": EVIL})
    pair = make_pair(folder, "pages", PAGES_DOMAIN, f"*.{PAGES_DOMAIN}")
    tls = {"cert": str(pair.cert), "key": str(pair.key)}
    with start_valkey() as redis:
        ports = []

        def options(**more: object) -> dict[str, object]:
            plain, secure = free_port(), free_port()
            ports.append(secure)
            listen = [f"127.0.0.1:{plain}", {"address": f"127.0.0.1:{secure}", "tls": tls}]
            address = {"redisHost": redis.address[0], "redisPort": redis.address[1]}
            return {**OPTIONS, "forgejoToken": TOKEN, "listen": listen, "port": plain, **address, **more}

        with (
            running_proxy(folder / "lane", forge.url, **options()) as lane,
            running_proxy(folder / "flow", forge.url, **options(lane=False)) as flow,
        ):
            yield Running(forge, ports[0], ports[1], (lane, flow), redis)
            for proxy in (lane, flow):
                assert "Traceback" not in proxy.log
                assert not any(word in proxy.log for word in ("eyJ", "gta_", "gto_", "code=", "ticket="))
    forge.stop()


def curl(running: Running, jar: Path, face: str, url: str, *arguments: str) -> tuple[int, bytes]:
    """The last status and body of a walk of curl's. face: `http1`, `http2` or `flow`."""
    port = running.flow if face == "flow" else running.lane
    names = [f"{name}:443:127.0.0.1:{port}" for name in (PAGES_DOMAIN, f"alice.{PAGES_DOMAIN}")]
    command = [
        "curl",
        "-sSk",
        "-L",
        "--max-redirs",
        "12",
        "-w",
        "\n%{http_code} %{http_version}",
        "-c",
        str(jar),
        "-b",
        str(jar),
    ]
    command += [part for name in names for part in ("--connect-to", name)]
    command += ["--http2" if face == "http2" else "--http1.1", "-H", "Accept: text/html", *arguments, url]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    body, _, last = done.stdout.rpartition(b"\n")
    status, version = last.split()
    assert version == (b"2" if face == "http2" else b"1.1")
    return int(status), body


def logged_in_at_the_forge(running: Running, jar: Path, user: str, number: int) -> None:
    """A browser in which somebody is logged in at Forgejo and has allowed the application before."""
    login = running.forge.login
    login.sessions[user] = _Session(user)
    login.grants[number, CLIENT] = _Grant(number, number, CLIENT, "read:repository")
    jar.write_text(f"127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\t{user}\n")


@pytest.mark.parametrize("face", ["http1", "http2", "flow"])
def test_the_round_is_the_same_on_every_face_and_holds_at_the_other_proxy(
    running: Running, tmp_path: Path, face: str
) -> None:
    jar, stranger, other = tmp_path / "bob", tmp_path / "dave", "http1" if face == "flow" else "flow"
    logged_in_at_the_forge(running, jar, "bob", 3)
    logged_in_at_the_forge(running, stranger, "dave", 10)
    assert curl(running, jar, face, f"{SITE}?x=1") == (200, PAGE)
    logins = running.forge.count("/login/oauth/access_token")
    for each in (face, other):
        assert curl(running, jar, each, f"{SITE}docs/a.txt") == (200, b"0123456789" * 50)
        assert curl(running, jar, each, f"{SITE}docs/a.txt", "-r", "0-3") == (206, b"0123")
        assert curl(running, jar, each, SITE, "-I")[0] == 200
    assert running.forge.count("/login/oauth/access_token") == logins
    assert curl(running, stranger, face, SITE)[0] == 404
    assert curl(running, tmp_path / "nobody", face, SITE, "-H", "Sec-Fetch-Mode: cors")[0] == 401
    assert curl(running, tmp_path / "nobody", face, SITE, "-H", f"Authorization: Bearer {TOKEN}") == (200, PAGE)
    out = f"https://alice.{PAGES_DOMAIN}/.pages/logout"
    assert curl(running, jar, face, out, "-d", "all=1")[0] == 200
    assert curl(running, jar, face, SITE, "-H", "Sec-Fetch-Mode: cors")[0] == 401


def test_nothing_in_redis_shows_a_token(running: Running, tmp_path: Path) -> None:
    jar = tmp_path / "bob"
    logged_in_at_the_forge(running, jar, "bob", 3)
    assert curl(running, jar, "http1", SITE)[0] == 200
    keys = running.redis.ask("KEYS", "~pages:member:*")
    assert isinstance(keys, list)
    assert keys
    for key in keys:
        assert isinstance(key, bytes)
        value = running.redis.ask("GET", key)
        assert isinstance(value, bytes)
        assert b"eyJ" not in value


@pytest.mark.skipif(
    "CI" not in os.environ and not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    reason="chromium is not installed; the tests above do the same without a browser",
)
async def test_a_reader_logs_in_and_no_neighbour_reads_along(running: Running, tmp_path: Path) -> None:
    pictures = Path(os.environ.get("PICTURES", tmp_path))
    running.forge.login.grants.clear()
    rules = f"--host-resolver-rules=MAP *:443 127.0.0.1:{running.lane}, MAP * 127.0.0.1"
    async with browser(rules, "--ignore-certificate-errors") as tab:

        async def presses(selector: str) -> None:
            await tab.evaluate(f"document.querySelector('{selector}').click()")

        async def keep(name: str, width: int = 1000) -> None:
            await asyncio.to_thread((pictures / f"members-{name}.png").write_bytes, await tab.picture(width=width))

        await tab.open(f"{SITE}?page=2")
        await tab.shows("Sign in")
        await tab.evaluate("document.querySelector('[name=user_name]').value = 'bob'")
        await tab.evaluate("document.querySelector('[name=password]').focus()")
        await tab.types("password of bob")
        await tab.shows("Authorize pages?")
        await keep("consent")
        await presses("button[value=true]")
        await tab.shows("How we work")
        await keep("handbook")
        assert await tab.evaluate("location.href") == f"{SITE}?page=2"
        assert await tab.evaluate("document.cookie") == ""
        await tab.open(f"https://mallory.{PAGES_DOMAIN}/evil/")
        await tab.becomes("window.got && got.fetch && got.opaque && got.style && got.image && got.frame")
        assert await tab.evaluate("got.fetch") == "refused"
        assert await tab.evaluate("got.opaque") == "refused"
        assert await tab.evaluate("got.style") == await tab.evaluate("got.image") == "refused"
        assert await tab.evaluate("got.frame") == "refused"
        assert await tab.evaluate("document.querySelector('h1').innerText") == "Evil"
        await tab.open(SITE)  # that took nothing away
        await tab.shows("How we work")
        await tab.open(f"https://alice.{PAGES_DOMAIN}/.pages/logout")
        await tab.shows("Log out of all sites")
        await keep("logout")
        await keep("logout-phone", 390)
        await presses("button[name=all]")
        await tab.shows("You are logged out")
        await keep("logged-out")
        running.forge.login.revoke("bob", CLIENT)
        await tab.open(SITE)
        await tab.shows("Authorize pages?")
        await presses("button[value=false]")
        await tab.shows("you have not allowed this server")
        await keep("denied")
        await presses("a.go")
        await tab.shows("Authorize pages?")
