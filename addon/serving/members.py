# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Sites for members: who comes is known by a login or a token of Forgejo's, and Forgejo says whether that may read.

Yes, within the last minute: the site. No: the same as where there is no site at all, so nobody learns what is there. No
login: browsers are sent to get one, all others get 401. Forgejo silent: 503. A personal token (`Authorization: Bearer`,
or Basic with the token as password) does as well; wrong ones are counted as wrong passwords are. The surprise: a login
does not count where another site's page has something fetched with it, or a neighbour could show it as its own.
"""

import hmac
import math
import secrets
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from addon import templates
from addon.access.control import basic_password, return_target
from addon.access.guess_limits import Guesses
from addon.access.visitors import ClientNetworks, visitor_of
from addon.forgejo.answers import Repository
from addon.forgejo.reading_rights import TOKEN, Verdict
from addon.library.reading_rights import Readers, Right
from addon.net.clocks import SYSTEM, Clocks
from addon.serving.answers import Answer, Need, Request, Work, own_page
from addon.serving.member_login import MemberLogin
from addon.shared.lookup import Lookup
from addon.shared.member_sessions import Session
from addon.web.request_head import is_embedded
from addon.web.routing import Path, host_name

_RETRY_AFTER = b"5"
_MAX_AUTHORIZATION = 8 * 1024


class Hidden(NamedTuple):
    """The visitor may not know that there is a site."""


HIDDEN: Final = Hidden()


class Members:
    """Who may see sites that are for members. State: none but a key for the names of tokens in memory."""

    def __init__(
        self, login: MemberLogin, readers: Readers, guesses: Callable[[], Guesses], clocks: Clocks = SYSTEM
    ) -> None:
        """guesses: the tally of wrong passwords, for wrong tokens."""
        self.login = login
        self._readers = readers
        self._guesses = guesses
        self._clock, self._now = clocks
        self._client_networks = ClientNetworks(clocks.monotonic)
        self._key = secrets.token_bytes(32)
        login.sessions.dropped = readers.session_ended

    def check(self, request: Request, lookup: Lookup, path: Path, work: Work) -> Answer | Need | Hidden | None:
        """None: the visitor may see the site; the answer is for nobody else."""
        repository = lookup.repository
        if repository is None:
            return _unknown(request)
        header, host = request.header, _host(request.host or "")
        cookies = header(b"cookie")
        if cookies is not None and not _is_embedded(request):
            id = self.login.session_id(host, header)
            session: object = self.login.sessions.peek(id, host) if id is not None else None
            if id is not None and session is None:
                key = ("member", id)
                if key not in work.done:
                    return Need(key, lambda: self.login.sessions.load(id, host), from_forgejo=False)
                session = work.done[key]
            if id is not None and isinstance(session, Session):
                return self._of_session(request, repository, id, session, path, work)
        work.by_cookie = False
        work.good_until = -math.inf
        token = token_of(header(b"authorization"))
        if token is not None:
            return self._by_token(request, repository, token, path, work)
        return self._stranger(request, host, path)

    def _of_session(
        self, request: Request, repository: Repository, id: str, session: Session, path: Path, work: Work
    ) -> Answer | Need | Hidden | None:
        reader, key = f"user {session.reader}", ("right", id, str(repository.id))
        right: object = self._readers.known(reader, repository) or work.done.get(key)
        if not isinstance(right, Right):
            return Need(key, lambda: self._asked(reader, session, repository, id))
        if right.verdict is Verdict.YES:
            work.by_cookie = True
            work.facts.append(self._readers.session_fact(id, session))
            ends = self._clock() + session.ends - self._now()
            work.good_until = min(work.good_until, right.until, ends)
            return None
        work.by_cookie = False
        work.good_until = -math.inf
        if right.verdict is Verdict.NO_TOKEN:
            return self._stranger(request, session.host, path)
        return HIDDEN if right.verdict is Verdict.NO else _unknown(request)

    async def _asked(self, reader: str, session: Session, repository: Repository, id: str) -> Right:
        sessions = self.login.sessions
        right = await self._readers.ask(reader, session.token, repository, id, lambda: sessions.still(id, session))
        if right.verdict is Verdict.NO_TOKEN:
            await sessions.end(id)
        return right

    def _stranger(self, request: Request, host: str, path: Path) -> Answer:
        """Who has no login: a browser that goes somewhere is sent for one."""
        target = return_target(str(path), request.query)
        if request.method in ("GET", "HEAD") and _navigates(request):
            return self.login.begin(request, host, target)
        return self.login.page_with_link(request, target)

    # By a token of one's own.

    def _by_token(
        self, request: Request, repository: Repository, token: str, path: Path, work: Work
    ) -> Answer | Need | Hidden | None:
        tally = f"{repository.owner}/{repository.name}#members".lower()
        client_network = visitor_of(request.visitor().address)
        visitor = self._client_networks.visitor(tally, client_network)
        # With the visitor in it: else whoever guesses could ask this memory, uncounted, what somebody else knows.
        name = f"token {hmac.digest(self._key, f'{visitor} {token}'.encode(), 'sha256').hex()}"
        key = ("right", name, str(repository.id))
        found = work.done.get(key)
        if found is None:
            wait = self._guesses().waiting(tally, visitor)
            if wait > 0:
                return _too_many(request, wait)
            found = self._readers.known(name, repository)
        if found is None:
            return Need(key, lambda: self._tried(tally, client_network, visitor, name, token, repository))
        if isinstance(found, Right):
            if found.verdict is Verdict.YES:
                return None
            if found.verdict is Verdict.NO:
                return HIDDEN
            if found.verdict is None:
                return _unknown(request)
            return self.login.page_with_link(request, return_target(str(path), request.query))
        return _too_many(request, float(found) if isinstance(found, float) else 1.0)

    async def _tried(
        self, tally: str, client_network: str, visitor: str, name: str, token: str, repository: Repository
    ) -> Right | float:
        """What a token is worth, counted; or the seconds to wait."""
        guesses = self._guesses()
        admission = await guesses.admit(tally, visitor)
        if admission.wait > 0:
            return admission.wait
        right: Right | None = None
        try:
            right = await self._readers.ask(name, token, repository)
        finally:
            if right is None or right.verdict in (None, Verdict.NO):
                await guesses.withdrawn(tally, visitor)  # a good token of somebody's ends no wait of his
        if right.verdict is Verdict.YES:
            await guesses.succeeded(tally, visitor)
        elif right.verdict is Verdict.NO_TOKEN:
            self._client_networks.failed(tally, client_network)
        return right


@lru_cache(2048)
def _host(authority: str) -> str:
    """The host of a request that has come to a site: of the few that are one, and at each of a reader's requests."""
    return host_name(authority) or ""


