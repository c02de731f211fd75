# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A folder as a repository: the files as they are now are a commit of the current branch, made anew when they change.

`refresh` looks at every file's size and times and hashes what changed; blobs are read from the files themselves, and
small ones are remembered so that a commit stays whole for a moment while a generator writes the next. Objects and
other branches of a `.git` are read from there. Links are never followed, so nothing outside the folder is served.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from addon.preview.objects import CHUNK, Entry, Header, ObjectMissing, object_id
from addon.preview.repository import SUBMODULE, SYMLINK, TREE, GitDirectory, Repository

log = logging.getLogger(__name__)
FILE, EXECUTABLE = 0o100644, 0o100755
BRANCH = "main"
DETACHED = "detached-head"
VIRTUAL_SETTINGS = b"enabled: true\n"
# What tools leave beside a site, often tens of thousands of files; inside public/ everything is content.
NOT_CONTENT = frozenset({b"node_modules", b".venv", b"venv", b".tox", b"__pycache__", b".cache"})
REMEMBERED_BYTES = 64 * 1024 * 1024
REMEMBERED_BLOB = 256 * 1024
DEEPEST = 200
READ_AGAIN = 3
# A file changed twice within one tick of its file system's clock looks the same: too young a file is hashed again.
_TICK_NS = 50_000_000
_COARSE_TICK_NS = 2_000_000_000
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_ODD = re.compile(rb"[\x00-\x1f\x7f\\]")

Signature = tuple[int, int, int, int]


class _Known(NamedTuple):
    signature: Signature
    id: str
    looked_at: int  # nanoseconds


