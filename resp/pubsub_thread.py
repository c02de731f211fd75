# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A thread that reads a `PubSub` and calls its handlers; made by `PubSub.run_in_thread`.

Surprising: nothing that a handler raises ends it. It goes to the log, and the next message is read.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from resp.errors import AuthenticationError, ClientClosed, RespError
from resp.subscriber import Handler, Message

logger = logging.getLogger("resp.pubsub")


class PubSubThread(threading.Thread):
    """Reads a `PubSub` until `stop()`; see `PubSub.run_in_thread`.

    read: waits for the next message, until the function it is given says so. wake: ends a wait.
    """

    def __init__(
        self,
        read: Callable[[Callable[[], bool]], Message | None],
        wake: Callable[[], None],
        daemon: bool,
        handler: Handler | None,
        exception_handler: Callable[[RespError], object] | None,
    ) -> None:
        super().__init__(name="resp-pubsub", daemon=daemon)
        self._read, self._wake = read, wake
        self._handler = handler
        self._exception_handler = exception_handler
        self._stopping = False

    def stop(self) -> None:
        """End the thread after the message that it is at; `join()` it if you like. The PubSub stays open."""
        self._stopping = True
        self._wake()

    def run(self) -> None:
        while not self._stopping:
            try:
                message = self._read(lambda: self._stopping)
                if message is not None and self._handler is not None:
                    self._handler(message)
            except ClientClosed:
                return
            except RespError as error:
                self._report(error)
                if isinstance(error, AuthenticationError):
                    return
            except Exception:
                logger.exception("a message handler failed")

    def _report(self, error: RespError) -> None:
        if self._exception_handler is None:
            logger.warning("publish/subscribe: %s", error)
            return
        try:
            self._exception_handler(error)
        except Exception:
            logger.exception("the exception handler of a PubSub failed")
