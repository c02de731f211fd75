# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A folder of files is a repository whose branch is always at what the files are now."""

from __future__ import annotations

import base64
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from addon.preview.forge import Forge
from addon.preview.objects import object_id, parse_tree
from addon.preview.opening import open_preview
from addon.preview.repository import Repository
from addon.preview.worktree import DETACHED, WorkTree
from tests.addon.preview.asking import get
from tests.addon.preview.fixtures import LFS_OBJECT, noise
from tests.addon.preview.sites import Site, lfs_pointer

Show = Callable[[Path], Forge]


@pytest.fixture
def show() -> Iterator[Show]:
    """Opens a folder as `me/.profile` and serves it."""
    forges: list[Forge] = []

    def start(folder: Path) -> Forge:
        forge = open_preview(folder, "me")
        forge.start_thread()
        forges.append(forge)
        return forge

    yield start
    for forge in forges:
        forge.stop()


def write(folder: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def branch(forge: Forge) -> dict[str, Any]:
    default = get(forge, "/api/v1/repos/me/.profile").json()["default_branch"]
    commit: dict[str, Any] = get(forge, f"/api/v1/repos/me/.profile/branches/{default}").json()["commit"]
    return commit


def rows(forge: Forge, commit: str) -> dict[str, dict[str, Any]]:
    tree = get(forge, f"/api/v1/repos/me/.profile/git/trees/{commit}?recursive=true").json()["tree"]
    return {row["path"]: row for row in tree if row["type"] == "blob"}


def bytes_of(forge: Forge, row: dict[str, Any]) -> bytes:
    document = get(forge, f"/api/v1/repos/me/.profile/git/blobs/{row['sha']}").json()
    return base64.b64decode(document["content"])


def work_tree(folder: Path, files: dict[str, bytes]) -> Site:
    """A git work tree with these files, committed; the site is its git directory."""
    site = Site(folder / ".git", files)
    config = (folder / ".git" / "config").read_text().replace("bare = true", "bare = false")
    (folder / ".git" / "config").write_text(config)
    write(folder, files)
    return site


def test_files_are_a_real_commit_of_the_default_branch(tmp_path: Path, show: Show) -> None:
    write(tmp_path, {".pages": b"enabled: true\n", "public/index.html": b"<h1>Hello", "public/a/b.txt": b"deep"})
    forge = show(tmp_path)
    commit = branch(forge)
    assert [*rows(forge, commit["id"])] == [".pages", "public/a/b.txt", "public/index.html"]
    for path, row in rows(forge, commit["id"]).items():
        assert row["sha"] == object_id("blob", (tmp_path / path).read_bytes())
        assert bytes_of(forge, row) == (tmp_path / path).read_bytes()
    raw = base64.b64decode(get(forge, f"/api/v1/repos/me/.profile/git/blobs/{commit['id']}").json()["content"])
    assert object_id("commit", raw) == commit["id"]
    tree = raw.split(b"\n")[0].removeprefix(b"tree ").decode()
    data = base64.b64decode(get(forge, f"/api/v1/repos/me/.profile/git/blobs/{tree}").json()["content"])
    assert object_id("tree", data) == tree
    assert [entry.name for entry in parse_tree(data)] == [b".pages", b"public"]


def test_a_change_is_seen_at_once_and_the_old_commit_stays_whole(tmp_path: Path, show: Show) -> None:
    write(tmp_path, {".pages": b"enabled: true\n", "public/index.html": b"one", "public/gone.html": b"gone"})
    forge = show(tmp_path)
    seen = [branch(forge)["id"]]
    first = rows(forge, seen[0])
    for number in range(20):
        (tmp_path / "public/index.html").write_bytes(b"%03d" % number)
        seen.append(branch(forge)["id"])
        assert bytes_of(forge, rows(forge, seen[-1])["public/index.html"]) == b"%03d" % number
    assert len(set(seen)) == len(seen)
    (tmp_path / "public/gone.html").unlink()
    assert "public/gone.html" not in rows(forge, branch(forge)["id"])
    assert rows(forge, seen[0]) == first
    assert bytes_of(forge, first["public/index.html"]) == b"one"
    assert bytes_of(forge, first["public/gone.html"]) == b"gone"


def test_nothing_changed_means_the_same_commit_also_after_a_restart(tmp_path: Path) -> None:
    write(tmp_path, {".pages": b"enabled: true\n", "public/index.html": b"one"})
    first = WorkTree(tmp_path).ref("refs/heads/main")
    again = WorkTree(tmp_path)
    again.refresh()
    assert again.ref("refs/heads/main") == first


def test_a_file_touched_without_a_new_size_or_second_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, {".pages": b"enabled: true\n", "public/a": b"one"})
    tree = WorkTree(tmp_path)
    before = tree.ref("HEAD")
    (tmp_path / "public/a").write_bytes(b"two")
    tree.refresh()
    assert tree.ref("HEAD") != before


