# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Two real mitmdumps on one Valkey under load, while Valkey, the forge and both are killed, hung and brought back."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from addon.preview.forge import Forge
from tests.addon.preview.running import start_forge
from tests.addon.preview.sites import Site
from tests.integration.running import PAGES_DOMAIN, Proxy, two_proxies
from tests.resp.servers import Server, start_valkey
from tests.waiting import wait_until

DOMAIN = "www.blog.example"
PAGES = {f"/p{number}.html": b"<h1>%d</h1>" % number * 50 for number in range(12)}
ADDRESSES = [(f"alice.{PAGES_DOMAIN}", f"/blog{path}") for path in PAGES] + [(DOMAIN, path) for path in PAGES]
SLOWEST = 1.0


@dataclass
class Load:
    """Visitors who never stop, and what they got, by phase."""

    proxies: tuple[Proxy, ...]
    phase: str = "calm"
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for proxy in self.proxies:
            for offset in range(2):
                thread = threading.Thread(target=self._visit, args=(proxy, offset))
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, proxy: Proxy, offset: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
        number = offset * 5
        while not self._stop.wait(0.005):
            (host, path), phase = ADDRESSES[number % len(ADDRESSES)], self.phase
            number += 1
            began = time.monotonic()
            try:
                connection.request("GET", path, headers={"Host": host})
                response = connection.getresponse()
                status, body = response.status, response.read()
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(f"{phase}: {host}{path}: {error!r}")
                connection.close()
                continue
            took = time.monotonic() - began
            self.counts[phase] += 1
            self.slowest[phase] = max(self.slowest.get(phase, 0.0), took)
            if (status, body) != (200, PAGES[path.removeprefix("/blog")]):
                self.wrong.append(f"{phase}: {host}{path}: {status} {body[:60]!r}")

    def during(self, phase: str, seconds: float) -> None:
        self.phase = phase
        time.sleep(seconds)  # the load itself is what is waited for


@pytest.fixture
def load(tmp_path: Path) -> Iterator[tuple[Load, Server, Forge]]:
    files = {".pages": b"custom_domain: %b\n" % DOMAIN.encode()} | {
        f"public{path}": body for path, body in PAGES.items()
    }
    site = Site(tmp_path / "forge" / "alice" / "blog.git", files)
    with (
        start_forge(tmp_path / "forge") as forge,
        start_valkey() as redis,
        # Refs that age while the test runs, so that looks at the forge are due all the time.
        two_proxies(tmp_path, forge.url, redis, cacheTTL="1s", forgejoTimeout="3s") as (one, two),
    ):
        load = Load((one, two))
        one.get("alice", "/blog/p0.html")  # which registers the domain
        wait_until(lambda: two.get(DOMAIN, "/p0.html").status == 200, "the registration")
        for proxy in (one, two):
            for host, path in ADDRESSES:
                assert proxy.get(host, path).body == PAGES[path.removeprefix("/blog")]
        load.start()
        yield load, redis, forge
        load.stop()
    site.close()


def test_no_known_page_fails_or_is_slow_whatever_goes_away(load: tuple[Load, Server, Forge]) -> None:
    visits, redis, forge = load
    port, hung = forge.port, ExitStack()
    # What happens, what is so from then on, and for how many seconds: longer than whoever asks waits for an answer.
    steps: list[tuple[list[Callable[[], object]], str, float]] = [
        ([], "calm", 1),
        ([redis.kill], "Redis killed", 2),
        ([redis.start], "Redis back, empty", 1),
        ([redis.pause], "Redis paused", 6),
        ([redis.resume], "Redis back", 1),
        ([forge.stop], "Forgejo killed", 3),
        ([redis.kill], "both killed", 2),
        ([redis.start, lambda: forge.start_thread(port)], "both back", 2),
        ([lambda: hung.enter_context(forge.fault(hang=True))], "Forgejo hung", 5),
        ([redis.pause], "both hung", 5),
        ([redis.resume, hung.close], "calm again", 1),
    ]
    with hung:
        for happens, phase, seconds in steps:
            for each in happens:
                each()
            visits.during(phase, seconds)
    visits.stop()
    print()
    for phase, count in visits.counts.items():
        print(f"{phase:20} {count:6} requests, slowest {visits.slowest[phase] * 1000:6.0f} ms")
    assert visits.wrong == []
    assert min(visits.counts.values()) > 50
    assert max(visits.slowest.values()) < SLOWEST, visits.slowest
