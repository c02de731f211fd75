# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What sites register and give up, in front of a forge: who gets a name, who keeps it, and what takes nothing away."""

from __future__ import annotations

import asyncio
import json

import pytest

from addon.preview.forge import Forge
from tests.addon.domains.registering import Dns, MakeProxy, Owners, Word, blog_at, blog_says, keys_of
from tests.resp.servers import Server
from tests.waiting import until

HOST = "blog.example.org"


def without_record(redis: Server) -> dict[str, str]:
    return {name: value for name, value in keys_of(redis).items() if not name.startswith("~pages:")}


async def test_a_visit_on_the_pages_domain_registers_what_the_plugin_would_write(
    redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    pages = "custom_domain: Blog.Example.ORG\nenable_branches: [dev, feature/x]\n"
    owners.push("Alice/Blog", pages, branches=("dev", "feature/x"))
    node = proxy(redis)
    assert await node.visit("alice", "/blog/") == 200
    assert without_record(redis) == {
        "custom_domain:blog.example.org": "Alice:Blog",
        "Alice:Blog": "blog.example.org",
        "custom_domain:dev.blog.example.org": "Alice:Blog:dev",
        "Alice:Blog:branch:dev": "dev.blog.example.org",
        "custom_domain:feature-x.blog.example.org": "Alice:Blog:feature/x",
        "Alice:Blog:branch:feature/x": "feature-x.blog.example.org",
    }
    record = json.loads(keys_of(redis)["~pages:domains:alice/blog"])
    assert record["v"] == 1
    assert list(record["hosts"]) == [HOST, f"dev.{HOST}", f"feature-x.{HOST}"]


async def test_a_push_registers_though_nobody_was_there(proxy: MakeProxy, owners: Owners) -> None:
    owners.push("alice/blog", f"custom_domain: {HOST}\n")
    node = proxy(None)
    report = await node.pushed("alice/blog")
    assert report is not None
    assert report.lines == (f"alice/blog: {HOST} is registered",)
    assert await node.shows(HOST) == "alice:blog"


async def test_a_cached_page_registers_what_was_refused_before(proxy: MakeProxy, owners: Owners) -> None:
    dns = Dns()
    node = await blog_at(proxy(None, dns, enableCustomDomainDNSVerification=True), owners, f"custom_domain: {HOST}\n")
    assert await node.shows(HOST) is None
    dns.proofs[HOST, "alice/blog"] = True
    node.skipped += 11
    page = await node.get("alice", "/blog/")
    assert (page.cache, page.at_once) == ("HIT", True)
    await node.quiet()
    assert await node.shows(HOST) == "alice:blog"


async def test_what_pages_names_no_longer_is_free_at_the_next_look(
    redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    node = await blog_at(
        proxy(redis), owners, f"custom_domain: {HOST}\nenable_branches: [dev, old]\n", branches=("dev", "old")
    )
    report = await blog_says(node, owners, f"custom_domain: {HOST}\nenable_branches: [dev]\n")
    assert report is not None
    assert report.released == (f"old.{HOST}",)
    assert "alice:blog:branch:old" not in keys_of(redis)
    await blog_says(node, owners, "custom_domain: other.example.org\nenable_branches: [dev]\n")
    assert without_record(redis) == {
        "custom_domain:other.example.org": "alice:blog",
        "alice:blog": "other.example.org",
        "custom_domain:dev.other.example.org": "alice:blog:dev",
        "alice:blog:branch:dev": "dev.other.example.org",
    }
    await blog_says(node, owners, "enabled: true\n")
    assert keys_of(redis) == {}


async def test_a_site_without_a_pages_file_gives_all_up_and_one_that_is_disabled_nothing(
    redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    node = await blog_at(proxy(redis), owners, f"custom_domain: {HOST}\n")
    await blog_says(node, owners, f"enabled: false\ncustom_domain: {HOST}\n")
    assert await node.shows(HOST) == "alice:blog"
    await blog_says(node, owners, "custom_domain: [unclosed\n")
    assert await node.shows(HOST) == "alice:blog"
    await blog_says(node, owners, None)
    assert keys_of(redis) == {}


async def test_a_branch_that_is_deleted_frees_its_host(redis: Server, proxy: MakeProxy, owners: Owners) -> None:
    site = owners.push("alice/blog", f"custom_domain: {HOST}\nenable_branches: [dev]\n", branches=("dev",))
    node = proxy(redis)
    await node.visit("alice", "/blog/")
    assert await node.shows(f"dev.{HOST}") == "alice:blog:dev"
    site.delete_branch("dev")
    report = await node.pushed("alice/blog")
    assert report is not None
    assert report.refused == {f"dev.{HOST}": "there is no branch dev"}
    assert await node.shows(f"dev.{HOST}") is None
    assert await node.shows(HOST) == "alice:blog"


async def test_a_domain_that_was_set_by_hand_stays_and_has_the_branches(
    redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    redis.ask("SET", f"custom_domain:{HOST}", "alice:blog")
    node = await blog_at(proxy(redis), owners, f"custom_domain: {HOST}\nenable_branches: [dev]\n", branches=("dev",))
    assert [await node.shows(host) for host in (HOST, f"dev.{HOST}")] == ["alice:blog", "alice:blog:dev"]


async def test_a_host_that_another_site_was_given_by_hand_stays_there_when_ours_gives_it_up(
    redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    node = await blog_at(proxy(redis), owners, f"custom_domain: [{HOST}, old.example.org]\n")
    redis.ask("SET", f"custom_domain:{HOST}", "bob:site")
    await blog_says(node, owners, "enabled: true\n")
    assert await node.shows(HOST) == "bob:site"
    assert await node.shows("old.example.org") is None


async def test_of_many_domains_the_first_has_the_reverse_key_and_the_branches(
    redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    pages = "custom_domain: [a.example.org, www.b.example.org]\nenable_branches: [dev]\n"
    owners.push("alice/blog", pages, branches=("dev",))
    await proxy(redis).visit("alice", "/blog/")
    assert without_record(redis) == {
        "custom_domain:a.example.org": "alice:blog",
        "alice:blog": "a.example.org",
        "custom_domain:www.b.example.org": "alice:blog",
        "custom_domain:dev.a.example.org": "alice:blog:dev",
        "alice:blog:branch:dev": "dev.a.example.org",
    }


@pytest.mark.parametrize(
    ("pages", "refused"),
    [
        ("custom_domain: 'a`) || HostRegexp(`.+'", "a`) || HostRegexp(`.+"),  # S2
        ("custom_domain: attacker:evil", "attacker:evil"),  # S1
        ("custom_domain: pages.test", "pages.test"),  # S11
        ("custom_domain: bob.pages.test", "bob.pages.test"),
        ("custom_domain: co.uk", "co.uk"),
        ("custom_domain: www.bank.example", "www.bank.example"),
        ("custom_domain: git.example", "git.example"),
        (f"custom_domain: {HOST}\nenable_branches: [www]", f"www.{HOST}"),  # S12
        (f"custom_domain: {HOST}\nenable_branches: [gone]", f"gone.{HOST}"),
        (f"custom_domain: {HOST}\nenable_branches: ['x y']", f"xy.{HOST}"),
        ("enable_branches: [dev]", "dev"),
        (f"custom_domain: {HOST}\nenable_branches: [a/b, a-b]", "a-b"),
        (f"custom_domain: [{HOST}, a-b.{HOST}]\nenable_branches: [a/b]", "a/b"),
    ],
)
async def test_what_no_site_may_have_is_refused_and_written_nowhere(
    redis: Server, proxy: MakeProxy, owners: Owners, pages: str, refused: str
) -> None:
    owners.push("alice/blog", f"{pages}\n", branches=("www", "dev", "a-b"))
    owners.push("alice/blog", f"{pages}\n", branches=("a/b",)) if "a/b," not in pages else None
    node = proxy(redis, reservedDomains=["bank.example"], forgejoPublicHost="git.example")
    await node.visit("alice", "/blog/")
    report = node.registry.report("alice", "blog")
    assert report is not None
    assert refused in report.refused
    assert all("refused" in line for line in report.lines if refused in line)
    assert f"custom_domain:{refused}" not in keys_of(redis)
    assert not [name for name in keys_of(redis) if "`" in name or name.startswith("traefik")]
    assert set(report.held) <= {HOST, f"a-b.{HOST}"}


async def test_an_owner_called_custom_domain_writes_nobodys_domain(
    redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    owners.push("victim/site", "custom_domain: www.victim.com\n")
    owners.push("custom_domain/www.victim.com", "custom_domain: attacker.example.org\n")
    node = proxy(redis)
    await node.visit("victim", "/site/")
    before = keys_of(redis)
    await node.pushed("custom_domain/www.victim.com")
    after = keys_of(redis)
    assert after["custom_domain:www.victim.com"] == "victim:site"
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {
        "custom_domain:attacker.example.org",
        "~pages:domains:custom_domain/www.victim.com",
    }
    owners.push("custom_domain/www.victim.com", "enabled: true\n")
    await node.pushed("custom_domain/www.victim.com")
    assert keys_of(redis) == before


async def test_the_first_to_come_keeps_a_domain(proxy: MakeProxy, owners: Owners) -> None:
    owners.push("alice/blog", f"custom_domain: {HOST}\n")
    owners.push("bob/blog", f"custom_domain: {HOST}\nenable_branches: [dev]\n", branches=("dev",))
    node = proxy(None)
    await node.visit("alice", "/blog/")
    await node.visit("bob", "/blog/")
    assert await node.shows(HOST) == "alice:blog"
    assert await node.shows(f"dev.{HOST}") is None
    report = node.registry.report("bob", "blog")
    assert report is not None
    assert report.refused[HOST] == "it shows alice/blog"


async def test_a_branch_never_takes_a_domain_that_is_registered(proxy: MakeProxy, owners: Owners) -> None:
    owners.push("bob/shop", "custom_domain: shop.example.org\n")
    owners.push("alice/blog", "custom_domain: example.org\nenable_branches: [shop]\n", branches=("shop",))
    node = proxy(None)
    await node.visit("bob", "/shop/")
    await node.visit("alice", "/blog/")
    assert await node.shows("example.org") == "alice:blog"
    assert await node.shows("shop.example.org") == "bob:shop"


async def test_who_gave_a_domain_up_does_not_block_it(proxy: MakeProxy, owners: Owners) -> None:
    owners.push("alice/blog", f"custom_domain: {HOST}\n")
    owners.push("bob/blog", f"custom_domain: {HOST}\n")
    node = proxy(None)
    await node.visit("alice", "/blog/")
    owners.push("alice/blog", "enabled: true\n")
    node.skipped += 400  # the look at alice's is old
    await node.visit("bob", "/blog/")
    assert await node.shows(HOST) == "bob:blog"


async def test_case_makes_no_other_site(redis: Server, proxy: MakeProxy, owners: Owners) -> None:
    owners.push("Bob/R", f"custom_domain: {HOST}\n")
    redis.ask("MSET", f"custom_domain:{HOST}", "bob:r", "bob:r", HOST)  # as the plugin did after a visit of /r/
    node = proxy(redis)
    await node.visit("BOB", "/R/")
    report = node.registry.report("bob", "r")
    assert report is not None
    assert (dict(report.refused), list(report.held)) == ({}, [HOST])
    owners.push("Bob/R", "enabled: true\n")
    await node.pushed("bob/r")
    assert keys_of(redis) == {}


async def test_what_was_set_by_hand_is_the_operators(redis: Server, proxy: MakeProxy, owners: Owners) -> None:
    owners.push("alice/blog", f"custom_domain: {HOST}\n")
    owners.push("bob/blog", f"custom_domain: {HOST}\n")
    redis.ask("SET", f"custom_domain:{HOST}", "alice:blog")
    redis.ask("SET", "custom_domain:hand.example.org", "alice:blog")
    dns = Dns({(HOST, "bob/blog"): True})
    node = proxy(redis, dns)
    before = keys_of(redis)
    await node.visit("alice", "/blog/")
    await node.visit("bob", "/blog/")
    assert keys_of(redis) == before
    await blog_says(node, owners, "enabled: true\n")
    assert keys_of(redis) == before
    await blog_says(node, owners, "custom_domain: own.example.org\n")  # and what is theirs is registered as ever
    assert await node.shows("own.example.org") == "alice:blog"


async def test_a_renamed_repository_takes_its_domains_along(
    redis: Server, proxy: MakeProxy, owners: Owners, forge: Forge
) -> None:
    pages = f"custom_domain: {HOST}\nenable_branches: [dev]\n"
    site = owners.push("alice/blog", pages, branches=("dev",))
    node = proxy(redis)
    await node.visit("alice", "/blog/")
    site.close()
    (owners.folder / "alice" / "blog.git").rename(owners.folder / "alice" / "weblog.git")
    forge.registry.rename("alice/blog", "alice/weblog")
    await node.registration.purge(("alice", "blog"))
    await node.quiet()
    await node.visit("alice", "/weblog/")
    await node.quiet()
    assert without_record(redis) == {
        f"custom_domain:{HOST}": "alice:weblog",
        "alice:weblog": HOST,
        f"custom_domain:dev.{HOST}": "alice:weblog:dev",
        "alice:weblog:branch:dev": f"dev.{HOST}",
    }


async def test_a_repository_that_is_asked_for_by_its_former_name_keeps_and_gives_up_its_domains(
    redis: Server, proxy: MakeProxy, owners: Owners, forge: Forge
) -> None:
    owners.push("alice/blog", f"custom_domain: [{HOST}, old.example.org]\n").close()
    node = proxy(redis)
    await node.visit("alice", "/blog/")
    (owners.folder / "alice" / "blog.git").rename(owners.folder / "alice" / "weblog.git")
    forge.registry.rename("alice/blog", "alice/weblog")
    owners.push("alice/weblog", f"custom_domain: {HOST}\n")
    await node.aclose()
    redis.ask("DEL", "~pages:repo:alice/blog", "~pages:ref:alice/blog@main")
    node = proxy(redis)  # one that has not known it before
    await node.pushed("alice/blog")
    assert without_record(redis) == {f"custom_domain:{HOST}": "alice:weblog", "alice:weblog": HOST}
    owners.push("alice/weblog", "enabled: true\n")
    await node.pushed("alice/blog")
    assert keys_of(redis) == {}


async def test_a_long_list_is_cut_and_said_in_few_lines(
    proxy: MakeProxy, owners: Owners, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    names = ", ".join(f"a{number}.example.org" for number in range(130))
    node = await blog_at(proxy(None), owners, f"custom_domain: [{names}]\n")
    report = node.registry.report("alice", "blog")
    assert report is not None
    assert len(report.held) == 100
    assert report.refused["a129.example.org"] == "a site may have 100 domains"
    assert len([record for record in caplog.records if record.name == "addon.domains.registry"]) == 21


async def test_what_the_plugin_wrote_in_capitals_is_put_right(redis: Server, proxy: MakeProxy, owners: Owners) -> None:
    owners.push("alice/blog", "custom_domain: Blog.Example.org\n")
    redis.ask("MSET", "custom_domain:Blog.Example.org", "alice:blog", "alice:blog", "Blog.Example.org")
    node = proxy(redis)
    await node.visit("alice", "/blog/")
    assert without_record(redis) == {f"custom_domain:{HOST}": "alice:blog", "alice:blog": HOST}
    await blog_says(node, owners, "enabled: true\n")
    assert keys_of(redis) == {}


async def test_a_site_that_names_many_domains_of_others_asks_about_few(proxy: MakeProxy, owners: Owners) -> None:
    dns = Dns()
    names = [f"a{number}.example.org" for number in range(30)]
    for number, name in enumerate(names):
        owners.push(f"victim/site{number}", f"custom_domain: {name}\n")
    owners.push("mallory/evil", f"custom_domain: [{', '.join(names)}]\n")
    node = proxy(None, dns)
    for number in range(30):
        await node.visit("victim", f"/site{number}/")
    node.dns, dns.asked = dns, 0
    await node.visit("mallory", "/evil/")
    report = node.registry.report("mallory", "evil")
    assert report is not None
    assert len(report.refused) == 30
    assert dns.asked <= 15


async def test_an_owner_has_no_more_hosts_than_the_operator_allows(
    redis: Server, proxy: MakeProxy, owners: Owners
) -> None:
    owners.push("alice/blog", "custom_domain: [a.example.org, b.example.org]\n")
    owners.push("alice/site", "custom_domain: [c.example.org, d.example.org]\n")
    owners.push("bob/site", "custom_domain: [e.example.org]\n")
    node = proxy(redis, None, maxDomainsPerOwner=3)
    for name in ("alice/blog", "alice/site", "bob/site"):
        await node.pushed(name)
    shown = [await node.shows(f"{letter}.example.org") for letter in "abcde"]
    assert shown == ["alice:blog", "alice:blog", "alice:site", None, "bob:site"]
    report = node.registry.report("alice", "site")
    assert report is not None
    assert "maxDomainsPerOwner" in report.refused["d.example.org"]
    # What is registered stays under a smaller number, and room that is made is to be had.
    smaller = proxy(redis, None, maxDomainsPerOwner=1)
    await smaller.pushed("alice/blog")
    assert await smaller.shows("b.example.org") == "alice:blog"
    owners.push("alice/blog", "custom_domain: [a.example.org]\n")
    for name in ("alice/blog", "alice/site"):
        await node.pushed(name)
    assert await node.shows("d.example.org") == "alice:site"


class Silent(Dns):
    """A DNS that never answers about names of one owner, and at once about all others."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()

    async def proof(self, domain: str, owner: str, repository: str, repository_id: int, before: str = "") -> Word:
        if owner == "mallory":
            await self.answers.wait()
            return Word(None)
        return await super().proof(domain, owner, repository, repository_id, before)


async def test_a_zone_that_never_answers_holds_up_its_owners_sites_alone(proxy: MakeProxy, owners: Owners) -> None:
    dns = Silent()
    dns.proofs[HOST, "alice/blog"] = True
    for number in range(9):
        owners.push(f"mallory/r{number}", f"custom_domain: [a{number}.silent.test, b{number}.silent.test]\n")
    owners.push("alice/blog", f"custom_domain: {HOST}\n")
    node = proxy(None, dns, enableCustomDomainDNSVerification=True)
    for number in range(9):
        assert (await node.get("mallory", f"/r{number}/")).status == 200
    assert (await node.get("alice", "/blog/")).status == 200
    registry = node.registry
    await until(lambda: registry.report("alice", "blog") is not None, "alice's domain")
    assert await node.shows(HOST) == "alice:blog"
    assert registry._turns.busy == 2  # of mallory's, the others wait for them
    assert registry._turns.waiting == 7
    dns.answers.set()
    await node.quiet()


async def test_what_is_refused_again_is_asked_about_less_and_less_often(proxy: MakeProxy, owners: Owners) -> None:
    dns = Dns()
    owners.push("alice/blog", f"custom_domain: {HOST}\n")
    node = proxy(None, dns, enableCustomDomainDNSVerification=True)
    asked: list[int] = []
    for _ in range(60):  # ten minutes of visits, one every ten seconds
        await node.visit("alice", "/blog/")
        asked.append(dns.asked)
        node.skipped += 10.5
    assert asked[-1] - asked[0] <= 8
    await node.pushed("alice/blog")  # but a push asks at once
    assert dns.asked > asked[-1]
