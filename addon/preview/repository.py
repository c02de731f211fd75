# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A repository as the API sees it: branches and tags, revisions, flat trees, the last commit that touched a path.

Knows git's rules for names (a bare name that is both tag and branch is the tag) and history. A flat tree is kept per
tree id, since a real forge walks everything again for each page, which a preview need not imitate.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from addon.preview.objects import (
    DulwichMissing,
    Entry,
    Header,
    ObjectMissing,
    Objects,
    hex_length,
    parse_tree,
)

if TYPE_CHECKING:
    from dulwich.repo import Repo

TREE, SYMLINK, SUBMODULE = 0o040000, 0o120000, 0o160000
KEPT_LISTINGS = 8
_STEP = re.compile(r"\^\{(\w*)\}|\^(\d*)|~(\d*)")


class Row(NamedTuple):
    path: bytes
    mode: int
    id: str


class Signature(NamedTuple):
    name: str
    email: str
    seconds: int
    offset: int  # minutes east of Greenwich


class Commit(NamedTuple):
    id: str
    tree: str
    parents: tuple[str, ...]
    author: Signature
    committer: Signature
    message: str


class RevisionMissing(KeyError):
    """No commit, tag or tree goes by that name."""


class Source(Protocol):
    """Where a repository's objects and refs come from: a git directory, or a folder of files."""

    object_format: str
    lfs_dir: Path | None

    def header(self, oid: str) -> Header: ...
    def read(self, oid: str) -> tuple[str, bytes]: ...
    def chunks(self, oid: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]: ...
    def ids_beginning(self, prefix: str) -> set[str]: ...
    def ref(self, name: str) -> str | None: ...
    def refs(self) -> dict[str, str]: ...
    def head(self) -> str | None: ...
    def refresh(self) -> None: ...
    def close(self) -> None: ...


class GitDirectory:
    """A git directory, bare or the `.git` of a work tree; refs are read anew each time, objects never change."""

    def __init__(self, path: Path) -> None:
        self._repo = open_repository(path)
        self.object_format: str = self._repo.object_format.name
        common = Path(self._repo.commondir())
        self.lfs_dir: Path | None = common / "lfs" / "objects"
        self._objects = Objects(common / "objects", self.object_format)
        self.header = self._objects.header
        self.read = self._objects.read
        self.chunks = self._objects.chunks
        self.ids_beginning = self._objects.ids_beginning
        self._index: tuple[tuple[int, int], dict[bytes, tuple[int, str]]] | None = None

    def ref(self, name: str) -> str | None:
        """The object id that a full ref name stands for."""
        try:
            return self._repo.refs[_ref(name)].decode()
        except (KeyError, ValueError):
            return None

    def refs(self) -> dict[str, str]:
        """All branches and tags: full name → object id."""
        found = {}
        for base in (b"refs/heads", b"refs/tags"):
            for name, oid in self._repo.refs.as_dict(base).items():  # type: ignore[arg-type]  # Ref is a NewType of bytes
                found[f"{base.decode()}/{name.decode(errors='surrogateescape')}"] = oid.decode()
        return found

    def head(self) -> str | None:
        """The full ref name that HEAD points to, None when it is detached."""
        value = self._repo.refs.read_ref(_ref("HEAD"))
        if value is not None and value.startswith(b"ref: "):
            return value[5:].strip().decode(errors="surrogateescape")
        return None

    def index(self) -> dict[bytes, tuple[int, str]]:
        """Mode and object id of everything that is tracked, by path; nothing where that cannot be read."""
        path = self._repo.index_path()
        try:
            status = os.stat(path)
        except OSError:
            return {}
        seen = (status.st_mtime_ns, status.st_size)
        if self._index is None or self._index[0] != seen:
            entries: dict[bytes, tuple[int, str]] = {}
            with suppress(Exception):  # a version of the index that the library does not know: nothing is said of it
                for name, entry in self._repo.open_index().items():
                    if sha := getattr(entry, "sha", None):  # else it is in a conflict
                        entries[name] = getattr(entry, "mode", 0), sha.decode()
            self._index = seen, entries
        return self._index[1]

    def ignores(self, path: bytes) -> bool:
        """Whether git would leave a path out that it does not know; folders end with a slash."""
        from dulwich.ignore import IgnoreFilterManager

        with suppress(Exception):  # a .gitignore that the library cannot read
            return bool(IgnoreFilterManager.from_repo(self._repo).is_ignored(os.fsdecode(path)))
        return False

    def remote_url(self, name: str) -> str:
        """Where a remote is; empty where there is none."""
        with suppress(KeyError):
            return self._repo.get_config().get((b"remote", name.encode()), b"url").decode(errors="replace")
        return ""

    def refresh(self) -> None:
        """Nothing to do: refs are read when asked for."""

    def close(self) -> None:
        self._objects.close()
        self._repo.close()


