# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`PagesServer` in this process in front of a real forge: no proxy, and a clock that stands still until it is moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from addon.access.control import Access
from addon.access.signing_key import SigningKey, Source
from addon.forgejo.client import Forgejo
from addon.library.library import Library
from addon.net.clocks import Clocks
from addon.preview.forge import Forge
from addon.serving.answers import Answer, Request
from addon.serving.server import PagesServer
from addon.settings.schema import Settings
from addon.shared.lookup import Lookup, key_of
from addon.web.forwarding import Visitor
from addon.wiring import open_access, open_previews, open_resolver, open_server, open_sources
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import DAY, EPOCH

__all__ = ["ENABLED", "PAGES_DOMAIN", "Clock", "Reply", "Serving", "serving", "start_forge"]

PAGES_DOMAIN = "pages.test"
ENABLED = b"enabled: true\n"
VISITOR = Visitor("192.0.2.7", secure=True)
TODAY = EPOCH + 1000 * DAY
"""The time of day for visitors: after every commit that `Site` makes."""


def fields(answer: Answer) -> dict[bytes, bytes]:
    """The header fields of an answer by their names in lower case; each is there once."""
    found = {name.lower(): value for name, value in answer.headers}
    assert len(found) == len(answer.headers)
    return found


@dataclass
class Clock:
    """Monotonic seconds that pass when they are told to."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def pass_(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass(frozen=True)
class Reply:
    """What a visitor got. Names of header fields are in lower case. cut: why the body broke off."""

    status: int
    headers: dict[str, str]
    body: bytes
    recalled: bool
    cut: Exception | None = None

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def cache(self) -> str:
        return self.headers.get("x-cache-status", "")


@dataclass
class Serving:
    """A server with all that it is made of."""

    forge: Forge
    settings: Settings
    forgejo: Forgejo
    library: Library
    access: Access
    server: PagesServer
    clock: Clock
    today: Clock
    body: bytes | None = None
    """The form that requests bring from now on."""

    def request(self, host: str, target: str = "/", method: str = "GET", **headers: str) -> Request:
        """host without a dot is an owner; headers: `if_none_match='"…"'`."""
        fields = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        path, mark, query = target.partition("?")
        host = host if "." in host else f"{host}.{PAGES_DOMAIN}"
        return Request(method, host, path, query if mark else None, fields.get, lambda: VISITOR, self.body)

    async def get(self, host: str, target: str = "/", method: str = "GET", **headers: str) -> Reply:
        """As both faces do it: from memory, else fetched; a stream read to its end."""
        request = self.request(host, target, method, **headers)
        answer = self.server.answer_from_memory(request)
        if answer is not None:
            return await self.read(answer, recalled=True)
        return await self.read(await self.server.answer(request), recalled=False)

    async def read(self, answer: Answer, *, recalled: bool = False) -> Reply:
        body, cut = answer.body, None
        if answer.stream is not None:
            received, opened = bytearray(), False
            try:
                async with answer.stream() as chunks:
                    opened = True
                    async for chunk in chunks:
                        received += chunk
            except Exception as error:
                if not opened:
                    return await self.read(answer.otherwise(error), recalled=recalled)
                cut = error
            body = bytes(received)
        fields: dict[str, str] = {}
        for name, value in answer.headers:
            key = name.decode().lower()
            assert key not in fields or key == "set-cookie", f"{key} twice"
            fields.setdefault(key, value.decode("latin-1"))  # of several cookies the first, the one for the site
        return Reply(answer.status, fields, body, recalled, cut)

    def known(self, owner: str, name: str) -> Lookup:
        """What memory holds of a repository that is known."""
        lookup = self.library.peek(key_of(owner, name))
        assert lookup is not None
        return lookup

    async def settle(self) -> None:
        """Wait until nothing goes on behind visitors' backs."""
        async with asyncio.timeout(30):
            while running := list(self.library._flights._running.values()):
                await asyncio.wait([run for run, _ in running])

    def asked(self) -> list[str]:
        """The targets of the calls since the last time, below the API and without queries."""
        calls = [call.target.partition("?")[0] for call in list(self.forge.calls)]
        self.forge.forget_calls()
        return [target.removeprefix("/api/v1/repos/").removeprefix("/api/v1") for target in calls]

    def count(self) -> int:
        """How many calls since the last time."""
        return len(self.asked())


@asynccontextmanager
async def serving(
    forge: Forge, *, token: str | None = None, on_call: Callable[[str], None] | None = None, **options: Any
) -> AsyncIterator[Serving]:
    """options: those of the settings file. on_call: told the target of every call to the forge."""
    mapping = {"pagesDomain": PAGES_DOMAIN, "forgejoHost": forge.url, **options}
    if token is not None:
        mapping["forgejoToken"] = token
    settings = Settings.from_mapping(mapping)
    clock, today = Clock(), Clock(float(TODAY))
    async with AsyncExitStack() as stack:
        sources = open_sources(stack, settings, None, threads=2, clocks=Clocks(clock, today), on_call=on_call)
        access = open_access(stack, sources, SigningKey(b"k" * 32, Source.SETTINGS))
        _, resolver = open_resolver(stack, sources)
        server = open_server(stack, sources, access, resolver, open_previews(stack, sources))
        forge.forget_calls()
        yield Serving(forge, settings, sources.forgejo, sources.library, access, server, clock, today)
