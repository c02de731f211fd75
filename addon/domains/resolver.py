# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Host → mapping at the time of a request: out of memory, else out of Redis, else by finding out whose it might be.

A mapping is believed while Redis would tell of a change, else for `memoryTTL`; what is told makes it *suspect*, to be
read again before its next use. While Redis is away, what is known is served as it is, and what is not known gets no
"no". The surprise: "no such key" is not believed at once of a host that we serve: a Redis that was restarted empty says
so of every host. Where the mapped site still names the host, it goes on being served, and is registered anew.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from addon.domains.store import NO_ANSWER, NoAnswer
from addon.library.memory import Memory, SingleFlight
from addon.shared.domain_mappings import Mapping
from addon.web.prepared_answers import Fact

logger = logging.getLogger(__name__)

NEGATIVE_TTL: Final = 5.0
"""Seconds for which "nobody has registered it" is believed; where Redis tells of changes, they end it sooner."""
UNANSWERED_TTL: Final = 0.5
HICCUP: Final = 0.5
"""Seconds for which a Redis that gives no answer is asked again about a host of which nothing is known. On a busy
machine one late answer looks like an outage, and nobody but Redis knows hosts; in an outage that lasts, none waits."""
_PAUSE: Final = 0.02
_MOST_UNKNOWN: Final = 10_000
"""Hosts that nobody registered and that are remembered; strangers make them up, so they may not crowd out sites."""
_GENERATION: Final = ("domains",)
_COST: Final = 600
_ATTEMPTS: Final = 4


