# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Sites and blobs by name: Forgejo, the memory and the site room put together.

What is known of a repository is one immutable `Lookup`, replaced as a whole after each look: either a site or the
reason why there is none. A look asks for as little as proves the rest: the branch's commit unchanged means the whole
site unchanged. Trouble (anything that is not an answer) never replaces what is known; it is noted beside it and asked
again with growing pauses. Lives on the event loop; only building large trees and encoding go to the threads.
"""

import asyncio
import enum
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import NamedTuple

from addon.cache import Memory, SingleFlight
from addon.forge_errors import BadAnswer, ForgejoError, NotFound, Refused, ServerTrouble, TooManyFiles
from addon.forge_answers import Access, Repository, TreeEntry
from addon.forgejo import Forgejo
from addon.lfs import LfsPointer, lfs_pointer
from addon.negotiation import Representation, encode
from addon.pages_file import MAX_BYTES as MAX_PAGES_FILE
from addon.pages_file import PagesFile, PagesFileError, parse
from addon.settings import Settings
from addon.site import MAX_LINK_TARGET, PUBLIC, File, Site, public_files
from addon.tree import MODE_LINK, Entry

logger = logging.getLogger(__name__)

PAGES_FILE = ".pages"
NEGATIVE_TTL = 10.0
"""Seconds for which "no such site" is believed; short, for its owner is about to push."""
TROUBLE_PAUSE = 2.0
"""Seconds until a repository is asked for again after trouble; doubled at each failure up to TROUBLE_PAUSE_MAX."""
TROUBLE_PAUSE_MAX = 60.0
STALE_TTL = 86_400.0
"""Seconds for which a site is served on while Forgejo cannot be asked."""
MAX_LINKS = 2_000
_THREAD_ROWS = 2_000
"""Trees above this are built on a thread: 2 000 rows take about 5 ms."""


class Fault(enum.Enum):
    """Why a repository is not served."""

    ABSENT = "no such repository, or not a public one"
    UNCONFIGURED = "no .pages file, or enabled: false"
    BROKEN = "its .pages file cannot be read"
    PASSWORD = "it asks for a password"
    TOO_MANY_FILES = "more files than maxSiteFiles"
    REFUSED = "Forgejo refuses to show it"
    TROUBLE = "Forgejo gives no answer"


class Freshness(enum.Enum):
    FRESH = 0
    AGING = 1  # good to use; look again behind the visitor's back
    OLD = 2  # look again before use


@dataclass(frozen=True, slots=True)
class Lookup:
    """What is known of a repository.

    looked: monotonic seconds of the last definite answer. retry: monotonic seconds before which it is not asked again
    after trouble. line, reason: of a broken `.pages`. total: files, where they are too many.
    """

    looked: float
    site: Site | None = None
    fault: Fault | None = None
    repository: Repository | None = None
    commit: str | None = None
    line: int | None = None
    reason: str = ""
    total: int = 0
    trouble: ForgejoError | None = None
    failures: int = 0
    retry: float = 0.0

    @property
    def is_site(self) -> bool:
        """Whether the repository decides what its paths mean: served, or refused for a reason of its own."""
        return self.fault not in (Fault.ABSENT, Fault.UNCONFIGURED)

    @property
    def settled(self) -> bool:
        """Whether this is what a commit says, and so holds as long as the commit does."""
        return self.commit is not None and self.fault not in (Fault.REFUSED, Fault.TROUBLE)


class Blob(NamedTuple):
    """A file's bytes, verified against its id. pointer: set where they are a Git LFS pointer."""

    data: bytes
    pointer: LfsPointer | None


Key = tuple[str, str]
Wanted = tuple[tuple[str, ...], bool]


