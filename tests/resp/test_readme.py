# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What `resp/README.md` shows is run as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

from tests.resp.servers import Server

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_example_of_the_readme_runs_and_prints_what_it_says(valkey: Server) -> None:
    readme = (ROOT / "resp" / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert found is not None
    program = found[1].replace("localhost:6379", f"{valkey.host}:{valkey.port}")
    promised = re.findall(r"#\s*(b'[^']*'|\[1, WrongType)", found[1])
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert len(promised) == 2
    for line, part in zip(done.stdout.splitlines(), promised):
        assert line.startswith(part)
