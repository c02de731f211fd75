# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Custom domains and branch hosts as visitors see them, with the mappings in a real Redis or Valkey."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from addon.domains.resolver import Domains
from addon.library.memory import Memory
from addon.preview.forge import Forge
from addon.serving.answers import Request
from addon.shared.domain_mappings import Mapping
from addon.web.forwarding import Visitor
from tests.addon.conftest import ONE_KIND
from tests.addon.preview.sites import Files, Site
from tests.addon.running_lines import lines
from tests.addon.shared.conftest import FIRST, MakeNode
from tests.addon.shared.nodes import VISITOR, Node
from tests.resp.servers import Server
from tests.waiting import becomes, until

HOST = "www.alice.example"
DEV = "dev.www.alice.example"
NAMED = b"custom_domain: www.alice.example\nenable_branches: [dev, feature/x]\n"


def claim(redis: Server, host: str, value: str) -> None:
    """As somebody with `redis-cli` does it."""
    redis.ask("SET", f"custom_domain:{host}", value)


def two_branches(blog: Site, redis: Server, *, pages: bytes = NAMED, dev: Files | None = None) -> None:
    """Main and dev, each with a page that says its name and a host: `HOST` and `DEV`.

    pages: the `.pages` of main. dev: what dev has besides.
    """
    blog.commit({".pages": pages, "public/index.html": b"main"}, branch="main")
    blog.commit({"public/index.html": b"dev", **(dev or {})}, branch="dev")
    claim(redis, HOST, "alice:blog")
    claim(redis, DEV, "alice:blog:dev")


async def served(proxy: Node, host: str, path: str = "/") -> tuple[int, bytes]:
    page = await proxy.get(host, path)
    return page.status, page.body


async def test_a_mapping_set_by_hand_is_served_from_the_root_and_one_taken_away_is_not(
    node: MakeNode, redis: Server
) -> None:
    proxy = await node(redis).tracked()
    assert (await served(proxy, HOST))[0] == 404
    claim(redis, HOST, "alice:blog")
    await becomes(lambda: served(proxy, HOST), (200, FIRST))
    assert await served(proxy, HOST, "/old.html") == (200, b"old")
    assert await served(proxy, HOST.upper() + ":8080", "/a.css") == (200, b"a{}")
    assert (await served(proxy, HOST, "/blog/"))[0] == 404
    assert (await proxy.get(HOST, "/")).at_once
    redis.ask("DEL", f"custom_domain:{HOST}")
    await proxy.comes_to(404, HOST, "/")


async def _status(proxy: Node, host: str, path: str = "/") -> int:
    return (await proxy.get(host, path)).status


@pytest.mark.parametrize(
    "value",
    [
        "",
        ":",
        "alice",
        "alice:",
        ":blog",
        "a b:c",
        "alice:blog:",
        "alice:..",
        "../x:y",
        "alice:blog:../..",
        "\xff" * 5000,
    ],
)
async def test_nonsense_in_a_mapping_is_a_404(value: str, node: MakeNode, redis: Server) -> None:
    proxy = await node(redis).tracked()
    claim(redis, HOST, value)
    assert await _status(proxy, HOST) == 404


async def test_a_mapping_of_another_type_is_no_fault(node: MakeNode, redis: Server) -> None:
    proxy = await node(redis).tracked()
    redis.ask("LPUSH", f"custom_domain:{HOST}", "alice:blog")
    assert await _status(proxy, HOST) in (404, 503)


async def test_the_twin_of_a_domain_redirects_to_it_with_path_and_query(node: MakeNode, redis: Server) -> None:
    proxy = await node(redis).tracked()
    claim(redis, "alice.example", "alice:blog")
    request = _request("www.alice.example", "/a%20b/c", "x=1&y=%2F")
    answer = await proxy.server.answer(request)
    assert answer.status == 301
    assert dict(answer.headers)[b"Location"] == b"https://alice.example/a%20b/c?x=1&y=%2F"
    claim(redis, HOST, "alice:blog")
    await proxy.comes_to(200, HOST, "/")
    assert await _status(proxy, "www.www.alice.example") == 301


def _request(host: str, path: str, query: str | None, method: str = "GET", visitor: Visitor = VISITOR) -> Request:
    return Request(method, host, path, query, lambda _: None, lambda: visitor)


