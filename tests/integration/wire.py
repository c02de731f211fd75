# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""HTTP/1.1 from the client's side, byte by byte: what a library would not send, and what it would not show.

A `Wire` is one connection. It sends what it is given and reads heads, bodies and chunks when asked to, so a test can
stop in the middle of either. Everything has a deadline: a wait that lasts too long is an error, never a hang.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PIECE = 64 * 1024


def splice(one: socket.socket, other: socket.socket) -> None:
    """Pass on what either says to the other, each by a thread of its own, until both have said all."""
    for source, sink in ((one, other), (other, one)):
        threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


class Forwarder:
    """Another way to a port: counts the connections that take it, and holds them until `go`."""

    def __init__(self, target: int, *, held: bool = False) -> None:
        self.connections = 0
        self.go = threading.Event()
        if not held:
            self.go.set()
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, connection: socket.socket) -> None:
        self.go.wait(60)
        splice(connection, socket.create_connection(("127.0.0.1", self._target)))

    def __enter__(self) -> Forwarder:
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self._listener.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(PIECE):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


class Head(NamedTuple):
    """Status and header fields (lower-case names) of an answer."""

    status: int
    fields: tuple[tuple[str, str], ...]

    def field(self, name: str) -> str | None:
        """The values of a field, joined by a comma; None where it is absent."""
        values = [value for key, value in self.fields if key == name]
        return ", ".join(values) if values else None


class Wire:
    """A connection to a server on loopback."""

    def __init__(self, port: int, timeout: float = 60.0, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self._arrived = bytearray()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, host: str, target: str = "/", method: str = "GET", version: str = "1.1", **fields: str) -> None:
        """Send a head; `_` in field names stands for `-`."""
        lines = [f"{method} {target} HTTP/{version}", f"Host: {host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def exchange(self, host: str, target: str = "/", method: str = "GET", **fields: str) -> tuple[Head, bytes]:
        """One request without a body, and its whole answer."""
        self.ask(host, target, method, **fields)
        return self.answer(method)

    def send_chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def _more(self) -> bool:
        data = self.socket.recv(PIECE)
        self._arrived += data
        return bool(data)

    def line(self) -> bytes:
        """Up to the next line end, without it."""
        while b"\r\n" not in self._arrived:
            if not self._more():
                raise EOFError(bytes(self._arrived))
        line, _, rest = bytes(self._arrived).partition(b"\r\n")
        self._arrived = bytearray(rest)
        return line

    def some(self, limit: int = PIECE) -> bytes:
        """What is there, at most so many bytes; empty at the end."""
        if not self._arrived:
            self._more()
        data = bytes(self._arrived[:limit])
        del self._arrived[:limit]
        return data

    def exactly(self, size: int) -> bytes:
        while len(self._arrived) < size:
            if not self._more():
                raise EOFError(f"{len(self._arrived)} of {size} bytes")
        data = bytes(self._arrived[:size])
        del self._arrived[:size]
        return data

    def head(self) -> Head:
        """The head of an answer, interim or final."""
        status = self.line()
        match = re.match(rb"HTTP/1\.1 ([0-9]{3})( |$)", status)
        assert match is not None, status
        fields = []
        while line := self.line():
            name, _, value = line.decode("latin-1").partition(":")
            fields.append((name.lower(), value.strip()))
        return Head(int(match[1]), tuple(fields))

    def pieces(self, head: Head, method: str = "GET") -> Iterator[bytes]:
        """The body, as it arrives."""
        if method == "HEAD" or head.status in (204, 304) or head.status < 200:
            return
        if "chunked" in (head.field("transfer-encoding") or ""):
            while data := self.chunk():
                yield data
        elif (length := head.field("content-length")) is not None:
            left = int(length)
            while left:
                data = self.some(min(left, PIECE))
                if not data:
                    raise EOFError(f"{left} bytes are missing")
                left -= len(data)
                yield data
        else:
            while data := self.some():
                yield data

    def chunk(self) -> bytes:
        """One chunk; the empty one is the last."""
        size = int(self.line().split(b";")[0], 16)
        data = self.exactly(size)
        assert self.line() == b""
        return data

    def answer(self, method: str = "GET") -> tuple[Head, bytes]:
        """A whole answer."""
        head = self.head()
        return head, b"".join(self.pieces(head, method))

    @property
    def ended(self) -> bool:
        """Whether the other side closes the connection and says nothing more before it."""
        with contextlib.suppress(ConnectionResetError):
            return not self._arrived and not self._more()
        return True


def digest_of(pieces: Iterator[bytes]) -> tuple[int, str]:
    """Length and SHA-256 of a body, without keeping it."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


class Memory:
    """The resident memory of a process while a `with` block runs: at its beginning, and its peak."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self.before = 0
        self.peak = 0

    def __enter__(self) -> Memory:
        (self._folder / "clear_refs").write_text("5")  # the peak is now what there is
        self.before = self._read("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.peak = self._read("VmHWM")

    @property
    def growth(self) -> int:
        """Bytes by which it grew at its peak."""
        return self.peak - self.before

    def _read(self, name: str) -> int:
        match = re.search(rf"{name}:\s+([0-9]+) kB", (self._folder / "status").read_text())
        assert match is not None
        return int(match[1]) * 1024
