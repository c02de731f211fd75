# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Proxies as Redis sees them: for each a line on which it is told of changes, and one on which it reads, to every node.

All of them hold the one site that is deployed, which is the worst case: each reads what a proxy reads when it is told
(`addon.shared.reads`), waits for the lock of whoever looks at Forgejo as a proxy does, and knows once it has read the
new commit. They never look themselves. One thread drives them all: what is simulated is their traffic, not their speed.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from addon.library.refresh import OTHERS_PATIENCE
from addon.shared import records
from addon.shared.domain_mappings import CUSTOM_DOMAIN
from resp.encoding import encode_command
from resp.protocol import Parser
from resp.values import INCOMPLETE

KEY: Final = ("alice", "blog")
REF: Final = records.ref_key(KEY, "main")
PAUSE: Final = 0.02
"""Seconds between two looks at the lock, as in `addon.library.refresh`."""
_PREFIXES: Final = [word for prefix in (*records.MUTABLE, CUSTOM_DOMAIN) for word in ("PREFIX", prefix)]
_TOLD: Final = tuple(name.encode() for name in (REF, records.repository_key(KEY), records.epoch_key(KEY)))

Address = tuple[str, int]
Command = tuple[str, ...]


class _Wire:
    """A connection, what came over it, and what is to become of the replies."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.parser = Parser()
        self.expected = 0

    def ask(self, *commands: Command) -> None:
        self.socket.sendall(b"".join(encode_command(*command) for command in commands))
        self.expected += len(commands)

    def received(self) -> list[Any]:
        """Replies that have come; pushes wait in the parser."""
        with self.parser.space() as room:
            count = self.socket.recv_into(room)
        if not count:
            raise ConnectionError("a server closed the connection of a simulated proxy")
        self.parser.advance(count)
        replies = []
        while (reply := self.parser.get()) is not INCOMPLETE:
            replies.append(reply)
        self.expected -= len(replies)
        return replies


class _Proxy:
    """One of them. knows: the commit that it read last."""

    def __init__(self, nodes: Sequence[Address], node_of: Callable[[str], Address]) -> None:
        self.listening = [_Wire(address) for address in nodes]
        self.reading = {address: _Wire(address) for address in nodes}
        self.node_of = node_of
        self.knows = b""
        self.told = 0
        self.lock_until = self.lock_at = 0.0
        for wire in self.listening:
            wire.ask(("HELLO", "3"), ("CLIENT", "TRACKING", "ON", "BCAST", *_PREFIXES))

    def read(self) -> None:
        """What a proxy that knows the site reads when it is told of a change."""
        repository = records.repository_key(KEY)
        password, mine = (
            "password:alice:blog",
            records.told_password_key(*KEY, clustered=len(self.reading) > 1),
        )
        self._ask(
            ("GET", records.epoch_key(None)),
            ("GET", records.epoch_key(KEY)),
            ("GET", repository),
            ("PTTL", repository),
            ("GET", REF),
            ("PTTL", REF),
            ("GET", mine),
            ("GET", password),
            ("PTTL", password),
        )

    def _ask(self, *commands: Command) -> None:
        wires: dict[Address, list[Command]] = {}
        for command in commands:
            wires.setdefault(self.node_of(command[1]), []).append(command)
        for address, some in wires.items():
            self.reading[address].ask(*some)

    def look_at_lock(self, now: float) -> None:
        self.lock_at = now + PAUSE
        self._ask(("EXISTS", records.lock_key(KEY)))


class Proxies:
    """So many simulated proxies, in a thread of their own; a context manager.

    nodes: where Redis is. node_of: which of them has a key. While they run: `told`, messages in all; `last(commit)`,
    when the last of them read that commit, by the monotonic clock.
    """

    def __init__(self, count: int, nodes: Sequence[Address], node_of: Callable[[str], Address]) -> None:
        self._proxies = [_Proxy(nodes, node_of) for _ in range(count)]
        self._selector = selectors.DefaultSelector()
        self._stop = False
        self._when: dict[bytes, list[float]] = {}
        for proxy in self._proxies:
            for wire in proxy.listening:
                self._selector.register(wire.socket, selectors.EVENT_READ, (proxy, wire, True))
            for wire in proxy.reading.values():
                self._selector.register(wire.socket, selectors.EVENT_READ, (proxy, wire, False))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Proxies:
        self._thread.start()
        while any(wire.expected for proxy in self._proxies for wire in proxy.listening):
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join(10)
        for proxy in self._proxies:
            for wire in (*proxy.listening, *proxy.reading.values()):
                wire.socket.close()
        self._selector.close()

    @property
    def told(self) -> int:
        return sum(proxy.told for proxy in self._proxies)

    def last(self, commit: str, seconds: float = 60.0) -> float:
        """When the last of them knew of a commit. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while len(self._when.get(commit.encode(), ())) < len(self._proxies):
            if time.monotonic() > deadline:
                raise TimeoutError("not all simulated proxies heard of a commit")
            time.sleep(0.002)
        return max(self._when[commit.encode()]) if self._proxies else time.monotonic()

    def _run(self) -> None:
        while not self._stop:
            for key, _ in self._selector.select(0.005):
                proxy, wire, listening = key.data
                replies = wire.received()
                if listening:
                    self._heard(proxy, wire)
                else:
                    self._read(proxy, replies)
            now = time.monotonic()
            for proxy in self._proxies:
                if proxy.lock_at and now >= proxy.lock_at:
                    proxy.look_at_lock(now)

    def _heard(self, proxy: _Proxy, wire: _Wire) -> None:
        asked = False
        while wire.parser.pushes:
            push = wire.parser.pushes.popleft()
            names = push[1] or ()
            proxy.told += len(names)
            for name in names:
                if name in _TOLD:
                    asked = True
                    if name == _TOLD[2]:  # purged: somebody looks at Forgejo, and the rest wait for him
                        now = time.monotonic()
                        proxy.lock_at, proxy.lock_until = now + PAUSE, now + OTHERS_PATIENCE
        if asked:
            proxy.read()

    def _read(self, proxy: _Proxy, replies: list[Any]) -> None:
        for reply in replies:
            if reply == 0 and proxy.lock_at:  # nobody looks any more
                proxy.lock_at = 0.0
                proxy.read()
            elif isinstance(reply, bytes) and reply.startswith(b'{"v":1,"commit":"'):
                commit = reply[17 : reply.index(b'"', 17)]
                if commit != proxy.knows:
                    proxy.knows = commit
                    proxy.lock_at = 0.0
                    self._when.setdefault(commit, []).append(time.monotonic())
        if proxy.lock_at and time.monotonic() > proxy.lock_until:
            proxy.lock_at = 0.0
