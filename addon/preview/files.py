# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which bytes a file of a repository has: the blob's own, or those of the LFS object that the blob points to.

A pointer is followed only when the repository has the object, as on a forge; else its text is the file. A blob asked
for by id alone has no path, so no date either, and is named ".": the last part of an empty path, as Forgejo has it.
"""

from __future__ import annotations

import re

from addon.preview.raw import Content, file_pieces, pieces_of
from addon.preview.registry import Place
from addon.preview.repository import Repository

# A blob larger than this is never a pointer (modules/lfs in Forgejo).
POINTER_LIMIT = 1024
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\nsize ([0-9]+)\n?"
)


def content(place: Place, oid: str, path: bytes | None, commit: str | None, *, lfs: bool) -> Content:
    """The content to serve for a blob; `lfs`: follow a pointer. Raises ObjectMissing."""
    source = place.repository.source
    name = path.rpartition(b"/")[2].decode(errors="surrogateescape") if path is not None else "."
    modified = None
    if path is not None and commit is not None:
        modified = place.repository.last_touching(commit, path).committer.seconds
    size = source.header(oid).size
    if size > POINTER_LIMIT:
        return Content(name, oid, size, lambda start, stop: source.chunks(oid, start, stop), modified)
    data = source.read(oid)[1]
    pointer = _POINTER.fullmatch(data) if lfs and source.lfs_dir is not None else None
    if pointer is not None and source.lfs_dir is not None:
        digest, length = pointer[1].decode(), int(pointer[2])
        stored = source.lfs_dir / digest[:2] / digest[2:4] / digest
        if stored.is_file() and stored.stat().st_size == length:
            return Content(name, digest, length, file_pieces(stored), modified, lfs=True)
    return Content(name, oid, size, pieces_of(data), modified)


def stored_elsewhere(found: Content, storage_url: str) -> str:
    """The signed address of an LFS object in a store of its own."""
    return f"{storage_url}/{found.tag[:2]}/{found.tag[2:4]}/{found.tag}?signature=1"


def guessed(repository: Repository, path: str, default_branch: str) -> tuple[str, str]:
    """Commit and path where no `ref` says: the leading segments may be a branch, a tag or a full id.

    Else it is the default branch. Raises RevisionMissing.
    """
    parts = path.split("/")
    for named in (repository.branch, repository.tag):
        for count in range(1, len(parts) + 1):
            oid = named("/".join(parts[:count]))
            if oid is not None:
                return repository.peeled(oid), "/".join(parts[count:])
    if repository.is_id(parts[0]):
        return repository.commit_of(parts[0]), "/".join(parts[1:])
    return repository.commit_of(f"refs/heads/{default_branch}"), path
