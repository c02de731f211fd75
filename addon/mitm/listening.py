# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Our listeners, opened by mitmproxy when all is ready, with the lane in front; and their end, without losing anybody.

Knows mitmproxy, sockets and certificates. A listener is told apart from any other by its mode's text, which `modes`
gives: a connection that came in by another is refused. The surprise is the end: whoever waits in a listener's queue is
still let in (see `addon.net.listeners`), unless a supervisor has the socket, and others go on to serve from it.
"""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from typing import Any

from mitmproxy import ctx

from addon.admin.access_log import AccessLog
from addon.admin.answer_meter import AnswerMeter
from addon.admin.webhook import Webhook
from addon.lane.install import NoPlace, install
from addon.lane.lane import Lane
from addon.mitm.default_addons import SETTLE_SECONDS, settle
from addon.mitm.options import upstream_authority
from addon.net.certificates import CertificateFault, Certificates, CertificateWatch
from addon.net.listeners import admit_accepted, drained, refuse_new
from addon.process.worker import Worker
from addon.serving.server import PagesServer
from addon.settings.schema import Settings
from addon.web.forwarding import Forwarding
from addon.web.prepared_answers import Facts

logger = logging.getLogger(__name__)


class CannotListen(Exception):
    """Says why."""


def modes_of(settings: Settings) -> tuple[str, ...]:
    """The specifications of mitmproxy's modes that our listeners have, in the order of `listen`."""
    forgejo = f"reverse:http://{upstream_authority(settings)}"
    return tuple(f"{forgejo}@{address.host}:{address.port}" for address in settings.listen)


def put_lane(
    stack: AsyncExitStack,
    settings: Settings,
    server: PagesServer,
    through: Forwarding,
    *,
    facts: Facts,
    log: AccessLog | None,
    webhook: Webhook,
    worker: Worker | None,
    executor: Executor,
    meter: AnswerMeter,
) -> tuple[Lane | None, CertificateWatch]:
    """Put the lane, and TLS, where mitmproxy would listen; raises CannotListen. None: the flow handler serves all.

    The lane's end is the caller's affair, for it has to come while the flow handler still answers.
    """
    modes = modes_of(settings)
    try:
        tls = _certificates(settings, modes)
        place = (server, settings, through, modes)
        lane = install(*place, log=log, meter=meter, facts=facts, webhook=webhook, certificates=tls, worker=worker)
    except CertificateFault as fault:
        raise CannotListen(f"listen: {fault}") from None
    except NoPlace as fault:
        raise CannotListen(str(fault)) from None
    watch = CertificateWatch(tuple(tls.values()), executor)
    stack.push_async_callback(watch.aclose)
    return lane, watch


def _certificates(settings: Settings, modes: tuple[str, ...]) -> Mapping[str, Certificates]:
    http2 = settings.http2 and settings.lane
    forgejos = tuple(filter(None, (settings.forgejo_public_host,)))  # web sockets and uploads: HTTP/1.1, mitmproxy's
    return {
        mode: Certificates(each.tls, http2=http2, http1_names=forgejos)
        for mode, each in zip(modes, settings.listen)
        if each.tls
    }


async def open_listeners(stack: AsyncExitStack, settings: Settings, worker: Worker | None) -> None:
    """Listen from now on. Raises CannotListen; mitmproxy has then logged why."""
    servers: Any = ctx.master.addons.get("proxyserver")
    stack.push_async_callback(_close, servers, worker)
    ctx.options.update(mode=list(modes_of(settings)), server=True)
    if not await servers.setup_servers():
        raise CannotListen("not all addresses of `listen` could be opened")
    asyncio.get_running_loop().call_later(
        SETTLE_SECONDS, lambda: settle(ctx.master.addons, ctx.options, keep=settings.keep_default_addons)
    )
    if worker is not None and worker.number:
        return  # the first says it for all
    for host, port, *_ in servers.listen_addrs():
        logger.info("pages server for *.%s listens on %s port %s", settings.pages_domain, host, port)


async def _close(servers: Any, worker: Worker | None) -> None:
    """Listen no more, once all who wait to be connected are."""
    opened = [server for instance in servers.servers for server in getattr(instance, "_servers", ())]
    listeners = [each for server in opened for each in getattr(server, "sockets", ())]
    if worker is None:  # else the supervisor does it, or others go on to serve
        refuse_new(listeners)
        await drained(listeners)
    await admit_accepted(listeners)
    for instance in servers.servers:
        await instance.stop()
