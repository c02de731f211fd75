# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors

"""What the tests of the settings share: ways to make some, and to read what is said when they cannot be made."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from addon.settings.options import Option
from addon.settings.schema import Settings, SettingsError, load

REQUIRED = {"pagesDomain": "pages.example.org", "forgejoHost": "https://git.example.org"}
REQUIRED_YAML = "pagesDomain: pages.example.org\nforgejoHost: https://git.example.org\n"
HOME = {"HOME": "/home/pages"}
BASE = Path("/etc/pages")

OPTIONS: dict[str, tuple[str, Option]] = {
    each.metadata["option"].name: (each.name, each.metadata["option"])
    for each in fields(Settings)
    if "option" in each.metadata
}
"""By its name in the file: each option's attribute and its row of the table."""


def made(options: Mapping[str, object] | None = None, *, environ: Mapping[str, str] = HOME, **more: object) -> Settings:
    """Settings with what is required and these options."""
    return Settings.from_mapping({**REQUIRED, **(options or {}), **more}, environ=environ, base=BASE)


def refusal(options: Mapping[str, object] | None = None, *, environ: Mapping[str, str] = HOME, **more: object) -> str:
    """What is said when these options are refused."""
    with pytest.raises(SettingsError) as caught:
        made(options, environ=environ, **more)
    return str(caught.value)


def loaded(folder: Path, text: str | bytes, environ: Mapping[str, str] = HOME) -> Settings:
    """Settings out of a file `pages.yaml` with this text."""
    path = folder / "pages.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path, environ=environ)


def problems(folder: Path, text: str | bytes, environ: Mapping[str, str] = HOME) -> list[str]:
    """What is said when a file with this text is refused, without the name of the file."""
    with pytest.raises(SettingsError) as caught:
        loaded(folder, text, environ)
    lines = str(caught.value).split("\n")
    assert all(line.startswith(f"{folder}/pages.yaml:") for line in lines)
    return [line.removeprefix(f"{folder}/pages.yaml:").strip() for line in lines]
