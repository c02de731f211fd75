# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""Content types by name: what browsers insist on, what visitors expect, and that bytes never make a page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.web.content_types import (
    compressible,
    content_type,
    depends_on_head,
    has_known_extension,
    is_fallback,
    is_html,
)
from tests.cases import by_first, by_outcome

BINARY = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # A browser refuses or misreads these under another type (WHATWG HTML: module scripts, WebAssembly streaming).
        ("app.js", "text/javascript; charset=utf-8"),
        ("app.mjs", "text/javascript; charset=utf-8"),
        ("app.cjs", "text/javascript; charset=utf-8"),
        ("app.wasm", "application/wasm"),
        ("style.css", "text/css; charset=utf-8"),
        ("index.html", "text/html; charset=utf-8"),
        ("index.htm", "text/html; charset=utf-8"),
        ("index.xhtml", "application/xhtml+xml"),
        ("offline.appcache", "text/cache-manifest; charset=utf-8"),
        ("captions.vtt", "text/vtt; charset=utf-8"),
        ("site.webmanifest", "application/manifest+json; charset=utf-8"),
        ("logo.svg", "image/svg+xml"),
        # Data
        ("data.json", JSON),
        ("app.js.map", JSON),
        ("world.topojson", JSON),
        ("world.geojson", "application/geo+json; charset=utf-8"),
        ("thing.jsonld", "application/ld+json; charset=utf-8"),
        ("rows.ndjson", "application/x-ndjson; charset=utf-8"),
        ("sitemap.xml", "application/xml"),
        ("style.xsl", "application/xslt+xml"),
        ("feed.rss", "application/rss+xml"),
        ("feed.atom", "application/atom+xml"),
        ("table.csv", "text/csv; charset=utf-8"),
        ("notes.md", "text/markdown; charset=utf-8"),
        ("robots.txt", TEXT),
        ("conf.yaml", "application/yaml; charset=utf-8"),
        ("conf.yml", "application/yaml; charset=utf-8"),
        ("conf.toml", "application/toml; charset=utf-8"),
        ("party.ics", "text/calendar; charset=utf-8"),
        ("alice.vcf", "text/vcard; charset=utf-8"),
        ("film.srt", "application/x-subrip; charset=utf-8"),
        ("card.webc", TEXT),
        ("main.py", TEXT),
        # Images
        ("a.png", "image/png"),
        ("a.jpg", "image/jpeg"),
        ("a.jpeg", "image/jpeg"),
        ("a.gif", "image/gif"),
        ("a.webp", "image/webp"),
        ("a.avif", "image/avif"),
        ("a.apng", "image/apng"),
        ("favicon.ico", "image/x-icon"),
        ("a.bmp", "image/bmp"),
        ("a.tiff", "image/tiff"),
        ("a.heic", "image/heic"),
        ("a.jxl", "image/jxl"),
        # Fonts
        ("a.woff", "font/woff"),
        ("a.woff2", "font/woff2"),
        ("a.ttf", "font/ttf"),
        ("a.otf", "font/otf"),
        ("a.eot", "application/vnd.ms-fontobject"),
        # Sound and film
        ("a.mp4", "video/mp4"),
        ("a.m4v", "video/mp4"),
        ("a.webm", "video/webm"),
        ("a.ogv", "video/ogg"),
        ("a.ogg", "audio/ogg"),
        ("a.oga", "audio/ogg"),
        ("a.opus", "audio/ogg"),
        ("a.mp3", "audio/mpeg"),
        ("a.m4a", "audio/mp4"),
        ("a.aac", "audio/aac"),
        ("a.wav", "audio/wav"),
        ("a.flac", "audio/flac"),
        ("a.weba", "audio/webm"),
        # Documents, models, archives
        ("a.pdf", "application/pdf"),
        ("a.epub", "application/epub+zip"),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("a.odt", "application/vnd.oasis.opendocument.text"),
        ("a.glb", "model/gltf-binary"),
        ("a.gltf", "model/gltf+json; charset=utf-8"),
        ("a.zip", "application/zip"),
        ("a.gz", "application/gzip"),
        ("a.tar.gz", "application/gzip"),
        ("a.br", "application/x-brotli"),
        ("a.tar", "application/x-tar"),
        ("a.7z", "application/x-7z-compressed"),
        ("a.xz", "application/x-xz"),
        ("a.bz2", "application/x-bzip2"),
        ("a.zst", "application/zstd"),
        ("a.svgz", "image/svg+xml"),
        # Case, paths, dots
        ("INDEX.HTML", "text/html; charset=utf-8"),
        ("Photo.JpG", "image/jpeg"),
        ("public/v1.2/a.min.js", "text/javascript; charset=utf-8"),
        ("a.b/c", BINARY),
        ("unknown.extension", BINARY),
        ("film.swf", BINARY),
        ("setup.exe", "application/vnd.microsoft.portable-executable"),
        ("", BINARY),
        (".", BINARY),
        ("dir/", BINARY),
        # Names that say what they are without an extension
        ("CNAME", TEXT),
        ("LICENSE", TEXT),
        ("docs/README", TEXT),
        (".nojekyll", TEXT),
        ("_headers", TEXT),
        ("apple-app-site-association", JSON),
        (".well-known/apple-app-site-association", JSON),
        (".well-known/assetlinks.json", JSON),
        (".well-known/security.txt", TEXT),
        ("public/.well-known/matrix/client", JSON),
        (".well-known/Matrix/Server", JSON),
        (".well-known/webfinger", "application/jrd+json; charset=utf-8"),
        (".well-known/host-meta", "application/xrd+xml"),
        (".well-known/atproto-did", TEXT),
        ("matrix/client", BINARY),
        ("x.well-known/matrix/client", BINARY),
    ],
)
def test_the_name_decides_the_type(name: str, expected: str) -> None:
    assert content_type(name) == expected.partition(";")[0].replace(TEXT, BINARY)
    assert content_type(name, b"") in (expected, TEXT if is_fallback(name) and depends_on_head(name) else expected)


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    by_outcome(
        {
            TEXT: [
                ("some-name", b"Hello\nworld\n"),
                ("some-name", b""),
                ("some-name", "Grüße".encode()),
                ("some-name", "Grüße".encode()[:3]),  # the last character is cut off by the end of the head
                ("some-name", "\ufeffwith a mark".encode()),
                ("some-name", b"\x1b[1mbold\x1b[0m\t\f\r\n"),
                ("v1.2", b"release notes"),
                ("page.1", b".TH PAGE 1"),
                ("name.", b"text"),
                (".dotfile", b"text"),
                ("code.ts", b"export const a: number = 1;\n"),
            ],
            BINARY: [
                ("some-name", b"Gr\xfc\xdfe, Welt"),
                ("some-name", b"\x7fELF\x02\x01\x01\x00"),
                ("some-name", b"\x00"),
                ("data.xyz", b"plain text"),  # the name has said it: content is not asked
            ],
            "video/mp2t": [("seg.ts", b"\x47\x40\x11\x10" + bytes(184)), ("seg.ts", None)],
            "image/png": [("a.png", b"not a picture")],  # as here
        }
    ),
)
def test_the_first_bytes_tell_text_from_binary_where_the_name_says_nothing(
    name: str, head: bytes | None, expected: str
) -> None:
    assert content_type(name, head) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jquery.min.js?ver=3.6.0", "text/javascript; charset=utf-8"),
        ("style.css?v=1.min", "text/css; charset=utf-8"),
        ("plugin.js@v=2", "text/javascript; charset=utf-8"),
        ("style.css@ver=5.8.1", "text/css; charset=utf-8"),
        ("css?family=Lato:400,700", "text/css; charset=utf-8"),
        ("css2?family=Lato&display=swap", "text/css; charset=utf-8"),
        ("fonts/css@family=Lato", "text/css; charset=utf-8"),
        ("css?family=Lato.css", "text/css; charset=utf-8"),  # Wget's --adjust-extension
        ("index.php?id=3.html", "text/html; charset=utf-8"),
        ("index.html?p=1", "text/html; charset=utf-8"),
        ("main.js;jsessionid=1", "text/javascript; charset=utf-8"),
        ("logo.png?v=2", "image/png"),
        ("font.woff2?#iefix", "font/woff2"),
        ("LICENSE?raw=true", TEXT),
        ("photo@2x.png", "image/png"),
        ("user@example.js", "text/javascript; charset=utf-8"),
        ("?x=1", TEXT),
        (";x", TEXT),
    ],
)
def test_what_a_mirror_wrote_behind_a_name_says_nothing_of_the_type(name: str, expected: str) -> None:
    assert content_type(name, b"text") == expected


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    by_first(
        {
            "a.html": {
                "<p>ü".encode(): "text/html; charset=utf-8",
                b"<p>plain": "text/html; charset=utf-8",
                "<p>ü".encode("latin-1"): "text/html",
                b"<meta charset=iso-8859-1><p>plain": "text/html",
                b"<META CHARSET = 'Windows-1252'>": "text/html",
                b'<meta http-equiv="Content-Type" content="text/html; charset=shift_jis">': "text/html",
                b'<meta charset="UTF-8">': "text/html; charset=utf-8",
                b'<meta charset="utf-16">': "text/html; charset=utf-8",  # HTML takes it for UTF-8
                b"<!-- <meta charset=latin1> -->": "text/html; charset=utf-8",
                b"<meta name=x content=y><p>charset=latin1": "text/html; charset=utf-8",
                b" " * 1100 + b"<meta charset=latin1>": "text/html; charset=utf-8",  # behind what browsers read
                "<p>ü".encode("utf-16"): "text/html",
                "\ufeff<p>ü".encode(): "text/html; charset=utf-8",
                None: "text/html",
            },
            "a.css": {b'@charset "iso-8859-1"; a{}': "text/css", b'@charset "UTF-8"; a{}': "text/css; charset=utf-8"},
            "a.txt": {
                "Grüße".encode("latin-1"): "text/plain",
                "Grüße".encode()[:4]: "text/plain; charset=utf-8",  # the last character is cut off
                "日本".encode("iso-2022-jp"): "text/plain",
                b"\x1b[31mred\x1b(B": "text/plain; charset=utf-8",
            },
            "LICENSE": {"Grüße".encode("latin-1"): "text/plain"},
            "a.js": {"ü".encode("latin-1"): "text/javascript"},
            "a.json": {"ü".encode("utf-16-le"): "application/json"},
            "a.xml": {b"<?xml version='1.0' encoding='iso-8859-1'?>": "application/xml"},
            "a.svg": {"<svg>ü".encode(): "image/svg+xml"},
            "a.xhtml": {b"<html/>": "application/xhtml+xml"},
            "feed.atom": {b"<feed/>": "application/atom+xml"},
        }
    ),
)
def test_text_is_called_utf8_where_it_is_and_does_not_say_otherwise(
    name: str, head: bytes | None, expected: str
) -> None:
    assert content_type(name, head) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("page", True), ("data.unknown", True), ("x.bin", True), ("seg.ts", True), ("a.js", False), ("LICENSE", False)],
)
def test_browsers_may_know_better_where_the_name_says_nothing(name: str, expected: bool) -> None:
    assert is_fallback(name) is expected


