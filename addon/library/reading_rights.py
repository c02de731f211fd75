# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who may read which repository, as Forgejo said within the last minute.

One call for many who ask at once about one reader and repository, and none again within `BELIEVED`. A yes is never
stretched: what Forgejo cannot say when a yes is that old is trouble, and trouble is no yes. The surprise: an answer
counts from the moment it was asked for, not from when it came; so who lost the right is out within the minute, however
slow Forgejo is. A login is held in memory as a fact, too, so that answers made ready on it die with it; a yes is not,
for they are ready no longer than it holds.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from addon.access.guess_limits import Bounded
from addon.forgejo.answers import Repository
from addon.forgejo.client import Forgejo
from addon.forgejo.errors import ForgejoError
from addon.forgejo.reading_rights import Verdict
from addon.library.memory import Memory, SingleFlight
from addon.shared.freshness import TROUBLE_PAUSE
from addon.shared.lookup import without_frames
from addon.shared.member_sessions import Session
from addon.web.prepared_answers import Fact

BELIEVED = 60.0
"""Seconds for which what Forgejo said of a reader and a repository is believed."""
MOST = 20_000
_FACT_BYTES = 400


@dataclass(frozen=True, slots=True, eq=False)
class Right:
    """What was said. until: monotonic seconds. trouble: why nothing was said."""

    verdict: Verdict | None
    until: float
    trouble: ForgejoError | None = None


async def _always() -> bool:
    return True


class Readers:
    """Rights by reader and repository; lives on the event loop."""

    def __init__(
        self,
        forgejo: Forgejo,
        memory: Memory[tuple[str, ...], object],
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST,
    ) -> None:
        self._forgejo = forgejo
        self._memory = memory
        self._clock = clock
        self._rights: Bounded[tuple[str, int], Right] = Bounded(most)
        self._flights: SingleFlight[tuple[str, int, str]] = SingleFlight()

    def known(self, reader: str, repository: Repository) -> Right | None:
        """What is still believed; never waits."""
        right = self._rights.get((reader, repository.id))
        return right if right is not None and self._clock() < right.until else None

    def session_fact(self, id: str, session: Session) -> Fact:
        """The login by which somebody came, as a fact that an answer rests on."""
        key = ("member", id)
        if self._memory.get(key) is not session:
            self._memory.put(key, session, _FACT_BYTES)
        return key, session

    def session_ended(self, id: str) -> None:
        """Nothing that rests on a login is ready for anybody any more."""
        self._memory.drop(("member", id))

    async def ask(
        self,
        reader: str,
        token: str,
        repository: Repository,
        flight: str = "",
        still: Callable[[], Awaitable[bool]] = _always,
    ) -> Right:
        """What Forgejo says now. flight: whose token it is; still: asked first whether that is to be used at all.

        A token that is not good any more says nothing of the reader, and is not remembered here.
        """

        async def asked() -> Right:
            if not await still():
                return Right(Verdict.NO_TOKEN, 0.0)
            now = self._clock()
            try:
                right = Right(await self._forgejo.may_read(repository, token), now + BELIEVED)
            except ForgejoError as trouble:
                without_frames(trouble)
                right = Right(None, now + TROUBLE_PAUSE, trouble)
            if right.verdict is not Verdict.NO_TOKEN:
                self._rights.put((reader, repository.id), right)
            return right

        known = self.known(reader, repository)
        return known if known is not None else await self._flights.do((reader, repository.id, flight), asked)

    async def aclose(self) -> None:
        await self._flights.aclose()