@pytest.mark.parametrize(
    ("host", "target", "visitor", "location"),
    [
        ("alice.example", "/%7euser/?", VISITOR, f"https://{HOST}/%7euser/?"),
        ("alice.example:8443", '/x?q="a"|b', VISITOR, f'https://{HOST}/x?q="a"|b'),
        ("alice.example:8080", "/x?a=%2F", Visitor("192.0.2.7", False), f"http://{HOST}:8080/x?a=%2F"),
        ("ALICE.example.", "/", Visitor("192.0.2.7", False), f"http://{HOST}/"),
    ],
)
async def test_a_twin_is_left_for_the_same_address_byte_for_byte(
    host: str, target: str, visitor: Visitor, location: str, node: MakeNode, redis: Server
) -> None:
    proxy = await node(redis).tracked()
    claim(redis, HOST, "alice:blog")
    path, mark, query = target.partition("?")
    for method, status in (("GET", 301), ("HEAD", 301), ("POST", 308)):
        answer = await proxy.server.answer(_request(host, path, query if mark else None, method, visitor))
        assert (answer.status, dict(answer.headers)[b"Location"]) == (status, location.encode())


async def test_only_the_host_that_was_asked_for_is_looked_for_elsewhere(node: MakeNode, redis: Server) -> None:
    proxy = await node(redis).tracked()
    looked_for: list[str] = []

    async def finder(host: str) -> None:
        looked_for.append(host)

    proxy.domains.finder = finder
    assert await _status(proxy, "bob.example") == 404
    assert looked_for == ["bob.example"]
    assert await _status(proxy, "www.bob.example") == 404
    assert looked_for == ["bob.example", "www.bob.example"]
    await asyncio.gather(*(_status(proxy, "carol.example") for _ in range(20)))
    assert looked_for[2:] == ["carol.example"]


