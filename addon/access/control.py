# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Who may see a locked site: a request and a lock in, a decision out.

`check` decides at once and out of memory: cookies, and Basic passwords that were right a moment ago. Everything that
takes a password is an `Attempt`, which `settle` counts, hashes on a thread and decides. State: the tally of guesses,
the remembered Basic logins (as keyed digests, never passwords) and the attempts under way. The surprising decision:
equal attempts at one time are one attempt, or a tool that opens six connections would lock itself out.
"""

import asyncio
import base64
import binascii
import enum
import hmac
import logging
import math
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from urllib.parse import quote, unquote_to_bytes, urlsplit

from addon.access.cookies import HOST_PREFIX, LoginCookies, cookie_path, name_of
from addon.access.guess_limits import Bounded, Guesses, GuessesInMemory
from addon.access.locks import Lock, lock_of
from addon.access.passwords import AccessFault, PasswordHash, Unchecked, cost, verify
from addon.access.signing_key import SigningKey
from addon.access.visitors import ClientNetworks, network_of, visitor_of
from addon.net.clocks import SYSTEM, Clocks
from addon.net.fair_queue import Dropped, FairQueue, Interest, Party, TooLate
from addon.web.request_head import is_embedded

__all__ = ["Access", "AccessFault", "Decision", "Lock", "Visit", "lock_of", "private", "return_target"]

logger = logging.getLogger(__name__)

MAX_FORM = 16 * 1024
"""Bytes of a form that are read; callers need not collect more."""
MAX_PASSWORD = 4096
"""Bytes of a password in a form up to which its escapes are undone: to do so for 16 KiB holds others up."""
# Each letter as it is, or escaped: a form may have thousands of fields, and none but this one is decoded.
_LETTERS = b"".join(b"(?:%c|%%(?i:%02x))" % (letter, letter) for letter in b"password")
_PASSWORD_FIELD = re.compile(rb"(?:\A|&)" + _LETTERS + rb"=([^&]*+)")
REMEMBERED = 4096
"""Basic logins that are remembered."""
AT_ONCE = 1
"""Passwords that one process hashes at once: each takes up to 128 MiB, and cores as its lanes say. The loop needs one;
more of them are what more processes are for."""
PATIENCE = 10.0
"""Seconds in which a hash has to begin."""
_BUSY_WAIT = 5
_MAX_AUTHORIZATION = 8 * 1024
_FORM = re.compile(rb"application/x-www-form-urlencoded[ \t]*(?:;.*)?", re.I | re.DOTALL)
_NOT_PRIVATE = frozenset(
    (b"expires", b"pragma", b"access-control-allow-origin", b"timing-allow-origin", b"cross-origin-resource-policy")
)
_SAFE_PATH = "/%!$&'()*+,;=:@-._~"
_SAFE_QUERY = "!$%&'()*+,-./:;=?@_~"

Header = tuple[bytes, bytes]


class Headers(Protocol):
    """The header fields of a request."""

    def __call__(self, name: bytes, /) -> bytes | None:
        """The value of a field by lower-case name, repeated fields joined by `, `; None where it is absent."""


class Visit(NamedTuple):
    """What a decision depends on, besides the lock.

    client: the visitor's address, as far as trusted proxies say. secure: the visitor came by HTTPS. host: the Host.
    base: the site's own path on this host, `/` or `/blog/`. path, query: where the visitor wants to go, percent-encoded
    and clean. body: of a POST, as far as it is at most MAX_FORM bytes; None where it is larger.
    """

    method: str
    header: Headers
    client: str
    secure: bool
    host: str
    base: str
    path: str
    query: str | None = None
    body: bytes | None = None


class Reason(enum.Enum):
    """Why a visitor is asked for the password."""

    UNKNOWN = "no login"
    WRONG = "Incorrect password"
    NO_FORM = "Invalid form data"


class Open(NamedTuple):
    """There is no lock."""


class Granted(NamedTuple):
    """The visitor may see the site; the answer has to be made `private`."""


class LoggedIn(NamedTuple):
    """The password of a form was right: 303 to location, with these Set-Cookie values."""

    location: str
    cookies: tuple[bytes, ...]


class Challenge(NamedTuple):
    """401: asked for the password. authenticate: the value of WWW-Authenticate."""

    reason: Reason
    authenticate: bytes


class Refused(NamedTuple):
    """403 (closed for good), 413, 429 or 503. wait: seconds for Retry-After. reason: for the site's owner."""

    status: int
    wait: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A password that has to be counted and hashed: `settle` says what comes of it. key: the same for equal ones."""

    password: bytes = field(repr=False)
    by_form: bool
    key: bytes = field(repr=False)


Decision = Open | Granted | LoggedIn | Challenge | Refused | Attempt


class _Verdict(enum.Enum):
    RIGHT = enum.auto()
    WRONG = enum.auto()


class Access:
    """Decides; lives on the event loop, hashes on threads."""

    def __init__(
        self,
        key: SigningKey,
        duration: int,
        executor: Executor,
        *,
        guesses: Guesses | None = None,
        clocks: Clocks = SYSTEM,
        check_password: Callable[[PasswordHash, bytes], bool] = verify,
    ) -> None:
        """duration: authCookieDuration in seconds. guesses: the tally, in memory where none is given."""
        self._clock, self._now = clock, now = clocks
        self.guesses: Guesses = guesses or GuessesInMemory(clock)
        self.duration = duration
        self._cookies = LoginCookies(key, duration, now)
        self._key = key.derived(b"remembered logins 1")
        self._executor = executor
        self._check_password = check_password
        self._turns = FairQueue(AT_ONCE, most_each=1, expected=0.2, clock=clock)
        self.outcomes: Counter[str] = Counter()
        """How many passwords that were tried were right, wrong, not looked at (limited), or came too late (busy)."""
        self._client_networks = ClientNetworks(clock)
        self._knew: Bounded[tuple[str, str], None] = Bounded(REMEMBERED)  # clients by the tally of a site
        self._remembered: Bounded[bytes, float] = Bounded(REMEMBERED)
        self._running: dict[bytes, tuple[asyncio.Task[_Verdict | Refused], Interest]] = {}
        self.adopted: Callable[[], object] = lambda: None
        """Told when logins have ended: of answers that are ready for them, nothing here knows."""

    def adopt(self, key: SigningKey) -> None:
        """Sign with this key from now on: logins under another one end."""
        self._cookies = LoginCookies(key, self.duration, self._now)
        self._key = key.derived(b"remembered logins 1")
        self.guesses.adopt(key)
        self.adopted()

    def logged_in(self, lock: Lock, header: Headers, *, secure: bool) -> float:
        """Until when (monotonic seconds) a Cookie header alone opens a lock, whoever sends it; 0 where it does not.

        secure: by the name that browsers take over HTTPS alone, so nobody has to know how the visitor came; else by the
        one that counts for who is known to have come without.
        """
        cookies = header(b"cookie")
        if cookies is None or (secure and HOST_PREFIX not in cookies) or _is_embedded(header):
            return 0.0
        left = self._cookies.left(cookies, lock, secure)
        return self._clock() + left if left > 0 else 0.0

    def check(self, lock: Lock | None, visit: Visit) -> Decision:
        """What is to be done with a request, at once; never waits, never hashes."""
        if lock is None:
            return Open()
        header = visit.header
        reason = Reason.UNKNOWN
        if visit.method == "POST" and not is_foreign(header, visit.host):
            reason = Reason.NO_FORM
            by_form = _FORM.fullmatch(header(b"content-type") or b"") is not None
            if by_form and (visit.body is None or len(visit.body) > MAX_FORM):
                return Refused(413)
            password = form_password(visit.body or b"") if by_form else None
            if password is not None:
                return self._attempt(lock, visit, password, True)
        if not _is_embedded(header) and self._cookies.valid(header(b"cookie"), lock, visit.secure):
            return Granted()
        password = basic_password(header(b"authorization"))
        if password is None:
            return challenge(lock, visit, reason)
        attempt = self._attempt(lock, visit, password, False)
        if self._is_remembered(lock, visit, attempt):
            return Granted()
        return attempt

    @property
    def queues(self) -> dict[str, FairQueue]:
        """Where passwords wait to be checked, by name."""
        return {"passwords": self._turns}

    async def settle(self, lock: Lock, visit: Visit, attempt: Attempt) -> Decision:
        """What comes of an attempt: LoggedIn or Granted, Challenge, or Refused (429 and 503 with a wait)."""
        running = self._running.get(attempt.key)
        if running is None:
            interest = Interest()
            task = asyncio.create_task(self._decide(lock, visitor_of(visit.client), attempt, interest))
            self._running[attempt.key] = running = task, interest
            task.add_done_callback(lambda done: self._running.pop(attempt.key, None))
        task, interest = running
        with interest.waiting():
            verdict = await asyncio.shield(task)
        if isinstance(verdict, Refused):
            self.outcomes["limited" if verdict.status == 429 else "busy"] += 1
            return verdict
        self.outcomes["wrong" if verdict is _Verdict.WRONG else "right"] += 1
        if verdict is _Verdict.WRONG:
            return challenge(lock, visit, Reason.WRONG)
        if attempt.by_form:
            cookies = self._cookies.issue(lock, visit.base, visit.secure)
            return LoggedIn(return_target(visit.path, visit.query), cookies)
        self._remembered.put(attempt.key, self._clock() + self.duration)
        return Granted()

    async def aclose(self) -> None:
        """Stop the attempts under way."""
        tasks = [task for task, _ in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _decide(self, lock: Lock, network: str, attempt: Attempt, interest: Interest) -> _Verdict | Refused:
        interest.bind()
        knew = (lock.tally, network) in self._knew
        visitor = network if knew else self._client_networks.visitor(lock.tally, network)
        admission = await self.guesses.admit(lock.tally, visitor)
        if admission.wait > 0:
            logger.debug("%s: %s has to wait before the next try", lock.tally, visitor)
            return Refused(429, math.ceil(admission.wait))
        checked = False
        try:
            # The owner's turn, whoever's password it is: what is given back, for it was right, was work as well. Who
            # failed here before is served beside, not before, those who did not.
            # Among those who have not given it yet, whole networks take turns: of fresh addresses, one can have many.
            owner = lock.site.partition("/")[0]
            party = Party(owner if admission.first else f"{owner} again", visitor if knew else network_of(visitor))
            async with self._turns.turn(PATIENCE, cost(lock.hash), party=party):
                loop = asyncio.get_running_loop()
                right = await loop.run_in_executor(self._executor, self._check_password, lock.hash, attempt.password)
            checked = True
        except TooLate as late:
            return Refused(503, math.ceil(late.retry_after))
        except Dropped:
            return Refused(503, _BUSY_WAIT)
        except Unchecked as error:
            logger.error("%s: a password could not be checked: %s", lock.tally, error)
            return Refused(503, _BUSY_WAIT)
        finally:
            if not checked:
                await self.guesses.withdrawn(lock.tally, visitor)
        if not right:
            self._client_networks.failed(lock.tally, network)
            return _Verdict.WRONG
        self._knew.put((lock.tally, network), None)
        await self.guesses.succeeded(lock.tally, visitor)
        return _Verdict.RIGHT

    def _attempt(self, lock: Lock, visit: Visit, password: bytes, by_form: bool) -> Attempt:
        # With the visitor in it: else whoever guesses could ask this memory, uncounted, what somebody else knows.
        whose = visitor_of(visit.client).encode()
        key = hmac.digest(self._key, b"%b\0%b\0%b" % (lock.context, whose, password), "sha256")
        return Attempt(password, by_form, key)

    def _is_remembered(self, lock: Lock, visit: Visit, attempt: Attempt) -> bool:
        until = self._remembered.get(attempt.key)
        # A visitor who has to wait gets no answer from memory either: it would tell the right guess from the wrong.
        return (
            until is not None
            and self._clock() < until
            and self.guesses.waiting(lock.tally, visitor_of(visit.client)) <= 0
        )


def challenge(lock: Lock, visit: Visit, reason: Reason) -> Challenge:
    """Ask for the password: with Basic where a tool can use it, else in words that open no browser's dialog.

    A 401 has to name a scheme (RFC 9110, section 11.6.1). Browsers leave one alone that they do not know: `Cookie`, as
    in draft-broyer-http-cookie-auth. That a request for an image or a script lacks text/html in `Accept` makes it no
    tool's; `Sec-Fetch-Mode` tells.
    """
    realm = b'realm="Pages %b"' % cookie_path(visit.base)
    html = b"text/html" in (visit.header(b"accept") or b"").lower()
    if html or visit.header(b"sec-fetch-mode") is not None:
        return Challenge(reason, b'Cookie %b, cookie-name="%b"' % (realm, name_of(lock, visit.secure)))
    return Challenge(reason, b'Basic %b, charset="UTF-8"' % realm)


def private(headers: list[Header]) -> list[Header]:
    """The headers of an answer that only who is logged in may see: for no shared cache, and never unasked from any.

    `Cache-Control: no-store` stays; `Vary` keeps what it names. No other site's page may read or embed it.
    """
    kept: list[Header] = []
    vary: list[bytes] = []
    control = b"private, no-cache"
    for name, value in headers:
        lower = name.lower()
        if lower == b"cache-control":
            control = value if b"no-store" in value else control
        elif lower == b"vary":
            vary.append(value)
        elif lower not in _NOT_PRIVATE:
            kept.append((name, value))
    kept.append((b"Cross-Origin-Resource-Policy", b"same-origin"))
    kept += [(b"Cache-Control", control), (b"Vary", b", ".join([*vary, b"Cookie, Authorization"]))]
    return kept


def return_target(path: str, query: str | None) -> str:
    """Where a login leads back to: this path and query on this host, whatever they are.

    One slash at the beginning, no backslash, no control character, no fragment: what a browser resolves it to has the
    host it came from.
    """
    safe = "/" + quote(path.encode("utf-8", "surrogateescape"), safe=_SAFE_PATH).lstrip("/")
    if query is None:
        return safe
    return f"{safe}?{quote(query.encode('utf-8', 'surrogateescape'), safe=_SAFE_QUERY)}"


def form_password(body: bytes) -> bytes | None:
    """The first field `password` of an urlencoded form; None where it has none."""
    found = _PASSWORD_FIELD.search(body)
    if found is None or len(found[1]) > MAX_PASSWORD:
        return None if found is None else found[1]
    return unquote_to_bytes(found[1].replace(b"+", b" "))


def basic_password(authorization: bytes | None) -> bytes | None:
    """The password of Basic credentials (RFC 7617), whatever the user name; None where there are none."""
    if authorization is None or len(authorization) > _MAX_AUTHORIZATION:
        return None
    scheme, _, token = authorization.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        credentials = base64.b64decode(token.strip(), validate=True)
    except binascii.Error:
        return None
    _, colon, password = credentials.partition(b":")
    return password if colon else None


def is_foreign(header: Headers, host: str) -> bool:
    """Whether another site's page sent this form: its visitors would guess for it, and wait for it.

    Our login page sends no referrer, which makes `Origin` null; `Sec-Fetch-Site` is there all the same. Neighbours
    below one pages domain are same-site, and foreign.
    """
    site = header(b"sec-fetch-site")
    if site is not None:
        return site.strip() not in (b"same-origin", b"none")
    origin = header(b"origin")
    if origin is None or origin.strip() == b"null":
        return False
    try:
        return urlsplit(origin.decode("latin-1")).hostname != urlsplit(f"//{host}").hostname
    except ValueError:
        return True


def _is_embedded(header: Headers) -> bool:
    """Whether a login does not count, because another site's page has this fetched."""
    return is_embedded(header(b"sec-fetch-site"), header(b"sec-fetch-mode"), header(b"sec-fetch-dest"))
