# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The order of the tests: files that take long come first, so that no process is left alone with one at the end.

Several processes share the tests file by file (`--dist loadfile`; see the command in README.md). Which files take long
is said by `--durations=0`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

LONGEST: Final = (
    "integration/test_processes.py",
    "resp/test_failures_bytes.py",
    "integration/test_slow_readers.py",
    "resp/test_cluster.py",
    "resp/test_sentinel.py",
    "integration/test_outages_under_load.py",
    "addon/lane/test_http1.py",
    "resp/test_failures_mixups.py",
    "integration/test_start.py",
    "addon/lane/test_faces_domains.py",
    "integration/test_custom_domains.py",
    "addon/library/test_memory_bounds.py",
    "integration/test_upstream_trouble.py",
    "addon/shared/test_domains.py",
    "addon/test_untrusted_text.py",
    "addon/lane/test_faces_tls.py",
    "integration/test_silence.py",
    "addon/shared/test_levels.py",
    "integration/test_leftovers.py",
    "integration/test_accessibility.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of `LONGEST` to the front, the others as they were."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
