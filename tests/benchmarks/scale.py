# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`python -m tests.benchmarks.scale`: what grows with the number of sites, and what with the number of proxies.

Redis is filled with the records of so many sites, each with a custom domain, written by our own code; so many proxies
are simulated (`tests.benchmarks.scale_proxies`), all of which hold the site that is deployed; two real ones look at
sites and deploy. First on one server, then on a cluster of three. Bytes and counts are exact. Times are medians of
this machine, on which servers, proxies and simulation share the processors: what they tell is how they grow.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from addon.shared import records
from addon.shared.domain_mappings import custom_domain_key, domains_key
from addon.shared.domain_records import Claim, SiteDomains, record_of
from addon.shared.signatures import RecordKey
from resp import Client
from resp.slots import key_slot
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.addon.shared.nodes import Node
from tests.benchmarks.scale_proxies import KEY, REF, Proxies
from tests.resp.fleets import Cluster, clustered
from tests.resp.servers import Server, start_valkey

FILES: Final = 30
DEPLOYS: Final = 5
LOOKED_AT: Final = 500
_BATCH: Final = 2000
_MONTH: Final = 30 * 86_400_000


class Row(NamedTuple):
    """What one line of the table says. Memory in bytes, times in seconds; of a deploy, what it caused in all.

    redis: what the sites take, over all nodes. of_connections: what the proxies' connections take there.
    """

    sites: int
    proxies: int
    redis: int
    of_connections: int
    site_in_proxy: float
    first_look: float
    hit: float
    commands: float
    told: float
    all_know: float


