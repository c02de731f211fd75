# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A forge behind a real mitmdump that passes its public host through: what the tests of that side share."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from addon.preview.forge import Forge
from tests.addon.preview.odd_pages import OddForge
from tests.integration.running import Proxy, running_proxy
from tests.integration.wire import Wire
from tests.waiting import wait_until

GIT = "git.test"
"""The public host of the forge."""
MIB = 1024 * 1024


@contextlib.contextmanager
def passing_through(folder: Path, forge: OddForge | Forge, **options: Any) -> Iterator[Proxy]:
    """A mitmdump in front of a forge."""
    options = {"forgejoHost": forge.url, "forgejoPublicHost": GIT, "accessLog": "requests.log"} | options
    with running_proxy(folder, options.pop("forgejoHost"), **options) as proxy:
        yield proxy


def log_lines(folder: Path) -> list[dict[str, Any]]:
    """The access log as far as it is written."""
    text = (folder / "requests.log").read_text()
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def logged(folder: Path, path: str) -> dict[str, Any]:
    """The first line of the access log about a path, once it is there."""
    return wait_until(lambda: [line for line in log_lines(folder) if line["path"] == path], f"a line on {path}")[0]


def echo(wire: Wire, target: str = "/echo", method: str = "GET", host: str = GIT, **fields: str) -> dict[str, Any]:
    """What the forge says it received."""
    head, body = wire.exchange(host, target, method, **fields)
    assert head.status == 200, (head, body)
    told: dict[str, Any] = json.loads(body)
    told["headers"] = dict(told["headers"])
    return told


def git(folder: Path, *arguments: str) -> str:
    """Run git without anybody's configuration; returns what it prints."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Alice",
        "GIT_AUTHOR_EMAIL": "alice@example.org",
        "GIT_COMMITTER_NAME": "Alice",
        "GIT_COMMITTER_EMAIL": "alice@example.org",
    }
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
