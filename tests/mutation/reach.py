# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which tests run which lines of the rooms, and how long they take: recorded once, so that for a broken line the tests
are run that reach it, the quick ones and those of its own wing first.

Python's own monitoring tells (3.12 and later): a line costs once in a test, however often it runs, which changes no
test's pace. What runs in a process of its own is not seen, so nor is a mitmdump of the tests in `integration/`.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import json
import sys
import time
import types
from collections import defaultdict
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.mutation.forks import ALL_PASSED, Copy, Say
from tests.mutation.mutants import ROOMS, Mutant, holders

TOOL: Final = 3
"""One of the numbers that Python has for such tools."""


@dataclass(frozen=True)
class Test:
    """One test that passed."""

    name: str
    seconds: float
    called: dict[str, int]
    """The lines that it ran, as bits, by file."""
    set_up: dict[str, int]
    """Those that ran before it; the next tests of its file may stand on what they made."""

    @property
    def file(self) -> str:
        return self.name.split("::")[0]


class Recorder:
    """A plugin of pytest: says of each test which lines ran in it and before it."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._begin = str(Path.cwd()) + "/"
        self._lines: dict[str, int] = defaultdict(int)
        self._modules = 0
        self._seen: set[types.CodeType] = set()
        self._passed = True
        self._seen_enough: object = None
        if sys.version_info >= (3, 12):
            self._seen_enough = sys.monitoring.DISABLE
            sys.monitoring.use_tool_id(TOOL, "mutation")
            sys.monitoring.register_callback(TOOL, sys.monitoring.events.LINE, self._line)

    def _line(self, code: types.CodeType, line: int) -> Any:
        self._lines[code.co_filename] |= 1 << line
        return self._seen_enough

    def _begun(self) -> dict[str, int]:
        """What ran until now; all is asked anew."""
        ran = {name.removeprefix(self._begin): lines for name, lines in self._lines.items()}
        self._lines.clear()
        if sys.version_info >= (3, 12):
            if len(sys.modules) != self._modules:
                self._modules = len(sys.modules)
                gc.unfreeze()  # what `tests/conftest.py` has put aside is not listed
                functions = [found for found in gc.get_objects() if isinstance(found, types.FunctionType)]
                self._watch(function.__code__ for function in functions)
            sys.monitoring.restart_events()
        return ran

    def _watch(self, codes: Iterable[types.CodeType]) -> None:
        for code in codes:
            if code not in self._seen and code.co_filename.removeprefix(self._begin).startswith(ROOMS):
                self._seen.add(code)
                if sys.version_info >= (3, 12):
                    sys.monitoring.set_local_events(TOOL, code, sys.monitoring.events.LINE)
                self._watch(inner for inner in code.co_consts if isinstance(inner, types.CodeType))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._begun()
        self._passed = True
        self._set_up: dict[str, int] = {}
        began = time.perf_counter()
        done = yield
        if self._passed:
            self._say("ran", [item.nodeid, round(time.perf_counter() - began, 4), self._begun(), self._set_up])
        return done

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        done = yield
        self._set_up = self._begun()
        return done

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "passed":
            self._passed = False


class Reach:
    """What is recorded, in a folder: one file for each file of tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.tests: list[Test] = []
        self._read: dict[str, list[Test]] = {}
        self.refresh()

    def refresh(self, copy: Copy | None = None) -> None:
        """Reads what has been recorded since; of files that the copy has not, nothing."""
        paths = {path.name: path for path in sorted(self._folder.glob("*.json"))}
        if paths.keys() == self._read.keys() and copy is None:
            return
        self._read = {name: self._read.get(name) or _tests(path) for name, path in paths.items()}
        there = {file for tests in self._read.values() for file in {test.file for test in tests}}
        if copy is not None:
            there = {file for file in there if (copy.root / file).exists()}
        self.tests = [test for tests in self._read.values() for test in tests if test.file in there]

    def is_recorded(self, copy: Copy, file: str) -> bool:
        return self._place(copy, file).exists()

    def _place(self, copy: Copy, file: str) -> Path:
        content = hashlib.sha1((copy.root / file).read_bytes()).hexdigest()[:8]
        return self._folder / f"{file.replace('/', '+')}-{content}.json"

    def record(self, copy: Copy, file: str) -> tuple[str, int]:
        """Runs a file of tests; how that went, and how many passed."""
        verdict, said = copy.run([file], None, {}, Recorder)
        ran = [what for kind, what in said if kind == "ran"]
        for old in self._folder.glob(f"{file.replace('/', '+')}-*.json"):
            old.unlink()
        text = json.dumps(
            [
                [name, seconds, *({path: f"{lines:x}" for path, lines in ran.items()} for ran in both)]
                for name, seconds, *both in ran
            ]
        )
        if verdict in (ALL_PASSED, "failed"):
            unfinished = self._place(copy, file).with_suffix(".new")
            unfinished.write_text(text)
            unfinished.rename(self._place(copy, file))
        return verdict, len(ran)

    def chosen(self, mutant: Mutant, source: str, seconds: float) -> tuple[list[list[Test]], int]:
        """Tests that a mutant should fail, in two runs, the first a short one; and how many are left out for time.

        First those that run the line, then those of a file in which it runs to set something up.
        """
        wanted = _lines(source, mutant.line)
        path = mutant.path
        reaching = [test for test in self.tests if (test.called.get(path, 0) | test.set_up.get(path, 0)) & wanted]
        files = {test.file for test in reaching if test.set_up.get(path, 0) & wanted}
        known = {test.name for test in reaching}
        beside = [test for test in self.tests if test.file in files and test.name not in known]

        own = "tests/" + mutant.room + "/"
        stem = Path(path).stem
        if not reaching:  # it runs when the module is imported, or in the child of a fork, and neither is seen
            beside = [
                test
                for test in self.tests
                if path in test.called or path in test.set_up or (stem in test.file and test.file.startswith(own))
            ]

        def order(test: Test) -> tuple[bool, bool, float]:
            return (stem not in test.file, not test.file.startswith(own), test.seconds)

        quick = sorted((test for test in reaching if test.seconds < 1), key=order)
        first: list[Test] = []
        for test in quick:
            if len(first) < 60 and sum(each.seconds for each in first) < 4 and len({each.file for each in first}) < 5:
                first.append(test)
        taken = {test.name for test in first}
        rest: list[Test] = []
        left_out, spent = 0, 0.0
        for test in [*sorted(reaching, key=lambda test: (order(test)[1], test.seconds)), *sorted(beside, key=order)]:
            if test.name in taken:
                continue
            if spent + test.seconds > seconds:
                left_out += 1
            else:
                spent += test.seconds
                rest.append(test)
        return [_by_file(first), _by_file(rest)], left_out


