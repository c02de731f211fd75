# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Several commands at once: `Pipeline` (one round trip) and `Transaction` (MULTI, EXEC, WATCH).

Both queue what is called on them and send it with `execute`, which raises the first error of a command after all of
them have run, or leaves errors in their places in the list of results. Surprising: requests are encoded when they are
queued, so a wrong argument is reported by the line that has it, and values may be changed afterwards (but for large
ones, which are not copied).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from resp.argument_types import Convert, Key
from resp.command_arguments import converted, result
from resp.command_kinds import changes_connection, command_name, split
from resp.commands import MayAnswer
from resp.encoding import Argument, encode_request
from resp.errors import ExecAborted, InvalidArgument, ProtocolError, ServerError, WatchError
from resp.source import Batch, Held, Source, errors_in
from resp.values import Value, text

if TYPE_CHECKING:
    from typing import Self

    # The same methods as type checkers are to see them: they return the pipeline.
    from resp.queued import Queued as Commands
else:
    from resp.commands import Commands


class Pipeline(Commands):
    """Queue commands, then send all of them in one round trip; made by `Client.pipeline(transaction=False)`.

        with client.pipeline(transaction=False) as pipe:
            pipe.set("a", 1).get("a").incr("text")
            pipe.execute(raise_on_error=False)        # [True, b"1", ServerError(…)]

    Every command returns the pipeline. It belongs to one thread; after `execute` it is empty and can be used again.
    On a cluster the commands go to the nodes that have their keys, those of one slot in their order.
    """

    _atomic = False

    def __init__(self, source: Source, *, timeout: float | None, decode: bool = False) -> None:
        self._source = source
        self._timeout = timeout
        self._decode = decode
        self._forget()

    def _forget(self) -> None:
        self._batch = Batch(self._source.slot_of, atomic=self._atomic)
        self._converts: list[Convert | None] = []

    def __len__(self) -> int:
        return len(self._batch)

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.reset()

    def execute_command(self, *args: Argument) -> Any:
        """Queue any command."""
        words = split(args)
        self._batch.last = changes_connection(words) or self._batch.last
        return self._do(words)

    def _do(self, args: Sequence[Argument], convert: Convert | None = None) -> Any:
        self._batch.add(args)
        self._converts.append(convert)
        return self

    @property
    def _answers(self) -> bool:
        return False

    def reset(self) -> None:
        """Forget what is queued."""
        self._forget()

    def discard(self) -> None:
        """Forget what is queued."""
        self.reset()

    def close(self) -> None:
        """Forget what is queued; the same as leaving the `with` block."""
        self.reset()

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send what is queued and return the results in order.

        raise_on_error: raise the first error of a command, after all of them have run; otherwise errors stand in
        their places, as `ServerError` instances that know their command and place. The client's timeout is for all
        of them together. A lost connection raises ConnectionLost: any number of the commands may have been executed.
        (On a cluster it may have been one of several connections: the error then stands where its commands are.)
        """
        batch, converts = self._batch, self._converts
        self._forget()
        if not batch.requests:
            return []
        return self._results(self._source.exchange(batch, self._timeout), batch, converts, raise_on_error)

    def _results(
        self, replies: list[Value], batch: Batch, converts: list[Convert | None], raise_on_error: bool
    ) -> list[Any]:
        for place, error in errors_in(replies):
            if isinstance(error, ServerError):
                error.place, error.command = place, command_name(batch.names[place])
            if raise_on_error:
                try:
                    raise error
                finally:
                    del error, replies  # no cycle of exception and frame
        if self._decode:
            return [converted(text(reply), convert) for reply, convert in zip(replies, converts)]
        return [reply if convert is None else converted(reply, convert) for reply, convert in zip(replies, converts)]


class Transaction(Pipeline, MayAnswer):
    """Commands that are executed together, with nobody else's in between, or not at all.

        with client.transaction() as t:               # or client.pipeline()
            t.watch("stock")                          # optional: from here on commands run at once …
            left = int(t.get("stock"))
            t.multi()                                 # … until here, then they are queued
            t.set("stock", left - 1)
            t.execute()                               # WatchError if "stock" was changed meanwhile

    It holds one connection from `watch` to `execute` (or the end of the `with` block). On a cluster all its keys
    belong to one slot; CrossSlot is raised before anything is sent.
    """

    _atomic = True

    def __init__(self, source: Source, *, timeout: float | None, decode: bool = False) -> None:
        self._held: Held | None = None
        self._immediate = self._watched = False
        super().__init__(source, timeout=timeout, decode=decode)

    @property
    def _answers(self) -> bool:
        return self._immediate

    def _do(self, args: Sequence[Argument], convert: Convert | None = None) -> Any:
        if self._held is not None:
            self._held.check(args)
        if self._immediate:
            return self._at_once(args, convert)
        return super()._do(args, convert)

    def _at_once(self, args: Sequence[Argument], convert: Convert | None = None) -> Any:
        if self._held is None or not self._held.open:
            # What was watched is gone, and with it what the commands so far were worth.
            raise WatchError("the connection that was watching is lost: start over with watch()")
        return self._said(self._held.exchange([encode_request(args)], self._timeout), args, convert)

    def _said(self, replies: list[Value], args: Sequence[Argument], convert: Convert | None = None) -> Any:
        return result(replies.pop(), args, self._decode, convert)

    def watch(self, *names: Key) -> bool:
        """Watch keys: if one changes before `execute`, nothing is executed. Commands run at once from now on."""
        if self._batch.requests:
            raise InvalidArgument("watch comes before the commands that are queued")
        if not names:
            raise InvalidArgument("at least one key is needed")
        words = ("WATCH", *names)
        if self._held is None or not self._held.open:
            self._held, replies = self._source.hold(words, self._timeout)
            self._immediate = True
            self._said(replies, words)
        else:
            self._immediate = True
            self._do(words)
        self._watched = True
        return True

    @property
    def watching(self) -> bool:
        """True from `watch` to the end: EXEC, `unwatch`, `reset`, or the loss of the connection that watches."""
        return self._watched and self._held is not None and self._held.open

    def unwatch(self) -> bool:
        """Watch nothing any more; commands are queued from now on."""
        if self._held is not None and self._held.open:
            self._at_once(("UNWATCH",))
        self._immediate = self._watched = False
        return True

    def multi(self) -> None:
        """End of the part that runs at once: commands are queued from now on."""
        self._immediate = False

    def reset(self) -> None:
        """Forget what is queued and watch nothing any more."""
        self._forget()
        self._immediate = self._watched = False
        held, self._held = self._held, None
        if held is not None:
            # Simpler than UNWATCH, and rare: a watch that did not lead to an EXEC.
            held.discard()

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Execute what is queued, together; results in order. Raises WatchError and ExecAborted.

        After `watch` EXEC is sent even if nothing is queued, because its answer is whether a watched key changed.
        """
        batch, converts, held = self._batch, self._converts, self._held
        try:
            if held is None and not batch.requests:
                return []
            if held is not None and not held.open:
                raise WatchError("the connection that was watching is lost: start over with watch()")
            if held is None:
                replies = self._source.exchange(batch, self._timeout)
            else:
                replies = held.exchange(batch.wire(), self._timeout)
                held.release(batch.last)
        finally:
            self.reset()
        try:
            return self._results(self._executed(replies, batch), batch, converts, raise_on_error)
        finally:
            del replies  # no cycle of exception and frame

    def _executed(self, replies: list[Value], batch: Batch) -> list[Value]:
        """The reply to EXEC; raises what else came of it."""
        outcome = replies[-1]
        if isinstance(outcome, ServerError):
            cause = None
            if isinstance(outcome, ExecAborted):
                for place, cause in errors_in(replies[:-1]):
                    if isinstance(cause, ServerError) and place:
                        cause.place, cause.command = place - 1, command_name(batch.names[place - 1])
                    break
            try:
                raise outcome from cause
            finally:
                del outcome, cause, replies  # no cycle of exception and frame
        if outcome is None:
            raise WatchError("a watched key was changed, nothing was executed")
        if not isinstance(outcome, list) or len(outcome) != len(batch):
            raise ProtocolError("EXEC did not answer with one result for each command")
        return outcome


def pauses() -> Iterator[float]:
    """Seconds to wait before a transaction is begun anew, which somebody else was faster than."""
    pause = 0.0005
    while True:
        yield pause
        pause = min(2 * pause, 0.05)
