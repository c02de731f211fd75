# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""When a site's domains are registered and released: behind the visitors' backs, after each look at the site.

A site's `.pages` says what it wants, `names` what of that may be, DNS whose it is, `claims` what becomes of it.
Only definite answers change anything: while Forgejo or DNS is in trouble, what is registered stays registered. A name
that another site has makes us look at that one, too: it may have given it up, be gone, or be this one under its former
name; else only a proof that it has not decides. One site is settled at a time, by one task, and
of one owner at most two.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from addon.domains import claims
from addon.domains.claims import DesiredDomain, Outcome
from addon.domains.desired_domains import DesiredDomains, Forge, Prover
from addon.domains.names import DomainNames, NameRefused
from addon.domains.public_suffixes import registrable_domain
from addon.domains.report import Hosts, Report, Routers, Sites
from addon.domains.store import NO_ANSWER, DomainStore, StoreAway, known_record
from addon.domains.transactions import Value
from addon.forgejo.answers import Repository
from addon.forgejo.errors import ForgejoError
from addon.net.clocks import SYSTEM, Clocks
from addon.net.fair_queue import FairQueue, Interest, TooLate, account, on_account
from addon.net.rates import Rates
from addon.settings.schema import Settings
from addon.shared.domain_mappings import Mapping as Shown
from addon.shared.domain_mappings import domains_key, reverse_key
from addon.shared.domain_records import SiteDomains
from addon.shared.freshness import Freshness
from addon.shared.lookup import DISABLED, Fault, Key, Lookup, branch_of

logger = logging.getLogger(__name__)

_AT_ONCE = 64
"""Sites that are settled at one time: most of it is waiting for DNS, which has a limit of its own."""
_OF_ONE_OWNER = 2
"""Of them, of one owner: a zone that never answers holds up nobody else."""
_PATIENCE = 3600.0
_LONGEST_PAUSE = 300.0
"""Seconds until what was refused again and again may be tried once more; a push ends them."""
_UNKNOWN_HOSTS = (20, 1.0)
"""Hosts that nobody registered and that DNS is asked about: so many at once for a visitor and for a domain, then so
many a second."""
_MOST_WAITING = 10_000
_MOST_KNOWN = 20_000
_SOON: Final = 10.0
"""Seconds until what was refused may be tried again by a visit."""
_SWEEP_SECONDS = 3600.0
_MOST_REFUSED = 200
"""Refusals of one site that are remembered: a `.pages` may name a thousand."""
_MOST_LINES = 20
_MOST_CHALLENGES = 5
"""Hosts of others that one site may ask about at a time: each costs a look at the other, and DNS."""
_MOST_SCANS = 200
"""Round trips to Redis for the branches that the Traefik plugin registered of one site."""
_FORGEJO_SAYS_NOTHING = "Forgejo gives no definite answer; its domains stay as they are"
_REDIS_SAYS_NOTHING = "Redis gives no answer; its domains stay as they are"


class _Mark(NamedTuple):
    """What a repository is; another mark has to be settled anew. A lookup would keep its whole site in memory."""

    commit: str | None
    fault: Fault | None
    reason: str
    id: int
    name: Shown | None


@dataclass(frozen=True, slots=True)
class _Noticed:
    """What was settled of a repository, and when (monotonic seconds) it is due again by a visit."""

    mark: "_Mark"
    due: float
    report: Report
    refusals: int