class Library:
    """Sites and blobs, from memory or from Forgejo."""

    def __init__(
        self,
        settings: Settings,
        forgejo: Forgejo,
        executor: Executor,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.memory: Memory[tuple[str, ...], object] = Memory(settings.memory_cache_size)
        self._settings = settings
        self._forgejo = forgejo
        self._executor = executor
        self._clock = clock
        self._now = now
        self._flights: SingleFlight[tuple[str, ...]] = SingleFlight()
        self._operators: Key | None = None
        if settings.error_pages_repo:
            owner, _, name = settings.error_pages_repo.lower().partition("/")
            self._operators = (owner, name)

    @property
    def error_pages(self) -> Key | None:
        """Owner and name of the operator's errorPagesRepo."""
        return self._operators

    # What is known, at once.

    def peek(self, owner: str, repository: str) -> Lookup | None:
        """What memory holds of a repository; never waits."""
        found = self.memory.get(("site", owner.lower(), repository.lower()))
        return found if isinstance(found, Lookup) else None

    def freshness(self, lookup: Lookup) -> Freshness:
        now = self._clock()
        age = now - lookup.looked
        if lookup.trouble is not None:
            if now < lookup.retry:
                return Freshness.FRESH
            return Freshness.AGING if lookup.site is not None and age < STALE_TTL else Freshness.OLD
        lives = self._settings.cache_ttl if lookup.fault is None else min(NEGATIVE_TTL, self._settings.cache_ttl)
        if age < lives:
            return Freshness.FRESH
        return Freshness.AGING if age < 2 * self._settings.cache_ttl else Freshness.OLD

    def held_blob(self, entry: Entry) -> Blob | None:
        found = self.memory.get(("blob", entry.id))
        return found if isinstance(found, Blob) else None

    def held_form(self, identity: str, coding: str) -> bytes | None:
        """The encoded form of the bytes with this entity; empty where encoding does not make them smaller."""
        found = self.memory.get(("form", identity, coding))
        return found if isinstance(found, bytes) else None

    def held_object(self, lookup: Lookup, pointer: LfsPointer) -> bytes | None:
        """A large file's bytes, if they are in memory."""
        assert lookup.repository is not None
        found = self.memory.get(("lfs", str(lookup.repository.id), pointer.oid))
        return found if isinstance(found, bytes) else None

    def held_representation(self, lookup: Lookup, file: File) -> Representation | None:
        """What was prepared for a file of this commit."""
        found = self.memory.get(_representation_key(lookup, file))
        return found if isinstance(found, Representation) else None

    def keep_representation(self, lookup: Lookup, file: File, representation: Representation) -> None:
        self.memory.put(_representation_key(lookup, file), representation, representation.weight + 300)

    # What has to be asked for.

    def look_soon(self, owner: str, repository: str) -> None:
        """Look at a repository again behind the visitor's back."""
        self._start_look(owner.lower(), repository.lower(), None)

    async def look(self, owner: str, repository: str, wanted: Wanted | None = None) -> Lookup:
        """What a repository is now; concurrent callers share one look. Never raises a ForgejoError.

        wanted: the path (segments, slash) a visitor waits for: its bytes come in the same batch as `.pages`.
        """
        return await asyncio.shield(self._start_look(owner.lower(), repository.lower(), wanted))

    async def blob(self, lookup: Lookup, entry: Entry) -> Blob:
        """A file's bytes, verified. Raises ForgejoError."""
        held = self.held_blob(entry)
        if held is not None:
            return held
        assert lookup.repository is not None
        repository = lookup.repository

        async def fetch() -> Blob:
            found = await self._blobs(repository, [(entry.id, entry.size)])
            return found[entry.id]

        return await self._flights.do(("blob", entry.id), fetch)

    async def object(self, lookup: Lookup, file: File, pointer: LfsPointer) -> bytes:
        """The bytes that a Git LFS pointer stands for, checked. Raises ForgejoError, NotFound where it has none."""
        assert lookup.repository is not None
        assert lookup.commit is not None
        repository, commit = lookup.repository, lookup.commit
        key = ("lfs", str(repository.id), pointer.oid)

        async def fetch() -> bytes:
            data = await self._forgejo.media_bytes(
                repository, path=PUBLIC + file.path, commit=commit, oid=pointer.oid, size=pointer.size
            )
            self.memory.put(key, data, len(data) + 150)
            return data

        return await self._flights.do(key, fetch)

    async def form(self, identity: str, coding: str, data: bytes) -> bytes:
        """Data in a content coding, made on a thread once; empty where that makes it no smaller."""
        key = ("form", identity, coding)

        async def make() -> bytes:
            loop = asyncio.get_running_loop()
            encoded = await loop.run_in_executor(self._executor, encode, data, coding) or b""
            self.memory.put(key, encoded, len(encoded) + 150)
            return encoded

        return await self._flights.do(key, make)

    def stream(
        self, lookup: Lookup, file: File, pointer: LfsPointer | None, start: int, end: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes [start, end) of a file too large for memory, from Forgejo, of exactly this commit."""
        assert lookup.repository is not None
        assert lookup.commit is not None
        path = PUBLIC + file.path
        if pointer is not None:
            return self._forgejo.media(
                lookup.repository,
                path=path,
                commit=lookup.commit,
                oid=pointer.oid,
                size=pointer.size,
                start=start,
                end=end,
            )
        return self._forgejo.stream(
            lookup.repository,
            path=path,
            commit=lookup.commit,
            id=file.entry.id,
            size=file.entry.size,
            start=start,
            end=end,
        )

    async def aclose(self) -> None:
        """Stop every look under way."""
        await self._flights.aclose()

    # A look.

    def _start_look(self, owner: str, name: str, wanted: Wanted | None) -> "asyncio.Future[Lookup]":
        return self._flights.start(("site", owner, name), lambda: self._look(owner, name, wanted))

    async def _look(self, owner: str, name: str, wanted: Wanted | None) -> Lookup:
        known = self.peek(owner, name)
        try:
            found = await self._ask(owner, name, known, wanted)
        except NotFound as missing:
            found = await self._missing(known, missing)
        except Refused:
            found = replace(known or Lookup(0), looked=self._clock(), fault=Fault.REFUSED, trouble=None, failures=0)
        except ForgejoError as trouble:
            found = self._troubled(known, trouble)
        except Exception:
            logger.exception("looking at %s/%s failed", owner, name)
            found = self._troubled(known, ServerTrouble("an error of our own"))
        self._keep(owner, name, found)
        return found

    async def _ask(self, owner: str, name: str, known: Lookup | None, wanted: Wanted | None) -> Lookup:
        """The calls of one look. Unknown: repository, branch, tree, blobs. Known: branch, then what that makes due."""
        repository = known.repository if known is not None else None
        if repository is not None and repository.public and repository.access is Access.ANONYMOUS:
            # That an anonymous call sees the branch proves that the repository is still public.
            try:
                branch = await self._forgejo.branch(repository, repository.default_branch)
            except NotFound:
                pass
            else:
                assert known is not None
                if branch.commit != known.commit:
                    return await self._site(owner, name, repository, branch.commit, branch.timestamp, known, wanted)
        asked = await self._forgejo.repository(
            owner, name, allow_token_private=self._settings.serve_private_repositories, known=repository is not None
        )
        if asked.empty or not (asked.public or self._settings.serve_private_repositories):
            return Lookup(self._clock(), fault=Fault.ABSENT)
        if (
            repository is not None
            and known is not None
            and asked.public
            and asked.access is Access.ANONYMOUS
            and asked.default_branch == repository.default_branch
            and known.settled
            and asked.id == repository.id
        ):
            return replace(known, looked=self._clock(), repository=asked, trouble=None, failures=0)
        branch = await self._forgejo.branch(asked, asked.default_branch)
        return await self._site(owner, name, asked, branch.commit, branch.timestamp, known, wanted)

    async def _site(
        self,
        owner: str,
        name: str,
        repository: Repository,
        commit: str,
        timestamp: float | None,
        known: Lookup | None,
        wanted: Wanted | None,
    ) -> Lookup:
        now = self._clock()
        if (
            known is not None
            and known.settled
            and known.commit == commit
            and known.repository is not None
            and known.repository.id == repository.id
        ):
            return replace(known, looked=now, repository=repository, trouble=None, failures=0)
        found = Lookup(now, repository=repository, commit=commit)
        operators = (owner, name) == self._operators
        try:
            rows = await self._rows(repository, commit, operators)
        except TooManyFiles as many:
            return replace(found, fault=Fault.TOO_MANY_FILES, total=many.total)
        settings_row = next((row for row in rows if row.path == PAGES_FILE), None)
        if settings_row is None and not operators:
            return replace(found, fault=Fault.UNCONFIGURED)
        if settings_row is not None and (settings_row.mode == MODE_LINK or settings_row.size > MAX_PAGES_FILE):
            reason = "it is a symbolic link" if settings_row.mode == MODE_LINK else "it is larger than 64 KiB"
            return replace(found, fault=Fault.BROKEN, reason=reason)
        if len(rows) > _THREAD_ROWS:
            tree = await asyncio.get_running_loop().run_in_executor(self._executor, public_files, rows)
        else:
            tree = public_files(rows)
        modified = min(timestamp if timestamp is not None else self._now(), self._now())
        if known is not None and known.site is not None:
            modified = max(modified, known.site.modified)
        site = Site(repository.owner, repository.name, commit, modified, PagesFile(), tree)
        links = [(path, entry) for path, entry in tree.links() if entry.size <= MAX_LINK_TARGET]
        if len(links) > MAX_LINKS:
            logger.warning("%s/%s: only %d of %d links are followed", owner, name, MAX_LINKS, len(links))
            del links[MAX_LINKS:]
        batch = [(entry.id, entry.size) for _, entry in links]
        if settings_row is not None:
            batch.append((settings_row.id, settings_row.size))
        page = site.outcome(*wanted) if wanted is not None else None
        if isinstance(page, File) and page.entry.size <= self._settings.max_cached_file_size:
            batch.append((page.entry.id, page.entry.size))
        blobs = await self._blobs(repository, list(dict.fromkeys(batch)))
        pages_file = PagesFile()
        if settings_row is not None:
            try:
                pages_file = parse(blobs[settings_row.id].data)
            except PagesFileError as error:
                logger.warning("%s/%s: .pages cannot be read: %s", owner, name, error)
                return replace(found, fault=Fault.BROKEN, line=error.line, reason=error.reason)
            for warning in pages_file.warnings:
                logger.warning("%s/%s: .pages: %s", owner, name, warning)
        if not repository.public and not pages_file.publish_private:
            return replace(found, fault=Fault.ABSENT)
        targets = {path: blobs[entry.id].data.decode("utf-8", "replace") for path, entry in links}
        site = replace(site, pages_file=pages_file, links=targets)
        found = replace(found, site=site)
        if settings_row is None or not pages_file.enabled:
            return replace(found, site=site if operators else None, fault=Fault.UNCONFIGURED)
        if pages_file.password:
            logger.warning("%s/%s asks for a password, which is not served yet: refused", owner, name)
            return replace(found, site=None, fault=Fault.PASSWORD)
        return found

    async def _rows(self, repository: Repository, commit: str, operators: bool) -> Sequence[TreeEntry]:
        """The commit's rows that matter: `.pages` and what lies below `public/`.

        Git lists paths in the order of their bytes, so reading ends after the last page that can hold them: a large
        repository that is no site costs one page, not its whole tree.
        """
        rows: list[TreeEntry] = []
        found = operators
        async for page in self._forgejo.tree_pages(repository, commit):
            for row in page:
                if row.path == PAGES_FILE:
                    found = True
                    rows.append(row)
                elif row.path.startswith(PUBLIC):
                    rows.append(row)
            if len(rows) > self._settings.max_site_files:
                raise TooManyFiles(len(rows))
            last = page[-1].path if page else ""
            if last > "public0" or (last > PAGES_FILE and not found):
                break
        return rows

    async def _blobs(self, repository: Repository, wanted: Iterable[tuple[str, int]]) -> dict[str, Blob]:
        found: dict[str, Blob] = {}
        missing: list[tuple[str, int]] = []
        for oid, size in wanted:
            held = self.memory.get(("blob", oid))
            if isinstance(held, Blob):
                found[oid] = held
            else:
                missing.append((oid, size))
        if missing:
            for oid, data in (await self._forgejo.blobs(repository, missing)).items():
                blob = Blob(data, lfs_pointer(data))
                self.memory.put(("blob", oid), blob, len(data) + 250)
                found[oid] = blob
            if any(oid not in found for oid, _ in missing):
                raise BadAnswer("Forgejo left out blobs that it was asked for")
        return found

    async def _missing(self, known: Lookup | None, missing: NotFound) -> Lookup:
        """A 404 on the repository. For a site that was there, only a certain one, and while Forgejo itself answers."""
        if not missing.certain:
            return self._troubled(known, missing)
        if known is not None and known.site is not None:
            try:
                await self._forgejo.version()
            except ForgejoError as trouble:
                return self._troubled(known, trouble)
        return Lookup(self._clock(), fault=Fault.ABSENT)

    def _troubled(self, known: Lookup | None, trouble: ForgejoError) -> Lookup:
        """What is known, kept beside the trouble; what is not, or was known too long ago, is the trouble itself."""
        now = self._clock()
        if known is None or known.fault is Fault.TROUBLE or now - known.looked > STALE_TTL:
            return Lookup(now, fault=Fault.TROUBLE, trouble=trouble, retry=now + TROUBLE_PAUSE)
        pause = min(TROUBLE_PAUSE * 2 ** min(known.failures, 10), TROUBLE_PAUSE_MAX)
        return replace(known, trouble=trouble, failures=known.failures + 1, retry=now + pause)

    def _keep(self, owner: str, name: str, lookup: Lookup) -> None:
        nbytes = 900 + (lookup.site.nbytes if lookup.site is not None else 0)
        self.memory.put(("site", owner, name), lookup, nbytes)


def _representation_key(lookup: Lookup, file: File) -> tuple[str, ...]:
    assert lookup.site is not None
    return ("prepared", lookup.site.owner, lookup.site.name, lookup.site.commit, file.path)
