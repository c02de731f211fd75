# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Files' bytes by what they are: blobs, Git LFS objects, encoded forms, and what was prepared to answer with them.

Memory over Redis over Forgejo, one call for many who want the same, and every blob verified before it is held. What
Forgejo did not give is held for seconds, too, as a value beside the blobs, so that a broken file costs one call however
many ask for it: nothing here raises a ForgejoError but a stream, and `many`, which a look at a commit waits for.
"""

import asyncio
import hashlib
import logging
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeVar

from addon.forgejo.answers import Repository
from addon.forgejo.blobs import object_hash
from addon.forgejo.client import Forgejo
from addon.forgejo.errors import BadAnswer, BlobTooLarge, ForgejoError, NotFound, Overloaded, RateLimited, Refused
from addon.forgejo.lfs import LfsPointer, lfs_pointer
from addon.library.encoded_streams import EncodedStreams
from addon.library.memory import Memory, SingleFlight
from addon.net.fair_queue import Dropped, FairQueue, TooLate
from addon.shared.cache import SharedCache
from addon.shared.freshness import TROUBLE_PAUSE
from addon.shared.lookup import Blob, Failure, Key, Lookup, without_frames
from addon.sites.site import File
from addon.sites.tree import Entry
from addon.web.codings import Decoder, decodes, encode
from addon.web.content_types import HEAD_SIZE
from addon.web.representation import Representation

logger = logging.getLogger(__name__)

_MOST_FALSE_FORMS = 50
"""Of one commit that are remembered, to be told to the site's owner."""
_TOO_LARGE_TTL = 3600.0
"""Seconds for which it is believed that Forgejo does not give a blob in one piece."""

_ENOUGH_DECODED = 64 * 1024 * 1024
"""Bytes after which a file is taken to be in the coding that its name says."""
_PATIENCE = 10.0
"""Seconds in which work on a thread has to begin."""
_FORM_BYTES = 128 * 1024
"""Bytes whose encoding costs as much again as a small file's."""

T = TypeVar("T")


class FormCheck:
    """Whether pieces of bytes decode to a file, told by its id alone: so that file need not be there."""

    def __init__(self, coding: str, digest: str, size: int) -> None:
        """digest: a blob id, or `sha256:` and that of the bytes themselves; size: of the file in bytes."""
        algorithm, _, plain = digest.rpartition(":")
        self._wanted = plain
        self._hash = hashlib.sha256() if algorithm else object_hash(plain, size)
        self._left = size
        self._decoder: Decoder | None = Decoder(coding)

    def feed(self, data: bytes) -> bool:
        """Whether it may still be that file; takes milliseconds, for a thread."""
        if self._decoder is None:
            return False
        try:
            for piece in self._decoder.feed(data):
                self._left -= len(piece)
                if self._left < 0:
                    raise ValueError("longer than the file")
                self._hash.update(piece)
        except ValueError:
            self._decoder = None
        return self._decoder is not None

    def passed(self) -> bool:
        """Whether all of it was the file."""
        complete = self._decoder is not None and self._decoder.complete and not self._left
        return complete and self._hash.hexdigest() == self._wanted


