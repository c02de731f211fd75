# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The smallest forge that is in order, of which a test breaks one answer: bytes for bytes, on a real socket."""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

from addon.forgejo.client import Access, Forgejo, Repository, Tree, TreeEntry
from tests.addon.net.scripted import Answer, Seen, api_error, as_json, http

COMMIT = "c" * 40
FILES = {"public/a.txt": b"alpha\n", "public/b.txt": b"beta\n", "public/large.bin": bytes(range(256)) * 1024}
KNOWN = Repository("alice", "blog", 8, "main", False, True, False, "sha1", None, Access.ANONYMOUS)


def blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


BLOBS = {blob_id(data): data for data in FILES.values()}
WANTED = [(blob, len(data)) for blob, data in BLOBS.items()]
A, B, LARGE = WANTED
PATHS = {blob_id(data): path for path, data in FILES.items()}

REPOSITORY: dict[str, Any] = {
    "id": 8,
    "owner": {"id": 2, "login": "alice", "visibility": "public"},
    "name": "blog",
    "full_name": "alice/blog",
    "empty": False,
    "private": False,
    "internal": False,
    "archived": False,
    "default_branch": "main",
    "object_format_name": "sha1",
    "updated_at": "2026-11-23T05:16:53Z",
}
BRANCH: dict[str, Any] = {"name": "main", "commit": {"id": COMMIT, "timestamp": "2026-05-30T22:26:40+02:00"}}
TREE: dict[str, Any] = {
    "sha": COMMIT,
    "tree": [
        {"path": "public", "mode": "040000", "type": "tree", "size": 0, "sha": "d" * 40},
        *(
            {"path": path, "mode": "100644", "type": "blob", "size": len(data), "sha": blob_id(data)}
            for path, data in FILES.items()
        ),
        {"path": "public/module", "mode": "160000", "type": "commit", "size": 0, "sha": "1" * 40},
    ],
    "truncated": False,
    "page": 1,
    "total_count": 5,
}


def blob(blob: str) -> dict[str, Any]:
    data = BLOBS[blob]
    return {"sha": blob, "size": len(data), "encoding": "base64", "content": base64.b64encode(data).decode()}


def changed(document: Any, path: str, value: Any) -> Any:
    """A copy with one field changed: `tree.0.mode`; `...` as the value takes the field away."""
    document = copy.deepcopy(document)
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    inner = document
    for step in way:
        inner = inner[step]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return document


def raw(seen: Seen, data: bytes, tag: str) -> bytes:
    """A file as `/raw` and `/media` send it, ranges included."""
    fields = [("Etag", f'"{tag}"'), ("Content-Type", "text/plain; charset=utf-8")]
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", seen.headers.get("range", ""))
    if match is None:
        return http(200, data, *fields)
    first, last = int(match[1]), int(match[2])
    fields.append(("Content-Range", f"bytes {first}-{last}/{len(data)}"))
    return http(206, data[first : last + 1], *fields)


def honest(seen: Seen) -> bytes:
    """What a forge in order answers."""
    path = seen.path
    if path == "/api/v1/version":
        return as_json({"version": "16.0.0+gitea-1.22.0"})
    prefix = "/api/v1/repos/alice/blog"
    if path == prefix:
        return as_json(REPOSITORY)
    if path == f"{prefix}/branches/main":
        return as_json(BRANCH)
    if path == f"{prefix}/git/trees/{COMMIT}":
        return as_json(TREE)
    if path == f"{prefix}/git/blobs":
        return as_json([blob(one) for one in seen.query["shas"].split(",")])
    if path.startswith(f"{prefix}/git/blobs/"):
        return as_json(blob(path.rpartition("/")[2]))
    for kind in ("raw", "media"):
        if path.startswith(f"{prefix}/{kind}/"):
            data = FILES[path.removeprefix(f"{prefix}/{kind}/")]
            return raw(seen, data, blob_id(data) if kind == "raw" else hashlib.sha256(data).hexdigest())
    return api_error()


def but(pattern: str, wrong: bytes | Answer | None) -> Answer:
    """An honest forge, but for targets in which `pattern` is found: those get bytes, a closed connection or worse."""

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bytes | None:
        if re.search(pattern, seen.target) is None:
            return honest(seen)
        return await wrong(seen, writer) if callable(wrong) else wrong

    return answer


# What can be asked of it

LARGE_FILE = FILES["public/large.bin"]
OID = hashlib.sha256(LARGE_FILE).hexdigest()

Question = Callable[[Forgejo], Awaitable[object]]


async def ask_repository(forgejo: Forgejo) -> object:
    return await forgejo.repository("alice", "blog")


async def ask_branch(forgejo: Forgejo) -> object:
    return await forgejo.branch(KNOWN, "main")


async def ask_tree(forgejo: Forgejo) -> object:
    return await forgejo.tree(KNOWN, COMMIT, max_entries=100)


async def ask_blob(forgejo: Forgejo) -> object:
    return await forgejo.blobs(KNOWN, [A])


async def ask_blobs(forgejo: Forgejo) -> object:
    return await forgejo.blobs(KNOWN, [A, B])


async def ask_stream(forgejo: Forgejo) -> bytes:
    return await stream_large(forgejo)


async def ask_media(forgejo: Forgejo) -> object:
    return await forgejo.files.media_bytes(KNOWN, path="public/large.bin", commit=COMMIT, oid=OID, size=len(LARGE_FILE))


async def ask_version(forgejo: Forgejo) -> object:
    return await forgejo.version()


JSON_QUESTIONS: list[Question] = [ask_repository, ask_branch, ask_tree, ask_blob, ask_blobs, ask_version]
QUESTIONS: list[Question] = [*JSON_QUESTIONS, ask_stream, ask_media]


async def stream_large(forgejo: Forgejo, start: int = 0, end: int | None = None) -> bytes:
    received = b""
    async with forgejo.files.stream(
        KNOWN, path="public/large.bin", commit=COMMIT, id=LARGE[0], size=LARGE[1], start=start, end=end
    ) as chunks:
        async for chunk in chunks:
            received += chunk
            assert start > 0 or end is not None or len(received) < LARGE[1] or received == LARGE_FILE
    return received


async def blog_tree(forgejo: Forgejo) -> tuple[Repository, Tree]:
    repository = await forgejo.repository("alice", "blog")
    commit = (await forgejo.branch(repository, "main")).commit
    return repository, await forgejo.tree(repository, commit, max_entries=1000)


async def streamed(
    forgejo: Forgejo, repository: Repository, commit: str, entry: TreeEntry, start: int = 0, end: int | None = None
) -> bytes:
    async with forgejo.files.stream(
        repository, path=entry.path, commit=commit, id=entry.id, size=entry.size, start=start, end=end
    ) as chunks:
        parts = [chunk async for chunk in chunks]
    assert all(0 < len(part) <= 64 * 1024 for part in parts)
    return b"".join(parts)
