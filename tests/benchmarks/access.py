# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A page behind a password, asked for with a valid login, beside the same page open to all: requests per second.

Run `python -m tests.benchmarks.access [--check]`. One mitmdump serves both, rounds alternate, medians are compared;
with `--check` it exits with 1 if the ratio is below the bar. The load is wrk's, or that of a client of our own.
"""

import argparse
import asyncio
import hashlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.benchmarks.serve import LOAD_CORE, Server, _number, on_core, started
from tests.integration.running import PAGES_DOMAIN, Proxy, mitmdump_command, write_config
from tests.ports import free_port

BAR = 0.9
PAGE = b"<!doctype html><title>Page</title><p>" + b"All work and no play. " * 45
HOST = f"alice.{PAGES_DOMAIN}"


def rate(port: int, path: str, cookie: str, seconds: float) -> float:
    """Requests per second on 16 connections."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return asyncio.run(by_ourselves(port, path, cookie, seconds))
    headers = ["-H", f"Host: {HOST}", "-H", f"Cookie: {cookie}"]
    command = [wrk, "-t1", "-c16", f"-d{max(1, round(seconds))}s", *headers, f"http://127.0.0.1:{port}{path}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=on_core(LOAD_CORE)).stdout
    if "Non-2xx" in text:
        raise SystemExit(f"not all requests were answered with the page:\n{text}")
    return _number(r"Requests/sec:\s+([\d.]+)", text)


async def by_ourselves(port: int, path: str, cookie: str, seconds: float) -> float:
    request = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n".encode()
    deadline = time.perf_counter() + seconds
    done = 0

    async def client() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < deadline:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"not the page: {head!r}")
            await reader.readexactly(len(PAGE))
            done += 1
        writer.close()

    await asyncio.gather(*(client() for _ in range(16)))
    return done / seconds


def log_in(server: Server, folder: Path) -> str:
    """The cookie that the password brings."""
    reply = Proxy(server.process, server.port, folder / "output.log").get(
        HOST,
        "/locked/",
        {"Content-Type": "application/x-www-form-urlencoded"},
        "POST",
        b"password=secret",
    )
    if reply.status != 303:
        raise SystemExit(f"the login was answered {reply.status}")
    return reply.headers["set-cookie"].partition(";")[0]


def main() -> int:
    """Print the rates and their ratio."""
    parser = argparse.ArgumentParser(description="A protected page with a valid cookie beside an open one.")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help=f"exit with 1 below {BAR}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lock = f"password: {hashlib.sha256(b'secret').hexdigest()}\n".encode()
        Site(folder / "forge" / "alice" / "open.git", {".pages": b"enabled: true\n", "public/index.html": PAGE})
        Site(folder / "forge" / "alice" / "locked.git", {".pages": lock, "public/index.html": PAGE})
        forge = start_forge(folder / "forge")
        place = folder / "proxy"
        place.mkdir()
        port = free_port()
        config = write_config(place, forge.url, port, cacheTTL=3600, authCookieDuration=86400)
        server = started("ours", place, mitmdump_command(config), port, False)
        try:
            cookie = log_in(server, place)
            rates: dict[str, list[float]] = {"/open/": [], "/locked/": []}
            for path in rates:
                rate(port, path, cookie, 1)
            for _ in range(options.rounds):
                for path, found in rates.items():
                    found.append(rate(port, path, cookie, options.seconds))
        finally:
            server.process.terminate()
            server.process.wait(30)
            forge.stop()
    medians = {path: statistics.median(found) for path, found in rates.items()}
    ratio = medians["/locked/"] / medians["/open/"]
    for path, median in medians.items():
        print(f"{path:10}{median:12,.0f} requests/s")
    print(f"protected to open: {ratio:.2f} (bar: {BAR})")
    return 1 if options.check and ratio < BAR else 0


if __name__ == "__main__":
    sys.exit(main())
