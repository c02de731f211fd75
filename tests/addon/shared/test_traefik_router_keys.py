# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Routers as we write them, against those that the plugin wrote, and as Traefik reads them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from addon.domains.transactions import planned
from addon.settings.schema import Settings
from addon.shared.traefik_router_keys import Routers
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

    def apply(self, writes: Mapping[str, bytes | None]) -> None:
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


HOST = "www.example.net"
ROUTER = "traefik/http/routers/custom-www-example-net"
MIDDLEWARES = "traefik/http/middlewares/redirects-www-example-net"
REGEX = "redirectRegex/regex"


def chain(held: Held, name: str = ROUTER) -> list[bytes]:
    """The middlewares of a router, in the order of their numbers."""
    found = {int(key.rpartition("/")[2]): value for key, value in held.keys.items() if f"{name}/middlewares/" in key}
    assert sorted(found) == list(range(len(found)))
    return [found[number] for number in sorted(found)]


def with_chain(*values: bytes) -> Held:
    return Held({f"{ROUTER}/middlewares/{number}": value for number, value in enumerate(values)})


def test_a_router_that_leads_here_is_all_that_traefik_needs() -> None:
    assert made(traefikServiceURL=SERVICE_URL).written(Held({}), HOST) == {
        f"{ROUTER}/rule": b"Host(`www.example.net`)",
        f"{ROUTER}/entryPoints/0": b"web",
        f"{ROUTER}/entryPoints/1": b"websecure",
        f"{ROUTER}/service": b"pages",
        f"{ROUTER}/tls/certResolver": b"letsencrypt-http",
        f"{ROUTER}/priority": b"10",
        "traefik/http/services/pages/loadBalancer/servers/0/url": SERVICE_URL.encode(),
    }


@pytest.mark.parametrize("number", [0, 1, 2, 3, 100])
def test_what_stands_before_the_plugin_stays_there_once_and_in_order(number: int) -> None:
    own = [b"m%d@file" % each for each in range(number)]
    for before in (own, [*own, b"pages-server@file"][:101], [*own, *own[:1]][:101]):
        held = with_chain(*before)
        held.apply(made().written(held, HOST))
        assert chain(held) == [*own, b"pages-server@file"]


def test_of_more_middlewares_than_the_plugin_makes_a_hundred_and_one_are_kept() -> None:
    own = [b"m%d@file" % each for each in range(102)]
    for number in (101, 102):
        held = with_chain(*own[:number])
        held.apply(made().written(held, HOST))
        assert chain(held) == [*own[:101], b"pages-server@file"]


def test_middlewares_behind_a_gap_are_no_part_of_the_chain() -> None:
    held = Held({f"{ROUTER}/middlewares/0": b"a@file", f"{ROUTER}/middlewares/5": b"f@file"})
    held.apply(made().written(held, HOST))
    assert held.keys[f"{ROUTER}/middlewares/5"] == b"f@file"
    assert held.keys[f"{ROUTER}/middlewares/1"] == b"pages-server@file"


@pytest.mark.parametrize(
    ("before", "redirects", "after"),
    [
        ((b"pages-server@file", b"other@file"), True, [b"redirects-www-example-net-0@redis", b"other@file"]),
        ((b"pages-server@file", b"other@file"), False, [b"other@file"]),
        ((b"other@file", b"pages-server@file"), True, [b"other@file"]),
        ((b"pages-server@file",), True, []),
    ],
)
def test_the_first_redirect_is_put_back_where_the_plugin_wrote_over_it(
    before: tuple[bytes, ...], redirects: bool, after: list[bytes]
) -> None:
    held = with_chain(*before)
    if redirects:
        held.apply({f"{MIDDLEWARES}-0/{REGEX}": b"x"})
    held.apply(made().written(held, HOST))
    assert chain(held) == [*after, b"pages-server@file"]


def test_where_routers_lead_here_no_redirect_of_the_plugins_stays_in_the_chain() -> None:
    own = (b"redirects-www-example-net-0@redis", b"a@file", b"redirects-other-0@redis", b"a@file", b"pages-server@file")
    held = with_chain(*own)
    held.apply({f"{MIDDLEWARES}-{number}/{REGEX}": b"x" for number in range(4)})
    held.apply(made(traefikServiceURL=SERVICE_URL).written(held, HOST))
    assert chain(held) == [b"a@file", b"redirects-other-0@redis"]
    # Three of the chain are gone: as many redirects may have been its.
    assert [number for number in range(4) if f"{MIDDLEWARES}-{number}/{REGEX}" in held.keys] == [3]


@pytest.mark.parametrize(
    ("meta", "count"),
    [(None, 1), (b"count=3", 3), (b"count=0", 1), (b"count=99999", 1), (b"count=9999", 100), (b"3", 1), (b"", 1)],
)
def test_as_many_redirects_go_with_a_router_as_it_has_or_the_plugin_counted(meta: bytes | None, count: int) -> None:
    options = ("regex", "replacement", "permanent")
    held = with_chain(b"pages-server@file")
    held.apply({f"{ROUTER}/rule": b"Host(`www.example.net`)", f"redirects_meta:{HOST}": meta})
    gone = made().removed(held, HOST)
    assert set(gone.values()) == {None}
    wanted = {f"{MIDDLEWARES}-{number}/redirectRegex/{option}" for number in range(count) for option in options}
    assert {key for key in gone if key.startswith(MIDDLEWARES)} == wanted
    assert (f"redirects_meta:{HOST}" in gone) == (meta is not None)


