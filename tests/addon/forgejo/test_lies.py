# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Answers that look right and cannot be: nothing that contradicts itself, the question or an id is believed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from addon.forgejo.client import (
    BadAnswer,
    BlobTooLarge,
    ForgejoError,
    NotFound,
    TooManyFiles,
)
from tests.addon.conftest import Connect
from tests.addon.forgejo.lying_forge import (
    BLOBS,
    BRANCH,
    COMMIT,
    KNOWN,
    LARGE,
    LARGE_FILE,
    OID,
    REPOSITORY,
    TREE,
    A,
    B,
    ask_blob,
    ask_blobs,
    ask_branch,
    ask_media,
    ask_repository,
    ask_tree,
    blob,
    but,
    changed,
    stream_large,
)
from tests.addon.net.scripted import HTML, TEXT, Seen, always, api_error, as_json, http, in_turn, scripted
from tests.clock import Clock

# Lies about the repository and its branch


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ...),
        ("id", "8"),
        ("id", -1),
        ("id", 8.0),
        ("id", True),
        ("id", 10**30),
        ("id", None),
        ("owner", ...),
        ("owner", "alice"),
        ("owner", []),
        ("owner.login", ...),
        ("owner.login", 5),
        ("owner.login", "bob"),
        ("owner.login", "alice/blog"),
        ("name", ...),
        ("name", "secret"),
        ("name", None),
        ("private", ...),
        ("private", "false"),
        ("private", 0),
        ("private", None),
        ("internal", "no"),
        ("empty", ...),
        ("empty", 1),
        ("archived", "yes"),
        ("default_branch", ...),
        ("default_branch", 5),
        ("object_format_name", "md5"),
        ("object_format_name", 1),
        ("object_format_name", ["sha1"]),
    ],
)
async def test_a_repository_that_makes_no_sense_is_not_believed(connect: Connect, field: str, value: Any) -> None:
    async with scripted(always(as_json(changed(REPOSITORY, field, value)))) as server:
        with pytest.raises(BadAnswer):
            await ask_repository(connect(server))


@pytest.mark.parametrize(
    ("field", "value", "public"),
    [
        ("private", True, False),
        ("internal", True, False),
        ("owner.visibility", "limited", False),
        ("owner.visibility", "private", False),
        ("owner.visibility", "", False),
        ("owner.visibility", None, False),
        ("owner.visibility", ..., True),
        ("internal", ..., True),
    ],
)
async def test_who_may_see_a_repository_that_anybody_was_shown(
    connect: Connect, field: str, value: Any, public: bool
) -> None:
    async with scripted(always(as_json(changed(REPOSITORY, field, value)))) as server:
        assert (await connect(server).repository("alice", "blog")).public is public


async def test_what_only_the_token_was_shown_must_say_that_it_is_public(connect: Connect) -> None:
    document = changed(REPOSITORY, "owner.visibility", ...)

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        return as_json(document) if "authorization" in seen.headers else api_error(403)

    async with scripted(answer) as server:
        assert not (await connect(server, "a" * 40).repository("alice", "blog")).public


@pytest.mark.parametrize(
    ("field", "value", "seconds"),
    [
        ("updated_at", "2026-11-23T05:16:53Z", 1795411013.0),
        ("updated_at", "2026-11-23T06:16:53.123456789+01:00", 1795411013.123456),
        ("updated_at", "0001-01-01T00:00:00Z", None),
        ("updated_at", "1970-01-01T00:00:00Z", None),
        ("updated_at", "yesterday", None),
        ("updated_at", 5, None),
        ("updated_at", ..., None),
    ],
)
async def test_a_time_is_a_hint_that_may_be_missing(
    connect: Connect, field: str, value: Any, seconds: float | None
) -> None:
    async with scripted(always(as_json(changed(REPOSITORY, field, value)))) as server:
        assert (await connect(server).repository("alice", "blog")).updated_at == seconds


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "dev"),
        ("name", ...),
        ("commit", ...),
        ("commit", None),
        ("commit", COMMIT),
        ("commit.id", ...),
        ("commit.id", "C" * 40),
        ("commit.id", "c" * 39),
        ("commit.id", "c" * 64),
        ("commit.id", "refs/heads/main"),
        ("commit.id", 5),
    ],
)
async def test_a_branch_that_makes_no_sense_is_not_believed(connect: Connect, field: str, value: Any) -> None:
    async with scripted(always(as_json(changed(BRANCH, field, value)))) as server:
        with pytest.raises(BadAnswer):
            await ask_branch(connect(server))


# Lies about the tree

