# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Names that build tools give to files, told from those that people give: the first are kept for a year."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.web.hashed_names import is_hashed
from addon.web.representation import IMMUTABLE, REVALIDATED, cache_control

SHA256, SHA512, MD5 = (hashlib.new(name, b"x").hexdigest() for name in ("sha256", "sha512", "md5"))


@pytest.mark.parametrize(
    "path",
    [
        "static/js/main.3f9c2b7e.js",  # Create React App, Docusaurus
        "static/js/787.2a3b4c5d.chunk.js",
        "static/js/main.3f9c2b7e.js.map",
        "static/js/main.3f9c2b7e.js.LICENSE.txt",
        "js/app.0123456789abcdef0123.js",  # webpack's own length
        "_next/static/chunks/framework-0d1f2a3b4c5d6e7f.js",  # Next.js
        "_next/static/xyzBuildId/_buildManifest.js",
        "assets/index-BwXk3d9_.js",  # Vite
        "assets/index-C0TqNvJD.css",
        "assets/guide_index.md.C0TqNvJD.lean.js",  # VitePress
        "_astro/hoisted.DfeIyZ1a.js",  # Astro
        "_astro/logo.png",
        "_app/immutable/entry/start.Bx.js",  # SvelteKit
        "index.3f9c2b7e.js",  # Parcel
        "chunk-QF5ZXJ3K.js",  # esbuild
        "main-5NDUGOVN.js",
        f"css/main.min.{SHA256}.css",  # Hugo
        f"css/main.{SHA512}.css",
        f"css/main.{MD5}.css",
        f"assets/application-{SHA256}.css",  # Jekyll with Sprockets
        "assets/javascripts/bundle.8fd75fb4.min.js",  # Material for MkDocs
        "app-1a2b3c4d5e6f7a8b9c0d.js",  # Gatsby
        "inter-latin.0a1b2c3d.woff2",
        f"uploads/{MD5}.png",
    ],
)
def test_a_hash_of_the_content_is_seen(path: str) -> None:
    assert is_hashed(path)
    assert cache_control(False, 0, hashed=is_hashed(path)) == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    "path",
    [
        "app.js",
        "style.css",
        "jquery-3.6.0.min.js",
        "app.1.2.3.js",
        "photo-20240315.jpg",
        "photo.1234567890123456.jpg",
        "img_20240315.jpg",
        "report-Version2.js",
        "app-settings.js",
        "app-Settings.js",
        "README-CHAPTER2.js",
        "deadbeef.js",
        "x.deadbeef.js",
        "x.facade01x.js",
        "hero-1920x1080.jpg",
        "fonts/Inter-Regular.woff2",
        "3f9c2b7e.js",
        "photo-IMG_2024.jpg",
        "page.3f9c2b7e.html",  # a page is asked for again, whatever it is called
        "report.3f9c2b7e.pdf",
        "3f9c2b7e/app.js",
        "main.3f9c2b7e",
        "main.3F9C2B7E.js",
        "_next/data/x.json",
        "_app/version.json",
        "",
        ".js",
        "a" * 300 + ".3f9c2b7e.js",
    ],
)
def test_what_people_call_files_is_no_hash(path: str) -> None:
    assert not is_hashed(path)


@given(st.text(max_size=40))
def test_any_name_has_an_answer(name: str) -> None:
    assert is_hashed(name) in (True, False)


@pytest.mark.parametrize(
    ("html", "max_age", "hashed", "expected"),
    [
        (True, 0, False, REVALIDATED),
        (True, 300, False, REVALIDATED),
        (True, 300, True, REVALIDATED),
        (False, 0, False, REVALIDATED),
        (False, 300, False, "public, max-age=300"),
        (False, 0, True, IMMUTABLE),
        (False, 300, True, IMMUTABLE),
    ],
)
def test_how_long_browsers_keep_a_file(html: bool, max_age: int, hashed: bool, expected: str) -> None:
    assert cache_control(html, max_age, hashed=hashed) == expected
