# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A member's login: from a site's host by way of the pages domain to Forgejo, and back. On each it is `/.pages/login`.

1. The site's host sends the browser to the pages domain, with a sealed note: which host, which path, whose browser.
2. The pages domain keeps state and verifier under a random name, and sends the browser on to Forgejo.
3. Forgejo sends it back with a code, which is exchanged at once; for the token there is a ticket, good for a minute.
4. The site's host takes the ticket from the browser that began, once, and sets the session's cookie.

So no site ever sees a token, a code or another site's cookie, and only a host that we sent away can be come back to.
The surprise: nothing here redirects without end. Each step goes forward or shows a page; a login that has just been of
no use shows one instead of a further round.
"""

import logging
import re
from urllib.parse import parse_qsl, quote

from addon import templates
from addon.access import member_cookies as cookies
from addon.access.control import Headers, return_target
from addon.access.guess_limits import Bounded
from addon.access.member_cookies import DONE, Begun, digest_of, new_id
from addon.access.sealing import Sealer
from addon.access.visitors import visitor_of
from addon.forgejo.errors import ForgejoError
from addon.forgejo.oauth import Forge, LoginRefused, OAuth, new_verifier
from addon.library.memory import SingleFlight
from addon.net.clocks import SYSTEM, Clocks
from addon.serving.answers import Answer, Header, Need, Request, Work, own_page, trouble_page
from addon.shared.member_sessions import MemberSessions, Session
from addon.shared.one_use import OneUse

logger = logging.getLogger(__name__)

LOGIN = ("login",)
"""Path below `/.pages/` of all of it."""
CALLBACK = ("login", "callback")
CALLBACK_PATH = "/.pages/login/callback"
TICKET_LIFE = 60
MOST_BEGUN = 10_000
MOST_BEGUN_EACH = 50
"""Logins under way, in all and of one client."""
_LONGEST_PATH = 1500
_MOST_FIELDS = 12
_REMEMBERED = 2048  # Cookie fields that name a session: to find one again takes 0.3 µs, to check it 12
_REMEMBERED_SIZE = 1024  # bytes of the longest of them
_DISCOVERED_FOR = 600.0
_CODE = re.compile(r"[!-~]{1,1024}")
_DENIED = "In Forgejo, you have not allowed this server to see which repositories you may read."
_STALE = "This login was not begun in this browser, or it was used already, or it took too long."


class MemberLogin:
    """The four steps. State: what Forgejo calls itself, and cookies that were looked at."""

    def __init__(
        self,
        pages_domain: str,
        oauth: OAuth,
        sealer: Sealer,
        sessions: MemberSessions,
        begun: OneUse,
        tickets: OneUse,
        longest: int,
        clocks: Clocks = SYSTEM,
    ) -> None:
        """longest: seconds that a login holds at most."""
        self._domain = pages_domain
        self._oauth = oauth
        self._sealer = sealer
        self.sessions = sessions
        self._begun = begun
        self._tickets = tickets
        self._longest = longest
        self._clock, self._now = clocks
        self._forge: tuple[Forge, float] | None = None
        self._flights: SingleFlight[str] = SingleFlight()
        self._named: Bounded[tuple[str, bytes], str] = Bounded(_REMEMBERED)

    def session_id(self, host: str, header: Headers) -> str | None:
        """The session that a browser's cookie names for this host, be it over or not; never waits."""
        field = header(b"cookie")
        if field is None:
            return None
        id = self._named.get((host, field))
        if id is None:
            id = cookies.session_id(self._sealer, host, field)
            if id is not None and len(field) <= _REMEMBERED_SIZE:
                self._named.put((host, field), id)
        return id

    # 1. The site's host sends the browser away, unless that was of no use a moment ago.

    def begin(self, request: Request, host: str, path: str) -> Answer:
        """What a browser gets that has to log in first. path: where it wants to go, percent-encoded, with its query."""
        if not request.visitor().secure:
            return own_page(request, 403, templates.https_only(f"https://{host}{path}"))
        known = cookies.begun(request.header(b"cookie"), self._now())
        if cookies.too_many(known, self._now()):
            return self.page_with_link(request, path, failed=True)
        path = path if len(path) <= _LONGEST_PATH else "/"
        going = cookies.next_round(known, self._now())
        note = {"host": host, "path": path, "bind": digest_of(going.nonce), "at": int(self._now())}
        target = f"https://{self._domain}/.pages/login?begin={self._sealer.seal('begin', note)}"
        return _sent(target, cookies.login_cookie(going))

    def page_with_link(self, request: Request, path: str, *, failed: bool = False) -> Answer:
        """401 in a page: for what no browser navigates to, and instead of going round."""
        answer = own_page(request, 401, templates.members_log_in(_again(path), failed=failed))
        html = b"text/html" in (request.header(b"accept") or b"").lower()
        tool = not html and request.header(b"sec-fetch-mode") is None
        scheme = b'Basic realm="Forgejo token", charset="UTF-8"' if tool else b'Bearer realm="Forgejo"'
        answer.headers.append((b"WWW-Authenticate", scheme))
        return answer

    # What `/.pages/login` means on which host.

    def answer(self, request: Request, host: str, callback: bool, work: Work) -> Answer | Need:
        """What a request below `/.pages/login` gets. callback: it is for CALLBACK."""
        if request.method != "GET":
            answer = own_page(request, 405, templates.error_page(405))
            answer.headers.append((b"Allow", b"GET"))
            return answer
        if not request.visitor().secure:
            return own_page(request, 403, templates.https_only(f"https://{host}/.pages/login"))
        key = ("login", host)
        done = work.done.get(key)
        if isinstance(done, Answer):
            return done
        given = _given(request.query)
        if given is None:
            return own_page(request, 400, templates.error_page(400))
        if host == self._domain:
            if callback:
                return Need(key, lambda: self._come_back(request, given))
            if "begin" in given:
                return Need(key, lambda: self._sent_to_forgejo(request, given["begin"]))
        elif not callback:
            if "ticket" in given:
                return Need(key, lambda: self._let_in(request, host, given["ticket"]), from_forgejo=False)
            # Asked for by hand or by a link: whatever was of no use before, once more.
            path = return_target(*_parts(given.get("to", "/")))
            known = cookies.begun(request.header(b"cookie"), self._now())
            nonce = known.nonce if known is not None else new_id()
            return _sent(path, cookies.login_cookie(Begun(nonce, 0, int(self._now()))))
        return own_page(request, 404, templates.error_page(404))

    # 2. On to Forgejo.

    async def _sent_to_forgejo(self, request: Request, note: str) -> Answer:
        told = self._sealer.opened("begin", note)
        if told is None or not 0 <= self._now() + cookies.ROUND_SECONDS - told["at"] < cookies.BEGUN_LIFE:
            return self._failed(request, 403, _STALE)
        browser = cookies.browser_of(request.header(b"cookie")) or new_id()
        forge = await self._known_forge()
        state, verifier = new_id(), new_verifier()
        kept = {"host": told["host"], "path": told["path"], "bind": told["bind"], "verifier": verifier}
        await self._begun.put(digest_of(state, browser), kept, visitor_of(request.visitor().address))
        browser_cookie = cookies.set_cookie(cookies.BROWSER, browser, cookies.BEGUN_LIFE)
        return _sent(self._oauth.address(forge, state, verifier), browser_cookie)

    async def _known_forge(self) -> Forge:
        if self._forge is None or self._clock() >= self._forge[1]:
            forge = await self._flights.do("forge", self._oauth.forge)
            self._forge = forge, self._clock() + _DISCOVERED_FOR
        return self._forge[0]

    # 3. Back from Forgejo.

    async def _come_back(self, request: Request, given: dict[str, str]) -> Answer:
        browser, state = cookies.browser_of(request.header(b"cookie")), given.get("state", "")
        kept = await self._begun.take(digest_of(state, browser)) if browser is not None else None
        if kept is None:
            return self._failed(request, 403, _STALE)
        host, path = kept["host"], kept["path"]
        again = f"https://{host}{_again(path)}"
        code = given.get("code", "")
        if "error" in given or not _CODE.fullmatch(code):
            denied = given.get("error") == "access_denied"
            reason = _DENIED if denied else "Forgejo has not let you in."
            return self._failed(request, 403, reason, link=again)
        try:
            forge = await self._known_forge()
            if given.get("iss", forge.issuer) != forge.issuer:  # RFC 9207, which Forgejo does not know yet
                return self._failed(request, 403, "It was another forge that has let you in.", link=again)
            grant = await self._oauth.granted(forge, code, kept["verifier"])
        except LoginRefused as refused:
            logger.warning("a login through Forgejo was refused: %s", refused.error)
            return self._failed(request, 403, refused.reason, remedy=refused.remedy, link=again)
        except ForgejoError as trouble:
            logger.warning("a login through Forgejo failed: %s", trouble)
            page = templates.login_failed(503, "Forgejo does not answer at the moment.", link=again)
            answer = trouble_page(request, trouble)
            instead = own_page(request, answer.status, page)
            instead.headers += [field for field in answer.headers if field[0] == b"Retry-After"]
            return instead
        ticket = new_id()
        ends = self._now() + min(grant.life, self._longest)
        said = {"path": path, "reader": grant.subject, "token": grant.token, "ends": ends}
        party = visitor_of(request.visitor().address)
        await self._tickets.put(digest_of(ticket, host, kept["bind"]), said, party)
        return _sent(f"https://{host}/.pages/login?ticket={ticket}")

    # 4. In.

    async def _let_in(self, request: Request, host: str, ticket: str) -> Answer:
        begun = cookies.begun(request.header(b"cookie"), self._now())
        said = None
        if begun is not None:
            said = await self._tickets.take(digest_of(ticket, host, digest_of(begun.nonce)))
        if begun is None or said is None:
            return self._failed(request, 403, _STALE, link=_again("/"))
        id, now = new_id(), self._now()
        session = Session(host, said["reader"], said["token"], now, said["ends"])
        await self.sessions.begin(id, session)
        return _sent(
            said["path"],
            cookies.set_cookie(
                cookies.SESSION, cookies.session_value(self._sealer, host, id), max(1, int(session.ends - now))
            ),
            cookies.login_cookie(Begun(begun.nonce, DONE, int(now))),
        )

    # The way out.

    def log_out(self, request: Request, host: str, work: Work) -> Need | list[Header]:
        """End the session that the browser shows, or all of that reader's; the fields that take its cookies away."""
        id = self.session_id(host, request.header)
        if id is not None and ("log-out", id) not in work.done:
            everywhere = b"all=1" in (request.body or b"").split(b"&")
            return Need(("log-out", id), lambda: self._ended(id, host, everywhere), from_forgejo=False)
        header = request.header(b"cookie")
        there = [name for name in (cookies.SESSION, cookies.LOGIN) if cookies.values(header, name)]
        return [cookies.set_cookie(name, "", 0) for name in there]

    async def _ended(self, id: str, host: str, everywhere: bool) -> bool:
        session = await self.sessions.load(id, host)
        if session is not None and everywhere:
            await self.sessions.end_all(session)
        await self.sessions.end(id)
        return True

    async def aclose(self) -> None:
        await self._flights.aclose()

    def _failed(
        self, request: Request, status: int, reason: str, *, remedy: str = "", link: str | None = None
    ) -> Answer:
        return own_page(request, status, templates.login_failed(status, reason, remedy=remedy, link=link))


def _sent(target: str, *fields: Header) -> Answer:
    """A redirect that nobody keeps and that tells the next server nothing of this one."""
    headers: list[Header] = [
        (b"Location", target.encode("ascii")),
        (b"Cache-Control", b"no-store"),
        (b"Referrer-Policy", b"no-referrer"),
        (b"Content-Length", b"0"),
        *fields,
    ]
    return Answer(303, headers)


def _again(path: str) -> str:
    """Where a visitor begins once more, on the site's host."""
    return f"/.pages/login?to={quote(path, safe='/')}" if len(path) <= _LONGEST_PATH else "/.pages/login"


def _given(query: str | None) -> dict[str, str] | None:
    """The fields of a query; None where one is given twice, or there are too many."""
    try:
        pairs = parse_qsl(query or "", keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return None
    given = dict(pairs)
    return given if len(given) == len(pairs) else None


def _parts(target: str) -> tuple[str, str | None]:
    path, mark, query = target.partition("?")
    return path, query if mark else None
