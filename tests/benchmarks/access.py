# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A page for members and one behind a password, asked for with a valid login, beside the same page open to all.

Run `python -m tests.benchmarks.access [--check] [FACE …]`. On each face, by HTTP/1.1, by HTTP/2 and through mitmproxy's
flows, one mitmdump serves all three, rounds alternate, and the least processor time of each is compared: other work on
the machine adds to it, and never takes from it. In one round of thirty Forgejo is asked about the reader again, and
each page made ready again. All are asked for with the same head, the cookies of both logins in it. `memory` is what
`PagesServer` alone takes for an answer that is in memory and not ready. With `--check` it exits with 1 above the bar.
"""

import argparse
import asyncio
import hashlib
import http.client
import sys
import tempfile
import time
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from addon.preview.forge import Forge
from addon.preview.oauth import _Grant, _Session
from addon.preview.settings import RepositorySettings
from tests.addon.net.tls_wire import client_context
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.addon.serving.pages import serving
from tests.addon.serving.reading import CLIENT, OPTIONS, TOKEN, Browser, prepare
from tests.benchmarks.serve import HOST, LOADS, Load, Outcome, Server, measured, ours, pages, visit_all

BAR = 1.2
"""Processor time of a hit with a login, of that of an open one."""
SITES = ("open", "password", "members")
REPEATED = 200
FACES = {
    "1k": ("HTTP/1.1", "lane"),
    "browsers": ("HTTP/1.1, 500 paths, heads of browsers", "lane"),
    "h2": ("HTTP/2", "lane"),
    "h2-browsers": ("HTTP/2, 500 paths, heads of browsers", "lane"),
    "flows": ("mitmproxy's flows", "flow face"),
    "memory": ("from memory, not ready", ""),
}
"""What is measured: a load, or "flows", which is that of 1 KiB, or "memory"; what it is called, and by which server."""


def forge_of_three(folder: Path) -> Forge:
    """alice's three sites, of which `members` is private; bob reads it, and has consented at the forge."""
    governed = {
        "open": b"enabled: true\n",
        "password": f"password: {hashlib.sha256(b'secret').hexdigest()}\n".encode(),
        "members": b"access: members\n",
    }
    content = {f"public/{name}": data for name, data in pages().items() if name.endswith(".html")}
    for name, text in governed.items():
        Site(folder / "alice" / f"{name}.git", {".pages": text, **content})
    forge = start_forge(
        folder, repositories={"alice/members": RepositorySettings(private=True, readers=frozenset({"bob"}))}
    )
    prepare(forge)
    forge.login.sessions["bob"] = _Session("bob")
    forge.login.grants[3, CLIENT] = _Grant(3, 3, CLIENT, "read:repository")
    return forge


def logged_in(server: Server, forge: Forge) -> str:
    """The cookies of a browser in which a reader is logged in at both sites."""
    jar: dict[str, SimpleCookie] = {forge.url.partition("://")[2]: SimpleCookie("session=bob")}
    url, form, hops = f"https://{HOST}/members/1k.html", "", 0
    while url:
        parts = urlsplit(url)
        own = jar.setdefault(parts.netloc, SimpleCookie())
        client = (
            http.client.HTTPSConnection("127.0.0.1", server.tls_port, context=client_context())
            if parts.scheme == "https"
            else http.client.HTTPConnection(parts.netloc)
        )
        fields = {"Host": parts.netloc, "Accept": "text/html"}
        if own:
            fields["Cookie"] = "; ".join(f"{each.key}={each.coded_value}" for each in own.values())
        if form:
            fields["Content-Type"] = "application/x-www-form-urlencoded"
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        client.request("POST" if form else "GET", target, form or None, fields)
        answer = client.getresponse()
        answer.read()
        client.close()
        for value in answer.headers.get_all("Set-Cookie", []):
            own.load(value)
        location = answer.getheader("Location")
        hops += 1
        if hops > 12 or (location is None and (answer.status != 200 or parts.netloc != HOST)):
            raise SystemExit(f"{url} was answered {answer.status}: there is no login")
        if location is None and not form:
            url, form = f"https://{HOST}/password/1k.html", "password=secret"
        else:
            url, form = urljoin(url, location) if location is not None and not form else "", ""
    return "; ".join(f"{each.key}={each.coded_value}" for each in jar[HOST].values())


