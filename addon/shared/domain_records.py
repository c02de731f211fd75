# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a site has registered, as it stands in `~pages:domains:{owner}/{repository}`: JSON with a version. Pure.

The forward keys say who is served; this record says who made them, so that they can be taken away again: a forward key
that no record and no reverse key speaks of was set by hand and is the operator's. Whatever is read was written by
anybody and is checked first. A record of another version is left alone, and so is its site.
"""

import json
from dataclasses import dataclass
from typing import Any

from addon.forgejo.answers import is_branch
from addon.shared.domain_mappings import Mapping
from addon.shared.records import Broken, Foreign
from addon.web.routing import is_owner_name, is_repository_name

VERSION = 1
_MOST_CLAIMS = 2_000
_LARGEST = 2.0**53


@dataclass(frozen=True, slots=True)
class Claim:
    """One host that a site has registered. All times are seconds since 1970.

    branch: None for a domain that `.pages` names; else that of a host below one. proven: how it was proven by DNS,
    "" for not at all. checked: when DNS was last asked; 0 for never. lost: since when the proof is missing, or None.
    """

    host: str
    branch: str | None = None
    since: float = 0.0
    proven: str = ""
    checked: float = 0.0
    lost: float | None = None


@dataclass(frozen=True, slots=True)
class SiteDomains:
    """All that a site has registered.

    Owner and repository as Forgejo writes them; id: the repository's, 0 where it is not known. gone: since when the
    repository is gone or no longer public, in seconds since 1970.
    """

    owner: str
    repository: str
    id: int = 0
    claims: tuple[Claim, ...] = ()
    gone: float | None = None

    def claim(self, host: str) -> Claim | None:
        """What was registered of a host."""
        return next((claim for claim in self.claims if claim.host == host), None)

    def mapping(self, claim: Claim) -> Mapping:
        """What the claim's forward key says."""
        return Mapping(self.owner, self.repository, claim.branch)


def record_of(domains: SiteDomains) -> bytes:
    """The record's JSON."""
    claims = {
        claim.host: {
            name: value
            for name, value in (
                ("branch", claim.branch),
                ("since", round(claim.since)),
                ("proven", claim.proven or None),
                ("checked", round(claim.checked) or None),
                ("lost", claim.lost if claim.lost is None else round(claim.lost)),
            )
            if value is not None
        }
        for claim in domains.claims
    }
    document: dict[str, Any] = {"v": VERSION, "owner": domains.owner, "repository": domains.repository}
    document |= {"id": domains.id, "hosts": claims}
    if domains.gone is not None:
        document["gone"] = round(domains.gone)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def read_record(data: bytes) -> SiteDomains:
    """A record out of its JSON. Raises Broken for what cannot be ours, Foreign for another version's."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise Broken("not JSON") from None
    if type(document) is not dict:
        raise Broken("not an object")
    if document.get("v") != VERSION:
        if type(document.get("v")) is int:
            raise Foreign
        raise Broken("no version")
    owner, repository, number = (document.get(name) for name in ("owner", "repository", "id"))
    if type(owner) is not str or not is_owner_name(owner.lower()):
        raise Broken("no owner")
    if type(repository) is not str or not is_repository_name(repository):
        raise Broken("no repository")
    if type(number) is not int or not 0 <= number < 2**63:
        raise Broken("no id")
    hosts = document.get("hosts")
    if type(hosts) is not dict or len(hosts) > _MOST_CLAIMS:
        raise Broken("no hosts")
    claims = tuple(_claim(host, fields) for host, fields in hosts.items())
    return SiteDomains(owner, repository, number, claims, _moment(document.get("gone")))


def _claim(host: str, fields: Any) -> Claim:
    if not host or len(host) > 253 or type(fields) is not dict:
        raise Broken("no host")
    branch, proven = fields.get("branch"), fields.get("proven") or ""
    if branch is not None and (type(branch) is not str or not is_branch(branch)):
        raise Broken("a branch that cannot be")
    if type(proven) is not str:
        raise Broken("no proof")
    since, checked, lost = (_moment(fields.get(name)) for name in ("since", "checked", "lost"))
    return Claim(host, branch, since or 0.0, proven, checked or 0.0, lost)


def _moment(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value < _LARGEST:
        raise Broken("a time that cannot be")
    return float(value)
