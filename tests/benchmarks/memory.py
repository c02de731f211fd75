# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How much a process grows by ten times what it may hold: one-byte files, unknown hosts, missing paths.

Run: python -m tests.benchmarks.memory [MIB]. A fresh process with a `PagesServer` and `memoryCacheSize: MIB` (16) asks
a forge in this one until memory was charged ten times that (a third by each kind), and tells its resident memory
before, at the most and after. The bound is 1.5 times memoryCacheSize. Small entries are the worst case: for them what
is charged is nearly all overhead, so an overhead that is charged too low shows here.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from addon.access.signing_key import SigningKey, Source
from addon.library.library import Library
from addon.serving.answers import Request
from addon.serving.server import PagesServer
from addon.settings.schema import Settings
from addon.web.forwarding import Visitor
from addon.wiring import open_access, open_server, open_sources
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site

MIB = 1024 * 1024
BOUND = 1.5
TIMES = 10
_FILES_PER_SITE = 1000
_AT_ONCE = 64
_DOMAIN = "pages.test"
_VISITOR = Visitor("192.0.2.7", secure=True)


class Growth(NamedTuple):
    """Bytes of resident memory before, at the most and at the end; what memory counted and was charged; requests."""

    before: int
    most: int
    after: int
    used: int
    charged: int
    requests: dict[str, int]

    def ratio(self, capacity: int) -> float:
        """How much it grew at the most, in units of memoryCacheSize."""
        return (self.most - self.before) / capacity


def growth(capacity: int, times: int = TIMES) -> Growth:
    """Measure in a fresh process; capacity: memoryCacheSize in bytes; times: how often that is charged."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number in range(_sites(capacity, times)):
            files = {f"public/f{index:04}.txt": bytes((index % 256,)) for index in range(_FILES_PER_SITE)}
            Site(root / "alice" / f"s{number}.git", {".pages": b"enabled: true\n"} | files)
        forge = start_forge(root)
        try:
            command = [sys.executable, "-m", "tests.benchmarks.memory", forge.url, str(capacity), str(times)]
            told = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        finally:
            forge.stop()
    return Growth(**json.loads(told))


def _sites(capacity: int, times: int) -> int:
    """How many sites of 1 000 files: what is prepared for a file is charged 3 KB, and a third of all is files."""
    return max(2, -(-capacity * times // 3 // (3 * 1024 * _FILES_PER_SITE)))


def resident() -> int:
    """Resident memory of this process in bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@asynccontextmanager
async def _server(url: str, capacity: int) -> AsyncIterator[tuple[PagesServer, Library]]:
    options = {"pagesDomain": _DOMAIN, "forgejoHost": url, "memoryCacheSize": capacity, "cacheTTL": 3600}
    settings = Settings.from_mapping(options)
    async with AsyncExitStack() as stack:
        sources = open_sources(stack, settings, None)
        access = open_access(stack, sources, SigningKey(b"k" * 32, Source.SETTINGS))
        yield open_server(stack, sources, access, None), sources.library


async def _measured(url: str, capacity: int, times: int) -> Growth:
    async with _server(url, capacity) as (server, library):
        charged = 0
        put = library.memory.put

        def counted(key: tuple[str, ...], value: object, nbytes: int) -> None:
            nonlocal charged
            charged += nbytes
            put(key, value, nbytes)

        library.memory.put = counted  # type: ignore[method-assign]  # the benchmark counts what goes by

        async def ask(host: str, path: str) -> None:
            request = Request("GET", f"{host}.{_DOMAIN}", path, None, lambda name: None, lambda: _VISITOR)
            answer = server.answer_from_memory(request) or await server.answer(request)
            assert answer.status in (200, 404, 503), answer.status

        def kinds(tag: str) -> dict[str, Iterable[tuple[str, str]]]:
            many = 10**9
            files = (
                (n // _FILES_PER_SITE, n % _FILES_PER_SITE) for n in range(_sites(capacity, times) * _FILES_PER_SITE)
            )
            return {
                "files": (("alice", f"/s{site}/f{index:04}.txt") for site, index in files),
                "hosts": ((f"{tag}{number}", "/") for number in range(many)),
                "missing": (("alice", f"/{tag}{number}/x") for number in range(many)),
            }

        async def ask_all(tag: str, budget: float) -> dict[str, int]:
            asked = {}
            for kind, requests in kinds(tag).items():
                until, asked[kind] = charged + budget, 0
                batch: list[Awaitable[None]] = []
                for host, path in requests:
                    batch.append(ask(host, path))
                    if len(batch) == _AT_ONCE:
                        await asyncio.gather(*batch)
                        asked[kind] += len(batch)
                        batch.clear()
                        seen.append(resident())
                        if charged >= until:
                            break
                await asyncio.gather(*batch)
            return asked

        seen: list[int] = []
        # What every process holds once it has worked at all: code, connections, threads, templates.
        await ask_all("warm", capacity / 50)
        library.memory.clear()
        before, charged = resident(), 0
        seen = [before]
        requests = await ask_all("r", capacity * times / 3)
        return Growth(before, max(seen), resident(), library.memory.used, charged, requests)


def main(arguments: list[str]) -> None:
    if len(arguments) == 3:
        url, capacity, times = arguments[0], int(arguments[1]), int(arguments[2])
        print(json.dumps(asyncio.run(_measured(url, capacity, times))._asdict()))
        return
    capacity = int(arguments[0] if arguments else 16) * MIB
    found = growth(capacity)
    print(f"memoryCacheSize {capacity / MIB:.0f} MiB, charged {found.charged / capacity:.1f} times that")
    print("requests:", ", ".join(f"{count} {kind}" for kind, count in found.requests.items()))
    print(f"counted at the end: {found.used / MIB:.1f} MiB")
    for name, size in (("before", found.before), ("at the most", found.most), ("at the end", found.after)):
        print(f"resident {name}: {size / MIB:.1f} MiB")
    print(f"growth: {found.ratio(capacity):.2f} of memoryCacheSize (bound {BOUND})")


if __name__ == "__main__":
    main(sys.argv[1:])
