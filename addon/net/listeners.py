# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Listening sockets: opened once, shared by processes, and closed without losing a connection.

Knows sockets and nothing of what is served. The surprising part is the end: to close a listening socket resets whoever
waits in its queue, and as long as it is open new ones join. So the kernel is first told to drop packets that ask for a
new connection (their senders ask again a second later, and then meet whoever listens by then); the queue, to which
nothing is added any more, is emptied by those who serve; only then is the socket closed.
"""

import array
import asyncio
import contextlib
import errno
import logging
import math
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any

logger = logging.getLogger(__name__)

BACKLOG = 1024
AT_A_TIME = 16
"""Connections that one process takes from a shared queue before it does something else: what it left, others take."""
_TOLD_EVERY = 60.0
_SO_ATTACH_FILTER = 26
# Classic BPF over a TCP header: drop what has SYN and not ACK, let all else pass.
_NO_NEW_CONNECTIONS = (
    (0x30, 0, 0, 13),  # A = the flags
    (0x54, 0, 0, 0x12),  # A &= SYN | ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # then nothing is left of the packet
    (0x06, 0, 0, 0xFFFFFFFF),
)


class AcceptPauses:
    """Of accepting that pauses, because no descriptor is left, says so once a minute, as one line.

    asyncio pauses by itself, for a second each time, and tells the loop's exception handler each time, with a traceback
    in mitmproxy. State: what was told last, and how often it was not.
    """

    MESSAGE = "socket.accept() out of system resource"

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic) -> None:
        """Stands before the loop's exception handler, which gets all else."""
        self._next = loop.get_exception_handler()
        self._clock = clock
        self._told_at = -math.inf
        self._untold = 0
        loop.set_exception_handler(self)

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("message") != self.MESSAGE:
            if self._next is None:
                loop.default_exception_handler(context)
            else:
                self._next(loop, context)
            return
        now = self._clock()
        if now - self._told_at < _TOLD_EVERY:
            self._untold += 1
            return
        logger.warning(
            "cannot accept connections: out of file descriptors or memory (%s); %d more times since the last message: "
            "raise LimitNOFILE= of the service, or `ulimit -n`",
            context.get("exception"),
            self._untold,
        )
        self._told_at, self._untold = now, 0


class Inherited(socket.socket):
    """A socket that another process listens on too: how long its queue is, is settled already."""

    def listen(self, backlog: int = 0, /) -> None:
        """Does nothing; asyncio would make the queue as short as what it accepts at a time."""


def opened(host: str, port: int) -> list[socket.socket]:
    """Listen on an address (an empty host: all of them). Port 0 is one free port for all. Raises OSError."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                listener = socket.socket(family, kind, protocol)
            except OSError as error:  # an IPv6 address on a machine without IPv6
                missing = error
                continue
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            wanted = listeners[0].getsockname()[1] if port == 0 and len(listeners) > 1 else address[1]
            try:
                listener.bind((address[0], wanted, *address[2:]))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or len(found) == 1:
                    raise
                listeners.pop().close()  # localhost may name ::1 where there is none
                missing = error
                continue
            listener.listen(BACKLOG)
            listener.setblocking(False)
        if not listeners:
            raise missing or OSError(errno.EADDRNOTAVAIL, "no such address here")
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def refuse_new(listeners: Iterable[socket.socket]) -> None:
    """Let nobody join the queues any more, in all processes; who is in them stays. Where that cannot be, do nothing."""
    # An array and not ctypes, which wants memory that is writable and executable: services are denied that.
    code = array.array("B", b"".join(struct.pack("HBBI", *step) for step in _NO_NEW_CONNECTIONS))
    program = struct.pack("HL", len(_NO_NEW_CONNECTIONS), code.buffer_info()[0])
    for listener in listeners:
        with contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


async def drained(listeners: Iterable[socket.socket], *, grace: float = 0.2, patience: float = 5.0) -> bool:
    """Wait until nobody is in the queues; False if that takes longer than `patience` seconds.

    grace: seconds for which somebody may still join whose handshake was under way.
    """
    waiting = select.poll()
    for listener in listeners:
        waiting.register(listener.fileno(), select.POLLIN)
    now = asyncio.get_running_loop().time
    began = empty_since = now()
    while now() - began < patience:
        if waiting.poll(0):
            empty_since = now()
        elif now() - empty_since >= grace:
            return True
        await asyncio.sleep(0.01)
    return False


async def admit_accepted(listeners: Iterable[socket.socket]) -> None:
    """Take nobody more from the queues of asyncio's servers, and let in whom they have just taken.

    asyncio makes a connection of an accepted socket some rounds of the loop later; in Python 3.11, a server that was
    closed in between drops it with an assertion, and its client is reset.
    """
    loop = asyncio.get_running_loop()
    for listener in listeners:
        loop.remove_reader(listener.fileno())
    for _ in range(3):
        await asyncio.sleep(0)
