# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What visitors get, through a real mitmdump, from the recorded repositories. Tables first."""

import gzip
import hashlib
import socket
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import brotli  # type: ignore[import-untyped]  # it comes without annotations
import pytest
import zstandard

from tests.addon.preview.running import READY_BROTLI, READY_GZIP
from tests.cases import by_outcome
from tests.integration.running import PAGES_DOMAIN, Proxy

BLOG_STYLE = b"h1 { color: teal }\n"

FOUND = [
    ("alice", "/", 200, b"<h1>Alice</h1>"),
    ("alice", "/about.html", 200, b"<h1>About</h1>"),
    ("alice", "/about", 200, b"<h1>About</h1>"),
    ("alice", "/css/style.css", 200, b"color: #123"),
    ("alice", "/docs/", 200, b"<h1>Docs</h1>"),
    ("alice", "/docs/a/b.txt", 200, b"deep"),
    ("alice", "/.profile/about.html", 200, b"<h1>About</h1>"),
    ("alice", "/blog/", 200, b"Blog, second"),
    ("alice", "/blog/index.html", 200, b"Blog, second"),
    ("alice", "/BLOG/", 200, b"Blog, second"),
    ("alice", "/blog/about", 200, b"About the blog"),
    ("alice", "/blog/post/", 200, b"<h1>Post</h1>"),
    ("alice", "/blog/post/one", 200, b"<h1>One</h1>"),
    ("alice", "/blog/plain", 200, b"no extension"),
    ("alice", "/blog/empty.txt", 200, b""),
    ("alice", "/blog/link.html", 200, b"About the blog"),
    ("alice", "/blog/linkdir/one.html", 200, b"<h1>One</h1>"),
    ("alice", "/blog/linkdir/", 200, b"<h1>Post</h1>"),
    ("alice", "/blog/far", 200, BLOG_STYLE),
    ("alice", "/blog/run.sh", 200, b"echo hi"),
    ("alice", "/blog/.well-known/security.txt", 200, b"Contact:"),
    ("alice", "/blog/.hidden/x.txt", 200, b"hidden"),
    ("alice", "/blog/files/with%20space.html", 200, b"space"),
    ("alice", "/blog/files/per%25cent.html", 200, b"percent"),
    ("alice", "/blog/files/ha%23sh.html", 200, b"hash"),
    ("alice", "/blog/files/quest%3Fion.html", 200, b"question"),
    ("alice", "/blog/files/pl+us&amp.html", 200, b"plus"),
    ("alice", "/blog/files/%C3%A9t%C3%A9.html", 200, "\u00e9t\u00e9".encode()),
    ("alice", "/blog/files/%E6%97%A5%E6%9C%AC.html", 200, "\u65e5\u672c".encode()),
    ("alice", "/blog/files/bad%FF.txt", 200, b"not utf-8 name"),
    ("alice", "/blog/files/back%5Cslash.txt", 200, b"back"),
    ("alice", "/blog/files/quo%22te'.txt", 200, b"quote"),
    ("alice", "/blog/files/%F0%9F%98%80.txt", 200, b"smile"),
    ("alice", "/blog/fake-pointer.txt", 200, b"version https://git-lfs"),
    ("alice", "/many/d24/f2499.txt", 200, b"file 2499"),
    ("alice", "/pagesbranch/", 200, b"On pages"),
    ("alice", "/Mixed.Case_1/", 200, b"Mixed case"),
    ("alice", "/mixed.case_1/", 200, b"Mixed case"),
    ("alice", "/archived/", 200, b"Archived"),
    ("alice", "/oldname/", 200, b"Renamed repository"),
    ("alice", "/newname/", 200, b"Renamed repository"),
    ("alice", "/moving/", 200, b"Moved to acme"),
    ("acme", "/moving/", 200, b"Moved to acme"),
    (f"al.ice.{PAGES_DOMAIN}", "/site/", 200, b"al.ice"),
    ("oldie", "/site/", 200, b"oldie"),
    ("newbie", "/site/", 200, b"oldie"),
    ("acme", "/site/", 200, b"acme"),
    ("ALICE", "/", 200, b"<h1>Alice</h1>"),
    (f"alice.{PAGES_DOMAIN}:8080", "/", 200, b"<h1>Alice</h1>"),
    (f"alice.{PAGES_DOMAIN}.", "/", 200, b"<h1>Alice</h1>"),
    ("alice", "/sixtyfour/", 200, b"sha256"),
    ("alice", "/sixtyfour/a.css", 200, b"a{}"),
    (PAGES_DOMAIN, "/", 200, b"pages.test"),
    *(
        ("alice", *row)
        for row in by_outcome(
            {
                (301, b""): [
                    *("/blog/both", "/blog", "/blog/post", "/blog/linkdir", "/docs", "/Mixed.Case_1", "//blog//post/"),
                    *("/blog/./post/", "/blog/../docs/", "/blog/%2e%2e/docs/"),
                ],
                (404, b"Nothing here"): [
                    *("/blog/nothing", "/blog/about.html/", "/blog/up.html", "/blog/abs", "/blog/loop-a"),
                    *("/blog/dangling", "/blog/module/", "/blog/README.md"),
                ],
                (404, b"Page not found"): ["/blog/.pages"],
                (404, b"File not found"): ["/nothing", "/nothing.html", "/nopublic/"],
                (404, b"Repository not found or not configured for pages"): ["/nopages/"],
                (404, b""): ["/.pages/", "/.pages/webhook"],
                (500, b"alice/broken/.pages"): ["/broken/"],
                (400, b""): [
                    *("/blog%2Findex.html", "/blog/%00", "/blog/%0d%0aX-Evil:%201", "/../etc/passwd", "/blog/%zz"),
                ],
            }
        )
    ),
    ("nobody", "/", 404, b"Repository not found or not configured for pages"),
    ("nobody", "/blog/", 404, b"Repository not found or not configured for pages"),
    ("limited", "/site/", 404, b"not configured for pages"),
    ("hidden", "/site/", 404, b"not configured for pages"),
    *((PAGES_DOMAIN, path, 404, b"") for path in ("/nothing", "/.pages/x")),
    *(
        (host, "/", 404, b"Custom domain not configured")
        for host in ("www.example.org", f"evil{PAGES_DOMAIN}", "127.0.0.1")
    ),
]


