# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The head of an HTTP/1 request in the one form that the lane takes; whatever else is None: somebody else's to judge.

Pure: bytes in, values out. It does not try to understand requests, only to recognise those about which no two parsers
can disagree (where they end, which host and target they name, that no body follows), because a parser that guesses is
how smuggling starts. So it is narrower than RFC 9112: GET or HEAD, an origin-form target, CRLF alone, names of letters,
digits and hyphens, one plain Host, no field that announces a body or another protocol.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from addon.web.forwarding import HOP_HEADER

END = b"\r\n\r\n"

KEYED = frozenset((b"accept-encoding", b"if-none-match", b"x-forwarded-proto", b"forwarded"))
"""Fields that a ready answer may depend on: their values are part of `Fields.key`."""
UNKEYED = frozenset((b"if-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range"))
"""Fields whose presence makes a request too particular for a ready answer."""
_KEY_ORDER = sorted(KEYED)


_LINE = re.compile(rb"(GET|HEAD) (/[\x21-\x3e\x40-\x7e]*+)(\?[\x21-\x7e]*+)? HTTP/1\.([01])")
# Possessive throughout: a line that does not fit is found out in one pass.
_FIELDS = re.compile(rb"[A-Za-z0-9-]++:[\t\x20-\x7e\x80-\xff]*+(?:\r\n[A-Za-z0-9-]++:[\t\x20-\x7e\x80-\xff]*+)*+")
_HOST = re.compile(rb"[A-Za-z0-9._-]{1,255}(?::[0-9]{0,5})?")
_BARE_LF = re.compile(rb"(?<!\r)\n")

# With one of these the request has a body, wants another protocol, or came back to us on its way round.
_NOT_OURS = frozenset(
    (
        b"content-length",
        b"expect",
        b"http2-settings",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        HOP_HEADER.lower().encode(),
    )
)
_NOT_OURS_EITHER = _NOT_OURS - {b"content-length", b"expect"}
_OPTIONS = frozenset((b"", b"close", b"keep-alive", b"te"))
_OTHER_LINE = re.compile(rb"([A-Z]{1,32}) (/[\x21-\x3e\x40-\x7e]*+)(\?[\x21-\x7e]*+)? HTTP/1\.([01])")
_OTHERS_METHODS = frozenset((b"GET", b"HEAD", b"CONNECT"))
_LENGTH = re.compile(rb"[0-9]{1,9}")


class RequestLine(NamedTuple):
    """Method, target in two parts (query without its `?`, None where there is none), and whether it is HTTP/1.1."""

    method: str
    path: str
    query: str | None
    http11: bool


@dataclass(frozen=True, slots=True)
class Fields:
    """The header fields of a request.

    host: the Host as it came. values: by lower-case name, repeated fields joined by `, `. closes, keeps: what the
    Connection field asks for. plain: without any of UNKEYED, and without a wish for a new look. key: the host and the
    values of KEYED, unambiguously. login: the same with the Cookie field, and whether the request is embedded; None
    where there is no such field.
    """

    host: str
    values: dict[bytes, bytes]
    closes: bool
    keeps: bool
    plain: bool
    key: bytes
    login: bytes | None


class Bodied(NamedTuple):
    """A request that may bring a body. length: of it, in bytes. asks: it comes when we have said that it may."""

    line: RequestLine
    fields: Fields
    length: int
    asks: bool


def request_line(line: bytes) -> RequestLine | None:
    """A request line without its CRLF (RFC 9112 §3); None unless it is GET or HEAD of an origin-form target."""
    match = _LINE.fullmatch(line)
    return None if match is None else _line_of(match)


