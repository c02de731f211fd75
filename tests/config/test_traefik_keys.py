# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Routers as we write them, against those that the plugin wrote, and as Traefik reads them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from addon.settings.schema import Settings
from addon.shared.traefik_keys import Routers
from tests.config.traefik_reading import PLUGIN_REDIS, fill, read_tree, routers
from tests.resp.servers import Server, start_valkey

SERVICE_URL = "http://127.0.0.1:8080"
PLUGIN = frozenset({"pages-server@file"})
PLUGINS_KEYS = {row["key"]: row["value"].encode() for row in map(json.loads, PLUGIN_REDIS.read_text().splitlines())}
REDIRECTS = [f"redirects-redir-example-org-{number}@redis" for number in range(3)]


class Held:
    """Keys in memory, as a plan sees them."""

    def __init__(self, keys: dict[str, bytes]) -> None:
        self.keys = dict(keys)

    def __getitem__(self, name: str) -> bytes | None:
        return self.keys.get(name)

    def need(self, *names: str | None) -> None:
        """All is known already."""

    def apply(self, writes: dict[str, bytes | None]) -> None:
        for name, value in writes.items():
            if value is None:
                self.keys.pop(name, None)
            else:
                self.keys[name] = value

    def put(self, redis: Server) -> None:
        redis.ask("FLUSHALL")
        for name, value in self.keys.items():
            redis.ask("SET", name, value)


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    with start_valkey() as server:
        yield server


def made(**options: Any) -> Routers:
    defaults = {
        "pagesDomain": "pages.test",
        "forgejoHost": "http://127.0.0.1:1",
        "redisHost": "127.0.0.1",
        "stateDir": "/nowhere",
    }
    return Routers(Settings.from_mapping(defaults | options, environ={}))


@pytest.mark.parametrize("host", ["blog.example.org", "feature-x.blog.example.org", "redir.example.org"])
def test_a_router_is_the_plugins_byte_for_byte(host: str) -> None:
    name = f"traefik/http/routers/custom-{host.replace('.', '-')}/"
    theirs = {key: value for key, value in PLUGINS_KEYS.items() if key.startswith(name)}
    ours = made().written(Held({key: value for key, value in theirs.items() if "middlewares" in key}), host)
    assert ours == theirs
    # And once more, over what is there already.
    assert made().written(Held(PLUGINS_KEYS), host) == theirs


def test_the_pages_domains_own_router_is_the_plugins_too() -> None:
    theirs = {key: value for key, value in PLUGINS_KEYS.items() if "pages-domain-base" in key}
    assert made().base(Held({})) == theirs


def test_a_router_under_the_files_in_config_leads_to_this_server(redis: Server) -> None:
    held = Held({})
    held.apply(made(traefikServiceURL=SERVICE_URL).written(held, "www.example.net"))
    held.put(redis)
    (router,) = routers(redis).values()
    assert router.hosts == ["www.example.net"]
    assert (router.middlewares, router.url, router.resolver) == ([], SERVICE_URL, "letsencrypt-http")


def test_the_plugins_routers_are_turned_over_without_their_redirects(redis: Server) -> None:
    fill(redis)
    held, ours = Held(PLUGINS_KEYS), made(traefikServiceURL=SERVICE_URL)
    own = "traefik/http/routers/custom-redir-example-org/middlewares"
    held.apply({f"{own}/4": b"pages-server@file", f"{own}/3": b"their-own@file"})
    for host in ("blog.example.org", "dev.blog.example.org", "feature-x.blog.example.org", "redir.example.org"):
        held.apply(ours.written(held, host))
    held.apply(ours.base(held))
    held.keys["traefik/http/middlewares/their-own/x"] = b""
    left = [key for key in held.keys if "redirects-" in key or key.startswith("redirects_meta:")]
    assert left == []  # `.redirects` is read here
    assert [value for key, value in held.keys.items() if key.startswith(own)] == [b"their-own@file"]
    del held.keys[f"{own}/0"]
    held.put(redis)
    found = routers(redis)  # without the plugin
    assert {each.url for each in found.values()} == {SERVICE_URL}
    # And back again: the way back to the plugin, which loads its redirects anew.
    for host in ("blog.example.org", "dev.blog.example.org", "feature-x.blog.example.org", "redir.example.org"):
        held.apply(made().written(held, host))
    held.apply(made().base(held))
    del held.keys["traefik/http/services/pages/loadBalancer/servers/0/url"]
    del held.keys["traefik/http/middlewares/their-own/x"]
    theirs = {key: value for key, value in PLUGINS_KEYS.items() if "redirects" not in key and not key.startswith(own)}
    assert {key: value for key, value in held.keys.items() if not key.startswith(own)} == theirs
    assert [value for key, value in held.keys.items() if key.startswith(own)] == [b"pages-server@file"]


