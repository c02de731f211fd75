# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""From the options of a client to its source: one server, the master behind sentinels, or a cluster.

Every node of a fleet gets the same settings, and a pool and a breaker of its own. Surprising: certificates are checked
against the name that the server was named by, which for sentinels and clusters is mostly an address; announce host
names (`resolve-hostnames`, `cluster-announce-hostname`), or have the addresses in the certificates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, TypedDict

from resp.breaker import Breaker
from resp.cluster import ClusterSource, ReplicaConnection
from resp.connection import Connection
from resp.endpoint import PORT, SENTINEL_PORT, Endpoint, hosts
from resp.errors import InvalidArgument
from resp.node import NoBreaker, Node
from resp.pool import Pool
from resp.retry import Retry
from resp.sentinel import MasterConnection, SentinelSource
from resp.sentinels import ASK_SECONDS, Sentinels
from resp.source import Source
from resp.topology import Topology

Address = tuple[str, int]
Addresses = str | Iterable[str | Address]

_READ_FROM: Final = ("master", "replica")


class Fleet(TypedDict, total=False):
    """The options that say where many servers are; see `Client`."""

    sentinels: Addresses | None
    sentinel_master: str | None
    sentinel_username: str | None
    sentinel_password: str | None
    cluster: bool | Addresses
    read_from: str
    translate: Callable[[str, int], Address] | None


def source_of(
    endpoint: Endpoint, limits: dict[str, Any], guard: Breaker | bool, retries: int | Retry, fleet: Fleet
) -> Source:
    """The source for these options. endpoint: the settings for each server, and where a single one is."""
    again = retries if isinstance(retries, Retry) else Retry(retries)
    if fleet["read_from"] not in _READ_FROM:
        raise InvalidArgument(f"read_from must be one of {', '.join(_READ_FROM)}")

    def breaker() -> Breaker:
        if isinstance(guard, Breaker):
            return guard.another()
        return Breaker() if guard else NoBreaker()

    def node(
        address: Address, factory: Callable[[Endpoint], Connection] = Connection, endpoint: Endpoint = endpoint
    ) -> Node:
        where = replace(endpoint, host=address[0], port=address[1], unix_socket_path=None)
        return Node(where, Pool(where, **limits, factory=factory), breaker(), again)

    if fleet["sentinels"] is not None:
        if not fleet["sentinel_master"] or fleet["cluster"]:
            raise InvalidArgument("sentinels need sentinel_master, the name of what they watch, and no cluster")
        asked = replace(
            endpoint,
            unix_socket_path=None,
            username=fleet["sentinel_username"],
            password=fleet["sentinel_password"],
            credentials=None,
            db=0,
            connect_timeout=min(endpoint.connect_timeout, ASK_SECONDS),
            timeout=ASK_SECONDS,
        )
        places = [replace(asked, host=host, port=port) for host, port in hosts(fleet["sentinels"], SENTINEL_PORT)]
        return SentinelSource(
            Sentinels(places, fleet["sentinel_master"]),
            lambda address, writes: node(address, MasterConnection if writes else Connection),
            translate=fleet["translate"],
            read_from=fleet["read_from"],
        )
    if fleet["sentinel_master"] is not None:
        raise InvalidArgument("sentinel_master needs sentinels: their addresses")
    if fleet["cluster"] is not False:
        if endpoint.unix_socket_path is not None:
            raise InvalidArgument("a cluster is not behind a unix socket")
        seeds = [(endpoint.host, endpoint.port)] if fleet["cluster"] is True else hosts(fleet["cluster"], PORT)
        topology = Topology(
            seeds,
            lambda address, replica: node(address, ReplicaConnection if replica else Connection),
            translate=fleet["translate"],
        )
        return ClusterSource(topology, read_from=fleet["read_from"])
    pool = Pool(endpoint, **limits)
    only = guard if isinstance(guard, Breaker) else breaker()
    return Node(endpoint, pool, only, again)
