# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Fair queueing of costly work: each party in turn, then the next of the same party. Knows neither work nor owner.

Deficit round robin: work has a price, each party that waits gets as much as one piece of price 1 in its turn, and saves
what it could not spend. A queue is bounded by time: who would begin too late is refused at once and told when it would
have been in time. Prices are known before the work; what a unit of them takes is measured. Work whose waiters have all
left is dropped before it begins. No thread, no lock, no clock of its own: it lives on one event loop.

The surprise: on whose account work is done is not passed through thirty functions but stands in the context, as it is
copied by each task that one starts (`on_account`), and so does whether anybody still waits (`Interest`).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

_LEARNT = 0.1
"""How much one measured piece changes what the next is taken to last."""
_MOST_PARTIES = 4096
"""Parties that may wait; only for the room that they take, long after a queue is too long in time."""


class TooLate(Exception):
    """It would begin too late; in `retry_after` seconds it would not."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"too much work is waiting; it would be begun in time in {retry_after:.0f} s")
        self.retry_after = retry_after


class Dropped(Exception):
    """Nobody waits for it any more."""


class Party(NamedTuple):
    """On whose account work is done. owner: whose site causes it; visitor: who asked for it; "" for nobody.

    FairQueue go from owner to owner, and within one owner from visitor to visitor.
    """

    owner: str = ""
    visitor: str = ""


NOBODY = Party()
_account: ContextVar[Party] = ContextVar("account", default=NOBODY)
_interest: ContextVar[Interest | None] = ContextVar("interest", default=None)


def account() -> Party:
    """On whose account the present task works."""
    return _account.get()


@contextmanager
def on_account(*, owner: str | None = None, visitor: str | None = None) -> Iterator[None]:
    """Do what follows, and what tasks begun in it do, on somebody's account; None leaves that as it is."""
    before = _account.get()
    token = _account.set(
        Party(before.owner if owner is None else owner, before.visitor if visitor is None else visitor)
    )
    try:
        yield
    finally:
        _account.reset(token)


class Interest:
    """Whether anybody still waits for what a task does. State: how many do, and what waits for its turn meanwhile."""

    def __init__(self) -> None:
        self._waiters = 0
        self._left = False  # somebody waited, and left
        self._queued: set[asyncio.Future[None]] = set()

    def bind(self) -> None:
        """The present task, and those that it begins, work for who waits here."""
        _interest.set(self)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait; when the last one leaves, what has not begun is dropped."""
        self._waiters += 1
        try:
            yield
        finally:
            self._waiters -= 1
            self._left = True
            if not self._waiters:
                for turn in list(self._queued):
                    if not turn.done():
                        turn.set_exception(Dropped())

    def queued(self, turn: asyncio.Future[None]) -> None:
        """This waits for its turn, if anybody does for it."""
        if self._left and not self._waiters:
            turn.set_exception(Dropped())
            return
        self._queued.add(turn)
        turn.add_done_callback(self._queued.discard)


@dataclass(slots=True, eq=False)
class _Work:
    price: float
    turn: asyncio.Future[None]
    party: Party
    queue: _Queue


@dataclass(slots=True, eq=False)
class _Queue:
    """What one owner waits for. saved: what it may spend in this turn; turned: its turn has begun."""

    saved: float = 0.0
    turned: bool = False
    listed: bool = False
    backlog: float = 0.0
    running: int = 0
    visitors: OrderedDict[str, deque[_Work]] = field(default_factory=OrderedDict)

    def head(self) -> _Work | None:
        """The next work of the next visitor; what was given up is passed over."""
        while self.visitors:
            visitor, works = next(iter(self.visitors.items()))
            while works and works[0].turn.done():
                works.popleft()
            if works:
                return works[0]
            del self.visitors[visitor]
        return None

    def take(self) -> _Work:
        """Take the head; the next visitor's is the head then."""
        visitor, works = next(iter(self.visitors.items()))
        work = works.popleft()
        if works:
            self.visitors.move_to_end(visitor)
        else:
            del self.visitors[visitor]
        return work

    def ahead(self, visitor: str) -> float:
        """What of it comes before a further piece of a visitor."""
        if len(self.visitors) <= 1 and visitor in self.visitors:
            return self.backlog
        own = sum(work.price for work in self.visitors.get(visitor, ()) if not work.turn.done())
        others = 0.0
        for each, works in self.visitors.items():
            if each != visitor:
                others += min(sum(work.price for work in works), own + 1.0)
        return min(self.backlog, own + others)


