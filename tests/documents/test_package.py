# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What `pip install` brings along, as `pyproject.toml` says it; `.ci/run` builds the package and installs it."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from addon.commands import files

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_file_of_config_is_in_the_package_in_the_folder_it_has() -> None:
    installed = {
        Path(folder).relative_to("share/forgejo-pages") / path.name
        for folder, patterns in PROJECT["tool"]["setuptools"]["data-files"].items()
        for pattern in patterns
        for path in ROOT.glob(pattern)
    }
    there = {Path(name) for name in files.names(ROOT / "config")}
    assert installed == there


def test_pages_files_says_where_they_are_and_shows_one(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert files.files_command(None) == 0
    folder, *lines = capfdbinary.readouterr().out.decode().splitlines()
    assert Path(folder) == ROOT / "config"
    assert {"  pages.yaml", "  guides/authors.md", "  caddy/Caddyfile"} <= set(lines)
    done = subprocess.run(
        [sys.executable, "-m", "addon.commands.cli", "files", "guides/example-site.png"], cwd=ROOT, capture_output=True
    )
    assert done.stdout == (ROOT / "config" / "guides" / "example-site.png").read_bytes()


@pytest.mark.parametrize("name", ["../pyproject.toml", "/etc/passwd", "caddy", "no-such"])
def test_pages_files_shows_nothing_else(name: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert files.files_command(name) == 1
    told = capfdbinary.readouterr()
    assert told.out == b""
    assert b"pages.yaml" in told.err


def test_the_package_says_what_it_is() -> None:
    project = PROJECT["project"]
    assert project["authors"] == [{"name": "the contributors"}]
    assert "Typing :: Typed" in project["classifiers"]
    assert "urls" not in project
    versions = {entry.rpartition(" ")[2] for entry in project["classifiers"] if "Python :: 3." in entry}
    assert project["requires-python"] == ">=" + min(versions, key=lambda text: [int(part) for part in text.split(".")])
