# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A site: one commit of a repository, and what a path means in it. Pure.

The files below `public/` and the `.pages` file are all there is to know, so what a path means (a file, a redirect, a
listing, nothing) needs no call to anybody: a missing file costs Forgejo nothing. Links are followed by name here, each
step inside `public/`; a link that leads out, in circles or nowhere is a missing file.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from addon.sites import rules as rule_files
from addon.sites.findings import Finding
from addon.sites.pages_file import PagesFile
from addon.sites.rules import NO_RULES, Rules
from addon.sites.tree import MODE_LINK, Entry, Tree

PUBLIC = "public/"
"""Where a site lies in its repository, unless its `.pages` says otherwise."""
INDEX = "index.html"
NOT_FOUND_PAGE = "404.html"
_NO_FILES = frozenset({0o040000, 0o160000})
_NEVER_CONTENT = frozenset({".pages", ".domains", ".redirects", ".forgejo", ".gitea"})
"""What a site that is a whole repository does not show at its root, nor anything that begins with `.git`."""
_MOST_FOLDERS = 32
"""How deep a page for what is missing is looked for."""
MAX_LINK_DEPTH = 16
MAX_LINK_TARGET = 4096
"""Longest link target followed, in bytes: Linux's PATH_MAX."""


class File(NamedTuple):
    """The path is this file. `path` is where it really lies below `public/`, links followed."""

    path: str
    entry: Entry


class ToFolder(NamedTuple):
    """The path is a folder that was asked for without its slash."""


class Listing(NamedTuple):
    """The path is a folder without an index, and the site shows listings."""

    path: str
    rows: tuple[tuple[str, Entry | None], ...]


class Missing(NamedTuple):
    """Nothing is there."""


Outcome = File | ToFolder | Listing | Missing


@dataclass(frozen=True, slots=True)
class Site:
    """A commit's files and rules.

    owner, name: as Forgejo writes them. commit: its id. modified: seconds since 1970 for Last-Modified, never earlier
    than that of the commit this one replaced. links: path below the root → target text. prefix: what stands before the
    site's paths in the repository; None where the site is on another branch, and has no files here. rules: of its rule
    files. notes: what its owner should know besides.
    """

    owner: str
    name: str
    commit: str
    modified: float
    pages_file: PagesFile
    tree: Tree
    links: Mapping[str, str] = field(default_factory=dict)
    prefix: str | None = PUBLIC
    rules: Rules = NO_RULES
    notes: tuple[Finding, ...] = ()

    @property
    def nbytes(self) -> int:
        """What the site takes in memory, in bytes."""
        texts = sum(sys.getsizeof(path) + sys.getsizeof(target) + 110 for path, target in self.links.items())
        notes = sum(sys.getsizeof(note.reason) + 200 for note in self.notes)
        return self.tree.nbytes + self.pages_file.nbytes + texts + self.rules.nbytes + notes + 2000

    def outcome(self, segments: tuple[str, ...], slash: bool) -> Outcome:
        """What clean path segments mean here; slash tells whether a slash came after them."""
        path = "/".join(segments)
        if slash or not segments:
            return self._folder(path)
        found = self._file(path)
        if found is not None:
            return found
        folder = self._resolve(path)
        if folder is not None and self.tree.has_folder(folder):
            if self._index(folder) is not None:
                return ToFolder()
            page = self._file(f"{path}.html")
            if page is not None:
                return page
            return ToFolder() if self.pages_file.directory_index else Missing()
        return self._file(f"{path}.html") or Missing()

    def not_found_page(self) -> File | None:
        """The site's own page for missing paths."""
        return self._file(NOT_FOUND_PAGE)

    def error_page(self, status: int, segments: tuple[str, ...]) -> File | None:
        """The site's own page for an error at a path: the nearest one, from the path's folder upwards."""
        name = f"{status}.html"
        for depth in range(min(len(segments), _MOST_FOLDERS), 0, -1):
            page = self._file("/".join((*segments[:depth], name)))
            if page is not None:
                return page
        return self._file(name)

    def page(self, name: str) -> File | None:
        """A file at the site's root by name."""
        return self._file(name)

    def sibling(self, file: File, ending: str) -> File | None:
        """A ready-made encoded form that lies beside a file (`app.js` → `app.js.br`)."""
        return self._file(file.path + ending)

    def _folder(self, path: str) -> Outcome:
        folder = self._resolve(path)
        if folder is None or not self.tree.has_folder(folder):
            return Missing()
        index = self._index(folder)
        if index is not None:
            return index
        if not self.pages_file.directory_index:
            return Missing()
        rows = []
        for name, entry in self.tree.listing(folder):
            if entry is not None and entry.mode == MODE_LINK:
                target = self._resolve(f"{folder}/{name}" if folder else name)
                if target is None:
                    continue
                entry = self.tree.find(target)
                if entry is None and not self.tree.has_folder(target):
                    continue
            rows.append((name, entry))
        return Listing(path, tuple(rows))

    def _index(self, folder: str) -> File | None:
        return self._file(f"{folder}/{INDEX}" if folder else INDEX)

    def _file(self, path: str) -> File | None:
        entry = self.tree.find(path)
        if entry is not None and entry.mode != MODE_LINK:
            return File(path, entry)
        if not self.links:
            return None
        real = self._resolve(path)
        entry = None if real is None else self.tree.find(real)
        return None if real is None or entry is None or entry.mode == MODE_LINK else File(real, entry)

    def _resolve(self, path: str) -> str | None:
        """The path with every link on it followed; None when that leads out of `public/`, too deep or nowhere.

        As a kernel does it: what stands before another part has to be a folder. That also ends the walk where the tree
        ends, so that a long path costs no more than a short one.
        """
        if not self.links:
            return None if self.tree.is_link(path) else path
        todo = path.split("/")[::-1] if path else []
        done: list[str] = []
        depth = 0
        while todo:
            part = todo.pop()
            if part == "..":
                if not done:
                    return None
                done.pop()
                continue
            if part in ("", "."):
                continue
            done.append(part)
            here = "/".join(done)
            if not self.tree.is_link(here):
                if todo and not self.tree.has_folder(here):
                    return None
                continue
            depth += 1
            target = self.links.get(here, "/")  # a link whose target was not read leads nowhere
            if depth > MAX_LINK_DEPTH or target.startswith("/") or not target or "\0" in target:
                return None
            done.pop()
            todo.extend(target.split("/")[::-1])
            if len(todo) > MAX_LINK_TARGET:
                return None
        return "/".join(done)


def is_content(path: str, prefix: str) -> bool:
    """Whether a path of the repository is served, where the site lies below prefix: what governs it never is."""
    if not path.startswith(prefix):
        return False
    first, slash, _ = path[len(prefix) :].partition("/")
    if not slash and first in rule_files.IN_ROOT:
        return False
    return bool(prefix) or not (first.startswith(".git") or first in _NEVER_CONTENT)


def files_below(entries: Iterable[tuple[str, int, str, int]], prefix: str = PUBLIC) -> Tree:
    """The files and links of a site out of a commit's (path, mode, blob id, size) rows, as paths below its root.

    Folders and submodules are left out. Raises ValueError as Tree does.
    """
    return Tree(
        (path[len(prefix) :], mode, oid, size)
        for path, mode, oid, size in entries
        if mode not in _NO_FILES and path != prefix and is_content(path, prefix)
    )
