# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A source of nodes that tells an observer of every command; put around the client's own where there is one.

Knows nothing of servers: it passes on what `resp.source.Source` says, and looks at the clock before and after.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any

from resp.command_kinds import command_name
from resp.encoding import Argument
from resp.endpoint import Endpoint
from resp.errors import RespError, ServerError
from resp.listening import Upstream
from resp.observer import Observer, tell
from resp.source import Args, Batch, Held, Source, Stats
from resp.tracking_status import Reporter
from resp.values import Value


class Observed:
    """A source whose commands are told to an observer; for what the methods mean see `resp.source.Source`."""

    def __init__(self, source: Source, observer: Observer) -> None:
        self._source = source
        self._observer = observer
        self.slot_of = source.slot_of

    @property
    def endpoint(self) -> Endpoint:
        return self._source.endpoint

    def call(self, args: Args, timeout: float | None, last: bool = False) -> Value:
        began = monotonic()
        error: RespError | None = None
        try:
            reply = self._source.call(args, timeout, last=last)
            if isinstance(reply, ServerError):
                error = reply
            return reply
        except RespError as raised:
            error = raised
            raise
        finally:
            tell(self._observer.command, command_name(args[0]) if args else "", monotonic() - began, error)
            del error  # no cycle of exception and frame

    def exchange(self, batch: Batch, timeout: float | None) -> list[Value]:
        with self._timed(batch.names):
            return self._source.exchange(batch, timeout)

    def hold(self, args: Args, timeout: float | None) -> tuple[Held, list[Value]]:
        with self._timed(args[:1]):
            return self._source.hold(args, timeout)

    @contextlib.contextmanager
    def _timed(self, names: Sequence[Argument]) -> Iterator[None]:
        began = monotonic()
        error: RespError | None = None
        try:
            yield
        except RespError as raised:
            error = raised
            raise
        finally:
            tell(self._observer.batch, [command_name(name) for name in names], monotonic() - began, error)
            del error

    def upstream(self) -> Upstream:
        return self._source.upstream()

    def tracking(self, invalidated: Callable[[bytes | None], object], **options: Any) -> Reporter:
        def told(key: bytes | None) -> object:
            tell(self._observer.invalidated, key)
            return invalidated(key)

        return self._source.tracking(told, **options)

    def stats(self) -> Stats:
        return self._source.stats()

    def close(self) -> None:
        self._source.close()
