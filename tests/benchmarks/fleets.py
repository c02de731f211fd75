# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`python -m tests.benchmarks.fleets`: what a failover costs callers, and what a resharding may not cost them.

`--parts failover`: threads that write to a master behind three sentinels, which is killed. Printed is when, after that,
another server was the master by its own word, when most sentinels said so, and when the first write succeeded. What is
between the last two is ours (bar: 0.5 s); a client that hears of it from the one sentinel that did it may be earlier.
`--parts resharding`: threads that write and read keys of a cluster of three while its slots move between the nodes.
Each value is checked against what this thread wrote last, each count against what was acknowledged; nothing may fail.

Real processes, of Redis 7 and of Valkey 9. Exits with 1 if a bar is missed or a value is wrong.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from resp import Client, RespError
from resp.slots import key_slot
from tests.resp.fleets import Cluster, Watched, clustered, watched
from tests.waiting import wait_until

KINDS: Final = ("redis", "valkey")
WRITERS: Final = 8
#: Seconds from what most sentinels say to the first success.
LATE: Final = 0.5
PATIENCE: Final = 60.0
#: Keys of each thread, and the numbers of a turn at which it does something else than to write and to read.
OWN_KEYS: Final = 20
PIPELINE_TURN, COUNT_TURN = 7, 3


# ---- failover --------------------------------------------------------------------------------------------------------


def failover(arguments: argparse.Namespace) -> bool:
    """A table of failovers; True if all is well."""
    print(f"{'':8}{'promoted':>10}{'named':>10}{'served':>10}{'acknowledged':>14}{'unknown':>9}{'twice':>7}")
    well = True
    for kind in arguments.kinds:
        for _ in range(arguments.rounds):
            with watched(kind) as fleet:
                (promoted, named, served), (acknowledged, unknown, twice) = one_failover(fleet)
            low = served - named > LATE
            well = well and not low and not twice
            moments = "".join(f"{seconds:>8.2f} s" for seconds in (promoted, named, served))
            print(f"{kind:8}{moments}{acknowledged:>14}{unknown:>9}{twice:>7}{' !' if low else ''}", flush=True)
    return well