ROW = TREE["tree"][1]
BAD_PATHS = ["", "/etc/passwd", "..", "../x", "a/..", "a/../b", ".", "./a", "a/.", "a//b", "a/", "a\0b", "\ud800"]


@pytest.mark.parametrize(
    "document",
    [
        *(changed(TREE, "tree.1.path", path) for path in [*BAD_PATHS, ..., None, 5, ["a"], "a" * 20_000]),
        *(changed(TREE, "tree.1.mode", mode) for mode in ["100600", "", "0", 100644, None, ..., "040000", "160000"]),
        *(changed(TREE, "tree.1.type", kind) for kind in ["tree", "commit", "", None, ..., 5, ["blob"]]),
        *(changed(TREE, "tree.1.size", size) for size in [-1, "6", 6.0, None, ..., True, 2**63, [6]]),
        *(changed(TREE, "tree.1.sha", sha) for sha in ["a" * 39, "A" * 40, "a" * 64, "", None, ..., 5, "z" * 40]),
        changed(TREE, "tree.0.type", "blob"),
        changed(TREE, "tree.4.type", "blob"),
        changed(TREE, "tree.1", None),
        changed(TREE, "tree.1", []),
        changed(TREE, "tree.1", "public/a.txt"),
        changed(TREE, "tree.2.path", "public/a.txt"),
        changed(TREE, "tree.2.path", "public"),
        changed(TREE, "tree", {}),
        changed(TREE, "tree", "none"),
        changed(TREE, "tree", None),
        changed(TREE, "tree", []),
        changed(TREE, "total_count", 4),
        changed(TREE, "total_count", 0),
        changed(TREE, "total_count", -1),
        changed(TREE, "total_count", "5"),
        changed(TREE, "total_count", 5.0),
        changed(TREE, "total_count", None),
        changed(TREE, "total_count", ...),
        changed(TREE, "page", 2),
        changed(TREE, "sha", "d" * 40),
        changed(TREE, "sha", ...),
    ],
)
async def test_a_tree_that_makes_no_sense_is_not_believed(connect: Connect, document: Any) -> None:
    async with scripted(always(as_json(document))) as server:
        with pytest.raises(BadAnswer):
            await ask_tree(connect(server))
        assert len(server.requests) == 1


def rows(first: int, count: int) -> list[dict[str, Any]]:
    return [changed(ROW, "path", f"public/{number:05}") for number in range(first, first + count)]


def pages_of(*pages: list[dict[str, Any]], totals: dict[int, int] | None = None) -> Any:
    """Pages of a tree, with the total of all unless told otherwise for a page."""
    total = sum(map(len, pages))

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        page = int(seen.query["page"])
        here = pages[page - 1] if page <= len(pages) else []
        said = (totals or {}).get(page, total)
        return as_json({"sha": COMMIT, "tree": here, "truncated": True, "page": page, "total_count": said})

    return answer


@pytest.mark.parametrize(
    ("answer", "calls"),
    [
        (pages_of(rows(0, 10), rows(0, 10)), 2),  # a page that repeats
        (pages_of(rows(0, 10), rows(10, 9), rows(19, 1)), 2),
        (pages_of(rows(0, 10), rows(10, 11)), 3),
        (pages_of(rows(0, 10), rows(10, 5), totals={2: 16}), 2),
        (pages_of(rows(0, 10), rows(10, 5), totals={1: 16}), 2),
        (pages_of(rows(0, 10), totals={1: 20}), 2),
        (pages_of(rows(0, 10), totals={1: 9}), 1),
        (pages_of(rows(0, 1), totals={1: 90_000}), 1),
        (pages_of([], totals={1: 20}), 1),
        (pages_of(rows(0, 10), rows(5, 10)), 2),
    ],
)
async def test_pages_that_contradict_each_other_are_not_believed(connect: Connect, answer: Any, calls: int) -> None:
    async with scripted(answer) as server:
        with pytest.raises(BadAnswer):
            await connect(server).tree(KNOWN, COMMIT, max_entries=100_000)
        assert len(server.requests) <= calls


