# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a fork breaks and the child makes whole again: `AfterFork`.

A child has the parent's memory, but only the thread that forked: a lock may be held by nobody that could give it back,
listeners are gone, sockets belong to both. Surprising: nothing is done before the fork. A lock that is taken for it
would make the fork wait for whoever holds it.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class AfterFork(Generic[T]):
    """Objects, held weakly, on each of which `renew` is called in a child; those of sets made earlier come first."""

    def __init__(self, renew: Callable[[T], object]) -> None:
        self._renew = renew
        self._alive: weakref.WeakSet[T] = weakref.WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def add(self, one: T) -> None:
        """From now on for as long as it lives."""
        self._alive.add(one)

    def _forked(self) -> None:
        for one in list(self._alive):
            self._renew(one)
