# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a person points `pages preview` at: found out, served, and explained in hints."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from addon.preview.objects import DulwichMissing
from addon.preview.opening import PreviewError, open_preview
from tests.addon.preview.asking import get
from tests.addon.preview.sites import Site
from tests.addon.preview.test_worktree import work_tree, write


@contextmanager
def serving(forge: Forge) -> Iterator[Forge]:
    forge.start_thread()
    try:
        yield forge
    finally:
        forge.stop()


def test_a_folder_that_a_generator_made_is_the_site_itself(tmp_path: Path) -> None:
    write(tmp_path / "My Docs", {"index.html": b"home", "404.html": b"none", "venv/kept.txt": b"content"})
    with serving(open_preview(tmp_path / "My Docs")) as forge:
        assert (forge.owner, forge.repository) == ("my-docs", ".profile")
        base = "/api/v1/repos/my-docs/.profile/raw"
        assert get(forge, f"{base}/public/index.html").body == b"home"
        assert get(forge, f"{base}/public/venv/kept.txt").body == b"content"
        assert get(forge, f"{base}/.pages").body == b"enabled: true\n"
        assert get(forge, f"{base}/index.html").status == 404
        assert len(forge.hints) == 1
        assert "neither public/ nor .pages" in forge.hints[0]
        # Once it has the form of a site, it is one.
        write(tmp_path / "My Docs", {"public/index.html": b"built"})
        assert get(forge, f"{base}/public/index.html").body == b"built"


def test_a_missing_settings_file_is_made_up_and_said(tmp_path: Path) -> None:
    write(tmp_path, {"public/index.html": b"home"})
    with serving(open_preview(tmp_path, "me")) as forge:
        assert get(forge, "/api/v1/repos/me/.profile/raw/.pages").body == b"enabled: true\n"
        assert [".pages" in hint for hint in forge.hints] == [True]
        (tmp_path / ".pages").write_bytes(b"enabled: false\n")
        assert get(forge, "/api/v1/repos/me/.profile/raw/.pages").body == b"enabled: false\n"


def test_a_complete_site_needs_no_hint(tmp_path: Path) -> None:
    write(tmp_path, {".pages": b"enabled: true\n", "public/index.html": b"home"})
    assert open_preview(tmp_path).hints == []


def test_settings_without_content_are_pointed_out(tmp_path: Path) -> None:
    write(tmp_path, {".pages": b"enabled: true\n"})
    assert "nothing to show" in open_preview(tmp_path).hints[0]


@pytest.mark.parametrize(
    ("name", "expected", "address"),
    [
        (None, ("a-folder", ".profile"), "http://a-folder.pages.localhost:8080/"),
        ("Alice", ("Alice", ".profile"), "http://alice.pages.localhost:8080/"),
        ("alice/Blog", ("alice", "Blog"), "http://alice.pages.localhost:8080/Blog/"),
        ("al.ice/b", ("al.ice", "b"), "http://al.ice.pages.localhost:8080/b/"),
    ],
)
def test_the_name_decides_the_address(
    tmp_path: Path, name: str | None, expected: tuple[str, str], address: str
) -> None:
    write(tmp_path / "A_folder", {"public/index.html": b"x"})
    forge = open_preview(tmp_path / "A_folder", name)
    assert (forge.owner, forge.repository) == expected
    assert forge.addresses("pages.localhost", 8080) == [address]
    assert forge.addresses("pages.localhost", 80) == [address.replace(":8080", "")]


@pytest.mark.parametrize("name", ["", "-a", "a..b", "a b", "a/", "/b", "a/b/c", "é", "x" * 41, "a/.."])
def test_a_name_that_no_forge_would_take_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PreviewError, match="expected"):
        open_preview(tmp_path, name)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path, said in ((tmp_path / "file", "is a file"), (tmp_path / "absent", "does not exist")):
        with pytest.raises(PreviewError, match=said):
            open_preview(path)


