# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Locked sites through the whole server: everything about them is behind the password, and nothing else is."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from addon.access.passwords import Form, make_hash
from addon.access.signing_key import SigningKey, Source
from addon.lane.answers import Asked, may_be_ready
from addon.web.prepared_answers import PreparedAnswers
from addon.web.request_head import RequestLine, derived
from tests.addon.preview.sites import Files, Site, lfs_pointer, link
from tests.addon.serving.pages import VISITOR, Reply, Serving, serving, start_forge

SECRET_SHA256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # of `secret`, as the origin has it
SECRET = f"enabled: true\npassword: {SECRET_SHA256}\n".encode()
PAGE = b"<h1>For members</h1>" + b"<p>and nobody else</p>" * 100
FILES: Files = {
    ".pages": SECRET + b"directory_index: true\n",
    "public/index.html": PAGE,
    "public/404.html": b"not here, member",
    "public/docs/a.txt": b"0123456789" * 50,
    "public/link.html": link("index.html"),
    "public/big.bin": bytes(2_000_000),
}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Serving]:
    Site(tmp_path / "alice" / "Members.git", FILES)
    Site(tmp_path / "alice" / "open.git", {".pages": b"enabled: true\n", "public/index.html": b"open"})
    with start_forge(tmp_path) as forge:
        async with serving(forge) as served:
            yield served


async def login(served: Serving, password: str = "secret", path: str = "/Members/") -> Reply:
    served.body = f"password={quote(password)}".encode()
    try:
        return await served.get("alice", path, "POST", content_type="application/x-www-form-urlencoded")
    finally:
        served.body = None


async def cookie_of(served: Serving) -> str:
    reply = await login(served)
    assert reply.status == 303
    return reply.headers["set-cookie"].partition(";")[0]


PATHS = ("", "/docs", "/docs/", "/docs/a.txt", "/link.html", "/big.bin", "/no/such/file", "/404.html")
HEADERS = ({"range": "bytes=0-3"}, {"accept_encoding": "br"}, {"if_none_match": "*"})
EVERYTHING: list[tuple[str, str, dict[str, str]]] = [
    *((method, "/Members/", {}) for method in ("GET", "HEAD", "OPTIONS", "DELETE")),
    *(("GET", f"/Members{path}", {}) for path in PATHS),
    *(("GET", "/Members/docs/a.txt", headers) for headers in HEADERS),
]


@pytest.mark.parametrize(("method", "path", "headers"), EVERYTHING)
async def test_without_a_login_everything_of_a_site_is_the_same_login_page(
    served: Serving, method: str, path: str, headers: dict[str, str]
) -> None:
    reply = await served.get("alice", path, method, accept="text/html", **headers)
    assert reply.status == 401
    assert reply.headers["cache-control"] == "no-store"
    assert not reply.headers["www-authenticate"].startswith("Basic")
    assert b"members" not in reply.body.lower().replace(b"/members", b"")
    if method == "HEAD":
        assert reply.body == b""
    else:
        assert b'type="password"' in reply.body


async def test_existing_and_missing_paths_answer_alike(served: Serving) -> None:
    there = await served.get("alice", "/Members/docs/a.txt", accept="text/html")
    absent = await served.get("alice", "/Members/docs/b.txt", accept="text/html")
    assert (there.status, b'type="password"' in there.body) == (401, True)
    assert (there.status, there.body, there.headers) == (absent.status, absent.body, absent.headers)


async def test_the_right_password_leads_back_and_opens_the_site(served: Serving) -> None:
    reply = await login(served, path="/Members/docs/?a=1&b=%20")
    assert reply.status == 303
    assert reply.headers["location"] == "/Members/docs/?a=1&b=%20"
    assert "HttpOnly" in reply.headers["set-cookie"]
    assert "SameSite=Lax" in reply.headers["set-cookie"]
    assert "; Path=/;" in reply.headers["set-cookie"]
    cookie = await cookie_of(served)
    page = await served.get("alice", "/Members/", cookie=cookie)
    assert (page.status, page.body) == (200, PAGE)


