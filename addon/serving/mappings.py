# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is registered of a host, at the time of a request; and which of its domains is a site's canonical one.

Says what is needed instead of waiting for it, and notes in `Work` what an answer rests on. The first domain that a
site names and that is registered to it is its canonical one: a name that it only wishes for leads nowhere.
"""

from addon.domains.names import DomainNames, NameRefused
from addon.domains.resolver import Domains, Resolved
from addon.domains.store import NoAnswer
from addon.serving.answers import Need, Work
from addon.settings.schema import Settings
from addon.shared.domain_mappings import Mapping
from addon.sites.site import Site

_MOST_TRIED = 3
"""Domains of one site that are looked up to find the first that is registered."""


class Mappings:
    """What is registered of hosts."""

    def __init__(self, settings: Settings, domains: Domains | None) -> None:
        """domains: None where sites have no domains of their own."""
        self.domains = domains
        self._names = DomainNames(settings)

    def mapping(self, host: str, work: Work, *, seek: bool = True) -> Mapping | NoAnswer | Need | None:
        """What is registered of a host. seek: look for a site that names a host which nobody has registered."""
        domains = self.domains
        if domains is None:
            return None
        key = ("domain", host)
        resolved = domains.peek(host, seek=seek)
        if resolved is not None:
            work.facts.extend(domains.facts(resolved))
            work.good_until = min(work.good_until, domains.good_until(resolved))
            return resolved.mapping
        done = work.done.get(key)
        if isinstance(done, Resolved):
            return done.mapping
        return Need(key, lambda: domains.resolve(host, seek=seek), from_forgejo=False)

    def canonical(self, site: Site, work: Work) -> str | Need | None:
        """The first of a site's domains that is registered to it; None where none is."""
        if self.domains is None:
            return None
        for text in site.pages_file.custom_domains[:_MOST_TRIED]:
            try:
                name = self._names.domain(text)
            except NameRefused:
                continue
            found = self.mapping(name, work, seek=False)
            if isinstance(found, Need):
                return found
            ours = (site.owner.lower(), site.name.lower())
            if isinstance(found, Mapping) and found.branch is None and found.site == ours:
                return name
        return None
