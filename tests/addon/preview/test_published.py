# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a preview says of files that a push would not publish, and of generators; the repositories are git's own."""

import subprocess
from pathlib import Path

import pytest

from addon.preview.builds import BUILDS, Build, hints
from addon.preview.forge import Forge
from addon.preview.opening import open_preview, root_of, unpublished
from addon.preview.worktree import WorkTree


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "public").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / ".pages").write_text("enabled: true\n")
    (folder / "public" / "index.html").write_text("<p>1")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def test_nothing_is_said_of_what_is_committed(site: Path) -> None:
    assert unpublished(WorkTree(site)) == []


def test_files_that_a_push_would_leave_out_are_named(site: Path) -> None:
    (site / ".gitignore").write_text("*.map\n")
    (site / "public" / "a.map").write_text("x")
    (site / "public" / "new.html").write_text("x")
    (site / "public" / "index.html").write_text("<p>2")
    (site / "notes.txt").write_text("not of the site")
    assert unpublished(WorkTree(site)) == [
        "public/a.map is ignored by git and will not be pushed; .gitignore says so",
        "not tracked by git, and not pushed until you `git add`: public/new.html",
        "changed since the last commit, and not pushed until you commit: public/index.html",
    ]


def test_a_folder_that_is_ignored_is_named_as_a_whole(site: Path) -> None:
    git(site, "rm", "-q", "--cached", "-r", "public")
    (site / ".gitignore").write_text("/public/\n")
    git(site, "add", "-A")
    git(site, "commit", "-qm", "second")
    assert unpublished(WorkTree(site)) == ["public/ is ignored by git and will not be pushed; .gitignore says so"]


def test_a_submodule_is_shown_as_the_forge_has_it(site: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    (other / "inside.html").write_text("x")
    git(other, "add", "-A")
    git(other, "commit", "-qm", "x")
    git(site, "submodule", "add", "-q", str(other), "public/theme")
    git(site, "commit", "-qam", "theme")
    tree = WorkTree(site)
    assert b"public/theme/inside.html" not in tree.files()
    assert unpublished(tree) == [
        "public/theme is a submodule: its files are in another repository and are not published"
    ]


def opened(folder: Path, name: str | None = None) -> Forge:
    return open_preview(folder, name)


def test_a_site_that_will_be_below_a_path_is_told_where_its_links_leave_it(site: Path) -> None:
    git(site, "remote", "add", "origin", "git@forge.test:alice/blog.git")
    assert opened(site).hints == []
    (site / "public" / "index.html").write_text('<script src="/assets/app.js"></script><a href="//elsewhere/">')
    (hint,) = opened(site).hints
    assert "as the repository alice/blog it will be at /blog/" in hint
    assert "/assets/app.js, which is outside" in hint
    assert "--name alice/blog" in hint
    assert opened(site, "alice/blog").hints == []


def test_the_root_of_a_site_is_found_from_inside(site: Path, tmp_path: Path) -> None:
    (site / "public" / "deep" / "er").mkdir(parents=True)
    assert root_of(site / "public" / "deep" / "er") == site
    assert root_of(site) == site
    plain = tmp_path / "plain"
    (plain / ".git").mkdir(parents=True)
    assert root_of(plain) is None


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.name)
def test_a_known_generator_is_named_with_its_command_and_its_base(tmp_path: Path, build: Build) -> None:
    marker = build.markers[0].replace("*", "js")
    (tmp_path / marker).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / marker).write_text("")
    first, *rest = hints(tmp_path, "/blog/")
    assert f"a project of {build.name}," in first
    assert "it will be at /blog/: " in rest[-1]
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "index.html").write_text("x")
    assert hints(tmp_path, "/blog/") == []
