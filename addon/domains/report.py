# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What became of a site's domains, for people, and whom the registry asks and tells. No behaviour but the wording.

A report is kept for as long as nothing else is known of a site, so it holds names and reasons and nothing large.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from addon.shared.domain_mappings import Mapping as Shown
from addon.shared.freshness import Freshness
from addon.shared.lookup import Key, Lookup
from addon.sites.pages_file import PagesFile


class Sites(Protocol):
    """What is known of repositories."""

    def peek(self, key: Key) -> Lookup | None: ...
    def freshness(self, lookup: Lookup) -> Freshness: ...
    async def look(self, key: Key) -> Lookup: ...
    async def governing(self, lookup: Lookup) -> PagesFile | None: ...


class Hosts(Protocol):
    """Who is told what hosts show."""

    def changed(self, host: str) -> object: ...


class Routers(Protocol):
    """Who makes hosts known to a web server in front."""

    @property
    def enabled(self) -> bool: ...
    async def publish(self, hosts: list[str]) -> object: ...
    async def withdraw(self, hosts: list[str]) -> object: ...


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a site's domains; `lines` say it to people. held: all that show it, refused: the others, and why.

    elsewhere: those of `held` that DNS neither leads here nor proves, so that no certificate is asked for. trouble: why
    nothing could be done; "" where it was.
    """

    owner: str
    repository: str
    held: Mapping[str, Shown] = field(default_factory=dict)
    registered: tuple[str, ...] = ()
    released: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        name = f"{self.owner}/{self.repository}"
        return (
            *(f"{name}: {host} is registered" for host in self.registered),
            *(f"{name}: {host} is released" for host in self.released),
            *(f"{name}: {host} is refused: {reason}" for host, reason in self.refused.items()),
            *(
                f"{name}: {host} gets no router yet: DNS does not lead it here, nor does a record prove it"
                for host in self.elsewhere
            ),
            *([f"{name}: {self.trouble}"] if self.trouble else []),
        )

    @property
    def states(self) -> list[tuple[str, str, str]]:
        """For the owner: each host, what it is, and what it still needs."""
        found = [(host, "registered", _NO_ROUTER if host in self.elsewhere else "") for host in self.held]
        found += [(host, "refused", _without_others(reason)) for host, reason in self.refused.items()]
        return found


_SHOWS = "it shows "


def _without_others(reason: str) -> str:
    """A refusal without the name of who has the host: whoever claims it would learn of a repository they cannot see."""
    if not reason.startswith(_SHOWS):
        return reason
    _, mark, rest = reason.partition("; ")
    return f"another site has it{mark}{rest}"


_NO_ROUTER = "DNS does not lead it here, nor does a record prove it: so no certificate is asked for yet"
