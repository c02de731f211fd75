# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Domains, their store and the library put together: what one of them has to know of the others.

The domains are told of changes by the same listener as the library (`SharedRefresh`), and ask the library whether a
site still names a host.
"""

from addon.domains.names import DomainNames, NameRefused
from addon.domains.resolver import Domains
from addon.domains.store import DomainStore
from addon.library.library import Library
from addon.settings.schema import Settings
from addon.shared.lookup import key_of
from addon.shared.mappings import Mapping, host_of
from addon.sites.pages_file import PagesFile


def hosts_of(rules: PagesFile, names: DomainNames) -> dict[str, str | None]:
    """The hosts that a `.pages` names, each with its branch: None for the domains themselves.

    What may not be claimed is left out; the first domain alone has branch hosts.
    """
    hosts: dict[str, str | None] = {}
    for text in rules.custom_domains:
        try:
            hosts.setdefault(names.domain(text), None)
        except NameRefused:
            continue
    first = next(iter(hosts), None)
    for branch in rules.enable_branches if first is not None else ():
        try:
            hosts.setdefault(names.branch_host(branch, first or ""), branch)
        except NameRefused:
            continue
    return hosts


def domains_of(settings: Settings, library: Library, store: DomainStore) -> Domains:
    """The domains that this library serves."""
    names, looks = DomainNames(settings), library.shared_looks
    domains = Domains(
        store,
        library.memory,
        memory_ttl=settings.memory_ttl,
        told=lambda: looks is None or looks.live,
        away=lambda: looks is not None and looks.shared.away,
    )

    async def claims(host: str, mapping: Mapping) -> bool:
        key = key_of(mapping.owner, mapping.repository)
        lookup = library.peek(key) or await library.look(key)
        rules = await library.governing(lookup) or PagesFile()
        return hosts_of(rules, names).get(host, "") == mapping.branch

    domains.claims = claims
    if looks is not None:

        def told(name: bytes | None) -> None:
            host = None if name is None else host_of(name)
            if name is None:
                domains.everything()
            elif host is not None:
                domains.changed(host)

        looks.others = told
    return domains
