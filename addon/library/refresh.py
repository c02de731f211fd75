# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A look at a repository by way of what proxies share: Redis first, then Forgejo, and what was found told to all.

Memory is believed while Redis would tell of a change (`Client.tracking`), else for `memoryTTL`. What is told makes a
lookup *suspect*, not forgotten: it is read again before its next use, and served as it is where Redis does not answer.
The rule that keeps old answers out: a look notes when it began, and what came between its beginning and its end (an
invalidation, a purge, Redis lost or found) makes it begin anew instead of being kept.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from addon.access.guess_limits import Bounded
from addon.forgejo.answers import Repository
from addon.net.clocks import Clocks
from addon.settings.schema import Settings
from addon.shared import records
from addon.shared.cache import SharedCache
from addon.shared.domain_mappings import CUSTOM_DOMAIN
from addon.shared.freshness import Freshness
from addon.shared.lookup import Fault, Key, Lookup, Wanted, branch_of, key_of, repository_of
from addon.shared.reads import Held
from addon.sites.pages_file import PagesFile
from addon.sites.site import Site
from addon.sites.tree import MODE_LINK
from resp.tracking_status import Reporter, State, Status

logger = logging.getLogger(__name__)

_ATTEMPTS = 4
OTHERS_PATIENCE = 0.5
"""Seconds to wait for the proxy that looks at the same repository, before looking, too."""
_OTHERS_PAUSE = 0.02
_SLACK = 1.0
"""Seconds between a look and the moment it is written, at most: within them nothing is older than the other."""
_UNSHARED = frozenset({Fault.ABSENT, Fault.TROUBLE})
_MOST_GOING = 20_000
_MOST_LOCKS = 10_000


class Host(Protocol):
    """What a look needs of the library."""

    def peek(self, key: Key, /) -> Lookup | None: ...
    def lookups(self) -> list[Lookup]: ...
    def keep(self, lookup: Lookup) -> Lookup: ...
    def keep_blob(self, blob_id: str, data: bytes) -> object: ...
    def natural(self, lookup: Lookup) -> Freshness: ...
    def look_again(self, key: Key) -> None: ...
    async def find(self, key: Key, known: Lookup | None, wanted: Wanted | None) -> Lookup: ...
    async def find_commit(
        self, key: Key, repository: Repository, commit: str, known: Lookup | None, wanted: Wanted | None
    ) -> Lookup | None: ...
    def lies_right(self, key: Key, site: Site | None, repository: Repository) -> bool: ...


@dataclass(slots=True, eq=False)
class _Ticket:
    """A look under way. live: changes would be told from its beginning on. Spoiled: one was."""

    live: bool
    _spoiled: bool = False

    def spoil(self) -> None:
        self._spoiled = True

    def spoiled(self) -> bool:
        return self._spoiled


