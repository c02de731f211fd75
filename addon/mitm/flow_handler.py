# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The flow handler: what mitmproxy's hooks do with a request, answered here or passed through to Forgejo's own host.

Everything is decided in `requestheaders`: a body is never collected, but a login's. It fails closed: an exception is
answered 500, what came in by another listener is killed, and nothing reaches Forgejo but what `route` calls a
ForgejoRequest. State: the flows being answered, by client, and which of them a shutdown waits for.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from urllib.parse import urlsplit

from mitmproxy import http
from mitmproxy.connection import Client

from addon.admin.access_formats import seen
from addon.admin.access_log import ABORTED, AccessLog
from addon.admin.answer_meter import HTTP1, HTTP2, MITMPROXY, AnswerMeter
from addon.admin.webhook import Delivery, Webhook, written
from addon.lane.lane import GRACE_SECONDS
from addon.lane.request_log import log_refusal
from addon.mitm import http1
from addon.mitm.connection_timeouts import Connections
from addon.mitm.flows import Counted, has_body, is_form, nothing, request_of, respond, status_of_failure
from addon.mitm.relay import Deposit, Relay
from addon.net.certificates import ShownNames
from addon.serving.answers import misshapen, reason_of
from addon.serving.server import Answer, PagesServer
from addon.settings.schema import Settings
from addon.shared.lookup import Key
from addon.web import forwarding
from addon.web.method_and_target import request_fault
from addon.web.prepared_answers import NOTHING
from addon.web.routing import ForgejoRequest, host_name

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 25.0
"""How long SIGTERM waits for answers in flight; below the 30 s after which container runtimes kill."""
_MARK = "pages"
"""In a flow's metadata while its request is being answered; its value is when it began."""
_FORM = "pages_form"
_TICKET = "pages_ticket"
_LAST = "pages_last"
"""In the metadata of a flow that is the last of its connection."""


