# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Trees and blobs, asked of a forge over real git objects: right answers, and in how many calls."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from addon.forgejo.client import (
    BadAnswer,
    BlobTooLarge,
    NotFound,
    TooManyFiles,
    Tree,
    TreeEntry,
)
from addon.preview.forge import Forge
from addon.preview.settings import FORGEJO_11, GITEA, Flavour, Limits
from tests.addon.conftest import Connect, StartForge
from tests.addon.forgejo.lying_forge import blog_tree, streamed
from tests.addon.preview.fixtures import page
from tests.addon.preview.running import start_forge as start_over
from tests.addon.preview.sites import Site

# Trees


async def test_a_tree_has_files_and_links_and_nothing_else(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    _, tree = await blog_tree(forgejo)
    entries = {entry.path: entry for entry in tree.entries}
    assert tree.total == 59
    assert len(entries) == len(tree.entries) == 49
    assert entries["public/index.html"] == TreeEntry(
        "public/index.html", 0o100644, "a4c66ce92bd6f67f5ddfc4e98aeabbfb6dee5473", 151
    )
    assert entries["public/run.sh"].mode == 0o100755
    assert entries["public/link.html"].mode == 0o120000
    assert entries["public/big.dat"].size == 11 * 1024 * 1024
    assert entries["public/empty.txt"].size == 0
    assert entries["public/files/日本.html"].size == len(page("日本"))
    assert "public/files/bad\ufffd.txt" in entries
    assert "public/module" not in entries
    assert "public" not in entries
    assert forgejo.calls == 3


@pytest.mark.parametrize(
    ("limits", "flavour", "calls"),
    [
        ({}, None, 3),
        ({"default_git_trees_per_page": 100}, None, 26),
        ({"default_git_trees_per_page": 1264}, None, 3),
        ({"default_git_trees_per_page": 5000}, None, 3),
        ({}, GITEA, 3),
        ({"default_git_trees_per_page": 843}, GITEA, 3),
    ],
)
async def test_a_large_tree_comes_in_pages(
    start_forge: StartForge,
    connect: Connect,
    repositories: Path,
    limits: dict[str, int],
    flavour: Flavour | None,
    calls: int,
) -> None:
    options: dict[str, Any] = {} if flavour is None else {"flavour": flavour}
    forge = start_forge(limits=Limits(**limits), **options)
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "many")
    commit = str(Site(repositories / "alice" / "many.git").head())
    tree = await forgejo.tree(repository, commit, max_entries=2528)
    assert forgejo.calls == 1 + calls
    assert (tree.total, len(tree.entries)) == (2528, 2502)
    assert [entry.path for entry in tree.entries[1:-1]] == [f"public/d{n // 100:02}/f{n:04}.txt" for n in range(2500)]
    pages = [page async for page in forgejo.tree_pages(repository, commit, most_bytes=10**6)]
    assert [entry for page in pages for entry in page] == tree.entries


async def test_who_has_seen_enough_of_a_tree_asks_for_no_more_pages(
    forge: Forge, connect: Connect, repositories: Path
) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "many")
    async for entries in forgejo.tree_pages(
        repository, str(Site(repositories / "alice" / "many.git").head()), most_bytes=10**6
    ):
        assert entries[0].path == ".pages"
        break
    assert forgejo.calls == 2


async def test_a_tree_of_too_many_entries_costs_one_call(forge: Forge, connect: Connect, repositories: Path) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "many")
    with pytest.raises(TooManyFiles) as caught:
        await forgejo.tree(repository, str(Site(repositories / "alice" / "many.git").head()), max_entries=2527)
    assert caught.value.total == 2528
    assert forgejo.calls == 2


async def test_an_empty_tree_has_no_entries(tmp_path: Path, connect: Connect) -> None:
    commit = Site(tmp_path / "alice" / "void.git").commit({})
    forge = start_over(tmp_path)
    try:
        forgejo = connect(forge)
        tree = await forgejo.tree(await forgejo.repository("alice", "void"), commit, max_entries=10)
        assert tree == Tree(commit, [], 0)
    finally:
        forge.stop()


@pytest.mark.parametrize("commit", ["1" * 40, "1" * 64])
async def test_a_commit_that_git_does_not_know_is_asked_for_twice(forge: Forge, connect: Connect, commit: str) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "blog")
    with pytest.raises(NotFound) as caught:
        await forgejo.tree(repository, commit, max_entries=10)
    assert not caught.value.certain
    assert forgejo.calls == 3


async def test_a_commit_that_can_be_no_id_costs_no_call(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "blog")
    for commit in ("main", "1" * 39, "A" * 40, "../x", ""):
        with pytest.raises(NotFound):
            await forgejo.tree(repository, commit, max_entries=10)
    assert forgejo.calls == 1


async def test_names_that_come_out_alike_are_no_lie(tmp_path: Path, connect: Connect) -> None:
    site = Site(tmp_path / "alice" / "odd.git")
    commit = site.commit({b"public/\xfe.txt": b"one", b"public/\xff.txt": b"other", "public/z": b"z"})
    forge = start_over(tmp_path)
    try:
        forgejo = connect(forge)
        repository = await forgejo.repository("alice", "odd")
        tree = await forgejo.tree(repository, commit, max_entries=10)
        assert [entry.path for entry in tree.entries] == ["public/z", "public/\ufffd.txt"]
        assert tree.total == 4
        assert await streamed(forgejo, repository, commit, tree.entries[1]) == b"one"
    finally:
        forge.stop()


