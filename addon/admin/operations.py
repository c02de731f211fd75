# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What `adminListen` is told and may do: the parts of a running server, seen from the operator's side.

Collects numbers, decides nothing about sites. The surprise: whether an owner has a site, for `/ask`, cannot be read off
anywhere; what memory holds is looked at first, then the profile, then the owner's newest repositories, until one is a
site. Strangers make names up, so few such questions are asked at one time, and their answers are remembered.
"""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from addon.admin import component_health, site_list
from addon.admin.access_log import AccessLog
from addon.admin.cache_warming import Warmed
from addon.admin.component_health import HealthMonitor
from addon.admin.component_metrics import MeteredComponents
from addon.admin.listener import Purged
from addon.admin.process_metrics import Numbers, Section, added_up, shown
from addon.admin.site_list import Row
from addon.domains.resolver import Domains
from addon.domains.store import DomainStore
from addon.forgejo.client import Forgejo
from addon.forgejo.errors import ForgejoError
from addon.library.library import Library
from addon.settings.schema import Settings
from addon.shared.domain_mappings import Mapping as Mapped
from addon.shared.lookup import Key, key_of
from addon.shared.round_trips import RoundTrips, checked_replies
from addon.web.forwarding import Forwarding
from addon.web.routing import PROFILE, host_name, is_owner_name, is_repository_name, owner_of

KNOWN_FOR: Final = 600.0
UNKNOWN_FOR: Final = 30.0
"""Seconds for which it is remembered that an owner has a site, or has none."""
AT_ONCE: Final = 4
"""Owners of whom it is found out at one time; more are told "no" and may ask again."""
_NEWEST = 10
"""Repositories of an owner that are looked at."""
_MOST_OWNERS = 10_000
_MOST_REFUSALS = 50
_MOST_SITES = 20
_MOST_ERRORS = 20
_UNTOLD = frozenset({"errors", "Webhook", "Proxy in front", "Disk"})
"""Sections that the components' health speaks for."""
STANDING: Final = 5000.0
"""Milliseconds of lag from which on a process is not well."""

WELL: Final = "ok"

FaceNumbers = Callable[[], Mapping[str, object]]
"""What the faces have answered, and who is connected."""


def how_well(lag: object, only_faults: bool) -> str:
    """WELL, or why pages are not served. lag: the event loop's, in milliseconds."""
    if only_faults:
        return "all answers are faults of this server; see the log"
    return WELL if isinstance(lag, int | float) and lag < STANDING else "the event loop is held up"


