# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages hash`: ask for a password, print the line for `.pages`.

The line alone goes to the standard output, so that it can be appended to a file; all else that is said goes to the
standard error. The password is never an argument: those stand in the shell's history and in the list of processes.
"""

import getpass
import sys
from collections.abc import Callable
from typing import TextIO

from addon.access.passwords import Form, Unchecked, make_hash

SHORT = 12
"""Characters below which a warning is given."""


def hash_command(
    *,
    sha256: bool = False,
    branches: bool = False,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
    ask: Callable[[str], str] = getpass.getpass,
) -> int:
    """Print `password: '…'` for `.pages`, or `branchesPassword: '…'`; returns the exit code.

    sha256: the Traefik plugin's form instead of argon2id. On a terminal the password is asked for twice, without echo;
    otherwise it is the first line of the standard input. ask: what shows a prompt and reads without echo.
    """
    stdin, stdout, stderr = stdin or sys.stdin, stdout or sys.stdout, stderr or sys.stderr
    try:
        password = _asked_twice(ask, stderr) if stdin.isatty() else _first_line(stdin)
    except (EOFError, UnicodeDecodeError):
        password = ""
    if password is None:
        return 1
    if not password:
        print("pages hash: expected a password, found nothing", file=stderr)
        return 1
    if len(password) < SHORT:
        print(
            f"pages hash: fewer than {SHORT} characters: whoever can read the repository can try millions of passwords"
            " against its hash; several words in a row are better",
            file=stderr,
        )
    if sha256:
        print("pages hash: SHA-256 is quick to try; without --sha256 the hash holds out far longer", file=stderr)
    try:
        text = make_hash(password.encode("utf-8", "surrogateescape"), Form.SHA256 if sha256 else Form.ARGON2ID)
    except Unchecked as error:
        print(f"pages hash: {error}", file=stderr)
        return 1
    print(f"{'branchesPassword' if branches else 'password'}: '{text}'", file=stdout)
    return 0


def _asked_twice(ask: Callable[[str], str], stderr: TextIO) -> str | None:
    password = ask("Password: ")
    if password and ask("Again: ") != password:
        print("pages hash: the two are not the same; nothing was made", file=stderr)
        return None
    return password


def _first_line(stdin: TextIO) -> str:
    return stdin.readline().removesuffix("\n").removesuffix("\r")
