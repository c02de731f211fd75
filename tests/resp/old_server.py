# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""An emulated Redis 5.0: RESP2 over real sockets, and no idea of HELLO, CLIENT SETINFO or CLIENT TRACKING.

Redis 5.0 cannot be had from PyPI or Debian any more, so its answers are written down here, with the texts that 5.0.14
has in `server.c`, `networking.c` and `db.c`. It looks a command up before it asks for the password, as 5.0 does: HELLO
is an unknown command even to a stranger, which is the answer on which a client falls back to AUTH.
"""

import contextlib
import fnmatch
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from tests.resp.servers import Reachable

OK: Final = b"+OK\r\n"
NULL: Final = b"$-1\r\n"
WRONG_TYPE: Final = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
SYNTAX: Final = b"-ERR syntax error\r\n"
NOT_A_NUMBER: Final = b"-ERR value is not an integer or out of range\r\n"

Args = list[bytes]
Answer = bytes | None
"""What a command writes; None means that it wrote by itself."""


class _Refused(Exception):
    """A command's own error reply."""


def bulk(value: bytes | None) -> bytes:
    return NULL if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def array(items: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(items) + b"".join(items)


def number(value: int) -> bytes:
    return b":%d\r\n" % value


class _Data:
    """Database → key → (value, moment of death in seconds of the epoch or None), under one lock."""

    def __init__(self, password: str | None) -> None:
        self.password = password
        self.lock = threading.RLock()
        self.databases: dict[int, dict[bytes, tuple[bytes, float | None]]] = {}
        self.versions: dict[tuple[int, bytes], int] = {}
        self.connections: dict[int, _Connection] = {}
        self.next_id = 0
        self.calls: dict[bytes, int] = {}

    def read(self, db: int, key: bytes) -> bytes | None:
        entry = self.databases.get(db, {}).get(key)
        if entry is None:
            return None
        if entry[1] is not None and entry[1] <= time.time():
            self.remove(db, key)
            return None
        return entry[0]

    def write(self, db: int, key: bytes, value: bytes, death: float | None = None) -> None:
        self.databases.setdefault(db, {})[key] = (value, death)
        self.versions[db, key] = self.versions.get((db, key), 0) + 1

    def remove(self, db: int, key: bytes) -> bool:
        if self.databases.get(db, {}).pop(key, None) is None:
            return False
        self.versions[db, key] = self.versions.get((db, key), 0) + 1
        return True

    def keys(self, db: int) -> list[bytes]:
        return [key for key in list(self.databases.get(db, {})) if self.read(db, key) is not None]


class _Connection(socketserver.StreamRequestHandler):
    """One client: its database, its name, its transaction, its subscriptions."""

    disable_nagle_algorithm = True
    data: _Data

    def setup(self) -> None:
        super().setup()
        assert isinstance(self.server, _Listener)
        self.data = self.server.data
        self.db = 0
        self.name = b""
        self.authenticated = self.data.password is None
        self.queue: list[Args] | None = None
        self.spoiled = False
        self.watched: dict[tuple[int, bytes], int] = {}
        self.channels: list[bytes] = []
        self.patterns: list[bytes] = []
        self.writing = threading.Lock()
        with self.data.lock:
            self.data.next_id += 1
            self.id = self.data.next_id
            self.data.connections[self.id] = self

    def finish(self) -> None:
        with self.data.lock:
            self.data.connections.pop(self.id, None)
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (args := self._request()) is not None:
                if not args:
                    continue
                self._send(self._answer(args))
                if args[0].upper() == b"QUIT":
                    return

    def _request(self) -> Args | None:
        line = self.rfile.readline()
        if not line.endswith(b"\r\n"):
            return None
        if not line.startswith(b"*"):
            return line.split()
        args = []
        for _ in range(int(line[1:])):
            head = self.rfile.readline()
            if not head.startswith(b"$"):
                self._send(b"-ERR Protocol error: expected '$', got '%c'\r\n" % (head[:1] or b"?"))
                return None
            args.append(self.rfile.read(int(head[1:]) + 2)[:-2])
        return args

    def _send(self, answer: Answer) -> None:
        if answer:
            with self.writing:
                self.wfile.write(answer)

    def _answer(self, args: Args) -> Answer:
        name = args[0].upper()
        command = COMMANDS.get(name)
        with self.data.lock:
            if command is None:
                beginning = b"".join(b"`%b`, " % arg for arg in args[1:])
                self.spoiled = self.queue is not None
                return b"-ERR unknown command `%b`, with args beginning with: %b\r\n" % (args[0], beginning)
            function, least, most = command
            if not least <= len(args) - 1 <= most:
                self.spoiled = self.queue is not None
                return b"-ERR wrong number of arguments for '%b' command\r\n" % args[0].lower()
            if not self.authenticated and name != b"AUTH":
                return b"-NOAUTH Authentication required.\r\n"
            if (self.channels or self.patterns) and name not in SUBSCRIBED:
                return b"-ERR only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT allowed in this context\r\n"
            if self.queue is not None and name not in (b"EXEC", b"DISCARD", b"MULTI", b"WATCH"):
                self.queue.append(args)
                return b"+QUEUED\r\n"
            self.data.calls[name] = self.data.calls.get(name, 0) + 1
            return self._run(function, args)

    def _run(self, function: "Command", args: Args) -> Answer:
        try:
            return function(self, args[1:])
        except _Refused as refusal:
            return bytes(refusal.args[0])
        except ValueError:
            return NOT_A_NUMBER

    # Transactions

    def multi(self, args: Args) -> Answer:
        if self.queue is not None:
            return b"-ERR MULTI calls can not be nested\r\n"
        self.queue, self.spoiled = [], False
        return OK

    def discard(self, args: Args) -> Answer:
        if self.queue is None:
            return b"-ERR DISCARD without MULTI\r\n"
        self.queue, self.watched = None, {}
        return OK

    def execute(self, args: Args) -> Answer:
        if self.queue is None:
            return b"-ERR EXEC without MULTI\r\n"
        queue, watched, self.queue, self.watched = self.queue, self.watched, None, {}
        if self.spoiled:
            return b"-EXECABORT Transaction discarded because of previous errors.\r\n"
        if any(self.data.versions.get(key, 0) != version for key, version in watched.items()):
            return b"*-1\r\n"
        return array([self._run(COMMANDS[queued[0].upper()][0], queued) or b"" for queued in queue])

    def watch(self, args: Args) -> Answer:
        for key in args:
            self.watched[self.db, key] = self.data.versions.get((self.db, key), 0)
        return OK

    def unwatch(self, args: Args) -> Answer:
        self.watched = {}
        return OK

    # Connection

    def auth(self, args: Args) -> Answer:
        if self.data.password is None:
            return b"-ERR Client sent AUTH, but no password is set\r\n"
        self.authenticated = args[0] == self.data.password.encode()
        return OK if self.authenticated else b"-ERR invalid password\r\n"

    def select(self, args: Args) -> Answer:
        if not args[0].isdigit() or int(args[0]) > 15:
            return b"-ERR DB index is out of range\r\n"
        self.db = int(args[0])
        return OK

    def ping(self, args: Args) -> Answer:
        if self.channels or self.patterns:
            return array([bulk(b"pong"), bulk(args[0] if args else b"")])
        return bulk(args[0]) if args else b"+PONG\r\n"

    def echo(self, args: Args) -> Answer:
        return bulk(args[0])

    def quit(self, args: Args) -> Answer:
        return OK

    def client(self, args: Args) -> Answer:
        word = args[0].upper()
        if word == b"ID":
            return number(self.id)
        if word == b"SETNAME" and len(args) == 2:
            self.name = args[1]
            return OK
        if word == b"GETNAME":
            return bulk(self.name or None)
        if word == b"LIST":
            rows = [b"id=%d name=%b db=%d\n" % (c.id, c.name, c.db) for c in self.data.connections.values()]
            return bulk(b"".join(rows))
        if word == b"KILL":
            return self._kill(args[1:])
        return b"-ERR Unknown subcommand or wrong number of arguments for '%b'. Try CLIENT HELP\r\n" % args[0]

    def _kill(self, args: Args) -> Answer:
        kinds = dict(zip([word.upper() for word in args[::2]], args[1::2]))
        victims = [c for c in self.data.connections.values() if c is not self]
        if b"ID" in kinds:
            victims = [c for c in victims if c.id == int(kinds[b"ID"])]
        for victim in victims:
            with contextlib.suppress(OSError):
                victim.connection.shutdown(socket.SHUT_RDWR)
        return number(len(victims))

    def info(self, args: Args) -> Answer:
        return bulk(b"# Server\r\nredis_version:5.0.14\r\nredis_mode:standalone\r\n# Replication\r\nrole:master\r\n")

    # Strings

    def get(self, args: Args) -> Answer:
        return bulk(self.data.read(self.db, args[0]))

    def set(self, args: Args) -> Answer:
        death, words = None, [word.upper() for word in args[2:]]
        while words:
            word = words.pop(0)
            if word in (b"EX", b"PX") and words:
                death = self._death(words.pop(0), 1 if word == b"EX" else 1000, b"set")
            elif word == b"NX" or word == b"XX":
                if (self.data.read(self.db, args[0]) is None) == (word == b"XX"):
                    return NULL
            else:
                return SYNTAX
        self.data.write(self.db, args[0], args[1], death)
        return OK

    def _death(self, text: bytes, per_second: int, command: bytes) -> float:
        if int(text) <= 0:
            raise _Refused(b"-ERR invalid expire time in %b\r\n" % command)
        return time.time() + int(text) / per_second

    def setex(self, args: Args) -> Answer:
        self.data.write(self.db, args[0], args[2], self._death(args[1], 1, b"setex"))
        return OK

    def psetex(self, args: Args) -> Answer:
        self.data.write(self.db, args[0], args[2], self._death(args[1], 1000, b"psetex"))
        return OK

    def setnx(self, args: Args) -> Answer:
        if self.data.read(self.db, args[0]) is not None:
            return number(0)
        self.data.write(self.db, args[0], args[1])
        return number(1)

    def append(self, args: Args) -> Answer:
        value = (self.data.read(self.db, args[0]) or b"") + args[1]
        self.data.write(self.db, args[0], value)
        return number(len(value))

    def strlen(self, args: Args) -> Answer:
        return number(len(self.data.read(self.db, args[0]) or b""))

    def incr(self, args: Args) -> Answer:
        return self.incrby([args[0], b"1"])

    def incrby(self, args: Args) -> Answer:
        value = int(self.data.read(self.db, args[0]) or b"0") + int(args[1])
        self.data.write(self.db, args[0], b"%d" % value)
        return number(value)

    def mget(self, args: Args) -> Answer:
        return array([bulk(self.data.read(self.db, key)) for key in args])

    def mset(self, args: Args) -> Answer:
        if len(args) % 2:
            return b"-ERR wrong number of arguments for MSET\r\n"
        for key, value in zip(args[::2], args[1::2]):
            self.data.write(self.db, key, value)
        return OK

    # Keys

    def delete(self, args: Args) -> Answer:
        return number(sum(self.data.read(self.db, key) is not None and self.data.remove(self.db, key) for key in args))

    def exists(self, args: Args) -> Answer:
        return number(sum(self.data.read(self.db, key) is not None for key in args))

    def type(self, args: Args) -> Answer:
        return b"+none\r\n" if self.data.read(self.db, args[0]) is None else b"+string\r\n"

    def expire(self, args: Args) -> Answer:
        value = self.data.read(self.db, args[0])
        if value is None:
            return number(0)
        self.data.write(self.db, args[0], value, time.time() + int(args[1]))
        return number(1)

    def pttl(self, args: Args) -> Answer:
        if self.data.read(self.db, args[0]) is None:
            return number(-2)
        death = self.data.databases[self.db][args[0]][1]
        return number(-1 if death is None else max(0, round((death - time.time()) * 1000)))

    def ttl(self, args: Args) -> Answer:
        left = int((self.pttl(args) or b"")[1:])
        return number(left if left < 0 else (left + 500) // 1000)

    def scan(self, args: Args) -> Answer:
        options = dict(zip([word.upper() for word in args[1::2]], args[2::2]))
        pattern = options.get(b"MATCH", b"*")
        return array(
            [bulk(b"0"), array([bulk(key) for key in self.data.keys(self.db) if fnmatch.fnmatchcase(key, pattern)])]
        )

    def dbsize(self, args: Args) -> Answer:
        return number(len(self.data.keys(self.db)))

    def flushdb(self, args: Args) -> Answer:
        for key in self.data.keys(self.db):
            self.data.remove(self.db, key)
        return OK

    def flushall(self, args: Args) -> Answer:
        for db in list(self.data.databases):
            for key in list(self.data.databases[db]):
                self.data.remove(db, key)
        return OK

    # Publish and subscribe

    def publish(self, args: Args) -> Answer:
        channel, payload, heard = args[0], bulk(args[1]), 0
        for other in list(self.data.connections.values()):
            if channel in other.channels:
                other._send(array([bulk(b"message"), bulk(channel), payload]))
                heard += 1
            for pattern in other.patterns:
                if fnmatch.fnmatchcase(channel, pattern):
                    other._send(array([bulk(b"pmessage"), bulk(pattern), bulk(channel), payload]))
                    heard += 1
        return number(heard)

    def subscribe(self, args: Args) -> Answer:
        return self._change(b"subscribe", self.channels, args, True)

    def psubscribe(self, args: Args) -> Answer:
        return self._change(b"psubscribe", self.patterns, args, True)

    def unsubscribe(self, args: Args) -> Answer:
        return self._change(b"unsubscribe", self.channels, args or list(self.channels), False)

    def punsubscribe(self, args: Args) -> Answer:
        return self._change(b"punsubscribe", self.patterns, args or list(self.patterns), False)

    def _change(self, kind: bytes, names: list[bytes], args: Args, wanted: bool) -> Answer:
        answers = []
        for name in args:
            if wanted and name not in names:
                names.append(name)
            elif not wanted and name in names:
                names.remove(name)
            answers.append(array([bulk(kind), bulk(name), number(len(self.channels) + len(self.patterns))]))
        return b"".join(answers or [array([bulk(kind), NULL, number(len(self.channels) + len(self.patterns))])])


Command = Callable[[_Connection, Args], Answer]
_MANY: Final = 1 << 20
_ARGUMENTS: Final = {
    (0, 0): "DBSIZE DISCARD EXEC MULTI QUIT UNWATCH",
    (0, 1): "FLUSHALL FLUSHDB INFO PING",
    (0, _MANY): "PUNSUBSCRIBE UNSUBSCRIBE",
    (1, 1): "AUTH ECHO GET INCR PTTL SELECT STRLEN TTL TYPE",
    (1, _MANY): "CLIENT DEL EXISTS MGET PSUBSCRIBE SCAN SUBSCRIBE UNLINK WATCH",
    (2, 2): "APPEND EXPIRE INCRBY PUBLISH SETNX",
    (2, _MANY): "MSET SET",
    (3, 3): "PSETEX SETEX",
}
"""The least and the most arguments, and the commands that take so many."""
_OTHERWISE: Final = {"DEL": "delete", "EXEC": "execute", "UNLINK": "delete"}
"""Methods that are not called as their command is."""
COMMANDS: Final[dict[bytes, tuple[Command, int, int]]] = {
    name.encode(): (getattr(_Connection, _OTHERWISE.get(name, name.lower())), *arguments)
    for arguments, names in _ARGUMENTS.items()
    for name in names.split()
}
SUBSCRIBED: Final = frozenset({b"SUBSCRIBE", b"PSUBSCRIBE", b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"PING", b"QUIT"})


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, data: _Data) -> None:
        self.data = data
        super().__init__(("127.0.0.1", port), _Connection)


class OldServer(Reachable):
    """The emulated server: reached like `servers.Server`, killed and restarted like it."""

    def __init__(self, password: str | None = None) -> None:
        super().__init__("redis 5.0 (emulated)", 0, password)
        self._listener: _Listener | None = None
        self.restart()

    def calls(self, name: str) -> int:
        """How often the command `name` was executed."""
        assert self._listener is not None
        return self._listener.data.calls.get(name.encode().upper(), 0)

    def kill(self) -> None:
        """Stop listening and cut every connection."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown()
            listener.server_close()
            with listener.data.lock:
                for connection in listener.data.connections.values():
                    with contextlib.suppress(OSError):
                        connection.connection.shutdown(socket.SHUT_RDWR)

    def restart(self) -> None:
        """Kill, and start again, empty, on the same port."""
        self.kill()
        listener = self._listener = _Listener(self.port, _Data(self.password))
        self.port = listener.server_address[1]
        threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@contextlib.contextmanager
def start_old_server(password: str | None = None) -> Iterator[OldServer]:
    """An emulated Redis 5.0 for the time of a `with`."""
    server = OldServer(password)
    try:
        yield server
    finally:
        server.kill()
