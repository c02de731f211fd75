# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What the protocol wants of whoever answers, and a prepared answer as it goes to the wire."""

from typing import NamedTuple, Protocol

from addon.lane.http2.heads import Common
from addon.lane.http2.streams import Stream


class Wire(NamedTuple):
    """An answer in pieces, between which the four bytes of its stream go. size: bytes of its body.

    pieces: the start of the HEADERS frame; its block and, where there is a body, the start of the DATA frame; the body.
    """

    pieces: tuple[bytes, ...]
    size: int


class Answering(Protocol):
    """Who answers."""

    def at_once(self, head: tuple[Common, bytes], most: int, now: float, /) -> Wire | None:
        """The whole answer to a request without a body, if it is prepared, and its own is no longer than `most` bytes.

        It is sent, then. head: the parts of a `Head`. now: monotonic seconds.
        """

    def asked(self, stream: Stream, /) -> None:
        """A request began; its head is None where it was too long."""

    def body(self, stream: Stream, data: bytes, /) -> None:
        """A part of a body that is wanted."""

    def body_ended(self, stream: Stream, /) -> None:
        """All of a body that is wanted has come."""

    def taken(self, stream: Stream, /) -> None:
        """What was put is sent, and it was not the last."""

    def done(self, stream: Stream, /) -> None:
        """The answer is sent; the stream is over."""

    def gone(self, stream: Stream, /) -> None:
        """The stream is over before its answer was sent."""
