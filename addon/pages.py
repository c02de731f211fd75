# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The script for `mitmdump -s`: makes the package importable from a plain clone and names the addon.

mitmproxy runs this file by its path, outside any package, and again whenever it changes; the addon itself lives in an
imported module, of which there is only ever one. mitmproxy also leaves this folder on the module path, where a wing
would stand before a module of the same name: it is replaced by the folder above.
"""

import os
import sys
from pathlib import Path

import mitmproxy.version

_HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != _HERE]
if str(_HERE.parent) not in sys.path:
    sys.path.insert(0, str(_HERE.parent))

from addon.mitm.versions import unsupported  # noqa: E402  # importable only from here on

if _fault := unsupported(mitmproxy.version.VERSION):
    # No exception ends mitmproxy: it catches each, SystemExit on some versions too, and goes on as an open proxy.
    print(f"pages: {_fault}", file=sys.stderr, flush=True)
    os._exit(1)

from addon.mitm.listener_guard import end_default_listener  # noqa: E402

end_default_listener()  # before anything that could fail

from addon.plugin import addons  # noqa: E402

__all__ = ["addons"]
