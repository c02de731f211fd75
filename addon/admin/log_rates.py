# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Each kind of log line has a rate, and what was left out is counted in the next: nobody can fill a disk with lines.

A kind is a place in the source: logger, file and line. It may be told forty times at once and once a second from then
on. The surprise: this is a filter of handlers, not of loggers, for a logger's filter sees nothing of what its children
say, and most lines that a visitor can cause are mitmproxy's. Each handler counts for itself.
"""

import logging
import time
from collections.abc import Callable, Iterable

from addon.net.rates import Rates

BURST = 40
RATE = 1.0
_MOST_KINDS = 2_000


class LogRates(logging.Filter):
    """Lets a line pass, or counts it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._rates = Rates(BURST, RATE, most=_MOST_KINDS, clock=clock)
        self._left_out: dict[tuple[str, str, int], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is told; if some like it were not, it says how many."""
        kind = (record.name, record.pathname, record.lineno)
        if not self._rates.allows(kind):
            if len(self._left_out) < _MOST_KINDS or kind in self._left_out:
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return False
        left_out = self._left_out.pop(kind, 0)
        if left_out:
            record.msg = f"{record.getMessage()} ({left_out} like this were left out before)"
            record.args = None
        return True


def install(handlers: Iterable[logging.Handler] | None = None) -> None:
    """Put it before all handlers that there are (of the root logger, unless others are named), once."""
    for handler in logging.getLogger().handlers if handlers is None else handlers:
        if not any(isinstance(each, LogRates) for each in handler.filters):
            handler.addFilter(LogRates())
