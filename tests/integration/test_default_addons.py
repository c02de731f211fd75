# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""mitmproxy's own addons, counted in a real mitmdump once it has settled."""

import json
from pathlib import Path
from typing import Any

import pytest

from addon.preview.forge import Forge
from tests.integration.running import mitmdump_command, spawn, wait_for_port, write_config
from tests.ports import free_port
from tests.waiting import wait_until

WITNESS = """
import gc, json, pathlib
from mitmproxy import ctx

class Witness:
    def client_connected(self, client):
        known = {id(addon): name for name, addon in ctx.master.addons.lookup.items()}
        names = [known[id(addon)] for addon in ctx.master.addons.chain]
        told = {"names": names, "frozen": gc.get_freeze_count()}
        path = pathlib.Path("told.json.new")
        path.write_text(json.dumps(told))
        path.rename("told.json")

addons = [Witness()]
"""
NEEDED = {
    "termlog",
    "core",
    "block",
    "disableh2c",
    "proxyserver",
    "scriptloader",
    "nextlayer",
    "tlsconfig",
    "errorcheck",
}


def settled(folder: Path, forge: Forge, *arguments: str, **options: Any) -> tuple[dict[str, Any], str]:
    """What a mitmdump has when it has settled, and its log."""
    folder.mkdir()
    (folder / "witness.py").write_text(WITNESS)
    port = free_port()
    config = write_config(folder, forge.url, port, logLevel="debug", lane=False, **options)
    process, log = spawn(folder, [*mitmdump_command(config), "-s", "witness.py", *arguments])
    try:
        wait_for_port(process, port, log)

        def told() -> dict[str, Any] | None:
            wait_for_port(process, port, log)  # a connection, of which the witness tells
            found: dict[str, Any] = json.loads((folder / "told.json").read_text())
            return found if found["frozen"] else None

        (folder / "told.json").write_text('{"frozen": 0}')
        return wait_until(told), log.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory, forge: Forge) -> tuple[dict[str, Any], str]:
    return settled(tmp_path_factory.mktemp("settled") / "usual", forge)


def test_addons_that_have_nothing_to_do_are_gone_and_the_others_are_there(usual: tuple[dict[str, Any], str]) -> None:
    told, log = usual
    names = set(told["names"])
    assert names >= NEEDED
    assert not names & {"onboarding", "mapremote", "maplocal", "modifybody", "save", "stickycookie", "serverplayback"}
    assert len(names) <= 16
    assert "Traceback" not in log


def test_what_lives_after_the_start_is_no_longer_looked_through(usual: tuple[dict[str, Any], str]) -> None:
    told, _ = usual
    assert told["frozen"] > 10_000


def test_they_are_kept_where_the_settings_say_so(
    tmp_path: Path, forge: Forge, usual: tuple[dict[str, Any], str]
) -> None:
    told, _ = settled(tmp_path / "kept", forge, keepDefaultAddons=True)
    assert len(told["names"]) > len(usual[0]["names"]) + 15
    assert {"onboarding", "maplocal", "save"} <= set(told["names"])


def test_an_addon_that_an_option_gives_something_to_do_stays(tmp_path: Path, forge: Forge) -> None:
    told, _ = settled(tmp_path / "used", forge, "--modify-headers", "/~s/X-Added/yes")
    assert "modifyheaders" in told["names"]
    assert "modifybody" not in told["names"]
