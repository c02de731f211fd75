# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a process knows of the supervisor that started it: its sockets, its settings, its part of the whole, the bus.

Knows neither mitmproxy nor pages. All of it comes through one environment variable with numbers of inherited
descriptors. The text of the settings is inherited too and not read again from its file: a worker that is restarted
must be like its siblings, even where the file has been changed, or spoilt, since.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from addon.net.listeners import Inherited
from addon.settings.schema import Settings

logger = logging.getLogger(__name__)

VARIABLE = "PAGES_WORKER"
Key = tuple[str, str]
"""A repository: owner and name."""
Purge = Callable[[Key | None], Awaitable[object]]
Hint = Callable[[Key], Awaitable[object]]
MOST_LINE = 4 * 1024 * 1024
"""Bytes of what one process tells the others at a time."""
PATIENCE = 1.0
"""Seconds that a sibling may take to answer; who takes longer is left out."""


@dataclass(frozen=True)
class Worker:
    """This process among its siblings. number: from 0. sockets: descriptors by address."""

    number: int
    count: int
    sockets: dict[str, tuple[int, ...]]
    control: int
    text: bytes

    def listeners(self, host: str, port: int) -> list[socket.socket]:
        """The sockets that listen on an address of the settings; none if the supervisor opened none there."""
        return [Inherited(fileno=os.dup(number)) for number in self.sockets.get(address_key(host, port), ())]


@cache
def joined() -> Worker | None:
    """The supervisor's child that this process is; None if it was started by itself."""
    given = os.environ.pop(VARIABLE, None)
    if given is None:
        return None
    said = json.loads(given)
    text = b""
    while part := os.pread(said["settings"], 1 << 20, len(text)):  # the offset is shared with the siblings
        text += part
    sockets = {key: tuple(numbers) for key, numbers in said["sockets"].items()}
    return Worker(said["number"], said["count"], sockets, said["control"], text)


def address_key(host: str, port: int) -> str:
    """By what name the sockets of an address are handed on."""
    return f"{host}|{port}"


def share_of(settings: Settings, count: int) -> Settings:
    """The settings of one of so many processes: what they say of memory and connections is for all together."""
    if count == 1:
        return settings

    def part(whole: int) -> int:
        return -(-whole // count)

    return replace(
        settings,
        memory_cache_size=settings.memory_cache_size // count,
        max_connections_per_address=part(settings.max_connections_per_address),
        forgejo_connections=part(settings.forgejo_connections),
        redis_max_connections=max(2, part(settings.redis_max_connections)),
        redis_pool_size=max(1, part(settings.redis_pool_size)),
    )


class Bus:
    """Tells siblings which repositories to look at again, and hears it from them; asks them what they count."""

    def __init__(self, worker: Worker | None) -> None:
        self._worker = worker
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self.answers: dict[str, Callable[[], object]] = {}
        """What siblings may ask for, by name: each says something that JSON can."""
        self.works: dict[str, Callable[[Key], Awaitable[object]]] = {}
        """What siblings may have done about a repository that takes a while, by name."""
        self._working: set[asyncio.Future[object]] = set()
        self._questions: dict[int, tuple[dict[int, Any], asyncio.Event]] = {}
        self._asked = 0
        self.patience: float | None = None
        """Seconds that the end of this process may take, if the supervisor has said it."""
        self.cut = asyncio.Event()
        """The supervisor has no more patience."""

    async def start(self, purge: Purge, hint: Hint, settle: Callable[[Key], object]) -> None:
        """Listen from now on. All are told of a repository.

        purge: it is to be looked at again (None: everything). hint: somebody wrote to it. settle: its custom domains
        have changed.
        """
        if self._worker is None:
            return
        control = socket.socket(fileno=self._worker.control)
        reader, self._writer = await asyncio.open_unix_connection(sock=control, limit=MOST_LINE)
        self._task = asyncio.get_running_loop().create_task(self._listen(reader, purge, hint, settle))

    def ready(self) -> None:
        """Say that this process serves."""
        self._say({"ready": True})

    def beat(self) -> None:
        """Say that this process goes on."""
        self._say({"beat": True})

    async def ask(self, what: str) -> dict[int, Any]:
        """What the siblings answer to that, by their numbers; those who do not answer soon are not in it."""
        if self._worker is None or self._worker.count < 2 or self._writer is None:
            return {}
        self._asked += 1
        number, complete = self._asked, asyncio.Event()
        told: dict[int, Any] = {}
        self._questions[number] = told, complete
        self._say({"ask": what, "number": number, "from": self._worker.number})
        try:
            async with asyncio.timeout(PATIENCE):
                await complete.wait()
        except TimeoutError:
            pass
        finally:
            del self._questions[number]
        return told

    def _answer(self, what: str, number: int, asker: int) -> None:
        answer = self.answers.get(what)
        if answer is not None and self._worker is not None:
            self._say({"answer": answer(), "number": number, "to": asker, "from": self._worker.number})

    def _answered(self, said: dict[str, Any]) -> None:
        told, complete = self._questions.get(said["number"], ({}, asyncio.Event()))
        told[said["from"]] = said["answer"]
        if self._worker is not None and len(told) >= self._worker.count - 1:
            complete.set()

    def tell(self, what: str, key: Key | None) -> None:
        """Have the siblings do something about a repository, or about everything (None)."""
        self._say({"do": what, "key": key})

    async def _listen(
        self, reader: asyncio.StreamReader, purge: Purge, hint: Hint, settle: Callable[[Key], object]
    ) -> None:
        with contextlib.suppress(OSError):  # a reset: it was killed, and had not read all that was said to it
            while line := await reader.readline():
                said = json.loads(line)
                key = said.get("key")
                try:
                    if "ask" in said:
                        self._answer(said["ask"], said["number"], said["from"])
                    elif "answer" in said:
                        self._answered(said)
                    elif said["do"] == "leave":
                        self.patience = said["seconds"]
                        os.kill(os.getpid(), signal.SIGTERM)
                    elif said["do"] == "cut":
                        self.cut.set()
                    elif said["do"] in self.works and key is not None:
                        self._work(self.works[said["do"]]((key[0], key[1])))
                    elif said["do"] == "purge":
                        await purge(None if key is None else (key[0], key[1]))
                    elif said["do"] == "hint":
                        await hint((key[0], key[1]))
                    else:
                        settle((key[0], key[1]))
                except Exception:
                    logger.exception("a request from another process failed")
        # The supervisor is gone, and with it who would end or restart this process.
        os.kill(os.getpid(), signal.SIGTERM)

    def _work(self, work: Awaitable[object]) -> None:
        """Begin it, and go on listening."""
        task = asyncio.ensure_future(work)
        self._working.add(task)
        task.add_done_callback(self._worked)

    def _worked(self, task: "asyncio.Future[object]") -> None:
        self._working.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a request from another process failed", exc_info=error)

    def _say(self, message: dict[str, object]) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def aclose(self) -> None:
        """The end; nothing is heard any more."""
        for work in list(self._working):
            work.cancel()
        if self._task is not None:
            self._task.cancel()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
