# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The types of what callers give: keys, times, numbers of things. On the wire: `resp.command_arguments`."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from resp.encoding import Argument

Key = Argument
Keys = Argument | Iterable[Argument]
#: Keys of sorted sets, or `{key: weight}`.
Weighted = Keys | Mapping[Any, float]
#: How a reply becomes the result; None: as it is.
Convert = Callable[[Any], Any]
#: How many, or which one; None: not said.
Number = int | None
#: What names must be like, `*` for any text; None: anything.
Pattern = Argument | None
Seconds = int | datetime.timedelta
Moment = int | datetime.datetime
