# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The mitmproxy addon: life cycle, and requests that come as flows. Hooks only, thin; what an answer is, `PagesServer`
says.

It starts closed: `pages.py` has ended mitmproxy's default listener before this is imported; ours is opened in
`running`, when all is ready. It fails closed: a connection that came in by any other mode is refused, an exception in
a hook is answered 500, and nothing reaches Forgejo but what `route` calls a ForgejoRequest. Everything is decided in
`requestheaders`: a body is never collected.
"""

import asyncio
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mitmproxy
from mitmproxy import ctx, http, tcp
from mitmproxy.addonmanager import Loader
from mitmproxy.connection import Client
from mitmproxy.proxy import layer
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from addon import __version__
from addon.access.control import Access
from addon.access.signing_key import KeyFault, Source, signing_key
from addon.admin.access_log import ABORTED, AccessLog
from addon.admin.listener import Admin
from addon.admin.operations import PagesOperations
from addon.admin.webhook import Delivery, Webhook, written
from addon.domains.assembly import domains_of
from addon.domains.dns import Dns
from addon.domains.dns_proof import DnsProver
from addon.domains.registration import CustomDomains
from addon.domains.resolver import Domains
from addon.domains.store import DomainStore
from addon.forgejo.client import Forgejo, forgejo_of
from addon.lane.install import NoPlace, install
from addon.lane.lane import GRACE_SECONDS, Lane
from addon.library.library import Library
from addon.library.refresh import shared_of
from addon.mitm import http1
from addon.mitm.connection_timeouts import Connections
from addon.mitm.default_addons import SETTLE_SECONDS, settle
from addon.mitm.flows import (
    Closed,
    Counted,
    has_body,
    is_form,
    nothing,
    request_of,
    respond,
    status_of_failure,
    tls_of,
)
from addon.mitm.options import HTTP2_SAFE, set_options, upstream_authority, version
from addon.mitm.relay import Deposit, Relay
from addon.net.certificates import CertificateFault, Certificates, CertificateWatch
from addon.net.listeners import admit_accepted, drained, refuse_new
from addon.process.worker import Bus, joined, share_of
from addon.serving.acme_challenges import Challenges
from addon.serving.server import Answer, PagesServer
from addon.settings.file_checks import problems
from addon.settings.schema import Settings, SettingsError, load
from addon.shared.guess_counts import GuessesShared
from addon.shared.login_key import KeptInStep, KeyInRedis
from addon.shared.lookup import Key
from addon.web import forwarding
from addon.web.routing import ForgejoRequest

logger = logging.getLogger(__name__)

OPTION = "pages_config"
VARIABLE = "PAGES_CONFIG"
DRAIN_SECONDS = 25.0
"""How long SIGTERM waits for answers in flight; below the 30 s after which container runtimes kill."""
_MARK = "pages"
"""In a flow's metadata while its request is being answered; its value is when it began."""
_FORM = "pages_form"
_TICKET = "pages_ticket"


