# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How long one step of the event loop takes at most, in processor time, with the dearest requests that we know.

Run `python -m tests.benchmarks.loop` (`--help` for what to measure). The real mitmdump, with a script beside the addon
that takes the processor time of each step (`Handle._run` of asyncio): what others wait for, whatever it is made of.
Each row is asked for over HTTP/1.1 and HTTP/2, cold and again, beside a small page asked for just as often. Steps are
counted as they are: one that a collection of garbage or the machine made longer is there, too; so the second dearest
is printed beside the dearest.
"""

import argparse
import contextlib
import hashlib
import json
import random
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h2.config
import h2.connection
import h2.events

from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.benchmarks.crowd_attacks import host, request
from tests.integration.running import Proxy, running_proxy

MOST = 5.0
"""Milliseconds: the bar."""
ENABLED = b"enabled: true\n"
HEAD = 15_400
"""Bytes of a path that still fits into `maxHeadSize` with the rest of a head."""
AT_ONCE = 100
FORM = "application/x-www-form-urlencoded"
LOCK = hashlib.sha256(b"open sesame").hexdigest().encode()

PROBE = """
import asyncio, gc, json, time

kept = open("steps.jsonl", "a", buffering=1)
run = asyncio.Handle._run
collected = [0.0, 0.0]

def collecting(phase, about):
    if phase == "start":
        collected[1] = time.thread_time()
    else:
        collected[0] += time.thread_time() - collected[1]

gc.callbacks.append(collecting)

def timed(handle):
    what, wall, began = getattr(handle, "_callback", None), time.perf_counter(), time.thread_time()
    collected[0] = 0.0
    run(handle)
    took = time.thread_time() - began
    if took > 0.0005:
        wall = time.perf_counter() - wall
        what = f"{collected[0] * 1000:.1f} ms of it collecting garbage, {what!r}"
        kept.write(json.dumps([took * 1000, wall * 1000, what[:300]]) + "\\n")

asyncio.Handle._run = timed
"""


class Asked(NamedTuple):
    """A request. form: what is posted, where it is not a GET."""

    owner: str
    target: str
    form: bytes = b""


def _rows() -> dict[str, list[Asked]]:
    """The requests of each row."""
    escaped, letters = "%c3%a4", "/a"
    long_paths = {
        "parts": letters * (HEAD // 2),
        "escaped parts": f"/{escaped}" * (HEAD // 7),
        "escapes": "/" + "%41" * (HEAD // 3),
        "slashes": "/" * HEAD + "a",
        "slashes, escapes": "//" + f"/{escaped}" * (HEAD // 7),
        "dots": "/a/.." * (HEAD // 5) + "/b",
        "bytes that are no text": "/%ff" * (HEAD // 4),
    }
    rows = {"small page": [Asked("alice", "/blog/")] * 20}
    for name, path in long_paths.items():
        for owner, site in (("alice", "/blog"), ("alice", "/rules/any"), ("alice", "/app"), ("nobody", "")):
            rows.setdefault(name, []).append(Asked(owner, site + path))
    rows["pictures, cold"] = [Asked("alice", f"/gallery/p{number}.svg") for number in range(AT_ONCE)]
    rows["texts, cold"] = [Asked("alice", f"/texts/p{number}.txt") for number in range(AT_ONCE)]
    rows["listing of 1 000"] = [Asked("alice", f"/listing/?page={number}") for number in (1, 2, 3)]
    rows["large site, cold"] = [
        Asked("alice", "/large/"),
        Asked("alice", "/large/missing"),
        Asked("alice", "/large/.pages/site"),
    ]
    rows["strangers"] = [Asked(f"nobody{number}", f"/site{number}/") for number in range(AT_ONCE)]
    rows["query"] = [
        Asked("alice", "/blog/?" + "a=%20&" * (HEAD // 6)),
        Asked("alice", "/rules/old?" + "a=1&" * (HEAD // 4)),
    ]
    rows["form of a login"] = [Asked("alice", "/locked/", b"password=" + b"%41" * (HEAD // 3))] * 4
    rows["form of fields"] = [Asked("alice", "/locked/", b"a=1&" * (HEAD // 4) + b"password=a")] * 4
    return rows


FIELDS: dict[str, str] = {
    "Accept-Encoding": ", ".join(["br;q=0.1"] * (HEAD // 10)),
    "If-None-Match": ", ".join(['"a"'] * (HEAD // 5)),
    "Range": "bytes=" + ",".join(f"{n}-{n}" for n in range(HEAD // 10)),
    "Cookie": "; ".join(["a=b"] * (HEAD // 5)),
    "Accept-Language": ",".join(["en;q=0.1"] * (HEAD // 9)),
    "Forwarded": ",".join(['for="a;b"'] * (HEAD // 11)),
    "X-Forwarded-For": ",".join(["192.0.2.1"] * (HEAD // 10)),
    "User-Agent": '"' * HEAD,
    "Authorization": "Basic " + "A" * HEAD,
}


def make_sites(root: Path) -> None:
    rules = [f"/from{n}/*  /to{n}/:splat  301" for n in range(990)]
    chance = random.Random(1)
    sites: dict[str, dict[Any, Any]] = {
        "blog": {"public/index.html": b"<p>Hello</p>" * 80},
        "rules": {
            "public/index.html": b"x",
            "public/_redirects": "\n".join([*rules, "/any/* /moved/:splat/x 302"]).encode(),
        },
        "app": {".pages": ENABLED + b"spa: true\n", "public/index.html": b"<p>App</p>"},
        "gallery": {f"public/p{n}.svg": b"<svg>%d</svg>" % n + chance.randbytes(900) for n in range(AT_ONCE)},
        "texts": {f"public/p{n}.txt": b"text %d " % n + b"all work and no play " * 1000 for n in range(AT_ONCE)},
        "listing": {".pages": ENABLED + b"directory_index: true\n"}
        | {f"public/{n:05}-{'n' * 60}.txt": b"" for n in range(3000)},
    }
    sites["large"] = {
        "public/index.html": b"x",
        "public/_redirects": "\n".join(rules * 5).encode(),
        "public/_headers": b"".join(b"/d%d/*\n  X-A: %d\n" % (n, n) for n in range(1000)),
        **{f"public/d{n % 300}/{n:05}.html": b"%d" % (n % 50) for n in range(20_000)},
    }
    sites["locked"] = {".pages": ENABLED + b"password: " + LOCK + b"\n", "public/index.html": b"x"}
    for name, files in sites.items():
        Site(root / "alice" / f"{name}.git", {".pages": ENABLED} | files)


def over_http1(port: int, asked: list[Asked], fields: dict[str, str]) -> None:
    """All on one connection, one behind the other without waiting."""
    lines = [f"{name}: {value}" for name, value in fields.items()]
    data = b""
    for owner, target, form in asked:
        more = [f"Content-Type: {FORM}"] if form else []
        data += request(host(owner), target, *lines, *more, method="POST" if form else "GET", body=form, close=False)
    data += request(host("alice"), "/.pages/", close=True)
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
        with contextlib.suppress(OSError):
            while connection.recv(1 << 20):
                pass


def over_http2(port: int, asked: list[Asked], fields: dict[str, str]) -> None:
    """All on one connection at once, as far as its streams go."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False))
    client.initiate_connection()
    client.increment_flow_control_window(2**30)
    client.update_settings({4: 2**30})
    more = [(name.lower(), value) for name, value in fields.items()]
    left = list(asked)
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        open_ = 0
        while left or open_:
            while left and open_ < AT_ONCE:
                owner, target, form = left.pop()
                method, stream = "POST" if form else "GET", client.get_next_available_stream_id()
                pseudo = [(":method", method), (":scheme", "http"), (":authority", host(owner)), (":path", target)]
                kind = [("content-type", FORM)] if form else []
                client.send_headers(stream, [*pseudo, *more, *kind], end_stream=not form)
                if form:
                    client.send_data(stream, form, end_stream=True)
                open_ += 1
            try:
                connection.sendall(client.data_to_send())
                data = connection.recv(1 << 20)
            except OSError:
                return
            if not data:
                return
            for event in client.receive_data(data):
                if isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    open_ -= 1
                elif isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                    client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)


