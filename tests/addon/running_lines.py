# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How much work something is, by the lines that Python executes: a clock would tell of the machine as well."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def lines(run: Callable[[], object]) -> int:
    """How many lines Python executes."""
    count = 0

    def each(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return each

    before = sys.gettrace()
    sys.settrace(each)
    try:
        run()
    except Exception:  # a refusal is an answer
        pass
    finally:
        sys.settrace(before)
    return count
