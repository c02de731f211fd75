# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Certificates for tests of TLS, made anew in every run.

A small authority signs one server certificate (localhost, 127.0.0.1, ::1) and one client certificate; a second
authority, trusted by nobody, signs a client certificate that a server must refuse. Keys are elliptic-curve keys,
because making four RSA keys would cost a slow machine more seconds than all the tests that use them.
"""

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files, and the TLS contexts made from them."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    stranger: Path
    stranger_key: Path

    def server_context(self, *, ask_client: bool = False) -> ssl.SSLContext:
        """Context of a server; with `ask_client` it refuses clients without a certificate of the authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server, self.server_key)
        if ask_client:
            context.load_verify_locations(self.authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self, *, certificate: bool = False) -> ssl.SSLContext:
        """Context of a client that trusts the authority, optionally with its own certificate."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if certificate:
            context.load_cert_chain(self.client, self.client_key)
        return context


def make_certificates(folder: Path) -> Certificates:
    """Write authority, server and client certificates with their keys into `folder`."""
    authority_key, authority = _authority("authority of the tests")
    stranger_authority_key, stranger_authority = _authority("authority of nobody")
    _write(folder / "authority.pem", authority)
    server, server_key = folder / "server.pem", folder / "server.key"
    client, client_key = folder / "client.pem", folder / "client.key"
    stranger, stranger_key = folder / "stranger.pem", folder / "stranger.key"
    _leaf(authority, authority_key, "localhost", server, server_key)
    _leaf(authority, authority_key, "client of the tests", client, client_key)
    _leaf(stranger_authority, stranger_authority_key, "client of nobody", stranger, stranger_key)
    return Certificates(folder / "authority.pem", server, server_key, client, client_key, stranger, stranger_key)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
    )


def _authority(subject: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    certificate = (
        _builder(subject, _name(subject), key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _leaf(issuer: x509.Certificate, issuer_key: ec.EllipticCurvePrivateKey, name: str, path: Path, key: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
    issuer_public = issuer_key.public_key()
    # Python 3.13 verifies with VERIFY_X509_STRICT, which wants the authority's key named in the leaf.
    certificate = (
        _builder(name, issuer.subject, private)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )
    _write(path, certificate)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key.write_bytes(private.private_bytes(encoding, form, serialization.NoEncryption()))


def _write(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