class FairQueue:
    """`slots` pieces of work at once, at most `most_each` of them on one owner's account.

    State: what runs, a queue for each owner, those of them whose turn comes, and how long a unit of price takes.
    """

    def __init__(
        self,
        slots: int,
        *,
        most_each: int | None = None,
        expected: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """expected: seconds that a piece of price 1 is taken to last before any was measured."""
        if slots < 1:
            raise ValueError("work needs at least one place")
        self.slots = slots
        self.most_each = min(slots, most_each or slots)
        self.refused = self.dropped = 0
        """How many were refused, and how many dropped before they began, so far."""
        self.waits, self.waited = 0, 0.0
        """How many had to wait before they began, and how many seconds all of them together."""
        self._clock = clock
        self._pace = expected
        self._queues: dict[str, _Queue] = {}
        self._rounds: deque[str] = deque()
        self._running: dict[_Work, float] = {}  # since when
        self._backlog = 0.0
        self._waiting = 0

    @property
    def busy(self) -> int:
        """How many pieces run."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting

    @property
    def pace(self) -> float:
        """Seconds that a unit of price takes: as measured, or longer, where what runs has been running for longer."""
        if len(self._running) < self.slots:
            return self._pace
        now = self._clock()
        price = sum(work.price for work in self._running)
        return max(self._pace, sum(now - since for since in self._running.values()) / price)

    def delay(self, party: Party, price: float = 1.0) -> float:
        """In about how many seconds a piece would begin that came now."""
        mine = self._queues.get(party.owner)
        if len(self._running) < self.slots and not self._waiting and (mine is None or mine.running < self.most_each):
            return 0.0
        own = 0.0 if mine is None else mine.ahead(party.visitor)
        rounds = own + price
        others = sum(min(queue.backlog, rounds) for queue in self._queues.values() if queue is not mine)
        pace = self.pace
        # What runs ends one by one: the first place is free when a piece is, on average after half of it.
        delay = (own + others + (0.5 * len(self._running) if len(self._running) >= self.slots else 0.0)) / self.slots
        if mine is not None and mine.running >= self.most_each:
            delay = max(delay, (own + 0.5 * mine.running) / self.most_each)
        return delay * pace

    @asynccontextmanager
    async def turn(
        self, patience: float, price: float = 1.0, *, party: Party | None = None, kept: bool = False
    ) -> AsyncIterator[None]:
        """Wait for a turn and hold it. patience: seconds in which it has to begin. party: else that of the context.

        kept: whether it is to be done also when nobody waits for it any more. Raises TooLate, at once where it is
        clear, and Dropped.
        """
        work = self._wanted(patience, price, account() if party is None else party, kept)
        if work not in self._running:
            began = self._clock()
            await self._begun(work, patience)
            self.waits += 1
            self.waited += self._clock() - began
        try:
            yield
        finally:
            self._done(work)

    def _wanted(self, patience: float, price: float, party: Party, kept: bool = False) -> _Work:
        price = max(price, 0.01)
        # All that waits, whoever's it is, is done in time: then there is nothing to reckon.
        if (self._backlog + self.slots) * self.pace > patience * self.most_each:
            late = self.delay(party, price) - patience
            if late > 0 or len(self._queues) >= _MOST_PARTIES:
                self.refused += 1
                raise TooLate(max(1.0, math.ceil(late)))
        queue = self._queues.get(party.owner)
        if queue is None:
            queue = self._queues[party.owner] = _Queue()
        work = _Work(price, asyncio.get_running_loop().create_future(), party, queue)
        queue.visitors.setdefault(party.visitor, deque()).append(work)
        queue.backlog += price
        self._backlog += price
        self._waiting += 1
        if not queue.listed and queue.running < self.most_each:
            queue.listed = True
            self._rounds.append(party.owner)
        self._grant()
        interest = None if kept else _interest.get()
        if interest is not None and not work.turn.done():
            interest.queued(work.turn)
        return work

    async def _begun(self, work: _Work, patience: float) -> None:
        turn = work.turn
        try:
            async with asyncio.timeout(patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._done(work)  # granted in the same moment
            else:
                turn.cancel()
                self._left(work)
            if isinstance(error, TimeoutError):
                self.refused += 1
                raise TooLate(max(1.0, math.ceil(self.delay(work.party, work.price)))) from None
            self.dropped += 1
            raise

    def _left(self, work: _Work) -> None:
        """It waits no longer."""
        self._waiting -= 1
        work.queue.backlog -= work.price  # which nobody has any more, where this was all that waited in it
        self._backlog -= work.price
        self._grant()

    def _grant(self) -> None:
        """Begin what has places: the only place where work leaves its queue."""
        while self._rounds and len(self._running) < self.slots:
            owner = self._rounds[0]
            queue = self._queues[owner]
            work = queue.head()
            if work is None or queue.running >= self.most_each:
                self._rounds.popleft()
                queue.listed = queue.turned = False
                if work is None:
                    queue.saved = 0.0
                    if not queue.running:
                        del self._queues[owner]
            elif not queue.turned:
                queue.turned = True
                queue.saved += 1.0
            elif queue.saved < work.price - 1e-9:
                self._rounds.rotate(-1)
                queue.turned = False
            else:
                queue.take()
                queue.saved -= work.price
                queue.backlog -= work.price
                queue.running += 1
                self._backlog -= work.price
                self._waiting -= 1
                self._running[work] = self._clock()
                work.turn.set_result(None)
        if not self._waiting:
            self._backlog = 0.0  # sums of fractions drift

    def _done(self, work: _Work) -> None:
        took = self._clock() - self._running.pop(work)
        self._pace += _LEARNT * (took / work.price - self._pace)
        queue = work.queue
        queue.running -= 1
        if queue.head() is not None:
            if not queue.listed:
                queue.listed = True
                self._rounds.append(work.party.owner)
        elif not queue.running and not queue.listed:
            del self._queues[work.party.owner]
        self._grant()
