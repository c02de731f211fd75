# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What can be seen of a client from outside: `Observer`, whose methods are called when something happens.

Traces, metrics and logs are built on it (`resp/README.md` has one for OpenTelemetry). It costs nothing where there is
none: commands are timed by a source that is put around the client's own, and everything else happens seldom.
Surprising: an observer never sees an argument of a command nor a reply, only names, times and errors; what is in a
cache is nobody's business but the caller's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from resp.endpoint import Endpoint
from resp.errors import RespError

logger: Final = logging.getLogger("resp")


class Observer:
    """Inherit, and define what is of interest; every method may be called by any thread, and should return soon.

    An exception that comes out of one is logged and goes no further.
    """

    def command(self, name: str, seconds: float, error: RespError | None) -> None:
        """A command was answered, or failed; `seconds` include waiting, connecting and further attempts."""

    def batch(self, names: Sequence[str], seconds: float, error: RespError | None) -> None:
        """A pipeline or transaction ended; errors of single commands are not meant, they are results."""

    def connected(self, endpoint: Endpoint, seconds: float) -> None:
        """A connection was made, after so many seconds."""

    def failed(self, endpoint: Endpoint, error: BaseException) -> None:
        """A connection could not be made."""

    def waited(self, endpoint: Endpoint, seconds: float) -> None:
        """A call had to wait for a connection: all were in use."""

    def invalidated(self, key: bytes | None) -> None:
        """Tracking reported a key that somebody changed; None: any number of them, or all."""

    def moved(self, before: Endpoint, after: Endpoint) -> None:
        """The master is another server now; on a cluster: some slots have another owner."""


def tell(call: Callable[..., None], *args: object) -> None:
    """Call a method of an observer; what it raises is logged."""
    try:
        call(*args)
    except Exception:
        logger.exception("an observer failed")
