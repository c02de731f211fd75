# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A TCP proxy that misbehaves on purpose, at an exact byte, and a TLS front for servers that have no TLS.

`ChaosProxy` sits between a client and a real server; a `Fault` says what happens after how many bytes of which
direction: cut (FIN), reset (RST), pause, say the last piece twice, go on byte by byte. Each connection is one thread
that owns both sockets and only polls: a close() in another thread would neither wake a recv() nor send the RST until
that recv() returned.
"""

import asyncio
import collections
import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

Address = tuple[str, int]
Direction = Literal["to client", "to server"]
Kind = Literal["cut", "reset", "pause", "repeat", "trickle", "inject"]

_PIECE: Final = 1 << 16


@dataclass(frozen=True)
class Fault:
    """What happens once, on each connection it is meant for, after `after` bytes went in `direction`.

    `cut` and `reset` end both sides; `pause` holds the direction for `seconds`; `repeat` sends the piece that was being
    sent, as far as it got, a second time; `trickle` sends the rest byte by byte, `seconds` apart; `inject` puts `data`
    in between. A fault waits for the byte that it holds back, so `after=0` to the client strikes when the reply is
    there; with `at_once` it strikes when the bytes before it have gone. `connection` counts from 0; None means every.
    """

    kind: Kind
    after: int = 0
    direction: Direction = "to client"
    seconds: float = 0.0
    data: bytes = b""
    connection: int | None = None
    at_once: bool = False


class _Flow:
    """One direction of a connection: its pieces that wait, its faults that are left, how far it is."""

    def __init__(self, source: socket.socket, target: socket.socket, faults: list[Fault]) -> None:
        self.source = source
        self.target = target
        self.faults = sorted(faults, key=lambda fault: fault.after)
        self.waiting: collections.deque[bytes | Fault | threading.Event] = collections.deque()
        self.position = 0
        self.taken = bytearray()
        self.held_until = 0.0
        self.step: float | None = None
        self.ended = False

    def take(self, piece: bytes) -> None:
        """Line `piece` up to be sent, with the faults that strike within it."""
        self.taken += piece
        start = 0
        while self.faults:
            fault = self.faults[0]
            at = fault.after - self.position
            if at > len(piece) or (at == len(piece) and not fault.at_once):
                break
            self.faults.pop(0)
            if fault.kind == "repeat":
                # In one piece: what comes later than the reply it repeats is a late reply, which is `inject`.
                self.put(piece[start:at] + piece[:at] + piece[at:])
                start = len(piece)
                continue
            self.put(piece[start:at])
            start = max(start, at)
            if fault.kind == "inject":
                self.put(fault.data)
            else:
                self.waiting.append(fault)
        self.put(piece[start:])
        self.position += len(piece)

    def put(self, piece: bytes) -> None:
        if piece:
            self.waiting.append(piece)


class _Link(threading.Thread):
    """One proxied connection."""

    def __init__(self, proxy: "ChaosProxy", number: int, client: socket.socket, server: socket.socket) -> None:
        super().__init__(name=f"chaos {number}", daemon=True)
        self.proxy = proxy
        faults = [f for f in proxy.faults if f.connection in (None, number)]
        self.to_client = _Flow(server, client, [f for f in faults if f.direction == "to client"])
        self.to_server = _Flow(client, server, [f for f in faults if f.direction == "to server"])
        self.client, self.server = client, server
        self.orders: collections.deque[bytes | Kind | Fault | threading.Event] = collections.deque()
        self.wake_reader, self.wake_writer = socket.socketpair()
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def order(self, what: bytes | Kind | Fault | threading.Event) -> None:
        """Bytes for the client, an event to set when they are gone, a fault from now on, `cut`, `reset`; any thread."""
        self.orders.append(what)
        self.wake()

    def wake(self) -> None:
        with contextlib.suppress(OSError):
            self.wake_writer.send(b"!")

    def run(self) -> None:
        try:
            while self._turn():
                pass
        except OSError:
            self._end(reset=True)
        finally:
            for end in (self.client, self.server, self.wake_reader, self.wake_writer):
                end.close()
            self.proxy._gone(self)

    def _turn(self) -> bool:
        while self.orders:
            order = self.orders.popleft()
            if isinstance(order, bytes):
                self.to_client.put(order)
            elif isinstance(order, threading.Event):
                self.to_client.waiting.append(order)
            elif isinstance(order, Fault):
                flow = self.to_client if order.direction == "to client" else self.to_server
                flow.faults.append(replace(order, after=flow.position + order.after))
                flow.faults.sort(key=lambda fault: fault.after)
            else:
                return self._end(reset=order == "reset")
        now, patience = time.monotonic(), 5.0
        poll = select.poll()
        poll.register(self.wake_reader, select.POLLIN)
        events: dict[int, int] = {}
        frozen = self.proxy.frozen
        for flow in () if frozen else (self.to_client, self.to_server):
            if not flow.ended and len(flow.waiting) < 64:
                events[flow.source.fileno()] = events.get(flow.source.fileno(), 0) | select.POLLIN
            if flow.waiting and flow.held_until > now:
                patience = min(patience, flow.held_until - now)
            elif flow.waiting:
                events[flow.target.fileno()] = events.get(flow.target.fileno(), 0) | select.POLLOUT
        for number, mask in events.items():
            poll.register(number, mask)
        ready = dict(poll.poll(patience * 1000 + 1))
        if self.wake_reader.fileno() in ready:
            self.wake_reader.recv(4096)
            return True
        now = time.monotonic()
        for flow in () if frozen else (self.to_client, self.to_server):
            if ready.get(flow.source.fileno(), 0) & ~select.POLLOUT and not flow.ended:
                self._receive(flow)
            while flow.waiting and flow.held_until <= now:
                if not self._send(flow):
                    break
                if flow.target.fileno() < 0:
                    return False
        if all(flow.ended and not flow.waiting for flow in (self.to_client, self.to_server)):
            return self._end(reset=False)
        return True

    def _receive(self, flow: _Flow) -> None:
        with contextlib.suppress(BlockingIOError):
            piece = flow.source.recv(_PIECE)
            if piece:
                flow.take(piece)
            else:
                # One side closed: what is under way to the other still arrives, then both end.
                flow.ended = True
                self.to_client.ended = self.to_server.ended = True

    def _send(self, flow: _Flow) -> bool:
        """Do the next thing that waits; False when the socket takes no more or time must pass."""
        head = flow.waiting.popleft()
        if isinstance(head, bytes):
            part = head[:1] if flow.step is not None else head
            try:
                sent = flow.target.send(part)
            except BlockingIOError:
                sent = 0
            if sent < len(head):
                flow.waiting.appendleft(head[sent:])
            if flow.step:
                flow.held_until = time.monotonic() + flow.step
                return False
            return sent > 0
        if isinstance(head, threading.Event):
            head.set()
        elif head.kind == "trickle":
            flow.step = head.seconds
        elif head.kind == "pause":
            flow.held_until = time.monotonic() + head.seconds
            return False
        else:
            self._end(reset=head.kind == "reset")
        return True

    def _end(self, reset: bool) -> bool:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                if reset:
                    # Linger 0: close() sends RST and throws away what was not sent.
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    end.shutdown(socket.SHUT_WR)
            end.close()
        return False


class ChaosProxy:
    """Listens on a port of its own and forwards to `upstream`; `faults` strike connections made after they were set."""

    host: Final = "127.0.0.1"

    def __init__(self, upstream: Address, *faults: Fault) -> None:
        self.upstream = upstream
        self.faults: tuple[Fault, ...] = faults
        self.frozen = False
        self.accepted = 0
        self._lock = threading.Lock()
        self._links: dict[int, _Link] = {}
        self._transcripts: dict[int, tuple[_Flow, _Flow]] = {}
        self._closed = False
        self._listener: socket.socket | None = None
        self.port = 0
        self.listen()

    @property
    def address(self) -> Address:
        return (self.host, self.port)

    @property
    def open_connections(self) -> int:
        return len(self._links)

    def __enter__(self) -> "ChaosProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def listen(self) -> None:
        """Listen (again), on the same port as before."""
        listener = self._listener = socket.create_server((self.host, self.port), backlog=256)
        self.port = listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), name="chaos listener", daemon=True).start()

    def refuse(self) -> None:
        """Stop listening: connecting is refused from now on. Connections that are open stay."""
        listener, self._listener = self._listener, None
        if listener is not None:
            # shutdown() wakes the accept() in the other thread; close() alone does not.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def freeze(self) -> None:
        """Forward nothing any more, close nothing: a half-open network."""
        self.frozen = True
        self._wake()

    def thaw(self) -> None:
        self.frozen = False
        self._wake()

    def inject(self, data: bytes) -> None:
        """Send `data` to every client, though no server said it; returns when it was sent."""
        for link in list(self._links.values()):
            sent = threading.Event()
            link.order(data)
            link.order(sent)
            sent.wait(5)

    def arm(self, fault: Fault) -> None:
        """Let `fault` strike the connections that are open now; its bytes count from here."""
        self._order(fault)

    def cut(self) -> None:
        """Close every connection in an orderly way."""
        self._order("cut")

    def reset(self) -> None:
        """Reset every connection."""
        self._order("reset")

    def forwarded(self, number: int = 0) -> tuple[bytes, bytes]:
        """What came from the client and from the server so far on the connection `number`."""
        to_client, to_server = self._transcripts[number]
        return bytes(to_server.taken), bytes(to_client.taken)

    def close(self) -> None:
        self._closed = True
        self.refuse()
        links = list(self._links.values())
        self._order("cut")
        for link in links:
            link.join(2)

    def _order(self, what: Kind | Fault) -> None:
        for link in list(self._links.values()):
            link.order(what)

    def _wake(self) -> None:
        for link in list(self._links.values()):
            link.wake()

    def _gone(self, link: _Link) -> None:
        with self._lock:
            for number in [number for number, other in self._links.items() if other is link]:
                del self._links[number]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.upstream, timeout=5)
            except OSError:
                client.close()
                continue
            with self._lock:
                number, self.accepted = self.accepted, self.accepted + 1
                link = _Link(self, number, client, server)
                self._links[number] = link
                self._transcripts[number] = (link.to_client, link.to_server)
            link.start()
            if self._closed:
                link.order("cut")


@contextlib.contextmanager
def blackhole() -> Iterator[Address]:
    """An address whose connects are neither taken nor refused: a listener whose queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


class TlsFront:
    """Ends TLS in front of `upstream` and forwards in the clear; closes as its upstream closes."""

    host: Final = "127.0.0.1"

    def __init__(self, upstream: Address, context: ssl.SSLContext) -> None:
        self.upstream = upstream
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="TLS front", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def address(self) -> Address:
        return (self.host, self.port)

    def __enter__(self) -> "TlsFront":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, self.host, 0, ssl=self._context, backlog=256)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            upstream_reader, upstream_writer = await asyncio.open_connection(*self.upstream)
            flows = [
                asyncio.create_task(self._forward(reader, upstream_writer)),
                asyncio.create_task(self._forward(upstream_reader, writer)),
            ]
            await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
            for flow in flows:
                flow.cancel()
            upstream_writer.close()
        with contextlib.suppress(OSError):
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_PIECE):
                writer.write(data)
                await writer.drain()

    async def _stop(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
