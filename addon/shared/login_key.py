# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The one key that several proxies sign logins with, where `authSecretKey` names none: `~pages:login-key` in Redis.

Whoever finds none there offers the key that it signs with (`SET NX`); whoever finds one takes that. The surprising
decision: it is offered again and again, not at the start alone. So a Redis that was away then, or was emptied since,
has the key that proxies use a moment later, and logins hold. Nothing here is ever logged but where a key comes from.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from typing import Final

from addon.access.signing_key import SigningKey, Source
from addon.net.background import ended
from addon.shared import records
from addon.shared.cache import SharedCache
from addon.shared.round_trips import RoundTrips

logger = logging.getLogger(__name__)

NAME: Final = f"{records.PREFIX}login-key"
OFFERED_EACH: Final = 30.0
"""Seconds after which the key is offered again."""
_PAUSE = 0.5
_HEX = re.compile(rb"[0-9a-f]{64,1024}")


class KeyInRedis:
    """A `SharedKey`: hex, without an expiry. What cannot be a key is left where it is and said once."""

    def __init__(self, shared: SharedCache) -> None:
        self.shared = shared
        self._complained = False

    async def settle(self, proposal: bytes) -> bytes | None:
        def ask(trips: RoundTrips) -> object:
            return trips.run([("SET", NAME, proposal.hex(), "NX"), ("GET", NAME)])[1]

        found = await self.shared.run(ask)
        if isinstance(found, bytes) and _HEX.fullmatch(found) and len(found) % 2 == 0:
            return bytes.fromhex(found.decode())
        if isinstance(found, bytes) and not self._complained:
            self._complained = True
            logger.warning("Redis: %s holds no key (64 or more hex digits); delete it to have one made", NAME)
        return None


class KeptInStep:
    """Keeps what signs here, and what is in Redis, the same; lives on the event loop."""

    def __init__(self, key: SigningKey, place: KeyInRedis, adopt: Callable[[SigningKey], object]) -> None:
        """adopt: told of another key that proxies use."""
        self._key = key
        self._place = place
        self._adopt = adopt
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._keep())

    async def aclose(self) -> None:
        await ended(self._task)

    async def offer(self) -> bool:
        """Offer the key, and take the one that is there; False where that is not known."""
        settled = await self._place.settle(self._key.key)
        if settled is None:
            return False
        if settled != self._key.key or self._key.source is not Source.SHARED:
            self._key = SigningKey(settled, Source.SHARED)
            self._adopt(self._key)
            logger.info("logins are signed with %s", self._key.source.value)
        return True

    async def _keep(self) -> None:
        due = 0.0 if self._key.source is not Source.SHARED else time.monotonic() + OFFERED_EACH
        while True:
            await asyncio.sleep(_PAUSE)
            if self._place.shared.away:
                due = 0.0  # it may come back as an empty one
            elif time.monotonic() >= due:
                due = time.monotonic() + OFFERED_EACH
                await self.offer()
