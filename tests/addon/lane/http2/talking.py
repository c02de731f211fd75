# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The protocol with somebody who answers as he is told, and a client that says exactly what it is told to say."""

from collections.abc import Iterable
from typing import NamedTuple

import hpack

from addon.lane.http2 import frames
from addon.lane.http2.answering import Wire
from addon.lane.http2.frames import ACK, END_HEADERS, END_STREAM, PREFACE, ErrorCode, frame, unpack_head
from addon.lane.http2.header_encoder import field, status_field
from addon.lane.http2.heads import Common, Commons, Head
from addon.lane.http2.protocol import ServerProtocol
from addon.lane.http2.streams import Stream

MOST_HEAD = 16 * 1024
GET = [(":method", "GET"), (":scheme", "https"), (":authority", "alice.pages.test"), (":path", "/")]
POST = [(":method", "POST"), *GET[1:]]
OPENING = PREFACE + frames.settings(())


class Frame(NamedTuple):
    """A frame as it came back."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Recorder:
    """Answers by path: `/<n>` n bytes; `/ready/<n>` as what is prepared; `/wait` when told; `/body` reads the body."""

    def __init__(self) -> None:
        self.protocol = ServerProtocol(self, Commons(), MOST_HEAD, 0.0)
        self.events: list[tuple[str, int]] = []
        self.heads: list[Head | None] = []
        self.bodies: dict[int, bytes] = {}
        self.at_once_asked = 0

    def at_once(self, head: tuple[Common, bytes], most: int, now: float, /) -> Wire | None:
        digits = head[1].removeprefix(b"/ready/")
        if digits == head[1] or not _is_size(digits) or int(digits) > most:
            return None
        self.at_once_asked += 1
        self.heads.append(Head(*head))
        body = b"r" * int(digits)
        block = status_field(200)
        flags = END_HEADERS if body else END_HEADERS | END_STREAM
        head_start = len(block).to_bytes(3, "big") + bytes((frames.HEADERS, flags))
        if not body:
            return Wire((head_start, block), 0)
        return Wire(
            (head_start, block + len(body).to_bytes(3, "big") + bytes((frames.DATA, END_STREAM)), body), len(body)
        )

    def asked(self, stream: Stream, /) -> None:
        self.events.append(("asked", stream.id))
        self.heads.append(stream.head)
        target = stream.head.target if stream.head is not None else b"/0"
        if target == b"/body":
            stream.wanted = True
            self.bodies[stream.id] = b""
            if not stream.receiving:
                self.body_ended(stream)
        elif target != b"/wait":
            digits = target.rpartition(b"/")[2]
            self.answer(stream, int(digits) if _is_size(digits) else 0)

    def answer(self, stream: Stream, size: int) -> None:
        self.protocol.respond(stream, status_field(200) + field(b"a", b"b"), bytes(size))

    def body(self, stream: Stream, data: bytes, /) -> None:
        self.bodies[stream.id] += data

    def body_ended(self, stream: Stream, /) -> None:
        self.events.append(("body ended", stream.id))
        self.answer(stream, 0)

    def taken(self, stream: Stream, /) -> None:
        self.events.append(("taken", stream.id))

    def done(self, stream: Stream, /) -> None:
        self.events.append(("done", stream.id))

    def gone(self, stream: Stream, /) -> None:
        self.events.append(("gone", stream.id))


def _is_size(digits: bytes) -> bool:
    return digits.isdigit() and len(digits) < 9


class Client:
    """Says bytes to a protocol, and reads what comes back."""

    def __init__(self, *, opened: bool = True) -> None:
        self.answering = Recorder()
        self.protocol = self.answering.protocol
        self.encoder = hpack.Encoder()
        self.now = 0.0
        if opened:
            assert self.say(OPENING) == [
                Frame(frames.SETTINGS, 0, 0, bytes.fromhex("000300000064 000600004000 000900000001")),
                Frame(frames.SETTINGS, ACK, 0, b""),
            ]
            self.say(frames.SETTINGS_ACK)

    def say(self, data: bytes, *, pump: int = 1 << 24) -> list[Frame]:
        """Bytes in, frames out. pump: bytes of bodies that there is room for."""
        again = self.protocol.receive(data, self.now)
        while again:
            again = self.protocol.receive(b"", self.now)
        return self.out(pump)

    def out(self, pump: int = 1 << 24) -> list[Frame]:
        """What is to be written."""
        self.protocol.pump(pump)
        data = b"".join(self.protocol.out)
        self.protocol.out.clear()
        return list(parsed(data))

    def headers(self, stream: int, headers: Iterable[tuple[str, str]], flags: int = END_STREAM | END_HEADERS) -> bytes:
        """A HEADERS frame."""
        return frame(frames.HEADERS, flags, stream, self.encoder.encode(list(headers)))

    def get(self, stream: int, path: str, *more: tuple[str, str]) -> bytes:
        return self.headers(stream, [*GET[:3], (":path", path), *more])


def parsed(data: bytes) -> Iterable[Frame]:
    """Whole frames."""
    at = 0
    while at < len(data):
        size, flags, stream = unpack_head(data, at)
        kind, size = size & 0xFF, size >> 8
        at += frames.HEAD_SIZE + size
        assert at <= len(data), "half a frame"
        yield Frame(kind, flags, stream, data[at - size : at])


def connection_error(answer: list[Frame]) -> ErrorCode | None:
    """The code of a GOAWAY that ends the answer."""
    last = answer[-1] if answer else None
    return ErrorCode(int.from_bytes(last.payload[4:8], "big")) if last and last.kind == frames.GOAWAY else None


def stream_error(answer: list[Frame], stream: int) -> ErrorCode | None:
    """The code of a RST_STREAM for a stream."""
    for each in answer:
        if each.kind == frames.RST_STREAM and each.stream == stream:
            return ErrorCode(int.from_bytes(each.payload, "big"))
    return None


def data_of(answer: list[Frame], stream: int) -> int:
    """Bytes of DATA for a stream."""
    return sum(len(each.payload) for each in answer if each.kind == frames.DATA and each.stream == stream)
