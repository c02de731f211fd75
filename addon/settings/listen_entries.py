# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""The entries of `listen` that are more than an address: `{address: 0.0.0.0:443, tls: {cert: FILE, key: FILE}}`.

The files are read while the settings are, so that a key that does not fit is told with its line, beside everything else
that is wrong, and not when the first visitor comes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from addon.net.certificates import CertificateFault, CertificateFiles, certificate_warning, read
from addon.settings.addresses import ListenAddress, listen_addresses
from addon.settings.file import Nested, Place, Value
from addon.settings.options import Expected, file_path
from addon.settings.reader import Wrong

_MOST_CERTIFICATES = 1000
_FORM = "{address: 0.0.0.0:443, tls: {cert: FILE, key: FILE}}"

Text = Callable[[Place, Value], str]


def listen_entry(item: Nested, place: Place, text: Text, base: Path, notes: list[str]) -> ListenAddress:
    """An address to listen on with TLS. text: how a text is read; base: where relative paths begin; notes: warnings.

    Raises Wrong.
    """
    found = _members(item, place, ("address", "tls"), f"such as {_FORM}")
    if "address" not in found:
        raise Wrong(place, "listen", f"expected an address in this entry, such as {_FORM}")
    where, value = found["address"]
    try:
        addresses = listen_addresses(text(where, value).strip())
    except Expected as wrong:
        raise Wrong(where, "listen", f"expected {wrong.what}{f'; {wrong.hint}' if wrong.hint else ''}") from None
    if "tls" not in found:
        return addresses[0]
    where, value = found["tls"]
    pairs = value if type(value) is tuple else (value,)  # a Nested is one, too
    if not pairs or len(pairs) > _MOST_CERTIFICATES:
        raise Wrong(where, "listen", f"expected one to {_MOST_CERTIFICATES} pairs of cert and key")
    return addresses[0]._replace(tls=tuple(_pair(pair, where, text, base, notes) for pair in pairs))


def _pair(item: Value, place: Place, text: Text, base: Path, notes: list[str]) -> CertificateFiles:
    form = "such as {cert: FILE, key: FILE}"
    if not isinstance(item, Nested):
        raise Wrong(place, "listen", f"expected a pair of files {form}")
    found = _members(item, place, ("cert", "key"), form)
    for name in ("cert", "key"):
        if name not in found:
            raise Wrong(place, "listen", f"expected cert and key, found no {name}: write it {form}")
    files = CertificateFiles(*(_path(*found[name], text, base) for name in ("cert", "key")))
    where = found["cert"][0]
    try:
        certificate = read(files)
    except CertificateFault as fault:
        raise Wrong(where, "listen", str(fault)) from None
    if strange := certificate_warning(files, certificate):
        notes.append(f"{where}: listen: {strange}")
    return files


def _path(place: Place, value: Value, text: Text, base: Path) -> Path:
    path = text(place, value).strip()
    if not path or "-----" in path or "\n" in path:  # what was pasted in may be the key itself
        raise Wrong(place, "listen", "expected the path of a file (what was found is not shown)")
    try:
        return base / file_path(path)
    except Expected:
        raise Wrong(place, "listen", "expected the path of a file (what was found is not shown)") from None


def _members(item: Nested, place: Place, names: tuple[str, ...], form: str) -> dict[str, tuple[Place, Value]]:
    if item.inside is None:
        raise Wrong(place, "listen", f"expected an entry {form}, found {item.kind}")
    found: dict[str, tuple[Place, Value]] = {}
    for name, where, value in item.inside():
        if name not in names:
            raise Wrong(where, "listen", f"expected only {' and '.join(names)} in here, {form}")
        if value is not None:
            found[name] = (where, value)
    return found
