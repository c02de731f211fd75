# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""One request to a forge, with exactly the headers that are given, and everything that came back."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple

from addon.preview.forge import Forge

# A real forge was always asked with these; they are left out of the recordings.
ALWAYS_SENT = {"Host": "forge.localhost:3000", "Accept-Encoding": "identity"}


class Received(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self) -> Any:
        return json.loads(self.body)


def ask(forge: Forge, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Received:
    """Asks on a connection of its own; raises http.client.HTTPException or OSError when that breaks."""
    connection = http.client.HTTPConnection(forge.host, forge.port, timeout=30)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in (ALWAYS_SENT | (headers or {})).items():
            connection.putheader(name, value)
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        return Received(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def get(forge: Forge, target: str, headers: dict[str, str] | None = None) -> Received:
    """Asks with GET."""
    return ask(forge, "GET", target, headers)
