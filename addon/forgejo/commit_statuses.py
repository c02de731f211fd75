# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What Forgejo is told: commit statuses, the only thing that is written there.

With a token of its own, which goes nowhere else. Forgejo checks neither state nor address nor length (as recorded of
16), so all of that is checked here.
"""

import json
import re
from enum import Enum
from typing import Final

from addon.forgejo.answers import Repository, is_id, quoted
from addon.forgejo.calls import API, ERROR_BODY, Calls

CONTEXT: Final = "pages/preview"
_LONGEST = 255
_ADDRESS = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]{1,5})?/")


class State(Enum):
    """How it is with a preview."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"


class CommitStatuses:
    """Sets statuses."""

    def __init__(self, calls: Calls, token: str) -> None:
        self._calls = calls
        self._authorization = f"token {token}"

    def __repr__(self) -> str:
        return f"CommitStatuses({self._calls!r})"

    async def tell(self, repository: Repository, commit: str, state: State, address: str, description: str) -> None:
        """Set the status of a commit. Raises Refused where the token may not, NotFound where there is no such commit.

        Asked for twice, it is there twice, and the later one counts: nothing is lost by trying again.
        """
        if not is_id(commit) or not _ADDRESS.fullmatch(address):
            raise ValueError("a status is of a commit, and leads to a web address")
        words = "".join(character if character.isprintable() else " " for character in description[:_LONGEST])
        told = {"state": state.value, "context": CONTEXT, "target_url": address, "description": words}
        target = f"{API}{quoted(repository.owner)}/{quoted(repository.name)}/statuses/{commit}"
        body, owner = json.dumps(told).encode(), repository.owner
        answer = await self._calls.post(
            target,
            body,
            headers=(("Authorization", self._authorization),),
            content_type="application/json",
            owner=owner,
            limit=ERROR_BODY,
        )
        if answer.status not in (200, 201):
            raise answer.trouble(f"a status of {repository.owner}/{repository.name}")
