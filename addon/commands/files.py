# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages files`: where the files of `config/` and the guides are, and what is in one of them.

In a clone they are in `config/`. `pip install` puts them where a distribution's package would: into
`share/forgejo-pages/` below the environment's prefix, which the installed package's list of files names.
"""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from addon.commands.arguments import print_json

DISTRIBUTION = "forgejo-pages-mitmproxy"
_SAMPLE = "pages.yaml"


def shipped() -> Path | None:
    """The folder of these files; None where they were not installed."""
    clone = Path(__file__).resolve().parents[2] / "config"
    if (clone / _SAMPLE).is_file():
        return clone
    try:
        installed = distribution(DISTRIBUTION).files or []
    except PackageNotFoundError:
        return None
    for file in installed:
        if file.parts[-3:] == ("share", "forgejo-pages", _SAMPLE):
            folder = Path(str(file.locate())).resolve().parent
            return folder if folder.is_dir() else None
    return None


def names(folder: Path) -> list[str]:
    """The files in it, by path, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def files_command(name: str | None, *, as_json: bool = False) -> int:
    """Print the folder and its files, or one of them, as it is."""
    folder = shipped()
    if folder is None:
        print("pages files: not installed here: they are in the folder config/ of the repository", file=sys.stderr)
        return 1
    there = names(folder)
    if name is None and as_json:
        print_json({"folder": str(folder), "files": there})
        return 0
    if name is None:
        print(folder)
        for each in there:
            print(f"  {each}")
        return 0
    if name not in there:
        print(f"pages files: {name!r} is none of: {', '.join(there)}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write((folder / name).read_bytes())
    return 0
