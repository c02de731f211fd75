# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""A client over HTTP/2 on asyncio's streams, by the library `h2`, that takes no more of an answer than it is told to.

What the library takes for the end of all, a first GOAWAY, it is not told of.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import h2.config
import h2.connection
import h2.events

from addon.lane.http2.frames import GOAWAY, HEAD_SIZE, unpack_head
from tests.addon.lane.lane_running import HOST, RunningLane
from tests.addon.net.tls_wire import client_context, open_secure
from tests.waiting import until


class Answered:
    """What has come of an answer."""

    def __init__(self) -> None:
        self.status = 0
        self.fields: dict[str, str] = {}
        self.body = bytearray()
        self.untaken = 0
        self.ended = False
        self.reset: int | None = None
        self.interim: list[int] = []


class Http2Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: Any, wide: bool) -> None:
        self._reader = reader
        self.writer = writer
        config = h2.config.H2Configuration(
            header_encoding="latin-1",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=True,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        if wide:
            self.h2.increment_flow_control_window(2**30)
        self.answers: dict[int, Answered] = {}
        self.goaways: list[tuple[int, int]] = []
        self.closed = False
        self.takes = True
        self.flush()
        self._task = asyncio.get_running_loop().create_task(self._read())

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.writer.write(data)

    def ask(
        self, path: str, *fields: tuple[str, str], method: str = "GET", host: str = HOST, body: bytes | None = None
    ) -> int:
        """Begin a request; returns its stream. body: None where none follows; what is empty follows by `send`."""
        stream: int = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", host), (":path", path)]
        self.answers[stream] = Answered()
        self.h2.send_headers(stream, [*pseudo, *fields], end_stream=body is None)
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self.flush()
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.h2.send_data(stream, data, end_stream=end)
        self.flush()

    def reset(self, stream: int, code: int = 8) -> None:
        self.h2.reset_stream(stream, code)
        self.flush()

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition)

    async def answer(self, stream: int) -> Answered:
        """Wait for the end of an answer."""
        answer = self.answers[stream]
        await self.until(lambda: answer.ended or answer.reset is not None or self.closed)
        return answer

    async def get(self, path: str, *fields: tuple[str, str], **more: Any) -> Answered:
        return await self.answer(self.ask(path, *fields, **more))

    async def _read(self) -> None:
        with contextlib.suppress(OSError):
            held = b""
            while data := await self._reader.read(1 << 18):
                held += data
                told, at = [], 0
                while len(held) - at >= HEAD_SIZE:
                    size, _, _ = unpack_head(held, at)
                    end = at + HEAD_SIZE + (size >> 8)
                    if end > len(held):
                        break
                    if size & 0xFF == GOAWAY:
                        last, code = held[at + HEAD_SIZE : at + HEAD_SIZE + 4], held[at + HEAD_SIZE + 4 : end]
                        self.goaways.append((int.from_bytes(code, "big"), int.from_bytes(last, "big")))
                    else:
                        told.append(held[at:end])
                    at = end
                held = held[at:]
                for event in self.h2.receive_data(b"".join(told)):
                    self._happened(event)
                self.flush()
        self.closed = True

    def _happened(self, event: h2.events.Event) -> None:
        answer = self.answers.get(getattr(event, "stream_id", None) or 0)
        if answer is None:
            return
        if isinstance(event, h2.events.InformationalResponseReceived):
            answer.interim.append(int({str(k): str(v) for k, v in event.headers or []}[":status"]))
        elif isinstance(event, h2.events.ResponseReceived):
            answer.fields = {str(name): str(value) for name, value in event.headers or []}
            answer.status = int(answer.fields.pop(":status"))
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data or b""
            answer.untaken += event.flow_controlled_length or 0
            if self.takes:
                self.take(event.stream_id or 0)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = int(event.error_code or 0)

    def take(self, stream: int) -> None:
        """Open the stream's window again, and the connection's, for what came."""
        answer = self.answers[stream]
        if answer.untaken and not answer.ended:
            with contextlib.suppress(Exception):  # it may have ended within the same bytes
                self.h2.acknowledge_received_data(answer.untaken, stream)
        answer.untaken = 0
        self.flush()

    def close(self) -> None:
        self._task.cancel()
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def http2_client(running: RunningLane, *, wide: bool = True, plain: bool = False) -> AsyncIterator[Http2Client]:
    """A client of a lane. wide: it takes as much on all streams as on each; else 64 KiB."""
    if plain:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    else:
        reader, writer = await open_secure(running.port, HOST, client_context("h2"))  # type: ignore[assignment]
    client = Http2Client(reader, writer, wide)
    try:
        yield client
    finally:
        client.close()
