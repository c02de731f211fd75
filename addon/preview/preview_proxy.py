# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""What a preview's visitors reach: a small HTTP proxy in front of the pages server, which stays as it is in production.

It shows the site at whatever address it is reached by, adds live reload to pages that a browser navigates to, and says
what is asked for. Everything else passes byte for byte. The surprising decision is whom it refuses: a Host that
somebody else could make lead to this machine (DNS rebinding), so that no page elsewhere can read what is not published
yet. Names below `localhost`, addresses, names without a dot and those of services that forward ports are nobody else's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import h11

from addon import templates

log = logging.getLogger(__name__)

LIVE: Final = "/.pages/preview/"
SCRIPT: Final = b"""\
// Of `pages preview` alone: loads the page again when a file of the site has changed.
(function () {
  var lost = false, events = new EventSource("/.pages/preview/events");
  events.onmessage = function () { location.reload(); };
  events.onerror = function () { lost = true; };
  events.onopen = function () { if (lost) location.reload(); };
})();
"""
TAG: Final = b'<script src="/.pages/preview/reload.js" defer></script>'
FORWARDERS: Final = (
    *(
        "app.github.dev",
        "github.dev",
        "gitpod.io",
        "gitpod.dev",
        "ngrok.io",
        "ngrok.app",
        "ngrok-free.app",
        "ngrok.dev",
    ),
    *(
        "trycloudflare.com",
        "devtunnels.ms",
        "ts.net",
        "cloudshell.dev",
        "cloudworkstations.dev",
        "loca.lt",
        "coder.app",
    ),
    *("local", "lan", "home.arpa", "internal", "test", "invalid"),
)
"""Domains below which nobody can make a name lead to another's loopback: of services that forward ports, and local
ones."""
LARGEST_PAGE: Final = 8 * 1024 * 1024
LARGEST_BODY: Final = 1024 * 1024
PATIENCE: Final = 60.0
_NOT_FOR_A_PAGE = {b"accept-encoding", b"if-none-match", b"if-modified-since", b"range", b"if-range"}
_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"transfer-encoding"}

Headers = list[tuple[bytes, bytes]]


class SiteAddress(NamedTuple):
    """A previewed site: its host below the pages domain, and its path there."""

    host: str
    path: str


