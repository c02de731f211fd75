# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One pass over all domains: whose repository is gone, and which ones no `.pages` names any more.

Each repository is looked at once, by the code that serves it. What can be freed is found first and done later, by the
plans of `claims`, so that a pass may be stopped in between; each of them looks again at what stands there, and leaves
alone what live proxies have changed meanwhile. Trouble frees nothing. The surprise: a name that we would refuse today
still counts as named, for refusing it is the affair of the proxies, who tell its owner.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from addon.domains import claims
from addon.domains.claims import Outcome
from addon.domains.names import DomainNames, NameRefused
from addon.domains.store import NO_ANSWER, DomainStore, StoreAway, View, Writes, known_record
from addon.domains.transactions import Planned, Unread
from addon.forgejo.errors import ForgejoError, Overloaded, RateLimited
from addon.shared.domain_mappings import Mapping, custom_domain_key, domains_key, mapping_of
from addon.shared.domain_records import SiteDomains, record_of
from addon.shared.lookup import DISABLED, Fault, Key, Lookup
from addon.sites.pages_file import PagesFile

_AT_ONCE = 8
_ROUNDS = 16
_TRIES = 3
_LONGEST_WAIT = 60.0
T = TypeVar("T")


class Sites(Protocol):
    """Who looks at repositories."""

    async def look(self, key: Key) -> Lookup: ...


