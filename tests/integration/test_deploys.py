# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Two real mitmdumps on one Valkey: a webhook at one of them, and both serve the new commit."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote_plus

import pytest

from addon.preview.forge import Forge
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.running import PAGES_DOMAIN, Proxy, Reply, running_proxy, two_proxies
from tests.resp.servers import Server, start_valkey
from tests.waiting import wait_until

SECRET = "a webhook's secret"
COMMON_KEY = "a key that all proxies have"
PATH = "/.pages/webhook"
PUBLIC_HOST = "git.test"


class Deployment(NamedTuple):
    """What a test has to do with."""

    proxies: tuple[Proxy, Proxy]
    site: Site
    redis: Server
    forge: Forge

    def push(self, body: bytes) -> bytes:
        self.site.commit({"public/index.html": body})
        return body


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deploys")
    site = Site(folder / "forge" / "alice" / "blog.git", {".pages": b"enabled: true\n", "public/index.html": b"First"})
    with start_forge(folder / "forge") as forge, start_valkey() as redis:
        options = {
            "webhookSecret": SECRET,
            "authSecretKey": COMMON_KEY,
            "forgejoPublicHost": PUBLIC_HOST,
        }
        with two_proxies(folder, forge.url, redis, **options) as proxies:
            yield Deployment(proxies, site, redis, forge)
    site.close()


def payload(name: str = "alice/blog") -> bytes:
    return json.dumps({"ref": "refs/heads/nothing", "after": "0" * 40, "repository": {"full_name": name}}).encode()


def signed(body: bytes, **more: str) -> dict[str, str]:
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "X-Forgejo-Event": "push", "X-Forgejo-Signature": digest, **more}


def deliver(proxy: Proxy, body: bytes, headers: dict[str, str], path: str = PATH, host: str = PAGES_DOMAIN) -> Reply:
    return proxy.get(host, path, headers, "POST", body)


def live_after(proxies: tuple[Proxy, ...], body: bytes, seconds: float = 5.0) -> float:
    """Seconds until all of them serve these bytes."""
    began = time.monotonic()
    for proxy in proxies:
        while proxy.get("alice", "/blog/").body != body:
            assert time.monotonic() - began < seconds, body
    return time.monotonic() - began


FORMS = ["forgejo", "gitea", "github", "form"]


@pytest.mark.parametrize("form", FORMS)
def test_after_a_webhook_every_proxy_serves_the_new_commit_within_a_second(deployment: Deployment, form: str) -> None:
    for proxy in deployment.proxies:
        assert proxy.get("alice", "/blog/").status == 200
    body = deployment.push(f"After {form}".encode())
    told = payload()
    headers = signed(told)
    if form == "gitea":
        headers["X-Gitea-Event"], headers["X-Gitea-Signature"] = "create", headers.pop("X-Forgejo-Signature")
    if form == "github":
        headers["X-Hub-Signature-256"] = "sha256=" + headers.pop("X-Forgejo-Signature")
    if form == "form":
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        told = b"payload=" + quote_plus(told).encode()
    began = time.monotonic()
    reply = deliver(deployment.proxies[0], told, headers)
    assert (reply.status, time.monotonic() - began < 0.5) == (202, True)
    assert live_after(deployment.proxies, body) < 1


REFUSED = [
    # headers taken from a right delivery and changed, body, status
    ({"X-Forgejo-Signature": ""}, payload(), 401),
    ({"X-Forgejo-Signature": "sha1=abc"}, payload(), 401),
    ({"X-Forgejo-Signature": "0" * 64}, payload(), 403),
    ({}, b"{}", 400),
    ({}, b'{"repository": {"full_name": "../.."}}', 400),
    ({}, b'{"repository": []}', 400),
    ({}, b"[" * 50_000, 400),
    ({}, b"", 400),
    ({"Content-Type": "application/x-www-form-urlencoded"}, payload(), 403),
]