class WorkTree:
    """A `Source` over the files of a folder, which may be the work tree of a git repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.warnings: list[str] = []
        self._git = self._opened()
        self.object_format = self._git.object_format if self._git else "sha1"
        self.lfs_dir: Path | None = self._git.lfs_dir if self._git else None
        self._root = os.fsencode(self.folder)
        self._known: dict[bytes, _Known] = {}
        self._seen: dict[bytes, _Known] = {}
        self._files: dict[str, bytes] = {}
        self._objects: dict[str, tuple[str, bytes]] = {}
        self._remembered: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._remembered_bytes = 0
        self._commit = ""
        self._tree = ""
        self._parent: str | None = None
        self._branch = BRANCH
        self._dated = 0
        self._newest = 0
        self._submodules: dict[bytes, str] = {}
        self.refresh()

    def _opened(self) -> GitDirectory | None:
        if not (self.folder / ".git").exists():
            return None
        try:
            return GitDirectory(self.folder)
        except Exception as error:  # whatever a broken .git makes of the library; the files are there all the same
            self.warnings.append(f"only the files are shown, without history and other branches: {error}")
            log.warning("preview: %s", self.warnings[-1])
            return None

    # -- what a Source offers ---------------------------------------------------------------------------------------

    def header(self, oid: str) -> Header:
        kept = self._objects.get(oid) or self._remembered.get(oid)
        if kept is not None:
            return Header(kept[0], len(kept[1]))
        path = self._files.get(oid)
        if path is not None:
            return Header("blob", self._known[path].signature[1])
        if self._git is None:
            raise ObjectMissing(oid)
        return self._git.header(oid)

    def read(self, oid: str) -> tuple[str, bytes]:
        kept = self._objects.get(oid) or self._remembered.get(oid)
        if kept is not None:
            return kept
        if oid not in self._files and self._git is not None:
            return self._git.read(oid)
        data = b"".join(self.chunks(oid))
        if object_id("blob", data, self.object_format) != oid:
            raise ObjectMissing(oid)  # written to within one tick of the clock
        return "blob", data

    def chunks(self, oid: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        kept = self._objects.get(oid) or self._remembered.get(oid)
        if kept is not None:
            stop = len(kept[1]) if stop is None else stop
            for at in range(start, stop, CHUNK):
                yield kept[1][at : min(at + CHUNK, stop)]
            return
        path = self._files.get(oid)
        if path is None:
            if self._git is None:
                raise ObjectMissing(oid)
            yield from self._git.chunks(oid, start, stop)
            return
        known = self._known[path]
        stop = known.signature[1] if stop is None else min(stop, known.signature[1])
        parent = os.path.dirname(os.path.join(self._root, path))
        if os.path.realpath(parent) != parent:
            raise ObjectMissing(oid)
        with self._open(path) as file:
            if _signature(os.fstat(file.fileno())) != known.signature:
                raise ObjectMissing(oid)
            file.seek(start)
            while start < stop:
                piece = file.read(min(CHUNK, stop - start))
                start += len(piece)
                # The last piece is given only while the file is still the one that was hashed.
                if not piece or (start == stop and _signature(os.fstat(file.fileno())) != known.signature):
                    raise ObjectMissing(oid)
                yield piece

    def ids_beginning(self, prefix: str) -> set[str]:
        own = {oid for oid in (*self._objects, *self._files) if oid.startswith(prefix)}
        return own | (self._git.ids_beginning(prefix) if self._git else set())

    def ref(self, name: str) -> str | None:
        if name in (f"refs/heads/{self._branch}", "HEAD"):
            return self._commit
        return self._git.ref(name) if self._git else None

    def refs(self) -> dict[str, str]:
        return (self._git.refs() if self._git else {}) | {f"refs/heads/{self._branch}": self._commit}

    def head(self) -> str | None:
        return f"refs/heads/{self._branch}"

    def close(self) -> None:
        if self._git:
            self._git.close()

    @property
    def git(self) -> GitDirectory | None:
        """The `.git` of the folder, if it has one that can be read."""
        return self._git

    def files(self) -> dict[bytes, str]:
        """The regular files that are shown: object ids by path, as they stand in the folder."""
        return {path: known.id for path, known in self._known.items()}

    # -- looking at the files ---------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Looks at all files; afterwards the branch is at a commit of what is there. Unchanged files cost one stat."""
        objects: dict[str, tuple[str, bytes]] = {}
        self._seen, self._newest = {}, 0
        if self._git is not None:
            self._submodules = {path: oid for path, (mode, oid) in self._git.index().items() if mode == SUBMODULE}
        tree = self._root_tree(objects)
        branch, parent = self._place_in_history()
        before = self._objects
        if (tree, parent, branch) != (self._tree, self._parent, self._branch) or not self._commit:
            self._tree, self._parent, self._branch = tree, parent, branch
            self._commit, data = self._committed(tree, parent)
            if data:
                objects[self._commit] = "commit", data
        elif self._commit in before:
            objects[self._commit] = before[self._commit]
        self._known = self._seen
        self._files = {known.id: path for path, known in self._known.items()}
        self._objects = objects
        for oid, (kind, data) in before.items():
            if oid not in objects:
                self._remember(oid, kind, data)

    def _place_in_history(self) -> tuple[str, str | None]:
        """The branch that the files belong to, and the commit they came from."""
        if self._git is None:
            return BRANCH, None
        head = self._git.head()
        if head is not None and head.startswith("refs/heads/"):
            return head.removeprefix("refs/heads/"), self._git.ref(head)
        return DETACHED, self._git.ref("HEAD")

    def _committed(self, tree: str, parent: str | None) -> tuple[str, bytes]:
        """The commit for a tree: the parent itself when nothing differs from it."""
        earliest = 0
        if parent is not None and self._git is not None:
            with suppress(ObjectMissing):
                commit = Repository(self._git).commit(parent)
                if commit.tree == tree:
                    return parent, b""
                earliest = commit.committer.seconds + 1
        # Never older than what it follows, so that no Last-Modified goes back; never in the future.
        newest = min(self._newest // 1_000_000_000, int(time.time()))
        self._dated = max(newest, earliest, self._dated)
        who = f"Preview <preview@localhost> {self._dated} +0000"
        lines = [f"tree {tree}", *([f"parent {parent}"] if parent else []), f"author {who}", f"committer {who}"]
        data = "\n".join([*lines, "", "The files as they are now", ""]).encode()
        return object_id("commit", data, self.object_format), data

    def _root_tree(self, objects: dict[str, tuple[str, bytes]]) -> str:
        """The tree of the folder; with a `.pages` where there is none, below `public/` where that is missing too."""
        try:
            names = set(os.listdir(self._root))
        except OSError:
            names = set()
        is_site = b".pages" in names or os.path.lexists(os.path.join(self._root, b"public"))
        entries = self._entries(b"", objects, content=not is_site)
        if not is_site:
            entries = [Entry(b"public", TREE, self._tree_of(entries, objects))] if entries else []
        if b".pages" not in names:
            entries.append(Entry(b".pages", FILE, self._virtual(VIRTUAL_SETTINGS, objects)))
        return self._tree_of(entries, objects)

    def _entries(
        self, folder: bytes, objects: dict[str, tuple[str, bytes]], *, content: bool, depth: int = 0
    ) -> list[Entry]:
        absolute = os.path.join(self._root, folder) if folder else self._root
        try:
            if folder and os.path.realpath(absolute) != absolute:
                return []  # became a link while we looked
            if folder:
                self._newest = max(self._newest, os.lstat(absolute).st_mtime_ns)
            with os.scandir(absolute) as found:
                listed = list(found)
        except OSError as error:
            self._warn(folder, f"cannot be read ({error.strerror}) and is left out")
            return []
        entries = []
        for item in listed:
            name = item.name
            if name.lower() == b".git" or (not content and name in NOT_CONTENT):
                continue
            path = folder + b"/" + name if folder else name
            try:
                status = item.stat(follow_symlinks=False)
                entry = self._entry(path, name, status, objects, content=content, depth=depth)
            except (FileNotFoundError, ObjectMissing):  # gone since the folder was listed: nothing to say
                continue
            except OSError as error:
                self._warn(path, f"cannot be read ({error.strerror}) and is left out")
                continue
            if entry is not None:
                entries.append(entry)
        return entries

    def _entry(
        self,
        path: bytes,
        name: bytes,
        status: os.stat_result,
        objects: dict[str, tuple[str, bytes]],
        *,
        content: bool,
        depth: int,
    ) -> Entry | None:
        mode = status.st_mode
        if stat.S_ISREG(mode):
            self._newest = max(self._newest, status.st_mtime_ns)
            oid = self._hashed(path, status)
            self._warn_of_name(path, name)
            return Entry(name, EXECUTABLE if mode & stat.S_IXUSR else FILE, oid)
        if stat.S_ISLNK(mode):
            self._newest = max(self._newest, status.st_mtime_ns)
            return Entry(name, SYMLINK, self._virtual(os.readlink(os.path.join(self._root, path)), objects))
        if stat.S_ISDIR(mode):
            if path in self._submodules:
                return Entry(name, SUBMODULE, self._submodules[path])  # as the forge has it: another's files
            if depth >= DEEPEST:
                self._warn(path, "is nested too deep and is left out")
                return None
            inner = self._entries(path, objects, content=content or path == b"public", depth=depth + 1)
            # git knows no empty folders
            return Entry(name, TREE, self._tree_of(inner, objects)) if inner else None
        self._warn(path, "is neither file, folder nor link and is left out")
        return None

    def _hashed(self, path: bytes, status: os.stat_result) -> str:
        signature = _signature(status)
        known = self._seen.get(path) or self._known.get(path)
        if known is not None and known.signature == signature:
            tick = _TICK_NS if signature[0] % 1_000_000_000 else _COARSE_TICK_NS
            if signature[0] + tick < known.looked_at:
                self._seen[path] = known
                return known.id
        for _ in range(READ_AGAIN):
            looked_at = time.time_ns()
            with self._open(path) as file:
                size = os.fstat(file.fileno()).st_size
                hashed = hashlib.new(self.object_format, b"blob %d\0" % size)
                data, read = b"", 0
                while piece := file.read(1024 * 1024):
                    hashed.update(piece)
                    read += len(piece)
                    if read <= REMEMBERED_BLOB:
                        data += piece
                signature = _signature(os.fstat(file.fileno()))
            if read == size == signature[1]:
                oid = hashed.hexdigest()
                if read <= REMEMBERED_BLOB:
                    self._remember(oid, "blob", data)
                self._seen[path] = _Known(signature, oid, looked_at)
                return oid
        raise OSError(errno.EBUSY, "it changes while it is read")

    def _open(self, path: bytes) -> BinaryIO:
        """Opens a regular file, never through a link at its name; the folder above is for the caller to check."""
        absolute = os.path.join(self._root, path)
        try:
            file = os.fdopen(os.open(absolute, _OPEN_FLAGS), "rb")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ObjectMissing(path) from error
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise ObjectMissing(path)
        return file

    def _tree_of(self, entries: list[Entry], objects: dict[str, tuple[str, bytes]]) -> str:
        # git sorts a folder as if its name ended with a slash.
        entries.sort(key=lambda entry: entry.name + b"/" if entry.mode == TREE else entry.name)
        data = b"".join([b"%o %s\0" % (mode, name) + bytes.fromhex(oid) for name, mode, oid in entries])
        oid = object_id("tree", data, self.object_format)
        objects[oid] = "tree", data
        return oid

    def _virtual(self, data: bytes, objects: dict[str, tuple[str, bytes]]) -> str:
        oid = object_id("blob", data, self.object_format)
        objects[oid] = "blob", data
        return oid

    def _remember(self, oid: str, kind: str, data: bytes) -> None:
        if oid in self._remembered:
            self._remembered.move_to_end(oid)
            return
        self._remembered[oid] = kind, data
        self._remembered_bytes += len(data)
        while self._remembered_bytes > REMEMBERED_BYTES:
            self._remembered_bytes -= len(self._remembered.popitem(last=False)[1][1])

    def _warn_of_name(self, path: bytes, name: bytes) -> None:
        if not name.isascii():
            try:
                name.decode()
            except UnicodeDecodeError:
                self._warn(path, "has a name that is not UTF-8: no address leads to it")
        if _ODD.search(name):
            self._warn(path, "has a backslash or control character in its name: no address leads to it")

    def _warn(self, path: bytes, what: str) -> None:
        shown = path.decode(errors="replace") or str(self.folder)
        warning = f"{shown!r} {what}"
        if warning not in self.warnings:
            self.warnings.append(warning)
            log.warning("preview: %s", warning)


def _signature(status: os.stat_result) -> Signature:
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns
