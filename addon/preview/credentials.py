# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The credentials a request brings, in all of the forms that Forgejo takes, and what it says to bad ones.

Anything that was attempted and is not known is refused, also for what everybody may read (services/auth in Forgejo).
"""

from __future__ import annotations

import base64
import binascii

from addon.preview.answers import Request


def secrets_of(request: Request) -> list[str]:
    """What may be a token: of `Authorization: token`, `Bearer` or `Basic`, or of the query. Empty: none was tried."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    given = given.strip()
    if scheme.lower() in ("token", "bearer") and given:
        return [given]
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return [""]
        return [user] if password in ("", "x-oauth-basic") else [password, user]
    query = request.parameter("token") or request.parameter("access_token")
    return [query] if query else []


def refusal(secret: str) -> str:
    """Forgejo joins what each of its methods had to say, the secret included: a client must not log it."""
    malformed = "token is malformed: token contains an invalid number of segments"
    return "\n".join(
        (
            malformed,
            f"access token does not exist [sha: {secret}]",
            malformed,
            f'task with token "{secret}": resource does not exist',
            f"authorized integration: parse JWT error: {malformed}",
        )
    )