GRANTED = [
    ("GET", "/Members/", 200, {}),
    ("HEAD", "/Members/", 200, {}),
    ("OPTIONS", "/Members/", 204, {}),
    ("POST", "/Members/", 405, {}),
    ("GET", "/Members", 301, {}),
    ("GET", "/Members/docs/", 200, {}),
    ("GET", "/Members/docs/a.txt", 206, {"range": "bytes=0-3"}),
    ("GET", "/Members/docs/a.txt", 304, {"if_none_match": "*"}),
    ("GET", "/Members/big.bin", 200, {}),
    ("GET", "/Members/nothing", 404, {}),
]


@pytest.mark.parametrize(("method", "path", "status", "headers"), GRANTED)
async def test_what_is_behind_the_password_is_for_no_shared_cache(
    served: Serving, method: str, path: str, status: int, headers: dict[str, str]
) -> None:
    cookie = await cookie_of(served)
    reply = await served.get("alice", path, method, cookie=cookie, **headers)
    assert reply.status == status
    assert reply.headers["cache-control"] in ("private, no-cache", "no-store")
    assert "Cookie, Authorization" in reply.headers["vary"]


async def test_the_wrong_password_is_said_and_counted(served: Serving) -> None:
    statuses = [(await login(served, f"guess {number}")).status for number in range(8)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    reply = await login(served)
    assert reply.status == 429
    assert int(reply.headers["retry-after"]) >= 1


async def test_a_locked_site_says_nothing_in_another_case(served: Serving) -> None:
    reply = await served.get("alice", "/members/docs/?q", accept="text/html")
    assert (reply.status, reply.headers["location"]) == (301, "/Members/docs/?q")


async def test_tools_log_in_with_basic(served: Serving) -> None:
    assert (await served.get("alice", "/Members/")).headers["www-authenticate"].startswith("Basic ")
    reply = await served.get("alice", "/Members/", authorization="Basic OnNlY3JldA==")  # :secret
    assert (reply.status, reply.body) == (200, PAGE)
    again = await served.get("alice", "/Members/", authorization="Basic OnNlY3JldA==")
    assert again.recalled


async def test_a_new_password_ends_old_logins_and_no_password_opens(served: Serving, tmp_path: Path) -> None:
    cookie = await cookie_of(served)
    site = Site(tmp_path / "alice" / "Members.git")
    changed = make_hash(b"another", Form.ARGON2ID)
    site.commit({".pages": f"password: '{changed}'\n"})
    served.clock.pass_(1000)
    assert (await served.get("alice", "/Members/", cookie=cookie)).status == 401
    assert (await login(served, "another")).status == 303
    site.commit({".pages": b"enabled: true\n"})
    served.clock.pass_(1000)
    reply = await served.get("alice", "/Members/")
    assert (reply.status, reply.headers["cache-control"]) == (200, "public, max-age=0, must-revalidate")


@pytest.mark.parametrize("text", ["password: nonsense\n", "password: '$argon2id$v=19$m=1,t=1,p=1$x$y'\n"])
async def test_what_is_no_hash_keeps_the_site_closed(served: Serving, tmp_path: Path, text: str) -> None:
    Site(tmp_path / "alice" / "Members.git").commit({".pages": text.encode()})
    reply = await served.get("alice", "/Members/")
    assert reply.status == 403
    assert b"For members" not in reply.body


@pytest.mark.parametrize("fault", [{"status": 500, "body": b"{}"}, {"drop": True}, {"status": 403, "body": b"{}"}])
async def test_forgejo_in_trouble_opens_nothing(tmp_path: Path, fault: dict[str, Any]) -> None:  # S6
    Site(tmp_path / "alice" / "Members.git", FILES)
    with start_forge(tmp_path) as forge:
        paths = ("/Members/", "/Members/docs/a.txt", "/Members/nothing", "/Members/big.bin")
        async with serving(forge) as cold:
            with forge.fault(r"Members", **fault):
                for path in paths:
                    reply = await cold.get("alice", path)
                    assert reply.status in (403, 404, 502, 503)
                    assert b"members" not in reply.body.lower()
        async with serving(forge) as warm:
            cookie = await cookie_of(warm)
            assert (await warm.get("alice", "/Members/", cookie=cookie)).body == PAGE  # in memory from now on
            with forge.fault(r"Members", **fault):
                for seconds in (0, 1_000, 100_000, 10_000_000):
                    warm.clock.pass_(seconds)
                    for path in paths:
                        reply = await warm.get("alice", path)
                        await warm.settle()
                        assert reply.status in (401, 403, 404, 502, 503)
                        assert b"for members" not in reply.body.lower()


@pytest.mark.parametrize(("path", "status"), [("/Members/big.bin", 502), ("/Members/large.iso", 404)])
async def test_what_is_said_instead_of_a_file_that_does_not_come_is_for_no_shared_cache(
    tmp_path: Path, path: str, status: int
) -> None:
    pointer = lfs_pointer(bytes(2_000_000))  # of an object that the forge does not have
    attributes = {".gitattributes": b"*.iso filter=lfs diff=lfs merge=lfs -text\n"}
    Site(tmp_path / "alice" / "Members.git", {**FILES, **attributes, "public/large.iso": pointer})
    with start_forge(tmp_path) as forge:
        async with serving(forge) as served:
            cookie = await cookie_of(served)
            with forge.fault(r"/raw/", status=404, body=b"{}", headers=(("Content-Type", "application/json"),)):
                reply = await served.get("alice", path, cookie=cookie)
            assert reply.status == status
            assert pointer not in reply.body
            assert reply.headers["cache-control"] in ("private, no-cache", "no-store")
            assert reply.headers["vary"].endswith("Cookie, Authorization")


async def test_one_sites_login_opens_no_other(served: Serving, tmp_path: Path) -> None:
    Site(tmp_path / "alice" / "other.git", {".pages": SECRET, "public/index.html": b"other"})
    cookie = (await cookie_of(served)).replace("Members", "other")
    assert (await served.get("alice", "/other/", cookie=cookie)).status == 401


async def test_what_is_ready_for_a_login_ends_with_the_key_that_signed_it(served: Serving) -> None:
    cookie = await cookie_of(served)
    await served.get("alice", "/Members/", cookie=cookie)
    answer = served.server.answer_from_memory(served.request("alice", "/Members/", cookie=cookie))
    assert answer is not None
    assert answer.basis is not None
    ready = PreparedAnswers(served.library.memory, 1 << 20)
    assert ready.holds(answer.basis, served.clock())
    served.access.adopt(SigningKey(b"n" * 32, Source.SHARED))
    assert not ready.holds(answer.basis, served.clock())
    assert (await served.get("alice", "/Members/", cookie=cookie)).status == 401


async def test_an_open_site_has_nothing_to_do_with_it(served: Serving) -> None:
    reply = await served.get("alice", "/open/")
    assert (reply.status, reply.body) == (200, b"open")
    assert reply.headers["cache-control"].startswith("public")
    assert (await login(served, path="/open/")).status == 405


async def test_logging_out_takes_the_cookies_back(served: Serving) -> None:
    cookie = await cookie_of(served)
    asked = await served.get("alice", "/.pages/logout", cookie=cookie)
    assert (asked.status, asked.headers.get("set-cookie")) == (200, None), "a link logs nobody out"
    assert b'<form method="post">' in asked.body
    for sent in ({"sec-fetch-site": "same-site"}, {"origin": "https://bob.pages.test"}):
        refused = await served.get("alice", "/.pages/logout", method="POST", cookie=cookie, **sent)
        assert (refused.status, refused.headers.get("set-cookie")) == (403, None)
    reply = await served.get("alice", "/.pages/logout", method="POST", cookie=cookie)
    assert reply.status == 200
    assert "Max-Age=0" in reply.headers["set-cookie"]


async def test_a_locked_error_pages_repository_shows_nobody_anything(tmp_path: Path) -> None:
    Site(tmp_path / "ops" / "errors.git", {".pages": SECRET, "public/404.html": b"inside", "public/index.html": b"in"})
    with start_forge(tmp_path) as forge:
        async with serving(forge, errorPagesRepo="ops/errors") as served:
            for host, path, status in (("pages.test", "/", 200), ("nobody", "/", 404), ("pages.test", "/x", 404)):
                for _ in range(2):
                    reply = await served.get(host, path)
                    assert (reply.status, reply.headers["content-type"]) == (status, "text/html; charset=utf-8")
                    assert reply.body not in (b"in", b"inside")
                    assert b"<!doctype html>" in reply.body  # ours


async def test_a_form_of_an_object_in_git_lfs_is_for_its_repository_alone(tmp_path: Path) -> None:
    """Anybody can name an object that they have not; only Forgejo says who may have it."""
    picture, large = b"<svg>what only readers know</svg>" * 100, b"what only readers know\n" * 100_000
    files = {
        ".gitattributes": b"*.svg filter=lfs diff=lfs merge=lfs -text\n*.csv filter=lfs diff=lfs merge=lfs -text\n",
        "public/a.svg": lfs_pointer(picture),
        "public/large.csv": lfs_pointer(large),
    }
    site = Site(tmp_path / "alice" / "Members.git", {".pages": SECRET, **files})
    site.upload_lfs(picture)
    site.upload_lfs(large)
    Site(tmp_path / "mallory" / "copy.git", {".pages": b"enabled: true\n", **files})
    with start_forge(tmp_path) as forge:
        async with serving(forge) as served:
            cookie = await cookie_of(served)
            for name in ("a.svg", "large.csv"):
                own = await served.get("alice", f"/Members/{name}", accept_encoding="br", cookie=cookie)
                assert (own.status, own.headers["content-encoding"]) == (200, "br")
                for coding in ("br", "gzip", "identity"):
                    reply = await served.get("mallory", f"/copy/{name}", accept_encoding=coding)
                    assert reply.status == 404, (name, coding)


async def test_a_listing_says_whose_it_is_to_nobody_who_looks_at_a_fork(tmp_path: Path) -> None:
    files: Files = {f"public/{number}.txt": b"" for number in range(120)}
    site = Site(tmp_path / "alice" / "docs.git", {".pages": b"directory_index: true\n", **files})
    shutil.copytree(site.path, tmp_path / "bob" / "not-announced-yet.git")
    with start_forge(tmp_path) as forge:
        async with serving(forge) as served:
            fork = await served.get("bob", "/not-announced-yet/")
            assert b"not-announced-yet" in fork.body
            assert served.known("bob", "not-announced-yet").commit == site.head("main")
            reply = await served.get("alice", "/docs/")
            assert reply.status == 200
            assert b"not-announced-yet" not in reply.body


async def test_of_a_locked_app_no_page_is_ready_for_who_asks_for_a_script(tmp_path: Path) -> None:
    Site(tmp_path / "alice" / "Members.git", {".pages": SECRET + b"spa: true\n", "public/index.html": PAGE})
    with start_forge(tmp_path) as forge:
        async with serving(forge) as served:
            cookie = await cookie_of(served)
            line = RequestLine("GET", "/Members/chunk", None, True)
            for path, ready in (("/Members/chunk", False), ("/Members/", True)):
                for _ in range(2):
                    reply = await served.get("alice", path, cookie=cookie, sec_fetch_dest="document")
                    assert (reply.status, reply.body) == (200, PAGE)
                values = {b"cookie": cookie.encode(), b"sec-fetch-dest": b"document"}
                fields = derived(b"alice.pages.test", values)
                asked = Asked(values, lambda: VISITOR)
                answer = served.server.answer_from_memory(replace(served.request("alice", path), header=asked.header))
                assert answer is not None
                assert answer.locked
                assert may_be_ready(line, fields, answer, asked) is ready, path
            script = await served.get("alice", "/Members/chunk", cookie=cookie, sec_fetch_dest="script")
            assert script.status == 404
