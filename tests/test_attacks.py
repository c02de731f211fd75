# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`ATTACKS.md` and `REPORTS.md`: each row has a test, and the test is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROW = re.compile(r"^\|.*`(tests/[\w/]+\.py)::(test_\w+)` \|$", re.M)
TABLES = pytest.mark.parametrize("table", ["ATTACKS.md", "REPORTS.md"])


def text_of(table: str) -> str:
    return (ROOT / "tests" / table).read_text()


@TABLES
def test_every_row_is_held_by_a_test_that_is_there(table: str) -> None:
    found = ROW.findall(text_of(table))
    assert len(found) > 30
    missing = [
        f"{file}::{name}"
        for file, name in found
        if not re.search(rf"^(?:async )?def {name}\(", (ROOT / file).read_text(), re.M)
    ]
    assert missing == []


@TABLES
def test_every_row_names_a_test(table: str) -> None:
    text = text_of(table)
    rows = [line for line in text.splitlines() if line.startswith("| ") and "| test |" not in line]
    assert len(rows) == len(ROW.findall(text))