def test_links_stay_links_and_lead_nowhere_outside(tmp_path: Path, show: Show) -> None:
    outside = tmp_path / "outside"
    write(outside, {"secret.txt": b"secret"})
    folder = tmp_path / "folder"
    write(folder, {".pages": b"enabled: true\n", "public/index.html": b"x", "public/real/page.html": b"y"})
    (folder / "public/link.html").symlink_to("index.html")
    (folder / "public/folder").symlink_to("real")
    (folder / "public/out").symlink_to(outside)
    (folder / "public/out.txt").symlink_to(outside / "secret.txt")
    forge = show(folder)
    found = rows(forge, branch(forge)["id"])
    links = {path: bytes_of(forge, row) for path, row in found.items() if row["mode"] == "120000"}
    assert links == {
        "public/link.html": b"index.html",
        "public/folder": b"real",
        "public/out": os.fsencode(outside),
        "public/out.txt": os.fsencode(outside / "secret.txt"),
    }
    secret = object_id("blob", b"secret")
    assert secret not in {row["sha"] for row in found.values()}
    assert get(forge, f"/api/v1/repos/me/.profile/git/blobs/{secret}").status == 400
    for target in ("public/out/secret.txt", "public/%2E%2E/%2E%2E/outside/secret.txt", "..%2Foutside%2Fsecret.txt"):
        assert get(forge, f"/api/v1/repos/me/.profile/raw/{target}").status == 404


def test_a_file_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    write(
        tmp_path, {"folder/.pages": b"enabled: true\n", "folder/public/big": b"x" * 300_000, "secret": b"s" * 300_000}
    )
    tree = WorkTree(tmp_path / "folder")
    (tmp_path / "folder/public/big").unlink()
    (tmp_path / "folder/public/big").symlink_to(tmp_path / "secret")
    with pytest.raises((KeyError, OSError)):
        tree.read(object_id("blob", b"x" * 300_000))


def test_what_may_be_run_is_marked_so(tmp_path: Path, show: Show) -> None:
    write(tmp_path, {".pages": b"enabled: true\n", "public/run.sh": b"#!/bin/sh\n", "public/plain": b"x"})
    (tmp_path / "public/run.sh").chmod(0o755)
    forge = show(tmp_path)
    found = rows(forge, branch(forge)["id"])
    assert (found["public/run.sh"]["mode"], found["public/plain"]["mode"]) == ("100755", "100644")


def test_what_cannot_be_content_is_left_out_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {".pages": b"enabled: true\n", "public/index.html": b"x", "public/locked.txt": b"x"})
    os.mkfifo(tmp_path / "public/pipe")
    listening = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path / "public")
    listening.bind("socket")
    listening.close()
    (tmp_path / os.fsdecode(b"public/bad\xff.txt")).write_bytes(b"bad")
    (tmp_path / "public/back\\slash").write_bytes(b"odd")
    # Root reads everything, so permission is refused here as the system would to others.
    true_open = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *more: _refused() if b"locked" in os.fsencode(path) else true_open(path, *more)
    )
    tree = WorkTree(tmp_path)
    assert sorted(warning.split("'")[1] for warning in tree.warnings if "left out" in warning) == [
        "public/locked.txt",
        "public/pipe",
        "public/socket",
    ]
    assert any("Permission denied" in warning for warning in tree.warnings)
    assert sum("no address leads to it" in warning for warning in tree.warnings) == 2
    before = list(tree.warnings)
    tree.refresh()
    assert tree.warnings == before


