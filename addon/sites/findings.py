# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What an owner should know of their site's files: which file, which line, what is wrong, and what to do. Pure.

A finding is for the owner, who sees the file: it may quote a path of a rule, shortened, but nothing of `.pages`, where
hashes of passwords stand. A list of them is bounded, so that a megabyte of nonsense is one page of report.
"""

from typing import NamedTuple

MOST = 200
"""Findings that are kept of one file; of the rest, the number."""
_SHOWN = 60


class Finding(NamedTuple):
    """One thing to know. line: from 1; None where the whole file is meant. lost: what is said there is not done."""

    file: str
    line: int | None
    reason: str
    remedy: str = ""
    lost: bool = True

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{place}: {self.reason}" + (f"; {self.remedy}" if self.remedy else "")


class Findings:
    """A list of findings of one file that does not grow without bound."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._kept: list[Finding] = []
        self._more = 0

    def add(self, line: int | None, reason: str, remedy: str = "", *, lost: bool = True) -> None:
        """Note something."""
        if len(self._kept) < MOST:
            self._kept.append(Finding(self.file, line, reason, remedy, lost))
        else:
            self._more += 1

    def all(self) -> tuple[Finding, ...]:
        """What was noted, in its order."""
        if not self._more:
            return tuple(self._kept)
        return (*self._kept, Finding(self.file, None, f"and {self._more} more like these"))


def quoted(text: str) -> str:
    """A piece of a file as a finding shows it: short, on one line, in printable characters."""
    safe = "".join(character if character.isprintable() else "�" for character in text[: _SHOWN + 1])
    return f"`{safe}`" if len(safe) <= _SHOWN else f"`{safe[: _SHOWN - 1]}…`"
