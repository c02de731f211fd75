# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Where a server is and how to introduce oneself: `Endpoint`, and the URLs that say the same.

Knows the syntax of `redis://`, `rediss://`, `valkey://`, `valkeys://` and `unix://`, and how to make a TLS context
from file names. Surprising: no message from here ever repeats a URL or any part of it but option names and numbers,
because a URL may hold a password even where one does not look for it (an unescaped `/` or `@` moves it elsewhere).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from resp.errors import AuthenticationError, InvalidArgument

#: Gives `(username, password)`, or `(password,)`, whenever a connection is made; or an object whose `get_credentials`
#: does, as those of redis-py have it. Username None: the user `default`.
Credentials = Any


@dataclass(frozen=True)
class Endpoint:
    """One server and how to log in there. Times in seconds.

    host, port: where it listens, unless `unix_socket_path` is given. tls: a context, or None for plain text.
    username, password: for AUTH; a password alone means the user `default`. credentials: gives both anew for each
    connection (tokens that expire). db: database number. protocol: 3 to use
    RESP3 where the server knows it, 2 to stay with RESP2. client_name: shown by CLIENT LIST. connect_timeout: for
    connecting including TLS and handshake. timeout: for one call, if the call does not say otherwise; None: forever.
    max_bulk, max_elements: limits for replies, see `resp.protocol.Parser`.
    """

    host: str = "localhost"
    port: int = 6379
    unix_socket_path: str | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    credentials: Credentials | None = field(default=None, repr=False)
    db: int = 0
    protocol: int = 3
    client_name: str | None = None
    connect_timeout: float = 2.0
    timeout: float | None = 5.0
    max_bulk: int = 512 * 1024 * 1024
    max_elements: int = 1 << 25

    def __post_init__(self) -> None:
        _check_text("host", self.host)
        _check_text("unix_socket_path", self.unix_socket_path, optional=True)
        if self.credentials is not None and (self.username is not None or self.password is not None):
            raise InvalidArgument("credentials are given either as username and password or by a provider")
        for name in ("username", "password", "client_name"):
            _check_text(name, getattr(self, name), optional=True)
        _check_number("port", self.port, 1, 65535)
        _check_number("db", self.db, 0, 2**31 - 1)
        _check_number("protocol", self.protocol, 2, 3)
        _check_seconds("connect_timeout", self.connect_timeout)
        if self.timeout is not None:
            _check_seconds("timeout", self.timeout)
        _check_number("max_bulk", self.max_bulk, 1, 2**40)
        _check_number("max_elements", self.max_elements, 1, 2**40)
        if self.client_name is not None and not all("!" <= char <= "~" for char in self.client_name):
            raise InvalidArgument("client_name may have printable ASCII characters without spaces only")

    def introduced(self) -> Endpoint:
        """This endpoint with the name and password to use now. Raises AuthenticationError if there are none."""
        provider = self.credentials
        if provider is None:
            return self
        try:
            given = provider.get_credentials() if hasattr(provider, "get_credentials") else provider()
            *name, password = (given,) if isinstance(given, str) else given
            return replace(self, username=name[0] if name else None, password=password, credentials=None)
        except Exception as error:
            # Never with its text, which may repeat what it has of a credential.
            failure = AuthenticationError("NOAUTH", f"the provider of credentials failed ({type(error).__name__})")
        try:
            raise failure
        finally:
            del failure  # no cycle of exception and frame

    def __str__(self) -> str:
        if self.unix_socket_path is not None:
            return self.unix_socket_path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _check_text(name: str, value: object, *, optional: bool = False) -> None:
    if value is None and optional:
        return
    if not isinstance(value, str) or "\0" in value:
        raise InvalidArgument(f"{name} must be a str without NUL, not {type(value).__name__}")