class PagesAddon:
    """Serves Forgejo repositories as web sites. Configured by one YAML file, named by `pages_config`."""

    name = "forgejo_pages"

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.server: PagesServer | None = None
        self._library: Library | None = None
        self._store: DomainStore | None = None
        self._domains: Domains | None = None
        self._registration: CustomDomains | None = None
        self._challenges: Challenges | None = None
        self._access: Access | None = None
        self._key_in_step: KeptInStep | None = None
        self._lane: Lane | None = None
        self._forgejo: Forgejo | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._certificates: CertificateWatch | None = None
        self._relay = Relay()
        self._log: AccessLog | None = None
        self._forwarding: forwarding.Forwarding | None = None
        self._webhook: Webhook | None = None
        self._bus = Bus(joined())
        self._hints: set[asyncio.Task[None]] = set()
        self._upstream = urlsplit("http://127.0.0.1:1")
        self._modes: tuple[str, ...] = ()
        self._flows: dict[str, dict[str, http.HTTPFlow]] = {}  # being answered, by client
        self._inflight: set[str] = set()  # those of them that a shutdown waits for
        self._idle = asyncio.Event()
        self._ending = False  # each answer is the last of its connection
        self._connections = Connections(dict, 1.0)
        self._complained = 0.0
        self._admin: Admin | None = None
        self._dns: Dns | None = None
        self._flow_answers = 0
        self._running = False

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
        # On hot reload mitmproxy calls this synchronously, on an addon that runs already: then there is nothing to do.
        return None if self._running or self.settings is None else self._start(self.settings)

    async def _start(self, settings: Settings) -> None:
        self._running = True
        for warning in settings.warnings:
            logger.warning("%s", warning)
        if settings.not_used_yet:
            logger.warning("options that are not used yet: %s", ", ".join(settings.not_used_yet))
        if version() < HTTP2_SAFE:
            logger.warning(
                "mitmproxy %s has HTTP parsers with known faults (h2 4.1, h11 0.14): HTTP/2 is off. Python 3.12 or "
                "newer brings a mitmproxy with the fixed ones.",
                mitmproxy.version.VERSION,
            )
        self._upstream = urlsplit(settings.forgejo_host)
        self._connections = Connections(
            lambda: getattr(ctx.master.addons.get("proxyserver"), "connections", {}), settings.forgejo_timeout
        )
        self._forwarding = forwarding.Forwarding(settings)
        self._executor = ThreadPoolExecutor(settings.workers, "pages")
        hop = (forwarding.HOP_HEADER, self._forwarding.hop)
        self._forgejo = forgejo_of(settings, self._executor, headers=(hop,))
        self._library = Library(settings, self._forgejo, self._executor, shared=shared_of(settings))
        if self._library.shared_looks is not None:
            self._library.shared_looks.start()
        shared = self._library.shared_looks.shared if self._library.shared_looks is not None else None
        self._store = DomainStore(shared)
        self._domains = domains_of(settings, self._library, self._store)
        self._dns = Dns(settings.dns_resolvers)
        prover = DnsProver(settings, self._dns)
        self._registration = CustomDomains(settings, self._library, self._forgejo, self._store, self._domains, prover)
        self._registration.start()
        self._webhook = Webhook(settings, self._purge)
        registry = self._registration.registry
        await self._bus.start(self._registration.purge, self._library.hint, registry.pushed)
        if shared is None and settings.enable_custom_domains:
            registry.told = lambda key: self._bus.tell("settle", key)
        try:
            secret = settings.auth_secret_key
            place = KeyInRedis(shared) if shared is not None else None
            key = await signing_key(secret.reveal() if secret is not None else None, settings.state_dir, place)
        except KeyFault as error:
            logger.error("%s", error)
            return
        logger.info("logins are signed with %s", key.source.value)
        guesses = GuessesShared(shared, key, time.monotonic) if shared is not None else None
        self._access = Access(key, settings.auth_cookie_duration, self._executor, guesses=guesses)
        if place is not None and key.source is not Source.SETTINGS:
            self._key_in_step = KeptInStep(key, place, self._access.adopt)
            self._key_in_step.start()
        if settings.acme_challenge_upstream is not None:
            self._challenges = Challenges(settings.acme_challenge_upstream)
        self.server = PagesServer(settings, self._library, self._access, self._domains, challenges=self._challenges)
        self.server.visited = self._registration.visited
        if settings.access_log is not None:
            self._log = AccessLog(None if settings.access_log == "stderr" else settings.access_log)
        await self._relay.start()
        parts = (self._library, self._forgejo, self._store, self._domains, self._registration)
        if await self._listen(settings) and await self._open_admin(settings, *parts):
            self._bus.ready()
        for fault in _NOT_MENDED:
            logger.warning("this mitmproxy is not as expected: %s", fault)

    async def _purge(self, key: Key | None) -> bool:
        """Look again at a repository, or at everything, in every process; False: in others once Redis answers again."""
        assert self._registration is not None
        assert self._library is not None
        done = await self._registration.purge(key)
        if not done or self._library.shared_looks is None:
            self._bus.tell("purge", key)  # else Redis tells them
        return done

    async def _hint(self, key: Key) -> None:
        """Somebody wrote to a repository, through us."""
        if self._library is not None:
            await self._library.hint(key)
            if self._library.shared_looks is None:
                self._bus.tell("hint", key)

    async def _listen(self, settings: Settings) -> bool:
        """Whether that went well; what did not was logged as an error, which ends the start."""
        forgejo = f"reverse:http://{upstream_authority(settings)}"
        modes = {f"{forgejo}@{address.host}:{address.port}": address.tls for address in settings.listen}
        self._modes = tuple(modes)
        http2 = settings.http2 and version() >= HTTP2_SAFE
        try:
            tls = {mode: Certificates(files, http2=http2) for mode, files in modes.items() if files}
        except CertificateFault as fault:
            logger.error("listen: %s", fault)
            return False
        if self.server is not None and self._forwarding is not None and self._library is not None:
            memory = self._library.memory
            place = (self.server, settings, self._forwarding, self._modes)
            try:
                self._lane = install(*place, log=self._log, facts=memory, certificates=tls, worker=joined())
            except NoPlace as fault:
                logger.error("%s", fault)
                return False
        if self._executor is not None:
            self._certificates = CertificateWatch(tuple(tls.values()), self._executor)
        servers: Any = ctx.master.addons.get("proxyserver")
        ctx.options.update(mode=list(modes), server=True)
        if not await servers.setup_servers():
            return False
        asyncio.get_running_loop().call_later(
            SETTLE_SECONDS, lambda: settle(ctx.master.addons, ctx.options, keep=settings.keep_default_addons)
        )
        for host, port, *_ in servers.listen_addrs():
            logger.info("pages server for *.%s listens on %s port %s", settings.pages_domain, host, port)
        return True

    async def _open_admin(
        self,
        settings: Settings,
        library: Library,
        forgejo: Forgejo,
        store: DomainStore,
        domains: Domains,
        registration: CustomDomains,
    ) -> bool:
        worker = joined()
        if not settings.admin_listen or (worker is not None and worker.number):
            return True  # one of several processes does it
        operations = PagesOperations(
            *(settings, library, forgejo, store, domains),
            version=__version__,
            faces=self._numbers,
            refusals=registration.registry.refusals,
            certifiable=registration.registry.may_have_certificate,
            purge=self._purge,
        )
        self._admin = Admin(operations, settings.admin_token, settings.admin_hosts)
        try:
            await self._admin.start(settings.admin_listen, worker)
        except OSError as error:
            logger.error("adminListen: %s", error)
            return False
        return True

    def _numbers(self) -> dict[str, object]:
        """Of the lane and of mitmproxy's flows, since the start."""
        told: dict[str, object] = {"answered_by_mitmproxy": self._flow_answers}
        lane = self._lane
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

    def done(self) -> Any:
        # Called on hot reload as well, where nothing must stop, and synchronously there.
        return self._stop() if self._running and ctx.master.should_exit.is_set() else None

    async def _stop(self) -> None:
        servers: Any = ctx.master.addons.get("proxyserver")
        opened = [server for instance in servers.servers for server in getattr(instance, "_servers", ())]
        listeners = [each for server in opened for each in getattr(server, "sockets", ())]
        if joined() is None:  # else the supervisor does it, or others go on to serve
            refuse_new(listeners)
            await drained(listeners)
        await admit_accepted(listeners)
        for instance in servers.servers:
            await instance.stop()
        if self._admin is not None:
            await self._admin.aclose()
        lane = self._lane.aclose(DRAIN_SECONDS) if self._lane is not None else asyncio.sleep(0)
        await asyncio.gather(lane, self._drained())
        if self._certificates is not None:
            await self._certificates.aclose()
        if self._key_in_step is not None:
            await self._key_in_step.aclose()
        if self._access is not None:
            await self._access.aclose()
        if self._registration is not None:
            await self._registration.aclose()
        if self._dns is not None:
            await self._dns.aclose()
        if self._challenges is not None:
            await self._challenges.aclose()
        if self._domains is not None:
            await self._domains.aclose()
        if self._store is not None:
            await self._store.aclose()
        if self._library is not None:
            await self._library.aclose()
        if self._forgejo is not None:
            await self._forgejo.aclose()
        await self._relay.aclose()
        await self._bus.aclose()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        if self._log is not None:
            self._log.close()

    async def _drained(self) -> None:
        """Wait until mitmproxy's flows have answered what is under way, and said that it was the last."""
        self._ending = True
        self._connections.retire()
        await self._connections.gone(GRACE_SECONDS)  # who asks in this time, as clients do that know of no end
        if not self._inflight:
            return
        logger.info("waiting for %d responses to finish", len(self._inflight))
        try:
            await asyncio.wait_for(self._idle.wait(), DRAIN_SECONDS)
        except TimeoutError:
            logger.warning("%d responses were aborted after %d s", len(self._inflight), DRAIN_SECONDS)

    # Connections.

    def client_connected(self, client: Client) -> None:
        if client.proxy_mode.full_spec not in self._modes or self.server is None:
            client.error = "refused: not a listener of the pages server"
            return
        handler = getattr(ctx.master.addons.get("proxyserver"), "connections", {}).get(client.id)
        io = handler.transports.get(client) if handler is not None else None
        session = io.writer.get_extra_info("ssl_object") if io is not None and io.writer is not None else None
        if session is not None:
            tls_of(client, session)

    def next_layer(self, data: layer.NextLayer) -> None:
        first = data.data_client()[:1]
        if first and isinstance(data.context.layers[0], mitmproxy.proxy.layers.modes.ReverseProxy):
            # 0x16 opens a TLS hello. There is no certificate, and none is made on the fly.
            data.layer = Closed(data.context) if first == b"\x16" else HttpLayer(data.context, HTTPMode.transparent)

    def client_disconnected(self, client: Client) -> None:
        for flow in list(self._flows.get(client.id, {}).values()):
            self._finished(flow, ABORTED)  # mitmproxy says nothing more about it
        self._connections.release(client.id)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        # With the Host kept, mitmproxy would check Forgejo's certificate against the visitor's host name.
        if data.server.address is not None:
            data.server.sni = data.server.address[0]
        self._connections.opening(data.client, data.server)

    def server_connected(self, data: ServerConnectionHookData) -> None:
        # Over TLS it is not there before the handshake is; whether it will be TLS, mitmproxy 11 does not yet know here.
        if self._upstream.scheme == "http" or data.server.address == ("127.0.0.1", self._relay.port):
            self._connections.opened(data.client, data.server)

    def tls_established_server(self, data: TlsData) -> None:
        self._connections.opened(data.context.client, data.conn)

    def server_connect_error(self, data: ServerConnectionHookData) -> None:
        self._connections.opened(data.client, data.server)
        if data.client.connected:  # else it is the visitor who went away
            self._complain(str(data.server.error))

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        self._connections.opened(data.client, data.server)

    def tls_failed_server(self, data: TlsData) -> None:
        self._connections.opened(data.context.client, data.conn)
        self._complain(f"TLS: {data.conn.error}")

    def _complain(self, reason: str) -> None:
        """Tell the operator why visitors get 502, now and then."""
        now = time.monotonic()
        if now - self._complained > 10 or not self._complained:
            self._complained = now
            logger.warning("no connection to Forgejo at %s: %s", self._upstream.netloc, reason)

    # Requests that come as flows.

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        try:
            await self._request(flow)
        except Exception:
            logger.exception("a request could not be handled")
            flow.request.stream = False
            if has_body(flow.request) and flow.killable:
                flow.kill()  # to answer it, its body would have to be collected
            else:
                respond(flow, http1.error_answer(500))

    async def _request(self, flow: http.HTTPFlow) -> None:
        server, through, client = self.server, self._forwarding, flow.client_conn
        if flow.error is not None:
            return  # mitmproxy has refused it already: CONNECT, faulty framing
        if server is None or through is None or client.proxy_mode.full_spec not in self._modes:
            flow.kill()
            return
        flow.metadata[_MARK] = time.monotonic()
        self._flows.setdefault(client.id, {})[flow.id] = flow
        self._inflight.add(flow.id)
        self._idle.clear()
        request = request_of(flow, through)
        if self._log is not None:
            flow.metadata["pages_line"] = (request.host or "", request.path, request.method)
            flow.metadata["pages_client"] = through.client(flow.request.headers, client.peername[0])
        if through.loops(flow.request.headers):
            self._answer(flow, server.looped(request))
        elif isinstance(server.route(request.host, request.path), ForgejoRequest):
            self._pass_through(flow, through)
        elif self._webhook is not None and self._webhook.takes(request):
            self._delivered(flow, self._webhook.delivery(request))
        elif is_form(flow.request):
            flow.metadata[_FORM] = True  # few enough bytes to be collected; `request` goes on with them
        elif (answer := server.recall(request)) is not None:
            self._answer(flow, answer)
        elif has_body(flow.request):
            self._relayed(flow, lambda: server.answer(request))  # a body that comes meanwhile must go somewhere
        else:
            self._answer(flow, await server.answer(request))

    def _answer(self, flow: http.HTTPFlow, answer: Answer) -> None:
        if _MARK not in flow.metadata:
            return  # the client went away meanwhile
        flow.metadata["pages_cache"] = answer.cache
        if answer.stream is not None:
            self._connections.hold(flow.id, flow.client_conn)
            self._relayed(flow, answer)
        elif has_body(flow.request):
            self._relayed(flow, answer)
        else:
            respond(flow, answer)

    def _delivered(self, flow: http.HTTPFlow, delivery: Delivery | Answer) -> None:
        """Read what a webhook says; the relay gives the answer when its body is there."""
        if isinstance(delivery, Answer):
            self._answer(flow, delivery)
            return
        if not has_body(flow.request):
            delivery.take(b"")
        self._relayed(flow, delivery.answer)
        flow.request.stream = delivery.take

    def _relayed(self, flow: http.HTTPFlow, deposit: Deposit) -> None:
        """Make the relay, which holds the answer, the flow's upstream; a body is thrown away on the way there."""
        # The connection's own state hangs on this request as well: whether it is HEAD, HTTP/1.0, the last one.
        data = flow.request.data
        kept = [(name, value) for name, value in data.headers.fields if name.lower() in (b"connection", b"expect")]
        data.method = b"HEAD" if data.method == b"HEAD" else b"GET"
        data.scheme, data.authority = b"http", b""
        data.host, data.port = "127.0.0.1", self._relay.port
        flow.metadata[_TICKET] = ticket = self._relay.deposit(deposit)
        data.path = ticket.encode()
        data.headers = http.Headers([(b"Host", b"relay"), *kept])
        flow.request.stream = nothing

    def _pass_through(self, flow: http.HTTPFlow, through: forwarding.Forwarding) -> None:
        """Send a request on to Forgejo, both bodies streamed."""
        data, client = flow.request.data, flow.client_conn
        flow.metadata["pages_written"] = written(data.method.decode("latin-1"), data.path.decode("latin-1"))
        target = through.target(data.path)
        if target is None:
            self._answer(flow, http1.error_answer(400))
            return
        data.path = target
        data.scheme = self._upstream.scheme.encode()
        data.host = self._upstream.hostname or ""
        data.port = self._upstream.port or (443 if self._upstream.scheme == "https" else 80)
        host = flow.request.host_header or ""
        through.rewrite(flow.request.headers, client.peername[0], host, client.tls_established)
        if flow.request.is_http2 and has_body(flow.request) and "content-length" not in flow.request.headers:
            flow.request.headers["Transfer-Encoding"] = "chunked"  # or HTTP/1 would take the body for the next request
        self._connections.hold(flow.id, client)
        flow.request.stream = True

    async def request(self, flow: http.HTTPFlow) -> None:
        if flow.response is None and _MARK not in flow.metadata and flow.killable:
            flow.kill()  # nothing that `requestheaders` did not see goes anywhere
        elif flow.metadata.pop(_FORM, False) and self.server is not None and self._forwarding is not None:
            try:
                answer = await self.server.answer(request_of(flow, self._forwarding, flow.request.raw_content))
            except Exception:
                logger.exception("a form could not be handled")
                answer = http1.error_answer(500)
            if _MARK in flow.metadata:
                flow.metadata["pages_cache"] = answer.cache
                respond(flow, answer)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        response = flow.response
        if response is None or response.raw_content is not None:
            return
        self._close_after(flow)
        if self._log is not None:
            flow.metadata["pages_count"] = response.stream = Counted()
        else:
            response.stream = True
        if response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            self._leave(flow)  # it has no end

    def response(self, flow: http.HTTPFlow) -> None:
        if flow.response is None:
            return
        if not flow.response.stream:  # else its head is sent
            self._close_after(flow)
        self._finished(flow, flow.response.status_code)
        key = flow.metadata.get("pages_written")
        if key is not None and flow.response.status_code < 400 and self._library is not None:
            hint = asyncio.ensure_future(self._hint(key))  # sooner than the webhook
            self._hints.add(hint)
            hint.add_done_callback(self._hints.discard)

    def _close_after(self, flow: http.HTTPFlow) -> None:
        """At the end, have mitmproxy close a connection after this answer, and say so."""
        response = flow.response
        if self._ending and response is not None and response.status_code != 101 and not flow.request.is_http2:
            response.headers["Connection"] = "close"

    def error(self, flow: http.HTTPFlow) -> None:
        self._finished(flow, status_of_failure(flow))

    def tcp_message(self, flow: tcp.TCPFlow) -> None:
        flow.messages.clear()  # of an upgraded connection to Forgejo; mitmproxy would keep them all

    def _leave(self, flow: http.HTTPFlow) -> None:
        """A shutdown does not wait for this one."""
        self._inflight.discard(flow.id)
        if not self._inflight:
            self._idle.set()

    def _finished(self, flow: http.HTTPFlow, status: int) -> None:
        began, client = flow.metadata.pop(_MARK, None), flow.client_conn
        if began is None:
            return
        self._flow_answers += 1
        self._leave(flow)
        self._relay.withdraw(flow.metadata.get(_TICKET, ""))
        flows = self._flows.get(client.id, {})
        flows.pop(flow.id, None)
        if not flows:
            self._flows.pop(client.id, None)
        if status == 101:
            self._connections.hand_on(flow.id, client.id)
        else:
            self._connections.release(flow.id)
        if self._log is not None and "pages_line" in flow.metadata:
            host, path, method = flow.metadata["pages_line"]
            counted = flow.metadata.get("pages_count")
            body = flow.response.raw_content if flow.response is not None else None
            self._log.record(
                client=flow.metadata["pages_client"],
                method=method,
                host=host,
                path=path,
                status=status,
                nbytes=counted.size if counted is not None else len(body or b""),
                seconds=time.monotonic() - began,
                cache=flow.metadata.get("pages_cache", ""),
            )


_NOT_MENDED = http1.mend()
addons = [PagesAddon()]
