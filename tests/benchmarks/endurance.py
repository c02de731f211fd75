# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What the lane costs over time: first requests, idle connections, a steady stream (open loop), millions of requests.

Run `python -m tests.benchmarks.endurance [miss] [idle] [open] [million]`. The open loop sends each request when it is
due, whether or not earlier ones are answered, and counts latency from that moment, as visitors do: a closed loop would
wait with the server and hide what it waits for. Caddy stands beside it in the same run where it is installed. Millions
of requests come from wrk; memory is read after each million.
"""

import argparse
import asyncio
import os
import random
import re
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.benchmarks.serve import HOST, LOAD_CORE, LOADS, PATHS, Server, by_wrk, cpu_seconds, lua, on_core, running

MIB = 1024 * 1024
REQUEST = f"GET /blog/1k.html HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


# ---- first requests --------------------------------------------------------------------------------------------------


def misses(server: Server) -> None:
    """Processor time for each file that is asked for the first time, and has to come from Forgejo."""
    asked(server.port)
    before, began = cpu_seconds(server.process.pid), time.perf_counter()
    for number in range(PATHS):
        asked(server.port, f"/blog/p/{number}.html")
    took = time.perf_counter() - began
    used = cpu_seconds(server.process.pid) - before
    print(f"{server.name:12}{PATHS:8} misses{used / PATHS * 1e6:12,.0f} µs CPU each{took / PATHS * 1e3:8.2f} ms each")


# ---- idle connections ------------------------------------------------------------------------------------------------


def idle(server: Server, count: int) -> None:
    """Bytes of memory for each connection that is open, after one request, and says nothing more."""
    asked(server.port)
    before = resident(server.process.pid)
    connections = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(count)]
    for connection in connections:
        connection.sendall(REQUEST)
    for connection in connections:
        answer(connection)
    each = (resident(server.process.pid) - before) / count
    print(f"{server.name:12}{count:8} idle connections{each:12,.0f} bytes each")
    for connection in connections:
        connection.close()


def asked(port: int, path: str = "/blog/1k.html") -> None:
    """One request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        answer(connection)


def answer(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    assert head.startswith(b"HTTP/1.1 200"), head
    assert length is not None, head
    while len(body) < int(length[1]):
        body += connection.recv(65536)


# ---- a steady stream -------------------------------------------------------------------------------------------------


class Asker(asyncio.Protocol):
    """One connection of the open loop: notes when each request was due, and how long its answer took from then on."""

    def __init__(self, took: list[float], size: int) -> None:
        self.due: list[float] = []
        self.took = took
        self.size = size
        self.received = 0
        self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, due: float) -> None:
        self.due.append(due)
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.failed += data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 200")
        now = time.perf_counter()
        while self.received >= self.size and self.due:
            self.received -= self.size
            self.took.append(now - self.due.pop(0))


async def stream(port: int, rate: int, seconds: float, connections: int) -> tuple[list[float], int]:
    """Latencies in seconds of requests that come at random times, `rate` a second on average; those not answered."""
    with socket.create_connection(("127.0.0.1", port), 10) as first:
        first.sendall(REQUEST)
        size = len(first.recv(65536))  # all answers are of one length: 1 KiB in one piece
    loop = asyncio.get_running_loop()
    took: list[float] = []
    askers = [
        (await loop.create_connection(lambda: Asker(took, size), "127.0.0.1", port))[1] for _ in range(connections)
    ]
    chance = random.Random(5000)
    due = time.perf_counter()
    end = due + seconds
    while due < end:
        now = time.perf_counter()
        if due > now:
            await asyncio.sleep(due - now)
        while due <= time.perf_counter():
            chance.choice(askers).ask(due)
            due += chance.expovariate(rate)
    await asyncio.sleep(0.5)
    lost = sum(len(asker.due) + asker.failed for asker in askers)
    for asker in askers:
        asker.transport.close()
    return took, lost


def open_loop(servers: list[Server], rate: int, seconds: float, rounds: int) -> None:
    """Latencies at a rate that does not wait for the server, which is each in turn."""
    os.sched_setaffinity(0, {LOAD_CORE % (os.cpu_count() or 1)})
    results: dict[str, list[tuple[float, float, int]]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            asked(server.port)
            took, lost = asyncio.run(stream(server.port, rate, seconds, 64))
            ranks = statistics.quantiles(took, n=1000)
            results[server.name].append((ranks[499] * 1000, ranks[989] * 1000, lost))
    print(f"\n{rate:,} requests a second, at random times, 64 connections")
    print(f"{'':12}{'p50 ms':>9}{'p99 ms':>9}{'lost':>8}")
    for name, runs in results.items():
        p50, p99 = (statistics.median(run[place] for run in runs) for place in (0, 1))
        print(f"{name:12}{p50:9.2f}{p99:9.2f}{sum(run[2] for run in runs):8}")


# ---- millions --------------------------------------------------------------------------------------------------------


def millions(server: Server, wanted: int, folder: Path) -> None:
    """Memory after each million of requests that rotate over many paths."""
    wrk = shutil.which("wrk")
    if wrk is None:
        print("wrk is not installed: no millions of requests")
        return
    by_wrk(wrk, server, LOADS["browsers"], 2, folder)
    before, done = resident(server.process.pid), 0.0
    print(f"\n{server.name}: memory over requests for {PATHS} paths\n{0:6.2f} M{before / MIB:10.1f} MiB")
    script = folder / "load.lua"
    script.write_text(lua(LOADS["browsers"]))
    command = [wrk, "-t1", "-c64", "-d10s", "-s", str(script), f"http://127.0.0.1:{server.port}/"]
    while done < wanted * 1e6:
        text = subprocess.run(
            command, capture_output=True, text=True, check=True, preexec_fn=on_core(LOAD_CORE), cwd=folder
        ).stdout
        found = re.search(r"(\d+) requests in", text)
        if found is None or "Non-2xx" in text or "Socket errors" in text:
            raise SystemExit(f"not all requests were answered:\n{text}")
        done += int(found[1])
        print(f"{done / 1e6:6.2f} M{resident(server.process.pid) / MIB:10.1f} MiB", flush=True)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(
        description="First requests, idle connections, an open loop, millions of requests."
    )
    parser.add_argument("what", nargs="*", default=["miss", "idle", "open"], help="of miss, idle, open, million")
    parser.add_argument("--servers", default="lane,flow,caddy", help="default: %(default)s")
    parser.add_argument("--connections", type=int, default=2000, help="idle ones; default: %(default)s")
    parser.add_argument("--rate", type=int, default=5000, help="requests a second of the open loop")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round of the open loop")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--millions", type=int, default=5)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # before the servers start, which inherit it
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), options.servers.split(","), False, maxConnectionsPerAddress=0) as servers,
    ):
        if "miss" in options.what:
            for server in servers:
                if server.name != "Caddy":
                    misses(server)
        if "idle" in options.what:
            for server in servers:
                idle(server, options.connections)
        if "open" in options.what:
            open_loop(servers, options.rate, options.seconds, options.rounds)
        if "million" in options.what:
            for server in servers:
                if server.name == "lane":
                    millions(server, options.millions, Path(folder))


if __name__ == "__main__":
    main()
