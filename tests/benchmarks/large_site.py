# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A cold site of many files: how soon it is there, what it takes in memory, and how long anybody else waits for it.

Run: python -m tests.benchmarks.large_site [FILES]. Prints the time from the last call for a page of its tree to the
visitor's answer (the forge's own time for that page and for the blobs included), the bytes of memory a file by
tracemalloc and as the memory counts them, and the longest time for which the event loop answered nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import NamedTuple, cast

from addon.preview.forge import Forge
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.addon.serving.pages import ENABLED, Serving, serving

FILES = 10_000
READY = 1.0
BYTES_A_FILE = 200
BLOCKED = 0.05


class Found(NamedTuple):
    """Seconds from the last tree call to the answer; bytes a file taken and counted; seconds the loop was held."""

    ready: float
    cold: float
    taken: float
    counted: float
    blocked: float


async def _heartbeat(gaps: list[float]) -> None:
    last = time.thread_time()  # the loop's own work: other processes of the machine are not counted
    while True:
        await asyncio.sleep(0)
        now = time.thread_time()
        gaps.append(now - last)
        last = now


async def _cold(pages: Serving, path: str) -> None:
    reply = await pages.get("alice", path)
    assert (reply.status, reply.body) == (200, b"index"), reply


class _Elsewhere:
    """The forge in a process of its own, or it would hold up the loop that is measured."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.large_site", "forge", str(root)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def forget_calls(self) -> None:
        """Nobody counts them."""

    def stop(self) -> None:
        self._process.communicate("")


async def _measured(root: Path, files: int) -> Found:
    forge = _Elsewhere(root)
    calls: list[tuple[str, float]] = []
    gaps: list[float] = []
    watched = cast(Forge, forge)  # of which `serving` uses no more than this
    try:
        async with serving(
            watched, on_call=lambda target: calls.append((target, time.perf_counter())), forgejoTimeout="60s"
        ) as pages:
            await _cold(pages, "/small/")  # connections, threads, first-time imports
            heart = asyncio.ensure_future(_heartbeat(gaps))
            await asyncio.sleep(0.05)
            gaps.clear()
            began = time.perf_counter()
            await _cold(pages, "/large/")
            ended = time.perf_counter()
            heart.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await heart
            last_page = max(moment for target, moment in calls if "/git/trees/" in target)
            site = pages.known("alice", "large").site
            assert site is not None
            counted = site.nbytes
            del site
            pages.library.memory.clear()
            tracemalloc.start()
            await _cold(pages, "/large/")
            await asyncio.sleep(0.01)  # the step that woke us holds its result
            gc.collect()
            with_site = tracemalloc.get_traced_memory()[0]
            pages.library.memory.clear()
            gc.collect()
            taken = with_site - tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            return Found(ended - last_page, ended - began, taken / files, counted / files, max(gaps))
    finally:
        forge.stop()


def measure(files: int = FILES) -> Found:
    """A site of that many files in folders of 100, as a generator of documentation lays them out."""
    with tempfile.TemporaryDirectory() as folder:
        index = {".pages": ENABLED, "public/index.html": b"index"}
        Site(Path(folder) / "alice" / "small.git", index)
        many = {f"public/docs/chapter-{n // 100:03}/page-{n:06}/index.html": b"%d" % n for n in range(files - 2)}
        Site(Path(folder) / "alice" / "large.git", index | many)
        return asyncio.run(_measured(Path(folder), files))


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["forge"]:
        forge = start_forge(Path(arguments[1]))
        print(forge.url, flush=True)
        sys.stdin.read()
        forge.stop()
        return
    files = int(arguments[0]) if arguments else FILES
    found = measure(files)
    print(f"{files} files: answered {found.cold:.2f} s after the visitor asked")
    print(f"and {found.ready:.2f} s after the last page of the tree was asked for (bound {READY} s)")
    print(f"memory: {found.taken:.0f} bytes a file, {found.counted:.0f} counted (bound {BYTES_A_FILE})")
    print(f"the loop was held for {found.blocked * 1000:.0f} ms at the longest (aim {BLOCKED * 1000:.0f} ms)")


if __name__ == "__main__":
    main(sys.argv[1:])
