# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Files too large for memory: blobs and Git LFS objects as they come, whole or in part.

A whole file is hashed on the way and its last chunk held back until the hash is right. `/media` may redirect, within
the forge or to the storage that the operator named, and nowhere else; the token goes to the forge alone.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Collection

from addon.forgejo import answers, streams
from addon.forgejo.answers import Repository
from addon.forgejo.blobs import object_hash
from addon.forgejo.calls import Calls
from addon.forgejo.errors import BadAnswer, DeadlineExceeded, NotFound
from addon.net.http_client import Origin, Response

logger = logging.getLogger(__name__)

# Redirects of /media within the forge.
_MAX_HOPS = 3


class LargeFiles:
    """Streams out of a forge."""

    def __init__(self, calls: Calls, lfs_storage_hosts: Collection[str]) -> None:
        """lfs_storage_hosts: as in `Forgejo`."""
        self._calls = calls
        self._lfs_storage_hosts = frozenset(host.lower() for host in lfs_storage_hosts)
        self._refused_storage: set[Origin] = set()

    @contextlib.asynccontextmanager
    async def stream(
        self,
        repository: Repository,
        *,
        path: str,
        commit: str,
        id: str,
        size: int,
        start: int = 0,
        end: int | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes [start, end) of a blob as they come, in chunks of at most 64 KiB, never more in memory.

        Entering waits for the head of the answer and checks it; a whole file is hashed on the way and its last chunk
        held back until the hash is the id. A slow reader stops the server and holds no slot, only a stream.
        Raises ForgejoErrors on entering and BadAnswer or DeadlineExceeded on the way; ValueError for an empty range.
        """
        span = streams.span_of(size, start, end)
        what = f"a file of {repository.owner}/{repository.name}"
        if not answers.is_id(commit) or not answers.is_id(id) or not answers.is_path(path):
            raise NotFound("no file can have this path or id")
        # What is no UTF-8 in a path reaches us as U+FFFD, and cannot be asked for by it.
        web = "\ufffd" in path
        tail = f"/raw/blob/{id}" if web else f"/raw/{answers.quoted(path)}?ref={commit}"
        with self._calls.places.held():
            response, _ = await self._calls.ask_stream(repository, tail, web=web, headers=span.headers)
            try:
                if response.status not in (200, 206):
                    raise await streams.failure(response, what, self._calls.deadline(), web=web)
                streams.check_head(response, span, id, what)
                digest = object_hash(id, size)
                chunks = streams.passing(response, span, digest, id, what, self._calls.timeout)
                async with contextlib.aclosing(chunks):
                    yield chunks
            finally:
                response.close()

    @contextlib.asynccontextmanager
    async def media(
        self,
        repository: Repository,
        *,
        path: str,
        commit: str,
        oid: str,
        size: int,
        start: int = 0,
        end: int | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes [start, end) of the LFS object that the file at `path` points to; else as `stream`.

        Redirects within the forge's origin are followed, at most 3, and one to a host in lfs_storage_hosts, both
        without the token. NotFound where Forgejo answers with the pointer: it does not have the object.
        """
        span = streams.span_of(size, start, end)
        what = f"an LFS object of {repository.owner}/{repository.name}"
        if not answers.is_id(commit) or not answers.is_path(path):
            raise NotFound("no file can have this path")
        with self._calls.places.held():
            tail = f"/media/{answers.quoted(path)}?ref={commit}"
            response, _ = await self._calls.ask_stream(repository, tail, headers=span.headers)
            try:
                response, stored = await self._redirected(response, span)
                if not stored:
                    error = await streams.media_failure(response, oid, what, self._calls.deadline())
                elif response.status not in (200, 206):
                    error = await streams.failure(response, what, self._calls.deadline())
                else:
                    error = None
                if error is not None:
                    raise error
                streams.check_head(response, span, None if stored else oid, what)
                chunks = streams.passing(response, span, hashlib.sha256(), oid, what, self._calls.timeout)
                async with contextlib.aclosing(chunks):
                    yield chunks
            finally:
                response.close()

    async def media_bytes(self, repository: Repository, *, path: str, commit: str, oid: str, size: int) -> bytes:
        """A small LFS object, verified; all of it within the time of one call."""
        data = bytearray()
        try:
            async with asyncio.timeout(self._calls.timeout):
                async with self.media(repository, path=path, commit=commit, oid=oid, size=size) as chunks:
                    async for chunk in chunks:
                        data += chunk
        except TimeoutError:
            raise DeadlineExceeded("an LFS object did not come in time") from None
        return bytes(data)

    async def _redirected(self, response: Response, span: streams.Span) -> tuple[Response, bool]:
        """Where `/media` leads in the end, and whether it redirected to get there."""
        origin, within, redirected = self._calls.origin, 0, False
        while response.status in (301, 302, 303, 307, 308):
            response.close()
            target = answers.absolute(response.header("location"), origin)
            if target is None:
                raise BadAnswer("Forgejo redirects to what is no address")
            if origin != self._calls.origin:
                raise BadAnswer("the LFS storage redirects")
            origin, path = target
            if origin == self._calls.origin:
                within += 1
                if within > _MAX_HOPS:
                    raise BadAnswer(f"Forgejo redirects more than {_MAX_HOPS} times")
            elif not self._is_storage(origin):
                if origin not in self._refused_storage:
                    self._refused_storage.add(origin)
                    logger.warning("Forgejo keeps LFS objects at %s, which is not in lfsStorageHosts", origin.authority)
                raise BadAnswer("Forgejo redirects to a host that is not in lfsStorageHosts")
            redirected = True
            response = await self._calls.open_elsewhere(origin, path, span.headers)
        return response, redirected

    def _is_storage(self, origin: Origin) -> bool:
        """Whether the operator named it: by host where it listens on its scheme's own port, else with the port."""
        return not self._lfs_storage_hosts.isdisjoint((origin.authority, f"{origin.authority}:{origin.port}"))
