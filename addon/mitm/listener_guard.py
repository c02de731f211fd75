# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The first thing done: mitmproxy's default listener, an open forward proxy, is taken back before it accepts anything.

Knows mitmproxy and nothing of pages, so that it works where all else cannot even be imported. What it touches of
mitmproxy's inside may be missing; the addon refuses every connection that did not come in by its own listeners anyway.
"""

import asyncio
import gc
from typing import Any

from mitmproxy import ctx


def end_default_listener() -> None:
    """End the listener of mitmproxy's default mode; does nothing once mitmproxy runs, as on a reload of the script.

    The options were read before the script was loaded, so on Python 3.12 and newer a task that opens that listener is
    under way. It is cancelled; if it was far enough to have a socket (with --listen-host), nobody but the garbage
    collector knows the server object any more. At this point every asyncio server in the process is that one.
    """
    master: Any = getattr(ctx, "master", None)
    proxyserver: Any = master.addons.get("proxyserver") if master is not None else None
    if proxyserver is None or getattr(proxyserver, "is_running", False):
        return
    master.options.update(server=False)
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__qualname__", "") == "Proxyserver.setup_servers":
            task.cancel()
    instances = getattr(getattr(proxyserver, "servers", None), "_instances", None)
    if instances:
        for instance in instances.values():
            for server in getattr(instance, "_servers", ()):
                server.close()
        instances.clear()
    for thing in gc.get_objects():
        if isinstance(thing, asyncio.Server):
            thing.close()
