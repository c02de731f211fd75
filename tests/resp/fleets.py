# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Real fleets for tests: a master with replicas and sentinels, and clusters, of Redis and of Valkey.

Everything is started on ports of its own and ends with the `with` block. What is asked of it is asked over
`tests.resp.servers.Console`, never over `resp`.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.ports import free_port
from tests.resp.certs import Certificates
from tests.resp.servers import (
    Console,
    ConsoleError,
    Process,
    Reply,
    Server,
    redis_binary,
    start_redis,
    start_valkey,
    valkey_binary,
)
from tests.waiting import wait_until

MASTER: Final = "pages"
"""The name of what the sentinels watch."""

Start = Callable[..., contextlib.AbstractContextManager[Server]]
STARTS: Final[dict[str, Start]] = {"redis": start_redis, "valkey": start_valkey}


class Sentinel(Process):
    """One sentinel process."""

    def __init__(self, kind: str, folder: Path, password: str | None = None) -> None:
        binary = valkey_binary() if kind == "valkey" else redis_binary()
        assert binary is not None
        super().__init__(f"{kind} sentinel", binary, password)
        self._folder = folder

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
        self._start(settings, "--sentinel")
        wait_until(self.pings, f"an answer of {self}")
        # Its own periods are 10 s, 2 s, 1 s and 1 s, and a failover waits for several of them. These are milliseconds.
        for name, period in (("INFO", 200), ("PUBLISH", 200), ("ASK", 200), ("PING", 100)):
            self.ask("SENTINEL", "DEBUG", f"{name}-PERIOD", period)

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
            ports = {sentinel.names for sentinel in self.sentinels if sentinel.runs}
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
        wait_until(lambda: self._asked("FAILOVER"), "a failover")
        wait_until(lambda: self.master() not in (None, before) and self.named() is not before, "another master")

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
        wait_until(lambda: all(each.sees(replicas, sentinels - 1) for each in made), "sentinels that see all")
        yield fleet


# ---- clusters --------------------------------------------------------------------------------------------------------


class Cluster:
    """Primaries with their replicas; the slots are dealt out evenly."""

    def __init__(self, primaries: list[Server], replicas: list[Server]) -> None:
        self.primaries = primaries
        self.replicas = replicas

    @property
    def servers(self) -> list[Server]:
        return [*self.primaries, *self.replicas]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"{server.host}:{server.port}" for server in self.primaries)

    def alive(self) -> list[Server]:
        return [server for server in self.servers if server.runs]

    def ask(self, *words: str | bytes | int) -> Reply:
        """One command, at the node that it belongs to, as the nodes themselves say it; KEYS and FLUSHALL at all."""
        if words[0] in ("KEYS", "FLUSHALL"):
            replies: list[Any] = [server.ask(*words) for server in self.primaries]
            return replies[0] if words[0] == "FLUSHALL" else [name for reply in replies for name in reply]
        server = self.alive()[0]
        for _ in range(5):
            try:
                return server.ask(*words)
            except ConsoleError as error:
                kind, _, rest = str(error).partition(" ")
                if kind != "MOVED":
                    raise
                port = int(rest.rpartition(":")[2])
                server = next(server for server in self.servers if server.port == port)
        raise AssertionError(f"nobody has {words[1]!r}")

    def name(self, server: Server) -> str:
        reply = server.ask("CLUSTER", "MYID")
        assert isinstance(reply, bytes)
        return reply.decode()

    def owners(self, asked: Server | None = None) -> dict[int, int]:
        """The port that each slot belongs to, as one node says."""
        rows: Any = (asked or self.alive()[0]).ask("CLUSTER", "SLOTS")
        return {slot: row[2][1] for row in rows for slot in range(row[0], row[1] + 1)}

    def owner(self, slot: int) -> Server:
        port = self.owners()[slot]
        return next(server for server in self.servers if server.port == port)

    def move(self, slot: int, target: Server, *, pause: Callable[[], object] = lambda: None) -> None:
        """Move a slot with its keys, as `redis-cli --cluster reshard` does; `pause` is called in the middle of it."""
        source = self.owner(slot)
        if source is target:
            return
        mine, theirs = self.name(target), self.name(source)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", theirs)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", mine)
        first = True
        while True:
            keys: Any = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10)
            if not keys:
                break
            source.ask("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *keys)
            if first:
                pause()
                first = False
        if first:
            pause()
        for server in (target, source, *(other for other in self.primaries if other not in (target, source))):
            if server.runs:
                with contextlib.suppress(ConsoleError):
                    server.ask("CLUSTER", "SETSLOT", slot, "NODE", mine)

    def whole(self) -> bool:
        """True if every node that runs says that all is well and agrees on who owns what."""
        try:
            said = [server.ask("CLUSTER", "INFO") for server in self.alive()]
            maps = [self.owners(server) for server in self.alive()]
        except (OSError, ConsoleError):
            return False
        return all(b"cluster_state:ok" in text for text in said if isinstance(text, bytes)) and all(
            found == maps[0] and len(found) == 16384 for found in maps
        )


@contextlib.contextmanager
def clustered(
    kind: str,
    *,
    primaries: int = 3,
    replicas: int = 1,
    password: str | None = None,
    tls: Certificates | None = None,
) -> Iterator[Cluster]:
    """A cluster with so many primaries, and so many replicas of each; TLS for Redis only, on a second port."""
    start = STARTS[kind]
    with contextlib.ExitStack() as stack:

        def one() -> Server:
            options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", str(free_port())]
            options += ["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"]
            # A replica is in no map of Redis before the first byte of its primary, be it a ping.
            options += ["--repl-ping-replica-period", "1"]
            settings: dict[str, Any] = {"tls": tls} if tls is not None else {}
            if tls is not None:
                options += ["--tls-cluster", "yes"]
            return stack.enter_context(start(*options, password=password, **settings))

        first = [one() for _ in range(primaries)]
        copies = [one() for _ in range(primaries * replicas)]
        share = 16384 // primaries
        for at, server in enumerate(first):
            last = 16383 if at == primaries - 1 else (at + 1) * share - 1
            server.ask("CLUSTER", "ADDSLOTSRANGE", at * share, last)
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        cluster = Cluster(first, copies)
        for server in cluster.servers[1:]:
            bus = int(server._options[server._options.index("--cluster-port") + 1])
            first[0].ask("CLUSTER", "MEET", server.host, server.tls_port or server.port, bus)
        wait_until(lambda: all(_known(server) == len(cluster.servers) for server in cluster.servers), "a meeting")
        for at, server in enumerate(copies):
            wait_until(partial(_replicates, server, cluster.name(first[at % primaries])))
        wait_until(cluster.whole, "a cluster that is whole")
        wait_until(lambda: all(_linked(server) for server in copies), "replicas that follow")
        wait_until(lambda: all(_copies(server) == replicas for server in cluster.servers), "replicas in every map")
        yield cluster


def _known(server: Server) -> int:
    text = server.ask("CLUSTER", "NODES")
    assert isinstance(text, bytes)
    return sum(b"handshake" not in line and b"connected" in line for line in text.splitlines())


def _replicates(server: Server, primary: str) -> bool:
    with contextlib.suppress(ConsoleError):
        return server.ask("CLUSTER", "REPLICATE", primary) == b"OK"
    return False


def _copies(server: Server) -> int:
    """Replicas of each slot, the least of them, as this server says."""
    rows: Any = server.ask("CLUSTER", "SLOTS")
    return min(len(row) - 3 for row in rows)


def _linked(server: Server) -> bool:
    role = server.ask("ROLE")
    return isinstance(role, list) and role[0] == b"slave" and role[3] == b"connected"