@pytest.mark.parametrize(("changed", "body", "status"), REFUSED)
def test_what_is_no_delivery_of_ours_changes_nothing(
    deployment: Deployment, changed: dict[str, str], body: bytes, status: int
) -> None:
    before = deployment.redis.ask("GET", "~pages:epoch:alice/blog")
    assert deliver(deployment.proxies[0], body, signed(body) | changed).status == status
    assert deployment.redis.ask("GET", "~pages:epoch:alice/blog") == before


def test_a_delivery_elsewhere_is_no_delivery(deployment: Deployment) -> None:
    body = payload()
    for host, path in (("alice", PATH), (PAGES_DOMAIN, f"{PATH}/"), (PAGES_DOMAIN, "/webhook"), ("x.test", PATH)):
        assert deliver(deployment.proxies[0], body, signed(body), path, host).status in (301, 404, 405)
    assert deployment.proxies[0].get(PAGES_DOMAIN, PATH).status == 404


def test_a_body_above_the_limit_is_refused_by_its_length(deployment: Deployment) -> None:
    with deployment.proxies[0].connect() as connection:
        digest = "0" * 64
        connection.sendall(
            f"POST {PATH} HTTP/1.1\r\nHost: {PAGES_DOMAIN}\r\nX-Forgejo-Signature: {digest}\r\n"
            f"Content-Length: {26 * 1024 * 1024 + 1}\r\nConnection: close\r\n\r\n".encode()
        )
        connection.sendall(b"x" * 1000)
        assert b" 413 " in connection.recv(4096)


def test_a_write_to_forgejo_through_a_proxy_is_seen_before_any_webhook(deployment: Deployment) -> None:
    for proxy in deployment.proxies:
        assert proxy.get("alice", "/blog/").status == 200
    body = deployment.push(b"Passed through")
    with deployment.forge.fault("git-receive-pack", status=200, body=b""):
        reply = deployment.proxies[1].get(PUBLIC_HOST, "/alice/blog.git/git-receive-pack", {}, "POST", b"0000")
    assert reply.status == 200
    assert live_after(deployment.proxies, body) < 1
    epochs = ("MGET", "~pages:epoch:", "~pages:epoch:alice/blog")
    before = deployment.redis.ask(*epochs)
    with deployment.forge.fault("", method="POST", status=303, headers=(("Location", "/"),), body=b""):
        assert deployment.proxies[1].get(PUBLIC_HOST, "/user/login", {}, "POST", b"a=b").status == 303
    assert deployment.redis.ask(*epochs) == before


def test_a_cold_proxy_serves_a_known_site_without_forgejo(deployment: Deployment, tmp_path: Path) -> None:
    body = deployment.proxies[0].get("alice", "/blog/").body
    name = f"~pages:blob:{deployment.site.blob_id(body)}"
    wait_until(lambda: deployment.redis.ask("EXISTS", name) == 1, "the page in Redis")
    with running_proxy(
        tmp_path,
        "http://127.0.0.1:1",
        redisHost=deployment.redis.host,
        redisPort=deployment.redis.port,
        authSecretKey=COMMON_KEY,  # else what Redis says of who may see a site would have to be asked of Forgejo
    ) as proxy:
        reply = proxy.get("alice", "/blog/")
        assert (reply.status, reply.body) == (200, body)


def test_without_a_secret_there_is_no_webhook(deployment: Deployment, tmp_path: Path) -> None:
    with running_proxy(tmp_path, deployment.forge.url) as proxy:
        body = payload()
        assert deliver(proxy, body, signed(body)).status in (404, 405)


def test_a_webhook_works_without_redis_too(deployment: Deployment, tmp_path: Path) -> None:
    with running_proxy(tmp_path, deployment.forge.url, webhookSecret=SECRET) as proxy:
        proxy.get("alice", "/blog/")
        body = deployment.push(b"Alone")
        told = payload()
        assert deliver(proxy, told, signed(told)).status == 202
        assert live_after((proxy,), body) < 1
