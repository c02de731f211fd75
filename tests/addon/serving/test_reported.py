# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What people have reported of other servers of static sites, each as the answer that is right here.

The threads are named beside each (public trackers, `owner/repository#number`). What another test holds already is not
here: types, conditions, codings, routes and the like have tables of their own.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import brotli  # type: ignore[import-untyped]  # it comes without annotations
import pytest

from addon.preview.forge import Forge
from tests.addon.preview.fixtures import noise
from tests.addon.preview.sites import Site, lfs_pointer, link
from tests.addon.serving.pages import ENABLED, serving

TEXT = b"a line of a data set, kept in Git LFS\n" * 100


def make(root: Path, files: dict[Any, Any], name: str = "blog") -> Site:
    return Site(root / "alice" / f"{name}.git", {".pages": ENABLED} | files)


# git-lfs/git-lfs#1342, #791: the pointer instead of the picture. A macro names LFS, or nothing does.
ATTRIBUTES: list[dict[str, bytes]] = [
    {".gitattributes": b"*.csv filter=lfs diff=lfs merge=lfs -text\n"},
    {".gitattributes": b"[attr]large filter=lfs diff=lfs merge=lfs -text\n*.csv large\n"},
    {"public/.gitattributes": b"*.csv filter=lfs\n"},
]


@pytest.mark.parametrize("attributes", ATTRIBUTES, ids=["plain", "macro", "below"])
async def test_a_file_in_git_lfs_is_a_file_like_any_other(
    forge: Forge, tmp_path: Path, attributes: dict[str, bytes]
) -> None:
    make(tmp_path, {**attributes, "public/data.csv": lfs_pointer(TEXT)}).upload_lfs(TEXT)
    async with serving(forge) as pages:
        whole = await pages.get("alice", "/blog/data.csv")
        assert (whole.status, whole.body) == (200, TEXT)
        assert whole.headers["content-type"] == "text/csv; charset=utf-8"
        assert whole.headers["etag"] == f'"{hashlib.sha256(TEXT).hexdigest()}"'
        part = await pages.get("alice", "/blog/data.csv", range="bytes=5-8")
        assert (part.status, part.body) == (206, TEXT[5:9])
        encoded = await pages.get("alice", "/blog/data.csv", accept_encoding="br")
        assert brotli.decompress(encoded.body) == TEXT


# static-web-server/static-web-server#523, cloudhead/node-static#186, senchalabs/connect#792, withastro/astro#17961.
@pytest.mark.parametrize(
    "query", ["a=1&b=%20", "a=1?b=2", "", "?", "x=%2F..%2F&y=+", "u=http://a.example/?b#".rstrip("#")]
)
async def test_a_slash_redirect_keeps_the_query_byte_for_byte(forge: Forge, tmp_path: Path, query: str) -> None:
    make(tmp_path, {"public/post/index.html": b"post"})
    async with serving(forge) as pages:
        reply = await pages.get("alice", f"/blog/post?{query}")
        assert (reply.status, reply.headers["location"]) == (301, f"/blog/post/?{query}")


# s4y/gh-pages-symlink-test#4, #10; DiegoRBaquero/BTorrent#81.
async def test_links_to_files_folders_and_through_each_other_are_followed(forge: Forge, tmp_path: Path) -> None:
    make(
        tmp_path,
        {
            "public/index.html": b"the app",
            "public/404.html": link("index.html"),
            "public/v1/index.html": b"one",
            "public/latest": link("stable"),
            "public/stable": link("v1"),
        },
    )
    async with serving(forge) as pages:
        missing = await pages.get("alice", "/blog/some/route")
        assert (missing.status, missing.body) == (404, b"the app")
        assert (await pages.get("alice", "/blog/latest/")).body == b"one"
        assert (await pages.get("alice", "/blog/latest")).headers["location"] == "/blog/latest/"


# http-party/http-server and others: a chunk that is gone is answered by the app's page, and the browser runs HTML.
async def test_a_script_that_is_not_there_is_no_page(forge: Forge, tmp_path: Path) -> None:
    make(tmp_path, {"public/index.html": b"<h1>app</h1>", "public/app.js": b"1"})
    async with serving(forge) as pages:
        for name in ("chunk.js", "chunk-0a1b2c3d.js", "style.css", "data.json"):
            reply = await pages.get("alice", f"/blog/{name}", sec_fetch_dest="script")
            assert (reply.status, b"<h1>app</h1>" in reply.body) == (404, False)
            assert reply.headers["cache-control"] == "no-store"


# vercel/serve#447, static-web-server/static-web-server#529: Safari plays no film without exact parts.
async def test_a_large_film_comes_in_the_parts_that_are_asked_for(forge: Forge, tmp_path: Path) -> None:
    film = noise(5_000_000, 21)
    make(tmp_path, {"public/film.mp4": film})
    async with serving(forge) as pages:
        first = await pages.get("alice", "/blog/film.mp4", range="bytes=0-1")
        assert (first.status, first.body) == (206, film[:2])
        assert first.headers["content-range"] == "bytes 0-1/5000000"
        rest = await pages.get("alice", "/blog/film.mp4", range="bytes=4999000-", accept_encoding="gzip, br")
        assert (rest.status, rest.body, "content-encoding" in rest.headers) == (206, film[4_999_000:], False)
        assert (await pages.get("alice", "/blog/film.mp4")).body == film


