# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Objects are read wherever git may have put them: loose, packed, as deltas, in another repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from dulwich.object_format import get_object_format
from dulwich.objects import ShaFile
from dulwich.pack import write_pack

from addon.preview.objects import Header, ObjectMissing, Objects, object_id
from addon.preview.repository import GitDirectory, Repository, RevisionMissing
from tests.addon.preview.fixtures import noise
from tests.addon.preview.sites import Site, executable, link

FORMATS = ["sha1", "sha256"]
# Five versions of one file, alike enough that git keeps them as deltas.
VERSIONS = [noise(20_000, 5) + b"%d" % number + noise(20_000, 6) for number in range(5)]


def packed_by_dulwich(folder: Path, object_format: str) -> None:
    """Puts the versions into a pack as deltas; dulwich writes such packs for SHA-1 only."""
    blobs = [ShaFile.from_raw_string(3, data) for data in VERSIONS]
    Site(folder, object_format=object_format).close()
    (folder / "objects" / "pack").mkdir(exist_ok=True)
    write_pack(
        str(folder / "objects" / "pack" / "pack-0123"),
        [(one, None) for one in blobs],
        deltify=True,
        delta_window_size=10,
        object_format=get_object_format(object_format),
    )


def packed_by_git(folder: Path, object_format: str, *options: str) -> None:
    """The same, by git itself."""
    files = {f"f{number}": data for number, data in enumerate(VERSIONS)}
    Site(folder, files, object_format=object_format).close()
    subprocess.run(["git", "repack", "-a", "-d", "-f", "-q"], cwd=folder, check=True)
    subprocess.run(["git", *options, "prune-packed", "-q"], cwd=folder, check=True)
    packs = list((folder / "objects" / "pack").glob("*.pack"))
    assert len(packs) == 1
    if options:
        # Without --delta-base-offset deltas name their base by id.
        ids = subprocess.run(["git", "rev-list", "--objects", "--all"], cwd=folder, check=True, capture_output=True)
        base = folder / "objects" / "pack" / "pack"
        listed = b"".join(line.split(b" ")[0] + b"\n" for line in ids.stdout.splitlines())
        subprocess.run(
            ["git", "pack-objects", "-q", "--no-reuse-delta", str(base)], cwd=folder, input=listed, check=True
        )
        for old in (*packs, *(one.with_suffix(".idx") for one in packs)):
            old.unlink()


def check_deltas(folder: Path, object_format: str) -> None:
    (pack,) = (folder / "objects" / "pack").glob("*.pack")
    assert pack.stat().st_size < 2 * len(VERSIONS[0]), "nothing was stored as a delta"
    objects = Objects(folder / "objects", object_format)
    for data in VERSIONS:
        oid = object_id("blob", data, object_format)
        assert objects.header(oid) == Header("blob", len(data))
        assert objects.read(oid) == ("blob", data)
        assert b"".join(objects.chunks(oid, 100, 30_000)) == data[100:30_000]
    objects.close()


def test_deltas_have_their_true_size_kind_and_bytes(tmp_path: Path) -> None:
    packed_by_dulwich(tmp_path / "a.git", "sha1")
    check_deltas(tmp_path / "a.git", "sha1")


@pytest.mark.parametrize("object_format", FORMATS)
@pytest.mark.parametrize("options", [(), ("-c", "repack.useDeltaBaseOffset=false")], ids=["by-offset", "by-id"])
@pytest.mark.skipif(shutil.which("git") is None and "CI" not in os.environ, reason="packs that git wrote need git")
def test_packs_that_git_wrote_are_read(tmp_path: Path, object_format: str, options: tuple[str, ...]) -> None:
    packed_by_git(tmp_path / "a.git", object_format, *options)
    check_deltas(tmp_path / "a.git", object_format)


@pytest.mark.parametrize("object_format", FORMATS)
@pytest.mark.parametrize("count", [3, 600])
def test_any_part_of_a_blob_can_be_read(tmp_path: Path, object_format: str, count: int) -> None:
    data = noise(200_000, 9)
    site = Site(tmp_path / "a.git", {f"f{number}": b"%d" % number for number in range(count)} | {"big": data},
                object_format=object_format)  # fmt: skip
    loose = not list((tmp_path / "a.git/objects/pack").glob("*.pack"))
    assert loose == (count == 3)
    objects = Objects(tmp_path / "a.git" / "objects", object_format)
    oid = site.blob_id(data)
    for start, stop in ((0, None), (0, 1), (65_535, 65_537), (199_999, 200_000), (150_000, 900_000), (5, 5)):
        assert b"".join(objects.chunks(oid, start, stop)) == data[start:stop]
    assert objects.read(site.blob_id(b"0")) == ("blob", b"0")
    with pytest.raises(ObjectMissing):
        objects.header("1" * len(oid))
    objects.close()


