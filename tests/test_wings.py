# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The order of the wings: the contracts in `pyproject.toml` hold."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def lint(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    command = [sys.executable, "-c", program, "--no-logo", "--no-cache", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_a_wing_imports_only_from_wings_below_it_and_in_no_circle() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_every_module_has_a_wing() -> None:
    outside = {path.name for path in (ROOT / "addon").glob("*.py")}
    assert outside <= {"__init__.py", "pages.py", "plugin.py", "wiring.py"}
