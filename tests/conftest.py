# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The order of the tests: files that take long come first, so that no process is left alone with one at the end.

Several processes share the tests file by file (`--dist loadfile`; see the command in README.md). Which files take long
is said by `--durations=0`. So many tests are many objects that live as long as the process: the garbage
collector looks at none of them.
"""

from __future__ import annotations

import gc
import socket
from pathlib import Path
from typing import Final

import pytest

LONGEST: Final = (
    "integration/test_processes.py",
    "resp/test_failures_bytes.py",
    "integration/test_start.py",
    "resp/test_cluster.py",
    "integration/test_slow_readers.py",
    "resp/test_failures_mixups.py",
    "addon/lane/test_faces_domains.py",
    "addon/test_untrusted_text.py",
    "addon/lane/test_faces_tls.py",
    "integration/test_upstream_trouble.py",
    "addon/lane/test_http1.py",
    "resp/test_sentinel.py",
    "integration/test_accessibility.py",
    "addon/net/test_tls_transport.py",
    "integration/test_outages_under_load.py",
    "addon/shared/test_many_servers.py",
    "addon/shared/test_levels.py",
    "addon/serving/test_trouble.py",
    "integration/test_silence.py",
    "addon/library/test_memory_bounds.py",
    "integration/test_preview.py",
    "addon/lane/test_http2.py",
    "integration/test_custom_domains.py",
    "addon/shared/test_domains.py",
    "addon/lane/test_faces.py",
    "addon/commands/test_reap.py",
    "integration/test_leftovers.py",
    "addon/shared/test_floods.py",
    "resp/test_failures_outage.py",
    "addon/domains/test_dns_proof.py",
    "addon/serving/test_server.py",
    "integration/test_bodies.py",
    "integration/test_login.py",
    "addon/domains/test_registry_rights.py",
    "integration/test_http2_clients.py",
    "addon/forgejo/test_limits.py",
)

gc.disable()  # until they are collected


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """pytest-rerunfailures says two small things over TCP for each test, of which the second waited 40 ms (Nagle)."""
    connection = getattr(getattr(config, "failures_db", None), "sock", None)
    if isinstance(connection, socket.socket):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of `LONGEST` to the front, the others as they were."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """What is collected stays."""
    gc.freeze()
    gc.enable()
