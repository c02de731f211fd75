# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A site's rules through both faces, and through two real mitmdumps: same request, same answer."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import pytest

from tests.addon.lane.faces import Client, Faces, both_faces, request
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.running import PAGES_DOMAIN

HOST = f"alice.{PAGES_DOMAIN}"
PREVIEWS = "preview.test"
FILES = {
    ".pages": b"enabled: true\n",
    "public/_redirects": b"/old /new\n/m/* /dir/:splat 302\n/q id=:id /p/:id\n/s /about.html 200\n/g /gone.html 410\n"
    b"/about.html /forced 301!\n/x https://elsewhere.example/ 307\n/* /index.html 200\n",
    "public/_headers": b"/*\n  X-All: yes\n  Cross-Origin-Opener-Policy: same-origin\n/style.css\n"
    b"  Cache-Control: max-age=9\n  ! Access-Control-Allow-Origin\n",
    "public/index.html": b"<h1>Home</h1>" * 40,
    "public/about.html": b"<h1>About</h1>",
    "public/gone.html": b"<h1>Gone</h1>",
    "public/404.html": b"<h1>404</h1>",
    "public/style.css": b"h1 { color: teal }\n" * 40,
}
TARGETS = [
    *("/blog/", "/blog/old", "/blog/old?x=1", "/blog/m/a/b/", "/blog/q?id=5&y=6", "/blog/s", "/blog/g", "/blog/x"),
    *("/blog/about.html", "/blog/about", "/blog/style.css", "/blog/users/7", "/blog/missing.js", "/blog/_headers"),
    *("/blog/.pages/site", "/blog/.pages/other", "/blog/LOAD_REDIRECTS", "/blog/%2e%2e/x", "/blog//old"),
]
FIELDS: list[tuple[str, ...]] = [
    (),
    ("Accept-Encoding: br",),
    ("Range: bytes=2-9",),
    ("Sec-Fetch-Dest: script",),
    ("Sec-Fetch-Dest: document",),
]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    root = tmp_path_factory.mktemp("forge")
    Site(root / "alice" / "blog.git", FILES).close()
    previewed = {**FILES, ".pages": b"previews:\n  branches: all\n  banner: Not reviewed.\n"}
    Site(root / "alice" / "previewed.git", previewed).close()
    forge = start_forge(root)
    with contextlib.ExitStack() as stack:
        stack.callback(forge.stop)
        options = {"cacheTTL": 3600, "previewDomain": PREVIEWS, "previewTTL": "3650d"}
        yield stack.enter_context(both_faces(tmp_path_factory, forge, **options))


def test_rules_are_answered_alike(both: tuple[Client, Client]) -> None:
    seen = set()
    for target, fields, method in itertools.product(TARGETS, FIELDS, ("GET", "HEAD", "OPTIONS", "POST")):
        data = request(method, HOST, target, fields)
        for _ in range(3):  # a miss, a hit, and one that was prepared
            answers = [client.ask(data, bodiless=method == "HEAD") for client in both]
        if "/.pages/site" not in target:  # which tells the second
            assert answers[0] == answers[1], (method, target, fields)
        seen.add(answers[0][0])
    assert {200, 206, 301, 302, 307, 404, 410} <= seen


def test_a_tag_is_answered_with_304_and_the_sites_own_headers(both: tuple[Client, Client]) -> None:
    for client in both:
        _, fields, _ = client.ask(request("GET", HOST, "/blog/style.css"))
        tag = dict(fields)["etag"]
        status, fields, body = client.ask(request("GET", HOST, "/blog/style.css", (f"If-None-Match: {tag}",)))
        told = dict(fields)
        assert (status, body) == (304, b"")
        assert (told["x-all"], told["cache-control"]) == ("yes", "max-age=9")
        assert "access-control-allow-origin" not in told


def test_previews_are_answered_alike(both: tuple[Client, Client]) -> None:
    """With a bar, which is put on by another way than a file's own bytes, and conditions on that."""
    hosts = [f"main--previewed--alice.{PREVIEWS}", f"none--previewed--alice.{PREVIEWS}", f"x.{PREVIEWS}", PREVIEWS]
    targets = ["/", "/old", "/about", "/style.css", "/missing.js", "//old", "/.pages/other"]
    seen = set()
    for host, target, fields in itertools.product(hosts, targets, (*FIELDS, ("If-None-Match: *",))):
        for method in ("GET", "HEAD", "POST"):
            data = request(method, host, target, fields)
            for _ in range(3):
                answers = [client.ask(data, bodiless=method == "HEAD") for client in both]
            assert answers[0] == answers[1], (method, host, target, fields)
            seen.add(answers[0][0])
    assert {200, 206, 301, 304, 404, 405} <= seen
    status, headers, body = both[0].ask(request("GET", hosts[0], "/", ("Accept-Encoding: br", "Range: bytes=0-3")))
    assert (status, dict(headers)["x-robots-tag"], b"Not reviewed." in body) == (200, "noindex", True)
    again = request("GET", hosts[0], "/", (f"If-None-Match: {dict(headers)['etag']}",))
    assert [client.ask(again)[0] for client in both] == [304, 304]
