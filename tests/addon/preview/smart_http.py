# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The rest of a forge, for tests of what passes through a proxy: git over HTTP, and pages like those of its web face.

`WebFace(forge)` adds, at the forge's own address: clone and push by `git http-backend`, streamed both ways; a login
form with a session cookie and Forgejo's cross-origin check; server-sent events; a websocket that echoes; a sink that
counts what is uploaded; a download of any length; and a mirror that shows the headers of a request.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tornado.iostream import StreamClosedError
from tornado.routing import PathMatches, Rule
from tornado.web import Application, RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

from addon.preview.forge import Forge
from addon.preview.registry import ANONYMOUS, Viewer

LARGEST_BODY = 10 * 1024**3
PIECE = 65536
_GIT_PATH = re.compile(
    r"/(?P<owner>[^/]+)/(?P<name>[^/]+?)(?:\.git)?/"
    r"(?P<rest>info/refs|git-upload-pack|git-receive-pack|HEAD|objects/.+)"
)


class WebFace:
    """Adds the pages to a forge that is not yet started; accounts: user name → password.

    What came in is counted: `requests` (method, path, headers) in order, `uploaded` bytes, `sockets` and `readers`
    (of events) that are open.
    """

    def __init__(self, forge: Forge, accounts: dict[str, str] | None = None) -> None:
        self.forge = forge
        self.accounts = accounts if accounts is not None else {"alice": "secret"}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.uploaded = 0
        self.sockets = 0
        self.readers = 0
        self._sessions: dict[str, str] = {}
        self._events: set[asyncio.Queue[str]] = set()
        face = {"face": self}
        application = Application(
            [
                (r"/", _Home, face),
                (r"/user/login", _Login, face),
                (r"/user/events", _Events, face),
                (r"/-/socket", _Socket, face),
                (r"/-/upload", _Upload, face),
                (r"/-/download", _Download, face),
                (r"/-/headers", _Headers, face),
                (_GIT_PATH.pattern, _Git, face),
            ]
        )
        pages = r"/$|/user/login|/user/events|/-/(?:socket|upload|download|headers)$"
        forge.more_routes += [Rule(PathMatches(pages), application), Rule(PathMatches(_GIT_PATH), application)]

    def emit(self, event: str) -> None:
        """Sends an event to all who read them; may be called from any thread."""
        loop = self.forge.loop
        assert loop is not None, "the forge was not started"
        for queue in list(self._events):
            loop.call_soon_threadsafe(queue.put_nowait, event)


class _Page(RequestHandler):
    face: WebFace

    def initialize(self, face: WebFace) -> None:
        self.face = face

    def prepare(self) -> Awaitable[None] | None:
        face, request = self.face, self.request
        headers = {name: ", ".join(request.headers.get_list(name)) for name in request.headers}
        face.requests.append((request.method or "", request.path, headers))
        # Go's CrossOriginProtection, as in Forgejo 14 and newer.
        origin = request.headers.get("Origin")
        site = request.headers.get("Sec-Fetch-Site")
        foreign = site not in (None, "same-origin", "none") or (
            site is None and origin is not None and urlsplit(origin).netloc != request.host
        )
        if foreign and request.method not in ("GET", "HEAD", "OPTIONS"):
            self.send_error(403)
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        raise NotImplementedError

    def user(self) -> str | None:
        return self.face._sessions.get(self.get_cookie("session") or "")


class _Home(_Page):
    def get(self) -> None:
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.write(f"<!doctype html><title>Forge</title><p>Signed in as {self.user() or 'nobody'}\n")


class _Login(_Page):
    def get(self) -> None:
        self.write(
            "<!doctype html><title>Sign in</title><form method=post>"
            "<input name=user_name><input name=password type=password><button>Sign in</button></form>\n"
        )

    def post(self) -> None:
        name = self.get_body_argument("user_name", "")
        if not name or self.face.accounts.get(name) != self.get_body_argument("password", ""):
            self.set_status(401)
            self.finish("<!doctype html><title>Sign in</title><p>Wrong name or password\n")
            return
        session = hashlib.sha256(os.urandom(16)).hexdigest()[:16]
        self.face._sessions[session] = name
        self.set_header("Set-Cookie", f"session={session}; Path=/; HttpOnly; SameSite=Lax")
        self.redirect("/", status=303)


class _Events(_Page):
    async def get(self) -> None:
        queue: asyncio.Queue[str] = asyncio.Queue()
        gone = asyncio.ensure_future(self._gone.wait())
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache")
        self.face._events.add(queue)
        self.face.readers += 1
        try:
            self.write(": welcome\n\n")
            await self.flush()
            while not self._gone.is_set():
                waiting = asyncio.ensure_future(queue.get())
                await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done():
                    waiting.cancel()
                    break
                self.write(f"event: message\ndata: {waiting.result()}\n\n")
                await self.flush()
        except StreamClosedError:
            pass
        finally:
            gone.cancel()
            self.face._events.discard(queue)
            self.face.readers -= 1

    def initialize(self, face: WebFace) -> None:
        super().initialize(face)
        self._gone = asyncio.Event()

    def on_connection_close(self) -> None:
        self._gone.set()


