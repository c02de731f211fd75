# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Proxies that are cut off from some nodes of a cluster, or from the master, while these are well and know of nothing.

So nobody takes the place of who is missed: the proxies have what they know, and Forgejo. Each way to a server leads
through a proxy of its own that can be cut; what the servers and sentinels say to each other goes straight.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from types import TracebackType
from typing import Any

import pytest

import resp
from tests.addon.preview.sites import Site
from tests.addon.shared.conftest import FIRST, MakeNode
from tests.addon.shared.visits import BLOG, Load, recovered, two
from tests.resp.chaos import ChaosProxy
from tests.resp.fleets import Cluster, Watched, clustered, watched
from tests.resp.servers import Server
from tests.waiting import until

NAMES = ("~pages:ref:alice/blog@main", "~pages:epoch:alice/blog")


class Ways:
    """From the proxies to the servers."""

    def __init__(self, servers: list[Server]) -> None:
        self._proxies = {server.port: ChaosProxy(server.address) for server in servers}

    def __enter__(self) -> Ways:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for proxy in self._proxies.values():
            proxy.close()

    def translate(self, host: str, port: int) -> tuple[str, int]:
        return self._proxies[port].address if port in self._proxies else (host, port)

    @contextlib.contextmanager
    def cut(self, servers: list[Server], how: str) -> Iterator[None]:
        """No way to these: what is sent is never answered, or connections are reset and connecting is refused."""
        proxies = [self._proxies[server.port] for server in servers]
        for proxy in proxies:
            if how == "silence":
                proxy.freeze()
            else:
                proxy.refuse()
                proxy.reset()
        try:
            yield
        finally:
            for proxy in proxies:
                if how == "silence":
                    proxy.thaw()
                else:
                    proxy.listen()


@pytest.fixture(params=["cluster of Redis", "Valkey behind a sentinel"])
def fleet(request: pytest.FixtureRequest) -> Iterator[Cluster | Watched]:
    if request.param == "cluster of Redis":
        with clustered("redis", replicas=0) as cluster:
            yield cluster
    else:
        with watched("valkey", replicas=1, sentinels=1) as servers:
            yield servers


def homes(fleet: Cluster | Watched) -> list[Server]:
    """The servers that have what is known of the blog."""
    if isinstance(fleet, Watched):
        return [fleet.named()]
    slots: list[Any] = [fleet.ask("CLUSTER", "KEYSLOT", name) for name in NAMES]
    return [server for server in fleet.primaries if server in {fleet.owner(slot) for slot in slots}]


async def test_who_is_cut_off_serves_on_loses_no_purge_and_shows_nothing_old_again(
    node: MakeNode, blog: Site, fleet: Cluster | Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ways(fleet.servers) as ways:
        monkeypatch.setattr(resp, "Client", partial(resp.Client, translate=ways.translate))
        first, second = await two(node, fleet)
        lost = homes(fleet)
        words = [FIRST]
        async with Load((first, second)) as load:
            for how in ("silence", "refusal"):
                began = time.monotonic()
                with ways.cut(lost, how):
                    for each in (first, second):
                        await until(lambda each=each: each.shared.away or not each.looks.live, "trouble")  # type: ignore[misc]  # mypy cannot infer it
                    words += [b"pushed during " + how.encode(), b"pushed after " + how.encode()]
                    blog.commit({"public/index.html": words[-2]})
                    await first.looks.purge(BLOG)
                    await first.comes_to(words[-2])  # who was told of the push
                healed = time.monotonic()
                await second.comes_to(words[-2])  # what the first one owed
                await recovered(first, second, blog, words[-1])
                print(f"{how}: cut for {healed - began:.2f} s, well {time.monotonic() - healed:.2f} s later")
    assert load.wrong == []
    for shown in load.shown:
        assert shown == sorted(set(shown), key=words.index), "something old came again"
        assert len(shown) > 2, "the one or the other push, at least, was seen by visitors"
    if isinstance(fleet, Watched):
        assert [fleet.named()] == lost, "nobody else has become the master"
