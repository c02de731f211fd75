# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A site: one commit of a repository, and what a path means in it. Pure.

The files below `public/` and the `.pages` file are all there is to know, so what a path means (a file, a redirect, a
listing, nothing) needs no call to anybody: a missing file costs Forgejo nothing. Links were followed when the site was
loaded (`links`). What an outcome costs does not depend on how large the site is, but for a listing's rows, which are
asked for apart.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from addon.sites import rules as rule_files
from addon.sites.findings import Finding
from addon.sites.links import Links
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
MAX_LINK_TARGET = 4096
"""Longest link target followed, in bytes: Linux's PATH_MAX."""


class File(NamedTuple):
    """The path is this file. `path` is where it really lies below `public/`, links followed."""

    path: str
    entry: Entry


class ToFolder(NamedTuple):
    """The path is a folder that was asked for without its slash."""


class ToFile(NamedTuple):
    """The path is a page (`page.html`) that was asked for as if it were a folder."""


class Listing(NamedTuple):
    """The path is a folder without an index, and the site shows listings. folder: where it really lies."""

    path: str
    folder: str


class Missing(NamedTuple):
    """Nothing is there."""


Outcome = File | ToFolder | ToFile | Listing | Missing


@dataclass(frozen=True, slots=True)
class Site:
    """A commit's files and rules.

    owner, name: as Forgejo writes them. commit: its id. modified: seconds since 1970 for Last-Modified, never earlier
    than that of the commit this one replaced. links: None where no link is followed. prefix: what stands before the
    site's paths in the repository; None where the site is on another branch, and has no files here. rules: of its rule
    files. notes: what its owner should know besides.
    """

    owner: str
    name: str
    commit: str
    modified: float
    pages_file: PagesFile
    tree: Tree
    links: Links | None = None
    prefix: str | None = PUBLIC
    rules: Rules = NO_RULES
    notes: tuple[Finding, ...] = ()

    @property
    def nbytes(self) -> int:
        """What the site takes in memory, in bytes."""
        links = self.links.nbytes if self.links is not None else 0
        notes = sum(sys.getsizeof(note.reason) + 200 for note in self.notes)
        return self.tree.nbytes + self.pages_file.nbytes + links + self.rules.nbytes + notes + 2000

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

    def places(self, folder: str) -> Iterator[int]:
        """Where the rows of a folder's listing stand in the tree: links that lead nowhere are left out."""
        for index in self.tree.places(folder):
            if self.row(folder, index) is not None:
                yield index

    def row(self, folder: str, index: int) -> tuple[str, Entry | None] | None:
        """A row: the name, and the file, or None for a folder; None for a link that leads nowhere."""
        name, entry = self.tree.listed(folder, index)
        if entry is not None and entry.mode == MODE_LINK:
            way = self.links.way(f"{folder}/{name}" if folder else name) if self.links is not None else None
            return None if way is None else (name, way.entry)
        return name, entry

    def rows(self, folder: str) -> list[tuple[str, Entry | None]]:
        """All that a listing of a folder shows, in the tree's order. 100 000 rows take half a second."""
        rows = (self.row(folder, index) for index in self.tree.places(folder))
        return [row for row in rows if row is not None]

    def _folder(self, path: str) -> Outcome:
        folder = self._resolve(path)
        if folder is None or not self.tree.has_folder(folder):
            return ToFile() if path and self._file(f"{path}.html") is not None else Missing()
        index = self._index(folder)
        if index is not None:
            return index
        return Listing(path, folder) if self.pages_file.directory_index else Missing()

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
        """The path with every link on it followed; None when that leads out of `public/`, too deep or nowhere."""
        real = path if self.links is None else self.links.resolved(path)
        return None if real is None or self.tree.is_link(real) else real


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
