# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which header lists are requests (RFC 9113 §8), and what of them is the same from one request to the next.

A browser's requests on a connection differ in their path and in nothing else most of the time. So a head is two parts:
the target, and all else (`Common`), which is made once for all requests, of all connections, that say the same.
"""

import re
from typing import NamedTuple

from addon.lane.http2.header_decoder import HeaderList
from addon.lane.http2.priorities import Priority, priority_of
from addon.web.request_head import Fields, derived

# Of the pattern nothing is tried twice: each is one character class.
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++")
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*+(?<![\t ]))?)?")
_PSEUDO = frozenset((b":method", b":scheme", b":authority"))
"""And `:path`, which is the target."""
_OF_CONNECTION = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_MOST_COMMON = 2048
LONGEST_COMMON = 4096
"""Bytes of header fields up to which they are remembered: of those that are longer, thousands are no small thing."""


class Malformed(Exception):
    """A header list that is no request; the stream is to be reset (§8.1.1)."""


class Common:
    """All of a request but its target. Compared by identity: who says the same gets the same object.

    authority_agrees: whether `:authority` and Host, where both are there, are the same. length: of the body, where it
    is said. scheme: as it came. nbytes: of all names and values.
    """

    __slots__ = ("authority_agrees", "fields", "length", "method", "nbytes", "priority", "scheme")

    def __init__(
        self, method: str, scheme: str, fields: Fields, authority_agrees: bool, length: int | None, nbytes: int
    ) -> None:
        self.method = method
        self.scheme = scheme
        self.fields = fields
        self.authority_agrees = authority_agrees
        self.length = length
        self.nbytes = nbytes
        self.priority: Priority = priority_of(fields.values.get(b"priority"))


class Head(NamedTuple):
    """A request's head. target: as it came, a path that begins with a slash, `*`, or something else to be refused."""

    common: Common
    target: bytes


class Commons:
    """What requests have in common, remembered for all connections of a loop."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[bytes, bytes], ...], Common] = {}

    def head(self, headers: HeaderList) -> Head:
        """A decoded block as a request. Raises Malformed."""
        target: bytes | None = None
        rest = headers
        for place, (name, value) in enumerate(headers):
            if name == b":path":
                target = value
                rest = headers[:place] + headers[place + 1 :]
                break
            if not name.startswith(b":"):
                break  # pseudo-fields come first (§8.3); one that follows is found below
        key = tuple(rest)
        common = self._known.get(key)
        if common is None:
            common = _common(rest)
            if common.nbytes <= LONGEST_COMMON:
                if len(self._known) >= _MOST_COMMON:
                    self._known.clear()
                self._known[key] = common
        if common.method == "CONNECT":
            if target is not None:
                raise Malformed("CONNECT with a path")
        elif not target:
            raise Malformed("a request without a path")
        return Head(common, target or b"")


def _common(headers: HeaderList) -> Common:
    pseudo: dict[bytes, bytes] = {}
    values: dict[bytes, bytes] = {}
    hosts: list[bytes] = []
    for name, value in headers:
        if name.startswith(b":"):
            if name not in _PSEUDO or name in pseudo or values or hosts:
                raise Malformed("a pseudo-field that is unknown, repeated, or too late")
            pseudo[name] = value
            if _VALUE.fullmatch(value) is None:
                raise Malformed("a pseudo-field that no field may be")
            continue
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise Malformed("a field that no field may be")
        if name in _OF_CONNECTION or (name == b"te" and value.lower() != b"trailers"):
            raise Malformed("a field that is about the connection")
        if name == b"host":
            hosts.append(value)
        elif name in values:
            values[name] = (b"%b; %b" if name == b"cookie" else b"%b, %b") % (values[name], value)
        else:
            values[name] = value
    method = pseudo.get(b":method")
    if method is None:
        raise Malformed("a request without a method")
    if method == b"CONNECT":
        if b":scheme" in pseudo:
            raise Malformed("CONNECT with a scheme")
    elif b":scheme" not in pseudo:
        raise Malformed("a request without a scheme")
    length: int | None = None
    if (said := values.get(b"content-length")) is not None:
        if not said.isdigit() or len(said) > 18:
            raise Malformed("a length that is no number")
        length = int(said)
    named = {*hosts, *([pseudo[b":authority"]] if b":authority" in pseudo else [])}
    agrees = len(named) == 1 and len(hosts) <= 1
    host = named.pop() if agrees else b""
    values[b"host"] = host
    fields = derived(host, values)
    nbytes = sum(len(name) + len(value) for name, value in headers)
    scheme = pseudo.get(b":scheme", b"").decode("latin-1")
    return Common(method.decode("latin-1"), scheme, fields, agrees, length, nbytes)


def trailers(headers: HeaderList) -> None:
    """Raises Malformed where fields after a body are not what they may be (§8.1)."""
    for name, value in headers:
        if name.startswith(b":") or _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise Malformed("a trailer that no field may be")
