# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`python -m tests.benchmarks.resp`: the client against a raw socket and against its rivals, side by side.

One process, one Valkey, short slices that alternate between the contenders, each of which counts with the mean of its
three best: whatever else the machine does only ever makes a slice slower. What is compared are ratios, never rates:
of calls per second, and of processor time per call. On an idle machine the former says little about a client, for a
call is then mostly the wake-up of two sleeping processes, which all of them wait for, the raw socket too.
The raw socket is the yardstick: a reply of known length, received in blocking mode with the same limits in the
kernel and copied out as `bytes`, which no client can be expected to beat. `--check` exits with 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import importlib
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from resp import Client
from tests.resp.servers import Server, start_valkey

KIB: Final = 1024
SIZES: Final = (KIB, 100 * KIB, 1024 * KIB)
BATCH: Final = 100
#: Commands whose reply has `BATCH` elements, and what they return.
AGGREGATES: Final = ("HGETALL", "LRANGE", "MGET", "ZRANGE")
COMMANDS: Final = ("GET", "SETEX", "pipeline", *AGGREGATES)
Operation = Callable[[], object]

#: Contender to beat → least ratio, per (threads, size) of a GET.
BARS: Final = {
    "raw socket": {(1, size): 0.85 for size in SIZES},
    "redis-py+hiredis": {(threads, size): 1.8 for threads in (1, 8) for size in SIZES} | {(8, 1024 * KIB): 1.5},
}
#: The same for replies and pipelines of `BATCH` elements, one thread.
MANY_BARS: Final = {"redis-py+hiredis": 1.0}
OURS: Final = "resp"


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    transport: str
    command: str
    size: int
    threads: int

    def __str__(self) -> str:
        size = f"{self.size // KIB} KiB" if self.size >= KIB else f"{self.size} B"
        size = f"{BATCH} × {size}" if self.command not in ("GET", "SETEX") else size
        return f"{self.transport:4} {self.command:8} {size:>10} × {self.threads}"


@dataclass
class Contender:
    """A client: `operation(case)` makes what one thread does over and over; None if it cannot."""

    name: str
    operation: Callable[[Case], Operation | None]
    rates: dict[Case, list[float]] = field(default_factory=dict)
    costs: dict[Case, list[float]] = field(default_factory=dict)

    def rate(self, case: Case) -> float:
        """Calls per second."""
        return statistics.mean(sorted(self.rates[case])[-3:])

    def cost(self, case: Case) -> float:
        """Microseconds of this process's processor time per call, the kernel's part of it included."""
        return statistics.mean(sorted(self.costs[case])[:3]) * 1e6


def key(case: Case) -> str:
    return f"{case.command}:{case.size}"


def value(case: Case) -> bytes:
    return b"v" * case.size


def member_keys(case: Case) -> list[str]:
    return [f"{key(case)}:{number}" for number in range(BATCH)]


def fill(seed: Client, case: Case) -> None:
    """Put into the server what this case reads."""
    texts = [value(case) + b"%d" % number for number in range(BATCH)]
    if case.command not in AGGREGATES:
        seed.set(key(case), value(case))
        return
    seed.delete(key(case))
    if case.command == "HGETALL":
        seed.hset(key(case), mapping={f"field:{number}": text for number, text in enumerate(texts)})
    elif case.command == "LRANGE":
        seed.rpush(key(case), *texts)
    elif case.command == "MGET":
        seed.mset(dict(zip(member_keys(case), texts)))
    else:
        seed.zadd(key(case), {text: number * 1.5 for number, text in enumerate(texts)})


# ---- the contenders --------------------------------------------------------------------------------------------------


def raw(place: Server) -> Contender:
    """A socket per thread that knows what will come."""

    def receive(sock: socket.socket, view: memoryview, total: int) -> None:
        count = sock.recv_into(view[:total])
        while count < total:
            count += sock.recv_into(view[count:total], 0, socket.MSG_WAITALL)

    def operation(case: Case) -> Operation | None:
        if case.command in AGGREGATES:
            return None
        if case.transport == "tcp":
            sock = socket.create_connection((place.host, place.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(place.unix_path)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 5, 0))
        view = memoryview(bytearray(2 * 1024 * KIB))
        name = key(case).encode()
        get = b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(name), name)
        if case.command == "GET":
            start = len(b"$%d\r\n" % case.size)
            total = start + case.size + 2

            def get_one() -> bytes:
                sock.sendall(get)
                receive(sock, view, total)
                return bytes(view[start : total - 2])

            return get_one
        if case.command == "SETEX":
            head = b"*4\r\n$5\r\nSETEX\r\n$%d\r\n%b\r\n$2\r\n60\r\n$%d\r\n" % (len(name), name, case.size)
            body = value(case)

            def set_one() -> None:
                if case.size < 32 * KIB:
                    sock.sendall(b"%b%b\r\n" % (head, body))
                else:
                    pieces = [head, body, b"\r\n"]
                    left = sum(map(len, pieces)) - sock.sendmsg(pieces)
                    if left:
                        sock.sendall((b"%b%b\r\n" % (head, body))[-left:])
                receive(sock, view, 5)

            return set_one
        one = len(b"$%d\r\n" % case.size) + case.size + 2
        start = one - case.size - 2

        def batch() -> list[bytes]:
            sock.sendall(get * BATCH)
            receive(sock, view, one * BATCH)
            return [bytes(view[at + start : at + one - 2]) for at in range(0, one * BATCH, one)]

        return batch

    return Contender("raw socket", operation)


