# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Login in the browser and OAuth2, as Forgejo 16 did it when it was recorded, its oddities included.

One grant for a user and an application, whose first scope stays; codes that never expire and are not burnt by failed
tries; a token of no scope that may do everything; a PKCE challenge that sticks to the browser's session; errors of odd
names. Pages are not Forgejo's: a form each, for a browser under test.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from addon.preview.answers import FRAME, NO_CACHE, NOSNIFF, Answer, Headers, Request, go_json, redirect
from addon.preview.answers import wrong_method as other_method
from addon.preview.registry import Owner, Registry
from addon.preview.settings import Application, Policy, Token

REFRESH_SECONDS = 730 * 3600
_OIDC = frozenset({"openid", "profile", "email", "groups"})
_LANG = "lang=en-US; Path=/; HttpOnly; SameSite=Lax"


@dataclass
class _Session:
    """A browser. pkce: challenge and method of the authorization begun last, which nobody takes away."""

    user: str | None = None
    state: str = ""
    pkce: tuple[str, str] = ("", "")


@dataclass
class _Grant:
    """What a user allowed an application."""

    id: int
    user: int
    client_id: str
    scope: str
    nonce: str = ""
    counter: int = 0


@dataclass(frozen=True)
class _Code:
    grant: _Grant
    redirect_uri: str
    pkce: tuple[str, str]


@dataclass(frozen=True)
class _Issued:
    grant: _Grant
    refresh: bool
    counter: int
    expires: float


