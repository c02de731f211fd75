# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Sites and blobs by name: Forgejo, the memory and the site room put together.

A look asks for as little as proves the rest: the branch's commit unchanged means the whole site unchanged. What comes
of it replaces the repository's `Lookup` as a whole. What Forgejo did not give is held for seconds, too, as a value
beside the blobs, so that a broken file costs one call however many ask for it: nothing here raises a ForgejoError but
a stream. Lives on the event loop; only what takes long (large trees, long `.pages` files, encoding) goes to threads.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from addon.forgejo.answers import Access, Branch, Repository, TreeEntry
from addon.forgejo.client import Forgejo
from addon.forgejo.errors import (
    BadAnswer,
    BlobTooLarge,
    ForgejoError,
    NotFound,
    Overloaded,
    RateLimited,
    Refused,
    ServerTrouble,
    TooManyFiles,
)
from addon.forgejo.health_log import Weather
from addon.forgejo.lfs import LfsPointer, lfs_pointer
from addon.library.memory import Memory, SingleFlight
from addon.library.refresh import SharedLooks
from addon.settings.schema import Settings
from addon.shared.cache import Shared
from addon.shared.lookup import (
    DISABLED,
    TROUBLE_PAUSE,
    Blob,
    Failure,
    Fault,
    Freshness,
    Key,
    Lookup,
    branch_of,
    repository_of,
    unknown,
    without_frames,
)
from addon.sites.pages_file import MAX_BYTES as MAX_PAGES_FILE
from addon.sites.pages_file import PagesFile, PagesFileError, parse, takes_long
from addon.sites.site import MAX_LINK_TARGET, PUBLIC, File, Site, public_files
from addon.sites.tree import MODE_LINK, Entry, Tree
from addon.web.negotiation import Representation, encode
from addon.web.prepared_answers import ready_share

logger = logging.getLogger(__name__)

PAGES_FILE = ".pages"
ATTRIBUTES_FILE = ".gitattributes"
MAX_LINKS = 2_000
_MAX_ATTRIBUTES = 4
_ATTRIBUTES_BYTES = 64 * 1024
_NOT_FOUND_BYTES = 64 * 1024
"""A 404.html up to this size comes with the site: the first missing path is often the same visitor's favicon."""
_TOO_LARGE_TTL = 3600.0
"""Seconds for which it is believed that Forgejo does not give a blob in one piece."""
REFRESH_PATIENCE = 0.5
"""Seconds that a visitor waits for a new look where an old one could be used, before it is."""
ANEW_EVERY = 5.0
"""Seconds between two looks at a site that visitors ask for by `Cache-Control: no-cache`."""
_THREAD_ROWS = 2_000
"""Trees above this are built on a thread: 2 000 rows take about 5 ms."""

Wanted = tuple[tuple[str, ...], bool]
T = TypeVar("T")


