# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`pages serve`, and mitmdump as this software starts it."""

import os
import sys
from pathlib import Path

from addon.settings.file_checks import problems
from addon.settings.schema import Settings, load


def serve_command(path: Path, processes: int | None) -> int:
    """Check the settings, and run as many processes as they say, or as are asked for."""
    settings = load(path)  # a wrong file is said here, before anything is started
    if unusable(path, settings, make=True):
        return 1
    from addon.process.supervisor import supervise

    return supervise(Path(os.path.abspath(path)), processes)


def unusable(path: Path, settings: Settings, *, make: bool = False) -> bool:
    """Whether files and folders that the settings name cannot be used; says which."""
    found = problems(settings, make=make)
    for problem in found:
        print(f"{path}: {problem}", file=sys.stderr)
    return bool(found)


def work(config: str) -> int:
    """What a process does that the supervisor started."""
    import faulthandler

    from addon.process.worker import joined

    faulthandler.enable()  # where it stands is written before the supervisor ends it
    worker = joined()
    assert worker is not None
    return run_mitmdump(Path(config), load(Path(config), text=worker.text).state_dir)


def run_mitmdump(config: Path, state_dir: Path) -> int:
    """Run mitmdump in this process, closed until the addon opens it."""
    from mitmproxy.tools.main import mitmdump

    script = Path(__file__).parents[1] / "pages.py"
    arguments = [
        "-n",
        "-s",
        str(script),
        "--set",
        f"confdir={state_dir}",
        "--set",
        f"pages_config={os.path.abspath(config)}",
    ]
    # Safe from the first moment, not only from the moment the script is loaded.
    for option in ("onboarding=false", "connection_strategy=lazy", "keep_host_header=true", "flow_detail=0"):
        arguments += ["--set", option]
    # Of what comes before the settings are read, in another form than ours, only warnings; then `logLevel` counts.
    arguments += ["--set", "termlog_verbosity=warn"]
    mitmdump(arguments)
    return 0
