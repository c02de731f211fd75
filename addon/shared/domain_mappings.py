# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Custom domains as they stand in Redis: the keys and values of the Traefik plugin, byte for byte. Pure.

`custom_domain:{host}` holds `{owner}:{repository}` or `{owner}:{repository}:{branch}`, and `{owner}:{repository}` holds
the host. All stand in one database without a prefix, so an owner called `custom_domain` would write whose domain he
likes: reverse keys that could be mistaken for another kind of key are never written or read. What we keep ourselves
begins with `~pages:`, which no owner's name can.
"""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from addon.forgejo.answers import is_branch
from addon.web.routing import host_name, is_owner_name, is_repository_name

CUSTOM_DOMAIN = "custom_domain:"
DOMAINS = "~pages:domains:"
"""Before `{owner}/{repository}`: what that site has registered."""

# First fields of the plugin's other keys, and those by which its own scripts and Traefik know theirs.
_TAKEN_OWNERS = frozenset({"custom_domain", "customdomain", "password", "redirects_meta", "traefik"})
# The plugin's keys of content are `{owner}:{repository}:{branch}:{path}`, all paths below `public`.
_CONTENT = re.compile(r"public(?:/|\Z)")
_LONGEST = 2048
_LONGEST_LABEL = 63


class Mapping(NamedTuple):
    """What a host shows. Owner and repository in the case in which they were written; no branch: the default one."""

    owner: str
    repository: str
    branch: str | None = None

    @property
    def site(self) -> tuple[str, str]:
        """The repository, by whatever case: Forgejo's names differ by more than that."""
        return self.owner.lower(), self.repository.lower()

    def same_as(self, other: "Mapping | None") -> bool:
        """Whether both show the same; names of branches count by case."""
        return other is not None and self.site == other.site and self.branch == other.branch


def mapping_of(value: bytes | str) -> Mapping | None:
    """The mapping that a value says; None for nonsense. What follows the second colon is the branch, colons and all."""
    if len(value) > _LONGEST:
        return None
    try:
        text = value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return None
    owner, colon, rest = text.partition(":")
    repository, more, branch = rest.partition(":")
    if not colon or not is_owner_name(owner.lower()) or not is_repository_name(repository):
        return None
    if not more:
        return Mapping(owner, repository)
    return Mapping(owner, repository, branch) if is_branch(branch.replace(":", "-")) else None


def value_of(mapping: Mapping) -> str:
    """The value that says a mapping."""
    named = f"{mapping.owner}:{mapping.repository}"
    return named if mapping.branch is None else f"{named}:{mapping.branch}"


def custom_domain_key(host: str) -> str:
    """Where the mapping of a host stands."""
    return f"{CUSTOM_DOMAIN}{host.lower()}"


def host_of(key: bytes | str) -> str | None:
    """The host of a forward key; None for any other key."""
    text = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
    return text[len(CUSTOM_DOMAIN) :] if text.startswith(CUSTOM_DOMAIN) and len(text) > len(CUSTOM_DOMAIN) else None


def reverse_key(owner: str, repository: str, branch: str | None = None) -> str | None:
    """Where a site's (or its branch's) host stands; None where that could be mistaken for another kind of key."""
    if owner.lower() in _TAKEN_OWNERS or not is_owner_name(owner.lower()) or not is_repository_name(repository):
        return None
    if branch is None:
        return f"{owner}:{repository}"
    if not is_branch(branch) or _CONTENT.match(branch):
        return None
    return f"{owner}:{repository}:branch:{branch}"


def branch_label(branch: str) -> str:
    """The label of a branch's host, made as the Traefik plugin does: `feature/new_ui` is `feature-new-ui`.

    "" for a branch that leaves nothing of itself, and so has no host.
    """
    label = re.sub(r"[/_.]", "-", branch.lower())
    label = re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9-]", "", label)).strip("-")
    return label[:_LONGEST_LABEL].removesuffix("-")


def shows_branch(host: str, branch: str, domains: Iterable[str], enabled: Collection[str]) -> bool:
    """Whether a host that is mapped to a branch is to show it; domains, enabled: what the site's `.pages` names.

    On the host that the branch has below one of the site's domains, as soon as `.pages` enables it, and no longer. Any
    other host was given to it by the operator, who may show what he likes.
    """
    if branch in enabled:
        return True
    label = branch_label(branch)
    return not any(host == f"{label}.{host_name(domain)}" for domain in domains)


def domains_key(owner: str, repository: str) -> str:
    """Where stands what a site has registered."""
    return f"{DOMAINS}{owner.lower()}/{repository.lower()}"


def site_of(key: bytes | str) -> tuple[str, str] | None:
    """Owner and repository of a key made by `domains_key`; None for any other key."""
    text = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
    owner, slash, repository = text[len(DOMAINS) :].partition("/")
    if not text.startswith(DOMAINS) or not slash or not is_owner_name(owner) or not is_repository_name(repository):
        return None
    return owner, repository