class Repository:
    """What the API asks of a repository, over a `Source`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.object_format = source.object_format
        self.hex_length = hex_length(source.object_format)
        self._listings: OrderedDict[str, list[Row]] = OrderedDict()

    def default_branch(self) -> str | None:
        """The branch HEAD points to, also when it has no commit yet."""
        head = self.source.head()
        return head.removeprefix("refs/heads/") if head else None

    def branch(self, name: str) -> str | None:
        """The commit id of a branch."""
        return self.source.ref(f"refs/heads/{name}") if name else None

    def tag(self, name: str) -> str | None:
        """The id a tag points to: the tag object's, for an annotated one."""
        return self.source.ref(f"refs/tags/{name}") if name else None

    def branches(self) -> dict[str, str]:
        """Branch name → commit id."""
        return {
            name.removeprefix("refs/heads/"): oid
            for name, oid in self.source.refs().items()
            if name.startswith("refs/heads/")
        }

    def is_empty(self) -> bool:
        return not any(name.startswith("refs/heads/") for name in self.source.refs())

    def is_id(self, text: str) -> bool:
        """Whether the text has the form of a full object id of this repository (either case)."""
        return len(text) == self.hex_length and re.fullmatch(r"[0-9a-fA-F]+", text) is not None

    def resolve(self, revision: str) -> str:
        """The id of the object that a revision means (gitrevisions(7)): ids, short ids, names, `^`, `~`, `rev:path`.

        A name exactly as long as an id is taken as one, as Forgejo does. Raises RevisionMissing.
        """
        try:
            if len(revision) == self.hex_length:
                oid = revision.lower()
                if not self.is_id(oid):
                    raise RevisionMissing(revision)
                self.source.header(oid)
                return oid
            name, colon, path = revision.partition(":")
            if colon:
                return self.entry_at(self.tree_of(self.resolve(name)), path.encode(errors="surrogateescape")).id
            steps = _STEP.search(revision)
            if steps is None:
                return self._named(revision)
            oid = self._named(revision[: steps.start()] or "HEAD")
            return self._walked(oid, revision[steps.start() :])
        except ObjectMissing:
            raise RevisionMissing(revision) from None

    def peeled(self, oid: str, kind: str = "commit") -> str:
        """Follows tags (and a commit, when a tree is wanted) to an object of that kind; raises RevisionMissing."""
        while True:
            try:
                found = self.source.header(oid).kind
            except ObjectMissing:
                raise RevisionMissing(oid) from None
            if found == kind:
                return oid
            if found == "tag":
                oid = self.source.read(oid)[1].split(b"\n", 1)[0].removeprefix(b"object ").decode()
            elif found == "commit" and kind == "tree":
                oid = self.commit(oid).tree
            else:
                raise RevisionMissing(oid)

    def commit_of(self, revision: str) -> str:
        """The commit id that a revision means; raises RevisionMissing."""
        return self.peeled(self.resolve(revision))

    def tree_of(self, oid: str) -> str:
        """The tree id of a commit, tag or tree id; raises RevisionMissing."""
        return self.peeled(oid, "tree")

    def commit(self, oid: str) -> Commit:
        """The parsed commit; raises ObjectMissing."""
        head, _, message = self.source.read(oid)[1].partition(b"\n\n")
        fields: dict[bytes, list[bytes]] = {}
        for line in head.split(b"\n"):
            key, _, value = line.partition(b" ")
            fields.setdefault(key, []).append(value)
        return Commit(
            oid,
            fields[b"tree"][0].decode(),
            tuple(parent.decode() for parent in fields.get(b"parent", ())),
            _signature(fields[b"author"][0]),
            _signature(fields[b"committer"][0]),
            message.decode(errors="replace"),
        )

    def tree(self, oid: str) -> list[Entry]:
        """The entries of one tree object; raises ObjectMissing."""
        kind, data = self.source.read(oid)
        if kind != "tree":
            raise ObjectMissing(oid)
        return parse_tree(data, self.object_format)

    def listing(self, tree: str, *, recursive: bool) -> list[Row]:
        """All entries below a tree, folders before what is in them, in git's order."""
        if not recursive:
            return [Row(*entry) for entry in self.tree(tree)]
        kept = self._listings.get(tree)
        if kept is None:
            kept = self._listings[tree] = list(self._below(tree, b""))
            while len(self._listings) > KEPT_LISTINGS:
                self._listings.popitem(last=False)
        self._listings.move_to_end(tree)
        return kept

    def entry_at(self, tree: str, path: bytes) -> Entry:
        """The entry at a path below a tree (the tree itself for an empty path); raises RevisionMissing."""
        entry = Entry(b"", TREE, tree)
        for name in path.split(b"/") if path else ():
            if entry.mode != TREE:
                raise RevisionMissing(path)
            found = next((one for one in self.tree(entry.id) if one.name == name), None)
            if found is None:
                raise RevisionMissing(path)
            entry = found
        return entry

    def last_touching(self, commit: str, path: bytes) -> Commit:
        """The newest commit in the history of `commit` that changed a path, as `git rev-list -1 COMMIT -- PATH`."""
        at = self.commit(commit)
        here = self._id_at(at, path)
        while True:
            for parent_id in at.parents:
                try:
                    parent = self.commit(parent_id)
                except ObjectMissing:  # a shallow clone ends here
                    continue
                if self._id_at(parent, path) == here:
                    at = parent
                    break
            else:
                return at

    def _id_at(self, commit: Commit, path: bytes) -> tuple[int, str] | None:
        try:
            entry = self.entry_at(commit.tree, path)
        except (RevisionMissing, ObjectMissing):
            return None
        return entry.mode, entry.id

    def _below(self, tree: str, prefix: bytes) -> Iterator[Row]:
        for name, mode, oid in self.tree(tree):
            path = prefix + name
            yield Row(path, mode, oid)
            if mode == TREE:
                yield from self._below(oid, path + b"/")

    def _named(self, name: str) -> str:
        if name in ("HEAD", "@"):
            head = self.source.head()
            found = self.source.ref(head) if head else self.source.ref("HEAD")
            if found is None:
                raise RevisionMissing(name)
            return found
        if self.is_id(name):
            self.source.header(name.lower())
            return name.lower()
        for full in (name, f"refs/{name}", f"refs/tags/{name}", f"refs/heads/{name}"):
            found = self.source.ref(full) if full.startswith("refs/") else None
            if found is not None:
                return found
        if re.fullmatch(r"[0-9a-fA-F]{4,64}", name):
            ids = self.source.ids_beginning(name.lower())
            if len(ids) > 1:
                ids = {oid for oid in ids if self.source.header(oid).kind == "commit"}
            if len(ids) == 1:
                return ids.pop()
        raise RevisionMissing(name)

    def _walked(self, oid: str, steps: str) -> str:
        at = 0
        while at < len(steps):
            step = _STEP.match(steps, at)
            if step is None:
                raise RevisionMissing(steps)
            at = step.end()
            kind, parent, ancestor = step.groups()
            if kind is not None:
                oid = self._untagged(oid) if kind == "" else self.peeled(oid, kind)
            elif parent is not None:
                oid = self._parent(oid, int(parent or 1))
            else:
                for _ in range(int(ancestor or 1)):
                    oid = self._parent(oid, 1)
        return oid

    def _parent(self, oid: str, number: int) -> str:
        commit = self.commit(self.peeled(oid))
        if number == 0:
            return commit.id
        if number > len(commit.parents):
            raise RevisionMissing(oid)
        return commit.parents[number - 1]

    def _untagged(self, oid: str) -> str:
        while self.source.header(oid).kind == "tag":
            oid = self.source.read(oid)[1].split(b"\n", 1)[0].removeprefix(b"object ").decode()
        return oid


def open_repository(path: Path) -> Repo:
    """dulwich's view of a git directory or work tree; raises DulwichMissing, NotGitRepository."""
    try:
        from dulwich.repo import Repo
    except ImportError:
        raise DulwichMissing from None
    return Repo(str(path))


def _ref(name: str) -> Any:
    return name.encode(errors="surrogateescape")


def _signature(line: bytes) -> Signature:
    who, _, when = line.rpartition(b"> ")
    name, _, email = who.partition(b" <")
    seconds, _, zone = when.partition(b" ")
    sign = -1 if zone.startswith(b"-") else 1
    digits = int(zone[1:] or b"0")
    return Signature(
        name.decode(errors="replace"),
        email.decode(errors="replace"),
        int(seconds),
        sign * (digits // 100 * 60 + digits % 100),
    )
