# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What DNS says of a domain: whether it is proven to be a site's, and which sites it names.

A proof is a TXT record at the domain itself or, beside a CNAME, where no other record may stand, at
`_pages-verification.{domain}`. The Traefik plugin's value is the SHA-256 of `owner/repository`: public, and inherited
by whoever makes a repository of that name again. With `requireKeyedProof` only a value counts that nobody but this
server can make, of the repository's number and the domain. DNS that does not answer proves nothing and disproves
nothing.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Protocol

from addon.domains.dns import DnsSilence
from addon.settings.schema import Network, Settings
from addon.shared.domain_mappings import Mapping, mapping_of
from addon.web.routing import PROFILE, is_owner_name, is_repository_name, owner_of

PLAIN: Final = "bovine-pages-verification="
KEYED: Final = "pages-proof="
BESIDE: Final = "_pages-verification"
NAMES: Final = "_pages"
"""Label of the TXT record that names a site: `_pages.www.example.org TXT "owner/repository@branch"`."""

_KEYED_BEFORE = re.compile(rf"{KEYED}[0-9a-f]{{64}}\Z")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What DNS says of a domain. proven: None where it did not say; how: by which record; missing: which one is not."""

    proven: bool | None
    how: str = ""
    missing: str = ""


class Resolver(Protocol):
    """Who asks DNS; all raise DnsSilence."""

    async def texts(self, name: str) -> tuple[str, ...]: ...
    async def addresses(self, name: str) -> tuple[str, ...]: ...
    async def aliases(self, name: str) -> tuple[str, ...]: ...


class DnsProver:
    """Proofs under these settings."""

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        self._pages_domain = settings.pages_domain
        self._resolver = resolver
        self._keyed_only = settings.require_keyed_proof
        self._key = settings.domain_proof_key
        self._public = settings.public_addresses

    # Whether a domain is a site's.

    async def proof(self, domain: str, owner: str, repository: str, repository_id: int, before: str = "") -> Verdict:
        """Whether a domain is proven to be this repository's.

        before: how it was the last time. A keyed value that counted then counts on, whatever the key is now: it was
        made for this repository's number, and a new key would otherwise free all domains that are proven.
        """
        wanted = self._values(domain, owner, repository, repository_id)
        if earlier := _KEYED_BEFORE.search(before):
            wanted = (*wanted, earlier[0])
        places = (domain, f"{BESIDE}.{domain}")
        silence: DnsSilence | None = None
        for place, found in zip(
            places, await asyncio.gather(*map(self._resolver.texts, places), return_exceptions=True)
        ):
            if isinstance(found, DnsSilence):
                silence = found
            elif isinstance(found, BaseException):
                raise found
            elif proofs := [value for text in found for value in wanted if value != KEYED and _same(text, value)]:
                keyed = f", {proofs[0]}" if proofs[0].startswith(KEYED) else ""
                return Verdict(True, f"TXT at {place}{keyed}")
        if silence is not None:
            return Verdict(None)
        return Verdict(
            False, missing=f"DNS lacks this record: {self.records_for(domain, owner, repository, repository_id)[0]}"
        )

    def records_for(self, domain: str, owner: str, repository: str, repository_id: int) -> tuple[str, ...]:
        """The records of which one proves a domain, as lines of a zone file; the first works beside a CNAME, too."""
        value = self._values(domain, owner, repository, repository_id)[0]
        return tuple(f'{place}. IN TXT "{value}"' for place in (f"{BESIDE}.{domain}", domain))

    def _values(self, domain: str, owner: str, repository: str, repository_id: int) -> tuple[str, ...]:
        keyed: tuple[str, ...] = ()
        if self._key is not None:
            keyed = (KEYED + keyed_proof(self._key.reveal(), repository_id, domain),)
        if self._keyed_only:
            return keyed or (KEYED,)
        names = dict.fromkeys((f"{owner}/{repository}", f"{owner}/{repository}".lower()))
        return (*(PLAIN + hashlib.sha256(name.encode()).hexdigest() for name in names), *keyed)

    # Whether a host is ours to have a certificate for.

    async def leads_here(self, host: str) -> bool | None:
        """Whether DNS leads a host to this server; None where DNS does not say.

        It does by an alias that ends at the pages domain or below it, or where all its addresses are ours: one that is
        somebody else's may be the one that a certificate authority asks.
        """
        try:
            aliases = await self._resolver.aliases(host)
            if any(alias == self._pages_domain or owner_of(alias, self._pages_domain) for alias in aliases):
                return True
            found = await self._resolver.addresses(host)
            if not found:
                return False
            ours = self._public or await self._own_addresses()
        except DnsSilence:
            return None
        if not ours:
            return None
        return all(any(ipaddress.ip_address(each) in network for network in ours) for each in found)

    async def _own_addresses(self) -> tuple[Network, ...]:
        """Those of the pages domain; of a name below it, where there is but a wildcard."""
        found = await self._resolver.addresses(self._pages_domain)
        if not found:
            found = await self._resolver.addresses(f"pages.{self._pages_domain}")
        return tuple(ipaddress.ip_network(each) for each in found)

    # Which sites a host names.

    async def named_sites(self, host: str) -> tuple[Mapping, ...]:
        """The sites that a host names: by its TXT at `_pages.{host}`, then by what it is an alias for.

        `{owner}.{pagesDomain}` is the owner's profile, `{repository}.{owner}.{pagesDomain}` that repository, and never
        the profile of a user with a dot in the name, who could have taken that name for it: such a user needs the TXT.
        Where DNS does not answer, fewer.
        """
        texts, aliases = await asyncio.gather(
            self._resolver.texts(f"{NAMES}.{host}"), self._resolver.aliases(host), return_exceptions=True
        )
        found: dict[Mapping, None] = {}
        if not isinstance(texts, BaseException):
            for text in texts:
                site = _named_by(text)
                if site is not None:
                    found[site] = None
        if not isinstance(aliases, BaseException):
            for alias in aliases:
                found |= dict.fromkeys(self._named_by_alias(alias))
        return tuple(found)

    def _named_by_alias(self, alias: str) -> list[Mapping]:
        name = owner_of(alias, self._pages_domain)
        if name is None:
            return []
        repository, dot, owner = name.partition(".")
        if not dot:
            return [Mapping(name, PROFILE)] if is_owner_name(name) else []
        if is_owner_name(owner) and is_repository_name(repository):
            return [Mapping(owner, repository)]
        return []


def keyed_proof(key: str, repository_id: int, domain: str) -> str:
    """The proof that only this server can make: HMAC-SHA-256 over the repository's number and the domain, in hex."""
    return hmac.digest(
        key.encode("utf-8", "surrogatepass"), f"{repository_id}:{domain.lower()}".encode(), "sha256"
    ).hex()


def _same(text: str, value: str) -> bool:
    """Whether a record says a value; spaces do not count, as in the Traefik plugin."""
    return hmac.compare_digest("".join(text.split()).encode("utf-8", "surrogatepass"), value.encode())


def _named_by(text: str) -> Mapping | None:
    owner, slash, rest = text.strip().partition("/")
    repository, at, branch = rest.partition("@")
    if not slash:
        return None
    return mapping_of(f"{owner}:{repository}" + (f":{branch}" if at else ""))
