# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What tracking says of itself, to one server or to all of a cluster: live or not, since when, in which generation.

The rule for callers stands in `resp.tracking`. Surprising: a state is told before the "everything" that belongs to its
loss, so that nothing is trusted while a callback works.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resp.errors import RespError

if TYPE_CHECKING:
    from typing import Self

logger = logging.getLogger("resp.tracking")


class State(enum.Enum):
    """Whether an invalidation would arrive."""

    LOST = "lost"
    """Not connected, not yet connected, or not sure; being worked on."""
    LIVE = "live"
    """The server reports every change of a key with one of the prefixes."""
    UNSUPPORTED = "unsupported"
    """The server answers and refuses CLIENT TRACKING (before 6.0, or forbidden); asked again seldom."""
    CLOSED = "closed"
    """`close()` was called, or `start()` was not yet."""


@dataclass(frozen=True)
class Status:
    """A moment of `Tracking`: its state, since when (seconds of the epoch), and why it is not live."""

    state: State
    since: float
    error: RespError | None = None
    generation: int = 0

    @property
    def live(self) -> bool:
        return self.state is State.LIVE


class Reporter:
    """What one that tracks keys is asked, and how it tells; `lease` is for how many seconds at most a change may go
    unreported while it says that it is live: a server that vanished without a word is noticed that late.
    """

    lease: float
    prefixes: tuple[bytes, ...]

    def __init__(
        self, invalidated: Callable[[bytes | None], object], changed: Callable[[Status], object] | None
    ) -> None:
        self._invalidated = invalidated
        self._changed = changed
        self._status = Status(State.CLOSED, time.time())
        self._condition = threading.Condition()
        self.last_error: RespError | None = None
        """Why tracking was lost, or is unsupported, the last time; kept while it is live again."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._status.state.value}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start to listen; does not wait for the server. Nothing happens if it runs already."""
        raise NotImplementedError

    def close(self, timeout: float = 2.0) -> None:
        """Stop listening and wait for the threads, at most `timeout` seconds."""
        raise NotImplementedError

    # ---- what others ask ---------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """State, since when, the last error and the generation, all of one moment."""
        return self._status

    @property
    def live(self) -> bool:
        """True if every change is reported now."""
        return self._status.state is State.LIVE

    @property
    def lost(self) -> bool:
        """True if tracking should work, does not, and is being worked on."""
        return self._status.state is State.LOST

    @property
    def unsupported(self) -> bool:
        """True if the server answered that it does not do this."""
        return self._status.state is State.UNSUPPORTED

    @property
    def generation(self) -> int:
        """Grows before each "everything": what was read in another generation may be wrong."""
        return self._status.generation

    def wait(self, seconds: float, *states: State) -> bool:
        """Wait until the state is one of `states` (LIVE if none is named); False if it is not within `seconds`."""
        wanted = states or (State.LIVE,)
        with self._condition:
            return self._condition.wait_for(lambda: self._status.state in wanted, seconds)

    # ---- how it tells ------------------------------------------------------------------------------------------------

    def _set(self, state: State, error: RespError | None) -> bool:
        """Change the state; False if it is the same as before. An unchanged state keeps its `since`."""
        with self._condition:
            self.last_error = error or self.last_error
            before = self._status
            same = before.state is state
            since = before.since if same else time.time()
            self._status = Status(state, since, error, before.generation)
            self._condition.notify_all()
        return not same

    def _next_generation(self) -> None:
        with self._condition:
            status = self._status
            self._status = Status(status.state, status.since, status.error, status.generation + 1)

    def _guarded(self, function: Callable[[Any], object], argument: Any) -> bool:
        """Call a function of the caller; False if it raised. Nothing that it raises ends this thread."""
        try:
            function(argument)
        except BaseException:  # SystemExit too would end the thread and leave "live" behind
            logger.exception("a callback of tracking failed")
            return False
        return True
