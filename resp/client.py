# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`Client`: commands over a pool of connections, for any number of threads.

A call takes an idle connection, sends, receives and gives it back; everything else (a new connection, waiting, the
breaker, a second attempt) is the business of `_perform`, which the fast way leaves a call to as soon as anything is
unusual. Surprising: nothing is retried by default but a read over an idle connection that turned out to be dead, and
a command that certainly was not sent; a write whose reply is lost may have been executed, and that is for the caller
to decide.
"""

from __future__ import annotations

import random
import ssl as _ssl
import time as _time
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from resp.breaker import Breaker
from resp.commands import Composed
from resp.connection import Connection
from resp.encoding import LARGE_ARGUMENT, Argument, Request, encode_argument, encode_request
from resp.endpoint import Endpoint, parse_url, tls_context
from resp.errors import (
    AuthenticationError,
    ClientClosed,
    ConnectionLost,
    Desynchronised,
    InvalidArgument,
    PoolExhausted,
    ReadOnly,
    RespError,
    ServerError,
    TemporaryError,
    Timeout,
    WatchError,
)
from resp.pipeline import Pipeline, Transaction
from resp.pool import Pool
from resp.values import Value
from resp.words import READS, Convert, Key, Seconds, changes_connection, converted, is_read, seconds

if TYPE_CHECKING:
    from resp.pubsub import PubSub

_T = TypeVar("_T")
#: Seconds before the second of several attempts; doubled by each further one, with jitter.
_PAUSE: Final = 0.02


class Stats(NamedTuple):
    """A client in numbers: those of its pool (see `PoolStats`), its breaker, and what had to be tried again."""

    idle: int
    in_use: int
    waiting: int
    pool_size: int
    max_connections: int
    created: int
    failed: int
    replaced: int
    waited: int
    exhausted: int
    retried: int
    breaker: str  # "closed", "open", "half-open" or "off"
    breaker_opened: int


class _Off(Breaker):
    """No breaker."""

    def before(self) -> bool:
        return False

    def failure(self) -> None:
        pass


def text(value: Value) -> Value:
    """A reply with `str` in the place of `bytes`, at any depth; bytes that are not UTF-8 become surrogate escapes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, list):
        return [text(item) for item in value]
    if isinstance(value, dict):
        return {text(key): text(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(text(item) for item in value)
    return value


class Client(Composed):
    """A client for one Redis or Valkey server, to be shared by all threads of a program.

    host, port, or unix_socket_path: where the server listens. db: number of the database. username, password: for
    the server's access control; a password alone belongs to the user `default`. ssl: True for TLS, or an
    `ssl.SSLContext`; with True, ssl_ca_certs, ssl_ca_data, ssl_certfile, ssl_keyfile, ssl_password, ssl_cert_reqs
    ("required", "optional", "none") and ssl_check_hostname say what to trust and what to show.

    timeout: seconds one call may take in all (waiting for a connection, connecting, sending, every byte of the
    reply); None for no limit. connect_timeout: seconds of it for connecting, TLS and handshake included. pool_size:
    idle connections kept. max_connections: connections at the same time. wait_timeout: seconds a call waits for a
    free one. max_idle_time, max_life_time: seconds after which a connection is replaced, None for never.

    protocol: 3 for RESP3 where the server knows it, 2 for RESP2. decode: True to get `str` instead of `bytes`.
    client_name: shown by CLIENT LIST. retries: further attempts, with a growing pause and before the deadline, where
    the server certainly did not execute the command (no connection, LOADING and its like). breaker: a
    `resp.Breaker`, True for one with its defaults, False for none. max_bulk: longest value accepted, in bytes.

    A client connects when it is first used. Calls raise `RespError` and nothing else.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 6379,
        *,
        db: int = 0,
        username: str | None = None,
        password: str | None = None,
        unix_socket_path: str | None = None,
        ssl: bool | _ssl.SSLContext = False,
        ssl_ca_certs: str | None = None,
        ssl_ca_data: str | bytes | None = None,
        ssl_certfile: str | None = None,
        ssl_keyfile: str | None = None,
        ssl_password: str | None = None,
        ssl_cert_reqs: str | _ssl.VerifyMode = "required",
        ssl_check_hostname: bool = True,
        timeout: float | None = 5.0,
        connect_timeout: float = 2.0,
        pool_size: int = 10,
        max_connections: int = 20,
        wait_timeout: float = 5.0,
        max_idle_time: float | None = 240.0,
        max_life_time: float | None = 3600.0,
        protocol: int = 3,
        decode: bool = False,
        client_name: str | None = None,
        retries: int = 0,
        breaker: Breaker | bool = True,
        max_bulk: int = 512 * 1024 * 1024,
        max_elements: int = 1 << 25,
    ) -> None:
        tls = None
        if isinstance(ssl, _ssl.SSLContext):
            tls = ssl
        elif ssl:
            tls = tls_context(
                ca_certs=ssl_ca_certs,
                ca_data=ssl_ca_data,
                certfile=ssl_certfile,
                keyfile=ssl_keyfile,
                password=ssl_password,
                cert_reqs=ssl_cert_reqs,
                check_hostname=ssl_check_hostname,
            )
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise InvalidArgument("retries must be an int of at least 0")
        self.endpoint = Endpoint(
            host=host,
            port=port,
            unix_socket_path=unix_socket_path,
            tls=tls,
            username=username,
            password=password,
            db=db,
            protocol=protocol,
            client_name=client_name,
            connect_timeout=connect_timeout,
            timeout=timeout,
            max_bulk=max_bulk,
            max_elements=max_elements,
        )
        self._pool = Pool(
            self.endpoint,
            pool_size=pool_size,
            max_connections=max_connections,
            wait_timeout=wait_timeout,
            max_idle_time=max_idle_time,
            max_life_time=max_life_time,
        )
        self._breaker = breaker if isinstance(breaker, Breaker) else Breaker() if breaker else _Off()
        self._timeout = timeout
        self._decode = decode
        self._retries = retries
        self._retried = 0

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Client:
        """A client for a URL: `redis://user:password@host:6379/0`, `rediss://…`, `valkey://…`, `unix:///path?db=0`.

        options: the keyword arguments of `Client`; what the URL says goes before them. Raises InvalidArgument.
        """
        merged = {**options, **parse_url(url)}
        if options.get("ssl"):
            merged["ssl"] = options["ssl"]
        return cls(**merged)

    def __repr__(self) -> str:
        return f"<Client of {self.endpoint}, db {self.endpoint.db}>"

    # ---- calls ---------------------------------------------------------------------------------------------------

    def execute(self, *args: Argument, timeout: float | None = -1.0) -> Any:
        """Send any command and return its reply as the server gave it.

        timeout: seconds for this call, where the client's are not right (a blocking command); None for no limit.
        Raises the reply if it is an error, and every other RespError.
        """
        if args and isinstance(args[0], str) and " " in args[0]:
            args = (*args[0].split(), *args[1:])
        request = encode_request(args)
        if timeout is not None and timeout < 0:
            timeout = self._timeout
        return self._call(request, is_read(args[0]), timeout, changes_connection(args))

    execute_command = execute

    def _do(self, args: list[Argument] | tuple[Argument, ...], convert: Convert | None = None) -> Any:
        reply = self._call(encode_request(args), args[0] in READS, self._timeout)
        return reply if convert is None else converted(reply, convert)

    def _wait(self, span: float, args: list[Argument] | tuple[Argument, ...], convert: Convert | None = None) -> Any:
        timeout = None if self._timeout is None or not span else self._timeout + span
        return converted(self._call(encode_request(args), False, timeout), convert)

    def _known(self, result: Any) -> Any:
        return result

    def get(self, name: Key) -> bytes | None:
        """The value of a key, None if there is none."""
        key: Any = name if type(name) is bytes else encode_argument(name)
        return self._call(b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key), True, self._timeout)

    def setex(self, name: Key, time: Seconds, value: Argument) -> bool:
        """Set a value that lives for `time` seconds; True."""
        key: Any = name if type(name) is bytes else encode_argument(name)
        data: Any = value if type(value) is bytes else encode_argument(value)
        span = b"%d" % (time if type(time) is int else seconds(time))
        head = b"*4\r\n$5\r\nSETEX\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n" % (len(key), key, len(span), span, len(data))
        request: Request = b"%b%b\r\n" % (head, data) if len(data) < LARGE_ARGUMENT else [head, data, b"\r\n"]
        return self._call(request, False, self._timeout) in (b"OK", "OK")

    def _call(self, request: Request, reads: bool, timeout: float | None, last: bool = False) -> Value:
        """One command; `last`: the connection is not to be used again."""
        now = monotonic()
        fresh = False
        if self._breaker.calm and not last:
            pool = self._pool
            connection = pool.take(now)
            if connection is not None:
                try:
                    reply = connection.roundtrip(request, now, timeout)
                except BaseException as error:
                    if not self._may_retry(error, connection, reads):
                        raise
                    fresh = True
                else:
                    if type(reply) is bytes or not isinstance(reply, ServerError):
                        pool.release(connection)
                        return text(reply) if self._decode else reply
                    self._retire(connection, reply)
                    if not isinstance(reply, TemporaryError) or not self._retries:
                        raise reply

        def attempt(connection: Connection) -> Value:
            reply = connection.roundtrip(request, monotonic(), _left(now, timeout))
            if last:
                connection.expires = 0.0
            return reply

        reply = self._perform(attempt, reads, now, timeout, fresh)
        if isinstance(reply, ServerError):
            raise reply
        return text(reply) if self._decode else reply

    def _perform(
        self, attempt: Callable[[Connection], _T], reads: bool, now: float, timeout: float | None, fresh: bool = False
    ) -> _T:
        """`attempt` with a connection: the general way, with breaker and retries; error replies are returned."""
        deadline = None if timeout is None else now + timeout
        breaker, pool = self._breaker, self._pool
        probe = breaker.before()
        tries = 0
        try:
            while True:
                connection = None
                try:
                    connection = pool.acquire(monotonic(), deadline, fresh=fresh)
                    result = attempt(connection)
                except BaseException as error:
                    if self._may_retry(error, connection, reads and not fresh):
                        fresh = True
                        continue
                    if connection is not None or not isinstance(error, ConnectionLost | Timeout):
                        raise
                    if isinstance(error, ClientClosed) or not self._pause(tries, deadline):
                        raise
                else:
                    breaker.success()
                    if not isinstance(result, ServerError):
                        pool.release(connection)
                        return result
                    self._retire(connection, result)
                    if not isinstance(result, TemporaryError) or not self._pause(tries, deadline):
                        return result
                tries += 1
                self._retried += 1
        finally:
            if probe:
                breaker.abandon()

    def _result(self, reply: Value, convert: Convert | None) -> Any:
        """A reply as the caller gets it; errors stay."""
        return converted(text(reply) if self._decode else reply, convert)

    def _keep(self) -> Connection:
        """A connection for a caller that gives it back, or discards it, himself."""
        now = monotonic()
        deadline = None if self._timeout is None else now + self._timeout
        probe = self._breaker.before()
        try:
            return self._pool.acquire(now, deadline)
        except BaseException as error:
            self._may_retry(error, None, False)
            raise
        finally:
            if probe:
                self._breaker.abandon()

    def _pause(self, tries: int, deadline: float | None) -> bool:
        """Wait before another attempt; False if there is none left, or no time for it."""
        if tries >= self._retries:
            return False
        pause = _PAUSE * 2**tries * random.uniform(0.5, 1.0)
        if deadline is not None and monotonic() + pause >= deadline:
            return False
        _time.sleep(pause)
        return True

    def _may_retry(self, error: BaseException, connection: Connection | None, reads: bool) -> bool:
        """What an exception means for the pool and the breaker, and whether to try again at once on a new connection.

        Only on a connection that was used before, which the server may have closed long ago: a read if nothing of its
        reply had come, a write if it was never sent completely. A read also if its reply cannot be trusted.
        """
        if connection is None:
            # No connection could be made. A full pool or a closed client says nothing about the server.
            if isinstance(error, RespError) and not isinstance(error, PoolExhausted | ClientClosed | InvalidArgument):
                self._breaker.failure()
            return False
        connection.close()
        self._pool.discard(connection)
        again = False
        if isinstance(error, ConnectionLost):
            if not connection.unused:
                self._pool.drop_older(connection)
                again = not error.maybe_executed or (reads and not error.reply_begun)
        elif isinstance(error, Desynchronised):
            again = reads
        if again:
            self._retried += 1
        elif isinstance(error, ConnectionLost | Timeout):
            self._breaker.failure()
        return again

    def _retire(self, connection: Connection, reply: ServerError) -> None:
        """Give back a connection after an error reply, unless the error says that it is of no use."""
        if isinstance(reply, AuthenticationError | ReadOnly):
            self._pool.discard(connection)
        else:
            self._pool.release(connection)

    # ---- several commands ----------------------------------------------------------------------------------------

    def pipeline(self, transaction: bool = False) -> Pipeline:
        """Many commands in one round trip: queue them, then `execute()`; see `resp.Pipeline`.

        transaction: True for the same as `transaction()`.
        """
        return Transaction(self) if transaction else Pipeline(self)

    def transaction(
        self, func: Callable[[Transaction], Any] | None = None, *watches: Key, value_from_callable: bool = False
    ) -> Any:
        """Commands that are executed together or not at all; without arguments a `resp.Transaction` to use.

        With a function: watch the keys, call it with the transaction, execute, and start over for as long as somebody
        else changes a watched key. Returns what was executed, or what the function returned.
        """
        if func is None:
            return Transaction(self)
        while True:
            with Transaction(self) as queue:
                try:
                    if watches:
                        queue.watch(*watches)
                    value = func(queue)
                    results = queue.execute(raise_on_error=True)
                    return value if value_from_callable else results
                except WatchError:
                    continue

    def pubsub(self, **options: Any) -> PubSub:
        """Publish/subscribe on a connection of its own; see `resp.PubSub`."""
        from resp.pubsub import PubSub

        return PubSub(self.endpoint, **{"decode": self._decode, **options})

    # ---- the client itself ---------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """The numbers of this moment."""
        breaker = self._breaker
        state = "off" if isinstance(breaker, _Off) else breaker.state
        return Stats(*self._pool.stats(), self._retried, state, breaker.opened)

    def close(self) -> None:
        """Close idle connections now, those in use when their call ends; calls from now on raise ClientClosed."""
        self._pool.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _left(now: float, timeout: float | None) -> float | None:
    """What is left of a timeout that began at `now`; never nothing, so that the attempt itself says Timeout."""
    return None if timeout is None else max(0.001, now + timeout - monotonic())
