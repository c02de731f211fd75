# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who may have which host: the plans that register, hold and release them. Pure functions of what stands in the store.

The rules, in order. A host that nobody has is its first claimant's. A host that shows this site already and has a
record or a reverse key is held; without either it was set by hand, is served, and is never ours to release. A host that
shows another site is refused, unless that one was beaten by a proof and did not get it by hand. What a site has and
does not want any more is deleted only where it still shows that site. One plan does all of this for a whole site at
once, so there is no moment at which half of it stands.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from addon.domains.transactions import Planned, Value, View, Writes
from addon.shared.domain_mappings import (
    CUSTOM_DOMAIN,
    custom_domain_key,
    domains_key,
    mapping_of,
    reverse_key,
    value_of,
)
from addon.shared.domain_mappings import Mapping as Shown
from addon.shared.domain_records import Claim, SiteDomains, read_record, record_of
from addon.shared.records import Broken, Foreign


@dataclass(frozen=True, slots=True)
class DesiredDomain:
    """A host that a site would like. refusal: why it may not have it unless it has it already; "" for it may.

    proven: how its domain was proven by DNS; "" for not.
    """

    host: str
    branch: str | None = None
    refusal: str = ""
    proven: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a plan. held: all hosts that show the site now, and what they show.

    registered, released: those that are new, and those that are gone, of this and of other sites. refused: the others,
    and why; conflicts: those of them that show another site. foreign: the record is another version's; nothing is done.
    """

    held: Mapping[str, Shown] = field(default_factory=dict)
    registered: tuple[str, ...] = ()
    released: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    conflicts: Mapping[str, Shown] = field(default_factory=dict)
    record: SiteDomains | None = None
    foreign: bool = False


class _Standing:
    """What stands there of one site, and what is to be changed of it."""

    def __init__(self, view: View, site: Shown, found: Iterable[str], now: float) -> None:
        """found: hosts that may have been registered by the Traefik plugin. Raises Foreign."""
        self.view = view
        self.site = site
        self.name = domains_key(site.owner, site.repository)
        lower = site.site
        reverse = [reverse_key(site.owner, site.repository), reverse_key(*lower)]
        view.need(self.name, *reverse, *map(custom_domain_key, found))
        self.before = view[self.name]
        self.record: SiteDomains | None = None
        if self.before is not None:
            with suppress(Broken):
                self.record = read_record(self.before)
        self.claims = {claim.host: claim for claim in self.record.claims} if self.record is not None else {}
        self.writes: dict[str, Value] = {}
        self.released: list[str] = []
        told = [text for name in reverse if name is not None and (text := _text(view[name]))]
        hosts = dict.fromkeys((*self.claims, *found, *told))
        view.need(*map(custom_domain_key, hosts))
        mine = [shown for shown in map(self.shown, hosts) if shown is not None and shown.site == lower]
        view.need(*(reverse_key(*shown) for shown in mine))
        for host in hosts:
            self.adopt(host, now)
        self._mend(reverse)

    def _mend(self, reverse: Iterable[str | None]) -> None:
        """What the Traefik plugin registered in capitals, as `.pages` had it, is nobody's: hosts come in lower case."""
        for name in reverse:
            value = self.view[name] if name is not None else None
            raw = value.decode("ascii", "replace") if value is not None and len(value) <= 253 else ""
            if name is not None and raw != raw.lower():
                key = f"{CUSTOM_DOMAIN}{raw}"
                shown = _shown(self.view[key])
                if shown is not None and shown.site == self.site.site:
                    self.writes[key] = None
                    self.writes[name] = raw.lower().encode() if raw.lower() in self.claims else None

    def shown(self, host: str) -> Shown | None:
        """What a host shows now; None for nothing, or nonsense."""
        return _shown(self.view[custom_domain_key(host)])

    def adopt(self, host: str, now: float) -> None:
        """Take over what the Traefik plugin registered, told by its reverse key."""
        shown = self.shown(host)
        if host in self.claims or shown is None or shown.site != self.site.site:
            return
        if self.leads_back(shown, host):
            self.claims[host] = Claim(host, shown.branch, now)

    def leads_back(self, shown: Shown, host: str) -> bool:
        """Whether the reverse key of what is shown says this host."""
        name = reverse_key(*shown)
        return name is not None and _text(self.writes.get(name, self.view[name])) == host

    def release(self, host: str) -> None:
        """Free a host, if it still shows what was registered."""
        claim = self.claims.pop(host, None)
        shown = self.shown(host)
        if claim is None or shown is None or shown.site != self.site.site:
            return
        self.writes[custom_domain_key(host)] = None
        self.released.append(host)
        self.forget(shown, host)

    def forget(self, shown: Shown, host: str) -> None:
        """Take away the reverse key, if it says this host."""
        name = reverse_key(*shown)
        if name is not None and self.leads_back(shown, host):
            self.writes[name] = None

    def release_below(self, host: str) -> None:
        """Free a domain and the hosts of branches below it."""
        below = [name for name, claim in self.claims.items() if claim.branch is not None and name.endswith(f".{host}")]
        for name in (host, *below):
            self.release(name)

    def written(self, number: int, gone: float | None = None) -> SiteDomains | None:
        """Write the record of what is left; None where nothing is."""
        if not self.claims:
            if self.before is not None:
                self.writes[self.name] = None
            return None
        record = SiteDomains(self.site.owner, self.site.repository, number, tuple(self.claims.values()), gone)
        data = record_of(record)
        if data != self.before:
            self.writes[self.name] = data
        return record