@pytest.mark.parametrize(("host", "path", "status", "part"), FOUND, ids=lambda value: str(value)[:60])
def test_an_address_gets_its_status_and_page(proxy: Proxy, host: str, path: str, status: int, part: bytes) -> None:
    reply = proxy.get(host, path)
    assert reply.status == status, reply.text[:500]
    assert part in reply.body


DISABLED = ["/disabled/", "/disabled/index.html"]


@pytest.mark.parametrize("path", DISABLED)
def test_enabled_false_takes_a_site_down(proxy: Proxy, path: str) -> None:
    reply = proxy.get("alice", path)
    assert reply.status == 404
    assert b"Repository not found or not configured for pages" in reply.body


def test_a_private_repository_looks_like_none_at_all(proxy: Proxy) -> None:
    assert proxy.get("alice", "/secret/").body.replace(b"secret", b"x") == proxy.get("alice", "/absent/").body.replace(
        b"absent", b"x"
    )


REDIRECTS = [
    ("/blog", "/blog/"),
    ("/blog?a=1&b=%20", "/blog/?a=1&b=%20"),
    ("/BLOG?x", "/BLOG/?x"),
    ("/blog/post", "/blog/post/"),
    ("/blog/both?q", "/blog/both/?q"),
    ("//evil.example", "/evil.example"),
    ("//evil.example/..", "/"),
    ("/%2e//evil.example/", "/evil.example/"),
    ("/blog//files/with%20space.html", "/blog/files/with%20space.html"),
    ("/blog/post/../?\u00fc", "/blog/?%C3%BC"),
]


@pytest.mark.parametrize(("path", "location"), REDIRECTS)
def test_a_redirect_stays_on_its_host_keeps_the_query_and_is_soon_forgotten(
    proxy: Proxy, path: str, location: str
) -> None:
    received = proxy.raw(
        f"GET {path} HTTP/1.1\r\nHost: alice.{PAGES_DOMAIN}\r\nConnection: close\r\n\r\n".encode()
    ).decode()
    assert received.startswith("HTTP/1.1 301 ")
    assert f"\r\nLocation: {location}\r\n" in received
    assert "\r\nCache-Control: public, max-age=60\r\n" in received


ASKED_AGAIN = "public, max-age=0, must-revalidate"
TYPES = [
    ("/blog/", "text/html; charset=utf-8"),
    ("/blog/css/style.css", "text/css; charset=utf-8"),
    ("/blog/js/app.mjs", "text/javascript; charset=utf-8"),
    ("/blog/app.wasm", "application/wasm"),
    ("/blog/img/dot.png", "image/png"),
    ("/blog/img/pic.svg", "image/svg+xml"),
    ("/blog/plain", "text/plain; charset=utf-8"),
    ("/blog/big.dat", "application/octet-stream"),
]


