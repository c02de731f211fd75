# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The certificates of a listener: read, checked, chosen by the name that is asked for, read again when they change.

Nothing is ever signed here, and a name that no certificate has is refused in the handshake, as is who speaks no
protocol of ours. Names that are not for HTTP/2, Forgejo's own, are offered HTTP/1.1 alone. Who was shown one
certificate and then asks for a host that another has is misdirected (`ShownNames`). All sessions begin with one context
that holds no certificate and lives as long as the process: it has the keys of session tickets, so that clients resume
across a renewal. Only what it hands out is replaced.
"""

import asyncio
import datetime
import logging
import ssl
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from addon.net.background import ended

logger = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
"""How often the files are looked at."""
_MOST_BYTES = 1024 * 1024
_HTTP1, _HTTP2 = "http/1.1", "h2"
_ONLY_HTTP1, _BOTH = frozenset((b"http/1.1",)), frozenset((b"http/1.1", b"h2"))
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: none without forward secrecy, none in CBC mode (RFC 9113 §9.2.2 forbids those to HTTP/2)."""
_MOST_HOSTS = 1024
_NO_APPLICATION_PROTOCOL = 120
"""RFC 7301 §3.2"""


class CertificateFiles(NamedTuple):
    """Where a certificate with its chain, and its key, are: both PEM; both may be in one file."""

    cert: Path
    key: Path


class CertificateFault(Exception):
    """A certificate cannot be used: the file, why, and what to do. No content of a file is in it."""


class Certificate(NamedTuple):
    """A certificate in use. names: host names in lower case, a wildcard as `*.example.org`. http1: offers no HTTP/2."""

    context: ssl.SSLContext
    http1: ssl.SSLContext
    names: frozenset[str]
    expires: datetime.datetime


def read(files: CertificateFiles, *, http2: bool = True) -> Certificate:
    """Read a pair of files; blocks. Raises CertificateFault."""
    pem = _content(files.cert, "certificate")
    _content(files.key, "key")
    try:
        leaf = x509.load_pem_x509_certificates(pem)[0]
        names = _names(leaf)
    except (ValueError, IndexError):
        raise CertificateFault(
            f"expected a certificate in PEM form (-----BEGIN CERTIFICATE-----), found something else in {files.cert}"
        ) from None
    if not names:
        raise CertificateFault(
            f"the certificate in {files.cert} names no host (subjectAltName): no client could ask for it"
        )
    context, http1 = _context(http2), _context(False)
    encrypted = []

    def password() -> str:
        encrypted.append(True)  # without this, OpenSSL would ask on the terminal
        return ""

    try:
        for each in (context, http1):
            each.load_cert_chain(files.cert, files.key, password)
    except ssl.SSLError as error:
        if encrypted:
            reason = f"the key in {files.key} has a password: take it off (openssl pkey -in FILE -out NEW)"
        elif error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            reason = f"the key in {files.key} is not that of the certificate in {files.cert}: name the pair"
        elif error.reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"):
            reason = f"the certificate in {files.cert} is too weak: take a key of 2048 bits or more, and SHA-256"
        else:
            reason = f"expected a private key in PEM form, found something else in {files.key}"
        raise CertificateFault(reason) from None
    except OSError as error:
        raise CertificateFault(f"{files.key} cannot be read ({error.strerror})") from None
    return Certificate(context, http1, names, leaf.not_valid_after_utc)


def certificate_warning(files: CertificateFiles, certificate: Certificate) -> str | None:
    """What is strange about a certificate that can be used all the same."""
    now = datetime.datetime.now(datetime.UTC)
    if certificate.expires < now:
        return f"the certificate in {files.cert} expired on {certificate.expires:%Y-%m-%d}: browsers refuse it"
    return None


def _content(file: Path, what: str) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise CertificateFault(
            f"the {what} {file} cannot be read ({error.strerror}): name a file that this user may read"
        ) from None
    if len(data) > _MOST_BYTES:
        raise CertificateFault(f"{file} is larger than 1 MiB: this is no {what}")
    return data


def _names(leaf: x509.Certificate) -> frozenset[str]:
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset()
    names = {name.lower().removesuffix(".") for name in extension.value.get_values_for_type(x509.DNSName)}
    # A client does not ask for an address by name, so one certificate with nothing else can still be the only one.
    return frozenset(names | {str(each) for each in extension.value.get_values_for_type(x509.IPAddress)})


