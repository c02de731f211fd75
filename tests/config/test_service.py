# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The systemd unit and the Containerfile say what is so: commands that exist, options that exist, no more rights."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from addon.settings.schema import load
from tests.integration.running import ROOT

UNIT = ROOT / "config" / "systemd" / "forgejo-pages.service"
CONTAINERFILE = ROOT / "config" / "container" / "Containerfile"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None and "CI" not in os.environ, reason="systemd is not there")
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    # A program that is there, in the place of the one that its first comment installs.
    text = UNIT.read_text().replace("/opt/forgejo-pages/bin/pages", shutil.which("true") or "/bin/true")
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout  # above 2.0 of 10: something that was closed is open


@pytest.mark.parametrize("line", re.findall(r"^ExecStart(?:Pre)?=\S+ (.*)$", UNIT.read_text(), re.M))
def test_the_commands_of_the_unit_are_commands(line: str) -> None:
    command = [sys.executable, "-m", "addon.commands.cli", *line.split(), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_a_secret_comes_in_by_the_file_that_the_unit_hands_over(tmp_path: Path) -> None:
    (option,) = re.findall(r"^#   (\w+): /run/credentials/forgejo-pages.service/forgejo-token$", UNIT.read_text(), re.M)
    token = tmp_path / "forgejo-token"
    token.write_text("abc123\n")
    config = tmp_path / "pages.yaml"
    config.write_text(f"pagesDomain: pages.example\nforgejoHost: http://127.0.0.1:3000\n{option}: {token}\n")
    settings = load(config, environ={"STATE_DIRECTORY": str(tmp_path)})
    assert settings.forgejo_token is not None
    assert settings.forgejo_token.reveal() == "abc123"
    assert settings.state_dir == tmp_path


def test_the_container_starts_what_is_installed_as_nobody_in_particular() -> None:
    lines = CONTAINERFILE.read_text().splitlines()
    assert [line for line in lines if line.startswith(("ENTRYPOINT", "CMD"))] == [
        'ENTRYPOINT ["pages"]',
        'CMD ["serve", "--config", "/etc/pages.yaml"]',
    ]
    assert "USER 10001" in lines
    assert "STATE_DIRECTORY=/state" in CONTAINERFILE.read_text()
