# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a site's rules cost: to read, to hold, to match, and a file that none of them is about.

Run: python -m tests.benchmarks.rules. 10 000 rules for one path each and 500 others. Prints the CPU time of reading
(best of five), bytes a rule (tracemalloc, and as accounted), microseconds of CPU a match (median and worst of paths
that meet the first, the last and no rule, and of rules made to hurt), and how many requests for a file a server in
this process answers out of memory, with the rules and without, in turns: the ratio is what counts.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from addon.sites import report, rules
from addon.sites.pages_file import PagesFile
from addon.sites.redirect_table import Table
from addon.sites.redirects import MOST_DYNAMIC, MOST_STATIC
from addon.sites.site import Site, files_below
from tests.addon.preview.sites import Site as Pushed
from tests.addon.serving.pages import Serving, serving, start_forge
from tests.benchmarks.tree import cpu, memory

SMALL = 5_000
"""Requests in each turn."""
TURNS = 12


def files() -> dict[str, bytes]:
    """The rules of an old site that was large."""
    static = [
        f"/old/part-{number % 50}/article-{number}.html /new/{number % 50}/{number}" for number in range(MOST_STATIC)
    ]
    dynamic = [f"/d{number}/:year/:slug/* /n{number}/:slug-:year/:splat 302" for number in range(MOST_DYNAMIC)]
    return {"_redirects": "\n".join([*static, *dynamic]).encode()}


def hurting() -> Table:
    """Rules that differ in the last part alone, of a path that meets none."""
    words = [[":x" if number >> bit & 1 else "a" for bit in range(9)] for number in range(MOST_DYNAMIC)]
    text = "\n".join(f"/{'/'.join(each)}/*/z k=:v /n" for each in words)
    return rules.read({"_redirects": text.encode()}).redirects


def match(table: Table, path: str, query: str | None = None, times: int = 2_000) -> tuple[float, float]:
    """Microseconds of CPU that one match takes: the median and the worst of ten in a row, to be above the clock."""
    segments = tuple(part for part in path.split("/") if part)
    taken = []
    for _ in range(times):
        began = time.thread_time_ns()
        for _ in range(10):
            table.find(segments, False, query)
        taken.append((time.thread_time_ns() - began) / 10_000)
    return statistics.median(taken), max(taken)


async def hits() -> float:
    """Requests a second for a file of a site with rules, by those of the same site without."""
    page = {".pages": b"enabled: true\n", "public/index.html": b"<h1>Home</h1>" * 80}
    with tempfile.TemporaryDirectory() as folder:
        Pushed(Path(folder) / "alice" / "with.git", {**page, "public/_redirects": files()["_redirects"]}).close()
        Pushed(Path(folder) / "alice" / "bare.git", page).close()
        forge = start_forge(Path(folder))
        try:
            async with serving(forge) as pages:
                for name in ("with", "bare"):
                    await pages.get("alice", f"/{name}/")
                return statistics.median(_turn(pages, "bare") / _turn(pages, "with") for _ in range(TURNS))
        finally:
            forge.stop()


def _turn(pages: Serving, name: str) -> float:
    request = pages.request("alice", f"/{name}/")
    began = time.thread_time()
    for _ in range(SMALL):
        answer = pages.server.answer_from_memory(request)
        assert answer is not None
        assert answer.status == 200
    return time.thread_time() - began


def main() -> None:
    source = files()
    read: Callable[[], rules.Rules] = lambda: rules.read(source)  # noqa: E731
    found = read()
    count = len(found.redirects)
    tree = files_below([("public/index.html", 0o100644, "a" * 40, 1)])
    site = Site("a", "b", "c" * 40, 1.0, PagesFile(), tree, rules=found)
    print(f"{count:,} rules")
    print(f"reading                {1e3 * cpu(read):8.1f} ms of CPU")
    print(f"memory                 {memory(read) / count:8.1f} bytes a rule, {found.nbytes / count:.1f} as accounted")
    print(f"the report             {1e3 * cpu(lambda: report.findings(site), 2):8.1f} ms of CPU")
    for name, table, path, query in [
        ("a rule for one path", found.redirects, "/old/part-3/article-4003.html", None),
        ("the last of the others", found.redirects, f"/d{MOST_DYNAMIC - 1}/2020/slug/a/b", None),
        ("none", found.redirects, "/nothing/here/at/all", None),
        ("rules made to hurt", hurting(), "/" + "a/" * 40 + "b", "k=1"),
        ("the same, and met", hurting(), "/" + "a/" * 40 + "z", "k=1"),
    ]:
        median, worst = match(table, path, query)
        print(f"match: {name:<24}{median:8.2f} µs, at worst {worst:.1f}")
    print(f"hits with rules/without{asyncio.run(hits()):8.3f}")


if __name__ == "__main__":
    main()
