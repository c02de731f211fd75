# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Whether somebody may read a repository's code, asked of Forgejo with that person's own token.

`GET /repos/{owner}/{name}`: yes is 200 with `permissions.pull` and the number that we know. Nothing else will do:
`userinfo` and introspection do not know of prohibited users, and the permission that an administrator is told says
"write" of a team that may not see code. What a 401 says is never read, for it repeats the token.
"""

from __future__ import annotations

import enum
import re

from addon.forgejo import answers
from addon.forgejo.answers import Repository
from addon.forgejo.calls import API, Calls
from addon.forgejo.errors import BadAnswer

_BODY = 4 * 1024 * 1024
TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,8192}")
"""What may stand behind `Bearer` (RFC 6750 §2.1), bounded."""


class Verdict(enum.Enum):
    """What Forgejo says of a token and a repository."""

    YES = "may read it"
    NO = "may not read it, or it is not there"
    NO_TOKEN = "the token is not good (any more)"


async def verdict(calls: Calls, repository: Repository, token: str) -> Verdict:
    """Raises ForgejoError where Forgejo does not say."""
    if not TOKEN.fullmatch(token):
        return Verdict.NO_TOKEN
    target = f"{API}{answers.quoted(repository.owner)}/{answers.quoted(repository.name)}"
    headers = (("Authorization", f"Bearer {token}"),)
    answer = await calls.fetch(target, owner=repository.owner, headers=headers, limit=_BODY)
    if answer.status in (401, 403) and not answers.is_json(answer.header("content-type")):
        raise BadAnswer("what answers is not Forgejo's API but something in front of it")
    if answer.status == 401:
        return Verdict.NO_TOKEN
    if answer.status == 403:  # prohibited, not active, or of another scope
        return Verdict.NO
    if answer.status in (301, 302, 307, 308):  # renamed since we looked: the next look tells what it is now
        return Verdict.NO
    if answer.status == 404 and answers.is_own_error(answer.header("content-type"), answer.body):
        return Verdict.NO
    if answer.status != 200:
        raise answer.trouble("the right to read a repository")
    return Verdict.YES if _may_pull(answer.body, repository) else Verdict.NO


def _may_pull(body: bytes, repository: Repository) -> bool:
    told = answers.document(body)
    if type(told) is not dict:
        raise BadAnswer("the right to read a repository: expected a JSON object")
    permissions = told.get("permissions")
    return told.get("id") == repository.id and type(permissions) is dict and permissions.get("pull") is True