async def test_a_total_above_the_limit_is_said_whatever_the_page_holds(connect: Connect) -> None:
    async with scripted(pages_of(rows(0, 10), totals={1: 2**62 // 10**16})) as server:
        with pytest.raises(TooManyFiles):
            await connect(server).tree(KNOWN, COMMIT, max_entries=100)
        assert len(server.requests) == 1


async def test_git_that_stumbled_once_is_asked_again(connect: Connect) -> None:
    for question, answer in ((ask_tree, as_json(TREE)), (ask_blob, as_json(blob(A[0])))):
        async with scripted(in_turn([api_error(400), answer])) as server:
            assert await question(connect(server))
            assert len(server.requests) == 2


async def test_a_tree_of_ten_thousand_files_takes_no_second_of_work(connect: Connect) -> None:
    loop = asyncio.get_running_loop()
    ready = [
        as_json({"sha": COMMIT, "tree": rows(n * 1000, 1000), "page": n + 1, "total_count": 10_000}) for n in range(10)
    ]

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        return ready[int(seen.query["page"]) - 1]

    async with scripted(answer) as server:
        started = loop.time()
        tree = await connect(server).tree(KNOWN, COMMIT, max_entries=10_000)
        assert loop.time() - started < 1
        assert len(tree.entries) == 10_000
        assert [entry.path for entry in tree.entries[::1000]] == [f"public/{n * 1000:05}" for n in range(10)]


# Lies about blobs

GOOD = blob(A[0])


@pytest.mark.parametrize(
    "document",
    [
        changed(GOOD, "content", "YWxwaGE="),
        changed(GOOD, "content", "YWxwaGEx"),
        changed(GOOD, "content", "YWxw\naGEK"),
        changed(GOOD, "content", "YWxwaGE*"),
        changed(GOOD, "content", "YWxwaGEK" * 2),
        changed(GOOD, "content", "YWxw"),
        changed(GOOD, "content", "====YWxw"),
        changed(GOOD, "content", "éééééééé"),
        changed(GOOD, "content", 5),
        changed(GOOD, "content", ["YWxwaGEK"]),
        changed(GOOD, "encoding", "utf-8"),
        changed(GOOD, "encoding", ...),
        changed(GOOD, "encoding", None),
        changed(GOOD, "size", 5),
        changed(GOOD, "size", "6"),
        changed(GOOD, "size", None),
        changed(GOOD, "size", ...),
        changed(GOOD, "sha", B[0]),
        changed(GOOD, "sha", None),
        changed(GOOD, "sha", ...),
        changed(blob(B[0]), "sha", A[0]),
        [GOOD],
    ],
)
async def test_a_blob_that_is_not_what_its_id_says_is_not_believed(connect: Connect, document: Any) -> None:
    async with scripted(always(as_json(document))) as server:
        with pytest.raises(BadAnswer):
            await ask_blob(connect(server))
    if not isinstance(document, list):
        async with scripted(always(as_json([blob(B[0]), document]))) as server:
            with pytest.raises(BadAnswer):
                await ask_blobs(connect(server))


@pytest.mark.parametrize("document", [[], {}, [blob(A[0]), blob(A[0])], [blob(LARGE[0])], [blob(A[0]), blob(LARGE[0])]])
async def test_a_batch_of_other_blobs_is_not_believed(connect: Connect, document: Any) -> None:
    async with scripted(always(as_json(document))) as server:
        with pytest.raises(BadAnswer):
            await ask_blobs(connect(server))
        assert len(server.requests) == 1


@pytest.mark.parametrize("content", [("", "base64"), (None, None)])
async def test_a_blob_whose_content_was_left_out_is_too_large(connect: Connect, content: tuple[Any, Any]) -> None:
    document = GOOD | {"content": content[0], "encoding": content[1]}
    async with scripted(always(as_json(document))) as server:
        with pytest.raises(BlobTooLarge) as caught:
            await ask_blob(connect(server))
        assert caught.value.id == A[0]


async def test_batches_that_are_not_there_are_not_looked_for_again_within_the_hour(
    connect: Connect, clock: Clock
) -> None:
    async with scripted(but(r"\?shas=", http(404, b"404 page not found\n", TEXT))) as server:
        forgejo = connect(server, clock=clock)
        for calls in (3, 2, 2):
            before = forgejo.calls
            assert await forgejo.blobs(KNOWN, [A, B]) == {A[0]: BLOBS[A[0]], B[0]: BLOBS[B[0]]}
            assert forgejo.calls - before == calls
        clock.now += 3601
        await forgejo.blobs(KNOWN, [A, B])
        assert sum("shas=" in target for target in server.targets) == 2


async def test_a_page_of_a_server_in_front_does_not_end_batches(connect: Connect) -> None:
    async with scripted(in_turn([http(404, b"<html>", HTML), as_json([blob(A[0]), blob(B[0])])])) as server:
        forgejo = connect(server)
        with pytest.raises(BadAnswer):
            await ask_blobs(forgejo)
        assert len(await forgejo.blobs(KNOWN, [A, B])) == 2


# Lies about large files

ETAG = ("Etag", f'"{LARGE[0]}"')
SIZE = LARGE[1]


@pytest.mark.parametrize(
    ("answer", "start", "end", "error"),
    [
        (http(200, LARGE_FILE), 0, None, BadAnswer),
        (http(200, LARGE_FILE, ("Etag", f'"{A[0]}"')), 0, None, BadAnswer),
        (http(200, LARGE_FILE, ("Etag", LARGE[0])), 0, None, BadAnswer),
        (http(200, LARGE_FILE[:-1], ETAG), 0, None, BadAnswer),
        (http(200, LARGE_FILE + b"x", ETAG), 0, None, BadAnswer),
        (http(200, LARGE_FILE[:-1], ETAG, length=SIZE), 0, None, BadAnswer),
        (http(200, LARGE_FILE[:-1], ETAG, length=-1), 0, None, BadAnswer),
        (http(200, LARGE_FILE + b"x", ETAG, length=-1), 0, None, BadAnswer),
        (http(200, LARGE_FILE[:-1] + b"x", ETAG), 0, None, BadAnswer),
        (http(200, b"x" + LARGE_FILE[1:], ETAG), 0, None, BadAnswer),
        (http(200, LARGE_FILE, ETAG, ("Content-Encoding", "gzip")), 0, None, BadAnswer),
        (http(206, LARGE_FILE, ETAG, ("Content-Range", f"bytes 0-{SIZE - 1}/{SIZE}")), 0, None, BadAnswer),
        (http(200, LARGE_FILE, ETAG), 10, 20, BadAnswer),
        (http(206, LARGE_FILE[10:20], ETAG), 10, 20, BadAnswer),
        (http(206, LARGE_FILE[10:20], ETAG, ("Content-Range", f"bytes 11-20/{SIZE}")), 10, 20, BadAnswer),
        (http(206, LARGE_FILE[10:20], ETAG, ("Content-Range", f"bytes 10-19/{SIZE + 1}")), 10, 20, BadAnswer),
        (http(206, LARGE_FILE[10:20], ETAG, ("Content-Range", "bytes 10-19/*")), 10, 20, BadAnswer),
        (http(206, LARGE_FILE[10:21], ETAG, ("Content-Range", f"bytes 10-19/{SIZE}")), 10, 20, BadAnswer),
        (http(206, LARGE_FILE[10:20], ("Content-Range", f"bytes 10-19/{SIZE}")), 10, 20, BadAnswer),
        (http(206, LARGE_FILE[10:19], ETAG, ("Content-Range", f"bytes 10-19/{SIZE}"), length=10), 10, 20, BadAnswer),
        (http(416, b"x", ETAG), 10, 20, BadAnswer),
        (http(304, b"", ETAG), 0, None, BadAnswer),
        (api_error(404), 0, None, NotFound),
        (http(404, b"Not found.\n", TEXT), 0, None, BadAnswer),
    ],
)
async def test_a_stream_that_is_not_what_was_asked_for_is_never_complete(
    connect: Connect, answer: bytes, start: int, end: int | None, error: type[ForgejoError]
) -> None:
    async def send(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        writer.write(answer)
        return None

    async with scripted(send) as server:
        with pytest.raises(ForgejoError) as caught:
            await stream_large(connect(server), start, end)
        assert type(caught.value) is error


@pytest.mark.parametrize(
    "answer",
    [
        http(200, LARGE_FILE, ("Etag", f'W/"{LARGE[0]}"')),
        http(200, LARGE_FILE, ETAG, length=-1),
    ],
)
async def test_what_a_proxy_on_the_way_may_change_is_no_lie(connect: Connect, answer: bytes) -> None:
    async def send(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        writer.write(answer)
        return None

    async with scripted(send) as server:
        assert await stream_large(connect(server)) == LARGE_FILE


async def test_the_route_for_names_that_are_no_text_says_not_found_in_its_own_way(connect: Connect) -> None:
    async with scripted(always(http(404, b"Not found.\n", TEXT))) as server:
        stream = connect(server).files.stream(KNOWN, path="public/\ufffd", commit=COMMIT, id=A[0], size=A[1])
        with pytest.raises(NotFound) as caught:
            await stream.__aenter__()
        assert not caught.value.certain
        assert server.targets == [f"/alice/blog/raw/blob/{A[0]}"]


@pytest.mark.parametrize("answer", [http(200, LARGE_FILE[:-1] + b"x"), http(200, LARGE_FILE[:100])])
async def test_an_lfs_object_that_is_not_what_its_oid_says_is_not_believed(connect: Connect, answer: bytes) -> None:
    async with scripted(always(answer.replace(b"\r\n", f'\r\nEtag: "{OID}"\r\n'.encode(), 1))) as server:
        with pytest.raises(BadAnswer):
            await ask_media(connect(server))