class Forge(Protocol):
    """Who says whether Forgejo itself is there."""

    async def version(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at one site came to.

    freed: the hosts that are to be freed. reserved: since when (seconds since 1970) the repository is gone, where its
    hosts are not free yet. trouble: why nothing is known; reason: why hosts are to be freed.
    """

    site: Mapping
    freed: tuple[str, ...] = ()
    reserved: float | None = None
    trouble: str = ""
    reason: str = ""
    plans: tuple[Planned[Outcome], ...] = field(default=(), repr=False)


@dataclass(slots=True)
class Census:
    """All hosts by their sites. unreadable: hosts whose keys hold nonsense."""

    sites: dict[Key, dict[str, Mapping]] = field(default_factory=dict)
    hosts: int = 0
    unreadable: int = 0


async def census(store: DomainStore) -> Census:
    """Read all that is registered. Raises StoreAway."""
    counted = Census()
    async for host, mapping in store.mappings():
        counted.hosts += 1
        if mapping is None:
            counted.unreadable += 1
        else:
            counted.sites.setdefault(mapping.site, {})[host] = mapping
    return counted


@dataclass
class Reaper:
    """Looks at sites, and frees what nobody has any more. started, now: seconds since 1970; grace: seconds."""

    store: DomainStore
    sites: Sites
    forge: Forge
    names: DomainNames
    grace: float
    now: Callable[[], float]

    def __post_init__(self) -> None:
        self._started = self.now()

    async def found(self, counted: Census) -> AsyncIterator[Found]:
        """What becomes of each site, in no order, several at once. Raises StoreAway."""
        waiting = iter(counted.sites.items())
        running: set[asyncio.Task[Found]] = set()
        try:
            while True:
                while len(running) < _AT_ONCE and (pair := next(waiting, None)) is not None:
                    running.add(asyncio.ensure_future(self._look(*pair)))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in running:
                task.cancel()

    async def free(self, found: Found) -> tuple[str, ...]:
        """Do what was found; says which hosts are free now. Raises StoreAway."""
        freed: list[str] = []
        for plan in found.plans:
            outcome = await self.store.change(plan)
            if outcome is NO_ANSWER:
                raise StoreAway
            freed += outcome.released
        return tuple(freed)

    async def _look(self, key: Key, hosts: dict[str, Mapping]) -> Found:
        site = next(iter(hosts.values()))._replace(branch=None)
        lookup = await self._asked(key)
        if lookup.trouble is not None or lookup.fault in (Fault.TROUBLE, Fault.REFUSED):
            return Found(site, trouble=_trouble(lookup))
        if lookup.fault is Fault.ABSENT:
            try:
                await self.forge.version()  # a front server's 404 is no answer of Forgejo's
            except ForgejoError as error:
                return Found(site, trouble=str(error))
            return await self._gone(site, hosts)
        back = (_returned(*key),) if await self._was_gone(key) else ()
        pages_file = lookup.site.pages_file if lookup.site is not None else PagesFile()
        if lookup.fault in (Fault.BROKEN, Fault.TOO_MANY_FILES, Fault.TOO_LARGE) or lookup.reason == DISABLED:
            return Found(site, plans=back)  # it may name them
        named = named_hosts(pages_file, self.names)
        plans = [self._unnamed(host, mapping) for host, mapping in hosts.items() if host not in named]
        freed = [host for plan in plans for host in (await self._foreseen(plan)).released]
        return Found(site, tuple(dict.fromkeys(freed)), reason="its .pages does not name it", plans=(*plans, *back))

    async def _asked(self, key: Key) -> Lookup:
        """What a repository is. A forge that rations its answers gets its time: nobody waits for a page."""
        for _ in range(_TRIES):
            lookup = await self.sites.look(key)
            if not isinstance(lookup.trouble, RateLimited | Overloaded):
                break
            await asyncio.sleep(min(lookup.trouble.retry_after, _LONGEST_WAIT))
        return lookup

    async def _gone(self, site: Mapping, hosts: dict[str, Mapping]) -> Found:
        plan = claims.vanished(site, found=tuple(hosts), now=self.now(), grace=self.grace)
        outcome = await self._foreseen(plan)
        record = outcome.record
        reserved = record.gone if record is not None and record.claims else None
        return Found(site, outcome.released, reserved, reason="its repository is gone", plans=(plan,))

    def _unnamed(self, host: str, mapping: Mapping) -> Planned[Outcome]:
        """Free a host that a site registered, unless that was meanwhile."""
        release = claims.released(host)

        def plan(view: View) -> tuple[Writes, Outcome]:
            value = view[custom_domain_key(host)]
            record = known_record(view[domains_key(*mapping.site)])
            claim = record.claim(host) if record is not None else None
            if not mapping.same_as(None if value is None else mapping_of(value)):
                return {}, Outcome()
            if claim is not None and claim.since >= self._started:
                return {}, Outcome()
            return release(view)

        return plan

    async def _was_gone(self, key: Key) -> bool:
        record = await self.store.record(*key)
        if record is NO_ANSWER:
            raise StoreAway
        return record is not None and record.gone is not None

    async def _foreseen(self, plan: Planned[T]) -> T:
        """What a plan would do."""
        view = View()
        for _ in range(_ROUNDS):
            try:
                return plan(view)[1]
            except Unread as unread:
                values = await self.store.read(unread.names)
                if values is NO_ANSWER:
                    raise StoreAway from None
                view.values.update(values)
        raise RuntimeError("a plan that needs to know ever more")


def named_hosts(pages_file: PagesFile, names: DomainNames) -> set[str]:
    """The hosts that a `.pages` file names: domains, and the hosts of branches below the first."""
    named: set[str] = set()
    first: str | None = None
    for number, text in enumerate(pages_file.custom_domains):
        try:
            domain = names.domain(text)
        except NameRefused:
            named.add(text.strip().lower().removesuffix("."))
            continue
        named.add(domain)
        first = domain if number == 0 else first
    for branch in pages_file.enable_branches if first is not None else ():
        try:
            named.add(names.branch_host(branch, first or ""))
        except NameRefused:
            continue
    return named


def hosts_of(found: Iterable[Found]) -> int:
    """How many hosts are to be freed."""
    return sum(len(each.freed) for each in found)


def _returned(owner: str, repository: str) -> Planned[Outcome]:
    """The plan that notes that a repository is there again, so that its next grace begins anew."""

    def plan(view: View) -> tuple[Writes, Outcome]:
        name = domains_key(owner, repository)
        record: SiteDomains | None = known_record(view[name])
        if record is None or record.gone is None:
            return {}, Outcome()
        return {name: record_of(replace(record, gone=None))}, Outcome()

    return plan


def _trouble(lookup: Lookup) -> str:
    if lookup.fault is Fault.REFUSED:
        return "Forgejo refuses to show it (401 or 403)"
    return str(lookup.trouble) if lookup.trouble is not None else "Forgejo gives no answer"
