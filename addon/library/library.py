# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What is known of repositories, by name: what memory holds, how long it is good for, and the looks that renew it.

One look at a repository at a time, whoever asks; with Redis it goes by way of what proxies share (`refresh.py`), else
straight to Forgejo (`site_loader.py`). What comes of it replaces the repository's `Lookup` as a whole. Files' bytes are
in `blobs`. Lives on the event loop.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from addon.forgejo.answers import Repository
from addon.forgejo.client import Forgejo
from addon.forgejo.errors import ForgejoError, Overloaded
from addon.library.blobs import Blobs
from addon.library.memory import Memory, SingleFlight
from addon.library.refresh import SharedRefresh
from addon.library.site_loader import SiteLoader
from addon.net.clocks import SYSTEM, Clocks
from addon.settings.schema import Settings
from addon.shared.cache import SharedCache
from addon.shared.freshness import Freshness
from addon.shared.lookup import EMPTY, Blob, Fault, Key, Lookup, Wanted, key_of, repository_of
from addon.sites.pages_file import PagesFile
from addon.sites.site import File, Site
from addon.web.hashed_names import is_hashed
from addon.web.prepared_answers import prepared_share

logger = logging.getLogger(__name__)

REFRESH_PATIENCE = 0.5
"""Seconds that a visitor waits for a new look where an old one could be used, before it is."""
ANEW_EVERY = 5.0
"""Seconds between two looks at a site that visitors ask for by `Cache-Control: no-cache`."""
_EMPTY_AGAIN = (0.5, 1.0, 2.0)
"""Seconds after which a repository that Forgejo calls empty is looked at again."""
_MOST_EMPTY = 100


class _Waiting(NamedTuple):
    """A look to come at a repository that is empty yet."""

    tries: int
    timer: asyncio.TimerHandle


