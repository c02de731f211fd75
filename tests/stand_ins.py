# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Do tests notice a server that is none? A part of ours is replaced by one that does nothing, and tests that used it
and pass all the same are named: each of them either asserts too little, or is about what does not depend on that part.

    python -m tests.stand_ins 500 tests/addon/serving tests/addon/domains

runs those tests with every answer a 500, and so on (`STAND_INS`). Only what runs in the process of the tests is
replaced; what a test starts as a process of its own is not. What is named wants a look: that a right password opens a
site may be so without a limit of guesses, but no test of the limit may.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import Any, Final

import pytest

from addon.access.guess_limits import Admission, GuessesInMemory
from addon.domains.registry import Registry
from addon.library.memory import Memory
from addon.serving.server import Answer, PagesServer
from addon.shared.guess_counts import GuessesShared


async def _answered(self: Any, *args: Any, **options: Any) -> Any:
    return Answer(500, [(b"Content-Length", b"0")], b"")


async def _silent(self: Any, *args: Any, **options: Any) -> Any:
    return Answer(204, [], b"")


async def _admitted(self: Any, *args: Any, **options: Any) -> Any:
    return Admission(0.0, True)


async def _none_later(self: Any, *args: Any, **options: Any) -> None:
    return None


def _none(self: Any, *args: Any, **options: Any) -> None:
    return None


def _never(self: Any, *args: Any, **options: Any) -> float:
    return 0.0


STAND_INS: Final[dict[str, list[tuple[type, str, Callable[..., Any]]]]] = {
    # Answers 500 to everything.
    "500": [(PagesServer, "answer_from_memory", _none), (PagesServer, "answer", _answered)],
    # Answers, but says nothing: no field, no body.
    "nothing": [(PagesServer, "answer_from_memory", _none), (PagesServer, "answer", _silent)],
    # Registers no domain and gives none up.
    "registry": [(Registry, name, _none) for name in ("notice", "pushed", "again")]
    + [(Registry, name, _none_later) for name in ("discover", "release")],
    # Holds nothing.
    "cache": [(Memory, "get", _none), (Memory, "put", _none)],
    # Lets everybody guess.
    "limiter": [(kind, "admit", _admitted) for kind in (GuessesInMemory, GuessesShared)]
    + [(kind, "waiting", _never) for kind in (GuessesInMemory, GuessesShared)],
}


class Replaced:
    """A plugin of pytest: replaces the part and watches whether a test uses it."""

    def __init__(self, name: str) -> None:
        self.used = False
        self.passed: list[str] = []
        self.failed = 0
        self._parts = STAND_INS[name]

    @pytest.fixture(autouse=True)
    def _replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def watched(stand_in: Callable[..., Any]) -> Callable[..., Any]:
            def called(*args: Any, **options: Any) -> Any:
                self.used = True
                return stand_in(*args, **options)

            return called

        for kind, attribute, stand_in in self._parts:
            monkeypatch.setattr(kind, attribute, watched(stand_in))
        self.used = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when == "call":
            if report.passed and self.used:
                self.passed.append(item.nodeid)
            self.failed += report.failed
        return report


def main(arguments: list[str]) -> int:
    if len(arguments) < 2 or arguments[0] not in STAND_INS:
        print(f"usage: python -m tests.stand_ins {'|'.join(STAND_INS)} TESTS...", file=sys.stderr)
        return 2
    name, *tests = arguments
    replaced = Replaced(name)
    options = ["-q", "--tb=no", "--reruns=0", "-p", "no:cacheprovider", "-r", "N", "--no-header"]
    pytest.main([*options, *tests], plugins=[replaced])
    print(f"\n{name}: {replaced.failed} tests failed, {len(replaced.passed)} used it and passed:")
    print("\n".join(f"  {test}" for test in replaced.passed))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
