# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A process without a free descriptor is counted as full, though to count them takes one."""

from __future__ import annotations

import os
import resource

from addon.admin.process_numbers import own_process
from addon.process.loop_watch import LoopWatch


def test_a_process_at_its_limit_is_counted_as_full() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        while len(held) < 100:
            try:
                held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        told = own_process(None, LoopWatch())
        assert (told["open_files"], told["open_files_limit"]) == (64, 64)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)
