# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a real Forgejo 16.0 answered and sent: `exchanges()`, `webhooks()` and `logins()`, one dict each, in order.

`pulls()` and `pull_webhooks()` are of pull requests, recorded later, over repositories that are not to be made again.

Recorded on loopback with default settings, ROOT_URL http://forge.localhost:3000/, over the repositories of
`tests.addon.preview.fixtures`. An exchange has `note`, `request` (method, path, headers; `token <name>` stands for a
token of `tests.addon.preview.running.TOKENS`) and `response` (status, headers without Date, length, and the body as
text, base64 or, above 300 kB, sha256). A webhook has `step` (what caused it), `seconds_after`, `secret`, method, path,
headers, text. Of the logins, pages for people are left out, and of repositories all but `private` and `permissions`;
`<code 1>` and the like stand for what differs in each run.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

ROOT_URL = "http://forge.localhost:3000/"
_HERE = Path(__file__).parent


def exchanges() -> list[dict[str, Any]]:
    """The 192 requests and what came back."""
    return _lines("exchanges.jsonl.gz")


def webhooks() -> list[dict[str, Any]]:
    """The deliveries in order of arrival."""
    return _lines("webhooks.jsonl.gz")


def logins() -> list[dict[str, Any]]:
    """OAuth2 from discovery to refusal, and what its tokens may read; the state changes between some of them."""
    return _lines("logins.jsonl.gz")


def pulls() -> list[dict[str, Any]]:
    """Requests about pull requests, reviews, statuses, branches and commits, and what came back; in order of time."""
    return _lines("pulls.jsonl.gz")


def pull_webhooks() -> list[dict[str, Any]]:
    """Deliveries about pull requests and what goes with them, each kind at least once."""
    return _lines("pull_webhooks.jsonl.gz")


def _lines(name: str) -> list[dict[str, Any]]:
    with gzip.open(_HERE / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