class _Socket(WebSocketHandler):
    face: WebFace

    def initialize(self, face: WebFace) -> None:
        self.face = face

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        raise NotImplementedError

    def check_origin(self, origin: str) -> bool:
        return urlsplit(origin).netloc == self.request.host

    def open(self, *args: str, **kwargs: str) -> Awaitable[None] | None:
        self.face.sockets += 1
        return None

    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        self.face.sockets -= 1


@stream_request_body
class _Upload(_Page):
    """Counts and hashes what comes, as it comes."""

    def initialize(self, face: WebFace) -> None:
        super().initialize(face)
        self.received = 0
        self.hashed = hashlib.sha256()

    def prepare(self) -> Awaitable[None] | None:
        self.request.connection.set_max_body_size(LARGEST_BODY)  # type: ignore[union-attr]  # an HTTP1Connection
        return super().prepare()

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self.received += len(chunk)
        self.face.uploaded += len(chunk)
        self.hashed.update(chunk)
        return None

    def post(self) -> None:
        self.write({"bytes": self.received, "sha256": self.hashed.hexdigest()})

    put = post


class _Download(_Page):
    async def get(self) -> None:
        left = int(self.get_query_argument("bytes", "0") or 0)
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Length", str(left))
        with suppress(StreamClosedError):
            while left > 0:
                self.write(bytes(min(left, PIECE)))
                left -= PIECE
                await self.flush()


class _Headers(_Page):
    def get(self) -> None:
        shown = [[name, value] for name, value in self.request.headers.get_all()]
        self.write(json.dumps({"method": self.request.method, "target": self.request.uri, "headers": shown}))

    post = put = delete = get


@stream_request_body
class _Git(_Page):
    """`git http-backend` as a CGI program: the request flows into it while its answer flows out."""

    process: asyncio.subprocess.Process | None = None

    async def prepare(self) -> None:
        self.request.connection.set_max_body_size(LARGEST_BODY)  # type: ignore[union-attr]  # an HTTP1Connection
        super().prepare()
        if self._finished:
            return
        found = _GIT_PATH.fullmatch(self.request.path)
        assert found is not None
        viewer = self._viewer()
        place = self.face.forge.registry.find(found["owner"], found["name"])
        writes = "git-receive-pack" in self.request.uri  # type: ignore[operator]  # a request always has one
        if viewer is None or (writes and not viewer.signed_in):
            self._refuse(401)
        elif place is None or not self.face.forge.registry.can_read(place, viewer):
            self._refuse(404 if viewer.signed_in else 401)
        elif writes and not self.face.forge.registry.belongs(place, str(viewer.user)):
            self._refuse(403)
        else:
            await self._start(self._folder(found["owner"], found["name"]), found["rest"], viewer)

    def _refuse(self, status: int) -> None:
        self.set_status(status)
        self.set_header("Connection", "close")  # as tornado does, which answers before it has read a body
        if status == 401:
            self.set_header("WWW-Authenticate", 'Basic realm="Gitea"')
        self.finish("refused\n")

    def _viewer(self) -> Viewer | None:
        """Who asks, by Basic with a password or a token; None when that is wrong."""
        scheme, _, given = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return ANONYMOUS
        user, _, password = base64.b64decode(given).decode().partition(":")
        token = self.face.forge.tokens.get(password)
        if token is not None:
            return Viewer(token.user, token)
        return Viewer(user) if password and self.face.accounts.get(user) == password else None

    def _folder(self, owner: str, name: str) -> Path:
        root = self.face.forge.registry.root
        assert root is not None, "git over HTTP needs a folder of repositories"
        return root / owner / f"{name}.git"

    async def _start(self, folder: Path, rest: str, viewer: Viewer) -> None:
        headers = self.request.headers
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROJECT_ROOT": str(folder),
            "PATH_INFO": f"/{rest}",
            "QUERY_STRING": self.request.query,
            "REQUEST_METHOD": str(self.request.method),
            "CONTENT_TYPE": headers.get("Content-Type", ""),
            "CONTENT_LENGTH": headers.get("Content-Length", ""),
            "HTTP_CONTENT_ENCODING": headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": str(self.request.remote_ip),
        }
        if viewer.user is not None:
            environment["REMOTE_USER"] = viewer.user
        self.process = await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={name: value for name, value in environment.items() if value},
        )

    async def data_received(self, chunk: bytes) -> None:
        if self.process is not None and self.process.stdin is not None:
            with suppress(ConnectionError):
                self.process.stdin.write(chunk)
                await self.process.stdin.drain()

    async def get(self, **_: Any) -> None:
        process = self.process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        while (line := await process.stdout.readline()).strip():
            name, _colon, value = line.decode("latin-1").partition(":")
            if name.lower() == "status":
                self.set_status(int(value.split()[0]))
            else:
                self.set_header(name, value.strip())
        with suppress(StreamClosedError):
            while piece := await process.stdout.read(PIECE):
                self.write(piece)
                await self.flush()
        await process.wait()

    post = get

    def on_connection_close(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
