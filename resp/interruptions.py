# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What signals do to a blocking system call, and when that matters.

Python calls recv() anew after a signal handler returned, and the kernel's time limit begins anew with it: a timer that
strikes every second would make a limit of five seconds one that never comes. Surprising: only the handler of SIGALRM
is looked at in every call; those of the other signals every 10 ms, since handlers hardly ever change and looking at
all of them costs as much as parsing a reply.
"""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Callable
from typing import Any, Final

MAIN: Final = threading.main_thread().ident
# Signals that come again and again: from timers, profilers, children.
_REPEATING: Final = [
    getattr(signal, name)
    for name in ("SIGALRM", "SIGVTALRM", "SIGPROF", "SIGCHLD", "SIGIO", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
]


# Without the enumeration that signal.getsignal makes of its answer, which takes ten times as long.
try:
    handler_of: Callable[[int], Any] = importlib.import_module("_signal").getsignal
except ImportError:  # not CPython's way of doing it
    handler_of = signal.getsignal
#: The signal of the timer that runs while a program waits, looked at in every call (0: there is none).
ALARM: Final = int(getattr(signal, "SIGALRM", 0))


class Signals:
    """`handled`: a handler in Python is set for a signal that may come again and again (`look` finds out).

    Then the main thread, which is the one that signals interrupt, waits in poll() before it receives; Python keeps
    count of the time of that.
    """

    def __init__(self) -> None:
        self.look_at = 0.0
        self.handled = False

    def look(self, now: float) -> None:
        self.look_at = now + 0.01  # from then on all of them are looked at again
        # getsignal() gives None for what C code handles, which is nothing Python would stop for.
        self.handled = any(callable(signal.getsignal(number)) for number in _REPEATING)


signals: Final = Signals()
