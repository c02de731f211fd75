# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a process tells of itself: full without a free descriptor, though to count them takes one; and whether well."""

from __future__ import annotations

import os
import resource

import pytest

from addon.admin.operations import STANDING, WELL, how_well
from addon.admin.process_metrics import own_process
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


@pytest.mark.parametrize(
    ("lag", "only_faults", "well"),
    [
        (0.0, False, True),
        (STANDING - 1, False, True),
        (STANDING, False, False),
        ("?", False, False),
        (0.0, True, False),
    ],
)
def test_a_process_that_is_held_up_or_answers_with_faults_alone_is_not_well(
    lag: object, only_faults: bool, well: bool
) -> None:
    assert (how_well(lag, only_faults) == WELL) is well
