# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Real fleets for tests: a master with replicas and sentinels, and clusters, of Redis and of Valkey.

Everything is started on ports of its own and ends with the `with` block. What is asked of it is asked over
`tests.resp.servers.Console`, never over `resp`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from tests.resp.servers import (
    START_SECONDS,
    Console,
    ConsoleError,
    Reply,
    Server,
    free_port,
    redis_binary,
    start_redis,
    start_valkey,
    valkey_binary,
    wait_until,
)

MASTER: Final = "pages"
"""The name of what the sentinels watch."""

Start = Callable[..., contextlib.AbstractContextManager[Server]]
STARTS: Final[dict[str, Start]] = {"redis": start_redis, "valkey": start_valkey}


class Sentinel:
    """One sentinel process."""

    host: Final = "127.0.0.1"

    def __init__(self, kind: str, folder: Path, password: str | None = None) -> None:
        binary = valkey_binary() if kind == "valkey" else redis_binary()
        assert binary is not None
        self.port = free_port()
        self.password = password
        self._binary = binary
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> tuple[str, int]:
        return (self.host, self.port)

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self, master: Server, quorum: int) -> None:
        """Watch this master."""
        settings = self._folder / f"sentinel-{self.port}.conf"
        lines = [
            f"port {self.port}",
            f"bind {self.host}",
            f"sentinel monitor {MASTER} {master.host} {master.port} {quorum}",
            f"sentinel down-after-milliseconds {MASTER} 500",
            f"sentinel failover-timeout {MASTER} 2000",
            f"dir {self._folder}",
        ]
        if self.password is not None:
            lines.append(f"requirepass {self.password}")
        settings.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen(
            [self._binary, settings, "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers, START_SECONDS, f"an answer of the sentinel on port {self.port}")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, ConsoleError):
            return self.ask("PING") == b"PONG"
        return False

    def ask(self, *words: str | bytes | int) -> Reply:
        with Console(self.address, self.password) as console:
            return console.ask(*words)

    @property
    def names(self) -> int:
        """The port that it names as the master's."""
        reply = self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        assert isinstance(reply, list)
        assert isinstance(reply[1], bytes)
        return int(reply[1])

    def sees(self, replicas: int, sentinels: int) -> bool:
        """True if it knows so many healthy replicas and other sentinels."""
        rows: Any = self.ask("SENTINEL", "REPLICAS", MASTER)
        fields = [dict(zip(row[::2], row[1::2])) for row in rows]
        well = [row for row in fields if row[b"master-link-status"] == b"ok" and row[b"flags"] == b"slave"]
        others: Any = self.ask("SENTINEL", "SENTINELS", MASTER)
        return len(well) >= replicas and len(others) >= sentinels

    def pause(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


class Watched:
    """A master, its replicas and their sentinels."""

    def __init__(self, servers: list[Server], sentinels: list[Sentinel]) -> None:
        self.servers = servers
        self.sentinels = sentinels

    @property
    def places(self) -> str:
        return ",".join(sentinel.place for sentinel in self.sentinels)

    @property
    def url(self) -> str:
        return f"redis+sentinel://{self.places}/{MASTER}"

    def named(self) -> Server:
        """The server that the sentinels name, as soon as they agree."""
        port = 0

        def agree() -> bool:
            nonlocal port
            ports = {sentinel.names for sentinel in self.sentinels if sentinel._process is not None}
            port = next(iter(ports))
            return len(ports) == 1

        wait_until(agree)
        return next(server for server in self.servers if server.port == port)

    def master(self) -> Server | None:
        """The server among those that answer that says that it is the master; None if there is none, or two."""
        found = []
        for server in self.servers:
            with contextlib.suppress(OSError, ConsoleError):
                with Console(server.address, server.password, 0.2) as console:
                    role = console.ask("ROLE")
                if isinstance(role, list) and role[0] == b"master":
                    found.append(server)
        return found[0] if len(found) == 1 else None

    def fail_over(self) -> None:
        """Let the sentinels choose another master, for no reason."""
        before = self.named()
        wait_until(lambda: self._asked("FAILOVER"), 30, "a failover")
        wait_until(lambda: self.master() not in (None, before) and self.named() is not before, 30, "another master")

    def _asked(self, what: str) -> bool:
        with contextlib.suppress(ConsoleError):
            return self.sentinels[0].ask("SENTINEL", what, MASTER) == b"OK"
        return False


@contextlib.contextmanager
def watched(kind: str, *, replicas: int = 2, sentinels: int = 3, password: str | None = None) -> Iterator[Watched]:
    """A master with replicas and sentinels; `password` is that of the sentinels."""
    start = STARTS[kind]
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="resp-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        options = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
        master = stack.enter_context(start(*options))
        copies = [
            stack.enter_context(start("--replicaof", f"{master.host} {master.port}", *options)) for _ in range(replicas)
        ]
        made = []
        for _ in range(sentinels):
            sentinel = Sentinel(kind, folder, password)
            stack.callback(sentinel.kill)
            sentinel.start(master, sentinels // 2 + 1)
            made.append(sentinel)
        fleet = Watched([master, *copies], made)
        wait_until(lambda: all(each.sees(replicas, sentinels - 1) for each in made), 40, "sentinels that see all")
        yield fleet
