# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a handler of the API gets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from addon.preview.answers import Request
from addon.preview.registry import Place, Viewer

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True", "on"})


@dataclass(frozen=True)
class ApiRequest:
    """What a handler gets: the request, who asks, and the route's parts, decoded."""

    request: Request
    viewer: Viewer
    place: Place
    tail: str = ""

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.request.parameter(name)
        return default if value is None else value in _TRUE

    def number(self, name: str) -> int:
        return number(self.request, name)


def number(request: Request, name: str) -> int:
    """An integer parameter; 0 when missing or no number, as Go's forms have it."""
    value = request.parameter(name) or ""
    return int(value) if re.fullmatch(r"-?[0-9]{1,18}", value) else 0
