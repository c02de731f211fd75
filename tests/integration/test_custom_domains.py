# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Custom domains through a running server: a Redis that the Traefik plugin filled, and what people try to take."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from addon.commands.cli import main
from addon.preview.forge import Forge
from tests.addon.domains.name_server import name_server
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.config.traefik_reading import PLUGIN_REDIS, fill, routers
from tests.integration.running import PAGES_DOMAIN, Proxy, running_proxy, write_config
from tests.resp.servers import Server, start_valkey
from tests.waiting import wait_until

SERVICE_URL = "http://127.0.0.1:8080"
FORGE_HOST = "git.victim.test"
VICTIM = "www.victim.test"


# A Redis that the plugin filled.


class Moved(NamedTuple):
    """A server that was put in the plugin's place."""

    proxy: Proxy
    redis: Server
    folder: Path


@pytest.fixture(scope="module")
def moved(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    folder = tmp_path_factory.mktemp("moved")
    with start_valkey() as redis:
        fill(redis)
        options = {"redisHost": redis.host, "redisPort": redis.port, "traefikServiceURL": SERVICE_URL}
        with running_proxy(folder, forge.url, **options) as proxy:
            yield Moved(proxy, redis, folder)


@pytest.mark.parametrize(
    ("host", "title"),
    [
        ("blog.example.org", "Blog, second"),
        ("dev.blog.example.org", "Blog on dev"),
        ("feature-x.blog.example.org", "Feature x"),
        ("BLOG.Example.ORG:443", "Blog, second"),
    ],
)
def test_what_the_plugin_registered_is_served_at_once(moved: Moved, host: str, title: str) -> None:
    reply = moved.proxy.get(host)
    assert reply.status == 200
    assert f"<h1>{title}</h1>" in reply.text


def test_other_pages_of_the_domain_are_there_too(moved: Moved) -> None:
    assert moved.proxy.get("blog.example.org", "/css/style.css").body == b"h1 { color: teal }\n"
    missing = moved.proxy.get("blog.example.org", "/nothing")
    assert (missing.status, "Nothing here" in missing.text) == (404, True)
    assert moved.proxy.get("unknown.example.org").status == 404


def test_none_of_the_plugins_keys_is_lost_and_its_routers_lead_here_after_sync(moved: Moved) -> None:
    moved.proxy.get("alice", "/blog/")
    plugins = {row["key"]: row["value"] for row in map(json.loads, PLUGIN_REDIS.read_text().splitlines())}
    mappings = [
        key for key in plugins if key.startswith(("custom_domain:", "alice:blog:branch:")) or key == "alice:blog"
    ]
    redirects = [key for key in plugins if "/middlewares/redirects-" in key or key.startswith("redirects_meta:")]
    config = write_config(
        moved.folder,
        "http://127.0.0.1:1",
        moved.proxy.port,
        redisHost=moved.redis.host,
        redisPort=moved.redis.port,
        traefikServiceURL=SERVICE_URL,
    )
    assert main(["domains", "sync", "--config", str(config)]) == 0
    for key in mappings:
        assert moved.redis.ask("GET", key) == plugins[key].encode(), key
    assert redirects
    assert all(moved.redis.ask("EXISTS", key) == 0 for key in redirects)  # `.redirects` is read here
    found = routers(moved.redis)  # without the plugin
    assert {each.url for each in found.values()} == {SERVICE_URL}
    assert len(found) == 5


# Those who want what is not theirs.


class Town(NamedTuple):
    """A server with an honest site that has its domain, and a forge on which anybody may have an account."""

    proxy: Proxy
    redis: Server
    root: Path

    def names(self, owner: str, name: str, pages: str) -> None:
        """Somebody's repository names a domain, and is visited until that is settled."""
        files = {".pages": pages.encode(), "public/index.html": b"<h1>Mallory</h1>"}
        site = Site(self.root / owner / f"{name}.git", files)
        site.commit({"public/dev.html": b"dev"}, branch="www", parent=site.head())
        site.close()
        said = f"{owner}/{name}: "
        wait_until(lambda: self._visited(owner, name) and said in self.proxy.log, f"a word on {said}")

    def _visited(self, owner: str, name: str) -> bool:
        assert self.proxy.get(owner if "." in owner else f"{owner}.{PAGES_DOMAIN}", f"/{name}/").status == 200
        return True

    def stored(self) -> dict[str, bytes]:
        """All that says what a host shows, and all of Traefik's."""
        with self.redis.console() as console:
            found = console.ask("KEYS", "*")
            assert isinstance(found, list)
            cached = (b"~pages:", b"password:")
            names = [key.decode() for key in found if isinstance(key, bytes) and not key.startswith(cached)]
            values = {name: console.ask("GET", name) for name in names}
        return {name: value for name, value in values.items() if isinstance(value, bytes)}

    def is_unharmed(self, *more: str) -> None:
        """Whoever has his domain has it still. more: hosts that others may have by now."""
        assert "<h1>Victim</h1>" in self.proxy.get(VICTIM).text
        assert self.redis.ask("GET", f"custom_domain:{VICTIM}") == b"victim:site"
        assert all(router.hosts[0] in (VICTIM, PAGES_DOMAIN, *more) for router in routers(self.redis).values())


@contextlib.contextmanager
def new_town(folder: Path) -> Iterator[Town]:
    root = folder / "forge"
    files = {".pages": f"custom_domain: {VICTIM}\n".encode(), "public/index.html": b"<h1>Victim</h1>"}
    Site(root / "victim" / "site.git", files).close()
    with start_forge(root) as forge, start_valkey() as redis, name_server() as names:
        # All of these names lead here, so what keeps a router away from anybody is not that.
        names.zone = {(f"*.{zone}", "A"): ["192.0.2.1"] for zone in ("test", "victim.test", "bank.test")}
        options = {
            "redisHost": redis.host,
            "redisPort": redis.port,
            "dnsResolvers": [names.address],
            "traefikServiceURL": SERVICE_URL,
            "forgejoPublicHost": FORGE_HOST,
            "reservedDomains": ["bank.test"],
            "claimableDomains": ["victim.test"],  # beside the forge, and somebody's all the same
        }
        with running_proxy(folder / "proxy", forge.url, **options) as proxy:
            assert proxy.get("victim", "/site/").status == 200
            rules = [f"traefik/http/routers/{name}/rule" for name in ("pages-domain-base", "custom-www-victim-test")]
            wait_until(lambda: redis.ask("EXISTS", *rules) == 2, "a domain, and all routers")
            yield Town(proxy, redis, root)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """One for all who get nothing."""
    with new_town(tmp_path_factory.mktemp("town")) as town:
        yield town


@pytest.fixture
def own_town(tmp_path: Path) -> Iterator[Town]:
    """One for a test after which hosts belong to somebody else."""
    with new_town(tmp_path) as town:
        yield town


def test_a_visit_is_all_that_a_domain_takes(town: Town) -> None:
    town.is_unharmed()
    assert town.stored()["victim:site"] == VICTIM.encode()
    assert town.proxy.get("victim.test", "/a?b").headers["location"] == f"http://{VICTIM}/a?b"


def test_an_owner_called_custom_domain_takes_nobodys_domain(own_town: Town) -> None:
    # S1: the reverse key of custom_domain/www.victim.test would be the victim's forward key.
    own_town.names("custom_domain", VICTIM, "custom_domain: 'attacker:evil'\n")
    own_town.is_unharmed()
    own_town.names("custom_domain", "other.test", "custom_domain: mine.test\n")
    wait_until(lambda: own_town.redis.ask("GET", "custom_domain:mine.test"), "mallory's own domain")
    own_town.is_unharmed("mine.test")
    assert "custom_domain:other.test" not in own_town.stored()


@pytest.mark.parametrize(
    "name",
    [
        "'a`) || HostRegexp(`.+'",  # S2: into a rule of Traefik's
        "'a.test`) || Host(`www.victim.test'",
        "'x/../y.test'",
        f"'*.{PAGES_DOMAIN}'",
        PAGES_DOMAIN,  # S11: whatever is somebody else's
        f"victim.{PAGES_DOMAIN}",
        FORGE_HOST,
        "login.bank.test",
        "co.uk",
        "localhost",
        "127.0.0.1",
        VICTIM,
        f"{VICTIM.upper()}.",
    ],
)
def test_a_name_that_is_not_the_sites_to_have_is_refused(town: Town, name: str, tmp_path: Path) -> None:
    before = town.stored()
    town.names("mallory", tmp_path.name, f"custom_domain: {name}\n")
    town.is_unharmed()
    assert town.stored() == before


def test_no_branch_has_the_www_of_a_domain_or_anybodys_name(own_town: Town) -> None:
    # S12. The bare domain may be his, the first to name it; what is below it is his only by its own name.
    own_town.names("mallory", "site", "custom_domain: victim.test\nenable_branches: [www]\n")
    own_town.is_unharmed("victim.test")


def test_a_name_that_must_be_proven_and_is_not_goes_to_nobody(tmp_path: Path) -> None:
    # S13: the hash that the plugin takes for a proof is anybody's to compute; what counts is what DNS says.
    root = tmp_path / "forge"
    files = {".pages": f"custom_domain: {VICTIM}\n".encode(), "public/index.html": b"<h1>Mallory</h1>"}
    Site(root / "mallory" / "site.git", files).close()
    with start_forge(root) as forge, start_valkey() as redis:
        options = {"redisHost": redis.host, "redisPort": redis.port, "enableCustomDomainDNSVerification": True}
        with running_proxy(tmp_path / "proxy", forge.url, **options, dnsResolvers=["127.0.0.1"]) as proxy:
            assert proxy.get("mallory", "/site/").status == 200
            wait_until(lambda: f"{VICTIM} is refused" in proxy.log, "a word of it")
            assert redis.ask("EXISTS", f"custom_domain:{VICTIM}", "mallory:site") == 0
            assert proxy.get(VICTIM).status == 404
