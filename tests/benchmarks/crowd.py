# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What one visitor or one owner can do to the others: attacks of some seconds, while a probe asks for what is theirs.

Run `python -m tests.benchmarks.crowd` (`--help` for what to measure). The server is `pages serve` with two processes,
or mitmdump alone (`--processes 1`); the attack comes from a process of its own, from other addresses of loopback than
the probe, and is bounded in time and number. Each row is printed beside the same without an attack, and what misses a
bar once more at the end. It shares its cores with server, forge and attack, so compare within a run. With `--browser`,
a Chromium that has never been here opens a gallery of 400 pictures over TLS meanwhile.
"""

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from addon.access.passwords import Argon2, _argon2
from addon.preview.forge import Forge
from tests.addon.domains.name_server import NameServer, name_server
from tests.addon.net.tls_wire import make_pair
from tests.addon.preview.fixtures import noise
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site, link
from tests.benchmarks.crowd_attacks import (
    ATTACKS,
    FORGEJO,
    FRONT,
    OVER_TLS,
    PASSWORD,
    PROBE,
    Reply,
    ask,
    host,
    request,
)
from tests.integration import running as running_module
from tests.integration import service as service_module
from tests.integration.browser import browser
from tests.integration.gallery import PICTURES, shows_all
from tests.integration.gallery import gallery as large_gallery
from tests.integration.running import PAGES_DOMAIN, running_proxy
from tests.integration.service import running_service
from tests.ports import free_port

EVERY = 0.2
SECRET = "hook-secret"
ENABLED = b"enabled: true\n"
DEEP = "/".join(("d" * 250,) * 15)
BARS = {"cached": 0.25, "cold": 2.0, "login": 2.0, "webhook": 1.0}
MEMORY = 64 * 1024 * 1024
MOST_MEMORY = MEMORY + 200_000_000
"""Bytes that one process may take."""


# --- what is there ----------------------------------------------------------------------------------------------------


def costly_hash() -> str:
    """A hash of the greatest cost that is allowed."""
    wanted = Argon2(128 * 1024, 4, 1, bytes(16), bytes(32))
    digest = _argon2(PASSWORD.encode(), wanted)
    salt, made = (b64encode(part).rstrip(b"=").decode() for part in (wanted.salt, digest))
    return f"$argon2id$v=19$m={wanted.memory},t={wanted.passes},p={wanted.lanes}${salt}${made}"


def make_sites(root: Path, rows: int) -> None:
    """Sites of others, of the attacker, and what attacks need of them. rows: of the large ones."""

    def make(name: str, files: dict[Any, Any]) -> None:
        Site(root / f"{name}.git", {".pages": ENABLED} | files)

    plain = b"enabled: true\npassword: " + hashlib.sha256(PASSWORD.encode()).hexdigest().encode() + b"\n"
    cold = {f"public/cold{number:04}.html": b"cold %d" % number for number in range(1200)}
    make("alice/.profile", {"public/index.html": b"alice"} | cold)
    make("alice/locked", {".pages": plain, "public/index.html": b"locked"})
    make("alice/hooked", {"public/index.html": b"hooked"})
    make("alice/gallery", large_gallery())
    make("alice/domain", {".pages": b"custom_domain: honest.test\n", "public/index.html": b"honest"})
    pictures = {f"public/p{number:03}.png": noise(2000, number) for number in range(150)}
    for number in range(8):
        unlike = {path: data + bytes([number]) for path, data in pictures.items()}
        make(f"mallory/gallery{number}", unlike | {"public/index.html": b"gallery"})
    make("mallory/deep", {f"public/{DEEP}/{number:06}": b"x" for number in range(rows)})
    index = b"enabled: true\ndirectory_index: true\n"
    targets = {f"public/l{number:04}": link("d/../" * 800 + "d/e.txt") for number in range(1990)}
    make("mallory/links", targets | {".pages": index, "public/d/e.txt": b"e"})
    make("mallory/listing", {f"public/n{number:06}.txt": b"x" for number in range(rows)} | {".pages": index})
    locked = b"enabled: true\npassword: " + costly_hash().encode() + b"\n"
    for number in range(70):
        make(f"mallory/locked{number}", {".pages": locked, "public/index.html": b"locked"})
    for number in range(9):
        wanted = ", ".join(f"d{number}-{n}.silent.test" for n in range(5))
        make(f"mallory/domains{number}", {".pages": f"custom_domain: [{wanted}]\n".encode(), "public/index.html": b"x"})


def make_zone(names: NameServer) -> None:
    texts = [f"{number} " + "y" * 600 for number in range(100)]
    for number in range(200):
        names.txt(f"_pages.x{number}.evil.test", *texts)
    for number, n in itertools.product(range(9), range(5)):
        for place in (f"d{number}-{n}.silent.test", f"_pages-verification.d{number}-{n}.silent.test"):
            names.trouble[place] = "silent"
    names.txt("honest.test", "bovine-pages-verification=" + hashlib.sha256(b"alice/domain").hexdigest())


class Place(NamedTuple):
    """A running server."""

    port: int
    tls_port: int
    pid: int
    log: Path


# --- the probe --------------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What the probe saw: seconds by kind, and answers that are no success."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, list[int]] = field(default_factory=dict)
    pictures: str = ""
    """What became of the gallery in a browser, if one came."""

    def note(self, kind: str, reply: Reply, right: tuple[int, ...]) -> None:
        self.seconds.setdefault(kind, []).append(reply.seconds)
        if reply.status not in right:
            self.failures.setdefault(kind, []).append(reply.status)

    def told(self, kind: str) -> str:
        times = self.seconds.get(kind, [])
        if not times:
            return "-"
        failed = self.failures.get(kind, [])
        text = f"{statistics.median(times) * 1000:.0f}/{max(times) * 1000:.0f} ms"
        return text + (f" FAILED {len(failed)} of {len(times)}: {sorted(set(failed))}" if failed else "")

    def missed(self) -> Iterator[str]:
        """Which bars are."""
        for kind, bar in BARS.items():
            over = [each for each in self.seconds.get(kind, []) if each > bar]
            if over:
                yield f"{kind}: {len(over)} over {bar:g} s, {max(over):.2f} s at worst"
            if self.failures.get(kind):
                yield f"{kind}: {len(self.failures[kind])} of {len(self.seconds[kind])} failed"
        if self.pictures and not self.pictures.startswith("all"):
            yield f"gallery: {self.pictures}"


_COLD = itertools.count()
_LOGIN = itertools.count()


async def probe(port: int, seconds: float, seen: Seen, domain: bool) -> None:
    """Ask for others' things five times a second."""
    end = time.monotonic() + seconds
    asked: list[asyncio.Task[None]] = []

    async def one(kind: str, data: bytes, right: tuple[int, ...], source: str = PROBE) -> None:
        seen.note(kind, await ask(port, data, source), right)

    for number in itertools.count():
        if time.monotonic() >= end:
            break
        asked.append(asyncio.create_task(one("cached", request(host("alice"), "/"), (200,))))
        if number % 2 == 0:
            path = f"/cold{next(_COLD) % 1200:04}.html"
            asked.append(asyncio.create_task(one("cold", request(host("alice"), path), (200,))))
        if number % 5 == 1:
            source = f"127.0.{next(_LOGIN) % 200 + 20}.10"
            body = f"password={PASSWORD.replace(' ', '+')}".encode()
            data = request(
                host("alice"), "/locked/", "Content-Type: application/x-www-form-urlencoded", method="POST", body=body
            )
            asked.append(asyncio.create_task(one("login", data, (303,), source)))
        if number % 5 == 2:
            body = json.dumps({"repository": {"full_name": "alice/hooked"}}).encode()
            digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
            fields = ("Content-Type: application/json", "X-Forgejo-Event: push", f"X-Forgejo-Signature: {digest}")
            data = request(PAGES_DOMAIN, "/.pages/webhook", *fields, method="POST", body=body)
            asked.append(asyncio.create_task(one("webhook", data, (202,))))
        await asyncio.sleep(EVERY)
    if domain:
        began = time.perf_counter()
        await ask(port, request(host("alice"), "/domain/"))
        while time.perf_counter() - began < 30:
            if (await ask(port, request("honest.test", "/"))).body == b"honest":
                break
            await asyncio.sleep(0.05)
        seen.seconds["domain"] = [time.perf_counter() - began]
    await asyncio.gather(*asked)