class Generation:
    """What all that was read since Redis was last lost or emptied has in common; a new one makes the rest suspect."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Resolved:
    """What is known of a host; as long as it is held, answers that were made from it stay good.

    mapping: None where nobody has registered it, NO_ANSWER where that could not be learned. believed: monotonic seconds
    until which a change would be told, or this is to be used. suspect: it is to be read again before its next use.
    generation: since when it is known; of an older one, it is suspect, too. sought: the finder was asked, too.
    """

    host: str
    mapping: Mapping | NoAnswer | None
    believed: float
    generation: Generation
    suspect: bool = False
    sought: bool = True


class Store(Protocol):
    """Where mappings stand."""

    @property
    def shared(self) -> bool: ...
    async def get(self, host: str) -> Mapping | NoAnswer | None: ...


class Domains:
    """Hosts and their mappings. Lives on the event loop.

    finder: asked for a host that nobody has registered. claims: whether the site of a mapping names the host. lost:
    told of a mapping that Redis has lost.
    """

    def __init__(
        self,
        store: Store,
        memory: Memory[tuple[str, ...], object],
        *,
        memory_ttl: float,
        told: Callable[[], bool] = lambda: True,
        away: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """memory_ttl: seconds for which memory is believed where nothing is told. clock: monotonic seconds.

        told: whether Redis tells of changes now. away: whether it does not answer.
        """
        self.finder: Callable[[str], Awaitable[Mapping | None]] | None = None
        self.claims: Callable[[str, Mapping], Awaitable[bool]] | None = None
        self.lost: Callable[[str, Mapping], object] = lambda host, mapping: None
        self._store = store
        self._memory = memory
        self._memory_ttl = memory_ttl
        self._told = told
        self._away = away
        self._clock = clock
        self._unknown: OrderedDict[str, Resolved] = OrderedDict()
        self._flights: SingleFlight[str] = SingleFlight()
        self._changes: dict[str, int] = {}  # of hosts that are being read
        self._generation = Generation()
        self._silent: float | None = None  # since when there are no answers, by the loop's clock

    # What is known, at once.

    def peek(self, host: str, *, seek: bool = True) -> Resolved | None:
        """What memory knows of a host (in lower case, without a port) and may be used now; never waits.

        seek: "nobody has registered it" is no answer unless the finder was asked.
        """
        found = self._held(host)
        if found is None or (seek and found.mapping is None and not found.sought and self.finder is not None):
            return None
        if self._away() and isinstance(found.mapping, Mapping):
            return found
        if found.suspect or found.generation is not self._generation or self._clock() >= found.believed:
            return None
        return found

    def good_until(self, resolved: Resolved) -> float:
        """Monotonic seconds until which an answer that rests on it needs no new look."""
        return float("inf") if self._away() else resolved.believed

    def facts(self, resolved: Resolved) -> tuple[Fact, Fact]:
        """What an answer rests on that was made from it: as long as memory holds both, it is what is known."""
        if self._memory.get(_GENERATION) is not self._generation:
            self._memory.put(_GENERATION, self._generation, 100)
        return (("domain", resolved.host), resolved), (_GENERATION, self._generation)

    # What has to be asked for.

    async def resolve(self, host: str, *, seek: bool = True) -> Resolved:
        """What a host shows; concurrent callers share one look. seek: ask the finder where nobody registered it."""
        found = await self._flights.do(host, lambda: self._resolve(host, seek))
        if seek and found.mapping is None and not found.sought:  # a look that others had begun
            found = await self._flights.do(host, lambda: self._resolve(host, seek))
        return found

    async def aclose(self) -> None:
        """Stop every look under way."""
        await self._flights.aclose()

    async def _resolve(self, host: str, seek: bool) -> Resolved:
        self._changes[host] = 0
        try:
            for _ in range(_ATTEMPTS):
                generation, changes, live, began = self._generation, self._changes[host], self._told(), self._clock()
                found, certain = await self._look(host, seek)
                spoiled = generation is not self._generation or changes != self._changes[host]
                if not spoiled:
                    break
            life = self._life(found, live) if certain else UNANSWERED_TTL
            return self._hold(Resolved(host, found, began + life, generation, spoiled, seek))
        finally:
            del self._changes[host]

    async def _look(self, host: str, seek: bool) -> tuple[Mapping | NoAnswer | None, bool]:
        """What a host shows; and whether that is what Redis says, not only what it said last."""
        known = self._held(host)
        mapping = known.mapping if known is not None and isinstance(known.mapping, Mapping) else None
        found = await self._store.get(host)
        if found is not NO_ANSWER:
            self._silent = None
        elif mapping is not None:
            return mapping, False
        else:
            found = await self._once_more(host)
            if found is NO_ANSWER:
                return found, True
        if found is None and mapping is not None and self.claims is not None and await self.claims(host, mapping):
            self.lost(host, mapping)
            return mapping, False  # another proxy may have released it, for a commit that is not known here yet
        if found is None and seek and self.finder is not None:
            try:
                return await self.finder(host), True
            except Exception:  # what strangers' DNS says must not be more than a "no" for them
                logger.exception("resolving the domain %s failed", host)
        return found, True

    async def _once_more(self, host: str) -> Mapping | NoAnswer | None:
        """What is registered of a host, if Redis says so again before its silence counts as an outage."""
        time_of_loop = asyncio.get_running_loop().time
        since = self._silent = self._silent if self._silent is not None else time_of_loop()
        while time_of_loop() < since + HICCUP:
            await asyncio.sleep(_PAUSE)
            if self._away():
                continue
            found = await self._store.get(host)
            if found is not NO_ANSWER:
                self._silent = None
                return found
        return NO_ANSWER

    def _life(self, found: Mapping | NoAnswer | None, live: bool) -> float:
        life = float("inf") if live else self._memory_ttl
        if found is None:
            return min(life, NEGATIVE_TTL)
        return UNANSWERED_TTL if found is NO_ANSWER else life

    # What is told.

    def changed(self, host: str) -> None:
        """The mapping of a host was changed, here or anywhere."""
        if host in self._changes:
            self._changes[host] += 1
        found = self._held(host)
        if found is not None:
            self._hold(replace(found, suspect=True))

    def everything(self) -> None:
        """Nothing that memory holds is known to be what is registered. However many hosts it holds, this is quick."""
        self._unknown.clear()
        self._generation = Generation()
        self._memory.drop(_GENERATION)

    def _held(self, host: str) -> Resolved | None:
        found = self._memory.get(("domain", host))
        return found if isinstance(found, Resolved) else self._unknown.get(host)

    def _hold(self, resolved: Resolved) -> Resolved:
        host = resolved.host
        if isinstance(resolved.mapping, Mapping):
            self._unknown.pop(host, None)
            self._memory.put(("domain", host), resolved, _COST + 2 * len(host))
            return resolved
        self._memory.drop(("domain", host))
        self._unknown[host] = resolved
        self._unknown.move_to_end(host)
        while len(self._unknown) > _MOST_UNKNOWN:
            self._unknown.popitem(last=False)
        return resolved
