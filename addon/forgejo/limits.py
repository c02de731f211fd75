# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How many calls to Forgejo may run, and whether any should be tried at all.

`Slots` gives turns (`net/fair_queue.py`), `Places` what is held for as long as a reader takes; `Breaker` fails fast
while the forge is away. None knows HTTP. The surprise: look-ups of names not known to exist have a small share of the
slots, and are on the account of who asks, not of the owner that they name: anybody can ask for random names, and each
would be an owner of its own.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from addon.forgejo.errors import Overloaded, Unreachable
from addon.net.fair_queue import Dropped, FairQueue, Party, TooLate, account

logger = logging.getLogger(__name__)

_STRANGER = "?"
"""Begins the party of a visitor among owners; no owner's name does."""


class Slots:
    """`total` calls at once, in fair turns of owners; of them `unknown_share` at most for names not known to exist.

    patience: seconds in which a call has to begin.
    """

    def __init__(self, total: int, unknown_share: int, patience: float) -> None:
        if not 1 <= unknown_share <= total:
            raise ValueError("the share of unknown names must be between 1 and all slots")
        self.patience = patience
        # One owner alone, however slow what it causes is, leaves places for the others.
        self.turns = FairQueue(total, most_each=-(-3 * total // 4))
        self.unknown_names = FairQueue(unknown_share)

    @asynccontextmanager
    async def held(self, owner: str, *, known: bool) -> AsyncIterator[None]:
        """Hold a slot on the account of an owner, or of who asks, where the name may be anybody's. Raises Overloaded.

        known: whether there is such an owner, as far as anybody here knows.
        """
        visitor = account().visitor
        party = Party(owner.lower(), visitor) if known else Party(f"{_STRANGER}{visitor}")
        try:
            async with AsyncExitStack() as held:
                if not known:
                    await held.enter_async_context(self.unknown_names.turn(self.patience, party=party))
                await held.enter_async_context(self.turns.turn(self.patience, party=party))
                yield
        except TooLate as late:
            raise Overloaded("too many calls to Forgejo are waiting", retry_after=math.ceil(late.retry_after)) from None
        except Dropped:
            raise Overloaded("nobody waits for this call to Forgejo any more") from None


class Places:
    """`total` large files on their way at once. State: how many each visitor has, and each owner.

    A slow reader has his for hours, and over HTTP/2 a hundred on one connection. So of the last quarter a visitor gets
    no more than is left for others, and an owner of the last eighth: whoever comes new finds a place.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.taken = 0
        self._of: Counter[Party] = Counter()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold one, on the account of the present task. Raises Overloaded."""
        owner, visitor = account()
        parties = [Party(visitor=visitor)] if visitor else []
        parties += [Party(owner)] if owner else []
        left = self.total - self.taken
        for party in parties:
            last = self.total // (4 if party.visitor else 8)
            if left <= last and self._of[party] >= left:
                raise Overloaded(
                    "too many large files are being streamed to one visitor, or of one owner", retry_after=2
                )
        if left <= 0:
            raise Overloaded("too many large files are being streamed", retry_after=2)
        self.taken += 1
        self._of.update(parties)
        try:
            yield
        finally:
            self.taken -= 1
            for party in parties:
                self._of[party] -= 1
                if not self._of[party]:
                    del self._of[party]


class Breaker:
    """Closed; open for a while after `threshold` failures in a row; then one probe decides.

    State: failures in a row, until when it is open, for how long it was last opened, whether a probe is out.
    """

    def __init__(
        self, clock: Callable[[], float], *, threshold: int = 5, shortest: float = 1.0, longest: float = 10.0
    ) -> None:
        self._clock = clock
        self._threshold = threshold
        self._shortest = shortest
        self._longest = longest
        self._failures = 0
        self._period = 0.0
        self._open_until = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether calls are being refused, or let through one by one."""
        return self._period > 0

    def check(self) -> None:
        """Raise Unreachable if a call would not be admitted now."""
        if self.is_open and (self._probing or self._clock() < self._open_until):
            raise Unreachable("Forgejo did not answer a moment ago")

    def admit(self) -> bool:
        """Let a call through; True if it is the probe, which must end in one of the three calls below."""
        self.check()
        self._probing = self.is_open
        return self._probing

    def succeeded(self) -> None:
        """Forgejo answered, with whatever status."""
        if self.is_open:
            logger.warning("Forgejo answers again")
        self._failures = 0
        self._period = 0.0
        self._probing = False

    def failed(self, probe: bool) -> None:
        """No connection, or no answer in time."""
        self._failures += 1
        if probe:
            self._probing = False
            self._open(min(self._period * 2, self._longest))
        elif not self.is_open and self._failures >= self._threshold:
            logger.warning("Forgejo does not answer: calls fail at once until it does")
            self._open(self._shortest)

    def abandoned(self, probe: bool) -> None:
        """The call was given up before it could tell."""
        if probe:
            self._probing = False

    def _open(self, period: float) -> None:
        self._period = period
        self._open_until = self._clock() + period