def _check_number(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidArgument(f"{name} must be an int from {least} to {most}")


def _check_seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e8:
        raise InvalidArgument(f"{name} must be a positive number of seconds")


_VERIFY: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def tls_context(
    *,
    ca_certs: str | None = None,
    ca_data: str | bytes | None = None,
    certfile: str | None = None,
    keyfile: str | None = None,
    password: str | None = None,
    cert_reqs: str | ssl.VerifyMode = "required",
    check_hostname: bool = True,
) -> ssl.SSLContext:
    """A TLS context for clients; certificates are checked, unless `cert_reqs` says "none" or "optional".

    ca_certs, certfile, keyfile: PEM files; ca_data: PEM text or DER; password: of the key file. Raises
    InvalidArgument if a file cannot be read or is not what it should be.
    """
    verify = _VERIFY.get(cert_reqs) if isinstance(cert_reqs, str) else cert_reqs
    if verify is None:
        raise InvalidArgument('ssl_cert_reqs is one of "none", "optional" and "required"')
    what = "ssl_ca_certs"
    try:
        context = ssl.create_default_context(cafile=ca_certs, cadata=ca_data)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = check_hostname and verify is ssl.CERT_REQUIRED
        context.verify_mode = verify
        if certfile is not None:
            what = "ssl_certfile"
            # Without a password of its own OpenSSL would ask on the terminal.
            context.load_cert_chain(certfile, keyfile, password if password is not None else "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        raise InvalidArgument(f"{what} cannot be used: {reason}") from None
    return context


_SCHEMES: Final = frozenset({"redis", "rediss", "valkey", "valkeys", "unix", "redis+unix", "valkey+unix"})
# Several servers: `redis+sentinel`, `rediss+cluster` and so on.
_FLEETS: Final = frozenset(
    f"{scheme}+{fleet}" for scheme in ("redis", "rediss", "valkey", "valkeys") for fleet in ("sentinel", "cluster")
)
SENTINEL_PORT: Final = 26379
PORT: Final = 6379
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
# What the query part of a URL may say, and what type it is.
_OPTIONS: Final[dict[str, type]] = {
    "db": int,
    "username": str,
    "password": str,
    "protocol": int,
    "client_name": str,
    "timeout": float,
    "connect_timeout": float,
    "wait_timeout": float,
    "pool_size": int,
    "max_connections": int,
    "max_idle_time": float,
    "max_life_time": float,
    "max_bulk": int,
    "max_elements": int,
    "retries": int,
    "decode": bool,
    "breaker": bool,
    "ssl_ca_certs": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_password": str,
    "ssl_cert_reqs": str,
    "ssl_check_hostname": bool,
    "sentinel_username": str,
    "sentinel_password": str,
    "read_from": str,
}
# The same things as redis-py calls them.
_ALIASES: Final = {
    "socket_timeout": "timeout",
    "socket_connect_timeout": "connect_timeout",
    "decode_responses": "decode",
}
# Options of redis-py that say here what is the case anyway, with the only values that do.
_NEEDLESS: Final[dict[str, frozenset[str] | None]] = {
    "socket_keepalive": _TRUE,
    "retry_on_timeout": _FALSE,
    "health_check_interval": None,
    "encoding": frozenset({"utf-8", "utf8"}),
    "encoding_errors": frozenset({"strict", "surrogateescape"}),
    "socket_read_size": None,
    "lib_name": None,
    "lib_version": None,
}
# What to use in the place of options that redis-py has and that are not here.
_INSTEAD: Final = {
    **{theirs: f"it is called {ours} here" for theirs, ours in _ALIASES.items()},
    "socket_keepalive": "it is always on",
    "retry_on_timeout": "a command that may have been executed is never sent again; `retries` is for the others",
    "retry_on_error": "a command that may have been executed is never sent again; `retries` is for the others",
    "retry": "`retries` takes a number or a resp.Retry",
    "health_check_interval": "idle connections are looked at before they are used, without asking the server",
    "encoding": "text is UTF-8",
    "encoding_errors": "bytes that are no UTF-8 come as surrogate escapes",
    "credential_provider": "it is called credentials here",
    "connection_pool": "a client makes its own: pool_size, max_connections",
    "single_connection_client": "max_connections=1 comes near it",
    "ssl_ca_path": "use ssl_ca_certs, or ssl=an ssl.SSLContext",
    "ssl_min_version": "use ssl=an ssl.SSLContext",
    "ssl_ciphers": "use ssl=an ssl.SSLContext",
    "ssl_validate_ocsp": "use ssl=an ssl.SSLContext",
    "cache_config": "resp.Tracking tells what to forget; the cache is yours",
}


def unknown_option(name: str) -> str:
    """What to say of an option that nobody here knows."""
    advice = _INSTEAD.get(name)
    if advice is not None:
        return f"no option {name!r}: {advice}"
    import difflib  # seldom needed, and slow to come

    near = difflib.get_close_matches(name, _OPTIONS, 1)
    return f"no option {name[:40]!r}" + (f": is {near[0]!r} meant?" if near else "")


def parse_url(url: str) -> dict[str, Any]:
    """The keyword arguments of `Client` that a URL stands for.

    `redis://[[user]:password@]host[:port][/db][?option=value…]`, also `valkey://`; `rediss://` and `valkeys://` with
    TLS; `unix://[[user]:password@]/path/of.sock[?db=0…]`; `redis+sentinel://[…@]host[:port],…/MASTER[/db]` with the
    addresses of sentinels; `redis+cluster://[…@]host[:port],…` with some nodes of a cluster. User, password and path
    are percent-decoded, an IPv6 address stands in brackets, options are those of `Client`. Raises InvalidArgument,
    never showing the URL.
    """
    if not isinstance(url, str):
        raise InvalidArgument("a URL must be a str")
    scheme = url.partition("://")[0].lower()
    if scheme in _FLEETS:
        return _parse_fleet(url, *scheme.split("+"))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidArgument("this URL cannot be read: its port or its brackets are wrong") from None
    if parts.scheme not in _SCHEMES:
        raise InvalidArgument(
            "a URL must begin with redis://, rediss://, valkey://, valkeys://, unix://, redis+sentinel:// or "
            "redis+cluster://"
        )
    if parts.fragment:
        raise InvalidArgument("a URL with a '#': write it as %23 in a password")
    options: dict[str, Any] = _query(parts)
    if parts.username:
        options["username"] = unquote(parts.username)
    if parts.password:
        options["password"] = unquote(parts.password)
    if parts.scheme.endswith("unix"):
        path = unquote(parts.path)
        host = unquote(parts.netloc.rpartition("@")[2])
        if not path and not host:
            raise InvalidArgument("a unix:// URL needs the path of the socket: unix:///run/valkey.sock")
        # `unix://relative/path` has its first segment where a host would be.
        options["unix_socket_path"] = host + path
        return options
    options["host"] = unquote(parts.hostname) if parts.hostname else "localhost"
    if port is not None:
        options["port"] = port
    path = parts.path.strip("/")
    if path:
        if not (path.isascii() and path.isdigit() and len(path) < 10):
            raise InvalidArgument("the path of a URL is the number of a database: redis://host:6379/0")
        options.setdefault("db", int(path))
    if parts.scheme in ("rediss", "valkeys"):
        options["ssl"] = True
    return options


def _parse_fleet(url: str, scheme: str, fleet: str) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidArgument("this URL cannot be read: its brackets are wrong") from None
    if parts.fragment:
        raise InvalidArgument("a URL with a '#': write it as %23 in a password")
    options = _query(parts)
    login, _, places = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    if user:
        options["username"] = unquote(user)
    if password:
        options["password"] = unquote(password)
    if scheme in ("rediss", "valkeys"):
        options["ssl"] = True
    words = [unquote(word) for word in parts.path.split("/") if word]
    if fleet == "cluster":
        options["cluster"] = hosts(places, PORT)
        if len(words) > 1:
            raise InvalidArgument("the path of a redis+cluster:// URL is at most the number of a database")
        database = words
    else:
        options["sentinels"] = hosts(places, SENTINEL_PORT)
        if not words or len(words) > 2:
            raise InvalidArgument("the path of a redis+sentinel:// URL is /MASTER or /MASTER/DB")
        options["sentinel_master"] = words[0]
        database = words[1:]
    for word in database:
        if not (word.isascii() and word.isdigit() and len(word) < 10):
            raise InvalidArgument("a database in the path of a URL is a number")
        options.setdefault("db", int(word))
    return options


def hosts(places: str | Iterable[str | tuple[str, int]], port: int) -> list[tuple[str, int]]:
    """Addresses out of `host:port,[ipv6]:port,host` or a collection of such, or of pairs. Raises InvalidArgument."""
    found: list[tuple[str, int]] = []
    for place in places.split(",") if isinstance(places, str) else places:
        if not isinstance(place, str):
            host, number = place
            found.append((str(host), int(number)))
            continue
        try:
            parts = urlsplit(f"//{place.strip()}")
            name, number = parts.hostname, parts.port or port
        except ValueError:
            name = None
        if not name or parts.path or "@" in place:
            raise InvalidArgument("an address is host:port, [IPv6]:port or host; several are separated by commas")
        found.append((unquote(name), number))
    if not found:
        raise InvalidArgument("at least one address is needed")
    return found


def _query(parts: SplitResult) -> dict[str, Any]:
    options: dict[str, Any] = {}
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise InvalidArgument("the options of this URL cannot be read") from None
    for name, text in pairs:
        lowered = text.lower()
        if name in _NEEDLESS:
            allowed = _NEEDLESS[name]
            if allowed is None or lowered in allowed:
                continue
            raise InvalidArgument(f"{unknown_option(name)} (in a URL)")
        name = _ALIASES.get(name, name)
        kind = _OPTIONS.get(name)
        if kind is None:
            known = ", ".join(sorted(_OPTIONS))
            raise InvalidArgument(f"unknown option in a URL: {unknown_option(name)}; known are: {known}")
        try:
            if kind is bool:
                if lowered not in _TRUE | _FALSE:
                    raise ValueError
                options[name] = lowered in _TRUE
            elif kind is float and lowered in ("none", ""):
                options[name] = None
            else:
                options[name] = kind(text)
        except ValueError:
            raise InvalidArgument(f"option {name} in a URL must be of type {kind.__name__}") from None
    return options
