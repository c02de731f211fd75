# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The cookies of those who gave a site's password: made, checked, taken back. Pure, but for the time it is given.

A value is `{expires}|{signature}`: unix seconds, and the HMAC-SHA-256, in hex, over site, kind, branch, password hash
and expiry. So a new password ends old logins, and no cookie opens anything but what it was made for. Over HTTPS its
name begins with `__Host-`, which no neighbour below the pages domain can set for it (RFC 6265bis §4.1.3.2); such a
cookie is for the whole host, and no other counts there. The surprising decision: over plain HTTP, where the name is the
Traefik plugin's, a site below a path also leaves a mark that only the log-out address is sent, because a cookie limited
to `/blog` is not sent there, and a log-out that does not know of a login cannot end it.
"""

import hmac
import re
from collections.abc import Callable

from addon.access.guess_limits import Bounded
from addon.access.locks import Lock
from addon.access.signing_key import SigningKey

LOG_OUT = "/.pages/logout"
HOST_PREFIX = b"__Host-"
MAX_HEADER = 64 * 1024
"""Bytes of a Cookie header that are looked at."""
_MAX_TRIES = 32
_REMEMBERED = 2048  # Cookie headers that were good: to find one again takes 0.3 µs, to check it 4 µs
_REMEMBERED_SIZE = 1024  # bytes of the longest of them
_SKEW = 60  # seconds by which the clocks of two of our processes may differ
_SEPARATORS = b" \t;,"  # a comma joins two Cookie fields
_VALUE = re.compile(rb"([1-9][0-9]{0,10})\|([0-9a-f]{64})(?=[ \t;,]|\Z)")
_OURS = re.compile(
    rb"(?<![^ \t;,])((?:__Host-)?pages_(?:branch_)?auth_[-.%\w]{1,400}"
    rb"|pages_login_[-.%\w]{1,400}(?:~[-.%\w]{1,400})?)=([-.%\w]*)"
)
_PAST = b"Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"


class LoginCookies:
    """Signs and checks with one key."""

    def __init__(self, key: SigningKey, duration: int, now: Callable[[], float]) -> None:
        """duration: seconds that a login holds. now: unix seconds."""
        self._key = key.derived(b"login cookie 1")
        self._duration = duration
        self._now = now
        self._good: Bounded[tuple[bytes, bytes, bytes], int] = Bounded(_REMEMBERED)

    def issue(self, lock: Lock, base: str, secure: bool) -> tuple[bytes, ...]:
        """The Set-Cookie values of a login; the first is the cookie, a second (plain HTTP) is the mark for log-out.

        base: the site's own path on this host, `/` or `/blog/`. secure: the visitor came by HTTPS.
        """
        expires = b"%d" % (int(self._now()) + self._duration)
        path = b"/" if secure else cookie_path(base)
        ends = b"Max-Age=%d" % self._duration
        cookie = _set_cookie(name_of(lock, secure), expires + b"|" + self._signature(lock, expires), path, ends, secure)
        if path == b"/":
            return (cookie,)
        return (cookie, _set_cookie(_mark(lock.cookie, path[1:]), path[1:], LOG_OUT.encode(), ends, False))

    def valid(self, header: bytes | None, lock: Lock, secure: bool) -> bool:
        """Whether a Cookie header holds a login for this lock."""
        return self.left(header, lock, secure) > 0

    def left(self, header: bytes | None, lock: Lock, secure: bool) -> float:
        """For how many seconds the login for this lock holds that a Cookie header has; 0 where it has none.

        header: the field's value, several fields joined by commas or semicolons. secure: whether the visitor came by
        HTTPS, where the name is another. A name that comes several times is tried several times, because over plain
        HTTP a neighbouring host can set cookies of this name as well.
        """
        if header is None:
            return 0.0
        name = name_of(lock, secure)
        until = self._good.get((name, lock.context, header))
        if until is not None and (left := until - self._now()) > 0:
            return left
        needle = name + b"="
        tries = 0
        at = header.find(needle, 0, MAX_HEADER)
        while at >= 0:
            after = at + len(needle)
            if at == 0 or header[at - 1] in _SEPARATORS:
                match = _VALUE.match(header, after)
                if match is not None:
                    if self._holds(lock, match[1], match[2]):
                        if len(header) <= _REMEMBERED_SIZE:
                            self._good.put((name, lock.context, header), int(match[1]))
                        return int(match[1]) - self._now()
                    tries += 1
                    if tries >= _MAX_TRIES:
                        return 0.0
            at = header.find(needle, after, MAX_HEADER)
        return 0.0

    def _holds(self, lock: Lock, expires: bytes, signature: bytes) -> bool:
        # Not longer than a login holds today: a shorter authCookieDuration ends longer logins.
        now = self._now()
        if not now < int(expires) <= now + self._duration + _SKEW:
            return False
        return hmac.compare_digest(self._signature(lock, expires), signature)

    def _signature(self, lock: Lock, expires: bytes) -> bytes:
        return hmac.digest(self._key, lock.context + expires, "sha256").hex().encode()


def name_of(lock: Lock, secure: bool) -> bytes:
    """The name of a lock's cookie."""
    return HOST_PREFIX + lock.cookie if secure else lock.cookie


def cleared(header: bytes | None, secure: bool) -> tuple[bytes, ...]:
    """The Set-Cookie values that end every login that a request to LOG_OUT shows, its marks included."""
    found: dict[bytes, None] = {}
    for name, value in _OURS.findall(header[:MAX_HEADER] if header else b"")[:_MAX_TRIES]:
        if not name.startswith(b"pages_login_"):
            if secure or not name.startswith(HOST_PREFIX):
                found[_set_cookie(name, b"", b"/", _PAST, secure)] = None
            continue
        login = name.partition(b"~")[0].replace(b"pages_login_", b"pages_auth_", 1)
        if value and name == _mark(login, value):
            found[_set_cookie(login, b"", b"/" + value, _PAST, secure)] = None
            found[_set_cookie(name, b"", LOG_OUT.encode(), _PAST, secure)] = None
    return tuple(found)


def cookie_path(base: str) -> bytes:
    """The Path of a site's cookies: without the slash at its end, so that `/blog` is sent them as well as `/blog/…`.

    `/blogger` is not (RFC 6265, section 5.1.4).
    """
    path = base.rstrip("/").encode("ascii")
    return path if re.fullmatch(rb"(?:/[!$&'()*+=:@%~\w.-]+)+", path) else b"/"


def _mark(cookie: bytes, folder: bytes) -> bytes:
    """The mark's name: it ends in the folder, after a `~` (in no name) where the repository was renamed since."""
    mark = cookie.replace(b"pages_auth_", b"pages_login_", 1)
    return mark if mark.endswith(b"_" + folder) else b"%b~%b" % (mark, folder)


def _set_cookie(name: bytes, value: bytes, path: bytes, ends: bytes, secure: bool) -> bytes:
    tail = b"; Secure" if secure else b""
    return b"%b=%b; Path=%b; %b; HttpOnly; SameSite=Lax%b" % (name, value, path, ends, tail)
