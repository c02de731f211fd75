# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a request to Forgejo's own host is told about its visitor, and what it must not be told. No mitmproxy in here.

Headers that say who the visitor is (`X-Forwarded-*`, `Forwarded`, `X-Real-IP`) are believed from trusted proxies only;
from anybody else they are removed, and in both cases set anew. `X-WEBAUTH-*` would log somebody in and is always
removed. Our own hop mark is the same in every process of one deployment, so that a loop through several of them is seen
as well. Of `Upgrade` only web sockets pass: any other protocol (h2c) would be a tunnel past these rules.
"""

import hashlib
import ipaddress
import logging
import re
from collections.abc import Container, Iterator
from typing import NamedTuple, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from addon.settings.schema import Settings

logger = logging.getLogger(__name__)

HOP_HEADER = "X-Forgejo-Pages-Hop"
_CLAIMS = ("forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip")
# Fields of one connection (RFC 9110 §7.6.1). `TE: trailers` would ask for what mitmproxy cannot relay.
_HOP_BY_HOP = ("keep-alive", "proxy-connection", "proxy-authorization", "te", "http2-settings", "upgrade", "connection")
# Fields that no `Connection` header can take out: they frame the message or say where it goes.
_NEVER_NAMED = ("host", "content-length", "transfer-encoding", HOP_HEADER.lower())
# Nothing is given back (`*+`): what could be taken by two neighbours took three seconds for one field.
_FORWARDED = re.compile(r'\s*+([!#$%&\'*+.^_`|~0-9A-Za-z-]++)\s*+=\s*+("(?:[^"\\]|\\.)*+"|[^\s;,"]*+)\s*+(?:;|\Z)')
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_UNTIL_OPEN_QUOTE = re.compile(rf'(?:[^"]|{_QUOTED})*+', re.DOTALL)
_ELEMENT = re.compile(rf'(?:[^",]|{_QUOTED})++', re.DOTALL)
_MOST_NAMED = 20
_MOST_HOPS = 32
_MOST_PARAMETERS = 16
_SPEAKING = ("x-forwarded-for", "forwarded", "x-real-ip", "x-forwarded-proto")


class Fields(Protocol):
    """Header fields as mitmproxy has them: a mapping without regard to case, in which a name may be repeated."""

    def __iter__(self) -> Iterator[str]: ...
    def __contains__(self, name: object) -> bool: ...
    def __setitem__(self, name: str, value: str) -> None: ...
    def __delitem__(self, name: str) -> None: ...
    def get_all(self, name: str) -> list[str]: ...


class Lines(Fields, Protocol):
    """The same, which can be replaced as a whole. fields: names and values as they came."""

    fields: tuple[tuple[bytes, bytes], ...]


class Visitor(NamedTuple):
    """Who asks, as far as trusted proxies say: the address, and whether they came by HTTPS.

    told: it is a trusted proxy that said by what they came. unclear: such proxies contradict each other about it.
    """

    address: str
    secure: bool
    told: bool = False
    unclear: bool = False


class Forwarding:
    """Rewrites the targets and headers of requests that pass through to Forgejo."""

    def __init__(self, settings: Settings) -> None:
        self._trusted = settings.trusted_proxies
        self._base = urlsplit(settings.forgejo_host).path.encode()
        self.hop = hashlib.sha256(f"{settings.pages_domain} {settings.forgejo_host}".encode()).hexdigest()[:16]
        self._named: set[str] = set()
        self.silent = 0
        """How many visitors trusted proxies have named without saying whether they came by HTTPS."""

    def trusts(self, address: str) -> bool:
        """Whether what this peer says of its clients is believed."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(ip, "ipv4_mapped", None)
        return any((mapped or ip) in network for network in self._trusted)

    def speaks_for_others(self, headers: Container[str], peer: str) -> bool:
        """Whether a peer is a trusted proxy that says for whom it asks: it has one connection for many visitors."""
        return any(name in headers for name in _SPEAKING) and self.trusts(peer)

    def loops(self, headers: Fields) -> bool:
        """Whether we sent this request ourselves: it came back to us."""
        return self.hop in _items(headers, HOP_HEADER)

    def target(self, path: bytes) -> bytes | None:
        """The path and query at Forgejo: below the path of forgejoHost, where it has one.

        None where dots could lead out of there, to another application on that host: also behind `%2e` and `%2f`; and
        for what is no path, which could name another host.
        """
        if path == b"*":  # of OPTIONS: about the server as such
            return path
        if not path.startswith(b"/"):
            return None
        if not self._base:
            return path
        decoded = unquote_to_bytes(path.partition(b"?")[0])
        if any(segment.partition(b";")[0] in (b".", b"..") for segment in re.split(rb"[/\\]", decoded)):
            return None
        return self._base + path

    def client(self, headers: Fields, peer: str) -> str:
        """The visitor's address: behind trusted proxies the right-most forwarded one that is none of them."""
        return self.visitor(headers, peer, False).address

    def visitor(self, headers: Fields, peer: str, tls: bool) -> Visitor:
        """Who asks. peer: the address that connected to us; tls: whether it did so over TLS."""
        if not self.trusts(peer):  # before anything that it says is read
            return Visitor(peer, tls)
        said = _forwarded(headers)
        address = self._chain(_claimed_addresses(headers, said), peer)[0]
        scheme = _claimed_scheme(headers, said)
        if scheme is not None:
            return Visitor(address, scheme == "https", told=True)
        if address != peer and not tls:
            self.silent += 1
        unclear = "x-forwarded-proto" in headers or any("proto" in element for element in said)
        return Visitor(address, tls, unclear=unclear)

    def _chain(self, claims: list[str], peer: str) -> list[str]:
        """The visitor's address, then the trusted proxies it came through, the peer, which is one, last.

        What stands left of the visitor's address was claimed by the visitor, and is left out. No more than `_MOST_HOPS`
        are gone through: nobody has as many proxies, and a field of 16 KiB may name thousands.
        """
        chain = [peer]
        for claim in claims[: -_MOST_HOPS - 1 : -1]:
            address = _address(claim)
            if address is None:  # `unknown`, or a name that hides one
                break
            chain.append(address)
            if not self.trusts(address):
                break
        return chain[::-1]

    def rewrite(self, headers: Lines, peer: str, host: str, tls: bool) -> None:
        """Make the headers say the truth about the visitor, and nothing that Forgejo would take for a login.

        peer: the address that connected to us; host: the Host header as it came; tls: whether it came over TLS.
        """
        trusted = self.trusts(peer)
        said = _forwarded(headers) if trusted else []
        chain = self._chain(_claimed_addresses(headers, said), peer) if trusted else [peer]
        scheme = (_claimed_scheme(headers, said) if trusted else None) or ("https" if tls else "http")
        hops = [*_items(headers, HOP_HEADER), self.hop]
        options = [option.lower() for option in _items(headers, "connection")]
        websocket = "upgrade" in options and [each.lower() for each in _items(headers, "upgrade")] == ["websocket"]
        unwanted = {*_HOP_BY_HOP, *(option for option in options if option not in _NEVER_NAMED)}
        dropped: set[str] = set()
        for name in {name.lower() for name in headers}:
            if name.startswith("x-webauth-") or name in unwanted:
                dropped.add(name)
            elif name.startswith("x-forwarded-") or name in _CLAIMS:
                if not trusted:
                    self._name_once(peer, name)
                dropped.add(name)
        # At once: to delete a name copies all lines, and somebody's may be thousands.
        headers.fields = tuple(line for line in headers.fields if _name(line) not in dropped)
        if websocket:
            headers["Connection"] = "Upgrade"
            headers["Upgrade"] = "websocket"
        elif "close" in options or "keep-alive" in options:
            headers["Connection"] = "close" if "close" in options else "keep-alive"
        headers["X-Forwarded-For"] = ", ".join(chain)
        headers["X-Forwarded-Proto"] = scheme
        headers["X-Forwarded-Host"] = host
        headers["X-Real-IP"] = chain[0]
        headers[HOP_HEADER] = ", ".join(hops)

    def _name_once(self, peer: str, name: str) -> None:
        if peer not in self._named and len(self._named) < _MOST_NAMED:
            self._named.add(peer)
            logger.warning("%s is not among trustedProxies: its header %s is ignored", peer, name)


