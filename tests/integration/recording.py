# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""An upstream that reports exactly which bytes came, and a reader of requests that forgives nothing.

It answers each request that is complete by its own reading, so that who sends two sees two answers.
"""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from typing import NamedTuple

_HEAD = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[\x21-\x7e\x80-\xff]*|\*) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t]*[^\r\n\x00]*\r\n)*)\r\n"
)
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})\r\n")
_ANSWER = b'HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"message":"-"}'


class Read(NamedTuple):
    """A request, as whoever is strict reads it."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    body: bytes


def requests_in(data: bytes) -> tuple[list[Read], bytes]:
    """The complete requests that bytes hold, and what is left; raises ValueError where they could be read otherwise."""
    found: list[Read] = []
    while data:
        head = _HEAD.match(data)
        if head is None:
            if b"\r\n\r\n" in data:
                raise ValueError(data.partition(b"\r\n\r\n")[0])
            break
        lines = head[3].decode("latin-1").split("\r\n")[:-1]
        fields = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        lengths = [value for name, value in fields if name == "content-length"]
        codings = [value.lower() for name, value in fields if name == "transfer-encoding"]
        hosts = [value for name, value in fields if name == "host"]
        if len(lengths) + len(codings) > 1 or len(hosts) != 1 or codings not in ([], ["chunked"]):
            raise ValueError(head[0])
        rest = data[head.end() :]
        if codings:
            body, left = _unchunked(rest)
        else:
            size = int(lengths[0]) if lengths else 0
            body, left = (rest[:size], rest[size:]) if len(rest) >= size else (None, b"")
        if body is None:
            break
        found.append(Read(head[1].decode(), head[2].decode("latin-1"), fields, body))
        data = left
    return found, data


def _unchunked(data: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while chunk := _CHUNK.match(data):
        size = int(chunk[1], 16)
        piece, end, data = data[chunk.end() :][:size], chunk.end() + size, data
        if len(data) < end + 2:
            return None, b""
        if data[end : end + 2] != b"\r\n":
            raise ValueError(data[:100])
        data = data[end + 2 :]
        if not size:
            return body, data
        body += piece
    return None, b""


class Recorder:
    """Listens on loopback. State: what came on each connection, in the order in which they came."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._came: list[bytearray] = []
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def forget(self) -> None:
        """Close what is open, and begin anew."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open, self._came = [], []

    @property
    def came(self) -> list[bytes]:
        """What came since, by connection; those on which nothing came are left out."""
        return [bytes(each) for each in self._came if each]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                came = bytearray()
                self._came.append(came)
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection, came), daemon=True).start()

    def _serve(self, connection: socket.socket, came: bytearray) -> None:
        answered = 0
        with connection, contextlib.suppress(OSError, ValueError):
            while data := connection.recv(65536):
                came += data
                complete, _ = requests_in(bytes(came))
                connection.sendall(_ANSWER * (len(complete) - answered))
                answered = len(complete)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.forget()


@contextlib.contextmanager
def recording() -> Iterator[Recorder]:
    """A recorder that is closed in the end."""
    recorder = Recorder()
    try:
        yield recorder
    finally:
        recorder.close()
