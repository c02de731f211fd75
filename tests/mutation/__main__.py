# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Breaks the core rooms one place at a time, and says which of that no test notices.

    python -m tests.mutation record              # which tests run which lines; once, and after tests were added
    python -m tests.mutation run --seed 7        # a sample of 400; goes on where it was stopped
    python -m tests.mutation again --seed 7      # those that nobody noticed, with the tests of now
    python -m tests.mutation table --seed 7

The tests run in copies of the tree, in `.mutation/`, where the results are kept as well. Two runs share a sample with
`--shard 0/2` and `--shard 1/2`. cosmic-ray comes with the extra `mutation`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.mutation.forks import ALL_PASSED, HANGS, Copy
from tests.mutation.mutants import DROP, ROOMS, Mutant, definition, difference, key, mutants_of, sample, sources
from tests.mutation.reach import Reach, Test

CHECKOUT = Path(__file__).resolve().parents[2]
TESTS = ("tests/addon", "tests/resp")

Result = dict[str, Any]


def judged(copy: Copy, reach: Reach, mutant: Mutant, source: str, changed: str, options: argparse.Namespace) -> Result:
    """How the tests take a mutant: those that were named, then those that reach it."""
    reach.refresh(copy)
    runs, left_out = reach.chosen(mutant, source, options.seconds)
    if not options.seconds:
        runs = []
    elif options.beyond:
        before = {test.name for tests in reach.chosen(mutant, source, options.beyond)[0] for test in tests}
        runs = [[test for test in tests if test.name not in before] for tests in runs]
    began = time.monotonic()
    ran, verdict, by = 0, ALL_PASSED, ""
    copy.write(mutant.path, changed)
    try:
        if options.tests:
            verdict, said = copy.run(options.tests, None, {})
            by = next((what for kind, what in said if kind == "failed"), verdict)
        for tests in runs:
            while tests and verdict == ALL_PASSED:
                verdict, begun, failed = _verdict(copy, tests)
                ran += len(begun)
                by = next(iter(failed or begun[-1:]), "") or copy.log.strip().splitlines()[-1][:200]
                rest = tests[[test.name for test in tests].index(begun[-1]) + 1 :] if begun else []
                # What hangs on a busy machine may be only slow: it is tried once more, alone and for longer.
                if verdict == HANGS and begun:
                    verdict, *_ = _verdict(copy, [test for test in tests if test.name == begun[-1]], patience=3)
                tests = rest
    finally:
        copy.write(mutant.path, source)
    removed, added = difference(source, changed)
    return {
        "key": key(mutant, source, changed),
        **asdict(mutant),
        "in": definition(source, mutant.line),
        "before": removed,
        "after": added,
        "verdict": "no test" if not (any(runs) or options.tests) else verdict,
        "by": by if verdict != ALL_PASSED else "",
        "tests": ran,
        "left out": left_out,
        "seconds": round(time.monotonic() - began, 1),
    }


def _verdict(copy: Copy, tests: list[Test], patience: float = 1) -> tuple[str, list[str], list[str]]:
    """How tests go, which were begun, and which failed."""
    limits = {test.name: patience * (20 + 8 * test.seconds) for test in tests}
    files = list(dict.fromkeys(test.file for test in tests))
    verdict, said = copy.run(files, [test.name for test in tests], limits)
    return (
        verdict,
        [what for kind, what in said if kind == "begun"],
        [what for kind, what in said if kind == "failed"],
    )


def record(options: argparse.Namespace, reach: Reach, copy: Copy) -> None:
    names = options.tests or TESTS
    files = list(
        dict.fromkeys(
            str(path.relative_to(copy.root))
            for name in names
            for path in ([copy.root / name] if name.endswith(".py") else sorted((copy.root / name).rglob("test_*.py")))
        )
    )
    part, of = map(int, options.shard.split("/"))
    for file in files[part::of]:
        if not reach.is_recorded(copy, file):
            began = time.monotonic()
            verdict, passed = reach.record(copy, file)
            print(f"{file}: {verdict}, {passed} passed, {time.monotonic() - began:.1f} s", flush=True)


def run(options: argparse.Namespace, reach: Reach, copy: Copy) -> None:
    places, mutants = _sampled(options, copy)
    print(f"seed {options.seed}: {len(mutants)} of {places} places, cosmic-ray's operators and {DROP}", flush=True)
    done = _results(options)
    part, of = map(int, options.shard.split("/"))
    mutants = [mutant for mutant in mutants[part::of] if mutant.path.startswith(tuple(options.rooms))]
    for number, mutant in enumerate(mutants):
        source = (copy.root / mutant.path).read_text()
        changed = mutant.applied(source)
        assert changed is not None
        if key(mutant, source, changed) not in done:
            result = judged(copy, reach, mutant, source, changed, options)
            _keep(options, result)
            print(f"{number + 1}/{len(mutants)} {_line(result)}", flush=True)


def _sampled(options: argparse.Namespace, copy: Copy) -> tuple[int, list[Mutant]]:
    """The sample; kept, for to list all places takes most of a minute."""
    content = hashlib.sha1(b"".join((copy.root / path).read_bytes() for path in sources(copy.root))).hexdigest()[:8]
    kept = Path(options.folder, f"drawn-{options.seed}-{options.count}-{content}.json")
    if not kept.exists():
        places, drawn = sample(copy.root, options.seed, options.count)
        kept.write_text(json.dumps([places, [asdict(mutant) for mutant in drawn]]))
    places, found = json.loads(kept.read_text())
    return places, [Mutant(**mutant) for mutant in found]


