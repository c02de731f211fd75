# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages domains`: what stands in Redis about custom domains, for operators: list it, add to it, take away from it.

It works beside running proxies, which hear of each change at once. What is added here is the operator's: sites do not
get it by naming it, and it is never released because a site stops doing so. Sites themselves never need this command.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import replace

from addon.commands.arguments import print_json
from addon.domains.claims import released
from addon.domains.names import DomainNames, NameRefused, shown
from addon.domains.store import NO_ANSWER, DomainStore, StoreAway, View, Writes, known_record
from addon.domains.traefik_routers import TraefikRouters
from addon.domains.transactions import Planned, Value
from addon.settings.schema import Settings
from addon.shared.domain_mappings import Mapping, custom_domain_key, domains_key, mapping_of, reverse_key, value_of
from addon.shared.domain_records import SiteDomains
from addon.shared.traefik_router_keys import Routers
from addon.wiring import CannotStart, open_store, shared_of

PATIENCE = 10.0
"""Seconds that Redis may take for an answer: nobody waits for a page."""
_BATCH = 500
_AT_ONCE = 8
Row = tuple[str, Mapping | None]


def domains_command(settings: Settings, options: argparse.Namespace) -> int:
    """Carry out one of the subcommands; returns the exit code."""
    try:
        if options.action == "list":
            return with_store(settings, "domains list", lambda store: _list(store, options.site, as_json=options.json))
        if options.action == "add":
            return _checked_add(settings, options.host, options.site, as_json=options.json)
        if options.action == "release":
            return with_store(
                settings,
                "domains release",
                lambda store: _release(store, TraefikRouters(settings, store), options.host, as_json=options.json),
            )
        return with_store(
            settings,
            "domains sync",
            lambda store: _sync(store, TraefikRouters(settings, store), as_json=options.json),
        )
    except BrokenPipeError:  # `pages domains list | head`
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def with_store(settings: Settings, command: str, work: Callable[[DomainStore], Awaitable[int]]) -> int:
    """Run work over the store that running proxies share; says what is wrong with it, and returns 1 then."""

    async def run() -> int:
        shared = shared_of(replace(settings, redis_timeout=max(settings.redis_timeout, PATIENCE)))
        if shared is None:
            return failed(
                command, "there is no redisHost in the settings: without one, domains are known to the proxy alone"
            )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(shared.aclose)
            try:
                return await work(open_store(stack, shared))
            except StoreAway:
                return failed(command, "Redis does not answer")

    with ExitStack() as stack:
        for name, rule in _LOGS.items():
            logger = logging.getLogger(name)
            logger.addFilter(rule)
            stack.callback(logger.removeFilter, rule)
        try:
            return asyncio.run(run())
        except CannotStart as fault:
            return failed(command, str(fault))


def failed(command: str, reason: str) -> int:
    """Say why a command came to nothing."""
    print(f"pages {command}: {reason}", file=sys.stderr)
    return 1


def named(mapping: Mapping) -> str:
    """A mapping as people write it: OWNER/REPO or OWNER/REPO@BRANCH."""
    branch = "" if mapping.branch is None else f"@{shown(mapping.branch)}"
    return f"{mapping.owner}/{mapping.repository}{branch}"


# list


async def _list(store: DomainStore, site: Mapping | None, *, as_json: bool = False) -> int:
    """One line a host: the host, what it shows, and who registered it. as_json: one object a line."""
    show = _print_json if as_json else _print
    batch: list[Row] = []
    async for row in store.mappings():
        if site is None or (row[1] is not None and row[1].site == site.site):
            batch.append(row)
        if len(batch) >= _BATCH:
            await show(store, batch)
            batch = []
    await show(store, batch)
    return 0


async def _rows(store: DomainStore, rows: list[Row]) -> list[tuple[str, str | None, str | None]]:
    """Host, OWNER/REPO[@BRANCH], and who registered it; None where the value cannot be read."""
    names: set[str] = set()
    for _, mapping in rows:
        if mapping is not None:
            names |= {domains_key(*mapping.site), *filter(None, (reverse_key(*mapping),))}
    values = await store.read(names)
    if values is NO_ANSWER:
        raise StoreAway
    records = {name: known_record(value) for name, value in values.items()}
    return [
        (host, None, None) if mapping is None else (host, named(mapping), _whose(host, mapping, values, records))
        for host, mapping in rows
    ]


async def _print(store: DomainStore, rows: list[Row]) -> None:
    lines = [f"{shown(host)}\t{site or '(cannot be read)'}\t{by or '-'}" for host, site, by in await _rows(store, rows)]
    if lines:
        print("\n".join(lines), flush=True)


async def _print_json(store: DomainStore, rows: list[Row]) -> None:
    for host, site, by in await _rows(store, rows):
        print(json.dumps({"host": host, "site": site, "set_by": by}, ensure_ascii=False), flush=True)


