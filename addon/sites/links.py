# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Symbolic links of a site: followed once, when the site is loaded, so that a request only looks up. Pure.

Links are followed by name, as a kernel does it, each step inside the site; one that leads out, in circles, too deep or
nowhere is a missing file. All links of a site share one budget of steps, because the text of one (4 KiB of `d/../`)
costs a thousand. The surprise: in git nothing lies below a link, so of all links at most one stands on any path, and a
single binary search finds it.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from addon.sites.tree import MODE_LINK, Entry, Tree

MAX_DEPTH = 16
"""Links that one path may lead through."""
MOST_STEPS = 50_000
"""Steps for the links of one site: about half a second on a thread."""
_STEP_BYTES = 256
"""Bytes of a path that cost as much as a further step."""


class Way(NamedTuple):
    """Where a link leads: the path there, which has no link on it; its file, or None for a folder; through how many."""

    real: str
    entry: Entry | None
    depth: int


class _TooDeep(Exception):
    """More links than a path may lead through, or a circle."""


class _Spent(Exception):
    """The budget is."""


class Links:
    """The links of one tree. targets: path → text, as far as they were read; `left`: how many were not followed."""

    __slots__ = ("_keys", "_most", "_ways", "left", "steps", "targets")

    def __init__(self, tree: Tree, targets: Mapping[str, str], most: int = MOST_STEPS) -> None:
        """Follow them all; takes up to half a second. most: steps."""
        self.targets = dict(targets)
        self.steps = self.left = 0
        self._most = most
        self._ways: dict[str, Way | None] = {}
        for link in sorted(self.targets):
            try:
                if self.steps > most:
                    raise _Spent
                self._follow(tree, link, set())
            except _TooDeep:
                self._ways[link] = None
            except _Spent:
                self._ways[link] = None
                self.left += 1
        self._keys = sorted(map(_key, self._ways))

    def __len__(self) -> int:
        return len(self.targets)

    def way(self, link: str) -> Way | None:
        """Where exactly this link leads."""
        return self._ways.get(link)

    def resolved(self, path: str) -> str | None:
        """A path with every link on it followed; None where one of them leads nowhere, or there are too many."""
        depth = 0
        while (link := self._on(path)) is not None:
            way = self._ways[link]
            if way is None:
                return None
            depth += way.depth
            if depth > MAX_DEPTH:
                return None
            rest = path[len(link) :]
            path = way.real + rest if way.real else rest[1:]
        return path

    @property
    def nbytes(self) -> int:
        """What they take in memory, in bytes."""
        texts = sum(2 * sys.getsizeof(path) + sys.getsizeof(target) + 220 for path, target in self.targets.items())
        return texts + sum(sys.getsizeof(way.real) + 250 for way in self._ways.values() if way is not None)

    def _on(self, path: str) -> str | None:
        """The link that a path is, or leads through."""
        key = _key(path)
        index = bisect_right(self._keys, key) - 1
        if index < 0:
            return None
        found = self._keys[index]
        if key == found or key.startswith(found + "\0"):
            return path[: len(found)]
        return None

    def _follow(self, tree: Tree, link: str, following: set[str]) -> Way | None:
        if link in self._ways:
            return self._ways[link]
        if link in following or len(following) >= MAX_DEPTH:
            raise _TooDeep
        following.add(link)
        way = self._ways[link] = self._walk(tree, link, following)
        following.discard(link)
        return way

    def _walk(self, tree: Tree, link: str, following: set[str]) -> Way | None:
        """Where one link leads. What stands before another part has to be a folder."""
        target = self.targets[link]
        if not target or target.startswith("/") or "\0" in target:
            return None
        here, depth = link.rpartition("/")[0], 1
        todo = target.split("/")[::-1]
        while todo:
            part = todo.pop()
            self.steps += 1 + len(here) // _STEP_BYTES
            if self.steps > self._most:
                raise _Spent
            if part == "..":
                if not here:
                    return None
                here = here.rpartition("/")[0]
            elif part not in ("", "."):
                here = f"{here}/{part}" if here else part
                if here in self.targets:
                    way = self._follow(tree, here, following)
                    if way is None:
                        return None
                    here, depth = way.real, depth + way.depth
                    if depth > MAX_DEPTH:
                        raise _TooDeep
                elif tree.is_link(here):  # one whose text was not read
                    return None
                if todo and not tree.has_folder(here):
                    return None
        entry = tree.find(here)
        if (entry is None and not tree.has_folder(here)) or (entry is not None and entry.mode == MODE_LINK):
            return None
        return Way(here, entry, depth)

    def __iter__(self) -> Iterator[str]:
        return iter(self.targets)


def _key(path: str) -> str:
    """A path in an order in which what lies below it comes next."""
    return path.replace("/", "\0")