class PreviewProxy:
    """Serves on a socket, in front of a pages server on a port of loopback. Lives on one event loop."""

    def __init__(
        self,
        upstream: int,
        domain: str,
        sites: Callable[[], Sequence[SiteAddress]],
        *,
        allowed: Sequence[str] = (),
        say: Callable[[str], None] = print,
        advice: str = "",
        token: str = "",
    ) -> None:
        """domain: the pages domain. sites: what is previewed, at this moment; the first is shown at other addresses.

        allowed: further names that it may be reached by; `*` is any. say: prints a line. advice: how to build for a
        path. token: brought for who brings none, so that sites for members are shown as members see them.
        """
        self._upstream = upstream
        self._token = token
        self._domain = domain
        self._sites = sites
        self._allowed = {name.lower() for name in allowed}
        self._say = say
        self._advice = advice
        self._listeners: set[asyncio.Queue[str]] = set()
        self._said: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, listener: socket.socket) -> None:
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._connected, sock=listener, limit=64 * 1024)

    async def aclose(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def watched(self) -> bool:
        """Whether a browser waits to be told of changes."""
        return bool(self._listeners)

    def changed(self) -> None:
        """Tell all browsers that the site is another one now."""
        for listener in self._listeners:
            listener.put_nowait("changed")

    def allows(self, host: str) -> bool:
        """Whether a Host, without its port, can be nobody else's."""
        name = host.strip("[]").lower().rstrip(".")
        with suppress(ValueError):
            ipaddress.ip_address(name)
            return True
        if "." not in name or name.endswith(".localhost") or {"*", name} & self._allowed:
            return True
        return any(name.endswith(f".{domain}") for domain in FORWARDERS)

    # -- a connection -----------------------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
        try:
            while await self._exchange(connection, reader, writer):
                connection.start_next_cycle()
        except (OSError, EOFError, h11.ProtocolError, TimeoutError):
            pass  # the browser went away, or does not speak HTTP
        finally:
            writer.close()

    async def _exchange(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; whether another may follow."""
        request = await _event(connection, reader)
        if not isinstance(request, h11.Request):
            return False
        body = b""
        while isinstance(event := await _event(connection, reader), h11.Data):
            body += event.data
            if len(body) > LARGEST_BODY:
                return False
        headers = dict(request.headers)
        host = headers.get(b"host", b"").decode("latin-1")
        path = request.target.decode("latin-1")
        name = host.rpartition(":")[0] if re.search(r":\d+\Z", host) else host
        if not self.allows(name):
            await _send(connection, writer, 421, [(b"Content-Type", b"text/plain; charset=utf-8")], _refusal(name))
        elif path == f"{LIVE}reload.js":
            await _send(connection, writer, 200, [(b"Content-Type", b"text/javascript; charset=utf-8")], SCRIPT)
        elif path == f"{LIVE}events":
            await self._events(connection, writer)
            return False
        elif name.lower() == self._domain and urlsplit(path).path == "/":
            await _send(connection, writer, 200, _LANDING_HEADERS, self._landing(host))
        else:
            await self._pass_on(connection, writer, request, body, name)
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    def _landing(self, host: str) -> bytes:
        port = host.rpartition(":")[2] if ":" in host else ""
        suffix = f":{port}" if port else ""
        return templates.landing(
            self._domain, None, sites=[f"http://{site.host}{suffix}{site.path}" for site in self._sites()]
        )

    async def _events(self, connection: h11.Connection, writer: asyncio.StreamWriter) -> None:
        """Server-sent events: one for each change, and a comment now and then."""
        listener: asyncio.Queue[str] = asyncio.Queue()
        self._listeners.add(listener)
        head = [(b"Content-Type", b"text/event-stream"), (b"Cache-Control", b"no-store"), (b"Connection", b"close")]
        try:
            writer.write(connection.send(h11.Response(status_code=200, headers=head)) or b"")
            while True:
                await writer.drain()
                try:
                    word = await asyncio.wait_for(listener.get(), 15)
                    data = f"data: {word}\n\n"
                except TimeoutError:
                    data = ": still here\n\n"
                writer.write(connection.send(h11.Data(data=data.encode())) or b"")
        finally:
            self._listeners.discard(listener)

    # -- on to the pages server -------------------------------------------------------------------------------------

    async def _pass_on(
        self, connection: h11.Connection, writer: asyncio.StreamWriter, request: h11.Request, body: bytes, name: str
    ) -> None:
        target = request.target.decode("latin-1")
        site = self._site_of(name)
        if site is not None and site.path != "/" and target in ("/", ""):
            await _send(connection, writer, 302, [(b"Location", site.path.encode()), _NO_STORE], b"")
            return
        host = name if site is None else site.host
        page = _is_navigation(request)
        headers: Headers = [(b"Host", f"{host}:{self.port}".encode()), (b"Connection", b"close")]
        headers += [
            (key, value)
            for key, value in request.headers
            if key not in _HOP | {b"host", b"content-length"} and not (page and key in _NOT_FOR_A_PAGE)
        ]
        if self._token and not any(key == b"authorization" for key, _ in headers):
            headers.append((b"Authorization", f"Bearer {self._token}".encode()))
        if body or request.method in (b"POST", b"PUT"):
            headers.append((b"Content-Length", str(len(body)).encode()))
        upstream, sender = await asyncio.open_connection("127.0.0.1", self._upstream)
        client = h11.Connection(h11.CLIENT)
        try:
            asked = h11.Request(method=request.method, target=request.target, headers=headers)
            sender.write((client.send(asked) or b"") + (client.send(h11.Data(data=body)) or b"" if body else b""))
            sender.write(client.send(h11.EndOfMessage()) or b"")
            await sender.drain()
            response = await _event(client, upstream)
            if not isinstance(response, h11.Response):
                raise EOFError
            self._tell(request, response.status_code, site)
            answer = [(key, value) for key, value in response.headers.raw_items() if key.lower() not in _HOP]
            if site is not None:
                answer = [(key, _moved(key, value, site, self.port)) for key, value in answer]
            if page and _is_html(response.headers):
                await self._page(connection, writer, response, answer, client, upstream)
                return
            writer.write(
                connection.send(h11.Response(status_code=response.status_code, headers=answer, reason=response.reason))
                or b""
            )
            while isinstance(event := await _event(client, upstream), h11.Data):
                writer.write(connection.send(h11.Data(data=event.data)) or b"")
                await writer.drain()
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            await writer.drain()
        finally:
            sender.close()

    async def _page(
        self,
        connection: h11.Connection,
        writer: asyncio.StreamWriter,
        response: h11.Response,
        headers: Headers,
        client: h11.Connection,
        upstream: asyncio.StreamReader,
    ) -> None:
        """A page for a browser: as it is, and the script that loads it again."""
        body = b""
        while isinstance(event := await _event(client, upstream), h11.Data):
            body += event.data
            if len(body) > LARGEST_PAGE:
                raise EOFError
        own = templates.content_security_policy().encode()
        changed = []
        for key, value in headers:
            if key.lower() in (b"content-length", b"etag", b"last-modified", b"cache-control"):
                continue
            if key.lower() == b"content-security-policy" and value == own:
                value += b"; script-src 'self'; connect-src 'self'"  # live reload on our error pages, too
            changed.append((key, value))
        await _send(connection, writer, response.status_code, [*changed, _NO_STORE], with_script(body))

    def _site_of(self, name: str) -> SiteAddress | None:
        """The site that is shown at an address which is not one of the pages domain's."""
        name = name.lower().rstrip(".")
        if name == self._domain or name.endswith(f".{self._domain}"):
            return None
        return next(iter(self._sites()), None)

    # -- what is said -----------------------------------------------------------------------------------------------

    def _tell(self, request: h11.Request, status: int, site: SiteAddress | None) -> None:
        target = request.target.decode("latin-1", "replace")
        shown = re.sub(r"[^!-~]", "?", target)[:200]
        came = urlsplit(dict(request.headers).get(b"referer", b"").decode("latin-1")).path
        asked = f"   asked for by {re.sub(r'[^!-~]', '?', came)[:200]}" if status == 404 and came else ""
        self._say(f"{status} {request.method.decode()} {shown}{asked}")
        sites = [site] if site is not None else list(self._sites())
        base = next((one.path for one in sites if one.path != "/" and came.startswith(one.path)), None)
        if status == 404 and base is not None and not target.startswith(base) and base not in self._said:
            self._said.add(base)
            how = f": {self._advice.format(base=base)}" if self._advice else ""
            self._say(f"note: links of this site leave its path: build it with the base {base}{how}")


def with_script(page: bytes) -> bytes:
    """A page of HTML with the script of live reload: before the end of its body, or at its end."""
    at = page.lower().rfind(b"</body")
    return page + TAG if at < 0 else page[:at] + TAG + page[at:]


_NO_STORE = (b"Cache-Control", b"no-store")
_LANDING_HEADERS: Headers = [
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"Content-Security-Policy", templates.content_security_policy().encode()),
    _NO_STORE,
]


def _is_navigation(request: h11.Request) -> bool:
    """Whether a browser asks for a page to show, not for a part of one; programs get what is served, as it is."""
    headers = dict(request.headers)
    wanted = headers.get(b"sec-fetch-dest")
    if request.method != b"GET":
        return False
    return wanted in (b"document", b"iframe") if wanted is not None else b"text/html" in headers.get(b"accept", b"")


def _is_html(headers: h11._headers.Headers) -> bool:
    found = dict(headers)
    return found.get(b"content-type", b"").lower().startswith(b"text/html") and b"content-encoding" not in found


def _moved(key: bytes, value: bytes, site: SiteAddress, port: int) -> bytes:
    """A Location that names the site's host, as a path: the visitor came by another one."""
    if key.lower() == b"location":
        for origin in (f"http://{site.host}:{port}".encode(), f"http://{site.host}".encode()):
            if value.startswith(origin + b"/"):
                return value.removeprefix(origin)
    return value


def _refusal(name: str) -> bytes:
    shown = re.sub(r"[^!-~]", "?", name)[:255]
    return (
        f"This preview does not know the name {shown}.\n\n"
        "Somebody else could make such a name lead here, to read what is not published yet.\n"
        f"If it is yours: pages preview --allow-host {shown}\n"
    ).encode()


async def _event(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        if connection.they_are_waiting_for_100_continue:
            return None
        connection.receive_data(await asyncio.wait_for(reader.read(64 * 1024), PATIENCE))
    return event


async def _send(
    connection: h11.Connection, writer: asyncio.StreamWriter, status: int, headers: Headers, body: bytes
) -> None:
    response = h11.Response(status_code=status, headers=[*headers, (b"Content-Length", str(len(body)).encode())])
    writer.write(connection.send(response) or b"")
    writer.write((connection.send(h11.Data(data=body)) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    await writer.drain()
