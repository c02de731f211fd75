# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Requests that were answered before from what is prepared: when one comes again, nothing is parsed or decided anew.

Whether an answer may be sent depends on the connection as well: whether it has TLS, and which certificate it was shown.
That is the same for all requests of a connection, so each kind of connection has a memory of its own (`KnownRequests`),
into which only that comes which any of its clients may have. All of them together are bounded in bytes.
"""

from weakref import WeakKeyDictionary, ref

from addon.lane.http2.answers import Http2Repeat
from addon.lane.http2.heads import LONGEST_COMMON, Common, Head
from addon.net.certificates import ShownNames
from addon.web.prepared_answers import Http1Repeat, Key, PreparedAnswer
from addon.web.request_head import Fields
from addon.web.routing import host_name

_COST = 500
_LARGEST = 64 * 1024


class KnownRequests:
    """What is asked again on connections of one kind: whole requests of HTTP/1, heads of HTTP/2."""

    __slots__ = ("_shown", "http1", "http2")

    def __init__(self, shown: ShownNames | None = None) -> None:
        """shown: where other hosts have other certificates. It is not kept alive by this."""
        self.http1: dict[bytes, Http1Repeat] = {}
        self.http2: dict[tuple[Common, bytes], Http2Repeat] = {}  # by the parts of a `Head`
        self._shown = None if shown is None else ref(shown)

    def takes(self, found: Fields) -> bool:
        """Whether a request is for a host that such connections are for, whoever asks."""
        if self._shown is None:
            return True
        shown = self._shown()
        return shown is not None and belongs(shown, found)


def belongs(shown: ShownNames, found: Fields) -> bool:
    """Whether a request is for no host of another certificate than the one that its connection was shown."""
    host = host_name(found.host)
    return host is None or shown.take(host)


class RepeatedRequests:
    """State: what is known by kind of connection, and how many bytes that is at most."""

    def __init__(self, capacity: int) -> None:
        """capacity: bytes, everything counted."""
        self._capacity = capacity
        self._used = 0
        self._plain = KnownRequests()
        self._secure = KnownRequests()
        self._by_shown: WeakKeyDictionary[ShownNames, KnownRequests] = WeakKeyDictionary()

    def known(self, secure: bool, shown: ShownNames | None) -> KnownRequests:
        """Of connections of a kind. secure: over TLS. shown: where other hosts have other certificates."""
        if not secure:
            return self._plain
        if shown is None:
            return self._secure
        found = self._by_shown.get(shown)
        if found is None:
            found = self._by_shown[shown] = KnownRequests(shown)
        return found

    def remember(self, known: KnownRequests, data: bytes, key: Key, answer: PreparedAnswer, found: Fields) -> None:
        """Know a request of HTTP/1, as a whole, the next time it comes."""
        if known.takes(found) and self._is_room(2 * len(data) + 2 * len(answer.rest)):
            known.http1[data] = Http1Repeat(key, answer, found)

    def remember_http2(self, known: KnownRequests, head: Head, repeat: Http2Repeat) -> None:
        """The same for a head of HTTP/2."""
        common = head.common
        if common.nbytes > LONGEST_COMMON:
            return  # longer fields are no other connection's (`Commons`), so they would come again on their own alone
        if known.takes(repeat.fields) and self._is_room(len(head.target) + common.nbytes + repeat.cost):
            known.http2[head] = repeat

    def count_bytes(self, nbytes: int) -> None:
        """What is known has become so many bytes larger."""
        self._count(nbytes)

    def _is_room(self, nbytes: int) -> bool:
        """Whether one more is worth its bytes, which are counted if so."""
        nbytes += _COST
        if nbytes > _LARGEST:
            return False
        self._count(nbytes)
        return True

    def _count(self, nbytes: int) -> None:
        self._used += nbytes
        if self._used > self._capacity:
            for each in (self._plain, self._secure, *self._by_shown.values()):
                each.http1.clear()
                each.http2.clear()
            self._used = nbytes
