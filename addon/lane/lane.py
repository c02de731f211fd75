# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What the connections of the lane share: limits, the time, who is connected, what is prepared.

It knows neither sockets nor protocols; a connection is what it can count, look after and end. The surprising part is
the end: who is idle is not closed at once, because a request may be on its way already.
"""

import asyncio
import contextlib
import logging
import time
from functools import lru_cache
from typing import Protocol

from addon.admin.access_log import AccessLog
from addon.admin.answer_meter import LANE, AnswerMeter
from addon.admin.webhook import Webhook
from addon.lane.connection_limits import ConnectionLimits, Idle, most_connections
from addon.lane.http2.header_encoder import date_field
from addon.lane.http2.heads import Commons
from addon.lane.repeated_requests import RepeatedRequests, belongs
from addon.net.certificates import ShownNames
from addon.net.file_limit import raised
from addon.net.throttle import Throttle
from addon.serving.server import PagesServer
from addon.settings.schema import Settings
from addon.web.forwarding import HOP_HEADER, Forwarding, Visitor
from addon.web.http_dates import http_date
from addon.web.prepared_answers import Facts, PreparedAnswers, Repeat, prepared_share
from addon.web.request_head import Bodied, Fields, bodied, fields
from addon.web.routing import ForgejoRequest

logger = logging.getLogger(__name__)

HELD = 64 * 1024
"""Bytes that are read ahead of what is being answered, and at one time."""
STALL_SECONDS = 120.0
"""How long a client that is being answered may take nothing, here as in mitmproxy's flows: a film that is paused is
read no further for a while."""
GRACE_SECONDS = 1.0
"""How long idle connections are kept at the end."""
_MOST_BLOCKS = 1024
_LARGEST_BLOCK = 2048
_SLICE = 500
_CLAIMS = (b"x-forwarded-for", b"forwarded", b"x-real-ip", b"x-forwarded-proto")
_LONGEST_CLAIMS = 512
"""Bytes up to which who asks is remembered: of strangers' fields of any length, thousands are no small thing."""
_HOP = HOP_HEADER.lower().encode()
_NO_CLAIMS = (None,) * len(_CLAIMS)


class Connected(Idle, Protocol):
    """A connection, as far as the lane is concerned."""

    @property
    def busy(self) -> bool:
        """Whether a request is being answered, or an answer not taken yet."""

    def warn(self) -> None:
        """Say that the end is near, where the protocol has a word for it."""

    def check(self, now: float) -> None:
        """Close what has waited too long; now: monotonic seconds."""

    def retire(self) -> None:
        """Close if nothing is under way; what is under way is answered, and told that it was the last."""


class HandedOverConnection(Idle, Protocol):
    """A connection that was handed over."""

    def check(self, now: float) -> None:
        """Close what has waited too long; now: monotonic seconds."""

    def serving(self, busy: bool) -> None:
        """A request of it has begun to be answered, or the last one is."""

    def forwarded(self) -> None:
        """What is being answered is another server's affair."""

    def received(self) -> None:
        """All of what is being answered has come."""


class Claims(dict[str, str]):
    """What the proxies in front say of the visitor, by lower-case name."""

    def get_all(self, name: str) -> list[str]:
        return [self[name]] if name in self else []


