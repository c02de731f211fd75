# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Questions to sentinels, and to the servers they name: who is the master, who are its healthy replicas.

Surprising: all sentinels are asked until more than half of them agree, and only then the server itself. One sentinel
that slept through a failover, or lies, is outvoted; one that is alone is believed only if the server says the same.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final

from resp.connection import Connection
from resp.endpoint import Endpoint
from resp.errors import ConnectionLost, RespError, ServerError
from resp.listening import Line

Address = tuple[str, int]

#: Seconds that one sentinel, or a server that one names, has to answer.
ASK_SECONDS: Final = 0.5


class Sentinels:
    """Questions to sentinels, in turn; the one that answered is the first to be asked next time.

    endpoints: where they are, with the credentials for them. master: the name of what they watch.
    """

    def __init__(self, endpoints: Sequence[Endpoint], master: str) -> None:
        self.endpoints = list(endpoints)
        self.master = master

    def masters(self) -> list[Address]:
        """Who they say is the master, what most say first.

        Asks until more than half of all agree. Raises ConnectionLost where none answers or none knows the name.
        """
        votes: Counter[Address] = Counter()
        epochs: dict[Address, int] = {}
        trouble: list[str] = []
        for endpoint in list(self.endpoints):
            try:
                found = self._asked(endpoint, "MASTER")
            except RespError as error:
                trouble.append(f"{endpoint}: {error}")
                continue
            if not votes:
                self._first(endpoint)
            address = address_in(found)
            if address is None:
                continue
            votes[address] += 1
            epochs[address] = max(epochs.get(address, 0), _number(found.get("config-epoch")))
            if votes[address] > len(self.endpoints) // 2:
                break
        if not votes:
            said = f" ({'; '.join(trouble)})" if trouble else ""
            raise ConnectionLost(f"no sentinel names a master {self.master!r}{said}", maybe_executed=False)
        return sorted(votes, key=lambda address: (votes[address], epochs[address]), reverse=True)

    def replicas(self) -> list[Address]:
        """The replicas that the first sentinel that answers holds for healthy; none if none answers."""
        for endpoint in list(self.endpoints):
            try:
                rows = self._asked(endpoint, "REPLICAS")
            except RespError:
                continue
            found = []
            for row in rows if isinstance(rows, list) else []:
                fields = fields_of(row)
                flags = set(fields.get("flags", "").split(","))
                address = address_in(fields)
                if (
                    address
                    and not flags & {"s_down", "o_down", "disconnected"}
                    and fields.get("master-link-status") == "ok"
                ):
                    found.append(address)
            return found
        return []

    def _asked(self, endpoint: Endpoint, what: str) -> Any:
        """The reply of one sentinel; a map for MASTER, {} if it does not know the name."""
        connection = Connection(endpoint)
        try:
            connection.connect(monotonic() + ASK_SECONDS)
            reply = connection.call("SENTINEL", what, self.master, deadline=monotonic() + ASK_SECONDS)
        except ServerError as error:
            if error.code == "ERR" and "No such master" in error.message:
                return {}
            raise
        finally:
            connection.close()
        return fields_of(reply) if what == "MASTER" else reply

    def _first(self, endpoint: Endpoint) -> None:
        with contextlib.suppress(ValueError):
            self.endpoints.remove(endpoint)
            self.endpoints.insert(0, endpoint)


def fields_of(row: Any) -> dict[str, str]:
    """A map, or over RESP2 its fields and values in turn, as texts."""
    pairs = row.items() if isinstance(row, dict) else zip(row[::2], row[1::2]) if isinstance(row, list) else ()
    return {as_text(name): as_text(value) for name, value in pairs}


def as_text(value: Any) -> str:
    """Bytes as text, whatever they are."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else 0


def address_in(fields: dict[str, str]) -> Address | None:
    port = _number(fields.get("port"))
    return (fields["ip"], port) if fields.get("ip") and 0 < port < 65536 else None


def is_master(endpoint: Endpoint) -> bool:
    """Ask the server itself. Raises RespError."""
    connection = Connection(endpoint)
    try:
        connection.connect(monotonic() + ASK_SECONDS)
        role = connection.server.get(b"role")
        if role is None:
            reply = connection.call("ROLE", deadline=monotonic() + ASK_SECONDS)
            role = reply[0] if isinstance(reply, list) and reply else None
        return role == b"master"
    finally:
        connection.close()


def hints(sentinels: Sentinels) -> Line | None:
    """A line to the first sentinel that takes a subscription to `+switch-master`."""
    for endpoint in list(sentinels.endpoints):
        try:
            line = Line(Connection(endpoint).connect(monotonic() + ASK_SECONDS))
            line.send(("SUBSCRIBE", "+switch-master"))
            return line
        except RespError:
            continue
    return None


def is_hint(item: Any, master: str) -> bool:
    """True if this message of a sentinel is about this master."""
    if not isinstance(item, list) or len(item) != 3 or item[0] != b"message":
        return False
    return as_text(item[2]).partition(" ")[0] == master