def test_objects_borrowed_from_another_repository_are_found(tmp_path: Path) -> None:
    lender, borrower = Site(tmp_path / "lender.git", {"a": b"lent"}), Site(tmp_path / "borrower.git")
    info = tmp_path / "borrower.git" / "objects" / "info"
    info.mkdir(exist_ok=True)
    (info / "alternates").write_text("../../lender.git/objects\n")
    borrower.close()
    objects = Objects(tmp_path / "borrower.git" / "objects", "sha1")
    assert objects.read(lender.blob_id(b"lent")) == ("blob", b"lent")
    objects.close()


def test_a_pack_that_arrives_later_is_found(tmp_path: Path) -> None:
    site = Site(tmp_path / "a.git", {"a": b"1"})
    source = GitDirectory(tmp_path / "a.git")
    before = len(list(source.ids_beginning(site.blob_id(b"1")[:2])))
    assert before >= 1
    pushed = site.commit({f"f{number}": b"%d" % number for number in range(800)})
    assert Repository(source).commit(pushed).parents
    source.close()


def test_a_large_blob_is_read_with_little_memory(tmp_path: Path) -> None:
    data = noise(24 * 1024 * 1024, 4)
    site = Site(tmp_path / "a.git", {"big": data})
    objects = Objects(tmp_path / "a.git" / "objects", "sha1")
    size, oid = len(data), site.blob_id(data)
    del data
    tracemalloc.start()
    read = sum(len(piece) for piece in objects.chunks(oid))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read == size
    assert peak < 1024 * 1024
    objects.close()


@pytest.fixture
def history(tmp_path: Path) -> tuple[Site, Repository, list[str]]:
    site = Site(tmp_path / "a.git")
    commits = [
        site.commit({"a": b"1", "d/b": b"1", "run": executable(b"x"), "to": link("a")}),
        site.commit({"a": b"2"}),
        site.commit({"d/b": b"2"}),
    ]
    site.tag("light", commits[0])
    site.tag("heavy", commits[1], "A tag")
    site.point("light", commits[2])
    site.point("feature/x", commits[1])
    return site, Repository(GitDirectory(tmp_path / "a.git")), commits


@pytest.mark.parametrize(
    ("revision", "number"),
    [
        ("main", 2),
        ("HEAD", 2),
        ("@", 2),
        ("refs/heads/main", 2),
        ("heads/main", 2),
        ("light", 0),  # a tag goes before a branch of its name
        ("refs/heads/light", 2),
        ("heavy", 1),
        ("tags/heavy", 1),
        ("heavy^{}", 1),
        ("heavy^{commit}", 1),
        ("feature/x", 1),
        ("main~1", 1),
        ("main~2", 0),
        ("main^", 1),
        ("main^^", 0),
        ("main^1~1", 0),
        ("main^0", 2),
    ],
)
def test_names_mean_the_commits_that_git_takes_them_for(
    history: tuple[Site, Repository, list[str]], revision: str, number: int
) -> None:
    _, repository, commits = history
    assert repository.commit_of(revision) == commits[number]


@pytest.mark.parametrize(
    "revision", ["", "absent", "main~3", "main^2", "x" * 40, "1" * 40, "main:nothing", "main^{blob}", "abc", "HEAD~x"]
)
def test_what_means_nothing_is_missing(history: tuple[Site, Repository, list[str]], revision: str) -> None:
    with pytest.raises(RevisionMissing):
        history[1].commit_of(revision)


def test_ids_may_be_shortened_and_in_capitals(history: tuple[Site, Repository, list[str]]) -> None:
    _, repository, commits = history
    assert [repository.commit_of(oid[:10]) for oid in commits] == commits
    assert repository.commit_of(commits[0].upper()) == commits[0]
    assert repository.resolve(f"{commits[0]}:d") == repository.entry_at(repository.commit(commits[0]).tree, b"d").id
    assert repository.resolve("main^{tree}") == repository.commit(commits[2]).tree


def test_the_last_commit_of_a_path_is_the_one_that_changed_it(history: tuple[Site, Repository, list[str]]) -> None:
    _, repository, commits = history
    touched = {path: repository.last_touching(commits[2], path).id for path in (b"a", b"d/b", b"d", b"run", b"to")}
    assert touched == {b"a": commits[1], b"d/b": commits[2], b"d": commits[2], b"run": commits[0], b"to": commits[0]}
