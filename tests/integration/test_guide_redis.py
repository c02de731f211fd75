# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The commands of `config/guides/redis.md`, run as they stand beside a running server, do what is said."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.running import ROOT, Proxy, running_proxy
from tests.resp.servers import Server, start_valkey

NEEDED = ("redis-cli", "git")
pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and any(shutil.which(name) is None for name in NEEDED),
    reason="redis-cli and git are not installed",
)
GUIDE = ROOT / "config" / "guides" / "redis.md"
BLOCK = re.search(r"<!-- redis-commands -->\n```sh\n(.*?)```", GUIDE.read_text(), re.S)
assert BLOCK is not None
COMMANDS = [line for line in BLOCK[1].splitlines() if line and not line.startswith("#")]


class Shell:
    """A shell in a clone of the site, in which `redis-cli` finds the test's server."""

    def __init__(self, folder: Path, clone: Path, redis: Server) -> None:
        tools = folder / "bin"
        tools.mkdir()
        wrapper = tools / "redis-cli"
        wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("redis-cli")} -h {redis.host} -p {redis.port} "$@"\n')
        wrapper.chmod(0o755)
        self._clone = clone
        self._environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-c", command], cwd=self._clone, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
        assert not re.match(r"\(error\)|ERR|WRONGTYPE", done.stdout), (command, done.stdout)
        return done.stdout.strip()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Shell, Proxy]]:
    settings = {".pages": b"custom_domain: www.example.org\n"}
    site = Site(tmp_path / "forge" / "alice" / "blog.git", settings | {"public/index.html": b"old"})
    site.commit({"public/index.html": b"new"})
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(tmp_path / "forge" / "alice" / "blog.git"), str(clone)], check=True)
    with start_forge(tmp_path / "forge") as forge:
        with start_valkey() as redis:
            options = {"redisHost": redis.host, "redisPort": redis.port, "cacheTTL": 3600}
            with running_proxy(tmp_path / "proxy", forge.url, **options) as proxy:
                assert proxy.get("alice", "/blog/").body == b"new"
                proxy.comes_to(200, "www.example.org")
                yield Shell(tmp_path, clone, redis), proxy
        site.close()


def test_every_command_does_what_the_guide_says(place: tuple[Shell, Proxy]) -> None:
    shell, proxy = place
    told = dict.fromkeys(COMMANDS, "")
    for command in COMMANDS:
        told[command] = shell.run(command)
        if "SET custom_domain:www.example.net" in command:
            proxy.comes_to(200, "www.example.net", "/")
        elif "DEL custom_domain:www.example.net" in command:
            proxy.comes_to(404, "www.example.net", "/")
        elif "HEAD~1" in command:
            proxy.comes_to(200, "alice", "/blog/", b"old")
        elif "DEL '~pages:ref" in command:
            proxy.comes_to(200, "alice", "/blog/", b"new")
        elif "SET password:" in command:
            proxy.comes_to(401, "alice", "/blog/")
        elif "DEL password:" in command:
            proxy.comes_to(200, "alice", "/blog/")
    assert "~pages:ref:alice/blog@main" in told[next(each for each in COMMANDS if "--scan --pattern '~pages" in each)]
    assert told[next(each for each in COMMANDS if "hash-object" in each)] == "new"
    assert told["redis-cli GET custom_domain:www.example.org"] == "alice:blog"
