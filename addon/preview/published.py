# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a push would publish of a work tree, compared with what is shown: ignored, not tracked, not committed.

A preview shows the files as they are, and a forge has what was committed. The difference is why "it worked on my
machine".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from addon.preview.objects import ObjectMissing
from addon.preview.repository import SUBMODULE, SYMLINK, TREE, GitDirectory, Repository

_NAMED = 3
"""Files of one kind that are named; the rest is counted."""
_MOST_PAGES = 50
_ABSOLUTE = re.compile(
    rb"""<(?:a|link|script|img|source)\b[^>]*?\s(?:href|src)\s*=\s*["']?(/[^/"'>\s][^"'>\s]*)""", re.I
)
Files = dict[bytes, str]
"""Object ids by path."""


def differences(git: GitDirectory, files: Files) -> list[str]:
    """What of a site's files is not committed, in sentences. files: what is shown."""
    committed, index = _committed(git), git.index()
    ignored, untracked, changed = [], [], []
    for path, oid in sorted(files.items()):
        if not (path.startswith(b"public/") or path in (b".pages", b"_redirects", b"_headers", b".redirects")):
            continue
        if committed.get(path) == oid:
            continue
        if path in committed or path in index:
            changed.append(path)
        elif git.ignores(path):
            ignored.append(path)
        else:
            untracked.append(path)
    gone = [path for path in committed if path.startswith(b"public/") and path not in files]
    told = []
    if ignored:
        whole = git.ignores(b"public/")
        what = "public/ is" if whole else f"{_listed(ignored)} {'is' if len(ignored) == 1 else 'are'}"
        told.append(f"{what} ignored by git and will not be pushed; .gitignore says so")
    if untracked:
        told.append(f"not tracked by git, and not pushed until you `git add`: {_listed(untracked)}")
    if changed:
        told.append(f"changed since the last commit, and not pushed until you commit: {_listed(changed)}")
    if gone:
        told.append(f"committed, but deleted here: {_listed(sorted(gone))}")
    told += [
        f"{path.decode(errors='replace')} is a submodule: its files are in another repository and are not published"
        for path, (mode, _) in sorted(index.items())
        if mode == SUBMODULE and (path == b"public" or path.startswith(b"public/"))
    ]
    return told


def leaving_links(folder: Path) -> list[str]:
    """Links of a site's pages that begin at the root of the host, as they are written; a few, in no order."""
    found: dict[str, None] = {}
    for number, page in enumerate(_pages(folder)):
        if number >= _MOST_PAGES or len(found) >= _NAMED:
            break
        with suppress(OSError), page.open("rb") as file:
            for link in _ABSOLUTE.findall(file.read(64 * 1024)):
                found[re.sub(r"[^!-~]", "?", link.decode("latin-1"))[:80]] = None
    return list(found)[:_NAMED]


def remote_name(git: GitDirectory) -> str | None:
    """OWNER/REPOSITORY by the address of the remote `origin`; None where there is none that says so."""
    match = re.search(r"[:/]([^/:\s]+)/([^/:\s]+?)(?:\.git)?/?$", git.remote_url("origin"))
    return f"{match[1]}/{match[2]}" if match else None


def _pages(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith((".html", ".htm")):
                yield Path(root, name)


def _committed(git: GitDirectory) -> Files:
    head = git.head()
    oid = git.ref(head) if head else git.ref("HEAD")
    if oid is None:
        return {}
    with suppress(ObjectMissing, ValueError):
        repository = Repository(git)
        rows = repository.listing(repository.commit(oid).tree, recursive=True)
        return {row.path: row.id for row in rows if row.mode not in (TREE, SYMLINK, SUBMODULE)}
    return {}


def _listed(paths: list[bytes]) -> str:
    shown = ", ".join(path.decode(errors="replace") for path in paths[:_NAMED])
    more = len(paths) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown
