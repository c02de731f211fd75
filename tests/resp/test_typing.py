# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What mypy and pyright say of programs that use `resp`: right ones pass, wrong ones do not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
RIGHT = Path(__file__).parent / "typed" / "right.py"

#: Each of these lines must be found wrong, by both.
WRONG = (
    'client.set("k", None)',
    "client.set()",
    'client.get("k").upper()',
    'client.gett("k")',
    'client.expire("k", "soon")',
    'client.lpop("l", count="2")',
    "resp.Client(decode_responses=True)",
    'resp.Client(timeout="5")',
    'number: str = client.incr("n")',
    'text: str = client["k"]',
    "client.pipeline().gett('k')",
    "client.pipeline().get()",
    "client.pipeline().set('k', None)",
    "client.pipeline().set('k', 'v', got=True)",
    "client.pipeline().zrange('z', 0, -1, withscores='yes')",
    "client.pipeline().scan_iter()",
    'client.zrange("z", 0, -1, withscore=True)',
    'client.hexpire("h", 10, "f", ny=True)',
    'scored: list[bytes] = client.zrange("z", 0, -1, withscores=True)',
    "client.zadd('z', ['m'])",
    "client.register_script(1)",
)


def wrong_program(folder: Path) -> Path:
    program = folder / "wrong.py"
    program.write_text("import resp\n\nclient = resp.Client()\n" + "\n".join(WRONG) + "\n", encoding="utf-8")
    return program


def mypy(program: Path, folder: Path) -> list[int]:
    """The lines with errors."""
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder / "cache"), "--config-file", ""]
    command += ["--no-error-summary", "--no-color-output", str(program)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return sorted({int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line})


def pyright(program: Path, folder: Path) -> list[int]:
    """The lines with errors."""
    settings: dict[str, Any] = {"typeCheckingMode": "standard", "pythonVersion": "3.11", "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps({**settings, "include": [str(program)]}), encoding="utf-8")
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "-p", str(folder / "pyrightconfig.json")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    errors = [found for found in report["generalDiagnostics"] if found["severity"] == "error"]
    return sorted({found["range"]["start"]["line"] + 1 for found in errors})


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_right_program_passes(checker: Any, tmp_path: Path) -> None:
    assert checker(RIGHT, tmp_path) == []


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_every_mistake_is_found(checker: Any, tmp_path: Path) -> None:
    found = checker(wrong_program(tmp_path), tmp_path)
    missed = [line for number, line in enumerate(WRONG, 4) if number not in found]
    assert missed == []
