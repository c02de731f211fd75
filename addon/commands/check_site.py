# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages check-site`: what the server would say of a folder's site, before it is pushed; with an exit code, for CI.

The folder is looked at as the preview shows it, by the very code that serves: a forge of one on this machine, and a
look at it. So what is told here is what `/.pages/site` tells after the push. Exit code 0: every line means something;
1: something is to be mended; 2: there is nothing to look at.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from addon.preview.forge import Forge
from addon.preview.opening import PreviewError, open_preview
from addon.serving.site_page import described, sections
from addon.settings.schema import Settings
from addon.shared.lookup import Fault, Lookup, key_of
from addon.sites import report
from addon.sites.findings import Finding
from addon.wiring import open_sources

_PAUSE = 1.0
"""Seconds between two looks at whether visitors of a preview saw something new."""


class Seen(NamedTuple):
    """What a look found. told: the site in plain values; None where there is none. findings: what is to be mended."""

    told: dict[str, Any] | None
    findings: tuple[Finding, ...]


def check_site_command(
    directory: Path, *, as_json: bool = False, stdout: TextIO | None = None, stderr: TextIO | None = None
) -> int:
    """Look at a folder and say what was found."""
    out, err = stdout or sys.stdout, stderr or sys.stderr
    try:
        forge = open_preview(directory)
    except PreviewError as error:
        print(f"pages check-site: {error}", file=err)
        return 2
    forge.start_thread()
    try:
        seen = asyncio.run(_seen(forge))
    finally:
        forge.stop()
    if as_json:
        told = seen.told or {"findings": [finding._asdict() for finding in seen.findings]}
        print(json.dumps(told, ensure_ascii=False, indent=1), file=out)
    else:
        for line in lines(seen, forge.hints):
            print(line, file=out)
    return 1 if any(finding.lost for finding in seen.findings) or seen.told is None else 0


def lines(seen: Seen, hints: list[str] | None = None) -> list[str]:
    """What was found, for people."""
    found = [f"note: {hint}" for hint in hints or ()]
    if seen.told is not None:
        for title, rows in sections(seen.told):
            found.append(f"{title}:")
            found += [f"  {label}: {value}".replace("`", "") for label, value in rows]
    found += complaints(seen.findings)
    return found or ["nothing to be mended"]


def complaints(findings: tuple[Finding, ...]) -> list[str]:
    """What is to be mended, a line each, with how much it is."""
    if not findings:
        return ["Nothing to be mended."]
    return ["To be mended:", *(f"  {finding}".replace("`", "") for finding in findings)]


async def _seen(forge: Forge) -> Seen:
    async with AsyncExitStack() as stack:
        library = open_sources(stack, _settings(forge), None).library
        return await _look(library, forge)


def _settings(forge: Forge) -> Settings:
    # Nothing is kept, so nothing is written there.
    place = {"pagesDomain": "pages.localhost", "forgejoHost": forge.url, "stateDir": tempfile.gettempdir()}
    return Settings.from_mapping({**place, "cacheTTL": 0}, environ={})


async def _look(library: Any, forge: Forge) -> Seen:
    lookup: Lookup = await library.look(key_of(forge.owner, forge.repository))
    if lookup.site is None or lookup.fault is not None:
        return Seen(None, (_why_not(lookup),))
    site, repository = lookup.site, lookup.repository
    named = site.pages_file.shown_branch(repository.default_branch) if repository is not None else None
    if named is not None:
        there: Lookup = await library.look(key_of(forge.owner, forge.repository, named))
        if there.site is None:
            return Seen(
                None, (Finding(".pages", None, f"there is no branch `{named}` here", "commit to it, or mend `branch`"),)
            )
        site = there.site
    found = report.findings(site)
    return Seen(described(site, list(found)), found)


def _why_not(lookup: Lookup) -> Finding:
    if lookup.fault is Fault.BROKEN:
        return Finding(".pages", lookup.line, lookup.reason)
    if lookup.fault is Fault.UNCONFIGURED:
        return Finding(".pages", None, lookup.reason or "there is none", "add a line: enabled: true")
    reason = lookup.fault.value if lookup.fault is not None else "nothing is there"
    return Finding("the site", None, reason)


def watch(forge: Forge, say: Callable[[list[str]], object]) -> None:
    """Say what is to be mended, now and whenever a visitor of the preview saw another commit; for a thread."""
    asyncio.run(_watch(forge, say))


async def _watch(forge: Forge, say: Callable[[list[str]], object]) -> None:
    async with AsyncExitStack() as stack:
        library = open_sources(stack, _settings(forge), None).library
        before: tuple[Finding, ...] = ()
        last: object = before
        while True:
            if (forge.calls[-1] if forge.calls else None) is not last:
                seen = await _look(library, forge)
                last = forge.calls[-1] if forge.calls else None
                if seen.findings != before:
                    before = seen.findings
                    say(complaints(seen.findings))
            await asyncio.sleep(_PAUSE)
