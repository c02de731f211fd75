# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The forms of a line of the access log: our JSON, the combined format of Apache and nginx, and Caddy's JSON.

Pure: an entry in, a line out; what comes again has its parts made once. No form has a query, of the request or of the
page that led there, for both carry tokens. What a client may choose is escaped so that it can neither end a line nor a
quoted field, nor move a terminal's cursor.
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
Parts = tuple[str, str]


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


class Form(NamedTuple):
    """A form of a line.

    parts: what of it is the same whenever the request comes again and is answered so, whoever asks: middle and end.
    line: the whole of it, from when, who asked, the seconds that it took, the parts, and how many lines were dropped
    before.
    """

    parts: Callable[[Entry], Parts]
    line: Callable[[float, str, float, Parts, int], str]

    def of(self, entry: Entry) -> str:
        """The line of a request, without its line end."""
        return self.line(entry.at, entry.client, entry.seconds, self.parts(entry), entry.dropped_before)


def _json_parts(entry: Entry) -> Parts:
    """Ours: a field is there where it says something."""
    # By hand: `json.dumps` and `isoformat` for each line were a third of a request's cost.
    middle = (
        f', "method": {_json(entry.method)}, "host": {_json(entry.host)}, "path": {_json(entry.path)}, '
        f'"status": {entry.status}, "bytes": {entry.nbytes}, "ms": '
    )
    end = ""
    if entry.cache:
        end += f', "cache": {_json(entry.cache)}'
    if entry.seen.protocol:
        end += f', "protocol": {_json(entry.seen.protocol)}, "tls": {"true" if entry.seen.tls else "false"}'
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
            end += f', "{name}": {_json(value)}'
    return middle, end


def _json_line(at: float, client: str, seconds: float, parts: Parts, dropped: int) -> str:
    second = int(at)
    middle, end = parts
    if dropped:
        end += f', "dropped_before": {dropped}'
    return (
        f'{{"time": "{_second(second)}.{int((at - second) * 1000):03d}+00:00", "client": {_json(client)}{middle}'
        f"{round(seconds * 1000, 2)}{end}}}"
    )


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


def _combined_parts(entry: Entry) -> Parts:
    """Apache's and nginx's `combined`, which every log reader knows."""
    asked = (
        f"{_quoted(entry.method)} {_quoted(entry.path)} {entry.seen.protocol or 'HTTP/1.1'}" if entry.method else "-"
    )
    referer, agent = _quoted(referer_of(entry)) or "-", _quoted(agent_of(entry)) or "-"
    return "", f'] "{asked}" {entry.status} {entry.nbytes} "{referer}" "{agent}"'


def _combined_line(at: float, client: str, seconds: float, parts: Parts, dropped: int) -> str:
    return f"{client or '-'} - - [{_combined_second(int(at))}{parts[1]}"


@lru_cache(maxsize=2)
def _combined_second(second: int) -> str:
    """The time is UTC, English whatever the locale."""
    at = datetime.fromtimestamp(second, UTC)
    return f"{at.day:02}/{_MONTHS[at.month - 1]}/{at.year}:{at:%H:%M:%S} +0000"


def _caddy_parts(entry: Entry) -> Parts:
    """Caddy's, as far as its readers look: the fields that they need are there, always."""
    headers = {"User-Agent": [agent_of(entry) or "-"], "Referer": [referer_of(entry) or "-"]}
    request: dict[str, object] = {
        "proto": entry.seen.protocol or "HTTP/1.1",
        "method": entry.method or "-",
        "host": entry.host,
        "uri": entry.path or "-",
        "headers": headers,
    }
    middle = json.dumps(request, ensure_ascii=True)[1:]
    return f', {middle}, "duration": ', f', "size": {entry.nbytes}, "status": {entry.status}, "resp_headers": {{}}}}'


def _caddy_line(at: float, client: str, seconds: float, parts: Parts, dropped: int) -> str:
    middle, end = parts
    address = _json(client)
    return (
        f'{{"level": "info", "ts": {round(at, 6)}, "logger": "http.log.access", "msg": "handled request", '
        f'"request": {{"remote_ip": {address}, "client_ip": {address}{middle}{round(seconds, 6)}{end}'
    )


FORMATS: Final[dict[str, Form]] = {
    "json": Form(_json_parts, _json_line),
    "combined": Form(_combined_parts, _combined_line),
    "caddy": Form(_caddy_parts, _caddy_line),
}


@lru_cache(maxsize=1024)
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
