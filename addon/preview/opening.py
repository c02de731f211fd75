# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`open_preview`: what a person points at, as a forge: a folder, a work tree, a bare repository, or many of them.

The site is the owner's `.profile` repository, so that it is at the root of `http://NAME.pages.localhost:PORT/`. What
was assumed (a missing `.pages`, a folder without `public/`) is said in `Forge.hints`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from addon.preview import builds, published
from addon.preview.forge import Forge
from addon.preview.repository import GitDirectory, Repository
from addon.preview.settings import OwnerSettings
from addon.preview.worktree import DETACHED, WorkTree

PROFILE = ".profile"
_NAME = re.compile(r"[0-9A-Za-z](?:[-._]?[0-9A-Za-z])*", re.ASCII)
_REPOSITORY = re.compile(r"[-.\w]{1,100}", re.ASCII)
LONGEST_OWNER = 40


class PreviewError(ValueError):
    """There is nothing to preview, or the name cannot be one."""


def open_preview(directory: Path, name: str | None = None, **options: Any) -> Forge:
    """A forge, not yet started, that serves what is in a folder.

    directory: a folder of files, a git work tree, a bare repository, or a folder of `OWNER/NAME.git`. name: `OWNER` or
    `OWNER/REPOSITORY`, by default made of the folder's name. options: those of `Forge`. Raises PreviewError, and
    DulwichMissing when a git repository is to be read without dulwich.
    """
    forge = _opened(directory, name, **options)
    # A page elsewhere that rebinds its name to this machine must not read what is here.
    forge.local_only = True
    return forge


def _opened(directory: Path, name: str | None, **options: Any) -> Forge:
    if not directory.is_dir():
        found = "is a file" if directory.exists() else "does not exist"
        raise PreviewError(f"expected a folder to preview: {directory} {found}")
    directory = directory.resolve()
    if is_bare(directory):
        owner, repository = _names(directory, name)
        forge = Forge(owners={owner: OwnerSettings()}, **options)
        source = GitDirectory(directory)
        forge.add(owner, repository, source)
        if Repository(source).is_empty():
            forge.hints.append("the repository has no commit yet: push one and reload")
        return forge
    if not (directory / ".git").exists() and any(is_bare(path) for path in sorted(directory.glob("*/*.git"))):
        if name is not None:
            raise PreviewError(f"{directory} holds repositories with names of their own: {name!r} has no meaning here")
        forge = Forge(directory, **options)
        first = next(forge.registry.places(), None)
        if first is None:
            raise PreviewError(f"none of the repositories in {directory} can be read: see the log for why")
        forge.owner, forge.repository = first.owner.name, first.name
        return forge
    owner, repository = _names(directory, name)
    forge = Forge(owners={owner: OwnerSettings()}, **options)
    tree = WorkTree(directory)
    forge.add(owner, repository, tree)
    forge.hints.extend(_hints(directory, tree, "/" if repository == PROFILE else f"/{repository}/"))
    return forge


def root_of(directory: Path) -> Path | None:
    """The folder of the site that a folder is in: itself or one above it, up to that of `.git`; None outside of one."""
    for folder in (directory, *directory.parents):
        if os.path.lexists(folder / ".pages") or (folder / "public").is_dir():
            return folder
        if (folder / ".git").exists():
            return None
    return None


def is_bare(path: Path) -> bool:
    """Whether a folder is itself a git directory."""
    return (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()


def unpublished(tree: WorkTree) -> list[str]:
    """What of the files that are shown a push would not publish."""
    return published.differences(tree.git, tree.files()) if tree.git is not None else []


def _hints(directory: Path, tree: WorkTree, base: str) -> list[str]:
    name = published.remote_name(tree.git) if tree.git is not None else None
    if base == "/" and name is not None and not name.endswith(f"/{PROFILE}"):
        base = f"/{name.partition('/')[2]}/"
        if links := published.leaving_links(directory / "public"):
            more = f"its pages link to {', '.join(links)}, which is outside of that: see it with --name {name}"
            return [*_hints(directory, tree, base), f"as the repository {name} it will be at {base}; {more}"]
    hints = builds.hints(directory, base)
    has_settings = os.path.lexists(directory / ".pages")
    has_public = (directory / "public").is_dir()
    if not has_settings and not has_public and not hints:
        hints.append(
            "there is neither public/ nor .pages here, so the folder itself is shown as the site; "
            "to publish it, put the files below public/ and add a .pages with the line: enabled: true"
        )
    elif not has_settings:
        hints.append("there is no .pages here; to publish, add one with the line: enabled: true")
    elif not has_public:
        hints.append("there is a .pages but no public/: a site is what is below public/, so there is nothing to show")
    branch = (tree.head() or "").removeprefix("refs/heads/")
    if branch == DETACHED:
        hints.append(f"no branch is checked out: the files are shown as a branch named {DETACHED}")
    return hints + tree.warnings


def _names(directory: Path, name: str | None) -> tuple[str, str]:
    if name is None:
        return _owner_from(directory.name.removesuffix(".git")), PROFILE
    owner, slash, repository = name.partition("/")
    if not _NAME.fullmatch(owner) or len(owner) > LONGEST_OWNER:
        raise PreviewError(f"expected a name of letters, digits and single '-', '.' or '_' inside, found {owner!r}")
    if slash and (not _REPOSITORY.fullmatch(repository) or repository in (".", "..", "-")):
        raise PreviewError(f"expected a repository name of letters, digits, '-', '.' or '_', found {repository!r}")
    return owner, repository or PROFILE


def _owner_from(name: str) -> str:
    words = re.findall(r"[0-9a-z]+", name.lower())
    return "-".join(words)[:LONGEST_OWNER].strip("-") or "site"