def test_a_bare_repository_is_served_as_it_is(tmp_path: Path) -> None:
    site = Site(tmp_path / "my.site.git", {"public/index.html": b"bare"})
    with serving(open_preview(tmp_path / "my.site.git")) as forge:
        assert (forge.owner, forge.repository) == ("my-site", ".profile")
        found = get(forge, "/api/v1/repos/my-site/.profile/branches/main").json()
        assert found["commit"]["id"] == site.head()
        pushed = site.commit({"public/index.html": b"pushed"})
        found = get(forge, "/api/v1/repos/my-site/.profile/branches/main").json()
        assert found["commit"]["id"] == pushed


def test_a_folder_of_repositories_serves_all_of_them(tmp_path: Path) -> None:
    Site(tmp_path / "alice" / "blog.git", {"public/index.html": b"blog"})
    Site(tmp_path / "bob" / ".profile.git", {"public/index.html": b"bob"})
    with serving(open_preview(tmp_path)) as forge:
        assert (forge.owner, forge.repository) == ("alice", "blog")
        assert forge.addresses("pages.localhost", 8080) == [
            "http://alice.pages.localhost:8080/blog/",
            "http://bob.pages.localhost:8080/",
        ]
        assert get(forge, "/api/v1/repos/bob/.profile/raw/public/index.html").body == b"bob"
    with pytest.raises(PreviewError):
        open_preview(tmp_path, "carol")


def test_a_repository_made_deleted_and_made_again_is_found_each_time(tmp_path: Path) -> None:
    Site(tmp_path / "alice" / "one.git", {"a": b"1"})
    with serving(open_preview(tmp_path)) as forge:
        assert get(forge, "/api/v1/repos/alice/two").status == 404
        Site(tmp_path / "alice" / "two.git", {"a": b"2"}).close()
        assert get(forge, "/api/v1/repos/alice/two/raw/a").body == b"2"
        shutil.rmtree(tmp_path / "alice" / "two.git")
        assert get(forge, "/api/v1/repos/alice/two").status == 404
        Site(tmp_path / "alice" / "two.git", {"a": b"3"}).close()
        assert get(forge, "/api/v1/repos/alice/two/raw/a").body == b"3"


def test_without_dulwich_files_are_shown_and_repositories_say_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Site(tmp_path / "bare.git", {"public/index.html": b"x"}).close()
    work_tree(tmp_path / "tree", {".pages": b"enabled: true\n", "public/index.html": b"files"})
    write(tmp_path / "folder", {"index.html": b"plain"})
    for module in [name for name in sys.modules if name.split(".")[0] == "dulwich"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DulwichMissing, match=r"pip install 'dulwich>=1.2'"):
        open_preview(tmp_path / "bare.git")
    for folder, content in (("tree", b"files"), ("folder", b"plain")):
        with serving(open_preview(tmp_path / folder, "me")) as forge:
            assert get(forge, "/api/v1/repos/me/.profile/raw/public/index.html").body == content
            assert any("dulwich" in hint for hint in forge.hints) == (folder == "tree")


def test_a_broken_git_folder_leaves_the_files(tmp_path: Path) -> None:
    write(tmp_path, {".pages": b"enabled: true\n", "public/index.html": b"files", ".git/HEAD": b"nonsense"})
    with serving(open_preview(tmp_path, "me")) as forge:
        assert get(forge, "/api/v1/repos/me/.profile/raw/public/index.html").body == b"files"
        assert "without history" in forge.hints[0]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:9", 200),
        ("localhost:9", 200),
        ("forge.localhost", 200),
        ("[::1]:9", 200),
        ("evil.example.org", 421),
        ("localhost.example.org", 421),
        ("notlocalhost", 421),
    ],
)
def test_a_preview_answers_to_names_of_this_machine_only(tmp_path: Path, host: str, status: int) -> None:
    write(tmp_path, {"index.html": b"x"})
    with serving(open_preview(tmp_path)) as forge:
        assert get(forge, "/api/v1/version", {"Host": host}).status == status