class Lane:
    """What the lane's connections share. State: the connections, and how many there are by address."""

    def __init__(
        self,
        server: PagesServer,
        settings: Settings,
        through: Forwarding,
        *,
        log: AccessLog | None,
        facts: Facts,
        webhook: Webhook | None = None,
        meter: AnswerMeter | None = None,
        file_limit: int | None = None,
    ) -> None:
        """through: who is trusted. facts: the memory that holds what answers are made from.

        meter: counts answers. file_limit: descriptors that this process may have; None: as many as it has by now.
        """
        self.server = server
        self._through = through
        self.log = log
        self.facts = facts
        self.ready = PreparedAnswers(facts, prepared_share(settings) - prepared_share(settings) // 4)
        self.repeated_requests = RepeatedRequests(prepared_share(settings) // 4)
        self.redirects_plain = settings.redirect_https
        """Whether who comes by plain HTTP is sent to HTTPS, and so gets nothing that is ready for others."""
        self.http2_plain = settings.http2_plain
        self.most_head = settings.max_head_size
        self.header_timeout = settings.header_timeout
        self.idle_timeout = settings.idle_timeout
        self.stall_timeout = STALL_SECONDS
        self.most_requests = settings.max_requests_per_connection
        self.most_held = max(HELD, self.most_head + 1024)
        self.buffer = memoryview(bytearray(HELD))
        self.loop = asyncio.get_running_loop()
        self.retiring = False
        self.date = b""
        """The Date line of this second; `date_field` is the same in HPACK."""
        self.date_field = b""
        self.date_until = 0.0
        self.faults = 0
        self.handed_over = 0
        self.meter = meter if meter is not None else AnswerMeter()
        most = most_connections(file_limit if file_limit is not None else raised(), settings)
        self.connection_limits = ConnectionLimits(most, settings.max_connections_per_address, through.trusts)
        self.throttle = Throttle(self.loop)
        """Of what others than the lane have to begin."""
        self._handed_over: dict[tuple[str, int], HandedOverConnection] = {}
        self._visitor = lru_cache(4096)(self._named_visitor)
        self._connections: dict[Connected, None] = {}
        self.unacknowledged = 0
        """Bytes of large answers over HTTP/2 that their clients have not taken; of one that several send, each time."""
        self.most_unacknowledged = settings.memory_cache_size // 2
        self.webhook = webhook
        self.commons = Commons()
        self._blocks: dict[bytes, Fields | None] = {}
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._interval = max(0.05, min(1.0, self.header_timeout / 4, self.idle_timeout / 4))
        self._timer: asyncio.TimerHandle | None = self.loop.call_later(self._interval, self._check)

    @property
    def answered(self) -> int:
        """How many requests were answered so far."""
        return self.meter.answered(LANE)

    @property
    def under_memory_pressure(self) -> bool:
        """Whether clients leave more unacknowledged than is good for memory."""
        return self.unacknowledged >= self.most_unacknowledged

    # What connections ask.

    def fields(self, block: bytes) -> Fields | None:
        """The header fields of a request for us; None for what has another form, or is for Forgejo.

        A client sends much the same fields each time, so the last ones read are remembered.
        """
        try:
            return self._blocks[block]
        except KeyError:
            pass
        found = fields(block)
        if found is not None and isinstance(self.server.route(found.host, "/"), ForgejoRequest):
            found = None
        if len(block) <= _LARGEST_BLOCK:
            if len(self._blocks) >= _MOST_BLOCKS:
                self._blocks.clear()
            self._blocks[block] = found
        return found

    def bodied(self, line: bytes, block: bytes) -> Bodied | None:
        """A request for us that may bring a body; None for what has another form, or is for Forgejo."""
        found = bodied(line, block)
        if found is not None and isinstance(self.server.route(found.fields.host, "/"), ForgejoRequest):
            return None
        return found

    def renewed(self, again: Repeat, now: float) -> bool:
        """Whether a repeat whose time is over, or the memory's, still holds; then it has its bytes for this second."""
        if now >= self.date_until:
            self.tell_time(now)
        answer = again.answer
        if again.date is not self.date:  # once a second, so that it counts as used
            if self.ready.get(again.key, now) is not answer:
                return False
            again.tell(self.date, self.date_field)
        elif not self.ready.holds(answer.basis, now):
            return False
        again.seen = self.facts.changes
        again.until = min(answer.basis.until, self.date_until)
        return True

    def dated(self) -> bytes:
        """The Date line of this moment, for what is sent after a wait."""
        now = time.monotonic()
        if now >= self.date_until:
            self.tell_time(now)
        return self.date

    def tell_time(self, now: float) -> None:
        """Make the Date line of the present second; now: monotonic seconds."""
        wall = time.time()
        date = http_date(int(wall))
        self.date = b"Date: %b\r\n" % date
        self.date_field = date_field(date)
        self.date_until = now + 1.0 - wall % 1.0

    def loops(self, found: Fields) -> bool:
        """Whether a request was sent by ourselves, and came back."""
        hop = found.values.get(_HOP)
        return hop is not None and self._through.loops(Claims({HOP_HEADER.lower(): hop.decode("latin-1")}))

    def misdirected(self, shown: ShownNames, found: Fields, peer: str) -> bool:
        """Whether a request is for a host of another certificate than the one that its connection was shown.

        A trusted proxy that says for whom it speaks is not: it may send what it likes on a connection that it has.
        """
        if belongs(shown, found):
            return False
        return not (any(name in found.values for name in _CLAIMS) and self._through.trusts(peer))

    def visitor(self, found: Fields, peer: str, secure: bool) -> Visitor:
        """Who asks: the peer, or whom it names, if it is a trusted proxy. secure: the peer came over TLS."""
        claims = tuple(map(found.values.get, _CLAIMS))
        if claims == _NO_CLAIMS:
            return Visitor(peer, secure)
        short = sum(len(claim) for claim in claims if claim is not None) <= _LONGEST_CLAIMS
        return (self._visitor if short else self._named_visitor)(peer, claims, secure)

    def _named_visitor(self, peer: str, claims: tuple[bytes | None, ...], secure: bool) -> Visitor:
        said = {name.decode(): value.decode("latin-1") for name, value in zip(_CLAIMS, claims) if value is not None}
        return self._through.visitor(Claims(said), peer, secure)

    # Who is connected.

    def admit(self, connection: Connected, address: str) -> bool:
        """Whether the address may have one connection more, which is counted if so."""
        weight = len(self._connections) + 2 * len(self._handed_over)
        if not self.connection_limits.admit(address, weight, self._all):
            return False
        self._connections[connection] = None
        self._none_left.clear()
        return True

    def replace(self, connection: Connected, other: Connected) -> None:
        """The same client speaks another protocol from now on."""
        del self._connections[connection]
        self._connections[other] = None

    def hand_over(self, connection: Connected) -> None:
        """The connection is another's now; its address has it still, until `lost`."""
        self.handed_over += 1
        self._remove(connection)

    def forget(self, connection: Connected, address: str) -> None:
        """The connection is gone."""
        if connection in self._connections:
            self._remove(connection)
            self.lost(address)

    def lost(self, address: str) -> None:
        """The address has one connection fewer."""
        self.connection_limits.lost(address)

    def _remove(self, connection: Connected) -> None:
        self._connections.pop(connection, None)
        if not self._connections:
            self._none_left.set()

    def connections_of(self, address: str) -> int:
        """How many connections the client of an address has, those handed over included."""
        return self.connection_limits.of(address)

    def _all(self) -> list[Idle]:
        return [*self._connections, *self._handed_over.values()]

    # Who was handed over.

    def add_handed_over(self, peer: tuple[str, int], connection: HandedOverConnection) -> None:
        """Look after a connection that another serves, until `remove_handed_over`. peer: its address and port."""
        self._handed_over[peer] = connection

    def remove_handed_over(self, peer: tuple[str, int], connection: HandedOverConnection) -> None:
        """It is gone."""
        if self._handed_over.get(peer) is connection:
            del self._handed_over[peer]

    def serving(self, peer: tuple[str, int], busy: bool) -> None:
        """Of a connection that was handed over, a request has begun to be answered, or the last one is."""
        connection = self._handed_over.get(peer)
        if connection is not None:
            connection.serving(busy)

    def forwarded(self, peer: tuple[str, int]) -> None:
        """What is being answered there, is Forgejo's to answer."""
        connection = self._handed_over.get(peer)
        if connection is not None:
            connection.forwarded()

    def received(self, peer: tuple[str, int]) -> None:
        """Of what is being answered there, all has come."""
        connection = self._handed_over.get(peer)
        if connection is not None:
            connection.received()

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def busy(self) -> int:
        """How many connections have an answer under way."""
        return sum(connection.busy for connection in self._connections)

    # Time.

    def _check(self) -> None:
        self._check_some([*self._connections, *self._handed_over.values()], 0)
        self._timer = self.loop.call_later(self._interval, self._check)

    def _check_some(self, connections: "list[Connected | HandedOverConnection]", at: int) -> None:
        now = time.monotonic()
        for connection in connections[at : at + _SLICE]:
            try:
                connection.check(now)
            except Exception:
                logger.exception("checking a connection for timeouts failed")
                connection.abort()
        if at + _SLICE < len(connections):
            self.loop.call_soon(self._check_some, connections, at + _SLICE)

    # The end.

    async def drain(self) -> None:
        """Let what is under way be answered, and end all connections; call it when nobody listens any more.

        Waits without a limit of its own. What was handed over is not waited for.
        """
        self.retiring = True
        for connection in list(self._connections):
            connection.warn()
        for _ in range(3):  # rounds of the loop, until we are told of a connection that it has just accepted
            await asyncio.sleep(0)
        # Who asks in this time is answered and told that it was the last; who was just let in has time to ask at all.
        # To close at once what is idle at this moment would cut requests that are on their way.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._none_left.wait(), GRACE_SECONDS)
        for connection in list(self._connections):
            connection.retire()
        await self._none_left.wait()

    async def aclose(self, patience: float) -> None:
        """The whole end: `drain` for so many seconds, then cut what is left."""
        if self.busy:
            logger.info("waiting for %d responses of the lane to finish", self.busy)
        try:
            await asyncio.wait_for(self.drain(), patience)
        except TimeoutError:
            logger.warning("%d connections were aborted after %g s", len(self), patience)
        self.close()

    def close(self) -> None:
        """Cut all connections."""
        self.throttle.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self._connections):
            connection.abort()
