# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What tracking says to whoever listens."""

from typing import Any

from resp.tracking import Status


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
