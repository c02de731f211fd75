# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Proofs, discoveries, and what becomes of the domains of a site that is in trouble, gone, or not public any more."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from addon.domains.store import DomainStore
from addon.preview.forge import Forge
from addon.shared.domain_mappings import Mapping
from tests.addon.domains.registering import Dns, MakeProxy, Owners, blog_at, blog_says, keys_of
from tests.config.traefik_reading import PLUGIN_REDIS, fill
from tests.resp.servers import Server
from tests.waiting import until

HOST = "blog.example.org"
PAGES = f"custom_domain: {HOST}\nenable_branches: [dev]\n"
VERIFIED = {"enableCustomDomainDNSVerification": True}


# Proofs.


async def test_without_its_proof_a_domain_is_refused_with_the_record_that_is_missing(
    proxy: MakeProxy, owners: Owners
) -> None:
    node = await blog_at(proxy(None, Dns(), **VERIFIED), owners, PAGES, branches=("dev",))
    report = node.registry.report("alice", "blog")
    assert report is not None
    assert report.refused[HOST] == f"TXT at {HOST} is missing"
    assert f"its domain {HOST}" in report.refused[f"dev.{HOST}"]
    assert [name async for name in node.store.names("")] == []


async def test_with_its_proof_a_domain_and_its_branches_are_registered(
    redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    node = await blog_at(proxy(redis, Dns({(HOST, "alice/blog"): True}), **VERIFIED), owners, PAGES, branches=("dev",))
    assert await node.shows(HOST) == "alice:blog"
    assert await node.shows(f"dev.{HOST}") == "alice:blog:dev"
    record = json.loads(keys_of(redis)["~pages:domains:alice/blog"])
    assert record["hosts"][HOST]["proven"] == "TXT"


async def test_a_proof_of_a_domain_is_one_for_its_www_too(redis: Server, proxy: MakeProxy, owners: Owners) -> None:
    owners.push("alice/blog", PAGES)
    dns = Dns({(HOST, "alice/blog"): True}, leads=dict.fromkeys((HOST, f"www.{HOST}", f"x.{HOST}"), False))
    node = proxy(redis, dns, **VERIFIED)
    await node.visit("alice", "/blog/")
    hosts = (HOST, f"www.{HOST}", f"x.{HOST}")
    assert [await node.registry.may_have_certificate(host) for host in hosts] == [True, True, False]


async def test_nobody_can_prove_anything_where_nobody_can_ask_dns(proxy: MakeProxy, owners: Owners) -> None:
    node = await blog_at(proxy(None, None, **VERIFIED), owners, PAGES)
    assert await node.shows(HOST) is None
    anybody = proxy(None, None)
    await anybody.visit("alice", "/blog/")
    assert await anybody.shows(HOST) == "alice:blog"


@pytest.mark.parametrize("by", ["proof", "name"])
async def test_who_proves_a_domain_displaces_who_cannot(
    redis: Server, proxy: MakeProxy, owners: Owners, by: str
) -> None:
    owners.push("mallory/evil", PAGES, branches=("dev",))
    owners.push("alice/blog", PAGES, branches=("dev",))
    dns = Dns()
    node = proxy(redis, dns)
    await node.visit("mallory", "/evil/")
    await node.visit("alice", "/blog/")
    assert await node.shows(HOST) == "mallory:evil"
    if by == "proof":
        dns.proofs[HOST, "alice/blog"] = True
    else:
        dns.named[HOST] = (Mapping("alice", "blog"),)
    await node.pushed("alice/blog")
    found = keys_of(redis)
    del found["~pages:domains:alice/blog"]
    assert found == {
        f"custom_domain:{HOST}": "alice:blog",
        "alice:blog": HOST,
        f"custom_domain:dev.{HOST}": "alice:blog:dev",
        "alice:blog:branch:dev": f"dev.{HOST}",
    }
    await node.pushed("mallory/evil")
    assert await node.shows(HOST) == "alice:blog"


@pytest.mark.parametrize("holder", [True, None])
async def test_a_proof_of_the_holder_or_no_word_about_it_keeps_it(
    proxy: MakeProxy, owners: Owners, holder: bool | None
) -> None:
    owners.push("bob/site", f"custom_domain: {HOST}\n")
    owners.push("alice/blog", f"custom_domain: {HOST}\n")
    node = proxy(None, Dns({(HOST, "alice/blog"): True, (HOST, "bob/site"): holder}))
    await node.visit("bob", "/site/")
    await node.visit("alice", "/blog/")
    assert await node.shows(HOST) == "bob:site"


async def test_where_proofs_are_demanded_a_name_in_dns_alone_takes_nothing_away(
    proxy: MakeProxy, owners: Owners
) -> None:
    owners.push("bob/site", f"custom_domain: {HOST}\n")
    owners.push("alice/blog", f"custom_domain: {HOST}\n")
    dns = Dns({(HOST, "bob/site"): True}, named={HOST: (Mapping("alice", "blog"),)})
    node = proxy(None, dns, **VERIFIED)
    await node.visit("bob", "/site/")
    dns.proofs.clear()
    await node.visit("alice", "/blog/")
    assert await node.shows(HOST) == "bob:site"


async def test_dns_that_does_not_answer_takes_nothing_and_gives_nothing(proxy: MakeProxy, owners: Owners) -> None:
    owners.push("alice/blog", f"custom_domain: {HOST}\n")
    dns = Dns({(HOST, "alice/blog"): True})
    node = proxy(None, dns, **VERIFIED)
    await node.visit("alice", "/blog/")
    dns.proofs[HOST, "alice/blog"] = None
    owners.push("alice/blog", f"custom_domain: [{HOST}, new.example.org]\n")
    dns.proofs["new.example.org", "alice/blog"] = None
    await node.pushed("alice/blog")
    assert await node.shows(HOST) == "alice:blog"
    assert await node.shows("new.example.org") is None


# Hosts that nobody has registered.


async def test_a_host_that_names_its_site_in_dns_is_registered_by_its_first_visitor(
    redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    owners.push("alice/blog", f"custom_domain: {HOST}\n")
    node = proxy(
        redis, Dns(named={HOST: (Mapping("alice", "blog"),), "other.example.org": (Mapping("alice", "blog"),)})
    )
    page = await node.get(HOST, "/")
    assert (page.status, page.body) == (200, b"<h1>alice/blog</h1>")
    assert keys_of(redis)[f"custom_domain:{HOST}"] == "alice:blog"
    assert (await node.get("other.example.org", "/")).status == 404, "its .pages does not name it"
    assert (await node.get("third.example.org", "/")).status == 404


# Trouble.

TROUBLE: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "502 of a front server": {"status": 502, "body": b"<h1>Bad Gateway</h1>"},
    "401": {"status": 401},
    "403": {"status": 403},
    "429": {"status": 429},
    "time-out": {"hang": True},
    "no connection": {"drop": True},
    "404 of a front server": {
        "status": 404,
        "headers": (("Content-Type", "text/html"),),
        "body": b"<h1>Not Found</h1>",
    },
    "404 while the version is no answer": {"pattern": "/api/v1/version", "status": 502},
    "half an answer": {"truncate": 20},
}


@pytest.mark.parametrize("kind", TROUBLE)
async def test_trouble_removes_nothing(
    redis: Server, proxy: MakeProxy, owners: Owners, forge: Forge, kind: str
) -> None:
    site = owners.push("alice/blog", PAGES, branches=("dev",))
    node = proxy(redis, forgejoTimeout="300ms", releaseGrace=0)
    await node.visit("alice", "/blog/")
    before = keys_of(redis)
    assert f"custom_domain:{HOST}" in before
    if "version" in kind:
        site.close()
        shutil.rmtree(owners.folder / "alice" / "blog.git")
    else:
        owners.push("alice/blog", "enabled: true\n")
    with forge.fault(**({"pattern": "/api/v1/"} | TROUBLE[kind])) as fault:
        report = await node.pushed("alice/blog")
        await node.visit("alice", "/blog/")
        fresh = proxy(redis, forgejoTimeout="300ms", releaseGrace=0)
        await fresh.pushed("alice/blog")
    assert fault.used > 0
    assert report is not None
    assert not report.released
    assert keys_of(redis) == before


async def test_a_branch_that_cannot_be_asked_for_stays(
    redis: Server, proxy: MakeProxy, owners: Owners, forge: Forge
) -> None:
    node = await blog_at(proxy(redis), owners, PAGES, branches=("dev", "new"))
    owners.push("alice/blog", f"custom_domain: {HOST}\nenable_branches: [dev, new]\n")
    with forge.fault("/branches/(dev|new)", status=503):
        await node.pushed("alice/blog")
        assert await node.shows(f"dev.{HOST}") == "alice:blog:dev"
        assert await node.shows(f"new.{HOST}") is None
    await node.pushed("alice/blog")
    assert await node.shows(f"new.{HOST}") == "alice:blog:new"


@pytest.mark.parametrize("how", ["deleted", "private"])
async def test_a_repository_that_is_gone_keeps_its_domains_for_the_grace_and_no_longer(
    redis: Server, proxy: MakeProxy, owners: Owners, forge: Forge, how: str
) -> None:
    site = owners.push("alice/blog", PAGES, branches=("dev",))
    owners.push("bob/site", f"custom_domain: {HOST}\n")
    node = proxy(redis)
    await node.visit("alice", "/blog/")
    assert (await node.get(HOST, "/")).status == 200
    if how == "deleted":
        site.close()
        shutil.rmtree(owners.folder / "alice" / "blog.git")
    else:
        forge.settings("alice/blog").private = True
    await node.pushed("alice/blog")
    assert (await node.get(HOST, "/")).status == 404
    record = json.loads(keys_of(redis)["~pages:domains:alice/blog"])
    assert record["gone"] > 0
    node.skipped += 86_000
    await node.pushed("bob/site")
    assert await node.shows(HOST) == "alice:blog"
    node.skipped += 500
    await node.pushed("bob/site")
    assert await node.shows(HOST) == "bob:site"
    assert {name for name in keys_of(redis) if "alice" in name or "dev" in name} == set()


async def test_what_is_gone_is_freed_though_nobody_comes(redis: Server, proxy: MakeProxy, owners: Owners) -> None:
    owners.push("alice/blog", PAGES, branches=("dev",)).close()
    node = proxy(redis, releaseGrace=1)
    await node.visit("alice", "/blog/")
    shutil.rmtree(owners.folder / "alice" / "blog.git")
    await node.pushed("alice/blog")
    assert await node.shows(HOST) == "alice:blog"
    await until(lambda: keys_of(redis) == {}, "its domains are free")


async def test_what_comes_back_within_the_grace_has_its_domains(
    redis: Server, proxy: MakeProxy, owners: Owners, forge: Forge
) -> None:
    node = await blog_at(proxy(redis), owners, PAGES, branches=("dev",))
    before = keys_of(redis)
    forge.settings("alice/blog").private = True
    await node.pushed("alice/blog")
    assert keys_of(redis) != before
    forge.settings("alice/blog").private = False
    await node.pushed("alice/blog")
    assert keys_of(redis) == before


# Redis.


async def test_what_is_registered_while_redis_is_away_is_written_when_it_is_back(
    own_redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    owners.push("alice/blog", PAGES, branches=("dev",))
    owners.push("bob/site", "custom_domain: bob.example.org\n")
    node = proxy(own_redis, traefikRedisRouterEnabled=True)
    await node.visit("bob", "/site/")
    own_redis.kill()
    await node.visit("alice", "/blog/")
    assert (await node.get(HOST, "/")).status == 200
    assert (await node.get("bob.example.org", "/")).status == 200
    own_redis.start()
    await until(lambda: not node.store.owes, "what is owed")
    found = keys_of(own_redis)
    assert found[f"custom_domain:{HOST}"] == "alice:blog"
    assert found[f"custom_domain:dev.{HOST}"] == "alice:blog:dev"
    assert found["alice:blog"] == HOST
    assert found["traefik/http/routers/custom-blog-example-org/rule"] == f"Host(`{HOST}`)"
    assert "~pages:domains:alice/blog" in found
    # Redis came back empty: what it lost is registered anew by the visitors of those hosts.
    assert (await node.get("bob.example.org", "/")).status == 200


async def test_what_the_plugin_registered_is_adopted_and_released(
    redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    fill(redis)
    owners.push("alice/blog", PAGES, branches=("dev", "feature/x"))
    owners.push("alice/redir", "custom_domain: redir.example.org\n")
    before = keys_of(redis)
    node = proxy(redis, pagesDomain="pages.test", traefikRedisRouterEnabled=True)
    assert (await node.get(HOST, "/")).status == 200
    await node.quiet()
    assert await node.shows(f"feature-x.{HOST}") is None, "its .pages names that branch no longer"
    await node.visit("alice", "/redir/")
    found = keys_of(redis)
    changed = {name for name in before.keys() | found.keys() if before.get(name) != found.get(name)}
    router = "traefik/http/routers/custom-feature-x-blog-example-org/"
    assert {name for name in changed if not name.startswith(router)} == {
        f"custom_domain:feature-x.{HOST}",
        "alice:blog:branch:feature/x",
        "~pages:domains:alice/blog",
        "~pages:domains:alice/redir",
    }
    assert not [name for name in found if name.startswith(router)]
    await blog_says(node, owners, "enabled: true\n")
    left = {name for name in keys_of(redis) if "blog" in name and not name.startswith(("password:", "alice:blog:"))}
    assert left == set()
    assert PLUGIN_REDIS.exists()


async def test_a_router_is_there_with_its_domain_and_goes_with_it(
    redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    owners.push("alice/blog", "custom_domain: a-b.com\n")
    owners.push("bob/site", "custom_domain: a.b.com\n")
    node = proxy(redis, traefikRedisRouterEnabled=True, traefikServiceURL="http://10.0.0.1:8080")
    await node.visit("alice", "/blog/")
    await node.visit("bob", "/site/")
    rules = sorted(value for name, value in keys_of(redis).items() if name.endswith("/rule"))
    assert rules == ["Host(`a-b.com`)", "Host(`a.b.com`)", "Host(`pages.test`)"]
    assert keys_of(redis)["traefik/http/services/pages/loadBalancer/servers/0/url"] == "http://10.0.0.1:8080"
    await blog_says(node, owners, "enabled: true\n")
    rules = sorted(value for name, value in keys_of(redis).items() if name.endswith("/rule"))
    assert rules == ["Host(`a.b.com`)", "Host(`pages.test`)"]


async def test_routers_that_end_are_written_anew_before_they_do(
    redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    await blog_at(
        proxy(redis, traefikRedisRouterEnabled=True, traefikRedisRouterTTL=2), owners, f"custom_domain: {HOST}\n"
    )
    router = "traefik/http/routers/custom-blog-example-org/rule"
    first = redis.ask("PEXPIRETIME", router)
    assert isinstance(first, int)
    assert first > 0

    def later() -> bool:
        now = redis.ask("PEXPIRETIME", router)
        assert isinstance(now, int)
        assert now > 0, "it ended"
        return now > first

    await until(later, "it is written anew")


def test_a_store_without_redis_says_so() -> None:
    assert not DomainStore(None).shared


# A name that somebody else has taken.


@pytest.mark.parametrize("proven", [True, False])
async def test_a_repository_made_anew_under_an_old_name_inherits_nothing_without_a_proof_of_its_own(
    redis: Server, proxy: MakeProxy, owners: Owners, forge: Forge, proven: bool
) -> None:
    forge.settings("alice/blog").id = 100
    owners.push("alice/blog", PAGES, branches=("dev",))
    dns = Dns({(HOST, "alice/blog"): True})
    node = proxy(redis, dns, **VERIFIED)
    await node.visit("alice", "/blog/")
    assert json.loads(keys_of(redis)["~pages:domains:alice/blog"])["id"] == 100
    await node.aclose()
    redis.ask("DEL", "~pages:repo:alice/blog", "~pages:ref:alice/blog@main")
    forge.settings("alice/blog").id = 200
    dns.proofs[HOST, "alice/blog"] = proven
    node = proxy(redis, dns, **VERIFIED)
    await node.visit("alice", "/blog/")
    if proven:
        assert await node.shows(f"dev.{HOST}") == "alice:blog:dev"
        assert json.loads(keys_of(redis)["~pages:domains:alice/blog"])["id"] == 200
    else:
        assert keys_of(redis) == {}


async def test_what_another_version_keeps_is_left_alone(redis: Server, proxy: MakeProxy, owners: Owners) -> None:
    owners.push("alice/blog", PAGES, branches=("dev",))
    redis.ask("MSET", "~pages:domains:alice/blog", '{"v":2}', f"custom_domain:{HOST}", "alice:blog")
    before = keys_of(redis)
    node = proxy(redis, releaseGrace=0)
    await node.visit("alice", "/blog/")
    await blog_says(node, owners, "enabled: true\n")
    assert keys_of(redis) == before
    owners.push("alice/other", "custom_domain: other.example.org\n")
    await node.pushed("alice/other")
    assert await node.shows("other.example.org") == "alice:other"
