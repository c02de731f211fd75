# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Where Forgejo may send us: to another name of a repository, to its LFS storage, and nowhere else."""

from __future__ import annotations

import asyncio

import pytest

from addon.forgejo.client import (
    BadAnswer,
    Forgejo,
)
from tests.addon.conftest import Connect
from tests.addon.forgejo.lying_forge import (
    LARGE_FILE,
    REPOSITORY,
    Question,
    ask_blob,
    ask_blobs,
    ask_branch,
    ask_media,
    ask_repository,
    ask_stream,
    ask_tree,
    changed,
    raw,
)
from tests.addon.net.scripted import (
    HTML,
    Seen,
    always,
    as_json,
    http,
    scripted,
    silence,
)

TOKEN = "5ec7e7" * 6 + "abcd"


# Redirects


@pytest.mark.parametrize("question", [ask_repository, ask_branch, ask_tree, ask_blob, ask_blobs, ask_stream, ask_media])
@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "http://{other}/api/v1/repos/alice/new",
        "//{other}/api/v1/repos/alice/new",
        "https://{host}/api/v1/repos/alice/new",
        "http://user@{host}/api/v1/repos/alice/new",
        "http://{host}.evil.example/api/v1/repos/alice/new",
        "ftp://{host}/api/v1/repos/alice/new",
        "javascript:alert(1)",
        "/user/login",
        "/",
        "/api/v1/users/alice/new",
        "/api/v1/admin/users",
        "/api/v1/repos",
        "/api/v1/repos/",
        "/api/v1/repos/alice",
        "/api/v1/repos/alice/",
        "/api/v1/repos//new",
        "/api/v1/repos/../admin/users",
        "/api/v1/repos/%2e%2e/admin",
        "/api/v1/repos/a%2Fb/new",
        "/api/v1/repos/alice/..%2f..%2fadmin",
        "/api/v1/repos/alice/n%00ew",
        "/api/v1/repos/alice/n ew",
        "/api\\v1/repos/alice/new",
        "/../api/v1/repos/alice/ne%20w",
        "/a?/api/v1/repos/alice/new",
        "/a#/api/v1/repos/alice/new",
        "/api/v1/repos/alice/blog",
        "http://[/api/v1/repos/alice/new",
    ],
)
async def test_a_redirect_out_of_the_repositories_is_not_followed(
    connect: Connect, question: Question, location: str | None
) -> None:
    async with scripted(always(as_json(REPOSITORY))) as other, scripted(silence) as server:
        named = (location or "").format(other=f"127.0.0.1:{other.port}", host=f"127.0.0.1:{server.port}")
        fields = [] if location is None else [("Location", named)]
        server.answer = always(http(301, b"<a>Moved</a>", HTML, *fields))
        with pytest.raises(BadAnswer):
            await question(connect(server, TOKEN))
        assert len(server.requests) == 1
        assert not other.requests


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(
    "location",
    ["/api/v1/repos/bob/diary", "http://{host}/api/v1/repos/bob/diary?x=y", "/git/api/v1/repos/bob/diary/branches/z"],
)
async def test_only_the_new_name_is_taken_out_of_a_redirect(connect: Connect, status: int, location: str) -> None:
    document = changed(changed(REPOSITORY, "owner.login", "bob"), "name", "diary")

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        if seen.path == "/api/v1/repos/bob/diary":
            return as_json(document)
        return http(status, b"", ("Location", location.format(host=f"127.0.0.1:{server.port}")))

    async with scripted(answer) as server:
        repository = await connect(server).repository("alice", "blog")
        assert (repository.owner, repository.name) == ("bob", "diary")
        assert server.targets == ["/api/v1/repos/alice/blog", "/api/v1/repos/bob/diary"]


async def test_a_forge_below_a_path_is_asked_below_it(connect: Connect) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        if seen.path == "/git/api/v1/repos/alice/blog":
            return as_json(REPOSITORY)
        return http(301, b"", ("Location", "/git/api/v1/repos/alice/blog"))

    async with scripted(answer) as server:
        forgejo = Forgejo(f"{server.url}/git/")
        assert (await forgejo.repository("alice", "old")).name == "blog"
        await forgejo.aclose()
        assert server.targets == ["/git/api/v1/repos/alice/old", "/git/api/v1/repos/alice/blog"]


@pytest.mark.parametrize(("hops", "arrives"), [(1, True), (3, True), (4, False), (50, False)])
async def test_redirects_are_followed_three_times(connect: Connect, hops: int, arrives: bool) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        number = int(seen.path.rpartition("r")[2])
        if number == hops:
            return as_json(changed(REPOSITORY, "name", f"r{number}"))
        return http(301, b"", ("Location", f"/api/v1/repos/alice/r{number + 1}"))

    async with scripted(answer) as server:
        if arrives:
            assert (await connect(server).repository("alice", "r0")).name == f"r{hops}"
        else:
            with pytest.raises(BadAnswer, match="more than 3 times"):
                await connect(server).repository("alice", "r0")
        assert len(server.requests) == min(hops, 3) + 1


async def test_two_repositories_that_redirect_to_each_other_end(connect: Connect) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        return http(301, b"", ("Location", f"/api/v1/repos/alice/{'b' if seen.path.endswith('a') else 'a'}"))

    async with scripted(answer) as server:
        with pytest.raises(BadAnswer):
            await connect(server).repository("alice", "a")
        assert len(server.requests) == 4


@pytest.mark.parametrize(("hops", "arrives"), [(1, True), (3, True), (4, False)])
async def test_an_lfs_object_may_lie_elsewhere_on_the_forge(connect: Connect, hops: int, arrives: bool) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        number = int(seen.query.get("hop", "0"))
        if number == hops:
            return raw(seen, LARGE_FILE, "whatever")
        return http(303, b"", ("Location", f"/storage?hop={number + 1}"))

    async with scripted(answer) as server:
        forgejo = connect(server, TOKEN)
        if arrives:
            assert await ask_media(forgejo) == LARGE_FILE
        else:
            with pytest.raises(BadAnswer):
                await ask_media(forgejo)
        assert all("authorization" not in seen.headers for seen in server.requests)


@pytest.mark.parametrize("back", [True, False])
async def test_the_lfs_storage_may_not_redirect(connect: Connect, back: bool) -> None:
    async with scripted(silence) as storage, scripted(always(b"")) as server:
        storage.answer = always(http(303, b"", ("Location", f"{server.url if back else storage.url}/again")))
        server.answer = always(http(303, b"", ("Location", f"{storage.url}/object?signature=s3cret")))
        told: list[str] = []
        forgejo = connect(server, lfs_storage_hosts=[f"127.0.0.1:{storage.port}"], on_call=told.append)
        with pytest.raises(BadAnswer):
            await ask_media(forgejo)
        assert storage.targets == ["/object?signature=s3cret"]
        assert len(server.requests) == 1
        assert told[1:] == ["/object"]
