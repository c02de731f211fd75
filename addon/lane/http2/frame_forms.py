# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The form that each frame of a client has to have (RFC 9113 §6), whatever it means: sizes, padding, on which stream.

Pure. What is not of the form raises ConnectionFault; what a frame means, and whether it may come now, is for the
protocol to say.
"""

from addon.lane.http2.frames import (
    ACK,
    CONTINUATION,
    HAS_PRIORITY,
    LAST_STREAM,
    PADDED,
    ConnectionFault,
    ErrorCode,
    StreamFault,
)


def unwrapped(data: bytes, start: int, stop: int, flags: int, number: int) -> tuple[int, int]:
    """Where a payload with padding or priority begins and ends (§6.1, §6.2)."""
    if flags & PADDED:
        if start == stop:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "padding without a length")
        stop -= data[start]
        start += 1
    if flags & HAS_PRIORITY:
        depends = int.from_bytes(data[start : start + 4], "big") & LAST_STREAM
        if depends == number & LAST_STREAM:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")
        start += 5
    if start > stop:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
    return start, stop


def unpadded(payload: bytes) -> bytes:
    """What DATA with padding holds besides."""
    if not payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "padding without a length")
    if payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def continuation(kind: int, number: int, opened: int) -> None:
    """What follows a header block that goes on. opened: its stream."""
    if kind != CONTINUATION or number != opened:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block that does not go on")


def window_update(payload: bytes) -> int:
    """By how much a window grows."""
    if len(payload) != 4:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE has another size")
    return int.from_bytes(payload, "big") & LAST_STREAM


def settings(flags: int, number: int, payload: bytes) -> None:
    """SETTINGS, or that ours were heard."""
    _of_connection(number, "SETTINGS")
    if len(payload) % 6 or (flags & ACK and payload):
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS have another size")


def ping(number: int, payload: bytes) -> None:
    """PING, or its answer."""
    _of_connection(number, "PING")
    if len(payload) != 8:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING has another size")


def goaway(number: int, payload: bytes) -> None:
    """GOAWAY, whatever it says."""
    _of_connection(number, "GOAWAY")
    if len(payload) < 8:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY is too short")


def rst_stream(payload: bytes) -> None:
    """RST_STREAM, whatever it says."""
    if len(payload) != 4:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM has another size")


def priority(number: int, payload: bytes, last: int) -> None:
    """PRIORITY. last: the highest stream that was opened. Raises StreamFault, too."""
    if not number:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY on no stream")
    if len(payload) != 5:
        if number > last:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY has another size")
        raise StreamFault(number, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY has another size")
    if int.from_bytes(payload[:4], "big") & LAST_STREAM == number:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")


def priority_update(number: int, payload: bytes) -> int:
    """Of which stream PRIORITY_UPDATE (RFC 9218 §7.1) speaks."""
    _of_connection(number, "PRIORITY_UPDATE")
    if len(payload) < 4:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY_UPDATE is too short")
    about = int.from_bytes(payload[:4], "big") & LAST_STREAM
    if not about & 1:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY_UPDATE of a stream that is no request")
    return about


def _of_connection(number: int, name: str) -> None:
    if number:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{name} on a stream")
