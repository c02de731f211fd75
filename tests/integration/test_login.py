# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Logging in through a real mitmdump, as a browser, as a tool, and as somebody who sends too much."""

import hashlib
import hmac
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.running import PAGES_DOMAIN, Proxy, Reply, running_proxy
from tests.waiting import wait_until

PASSWORD = "correct horse"
SETTINGS = f"enabled: true\npassword: {hashlib.sha256(PASSWORD.encode()).hexdigest().upper()}\n".encode()
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def locked_forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    root = tmp_path_factory.mktemp("locked")
    Site(
        root / "alice" / "club.git",
        {".pages": SETTINGS, "public/index.html": b"inside", "public/a.bin": bytes(3 << 20)},
    )
    Site(root / "alice" / "open.git", {".pages": b"enabled: true\n", "public/index.html": b"open"})
    with start_forge(root) as forge:
        yield forge


@pytest.fixture(scope="module")
def club(tmp_path_factory: pytest.TempPathFactory, locked_forge: Forge) -> Iterator[Proxy]:
    with running_proxy(tmp_path_factory.mktemp("club"), locked_forge.url, accessLog="stderr") as proxy:
        yield proxy


def post(proxy: Proxy, password: str, path: str = "/club/", **headers: str) -> Reply:
    body = f"password={urllib.parse.quote_plus(password)}".encode()
    return proxy.get("alice", path, {**FORM, **headers}, "POST", body)


def test_a_browser_logs_in_looks_around_and_logs_out(club: Proxy) -> None:
    asked = club.get("alice", "/club/", {"Accept": "text/html"})
    assert asked.status == 401
    assert b"inside" not in asked.body
    entered = post(club, PASSWORD, "/club/?page=2", Accept="text/html")
    assert (entered.status, entered.headers["location"]) == (303, "/club/?page=2")
    cookie = entered.headers["set-cookie"].partition(";")[0]
    page = club.get("alice", "/club/?page=2", {"Cookie": cookie})
    assert (page.status, page.body) == (200, b"inside")
    assert page.headers["cache-control"] == "private, no-cache"
    large = club.get("alice", "/club/a.bin", {"Cookie": cookie})
    assert (large.status, len(large.body), large.headers["cache-control"]) == (200, 3 << 20, "private, no-cache")
    asked = club.get("alice", "/.pages/logout", {"Cookie": cookie})
    assert (asked.status, asked.headers.get("set-cookie")) == (200, None)
    left = club.get("alice", "/.pages/logout", {"Cookie": cookie, **FORM}, "POST", b"")
    assert "Max-Age=0" in left.headers["set-cookie"]


def test_what_one_visitor_may_see_is_not_shown_to_the_next(club: Proxy) -> None:
    cookie = post(club, PASSWORD).headers["set-cookie"].partition(";")[0]
    for _ in range(3):
        assert club.get("alice", "/club/", {"Cookie": cookie}).status == 200
        assert club.get("alice", "/club/").status == 401
        assert club.get("alice", "/club/", {"Cookie": cookie + "0"}).status == 401


def test_over_https_the_cookie_says_so(club: Proxy) -> None:
    plain = post(club, PASSWORD).headers["set-cookie"]
    secure = post(club, PASSWORD, **{"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.9"}).headers[
        "set-cookie"
    ]
    assert "Secure" not in plain
    assert "Secure" in secure
    assert secure.startswith("__Host-")


def test_a_login_over_plain_http_is_none_over_https(club: Proxy) -> None:
    plain = post(club, PASSWORD).headers["set-cookie"].partition(";")[0]
    for _ in range(3):  # also once it is ready to be sent again
        assert club.get("alice", "/club/", {"Cookie": plain}).status == 200
        assert club.get("alice", "/club/", {"Cookie": plain, "X-Forwarded-Proto": "https"}).status == 401


def test_no_neighbour_embeds_what_its_reader_may_see(club: Proxy) -> None:
    cookie = post(club, PASSWORD).headers["set-cookie"].partition(";")[0]
    neighbour = {"Cookie": cookie, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}
    for _ in range(3):
        page = club.get("alice", "/club/", {"Cookie": cookie})
        assert (page.status, page.headers["cross-origin-resource-policy"]) == (200, "same-origin")
        assert "access-control-allow-origin" not in page.headers
        assert club.get("alice", "/club/", neighbour).status == 401
        assert club.get("alice", "/club/", {**neighbour, "Sec-Fetch-Mode": "navigate"}).status == 200


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"password=" + b"x" * 20_000, FORM, 413),
        (b"other=field", FORM, 401),
        (b"password=x", {"Content-Type": "text/plain"}, 401),
        (b"", FORM, 401),
        (bytes(5_000_000), {"Content-Type": "application/octet-stream"}, 401),
    ],
)
def test_what_is_no_login_is_refused(club: Proxy, body: bytes, headers: dict[str, str], status: int) -> None:
    reply = club.get("alice", "/club/", {**headers, "X-Forwarded-For": "192.0.2.77"}, "POST", body)
    assert reply.status == status
    assert b"inside" not in reply.body


def test_a_form_for_an_open_site_is_not_allowed(club: Proxy) -> None:
    assert post(club, "x", "/open/").status == 405


def test_guessing_is_slowed_for_the_one_who_guesses(club: Proxy) -> None:
    guesser = {"X-Forwarded-For": "192.0.2.66"}
    statuses = [post(club, f"guess {number}", **guesser).status for number in range(8)]
    assert statuses[:5] == [401] * 5
    assert 429 in statuses
    assert post(club, PASSWORD, **{"X-Forwarded-For": "198.51.100.5"}).status == 303


def test_passwords_are_in_no_log(club: Proxy) -> None:
    post(club, PASSWORD)
    assert PASSWORD not in club.log
    assert urllib.parse.quote_plus(PASSWORD) not in club.log
    assert "pages_auth" not in club.log
    assert f"alice.{PAGES_DOMAIN}" in club.log


def test_an_answer_that_is_ready_for_a_login_ends_with_it(tmp_path: Path) -> None:
    # Both ways to end one: its time is over, or the password is another.
    site = Site(tmp_path / "forge" / "alice" / "club.git", {".pages": SETTINGS, "public/index.html": b"inside"})
    with start_forge(tmp_path / "forge") as forge:
        options = {"cacheTTL": 3600, "webhookSecret": "hook", "authCookieDuration": 3}
        with running_proxy(tmp_path / "proxy", forge.url, **options) as proxy:

            def visit(cookie: str) -> int:
                return proxy.get("alice", "/club/", {"Cookie": cookie}).status

            cookie = post(proxy, PASSWORD).headers["set-cookie"].partition(";")[0]
            assert [visit(cookie) for _ in range(5)] == [200] * 5
            wait_until(lambda: visit(cookie) == 401, "the end of the login")
            cookie = post(proxy, PASSWORD).headers["set-cookie"].partition(";")[0]
            assert [visit(cookie) for _ in range(3)] == [200] * 3
            other = hashlib.sha256(b"another").hexdigest().encode()
            site.commit({".pages": b"password: " + other + b"\n"})
            body = b'{"repository": {"full_name": "alice/club"}}'
            signature = hmac.new(b"hook", body, "sha256").hexdigest()
            headers = {"Content-Type": "application/json", "X-Forgejo-Event": "push", "X-Forgejo-Signature": signature}
            assert proxy.get(PAGES_DOMAIN, "/.pages/webhook", headers, "POST", body).status == 202
            wait_until(lambda: visit(cookie) == 401, "the other password to count")
        site.close()
