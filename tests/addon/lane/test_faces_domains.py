# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The lane and the flow face on hosts of sites' own: domains, branch hosts, twins, locked ones; same request, same
answer, in memory or not, with a login or without, however the visitor came.
"""

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.addon.lane.faces import CONDITIONS, ENCODINGS, METHODS, Client, Faces, Response, both_faces, request
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.running import PAGES_DOMAIN, Proxy
from tests.resp.servers import Server, start_valkey
from tests.waiting import wait_until

OPEN, LOCKED = "www.open.example", "locked.example"
PASSWORD, BRANCHES_PASSWORD = "open sesame", "and for branches"
MAPPINGS = {
    OPEN: "alice:blog",
    f"dev.{OPEN}": "alice:blog:dev",
    f"unlisted.{OPEN}": "alice:blog:unlisted",
    f"gone.{OPEN}": "alice:blog:gone",
    LOCKED: "bob:locked",
    f"stage.{LOCKED}": "bob:locked:stage",
    "mixed.example": "Alice:BLOG",
    "nobody.example": "nobody:nothing",
    "nonsense.example": "no mapping",
    "empty.example": "",
    "bad.example": "bob:bad",
}


def _hash(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def make_sites(root: Path) -> None:
    page = "<!doctype html><title>{0}</title>" + "<p>{0} is a page that compresses well.</p>\n" * 100
    files: dict[str, bytes] = {
        "public/index.html": page.format("Main").encode(),
        "public/404.html": b"<h1>Not here</h1>",
        "public/a b.css": b"a{}",
        "public/docs/index.html": page.format("Docs").encode(),
        "public/list/one.txt": b"1",
        "public/raw.bin": bytes(range(256)) * 8,
    }
    settings = f"custom_domain: {OPEN}\nenable_branches: [dev, gone]\ndirectory_index: true\n".encode()
    blog = Site(root / "alice" / "blog.git", {".pages": settings, **files})
    for branch in ("dev", "unlisted"):
        blog.commit({"public/index.html": page.format(branch).encode()}, branch=branch)
    settings = (
        f"custom_domain: {LOCKED}\nenable_branches: [stage]\ndirectory_index: true\n"
        f"password: {_hash(PASSWORD)}\nbranchesPassword: {_hash(BRANCHES_PASSWORD)}\n"
    ).encode()
    locked = Site(root / "bob" / "locked.git", {".pages": settings, **files})
    locked.commit({".pages": b"enabled: true\n", "public/index.html": page.format("Stage").encode()}, branch="stage")
    Site(root / "bob" / "bad.git", {".pages": b"password: no hash\n", **files})


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    with start_valkey() as server:
        for host, value in MAPPINGS.items():
            server.ask("SET", f"custom_domain:{host}", value)
        yield server


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, redis: Server) -> Iterator[Faces]:
    root = tmp_path_factory.mktemp("forge")
    make_sites(root)
    with start_forge(root) as forge:
        options = {
            "redisHost": redis.host,
            "redisPort": redis.port,
            "redisTimeout": "5s",
            "cacheTTL": 3600,
            "authSecretKey": "k" * 32,
            "trustedProxies": ["loopback"],
        }
        with both_faces(tmp_path_factory, forge, **options) as faces:
            yield faces


PATHS = [
    "/",
    "/index.html",
    "/docs",
    "/docs/",
    "/list/",
    "/list",
    "/a%20b.css",
    "/raw.bin?x=%2F",
    "/missing",
    "/missing/",
    "//docs//",
    "/docs/../list/",
    "/../x",
    "/a%2Fb",
    "/blog/",
    "/.pages/x",
    "/.well-known/acme-challenge/token",
]
HOSTS = [
    *MAPPINGS,
    OPEN.upper(),
    f"{OPEN}.:8080",
    f"{OPEN.removeprefix('www.')}",
    f"{OPEN.removeprefix('www.')}:8080",
    f"www.{LOCKED}",
    f"www.dev.{OPEN}",
    "stranger.example",
]
CACHE = "x-cache-status"
WAYS: list[tuple[str, ...]] = [(), ("X-Forwarded-Proto: http",), ("X-Forwarded-Proto: https",)]
"""Directly, and through a front: of the last the scheme alone matters, so a part of the paths is enough for them."""


def alike(both: tuple[Client, Client], data: bytes, *, bodiless: bool = False) -> Response:
    """What both answer, which is the same, cold too: then they may differ in what they say of the cache alone."""
    answers = [client.ask(data, bodiless=bodiless) for client in both]
    if answers[0] != answers[1]:
        cold = [(status, [each for each in fields if each[0] != CACHE], body) for status, fields, body in answers]
        assert cold[0] == cold[1], data
        answers = [client.ask(data, bodiless=bodiless) for client in both]
    assert answers[0] == answers[1], data
    return answers[0]


@pytest.mark.parametrize("method", METHODS)
def test_every_place_on_every_host_is_answered_alike(both: tuple[Client, Client], method: str) -> None:
    directly = itertools.product(HOSTS, PATHS, WAYS[:1])
    forwarded = itertools.product(HOSTS, PATHS[::4], WAYS[1:])
    for host, path, way in (*directly, *forwarded):
        data = request(method, host, path, way)
        for _ in range(2):
            alike(both, data, bodiless=method == "HEAD")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_condition_and_encoding_is_answered_alike(both: tuple[Client, Client], encoding: tuple[str, ...]) -> None:
    hosts = (OPEN, f"dev.{OPEN}", LOCKED, f"stage.{LOCKED}")
    guessing = "Cookie: a=b", "Authorization: Basic YTpi"  # would be counted, and slow down who comes next
    conditions = [each for each in CONDITIONS if each != guessing]
    for host, path, condition in itertools.product(hosts, ("/", "/raw.bin", "/missing"), conditions):
        for method in ("GET", "HEAD"):
            alike(both, request(method, host, path, (*condition, *encoding)), bodiless=method == "HEAD")


def logged_in(proxy: Proxy, host: str, password: str) -> str:
    """The Cookie field of who gave the password."""
    body = f"password={password.replace(' ', '+')}".encode()
    reply = proxy.get(host, "/", {"Content-Type": "application/x-www-form-urlencoded"}, "POST", body)
    assert reply.status == 303, reply
    return reply.headers["set-cookie"].partition(";")[0]


@pytest.mark.parametrize("issuer", ["lane", "flow"])
def test_a_login_at_one_face_is_one_at_the_other_and_opens_nothing_else(
    faces: Faces, both: tuple[Client, Client], issuer: str
) -> None:
    proxy = faces.lane if issuer == "lane" else faces.flow
    stage = f"stage.{LOCKED}"
    for host, password, other in ((LOCKED, PASSWORD, stage), (stage, BRANCHES_PASSWORD, LOCKED)):
        cookie = f"Cookie: {logged_in(proxy, host, password)}"
        for path in PATHS:
            for method in ("GET", "HEAD"):
                code, fields, _ = alike(both, request(method, host, path, (cookie,)), bodiless=method == "HEAD")
                assert code != 401
                if code == 200:
                    assert dict(fields)["cache-control"].startswith("private")
        assert alike(both, request("GET", host, "/", (cookie,)))[0] == 200
        assert alike(both, request("GET", other, "/", (cookie,)))[0] == 401
        assert alike(both, request("GET", host, "/"))[0] == 401


def test_what_is_ready_for_one_visitor_is_not_given_to_who_came_by_plain_http(both: tuple[Client, Client]) -> None:
    for host in (OPEN, f"dev.{OPEN}", f"alice.{PAGES_DOMAIN}"):
        for _ in range(3):
            assert alike(both, request("GET", host, "/", ("X-Forwarded-Proto: https",)))[0] in (200, 404)
            assert alike(both, request("GET", host, "/"))[0] in (200, 404)
            code, fields, _ = alike(both, request("GET", host, "/", ("X-Forwarded-Proto: http",)))
            assert (code, dict(fields)["location"]) == (301, f"https://{host}/")


def test_what_hosts_are_for(both: tuple[Client, Client]) -> None:
    wanted = {
        OPEN: 200,
        f"dev.{OPEN}": 200,
        f"unlisted.{OPEN}": 404,
        f"gone.{OPEN}": 404,
        LOCKED: 401,
        f"stage.{LOCKED}": 401,
        "mixed.example": 200,
        "nobody.example": 404,
        "nonsense.example": 404,
        "empty.example": 404,
        "bad.example": 403,
        OPEN.removeprefix("www."): 301,
        f"www.{LOCKED}": 301,
        f"www.dev.{OPEN}": 404,
        "stranger.example": 404,
    }
    assert {host: alike(both, request("GET", host, "/"))[0] for host in wanted} == wanted


def test_a_mapping_changed_with_redis_cli_is_seen_by_both_faces_at_once(
    both: tuple[Client, Client], redis: Server
) -> None:
    host = "moving.example"
    redis.ask("SET", f"custom_domain:{host}", "alice:blog")
    for value, wanted in (("alice:blog", b"Main"), ("alice:blog:dev", b"dev"), ("alice:blog", b"Main")):
        redis.ask("SET", f"custom_domain:{host}", value)
        for client in both:
            becomes(client, host, 200, b"<title>" + wanted)
    redis.ask("DEL", f"custom_domain:{host}")
    for client in both:
        becomes(client, host, 404, b"Custom domain not configured")


def becomes(client: Client, host: str, code: int, text: bytes) -> None:
    """Ask until it is so."""

    def so() -> bool:
        status, _, body = client.ask(request("GET", host, "/"))
        return status == code and text in body

    wait_until(so, f"{code} with {text!r} of {host}")
