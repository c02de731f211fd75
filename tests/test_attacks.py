# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`ATTACKS.md`: each attack has a test, and the test is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROWS = re.findall(r"^\|.*`(tests/[\w/]+\.py)::(test_\w+)` \|$", (ROOT / "tests" / "ATTACKS.md").read_text(), re.M)


def test_every_attack_is_held_by_a_test_that_is_there() -> None:
    assert len(ROWS) > 30
    missing = [
        f"{file}::{name}"
        for file, name in ROWS
        if not re.search(rf"^(?:async )?def {name}\(", (ROOT / file).read_text(), re.M)
    ]
    assert missing == []


def test_every_row_names_a_test() -> None:
    text = (ROOT / "tests" / "ATTACKS.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| attack |")]
    assert len(rows) == len(ROWS)
