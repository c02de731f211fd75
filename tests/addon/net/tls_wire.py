# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Certificates made for names, and a TLS client on asyncio's streams that can say that nothing more comes, and read on.

asyncio's own client cannot be half-closed, and ssl's sockets cannot be told how much to read.
"""

import _ssl
import asyncio
import contextlib
import ctypes
import datetime
import ipaddress
import ssl
import sys
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from addon.net.certificates import CertificateFiles

CAN_ASK_FOR_KEY_UPDATE = hasattr(_ssl, "__file__") and sys.version_info < (3, 14)
"""Whether OpenSSL can be called by itself: it is a library of its own, and where Python keeps a session is known."""


def make_pair(folder: Path, stem: str, *names: str, days: int = 2) -> CertificateFiles:
    """A self-signed certificate for host names and addresses, and its key, in files of that stem."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, stem)])
    now = datetime.datetime.now(datetime.UTC)
    general: list[x509.GeneralName] = []
    for name in names:
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now + datetime.timedelta(days=days))
    )
    if general:
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    files = CertificateFiles(folder / f"{stem}.pem", folder / f"{stem}.key")
    files.cert.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files.key.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return files


def client_context(*alpn: str) -> ssl.SSLContext:
    """A client that takes any certificate: which one it was given, a test asks itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class SecureWriter:
    """What is written to a server over TLS; as `asyncio.StreamWriter`, as far as tests use it."""

    def __init__(self, session: ssl.SSLObject, outgoing: ssl.MemoryBIO, writer: asyncio.StreamWriter) -> None:
        self.session = session
        self._outgoing = outgoing
        self._writer = writer
        self.transport = writer.transport
        self.pump: asyncio.Task[None] | None = None

    def write(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            at += self.session.write(data[at:])
        self.flush()

    def flush(self) -> None:
        """Send what OpenSSL has made."""
        self._writer.write(self._outgoing.read())

    def ask_for_key_update(self) -> None:
        """Have the server change its keys (RFC 8446 §4.6.3). Python has no way to: OpenSSL is asked itself."""
        openssl = ctypes.CDLL(_ssl.__file__)
        # In memory, the session is the second pointer behind the object's head: see CAN_ASK_FOR_KEY_UPDATE.
        inner = id(self.session._sslobj)  # type: ignore[attr-defined]
        session = ctypes.c_void_p.from_address(inner + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p))
        assert openssl.SSL_key_update(session, 1) == 1
        openssl.SSL_do_handshake(session)
        self.flush()

    async def drain(self) -> None:
        await self._writer.drain()

    def write_eof(self) -> None:
        """Say that nothing more comes (close_notify), and no more than that: the socket stays open."""
        with contextlib.suppress(ssl.SSLError):  # it would like to read the server's
            self.session.unwrap()
        self.flush()

    def is_closing(self) -> bool:
        return self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()

    def get_extra_info(self, name: str) -> Any:
        return self._writer.get_extra_info(name)


async def open_secure(
    port: int,
    name: str | None,
    context: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None,
    limit: int = 1 << 24,
) -> tuple[asyncio.StreamReader, SecureWriter]:
    """Connect to loopback over TLS; raises SSLError where the server refuses. name: the SNI. session: to be resumed."""
    raw, below = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secured = (context or client_context()).wrap_bio(incoming, outgoing, server_hostname=name, session=session)
    writer = SecureWriter(secured, outgoing, below)
    reader = asyncio.StreamReader(limit=limit)
    while True:
        try:
            secured.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.flush()
            data = await raw.read(65536)
            if not data:
                raise ConnectionResetError("closed in the handshake") from None
            incoming.write(data)
        except ssl.SSLError:
            writer.flush()
            below.transport.abort()
            raise
    writer.flush()
    writer.pump = asyncio.get_running_loop().create_task(_pump(raw, secured, incoming, reader))
    return reader, writer


async def _pump(raw: asyncio.StreamReader, secured: ssl.SSLObject, incoming: ssl.MemoryBIO, to: Any) -> None:
    """Decrypt what comes; its end is close_notify, or the connection's."""
    try:
        while True:
            try:
                while data := secured.read(65536):
                    to.feed_data(data)
                break
            except ssl.SSLWantReadError:
                data = await raw.read(65536)
                if not data:
                    to.truncated = True
                    break
                incoming.write(data)
            except ssl.SSLZeroReturnError:
                break
    except Exception as error:
        to.set_exception(error)
    else:
        to.feed_eof()
