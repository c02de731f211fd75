# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Whether this Python and this mitmproxy are ones that the pages server runs on.

Asked before anything else is imported, so it is written in what Python 3.7 reads, and imports of mitmproxy nothing
but its version. `pyproject.toml` says the same to pip; this is for a clone beside a mitmproxy that is already there.
"""

from __future__ import annotations

import re
import sys

OLDEST_PYTHON = (3, 11)
OLDEST = (11, 0, 2)
TOO_NEW = (12, 4)


def unsupported(mitmproxy_version: str, python: tuple[int, int] = sys.version_info[:2]) -> str:
    """What is wrong with these versions, in one sentence; empty if nothing is."""
    if python < OLDEST_PYTHON:
        return "the pages server needs Python {}.{} or newer, and this is {}.{}".format(*OLDEST_PYTHON, *python)
    found = tuple(int(part) for part in re.findall(r"[0-9]+", mitmproxy_version)[:3])
    if OLDEST <= found < TOO_NEW:
        return ""
    wanted = "mitmproxy {} to {}".format(*(".".join(str(part) for part in limit) for limit in (OLDEST, (12, 3))))
    return f"the pages server needs {wanted}, and this is {mitmproxy_version}: pip install 'mitmproxy>=11.0.2,<12.4'"