class FlowHandler:
    """Answers mitmproxy's flows. Lives on the event loop."""

    def __init__(
        self,
        settings: Settings,
        server: PagesServer,
        through: forwarding.Forwarding,
        *,
        modes: Collection[str],
        relay: Relay,
        connections: Connections,
        webhook: Webhook,
        written_to: Callable[[Key], Awaitable[None]],
        log: AccessLog | None,
        meter: AnswerMeter,
    ) -> None:
        """modes: of our listeners. written_to: told of a repository that somebody wrote to through us."""
        self._meter = meter
        self.serving: Callable[[tuple[str, int], bool], object] = lambda peer, busy: None
        """Told of a client, by address and port, that it is being answered, or that it no longer is."""
        self.received: Callable[[tuple[str, int]], object] = lambda peer: None
        self.forwarded: Callable[[tuple[str, int]], object] = lambda peer: None
        """Told of a client whose request has come to its end, or is Forgejo's."""
        self._modes = frozenset(modes)
        self._server = server
        self._through = through
        self._relay = relay
        self._connections = connections
        self._webhook = webhook
        self._written_to = written_to
        self._log = log
        self._upstream = urlsplit(settings.forgejo_host)
        self._hints: set[asyncio.Future[None]] = set()
        self._flows: dict[str, dict[str, http.HTTPFlow]] = {}  # being answered, by client
        self._shown: dict[str, ShownNames] = {}  # of clients over TLS, where other hosts have other certificates
        self._inflight: set[str] = set()  # those of them that a shutdown waits for
        self._idle = asyncio.Event()
        http1.Refusals.told = self.refused
        self._ending = False  # each answer is the last of its connection

    @property
    def answered(self) -> int:
        """How many requests were answered so far, those passed on to Forgejo among them."""
        return self._meter.answered(MITMPROXY)

    @property
    def held(self) -> dict[str, int]:
        """What there is of flows at this moment; all of it is gone when their clients are."""
        return {
            "flows": len(self._flows),
            "in flight": len(self._inflight),
            "connections": len(self._connections),
            "deposits": len(self._relay),
        }

    def is_ours(self, client: Client) -> bool:
        """Whether a client came in by a listener of ours."""
        return client.proxy_mode.full_spec in self._modes

    def secured(self, client: Client, shown: ShownNames | None) -> None:
        """A client has come over TLS. shown: where other hosts have other certificates."""
        if shown is not None:
            self._shown[client.id] = shown

    def refused(self, client: Client, status: int) -> None:
        """mitmproxy has answered what never became a request."""
        if self.is_ours(client):
            self._meter.count(MITMPROXY, HTTP1, status, "", NOTHING)
        if self._log is not None and self.is_ours(client):
            log_refusal(self._log, str(client.peername[0]), status)

    # What a request gets.

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Answer a request, or see to it that it is answered once its body is there."""
        try:
            await self._request(flow)
        except Exception:
            logger.exception("a request could not be handled")
            flow.request.stream = False
            if has_body(flow.request) and flow.killable:
                flow.kill()  # to answer it, its body would have to be collected
            else:
                respond(flow, misshapen(status=500))

    async def _request(self, flow: http.HTTPFlow) -> None:
        server, through, client = self._server, self._through, flow.client_conn
        if flow.error is not None:
            self.refused(client, 400)  # by mitmproxy, already: CONNECT, faulty framing
            return
        if not self.is_ours(client):
            flow.kill()
            return
        flow.metadata[_MARK] = time.monotonic()
        self.serving(client.peername[:2], True)
        self._flows.setdefault(client.id, {})[flow.id] = flow
        self._inflight.add(flow.id)
        self._idle.clear()
        request = request_of(flow, through)
        flow.metadata["pages_line"] = (request.host or "", request.path, request.method)
        if self._log is not None:
            flow.metadata["pages_seen"] = seen(flow.request.http_version, client.tls_established, request.header)
            flow.metadata["pages_client"] = through.client(flow.request.headers, client.peername[0])
        fault = request_fault(flow.request.data.method, flow.request.data.path)
        if fault is not None:
            self._answer(flow, misshapen(fault))
        elif self._misdirected(flow, request.host):
            self._answer(flow, misshapen(status=421))
        elif through.loops(flow.request.headers):
            self._answer(flow, server.looped(request))
        elif isinstance(server.route(request.host, request.path), ForgejoRequest):
            self._pass_through(flow)
        elif self._webhook.takes(request):
            self._delivered(flow, self._webhook.delivery(request))
        elif is_form(flow.request):
            flow.metadata[_FORM] = True  # few enough bytes to be collected; `request` goes on with them
        elif (answer := server.answer_from_memory(request)) is not None:
            self._answer(flow, answer)
        elif has_body(flow.request):
            self._relayed(flow, lambda: server.answer(request))  # a body that comes meanwhile must go somewhere
        else:
            self._answer(flow, await server.answer(request))

    def _misdirected(self, flow: http.HTTPFlow, authority: str | None) -> bool:
        """As `Lane.misdirected`."""
        shown = self._shown.get(flow.client_conn.id)
        host = host_name(authority) if authority is not None and shown is not None else None
        if shown is None or host is None or shown.take(host):
            return False
        return not self._through.speaks_for_others(flow.request.headers, flow.client_conn.peername[0])

    def _answer(self, flow: http.HTTPFlow, answer: Answer) -> None:
        if _MARK not in flow.metadata:
            return  # the client went away meanwhile
        flow.metadata["pages_cache"], flow.metadata["pages_about"] = answer.cache, answer.about
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
        self._relayed(flow, delivery.answer, wanted=True)
        flow.request.stream = delivery.take

    def _relayed(self, flow: http.HTTPFlow, deposit: Deposit, *, wanted: bool = False) -> None:
        """Make the relay, which holds the answer, the flow's upstream; a body is thrown away on the way there."""
        # The connection's own state hangs on this request as well: whether it is HEAD, HTTP/1.0, the last one.
        data = flow.request.data
        # Who asks whether to send a body that nobody reads, is not told to: the answer says enough (RFC 9110 §10.1.1).
        names = (b"connection", b"expect") if wanted else (b"connection",)
        kept = [(name, value) for name, value in data.headers.fields if name.lower() in names]
        if not wanted and "expect" in flow.request.headers:
            flow.metadata[_LAST] = True  # whether the body comes all the same, nobody can know
        data.method = b"HEAD" if data.method == b"HEAD" else b"GET"
        data.scheme, data.authority = b"http", b""
        data.host, data.port = "127.0.0.1", self._relay.port
        flow.metadata[_TICKET] = ticket = self._relay.deposit(deposit)
        data.path = ticket.encode()
        data.headers = http.Headers([(b"Host", b"relay"), *kept])
        flow.request.stream = nothing

    def _pass_through(self, flow: http.HTTPFlow) -> None:
        """Send a request on to Forgejo, both bodies streamed."""
        data, client, through = flow.request.data, flow.client_conn, self._through
        flow.metadata["pages_written"] = written(data.method.decode("latin-1"), data.path.decode("latin-1"))
        target = through.target(data.path)
        if target is None:
            self._answer(flow, misshapen(status=400))
            return
        data.path = target
        data.scheme = self._upstream.scheme.encode()
        data.host = self._upstream.hostname or ""
        data.port = self._upstream.port or (443 if self._upstream.scheme == "https" else 80)
        host = flow.request.host_header or ""
        through.rewrite(flow.request.headers, client.peername[0], host, client.tls_established)
        self._connections.hold(flow.id, client)
        self.forwarded(client.peername[:2])
        flow.request.stream = True

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer a form whose body is there now; end what `requestheaders` did not see."""
        if _MARK in flow.metadata:
            self.received(flow.client_conn.peername[:2])
        if flow.response is None and _MARK not in flow.metadata and flow.killable:
            flow.kill()  # it goes nowhere
        elif flow.metadata.pop(_FORM, False):
            try:
                answer = await self._server.answer(request_of(flow, self._through, flow.request.raw_content))
            except Exception:
                logger.exception("a form could not be handled")
                answer = misshapen(status=500)
            if _MARK in flow.metadata:
                flow.metadata["pages_cache"], flow.metadata["pages_about"] = answer.cache, answer.about
                respond(flow, answer)

    # Its answer, on the way out.

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stream what Forgejo or the relay answers."""
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
        """An answer is complete."""
        if flow.response is None:
            return
        if not flow.response.stream:  # else its head is sent
            self._close_after(flow)
        self._finished(flow, flow.response.status_code)
        key = flow.metadata.get("pages_written")
        if key is not None and 200 <= flow.response.status_code < 300:
            hint = asyncio.ensure_future(self._written_to(key))  # sooner than the webhook
            self._hints.add(hint)
            hint.add_done_callback(self._hints.discard)

    def _close_after(self, flow: http.HTTPFlow) -> None:
        """Say that mitmproxy closes the connection after this answer; at the end, have it do so."""
        request, response = flow.request, flow.response
        options = request.headers.get("connection", "").lower()
        asked = "close" in options or (request.http_version == "HTTP/1.0" and "keep-alive" not in options)
        last = self._ending or asked or _LAST in flow.metadata
        if last and response is not None and response.status_code != 101:
            response.headers["Connection"] = "close"

    def error(self, flow: http.HTTPFlow) -> None:
        """A request has come to no good end."""
        self._finished(flow, status_of_failure(flow))

    def client_disconnected(self, client: Any) -> None:
        """Forget all flows of a client, of which mitmproxy says nothing more."""
        for flow in list(self._flows.get(client.id, {}).values()):
            self._finished(flow, ABORTED)
        self._connections.release(client.id)
        self._shown.pop(client.id, None)

    def _leave(self, flow: http.HTTPFlow) -> None:
        """A shutdown does not wait for this one."""
        self._inflight.discard(flow.id)
        if not self._inflight:
            self._idle.set()

    def _finished(self, flow: http.HTTPFlow, status: int) -> None:
        began, client = flow.metadata.pop(_MARK, None), flow.client_conn
        if began is None:
            return
        self._leave(flow)
        self._relay.withdraw(flow.metadata.get(_TICKET, ""))
        flows = self._flows.get(client.id, {})
        flows.pop(flow.id, None)
        if not flows:
            self._flows.pop(client.id, None)
            self.serving(client.peername[:2], status == 101)  # after that, it is no HTTP
        if status == 101:
            self._connections.hand_on(flow.id, client.id)
        else:
            self._connections.release(flow.id)
        host, path, method = flow.metadata.get("pages_line", ("", "", ""))
        cache, about = flow.metadata.get("pages_cache", ""), flow.metadata.get("pages_about", NOTHING)
        passed = "pages_written" in flow.metadata
        protocol = HTTP2 if flow.request.http_version.startswith("HTTP/2") else HTTP1
        if passed:  # its errors are Forgejo's own affair
            self._meter.tally(MITMPROXY, protocol, status, "passed", "").count += 1
        else:
            self._meter.count(MITMPROXY, protocol, status, cache, about, host, path)
        if self._log is not None and "pages_seen" in flow.metadata:
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
                cache=cache,
                seen=flow.metadata["pages_seen"],
                site=about.site,
                commit=about.commit,
                reason="" if passed else reason_of(status, about),
            )

    # The end.

    async def drain(self, patience: float = DRAIN_SECONDS) -> None:
        """Wait until what is under way has been answered, and been told that it was the last; or for so long."""
        self._ending = True
        await self._connections.gone(GRACE_SECONDS)  # who asks in this time, as clients do that know of no end
        if not self._inflight:
            return
        logger.info("waiting for %d responses to finish", len(self._inflight))
        try:
            await asyncio.wait_for(self._idle.wait(), patience)
        except TimeoutError:
            logger.warning("%d responses were aborted after %d s", len(self._inflight), patience)