class PagesOperations:
    """The admin operations of a server, one object. Lives on the event loop. State: what was found out about owners."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        forgejo: Forgejo,
        store: DomainStore,
        domains: Domains,
        *,
        version: str,
        purge: Callable[[Key | None], Awaitable[bool]],
        faces: FaceNumbers = dict,
        refusals: Callable[[int], Mapping[str, str]] = lambda most: {},
        certifiable: Callable[[str], Awaitable[bool]],
        process: Callable[[], Section],
        parts: MeteredComponents,
        health: HealthMonitor,
        access_log: AccessLog | None = None,
        forwarding: Forwarding,
        sites: Callable[[], Awaitable[Mapping[int, Sequence[Row]]]],
        warm: Callable[[Key], Awaitable[Warmed]],
        siblings: Callable[[], Awaitable[Mapping[int, Numbers]]],
        processes: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """version: of this software. purge: in all processes. faces: counters of the lane and of mitmproxy's flows.
        clock: monotonic seconds.

        refusals: which domains were refused, and why; no more than it is told. certifiable: whether a certificate may
        be asked for a custom domain that is registered. process: what this one counts of itself. parts: those that
        count. sites: the lists of the other processes. siblings: the `numbers` of those of them that answer. processes:
        how many there are in all.
        """
        self._settings = settings
        self._library = library
        self._forgejo = forgejo
        self._store = store
        self._domains = domains
        self._version = version
        self._purge = purge
        self._faces = faces
        self._refusals = refusals
        self._certifiable = certifiable
        self._process = process
        self._metered = parts
        self._health = health
        self._access_log = access_log
        self._forwarding = forwarding
        self._sibling_sites = sites
        self._warm = warm
        self._siblings = siblings
        self._processes = processes
        self._clock = clock
        self._began = clock()
        self._owners: OrderedDict[str, tuple[bool, float]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[bool]] = {}

    # Health and numbers.

    async def health(self) -> tuple[bool, Mapping[str, object]]:
        """Pages are served as long as this answers: neither Redis nor Forgejo being away is a reason to stop.

        A process that stands still is replaced by the supervisor, and is left out of the count meanwhile.
        """
        says = how_well(self._process()["event_loop_lag_ms"], self._metered.meter.only_faults(self._clock()))
        well = says == WELL
        return well, {
            "status": says,
            "redis": self._redis_state(),
            "forgejo": self._forgejo_state(),
            "processes": self._processes,
            "processes_answering": 1 + len(await self._siblings()),
        }

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Whether visitors should be sent here: it listens (or nobody could ask), and there is what can be served."""
        sites = self._sites()
        well = self._library.trouble is None or sites > 0
        return well, {
            "status": "ready" if well else "Forgejo does not answer, and no site is known",
            "forgejo": self._forgejo_state(),
            "redis": self._redis_state(),
            "sites": sites,
        }

    def numbers(self) -> Numbers:
        """What this process counts."""
        memory = self._library.memory
        looked = memory.hits + memory.misses
        return {
            "process": {**self._process(), "version": self._version, "processes": self._processes},
            "meters": self._metered.collect(),
            "Requests": dict(self._faces()),
            "Memory": {
                "used_bytes": memory.used,
                "limit_bytes": memory.capacity,
                "entries": len(memory),
                "evictions": memory.evictions,
                "hits": memory.hits,
                "misses": memory.misses,
                "hit_rate": memory.hits / looked if looked else None,
                "sites": self._sites(),
            },
            "Forgejo": {
                "state": self._forgejo_state(),
                "calls": self._forgejo.calls,
                "token_refused": self._forgejo.token_refused,
                "clock_skew_seconds": self._forgejo.clock_skew,
            },
            "Redis or Valkey": self._redis(),
            "Custom domains": {
                "enabled": self._settings.enable_custom_domains,
                "pending_writes": self._store.owes,
            },
            "Webhook": {"accepted_at": self._metered.webhook.accepted_at, "wrong_at": self._metered.webhook.wrong_at},
            "Proxy in front": {"silent": self._forwarding.silent},
            "Disk": {
                "access_log": "" if self._access_log is None else self._access_log.trouble,
                "access_log_lines_lost": 0 if self._access_log is None else self._access_log.lost,
                "state_dir": no_room(self._settings.state_dir),
            },
            "errors": {"last": self._metered.meter.errors()},
        }

    def own_sites(self) -> list[Row]:
        """The sites that this process holds, those that were asked for most first."""
        return site_list.rows(self._library, self._metered.meter)

    async def sites(self, by: str, most: int) -> list[Row]:
        """The sites of all processes, by one of `SORTED_BY`."""
        each = [self.own_sites(), *(await self._sibling_sites()).values()]
        return site_list.arranged(site_list.merged(each), by, most)

    async def every(self) -> list[Numbers]:
        """What each process counts, by number; those that do not answer are left out."""
        told = [self.numbers(), *(await self._siblings()).values()]
        return sorted(told, key=lambda numbers: str(numbers["process"]["number"]).zfill(6))

    async def status(self) -> Mapping[str, Mapping[str, object]]:
        """By section, of all processes together; `Processes` says which is which."""
        every = await self.every()
        told: dict[str, Mapping[str, object]] = {
            "Server": {
                "version": self._version,
                "pages_domain": self._settings.pages_domain,
                "running_seconds": round(self._clock() - self._began),
                "processes": self._processes,
                "processes_answering": len(every),
            },
        }
        sections = added_up(every)
        if self._library.shared_looks is not None:
            sections["Redis or Valkey"]["latency_ms"] = await self._latency()
        told["Parts"] = component_health.as_json(self._health.check(every))
        told |= {name: rows for name, rows in sections.items() if name not in _UNTOLD}
        told["Processes"] = shown(numbers["process"] for numbers in every)
        refused = self._refusals(_MOST_REFUSALS)
        if refused:
            told["Refused domains"] = refused
        told["Sites"] = {row["site"]: row for row in await self.sites("hits", _MOST_SITES)}
        needs = self._metered.registry.needs(_MOST_REFUSALS)
        told["Domains that need something"] = {
            host: {"site": site, "state": state, "needs": what} for host, site, state, what in needs
        }
        errors = sorted((error for each in every for error in _last(each)), key=_at, reverse=True)
        told["Last errors"] = {"errors": errors[:_MOST_ERRORS]}
        return told

    def _sites(self) -> int:
        return sum(lookup.site is not None for lookup in self._library.lookups())

    def _forgejo_state(self) -> str:
        trouble = self._library.trouble
        return "answers" if trouble is None else f"no answer: {trouble}"

    def _redis_state(self) -> str:
        looks = self._library.shared_looks
        if looks is None:
            return "none"
        return "away" if looks.shared.away else "answers"

    def _redis(self) -> Mapping[str, object]:
        looks = self._library.shared_looks
        told: dict[str, object] = {"state": self._redis_state()}
        if looks is None:
            return told
        shared, stats = looks.shared, looks.shared.client.stats()
        told["refuses_writes"] = shared.refuses_writes
        told["server"] = self._redis_server(shared.client.endpoint)
        told["client_tracking"] = looks.live
        told["round_trips"] = shared.trips
        told["connections_in_use"] = stats.in_use
        told["connections_idle"] = stats.idle
        told["connections_limit"] = stats.max_connections
        told["connections_opened"] = stats.created
        told["connections_failed"] = stats.failed
        told["waits_for_a_connection"] = stats.waited
        return told

    def _redis_server(self, endpoint: object) -> str:
        """Which it is now: with sentinels that changes."""
        if self._settings.names_cluster:
            return f"the cluster of {endpoint}"
        return f"{endpoint}, the master by its sentinels" if self._settings.names_sentinels else str(endpoint)

    async def _latency(self) -> float | None:
        """Milliseconds that Redis takes for an answer; None where there is none."""
        looks = self._library.shared_looks
        began = time.perf_counter()
        answered = looks is not None and await looks.shared.run(_ping)
        return (time.perf_counter() - began) * 1000 if answered else None

    # Purging.

    async def purge(self, what: str | None) -> Purged | None:
        """Look again at OWNER/REPO, at the site of a host, or at everything; None where that is none of these."""
        key = None if what is None else await self._repository(what)
        if what is not None and key is None:
            return None
        everywhere = await self._purge(key)
        return Purged(None if key is None else "/".join(key), everywhere)

    async def warm(self, what: str) -> Warmed | None:
        """Make the site of OWNER/REPO or of a host ready in all processes; None where that is none of these."""
        key = await self._repository(what)
        return None if key is None else await self._warm(key)

    async def _repository(self, what: str) -> Key | None:
        owner, slash, name = what.lower().partition("/")
        if slash:
            return (owner, name) if is_owner_name(owner) and is_repository_name(name) else None
        host = host_name(what)
        if host is None:
            return None
        below = owner_of(host, self._settings.pages_domain)
        if below is not None:
            return (below, PROFILE) if is_owner_name(below) else None
        resolved = await self._domains.resolve(host)
        return resolved.mapping.site if isinstance(resolved.mapping, Mapped) else None

    # Certificates.

    async def may_have_certificate(self, host: str) -> bool:
        """Whether a host is ours: the pages domain, Forgejo's public one, an owner's with a site, or a custom domain.

        Of custom domains those that DNS leads here, or proves; also the twin, with or without `www.`, that redirects to
        one.
        """
        name = host_name(host)
        if name is None:
            return False
        if name in (self._settings.pages_domain, self._settings.forgejo_public_host):
            return True
        owner = owner_of(name, self._settings.pages_domain)
        if owner is not None and self._settings.address_style == "path":
            return False
        if owner is not None:
            return is_owner_name(owner) and await self._has_site(owner)
        if not self._settings.enable_custom_domains or "." not in name:
            return False
        twin = name.removeprefix("www.") if name.startswith("www.") else f"www.{name}"
        return (await self._is_mapped(name) or await self._is_mapped(twin)) and await self._certifiable(name)

    async def _is_mapped(self, host: str) -> bool:
        resolved = self._domains.peek(host) or await self._domains.resolve(host)
        return isinstance(resolved.mapping, Mapped)

    async def _has_site(self, owner: str) -> bool:
        known = self._owners.get(owner)
        if known is not None and self._clock() < known[1]:
            return known[0]
        task = self._asking.get(owner)
        if task is None:
            if len(self._asking) >= AT_ONCE:
                return known is not None and known[0]
            task = asyncio.ensure_future(self._find_site(owner))
            self._asking[owner] = task
            task.add_done_callback(lambda done: self._asking.pop(owner, None))
        found = await asyncio.shield(task)
        self._owners[owner] = found, self._clock() + (KNOWN_FOR if found else UNKNOWN_FOR)
        self._owners.move_to_end(owner)
        while len(self._owners) > _MOST_OWNERS:
            self._owners.popitem(last=False)
        return found

    async def _find_site(self, owner: str) -> bool:
        if any(lookup.site is not None and lookup.key[0] == owner for lookup in self._library.lookups()):
            return True
        try:
            names = await self._forgejo.repositories_of(owner, _NEWEST)
        except ForgejoError:
            names = [PROFILE]
        for name in sorted(names, key=lambda name: name.lower() != PROFILE):
            lookup = await self._library.look(key_of(owner, name))
            if lookup.site is not None:
                return True
        return False


def _last(numbers: Numbers) -> list[dict[str, Any]]:
    found = numbers["errors"]["last"]
    return found if isinstance(found, list) else []


def _at(error: Mapping[str, Any]) -> float:
    return float(error["at"])


def no_room(folder: Path) -> str:
    """Why nothing could be written into a folder; "" where something could."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return f"{folder}: {error.strerror}"
    if not found.f_bavail or (found.f_files and not found.f_favail):
        return f"{folder}: no room is left on its disk"
    return ""


def _ping(trips: RoundTrips) -> bool:
    return bool(checked_replies(trips.run([("PING",)])))
