# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The bounds that the benchmarks report, in small: what a process grows by, and what a large site takes."""

from __future__ import annotations

from tests.benchmarks import large_site, memory


def test_a_process_grows_by_no_more_than_half_above_what_its_memory_may_take() -> None:
    capacity = 4 * memory.MIB
    found = memory.growth(capacity, times=3)
    assert found.charged > 2 * capacity
    assert found.used <= capacity
    assert min(found.requests.values()) > 1000
    assert found.ratio(capacity) <= memory.BOUND


def test_a_site_of_ten_thousand_files_is_small() -> None:
    """How soon it is there, and how long others wait meanwhile, the benchmark says."""
    found = large_site.measure()
    assert found.taken < large_site.BYTES_A_FILE
    assert abs(found.taken - found.counted) < 20, "memory counts what is taken"