def one_failover(fleet: Watched) -> tuple[tuple[float, float, float], tuple[int, int, int]]:
    """Seconds from the kill to the three moments; writes that were acknowledged, of unknown fate, done twice."""
    stop = threading.Event()
    counts = [[0, 0] for _ in range(WRITERS)]
    successes: list[float] = []
    before = fleet.named()
    marks: dict[str, float] = {}

    def write(number: int, client: Client[bytes]) -> None:
        while not stop.is_set():
            try:
                client.incr(f"n:{number}")
                counts[number][0] += 1
                if marks:
                    successes.append(time.monotonic())
            except RespError as error:
                counts[number][1] += bool(getattr(error, "maybe_executed", False))
                stop.wait(0.005)

    with Client.from_url(fleet.url, timeout=1.0) as client:
        threads = [threading.Thread(target=write, args=(number, client)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        wait_until(lambda: min(done for done, _ in counts) > 20)
        before.kill()
        marks["killed"] = time.monotonic()
        wait_until(lambda: fleet.master() not in (None, before), "another master", PATIENCE)
        promoted = time.monotonic()
        wait_until(lambda: 2 * sum(each.names != before.port for each in fleet.sentinels) > 3, "its name", PATIENCE)
        named = time.monotonic()
        # What was answered before was still on its way when the master died.
        wait_until(lambda: successes and successes[-1] >= promoted, "a success", PATIENCE)
        served = next(moment for moment in successes if moment >= promoted)
        stop.set()
        for thread in threads:
            thread.join()
        # Replication is asynchronous: a write may be lost with its master, and none may be there twice.
        found = [int(client.get(f"n:{number}") or 0) for number in range(WRITERS)]
    twice = sum(max(0, there - sum(known)) for there, known in zip(found, counts))
    acknowledged, unknown = (sum(column) for column in zip(*counts))
    began = marks["killed"]
    return (promoted - began, named - began, served - began), (acknowledged, unknown, twice)


# ---- resharding ------------------------------------------------------------------------------------------------------


class Worker(threading.Thread):
    """One of many callers: what it wrote, it reads back."""

    def __init__(self, number: int, client: Client[bytes], turns: int) -> None:
        super().__init__()
        self.number = number
        self.client = client
        self.turns = turns
        self.keys = [f"key:{number}:{which}" for which in range(OWN_KEYS)]
        self.counter = f"count:{number}"
        self.counted = 0
        self.done = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        client, last = self.client, dict.fromkeys(self.keys, b"")
        for turn in itertools.count():
            if self.done >= self.turns:
                return
            key, value = self.keys[turn % OWN_KEYS], b"%d of %d" % (turn, self.number)
            try:
                if turn % 10 == PIPELINE_TURN:
                    pipe = client.pipeline(transaction=False).set(key, value).get(key).incr(self.counter)
                    found = pipe.execute()[1]
                    self.counted += 1
                    self.done += 3
                elif turn % 10 == COUNT_TURN:
                    client.incr(self.counter)
                    self.counted += 1
                    value = last[key]
                    found = client.get(key) or b""
                    self.done += 2
                else:
                    client.set(key, value)
                    found = client.get(key) or b""
                    self.done += 2
            except RespError as error:
                self.wrong.append(f"{key}: {error!r}")
                return
            last[key] = value
            if found != value:
                self.wrong.append(f"{key}: {found!r} instead of {value!r}")


def resharding(arguments: argparse.Namespace) -> bool:
    """What so many threads saw while slots moved; True if all is well."""
    well = True
    for kind in arguments.kinds:
        with (
            clustered(kind, replicas=0) as cluster,
            Client.from_url(cluster.url, timeout=PATIENCE, max_connections=arguments.threads) as client,
        ):
            workers = [Worker(number, client, arguments.operations) for number in range(arguments.threads)]
            began = time.monotonic()
            for worker in workers:
                worker.start()
            moved = move_slots(cluster, workers)
            for worker in workers:
                worker.join()
            seconds = time.monotonic() - began
            wrong = [text for worker in workers for text in worker.wrong]
            for worker in workers:
                there = int(client.get(worker.counter) or 0)
                if there != worker.counted:
                    wrong.append(f"{worker.counter}: {there} instead of {worker.counted}")
        done = sum(worker.done for worker in workers)
        print(
            f"{kind}: {len(workers)} threads, {done} operations in {seconds:.0f} s, meanwhile {moved} slots moved: "
            f"{len(wrong)} wrong",
            flush=True,
        )
        for text in wrong[:10]:
            print("   ", text)
        well = well and not wrong
    return well


def move_slots(cluster: Cluster, workers: list[Worker]) -> int:
    """Move the slots of the workers' keys from node to node until all have ended; how many moves that were."""
    slots = sorted({key_slot(key) for worker in workers for key in (*worker.keys, worker.counter)})
    moved = 0
    for slot in itertools.cycle(slots):
        if not any(worker.is_alive() for worker in workers):
            break
        at = cluster.primaries.index(cluster.owner(slot))
        cluster.move(slot, cluster.primaries[(at + 1) % len(cluster.primaries)])
        moved += 1
    return moved


# ---- all of it -------------------------------------------------------------------------------------------------------

PARTS: Final[dict[str, Callable[[argparse.Namespace], bool]]] = {"failover": failover, "resharding": resharding}


def main(argv: list[str] | None = None) -> int:
    """Print what happened; 1 if it is not what must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fleets", description=__doc__)
    parser.add_argument("--parts", nargs="*", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--rounds", type=int, default=3, help="failovers of each kind")
    parser.add_argument("--threads", type=int, default=64, help="callers during a resharding")
    parser.add_argument("--operations", type=int, default=100_000, help="of each of them")
    arguments = parser.parse_args(argv)
    results = [PARTS[part](arguments) for part in arguments.parts]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
