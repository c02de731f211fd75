# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""mitmproxy's options, set for a public reverse proxy; its defaults suit whoever looks at traffic of his own.

Knows mitmproxy and the settings. The reason for each is beside it.
"""

import logging
import ssl
import sys
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

import certifi
import mitmproxy
from mitmproxy import ctx
from mitmproxy.addons.termlog import TermLogHandler

from addon.mitm import http1
from addon.process.log_format import WholeLines, formatter
from addon.process.worker import joined
from addon.settings.schema import Settings

PARSERS_SAFE = (12, 2)
"""The version of mitmproxy from which on its parsers have no known fault."""


_VERBOSITY = {"warning": "warn"}
"""Levels that mitmproxy has another word for."""


def version() -> tuple[int, ...]:
    return tuple(int(part) for part in mitmproxy.version.VERSION.split(".")[:2] if part.isdigit())


def upstream_authority(settings: Settings) -> str:
    parts = urlsplit(settings.forgejo_host)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def set_options(settings: Settings) -> None:
    """Set what a public reverse proxy needs; facts about each default are beside it."""
    _set_log(settings)
    wanted: dict[str, Any] = {
        "termlog_verbosity": _VERBOSITY.get(settings.log_level, settings.log_level),
        "confdir": str(settings.state_dir),  # mitmproxy writes a certificate authority there
        "connection_strategy": "lazy",  # eager connects to Forgejo before the first byte: no Forgejo, no cached page
        "keep_host_header": True,  # else the Host is overwritten before any hook sees it
        "block_global": False,  # else every public client address is refused
        "onboarding": False,  # else the Host mitm.it is answered before us
        "rawtcp": True,  # upgraded connections (WebSocket) are relayed as they are
        "websocket": False,  # else every message is parsed and kept for the connection's life
        "http2": False,  # the lane speaks it; mitmproxy's is for one user at a time
        "validate_inbound_headers": True,
        "anticache": False,
        "anticomp": False,
        "showhost": False,
        "stream_large_bodies": None,  # any request above it would go upstream before `request` fires
        "body_size_limit": None,
        "store_streamed_bodies": False,
        "tcp_timeout": http1.IDLE_SECONDS,
        "flow_detail": 0,  # a line for each request on stdout costs a quarter of the speed
        "upstream_cert": False,
        "ssl_insecure": False,
        "emudhra": False,  # of 12.3: both would sign with a key that everybody has
        "emudhra_old": False,
        **_trusted_authorities(settings),
    }
    known = {name: value for name, value in wanted.items() if name in ctx.options}
    ctx.options.update(**known)


def _set_log(settings: Settings) -> None:
    """Have one form of lines, ours and mitmproxy's; its own say when listeners open and stop, which we say better."""
    logging.getLogger("addon").setLevel(settings.log_level.upper())
    debug = settings.log_level == "debug"
    logging.getLogger("mitmproxy").setLevel(logging.INFO if debug else logging.WARNING)
    # A line for each connection, walked through all addons even where nobody prints it: a third of a new connection.
    logging.getLogger("mitmproxy.proxy.server").setLevel(logging.WARNING)
    worker = joined()
    lines = formatter(settings.log_format, "pages" if worker is None else f"worker {worker.number}")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, TermLogHandler):
            handler.setFormatter(lines)
            handler.file = cast(IO[str], WholeLines(sys.stderr))


def _trusted_authorities(settings: Settings) -> dict[str, str | None]:
    """Who may vouch for Forgejo: the system's authorities (mitmproxy alone would take certifi's) and forgejoCAFile."""
    system = ssl.get_default_verify_paths()
    file = system.cafile or (None if system.capath else certifi.where())
    if settings.forgejo_ca_file is not None:
        # mitmproxy takes one file, so both are put into one.
        bundle = settings.state_dir / "forgejo-authorities.pem"
        parts = [settings.forgejo_ca_file, *([Path(file)] if file else [])]
        bundle.write_bytes(b"\n".join(part.read_bytes() for part in parts))
        file = str(bundle)
    return {"ssl_verify_upstream_trusted_ca": file, "ssl_verify_upstream_trusted_confdir": system.capath}