def settled(
    site: Shown,
    number: int,
    wishes: Iterable[DesiredDomain],
    *,
    beaten: Mapping[str, Shown],
    found: Collection[str],
    now: float,
) -> Planned[Outcome]:
    """The plan that gives a site the hosts that it wishes and may have, and frees the others that it has.

    site: its owner and name as Forgejo writes them; number: its id there. wishes: domains in their order, then branches
    below the first. beaten: whom a host may be taken from. now: seconds since 1970.
    """
    wanted = tuple(wishes)

    def plan(view: View) -> tuple[Writes, Outcome]:
        view.need(*(custom_domain_key(wish.host) for wish in wanted))
        view.need(*(reverse_key(site.owner, site.repository, wish.branch) for wish in wanted))
        try:
            standing = _Standing(view, site, (*found, *(wish.host for wish in wanted)), now)
        except Foreign:
            return {}, Outcome(foreign=True)
        claims, former = standing.claims, standing.record
        # Another repository under the same name inherits what the old one had only if it may have it itself.
        another = former is not None and 0 not in (former.id, number) and former.id != number
        held: dict[str, Shown] = {}
        registered: list[str] = []
        refused: dict[str, str] = {}
        conflicts: dict[str, Shown] = {}
        first = next((wish.host for wish in wanted if wish.branch is None), None)
        for wish in wanted:
            host, mine = wish.host, Shown(site.owner, site.repository, wish.branch)
            key = custom_domain_key(host)
            claim, there = claims.get(host), standing.writes.get(key, view[key])
            shown = _shown(there)
            if wish.branch is not None and first not in held:
                refused[host] = f"its domain {first} is not this site's"
                continue
            if there is not None and (shown is None or shown.site != site.site):
                if wish.refusal or shown is None or not _taken(view, beaten, host, shown, standing, now):
                    holder = "another site" if shown is None else _named(shown)
                    refused[host] = f"it shows {holder}" + (f"; {wish.refusal}" if wish.refusal else "")
                    if shown is not None:
                        conflicts[host] = shown
                    continue
                there = shown = claim = None
            if there is not None and claim is None:
                if mine.same_as(shown):  # set by hand
                    held[host] = shown or mine
                else:
                    refused[host] = "it was set by hand to show another branch"
                continue
            if wish.refusal and (claim is None or another):
                refused[host] = wish.refusal
                continue
            if claim is None or not mine.same_as(shown):
                if shown is not None:
                    standing.forget(shown, host)
                registered.append(host)
                shown = mine
                standing.writes[key] = value_of(mine).encode()
                claim = Claim(host, wish.branch, now)
            if another:
                claim = replace(claim, proven="", checked=0.0, lost=None)
            if wish.proven:
                claim = replace(claim, proven=wish.proven, checked=now, lost=None)
            claims[host] = replace(claim, branch=wish.branch)
            held[host] = shown or mine
            name = reverse_key(*held[host])
            if (
                name is not None
                and (wish.branch is not None or host == first)
                and _text(standing.writes.get(name, view[name])) != host
            ):
                standing.writes[name] = host.encode()
        for host in [host for host in claims if host not in held]:
            standing.release(host)
        record = standing.written(number)
        released = tuple(host for host in standing.released if host not in held)
        return standing.writes, Outcome(held, tuple(registered), released, refused, conflicts, record)

    return plan


