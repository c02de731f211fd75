# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What the operator is told about Forgejo: that it gives no answers, why, and that it does again.

One line when trouble begins, one a minute while it lasts, one when it is over, however many visitors meet it. Trouble
with a few repositories among many that are answered is said once a minute, too, and never as the end of the world.
"""

import logging
import time
from collections.abc import Callable

from addon.forgejo.errors import ForgejoError, Overloaded

logger = logging.getLogger(__name__)

REMINDER = 60.0
"""Seconds between two lines about trouble."""


class HealthLog:
    """Says how Forgejo is, once. State: when trouble was last said, and what has happened since."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.trouble: ForgejoError | None = None
        """Why the last answer did not come; None where it did."""
        self._said: float | None = None
        self._failures = 0

    def bad(self, what: str, error: ForgejoError) -> None:
        """Something was asked for and no answer came. what: the repository, `owner/name`."""
        if isinstance(error, Overloaded):
            return  # that is us
        self.trouble = error
        self._failures += 1
        now = self._clock()
        if self._said is not None and now - self._said < REMINDER:
            return
        more = f" ({self._failures} times since the last line)" if self._said is not None else ""
        self._said, self._failures = now, 0
        logger.warning("Forgejo gave no answer about %s: %s; visitors get %d%s", what, error, error.status, more)

    def good(self) -> None:
        """An answer came."""
        self.trouble = None
        if self._said is not None:
            self._said, self._failures = None, 0
            logger.warning("Forgejo answers again")
