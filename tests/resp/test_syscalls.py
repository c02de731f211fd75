# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""How many system calls an operation costs: counted by strace, and by a socket that counts what is called on it.

The bounds are those of a client that does nothing needless: one call to send, one to receive, one more where a value
is larger than the buffer. Counts are free of the noise that times have.
"""

import collections
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from resp import Client
from tests.resp.conftest import only_node
from tests.resp.servers import Server

KIB: Final = 1024
TIMES: Final = 20

# What is done, and the most system calls it may take.
OPERATIONS: Final[dict[str, tuple[str, float]]] = {
    "get 1 KiB": ("client.get('small')", 2),
    "setex 1 KiB": ("client.setex('small', 60, small)", 2),
    "get 100 KiB": ("client.get('medium')", 4),
    "get 1 MiB": ("client.get('large')", 4),
    "setex 1 MiB": ("client.setex('large', 60, large)", 4),
    "nothing there": ("client.get('nothing')", 2),
    "100 in a pipeline": ("pipeline()", 6),
}

_SCRIPT: Final = """
import os, sys
from resp import Client

where = {"unix_socket_path": sys.argv[1]} if "/" in sys.argv[1] else {"port": int(sys.argv[1])}
client = Client("127.0.0.1", timeout=60, **where)
small, medium, large = (b"v" * size for size in (1024, 100 * 1024, 1024 * 1024))
client.mset({"small": small, "medium": medium, "large": large})

def pipeline():
    pipe = client.pipeline(transaction=False)
    for _ in range(100):
        pipe.get("tiny")
    pipe.execute()

def mark(name):
    try:
        os.stat("/mark/" + name)
    except OSError:
        pass

def operation():
    OPERATION

for _ in range(50):
    operation()
mark("begin")
for _ in range(TIMES):
    operation()
mark("end")
"""


@pytest.mark.skipif(
    "CI" not in os.environ and (shutil.which("strace") is None or not sys.platform.startswith("linux")),
    reason="strace is not installed; the counting socket below measures the same",
)
@pytest.mark.parametrize("way", ["tcp", "unix"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_strace_counts_few_system_calls(valkey: Server, tmp_path: Path, name: str, way: str) -> None:
    operation, most = OPERATIONS[name]
    script = _SCRIPT.replace("OPERATION", operation).replace("TIMES", str(TIMES))
    log = tmp_path / "log"
    where = valkey.unix_path if way == "unix" else str(valkey.port)
    subprocess.run(["strace", "-f", "-o", log, sys.executable, "-c", script, where], check=True)
    text = log.read_text(errors="replace")
    inside = text[text.index("/mark/begin") : text.index("/mark/end")].splitlines()[1:-1]
    counts = collections.Counter(found[1] for line in inside if (found := re.match(r"\d+ +(\w+)\(", line)))
    # Memory is the allocator's business, and the ends of buffers of a unix socket may wake a reader early.
    calls = sum(count for call, count in counts.items() if call not in ("brk", "mmap", "munmap", "madvise", "mremap"))
    # A connection that a busy machine left idle for a moment is looked at before its use.
    slack = 1.0 if way == "unix" and "MiB" in name else 0.1
    assert calls / TIMES <= most + slack, dict(counts)


class CountingSocket:
    """A socket that counts what is called on it; every method of a socket is one system call."""

    def __init__(self, sock: socket.socket, counts: "collections.Counter[str]") -> None:
        self._sock = sock
        self._counts = counts

    def __getattr__(self, name: str) -> Any:
        self._counts[name] += 1
        return getattr(self._sock, name)


@pytest.fixture
def counted(valkey: Server) -> Iterator[tuple[Client, "collections.Counter[str]"]]:
    counts: collections.Counter[str] = collections.Counter()
    with Client(valkey.host, valkey.port, timeout=60) as client:
        client.ping()
        (connection,) = only_node(client).pool._idle
        assert connection.socket is not None
        connection.socket = CountingSocket(connection.socket, counts)  # type: ignore[assignment]  # a stand-in
        poll = connection._poller

        def polled(*arguments: Any) -> Any:
            counts["poll"] += 1
            return poll(*arguments)

        connection._poller = polled
        yield client, counts


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_counting_socket_counts_few_calls(counted: tuple[Client, "collections.Counter[str]"], name: str) -> None:
    client, counts = counted
    operation, most = OPERATIONS[name]
    values = {"small": b"v" * KIB, "medium": b"v" * 100 * KIB, "large": b"v" * 1024 * KIB}
    client.mset(values)

    def pipeline() -> None:
        pipe = client.pipeline(transaction=False)
        for _ in range(100):
            pipe.get("tiny")
        pipe.execute()

    code = compile(operation, name, "eval")
    names: dict[str, Any] = {"client": client, "pipeline": pipeline, **values}
    for _ in range(5):
        eval(code, names)
    counts.clear()
    for _ in range(TIMES):
        eval(code, names)
    # On a machine that is busy a millisecond may pass between two calls, and then a connection is looked at.
    assert (counts.total() - counts["poll"]) / TIMES <= most, dict(counts)


def test_a_connection_that_was_just_used_is_not_looked_at(counted: tuple[Client, "collections.Counter[str]"]) -> None:
    client, counts = counted
    client.set("key", "value")
    counts.clear()
    for _ in range(1000):
        client.get("key")
    assert counts["send"] == 1000
    assert counts["recv_into"] == 1000
    # But for those where the machine did something else for a millisecond.
    assert counts["poll"] < 100
    assert set(counts) <= {"send", "recv_into", "poll"}
