# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""`adminListen`: health, status, purging, and whether a name may have a certificate; for operators and their programs.

A listener of its own that knows neither sites nor visitors: what it tells and does are four functions.
`/health` and `/ask` need no token, because load balancers and Caddy cannot send one and both say only yes or no. The
rest needs `adminToken` where one is set, as it has to be beyond loopback. It speaks HTTP/1.1 by h11, one request a
connection, and refuses whatever a page in the operator's browser could be made to send, and who comes by a name that is
not its own.
"""

import asyncio
import base64
import binascii
import hmac
import ipaddress
import json
import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs, urlsplit

import h11

from addon import templates
from addon.admin import metrics, status_page
from addon.admin.cache_warming import Warmed
from addon.admin.explain import Asked, Explainer, NoAddress
from addon.admin.process_metrics import Numbers
from addon.admin.site_list import MOST, SORTED_BY, Row
from addon.process.worker import Worker
from addon.settings.addresses import ListenAddress
from addon.settings.options import Secret

logger = logging.getLogger(__name__)

MOST_CONNECTIONS = 128
LARGEST_HEAD = 16 * 1024
LARGEST_BODY = 4 * 1024
TIMEOUT = 10.0
"""Seconds for a request to arrive, and again for its answer to be taken."""
ANSWER_TIMEOUT = 20.0
"""Seconds that an answer may take: `/ask` may look into DNS and Forgejo first."""
REFRESH_SECONDS = 10
"""After which a browser asks for the status again; a field of the answer, so that it takes no script."""


EXPLAINED_AT_ONCE = 2
_HERE = "here are /health, /ready, /status, /metrics, /sites, /explain?url=URL, /ask?domain=HOST, POST /purge and /warm"
_OPEN = frozenset({"/health", "/ready", "/ask"})
_GUARDED = frozenset({"/", "/status", "/status.json", "/metrics", "/sites", "/explain", "/purge", "/warm"})
"""Paths that everybody may ask for who reaches us, and those that take the token."""
_YES = ("1", "true", "yes")


class Purged(NamedTuple):
    """What came of a purge: of which repository (None: of everything), and whether every proxy has been told."""

    what: str | None
    everywhere: bool


class Operations(Protocol):
    """What can be asked for and done here."""

    async def health(self) -> tuple[bool, Mapping[str, object]]:
        """Whether pages are served, and in a few words how all that stands behind is."""

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Whether visitors should be sent here, and why not."""

    async def every(self) -> list[Numbers]:
        """What each process counts."""

    async def status(self) -> Mapping[str, Mapping[str, object]]:
        """All that there is to tell, by section."""

    async def sites(self, by: str, most: int) -> list[Row]:
        """The sites of all processes, by one of `SORTED_BY`."""

    async def purge(self, what: str | None) -> Purged | None:
        """Look again at OWNER/REPO, at the site of a host, or at everything; None where that is none of these."""

    async def warm(self, what: str) -> Warmed | None:
        """Make the site of OWNER/REPO or of a host ready, as far as that is quick; None where that is none of these."""

    async def may_have_certificate(self, host: str) -> bool:
        """Whether this host is one that we serve."""


class _Reply(NamedTuple):
    status: int
    body: bytes
    kind: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _Request(NamedTuple):
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[bytes, bytes]
    body: bytes


