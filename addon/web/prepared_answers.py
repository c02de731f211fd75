# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Answers that are ready to be sent again, by request line and the few header fields that they depend on.

An answer is ready for as long as what it was made from is what memory holds, and is fresh: each use compares, by
identity, the facts that decided it (a repository's `Lookup`: its commit, access, settings and trouble) with those that
memory holds now. So nobody has to remember to invalidate anything: a deploy, a purge, an invalidation and an eviction
replace or drop the fact, and the answer is dead in that moment. The bytes are held a second time, in a bounded share
of their own, which requests made up by strangers may fill without pushing a site out of memory.
"""

from collections import OrderedDict
from typing import NamedTuple, Protocol

from addon.settings.schema import Settings
from addon.web.request_head import Fields, RequestLine

LARGEST = 64 * 1024
"""Bytes of body above which an answer is not kept ready: there, sending costs more than answering."""
_LONGEST_KEY = 2048
ENTRY_COST = 600
"""Bytes charged for an entry besides its bytes: dict slot, link, key tuple and the entry itself."""

_SHARE = 8
_MOST = 32 * 1024 * 1024

Fact = tuple[tuple[str, ...], object]
Key = tuple[bytes, bytes]


class Facts(Protocol):
    """Where facts are held by key: the memory. changes: a number, another whenever anything was changed there."""

    @property
    def changes(self) -> int: ...

    def get(self, key: tuple[str, ...], /) -> object | None: ...


class Basis(NamedTuple):
    """What an answer was made from: the facts that decided it, and when (monotonic seconds) one is not fresh any more.

    Header fields are not among them: those that were looked at are seen by who makes the request. plain_http: it is for
    who came without TLS alone, for what opened a site counts nowhere else.
    """

    facts: tuple[Fact, ...]
    until: float
    plain_http: bool = False


class About(NamedTuple):
    """What is said of an answer to the operator, and to no visitor.

    site: OWNER/REPO or OWNER/REPO@BRANCH, where one answers; commit: its id. reason: why it is no page, in one of a few
    words; detail: the same as a sentence.
    """

    site: str = ""
    commit: str = ""
    reason: str = ""
    detail: str = ""


NOTHING = About()


class Tally:
    """How often answers of one kind were given: a number that is counted up where they are sent."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class PreparedAnswer(NamedTuple):
    """The bytes of an answer in two parts, between which the Date and Connection lines go, and what is logged of it.

    tally: counts it, where HTTP/1 sends it.
    """

    start: bytes
    rest: bytes
    basis: Basis
    line: RequestLine
    status: int
    nbytes: int
    cache: str
    about: About
    tally: Tally


class Repeat:
    """A request that may come again, with its ready answer, made ready for the present second.

    It may be sent until `until` (monotonic seconds), as long as `seen` is the number of the memory's changes: between
    two of these, nothing that it was made from can have become another, and to look would be most of its costs.
    tally: counts it. logged: what the lines of it in the access log have in common, once there was one.
    """

    __slots__ = ("answer", "date", "fields", "key", "logged", "seen", "tally", "until")

    def __init__(self, key: Key, answer: PreparedAnswer, fields: Fields, tally: Tally) -> None:
        self.key = key
        self.answer = answer
        self.fields = fields
        self.tally = tally
        self.logged: tuple[str, str] | None = None
        self.date = b""
        self.seen = -1
        self.until = 0.0

    def tell(self, date: bytes, date_field: bytes) -> None:
        """Make the bytes of a second. date: its Date line; date_field: the same in HPACK."""
        self.date = date


class Http1Repeat(Repeat):
    """A whole request of HTTP/1. wire: what is sent."""

    __slots__ = ("wire",)

    def __init__(self, key: Key, answer: PreparedAnswer, fields: Fields) -> None:
        super().__init__(key, answer, fields, answer.tally)
        self.wire = b""

    def tell(self, date: bytes, date_field: bytes) -> None:
        """As `Repeat`."""
        self.date = date
        self.wire = b"".join((self.answer.start, date, self.answer.rest))


class PreparedAnswers:
    """Ready answers, bounded in bytes, least recently used out first. State: one ordered dict and the sum of it."""

    def __init__(self, facts: Facts, capacity: int) -> None:
        """capacity: bytes, everything counted."""
        self.capacity = capacity
        self.used = 0
        self._facts = facts
        self._entries: OrderedDict[Key, PreparedAnswer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, now: float) -> PreparedAnswer | None:
        """The answer, if all that it was made from is held and fresh; now: monotonic seconds."""
        answer = self._entries.get(key)
        if answer is None:
            return None
        if self.holds(answer.basis, now):
            self._entries.move_to_end(key)
            return answer
        self._drop(key)
        return None

    def holds(self, basis: Basis, now: float) -> bool:
        """Whether all that an answer was made from is held and fresh."""
        facts, until, _ = basis
        if now >= until:
            return False
        held = self._facts.get
        for name, fact in facts:  # noqa: SIM110 -- a generator takes twice as long, for each request
            if held(name) is not fact:
                return False
        return True

    def put(self, key: Key, answer: PreparedAnswer) -> None:
        """Keep an answer ready; one that is too large is not kept."""
        cost = _cost(key, answer)
        self._drop(key)
        if len(answer.rest) > LARGEST + 4096 or len(key[0]) + len(key[1]) > _LONGEST_KEY or cost > self.capacity:
            return
        self._entries[key] = answer
        self.used += cost
        while self.used > self.capacity:
            oldest, evicted = self._entries.popitem(last=False)
            self.used -= _cost(oldest, evicted)

    def clear(self) -> None:
        self._entries.clear()
        self.used = 0

    def _drop(self, key: Key) -> None:
        answer = self._entries.pop(key, None)
        if answer is not None:
            self.used -= _cost(key, answer)


def prepared_share(settings: Settings) -> int:
    """The part of `memoryCacheSize` that ready answers may take, in bytes."""
    return min(settings.memory_cache_size // _SHARE, _MOST) if settings.lane else 0


def _cost(key: Key, answer: PreparedAnswer) -> int:
    return ENTRY_COST + len(key[0]) + len(key[1]) + len(answer.rest) + len(answer.line.path)
