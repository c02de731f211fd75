# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The forge of one answers every recorded request as the real Forgejo did: status, headers, body byte for byte.

What is not compared, with its reason, is all in `NOT_COMPARED` and `_masked`; no exchange is left out.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from addon.preview.forge import Forge
from addon.preview.settings import Flavour
from tests.addon.preview.asking import ask
from tests.addon.preview.recordings import ROOT_URL, exchanges, webhooks
from tests.addon.preview.running import TOKENS, recorded_forge

# Header → why its value is of no matter. The recordings leave out Date themselves.
NOT_COMPARED = {"date": "the time of the answer"}
EXCHANGES = exchanges()


@pytest.fixture(scope="module")
def recorded(repositories: Path) -> Iterator[Forge]:
    with recorded_forge(
        repositories, root_url=ROOT_URL, ssh_user="root", flavour=Flavour(name="Forgejo test")
    ) as running:
        # The recorded forge's git was too old for SHA-256 repositories: it had none.
        running.settings("alice/sixtyfour").private = True
        yield running


def _with_token(value: str) -> str:
    return re.sub(r"<([^>]*)>", lambda found: TOKENS.get(found[1], found[1]), value)


def _masked(
    exchange: dict[str, Any], headers: list[tuple[str, str]], body: bytes
) -> tuple[list[tuple[str, str]], bytes]:
    """Headers in no order, and without what differs in each run: the health check's time, the cookie's value."""
    shown = [(name.lower(), value) for name, value in headers if name.lower() not in NOT_COMPARED]
    shown = [(name, re.sub("lang=[^;]*", "lang=", value) if name == "set-cookie" else value) for name, value in shown]
    if exchange["note"] == "health":
        body = re.sub(rb'"time": "[^"]*"', b'"time": ""', body)
    return sorted(shown), body


def _body_of(response: dict[str, Any]) -> bytes:
    if "base64" in response:
        return base64.b64decode(response["base64"])
    return str(response["text"]).encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    "exchange", EXCHANGES, ids=[f"{number}-{one['note']}".replace(" ", "-") for number, one in enumerate(EXCHANGES)]
)
def test_the_same_request_has_the_recorded_answer(recorded: Forge, exchange: dict[str, Any]) -> None:
    request, expected = exchange["request"], exchange["response"]
    headers = {name: _with_token(value) for name, value in request["headers"].items()}
    got = ask(recorded, request["method"], request["path"], headers)
    assert got.status == expected["status"]
    assert len(got.body) == expected["length"]
    if "sha256" in expected:
        assert hashlib.sha256(got.body).hexdigest() == expected["sha256"]
        wanted_body = got.body
    else:
        wanted_body = _body_of(expected)
    wanted = _masked(exchange, [(name, value) for name, value in expected["headers"]], wanted_body)
    assert _masked(exchange, got.headers, got.body) == wanted


def test_all_recordings_are_here() -> None:
    assert len(EXCHANGES) == 192
    assert len(webhooks()) == 36


@pytest.mark.skipif(
    shutil.which("git") is None and "CI" not in os.environ,
    reason="a second opinion: the ids above have shown it already",
)
def test_the_repositories_are_sound_to_git(repositories: Path) -> None:
    for path in sorted(repositories.glob("*/*.git")):
        done = subprocess.run(["git", "fsck", "--strict", "--no-dangling"], cwd=path, capture_output=True, text=True)
        # A submodule's commit is in another repository; git does not look for it. Odd modes and names are meant.
        assert done.returncode == 0, f"{path.name}: {done.stderr}"
