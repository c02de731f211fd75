# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What tracking says to whoever listens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from resp.tracking import Status


class _Starts(Protocol):
    def start(self) -> object: ...

    def close(self) -> object: ...


Tracking = TypeVar("Tracking", bound=_Starts)


class Heard:
    """Keys, None for everything, and states, in the order in which they came. refused: keys that it fails on, once."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.refused: list[Any] = []

    def invalidated(self, key: bytes | None) -> None:
        self.events.append(key)
        if key in self.refused:
            self.refused.remove(key)
            raise ValueError

    def changed(self, status: Status) -> None:
        self.events.append(status.state)


@contextlib.contextmanager
def closing_all(make: Callable[..., Tracking]) -> Iterator[Callable[..., Tracking]]:
    """Calls `make` and starts what it returns, as often as wanted; all of them are closed at the end."""
    with contextlib.ExitStack() as stack:

        def start(*args: Any, **options: Any) -> Tracking:
            made = make(*args, **options)
            stack.callback(made.close)
            made.start()
            return made

        yield start
