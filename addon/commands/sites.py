# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages sites`: what the running server holds, a line a site. The server says it (`/sites` of `adminListen`)."""

import sys
import time
from typing import Any

from addon.commands.arguments import print_json, printable
from addon.commands.running_server import asked
from addon.settings.schema import Settings
from addon.templates.names import size_text

_HEADS = ("SITE", "COMMIT", "AGE", "FILES", "SIZE", "HITS", "STATE", "LAST ERROR")


def sites_command(settings: Settings, *, by: str, as_json: bool) -> int:
    """List the sites; returns the exit code. Raises NoServer where nobody says them."""
    told = asked(settings, f"/sites?sort={by}")
    if as_json:
        print_json(told)
        return 0
    rows = [_cells(row) for row in told["sites"]]
    widths = [max(len(row[place]) for row in [_HEADS, *rows]) for place in range(len(_HEADS))]
    for row in [_HEADS, *rows]:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths)).rstrip())
    if not rows:
        print("no site is in memory: nobody has asked for one yet", file=sys.stderr)
    return 0


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    state = row["state"] if row["trouble"] is None else f"stale: {row['trouble']}"
    cells = (
        row["site"],
        (row["commit"] or "-")[:12],
        _time(row["age"]),
        "-" if row["files"] is None else f"{row['files']}",
        "-" if row["bytes"] is None else size_text(row["bytes"]),
        f"{row['hits']}",
        f"{state}, locked" if row["locked"] else state,
        _error(row["error"]),
    )
    return tuple(map(printable, cells))


def _error(error: dict[str, Any] | None) -> str:
    if error is None:
        return "-"
    return f"{error['status']} {_time(time.time() - error['at'])} ago: {error['detail'] or error['reason']}"


def _time(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"
