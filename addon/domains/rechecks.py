# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Proofs are looked at again every day: a domain that was sold is not its former owner's for ever.

A proof that is missing is noted, and the domain is freed when it has been missing for three days; DNS that does not
answer changes nothing. When a claim was looked at stands in its record, so that several proxies share the work.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from addon.domains import claims
from addon.domains.desired_domains import Prover
from addon.domains.registry import Registry
from addon.domains.store import NO_ANSWER, DomainStore, StoreAway
from addon.shared.domain_records import Claim, SiteDomains

logger = logging.getLogger(__name__)

EVERY: Final = 86_400.0
GRACE: Final = 3 * 86_400.0
_ROUND: Final = 1800.0
"""Seconds between two looks for proofs that are due."""


class Rechecks:
    """A task over all that is registered. Lives on the event loop."""

    def __init__(
        self, store: DomainStore, prover: Prover, registry: Registry, *, now: Callable[[], float] = time.time
    ) -> None:
        """now: seconds since 1970."""
        self._store = store
        self._prover = prover
        self._registry = registry
        self._now = now

    async def run(self) -> None:
        """Look at what is due, again and again; until cancelled."""
        while True:
            await asyncio.sleep(_ROUND)
            await self.round()

    async def round(self) -> int:
        """Look at what is due now; how many domains were freed."""
        freed = 0
        with suppress(StoreAway):
            async for record in self._store.records():
                for claim in record.claims:
                    if claim.proven and claim.branch is None and self._now() - claim.checked >= EVERY:
                        freed += await self._look(record, claim)
        return freed

    async def _look(self, record: SiteDomains, claim: Claim) -> bool:
        verdict = await self._prover.proof(claim.host, record.owner, record.repository, record.id, claim.proven)
        if verdict.proven is None:
            return False
        now = self._now()

        def noted(found: Claim) -> Claim:
            if verdict.proven:
                return replace(found, checked=now, proven=verdict.how or found.proven, lost=None)
            return replace(found, checked=now, lost=now if found.lost is None else found.lost)

        told = await self._store.change(claims.claim_changed(record.owner, record.repository, claim.host, noted))
        if told is NO_ANSWER or not isinstance(told, Claim) or told.lost is None:
            return False
        site = f"{record.owner}/{record.repository}"
        if now - told.lost < GRACE:
            left = (told.lost + GRACE - now) / 3600
            logger.warning("%s: the proof of %s is missing; it is released in %.0f hours", site, claim.host, left)
            return False
        await self._registry.release(claim.host)
        logger.warning("%s: %s is released: its proof has been missing for three days", site, claim.host)
        return True
