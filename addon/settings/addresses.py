# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""Host names, addresses and URLs as people write them in the settings, and the one form in which we hold them.

Knows the syntax only: nothing here asks DNS or opens a socket. Each parser raises `Expected` with a remedy. Names are
held in lower case and in IDNA form; where Python's IDNA 2003 and the browsers' IDNA 2008 make different hosts out of
one name, the name is refused, because serving the wrong one would look like serving none.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from addon.net.certificates import CertificateFiles
from addon.settings.options import Expected

_SENTINEL_PORT = 26379
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ListenAddress(NamedTuple):
    """Where to listen. An empty host is every address of the machine; port 0 lets the system choose.

    tls: the certificates to listen with; none is plain HTTP.
    """

    host: str
    port: int
    tls: tuple[CertificateFiles, ...] = ()

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


# Host names proper (RFC 952, RFC 1123), and what container networks use for names as well.
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_LOOSE_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# IDNA 2003, which Python has, folds these away; IDNA 2008, which browsers use, keeps them: two different hosts.
_DEVIATIONS = re.compile("[ßς\u200c\u200d]")


def host_name(text: str) -> str:
    """A host name in lower case and IDNA form, without a trailing dot; no address, no port, no scheme."""
    what = "a host name such as pages.example.org"
    if "://" in text or text.startswith("//"):
        raise Expected(what, "leave out the scheme")
    if "/" in text:
        raise Expected(what, "leave out the path")
    if text.startswith("*."):
        raise Expected(what, "leave out the `*.`: all names below it are meant anyway")
    if re.search(r"[^:]:[0-9]*$", text) and text.count(":") == 1:
        raise Expected(what, "leave out the port: `listen` says where this server listens")
    if _is_address(text.strip("[]")):
        raise Expected(what, "an address has no names below it")
    return _normal_name(text, _LABEL, what)


def loose_host_name(text: str) -> str:
    """A host name or address as found in a URL; `_` is allowed since container networks use it. IPv6 in brackets."""
    what = "a host name or address"
    if text.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(text[1:].removesuffix(']')).compressed}]"
        except ValueError:
            raise Expected(what) from None
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        return _normal_name(text, _LOOSE_LABEL, what)


def sentinel_addresses(text: str) -> tuple[tuple[str, int], ...]:
    """One item of a list of sentinels: `host:port`, `[IPv6]:port`, or a host alone."""
    what = "the address of a sentinel such as 10.0.0.1:26379"
    if "://" in text or "/" in text or "@" in text:
        raise Expected(what, "no scheme, no path and no password in it")
    name, colon, port = text.rpartition(":") if re.search(r"(?:[^:]|\]):[0-9]+\Z", text) else (text, "", "")
    if colon and not 0 < int(port[:6]) < 65536:
        raise Expected(what, "ports go from 1 to 65535")
    try:
        host = loose_host_name(name if name.startswith("[") or ":" not in name else f"[{name}]")
    except Expected:
        raise Expected(what) from None
    return ((host.strip("[]"), int(port[:6]) if colon else _SENTINEL_PORT),)


def host_names(text: str) -> tuple[str, ...]:
    """One item of a list of host names (names without a dot are allowed, no port)."""
    if "://" in text:
        raise Expected("a host name", "leave out the scheme")
    return (loose_host_name(text),)


def domain_names(text: str) -> tuple[str, ...]:
    """One item of a list of domains."""
    return (host_name(text),)


