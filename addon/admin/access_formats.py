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
from typing import Final, NamedTuple

_LONGEST = 512
"""Characters of a field that a client chooses."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNSAFE = re.compile(r'["\\]|[^ -~]')


class Seen(NamedTuple):
    """What is noted of a request besides what it asks for. trace: the id of `traceparent`, where one came."""

    protocol: str = ""
    tls: bool = False
    agent: str = ""
    referer: str = ""
    trace: str = ""


class Entry(NamedTuple):
    """One request. at: seconds since 1970. nbytes: of the body. seconds: from its head to the end of the answer."""

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


NOTHING: Final = Seen()
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def seen(protocol: str, tls: bool, header: Callable[[bytes], bytes | None]) -> Seen:
    """What of a request's header fields is noted. header: a field's value by its lower-case name."""
    trace = _TRACE.fullmatch((header(b"traceparent") or b"")[:64].decode("latin-1"))
    return Seen(
        protocol,
        tls,
        (header(b"user-agent") or b"")[:_LONGEST].decode("latin-1"),
        (header(b"referer") or b"")[:_LONGEST].decode("latin-1").partition("?")[0].partition("#")[0],
        trace[1] if trace is not None else "",
    )


def as_json(entry: Entry) -> str:
    """Ours: a field is there where it says something."""
    line: dict[str, object] = {
        "time": datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds"),
        "client": entry.client,
        "method": entry.method,
        "host": entry.host,
        "path": entry.path,
        "status": entry.status,
        "bytes": entry.nbytes,
        "ms": round(entry.seconds * 1000, 2),
    }
    if entry.cache:
        line["cache"] = entry.cache
    if entry.seen.protocol:
        line["protocol"] = entry.seen.protocol
        line["tls"] = entry.seen.tls
    said = {"agent": entry.seen.agent, "referer": entry.seen.referer, "trace": entry.seen.trace}
    line |= {name: value for name, value in said.items() if value}
    if entry.dropped_before:
        line["dropped_before"] = entry.dropped_before
    return json.dumps(line, ensure_ascii=True)


def as_combined(entry: Entry) -> str:
    """Apache's and nginx's `combined`, which every log reader knows; the time is UTC, English whatever the locale."""
    at = datetime.fromtimestamp(entry.at, UTC)
    when = f"{at.day:02}/{_MONTHS[at.month - 1]}/{at.year}:{at:%H:%M:%S} +0000"
    asked = (
        f"{_quoted(entry.method)} {_quoted(entry.path)} {entry.seen.protocol or 'HTTP/1.1'}" if entry.method else "-"
    )
    referer, agent = _quoted(entry.seen.referer) or "-", _quoted(entry.seen.agent) or "-"
    return f'{entry.client or "-"} - - [{when}] "{asked}" {entry.status} {entry.nbytes} "{referer}" "{agent}"'


def as_caddy(entry: Entry) -> str:
    """Caddy's, as far as its readers look: the fields that they need are there, always."""
    headers = {"User-Agent": [entry.seen.agent or "-"], "Referer": [entry.seen.referer or "-"]}
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
    return character.encode("utf-8", "surrogateescape")
