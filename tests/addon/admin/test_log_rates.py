# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""However often something happens, its line in the log has a rate, and tells how many were left out."""

import io
import logging

from addon.admin.log_rates import BURST, LogRates, install


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_kind_of_line_has_a_rate_and_counts_what_it_left_out() -> None:
    written, time = io.StringIO(), Time()
    handler = logging.StreamHandler(written)
    handler.addFilter(LogRates(time))
    logger = logging.getLogger("tests.log_rates")
    logger.propagate = False
    logger.handlers = [handler]
    for number in range(10_000):
        logger.error("no answer for %s", f"x{number}")
    logger.error("another kind")
    lines = written.getvalue().splitlines()
    assert len(lines) == BURST + 1
    assert lines[-1] == "another kind"
    for second in range(10):
        time.now += 1
        for number in range(100):
            logger.error("no answer for %s", f"y{second}.{number}")
    lines = written.getvalue().splitlines()
    # Another place in the source is another kind, with a burst of its own.
    assert BURST + 1 + BURST + 8 <= len(lines) <= BURST + 1 + BURST + 10
    assert "were left out before" in lines[-1]
    assert sum("left out before" in line for line in lines) >= 8


def test_handlers_get_it_once() -> None:
    handler = logging.StreamHandler(io.StringIO())
    install([handler])
    install([handler])
    assert len(handler.filters) == 1