def test_a_file_that_vanishes_under_our_eyes_is_just_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {".pages": b"enabled: true\n", "public/here": b"x", "public/gone": b"x"})
    true_open = os.open

    def vanishing(path: Any, *more: Any) -> int:
        if os.fsencode(path).endswith(b"gone"):
            (tmp_path / "public/gone").unlink()
        return true_open(path, *more)

    monkeypatch.setattr(os, "open", vanishing)
    tree = WorkTree(tmp_path)
    paths = {
        row.path for row in Repository(tree).listing(Repository(tree).tree_of(str(tree.ref("HEAD"))), recursive=True)
    }
    assert paths == {b".pages", b"public", b"public/here"}
    assert tree.warnings == []


def _refused() -> int:
    raise PermissionError(13, "Permission denied")


def test_git_and_what_tools_leave_beside_the_site_are_no_content(tmp_path: Path, show: Show) -> None:
    files = {".pages": b"enabled: true\n", "public/index.html": b"x", "public/node_modules/kept.js": b"k"}
    write(tmp_path, files | {"node_modules/a/b.js": b"x", "public/.git/config": b"x", ".venv/c": b"x", "README": b"r"})
    forge = show(tmp_path)
    assert set(rows(forge, branch(forge)["id"])) == {*files, "README"}


def test_a_clean_work_tree_is_its_own_commit(tmp_path: Path, show: Show) -> None:
    site = work_tree(tmp_path, {".pages": b"enabled: true\n", "public/index.html": b"committed"})
    forge = show(tmp_path)
    assert branch(forge)["id"] == site.head()
    (tmp_path / "public/index.html").write_bytes(b"edited")
    edited = branch(forge)
    assert edited["id"] != site.head()
    parents = get(forge, f"/api/v1/repos/me/.profile/git/commits/{edited['id']}").json()["parents"]
    assert [one["sha"] for one in parents] == [site.head()]


def test_an_edit_is_never_dated_before_the_commit_that_it_follows(tmp_path: Path, show: Show) -> None:
    site = work_tree(tmp_path, {".pages": b"enabled: true\n"})
    late = int(time.time()) + 86_400
    site.commit({"public/index.html": b"from the future"}, when=late)
    write(tmp_path, {"public/index.html": b"edited"})
    forge = show(tmp_path)
    raw = get(forge, "/api/v1/repos/me/.profile/raw/public/index.html?ref=main")
    assert raw.body == b"edited"
    committed = get(forge, f"/api/v1/repos/me/.profile/git/commits/{branch(forge)['id']}").json()["created"]
    assert committed > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(late))


def test_other_branches_come_from_history(tmp_path: Path, show: Show) -> None:
    site = work_tree(tmp_path, {".pages": b"enabled: true\n", "public/index.html": b"main"})
    dev = site.commit({"public/index.html": b"on dev"}, branch="dev", parent=site.head())
    (tmp_path / "public/index.html").write_bytes(b"edited")
    forge = show(tmp_path)
    assert get(forge, "/api/v1/repos/me/.profile/branches/dev").json()["commit"]["id"] == dev
    assert get(forge, "/api/v1/repos/me/.profile/raw/public/index.html?ref=dev").body == b"on dev"
    assert get(forge, "/api/v1/repos/me/.profile/raw/public/index.html?ref=main").body == b"edited"
    assert {one["name"] for one in get(forge, "/api/v1/repos/me/.profile/branches").json()} == {"main", "dev"}


def test_another_branch_checked_out_becomes_the_default(tmp_path: Path, show: Show) -> None:
    site = work_tree(tmp_path, {".pages": b"enabled: true\n", "public/index.html": b"main"})
    site.point("topic", str(site.head()))
    forge = show(tmp_path)
    (tmp_path / ".git/HEAD").write_text("ref: refs/heads/topic\n")
    (tmp_path / "public/index.html").write_bytes(b"topic")
    assert get(forge, "/api/v1/repos/me/.profile").json()["default_branch"] == "topic"
    assert get(forge, "/api/v1/repos/me/.profile/raw/public/index.html").body == b"topic"
    assert get(forge, "/api/v1/repos/me/.profile/raw/public/index.html?ref=main").body == b"main"


