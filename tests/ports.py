# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Ports for the servers of tests, and whether somebody listens there.

They are taken from below the range out of which a system deals ports to outgoing connections (from 32768 on with
Linux): a port of that range may be somebody's between the look at it here and the start of the server.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from typing import Final

FIRST: Final = 10_000
LAST: Final = 32_000

_chosen = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on; no port twice in a process, if there are others."""
    if len(_given) > (LAST - FIRST) // 2:
        _given.clear()
    for _ in range(1000):
        port = _chosen.randrange(FIRST, LAST)
        if port in _given:
            continue
        with socket.socket() as probe:
            # As servers do: what is left of closed connections is in nobody's way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise OSError(f"no port between {FIRST} and {LAST} is free on 127.0.0.1")


def is_open(port: int) -> bool:
    """Whether somebody listens on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def port_in_use() -> Iterator[int]:
    """A port of 127.0.0.1 on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield int(taken.getsockname()[1])