def bodied(line: bytes, block: bytes) -> Bodied | None:
    """A request line and header lines of another method than GET and HEAD, in as plain a form; else None."""
    match = _OTHER_LINE.fullmatch(line)
    if match is None or match[1] in _OTHERS_METHODS:
        return None
    found = _fields(block, _NOT_OURS_EITHER)
    if found is None:
        return None
    length = found.values.get(b"content-length", b"0")
    expect = found.values.get(b"expect", b"").lower()
    if _LENGTH.fullmatch(length) is None or expect not in (b"", b"100-continue"):
        return None
    parsed = _line_of(match)
    return Bodied(parsed, found, int(length), parsed.http11 and bool(expect))


def _line_of(match: re.Match[bytes]) -> RequestLine:
    method, path, query, minor = match.groups()
    return RequestLine(
        method.decode("ascii"),
        path.decode("ascii"),
        None if query is None else query[1:].decode("ascii"),
        minor == b"1",
    )


def fields(block: bytes) -> Fields | None:
    """Header lines without the last CRLF (RFC 9112 §5); None unless each has the plain form and none is another's."""
    return _fields(block, _NOT_OURS)


def _fields(block: bytes, not_ours: frozenset[bytes]) -> Fields | None:
    if _FIELDS.fullmatch(block) is None:
        return None
    values: dict[bytes, bytes] = {}
    for line in block.split(b"\r\n"):
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name in values:
            if name == b"host":
                return None
            value = values[name] + b", " + value
        values[name] = value
    host = values.get(b"host")
    if host is None or _HOST.fullmatch(host) is None or not not_ours.isdisjoint(values):
        return None
    closes = keeps = False
    connection = values.get(b"connection")
    if connection is not None:
        options = {option.strip(b" \t") for option in connection.lower().split(b",")}
        if not options <= _OPTIONS:
            return None
        closes = b"close" in options
        keeps = b"keep-alive" in options and not closes
    return derived(host, values, closes, keeps)


def derived(host: bytes, values: dict[bytes, bytes], closes: bool = False, keeps: bool = False) -> Fields:
    """What answers depend on, of fields that have been checked. host: the one that the request is for."""
    # A value holds neither LF nor NUL, so the parts cannot run into each other; absent is not the same as empty.
    key = b"\n".join((host, *(values.get(name, b"\0") for name in _KEY_ORDER)))
    cookies = values.get(b"cookie")
    login = None if cookies is None else b"%b\n%d%b" % (key, _is_embedded_by(values), cookies)
    plain = UNKEYED.isdisjoint(values) and not (b"cache-control" in values and asks_anew(values[b"cache-control"]))
    return Fields(host.decode("latin-1"), values, closes, keeps, plain, key, login)


def is_embedded(site: bytes | None, mode: bytes | None, dest: bytes | None) -> bool:
    """Whether another site's page has this fetched, as a picture, a script, a frame or by `fetch`.

    By Sec-Fetch-Site, -Mode and -Dest (Fetch Metadata, W3C); a browser that sends none is believed. Neighbours below
    one pages domain are same-site, and other sites all the same. A link that is followed is no embedding.
    """
    if site is None or site.strip() in (b"same-origin", b"none"):
        return False
    return mode is None or mode.strip() != b"navigate" or (dest is not None and dest.strip() != b"document")


def asks_anew(cache_control: bytes) -> bool:
    """Whether a visitor wants to see what is there now (RFC 9111 §5.2.1.4): a reload with the shift key held down."""
    return b"no-cache" in cache_control.lower()


def strays(start: bytes) -> bool:
    """Whether a head of which END has not arrived cannot become ours any more, however it goes on.

    So that its sender, who may hold it for complete (bare line feeds, a TLS hello), need not wait for our deadline. One
    empty line before a request is overlooked (RFC 9112 §2.2).
    """
    rest = start[2:] if start.startswith(b"\r\n") else start
    if not rest or rest == b"\r":
        return False
    return not 0x41 <= rest[0] <= 0x5A or _BARE_LF.search(rest) is not None


def _is_embedded_by(values: dict[bytes, bytes]) -> bool:
    site = values.get(b"sec-fetch-site")
    return site is not None and is_embedded(site, values.get(b"sec-fetch-mode"), values.get(b"sec-fetch-dest"))