def resident(pid: int) -> int:
    """Resident bytes of a process, or of the largest of its children."""
    most = 0
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                most = int(line.split()[1]) * 1024
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            most = max(most, resident(int(child)))
    return most


async def visited(tls_port: int) -> str:
    """What a browser that comes for the first time shows of the gallery."""
    began = time.perf_counter()
    async with browser("--ignore-certificate-errors", "--disable-quic") as tab:
        opened = time.perf_counter()
        try:
            await shows_all(tab, f"https://{host('alice')}:{tls_port}/gallery/")
        except AssertionError as fault:
            return f"not whole: {str(fault).partition(chr(10))[0]}"
        now = time.perf_counter()
        return f"all {PICTURES} shown after {now - opened:.1f} s ({opened - began:.1f} s for Chromium)"


async def measured(place: Place, seconds: float, attack: str | None, with_browser: bool = False) -> tuple[Seen, int]:
    """What the probe saw under an attack (None: without), and the most memory meanwhile."""
    port, tls_port, pid, _ = place
    seen, most = Seen(), 0
    attacker: subprocess.Popen[bytes] | None = None
    if attack is not None:
        target = tls_port if attack in OVER_TLS else port
        command = [sys.executable, "-m", "tests.benchmarks.crowd", "--attack", attack, str(target), str(seconds)]
        attacker = subprocess.Popen(command)  # noqa: ASYNC220 -- a moment, before anything is measured
        await asyncio.sleep(1.0)
    probing = asyncio.create_task(probe(port, max(1.0, seconds - 1.0), seen, attack == "9 domains"))
    looking = asyncio.create_task(visited(tls_port)) if with_browser else None
    while not probing.done():
        most = max(most, resident(pid))
        await asyncio.wait([probing], timeout=0.2)
    await probing
    if looking is not None:
        seen.pictures = await looking
    if attacker is not None:
        try:
            attacker.wait(seconds + 10)
        except subprocess.TimeoutExpired:
            attacker.kill()
            attacker.wait()
    return seen, most


