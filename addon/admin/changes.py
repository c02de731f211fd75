# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What happens to repositories, told to all who have to know: this process, its siblings, and by Redis all proxies.

Knows the library, the registration of domains and the bus. The surprise: where there is a Redis, its invalidations
reach the siblings as well, so the bus is the way only where there is none, or where it does not answer.
"""

import asyncio

from addon.domains.registration import CustomDomains
from addon.library.library import Library
from addon.net.rates import Rates
from addon.process.worker import Bus
from addon.shared.lookup import Key

HINTS_A_SECOND = 1.0
"""Of one repository: a push is followed by one look, however many requests it is made of."""


class Changes:
    """Purges and hints, for all processes. Lives on the event loop."""

    def __init__(self, registration: CustomDomains, library: Library, bus: Bus) -> None:
        self._registration = registration
        self._library = library
        self._bus = bus
        self._hints = Rates(1, HINTS_A_SECOND)
        self._later: set[Key] = set()

    async def purge(self, key: Key | None) -> bool:
        """Look again at a repository, or at everything, in every process; False: in others once Redis answers again."""
        done = await self._registration.purge(key)
        if not done or self._library.shared_looks is None:
            self._bus.tell("purge", key)
        return done

    async def hint(self, key: Key) -> None:
        """Somebody wrote to a repository, through us; told once a second, the last one always."""
        if key in self._later:
            return
        if not self._hints.allows(key):
            self._later.add(key)
            try:
                await asyncio.sleep(self._hints.wait(key))
            finally:
                self._later.discard(key)
            self._hints.allows(key)
        await self._library.hint(key)
        if self._library.shared_looks is None:
            self._bus.tell("hint", key)
