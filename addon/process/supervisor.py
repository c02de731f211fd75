# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The process that `pages serve` is: it opens the listening sockets once and keeps the workers that serve them.

Knows processes and signals, and neither mitmproxy nor pages. SIGHUP starts a new generation of workers, of the program
and the settings as they are by then, on the same sockets, and ends the old one when the new one serves; where it cannot
start, the old one stays. Who loads something large at that moment goes on doing so: the old workers take no more
visitors, and end when the last one has all of it, within minutes. One socket for all, not one each with SO_REUSEPORT:
there, what waits in the queue of a process that ends is lost. The same code supervises a single worker, so that nothing
is special about it.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import IO

from addon.net.listeners import drained, opened, refuse_new
from addon.process.log_format import log_from_supervisor
from addon.process.worker import MOST_LINE, VARIABLE, address_key
from addon.settings.file_checks import problems
from addon.settings.schema import Settings, SettingsError, load

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60.0
"""How long a worker may take to serve."""
END_SECONDS = 35.0
"""How long it may take to end; it cuts what it has under way after 25."""
LEAVE_SECONDS = 600.0
"""How long those of before may take after a reload to answer what they have under way."""
HURRY_SECONDS = 25.0
"""How long they may take from the next reload or the end on."""
STILL_SECONDS = 10
"""How long nothing may be heard of a worker that serves; then its event loop stands, and it is replaced."""
DUMP_SECONDS = 2.0
"""How long a worker that stands has to write where; then it is killed."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
STEADY_SECONDS = 60.0
"""A worker that served this long is restarted as one that never failed."""
_MOST_WAITING = 1 << 20
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from addon.commands.serve import work; sys.exit(work(sys.argv[2]))"
)

Sockets = dict[str, list[socket.socket]]


class StartFailed(Exception):
    """A generation cannot serve; says why."""


def supervise(config: Path, processes: int | None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. processes: instead of what the settings say."""
    log_from_supervisor()
    return asyncio.run(Supervisor(config, processes).run())


