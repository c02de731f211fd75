# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A server that does exactly what a test says, byte by byte, over a real socket.

`Scripted(script)` calls `script(exchange)` in a thread for every connection. The handshake of `resp` is answered before
that, unless `greeted=False`. What the script raises because the client went away is of no interest; anything else
fails the test when the server is closed.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from resp import Connection, Endpoint
from resp.protocol import Parser
from resp.values import INCOMPLETE, Value

GREETING = b"%3\r\n+server\r\n+scripted\r\n+proto\r\n:3\r\n+id\r\n:1\r\n"


class Exchange:
    """One connection, seen from the server."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.parser = Parser()

    def command(self) -> list[bytes]:
        """The next command; ConnectionError if the client went away."""
        while (value := self.parser.get()) is INCOMPLETE:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionResetError
            self.parser.feed(data)
        found: Value = value
        assert isinstance(found, list)
        return found

    def arrived(self) -> list[list[bytes]]:
        """The commands that are there, without waiting for one."""
        with contextlib.suppress(BlockingIOError):
            while data := self.sock.recv(65536, socket.MSG_DONTWAIT):
                self.parser.feed(data)
        found: list[Value] = []
        while (value := self.parser.get()) is not INCOMPLETE:
            found.append(value)
        return found

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def greet(self) -> None:
        """Answer the handshake: HELLO and two CLIENT SETINFO."""
        assert self.command()[0] == b"HELLO"
        assert self.command()[:2] == [b"CLIENT", b"SETINFO"]
        assert self.command()[:2] == [b"CLIENT", b"SETINFO"]
        self.send(GREETING + b"+OK\r\n+OK\r\n")

    def answer(self, *replies: bytes) -> None:
        """Each reply after one more command."""
        for reply in replies:
            self.command()
            self.send(reply)


class Scripted:
    """See the module; a context manager. `connections` counts those accepted."""

    def __init__(self, script: Callable[[Exchange], object], *, greeted: bool = True) -> None:
        self._script = script
        self._greeted = greeted
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = "127.0.0.1", self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._failures: list[BaseException] = []
        self.connections = 0
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                self._sockets.append(sock)
                thread = threading.Thread(target=self._run, args=(Exchange(sock, self.connections),), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self, exchange: Exchange) -> None:
        with exchange.sock:
            try:
                if self._greeted:
                    exchange.greet()
                self._script(exchange)
            except OSError:
                pass
            except BaseException as error:
                self._failures.append(error)

    def __enter__(self) -> Scripted:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        if self._failures and error is None:
            raise self._failures[0]


class Paired(Connection):
    """Connects to what `meet(deadline)` returns, our end of a pair of sockets; no handshake."""

    __slots__ = ("_meet",)

    def __init__(self, endpoint: Endpoint, meet: Callable[[float | None], socket.socket], protocol: int = 2) -> None:
        super().__init__(endpoint)
        self._meet = meet
        self.protocol = protocol

    def connect(self, deadline: float | None = None) -> Paired:
        self._use(self._meet(deadline))
        self.born = time.monotonic()
        return self


def joined(*, protocol: int = 3, **options: Any) -> tuple[Connection, Exchange]:
    """A connection over a pair of sockets, its handshake done, and the server's end; `options` as of `Endpoint`."""
    ours, theirs = socket.socketpair()
    connection = Connection(Endpoint(**options))
    connection._use(ours)
    connection.protocol = protocol
    return connection, Exchange(theirs, 1)
