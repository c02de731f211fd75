# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What `resp/README.md` shows is run as it stands there, from the top, and gives what it says."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from tests.resp.servers import Server

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "resp" / "README.md").read_text(encoding="utf-8")


def with_checks(program: str) -> tuple[str, int]:
    """The program with a check behind every expression that has its result in a comment, and how many there are."""
    lines = program.splitlines()
    found = 0
    for node in reversed([node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Expr)]):
        end = node.end_lineno or node.lineno
        expected = lines[end - 1][node.end_col_offset or 0 :].partition("  # ")[2]
        # Results look like values; other comments are words.
        if not re.match(r"[\[({'\"0-9]|b'|True|False|None|Counter\(", expected):
            continue
        indent = " " * node.col_offset
        source = "\n".join(lines[node.lineno - 1 : end]).partition("  # ")[0].strip()
        lines[node.lineno - 1 : end] = [f"{indent}assert repr({source}) == {expected!r}, {source!r}"]
        found += 1
    return "\n".join(lines), found


def test_the_examples_run_from_the_top_and_give_what_they_say(valkey: Server) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    program, checks = with_checks("\n".join(blocks))
    assert len(blocks) >= 6
    assert checks >= 14
    program = program.replace("localhost:6379", f"{valkey.host}:{valkey.port}")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_an_example_that_gives_something_else_is_found() -> None:
    program, checks = with_checks("1 + 1  # 3\n")
    assert checks == 1
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode != 0
