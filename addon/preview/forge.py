# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`Forge`: the HTTP server around the API, on the running event loop or in a thread of its own.

Keeps count of every call, so that tests can say how many there were, and plays the faults asked of it. Bodies go out
piece by piece as the client takes them: a large file costs one piece of memory, however slow its reader.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, Self, Unpack

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError
from tornado.netutil import bind_sockets
from tornado.routing import AnyMatches, Rule, RuleRouter

from addon.preview.answers import Answer, Request, Stream, text_answer
from addon.preview.api import Api
from addon.preview.documents import Documents
from addon.preview.faults import Fault
from addon.preview.oauth import Login
from addon.preview.raw import Content, file_pieces, raw_answer
from addon.preview.registry import Known, Registry
from addon.preview.repository import Source
from addon.preview.settings import (
    FORGEJO_16,
    Application,
    Flavour,
    Limits,
    OwnerSettings,
    Policy,
    RepositorySettings,
    Token,
)
from addon.preview.web import Web

log = logging.getLogger(__name__)
IDLE_SECONDS = 3600
REMEMBERED_CALLS = 100_000
_LOCAL = re.compile(r"(?:127\.0\.0\.1|\[::1\]|(?:[\w.-]+\.)?localhost)(?::[0-9]+)?", re.ASCII | re.IGNORECASE)


class Call(NamedTuple):
    """A request as it came: method, target with query, and whether it carried credentials."""

    method: str
    target: str
    credentials: bool
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


class _Server(HTTPServer):
    """An HTTPServer that can cut its connections: its own way of closing them waits for the clients."""

    _streams: set[IOStream]

    def initialize(self, *arguments: Any, **options: Any) -> None:
        super().initialize(*arguments, **options)
        self._streams = set()

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        self._streams = {one for one in self._streams if not one.closed()} | {stream}
        stream.set_nodelay(True)
        super().handle_stream(stream, address)

    def cut_all(self) -> None:
        for stream in self._streams:
            stream.close()


