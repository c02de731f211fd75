# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""mitmproxy's own addons that have nothing to do here, taken out once all is up; and the garbage collector spared.

mitmproxy walks all its addons eight times for each request that it handles itself: over half of the time that one
takes. What is removed is named here one by one, so that an addon that somebody else loaded, or that a new mitmproxy
brings, stays. It happens a while after the start: removed earlier, mitmproxy's check of the start never ends.
"""

import gc
import logging
from typing import Any

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 1.0
"""How long after the start; mitmproxy's own check takes no time, but comes after our listeners."""

# Their class names in lower case, as mitmproxy calls them, and the options that give them something to do.
_IDLE: dict[str, tuple[str, ...]] = {
    "browser": (),
    "blocklist": ("block_list",),
    "stripdnshttpsrecords": (),
    "anticache": ("anticache",),
    "anticomp": ("anticomp",),
    "commandhistory": (),
    "comment": (),
    "cut": (),
    "export": (),
    "onboarding": ("onboarding",),
    "proxyauth": ("proxyauth",),
    "dnsresolver": (),
    "serverplayback": ("server_replay",),
    "mapremote": ("map_remote",),
    "maplocal": ("map_local",),
    "modifybody": ("modify_body",),
    "modifyheaders": ("modify_headers",),
    "stickyauth": ("stickyauth",),
    "stickycookie": ("stickycookie",),
    "save": ("save_stream_file",),
    "savehar": ("hardump",),
    "upstreamauth": ("upstream_auth",),
    "dumper": ("flow_detail", "dumper_filter"),
    "keepserving": ("rfile", "client_replay"),
    "readfile": ("rfile",),
    "readfilestdin": ("rfile",),
}


def settle(addons: Any, options: Any, *, keep: bool) -> int:
    """Remove the addons that are idle, unless `keep`, and take all that lives now out of the garbage collector's sight.

    addons, options: the master's. Returns how many were removed. Called once, after the start: a full collection takes
    about 50 ms then, and would come back every few thousand requests if its objects stayed in sight.
    """
    removed = 0 if keep else sum(_removed(addons, options, name) for name in _IDLE)
    gc.collect()
    gc.freeze()
    if removed:
        logger.debug("%d unused addons of mitmproxy were removed", removed)
    return removed


def _removed(addons: Any, options: Any, name: str) -> bool:
    """Whether the addon was there, had nothing to do, and could be removed."""
    addon = addons.get(name)
    if addon is None or any(option in options and getattr(options, option) for option in _IDLE[name]):
        return False
    try:
        addons.remove(addon)
    except Exception as error:
        logger.warning("mitmproxy's addon %s stays: %s", name, error)
        return False
    return True