class Registry:
    """Settles sites. Lives on the event loop."""

    def __init__(
        self,
        settings: Settings,
        store: DomainStore,
        sites: Sites,
        forge: Forge,
        *,
        prover: Prover | None = None,
        hosts: Hosts | None = None,
        routers: Routers | None = None,
        clocks: Clocks = SYSTEM,
    ) -> None:
        self.store = store
        self.hosts = hosts
        self.told: Callable[[Key], object] = lambda key: None  # whose hosts have changed
        self.routers = routers
        self.names = DomainNames(settings, lambda: forge.root_host)
        must_prove = settings.enable_custom_domain_dns_verification
        self._desired = DesiredDomains(self.names, forge, prover, must_prove=must_prove)
        self._grace = settings.release_grace
        self._most_hosts = settings.max_domains_per_owner
        self._again = max(1.0, settings.cache_ttl)
        self._sites = sites
        self._forge = forge
        self._clock, self._now = clocks
        self._noticed: OrderedDict[Key, _Noticed] = OrderedDict()
        self._waiting: set[Key] = set()
        self._turns = FairQueue(_AT_ONCE, most_each=_OF_ONE_OWNER, expected=1.0, clock=clocks.monotonic)
        self._strangers = Rates(*_UNKNOWN_HOSTS, clock=clocks.monotonic)
        self._forced: set[Key] = set()  # to be looked at before they are settled
        self._workers: set[asyncio.Task[None]] = set()
        self._busy: set[Key] = set()
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._sweeping: asyncio.Task[None] | None = None
        self._certified: OrderedDict[str, None] = OrderedDict()  # hosts that DNS led here when it last said anything
        self._closed = False

    def start(self) -> None:
        """Begin to wait for the ends of graces; on the loop."""
        self._sweeping = asyncio.ensure_future(self._sweep())

    async def aclose(self) -> None:
        """Stop; what is being written is written."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        if self._sweeping is not None:
            self._sweeping.cancel()
        tasks = list(self._workers)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # When.

    def notice(self, lookup: Lookup) -> None:
        """A site was looked at, or visited: settle it, if that is due. Never waits."""
        if not self._is_settled(lookup) and lookup.key not in self._waiting and lookup.key not in self._busy:
            self._begin(lookup)

    def _begin(self, lookup: Lookup) -> None:
        if _is_definite(lookup) and branch_of(lookup.key) is None:  # the default branch's `.pages` governs
            self._enqueue(lookup.key)

    def _is_settled(self, lookup: Lookup) -> bool:
        noticed = self._noticed.get(lookup.key)
        if noticed is None or self._clock() >= noticed.due or lookup.key in self._forced:
            return False
        return noticed.mark == _mark(lookup)

    def unsettled(self, lookup: Lookup) -> bool:
        """Whether a visit may yet change what a site has: something was refused."""
        noticed = self._noticed.get(lookup.key)
        return noticed is not None and bool(noticed.report.refused or noticed.report.elsewhere)

    def pushed(self, key: Key | None) -> None:
        """Somebody pushed to a repository, or everything is to be looked at again."""
        if key is None:
            self._noticed.clear()
            return
        self._forced.add(key)
        self.again(key)

    def again(self, key: Key) -> None:
        """Settle a site once more, as far as it is known by now."""
        self._noticed.pop(key, None)
        self._enqueue(key)

    @property
    def queues(self) -> dict[str, FairQueue]:
        """Where sites wait for their domains to be settled, by name."""
        return {"domains": self._turns}

    def states(self) -> dict[str, int]:
        """How many domains were registered, refused, and not led here by DNS, when their sites were settled last."""
        found = {"registered": 0, "refused": 0, "elsewhere": 0}
        for noticed in self._noticed.values():
            report = noticed.report
            found["registered"] += len(report.held)
            found["refused"] += len(report.refused)
            found["elsewhere"] += len(report.elsewhere)
        return found

    def needs(self, most: int) -> list[tuple[str, str, str, str]]:
        """Domains that lack something, the newest first: host, OWNER/REPO, what it is, and what it needs."""
        found: list[tuple[str, str, str, str]] = []
        for noticed in reversed(self._noticed.values()):
            report = noticed.report
            for host, state, needs in report.states if report.refused or report.elsewhere else ():
                if needs and len(found) < most:
                    found.append((host, f"{report.owner}/{report.repository}", state, needs))
            if len(found) >= most:
                break
        return found

    def refusals(self, most: int) -> dict[str, str]:
        """What was refused when it was settled last, the newest first: `host, for owner/repository`, and why."""
        found: dict[str, str] = {}
        for noticed in reversed(self._noticed.values()):
            report = noticed.report
            for host, reason in report.refused.items():
                if len(found) >= most:
                    return found
                found[f"{host}, for {report.owner}/{report.repository}"] = reason
        return found

    def report(self, owner: str, repository: str) -> Report | None:
        """What became of a site's domains when it was settled last."""
        noticed = self._noticed.get((owner.lower(), repository.lower()))
        return None if noticed is None else noticed.report

    def _enqueue(self, key: Key) -> None:
        if self._closed or key in self._waiting or len(self._waiting) >= _MOST_WAITING:
            return
        self._waiting.add(key)
        worker = asyncio.ensure_future(self._work(key))
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    async def _work(self, key: Key) -> None:
        Interest().bind()  # not that of the visitor in whose time this began
        try:
            with on_account(owner=key[0], visitor=""):
                async with self._turns.turn(_PATIENCE):
                    self._waiting.discard(key)
                    lookup = self._sites.peek(key)
                    if lookup is not None and self._is_settled(lookup):
                        return  # meanwhile
                    await self.reconcile(*key)
        except TooLate:
            return  # a visit tries again
        except Exception:
            logger.exception("registering the domains of %s/%s failed", *key)
            return
        finally:
            self._waiting.discard(key)
        lookup = self._sites.peek(key)
        if lookup is not None and not self._is_settled(lookup):
            self._begin(lookup)  # it changed meanwhile

    async def _sweep(self) -> None:
        while True:
            with suppress(StoreAway):
                async for record in self.store.records():
                    if record.gone is not None:
                        self._free_later((record.owner.lower(), record.repository.lower()), record.gone)
            await asyncio.sleep(_SWEEP_SECONDS)

    def _free_later(self, key: Key, since: float) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        left = max(0.0, since + self._grace - self._now()) + 0.1

        def due() -> None:
            self._timers.pop(key, None)
            self._forced.add(key)
            self._enqueue(key)

        if not self._closed:
            self._timers[key] = asyncio.get_running_loop().call_later(left, due)

    # What.

    async def reconcile(
        self, owner: str, repository: str, *, challenged: bool = False, due_only: bool = False
    ) -> Report:
        """Register what a site's `.pages` names, and release what it names no longer.

        challenged: another site waits for it, so that it challenges none itself. due_only: where it was settled a
        moment ago, and nothing has changed, what was said then.
        """
        key = (owner.lower(), repository.lower())
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        async with lock:
            self._busy.add(key)
            try:
                return await self._reconciled(key, challenged, due_only)
            finally:
                self._busy.discard(key)

    async def _reconciled(self, key: Key, challenged: bool, due_only: bool) -> Report:
        lookup = self._sites.peek(key)
        forced = key in self._forced
        self._forced.discard(key)
        if lookup is None or forced or self._sites.freshness(lookup) is not Freshness.FRESH:
            lookup = await self._sites.look(key)
        noticed = self._noticed.get(key)
        if due_only and not forced and noticed is not None and self._is_settled(lookup):
            return noticed.report
        report = await self._settled(lookup, challenged)
        self._done(lookup, report)
        return report

    def _done(self, lookup: Lookup, report: Report) -> None:
        before = self._noticed.pop(lookup.key, None)
        mark, refusals = _mark(lookup), 0
        if report.trouble or report.refused or report.elsewhere:
            # The same thing refused again is asked about less and less often: each branch that is not there is a call.
            refusals = before.refusals + 1 if before is not None and before.mark == mark else 0
            due = self._clock() + min(min(_SOON, self._again) * 2**refusals, max(self._again, _LONGEST_PAUSE))
        else:
            due = self._clock() + self._again
        if before is None or before.report.lines != report.lines:
            for line in report.lines[:_MOST_LINES]:
                logger.log(logging.WARNING if " is refused: " in line else logging.INFO, "%s", line)
            if len(report.lines) > _MOST_LINES:
                logger.warning("%s/%s: and %d more", *lookup.key, len(report.lines) - _MOST_LINES)
        self._noticed[lookup.key] = _Noticed(mark, due, report, min(refusals, 20))
        while len(self._noticed) > _MOST_KNOWN:
            self._noticed.popitem(last=False)

    async def _settled(self, lookup: Lookup, challenged: bool) -> Report:
        repository = lookup.repository
        name = self._name(lookup)
        nothing = Report(*name[:2])
        if lookup.trouble is not None or not _is_definite(lookup):
            return replace(nothing, trouble=_FORGEJO_SAYS_NOTHING)
        if lookup.fault is Fault.BROKEN:
            return replace(nothing, trouble="its .pages file cannot be read; its domains stay as they are")
        if lookup.fault is Fault.UNCONFIGURED and lookup.reason == DISABLED:
            return nothing  # taken down for a while; its domains are still named
        record_name = domains_key(*name[:2])
        known = await self._known(name, record_name)
        there = any(value is not None for value in known.values())
        if lookup.fault is Fault.ABSENT or repository is None:
            return await self._vanished(lookup.key, name, nothing) if there else nothing
        pages_file = await self._sites.governing(lookup)
        if pages_file is None:
            return replace(nothing, trouble=_FORGEJO_SAYS_NOTHING)
        if not there and not pages_file.custom_domains and not pages_file.enable_branches:
            return nothing if known else replace(nothing, trouble=_REDIS_SAYS_NOTHING)
        record = known_record(known.pop(record_name, None))
        wishes, refused = await self._desired.of(pages_file, repository, record)
        wishes, beyond = await self._within_the_cap(name, record, wishes)
        refused |= beyond
        found = await self._branches_of_the_plugin(known) if record is None else []
        outcome = Outcome()
        # By which name it was asked for, it was called before: what it had under that is its own.
        former = Shown(*lookup.key)
        beaten = {wish.host: former for wish in wishes} if former.site != name.site else {}
        for _ in range(2):
            plan = claims.settled(name, repository.id, wishes, beaten=beaten, found=found, now=self._now())
            told = await self.store.change(plan, owed=lookup.key, late=self._told)
            if told is NO_ANSWER:
                return replace(nothing, trouble=_REDIS_SAYS_NOTHING)
            if told.foreign:
                return replace(nothing, trouble="a newer version of this server keeps its domains")
            self._told(told)
            registered, released = (*outcome.registered, *told.registered), (*outcome.released, *told.released)
            outcome = replace(told, registered=registered, released=released)
            if not outcome.conflicts or challenged:
                break
            beaten, freed = await self._challenged(repository, outcome.conflicts)
            if not beaten and not freed:
                break
        if former.site != name.site:
            plan = claims.settled(former, repository.id, (), beaten={}, found=(), now=self._now())
            told = await self.store.change(plan, owed=("former", lookup.key), late=self._told)
            if told is not NO_ANSWER:
                self._told(told)
                outcome = replace(outcome, released=(*outcome.released, *told.released))
        elsewhere: tuple[str, ...] = ()
        if self.routers is not None:
            await self.routers.withdraw([host for host in outcome.released if host not in outcome.held])
            elsewhere = await self._elsewhere(outcome.held) if self.routers.enabled else ()
            await self.routers.publish([host for host in outcome.held if host not in elsewhere])
        refused = dict(islice((refused | dict(outcome.refused)).items(), _MOST_REFUSED))
        return Report(*name[:2], outcome.held, outcome.registered, outcome.released, refused, elsewhere)

    async def _within_the_cap(
        self, name: Shown, record: SiteDomains | None, wishes: list[DesiredDomain]
    ) -> tuple[list[DesiredDomain], dict[str, str]]:
        """What of it an owner may have, all sites taken together, and why not the rest; what is held stays."""
        held = {claim.host for claim in record.claims} if record is not None else set()
        new = [wish for wish in wishes if wish.host not in held and not wish.refusal]
        if not new:
            return wishes, {}
        others = 0
        with suppress(StoreAway):
            async for each in self.store.records(name.owner):
                if each.repository.lower() != name.repository.lower():
                    others += len(each.claims)
        room = max(0, self._most_hosts - others - len(held))
        reason = f"an owner may have {self._most_hosts} hosts (maxDomainsPerOwner), and has as many"
        beyond = {wish.host: reason for wish in new[room:]}
        return [wish for wish in wishes if wish.host not in beyond], beyond

    def _name(self, lookup: Lookup) -> Shown:
        """What a repository is called by Forgejo, as far as that is known."""
        noticed = self._noticed.get(lookup.key)
        before = noticed.mark.name if noticed is not None else None
        return _mark(lookup).name or before or Shown(*lookup.key)

    async def _known(self, name: Shown, record_name: str) -> dict[str, Value]:
        """What stands there of a site: its record, and the reverse keys of the Traefik plugin.

        Empty while Redis is away: what is wished then is weighed again when it is back.
        """
        reverse = (reverse_key(*name[:2]), reverse_key(*name.site))
        known = await self.store.read(dict.fromkeys([record_name, *(each for each in reverse if each is not None)]))
        return {} if known is NO_ANSWER else known

    def _told(self, outcome: Outcome) -> None:
        """Others should know what hosts show now; also called when Redis is back."""
        if self.hosts is not None:
            for host in (*outcome.registered, *outcome.released, *outcome.conflicts):
                self.hosts.changed(host)
        if outcome.record is not None and (outcome.registered or outcome.released):
            self.told((outcome.record.owner.lower(), outcome.record.repository.lower()))
        if outcome.record is not None and outcome.record.gone is not None:
            self._free_later((outcome.record.owner.lower(), outcome.record.repository.lower()), outcome.record.gone)

    async def _vanished(self, key: Key, name: Shown, nothing: Report) -> Report:
        """A repository that is gone or no longer public: its domains are freed after a grace."""
        try:
            await self._forge.version()  # a front server's 404 is no answer of Forgejo's
        except ForgejoError:
            return replace(nothing, trouble=_FORGEJO_SAYS_NOTHING)
        plan = claims.vanished(name, found=(), now=self._now(), grace=self._grace)
        told = await self.store.change(plan)
        if told is NO_ANSWER:
            return replace(nothing, trouble=_REDIS_SAYS_NOTHING)
        self._told(told)
        if self.routers is not None:
            await self.routers.withdraw(list(told.released))
        if told.record is not None:
            return replace(nothing, trouble=f"it is gone; its domains are freed after {self._grace} s")
        return replace(nothing, released=told.released)

    async def _branches_of_the_plugin(self, reverse: Mapping[str, Value]) -> list[str]:
        """Hosts of branches that the Traefik plugin registered of a site, and that nobody may name any more.

        Looked for once: what is adopted stands in the record from then on.
        """
        found: list[bytes] = []
        for name, value in reverse.items():
            if value is not None:
                with suppress(StoreAway):
                    prefix = f"{name}:branch:"
                    found_keys = [key async for key in self.store.names(prefix, most=_MOST_SCANS)]
                    owner, _, repository = name.partition(":")
                    # Those that may be content of a branch called `branch` are none.
                    keys = [key for key in found_keys if reverse_key(owner, repository, key[len(prefix) :])]
                    told = await self.store.read(keys)
                    found += [] if told is NO_ANSWER else [host for host in told.values() if host is not None]
        return [host.decode("ascii", "replace") for host in found if len(host) <= 253]

    # Whose a name is that two sites want.

    async def _challenged(
        self, repository: Repository, conflicts: Mapping[str, Shown]
    ) -> tuple[dict[str, Shown], bool]:
        """Whom a host may be taken from, and whether any may have become free."""
        beaten: dict[str, Shown] = {}
        freed = False
        for host, holder in list(conflicts.items())[:_MOST_CHALLENGES]:
            lock = self._locks.get(holder.site)
            if lock is not None and lock.locked():
                continue  # it may be waiting for us
            await self.reconcile(*holder.site, challenged=True, due_only=True)
            lookup = self._sites.peek(holder.site)
            other = lookup.repository if lookup is not None else None
            if other is not None and lookup is not None and other.id == repository.id and lookup.trouble is None:
                beaten[host] = holder  # it is the same one, under the name that it had
            elif not holder.same_as(await self._shown(host)):
                freed = True
            elif await self._desired.beats(repository, host, holder, other.id if other is not None else 0):
                beaten[host] = holder
        return beaten, freed

    async def _shown(self, host: str) -> Shown | None:
        found = await self.store.get(host)
        return None if found is NO_ANSWER else found

    async def may_have_certificate(self, host: str) -> bool:
        """Whether a certificate may be asked for a host that a site has: DNS leads it here, or proves it the site's.

        Else whoever can push a file could name a stranger's host, and use up what the certificate authority allows.
        """
        prover = self._desired.prover
        if prover is None:
            return True
        leads = await prover.leads_here(host)
        if leads or await self._is_proven(host, prover):
            self._certified[host] = None
            while len(self._certified) > _MOST_KNOWN:
                self._certified.popitem(last=False)
            return True
        if leads is None:  # silence changes nothing
            return host in self._certified
        self._certified.pop(host, None)
        return False

    async def _elsewhere(self, hosts: Iterable[str]) -> tuple[str, ...]:
        """Those of some hosts that may have no certificate; asked side by side."""
        names = list(hosts)
        allowed = await asyncio.gather(*map(self.may_have_certificate, names))
        return tuple(name for name, may in zip(names, allowed) if not may)

    async def _is_proven(self, host: str, prover: Prover) -> bool:
        """Whether DNS proves a host's domain to be the site's that has it; `www.` is its domain's."""
        for name in dict.fromkeys((host, host.removeprefix("www."))):
            shown = await self._shown(name)
            known = None if shown is None else await self.store.read([domains_key(*shown.site)])
            if shown is None or known is None or known is NO_ANSWER:
                continue
            record = known_record(known.get(domains_key(*shown.site)))
            for claim in record.claims if record is not None else ():
                if claim.branch is not None or not (name == claim.host or name.endswith(f".{claim.host}")):
                    continue
                if claim.proven or (await prover.proof(claim.host, *shown[:2], record.id if record else 0)).proven:
                    return True
        return False

    # Hosts that nobody has registered.

    async def discover(self, host: str) -> Shown | None:
        """What an unknown host shows, if DNS names a site that names it; registers it."""
        prover = self._desired.prover
        if prover is None:
            return None
        try:
            name = self.names.domain(host)
        except NameRefused:
            return None
        visitor = account().visitor
        if visitor and not self._strangers.allows(f"visitor {visitor}", registrable_domain(name) or name):
            return None
        for site in await prover.named_sites(name):
            report = await self.reconcile(site.owner, site.repository, due_only=True)
            if name in report.held:
                return report.held[name]
        return None

    async def release(self, host: str, *, by_hand: bool = False) -> Report | None:
        """Free a host and the hosts of branches below it; None where Redis gives no answer.

        by_hand: even one that was set by hand.
        """
        held = await self.store.get(host)
        told = await self.store.change(claims.released(host.lower(), by_hand=by_hand))
        if told is NO_ANSWER or held is NO_ANSWER:
            return None
        self._told(told)
        if self.routers is not None:
            await self.routers.withdraw(list(told.released))
        owner, repository = (held.owner, held.repository) if held is not None else ("", "")
        if held is not None:
            self._noticed.pop(held.site, None)
        return Report(owner, repository, released=told.released, refused=told.refused)


def _is_definite(lookup: Lookup) -> bool:
    return lookup.fault not in (Fault.TROUBLE, Fault.REFUSED, Fault.TOO_MANY_FILES, Fault.TOO_LARGE)


def _mark(lookup: Lookup) -> _Mark:
    repository = lookup.repository
    name = None if repository is None else Shown(repository.owner, repository.name)
    return _Mark(lookup.commit, lookup.fault, lookup.reason, 0 if repository is None else repository.id, name)
