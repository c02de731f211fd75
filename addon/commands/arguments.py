# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What the subcommands of `pages` have in common on the command line: help, types of arguments, the settings file."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from addon.shared.domain_mappings import Mapping

VARIABLE = "PAGES_CONFIG"
NAME = "pages.yaml"
SETTINGS = f"the settings file; default: ${VARIABLE}, or {NAME} in the current folder"
Commands = Any
"""What argparse returns from `add_subparsers`; its own class is private and generic."""


def command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int] | None,
    sentence: str,
    *,
    examples: tuple[str, ...],
    codes: tuple[str, ...] = (),
) -> argparse.ArgumentParser:
    """Add a subcommand. sentence: what it does. codes: its exit codes besides 2, a wrong command line."""
    ends = [
        *(codes or ("0  done", "1  it could not be done; the reason is on standard error")),
        "2  wrong command line",
    ]
    epilog = "\n".join(
        [
            "example:" if len(examples) == 1 else "examples:",
            *(f"  {line}" for line in examples),
            "",
            "exit codes:",
            *(f"  {line}" for line in ends),
        ]
    )
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=sentence[0].lower() + sentence[1:].rstrip("."),
        description=sentence,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def takes_settings(parser: argparse.ArgumentParser, *, positional: bool = False) -> None:
    """Add --config, and FILE where nothing else is named by its place."""
    if positional:
        _complete(parser.add_argument("file", nargs="?", metavar="FILE", type=Path, help=SETTINGS))
    help_ = "the same as FILE" if positional else SETTINGS
    _complete(parser.add_argument("--config", metavar="FILE", type=Path, help=help_))


def takes_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def _complete(action: argparse.Action) -> None:
    """Let the shell complete names of files (shtab reads this attribute)."""
    action.complete = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}  # type: ignore[attr-defined]


def completes_folders(action: argparse.Action) -> None:
    """Let the shell complete names of folders."""
    action.complete = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "tcsh": "d"}  # type: ignore[attr-defined]


def settings_file(options: argparse.Namespace) -> Path:
    """The settings file that is meant: the one named, that of PAGES_CONFIG, or pages.yaml where we are."""
    given = getattr(options, "file", None) or options.config or os.environ.get(VARIABLE)
    if given:
        return Path(given)
    if Path(NAME).is_file():
        return Path(NAME)
    print(
        f"pages: no settings file: name one, set {VARIABLE}, or go to the folder of a {NAME}; `pages init` writes one",
        file=sys.stderr,
    )
    raise SystemExit(2)


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def printable(text: str) -> str:
    """A text in which nothing moves a terminal's cursor, for parts of it may be of strangers' making."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def site(text: str) -> "Mapping":
    """OWNER/REPO or OWNER/REPO@BRANCH; raises ArgumentTypeError."""
    from addon.domains.names import shown
    from addon.forgejo.answers import is_branch
    from addon.shared.domain_mappings import Mapping
    from addon.web.routing import is_owner_name, is_repository_name

    name, at, branch = text.partition("@")
    owner, slash, repository = name.partition("/")
    if not slash or not is_owner_name(owner.lower()) or not is_repository_name(repository):
        raise argparse.ArgumentTypeError(f"expected OWNER/REPO or OWNER/REPO@BRANCH, found {shown(text)!r}")
    if at and not is_branch(branch):
        raise argparse.ArgumentTypeError(f"git has no branch of the name {shown(branch)!r}")
    return Mapping(owner, repository, branch if at else None)


def port(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, found {text!r}")


def count(text: str) -> int:
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= 1024:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a number from 1 to 1024, found {text!r}")
