# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Tables of cases that say once what many of them share; they become rows for `pytest.mark.parametrize`."""

from collections.abc import Iterable, Mapping
from typing import Any


def by_outcome(cases: Mapping[Any, Iterable[Any]]) -> list[tuple[Any, ...]]:
    """Outcome → what has it: `{True: ["a", "b"]}` is `("a", True), ("b", True)`. A tuple is several arguments."""
    return [(*_arguments(given), *_arguments(outcome)) for outcome, many in cases.items() for given in many]


def by_first(cases: Mapping[Any, Mapping[Any, Any]]) -> list[tuple[Any, Any, Any]]:
    """First argument → second → third: `{"a": {"b": 1, "c": 2}}` is `("a", "b", 1), ("a", "c", 2)`."""
    return [(first, second, third) for first, others in cases.items() for second, third in others.items()]


def _arguments(given: Any) -> tuple[Any, ...]:
    return given if type(given) is tuple else (given,)  # a NamedTuple is one