def redis_like(name: str, make: Callable[[Case], Any]) -> Contender:
    """A client with the methods of redis-py, one for all threads."""
    clients: dict[str, Any] = {}

    def operation(case: Case) -> Operation | None:
        client = clients.get(case.transport)
        if client is None:
            client = clients[case.transport] = make(case)
        name = key(case)
        if case.command == "GET":
            return lambda: client.get(name)
        if case.command == "SETEX":
            body = value(case)
            return lambda: client.setex(name, 60, body)
        if case.command == "HGETALL":
            return lambda: client.hgetall(name)
        if case.command == "LRANGE":
            return lambda: client.lrange(name, 0, -1)
        if case.command == "MGET":
            names = member_keys(case)
            return lambda: client.mget(names)
        if case.command == "ZRANGE":
            return lambda: client.zrange(name, 0, -1, withscores=True)

        def batch() -> object:
            pipe = client.pipeline(transaction=False)
            for _ in range(BATCH):
                pipe.get(name)
            return pipe.execute()

        return batch

    return Contender(name, operation)


def ours(place: Server) -> Contender:
    def make(case: Case) -> Client:
        if case.transport == "unix":
            return Client(unix_socket_path=place.unix_path)
        return Client(place.host, place.port)

    return redis_like(OURS, make)


def redis_py(place: Server, *, hiredis: bool) -> Contender:
    redis: Any = importlib.import_module("redis")
    parsers = redis._parsers
    if hiredis:
        importlib.import_module("hiredis")
    parser = parsers._HiredisParser if hiredis else parsers._RESP3Parser

    def make(case: Case) -> Any:
        where: dict[str, Any] = {"host": place.host, "port": place.port}
        kind: Any = redis.Connection
        if case.transport == "unix":
            where, kind = {"path": place.unix_path}, redis.UnixDomainSocketConnection
        # From 8 on it speaks RESP3 by itself; if told to, it leaves replies as they are, which nobody else here does.
        old = hasattr(parsers, "_RESP3Parser") and int(redis.__version__.split(".")[0]) < 8
        options: dict[str, Any] = {"protocol": 3} if old else {}
        pool = redis.ConnectionPool(connection_class=kind, parser_class=parser, socket_timeout=5, **options, **where)
        return redis.Redis(connection_pool=pool)

    return redis_like("redis-py+hiredis" if hiredis else "redis-py", make)


def glide(place: Server) -> Contender:
    library: Any = importlib.import_module("glide_sync")

    def make(case: Case) -> Any:
        addresses = [library.NodeAddress(place.host, place.port)]
        return library.GlideClient.create(library.GlideClientConfiguration(addresses, request_timeout=5000))

    clients: list[Any] = []

    def operation(case: Case) -> Operation | None:
        if case.transport == "unix" or case.command in AGGREGATES:
            return None
        if not clients:
            clients.append(make(case))
        client, name, body = clients[0], key(case), value(case)
        if case.command == "GET":
            return lambda: client.get(name)
        if case.command == "SETEX":
            expiry = library.ExpirySet(library.ExpiryType.SEC, 60)
            return lambda: client.set(name, body, expiry=expiry)

        def batch() -> object:
            several = library.Batch(is_atomic=False)
            for _ in range(BATCH):
                several.get(name)
            return client.exec(several, raise_on_error=True)

        return batch

    return Contender("valkey-glide-sync", operation)


def contenders(place: Server, wanted: set[str]) -> list[Contender]:
    """Those that can be imported; says which cannot."""
    makers: list[tuple[str, Callable[[], Contender]]] = [
        ("raw socket", lambda: raw(place)),
        (OURS, lambda: ours(place)),
        ("redis-py", lambda: redis_py(place, hiredis=False)),
        ("redis-py+hiredis", lambda: redis_py(place, hiredis=True)),
        ("valkey-glide-sync", lambda: glide(place)),
    ]
    found = []
    for name, make in makers:
        if wanted and name not in wanted and name != OURS:
            continue
        try:
            found.append(make())
        except (ImportError, AttributeError) as error:
            print(f"{name} is not compared: {error}")
    return found


