# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Runs pytest in forks of one process that has imported everything but our own code, so that a run of few tests costs
what the tests cost, and not what their imports do.

A fork runs in a copy of the tree, which the caller has broken. It says which test it begins; one that takes much longer
than it did with the whole code hangs. Whatever a run starts ends with it: this process adopts what becomes an orphan.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import pytest

OURS: Final = ("addon", "resp", "tests")
OPTIONS: Final = ("-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:randomly", "--no-header", "-r", "N")
PR_SET_CHILD_SUBREAPER: Final = 36

ALL_PASSED: Final = "passed"
HANGS: Final = "hang"
SLOW: Final = 300.0
"""Seconds."""

Say = Callable[[str, Any], None]


class Watched:
    """A plugin of pytest: runs the tests that are wanted, in that order, and says what begins and what fails."""

    def __init__(self, wanted: list[str] | None, said: int) -> None:
        self._wanted = wanted
        self._said = said

    def say(self, kind: str, what: Any) -> None:
        os.write(self._said, json.dumps([kind, what]).encode() + b"\n")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self._wanted is not None:
            there = {item.nodeid: item for item in items}
            items[:] = [there[name] for name in self._wanted if name in there]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.say("begun", item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.say("failed", report.nodeid)


class Copy:
    """A copy of the tree, to break; the tests run in it."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.root = folder.resolve() / "tree"
        self._log = folder.resolve() / "log"
        self._temporary = folder.resolve() / "t"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=checkout,
            check=True,
            capture_output=True,
            text=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            target = self.root / name
            if (checkout / name).is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(checkout / name, target)
        self._written = int(time.time())
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        os.environ["PYTHONPATH"] = str(self.root)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        self._import_what_tests_import()

    def write(self, path: str, text: str) -> None:
        """Writes a file so that bytecode of what stood there before is never taken for its own: another second."""
        self._written += 1
        (self.root / path).write_text(text)
        os.utime(self.root / path, (self._written, self._written))

    def run(
        self,
        files: Iterable[str],
        wanted: list[str] | None,
        limits: dict[str, float],
        plugin: Callable[[Say], object] | None = None,
    ) -> tuple[str, list[Any]]:
        """How the tests went ("passed", "failed", "hang", "broken" before any test, "crash"), and what they said.

        `limits` are the seconds that a test may take; `SLOW` for one that is not named, and before the first.
        """
        heard, said = os.pipe()
        child = os.fork()
        if child == 0:
            code = 70
            try:
                os.close(heard)
                code = self._tests(list(files), Watched(wanted, said), plugin)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(said)
        try:
            return self._watch(child, heard, limits)
        finally:
            os.close(heard)
            _end_children()

    def _tests(self, files: list[str], watched: Watched, plugin: Callable[[Say], object] | None) -> int:
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.setsid()
        os.chdir(self.root)
        for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
            del sys.modules[name]
        sys.path.insert(0, str(self.root))
        # Who is asked for a verdict stops at the first that fails; who watches wants all.
        options = [*OPTIONS, f"--basetemp={self._temporary}", *files]
        if plugin is None:
            return int(pytest.main([*options, "-x"], plugins=[watched]))
        return int(pytest.main(options, plugins=[watched, plugin(watched.say)]))

    def _watch(self, child: int, heard: int, limits: dict[str, float]) -> tuple[str, list[Any]]:
        lines: list[Any] = []
        rest = b""
        limit, ended = SLOW, None
        since = time.monotonic()
        # What the tests forked may have the pipe still when they have ended.
        while ended is None or select.select([heard], [], [], 0)[0]:
            if select.select([heard], [], [], 0.05)[0] and (data := os.read(heard, 1 << 20)):
                *whole, rest = (rest + data).split(b"\n")
                for line in whole:
                    lines.append(json.loads(line))
                    if lines[-1][0] == "begun":
                        limit, since = limits.get(lines[-1][1], SLOW), time.monotonic()
            elif ended is not None:
                break
            elif (status := os.waitpid(child, os.WNOHANG)) != (0, 0):
                ended = status[1]
            elif time.monotonic() - since > limit:
                return HANGS, lines
        if not os.WIFEXITED(ended):
            return "crash", lines
        return {0: ALL_PASSED, 1: "failed", 5: "none"}.get(os.WEXITSTATUS(ended), "broken"), lines

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _import_what_tests_import(self) -> None:
        """Imports here what a fork finds itself to have imported once it has all of ours."""
        program = (
            "import sys, tests.addon.conftest, tests.resp.conftest, addon.plugin, addon.preview.forge, pytest_asyncio,"
            " tests.integration.running, _hypothesis_pytestplugin, httpx; print(*sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=self.root, check=True, capture_output=True, text=True
        )
        for name in done.stdout.split():
            if name.split(".")[0] not in (*OURS, "__main__"):
                with contextlib.suppress(Exception):
                    __import__(name)


def _end_children() -> None:
    """Ends what the run has left, and what that leaves to us in turn."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while left := children.read_text().split():
        for child in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(child), 0)
