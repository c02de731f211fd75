# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Repositories for tests: commits made of a dict of path → bytes, pushed, forced, deleted, tagged; no git needed.

Writes objects with dulwich, so the ids are git's own, SHA-1 or SHA-256, and the same on every run: dates are counted
up from a fixed one unless given. Odd names (bytes), modes, links and submodules are as easy as files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dulwich.objects import ShaFile
from dulwich.repo import Repo

from addon.preview.objects import object_id, parse_tree

EPOCH = 1_780_000_000  # 2026-05-28T20:26:40Z
DAY = 86_400
FILE, EXECUTABLE, LINK, SUBMODULE, FOLDER = 0o100644, 0o100755, 0o120000, 0o160000, 0o040000
_TYPES = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
# From here on objects go into a pack: thousands of small files are slow, and packs are to be read too.
_PACKED_FROM = 500

What = bytes | str | tuple[int, bytes] | tuple[int, str] | None
# Path, as text or as the bytes that it is, → what is there.
Files = Mapping[Any, What]
Index = dict[bytes, tuple[int, str]]


def link(target: str) -> tuple[int, bytes]:
    """A symbolic link."""
    return LINK, target.encode()


def executable(data: bytes) -> tuple[int, bytes]:
    """A file that may be run."""
    return EXECUTABLE, data


def submodule(commit: str) -> tuple[int, str]:
    """A submodule at that commit."""
    return SUBMODULE, commit


def lfs_pointer(data: bytes) -> bytes:
    """The pointer that git-lfs commits in place of these bytes."""
    oid = hashlib.sha256(data).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n".encode()


class Site:
    """A bare repository that is made, or opened where it exists; `commit` is what a push to it does."""

    def __init__(
        self,
        path: Path,
        files: Files | None = None,
        *,
        branch: str = "main",
        object_format: str = "sha1",
        author: str = "Alice Example <alice@example.org>",
    ) -> None:
        self.path = path
        self.author = author
        if path.exists():
            repo = Repo(str(path))
        else:
            repo = Repo.init_bare(
                str(path), mkdir=_parents(path), default_branch=branch.encode(), object_format=object_format
            )
        self._repo: Any = repo
        self.branch = branch
        self.object_format = str(repo.object_format.name)
        self._pending: dict[str, ShaFile] = {}
        self._steps = 0
        if files is not None:
            self.commit(files, "First")

    def commit(
        self,
        files: Files,
        message: str = "Change",
        *,
        branch: str | None = None,
        parent: str | None = None,
        keep: bool = True,
        when: int | None = None,
    ) -> str:
        """Commits files onto a branch and returns the commit's id.

        files: path → bytes, text, (mode, bytes), (mode, object id), or None to remove. parent: a commit to start from
        instead of the branch's (a forced push, where the branch exists). keep: the parent's other files stay. when:
        Unix seconds of the author date, by default a day later each time; the committer date is an hour later.
        """
        name = branch or self.branch
        parent = parent or self.head(name)
        index: Index = dict(self._files(self._tree_of(parent))) if parent and keep else {}
        for path, what in files.items():
            raw = path if isinstance(path, bytes) else path.encode()
            if what is None:
                del index[raw]
                continue
            mode, data = what if isinstance(what, tuple) else (FILE, what)
            if isinstance(data, str):
                data = data if mode == SUBMODULE or isinstance(what, tuple) else data.encode()
            index[raw] = mode, data if isinstance(data, str) else self._write("blob", data)
        self._steps += 1
        moment = EPOCH + DAY * self._steps if when is None else when
        lines = [f"tree {self._write_tree(index)}"]
        lines += [f"parent {parent}"] if parent else []
        lines += [f"author {self.author} {moment} +0200", f"committer {self.author} {moment + 3600} +0200"]
        body = "\n".join([*lines, "", message]) + "\n"
        oid = self._write("commit", body.encode())
        self.point(name, oid)
        return oid

    def point(self, branch: str, commit: str) -> None:
        """Makes a branch point to a commit, wherever it did before (a forced push)."""
        self._flush()
        self._repo.refs[f"refs/heads/{branch}".encode()] = commit.encode()

    def delete_branch(self, branch: str) -> None:
        del self._repo.refs[f"refs/heads/{branch}".encode()]

    def set_default_branch(self, branch: str) -> None:
        self.branch = branch
        self._repo.refs.set_symbolic_ref(b"HEAD", f"refs/heads/{branch}".encode())

    def tag(self, name: str, target: str, message: str | None = None) -> str:
        """Tags a commit; with a message it is an annotated tag, whose own id is returned."""
        oid = target
        if message is not None:
            body = f"object {target}\ntype commit\ntag {name}\ntagger {self.author} {EPOCH + 3600} +0200\n\n{message}\n"
            oid = self._write("tag", body.encode())
        self._flush()
        self._repo.refs[f"refs/tags/{name}".encode()] = oid.encode()
        return oid

    def head(self, branch: str | None = None) -> str | None:
        """The commit id of a branch."""
        try:
            return str(self._repo.refs[f"refs/heads/{branch or self.branch}".encode()].decode())
        except KeyError:
            return None

    def blob_id(self, data: bytes) -> str:
        """The id that a file of these bytes has here."""
        return object_id("blob", data, self.object_format)

    def upload_lfs(self, data: bytes) -> str:
        """Stores an LFS object as a push with git-lfs would; returns its oid."""
        oid = hashlib.sha256(data).hexdigest()
        stored = self.path / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(data)
        return oid

    def close(self) -> None:
        self._repo.close()

    def __del__(self) -> None:
        # Tests let go of a site without a word; a pack that is still open then is complained of in another test.
        if hasattr(self, "_repo"):
            self.close()

    def _tree_of(self, commit: str) -> str:
        return self._read(commit).split(b"\n", 1)[0].removeprefix(b"tree ").decode()

    def _read(self, oid: str) -> bytes:
        data: bytes = self._repo.object_store.get_raw(oid.encode())[1]
        return data

    def _files(self, tree: str, prefix: bytes = b"") -> Index:
        found: Index = {}
        for entry in parse_tree(self._read(tree), self.object_format):
            if entry.mode == FOLDER:
                found |= self._files(entry.id, prefix + entry.name + b"/")
            else:
                found[prefix + entry.name] = entry.mode, entry.id
        return found

    def _write_tree(self, index: Index) -> str:
        here: dict[bytes, tuple[int, str]] = {}
        below: dict[bytes, Index] = {}
        for path, entry in index.items():
            name, slash, rest = path.partition(b"/")
            if slash:
                below.setdefault(name, {})[rest] = entry
            else:
                here[name] = entry
        for name, inner in below.items():
            here[name] = FOLDER, self._write_tree(inner)
        # git sorts a folder as if its name ended with a slash.
        ordered = sorted(here.items(), key=lambda item: item[0] + (b"/" if item[1][0] == FOLDER else b""))
        data = b"".join(b"%o %s\0" % (mode, name) + bytes.fromhex(oid) for name, (mode, oid) in ordered)
        return self._write("tree", data)

    def _write(self, kind: str, data: bytes) -> str:
        oid = object_id(kind, data, self.object_format)
        made = ShaFile.from_raw_string(_TYPES[kind], data, object_format=self._repo.object_format)
        self._pending[oid] = made
        return oid

    def _flush(self) -> None:
        store, objects = self._repo.object_store, list(self._pending.values())
        self._pending = {}
        if len(objects) >= _PACKED_FROM:
            store.add_objects([(one, None) for one in objects])
        else:
            for one in objects:
                store.add_object(one)


def _parents(path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    return True