class Blobs:
    """Bytes, from memory, from Redis or from Forgejo."""

    def __init__(
        self,
        forgejo: Forgejo,
        memory: Memory[tuple[str, ...], object],
        flights: SingleFlight[tuple[str, ...]],
        executor: Executor,
        shared: SharedCache | None,
        clock: Callable[[], float],
        changed: Callable[[Key], object],
    ) -> None:
        """clock: monotonic seconds. changed: told of a repository that is not what it was, for a file of it is gone."""
        self._forgejo = forgejo
        self._memory = memory
        self._flights = flights
        self._executor = executor
        self._shared = shared
        self._clock = clock
        self._changed = changed
        # What is written in Python holds the interpreter: two at once, and never two of one owner, leave the loop its
        # share. Encoders let go of it, and may have the cores.
        self._computing = FairQueue(2, most_each=1)
        cores = os.cpu_count() or 1
        self._encoding = FairQueue(cores, most_each=max(1, cores // 2))
        self._streams = EncodedStreams(memory, self._encoding, executor)

    # What is on hand.

    @property
    def queues(self) -> dict[str, FairQueue]:
        """Where work on files waits for its turn, by name."""
        return {"hashing and sorting": self._computing, "compression": self._encoding}

    def held_blob(self, entry: Entry) -> Blob | ForgejoError | None:
        """A file's bytes, or why they could not be had a moment ago."""
        found = self._memory.get(("blob", entry.id))
        return found if isinstance(found, Blob) else self._failure(found)

    def held_object(self, lookup: Lookup, pointer: LfsPointer) -> bytes | ForgejoError | None:
        """A large file's bytes, or why they could not be had a moment ago."""
        found = self._memory.get(_object_key(lookup, pointer))
        return found if isinstance(found, bytes) else self._failure(found)

    def held_failure(self, lookup: Lookup, file: File) -> ForgejoError | None:
        """Why a file could not be streamed a moment ago."""
        return self._failure(self._memory.get(_stream_key(lookup, file)))

    def held_form(self, identity: str, coding: str) -> bytes | None:
        """The encoded form of the bytes with this entity; empty where encoding does not make them smaller."""
        found = self._memory.get(("form", identity, coding))
        return found if isinstance(found, bytes) else None

    def held_head(self, id: str) -> bytes | None:
        """The first bytes of a file that is streamed."""
        found = self._memory.get(("head", id))
        return found if isinstance(found, bytes) else None

    def held_verdict(self, key: tuple[str, ...]) -> bool | None:
        """What looking at bytes has shown."""
        found = self._memory.get(key)
        return found if isinstance(found, bool) else None

    def held_page(self, name: tuple[str, ...]) -> bytes | None:
        """A page of ours that was made before."""
        found = self._memory.get(("page", *name))
        return found if isinstance(found, bytes) else None

    def held_representation(self, lookup: Lookup, file: File, said: str = "") -> Representation | None:
        """What was prepared for a file of this commit."""
        found = self._memory.get(_representation_key(lookup, file, said))
        return found if isinstance(found, Representation) else None

    def keep_representation(self, lookup: Lookup, file: File, representation: Representation, said: str = "") -> None:
        """Hold what was prepared for a file of this commit, and for what its site says of it (`SiteHeaders.key`)."""
        key = _representation_key(lookup, file, said)
        self._memory.put(key, representation, representation.weight + 300 + len(file.path))

    def keep_failure(self, lookup: Lookup, file: File, error: ForgejoError) -> None:
        """Remember for a moment that a file could not be streamed."""
        self._failed(lookup, _stream_key(lookup, file), error)

    def keep_blob(self, blob_id: str, data: bytes) -> Blob:
        """Hold a file's bytes, which are verified."""
        blob = Blob(data, lfs_pointer(data))
        self._memory.put(("blob", blob_id), blob, len(data) + 250)
        return blob

    # What has to be asked for, or made.

    async def blob(self, lookup: Lookup, entry: Entry) -> Blob | ForgejoError:
        """A file's bytes, verified, or why they cannot be had."""
        repository = _repository(lookup)

        async def fetch() -> Blob:
            found = await self.many(repository, [(entry.id, entry.size)])
            if entry.id not in found:
                raise BlobTooLarge(entry.id)
            return found[entry.id]

        return await self._fetched(lookup, ("blob", entry.id), fetch)

    async def lfs_object(self, lookup: Lookup, file: File, pointer: LfsPointer) -> bytes | ForgejoError:
        """The bytes that a Git LFS pointer stands for, checked, or why they cannot be had."""
        repository, commit, key = _repository(lookup), _commit(lookup), _object_key(lookup, pointer)

        shared = self._shared

        async def fetch() -> bytes:
            data = await shared.lfs_object(lookup.key, pointer.oid, pointer.size) if shared is not None else None
            if data is None:
                data = await self._forgejo.files.media_bytes(
                    repository, path=_path(lookup, file), commit=commit, oid=pointer.oid, size=pointer.size
                )
                if shared is not None:
                    shared.keep_object(lookup.key, pointer.oid, data)
            self._memory.put(key, data, len(data) + 150)
            return data

        return await self._fetched(lookup, key, fetch)

    async def form(self, identity: str, coding: str, data: bytes) -> bytes:
        """Data in a content coding, made on a thread once; empty where that makes it no smaller."""
        price = 1 + len(data) / _FORM_BYTES
        return await self._made(("form", identity, coding), lambda: encode(data, coding) or b"", self._encoding, price)

    async def head(
        self, lookup: Lookup, file: File, pointer: LfsPointer | None, id: str, size: int
    ) -> bytes | ForgejoError:
        """The first bytes of a file that is streamed: they say what it is, and nobody is shown them."""
        key = ("head", id)

        async def fetch() -> bytes:
            data = bytearray()
            async with self.stream(lookup, file, pointer, 0, min(size, HEAD_SIZE)) as chunks:
                async for chunk in chunks:
                    data += chunk
            self._memory.put(key, bytes(data), len(data) + 150)
            return bytes(data)

        return await self._fetched(lookup, key, fetch)

    async def decodes(self, key: tuple[str, ...], data: bytes, coding: str, *, whole: bool) -> bool:
        """Whether a file is in a content coding, by all or the first of its bytes; held under the key."""

        async def look() -> bool:
            verdict = await self.on_thread(lambda: decodes(data, coding, whole=whole, most=_ENOUGH_DECODED))
            return self._verdict(key, verdict)

        return await self._flights.do(key, look)

    async def check_form(
        self,
        key: tuple[str, ...],
        lookup: Lookup,
        file: File,
        beside: File,
        data: bytes,
        coding: str,
        digest: str,
        size: int,
    ) -> bool:
        """Whether data, which lies beside a file, is that file in a content coding; held under the key.

        digest: the file's blob id, or `sha256:` and the id of its Git LFS object; size: in bytes.
        """

        async def look() -> bool:
            check = FormCheck(coding, digest, size)
            return self._form_checked(
                key, lookup, file, beside, await self.on_thread(lambda: check.feed(data) and check.passed())
            )

        return await self._flights.do(key, look)

    def check_form_soon(
        self, key: tuple[str, ...], lookup: Lookup, file: File, beside: File, coding: str, digest: str, size: int
    ) -> None:
        """The same of what is too large for memory, with nobody waiting: it is read through once."""

        async def look() -> None:
            check = FormCheck(coding, digest, size)
            try:
                async with self.stream(lookup, beside, None, 0, beside.entry.size) as chunks:
                    async for chunk in chunks:
                        if not await self.on_thread(partial(check.feed, chunk)):
                            break
            except ForgejoError:
                return  # another visitor will ask again
            self._form_checked(key, lookup, file, beside, check.passed())

        self._flights.start(key, look)

    def _form_checked(self, key: tuple[str, ...], lookup: Lookup, file: File, beside: File, passed: bool) -> bool:
        if not passed:
            logger.warning(
                "%s/%s: %s is not %s in another coding, so the file itself is sent: it is of another build, or no such"
                " form at all",
                *lookup.key,
                beside.path,
                file.path,
            )
            told = self.false_forms(lookup)
            if len(told) < _MOST_FALSE_FORMS and beside.path not in told:
                name = ("false forms", *lookup.key, _commit(lookup))
                told = (*told, beside.path)
                self._memory.put(name, told, 200 + sum(len(path) + 60 for path in told))
        return self._verdict(key, passed)

    def false_forms(self, lookup: Lookup) -> tuple[str, ...]:
        """Files of this commit that lie beside another one, and turned out to be no encoded form of it."""
        found = self._memory.get(("false forms", *lookup.key, _commit(lookup)))
        return found if isinstance(found, tuple) else ()

    def _verdict(self, key: tuple[str, ...], verdict: bool) -> bool:
        self._memory.put(key, verdict, sum(map(len, key)) + 30)
        return verdict

    async def page(self, name: tuple[str, ...], make: Callable[[], bytes]) -> bytes:
        """A page of ours, made on a thread once."""
        return await self._made(("page", *name), make, self._computing)

    async def on_thread(self, work: Callable[[], T]) -> T:
        """What a function returns that would hold up the loop. Raises Overloaded."""
        try:
            return await self._in_turn(self._computing, work)
        except TooLate as late:
            raise Overloaded("too much work is waiting", retry_after=math.ceil(late.retry_after)) from None
        except Dropped:
            raise Overloaded("nobody waits for this work any more") from None

    async def _in_turn(self, turns: FairQueue, work: Callable[[], T], price: float = 1.0) -> T:
        async with turns.turn(_PATIENCE, price):
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def stream(
        self, lookup: Lookup, file: File, pointer: LfsPointer | None, start: int, end: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes [start, end) of a file too large for memory, from Forgejo, of exactly this commit."""
        repository, commit, path = _repository(lookup), _commit(lookup), _path(lookup, file)
        if pointer is not None:
            return self._forgejo.files.media(
                repository, path=path, commit=commit, oid=pointer.oid, size=pointer.size, start=start, end=end
            )
        return self._forgejo.files.stream(
            repository, path=path, commit=commit, id=file.entry.id, size=file.entry.size, start=start, end=end
        )

    def may_encode(self, lookup: Lookup) -> bool:
        """Whether one more file of this site may be encoded on its way, now."""
        return self._streams.room(lookup.key[0])

    def encoded_stream(
        self, lookup: Lookup, file: File, pointer: LfsPointer | None, identity: str, size: int, coding: str
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """A file too large for memory in a content coding; kept, where that is not too large (`held_form`)."""
        whole = self.stream(lookup, file, pointer, 0, size)
        return self._streams.stream(whole, ("form", identity, coding), coding, size, lookup.key[0])

    async def many(self, repository: Repository, wanted: Iterable[tuple[str, int]]) -> dict[str, Blob]:
        """Blobs by id, from memory or in one batch; those that Forgejo does not give in one piece are left out."""
        found: dict[str, Blob] = {}
        missing: dict[str, int] = {}
        for oid, size in wanted:
            held = self._memory.get(("blob", oid))
            if isinstance(held, Blob):
                found[oid] = held
            elif missing.setdefault(oid, size) != size:
                raise BadAnswer("tree: one blob with two sizes")
        shared = self._shared
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

    async def _made(
        self, key: tuple[str, ...], make: Callable[[], bytes], turns: FairQueue, price: float = 1.0
    ) -> bytes:
        async def run() -> bytes:
            made = await self._in_turn(turns, make, price)
            self._memory.put(key, made, len(made) + sum(map(len, key)) + 150)
            return made

        return await self._flights.do(key, run)

    def _failed(self, lookup: Lookup, key: tuple[str, ...], error: ForgejoError) -> None:
        self._keep_failure(key, error)
        if isinstance(error, Refused) or (isinstance(error, NotFound) and key[0] == "blob"):
            self._changed(lookup.key)  # it is not the repository that it was

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
        self._memory.put(key, Failure(error, self._clock() + life), 800)

    def _failure(self, found: object) -> ForgejoError | None:
        return found.error if isinstance(found, Failure) and self._clock() < found.until else None


def _repository(lookup: Lookup) -> Repository:
    assert lookup.repository is not None
    return lookup.repository


def _path(lookup: Lookup, file: File) -> str:
    """Where a file lies in its repository."""
    return f"{lookup.site.prefix or ''}{file.path}" if lookup.site is not None else file.path


def _commit(lookup: Lookup) -> str:
    assert lookup.commit is not None
    return lookup.commit


def _object_key(lookup: Lookup, pointer: LfsPointer) -> tuple[str, ...]:
    return ("lfs", str(_repository(lookup).id), pointer.oid)


def _stream_key(lookup: Lookup, file: File) -> tuple[str, ...]:
    return ("stream", str(_repository(lookup).id), file.entry.id)


def _representation_key(lookup: Lookup, file: File, said: str) -> tuple[str, ...]:
    return ("prepared", *lookup.key, _commit(lookup), file.path, said)