def measured(steps: Path, work: Callable[[], None]) -> list[tuple[float, float, str]]:
    """The dearest steps while that goes on: milliseconds of processor, of the clock, and what it was."""
    before = steps.stat().st_size
    work()
    with steps.open("rb") as file:
        file.seek(before)
        found = [tuple(json.loads(line)) for line in file.read().splitlines() if line.endswith(b"]")]
    return sorted(found, reverse=True) or [(0.0, 0.0, "")]


@contextlib.contextmanager
def proxies(folder: Path, forge: str, number: int) -> Iterator[tuple[Proxy, Path]]:
    """A server without anything in memory, and where its steps are written."""
    place = folder / str(number)
    steps = place / "steps.jsonl"
    with running_proxy(place, forge, beside=PROBE, http2Plain=True) as proxy:
        # The last step of the start, which takes all that lives by then out of the sight of the garbage collector.
        proxy.until(lambda: "open_listeners" in steps.read_text())
        yield proxy, steps


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.loop", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help="beginnings of the rows to measure (default: all)")
    parser.add_argument("--what", action="store_true", help="print what the dearest step was")
    options = parser.parse_args()
    rows: dict[str, tuple[list[Asked], dict[str, str]]] = {name: (asked, {}) for name, asked in _rows().items()}
    rows |= {name: ([Asked("alice", "/blog/")] * 20, {name: value}) for name, value in FIELDS.items()}
    wanted = {
        name: row for name, row in rows.items() if not options.rows or name.lower().startswith(tuple(options.rows))
    }
    over: list[str] = []
    print(
        f"milliseconds of processor that the dearest step of the event loop took (and the one after it); bar {MOST}\n"
    )
    print(f"{'':24}{'HTTP/1.1':>16}{'again':>16}{'HTTP/2':>16}{'again':>16}")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name, "repositories")
        make_sites(root)
        with start_forge(root) as forge, contextlib.ExitStack() as stack:
            faces = [
                (client, *stack.enter_context(proxies(Path(name), forge.url, number)))
                for number, client in enumerate((over_http1, over_http2))
            ]
            for row, (asked, fields) in wanted.items():
                cells, said = [], []
                for client, proxy, steps in faces:
                    for _ in range(2):
                        found = measured(steps, partial(client, proxy.port, asked, fields))
                        cells.append(f"{found[0][0]:9.1f} ({found[1][0] if len(found) > 1 else 0:.1f})")
                        said.append(found[0][2])
                        if found[0][0] > MOST:
                            over.append(f"{row}: {found[0][0]:.1f} ms in {found[0][2]}")
                print(f"{row:24}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
                if options.what:
                    print("".join(f"    {what}\n" for what in said))
    if over:
        print("\nover the bar:\n" + "\n".join(over))
    return 0


if __name__ == "__main__":
    sys.exit(main())