def _taken(view: View, beaten: Mapping[str, Shown], host: str, shown: Shown, standing: _Standing, now: float) -> bool:
    """Take a host away from who was beaten, with the hosts of branches below it; what was set by hand stays."""
    loser = beaten.get(host)
    if loser is None or loser.site != shown.site:
        return False
    try:
        other = _Standing(view, Shown(*shown[:2]), (host,), now)
    except Foreign:
        return False
    if host not in other.claims:
        return False
    other.release_below(host)
    other.written(other.record.id if other.record is not None else 0, other.record.gone if other.record else None)
    standing.writes.update(other.writes)
    standing.released += [each for each in other.released if each != host]
    return True


def vanished(site: Shown, *, found: Collection[str], now: float, grace: float) -> Planned[Outcome]:
    """The plan for a repository that is gone: its hosts stay reserved for `grace` seconds, then they are free."""

    def plan(view: View) -> tuple[Writes, Outcome]:
        try:
            standing = _Standing(view, site, found, now)
        except Foreign:
            return {}, Outcome(foreign=True)
        if standing.record is not None:  # written by the name it had
            standing.site = Shown(standing.record.owner, standing.record.repository)
        since = standing.record.gone if standing.record is not None and standing.record.gone is not None else now
        if now - since >= grace:
            for host in list(standing.claims):
                standing.release(host)
        number = standing.record.id if standing.record is not None else 0
        record = standing.written(number, since)
        return standing.writes, Outcome(released=tuple(standing.released), record=record)

    return plan


def released(host: str, *, by_hand: bool = False) -> Planned[Outcome]:
    """The plan that frees one host, and the hosts of branches below it. by_hand: even where that was set by hand."""

    def plan(view: View) -> tuple[Writes, Outcome]:
        shown = _shown(view[custom_domain_key(host)])
        if shown is None:
            if not (by_hand and view[custom_domain_key(host)]):
                return {}, Outcome()
            return {custom_domain_key(host): None}, Outcome(released=(host,))
        try:
            standing = _Standing(view, Shown(*shown[:2]), (host,), 0.0)
        except Foreign:
            return {}, Outcome(foreign=True)
        if host not in standing.claims:
            if not by_hand:
                return {}, Outcome(refused={host: "it was set by hand"})
            return {custom_domain_key(host): None}, Outcome(released=(host,))
        standing.release_below(host)
        record = standing.record
        left = standing.written(record.id if record is not None else 0, record.gone if record is not None else None)
        return standing.writes, Outcome(released=tuple(standing.released), record=left)

    return plan


def claim_changed(owner: str, repository: str, host: str, change: Callable[[Claim], Claim]) -> Planned[Claim | bool]:
    """The plan that changes what is noted of a claim (its proof); False where there is no such claim."""

    def plan(view: View) -> tuple[Writes, Claim | bool]:
        name = domains_key(owner, repository)
        value = view[name]
        try:
            record = read_record(value) if value is not None else None
        except (Broken, Foreign):
            record = None
        claim = record.claim(host) if record is not None else None
        if record is None or claim is None:
            return {}, False
        changed = change(claim)
        claims = tuple(changed if each.host == host else each for each in record.claims)
        return {name: record_of(replace(record, claims=claims))}, changed

    return plan


def _shown(value: Value) -> Shown | None:
    return None if value is None else mapping_of(value)


def _text(value: Value) -> str | None:
    """The host in a reverse key."""
    if value is None or not 0 < len(value) <= 253:
        return None
    return value.decode("ascii", "replace").lower()


def _named(shown: Shown) -> str:
    return f"{shown.owner}/{shown.repository}" + (f", branch {shown.branch}" if shown.branch is not None else "")
