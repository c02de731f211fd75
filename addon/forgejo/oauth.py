# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Login by OAuth2 at Forgejo: where a browser is sent, a code for a token, and what that token is worth.

Follows what a real Forgejo 16 did, not the RFCs: errors have odd names, a code never expires, and a token of no scope,
or of OpenID's alone, may do everything. So a token is asked about (RFC 7662) before it is believed: for whom, to which
application, by which forge, for which scope. Refresh tokens are not even read. The surprise: who a reader is comes from
there as well, for `userinfo` knows no application; and neither says whether that person may still log in.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from addon.forgejo import answers
from addon.forgejo.calls import Answer, Calls
from addon.forgejo.errors import BadAnswer, ForgejoError

SCOPE = "read:repository"
"""Asked for by name: an empty scope is all of them."""
DISCOVERY = "/.well-known/openid-configuration"
AUTHORIZE = "/login/oauth/authorize"
TOKEN = "/login/oauth/access_token"
INTROSPECT = "/login/oauth/introspect"
LONGEST_LIFE = 3600
"""Seconds that a token is used for at most: Forgejo's own are good for so long."""
_BODY = 256 * 1024
_HARMLESS = frozenset({"openid", "profile", "email", "groups"})
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,8192}")
_SUBJECT = re.compile(r"[0-9A-Za-z._-]{1,100}")
_ERROR = re.compile(r"[a-z_]{1,40}")


class LoginRefused(Exception):
    """Forgejo answered, and there is no login. reason: for the visitor; remedy: what somebody can do; both are ours.

    error: OAuth's name for it, for the log.
    """

    def __init__(self, reason: str, remedy: str = "", error: str = "") -> None:
        super().__init__(error or reason)
        self.reason = reason
        self.remedy = remedy
        self.error = error


class Forge(NamedTuple):
    """What Forgejo calls itself, and where it sends browsers to log in."""

    issuer: str
    authorize: str


class Grant(NamedTuple):
    """A token and whose it is. subject: the user's number, which stays when the name changes. life: seconds."""

    token: str
    subject: str
    name: str
    life: int

    def __repr__(self) -> str:
        return f"Grant({self.subject}, {self.life})"


def new_verifier() -> str:
    """A secret for one login (RFC 7636 §4.1)."""
    return secrets.token_urlsafe(32)


