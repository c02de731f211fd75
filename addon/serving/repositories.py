# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is known of a repository at the time of a request, and whether that may be used without a new look.

The steps ask here for whatever they want to know of a repository, a branch of one, or the operator's pages. Says what
is needed instead of waiting for it; notes in `Work` what an answer rests on, and for how long. The surprise: "there is
no such site" that is a few seconds old is used, and noted as a doubt, for most paths of an owner's host ask first for
a repository that does not exist; only who would say no to a visitor asks again before.
"""

import math

from addon.forgejo.errors import ForgejoError
from addon.library.library import REFRESH_PATIENCE, Library
from addon.serving.answers import Need, Request, Work
from addon.shared.freshness import Freshness
from addon.shared.lookup import Key, Lookup, Wanted, repository_of, unknown


def wanted_with(request: Request, segments: tuple[str, ...], slash: bool) -> Wanted | None:
    """The path whose bytes are fetched together with a site that has to be looked at."""
    return (segments, slash) if request.method == "GET" else None


class Repositories:
    """What is known of repositories."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def known(self, key: Key) -> Lookup | None:
        """What memory holds of the repository that a key, or that of a branch of it, is of."""
        return self._library.peek(repository_of(key))

    async def look(self, key: Key, wanted: Wanted | None) -> Lookup:
        """A new look at a repository, or a branch of one."""
        return await self._library.look(key, wanted)

    def lookup(
        self,
        key: Key,
        wanted: Wanted | None,
        work: Work,
        doubts: list[Need],
        patience: float | None = None,
    ) -> Lookup | Need:
        """What is known of a repository, if that may be used; doubts: what to ask again before saying no.

        patience: seconds that a visitor waits where nothing is known.
        """
        found = self._found(key, wanted, work, doubts, patience)
        if work.steps is not None and isinstance(found, Lookup):
            library = self._library
            doubted = library.freshness(found) is not library.natural(found)
            work.steps.repository(found, library.freshness(found), library.age(found.looked), doubted)
        return found

    def _found(
        self, key: Key, wanted: Wanted | None, work: Work, doubts: list[Need], patience: float | None
    ) -> Lookup | Need:
        library = self._library
        lookup = library.peek(key)
        freshness = Freshness.EXPIRED if lookup is None else library.freshness(lookup)
        look = ("look", *key)
        if work.anew and lookup is not None and look not in work.done and library.may_look_anew(lookup):
            return Need(look, lambda: library.look_anew(key, wanted), REFRESH_PATIENCE)
        if lookup is not None and freshness in (Freshness.FRESH, Freshness.DOUBTFUL):
            work.facts.append((library.memory_key(lookup), lookup))
            work.good_until = min(work.good_until, library.good_until(lookup))
            if freshness is Freshness.FRESH:
                return lookup
        else:
            work.good_until = -math.inf
        done = work.done.get(look)
        if isinstance(done, ForgejoError):  # patience ran out
            if lookup is None or freshness is Freshness.EXPIRED:
                return unknown(key, done, 0.0)
            return lookup
        if isinstance(done, Lookup):
            return lookup or done
        if lookup is None or freshness is Freshness.EXPIRED:
            return Need(look, lambda: library.look(key, wanted), patience)
        need = Need(look, lambda: library.look(key, wanted), REFRESH_PATIENCE, from_forgejo=False)
        if freshness is Freshness.OLD:
            return need
        if not lookup.is_site:
            doubts.append(need)
        elif lookup.fault is not None:
            return need  # which its owner may have mended a moment ago
        if freshness is Freshness.AGING:
            library.look_soon(lookup.key)
        return lookup
