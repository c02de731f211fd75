# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""From an `Answer` to the header block of HTTP/2, and what of prepared answers is kept to be sent again. Pure.

What HTTP/1.1 has prepared is the one source: the same entry of the same memory, its lines put into HPACK once. The date
comes last in a block, so that a second's change of it makes no more than one concatenation.
"""

from addon.lane.http2.answering import Wire
from addon.lane.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, MAX_FRAME
from addon.lane.http2.header_encoder import field, status_field
from addon.serving.server import Answer
from addon.web.prepared_answers import Key, PreparedAnswer, Repeat, Tally
from addon.web.request_head import Fields

_OF_CONNECTION = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))


def block_of(answer: Answer) -> bytes:
    """The head of an answer, without its date. Raises ValueError where a field holds a line end."""
    parts = [status_field(answer.status)]
    has_length = answer.status in (204, 304)
    for name, value in answer.headers:
        lower = name.lower()
        if lower not in _OF_CONNECTION:
            parts.append(field(lower, value))
            has_length = has_length or lower == b"content-length"
    if not has_length:
        size = answer.length if answer.stream is not None or answer.length is None else len(answer.body)
        if size is not None:
            parts.append(field(b"content-length", b"%d" % size))
    return b"".join(parts)


class Http2Repeat(Repeat):
    """A head of HTTP/2. block: its answer's, without the date. wire: None where the body takes more than one frame."""

    __slots__ = ("block", "body", "wire")

    def __init__(self, key: Key, answer: PreparedAnswer, fields: Fields, tally: Tally) -> None:
        super().__init__(key, answer, fields, tally)
        lines, _, body = answer.rest.partition(b"\r\n\r\n")
        parts = [status_field(answer.status)]
        for line in lines.split(b"\r\n"):
            name, _, value = line.partition(b": ")
            if name:
                parts.append(field(name.lower(), value))
        self.block = b"".join(parts)
        # A large one is not held a second time.
        self.body = body if len(body) <= MAX_FRAME else memoryview(answer.rest)[-len(body) :]
        self.wire: Wire | None = None

    @property
    def cost(self) -> int:
        """Bytes that it takes besides the answer itself."""
        return 2 * len(self.block) + (len(self.body) if isinstance(self.body, bytes) else 0)

    def tell(self, date: bytes, date_field: bytes) -> None:
        """As `Repeat`."""
        self.date = date
        size = len(self.body)
        if size > MAX_FRAME or not isinstance(self.body, bytes):
            return
        block = self.block + date_field
        flags = END_HEADERS if size else END_HEADERS | END_STREAM
        head = len(block).to_bytes(3, "big") + bytes((HEADERS, flags))
        if size:
            data_head = size.to_bytes(3, "big") + bytes((DATA, END_STREAM))
            self.wire = Wire((head, block + data_head, self.body), size)
        else:
            self.wire = Wire((head, block), 0)
