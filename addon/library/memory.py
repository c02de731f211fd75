# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is held in memory, bounded in bytes, and one call for many who want the same thing.

The mutable state of `Memory` is one ordered dict, least recently used first, and the sum of its costs. Everything held
counts: each entry is charged its value's bytes, its key's and the dict's own, because ten million "no such repository"
answers are as good at filling a machine as one film. It lives on the event loop alone and needs no lock.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

from addon.net.fair_queue import Interest

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
Result = TypeVar("Result")

ENTRY_COST = 420
"""Bytes charged for an entry besides key and value: the ordered dict's slot and link (about 200 after growth), the key
tuple, the cost itself, and the allocator's rounding. Measured with one-byte values, see the memory benchmark."""


class Memory(Generic[Key, Value]):
    """A mapping bounded in bytes, least recently used out first."""

    def __init__(self, capacity: int) -> None:
        """capacity: bytes, everything counted."""
        self.capacity = capacity
        self.used = 0
        self.evictions = self.hits = self.misses = 0
        self.changes = 0
        """How often anything was put or removed: while it is the same, what was held is."""
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._kinds: dict[object, list[int]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        """The value, now the most recently used."""
        found = self._entries.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return found[0]

    def items(self) -> list[tuple[Key, Value]]:
        """All keys and values, least recently used first; none counts as used by this."""
        return [(key, value) for key, (value, _) in self._entries.items()]

    def values(self) -> list[Value]:
        """All values, least recently used first; none counts as used by this."""
        return [value for value, _ in self._entries.values()]

    def put(self, key: Key, value: Value, nbytes: int) -> None:
        """Hold a value of that many bytes (key included); what alone is above the capacity is not held."""
        cost = nbytes + ENTRY_COST
        self.drop(key)
        if cost > self.capacity:
            return
        self.changes += 1
        self._entries[key] = (value, cost)
        self.used += cost
        self._charge(key, 1, cost)
        while self.used > self.capacity:
            oldest, (_, freed) = self._entries.popitem(last=False)
            self.used -= freed
            self._charge(oldest, -1, -freed)
            self.evictions += 1

    def drop(self, key: Key) -> None:
        """Hold it no longer, if it was held."""
        found = self._entries.pop(key, None)
        if found is not None:
            self.changes += 1
            self.used -= found[1]
            self._charge(key, -1, -found[1])

    def _charge(self, key: Key, entries: int, nbytes: int) -> None:
        held = self._kinds.setdefault(key[0] if isinstance(key, tuple) else "", [0, 0])
        held[0] += entries
        held[1] += nbytes

    def kinds(self) -> dict[str, tuple[int, int]]:
        """Entries and bytes by what the keys begin with."""
        return {str(kind): (held[0], held[1]) for kind, held in self._kinds.items() if held[0]}

    def clear(self) -> None:
        self.changes += 1
        self._entries.clear()
        self._kinds.clear()
        self.used = 0


class SingleFlight(Generic[Key]):
    """Concurrent calls for one key share one run.

    The run goes on when a waiter is cancelled; when the last one is, what it has not begun (`net/fair_queue.py`) is
    dropped.
    """

    def __init__(self) -> None:
        self._running: dict[Key, tuple[asyncio.Future[Any], Interest]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def running(self, key: Key) -> bool:
        known = self._running.get(key)
        return known is not None and not known[0].done()

    def start(self, key: Key, work: Callable[[], Awaitable[Result]]) -> "asyncio.Future[Result]":
        """The run for this key, begun now if there is none. Its failure is raised to every waiter, or to nobody."""
        return self._started(key, work)[0]

    async def do(self, key: Key, work: Callable[[], Awaitable[Result]]) -> Result:
        """The result for this key, from the run under way or a new one."""
        run, interest = self._started(key, work)
        with interest.waiting():
            return await asyncio.shield(run)

    def _started(self, key: Key, work: Callable[[], Awaitable[Result]]) -> "tuple[asyncio.Future[Result], Interest]":
        known = self._running.get(key)
        if known is None or known[0].done():
            interest = Interest()

            async def run() -> Result:
                interest.bind()
                return await work()

            task = asyncio.ensure_future(run())
            self._running[key] = known = task, interest
            task.add_done_callback(lambda done: self._finished(key, done))
        return known

    async def aclose(self) -> None:
        """Cancel what runs and wait for it."""
        tasks = [task for task, _ in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, key: Key, task: "asyncio.Future[Any]") -> None:
        known = self._running.get(key)
        if known is not None and known[0] is task:
            del self._running[key]
        if not task.cancelled():
            task.exception()  # seen: a failure that nobody waits for is no "never retrieved" at exit
