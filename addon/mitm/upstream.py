# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""mitmproxy's connections to Forgejo and to the relay: what they are told at their birth, and what is said of trouble.

Knows mitmproxy's hooks for servers. The surprise: "connected" comes before TLS is there, and mitmproxy 11 does not yet
know then whether there will be any, so who waits for a connection is let go on by one hook or by another.
"""

import logging
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from addon.mitm.connection_timeouts import Connections
from addon.mitm.relay import Relay
from addon.settings.schema import Settings

logger = logging.getLogger(__name__)

_COMPLAIN_EVERY = 10.0


class Upstream:
    """State: when the operator was last told that Forgejo cannot be reached."""

    def __init__(
        self,
        settings: Settings,
        connections: Connections,
        relay: Relay,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        forgejo = urlsplit(settings.forgejo_host)
        self._authority, self._plain = forgejo.netloc, forgejo.scheme == "http"
        self._connections = connections
        self._relay = relay
        self._clock = clock
        self._complained: float | None = None

    def connect(self, data: ServerConnectionHookData) -> None:
        """A connection is about to be opened."""
        # With the Host kept, mitmproxy would check Forgejo's certificate against the visitor's host name.
        if data.server.address is not None:
            data.server.sni = data.server.address[0]
        self._connections.opening(data.client, data.server)

    def connected(self, data: ServerConnectionHookData) -> None:
        """It is there, but for its TLS."""
        if self._plain or data.server.address == ("127.0.0.1", self._relay.port):
            self._connections.opened(data.client, data.server)

    def tls_established(self, data: TlsData) -> None:
        """It is there with its TLS."""
        self._connections.opened(data.context.client, data.conn)

    def connect_error(self, data: ServerConnectionHookData) -> None:
        """It is not to be had."""
        self._connections.opened(data.client, data.server)
        if data.client.connected:  # else it is the visitor who went away
            self._complain(str(data.server.error))

    def disconnected(self, data: ServerConnectionHookData) -> None:
        """It is over."""
        self._connections.opened(data.client, data.server)

    def tls_failed(self, data: TlsData) -> None:
        """It was there, and its TLS is not to be had."""
        self._connections.opened(data.context.client, data.conn)
        self._complain(f"TLS: {data.conn.error}")

    def _complain(self, reason: str) -> None:
        """Tell the operator why visitors get 502, now and then."""
        now = self._clock()
        if self._complained is None or now - self._complained > _COMPLAIN_EVERY:
            self._complained = now
            logger.warning("no connection to Forgejo at %s: %s", self._authority, reason)
