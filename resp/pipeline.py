# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Several commands at once: `Pipeline` (one round trip) and `Transaction` (MULTI, EXEC, WATCH).

Both queue what is called on them and send it with `execute`. An error of one command stands in its place in the list
of results; it neither hides the others nor, unless asked for, is it raised. Surprising: requests are encoded when they
are queued, so a wrong argument is reported by the line that has it, and values may be changed afterwards (but for
large ones, which are not copied).
"""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from resp.commands import MayAnswer
from resp.connection import Connection
from resp.encoding import Argument, Request, encode_command, encode_request
from resp.errors import ExecAborted, InvalidArgument, ProtocolError, ServerError, WatchError
from resp.values import Value
from resp.words import READS, Convert, Key, changes_connection, converted, is_read

if TYPE_CHECKING:
    from typing import Self

    from resp.client import Client

    # The same methods, but returning the pipeline.
    from resp.queued import Queued as Commands
else:
    from resp.commands import Commands

#: Small requests are sent together in pieces of about this size.
_CHUNK: Final = 64 * 1024


def chunks(requests: list[Request]) -> Iterator[bytes | memoryview]:
    """The bytes of many requests in pieces worth a system call each; large values as they are."""
    small: list[bytes | memoryview] = []
    size = 0
    for request in requests:
        for piece in (request,) if isinstance(request, bytes) else request:
            if len(piece) >= _CHUNK:
                if small:
                    yield b"".join(small)
                    small, size = [], 0
                yield piece
                continue
            small.append(piece)
            size += len(piece)
            if size >= _CHUNK:
                yield b"".join(small)
                small, size = [], 0
    if small:
        yield b"".join(small)


class Pipeline(Commands):
    """Queue commands, then send all of them in one round trip; made by `Client.pipeline`.

        with client.pipeline() as pipe:
            pipe.set("a", 1).get("a").incr("text")
            pipe.execute()        # [True, b"1", ServerError(…)]

    Every command returns the pipeline. It belongs to one thread; after `execute` it is empty and can be used again.
    """

    _answers = False

    def __init__(self, client: Client) -> None:
        self._client = client
        self._requests: list[Request] = []
        self._converts: list[Convert | None] = []
        self._reads = True
        self._last = False  # one of the commands changes the connection

    def __len__(self) -> int:
        return len(self._requests)

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reset()

    def execute_command(self, *args: Argument) -> Any:
        """Queue any command."""
        self._last = changes_connection(args) or self._last
        return self._do(args)

    def _do(self, args: list[Argument] | tuple[Argument, ...], convert: Convert | None = None) -> Any:
        self._requests.append(encode_request(args))
        self._converts.append(convert)
        if self._reads and args[0] not in READS:
            self._reads = is_read(args[0])
        return self

    def reset(self) -> None:
        """Forget what is queued."""
        self._requests, self._converts, self._reads, self._last = [], [], True, False

    def execute(self, raise_on_error: bool = False) -> list[Any]:
        """Send what is queued and return the results in order, errors in place as `ServerError` instances.

        raise_on_error: raise the first of them instead, after all commands have run. The client's timeout is for all
        of them together. A lost connection raises ConnectionLost: any number of the commands may have been executed.
        """
        requests, converts, reads, last = self._requests, self._converts, self._reads, self._last
        self.reset()
        if not requests:
            return []
        now = monotonic()
        timeout = self._client._timeout
        deadline = None if timeout is None else now + timeout

        def attempt(connection: Connection) -> list[Value]:
            replies = connection.exchange(chunks(requests), len(requests), deadline)
            if last:
                connection.expires = 0.0
            return replies

        replies = self._client._perform(attempt, reads, now, timeout)
        return self._results(replies, converts, raise_on_error)

    def _results(self, replies: list[Value], converts: list[Convert | None], raise_on_error: bool) -> list[Any]:
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, ServerError):
                    raise reply
        client = self._client
        if client._decode:
            return [client._result(reply, convert) for reply, convert in zip(replies, converts)]
        return [reply if convert is None else converted(reply, convert) for reply, convert in zip(replies, converts)]


class Transaction(Pipeline, MayAnswer):
    """Commands that are executed together, with nobody else's in between, or not at all; made by `Client.transaction`.

        with client.transaction() as t:
            t.watch("stock")                      # optional: from here on commands run at once …
            left = int(t.get("stock"))
            t.multi()                             # … until here, then they are queued
            t.set("stock", left - 1)
            t.execute()                           # WatchError if "stock" was changed meanwhile

    It holds one connection from `watch` to `execute` (or the end of the `with` block).
    """

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._connection: Connection | None = None
        self._immediate = False

    def _do(self, args: list[Argument] | tuple[Argument, ...], convert: Convert | None = None) -> Any:
        if self._immediate:
            return self._at_once(args, convert)
        return super()._do(args, convert)

    def _at_once(self, args: list[Argument] | tuple[Argument, ...], convert: Convert | None = None) -> Any:
        replies = self._exchange([encode_request(args)])
        reply = replies[0]
        if isinstance(reply, ServerError):
            raise reply
        return self._client._result(reply, convert)

    def watch(self, *names: Key) -> bool:
        """Watch keys: if one changes before `execute`, nothing is executed. Commands run at once from now on."""
        if self._requests:
            raise InvalidArgument("watch comes before the commands that are queued")
        if not names:
            raise InvalidArgument("at least one key is needed")
        if self._connection is None:
            self._connection = self._client._keep()
        self._immediate = True
        self._at_once(("WATCH", *names))
        return True

    def unwatch(self) -> bool:
        """Watch nothing any more; commands are queued from now on."""
        if self._connection is not None:
            self._at_once(("UNWATCH",))
        self._immediate = False
        return True

    def multi(self) -> None:
        """End of the part that runs at once: commands are queued from now on."""
        self._immediate = False

    def reset(self) -> None:
        """Forget what is queued and watch nothing any more."""
        super().reset()
        self._immediate = False
        connection, self._connection = self._connection, None
        if connection is not None and not connection.closed:
            # Simpler than UNWATCH, and rare: a watch that did not lead to an EXEC.
            self._client._pool.discard(connection)

    def execute(self, raise_on_error: bool = False) -> list[Any]:
        """Execute what is queued, together; results in order, errors in place. Raises WatchError and ExecAborted."""
        requests, converts = self._requests, self._converts
        connection = self._connection
        if not requests:
            self.reset()
            return []
        batch: list[Request] = [_MULTI, *requests, _EXEC]
        try:
            if connection is None:
                now = monotonic()
                timeout = self._client._timeout
                deadline = None if timeout is None else now + timeout
                replies = self._client._perform(
                    lambda found: found.exchange(chunks(batch), len(batch), deadline), False, now, timeout
                )
            else:
                replies = self._exchange(batch)
                self._connection = None
                if self._last:
                    connection.expires = 0.0
                self._client._pool.release(connection)
        finally:
            self.reset()
        outcome = replies[-1]
        if isinstance(outcome, ServerError):
            refused = next((reply for reply in replies[:-1] if isinstance(reply, ServerError)), None)
            if isinstance(outcome, ExecAborted) and refused is not None:
                raise outcome from refused
            raise outcome
        if outcome is None:
            raise WatchError("a watched key was changed, nothing was executed")
        if not isinstance(outcome, list) or len(outcome) != len(requests):
            raise ProtocolError("EXEC did not answer with one result for each command")
        return self._results(outcome, converts, raise_on_error)

    def _exchange(self, batch: list[Request]) -> list[Value]:
        """Over the connection that is watching."""
        connection = self._connection
        assert connection is not None
        timeout = self._client._timeout
        deadline = None if timeout is None else monotonic() + timeout
        try:
            return connection.exchange(chunks(batch), len(batch), deadline)
        except BaseException as error:
            self._connection = None
            self._client._may_retry(error, connection, False)
            raise


_MULTI: Final = encode_command("MULTI")
_EXEC: Final = encode_command("EXEC")