def _tests(path: Path) -> list[Test]:
    found: list[Test] = []
    for name, seconds, *both in json.loads(path.read_text()):
        called, set_up = ({file: int(lines, 16) for file, lines in ran.items()} for ran in both)
        found.append(Test(name, seconds, called, set_up))
    return found


def _by_file(tests: list[Test]) -> list[Test]:
    """File by file, so that what a file sets up is made once; the quickest file first."""
    files: dict[str, list[Test]] = defaultdict(list)
    for test in tests:
        files[test.file].append(test)
    return [test for there in sorted(files.values(), key=lambda all_: sum(t.seconds for t in all_)) for test in there]


def _lines(source: str, line: int) -> int:
    """The lines whose tests are those of `line`, as bits: its statement's; where that runs when the module is imported,
    those of the function whose head it is, of the class that it is in, or of the whole module."""
    tree = ast.parse(source)
    around = holders(tree, line)
    functions = [node for node in around if not isinstance(node, ast.ClassDef)]
    if functions:
        function = functions[-1]
        if line < function.body[0].lineno:
            return _bits(function.body[0].lineno, function.end_lineno)
        statements = [
            node
            for node in ast.walk(function)
            if isinstance(node, ast.stmt) and node is not function and node.lineno <= line <= (node.end_lineno or 0)
        ]
        innermost = max(statements, key=lambda node: node.lineno, default=function.body[0])
        body = getattr(innermost, "body", None)
        end = max(line, body[0].lineno - 1) if isinstance(body, list) and body else innermost.end_lineno
        return _bits(innermost.lineno, end)
    # Of a class without methods no line runs later: who uses the module uses it.
    if around and any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(around[0])):
        return _bits(around[0].lineno, around[0].end_lineno)
    return _bits(1, len(source.splitlines()))


def _bits(first: int, last: int | None) -> int:
    end = first if last is None else last
    return (1 << (end + 1)) - (1 << first)
