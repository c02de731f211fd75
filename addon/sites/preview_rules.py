# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which previews a repository has, as `previews` in its default branch's `.pages` says. Pure.

All are off until they are named: nobody should learn by a visitor that a branch was public. A pattern is a branch's
name in which `*` stands for anything, slashes too; it is looked for from left to right, so that no pattern takes longer
than its text is long. The surprise: a name that nobody knows is a warning, not an error, for what it was to open stays
closed.
"""

import difflib
from collections.abc import Iterable
from typing import NamedTuple

EXPECTED = "names below it: branches, commits, pulls, banner"
ALL = "*"
OWN, EVERYBODYS = "own", "all"
"""Whose pull requests: of who can write to the repository, or of anybody."""
DEFAULT_BANNER = "This is a preview."
_NAMES = ("branches", "commits", "pulls", "banner")
_TRUE, _FALSE = frozenset({"true", "yes", "on"}), frozenset({"false", "no", "off", ""})
_MOST_PATTERNS = 50
_LONGEST_PATTERN = 250
_LONGEST_BANNER = 200


class PreviewsError(Exception):
    """`previews` says what it cannot mean."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = f"previews: {reason}"


class Said(NamedTuple):
    """A line of `previews`: its name, and its value, or the items of a list."""

    name: str
    line: int
    values: tuple[str, ...]
    listed: bool = False


class PreviewRules(NamedTuple):
    """Which previews there are. branches: patterns; pulls: `own`, `all` or ""; banner: what a bar says, "" for none."""

    branches: tuple[str, ...] = ()
    commits: bool = False
    pulls: str = ""
    banner: str = ""

    @property
    def any(self) -> bool:
        """Whether there are previews at all."""
        return bool(self.branches or self.commits or self.pulls)

    def shows_branch(self, branch: str) -> bool:
        """Whether a branch has a preview."""
        return any(matches(pattern, branch) for pattern in self.branches)


def matches(pattern: str, branch: str) -> bool:
    """Whether a branch's name is what a pattern means."""
    first, *rest = pattern.split("*")
    if not rest:
        return branch == pattern
    last = rest.pop()
    if not branch.startswith(first):
        return False
    at = len(first)
    for part in rest:
        found = branch.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(branch) - at >= len(last) and branch.endswith(last)


def read(line: int, text: str | None, fields: Iterable[Said] | None, warnings: list[str]) -> PreviewRules:
    """What `previews` says; warnings grows. Raises PreviewsError."""
    if fields is None:
        if (text or "").strip().lower() in _FALSE:
            return PreviewRules()
        raise PreviewsError(line, f"expected {EXPECTED}")
    said: dict[str, Said] = {}
    for each in fields:
        if each.name not in _NAMES:
            near = difflib.get_close_matches(each.name[:100].lower(), _NAMES, 1, 0.8)
            hint = f"; did you mean {near[0]}?" if near else ""
            warnings.append(f"line {each.line}: unknown name in previews{hint}")
            continue
        if each.name in said:
            warnings.append(f"line {each.line}: {each.name} is given more than once; this one counts")
        said[each.name] = each
    return PreviewRules(_branches(said), _commits(said), _pulls(said), _banner(said))


def _branches(said: dict[str, Said]) -> tuple[str, ...]:
    each = said.get("branches")
    if each is None:
        return ()
    if not each.listed:
        word = _word(each)
        if word in _FALSE:
            return ()
        if word == "all" or word in _TRUE:
            return (ALL,)
    patterns = tuple(dict.fromkeys(text.strip() for text in each.values if text.strip()))
    if len(patterns) > _MOST_PATTERNS:
        raise PreviewsError(each.line, f"branches: more than {_MOST_PATTERNS} patterns")
    if any(len(pattern) > _LONGEST_PATTERN or not pattern.isprintable() for pattern in patterns):
        raise PreviewsError(each.line, "branches: expected all, or names of branches such as feature/*")
    return patterns


def _commits(said: dict[str, Said]) -> bool:
    each = said.get("commits")
    if each is None:
        return False
    if each.listed or _word(each) not in _TRUE | _FALSE:
        raise PreviewsError(each.line, "commits: expected true or false")
    return _word(each) in _TRUE


def _pulls(said: dict[str, Said]) -> str:
    each = said.get("pulls")
    if each is None or (not each.listed and _word(each) in _FALSE):
        return ""
    if each.listed or _word(each) not in (OWN, EVERYBODYS):
        raise PreviewsError(each.line, "pulls: expected own or all")
    return _word(each)


def _banner(said: dict[str, Said]) -> str:
    each = said.get("banner")
    if each is None or (not each.listed and _word(each) in _FALSE):
        return ""
    text = "" if each.listed else each.values[0].strip()
    if not text or len(text) > _LONGEST_BANNER or not text.isprintable():
        raise PreviewsError(each.line, "banner: expected true, false, or one short line of text")
    return DEFAULT_BANNER if text.lower() in _TRUE else text


def _word(each: Said) -> str:
    return each.values[0].strip().lower() if each.values else ""