class Supervisor:
    """State: the sockets that are open, the generation that serves, and those that are ending, with the addresses that
    they alone have open.
    """

    def __init__(self, config: Path, processes: int | None) -> None:
        self._config = config
        self._processes = processes
        self._sockets: Sockets = {}
        self._current: Generation | None = None
        self._endings: dict[asyncio.Task[None], tuple[Generation, frozenset[str]]] = {}
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Event()

    async def run(self) -> int:
        """From the start to the end; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reloading.set)
        code = 0
        watchdog = loop.create_task(self._watchdog())
        try:
            await self._unless_stopped(self._begin())
            if not self._stopping.is_set():
                _notify("READY=1", "STATUS=serving")
        except StartFailed as fault:
            logger.error("%s", fault)
            code = 1
        while code == 0 and not self._stopping.is_set():
            await self._unless_stopped(self._reloading.wait())
            if self._reloading.is_set() and not self._stopping.is_set():
                self._reloading.clear()
                _notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
                status = "serving, settings reloaded"
                try:
                    await self._unless_stopped(self._begin())
                except StartFailed as fault:
                    logger.error("reload failed, the previous settings stay in use: %s", fault)
                    status = "reload failed, running with the previous settings; see the log"
                _notify("READY=1", f"STATUS={status}{self._with()}")
        _notify("STOPPING=1")
        watchdog.cancel()
        await self._end()
        return code

    def _with(self) -> str:
        count = self._current.count if self._current is not None else 0
        return f" ({count} {'process' if count == 1 else 'processes'})"

    async def _watchdog(self) -> None:
        """Tell systemd that we go on, twice in each WatchdogSec, for as long as a worker does."""
        if not os.environ.get("NOTIFY_SOCKET") or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return
        interval = int(os.environ.get("WATCHDOG_USEC") or 0) / 2_000_000
        while interval > 0:
            await asyncio.sleep(interval)
            if self._current is None or self._current.alive:
                _notify("WATCHDOG=1")

    async def _unless_stopped(self, work: Coroutine[None, None, object]) -> None:
        """Do something, or as much of it as can be done until the end is asked for."""
        doing = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not doing.done():
            doing.cancel()
            with contextlib.suppress(asyncio.CancelledError, StartFailed):
                await doing
            return
        doing.result()

    async def _begin(self) -> None:
        """Start a generation, and let the one before it end. Raises StartFailed."""
        text, settings = self._read()
        self._hurry()
        sockets = dict(self._sockets)
        before = self._current
        new: Sockets = {}
        generation: Generation | None = None
        try:
            for address in (*settings.listen, *settings.admin_listen):
                key = address_key(address.host, address.port)
                if key not in sockets:
                    await self._left(key, str(address))
                    try:
                        sockets[key] = new[key] = opened(address.host, address.port)
                    except OSError as error:
                        raise StartFailed(f"cannot listen on {address}: {error.strerror or error}") from None
            private = {address_key(each.host, each.port) for each in settings.admin_listen}
            wanted = {address_key(each.host, each.port) for each in settings.listen} | private
            mine = {key: listeners for key, listeners in sockets.items() if key in wanted}
            count = self._processes or settings.processes
            generation = Generation(self._config, text, mine, private, count)
            await generation.start()
        except BaseException:
            for listener in _all(new):
                listener.close()
            if generation is not None:
                await generation.end()
            raise
        self._current, self._sockets = generation, sockets
        logger.info("%d %s", count, "processes are serving" if count > 1 else "process is serving")
        if before is not None:
            left = {key: listeners for key, listeners in sockets.items() if key not in wanted}
            self._sockets = mine
            ending = asyncio.get_running_loop().create_task(_retire(left, before.leave()))
            self._endings[ending] = before, frozenset(left)
            ending.add_done_callback(self._endings.pop)

    def _hurry(self) -> None:
        """Of those before this generation, there is one at most."""
        for generation, _ in self._endings.values():
            generation.hurried.set()

    async def _left(self, key: str, address: str) -> None:
        """Wait until no worker that is ending has an address open that was taken out of the settings by a reload."""
        if holding := [ending for ending, (_, left) in self._endings.items() if key in left]:
            logger.info("waiting for the previous workers to leave %s", address)
            await asyncio.wait(holding)

    def _read(self) -> tuple[bytes, Settings]:
        try:
            text = self._config.read_bytes()
            settings = load(self._config, text=text)
        except OSError as error:
            raise StartFailed(f"{self._config}: {error.strerror}") from None
        except SettingsError as error:
            raise StartFailed(str(error)) from None
        if unusable := problems(settings, make=True):
            raise StartFailed("\n".join(f"{self._config}: {problem}" for problem in unusable))
        log_from_supervisor(settings.log_format)
        return text, settings

    async def _end(self) -> None:
        current, sockets = self._current, self._sockets
        self._current, self._sockets = None, {}
        self._hurry()
        if current is not None:
            await _retire(sockets, current.end())
        if self._endings:
            await asyncio.wait(self._endings)


class Generation:
    """Workers with the same settings on the same sockets, each restarted when it ends by itself."""

    def __init__(self, config: Path, text: bytes, sockets: Sockets, private: set[str], count: int) -> None:
        """private: the names of the sockets that are for worker 0 alone."""
        self._config = config
        self._text = text
        self._sockets = sockets
        self._private = private
        self.count = count
        self.hurried = asyncio.Event()
        """It has left, and somebody waits for it to be gone."""
        self._ended = asyncio.Event()
        self._tending: list[asyncio.Task[None]] = []
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._buses: dict[int, asyncio.StreamWriter] = {}
        self._silent: dict[int, int] = {}  # seconds since something was heard of those that serve
        self._watching: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether a worker has told of itself lately."""
        return any(silent < STILL_SECONDS for silent in self._silent.values())

    async def start(self) -> None:
        """Return when all serve; raises StartFailed as soon as one cannot."""
        loop = asyncio.get_running_loop()
        serving: list[asyncio.Future[None]] = [loop.create_future() for _ in range(self.count)]
        self._tending = [loop.create_task(self._tend(number, each)) for number, each in enumerate(serving)]
        try:
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.gather(*serving)
        except TimeoutError:
            raise StartFailed(f"no answer from a worker within {READY_SECONDS:g} s") from None
        self._watching = loop.create_task(self._watch())

    async def _watch(self) -> None:
        """Replace workers that serve and are not heard of any more, but for those that somebody has stopped on purpose.

        Counted in turns of our own loop, not by the clock: where it was late itself, the whole machine was.
        """
        while True:
            await asyncio.sleep(1.0)
            for number, process in list(self._running.items()):
                if number not in self._silent or _is_stopped(process.pid):
                    continue
                self._silent[number] += 1
                if self._silent[number] == STILL_SECONDS:
                    said = "worker %d (process %d) has stood still for %d s and is replaced"
                    logger.error(said, number, process.pid, STILL_SECONDS)
                    with contextlib.suppress(ProcessLookupError):
                        process.send_signal(signal.SIGABRT)  # it writes where it stands (faulthandler)
                elif self._silent[number] >= STILL_SECONDS + DUMP_SECONDS:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()

    async def leave(self) -> None:
        """End all workers once they have answered what they have under way."""
        self._ended.set()
        self._tell({"do": "leave", "key": None, "seconds": LEAVE_SECONDS})
        for number, process in self._running.items():
            if number not in self._silent:  # it serves nobody yet
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
        gone = asyncio.ensure_future(asyncio.wait(self._tending))
        hurried = asyncio.ensure_future(self.hurried.wait())
        await asyncio.wait({gone, hurried}, timeout=LEAVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if hurried.done():
            await asyncio.wait({gone}, timeout=HURRY_SECONDS)
        hurried.cancel()
        self._tell({"do": "cut", "key": None})
        await self.end()
        await gone

    def _tell(self, message: dict[str, object]) -> None:
        for writer in self._buses.values():
            writer.write(json.dumps(message).encode() + b"\n")

    async def end(self) -> None:
        """End all workers, by force where they take too long."""
        self._ended.set()
        if self._watching is not None:
            self._watching.cancel()  # who drains may be silent
        self._signal(signal.SIGTERM)
        if self._tending:
            _, hanging = await asyncio.wait(self._tending, timeout=END_SECONDS)
            if hanging:
                logger.warning("%d workers did not stop within %g s and are killed", len(hanging), END_SECONDS)
                self._signal(signal.SIGKILL)
                await asyncio.wait(hanging)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _tend(self, number: int, serving: "asyncio.Future[None]") -> None:
        pause = FIRST_PAUSE
        clock = asyncio.get_running_loop().time
        while not self._ended.is_set():
            began = clock()
            try:
                code, pid = await self._run(number, serving)
            except OSError as error:
                code, pid = 1, 0
                logger.error("a worker cannot be started: %s", error.strerror)
            if self._ended.is_set():
                break
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            if not serving.done():
                serving.set_exception(StartFailed(f"worker {number} {how} before it served; its message is above"))
                return
            if clock() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE
            logger.warning("worker %d (process %d) %s; another one starts in %g s", number, pid, how, pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        if not serving.done():
            serving.cancel()

    async def _run(self, number: int, serving: "asyncio.Future[None]") -> tuple[int, int]:
        """One life of a worker; returns its exit code (negative: the signal that ended it) and its process id."""
        ours, theirs = socket.socketpair()
        with theirs, _in_memory() as settings:
            settings.write(self._text)
            settings.flush()
            sockets = {
                key: [each.fileno() for each in listeners]
                for key, listeners in self._sockets.items()
                if number == 0 or key not in self._private
            }
            inherited = [
                theirs.fileno(),
                settings.fileno(),
                *(each for numbers in sockets.values() for each in numbers),
            ]
            said = {
                "number": number,
                "count": self.count,
                "sockets": sockets,
                "control": theirs.fileno(),
                "settings": settings.fileno(),
            }
            environment = {**os.environ, VARIABLE: json.dumps(said)}
            for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
                environment.pop(name, None)
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-c", _PROGRAM, str(ROOT), str(self._config)),
                    pass_fds=inherited,
                    env=environment,
                    start_new_session=True,  # Ctrl-C is for the supervisor, who passes it on in good order
                )
            except OSError:
                ours.close()
                raise
        self._running[number] = process
        if self._ended.is_set():
            process.terminate()  # asked for while it was being made
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MOST_LINE)
        self._buses[number] = writer
        hearing = asyncio.get_running_loop().create_task(self._hear(number, reader, serving))
        try:
            return await process.wait(), process.pid
        finally:
            del self._running[number], self._buses[number]
            self._silent.pop(number, None)
            hearing.cancel()
            writer.close()

    async def _hear(self, number: int, reader: asyncio.StreamReader, serving: "asyncio.Future[None]") -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                said = json.loads(line)
                if "ready" in said:
                    self._silent[number] = 0
                    if not serving.done():
                        serving.set_result(None)
                elif "beat" in said:
                    if number in self._silent:
                        self._silent[number] = 0
                else:
                    self._pass_on(number, line, said.get("to"))

    def _pass_on(self, origin: int, line: bytes, to: int | None) -> None:
        """Hand a line on to the sibling that it is for, or to all."""
        for number, writer in self._buses.items():
            if number != origin and to in (None, number):
                writer.write(line)
                if writer.transport.get_write_buffer_size() > _MOST_WAITING:
                    logger.warning("worker %d does not respond and is killed", number)
                    with contextlib.suppress(ProcessLookupError):
                        self._running[number].kill()


async def _retire(unused: Sockets, ending: Coroutine[None, None, object]) -> None:
    """End a generation; unused: the sockets that nobody else serves, which are closed when their queues are empty."""
    listeners = list(_all(unused))
    if listeners:
        refuse_new(listeners)
        if not await drained(listeners):
            logger.warning("some pending connections were dropped: the workers accept no connections")
    for listener in listeners:
        listener.close()
    await ending


def _is_stopped(pid: int) -> bool:
    """Whether a process was stopped by a signal or a debugger, as far as the system says."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:1]
    except OSError:
        return False
    return state in ([b"T"], [b"t"])


def _in_memory() -> IO[bytes]:
    """A file without a name; in memory where there is such a thing, for a container may have no disk to write to."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("pages-settings"), "w+b")
    return tempfile.TemporaryFile()


def _all(sockets: Sockets) -> Iterable[socket.socket]:
    return (each for listeners in sockets.values() for each in listeners)


def _notify(*states: str) -> None:
    """Tell systemd (sd_notify(3)), if it asked to be told."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if name:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, contextlib.suppress(OSError):
            told.sendto("\n".join(states).encode(), "\0" + name[1:] if name.startswith("@") else name)
