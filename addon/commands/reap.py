# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages reap`: one pass over all domains that frees those of vanished repositories, and those that no site names.

Running proxies do this by themselves for sites that are visited; this is for the others, now and then, from a timer. A
pass that would free more than a tenth of all domains frees none, since that is what a restored backup or a wrong
`forgejoHost` looks like. Exit codes are those of the Traefik plugin's reaper.
"""

import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TextIO

from addon.commands.arguments import print_json
from addon.commands.domains import failed, named, with_store
from addon.domains.names import DomainNames, shown
from addon.domains.reaping import Found, Reaper, census, hosts_of
from addon.domains.store import DomainStore
from addon.domains.traefik_routers import TraefikRouters
from addon.settings.schema import Settings
from addon.wiring import open_sources

OK, FATAL, SOME_ERRORS = 0, 1, 2
MOST_SHARE = 0.1
_BAR = 30
_REDRAW = 0.1


def reap_command(
    settings: Settings,
    *,
    dry_run: bool = False,
    force: bool = False,
    as_json: bool = False,
    now: Callable[[], float] = time.time,
) -> int:
    """One pass; returns the exit code: 0, 1 where it could not be made or was stopped, 2 where some sites gave none.

    now: seconds since 1970.
    """
    return with_store(settings, "reap", lambda store: _reap(settings, store, dry_run, force, as_json, now))


async def _reap(
    settings: Settings, store: DomainStore, dry_run: bool, force: bool, as_json: bool, now: Callable[[], float]
) -> int:
    async with AsyncExitStack() as stack:
        # Past Redis, whose copies of what Forgejo says may be old.
        share = settings.forgejo_connections
        sources = open_sources(stack, settings, None, unknown_share=share, threads=2)
        names, grace = DomainNames(settings), settings.release_grace
        reaper = Reaper(store, sources.library, sources.forgejo, names, grace=grace, now=now)
        return await _pass(store, reaper, TraefikRouters(settings, store), grace, dry_run, force, as_json)


async def _pass(
    store: DomainStore,
    reaper: Reaper,
    routers: TraefikRouters,
    grace: float,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> int:
    counted = await census(store)
    progress = Progress(len(counted.sites), sys.stderr)
    to_do: list[Found] = []
    released: list[dict[str, str]] = []
    reserved: list[dict[str, str]] = []
    troubles: list[dict[str, str]] = []
    async for found in reaper.found(counted):
        progress.step()
        if found.trouble:
            troubles.append({"site": named(found.site), "error": str(found.trouble)})
            progress.say(f"{named(found.site)}: {found.trouble}; its domains stay", sys.stderr)
            continue
        if found.reserved is not None:
            free = datetime.fromtimestamp(found.reserved + grace, UTC).isoformat(sep=" ", timespec="minutes")
            reserved.append({"site": named(found.site), "free_on": free})
            if not as_json:
                progress.say(f"{named(found.site)}: gone; its domains are free on {free.removesuffix('+00:00')} UTC")
        to_do.append(found)
    progress.end()
    planned = hosts_of(to_do)
    too_many = planned > MOST_SHARE * counted.hosts and not force
    for found in to_do:
        hosts = found.freed if dry_run or too_many else await reaper.free(found)
        for host in hosts:
            released.append({"host": host, "site": named(found.site), "reason": found.reason})
            would = "would be " if dry_run or too_many else ""
            if not as_json:
                print(f"{shown(host)}: {would}released: {named(found.site)}: {found.reason}")
        if not (dry_run or too_many):
            for host in hosts:
                await routers.follow(host)
    if as_json:
        print_json(
            {
                "domains": counted.hosts,
                "sites": len(counted.sites),
                "dry_run": dry_run or too_many,
                "needs_force": too_many,
                "released": released,
                "reserved": reserved,
                "errors": troubles,
                "unreadable": counted.unreadable,
            }
        )
    if too_many:
        share = f"{planned} of {counted.hosts} domains, more than a tenth"
        if dry_run and not as_json:
            print(f"a pass would ask for --force: it would release {share}")
        elif not dry_run:
            return failed("reap", f"nothing was released: it would have been {share}. If that is right: --force")
    done = "would be released" if dry_run else "released"
    if not as_json:
        print(
            f"{counted.hosts} domains of {len(counted.sites)} sites: {len(released)} {done}, {len(reserved)} sites gone"
            f" and still reserved, {len(troubles)} errors"
            + (f", {counted.unreadable} that cannot be read" if counted.unreadable else "")
        )
    return SOME_ERRORS if troubles else OK


class Progress:
    """A bar on a terminal; nothing anywhere else."""

    def __init__(self, total: int, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._stream = stream if total and stream.isatty() else None
        self._clock = clock
        self._done = 0
        self._drawn = float("-inf")

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        if self._stream is not None and (self._clock() - self._drawn >= _REDRAW or self._done == self._total):
            self._drawn = self._clock()
            full = _BAR * self._done // self._total
            self._stream.write(f"\r[{'#' * full}{'.' * (_BAR - full)}] {self._done}/{self._total} sites")
            self._stream.flush()

    def say(self, line: str, stream: TextIO | None = None) -> None:
        """A line of its own, above the bar."""
        self._wipe()
        print(line, file=stream or sys.stdout, flush=True)

    def end(self) -> None:
        """Leave nothing behind."""
        self._wipe()

    def _wipe(self) -> None:
        if self._stream is not None and self._drawn > float("-inf"):
            self._stream.write(f"\r{' ' * (_BAR + 40)}\r")
            self._stream.flush()
            self._drawn = float("-inf")
