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
    "addon/shared/test_many_servers.py",
    "resp/test_cluster.py",
    "addon/lane/test_http1.py",
    "integration/test_slow_readers.py",
    "integration/test_start.py",
    "addon/test_untrusted_text.py",
    "resp/test_failures_mixups.py",
    "addon/shared/test_domains.py",
    "resp/test_sentinel.py",
    "addon/commands/test_reap.py",
    "addon/library/test_memory_bounds.py",
    "addon/lane/test_faces_tls.py",
    "integration/test_upstream_trouble.py",
    "addon/lane/test_faces_domains.py",
    "integration/test_preview.py",
    "integration/test_custom_domains.py",
    "integration/test_outages_under_load.py",
    "integration/test_http2_clients.py",
    "integration/test_silence.py",
    "addon/shared/test_guess_counts.py",
    "resp/test_protocol.py",
    "integration/test_pass_through.py",
    "addon/serving/test_trouble.py",
    "addon/net/test_tls_transport.py",
    "addon/shared/test_floods.py",
    "addon/shared/test_levels.py",
    "integration/test_accessibility.py",
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
