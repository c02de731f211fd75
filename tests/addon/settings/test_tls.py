# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`listen` with certificates, as the writer of a settings file meets it."""

from pathlib import Path

import pytest

from addon.net.certificates import CertificateFiles
from addon.settings.schema import ListenAddress
from tests.addon.net.tls_wire import make_pair
from tests.addon.settings.settings_cases import REQUIRED_YAML, loaded, problems

NAMES = ("pages.example.org", "*.pages.example.org")


@pytest.fixture
def pair(tmp_path: Path) -> CertificateFiles:
    return make_pair(tmp_path, "x", *NAMES)


def yaml(listen: str) -> str:
    return f"{REQUIRED_YAML}listen: {listen}\n"


@pytest.mark.parametrize(
    "listen",
    [
        "[{address: 0.0.0.0:443, tls: {cert: x.pem, key: x.key}}, 0.0.0.0:80]",
        "[{address: '0.0.0.0:443', tls: [{cert: '${CERT}', key: x.key}]}, {address: 0.0.0.0:80}]",
        "\n  - address: 0.0.0.0:443\n    tls:\n    - cert: x.pem\n      key: x.key\n  - 0.0.0.0:80",
    ],
)
def test_an_entry_may_have_certificates(pair: CertificateFiles, tmp_path: Path, listen: str) -> None:
    settings = loaded(tmp_path, yaml(listen), {"HOME": "/nowhere", "CERT": "x.pem"})
    assert settings.listen == (ListenAddress("0.0.0.0", 443, (pair,)), ListenAddress("0.0.0.0", 80))
    assert settings.warnings == ()


def test_one_entry_needs_no_list_and_may_have_several_certificates(pair: CertificateFiles, tmp_path: Path) -> None:
    other = make_pair(tmp_path, "other", "other.example")
    text = "{address: ':443', tls: [{cert: x.pem, key: x.key}, {cert: other.pem, key: other.key}]}"
    assert loaded(tmp_path, yaml(text)).listen == (ListenAddress("", 443, (pair, other)),)


@pytest.mark.parametrize(
    ("listen", "says"),
    [
        ("[{tls: {cert: x.pem, key: x.key}}]", "3:1: listen: expected an address"),
        ("[{address: ':443', tls: {cert: x.pem}}]", "found no key"),
        ("[{address: ':443', tls: [{key: x.key}]}]", "found no cert"),
        ("[{address: ':443', tls: []}]", "expected one to"),
        ("[{address: ':443', tls: x.pem}]", "expected a pair of files"),
        ("[{address: ':443', tls: {cert: x.pem, key: x.key, ca: y}}]", "expected only cert and key"),
        ("[{address: ':443', cert: x.pem}]", "expected only address and tls"),
        ("[{address: 443x, tls: {cert: x.pem, key: x.key}}]", "expected an address and a port"),
        ("[{address: ':443', tls: {cert: [x.pem], key: x.key}}]", "found a list"),
        ("[{address: ':443', tls: {cert: none.pem, key: x.key}}]", "none.pem cannot be read (No such file"),
        ("[{address: ':443', tls: {cert: x.pem, key: none.key}}]", "none.key cannot be read (No such file"),
        ("[{address: ':443', tls: {cert: x.key, key: x.key}}]", "expected a certificate in PEM form"),
        ("[{address: ':443', tls: {cert: x.pem, key: x.pem}}]", "expected a private key in PEM form"),
        ("[{address: ':443', tls: {cert: x.pem, key: y.key}}]", "is not that of the certificate in"),
        ("[{address: ':443', tls: {cert: x.pem, key: x.key}}, ':443']", ":443 is there twice"),
        (
            "[{address: ':1', tls: {cert: x.pem, key: x.key}}, {address: '[::1]:1', tls: {cert: y.pem, key: y.key}}]",
            "its tls may be a list",
        ),
        ("&a [{address: ':443', tls: *a}]", "listen: "),
    ],
)
def test_what_is_wrong_is_told_with_its_line(pair: CertificateFiles, tmp_path: Path, listen: str, says: str) -> None:
    make_pair(tmp_path, "y", "other.example")
    (problem,) = problems(tmp_path, yaml(listen))
    assert problem.startswith("3:")
    assert says in problem


def test_the_line_is_that_of_the_file_in_question(pair: CertificateFiles, tmp_path: Path) -> None:
    entry = "\n  - address: :{}\n    tls:\n      cert: {}\n      key: x.key"
    (problem,) = problems(tmp_path, yaml(entry.format(443, "x.pem") + entry.format(444, "y.pem")))
    assert problem.startswith("10:7: listen: the certificate ")


@pytest.mark.parametrize("text", ["'-----BEGIN PRIVATE KEY----- MC4CAQ'", '"-----BEGIN\\nMC4CAQ"', '"a\\nMC4CAQ"'])
def test_a_key_that_was_pasted_in_is_not_repeated(pair: CertificateFiles, tmp_path: Path, text: str) -> None:
    (problem,) = problems(tmp_path, yaml(f"[{{address: ':443', tls: {{cert: x.pem, key: {text}}}}}]"))
    assert "expected the path of a file" in problem
    assert "MC4CAQ" not in problem


def test_an_expired_certificate_is_a_warning(tmp_path: Path) -> None:
    make_pair(tmp_path, "old", *NAMES, days=-1)
    settings = loaded(tmp_path, yaml("[{address: ':443', tls: {cert: old.pem, key: old.key}}]"))
    (warning,) = settings.warnings
    assert ":3:" in warning
    assert "old.pem expired on " in warning
