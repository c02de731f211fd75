# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Questions to DNS: the texts and the alias of a name. By dnspython, on the event loop, with one deadline for each.

The one distinction that matters to who asks: "there is no such record" is an answer, everything else that goes wrong is
`DnsSilence`, out of which nobody may conclude anything. Strangers make names up, so few questions about unknown names
are under way at one time, and a bounded number of answers is remembered for seconds. All that comes back is anybody's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from addon.net.fair_queue import Dropped, FairQueue, Party, TooLate, account
from addon.settings.addresses import split_port

try:
    import dns.asyncresolver
    import dns.exception
    import dns.name
    import dns.nameserver
    import dns.rdatatype
    import dns.resolver

    from addon.domains.dns_server import BoundedServer
except ModuleNotFoundError:  # mitmproxy does not bring it
    INSTALLED = False
else:
    INSTALLED = True

logger = logging.getLogger(__name__)

TIMEOUT: Final = 5.0
"""Seconds for one question, all servers and repetitions included."""
AT_ONCE: Final = 16
REMEMBERED_FOR: Final = 15.0
SILENT_FOR: Final = 3.0
"""Seconds for which a name that nothing is said of is not asked about again."""
MOST_REMEMBERED: Final = 10_000
MOST_TEXTS: Final = 100
LONGEST_TEXT: Final = 1024
MOST_ALIASES: Final = 8
MOST_ADDRESSES: Final = 32
INSTALL: Final = "pip install dnspython"


class DnsSilence(Exception):
    """DNS did not say: no server answered, an answer was broken, or there are too many questions."""


class Dns:
    """A resolver. Lives on the event loop. State: what was answered a moment ago, and the questions under way."""

    def __init__(self, servers: Sequence[str] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        """servers: addresses with optional ports; none for those of the system."""
        self._servers = tuple(servers)
        self._clock = clock
        self._resolver: dns.asyncresolver.Resolver | None = None
        # Names that nobody answers for hold a place for five seconds: of one party only some do.
        self._turns = FairQueue(AT_ONCE, most_each=AT_ONCE // 4, expected=0.1)
        self._known: OrderedDict[tuple[str, str], tuple[float, tuple[str, ...] | str]] = OrderedDict()  # str: silence
        self._asking: dict[tuple[str, str], asyncio.Task[tuple[str, ...]]] = {}
        self._said_missing = False

    @property
    def queues(self) -> dict[str, FairQueue]:
        """Where questions wait for their turn, by name."""
        return {"dns": self._turns}

    async def texts(self, name: str) -> tuple[str, ...]:
        """The TXT records of a name, the strings of each joined (RFC 1035 §3.3.14); raises DnsSilence."""
        return await self._answer(name, "TXT")

    async def alias(self, name: str) -> str | None:
        """What a name is another name for (CNAME), in lower case without its last dot; raises DnsSilence."""
        found = await self._answer(name, "CNAME")
        return found[0] if found else None

    async def aliases(self, name: str) -> tuple[str, ...]:
        """The chain of aliases that begins at a name, no longer than MOST_ALIASES; raises DnsSilence."""
        chain: list[str] = []
        at = name
        while len(chain) < MOST_ALIASES:
            next_name = await self.alias(at)
            if next_name is None or next_name in chain or next_name == name:
                break
            chain.append(next_name)
            at = next_name
        return tuple(chain)

    async def addresses(self, name: str) -> tuple[str, ...]:
        """The IPv4 and IPv6 addresses of a name, aliases followed; raises DnsSilence."""
        found = await asyncio.gather(self._answer(name, "A"), self._answer(name, "AAAA"))
        return (*found[0], *found[1])

    async def _answer(self, name: str, kind: str) -> tuple[str, ...]:
        if not INSTALLED:
            if not self._said_missing:
                self._said_missing = True
                logger.warning("custom domains are not looked up in DNS: dnspython is not installed: %s", INSTALL)
            raise DnsSilence(f"dnspython is missing: {INSTALL}")
        key = (name.lower().rstrip("."), kind)
        known = self._known.get(key)
        if known is not None and self._clock() < known[0]:
            if isinstance(known[1], str):
                raise DnsSilence(known[1])
            return known[1]
        task = self._asking.get(key)
        if task is None:
            task = asyncio.ensure_future(self._ask(*key))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)

    def _done(self, key: tuple[str, str], task: asyncio.Task[tuple[str, ...]]) -> None:
        self._asking.pop(key, None)
        if task.cancelled():
            return
        silence = task.exception()
        if silence is not None and not isinstance(silence, DnsSilence):
            return
        found = str(silence) if silence is not None else task.result()
        self._known[key] = self._clock() + (SILENT_FOR if silence is not None else REMEMBERED_FOR), found
        self._known.move_to_end(key)
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)

    async def _ask(self, name: str, kind: str) -> tuple[str, ...]:
        party = account()
        try:
            async with self._turns.turn(TIMEOUT, party=party if party.owner else Party(f"?{party.visitor}")):
                absolute = dns.name.from_text(name)
                answer = await self._ready().resolve(
                    absolute, kind, lifetime=TIMEOUT, raise_on_no_answer=False, search=False
                )
        except dns.resolver.NXDOMAIN:
            return ()
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise DnsSilence(f"{name}: {type(error).__name__}") from None
        except (TooLate, Dropped):
            raise DnsSilence("too many questions at one time") from None
        if answer.rrset is None:
            return ()
        if kind == "CNAME":
            return tuple(_name(record.target) for record in answer.rrset)[:1]
        if kind in ("A", "AAAA"):
            return tuple(record.address for record in list(answer.rrset)[:MOST_ADDRESSES])
        if answer.canonical_name != absolute:
            return ()  # texts of what the name is an alias for are somebody else's words
        return tuple(_text(record.strings) for record in list(answer.rrset)[:MOST_TEXTS])

    def _ready(self) -> dns.asyncresolver.Resolver:
        if self._resolver is None:
            try:
                resolver = dns.asyncresolver.Resolver(configure=not self._servers)
            except dns.resolver.NoResolverConfiguration:
                raise DnsSilence("the system names no DNS server; set dnsResolvers") from None
            if self._servers:
                resolver.nameservers = [_server(text) for text in self._servers]
            else:
                found = [each for each in resolver.nameservers if isinstance(each, str)]
                resolver.nameservers = [BoundedServer(each, resolver.port) for each in found]
            resolver.cache = None
            resolver.use_edns(0, 0, 1232)  # larger answers come over TCP
            resolver.timeout = TIMEOUT / 2
            self._resolver = resolver
        return self._resolver

    async def aclose(self) -> None:
        """Stop asking."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


def _server(text: str) -> dns.nameserver.Nameserver:
    host, port = split_port(text, "an IP address") if text.count(":") <= 1 or text.startswith("[") else (text, None)
    return BoundedServer(host.strip("[]"), port or 53)


def _text(strings: Iterable[bytes]) -> str:
    return b"".join(strings)[:LONGEST_TEXT].decode("utf-8", "replace")


def _name(target: dns.name.Name) -> str:
    return target.to_text(omit_final_dot=True).lower()
