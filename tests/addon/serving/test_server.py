# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Answers that depend on what a repository holds, on which forge holds it, and on how much memory there is."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import brotli  # type: ignore[import-untyped]  # it comes without annotations
import pytest
import zstandard

from addon import templates
from addon.forgejo.errors import Overloaded
from addon.library import site_loader
from addon.library.encoded_streams import AT_ONCE, AT_ONCE_OF_ONE
from addon.library.site_loader import _target
from addon.net.fair_queue import Party
from addon.preview.forge import Forge
from addon.preview.settings import FORGEJO_11, FORGEJO_16, GITEA, Flavour, Limits
from addon.serving import paths, server
from addon.serving.answers import Request
from addon.sites.site import is_content
from addon.web.codings import CODINGS, Decoder
from addon.web.forwarding import Visitor
from tests.addon.preview import fixtures
from tests.addon.preview.fixtures import noise
from tests.addon.preview.sites import Site, lfs_pointer, link
from tests.addon.serving.pages import ENABLED, Serving, serving, start_forge

MIB = 1024 * 1024
LONG = b"<p>All work and no play makes a page compress well.</p>\n" * 100
SMALL_OBJECT, LARGE_OBJECT = noise(5000, 1), noise(300_000, 2)
GONE_OBJECT, LARGE_GONE_OBJECT = noise(4000, 3), noise(310_000, 4)
ATTRIBUTES = {".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n"}


def make(root: Path, name: str, files: dict[Any, Any], **options: Any) -> Site:
    owner, _, name = name.partition("/")
    return Site(root / owner / f"{name}.git", {".pages": ENABLED} | files, **options)


# The recorded repositories, on each kind of forge.


@pytest.mark.parametrize("flavour", [FORGEJO_16, FORGEJO_11, GITEA], ids=["Forgejo 16", "Forgejo 11", "Gitea"])
async def test_sites_are_the_same_on_every_forge(root: Path, flavour: Flavour) -> None:
    fixtures.make_repositories(root)
    with start_forge(root, flavour=flavour) as forge:
        async with serving(forge) as pages:
            for path, part in (
                ("/blog/", b"Blog, second"),
                ("/blog/link.html", b"About the blog"),
                ("/blog/linkdir/one.html", b"One"),
                ("/blog/files/bad%FF.txt", b"not utf-8 name"),
                ("/blog/fake-pointer.txt", b"version https://git-lfs"),
                ("/blog/empty.txt", b""),
                ("/many/d24/f2499.txt", b"file 2499"),
                ("/sixtyfour/a.css", b"a{}"),
                ("/blog/media.bin", fixtures.LFS_OBJECT),
                ("/blog/limit.dat", noise(10 * MIB, 12)),
                ("/blog/big.dat", noise(11 * MIB, 11)),
            ):
                reply = await pages.get("alice", path)
                assert (reply.status, part in reply.body, reply.cut) == (200, True, None), path
            assert "-" not in (await pages.get("alice", "/sixtyfour/a.css")).headers["etag"]
            assert len((await pages.get("alice", "/sixtyfour/a.css")).headers["etag"]) == 66


# Sizes.


@pytest.mark.parametrize("head_first", [False, True])
@pytest.mark.parametrize("path", ["film.mp4", "text.html", "noname"])
async def test_a_file_that_forgejo_gives_in_no_piece_is_streamed_though_memory_would_hold_it(
    root: Path, path: str, head_first: bool
) -> None:
    """maxCachedFileSize may be above Forgejo's DEFAULT_MAX_BLOB_SIZE, which nobody tells us."""
    content = LONG * 20
    make(root, "alice/blog", {f"public/{path}": content, "public/index.html": b"small"})
    with start_forge(root, limits=Limits(default_max_blob_size=50_000)) as forge:
        async with serving(forge, maxCachedFileSize="32MiB") as pages:
            for _ in range(2):
                if head_first:
                    reply = await pages.get("alice", f"/blog/{path}", "HEAD", accept_encoding="br, gzip")
                    assert reply.status == 200
                    assert "content-length" in reply.headers or path != "film.mp4"
                reply = await pages.get("alice", f"/blog/{path}", accept_encoding="br, gzip")
                encoded = "content-encoding" in reply.headers
                assert (reply.status, reply.cut, encoded) == (200, None, path != "film.mp4")
                assert (brotli.decompress(reply.body) if encoded else reply.body) == content
            part = await pages.get("alice", f"/blog/{path}", range="bytes=100-299")
            assert (part.status, part.body) == (206, content[100:300])
            assert (await pages.get("alice", "/blog/")).body == b"small"
            pages.asked()
            await pages.get("alice", f"/blog/{path}")
            assert [target for target in pages.asked() if "/git/" in target] == []  # known for an hour


async def test_a_cold_visit_to_a_file_that_is_given_in_no_piece_is_a_site_all_the_same(root: Path) -> None:
    make(root, "alice/blog", {"public/index.html": LONG * 20})
    with start_forge(root, limits=Limits(default_max_blob_size=50_000)) as forge:
        async with serving(forge, maxCachedFileSize="32MiB") as pages:
            assert (await pages.get("alice", "/blog/")).body == LONG * 20


