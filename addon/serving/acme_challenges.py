# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`/.well-known/acme-challenge/` (RFC 8555 §8.3): by what it answers there, an authority knows whose a host is.

So no site answers it: it goes to the operator's ACME client, where `acmeChallengeUpstream` names one, else it is a 404.
Only a token can be asked for, and only a short text comes back; nothing else of the visitor's request goes there.
"""

import asyncio
import re

from addon.net.http_client import HttpClient, TransportError, origin_of

PREFIX = (".well-known", "acme-challenge")
TIMEOUT = 10.0
LARGEST = 16 * 1024
"""Bytes of an answer: a key authorization has about 90."""
AT_ONCE = 16
"""Challenges that are asked for at one time: strangers may send any number."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,512}")


class Busy(TransportError):
    """Too many challenges at one time."""


class Challenges:
    """The operator's ACME client, asked for the answers to challenges."""

    def __init__(self, upstream: str) -> None:
        """upstream: a URL; its path stands before ours."""
        self._origin = origin_of(upstream)
        self._base = upstream.partition("://")[2].partition("/")[2].rstrip("/")
        self._client = HttpClient(max_idle=1)
        self._asking = 0

    async def answer(self, host: str, segments: tuple[str, ...]) -> bytes | None:
        """The text for a challenge; None where there is none. Raises TransportError.

        host: the visitor's, which the ACME client may tell its challenges apart by. segments: of the path.
        """
        if len(segments) != 3 or _TOKEN.fullmatch(segments[2]) is None:
            return None
        if self._asking >= AT_ONCE:
            raise Busy(f"{AT_ONCE} challenges are being asked for already")
        self._asking += 1
        try:
            return await self._asked(host, segments)
        finally:
            self._asking -= 1

    async def _asked(self, host: str, segments: tuple[str, ...]) -> bytes | None:
        target = "/".join(("", *filter(None, [self._base]), *segments))
        deadline = asyncio.get_running_loop().time() + TIMEOUT
        response = await self._client.get(self._origin, target, deadline=deadline, authority=host)
        try:
            if response.status != 200:
                return None
            return await response.read(LARGEST, deadline=deadline)
        finally:
            response.close()

    async def aclose(self) -> None:
        """Close what is open."""
        await self._client.aclose()


__all__ = ["PREFIX", "Challenges", "TransportError"]
