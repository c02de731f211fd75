# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages purge` makes proxies look again, and touches nothing else."""

import asyncio
import json
from pathlib import Path

import pytest

from addon.commands.cli import main
from tests.addon.preview.sites import Site
from tests.addon.shared.conftest import FIRST, MakeNode
from tests.resp.servers import Server
from tests.waiting import until


def settings_file(folder: Path, redis: Server | None) -> str:
    options: dict[str, object] = {"pagesDomain": "pages.test", "forgejoHost": "http://127.0.0.1:1"}
    if redis is not None:
        options |= {"redisHost": redis.host, "redisPort": redis.port}
    path = folder / "pages.yaml"
    path.write_text(json.dumps(options | {"stateDir": str(folder)}))
    return str(path)


@pytest.mark.parametrize("what", ["alice/blog", "Alice/Blog", "www.example.org", "--all"])
async def test_a_purge_by_hand_is_seen_by_a_running_proxy(
    node: MakeNode, redis: Server, blog: Site, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    each = await node(redis).tracked()
    assert (await each.get("alice", "/blog/")).body == FIRST
    await each.settled()
    redis.ask("SET", "custom_domain:www.example.org", "alice:blog")
    blog.commit({"public/index.html": b"Second"})
    command = ["purge", what, "--json", "--config", settings_file(tmp_path, redis)]
    assert await asyncio.to_thread(main, command) == 0
    again = "everything" if what == "--all" else "alice/blog"
    assert json.loads(capsys.readouterr().out) == {"looked_at_again": again}
    await until(lambda: each.library.lookups()[0].suspect or each.library.lookups()[0].commit == blog.head(), "it")
    assert (await each.get("alice", "/blog/")).body == b"Second"
    assert redis.ask("GET", "custom_domain:www.example.org") == b"alice:blog"


WRONG = [["purge"], ["purge", "alice/blog", "--all"]]


@pytest.mark.parametrize("command", WRONG)
def test_a_purge_of_nothing_or_of_both_is_a_wrong_command(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    assert "OWNER/REPO" in capsys.readouterr().err


def test_a_purge_that_reaches_nobody_says_so(tmp_path: Path, redis: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["purge", "a/b", "--config", settings_file(tmp_path, None)]) == 1
    assert "redisHost" in capsys.readouterr().err
    assert main(["purge", "not.known.example", "--config", settings_file(tmp_path, redis)]) == 1
    assert "not.known.example" in capsys.readouterr().err
