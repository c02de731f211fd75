# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Lines of the log: text, JSON, and as the journal wants them."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from typing import Any

import pytest

from addon.process.log_format import Lines, Objects, WholeLines


def record(level: int, message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("addon.x", level, "x.py", 1, message, arguments, None)


def failed() -> logging.LogRecord:
    try:
        raise ValueError("no number")
    except ValueError:
        return logging.LogRecord("addon.x", logging.ERROR, "x.py", 1, "it failed", (), sys.exc_info())


def test_text_has_the_date_with_its_zone_the_level_and_the_process() -> None:
    line = Lines("worker 1").format(record(logging.WARNING, "%d answers", 3))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d warning worker 1: 3 answers", line)


@pytest.mark.parametrize(("level", "prefix"), [(logging.DEBUG, "<7>"), (logging.INFO, "<6>"), (logging.ERROR, "<3>")])
def test_the_journal_is_told_the_level_and_no_date(level: int, prefix: str) -> None:
    assert Lines("pages", journal=True).format(record(level, "hello")) == f"{prefix}pages: hello"


def test_each_line_of_a_traceback_has_the_level_in_the_journal() -> None:
    lines = Lines("pages", journal=True).format(failed()).splitlines()
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)


def test_json_is_one_line_whatever_happens() -> None:
    text = Objects("worker 0").format(failed())
    assert "\n" not in text
    told = json.loads(text)
    assert (told["level"], told["process"], told["message"]) == ("error", "worker 0", "it failed")
    assert "ValueError: no number" in told["exception"]
    assert re.search(r"[+-]\d\d:\d\d$", told["time"])


class Counted(io.RawIOBase):
    """What is written by each system call."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.calls.append(bytes(data))
        return len(data)


def test_a_line_is_written_by_one_system_call_however_it_is_printed() -> None:
    raw = Counted()
    stream = io.TextIOWrapper(raw, write_through=True)  # type: ignore[type-var]  # as with PYTHONUNBUFFERED
    print("torn", file=stream)
    assert raw.calls == [b"torn", b"\n"]
    raw.calls.clear()
    lines: Any = WholeLines(stream)
    print("one", end="", file=lines)
    assert raw.calls == []
    print("", "of two words", file=lines)
    print("two\nthree\nfo", end="", file=lines)
    print("ur", file=lines, flush=True)
    assert raw.calls == [b"one of two words\n", b"two\nthree\n", b"four\n"]
