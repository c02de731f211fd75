# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""Content types by name: what browsers insist on, what visitors expect, and that bytes never make a page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.web.content_types import compressible, content_type, depends_on_head, has_known_extension, is_html

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
        ("index.xhtml", "application/xhtml+xml; charset=utf-8"),
        ("offline.appcache", "text/cache-manifest; charset=utf-8"),
        ("captions.vtt", "text/vtt; charset=utf-8"),
        ("site.webmanifest", "application/manifest+json; charset=utf-8"),
        ("logo.svg", "image/svg+xml; charset=utf-8"),
        # Data
        ("data.json", JSON),
        ("app.js.map", JSON),
        ("world.topojson", JSON),
        ("world.geojson", "application/geo+json; charset=utf-8"),
        ("thing.jsonld", "application/ld+json; charset=utf-8"),
        ("rows.ndjson", "application/x-ndjson; charset=utf-8"),
        ("sitemap.xml", "application/xml; charset=utf-8"),
        ("style.xsl", "application/xslt+xml; charset=utf-8"),
        ("feed.rss", "application/rss+xml; charset=utf-8"),
        ("feed.atom", "application/atom+xml; charset=utf-8"),
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
        ("a.svgz", "application/gzip"),
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
        (".well-known/host-meta", "application/xrd+xml; charset=utf-8"),
        (".well-known/atproto-did", TEXT),
        ("matrix/client", BINARY),
        ("x.well-known/matrix/client", BINARY),
    ],
)
def test_the_name_decides_the_type(name: str, expected: str) -> None:
    assert content_type(name) == expected


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("some-name", b"Hello\nworld\n", TEXT),
        ("some-name", b"", TEXT),
        ("some-name", "Grüße".encode(), TEXT),
        ("some-name", "Grüße".encode()[:3], TEXT),  # the last character is cut off by the end of the head
        ("some-name", "\ufeffwith a mark".encode(), TEXT),
        ("some-name", b"\x1b[1mbold\x1b[0m\t\f\r\n", TEXT),
        ("some-name", b"Gr\xfc\xdfe, Welt", BINARY),
        ("some-name", b"\x7fELF\x02\x01\x01\x00", BINARY),
        ("some-name", b"\x00", BINARY),
        ("v1.2", b"release notes", TEXT),
        ("page.1", b".TH PAGE 1", TEXT),
        ("name.", b"text", TEXT),
        (".dotfile", b"text", TEXT),
        ("seg.ts", b"\x47\x40\x11\x10" + bytes(184), "video/mp2t"),
        ("seg.ts", None, "video/mp2t"),
        ("code.ts", b"export const a: number = 1;\n", TEXT),
        # The name has said it: content is not asked.
        ("a.png", b"not a picture", "image/png"),
        ("data.xyz", b"plain text", BINARY),
    ],
)
def test_the_first_bytes_tell_text_from_binary_where_the_name_says_nothing(
    name: str, head: bytes | None, expected: str
) -> None:
    assert content_type(name, head) == expected


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
    [
        ("favicon.ico", True),
        ("about.HTML", True),
        ("robots.txt", True),
        ("bundle.js", True),
        ("alice.org", False),
        ("tool.py", False),
        ("v1.2", False),
        (".profile", False),
        ("my.site", False),
        ("blog", False),
    ],
)
def test_names_of_web_files_are_told_from_names_of_repositories(name: str, expected: bool) -> None:
    assert has_known_extension(name) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.html", True),
        ("a.css", True),
        ("a.js", True),
        ("a.json", True),
        ("a.geojson", True),
        ("a.svg", True),
        ("a.xml", True),
        ("a.txt", True),
        ("a.wasm", True),
        ("a.ttf", True),
        ("a.otf", True),
        ("a.ico", True),
        ("a.bmp", True),
        ("README", True),
        ("a.png", False),
        ("a.jpg", False),
        ("a.webp", False),
        ("a.woff", False),
        ("a.woff2", False),
        ("a.mp4", False),
        ("a.mp3", False),
        ("a.zip", False),
        ("a.gz", False),
        ("a.pdf", False),
        ("a.docx", False),
        ("a.unknown", False),
    ],
)
def test_only_what_shrinks_is_compressed(name: str, expected: bool) -> None:
    assert compressible(content_type(name)) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text/html", True),
        ("text/html; charset=utf-8", True),
        ("Text/HTML;charset=latin1", True),
        ("application/xhtml+xml; charset=utf-8", True),
        ("text/plain; charset=utf-8", False),
        ("text/htmlx", False),
        ("image/svg+xml; charset=utf-8", False),
    ],
)
def test_pages_are_told_from_other_files(value: str, expected: bool) -> None:
    assert is_html(value) is expected