class Library:
    """Sites and blobs, from memory or from Forgejo."""

    def __init__(
        self,
        settings: Settings,
        forgejo: Forgejo,
        executor: Executor,
        *,
        shared: Shared | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """clock: monotonic seconds, for ages. now: seconds since 1970, for dates that visitors see."""
        self.memory: Memory[tuple[str, ...], object] = Memory(settings.memory_cache_size - ready_share(settings))
        self._settings = settings
        self._forgejo = forgejo
        self._executor = executor
        self._clock = clock
        self._now = now
        self._flights: SingleFlight[tuple[str, ...]] = SingleFlight()
        self._weather = Weather(clock)
        self._operators: Key | None = None
        if settings.error_pages_repo:
            owner, _, name = settings.error_pages_repo.lower().partition("/")
            self._operators = (owner, name)
        self._purged: set[Key] = set()  # while they were looked at
        self.looked: Callable[[Lookup], object] = lambda lookup: None
        """Told of what each look found."""
        self.shared_looks: SharedLooks | None = None
        if shared is not None:
            self.shared_looks = SharedLooks(settings, shared, self, clock=clock, now=now, operators=self._operators)

    @property
    def trouble(self) -> ForgejoError | None:
        """Why Forgejo gave no answer when it was asked last; None where it did."""
        return self._weather.trouble

    @property
    def error_pages(self) -> Key | None:
        """Owner and name of the operator's errorPagesRepo."""
        return self._operators

    # What is known, at once.

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

    def memory_key(self, lookup: Lookup) -> tuple[str, ...]:
        """Under which key memory holds a lookup, for as long as it is what is known."""
        return ("site", *lookup.key)

    def held_blob(self, entry: Entry) -> Blob | ForgejoError | None:
        """A file's bytes, or why they could not be had a moment ago."""
        found = self.memory.get(("blob", entry.id))
        return found if isinstance(found, Blob) else self._failure(found)

    def held_object(self, lookup: Lookup, pointer: LfsPointer) -> bytes | ForgejoError | None:
        """A large file's bytes, or why they could not be had a moment ago."""
        found = self.memory.get(_object_key(lookup, pointer))
        return found if isinstance(found, bytes) else self._failure(found)

    def held_failure(self, lookup: Lookup, file: File) -> ForgejoError | None:
        """Why a file could not be streamed a moment ago."""
        return self._failure(self.memory.get(_stream_key(lookup, file)))

    def held_form(self, identity: str, coding: str) -> bytes | None:
        """The encoded form of the bytes with this entity; empty where encoding does not make them smaller."""
        found = self.memory.get(("form", identity, coding))
        return found if isinstance(found, bytes) else None

    def held_page(self, name: tuple[str, ...]) -> bytes | None:
        """A page of ours that was made before."""
        found = self.memory.get(("page", *name))
        return found if isinstance(found, bytes) else None

    def held_representation(self, lookup: Lookup, file: File) -> Representation | None:
        """What was prepared for a file of this commit."""
        found = self.memory.get(_representation_key(lookup, file))
        return found if isinstance(found, Representation) else None

    def keep_representation(self, lookup: Lookup, file: File, representation: Representation) -> None:
        """Hold what was prepared for a file of this commit."""
        key = _representation_key(lookup, file)
        self.memory.put(key, representation, representation.weight + 300 + len(file.path))

    def keep_failure(self, lookup: Lookup, file: File, error: ForgejoError) -> None:
        """Remember for a moment that a file could not be streamed."""
        self._failed(lookup, _stream_key(lookup, file), error)

    # What has to be asked for.

    def look_soon(self, key: Key) -> None:
        """Look at a repository again behind the visitor's back; key: the name that it is held under."""
        self._start_look(key, None)

    async def look(self, key: Key, wanted: Wanted | None = None) -> Lookup:
        """What a repository, or one of its branches, is now; concurrent callers share one look.

        wanted: the path (segments, slash) a visitor waits for: its bytes come in the same batch as `.pages`.
        """
        if self.shared_looks is None:
            return await asyncio.shield(self._start_look(key, wanted))
        known = self.peek(key)
        self.shared_looks.awaited(key)
        found = await asyncio.shield(self._start_look(key, wanted))
        if known is None and self.freshness(found) is Freshness.OLD:
            # The first to ask for what Redis knows from yesterday.
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_PATIENCE):
                    self.shared_looks.awaited(key)
                    found = await asyncio.shield(self._start_look(key, wanted))
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
        known = [lookup for lookup in self.lookups() if key in (None, repository_of(lookup.key), _true_name(lookup))]
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

    async def blob(self, lookup: Lookup, entry: Entry) -> Blob | ForgejoError:
        """A file's bytes, verified, or why they cannot be had."""
        repository = _repository(lookup)

        async def fetch() -> Blob:
            found = await self._blobs(repository, [(entry.id, entry.size)])
            if entry.id not in found:
                raise BlobTooLarge(entry.id)
            return found[entry.id]

        return await self._fetched(lookup, ("blob", entry.id), fetch)

    async def lfs_object(self, lookup: Lookup, file: File, pointer: LfsPointer) -> bytes | ForgejoError:
        """The bytes that a Git LFS pointer stands for, checked, or why they cannot be had."""
        repository, commit, key = _repository(lookup), _commit(lookup), _object_key(lookup, pointer)

        shared = self.shared_looks.shared if self.shared_looks is not None else None

        async def fetch() -> bytes:
            data = await shared.lfs_object(lookup.key, pointer.oid, pointer.size) if shared is not None else None
            if data is None:
                data = await self._forgejo.media_bytes(
                    repository, path=PUBLIC + file.path, commit=commit, oid=pointer.oid, size=pointer.size
                )
                if shared is not None:
                    shared.keep_object(lookup.key, pointer.oid, data)
            self.memory.put(key, data, len(data) + 150)
            return data

        return await self._fetched(lookup, key, fetch)

    async def form(self, identity: str, coding: str, data: bytes) -> bytes:
        """Data in a content coding, made on a thread once; empty where that makes it no smaller."""
        return await self._made(("form", identity, coding), lambda: encode(data, coding) or b"")

    async def page(self, name: tuple[str, ...], make: Callable[[], bytes]) -> bytes:
        """A page of ours, made on a thread once."""
        return await self._made(("page", *name), make)

    async def on_thread(self, work: Callable[[], T]) -> T:
        """What a function returns that would hold up the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def stream(
        self, lookup: Lookup, file: File, pointer: LfsPointer | None, start: int, end: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes [start, end) of a file too large for memory, from Forgejo, of exactly this commit."""
        repository, commit, path = _repository(lookup), _commit(lookup), PUBLIC + file.path
        if pointer is not None:
            return self._forgejo.media(
                repository, path=path, commit=commit, oid=pointer.oid, size=pointer.size, start=start, end=end
            )
        return self._forgejo.stream(
            repository, path=path, commit=commit, id=file.entry.id, size=file.entry.size, start=start, end=end
        )

    async def aclose(self) -> None:
        """Stop every look under way."""
        await self._flights.aclose()
        if self.shared_looks is not None:
            await self.shared_looks.aclose()

    # What a look by way of Redis needs.

    def lookups(self) -> list[Lookup]:
        """All that memory holds of repositories."""
        return [value for value in self.memory.values() if isinstance(value, Lookup)]

    def keep(self, lookup: Lookup) -> Lookup:
        """Hold what is known of a repository now."""
        nbytes = 1200 + sum(map(len, lookup.key)) + (lookup.site.nbytes if lookup.site is not None else 0)
        self.memory.put(("site", *lookup.key), lookup, nbytes)
        return lookup

    def renew(self) -> None:
        """End every answer that is ready, for what decided it lay elsewhere: they rest on these very objects."""
        for lookup in self.lookups():
            self.keep(replace(lookup))

    def keep_blob(self, blob_id: str, data: bytes) -> Blob:
        """Hold a file's bytes, which are verified."""
        blob = Blob(data, lfs_pointer(data))
        self.memory.put(("blob", blob_id), blob, len(data) + 250)
        return blob

    def look_again(self, key: Key) -> None:
        """Look at a repository that memory holds, with nobody waiting."""
        self._start_look(key, None)

    async def find_commit(
        self, key: Key, repository: Repository, commit: str, known: Lookup | None, wanted: Wanted | None
    ) -> Lookup | None:
        """What a commit is that somebody else found on the branch; None where Forgejo does not say."""
        try:
            branch = Branch(branch_of(key) or repository.default_branch, commit, None, repository.access)
            return await self._site(key, repository, branch, known, wanted)
        except ForgejoError:
            return None

    # Calls that are shared, and failures that are remembered.

    async def _fetched(
        self, lookup: Lookup, key: tuple[str, ...], fetch: Callable[[], Awaitable[T]]
    ) -> T | ForgejoError:
        async def fetch_or_tell() -> T | ForgejoError:
            try:
                return await fetch()
            except ForgejoError as error:
                self._failed(lookup, key, error)
                return error

        return await self._flights.do(key, fetch_or_tell)

    async def _made(self, key: tuple[str, ...], make: Callable[[], bytes]) -> bytes:
        async def run() -> bytes:
            made = await self.on_thread(make)
            self.memory.put(key, made, len(made) + sum(map(len, key)) + 150)
            return made

        return await self._flights.do(key, run)

    def _failed(self, lookup: Lookup, key: tuple[str, ...], error: ForgejoError) -> None:
        self._keep_failure(key, error)
        if isinstance(error, Refused) or (isinstance(error, NotFound) and key[0] == "blob"):
            self.look_soon(lookup.key)  # it is not the repository that it was

    def _keep_failure(self, key: tuple[str, ...], error: ForgejoError) -> None:
        without_frames(error)
        match error:
            case Overloaded():  # ours, and over when a call is
                return
            case RateLimited():
                life: float = error.retry_after
            case BlobTooLarge():
                life = _TOO_LARGE_TTL
            case _:
                life = TROUBLE_PAUSE
        self.memory.put(key, Failure(error, self._clock() + life), 800)

    def _failure(self, found: object) -> ForgejoError | None:
        return found.error if isinstance(found, Failure) and self._clock() < found.until else None

    # A look.

    def _start_look(self, key: Key, wanted: Wanted | None) -> "asyncio.Future[Lookup]":
        return self._flights.start(("site", *key), lambda: self._looked(key, wanted))

    async def _looked(self, key: Key, wanted: Wanted | None) -> Lookup:
        found = await self._look(key, wanted)
        self.looked(found)
        return found

    async def _look(self, key: Key, wanted: Wanted | None) -> Lookup:
        if self.shared_looks is not None:
            try:
                return await self.shared_looks.look(key, wanted)
            except Exception:
                logger.exception("looking at %s/%s by way of Redis failed", *key)
        while True:
            self._purged.discard(key)
            found = await self.find(key, self.peek(key), wanted)
            if key not in self._purged:  # else it may be older than that
                known = self.peek(key)
                added = known.added if known is not None else ""
                return self.keep(replace(found, suspect=False, added=added))

    async def find(self, key: Key, known: Lookup | None, wanted: Wanted | None) -> Lookup:
        """What Forgejo says of a repository; trouble is noted beside what is known."""
        try:
            found = await self._ask(key, known, wanted)
        except NotFound as missing:
            found = await self._missing(key, known, missing)
        except Refused:
            kept = replace(known, site=None, trouble=None, failures=0) if known is not None else Lookup(key, 0.0)
            found = replace(kept, looked=self._clock(), fault=Fault.REFUSED)
        except ForgejoError as trouble:
            found = self._troubled(key, known, trouble)
        except Exception:
            logger.exception("looking at %s/%s failed", *key)
            found = self._troubled(key, known, ServerTrouble("an error of our own"))
        if found.trouble is not None:
            self._weather.bad("/".join(key), found.trouble)
        else:
            self._weather.good()
        return found

    async def _ask(self, key: Key, known: Lookup | None, wanted: Wanted | None) -> Lookup:
        """The calls of one look. Unknown: repository, branch, tree, blobs. Known: branch, then what that makes due.

        A branch's look knows the repository from the site's, which was looked at before it, and which is looked at anew
        as often: what else may have become of the repository is left to that.
        """
        named = branch_of(key)
        of_site = self.peek(repository_of(key)) if named is not None and known is None else known
        repository = of_site.repository if of_site is not None else None
        branch: Branch | None = None
        if repository is not None and repository.public and repository.access is Access.ANONYMOUS:
            # That an anonymous call sees the branch proves that the repository is still public.
            try:
                branch = await self._forgejo.branch(repository, named or repository.default_branch)
            except NotFound:
                pass  # made private, renamed, deleted, or another branch is the default now
            else:
                changed = named is not None or known is None or branch.commit != known.commit
                if changed and branch.access is Access.ANONYMOUS:
                    return await self._site(key, repository, branch, known, wanted)
        private = self._settings.serve_private_repositories
        asked = await self._forgejo.repository(
            *repository_of(key), allow_token_private=private, known=repository is not None
        )
        if asked.empty or not (asked.public or private):
            return Lookup(key, self._clock(), fault=Fault.ABSENT)
        if branch is None or repository is None or not _same_place(asked, repository):
            branch = await self._forgejo.branch(asked, named or asked.default_branch)
        return await self._site(key, asked, branch, known, wanted)

    async def _site(
        self, key: Key, repository: Repository, branch: Branch, known: Lookup | None, wanted: Wanted | None
    ) -> Lookup:
        now, today = self._clock(), self._now()
        if known is not None and known.holds_for(repository, branch.commit):
            return replace(known, looked=now, repository=repository, trouble=None, failures=0)
        modified = min(branch.timestamp if branch.timestamp is not None else today, today)
        if known is not None and known.commit != branch.commit:
            # Never older than what it replaces, and where it can be, newer: dates are whole seconds.
            modified = max(modified, min(float(int(known.modified) + 1), today), known.modified)
        elif known is not None:
            modified = max(modified, known.modified)
        found = Lookup(key, now, repository=repository, commit=branch.commit, modified=modified)
        try:
            return await self._read(found, repository, branch.commit, wanted)
        except TooManyFiles as many:
            return replace(found, fault=Fault.TOO_MANY_FILES, total=many.total)
        except NotFound as missing:
            if missing.certain:
                raise
            raise ServerTrouble("git cannot read what the branch points to") from None

    async def _read(self, found: Lookup, repository: Repository, commit: str, wanted: Wanted | None) -> Lookup:
        """The site that a commit is, or why it is none: its tree, then `.pages` and all else that it takes at once.

        A branch's commit is a site whatever its own `.pages` says, if it has one at all: the default branch's governs.
        What its own says is noted as the fault, for the day on which that commit is the default branch's.
        """
        branch = branch_of(found.key) is not None
        anyway = branch or found.key == self._operators
        rows, attributes = await self._rows(repository, commit, anyway)
        settings = next((row for row in rows if row.path == PAGES_FILE), None)
        if settings is None and not anyway:
            return replace(found, fault=Fault.UNCONFIGURED)
        broken: PagesFileError | None = None
        if settings is not None and (settings.mode == MODE_LINK or settings.size > MAX_PAGES_FILE):
            reason = "it is a symbolic link" if settings.mode == MODE_LINK else "it is larger than 64 KiB"
            broken, settings = PagesFileError(None, reason), None
            if not branch:
                return self._broken(found, broken)
        tree = await self._tree(rows)
        site = Site(repository.owner, repository.name, commit, found.modified, PagesFile(), tree)
        links = [(path, entry) for path, entry in tree.links() if entry.size <= MAX_LINK_TARGET]
        if len(links) > MAX_LINKS:
            logger.warning("%s/%s: only %d of %d links are followed", *found.key, MAX_LINKS, len(links))
            del links[MAX_LINKS:]
        needed = [(entry.id, entry.size) for _, entry in links]
        if settings is not None:
            needed.append((settings.id, settings.size))
        read = attributes if len(attributes) <= _MAX_ATTRIBUTES else []
        welcome = [(row.id, row.size) for row in read if row.size <= _ATTRIBUTES_BYTES]
        page = site.outcome(*wanted) if wanted is not None else None
        if isinstance(page, File) and page.entry.size <= self._settings.max_cached_file_size:
            welcome.append((page.entry.id, page.entry.size))
        page = site.not_found_page()
        if page is not None and page.entry.size <= min(_NOT_FOUND_BYTES, self._settings.max_cached_file_size):
            welcome.append((page.entry.id, page.entry.size))
        blobs = await self._blobs(repository, [*needed, *welcome])
        if any(oid not in blobs for oid, _ in needed):
            raise BadAnswer("Forgejo left out blobs that it was asked for")
        # Only what `.gitattributes` gives to Git LFS can be a pointer; what was not read might.
        rules = [blobs.get(row.id) for row in attributes]
        found = replace(found, uses_lfs=any(rule is None or b"lfs" in rule.data for rule in rules))
        pages_file = PagesFile()
        if settings is not None:
            try:
                pages_file = await self._pages_file(blobs[settings.id].data)
            except PagesFileError as error:
                broken = error
                if not branch:
                    return self._broken(found, broken)
            for warning in () if branch else pages_file.warnings:
                logger.warning("%s/%s: .pages: %s", *found.key, warning)
        if not repository.public and not pages_file.publish_private and not branch:
            return replace(found, fault=Fault.ABSENT)
        targets = {path: _target(blobs[entry.id].data) for path, entry in links}
        site = replace(site, pages_file=pages_file, links=targets)
        if broken is not None:
            return replace(found, site=site, fault=Fault.BROKEN, line=broken.line, reason=broken.reason)
        if settings is None or not pages_file.enabled:
            # The operator's pages need no `.pages`; without one, the repository is no site of its owner's.
            reason = "" if settings is None else DISABLED
            return replace(found, site=site if anyway else None, fault=Fault.UNCONFIGURED, reason=reason)
        return replace(found, site=site)

    def _broken(self, found: Lookup, error: PagesFileError) -> Lookup:
        logger.warning("%s/%s: .pages cannot be read: %s", *found.key, error)
        return replace(found, fault=Fault.BROKEN, line=error.line, reason=error.reason)

    async def _rows(
        self, repository: Repository, commit: str, anyway: bool
    ) -> tuple[Sequence[TreeEntry], list[TreeEntry]]:
        """The commit's rows that matter: `.pages` with what lies below `public/`, and `.gitattributes` files.

        Git lists paths in the order of their bytes, so reading ends after the last page that can hold them: a large
        repository that is no site costs one page, not its whole tree. anyway: it is one even without `.pages`.
        """
        rows: list[TreeEntry] = []
        attributes: list[TreeEntry] = []
        found = anyway
        async for page in self._forgejo.tree_pages(repository, commit):
            for row in page:
                if row.path.startswith(PUBLIC):
                    rows.append(row)
                    if row.path.endswith("/" + ATTRIBUTES_FILE):
                        attributes.append(row)
                elif row.path == PAGES_FILE:
                    found = True
                    rows.append(row)
                elif row.path == ATTRIBUTES_FILE:
                    attributes.append(row)
            if len(rows) - found > self._settings.max_site_files:
                raise TooManyFiles(len(rows) - found)
            last = page[-1].path if page else ""
            if last > "public0" or (last > PAGES_FILE and not found):
                break
        return rows, attributes

    async def _tree(self, rows: Sequence[TreeEntry]) -> Tree:
        try:
            if len(rows) <= _THREAD_ROWS:
                return public_files(rows)
            return await self.on_thread(partial(public_files, rows))
        except ValueError:
            raise BadAnswer("tree: entries that cannot be of one commit") from None

    async def _pages_file(self, data: bytes) -> PagesFile:
        if not takes_long(data):
            return parse(data)
        return await self.on_thread(partial(parse, data))

    async def _blobs(self, repository: Repository, wanted: Iterable[tuple[str, int]]) -> dict[str, Blob]:
        """Blobs by id, from memory or in one batch; those that Forgejo does not give in one piece are left out."""
        found: dict[str, Blob] = {}
        missing: dict[str, int] = {}
        for oid, size in wanted:
            held = self.memory.get(("blob", oid))
            if isinstance(held, Blob):
                found[oid] = held
            elif missing.setdefault(oid, size) != size:
                raise BadAnswer("tree: one blob with two sizes")
        shared = self.shared_looks.shared if self.shared_looks is not None else None
        if missing and shared is not None:
            for oid, data in (await shared.blobs(missing.items())).items():
                found[oid] = self.keep_blob(oid, data)
                del missing[oid]
        if missing:
            try:
                blobs = await self._forgejo.blobs(repository, list(missing.items()))
            except BlobTooLarge:
                blobs = {}
            for oid, data in blobs.items():
                found[oid] = self.keep_blob(oid, data)
                if shared is not None:
                    shared.keep_blob(oid, data)
            for oid in missing.keys() - blobs.keys():
                self._keep_failure(("blob", oid), BlobTooLarge(oid))
        return found

    async def _missing(self, key: Key, known: Lookup | None, missing: NotFound) -> Lookup:
        """A 404 on the repository. For a site that was there, only a certain one, and while Forgejo itself answers."""
        if not missing.certain:
            return self._troubled(key, known, missing)
        if known is not None and known.site is not None:
            try:
                await self._forgejo.version()
            except ForgejoError as trouble:
                return self._troubled(key, known, trouble)
        return Lookup(key, self._clock(), fault=Fault.ABSENT)

    def _troubled(self, key: Key, known: Lookup | None, trouble: ForgejoError) -> Lookup:
        if known is None:
            return unknown(key, trouble, self._clock())
        return known.troubled(trouble, self._clock(), self._settings.stale_ttl)


