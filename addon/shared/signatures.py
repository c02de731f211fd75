# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Which records in Redis are ours: signed with a key that is not there.

Whoever can write to Redis could else say that a locked site has no lock. So what a record says of access counts only
where its signature holds, and is asked of Forgejo otherwise. Proxies share the key by `authSecretKey`, or by one
`stateDir`; those that share none ask Forgejo themselves, and leave each other's records alone. The signature is the
last member of the JSON, `"sig":"{key's name}:{HMAC-SHA-256}"`, over the name of the Redis key and all before it.
"""

import enum
import hashlib
import hmac
import logging
import re
import secrets
from typing import Final

from addon.access.signing_key import KeyFault, kept_key
from addon.settings.schema import Settings

logger = logging.getLogger(__name__)

FILE_NAME: Final = "records-key"
"""In `stateDir`; never the key of logins, which proxies find in Redis."""
_SIGNATURE = re.compile(rb',"sig":"([0-9a-f]{8}):([0-9a-f]{64})"\}\Z')
_LENGTH: Final = len(',"sig":""}') + 8 + 1 + 64


class Signature(enum.Enum):
    """Whose a record is."""

    OURS = enum.auto()
    OTHERS = enum.auto()
    """Signed with a key that we do not have."""
    NONE = enum.auto()
    """Not signed, or not rightly: made by hand, by an older version, or by somebody who wishes no good."""


class RecordKey:
    """Signs and checks. Shows nothing in a repr."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, b"forgejo-pages records in redis 1", "sha256")
        self._name = hashlib.sha256(self._key + b"name").hexdigest()[:8].encode()

    def __repr__(self) -> str:
        return f"RecordKey(… {self._name.decode()})"

    @classmethod
    def of(cls, settings: Settings) -> "RecordKey":
        """That of `authSecretKey`, else the one kept in `stateDir`; a key of this process's own where neither is."""
        if settings.auth_secret_key is not None:
            return cls(settings.auth_secret_key.reveal().encode("utf-8", "surrogatepass"))
        try:
            return cls(kept_key(settings.state_dir, FILE_NAME))
        except KeyFault as fault:
            logger.warning("%s; so other processes, and this one after a restart, ask Forgejo what Redis tells", fault)
            return cls(secrets.token_bytes(32))

    def signed(self, name: str, data: bytes) -> bytes:
        """A record, which is a JSON object, with its signature. name: of its key in Redis."""
        return b'%b,"sig":"%b:%b"}' % (data[:-1], self._name, self._mac(name, data[:-1]))

    def whose(self, name: str, data: bytes) -> Signature:
        """Whose signature a value has that was read from a key."""
        found = _SIGNATURE.search(data, max(0, len(data) - _LENGTH))
        if found is None:
            return Signature.NONE
        if found[1] != self._name:
            return Signature.OTHERS
        good = hmac.compare_digest(found[2], self._mac(name, data[: found.start()]))
        return Signature.OURS if good else Signature.NONE

    def _mac(self, name: str, data: bytes) -> bytes:
        mac = hmac.new(self._key, name.encode("utf-8", "surrogateescape") + b"\0", hashlib.sha256)
        mac.update(data)
        return mac.hexdigest().encode()
