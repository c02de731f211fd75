# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a request to Forgejo's own host is told about its visitor, and what it must not be told. No mitmproxy in here.

Headers that say who the visitor is (`X-Forwarded-*`, `Forwarded`, `X-Real-IP`) are believed from trusted proxies only;
from anybody else they are removed and set anew. `X-WEBAUTH-*` would log somebody in and is always removed. Our own hop
mark is the same in every process of one deployment, so that a loop through several of them is seen as well.
"""

import hashlib
import ipaddress
import logging
from collections.abc import Iterator
from typing import Protocol

from addon.settings import Settings

logger = logging.getLogger(__name__)

HOP_HEADER = "X-Forgejo-Pages-Hop"
_CLAIMS = ("forwarded", "x-real-ip", "x-client-ip", "true-client-ip")


class Fields(Protocol):
    """Header fields as mitmproxy has them: a mapping without regard to case, in which a name may be repeated."""

    def __iter__(self) -> Iterator[str]: ...
    def __contains__(self, name: object) -> bool: ...
    def __setitem__(self, name: str, value: str) -> None: ...
    def __delitem__(self, name: str) -> None: ...
    def get_all(self, name: str) -> list[str]: ...


class Forwarding:
    """Rewrites the headers of requests that pass through to Forgejo."""

    def __init__(self, settings: Settings) -> None:
        self._trusted = settings.trusted_proxies
        self.hop = hashlib.sha256(f"{settings.pages_domain} {settings.forgejo_host}".encode()).hexdigest()[:16]
        self._named: set[str] = set()

    def trusts(self, address: str) -> bool:
        """Whether what this peer says of its clients is believed."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(ip, "ipv4_mapped", None)
        return any((mapped or ip) in network for network in self._trusted)

    def loops(self, headers: Fields) -> bool:
        """Whether we sent this request ourselves: it came back to us."""
        return self.hop in headers.get_all(HOP_HEADER)

    def client(self, headers: Fields, peer: str) -> str:
        """The visitor's address: behind trusted proxies the right-most forwarded one that is none of them."""
        if not self.trusts(peer):
            return peer
        chain = [part.strip() for value in headers.get_all("x-forwarded-for") for part in value.split(",")]
        for address in reversed(chain):
            if not _is_address(address):
                break
            if not self.trusts(address):
                return address
            peer = address
        return peer

    def rewrite(self, headers: Fields, peer: str, host: str, tls: bool) -> None:
        """Make the headers say the truth about the visitor, and nothing that Forgejo would take for a login."""
        trusted = self.trusts(peer)
        client = self.client(headers, peer)
        chain = [part.strip() for value in headers.get_all("x-forwarded-for") for part in value.split(",")]
        claimed = {name: headers.get_all(name) for name in ("x-forwarded-proto", "x-forwarded-host")}
        for name in {name.lower() for name in headers}:
            if name.startswith("x-webauth-"):
                del headers[name]
            elif name.startswith("x-forwarded-") or name in _CLAIMS:
                if not trusted:
                    self._name_once(peer, name)
                del headers[name]
        if "upgrade" in headers and any("h2c" in value.lower() for value in headers.get_all("upgrade")):
            for name in ("upgrade", "http2-settings"):
                if name in headers:
                    del headers[name]
        scheme = "https" if tls else "http"
        if trusted:
            protos = claimed["x-forwarded-proto"]
            if len(protos) == 1 and protos[0].strip().lower() in ("http", "https"):
                scheme = protos[0].strip().lower()
        else:
            chain = []
        headers["X-Forwarded-For"] = ", ".join([*(part for part in chain if _is_address(part)), peer])
        headers["X-Forwarded-Proto"] = scheme
        headers["X-Forwarded-Host"] = host
        headers["X-Real-IP"] = client
        headers[HOP_HEADER] = self.hop

    def _name_once(self, peer: str, name: str) -> None:
        if peer not in self._named and len(self._named) < 20:
            self._named.add(peer)
            logger.warning("%s is not among trustedProxies: its header %s is not believed", peer, name)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
