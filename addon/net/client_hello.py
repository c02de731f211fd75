# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a client offers when it begins TLS: the one thing of its hello that Python's `ssl` keeps to itself, ALPN.

OpenSSL, as Python uses it, goes on without a protocol where the two sides have none in common. RFC 7301 §3.2 wants the
alert `no_application_protocol`: a client that speaks something else must not have its bytes taken for HTTP/1.1.
"""

from collections.abc import Sequence
from enum import Enum

LARGEST = 16 * 1024
"""Bytes up to which a hello is waited for; browsers' take two thousand."""
_MOST_RECORDS = 8
_HANDSHAKE, _CLIENT_HELLO, _ALPN = 22, 1, 16
_RECORD_HEAD, _MESSAGE_HEAD = 5, 4


class Reading(Enum):
    """What else there may be instead of a list."""

    INCOMPLETE = "more has to come"
    NONE = "no list, or no hello: OpenSSL is to judge it"


def offered_protocols(data: bytes) -> Sequence[bytes] | Reading:
    """The ALPN protocols in the first bytes of a connection (RFC 8446 §4.1.2, RFC 7301 §3.1); linear, never raises."""
    try:
        hello = _message(data)
        return hello if isinstance(hello, Reading) else _protocols(hello)
    except IndexError:
        return Reading.NONE


def _message(data: bytes) -> bytes | Reading:
    """The body of the ClientHello, out of as many records as it takes."""
    parts: list[bytes] = []
    at = size = 0
    while True:
        if len(data) - at < _RECORD_HEAD:
            return Reading.INCOMPLETE if data[at : at + 1] in (b"", b"\x16") and len(data) < LARGEST else Reading.NONE
        if data[at] != _HANDSHAKE:
            return Reading.NONE
        end = at + _RECORD_HEAD + int.from_bytes(data[at + 3 : at + _RECORD_HEAD], "big")
        if end == at + _RECORD_HEAD or len(parts) == _MOST_RECORDS:
            return Reading.NONE
        parts.append(data[at + _RECORD_HEAD : end])
        size += len(parts[-1])
        first = b"".join(parts[:_MESSAGE_HEAD])[:_MESSAGE_HEAD] if size >= _MESSAGE_HEAD else b""
        if first:
            if first[0] != _CLIENT_HELLO:
                return Reading.NONE
            length = int.from_bytes(first[1:], "big")
            if length > LARGEST:
                return Reading.NONE
            if size >= _MESSAGE_HEAD + length:
                return b"".join(parts)[_MESSAGE_HEAD : _MESSAGE_HEAD + length]
        if end > len(data):
            return Reading.INCOMPLETE if len(data) < LARGEST else Reading.NONE
        at = end


def _protocols(hello: bytes) -> Sequence[bytes] | Reading:
    at = 2 + 32  # version, random
    at += 1 + hello[at]  # session
    at += 2 + int.from_bytes(hello[at : at + 2], "big")  # cipher suites
    at += 1 + hello[at]  # compression methods
    end = at + 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 2
    while at + 4 <= min(end, len(hello)):
        kind, size = int.from_bytes(hello[at : at + 2], "big"), int.from_bytes(hello[at + 2 : at + 4], "big")
        at += 4
        if kind == _ALPN:
            return _names(hello[at : at + size])
        at += size
    return Reading.NONE


def _names(extension: bytes) -> Sequence[bytes] | Reading:
    found = []
    at = 2
    while at < len(extension):
        size = extension[at]
        found.append(extension[at + 1 : at + 1 + size])
        at += 1 + size
    return found or Reading.NONE
