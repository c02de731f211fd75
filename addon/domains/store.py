# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Where mappings of hosts stand: Redis, or memory where there is none. One interface, and nothing here raises but a
listing.

All changes are plans (see `transactions`). While Redis is away they are made in memory, over what was last seen there,
hold for this process, and are owed: when it answers again they run anew against what it has, so that what others
registered meanwhile is respected. Nothing that is known is forgotten because Redis is away; what is not known then is
`NO_ANSWER`, which is neither yes nor no.
"""

import asyncio
import enum
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final, Literal, TypeVar

from addon.domains import transactions
from addon.domains.transactions import Planned, Value, View, Writes, planned
from addon.shared.cache import SharedCache
from addon.shared.domain_mappings import (
    CUSTOM_DOMAIN,
    DOMAINS,
    Mapping,
    custom_domain_key,
    domains_key,
    host_of,
    mapping_of,
)
from addon.shared.domain_records import SiteDomains, read_record
from addon.shared.records import Broken, Foreign
from addon.shared.round_trips import RoundTrips

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_SEEN = 4 * 1024 * 1024
"""Bytes of what was last seen in Redis, for the time when it is away; served hosts are in the memory of `Domains`."""
_BATCH = 500
_LOOK_AGAIN = 0.05
_WAIT_MOST = 5.0


class NoAnswer(enum.Enum):
    """Redis does not say, and it is not known otherwise."""

    NO_ANSWER = "no answer"


NO_ANSWER: Final[Literal[NoAnswer.NO_ANSWER]] = NoAnswer.NO_ANSWER


class StoreAway(Exception):
    """Redis gave no answer in the midst of a listing."""


class DomainStore:
    """Mappings of hosts, and the records of who registered them. Lives on the event loop."""

    def __init__(self, shared: SharedCache | None) -> None:
        self._shared = shared
        self._seen: OrderedDict[str, Value] = OrderedDict()  # of Redis
        self._seen_bytes = 0
        self._own: dict[str, Value] = {}  # without Redis: all there is; with it: what was changed while it was away
        self._owed: dict[object, Callable[[], Awaitable[bool]]] = {}
        self._paying: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()  # of this process's changes, where a journal lets but one through anyway

    @property
    def shared(self) -> bool:
        """Whether there is a Redis, away or not."""
        return self._shared is not None

    @property
    def owes(self) -> int:
        """How many changes Redis has not got yet."""
        return len(self._owed)

    async def aclose(self) -> None:
        """Try once more to write what is owed."""
        if self._paying is not None:
            self._paying.cancel()
            if self._shared is not None and not self._shared.away:
                await self._pay()

    # Reading.

    async def get(self, host: str) -> Mapping | NoAnswer | None:
        """What a host shows; None where nobody has registered it, or its key holds nonsense."""
        name = custom_domain_key(host)
        values = await self.read((name,))
        if values is NO_ANSWER:
            return NO_ANSWER
        value = values[name]
        return None if value is None else mapping_of(value)

    async def record(self, owner: str, repository: str) -> SiteDomains | NoAnswer | None:
        """What a site has registered by way of its `.pages`; None for nothing, or what nobody can read."""
        name = domains_key(owner, repository)
        values = await self.read((name,))
        return NO_ANSWER if values is NO_ANSWER else known_record(values[name])

    async def read(self, names: Iterable[str]) -> dict[str, Value] | NoAnswer:
        """What keys hold, while Redis is away as far as that is known."""
        asked = tuple(names)
        if self._shared is None:
            return {name: self._own.get(name) for name in asked}
        values = await self._shared.run(lambda trips: transactions.read(trips, asked))
        if values is not None:
            found = dict(zip(asked, values, strict=True))
            self._see(found)
            return found
        # That nobody had a host when we last looked says little of now.
        known = {name: self._own.get(name, self._seen.get(name)) for name in asked}
        return known if all(name in self._own or known[name] is not None for name in asked) else NO_ANSWER

    async def mappings(self) -> AsyncIterator[tuple[str, Mapping | None]]:
        """Every host that has a key, and its mapping (None for nonsense), in no order. Raises StoreAway."""
        async for name, value in self._all(CUSTOM_DOMAIN):
            host = host_of(name)
            if host is not None:
                yield host, None if value is None else mapping_of(value)

    async def records(self, owner: str | None = None) -> AsyncIterator[SiteDomains]:
        """Every record that can be read, or those of one owner's sites, in no order. Raises StoreAway."""
        async for _, value in self._all(DOMAINS if owner is None else f"{DOMAINS}{owner.lower()}/"):
            record = known_record(value)
            if record is not None:
                yield record

    async def names(self, prefix: str, *, most: int | None = None) -> AsyncIterator[str]:
        """The names of all keys that begin so. most: how many trips to Redis that may take. Raises StoreAway."""
        if self._shared is None:
            for name in [name for name, value in self._own.items() if name.startswith(prefix) and value is not None]:
                yield name
            return
        pattern = "".join(f"\\{each}" if each in "*?[]^\\" else each for each in prefix) + "*"
        cursor: bytes | int = 0
        told: set[str] = set()
        while True:
            cursor, found = await self._scanned(cursor, pattern)
            for each in found:
                text = each.decode("utf-8", "replace")
                if text not in told:  # a key may come twice
                    told.add(text)
                    yield text
            if most is not None:
                most -= 1
            if int(cursor) == 0 or most == 0:
                return

    async def _all(self, prefix: str) -> AsyncIterator[tuple[str, Value]]:
        batch: list[str] = []
        async for name in self.names(prefix):
            batch.append(name)
            if len(batch) >= _BATCH:
                for pair in await self._values(batch):
                    yield pair
                batch = []
        for pair in await self._values(batch):
            yield pair

    async def _values(self, names: list[str]) -> list[tuple[str, Value]]:
        if self._shared is None or not names:
            return [(name, self._own.get(name)) for name in names]
        values = await self._shared.run(lambda trips: transactions.read(trips, names))
        if values is None:
            raise StoreAway("Redis does not answer")
        return [(name, value) for name, value in zip(names, values, strict=True) if value is not None]

    async def _scanned(self, cursor: bytes | int, pattern: str) -> tuple[bytes | int, list[bytes]]:
        """Names of keys that a glob matches, on all nodes if there are many, and the cursor of the next such call."""
        assert self._shared is not None
        command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _BATCH)
        reply: tuple[bytes | int, list[bytes]] | None = await self._shared.run(lambda trips: trips.everywhere(*command))
        if reply is None:
            raise StoreAway("Redis does not answer")
        return reply

    # Changing.

    async def change(
        self,
        plan: Planned[T],
        *,
        owed: object = None,
        life: float = 0.0,
        late: Callable[[T], object] = lambda result: None,
    ) -> T | NoAnswer:
        """Carry out a plan, in one step, and say what it says.

        owed: where Redis is away, carry it out in memory meanwhile, and in Redis when it is back: instead of what was
        owed under the same name before; `late` then gets what it says at last. None: only now or not at all. life:
        seconds that what is written stays in Redis; 0 for ever.
        """
        if self._shared is None:
            return self._in_memory(plan)
        result = await self._in_redis(plan, life)
        if result is not NO_ANSWER:
            self._owed.pop(owed, None)
            return result
        if owed is None:
            return NO_ANSWER

        async def pay() -> bool:
            told = await self._in_redis(plan, life)
            if told is NO_ANSWER:
                return False
            late(told)
            return True

        self._owed[owed] = pay
        if self._paying is None or self._paying.done():
            self._paying = asyncio.ensure_future(self._pay_when_back())
        return self._in_memory(plan)

    async def _in_redis(self, plan: Planned[T], life: float) -> T | NoAnswer:
        assert self._shared is not None

        def job(trips: RoundTrips) -> tuple[T, dict[str, Value]]:
            return transactions.patiently(trips, plan, life)

        if self._shared.client.clustered:
            async with self._turn:  # waited for here, and not on a thread, which others need
                told = await self._shared.run(job)
        else:
            told = await self._shared.run(job)
        if told is None:
            return NO_ANSWER
        result, values = told
        self._see(values)
        return result

    def _in_memory(self, plan: Planned[T]) -> T:
        def read(names: tuple[str, ...]) -> list[Value]:
            return [self._own.get(name, self._seen.get(name)) for name in names]

        _, writes, result = planned(plan, read)
        if self._shared is not None:
            self._own |= writes
        else:
            for name, value in writes.items():
                if value is None:
                    self._own.pop(name, None)
                else:
                    self._own[name] = value
        return result

    async def _pay_when_back(self) -> None:
        assert self._shared is not None
        pause = _LOOK_AGAIN
        while self._owed:
            await asyncio.sleep(pause)
            if self._shared.away:
                pause = _LOOK_AGAIN
            elif await self._pay():
                logger.info("the domain changes that waited for Redis are written")
                return
            else:
                pause = min(2 * pause, _WAIT_MOST)  # it answers, but not this

    async def _pay(self) -> bool:
        while self._owed:
            key, pay = next(iter(self._owed.items()))
            if not await pay():
                return False
            if self._owed.get(key) is pay:
                del self._owed[key]
        self._own.clear()
        return True

    def _see(self, values: dict[str, Value]) -> None:
        for name, value in values.items():
            if name in self._seen:
                self._seen_bytes -= _nbytes(name, self._seen.pop(name))
            self._seen[name] = value
            self._seen_bytes += _nbytes(name, value)
        while self._seen_bytes > _MOST_SEEN:
            self._seen_bytes -= _nbytes(*self._seen.popitem(last=False))


def _nbytes(name: str, value: Value) -> int:
    return 250 + len(name) + (len(value) if value is not None else 0)


def known_record(value: Value) -> SiteDomains | None:
    """The record that a value is; None where there is none that we can read."""
    if value is None:
        return None
    try:
        return read_record(value)
    except (Broken, Foreign):
        return None


__all__ = ["NO_ANSWER", "DomainStore", "NoAnswer", "StoreAway", "View", "Writes", "known_record"]
