# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How many passwords may be tried: per visitor at a site, per visitor everywhere, and per site from everywhere.

The state is three tallies of failures and one list of visitors who once knew the password, each bounded. An attempt is
counted when it is admitted and taken back when it was right, so that a thousand at once are no better than one after
the other. The surprising decision: a site under attack has two limits, a low one for addresses that failed there and a
high one for all others, and none for who knew the password before: nobody can lock a site's readers out by failing.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, Protocol, TypeVar

from addon.access.signing_key import SigningKey

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Limits(NamedTuple):
    """All numbers. Times and waits in seconds, rates in failures forgotten per second.

    A visitor at a site has `free` tries, then waits `first_wait`, twice that, … up to `longest_wait` after each; a day
    without a failure (`forgotten`) begins anew. The leaky tallies of a visitor everywhere and of a site hold so many
    failures before they make anybody wait.
    """

    free: int = 5
    first_wait: float = 1.0
    longest_wait: float = 900.0
    forgotten: float = 86_400.0
    visitor_most: float = 60.0
    visitor_rate: float = 1 / 30
    site_most_failed: float = 50.0
    site_most: float = 500.0
    site_rate: float = 1.0
    remembered: int = 20_000


LIMITS = Limits()


class Admission(NamedTuple):
    """Whether an attempt may be made now (`wait` is 0), or in how many seconds; and whether it goes before others."""

    wait: float
    first: bool


class Guesses(Protocol):
    """The count of failed attempts; in memory here, or shared by several processes.

    site and visitor are texts without spaces: `alice/blog`, `192.0.2.7`, `2001:db8::/64`. `admit` counts the attempt as
    failed; `succeeded` says afterwards that it was right, `withdrawn` that it could not be checked.
    """

    def waiting(self, site: str, visitor: str) -> float:
        """Seconds this visitor must wait after failures of its own at this site, as far as known here; never waits."""

    def adopt(self, key: SigningKey) -> None:
        """Where names are made with a key: use this one from now on."""

    async def admit(self, site: str, visitor: str) -> Admission: ...
    async def succeeded(self, site: str, visitor: str) -> None: ...
    async def withdrawn(self, site: str, visitor: str) -> None: ...


def wait_after(failures: int, limits: Limits = LIMITS) -> float:
    """Seconds between the last of so many failures and the next try."""
    excess = failures - limits.free
    if excess < 0:
        return 0.0
    return min(limits.longest_wait, limits.first_wait * 2.0 ** min(excess, 30))


class Bounded(Generic[Key, Value]):
    """A mapping of at most so many entries; those untouched for longest go first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def get(self, key: Key) -> Value | None:
        return self._entries.get(key)

    def put(self, key: Key, value: Value) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def drop(self, key: Key) -> None:
        self._entries.pop(key, None)

    def items(self) -> list[tuple[Key, Value]]:
        """All entries, those untouched for longest first."""
        return list(self._entries.items())


class _Failures(NamedTuple):
    number: int
    last: float


class _Level(NamedTuple):
    """A leaky tally: its level at a time, from which it sinks by its rate."""

    level: float
    since: float

    def at(self, now: float, rate: float) -> float:
        return max(0.0, self.level - (now - self.since) * rate)


class GuessesInMemory:
    """The `Guesses` of one process; lives on the event loop."""

    def __init__(self, clock: Callable[[], float], limits: Limits = LIMITS) -> None:
        """clock: monotonic seconds."""
        self._clock = clock
        self._limits = limits
        self._pairs: Bounded[tuple[str, str], _Failures] = Bounded(limits.remembered)
        self._visitors: Bounded[str, _Level] = Bounded(limits.remembered)
        self._sites: Bounded[str, _Level] = Bounded(limits.remembered)
        self._known: Bounded[tuple[str, str], None] = Bounded(limits.remembered)

    def __len__(self) -> int:
        """How many entries are held."""
        return len(self._pairs) + len(self._visitors) + len(self._sites) + len(self._known)

    def adopt(self, key: SigningKey) -> None:
        """Nothing here is named."""

    def waiting(self, site: str, visitor: str) -> float:
        now = self._clock()
        failures = self._failures(site, visitor, now)
        return max(0.0, wait_after(failures.number, self._limits) - (now - failures.last))

    async def admit(self, site: str, visitor: str) -> Admission:
        """Count an attempt, unless there is a wait; a refused one counts for nothing and makes no wait longer."""
        now, limits = self._clock(), self._limits
        failures = self._failures(site, visitor, now)
        own = self._level(self._visitors, visitor, now, limits.visitor_rate)
        all_here = self._level(self._sites, site, now, limits.site_rate)
        known = (site, visitor) in self._known
        most_here = limits.site_most_failed if failures.number else limits.site_most
        wait = max(
            wait_after(failures.number, limits) - (now - failures.last),
            (own + 1 - limits.visitor_most) / limits.visitor_rate,
            0.0 if known else (all_here + 1 - most_here) / limits.site_rate,
        )
        if wait > 0:
            return Admission(wait, False)
        self._pairs.put((site, visitor), _Failures(failures.number + 1, now))
        self._visitors.put(visitor, _Level(own + 1, now))
        self._sites.put(site, _Level(all_here + 1, now))
        return Admission(0.0, known or not failures.number)

    async def succeeded(self, site: str, visitor: str) -> None:
        """The visitor knows the password: its failures at this site are forgotten, and this attempt was none.

        Failures elsewhere stay: who has a site of his own could end every wait otherwise.
        """
        self._take_back(site, visitor)
        self._pairs.drop((site, visitor))
        self._known.put((site, visitor), None)

    async def withdrawn(self, site: str, visitor: str) -> None:
        self._take_back(site, visitor)
        failures = self._pairs.get((site, visitor))
        if failures is not None:
            self._pairs.put((site, visitor), failures._replace(number=max(0, failures.number - 1)))

    def _take_back(self, site: str, visitor: str) -> None:
        now, limits = self._clock(), self._limits
        own = self._level(self._visitors, visitor, now, limits.visitor_rate)
        all_here = self._level(self._sites, site, now, limits.site_rate)
        self._visitors.put(visitor, _Level(max(0.0, own - 1), now))
        self._sites.put(site, _Level(max(0.0, all_here - 1), now))

    def _failures(self, site: str, visitor: str, now: float) -> _Failures:
        failures = self._pairs.get((site, visitor))
        if failures is None or now - failures.last > self._limits.forgotten:
            return _Failures(0, now)
        return failures

    def _level(self, levels: "Bounded[Key, _Level]", key: Key, now: float, rate: float) -> float:
        found = levels.get(key)
        return 0.0 if found is None else found.at(now, rate)
