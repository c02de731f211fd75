# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The two clocks by which everything is timed. Knows nothing; who is given others, as tests are, lives by those."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

Clock = Callable[[], float]


class Clocks(NamedTuple):
    """monotonic: seconds that only grow, for ages and deadlines. now: seconds since 1970, for dates that others see."""

    monotonic: Clock = time.monotonic
    now: Clock = time.time


SYSTEM: Final = Clocks()
"""Those of this machine."""
