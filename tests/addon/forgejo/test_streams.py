# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Large files and LFS objects, asked of a forge over real git objects: whole, in parts, and never the wrong ones."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from addon.forgejo.client import (
    BadAnswer,
    Forgejo,
    NotFound,
    TreeEntry,
)
from addon.forgejo.lfs import LfsPointer, lfs_pointer
from addon.preview.forge import Forge
from tests.addon.conftest import Connect, StartForge
from tests.addon.forgejo.lying_forge import blog_tree, streamed
from tests.addon.net.scripted import always, http, scripted
from tests.addon.preview.fixtures import LFS_OBJECT, noise
from tests.addon.preview.sites import Site
from tests.waiting import until

# Large files


BIG = noise(11 * 1024 * 1024, 11)


async def part_of_big(forgejo: Forgejo, start_at: int, end: int | None) -> bytes:
    """A part of the large file of the blog, streamed."""
    repository, tree = await blog_tree(forgejo)
    entry = next(entry for entry in tree.entries if entry.path == "public/big.dat")
    return await streamed(forgejo, repository, tree.commit, entry, start_at, end)


@pytest.mark.parametrize(
    ("start_at", "end"),
    [(0, None), (0, len(BIG)), (0, 1), (1, None), (len(BIG) - 1, None), (5_000_000, 5_000_100), (65_536, 131_072)],
)
async def test_a_large_file_is_streamed_whole_and_in_parts(
    forge: Forge, connect: Connect, start_at: int, end: int | None
) -> None:
    forgejo = connect(forge)
    assert await part_of_big(forgejo, start_at, end) == BIG[start_at:end]
    assert forgejo.calls == 4


@pytest.mark.parametrize(("start_at", "end"), [(-1, None), (5, 5), (6, 5), (0, 10**9), (10**9, None), (0, 0)])
async def test_a_range_that_is_none_is_the_callers_fault(
    forge: Forge, connect: Connect, start_at: int, end: int | None
) -> None:
    with pytest.raises(ValueError, match="no range"):
        await part_of_big(connect(forge), start_at, end)