def _same_place(one: Repository, other: Repository) -> bool:
    """Whether the default branch of one is that of the other."""
    return (one.id, one.owner, one.name, one.default_branch) == (
        other.id,
        other.owner,
        other.name,
        other.default_branch,
    )


def _true_name(lookup: Lookup) -> Key | None:
    """What a repository is called by now."""
    return (lookup.repository.owner.lower(), lookup.repository.name.lower()) if lookup.repository is not None else None


def _target(data: bytes) -> str:
    """A link's target, spelt as Forgejo lists paths: U+FFFD for each byte that is no UTF-8 (Go's encoding/json)."""
    return re.sub("[\udc80-\udcff]", "\ufffd", data.decode("utf-8", "surrogateescape"))


def _repository(lookup: Lookup) -> Repository:
    assert lookup.repository is not None
    return lookup.repository


def _commit(lookup: Lookup) -> str:
    assert lookup.commit is not None
    return lookup.commit


def _object_key(lookup: Lookup, pointer: LfsPointer) -> tuple[str, ...]:
    return ("lfs", str(_repository(lookup).id), pointer.oid)


def _stream_key(lookup: Lookup, file: File) -> tuple[str, ...]:
    return ("stream", str(_repository(lookup).id), file.entry.id)


def _representation_key(lookup: Lookup, file: File) -> tuple[str, ...]:
    return ("prepared", *lookup.key, _commit(lookup), file.path)