def _name(line: tuple[bytes, bytes]) -> str:
    """A line's name as mitmproxy decodes it, in lower case."""
    return line[0].decode("utf-8", "surrogateescape").lower()


def _items(headers: Fields, name: str) -> list[str]:
    """The items of a comma-separated header, over all its lines."""
    return [item.strip() for value in headers.get_all(name) for item in value.split(",") if item.strip()]


def _claimed_addresses(headers: Fields, said: list[dict[str, str]]) -> list[str]:
    """Whom the proxies in front name, as they write it, the visitor first. said: what `Forwarded` says."""
    if "x-forwarded-for" in headers:
        return _items(headers, "x-forwarded-for")
    if "forwarded" in headers:
        return [element.get("for", "") for element in said]
    return headers.get_all("x-real-ip")[-1:]


def _claimed_scheme(headers: Fields, said: list[dict[str, str]]) -> str | None:
    """The visitor's scheme as the proxies in front say, where they all say the same. said: what `Forwarded` says."""
    schemes = {item.lower() for item in _items(headers, "x-forwarded-proto")}
    if not schemes:
        schemes = {element["proto"].lower() for element in said if "proto" in element}
    return schemes.pop() if len(schemes) == 1 and schemes <= {"http", "https"} else None


def _forwarded(headers: Fields) -> list[dict[str, str]]:
    """The last elements of `Forwarded` (RFC 7239), their parameters by lower-case name; a broken one is empty.

    A quote that nobody closes is passed over, for what a proxy adds stands behind it. All quotes behind it are open as
    well; to look for the end of each would take 16 KiB three seconds.
    """
    text = ",".join(headers.get_all("forwarded"))
    if not text:
        return []
    match = _UNTIL_OPEN_QUOTE.match(text)
    whole = match.end() if match is not None else 0
    elements = []
    for element in [*_ELEMENT.findall(text[:whole]), *re.findall(r'[^",]+', text[whole:])][-_MOST_HOPS:]:
        found: dict[str, str] = {}
        position = 0
        for _ in range(_MOST_PARAMETERS):
            if (match := _FORWARDED.match(element, position)) is None:
                break
            value = match[2]
            if value.startswith('"'):
                value = re.sub(r"\\(.)", r"\1", value[1:-1])
            found[match[1].lower()] = value
            position = match.end()
        elements.append(found if position == len(element) else {})
    return elements


def _address(text: str) -> str | None:
    """An IP address, also in brackets and with a port, as some proxies write it; None for anything else."""
    text = text.strip()
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}", text)
    if match:
        text = match[1] or match[2]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