def test_a_detached_head_is_a_branch_of_its_own(tmp_path: Path, show: Show) -> None:
    site = work_tree(tmp_path, {".pages": b"enabled: true\n", "public/index.html": b"committed"})
    (tmp_path / ".git/HEAD").write_text(f"{site.head()}\n")
    (tmp_path / "public/index.html").write_bytes(b"edited")
    forge = show(tmp_path)
    assert get(forge, "/api/v1/repos/me/.profile").json()["default_branch"] == DETACHED
    assert get(forge, "/api/v1/repos/me/.profile/raw/public/index.html").body == b"edited"
    assert get(forge, "/api/v1/repos/me/.profile/raw/public/index.html?ref=main").body == b"committed"
    assert any(DETACHED in hint for hint in forge.hints)


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_a_branch_without_commits_shows_the_files(tmp_path: Path, show: Show, object_format: str) -> None:
    Site(tmp_path / ".git", branch="trunk", object_format=object_format).close()
    write(tmp_path, {".pages": b"enabled: true\n", "public/index.html": b"unborn"})
    forge = show(tmp_path)
    about = get(forge, "/api/v1/repos/me/.profile").json()
    assert (about["default_branch"], about["empty"], about["object_format_name"]) == ("trunk", False, object_format)
    found = rows(forge, branch(forge)["id"])
    assert found["public/index.html"]["sha"] == object_id("blob", b"unborn", object_format)


def test_lfs_objects_are_taken_from_where_git_lfs_keeps_them(tmp_path: Path, show: Show) -> None:
    files = {".pages": b"enabled: true\n", "public/media.bin": lfs_pointer(LFS_OBJECT)}
    work_tree(tmp_path, files).upload_lfs(LFS_OBJECT)
    forge = show(tmp_path)
    assert get(forge, "/api/v1/repos/me/.profile/media/public/media.bin?ref=main").body == LFS_OBJECT
    assert get(forge, "/api/v1/repos/me/.profile/raw/public/media.bin?ref=main").body == lfs_pointer(LFS_OBJECT)


def test_a_large_file_that_changes_is_gone_under_its_old_id(tmp_path: Path, show: Show) -> None:
    write(tmp_path, {".pages": b"enabled: true\n", "public/big": noise(400_000, 1)})
    forge = show(tmp_path)
    old = rows(forge, branch(forge)["id"])["public/big"]
    assert bytes_of(forge, old) == noise(400_000, 1)
    (tmp_path / "public/big").write_bytes(noise(400_000, 2))
    assert get(forge, f"/api/v1/repos/me/.profile/git/blobs/{old['sha']}").status == 400
    new = rows(forge, branch(forge)["id"])["public/big"]
    assert bytes_of(forge, new) == noise(400_000, 2)


def test_what_is_sent_has_its_id_however_fast_the_files_change(tmp_path: Path, show: Show) -> None:
    write(tmp_path, {".pages": b"enabled: true\n", **{f"public/{number}": b"%d" % number for number in range(20)}})
    forge = show(tmp_path)
    done = threading.Event()

    def churn() -> None:
        random = Random(1)
        while not done.is_set():
            path = tmp_path / "public" / str(random.randrange(25))
            if random.random() < 0.2:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(random.randbytes(random.choice((0, 500, 300_000))))

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        verified = 0
        for _ in range(30):
            for row in list(rows(forge, branch(forge)["id"]).values())[:8]:
                received = get(forge, f"/api/v1/repos/me/.profile/git/blobs/{row['sha']}")
                assert received.status in (200, 400)
                if received.status == 200:
                    data = base64.b64decode(received.json()["content"])
                    assert (object_id("blob", data), len(data)) == (row["sha"], row["size"])
                    verified += 1
        assert verified > 30
    finally:
        done.set()
        churning.join()


def test_looking_at_ten_thousand_unchanged_files_is_quick(tmp_path: Path) -> None:
    (tmp_path / ".pages").write_bytes(b"enabled: true\n")
    for folder in range(100):
        below = tmp_path / "public" / f"{folder:02}"
        below.mkdir(parents=True)
        for number in range(100):
            (below / f"{number:02}.html").write_bytes(b"%d %d" % (folder, number))
    tree = WorkTree(tmp_path)
    commit = tree.ref("HEAD")
    fastest = 9.0
    for _ in range(5):
        started = time.perf_counter()
        tree.refresh()
        fastest = min(fastest, time.perf_counter() - started)
    assert tree.ref("HEAD") == commit
    assert fastest < 0.5
