# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A page for members and one behind a password, asked for with a valid login, beside the same page open to all.

Run `python -m tests.benchmarks.access [--check]`. On each face, by HTTP/1.1, by HTTP/2 and through mitmproxy's flows,
one mitmdump serves all three, rounds alternate, and medians are compared: of processor time, which other work on the
machine moves less than the rate. All three are asked for with the same head, the cookies of both logins in it. With
`--check` it exits with 1 where a login costs more than the bar, or takes more than a tenth of the rate.
"""

import argparse
import hashlib
import http.client
import statistics
import sys
import tempfile
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from addon.preview.forge import Forge
from addon.preview.oauth import _Grant, _Session
from addon.preview.settings import RepositorySettings
from tests.addon.net.tls_wire import client_context
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.addon.serving.reading import CLIENT, OPTIONS, TOKEN, prepare
from tests.benchmarks.serve import HOST, LOADS, Load, Outcome, Server, measured, ours, pages, visit_all

BAR = 1.2
"""Processor time of a hit with a login, of that of an open one."""
RATE_BAR = 0.9
SITES = ("open", "password", "members")
FACES = {
    "HTTP/1.1": ("lane", LOADS["1k"]),
    "HTTP/1.1, 500 paths, heads of browsers": ("lane", LOADS["browsers"]),
    "HTTP/2": ("lane", LOADS["h2"]),
    "HTTP/2, 500 paths, heads of browsers": ("lane", LOADS["h2-browsers"]),
    "mitmproxy's flows": ("flow face", LOADS["1k"]),
}


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
    forge.login.sessions["of bob"] = _Session("bob")
    forge.login.grants[3, CLIENT] = _Grant(3, 3, CLIENT, "read:repository")
    return forge


def logged_in(server: Server, forge: Forge) -> str:
    """The cookies of a browser in which a reader is logged in at both sites."""
    jar: dict[str, SimpleCookie] = {forge.url.partition("://")[2]: SimpleCookie("session=of bob")}
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
        if hops > 12 or (location is None and answer.status != 200):
            raise SystemExit(f"{url} was answered {answer.status}: there is no login")
        if location is None and not form:
            url, form = f"https://{HOST}/password/1k.html", "password=secret"
        else:
            url, form = urljoin(url, location) if location is not None and not form else "", ""
    return "; ".join(f"{each.key}={each.coded_value}" for each in jar[HOST].values())


def compared(server: Server, load: Load, rounds: int, seconds: float, folder: Path) -> dict[str, Outcome]:
    """The medians of each site's pages, measured in turn."""
    loads = {name: load._replace(path=load.path.replace("/blog/", f"/{name}/")) for name in SITES}
    results: dict[str, list[Outcome]] = {name: [] for name in SITES}
    for each in loads.values():
        if each.rotating:
            visit_all(server, each)
        measured(server, each, 1, folder)
    for _ in range(rounds):
        for name, each in loads.items():
            results[name].append(measured(server, each, seconds, folder))
    if any(run.failed for runs in results.values() for run in runs):
        raise SystemExit("not all requests were answered with the page")
    return {name: Outcome(*(statistics.median(each) for each in zip(*runs))) for name, runs in results.items()}


def main() -> int:
    """Print what each costs, and how that compares."""
    parser = argparse.ArgumentParser(description="Pages for members and behind a password beside open ones.")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--check", action="store_true", help=f"exit with 1 above {BAR} of the time, or below {RATE_BAR}"
    )
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        forge = forge_of_three(folder / "forge")
        servers: dict[str, Server] = {}
        try:
            for lane in (True, False):
                place = folder / ("lane" if lane else "flow")
                place.mkdir()
                more = {**OPTIONS, "forgejoToken": TOKEN}
                server = ours(place, forge.url, lane=lane, logged=False, **more)
                servers[server.name] = server
            cookies = {name: logged_in(server, forge) for name, server in servers.items()}
            for face, (which, load) in FACES.items():
                load = load._replace(cookie=cookies[which])
                medians = compared(servers[which], load, options.rounds, options.seconds, folder)
                print(f"\n{face}\n{'':10}{'requests/s':>12}{'CPU µs':>9}{'CPU of open':>13}{'rate of open':>14}")
                for site, each in medians.items():
                    cost, rate = each.cpu / medians["open"].cpu, each.rate / medians["open"].rate
                    print(f"{site:10}{each.rate:12,.0f}{each.cpu:9.1f}{cost:13.2f}{rate:14.2f}")
                    good = good and cost <= BAR and rate >= RATE_BAR
        finally:
            for server in servers.values():
                server.process.terminate()
                server.process.wait(30)
            forge.stop()
    print(f"\nbars: {BAR} of the time, {RATE_BAR} of the rate: {'met' if good else 'missed'}")
    return 1 if options.check and not good else 0


if __name__ == "__main__":
    sys.exit(main())
