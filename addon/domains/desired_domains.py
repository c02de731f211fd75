# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a site wishes by its `.pages`, and what speaks for it: valid names, branches that are there, proofs in DNS.

A wish without a refusal may be granted; one with a refusal is granted only to a site that has the host already, for a
"no" and a "nobody can say now" must not take anything away. What can never be granted is refused here with the reason
that its owner needs, and never becomes a wish.
"""

import asyncio
from typing import Final, Protocol

from addon.domains.claims import DesiredDomain
from addon.domains.names import DomainNames, NameRefused, shown
from addon.forgejo.answers import Branch, Repository, is_branch
from addon.forgejo.errors import ForgejoError, NotFound
from addon.shared.domain_mappings import Mapping as Shown
from addon.shared.domain_records import SiteDomains
from addon.sites.pages_file import PagesFile

MOST_DOMAINS: Final = 100
"""Domains of one site."""
MOST_BRANCHES: Final = 100


class Verdict(Protocol):
    """What DNS says of a domain. proven: None where it did not say; missing: for the owner, which record."""

    @property
    def proven(self) -> bool | None: ...
    @property
    def how(self) -> str: ...
    @property
    def missing(self) -> str: ...


class Prover(Protocol):
    """Who asks DNS."""

    async def proof(
        self, domain: str, owner: str, repository: str, repository_id: int, before: str = ""
    ) -> Verdict: ...
    async def named_sites(self, host: str) -> tuple[Shown, ...]: ...
    async def leads_here(self, host: str) -> bool | None: ...


class Forge(Protocol):
    """What has to be asked beside what is known of repositories."""

    @property
    def root_host(self) -> str: ...
    async def repository(self, owner: str, repo: str, /) -> Repository: ...
    async def branch(self, repository: Repository, branch: str) -> Branch: ...
    async def version(self) -> str: ...


class DesiredDomains:
    """The wishes of sites, weighed."""

    def __init__(self, names: DomainNames, forge: Forge, prover: Prover | None, *, must_prove: bool) -> None:
        self.prover = prover
        self._names = names
        self._forge = forge
        self._must_prove = must_prove

    async def of(
        self, pages_file: PagesFile, repository: Repository, record: SiteDomains | None
    ) -> tuple[list[DesiredDomain], dict[str, str]]:
        """What `.pages` names: what may be had, in its order, and what is refused before anybody is asked.

        record: what the site has by now.
        """
        refused: dict[str, str] = {}
        named = await self._forge_is_named(repository) if pages_file.custom_domains else True
        domains = self._domains(pages_file.custom_domains, refused)
        known = record if record is not None and record.id in (0, repository.id) else None
        if named:
            wishes = list(await asyncio.gather(*(self._domain(domain, repository, known) for domain in domains)))
        else:
            unsaid = "Forgejo gives no answer about its own host, which is nobody's to have; it is asked again"
            wishes = [DesiredDomain(domain, refusal=unsaid) for domain in domains]
        for host, branch in self._branches(pages_file, domains, refused).items():
            wish = await self._branch(repository, host, branch, refused)
            if wish is not None:
                wishes.append(wish)
        return wishes, refused

    async def _forge_is_named(self, repository: Repository) -> bool:
        """Whether Forgejo has told the host of its ROOT_URL: what came out of Redis does not say it."""
        if not self._forge.root_host:
            try:
                await self._forge.repository(repository.owner, repository.name)
            except ForgejoError:
                return False
        return True

    def _domains(self, texts: tuple[str, ...], refused: dict[str, str]) -> list[str]:
        domains: dict[str, None] = {}
        for text in texts:
            try:
                domain = self._names.domain(text)
            except NameRefused as refusal:
                refused[refusal.name] = refusal.reason
                continue
            if len(domains) < MOST_DOMAINS:
                domains[domain] = None
            elif domain not in domains:
                refused[domain] = f"a site may have {MOST_DOMAINS} domains"
        return list(domains)

    def _branches(self, pages_file: PagesFile, domains: list[str], refused: dict[str, str]) -> dict[str, str]:
        """Hosts and their branches."""
        hosts: dict[str, str] = {}
        for branch in pages_file.enable_branches:
            if not domains:
                refused[shown(branch)] = "the host of a branch is below its site's first domain, and there is none"
                continue
            try:
                host = self._names.branch_host(branch, domains[0])
            except NameRefused as refusal:
                refused[refusal.name] = refusal.reason
                continue
            if host in domains:
                refused[shown(branch)] = f"{host} is one of the site's domains"
            elif host in hosts:
                refused[shown(branch)] = f"{host} is branch {shown(hosts[host])} already; rename one of the two"
            elif len(hosts) >= MOST_BRANCHES:
                refused[host] = f"a site may have the hosts of {MOST_BRANCHES} branches"
            else:
                hosts[host] = branch
        return hosts

    async def _domain(self, domain: str, repository: Repository, known: SiteDomains | None) -> DesiredDomain:
        claim = known.claim(domain) if known is not None else None
        if not self._must_prove or (claim is not None and claim.proven):
            return DesiredDomain(domain)
        if self.prover is None:
            return DesiredDomain(domain, refusal="nobody here can ask DNS for its proof")
        verdict = await self.prover.proof(domain, repository.owner, repository.name, repository.id)
        if verdict.proven:
            return DesiredDomain(domain, proven=verdict.how or "DNS")
        if verdict.proven is None:
            return DesiredDomain(domain, refusal="DNS gives no answer about its proof; it is asked again")
        return DesiredDomain(domain, refusal=verdict.missing or "its proof in DNS is missing")

    async def _branch(
        self, repository: Repository, host: str, branch: str, refused: dict[str, str]
    ) -> DesiredDomain | None:
        try:
            if not is_branch(branch):
                raise NotFound("no branch can have this name")
            await self._forge.branch(repository, branch)
        except NotFound as missing:
            if missing.certain:
                refused[host] = f"there is no branch {shown(branch)}"
                return None
            return DesiredDomain(host, branch, refusal="Forgejo gives no definite answer about its branch")
        except ForgejoError:
            return DesiredDomain(host, branch, refusal="Forgejo gives no answer about its branch")
        return DesiredDomain(host, branch)

    async def beats(self, repository: Repository, host: str, holder: Shown, holder_id: int) -> bool:
        """Whether DNS certainly says that a host is this repository's, and not its holder's."""
        if self.prover is None:
            return False
        named = {site.site for site in await self.prover.named_sites(host)}
        ours = await self.prover.proof(host, repository.owner, repository.name, repository.id)
        if holder.site in named or not (ours.proven or (repository.owner.lower(), repository.name.lower()) in named):
            return False
        theirs = await self.prover.proof(host, holder.owner, holder.repository, holder_id)
        return theirs.proven is False
