# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`Lock`: at most one holder among all programs that use the same server.

The key of the lock holds a random token of its holder; it is taken by SET NX and given back by a script that compares
the token, so that nobody frees what is another's by now. What it cannot do, and no lock of this kind can: **it is a
lease**. With a `timeout` the server ends it whether or not the holder is finished, and a holder that was stopped for
longer (a long pause of the process, a debugger) does not notice before `release` raises LockNotOwned. Without one it
stays if the holder dies. And it lives on one server: a failover before the key has reached the replica gives it to two.
So it saves work that would otherwise be done twice; where doing it twice does harm, what is written must be guarded
itself (a number that only rises, compared by whoever stores it).
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from dataclasses import InitVar, dataclass
from types import TracebackType
from typing import Any, Final

from resp.argument_types import Key
from resp.commands.scripting import Script
from resp.commands.strings import Strings
from resp.errors import InvalidArgument, LockError, LockNotOwned

logger: Final = logging.getLogger("resp.locks")

#: Delete the key if it holds our token.
_RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
#: Let it live longer by ARGV[2] ms (ARGV[3] "1": for that from now on), if it holds our token and has an end.
_EXTEND: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local left = redis.call('PTTL', KEYS[1])
if ARGV[3] == '1' then left = 0 elseif left < 0 then return 0 end
return redis.call('PEXPIRE', KEYS[1], left + ARGV[2])
"""


class _Token(threading.local):
    """The token of the current thread."""

    value: bytes | None = None


class _Shared:
    """One token for all threads."""

    value: bytes | None = None


@dataclass(eq=False, repr=False)
class Lock:
    """A lock, made by `Client.lock`; times in seconds.

        with client.lock("report", timeout=30, blocking_timeout=5):
            ...                              # LockError if it was not to be had in 5 s

    timeout: the server ends the lock after this, None for never. sleep: between two attempts, about. blocking: wait
    for it; blocking_timeout: at most so long, None for ever. thread_local: a thread does not see what another one
    holds, so that it cannot give it back; False where one thread takes and another gives back. raise_on_release_error:
    False to have the end of a `with` block only log that the lock had ended before.
    """

    client: InitVar[Strings[Any]]
    name: Key
    timeout: float | None = None
    sleep: float = 0.1
    blocking: bool = True
    blocking_timeout: float | None = None
    thread_local: InitVar[bool] = True
    raise_on_release_error: bool = True

    def __post_init__(self, client: Strings[Any], thread_local: bool) -> None:
        for what, value in (("timeout", self.timeout), ("blocking_timeout", self.blocking_timeout)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
                raise InvalidArgument(f"{what} must be a number of seconds, or None")
        if self.timeout is not None and self.timeout < 0.001:
            raise InvalidArgument("timeout must be at least a millisecond")
        if isinstance(self.sleep, bool) or not isinstance(self.sleep, int | float) or self.sleep <= 0:
            raise InvalidArgument("sleep must be a positive number of seconds")
        self._client = client
        self._held: _Token | _Shared = _Token() if thread_local else _Shared()
        self._release = Script(client, _RELEASE)
        self._extend = Script(client, _EXTEND)

    def __repr__(self) -> str:
        return f"<Lock {self.name!r}, {'held' if self._held.value is not None else 'not held'} here>"

    def acquire(
        self,
        sleep: float | None = None,
        blocking: bool | None = None,
        blocking_timeout: float | None = None,
        token: str | bytes | None = None,
    ) -> bool:
        """Take the lock; False if it was not to be had in time. token: what to hold it by, instead of a random one.

        An exception that says `maybe_executed` leaves open whether the lock was taken; it then ends by its timeout.
        """
        if self._held.value is not None and self.owned():
            raise LockError(f"{self._named} is already held here")
        pause = self.sleep if sleep is None else sleep
        wait = self.blocking if blocking is None else blocking
        most = self.blocking_timeout if blocking_timeout is None else blocking_timeout
        mine = secrets.token_hex(16).encode() if token is None else token.encode() if isinstance(token, str) else token
        end = None if most is None else time.monotonic() + most
        while True:
            if self._client.set(
                self.name, mine, nx=True, px=None if self.timeout is None else int(self.timeout * 1000)
            ):
                self._held.value = mine
                return True
            # Not all at the same moment: who waits for one lock often began together.
            nap = pause * random.uniform(0.5, 1.0)
            if not wait or (end is not None and time.monotonic() + nap > end):
                return False
            time.sleep(nap)

    @property
    def _named(self) -> str:
        return f"the lock {self.name!r}"

    def locked(self) -> bool:
        """True if anybody holds it."""
        return self._client.get(self.name) is not None

    def owned(self) -> bool:
        """True if it is held here, as far as the server knows at this moment."""
        value = self._client.get(self.name)
        mine = self._held.value
        return mine is not None and mine == (value.encode() if isinstance(value, str) else value)

    def release(self) -> None:
        """Give it back. Raises LockNotOwned if it has ended meanwhile, or is another's; LockError if not held here."""
        token, self._held.value = self._held.value, None
        if token is None:
            raise LockError(f"{self._named} is not held here")
        if not self._release(keys=[self.name], args=[token]):
            raise LockNotOwned(f"{self._named} had ended before it was given back; somebody else may have held it")

    def extend(self, additional_time: float, replace_ttl: bool = False) -> bool:
        """Hold it so many seconds longer, or, with replace_ttl, for so many from now on; True. Raises as `release`."""
        return self._prolong(additional_time, replace_ttl)

    def reacquire(self) -> bool:
        """Hold it for its whole `timeout` from now on; True. Raises as `release`."""
        if self.timeout is None:
            raise LockError(f"{self._named} has no timeout that could begin anew")
        return self._prolong(self.timeout, True)

    def _prolong(self, span: float, anew: bool) -> bool:
        token = self._held.value
        if token is None:
            raise LockError(f"{self._named} is not held here")
        if self.timeout is None and not anew:
            raise LockError(f"{self._named} has no timeout that could be extended")
        if not self._extend(keys=[self.name], args=[token, int(span * 1000), int(anew)]):
            raise LockNotOwned(f"{self._named} has ended; somebody else may hold it")
        return True

    def __enter__(self) -> Lock:
        if not self.acquire():
            raise LockError(f"{self._named} was not to be had in time")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.release()
        except LockError as lost:
            if self.raise_on_release_error:
                raise
            logger.warning("%s", lost)
