# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages warm`: the running server makes sites ready, one after the other, with a bar that says how far it is.

A name is a file with names, one a line, where there is a file of that name; else a site. Large sites take several calls
(`/warm` of `adminListen`), each of a few seconds, so that an interrupted run has done what it has done.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from addon.commands.arguments import printable
from addon.commands.reap import Progress
from addon.commands.running_server import NoServer, asked
from addon.settings.schema import Settings
from addon.templates.names import size_text

_MOST_CALLS = 500


def warm_command(settings: Settings, what: Sequence[str]) -> int:
    """Make sites ready; returns the exit code."""
    try:
        sites = list(dict.fromkeys(_sites(what)))
    except (OSError, UnicodeDecodeError) as error:
        return _failed(str(error))
    if not sites:
        return _failed("no site is named there")
    progress, code = Progress(len(sites), sys.stderr), 0
    try:
        for site in sites:
            line, ready = _warmed(settings, site)
            progress.say(printable(line), sys.stdout if ready else sys.stderr)
            code = code if ready else 1
            progress.step()
    except NoServer as reason:
        progress.end()
        return _failed(str(reason))
    progress.end()
    return code


def _warmed(settings: Settings, site: str) -> tuple[str, bool]:
    """A line about a site, and whether it is ready. Raises NoServer where nobody answers at all."""
    for _ in range(_MOST_CALLS):
        try:
            told = asked(settings, "/warm", post={"what": site})
        except NoServer as reason:
            if "no answer" in str(reason) or not settings.admin_listen:
                raise
            return f"{site}: {reason}", False
        if not told["left"]:
            break
    if told["state"] != "served" or told["left"]:
        return f"{site}: {told['state']}", False
    return f"{told['site']}: {told['files']} files, {size_text(told['nbytes'])}", True


def _sites(what: Iterable[str]) -> Iterator[str]:
    """The names that are meant; a `#` begins a remark."""
    for name in what:
        if name == "-":
            yield from _lines(sys.stdin.read())
        elif Path(name).is_file():
            yield from _lines(Path(name).read_text("utf-8"))
        else:
            yield name


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if name := line.partition("#")[0].strip():
            yield name


def _failed(reason: str) -> int:
    print(f"pages warm: {reason}", file=sys.stderr)
    return 1