@pytest.mark.parametrize("name", ["page", "index", "v1.0", "x.ts", ".hidden", "data.unknown", ""])
@pytest.mark.parametrize(
    "head",
    [
        b"<!DOCTYPE html><script>alert(1)</script>",
        b"<html>",
        b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"%PDF-1.7",
        b"GIF89a",
    ],
)
def test_content_never_makes_a_page_or_a_script_of_a_file(name: str, head: bytes) -> None:
    assert content_type(name, head) in (TEXT, BINARY)


@given(st.text(), st.binary() | st.none())
def test_any_name_and_content_have_a_type_that_fits_into_a_header(name: str, head: bytes | None) -> None:
    found = content_type(name, head)
    assert found.isascii()
    assert found.isprintable()
    assert "/" in found
    if not depends_on_head(name):
        assert found == content_type(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    by_outcome(
        {
            True: ["favicon.ico", "about.HTML", "robots.txt", "bundle.js"],
            False: ["alice.org", "tool.py", "v1.2", ".profile", "my.site", "blog"],
        }
    ),
)
def test_names_of_web_files_are_told_from_names_of_repositories(name: str, expected: bool) -> None:
    assert has_known_extension(name) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    by_outcome(
        {
            True: [
                *(
                    "a.html",
                    "a.css",
                    "a.js",
                    "a.json",
                    "a.geojson",
                    "a.svg",
                    "a.xml",
                    "a.txt",
                    "a.wasm",
                    "a.ttf",
                    "a.otf",
                ),
                *("a.ico", "a.bmp", "README"),
            ],
            False: [
                *(
                    "a.png",
                    "a.jpg",
                    "a.webp",
                    "a.woff",
                    "a.woff2",
                    "a.mp4",
                    "a.mp3",
                    "a.zip",
                    "a.gz",
                    "a.pdf",
                    "a.docx",
                ),
                "a.unknown",
            ],
        }
    ),
)
def test_only_what_shrinks_is_compressed(name: str, expected: bool) -> None:
    assert compressible(content_type(name)) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    by_outcome(
        {
            True: ["text/html", "text/html; charset=utf-8", "Text/HTML;charset=latin1", "application/xhtml+xml"],
            False: ["text/plain; charset=utf-8", "text/htmlx", "image/svg+xml"],
        }
    ),
)
def test_pages_are_told_from_other_files(value: str, expected: bool) -> None:
    assert is_html(value) is expected