def test_all_options_of_a_router_go_with_it_and_those_of_no_other() -> None:
    rule = {f"{ROUTER}/rule": b"Host(`www.example.net`)"}
    options = ("rule", "entryPoints/0", "entryPoints/1", "service", "tls/certResolver", "priority")
    for number in (0, 1, 3):
        held = with_chain(*(b"m%d@file" % each for each in range(number)))
        held.apply(rule)
        gone = made().removed(held, HOST)
        routers_keys = {key for key in gone if "/routers/" in key}
        middlewares = {f"{ROUTER}/middlewares/{each}" for each in range(max(1, number))}
        assert routers_keys == {f"{ROUTER}/{option}" for option in options} | middlewares
    assert made().removed(Held({f"{ROUTER}/rule": b"Host(`www-example.net`)"}), HOST) == {}
    assert made().removed(Held({}), HOST) == {}
    both = Held(rule)
    own = made()._names(HOST)[1]
    both.apply({f"traefik/http/routers/{own}/rule": b"Host(`www.example.net`)"})
    both.apply(made().removed(both, HOST))
    assert both.keys == {}


def test_a_router_keeps_the_name_that_it_has() -> None:
    own = made()._names(HOST)[1]
    assert own == "custom-www-example-net_" + hashlib.sha256(HOST.encode()).hexdigest()[:12]
    mine, others = b"Host(`www.example.net`)", b"Host(`www-example.net`)"
    for plain, second, name in (
        (None, None, "custom-www-example-net"),
        (mine, None, "custom-www-example-net"),
        (others, None, own),
        (others, mine, own),
        (None, mine, own),
        (mine, mine, own),
    ):
        held = Held({})
        held.apply({f"{ROUTER}/rule": plain, f"traefik/http/routers/{own}/rule": second})
        assert f"traefik/http/routers/{name}/service" in made().written(held, HOST)


def test_a_rule_of_ours_tells_its_host() -> None:
    assert (
        Routers.host_of(b"Host(`www.example.net`)") == made().host_of(b"Host(`www.example.net`)") == "www.example.net"
    )
    for other in (None, b"", b"Host(`a`) || Host(`b`)", b"Path(`/`)", b"Host(`\xff`)"):
        assert Routers.host_of(other) is None


def test_only_what_changes_is_written_and_what_expires_again() -> None:
    held = Held({})
    ours, expiring = made(), made(traefikRedisRouterTTL=60)
    writes, wanted = ours.base_plan(held)
    assert wanted
    held.apply(writes)
    assert ours.base_plan(held) == ({}, True)
    assert expiring.base_plan(held) == (writes, True)
    held.apply({"traefik/http/routers/pages-domain-base/priority": b"1"})
    assert ours.base_plan(held) == ({"traefik/http/routers/pages-domain-base/priority": b"10"}, True)
    assert made(traefikRedisRouterEnabled=False).base_plan(Held({})) == ({}, False)
    # What is not there and is not to be needs no writing, whatever the life of the rest.
    held = with_chain(b"a@file", b"pages-server@file")
    held.apply(expiring.written(held, HOST))
    held.apply({f"custom_domain:{HOST}": b"alice:blog", f"redirects_meta:{HOST}": None})
    assert None not in expiring.plan(held, HOST)[0].values()


def test_a_usual_router_is_planned_in_few_reads() -> None:
    for options, keys, reads in (
        ({}, {}, 2),
        ({"traefikServiceURL": SERVICE_URL}, {}, 2),
        ({}, {f"{ROUTER}/middlewares/0": b"pages-server@file"}, 2),
        ({}, {f"{ROUTER}/middlewares/{number}": b"m%d@file" % number for number in range(2)}, 3),
    ):
        held = Held({f"custom_domain:{HOST}": b"alice:blog", **keys})
        asked: list[tuple[str, ...]] = []

        def read(names: tuple[str, ...], held: Held = held, asked: list[tuple[str, ...]] = asked) -> list[bytes | None]:
            asked.append(names)
            return [held[name] for name in names]

        planned(lambda view, options=options: made(**options).plan(view, HOST), read)
        assert len(asked) == reads, asked


@pytest.mark.parametrize("options", [{"redisCluster": True}, {"redisHost": ""}, {"traefikRedisRouterEnabled": False}])
def test_routers_are_for_one_server(options: dict[str, Any]) -> None:
    assert made().enabled
    assert not made(**options).enabled


def test_the_longest_host_name_has_a_router() -> None:
    longest = ".".join(["a" * 63] * 3 + ["b" * 57, "net"])
    assert len(longest) == 253
    assert made().written(Held({}), longest)
    assert made().written(Held({}), "a" + longest) == made().written(Held({}), "a." + longest) == {}
