# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Threads that stand behind others where cores are few: on Linux each thread has a priority of its own.

For work that lets go of the interpreter's lock, as hashing does, and for that alone: whoever held the lock and had no
core would stop everybody.
"""

import contextlib
import os
import sys
import threading

BEHIND = 2
"""Steps of niceness: a little more for the event loop; more would leave passwords unchecked on a busy machine."""


def lower_priority() -> None:
    """Let the present thread stand behind the others of its process; where that cannot be, nothing happens."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + BEHIND)
