# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A proof that goes: three days of grace, then the domain is free; and DNS that is silent changes nothing."""

from __future__ import annotations

from addon.domains.rechecks import EVERY, GRACE, Rechecks
from tests.addon.domains.registering import Dns, MakeProxy, Owners, Proxy
from tests.resp.servers import Server

DOMAIN = "www.alice.example"
SITE = (DOMAIN, "alice/blog")


async def registered(proxy: MakeProxy, owners: Owners, redis: Server) -> tuple[Proxy, Dns, Rechecks]:
    """A proxy with one proven domain, its DNS, and the daily look."""
    dns = Dns(proofs={SITE: True})
    made = proxy(redis, dns=dns, enableCustomDomainDNSVerification=True)
    owners.push("alice/blog", f"custom_domain: {DOMAIN}\nenable_branches: [dev]\n", branches=("dev",))
    assert await made.visit("alice", "/blog/") == 200
    assert await made.shows(DOMAIN) == "alice:blog"
    assert await made.shows(f"dev.{DOMAIN}") == "alice:blog:dev"
    return made, dns, Rechecks(made.store, dns, made.registry, now=made.registry._now)


async def test_a_domain_whose_proof_is_gone_is_freed_after_three_days(
    proxy: MakeProxy, owners: Owners, redis: Server
) -> None:
    made, dns, rechecks = await registered(proxy, owners, redis)
    asked = dns.asked
    assert await rechecks.round() == 0
    assert dns.asked == asked  # not due
    dns.proofs[SITE] = False
    made.skipped += EVERY + 1
    assert await rechecks.round() == 0
    assert await made.shows(DOMAIN) == "alice:blog"
    for _ in range(2):
        made.skipped += EVERY + 1
        assert await rechecks.round() == 0
    made.skipped += EVERY + 1
    assert await rechecks.round() == 1
    assert await made.shows(DOMAIN) is None
    assert await made.shows(f"dev.{DOMAIN}") is None
    await made.visit("alice", "/blog/")
    assert await made.shows(DOMAIN) is None  # it is named still, and not proven


async def test_a_proof_that_comes_back_in_time_is_as_if_it_had_never_gone(
    proxy: MakeProxy, owners: Owners, redis: Server
) -> None:
    made, dns, rechecks = await registered(proxy, owners, redis)
    dns.proofs[SITE] = False
    made.skipped += EVERY + 1
    await rechecks.round()
    dns.proofs[SITE] = True
    made.skipped += EVERY + 1
    await rechecks.round()
    dns.proofs[SITE] = False
    made.skipped += GRACE
    assert await rechecks.round() == 0
    assert await made.shows(DOMAIN) == "alice:blog"


async def test_dns_that_is_silent_for_a_week_frees_nothing(proxy: MakeProxy, owners: Owners, redis: Server) -> None:
    made, dns, rechecks = await registered(proxy, owners, redis)
    dns.proofs[SITE] = None
    for _ in range(7):
        made.skipped += EVERY + 1
        assert await rechecks.round() == 0
    assert await made.shows(DOMAIN) == "alice:blog"
