# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`python -m tests.benchmarks.resp_cluster`: what a cluster costs the client, and what it costs its rival.

Measured as in `tests.benchmarks.resp`: short slices that alternate, the mean of the three best, ratios only. `--check`
exits with 1 if a bar is missed. Two tables, because there are two questions:

1. What does the client of a cluster do more than that of one server? Both talk to one and the same server, which is a
   cluster of one node; all else is equal: process, sockets, keys, commands.
2. What do three nodes cost? Three servers on the cores of one machine take turns and are woken out of their sleep more
   often than one that always has something to do, whoever asks them. So there stand beside the client: a plain client
   for each node and a caller who knows where each key is (`BY_HAND`, which no client of a cluster can undercut), a
   plain client of another, single server, and redis-py's RedisCluster.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Any, Final

from resp import Client
from resp.slots import key_slot
from tests.benchmarks.resp import BATCH, KIB, Case, Contender, Operation, arguments_of, measure, verdict
from tests.resp.fleets import Cluster, clustered
from tests.resp.servers import start_valkey

CASES: Final = [Case("tcp", "GET", KIB, 1), Case("tcp", "GET", KIB, 8), Case("tcp", "pipeline", 100, 1)]
ALONE: Final = "resp, one server"
SAME: Final = "resp, the same server"
BY_HAND: Final = "resp, three servers by hand"
RIVAL: Final = "redis-py's RedisCluster"
#: Contender → command → least ratio. There is none of a cluster beside another server: that compares servers.
BARS: Final = {SAME: {"GET": 0.9}, BY_HAND: {"GET": 0.9}, ALONE: {}, RIVAL: {"GET": 2.0, "pipeline": 2.0}}
OURS: Final = "resp, cluster"


def contender(name: str, client: Any) -> Contender:
    """A client with the methods of redis-py; keys of every slot in turn."""
    keys = [f"key:{number}" for number in range(BATCH)]
    for key in keys:
        client.set(key, b"v" * KIB)
        client.set(f"small:{key}", b"v" * 100)

    def operation(case: Case) -> Operation:
        if case.command == "GET":
            turn = 0

            def get() -> object:
                nonlocal turn
                turn = (turn + 1) % BATCH
                return client.get(keys[turn])

            return get

        def batch() -> object:
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.get(f"small:{key}")
            return pipe.execute()

        return batch

    return Contender(name, operation)


def by_hand(cluster: Cluster) -> Contender:
    """Calls that know to which of the nodes their key belongs."""
    clients = {server.port: Client(server.host, server.port) for server in cluster.primaries}
    owners = cluster.owners()
    calls = [(clients[owners[key_slot(f"key:{number}")]].get, f"key:{number}") for number in range(BATCH)]

    def operation(case: Case) -> Operation | None:
        if case.command != "GET":
            return None
        turn = 0

        def get() -> object:
            nonlocal turn
            turn = (turn + 1) % BATCH
            call, key = calls[turn]
            return call(key)

        return get

    return Contender(BY_HAND, operation)


def rival(cluster: Cluster) -> Any:
    """redis-py with its parser in C."""
    importlib.import_module("hiredis")
    library: Any = importlib.import_module("redis.cluster")
    nodes = [library.ClusterNode(server.host, server.port) for server in cluster.primaries]
    return library.RedisCluster(startup_nodes=nodes)


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 with `--check` if a bar is missed."""
    arguments = arguments_of("tests.benchmarks.resp_cluster", __doc__).parse_args(argv)
    missed: list[str] = []
    with (
        start_valkey() as server,
        clustered("valkey", replicas=0) as three,
        clustered("valkey", primaries=1, replicas=0) as one,
    ):
        node = one.primaries[0]
        print("\nA cluster of one node, and the same server without a word of clusters")
        alone = [contender(OURS, Client.from_url(one.url)), contender(SAME, Client(node.host, node.port))]
        missed += table(alone, arguments)
        print("\nA cluster of three nodes")
        found = [contender(OURS, Client.from_url(three.url)), by_hand(three)]
        found.append(contender(ALONE, Client(server.host, server.port)))
        try:
            found.append(contender(RIVAL, rival(three)))
        except ImportError as error:
            print(f"{RIVAL} is not compared: {error}")
        missed += table(found, arguments)
    return verdict(missed, arguments.check)


def table(found: list[Contender], arguments: argparse.Namespace) -> list[str]:
    """Print what the first of them does beside the others; which bars it misses."""
    missed = []
    mine, *others = found
    print(f"{'':24}{mine.name + ' per s':>20}{'µs':>8}" + "".join(f"{other.name:>36}" for other in others))
    for case in CASES:
        measure(case, found, arguments.rounds, arguments.span)
        line = f"{case!s:24}{mine.rate(case):20.0f}{mine.cost(case):8.1f}"
        for other in others:
            if case not in other.rates:
                line += f"{'–':>36}"
                continue
            ratio, cheaper = mine.rate(case) / other.rate(case), other.cost(case) / mine.cost(case)
            bar = BARS[other.name].get(case.command)
            low = bar is not None and ratio < bar
            if low:
                missed.append(f"{case} ÷ {other.name}: {ratio:.2f}, the bar is {bar}")
            line += f"{ratio:>27.2f}{'!' if low else ' '}({cheaper:.2f})"
        print(line, flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
