# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`python -m tests.benchmarks.resp_cluster`: the client on a cluster of three, beside one server and beside its rival.

Measured as in `tests.benchmarks.resp`: short slices that alternate, the mean of the three best, ratios only. `--check`
exits with 1 if a bar is missed. What no client of a cluster can undercut is `BY_HAND`: a client for each node, and a
caller who knows where each key is. Three sockets and three servers cost more than one, whoever drives them.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

from resp import Client
from resp.keys import key_slot
from tests.benchmarks.resp import BATCH, KIB, Case, Contender, Operation, arguments_of, measure, verdict
from tests.resp.fleets import Cluster, clustered
from tests.resp.servers import Server, start_valkey

CASES: Final = [Case("tcp", "GET", KIB, 1), Case("tcp", "GET", KIB, 8), Case("tcp", "pipeline", 100, 1)]
ALONE: Final = "resp, one server"
BY_HAND: Final = "resp, three servers by hand"
RIVAL: Final = "redis-py's RedisCluster"
#: Contender → command → least ratio.
BARS: Final = {ALONE: {"GET": 0.9}, BY_HAND: {"GET": 0.85}, RIVAL: {"GET": 2.0, "pipeline": 2.0}}
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
    missed = []
    server: Server
    with start_valkey() as server, clustered("valkey", replicas=0) as cluster:
        found = [
            contender(OURS, Client.from_url(cluster.url)),
            contender(ALONE, Client(server.host, server.port)),
            by_hand(cluster),
        ]
        try:
            found.append(contender(RIVAL, rival(cluster)))
        except ImportError as error:
            print(f"{RIVAL} is not compared: {error}")
        others = [each.name for each in found if each.name != OURS]
        print(f"\n{'':28}{OURS + ' per s':>20}{'µs':>10}" + "".join(f"{name:>34}" for name in others))
        for case in CASES:
            measure(case, found, arguments.rounds, arguments.span)
            mine = found[0]
            line = f"{case!s:28}{mine.rate(case):20.0f}{mine.cost(case):10.1f}"
            for other in found[1:]:
                if case not in other.rates:
                    line += f"{'–':>34}"
                    continue
                ratio, cheaper = mine.rate(case) / other.rate(case), other.cost(case) / mine.cost(case)
                bar = BARS[other.name].get(case.command)
                # On an idle machine the rate is that of the wake-ups: either may be reached.
                low = bar is not None and max(ratio, cheaper) < bar
                if low:
                    missed.append(f"{case} ÷ {other.name}: {ratio:.2f}, the bar is {bar}")
                line += f"{ratio:>25.2f}{'!' if low else ' '}({cheaper:.2f})"
            print(line, flush=True)
    return verdict(missed, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
