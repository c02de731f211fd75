# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A site made ready before anybody asks for it: its list of files, and as many of them as memory has room for.

It is looked at as for a visitor, so what is found goes to Redis, too. One call does as much as fits into a few
seconds, and says what is left; whoever asked may ask again. The surprise: of the memory a single site gets a quarter at
most, for what is warmed must not push out what visitors ask for.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from addon.library.library import Library
from addon.settings.schema import Settings
from addon.shared.lookup import Blob, Key, Lookup, key_of, repository_of
from addon.sites.tree import MODE_LINK, Entry

SECONDS = 8.0
_AT_ONCE = 8
_SHARE = 4


class Warmed(NamedTuple):
    """What came of it. state: `served`, or why not; files, nbytes: in memory now; left: files that are not yet."""

    site: str
    state: str
    commit: str | None = None
    files: int = 0
    nbytes: int = 0
    left: int = 0


class CacheWarmer:
    """Makes sites ready, one at a time. Lives on the event loop."""

    def __init__(self, settings: Settings, library: Library, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: monotonic seconds."""
        self._largest = settings.max_cached_file_size
        self._most = settings.memory_cache_size // _SHARE
        self._library = library
        self._clock = clock
        self._turn = asyncio.Lock()

    async def warm(self, key: Key, seconds: float = SECONDS) -> Warmed:
        """Make a repository's site ready, as far as that takes no longer."""
        async with self._turn:
            lookup = await self._shown(key)
            name = "/".join(lookup.key)
            if lookup.site is None:
                state = lookup.fault.value if lookup.fault is not None else "nothing is known of it"
                return Warmed(name, state if lookup.trouble is None else f"{state}: {lookup.trouble}", lookup.commit)
            until = self._clock() + seconds
            wanted = list(self._wanted(lookup))
            missing = [entry for entry in wanted if not isinstance(self._library.blobs.held_blob(entry), Blob)]
            while missing and self._clock() < until:
                some, missing = missing[:_AT_ONCE], missing[_AT_ONCE:]
                found = await asyncio.gather(*(self._library.blobs.blob(lookup, entry) for entry in some))
                troubles = [each for each in found if not isinstance(each, Blob)]
                if troubles:
                    return self._said(lookup, wanted, f"not all of it: {troubles[0]}", 0)
            return self._said(lookup, wanted, "served", len(missing))

    async def _shown(self, key: Key) -> Lookup:
        """What is known of a site's files, which may be on a branch that its `.pages` names."""
        lookup = self._library.peek(key)
        if lookup is None or lookup.site is None:
            lookup = await self._library.look(key)
        if lookup.site is None or lookup.repository is None:
            return lookup
        branch = lookup.site.pages_file.shown_branch(lookup.repository.default_branch)
        return lookup if branch is None else await self._library.look(key_of(*repository_of(key), branch))

    def _wanted(self, lookup: Lookup) -> Iterator[Entry]:
        """The files that memory should hold, in the order of their paths, each content once."""
        assert lookup.site is not None
        nbytes, seen = 0, set()
        for _, mode, oid, size in lookup.site.tree.rows():
            if mode == MODE_LINK or size > self._largest or oid in seen:
                continue
            nbytes += size
            if nbytes > self._most:
                return
            seen.add(oid)
            yield Entry(oid, size, mode)

    def _said(self, lookup: Lookup, wanted: list[Entry], state: str, left: int) -> Warmed:
        held = [entry for entry in wanted if isinstance(self._library.blobs.held_blob(entry), Blob)]
        nbytes = sum(entry.size for entry in held)
        return Warmed("/".join(lookup.key), state, lookup.commit, len(held), nbytes, left)
