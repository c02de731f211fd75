# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Small records that only this server, and the proxies that share its key, can read or make: AES-256-GCM.

What is sealed for one place (a name) opens at no other, so that nobody can move a record, and whoever writes in the
place where it is kept can take it away but make none. Each purpose has a key of its own.
"""

import base64
import hmac
import json
import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LONGEST = 16 * 1024
"""Characters of a sealed record that are looked at."""
_NONCE = 12


class Sealer:
    """Seals and opens with one key. Shows nothing in a repr."""

    def __init__(self, key: bytes, purpose: bytes) -> None:
        """key: of any length; purpose: what it is used for, so that no other use of it means anything here."""
        self._key = hmac.digest(key, b"forgejo-pages sealed " + purpose, "sha256")
        self._cipher = AESGCM(self._key)

    def __repr__(self) -> str:
        return "Sealer(…)"

    def seal(self, place: str, fields: dict[str, Any]) -> str:
        """Fields as text that may stand in an address."""
        nonce = os.urandom(_NONCE)
        data = json.dumps(fields, separators=(",", ":")).encode()
        sealed = nonce + self._cipher.encrypt(nonce, data, place.encode("utf-8", "surrogateescape"))
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def opened(self, place: str, text: str) -> dict[str, Any] | None:
        """The fields; None for what was not sealed for this place, or with another key."""
        if not text or len(text) > LONGEST or not text.isascii():
            return None
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            data = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], place.encode("utf-8", "surrogateescape"))
            fields = json.loads(data)
        except (InvalidTag, ValueError):  # of which binascii.Error is one
            return None
        return fields if type(fields) is dict else None

    def mark(self, text: str) -> str:
        """A signature of 128 bits, as text that may stand in a cookie."""
        digest = hmac.digest(self._key, b"mark\0" + text.encode("utf-8", "surrogateescape"), "sha256")
        return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")
