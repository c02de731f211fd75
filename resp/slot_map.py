# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The map of a cluster: which shard has which slots. Values, and a parser for each of the two ways to be told; no I/O.

Surprising: a node may leave its own host out of the map, or know none for a peer. An empty or missing name means the
host that was asked, as it does in MOVED.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from resp.errors import ProtocolError

Address = tuple[str, int]


class Shard(NamedTuple):
    """The server that is written to, and its replicas."""

    primary: Address
    replicas: tuple[Address, ...]


class SlotRange(NamedTuple):
    """Both ends included."""

    first: int
    last: int
    shard: Shard


def parse_slots(reply: Any, asked: str) -> tuple[SlotRange, ...]:
    """The reply to CLUSTER SLOTS of the host `asked`, in the order of slots. Raises ProtocolError."""
    try:
        found = []
        for row in reply:
            first, last, *servers = row
            if not 0 <= first <= last < 16384 or not servers:
                raise ValueError
            primary, *replicas = (_address(server, asked) for server in servers)
            if primary is not None:
                found.append(SlotRange(first, last, Shard(primary, tuple(place for place in replicas if place))))
    except (TypeError, ValueError, IndexError, AttributeError):
        raise ProtocolError("the answer to CLUSTER SLOTS has an unexpected form") from None
    return tuple(sorted(found))


def parse_shards(reply: Any, asked: str, *, tls: bool = False) -> tuple[SlotRange, ...]:
    """The reply to CLUSTER SHARDS of the host `asked`, in the order of slots. Raises ProtocolError.

    tls: take the ports for TLS. A primary that failed may stand there beside the one that took over: it is left out.
    """
    try:
        found = []
        for row in reply:
            shard = _fields(row)
            ends = shard[b"slots"]
            nodes = [_fields(node) for node in shard[b"nodes"]]
            well = [node for node in nodes if node.get(b"health") != b"fail"]
            primaries = [place for node in well if node[b"role"] == b"master" and (place := _place(node, asked, tls))]
            replicas = [place for node in well if node[b"role"] != b"master" and (place := _place(node, asked, tls))]
            if len(ends) % 2:
                raise ValueError
            for first, last in zip(ends[::2], ends[1::2]):
                if not 0 <= first <= last < 16384:
                    raise ValueError
                if primaries:
                    found.append(SlotRange(first, last, Shard(primaries[0], tuple(replicas))))
    except (TypeError, ValueError, IndexError, KeyError, AttributeError):
        raise ProtocolError("the answer to CLUSTER SHARDS has an unexpected form") from None
    return tuple(sorted(found))


def _fields(row: Any) -> dict[Any, Any]:
    """A map, which RESP2 has as a list."""
    return row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True))


def _place(node: dict[Any, Any], asked: str, tls: bool) -> Address | None:
    port = node.get(b"tls-port") if tls else node.get(b"port")
    return _address((node[b"endpoint"], port), asked)


def _address(server: Any, asked: str) -> Address | None:
    host, port = server[0], server[1]
    if not isinstance(port, int) or not 0 < port < 65536:
        return None
    name = host.decode("utf-8", "replace") if isinstance(host, bytes) else ""
    # "?" is what a node says of itself whose host name is not set.
    return (asked if name in ("", "?") else name, port)