GUESSED = ("/blog/plain", "/blog/big.dat")


@pytest.mark.parametrize(("path", "kind"), TYPES)
def test_a_file_says_its_type_and_how_long_it_may_be_kept(proxy: Proxy, path: str, kind: str) -> None:
    for method in ("GET", "HEAD"):
        headers = proxy.get("alice", path, method=method).headers
        assert headers["content-type"] == kind
        assert headers["cache-control"] == ASKED_AGAIN
        # Where the type was only a guess, browsers may know better.
        assert headers.get("x-content-type-options") == (None if path in GUESSED else "nosniff")
        assert headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/blog/", "/blog/big.dat", "/blog", "/nothing", "/blog/%00"])
def test_every_answer_bears_its_date(proxy: Proxy, path: str) -> None:
    """RFC 9110 §6.6.1: an origin server with a clock must."""
    sent = parsedate_to_datetime(proxy.get("alice", path).headers["date"])
    assert abs((datetime.now(UTC) - sent).total_seconds()) < 60


def test_the_second_request_is_a_hit_and_the_entity_tag_is_the_blob(proxy: Proxy) -> None:
    proxy.get("alice", "/blog/css/style.css")
    reply = proxy.get("alice", "/blog/css/style.css")
    assert reply.headers["x-cache-status"] == "HIT"
    assert reply.headers["etag"] == '"' + hashlib.sha1(b"blob %d\0" % len(BLOG_STYLE) + BLOG_STYLE).hexdigest() + '"'


def test_conditions_are_answered_without_a_body(proxy: Proxy) -> None:
    first = proxy.get("alice", "/blog/about.html")
    same = proxy.get("alice", "/blog/about.html", {"If-None-Match": first.headers["etag"]})
    assert (same.status, same.body) == (304, b"")
    assert same.headers["etag"] == first.headers["etag"]
    since = proxy.get("alice", "/blog/about.html", {"If-Modified-Since": first.headers["last-modified"]})
    assert since.status == 304
    assert proxy.get("alice", "/blog/about.html", {"If-Match": '"other"'}).status == 412


RANGES = [
    ("bytes=0-9", 206, slice(0, 10)),
    ("bytes=-5", 206, slice(-5, None)),
    ("bytes=10-", 206, slice(10, None)),
    ("bytes=0-0,5-6", 200, slice(None)),
    ("bytes=99999999999-", 416, slice(0, 0)),
]


@pytest.mark.parametrize(("wanted", "status", "part"), RANGES)
@pytest.mark.parametrize("path", ["/blog/js/app.js", "/blog/big.dat", "/blog/media.bin"])
def test_a_range_is_that_part_of_the_file_in_memory_or_streamed(
    proxy: Proxy, forge_content: dict[str, bytes], path: str, wanted: str, status: int, part: slice
) -> None:
    reply = proxy.get("alice", path, {"Range": wanted})
    assert reply.status == status
    if status != 416:
        assert reply.body == forge_content[path][part]


@pytest.mark.parametrize("path", ["/blog/big.dat", "/blog/limit.dat", "/blog/media.bin"])
def test_large_and_lfs_files_arrive_whole(proxy: Proxy, forge_content: dict[str, bytes], path: str) -> None:
    reply = proxy.get("alice", path)
    assert reply.status == 200
    assert reply.body == forge_content[path]
    assert reply.headers["content-length"] == str(len(forge_content[path]))


def test_ready_made_encodings_beside_a_file_are_sent_as_they_are(proxy: Proxy) -> None:
    assert proxy.get("compress", "/page/ready.js", {"Accept-Encoding": "gzip"}).body == READY_GZIP
    reply = proxy.get("compress", "/page/ready.js", {"Accept-Encoding": "gzip, br"})
    assert reply.body == READY_BROTLI
    assert reply.headers["content-encoding"] == "br"
    assert "accept-encoding" in reply.headers["vary"].lower()