def challenge_of(verifier: str) -> str:
    """Its S256 challenge."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


class OAuth:
    """One confidential application at one forge."""

    def __init__(self, calls: Calls, client_id: str, client_secret: str, callback: str) -> None:
        """callback: the address that the application names as its redirect URI."""
        self._calls = calls
        self.client_id = client_id
        self._secret = client_secret
        self.callback = callback

    def __repr__(self) -> str:
        return f"OAuth({self.client_id!r})"

    async def forge(self) -> Forge:
        """Where to log in, as Forgejo's discovery says (OpenID Connect Discovery §4)."""
        answer = await self._calls.fetch(DISCOVERY, known=False, limit=_BODY)
        if answer.status != 200:
            raise answer.trouble("discovery of the login")
        told = _fields(answer, "discovery of the login")
        issuer, authorize = told.get("issuer"), told.get("authorization_endpoint")
        if not (isinstance(issuer, str) and isinstance(authorize, str) and _is_address(issuer)):
            raise BadAnswer("discovery of the login: expected an issuer and an authorization endpoint")
        if authorize != issuer.rstrip("/") + AUTHORIZE:
            raise BadAnswer("discovery of the login: its authorization endpoint is not the issuer's")
        return Forge(issuer, authorize)

    def address(self, forge: Forge, state: str, verifier: str) -> str:
        """Where to send a browser: always with PKCE, for a challenge of before sticks to the browser's session."""
        query = {
            "client_id": self.client_id,
            "redirect_uri": self.callback,
            "response_type": "code",
            "state": state,
            "scope": SCOPE,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        return f"{forge.authorize}?{urlencode(query)}"

    async def granted(self, forge: Forge, code: str, verifier: str) -> Grant:
        """What a code is worth. Raises LoginRefused, and ForgejoError where Forgejo has no answer."""
        form = {
            "grant_type": "authorization_code",
            "redirect_uri": self.callback,
            "code_verifier": verifier,
            "client_id": self.client_id,
            "client_secret": self._secret,
            "code": code,
        }
        answer = await self._calls.post(TOKEN, urlencode(form).encode(), limit=_BODY)
        if answer.status in (400, 401):
            raise _refusal(answer)
        if answer.status != 200:
            raise answer.trouble("token")
        told = _fields(answer, "token")
        token, kind, life = told.get("access_token"), told.get("token_type"), told.get("expires_in")
        if not (isinstance(token, str) and _TOKEN.fullmatch(token) and isinstance(kind, str)):
            raise BadAnswer("token: expected an access token")
        if kind.lower() != "bearer" or type(life) is not int or life < 1:
            raise BadAnswer("token: expected a bearer token, and how long it is good")
        return await self._checked(forge, token, min(life, LONGEST_LIFE))

    async def _checked(self, forge: Forge, token: str, life: int) -> Grant:
        """The token, if it may read repositories and do nothing else, and is ours."""
        # Forgejo takes the password of Basic as it is; its client ids and secrets need no escapes (RFC 6749 §2.3.1).
        basic = base64.b64encode(f"{self.client_id}:{self._secret}".encode()).decode()
        form = urlencode({"token": token}).encode()
        answer = await self._calls.post(INTROSPECT, form, headers=(("Authorization", f"Basic {basic}"),), limit=_BODY)
        if answer.status != 200:
            raise answer.trouble("introspection")
        told = _fields(answer, "introspection")
        if told.get("active") is not True:
            raise LoginRefused("Forgejo does not know the login that it has just given.", error="inactive")
        audience = told.get("aud")
        named = [audience] if isinstance(audience, str) else audience
        if not isinstance(named, list) or self.client_id not in named or told.get("iss") != forge.issuer:
            raise BadAnswer("introspection: the token is another application's, or another forge's")
        scopes = told.get("scope")
        words = scopes.split() if isinstance(scopes, str) else []
        if SCOPE not in words or any(not (word in _HARMLESS or word.startswith("read:")) for word in words):
            raise LoginRefused(
                "You have allowed this application something else before, and Forgejo keeps to that.",
                "In Forgejo, open Settings, Applications, and revoke the access of the application that this server"
                " uses. Then log in again.",
                error="scope",
            )
        subject, name = told.get("sub"), told.get("username")
        if not (isinstance(subject, str) and _SUBJECT.fullmatch(subject) and isinstance(name, str)):
            raise BadAnswer("introspection: expected whose the token is")
        return Grant(token, subject, name[:100], life)


def _refusal(answer: Answer) -> LoginRefused:
    """Why there is no token, in our words: Forgejo's may repeat what it was sent."""
    told = _fields(answer, "token")
    error = told.get("error")
    name = error if isinstance(error, str) and _ERROR.fullmatch(error) else "unknown"
    said = str(told.get("error_description", ""))
    if name == "invalid_client" or said == "invalid client secret":
        return LoginRefused(
            "This server and Forgejo do not know each other as they should.",
            "`oauthClientId` and `oauthClientSecret` are not those of an application at Forgejo. `pages doctor` tells"
            " which.",
            error=name,
        )
    return LoginRefused("Forgejo does not take this login any more.", error=name)


def _fields(answer: Answer, what: str) -> dict[str, Any]:
    try:
        value = answers.document(answer.body)
    except ForgejoError:
        raise BadAnswer(f"{what}: expected JSON") from None
    if type(value) is not dict:
        raise BadAnswer(f"{what}: expected a JSON object")
    return value


def _is_address(text: str) -> bool:
    """Whether a browser may be sent there: http or https, a host, nothing that could mean another place."""
    try:
        parts = urlsplit(text)
        return bool(
            parts.scheme in ("http", "https")
            and parts.hostname
            and parts.username is None
            and not parts.query
            and not parts.fragment
            and quote(text, safe="/:@[]._~!$&'()*+,;=-%") == text
        )
    except ValueError:
        return False