class SharedRefresh:
    """Looks through Redis, and what is told of changes there. Lives on the event loop."""

    def __init__(
        self, settings: Settings, shared: SharedCache, host: Host, clocks: Clocks, *, operators: Key | None
    ) -> None:
        self.shared = shared
        self.live = False
        """Whether Redis tells of changes."""
        self.others: Callable[[bytes | None], object] = lambda name: None
        """Told of every change, too, by the name of the key; None: everything may have changed."""
        self.purged: Callable[[Key | None], object] = lambda key: None
        """Told of each repository that some proxy was told of; None: of any."""
        self._settings = settings
        self._host = host
        self._clock, self._now = clocks
        self._operators = operators
        self._tickets: dict[Key, set[_Ticket]] = {}
        self._idle: set[Key] = set()  # looked at again with nobody waiting
        self._demanded: set[Key] = set()  # purged here, so that only Forgejo's word counts
        self._locks: Bounded[Key, str] = Bounded(_MOST_LOCKS)  # that Redis had when it was read last
        self._formerly: dict[Key, set[Key]] = {}  # by what other names repositories were asked for
        self._tracking: Reporter | None = None
        shared.returned = self.everything

    # What is told.

    def start(self) -> None:
        """Listen to changes from now on; on the loop."""
        loop = asyncio.get_running_loop()

        def on_loop(function: Callable[..., object], *arguments: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(function, *arguments)

        # It follows the master behind sentinels, and listens to every node of a cluster; whenever who that is changes,
        # everything may have.
        self._tracking = self.shared.client.tracking(
            lambda name: on_loop(self.invalidated, name),
            prefixes=(*records.MUTABLE, CUSTOM_DOMAIN),
            changed=lambda status: on_loop(self._changed, status),
        )
        self._tracking.start()
        self.shared.start()

    async def aclose(self) -> None:
        if self._tracking is not None:
            await asyncio.to_thread(self._tracking.close, 0.5)
        await self.shared.aclose()

    def _changed(self, status: Status) -> None:
        self.live = status.state is State.LIVE
        if not self.live:
            self.everything()
        else:
            self.shared.say_again()

    def invalidated(self, name: bytes | None) -> None:
        """A mutable key was changed, or everything may have been."""
        told = (records.EPOCH, None) if name is None else records.subject_of_key(name)
        if told is None:
            self.others(name)
            return
        kind, about = told
        if about is None:
            self.everything()
            return
        if kind == records.EPOCH:
            self.purged(about)
        for key in self._meant(kind, about):
            for ticket in self._tickets.get(key, ()):
                ticket.spoil()
            known = self._host.peek(key)
            if known is not None:
                # Always a new one, even of one that is suspect: answers that are ready rest on this very object.
                self._host.keep(replace(known, suspect=True))
                if not self.shared.away:
                    self._again(key, idle=kind != records.EPOCH)

    def _meant(self, kind: str, about: Key) -> list[Key]:
        """Whose lookups a change of a key concerns."""
        site = repository_of(about)
        if kind == records.REF:
            return [site, about]  # it may be the default branch's
        if kind == records.REPOSITORY:
            return [about]
        if kind == records.PASSWORD:
            return [about, *(key for key in self._formerly.get(about, ()) if self._host.peek(key) is not None)]
        under_way = [key for key in self._tickets if repository_of(key) == site]
        known = self._host.peek(site)
        rules = known.site.pages_file if known is not None and known.site is not None else PagesFile()
        named = filter(None, (*rules.enable_branches, rules.branch, *self._settings.pages_branches))
        return list(dict.fromkeys((site, *under_way, *(key_of(*site, branch) for branch in named))))

    def everything(self) -> None:
        """Nothing that memory holds is known to be what is shared."""
        self.others(None)
        self.purged(None)
        for tickets in self._tickets.values():
            for ticket in tickets:
                ticket.spoil()
        for lookup in self._host.lookups():
            if lookup.fault not in _UNSHARED:
                self._host.keep(replace(lookup, suspect=True))

    def _again(self, key: Key, *, idle: bool) -> None:
        if idle:
            self._idle.add(key)
        else:
            self._idle.discard(key)
        self._host.look_again(key)

    def awaited(self, key: Key) -> None:
        """Somebody waits for this look: it goes on to Forgejo where Redis has nothing."""
        self._idle.discard(key)

    async def purge(self, key: Key | None) -> bool:
        """Make every proxy look again; False: this one at once, others when Redis answers again."""
        for lookup in self._host.lookups():
            if key in (None, lookup.key, repository_of(lookup.key)):
                self._demanded.add(lookup.key)
        told = await self.shared.purge(key)
        self.invalidated(records.epoch_key(key).encode())
        if key is not None and self.shared.away and self._host.peek(key) is not None:
            self._again(key, idle=False)
        return told

    def doubts(self, lookup: Lookup) -> bool:
        """Whether a lookup is to be read again before it is used."""
        if lookup.key in self._demanded:
            return True
        return not self.shared.away and lookup.doubted(self._clock())

    # A look.

    async def look(self, key: Key, wanted: Wanted | None) -> Lookup:
        """What a repository is now, kept unless it changed while it was looked at."""
        last: list[Lookup] = []
        added: list[str] = []
        for attempt in range(_ATTEMPTS):
            ticket = _Ticket(self.live)
            self._tickets.setdefault(key, set()).add(ticket)
            try:
                found = await self._look(key, wanted, ticket, attempt, last, added)
            finally:
                tickets = self._tickets[key]
                tickets.discard(ticket)
                if not tickets:
                    del self._tickets[key]
            if found is not None:
                self._idle.discard(key)
                return found
        self._idle.discard(key)
        # It changes faster than it can be read: good for who waits, and read again for the next.
        found = last[-1] if last else self._host.peek(key) or await self._host.find(key, None, wanted)
        return replace(found, added=added[-1]) if added else found

    async def _look(
        self, key: Key, wanted: Wanted | None, ticket: _Ticket, attempt: int, last: list[Lookup], added: list[str]
    ) -> Lookup | None:
        """One attempt; None where another is due."""
        host, shared, began = self._host, self.shared, self._clock()
        known = host.peek(key)
        held = await shared.look(key, known, wanted)
        # Where Redis does not say, what it said last holds: a lock is lost neither with the line nor for want of room.
        lock = held.added if held is not None else self._locks.get(key) or ""
        added.append(lock)
        if lock:
            self._locks.put(key, lock)
        if lock and known is not None and known.added != lock:  # at once: Forgejo may take longer than visitors wait
            known = host.keep(replace(host.peek(key) or known, added=lock, suspect=True))
        if ticket.spoiled():
            return None
        if held is None:
            demanded = key in self._demanded
            if known is not None and known.doubted(began) and host.natural(known) is Freshness.FRESH and not demanded:
                return known
            found = replace(await host.find(key, known, wanted), added=lock)
            last.append(found)
            if ticket.spoiled():
                return None
            self._demanded.discard(key)
            shared.store_later(found)
            return self._kept(found, ticket, began, self._settings.memory_ttl)  # Redis may only have had no time
        adopted = await self._adopted(key, known, held, wanted)
        if adopted is not None:
            adopted = replace(adopted, added=lock)
        if ticket.spoiled():
            return None
        if adopted is not None and (known is None or known.doubted(began) or adopted.looked > known.looked + _SLACK):
            natural = host.natural(adopted)
            if adopted.fault in (Fault.ABSENT, Fault.REFUSED):
                usable = natural is Freshness.FRESH and not held.outdated
            else:
                usable = known is None or (
                    not held.outdated and natural in (Freshness.FRESH, Freshness.DOUBTFUL, Freshness.AGING)
                )
            if usable:
                adopted = self._kept(adopted, ticket, began, held.left)
                if not held.outdated:
                    self._demanded.discard(key)
                return host.keep(replace(adopted, suspect=True)) if held.outdated else adopted
            known = adopted
        if key in self._idle and known is not None:  # a key that went: the next visitor asks Forgejo, nobody else
            return known
        token = await shared.lock(key)
        if token == "" and attempt == 0 and await self._others(key, ticket):
            return None
        found = await host.find(key, known, wanted)
        if not lock and held.repository is None and found.repository is not None:
            place = records.password_place(found.repository)
            if place != repository_of(key):  # only now is it known under which name to look
                lock = await shared.added_lock(place) or ""
                added.append(lock)
        found = replace(found, added=lock)
        last.append(found)
        stored: bool | None = None
        same = held.others and (held.repository, held.commit) == (found.repository, found.commit)
        # What others signed, with a key of theirs, and what is so, is theirs to keep: else each would write it anew
        # whenever the other has.
        if not ticket.spoiled() and not held.foreign and not same and self._shareable(found, known, held):
            stored = await shared.store(found, held, token or "", _going(found, known))
        elif token:
            await shared.unlock(key, token)
        if stored is False or (ticket.spoiled() and stored is None):
            return None
        if stored is None and not held.foreign and not same:
            shared.store_later(found)
        self._demanded.discard(key)
        return self._kept(found, ticket, began, self.shared.life)

    def _shareable(self, found: Lookup, known: Lookup | None, held: Held) -> bool:
        """Whether others should know: what a commit says, and what ends the serving of what they may be serving."""
        if found.trouble is not None:
            return False
        if found.fault in records.STORED:
            return found.repository is not None and found.commit is not None
        if found.fault in (Fault.ABSENT, Fault.REFUSED):
            return held.repository is not None or (known is not None and known.site is not None)
        return False

    def _kept(self, found: Lookup, ticket: _Ticket, began: float, left: float) -> Lookup:
        """Hold a lookup for as long as a change of it would be told, else for memoryTTL."""
        believed = began + (left if ticket.live else min(left, self._settings.memory_ttl))
        if found.fault in _UNSHARED:
            believed = float("inf")  # nothing is shared of it; its own short life ends it
        if found.added:
            self._locks.put(found.key, found.added)
        else:
            self._locks.drop(found.key)
        if found.repository is not None and branch_of(found.key) is None:
            present = key_of(found.repository.owner, found.repository.name)
            if present != found.key:
                self._formerly.setdefault(present, set()).add(found.key)
        if ticket.spoiled():  # by what we wrote ourselves, most likely; a read will tell
            asyncio.get_running_loop().call_later(0.001, self._glance, found.key)
        return self._host.keep(replace(found, suspect=ticket.spoiled(), believed=believed))

    def _glance(self, key: Key) -> None:
        known = self._host.peek(key)
        if known is not None and known.suspect and not self.shared.away:
            self._again(key, idle=True)

    async def _others(self, key: Key, ticket: _Ticket) -> bool:
        """Wait for the proxy that has the lock; True when it has let go."""
        end = self._clock() + OTHERS_PATIENCE
        while not ticket.spoiled():
            if self._clock() >= end:
                return False
            await asyncio.sleep(_OTHERS_PAUSE)
            locked = await self.shared.locked(key)
            if locked is not True:
                return True
        return True

    # From what Redis holds to a lookup.

    async def _adopted(self, key: Key, known: Lookup | None, held: Held, wanted: Wanted | None) -> Lookup | None:
        """The lookup that Redis holds; None where it has none, an older one than memory, or one that could open a site.

        Records that nobody signed with our key count as far as they close: what was set by hand is shown where this
        process knows that it is as locked as what it stands for.
        """
        if not held.trusted and held.fault is None and not _same_readers(known, held.repository):
            return None
        found = await self._read_from(key, known, held, wanted)
        if found is None or held.trusted or _opens_nothing(known, found):
            return found
        return None

    async def _read_from(self, key: Key, known: Lookup | None, held: Held, wanted: Wanted | None) -> Lookup | None:
        looked = self._clock() - held.age
        if held.fault is not None:
            kept = replace(known, site=None, trouble=None, failures=0) if known is not None else Lookup(key, 0.0)
            if held.fault is Fault.ABSENT:
                kept = Lookup(key, 0.0)
            return replace(kept, looked=looked, fault=held.fault)
        repository, commit = held.repository, held.commit
        if repository is None or commit is None:
            return None
        if not (repository.public or self._settings.serve_private_repositories):
            return None
        for blob_id, data in held.blobs.items():
            self._host.keep_blob(blob_id, data)
        if known is not None and known.commit != commit and looked < known.looked - _SLACK and known.commit:
            return None
        if (
            known is not None
            and known.holds_for(repository, commit)
            and self._host.lies_right(key, known.site, repository)
        ):
            return replace(
                known, looked=looked, repository=repository, trouble=None, failures=0, suspect=False, retry=0.0
            )
        contents = held.contents
        branch = branch_of(key) is not None
        modified = held.modified or (contents.site.modified if contents is not None and contents.site else self._now())
        if known is not None and known.commit not in (None, commit) and modified <= known.modified:
            modified = min(float(int(known.modified) + 1), max(self._now(), known.modified))
        found: Lookup | None = Lookup(key, looked, repository=repository, commit=commit, modified=modified)
        assert found is not None
        if contents is not None and not self._host.lies_right(key, contents.site, repository):
            contents = None  # it was read as another branch's, and lies elsewhere in the repository
        if contents is None or (branch and contents.site is None):
            found = await self._host.find_commit(key, repository, commit, known, wanted)
            if found is None:
                return None
            if not held.foreign_contents:
                await self.shared.keep_contents(found)
            return replace(found, looked=looked)
        site = contents.site
        if site is not None:
            if len(site.tree) > self._settings.max_site_files or site.tree.nbytes > 2 * self._settings.max_site_bytes:
                return None
            if not (repository.public or branch or site.pages_file.publishes_private):
                return None
            site = replace(site, modified=modified)
        if contents.fault is Fault.BROKEN and not branch:
            site = None
        elif contents.fault is Fault.UNCONFIGURED and not branch:
            if key == self._operators and site is None:
                return None  # the operator's pages need no `.pages`, which the writer did not know
            site = site if key == self._operators else None
        return replace(
            found,
            site=site,
            fault=contents.fault,
            uses_lfs=contents.uses_lfs,
            line=contents.line,
            reason=contents.reason,
        )


def _same_readers(known: Lookup | None, repository: Repository | None) -> bool:
    """Whether a repository is the one that is known, with the same readers and the same branch's `.pages`."""
    before = known.repository if known is not None else None
    if before is None or repository is None:
        return False
    return (before.id, before.public, before.default_branch) == (
        repository.id,
        repository.public,
        repository.default_branch,
    )


def _opens_nothing(known: Lookup | None, found: Lookup) -> bool:
    """Whether nobody can see by one lookup what the other would keep from him."""
    if found.site is None:
        return True
    if known is None or known.site is None or known.repository is None:
        return False
    before, after = known.site.pages_file, found.site.pages_file
    if after.previews.any and after.previews != before.previews:
        return False
    if known.repository.public and not (before.password or before.branches_password or before.members):
        return True
    return (before.password, before.branches_password, before.publish_private, before.members) == (
        after.password,
        after.branches_password,
        after.publish_private,
        after.members,
    )


def _going(found: Lookup, known: Lookup | None) -> list[str]:
    """The ids of the files of a repository that is gone."""
    if found.fault is not Fault.ABSENT or known is None or known.site is None or branch_of(found.key) is not None:
        return []
    ids = {oid for _, mode, oid, _ in known.site.tree.rows() if mode != MODE_LINK}
    return list(ids)[:_MOST_GOING]