class Library:
    """What is known of repositories. State: the memory, the looks under way, and what was purged during one."""

    def __init__(
        self,
        settings: Settings,
        forgejo: Forgejo,
        executor: Executor,
        *,
        shared: SharedCache | None = None,
        clocks: Clocks = SYSTEM,
    ) -> None:
        self._clock = clock = clocks.monotonic
        self.memory: Memory[tuple[str, ...], object] = Memory(settings.memory_cache_size - prepared_share(settings))
        self._settings = settings
        self._flights: SingleFlight[tuple[str, ...]] = SingleFlight()
        self._operators: Key | None = None
        if settings.error_pages_repo:
            owner, _, name = settings.error_pages_repo.lower().partition("/")
            self._operators = (owner, name)
        self._purged: set[Key] = set()  # while they were looked at
        self._empty: dict[Key, _Waiting] = {}
        self.looked: Callable[[Lookup], object] = lambda lookup: None
        """Told of what each look found."""
        self.purged: Callable[[Key | None], object] = lambda key: None
        """Told of each repository to which something has happened, here or at another proxy; None: to any of them."""
        self.blobs = Blobs(forgejo, self.memory, self._flights, executor, shared, clock, self.look_soon)
        self._loader = SiteLoader(settings, forgejo, self.blobs, self.peek, self._operators, clocks)
        self.shared_looks: SharedRefresh | None = None
        if shared is not None:
            self.shared_looks = SharedRefresh(settings, shared, self, clocks, operators=self._operators)
            self.shared_looks.purged = lambda key: self.purged(key)

    @property
    def trouble(self) -> ForgejoError | None:
        """Why Forgejo gave no answer when it was asked last; None where it did."""
        return self._loader.trouble

    @property
    def error_pages(self) -> Key | None:
        """Owner and name of the operator's errorPagesRepo."""
        return self._operators

    # What is known, at once.

    def age(self, looked: float) -> float:
        """Seconds since a look."""
        return max(0.0, self._clock() - looked)

    def peek(self, key: Key) -> Lookup | None:
        """What memory holds of a repository, or of one of its branches; never waits."""
        found = self.memory.get(("site", *key))
        return found if isinstance(found, Lookup) else None

    def freshness(self, lookup: Lookup) -> Freshness:
        """What a lookup is still good for."""
        found, looks = self.natural(lookup), self.shared_looks
        doubted = lookup.suspect if looks is None else looks.doubts(lookup)
        return Freshness.OLD if doubted and found is not Freshness.EXPIRED else found

    def natural(self, lookup: Lookup) -> Freshness:
        """The same by its age alone, whatever other proxies know by now."""
        return lookup.freshness(self._clock(), self._settings.cache_ttl, self._settings.stale_ttl)

    def good_until(self, lookup: Lookup) -> float:
        """Monotonic seconds until which an answer that rests on a lookup, and is no "no", needs no new look."""
        until = lookup.good_until(self._settings.cache_ttl)
        if self.shared_looks is not None and self.shared_looks.shared.away:
            return until  # what is told when Redis is back replaces the lookup
        return min(until, lookup.told_until)

    def former(self, lookup: Lookup, segments: tuple[str, ...]) -> tuple[Lookup, File, float] | None:
        """A file of a commit that was replaced within the hour, what is known of that, and until when it is served.

        Only one whose name bears a hash: no other commit can mean another file by it, and nobody asks for it but a page
        that was loaded before the deploy.
        """
        if not lookup.former or not is_hashed("/".join(segments)):
            return None
        for site, until in lookup.former:
            if self._clock() < until and isinstance(found := site.outcome(segments, False), File):
                return replace(lookup, site=site, commit=site.commit), found, until
        return None

    def memory_key(self, lookup: Lookup) -> tuple[str, ...]:
        """Under which key memory holds a lookup, for as long as it is what is known."""
        return ("site", *lookup.key)

    def lookups(self) -> list[Lookup]:
        """All that memory holds of repositories."""
        return [value for value in self.memory.values() if isinstance(value, Lookup)]

    # Looks.

    def look_soon(self, key: Key) -> None:
        """Look at a repository again behind the visitor's back; key: the name that it is held under."""
        self._start_look(key, None)

    async def look(self, key: Key, wanted: Wanted | None = None) -> Lookup:
        """What a repository, or one of its branches, is now; concurrent callers share one look.

        wanted: the path (segments, slash) a visitor waits for: its bytes come in the same batch as `.pages`.
        """
        if self.shared_looks is None:
            return await self._look_of(key, wanted)
        known = self.peek(key)
        self.shared_looks.awaited(key)
        found = await self._look_of(key, wanted)
        if known is None and self.freshness(found) is Freshness.OLD:
            # The first to ask for what Redis knows from yesterday.
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_PATIENCE):
                    self.shared_looks.awaited(key)
                    found = await self._look_of(key, wanted)
        return found

    def may_look_anew(self, lookup: Lookup) -> bool:
        """Whether a visitor who asks for it causes a new look: not again within seconds, nor where Forgejo is away."""
        age = self._clock() - lookup.looked
        return lookup.site is not None and lookup.trouble is None and age >= ANEW_EVERY

    async def look_anew(self, key: Key, wanted: Wanted | None) -> Lookup:
        """What Forgejo says of a repository now, whatever other proxies found a while ago."""
        if not self._flights.running(("site", *key)):
            await self.purge(repository_of(key))
        return await self.look(key, wanted)

    async def purge(self, key: Key | None) -> bool:
        """Look at a repository again, or at everything, in every proxy; False: in others when Redis answers again."""
        held = self.lookups()
        self.purged(key)
        known = [lookup for lookup in held if key in (None, repository_of(lookup.key), _true_name(lookup))]
        if key is not None:
            # It may have been renamed at the forge, and be held under the name that it had.
            ids = {lookup.repository.id for lookup in known if lookup.repository is not None}
            names = {lookup.key for lookup in known}
            known = [
                each
                for each in held
                if each.key in names or (each.repository is not None and each.repository.id in ids)
            ]
            for other in {repository_of(lookup.key) for lookup in known} - {key}:
                self.purged(other)
            if not known and held:
                self._flights.start(("renamed", *key), lambda: self._follow(key))
        if self.shared_looks is not None:
            # By whatever name a repository is asked for: renames are followed.
            others = [lookup.key for lookup in known if key not in (None, lookup.key)]
            return all([await self.shared_looks.purge(each) for each in (key, *others)])
        for lookup in known:
            self.keep(replace(lookup, suspect=True))
            self._purged.add(lookup.key)
            if key is not None:
                self.look_soon(lookup.key)
        if key is not None and self._flights.running(("site", *key)):
            self._purged.add(key)
        return True

    async def _follow(self, key: Key) -> None:
        """Look whether a repository that nobody asked for by this name is one that is held under another."""
        found = await self.look(key)
        if found.repository is None:
            return
        for lookup in self.lookups():
            if lookup.repository is not None and lookup.repository.id == found.repository.id and lookup.key != key:
                await self.purge(repository_of(lookup.key))
                return

    async def hint(self, key: Key) -> None:
        """Somebody wrote to this repository, if it is one: look again where it is known."""
        known = self.peek(key)
        if known is None and self.shared_looks is not None:
            held = await self.shared_looks.shared.look(key, None, None)
            if held is None or held.repository is None:
                return
        elif known is None or known.fault is Fault.TROUBLE:
            return
        await self.purge(key)

    async def aclose(self) -> None:
        """Stop every look under way."""
        for waiting in self._empty.values():
            waiting.timer.cancel()
        self._empty.clear()
        await self._flights.aclose()
        if self.shared_looks is not None:
            await self.shared_looks.aclose()

    # What a look by way of Redis needs.

    def keep(self, lookup: Lookup) -> Lookup:
        """Hold what is known of a repository now; that there were too many calls is no knowledge of it."""
        if lookup.fault is Fault.TROUBLE and isinstance(lookup.trouble, Overloaded):
            return lookup
        known = self.peek(lookup.key)
        if known is not None and known is not lookup:
            lookup = lookup.after(known, self._clock())
        sites = [each.site for each in lookup.former]
        sites += [lookup.site] if lookup.site is not None else []
        nbytes = 1200 + sum(map(len, lookup.key)) + sum(site.nbytes for site in sites)
        self.memory.put(("site", *lookup.key), lookup, nbytes)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: %s", "/".join(lookup.key), told(lookup))
        return lookup

    def renew(self) -> None:
        """End every answer that is ready, for what decided it lay elsewhere: they rest on these very objects."""
        for lookup in self.lookups():
            self.keep(replace(lookup))

    def look_again(self, key: Key) -> None:
        """Look at a repository that memory holds, with nobody waiting."""
        self._start_look(key, None)

    def keep_blob(self, blob_id: str, data: bytes) -> Blob:
        """Hold a file's bytes, which are verified."""
        return self.blobs.keep_blob(blob_id, data)

    async def find(self, key: Key, known: Lookup | None, wanted: Wanted | None) -> Lookup:
        """What Forgejo says of a repository; trouble is noted beside what is known."""
        return await self._loader.find(key, known, wanted)

    async def governing(self, lookup: Lookup) -> PagesFile | None:
        """What governs a site: its `.pages`, or the names of domains on a branch that needs none; None: nobody knows.

        Without either, what a `.pages` says that says nothing.
        """
        if lookup.site is not None:
            return lookup.site.pages_file if lookup.fault is None else PagesFile()
        repository = lookup.repository
        if lookup.fault is not Fault.UNCONFIGURED or lookup.reason or repository is None or not repository.public:
            return PagesFile()
        for name in self._settings.pages_branches:
            key = key_of(*repository_of(lookup.key), name)
            there = self.peek(key)
            if there is None or self.freshness(there) is not Freshness.FRESH:
                there = await self.look(key)
            if there.trouble is not None or there.fault is Fault.TROUBLE:
                return None
            if there.site is not None:
                return there.site.pages_file if there.fault is Fault.UNCONFIGURED and not there.reason else PagesFile()
        return PagesFile()

    def lies_right(self, key: Key, site: Site | None, repository: Repository) -> bool:
        """Whether a site's files are those that are served under a key: what governs them may say otherwise by now."""
        return self._loader.lies_right(key, site, repository)

    async def find_commit(
        self, key: Key, repository: Repository, commit: str, known: Lookup | None, wanted: Wanted | None
    ) -> Lookup | None:
        """What a commit is that somebody else found on the branch; None where Forgejo does not say."""
        return await self._loader.find_commit(key, repository, commit, known, wanted)

    # A look.

    def _start_look(self, key: Key, wanted: Wanted | None) -> "asyncio.Future[Lookup]":
        return self._flights.start(("site", *key), lambda: self._looked(key, wanted))

    async def _look_of(self, key: Key, wanted: Wanted | None) -> Lookup:
        if self.peek(key) is not None:
            # Who is served what is known leaves after half a second; the look is for those who come next.
            return await asyncio.shield(self._start_look(key, wanted))
        return await self._flights.do(("site", *key), lambda: self._looked(key, wanted))

    async def _looked(self, key: Key, wanted: Wanted | None) -> Lookup:
        found = await self._look(key, wanted)
        if found.reason == EMPTY:
            self._look_again_while_empty(key)
        elif (waiting := self._empty.pop(key, None)) is not None:
            waiting.timer.cancel()
        self.looked(found)
        return found

    def _look_again_while_empty(self, key: Key) -> None:
        """Forgejo calls a repository empty for half a second after its first push: its owner is looking already."""
        waiting = self._empty.get(key)
        tries = 0 if waiting is None else waiting.tries
        if waiting is not None:
            waiting.timer.cancel()
        if tries == len(_EMPTY_AGAIN) or (waiting is None and len(self._empty) >= _MOST_EMPTY):
            self._empty.pop(key, None)
            return
        timer = asyncio.get_running_loop().call_later(_EMPTY_AGAIN[tries], self.look_soon, key)
        self._empty[key] = _Waiting(tries + 1, timer)

    async def _look(self, key: Key, wanted: Wanted | None) -> Lookup:
        if self.shared_looks is not None:
            try:
                return await self.shared_looks.look(key, wanted)
            except Exception:
                logger.exception("refreshing %s/%s through Redis failed", *key)
        while True:
            self._purged.discard(key)
            found = await self.find(key, self.peek(key), wanted)
            if key not in self._purged:  # else it may be older than that
                known = self.peek(key)
                added = known.added if known is not None else ""
                return self.keep(replace(found, suspect=False, added=added))


def _true_name(lookup: Lookup) -> Key | None:
    """What a repository is called by now."""
    return (lookup.repository.owner.lower(), lookup.repository.name.lower()) if lookup.repository is not None else None


def told(lookup: Lookup) -> str:
    """What is known of a repository, or why it is not served, for the log."""
    if lookup.site is not None:
        return f"served, commit {lookup.commit}"
    why = lookup.fault.name.lower().replace("_", " ") if lookup.fault is not None else "nothing is known"
    return f"not served: {why}" + (f" ({lookup.trouble})" if lookup.trouble is not None else "")