class Admin:
    """The listener. State: who is connected."""

    def __init__(
        self, operations: Operations, explainer: Explainer, token: Secret | None, hosts: Iterable[str] = ()
    ) -> None:
        """hosts: the names by which it may be asked, besides localhost and addresses."""
        self._operations = operations
        self._explainer = explainer
        self._explained = asyncio.Semaphore(EXPLAINED_AT_ONCE)
        self._token = token
        self._hosts = frozenset(("localhost", *hosts))
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, addresses: tuple[ListenAddress, ...], worker: Worker | None = None) -> None:
        """Listen; raises OSError where that cannot be. worker: has the sockets already."""
        for address in addresses:
            inherited = worker.listeners(address.host, address.port) if worker is not None else []
            for each in inherited:
                self._servers.append(await asyncio.start_server(self._connected, sock=each))
            if not inherited:
                self._servers.append(await asyncio.start_server(self._connected, address.host, address.port))
            logger.info("admin listener on %s port %s", address.host or "all addresses", address.port)

    async def aclose(self) -> None:
        """Stop listening and cut what is under way."""
        for server in self._servers:
            server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def ports(self) -> list[int]:
        """Where it listens."""
        return [sock.getsockname()[1] for server in self._servers for sock in server.sockets]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) <= MOST_CONNECTIONS:
                await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass
        except Exception:
            logger.exception("a request to adminListen failed")
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        head_only = False
        try:
            async with asyncio.timeout(TIMEOUT):
                request = await _read(connection, reader)
            head_only = request.method == "HEAD"
            async with asyncio.timeout(ANSWER_TIMEOUT):
                reply = await self._reply(request)
        except h11.RemoteProtocolError as error:
            reply = _said(error.error_status_hint or 400, "this is no request that can be understood")
        except _TooLarge:
            reply = _said(413, f"at most {LARGEST_BODY} bytes")
        except TimeoutError:
            if connection.our_state is not h11.SEND_RESPONSE:
                return
            reply = _said(504, "that took too long")
        except OSError:
            return  # who looked whether somebody listens, or left
        except Exception:
            logger.exception("a request to adminListen failed")
            reply = _said(500, "internal error; see the log")
        if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [
            (b"Content-Type", reply.kind),
            (b"Content-Length", b"%d" % len(reply.body)),
            (b"Cache-Control", b"no-store"),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"Content-Security-Policy", templates.content_security_policy(status=True).encode()),
            (b"Referrer-Policy", b"no-referrer"),
            (b"Connection", b"close"),
            *reply.headers,
        ]
        data = connection.send(h11.Response(status_code=reply.status, headers=headers)) or b""
        if not head_only:
            data += connection.send(h11.Data(data=reply.body)) or b""
        writer.write(data)
        async with asyncio.timeout(TIMEOUT):
            await writer.drain()

    async def _reply(self, request: _Request) -> _Reply:
        if not self._is_asked_by_name(request):
            return _said(421, "not by this name: an address or localhost does, or a name in adminHosts")
        reading = request.method in ("GET", "HEAD")
        match request.path:
            case "/health" if reading:
                well, told = await self._operations.health()
                return _Reply(200 if well else 503, _json(told))
            case "/ready" if reading:
                well, told = self._operations.ready()
                return _Reply(200 if well else 503, _json(told))
            case "/ask" if reading:
                (host,) = request.query.get("domain", [""])[:1] or [""]
                if not host:
                    return _said(400, "name the host: /ask?domain=www.example.org")
                if await self._operations.may_have_certificate(host):
                    return _said(200, "this host is served here", ok=True)
                return _said(404, "this host is not served here")
            case path if path in _GUARDED and not self._may_enter(request):
                challenge = (b"WWW-Authenticate", b'Basic realm="adminToken", charset="UTF-8"')
                return _said(401, "say adminToken: Authorization: Bearer TOKEN")._replace(headers=(challenge,))
            case "/" if reading:
                return _said(303, "see /status", ok=True)._replace(headers=((b"Location", b"/status"),))
            case "/status" | "/status.json" if reading:
                if request.path == "/status.json" and "processes" in request.query:
                    return _Reply(200, _json({"processes": await self._operations.every()}))
                told_all = await self._operations.status()
                if request.path == "/status" and b"text/html" in request.headers.get(b"accept", b""):
                    still = "still" in request.query
                    shown = templates.status(status_page.page(told_all, still=still, every=REFRESH_SECONDS))
                    refresh = () if still else ((b"Refresh", b"%d" % REFRESH_SECONDS),)
                    return _Reply(200, shown, b"text/html; charset=utf-8", refresh)
                return _Reply(200, _json(told_all))
            case "/metrics" if reading:
                return await self._metrics(request)
            case "/sites" if reading:
                by = request.query.get("sort", ["hits"])[0]
                if by not in SORTED_BY:
                    return _said(400, f"sort by one of {', '.join(SORTED_BY)}")
                return _Reply(200, _json({"sites": await self._operations.sites(by, MOST)}))
            case "/explain" if reading:
                return await self._explain(request)
            case "/purge" if request.method == "POST":
                return await self._purge(request)
            case "/warm" if request.method == "POST":
                return await self._warm(request)
            case path if path in _GUARDED or path in _OPEN:
                allowed = b"POST" if request.path in ("/purge", "/warm") else b"GET, HEAD"
                return _said(405, "another method")._replace(headers=((b"Allow", allowed),))
        return _said(404, _HERE)

    async def _metrics(self, request: _Request) -> _Reply:
        accepted = request.headers.get(b"accept", b"").decode("latin-1")
        try:
            body, kind = metrics.exposition(await self._operations.every(), accepted)
        except metrics.NotInstalled as missing:
            return _said(501, str(missing))
        return _Reply(200, body, kind.encode())

    async def _explain(self, request: _Request) -> _Reply:
        query = request.query
        asked = Asked(
            query.get("url", [""])[0],
            query.get("method", ["GET"])[0].upper(),
            query.get("header", []),
            query.get("cold", [""])[0].lower() in _YES,
        )
        if not asked.url:
            return _said(400, "name the address: /explain?url=https://alice.pages.example.org/blog/")
        try:
            async with self._explained:
                return _Reply(200, _json(await self._explainer.explain(asked)))
        except NoAddress as wrong:
            return _said(400, str(wrong))

    async def _purge(self, request: _Request) -> _Reply:
        if _from_another_page(request):
            return _said(403, "not from a page of somebody else's")
        form = {**request.query, **parse_qs(request.body.decode("utf-8", "replace"))}
        what, everything = form.get("what", [""])[0], form.get("all", [""])[0].lower() in _YES
        if bool(what) == everything:
            return _said(400, "say what=OWNER/REPO, what=HOST, or all=true")
        purged = await self._operations.purge(None if everything else what)
        if purged is None:
            return _said(404, "that is neither OWNER/REPO nor a host with a site")
        told = {"looked_at_again": purged.what or "everything", "every_proxy": purged.everywhere}
        if b"text/html" in request.headers.get(b"accept", b""):  # our own form
            return _Reply(303, _json(told), headers=((b"Location", b"/status"),))
        return _Reply(200, _json(told))

    async def _warm(self, request: _Request) -> _Reply:
        if _from_another_page(request):
            return _said(403, "not from a page of somebody else's")
        form = {**request.query, **parse_qs(request.body.decode("utf-8", "replace"))}
        warmed = await self._operations.warm(form.get("what", [""])[0])
        if warmed is None:
            return _said(404, "that is neither OWNER/REPO nor a host with a site")
        return _Reply(200, _json(warmed._asdict()))

    def _is_asked_by_name(self, request: _Request) -> bool:
        """Whether the Host is one of ours: a page could have a name of its own lead here (DNS rebinding)."""
        host = request.headers.get(b"host")
        if host is None:  # of no browser
            return True
        try:
            name = urlsplit(f"//{host.decode('latin-1')}").hostname or ""
            return b"@" not in host and (name.rstrip(".") in self._hosts or bool(ipaddress.ip_address(name)))
        except ValueError:
            return False

    def _may_enter(self, request: _Request) -> bool:
        """Whether the token is said, as Bearer or as the password of Basic, which browsers can send."""
        if self._token is None:
            return True
        scheme, _, said = request.headers.get(b"authorization", b"").strip().partition(b" ")
        if scheme.lower() == b"basic":
            try:
                said = base64.b64decode(said.strip(), validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != b"bearer":
            return False
        return hmac.compare_digest(said.strip(), self._token.reveal().encode())


class _TooLarge(Exception):
    """A body above LARGEST_BODY."""


async def _read(connection: h11.Connection, reader: asyncio.StreamReader) -> _Request:
    """One request with its body."""
    head: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                raise _TooLarge  # a few bytes are sent without asking
            data = await reader.read(16 * 1024)
            connection.receive_data(data)
            if not data and head is None:
                raise ConnectionResetError
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
            if len(body) > LARGEST_BODY:
                raise _TooLarge
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            raise ConnectionResetError
    assert head is not None
    target = urlsplit("//x" + head.target.decode("latin-1")) if head.target.startswith(b"/") else None
    if target is None:
        raise h11.RemoteProtocolError("not a path", error_status_hint=400)
    headers: dict[bytes, bytes] = {}
    for name, value in head.headers:
        headers[name] = value if name not in headers else headers[name] + b", " + value
    return _Request(
        head.method.decode("latin-1"), target.path, parse_qs(target.query, keep_blank_values=True), headers, body
    )


def _from_another_page(request: _Request) -> bool:
    """Whether a browser sent this because somebody else's page said so."""
    site = request.headers.get(b"sec-fetch-site")
    if site is not None:
        return site not in (b"same-origin", b"none")
    origin = request.headers.get(b"origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin.decode("latin-1")).netloc.encode() != request.headers.get(b"host")
    except ValueError:  # such as `http://[`
        return True


def _said(status: int, text: str, *, ok: bool = False) -> _Reply:
    return _Reply(status, _json({"message": text} if ok else {"error": text}))


def _json(told: Mapping[str, object]) -> bytes:
    return json.dumps(told, ensure_ascii=False, indent=2).encode() + b"\n"
