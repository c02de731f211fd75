# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A real `pages serve` with its workers, and visitors who come on new connections without a pause."""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.running import PAGES_DOMAIN, ROOT, Proxy, spawn, write_config
from tests.ports import free_port

DEADLINE = 180.0
"""Seconds; a machine may be busy with other tests."""


def serve_command(config: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "addon.commands.cli", "serve", "--config", str(config), *more]


class Service(Proxy):
    """A running supervisor."""

    config: Path

    @property
    def workers(self) -> list[int]:
        """Process ids."""
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def until_served(self, times: int = 1) -> None:
        """Wait until so many generations of workers have served."""
        self.until(lambda: self.log.count("process is serving") + self.log.count("processes are serving") >= times)

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)


@contextlib.contextmanager
def running_service(folder: Path, forgejo: str, *, processes: int = 2, **options: Any) -> Iterator[Service]:
    """`pages serve` in front of a forge, serving; killed at the end with all its workers."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = write_config(folder, forgejo, port, processes=processes, **options)
    process, log = spawn(folder, serve_command(config), PYTHONPATH=str(ROOT))
    service = Service(process, port, log)
    service.config = config
    try:
        service.until_served()
        yield service
    finally:
        if process.poll() is None:
            stopped = service.workers
            process.kill()  # its workers end when they hear no more of it, and are not stopped
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        process.wait()


class Visitors:
    """Threads that ask on a new connection each time. Whoever was connected has to get a whole page."""

    def __init__(self, port: int, path: str, count: int = 6) -> None:
        self.served = 0
        self.failed: list[str] = []
        self._address = ("127.0.0.1", port)
        self._request = f"GET {path} HTTP/1.1\r\nHost: alice.{PAGES_DOMAIN}\r\nConnection: close\r\n\r\n".encode()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._visit) for _ in range(count)]

    def _visit(self) -> None:
        while not self._over.is_set():
            try:
                connection = socket.create_connection(self._address, 5)
            except OSError:
                continue  # nobody listens (any more)
            with connection:
                connection.settimeout(30)
                received = b""
                try:
                    connection.sendall(self._request)
                    while chunk := connection.recv(65536):
                        received += chunk
                except OSError as error:
                    self.failed.append(repr(error))
                    continue
            if received.startswith(b"HTTP/1.1 200 "):
                self.served += 1
            else:
                self.failed.append(repr(received[:40]))

    def __enter__(self) -> "Visitors":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
