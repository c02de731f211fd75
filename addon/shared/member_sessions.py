# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who is logged in at which site's host, by the random name in a cookie: `~pages:member:…` in Redis, sealed.

A session holds a reader's token, which is therefore nowhere in clear but in the memory of a process that has just used
it. It ends with the token (an hour at most), by a log-out at its site, or by one from all sites: that is a mark for the
reader (`~pages:member-out:…`), which ends what began before it. Whoever asks Forgejo about a reader again, each minute,
looks here first (`still`), so that a log-out at one proxy holds at all. No name in Redis tells a cookie or a person.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from addon.access.guess_limits import Bounded
from addon.access.member_cookies import digest_of
from addon.access.sealing import Sealer
from addon.shared import records
from addon.shared.cache import SharedCache
from addon.shared.round_trips import RoundTrips, checked_replies

MOST = 20_000
_NAME = f"{records.PREFIX}member:"
_OUT = f"{records.PREFIX}member-out:"
_LONGEST = 3700
"""Seconds after which no session of before is left."""


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """A reader at one host. began, ends: seconds since 1970. reader: the user's number at Forgejo."""

    host: str
    reader: str
    token: str = field(repr=False)
    began: float
    ends: float


class MemberSessions:
    """The sessions that this process knows; lives on the event loop."""

    def __init__(
        self, sealer: Sealer, shared: SharedCache | None, now: Callable[[], float] = time.time, most: int = MOST
    ) -> None:
        """now: seconds since 1970."""
        self._sealer = sealer
        self._shared = shared
        self._now = now
        self._sessions: Bounded[str, Session] = Bounded(most)
        self._out: Bounded[str, float] = Bounded(most)
        self._owed: dict[str, float] = {}  # log-outs that Redis has not got yet
        self.dropped: Callable[[str], object] = lambda id: None
        """Told of each session that has ended before its time."""

    def __len__(self) -> int:
        return len(self._sessions)

    def peek(self, id: str, host: str) -> Session | None:
        """The session, if this process knows it; never waits."""
        session = self._sessions.get(id)
        return session if session is not None and self._good(session, host) else None

    async def load(self, id: str, host: str) -> Session | None:
        """The same, if any proxy knows it."""
        known = self.peek(id, host)
        if known is not None or self._shared is None:
            return known
        session = await self._read(id, None)
        if not session or not self._good(session, host):
            return None
        self._sessions.put(id, session)
        return session

    async def begin(self, id: str, session: Session) -> None:
        """Keep a session, here and for other proxies."""
        self._sessions.put(id, session)
        if self._shared is None:
            return
        name = _NAME + digest_of(id)
        sealed, life = self._sealer.seal(name, asdict(session)), max(1, int(session.ends - self._now()))

        def write(trips: RoundTrips) -> bool:
            checked_replies(trips.run([("SET", name, sealed, "EX", life), *self._marks()]))
            return True

        if await self._shared.run(write):
            self._owed.clear()

    async def still(self, id: str, session: Session) -> bool:
        """Whether nobody has ended it elsewhere; as far as is known, where Redis gives no answer."""
        if not self._good(session, session.host):
            return False
        if self._shared is None:
            return True
        told = await self._read(id, session.reader)
        if told is None or (told and self._good(session, session.host)):
            return True
        self._forget(id)
        return False

    async def end(self, id: str) -> None:
        """Log out of one site."""
        self._forget(id)
        if self._shared is not None:
            name = _NAME + digest_of(id)
            await self._shared.run(lambda trips: trips.run([("UNLINK", name)]))

    async def end_all(self, session: Session) -> None:
        """Log a reader out of all sites, in all browsers."""
        self._out.put(session.reader, self._now())
        self._owed[session.reader] = self._now()
        for id, each in self._sessions.items():
            if each.reader == session.reader:
                self._forget(id)
        if self._shared is not None and await self._shared.run(lambda trips: bool(trips.run(self._marks()))):
            self._owed.clear()

    def _forget(self, id: str) -> None:
        self._sessions.drop(id)
        self.dropped(id)

    def _good(self, session: Session, host: str) -> bool:
        out = self._out.get(session.reader)
        return session.host == host and self._now() < session.ends and (out is None or out < session.began)

    def _marks(self) -> list[tuple[Any, ...]]:
        return [("SET", self._out_key(reader), repr(at), "EX", _LONGEST) for reader, at in list(self._owed.items())]

    def _out_key(self, reader: str) -> str:
        return _OUT + self._sealer.mark(f"out {reader}")

    async def _read(self, id: str, reader: str | None) -> Session | Literal[False] | None:
        """What the record says; False: there is none; None: Redis gives no answer. Notes when its reader left.

        reader: whose it is, where that is known before it was read.
        """
        shared, name = self._shared, _NAME + digest_of(id)
        assert shared is not None

        def read(trips: RoundTrips) -> tuple[bytes | None, str | None, bytes | None]:
            marks = self._marks()
            commands: list[tuple[Any, ...]] = [*marks, ("GET", name)]
            if reader is not None:
                commands.append(("GET", self._out_key(reader)))
            replies = checked_replies(trips.run(commands)[len(marks) :])
            whose = reader
            if reader is None and isinstance(replies[0], bytes):
                session = self._opened(name, replies[0])
                whose = session.reader if session is not None else None
                if whose is not None:
                    replies += checked_replies(trips.run([("GET", self._out_key(whose))]))
            return replies[0], whose, replies[1] if len(replies) > 1 else None

        found = await shared.run(read)
        if found is None:
            return None
        data, whose, out = found
        if isinstance(out, bytes) and whose is not None:
            try:
                self._out.put(whose, max(float(out), self._out.get(whose) or 0.0))
            except ValueError:
                return False  # nobody knows when: log in again
        return (self._opened(name, data) if data is not None else None) or False

    def _opened(self, name: str, data: bytes) -> Session | None:
        told = self._sealer.opened(name, data.decode("ascii", "replace"))
        try:
            return Session(**told) if told is not None else None
        except TypeError:
            return None
