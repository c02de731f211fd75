# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What the tests of access share: a clock that is moved by hand, visits, locks, and a check that costs no second.

The hash of `secret` is the one that the Traefik plugin wrote into Redis for a site whose password that is.
"""

import base64
import hashlib
from collections.abc import Mapping
from urllib.parse import quote_plus

from addon.access.control import Visit
from addon.access.locks import Lock, lock_of
from addon.access.passwords import PasswordHash
from addon.access.signing_key import SigningKey, Source

SECRET = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
OTHER = hashlib.sha256(b"other").hexdigest()
# argon2id of `secret` with the least memory there is: quick.
QUICK = "$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$39tbUSD70LTTCIyCWo9t5sDidhNPptw1P94ISzTyALc"
KEY = SigningKey(b"k" * 32, Source.SETTINGS)
START = 1_700_000_000.0


def lock(
    password: str = SECRET,
    branches_password: str = "",
    branch: str | None = None,
    owner: str = "alice",
    repository: str = "blog",
    added: str = "",
) -> Lock:
    found = lock_of(owner, repository, password, branches_password, branch, added)
    assert found is not None
    return found


def by_sha256(hash: PasswordHash, password: bytes) -> bool:
    """A check that costs nothing, for locks with a SHA-256."""
    return hashlib.sha256(password).hexdigest() == hash.sha256


def visit(
    headers: Mapping[bytes, bytes] | None = None,
    *,
    method: str = "GET",
    client: str = "192.0.2.7",
    secure: bool = True,
    host: str = "alice.pages.example.org",
    base: str = "/blog/",
    path: str = "/blog/a.html",
    query: str | None = None,
    body: bytes | None = None,
) -> Visit:
    return Visit(method, (headers or {}).get, client, secure, host, base, path, query, body)


def form(password: str, **more: str) -> bytes:
    fields = {"username": "alice.pages.example.org/blog/", "password": password, **more}
    return "&".join(f"{name}={quote_plus(value)}" for name, value in fields.items()).encode()


def login(password: str, headers: Mapping[bytes, bytes] | None = None, client: str = "192.0.2.7") -> Visit:
    sent = {b"content-type": b"application/x-www-form-urlencoded", b"accept": b"text/html", **(headers or {})}
    return visit(sent, method="POST", body=form(password), client=client)


def basic(password: str, user: str = "anybody") -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


def cookie_of(set_cookie: bytes) -> bytes:
    """What a browser sends back for a Set-Cookie."""
    return set_cookie.partition(b";")[0]