@contextlib.contextmanager
def server(folder: Path, processes: int, forge: str, resolver: str) -> Iterator[Place]:
    folder.mkdir()
    pair = make_pair(folder, "pages", PAGES_DOMAIN, f"*.{PAGES_DOMAIN}")
    port, tls_port = free_port(), free_port()
    tls = {"address": f"127.0.0.1:{tls_port}", "tls": {"cert": str(pair.cert), "key": str(pair.key)}}
    options: dict[str, Any] = {
        "webhookSecret": SECRET,
        "forgejoPublicHost": FORGEJO,
        "trustedProxies": [FRONT],
        "dnsResolvers": [resolver],
        "enableCustomDomainDNSVerification": True,
        "acmeChallengeUpstream": "http://127.0.0.1:1",
        "headerTimeout": "3s",
        "memoryCacheSize": MEMORY,
        "listen": [f"127.0.0.1:{port}", tls],
    }
    if processes == 1:
        with running_proxy(folder, forge, port=port, **options) as proxy:
            yield Place(port, tls_port, proxy.process.pid, folder / "output.log")
    else:
        with running_service(folder, forge, processes=processes, **options) as service:
            yield Place(port, tls_port, service.process.pid, folder / "output.log")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.crowd", description=__doc__)
    parser.add_argument("rows", nargs="*", help="numbers of rows; all without any")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rows-of-large", type=int, default=20_000, metavar="N")
    parser.add_argument("--browser", action="store_true", help="open a gallery of 400 pictures in Chromium meanwhile")
    parser.add_argument("--attack", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.attack:
        name, port, seconds = given.attack
        asyncio.run(_bounded(ATTACKS[name](int(port), float(seconds)), float(seconds) + 5))
        return
    running_module.START_DEADLINE = service_module.DEADLINE = 180.0  # other work on the machine is none of ours
    wanted = [name for name in ATTACKS if not given.rows or name.split()[0] in given.rows]
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="crowd-", ignore_cleanup_errors=True) as folder:
        root = Path(folder, "repositories")
        print("making repositories …", flush=True)
        make_sites(root, given.rows_of_large)
        forge = start_forge(root)
        try:
            with name_server() as names:
                make_zone(names)
                print(
                    f"{given.processes} processes; {os.cpu_count()} cores; median/worst; memory of the largest process"
                )
                for number, name in enumerate(wanted):
                    with server(Path(folder, str(number)), given.processes, forge.url, names.address) as place:
                        missed += [f"{name}: {bar}" for bar in _one(place, name, given.seconds, given.browser, forge)]
        finally:
            forge.stop()
    print("\nall bars are met" if not missed else "\nmissed:\n  " + "\n  ".join(missed))


def _one(place: Place, name: str, seconds: float, with_browser: bool, forge: Forge) -> list[str]:
    """Print a row; the bars that are missed."""
    log = place.log
    quiet, before = asyncio.run(measured(place, min(5.0, seconds), None))
    lines = log.stat().st_size
    forge.forget_calls()
    seen, most = asyncio.run(measured(place, seconds, name, with_browser))
    grown = log.stat().st_size - lines
    asked = sum(call.method == "GET" and call.target.startswith("/api/v1/") for call in list(forge.calls))
    sizes = f"memory {before / 2**20:.0f} → {most / 2**20:.0f} MiB, log {grown / 1024:.0f} KiB"
    print(f"\n{name}: {sizes}, {asked} calls to Forgejo's API, load {os.getloadavg()[0]:.1f}")
    for kind in BARS:
        print(f"  {kind:8} {seen.told(kind):40} alone {quiet.told(kind)}")
    if "domain" in seen.seconds:
        print(f"  an honest domain is registered and served after {seen.seconds['domain'][0]:.2f} s")
    if seen.pictures:
        print(f"  gallery: {seen.pictures}")
    missed = list(seen.missed())
    if most > MOST_MEMORY:
        missed.append(f"memory: {most / 2**20:.0f} MiB of {MOST_MEMORY / 2**20:.0f}")
    for bar in missed:
        print(f"  MISSED {bar}")
    for line in log.read_bytes()[lines:].decode(errors="replace").splitlines():
        if "the event loop was blocked" in line:
            print(f"  {line}")
    sys.stdout.flush()
    return missed


async def _bounded(attack: Awaitable[None], seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await attack


if __name__ == "__main__":
    main()