class Forge:
    """A Forgejo (or Gitea) of one's own, serving repositories below a folder or given by `add`.

    root: a folder of `OWNER/NAME.git`. root_url: the address in its documents, by default the one it listens on.
    require_sign_in: `REQUIRE_SIGNIN_VIEW`. lfs_storage_url: `/media` redirects there for LFS objects, as with
    `SERVE_DIRECT`; its own `/lfs-storage` will do. Owners, repositories, tokens and `policy` may change as it runs.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        flavour: Flavour = FORGEJO_16,
        limits: Limits | None = None,
        require_sign_in: bool = False,
        root_url: str | None = None,
        ssh_user: str = "git",
        lfs_storage_url: str | None = None,
        **known: Unpack[Known],
    ) -> None:
        self.registry = Registry(root, **known)
        self.flavour = flavour
        self.limits = limits or Limits()
        self.hints: list[str] = []
        self.owner = ""
        self.repository = ""
        self.calls: deque[Call] = deque(maxlen=REMEMBERED_CALLS)
        self.in_flight = 0
        self.most_at_once = 0
        self.bytes_sent = 0
        self.local_only = False
        self.port = 0
        self.host = "127.0.0.1"
        self.policy = Policy(require_sign_in, lfs_storage_url=lfs_storage_url)
        self._root_url = root_url
        self._ssh_user = ssh_user
        self.more_routes: list[Rule] = []  # looked at first; for what is no part of the API
        self._faults: list[Fault] = []
        self._web: Web | None = None
        self.login = Login(self.registry, self.policy)
        self._server: _Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- what is on it ----------------------------------------------------------------------------------------------

    def add(self, owner: str, name: str, source: Source, settings: RepositorySettings | None = None) -> None:
        """Puts a source on the forge as `owner/name`; the first one is what `addresses` speaks of."""
        self.registry.add(owner, name, source, settings)
        if not self.owner:
            self.owner, self.repository = owner, name

    def settings(self, full_name: str) -> RepositorySettings:
        """The settings of `owner/name`, to be read or changed."""
        return self.registry.settings(full_name)

    def owner_settings(self, name: str) -> OwnerSettings:
        """The settings of an owner, to be read or changed."""
        return self.registry.owner_settings(name)

    def rename(self, old: str, new: str) -> None:
        """Renames or transfers `owner/name`, or renames an owner."""
        self.registry.rename(old, new)

    @property
    def tokens(self) -> dict[str, Token]:
        """Secret → token; to be changed as tokens come and go."""
        return self.registry.tokens

    @property
    def applications(self) -> dict[str, Application]:
        """OAuth2 applications by client id; to be changed as they come and go."""
        return self.registry.applications

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop it serves on; None while it is stopped."""
        return self._loop

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end; only once it was started."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def addresses(self, pages_domain: str, port: int) -> list[str]:
        """Where a pages server for `pages_domain` on `port` shows each repository."""
        self.registry.refresh()
        suffix = "" if port == 80 else f":{port}"
        return [
            f"http://{place.owner.name.lower()}.{pages_domain}{suffix}/"
            + ("" if place.name == ".profile" else f"{place.name}/")
            for place in self.registry.places()
        ]

    # -- counting and trouble ---------------------------------------------------------------------------------------

    def count(self, pattern: str = "", method: str | None = None) -> int:
        """How many calls there were with `pattern` (a regular expression) in their target."""
        return sum(1 for call in list(self.calls) if method in (None, call.method) and re.search(pattern, call.target))

    def counts(self) -> Counter[tuple[str, str]]:
        """Calls by method and path."""
        return Counter((call.method, call.path) for call in list(self.calls))

    def forget_calls(self) -> None:
        """Starts the count anew."""
        self.calls.clear()
        self.most_at_once = self.in_flight
        self.bytes_sent = 0

    def fault(self, pattern: str = "", **options: Any) -> Fault:
        """Trouble for the targets that `pattern` is found in, until its `with` block ends or `heal` is called."""
        fault = Fault(pattern, **options, end=self._faults_remove)
        self._faults.insert(0, fault)
        return fault

    def heal(self) -> None:
        """Ends all faults."""
        self._faults.clear()

    def _faults_remove(self, fault: Fault) -> None:
        with suppress(ValueError):
            self._faults.remove(fault)

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self, port: int = 0, host: str = "127.0.0.1") -> None:
        """Listens on the running event loop; port 0 takes a free one. Raises OSError when the port is taken."""
        self._loop = asyncio.get_running_loop()
        self._listen(bind_sockets(port, host, family=socket.AF_INET6 if ":" in host else socket.AF_INET))

    def start_thread(self, port: int = 0, host: str = "127.0.0.1") -> None:
        """Listens in a thread of its own; returns when it does. Raises OSError when the port is taken."""
        sockets = bind_sockets(port, host, family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        loop = asyncio.new_event_loop()
        self._loop = loop
        ready = threading.Event()

        def run() -> None:
            asyncio.set_event_loop(loop)
            self._listen(sockets)
            loop.call_soon(ready.set)
            try:
                loop.run_forever()
            finally:
                loop.close()

        self._thread = threading.Thread(target=run, name="forge", daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        """Stops listening and closes every connection, also in the middle of an answer; may be started again."""
        thread, loop = self._thread, self._loop
        if loop is None:
            return
        if thread is None:
            self._close()
        else:
            done = threading.Event()

            def ended() -> None:
                done.set()
                loop.stop()

            def close() -> None:
                self._close()
                # One round of the loop, for the tasks to see that they are cancelled.
                loop.call_soon(loop.call_soon, ended)

            loop.call_soon_threadsafe(close)
            done.wait(10)
            thread.join(10)
        self._thread = self._loop = None
        self.registry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _listen(self, sockets: list[socket.socket]) -> None:
        self.host, self.port = sockets[0].getsockname()[:2]
        documents = Documents(
            self._root_url or f"{self.url}/", self.registry, self.flavour, self.limits, self._ssh_user
        )
        self._web = Web(Api(documents, self.policy))
        self.login.root = documents.root
        router = RuleRouter([*self.more_routes, Rule(AnyMatches(), self._received)])
        self._server = _Server(router, idle_connection_timeout=IDLE_SECONDS)
        self._server.add_sockets(sockets)

    def _close(self) -> None:
        if self._server is None:
            return
        self._server.stop()
        self._server.cut_all()
        for task in self._tasks:
            task.cancel()
        self._server = None

    # -- a request --------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer:
        """The answer without faults; what `Forge` would send."""
        assert self._web is not None, "the forge was not started"
        api = self._web.api
        if self.local_only and not _LOCAL.fullmatch(request.headers.get("host", "")):
            return text_answer("This preview is for this machine only.\n", 421)
        self.registry.refresh()
        sub_path = "/" + api.documents.root.split("://", 1)[1].partition("/")[2].rstrip("/")
        if sub_path != "/" and request.path.startswith(f"{sub_path}/"):
            request = replace(request, path=request.path.removeprefix(sub_path))
        if request.path == "/api/healthz":
            return _health(self.flavour)
        if request.path.startswith("/api/"):
            return api.answer(request)
        if request.path.startswith("/lfs-storage/"):
            return _stored(request, self.registry)
        return self.login.answer(request) or self._web.answer(request)

    def _received(self, received: HTTPServerRequest) -> None:
        assert self._loop is not None
        task = self._loop.create_task(self._respond(received))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _respond(self, received: HTTPServerRequest) -> None:
        connection = received.connection
        assert isinstance(connection, HTTP1Connection)
        path, _, query = (received.uri or "/").partition("?")
        headers = {name.lower(): value for name, value in received.headers.get_all()}
        request = Request(received.method or "GET", path, query, headers, received.body or b"")
        credentials = "authorization" in headers or "cookie" in headers or "token=" in query
        self.calls.append(Call(request.method, request.target, credentials, headers))
        self.in_flight += 1
        self.most_at_once = max(self.most_at_once, self.in_flight)
        try:
            fault = next((one for one in self._faults if one.concerns(request)), None)
            if fault is not None:
                fault.used += 1
                await self._troubled(connection, request, fault)
            else:
                await self._send(connection, request, self._answered(request))
        except StreamClosedError:
            pass
        except Exception as error:
            # The status is out already: a cut connection is all that can still be said.
            log.warning("the forge broke off at %s %s: %r", request.method, request.path, error)
            connection.stream.close()
        finally:
            self.in_flight -= 1

    def _answered(self, request: Request) -> Answer:
        try:
            return self.answer(request)
        except Exception:
            log.exception("the forge failed at %s %s", request.method, request.path)
            return text_answer("<!DOCTYPE html>\n<title>Internal server error</title>\n", 500, "text/html")

    async def _troubled(self, connection: HTTP1Connection, request: Request, fault: Fault) -> None:
        gone = asyncio.Event()
        connection.stream.set_close_callback(gone.set)
        if fault.hang:
            await gone.wait()
            return
        if fault.delay:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(gone.wait(), fault.delay)
                return
        if fault.drop:
            connection.stream.close()
            return
        answer = fault.spoilt(self._answered(request))
        await self._send(connection, request, answer, fault)

    async def _send(
        self, connection: HTTP1Connection, request: Request, answer: Answer, fault: Fault | None = None
    ) -> None:
        headers = HTTPHeaders()
        for name, value in answer.headers:
            # Tornado writes header text as Latin-1; what goes over the wire is UTF-8, as from Go.
            headers.add(name, value.encode(errors="surrogateescape").decode("latin-1"))
        headers.add("Date", formatdate(usegmt=True))
        reason = HTTPStatus(answer.status).phrase if answer.status in set(HTTPStatus) else "Unknown"
        start = ResponseStartLine("HTTP/1.1", answer.status, reason)
        body = answer.body
        if request.method == "HEAD" or answer.status == 304:
            await connection.write_headers(start, headers)
        elif fault is None and isinstance(body, bytes):
            await connection.write_headers(start, headers, body or None)
            self.bytes_sent += len(body)
        else:
            await connection.write_headers(start, headers)
            pieces = body.pieces() if isinstance(body, Stream) else iter((body,))
            whole = await self._send_pieces(connection, pieces, fault or _NO_FAULT)
            if not whole:
                connection.stream.close()
                return
        connection.finish()

    async def _send_pieces(self, connection: HTTP1Connection, pieces: Iterator[bytes], fault: Fault) -> bool:
        """Sends a body as fast as the client takes it; False where the fault breaks it off."""
        left = fault.truncate
        try:
            for piece in _smaller(pieces, fault.piece) if fault.pace else pieces:
                if left is not None:
                    piece, left = piece[:left], left - len(piece[:left])
                if piece:
                    await connection.write(piece)
                    self.bytes_sent += len(piece)
                if left == 0:
                    return False
                if fault.pace:
                    await asyncio.sleep(fault.pace)
        finally:
            # Closes the file that it reads from, also when the client left in the middle.
            if isinstance(pieces, Generator):
                pieces.close()
        return True


_NO_FAULT = Fault()


def _smaller(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    for piece in pieces:
        for at in range(0, len(piece), size):
            yield piece[at : at + size]


def _stored(request: Request, registry: Registry) -> Answer:
    """An LFS object as an S3 store gives it to the bearer of a signed address, who must bring no other credentials."""
    oid = request.path.rpartition("/")[2]
    if "authorization" in request.headers:
        return text_answer("<Error><Code>InvalidArgument</Code></Error>\n", 400, "application/xml")
    for place in registry.places():
        folder = place.repository.source.lfs_dir
        if folder is not None and re.fullmatch("[0-9a-f]{64}", oid):
            path = folder / oid[:2] / oid[2:4] / oid
            if path.is_file():
                content = Content(oid, oid, path.stat().st_size, file_pieces(path), lfs=True)
                return raw_answer(request, content, FORGEJO_16, api=False)
    return text_answer("<Error><Code>NoSuchKey</Code></Error>\n", 404, "application/xml")


def _health(flavour: Flavour) -> Answer:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    check = [{"status": "pass", "time": moment}]
    checks = {"cache:ping": check, "database:ping": check}
    document = {"status": "pass", "description": flavour.name, "checks": checks}
    body = json.dumps(document, indent=2).encode()
    headers = (("Cache-Control", "no-store"), ("Content-Type", "application/json"), ("Content-Length", str(len(body))))
    return Answer(200, headers, body, document)
