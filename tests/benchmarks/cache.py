# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a page costs out of memory, out of Redis and out of Forgejo, and how soon a change in Redis is seen.

Run `python -m tests.benchmarks.cache`. Each request goes through a real mitmdump over one kept connection; the same
answer of our own that needs no look-up at all (a 404 below `/.pages/`) is what the rest is to be compared with. Files
are asked for once each, so that Redis and Forgejo are really asked; the forge is a small one in this process, hence
quicker than a real one. Coherence is the time from a SET in Redis to the first answer that shows it, at two proxies.
"""

import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.running import PAGES_DOMAIN, Proxy, running_proxy
from tests.resp.servers import Server, start_valkey

ROUNDS = 150
SMALL, LARGE = 4096, 1024 * 1024
REF = "~pages:ref:alice/blog@main"


class Visitor:
    """One kept connection to a proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)

    def get(self, path: str, host: str = f"alice.{PAGES_DOMAIN}") -> bytes:
        self._connection.request("GET", path, headers={"Host": host})
        return self._connection.getresponse().read()


def timed(visit: Callable[[int], object], rounds: int = ROUNDS) -> list[float]:
    """Milliseconds of each visit."""
    found = []
    for number in range(rounds):
        began = time.perf_counter()
        visit(number)
        found.append((time.perf_counter() - began) * 1000)
    return found


def told(name: str, times: list[float]) -> None:
    ordered = sorted(times)
    print(f"  {name:42} median {statistics.median(ordered):7.2f} ms   p99 {ordered[int(len(ordered) * 0.99)]:7.2f} ms")


def files() -> dict[str, bytes]:
    """As many different files of each size as are asked for."""
    found = {".pages": b"enabled: true\n", "public/index.html": b"<h1>First</h1>"}
    for number in range(ROUNDS):
        found[f"public/s{number}.bin"] = number.to_bytes(4, "big") * (SMALL // 4)
    for number in range(ROUNDS // 5):
        found[f"public/l{number}.bin"] = number.to_bytes(4, "big") * (LARGE // 4)
    return found


def measure(title: str, cold: Visitor, warm: Visitor | None) -> None:
    """cold: a proxy that knows nothing. warm: another that shares a Redis with it."""
    print(title)
    cold.get("/blog/")
    cold.get("/blog/nothing")
    told("no look-up at all (404 of our own)", timed(lambda _: cold.get("/.pages/x")))
    told("memory", timed(lambda _: cold.get("/blog/")))
    told("Forgejo, 4 KiB", timed(lambda number: cold.get(f"/blog/s{number}.bin")))
    told("Forgejo, 1 MiB", timed(lambda number: cold.get(f"/blog/l{number}.bin"), ROUNDS // 5))
    if warm is None:
        return
    time.sleep(3)  # what was fetched is being written
    warm.get("/blog/")
    told("Redis, 4 KiB", timed(lambda number: warm.get(f"/blog/s{number}.bin")))
    told("Redis, 1 MiB", timed(lambda number: warm.get(f"/blog/l{number}.bin"), ROUNDS // 5))


def coherence(redis: Server, site: Site, visitors: list[Visitor]) -> None:
    """From SET to the first answer that shows it, at the slower of the proxies."""
    first = site.head()
    second = site.commit({"public/index.html": b"<h1>Second</h1>"})
    pages = {first: b"<h1>First</h1>", second: b"<h1>Second</h1>"}
    found = []
    with redis.console() as console:
        value = console.ask("GET", REF)
        assert isinstance(value, bytes)
        record = json.loads(value)
        for number in range(52):
            commit = second if number % 2 == 0 else first
            console.ask("SET", REF, json.dumps({**record, "commit": commit}), "KEEPTTL")
            began = time.perf_counter()
            for visitor in visitors:
                while visitor.get("/blog/") != pages[commit]:
                    pass
            found.append((time.perf_counter() - began) * 1000)
    print("coherence, two proxies")
    told("a ref changed by hand, to the new page", found[2:])  # the first two fetch the commit


@contextmanager
def proxies(folder: Path, forge_url: str, count: int, **options: object) -> Iterator[list[Visitor]]:
    if count == 0:
        yield []
        return
    with (
        running_proxy(folder / str(count), forge_url, **options) as proxy,
        proxies(folder, forge_url, count - 1, **options) as others,
    ):
        yield [Visitor(proxy), *others]


def main() -> None:
    with tempfile.TemporaryDirectory() as name, start_valkey() as redis:
        folder = Path(name)
        site = Site(folder / "forge" / "alice" / "blog.git", files())
        forge = start_forge(folder / "forge")
        try:
            with proxies(folder / "alone", forge.url, 1) as (alone,):
                measure("without Redis", alone, None)
            options = {"redisHost": redis.host, "redisPort": redis.port}
            with proxies(folder / "shared", forge.url, 2, **options) as (cold, warm):
                measure("with Redis", cold, warm)
                coherence(redis, site, [cold, warm])
        finally:
            forge.stop()
            site.close()


if __name__ == "__main__":
    main()
