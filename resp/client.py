# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`Client`: every command of Redis and Valkey, for any number of threads, over whatever source of servers.

What a call does with a connection is in `resp.node`; which server it goes to is the business of the source. Here are
the options. Surprising: an error reply is raised without leaving a reference to it in any frame, since the cycle of
exception and frame would keep a refused value of many megabytes in memory until the garbage collector comes by.
"""

from __future__ import annotations

import random
import ssl as _ssl
import time as _time
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, overload

from resp.argument_types import Convert, Key
from resp.breaker import Breaker
from resp.command_arguments import result
from resp.command_kinds import changes_connection, split
from resp.commands import B, ClientCommands
from resp.encoding import Argument
from resp.endpoint import Credentials, Endpoint, parse_url, tls_context, unknown_option
from resp.errors import InvalidArgument, WatchError
from resp.observed import Observed
from resp.observer import Observer
from resp.pipeline import Pipeline, Transaction, pauses
from resp.pubsub import PubSub
from resp.retry import Retry
from resp.source import Source, Stats
from resp.sources import Addresses, Fleet, source_of
from resp.tracking_status import Reporter

if TYPE_CHECKING:
    from typing import Self, Unpack


class Options(Fleet, total=False):
    """The keyword arguments of `Client` but `decode`; see there."""

    db: int
    username: str | None
    password: str | None
    unix_socket_path: str | None
    ssl: bool | _ssl.SSLContext
    ssl_ca_certs: str | None
    ssl_ca_data: str | bytes | None
    ssl_certfile: str | None
    ssl_keyfile: str | None
    ssl_password: str | None
    ssl_cert_reqs: str | _ssl.VerifyMode
    ssl_check_hostname: bool
    timeout: float | None
    connect_timeout: float
    pool_size: int
    max_connections: int
    wait_timeout: float
    max_idle_time: float | None
    max_life_time: float | None
    protocol: int
    client_name: str | None
    retries: int | Retry
    breaker: Breaker | bool
    credentials: Credentials
    observer: Observer | None
    max_bulk: int
    max_elements: int


class Client(ClientCommands[B]):
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
    client_name: shown by CLIENT LIST. retries: further attempts (or a `resp.Retry`, which says how fast), with growing
    pauses and before the deadline, where the server certainly did not execute the command (no connection, LOADING and
    its like). breaker: a `resp.Breaker`, True for one with its defaults, False for none. max_bulk: longest value
    accepted, in bytes.

    Many servers, one face. sentinels: addresses of sentinels (`"h1:26379,h2"`, a list of such or of pairs), with
    sentinel_master, the name of what they watch, and sentinel_username, sentinel_password, the credentials for them:
    commands go to the master, whoever that is. cluster: True if host and port are a node of a cluster, or the
    addresses of some of its nodes: commands go to the node that has their key. read_from: "replica" to read from
    replicas, which may be behind. translate: from a host and port that sentinels or nodes name to those to connect to,
    where there is a network in between that renames them.

    credentials: gives `(username, password)` anew for each connection, where they are tokens that expire. observer: a
    `resp.Observer`, which is told of commands, connections and failovers.

    A client connects when it is first used. Calls raise `RespError` and nothing else.
    """

    @overload
    def __init__(
        self: Client[bytes],
        host: str = ...,
        port: int = ...,
        *,
        decode: Literal[False] = ...,
        **options: Unpack[Options],
    ) -> None: ...
    @overload
    def __init__(
        self: Client[str], host: str = ..., port: int = ..., *, decode: Literal[True], **options: Unpack[Options]
    ) -> None: ...
    @overload
    def __init__(
        self: Client[Any], host: str = ..., port: int = ..., *, decode: bool, **options: Unpack[Options]
    ) -> None: ...
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
        retries: int | Retry = 0,
        breaker: Breaker | bool = True,
        credentials: Credentials = None,
        observer: Observer | None = None,
        max_bulk: int = 512 * 1024 * 1024,
        max_elements: int = 1 << 25,
        sentinels: Addresses | None = None,
        sentinel_master: str | None = None,
        sentinel_username: str | None = None,
        sentinel_password: str | None = None,
        cluster: bool | Addresses = False,
        read_from: str = "master",
        translate: Callable[[str, int], tuple[str, int]] | None = None,
        **others: Any,
    ) -> None:
        if others:
            raise InvalidArgument(unknown_option(next(iter(others))))
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
        endpoint = Endpoint(
            host=host,
            port=port,
            unix_socket_path=unix_socket_path,
            tls=tls,
            username=username,
            password=password,
            credentials=credentials,
            db=db,
            protocol=protocol,
            client_name=client_name,
            connect_timeout=connect_timeout,
            timeout=timeout,
            max_bulk=max_bulk,
            max_elements=max_elements,
        )
        limits = {
            "pool_size": pool_size,
            "max_connections": max_connections,
            "wait_timeout": wait_timeout,
            "max_idle_time": max_idle_time,
            "max_life_time": max_life_time,
            "observer": observer,
        }
        fleet: Fleet = {
            "sentinels": sentinels,
            "sentinel_master": sentinel_master,
            "sentinel_username": sentinel_username,
            "sentinel_password": sentinel_password,
            "cluster": cluster,
            "read_from": read_from,
            "translate": translate,
        }
        self._source: Source = source_of(endpoint, limits, breaker, retries, fleet)
        if observer is not None:
            self._source = Observed(self._source, observer)
        self._timeout = timeout
        self._decode = decode

    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode: Literal[False] = ..., host: str = ..., port: int = ..., **options: Unpack[Options]
    ) -> Client[bytes]: ...
    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode: Literal[True], host: str = ..., port: int = ..., **options: Unpack[Options]
    ) -> Client[str]: ...
    @overload
    @classmethod
    def from_url(
        cls, url: str, *, decode: bool, host: str = ..., port: int = ..., **options: Unpack[Options]
    ) -> Client[Any]: ...
    @classmethod
    def from_url(cls, url: str, **options: Any) -> Client[Any]:
        """A client for a URL: `redis://user:password@host:6379/0`, `rediss://…`, `valkey://…`, `unix:///path?db=0`,
        `redis+sentinel://h1:26379,h2:26379/MASTER/0`, `redis+cluster://h1:6379,h2:6379` (and `rediss+…`, for TLS).

        options: the keyword arguments of `Client`; what the URL says goes before them. Raises InvalidArgument.
        """
        merged = {**options, **parse_url(url)}
        if options.get("ssl"):
            merged["ssl"] = options["ssl"]
        return cls(**merged)

    @property
    def endpoint(self) -> Endpoint:
        """The server that a command without keys would go to now."""
        return self._source.endpoint

    @property
    def clustered(self) -> bool:
        """Whether keys belong to slots of several nodes, so that commands of several keys need a hash tag in them."""
        return self._source.slot_of is not None

    def __repr__(self) -> str:
        return f"<Client of {self.endpoint}, db {self.endpoint.db}>"

    # ---- calls ---------------------------------------------------------------------------------------------------

    def execute(self, *args: Argument, timeout: float | None = -1.0) -> Any:
        """Send any command and return its reply as the server gave it.

        timeout: seconds for this call, where the client's are not right (a blocking command); None for no limit.
        Raises the reply if it is an error, and every other RespError.
        """
        words = split(args)
        if timeout is not None and timeout < 0:
            timeout = self._timeout
        return self._sent(words, timeout, None, changes_connection(words))

    execute_command = execute

    def _do(self, args: Sequence[Argument], convert: Convert | None = None) -> Any:
        reply = self._source.call(args, self._timeout)
        if type(reply) is bytes and convert is None and not self._decode:
            return reply
        try:
            return result(reply, args, self._decode, convert)
        finally:
            del reply  # no cycle of exception and frame

    def _wait(self, span: float, args: Sequence[Argument], convert: Convert | None = None) -> Any:
        timeout = None if self._timeout is None or not span else self._timeout + span
        return result(self._source.call(args, timeout), args, self._decode, convert)

    def _known(self, result: Any) -> Any:
        return result

    def _sent(self, args: Sequence[Argument], timeout: float | None, convert: Convert | None, last: bool) -> Any:
        return result(self._source.call(args, timeout, last=last), args, self._decode, convert)

    # ---- several commands ----------------------------------------------------------------------------------------

    # Without a word it is said to be what it is on one server; on a cluster one says what one means.
    @overload
    def pipeline(self, transaction: Literal[True] | None = ...) -> Transaction: ...
    @overload
    def pipeline(self, transaction: bool) -> Pipeline: ...
    def pipeline(self, transaction: bool | None = None) -> Pipeline:
        """Many commands in one round trip: queue them, then `execute()`; see `resp.Pipeline`.

        transaction: they are executed together or not at all (MULTI, EXEC), as with `transaction()`; False for
        commands that have nothing to do with each other. Without a word it is True, but on a cluster False, where
        keys mostly belong to different slots.
        """
        if transaction is None:
            transaction = self._source.slot_of is None
        kind = Transaction if transaction else Pipeline
        return kind(self._source, timeout=self._timeout, decode=self._decode)

    def transaction(
        self, func: Callable[[Transaction], Any] | None = None, *watches: Key, value_from_callable: bool = False
    ) -> Any:
        """Commands that are executed together or not at all; without arguments a `resp.Transaction` to use.

        With a function: watch the keys, call it with the transaction, execute, and start over when somebody else
        changed a watched key, with growing pauses and before the client's timeout has passed; then WatchError is
        raised. Returns what was executed, or what the function returned.
        """
        if func is None:
            return Transaction(self._source, timeout=self._timeout, decode=self._decode)
        deadline = None if self._timeout is None else monotonic() + self._timeout
        for pause in pauses():
            with Transaction(self._source, timeout=self._timeout, decode=self._decode) as queue:
                try:
                    if watches:
                        queue.watch(*watches)
                    value = func(queue)
                    results = queue.execute()
                    return value if value_from_callable else results
                except WatchError:
                    pause *= random.uniform(0.5, 1.5)
                    if deadline is not None and monotonic() + pause > deadline:
                        raise
            _time.sleep(pause)
        raise AssertionError("unreachable")

    def pubsub(self, **options: Any) -> PubSub:
        """Publish/subscribe on a connection of its own; see `resp.PubSub`."""
        return PubSub(self._source.upstream(), **{"decode": self._decode, **options})

    def tracking(self, invalidated: Callable[[bytes | None], object], **options: Any) -> Reporter:
        """Watch keys for a local cache, on a connection of its own; not started. See `resp.Tracking` for the options.

        It follows the master behind sentinels, and on a cluster has a line to each primary (`resp.ClusterTracking`);
        every change of who that is, is reported as "everything". Its `lease` says for how many seconds at most a
        change may go unreported while it says that it is live.
        """
        return self._source.tracking(invalidated, **options)

    # ---- the client itself ---------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """The numbers of this moment."""
        return self._source.stats()

    def close(self) -> None:
        """Close idle connections now, those in use when their call ends; calls from now on raise ClientClosed."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
