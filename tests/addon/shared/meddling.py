# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What others do to a server while a test uses it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from addon.shared.round_trips import RoundTrips
from tests.resp.fleets import Cluster
from tests.resp.servers import Server


@contextlib.contextmanager
def without_scripts(server: Server | Cluster) -> Iterator[None]:
    """Nobody may run a script there meanwhile."""
    server.ask("ACL", "SETUSER", "default", "-eval")
    try:
        yield
    finally:
        server.ask("ACL", "SETUSER", "default", "+eval")


@contextlib.contextmanager
def set_before_writing(each: RoundTrips, server: Server | Cluster, name: str, value: str) -> Iterator[None]:
    """Meanwhile, a key is set whenever a transaction of `each` has read and does not write yet."""
    transaction = each.transaction
    with pytest.MonkeyPatch.context() as patched:

        def meddled() -> Any:
            queue = transaction()
            multi = queue.multi
            patched.setattr(queue, "multi", lambda: (server.ask("SET", name, value), multi()))
            return queue

        patched.setattr(each, "transaction", meddled)
        yield
