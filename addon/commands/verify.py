# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages domains verify`: what DNS says of a host, as this server would see it, and which record is missing.

Says what names a site and what proves one, and changes nothing. For owners as much as for operators: what it prints is
what has to be written into the zone.
"""

import asyncio
import sys
from contextlib import AsyncExitStack

from addon.domains.dns_proof import DnsProver
from addon.domains.names import DomainNames, NameRefused
from addon.forgejo.answers import Repository
from addon.forgejo.errors import ForgejoError
from addon.settings.schema import Settings
from addon.shared.mappings import Mapping
from addon.wiring import open_dns, open_forgejo


def verify_command(settings: Settings, host: str, site: Mapping | None) -> int:
    """Look a host up; returns 0 where it is proven, or names a site and needs no proof, else 1.

    site: whose it should be; None: those that DNS names.
    """
    try:
        name = DomainNames(settings).domain(host)
    except NameRefused as refusal:
        print(f"pages domains verify: {refusal}", file=sys.stderr)
        return 1
    return asyncio.run(_verified(settings, name, site))


async def _verified(settings: Settings, host: str, site: Mapping | None) -> int:
    async with AsyncExitStack() as stack:
        prover = DnsProver(settings, open_dns(stack, settings))
        named = await prover.named_sites(host)
        for each in named:
            print(f"{host} names {_text(each)}")
        sites = [site] if site is not None else list(named)
        if not sites:
            print(f"{host} names no site; it would by one of these records:")
            print(f"  {host}. IN CNAME REPOSITORY.OWNER.{settings.pages_domain}.")
            print(f'  _pages.{host}. IN TXT "OWNER/REPOSITORY"')
            return 1
        proven = [await _proven(settings, prover, host, each) for each in sites]
    return 0 if any(proven) else 1


async def _proven(settings: Settings, prover: DnsProver, host: str, site: Mapping) -> bool:
    repository = await _repository(settings, site)
    if repository is None:
        return False
    verdict = await prover.proof(host, repository.owner, repository.name, repository.id)
    whose = f"{repository.owner}/{repository.name}"
    if verdict.proven:
        print(f"{host} is proven to be {whose}’s: {verdict.how}")
        return True
    if verdict.proven is None:
        print(f"{host}: DNS does not answer; try again", file=sys.stderr)
        return False
    demanded = settings.enable_custom_domain_dns_verification
    print(f"{host} is not proven to be {whose}’s" + ("" if demanded else ", which this server does not demand"))
    print("any one of these records proves it:")
    for line in prover.records_for(host, repository.owner, repository.name, repository.id):
        print(f"  {line}")
    return not demanded


async def _repository(settings: Settings, site: Mapping) -> Repository | None:
    """The repository as Forgejo writes its name, and its number; None where it does not say, which is told."""
    async with AsyncExitStack() as stack:
        forgejo = open_forgejo(stack, settings, None)
        try:
            return await forgejo.repository(site.owner, site.repository)
        except ForgejoError as error:
            print(f"{_text(site)}: Forgejo: {error}", file=sys.stderr)
            return None


def _text(site: Mapping) -> str:
    return f"{site.owner}/{site.repository}" + ("" if site.branch is None else f"@{site.branch}")