def _normal_name(text: str, label: re.Pattern[str], what: str) -> str:
    name = text.lower().removesuffix(".")
    if not name.isascii():
        if len(name) > 253:  # before the codec, whose time grows with the square of the length
            raise Expected(what, "at most 253 characters")
        if _DEVIATIONS.search(name):
            raise Expected(what, "write it in its xn-- form, as your registrar or browser shows it")
        try:
            name = name.encode("idna").decode("ascii").lower().removesuffix(".")
        except UnicodeError:
            raise Expected(what) from None
    if len(name) > 253:
        raise Expected(what, "at most 253 characters")
    labels = name.split(".")
    if not all(label.fullmatch(each) for each in labels):
        raise Expected(what)
    # What ends in a number is an address to browsers and inet_aton: 127.1, 0x7f000001 (WHATWG URL).
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        raise Expected(what, "the last part of a name is no number")
    return name


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def web_address(text: str) -> str:
    """An http or https URL with an optional path, normalised: lower-case host, no default port, no trailing slash."""
    what = "a URL such as https://git.example.org"
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise Expected(what, "begin it with https:// or http://")
    scheme = scheme.lower()
    if scheme not in ("http", "https"):
        raise Expected(what, "begin it with https:// or http://")
    if "@" in rest:
        raise Expected(what, "no user name or password in it")
    if "?" in rest or "#" in rest:
        raise Expected(what, "no ? or # in it")
    authority, slash, path = rest.partition("/")
    host, port = split_port(authority, what)
    if port == 0 or not host:
        raise Expected(what)
    path = (slash + path).rstrip("/")
    if not re.fullmatch(r"(?:/(?!\.{1,2}(?:/|$))(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})+)*", path):
        raise Expected(what, "its path holds something that no path should hold")
    default = {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{loose_host_name(host)}{f':{port}' if port not in (None, default) else ''}{path}"


def forge_address(text: str) -> str:
    """The root of a Forgejo: a `web_address`, not its API's."""
    try:
        address = web_address(text)
    except Expected as wrong:
        if "://" not in text and re.fullmatch(r"[^\s@?#]+", text):
            wrong.hint = f"write https://{text.strip('/')} or http://{text.strip('/')}"
        raise
    if re.search(r"/api(/v1)?$", address, re.I):
        raise Expected("the address that people open in the browser", "leave out the /api/v1")
    return address


def public_host(text: str) -> str:
    """A host name, or a URL whose host and scheme count: `git.example.org` or `https://git.example.org`."""
    what = "a host name such as git.example.org, or its URL"
    if "://" in text:
        address = urlsplit(web_address(text))
        host, _ = split_port(address.netloc, what)
        return f"{address.scheme}://{host}"
    if "/" in text:
        raise Expected(what, "write the URL with its https://, or the host alone")
    host, _ = split_port(text, what)
    return loose_host_name(host)


def split_port(text: str, what: str) -> tuple[str, int | None]:
    """`host:port` in two; an IPv6 address is in brackets and keeps them. The port may be missing."""
    match = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?", text)
    if match is None:
        raise Expected(what, "an IPv6 address stands in brackets: [::1]" if text.count(":") > 1 else "")
    port = int(match[2]) if match[2] else None
    if port is not None and port > 65535:
        raise Expected(what, "a port is at most 65535")
    return match[1], port


def listen_addresses(text: str) -> tuple[ListenAddress, ...]:
    """One item of `listen`: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`; `:8080` and `8080` mean every address."""
    what = "an address and a port such as 127.0.0.1:8080"
    if text.lower().startswith("https://"):
        raise Expected(what, "for HTTPS write {address: 0.0.0.0:443, tls: {cert: FILE, key: FILE}}")
    if "/" in text:
        raise Expected(what, "an address, not a URL or a path")
    if re.fullmatch("[0-9]{1,5}", text):
        text = f":{text}"
    host, port = split_port(text, what)
    if port is None:
        raise Expected(what, f"add a port: {host or '127.0.0.1'}:8080")
    if host in ("", "*"):
        return (ListenAddress("", port),)
    return (ListenAddress(loose_host_name(host).strip("[]"), port),)


def admin_addresses(text: str) -> tuple[ListenAddress, ...]:
    """As `listen_addresses`, and `off`."""
    return () if text.lower() in ("off", "false", "no") else listen_addresses(text)


_NETWORK_WORDS = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    # RFC 1918 and RFC 4193; nothing that a stranger on the same link could choose for himself.
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
}


def networks(text: str) -> tuple[Network, ...]:
    """One item of a list of addresses and networks; `loopback` and `private` stand for several."""
    what = "an address or network such as 10.0.0.0/8, or `loopback` or `private`"
    try:
        return tuple(ipaddress.ip_network(each) for each in _NETWORK_WORDS.get(text.lower(), (text,)))
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise Expected(what) from None
        raise Expected(what, f"write {meant}") from None


def addresses(text: str) -> tuple[str, ...]:
    """One item of a list of IP addresses, each with an optional port: `9.9.9.9`, `[2620:fe::fe]:53`."""
    what = "an IP address such as 9.9.9.9, or one with a port such as 127.0.0.1:5353"
    if _is_address(text):
        return (text,)
    host, port = split_port(text, what)
    if not _is_address(host.strip("[]")) or port == 0:
        raise Expected(what)
    return (text,)
