# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""From an edit of `.pages` and a push to the new host, at two real mitmdumps on one Valkey, and back again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.running import Proxy, running_proxy, two_proxies
from tests.integration.test_deploys import SECRET, deliver, payload, signed
from tests.resp.servers import Server, start_valkey

HOST = "blog.example.org"


class Shop(NamedTuple):
    """What a test has to do with."""

    proxies: tuple[Proxy, Proxy]
    alices: Site
    mallorys: Site
    redis: Server

    def push(self, site: Site, pages: str) -> None:
        """A push, and what Forgejo's webhook tells the first of the proxies."""
        site.commit({".pages": pages.encode()})
        told = payload("/".join(site.path.with_suffix("").parts[-2:]))
        assert deliver(self.proxies[0], told, signed(told)).status == 202

    def everywhere(self, host: str, status: int, body: bytes | None = None) -> None:
        """Wait until all proxies answer so."""
        for proxy in self.proxies:
            proxy.comes_to(status, host, body=body)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("domains")
    alices = Site(folder / "forge" / "alice" / "blog.git", {".pages": b"", "public/index.html": b"Alice"})
    mallorys = Site(folder / "forge" / "mallory" / "evil.git", {".pages": b"", "public/index.html": b"Mallory"})
    alices.commit({"public/index.html": b"Alice on dev"}, branch="dev")
    with (
        start_forge(folder / "forge") as forge,
        start_valkey() as redis,
        two_proxies(folder, forge.url, redis, webhookSecret=SECRET) as proxies,
    ):
        yield Shop(proxies, alices, mallorys, redis)
    alices.close()
    mallorys.close()


def test_a_domain_comes_with_a_push_and_goes_with_one(shop: Shop) -> None:
    shop.everywhere(HOST, 404)
    shop.push(shop.alices, f"custom_domain: {HOST}\nenable_branches: [dev]\n")
    shop.everywhere(HOST, 200, b"Alice")
    shop.everywhere(f"dev.{HOST}", 200, b"Alice on dev")
    shop.push(shop.mallorys, f"custom_domain: {HOST}\n")
    shop.push(shop.mallorys, "custom_domain: mallory.example.org\n")
    shop.everywhere("mallory.example.org", 200, b"Mallory")
    shop.everywhere(HOST, 200, b"Alice")
    shop.push(shop.alices, f"custom_domain: {HOST}\n")
    shop.everywhere(f"dev.{HOST}", 404)
    shop.push(shop.alices, "enabled: true\n")
    shop.everywhere(HOST, 404)
    assert shop.redis.ask("EXISTS", f"custom_domain:{HOST}", "alice:blog", "~pages:domains:alice/blog") == 0
    for proxy in shop.proxies:
        assert "Traceback" not in proxy.log


def test_a_visit_is_enough_where_there_is_neither_redis_nor_webhook(shop: Shop, tmp_path: Path) -> None:
    shop.alices.commit({".pages": b"custom_domain: alone.example.org\n"})
    with start_forge(shop.alices.path.parent.parent) as forge, running_proxy(tmp_path, forge.url) as proxy:
        assert proxy.get("alice", "/blog/").status == 200
        proxy.comes_to(200, "alone.example.org", body=b"Alice")
        assert proxy.stop() == 0
        assert "Traceback" not in proxy.log
