# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Hashes of passwords as they stand in `.pages`: read, checked, made. Knows no site, no visitor and no clock.

Two forms: the Traefik plugin's unsalted SHA-256 in hex, and argon2id strings (RFC 9106). What a repository names may
come from an enemy, so the memory and passes that an argon2id string may ask for are bounded before anything is run.
The surprising decision: each check does both kinds of work, so that its time does not tell which kind of hash, and the
weak kind is as slow to guess at through this server as the strong one.
"""

import base64
import binascii
import enum
import hashlib
import hmac
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from os import urandom
from typing import NamedTuple

MAX_MEMORY = 128 * 1024
"""KiB of memory that one check may take; RFC 9106's second recommendation, which `make_hash` follows, is half of it."""
MAX_WORK = 4 * MAX_MEMORY
"""KiB written over all passes: about a second on one core of a small machine."""
MAX_PARALLELISM = 8

_SHA256 = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)
_ARGON2 = re.compile(
    r"\$argon2id\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,7})"
    r"\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})",
    re.ASCII,
)
_SECONDS = 30.0


class AccessFault(Exception):
    """A site asks for a password that nothing can be compared with: it stays closed. Never holds the hash."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unchecked(Exception):
    """A password could not be checked (no memory, no argon2 here): neither right nor wrong."""


class Form(enum.Enum):
    """The two forms of a hash."""

    SHA256 = "SHA-256"
    ARGON2ID = "argon2id"


class Argon2(NamedTuple):
    """An argon2id string taken apart: memory in KiB, passes, lanes, salt and digest."""

    memory: int
    passes: int
    lanes: int
    salt: bytes
    digest: bytes


# RFC 9106, section 4, second recommendation: 64 MiB, 3 passes, 4 lanes, a salt of 128 bits, a digest of 256.
_DECOY = Argon2(64 * 1024, 3, 4, bytes(16), bytes(32))
_SHA256_DECOY = "0" * 64


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """A hash that passwords can be compared with; `text` is its one canonical form. Shows nothing in a repr."""

    form: Form
    text: str = field(repr=False)
    sha256: str = field(repr=False, default=_SHA256_DECOY)
    argon2: Argon2 = field(repr=False, default=_DECOY)


def parse_hash(text: str, name: str = "password") -> PasswordHash:
    """Read the value of `password` or `branchesPassword`.

    Raises AccessFault, whose reason names the option and never the value, for what is no hash, and for an argon2id
    string above MAX_MEMORY or MAX_WORK. Upper-case hex is the same hash as lower-case.
    """
    if _SHA256.fullmatch(text):
        text = text.lower()
        return PasswordHash(Form.SHA256, text, sha256=text)
    match = _ARGON2.fullmatch(text)
    if match is None:
        raise AccessFault(_why_no_hash(text, name))
    memory, passes, lanes = (int(match[group]) for group in (1, 2, 3))
    if lanes > MAX_PARALLELISM or memory < 8 * lanes or memory > MAX_MEMORY or memory * passes > MAX_WORK:
        raise AccessFault(
            f"{name}: the argon2id hash asks for more than is allowed here (at most m={MAX_MEMORY} KiB, "
            f"m times t {MAX_WORK}, p={MAX_PARALLELISM}); `pages hash` makes one that fits"
        )
    try:
        argon2 = Argon2(memory, passes, lanes, _from_base64(match[4]), _from_base64(match[5]))
    except binascii.Error:
        raise AccessFault(_why_no_hash(text, name)) from None
    return PasswordHash(Form.ARGON2ID, text, argon2=argon2)


def _why_no_hash(text: str, name: str) -> str:
    if text.startswith("$argon2id$"):
        return f"{name}: the argon2id hash is damaged: copy the whole line that `pages hash` printed"
    if text.startswith("$"):
        return f"{name}: expected SHA-256 or argon2id; make the line anew with `pages hash`"
    return f"{name}: expected the hash of a password, not a password; make the line with `pages hash`"


def verify(hash: PasswordHash, password: bytes) -> bool:
    """Whether this is the password. Takes some tenths of a second and up to MAX_MEMORY: never on the event loop.

    The same work in the same order for either form, right or wrong. Raises Unchecked.
    """
    by_sha256 = hmac.compare_digest(hashlib.sha256(password).hexdigest(), hash.sha256)
    by_argon2 = hmac.compare_digest(_argon2(password, hash.argon2), hash.argon2.digest)
    return by_argon2 if hash.form is Form.ARGON2ID else by_sha256


def cost(hash: PasswordHash) -> float:
    """What a check costs, told before it: 1 for a hash as `pages hash` makes it, 2.7 at most."""
    return hash.argon2.memory * hash.argon2.passes / (_DECOY.memory * _DECOY.passes)


def make_hash(password: bytes, form: Form = Form.ARGON2ID) -> str:
    """The text for `.pages`. Raises Unchecked where argon2 is not to be had."""
    if form is Form.SHA256:
        return hashlib.sha256(password).hexdigest()
    new = _DECOY._replace(salt=urandom(len(_DECOY.salt)))
    digest = _argon2(password, new)
    return f"$argon2id$v=19$m={new.memory},t={new.passes},p={new.lanes}${_base64(new.salt)}${_base64(digest)}"


def _argon2(password: bytes, wanted: Argon2) -> bytes:
    try:
        return _implementation()(password, wanted)
    except Unchecked:
        raise
    except Exception as error:  # memory, mostly; the cause may hold the password, so only its kind is passed on
        raise Unchecked(f"argon2 failed: {type(error).__name__}") from None


@cache
def _implementation() -> Callable[[bytes, Argon2], bytes]:
    try:
        low_level = importlib.import_module("argon2.low_level")  # mitmproxy 11 does not bring it, 12 does
    except ImportError:
        return _in_a_process

    def threaded(password: bytes, wanted: Argon2) -> bytes:
        made = low_level.hash_secret_raw(
            password,
            wanted.salt,
            time_cost=wanted.passes,
            memory_cost=wanted.memory,
            parallelism=wanted.lanes,
            hash_len=len(wanted.digest),
            type=low_level.Type.ID,
        )
        assert isinstance(made, bytes)
        return made

    return threaded


# The library `cryptography`, which every mitmproxy brings, has argon2id, too, but holds the interpreter's lock while it
# works: 250 ms in which no page would be served, measured. In a process of its own it stops nobody.
_PROGRAM = """
import json, sys
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
head, _, password = sys.stdin.buffer.read().partition(b"\\n")
memory, passes, lanes, length, salt = json.loads(head)
made = Argon2id(salt=bytes.fromhex(salt), length=length, iterations=passes, lanes=lanes, memory_cost=memory)
sys.stdout.write(made.derive(password).hex())
"""


def _in_a_process(password: bytes, wanted: Argon2) -> bytes:
    head = json.dumps([wanted.memory, wanted.passes, wanted.lanes, len(wanted.digest), wanted.salt.hex()])
    done = subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM],
        input=head.encode() + b"\n" + password,
        capture_output=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise Unchecked("argon2 is missing here: pip install argon2-cffi")
    return bytes.fromhex(done.stdout.decode())


def _from_base64(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    if _base64(data) != text:  # spare bits that are not zero: no encoder writes them
        raise binascii.Error
    return data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode()
