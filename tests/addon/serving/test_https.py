# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who comes by plain HTTP, and what an ACME client answers in our place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from addon.serving.acme_challenges import Challenges
from addon.serving.server import PagesServer
from addon.web.forwarding import Visitor
from tests.addon.preview.sites import Site
from tests.addon.serving.pages import ENABLED, PAGES_DOMAIN, Serving, serving

TOLD_PLAIN = Visitor("192.0.2.7", secure=False, told=True)
SEEN_PLAIN = Visitor("192.0.2.7", secure=False)
SECURE = Visitor("192.0.2.7", secure=True, told=True)
ACME = "/.well-known/acme-challenge/"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {".pages": ENABLED, "public/index.html": b"<h1>Hi</h1>", f"public{ACME}token": b"a site's own"}
    for name in (".profile", "blog"):
        Site(tmp_path / "alice" / f"{name}.git", files)
    return tmp_path


async def asked(
    pages: Serving, visitor: Visitor, host: str, target: str, method: str = "GET", **headers: str
) -> tuple[int, str | None]:
    """Status and Location."""
    request = replace(pages.request(host, target, method, **headers), visitor=lambda: visitor)
    answer = pages.server.answer_from_memory(request) or await pages.server.answer(request)
    return answer.status, dict(answer.headers).get(b"Location", b"").decode() or None


PLACES = [
    (f"alice.{PAGES_DOMAIN}", "/blog/"),
    (f"alice.{PAGES_DOMAIN}", "/blog/a%20b%3Fc/d%2e?x=%20y&&z"),
    (f"alice.{PAGES_DOMAIN}", "/x//y/../z?"),
    (f"nobody.{PAGES_DOMAIN}", "/"),
    (PAGES_DOMAIN, "/"),
]


@pytest.mark.parametrize(("host", "target"), PLACES)
async def test_a_visitor_of_whom_a_proxy_says_plain_http_is_sent_to_https_with_all_as_it_came(
    host: str, target: str, forge: Forge
) -> None:
    async with serving(forge) as pages:
        for method, status in (("GET", 301), ("HEAD", 301), ("POST", 308), ("OPTIONS", 308)):
            told = await asked(pages, TOLD_PLAIN, host, target, method, x_forwarded_proto="http")
            assert told == (status, f"https://{host}{target}")
        told = await asked(pages, TOLD_PLAIN, f"{host.upper()}.:8080", target, forwarded="proto=http")
        assert told == (301, f"https://{host}{target}")


@pytest.mark.parametrize("name", ["-bad", "a--b--", "xn--a", "a" * 64, "_acme"])
async def test_a_name_that_no_owner_can_have_is_sent_nowhere(name: str, forge: Forge) -> None:
    """There is no certificate for it, most likely, and nothing to be seen."""
    async with serving(forge, redirectHTTPS=True) as pages:
        status, location = await asked(pages, TOLD_PLAIN, f"{name}.{PAGES_DOMAIN}", "/", x_forwarded_proto="http")
        assert status in (400, 404)
        assert location is None


async def test_nobody_else_is(forge: Forge) -> None:
    async with serving(forge) as pages:
        for visitor, headers in (
            (SEEN_PLAIN, {}),
            (SEEN_PLAIN, {"x_forwarded_proto": "http"}),  # said by who is no trusted proxy
            (SECURE, {"x_forwarded_proto": "https"}),
            (SECURE, {"x_forwarded_proto": "HTTPS"}),
        ):
            assert await asked(pages, visitor, "alice", "/blog/", **headers) == (200, None)


async def test_with_redirect_https_whoever_comes_to_us_by_plain_http_is(forge: Forge) -> None:
    async with serving(forge, redirectHTTPS=True) as pages:
        assert await asked(pages, SEEN_PLAIN, "alice", "/blog/") == (301, f"https://alice.{PAGES_DOMAIN}/blog/")
        assert await asked(pages, SECURE, "alice", "/blog/", x_forwarded_proto="https") == (200, None)
        request = replace(
            pages.request("alice", "/blog/"), tls=True, visitor=lambda: pytest.fail("nobody need be asked")
        )
        answer = pages.server.answer_from_memory(request)
        assert answer is not None
        assert answer.status == 200


async def test_nobody_is_sent_to_https_for_ever_by_proxies_that_contradict_each_other(forge: Forge) -> None:
    unclear = Visitor("192.0.2.7", secure=False, unclear=True)
    async with serving(forge, redirectHTTPS=True) as pages:
        told = await asked(pages, unclear, "alice", "/blog/", x_forwarded_proto="https, http")
        assert told == (200, None)


@pytest.mark.parametrize(
    ("host", "target", "status"),
    [
        (f"alice.{PAGES_DOMAIN}", "/.pages/x", 404),
        (f"alice.{PAGES_DOMAIN}", f"{ACME}token", 404),
        (PAGES_DOMAIN, f"{ACME}token", 404),
        ("elsewhere.example", "/", 404),
        ("elsewhere.example", f"{ACME}token", 404),
        (f"evil{PAGES_DOMAIN}", "/", 404),
        ("a..b", "/", 400),
    ],
)
async def test_what_is_no_site_of_ours_is_not_redirected(host: str, target: str, status: int, forge: Forge) -> None:
    async with serving(forge, redirectHTTPS=True) as pages:
        assert await asked(pages, TOLD_PLAIN, host, target, x_forwarded_proto="http") == (status, None)


# ---- challenges ------------------------------------------------------------------------------------------------------


@pytest.fixture
def acme() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """An ACME client that knows the answer to one challenge: its address, and the hosts and paths it was asked for."""
    seen: list[tuple[str, str]] = []

    class Client(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.headers["Host"], self.path))
            assert "cookie" not in self.headers
            body = b"token.thumbprint" if self.path.endswith(f"{ACME}token") else b"x" * 100_000
            self.send_response(404 if self.path.endswith("missing") else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Client)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("base", ["", "/certificates"])
async def test_challenges_go_to_the_operators_client_for_every_host_and_by_plain_http(
    base: str, acme: tuple[str, list[tuple[str, str]]], forge: Forge
) -> None:
    url, seen = acme
    async with serving(forge, redirectHTTPS=True) as pages:
        client = Challenges(url + base)
        pages.server = PagesServer(pages.settings, pages.library, pages.server.access, challenges=client)
        for host in (f"alice.{PAGES_DOMAIN}", PAGES_DOMAIN, "new.example"):
            request = replace(pages.request(host, f"{ACME}token?x=y"), visitor=lambda: SEEN_PLAIN)
            answer = await pages.server.answer(request)
            assert (answer.status, answer.body) == (200, b"token.thumbprint")
            assert seen.pop() == (host, f"{base}{ACME}token")
        answer = await pages.server.answer(replace(request, method="HEAD"))
        assert (answer.status, answer.body) == (200, b"")
        seen.clear()
        for path, status in ((f"{ACME}missing", 404), (f"{ACME}large", 502), (ACME, 404), (f"{ACME}a/b", 404)):
            assert (await pages.get("alice", path)).status == status
        assert len(seen) == 2
        assert (await pages.get("alice", f"{ACME}token", "POST")).status == 405
        await client.aclose()
        broken = Challenges("http://127.0.0.1:1")
        pages.server = PagesServer(pages.settings, pages.library, pages.server.access, challenges=broken)
        assert (await pages.get("alice", f"{ACME}token")).status == 502
        await broken.aclose()
