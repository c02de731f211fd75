# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The bytes of HTTP/2 frames (RFC 9113 §4, §6), and the two ways in which a client can be wrong."""

import struct
from collections.abc import Iterable
from enum import IntEnum

PREFACE_LINE = b"PRI * HTTP/2.0\r\n"
PREFACE = PREFACE_LINE + b"\r\nSM\r\n\r\n"
HEAD_SIZE = 9
MAX_FRAME = 16_384
"""Bytes of a frame's payload, in both directions: what everybody must take (§4.2), and a TLS record."""
MAX_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65_535
LAST_STREAM = 2**31 - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 0x10
"""RFC 9218 §7.1"""

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
NO_RFC7540_PRIORITIES = 0x9
"""RFC 9218 §2.1"""

_HEAD = struct.Struct(">IBI")
"""Length and type in one number, flags, stream."""
unpack_head = _HEAD.unpack_from
_SETTING = struct.Struct(">HI")


class ErrorCode(IntEnum):
    """§7"""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 0xB


class ConnectionFault(Exception):
    """The client broke the protocol so that the connection cannot go on (§5.4.1)."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class StreamFault(Exception):
    """The client broke the protocol on one stream (§5.4.2)."""

    def __init__(self, stream: int, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.stream = stream
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def frame_head(kind: int, flags: int, stream: int, size: int) -> bytes:
    """A frame without its payload."""
    return _HEAD.pack(size << 8 | kind, flags, stream)


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*value) for value in values))


def settings_in(payload: bytes) -> Iterable[tuple[int, int]]:
    """The parameters of a SETTINGS frame; the payload's length is a multiple of six."""
    found: Iterable[tuple[int, int]] = _SETTING.iter_unpack(payload)
    return found


def initial_window(payload: bytes, before: int) -> int:
    """INITIAL_WINDOW_SIZE after a SETTINGS frame, all of which is checked. Raises ConnectionFault.

    Nothing comes between its values (§6.5.3): of many, the last one counts.
    """
    for name, value in settings_in(payload):
        check_setting(name, value)
        if name == INITIAL_WINDOW_SIZE:
            before = value
    return before


def check_setting(name: int, value: int) -> None:
    """Raises ConnectionFault where a client's parameter must not be this (§6.5.2)."""
    if name == INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
        raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
    if name == ENABLE_PUSH and value > 1:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
    if name == MAX_FRAME_SIZE and not MAX_FRAME <= value < 1 << 24:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of bounds")


SETTINGS_ACK = frame(SETTINGS, ACK, 0)


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def rst_stream(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last: int, code: int) -> bytes:
    return frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big"))


def ping(data: bytes, *, ack: bool = False) -> bytes:
    return frame(PING, ACK if ack else 0, 0, data)