async def test_every_file_can_be_streamed_whatever_its_name(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    blobs = await forgejo.blobs(repository, [(entry.id, entry.size) for entry in tree.entries])
    for entry in tree.entries:
        if entry.id in blobs:
            assert await streamed(forgejo, repository, tree.commit, entry) == blobs[entry.id], entry.path
    assert await streamed(forgejo, repository, tree.commit, tree.entries[0], 1, 3) == blobs[tree.entries[0].id][1:3]
    bad = next(entry for entry in tree.entries if "\ufffd" in entry.path)
    assert await streamed(forgejo, repository, tree.commit, bad, 4, 9) == b"utf-8"


@pytest.mark.parametrize("path", ["public/absent", "public/post", "a\0", "../x", "/x", "a//b", "", "a/./b"])
async def test_a_file_that_is_not_there_is_not_streamed(forge: Forge, connect: Connect, path: str) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    with pytest.raises(NotFound):
        await streamed(forgejo, repository, tree.commit, TreeEntry(path, 0o100644, tree.entries[0].id, 42))


async def test_a_file_of_another_commit_is_not_streamed(forge: Forge, connect: Connect, repositories: Path) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    entry = next(entry for entry in tree.entries if entry.path == "public/index.html")
    other = str(Site(repositories / "alice" / "blog.git").head("dev"))
    for start_at in (0, 1):
        with pytest.raises(BadAnswer, match="another file"):
            await streamed(forgejo, repository, other, entry, start_at)


async def test_a_reader_that_leaves_a_stream_closes_its_connection(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    entry = next(entry for entry in tree.entries if entry.path == "public/big.dat")
    for _ in range(3):
        async with forgejo.files.stream(
            repository, path=entry.path, commit=tree.commit, id=entry.id, size=entry.size
        ) as chunks:
            assert BIG.startswith(await anext(chunks))
    await until(lambda: forge.in_flight == 0)
    assert forge.bytes_sent < 3 * len(BIG)


# LFS


OID = hashlib.sha256(LFS_OBJECT).hexdigest()


async def media(forgejo: Forgejo, path: str, oid: str, size: int, start: int = 0, end: int | None = None) -> bytes:
    repository, tree = await blog_tree(forgejo)
    async with forgejo.files.media(
        repository, path=path, commit=tree.commit, oid=oid, size=size, start=start, end=end
    ) as chunks:
        return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize(("start_at", "end"), [(0, None), (10, 20), (69_999, None), (1, None), (0, 1)])
@pytest.mark.parametrize("storage", [False, True])
async def test_an_lfs_object_is_streamed_whole_and_in_parts(
    start_forge: StartForge, connect: Connect, start_at: int, end: int | None, storage: bool
) -> None:
    wanted = LFS_OBJECT[start_at:end]
    last = start_at + len(wanted) - 1
    partial = len(wanted) < len(LFS_OBJECT)
    fields = [("Content-Range", f"bytes {start_at}-{last}/{len(LFS_OBJECT)}")] if partial else []
    async with scripted(always(http(206 if partial else 200, wanted, *fields))) as elsewhere:
        if storage:
            forge = start_forge(lfs_storage_url=f"{elsewhere.url}/bucket", require_sign_in=True)
            forgejo = connect(forge, "alice", lfs_storage_hosts=[f"127.0.0.1:{elsewhere.port}"])
        else:
            forgejo = connect(start_forge())
        assert await media(forgejo, "public/media.bin", OID, len(LFS_OBJECT), start_at, end) == wanted
        assert len(elsewhere.requests) == storage
        for seen in elsewhere.requests:
            assert "authorization" not in seen.headers
            assert seen.headers.get("range") == (f"bytes={start_at}-{last}" if partial else None)


async def test_a_small_lfs_object_comes_in_one_piece(forge: Forge, connect: Connect) -> None:
    forgejo = connect(forge)
    repository, tree = await blog_tree(forgejo)
    entry = next(entry for entry in tree.entries if entry.path == "public/media.bin")
    pointer = lfs_pointer((await forgejo.blobs(repository, [(entry.id, entry.size)]))[entry.id])
    assert pointer == LfsPointer(OID, len(LFS_OBJECT))
    before = forgejo.calls
    assert (
        await forgejo.files.media_bytes(repository, path=entry.path, commit=tree.commit, oid=OID, size=len(LFS_OBJECT))
        == LFS_OBJECT
    )
    assert forgejo.calls == before + 1


@pytest.mark.parametrize(("start_at", "size"), [(0, 5), (1, 5), (200, 500), (0, 126)])
async def test_a_pointer_without_its_object_is_not_found(
    forge: Forge, connect: Connect, start_at: int, size: int
) -> None:
    with pytest.raises(NotFound) as caught:
        await media(connect(forge), "public/fake-pointer.txt", "0" * 64, size, start_at)
    assert not caught.value.certain


async def test_an_lfs_storage_that_nobody_named_is_not_asked(
    start_forge: StartForge, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted(always(http(200, LFS_OBJECT))) as elsewhere:
        forge = start_forge(lfs_storage_url=f"{elsewhere.url}/bucket")
        for hosts in ([], ["127.0.0.1"], ["127.0.0.1:1"], ["example.org"]):
            forgejo = connect(forge, lfs_storage_hosts=hosts)
            for _ in range(2):
                with pytest.raises(BadAnswer):
                    await media(forgejo, "public/media.bin", OID, len(LFS_OBJECT))
        assert not elsewhere.requests
    assert [record.getMessage() for record in caplog.records] == [
        f"Forgejo keeps LFS objects at 127.0.0.1:{elsewhere.port}, which is not in lfsStorageHosts"
    ] * 4


async def test_an_lfs_storage_that_sends_something_else_is_not_believed(
    start_forge: StartForge, connect: Connect
) -> None:
    other = noise(len(LFS_OBJECT), 99)
    async with scripted(always(http(200, other))) as elsewhere:
        forgejo = connect(start_forge(lfs_storage_url=elsewhere.url), lfs_storage_hosts=[f"127.0.0.1:{elsewhere.port}"])
        repository, tree = await blog_tree(forgejo)
        received = 0
        async with forgejo.files.media(
            repository, path="public/media.bin", commit=tree.commit, oid=OID, size=len(LFS_OBJECT)
        ) as chunks:
            with pytest.raises(BadAnswer, match="do not match"):
                received = await length_of(chunks)
        assert received < len(LFS_OBJECT)


async def length_of(chunks: AsyncIterator[bytes]) -> int:
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        assert received < len(LFS_OBJECT), "the last chunk came before the hash was known"
    return received


# Pointers


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5\n", LfsPointer("a" * 64, 5)),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5", LfsPointer("a" * 64, 5)),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 0\n", LfsPointer("a" * 64, 0)),
        (
            "version https://git-lfs.github.com/spec/v1\next-0-foo sha256:{oid}\noid sha256:{oid}\nsize 12345\n",
            LfsPointer("a" * 64, 12345),
        ),
        ("version https://git-lfs.github.com/spec/v1\nsize 5\noid sha256:{oid}\n", None),
        ("version https://git-lfs.github.com/spec/v1\r\noid sha256:{oid}\r\nsize 5\r\n", None),
        ("version https://git-lfs.github.com/spec/v2\noid sha256:{oid}\nsize 5\n", None),
        (" version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5\n", None),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:A{oid}\nsize 5\n", None),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize -5\n", None),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5\nmore\n", None),
        ("version https://git-lfs.github.com/spec/v1\noid md5:{oid}\nsize 5\n", None),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5\n" + "\n" * 1024, None),
        ("", None),
    ],
)
def test_what_is_an_lfs_pointer(text: str, pointer: LfsPointer | None) -> None:
    assert lfs_pointer(text.format(oid="a" * 64).encode()) == pointer
