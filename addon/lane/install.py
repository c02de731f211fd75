# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""The lane in mitmproxy's place: `ReverseInstance.listen` is replaced for our listeners, and nothing else.

A connection that is not ours goes to the `handle_stream` of the same instance, as if it had been accepted there. Where
either is not as expected the lane stays off, and mitmproxy's flows serve all, slower. The only module of this package
that knows mitmproxy.
"""

import asyncio
import contextlib
import inspect
import logging
import os
import socket
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

from addon.admin.access_log import AccessLog
from addon.admin.answer_meter import AnswerMeter
from addon.admin.webhook import Webhook
from addon.lane.handover import Direct, Handler
from addon.lane.http1 import Connection
from addon.lane.lane import Lane
from addon.net.certificates import Certificates
from addon.net.listeners import AT_A_TIME, BACKLOG, AcceptPauses
from addon.net.tls_transport import secure
from addon.process.worker import Worker
from addon.serving.server import PagesServer
from addon.settings.schema import Settings
from addon.web.forwarding import Forwarding
from addon.web.prepared_answers import Facts

logger = logging.getLogger(__name__)

NO_CERTIFICATES: Mapping[str, Certificates] = MappingProxyType({})
Factory = Callable[[], asyncio.BaseProtocol]


class NoPlace(Exception):
    """mitmproxy is not as expected, and without that there cannot be what was asked for."""


def install(
    server: PagesServer,
    settings: Settings,
    through: Forwarding,
    modes: Collection[str],
    *,
    log: AccessLog | None,
    meter: AnswerMeter | None = None,
    facts: Facts,
    webhook: Webhook | None = None,
    certificates: Mapping[str, Certificates] = NO_CERTIFICATES,
    worker: Worker | None = None,
) -> Lane | None:
    """Listen with the lane where mitmproxy would, for the mode specifications given; None where that cannot be done.

    certificates: of the modes that are for TLS. worker: has the listening sockets already. To be called before the
    listeners are opened, in the loop that serves.
    Raises NoPlace where there has to be TLS, or sockets are to be taken over, and cannot be.
    """
    if not settings.lane and not certificates and worker is None:
        return None
    try:
        from mitmproxy.proxy.mode_servers import ReverseInstance
    except ImportError:
        reason: str | None = "there is no ReverseInstance"
    else:
        reason = _misfit(ReverseInstance)
    if reason is not None and (certificates or worker is not None):
        what = "TLS" if certificates else "`pages serve`, only `mitmdump -s`"
        raise NoPlace(f"there can be no {what}: this mitmproxy is not as expected ({reason}); take the pinned version")
    if reason is not None:
        logger.warning(
            "the lane stays off, pages are served more slowly: this mitmproxy is not as expected (%s)", reason
        )
        return None
    lane = (
        Lane(server, settings, through, log=log, facts=facts, webhook=webhook, meter=meter) if settings.lane else None
    )
    AcceptPauses(asyncio.get_running_loop())
    original = ReverseInstance.listen
    ours = frozenset(certificates if lane is None and worker is None else modes)

    async def listen(self: Any, host: str, port: int) -> Any:
        if self.mode.full_spec not in ours:
            return await original(self, host, port)
        tls = certificates.get(self.mode.full_spec)
        factory = accepting(lane, _quiet(self.handle_stream), tls, settings.header_timeout)
        inherited = worker.listeners(host, port) if worker is not None else []
        if not inherited:
            return [await open_listener(factory, host, port)]
        loop = asyncio.get_running_loop()
        return [await loop.create_server(factory, sock=each, backlog=AT_A_TIME) for each in inherited]

    ReverseInstance.listen = listen  # type: ignore[method-assign]  # the touch
    return lane


def _quiet(handler: Handler) -> Handler:
    """Its cancellation, at the end of the process, is its end: asyncio before 3.12 logs a traceback for each."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await handler(reader, writer)

    return handle


def accepting(
    lane: Lane | None, handler: Handler, tls: Certificates | None = None, handshake_timeout: float = 10.0
) -> Factory:
    """What makes the protocol of a connection that comes in: the lane's, or without one the handler's; over TLS."""
    above: Factory = lambda: Direct(handler) if lane is None else Connection(lane, handler)  # noqa: E731
    return above if tls is None else secure(above, tls.context, handshake_timeout)


async def open_listener(factory: Factory, host: str, port: int) -> asyncio.Server:
    """Listen on an address (an empty host: all of them); port 0 is one free port for all of them, if there is one."""
    if port == 0:
        with socket.socket() as probe:
            probe.bind(("", 0))
            free = probe.getsockname()[1]
        try:
            return await open_listener(factory, host, free)
        except OSError:
            pass
    # asyncio accepts as many at one time as may wait: a thousand, before one of them can be refused.
    server = await asyncio.get_running_loop().create_server(factory, host, port, backlog=AT_A_TIME)
    for each in server.sockets:
        with socket.socket(fileno=os.dup(each.fileno())) as listener:
            listener.listen(BACKLOG)
    return server


def _misfit(instance: Any) -> str | None:
    """What about mitmproxy's class is not as we know it; None if all is."""
    for name, parameters, is_coroutine in (
        ("listen", ["self", "host", "port"], True),
        ("handle_stream", ["self", "reader", "writer"], True),
    ):
        method = getattr(instance, name, None)
        if not inspect.isfunction(method):
            return f"it has no {name}"
        if list(inspect.signature(method).parameters) != parameters:
            return f"its {name} has other parameters"
        if inspect.iscoroutinefunction(method) is not is_coroutine:
            return f"its {name} is called otherwise"
    return None