@pytest.mark.parametrize("memory", ["64KiB", "300KiB"])
async def test_a_memory_that_holds_next_to_nothing_still_answers(
    forge: Forge, root: Path, memory: str, caplog: pytest.LogCaptureFixture
) -> None:
    many = {f"public/a-rather-long-name-of-a-file-{number:05}.txt": b"%d" % number for number in range(3000)}
    make(
        root,
        "alice/blog",
        many
        | ATTRIBUTES
        | {
            "public/index.html": LONG,
            "public/app.js": LONG * 30,
            "public/dense.js": noise(60_000, 5),
            "public/noname": b"text" * 100,
            "public/404.html": b"nothing here",
            "public/object.bin": lfs_pointer(SMALL_OBJECT),
            "public/link": link("index.html"),
        },
    ).upload_lfs(SMALL_OBJECT)
    async with serving(forge, memoryCacheSize=memory) as pages:
        for _ in range(2):
            for coding in ("br", "gzip, zstd", ""):
                fields = {"accept_encoding": coding} if coding else {}
                for path, content in (("", LONG), ("app.js", LONG * 30), ("dense.js", noise(60_000, 5))):
                    reply = await pages.get("alice", f"/blog/{path}", **fields)
                    assert reply.status == 200
                    if "content-encoding" not in reply.headers:
                        assert reply.body == content
            assert (await pages.get("alice", "/blog/noname")).body == b"text" * 100
            assert (await pages.get("alice", "/blog/object.bin")).body == SMALL_OBJECT
            assert (await pages.get("alice", "/blog/link")).body == LONG
            assert (await pages.get("alice", "/blog/a-rather-long-name-of-a-file-02999.txt")).body == b"2999"
            assert (await pages.get("alice", "/blog/missing")).body == b"nothing here"
            assert (await pages.get("nobody", "/")).status == 404
        assert pages.library.memory.used <= pages.library.memory.capacity
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_no_file_is_held_where_none_may_be(forge: Forge, root: Path) -> None:
    make(root, "alice/blog", {"public/index.html": LONG, "public/404.html": b"nothing", "public/noname": b"x" * 500})
    async with serving(forge, maxCachedFileSize=0) as pages:
        for _ in range(2):
            assert brotli.decompress((await pages.get("alice", "/blog/", accept_encoding="br")).body) == LONG
        assert (await pages.get("alice", "/blog/noname")).body == b"x" * 500
        reply = await pages.get("alice", "/blog/missing")
        assert (reply.status, reply.body) == (404, b"nothing")


async def test_what_is_encoded_is_smaller_or_not_sent(forge: Forge, root: Path) -> None:
    make(root, "alice/blog", {"public/dense.js": noise(60_000, 5), "public/app.js": LONG})
    async with serving(forge) as pages:
        for _ in range(2):
            reply = await pages.get("alice", "/blog/dense.js", accept_encoding="br, gzip, zstd")
            assert (reply.body, "content-encoding" in reply.headers) == (noise(60_000, 5), False)
            reply = await pages.get("alice", "/blog/app.js", accept_encoding="gzip")
            assert gzip.decompress(reply.body) == LONG
        assert reply.recalled
        head = await pages.get("alice", "/blog/app.js", "HEAD", accept_encoding="gzip")
        assert (head.headers["content-length"], head.body) == (str(len(reply.body)), b"")


@pytest.mark.parametrize(("files", "status"), [(20, 200), (21, 500)])
async def test_a_site_has_at_most_so_many_files(forge: Forge, root: Path, files: int, status: int) -> None:
    public = {f"public/{number}.html": b"x%d" % number for number in range(files)}
    make(root, "alice/blog", public | {f"src/{number}": b"y" for number in range(50)} | {"a": b"", "README.md": b""})
    async with serving(forge, maxSiteFiles=20) as pages:
        reply = await pages.get("alice", "/blog/0.html")
        assert reply.status == status
        assert status == 200 or b"too large" in reply.body
        pages.asked()
        await pages.get("alice", "/blog/0.html")
        assert pages.count() == 0


@pytest.mark.parametrize(("index", "home"), [(b"<h1>", True), (None, False)])
async def test_a_page_that_is_missing_names_the_site_and_offers_its_root_if_there_is_one(
    forge: Forge, root: Path, index: bytes | None, home: bool
) -> None:
    make(root, "alice/blog", {"public/a.txt": b"a"} | ({"public/index.html": index} if index is not None else {}))
    async with serving(forge) as pages:
        for path in ("/blog/nothing", "/blog/deep/er/nothing"):
            reply = await pages.get("alice", path)
            assert reply.status == 404
            assert b"alice.<wbr>" in reply.body
            assert (b'href="/blog/"' in reply.body) is home


DEEP = "/".join(("d" * 250,) * 15)


async def test_a_site_of_long_paths_is_refused_before_it_is_read_and_remembered(forge: Forge, root: Path) -> None:
    files = {f"public/{DEEP}/{number:04}": b"x" for number in range(3500)}
    site = make(root, "alice/blog", files)
    async with serving(forge, maxSiteBytes="1MiB") as pages:
        reply = await pages.get("alice", "/blog/")
        assert (reply.status, b"maxSiteBytes" in reply.body) == (500, True)
        assert len([target for target in pages.asked() if "/git/trees/" in target]) == 1  # of four
        assert pages.library.memory.used < 20_000
        for _ in range(5):
            pages.clock.pass_(700)
            assert (await pages.get("alice", "/blog/")).status == 500
            assert pages.asked() == ["alice/blog/branches/main", "alice/blog"]  # and not its tree
        site.commit({f"public/{DEEP}/{number:04}": None for number in range(3500)} | {"public/index.html": b"small"})
        pages.clock.pass_(700)
        assert (await pages.get("alice", "/blog/")).body == b"small"


async def test_what_memory_could_not_hold_is_too_large(forge: Forge, root: Path) -> None:
    files = {f"public/{DEEP}/{number:03}": b"x" for number in range(400)}
    make(root, "alice/blog", files | {"public/index.html": b"index"})
    async with serving(forge, memoryCacheSize="2MiB") as pages:
        assert (await pages.get("alice", "/blog/")).status == 500
    async with serving(forge, memoryCacheSize="8MiB") as pages:
        assert (await pages.get("alice", "/blog/")).body == b"index"


# Links.


