# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a tree costs against a dict of tuples, in one run: memory, building, look-ups.

Run: python -m tests.benchmarks.tree [FILES]. Prints bytes a file (tracemalloc), the CPU time of building from rows in
git's order and shuffled (best of five), and nanoseconds a look-up of paths that exist and that do not.
"""

import gc
import random
import sys
import time
import tracemalloc
from collections.abc import Callable

from addon.sites.tree import Entry, Tree

Row = tuple[str, int, str, int]


def rows(count: int) -> list[Row]:
    """Files as a site generator lays them out, ids without a pattern, in git's order."""
    chance = random.Random(1)
    paths = (f"docs/chapter-{number // 100:03}/page-{number:06}/index.html" for number in range(count))
    return [(path, 0o100644, chance.randbytes(20).hex(), chance.randrange(100_000)) for path in paths]


def as_dict(files: list[Row]) -> dict[str, tuple[str, int, int]]:
    """The rival: path → (id, size, mode), its texts its own as those of a parsed JSON are."""
    return {path[:1] + path[1:]: (oid[:1] + oid[1:], size + 0, mode + 0) for path, mode, oid, size in files}


def memory(build: Callable[[], object]) -> int:
    """Bytes that what `build` returns goes on holding."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    built = build()
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    del built
    return taken


def cpu(work: Callable[[], object], times: int = 5) -> float:
    """Seconds of CPU, the best of some runs."""
    best = float("inf")
    for _ in range(times):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def main(count: int) -> None:
    files = rows(count)
    mixed = files[:]
    random.Random(2).shuffle(mixed)
    tree, rival = Tree(files), as_dict(files)
    paths = [row[0] for row in mixed[:10_000]]
    each = 1e9 / len(paths)
    absent = [f"{path}.map" for path in paths]
    folder = f"docs/chapter-{count // 200:03}"

    def rival_listing() -> object:
        return {path[len(folder) + 1 :].partition("/")[0] for path in rival if path.startswith(f"{folder}/")}

    print(f"{count} files{'':<22}{'Tree':>12}{'dict':>12}")
    table: list[tuple[str, float, float]] = [
        ("bytes a file", memory(lambda: Tree(files)) / count, memory(lambda: as_dict(files)) / count),
        ("bytes a file, as accounted", tree.nbytes / count, float("nan")),
        ("building, ms of CPU", 1e3 * cpu(lambda: Tree(files)), 1e3 * cpu(lambda: as_dict(files))),
        ("building from any order, ms", 1e3 * cpu(lambda: Tree(mixed)), 1e3 * cpu(lambda: as_dict(mixed))),
        ("look-up, ns", each * cpu(lambda: list(map(tree.find, paths))),
         each * cpu(lambda: list(map(rival.get, paths)))),
        ("look-up of nothing, ns", each * cpu(lambda: list(map(tree.find, absent))),
         each * cpu(lambda: list(map(rival.get, absent)))),
        ("listing of one folder, µs", 1e6 * cpu(lambda: list(tree.listing(folder))), 1e6 * cpu(rival_listing)),
    ]  # fmt: skip
    for what, ours, theirs in table:
        print(f"{what:<34}{ours:>12.1f}{theirs:>12.1f}".replace("nan", "  –"))
    assert all(tree.find(path) == Entry(*rival[path]) for path in paths)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