def test_while_visitors_go_to_the_plugin_its_redirects_stay_in_force() -> None:
    held = Held(PLUGINS_KEYS)
    router = "traefik/http/routers/custom-redir-example-org/middlewares"
    held.apply({f"{router}/0": b"pages-server@file"})  # as its next visit leaves it
    held.apply(made().written(held, "redir.example.org"))
    chain = [value.decode() for key, value in sorted(held.keys.items()) if key.startswith(router)]
    assert chain == [*REDIRECTS, "pages-server@file"]
    held.apply(made().removed(held, "redir.example.org"))
    assert not [key for key in held.keys if "redir" in key and "routers" in key]


def test_nothing_is_left_of_a_router_that_was_removed() -> None:
    held = Held(PLUGINS_KEYS)
    held.apply(made().removed(held, "redir.example.org"))
    left = [key for key in held.keys if "redir" in key and ("traefik" in key or "meta" in key)]
    assert left == []
    assert {key for key in PLUGINS_KEYS if "redir" not in key} <= held.keys.keys()


@pytest.mark.parametrize("order", [("a-b.com", "a.b.com"), ("a.b.com", "a-b.com")])
def test_hosts_that_differ_by_a_dash_have_a_router_each(redis: Server, order: tuple[str, str]) -> None:
    held, ours = Held({}), made()
    for host in (*order, *order):
        held.apply(ours.written(held, host))
    held.put(redis)
    assert sorted(router.hosts[0] for router in routers(redis, middlewares=PLUGIN).values()) == sorted(order)
    held.apply(ours.removed(held, order[0]))
    held.put(redis)
    assert [router.hosts[0] for router in routers(redis, middlewares=PLUGIN).values()] == [order[1]]
    held.apply(ours.removed(held, order[1]))
    assert held.keys == {}


@pytest.mark.parametrize(
    "host",
    ["a`) || HostRegexp(`.+", "a b.org", "a..org", "-a.org", "localhost", "", "ä.org", "a.org/x", "a" * 64 + ".org"],
)
def test_what_is_no_host_name_becomes_no_rule_and_removes_none(host: str) -> None:
    assert made().written(Held(PLUGINS_KEYS), host) == {}
    assert made().removed(Held(PLUGINS_KEYS), host) == {}


def test_a_router_follows_its_forward_key() -> None:
    held, ours = Held({"custom_domain:www.example.net": b"alice:blog"}), made()
    writes, has = ours.plan(held, "www.example.net")
    held.apply(writes)
    assert has
    assert held.keys["traefik/http/routers/custom-www-example-net/rule"] == b"Host(`www.example.net`)"
    assert ours.plan(held, "www.example.net") == ({}, True), "what is there is not written again"
    assert made(traefikRedisRouterTTL=60).plan(held, "www.example.net")[0].keys() == writes.keys(), "unless it expires"
    for nothing in (None, b"nonsense"):
        held.apply({"custom_domain:www.example.net": nothing})
        writes, has = ours.plan(held, "www.example.net")
        assert not has
        assert set(writes.values()) <= {None}
        held.apply(writes)
        assert [key for key in held.keys if key.startswith("traefik")] == []


@pytest.mark.parametrize("options", [{"traefikRedisRouterEnabled": False}, {"redisHost": ""}])
def test_nothing_is_written_for_who_has_no_traefik(options: dict[str, Any]) -> None:
    assert made(**options).written(Held({}), "www.example.net") == {}
    assert made(**options).base(Held({})) == {}


def test_root_resolver_and_life_are_the_operators(redis: Server) -> None:
    ours = made(traefikRedisRootKey="edge", traefikRedisCertResolver="own", traefikRedisRouterTTL=600)
    held = Held({})
    held.apply(ours.written(held, "www.example.net"))
    held.put(redis)
    assert read_tree(redis) == {}
    assert read_tree(redis, "edge")["http"]["routers"]["custom-www-example-net"]["tls"] == {"certResolver": "own"}
    assert ours.life == 600.0