def token_of(authorization: bytes | None) -> str | None:
    """The token of `Bearer`, `token` or Basic credentials (as the password, or alone as the name); None without one."""
    if authorization is None or len(authorization) > _MAX_AUTHORIZATION:
        return None
    scheme, _, rest = authorization.strip().partition(b" ")
    given: bytes | None = rest.strip()
    if scheme.lower() == b"basic":
        given = basic_password(authorization)
    elif scheme.lower() not in (b"bearer", b"token"):
        return None
    text = (given or b"").decode("latin-1")
    return text if TOKEN.fullmatch(text) else None


def _navigates(request: Request) -> bool:
    """Whether a browser goes to a page, so that it can be sent to another one first."""
    mode, dest = request.header(b"sec-fetch-mode"), request.header(b"sec-fetch-dest")
    if mode is not None:
        return mode.strip() == b"navigate" and (dest is None or dest.strip() == b"document")
    return b"text/html" in (request.header(b"accept") or b"").lower()


def _is_embedded(request: Request) -> bool:
    header = request.header
    return is_embedded(header(b"sec-fetch-site"), header(b"sec-fetch-mode"), header(b"sec-fetch-dest"))


def _unknown(request: Request) -> Answer:
    answer = own_page(request, 503, templates.members_unknown())
    answer.headers.append((b"Retry-After", _RETRY_AFTER))
    return answer


def _too_many(request: Request, wait: float) -> Answer:
    answer = own_page(request, 429, templates.error_page(429))
    answer.headers.append((b"Retry-After", b"%d" % max(1, math.ceil(wait))))
    return answer