def main(argv: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=__doc__)
    parser.add_argument("--sites", nargs="*", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--proxies", nargs="*", type=int, default=[10, 50, 200])
    parser.add_argument("--on", nargs="*", choices=["one", "cluster"], default=["one", "cluster"])
    arguments = parser.parse_args(argv)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for kind in arguments.on:
        with start_valkey() if kind == "one" else clustered("valkey", replicas=0) as redis:
            print(
                f"\n{'one server' if kind == 'one' else 'a cluster of three'}: each site has {FILES} files and a domain"
            )
            print(
                f"{'sites':>8}{'proxies':>9}{'Redis':>11}{'a site':>9}{'a proxy':>10}{'a site in':>11}{'first':>9}"
                f"{'hit':>9}{'commands':>10}{'messages':>10}{'all know':>10}\n"
                f"{'':17}{'MB':>11}{'KB':>9}{'in Redis KB':>13}{'a proxy KB':>11}{'look ms':>8}{'µs':>8}"
                f"{'a deploy':>11}{'a deploy':>10}{'after ms':>10}",
                flush=True,
            )
            rows: list[Row] = []
            for sites in arguments.sites:
                # All numbers of proxies with the fewest sites, then the most of them with more.
                for proxies in arguments.proxies if sites == arguments.sites[0] else arguments.proxies[-1:]:
                    rows.append(asyncio.run(measured(redis, sites, proxies)))
                    print(_line(rows[-1], rows[-2] if len(rows) > 1 else None), flush=True)
    return 0


def _line(row: Row, before: Row | None) -> str:
    line = (
        f"{row.sites:8}{row.proxies:9}{row.redis / 1e6:11.1f}{row.redis / row.sites / 1e3:9.2f}"
        f"{row.of_connections / row.proxies / 1e3:13.1f}{row.site_in_proxy / 1e3:11.1f}{row.first_look * 1e3:8.2f}"
        f"{row.hit * 1e6:8.1f}{row.commands:11.0f}{row.told:10.0f}{row.all_know * 1e3:10.1f}"
    )
    if before is None:
        return line
    growth = [
        f"{name} × {now / then:.2f}"
        for name, now, then in (
            ("sites", row.sites, before.sites),
            ("proxies", row.proxies, before.proxies),
            ("Redis", row.redis, before.redis),
            ("first look", row.first_look, before.first_look),
            ("hit", row.hit, before.hit),
            ("commands", row.commands, before.commands),
            ("messages", row.told, before.told),
            ("all know", row.all_know, before.all_know),
        )
    ]
    return f"{line}\n{'':8} from the row before: {', '.join(growth)}"


async def measured(redis: Server | Cluster, sites: int, proxies: int) -> Row:
    """One row: fill, look, deploy."""
    redis.ask("FLUSHALL")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files: dict[str, bytes] = {f"public/page{number}.html": b"page %d" % number for number in range(FILES)}
        blog = Site(folder / "forge" / "alice" / "blog.git", {".pages": b"enabled: true\n", **files})
        stack.callback(blog.close)
        forge = start_forge(folder / "forge")
        stack.callback(forge.stop)
        options: dict[str, Any] = {"redisTimeout": "10s", "authSecretKey": "of both", "cacheTTL": "1h"}
        first, second = (Node(forge.url, _place(redis), folder, **options) for _ in range(2))
        try:
            for each in (first, second):
                await each.tracked()
                await each.get(KEY[0], "/blog/page0.html")
                await each.settled()
            empty = sum(_info(server, "used_memory:") for server in _servers(redis))
            fill(redis, sites, RecordKey.of(first.settings))
            for each in (first, second):
                await heard_all(redis, each)
            filled = sum(_info(server, "used_memory:") for server in _servers(redis)) - empty
            first_look, hit, site_in_proxy = await looked(second, sites)
            nodes, node_of = _addresses(redis)
            before = sum(_info(server, "used_memory:") for server in _servers(redis))
            with Proxies(proxies, nodes, node_of) as fleet:
                of_connections = sum(_info(server, "used_memory:") for server in _servers(redis)) - before
                commands, told, all_know = await deployed(redis, fleet, first, blog)
        finally:
            for each in (first, second):
                await each.aclose()
    return Row(sites, proxies, filled, of_connections, site_in_proxy, first_look, hit, commands, told, all_know)


def fill(redis: Server | Cluster, sites: int, key: RecordKey) -> None:
    """Write what Redis holds of so many sites, each like the one that is there."""
    commit = str(records.read_ref(_value(redis, REF)).commit)
    there = {name: _value(redis, name) for name in (records.repository_key(KEY), REF, records.site_key(KEY, commit))}
    unsigned = {name: value[: value.rindex(b',"sig"')] + b"}" for name, value in there.items()}
    with _client(redis) as client:
        for start in range(0, sites, _BATCH):
            with client.pipeline(transaction=False) as pipe:
                for number in range(start, min(start + _BATCH, sites)):
                    owner = f"owner{number}"
                    for name, value in unsigned.items():
                        mine = name.replace("alice/", f"{owner}/", 1)
                        data = value.replace(b'"owner":"alice"', b'"owner":"%b"' % owner.encode())
                        pipe.set(mine, key.signed(mine, data), px=_MONTH)
                    host = f"{owner}.example.org"
                    domains = SiteDomains(owner, "blog", number + 1, (Claim(host, since=time.time()),))
                    pipe.set(custom_domain_key(host), f"{owner}:blog")
                    pipe.set(f"{owner}:blog", host)
                    pipe.set(domains_key(owner, "blog"), record_of(domains))
                pipe.execute()


async def heard_all(redis: Server | Cluster, node: Node) -> None:
    """Wait until a proxy has taken in what it was told of the filling: each write is a message to it."""
    owners = {server.port: server for server in _servers(redis)}
    _, node_of = _addresses(redis)
    waiting: dict[int, bytes] = {}
    for number in range(100):  # one for each node
        waiting.setdefault(node_of(name := custom_domain_key(f"last{number}.example.org"))[1], name.encode())
    asked, pending, done = node.looks.others, set(waiting.values()), asyncio.Event()

    def told(name: bytes | None) -> object:
        pending.discard(name or b"")
        if not pending:
            done.set()
        return asked(name)

    node.looks.others = told
    for port, last in waiting.items():
        owners[port].ask("SET", last, "x")
    await asyncio.wait_for(done.wait(), 600)
    node.looks.others = asked


async def looked(node: Node, sites: int) -> tuple[float, float, float]:
    """Seconds for the first look at a site, and for a page out of memory; bytes that a known site takes in a proxy."""
    step = max(1, sites // LOOKED_AT)
    owners = [f"owner{number}" for number in range(0, sites, step)][:LOOKED_AT]
    used = node.library.memory.used
    first, hits = [], []
    for number, owner in enumerate(owners):
        host = f"{owner}.example.org" if number % 2 else owner
        page = await node.get(host, "/page0.html" if number % 2 else "/blog/page0.html")
        assert page.status == 200, (host, page.status)
        first.append(page.seconds)
    grown = node.library.memory.used - used
    for number, owner in enumerate(owners):
        host = f"{owner}.example.org" if number % 2 else owner
        page = await node.get(host, "/page0.html" if number % 2 else "/blog/page0.html")
        if page.at_once:
            hits.append(page.seconds)
    return statistics.median(first), statistics.median(hits), grown / len(owners)


async def deployed(redis: Server | Cluster, fleet: Proxies, node: Node, blog: Site) -> tuple[float, float, float]:
    """Of a deploy: commands that Redis ran, messages to proxies, and seconds until the last one knows; medians."""
    commands, told, seconds = [], [], []
    for number in range(DEPLOYS + 1):
        commit = blog.commit({"public/page0.html": b"deploy %d" % number})
        ran, heard, began = _commands(redis), fleet.told, time.monotonic()
        await node.looks.purge(KEY)
        await node.get(KEY[0], "/blog/page0.html")
        last = await asyncio.to_thread(fleet.last, commit)
        await node.settled()
        await asyncio.sleep(0.1)  # whoever was told twice reads twice
        commands.append(_commands(redis) - ran)
        told.append(fleet.told - heard)
        seconds.append(last - began)
    return statistics.median(commands[1:]), statistics.median(told[1:]), statistics.median(seconds[1:])


# ---- the servers -----------------------------------------------------------------------------------------------------


def _place(redis: Server | Cluster) -> str | tuple[str, int]:
    return redis.url if isinstance(redis, Cluster) else redis.address


def _client(redis: Server | Cluster) -> Client[bytes]:
    return Client.from_url(redis.url, timeout=120, max_connections=4)


def _servers(redis: Server | Cluster) -> list[Server]:
    return redis.primaries if isinstance(redis, Cluster) else [redis]


def _addresses(redis: Server | Cluster) -> tuple[list[tuple[str, int]], Callable[[str], tuple[str, int]]]:
    if isinstance(redis, Server):
        address = redis.address
        return [address], lambda name: address
    owners = redis.owners()
    places = {server.port: server.address for server in redis.primaries}
    return list(places.values()), lambda name: places[owners[key_slot(name)]]


def _value(redis: Server | Cluster, name: str) -> bytes:
    value = redis.ask("GET", name)
    assert isinstance(value, bytes), name
    return value


def _info(server: Server, field: str) -> int:
    text = server.ask("INFO", "memory" if field.startswith("used") else "stats")
    assert isinstance(text, bytes)
    return int(next(line for line in text.decode().splitlines() if line.startswith(field)).partition(":")[2])


def _commands(redis: Server | Cluster) -> int:
    """Commands that were run so far; the INFO that asks is one."""
    return sum(_info(server, "total_commands_processed:") - 1 for server in _servers(redis))


if __name__ == "__main__":
    sys.exit(main())
