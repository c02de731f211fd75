# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Small records that are put down once and taken up once, by any proxy: logins under way, and tickets.

A record stands in Redis where that took it, else in this process, never in both: so it is taken once, whoever asks, and
whatever becomes of Redis meanwhile. It is sealed (`access/sealing.py`), so Redis can lose one and make none. All are
bounded: by their life, by number, and by number for each client and each larger network that puts them, whose own
oldest gives way first; what gives way goes from Redis as well.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from addon.access.sealing import Sealer
from addon.access.visitors import network_of
from addon.shared import records
from addon.shared.cache import SharedCache
from addon.shared.round_trips import RoundTrips, checked_replies

_HOUSEHOLDS = 10
"""A network may have as much as so many clients: else 256 /64s of one customer would push out everybody's."""


class _Put(NamedTuple):
    until: float
    parties: tuple[str, ...]
    sealed: str | None  # None: Redis has it


class OneUse:
    """Records of one kind. State: those that were put here and are not known to be taken, by age."""

    def __init__(
        self,
        kind: str,
        life: int,
        sealer: Sealer,
        shared: SharedCache | None,
        *,
        most: int,
        most_each: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """life: seconds. most, most_each: records that are kept, in all and of one client."""
        self._prefix = f"{records.PREFIX}{kind}:"
        self._life = life
        self._sealer = sealer
        self._shared = shared
        self._most = most
        self._most_each = most_each
        self._clock = clock
        self._put: OrderedDict[str, _Put] = OrderedDict()
        self._parties: dict[str, OrderedDict[str, None]] = {}

    def __len__(self) -> int:
        """How many there are of this process."""
        return len(self._put)

    async def put(self, id: str, fields: dict[str, Any], party: str) -> None:
        """Keep a record until it is taken. id: its name, unguessable; party: the client on whose account."""
        name = self._prefix + id
        sealed = self._sealer.seal(name, fields)
        parties = tuple(dict.fromkeys((party, network_of(party))))
        going = self._made_room(parties)
        in_redis = False
        if self._shared is not None:

            def write(trips: RoundTrips) -> bool:
                commands: list[tuple[Any, ...]] = [("SET", name, sealed, "EX", self._life)]
                commands += [("UNLINK", each) for each in going]
                checked_replies(trips.run(commands)[:1])
                return True

            in_redis = bool(await self._shared.run(write))
        self._put[id] = _Put(self._clock() + self._life, parties, None if in_redis else sealed)
        for each in parties:
            self._parties.setdefault(each, OrderedDict())[id] = None

    async def take(self, id: str) -> dict[str, Any] | None:
        """A record that nobody took before; None where there is none, or nobody can say so."""
        name = self._prefix + id
        here = self._drop(id)
        if here is not None and here.sealed is not None:
            return self._sealer.opened(name, here.sealed) if self._clock() < here.until else None
        if self._shared is None:
            return None

        def read(trips: RoundTrips) -> bytes | None:
            found, removed = checked_replies(trips.run([("GET", name), ("DEL", name)]))
            return found if removed == 1 and isinstance(found, bytes) else None  # who removed it has it

        found = await self._shared.run(read)
        return None if found is None else self._sealer.opened(name, found.decode("ascii", "replace"))

    def _made_room(self, parties: tuple[str, ...]) -> list[str]:
        """Drop what is over, and what gives way to one more; the names in Redis of those that gave way."""
        now, going = self._clock(), []
        while self._put and next(iter(self._put.values())).until <= now:
            self._drop(next(iter(self._put)))
        for party, most in zip(parties, (self._most_each, _HOUSEHOLDS * self._most_each)):
            own = self._parties.get(party, ())
            if len(own) >= most:
                going.append(next(iter(own)))
                break
        else:
            if len(self._put) >= self._most:
                going.append(next(iter(self._put)))
        return [self._prefix + id for id in going if (gone := self._drop(id)) is not None and gone.sealed is None]

    def _drop(self, id: str) -> _Put | None:
        found = self._put.pop(id, None)
        if found is not None:
            for party in found.parties:
                own = self._parties[party]
                del own[id]
                if not own:
                    del self._parties[party]
        return found
