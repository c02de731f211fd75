# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages domains verify`: what DNS says of a host, as this server would see it, and which record is missing.

Says what names a site and what proves one, and changes nothing. For owners as much as for operators: what it prints is
what has to be written into the zone.
"""

import asyncio
import sys
from contextlib import AsyncExitStack
from typing import NamedTuple

from addon.commands.arguments import print_json
from addon.domains.dns_proof import DnsProver
from addon.domains.names import DomainNames, NameRefused
from addon.forgejo.answers import Repository
from addon.forgejo.errors import ForgejoError
from addon.settings.schema import Settings
from addon.shared.domain_mappings import Mapping
from addon.wiring import open_dns, open_forgejo


def verify_command(settings: Settings, host: str, site: Mapping | None, *, as_json: bool = False) -> int:
    """Look a host up; returns 0 where it is proven, or names a site and needs no proof, else 1.

    site: whose it should be; None: those that DNS names.
    """
    try:
        name = DomainNames(settings).domain(host)
    except NameRefused as refusal:
        print(f"pages domains verify: {refusal}", file=sys.stderr)
        return 1
    found = asyncio.run(_verified(settings, name, site))
    if as_json:
        print_json(
            {"host": name, "ok": found.ok, "names": found.names, "sites": [each._asdict() for each in found.sites]}
        )
    else:
        _say(settings, name, found)
    return 0 if found.ok else 1


class Verdict(NamedTuple):
    """What DNS says of one site. proven: None where DNS does not answer. missing: records that would prove it."""

    site: str
    ok: bool
    proven: bool | None = None
    how: str = ""
    missing: tuple[str, ...] = ()
    trouble: str = ""


class Verified(NamedTuple):
    """What DNS says of a host. names: the sites that it names."""

    names: tuple[str, ...]
    sites: tuple[Verdict, ...]

    @property
    def ok(self) -> bool:
        return any(each.ok for each in self.sites)


def _say(settings: Settings, host: str, found: Verified) -> None:
    for name in found.names:
        print(f"{host} names {name}")
    if not found.sites:
        print(f"{host} names no site; it would by one of these records:")
        print(f"  {host}. IN CNAME REPOSITORY.OWNER.{settings.pages_domain}.")
        print(f'  _pages.{host}. IN TXT "OWNER/REPOSITORY"')
    for each in found.sites:
        if each.trouble:
            print(each.trouble, file=sys.stderr)
        elif each.proven:
            print(f"{host} is proven to be {each.site}’s: {each.how}")
        elif each.proven is None:
            print(f"{host}: DNS does not answer; try again", file=sys.stderr)
        else:
            demanded = settings.enable_custom_domain_dns_verification
            print(
                f"{host} is not proven to be {each.site}’s"
                + ("" if demanded else ", which this server does not demand")
            )
            print("any one of these records proves it:")
            for line in each.missing:
                print(f"  {line}")


async def _verified(settings: Settings, host: str, site: Mapping | None) -> Verified:
    async with AsyncExitStack() as stack:
        prover = DnsProver(settings, open_dns(stack, settings))
        named = await prover.named_sites(host)
        sites = [site] if site is not None else list(named)
        verdicts = [await _proven(settings, prover, host, each) for each in sites]
    return Verified(tuple(map(_text, named)), tuple(verdicts))


async def _proven(settings: Settings, prover: DnsProver, host: str, site: Mapping) -> Verdict:
    repository = await _repository(settings, site)
    if not isinstance(repository, Repository):
        return Verdict(_text(site), False, trouble=f"{_text(site)}: Forgejo: {repository}")
    verdict = await prover.proof(host, repository.owner, repository.name, repository.id)
    whose = f"{repository.owner}/{repository.name}"
    if verdict.proven:
        return Verdict(whose, True, True, verdict.how)
    if verdict.proven is None:
        return Verdict(whose, False)
    missing = tuple(prover.records_for(host, repository.owner, repository.name, repository.id))
    return Verdict(whose, not settings.enable_custom_domain_dns_verification, False, "", missing)


async def _repository(settings: Settings, site: Mapping) -> Repository | ForgejoError:
    """The repository as Forgejo writes its name, and its number; where it does not say, why."""
    async with AsyncExitStack() as stack:
        forgejo = open_forgejo(stack, settings, None)
        try:
            return await forgejo.repository(site.owner, site.repository)
        except ForgejoError as error:
            return error


def _text(site: Mapping) -> str:
    return f"{site.owner}/{site.repository}" + ("" if site.branch is None else f"@{site.branch}")