def _whose(host: str, mapping: Mapping, values: dict[str, Value], records: dict[str, SiteDomains | None]) -> str:
    record = records.get(domains_key(*mapping.site))
    if record is not None and record.claim(host) is not None:
        return "gone" if record.gone is not None else "site"
    name = reverse_key(*mapping)
    return "site" if name is not None and (values.get(name) or b"").lower() == host.encode() else "operator"


# add


def _checked_add(settings: Settings, text: str, mapping: Mapping, *, as_json: bool) -> int:
    try:
        host = DomainNames(settings, by_operator=True).domain(text)
    except NameRefused as refused:
        return failed("domains add", str(refused))
    return with_store(
        settings,
        "domains add",
        lambda store: _add(store, TraefikRouters(settings, store), host, mapping, as_json=as_json),
    )


async def _add(store: DomainStore, routers: TraefikRouters, host: str, mapping: Mapping, *, as_json: bool) -> int:
    there = await store.change(_added(host, mapping))
    if there is NO_ANSWER:
        raise StoreAway
    if isinstance(there, Mapping) and not mapping.same_as(there):
        return failed("domains add", f"{host} shows {named(there)}: free it with `pages domains release {host}` first")
    if there == b"":
        return failed("domains add", f"{host} has a key that cannot be read: `pages domains release {host}` removes it")
    await _route(routers, host)
    already = isinstance(there, Mapping)
    if as_json:
        print_json({"host": host, "site": named(mapping), "added": not already})
    else:
        print(f"{host} shows {named(mapping)}" + (" already" if already else ""))
    return 0


def _added(host: str, mapping: Mapping) -> Planned[Mapping | bytes | None]:
    """The plan that gives a host to a site unless somebody has it; says what was there, b"" for nonsense."""

    def plan(view: View) -> tuple[Writes, Mapping | bytes | None]:
        value = view[custom_domain_key(host)]
        if value is None:
            return {custom_domain_key(host): value_of(mapping).encode()}, None
        return {}, mapping_of(value) or b""

    return plan


# release


async def _release(store: DomainStore, routers: TraefikRouters, text: str, *, as_json: bool) -> int:
    host = text.strip().lower().removesuffix(".")
    below = [(each, released(each)) for each in await _plugins_below(store, host)]
    free: list[str] = []
    for _, plan in (*below, (host, released(host, by_hand=True))):
        outcome = await store.change(plan)
        if outcome is NO_ANSWER:
            raise StoreAway
        if outcome.foreign:
            return failed("domains release", f"{shown(host)}: a newer version of this server wrote its site's record")
        free += outcome.released
    if not free:
        return failed("domains release", f"nobody has {shown(host)}")
    for each in free:
        await _route(routers, each)
        if not as_json:
            print(f"{shown(each)} is free")
    if as_json:
        print_json({"released": free})
    return 0


async def _plugins_below(store: DomainStore, host: str) -> list[str]:
    """The hosts of branches below a domain that the Traefik plugin registered: no record names them."""
    mapping = await store.get(host)
    if mapping is NO_ANSWER:
        raise StoreAway
    if mapping is None or mapping.branch is not None or reverse_key(*mapping) is None:
        return []
    names = [name async for name in store.names(f"{reverse_key(*mapping)}:branch:")]
    values = await store.read(names)
    if values is NO_ANSWER:
        raise StoreAway
    hosts = (value.decode("utf-8", "replace") for value in values.values() if value is not None)
    return [each for each in hosts if each.endswith(f".{host}")]


async def _route(routers: TraefikRouters, host: str) -> bool:
    """Bring Traefik's router of a host in line; says whether it has one."""
    has = await routers.follow(host)
    if has is None:
        raise StoreAway
    return has


# sync


async def _sync(store: DomainStore, routers: TraefikRouters, *, as_json: bool) -> int:
    if not routers.routers.enabled:
        return failed("domains sync", "traefikRedisRouterEnabled is false in the settings")
    hosts = {host async for host, mapping in store.mappings() if mapping is not None}
    prefix = f"{routers.routers.root}/http/routers/custom-"
    rules = [name async for name in store.names(prefix) if name.endswith("/rule")]
    for start in range(0, len(rules), _BATCH):
        values = await store.read(rules[start : start + _BATCH])
        if values is NO_ANSWER:
            raise StoreAway
        hosts |= {host for value in values.values() if (host := Routers.host_of(value)) is not None}
    await routers.publish_pages_domain()
    written = removed = 0
    waiting = list(hosts)
    while waiting:
        batch, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
        for has in await asyncio.gather(*(_route(routers, host) for host in batch)):
            written += has
            removed += not has
    if as_json:
        print_json({"with_router": written, "without": removed})
        return 0
    print(f"{written} hosts have their router" + (f", {removed} that nobody has any more have none" if removed else ""))
    return 0


def _without_pages(record: logging.LogRecord) -> bool:
    record.msg, record.args = record.getMessage().partition("; pages come from memory")[0], ()
    return True


def _nothing(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


# What is said there is meant for visitors, or is said by the commands themselves.
_LOGS = {
    "addon.shared.cache": _without_pages,
    "addon.forgejo.health_log": _nothing,
    "addon.library.library": _nothing,
    "addon.library.site_loader": _nothing,
}
