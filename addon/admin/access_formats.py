# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The forms of a line of the access log: our JSON, the combined format of Apache and nginx, and Caddy's JSON.

Pure: an entry in, a line out. No form has a query, of the request or of the page that led there, for both carry tokens.
What a client may choose is escaped so that it can neither end a line nor a quoted field, nor move a terminal's cursor.
"""

import ipaddress
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _json
from typing import Final, NamedTuple

from addon.net import tracing

_LONGEST = 512
"""Characters of a field that a client chooses."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNSAFE = re.compile(r'["\\]|[^ -~]')


class Seen(NamedTuple):
    """What is noted of a request besides what it asks for: bytes as they came, up to _LONGEST of each."""

    protocol: str = ""
    tls: bool = False
    agent: bytes = b""
    referer: bytes = b""
    traceparent: bytes = b""


class Entry(NamedTuple):
    """One request. at: seconds since 1970. nbytes: of the body. seconds: from its head to the end of the answer.

    site, commit: what answered, where that was a site. reason: why the answer is no page.
    """

    at: float
    client: str
    method: str
    host: str
    path: str
    status: int
    nbytes: int
    seconds: float
    cache: str
    seen: Seen
    dropped_before: int = 0
    site: str = ""
    commit: str = ""
    reason: str = ""


NOTHING: Final = Seen()


def seen(protocol: str, tls: bool, header: Callable[[bytes], bytes | None]) -> Seen:
    """What of a request's header fields is noted. header: a field's value by its lower-case name."""
    return Seen(protocol, tls, *(_short(header(name)) for name in (b"user-agent", b"referer", b"traceparent")))


def _short(value: bytes | None) -> bytes:
    """Not the whole of a long one, which would be held until its line is written."""
    return b"" if value is None else value if len(value) <= _LONGEST else value[:_LONGEST]


def agent_of(entry: Entry) -> str:
    """The visitor's program, as it calls itself."""
    return entry.seen.agent.decode("latin-1")


def referer_of(entry: Entry) -> str:
    """The page that led there, without its query."""
    return entry.seen.referer.decode("latin-1").partition("?")[0].partition("#")[0]


def trace_of(entry: Entry) -> str:
    """The id of a trace (W3C Trace Context §3.2), where one came."""
    found = tracing.FORM.fullmatch(entry.seen.traceparent)
    return found[1].decode() if found is not None else ""


def as_json(entry: Entry) -> str:
    """Ours: a field is there where it says something."""
    # By hand: `json.dumps` and `isoformat` for each line were a third of a request's cost.
    second = int(entry.at)
    line = (
        f'{{"time": "{_second(second)}.{int((entry.at - second) * 1000):03d}+00:00", "client": {_json(entry.client)}, '
        f'"method": {_json(entry.method)}, "host": {_json(entry.host)}, "path": {_json(entry.path)}, '
        f'"status": {entry.status}, "bytes": {entry.nbytes}, "ms": {round(entry.seconds * 1000, 2)}'
    )
    if entry.cache:
        line += f', "cache": {_json(entry.cache)}'
    if entry.seen.protocol:
        line += f', "protocol": {_json(entry.seen.protocol)}, "tls": {"true" if entry.seen.tls else "false"}'
    said = (
        ("site", entry.site),
        ("commit", entry.commit),
        ("reason", entry.reason),
        ("agent", agent_of(entry)),
        ("referer", referer_of(entry)),
        ("trace", trace_of(entry)),
    )
    for name, value in said:
        if value:
            line += f', "{name}": {_json(value)}'
    if entry.dropped_before:
        line += f', "dropped_before": {entry.dropped_before}'
    return line + "}"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


def as_combined(entry: Entry) -> str:
    """Apache's and nginx's `combined`, which every log reader knows; the time is UTC, English whatever the locale."""
    at = datetime.fromtimestamp(entry.at, UTC)
    when = f"{at.day:02}/{_MONTHS[at.month - 1]}/{at.year}:{at:%H:%M:%S} +0000"
    asked = (
        f"{_quoted(entry.method)} {_quoted(entry.path)} {entry.seen.protocol or 'HTTP/1.1'}" if entry.method else "-"
    )
    referer, agent = _quoted(referer_of(entry)) or "-", _quoted(agent_of(entry)) or "-"
    return f'{entry.client or "-"} - - [{when}] "{asked}" {entry.status} {entry.nbytes} "{referer}" "{agent}"'


def as_caddy(entry: Entry) -> str:
    """Caddy's, as far as its readers look: the fields that they need are there, always."""
    headers = {"User-Agent": [agent_of(entry) or "-"], "Referer": [referer_of(entry) or "-"]}
    request: dict[str, object] = {
        "remote_ip": entry.client,
        "client_ip": entry.client,
        "proto": entry.seen.protocol or "HTTP/1.1",
        "method": entry.method or "-",
        "host": entry.host,
        "uri": entry.path or "-",
        "headers": headers,
    }
    line = {
        "level": "info",
        "ts": round(entry.at, 6),
        "logger": "http.log.access",
        "msg": "handled request",
        "request": request,
        "duration": round(entry.seconds, 6),
        "size": entry.nbytes,
        "status": entry.status,
        "resp_headers": {},
    }
    return json.dumps(line, ensure_ascii=True)


FORMATS: Final[dict[str, Callable[[Entry], str]]] = {"json": as_json, "combined": as_combined, "caddy": as_caddy}


def network_of(address: str) -> str:
    """An address without what tells a person: the /24 of IPv4, the /48 of IPv6; nothing where it is none."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(ip, "ipv4_mapped", None) or ip
    return str(ipaddress.ip_network((mapped, 24 if mapped.version == 4 else 48), strict=False).network_address)


def _quoted(text: str) -> str:
    """A text for a quoted field, as Apache escapes it."""
    return _UNSAFE.sub(lambda found: "".join(f"\\x{octet:02x}" for octet in _octets(found[0])), text[:_LONGEST])


def _octets(character: str) -> bytes:
    return character.encode("utf-8", "surrogatepass")