# Blobs


@pytest.mark.parametrize(
    ("flavour", "limits", "calls"),
    [
        (None, {}, 1 + 1),  # two batches: the second is what did not fit into 8 MiB
        (None, {"max_response_items": 20}, 1 + 3),
        (None, {"max_response_items": 1}, 1 + 46),
        (FORGEJO_11, {}, 1 + 47),
        (GITEA, {}, 1 + 47),
    ],
)
async def test_all_blobs_of_a_site(
    start_forge: StartForge, connect: Connect, flavour: Flavour | None, limits: dict[str, int], calls: int
) -> None:
    options: dict[str, Any] = {} if flavour is None else {"flavour": flavour}
    forgejo = connect(start_forge(limits=Limits(**limits), **options))
    repository, tree = await blog_tree(forgejo)
    sizes = {entry.id: entry.size for entry in tree.entries if entry.path != "public/big.dat"}
    assert sizes["8486789f24a0de695de84a57dea2760189ef2765"] == 10 * 1024 * 1024
    before = forgejo.calls
    blobs = await forgejo.blobs(repository, list(sizes.items()))
    made = forgejo.calls - before
    assert list(blobs) == list(sizes)
    for blob_id, data in blobs.items():
        assert len(data) == sizes[blob_id]
        assert hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == blob_id
    assert len(sizes) == 48
    assert made == calls
    again = list(sizes.items())[:10]
    before = forgejo.calls
    assert await forgejo.blobs(repository, again) == {blob_id: blobs[blob_id] for blob_id, _ in again}
    if limits.get("max_response_items") != 1 and flavour is None:
        assert forgejo.calls - before == 1
    else:
        assert forgejo.calls - before == 10


async def test_one_blob_is_one_call_and_an_empty_one_none(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    entries = {entry.path: entry for entry in tree.entries}
    empty, index = entries["public/empty.txt"], entries["public/index.html"]
    assert await forgejo.blobs(repository, []) == {}
    assert await forgejo.blobs(repository, [(empty.id, 0)]) == {empty.id: b""}
    assert forgejo.calls == 3
    both = await forgejo.blobs(repository, [(empty.id, 0), (index.id, index.size), (index.id, index.size)])
    assert both == {empty.id: b"", index.id: page("Blog, second")}
    assert forgejo.calls == 4
    with pytest.raises(BadAnswer):
        await forgejo.blobs(repository, [("1" * 40, 0)])


@pytest.mark.parametrize("flavour", [None, FORGEJO_11, GITEA])
async def test_a_blob_above_the_limit_is_left_out_or_said(
    start_forge: StartForge, connect: Connect, flavour: Flavour | None
) -> None:
    forgejo = connect(start_forge(**({} if flavour is None else {"flavour": flavour})))
    repository, tree = await blog_tree(forgejo)
    entries = {entry.path: entry for entry in tree.entries}
    big, index = entries["public/big.dat"], entries["public/index.html"]
    found = await forgejo.blobs(repository, [(big.id, big.size), (index.id, index.size)])
    assert list(found) == [index.id]
    with pytest.raises(BlobTooLarge) as caught:
        await forgejo.blobs(repository, [(big.id, big.size)])
    assert caught.value.id == big.id
    before = forgejo.calls
    with pytest.raises(BlobTooLarge):
        await forgejo.blobs(repository, [("1" * 40, 2**40)])
    assert forgejo.calls == before


@pytest.mark.parametrize("count", [1, 2])
async def test_a_blob_that_git_does_not_know(forge: Forge, connect: Connect, count: int) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    wanted = [("1" * 40, 5), (tree.entries[0].id, tree.entries[0].size)][:count]
    with pytest.raises(NotFound) as caught:
        await forgejo.blobs(repository, wanted)
    assert not caught.value.certain
    assert forgejo.calls == 3 + 2


@pytest.mark.parametrize("wanted", [[("main", 5)], [("1" * 39, 5)], [("a" * 40, 5), ("a" * 40, 6)]])
async def test_blobs_are_asked_for_by_id_and_size(
    forge: Forge, connect: Connect, wanted: list[tuple[str, int]]
) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "blog")
    with pytest.raises(ValueError, match="full ids"):
        await forgejo.blobs(repository, wanted)
    assert forgejo.calls == 1


async def test_a_repository_of_sha256_objects(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    repository = await forgejo.repository("alice", "sixtyfour")
    branch = await forgejo.branch(repository, "main")
    assert len(branch.commit) == 64
    tree = await forgejo.tree(repository, branch.commit, max_entries=10)
    entries = {entry.path: entry for entry in tree.entries}
    style, index = entries["public/a.css"], entries["public/index.html"]
    blobs = await forgejo.blobs(repository, [(style.id, style.size), (index.id, index.size)])
    assert blobs == {style.id: b"a{}\n", index.id: page("sha256")}
    assert await streamed(forgejo, repository, tree.commit, style) == b"a{}\n"
