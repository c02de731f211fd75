# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How well each component is: green, yellow or red, since when, why, and what to do.

`health_of` is pure: it reads what all processes count. `HealthMonitor` remembers since when each component is so, and
checks every few seconds, for it has to be known also of what nobody was watching. The surprise: what hurts no visitor
is yellow, however broken it is; red is what visitors notice.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from addon.admin.process_metrics import Numbers
from addon.net.background import ended

GREEN, YELLOW, RED = "green", "yellow", "red"
EVERY: Final = 5.0
_DAY = 86_400.0
_SKEW = 30.0
"""Seconds by which our clock may differ from Forgejo's, which says whole seconds."""
_LATELY = 3_600.0
_COUNTED = {"faults": ("Requests", "faults"), "silent": ("Proxy in front", "silent")}
"""Counts of which it matters when they have last grown: section and field."""

_REMEDIES = {
    "worker": ("The log says which worker ended or hangs, and where; one that hangs is replaced after 10 s."),
    "lag": ('The log says what held them up ("the event loop was blocked"). If the machine is busy: more `processes`.'),
    "forgejo": (
        "Known sites are still served, marked as stale. Is Forgejo up, and forgejoHost right? `pages doctor` tries it."
    ),
    "token": "Make a new one in Forgejo (read access to repositories), write it to forgejoToken, and reload.",
    "clock": ("Synchronise both machines' clocks (`timedatectl set-ntp true`): logins, certificates and logs need it."),
    "redis": (
        "Pages come from memory and Forgejo; domains that are not in memory are unknown. Is Redis up? `pages doctor`"
    ),
    "writes": "Look at its memory: raise maxmemory, or set maxmemory-policy volatile-lru; or it is a replica.",
    "tracking": (
        "Changes by others are seen after memoryTTL. Needs Redis 6, and a user that may use CLIENT: `pages doctor`"
    ),
    "owed": "They are in effect here, and lost if this process ends. They are written when Redis accepts writes again.",
    "certificate": "Renew it: changed files are read again within seconds. The log says if one cannot be used.",
    "webhook": (
        "webhookSecret here and the secret of Forgejo's webhook have to be the same. Until then, cacheTTL decides."
    ),
    "proxy": (
        "Let the proxy in front send X-Forwarded-Proto (nginx: proxy_set_header X-Forwarded-Proto $scheme). "
        "Without it, no visitor counts as using HTTPS: there are no redirects to HTTPS, and logins are weaker."
    ),
    "descriptors": "Raise LimitNOFILE= of the service, or lower maxConnectionsPerAddress or idleTimeout.",
    "disk": "Free space on that disk, or let this user write there; lines that could not be written are lost.",
    "fault": "The log has where. Please report it with that traceback.",
}
"""What to do, by what is the matter."""


class Component(NamedTuple):
    """One component (`part`). says: how it is; remedy: what to do, where it is not green; since: seconds since 1970."""

    part: str
    colour: str
    says: str
    remedy: str = ""
    since: float = 0.0


