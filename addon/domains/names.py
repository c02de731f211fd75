# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which names a site may claim as its domain, and why not the others. Knows the settings; asks neither DNS nor Redis.

What `.pages` says is anybody's text and ends up in keys of Redis and in Traefik's rules, so nothing goes there that has
not come out of here: a host name in lower case and A-labels, letters, digits and hyphens. The surprising decision: all
that is below the registrable domains of the pages domain and of the forge is the operator's own, `www.` and the name
itself above all, and nobody's who can merely push a file; `claimableDomains` says what of it is to be had.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from urllib.parse import urlsplit

from addon.domains.public_suffixes import is_public_suffix, registrable_domain
from addon.settings.addresses import host_name
from addon.settings.options import Expected
from addon.settings.schema import Settings
from addon.shared.domain_mappings import branch_label
from addon.sites.pages_file import PagesFile

_SHOWN = 80


class NameRefused(ValueError):
    """A name that no site, or not this one, may claim; the text says why, for its owner. `name` is safe to show."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = shown(name)
        self.reason = reason
        super().__init__(f"{self.name}: {reason}")


class DomainNames:
    """The rules for names of domains under these settings."""

    def __init__(
        self, settings: Settings, root_host: Callable[[], str] = lambda: "", *, by_operator: bool = False
    ) -> None:
        """root_host: the host of Forgejo's own ROOT_URL as it is known by now, empty while it is not.

        by_operator: the names are the operator's to give, who may give away what is reserved or the operator's own.
        """
        self._pages_domain = settings.pages_domain
        self._previews = settings.preview_domain
        forge = urlsplit(settings.forgejo_host).hostname
        self._forgejo = frozenset(filter(None, (settings.forgejo_public_host, forge)))
        self._root_host = root_host
        self._by_operator = by_operator
        self._reserved = settings.reserved_domains
        self._claimable = settings.claimable_domains
        previews = () if self._previews is None else (self._previews,)
        self._own = _own_domains((self._pages_domain, *self._forgejo, *previews))

    def domain(self, text: str) -> str:
        """The domain that `custom_domain` names, in the form in which it is held; raises NameRefused."""
        try:
            name = host_name(text.strip())
        except Expected as wrong:
            raise NameRefused(text, f"expected {wrong.what}" + (f" ({wrong.hint})" if wrong.hint else "")) from None
        if "." not in name:
            raise NameRefused(name, "expected a name with at least one dot")
        if any(_is_malformed(label) for label in name.split(".")):
            raise NameRefused(name, "a part of it begins with xn-- but stands for nothing")
        self._check(name)
        return name

    def branch_host(self, branch: str, domain: str) -> str:
        """The host of a branch below its site's domain (one that `domain` gave); raises NameRefused."""
        label = branch_label(branch)
        if not label:
            raise NameRefused(branch, "no letter or digit of the branch's name can stand in a host name")
        if label == "www":
            raise NameRefused(f"www.{domain}", "www is the domain's own and never a branch's")
        name = f"{label}.{domain}"
        if len(name) > 253:
            raise NameRefused(name, "the host name would be longer than 253 characters")
        self._check(name)
        return name

    def hosts_of(self, rules: PagesFile) -> dict[str, str | None]:
        """The hosts that a `.pages` names, each with its branch: None for the domains themselves.

        What may not be claimed is left out; the first domain alone has branch hosts.
        """
        hosts: dict[str, str | None] = {}
        for text in rules.custom_domains:
            with suppress(NameRefused):
                hosts.setdefault(self.domain(text), None)
        first = next(iter(hosts), None)
        for branch in rules.enable_branches if first is not None else ():
            with suppress(NameRefused):
                hosts.setdefault(self.branch_host(branch, first or ""), branch)
        return hosts

    def _check(self, name: str) -> None:
        if _is_at_or_below(name, self._pages_domain):
            raise NameRefused(name, f"names at and below {self._pages_domain} belong to the pages server")
        if self._previews is not None and _is_at_or_below(name, self._previews):
            raise NameRefused(name, f"names at and below {self._previews} are previews")
        root_host = self._root_host()
        if name in self._forgejo or name == root_host:
            raise NameRefused(name, "it is the name of the forge itself")
        if is_public_suffix(name):
            raise NameRefused(name, "it is a public suffix, under which anybody can have a domain")
        if self._by_operator:
            return
        for reserved in self._reserved:
            if _is_at_or_below(name, reserved):
                raise NameRefused(name, f"names at and below {reserved} are reserved by the operator")
        if any(_is_at_or_below(name, claimable) for claimable in self._claimable):
            return
        own = self._own | _own_domains((root_host,)) if root_host else self._own
        # A parent of the pages domain may be above its registrable domain, where that is a public suffix itself.
        for served in filter(None, (self._pages_domain, self._previews)):
            if served.endswith(f".{name}"):
                raise NameRefused(name, f"{served} is below it, so it is the operator's own")
        for domain in own:
            if _is_at_or_below(name, domain):
                raise NameRefused(name, f"names at and below {domain} are the operator's own")


def shown(text: str) -> str:
    """A text of anybody's, short and in printable ASCII, for a line of a log."""
    safe = "".join(character if " " <= character <= "~" else "?" for character in text[: _SHOWN + 1])
    return safe if len(safe) <= _SHOWN else f"{safe[: _SHOWN - 1]}…"


def _own_domains(hosts: Iterable[str]) -> frozenset[str]:
    """The registrable domains of the operator's hosts; none of an address or of a name without a dot."""
    return frozenset(filter(None, map(registrable_domain, hosts)))


def _is_at_or_below(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")


def _is_malformed(label: str) -> bool:
    if not label.startswith("xn--"):
        return False
    try:
        meant = label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        return True
    return meant.isascii() or any("\x80" <= character <= "\x9f" for character in meant)