async def test_empty_files_and_deep_folders_are_files_and_folders(forge: Forge, tmp_path: Path) -> None:
    deep = "/".join(f"d{number}" for number in range(61))
    make(tmp_path, {f"public/{deep}/x.txt": b"deep", "public/empty.css": b"", "public/index.html": b""})
    async with serving(forge) as pages:
        assert (await pages.get("alice", f"/blog/{deep}/x.txt")).body == b"deep"
        for path in ("", "empty.css"):
            for headers in ({}, {"range": "bytes=0-"}, {"accept_encoding": "br"}):
                reply = await pages.get("alice", f"/blog/{path}", **headers)
                assert (reply.status, reply.body) == ((416 if "range" in headers else 200), b"")
                assert reply.headers["content-length"] == "0"


HTML, SCRIPT = "text/html; charset=utf-8", "text/javascript; charset=utf-8"
# What MkDocs (Material), Sphinx and Doxygen write: links that climb, queries behind names, types by unusual names.
DOCUMENTS: dict[str, tuple[bytes, str]] = {
    "index.html": (
        b'<link rel="stylesheet" href="assets/stylesheets/main.8608ea7d.min.css">',
        HTML,
    ),
    "guide/start/index.html": (
        b'<script src="../../_static/doctools.js?v=9bcbadda"></script>',
        HTML,
    ),
    "assets/stylesheets/main.8608ea7d.min.css": (b"a{}", "text/css; charset=utf-8"),
    "_static/doctools.js": (b"1", SCRIPT),
    "search/search_index.json": (b"{}", "application/json; charset=utf-8"),
    "searchindex.js": (b"Search.setIndex({})", SCRIPT),
    "objects.inv": (b"# Sphinx inventory version 2\n\x00\x01", "application/octet-stream"),
    "sitemap.xml": (b"<urlset/>", "application/xml"),
    "sitemap.xml.gz": (b"\x1f\x8b\x08", "application/gzip"),
    "_sources/index.rst.txt": (b"Title\n=====\n", "text/plain; charset=utf-8"),
    "genindex.html": (b"<h1>Index</h1>", HTML),
    ".nojekyll": (b"", "text/plain; charset=utf-8"),
}


async def test_what_builders_of_documents_write_stands_below_a_path(forge: Forge, tmp_path: Path) -> None:
    make(tmp_path, {f"public/{path}": content for path, (content, _) in DOCUMENTS.items()}, "docs")
    async with serving(forge) as pages:
        for path, (content, kind) in DOCUMENTS.items():
            reply = await pages.get("alice", f"/docs/{path}?v=9bcbadda")
            assert (path, reply.status, reply.body, reply.headers["content-type"]) == (path, 200, content, kind)
        # A folder's address has its slash, from which the links of its page climb.
        assert (await pages.get("alice", "/docs/guide/start")).headers["location"] == "/docs/guide/start/"


# Sites that were lost without a word: what editors put into a settings file.
@pytest.mark.parametrize(
    ("pages_file", "status", "said"),
    [
        (b"enabled: true\r\ndirectory_index: true\r\n", 200, ""),
        (b"\xef\xbb\xbfenabled: true\n", 200, ""),
        ("enabled: “true”\n".encode(), 500, "Line 1 of "),
        ("enabled:\u00a0true\n".encode(), 500, "Line 1 of "),
        (b"enabled: true\n\tdirectory_index: true\n", 500, "Line 2 of "),
        ("enabled: true\n".encode("utf-16"), 500, "UTF-8"),
    ],
)
async def test_what_editors_write_is_read_or_told_of(
    forge: Forge, tmp_path: Path, pages_file: bytes, status: int, said: str
) -> None:
    make(tmp_path, {".pages": pages_file, "public/index.html": b"here"})
    async with serving(forge) as pages:
        reply = await pages.get("alice", "/blog/")
        assert (reply.status, said in reply.text) == (status, True)


# The forge's limits: what is known is served, a wait of a day is cut short, and it heals.
async def test_a_forge_that_asks_for_a_day_of_patience_is_asked_again_in_a_minute(forge: Forge, tmp_path: Path) -> None:
    make(tmp_path, {"public/index.html": b"here"})
    make(tmp_path, {"public/index.html": b"other"}, "cold")
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/")).body == b"here"
        pages.clock.pass_(400)
        with forge.fault("/repos/", status=429, headers=(("Retry-After", "86400"),)):
            await pages.get("alice", "/blog/")
            await pages.settle()
            warm = await pages.get("alice", "/blog/")
            assert (warm.status, warm.body, warm.cache) == (200, b"here", "STALE")
            cold = await pages.get("alice", "/cold/")
            assert cold.status == 503
            assert 1 <= int(cold.headers["retry-after"]) <= 60
        pages.clock.pass_(61)
        assert (await pages.get("alice", "/cold/")).body == b"other"
        await pages.get("alice", "/blog/")
        await pages.settle()
        assert (await pages.get("alice", "/blog/")).cache == "HIT"