def _context(http2: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # then a write never waits for something to be read
    context.options |= ssl.OP_NO_COMPRESSION
    context.num_tickets = 1  # a connection of HTTP/2 is the only one; each costs a twentieth of a handshake
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols([_HTTP2, _HTTP1] if http2 else [_HTTP1])
    return context


class ShownNames:
    """For which hosts a connection may be used on which a certificate was shown (RFC 9110 §15.5.20, RFC 9113 §9.1.1).

    Not for those that another certificate of the listener has. A host that none has is nobody's to refuse here: a proxy
    in front may ask for custom domains on a connection to one name.
    """

    __slots__ = ("__weakref__", "_by_name", "_found", "_own")

    def __init__(self, own: Certificate, by_name: Mapping[str, Certificate]) -> None:
        self._own = own
        self._by_name = by_name
        self._found: dict[str, bool] = {}  # what was asked before, for connections ask for the same again and again

    def take(self, host: str) -> bool:
        """Whether a request for a host, in lower case and without a port, may come here."""
        found = self._found.get(host)
        if found is None:
            wildcard = "*." + host.partition(".")[2]
            other = self._by_name.get(host) or self._by_name.get(wildcard)
            found = other is None or other is self._own or not self._own.names.isdisjoint((host, wildcard))
            if len(self._found) >= _MOST_HOSTS:
                self._found.clear()
            self._found[host] = found
        return found


Stamp = tuple[tuple[int, int, int] | None, ...]


def _stamp(files: CertificateFiles) -> Stamp:
    """What tells a changed pair of files from an unchanged one."""
    stamps: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            found = file.stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
    return tuple(stamps)


class Certificates:
    """The certificates of one listener. State: what each pair of files held when it was last read without a fault."""

    def __init__(
        self, files: Sequence[CertificateFiles], *, http2: bool, http1_names: Collection[str] = frozenset()
    ) -> None:
        """Reads them all; blocks. http1_names: those that are offered HTTP/1.1 alone. Raises CertificateFault."""
        self._files = tuple(files)
        self._http2 = http2
        self._http1_names = frozenset(http1_names)
        self._stamps = {each: _stamp(each) for each in self._files}
        self._known = {each: read(each, http2=http2) for each in self._files}
        self._by_name: dict[str, Certificate] = {}
        self._arrange()
        self.context = _context(http2)
        self.context.sni_callback = self._choose

    def _arrange(self) -> None:
        """The first that has a name is the one for it."""
        by_name: dict[str, Certificate] = {}
        for each in self._files:
            for name in self._known[each].names:
                by_name.setdefault(name, self._known[each])
        self._by_name = by_name
        # With one certificate there is nothing to confuse. A connection keeps what was so when it began.
        several = self._known.values() if len(self._known) > 1 else ()
        self._shown = {each.context: ShownNames(each, by_name) for each in several}

    def chosen(self, name: str | None) -> ssl.SSLContext | None:
        """The context for the name that a client asks for; None if there is none.

        A wildcard stands for one label (RFC 6125 §6.4.3). Without a name: the certificate, if there is only one.
        """
        found = self._certificate(name)
        if found is None:
            return None
        if not name:
            return found.http1 if self._http1_names else found.context  # it may be for one of those
        return found.http1 if name.lower().removesuffix(".") in self._http1_names else found.context

    def _certificate(self, name: str | None) -> Certificate | None:
        if not name:
            return self._known[self._files[0]] if len(self._files) == 1 else None
        name = name.lower().removesuffix(".")
        return self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])

    def _choose(self, session: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        try:
            context = self.chosen(name)
        except Exception:
            logger.exception("no certificate could be chosen")
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        if context is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        session.context = context
        certificate = self._certificate(name)
        if certificate is not None:
            session.shown = self._shown.get(certificate.context)  # type: ignore[union-attr]  # for who serves
        # What the transport has read of the hello, for OpenSSL would go on without a protocol.
        offered = getattr(session, "offered", None)
        if offered is not None and not self._protocols(name).intersection(offered):
            return _NO_APPLICATION_PROTOCOL
        return None

    def _protocols(self, name: str | None) -> frozenset[bytes]:
        http1 = not self._http2 or (not name and self._http1_names)
        http1 = http1 or (name or "").lower().removesuffix(".") in self._http1_names
        return _ONLY_HTTP1 if http1 else _BOTH

    def expiries(self) -> dict[str, float]:
        """When each certificate ends, in seconds since 1970, by the name of its file."""
        return {files.cert.name: known.expires.timestamp() for files, known in self._known.items()}

    def look(self) -> list[tuple[CertificateFiles, Certificate]]:
        """Read what has changed since the last look; blocks. A fault is logged, once, and what was known stays."""
        found = []
        for each in self._files:
            stamp = _stamp(each)
            if stamp == self._stamps[each]:
                continue
            self._stamps[each] = stamp
            try:
                certificate = read(each, http2=self._http2)
            except CertificateFault as fault:
                logger.error("a changed certificate cannot be used, the previous one is kept: %s", fault)
            else:
                found.append((each, certificate))
        return found

    def use(self, found: list[tuple[CertificateFiles, Certificate]]) -> None:
        """Take what `look` has found, for the handshakes from now on."""
        for files, certificate in found:
            self._known[files] = certificate
            logger.info("certificate %s reloaded, valid until %s", files.cert, certificate.expires)
            if strange := certificate_warning(files, certificate):
                logger.warning("%s", strange)
        if found:
            self._arrange()


class CertificateWatch:
    """Looks for changed files of all listeners every few seconds, away from the loop."""

    def __init__(self, watched: Sequence[Certificates], executor: Executor, interval: float = LOOK_SECONDS) -> None:
        """To be made in the loop that serves. interval: seconds."""
        self._watched = watched
        self._executor = executor
        self._interval = interval
        self._task = asyncio.get_running_loop().create_task(self._watch()) if watched else None

    def expiries(self) -> dict[str, float]:
        """When each certificate ends, in seconds since 1970, by the name of its file."""
        return {name: ends for each in self._watched for name, ends in each.expiries().items()}

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._interval)
            for certificates in self._watched:
                try:
                    certificates.use(await loop.run_in_executor(self._executor, certificates.look))
                except Exception:
                    logger.exception("checking the certificates for changes failed")

    async def aclose(self) -> None:
        """Look no more."""
        await ended(self._task)
