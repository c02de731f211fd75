# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One stream of a connection (RFC 9113 §5.1): what is expected from the client, and what is still to be sent to it.

Of a body it holds a view and how far that was sent, never a copy.
"""

from addon.lane.http2.frames import DEFAULT_WINDOW, ErrorCode, StreamFault
from addon.lane.http2.heads import Head
from addon.lane.http2.priorities import DEFAULT


class Stream:
    """A request and its answer. It exists until both are complete, or one of the two sides gives it up.

    receiving: whether the client has not ended its request. left: bytes of the body that are announced and did not
    come; None where it was not said. wanted: whether the body is read. window_in: bytes that may come before we allow
    more; window: bytes that may be sent before the client does. body: what is being sent, from `at` on; ends: whether
    it is the last piece. queued: whether it has its turn among the senders. responding: the answer's head was sent.
    owner: whatever whoever answers wants to know of it.
    """

    __slots__ = (
        "at",
        "body",
        "ends",
        "head",
        "id",
        "left",
        "owner",
        "priority",
        "queued",
        "receiving",
        "responding",
        "sent",
        "taken",
        "turn",
        "wanted",
        "window",
        "window_in",
    )

    def __init__(self, id: int, head: Head | None, receiving: bool, window: int) -> None:
        self.id = id
        self.head = head
        self.receiving = receiving
        self.left = head.common.length if head is not None else None
        self.wanted = False
        self.window_in = DEFAULT_WINDOW
        self.taken = 0  # bytes of the body that came, and have not been allowed anew
        self.window = window
        self.body: bytes | memoryview = b""
        self.at = 0
        self.ends = False
        self.queued = False
        self.responding = False
        self.sent = 0
        self.turn = 0
        self.priority = head.common.priority if head is not None else DEFAULT
        self.owner: object = None

    @property
    def pending(self) -> bool:
        """Whether there is something to send, an end at least."""
        return self.at < len(self.body) or self.ends

    def take(self, size: int, nbytes: int) -> None:
        """DATA came: size bytes of the window, nbytes of the body. Raises StreamFault."""
        if not self.receiving:
            raise StreamFault(self.id, ErrorCode.STREAM_CLOSED, "DATA after the end of a request")
        if size > self.window_in:
            raise StreamFault(self.id, ErrorCode.FLOW_CONTROL_ERROR, "more DATA than was allowed")
        self.window_in -= size
        if self.left is not None:
            self.left -= nbytes
            if self.left < 0:
                raise StreamFault(self.id, ErrorCode.PROTOCOL_ERROR, "a body longer than was said")