def compared(server: Server, load: Load, rounds: int, seconds: float, folder: Path) -> dict[str, float]:
    """The processor time of a request to each site, in microseconds."""
    loads = {name: load._replace(path=load.path.replace("/blog/", f"/{name}/")) for name in SITES}
    results: dict[str, list[Outcome]] = {name: [] for name in SITES}
    for each in loads.values():
        if each.rotating:
            visit_all(server, each)
        measured(server, each, 1, folder)
    for _ in range(rounds):
        for name, each in loads.items():
            results[name].append(measured(server, each, seconds, folder))
    failed = {name: sum(run.failed for run in runs) for name, runs in results.items()}
    if any(failed.values()):
        raise SystemExit(f"{load.name}: not all requests were answered with the page: {failed}")
    return {name: min(run.cpu for run in runs) for name, runs in results.items()}


async def recalled(forge: Forge, rounds: int) -> dict[str, float]:
    """The same, of `PagesServer` in this process."""
    found: dict[str, list[float]] = {name: [] for name in SITES}
    async with serving(forge, token=TOKEN, **OPTIONS) as served:
        bob = Browser(served)
        requests = {}
        for name in SITES:
            url, form = f"https://{HOST}/{name}/1k.html", b"password=secret" if name == "password" else None
            if form is not None:
                await bob.one(url, "POST", form)
            reply = await bob.open(url)
            if reply.status != 200:
                raise SystemExit(f"{url} was answered {reply.status}")
        cookie = "; ".join(f"{name}={value}" for name, value in bob.cookies[HOST].items())
        for name in SITES:
            requests[name] = served.request(HOST, f"/{name}/1k.html", cookie=cookie)
        for _ in range(rounds):
            for name, request in requests.items():
                began = time.thread_time()
                for _ in range(REPEATED):
                    if served.server.recall(request) is None:
                        raise SystemExit(f"/{name}/1k.html is not in memory")
                found[name].append((time.thread_time() - began) / REPEATED * 1e6)
    return {name: min(each) for name, each in found.items()}


def main() -> int:
    """Print what each costs, and how that compares."""
    parser = argparse.ArgumentParser(description="Pages for members and behind a password beside open ones.")
    parser.add_argument("faces", nargs="*", default=list(FACES), help=f"of {', '.join(FACES)}")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--check", action="store_true", help=f"exit with 1 above {BAR}")
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        forge = forge_of_three(folder / "forge")
        servers: dict[str, Server] = {}
        try:
            wanted = {FACES[face][1] for face in options.faces}
            for lane in (each for each in (True, False) if ("lane" if each else "flow face") in wanted):
                place = folder / ("lane" if lane else "flow")
                place.mkdir()
                more = {name: value for name, value in OPTIONS.items() if name != "cacheTTL"} | {"forgejoToken": TOKEN}
                server = ours(place, forge.url, lane=lane, logged=False, **more)
                servers[server.name] = server
            cookies = {name: logged_in(server, forge) for name, server in servers.items()}
            for face in options.faces:
                called, which = FACES[face]
                if face == "memory":
                    found = asyncio.run(recalled(forge, 10 * options.rounds))
                else:
                    load = LOADS["1k" if face == "flows" else face]._replace(cookie=cookies[which])
                    found = compared(servers[which], load, options.rounds, options.seconds, folder)
                print(f"\n{called}\n{'':10}{'CPU µs':>9}{'of open':>9}")
                for site, each in found.items():
                    print(f"{site:10}{each:9.1f}{each / found['open']:9.2f}")
                    good = good and each <= BAR * found["open"]
        finally:
            for server in servers.values():
                server.process.terminate()
                server.process.wait(30)
            forge.stop()
    print(f"\nbar {BAR}: {'met' if good else 'missed'}")
    return 1 if options.check and not good else 0


if __name__ == "__main__":
    sys.exit(main())
