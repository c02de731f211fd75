# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Threads that stand behind others do, and the others do not."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from addon.net.thread_priority import BEHIND, lower_priority


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, threads have no priority of their own")
def test_only_the_thread_that_asks_for_it_stands_behind() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with ThreadPoolExecutor(1, initializer=lower_priority) as behind, ThreadPoolExecutor(1) as plain:
        found = [each.submit(os.getpriority, os.PRIO_PROCESS, 0).result() for each in (behind, plain)]
    assert found == [min(before + BEHIND, 19), before]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