class _Refused(Exception):
    """An error of the token endpoint."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.document = {"error": error, "error_description": description}


@dataclass
class Login:
    """Everything below `/user/` and `/login/oauth/`. now: seconds since 1970."""

    registry: Registry
    policy: Policy
    root: str = "http://localhost/"
    now: Callable[[], float] = time.time
    sessions: dict[str, _Session] = field(default_factory=dict)
    grants: dict[tuple[int, str], _Grant] = field(default_factory=dict)
    codes: dict[str, _Code] = field(default_factory=dict)
    issued: dict[str, _Issued] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.registry.bearer = self._bearer

    @property
    def issuer(self) -> str:
        return self.root.rstrip("/")

    @cached_property
    def _key_id(self) -> str:
        return _b64(hashlib.sha256(str(_signing_key().public_key().public_numbers().n).encode()).digest())

    def answer(self, request: Request) -> Answer | None:
        """The answer; None for what is no part of this."""
        route = {
            "/.well-known/openid-configuration": (("GET",), self._discovery),
            "/.well-known/oauth-authorization-server": (("GET",), self._no_metadata),
            "/login/oauth/keys": (("GET",), self._keys),
            "/login/oauth/authorize": (("GET", "POST"), self._authorize),
            "/login/oauth/grant": (("POST",), self._granted),
            "/login/oauth/access_token": (("POST", "OPTIONS"), self._access_token),
            "/login/oauth/userinfo": (("GET",), self._userinfo),
            "/login/oauth/introspect": (("POST",), self._introspect),
            "/user/login": (("GET", "POST"), self._log_in),
            "/user/logout": (("POST",), self._log_out),
        }.get(request.path)
        if route is None:
            return None
        methods, handler = route
        if request.method not in methods:
            if request.path == "/user/logout":
                return None
            answer = other_method(request, methods)
            return replace(
                answer, headers=tuple(each for each in answer.headers if each[0] in ("Allow", "Content-Length"))
            )
        return handler(request)

    def revoke(self, user: str, client_id: str) -> None:
        """The user takes back what the application was allowed: its tokens are unknown from now on."""
        owner = self.registry.owner(user)
        grant = self.grants.pop((owner.id, client_id), None) if owner is not None else None
        self.issued = {token: each for token, each in self.issued.items() if each.grant is not grant}

    # -- who is there -----------------------------------------------------------------------------------------------

    def _session(self, request: Request) -> tuple[str, _Session] | None:
        id = _cookies(request).get("session", "")
        session = self.sessions.get(id)
        return None if session is None else (id, session)

    def _user(self, session: _Session | None) -> Owner | None:
        return None if session is None or session.user is None else self.registry.owner(session.user)

    def _with_session(self, request: Request, answer: Answer, *, anew: bool = False) -> Answer:
        """The answer with a session's cookie, where the browser has none yet."""
        if not anew and self._session(request) is not None:
            return answer
        id = secrets.token_hex(8)
        known = self._session(request)
        self.sessions[id] = replace(known[1]) if known is not None else _Session()
        return answer.with_headers(("Set-Cookie", f"session={id}; Path=/; HttpOnly; SameSite=Lax"))

    def _log_in(self, request: Request) -> Answer:
        known = self._session(request)
        there = self._user(known[1] if known is not None else None)
        target = _form(request).get("redirect_to") or request.parameter("redirect_to")
        target = target or _cookies(request).get("redirect_to") or "/"
        if request.method == "GET" and there is not None:
            return redirect(request, _local(target), 303, api=False)
        given = _form(request)
        user = self.registry.owner(given.get("user_name", ""))
        right = (
            user is not None
            and user.settings.password is not None
            and hmac.compare_digest(user.settings.password.encode(), given.get("password", "").encode())
        )
        foreign = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if request.method == "GET" or not right or foreign or user is None:
            return self._with_session(request, _page("Sign in", _LOGIN_FORM))
        answer = _bare(303, ("Location", _local(target)))
        id = secrets.token_hex(8)
        self.sessions[id] = _Session(user=user.name)
        return answer.with_headers(
            ("Set-Cookie", f"session={id}; Path=/; HttpOnly; SameSite=Lax"),
            ("Set-Cookie", _LANG),
            ("Set-Cookie", "redirect_to=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"),
        )

    def _log_out(self, request: Request) -> Answer:
        known = self._session(request)
        if known is not None:
            del self.sessions[known[0]]
        gone = ("Set-Cookie", "session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
        return _json({"redirect": "/"}, 200, sniffed=True).with_headers(gone)

    # -- may it? ----------------------------------------------------------------------------------------------------

    def _authorize(self, request: Request) -> Answer:
        given = _form(request) if request.method == "POST" else dict(parse_qsl(request.query, keep_blank_values=True))
        known = self._session(request)
        session = known[1] if known is not None else None
        user = self._user(session)
        if user is None or session is None:
            cookie = f"redirect_to={quote(request.target, safe='')}; Path=/; HttpOnly; SameSite=Lax"
            answer = self._with_session(request, redirect(request, "/user/login", 303, api=False))
            return answer.with_headers(("Set-Cookie", cookie))
        if user.settings.prohibited:
            return _page("Prohibited", "<p>This account is prohibited from signing in.</p>")
        application = self.registry.applications.get(given.get("client_id", ""))
        target = given.get("redirect_uri", "")
        if application is None or not _is_registered(application, target):
            return _page("Error", "<p>The client or its redirect URI is not registered.</p>", 400)
        state = given.get("state", "")

        def refused(error: str, description: str) -> Answer:
            return self._back(request, target, {"error": error, "error_description": description}, state)

        if given.get("response_type") != "code":
            return refused("unsupported_response_type", "Only code response type is supported.")
        challenge, method = given.get("code_challenge", ""), given.get("code_challenge_method", "")
        if method not in ("", "S256", "plain"):
            return refused("invalid_request", "unsupported code challenge method")
        if method:
            session.pkce = challenge, method
        elif challenge:
            session.pkce = challenge, "?"  # kept, and then never right
        elif not application.confidential:
            return refused("invalid_request", "PKCE is required for public clients")
        session.state = state
        grant = self.grants.get((user.id, application.client_id))
        if grant is not None and application.confidential:
            grant.nonce = given.get("nonce") or grant.nonce
            return self._back(request, target, {"code": self._code(grant, target, session)}, state)
        fields = {
            "client_id": application.client_id,
            "state": state,
            "scope": given.get("scope", ""),
            "nonce": given.get("nonce", ""),
            "redirect_uri": target,
        }
        return _page(f"Authorize {application.name}?", _consent(application, user, fields))

    def _granted(self, request: Request) -> Answer:
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            text = b"cross-origin request detected from Sec-Fetch-Site header\n"
            return _text(403, text)
        known, given = self._session(request), _form(request)
        user = self._user(known[1] if known is not None else None)
        application = self.registry.applications.get(given.get("client_id", ""))
        if known is None or user is None or given.get("state", "") != known[1].state or application is None:
            return _text(400, b"Bad Request\n")
        target, state, scope = given.get("redirect_uri", ""), given.get("state", ""), given.get("scope", "")
        if given.get("granted") != "true":
            denied = {"error": "access_denied", "error_description": "the request is denied"}
            return self._back(request, target, denied, state)
        key = (user.id, application.client_id)
        grant = self.grants.get(key)
        if grant is not None and grant.scope != scope:
            refused = {"error": "server_error", "error_description": "a grant exists with different scope"}
            return self._back(request, target, refused, state)
        if grant is None:
            grant = self.grants[key] = _Grant(len(self.grants) + 1, user.id, application.client_id, scope)
        grant.nonce = given.get("nonce") or grant.nonce
        return self._back(request, target, {"code": self._code(grant, target, known[1])}, state)

    def _code(self, grant: _Grant, target: str, session: _Session) -> str:
        code = f"gta_{secrets.token_hex(16)}"
        self.codes[code] = _Code(grant, target, session.pkce)
        return code

    def _back(self, request: Request, target: str, fields: dict[str, str], state: str) -> Answer:
        query = urlencode({**fields, **({"state": state} if state else {})})
        location = f"{target}?{query}"
        if request.method == "POST":
            return _bare(303, ("Location", location))
        return redirect(request, location, 303, api=False)

    # -- tokens -----------------------------------------------------------------------------------------------------

    def _access_token(self, request: Request) -> Answer:
        try:
            return self._with_session(request, _json(self._tokens(request), 200), anew=True)
        except _Refused as refused:
            return self._with_session(request, _json(refused.document, 400), anew=True)

    def _tokens(self, request: Request) -> dict[str, Any]:
        given = _form(request)
        basic = _basic(request)
        if basic is not None:
            given = {**given, "client_id": basic[0], "client_secret": basic[1]}
        kind = given.get("grant_type")
        if kind not in ("authorization_code", "refresh_token"):
            text = "Only refresh_token or authorization_code grant type is supported"
            raise _Refused("unsupported_grant_type", text)
        client = given.get("client_id", "")
        application = self.registry.applications.get(client)
        if application is None:
            raise _Refused("invalid_client", f"cannot load client with client id: '{client}'")
        secret = given.get("client_secret", "")
        if application.confidential and not hmac.compare_digest(secret.encode(), application.secret.encode()):
            name = "unauthorized_client" if kind == "authorization_code" else "invalid_client"
            raise _Refused(name, "invalid client secret" if secret else "invalid empty client secret")
        return self._refreshed(application, given) if kind == "refresh_token" else self._exchanged(application, given)

    def _exchanged(self, application: Application, given: dict[str, str]) -> dict[str, Any]:
        target = given.get("redirect_uri", "")
        if target and not _is_registered(application, target):
            raise _Refused("unauthorized_client", "unexpected redirect URI")
        code = self.codes.get(given.get("code", ""))
        if code is None:
            raise _Refused("unauthorized_client", "client is not authorized")
        if code.grant.client_id != application.client_id:
            raise _Refused("invalid_grant", "invalid grant")
        if not _proves(code.pkce, given.get("code_verifier", "")):
            raise _Refused("unauthorized_client", "failed PKCE code challenge")
        if target != code.redirect_uri:
            raise _Refused("unauthorized_client", "redirect_uri does not match the authorization request")
        del self.codes[given["code"]]
        return self._issue(code.grant)

    def _refreshed(self, application: Application, given: dict[str, str]) -> dict[str, Any]:
        token = self.issued.get(given.get("refresh_token", ""))
        if token is None or self.now() >= token.expires:
            raise _Refused("unauthorized_client", "unable to parse refresh token")
        if not token.refresh:
            raise _Refused("unauthorized_client", "token is not a refresh token")
        if token.grant.client_id != application.client_id:
            raise _Refused("invalid_grant", "refresh token was not issued to this client")
        if token.counter != token.grant.counter:
            raise _Refused("unauthorized_client", "token was already used")
        return self._issue(token.grant)

    def _issue(self, grant: _Grant) -> dict[str, Any]:
        now, life = int(self.now()), self.policy.access_token_seconds
        grant.counter += 1
        access = self._signed({"gnt": grant.id, "tt": 0, "exp": now + life, "iat": now})
        claims = {"gnt": grant.id, "tt": 1, "cnt": grant.counter, "exp": now + REFRESH_SECONDS, "iat": now}
        refresh = self._signed(claims)
        self.issued[access] = _Issued(grant, False, 0, now + life)
        self.issued[refresh] = _Issued(grant, True, grant.counter, now + REFRESH_SECONDS)
        told = {"access_token": access, "token_type": "bearer", "expires_in": life, "refresh_token": refresh}
        if "openid" in grant.scope.split():
            told["id_token"] = self._signed(self._claims(grant, now + life, now))
        return told

    def _claims(self, grant: _Grant, expires: int, now: int) -> dict[str, Any]:
        told = {"iss": self.issuer, "sub": str(grant.user), "aud": [grant.client_id], "exp": expires, "iat": now}
        return told | ({"nonce": grant.nonce} if grant.nonce else {})

    def _signed(self, claims: dict[str, Any]) -> str:
        head = {"alg": "RS256", "kid": self._key_id, "typ": "JWT"}
        text = f"{_b64(json.dumps(head).encode())}.{_b64(json.dumps(claims, separators=(',', ':')).encode())}"
        return f"{text}.{_b64(_signing_key().sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def _owner_of(self, grant: _Grant) -> Owner | None:
        names = {place.owner.name for place in self.registry.places()} | set(self.registry.people())
        return next(
            (one for name in names if (one := self.registry.owner(name)) is not None and one.id == grant.user), None
        )

    def _live(self, secret: str) -> _Issued | None:
        found = self.issued.get(secret)
        if found is None or self.now() >= found.expires or found.grant.client_id not in self.registry.applications:
            return None
        return found if self._owner_of(found.grant) is not None else None

    def _bearer(self, secret: str) -> Token | None:
        found = self._live(secret)
        owner = self._owner_of(found.grant) if found is not None else None
        if found is None or found.refresh or owner is None:
            return None
        words = frozenset(found.grant.scope.split()) - _OIDC
        return Token(owner.name, words - {"public-only"} or frozenset({"all"}), public_only="public-only" in words)

    # -- what a token is --------------------------------------------------------------------------------------------

    def _userinfo(self, request: Request) -> Answer:
        given = request.headers.get("authorization", "")
        if not given:
            headers: Headers = (("Www-Authenticate", 'Bearer realm=""'),)
            return self._with_session(request, _text(401, b"no valid authorization", headers, tight=True), anew=True)
        found = self._live(given.partition(" ")[2].strip())
        owner = self._owner_of(found.grant) if found is not None else None
        if found is None or found.refresh or owner is None:
            text = (
                b"Credentials are incorrect or have expired. Retry your command or see"
                b" https://codeberg.org/forgejo/forgejo/issues/2809 for more information\n"
            )
            return self._with_session(request, _text(401, text), anew=True)
        email = self.registry.email(owner)
        told = {
            "sub": str(owner.id),
            "name": owner.name,
            "preferred_username": owner.name,
            "email": email,
            "picture": f"{self.root}avatars/{hashlib.md5(email.encode(), usedforsecurity=False).hexdigest()}",
        }
        return self._with_session(request, _json(told, 200), anew=True)

    def _introspect(self, request: Request) -> Answer:
        basic = _basic(request)
        application = self.registry.applications.get(basic[0]) if basic is not None else None
        if (
            basic is None
            or application is None
            or not hmac.compare_digest(basic[1].encode(), application.secret.encode())
        ):
            headers: Headers = (("Www-Authenticate", 'Basic realm=""'),)
            return self._with_session(request, _text(401, b"no valid authorization", headers, tight=True), anew=True)
        found = self._live(_form(request).get("token", ""))
        told: dict[str, Any] = {"active": found is not None}
        owner = self._owner_of(found.grant) if found is not None else None
        if found is not None and owner is not None:
            if found.grant.scope:
                told["scope"] = found.grant.scope
            told |= {
                "username": owner.name,
                "iss": self.issuer,
                "sub": str(owner.id),
                "aud": [found.grant.client_id],
            }
        return self._with_session(request, _json(told, 200), anew=True)

    # -- what it says of itself -------------------------------------------------------------------------------------

    def _discovery(self, request: Request) -> Answer:
        at, oauth = self.issuer, f"{self.issuer}/login/oauth"
        claims = "aud exp iat iss sub name preferred_username profile picture website locale updated_at email"
        told = {
            "issuer": at,
            "authorization_endpoint": f"{oauth}/authorize",
            "token_endpoint": f"{oauth}/access_token",
            "jwks_uri": f"{oauth}/keys",
            "userinfo_endpoint": f"{oauth}/userinfo",
            "introspection_endpoint": f"{oauth}/introspect",
            "response_types_supported": ["code", "id_token"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "subject_types_supported": ["public"],
            "scopes_supported": ["openid", "profile", "email", "groups"],
            "claims_supported": [*claims.split(), "email_verified", "groups"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
        }
        body = json.dumps(told, indent=4).encode() + b"\n"
        headers = (NO_CACHE, ("Content-Type", "application/json"), FRAME, ("Content-Length", str(len(body))))
        return self._with_session(request, Answer(200, headers, body, told), anew=True)

    def _no_metadata(self, request: Request) -> Answer:
        return self._with_session(request, _bare(404), anew=True)

    def _keys(self, request: Request) -> Answer:
        numbers = _signing_key().public_key().public_numbers()
        key = {
            "alg": "RS256",
            "e": _b64(numbers.e.to_bytes(3, "big")),
            "kid": self._key_id,
            "kty": "RSA",
            "n": _b64(numbers.n.to_bytes(256, "big")),
            "use": "sig",
        }
        body = go_json({"keys": [key]})
        headers = (NO_CACHE, ("Content-Type", "application/json"), FRAME, ("Content-Length", str(len(body))))
        return self._with_session(request, Answer(200, headers, body), anew=True)


@lru_cache(1)
def _signing_key() -> rsa.RSAPrivateKey:
    """One for all forges of a process: to make one takes half a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


_LOGIN_FORM = (
    '<form method="post"><p><label>Username <input name="user_name" autofocus></label></p>'
    '<p><label>Password <input name="password" type="password"></label></p><button>Sign in</button></form>'
)


def _consent(application: Application, user: Owner, fields: dict[str, str]) -> str:
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in fields.items()
    )
    scope = html.escape(fields["scope"] or "everything")
    return (
        f"<p>{html.escape(application.name)}, made by {html.escape(application.owner)}, asks {html.escape(user.name)}"
        f' for <code>{scope}</code>.</p><form method="post" action="/login/oauth/grant">{hidden}'
        '<button name="granted" value="true">Authorize</button><button name="granted" value="false">Cancel</button>'
        "</form>"
    )


def _page(title: str, body: str, status: int = 200) -> Answer:
    text = f'<!DOCTYPE html>\n<html lang="en"><title>{html.escape(title)}</title><h1>{html.escape(title)}</h1>{body}\n'
    data = text.encode()
    headers = (NO_CACHE, ("Content-Type", "text/html; charset=utf-8"), FRAME, ("Content-Length", str(len(data))))
    return Answer(status, headers, data)


def _bare(status: int, *headers: tuple[str, str]) -> Answer:
    return Answer(status, (NO_CACHE, *headers, FRAME, ("Content-Length", "0")))


def _text(status: int, text: bytes, headers: Headers = (), *, tight: bool = False) -> Answer:
    kind = "text/plain;charset=utf-8" if tight else "text/plain; charset=utf-8"
    length = ("Content-Length", str(len(text)))
    return Answer(status, (NO_CACHE, ("Content-Type", kind), *headers, NOSNIFF, FRAME, length), text)


def _json(told: dict[str, Any], status: int, *, sniffed: bool = False) -> Answer:
    body = go_json(told)
    headers: Headers = (NO_CACHE, ("Content-Type", "application/json;charset=utf-8"), FRAME)
    if sniffed:
        headers = (*headers, NOSNIFF)
    return Answer(status, (*headers, ("Content-Length", str(len(body)))) if len(body) <= 2048 else headers, body, told)


def _cookies(request: Request) -> dict[str, str]:
    try:
        return {name: each.value for name, each in SimpleCookie(request.headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def _form(request: Request) -> dict[str, str]:
    if "json" in request.headers.get("content-type", ""):
        try:
            told = json.loads(request.body)
        except ValueError:
            return {}
        return {name: value for name, value in told.items() if isinstance(value, str)} if isinstance(told, dict) else {}
    return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(given).decode().partition(":")
    except ValueError:
        return None
    return name, secret


def _is_registered(application: Application, target: str) -> bool:
    """In any case, and with a slash at its end or without."""
    return target.lower().rstrip("/") in {uri.lower().rstrip("/") for uri in application.redirect_uris} and bool(target)


def _proves(pkce: tuple[str, str], verifier: str) -> bool:
    challenge, method = pkce
    if not method:
        return True
    if method == "S256":
        return hmac.compare_digest(_b64(hashlib.sha256(verifier.encode()).digest()), challenge)
    return method == "plain" and hmac.compare_digest(verifier.encode(), challenge.encode())


def _local(target: str) -> str:
    """A place on this forge, whatever a cookie or a link says."""
    target = target if "%" not in target[:4] else dict(parse_qsl(f"x={target}")).get("x", "/")
    parts = urlsplit(target)
    return target if target.startswith("/") and not target.startswith("//") and not parts.netloc else "/"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
