# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What visitors may ask for, in tables: odd names, hosts, `.pages` files, conditions, codings, ranges, bare HTTP.

Each row is a request that somebody or something does send: browsers, crawlers, download programs, scanners, old
proxies, git. The repositories are made for it, with every character that a file name may have, so a table says what a
path means by the text of the file that it finds. A real mitmdump answers.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from addon.preview.forge import Forge
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Files, Site, link
from tests.cases import by_outcome
from tests.integration.running import PAGES_DOMAIN, Proxy, running_proxy

SITE = {".pages": b"enabled: true\n"}
FRONT = "<p>The front page of a site.</p>"
LONG = b"<!doctype html><title>Long</title>" + b"<p>All work and no play makes a page compress well.</p>\n" * 200

# Files of eve/odd whose text is their own name.
NAMED = [
    *("a b.html", "a+b.html", "semi;colon.html", "que?ry.html", "ha#sh.html", "per%20cent.html", "a=b&c.txt"),
    *("a:b.txt", "a@b.txt", "a,b.txt", "a$b.txt", "a!b.txt", "a(b).txt", "a*b.txt", "a'b.txt", 'a"b.txt'),
    *("[x].txt", "{y}.txt", "a|b.txt", "a^b.txt", "a`b.txt", "a<b>.txt", "a\\b.txt", "~tilde.txt", "trail."),
    *("UPPER.html", "upper.html", "dots..txt", "...", "..hidden", ".hidden/x.txt", ".git/config"),
    *("nfc-\u00e9.html", "nfd-e\u0301.html", "\u65e5\u672c.html", "\U0001f600.txt", "plain", "x.tar.gz"),
    *("deep/a/b/c/d/e.txt", "index.html.bak", ".well-known/acme-challenge/token", "favicon.ico", "200.html"),
]
ODD: Files = {
    **SITE,
    **{f"public/{name}": name.encode() for name in NAMED},
    "public/index.html": b"odd",
    "public/page.html": b"page.html",
    "public/page/other.html": b"page/other",
    "public/both.html": b"both.html",
    "public/both/index.html": b"both/index",
    "public/v1.2/index.html": b"v1.2/index",
    "public/noindex/f.txt": b"f",
    "public/sub/index.html": b"sub",
    "public/sub/404.html": b"not the site's",
    "public/tab\tx.txt": b"tab",
}
PROFILE: Files = {
    **SITE,
    "public/index.html": b"eve",
    "public/404.html": b"eve has no such page",
    "public/odd/extra.html": b"shadowed by the repository odd",
    "public/assets/app.css": b"b{}",
    "public/feed": b"feed",
    "public/v2.0/index.html": b"v2.0/index",
    "public/readme": b"a file that the repository readme hides",
    "public/robots.txt": b"eve's robots",
    "public/spa.html": b"spa",
    "public/.pages/x.html": b"never shown",
}
# Name of a repository of cfg: its .pages file, and what its front page gets.
PAGES_FILES: list[tuple[str, bytes, int, str]] = [
    ("plain", b"enabled: true\n", 200, FRONT),
    ("emptyfile", b"", 200, FRONT),
    ("off", b"enabled: no\n", 404, "Repository not found or not configured for pages"),
    ("offtext", b'enabled: "false"\n', 404, "Repository not found or not configured for pages"),
    ("last-wins", b"enabled: false\nenabled: true\n", 200, FRONT),
    ("last-wins-off", b"enabled: true\nenabled: off\n", 404, "Repository not found or not configured for pages"),
    ("bom", b"\xef\xbb\xbfenabled: true\n", 200, FRONT),
    ("crlf", b"enabled: true\r\ndirectory_index: yes\r\n", 200, FRONT),
    ("comments", b"custom_domain: example.com  # a comment\nenabled: true # yes\n", 200, FRONT),
    ("unknown-name", b"enabled: true\nfoo: bar\n", 200, FRONT),
    ("unclosed", b"enabled: [\n", 500, "cfg/unclosed/.pages"),
    ("tab", b"\tenabled: true\n", 500, "cfg/tab/.pages"),
    ("alias", b"a: &x 1\nb: *x\n", 500, "cfg/alias/.pages"),
    ("list", b"- a\n- b\n", 500, "cfg/list/.pages"),
    ("latin1", b"# caf\xe9\nenabled: true\n", 500, "cfg/latin1/.pages"),
    ("two-documents", b"enabled: true\n---\nenabled: false\n", 500, "cfg/two-documents/.pages"),
    ("tagged", b"!!python/object/apply:os.system ['id']\n", 500, "cfg/tagged/.pages"),
    ("huge", b"#" + b"x" * 70_000, 500, "64 KiB"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    root = tmp_path_factory.mktemp("made")
    Site(root / "eve" / "odd.git", ODD)
    Site(root / "eve" / ".profile.git", PROFILE)
    Site(root / "eve" / "readme.git", {**SITE, "public/index.html": b"the repository readme"})
    Site(root / "eve" / "site.js.git", {**SITE, "public/index.html": b"the repository site.js", "public/a.txt": b"a"})
    Site(root / "eve" / "long.git", {**SITE, "public/page.html": LONG, "public/x.bin": b"\0" * 5000})
    for owner in ("un_der", "a.b.c"):
        Site(root / owner / "site.git", {**SITE, "public/index.html": owner.encode()})
    for name, text, _, _ in PAGES_FILES:
        Site(
            root / "cfg" / f"{name}.git", {".pages": text, "public/index.html": FRONT.encode(), "public/d/f.txt": b"f"}
        )
    Site(root / "cfg" / "folder.git", {".pages/x": b"1", "public/index.html": FRONT.encode()})
    Site(root / "cfg" / "publiclink.git", {**SITE, "public": link("dist"), "dist/index.html": FRONT.encode()})
    Site(root / "cfg" / "publicfile.git", {**SITE, "public": b"a file"})
    listed: Files = {
        "public/sub/a.txt": b"a",
        "public/<script>alert(1)<": b"x",
        "public/javascript:alert(1)": b"x",
        "public/lnk.txt": link("sub/a.txt"),
        "public/out": link("../.pages"),
        "public/withindex/index.html": b"an index",
    }
    Site(root / "list" / "dir.git", {".pages": b"directory_index: on\n", **listed})
    with start_forge(root) as forge:
        yield forge


@pytest.fixture(scope="module")
def visited(made: Forge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with running_proxy(tmp_path_factory.mktemp("visited"), made.url) as proxy:
        yield proxy


def statuses(received: bytes) -> list[int]:
    """The statuses of all answers in what a connection received."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", received)]


# Paths.


@pytest.mark.parametrize("name", NAMED)
def test_a_file_of_any_name_is_found_percent_encoded(visited: Proxy, name: str) -> None:
    reply = visited.get("eve", f"/odd/{quote(name, safe='/')}")
    assert (reply.status, reply.text) == (200, name)


UNENCODED = ["a+b.html", "semi;colon.html", "a=b&c.txt", "a:b.txt", "a@b.txt", "a,b.txt", "a(b).txt", "a'b.txt"]
UNENCODED += ["[x].txt", "{y}.txt", "a|b.txt", "a^b.txt", 'a"b.txt', "a<b>.txt", "~tilde.txt", "a*b.txt", "a!b.txt"]


@pytest.mark.parametrize("name", UNENCODED)
def test_what_clients_leave_unencoded_names_the_same_file(visited: Proxy, name: str) -> None:
    reply = visited.get("eve", f"/odd/{name}")
    assert (reply.status, reply.text) == (200, name)


def test_a_path_in_plain_utf_8_names_the_same_file(visited: Proxy) -> None:
    received = visited.raw("GET /odd/nfc-\u00e9.html HTTP/1.1\r\nHost: eve.pages.test\r\n\r\n".encode(), timeout=3)
    assert received.endswith("nfc-\u00e9.html".encode())


# Path on eve's host → status, and text of the page or target of the redirect.
PATHS: list[tuple[str, int, str]] = [
    ("/", 200, "eve"),
    ("/?", 200, "eve"),
    ("/?a=b?c", 200, "eve"),
    ("/odd/?x", 200, "odd"),
    ("/odd?", 301, "/odd/?"),
    ("/%6Fdd/", 200, "odd"),
    ("/%6Fdd", 301, "/odd/"),
    ("/ODD/", 200, "odd"),
    ("/odd/Upper.html", 404, "File not found"),
    ("/odd/nfc-e%CC%81.html", 404, "File not found"),
    ("/odd/nfd-%C3%A9.html", 404, "File not found"),
    ("/odd/que?ry.html", 404, "File not found"),
    ("/odd/per%20cent.html", 404, "File not found"),
    ("/odd/extra.html", 404, "File not found"),
    ("/odd/trail", 404, "File not found"),
    ("/odd/page", 200, "page.html"),
    ("/odd/page/", 404, "File not found"),
    ("/odd/page/other", 200, "page/other"),
    ("/odd/both", 301, "/odd/both/"),
    ("/odd/both.html", 200, "both.html"),
    ("/odd/v1.2", 301, "/odd/v1.2/"),
    ("/odd/v1.2/", 200, "v1.2/index"),
    ("/odd/noindex", 404, "File not found"),
    ("/odd/noindex/", 404, "File not found"),
    ("/odd/index.html/", 404, "File not found"),
    ("/odd/plain/", 404, "File not found"),
    ("/odd/.../", 404, "File not found"),
    ("/odd/sub/nothing", 404, "not the site's"),
    ("/odd/%252e%252e/", 404, "File not found"),
    ("/odd/page;jsessionid=1", 404, "File not found"),
    ("/odd/%80", 404, "File not found"),
    ("/odd/" + "b" * 5000, 404, "File not found"),
    ("/odd/" + "a/" * 2000, 404, "File not found"),
    ("/odd/.", 301, "/odd/"),
    ("/odd/%2E%2e/odd/", 301, "/odd/"),
    ("/odd//page.html", 301, "/odd/page.html"),
    ("/odd/sub/..", 301, "/odd/"),
    ("///", 301, "/"),
    ("/..", 400, ""),
    ("/%2Fevil.example", 400, ""),
    ("/%2f%2fevil.example", 400, ""),
    ("/\\evil.example", 400, ""),
    ("/odd/%7f", 400, ""),
    ("/odd/tab%09x.txt", 200, "tab"),
    ("/odd/%", 400, ""),
    ("/odd/%u0041", 400, ""),
    ("/assets/app.css", 200, "b{}"),
    ("/assets/", 404, "eve has no such page"),
    ("/feed", 200, "feed"),
    ("/feed/", 404, "eve has no such page"),
    ("/v2.0", 301, "/v2.0/"),
    ("/v2.0/", 200, "v2.0/index"),
    ("/spa", 200, "spa"),
    ("/readme", 301, "/readme/"),
    ("/readme/", 200, "the repository readme"),
    ("/robots.txt", 200, "eve's robots"),
    ("/site.js", 404, "eve has no such page"),
    ("/site.js/", 200, "the repository site.js"),
    ("/site.js/a.txt", 200, "a"),
    ("/favicon.ico", 404, "eve has no such page"),
    ("/%5Cevil.example", 404, "eve has no such page"),
    ("/odd.git", 404, "eve has no such page"),
    ("/odd.git/info/refs?service=git-upload-pack", 404, "eve has no such page"),
    ("/.git/config", 404, "eve has no such page"),
    ("/.env", 404, "eve has no such page"),
    ("/-/", 404, "eve has no such page"),
    ("/.pages/x.html", 404, "Page not found"),
    ("/%2Epages/x.html", 404, "Page not found"),
    ("/.pages", 404, "Page not found"),
]


@pytest.mark.parametrize(("path", "status", "part"), PATHS, ids=lambda value: str(value)[:50])
def test_a_path_means_what_people_expect(visited: Proxy, path: str, status: int, part: str) -> None:
    reply = visited.get("eve", path)
    assert reply.status == status, reply.text[:300]
    if status == 301:
        assert reply.headers["location"] == part
    else:
        assert part in reply.text


# Hosts.

HOSTS: list[tuple[str, int, str]] = by_outcome(
    {
        (200, "eve"): [
            "EVE.Pages.Test",
            "eve.pages.test.",
            "eve.pages.test.:8080",
            "eve.pages.test:",
            "\uff45\uff56\uff45.pages.test",
            "eve\u3002pages.test",
        ],
        (200, "pages.test"): ["pages.test.", "pages.test:80"],
        (404, "Repository not found"): [
            "www.eve.pages.test",
            "_eve.pages.test",
            "xn--e1afmkfd.pages.test",
            "\u043f\u0440\u0438\u043c\u0435\u0440.pages.test",
            "a" * 63 + ".pages.test",
        ],
        (404, "Custom domain not configured"): [
            "eve.evilpages.test",
            "eve.pages.test.evil.example",
            "mitm.it",
            "[::1]:80",
        ],
        (400, "exactly one host"): [
            "eve.pages.test..",
            ".pages.test",
            "eve..pages.test",
            "-eve.pages.test",
            "eve.pages.test:http",
            "eve.pages.test:123456",
            "eve.pages.test@evil.example",
            "eve.pages.test, evil.example",
            "eve.pages.test/odd",
            "http://eve.pages.test",
            "eve%2epages.test",
            "*.pages.test",
            "stra\u00dfe.pages.test",
            "a" * 64 + ".pages.test",
            "a." * 150 + "pages.test",
            "[fe80::1%25eth0]",
        ],
    }
)


@pytest.mark.parametrize(("host", "status", "part"), HOSTS, ids=lambda value: ascii(value)[:40])
def test_a_host_is_matched_by_label(visited: Proxy, host: str, status: int, part: str) -> None:
    received = visited.raw(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert statuses(received) == [status]
    assert part in received.decode()


@pytest.mark.parametrize("owner", ["un_der", "UN_DER", "a.b.c", "A.b.C"])
def test_owners_with_dots_and_underscores_have_sites(visited: Proxy, owner: str) -> None:
    reply = visited.get(f"{owner}.{PAGES_DOMAIN}", "/site/")
    assert (reply.status, reply.text) == (200, owner.lower())


@pytest.mark.parametrize("host", ["b.c", "c", "x.a.b.c"])
def test_a_part_of_an_owners_name_is_another_owner(visited: Proxy, host: str) -> None:
    assert visited.get(f"{host}.{PAGES_DOMAIN}", "/site/").status == 404


# .pages files.


@pytest.mark.parametrize(("name", "text", "status", "part"), PAGES_FILES, ids=[row[0] for row in PAGES_FILES])
def test_a_pages_file_is_read_as_its_owner_means_it_or_closes_the_site(
    visited: Proxy, name: str, text: bytes, status: int, part: str
) -> None:
    reply = visited.get("cfg", f"/{name}/")
    assert reply.status == status
    assert part in reply.text
    if status != 200:
        assert FRONT not in reply.text
        assert "os.system" not in reply.text


@pytest.mark.parametrize("name", ["folder", "publiclink", "publicfile"])
def test_a_repository_that_is_not_quite_a_site_is_404(visited: Proxy, name: str) -> None:
    assert visited.get("cfg", f"/{name}/").status == 404


def test_listings_are_on_where_the_site_says_so_and_nowhere_else(visited: Proxy) -> None:
    assert visited.get("cfg", "/crlf/d/").status == 200
    assert visited.get("cfg", "/plain/d/").status == 404
    assert visited.get("list", "/dir/withindex/").text == "an index"
    page = visited.get("list", "/dir/").text
    assert 'href="./javascript%3Aalert' in page
    assert 'href="javascript:' not in page
    assert "<script" not in page
    assert ">out<" not in page


# Conditions, codings and ranges.

ABSENT = "Thu, 01 Jan 1970 00:00:00 GMT"
# Header fields, {tag} and {date} of the page put in → status.
CONDITIONS: list[tuple[dict[str, str], int]] = [
    ({"If-None-Match": "{tag}"}, 304),
    ({"If-None-Match": "W/{tag}"}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"x", {tag} ,"y"'}, 304),
    ({"If-None-Match": '"x"'}, 200),
    ({"If-None-Match": '"x"', "If-Modified-Since": "{date}"}, 200),
    ({"If-None-Match": "{tag}", "If-Modified-Since": ABSENT}, 304),
    ({"If-None-Match": "{tag}", "Range": "bytes=0-9"}, 304),
    ({"If-Modified-Since": "{date}"}, 304),
    ({"If-Modified-Since": ABSENT}, 200),
    ({"If-Modified-Since": "yesterday"}, 200),
    ({"If-Match": "{tag}"}, 200),
    ({"If-Match": "*"}, 200),
    ({"If-Match": "W/{tag}"}, 412),
    ({"If-Match": '"x"', "If-None-Match": "{tag}"}, 412),
    ({"If-Match": '"x"', "Range": "bytes=0-9"}, 412),
    ({"If-Unmodified-Since": "{date}"}, 200),
    ({"If-Unmodified-Since": ABSENT}, 412),
    ({"If-Unmodified-Since": "yesterday"}, 200),
    ({"Range": "bytes=0-9", "If-Range": "{tag}"}, 206),
    ({"Range": "bytes=0-9", "If-Range": "{date}"}, 206),
    ({"Range": "bytes=0-9", "If-Range": "W/{tag}"}, 200),
    ({"Range": "bytes=0-9", "If-Range": '"x"'}, 200),
    ({"Range": "bytes=0-9", "If-Range": ABSENT}, 200),
    ({"If-Range": '"x"'}, 200),
]


@pytest.mark.parametrize(("fields", "status"), CONDITIONS, ids=lambda value: str(value)[:60])
def test_a_condition_decides_as_rfc_9110_says(visited: Proxy, fields: dict[str, str], status: int) -> None:
    page = visited.get("eve", "/long/page.html")
    told = {"{tag}": page.headers["etag"], "{date}": page.headers["last-modified"]}
    for mark, value in told.items():
        fields = {name: text.replace(mark, value) for name, text in fields.items()}
    reply = visited.get("eve", "/long/page.html", fields)
    assert reply.status == status
    assert len(reply.body) == {200: len(LONG), 206: 10}.get(status, 0)


@pytest.mark.parametrize("fields", [{"If-None-Match": "*"}, {"If-Match": '"x"'}, {"Range": "bytes=0-1"}])
def test_a_missing_page_is_404_whatever_the_conditions(visited: Proxy, fields: dict[str, str]) -> None:
    assert visited.get("eve", "/nothing", fields).status == 404


# Accept-Encoding → Content-Encoding ("" for the file itself).
CODINGS: list[tuple[str, str]] = [
    ("gzip, deflate, br, zstd", "br"),
    ("gzip, deflate", "gzip"),
    ("x-gzip", "gzip"),
    ("GZip", "gzip"),
    ("*", "br"),
    ("gzip;q=1, br;q=0.5", "gzip"),
    ("gzip ; q=0.5", "gzip"),
    ("br;q=0.001", "br"),
    ("*;q=0.1, br;q=0", "zstd"),
    ("gzip,,,br", "br"),
    ("gzip;q=0.5, identity;q=1", ""),
    ("gzip;q=0, br;q=0, zstd;q=0", ""),
    ("gzip;Q=0", ""),
    ("identity", ""),
    ("*;q=0", ""),
    ("deflate", ""),
    ("compress", ""),
    ("", ""),
    (",", ""),
    ("gzip;q=lots", ""),
]


@pytest.mark.parametrize(("accepted", "coding"), CODINGS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_coding_is_one_that_the_visitor_accepts(visited: Proxy, accepted: str, coding: str, method: str) -> None:
    reply = visited.get("eve", "/long/page.html", {"Accept-Encoding": accepted}, method=method)
    assert reply.headers.get("content-encoding", "") == coding
    assert reply.headers["vary"] == "Accept-Encoding"
    assert reply.headers["etag"].endswith(f'-{coding}"') is bool(coding)
    assert (int(reply.headers["content-length"]) == len(LONG)) is not bool(coding)
    assert len(reply.body) == (0 if method == "HEAD" else int(reply.headers["content-length"]))


@pytest.mark.parametrize("accepted", ["br, gzip", "*"])
def test_what_would_not_shrink_by_type_is_sent_as_it_is(visited: Proxy, accepted: str) -> None:
    reply = visited.get("eve", "/long/x.bin", {"Accept-Encoding": accepted})
    assert "content-encoding" not in reply.headers
    assert "vary" not in reply.headers


SIZE = len(LONG)
# Range → first and last byte, None for a Range that is to be ignored, () for 416.
RANGES: list[tuple[str, tuple[int, int] | tuple[()] | None]] = [
    ("bytes=0-0", (0, 0)),
    ("bytes=5-", (5, SIZE - 1)),
    ("bytes=-1", (SIZE - 1, SIZE - 1)),
    ("bytes=-99999999", (0, SIZE - 1)),
    ("bytes=0-99999999999999999999", (0, SIZE - 1)),
    ("BYTES=0-0", (0, 0)),
    ("bytes= 0-0", (0, 0)),
    ("bytes=0-0,", (0, 0)),
    (f"bytes={SIZE - 1}-", (SIZE - 1, SIZE - 1)),
    (f"bytes={SIZE}-", ()),
    ("bytes=99999999999999999999-", ()),
    ("bytes=-0", ()),
    ("bytes=9-5", None),
    ("bytes=a-b", None),
    ("bytes=-", None),
    ("bytes=", None),
    ("bytes=+0-1", None),
    ("bytes=0-0x", None),
    ("bytes 0-0", None),
    ("lines=0-0", None),
    ("bytes=0-0,5-6", None),
]


@pytest.mark.parametrize(("wanted", "span"), RANGES)
def test_a_range_is_cut_out_of_the_file_ignored_or_refused(
    visited: Proxy, wanted: str, span: tuple[int, int] | tuple[()] | None
) -> None:
    reply = visited.get("eve", "/long/page.html", {"Range": wanted})
    if span is None:
        assert (reply.status, reply.body) == (200, LONG)
    elif not span:
        assert (reply.status, reply.headers["content-range"]) == (416, f"bytes */{SIZE}")
    else:
        assert (reply.status, reply.headers["content-range"]) == (206, f"bytes {span[0]}-{span[1]}/{SIZE}")
        assert reply.body == LONG[span[0] : span[1] + 1]


def test_head_ignores_a_range(visited: Proxy) -> None:
    reply = visited.get("eve", "/long/page.html", {"Range": "bytes=0-9"}, method="HEAD")
    assert (reply.status, reply.headers["content-length"]) == (200, str(SIZE))


# Bare HTTP. LAST is a request that ends the connection: where its 200 is missing, the connection was cut before.

LAST = "GET /odd/ HTTP/1.1\r\nHost: eve.pages.test\r\nConnection: close\r\n\r\n"


def head(line: str = "GET /odd/ HTTP/1.1", *fields: str) -> str:
    """A request of these lines, with eve's Host."""
    return "\r\n".join([line, "Host: eve.pages.test", *fields, "", ""])


BARE: list[tuple[str, str, list[int]]] = [
    ("http/1.0", head("GET /odd/ HTTP/1.0"), [200]),
    ("http/1.0 head", head("HEAD /odd/ HTTP/1.0"), [200]),
    ("http/1.2", head("GET /odd/ HTTP/1.2", "Connection: close"), [200]),
    ("no host", "GET /odd/ HTTP/1.1\r\nConnection: close\r\n\r\n", [400]),
    ("empty host", "GET /odd/ HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n", [400]),
    ("the same host twice", head("GET /odd/ HTTP/1.1", "Host: eve.pages.test", "Connection: close"), [400]),
    ("a host without a space", "GET /odd/ HTTP/1.1\r\nHost:eve.pages.test\r\nConnection: close\r\n\r\n", [200]),
    ("a host between tabs", "GET /odd/ HTTP/1.1\r\nhOST:\teve.pages.test\t\r\nConnection: close\r\n\r\n", [200]),
    ("a space before the colon", head("GET /odd/ HTTP/1.1", "X-A : b", "Connection: close"), [400]),
    ("a folded field", head("GET /odd/ HTTP/1.1", "X-A: b", " c", "Connection: close"), [400]),
    ("a nul in a name", head("GET /odd/ HTTP/1.1", "X\0A: b", "Connection: close"), [400]),
    ("a line without a colon", head("GET /odd/ HTTP/1.1", "nonsense", "Connection: close"), [400]),
    ("bytes above ascii in a value", head("GET /odd/ HTTP/1.1", "X-A: \xe9\xff", "Connection: close"), [200]),
    ("a space in the target", head("GET /odd/a b.html HTTP/1.1", "Connection: close"), [400]),
    ("a fragment", head("GET /odd/#top HTTP/1.1", "Connection: close"), [400]),
    ("an absolute target", head("GET http://eve.pages.test/odd/ HTTP/1.1", "Connection: close"), [200]),
    ("an absolute target without a path", head("GET http://eve.pages.test HTTP/1.1", "Connection: close"), [200]),
    ("a method in lower case", head("get /odd/ HTTP/1.1", "Connection: close"), [501]),
    ("a method nobody knows", head("BREW /odd/ HTTP/1.1") + LAST, [501, 200]),
    ("a long method", head("G" * 5000 + " /odd/ HTTP/1.1", "Connection: close"), [400]),
    ("options of a missing page", head("OPTIONS /nothing HTTP/1.1") + LAST, [204, 200]),
    ("a page, then garbage", head("GET /odd/ HTTP/1.1") + "garbage\r\n\r\n", [200, 400]),
    ("a bad path keeps the connection", head("GET /%zz HTTP/1.1") + LAST, [400, 200]),
    ("head keeps the connection", head("HEAD /odd/nothing HTTP/1.1") + LAST, [404, 200]),
    ("not modified keeps the connection", head("GET /odd/ HTTP/1.1", "If-None-Match: *") + LAST, [304, 200]),
    ("get with a body", head("GET /odd/ HTTP/1.1", "Content-Length: 5") + "hello" + LAST, [200, 200]),
    ("length and chunks", head("POST / HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked"), [400]),
    ("a coding nobody knows", head("POST / HTTP/1.1", "Transfer-Encoding: xchunked"), [400]),
    ("two lengths", head("GET / HTTP/1.1", "Content-Length: 0", "Content-Length: 5"), [400]),
    ("a negative length", head("GET / HTTP/1.1", "Content-Length: -5"), [400]),
    ("a length with a sign", head("GET / HTTP/1.1", "Content-Length: +5"), [400]),
    ("te, trailers", head("GET /odd/ HTTP/1.1", "TE: trailers", "Connection: TE, close"), [200]),
    ("close in capitals", head("GET /odd/ HTTP/1.1", "CONNECTION: CLOSE"), [200]),
    (
        "upgrade to h2c is declined",
        head("GET /odd/ HTTP/1.1", "Connection: Upgrade", "Upgrade: h2c") + LAST,
        [200, 200],
    ),
    ("an overlong field", head("GET /odd/ HTTP/1.1", "X: " + "a" * 500_000), [431]),
    ("a thousand ranges", head("GET /odd/ HTTP/1.1", f"Range: bytes={'0-0,' * 1000}1-1", "Connection: close"), [200]),
    ("a method override", head("GET /odd/ HTTP/1.1", "X-HTTP-Method-Override: DELETE", "Connection: close"), [200]),
    ("another forwarded host", head("GET /odd/ HTTP/1.1", "X-Forwarded-Host: x.test", "Connection: close"), [200]),
    ("hosts in turn", head() + "GET / HTTP/1.1\r\nHost: x.test\r\n\r\n" + LAST, [200, 404, 200]),
    ("fifty at once", head() * 50 + LAST, [200] * 51),
]


@pytest.mark.parametrize(("data", "wanted"), [row[1:] for row in BARE], ids=[row[0] for row in BARE])
def test_bare_http_is_answered_and_the_connection_stays_in_step(visited: Proxy, data: str, wanted: list[int]) -> None:
    received = visited.raw(data.encode("latin-1"), timeout=5)
    assert [status for status in statuses(received) if status != 100] == wanted
    assert b"mitmproxy" not in received


def test_a_request_may_come_in_any_two_pieces(visited: Proxy) -> None:
    data = LAST.encode()
    for cut in range(1, len(data), 3):
        with visited.connect(5) as connection:
            connection.sendall(data[:cut])
            connection.sendall(data[cut:])
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        assert statuses(received) == [200], cut


def test_nothing_that_a_visitor_sends_reaches_forgejo_but_names(visited: Proxy, made: Forge) -> None:
    made.forget_calls()
    fields = {"Authorization": "Bearer x", "Cookie": "session=y", "Sudo": "root", "X-Forwarded-For": "192.0.2.9"}
    visited.get("nobody-yet", "/some/page?token=secret&sudo=root", fields)
    assert made.calls
    for call in made.calls:
        assert "secret" not in call.target
        assert set(call.headers).isdisjoint({"authorization", "cookie", "sudo", "x-forwarded-for"})


@pytest.mark.skipif(shutil.which("git") is None and "CI" not in os.environ, reason="it is git that is asked to clone")
@pytest.mark.parametrize("path", ["odd", "odd.git"])
def test_git_is_told_that_a_site_is_no_repository(visited: Proxy, path: str, tmp_path: Path) -> None:
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "GIT_TERMINAL_PROMPT": "0",
        "http_proxy": f"http://127.0.0.1:{visited.port}",
    }
    done = subprocess.run(
        ["git", "clone", f"http://eve.pages.test/{path}", "clone"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 128
    assert "not found" in done.stderr


def test_nothing_of_all_that_was_an_error_of_ours(visited: Proxy) -> None:
    assert "Traceback" not in visited.log
    assert "failed" not in visited.log
    assert "crashed" not in visited.log