async def test_a_fault_in_finding_out_whose_a_host_is_is_a_404(
    node: MakeNode, redis: Server, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = await node(redis).tracked()

    async def finder(host: str) -> None:
        raise ValueError("a record that nobody had thought of")

    proxy.domains.finder = finder
    assert await _status(proxy, "bob.example") == 404
    assert "resolving the domain bob.example failed" in caplog.text


async def test_a_stranger_is_told_what_makes_the_host_theirs(node: MakeNode, redis: Server) -> None:
    proxy = await node(redis).tracked()
    page = await proxy.get("bob.example", "/")
    assert page.status == 404
    assert b"Custom domain not configured" in page.body
    assert b"custom_domain: bob.example" in page.body


async def test_a_branch_host_shows_its_branch_as_the_default_ones_file_allows(
    node: MakeNode, redis: Server, blog: Site, forge: Forge
) -> None:
    proxy = await node(redis).tracked()
    blog.commit({".pages": NAMED, "public/index.html": b"main"})
    blog.commit({"public/index.html": b"dev", "public/only.html": b"only"}, branch="dev")
    blog.commit({"public/index.html": b"hidden"}, branch="hidden")
    claim(redis, DEV, "alice:blog:dev")
    claim(redis, "hidden.www.alice.example", "alice:blog:hidden")
    claim(redis, "gone.www.alice.example", "alice:blog:feature/x")
    assert await served(proxy, DEV) == (200, b"dev")
    assert await served(proxy, DEV, "/only.html") == (200, b"only")
    assert (await proxy.get(DEV, "/")).at_once
    assert await _status(proxy, "hidden.www.alice.example") == 404
    claim(redis, "preview.example", "alice:blog:hidden")  # the operator's word, whatever `.pages` says
    assert await served(proxy, "preview.example") == (200, b"hidden")
    assert await _status(proxy, "gone.www.alice.example") == 404
    blog.commit({"public/index.html": b"dev two"}, branch="dev")
    await proxy.library.purge(("alice", "blog"))
    await proxy.comes_to(b"dev two", DEV, "/")


async def test_what_a_branch_says_of_itself_in_its_own_pages_file_counts_for_nothing(
    node: MakeNode, redis: Server, blog: Site
) -> None:
    proxy = await node(redis).tracked()
    secret = hashlib.sha256(b"secret").hexdigest()
    pages = NAMED + f"branchesPassword: {secret}\n".encode()
    two_branches(blog, redis, pages=pages, dev={".pages": b"enabled: true\n"})
    assert await served(proxy, HOST) == (200, b"main")
    assert await _status(proxy, DEV) == 401
    blog.commit({".pages": b"[broken", "public/index.html": b"dev"}, branch="dev")
    blog.commit({".pages": NAMED + f"password: {secret}\n".encode(), "public/index.html": b"main"}, branch="main")
    await proxy.library.purge(("alice", "blog"))
    await proxy.comes_to(401, HOST, "/")
    assert await _status(proxy, DEV) == 401
    blog.commit({".pages": NAMED, "public/index.html": b"main"}, branch="main")
    await proxy.library.purge(("alice", "blog"))
    await proxy.comes_to(b"dev", DEV, "/")


async def test_a_branch_that_becomes_the_default_one_is_a_site_only_by_its_own_pages_file(
    node: MakeNode, redis: Server, blog: Site
) -> None:
    # What was stored of the commit for the branch's host must not be taken for what it is as a site.
    proxy = await node(redis).tracked()
    blog.commit({".pages": NAMED, "public/index.html": b"main"}, branch="main")
    blog.commit({".pages": b"[broken", "public/index.html": b"dev"}, branch="dev")
    claim(redis, DEV, "alice:blog:dev")
    assert await served(proxy, DEV) == (200, b"dev")
    await proxy.settled()
    blog.commit({".pages": b"[broken", "public/index.html": b"dev"}, branch="main")
    other = await node(redis).tracked()
    await other.library.purge(("alice", "blog"))
    await other.comes_to(500)
    assert await _status(other, DEV) == 500


async def test_known_domains_are_served_while_redis_is_away_and_unknown_hosts_get_no_no(
    node: MakeNode, own_redis: Server, blog: Site
) -> None:
    proxy = await node(own_redis).tracked()
    two_branches(blog, own_redis)
    assert await served(proxy, HOST) == (200, b"main")
    assert await served(proxy, DEV) == (200, b"dev")
    own_redis.kill()
    assert await served(proxy, HOST) == (200, b"main")
    assert await served(proxy, DEV) == (200, b"dev")
    assert await _status(proxy, "stranger.example") == 503
    own_redis.start()
    await until(lambda: not proxy.shared.away and proxy.looks.live, "Redis is back")
    # It came back empty. The site still names both hosts: nobody meets a 404 for that.
    for _ in range(50):
        assert await served(proxy, HOST) == (200, b"main")
        assert await served(proxy, DEV) == (200, b"dev")
    assert await _status(proxy, "stranger.example") == 404


async def test_a_mapping_that_an_emptied_redis_lost_and_no_site_names_is_gone(node: MakeNode, redis: Server) -> None:
    proxy = await node(redis).tracked()
    claim(redis, HOST, "alice:blog")
    await becomes(lambda: served(proxy, HOST), (200, FIRST))
    redis.ask("FLUSHALL")
    await proxy.comes_to(404, HOST, "/")


@ONE_KIND
async def test_ten_thousand_strangers_do_not_crowd_out_a_site(node: MakeNode, redis: Server) -> None:
    proxy = await node(redis, memoryCacheSize="1MiB", redisTimeout="5s").tracked()  # however busy the machine
    claim(redis, HOST, "alice:blog")
    assert await served(proxy, HOST) == (200, FIRST)
    await proxy.settled()
    used, keys = proxy.library.memory.used, redis.ask("DBSIZE")
    for start in range(0, 10_000, 100):
        pages = await asyncio.gather(*(proxy.get(f"host{start + n}.example", "/") for n in range(100)))
        assert {page.status for page in pages} <= {404, 503}
    assert (await proxy.get(HOST, "/")).at_once
    assert proxy.library.memory.used == used
    assert redis.ask("DBSIZE") == keys
    assert len(proxy.domains._unknown) <= 10_000


async def test_without_custom_domains_the_answer_is_the_plugins(node: MakeNode, redis: Server) -> None:
    proxy = await node(redis, enableCustomDomains=False).tracked()
    claim(redis, HOST, "alice:blog")
    page = await proxy.get(HOST, "/")
    assert page.status == 400
    assert b"Invalid domain" in page.body


async def two_of_two_branches(node: MakeNode, redis: Server, blog: Site) -> tuple[Node, Node]:
    """Two proxies that know the pages of main at one host and those of dev at another."""
    two_branches(blog, redis)
    one, two = await node(redis).tracked(), await node(redis).tracked()
    for proxy in (one, two):
        assert await served(proxy, HOST) == (200, b"main")
        assert await served(proxy, DEV) == (200, b"dev")
    return one, two


async def test_a_repository_made_private_is_gone_from_its_domain_and_its_branch_hosts(
    node: MakeNode, redis: Server, blog: Site, forge: Forge
) -> None:
    one, two = await two_of_two_branches(node, redis, blog)
    forge.settings("alice/blog").private = True
    await one.library.purge(("alice", "blog"))
    for proxy in (one, two):
        for host in (HOST, DEV):
            await proxy.comes_to(404, host, "/")


async def test_a_deleted_branch_is_gone_from_its_host_alone(
    node: MakeNode, redis: Server, blog: Site, forge: Forge
) -> None:
    one, two = await two_of_two_branches(node, redis, blog)
    blog.delete_branch("dev")
    await one.library.purge(("alice", "blog"))
    for proxy in (one, two):
        await proxy.comes_to(404, DEV, "/")
        assert await served(proxy, HOST) == (200, b"main")


def _asked(forge: Forge) -> list[str]:
    """What was asked of the forge since the last time, without ids."""
    calls = [call.target.partition("?")[0].removeprefix("/api/v1/repos/alice/blog") for call in list(forge.calls)]
    forge.forget_calls()
    return [call.rpartition("/")[0] if call.startswith("/git/") else call for call in calls]


async def test_a_branch_host_costs_the_forge_no_more_than_its_branch(
    node: MakeNode, redis: Server, blog: Site, forge: Forge
) -> None:
    two_branches(blog, redis, dev={"public/new.html": b"new"})
    one = await node(redis).tracked()
    assert await served(one, HOST) == (200, b"main")
    await one.settled()
    forge.forget_calls()
    pages = await asyncio.gather(*(served(one, DEV) for _ in range(20)))
    assert set(pages) == {(200, b"dev")}
    cold = _asked(forge)
    assert cold[:2] == ["/branches/dev", "/git/trees"]
    assert len(cold) <= 3
    assert await _status(one, DEV, "/missing") == 404
    assert (await one.get(DEV, "/")).at_once
    assert _asked(forge) == []
    await one.settled()
    two = await node(redis).tracked()
    assert await served(two, DEV) == (200, b"dev")  # from what proxies share
    assert _asked(forge) == []
    three = await node(redis, cacheTTL="1s").tracked()
    again: list[str] = []

    async def looked() -> bool:
        assert await served(three, DEV) == (200, b"dev")
        again.extend(_asked(forge))
        return "/branches/dev" in again

    await becomes(looked, True)
    await three.settled()
    # Nothing has changed: the branch costs one call, whatever is asked of the repository itself.
    assert again.count("/branches/dev") == 1
    assert set(again + _asked(forge)) <= {"", "/branches/main", "/branches/dev"}


async def test_a_hit_on_a_domain_or_a_branch_host_rests_on_its_mapping_and_its_lookups(
    node: MakeNode, redis: Server, blog: Site
) -> None:
    two_branches(blog, redis)
    proxy = await node(redis).tracked()
    for host, kinds in ((HOST, []), (DEV, ["site"])):
        await served(proxy, host)
        await proxy.settled()
        answer = proxy.server.answer_from_memory(_request(host, "/", None))
        assert answer is not None
        assert answer.basis is not None
        assert [key[0] for key, _ in answer.basis.facts] == ["domain", "domains", "site", *kinds]
        assert all(proxy.library.memory.get(key) is fact for key, fact in answer.basis.facts)
        redis.ask("SET", f"custom_domain:{host}", "alice:nothing")
        key, fact = answer.basis.facts[0]
        await until(lambda key=key, fact=fact: proxy.library.memory.get(key) is not fact, "told")  # type: ignore[misc]
        await served(proxy, host)
    claim(redis, HOST, "alice:blog")
    await becomes(lambda: served(proxy, HOST), (200, b"main"))
    answer = proxy.server.answer_from_memory(_request(HOST, "/", None))
    assert answer is not None
    assert answer.basis is not None
    redis.ask("FLUSHALL")  # of which no single key is told
    facts = answer.basis.facts
    await until(lambda: any(proxy.library.memory.get(key) is not fact for key, fact in facts), "told")


def test_of_however_many_hosts_all_are_doubted_at_once_when_redis_is_lost() -> None:
    class Store:
        shared = True

        async def get(self, host: str) -> Mapping | None:
            return Mapping("alice", "blog")

    def lines_for(number: int) -> int:
        """How many lines it takes."""
        memory: Memory[tuple[str, ...], object] = Memory(256 << 20)
        domains = Domains(Store(), memory, memory_ttl=5.0)
        hosts = [f"host{each}.example" for each in range(number)]
        asyncio.run(_read(domains, hosts))
        assert all(domains.peek(host) for host in hosts)
        taken = lines(domains.everything)
        assert not any(domains.peek(host) for host in hosts)
        return taken

    assert 0 < lines_for(10) == lines_for(5000)


async def _read(domains: Domains, hosts: list[str]) -> None:
    for host in hosts:
        await domains.resolve(host)


async def test_a_redis_that_is_late_once_is_no_reason_to_turn_a_visitor_away(node: MakeNode, own_redis: Server) -> None:
    proxy = await node(own_redis).tracked()
    claim(own_redis, HOST, "alice:blog")
    await proxy.settled()
    own_redis.pause()
    visits = [asyncio.ensure_future(served(proxy, HOST)) for _ in range(5)]
    await until(lambda: proxy.shared.away, "Redis counts as away")
    own_redis.resume()
    assert await asyncio.gather(*visits) == [(200, FIRST)] * 5


async def test_in_an_outage_that_lasts_nobody_waits(node: MakeNode, own_redis: Server) -> None:
    proxy = await node(own_redis).tracked()
    own_redis.pause()
    assert await _status(proxy, "one.example") == 503
    for number in range(20):
        page = await proxy.get(f"host{number}.example", "/")
        assert (page.status, page.seconds < 0.25) == (503, True)
    own_redis.resume()
