# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The key that signs logins: the operator's, or a random one that every process finds in the same place.

Knows one file and, through a Protocol, one shared store. The key is never used itself: each use derives its own from
it, so that a signature made for one thing means nothing to another. The surprising decision: what is proposed to the
shared store is the key in the file, so that logins hold on when that store is away or was emptied.
"""

import enum
import fcntl
import hmac
import os
import re
import secrets
from pathlib import Path
from typing import NamedTuple, Protocol

FILE_NAME = "login-key"
_SIZE = 32


class KeyFault(Exception):
    """The key's file cannot be read or made. Names the file, never what is in it."""


class Source(enum.Enum):
    """Where a key comes from, in words for the log."""

    SETTINGS = "authSecretKey"
    SHARED = "a random key shared through Redis"
    FILE = "a random key kept in stateDir"


class SigningKey(NamedTuple):
    """A key and where it comes from. Shows nothing in a repr."""

    key: bytes
    source: Source

    def __repr__(self) -> str:
        return f"SigningKey(…, {self.source.value})"

    def derived(self, purpose: bytes) -> bytes:
        """A key of 32 bytes for one purpose (HMAC as a pseudo-random function, RFC 5869)."""
        return hmac.digest(self.key, b"forgejo-pages " + purpose, "sha256")


class SharedKey(Protocol):
    """A place in which all processes find one key."""

    async def settle(self, proposal: bytes) -> bytes | None:
        """The key that is there, which is the proposal if there was none (`SET NX`); None while that is not known."""


async def signing_key(secret: str | None, state_dir: Path, shared: SharedKey | None = None) -> SigningKey:
    """The key to sign with: `authSecretKey`, else the shared one, else that in the file. Raises KeyFault."""
    if secret:
        return SigningKey(secret.encode("utf-8", "surrogatepass"), Source.SETTINGS)
    own = kept_key(state_dir)
    settled = await shared.settle(own) if shared is not None else None
    if settled is not None and len(settled) >= _SIZE:
        return SigningKey(settled, Source.SHARED)
    return SigningKey(own, Source.FILE)


def kept_key(state_dir: Path, name: str = FILE_NAME) -> bytes:
    """The random key in a file of `state_dir`, 32 bytes, made if it is not there. Raises KeyFault.

    Any number of processes may ask at once: all get the same. The file holds hex and is for its owner alone.
    """
    path = state_dir / name
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)  # the folder itself is the lock: nothing to leave behind
            try:
                return _read(path)
            except FileNotFoundError:
                return _make(path, held)
        finally:
            os.close(held)
    except OSError as error:
        raise KeyFault(f"{path}: {error.strerror or type(error).__name__}") from None


def _read(path: Path) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            os.fchmod(file.fileno(), 0o600)
        text = file.read(_SIZE * 4).decode("ascii", "replace")
    if not re.fullmatch(rf"[0-9a-f]{{{_SIZE * 2}}}\s*", text):
        raise KeyFault(f"{path}: expected {_SIZE * 2} hex digits; remove the file to have a new key made")
    return bytes.fromhex(text)


def _make(path: Path, folder: int) -> bytes:
    key = secrets.token_bytes(_SIZE)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.hex().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    os.fsync(folder)
    return key
