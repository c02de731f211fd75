# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A round trip to Redis: commands in one go, under one deadline, and what their replies mean.

Everything that is made of it (`reads`, `writes`, `added_locks`, and what domains say) runs on a thread of `SharedCache`
and blocks. The surprise: a read that finds a lie (a wrong kind of key, JSON that cannot be ours, bytes of another id)
takes it away at once, so that the next one is a plain miss; what another version wrote is left alone.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import resp
from addon.shared.records import Broken, Outdated
from addon.shared.signatures import RecordKey

logger = logging.getLogger(__name__)

T = TypeVar("T")

IMMUTABLE_LIFE: Final = 7 * 86_400.0
"""Seconds that sites and files stay after their last use."""
EPOCH_LIFE: Final = 7 * 86_400.0


class NoAnswer(Exception):
    """The time for an answer is over."""


class RoundTrips:
    """Round trips to Redis under one deadline, each a pipeline; an error of one command stands in its place."""

    def __init__(
        self,
        client: resp.Client,
        deadline: float,
        *,
        life: float,
        largest_file: int,
        touched: set[str],
        record_key: RecordKey,
    ) -> None:
        """deadline: monotonic seconds. life, largest_file: as in SharedCache. touched: gets the names of what was used.

        record_key: signs what is written, and tells what of it counts.
        """
        self.record_key = record_key
        self.clustered = client.clustered
        """Whether keys are on different nodes, so that nothing changes two of them at once."""
        self.life = life
        self.largest_file = largest_file
        self.touched = touched
        self.made = 0
        self._client = client
        self._deadline = deadline

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self._deadline - time.monotonic()

    def run(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Raises RespError where there is no answer, or one that says that there is none now."""
        if time.monotonic() > self._deadline:
            raise NoAnswer
        self.made += 1
        with self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            replies = pipe.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, resp.RespError):
                lost = not isinstance(reply, resp.ServerError)  # of a cluster, one of the nodes
                if lost or isinstance(reply, resp.TemporaryError | resp.AuthenticationError):
                    raise reply
        return replies

    def ask(self, *command: Any) -> Any:
        """The reply to one command, or the error that it is; raises as `run` does."""
        return self.run([command])[0]

    def told(self, *command: Any) -> Any:
        """The reply to one command; raises as `run` does, and ServerError for what is an error."""
        return checked_replies([self.ask(*command)])[0]

    def everywhere(self, *command: Any) -> Any:
        """The reply to a command that concerns all nodes, where there are many (SCAN, DBSIZE). Raises RespError."""
        if time.monotonic() > self._deadline:
            raise NoAnswer
        self.made += 1
        return self._client.execute(*command)

    def transaction(self) -> resp.Transaction:
        """For a comparison where the server does not run scripts."""
        self.made += 2
        queue: resp.Transaction = self._client.transaction()
        return queue

    def drop(self, name: str) -> None:
        """Take away a value that cannot be ours."""
        logger.warning("Redis: %s has a value that cannot be read; the key is deleted", name)
        self.run([("UNLINK", name)])


def value_of(trips: RoundTrips, name: str, reply: Any, read: Callable[[bytes], T]) -> T | None:
    """What a value means; None where there is none, or it lied and was dropped. Raises Foreign."""
    if reply is None:
        return None
    if isinstance(reply, bytes):
        try:
            return read(reply)
        except Outdated:
            trips.run([("UNLINK", name)])
            return None
        except Broken:
            pass
    elif isinstance(reply, resp.ServerError) and not isinstance(reply, resp.WrongType):
        raise reply
    trips.drop(name)
    return None


def script(text: str) -> str:
    """A script in one line, as servers put it into their error messages."""
    return " ".join(text.split())


def no_scripts(reply: Any) -> bool:
    """Whether a server, or what it permits us, knows no EVAL."""
    return isinstance(reply, resp.NoPermission) or (type(reply) is resp.ServerError and reply.code == "ERR")


def checked_replies(replies: list[Any]) -> list[Any]:
    """The replies, unless one is an error; then that is raised."""
    for reply in replies:
        if isinstance(reply, resp.ServerError):
            raise reply
    return replies


def milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
