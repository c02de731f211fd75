# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A running server asked by its `adminListen`, with the token of its settings file. Knows HTTP and no subcommand."""

import http.client
import json
from typing import Any
from urllib.parse import urlencode

from addon.settings.schema import Settings

TIMEOUT = 30.0


class NoServer(Exception):
    """There is nobody to ask, or no answer that can be used; says why, and what to do."""


def asked(settings: Settings, path: str, *, post: dict[str, str] | None = None) -> Any:
    """What `adminListen` answers, as JSON says it. post: a form, to be sent by POST. Raises NoServer."""
    if not settings.admin_listen:
        raise NoServer("the settings have no adminListen, by which a running server is asked; see config/pages.yaml")
    address = settings.admin_listen[0]
    headers = {"Accept": "application/json"}
    if settings.admin_token is not None:
        headers["Authorization"] = f"Bearer {settings.admin_token.reveal()}"
    body = None
    if post is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(post)
    client = http.client.HTTPConnection(_reached(address.host), address.port, timeout=TIMEOUT)
    try:
        client.request("GET" if post is None else "POST", path, body, headers)
        response = client.getresponse()
        told = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoServer(f"no answer at adminListen, {address}: {error}; does the server run?") from None
    finally:
        client.close()
    if response.status != 200:
        raise NoServer(str(told.get("error", response.status)))
    return told


def _reached(host: str) -> str:
    """By which address a listener on this machine is reached."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
