# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How often and how fast something is tried again that certainly was not executed: `Retry`.

Pure arithmetic. What may be tried again is decided in `resp.node`, and no policy changes that: a command that may have
been executed is never sent a second time. Surprising: there is no list of exceptions to retry on, for that reason.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from resp.errors import InvalidArgument


@dataclass(frozen=True)
class Retry:
    """Further attempts and the pauses before them, in seconds; the deadline of the call ends them in any case.

    attempts: at most so many after the first. first: the pause before the first of them; factor: by which the next one
    is longer; most: the longest. jitter: 0.5 makes each pause between half of that and all of it, so that many clients
    do not come back at the same moment; 0 for none.
    """

    attempts: int = 3
    first: float = 0.02
    factor: float = 2.0
    most: float = 1.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 0:
            raise InvalidArgument("retries, or the attempts of a Retry, must be an int of at least 0")
        for name, least, most in (
            ("first", 0.0, 1e6),
            ("factor", 1.0, 100.0),
            ("most", 0.0, 1e6),
            ("jitter", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise InvalidArgument(f"{name} of a Retry must be a number from {least:g} to {most:g}")

    def pause(self, tries: int) -> float | None:
        """Seconds before the next attempt after `tries` further ones, None if there is none."""
        if tries >= self.attempts:
            return None
        # Capped before the power can overflow.
        grown = self.first * self.factor ** min(tries, 60)
        return min(grown, self.most) * random.uniform(1.0 - self.jitter, 1.0)