class HealthMonitor:
    """State: the last health of each component, and since when."""

    def __init__(self, every: Callable[[], Awaitable[Sequence[Numbers]]], now: Callable[[], float] = time.time) -> None:
        """every: what each process counts. now: seconds since 1970."""
        self._every = every
        self._now = now
        self._known: dict[str, Component] = {}
        self._counts: dict[str, tuple[int, float]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Check from now on; on the loop."""
        self._task = asyncio.ensure_future(self._watch())

    async def aclose(self) -> None:
        """Check no more."""
        await ended(self._task)

    def check(self, every: Sequence[Numbers]) -> list[Component]:
        """How the components are by these numbers; of what has not changed its colour, since it had."""
        now, found = self._now(), []
        grown = {name: self._grown(name, _total(every, *place), now) for name, place in _COUNTED.items()}
        for component in health_of(every, now, grown):
            known = self._known.get(component.part)
            since = known.since if known is not None and known.colour == component.colour else now
            found.append(component._replace(since=since))
        self._known = {component.part: component for component in found}
        return found

    def _grown(self, name: str, count: int, now: float) -> float:
        """When a count has last grown; processes that are replaced begin theirs anew."""
        known, at = self._counts.get(name, (0, 0.0))
        if count > known:
            at = now
        self._counts[name] = count, at
        return at

    async def _watch(self) -> None:
        while True:
            self.check(await self._every())
            await asyncio.sleep(EVERY)


def health_of(every: Sequence[Numbers], now: float, grown: Mapping[str, float]) -> list[Component]:
    """The components by what each process counts (at least one). grown: when counts have last grown."""
    return [
        *_processes(every, now, grown["faults"]),
        *_forgejo(every),
        *_redis(every),
        *_edges(every, now, grown["silent"]),
        *_files(every),
    ]


def _total(every: Sequence[Numbers], section: str, field: str) -> int:
    return sum(_of(every, section, field))


def _of(every: Sequence[Numbers], section: str, field: str) -> list[Any]:
    return [numbers[section][field] for numbers in every if field in numbers.get(section, {})]


def _processes(every: Sequence[Numbers], now: float, fault_at: float) -> Iterator[Component]:
    there, wanted = len(every), int(_of(every, "process", "processes")[0])
    lag = max(_of(every, "process", "worst_event_loop_lag_ms"))
    if there < wanted:
        remedy = _REMEDIES["worker"]
        yield Component("Processes", RED if there * 2 <= wanted else YELLOW, f"{there} of {wanted} answer", remedy)
    elif lag > 1000:
        remedy = _REMEDIES["lag"]
        yield Component("Processes", YELLOW, f"the event loop was blocked for up to {lag / 1000:.1f} s", remedy)
    else:
        yield Component("Processes", GREEN, f"{there} of {wanted} answer")
    if now - fault_at < _LATELY:
        says = "an internal error within the last hour"
        yield Component("Faults", YELLOW, says, _REMEDIES["fault"])


def _forgejo(every: Sequence[Numbers]) -> Iterator[Component]:
    away = [state for state in _of(every, "Forgejo", "state") if state != "answers"]
    refused = any(_of(every, "Forgejo", "token_refused"))
    skews = [skew for skew in _of(every, "Forgejo", "clock_skew_seconds") if skew is not None]
    skew = max(skews, key=abs, default=0.0)
    if away:
        remedy = _REMEDIES["forgejo"]
        yield Component("Forgejo", RED, str(away[0]), remedy)
    elif refused:
        remedy = _REMEDIES["token"]
        yield Component(
            "Forgejo",
            YELLOW,
            "answers, but refuses forgejoToken: revoked, expired, or of too little scope",
            remedy,
        )
    else:
        yield Component("Forgejo", GREEN, "answers")
    if abs(skew) > _SKEW:
        way = "ahead of" if skew > 0 else "behind"
        remedy = _REMEDIES["clock"]
        yield Component("Clock", YELLOW, f"ours is {abs(skew):.0f} s {way} Forgejo's", remedy)


def _redis(every: Sequence[Numbers]) -> Iterator[Component]:
    states = _of(every, "Redis or Valkey", "state")
    if all(state == "none" for state in states):
        return
    if "away" in states:
        remedy = _REMEDIES["redis"]
        yield Component("Redis", YELLOW, "gives no answer", remedy)
    elif any(_of(every, "Redis or Valkey", "refuses_writes")):
        remedy = _REMEDIES["writes"]
        yield Component("Redis", YELLOW, "answers, but refuses writes: it is full, or a replica", remedy)
    elif not all(_of(every, "Redis or Valkey", "client_tracking")):
        remedy = _REMEDIES["tracking"]
        yield Component("Redis", YELLOW, "answers, but does not report changes", remedy)
    else:
        yield Component("Redis", GREEN, "answers, and reports changes")
    owed = sum(_of(every, "Custom domains", "pending_writes"))
    if owed:
        remedy = _REMEDIES["owed"]
        yield Component("Domains", YELLOW, f"{owed} changes wait for Redis", remedy)


def _edges(every: Sequence[Numbers], now: float, silent_at: float) -> Iterator[Component]:
    ends: dict[str, float] = {}
    for certificates in _of(every, "meters", "certificates"):
        ends |= certificates
    if ends:
        name = min(ends, key=ends.__getitem__)
        days = (ends[name] - now) / _DAY
        remedy = _REMEDIES["certificate"]
        if days < 0:
            yield Component("Certificates", RED, f"{name} has expired: browsers refuse it", remedy)
        elif days < 14:
            yield Component("Certificates", RED if days < 3 else YELLOW, f"{name} ends in {days:.1f} days", remedy)
        else:
            yield Component("Certificates", GREEN, f"the first of {len(ends)} ends in {days:.0f} days")
    wrong, right = (max(_of(every, "Webhook", field), default=0.0) for field in ("wrong_at", "accepted_at"))
    if wrong > right and now - wrong < _DAY:
        remedy = _REMEDIES["webhook"]
        yield Component("Webhook", YELLOW, "deliveries arrive with a wrong signature", remedy)
    elif right:
        yield Component("Webhook", GREEN, f"the last delivery came {_ago(now - right)} ago")
    if now - silent_at < _LATELY:
        remedy = _REMEDIES["proxy"]
        yield Component("Proxy in front", YELLOW, "forwards requests without saying whether they came by HTTPS", remedy)


def _files(every: Sequence[Numbers]) -> Iterator[Component]:
    used = [
        (numbers["process"]["open_files"], numbers["process"]["open_files_limit"], numbers["process"]["number"])
        for numbers in every
    ]
    full = max(used, key=lambda each: _share(each[0], each[1]))
    share = _share(full[0], full[1])
    if share > 0.8:
        remedy = _REMEDIES["descriptors"]
        says = f"process {full[2]} has {full[0]} of {full[1]} open"
        yield Component("File descriptors", RED if share > 0.95 else YELLOW, says, remedy)
    else:
        yield Component("File descriptors", GREEN, f"at most {share:.0%} in use")
    for part, field in (("Access log", "access_log"), ("stateDir", "state_dir")):
        troubles = [trouble for trouble in _of(every, "Disk", field) if trouble]
        if troubles:
            remedy = _REMEDIES["disk"]
            yield Component(part, YELLOW, str(troubles[0]), remedy)


def _share(used: object, limit: object) -> float:
    return used / limit if isinstance(used, int) and isinstance(limit, int) and limit > 0 else 0.0


def _ago(seconds: float) -> str:
    for unit, length in (("days", _DAY), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} seconds"


def as_json(components: Sequence[Component]) -> dict[str, Mapping[str, object]]:
    """The components for JSON, by name."""
    return {
        each.part: {
            "light": each.colour,
            "says": each.says,
            "since": round(each.since, 1),
            **({"remedy": each.remedy} if each.remedy else {}),
        }
        for each in components
    }
