# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A real mitmdump with the addon, in a process of its own, and a client that says exactly what it is told to say."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from tests.ports import free_port, is_open
from tests.resp.servers import Server
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "addon" / "pages.py"
PAGES_DOMAIN = "pages.test"
START_DEADLINE = 180.0
FAULTS = ("Traceback", "crashed", "internal error")
"""What no log has in it that is in order."""


class Reply(NamedTuple):
    """What came back. Header names are lower case; repeated ones are joined by a comma."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def exchanged(connection: socket.socket, data: bytes) -> bytes:
    """Send bytes as they are and read until the other side closes, or says nothing for as long as it may."""
    connection.sendall(data)
    received = b""
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


class Running:
    """A command that runs, and all that it prints."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        """All that it has printed so far."""
        return self._log.read_text(errors="replace")

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so; fails with what was printed, and at once if the command ends before."""

        def is_so() -> object:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log}"
            return condition()

        wait_until(is_so, lambda: f"the log:\n{self.log}", START_DEADLINE, pause=0.02)


class Proxy(Running):
    """A running mitmdump."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        super().__init__(process, log)
        self.port = port

    def get(
        self,
        host: str,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        body: bytes | None = None,
        timeout: float = 30.0,
    ) -> Reply:
        """One request on a connection of its own. `host` without a dot is an owner's name."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", host if "." in host else f"{host}.{PAGES_DOMAIN}")
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            fields: dict[str, str] = {}
            for name, value in response.getheaders():
                name = name.lower()
                fields[name] = f"{fields[name]}, {value}" if name in fields else value
            return Reply(response.status, fields, response.read())
        finally:
            connection.close()

    def comes_to(self, status: int, host: str, path: str = "/", body: bytes | None = None) -> None:
        """Ask until the answer has this status, and this body if one is given."""

        def answers_so() -> bool:
            reply = self.get(host, path)
            return reply.status == status and body in (None, reply.body)

        self.until(answers_so)

    def connect(self, timeout: float = 20.0) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def raw(self, data: bytes, timeout: float = 20.0) -> bytes:
        """Send bytes as they are and read until the other side closes (or `timeout`)."""
        with self.connect(timeout) as connection:
            return exchanged(connection, data)

    @property
    def rss(self) -> int:
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def stop(self, deadline: float = 40.0) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(deadline)


def write_config(folder: Path, forgejo: str, port: int, **options: Any) -> Path:
    """A settings file for a proxy on that port."""
    values = {
        "pagesDomain": PAGES_DOMAIN,
        "forgejoHost": forgejo,
        "listen": f"127.0.0.1:{port}",
        "stateDir": str(folder / "state"),
        **options,
    }
    path = folder / "pages.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(values, file)
    return path


def mitmdump_command(config: Path) -> list[str]:
    """The command line of the README: mitmdump beside the interpreter that runs the tests."""
    return [str(Path(sys.executable).with_name("mitmdump")), "-s", str(SCRIPT), "--set", f"pages_config={config}"]


def spawn(folder: Path, command: list[str], **environment: str) -> tuple["subprocess.Popen[bytes]", Path]:
    """Start a command with an empty home and its output in a file."""
    log = folder / "output.log"
    env = {**os.environ, "HOME": str(folder), "PYTHONUNBUFFERED": "1", **environment}
    for name in ("PAGES_CONFIG", "STATE_DIRECTORY", "XDG_STATE_HOME"):
        if name not in environment:
            env.pop(name, None)
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT)
    return process, log


def run_to_end(folder: Path, command: list[str], **environment: str) -> tuple[int, str]:
    """Run a command that is to end by itself; its exit code and all it printed."""
    process, log = spawn(folder, command, **environment)
    try:
        return process.wait(START_DEADLINE), log.read_text(errors="replace")
    finally:
        process.kill()
        process.wait()


def wait_for_port(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Wait until the port answers; fails with the output if the process ends or takes too long."""
    Running(process, log).until(lambda: is_open(port))


@contextlib.contextmanager
def running_proxy(folder: Path, forgejo: str, **options: Any) -> Iterator[Proxy]:
    """A mitmdump in front of a forge; killed at the end if it was not stopped. Its log must tell of no fault.

    Two options are not the settings file's: `port`, and `beside`, a script that it loads beside the addon.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, beside = options.pop("port", None) or free_port(), options.pop("beside", "")
    config = write_config(folder, forgejo, port, **options)
    command = mitmdump_command(config)
    if beside:
        (folder / "beside.py").write_text(beside)
        command += ["-s", str(folder / "beside.py")]
    process, log = spawn(folder, command)
    try:
        wait_for_port(process, port, log)
        yield Proxy(process, port, log)
        faults = [line for line in log.read_text().splitlines() if any(word in line for word in FAULTS)]
        assert not faults, f"{log} tells of a fault: {faults[:3]}"
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@contextlib.contextmanager
def two_proxies(folder: Path, forgejo: str, redis: Server, **options: Any) -> Iterator[tuple[Proxy, Proxy]]:
    """Two in front of one forge that share a Redis."""
    options |= {"redisHost": redis.host, "redisPort": redis.port}
    with (
        running_proxy(folder / "one", forgejo, **options) as one,
        running_proxy(folder / "two", forgejo, **options) as two,
    ):
        yield one, two
