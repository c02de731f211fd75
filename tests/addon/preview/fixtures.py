# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The repositories that the recordings were made of, bit for bit: odd names, links, a submodule, LFS, large blobs.

`make_repositories(OUT)` writes `OUT/OWNER/NAME.git`. The ids in the recordings are those of these repositories, so
nothing here may change: add others elsewhere.
"""

from __future__ import annotations

import random
from pathlib import Path

from tests.addon.preview.sites import Site, executable, lfs_pointer, link, submodule


def noise(size: int, seed: int) -> bytes:
    """Bytes that do not compress, the same each time."""
    return random.Random(seed).randbytes(size)


LFS_OBJECT = noise(70_000, 7)
ENABLED = b"enabled: true\n"
BLOG_SETTINGS = b"""\
enabled: true
custom_domain: blog.example.org
enable_branches:
  - dev
  - feature/x
directory_index: true
"""


def page(title: str, body: str = "") -> bytes:
    """A small page that names itself and a stylesheet."""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<link rel=stylesheet href=/blog/css/style.css><h1>{title}</h1>{body}</html>\n"
    ).encode()


def make_repositories(root: Path) -> None:
    """Writes all of them below `root`, as they were before anything was renamed or made private."""
    alice = root / "alice"
    Site(alice / ".profile.git").commit(
        {
            ".pages": ENABLED,
            "public/index.html": page("Alice"),
            "public/about.html": page("About"),
            "public/css/style.css": b"body { color: #123 }\n",
            "public/docs/index.html": page("Docs"),
            "public/docs/a/b.txt": b"deep\n",
            "README.md": b"# Alice\n",
        },
        "Profile",
    )
    _blog(alice / "blog.git")
    many = {f"public/d{number // 100:02}/f{number:04}.txt": f"file {number}\n".encode() for number in range(2500)}
    Site(alice / "many.git").commit({".pages": ENABLED, "public/index.html": page("Many")} | many, "Many files")
    for name, files, message in (
        ("nopages", {"public/index.html": page("No .pages"), "README.md": b"x\n"}, "No .pages"),
        ("disabled", {".pages": b"enabled: false\n", "public/index.html": page("Disabled")}, "Disabled"),
        ("broken", {".pages": b"enabled: true\n  custom_domain: [\n", "public/index.html": page("Broken")}, "Broken"),
        ("nopublic", {".pages": ENABLED, "index.html": page("No public")}, "No public/"),
        ("secret", _small("Secret"), "Secret"),
        ("archived", _small("Archived"), "Archived"),
        ("oldname", _small("Renamed repository"), "Renamed later"),
        ("moving", _small("Moved to acme"), "Transferred later"),
        ("Mixed.Case_1", _small("Mixed case"), "Mixed"),
    ):
        Site(alice / f"{name}.git").commit(files, message)
    Site(alice / "pagesbranch.git", branch="pages").commit(_small("On pages"), "On pages")
    sixty_four = Site(alice / "sixtyfour.git", object_format="sha256")
    sixty_four.commit(_small("sha256") | {"public/a.css": b"a{}\n"}, "sha256")
    Site(alice / "empty.git")
    for owner in ("al.ice", "limited", "hidden", "acme", "oldie"):
        Site(root / owner / "site.git").commit(_small(owner), f"Site of {owner}")


def _small(title: str) -> dict[str, bytes]:
    return {".pages": ENABLED, "public/index.html": page(title)}


def _blog(path: Path) -> None:
    blog = Site(path)
    fake = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"
    first = blog.commit(
        {
            ".pages": BLOG_SETTINGS,
            ".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n",
            ".gitmodules": b'[submodule "public/module"]\n\tpath = public/module\n\turl = ../other.git\n',
            "README.md": b"# Not served\n",
            "public/index.html": page("Blog", "<img src=img/dot.png>"),
            "public/404.html": page("Nothing here"),
            "public/about.html": page("About the blog"),
            "public/post/index.html": page("Post"),
            "public/post/one.html": page("One"),
            "public/both.html": page("both.html"),
            "public/both/index.html": page("both/index"),
            "public/plain": b"no extension\n",
            "public/css/style.css": b"h1 { color: teal }\n",
            "public/js/app.mjs": b"export const x = 1\n",
            "public/js/app.js": b"console.log('x'.repeat(3))\n" * 300,
            "public/js/app.js.gz": noise(500, 1),
            "public/js/app.js.br": noise(400, 2),
            "public/img/dot.png": bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000")
            + noise(40, 3),
            "public/img/pic.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>\n',
            "public/app.wasm": b"\0asm\1\0\0\0",
            "public/data.json": b'{"a": 1}\n',
            "public/empty.txt": b"",
            "public/files/with space.html": page("space"),
            "public/files/per%cent.html": page("percent"),
            "public/files/ha#sh.html": page("hash"),
            "public/files/quest?ion.html": page("question"),
            "public/files/pl+us&amp.html": page("plus"),
            "public/files/\u00e9t\u00e9.html": page("\u00e9t\u00e9"),
            "public/files/\u65e5\u672c.html": page("\u65e5\u672c"),
            b"public/files/bad\xff.txt": b"not utf-8 name\n",
            "public/files/back\\slash.txt": b"back\n",
            "public/files/quo\"te'.txt": b"quote\n",
            "public/files/\U0001f600.txt": b"smile\n",
            "public/run.sh": executable(b"#!/bin/sh\necho hi\n"),
            "public/module": submodule("1" * 40),
            "public/link.html": link("about.html"),
            "public/linkdir": link("post"),
            "public/up.html": link("../README.md"),
            "public/abs": link("/etc/passwd"),
            "public/loop-a": link("loop-b"),
            "public/loop-b": link("loop-a"),
            "public/dangling": link("nowhere.html"),
            "public/far": link("post/../css/style.css"),
            "public/media.bin": lfs_pointer(LFS_OBJECT),
            "public/fake-pointer.txt": fake,
            "public/big.dat": noise(11 * 1024 * 1024, 11),
            "public/limit.dat": noise(10 * 1024 * 1024, 12),
            "public/.well-known/security.txt": b"Contact: mailto:a@example.org\n",
            "public/.hidden/x.txt": b"hidden\n",
        },
        "First",
    )
    blog.commit({"public/index.html": page("Blog, second"), "public/new.html": page("New")}, "Second")
    for branch, title, message in (
        ("dev", "Blog on dev", "On dev"),
        ("feature/x", "Feature x", "On feature/x"),
        ("same", "Branch same", "On same"),
    ):
        blog.commit({"public/index.html": page(title)}, message, branch=branch, parent=first)
    blog.tag("same", first)
    blog.tag("v1", first, "Version 1")
    blog.upload_lfs(LFS_OBJECT)
