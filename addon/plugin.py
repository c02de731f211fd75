# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The mitmproxy addon: mitmproxy's hooks, and what each of them leads to. Nothing is decided here.

It starts closed: `pages.py` has ended mitmproxy's default listener before this is imported; ours is opened when all is
ready, in `running`. Until then, and where that fails, there is nothing here but a refusal. What all parts are is said
in `wiring`, what becomes of a request in `mitm.flow_handler`; what is opened here stands in the order of `_start`, and
is closed backwards.
"""

import asyncio
import logging
import os
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mitmproxy
from mitmproxy import ctx, http, tcp
from mitmproxy.addonmanager import Loader
from mitmproxy.connection import Client
from mitmproxy.proxy import layer
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from addon.admin import log_rates
from addon.lane.lane import Lane
from addon.mitm import http1
from addon.mitm.connection_timeouts import Connections
from addon.mitm.flow_handler import DRAIN_SECONDS, FlowHandler
from addon.mitm.flows import Closed, tls_of
from addon.mitm.listening import CannotListen, modes_of, open_listeners, put_lane
from addon.mitm.options import PARSERS_SAFE, set_options, version
from addon.mitm.relay import open_relay
from addon.mitm.upstream import Upstream
from addon.net.certificates import CertificateWatch
from addon.process.worker import Bus, Worker, joined, share_of
from addon.settings.file_checks import problems
from addon.settings.schema import Settings, SettingsError, load
from addon.wiring import Application, CannotStart, application, open_admin

logger = logging.getLogger(__name__)

OPTION = "pages_config"
VARIABLE = "PAGES_CONFIG"


@dataclass(frozen=True, slots=True)
class Running:
    """All that a connection is served with."""

    app: Application
    flows: FlowHandler
    upstream: Upstream
    lane: Lane | None
    certificates: CertificateWatch


class PagesAddon:
    """Serves Forgejo repositories as web sites. Configured by one YAML file, named by `pages_config`."""

    name = "forgejo_pages"

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.server: Running | None = None
        self._closing = AsyncExitStack()
        self._begun = False

    # Life cycle.

    def load(self, loader: Loader) -> None:
        loader.add_option(
            OPTION, str, "", f"The YAML file that configures the pages server. Default: the variable {VARIABLE}."
        )

    def configure(self, updated: set[str]) -> None:
        if OPTION not in updated:
            return
        if self.settings is not None:
            logger.warning("%s is read at the start only; restart to use another file", OPTION)
            return
        name = ctx.options.pages_config or os.environ.get(VARIABLE, "")
        try:
            if not name:
                logger.error("no settings file: name one with --set %s=FILE or in %s", OPTION, VARIABLE)
                return
            path = Path(name).expanduser()
            worker = joined()
            settings = load(path, text=worker.text if worker is not None else None)
        except SettingsError as error:
            logger.error("%s", error)  # an error logged during the start ends mitmdump with exit code 1
            return
        unusable = problems(settings, make=True)
        if worker is not None:
            settings = share_of(settings, worker.count)
        elif settings.processes > 1:
            unusable.append(f"processes: mitmdump is one; {settings.processes} are started by `pages serve`")
        for problem in unusable:
            logger.error("%s: %s", path, problem)
        if not unusable:
            self.settings = settings
            set_options(settings)

    def running(self) -> Any:
        log_rates.install()
        # On hot reload mitmproxy calls this synchronously, on an addon that runs already: then there is nothing to do.
        return None if self._begun or self.settings is None else self._start(self.settings)

    async def _start(self, settings: Settings) -> None:
        self._begun = True
        _warn(settings, joined())
        async with AsyncExitStack() as stack:
            try:
                self.server = server = await put_together(stack, settings)
                await open_listeners(stack, settings, server.app.worker)
                await open_admin(stack, server.app, lambda: _numbers(server), server.certificates.expiries)
                server.app.loop_watch.serving()
                server.app.bus.ready()
                self._closing = stack.pop_all()
            except (CannotStart, CannotListen) as fault:
                self.server = None
                logger.error("%s", fault)

    def done(self) -> Any:
        # Called on hot reload as well, where nothing must stop, and synchronously there.
        return self._closing.aclose() if ctx.master.should_exit.is_set() else None

    # Connections of clients.

    def client_connected(self, client: Client) -> None:
        server = self.server
        if server is None or not server.flows.is_ours(client):
            client.error = "refused: not a listener of the pages server"
            return
        handler = _handlers().get(client.id)
        io = handler.transports.get(client) if handler is not None else None
        session = io.writer.get_extra_info("ssl_object") if io is not None and io.writer is not None else None
        if session is not None:
            tls_of(client, session)
            server.flows.secured(client, getattr(session, "shown", None))

    def next_layer(self, data: layer.NextLayer) -> None:
        first = data.data_client()[:1]
        if first and isinstance(data.context.layers[0], mitmproxy.proxy.layers.modes.ReverseProxy):
            # 0x16 opens a TLS hello. There is no certificate, and none is made on the fly.
            data.layer = Closed(data.context) if first == b"\x16" else HttpLayer(data.context, HTTPMode.transparent)

    def client_disconnected(self, client: Client) -> None:
        if self.server is not None:
            self.server.flows.client_disconnected(client)

    # Requests.

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        if self.server is not None:
            await self.server.flows.requestheaders(flow)
        elif flow.error is None:
            flow.kill()

    async def request(self, flow: http.HTTPFlow) -> None:
        if self.server is not None:
            await self.server.flows.request(flow)
        elif flow.killable:
            flow.kill()

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        if self.server is not None:
            self.server.flows.responseheaders(flow)

    def response(self, flow: http.HTTPFlow) -> None:
        if self.server is not None:
            self.server.flows.response(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        if self.server is not None:
            self.server.flows.error(flow)

    def tcp_message(self, flow: tcp.TCPFlow) -> None:
        flow.messages.clear()  # of an upgraded connection to Forgejo; mitmproxy would keep them all

    # Connections to Forgejo.

    def server_connect(self, data: ServerConnectionHookData) -> None:
        if self.server is not None:
            self.server.upstream.connect(data)

    def server_connected(self, data: ServerConnectionHookData) -> None:
        if self.server is not None:
            self.server.upstream.connected(data)

    def tls_established_server(self, data: TlsData) -> None:
        if self.server is not None:
            self.server.upstream.tls_established(data)

    def server_connect_error(self, data: ServerConnectionHookData) -> None:
        if self.server is not None:
            self.server.upstream.connect_error(data)

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        if self.server is not None:
            self.server.upstream.disconnected(data)

    def tls_failed_server(self, data: TlsData) -> None:
        if self.server is not None:
            self.server.upstream.tls_failed(data)


async def put_together(stack: AsyncExitStack, settings: Settings) -> Running:
    """A server that only has to be listened for. Raises CannotStart or CannotListen."""
    app = await application(settings, joined())
    stack.push_async_callback(app.aclose)
    relay = await open_relay(stack)
    connections = Connections(_handlers, settings.forgejo_timeout)
    parts = (settings, app.server, app.forwarding)
    flows = FlowHandler(
        *parts,
        modes=modes_of(settings),
        relay=relay,
        connections=connections,
        webhook=app.webhook,
        written_to=app.changes.hint,
        log=app.access_log,
        meter=app.meter,
    )
    sources = app.sources
    lane, certificates = put_lane(
        stack,
        *parts,
        facts=sources.library.memory,
        executor=sources.executor,
        log=app.access_log,
        meter=app.meter,
        webhook=app.webhook,
        worker=app.worker,
    )
    if lane is not None:
        flows.serving, flows.received, flows.forwarded = lane.serving, lane.received, lane.forwarded
    stack.push_async_callback(_drain, flows, lane, app.bus)
    return Running(app, flows, Upstream(settings, connections, relay), lane, certificates)


async def _drain(flows: FlowHandler, lane: Lane | None, bus: Bus) -> None:
    """Let both faces answer what they have under way, at the same time, for as long as the supervisor lets them."""
    patience = DRAIN_SECONDS if bus.patience is None else bus.patience
    faces: asyncio.Future[Any] = asyncio.gather(
        flows.drain(patience), *([] if lane is None else [lane.aclose(patience)])
    )
    cut: asyncio.Future[Any] = asyncio.ensure_future(bus.cut.wait())
    await asyncio.wait({faces, cut}, return_when=asyncio.FIRST_COMPLETED)
    cut.cancel()
    if not faces.done():
        faces.cancel()
        with suppress(asyncio.CancelledError):
            await faces
        if lane is not None:
            logger.warning("%d connections were aborted: the supervisor waits no longer", len(lane))
            lane.close()


def _numbers(server: Running) -> dict[str, object]:
    """Of the lane and of mitmproxy's flows, since the start."""
    lane = server.lane
    told: dict[str, object] = {"answered_by_mitmproxy": server.flows.answered}
    if lane is not None:
        told |= {
            "answered_by_lane": lane.answered,
            "open_connections": len(lane),
            "busy_connections": lane.busy,
            "handed_to_mitmproxy": lane.handed_over,
            "prepared_answers": len(lane.ready),
            "prepared_answers_bytes": lane.ready.used,
            "faults": lane.faults,
        }
    return told


def _handlers() -> Any:
    """mitmproxy's handlers of connections, by the id of their client."""
    return getattr(ctx.master.addons.get("proxyserver"), "connections", {})


def _warn(settings: Settings, worker: Worker | None) -> None:
    """What is strange about the settings and about mitmproxy; of several processes, the first says it for all."""
    if worker is not None and worker.number:
        return
    for warning in settings.warnings:
        logger.warning("%s", warning)
    if settings.not_used_yet:
        logger.warning("options that are not used yet: %s", ", ".join(settings.not_used_yet))
    if version() < PARSERS_SAFE:
        logger.warning(
            "mitmproxy %s has an HTTP/1.1 parser with known faults (h11 0.14), for Forgejo's host and for forms. "
            "Python 3.12 or newer brings a mitmproxy with the fixed one.",
            mitmproxy.version.VERSION,
        )
    if settings.lane and type(ctx.master).__name__ in ("WebMaster", "ConsoleMaster"):
        logger.warning("requests that the lane answers are no flows and are not shown here; lane: false shows all")
    for fault in _NOT_MENDED:
        logger.warning("this mitmproxy is not as expected: %s", fault)


_NOT_MENDED = http1.mend()
addons = [PagesAddon()]