async def test_more_links_than_are_followed_are_missing_files(
    forge: Forge, root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon.library.site_loader.MAX_LINKS", 10)
    links = {f"public/l{number:02}": link("index.html") for number in range(12)}
    make(root, "alice/blog", {"public/index.html": b"index"} | links)
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/l09")).body == b"index"
        assert (await pages.get("alice", "/blog/l10")).status == 404
    assert "only 10 of 12 links are followed" in caplog.text


def test_a_links_target_is_spelt_as_forgejo_lists_paths() -> None:
    """Go's encoding/json has one U+FFFD for each bad byte; Python's own decoder makes one of several."""
    assert _target(b"bad\xe2\x82\xff.txt") == "bad\ufffd\ufffd\ufffd.txt"


async def test_a_link_leads_to_a_name_that_is_no_utf8(forge: Forge, root: Path) -> None:
    target = b"bad\xff\xfe.txt"
    make(root, "alice/blog", {b"public/" + target: b"found", "public/link.txt": (0o120000, target)})
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/link.txt")).body == b"found"
        assert (await pages.get("alice", "/blog/bad%ff%fe.txt")).body == b"found"


# Git LFS.


@pytest.fixture
def lfs(root: Path, forge: Forge) -> Site:
    site = make(
        root,
        "alice/blog",
        ATTRIBUTES
        | {
            "public/small.bin": lfs_pointer(SMALL_OBJECT),
            "public/large.bin": lfs_pointer(LARGE_OBJECT),
            "public/gone.bin": lfs_pointer(GONE_OBJECT),
            "public/large-gone.bin": lfs_pointer(LARGE_GONE_OBJECT),
            "public/app.js": LONG * 20,
            "public/app.js.br": lfs_pointer(SMALL_OBJECT),
            "public/noname": lfs_pointer(SMALL_OBJECT),
        },
    )
    site.upload_lfs(SMALL_OBJECT)
    site.upload_lfs(LARGE_OBJECT)
    return site


@pytest.mark.parametrize("path", ["small.bin", "large.bin", "noname"])
async def test_an_lfs_object_stands_in_for_its_pointer(forge: Forge, lfs: Site, path: str) -> None:
    content = LARGE_OBJECT if path == "large.bin" else SMALL_OBJECT
    async with serving(forge, maxCachedFileSize="64KiB") as pages:
        head = await pages.get("alice", f"/blog/{path}", "HEAD")
        assert (head.status, head.headers["content-length"]) == (200, str(len(content)))
        reply = await pages.get("alice", f"/blog/{path}")
        assert (reply.status, reply.body, reply.cut) == (200, content, None)
        assert reply.headers["etag"] == head.headers["etag"]
        same = await pages.get("alice", f"/blog/{path}", if_none_match=reply.headers["etag"])
        assert same.status == 304
        part = await pages.get("alice", f"/blog/{path}", range="bytes=-100")
        assert (part.status, part.body) == (206, content[-100:])
        pages.asked()
        await pages.get("alice", f"/blog/{path}")
        assert pages.count() == (1 if path == "large.bin" else 0)


@pytest.mark.parametrize(("path", "content"), [("gone.bin", GONE_OBJECT), ("large-gone.bin", LARGE_GONE_OBJECT)])
async def test_a_pointer_to_an_object_that_forgejo_lacks_is_no_picture_of_it(
    forge: Forge, lfs: Site, path: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(forge, maxCachedFileSize="64KiB") as pages:
        await pages.get("alice", "/blog/")
        for _ in range(2):
            reply = await pages.get("alice", f"/blog/{path}")
            assert (reply.status, reply.headers["cache-control"]) == (404, "no-store")
            assert b"git lfs push" in reply.body
            assert b"sha256" not in reply.body
        assert len([target for target in pages.asked() if "/media/" in target]) == 1
        assert caplog.text.count(f"alice/blog: {path}: Forgejo does not have its Git LFS object") == 1
        lfs.upload_lfs(content)
        pages.clock.pass_(3)
        assert (await pages.get("alice", f"/blog/{path}")).body == content


async def test_a_text_that_looks_like_a_pointer_is_the_text_that_it_is(forge: Forge, lfs: Site) -> None:
    lfs.commit({"public/how-lfs-works.txt": lfs_pointer(GONE_OBJECT), "public/lfs.md": lfs_pointer(GONE_OBJECT)})
    async with serving(forge) as pages:
        for path in ("how-lfs-works.txt", "lfs.md"):
            reply = await pages.get("alice", f"/blog/{path}")
            assert (reply.status, reply.body) == (200, lfs_pointer(GONE_OBJECT))
            assert reply.headers["content-type"].startswith("text/")


async def test_a_pointer_with_windows_line_ends_is_told_of(
    forge: Forge, lfs: Site, caplog: pytest.LogCaptureFixture
) -> None:
    lfs.commit({"public/photo.png": lfs_pointer(SMALL_OBJECT).replace(b"\n", b"\r\n")})
    async with serving(forge) as pages:
        for _ in range(2):
            reply = await pages.get("alice", "/blog/photo.png")
            assert (reply.status, b"CRLF" in reply.body) == (404, True)
        assert caplog.text.count("photo.png: its Git LFS pointer has Windows line ends (CRLF)") == 1


# What lies beside a file.

OTHER = b"<p>The build before this one was another one altogether.</p>\n" * 20
FORMS: dict[str, Any] = {
    "br": (".br", lambda data: bytes(brotli.compress(data, quality=11)), brotli.decompress),
    "gzip": (".gz", lambda data: gzip.compress(data, 9, mtime=7), gzip.decompress),
    "zstd": (".zst", zstandard.ZstdCompressor(level=19).compress, zstandard.ZstdDecompressor().decompress),
}


@pytest.mark.parametrize("coding", list(FORMS))
async def test_an_encoded_form_beside_a_file_is_sent_where_it_is_that_file(
    forge: Forge, root: Path, coding: str, caplog: pytest.LogCaptureFixture
) -> None:
    suffix, encoded, decoded = FORMS[coding]
    ready = encoded(LONG)
    make(root, "alice/blog", {"public/app.js": LONG, f"public/app.js{suffix}": ready, "public/index.html": b"index"})
    async with serving(forge) as pages:
        await pages.get("alice", "/blog/")
        pages.asked()
        head = await pages.get("alice", "/blog/app.js", "HEAD", accept_encoding=coding)
        assert (head.status, head.headers["content-length"]) == (200, str(len(ready)))
        reply = await pages.get("alice", "/blog/app.js", accept_encoding=coding)
        assert (reply.body, decoded(reply.body)) == (ready, LONG)
        assert (reply.headers["content-encoding"], reply.headers["etag"]) == (coding, head.headers["etag"])
        assert reply.headers["content-type"] == "text/javascript; charset=utf-8"
        again = await pages.get("alice", "/blog/app.js", accept_encoding=coding, if_none_match=reply.headers["etag"])
        assert (again.status, again.recalled) == (304, True)
        assert pages.count() == 2  # the two blobs
        pages.library.memory.drop(("prepared", "alice", "blog", pages.known("alice", "blog").commit or "", "app.js"))
        assert (await pages.get("alice", "/blog/app.js", accept_encoding=coding)).recalled  # looked at once a pair
    assert not caplog.text


LIES: dict[str, Any] = {
    "another build": lambda encoded: encoded(OTHER),
    "another build of the same length": lambda encoded: encoded(LONG[:-2] + b"!\n"),
    "empty": lambda encoded: b"",
    "a page in Breton": lambda encoded: b"<p>Demat</p>",
    "cut off": lambda encoded: encoded(LONG)[:-4],
    "more behind it": lambda encoded: encoded(LONG) + b"x",
    "longer by one byte": lambda encoded: encoded(LONG + b"x"),
    "a bomb": lambda encoded: encoded(bytes(3_000_000)),
}


@pytest.mark.parametrize("lie", list(LIES))
@pytest.mark.parametrize("coding", list(FORMS))
async def test_what_is_not_that_file_is_not_sent_as_it(
    forge: Forge, root: Path, coding: str, lie: str, caplog: pytest.LogCaptureFixture
) -> None:
    suffix, encoded, decoded = FORMS[coding]
    page = LONG + LONG  # so that each lie is smaller
    make(root, "alice/blog", {"public/index.html": page, f"public/index.html{suffix}": LIES[lie](encoded)})
    async with serving(forge) as pages:
        for _ in range(2):
            reply = await pages.get("alice", "/blog/", accept_encoding=coding)
            assert (reply.status, decoded(reply.body)) == (200, page)
            assert (await pages.get("alice", "/blog/")).body == page
        stale = f'"{Site(root / "alice" / "blog.git").blob_id(LIES[lie](encoded))}-{coding}"'
        # A browser that was sent the wrong one before is not told that it holds the right one.
        assert (await pages.get("alice", "/blog/", accept_encoding=coding, if_none_match=stale)).status == 200
        assert caplog.text.count(f"index.html{suffix} is not index.html in another coding") == 1


@pytest.mark.parametrize("right", [True, False])
async def test_a_form_too_large_for_memory_is_read_through_before_it_is_sent(
    forge: Forge, root: Path, right: bool, caplog: pytest.LogCaptureFixture
) -> None:
    data = noise(40_000, 9).hex().encode() * 3
    ready = bytes(brotli.compress(data if right else data[:-1] + b"?", quality=1))
    assert len(ready) > 32 * 1024
    make(root, "alice/blog", {"public/app.js": data, "public/app.js.br": ready})
    async with serving(forge, maxCachedFileSize="32KiB") as pages:
        first = await pages.get("alice", "/blog/app.js", accept_encoding="br")
        assert (first.body, "content-encoding" in first.headers) == (data, False)
        await pages.settle()
        again = await pages.get("alice", "/blog/app.js", accept_encoding="br")
        assert again.body == ready if right else brotli.decompress(again.body) == data
        assert again.headers["content-type"] == "text/javascript; charset=utf-8"
        assert ("is not app.js in another coding" in caplog.text) is not right


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_large_text_is_encoded_on_its_way_and_kept(forge: Forge, root: Path, coding: str) -> None:
    data = noise(100_000, 21).hex().encode()
    site = make(root, "alice/blog", {"public/app.js": data})
    tag, own = f'"{site.blob_id(data)}-{coding}"', f'"{site.blob_id(data)}"'
    async with serving(forge, maxCachedFileSize="64KiB", memoryCacheSize="4MiB") as pages:
        fields = {"accept_encoding": coding}
        part = await pages.get("alice", "/blog/app.js", range="bytes=10-19", **fields)
        head = await pages.get("alice", "/blog/app.js", "HEAD", **fields)
        assert "content-length" not in head.headers
        same = await pages.get("alice", "/blog/app.js", if_none_match=tag, **fields)
        assert (same.status, part.status, part.body) == (304, 206, data[10:20])
        assert (part.headers["etag"], "content-encoding" in part.headers) == (own, False)
        whole = await pages.get("alice", "/blog/app.js", range="bytes=10-19", if_range=tag, **fields)
        assert (whole.status, whole.headers) == (200, head.headers | {"x-cache-status": whole.cache})
        assert b"".join(Decoder(coding).feed(whole.body)) == data
        assert len(whole.body) < 0.6 * len(data)
        for reply in (head, whole, same, part):
            assert reply.headers["vary"] == "Accept-Encoding"
        for reply in (head, whole, same):
            assert reply.headers["etag"] == tag
        assert (whole.headers["content-encoding"], whole.headers["content-type"][:15]) == (coding, "text/javascript")
        pages.asked()
        again = await pages.get("alice", "/blog/app.js", **fields)
        assert (again.body, again.headers["content-length"]) == (whole.body, str(len(whole.body)))
        part = await pages.get("alice", "/blog/app.js", range="bytes=10-19", if_range=tag, **fields)
        assert (part.status, part.body) == (206, whole.body[10:20])
        assert pages.count() == 0
        plain = await pages.get("alice", "/blog/app.js")
        assert (plain.body, plain.headers["content-length"], plain.headers["etag"]) == (data, str(len(data)), own)
        pages.library.memory.drop(("form", site.blob_id(data), coding))
        again = await pages.get("alice", "/blog/app.js", **fields)
        assert (again.body, "content-length" in again.headers) == (whole.body, False)


async def test_what_is_no_smaller_encoded_is_encoded_once(forge: Forge, root: Path) -> None:
    data = noise(100_000, 22)
    make(root, "alice/blog", {"public/app.wasm": data})
    async with serving(forge, maxCachedFileSize="64KiB") as pages:
        replies = [await pages.get("alice", "/blog/app.wasm", accept_encoding="br") for _ in range(2)]
        assert ["content-encoding" in reply.headers for reply in replies] == [True, False]
        assert [brotli.decompress(replies[0].body), replies[1].body] == [data, data]


async def test_who_finds_no_place_among_the_encoders_gets_the_file_itself(forge: Forge, root: Path) -> None:
    data = noise(100_000, 23).hex().encode()
    make(root, "alice/blog", {f"public/{n}.js": data + b"%d" % n for n in range(AT_ONCE)})
    make(root, "bob/blog", {"public/0.js": data})
    fields = {"accept_encoding": "br, gzip"}
    async with serving(forge, maxCachedFileSize="64KiB", memoryCacheSize="512KiB") as pages, AsyncExitStack() as held:
        for each in range(AT_ONCE_OF_ONE):
            answer = await pages.server.answer(pages.request("alice", f"/blog/{each}.js", **fields))
            assert answer.stream is not None
            await anext(await held.enter_async_context(answer.stream()))
        refused = await pages.get("alice", f"/blog/{AT_ONCE_OF_ONE}.js", **fields)
        assert (refused.body[:-1], refused.headers["vary"]) == (data, "Accept-Encoding")
        assert "content-encoding" not in refused.headers
        other = await pages.get("bob", "/blog/0.js", **fields)
        assert (other.headers["content-encoding"], brotli.decompress(other.body)) == ("br", data)
        await held.aclose()
        late = await pages.get("alice", f"/blog/{AT_ONCE_OF_ONE}.js", **fields)
        assert brotli.decompress(late.body) == refused.body
        assert "content-length" not in (await pages.get("bob", "/blog/0.js", **fields)).headers  # too large to be kept


async def test_a_form_that_only_a_condition_names_is_looked_at_too(forge: Forge, root: Path) -> None:
    site = make(root, "alice/blog", {"public/app.js": LONG, "public/app.js.gz": FORMS["gzip"][1](LONG)})
    tag = f'"{site.blob_id(FORMS["gzip"][1](LONG))}-gzip"'
    async with serving(forge) as pages:
        reply = await pages.get("alice", "/blog/app.js", accept_encoding="br, gzip", if_match=tag)
        assert (reply.status, gzip.decompress(reply.body)) == (200, LONG)


async def test_what_is_encoded_as_it_lies_there_is_served_as_what_is_inside(forge: Forge, root: Path) -> None:
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'>" + b"<path/>" * 200 + b"</svg>"
    data = noise(80_000, 11)
    files = {
        "logo.svgz": gzip.compress(svg),
        "Build/game.js.br": brotli.compress(LONG),
        "Build/game.data.gz": gzip.compress(data),
        "Build/large.wasm.br": brotli.compress(noise(90_000, 12)),
        "rows.csv.gz": gzip.compress(LONG),
        "index.html.br": b"<p>Demat</p>",
        "plain.svgz": svg,
    }
    make(root, "alice/blog", {f"public/{name}": data for name, data in files.items()})
    async with serving(forge, maxCachedFileSize="85KiB") as pages:
        for name, coding, kind in (
            ("logo.svgz", "gzip", "image/svg+xml"),
            ("Build/game.js.br", "br", "text/javascript"),
            ("Build/game.data.gz", "gzip", "application/octet-stream"),
            ("Build/large.wasm.br", "br", "application/wasm"),
            ("rows.csv.gz", None, "application/gzip"),
            ("index.html.br", None, "text/html; charset=utf-8"),
        ):
            for method in ("HEAD", "GET", "GET"):
                reply = await pages.get("alice", f"/blog/{name}", method, accept_encoding="gzip, br")
                assert (reply.status, reply.headers.get("content-encoding")) == (200, coding), name
                assert reply.headers["content-type"] == kind
                assert reply.headers["content-length"] == str(len(files[name]))
                assert reply.body == (files[name] if method == "GET" else b"")
        reply = await pages.get("alice", "/blog/plain.svgz")
        assert (reply.headers["content-type"], reply.body) == ("image/svg+xml", svg)


async def test_the_head_of_a_large_text_says_what_it_is(forge: Forge, root: Path) -> None:
    texts = {"utf8.txt": "Grüße, Welt\n".encode() * 9000, "latin.txt": "Grüße, Welt\n".encode("latin-1") * 9000}
    make(root, "alice/blog", {f"public/{name}": data for name, data in texts.items()} | {"public/LIES": b"A " * 40000})
    async with serving(forge, maxCachedFileSize="64KiB") as pages:
        for name, kind in (("utf8.txt", "text/plain; charset=utf-8"), ("latin.txt", "text/plain")):
            for _ in range(2):
                reply = await pages.get("alice", f"/blog/{name}")
                assert (reply.headers["content-type"], reply.body) == (kind, texts[name])
        reply = await pages.get("alice", "/blog/LIES")
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        assert "x-content-type-options" not in reply.headers
        pages.asked()
        await pages.get("alice", "/blog/utf8.txt")
        assert pages.count() == 1


async def test_names_that_mirrors_leave_have_their_types(forge: Forge, root: Path) -> None:
    scripts = ("jquery.min.js?ver=3.6.0", "plugin.js@v=2", "main.js;jsessionid=1")
    names = dict.fromkeys(scripts, "text/javascript; charset=utf-8") | {"css?family=Lato": "text/css; charset=utf-8"}
    make(root, "alice/blog", {f"public/{name}": b"/* text */" for name in names} | {"public/blob.xyz": b"data"})
    async with serving(forge) as pages:
        for name, kind in names.items():
            reply = await pages.get("alice", f"/blog/{quote(name)}")
            assert (reply.status, reply.headers["content-type"]) == (200, kind)
            assert reply.headers["x-content-type-options"] == "nosniff"
        reply = await pages.get("alice", "/blog/blob.xyz")
        assert (reply.headers["content-type"], "x-content-type-options" in reply.headers) == (
            "application/octet-stream",
            False,
        )


async def test_a_ready_made_encoding_that_is_a_pointer_is_not_sent_as_one(forge: Forge, lfs: Site) -> None:
    async with serving(forge) as pages:
        for _ in range(2):
            reply = await pages.get("alice", "/blog/app.js", accept_encoding="br")
            assert (reply.status, brotli.decompress(reply.body)) == (200, LONG * 20)
            assert reply.headers["content-encoding"] == "br"


async def test_a_pointer_where_no_attributes_speak_of_lfs_is_resolved_all_the_same(forge: Forge, root: Path) -> None:
    site = make(root, "alice/plain", {"public/small.bin": lfs_pointer(SMALL_OBJECT)})
    site.upload_lfs(SMALL_OBJECT)
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/plain/small.bin")).body == SMALL_OBJECT
        head = await pages.get("alice", "/plain/small.bin", "HEAD")
        assert head.headers["content-length"] == str(len(SMALL_OBJECT))


# The operator's pages.

OPERATORS = {
    "public/index.html": b"<h1>Welcome</h1>",
    "public/style.css": b"h1{}",
    "public/404.html": b"<h1>Operator's 404</h1>",
    "public/403.html": b"<h1>Operator's 403</h1>",
}


async def landing(pages: Serving) -> tuple[Any, ...]:
    found = [await pages.get("pages.test", path) for path in ("/", "/style.css", "/missing")]
    found.append(await pages.get("nobody", "/"))
    found.append(await pages.get("www.example.org", "/"))
    return tuple((reply.status, reply.body) for reply in found)


WELCOME, PAGE_404 = (200, b"<h1>Welcome</h1>"), (404, b"<h1>Operator's 404</h1>")


@pytest.mark.parametrize("settings", [ENABLED, None, b"enabled: false\n"], ids=["with", "without", "disabled"])
async def test_the_operators_repository_is_landing_page_and_error_pages(
    forge: Forge, root: Path, settings: bytes | None
) -> None:
    files = OPERATORS | ({} if settings is None else {".pages": settings})
    Site(root / "ops" / "errors.git", files)
    async with serving(forge, errorPagesRepo="ops/errors") as pages:
        for _ in range(2):
            assert await landing(pages) == (WELCOME, (200, b"h1{}"), PAGE_404, PAGE_404, PAGE_404)
        reply = await pages.get("nobody", "/")
        assert reply.headers["cache-control"] == "no-store"
        assert "etag" not in reply.headers
        assert (await pages.get("ops", "/errors/")).status == (200 if settings == ENABLED else 404)


async def test_a_sites_own_page_comes_before_the_operators(forge: Forge, root: Path) -> None:
    Site(root / "ops" / "errors.git", OPERATORS)
    make(root, "alice/blog", {"public/404.html": b"alice's"})
    make(root, "alice/plain", {"public/index.html": b"plain"})
    async with serving(forge, errorPagesRepo="ops/errors") as pages:
        assert (await pages.get("alice", "/blog/missing")).body == b"alice's"
        assert (await pages.get("alice", "/plain/missing")).body == PAGE_404[1]


@pytest.mark.parametrize("how", ["missing", "refused", "broken", "down", "html"])
async def test_without_the_operators_repository_the_pages_are_ours(forge: Forge, root: Path, how: str) -> None:
    if how != "missing":
        Site(root / "ops" / "errors.git", OPERATORS | {".pages": b"[" if how == "broken" else ENABLED})
    make(root, "alice/blog", {"public/index.html": b"blog"})
    match how:
        case "refused":
            forge.fault("ops/errors", status=403)
        case "down":
            forge.fault("ops/errors", drop=True)
        case "html":
            forge.fault("ops/errors", status=200, body=b"<html>")
    async with serving(forge, errorPagesRepo="ops/errors") as pages:
        assert (await pages.get("alice", "/blog/")).body == b"blog"
        reply = await pages.get("nobody", "/")
        assert (reply.status, b"not configured for pages" in reply.body) == (404, True)
        reply = await pages.get("pages.test", "/")
        assert (reply.status, b"pages.test" in reply.body) == (200, True)
        assert (await pages.get("pages.test", "/style.css")).status == (502 if how in ("down", "html") else 404)


async def test_the_operators_pages_are_closed_with_their_repository(forge: Forge, root: Path) -> None:
    Site(root / "ops" / "errors.git", OPERATORS)
    async with serving(forge, errorPagesRepo="ops/errors") as pages:
        assert (await landing(pages))[0] == WELCOME
        with forge.fault("ops/errors", status=403):
            pages.clock.pass_(700)
            assert (await landing(pages))[0] != WELCOME
        pages.clock.pass_(11)
        assert (await landing(pages))[0] == WELCOME
        forge.settings("ops/errors").private = True
        pages.clock.pass_(700)
        assert (await landing(pages))[0] != WELCOME


async def test_an_operators_repository_that_hangs_holds_up_nobody_for_long(forge: Forge, root: Path) -> None:
    loop = asyncio.get_running_loop()
    async with serving(forge, errorPagesRepo="ops/errors", forgejoTimeout="30s") as pages:
        with forge.fault("ops/errors", hang=True):
            began = loop.time()
            assert (await pages.get("www.example.org", "/")).status == 404
            assert loop.time() - began < 10


# Listings.


@pytest.mark.parametrize("files", [3, 1000, 2500])
async def test_a_listing_of_any_length_is_made_once_a_commit(forge: Forge, root: Path, files: int) -> None:
    many = {f"public/files/n{number:04}.txt": b"%d" % number for number in range(files)}
    site = make(root, "alice/blog", many | {".pages": b"directory_index: true\n", "public/x/index.html": b"index"})
    async with serving(forge) as pages:
        reply = await pages.get("alice", "/blog/files/")
        assert (reply.status, reply.body.count(b".txt</")) == (200, min(files, 1000))
        assert (await pages.get("alice", "/blog/files/")).recalled
        assert (await pages.get("alice", "/blog/files")).status == 301
        assert (await pages.get("alice", "/blog/x/")).body == b"index"
        assert (await pages.get("alice", "/blog/missing/")).status == 404
        site.commit({"public/files/a-new": b"new"})
        pages.clock.pass_(700)
        await pages.get("alice", "/blog/files/")
        await pages.settle()  # a look may take longer than a visitor waits
        assert b"a-new" in (await pages.get("alice", "/blog/files/")).body


async def test_others_have_their_turn_between_the_pages_of_a_large_tree(
    forge: Forge, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(root, "alice/wide", {f"public/{number:05}.txt": b"" for number in range(4600)})
    rows: list[int] = [0]

    def counted(path: str, prefix: str) -> bool:
        rows[-1] += 1
        return is_content(path, prefix)

    def tick() -> None:
        rows.append(0)
        asyncio.get_running_loop().call_soon(tick)

    monkeypatch.setattr(site_loader, "is_content", counted)
    async with serving(forge) as pages:
        tick()
        assert (await pages.get("alice", "/wide/00001.txt")).status == 200
        monkeypatch.setattr(site_loader, "is_content", is_content)
    assert (max(rows) <= 1000, sum(rows)) == (True, 4600)


async def test_a_long_listing_comes_in_pages_of_a_thousand_rows(forge: Forge, root: Path) -> None:
    many = {f"public/n{number:04}.txt": b"%d" % number for number in range(2500)}
    make(root, "alice/blog", many | {".pages": b"directory_index: true\n"})
    async with serving(forge) as pages:
        shown: list[bytes] = []
        path: str | None = "/blog/"
        while path is not None:
            reply = await pages.get("alice", path)
            assert reply.status == 200
            shown += re.findall(rb"n[0-9]{4}\.txt(?=</)", reply.body)
            following = re.search(r'rel="next" href="([^"]+)"', reply.text)
            path = f"/blog/{following[1]}" if following is not None else None
        assert shown == [f"n{number:04}.txt".encode() for number in range(2500)]
        largest = await pages.get("alice", "/blog/?sort=-size&page=2")
        assert largest.cache == "HIT"  # it is made anew, but not by Forgejo
        # Of one digit, two, three, four: the largest are those from n1000 on.
        assert re.findall(r"n[0-9]{4}\.txt(?=</)", largest.text)[:501:500] == ["n2000.txt", "n0100.txt"]
        assert (await pages.get("alice", "/blog/?sort=-size&page=4")).status == 404
        plain = await pages.get("alice", "/blog/")
        assert (await pages.get("alice", "/blog/?sort=colour")).body == plain.body
        assert (await pages.get("alice", "/blog/?page=4")).status == 404
        assert (await pages.get("alice", "/blog/?page=99999")).status == 404


async def test_a_listing_is_made_once_however_its_host_is_written(
    forge: Forge, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {f"public/n{number:04}.txt": b"%d" % number for number in range(500)}
    make(root, "alice/blog", many | {".pages": b"directory_index: true\n"})
    made: list[int] = []
    original = templates.listing

    def counted(*arguments: Any, **named: Any) -> bytes:
        made.append(1)
        return original(*arguments, **named)

    monkeypatch.setattr(templates, "listing", counted)
    async with serving(forge) as pages:
        replies = [await pages.get(f"alice.pages.test:{8000 + port}", "/blog/?x") for port in range(16)]
        assert {reply.status for reply in replies} == {200}
        assert len({reply.body for reply in replies}) == len(made) == 1


# A request in itself.


async def test_nothing_of_a_visitor_reaches_forgejo_but_names(forge: Forge, root: Path) -> None:
    make(root, "alice/blog", {"public/index.html": b"index", "public/big.mp4": noise(200_000, 6)})
    secrets = {
        "authorization": "Basic c2VjcmV0",
        "cookie": "session=secret",
        "sudo": "admin",
        "x_forwarded_for": "secret",
        "user_agent": "secret",
        "accept_language": "secret",
        "x_forgejo_otp": "secret",
        "if_none_match": '"secret"',
        "referer": "secret",
    }
    async with serving(forge, maxCachedFileSize="64KiB") as pages:
        for path in ("/blog/?token=secret&sudo=secret", "/blog/big.mp4?ref=secret", "/secret%3Fref=secret/x"):
            reply = await pages.get("alice", path, **secrets)
            assert reply.status == (404 if "%3F" in path else 200)
        assert len(forge.calls) >= 5  # a site, a stream, and a repository that is not there
        for call in forge.calls:
            assert "secret" not in call.target.replace("secret%3Fref%3Dsecret", "")
            assert not call.credentials
            assert "secret" not in repr(call.headers).lower()
            assert "sudo" not in repr(call).lower()


async def test_a_fault_of_ours_is_a_page_and_its_log_is_one_line_of_the_visitors(
    forge: Forge, root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(forge) as pages:
        monkeypatch.setattr(pages.server, "_resolve", lambda request, work: 1 / 0)
        request = pages.request("alice.pages.test", "/x\x1b[2J\nforged line")
        for answer in (pages.server.answer_from_memory(request), await pages.server.answer(request)):
            assert answer is not None
            assert answer.status == 500
            assert b"ZeroDivision" not in answer.body
            assert b"Traceback" not in answer.body
        assert all("\n" not in record.getMessage() and "\x1b" not in record.getMessage() for record in caplog.records)


async def test_many_paths_of_many_kinds_fill_no_more_than_the_memory(forge: Forge, root: Path) -> None:
    make(root, "alice/blog", {"public/index.html": b"index"})
    async with serving(forge, memoryCacheSize="100KiB") as pages:
        for number in range(300):
            await pages.get(f"u{number}", "/")
            await pages.get("alice", f"/r{number}/x")
            await pages.get(f"h{number}.example.org", "/")
        assert pages.library.memory.used <= 100 * 1024
        assert len(pages.library._flights) == 0
        assert (await pages.get("alice", "/blog/")).body == b"index"


async def test_an_encoded_form_that_is_held_needs_not_the_file_it_was_made_of(forge: Forge, root: Path) -> None:
    site = make(root, "alice/blog", {"public/app.js": LONG})
    async with serving(forge) as pages:
        first = await pages.get("alice", "/blog/app.js", accept_encoding="gzip")
        pages.library.memory.drop(("blob", site.blob_id(LONG)))
        pages.asked()
        again = await pages.get("alice", "/blog/app.js", accept_encoding="gzip")
        assert (again.body, again.recalled, pages.count()) == (first.body, True, 0)


# A crowd.


async def test_a_gallery_that_nobody_has_seen_is_whole_at_the_first_visit(forge: Forge, root: Path) -> None:
    pictures = {f"public/p{number:03}.png": noise(2000, number) for number in range(150)}
    make(root, "alice/gallery", pictures | {"public/index.html": b"gallery"})
    make(root, "bob/blog", {"public/style.css": b"a{}", "public/index.html": b"bob"})
    async with serving(forge) as pages:
        assert (await pages.get("bob", "/blog/")).status == 200
        replies = await asyncio.gather(
            *(pages.get("alice", f"/gallery/p{number:03}.png") for number in range(150)),
            pages.get("bob", "/blog/style.css"),
        )
        assert [reply.status for reply in replies] == [200] * 151


async def test_eighty_sites_at_once_after_a_start_are_all_there(forge: Forge, root: Path) -> None:
    for number in range(80):
        make(root, f"o{number}/blog", {"public/index.html": b"site %d" % number})
    async with serving(forge) as pages:
        replies = await asyncio.gather(*(pages.get(f"o{number}", "/blog/") for number in range(80)))
        assert [reply.body for reply in replies] == [b"site %d" % number for number in range(80)]


async def test_too_many_calls_are_no_trouble_that_is_remembered(
    forge: Forge, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(root, "alice/blog", {"public/index.html": b"index"})
    async with serving(forge) as pages:
        slots = pages.forgejo._calls.slots
        monkeypatch.setattr(slots, "patience", 0.01)
        async with AsyncExitStack() as held:
            for number in range(16):
                await held.enter_async_context(slots.turns.turn(1.0, party=Party(f"o{number}")))
            reply = await pages.get("alice", "/blog/")
            assert reply.status == 503
            assert int(reply.headers["retry-after"]) >= 1
        assert (await pages.get("alice", "/blog/")).body == b"index"


async def test_a_known_site_is_looked_at_again_also_when_who_asked_has_the_old_one(forge: Forge, root: Path) -> None:
    site = make(root, "alice/blog", {"public/index.html": b"first"})
    async with serving(forge) as pages:
        assert (await pages.get("alice", "/blog/")).body == b"first"
        site.commit({"public/index.html": b"second"})
        pages.clock.pass_(700)
        slots = pages.forgejo._calls.slots
        async with AsyncExitStack() as held:
            for number in range(16):
                await held.enter_async_context(slots.turns.turn(1.0, party=Party(f"o{number}")))
            assert (await pages.get("alice", "/blog/")).body == b"first"
        await pages.settle()
        assert (await pages.get("alice", "/blog/")).body == b"second"


@pytest.mark.parametrize("path", ["/", "/blog/", "/no/such/file"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_a_method_that_reads_nothing_is_refused_also_where_nothing_is(
    forge: Forge, root: Path, method: str, path: str
) -> None:
    make(root, "alice/blog", {"public/index.html": b"index"})
    async with serving(forge) as pages:
        for owner in ("alice", "nobody"):
            for _ in range(2):
                reply = await pages.get(owner, path, method)
                assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_work_that_would_come_too_late_is_503_and_no_fault(
    forge: Forge, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make(root, "alice/blog", {".pages": b"directory_index: true\n", "public/files/a.txt": b"a"})
    async with serving(forge) as pages:

        async def busy(*_: object, **__: object) -> object:
            raise Overloaded("too much work is waiting", retry_after=7)

        with monkeypatch.context() as overloaded:
            overloaded.setattr(paths, "_SMALL_SITE", 0)  # else it is made at once, on no thread
            overloaded.setattr(type(pages.library.blobs), "page", busy)
            reply = await pages.get("alice", "/blog/files/")
        assert (reply.status, reply.headers["retry-after"]) == (503, "7")
        assert "Traceback" not in caplog.text
        assert (await pages.get("alice", "/blog/files/")).status == 200


async def test_a_span_is_told_which_status_was_answered(
    forge: Forge, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(root, "alice/blog", {".pages": ENABLED, "public/index.html": b"x"})
    outcomes: list[dict[str, object]] = []

    @contextmanager
    def traced(*_: object) -> Iterator[dict[str, object]]:
        outcomes.append({})
        yield outcomes[-1]

    monkeypatch.setattr(server, "traced", traced)
    async with serving(forge) as pages:
        for path in ("/blog/", "/blog/missing"):
            await pages.server.answer(
                Request("GET", "alice.pages.test", path, None, lambda name: None, lambda: Visitor("192.0.2.1", True))
            )
    assert [outcome["http.response.status_code"] for outcome in outcomes] == [200, 404]
