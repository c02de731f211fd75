# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The three cookies of a member's login, all `__Host-`: for one host, over HTTPS alone, set by nobody else. Pure.

`session` (on a site's host) is a random name that means something here alone, with a signature over that host: so a
cookie of another site is told without a look, and guesses cost nothing. `login` (there, too) binds the way back to the
browser that began, and counts the rounds of the last minute. `browser` (on the pages domain) binds the state that
Forgejo brings back. The surprise: two tabs that begin at once share the `login` and the `browser` cookie, so both come
home.
"""

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

from addon.access.sealing import Sealer

SESSION = b"__Host-pages_member"
LOGIN = b"__Host-pages_login"
BROWSER = b"__Host-pages_browser"
BEGUN_LIFE = 600
"""Seconds that a login may take."""
ROUND_SECONDS = 60
MOST_ROUNDS = 6
"""Rounds begun in ROUND_SECONDS after which a browser is asked before the next."""
DONE = 99
"""Stands for rounds where one has come to its end: who has no session then, would go round for ever."""
_MAX_HEADER = 64 * 1024
_MAX_TRIES = 8
_ID = r"[A-Za-z0-9_-]{22}"
_SESSION_VALUE = re.compile(rf"({_ID})\.({_ID})".encode())
_LOGIN_VALUE = re.compile(rf"({_ID})\.([0-9]{{1,2}})\.([1-9][0-9]{{0,10}})".encode())
_BROWSER_VALUE = re.compile(_ID.encode())


def new_id() -> str:
    """128 random bits."""
    return secrets.token_urlsafe(16)


def digest_of(*parts: str) -> str:
    """What stands for secrets where they are compared or stored."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


class Begun(NamedTuple):
    """A `login` cookie. rounds: begun so far since `at` (unix seconds)."""

    nonce: str
    rounds: int
    at: int


def values(header: bytes | None, name: bytes) -> list[bytes]:
    """The values of the cookies of exactly this name, a few of them at most."""
    found: list[bytes] = []
    if header is None or name not in header:
        return found
    for part in header[:_MAX_HEADER].replace(b",", b";").split(b";"):
        key, equals, value = part.strip(b" \t").partition(b"=")
        if equals and key == name:
            found.append(value)
            if len(found) == _MAX_TRIES:
                break
    return found


def session_value(sealer: Sealer, host: str, id: str) -> str:
    """What the `session` cookie of a host holds."""
    return f"{id}.{sealer.mark(f'{host} {id}')}"


def session_id(sealer: Sealer, host: str, header: bytes | None) -> str | None:
    """The session that a Cookie header names for this host; None where none was made for it."""
    for value in values(header, SESSION):
        match = _SESSION_VALUE.fullmatch(value)
        if match is not None:
            id = match[1].decode()
            if hmac.compare_digest(match[2], sealer.mark(f"{host} {id}").encode()):
                return id
    return None


def begun(header: bytes | None, now: float) -> Begun | None:
    """What a browser has begun on this host within BEGUN_LIFE."""
    for value in values(header, LOGIN):
        match = _LOGIN_VALUE.fullmatch(value)
        if match is not None and -ROUND_SECONDS < now - int(match[3]) < BEGUN_LIFE:
            return Begun(match[1].decode(), int(match[2]), int(match[3]))
    return None


def next_round(known: Begun | None, now: float) -> Begun:
    """The round that begins now, with the same nonce: a tab that is on its way keeps it."""
    if known is None:
        return Begun(new_id(), 1, int(now))
    if now - known.at >= ROUND_SECONDS:
        return Begun(known.nonce, 1, int(now))
    return known._replace(rounds=min(known.rounds + 1, DONE))


def too_many(known: Begun | None, now: float) -> bool:
    """Whether this browser went round too often in too short a time: it would go on for ever."""
    return known is not None and known.rounds >= MOST_ROUNDS and now - known.at < ROUND_SECONDS


def browser_of(header: bytes | None) -> str | None:
    """The browser, as its cookie on the pages domain names it."""
    for value in values(header, BROWSER):
        if _BROWSER_VALUE.fullmatch(value):
            return value.decode()
    return None


def set_cookie(name: bytes, value: str, life: int) -> tuple[bytes, bytes]:
    """A Set-Cookie field; life: seconds, 0 takes the cookie away."""
    ends = b"Max-Age=%d" % life if life > 0 else b"Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    return b"Set-Cookie", b"%b=%b; Path=/; %b; HttpOnly; SameSite=Lax; Secure" % (name, value.encode(), ends)


def login_cookie(begun: Begun) -> tuple[bytes, bytes]:
    """The Set-Cookie field of a login that was begun."""
    return set_cookie(LOGIN, f"{begun.nonce}.{begun.rounds}.{begun.at}", BEGUN_LIFE)