# ---- measuring -------------------------------------------------------------------------------------------------------


def rate(operations: list[Operation], span: float) -> tuple[float, float]:
    """Of so many threads, each doing its own for `span` seconds: operations per second, processor seconds for each."""
    counts = [0] * len(operations)
    barrier = threading.Barrier(len(operations) + 1)
    stop = threading.Event()

    def work(place: int, operation: Operation) -> None:
        operation()
        done = 0
        barrier.wait()
        while not stop.is_set():
            operation()
            done += 1
        counts[place] = done

    if len(operations) == 1:
        operation = operations[0]
        operation()
        done, began, used = 0, time.perf_counter(), time.process_time()
        end = began + span
        now = began
        while now < end:  # at least once, however busy the machine is
            operation()
            done += 1
            now = time.perf_counter()
        return done / (now - began), (time.process_time() - used) / done
    threads = [threading.Thread(target=work, args=item) for item in enumerate(operations)]
    for thread in threads:
        thread.start()
    barrier.wait()
    began, used = time.perf_counter(), time.process_time()
    time.sleep(span)
    stop.set()
    for thread in threads:
        thread.join()
    done = sum(counts)
    return done / (time.perf_counter() - began), (time.process_time() - used) / done


def cases(arguments: argparse.Namespace) -> list[Case]:
    found = []
    for transport in arguments.transport:
        for threads in arguments.threads:
            for command in arguments.command:
                sizes = SIZES if command in ("GET", "SETEX") else (100,) if command == "pipeline" else (20,)
                found += [Case(transport, command, size, threads) for size in sizes]
    return found


def measure(case: Case, rivals: list[Contender], rounds: int, span: float) -> None:
    operations: dict[str, list[Operation]] = {}
    for contender in rivals:
        made = [contender.operation(case) for _ in range(case.threads)]
        operations[contender.name] = [operation for operation in made if operation is not None]
    for turn in range(rounds + 1):
        # Every other round in the opposite order: what runs after whom matters on a busy machine.
        for contender in rivals if turn % 2 else reversed(rivals):
            if not operations[contender.name]:
                continue
            result, cost = rate(operations[contender.name], span if turn else span / 4)
            if turn:
                contender.rates.setdefault(case, []).append(result)
                contender.costs.setdefault(case, []).append(cost)


def arguments_of(module: str, description: str | None) -> argparse.ArgumentParser:
    """What all that measure clients can be told."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--rounds", type=int, default=20, help="slices per contender and case")
    parser.add_argument("--span", type=float, default=0.06, help="seconds per slice")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    return parser


def verdict(missed: list[str], check: bool) -> int:
    """Print the bars that were missed; what to exit with."""
    for text in missed:
        print("missed:", text)
    return 1 if missed and check else 0


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 with `--check` if a bar is missed."""
    parser = arguments_of("tests.benchmarks.resp", __doc__)
    parser.add_argument("--transport", nargs="*", choices=["tcp", "unix"], default=["tcp", "unix"])
    parser.add_argument("--command", nargs="*", choices=COMMANDS, default=COMMANDS)
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 8])
    parser.add_argument("--against", nargs="*", default=[], help="only these contenders")
    arguments = parser.parse_args(argv)
    missed = []
    with start_valkey() as place:
        rivals = contenders(place, set(arguments.against))
        names = [rival.name for rival in rivals if rival.name != OURS]
        print(
            "\nCalls per second, processor time per call, and how many times better that is than (in brackets: cheaper)"
        )
        print(f"{'':30}{OURS + ' per s':>12}{'µs':>10}" + "".join(f"{name:>26}" for name in names))
        with Client(place.host, place.port, timeout=60) as seed:
            for case in cases(arguments):
                fill(seed, case)
                measure(case, rivals, arguments.rounds, arguments.span)
                compared = {rival.name: rival for rival in rivals if case in rival.rates}
                mine = compared[OURS]
                line = f"{case!s:30}{mine.rate(case):12.0f}{mine.cost(case):10.1f}"
                for name in names:
                    if name not in compared:
                        line += f"{'–':>26}"
                        continue
                    ratio = mine.rate(case) / compared[name].rate(case)
                    bar = BARS.get(name, {}).get((case.threads, case.size)) if case.command == "GET" else None
                    if case.command not in ("GET", "SETEX") and case.threads == 1:
                        bar = MANY_BARS.get(name)
                    low = bar is not None and ratio < bar
                    if low:
                        missed.append(f"{case} ÷ {name}: {ratio:.2f}, the bar is {bar}")
                    cheaper = compared[name].cost(case) / mine.cost(case)
                    line += f"{ratio:>18.2f}{'!' if low else ' '}{f'({cheaper:.2f})':>7}"
                print(line, flush=True)
    return verdict(missed, arguments.check)


if __name__ == "__main__":
    sys.exit(main())