def test_what_only_looks_like_an_encoding_of_a_file_is_not_sent_as_one(
    proxy: Proxy, forge_content: dict[str, bytes]
) -> None:
    """Beside `app.js` lie `app.js.gz` and `app.js.br` with other bytes."""
    reply = proxy.get("alice", "/blog/js/app.js", {"Accept-Encoding": "gzip, br"})
    decoded = brotli.decompress(reply.body) if reply.headers.get("content-encoding") == "br" else reply.body
    assert decoded == forge_content["/blog/js/app.js"]


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip"])
def test_text_is_compressed_as_the_visitor_accepts(proxy: Proxy, coding: str) -> None:
    plain = proxy.get("compress", "/page/long.html")
    reply = proxy.get("compress", "/page/long.html", {"Accept-Encoding": coding})
    decode = {"br": brotli.decompress, "gzip": gzip.decompress, "zstd": _unzstd}[coding]
    assert reply.headers["content-encoding"] == coding
    assert len(reply.body) < len(plain.body)
    assert decode(reply.body) == plain.body
    assert reply.headers["etag"] != plain.headers["etag"]
    again = proxy.get("compress", "/page/long.html", {"Accept-Encoding": coding})
    assert (again.body, again.headers["x-cache-status"]) == (reply.body, "HIT")


def _unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def test_head_has_the_headers_of_get_and_the_connection_goes_on(proxy: Proxy) -> None:
    request = f"HEAD /blog/css/style.css HTTP/1.1\r\nHost: alice.{PAGES_DOMAIN}\r\n\r\n".encode()
    close = request.replace(b"HEAD", b"GET").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    received = proxy.raw(request + request + close)
    assert received.count(b"HTTP/1.1 200 ") == 3
    assert received.count(b"Content-Length: %d\r\n" % len(BLOG_STYLE)) == 3
    assert received.count(BLOG_STYLE) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "FOO", "TRACE"])
def test_other_methods_are_told_what_is_allowed(proxy: Proxy, method: str) -> None:
    reply = proxy.get("alice", "/blog/", method=method, body=b"x" * 10 if method in ("POST", "PUT") else None)
    assert reply.status == (501 if method == "FOO" else 405)
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS"


def test_options_answers_a_preflight(proxy: Proxy) -> None:
    reply = proxy.get(
        "alice",
        "/blog/data.json",
        {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"},
        method="OPTIONS",
    )
    assert reply.status == 204
    assert reply.headers["access-control-allow-origin"] == "*"


def test_pages_of_our_own_run_nothing_and_are_not_kept(proxy: Proxy) -> None:
    reply = proxy.get("nobody", "/")
    assert reply.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]


def test_a_listing_escapes_names_and_links_to_them(proxy: Proxy) -> None:
    page = proxy.get("alice", "/blog/files/").text
    assert "with%20space.html" in page
    assert "ha%23sh.html" in page
    assert "quo&#34;te" in page or "quo&quot;te" in page
    assert "<script" not in page


def test_nothing_of_the_proxy_shows_in_answers(proxy: Proxy) -> None:
    for data in (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GARBAGE\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\n\r\n"):
        received = proxy.raw(data, timeout=5)
        assert received.startswith(b"HTTP/1.1 400 ")
        assert b"mitmproxy" not in received


@pytest.mark.parametrize("value", [b"b\rX-Webauth-User: admin", b"b\0c", b"b\n folded", b"b\x01", b"b\x7f"])
def test_field_values_that_not_everybody_reads_alike_are_refused(proxy: Proxy, value: bytes) -> None:
    """RFC 9110 §5.5: CR, LF and NUL are dangerous in a field value."""
    head = b"GET / HTTP/1.1\r\nHost: alice.%s\r\nX-A: %s\r\nConnection: close\r\n\r\n" % (PAGES_DOMAIN.encode(), value)
    assert proxy.raw(head, timeout=5).startswith(b"HTTP/1.1 400 ")


def test_options_of_the_server_as_such_are_answered(proxy: Proxy) -> None:
    reply = proxy.raw(b"OPTIONS * HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % PAGES_DOMAIN.encode())
    assert reply.startswith(b"HTTP/1.1 204 ")
    assert b"\r\nAllow: GET, HEAD, OPTIONS\r\n" in reply


def test_a_client_that_has_said_all_it_had_to_say_is_answered(proxy: Proxy) -> None:
    """Half-closed: what was sent to the end is answered."""
    with proxy.connect() as connection:
        connection.sendall(b"GET /blog/about.html HTTP/1.1\r\nHost: alice.%s\r\n\r\n" % PAGES_DOMAIN.encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_tls_hello_closes_the_connection_and_makes_no_certificate(proxy: Proxy) -> None:
    hello = bytes.fromhex("16030100c8010000c40303") + bytes(190)
    assert proxy.raw(hello, timeout=5) == b""


def test_the_state_folder_is_closed_to_others(proxy_folder: Path, proxy: Proxy) -> None:
    assert (proxy_folder / "state").stat().st_mode & 0o777 == 0o700
