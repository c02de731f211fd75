# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Routers follow their mappings in a real Valkey and Redis, in one step each."""

from pathlib import Path

import pytest

from addon.domains.traefik_routers import TraefikRouters
from addon.settings.schema import Settings
from tests.addon.domains.conftest import MakeStore
from tests.addon.domains.registering import Dns, MakeProxy, Owners
from tests.config.traefik_reading import read_tree, routers
from tests.resp.servers import Server
from tests.waiting import until

PLUGIN = frozenset({"pages-server@file"})


def following(store_of: MakeStore, redis: Server, folder: Path, **options: object) -> TraefikRouters:
    mapping = {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1", "stateDir": str(folder)}
    address = {"redisHost": redis.host, "redisPort": redis.port}
    return TraefikRouters(Settings.from_mapping({**mapping, **address, **options}, environ={}), store_of(redis))


async def test_routers_come_and_go_with_mappings(store_of: MakeStore, redis: Server, tmp_path: Path) -> None:
    each = following(store_of, redis, tmp_path)
    redis.ask("SET", "custom_domain:www.example.net", "alice:blog")
    redis.ask("SET", "custom_domain:dev.www.example.net", "alice:blog:dev")
    await each.publish_pages_domain()
    await each.publish(["www.example.net", "dev.www.example.net", "nobodys.example.net"])
    found = routers(redis, middlewares=PLUGIN)
    assert set(found) == {"custom-www-example-net", "custom-dev-www-example-net", "pages-domain-base"}
    await each.withdraw(["www.example.net"])
    assert set(routers(redis, middlewares=PLUGIN)) == set(found), "it shows something still"
    redis.ask("DEL", "custom_domain:www.example.net")
    await each.withdraw(["www.example.net"])
    assert set(routers(redis, middlewares=PLUGIN)) == {"custom-dev-www-example-net", "pages-domain-base"}


async def test_traefik_never_sees_half_a_router(store_of: MakeStore, redis: Server, tmp_path: Path) -> None:
    each = following(store_of, redis, tmp_path)
    redis.ask("SET", "custom_domain:www.example.net", "alice:blog")
    with redis.console() as console:
        console.ask("CONFIG", "SET", "notify-keyspace-events", "KEA")
        console.send("PSUBSCRIBE", "__keyspace*:traefik*")
        console.read()
        assert await each.follow("www.example.net") is True
        told = console.read()  # Traefik looks at the first it hears of
        assert isinstance(told, list)
    (router,) = routers(redis, middlewares=PLUGIN).values()
    assert router.hosts == ["www.example.net"]


async def test_a_router_lives_as_long_as_it_is_told_to(store_of: MakeStore, redis: Server, tmp_path: Path) -> None:
    each = following(store_of, redis, tmp_path, traefikRedisRouterTTL=600)
    redis.ask("SET", "custom_domain:www.example.net", "alice:blog")
    await each.publish(["www.example.net"])
    assert redis.ask("TTL", "custom_domain:www.example.net") == -1
    for option in ("rule", "entryPoints/0", "service", "middlewares/0"):
        life = redis.ask("TTL", f"traefik/http/routers/custom-www-example-net/{option}")
        assert isinstance(life, int)
        assert 590 <= life <= 600


async def test_without_traefik_nothing_is_written(store_of: MakeStore, redis: Server, tmp_path: Path) -> None:
    each = following(store_of, redis, tmp_path, traefikRedisRouterEnabled=False)
    redis.ask("SET", "custom_domain:www.example.net", "alice:blog")
    await each.publish_pages_domain()
    await each.publish(["www.example.net"])
    await each.withdraw(["www.example.net"])
    assert read_tree(redis) == {}


async def test_what_redis_missed_it_gets_when_it_is_back(
    store_of: MakeStore, own_redis: Server, tmp_path: Path
) -> None:
    each = following(store_of, own_redis, tmp_path)
    own_redis.ask("SET", "custom_domain:www.example.net", "alice:blog")
    own_redis.pause()
    await each.publish(["www.example.net"])
    own_redis.resume()
    await until(lambda: routers(own_redis, middlewares=PLUGIN), "a router")
    assert set(routers(own_redis, middlewares=PLUGIN)) == {"custom-www-example-net"}


ROUTERS = {"traefikRedisRouterEnabled": True}
BANK = "www.victim-bank.example"


async def test_a_host_that_dns_leads_elsewhere_gets_no_router(redis: Server, proxy: MakeProxy, owners: Owners) -> None:
    dns = Dns(leads={BANK: False})
    owners.push("mallory/site", f"custom_domain: [{BANK}, www.example.net]\n")
    node = proxy(redis, dns, **ROUTERS)
    report = await node.pushed("mallory/site")
    assert report is not None
    assert report.elsewhere == (BANK,)
    assert any("DNS does not lead it here" in line for line in report.lines)
    assert await node.shows(BANK) == "mallory:site", "who comes here by it is served all the same"
    assert not await node.registry.may_have_certificate(BANK)
    assert set(routers(redis, middlewares=PLUGIN)) - {"pages-domain-base"} == {"custom-www-example-net"}
    # Later it does, or a record proves it.
    dns.leads[BANK] = True
    report = await node.pushed("mallory/site")
    assert report is not None
    assert report.elsewhere == ()
    assert "custom-www-victim-bank-example" in routers(redis, middlewares=PLUGIN)


@pytest.mark.parametrize("leads", [False, None])
async def test_a_proof_stands_for_where_dns_leads(
    leads: bool | None, redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    hosts = ("www.example.net", "dev.www.example.net")
    dns = Dns(proofs={("www.example.net", "alice/blog"): True}, leads=dict.fromkeys(hosts, leads))
    owners.push("alice/blog", "custom_domain: www.example.net\nenable_branches: [dev]\n", branches=("dev",))
    node = proxy(redis, dns, **ROUTERS)
    report = await node.pushed("alice/blog")
    assert report is not None
    assert report.elsewhere == ()
    assert all([await node.registry.may_have_certificate(host) for host in hosts])
    assert set(routers(redis, middlewares=PLUGIN)) >= {"custom-www-example-net", "custom-dev-www-example-net"}


async def test_silence_of_dns_takes_nothing_away(redis: Server, proxy: MakeProxy, owners: Owners) -> None:
    dns = Dns()
    owners.push("alice/blog", "custom_domain: www.example.net\n")
    node = proxy(redis, dns, **ROUTERS)
    await node.pushed("alice/blog")
    assert await node.registry.may_have_certificate("www.example.net")
    dns.leads["www.example.net"] = None
    assert await node.registry.may_have_certificate("www.example.net")
    dns.leads["www.example.net"] = False
    assert not await node.registry.may_have_certificate("www.example.net")
    dns.leads["www.example.net"] = None
    assert not await node.registry.may_have_certificate("www.example.net")
