# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A page for members and one behind a password, asked for with a valid login, beside the same page open to all.

Run `python -m tests.benchmarks.access [--check] [FACE …]`. On each face, by HTTP/1.1, by HTTP/2 and through mitmproxy's
flows, one mitmdump serves all three, rounds alternate, and the least processor time of each is compared: other work on
the machine adds to it, and never takes from it. In one round of thirty Forgejo is asked about the reader again, and
each page made ready again. All are asked for with the same head, the cookies of both logins in it. Three are measured
in this process, without sockets, and in slices so short that some are not disturbed even on a machine that is busy:
`lane` and `lane-h2` are the protocols with ready answers, `memory` is what `PagesServer` alone takes for an answer that
is in memory and not ready; it has no bar, for on every face the same is added to all three. With `--check` it exits
with 1 above the bar.
"""

import argparse
import asyncio
import hashlib
import http.client
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection

from addon.lane.http1 import Connection
from addon.lane.http2_connection import Http2Connection
from addon.lane.lane import Lane
from addon.preview.forge import Forge
from addon.preview.oauth import _Grant, _Session
from addon.preview.settings import RepositorySettings
from addon.web.forwarding import Forwarding
from tests.addon.net.tls_wire import client_context
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.addon.serving.pages import serving
from tests.addon.serving.reading import CLIENT, OPTIONS, TOKEN, Browser, prepare
from tests.benchmarks.serve import BROWSER, HOST, LOADS, PATHS, Load, Outcome, Server, measured, ours, pages, visit_all

BAR = 1.2
"""Processor time of a hit with a login, of that of an open one."""
SITES = ("open", "password", "members")
SLICE, SLICES = 50, 40
"""Requests that are measured together, and how often in a round."""
FACES = {
    "1k": ("HTTP/1.1", "lane"),
    "browsers": ("HTTP/1.1, 500 paths, heads of browsers", "lane"),
    "h2": ("HTTP/2", "lane"),
    "h2-browsers": ("HTTP/2, 500 paths, heads of browsers", "lane"),
    "flows": ("mitmproxy's flows", "flow face"),
    "lane": ("HTTP/1.1 without its sockets", ""),
    "lane-browsers": ("HTTP/1.1 without its sockets, 500 paths, heads of browsers", ""),
    "lane-h2": ("HTTP/2 without its sockets", ""),
    "lane-h2-browsers": ("HTTP/2 without its sockets, 500 paths, heads of browsers", ""),
    "memory": ("from memory, not ready", ""),
}
"""What is measured: a load, or "flows", which is that of 1 KiB, or a part; what it is called, and by which server."""


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


class Sink(asyncio.Transport):
    """A connection whose client takes everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written = bytes(data)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("192.0.2.7", 4711) if name == "peername" else default

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None:
        raise SystemExit("the lane has cut the connection")


def by_http1(lane: Lane, paths: list[str], fields: dict[str, str]) -> Callable[[], None]:
    """What asks for the next page on a connection, again and again."""
    sink, connection = Sink(), Connection(lane, lambda *arguments: None)  # type: ignore[arg-type]  # nothing is handed over
    connection.connection_made(sink)
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    requests = itertools.cycle(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode() for path in paths)

    def ask() -> None:
        request = next(requests)
        connection.get_buffer(0)[: len(request)] = request
        connection.buffer_updated(len(request))
        if not sink.written.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not the page: {sink.written[:100]!r}")

    return ask


def by_http2(lane: Lane, paths: list[str], fields: dict[str, str]) -> Callable[[], None]:
    """The same, of one stream after the other."""
    sink, client = Sink(), H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    client.increment_flow_control_window(2**31 - 1 - 65535)
    connection = Http2Connection(lane, sink, "192.0.2.7", True)
    connection.received(client.data_to_send())
    rest = [(name.lower(), value) for name, value in fields.items() if name not in ("Host", "Connection")]
    start = [(":method", "GET"), (":scheme", "https"), (":authority", fields["Host"])]
    turns = itertools.cycle(paths)
    numbers = itertools.count(1, 2)
    ready: list[bytes] = []

    def ask() -> None:
        if not ready:  # the client's own time is not what is measured
            raise SystemExit("no request was made ready")
        sink.written = b""
        connection.received(ready.pop())
        if len(sink.written) < 200:
            raise SystemExit(f"not the page: {sink.written[:100]!r}")

    def prepare_some() -> None:
        for _ in range(SLICE):
            client.send_headers(next(numbers), [*start, (":path", next(turns)), *rest], end_stream=True)
            ready.append(client.data_to_send())
        ready.reverse()

    ask.before = prepare_some  # type: ignore[attr-defined]
    return ask


async def in_process(face: str, forge: Forge, rounds: int) -> dict[str, float]:
    """The processor time of a request to each site, in microseconds, of what is asked in this process."""
    rotating = face.endswith("browsers")
    async with serving(forge, token=TOKEN, maxRequestsPerConnection=0, **OPTIONS) as served:
        served.clock.seconds = time.monotonic() + 3600  # it stands still, and the lane's own does not
        bob = Browser(served)
        paths = {
            name: [f"/{name}/p/{number}.html" for number in range(PATHS)] if rotating else [f"/{name}/1k.html"]
            for name in SITES
        }
        await bob.one(f"https://{HOST}/password/1k.html", "POST", b"password=secret")
        for each in paths.values():
            for path in each:
                reply = await bob.open(f"https://{HOST}{path}", accept_encoding=BROWSER["Accept-Encoding"])
                if reply.status != 200:
                    raise SystemExit(f"{path} was answered {reply.status}")
        cookie = "; ".join(f"{name}={value}" for name, value in bob.cookies[HOST].items())
        fields = {"Host": HOST, **(BROWSER if rotating else {}), "Cookie": cookie}
        lane = Lane(served.server, served.settings, Forwarding(served.settings), log=None, facts=served.library.memory)
        asks: dict[str, Callable[[], object]] = {}
        for name in SITES:
            if face == "memory":
                asks[name] = partial(
                    served.server.answer_from_memory, served.request(HOST, paths[name][0], cookie=cookie)
                )
            else:
                asks[name] = (by_http2 if "h2" in face else by_http1)(lane, paths[name], fields)
        found: dict[str, list[float]] = {name: [] for name in SITES}
        for number in range(SLICES * rounds):
            for name, ask in asks.items():
                before = getattr(ask, "before", None)
                if before is not None:
                    before()
                began = time.thread_time()
                for _ in range(SLICE):
                    ask()
                if number * SLICE > 2 * len(paths[name]):  # all are ready by then
                    found[name].append((time.thread_time() - began) / SLICE * 1e6)
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
                if not which:
                    found = asyncio.run(in_process(face, forge, options.rounds))
                else:
                    load = LOADS["1k" if face == "flows" else face]._replace(cookie=cookies[which])
                    found = compared(servers[which], load, options.rounds, options.seconds, folder)
                print(f"\n{called}\n{'':10}{'CPU µs':>9}{'of open':>9}")
                for site, each in found.items():
                    print(f"{site:10}{each:9.1f}{each / found['open']:9.2f}")
                    good = good and (face == "memory" or each <= BAR * found["open"])
        finally:
            for server in servers.values():
                server.process.terminate()
                server.process.wait(30)
            forge.stop()
    print(f"\nbar {BAR}: {'met' if good else 'missed'}")
    return 1 if options.check and not good else 0


if __name__ == "__main__":
    sys.exit(main())