def again(options: argparse.Namespace, reach: Reach, copy: Copy) -> None:
    """Those that nobody noticed, once more; in a file that has changed they may be at other lines, or gone."""
    left = {
        name: result
        for name, result in _results(options).items()
        if result["verdict"] in (ALL_PASSED, "no test") and result["path"].startswith(tuple(options.rooms))
    }
    part, of = map(int, options.shard.split("/"))
    for path in sorted({result["path"] for result in left.values()})[part::of]:
        here = [result for result in left.values() if result["path"] == path]
        source = (copy.root / path).read_text() if (copy.root / path).exists() else ""
        wanted = {(result["operator"], result["key"]) for result in here}
        lines, before = source.splitlines(), "\n".join(result["before"] for result in here)
        for mutant in mutants_of(copy.root, path) if source else []:
            likely = (
                mutant.operator in {operator for operator, _ in wanted} and lines[mutant.line - 1].strip() in before
            )
            changed = mutant.applied(source) if likely else None
            if changed is None or (mutant.operator, key(mutant, source, changed)) not in wanted:
                continue
            wanted.discard((mutant.operator, key(mutant, source, changed)))
            result = judged(copy, reach, mutant, source, changed, options)
            _keep(options, result)
            print(_line(result), flush=True)
        for result in here:
            if (result["operator"], result["key"]) in wanted:
                _keep(options, {**result, "verdict": "gone"})
                print(f"gone: {_line(result)}")


def table(options: argparse.Namespace) -> None:
    results = [result for result in _results(options).values() if result["verdict"] != "gone"]
    rooms: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        for row in (next(room for room in ROOMS if result["path"].startswith(room + "/")), "all"):
            rooms[row][result["verdict"]] += 1
        rooms["(statements dropped)" if result["operator"] == DROP else "(by cosmic-ray)"][result["verdict"]] += 1
    print(f"{'':24}{'mutants':>8}{'noticed':>8}{'hang':>6}{'left':>6}{'noticed %':>11}")
    for row, verdicts in sorted(rooms.items(), key=lambda row: (row[0] == "all", row[0])):
        left = verdicts[ALL_PASSED] + verdicts["no test"]
        noticed, all_ = verdicts.total() - left, verdicts.total()
        print(f"{row:24}{all_:8}{noticed:8}{verdicts['hang']:6}{left:6}{100 * noticed / all_:10.1f}")
    print()
    for result in results:
        if result["verdict"] in (ALL_PASSED, "no test"):
            print(f"{_line(result)}\n    - {result['before']}\n    + {result['after']}")


def _line(result: Result) -> str:
    more = f", {result['left out']} left out" if result["left out"] and result["verdict"] == ALL_PASSED else ""
    by = f" by {result['by']}" if result["by"] else ""
    name = result["operator"].removeprefix("core/")
    return (
        f"{result['key']} {result['path']}:{result['line']} {result['in']} {name}: {result['verdict']}{by}"
        f" ({result['tests']} tests, {result['seconds']} s{more})"
    )


def _kept(options: argparse.Namespace) -> Path:
    return Path(options.folder, f"sample-{options.seed}.jsonl")


def _results(options: argparse.Namespace) -> dict[str, Result]:
    """The last word on each mutant."""
    kept = _kept(options)
    lines = kept.read_text().splitlines() if kept.exists() else []
    return {result["key"]: result for result in map(json.loads, lines)}


def _keep(options: argparse.Namespace, result: Result) -> None:
    with _kept(options).open("a") as kept:
        kept.write(json.dumps(result) + "\n")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["record", "run", "again", "table"])
    parser.add_argument("tests", nargs="*", help="record: these files or folders alone; again: tests to run first")
    parser.add_argument("--seed", type=int, default=1, help="which sample (default: 1)")
    parser.add_argument("--count", type=int, default=400, help="how many mutants (default: 400)")
    parser.add_argument("--shard", default="0/1", help="which part of the sample, counted from 0 (default: 0/1)")
    parser.add_argument("--rooms", nargs="+", default=list(ROOMS), help="run, again: those in these rooms alone")
    parser.add_argument(
        "--seconds",
        type=float,
        default=40,
        help="how long the tests of a mutant may take that nobody notices; 0: those that were named alone",
    )
    parser.add_argument("--beyond", type=float, default=0, help="again: not those that so many seconds had room for")
    parser.add_argument("--folder", default=".mutation", help="where copies and results are kept (default: .mutation)")
    parser.add_argument("--copy", help="the name of the copy (default: by what is done, and the shard)")
    options = parser.parse_args(arguments)
    if not hasattr(sys, "monitoring"):
        parser.error("needs Python 3.12 or newer")
    folder = Path(options.folder)
    if options.what == "table":
        table(options)
        return 0
    reach = Reach(folder / "reach")
    copy = Copy(CHECKOUT, folder / (options.copy or f"{options.what}-{options.shard.replace('/', 'of')}"))
    {"record": record, "run": run, "again": again}[options.what](options, reach, copy)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
